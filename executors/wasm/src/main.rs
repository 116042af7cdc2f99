//! The executor as a program of its own, for the tests and for trying things out. The shipped
//! binary calls the same function from its hidden subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    polyloom_executor_wasm::main(std::env::args_os().skip(1).collect(), None)
}
