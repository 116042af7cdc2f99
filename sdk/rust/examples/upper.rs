//! The smallest executor: its cells are text, and it gives that text back in capitals as the output `text`.

use std::process::ExitCode;

use polyloom_sdk::{About, Context, Exec, Executor, Failure, Value, serve};

struct Upper;

impl Executor for Upper {
    fn describe(&self) -> About {
        About::new("upper", "1")
    }

    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        let code = std::fs::read_to_string(&exec.code)?;
        let empty = code.lines().position(|line| line.trim().is_empty());
        if let Some(at) = empty {
            let line = u32::try_from(at + 1)?;
            return Err(Failure::new("a line is empty").at_line(line));
        }
        cx.write_value("text", &Value::from(code.to_uppercase()))
    }
}

fn main() -> ExitCode {
    match serve(Upper) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
