//! The worker that runs a Jupyter kernel: any program that speaks Jupyter's messaging protocol, over Unix sockets in the cell's sandbox. It speaks
//! polyloom's protocol for the kernel, which knows nothing of it. Knows no language, no flow and no host, and looks for no kernelspec.
//!
//! The one binary re-executes itself for it: `polyloom __executor jupyter ID signal|message LIBRARY|- PROGRAM ARGUMENT…`, where the library is the
//! folder of `sdk/python`, for kernels of Python. [`main`] is the whole interface.

mod bind;
mod exec;
mod kernel;
mod message;
mod queue;
mod show;
mod told;
mod zmtp;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use polyloom_sdk::{ServeError, chain, serve_on, take_stream};
use signal_hook::consts::SIGTERM;

use exec::Jupyter;
use kernel::{Interrupt, Spec};

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("usage: jupyter ID signal|message LIBRARY|- PROGRAM ARGUMENT…")]
    Usage,
    #[error("a signal can't be listened to")]
    Signal(#[source] std::io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs the worker: `args` is what follows `__executor jupyter`. To be called in a fresh process, which ends with the code returned.
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
    let [id, interrupt, library, argv @ ..] = args else { return Err(Fault::Usage) };
    let interrupt = match interrupt.to_str() {
        Some("signal") => Interrupt::Signal,
        Some("message") => Interrupt::Message,
        _ => return Err(Fault::Usage),
    };
    let id = id.to_str().ok_or(Fault::Usage)?.to_owned();
    if argv.is_empty() {
        return Err(Fault::Usage);
    }
    // Before the kernel starts: the connection is none of its business.
    let stream = take_stream().map_err(ServeError::from)?;
    // A cell that is to stop hears it twice, by the host's message and by this signal, of which its worker is not to die: the kernel is interrupted.
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&stop)).map_err(Fault::Signal)?;
    let library = library.to_str().filter(|library| *library != "-").map(str::to_owned);
    let spec = Spec { argv: argv.to_vec(), interrupt };
    Ok(serve_on(stream, Jupyter::new(id, spec, library, stop))?)
}
