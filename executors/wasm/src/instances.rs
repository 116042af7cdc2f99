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
    /// What ran last: as a rule it is always the same. What lies at a path does not change while this process lives.
    live: Option<Live>,
}

struct Live {
    path: PathBuf,
    runner: Runner,
    program: Ready,
}

/// Why no instances can be made.
#[derive(Debug, thiserror::Error)]
#[error("error: {0}")]
pub(crate) struct Fault(#[from] ServeError);

/// Serves the host until it says goodbye.
pub(crate) fn instances() -> Result<(), Fault> {
    Ok(serve(Instances { live: None })?)
}

impl Instances {
    fn run(&mut self, exec: &Exec) -> Result<u8, RunError> {
        let line = exec.argv.iter().skip(BEFORE).map(OsString::from).collect();
        let Some(Request::Run { program: path, args }) = parse(line) else {
            eprintln!("error: an exec names no program");
            return Ok(EXIT_USAGE);
        };
        let live = match self.live.take() {
            Some(live) if live.path == path => live,
            _ => {
                let (runner, program) = Runner::repeating(&path, &exec.env)?;
                Live { path, runner, program }
            }
        };
        let Live { runner, program, .. } = self.live.insert(live);
        runner.run(program, &args, &exec.env, Stdin::Empty)
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
