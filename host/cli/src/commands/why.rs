//! `polyloom why CELL`: the parts of a cell's key that changed since it last ran.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use polyloom_events::Action;
use polyloom_plan::{KeyParts, PartChange, Reason, Step, diff};
use polyloom_protocol::Outcome;
use polyloom_report::{Align, Style, Table, escape_line};
use polyloom_runtime::{Place, Taken, action_of, tell_inputs};
use polyloom_store::{History, Maker, Previous};
use serde_json::json;

use super::plan::{Word, Words};
use super::{inner, known};
use crate::args::{FlowArgs, Format, PermissionArgs, Select};
use crate::failure::{self, Exit, Failure};
use crate::world::{World, flow_name};

/// What is said of a cell whose result stands.
const UP_TO_DATE: &str = "is up to date";

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

/// What a name stands for.
enum Named {
    Cell(Now),
    /// A cell that is a flow: its cells are in its place.
    Flow(Vec<Inner>),
}

/// A cell of a flow within the flow.
struct Inner {
    cell: String,
    says: &'static str,
    reason: String,
}

/// A cell as it is now.
struct Now {
    flow: String,
    history: Arc<History>,
    /// What becomes of it, such as `will run`.
    says: &'static str,
    reason: String,
    key: String,
    parts: Arc<KeyParts>,
    /// What comes in from other cells, where that is known.
    taken: Taken,
    causes: Vec<String>,
}

impl Now {
    /// Without a plan, of a cell whose result stands.
    fn known(
        world: &World,
        place: &Place,
        flow: &FlowArgs,
        permissions: &PermissionArgs,
        cell: &str,
    ) -> Option<Self> {
        let select = Select::default();
        let asked = known::Asked { flow, select: &select, permissions, limits: &[] };
        let unchanged = known::find(world, place, &asked.key(world)?)?;
        let steps = unchanged.steps(&place.store)?;
        let step = steps.iter().find(|step| step.cell.as_str() == cell)?;
        let history = world.history(unchanged.root(), &place.store).ok()?;
        let flow = flow_name(unchanged.path());
        let key = step.key.to_string();
        // A key has its parts from whatever had it.
        let previous = history.last(&flow, &[cell]).ok()?.remove(cell);
        let previous = previous.filter(|last| last.key == key)?;
        let parts = Arc::new(serde_json::from_str(&previous.parts).ok()?);
        let taken = polyloom_runtime::taken(&history, &previous.run, cell).ok()?;
        let (says, reason) = (UP_TO_DATE, Reason::UpToDate.to_string());
        Some(Self { flow, history, says, reason, key, parts, taken, causes: Vec::new() })
    }

    fn planned(
        world: &World,
        place: &Place,
        flow: &FlowArgs,
        permissions: &PermissionArgs,
        cell: &str,
    ) -> Result<Named, Failure> {
        let flow = Arc::new(world.flow(flow)?);
        let history = world.history(&flow.root, &place.store)?;
        // Not given back piece by piece: the process ends here.
        let prepared = world.prepare(place, flow, Some(&history), &Select::default())?;
        let mut prepared = ManuallyDrop::new(prepared);
        let folder = Some(history.place().folder());
        let words = Words::new(world, place, &mut prepared, permissions, folder)?;
        let says = |step: &Step| {
            let declared = &prepared.flow.cells[step.index.at()].declared;
            match (words.of(declared), action_of(&step.action)) {
                (Word::Denied, _) => "will be denied",
                (Word::Asked, _) => "will be asked about",
                (Word::Granted, Action::Cached) => UP_TO_DATE,
                (Word::Granted, Action::Run) => "will run",
                (Word::Granted, Action::Maybe) => "may run",
                (Word::Granted, Action::Skip) => "is left out",
            }
        };
        let Some(at) = prepared.plan.find(cell) else {
            let within = prepared.plan.all().filter(|it| inner::is_in(it.cell.as_str(), cell));
            let within: Vec<_> = within
                .map(|step| Inner {
                    cell: step.cell.to_string(),
                    says: says(step),
                    reason: step.reason.to_string(),
                })
                .collect();
            if !within.is_empty() {
                return Ok(Named::Flow(within));
            }
            let names = prepared.flow.cells.iter().map(|cell| cell.id.as_str());
            let near = polyloom_plan::nearest(cell, names.clone());
            let shown = escape_line(cell).into_owned();
            let failure = Failure::new(Exit::Usage, format!("there is no cell `{shown}`"));
            let (own, port) = inner::cell_and_port(cell);
            let is_own = |name: &str| name == own || inner::is_in(name, own);
            return Err(match near {
                // It is that of the cell, whichever output is meant.
                _ if port.is_some() && names.clone().any(is_own) => failure.hint(format!(
                    "`polyloom why {own}`; `polyloom lineage {shown}` traces an output"
                )),
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint("`polyloom status` lists the cells"),
            });
        };
        let Some(step) = prepared.plan.get(at) else { unreachable!("it was found") };
        let causes = prepared
            .plan
            .causes(at)
            .into_iter()
            .filter(|cause| *cause != at)
            .filter_map(|cause| prepared.plan.get(cause))
            .map(|step| format!("{}: {}", step.cell, step.reason));
        Ok(Named::Cell(Self {
            flow: flow_name(&prepared.flow.path),
            history,
            says: says(step),
            reason: step.reason.to_string(),
            key: step.key.to_string(),
            parts: Arc::clone(&step.parts),
            taken: prepared.comes_in(cell),
            causes: causes.collect(),
        }))
    }
}

/// When the cell was last as it is compared with, and when it ran for that.
fn when(last: &Previous, ran: Option<&Maker>, against: bool) -> String {
    if against {
        return format!("compared with {} ({})\n", last.run, last.outcome);
    }
    match ran {
        // Without the run itself all that is known is how it ended.
        None => {
            format!("last known from {} ({}), which is no longer kept\n", last.run, last.outcome)
        }
        Some(Maker { run: Some(run), by, step, .. }) if *by != step.cell => {
            format!("cached in {}; `{by}` made its result in {run}, of the same inputs\n", last.run)
        }
        Some(Maker { run: Some(run), step, .. }) if *run == last.run => {
            format!("last ran in {run} ({})\n", step.outcome)
        }
        Some(Maker { run: Some(run), step, .. }) => {
            format!("last ran in {run} ({}), cached in {}\n", step.outcome, last.run)
        }
        Some(Maker { run: None, .. }) => {
            format!("cached in {}; no run that is kept here made its result\n", last.run)
        }
    }
}

/// What becomes of each cell of one that is a flow.
fn of_flow(world: &World, flow: &str, cells: &[Inner], format: Format) -> Exit {
    if format != Format::Text {
        let cell = |it: &Inner| json!({ "cell": it.cell, "action": it.says, "reason": it.reason });
        let cells: Vec<_> = cells.iter().map(cell).collect();
        world.screen.json(&json!({ "schema": "polyloom.why/1", "flow": flow, "cells": cells }));
        return Exit::Ok;
    }
    let paint = world.screen.out;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for Inner { cell, says, reason } in cells {
        let reason = if *says == UP_TO_DATE { "" } else { reason };
        table.row([cell, *says, reason]);
    }
    let head = format!("{} is a flow; its cells:\n", paint.text(Style::Strong, &escape_line(flow)));
    world.screen.print(&(head + &table.render(paint, world.screen.columns)));
    if let [first, ..] = cells {
        let first = escape_line(&first.cell);
        world.screen.note(&format!("hint: `polyloom why {first}` says what changed\n"));
    }
    Exit::Ok
}

/// The command.
pub fn why(
    world: &World,
    cell: &str,
    against: Option<&str>,
    flow: &FlowArgs,
    permissions: &PermissionArgs,
    format: Format,
) -> failure::Outcome {
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let now = match Now::known(world, &place, flow, permissions, cell) {
        Some(now) => now,
        None => match Now::planned(world, &place, flow, permissions, cell)? {
            Named::Cell(now) => now,
            Named::Flow(cells) => return Ok(of_flow(world, cell, &cells, format)),
        },
    };
    let environment = |error| Failure::of(Exit::Environment, &error);
    let last = match against {
        Some(run) => Some(in_run(&now.history, run, cell)?),
        None => now.history.last(&now.flow, &[cell]).map_err(environment)?.remove(cell),
    };
    let last = last.as_ref();
    let ran = match last {
        Some(last) => now.history.maker(&last.run, cell).map_err(environment)?,
        None => None,
    };
    let ran = ran.as_ref();
    let before = last.and_then(|last| serde_json::from_str::<KeyParts>(&last.parts).ok());
    let mut changes = Vec::new();
    let mut same_bytes = false;
    if let (Some(last), Some(before)) = (last, &before) {
        changes = diff(before, &now.parts);
        polyloom_runtime::tell_libraries(&store, before, &now.parts, &mut changes);
        polyloom_runtime::tell_programs(&store, before, &now.parts, &mut changes);
        if !changes.is_empty() {
            let taken = polyloom_runtime::taken(&now.history, &last.run, cell);
            let taken = taken.map_err(environment)?;
            same_bytes = tell_inputs(&taken, &now.taken, "not known yet", &mut changes);
        }
    }
    if format != Format::Text {
        let change = |c: &PartChange| json!({ "part": c.part.to_string(), "before": c.before.as_deref(), "after": c.after.as_deref() });
        let parts = now.parts.iter().map(|(name, part)| {
            json!({ "part": name.to_string(), "digest": part.digest.to_string(), "text": &*part.text })
        });
        let document = json!({
            "schema": "polyloom.why/1",
            "cell": cell,
            "action": now.says,
            "reason": now.reason,
            "key": now.key,
            "last_run": ran.map(|made| json!({ "run": made.run, "outcome": made.step.outcome, "key": made.step.key })),
            "compared_with": last.map(|last| json!({ "run": last.run, "outcome": last.outcome, "key": last.key })),
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
            "causes": now.causes,
            "parts": parts.collect::<Vec<_>>(),
        });
        world.screen.json(&document);
        return Ok(Exit::Ok);
    }
    let paint = world.screen.out;
    let mut text = format!("{} {}", paint.text(Style::Strong, &escape_line(cell)), now.says);
    if now.says != UP_TO_DATE {
        text.push_str(&format!(": {}", escape_line(&now.reason)));
    }
    text.push('\n');
    for cause in &now.causes {
        text.push_str(&format!("  because {}\n", escape_line(cause)));
    }
    match last {
        None => text.push_str("it has not run in this project\n"),
        Some(last) => {
            text.push_str(&when(last, ran, against.is_some()));
            if against.is_none() && now.says == UP_TO_DATE && last.key != now.key {
                text.push_str(
                    "it has a result of what it is now, made before that or by another cell\n",
                );
            }
            if before.is_none() {
                text.push_str("the parts of its key then can't be read by this program\n");
            } else if changes.is_empty() {
                text.push_str(match (same_bytes, against) {
                    (true, _) => "what it reads was made of something else, with the same bytes\n",
                    (false, Some(_)) => "no part of its key is different\n",
                    (false, None) => "no part of its key changed since then\n",
                });
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
                    let now = shown(&change.after, Some(&*now.parts));
                    table.row([change.part.to_string(), then, now]);
                }
                text.push_str(&table.render(paint, world.screen.columns));
            }
        }
    }
    if world.screen.verbosity > 0 {
        let mut table = Table::new(&[("part", Align::Left), ("value", Align::Left)]);
        for (name, part) in now.parts.iter() {
            table.row([name.to_string(), part.text.to_string()]);
        }
        text.push_str("\nall parts of its key:\n");
        text.push_str(&table.render(paint, world.screen.columns));
    }
    world.screen.print(&text);
    Ok(Exit::Ok)
}
