//! `polyloom plan` and `polyloom status`: what would run, and why; nothing is run.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use polyloom_events::Action;
use polyloom_model::Digest;
use polyloom_plan::Reason;
use polyloom_report::{Align, Style, Table};
use polyloom_runtime::{Place, Prepared, action_of};
use serde_json::{Value, json};

use super::known;
use crate::args::{FlowArgs, Format, PermissionArgs, Select};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// What is told of a plan.
struct Told {
    flow: String,
    steps: Vec<Step>,
}

struct Step {
    cell: String,
    lang: String,
    action: Action,
    reason: String,
    key: String,
    timeout_ms: u64,
}

impl Told {
    /// Of what stands, without a plan; else of a plan.
    fn new(world: &World, flow: &FlowArgs, select: &Select) -> Result<Self, Failure> {
        let store = world.store()?;
        let place = world.place(Arc::clone(&store))?;
        let permissions = PermissionArgs::default();
        let asked = known::Asked { flow, select, permissions: &permissions, limits: &[] };
        let key = asked.key(world);
        if let Some(told) = key.as_ref().and_then(|key| Self::known(world, &place, key)) {
            return Ok(told);
        }
        let loaded = world.read(flow);
        let warned = !loaded.report.is_empty();
        let flow = Arc::new(world.told(flow, loaded)?);
        // Without a history there are plans, only their reasons are poorer.
        let history = world.history(&flow.root, &store).ok();
        // Not given back piece by piece: the process ends here.
        let prepared = world.prepare(&place, flow, history.as_deref(), select)?;
        let prepared = ManuallyDrop::new(prepared);
        // Told once more, it need not be planned.
        let fresh = asked.fresh(world, &place, &prepared).filter(|_| !warned);
        if let Some((fresh, key)) = fresh.zip(key)
            && let Err(error) = fresh.keep(&store, &key, None)
        {
            tracing::debug!(%error, "what the plan rests on could not be kept");
        }
        Ok(Self::planned(&prepared))
    }

    fn known(world: &World, place: &Place, key: &Digest) -> Option<Self> {
        let unchanged = known::find(world, place, key)?;
        let steps = unchanged.steps(&place.store)?.into_iter().map(|step| Step {
            cell: step.cell.to_string(),
            lang: step.executor.to_string(),
            action: Action::Cached,
            reason: Reason::UpToDate.to_string(),
            key: step.key.to_string(),
            timeout_ms: step.timeout_ms,
        });
        Some(Self { flow: unchanged.flow().to_owned(), steps: steps.collect() })
    }

    fn planned(prepared: &Prepared) -> Self {
        let steps = prepared.plan.all().map(|step| {
            let cell = &prepared.flow.cells[step.index.at()];
            Step {
                cell: step.cell.to_string(),
                lang: cell.executor.to_string(),
                action: action_of(&step.action),
                reason: step.reason.to_string(),
                key: step.key.to_string(),
                timeout_ms: u64::try_from(cell.limits.timeout.as_millis()).unwrap_or(u64::MAX),
            }
        });
        Self { flow: prepared.flow.name.clone(), steps: steps.collect() }
    }

    fn count(&self, actions: &[Action]) -> usize {
        self.steps.iter().filter(|step| actions.contains(&step.action)).count()
    }

    fn show(&self, world: &World, format: Format, word: impl Fn(Action) -> (Style, &'static str)) {
        let row = |step: &Step| -> Value {
            json!({
                "cell": step.cell,
                "lang": step.lang,
                "action": word(step.action).1,
                "reason": step.reason,
                "key": step.key,
                "timeout_ms": step.timeout_ms,
            })
        };
        match format {
            Format::Json => {
                let document = json!({
                    "schema": "polyloom.plan/1",
                    "flow": self.flow,
                    "steps": self.steps.iter().map(row).collect::<Vec<_>>(),
                });
                world.screen.json(&document);
            }
            Format::Jsonl => {
                for step in &self.steps {
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
                for step in &self.steps {
                    let (style, word) = word(step.action);
                    table.styled([
                        (style, word.to_owned()),
                        (Style::Plain, step.cell.clone()),
                        (Style::Dim, step.lang.clone()),
                        (Style::Plain, step.reason.clone()),
                    ]);
                }
                world.screen.print(&table.render(world.screen.out, world.screen.columns));
            }
        }
    }
}

/// `polyloom plan`, `polyloom run --dry-run`.
pub fn plan(world: &World, flow: &FlowArgs, select: &Select, format: Format) -> Outcome {
    let told = Told::new(world, flow, select)?;
    told.show(world, format, |action| match action {
        Action::Cached => (Style::Dim, "cached"),
        Action::Run => (Style::Warn, "run"),
        Action::Maybe => (Style::Warn, "maybe"),
        Action::Skip => (Style::Dim, "skip"),
    });
    if format == Format::Text {
        let [run, maybe] = [Action::Run, Action::Maybe].map(|action| told.count(&[action]));
        let [cached, skipped] = [Action::Cached, Action::Skip].map(|action| told.count(&[action]));
        let skipped = left_out(skipped);
        world.screen.note(&format!("{run} to run, {maybe} perhaps, {cached} cached{skipped}\n"));
    }
    Ok(Exit::Ok)
}

/// `polyloom status`.
pub fn status(world: &World, flow: &FlowArgs, format: Format) -> Outcome {
    let told = Told::new(world, flow, &Select::default())?;
    told.show(world, format, |action| match action {
        Action::Cached => (Style::Good, "fresh"),
        Action::Run | Action::Maybe => (Style::Warn, "stale"),
        Action::Skip => (Style::Dim, "left out"),
    });
    if format == Format::Text {
        let fresh = told.count(&[Action::Cached]);
        let stale = told.count(&[Action::Run, Action::Maybe]);
        let left = left_out(told.count(&[Action::Skip]));
        world.screen.note(&format!("{fresh} fresh, {stale} stale{left}\n"));
    }
    Ok(Exit::Ok)
}

fn left_out(count: usize) -> String {
    if count > 0 { format!(", {count} left out") } else { String::new() }
}
