//! Programs that an executor starts for a cell: compilers, interpreters, what they made. It knows no language and no wire.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use polyloom_protocol::{Diagnostic, Severity};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{Context, Failure};

/// So much of what a program says on standard error is kept for [`Ran::diagnostics`]; the beginning, where compilers say what is wrong.
const KEPT: usize = 256 << 10;
/// More diagnostics are of no use to a reader.
const MOST: usize = 200;
/// How long a program runs until it is looked at: doubled each time, since most are short and some are long.
const FIRST_LOOK: Duration = Duration::from_micros(500);
const LONGEST_LOOK: Duration = Duration::from_millis(20);
/// How long standard error is read after a program's end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its status.
    pub status: ExitStatus,
    /// The first 256 KiB of what it said on standard error, with U+FFFD for what is not UTF-8.
    pub said: String,
}

impl Ran {
    /// What it said in the form that most tools write, `FILE:LINE: MESSAGE` or `FILE:LINE:COLUMN: error|warning|note: MESSAGE`. 200 at most.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.said.lines().filter_map(diagnostic).take(MOST).collect()
    }

    /// Why it failed, in words; nothing if it ended well.
    fn failure(&self, name: &str) -> Option<Failure> {
        (!self.status.success()).then(|| {
            // `exit status: 1`, `signal: 9 (SIGKILL)`
            Failure::new(format!("{name} ended with {}", self.status))
        })
    }
}

impl Context<'_> {
    /// Runs a program as a part of the cell and waits for its end. What it prints is the cell's output as it comes; standard error is kept besides.
    /// It has the cell's limits and the cell's time. When the host asks the cell to stop, the program and all that it started are killed.
    ///
    /// # Errors
    /// When it cannot be started, or was killed because the cell is to stop. That it failed is no error: [`Ran::status`].
    pub fn run(&mut self, command: &mut Command) -> Result<Ran, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stderr(Stdio::piped()).process_group(0);
        let started = command.spawn();
        let mut child =
            started.map_err(|error| Failure::new(format!("can't start `{name}`: {error}")))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (over, is_over) = mpsc::channel::<()>();
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                copy(stderr, &said);
                drop(over);
            });
        }
        let ended = self.wait(&mut child);
        // The group goes while its number is its own still: until the child is waited for.
        kill_group(&child);
        let status = child.wait()?;
        ended?;
        // One that left the group may hold standard error open for as long as the cell lives.
        let _ = is_over.recv_timeout(LAST_WORDS);
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Ran { status, said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// Compiles and runs: what the compiler says is reported as diagnostics, and what it made is run if it ended well.
    ///
    /// # Errors
    /// Those of [`Context::run`], and a program that failed, in words.
    pub fn compile_and_run(
        &mut self,
        compiler: &mut Command,
        program: &mut Command,
    ) -> Result<(), Failure> {
        let compiled = self.run(compiler)?;
        let mut told = compiled.diagnostics();
        let first = told.iter().position(|it| it.severity == Severity::Error);
        let failed = compiled.failure("the compiler");
        // The failure of the cell is told by what the compiler found first, not by its exit code.
        let failure = match (failed, first) {
            (Some(_), Some(first)) => Some(Failure::told_by(told.remove(first))),
            (failed, _) => failed,
        };
        for diagnostic in &told {
            self.diagnostic(diagnostic);
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.run(program)?.failure("the program").map_or(Ok(()), Err)
    }

    /// Waits for a child's end and leaves it to be collected.
    fn wait(&mut self, child: &mut Child) -> Result<(), Failure> {
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| Failure::new("the system gave no number to a program"))?;
        let mut pause = FIRST_LOOK;
        loop {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if waitid(WaitId::Pid(id), options)?.is_some() {
                return Ok(());
            }
            if self.cancelled() {
                return Err(Failure::new("stopped"));
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_LOOK);
        }
    }
}

/// Kills a program that was not waited for yet, and all of its process group.
fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Nobody may be left, which is well.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Copies to standard error and keeps the beginning.
fn copy(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                // Whether anybody hears it is not this program's matter.
                let _ = io::stderr().write_all(&buffer[..count]);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT - kept.len();
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn diagnostic(line: &str) -> Option<Diagnostic> {
    let (file, rest) = line.split_once(':')?;
    let (number, rest) = rest.split_once(':')?;
    let line = number.parse().ok()?;
    if file.is_empty() || file.contains(char::is_whitespace) {
        return None;
    }
    let column = rest.split_once(':').and_then(|(column, _)| column.parse().ok());
    let text = match column {
        Some(_) => rest.split_once(':')?.1,
        None => rest,
    };
    // `12:30:45` is a time.
    let text = text.strip_prefix(' ')?.trim();
    let words = [
        ("fatal error: ", Severity::Error),
        ("error: ", Severity::Error),
        ("warning: ", Severity::Warning),
        ("note: ", Severity::Info),
    ];
    let found =
        words.into_iter().find_map(|(word, severity)| Some((text.strip_prefix(word)?, severity)));
    let (message, severity) = found.unwrap_or((text, Severity::Error));
    if message.is_empty() {
        return None;
    }
    let mut diagnostic = Diagnostic::new(severity, message);
    (diagnostic.file, diagnostic.line, diagnostic.col) =
        (Some(file.to_owned()), Some(line), column);
    Some(diagnostic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tools_are_read_and_others_are_not() {
        let read = |line| diagnostic(line).map(|it| (it.severity, it.message, it.line, it.col));
        assert_eq!(
            read("/cell/code/a.c:3:7: warning: unused"),
            Some((Severity::Warning, "unused".into(), Some(3), Some(7)))
        );
        assert_eq!(
            read("a.lua:12: attempt to call a nil value"),
            Some((Severity::Error, "attempt to call a nil value".into(), Some(12), None))
        );
        for line in ["", "hello", "a b:3: no file", "a:b:c", "a:3:", "12:30:45", ":1:2: x"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
