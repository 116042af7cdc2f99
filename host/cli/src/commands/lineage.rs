//! `polyloom lineage ARTIFACT`: what an output was made of, and what was made of it, across runs.

mod draw;
mod graph;

use std::path::Path;

use polyloom_model::Digest;
use polyloom_store::{History, OutputRow, RunRow};
use serde_json::json;

use self::graph::{Files, Lineage, Step, Way};
use super::history;
use super::inner;
use crate::args::{LineageArgs, LineageFormat};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// The least of a digest that names one: fewer digits are rather a mistyped cell.
const LEAST: usize = 4;

/// What was asked for.
struct Artifact {
    digest: String,
    /// Where it was met: runs and cells with the output's row, newest first. Empty for a file that was read.
    places: Vec<Place>,
    files: Files,
}

struct Place {
    run: String,
    cell: String,
    flow: String,
    output: OutputRow,
}

/// The command.
pub fn lineage(world: &World, args: &LineageArgs) -> Outcome {
    let history = history::open(world, args.project.clone())?;
    let project = history::project_of(args.project.clone())?;
    let artifact = find(world, &project, &history, &args.words)?;
    let mut lineage = Lineage::new(&history);
    let environment = |error| Failure::of(Exit::Environment, &error);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    if !args.down {
        for place in &artifact.places {
            up.extend(lineage.up(&place.run, &place.cell).map_err(environment)?);
        }
        up.sort_unstable();
        up.dedup();
    }
    if !args.up {
        let sources: Vec<_> = artifact
            .places
            .iter()
            .map(|place| (place.flow.clone(), format!("{}.{}", place.cell, place.output.port)))
            .collect();
        down = lineage.down(&artifact.digest, &sources, artifact.files).map_err(environment)?;
    }
    let head = || {
        let place = artifact.places.first();
        json!({
            "digest": artifact.digest,
            "cell": place.map(|place| &place.cell), "port": place.map(|place| &place.output.port),
            "run": place.map(|place| &place.run), "type": place.map(|place| &place.output.ty),
            "size": place.map(|place| place.output.size),
        })
    };
    match args.format {
        LineageFormat::Json => {
            let steps = |way: Way| -> Vec<_> {
                let steps = lineage.steps.iter().filter(|step| step.way == way);
                steps.map(Step::json).collect()
            };
            let document = json!({
                "schema": "polyloom.lineage/1", "artifact": head(),
                "up": (!args.down).then(|| steps(Way::Up)),
                "down": (!args.up).then(|| steps(Way::Down)),
            });
            world.screen.json(&document);
        }
        LineageFormat::Mermaid => world.screen.print(&draw::mermaid(&lineage)),
        LineageFormat::Dot => world.screen.print(&draw::dot(&lineage)),
        LineageFormat::Text => {
            let drawing = draw::Drawing {
                lineage: &lineage,
                paint: world.screen.out,
                depth: args.depth.max(1),
            };
            let mut text = drawing.head(&artifact);
            if !args.down {
                text.push_str(&drawing.up(&up));
            }
            if !args.up {
                text.push_str(&drawing.down(&down));
            }
            world.screen.print(&text);
        }
    }
    Ok(Exit::Ok)
}

fn find(
    world: &World,
    project: &Path,
    history: &History,
    words: &[String],
) -> Result<Artifact, Failure> {
    let (run, word) = match words {
        [run, word] => (Some(run.as_str()), word.as_str()),
        [word] => (None, word.as_str()),
        _ => (None, ""),
    };
    match word.rsplit_once('.') {
        Some((cell, port)) => {
            let row = history::find(history, run.unwrap_or("latest"))?;
            let flow = row.flow.clone();
            let found = of_port(history, row.clone(), cell, port, run.is_some());
            // An output of a cell that is a flow is one of that flow's cells.
            let Err(failure) = found else { return found };
            match inner::inner(world, project, &flow, cell, port) {
                Some((cell, port)) => of_port(history, row, &cell, &port, run.is_some()),
                None => Err(failure),
            }
        }
        None if run.is_none() => of_digest(history, word),
        None => {
            let message = format!("`{}` is no output of a cell", word.escape_debug());
            Err(Failure::new(Exit::Usage, message).hint("polyloom lineage RUN CELL.PORT"))
        }
    }
}

fn of_port(
    history: &History,
    row: RunRow,
    cell: &str,
    port: &str,
    named: bool,
) -> Result<Artifact, Failure> {
    let environment = |error| Failure::of(Exit::Environment, &error);
    let outputs = |run: &str| -> Result<Option<Vec<OutputRow>>, Failure> {
        if let Some(step) = history.step(run, cell).map_err(environment)? {
            return Ok(Some(step.outputs));
        }
        let kept = history.kept_step(run, cell).map_err(environment)?;
        Ok(kept.map(|kept| kept.outputs))
    };
    let mut run = row.id;
    let mut found = outputs(&run)?;
    // A run of some cells only: the last one that had this cell is meant.
    if found.is_none()
        && !named
        && let Some(last) = history.last(&row.flow, &[cell]).map_err(environment)?.remove(cell)
    {
        found = outputs(&last.run)?;
        run = last.run;
    }
    let Some(outputs) = found else {
        let message = format!("run `{run}` has no finished cell `{}`", cell.escape_debug());
        return Err(Failure::new(Exit::Usage, message).hint(format!("polyloom show {run}")));
    };
    let names: Vec<_> = outputs.iter().map(|output| output.port.clone()).collect();
    let Some(output) = outputs.into_iter().find(|output| output.port == port) else {
        let port = port.escape_debug();
        let message = format!("cell `{cell}` has no output `{port}` in run `{run}`");
        let hint = if names.is_empty() {
            "it has no outputs".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    };
    let digest = output.digest.clone();
    let place = Place { run, cell: cell.to_owned(), flow: row.flow, output };
    Ok(Artifact { digest, places: vec![place], files: Files::Not })
}

fn of_digest(history: &History, word: &str) -> Result<Artifact, Failure> {
    let environment = |error| Failure::of(Exit::Environment, &error);
    let hex = word.strip_prefix("b3:").unwrap_or(word);
    let whole = Digest::of(b"").hex().len();
    let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !digits || !(LEAST..=whole).contains(&hex.len()) {
        let word: String = word.chars().take(80).flat_map(char::escape_debug).collect();
        let message = format!("`{word}` is neither CELL.PORT nor the beginning of a digest");
        let hint = "digests have hex digits, at least four: `b3:1f0c`; `polyloom show CELL` lists the outputs of a cell";
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    let mut found = history.digests(&format!("b3:{hex}"), 6).map_err(environment)?;
    let digest = match (found.pop(), found.is_empty()) {
        (Some(digest), true) => digest,
        (Some(last), false) => {
            found.push(last);
            let message =
                format!("`{word}` is the beginning of several digests: {}", found.join(", "));
            return Err(Failure::new(Exit::Usage, message));
        }
        (None, _) => {
            let message = format!("no digest that begins with `{word}` is in the history");
            return Err(Failure::new(Exit::Usage, message).hint("polyloom show CELL"));
        }
    };
    let mut places: Vec<Place> = Vec::new();
    for made in history.made(&digest).map_err(environment)? {
        let same = |place: &Place| {
            place.cell == made.cell
                && place.output.port == made.output.port
                && place.flow == made.flow
        };
        // Of one cell's, the newest says all.
        if !places.iter().any(same) {
            let (run, cell, flow, output) = (made.run, made.cell, made.flow, made.output);
            places.push(Place { run, cell, flow, output });
        }
    }
    Ok(Artifact { digest, places, files: Files::Too })
}
