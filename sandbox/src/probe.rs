//! What this machine can enforce, without running anything in a sandbox: for `doctor`.

use std::path::Path;

use crate::{
    enforcement::Enforcement,
    policy::Policy,
    spawner::{SpawnError, Spawner},
};

/// Starts a spawner, asks what it could prepare, and stops it. `exe` is the binary that calls [`crate::spawner_main`].
/// [`SpawnError::Unavailable`] names what is missing on a machine where no sandbox is possible.
pub fn probe(exe: &Path, policy: &Policy) -> Result<Enforcement, SpawnError> {
    Spawner::start(exe)?.enforcement(policy)
}
