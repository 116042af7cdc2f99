//! What every attempt of a run shares, and what a sandbox is given: limits, binds, environment, files, arguments.
//!
//! Starts attempts and leaves the watching to `drive`.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use polyloom_model::{Kind, Type};
use polyloom_protocol::messages::host::{Exec, Output as ExecOutput};
use polyloom_protocol::meta::{Enforcement, Level};
use polyloom_sandbox as sandbox;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::attempt::{Attempt, Live, Phase, Report, Stop};
use crate::drive::Watch;
use crate::executor::{BINARY, DIR, Executor, SDK, Slots};
use crate::inputs;
use crate::messages;

/// How long a program may take to say what it is.
const ASKING: Duration = Duration::from_secs(20);

/// What every attempt of a run shares.
pub struct Workplace {
    spawner: OnceLock<sandbox::Spawner>,
    /// The host's own binary.
    binary: PathBuf,
    /// The embedded SDK, extracted.
    sdk: PathBuf,
}

/// An attempt could not be made at all: nothing of the cell ran.
#[derive(Debug, Error)]
pub enum AttemptError {
    /// The sandbox could not be made.
    #[error("no sandbox could be made")]
    Spawn(#[source] sandbox::SpawnError),
    /// The runtime's own plumbing failed.
    #[error("the attempt could not be watched")]
    Watch(#[source] std::io::Error),
}

impl Workplace {
    /// A workplace whose spawner is not started yet.
    #[must_use]
    pub fn new(binary: PathBuf, sdk: PathBuf) -> Self {
        Self { spawner: OnceLock::new(), binary, sdk }
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
        // What a host that was killed left behind goes first; it is known by its dead owner.
        sandbox::sweep();
        let started = sandbox::Spawner::start(&self.binary)?;
        Ok(self.spawner.get_or_init(|| started))
    }

    /// The sandbox's policy for an attempt.
    fn policy(attempt: &Attempt, laid_bytes: u64) -> sandbox::Policy {
        let limits = &attempt.limits;
        sandbox::Policy::untrusted(sandbox::Limits {
            memory: limits.memory,
            pids: limits.pids,
            cpu_time: limits.cpu_time,
            cpus: limits.cpus,
            // What the host lays into the cell's file system is not the cell's use of it.
            disk: limits.disk.saturating_add(laid_bytes),
            ..sandbox::Limits::default()
        })
    }

    fn base_binds(&self, executor: &Executor) -> Vec<sandbox::Bind> {
        let bind = |source: PathBuf, target: PathBuf| sandbox::Bind { source, target };
        let mut binds =
            vec![bind(self.sdk.clone(), SDK.into()), bind(self.binary.clone(), BINARY.into())];
        // What comes with a manifest is in view of its own cells alone.
        if let Some(folder) = executor.folder() {
            binds.push(bind(folder, DIR.into()));
        }
        binds.extend(executor.roots().into_iter().map(|root| bind(root.clone(), root)));
        binds
    }

    fn base_env(executor: &Executor) -> Vec<(String, std::ffi::OsString)> {
        let fixed = [
            ("HOME", "/cell/work"),
            ("TMPDIR", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("IN", "/cell/in"),
            ("OUT", "/cell/out"),
            ("PYTHONHASHSEED", "0"),
        ];
        let mut env: Vec<_> =
            fixed.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        env.push(("PATH".to_owned(), executor.path()));
        let manifest = executor.manifest.env.iter();
        env.extend(manifest.map(|(name, value)| (name.clone(), value.into())));
        env
    }

    /// Asks a program for its identity; see [`crate::tools::find`]. Blocks for as long as the program takes, at most 20 s.
    pub fn ask(
        &self,
        program: &std::path::Path,
        args: &[String],
        roots: &[PathBuf],
    ) -> Result<String, String> {
        let mut spec = sandbox::Spec::default();
        spec.argv.push(program.into());
        spec.argv.extend(args.iter().map(Into::into));
        spec.env = vec![
            ("HOME".into(), "/cell/work".into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ];
        let bind = |root: &PathBuf| sandbox::Bind { source: root.clone(), target: root.clone() };
        spec.binds = roots.iter().map(bind).collect();
        let limits = sandbox::Limits { memory: 1 << 30, ..sandbox::Limits::default() };
        let policy = sandbox::Policy::untrusted(limits);
        let spawned = self.spawner().and_then(|spawner| spawner.spawn(&policy, &spec));
        let mut cell = spawned.map_err(|error| messages::chain(&error))?;
        let pipes = [cell.take_stdout(), cell.take_stderr()];
        let fact = cell.wait(ASKING);
        cell.finish();
        // The pipes do not block; what is in them now is all there will be.
        let [stdout, stderr] = pipes.map(|pipe| {
            let mut text = Vec::new();
            if let Some(pipe) = pipe {
                let _ = std::fs::File::from(pipe).take(64 << 10).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        match fact.map(|fact| fact.exit) {
            Some(sandbox::Exit::Code(0)) => {
                Ok(if stdout.trim().is_empty() { stderr } else { stdout })
            }
            Some(exit) => {
                Err(format!("{}: {}", messages::exit_words(exit), messages::last_line(&stderr)))
            }
            None => Err(format!("it gave no answer in {} s", ASKING.as_secs())),
        }
    }

    /// Makes one attempt. `live` sees what goes on; `stop` may end it. Dropping the future kills the cell.
    pub async fn attempt(
        self: &Arc<Self>,
        attempt: &Arc<Attempt>,
        live: mpsc::Sender<Live>,
        stop: watch::Receiver<Stop>,
    ) -> Result<Report, AttemptError> {
        let started = Instant::now();
        let (spec, policy, exec) = self.prepare(attempt);
        let place = Arc::clone(self);
        let spawned =
            tokio::task::spawn_blocking(move || place.spawner()?.spawn(&policy, &spec)).await;
        let cell = match spawned {
            Ok(cell) => cell.map_err(AttemptError::Spawn)?,
            Err(error) => return Err(AttemptError::Watch(std::io::Error::other(error))),
        };
        Watch::new(attempt, cell, exec, live, stop, started)
            .map_err(AttemptError::Watch)?
            .run()
            .await
            .map_err(AttemptError::Watch)
    }

    fn prepare(&self, attempt: &Attempt) -> (sandbox::Spec, sandbox::Policy, Option<Exec>) {
        let executor = &attempt.executor;
        let command = matches!(executor.manifest.kind, Kind::Command(_));
        let compile = attempt.phase == Phase::Compile;
        let code = format!("/cell/code/{}", attempt.code_name);
        let laid =
            if compile { inputs::Laid::default() } else { inputs::lay(&attempt.inputs, command) };
        let mut spec = sandbox::Spec {
            env: Self::base_env(executor),
            files: laid.files,
            binds: self.base_binds(executor),
            ..sandbox::Spec::default()
        };
        spec.files.push(inputs::file(&code, attempt.code.to_vec()));
        spec.binds.extend(laid.binds);
        spec.env.push(("POLYLOOM_CELL".to_owned(), attempt.cell.as_str().into()));
        let program = match &attempt.phase {
            Phase::Compile => "/cell/out/program",
            Phase::Run { program } => {
                if let Some(source) = program {
                    let target = PathBuf::from("/cell/program");
                    spec.binds.push(sandbox::Bind { source: source.clone(), target });
                }
                "/cell/program"
            }
        };
        let slots = Slots { code: &code, program, args: &attempt.argv };
        let mut exec = None;
        match &executor.manifest.kind {
            Kind::Command(command) if compile => {
                let template = command.compile.as_deref().unwrap_or_default();
                spec.argv = executor.expand(template, slots);
            }
            Kind::Command(command) => {
                spec.argv = executor.expand(&command.run, slots);
                spec.env.extend(laid.env);
            }
            Kind::Worker(worker) => {
                spec.argv = executor.expand(&worker.argv, slots);
                spec.worker_socket = true;
                let output = |ty: &Type| ExecOutput { r#type: ty.to_string() };
                let outputs = attempt.outputs.iter();
                exec = Some(Exec {
                    cell: attempt.cell.to_string(),
                    code,
                    inputs: laid.exec.into_iter().collect(),
                    outputs: outputs.map(|(port, ty)| (port.to_string(), output(ty))).collect(),
                    out: "/cell/out".to_owned(),
                    argv: attempt.argv.clone(),
                    seed: attempt.seed,
                    deadline_ms: u64::try_from(attempt.limits.timeout.as_millis()).ok(),
                });
            }
        }
        if !compile {
            let deadline = attempt.limits.timeout.as_millis().to_string();
            spec.env.push(("POLYLOOM_DEADLINE_MS".to_owned(), deadline.into()));
            // A runner that manages memory itself stops a little before the cgroup would.
            let memory = (attempt.limits.memory / 8 * 7).to_string();
            spec.env.push(("POLYLOOM_WASM_MEMORY".to_owned(), memory.into()));
            if let Some(seed) = attempt.seed {
                spec.env.push(("POLYLOOM_SEED".to_owned(), seed.to_string().into()));
            }
            spec.env.extend(attempt.env.iter().map(|(name, value)| (name.clone(), value.into())));
            if let Some(bytes) = &attempt.stdin {
                spec.stdin = sandbox::Stdin::Bytes(bytes.clone());
            }
        }
        let laid_bytes = spec.files.iter().map(|file| file.bytes.len() as u64 + 4096).sum();
        let policy = Self::policy(attempt, laid_bytes);
        (spec, policy, exec)
    }
}

/// The host's summary of what the sandbox achieved.
#[must_use]
pub fn enforcement(of: &sandbox::Enforcement) -> Vec<Enforcement> {
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
