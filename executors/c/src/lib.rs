//! The reader of `uses = "c:./FILE.h:FUNCTION"`: what a header declares, as a catalog, each function with the program that calls it. Reads text; runs
//! neither a preprocessor nor a compiler.
//! Knows nothing of flows, of the host and of the protocol.
//!
//! The one binary re-executes itself for it (`polyloom __executor c catalog`), in a sandbox. [`main`] is the whole interface.

mod arguments;
mod catalog;
mod declare;
mod files;
mod lex;
mod parse;
mod program;
mod shape;

use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code when the arguments or the question make no sense.
pub const EXIT_USAGE: u8 = 2;

/// Runs the reader: `args` is what follows `__executor c`. It answers a question on stdin, on stdout; what is said otherwise goes to stderr.
pub fn main(args: &[OsString]) -> ExitCode {
    if args != ["catalog"] {
        eprintln!("error: usage: catalog");
        return ExitCode::from(EXIT_USAGE);
    }
    match catalog::catalog() {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
