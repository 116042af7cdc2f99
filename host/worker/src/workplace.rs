//! What every attempt of a run shares, and what a sandbox is given: limits, binds, environment, files, arguments.
//!
//! Starts attempts and leaves the watching to `drive`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use polyloom_model::{Calls, Kind, Limits, Policy, Preset, Type, Value, processors};
use polyloom_protocol::achieved::Achieved;
use polyloom_protocol::handshake::feature;
use polyloom_protocol::messages::host::{
    Call as ExecCall, Exec, Input as ExecInput, Output as ExecOutput,
};
use polyloom_protocol::meta::{Enforcement, Level};
use polyloom_sandbox as sandbox;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::attempt::{Attempt, Live, Opening, Phase, Report, Start, Stop};
use crate::daemon::Daemon;
use crate::drive::{Seat, Watch};
use crate::executor::{BINARY, CPUS, DIR, Executor, HEAD, ONCE, SDK, Slots};
use crate::grounds::{Grounds, Post, Shared};
use crate::head::TEXT;
use crate::inputs;
use crate::instances::Instances;
use crate::messages;
use crate::normaliser::Normalisers;
use crate::order::{Order, Wait};
use crate::parking::{self, Berth, Parking, laid_bytes};

/// A sandbox that was asked for before the run was stopped is waited for so long: as a rule a millisecond is enough.
const BEGINNING: Duration = Duration::from_millis(500);

/// What every attempt of a run shares.
pub struct Workplace {
    spawner: OnceLock<sandbox::Spawner>,
    /// The host's own binary.
    binary: PathBuf,
    /// The embedded SDK, extracted.
    sdk: PathBuf,
    /// Where cells keep what does not fit into their memory.
    scratch: PathBuf,
    /// Workers that wait for cells to come.
    parking: Arc<Parking>,
    /// Sandboxes that wait for cells to come.
    grounds: Arc<Grounds>,
    /// Workers that make instances of programs.
    pub(crate) instances: Instances,
    normalisers: Mutex<Normalisers>,
    pub(crate) daemon: Daemon,
    /// Attempts that are under way.
    present: AtomicUsize,
    /// What was made once for executors that were asked for it, or nothing.
    once: Mutex<Vec<(Arc<Executor>, Option<PathBuf>)>>,
}

/// That an attempt is under way, as long as this lives.
struct Present<'a>(&'a AtomicUsize);

impl<'a> Present<'a> {
    fn at(place: &'a Workplace) -> Self {
        place.present.fetch_add(1, Ordering::Relaxed);
        Self(&place.present)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt could not be made at all: nothing of the cell ran.
#[derive(Debug, Error)]
pub enum AttemptError {
    /// The sandbox could not be made.
    #[error("no sandbox could be made")]
    Spawn(#[source] sandbox::SpawnError),
    /// The inputs of a cell could not be laid into the session that goes on.
    #[error("its inputs could not be copied into the session's file system{}", bounded(.0))]
    Inputs(#[source] std::io::Error),
    /// The runtime's own plumbing failed.
    #[error("the attempt could not be followed to its end")]
    Watch(#[source] std::io::Error),
}

/// What is full where the file system of a session is.
#[must_use]
pub fn bounded(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull => ", which is full: `disk` of its cells bounds it",
        _ => "",
    }
}

/// Open files that a process may have at most on this machine.
#[must_use]
pub fn most_open_files() -> u64 {
    // It is asked of each cell, and nothing here changes it.
    static MOST: OnceLock<u64> = OnceLock::new();
    *MOST.get_or_init(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard))
}

impl Workplace {
    /// A workplace whose spawner is not started yet.
    #[must_use]
    pub fn new(binary: PathBuf, sdk: PathBuf, scratch: PathBuf) -> Self {
        let (spawner, parking, grounds, normalisers) = Default::default();
        let (daemon, present, once, instances) = Default::default();
        Self {
            spawner,
            binary,
            sdk,
            scratch,
            parking,
            grounds,
            instances,
            normalisers,
            daemon,
            present,
            once,
        }
    }

    /// Asks the daemon of this socket for what waits, if there is one.
    #[must_use]
    pub fn with_daemon(mut self, socket: &Path) -> Self {
        self.daemon = Daemon::at(socket);
        self
    }

    /// The folder that `{sdk}` stands for.
    #[must_use]
    pub fn sdk(&self) -> &Path {
        &self.sdk
    }

    /// From now on, workers for the latest `count` different attempts are kept waiting, once [`Self::park`] is called.
    pub fn keep_waiting(&self, count: usize) {
        self.parking.make_room(count);
    }

    /// For how many attempts workers are kept waiting.
    #[must_use]
    pub fn room(&self) -> usize {
        self.parking.room()
    }

    /// Hears of an attempt that may come, with this code or another.
    pub fn expect(&self, attempt: &Attempt) {
        let Ok(view) = self.spawner().and_then(sandbox::Spawner::view) else { return };
        let (spec, policy, _) = self.prepare(attempt, view);
        self.parking.want(&attempt.executor, &policy, &spec);
    }

    fn onces(&self) -> MutexGuard<'_, Vec<(Arc<Executor>, Option<PathBuf>)>> {
        self.once.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was made once for an executor, as far as [`Self::keep_once`] was told: that there is nothing, too.
    #[must_use]
    pub fn once(&self, executor: &Executor) -> Option<Option<PathBuf>> {
        let same = |known: &Executor| {
            known.manifest.id == executor.manifest.id
                && known.tools == executor.tools
                && known.manifest.kind == executor.manifest.kind
        };
        let onces = self.onces();
        onces.iter().find(|(known, _)| same(known)).map(|(_, path)| path.clone())
    }

    /// From now on its programs have a directory of the store in view, or none. It holds for as long as this does, so that they are all alike.
    pub fn keep_once(&self, executor: &Arc<Executor>, path: Option<PathBuf>) {
        if self.once(executor).is_none() {
            self.onces().push((Arc::clone(executor), path));
        }
    }

    /// Programs that wait for the next code.
    pub(crate) fn normalisers(&self) -> MutexGuard<'_, Normalisers> {
        self.normalisers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts workers for attempts like those that were made, and what normalises their code; to be called when there is nothing else to do.
    pub async fn park(self: &Arc<Self>) {
        let place = Arc::clone(self);
        let spawn = move |policy: &sandbox::Policy, spec: &sandbox::Spec| {
            place.spawner().and_then(|spawner| spawner.spawn(policy, spec)).ok()
        };
        self.parking.fill(spawn).await;
        for executor in self.parking.executors() {
            let place = Arc::clone(self);
            let _ = tokio::task::spawn_blocking(move || place.keep_normaliser(&executor)).await;
        }
    }

    /// The spawner, started now if it was not. Call it once before other threads exist: the spawner dies with the thread
    /// that started it.
    pub fn spawner(&self) -> Result<&sandbox::Spawner, sandbox::SpawnError> {
        if let Some(spawner) = self.spawner.get() {
            return Ok(spawner);
        }
        // Each running cell takes a dozen descriptors of the host's; a soft limit is only a default.
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
        let daemon = self.daemon.client();
        if daemon.is_none() {
            self.sweep();
        }
        // With a daemon it may be that nothing is to be started here.
        let later = daemon
            .and_then(|client| sandbox::Spawner::start_later(&self.binary, client.prepared()));
        let started = later.map_or_else(|| sandbox::Spawner::start(&self.binary), Ok)?;
        let started = started.with_scratch(&self.scratch);
        Ok(self.spawner.get_or_init(|| started))
    }

    /// Removes what hosts that were killed left behind; it is known by its dead owner. A daemon does so whenever a run has gone, its runs do not.
    pub(crate) fn sweep(&self) {
        sandbox::sweep();
        sandbox::sweep_folders(&self.scratch);
    }

    /// Has the spawner get ready, where that was left for later.
    pub fn begin(&self) -> Result<(), sandbox::SpawnError> {
        self.spawner()?.begin()
    }

    /// Whether the spawner that was started can start something still. One that is gone is not started again: what waits here went with it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.spawner.get().is_none_or(sandbox::Spawner::is_there)
    }

    /// Whether this machine meets a policy, before any cell is tried.
    pub fn meets(&self, policy: &Policy) -> Result<(), sandbox::SpawnError> {
        self.spawner()?.check(&policy_of(policy, sandbox::Limits::default()))
    }

    /// The sandbox's policy for an attempt.
    pub(crate) fn policy(attempt: &Attempt, laid_bytes: u64) -> sandbox::Policy {
        let limits = &attempt.limits;
        // What the host lays into the cell's file system is not the cell's use of it.
        let disk = limits.disk.saturating_add(laid_bytes);
        // Files in memory count as memory: more than that is for who asked for it, since it means a disk.
        let more = limits.disk_asked && limits.disk > limits.memory;
        let disk = if more { disk } else { disk.min(limits.memory) };
        let limits = sandbox::Limits {
            memory: limits.memory,
            pids: limits.pids,
            cpu_time: limits.cpu_time,
            cpus: limits.cpus,
            disk,
            files: limits.open_files.into(),
            inodes: limits.inodes.into(),
            ..sandbox::Limits::default()
        };
        let mut policy = policy_of(&attempt.policy, limits);
        let ports: BTreeSet<u16> = attempt.granted.net.iter().map(|rule| rule.port).collect();
        if !ports.is_empty() {
            policy.network = sandbox::Network::Doors(ports.into_iter().collect());
        }
        if attempt.executor.manifest.calls == Calls::Runner {
            policy.seccomp = sandbox::Seccomp::Runner;
        }
        policy
    }

    pub(crate) fn base_binds(&self, executor: &Executor) -> Vec<sandbox::Bind> {
        let bind = |source: PathBuf, target: PathBuf| sandbox::Bind { source, target };
        let mut binds =
            vec![bind(self.sdk.clone(), SDK.into()), bind(self.binary.clone(), BINARY.into())];
        // What comes with a manifest is in view of its own cells alone.
        if let Some(folder) = executor.folder() {
            binds.push(bind(folder, DIR.into()));
        }
        binds.extend(executor.roots().into_iter().map(|root| bind(root.clone(), root)));
        binds.extend(self.once(executor).flatten().map(|path| bind(path, ONCE.into())));
        binds
    }

    /// The environment that all cells of an executor have.
    pub(crate) fn base_env(
        executor: &Executor,
        view: &sandbox::View,
        limits: &Limits,
    ) -> Vec<(String, std::ffi::OsString)> {
        let paths =
            [("HOME", "/cell/work"), ("TMPDIR", "/tmp"), ("IN", "/cell/in"), ("OUT", "/cell/out")];
        let fixed = [("LANG", "C.UTF-8"), ("TZ", "UTC"), ("PYTHONHASHSEED", "0")];
        let mut env: Vec<_> =
            fixed.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let paths = paths.into_iter().map(|(name, path)| (name.to_owned(), view.path(path).into()));
        env.extend(paths);
        env.push(("PATH".to_owned(), executor.path()));
        let manifest = executor.manifest.env.iter();
        env.extend(manifest.map(|(name, value)| match value.as_str() {
            // Never of the machine, whose processors are those of other cells, too: the same cell gives the same elsewhere.
            CPUS => (name.clone(), limits.cpus.map_or(1.0, f64::ceil).to_string().into()),
            value => (name.clone(), value.into()),
        }));
        env
    }

    /// Makes one attempt. `live` sees what goes on; `stop` may end it. Dropping the future kills the cell.
    pub async fn attempt(
        self: &Arc<Self>,
        attempt: &Arc<Attempt>,
        live: mpsc::Sender<Live>,
        stop: watch::Receiver<Stop>,
    ) -> Result<Report, AttemptError> {
        let _present = Present::at(self);
        if let Some(report) = self.in_instance(attempt, &live, &stop).await? {
            return Ok(report);
        }
        let (report, shared) = self.attempt_in(attempt, &live, &stop, true).await?;
        // A worker that does not come up in a sandbox that waited may do so in one of its own: nothing of the cell has run. A sandbox that was lent and
        // went with who lent it is no fault of the cell's, which could do nothing in it that lasts.
        // One that has changed what a library looks at when it is loaded has nothing of one that was loaded ahead.
        let afresh = !attempt.learnt.is_empty()
            && report.meta.extras.get("afresh") == Some(&Value::Bool(true));
        let again = report.start == Start::Failed || report.vanished || afresh;
        if shared && again && *stop.borrow() == Stop::No {
            return Ok(self.attempt_in(attempt, &live, &stop, false).await?.0);
        }
        Ok(report)
    }

    /// The same in a sandbox that waited, if it may and there is one; and whether it was.
    async fn attempt_in(
        self: &Arc<Self>,
        attempt: &Arc<Attempt>,
        live: &mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
        may_share: bool,
    ) -> Result<(Report, bool), AttemptError> {
        let (live, stop) = (live.clone(), stop.clone());
        let (place, wanted) = (Arc::clone(self), Arc::clone(attempt));
        let asked = Instant::now();
        let spawned = tokio::task::spawn_blocking(move || {
            let spawner = place.spawner()?;
            let (spec, policy, exec) = place.prepare(&wanted, spawner.view()?);
            let mut started = Instant::now();
            let open = wanted.secrets.is_none() && may_share;
            let waiting = open.then(|| place.parking.take(&wanted.executor, &policy, &spec));
            if let Some(berth) = waiting.flatten() {
                return Ok((berth, exec, started, false, None));
            }
            let post = || Post::of(&place.grounds, spawner, &wanted, &policy, &spec);
            let next = match &wanted.then {
                Some(then) => {
                    let (spec, policy, _) = place.prepare(then, spawner.view()?);
                    Post::of(&place.grounds, spawner, then, &policy, &spec)
                }
                None => (wanted.coming > 0).then(post).flatten(),
            };
            let worker = || place.grounds.worker(spawner, &wanted, &policy, &spec, &mut started);
            if let Some(berth) = may_share.then(worker).flatten() {
                return Ok((berth, exec, started, true, next));
            }
            // What no sandbox of a kind holds ready.
            let kind = &wanted.executor.manifest.kind;
            let started_alone = matches!(kind, Kind::Worker(_)) && kind.zygote().is_none();
            let waits = || place.waits_there(&wanted, &policy, &spec);
            if let Some(cell) = (may_share && started_alone).then(waits).flatten() {
                return Ok((Berth { cell, line: None }, exec, started, true, next));
            }
            let shared = match may_share {
                true => place.grounds.cell(&place, &wanted, &policy, &spec, &mut started),
                false => {
                    place.grounds.missed(&wanted, &policy, &spec);
                    Shared::Later
                }
            };
            let waited = match shared {
                Shared::Has(cell) => Some(*cell),
                Shared::Never if may_share && !started_alone => waits(),
                Shared::Never | Shared::Later => None,
            };
            let in_shared = waited.is_some();
            let cell = match waited {
                Some(cell) => cell,
                None => spawner.spawn(&policy, &spec)?,
            };
            Ok((Berth { cell, line: None }, exec, started, in_shared, next))
        });
        let mut told = stop.clone();
        let spawned = tokio::select! {
            spawned = spawned => spawned,
            // What is made after all is killed where it is dropped.
            () = stopped(&mut told) => return Ok((Report::cancelled(), false)),
        };
        let (berth, exec, started, shared, next) = match spawned {
            Ok(made) => made.map_err(AttemptError::Spawn)?,
            Err(error) => return Err(AttemptError::Watch(std::io::Error::other(error))),
        };
        if let Some(post) = next.filter(|_| self.has_a_spare_processor()) {
            let coming = attempt.coming + usize::from(attempt.then.is_some());
            self.grounds.start_ahead(self, post, coming);
        }
        let seat = Seat::open(attempt, berth).map_err(AttemptError::Watch)?;
        let report = Watch::new(attempt, seat, exec, live, stop, started).run().await;
        let mut report = report.map_err(AttemptError::Watch)?;
        if let Some(times) = &mut report.meta.times {
            times.prepare_ms = started.duration_since(asked).as_secs_f64() * 1e3;
        }
        Ok((report, shared))
    }

    /// The worker that waits for such an attempt at the daemon's, given its files.
    fn waits_there(
        &self,
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<sandbox::Sandbox> {
        let open = self.room() == 0
            && attempt.secrets.is_none()
            // What was granted stays with the run.
            && attempt.granted.env.is_empty()
            && parking::can_wait(&attempt.executor, policy, spec);
        let client = self.daemon.client().filter(|_| open)?;
        let taken = client.take(&Order::new(Wait::Worker, &attempt.executor, policy, spec))?;
        let mut cell = sandbox::Sandbox::receive(&taken.about, taken.fds)?;
        parking::give(&mut cell, &spec.files).then_some(cell)
    }

    /// Hears that a run is over: workers that were started for cells which did not come end.
    pub fn run_is_over(&self) {
        self.grounds.end_ahead();
        // Where runs follow each other, the next one may go on in them.
        if self.room() == 0 {
            self.instances.end();
        }
    }

    fn has_a_spare_processor(&self) -> bool {
        self.present.load(Ordering::Relaxed) < processors()
    }

    /// Starts the sandbox of an attempt and leaves all else to the caller: the watching, and the conversation where it is a worker's. The message is the
    /// one that asks the worker for its cell.
    pub fn start(
        &self,
        attempt: &Attempt,
    ) -> Result<(sandbox::Sandbox, Option<Exec>), sandbox::SpawnError> {
        let spawner = self.spawner()?;
        let (spec, policy, exec) = self.prepare(attempt, spawner.view()?);
        Ok((spawner.spawn(&policy, &spec)?, exec))
    }

    pub(crate) fn prepare(
        &self,
        attempt: &Attempt,
        view: sandbox::View,
    ) -> (sandbox::Spec, sandbox::Policy, Option<Exec>) {
        let executor = &attempt.executor;
        let plain = executor.manifest.kind.is_plain();
        let compile = attempt.phase.compiles();
        let code = messages::code_path(attempt);
        // A function sees its arguments and no files of them.
        let told = match &executor.manifest.kind {
            Kind::Worker(worker) => {
                attempt.call.is_some() && worker.features.iter().any(|it| it == feature::VALUES)
            }
            _ => false,
        };
        let laid = match compile {
            true => inputs::Laid::default(),
            false if told => inputs::lay_few(&attempt.inputs, &view),
            false => inputs::lay(&attempt.inputs, plain, &view),
        };
        let mut spec = sandbox::Spec {
            env: Self::base_env(executor, &view, &attempt.limits),
            files: laid.files,
            binds: self.base_binds(executor),
            // Kernels that stand for a program at a prompt speak to it through one.
            terminals: executor.manifest.kind.kernel().is_some(),
            spare: attempt.spare,
            ..sandbox::Spec::default()
        };
        let of_installed = attempt.call.is_some() && attempt.code_name.is_empty();
        let code = if of_installed {
            String::new()
        } else {
            spec.files.push(inputs::file(&code, attempt.code.to_vec()));
            view.path(&code)
        };
        for (path, bytes) in attempt.call.iter().flat_map(|call| &call.files) {
            let path = messages::code_folder().join(path);
            spec.files.push(inputs::file(&path.to_string_lossy(), bytes.to_vec()));
        }
        spec.binds.extend(laid.binds);
        spec.hot = laid.hot;
        spec.env.push(("POLYLOOM_CELL".to_owned(), attempt.cell.as_str().into()));
        // A worker is told with its Exec.
        let is_worker = matches!(executor.manifest.kind, Kind::Worker(_));
        let called = attempt.call.as_ref().filter(|_| !is_worker && !compile);
        spec.env.extend(called.map(|it| ("POLYLOOM_CALL".to_owned(), it.object.as_str().into())));
        let mut head = None;
        let program = match &attempt.phase {
            Phase::Head => {
                head = Some(code.clone());
                ""
            }
            Phase::Compile { head: compiled } => {
                if let Some(source) = compiled {
                    let target = PathBuf::from(HEAD);
                    spec.binds.push(sandbox::Bind { source: source.clone(), target });
                    head = Some(format!("{}/{TEXT}", view.path(HEAD)));
                }
                "/cell/out/program"
            }
            Phase::Run { program } => {
                if let Some(source) = program {
                    let target = PathBuf::from("/cell/program");
                    spec.binds.push(sandbox::Bind { source: source.clone(), target });
                }
                "/cell/program"
            }
        };
        let granted = &attempt.granted;
        spec.openings = granted.openings.iter().map(opening).collect();
        if granted.programs
            && let Some((_, path)) = spec.env.iter_mut().find(|(name, _)| name == "PATH")
        {
            path.push(":");
            path.push(view.path("/cell/run"));
        }
        let program = view.path(program);
        let head = head.as_deref();
        let slots =
            Slots { code: &code, program: &program, args: &attempt.argv, head, view: &view };
        let mut exec = None;
        match &executor.manifest.kind {
            Kind::Command(command) if compile => {
                let template = match (&attempt.phase, &command.head) {
                    (Phase::Head, Some(head)) => head.argv.as_slice(),
                    _ => command.compile.as_deref().unwrap_or_default(),
                };
                spec.argv = executor.expand(template, slots);
            }
            Kind::Command(command) => {
                spec.argv = executor.expand(&command.run, slots);
                spec.words = true;
            }
            Kind::Worker(worker) => {
                spec.argv = executor.expand(&worker.argv, slots);
                spec.worker_socket = true;
                exec = Some(exec_of(attempt, code, laid.exec, &view));
            }
        }
        if !compile {
            spec.env.extend(laid.env);
            let deadline = attempt.limits.timeout.as_millis().to_string();
            spec.env.push(("POLYLOOM_DEADLINE_MS".to_owned(), deadline.into()));
            // A runner that manages memory itself stops a little before the cgroup would.
            let memory = (attempt.limits.memory / 8 * 7).to_string();
            spec.env.push(("POLYLOOM_WASM_MEMORY".to_owned(), memory.into()));
            if let Some(seed) = attempt.seed {
                spec.env.push(("POLYLOOM_SEED".to_owned(), seed.to_string().into()));
            }
            spec.env.extend(granted.env.iter().map(|(name, value)| (name.clone(), value.into())));
            spec.env.extend(attempt.env.iter().map(|(name, value)| (name.clone(), value.into())));
            spec.env.extend(attempt.secrets.iter().flat_map(|secrets| secrets.variables()));
            // Of two of a name a program has the first: what the flow says goes before what an executor does.
            let mut named = BTreeSet::new();
            spec.env.reverse();
            spec.env.retain(|(name, _)| named.insert(name.clone()));
            spec.env.reverse();
            if let Some(bytes) = &attempt.stdin {
                spec.stdin = sandbox::Stdin::Bytes(bytes.clone());
            }
        }
        spec.view = view;
        let laid = laid_bytes(spec.files.iter().map(|file| file.bytes.len() as u64));
        let policy = Self::policy(attempt, laid);
        (spec, policy, exec)
    }
}

/// The message that asks a worker for a cell.
pub(crate) fn exec_of(
    attempt: &Attempt,
    code: String,
    inputs: Vec<(String, ExecInput)>,
    view: &sandbox::View,
) -> Exec {
    let output = |ty: &Type| ExecOutput { r#type: ty.to_string() };
    let outputs = attempt.outputs.iter();
    Exec {
        cell: attempt.cell.to_string(),
        code,
        inputs: inputs.into_iter().collect(),
        outputs: outputs.map(|(port, ty)| (port.to_string(), output(ty))).collect(),
        out: view.path("/cell/out"),
        argv: attempt.argv.clone(),
        seed: attempt.seed,
        deadline_ms: u64::try_from(attempt.limits.timeout.as_millis()).ok(),
        call: attempt
            .call
            .as_ref()
            .map(|call| ExecCall { module: call.module.clone(), object: call.object.clone() }),
        ..Exec::default()
    }
}

fn opening(opening: &Opening) -> sandbox::Opening {
    let access = if opening.writable { sandbox::Access::Write } else { sandbox::Access::Read };
    sandbox::Opening { source: opening.source.clone(), target: opening.target.clone(), access }
}

/// What the sandbox is asked for by a policy.
fn policy_of(policy: &Policy, limits: sandbox::Limits) -> sandbox::Policy {
    let mut wanted = match policy.preset {
        Preset::Strict => sandbox::Policy::strict(limits),
        Preset::Default => sandbox::Policy::untrusted(limits),
        Preset::Trusted => sandbox::Policy::trusted(limits),
    };
    for mechanism in sandbox::Mechanism::ALL {
        if let Some(level) = policy.enforce.get(mechanism.name()) {
            let level = match level {
                Level::None => sandbox::Level::None,
                Level::Partial => sandbox::Level::Partial,
                Level::Full => sandbox::Level::Full,
            };
            wanted.require.insert(mechanism, level);
        }
    }
    wanted
}

/// Ends once the attempt was asked to stop and had some time to begin: a spawner that does not answer keeps nobody waiting.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(BEGINNING).await;
}

/// What was achieved last: for most sandboxes it is the same.
static LAST: Mutex<Option<(sandbox::Enforcement, Achieved)>> = Mutex::new(None);

/// The host's summary of what the sandbox achieved.
#[must_use]
pub fn enforcement(of: &sandbox::Enforcement) -> Achieved {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((known, achieved)) if known == of => achieved.clone(),
        Some(_) | None => {
            let achieved = Achieved::from(summary(of));
            *last = Some((of.clone(), achieved.clone()));
            achieved
        }
    }
}

fn summary(of: &sandbox::Enforcement) -> Vec<Enforcement> {
    let level = |level| match level {
        sandbox::Level::None => Level::None,
        sandbox::Level::Partial => Level::Partial,
        sandbox::Level::Full => Level::Full,
    };
    let row = |(mechanism, status): (&sandbox::Mechanism, &sandbox::Status)| Enforcement {
        mechanism: mechanism.name().to_owned(),
        level: level(status.level),
        detail: if status.reason.is_empty() { status.used.clone() } else { status.reason.clone() },
    };
    of.mechanisms.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn mechanisms_have_one_name() {
        let names = super::sandbox::Mechanism::ALL.map(|mechanism| mechanism.name());
        assert_eq!(names, polyloom_protocol::meta::MECHANISMS);
    }
}
