//! The daemon's side: what was wanted lately, what waits, and who has what.
//!
//! A thread for each run that is connected, one that makes what is lacking once a run has ended, and the one that lets runs in.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{Listener, ListenerNonblockingMode, ListenerOptions};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use polyloom_sandbox as sandbox;
use thiserror::Error;

use super::sessions::{Found, Sessions, Unadded};
use super::wire::{
    Answer, Ask, Identity, Line, SessionId, Status, Surroundings, Waiting, incoming, name,
};
use crate::order::{Order, Wait};
use crate::workplace::Workplace;

/// Kinds that wait at once, those of the latest runs.
const MOST_KINDS: usize = 8;
/// Workers that wait at once: each is a whole interpreter, for one cell.
const MOST_WORKERS: usize = 4;
/// Files of a sandbox that waits take no more than this, bytes.
const MOST_LAID: u64 = 16 << 20;
/// Sandboxes that one run has at once.
const MOST_LENT: usize = 64;
/// Runs that are connected at once.
const MOST_RUNS: usize = 64;
/// Who connects says who it is within this.
const HELLO: Duration = Duration::from_secs(2);

/// So often it looks whether its socket is there still.
const LOOK: Duration = Duration::from_secs(10);

/// Why there is no daemon.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is one.
    #[error("the daemon of this store runs already, or has not ended yet")]
    Running,
    /// The folder can't hold its socket.
    #[error("can't open the socket `{}`", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// There are no sandboxes here.
    #[error(transparent)]
    Spawner(#[from] sandbox::SpawnError),
    /// The system refuses something it takes.
    #[error("the daemon could not be started")]
    System(#[source] io::Error),
}

/// A kind of sandbox that was wanted.
struct Wanted {
    digest: [u8; 32],
    order: Order,
}

/// One that waits, or that a run has.
struct Kept {
    wanted: Arc<Wanted>,
    item: Item,
    since: Instant,
}

enum Item {
    Parked(Box<sandbox::Parked>),
    Started { cell: Box<sandbox::Sandbox>, stdin: Option<OwnedFd> },
}

impl Item {
    fn is_there(&mut self) -> bool {
        match self {
            Self::Parked(parked) => parked.is_there(),
            Self::Started { cell, .. } => cell.poll_exit().is_none(),
        }
    }

    fn pid(&self) -> i32 {
        match self {
            Self::Parked(parked) => parked.pid(),
            Self::Started { cell, .. } => cell.pid(),
        }
    }

    fn pass(&self) -> Option<sandbox::Passed<'_>> {
        match self {
            Self::Parked(parked) => parked.pass(),
            Self::Started { cell, .. } => cell.pass(),
        }
    }

    /// It is a run's now.
    fn passed(&mut self) {
        if let Self::Started { cell, stdin } = self {
            cell.passed();
            *stdin = None;
        }
    }
}

#[derive(Default)]
struct Pool {
    /// The latest first.
    wanted: VecDeque<Arc<Wanted>>,
    waiting: Vec<Kept>,
    runs: usize,
    lent: usize,
    asked: u64,
    found: u64,
    numbers: u64,
    sessions: Sessions,
    /// A run has ended since everything that is wanted was there.
    lacking: bool,
    stopping: bool,
    /// When nobody was connected any more.
    idle_since: Option<Instant>,
}

/// A daemon.
pub struct Keeper {
    place: Workplace,
    /// What its spawner could prepare.
    prepared: Vec<u8>,
    around: Surroundings,
    own: Identity,
    spaces: Vec<PathBuf>,
    idle: Duration,
    began: Instant,
    pool: Mutex<Pool>,
    changed: Condvar,
    /// Written to when the thread that lets runs in is to look again.
    wake: io::PipeWriter,
}

impl Keeper {
    /// Serves the socket until it is told to end, or nobody was connected for `idle`. To be called from the main thread, while it is the only one. `ready` is called
    /// once runs are let in. Whoever else serves it makes this an error.
    pub fn serve(
        socket: &Path,
        place: Workplace,
        idle: Duration,
        ready: impl FnOnce(Arc<Self>),
    ) -> Result<(), ServeError> {
        let failed = |source| ServeError::Socket { path: socket.to_owned(), source };
        let _lock = hold(socket).map_err(failed)?.ok_or(ServeError::Running)?;
        // As they are for what it starts.
        let around = Surroundings::own().map_err(ServeError::System)?;
        // Before there are threads.
        let prepared = place.spawner()?.prepared()?;
        // Who holds the lock is the only one whose socket it can be. What is no socket is somebody's.
        match std::fs::symlink_metadata(socket) {
            Ok(meta) if meta.file_type().is_socket() => {
                std::fs::remove_file(socket).map_err(failed)?;
            }
            Ok(_) => return Err(failed(io::Error::other("there is something else"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let name = name(socket).map_err(failed)?;
        let options = ListenerOptions::new().name(name).mode(0o600);
        let options = options.nonblocking(ListenerNonblockingMode::Accept);
        let listener = options.create_sync().map_err(failed)?;
        let (woken, wake) = io::pipe().map_err(ServeError::System)?;
        let keeper = Arc::new(Self {
            place,
            prepared,
            around,
            own: Identity::own().map_err(ServeError::System)?,
            spaces: spaces("self").map_err(ServeError::System)?,
            idle,
            began: Instant::now(),
            pool: Mutex::new(Pool { idle_since: Some(Instant::now()), ..Pool::default() }),
            changed: Condvar::new(),
            wake,
        });
        let filler = Arc::clone(&keeper);
        let filling =
            std::thread::Builder::new().name("fill".to_owned()).spawn(move || filler.fill());
        let filling = filling.map_err(ServeError::System)?;
        ready(Arc::clone(&keeper));
        let listened = keeper.listen(listener, socket, &woken);
        keeper.stop();
        // What it is making just now is dropped there; then all is gone that waited.
        let _ = filling.join();
        let (waiting, sessions) = {
            let mut pool = keeper.pool();
            (std::mem::take(&mut pool.waiting), std::mem::take(&mut pool.sessions))
        };
        drop((waiting, sessions));
        listened.map_err(ServeError::System)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it once nobody has anything of it.
    pub fn stop(&self) {
        self.pool().stopping = true;
        self.changed.notify_all();
        self.wake();
    }

    fn wake(&self) {
        use io::Write;
        let _ = (&self.wake).write_all(b"w");
    }

    /// Lets runs in, to the end.
    fn listen(
        self: &Arc<Self>,
        listener: Listener,
        socket: &Path,
        woken: &io::PipeReader,
    ) -> io::Result<()> {
        let own = inode(socket)?;
        let mut listener = Some(listener);
        loop {
            let (patience, over) = {
                let pool = self.pool();
                // A session is somebody's work: it is not thrown away for want of a run.
                let idle_since = pool.idle_since.filter(|_| pool.sessions.is_empty());
                let left = idle_since.map(|since| self.idle.saturating_sub(since.elapsed()));
                let over = match pool.stopping {
                    // Whoever has something of it keeps it to the end.
                    true => pool.lent == 0 && !pool.sessions.any_lent(),
                    false => left.is_some_and(|left| left.is_zero()),
                };
                if pool.stopping {
                    // Nobody else is let in, and the socket is gone.
                    listener = None;
                }
                (left.filter(|_| !pool.stopping), over)
            };
            if over {
                return Ok(());
            }
            // A store that was removed, or moved, wants nobody any more.
            if !inode(socket).is_ok_and(|now| now == own)
                && let Some(mut gone) = listener.take()
            {
                // Whatever has its name now is another's.
                gone.do_not_reclaim_name_on_drop();
                self.stop();
                continue;
            }
            let patience = patience.unwrap_or(LOOK).min(LOOK) + Duration::from_millis(1);
            let timeout = PollTimeout::try_from(patience);
            let mut fds = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            fds.extend(listener.as_ref().map(|it| PollFd::new(incoming(it), PollFlags::POLLIN)));
            match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_woken = fds[0].any().unwrap_or(false);
            drop(fds);
            if is_woken {
                use io::Read;
                let mut some = [0; 64];
                let _ = (&*woken).read(&mut some)?;
            }
            let Some(stream) = listener.as_ref().map(Listener::accept) else { continue };
            match stream.and_then(Line::accepted) {
                Ok(line) => self.let_in(line),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Out of descriptors, or somebody who left at once.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn let_in(self: &Arc<Self>, line: Line) {
        let mut pool = self.pool();
        if pool.runs >= MOST_RUNS {
            drop(pool);
            let _ = line.send(&Answer::Refused(format!("{MOST_RUNS} runs are connected")), &[]);
            return;
        }
        pool.runs += 1;
        pool.numbers += 1;
        let number = pool.numbers;
        pool.idle_since = None;
        drop(pool);
        let keeper = Arc::clone(self);
        let run = move || {
            let mut lent = BTreeMap::new();
            // An error is the run's own: it has gone away, or does not speak like one.
            let _ = keeper.attend(&line, number, &mut lent);
            drop(line);
            let gone = keeper.pool().sessions.left(number);
            drop(gone);
            keeper.leave(lent);
        };
        if std::thread::Builder::new().name("run".to_owned()).spawn(run).is_err() {
            self.leave(BTreeMap::new());
        }
    }

    /// A run is gone: what it left is ended, and what is wanted made.
    fn leave(&self, lent: BTreeMap<u64, Kept>) {
        let count = lent.len();
        drop(lent);
        let mut pool = self.pool();
        pool.lent -= count;
        pool.runs -= 1;
        pool.lacking = true;
        if pool.runs == 0 {
            pool.idle_since = Some(Instant::now());
        }
        drop(pool);
        self.changed.notify_all();
        self.wake();
    }

    fn attend(&self, line: &Line, run: u64, lent: &mut BTreeMap<u64, Kept>) -> io::Result<()> {
        line.set_patience(Some(HELLO))?;
        let Some((Ask::Hello(other, around), _)) = line.receive()? else { return Ok(()) };
        if let Err(why) = self.is_like(line, &other) {
            return line.send(&Answer::Refused(why), &[]);
        }
        let differs = around.as_ref().and_then(|around| self.around.differs(around));
        let but = differs.map(|what| format!("the daemon was started with other {what}"));
        let lends = but.is_none();
        let makes = lends && around.is_some();
        let welcome = Answer::Welcome { prepared: self.prepared.clone(), but };
        line.send(&welcome, &[])?;
        line.set_patience(None)?;
        while let Some((ask, _)) = line.receive()? {
            match ask {
                Ask::Session(id, order) if makes || (lends && order.is_none()) => {
                    self.lend(line, run, id, order)?;
                }
                Ask::Like(of, id) if lends => {
                    let order = self.pool().sessions.order(&of, &id);
                    match order {
                        Some(order) => self.lend(line, run, id, Some(order))?,
                        None => line.send(&Answer::Nothing, &[])?,
                    }
                }
                Ask::Session(..) | Ask::Like(..) => line.send(&Answer::Nothing, &[])?,
                Ask::Busy(number) => self.pool().sessions.busy(run, number),
                Ask::Stands(number, standing) => {
                    self.pool().sessions.stands(run, number, standing);
                }
                Ask::Leave(number) => {
                    let gone = self.pool().sessions.leave(run, number);
                    drop(gone);
                }
                Ask::Sessions => {
                    let (all, gone) = self.pool().sessions.all();
                    let sent = line.send(&Answer::Sessions(all), &[]);
                    // To end them takes a moment, for which nobody has to wait.
                    drop(gone);
                    sent?;
                }
                Ask::End(id) => {
                    let (ended, gone) = self.pool().sessions.end(&id);
                    drop(gone);
                    let answer = match ended {
                        Some(true) => Answer::Done,
                        Some(false) => Answer::Nothing,
                        None => Answer::InUse,
                    };
                    line.send(&answer, &[])?;
                }
                Ask::Hello(..) => line.send(&welcome, &[])?,
                Ask::Take(order) if makes => self.give(line, &order, lent)?,
                Ask::Take(_) => line.send(&Answer::Nothing, &[])?,
                Ask::Back(id) => self.take_back(lent.remove(&id)),
                Ask::Status => line.send(&Answer::Status(self.status()), &[])?,
            }
        }
        Ok(())
    }

    /// Whether a run is this very build, of this user, and sees what this process sees.
    fn is_like(&self, line: &Line, other: &Identity) -> Result<(), String> {
        let peer = line.peer().ok_or("only its own user's runs are served")?;
        if *other != self.own {
            return Err(format!("the daemon (process {}) is of another build", std::process::id()));
        }
        match spaces(&peer.to_string()) {
            Ok(spaces) if spaces == self.spaces => Ok(()),
            Ok(_) | Err(_) => Err("the daemon is in other namespaces".to_owned()),
        }
    }

    /// Hands over what waits by an order, if it does, and notes that it is wanted.
    fn give(&self, line: &Line, bytes: &[u8], lent: &mut BTreeMap<u64, Kept>) -> io::Result<()> {
        let order = rmp_serde::from_slice::<Order>(bytes).ok();
        let Some(order) = order.filter(|order| order.size() <= MOST_LAID && lent.len() < MOST_LENT)
        else {
            return line.send(&Answer::Nothing, &[]);
        };
        let digest = *blake3::hash(bytes).as_bytes();
        let mut gone = Vec::new();
        let mut pool = self.pool();
        pool.asked += 1;
        pool.want(digest, order);
        let found = loop {
            let at = pool.waiting.iter().position(|kept| kept.wanted.digest == digest);
            let Some(mut kept) = at.map(|at| pool.waiting.swap_remove(at)) else { break None };
            if kept.item.is_there() && !pool.stopping {
                break Some(kept);
            }
            gone.push(kept);
        };
        let id = pool.numbers;
        if found.is_some() {
            pool.numbers += 1;
            pool.found += 1;
            pool.lent += 1;
        }
        drop(pool);
        // To end them takes a moment.
        drop(gone);
        let Some(kept) = found else { return line.send(&Answer::Nothing, &[]) };
        // It is the run's from now on, whatever becomes of the message.
        let kept = lent.entry(id).insert_entry(kept).into_mut();
        let Some(passed) = kept.item.pass() else { return line.send(&Answer::Nothing, &[]) };
        let mut fds = passed.fds;
        let stdin = match &kept.item {
            Item::Started { stdin, .. } => stdin.as_ref().map(AsFd::as_fd),
            Item::Parked(_) => None,
        };
        fds.extend(stdin);
        let answer = Answer::Took { id, about: passed.about, stdin: stdin.is_some() };
        line.send(&answer, &fds)?;
        kept.item.passed();
        Ok(())
    }

    /// Hands over a session, begun now where there is none of that name that fits the order.
    fn lend(&self, line: &Line, run: u64, id: SessionId, order: Option<Vec<u8>>) -> io::Result<()> {
        let read = order.as_deref().and_then(|bytes| rmp_serde::from_slice::<Order>(bytes).ok());
        let digest = read.as_ref().and_then(Order::session);
        if order.is_some() && digest.is_none() {
            return line.send(&Answer::Nothing, &[]);
        }
        let (found, gone) = self.pool().sessions.take(run, &id, digest);
        drop(gone);
        let number = match (found, order) {
            (Found::Session(number), _) => number,
            (Found::InUse, _) => return line.send(&Answer::InUse, &[]),
            (Found::None, None) => return line.send(&Answer::Nothing, &[]),
            // A run has one of its own then.
            (Found::None, Some(_)) if self.pool().sessions.is_full() => {
                return line.send(&Answer::Full, &[]);
            }
            (Found::None, Some(bytes)) => {
                let order = read.filter(|order| order.wait == Wait::Worker);
                let made = order.map(|order| self.make(&order));
                let Some(Ok(Item::Started { cell, .. })) = made else {
                    return line.send(&Answer::Nothing, &[]);
                };
                let mut pool = self.pool();
                pool.numbers += 1;
                let number = pool.numbers;
                let digest = digest.unwrap_or_default();
                let added = pool.sessions.add(run, number, id, (digest, bytes), cell);
                drop(pool);
                // Others may have begun some meanwhile.
                if let Err((why, cell)) = added {
                    drop(cell);
                    let answer = match why {
                        Unadded::Taken => Answer::InUse,
                        Unadded::Full => Answer::Full,
                    };
                    return line.send(&answer, &[]);
                }
                number
            }
        };
        let pool = self.pool();
        let Some((passed, standing)) = pool.sessions.pass(number) else {
            drop(pool);
            return line.send(&Answer::Nothing, &[]);
        };
        let standing = standing.cloned().map(Box::new);
        let copies = passed.fds.iter().map(|fd| fd.try_clone_to_owned());
        let copies = copies.collect::<io::Result<Vec<_>>>()?;
        let answer = Answer::Session { id: number, about: passed.about, standing };
        // Whoever takes its time is not waited for by others.
        drop(pool);
        line.send(&answer, &copies.iter().map(AsFd::as_fd).collect::<Vec<_>>())
    }

    fn take_back(&self, kept: Option<Kept>) {
        let Some(mut kept) = kept else { return };
        // A worker, or what was asked something, serves once.
        let again = matches!(kept.item, Item::Parked(_)) && kept.item.is_there();
        kept.since = Instant::now();
        let mut pool = self.pool();
        pool.lent -= 1;
        let again = again && pool.waiting.len() < 2 * MOST_KINDS;
        let given_up = if again && !pool.stopping {
            pool.waiting.push(kept);
            None
        } else {
            Some(kept)
        };
        let stopping = pool.stopping;
        drop(pool);
        drop(given_up);
        if stopping {
            self.wake();
        }
    }

    /// Makes what is lacking, whenever a run has ended, and then tidies up.
    fn fill(&self) {
        loop {
            let mut pool = self.pool();
            while !pool.lacking && !pool.stopping {
                pool = self.changed.wait(pool).unwrap_or_else(PoisonError::into_inner);
            }
            if pool.stopping {
                return;
            }
            let given_up = pool.unwanted();
            let lacking = pool.next_lacking();
            if lacking.is_none() {
                pool.lacking = false;
            }
            drop(pool);
            drop(given_up);
            let Some(wanted) = lacking else {
                // The run may have been killed: nobody but a daemon is there to see it at once.
                self.place.sweep();
                continue;
            };
            let made = self.make(&wanted.order);
            let mut pool = self.pool();
            match made {
                Ok(item) => pool.waiting.push(Kept { wanted, item, since: Instant::now() }),
                // It is tried again once somebody has wanted it again.
                Err(error) => {
                    tracing::info!(%error, "what is to wait could not be started");
                    pool.wanted.retain(|other| other.digest != wanted.digest);
                }
            }
        }
    }

    fn make(&self, order: &Order) -> Result<Item, sandbox::SpawnError> {
        let spawner = self.place.spawner()?;
        let mut spec = order.spec();
        let item = match order.wait {
            Wait::Sandbox | Wait::Zygote => {
                Item::Parked(Box::new(spawner.park(order.policy(), &spec)?))
            }
            Wait::Worker => {
                let cell = Box::new(spawner.spawn(order.policy(), &spec)?);
                Item::Started { cell, stdin: None }
            }
            Wait::Asked => {
                let (theirs, ours) = io::pipe().map_err(sandbox::SpawnError::Descriptors)?;
                spec.stdin = sandbox::Stdin::Fd(theirs.into());
                let cell = Box::new(spawner.spawn(order.policy(), &spec)?);
                Item::Started { cell, stdin: Some(ours.into()) }
            }
        };
        // Some can't be handed over, such as those whose files are on disk.
        if item.pass().is_none() {
            return Err(sandbox::SpawnError::NoZygote);
        }
        Ok(item)
    }

    fn status(&self) -> Status {
        let pool = self.pool();
        let waiting = pool.waiting.iter().map(|kept| Waiting {
            what: kept.wanted.order.what().to_owned(),
            program: kept.wanted.order.program(),
            pid: kept.item.pid(),
            since_ms: millis(kept.since.elapsed()),
        });
        Status {
            pid: std::process::id(),
            up_ms: millis(self.began.elapsed()),
            waiting: waiting.collect(),
            making: pool.lacking,
            lent: pool.lent,
            wanted: pool.asked,
            found: pool.found,
            sessions: pool.sessions.len(),
            idle_ms: millis(self.idle),
        }
    }
}

impl Pool {
    fn want(&mut self, digest: [u8; 32], order: Order) {
        let known = self.wanted.iter().position(|wanted| wanted.digest == digest);
        let wanted = known.and_then(|at| self.wanted.remove(at));
        let wanted = wanted.unwrap_or_else(|| Arc::new(Wanted { digest, order }));
        self.wanted.push_front(wanted);
        self.wanted.truncate(MOST_KINDS);
        let mut workers = 0;
        self.wanted.retain(|wanted| {
            workers += usize::from(wanted.order.wait == Wait::Worker);
            wanted.order.wait != Wait::Worker || workers <= MOST_WORKERS
        });
    }

    /// What waits and is of no kind that was wanted lately, or the second of one.
    fn unwanted(&mut self) -> Vec<Kept> {
        let mut seen = Vec::new();
        let (wanted, waiting) = (&self.wanted, &mut self.waiting);
        let gone = waiting.extract_if(.., |kept| {
            let digest = kept.wanted.digest;
            let first = !seen.contains(&digest);
            seen.push(digest);
            !first || !wanted.iter().any(|wanted| wanted.digest == digest)
        });
        gone.collect()
    }

    fn next_lacking(&self) -> Option<Arc<Wanted>> {
        let waits =
            |wanted: &Wanted| self.waiting.iter().any(|it| it.wanted.digest == wanted.digest);
        self.wanted.iter().find(|wanted| !waits(wanted)).map(Arc::clone)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// The namespaces in which a process sees files, users and processes.
fn spaces(process: &str) -> io::Result<Vec<PathBuf>> {
    let names = ["mnt", "user", "pid"].into_iter();
    names.map(|name| std::fs::read_link(format!("/proc/{process}/ns/{name}"))).collect()
}

/// The lock of a socket's daemon. One that lets nobody in any more, and has not ended yet, is waited for a little.
fn hold(socket: &Path) -> io::Result<Option<Flock<File>>> {
    const ENDING: Duration = Duration::from_secs(3);
    let began = Instant::now();
    loop {
        let held = lock(&socket.with_extension("lock"))?;
        let ending = held.is_none() && !socket.exists();
        if !ending || began.elapsed() > ENDING {
            return Ok(held);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A lock that goes with this process. Nothing: somebody else has it.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    let file = options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("its lock is no file"));
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}
