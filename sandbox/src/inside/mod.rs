//! The spawner: a small single-threaded process that makes every sandbox, so that the (large, threaded) host never forks.
//!
//! It knows how to open mounts, clone and map users. What happens after the clone is `supervisor`'s; what a
//! request means for the caller is the host side's (`crate::spawner`).

mod bare;
mod cell;
mod doors;
mod hot;
mod landlock;
mod look;
mod mounts;
mod owners;
mod parked;
mod runner;
mod seccomp;
mod supervisor;
mod template;

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::{
    sys::{self, process, socket},
    wire::{At, FIRST_UID, Facts, Failure, Launch, Missing, Mode, Ready, Role, Stage, UID_SLOTS},
};
use mounts::PreparedBind;
use template::Template;
pub use template::stamp;

/// Longest request: bounded by the default send buffer of a socket.
pub const MAX_LAUNCH: usize = 128 << 10;

/// Second argument of a spawner that may ask the kernel to end it with the thread that started it.
pub const TIED: &str = "tied";

/// Second argument by which the binary looks around from inside a sandbox, or tries one kind of namespace.
pub const LOOK: &str = "look";
pub const TRY: &str = "try";
pub use bare::inside as bare_inside;
pub use look::NAMESPACES;
pub use seccomp::{filter_of, install as install_filter};

/// Argument of a spawner that is to do without namespaces.
pub const BARE: &str = "bare";

/// Becomes the spawner. The binary calls this first when its first argument is [`crate::SPAWNER_ARG`]; standard input is the
/// control socket. Ends with the host.
pub fn spawner_main() -> ! {
    let argument = |index| std::env::args().nth(index).unwrap_or_default();
    match argument(2).as_str() {
        LOOK => look::look(),
        TRY => look::try_namespace(&argument(3)),
        _ => become_spawner(),
    }
    // Not by `exit_now`: what was printed is to arrive.
    std::process::exit(0)
}

fn become_spawner() -> ! {
    process::exit_now(match serve() {
        Ok(()) => 0,
        Err(_) => 70,
    })
}

/// Everything prepared once that each sandbox uses.
pub struct Prepared {
    mode: Mode,
    landlock: u32,
    cgroup_namespace: bool,
    template: Template,
    filters: seccomp::Filters,
}

fn serve() -> io::Result<()> {
    let told = |word: &str| std::env::args_os().skip(2).any(|argument| argument == word);
    if told(TIED) {
        // The end of the control socket is the rule; this also reaches a spawner that is stopped.
        process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0, 0, 0)?;
    }
    // A Ctrl-C at the terminal is the host's to answer; with its own session it never reaches a sandbox, nor does a tty.
    // SAFETY: integers only; failure means we already lead a session.
    unsafe { libc::setsid() };
    // Whatever the host was started with ignored (`nohup`) must not reach a cell.
    (1..=64).for_each(process::default_signal);
    // SAFETY: ignoring SIGCHLD makes the kernel reap supervisors, which the host watches by pidfd; ignoring SIGPIPE makes the
    // release of a child that died at once an error instead of our end.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
    let control = claim_low_descriptors()?;

    if told(BARE) {
        let prepared = bare::Prepared::new();
        send_facts(&control, Ok(prepared.ready()))?;
        return serve_launches(&control, |launch, handles| {
            bare::start(&prepared, launch, handles, &control)
        });
    }
    let prepared = prepare();
    let outcome = match &prepared {
        Ok(prepared) => Ok(Ready {
            mode: prepared.mode,
            landlock: prepared.landlock,
            cgroup_namespace: prepared.cgroup_namespace,
        }),
        Err(failure) => Err(Missing { stage: failure.stage, errno: failure.errno }),
    };
    send_facts(&control, outcome)?;
    let Ok(prepared) = prepared else { return Ok(()) };
    serve_launches(&control, |launch, handles| match &handles.next {
        Some(supervisor) => {
            parked::pass_on(
                supervisor.as_fd(),
                open_binds(&prepared, launch, &handles.hot),
                handles,
            );
            Ok(())
        }
        None => start(&prepared, launch, handles, &control),
    })
}

fn send_facts(control: &OwnedFd, outcome: Result<Ready, Missing>) -> io::Result<()> {
    let bytes = rmp_serde::to_vec(&Facts { outcome }).map_err(io::Error::other)?;
    socket::send(control.as_fd(), &bytes, &[])
}

/// Until the host is gone.
fn serve_launches(
    control: &OwnedFd,
    start: impl Fn(&Launch, &Handles) -> Result<(), Failure>,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_LAUNCH];
    loop {
        let received = socket::receive(control.as_fd(), &mut buffer)?;
        if received.length == 0 {
            return Ok(());
        }
        let Ok(launch) = rmp_serde::from_slice::<Launch>(&buffer[..received.length]) else {
            continue;
        };
        let Some(handles) = Handles::sort(&launch.roles, received.fds) else { continue };
        if let Err(failure) = start(&launch, &handles) {
            // A host that is gone does not want to know.
            let _ = crate::wire::send_setup_failed(handles.control.as_fd(), failure);
        }
    }
}

/// Moves the control socket out of the way and fills 0..=3, so that no descriptor of ours ever has a number that a cell's
/// standard streams or worker socket will be copied onto.
fn claim_low_descriptors() -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = sys::check_int(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 10) })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    let control = unsafe { OwnedFd::from_raw_fd(fd) };
    let null = sys::file::open(c"/dev/null", libc::O_RDWR)?;
    process::place_fd(null.as_fd(), 0)?;
    process::place_fd(null.as_fd(), 3)?;
    if null.as_raw_fd() == 3 {
        std::mem::forget(null);
    }
    Ok(control)
}

/// The descriptors of one launch by role.
pub struct Handles {
    order: OwnedFd,
    control: OwnedFd,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    worker: Option<OwnedFd>,
    home: Option<OwnedFd>,
    files: Option<OwnedFd>,
    joins: Vec<OwnedFd>,
    hot: Vec<(OwnedFd, OwnedFd)>,
    line: Option<OwnedFd>,
    next: Option<OwnedFd>,
}

impl Handles {
    fn sort(roles: &[Role], fds: Vec<OwnedFd>) -> Option<Self> {
        if roles.len() != fds.len() {
            return None;
        }
        let (mut order, mut control, mut stdin, mut stdout) = (None, None, None, None);
        let (mut stderr, mut worker, mut home, mut joins) = (None, None, None, Vec::new());
        let (mut files, mut line, mut next) = (None, None, None);
        let (mut spaces, mut hot) = (Vec::new(), Vec::new());
        for (role, fd) in roles.iter().zip(fds) {
            match role {
                Role::Order => order = Some(fd),
                Role::Control => control = Some(fd),
                Role::Stdin => stdin = Some(fd),
                Role::Stdout => stdout = Some(fd),
                Role::Stderr => stderr = Some(fd),
                Role::Worker => worker = Some(fd),
                Role::Home => home = Some(fd),
                Role::Files => files = Some(fd),
                Role::Join => joins.push(fd),
                Role::HotSpace => spaces.push(fd),
                Role::HotFile => hot.push(fd),
                Role::Line => line = Some(fd),
                Role::Next => next = Some(fd),
                Role::Bind => return None,
            }
        }
        Some(Self {
            order: order?,
            // Of a supervisor that is there it is the same line.
            control: match &next {
                Some(next) => next.try_clone().ok()?,
                None => control?,
            },
            stdin,
            stdout: stdout?,
            stderr: stderr?,
            worker,
            home,
            files,
            joins,
            hot: spaces.into_iter().zip(hot).collect(),
            line,
            next,
        })
    }
}

fn prepare() -> Result<Prepared, Failure> {
    // SAFETY: integers only.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let spaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET;
    // Root inside a container may lack the capability; it then lives like any ordinary user.
    let mode = if uid == 0 && has_user_range() && process::unshare(spaces).is_ok() {
        Mode::Root
    } else {
        process::unshare(libc::CLONE_NEWUSER).at(Stage::UserNamespace)?;
        write_file(c"/proc/self/setgroups", "deny").at(Stage::UserNamespace)?;
        write_file(c"/proc/self/uid_map", &format!("0 {uid} 1")).at(Stage::UserNamespace)?;
        write_file(c"/proc/self/gid_map", &format!("0 {gid} 1")).at(Stage::UserNamespace)?;
        process::unshare(libc::CLONE_NEWNS).at(Stage::MountNamespace)?;
        process::unshare(libc::CLONE_NEWNET).at(Stage::NetworkNamespace)?;
        Mode::User
    };
    sys::mount::make_all_private().at(Stage::MountNamespace)?;
    // Every mount here is copied for every sandbox, and a dozen cgroup hierarchies are no use to us. A user namespace locks what
    // it inherited, so there this fails, and only costs time.
    let _ = sys::mount::detach(c"/sys");
    let template = Template::build(mode).at(Stage::Template)?;
    // A kernel that has them never refuses them to who has a user namespace of their own.
    let cgroup_namespace = std::path::Path::new("/proc/self/ns/cgroup").exists();
    Ok(Prepared {
        mode,
        landlock: landlock::abi(),
        cgroup_namespace,
        template,
        filters: seccomp::Filters::default(),
    })
}

/// Whether the users that sandboxes get exist here: a container's root often has only some thousand.
fn has_user_range() -> bool {
    let text = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        let end = u64::from(FIRST_UID) + 2 * u64::from(UID_SLOTS);
        matches!((first, count), (Some(first), Some(count)) if first <= u64::from(FIRST_UID) && first + count >= end)
    })
}

fn write_file(path: &CStr, text: &str) -> io::Result<()> {
    let file = sys::file::open(path, libc::O_WRONLY)?;
    sys::file::write_whole(file.as_fd(), text.as_bytes())
}

/// Makes one sandbox: returns in the spawner as soon as its supervisor runs with its users mapped.
fn start(
    prepared: &Prepared,
    launch: &Launch,
    handles: &Handles,
    control: &OwnedFd,
) -> Result<(), Failure> {
    let binds = open_binds(prepared, launch, &handles.hot)?;
    let folder = launch.folder.as_ref().map(|path| mounts::open_folder(path));
    let folder = folder.transpose().at(Stage::CellFiles)?;
    let files = folder.as_ref().or(handles.files.as_ref()).map(AsFd::as_fd);
    // Built here, so that the copy that is about to be made has it, and so has the next.
    let filter = prepared.filters.get(launch.filter);
    let (wait, release) = sys::file::pipe().at(Stage::Clone)?;
    // Without doors the network namespace is the spawner's own empty one: making one costs more than all the others together.
    // The cgroup namespace is made by the cell once it has joined its cgroups.
    let spaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | if launch.doors { libc::CLONE_NEWNET } else { 0 };
    let home = handles.home.as_ref().map(AsFd::as_fd);
    // SAFETY: the spawner never starts a thread.
    match unsafe { process::clone_into(spaces as u64, home) }.at(Stage::Clone)? {
        process::Cloned::Child => {
            // Only the spawner may hold its control socket and the release end: their ends are how death is noticed.
            close(control.as_fd());
            close(release.as_fd());
            supervisor::run(prepared, handles, &filter, &binds, files, wait.as_fd())
        }
        process::Cloned::Parent(pid, pidfd) => {
            crate::wire::send_spawned(handles.control.as_fd(), pid, pidfd.as_fd())
                .at(Stage::Clone)?;
            map_users(prepared.mode, pid, launch.first_uid).at(Stage::IdMap)?;
            sys::file::write_whole(release.as_fd(), b"x").at(Stage::Clone)
        }
    }
}

/// Closes a descriptor that an owner in this (copied) address space still believes in; the owner must never be dropped here.
fn close(fd: BorrowedFd<'_>) {
    // SAFETY: the child of a clone ends by `_exit`, so the owner's drop never runs in it.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Opens every bind while paths can still be walked with the spawner's rights (a store below a 0700 home, for one), as a
/// detached read-only mount that the supervisor only has to attach.
fn open_binds(
    prepared: &Prepared,
    launch: &Launch,
    hot: &[(OwnedFd, OwnedFd)],
) -> Result<Vec<PreparedBind>, Failure> {
    if launch.terminals {
        prepared.template.ensure_terminals().at(Stage::Terminals)?;
    }
    let mut binds = Vec::with_capacity(launch.binds.len() + hot.len());
    for ((space, file), target) in hot.iter().zip(&launch.hot) {
        let mount = hot::mount(space.as_fd(), file.as_fd()).at(Stage::HotFile)?;
        binds.push(PreparedBind::read_only(mount, target).at(Stage::HotFile)?);
    }
    for (source, target) in &launch.binds {
        binds.push(PreparedBind::open(source, target).at(Stage::BindSource)?);
    }
    for (source, target, writable) in &launch.openings {
        // Who is granted a file may read it as its owner may; under one user for all there is nothing to map.
        let owners = |stat: &libc::stat| match prepared.mode {
            Mode::Root => owners::map(stat.st_uid, stat.st_gid, launch.first_uid + 1).map(Some),
            Mode::User | Mode::Bare => Ok(None),
        };
        binds.push(PreparedBind::open_granted(source, target, *writable, owners)?);
    }
    for bind in &binds {
        if bind.in_cell().is_none() {
            prepared.template.ensure(bind).at(Stage::BindTarget)?;
        }
    }
    Ok(binds)
}

fn map_users(mode: Mode, pid: i32, first: u32) -> io::Result<()> {
    let map = match mode {
        Mode::Root => {
            format!("{} {first} 1\n{} {} 1\n", cell::SUPERVISOR_ID, cell::CELL_ID, first + 1)
        }
        Mode::User | Mode::Bare => format!("{} 0 1\n", cell::CELL_ID),
    };
    for file in ["uid_map", "gid_map"] {
        let path =
            std::ffi::CString::new(format!("/proc/{pid}/{file}")).map_err(io::Error::other)?;
        write_file(&path, &map)?;
    }
    Ok(())
}
