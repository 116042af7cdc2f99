//! What this machine can enforce: the table behind every sandbox, and the same without running anything, for `doctor`.

use std::path::Path;

use crate::{
    cgroup::{self, Layout},
    enforcement::{Enforcement, Mechanism, Status},
    policy::Policy,
    spawner::{SpawnError, Spawner},
    wire::{Mode, Ready},
};

/// Starts a spawner, asks what it could prepare, and stops it. `exe` is the binary that calls [`crate::spawner_main`].
/// [`SpawnError::Unavailable`] names what is missing on a machine where no sandbox is possible.
pub fn probe(exe: &Path, policy: &Policy) -> Result<Enforcement, SpawnError> {
    Spawner::start(exe)?.enforcement(policy)
}

/// What the facts and the policy amount to. Whatever is planned here and fails inside stops the cell from starting, so the plan
/// is the truth.
pub(crate) fn achieved(ready: &Ready, layout: &Layout, policy: &Policy) -> Enforcement {
    let mut out = Enforcement::default();
    let full = |used: &str| Status::full(used);
    out.set(
        Mechanism::Namespaces,
        full("user, process, mount, ipc, host-name and cgroup namespaces"),
    );
    out.set(Mechanism::Files, full("own root of read-only mounts, private tmpfs"));
    out.set(Mechanism::Network, full("empty network namespace, no internet sockets"));
    out.set(
        Mechanism::TwoUsers,
        match ready.mode {
            Mode::Root => full("two host users"),
            Mode::User => {
                Status::none("not root: supervisor and cell share the one user of the namespace")
            }
        },
    );
    out.set(Mechanism::Privileges, full("no capabilities, no_new_privs"));
    out.set(
        Mechanism::Landlock,
        match ready.landlock {
            0 => Status::none("this kernel has no Landlock, or it is off"),
            abi @ 1..6 => Status::partial(
                format!("Landlock ABI {abi}"),
                "no scopes for signals and abstract sockets before ABI 6",
            ),
            abi => Status::full(format!("Landlock ABI {abi}")),
        },
    );
    out.set(Mechanism::Seccomp, full("deny-list filter"));
    out.set(Mechanism::Disk, full("size of the private tmpfs, RLIMIT_FSIZE"));
    cgroup::describe(layout, &policy.limits, &mut out);
    out
}
