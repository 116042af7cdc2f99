//! The WebAssembly executor: compiles a cell's module or component, and runs it under WASI.
//! Knows nothing of flows, and of the protocol only how values are written: it is a `command` executor, so that the
//! host drives it by argv, in a sandbox, and takes the results from files.
//!
//! The one binary re-executes itself for it (`polyloom __executor wasm …`), before any async
//! runtime exists. [`main`] is the whole interface.

mod call;
mod catalog;
mod compile;
mod engine;
mod instances;
mod limits;
mod program;
mod run;
mod shape;
mod text;
mod wasi;
mod watchdog;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of `compile` when the code is not valid.
pub const EXIT_INVALID: u8 = 1;
/// Exit code of `run` when a function that was to be called could not be, or gave an error.
pub const EXIT_FAILED: u8 = 1;
/// Exit code when the arguments make no sense.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of `run` when the guest trapped: out of stack, out of time, unreachable and so on.
pub const EXIT_TRAP: u8 = 65;
/// Exit code of `run` when the program could not be started: unreadable, corrupted, or compiled
/// by another version.
pub const EXIT_REFUSED: u8 = 66;

const USAGE: &str =
    "usage: compile SOURCE -o PROGRAM | run PROGRAM [ARGUMENT…] | instances | catalog";

/// What one invocation is asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Compile { source: PathBuf, program: PathBuf },
    Run { program: PathBuf, args: Vec<OsString> },
    Instances,
    Catalog,
}

/// Parses the arguments after `__executor wasm`.
fn parse(args: Vec<OsString>) -> Option<Request> {
    let mut args = args.into_iter();
    let verb = args.next()?;
    if verb == OsStr::new("run") {
        let program = args.next()?.into();
        return Some(Request::Run { program, args: args.collect() });
    }
    if verb == OsStr::new("instances") {
        return args.next().is_none().then_some(Request::Instances);
    }
    if verb == OsStr::new("catalog") {
        return args.next().is_none().then_some(Request::Catalog);
    }
    if verb != OsStr::new("compile") {
        return None;
    }
    let (mut source, mut program) = (None, None);
    while let Some(arg) = args.next() {
        if arg == OsStr::new("-o") {
            program = Some(PathBuf::from(args.next()?));
        } else if source.is_none() {
            source = Some(PathBuf::from(arg));
        } else {
            return None;
        }
    }
    Some(Request::Compile { source: source?, program: program? })
}

/// Runs the executor: `args` is what follows `__executor wasm`.
///
/// `compile SOURCE -o PROGRAM` exits with 0 or [`EXIT_INVALID`]; `run PROGRAM [ARGUMENT…]` exits
/// with the guest's own code, [`EXIT_TRAP`] or [`EXIT_REFUSED`]; with `POLYLOOM_CALL` it calls that function of a component instead of running it.
/// `instances` does what `run` does for one cell after the other, as a worker.
/// `catalog` answers a question on stdin about what components export. Everything else that is said goes to stderr.
/// Must be called in a fresh process, outside any async runtime; the caller should exit with the
/// returned code at once.
///
/// With `zygote`, `run` gets ready and calls it before it looks at anything of the cell's: files, environment, descriptors. It returns in each process
/// that is to go on with a cell, which is a copy of this one with one thread.
pub fn main(args: Vec<OsString>, zygote: Option<fn()>) -> ExitCode {
    match parse(args) {
        None => {
            eprintln!("error: {USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
        Some(Request::Compile { source, program }) => match compile::compile(&source, &program) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(EXIT_INVALID)
            }
        },
        Some(Request::Instances) => match instances::instances() {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("{fault}");
                ExitCode::from(EXIT_REFUSED)
            }
        },
        Some(Request::Catalog) => match catalog::catalog() {
            Ok(found) => {
                println!("{found}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(EXIT_USAGE)
            }
        },
        Some(Request::Run { program, args }) => match run::run(&program, &args, zygote) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(error.exit_code())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Option<Request> {
        parse(text.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn output_may_come_before_or_after_the_source() {
        let wanted = Some(Request::Compile { source: "a.wat".into(), program: "p".into() });
        assert_eq!(request("compile a.wat -o p"), wanted);
        assert_eq!(request("compile -o p a.wat"), wanted);
    }

    #[test]
    fn everything_after_the_program_belongs_to_the_guest() {
        let wanted = Request::Run { program: "p".into(), args: vec!["-o".into(), "x".into()] };
        assert_eq!(request("run p -o x"), Some(wanted));
    }

    #[test]
    fn incomplete_requests_are_refused() {
        for text in ["", "run", "compile a.wat", "compile -o p", "compile a b -o p", "fly"] {
            assert_eq!(request(text), None, "{text}");
        }
    }
}
