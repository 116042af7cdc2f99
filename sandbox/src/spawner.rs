//! The host's end of the spawner: starting it, and asking it for sandboxes. Does not know what happens inside.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use crate::{
    SPAWNER_ARG,
    cgroup::{Groups, Layout},
    enforcement::{Enforcement, Level, Mechanism},
    inside::{MAX_LAUNCH, TIED},
    launch::{Ends, Launched, PATIENCE, borrowed_stdin, bytes, write_order},
    policy::Policy,
    probe::achieved,
    sandbox::Sandbox,
    spec::{Spec, SpecError},
    sys::{self, process, socket},
    wire::{FIRST_UID, Facts, Launch, Missing, Mode, Ready, Role, Stage, UID_SLOTS},
};

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
    /// Starts `exe __spawner`. Best called from the main thread before there is any other. Returns at once; the spawner prepares itself
    /// meanwhile.
    pub fn start(exe: &Path) -> Result<Self, SpawnError> {
        let failed = |source| SpawnError::Start { exe: exe.to_path_buf(), source };
        let (ours, theirs) = socket::pair(libc::SOCK_SEQPACKET).map_err(failed)?;
        // The kernel ties such a wish to a thread, not a process; only the main thread lives as long as the host.
        let main_thread = std::process::id() == process::thread_id();
        let child = Command::new(exe)
            .arg(SPAWNER_ARG)
            .args(main_thread.then_some(TIED))
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
                disk_before: launched.given,
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
        let slot = (self.child.id() << 8 | number) % UID_SLOTS;
        FIRST_UID + 2 * slot
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // It ends at the end of its socket; killing spares the wait. Its sandboxes die with it, as they should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
