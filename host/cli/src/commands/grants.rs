//! `polyloom grants`: what was granted to cells for good.

use std::path::Path;

use polyloom_report::{Align, Style, Table};
use serde_json::json;

use super::history;
use crate::args::Format;
use crate::failure::{Exit, Failure, Outcome};
use crate::permission::GrantFile;
use crate::world::World;

/// The command.
pub fn grants(world: &World, project: Option<&Path>, revoke: &[String], format: Format) -> Outcome {
    let environment = |why: String| Failure::new(Exit::Environment, why);
    let folder = history::folder(world, project)?;
    if !revoke.is_empty() {
        let wanted = |cell: &str| revoke.iter().any(|name| name == "*" || name == cell);
        let gone = match &folder {
            Some(folder) => {
                GrantFile::revoke(folder, |entry| wanted(&entry.cell)).map_err(environment)?
            }
            None => 0,
        };
        if gone == 0 {
            let message = "nothing was granted for good to a cell of that name";
            return Err(Failure::new(Exit::Nothing, message).hint("polyloom grants"));
        }
        let noun = if gone == 1 { "grant" } else { "grants" };
        world.screen.note(&format!("{gone} {noun} taken back\n"));
        return Ok(Exit::Ok);
    }
    let file = match &folder {
        Some(folder) => GrantFile::open(folder).map_err(environment)?,
        None => GrantFile::default(),
    };
    if format != Format::Text {
        let document = json!({ "schema": "polyloom.grants/1", "grants": file.entries() });
        world.screen.json(&document);
        return Ok(Exit::Ok);
    }
    if file.entries().is_empty() {
        world.screen.note("nothing was granted for good\n");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        ("cell", Align::Left),
        ("lang", Align::Left),
        ("granted", Align::Left),
        ("code", Align::Left),
    ]);
    for entry in file.entries() {
        table.styled([
            (Style::Strong, entry.cell.clone()),
            (Style::Dim, entry.lang.clone()),
            (Style::Plain, entry.asks.join(", ")),
            (Style::Dim, entry.digest.chars().take(8).collect()),
        ]);
    }
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
    Ok(Exit::Ok)
}
