//! Say: a language of a few words, to show how an executor is a WebAssembly component: a program of WASI that reads its cell's code. One statement a line:
//!
//! ```text
//! say TEXT           prints it
//! show PORT          prints the input PORT
//! put PORT TEXT      is the output PORT
//! copy PORT OUTPUT   gives an input on, whatever its type
//! wait SECONDS       waits
//! fail TEXT          fails
//! # TEXT             says nothing
//! ```
//!
//! Inputs are files of the folder `/in` and variables, outputs are files of `/out`, and `FILE:LINE: MESSAGE` on standard error points at a line.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io, thread};

fn main() -> ExitCode {
    let Some(path) = env::args().nth(1) else {
        eprintln!("error: there is no code");
        return ExitCode::from(2);
    };
    let code = match fs::read_to_string(&path) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{path}:1: can't be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    for (number, line) in (1..).zip(code.lines()) {
        if let Err(message) = statement(line) {
            eprintln!("{path}:{number}: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn statement(line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "" => {}
        word if word.starts_with('#') => {}
        "say" => println!("{rest}"),
        "show" => println!("{}", env::var(rest).map_err(|_| format!("there is no input `{rest}`"))?),
        "put" => fs::write(Path::new("/out").join(first), second).map_err(|error| error.to_string())?,
        "copy" => copy(first, second).map_err(|error| format!("can't copy `{first}`: {error}"))?,
        "wait" => {
            let seconds = rest.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            thread::sleep(seconds.ok_or("`wait` takes a number of seconds")?);
        }
        "fail" => return Err(rest.to_owned()),
        other => return Err(format!("expected say, show, put, copy, wait, fail or #, found `{other}`")),
    }
    Ok(())
}

/// A value lies in `/in` as MessagePack, all else as the file or folder it is.
fn copy(port: &str, output: &str) -> io::Result<()> {
    let mut found = None;
    for entry in fs::read_dir("/in")? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let (stem, extension) = name.split_once('.').unwrap_or((&name, ""));
        if stem == port && (found.is_none() || extension == "msgpack") {
            found = Some(name);
        }
    }
    let name = found.ok_or(io::ErrorKind::NotFound)?;
    let extension = &name[port.len()..];
    tree(&Path::new("/in").join(&name), &Path::new("/out").join(format!("{output}{extension}")))
}

fn tree(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
