//! What this machine can enforce: the table behind every sandbox, and the same without running anything, for `doctor`.

use std::path::Path;

use crate::{
    cgroup::{self, Layout},
    enforcement::{Enforcement, Level, Mechanism, Status},
    policy::{Network, Policy, Seccomp},
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
pub(crate) fn achieved(
    ready: &Ready,
    layout: &Layout,
    policy: &Policy,
    disk: Status,
    why_bare: Option<&str>,
) -> Enforcement {
    let mut out = Enforcement::default();
    let full = |used: &str| Status::full(used);
    out.set(
        Mechanism::Namespaces,
        if ready.cgroup_namespace {
            full("user, process, mount, ipc, host-name and cgroup namespaces")
        } else {
            Status::partial(
                "user, process, mount, ipc and host-name namespaces",
                "this kernel has no cgroup namespaces: a cell sees the names of its groups",
            )
        },
    );
    out.set(Mechanism::Files, full("own root of read-only mounts, private work directory"));
    out.set(
        Mechanism::Network,
        match &policy.network {
            Network::None => full("empty network namespace, no internet sockets"),
            Network::Doors(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                full(&format!(
                    "own network namespace, doors to the host at port {}",
                    ports.join(", ")
                ))
            }
        },
    );
    out.set(
        Mechanism::TwoUsers,
        match ready.mode {
            Mode::Root => full("two host users"),
            Mode::User | Mode::Bare => {
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
    out.set(
        Mechanism::Seccomp,
        full(match policy.seccomp {
            Seccomp::Default => "deny-list filter",
            Seccomp::Strict => "deny-list filter, no locks on shared files, no named sockets",
            Seccomp::Runner => "allow-list filter",
        }),
    );
    out.set(Mechanism::Disk, disk);
    cgroup::describe(layout, &policy.limits, &mut out);
    if ready.mode == Mode::Bare {
        without_namespaces(ready, why_bare.unwrap_or_default(), &mut out);
    }
    out
}

/// What is weaker where there are no namespaces.
fn without_namespaces(ready: &Ready, why: &str, out: &mut Enforcement) {
    let why = if why.is_empty() { "no namespaces" } else { why };
    out.set(Mechanism::Namespaces, Status::none(why));
    out.set(
        Mechanism::Files,
        if ready.landlock > 0 {
            Status::partial(
                "Landlock",
                "no mount namespace: names and sizes of the host's files are seen, and its toolchains are read where they are",
            )
        } else {
            Status::none("neither a mount namespace nor Landlock: files are the user's own to read and change")
        },
    );
    out.set(
        Mechanism::Network,
        Status::partial(
            "system call filter: no sockets but pairs",
            "no network namespace: only the filter is in the way",
        ),
    );
    out.set(
        Mechanism::TwoUsers,
        Status::none("no user namespace: the cell is the user who runs the host"),
    );
    if out.level(Mechanism::Processes) != Level::Full {
        out.set(
            Mechanism::Processes,
            Status::none("no pids cgroup, and without a user namespace a limit would count all of the user's processes"),
        );
    }
    let by_group = out.mechanisms.get(&Mechanism::Kill);
    let by_group = by_group.is_some_and(|status| status.used.starts_with("cgroup.kill"));
    out.set(
        Mechanism::Kill,
        Status::partial(
            if by_group {
                "cgroup.kill, then a supervisor that adopts what its children leave"
            } else {
                "a supervisor that adopts what its children leave, and kills until nobody is left"
            },
            "no process namespace: what forks faster than it is killed lives on until it stops, and so does all of it if the supervisor is killed",
        ),
    );
}
