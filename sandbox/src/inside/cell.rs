//! The last steps of a process before it becomes the cell, in the one order that works. Does not know mounts.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use super::{Handles, Prepared, landlock, mounts::PreparedBind, seccomp};
use crate::{
    WORKER_FD,
    sys::{file, process},
    wire::{At, Failure, Mode, Order, OrderLimits, Stage},
};

/// The supervisor's user and group inside a sandbox with two users.
pub const SUPERVISOR_ID: u32 = 0;
/// The cell's user and group inside.
pub const CELL_ID: u32 = 1000;

/// What a supervisor has done for all of its cells that are alike.
pub struct Ahead {
    rules: Option<OwnedFd>,
}

impl Ahead {
    /// Also takes from the caller, and so from each cell, what no program that is executed could have any more.
    pub fn new(prepared: &Prepared) -> Result<Self, Failure> {
        bound_capabilities();
        Ok(Self { rules: landlock::rules(prepared.landlock, &[], &[]).at(Stage::Landlock)? })
    }
}

/// Becomes the cell; returns only the reason why not.
pub fn start(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    order: &Order,
    binds: &[PreparedBind],
    ahead: Option<&Ahead>,
) -> Failure {
    match confine(prepared, handles, filter, order, binds, ahead) {
        Ok(program) => Failure { stage: Stage::Exec, errno: program.execute() },
        Err(failure) => failure,
    }
}

fn confine(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    order: &Order,
    binds: &[PreparedBind],
    ahead: Option<&Ahead>,
) -> Result<Program, Failure> {
    let program = Program::new(order).at(Stage::Exec)?;
    join(handles)?;
    if prepared.cgroup_namespace {
        // Hides the names of the cgroups just joined.
        process::unshare(libc::CLONE_NEWCGROUP).at(Stage::JoinCgroup)?;
    }
    fresh_signals();
    streams(handles).at(Stage::Stdio)?;
    limits(&order.limits).at(Stage::Limits)?;
    match order.zygote {
        true => zygote_privileges().at(Stage::Privileges)?,
        false => privileges(prepared.mode, ahead).at(Stage::Privileges)?,
    }
    let cwd =
        CString::new(order.cwd.as_slice()).map_err(io::Error::other).at(Stage::WorkDirectory)?;
    // SAFETY: the path is NUL-terminated.
    crate::sys::check_int(unsafe { libc::chdir(cwd.as_ptr()) }).at(Stage::WorkDirectory)?;
    let rules = match ahead {
        Some(_) => None,
        None => own_rules(prepared, order, binds).at(Stage::Landlock)?,
    };
    if let Some(rules) = ahead.and_then(|ahead| ahead.rules.as_ref()).or(rules.as_ref()) {
        landlock::enforce(prepared.landlock, rules).at(Stage::Landlock)?;
    }
    mark_descriptors(handles)?;
    seccomp::install(filter).at(Stage::Seccomp)?;
    Ok(program)
}

fn own_rules(
    prepared: &Prepared,
    order: &Order,
    binds: &[PreparedBind],
) -> io::Result<Option<OwnedFd>> {
    let granted = binds.iter().filter(|bind| bind.writable());
    let granted: io::Result<Vec<CString>> =
        granted.map(|bind| crate::sys::c_path(&Path::new("/").join(bind.target()))).collect();
    let ports = order.doors.as_deref().unwrap_or_default();
    landlock::rules(prepared.landlock, &granted?, ports)
}

/// Joining from here keeps the supervisor outside: it is neither charged nor killed for the cell's memory.
pub fn join(handles: &Handles) -> Result<(), Failure> {
    for procs in &handles.joins {
        file::write_whole(procs.as_fd(), b"0").at(Stage::JoinCgroup)?;
    }
    Ok(())
}

pub fn fresh_signals() {
    process::default_signal(libc::SIGPIPE);
    process::unblock_signals();
    // A group of its own to be signalled as one. Not a session: the spawner's has no terminal either, and with automatic
    // scheduling groups each session competes anew for the processors, which doubled the time of a start under load.
    process::lead_group();
}

/// Marked, not closed: the rest of the way may still need one.
pub fn mark_descriptors(handles: &Handles) -> Result<(), Failure> {
    let first = if handles.worker.is_some() { WORKER_FD + 1 } else { WORKER_FD };
    process::close_range(first as u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC).at(Stage::Descriptors)
}

pub fn streams(handles: &Handles) -> io::Result<()> {
    match &handles.stdin {
        Some(stdin) => process::place_fd(stdin.as_fd(), 0)?,
        None => process::place_fd(file::open(c"/dev/null", libc::O_RDONLY)?.as_fd(), 0)?,
    }
    process::place_fd(handles.stdout.as_fd(), 1)?;
    process::place_fd(handles.stderr.as_fd(), 2)?;
    if let Some(worker) = &handles.worker {
        process::place_fd(worker.as_fd(), WORKER_FD)?;
    }
    Ok(())
}

/// Backstops per process. What counts over all processes is the cgroup's.
pub fn limits(limits: &OrderLimits) -> io::Result<()> {
    process::limit(libc::RLIMIT_CORE, 0)?;
    process::limit(libc::RLIMIT_MEMLOCK, 0)?;
    process::limit(libc::RLIMIT_MSGQUEUE, 0)?;
    process::limit(libc::RLIMIT_RTPRIO, 0)?;
    process::limit(libc::RLIMIT_NICE, 0)?;
    // Also caps POSIX timers.
    process::limit(libc::RLIMIT_SIGPENDING, 64)?;
    process::limit(libc::RLIMIT_NOFILE, limits.files)?;
    process::limit(libc::RLIMIT_STACK, limits.stack)?;
    if let Some(processes) = limits.processes {
        process::limit(libc::RLIMIT_NPROC, processes)?;
    }
    // Covers memfds too, which no file system limit does.
    process::limit(libc::RLIMIT_FSIZE, limits.disk)?;
    if let Some(seconds) = limits.cpu_seconds {
        process::limit(libc::RLIMIT_CPU, seconds)?;
    }
    if let Some(data) = limits.data {
        // Never RLIMIT_AS: runtimes reserve far more address space than they use.
        process::limit(libc::RLIMIT_DATA, data)?;
    }
    if let Ok(adjust) = file::open(c"/proc/self/oom_score_adj", libc::O_WRONLY) {
        // When the whole machine runs out, a cell goes before the host does.
        let _ = file::write_whole(adjust.as_fd(), b"500");
    }
    // SAFETY: integers only.
    unsafe { libc::umask(0o022) };
    Ok(())
}

/// SECBIT_NOROOT and its lock, SECBIT_KEEP_CAPS_LOCKED: user 0 means nothing special from here on.
fn root_means_nothing() -> io::Result<()> {
    const SECUREBITS: u64 = 1 | 1 << 1 | 1 << 5;
    process::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0).map(drop)
}

fn bound_capabilities() {
    // Ends at the first capability this kernel does not know.
    for capability in 0..64 {
        if process::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0).is_err() {
            break;
        }
    }
}

/// A zygote stays the supervisor's user, out of reach of its cells, and keeps what it takes to make each of them the cell's user: by that change the
/// kernel takes everything from the copy.
fn zygote_privileges() -> io::Result<()> {
    const KEPT: u32 = 1 << 6 | 1 << 7; // CAP_SETGID, CAP_SETUID
    const SETPCAP: u32 = 1 << 8;
    root_means_nothing()?;
    process::set_capabilities(KEPT | SETPCAP, KEPT)?;
    for capability in [6, 7] {
        // Else they would end with the program that is about to be executed.
        process::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability, 0, 0)?;
    }
    bound_capabilities();
    process::set_capabilities(KEPT, KEPT)?;
    process::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)
}

fn privileges(mode: Mode, ahead: Option<&Ahead>) -> io::Result<()> {
    root_means_nothing()?;
    if ahead.is_none() {
        bound_capabilities();
    }
    if mode == Mode::Root {
        process::drop_groups()?;
        process::become_user(CELL_ID, CELL_ID)?;
    }
    process::drop_capabilities()?;
    process::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)
}

/// Everything `execve` needs, allocated before the confinement.
pub struct Program {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    pub fn new(order: &Order) -> io::Result<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
        let argv =
            order.argv.iter().map(|argument| text(argument)).collect::<io::Result<Vec<_>>>()?;
        let env = order.env.iter().map(|pair| text(pair)).collect::<io::Result<Vec<_>>>()?;
        let name = order.argv.first().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        let candidates = if name.contains(&b'/') {
            vec![text(name)?]
        } else {
            let path = order.env.iter().find_map(|pair| pair.strip_prefix(b"PATH="));
            let directories =
                path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|byte| *byte == b':');
            directories
                .filter(|directory| directory.starts_with(b"/"))
                .map(|directory| text(&[directory, b"/", name].concat()))
                .collect::<io::Result<_>>()?
        };
        Ok(Self { candidates, argv, env })
    }

    /// Returns only on failure: the most telling errno of all candidates.
    pub fn execute(&self) -> i32 {
        let pointers = |list: &[CString]| {
            list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (argv, env) = (pointers(&self.argv), pointers(&self.env));
        let mut errno = libc::ENOENT;
        for candidate in &self.candidates {
            // SAFETY: all strings are NUL-terminated and both lists end with a null pointer.
            unsafe { libc::execve(candidate.as_ptr(), argv.as_ptr(), env.as_ptr()) };
            let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            if error != libc::ENOENT && error != libc::ENOTDIR {
                errno = error;
            }
        }
        errno
    }
}

/// Compile-time reminder: the worker socket must not collide with a standard stream.
const _: () = assert!(WORKER_FD == 3, "the spawner reserves 0..=3");
