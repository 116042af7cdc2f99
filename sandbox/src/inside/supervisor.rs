//! Process 1 of a sandbox: builds its file system, starts the cell, reaps, passes signals on, reports, and ends with its host.
//!
//! Trusted code with no rights on the host. Knows the order it was given; does not know limits by cgroup (the host
//! made those) and never reads anything a cell wrote.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    panic::AssertUnwindSafe,
    path::Path,
};

use super::{
    Handles, Prepared,
    cell::{self, CELL_ID, SUPERVISOR_ID},
    doors,
    mounts::{PreparedBind, attach_at, lookup, make_point},
    parked::Place,
};
use crate::{
    sys::{
        self, file,
        mount::{self, Reach},
        process, socket,
    },
    wire::{self, At, Failure, Mode, Order, OrderLimits, Stage},
};

/// The machine has a number of them for all.
const MOST_TERMINALS: &CStr = c"16";

/// What is hidden of `/proc`: facts about the machine and its other tenants. What only the host's root may open (`kcore`,
/// `sysrq-trigger`) is out of a cell's reach without a cover, and each cover costs every sandbox some microseconds.
const MASKED_FILES: [&CStr; 10] = [
    c"proc/cmdline",
    c"proc/config.gz",
    c"proc/diskstats",
    c"proc/interrupts",
    c"proc/kallsyms",
    c"proc/key-users",
    c"proc/keys",
    c"proc/locks",
    c"proc/modules",
    c"proc/partitions",
];
const MASKED_DIRECTORIES: [&CStr; 4] = [c"proc/bus", c"proc/driver", c"proc/fs", c"proc/irq"];

/// Runs as process 1; never returns.
pub fn run(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    binds: &[PreparedBind],
    files: Option<BorrowedFd<'_>>,
    wait: BorrowedFd<'_>,
) -> ! {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        // For the time until we change our user: whoever is stopped here does not see the end of a socket.
        let _ = die_with_parent();
        // The release comes once our users are mapped; end of file means the spawner died or refused.
        if !file::read_byte(wait) {
            return;
        }
        if let Err(failure) = supervise(prepared, handles, filter, binds, files) {
            let _ = wire::send_setup_failed(handles.control.as_fd(), failure);
        }
    }));
    process::exit_now(if outcome.is_ok() { 0 } else { 70 })
}

fn supervise(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    binds: &[PreparedBind],
    files: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    become_supervisor(prepared.mode).at(Stage::Identity)?;
    let (order, files_at) = read_order(handles.order.as_fd()).at(Stage::Message)?;
    let (root, laid) = build_root(prepared, &order, handles.order.as_fd(), files_at, binds, files)?;
    if let Some(ports) = &order.doors {
        let doors = doors::open(ports).at(Stage::Doors)?;
        let doors: Vec<_> = doors.iter().map(AsFd::as_fd).collect();
        wire::send_doors(handles.control.as_fd(), &doors).at(Stage::Doors)?;
    }
    let given = file::bytes_used(root.as_fd());
    let [code, inputs] = &laid;
    let laid_fds = [code.as_fd(), inputs.as_fd()];
    wire::send_ready(handles.control.as_fd(), root.as_fd(), &laid_fds, given)
        .at(Stage::CellFiles)?;
    drop(laid);

    // The spawner ignores SIGCHLD, which would reap our children behind our back.
    process::default_signal(libc::SIGCHLD);
    let signals = process::signals(&[libc::SIGCHLD]).at(Stage::Fork)?;
    if order.parked {
        let place = Place { prepared, handles, filter, cell: root.as_fd(), limits: &order.limits };
        return place.attend(&order, signals.as_fd());
    }
    let mut failure = None;
    let mut cell = || failure = Some(cell::start(prepared, handles, filter, &order, binds, None));
    // SAFETY: the supervisor is single-threaded, and the cell's side only allocates and makes system calls.
    let main = unsafe { process::run_borrowing(&mut cell) }.at(Stage::Fork)?;
    release_descriptors(handles);
    if let Some(failure) = failure {
        let _ = wire::send_not_started(handles.control.as_fd(), failure);
        return Ok(());
    }
    // Only where something large may be in memory, whose consumers will mount it: a namespace that outlives its processes is torn down by
    // whoever lets go of it last, and that takes as long as all else.
    let large = || {
        let written = file::bytes_used(root.as_fd()).saturating_sub(given);
        let space = files.is_none() && written >= crate::HOT_FROM;
        space.then(|| file::open(c"/proc/self/ns/mnt", libc::O_RDONLY).ok()).flatten()
    };
    watch(handles.control.as_fd(), signals.as_fd(), main, large);
    Ok(())
}

fn die_with_parent() -> io::Result<()> {
    process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0, 0, 0).map(drop)
}

fn become_supervisor(mode: Mode) -> io::Result<()> {
    if mode == Mode::Root {
        process::drop_groups()?;
        process::become_user(SUPERVISOR_ID, SUPERVISOR_ID)?;
    }
    // Only now: the kernel clears it at every change of user.
    die_with_parent()?;
    process::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)?;
    // SAFETY: integers only. Modes below are meant literally.
    unsafe { libc::umask(0) };
    Ok(())
}

pub fn read_order(fd: BorrowedFd<'_>) -> io::Result<(Order, u64)> {
    let mut length = [0; 8];
    file::read_at(fd, &mut length, 0)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    if file::read_at(fd, &mut bytes, 8)? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((rmp_serde::from_slice(&bytes).map_err(io::Error::other)?, 8 + length))
}

/// Builds the whole view and enters it; returns the root of the cell's own file system, and the folders of its code and inputs as they are below
/// whatever keeps the cell from writing to them.
fn build_root(
    prepared: &Prepared,
    order: &Order,
    memory: BorrowedFd<'_>,
    files_at: u64,
    binds: &[PreparedBind],
    files: Option<BorrowedFd<'_>>,
) -> Result<(OwnedFd, [OwnedFd; 2]), Failure> {
    // A copy, laid over the template itself: the inherited one is locked into this namespace and could not be pivoted into.
    let root = mount::clone_tree(prepared.template.place).at(Stage::Root)?;
    mount::add_attributes(root.as_fd(), mount::RDONLY, Reach::One).at(Stage::Root)?;
    let under = file::open(prepared.template.place, libc::O_PATH).at(Stage::Root)?;
    attach_at(root.as_fd(), under.as_fd()).at(Stage::Root)?;

    mount::enter(root.as_fd()).at(Stage::Root)?;
    mount_proc(root.as_fd()).at(Stage::Proc)?;
    if order.terminals {
        mount_terminals(root.as_fd()).at(Stage::Terminals)?;
    }

    let cell = make_cell_files(prepared.mode, order, files).at(Stage::CellFiles)?;
    write_files(cell.as_fd(), order, memory, files_at).at(Stage::WriteFiles)?;
    for bind in binds {
        if let Some(relative) = bind.in_cell() {
            bind.make_point(cell.as_fd(), relative).at(Stage::BindTarget)?;
        }
    }
    let folder = |name| file::openat(cell.as_fd(), name, libc::O_PATH | libc::O_DIRECTORY, 0);
    let laid = [folder(c"code").at(Stage::CellFiles)?, folder(c"in").at(Stage::CellFiles)?];
    let point = lookup(root.as_fd(), Path::new("cell")).at(Stage::CellFiles)?;
    attach_at(cell.as_fd(), point.as_fd()).at(Stage::CellFiles)?;
    for bind in binds {
        bind.attach(root.as_fd()).at(Stage::Binds)?;
    }
    mount::pivot_here().at(Stage::Pivot)?;
    if prepared.mode == Mode::User {
        // With one user for both, only a read-only mount keeps the cell from its own code and inputs.
        for directory in [c"/cell/code", c"/cell/in"] {
            let copy = mount::clone_tree(directory).at(Stage::CellFiles)?;
            mount::add_attributes(copy.as_fd(), mount::RDONLY, Reach::Tree).at(Stage::CellFiles)?;
            let point = file::open(directory, libc::O_PATH).at(Stage::CellFiles)?;
            attach_at(copy.as_fd(), point.as_fd()).at(Stage::CellFiles)?;
        }
    }
    // SAFETY: the pointer and length describe a live literal. A host name is cosmetic, so a refusal is ignored.
    unsafe { libc::sethostname(c"cell".as_ptr(), 4) };
    Ok((cell, laid))
}

/// Expects the new root as current directory.
fn mount_proc(root: BorrowedFd<'_>) -> io::Result<()> {
    // 2 is "invisible" in the words of newer kernels.
    let attributes = mount::NOSUID | mount::NODEV | mount::NOEXEC;
    let proc_mount = mount::new_filesystem(c"proc", &[(c"hidepid", c"2")], attributes)?;
    let point = lookup(root, Path::new("proc"))?;
    attach_at(proc_mount.as_fd(), point.as_fd())?;
    for (targets, cover) in [(&MASKED_FILES[..], c"dev/null"), (&MASKED_DIRECTORIES[..], c"sys")] {
        for target in targets {
            match mount::bind(cover, target) {
                // This kernel does not have it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Each mount of the kind is an instance of its own: no terminal of anybody else can be in it.
fn mount_terminals(root: BorrowedFd<'_>) -> io::Result<()> {
    let options = [(c"ptmxmode", c"0666"), (c"mode", c"0600"), (c"max", MOST_TERMINALS)];
    let terminals = mount::new_filesystem(c"devpts", &options, mount::NOSUID | mount::NOEXEC)?;
    let point = lookup(root, Path::new("dev/pts"))?;
    attach_at(terminals.as_fd(), point.as_fd())
}

/// The cell's own file system. Its descriptor outlives the mount namespace, which is how the host reads results without any
/// path and after every process is gone.
fn make_cell_files(
    mode: Mode,
    order: &Order,
    files: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let cell = match files {
        Some(mount) => mount.try_clone_to_owned()?,
        None => make_tmpfs(order)?,
    };
    for directory in [c"code", c"in"] {
        file::mkdirat(cell.as_fd(), directory, 0o755)?;
    }
    for directory in [c"out", c"work", c"tmp", c"shm"] {
        file::mkdirat(cell.as_fd(), directory, 0o755)?;
        if mode == Mode::Root {
            file::chownat(cell.as_fd(), directory, CELL_ID, CELL_ID)?;
        }
    }
    Ok(cell)
}

fn make_tmpfs(order: &Order) -> io::Result<OwnedFd> {
    let limits = &order.limits;
    let (size, inodes) = room(limits, order.files.len())?;
    // Last, since it can be left out.
    let options = [
        (c"size", size.as_c_str()),
        (c"nr_inodes", inodes.as_c_str()),
        (c"mode", c"0755"),
        (c"huge", LARGE_PAGES),
    ];
    let attributes = mount::NOSUID | mount::NODEV;
    mount::new_filesystem(c"tmpfs", &options, attributes).or_else(|_| {
        // A kernel without huge pages does not take the option.
        mount::new_filesystem(c"tmpfs", &options[..options.len() - 1], attributes)
    })
}

/// Bytes and files that a file system with so many given ones may have, as words.
pub fn room(limits: &OrderLimits, files: usize) -> io::Result<(CString, CString)> {
    let text = |number: u64| CString::new(number.to_string()).map_err(io::Error::other);
    Ok((text(limits.disk + limits.given)?, text(limits.inodes + wire::own_inodes(files))?))
}

/// Pages as large as what is written or reserved at once (Linux 6.14; before, of 2 MiB), never beyond a file's end: filling a large file costs
/// a fifth of what it costs page by page. They count as the cell's memory, and where there are none, small ones come.
/// Not `always`: a file of a few bytes would take 2 MiB.
const LARGE_PAGES: &CStr = c"within_size";

pub fn write_files(
    cell: BorrowedFd<'_>,
    order: &Order,
    memory: BorrowedFd<'_>,
    mut offset: u64,
) -> io::Result<()> {
    for entry in &order.files {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            make_point(cell, parent, true)?;
        }
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_EXCL | libc::O_NOFOLLOW;
        let to =
            file::openat2(cell, &sys::c_path(path)?, flags, entry.mode & 0o777, file::NO_ESCAPE)?;
        file::send_file(to.as_fd(), memory, offset, entry.length)?;
        offset += entry.length;
    }
    Ok(())
}

/// Gives up what belongs to the cell alone: the host sees end of file on the pipes when the last cell process is gone, and no
/// cgroup can be joined through us.
pub fn release_descriptors(handles: &Handles) {
    super::close(handles.stdout.as_fd());
    super::close(handles.stderr.as_fd());
    for fd in handles.stdin.iter().chain(&handles.worker).chain(&handles.joins).chain(&handles.home)
    {
        super::close(fd.as_fd());
    }
}

/// Waits for the main process, the host's commands, and the host's end.
fn watch(
    control: BorrowedFd<'_>,
    signals: BorrowedFd<'_>,
    main: i32,
    space: impl Fn() -> Option<OwnedFd>,
) {
    loop {
        let mut fds = [sys::interest(control, libc::POLLIN), sys::interest(signals, libc::POLLIN)];
        if sys::poll(&mut fds, -1).is_err() {
            return;
        }
        if fds[0].revents != 0 {
            let mut bytes = [0; 4];
            match socket::receive(control, &mut bytes) {
                Ok(received) if received.length == 4 => {
                    let _ = match i32::from_le_bytes(bytes) {
                        // Atomic against forks: a process with a pending signal cannot fork.
                        to_all if to_all < 0 => process::kill(-1, -to_all),
                        // The main process leads a group of its own.
                        signal => process::kill(-main, signal),
                    };
                }
                // The host is gone: ending process 1 ends everything.
                _ => return,
            }
        }
        if fds[1].revents != 0 {
            drain(signals);
            let mut ended = None;
            while let Ok(Some((pid, status))) = process::wait_any(libc::WNOHANG) {
                if pid == main {
                    ended = Some(status);
                }
            }
            if let Some(status) = ended {
                let leftovers = end_everything();
                let (cpu_micros, max_rss) = process::children_usage();
                let space = space();
                let space = space.as_ref().map(AsFd::as_fd);
                let _ = wire::send_exited(control, status, leftovers, cpu_micros, max_rss, space);
                return;
            }
        }
    }
}

pub fn drain(signals: BorrowedFd<'_>) {
    let mut buffer = [0_u8; 128];
    // SAFETY: the buffer holds one `signalfd_siginfo`. Signals coalesce; the reaping loop looks for all children anyway.
    unsafe {
        libc::read(
            std::os::fd::AsRawFd::as_raw_fd(&signals),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
}

/// Kills and reaps until nobody is left; returns how many had to be killed.
pub fn end_everything() -> u32 {
    let mut killed = 0;
    loop {
        // Atomic against forks: a process with a pending kill cannot fork.
        let _ = process::kill(-1, libc::SIGKILL);
        match process::wait_any(0) {
            Ok(Some(_)) => killed += 1,
            _ => return killed,
        }
    }
}
