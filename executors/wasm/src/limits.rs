//! What a guest may allocate, over all its memories and instances together.
//! Does not know about time; see `run.rs` for the deadline.

use wasmtime::{ResourceLimiter, Result};

/// Memory when the environment does not say.
const DEFAULT_MEMORY: usize = 1 << 30;
/// Elements of all tables; each costs a pointer of host memory.
pub(crate) const TABLE_ELEMENTS: usize = 10_000_000;
/// A component made of many modules has some dozens.
const INSTANCES: usize = 1_000;
const TABLES: usize = 1_000;
const MEMORIES: usize = 100;

/// Counts what a store has handed out and says no beyond the caps.
#[derive(Debug)]
pub(crate) struct Limits {
    memory_left: usize,
    elements_left: usize,
}

impl Limits {
    /// `memory` is the text of `POLYLOOM_WASM_MEMORY`, a number of bytes; the default is 1 GiB.
    /// The host's own cap on the process holds besides.
    pub(crate) fn new(memory: Option<&str>) -> Self {
        let memory_left = memory.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_MEMORY);
        Self { memory_left, elements_left: TABLE_ELEMENTS }
    }

    /// Bytes that all memories together may still grow by.
    pub(crate) fn memory(&self) -> usize {
        self.memory_left
    }
}

/// Takes what a growth needs from what is left; false when that is too little.
fn take(left: &mut usize, current: usize, desired: usize) -> bool {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        // Beyond the guest's own maximum wasmtime refuses anyway, and nothing must be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(take(&mut self.memory_left, current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(take(&mut self.elements_left, current, desired))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn all_memories_share_one_cap() {
        let mut limits = Limits::new(Some("100"));
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(!limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(60, 100, None).unwrap());
        assert!(!limits.memory_growing(100, 101, None).unwrap());
    }

    #[test]
    fn growth_beyond_the_own_maximum_costs_nothing() {
        let mut limits = Limits::new(Some("100"));
        assert!(!limits.memory_growing(0, 90, Some(50)).unwrap());
        assert!(limits.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn unreadable_cap_means_the_default() {
        assert_eq!(Limits::new(Some("lots")).memory_left, DEFAULT_MEMORY);
        assert_eq!(Limits::new(None).memory_left, DEFAULT_MEMORY);
    }
}
