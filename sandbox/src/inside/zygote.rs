//! A supervisor whose main process makes cells by forking itself: it serves one cell after the other, each in the same namespaces and never two at once.
//!
//! What a cell leaves decides whether there is another. Processes, System V objects, more than a few files or something large: then everything is ended,
//! as it is after a cell that was started by itself. The zygote never runs a cell's code, has a user the cell has no power over, and shares no
//! descriptor with it. What it says (that a cell began, and how it ended) is told on to the host.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, lchown},
        },
    },
    path::Path,
};

use super::{
    Handles, MAX_LAUNCH,
    cell::CELL_ID,
    mounts::PreparedBind,
    supervisor::{drain, end_everything, read_order, room, write_files},
};
use crate::{
    CELL_ROOT,
    sys::{self, file, ipc, mount, process, socket},
    wire::{self, At, Failure, Missing, Next, OrderLimits, Role, Stage, Told},
};

/// A cell that leaves more files than this is the last one of its zygote: to remove them takes longer than to start anew.
const MOST_LEFT: u64 = 1024;

/// Where a supervisor with a zygote is.
pub struct Place<'a> {
    /// The root of the cell's own file system.
    pub cell: BorrowedFd<'a>,
    pub control: BorrowedFd<'a>,
    /// The line to the zygote.
    pub line: BorrowedFd<'a>,
    /// The zygote.
    pub main: i32,
}

/// The spawner's part: hands a request on, with the mounts that only the spawner can open. What went wrong is told by the supervisor.
pub fn pass_on(
    supervisor: BorrowedFd<'_>,
    binds: Result<Vec<PreparedBind>, Failure>,
    handles: &Handles,
) {
    let mut roles = vec![Role::Order, Role::Stdout, Role::Stderr];
    let mut fds = vec![handles.order.as_fd(), handles.stdout.as_fd(), handles.stderr.as_fd()];
    let one = [(Role::Stdin, &handles.stdin), (Role::Worker, &handles.worker)];
    let one = one.into_iter().filter_map(|(role, fd)| Some((role, fd.as_ref()?)));
    let joins = handles.joins.iter().map(|fd| (Role::Join, fd));
    for (role, fd) in one.chain(joins) {
        roles.push(role);
        fds.push(fd.as_fd());
    }
    let mut told = Vec::new();
    let outcome = match &binds {
        Ok(binds) => {
            for bind in binds {
                let (mount, target, directory) = bind.parts();
                told.push((serde_bytes::ByteBuf::from(target), directory));
                roles.push(Role::Bind);
                fds.push(mount);
            }
            Ok(told)
        }
        Err(failure) => Err(Missing { stage: failure.stage, errno: failure.errno }),
    };
    if let Ok(message) = rmp_serde::to_vec(&Next { binds: outcome, roles }) {
        // A supervisor that is gone is seen by the host.
        let _ = socket::send_now(supervisor, &message, &fds);
    }
}

/// One cell after the other, until the host or the zygote is gone, or a cell has left something.
pub fn attend(place: &Place<'_>, signals: BorrowedFd<'_>, limits: &OrderLimits) {
    let mut service =
        Service { place, room: None, mounted: Vec::new(), cell: None, given: 0, busy: false };
    service.room = room(limits, 0).ok();
    let mut buffer = vec![0; MAX_LAUNCH];
    loop {
        let mut fds =
            [place.control, place.line, signals].map(|fd| sys::interest(fd, libc::POLLIN));
        if sys::poll(&mut fds, -1).is_err() {
            return;
        }
        if fds[0].revents != 0 {
            let Ok(received) = socket::receive(place.control, &mut buffer) else { return };
            match &buffer[..received.length] {
                // The host is gone: ending process 1 ends everything.
                [] => return,
                [a, b, c, d] => {
                    let signal = i32::from_le_bytes([*a, *b, *c, *d]);
                    match (signal, service.cell) {
                        (wire::CLEAR, _) if service.clear().is_err() => return,
                        (wire::CLEAR, _) | (_, None) => {}
                        // The cell leads a group of its own.
                        (signal, Some(cell)) => drop(process::kill(-cell, signal)),
                    }
                }
                message => {
                    if let Err(failure) = service.next(message, received.fds) {
                        let _ = wire::send_setup_failed(place.control, failure);
                        return;
                    }
                }
            }
        }
        if fds[1].revents != 0 {
            let mut bytes = [0; Told::BYTES];
            match socket::receive(place.line, &mut bytes) {
                Ok(received) if received.length == bytes.len() => match Told::parse(bytes) {
                    Some(Told::Began(cell)) if service.busy => service.cell = Some(cell),
                    Some(Told::Ended(status)) if service.cell.is_some() => {
                        if !service.ended(status) {
                            return;
                        }
                    }
                    _ => return service.lost(libc::SIGKILL),
                },
                _ => return service.lost(libc::SIGKILL),
            }
        }
        if fds[2].revents != 0 {
            drain(signals);
            if let Some(status) = service.reap() {
                return service.lost(status);
            }
        }
    }
}

/// The process that is made next gets the number after this one, where that is free: what a cell sees of itself is the same every time. A kernel without
/// checkpoints has no such file.
pub fn number_next_process(last: i32) {
    if let Ok(file) = file::open(c"/proc/sys/kernel/ns_last_pid", libc::O_WRONLY) {
        let _ = file::write_whole(file.as_fd(), last.to_string().as_bytes());
    }
}

/// The number of a zygote, out of the way of its cells'.
pub const NUMBER: i32 = 1000;

struct Service<'a> {
    place: &'a Place<'a>,
    /// Size and number of files that its file system has room for.
    room: Option<(CString, CString)>,
    /// What is mounted for the present cell.
    mounted: Vec<CString>,
    /// The process of the present cell.
    cell: Option<i32>,
    /// Bytes that were there before it.
    given: u64,
    busy: bool,
}

impl Service<'_> {
    /// Reaps whoever was left to process 1; how the zygote ended, if it did.
    fn reap(&self) -> Option<i32> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = process::wait_any(libc::WNOHANG) {
            if pid == self.place.main {
                ended = Some(status);
            }
        }
        ended
    }

    /// Without its zygote nothing goes on.
    fn lost(&self, status: i32) {
        let leftovers = end_everything();
        let (cpu_micros, max_rss) = process::children_usage();
        let _ = wire::send_exited(self.place.control, status, leftovers, cpu_micros, max_rss, None);
    }

    /// Lays out the next cell and asks the zygote for it.
    fn next(&mut self, message: &[u8], fds: Vec<OwnedFd>) -> Result<(), Failure> {
        let bad = || Failure { stage: Stage::Message, errno: libc::EBADMSG };
        let next: Next = rmp_serde::from_slice(message).map_err(|_| bad())?;
        let binds = next.binds.map_err(|Missing { stage, errno }| Failure { stage, errno })?;
        if self.busy || next.roles.len() != fds.len() {
            return Err(bad());
        }
        let (mut order, mut stdin, mut stdout, mut stderr) = (None, None, None, None);
        let (mut worker, mut joins, mut mounts) = (None, Vec::new(), Vec::new());
        for (role, fd) in next.roles.iter().zip(fds) {
            match role {
                Role::Order => order = Some(fd),
                Role::Stdin => stdin = Some(fd),
                Role::Stdout => stdout = Some(fd),
                Role::Stderr => stderr = Some(fd),
                Role::Worker => worker = Some(fd),
                Role::Join => joins.push(fd),
                Role::Bind => mounts.push(fd),
                _ => return Err(bad()),
            }
        }
        let (Some(memory), Some(stdout), Some(stderr), Some(worker)) =
            (order, stdout, stderr, worker)
        else {
            return Err(bad());
        };
        let stdin = match stdin {
            Some(stdin) => stdin,
            None => file::open(c"/dev/null", libc::O_RDONLY).at(Stage::Stdio)?,
        };
        let (order, files_at) = read_order(memory.as_fd()).at(Stage::Message)?;
        let wanted = room(&order.limits, order.files.len()).at(Stage::CellFiles)?;
        if self.room.as_ref() != Some(&wanted) {
            let (size, inodes) = &wanted;
            let options = [(c"size", size.as_c_str()), (c"nr_inodes", inodes.as_c_str())];
            mount::reconfigure(self.place.cell, &options).at(Stage::CellFiles)?;
            self.room = Some(wanted);
        }
        write_files(self.place.cell, &order, memory.as_fd(), files_at).at(Stage::WriteFiles)?;
        let root = file::open(c"/", libc::O_PATH | libc::O_DIRECTORY).at(Stage::Root)?;
        for ((target, directory), mount) in binds.iter().zip(mounts) {
            let bind = PreparedBind::received(mount, target, *directory);
            let relative = bind.in_cell().ok_or_else(bad)?;
            bind.make_point(self.place.cell, relative).at(Stage::BindTarget)?;
            bind.attach(root.as_fd()).at(Stage::Binds)?;
            let path = sys::c_path(&Path::new("/").join(bind.target())).at(Stage::Binds)?;
            self.mounted.push(path);
        }
        let folder =
            |name| file::openat(self.place.cell, name, libc::O_PATH | libc::O_DIRECTORY, 0);
        let laid = [folder(c"code").at(Stage::CellFiles)?, folder(c"in").at(Stage::CellFiles)?];
        self.given = file::bytes_used(self.place.cell);
        let laid = [laid[0].as_fd(), laid[1].as_fd()];
        wire::send_ready(self.place.control, self.place.cell, &laid, self.given)
            .at(Stage::CellFiles)?;
        let message = wire::fork_message(CELL_ID, joins.len() as u32, &order.env);
        let mut fds = vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), worker.as_fd()];
        fds.extend(joins.iter().map(AsFd::as_fd));
        number_next_process(1);
        // Not to wait for a zygote that does not read.
        socket::send_now(self.place.line, &message, &fds).at(Stage::Zygote)?;
        self.busy = true;
        Ok(())
    }

    /// Tells of a cell's end. Whether there can be another.
    fn ended(&mut self, status: i32) -> bool {
        if let Some(status) = self.reap() {
            self.lost(status);
            return false;
        }
        self.busy = false;
        self.cell = None;
        let written = file::bytes_used(self.place.cell).saturating_sub(self.given);
        let large = written >= crate::HOT_FROM;
        let files = file::fstatfs(self.place.cell).map(|stat| stat.f_files - stat.f_ffree);
        let few = files.is_ok_and(|files| files <= MOST_LEFT);
        if !large && few && self.is_alone() && ipc::is_empty().unwrap_or(false) {
            return wire::send_ended(self.place.control, status).is_ok();
        }
        // The zygote is none of what the cell left.
        let leftovers = end_everything().saturating_sub(1);
        let (cpu_micros, max_rss) = process::children_usage();
        let space = large.then(|| file::open(c"/proc/self/ns/mnt", libc::O_RDONLY).ok()).flatten();
        let space = space.as_ref().map(AsFd::as_fd);
        let control = self.place.control;
        let _ = wire::send_exited(control, status, leftovers, cpu_micros, max_rss, space);
        false
    }

    /// Whether there is no process but this and the zygote.
    fn is_alone(&self) -> bool {
        let Ok(entries) = fs::read_dir("/proc") else { return false };
        entries.flatten().all(|entry| {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            pid.is_none_or(|pid| pid == 1 || pid == self.place.main)
        })
    }

    /// Takes away what was laid for a cell and what it left. Nobody is there who could disturb it.
    fn clear(&mut self) -> io::Result<()> {
        if self.busy {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        while let Some(path) = self.mounted.pop() {
            mount::detach_plain(&path)?;
        }
        for entry in fs::read_dir(CELL_ROOT)? {
            let entry = entry?;
            let name = entry.file_name();
            match name.as_bytes() {
                b"code" | b"in" => empty(&entry.path())?,
                // Landlock knows these very directories.
                b"out" | b"work" | b"tmp" | b"shm" => {
                    empty(&entry.path())?;
                    renew(&entry.path())?;
                }
                _ => remove(&entry.path(), entry.file_type()?.is_dir())?,
            }
        }
        Ok(())
    }
}

fn remove(path: &Path, directory: bool) -> io::Result<()> {
    if directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        remove(&entry.path(), entry.file_type()?.is_dir())?;
    }
    Ok(())
}

/// Gives a directory of the cell's back what the cell may have changed.
fn renew(folder: &Path) -> io::Result<()> {
    let path = sys::c_path(folder)?;
    if file::has_attributes(&path)? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    lchown(folder, Some(CELL_ID), Some(CELL_ID))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    file::touch(&path)
}
