//! The host's end of a parked sandbox: one that is set up and waits for a cell, and after that for the next. It may have a *zygote*, a confined program that
//! makes cells by forking itself; else each cell's program is started in it.
//!
//! Namespaces, mounts and, with a zygote, the program's start are paid for once. It is used again only after a cell that ended by itself
//! and left nobody and nothing behind, as seen by its supervisor and the kernel's counters; after any other it is ended whole.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    cgroup::Groups,
    disk::{Disk, Kind, Measure},
    launch::{Ends, borrowed_stdin, bytes, write_order},
    living::Points,
    policy::{Network, Policy, Seccomp},
    sandbox::Sandbox,
    spawner::{SpawnError, Spawner},
    spec::Spec,
    sys,
    wire::{self, Launch, Mode, Next, Report, Role, own_inodes},
};

/// A sandbox that waits for a cell. Dropping it ends it.
#[derive(Debug)]
pub struct Parked {
    pub(crate) sandbox: Sandbox,
    /// Bytes of memory that its zygote holds.
    pub(crate) held: u64,
    /// The control groups of its last cell, which nobody is in.
    pub(crate) groups: Option<Groups>,
}

impl Drop for Parked {
    fn drop(&mut self) {
        // A group that would not go is for the sweep.
        self.groups.take().map(|mut groups| groups.remove());
    }
}

/// A zygote has loaded everything by then, or there is none.
const WARMING: Duration = Duration::from_secs(10);

/// Who waits for cells has nothing else to do. One that does not answer for so long is of no use, and a sandbox of its own is soon made.
const ANSWER: Duration = Duration::from_secs(2);
/// The cell's files are written before that: so many bytes in a second, at least.
const WRITTEN: u64 = 32 << 20;

type Back = Box<dyn FnOnce(Parked) + Send + Sync>;

/// A cell that was laid out and asked for: our ends, the bytes its files take, and where its code and inputs are.
struct Begun {
    stdout: OwnedFd,
    stderr: OwnedFd,
    worker: Option<OwnedFd>,
    given: u64,
    laid: Vec<OwnedFd>,
}

/// A parked sandbox while a cell, or a reader of what that left, has it.
pub struct Lease {
    parked: Option<Parked>,
    back: Option<Back>,
    kept: AtomicBool,
    groups: Mutex<Option<Groups>>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("parked", &self.parked).finish_non_exhaustive()
    }
}

impl Lease {
    /// From now on it is for somebody else, once nobody has it.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// The cell's control groups are for the next one.
    pub(crate) fn keep_groups(&self, groups: Groups) {
        *self.groups.lock().unwrap_or_else(PoisonError::into_inner) = Some(groups);
    }

    /// Starts the end of everybody in the sandbox, which was born in a group with such a switch; whether there is one.
    pub(crate) fn kill(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| parked.sandbox.kill_group())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (mut parked, back) = (self.parked.take(), self.back.take());
        let groups = self.groups.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(parked) = &mut parked {
            parked.groups = groups;
        }
        if let (Some(parked), Some(back), true) = (parked, back, self.kept.load(Ordering::Relaxed))
            && parked.sandbox.signal(wire::CLEAR).is_ok()
        {
            back(parked);
        }
    }
}

impl Parked {
    /// The supervisor's process id on the host, for people.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.sandbox.pid()
    }

    /// Whether it is there. Never blocks.
    pub fn is_there(&mut self) -> bool {
        self.sandbox.poll_exit().is_none()
    }
}

impl Spawner {
    /// Whether cells of this policy can have parked sandboxes here: control groups have to count each of them, a zygote takes a second user to be out of their
    /// reach, and what is to share nothing shares none of it. An error tells why not.
    pub fn can_park(&self, policy: &Policy) -> Result<Result<(), &'static str>, SpawnError> {
        let (mode, layout) = (self.foreseen()?.mode, self.layout());
        let refused = if mode != Mode::Root {
            "it takes root: supervisor and cell are two users"
        } else if !layout.counts_memory() || (layout.unified.is_none() && layout.cpuacct.is_none())
        {
            "it takes control groups for memory and processor time"
        } else if policy.seccomp == Seccomp::Strict {
            "the policy is to share nothing"
        } else if policy.network != Network::None {
            "its network would be that of others"
        } else if self.kind_of_disk(mode, &policy.limits) != Kind::Memory {
            "its files are on disk"
        } else {
            return Ok(Ok(()));
        };
        Ok(Err(refused))
    }

    /// Makes a sandbox that waits for cells. With [`Spec::zygote`] its program is started now, and is to make them; it gets no input, and what it prints
    /// is not read. Else nothing of the request matters but its binds outside of `/cell`.
    pub fn park(&self, policy: &Policy, spec: &Spec) -> Result<Parked, SpawnError> {
        let sandbox = self.make(policy, spec, true)?;
        let mut parked = Parked { sandbox, held: 0, groups: None };
        if spec.zygote {
            await_zygote(&parked.sandbox)?;
            parked.held = parked.sandbox.usage().memory.unwrap_or(0);
            // What cells have in common is theirs, too, and most of it has to be left to them.
            if parked.held > policy.limits.memory / 2 {
                return Err(SpawnError::NoZygote);
            }
        }
        Ok(parked)
    }

    /// Puts a cell into a parked sandbox: its environment, files, binds below `/cell`, streams and limits are its own, and so are its control groups; other binds and the filter of
    /// system calls are those of the sandbox, and so are, with a zygote, program, arguments and directory. The sandbox is given to `back` once the cell has ended, nobody reads what it
    /// left, and there may be another; else it is ended.
    pub fn unpark(
        &self,
        mut parked: Parked,
        policy: &Policy,
        spec: &Spec,
        back: impl FnOnce(Parked) + Send + Sync + 'static,
    ) -> Result<Sandbox, SpawnError> {
        spec.validate()?;
        let base = &parked.sandbox;
        let first_uid = base.owner.ok_or(SpawnError::Lost)?;
        // What can fail does so before there is anything to be taken back.
        let control = base.control.try_clone().map_err(SpawnError::Descriptors)?;
        let pidfd = base.pidfd.try_clone().map_err(SpawnError::Descriptors)?;
        let root = base.root.try_clone().map_err(SpawnError::Descriptors)?;
        let mut limits = policy.limits.clone();
        limits.memory = limits.memory.saturating_sub(parked.held);
        let mut groups = match parked.groups.take() {
            Some(groups) if groups.renew(&limits) => groups,
            others => {
                // One that would not go is for the sweep.
                others.map(|mut groups| groups.remove());
                Groups::create_for_fork(self.layout(), &limits).map_err(SpawnError::Cgroup)?
            }
        };
        let base = &parked.sandbox;
        match self.request(base, first_uid, &groups, policy, spec) {
            Ok(made) => {
                let Begun { stdout, stderr, worker, given, laid } = made;
                let limits = &policy.limits;
                let files = own_inodes(spec.files.len());
                Ok(Sandbox {
                    control,
                    pidfd,
                    pid: base.pid,
                    disk_before: given,
                    inodes_before: files,
                    measure: Measure::new(limits.disk, limits.inodes.saturating_add(files)),
                    disk: Disk::Memory,
                    root,
                    laid,
                    points: Points::of(spec),
                    space: None,
                    owner: base.owner,
                    stdout: Some(stdout),
                    stderr: Some(stderr),
                    worker,
                    doors: None,
                    groups,
                    shared: parked.held,
                    stands: false,
                    killed: AtomicBool::new(false),
                    bare: false,
                    view: base.view.clone(),
                    enforcement: base.enforcement.clone(),
                    exit: None,
                    polled_peak: AtomicU64::new(0),
                    polled_cpu: AtomicU64::new(0),
                    torn_down: None,
                    anothers: base.anothers,
                    last: OnceLock::new(),
                    lease: Some(Arc::new(Lease {
                        parked: Some(parked),
                        back: Some(Box::new(back)),
                        kept: AtomicBool::new(false),
                        groups: Mutex::new(None),
                    })),
                })
            }
            Err(error) => {
                // Whatever it was about to do.
                drop(parked);
                groups.remove();
                Err(error)
            }
        }
    }

    /// Lays the files and binds of a cell whose program was started ahead of them, with [`Spec::ahead`]: it has what limits and environment it was started
    /// with, and a file system with room for these files besides its limit. After an error the cell is of no use.
    pub fn fill(&self, cell: &mut Sandbox, policy: &Policy, spec: &Spec) -> Result<(), SpawnError> {
        spec.validate()?;
        let first_uid = cell.owner.ok_or(SpawnError::Lost)?;
        let order = write_order(policy, spec, &cell.view, Mode::Root, true, false);
        let order = order.map_err(SpawnError::Descriptors)?;
        // It has its streams.
        let roles = vec![Role::Order, Role::Next, Role::Stdout, Role::Stderr];
        let fds = vec![order.as_fd(), cell.control.as_fd(), order.as_fd(), order.as_fd()];
        let (given, laid) = self.lay(cell, first_uid, policy, spec, (roles, fds))?;
        let files = own_inodes(spec.files.len());
        cell.laid = laid;
        (cell.disk_before, cell.inodes_before) = (given, files);
        let limits = &policy.limits;
        cell.measure = Measure::new(limits.disk, limits.inodes.saturating_add(files));
        Ok(())
    }

    fn request(
        &self,
        base: &Sandbox,
        first_uid: u32,
        groups: &Groups,
        policy: &Policy,
        spec: &Spec,
    ) -> Result<Begun, SpawnError> {
        let order = write_order(policy, spec, &base.view, Mode::Root, true, false);
        let order = order.map_err(SpawnError::Descriptors)?;
        let ends = Ends::new(Mode::Root, first_uid, spec).map_err(SpawnError::Descriptors)?;
        let mut roles = vec![Role::Order, Role::Next, Role::Stdout, Role::Stderr];
        let mut fds =
            vec![order.as_fd(), base.control.as_fd(), ends.stdout.1.as_fd(), ends.stderr.1.as_fd()];
        let mut add = |role, fd| {
            roles.push(role);
            fds.push(fd);
        };
        if let Some(stdin) = ends.stdin.as_ref().map(AsFd::as_fd).or(borrowed_stdin(spec)) {
            add(Role::Stdin, stdin);
        }
        if let Some((_, theirs)) = &ends.worker {
            add(Role::Worker, theirs.as_fd());
        }
        for procs in groups.fork_joins() {
            add(Role::Join, procs.as_fd());
        }
        let (given, laid) = self.lay(base, first_uid, policy, spec, (roles, fds))?;
        let Ends { stdout, stderr, worker, .. } = ends;
        let worker = worker.map(|(ours, _)| ours);
        Ok(Begun { stdout: stdout.0, stderr: stderr.0, worker, given, laid })
    }

    /// Asks for a cell to be laid out: the bytes its files take, and where its code and inputs are.
    fn lay<'a>(
        &self,
        base: &Sandbox,
        first_uid: u32,
        policy: &Policy,
        spec: &'a Spec,
        (mut roles, mut fds): (Vec<Role>, Vec<BorrowedFd<'a>>),
    ) -> Result<(u64, Vec<OwnedFd>), SpawnError> {
        for hot in &spec.hot {
            let (space, file) = hot.file.handles();
            roles.extend([Role::HotSpace, Role::HotFile]);
            fds.extend([space, file]);
        }
        let own = spec.binds.iter().filter(|bind| bind.target.starts_with(crate::CELL_ROOT));
        let binds: Vec<_> = own.map(|bind| (bytes(&bind.source), bytes(&bind.target))).collect();
        let hot: Vec<_> = spec.hot.iter().map(|hot| bytes(&hot.target)).collect();
        // The spawner sends each bind as a descriptor of its own, besides most of what it was given.
        if fds.len() + binds.len() > sys::socket::MAX_FDS {
            return Err(SpawnError::TooLarge);
        }
        let patience = self.patience();
        let files: u64 = spec.files.iter().map(|file| file.bytes.len() as u64).sum();
        let answer = patience.min(ANSWER + Duration::from_secs(files / WRITTEN));
        if binds.is_empty() && hot.is_empty() {
            // Nothing is to be opened that only the spawner can: its part would be to pass it on.
            let (next, _) = (roles.remove(1), fds.remove(1));
            debug_assert_eq!(next, Role::Next);
            let message = rmp_serde::to_vec(&Next { binds: Ok(Vec::new()), roles });
            let message = message.map_err(|_| SpawnError::TooLarge)?;
            let sent = sys::socket::send_now(base.control.as_fd(), &message, &fds);
            // Whether it answers says nothing of the spawner.
            return sent.map_err(|_| SpawnError::Lost).and_then(|()| await_cell(base, answer));
        }
        let filter = wire::Filter {
            calls: policy.seccomp,
            uncounted: false,
            internet: false,
            unnamed: false,
            plain_modes: false,
        };
        let launch = Launch {
            first_uid,
            filter,
            doors: false,
            terminals: false,
            folder: None,
            binds,
            openings: Vec::new(),
            hot,
            roles,
        };
        let message = rmp_serde::to_vec(&launch).map_err(|_| SpawnError::TooLarge)?;
        if message.len() > crate::inside::MAX_LAUNCH {
            return Err(SpawnError::TooLarge);
        }
        let asked = self.ask(&message, &fds, patience);
        self.note(asked.as_ref().err());
        asked?;
        // Which of the two is silent is found out by who asks the spawner next.
        await_cell(base, answer)
    }
}

fn await_zygote(sandbox: &Sandbox) -> Result<(), SpawnError> {
    let deadline = Instant::now() + WARMING;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [sys::interest(sandbox.control.as_fd(), libc::POLLIN)];
        let answered = sys::poll(&mut fds, left.as_millis() as i32);
        return match answered.is_ok_and(|ready| ready > 0) {
            false => Err(SpawnError::NoZygote),
            true => match wire::receive_report(sandbox.control.as_fd()) {
                Ok(Some(Report::Warm)) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(_) | Err(_) => Err(SpawnError::NoZygote),
            },
        };
    }
}

fn await_cell(base: &Sandbox, patience: Duration) -> Result<(u64, Vec<OwnedFd>), SpawnError> {
    loop {
        let mut fds = [sys::interest(base.control.as_fd(), libc::POLLIN)];
        let answered = sys::poll(&mut fds, patience.as_millis() as i32);
        if !answered.is_ok_and(|ready| ready > 0) {
            return Err(SpawnError::Silent);
        }
        return match wire::receive_report(base.control.as_fd()) {
            Ok(Some(Report::Ready { laid, given, .. })) => Ok((given, laid)),
            Ok(Some(Report::SetupFailed(failure) | Report::NotStarted(failure))) => {
                let source = io::Error::from_raw_os_error(failure.errno);
                Err(SpawnError::Setup { stage: failure.stage, source })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Ok(_) | Err(_) => Err(SpawnError::Lost),
        };
    }
}
