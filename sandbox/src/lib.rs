//! Running one untrusted command in a sandbox of its own, and saying honestly how well it was confined.
//!
//! Knows processes, namespaces, cgroups, mounts and file descriptors. Does not know flows, cells' languages,
//! protocols, stores, clocks or async runtimes: every call is synchronous, every deadline is the caller's,
//! and what a caller may wait for is a file descriptor. See `README.md` for the process picture.
#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "the kernel interfaces this crate is about have no safe wrapper; each use is in `sys` or says why not"
)]

mod cgroup;
mod collect;
mod enforcement;
mod inside;
mod launch;
mod policy;
mod probe;
mod sandbox;
mod spawner;
mod spec;
mod sys;
mod usage;
mod wire;

pub use cgroup::{SweepReport, sweep};
pub use collect::{Collector, Entry, Kind, Listing, ListingCaps, Refusal, Refused};
pub use enforcement::{Enforcement, Level, Mechanism, Status};
pub use inside::spawner_main;
pub use policy::{Limits, Network, Policy, Seccomp};
pub use probe::probe;
pub use sandbox::{Exit, ExitFact, OomSignal, Sandbox, Teardown};
pub use spawner::{SpawnError, Spawner};
pub use spec::{Bind, File, Spec, SpecError, Stdin};
pub use usage::Usage;
pub use wire::Stage;

/// The hidden first argument under which the binary becomes the spawner (see [`spawner_main`]).
pub const SPAWNER_ARG: &str = "__spawner";

/// Where a cell's own file system is mounted inside the sandbox.
pub const CELL_ROOT: &str = "/cell";

/// The number of the worker socket inside the cell, announced in the environment as `POLYLOOM_W`.
pub const WORKER_FD: i32 = 3;

/// A host shares these between its threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Spawner>();
    shared::<Sandbox>();
    shared::<Collector>();
};
