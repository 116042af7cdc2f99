//! What a plan was made of: whether a change makes it another.

use std::collections::HashMap;
use std::sync::Arc;

use polyloom_model::{CellId, Flow};
use polyloom_plan::{Facts, Key};
use polyloom_runtime::{Permit, PolicyWord};

use super::Ready;

/// What was planned last, as far as a change can make it another.
pub struct Planned {
    flow: Arc<Flow>,
    facts: Facts,
    keys: Vec<Key>,
    permits: HashMap<CellId, Permit>,
    policy: PolicyWord,
}

impl Planned {
    /// By a plan.
    pub fn of(ready: &Ready) -> Self {
        let prepared = &ready.prepared;
        let keys = prepared.keyed.iter().map(|entry| entry.key).collect();
        Self {
            flow: Arc::clone(&ready.flow),
            facts: prepared.facts.clone(),
            keys,
            permits: ready.permits.clone(),
            policy: ready.policy.clone(),
        }
    }

    /// Whether it is the same.
    pub fn is(&self, other: &Self) -> bool {
        self.flow == other.flow
            && self.facts.files == other.facts.files
            && self.keys == other.keys
            && self.permits == other.permits
            && self.policy == other.policy
    }
}
