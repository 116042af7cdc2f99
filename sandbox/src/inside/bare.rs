//! Sandboxes without namespaces, for policies that do not require any: a supervisor that adopts whatever its cell leaves, a real folder of the host's as the
//! cell's own, Landlock as the only wall around files and the filter as the only one around the network.
//!
//! Everything here is weaker than its counterpart in `supervisor` and `cell`, and reported so. It never signals anybody but its own
//! children: there is no namespace that bounds a `kill(-1)`.

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    panic::AssertUnwindSafe,
    path::Path,
};

use super::{Handles, cell, close, landlock, mounts, seccomp, supervisor};
use crate::{
    CELL_ROOT,
    sys::{self, file, process, socket},
    wire::{self, At, Failure, Launch, Mode, Order, Ready, Stage},
};

/// Everything prepared once.
pub struct Prepared {
    landlock: u32,
    filters: seccomp::Filters,
}

/// What a cell finds where.
struct Place {
    folder: OwnedFd,
    path: CString,
    /// Names in the folder that lead elsewhere.
    links: Vec<(CString, CString)>,
    readable: Vec<CString>,
    writable: Vec<CString>,
}

impl Prepared {
    pub fn new() -> Self {
        Self { landlock: landlock::abi(), filters: seccomp::Filters::default() }
    }

    pub fn ready(&self) -> Ready {
        Ready { mode: Mode::Bare, landlock: self.landlock, cgroup_namespace: false }
    }
}

/// Makes one sandbox: returns in the spawner as soon as its supervisor runs.
pub fn start(
    prepared: &Prepared,
    launch: &Launch,
    handles: &Handles,
    control: &OwnedFd,
) -> Result<(), Failure> {
    let place = Place::of(launch)?;
    let filter = prepared.filters.get(launch.filter);
    let home = handles.home.as_ref().map(AsFd::as_fd);
    let spawner = std::process::id();
    // The host has to hear of the supervisor before it hears from it.
    let (wait, release) = file::pipe().at(Stage::Clone)?;
    // SAFETY: the spawner never starts a thread.
    match unsafe { process::clone_into(0, home) }.at(Stage::Clone)? {
        process::Cloned::Child => {
            close(control.as_fd());
            close(release.as_fd());
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                if !file::read_byte(wait.as_fd()) {
                    return;
                }
                if let Err(failure) = supervise(prepared, handles, &filter, &place, spawner) {
                    let _ = wire::send_setup_failed(handles.control.as_fd(), failure);
                }
            }));
            process::exit_now(if outcome.is_ok() { 0 } else { 70 })
        }
        process::Cloned::Parent(pid, pidfd) => {
            wire::send_spawned(handles.control.as_fd(), pid, pidfd.as_fd()).at(Stage::Clone)?;
            file::write_whole(release.as_fd(), b"x").at(Stage::Clone)
        }
    }
}

impl Place {
    fn of(launch: &Launch) -> Result<Self, Failure> {
        let path = launch.folder.as_ref().ok_or(io::ErrorKind::NotFound.into());
        let path = path.at(Stage::CellFiles)?;
        let mut place = Self {
            folder: mounts::find_plain(path).at(Stage::CellFiles)?,
            path: CString::new(path.as_slice()).map_err(io::Error::other).at(Stage::CellFiles)?,
            links: Vec::new(),
            readable: Vec::new(),
            writable: Vec::new(),
        };
        for (source, target) in &launch.binds {
            place.add(source, target, false).at(Stage::BindTarget)?;
        }
        for (source, target, writable) in &launch.openings {
            // What was granted is walked without following any link; what it is by then is what Landlock opens.
            mounts::find_plain(source).at(Stage::Opening)?;
            place.add(source, target, *writable).at(Stage::BindTarget)?;
        }
        Ok(place)
    }

    fn add(&mut self, source: &[u8], target: &[u8], writable: bool) -> io::Result<()> {
        let source = CString::new(source).map_err(io::Error::other)?;
        if let Some(inside) = inside(target) {
            let inside = CString::new(inside).map_err(io::Error::other)?;
            self.links.push((inside, source.clone()));
        } else if source.to_bytes() != target {
            // Nothing can be mounted elsewhere.
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        if writable { &mut self.writable } else { &mut self.readable }.push(source);
        Ok(())
    }
}

/// Where a path of the usual view is, relative to the cell's folder; none if it is the host's own.
pub fn inside(path: &[u8]) -> Option<Vec<u8>> {
    let below = |root: &str| Path::new(OsStr::from_bytes(path)).strip_prefix(root).ok();
    if let Some(rest) = below(CELL_ROOT) {
        return Some(rest.as_os_str().as_bytes().to_vec());
    }
    let (kept, rest) = [("tmp", "/tmp"), ("polyloom", "/polyloom")]
        .into_iter()
        .find_map(|(kept, root)| below(root).map(|rest| (kept, rest)))?;
    Some(Path::new(kept).join(rest).into_os_string().into_encoded_bytes())
}

fn supervise(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    place: &Place,
    spawner: u32,
) -> Result<(), Failure> {
    adopt(spawner).at(Stage::Identity)?;
    let (order, files_at) = supervisor::read_order(handles.order.as_fd()).at(Stage::Message)?;
    furnish(place, &order, handles.order.as_fd(), files_at)?;
    wire::send_ready(handles.control.as_fd(), place.folder.as_fd(), &[], 0).at(Stage::CellFiles)?;

    process::default_signal(libc::SIGCHLD);
    let signals = process::signals(&[libc::SIGCHLD, libc::SIGTERM]).at(Stage::Fork)?;
    let mut failure = None;
    let mut cell = || failure = Some(become_cell(prepared, handles, filter, place, &order));
    // SAFETY: the supervisor is single-threaded, and the cell's side only allocates and makes system calls.
    let main = unsafe { process::run_borrowing(&mut cell) }.at(Stage::Fork)?;
    supervisor::release_descriptors(handles);
    if let Some(failure) = failure {
        let _ = wire::send_not_started(handles.control.as_fd(), failure);
        return Ok(());
    }
    watch(handles.control.as_fd(), signals.as_fd(), main);
    Ok(())
}

fn adopt(spawner: u32) -> io::Result<()> {
    // A session of its own: no terminal, and nobody else's job control.
    // SAFETY: no arguments; failure means we already lead one.
    unsafe { libc::setsid() };
    process::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    // A signal that can be answered: who is killed outright leaves its cell behind.
    process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as u64, 0, 0, 0)?;
    process::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)?;
    // SAFETY: integers only. Modes below are meant literally.
    let parent = unsafe {
        libc::umask(0);
        libc::getppid()
    };
    if parent as u32 == spawner { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// Puts into the folder what a mount namespace would show there.
fn furnish(
    place: &Place,
    order: &Order,
    memory: BorrowedFd<'_>,
    files_at: u64,
) -> Result<(), Failure> {
    let folder = place.folder.as_fd();
    for directory in [c"code", c"in", c"out", c"work", c"tmp", c"shm"] {
        file::mkdirat(folder, directory, 0o755).at(Stage::CellFiles)?;
    }
    supervisor::write_files(folder, order, memory, files_at).at(Stage::WriteFiles)?;
    for (name, source) in &place.links {
        let name = Path::new(OsStr::from_bytes(name.to_bytes()));
        if let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            mounts::make_point(folder, parent, true).at(Stage::BindTarget)?;
        }
        let name = sys::c_path(name).at(Stage::BindTarget)?;
        file::symlinkat(source, folder, &name).at(Stage::BindTarget)?;
    }
    Ok(())
}

fn become_cell(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    place: &Place,
    order: &Order,
) -> Failure {
    match confine(prepared, handles, filter, place, order) {
        Ok(program) => Failure { stage: Stage::Exec, errno: program.execute() },
        Err(failure) => failure,
    }
}

/// The steps of `cell`, as far as they can be had.
fn confine(
    prepared: &Prepared,
    handles: &Handles,
    filter: &[libc::sock_filter],
    place: &Place,
    order: &Order,
) -> Result<cell::Program, Failure> {
    let program = cell::Program::new(order).at(Stage::Exec)?;
    cell::join(handles)?;
    cell::fresh_signals();
    cell::streams(handles).at(Stage::Stdio)?;
    cell::limits(&order.limits).at(Stage::Limits)?;
    // Not to outlive a supervisor that is killed outright. Whoever it started by then may.
    process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0, 0, 0).at(Stage::Privileges)?;
    // The bounding set takes a capability to lower; without any, `no_new_privs` makes it meaningless.
    process::drop_capabilities().at(Stage::Privileges)?;
    process::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).at(Stage::Privileges)?;
    let cwd =
        CString::new(order.cwd.as_slice()).map_err(io::Error::other).at(Stage::WorkDirectory)?;
    // SAFETY: the path is NUL-terminated.
    sys::check_int(unsafe { libc::chdir(cwd.as_ptr()) }).at(Stage::WorkDirectory)?;
    landlock::restrict_bare(prepared.landlock, &place.path, &place.readable, &place.writable)
        .at(Stage::Landlock)?;
    cell::mark_descriptors(handles)?;
    seccomp::install(filter).at(Stage::Seccomp)?;
    Ok(program)
}

/// Waits for the main process, the host's commands, and the end of host or spawner.
fn watch(control: BorrowedFd<'_>, signals: BorrowedFd<'_>, main: i32) {
    let mut ended = None;
    while ended.is_none() {
        let mut fds = [sys::interest(control, libc::POLLIN), sys::interest(signals, libc::POLLIN)];
        if sys::poll(&mut fds, -1).is_err() {
            break;
        }
        if fds[0].revents != 0 {
            let mut bytes = [0; 4];
            match socket::receive(control, &mut bytes) {
                Ok(received) if received.length == 4 => {
                    // The main process leads a group of its own, and is not reaped yet.
                    let _ = process::kill(-main, i32::from_le_bytes(bytes));
                }
                _ => break,
            }
        }
        if fds[1].revents != 0 {
            let taken = process::take_signals(signals);
            while let Ok(Some((pid, status))) = process::wait_any(libc::WNOHANG) {
                if pid == main {
                    ended = Some(status);
                }
            }
            if taken.contains(&libc::SIGTERM) {
                break;
            }
        }
    }
    let (leftovers, status) = end_everything(signals, main);
    let (cpu_micros, max_rss) = process::children_usage();
    let status = ended.or(status).unwrap_or(libc::SIGKILL);
    let _ = wire::send_exited(control, status, leftovers, cpu_micros, max_rss, None);
}

/// Kills and reaps children until there are none: those of a child that died become ours. How many, and how the main process ended if it was among
/// them. A child cannot be mistaken for another process as long as it is not reaped.
fn end_everything(signals: BorrowedFd<'_>, main: i32) -> (u32, Option<i32>) {
    let (mut killed, mut status) = (0, None);
    loop {
        for pid in own_children() {
            let _ = process::kill(pid, libc::SIGKILL);
        }
        loop {
            match process::wait_any(libc::WNOHANG) {
                Ok(Some((pid, how))) if pid == main => status = Some(how),
                Ok(Some(_)) => killed += 1,
                Ok(None) => break,
                // No children are left.
                Err(_) => return (killed, status),
            }
        }
        // Until one ends. A child that was adopted meanwhile sends no signal, so not for long.
        let _ = sys::poll(&mut [sys::interest(signals, libc::POLLIN)], 5);
        process::take_signals(signals);
    }
}

fn own_children() -> Vec<i32> {
    let path = format!("/proc/self/task/{}/children", process::thread_id());
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_view_lies_in_the_folder() {
        let inside = |path: &str| inside(path.as_bytes()).map(|p| String::from_utf8(p).unwrap());
        assert_eq!(inside("/cell/in/x.csv").as_deref(), Some("in/x.csv"));
        assert_eq!(inside("/cell").as_deref(), Some(""));
        assert_eq!(inside("/tmp/a").as_deref(), Some("tmp/a"));
        assert_eq!(inside("/polyloom/sdk").as_deref(), Some("polyloom/sdk"));
        assert_eq!(inside("/usr/bin/cc"), None);
        assert_eq!(inside("/cellar"), None);
    }
}
