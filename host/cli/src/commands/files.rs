//! `new`, `fmt`, `schema`, `completion`, `man`: commands that write or print files and need no store.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::args::{Cli, SchemaOf};
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::Screen;

pub fn new(_: &Screen, _: &str) -> Outcome { Ok(Exit::Ok) }
pub fn fmt(_: &Screen, _: &[PathBuf], _: bool) -> Outcome { Ok(Exit::Ok) }
pub fn schema(_: &Screen, _: SchemaOf) -> Outcome { Ok(Exit::Ok) }
/// `polyloom completion`.
pub fn completion(screen: &Screen, shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "polyloom", &mut text);
    screen.print(&String::from_utf8_lossy(&text));
    Ok(Exit::Ok)
}

/// `polyloom man`.
pub fn man(dir: &Path) -> Outcome {
    let made = std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    made.map_err(|error| Failure::of(Exit::Environment, &error))?;
    Ok(Exit::Ok)
}
