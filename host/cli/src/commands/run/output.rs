//! `run -o FILE`: what the cell that was asked for gave, as a file, once the run is over. Knows the history, not the run.

use std::path::PathBuf;

use polyloom_events::Event;

use crate::args::{At, Format, RunArgs, ShowArgs};
use crate::commands::{history, show};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// A cell's only output, and where it goes.
pub struct Wanted {
    project: Option<PathBuf>,
    cell: String,
    file: PathBuf,
}

impl Wanted {
    /// By what was asked for: it has to be one cell.
    pub fn of(args: &RunArgs) -> Result<Option<Self>, Failure> {
        let Some(file) = args.output.clone() else { return Ok(None) };
        let select = &args.select;
        let mut cells = select.until.iter().chain(&select.only).chain(&select.selectors);
        match (cells.next(), cells.next()) {
            (Some(cell), None) => {
                let project = args.flow.flow.clone();
                Ok(Some(Self { project, cell: cell.clone(), file }))
            }
            _ => Err(Failure::new(Exit::Usage, "`-o` writes the output of one cell")
                .hint("polyloom run … -o FILE --until CELL")),
        }
    }

    /// Writes it.
    pub fn write(self, world: &World) -> Outcome {
        let Self { project, cell, file } = self;
        let found = history::locate(world, &At { words: Vec::new(), project: project.clone() })?;
        let run = found.row.id.clone();
        let mut ports = Vec::new();
        for record in history::records(&found.history, &run)? {
            if let Event::StepFinished { cell: of, meta, .. } = record.event
                && of == cell
            {
                ports.extend(meta.artifacts.into_keys());
            }
        }
        let [port] = ports.as_slice() else {
            let message = format!("`-o` writes a cell's only output: `{cell}` has {}", ports.len());
            let hint = format!("polyloom show {run} {cell}.PORT -o {}", file.display());
            return Err(Failure::new(Exit::Usage, message).hint(hint));
        };
        let at = At { words: vec![run, format!("{cell}.{port}")], project };
        show::show(world, ShowArgs { at, output: Some(file), format: Format::Text })
    }
}
