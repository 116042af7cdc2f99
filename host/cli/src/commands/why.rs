//! `polyloom why CELL`: the parts of a cell's key that changed since it last ran.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use polyloom_events::Action;
use polyloom_plan::{KeyParts, PartChange, Reason, diff};
use polyloom_protocol::Outcome;
use polyloom_report::{Align, Style, Table, escape_line};
use polyloom_runtime::{Place, Taken, action_of, tell_inputs};
use polyloom_store::{History, Maker, Previous};
use serde_json::json;

use super::known;
use crate::args::{FlowArgs, Format, PermissionArgs, Select};
use crate::failure::{self, Exit, Failure};
use crate::world::{World, flow_name};

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

/// A cell as it is now.
struct Now {
    flow: String,
    history: Arc<History>,
    action: Action,
    reason: String,
    key: String,
    parts: Arc<KeyParts>,
    /// What comes in from other cells, where that is known.
    taken: Taken,
    causes: Vec<String>,
}

impl Now {
    /// Without a plan, of a cell whose result stands.
    fn known(world: &World, place: &Place, flow: &FlowArgs, cell: &str) -> Option<Self> {
        let (select, permissions) = (Select::default(), PermissionArgs::default());
        let asked = known::Asked { flow, select: &select, permissions: &permissions, limits: &[] };
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
        let (reason, causes) = (Reason::UpToDate.to_string(), Vec::new());
        Some(Self { flow, history, action: Action::Cached, reason, key, parts, taken, causes })
    }

    fn planned(world: &World, place: &Place, flow: &FlowArgs, cell: &str) -> Result<Self, Failure> {
        let flow = Arc::new(world.flow(flow)?);
        let history = world.history(&flow.root, &place.store)?;
        // Not given back piece by piece: the process ends here.
        let prepared = world.prepare(place, flow, Some(&history), &Select::default())?;
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
        let causes = prepared
            .plan
            .causes(at)
            .into_iter()
            .filter(|cause| *cause != at)
            .filter_map(|cause| prepared.plan.get(cause))
            .map(|step| format!("{}: {}", step.cell, step.reason));
        Ok(Self {
            flow: flow_name(&prepared.flow.path),
            history,
            action: action_of(&step.action),
            reason: step.reason.to_string(),
            key: step.key.to_string(),
            parts: Arc::clone(&step.parts),
            taken: prepared.comes_in(cell),
            causes: causes.collect(),
        })
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

/// The command.
pub fn why(
    world: &World,
    cell: &str,
    against: Option<&str>,
    flow: &FlowArgs,
    format: Format,
) -> failure::Outcome {
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let now = match Now::known(world, &place, flow, cell) {
        Some(now) => now,
        None => Now::planned(world, &place, flow, cell)?,
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
        if !changes.is_empty() {
            let taken = polyloom_runtime::taken(&now.history, &last.run, cell);
            let taken = taken.map_err(environment)?;
            same_bytes = tell_inputs(&taken, &now.taken, "not made yet", &mut changes);
        }
    }
    let will_run = match now.action {
        Action::Cached => "is up to date",
        Action::Run => "will run",
        Action::Maybe => "may run",
        Action::Skip => "is left out",
    };
    if format != Format::Text {
        let change = |c: &PartChange| json!({ "part": c.part.to_string(), "before": c.before.as_deref(), "after": c.after.as_deref() });
        let parts = now.parts.iter().map(|(name, part)| {
            json!({ "part": name.to_string(), "digest": part.digest.to_string(), "text": &*part.text })
        });
        let document = json!({
            "schema": "polyloom.why/1",
            "cell": cell,
            "action": will_run,
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
    let mut text = format!("{} {will_run}", paint.text(Style::Strong, &escape_line(cell)));
    if now.action != Action::Cached {
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
