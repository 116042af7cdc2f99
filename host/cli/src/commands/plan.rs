//! `polyloom plan` and `polyloom status`: what would run, and why; nothing is run.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use polyloom_plan::{Action, Plan, Step};
use polyloom_report::{Align, Style, Table};
use polyloom_runtime::Prepared;
use serde_json::{Value, json};

use crate::args::{FlowArgs, Format, Select};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

fn prepare(world: &World, flow: &FlowArgs, select: &Select) -> Result<Prepared, Failure> {
    let flow = Arc::new(world.flow(flow)?);
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    // Without a history there are plans, only their reasons are poorer.
    let history = world.history(&flow.root, &store).ok();
    world.prepare(&place, flow, history.as_deref(), select)
}

/// `polyloom plan`, `polyloom run --dry-run`.
pub fn plan(world: &World, flow: &FlowArgs, select: &Select, format: Format) -> Outcome {
    // Not given back piece by piece: the process ends here.
    let prepared = ManuallyDrop::new(prepare(world, flow, select)?);
    let word = |action: &Action| match action {
        Action::Cached(_) => (Style::Dim, "cached"),
        Action::Run => (Style::Warn, "run"),
        Action::Maybe => (Style::Warn, "maybe"),
        Action::Skip => (Style::Dim, "skip"),
    };
    show(world, &prepared, format, word);
    if format == Format::Text {
        world.screen.note(&counts(&prepared.plan));
    }
    Ok(Exit::Ok)
}

/// `polyloom status`.
pub fn status(world: &World, flow: &FlowArgs, format: Format) -> Outcome {
    // Not given back piece by piece: the process ends here.
    let prepared = ManuallyDrop::new(prepare(world, flow, &Select::default())?);
    let word = |action: &Action| match action {
        Action::Cached(_) => (Style::Good, "fresh"),
        Action::Run | Action::Maybe => (Style::Warn, "stale"),
        Action::Skip => (Style::Dim, "left out"),
    };
    show(world, &prepared, format, word);
    if format == Format::Text {
        let count = |test: fn(&Action) -> bool| {
            prepared.plan.all().filter(|step| test(&step.action)).count()
        };
        let fresh = count(|action| matches!(action, Action::Cached(_)));
        let stale = count(Action::may_run);
        let left = count(|action| matches!(action, Action::Skip));
        let left = if left > 0 { format!(", {left} left out") } else { String::new() };
        world.screen.note(&format!("{fresh} fresh, {stale} stale{left}\n"));
    }
    Ok(Exit::Ok)
}

fn show(
    world: &World,
    prepared: &Prepared,
    format: Format,
    word: impl Fn(&Action) -> (Style, &'static str),
) {
    let steps = || prepared.plan.all();
    let lang = |step: &Step| prepared.flow.cells[step.index.at()].executor.to_string();
    let row = |step: &Step| -> Value {
        json!({
            "cell": step.cell.as_str(),
            "lang": lang(step),
            "action": word(&step.action).1,
            "reason": step.reason.to_string(),
            "key": step.key.to_string(),
            "timeout_ms": prepared.flow.cells[step.index.at()].limits.timeout.as_millis() as u64,
        })
    };
    match format {
        Format::Json => {
            let document = json!({
                "schema": "polyloom.plan/1",
                "flow": prepared.flow.name,
                "steps": steps().map(row).collect::<Vec<_>>(),
            });
            world.screen.json(&document);
        }
        Format::Jsonl => {
            for step in steps() {
                world.screen.json_line(&row(step));
            }
        }
        Format::Text => {
            let mut table = Table::new(&[
                ("", Align::Left),
                ("cell", Align::Left),
                ("lang", Align::Left),
                ("why", Align::Left),
            ]);
            for step in steps() {
                let (style, word) = word(&step.action);
                table.styled([
                    (style, word.to_owned()),
                    (Style::Plain, step.cell.to_string()),
                    (Style::Dim, lang(step)),
                    (Style::Plain, step.reason.to_string()),
                ]);
            }
            world.screen.print(&table.render(world.screen.out, world.screen.columns));
        }
    }
}

fn counts(plan: &Plan) -> String {
    let count = |test: fn(&Action) -> bool| plan.all().filter(|s| test(&s.action)).count();
    let run = count(|action| matches!(action, Action::Run));
    let maybe = count(|action| matches!(action, Action::Maybe));
    let cached = count(|action| matches!(action, Action::Cached(_)));
    let skipped = count(|action| matches!(action, Action::Skip));
    let skipped = if skipped > 0 { format!(", {skipped} left out") } else { String::new() };
    format!("{run} to run, {maybe} perhaps, {cached} cached{skipped}\n")
}
