//! `polyloom runs export` and `runs import`: one run as one file.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use polyloom_store::{ExportError, Exported, ImportRunError};

use super::history;
use crate::args::{ExportArgs, ImportArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::whole::{self, Readers};
use crate::world::World;

/// `1 step`, `2 steps`.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `polyloom runs export`.
pub fn export(world: &World, args: ExportArgs) -> Outcome {
    let history = history::open(world, args.project)?;
    let row = history::find(&history, &args.run)?;
    let store = world.store()?;
    let artifacts = args.with_artifacts.then_some(&*store);
    let target = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.tar", row.id)));
    let exported = if target.as_os_str() == "-" {
        let mut out = BufWriter::new(io::stdout().lock());
        history.export(&row, artifacts, &mut out).map_err(|error| failed(&target, &error))?
    } else {
        let fill = |out: &mut BufWriter<File>| {
            let exported = history.export(&row, artifacts, out);
            exported.map_err(|error| failed(&target, &error))
        };
        let unwritten = |error| failed(&target, &ExportError::Write(error));
        whole::write(&target, Readers::All, fill, unwritten)?
    };
    let Exported { steps, blobs, gone } = exported;
    let with = match args.with_artifacts {
        true => format!(", {}", counted(blobs, "blob")),
        false => String::new(),
    };
    world.screen.note(&format!("exported {}: {}{with}\n", row.id, counted(steps, "step")));
    if gone > 0 {
        world.screen.note(&format!("{gone} of its outputs are no longer whole in the store\n"));
    }
    Ok(Exit::Ok)
}

fn failed(target: &Path, error: &ExportError) -> Failure {
    let failure = Failure::of(Exit::Environment, error);
    match error {
        ExportError::Running { .. } => {
            Failure { exit: Exit::Usage, ..failure }.hint("polyloom attach shows how far it is")
        }
        ExportError::Write(source) => {
            let message = format!("`{}` can't be written: {source}", target.display());
            Failure::new(Exit::Usage, message)
        }
        ExportError::Blob(_) | ExportError::Fault(_) => failure,
    }
}

/// `polyloom runs import`.
pub fn import(world: &World, args: ImportArgs) -> Outcome {
    let project = args.project.unwrap_or_else(|| PathBuf::from("."));
    let store = world.store()?;
    let history = world.history(&project, &store)?;
    let imported = match history.import(&args.file, &store) {
        Ok(imported) => imported,
        // What was to be done is done.
        Err(ImportRunError::Known { run }) => {
            world.screen.note(&format!("run {run} is here already\n"));
            world.screen.print(&format!("{run}\n"));
            return Ok(Exit::Ok);
        }
        Err(error) => {
            let exit = match &error {
                ImportRunError::Fault(_) | ImportRunError::Newer { .. } => Exit::Environment,
                _ => Exit::Usage,
            };
            return Err(Failure::of(exit, &error));
        }
    };
    let (steps, blobs) = (imported.steps, imported.blobs);
    let (steps, blobs) = (counted(steps, "step"), counted(blobs, "blob"));
    world.screen.note(&format!("imported {steps}, {blobs}\n"));
    world.screen.print(&format!("{}\n", imported.run));
    Ok(Exit::Ok)
}
