//! `polyloom check --purity`: runs what says that it is pure twice, and compares.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use polyloom_load::{Code, Problem};
use polyloom_model::{Flow, Role};
use polyloom_report::escape_line;
use serde_json::Value as Json;

use crate::failure::{Exit, Failure};
use crate::world::World;

/// Digests of outputs by cell.
type Results = BTreeMap<String, BTreeMap<String, String>>;

/// Runs the pure cells of a flow twice. What gave something else the second time is a problem.
pub fn purity(world: &World, path: &Path, flow: &Flow) -> Result<Vec<Problem>, Failure> {
    let mut cells = Vec::new();
    pure(flow, "", &mut cells);
    if cells.is_empty() {
        world.screen.note("no cell of it is a function with the tag `pure`\n");
        return Ok(Vec::new());
    }
    let (Some(first), Some(second)) = (once(path, &cells)?, once(path, &cells)?) else {
        let message = "a run of the pure cells did not end well: nothing is compared";
        return Ok(vec![Problem::error(Code::Impure, message).help("it has said why")]);
    };
    let mut impure = Vec::new();
    for (cell, outputs) in &first {
        let again = second.get(cell);
        let differs = outputs.iter().filter(|(port, digest)| {
            again.and_then(|it| it.get(*port)).is_none_or(|other| other != *digest)
        });
        let ports: Vec<&str> = differs.map(|(port, _)| port.as_str()).collect();
        if !ports.is_empty() {
            let ports = ports.iter().map(|port| format!("`{}`", escape_line(port)));
            let ports = ports.collect::<Vec<_>>().join(", ");
            let cell = escape_line(cell);
            let message = format!(
                "the cell `{cell}` is tagged `pure`, and gave another {ports} when it ran again"
            );
            impure.push(Problem::error(Code::Impure, message).help(
                "take the tag away, or what differs from run to run: time, randomness without `seed`, the order of sets",
            ));
        }
    }
    let noun = if first.len() == 1 { "pure cell" } else { "pure cells" };
    world.screen.note(&format!(
        "{} {noun} ran twice, {} gave something else\n",
        first.len(),
        impure.len()
    ));
    Ok(impure)
}

fn pure(flow: &Flow, within: &str, cells: &mut Vec<String>) {
    for cell in &flow.cells {
        let id = format!("{within}{}", cell.id);
        if let Role::Flow(sub) = &cell.role {
            pure(&sub.flow, &format!("{id}/"), cells);
        }
        if cell.call.as_ref().is_some_and(|call| call.pure) {
            cells.push(id);
        }
    }
}

/// One run of them, nothing where it did not end well, by this very program: a run is a process of its own, as a person would start it.
fn once(path: &Path, cells: &[String]) -> Result<Option<Results>, Failure> {
    let environment = |why: String| Failure::new(Exit::Environment, why);
    let own = std::env::current_exe().map_err(|error| environment(error.to_string()))?;
    let run = Command::new(own)
        .arg("run")
        .arg(path)
        .args(cells)
        .args(["--force", "--format", "json", "--progress", "plain", "-q"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| environment(format!("the flow could not be run: {error}")))?;
    let document: Json = serde_json::from_slice(&run.stdout).unwrap_or_default();
    if !run.status.success() {
        return Ok(None);
    }
    let mut results = Results::new();
    for cell in document["cells"].as_array().into_iter().flatten() {
        let Some(id) = cell["id"].as_str() else { continue };
        let declared = cells.iter().any(|it| id == it || id.starts_with(&format!("{it}[")));
        if !declared || cell["outcome"] != "ok" {
            continue;
        }
        let outputs = cell["outputs"].as_object().into_iter().flatten();
        let digest =
            |(port, it): (&String, &Json)| Some((port.clone(), it["digest"].as_str()?.to_owned()));
        results.insert(id.to_owned(), outputs.filter_map(digest).collect());
    }
    Ok(Some(results))
}
