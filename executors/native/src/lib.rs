//! The worker that loads a plugin of kind `native`: a shared library behind the C interface of `sdk/c/polyloom_plugin.h`. It speaks the protocol for
//! the library, which knows nothing of it. Knows no language, no flow and no host.
//!
//! The one binary re-executes itself for it (`polyloom __executor native LIBRARY`), in the cell's sandbox. A library is loaded nowhere else, and never
//! unloaded: what its constructors, its functions and its mistakes do, they do to this process. [`main`] is the whole interface, but for [`serve_library`].
//! Another such library is a Java machine, whose cells run by [`java`].

mod abi;
mod catalog;
mod exec;
pub mod java;
mod library;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use polyloom_sdk::{ServeError, chain, serve_on, take_stream};

pub use library::LoadError;
use library::Native;

/// Why the worker ended otherwise than by the host's wish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It was started wrongly.
    #[error("usage: native LIBRARY")]
    Usage,
    /// The library is no plugin.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The conversation broke.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs the worker: `args` is what follows `__executor native`. To be called in a fresh process, which ends with the code returned.
pub fn main(args: &[OsString]) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {}", chain(&fault));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &[OsString]) -> Result<(), Fault> {
    let [path] = args else { return Err(Fault::Usage) };
    // Before the library is loaded: its constructors may start threads, and the connection is none of their business.
    let stream = take_stream().map_err(ServeError::from)?;
    serve_library(stream, Path::new(path))
}

/// Serves a host on a socket with a library, as [`main`] does with the one that it is handed, and tests may. The library stays loaded.
///
/// # Errors
/// [`Fault`].
pub fn serve_library(stream: UnixStream, library: &Path) -> Result<(), Fault> {
    Ok(serve_on(stream, Native::load(library)?)?)
}
