//! Machines that lack something: the same attacks, with one thing taken away from the host. Knows system calls by name and what
//! the launcher beside it can do.

use std::ffi::OsString;

use polyloom_attack::{Launch, Level};

use crate::oracle::{binary, program};

/// One such machine.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name in tables.
    pub name: String,
    /// How the host is started on it.
    pub launch: Launch,
    /// What the host has to make of it.
    pub answer: Answer,
}

/// What a host makes of a machine that lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It refuses to run anything, and these words say what is missing.
    Refuses(&'static str),
    /// It runs, and the record of each cell has this mechanism at this level.
    Reports(&'static str, Level),
    /// It has another way that is as good.
    Copes,
}
use Answer::{Copes, Refuses, Reports};

/// A run after another one from which a daemon has learnt what to have waiting, which ends after it.
const DAEMON: &str = r#"
"$1" daemon start --idle 5min -q || exit 99
"$@" > /dev/null 2>&1
sleep 3
"$@" --force-all
code=$?
"$1" daemon status --format json | grep -q '"found": 0' && exit 98
"$1" daemon stop -q || exit 97
exit $code
"#;

/// This machine with a daemon.
#[must_use]
pub fn with_daemon() -> Variant {
    let mut launch = Launch::plain(binary());
    launch.through = ["sh", "-c", DAEMON, "sh"].map(OsString::from).to_vec();
    launch.limit *= 2;
    Variant { name: "with a daemon".to_owned(), launch, answer: Copes }
}

/// An ordinary user who owns nothing here.
pub const USER: u32 = 65_123;

/// System calls that fail, one for each machine: what the sandbox is made of.
const FAILING: &[(&str, &str, Answer)] = &[
    ("landlock_create_ruleset", "ENOSYS", Reports("landlock", Level::None)),
    ("landlock_restrict_self", "EPERM", Refuses("restrict itself with Landlock")),
    ("clone3", "ENOSYS", Refuses("clone the supervisor")),
    // Already a tool that is asked for its version has nowhere to be asked.
    ("openat2", "ENOSYS", Refuses("make the cell's file system on disk")),
    ("mount_setattr", "ENOSYS", Refuses("build the read-only root")),
    ("fsopen", "ENOSYS", Refuses("build the read-only root")),
    ("fsmount", "EPERM", Refuses("build the read-only root")),
    ("open_tree", "ENOSYS", Refuses("build the read-only root")),
    ("move_mount", "EPERM", Refuses("build the read-only root")),
    ("pivot_root", "EPERM", Refuses("pivot into the root")),
    ("pidfd_open", "ENOSYS", Copes),
    ("pidfd_send_signal", "ENOSYS", Copes),
    ("close_range", "ENOSYS", Refuses("close descriptors")),
    ("seccomp", "ENOSYS", Refuses("install the system call filter")),
    ("unshare", "EPERM", Refuses("make a user namespace")),
    ("memfd_create", "ENOSYS", Refuses("prepare the sandbox's descriptors")),
    ("prlimit64", "EPERM", Refuses("set resource limits")),
];

/// The same for calls that only root's host makes.
const FAILING_FOR_ROOT: &[(&str, &str, Answer)] =
    &[("setresuid", "EPERM", Refuses("become the supervisor's user"))];

/// The host as an ordinary user starts it.
#[must_use]
pub fn ordinary_user() -> Variant {
    let mut launch = Launch::plain(binary());
    launch.user = Some(USER);
    let answer = Reports("two_users", Level::None);
    Variant { name: "as an ordinary user".to_owned(), launch, answer }
}

/// The machines, one for each thing that is taken away from root's host; or from an ordinary user's.
#[must_use]
pub fn variants(user: Option<u32>) -> Vec<Variant> {
    let launcher = program("POLYLOOM_UNDER_BIN", "polyloom-attack-under");
    let who = if user.is_some() { "as an ordinary user without" } else { "without" };
    let mut all = Vec::new();
    let more = if user.is_some() { &[][..] } else { FAILING_FOR_ROOT };
    for (call, errno, answer) in FAILING.iter().chain(more) {
        let mut launch = Launch::plain(binary());
        launch.user = user;
        launch.through =
            vec![launcher.clone().into(), "--fail".into(), format!("{call}={errno}").into()];
        all.push(Variant { name: format!("{who} {call}"), launch, answer: *answer });
    }
    if user.is_none() {
        let mut launch = Launch::plain(binary());
        let hide = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
        let words = ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh"];
        launch.through = words.iter().map(OsString::from).collect();
        let answer = Reports("memory", Level::Partial);
        let name = "without control groups".to_owned();
        all.push(Variant { name, launch: launch.clone(), answer });
        // Then nothing is left to kill by, but that process 1 ends with the host's end of its socket.
        launch.through.extend([
            launcher.into(),
            "--fail".into(),
            "pidfd_send_signal=ENOSYS".into(),
        ]);
        let name = "without control groups and pidfd_send_signal".to_owned();
        let answer = Reports("kill", Level::Partial);
        all.push(Variant { name, launch, answer });
    }
    all
}
