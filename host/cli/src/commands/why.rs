//! `polyloom why CELL`: the parts of a cell's key that changed since it last ran.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use polyloom_plan::{Action, KeyParts, PartChange, diff};
use polyloom_protocol::Outcome;
use polyloom_report::{Align, Style, Table, escape_line};
use polyloom_store::{History, Previous};
use serde_json::json;

use crate::args::{FlowArgs, Format, Select};
use crate::failure::{self, Exit, Failure};
use crate::world::World;

/// The cell as it was in a run.
fn in_run(history: &History, run: &str, cell: &str) -> Result<Previous, Failure> {
    let row = super::history::find(history, run)?;
    let environment = |error| Failure::of(Exit::Environment, &error);
    if let Some(step) = history.step(&row.id, cell).map_err(environment)? {
        let outcome = History::outcome_of(&step);
        return Ok(Previous { run: row.id, outcome, key: step.key, parts: step.parts });
    }
    if let Some(kept) = history.kept_step(&row.id, cell).map_err(environment)? {
        let outcome = Outcome::Cached;
        return Ok(Previous { run: row.id, outcome, key: kept.key, parts: kept.parts });
    }
    let message = format!("run `{}` has no finished cell `{}`", row.id, cell.escape_debug());
    Err(Failure::new(Exit::Usage, message).hint(format!("polyloom show {}", row.id)))
}

/// The command.
pub fn why(
    world: &World,
    cell: &str,
    against: Option<&str>,
    flow: &FlowArgs,
    format: Format,
) -> failure::Outcome {
    let flow = Arc::new(world.flow(flow)?);
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let history = world.history(&flow.root, &store)?;
    // Not given back piece by piece: the process ends here.
    let prepared = world.prepare(&place, flow, Some(&history), &Select::default())?;
    let prepared = ManuallyDrop::new(prepared);
    let Some(at) = prepared.plan.find(cell) else {
        let names = prepared.flow.cells.iter().map(|cell| cell.id.as_str());
        let near = polyloom_plan::nearest(cell, names);
        let shown = escape_line(cell).into_owned();
        let failure = Failure::new(Exit::Usage, format!("there is no cell `{shown}`"));
        return Err(match near {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure,
        });
    };
    let Some(step) = prepared.plan.get(at) else { unreachable!("it was found") };
    let name = crate::world::flow_name(&prepared.flow.path);
    let environment = |error| Failure::of(Exit::Environment, &error);
    let last = match against {
        Some(run) => Some(in_run(&history, run, cell)?),
        None => history.previous(&name, cell).map_err(environment)?,
    };
    let last = last.as_ref();
    let before = last.and_then(|last| serde_json::from_str::<KeyParts>(&last.parts).ok());
    let changes = before.as_ref().map(|before| {
        let mut changes = diff(before, &step.parts);
        polyloom_runtime::tell_libraries(&store, before, &step.parts, &mut changes);
        changes
    });
    let changes = changes.unwrap_or_default();
    let causes: Vec<String> = prepared
        .plan
        .causes(at)
        .into_iter()
        .filter(|cause| *cause != at)
        .filter_map(|cause| prepared.plan.get(cause))
        .map(|step| format!("{}: {}", step.cell, step.reason))
        .collect();
    let will_run = match step.action {
        Action::Cached(_) => "is up to date",
        Action::Run => "will run",
        Action::Maybe => "may run",
        Action::Skip => "is left out",
    };
    if format != Format::Text {
        let change = |c: &PartChange| json!({ "part": c.part.to_string(), "before": c.before.as_deref(), "after": c.after.as_deref() });
        let parts = step.parts.iter().map(|(name, part)| {
            json!({ "part": name.to_string(), "digest": part.digest.to_string(), "text": &*part.text })
        });
        let document = json!({
            "schema": "polyloom.why/1",
            "cell": cell,
            "action": will_run,
            "reason": step.reason.to_string(),
            "key": step.key.to_string(),
            "last_run": last.map(|last| json!({ "run": last.run, "outcome": last.outcome, "key": last.key })),
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
            "causes": causes,
            "parts": parts.collect::<Vec<_>>(),
        });
        world.screen.json(&document);
        return Ok(Exit::Ok);
    }
    let paint = world.screen.out;
    let mut text = format!("{} {will_run}", paint.text(Style::Strong, &escape_line(cell)));
    if !matches!(step.action, Action::Cached(_)) {
        text.push_str(&format!(": {}", escape_line(&step.reason.to_string())));
    }
    text.push('\n');
    for cause in causes {
        text.push_str(&format!("  because {}\n", escape_line(&cause)));
    }
    match last {
        None => text.push_str("it has not run in this project\n"),
        Some(last) => {
            let word = if against.is_some() { "compared with" } else { "last ran in" };
            text.push_str(&format!("{word} {} ({})\n", last.run, last.outcome));
            if before.is_none() {
                text.push_str("the parts of its key then can't be read by this program\n");
            } else if changes.is_empty() {
                let word = if against.is_some() { "is different" } else { "changed since then" };
                text.push_str(&format!("no part of its key {word}\n"));
            } else {
                let mut table = Table::new(&[
                    ("part", Align::Left),
                    ("then", Align::Left),
                    ("now", Align::Left),
                ]);
                for change in &changes {
                    // Words that stayed the same over a digest that did not say nothing: then the digests are shown.
                    let same = change.before.is_some() && change.before == change.after;
                    let shown = |text: &Option<Arc<str>>, parts: Option<&KeyParts>| match text {
                        None => "-".to_owned(),
                        Some(text) => match parts.and_then(|parts| parts.get(&change.part)) {
                            Some(part) if same => format!("{text} ({})", part.digest.short()),
                            _ => text.to_string(),
                        },
                    };
                    let then = shown(&change.before, before.as_ref());
                    let now = shown(&change.after, Some(&*step.parts));
                    table.row([change.part.to_string(), then, now]);
                }
                text.push_str(&table.render(paint, world.screen.columns));
            }
        }
    }
    if world.screen.verbosity > 0 {
        let mut table = Table::new(&[("part", Align::Left), ("value", Align::Left)]);
        for (name, part) in step.parts.iter() {
            table.row([name.to_string(), part.text.to_string()]);
        }
        text.push_str("\nall parts of its key:\n");
        text.push_str(&table.render(paint, world.screen.columns));
    }
    world.screen.print(&text);
    Ok(Exit::Ok)
}
