//! Running a program file: its world, its limits, its deadline, its exit code.
//! Does not compile, and does not know what the guest's files mean.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use wasmtime::component::{self, Component, ResourceTable};
use wasmtime::{Engine, FrameInfo, Linker, Module, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

use crate::call::{Call, CallError};
use crate::engine::engine;
use crate::limits::Limits;
use crate::program::{LoadError, Program, load};
use crate::wasi::{
    ComponentState, ModuleState, PreopenError, component_linker, context, module_linker,
};
use crate::{EXIT_FAILED, EXIT_REFUSED, EXIT_TRAP};

/// How long a guest has to notice the new epoch, before it counts as waiting.
const GRACE: Duration = Duration::from_millis(100);

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
pub(crate) fn run(
    path: &Path,
    args: &[OsString],
    zygote: Option<fn()>,
) -> Result<ExitCode, RunError> {
    let engine = engine().map_err(RunError::Prepare)?;
    let host = Host::default();
    if let Some(make_cells) = zygote {
        host.modules(&engine).and(host.components(&engine).map(drop)).map_err(RunError::Prepare)?;
        make_cells();
    }
    let file =
        std::fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    let program =
        load(&engine, &file).map_err(|source| RunError::Load { path: path.to_owned(), source })?;
    drop(file);
    let limits = Limits::new(std::env::var("POLYLOOM_WASM_MEMORY").ok().as_deref());
    let deadline = std::env::var("POLYLOOM_DEADLINE_MS")
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Duration::from_millis);
    let wasi = context(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    if let Some(deadline) = deadline {
        tick(engine.clone(), deadline);
    }
    let outcome = runtime.block_on(async {
        match program {
            Program::Module(module) => {
                run_module(&engine, host.modules(&engine)?, &module, limits, wasi).await
            }
            Program::Component(component) => {
                let call = Call::of_environment();
                let linker = host.components(&engine)?;
                run_component(&engine, linker, &component, limits, wasi, call.as_ref()).await
            }
        }
    });
    // A guest that read stdin leaves a thread behind that nobody can wake.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit_code(exit.0)),
            None => match error.downcast::<CallError>() {
                Ok(error) => Err(RunError::Call(error)),
                Err(error) => Err(explain(&error)),
            },
        },
    }
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
    linker: &Linker<ModuleState>,
    module: &Module,
    limits: Limits,
    mut wasi: wasmtime_wasi::WasiCtxBuilder,
) -> wasmtime::Result<()> {
    let mut store = Store::new(engine, ModuleState { limits, wasi: wasi.build_p1() });
    store.limiter(|state| &mut state.limits);
    arm(&mut store);
    let instance = linker.instantiate_async(&mut store, module).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    start.call_async(&mut store, ()).await
}

async fn run_component(
    engine: &Engine,
    linker: &component::Linker<ComponentState>,
    component: &Component,
    limits: Limits,
    mut wasi: wasmtime_wasi::WasiCtxBuilder,
    call: Option<&Call>,
) -> wasmtime::Result<()> {
    let state = ComponentState { limits, wasi: wasi.build(), table: ResourceTable::new() };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    arm(&mut store);
    if let Some(call) = call {
        let instance = linker.instantiate_async(&mut store, component).await?;
        let ty = component.component_type();
        let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
        return call.make(&mut store, &instance, &exports).await;
    }
    let command = Command::instantiate_async(&mut store, component, linker).await?;
    match command.wasi_cli_run().call_run(&mut store).await? {
        Ok(()) => Ok(()),
        Err(()) => Err(wasmtime::format_err!(I32Exit(1))),
    }
}

/// Makes the guest trap at the first change of epoch, which only [`tick`] brings about.
fn arm<T: 'static>(store: &mut Store<T>) {
    store.epoch_deadline_trap();
    store.set_epoch_deadline(1);
}

/// Changes the epoch once the deadline is over: a guest that computes then traps where it is. One
/// that waits inside a system call does not notice (a sleep blocks this process's only other
/// thread), so the process is ended over its head a little later.
fn tick(engine: Engine, deadline: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(deadline);
        engine.increment_epoch();
        std::thread::sleep(GRACE);
        eprintln!("{}", Trap::Interrupt);
        std::process::exit(EXIT_TRAP.into());
    });
}

/// WASI's codes are 32 bits wide, the system's are 8: what does not fit must not become success.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
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
