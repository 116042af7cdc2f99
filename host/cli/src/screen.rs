//! Where text goes: stdout is for data, stderr for people. The only file that prints.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use polyloom_report::{Paint, escape_line, json_text};
use serde::Serialize;

use crate::args::{Global, When};

/// Whether data was lost on its way to stdout.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Whether something that was printed could not be written, for another reason than that nobody reads it.
pub fn unwritten() -> bool {
    UNWRITTEN.load(Ordering::Relaxed)
}

/// Stderr as the place where people are told: what can't be told there changes nothing.
pub struct People;

impl Write for People {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The two streams and what they can show.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Colour on stdout.
    pub out: Paint,
    /// Colour on stderr.
    pub err: Paint,
    /// Whether stderr is a terminal.
    pub err_tty: bool,
    /// Columns of the terminal, where there is one.
    pub columns: Option<usize>,
    /// -1 and below: quiet; 1 and above: verbose.
    pub verbosity: i32,
}

/// A path in a sentence: nothing in it steers a terminal.
pub fn shown(path: &Path) -> String {
    escape_line(&path.display().to_string()).into_owned()
}

impl Screen {
    /// As flags, environment and streams say. `NO_COLOR` wins over `auto`, a flag wins over it.
    pub fn new(global: &Global) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = |tty: bool| match global.color {
            When::Auto => tty && !dumb && !set("NO_COLOR"),
            When::Always => true,
            When::Never => false,
        };
        let (out_tty, err_tty) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let given = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let asked = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            out: Paint { color: color(out_tty) },
            err: Paint { color: color(err_tty) },
            err_tty: err_tty && !dumb,
            columns: given.or(asked).filter(|columns| *columns >= 20),
            verbosity: i32::from(global.verbose) - i32::from(global.quiet),
        }
    }

    /// Prints data. A reader that has gone away (`| head`) is no error; see [`unwritten`] for others.
    pub fn print(&self, text: &str) {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            UNWRITTEN.store(true, Ordering::Relaxed);
        }
    }

    /// Prints a document as JSON, indented.
    pub fn json(&self, document: &impl Serialize) {
        let text = serde_json::to_string_pretty(document).unwrap_or_default();
        self.print(&(json_text(&text).into_owned() + "\n"));
    }

    /// Prints a document as JSON on one line.
    pub fn json_line(&self, document: &impl Serialize) {
        let text = serde_json::to_string(document).unwrap_or_default();
        self.print(&(json_text(&text).into_owned() + "\n"));
    }

    /// Tells a person.
    pub fn tell(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Tells a person, unless it is to be quiet.
    pub fn note(&self, text: &str) {
        if self.verbosity >= 0 {
            self.tell(text);
        }
    }
}
