//! The program that runs a Java cell in a machine that was started ahead of it: what `java` does, in two halves. It makes the machine, says that it is
//! ready, and waits on its standard input for its cell. Knows nothing of flows, of the host and of the protocol (executors/README.md, "Ahead of a command").
//!
//! The one binary re-executes itself for it (`polyloom __executor java JAVA OPTION… -cp CLASSES`), in the cell's sandbox. [`main`] is the whole interface; what is a manifest and its tests is in `executors/java`.
//! Where it can't do what `java` would do, it becomes `java`.

mod cell;
mod jvm;

use std::ffi::{CString, OsString};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cell::Cell;
use jvm::{Machine, Refused};

/// Exit code when the arguments make no sense.
const EXIT_USAGE: u8 = 2;

/// Runs the program: `words` is what follows `__executor java`.
pub fn main(words: &[OsString]) -> ExitCode {
    let Some(begun) = Begun::of(words) else {
        eprintln!("error: usage: java JAVA OPTION… -cp CLASSES");
        return ExitCode::from(EXIT_USAGE);
    };
    match jvm::on_a_thread_of_its_own(move || run(&begun)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: no thread for the machine: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is known before there is a cell.
struct Begun {
    words: Vec<OsString>,
    classes: CString,
    options: Vec<CString>,
}

impl Begun {
    fn of(words: &[OsString]) -> Option<Self> {
        let [java, options @ .., flag, classes] = words else { return None };
        let text = |word: &OsString| CString::new(word.as_bytes()).ok();
        let is_path = Path::new(java).is_absolute() && flag == "-cp";
        let options = options.iter().map(text).collect::<Option<Vec<_>>>()?;
        is_path.then_some(Self { words: words.to_vec(), classes: text(classes)?, options })
    }

    /// The library beside the program `java`.
    fn library(&self) -> Option<PathBuf> {
        let program = std::fs::canonicalize(&self.words[0]).ok()?;
        let home = program.parent()?.parent()?;
        let places = ["lib/server/libjvm.so", "jre/lib/server/libjvm.so"];
        places.iter().map(|place| home.join(place)).find(|path| path.is_file())
    }
}

fn run(begun: &Begun) -> ExitCode {
    // Before anything is said: who has no machine is of no use to a cell.
    let machine = begun.library().ok_or(Refused::NoLibrary);
    let machine = machine.and_then(|path| Machine::make(&path, &begun.classes, &begun.options));
    let machine = match machine {
        Ok(machine) => machine,
        Err(refused) => {
            eprintln!("error: {refused}");
            return ExitCode::FAILURE;
        }
    };
    machine.warm();
    if say_ready().is_err() {
        return ExitCode::FAILURE;
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    let Some(cell) = read.ok().and_then(|_| Cell::parse(&bytes)) else {
        // None is coming.
        machine.leave();
    };
    let null = std::fs::File::open("/dev/null").and_then(|null| jvm::as_stdin(&null));
    match cell.start(&begun.words) {
        Some(start) if null.is_ok() => {
            jvm::set_environment(&cell.env);
            machine.run(&begun.classes, &start)
        }
        _ => become_java(&cell),
    }
}

/// Says it on the pipe of `POLYLOOM_SAY`, which is the cell's from then on.
#[expect(unsafe_code, reason = "the descriptor is named by a variable")]
fn say_ready() -> std::io::Result<()> {
    let named = std::env::var("POLYLOOM_SAY").ok().and_then(|text| text.parse::<i32>().ok());
    let fd = named.ok_or(std::io::ErrorKind::NotFound)?;
    // SAFETY: the host has opened it for this program, and nobody else here knows it; it is never closed.
    let mut pipe = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(fd) });
    pipe.write_all(b"ready\n")
}

/// The cell is one for the program `java` itself: there is no class, as a rule, which it has to tell.
fn become_java(cell: &Cell) -> ExitCode {
    let Some((java, rest)) = cell.argv.split_first() else { return ExitCode::FAILURE };
    let env = cell.env.iter().filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((text(&pair[..at]), text(&pair[at + 1..])))
    });
    let error = Command::new(java).args(rest).env_clear().envs(env).exec();
    eprintln!("error: `{}`: {error}", java.display());
    ExitCode::FAILURE
}
