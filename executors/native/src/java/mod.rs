//! The program that runs a Java cell: what `java` does, in two halves. It makes the machine; where it is started ahead of its cell, it says that it is
//! ready, and waits on its standard input for it; it runs the cell. Knows nothing of flows, of the host and of the protocol (executors/README.md, "Ahead of a
//! command").
//!
//! The one binary re-executes itself for it (`polyloom __executor java JAVA OPTION… -cp CLASSES @FILE ARGUMENT…`), in the cell's sandbox. [`main`] is the whole interface; what is a manifest and its tests is in `executors/java`.
//! Where it can't do what `java` would do, it becomes `java`.

mod cell;
mod jvm;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use cell::{Begun, Cell};
use jvm::{Machine, Refused};

/// Exit code when the arguments make no sense.
const EXIT_USAGE: u8 = 2;
/// The variable of a program that is started before there is a cell.
const AHEAD: &str = "POLYLOOM_AHEAD";

/// Runs the program: `words` is what follows `__executor java`.
pub fn main(words: &[OsString]) -> ExitCode {
    let Some(begun) = Begun::of(words) else {
        eprintln!("error: usage: java JAVA OPTION… -cp CLASSES @FILE ARGUMENT…");
        return ExitCode::from(EXIT_USAGE);
    };
    let waits = std::env::var_os(AHEAD).is_some();
    match jvm::on_a_thread_of_its_own(move || run(&begun, waits)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: no thread for the machine: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every step is the same whether there is a cell or one is waited for, in the same order: identity hash codes, and with them the order of what is kept by
/// them, come of what the machine has done before.
fn run(begun: &Begun, waits: bool) -> ExitCode {
    let own = (!waits).then(Cell::own);
    if let Some(cell) = own.as_ref().filter(|cell| cell.start(begun).is_none()) {
        return become_java(cell);
    }
    // Before anything is said: who has no machine is of no use to a cell.
    let machine = begun.library().zip(begun.nowhere()).ok_or(Refused::NoLibrary);
    let machine = machine.and_then(|(path, no)| Machine::make(&path, &no, &begun.options));
    let machine = match (machine, &own) {
        (Ok(machine), _) => machine,
        // A matter of the JDK, not of this process.
        (Err(Refused::NoLibrary | Refused::Load(_)), Some(cell)) => return become_java(cell),
        (Err(refused), _) => {
            eprintln!("error: {refused}");
            return ExitCode::FAILURE;
        }
    };
    let cell = match own {
        Some(cell) => cell,
        None => {
            let Some(cell) = say_ready().ok().and_then(|()| told()) else {
                // None is coming.
                machine.leave();
            };
            jvm::set_environment(&cell.env);
            cell
        }
    };
    match cell.start(begun) {
        Some(start) => machine.run(&begun.classes, &start),
        None => become_java(&cell),
    }
}

/// The cell that comes on standard input, which is empty from then on.
fn told() -> Option<Cell> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).ok()?;
    let cell = Cell::parse(&bytes)?;
    let null = std::fs::File::open("/dev/null").ok()?;
    jvm::as_stdin(&null).ok()?;
    Some(cell)
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
    let Some((java, rest)) = cell.words().split_first() else { return ExitCode::FAILURE };
    let env = cell.env.iter().filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((text(&pair[..at]), text(&pair[at + 1..])))
    });
    let error = Command::new(java).args(rest).env_clear().envs(env).exec();
    eprintln!("error: `{}`: {error}", java.display());
    ExitCode::FAILURE
}
