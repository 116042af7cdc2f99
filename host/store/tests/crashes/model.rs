//! What a store must be like after all that was done to it: the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use polyloom_model::Digest;
use polyloom_store::{Mend, ReadError, Store, StoredResult};

use crate::work::{KEYS, Op, key_of, outputs};

/// What may be said of one key.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The versions it may have; none of them is a key that was never recorded.
    pub versions: BTreeSet<Option<u64>>,
    /// Whether its outputs may be gone.
    pub may_lack: bool,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub keys: BTreeMap<u64, Known>,
    /// Somebody has damaged files since all were looked at.
    pub damaged: Damaged,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Damaged {
    No,
    Yes,
}

impl Model {
    pub fn new() -> Self {
        let never = Known { versions: BTreeSet::from([None]), may_lack: false };
        let keys = (0..KEYS).map(|key| (key, never.clone())).collect();
        Self { keys, damaged: Damaged::No }
    }

    /// An operation that was done.
    pub fn done(&mut self, op: &Op) {
        match op {
            Op::Commit(keys, version) => {
                for key in keys {
                    let versions = BTreeSet::from([Some(*version)]);
                    self.keys.insert(*key, Known { versions, may_lack: false });
                }
            }
            Op::Gc(_) => self.lose(),
            Op::Read(_) | Op::Flush | Op::Touch(_) | Op::Program(_) => {}
            Op::Carry | Op::Audit | Op::Reopen => {}
        }
    }

    /// An operation during which the process was killed: its old state or its new one.
    pub fn interrupted(&mut self, op: &Op) {
        match op {
            Op::Commit(keys, version) => {
                for key in keys {
                    let known = self.keys.get_mut(key).unwrap();
                    known.versions.insert(Some(*version));
                }
            }
            Op::Gc(_) => self.lose(),
            Op::Read(_) | Op::Flush | Op::Touch(_) | Op::Program(_) => {}
            Op::Carry | Op::Audit | Op::Reopen => {}
        }
    }

    /// Anything may be gone now.
    pub fn lose(&mut self) {
        self.keys.values_mut().for_each(|known| known.may_lack = true);
    }

    /// Compares a store with what it must be like; afterwards the model knows which of the possible states it is.
    pub fn check(&mut self, root: &Path, groups: &[(Vec<u64>, u64)]) {
        let store = Store::open(root).unwrap();
        let left: Vec<_> = std::fs::read_dir(root.join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "half-written files stay: {left:?}");
        let keys: Vec<Digest> = (0..KEYS).map(key_of).collect();
        let found = store.lookup_many(&keys).unwrap();
        let mut versions: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (key, known) in &mut self.keys {
            let result = found.get(&key_of(*key));
            let version = result.map(|result| version_of(*key, result));
            assert!(known.versions.contains(&version), "key {key}: {version:?} of {known:?}");
            if let (Some(result), Some(version)) = (result, version) {
                let complete = read_all(&store, *key, version, result, self.damaged);
                let lacks = result.evicted || !complete;
                let excused = known.may_lack || self.damaged == Damaged::Yes;
                assert!(
                    !lacks || excused,
                    "key {key} lost its outputs, evicted: {}",
                    result.evicted
                );
                known.may_lack |= lacks;
            }
            known.versions = BTreeSet::from([version]);
            versions.insert(*key, version);
        }
        // What was committed in one go is there altogether or not at all.
        for (keys, new) in groups {
            let has: BTreeSet<bool> = keys.iter().map(|key| versions[key] == Some(*new)).collect();
            assert!(has.len() == 1, "half of a commit: {keys:?} of {new}: {versions:?}");
        }
        if self.damaged == Damaged::No {
            let audit = store.audit(Mend::No, &mut |_, _| {}).unwrap();
            assert!(audit.damaged.is_empty(), "{:?}", audit.damaged);
        }
        // Whatever it was, it can be mended, and then it is whole.
        store.audit(Mend::Yes, &mut |_, _| {}).unwrap();
        let audit = store.audit(Mend::No, &mut |_, _| {}).unwrap();
        assert!(audit.damaged.is_empty(), "after mending: {:?}", audit.damaged);
        self.damaged = Damaged::No;
    }
}

/// A row names its version; all of it must be of that one.
fn version_of(key: u64, result: &StoredResult) -> u64 {
    let (named, version) = result.cell.split_once(' ').unwrap();
    assert_eq!(named, key.to_string());
    let version = version.parse().unwrap();
    let [small, large, ..] = outputs(key, version);
    let of = |name: &str| result.outputs.iter().find(|(port, _)| port == name).unwrap();
    assert_eq!(of("small").1.digest, Digest::of(&small).to_string());
    assert_eq!(of("large").1.digest, Digest::of(&large).to_string());
    version
}

/// Reads all outputs. What comes is what was put in, or nothing; whether all came.
fn read_all(
    store: &Store,
    key: u64,
    version: u64,
    result: &StoredResult,
    damaged: Damaged,
) -> bool {
    let [small, large, first, second] = outputs(key, version);
    let mut complete = true;
    let mut see = |error: ReadError| {
        assert!(!matches!(error, ReadError::Fault(_)), "{error}");
        assert!(damaged == Damaged::Yes || !matches!(error, ReadError::Corrupt { .. }), "{error}");
        complete = false;
    };
    for (port, output) in &result.outputs {
        let digest: Digest = output.digest.parse().unwrap();
        if port == "dir" {
            match store.tree_path(&digest) {
                Ok(path) => {
                    assert_eq!(std::fs::read(path.join("bin/first")).unwrap(), first);
                    assert_eq!(std::fs::read(path.join("second")).unwrap(), second);
                }
                Err(error) => see(error),
            }
            continue;
        }
        let right = if port == "small" { &small } else { &large };
        match store.read(&digest, u64::MAX) {
            Ok(bytes) => assert_eq!(&bytes, right, "key {key}"),
            Err(error) => see(error),
        }
        match store.path(&digest) {
            Ok(path) => assert_eq!(&std::fs::read(path).unwrap(), right, "key {key}"),
            Err(error) => see(error),
        }
    }
    complete
}
