//! A supervisor that serves one cell after the other, each in the same namespaces and never two at once. Either it starts each cell's program, or it has a *zygote*,
//! a program that makes cells by forking itself.
//!
//! What a cell leaves decides whether there is another. Processes, System V objects, more than a few files or something large: then everything is ended,
//! as it is after a cell that was started by itself. A zygote never runs a cell's code, has a user the cell has no power over, and shares no
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
    Handles, MAX_LAUNCH, Prepared,
    cell::{self, Ahead, CELL_ID},
    mounts::PreparedBind,
    supervisor::{drain, end_everything, read_order, release_descriptors, room, write_files},
};
use crate::{
    CELL_ROOT,
    sys::{self, file, ipc, mount, process, socket},
    wire::{self, At, Failure, Missing, Next, Order, OrderLimits, Role, Stage, Told},
};

/// A cell that leaves more files than this is the last one here: to remove them takes longer than to start anew.
const MOST_LEFT: u64 = 1024;

/// The number of a zygote, out of the way of its cells'.
const ZYGOTE: i32 = 1000;

/// Where the supervisor of a parked sandbox is.
pub struct Place<'a> {
    pub prepared: &'a Prepared,
    /// What the sandbox itself was given.
    pub handles: &'a Handles,
    pub filter: &'a [libc::sock_filter],
    /// The root of the cell's own file system.
    pub cell: BorrowedFd<'a>,
    pub limits: &'a OrderLimits,
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

impl Place<'_> {
    fn control(&self) -> BorrowedFd<'_> {
        self.handles.control.as_fd()
    }

    /// One cell after the other, until the host or the zygote is gone, or a cell has left something.
    pub fn attend(&self, order: &Order, signals: BorrowedFd<'_>) -> Result<(), Failure> {
        let mut zygote = None;
        if order.zygote {
            number_next_process(ZYGOTE - 1);
            match self.start(self.handles, order, None)? {
                Ok(pid) => zygote = Some(pid),
                Err(failure) => {
                    let _ = wire::send_not_started(self.control(), failure);
                    return Ok(());
                }
            }
        }
        release_descriptors(self.handles);
        // A zygote's cells have what it has.
        let ahead = zygote.is_none().then(|| Ahead::new(self.prepared)).transpose()?;
        let room = room(self.limits, order.files.len()).ok();
        let service = Service {
            place: self,
            zygote,
            ahead,
            room,
            mounted: Vec::new(),
            forks_ahead: false,
            spare: true,
            told: false,
            waiting: None,
            cell: None,
            given: 0,
            busy: false,
            unfilled: false,
        };
        service.attend(signals);
        Ok(())
    }

    /// Starts a program, confined.
    fn start(
        &self,
        handles: &Handles,
        order: &Order,
        ahead: Option<&Ahead>,
    ) -> Result<Result<i32, Failure>, Failure> {
        let mut failure = None;
        let mut cell =
            || failure = Some(cell::start(self.prepared, handles, self.filter, order, &[], ahead));
        // SAFETY: the supervisor is single-threaded, and the cell's side only allocates and makes system calls.
        let pid = unsafe { process::run_borrowing(&mut cell) }.at(Stage::Fork)?;
        Ok(failure.map_or(Ok(pid), Err))
    }
}

/// The process that is made next gets the number after this one, where that is free: what a cell sees of itself is the same every time. A kernel without
/// checkpoints has no such file.
pub fn number_next_process(last: i32) {
    if let Ok(file) = file::open(c"/proc/sys/kernel/ns_last_pid", libc::O_WRONLY) {
        let _ = file::write_whole(file.as_fd(), last.to_string().as_bytes());
    }
}

struct Service<'a> {
    place: &'a Place<'a>,
    zygote: Option<i32>,
    /// What each program that is started here has in common.
    ahead: Option<Ahead>,
    /// Size and number of files that its file system has room for.
    room: Option<(CString, CString)>,
    /// What is mounted for the present cell.
    mounted: Vec<CString>,
    /// Whether the zygote forks before there is a cell, and the process that waits for one. There is none while a cell is there.
    forks_ahead: bool,
    /// Whether there is a processor for that one to get ready on.
    spare: bool,
    waiting: Option<i32>,
    /// Whether the host knows that the zygote can be asked.
    told: bool,
    /// The process of the present cell.
    cell: Option<i32>,
    /// Bytes that were there before it.
    given: u64,
    busy: bool,
    /// Whether the present cell's program has been started, and its files have not come.
    unfilled: bool,
}

/// How the zygote, or a cell without one, has ended.
#[derive(Default)]
struct Reaped {
    zygote: Option<i32>,
    cell: Option<i32>,
}

/// What is to be done after something was seen.
#[derive(PartialEq, Eq)]
enum After {
    GoOn,
    End,
}

impl Service<'_> {
    fn attend(mut self, signals: BorrowedFd<'_>) {
        let mut buffer = vec![0; MAX_LAUNCH];
        let control = self.place.control();
        // Without a zygote there is no line, and nothing is heard where one would be.
        let line = self.place.handles.line.as_ref().map_or(signals, AsFd::as_fd);
        loop {
            let mut fds = [control, signals, line].map(|fd| sys::interest(fd, libc::POLLIN));
            if sys::poll(&mut fds, -1).is_err() {
                return;
            }
            let told = self.zygote.is_some() && fds[2].revents != 0;
            if fds[0].revents != 0 && self.on_host(&mut buffer) == After::End
                || told && self.on_line(line) == After::End
                || fds[1].revents != 0 && self.on_signals(signals) == After::End
            {
                return;
            }
        }
    }

    fn on_host(&mut self, buffer: &mut [u8]) -> After {
        let control = self.place.control();
        let Ok(received) = socket::receive(control, buffer) else { return After::End };
        match &buffer[..received.length] {
            // The host is gone: ending process 1 ends everything.
            [] => return After::End,
            [a, b, c, d] => match (i32::from_le_bytes([*a, *b, *c, *d]), self.cell) {
                (wire::CLEAR, _) if self.clear().is_err() => return After::End,
                (wire::CLEAR, _) | (_, None) => {}
                // The cell leads a group of its own.
                (signal, Some(cell)) => drop(process::kill(-cell, signal)),
            },
            message => {
                return self.next(message, received.fds).unwrap_or_else(|failure| {
                    let _ = wire::send_setup_failed(control, failure);
                    After::End
                });
            }
        }
        After::GoOn
    }

    fn on_line(&mut self, line: BorrowedFd<'_>) -> After {
        let mut bytes = [0; Told::BYTES];
        let told = match socket::receive(line, &mut bytes) {
            Ok(received) if received.length == bytes.len() => Told::parse(bytes),
            Ok(_) | Err(_) => None,
        };
        match told {
            Some(Told::Warm { ahead: true }) if !self.busy && !self.forks_ahead => {
                self.forks_ahead = true;
                self.ask_ahead();
            }
            Some(Told::Warm { ahead: false }) if !self.busy && !self.forks_ahead => {
                let _ = wire::send_warm(self.place.control());
            }
            Some(Told::Began(cell)) if !self.busy && self.forks_ahead && self.waiting.is_none() => {
                self.waiting = Some(cell);
                // The host is told once, when what the first one holds can be counted.
                if !std::mem::replace(&mut self.told, true) {
                    let _ = wire::send_warm(self.place.control());
                }
            }
            Some(Told::Began(cell)) if self.busy && self.cell.is_none() => self.cell = Some(cell),
            Some(Told::Ended(status)) if self.cell.is_some() => return self.ended(status),
            Some(_) | None => return self.lost(libc::SIGKILL),
        }
        After::GoOn
    }

    /// Has the zygote fork what will be the next cell.
    fn ask_ahead(&self) {
        if let Some(line) = self.place.handles.line.as_ref().filter(|_| self.forks_ahead) {
            number_next_process(1);
            // One that does not read is not asked; it will be told of a cell all the same.
            let _ = socket::send_now(line.as_fd(), &wire::ahead_message(self.spare), &[]);
        }
    }

    fn on_signals(&mut self, signals: BorrowedFd<'_>) -> After {
        drain(signals);
        match self.reap() {
            Reaped { zygote: Some(status), .. } => self.lost(status),
            Reaped { cell: Some(status), .. } => self.ended(status),
            _ => After::GoOn,
        }
    }

    /// Reaps whoever ended, or was left to process 1 and ended.
    fn reap(&self) -> Reaped {
        let mut reaped = Reaped::default();
        while let Ok(Some((pid, status))) = process::wait_any(libc::WNOHANG) {
            if Some(pid) == self.zygote {
                reaped.zygote = Some(status);
            } else if self.zygote.is_none() && Some(pid) == self.cell {
                reaped.cell = Some(status);
            }
        }
        reaped
    }

    /// Without its zygote nothing goes on.
    fn lost(&self, status: i32) -> After {
        let leftovers = end_everything();
        let (cpu_micros, max_rss) = process::children_usage();
        let control = self.place.control();
        let _ = wire::send_exited(control, status, leftovers, cpu_micros, max_rss, None);
        After::End
    }

    /// Lays out the next cell and starts it, or asks the zygote for it.
    fn next(&mut self, message: &[u8], fds: Vec<OwnedFd>) -> Result<After, Failure> {
        let bad = || Failure { stage: Stage::Message, errno: libc::EBADMSG };
        let next: Next = rmp_serde::from_slice(message).map_err(|_| bad())?;
        let binds = next.binds.map_err(|Missing { stage, errno }| Failure { stage, errno })?;
        let fills = std::mem::take(&mut self.unfilled);
        if self.busy && !fills || next.roles.len() != fds.len() {
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
        let (Some(memory), Some(stdout), Some(stderr)) = (order, stdout, stderr) else {
            return Err(bad());
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
        let control = self.place.control();
        wire::send_ready(control, self.place.cell, &laid, self.given).at(Stage::CellFiles)?;
        if fills {
            return Ok(After::GoOn);
        }
        self.busy = true;
        self.spare = order.spare;
        self.unfilled = order.ahead && self.zygote.is_none();
        self.cell = self.waiting.take();
        if self.cell.is_none() {
            number_next_process(1);
        }
        if let Some(line) = self.place.handles.line.as_ref().filter(|_| self.zygote.is_some()) {
            let stdin = match stdin {
                Some(stdin) => stdin,
                None => file::open(c"/dev/null", libc::O_RDONLY).at(Stage::Stdio)?,
            };
            let worker = worker.ok_or_else(bad)?;
            let message = wire::fork_message(CELL_ID, joins.len() as u32, &order.env);
            let mut fds = vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), worker.as_fd()];
            fds.extend(joins.iter().map(AsFd::as_fd));
            // Not to wait for a zygote that does not read.
            socket::send_now(line.as_fd(), &message, &fds).at(Stage::Zygote)?;
            return Ok(After::GoOn);
        }
        let handles = Handles {
            order: memory,
            control: control.try_clone_to_owned().at(Stage::Descriptors)?,
            stdin,
            stdout,
            stderr,
            worker,
            home: None,
            files: None,
            joins,
            hot: Vec::new(),
            line: None,
            next: None,
        };
        match self.place.start(&handles, &order, self.ahead.as_ref())? {
            Ok(pid) => self.cell = Some(pid),
            Err(failure) => {
                let _ = wire::send_not_started(control, failure);
                return Ok(After::End);
            }
        }
        Ok(After::GoOn)
    }

    /// Tells of a cell's end.
    fn ended(&mut self, status: i32) -> After {
        // Whoever the cell has orphaned.
        if let Some(status) = self.reap().zygote {
            return self.lost(status);
        }
        self.busy = false;
        self.unfilled = false;
        self.cell = None;
        let control = self.place.control();
        let written = file::bytes_used(self.place.cell).saturating_sub(self.given);
        let large = written >= crate::HOT_FROM;
        let files = file::fstatfs(self.place.cell).map(|stat| stat.f_files - stat.f_ffree);
        let few = files.is_ok_and(|files| files <= MOST_LEFT);
        if !large && few && self.is_soon_alone() && ipc::is_empty().unwrap_or(false) {
            return match wire::send_ended(control, status) {
                Ok(()) => {
                    // While the host reads what was left, at which the copy does not look.
                    self.ask_ahead();
                    After::GoOn
                }
                Err(_) => After::End,
            };
        }
        // The zygote is none of what the cell left.
        let leftovers = end_everything().saturating_sub(u32::from(self.zygote.is_some()));
        let (cpu_micros, max_rss) = process::children_usage();
        let space = large.then(|| file::open(c"/proc/self/ns/mnt", libc::O_RDONLY).ok()).flatten();
        let space = space.as_ref().map(AsFd::as_fd);
        let _ = wire::send_exited(control, status, leftovers, cpu_micros, max_rss, space);
        After::End
    }

    /// Whether there is no process but this and the zygote, soon: what was killed with the cell takes a moment to end.
    fn is_soon_alone(&self) -> bool {
        const ROUNDS: u32 = 20;
        (0..ROUNDS).any(|round| {
            if round > 0 {
                std::thread::sleep(std::time::Duration::from_micros(100));
                self.reap();
            }
            self.is_alone()
        })
    }

    fn is_alone(&self) -> bool {
        let Ok(entries) = fs::read_dir("/proc") else { return false };
        entries.flatten().all(|entry| {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            pid.is_none_or(|pid| pid == 1 || Some(pid) == self.zygote)
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
    if file::has_attributes(&path)? || file::has_flags(&path)? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    lchown(folder, Some(CELL_ID), Some(CELL_ID))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    file::touch(&path)
}
