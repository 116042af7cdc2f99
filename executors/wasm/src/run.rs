//! Running program files: the world of each, its limits, its deadline, its exit code.
//! Does not compile, and does not know what the guest's files mean.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmtime::component::{self, ResourceTable};
use wasmtime::{Engine, FrameInfo, InstancePre, Linker, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::call::{Call, CallError};
use crate::engine::{POOLED_MEMORY, engine, pooled};
use crate::limits::Limits;
use crate::program::{LoadError, Program, load};
use crate::wasi::{
    ComponentState, Env, ModuleState, PreopenError, Stdin, component_linker, context,
    module_linker, own_env,
};
use crate::watchdog::Watchdog;
use crate::{EXIT_FAILED, EXIT_REFUSED, EXIT_TRAP};

/// How many functions of a trap's stack are shown.
const SHOWN_FRAMES: usize = 4;

/// Why a program did not end by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("error: cannot read `{path}`: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("error: `{path}` is not runnable: {source}")]
    Load { path: PathBuf, source: LoadError },
    #[error("error: {0}")]
    Preopen(#[from] PreopenError),
    #[error("error: cannot prepare the guest: {0:#}")]
    Prepare(wasmtime::Error),
    #[error("error: cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{message}{backtrace}")]
    Trap { message: String, backtrace: String },
}

impl RunError {
    /// The exit code that tells a trap from a program that never started.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Trap { .. } => EXIT_TRAP,
            Self::Call(_) => EXIT_FAILED,
            Self::Read { .. }
            | Self::Load { .. }
            | Self::Preopen(_)
            | Self::Prepare(_)
            | Self::Runtime(_) => EXIT_REFUSED,
        }
    }
}

/// Runs the program in `path` with `args` to its end and returns the guest's own exit code.
/// With `zygote` this happens in processes of its making, and what all programs need is there before.
pub(crate) fn run(path: &Path, args: &[OsString], zygote: Option<fn()>) -> Result<u8, RunError> {
    let mut runner = Runner::new()?;
    if let Some(make_cells) = zygote {
        let host = &runner.host;
        let engine = &runner.engine;
        host.modules(engine).and(host.components(engine).map(drop)).map_err(RunError::Prepare)?;
        make_cells();
    }
    let program = runner.load(path)?;
    let ended = runner.run(&program, args, &own_env(), Stdin::Inherited);
    runner.end();
    ended
}

/// What runs programs, one after the other. Nothing of one is left for the next: its instance, its store and its view of the world end with it.
pub(crate) struct Runner {
    engine: Engine,
    host: Host,
    runtime: Option<tokio::runtime::Runtime>,
    watchdog: Option<Watchdog>,
}

/// A program whose imports are there.
pub(crate) enum Ready {
    Module(InstancePre<ModuleState>),
    Component(component::InstancePre<ComponentState>),
}

impl Runner {
    pub(crate) fn new() -> Result<Self, RunError> {
        Self::with(engine())
    }

    fn with(engine: wasmtime::Result<Engine>) -> Result<Self, RunError> {
        let engine = engine.map_err(RunError::Prepare)?;
        Ok(Self { engine, host: Host::default(), runtime: None, watchdog: None })
    }

    /// What runs the program in a file over and over, for cells that may have as much as `env` says: out of a pool where the program and what it is
    /// promised fit into one.
    pub(crate) fn repeating(path: &Path, env: &Env) -> Result<(Self, Ready), RunError> {
        if limits(env).memory() <= POOLED_MEMORY {
            let runner = Self::with(pooled())?;
            match runner.load(path) {
                Ok(program) => return Ok((runner, program)),
                // Whatever was the reason, without a pool it is the program's own.
                Err(RunError::Load { source: LoadError::Refused(_), .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let runner = Self::new()?;
        let program = runner.load(path)?;
        Ok((runner, program))
    }

    /// The program in a file.
    pub(crate) fn load(&self, path: &Path) -> Result<Ready, RunError> {
        let file = std::fs::read(path)
            .map_err(|source| RunError::Read { path: path.to_owned(), source })?;
        let program = load(&self.engine, &file)
            .map_err(|source| RunError::Load { path: path.to_owned(), source })?;
        let ready = match program {
            Program::Module(module) => {
                let linker = self.host.modules(&self.engine);
                linker.and_then(|linker| linker.instantiate_pre(&module)).map(Ready::Module)
            }
            Program::Component(component) => {
                let linker = self.host.components(&self.engine);
                linker.and_then(|linker| linker.instantiate_pre(&component)).map(Ready::Component)
            }
        };
        // What can't be linked was told as the guest's own end ever.
        ready.map_err(|error| explain(&error))
    }

    /// Runs a program to its end, in an instance of its own, and gives the guest's exit code.
    pub(crate) fn run(
        &mut self,
        program: &Ready,
        args: &[OsString],
        env: &Env,
        stdin: Stdin,
    ) -> Result<u8, RunError> {
        let limits = limits(env);
        let deadline = env.get("POLYLOOM_DEADLINE_MS").and_then(|text| text.parse().ok());
        let wasi = context(args, env, stdin)?;
        let call = Call::of(env);
        if let Some(deadline) = deadline {
            let watchdog = self.watchdog.get_or_insert_with(|| Watchdog::new(self.engine.clone()));
            watchdog.arm(Duration::from_millis(deadline));
        }
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(RunError::Runtime)?,
        };
        let outcome = runtime.block_on(async {
            match program {
                Ready::Module(module) => run_module(&self.engine, module, limits, wasi).await,
                Ready::Component(component) => {
                    run_component(&self.engine, component, limits, wasi, call.as_ref()).await
                }
            }
        });
        self.runtime = Some(runtime);
        let in_time = self.watchdog.as_ref().is_none_or(Watchdog::disarm);
        match outcome {
            Ok(()) if in_time => Ok(0),
            Ok(()) => Err(explain(&Trap::Interrupt.into())),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => Ok(exit_code(exit.0)),
                None => match error.downcast::<CallError>() {
                    Ok(error) => Err(RunError::Call(error)),
                    Err(error) => Err(explain(&error)),
                },
            },
        }
    }

    /// Lets go of what a guest that read stdin leaves behind: a thread that nobody can wake.
    pub(crate) fn end(self) {
        if let Some(runtime) = self.runtime {
            runtime.shutdown_background();
        }
    }
}

fn limits(env: &Env) -> Limits {
    Limits::new(env.get("POLYLOOM_WASM_MEMORY").map(String::as_str))
}

/// What programs can import, made when it is needed first.
#[derive(Default)]
struct Host {
    modules: OnceCell<Linker<ModuleState>>,
    components: OnceCell<component::Linker<ComponentState>>,
}

impl Host {
    fn modules(&self, engine: &Engine) -> wasmtime::Result<&Linker<ModuleState>> {
        made(&self.modules, || module_linker(engine))
    }

    fn components(&self, engine: &Engine) -> wasmtime::Result<&component::Linker<ComponentState>> {
        made(&self.components, || component_linker(engine))
    }
}

fn made<T>(cell: &OnceCell<T>, make: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<&T> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let new = make()?;
    Ok(cell.get_or_init(|| new))
}

async fn run_module(
    engine: &Engine,
    module: &InstancePre<ModuleState>,
    limits: Limits,
    mut wasi: wasmtime_wasi::WasiCtxBuilder,
) -> wasmtime::Result<()> {
    let mut store = Store::new(engine, ModuleState { limits, wasi: wasi.build_p1() });
    store.limiter(|state| &mut state.limits);
    arm(&mut store);
    let instance = module.instantiate_async(&mut store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    start.call_async(&mut store, ()).await
}

async fn run_component(
    engine: &Engine,
    component: &component::InstancePre<ComponentState>,
    limits: Limits,
    mut wasi: wasmtime_wasi::WasiCtxBuilder,
    call: Option<&Call>,
) -> wasmtime::Result<()> {
    let state = ComponentState { limits, wasi: wasi.build(), table: ResourceTable::new() };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    arm(&mut store);
    if let Some(call) = call {
        let instance = component.instantiate_async(&mut store).await?;
        let ty = component.component().component_type();
        let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
        return call.make(&mut store, &instance, &exports).await;
    }
    let command = CommandPre::new(component.clone())?.instantiate_async(&mut store).await?;
    match command.wasi_cli_run().call_run(&mut store).await? {
        Ok(()) => Ok(()),
        Err(()) => Err(wasmtime::format_err!(I32Exit(1))),
    }
}

/// Makes the guest trap at the first change of epoch, which only a [`Watchdog`] brings about.
fn arm<T: 'static>(store: &mut Store<T>) {
    store.epoch_deadline_trap();
    store.set_epoch_deadline(1);
}

/// WASI's codes are 32 bits wide, the system's are 8: what does not fit must not become success.
fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// A trap in one line, followed by where the guest was.
fn explain(error: &wasmtime::Error) -> RunError {
    let message = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("wasm trap: {}", error.root_cause()),
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    RunError::Trap { message, backtrace: backtrace(frames) }
}

/// One line per frame, the innermost ones, with runs of the same function (a recursion) folded into one. Few, since of standard error the end is
/// shown first, and what the guest said of its end (a panic of Rust) stands before them.
fn backtrace(frames: &[FrameInfo]) -> String {
    let mut text = String::new();
    let runs: Vec<_> = frames.chunk_by(|a, b| a.func_index() == b.func_index()).collect();
    for run in runs.iter().take(SHOWN_FRAMES) {
        let Some(frame) = run.last() else { continue };
        let name = frame
            .func_name()
            .map_or_else(|| format!("function {}", frame.func_index()), |name| format!("`{name}`"));
        _ = write!(text, "\n    in {name}");
        if let Some(offset) = frame.module_offset() {
            _ = write!(text, " at {offset:#x}");
        }
        if run.len() > 1 {
            _ = write!(text, " ({} times)", run.len());
        }
    }
    if let Some(more) = runs.len().checked_sub(SHOWN_FRAMES).filter(|more| *more > 0) {
        _ = write!(text, "\n    in {more} more");
    }
    text
}
