//! Processes: cloning, identity, limits, signals, waiting.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::{check, check_int, retry};

/// Argument block of `clone3` (version 2, Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What `clone3` returned, seen from both sides.
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the caller: the child's id and a descriptor for it.
    Parent(i32, OwnedFd),
}

/// Clones the calling process into new namespaces (`flags` of `CLONE_NEW*`), optionally straight into a v2 cgroup.
///
/// # Safety
/// The caller must be single-threaded: the child continues with a copy of all memory, locks included.
pub unsafe fn clone_into(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM and no stack, so the child runs on a copy of this stack like after fork; the block outlives the call.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor in the parent's `pidfd`.
    Ok(Cloned::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Runs `child` in a new process that borrows this one's memory, while this one sleeps until the other executes a program or
/// exits (vfork, on a stack of its own): nothing is copied, and what `child` stores is seen here afterwards. Returns the id.
///
/// # Safety
/// The caller must be single-threaded. `child` must not free or lock anything of the caller's that it does not restore.
pub unsafe fn run_borrowing(child: &mut dyn FnMut()) -> io::Result<i32> {
    extern "C" fn enter(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the pointer is to the `child` below, which the sleeping caller keeps alive.
        let child = unsafe { &mut *argument.cast::<&mut dyn FnMut()>() };
        // Unwinding would leave this stack's bottom.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        exit_now(127)
    }
    // Only what is touched becomes memory.
    const STACK: usize = 1 << 20;
    let mut child = child;
    // SAFETY: an anonymous private mapping of its own; its top is aligned. The flags give the new process its own
    // descriptors, signal handlers, directories and credentials; the caller sleeps, so nobody else uses the memory meanwhile.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let stack = libc::mmap(std::ptr::null_mut(), STACK, access, flags, -1, 0);
        if stack == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let argument = (&raw mut child).cast::<libc::c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = check_int(libc::clone(enter, stack.byte_add(STACK), flags, argument));
        libc::munmap(stack, STACK);
        pid
    }
}

/// `fork`: 0 in the copy, its id in the caller.
///
/// # Safety
/// The caller must be single-threaded: the child continues with a copy of all memory, locks included.
pub unsafe fn fork() -> io::Result<i32> {
    // SAFETY: as told above.
    check_int(unsafe { libc::fork() })
}

/// Makes the caller, which leads none yet, the leader of a process group.
pub fn lead_group() {
    // SAFETY: integers only.
    unsafe { libc::setpgid(0, 0) };
}

/// `unshare`.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: integers only; the flags used here affect a single-threaded process.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

/// `setns`.
pub fn enter_namespace(fd: BorrowedFd<'_>, kind: i32) -> io::Result<()> {
    // SAFETY: integers only; the kinds used here affect a single-threaded process.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), kind) }).map(drop)
}

/// `prctl` with integer arguments.
pub fn prctl(option: i32, a: u64, b: u64, c: u64, d: u64) -> io::Result<i32> {
    // SAFETY: only options with integer arguments are used through this function.
    check_int(unsafe { libc::prctl(option, a, b, c, d) })
}

/// Real, effective and saved ids of user and group, group first. By system call: the C library's wrappers would try to tell
/// other threads, of which there are none.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Drops every supplementary group.
pub fn drop_groups() -> io::Result<()> {
    let none: *const libc::gid_t = std::ptr::null();
    // SAFETY: an empty list may be null.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, none) }).map(drop)
}

/// Empties the permitted, effective and inheritable capability sets.
pub fn drop_capabilities() -> io::Result<()> {
    set_capabilities(0, 0)
}

/// Sets the permitted and effective capabilities, and those that a program may inherit; of the first 32, and none of the others.
pub fn set_capabilities(permitted: u32, inheritable: u32) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let data = [permitted, permitted, inheritable, 0, 0, 0];
    // SAFETY: version 3 reads a header of two words and six words of data.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Lowers a limit to `value` (never above the hard limit, which it lowers too).
pub fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut current = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `current` is valid for writing.
    check_int(unsafe { libc::getrlimit(resource, &raw mut current) })?;
    let value = value.min(current.rlim_max);
    let new = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `new` is valid for reading.
    check_int(unsafe { libc::setrlimit(resource, &raw const new) }).map(drop)
}

/// Signals a process by descriptor, so that a reused id is never hit.
pub fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo means "as kill(2)".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) })
        .map(drop)
}

/// Whether [`signal_pidfd`] works here: some containers refuse the call. Asked of no descriptor, which is an error of its own.
pub fn can_signal_pidfds() -> bool {
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: as above; -1 is never a descriptor.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, -1, 0, none, 0) })
        .is_err_and(|error| error.raw_os_error() == Some(libc::EBADF))
}

/// `kill`, for process 1 of a namespace, whose ids nobody else can reuse.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// A child that ended: its id and raw wait status.
pub fn wait_any(options: i32) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let pid = retry(|| check_int(unsafe { libc::waitpid(-1, &raw mut status, options) }))?;
    Ok(if pid == 0 { None } else { Some((pid, status)) })
}

/// Blocks signals and returns a descriptor that is readable while one is pending.
pub fn signals(which: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: `sigset_t` is plain integers; sigemptyset initialises it; every pointer refers to the live local.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in which {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        check_int(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?
    };
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes what is pending on such a descriptor: the numbers, each once.
pub fn take_signals(fd: BorrowedFd<'_>) -> Vec<i32> {
    let mut taken = Vec::new();
    loop {
        // SAFETY: `signalfd_siginfo` is plain integers; zero is a valid value of each.
        let mut one: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: `one` is valid for writing its size; the descriptor does not block.
        let got = unsafe { libc::read(fd.as_raw_fd(), (&raw mut one).cast(), size) };
        if got != size as isize {
            return taken;
        }
        taken.push(one.ssi_signo as i32);
    }
}

/// Puts a signal back to its default. The two that cannot be changed are not.
pub fn default_signal(signal: i32) {
    // SAFETY: resetting a disposition runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Unblocks every signal, as a fresh program expects it.
pub fn unblock_signals() {
    // SAFETY: `sigset_t` is plain integers, initialised by sigemptyset; both pointers refer to the live local.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// The kernel's id of the calling thread.
pub fn thread_id() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() as u32 }
}

/// Ends the process without running exit handlers or destructors.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Closes (or, with `CLOSE_RANGE_CLOEXEC`, marks) every descriptor from `first` to `last`.
pub fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: callers close only descriptors they do not use any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// `dup2` onto a fixed number; the copy survives exec. Works when both are the same.
pub fn place_fd(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: integers only.
        return check_int(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: the caller gives up whatever was at `number`.
    check_int(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// CPU time of all waited-for children in microseconds, and the largest resident set of one of them in bytes.
pub fn children_usage() -> (u64, u64) {
    // SAFETY: `rusage` is plain integers; the pointer refers to the live local.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss as u64 * 1024)
}

/// The calling thread makes files as another user, as long as this lives; it must not be handed to another thread meanwhile.
#[derive(Debug)]
pub struct FileUser {
    user: u32,
    group: u32,
    /// It counts for the thread that made it.
    _thread: std::marker::PhantomData<*const ()>,
}

impl FileUser {
    /// Becomes user and group of this number in what is done with files. An error where the process may not.
    pub fn become_one(user: u32) -> io::Result<Self> {
        // The group first: afterwards the right to is gone.
        let this = Self {
            group: set_fs(libc::SYS_setfsgid, user),
            user: set_fs(libc::SYS_setfsuid, user),
            _thread: std::marker::PhantomData,
        };
        // Refusals are told by nothing but the number that stays (setfsuid(2)).
        if set_fs(libc::SYS_setfsuid, u32::MAX) == user {
            Ok(this)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl Drop for FileUser {
    fn drop(&mut self) {
        set_fs(libc::SYS_setfsuid, self.user);
        set_fs(libc::SYS_setfsgid, self.group);
    }
}

/// The number before; one that is none changes nothing.
fn set_fs(call: libc::c_long, id: u32) -> u32 {
    // SAFETY: integers only. The system call, not the wrapper of a C library, counts for this thread alone.
    let before = unsafe { libc::syscall(call, id) };
    u32::try_from(before).unwrap_or(u32::MAX)
}
