//! Programs one after the other in one process, each in an instance of its own. Knows no program: `run` does.
//!
//! Only a cell that has ended well lets the process go on. Whatever else becomes of one becomes of the process, with the exit code and the words that
//! `run` has for it.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use polyloom_sdk::{About, Context, Exec, Executor, Failure, ServeError, feature, serve};

use crate::run::{Ready, RunError, Runner};
use crate::wasi::Stdin;
use crate::{EXIT_USAGE, Request, parse};

/// Words of a command line before those that are for this executor: polyloom, `__executor`, its name.
const BEFORE: usize = 3;

struct Instances {
    runner: Runner,
    /// The program that ran last: as a rule they are all the same. What lies at a path does not change while this process lives.
    program: Option<(PathBuf, Ready)>,
}

/// Why no instances can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Prepare(#[from] RunError),
    #[error("error: {0}")]
    Serve(#[from] ServeError),
}

/// Serves the host until it says goodbye.
pub(crate) fn instances() -> Result<(), Fault> {
    Ok(serve(Instances { runner: Runner::new()?, program: None })?)
}

impl Instances {
    fn run(&mut self, exec: &Exec) -> Result<u8, RunError> {
        let line = exec.argv.iter().skip(BEFORE).map(OsString::from).collect();
        let Some(Request::Run { program: path, args }) = parse(line) else {
            eprintln!("error: an exec names no program");
            return Ok(EXIT_USAGE);
        };
        let program = match self.program.take() {
            Some((known, program)) if known == path => program,
            _ => self.runner.load(&path)?,
        };
        let (_, program) = self.program.insert((path, program));
        self.runner.run(program, &args, &exec.env, Stdin::Empty)
    }
}

impl Executor for Instances {
    fn describe(&self) -> About {
        let features = vec![feature::INSTANCES.to_owned()];
        About { features, ..About::new("wasm", "") }
    }

    fn exec(&mut self, _: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        let code = self.run(exec).unwrap_or_else(|error| {
            eprintln!("{error}");
            error.exit_code()
        });
        // What the cell printed is to be there before it is said that it is done.
        let flushed = std::io::stdout().flush();
        match code {
            0 => Ok(flushed?),
            code => std::process::exit(code.into()),
        }
    }
}
