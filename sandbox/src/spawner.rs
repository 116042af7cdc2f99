//! The host's end of the spawner: starting it, and asking it for sandboxes. Does not know what happens inside.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    SPAWNER_ARG,
    cgroup::{Groups, Layout},
    disk::{self, Disk, Kind, Measure, Scratch},
    enforcement::{Enforcement, Level, Mechanism},
    inside::{BARE, MAX_LAUNCH, TIED},
    launch::{
        Ends, Launched, PATIENCE, SHORT_PATIENCE, borrowed_stdin, bytes, given, taken, write_order,
    },
    living::Points,
    missing,
    policy::{Limits, Network, Policy, Seccomp},
    probe::achieved,
    sandbox::{Doors, Sandbox},
    spec::{Access, Spec, SpecError},
    sys::{self, process, socket},
    view::View,
    wire::{
        FIRST_UID, Facts, Filter, Launch, Missing, Mode, Ready, Role, Stage, UID_SLOTS, own_inodes,
    },
};

/// A running spawner. Cheap to share between threads.
#[derive(Debug)]
pub struct Spawner {
    exe: PathBuf,
    /// Nothing as long as nobody needed one of which is known what it will be able to do.
    link: OnceLock<Link>,
    starting: Mutex<()>,
    /// Another one, without namespaces, where the first could not have them; and what was in its way.
    bare: OnceLock<(Link, Missing)>,
    facts: OnceLock<Result<Ready, Missing>>,
    /// What another spawner of this machine could prepare.
    expected: OnceLock<Ready>,
    first: Mutex<()>,
    layout: OnceLock<Layout>,
    scratch: Result<Scratch, String>,
    sequence: AtomicU32,
    /// Whether the last request was not answered in time.
    silent: AtomicBool,
}

/// A spawner's process, and the socket to it.
#[derive(Debug)]
struct Link {
    control: OwnedFd,
    child: Child,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The spawner could not be started.
    #[error("cannot start the spawner `{exe}`")]
    Start {
        /// The binary.
        exe: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This machine lacks something no sandbox can do without.
    #[error("no sandbox on this machine: cannot {stage} ({why})")]
    Unavailable {
        /// What was refused.
        stage: Stage,
        /// What is in the way, and what to do about it.
        why: String,
        /// The system's word.
        source: io::Error,
    },
    /// The policy asks for more than this machine gives.
    #[error("policy requires `{mechanism}` to be {wanted}, but it is {achieved}: {reason}")]
    BelowPolicy {
        /// Which mechanism.
        mechanism: Mechanism,
        /// The level asked for.
        wanted: Level,
        /// The level there is.
        achieved: Level,
        /// Why it is no better.
        reason: String,
    },
    /// The request itself is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The request does not fit into a message.
    #[error("too many or too long bind paths for one sandbox")]
    TooLarge,
    /// Control groups could not be made.
    #[error("cannot make the sandbox's control groups")]
    Cgroup(#[source] io::Error),
    /// The cell's file system on disk could not be made.
    #[error("cannot make the cell's file system on disk")]
    Disk(#[source] io::Error),
    /// Pipes, sockets or memory for the request could not be had.
    #[error("cannot prepare the sandbox's descriptors")]
    Descriptors(#[source] io::Error),
    /// A step of building the sandbox was refused.
    #[error("cannot {stage}")]
    Setup {
        /// Which step.
        stage: Stage,
        /// Why.
        source: io::Error,
    },
    /// The program of a parked sandbox did not come to be asked for cells, or holds too much for that.
    #[error("its program is no zygote")]
    NoZygote,
    /// The spawner or the new supervisor died.
    #[error("the spawner is gone")]
    Lost,
    /// The spawner or the new supervisor lives and does not answer: somebody stopped it, or the machine is out of breath.
    #[error("the spawner does not answer")]
    Silent,
}

/// What the host has made for a launch.
struct Host<'a> {
    mode: Mode,
    layout: &'a Layout,
    groups: &'a Groups,
    disk: &'a Disk,
    first_uid: u32,
    view: &'a View,
    parked: bool,
}

impl Spawner {
    /// Starts `exe __spawner`. Best called from the main thread before there is any other. Returns at once; the spawner prepares itself
    /// meanwhile.
    pub fn start(exe: &Path) -> Result<Self, SpawnError> {
        let spawner = Self::unstarted(exe);
        spawner.begin()?;
        Ok(spawner)
    }

    /// The same, started once it is needed. What it will be able to prepare is known: it is what [`Self::prepared`] of another one in the same namespaces said.
    #[must_use]
    pub fn start_later(exe: &Path, prepared: &[u8]) -> Option<Self> {
        let spawner = Self::unstarted(exe);
        spawner.expected.set(rmp_serde::from_slice(prepared).ok()?).ok()?;
        Some(spawner)
    }

    fn unstarted(exe: &Path) -> Self {
        Self {
            exe: exe.to_path_buf(),
            link: OnceLock::new(),
            starting: Mutex::new(()),
            bare: OnceLock::new(),
            facts: OnceLock::new(),
            expected: OnceLock::new(),
            first: Mutex::new(()),
            layout: OnceLock::new(),
            scratch: Err("no folder for it was given".into()),
            sequence: AtomicU32::new(0),
            silent: AtomicBool::new(false),
        }
    }

    /// Starts its process, if that was not done; it prepares itself meanwhile.
    pub fn begin(&self) -> Result<(), SpawnError> {
        self.link().map(drop)
    }

    /// Names a folder on disk for the files of cells whose disk limit is larger than their memory limit. Without one those files are held in memory,
    /// where they can never fill that limit; so it is where the folder cannot be used, and [`Enforcement`] says so.
    #[must_use]
    pub fn with_scratch(mut self, place: &Path) -> Self {
        self.scratch = Scratch::open(place);
        self
    }

    /// What the spawner could prepare or, as long as nothing is to be started by it, will: what could be prepared by another one, where that is known.
    pub(crate) fn foreseen(&self) -> Result<&Ready, SpawnError> {
        match self.expected.get() {
            Some(expected) if self.facts.get().is_none() => Ok(expected),
            Some(_) | None => self.ready(),
        }
    }

    /// What this spawner could prepare, for [`Self::start_later`].
    pub fn prepared(&self) -> Result<Vec<u8>, SpawnError> {
        rmp_serde::to_vec(self.ready()?).map_err(|_| SpawnError::Lost)
    }

    /// What the spawner could prepare; waits for its first message, once.
    pub(crate) fn ready(&self) -> Result<&Ready, SpawnError> {
        if self.facts.get().is_none() {
            let _turn = self.first.lock().map_err(|_| SpawnError::Lost)?;
            if self.facts.get().is_none() {
                let facts = self.first_link().and_then(|link| self.receive_facts(link));
                self.note(facts.as_ref().err());
                let outcome = match facts?.outcome {
                    Err(missing) => self.without_namespaces(missing)?,
                    ready => ready,
                };
                let _ = self.facts.set(outcome);
            }
        }
        match self.facts.get() {
            Some(Ok(ready)) => Ok(ready),
            Some(Err(missing)) => Err(Self::unavailable(missing)),
            None => Err(SpawnError::Lost),
        }
    }

    fn receive_facts(&self, link: &Link) -> Result<Facts, SpawnError> {
        let mut fds = [sys::interest(link.control.as_fd(), libc::POLLIN)];
        let ready = sys::poll(&mut fds, self.patience().as_millis() as i32);
        if !ready.is_ok_and(|ready| ready > 0) {
            return Err(SpawnError::Silent);
        }
        let mut buffer = [0; 4096];
        let received = socket::receive(link.control.as_fd(), &mut buffer);
        let received = received.map_err(|_| SpawnError::Lost)?;
        rmp_serde::from_slice(&buffer[..received.length]).map_err(|_| SpawnError::Lost)
    }

    /// Hands a request over. One message is one call: threads need no lock between them.
    pub(crate) fn ask(
        &self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<(), SpawnError> {
        loop {
            let mut writable = [sys::interest(self.link()?.control.as_fd(), libc::POLLOUT)];
            let ready = sys::poll(&mut writable, patience.as_millis() as i32);
            if !ready.is_ok_and(|ready| ready > 0) {
                return Err(SpawnError::Silent);
            }
            match socket::send_now(self.link()?.control.as_fd(), message, fds) {
                // Another thread was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map_err(|_| SpawnError::Lost),
            }
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        if self.silent.load(Ordering::Relaxed) { SHORT_PATIENCE } else { PATIENCE }
    }

    /// Remembers whether there was an answer.
    pub(crate) fn note(&self, error: Option<&SpawnError>) {
        self.silent.store(matches!(error, Some(SpawnError::Silent)), Ordering::Relaxed);
    }

    /// Starts anew without namespaces: what the first process has tried by then cannot be undone.
    fn without_namespaces(&self, missing: Missing) -> Result<Result<Ready, Missing>, SpawnError> {
        let link = Link::start(&self.exe, Some(BARE))?;
        let outcome = self.receive_facts(&link)?.outcome;
        let _ = self.bare.set((link, missing));
        Ok(outcome)
    }

    fn link(&self) -> Result<&Link, SpawnError> {
        match self.bare.get() {
            Some((link, _)) => Ok(link),
            None => self.first_link(),
        }
    }

    fn first_link(&self) -> Result<&Link, SpawnError> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let _turn = self.starting.lock().map_err(|_| SpawnError::Lost)?;
        match self.link.get() {
            Some(link) => Ok(link),
            None => {
                let link = Link::start(&self.exe, None)?;
                Ok(self.link.get_or_init(|| link))
            }
        }
    }

    fn unavailable(missing: &Missing) -> SpawnError {
        SpawnError::Unavailable {
            stage: missing.stage,
            why: missing::explain(missing.errno),
            source: io::Error::from_raw_os_error(missing.errno),
        }
    }

    /// Whether the spawner is there and has answered when it was asked last.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let (None, None) = (self.bare.get(), self.link.get()) else {
            return self.link().is_ok_and(|link| self.answers(link));
        };
        true
    }

    fn answers(&self, link: &Link) -> bool {
        let mut fds = [sys::interest(link.control.as_fd(), 0)];
        let polled = sys::poll(&mut fds, 0);
        let gone = fds[0].revents & (libc::POLLHUP | libc::POLLERR) != 0;
        polled.is_ok() && !gone && !self.silent.load(Ordering::Relaxed)
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout.get_or_init(Layout::detect)
    }

    /// Where the files of a cell with these limits go.
    pub(crate) fn kind_of_disk(&self, mode: Mode, limits: &Limits) -> Kind {
        disk::plan(&self.scratch, mode, limits).0
    }

    /// What a sandbox with this policy would get here.
    pub fn enforcement(&self, policy: &Policy) -> Result<Enforcement, SpawnError> {
        let ready = self.foreseen()?;
        let (_, disk) = disk::plan(&self.scratch, ready.mode, &policy.limits);
        Ok(achieved(ready, self.layout(), policy, disk, self.why_bare().as_deref()))
    }

    /// Why there are no namespaces, where there are none.
    fn why_bare(&self) -> Option<String> {
        let (_, missing) = self.bare.get()?;
        Some(format!("cannot {}: {}", missing.stage, missing::explain(missing.errno)))
    }

    /// How the paths of one sandbox are to be spelled. With namespaces that is as they are; without, its own files are in a folder of the host's, which is
    /// made here and goes with the view and the sandbox.
    pub fn view(&self) -> Result<View, SpawnError> {
        if self.foreseen()?.mode != Mode::Bare {
            return Ok(View::default());
        }
        let folder = disk::folder(&self.scratch).map_err(SpawnError::Disk)?;
        Ok(View { folder: Some(folder) })
    }

    /// Why this machine can't meet a policy, if it can't: what [`Self::spawn`] would say, before anything is made.
    pub fn check(&self, policy: &Policy) -> Result<(), SpawnError> {
        self.permits(policy, &self.enforcement(policy)?)
    }

    fn permits(&self, policy: &Policy, enforcement: &Enforcement) -> Result<(), SpawnError> {
        if let Some((_, missing)) = self.bare.get() {
            let wanted = policy.require.get(&Mechanism::Namespaces);
            if wanted.is_some_and(|wanted| *wanted > Level::None) || policy.network != Network::None
            {
                return Err(Self::unavailable(missing));
            }
        }
        for (mechanism, wanted) in &policy.require {
            let achieved = enforcement.level(*mechanism);
            if achieved < *wanted {
                let status = enforcement.mechanisms.get(mechanism);
                let reason = status.map(|status| status.reason.clone()).unwrap_or_default();
                return Err(SpawnError::BelowPolicy {
                    mechanism: *mechanism,
                    wanted: *wanted,
                    achieved,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Makes a sandbox and starts the command in it. Blocks for about a millisecond; returns when the cell's file system stands. Callable
    /// from any thread, several at once.
    pub fn spawn(&self, policy: &Policy, spec: &Spec) -> Result<Sandbox, SpawnError> {
        self.make(policy, spec, false)
    }

    pub(crate) fn make(
        &self,
        policy: &Policy,
        spec: &Spec,
        parked: bool,
    ) -> Result<Sandbox, SpawnError> {
        spec.validate()?;
        let ports = policy.network.ports()?;
        let ready = self.ready()?;
        let layout = self.layout();
        let (kind, status) = disk::plan(&self.scratch, ready.mode, &policy.limits);
        let enforcement = achieved(ready, layout, policy, status, self.why_bare().as_deref());
        self.permits(policy, &enforcement)?;
        let given = given(&spec.files);
        let first_uid = self.next_users()?;
        let owner = (ready.mode == Mode::Root).then_some(first_uid);
        // Who spelled no paths gets the folder all the same.
        let view = match &spec.view.folder {
            Some(_) => spec.view.clone(),
            None => self.view()?,
        };
        let disk = match &view.folder {
            Some(folder) if ready.mode == Mode::Bare => Ok(Disk::Folder(Arc::clone(folder))),
            _ => Disk::make(kind, &self.scratch, &policy.limits, given, owner),
        };
        let disk = disk.map_err(SpawnError::Disk)?;
        let mut groups = Groups::create(layout, &policy.limits).map_err(SpawnError::Cgroup)?;
        let host = Host {
            mode: ready.mode,
            layout,
            groups: &groups,
            disk: &disk,
            first_uid,
            view: &view,
            parked,
        };
        let launched = self.launch(policy, spec, host);
        match launched {
            Ok(launched) => Ok(Sandbox {
                control: launched.control,
                pidfd: launched.pidfd,
                pid: launched.pid,
                disk_before: match kind {
                    Kind::Folder => taken(&spec.files),
                    Kind::Memory | Kind::Image => launched.given,
                },
                inodes_before: own_inodes(spec.files.len()),
                measure: Measure::new(
                    policy.limits.disk.saturating_add(given),
                    policy.limits.inodes.saturating_add(own_inodes(spec.files.len())),
                ),
                disk,
                root: launched.root,
                laid: launched.laid,
                points: Points::of(spec),
                space: None,
                owner,
                stdout: Some(launched.stdout),
                stderr: Some(launched.stderr),
                worker: launched.worker,
                doors: Doors::of(launched.doors, ports),
                groups,
                lease: None,
                shared: 0,
                stands: false,
                killed: AtomicBool::new(false),
                bare: ready.mode == Mode::Bare,
                view,
                enforcement,
                exit: None,
                polled_peak: AtomicU64::new(0),
                polled_cpu: AtomicU64::new(0),
                torn_down: None,
                anothers: false,
                last: OnceLock::new(),
            }),
            Err(error) => {
                groups.kill();
                groups.remove();
                Err(error)
            }
        }
    }

    fn launch(&self, policy: &Policy, spec: &Spec, host: Host<'_>) -> Result<Launched, SpawnError> {
        let Host { mode, layout, groups, disk, first_uid, view, parked } = host;
        let memory = layout.counts_memory();
        let order = write_order(policy, spec, view, mode, memory, parked)
            .map_err(SpawnError::Descriptors)?;
        let ends = Ends::new(mode, first_uid, spec).map_err(SpawnError::Descriptors)?;
        let mut roles = vec![Role::Order, Role::Control, Role::Stdout, Role::Stderr];
        let mut fds = vec![
            order.as_fd(),
            ends.control.1.as_fd(),
            ends.stdout.1.as_fd(),
            ends.stderr.1.as_fd(),
        ];
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
        if let Some((zygote, supervisor)) = &ends.line {
            add(Role::Worker, zygote.as_fd());
            add(Role::Line, supervisor.as_fd());
        }
        let folder = match disk {
            Disk::Memory => None,
            Disk::Image(mount) => {
                add(Role::Files, mount.as_fd());
                None
            }
            Disk::Folder(folder) => Some(bytes(&folder.path)),
        };
        for hot in &spec.hot {
            let (space, file) = hot.file.handles();
            add(Role::HotSpace, space);
            add(Role::HotFile, file);
        }
        if let Some(home) = groups.home() {
            add(Role::Home, home.as_fd());
        }
        for procs in groups.joins() {
            add(Role::Join, procs.as_fd());
        }
        let binds =
            spec.binds.iter().map(|bind| (bytes(&bind.source), bytes(&bind.target))).collect();
        let hot = spec.hot.iter().map(|hot| bytes(&hot.target)).collect();
        let openings = spec.openings.iter();
        let openings = openings
            .map(|o| (bytes(&o.source), bytes(&o.target), o.access == Access::Write))
            .collect();
        let doors = policy.network != Network::None;
        // In an opened folder there may be a socket, and behind it anybody (`docker.sock`): neither a read-only mount nor Landlock before its
        // ABI 9 stands in the way of connecting to it.
        // Without a namespace every socket of the host's has its name.
        let unnamed =
            policy.seccomp == Seccomp::Strict || !spec.openings.is_empty() || mode == Mode::Bare;
        let plain_modes = spec.openings.iter().any(|opening| opening.access == Access::Write);
        // A zygote forks and changes users; its copies take that from themselves (`crate::zygote`).
        let forks = spec.zygote && policy.seccomp == Seccomp::Runner;
        let filter = Filter {
            calls: if forks { Seccomp::Default } else { policy.seccomp },
            uncounted: !memory,
            internet: doors,
            unnamed,
            plain_modes,
        };
        let terminals = spec.terminals;
        let launch =
            Launch { first_uid, filter, doors, terminals, folder, binds, openings, hot, roles };
        let message = rmp_serde::to_vec(&launch).map_err(|_| SpawnError::TooLarge)?;
        if message.len() > MAX_LAUNCH {
            return Err(SpawnError::TooLarge);
        }
        let patience = self.patience();
        let launched = self.ask(&message, &fds, patience).and_then(|()| ends.wait_ready(patience));
        self.note(launched.as_ref().err());
        launched
    }

    /// Two host users that no other living sandbox has: spawners differ in their process id, sandboxes of one in their number.
    fn next_users(&self) -> Result<u32, SpawnError> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed) & 0xff;
        let slot = (self.link()?.child.id() << 8 | number) % UID_SLOTS;
        Ok(FIRST_UID + 2 * slot)
    }
}

impl Link {
    fn start(exe: &Path, how: Option<&str>) -> Result<Self, SpawnError> {
        let failed = |source| SpawnError::Start { exe: exe.to_path_buf(), source };
        let (ours, theirs) = socket::pair(libc::SOCK_SEQPACKET).map_err(failed)?;
        // The kernel ties such a wish to a thread, not a process; only the main thread lives as long as the host.
        let main_thread = std::process::id() == process::thread_id();
        let child = Command::new(exe)
            .arg(SPAWNER_ARG)
            .args(main_thread.then_some(TIED))
            .args(how)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self { control: ours, child })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It ends at the end of its socket; killing spares the wait. Its sandboxes die with it, as they should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
