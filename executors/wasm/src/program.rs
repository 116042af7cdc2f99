//! The file that `compile` writes and `run` reads: native code with a header of ours.
//! Does not know how to compile or to run it.
//!
//! ```text
//! 0   8  magic "PLYWASM\0"
//! 8   4  format, little endian, now 1
//! 12  4  kind, little endian: 1 module, 2 component
//! 16  8  compatibility of the engine, see `engine::compatibility`
//! 24 32  BLAKE3 of what follows
//! 56     wasmtime's serialised code
//! ```

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::engine::compatibility;

const MAGIC: [u8; 8] = *b"PLYWASM\0";
const FORMAT: u32 = 1;
const HEADER: usize = 56;

/// Which of the two shapes of WebAssembly a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A core module for WASI preview 1, entered at `_start`.
    Module,
    /// A component of the world `wasi:cli/command`.
    Component,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Module => 1,
            Self::Component => 2,
        }
    }
}

/// Code that is ready to be instantiated.
pub(crate) enum Program {
    /// See [`Kind::Module`].
    Module(Module),
    /// See [`Kind::Component`].
    Component(Component),
}

/// Why a file is not a program that can be run here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("not a program compiled by `polyloom`")]
    Foreign,
    #[error("compiled by another version of `polyloom`, or for another processor")]
    Incompatible,
    #[error("damaged: its content does not match its checksum")]
    Damaged,
    #[error("refused by wasmtime: {0:#}")]
    Refused(wasmtime::Error),
}

/// The bytes of a program file around `code`, which wasmtime serialised.
pub(crate) fn pack(engine: &Engine, kind: Kind, code: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER + code.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&kind.code().to_le_bytes());
    file.extend_from_slice(&compatibility(engine).to_le_bytes());
    file.extend_from_slice(blake3::hash(code).as_bytes());
    file.extend_from_slice(code);
    file
}

/// The kind and the code in a program file, if it is whole and for this engine.
fn unpack(compatibility: u64, file: &[u8]) -> Result<(Kind, &[u8]), LoadError> {
    let Some((header, code)) = file.split_first_chunk::<HEADER>() else {
        return Err(LoadError::Foreign);
    };
    let (magic, rest) = header.split_at(8);
    let (format, rest) = rest.split_at(4);
    let (kind, rest) = rest.split_at(4);
    let (engine, digest) = rest.split_at(8);
    if magic != MAGIC.as_slice() {
        return Err(LoadError::Foreign);
    }
    if format != FORMAT.to_le_bytes() || engine != compatibility.to_le_bytes() {
        return Err(LoadError::Incompatible);
    }
    let kind = [Kind::Module, Kind::Component]
        .into_iter()
        .find(|known| kind == known.code().to_le_bytes())
        .ok_or(LoadError::Damaged)?;
    if blake3::hash(code).as_bytes().as_slice() != digest {
        return Err(LoadError::Damaged);
    }
    Ok((kind, code))
}

/// Makes the code in a program file executable in this process.
///
/// The checksum finds accidents; it does not prove who wrote the file. What makes loading native
/// code acceptable is where it happens: only in the process of `run`, which the host starts inside
/// a cell's sandbox. Whoever could forge the file gains exactly what a C cell has by right.
pub(crate) fn load(engine: &Engine, file: &[u8]) -> Result<Program, LoadError> {
    let (kind, code) = unpack(compatibility(engine), file)?;
    #[expect(unsafe_code, reason = "wasmtime cannot check native code; the sandbox holds it")]
    // SAFETY: the bytes are what `Engine::precompile_*` of this very wasmtime and configuration
    // returned: magic, compatibility and checksum say so, and wasmtime checks its own version
    // again. A deliberate forgery passes these, and runs as native code inside the cell's
    // sandbox, with no more power than any compiled cell has.
    let loaded = unsafe {
        match kind {
            Kind::Module => Module::deserialize(engine, code).map(Program::Module),
            Kind::Component => Component::deserialize(engine, code).map(Program::Component),
        }
    };
    loaded.map_err(LoadError::Refused)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::engine::engine;

    #[test]
    fn any_changed_byte_is_noticed() {
        let engine = engine().unwrap();
        let file = pack(&engine, Kind::Module, b"code");
        assert!(unpack(compatibility(&engine), &file).is_ok());
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            let result = unpack(compatibility(&engine), &damaged);
            // The kind's lowest bit turns 1 into 0, which is no kind.
            assert!(result.is_err(), "byte {at}");
        }
    }

    #[test]
    fn files_cut_short_are_refused() {
        let engine = engine().unwrap();
        let file = pack(&engine, Kind::Component, b"code");
        for length in 0..file.len() {
            assert!(unpack(compatibility(&engine), &file[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn other_engine_is_named_as_the_reason() {
        let engine = engine().unwrap();
        let file = pack(&engine, Kind::Module, b"code");
        let result = unpack(compatibility(&engine) ^ 1, &file);
        assert!(matches!(result, Err(LoadError::Incompatible)));
    }
}
