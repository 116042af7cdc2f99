//! Say: a language of a few words, to show how an executor is written in Rust. One statement a line:
//!
//! ```text
//! say TEXT           prints it; `$port` in a text is the text of that input
//! put PORT TEXT      is the output PORT; `put PORT $port` gives the input on, whatever its type
//! show TEXT          shows it while the cell runs
//! wait SECONDS       waits, and ends when it is asked to
//! fail TEXT          fails
//! # TEXT             says nothing
//! ```
//!
//! It has a function, too, for cells that are one call: `uses = "say-rust:text:repeat"`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use polyloom_sdk::{
    About, Call, Context, Exec, Executor, Failure, Function, Value, feature, serve,
};

struct Say;

impl Executor for Say {
    fn describe(&self) -> About {
        let mut about = About::new("say-rust", "1");
        let own = [feature::CANCEL_SOFT, feature::CATALOG, feature::CALL];
        about.features.extend(own.map(str::to_owned));
        about
    }

    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        let code = std::fs::read_to_string(&exec.code)?;
        for (line, text) in (1..).zip(code.lines()) {
            statement(cx, text).map_err(|failure| failure.at_line(line))?;
        }
        Ok(())
    }

    fn catalog(&mut self) -> Result<Vec<BTreeMap<String, Value>>, Failure> {
        let repeat = Function::new("text", "repeat")
            .doc("The same words again and again.")
            .input("text", "str")
            .param("times", "int", Some(Value::from(2_i64)))
            .output("result", "str")
            .tag("pure");
        Ok(vec![repeat.into()])
    }

    fn call(&mut self, cx: &mut Context<'_>, exec: &Exec, call: &Call) -> Result<(), Failure> {
        match call.object.as_str() {
            "repeat" => {
                let text = String::from_utf8(cx.read_text("text")?)?;
                let times: usize = match exec.inputs.contains_key("times") {
                    true => String::from_utf8(cx.read_text("times")?)?.parse()?,
                    false => 2,
                };
                if text.len().saturating_mul(times) > 1 << 20 {
                    return Err(Failure::new("argument `times`: the text would be over 1 MiB"));
                }
                cx.write_value("result", &Value::from(vec![text; times].join(" ")))
            }
            other => Err(Failure::new(format!("expected the function repeat, found `{other}`"))),
        }
    }
}

fn statement(cx: &mut Context<'_>, line: &str) -> Result<(), Failure> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "" => {}
        word if word.starts_with('#') => {}
        "say" => {
            let mut text = filled(cx, rest)?;
            text.push(b'\n');
            std::io::stdout().write_all(&text)?;
        }
        "put" => {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            put(cx, name, text)?;
        }
        "show" => {
            let text = filled(cx, rest)?;
            cx.display("text/plain", &text)?;
        }
        "wait" => {
            let seconds: f64 = rest.parse()?;
            let end = Instant::now() + Duration::try_from_secs_f64(seconds)?;
            while Instant::now() < end {
                if cx.cancelled() {
                    return Err(Failure::new("stopped"));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        "fail" => return Err(Failure::new(rest)),
        other => {
            let valid = "say, put, show, wait, fail or #";
            return Err(Failure::new(format!("expected {valid}, found `{other}`")));
        }
    }
    Ok(())
}

/// A text with the inputs that it names.
fn filled(cx: &Context<'_>, text: &str) -> Result<Vec<u8>, Failure> {
    let mut parts = text.split('$');
    let mut filled = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (port, rest) = part.split_at(end.unwrap_or(part.len()));
        filled.extend(cx.read_text(port)?);
        filled.extend_from_slice(rest.as_bytes());
    }
    Ok(filled)
}

fn put(cx: &mut Context<'_>, name: &str, text: &str) -> Result<(), Failure> {
    match text.strip_prefix('$').map(|port| cx.input(port)) {
        // All of it is an input: its file is the output's, in the form that it has.
        Some(Ok(input)) => {
            let path = Path::new(&input.path);
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            cx.write_file(name, &extension, &std::fs::read(path)?)
        }
        _ => {
            let text = filled(cx, text)?;
            cx.write_file(name, "", &text)
        }
    }
}

fn main() -> ExitCode {
    match serve(Say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
