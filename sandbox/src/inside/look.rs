//! What a cell finds around it, told by itself: our own binary as the cell, for `doctor`. And trying what may be had, outside of any sandbox.
//!
//! Prints `key=value` lines. Knows no policy: what the values ought to be is the host's to know.

use std::{
    fs,
    io::{self, Write},
};

use crate::sys::process;

/// Namespaces by the name of their link in `/proc/self/ns`.
pub const NAMESPACES: [(&str, i32); 7] = [
    ("user", libc::CLONE_NEWUSER),
    ("pid", libc::CLONE_NEWPID),
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

/// Facts of `/proc/self/status`.
const STATUS: [&str; 6] = ["CapEff", "CapPrm", "CapBnd", "CapInh", "NoNewPrivs", "Seccomp"];

/// Hard limits that are set whatever the policy says.
const LIMITS: [(&str, libc::__rlimit_resource_t); 4] = [
    ("core", libc::RLIMIT_CORE),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("sigpending", libc::RLIMIT_SIGPENDING),
];

/// One line on the cell's standard output, which is nobody's screen.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Looks around from inside.
pub fn look() {
    for (name, _) in NAMESPACES {
        let link = fs::read_link(format!("/proc/self/ns/{name}"));
        say(&format!("ns {name}={}", link.map_or_else(told, |link| link.display().to_string())));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for name in STATUS {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        say(&format!("{name}={}", found.unwrap_or_default().trim()));
    }
    // SAFETY: no arguments.
    say(&format!("uid={}", unsafe { libc::getuid() }));
    for (name, limit) in LIMITS {
        let mut value = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `value` is valid for writing.
        unsafe { libc::getrlimit(limit, &raw mut value) };
        say(&format!("limit {name}={}", value.rlim_max));
    }
    say(&format!("write /usr={}", write("/usr/polyloom-look")));
    say(&format!("write /={}", write("/polyloom-look")));
    say(&format!("write /cell/work={}", write("/cell/work/polyloom-look")));
    say(&format!("hostname={}", fs::read_to_string("/etc/hostname").unwrap_or_default().trim()));
    let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
    say(&format!(
        "passwd={}",
        fs::read_to_string("/etc/passwd").unwrap_or_default().lines().count()
    ));
    say(&format!("dev={}", entries("/dev")));
    say(&format!("home={}", entries("/home") + entries("/root")));
    say(&format!("kallsyms={}", fs::read("/proc/kallsyms").map_or(0, |bytes| bytes.len())));
    say(&format!("proc 1={}", fs::read_link("/proc/1/root").map_or_else(told, |_| "seen".into())));
    // SAFETY: integers only; what is made is ours to leave to the end of the process.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    say(&format!("socket={}", if socket < 0 { last() } else { "made".into() }));
    // SAFETY: a number that no kernel gives a meaning.
    let future = unsafe { libc::syscall(999) };
    say(&format!("future={}", if future < 0 { last() } else { "made".into() }));
}

/// Tries one kind of namespace, as an ordinary user with a user namespace first. 0, or the error number, is printed.
pub fn try_namespace(name: &str) {
    let flag = NAMESPACES.iter().find(|(known, _)| *known == name).map_or(0, |(_, flag)| *flag);
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    let mut outcome = process::unshare(flag);
    if outcome.is_err() && !(root && flag == libc::CLONE_NEWUSER) {
        outcome = process::unshare(libc::CLONE_NEWUSER | flag);
    }
    say(&format!("{name}={}", outcome.map_or_else(told, |()| "0".into())));
}

fn write(path: &str) -> String {
    fs::write(path, "x").map_or_else(told, |()| "written".into())
}

fn last() -> String {
    told(io::Error::last_os_error())
}

fn told(error: io::Error) -> String {
    error.raw_os_error().unwrap_or(-1).to_string()
}
