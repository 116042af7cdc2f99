//! What a guest sees of the world: arguments, environment, standard streams, four directories.
//! Does not know ports or types. No network, whatever the cell was granted: see README.md.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use wasmtime::component::{Linker as ComponentLinker, ResourceTable};
use wasmtime::{Engine, Linker, Result};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2};

use crate::limits::Limits;

/// Where the host puts a cell's directories, when the environment does not say otherwise.
const IN: &str = "/cell/in";
const OUT: &str = "/cell/out";
const TMP: &str = "/tmp";

/// The state of a store that runs a module.
pub(crate) struct ModuleState {
    pub(crate) limits: Limits,
    pub(crate) wasi: WasiP1Ctx,
}

/// The state of a store that runs a component.
pub(crate) struct ComponentState {
    pub(crate) limits: Limits,
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Everything a module may import.
pub(crate) fn module_linker(engine: &Engine) -> Result<Linker<ModuleState>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |state: &mut ModuleState| &mut state.wasi)?;
    Ok(linker)
}

/// Everything a component may import.
pub(crate) fn component_linker(engine: &Engine) -> Result<ComponentLinker<ComponentState>> {
    let mut linker = ComponentLinker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// Why a guest's world could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot open `{path}` for the guest: {reason:#}")]
pub(crate) struct PreopenError {
    path: String,
    reason: wasmtime::Error,
}

/// A guest's environment.
pub(crate) type Env = BTreeMap<String, String>;

/// That of this process, which the host has already cleaned. WASI has no way to say text that is not UTF-8, and none to write on a descriptor that
/// is no preopened one: `POLYLOOM_SAY` means nothing to a guest.
pub(crate) fn own_env() -> Env {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let known = std::env::vars_os().filter_map(text);
    known.filter(|(name, _)| name != "POLYLOOM_SAY").collect()
}

/// Where a guest reads standard input from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// What this process has.
    Inherited,
    /// It is at its end.
    Empty,
}

/// Sets up a guest's world.
///
/// Preopened, in this order from descriptor 3: the work directory as `.`, inputs as `/in`
/// (read-only), outputs as `/out`, `/tmp`, and inputs and outputs again under the paths that `IN`,
/// `OUT` and the `$PORT` variables name, and the folder of the cell's code. A directory that does not exist is left out.
pub(crate) fn context(
    args: &[OsString],
    env: &Env,
    stdin: Stdin,
) -> Result<WasiCtxBuilder, PreopenError> {
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let mut wasi = WasiCtxBuilder::new();
    wasi.inherit_stdout().inherit_stderr();
    if stdin == Stdin::Inherited {
        wasi.inherit_stdin();
    }
    // There is one thread and nothing else to do on it while the guest waits for a file.
    wasi.allow_blocking_current_thread(true);
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    wasi.arg(variable("POLYLOOM_CELL").unwrap_or_else(|| "cell".to_owned()));
    for arg in args {
        wasi.arg(arg.to_string_lossy());
    }
    for (name, value) in env {
        wasi.env(name, value);
    }
    let inputs = variable("IN").unwrap_or_else(|| IN.to_owned());
    let outputs = variable("OUT").unwrap_or_else(|| OUT.to_owned());
    // The runner of an executor that is WebAssembly itself gives it the path of the cell's code.
    let code = Path::new(&inputs).with_file_name("code").to_string_lossy().into_owned();
    let places = [
        (".", ".", FsPerms::ReadWrite),
        (inputs.as_str(), "/in", FsPerms::ReadOnly),
        (outputs.as_str(), "/out", FsPerms::ReadWrite),
        (TMP, TMP, FsPerms::ReadWrite),
        (inputs.as_str(), inputs.as_str(), FsPerms::ReadOnly),
        (outputs.as_str(), outputs.as_str(), FsPerms::ReadWrite),
        (code.as_str(), code.as_str(), FsPerms::ReadOnly),
    ];
    for (path, guest, perms) in places {
        if Path::new(path).is_dir() {
            wasi.preopened_dir(path, guest, perms)
                .map_err(|reason| PreopenError { path: path.to_owned(), reason })?;
        }
    }
    Ok(wasi)
}
