//! What the store knows about the keys of a flow. Plain data; nothing here asks the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use polyloom_model::{CellId, Digest, PortName, Type};
use polyloom_protocol::meta::Outcome;
use serde::{Deserialize, Serialize};

use crate::{Key, KeyParts};

/// A stored output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    #[serde(default)]
    pub media: Option<String>,
}

/// A result the store has recorded under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Outputs by port.
    pub outputs: BTreeMap<PortName, Artifact>,
    /// How long it took to make, in milliseconds.
    pub wall_ms: f64,
    /// Outputs whose bytes the store no longer has: records survive eviction.
    #[serde(default)]
    pub evicted: Vec<PortName>,
}

/// What the last run that had a cell left of it, whatever its key was: an attempt, or a result that stood. A step that was skipped is none.
#[derive(Debug, Clone)]
pub struct Previous {
    /// The parts of its key then.
    pub parts: KeyParts,
    /// How it ended; `None`: it began and nothing says that it ended.
    pub outcome: Option<Outcome>,
    /// How long it took, in milliseconds.
    pub wall_ms: f64,
    /// What came in from other cells then, by the digests of all that came: one, or what was gathered. `None`: it was not asked for; a
    /// plan says by [`Reason::Changed`](crate::Reason::Changed) of an input where it would matter.
    pub taken: Option<BTreeMap<PortName, Vec<Digest>>>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Results under structural keys.
    pub recorded: HashMap<Key, Arc<Recorded>>,
    /// The last attempt of each cell of this flow.
    pub previous: HashMap<CellId, Previous>,
    /// The answers of conditions, of cells whose inputs are known. They hold as long as none of the cells they read from runs.
    pub when: HashMap<CellId, bool>,
}
