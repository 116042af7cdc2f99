//! `polyloom plan` and `polyloom status`: what would run, and why; nothing is run.

use std::collections::{HashMap, HashSet};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use polyloom_events::Action;
use polyloom_model::{CellId, Digest};
use polyloom_plan::Reason;
use polyloom_report::{Align, Style, Table};
use polyloom_runtime::{Permit, Place, Prepared, action_of};
use serde_json::{Value, json};

use super::known;
use crate::args::{FlowArgs, Format, PermissionArgs, Select};
use crate::failure::{Exit, Failure, Outcome};
use crate::permission::{self, Settled};
use crate::world::World;

/// What is told of a plan.
struct Told {
    flow: String,
    steps: Vec<Step>,
    /// The flags that would grant what is denied.
    flags: Vec<String>,
}

/// What becomes of a cell that asks for something, or is made of what such a cell gave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It has all it asks for, or asks for nothing.
    Granted,
    /// A run will ask the person.
    Asked,
    /// It will be refused.
    Denied,
}

/// The word on each cell of a plan.
pub struct Words {
    permits: HashMap<CellId, Permit>,
    /// Cells that are denied what they ask for themselves.
    refused: HashSet<CellId>,
    /// Those of them that nobody has decided about.
    open: HashSet<CellId>,
    /// Whether a run asks.
    asks: bool,
}

impl Words {
    /// Nothing is asked now. What is denied is so in the plan, too.
    pub fn new(
        world: &World,
        place: &Place,
        prepared: &mut Prepared,
        permissions: &PermissionArgs,
        folder: Option<&Path>,
    ) -> Result<Self, Failure> {
        let silent = PermissionArgs { no_prompt: true, ..permissions.clone() };
        let settled = permission::settle(world, place, prepared, &silent, folder)?;
        let Settled { mut permits, open, .. } = settled;
        let denied = permits.iter().filter(|(_, permit)| permit.denial().is_some());
        let refused = denied.map(|(cell, _)| cell.clone()).collect();
        prepared.refuse(&mut permits);
        Ok(Self { permits, refused, open, asks: permission::asks(permissions) })
    }

    /// That on a cell as it is written.
    pub fn of(&self, cell: &CellId) -> Word {
        if self.permits.get(cell).and_then(Permit::denial).is_none() {
            return Word::Granted;
        }
        // What is made of what they give follows them.
        let decided = match self.refused.contains(cell) {
            true => !self.open.contains(cell),
            false => self.refused.iter().any(|cell| !self.open.contains(cell)),
        };
        if self.asks && !decided { Word::Asked } else { Word::Denied }
    }

    /// The flags that would grant what is denied.
    fn flags(&self) -> Vec<String> {
        let flags = self.permits.values().flat_map(Permit::flags).map(str::to_owned);
        let mut flags: Vec<_> = flags.collect();
        flags.sort_unstable();
        flags.dedup();
        flags
    }
}

struct Step {
    cell: String,
    lang: String,
    action: Action,
    word: Word,
    reason: String,
    key: String,
    timeout_ms: u64,
}

impl Told {
    /// Of what stands, without a plan; else of a plan.
    fn new(
        world: &World,
        flow: &FlowArgs,
        select: &Select,
        permissions: &PermissionArgs,
    ) -> Result<Self, Failure> {
        let store = world.store()?;
        let place = world.place(Arc::clone(&store))?;
        let asked = known::Asked { flow, select, permissions, limits: &[] };
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
        let mut prepared = ManuallyDrop::new(prepared);
        // Told once more, it need not be planned.
        let fresh = asked.fresh(world, &place, &prepared).filter(|_| !warned);
        if let Some((fresh, key)) = fresh.zip(key)
            && let Err(error) = fresh.keep(&store, &key, None)
        {
            tracing::debug!(%error, "what the plan rests on could not be kept");
        }
        let folder = history.as_ref().map(|history| history.place().folder());
        let words = Words::new(world, &place, &mut prepared, permissions, folder)?;
        Ok(Self::planned(&prepared, &words))
    }

    fn known(world: &World, place: &Place, key: &Digest) -> Option<Self> {
        let unchanged = known::find(world, place, key)?;
        let steps = unchanged.steps(&place.store)?.into_iter().map(|step| Step {
            cell: step.cell.to_string(),
            lang: step.executor.to_string(),
            action: Action::Cached,
            word: Word::Granted,
            reason: Reason::UpToDate.to_string(),
            key: step.key.to_string(),
            timeout_ms: step.timeout_ms,
        });
        Some(Self { flow: unchanged.flow().to_owned(), steps: steps.collect(), flags: Vec::new() })
    }

    fn planned(prepared: &Prepared, words: &Words) -> Self {
        let steps = prepared.plan.all().map(|step| {
            let cell = &prepared.flow.cells[step.index.at()];
            Step {
                cell: step.cell.to_string(),
                lang: cell.executor.to_string(),
                action: action_of(&step.action),
                word: words.of(&cell.declared),
                reason: step.reason.to_string(),
                key: step.key.to_string(),
                timeout_ms: u64::try_from(cell.limits.timeout.as_millis()).unwrap_or(u64::MAX),
            }
        });
        let flow = prepared.flow.name.clone();
        Self { flow, steps: steps.collect(), flags: words.flags() }
    }

    /// Of cells that are not refused.
    fn count(&self, actions: &[Action]) -> usize {
        let meant = |step: &&Step| step.word == Word::Granted && actions.contains(&step.action);
        self.steps.iter().filter(meant).count()
    }

    /// `, 1 denied`, and on a line of its own what would grant it.
    fn refused(&self) -> (String, String) {
        let count = |word: Word| self.steps.iter().filter(|step| step.word == word).count();
        let mut text = String::new();
        for (count, words) in
            [(count(Word::Asked), "to be asked about"), (count(Word::Denied), "denied")]
        {
            if count > 0 {
                text.push_str(&format!(", {count} {words}"));
            }
        }
        let hint = match self.flags.is_empty() {
            true => String::new(),
            false => format!("hint: what is not granted yet: {}\n", self.flags.join(" ")),
        };
        (text, hint)
    }

    fn show(&self, world: &World, format: Format, word: impl Fn(Action) -> (Style, &'static str)) {
        let word = |step: &Step| match step.word {
            Word::Granted => word(step.action),
            Word::Asked => (Style::Warn, "ask"),
            Word::Denied => (Style::Bad, "denied"),
        };
        let row = |step: &Step| -> Value {
            json!({
                "cell": step.cell,
                "lang": step.lang,
                "action": word(step).1,
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
                    let (style, word) = word(step);
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
pub fn plan(
    world: &World,
    flow: &FlowArgs,
    select: &Select,
    permissions: &PermissionArgs,
    format: Format,
) -> Outcome {
    let told = Told::new(world, flow, select, permissions)?;
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
        let (refused, hint) = told.refused();
        let text = format!("{run} to run, {maybe} perhaps, {cached} cached{skipped}{refused}\n");
        world.screen.note(&(text + &hint));
    }
    Ok(Exit::Ok)
}

/// `polyloom status`.
pub fn status(
    world: &World,
    flow: &FlowArgs,
    permissions: &PermissionArgs,
    format: Format,
) -> Outcome {
    let told = Told::new(world, flow, &Select::default(), permissions)?;
    told.show(world, format, |action| match action {
        Action::Cached => (Style::Good, "fresh"),
        Action::Run | Action::Maybe => (Style::Warn, "stale"),
        Action::Skip => (Style::Dim, "left out"),
    });
    if format == Format::Text {
        let fresh = told.count(&[Action::Cached]);
        let stale = told.count(&[Action::Run, Action::Maybe]);
        let left = left_out(told.count(&[Action::Skip]));
        let (refused, hint) = told.refused();
        world.screen.note(&format!("{fresh} fresh, {stale} stale{left}{refused}\n{hint}"));
    }
    Ok(Exit::Ok)
}

fn left_out(count: usize) -> String {
    if count > 0 { format!(", {count} left out") } else { String::new() }
}
