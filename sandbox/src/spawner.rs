//! The host's end of the spawner: starting it, and asking it for sandboxes. Does not know what happens inside.

use std::{
    ffi::CString,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_bytes::ByteBuf;

use crate::{
    SPAWNER_ARG, WORKER_FD,
    cgroup::{self, Groups, Layout},
    enforcement::{Enforcement, Level, Mechanism, Status},
    inside::MAX_LAUNCH,
    policy::Policy,
    sandbox::Sandbox,
    spec::{Spec, SpecError, Stdin},
    sys::{self, file, socket},
    wire::{
        self, Facts, Launch, Missing, Mode, Order, OrderFile, OrderLimits, Ready, Report, Role,
        Stage,
    },
};

/// The spawner and its supervisors answer within this, or something is very wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// First of the host users given to sandboxes in root mode; nobody assigns users this high.
const FIRST_UID: u32 = 0x7000_0000;

/// Large enough that a talkative cell seldom waits for its reader.
const PIPE_BYTES: i32 = 1 << 20;

/// A running spawner. Cheap to share between threads.
#[derive(Debug)]
pub struct Spawner {
    control: OwnedFd,
    facts: OnceLock<Result<Ready, Missing>>,
    first: Mutex<()>,
    layout: OnceLock<Layout>,
    sequence: AtomicU32,
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
        exe: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This machine lacks something no sandbox can do without.
    #[error("no sandbox on this machine: cannot {stage}")]
    Unavailable {
        /// What was refused.
        stage: Stage,
        /// Why.
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
    /// The spawner or the new supervisor died or does not answer.
    #[error("the spawner is gone or does not answer")]
    Lost,
}

impl Spawner {
    /// Starts `exe __spawner`. Call before any other thread exists, from the thread that lives longest (the kernel ties the spawner's
    /// life to it). Returns at once; the spawner prepares itself meanwhile.
    pub fn start(exe: &Path) -> Result<Self, SpawnError> {
        let failed = |source| SpawnError::Start { exe: exe.to_path_buf(), source };
        let (ours, theirs) = socket::pair(libc::SOCK_SEQPACKET).map_err(failed)?;
        let child = Command::new(exe)
            .arg(SPAWNER_ARG)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            control: ours,
            facts: OnceLock::new(),
            first: Mutex::new(()),
            layout: OnceLock::new(),
            sequence: AtomicU32::new(0),
            child,
        })
    }

    /// What the spawner could prepare; waits for its first message, once.
    fn ready(&self) -> Result<&Ready, SpawnError> {
        if self.facts.get().is_none() {
            let _turn = self.first.lock().map_err(|_| SpawnError::Lost)?;
            if self.facts.get().is_none() {
                let facts = self.receive_facts().ok_or(SpawnError::Lost)?;
                let _ = self.facts.set(facts.outcome);
            }
        }
        match self.facts.get() {
            Some(Ok(ready)) => Ok(ready),
            Some(Err(missing)) => Err(SpawnError::Unavailable {
                stage: missing.stage,
                source: io::Error::from_raw_os_error(missing.errno),
            }),
            None => Err(SpawnError::Lost),
        }
    }

    fn receive_facts(&self) -> Option<Facts> {
        let mut fds = [sys::interest(self.control.as_fd(), libc::POLLIN)];
        let ready = sys::poll(&mut fds, PATIENCE.as_millis() as i32).ok()?;
        let mut buffer = [0; 4096];
        let received =
            (ready > 0).then(|| socket::receive(self.control.as_fd(), &mut buffer).ok())??;
        rmp_serde::from_slice(&buffer[..received.length]).ok()
    }

    fn layout(&self) -> &Layout {
        self.layout.get_or_init(Layout::detect)
    }

    /// What a sandbox with this policy would get here.
    pub fn enforcement(&self, policy: &Policy) -> Result<Enforcement, SpawnError> {
        Ok(achieved(self.ready()?, self.layout(), policy))
    }

    /// Makes a sandbox and starts the command in it. Blocks for about a millisecond; returns when the cell's file system stands. Callable
    /// from any thread, several at once.
    pub fn spawn(&self, policy: &Policy, spec: &Spec) -> Result<Sandbox, SpawnError> {
        spec.validate()?;
        let ready = self.ready()?;
        let layout = self.layout();
        let enforcement = achieved(ready, layout, policy);
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
        let mut groups = Groups::create(layout, &policy.limits).map_err(SpawnError::Cgroup)?;
        let launched = self.launch(ready.mode, layout, policy, spec, &groups);
        match launched {
            Ok(launched) => Ok(Sandbox {
                control: launched.control,
                pidfd: launched.pidfd,
                pid: launched.pid,
                root: launched.root,
                stdout: Some(launched.stdout),
                stderr: Some(launched.stderr),
                worker: launched.worker,
                groups,
                enforcement,
                exit: None,
                polled_peak: AtomicU64::new(0),
                polled_cpu: AtomicU64::new(0),
                torn_down: None,
            }),
            Err(error) => {
                groups.kill();
                groups.remove();
                Err(error)
            }
        }
    }

    fn launch(
        &self,
        mode: Mode,
        layout: &Layout,
        policy: &Policy,
        spec: &Spec,
        groups: &Groups,
    ) -> Result<Launched, SpawnError> {
        let first_uid = self.next_users();
        let memory = layout.memory.is_some()
            || layout.unified.as_ref().is_some_and(|u| !u.controllers.is_empty());
        let order = write_order(policy, spec, memory).map_err(SpawnError::Descriptors)?;
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
        if let Some(home) = groups.home() {
            add(Role::Home, home.as_fd());
        }
        for procs in groups.joins() {
            add(Role::Join, procs.as_fd());
        }
        let binds =
            spec.binds.iter().map(|bind| (bytes(&bind.source), bytes(&bind.target))).collect();
        let launch = Launch { first_uid, binds, roles };
        let message = rmp_serde::to_vec(&launch).map_err(|_| SpawnError::TooLarge)?;
        if message.len() > MAX_LAUNCH {
            return Err(SpawnError::TooLarge);
        }
        // One message is one call: threads need no lock between them.
        socket::send(self.control.as_fd(), &message, &fds).map_err(|_| SpawnError::Lost)?;
        ends.wait_ready()
    }

    /// Two host users that no other living sandbox has: spawners differ in their process id, sandboxes of one in their number.
    fn next_users(&self) -> u32 {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed) & 0xff;
        FIRST_UID + (((self.child.id() & 0x3_ffff) << 8 | number) << 1)
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // It ends at the end of its socket; killing spares the wait. Its sandboxes die with it, as they should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A launch that reached Ready.
struct Launched {
    control: OwnedFd,
    pidfd: OwnedFd,
    pid: i32,
    root: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    worker: Option<OwnedFd>,
}

/// Both ends of everything: (ours, theirs).
struct Ends {
    control: (OwnedFd, OwnedFd),
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
    stdin: Option<OwnedFd>,
    worker: Option<(OwnedFd, OwnedFd)>,
}

impl Ends {
    fn new(mode: Mode, first_uid: u32, spec: &Spec) -> io::Result<Self> {
        let output = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (read, write) = file::pipe()?;
            file::grow_pipe(read.as_fd(), PIPE_BYTES);
            file::set_nonblocking(read.as_fd())?;
            if mode == Mode::Root {
                // Else `echo x > /dev/stderr` is refused: opening a pipe anew checks its owner.
                file::fchown(write.as_fd(), first_uid + 1, first_uid + 1)?;
            }
            Ok((read, write))
        };
        let worker = if spec.worker_socket {
            let (ours, theirs) = socket::pair(libc::SOCK_STREAM)?;
            file::set_nonblocking(ours.as_fd())?;
            Some((ours, theirs))
        } else {
            None
        };
        let stdin = match &spec.stdin {
            Stdin::Bytes(bytes) => Some(sealed(bytes)?),
            Stdin::Null | Stdin::Fd(_) => None,
        };
        Ok(Self {
            control: socket::pair(libc::SOCK_SEQPACKET)?,
            stdout: output()?,
            stderr: output()?,
            stdin,
            worker,
        })
    }

    /// Drops their ends and waits for the supervisor.
    fn wait_ready(self) -> Result<Launched, SpawnError> {
        let control = self.control.0;
        drop(self.control.1);
        let mut spawned = None;
        loop {
            let mut fds = [sys::interest(control.as_fd(), libc::POLLIN)];
            let answered = sys::poll(&mut fds, PATIENCE.as_millis() as i32);
            if !answered.is_ok_and(|ready| ready > 0) {
                return Err(SpawnError::Lost);
            }
            match wire::receive_report(control.as_fd()).map_err(|_| SpawnError::Lost)? {
                Some(Report::Spawned { pid, pidfd }) => spawned = Some((pid, pidfd)),
                Some(Report::Ready { root }) => {
                    let (pid, pidfd) = spawned.ok_or(SpawnError::Lost)?;
                    file::set_nonblocking(control.as_fd()).map_err(SpawnError::Descriptors)?;
                    return Ok(Launched {
                        control,
                        pidfd,
                        pid,
                        root,
                        stdout: self.stdout.0,
                        stderr: self.stderr.0,
                        worker: self.worker.map(|(ours, _)| ours),
                    });
                }
                Some(Report::SetupFailed(failure) | Report::NotStarted(failure)) => {
                    let source = io::Error::from_raw_os_error(failure.errno);
                    return Err(SpawnError::Setup { stage: failure.stage, source });
                }
                Some(Report::Exited { .. }) | None => return Err(SpawnError::Lost),
            }
        }
    }
}

fn borrowed_stdin(spec: &Spec) -> Option<BorrowedFd<'_>> {
    match &spec.stdin {
        Stdin::Fd(fd) => Some(fd.as_fd()),
        Stdin::Null | Stdin::Bytes(_) => None,
    }
}

fn bytes(path: &Path) -> ByteBuf {
    ByteBuf::from(path.as_os_str().as_bytes())
}

/// Bytes as a file at position 0 that nobody can change.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = file::memfd(c"polyloom-stdin")?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    let fd = OwnedFd::from(file);
    file::seal(fd.as_fd())?;
    // Opened anew read-only, which also starts at 0.
    let path =
        CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(io::Error::other)?;
    file::open(&path, libc::O_RDONLY)
}

fn write_order(policy: &Policy, spec: &Spec, memory_cgroup: bool) -> io::Result<OwnedFd> {
    let limits = &policy.limits;
    let mut env: Vec<ByteBuf> = spec
        .env
        .iter()
        .map(|(name, value)| ByteBuf::from([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    if spec.worker_socket {
        env.push(ByteBuf::from(format!("POLYLOOM_W={WORKER_FD}")));
    }
    let cwd = if spec.cwd.as_os_str().is_empty() { Path::new("/cell/work") } else { &spec.cwd };
    let order = Order {
        argv: spec.argv.iter().map(|argument| ByteBuf::from(argument.as_bytes())).collect(),
        env,
        cwd: bytes(cwd),
        files: spec
            .files
            .iter()
            .map(|file| OrderFile {
                path: bytes(file.path.strip_prefix(crate::CELL_ROOT).unwrap_or(&file.path)),
                mode: file.mode,
                length: file.bytes.len() as u64,
            })
            .collect(),
        limits: OrderLimits {
            files: limits.files,
            disk: limits.disk,
            inodes: limits.inodes,
            stack: limits.stack,
            cpu_seconds: limits.cpu_time.map(|time| time.as_secs() + 2),
            // One more than the cgroup, whose refusals are counted; where one user serves for both, the supervisor is that one.
            processes: u64::from(limits.pids) + 1,
            data: (!memory_cgroup).then_some(limits.memory),
        },
    };
    let header = rmp_serde::to_vec(&order).map_err(io::Error::other)?;
    let fd = file::memfd(c"polyloom-order")?;
    let mut file = std::fs::File::from(fd);
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend_from_slice(&header);
    file.write_all(&start)?;
    for entry in &spec.files {
        file.write_all(&entry.bytes)?;
    }
    Ok(file.into())
}

/// What the facts and the policy amount to. Whatever is planned here and fails inside stops the cell from starting, so the plan
/// is the truth.
fn achieved(ready: &Ready, layout: &Layout, policy: &Policy) -> Enforcement {
    let mut out = Enforcement::default();
    let full = |used: &str| Status::full(used);
    out.set(
        Mechanism::Namespaces,
        full("user, process, mount, ipc, host-name and cgroup namespaces"),
    );
    out.set(Mechanism::Files, full("own root of read-only mounts, private tmpfs"));
    out.set(Mechanism::Network, full("empty network namespace, no internet sockets"));
    out.set(
        Mechanism::TwoUsers,
        match ready.mode {
            Mode::Root => full("two host users"),
            Mode::User => {
                Status::none("not root: supervisor and cell share the one user of the namespace")
            }
        },
    );
    out.set(Mechanism::Privileges, full("no capabilities, no_new_privs"));
    out.set(
        Mechanism::Landlock,
        match ready.landlock {
            0 => Status::none("this kernel has no Landlock, or it is off"),
            abi @ 1..6 => Status::partial(
                format!("Landlock ABI {abi}"),
                "no scopes for signals and abstract sockets before ABI 6",
            ),
            abi => Status::full(format!("Landlock ABI {abi}")),
        },
    );
    out.set(Mechanism::Seccomp, full("deny-list filter"));
    out.set(Mechanism::Disk, full("size of the private tmpfs, RLIMIT_FSIZE"));
    cgroup::describe(layout, &policy.limits, &mut out);
    out
}
