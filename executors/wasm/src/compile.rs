//! From a cell's code to a program file: detect, translate, check, compile.
//! Does not run anything of the cell's.

use std::fmt;
use std::path::{Path, PathBuf};

use wasmparser::Validator;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, ExternType, Module};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::catalog::interface;
use crate::engine::engine;
use crate::program::{Kind, pack};
use crate::text::{Position, Text};
use crate::wasi::{component_linker, module_linker};

/// The first eight bytes of every binary: magic, version, and whether module or component.
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
const COMPONENT_LAYER: [u8; 4] = [0x0d, 0, 1, 0];

/// Why a cell's code did not become a program. Shown as `FILE[:LINE:COL]: error: MESSAGE`, the
/// form that the manifest's pattern reads.
#[derive(Debug)]
pub(crate) struct CompileError {
    file: PathBuf,
    position: Option<Position>,
    message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, col }) = self.position {
            write!(f, ":{line}:{col}")?;
        }
        write!(f, ": error: {}", self.message)
    }
}

impl std::error::Error for CompileError {}

/// Compiles `source`, WebAssembly as text or binary, into the file `program`.
pub(crate) fn compile(source: &Path, program: &Path) -> Result<(), CompileError> {
    let failed =
        |position, message: String| CompileError { file: source.to_owned(), position, message };
    let bytes = std::fs::read(source)
        .map_err(|error| failed(None, format!("cannot read the code: {error}")))?;
    let text = if bytes.starts_with(b"\0asm") {
        None
    } else {
        let text = Text::new(&bytes).map_err(|e| failed(e.position, e.message))?;
        Some(text)
    };
    let binary = match &text {
        None => bytes.clone(),
        Some(text) => text.translate().map_err(|e| failed(e.position, e.message))?,
    };
    let packed = build(&binary).map_err(|error| match (invalid(&binary), &text) {
        (Some((offset, message)), Some(text)) => failed(text.locate(&binary, offset), message),
        (Some((offset, message)), None) => {
            failed(None, format!("{message} (at offset {offset:#x})"))
        }
        (None, _) => failed(None, one_line(&error)),
    })?;
    write(program, &packed)
        .map_err(|error| failed(None, format!("cannot write `{}`: {error}", program.display())))
}

/// Compiles a binary and makes sure that `run` will be able to start it.
fn build(binary: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let engine = engine()?;
    match kind(binary)? {
        Kind::Module => {
            let module = Module::from_binary(&engine, binary)?;
            check_module(&engine, &module)?;
            Ok(pack(&engine, Kind::Module, &module.serialize()?))
        }
        Kind::Component => {
            let component = Component::from_binary(&engine, binary)?;
            let ready = component_linker(&engine)?.instantiate_pre(&component)?;
            // One that is no command may have functions to be called.
            if !functions(&engine, &component) {
                CommandPre::new(ready)?;
            }
            Ok(pack(&engine, Kind::Component, &component.serialize()?))
        }
    }
}

/// Whether it exports functions, of its own or of an interface, besides what a command does.
fn functions(engine: &Engine, component: &Component) -> bool {
    let is_function = |item: &ComponentItem| matches!(item, ComponentItem::ComponentFunc(_));
    component.component_type().exports(engine).any(|(name, item)| match item.ty {
        ComponentItem::ComponentInstance(of) => {
            interface(name) != "run" && of.exports(engine).any(|(_, item)| is_function(&item.ty))
        }
        item => is_function(&item),
    })
}

fn kind(binary: &[u8]) -> wasmtime::Result<Kind> {
    if binary.starts_with(&MODULE) {
        return Ok(Kind::Module);
    }
    if binary.get(4..8) == Some(&COMPONENT_LAYER) {
        return Ok(Kind::Component);
    }
    Err(wasmtime::format_err!("neither a WebAssembly module nor a component of a known version"))
}

/// Whether every import exists in WASI and there is a place to start.
fn check_module(engine: &Engine, module: &Module) -> wasmtime::Result<()> {
    module_linker(engine)?.instantiate_pre(module)?;
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => Ok(()),
        _ => Err(wasmtime::format_err!(
            "the module exports no function `_start` without parameters and results"
        )),
    }
}

/// Where and why a binary is not valid, if that is what is wrong with it. Asked only after
/// wasmtime has refused it, because wasmtime's error has the place only inside its text.
fn invalid(binary: &[u8]) -> Option<(usize, String)> {
    let error = Validator::new().validate_all(binary).err()?;
    Some((error.offset(), error.message().to_owned()))
}

fn one_line(error: &wasmtime::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if !parts.iter().any(|known| known.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// Writes whole files only: the host may look at any time.
fn write(program: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let partial = program.with_file_name(format!(".{name}.partial"));
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, program)
}
