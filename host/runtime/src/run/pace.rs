//! When what ended is committed: at once where little ends, together where much does, so that commits take a part of the time and not all of it.

use std::time::{Duration, Instant};

/// For each moment that a commit took, the next one is so many later.
const REST: u32 = 4;
/// Nothing that has ended waits longer than this before it is committed and said. What is committed together shares pages of the indexes.
const LONGEST: Duration = Duration::from_millis(200);

/// The pace of a run's commits.
pub(super) struct Pace {
    due: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { due: Instant::now() }
    }
}

impl Pace {
    /// When the next one is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Notes that one has ended which took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.due = Instant::now() + (time * REST).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_commit_waits_as_the_last_one_took() {
        let mut pace = Pace::default();
        assert!(pace.is_due());
        pace.took(Duration::from_millis(5));
        assert!(!pace.is_due());
        let wait = pace.due() - Instant::now();
        assert!(wait > Duration::from_millis(10) && wait <= Duration::from_millis(20), "{wait:?}");
        pace.took(Duration::from_secs(5));
        assert!(pace.due() - Instant::now() <= LONGEST);
    }
}
