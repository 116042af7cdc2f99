//! `polyloom runs diff A B [CELL]`: what is different between two runs.

use std::collections::BTreeMap;

use polyloom_events::Event;
use polyloom_plan::{KeyParts, PartChange, PartName};
use polyloom_protocol::Outcome;
use polyloom_report::{Align, Style, Table, duration, escape_line, size};
use polyloom_store::{History, OutputRow, RunRow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::history;
use crate::args::{DiffArgs, Format};
use crate::failure::{self, Exit, Failure};
use crate::world::World;

/// A cell in one run.
struct Side {
    outcome: Outcome,
    /// Only of attempts.
    wall_ms: Option<f64>,
    cpu_ms: Option<f64>,
    memory: Option<u64>,
    key: String,
    /// Unknown if an older program recorded the run, or a newer one.
    parts: Option<KeyParts>,
    /// Digests by port.
    outputs: BTreeMap<String, OutputRow>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Measured {
    cpu_ms: f64,
    peak_memory: Option<u64>,
}

type Cells = BTreeMap<String, Side>;

fn by_port(outputs: Vec<OutputRow>) -> BTreeMap<String, OutputRow> {
    outputs.into_iter().map(|output| (output.port.clone(), output)).collect()
}

fn cells(history: &History, run: &RunRow) -> Result<Cells, Failure> {
    let environment = |error| Failure::of(Exit::Environment, &error);
    let mut cells = Cells::new();
    for step in history.steps(&run.id).map_err(environment)? {
        let outcome = History::outcome_of(&step);
        let ran = !matches!(outcome, Outcome::Cached | Outcome::Skipped);
        let measured: Measured = serde_json::from_str(&step.meta).unwrap_or_default();
        let side = Side {
            outcome,
            wall_ms: Some(step.wall_ms).filter(|_| ran),
            cpu_ms: Some(measured.cpu_ms).filter(|_| ran),
            memory: measured.peak_memory.filter(|_| ran),
            key: step.key,
            parts: serde_json::from_str(&step.parts).ok(),
            outputs: by_port(step.outputs),
        };
        cells.insert(step.cell, side);
    }
    for kept in history.kept(&run.id).map_err(environment)? {
        let side = Side {
            outcome: Outcome::Cached,
            wall_ms: None,
            cpu_ms: None,
            memory: None,
            key: kept.key,
            parts: serde_json::from_str(&kept.parts).ok(),
            outputs: by_port(kept.outputs),
        };
        cells.insert(kept.cell, side);
    }
    // Older programs put steps whose results stood into the events alone.
    let totals = run.totals.as_deref().unwrap_or_default();
    let totals: polyloom_events::Totals = serde_json::from_str(totals).unwrap_or_default();
    // Saturating: the run may have come from elsewhere.
    let all = [totals.cached, totals.failed, totals.skipped, totals.cancelled];
    let all = all.into_iter().fold(totals.ok, u64::saturating_add);
    if (cells.len() as u64) < all {
        for record in history::records(history, &run.id)? {
            let Event::StepFinished { cell, meta, .. } = record.event else { continue };
            let output = |(port, meta): (String, polyloom_protocol::meta::ArtifactMeta)| {
                let row = OutputRow {
                    port: port.clone(),
                    digest: meta.digest,
                    ty: meta.r#type,
                    size: meta.size,
                };
                (port, row)
            };
            cells.entry(cell).or_insert_with(|| Side {
                outcome: meta.outcome,
                wall_ms: None,
                cpu_ms: None,
                memory: None,
                key: String::new(),
                parts: None,
                outputs: meta.artifacts.into_iter().map(output).collect(),
            });
        }
    }
    Ok(cells)
}

/// A cell in both runs.
struct Pair {
    cell: String,
    a: Option<Side>,
    b: Option<Side>,
    parts: Vec<PartChange>,
    /// Ports whose bytes differ.
    outputs: Vec<String>,
}

impl Pair {
    /// The same, without the inputs that were made of something else with the same bytes.
    fn told(mut self, history: &History, a: &RunRow, b: &RunRow) -> Result<Self, Failure> {
        if self.parts.iter().any(|change| matches!(change.part, PartName::Input(_))) {
            let taken = |run: &RunRow| {
                let taken = polyloom_runtime::taken(history, &run.id, &self.cell);
                taken.map_err(|error| Failure::of(Exit::Environment, &error))
            };
            let (before, now) = (taken(a)?, taken(b)?);
            polyloom_runtime::tell_inputs(&before, &now, "not known any more", &mut self.parts);
        }
        Ok(self)
    }

    fn new(cell: String, a: Option<Side>, b: Option<Side>) -> Self {
        let (mut parts, mut outputs) = (Vec::new(), Vec::new());
        if let (Some(a), Some(b)) = (&a, &b) {
            if let (Some(before), Some(after)) = (&a.parts, &b.parts) {
                parts = polyloom_plan::diff(before, after);
            }
            // Of a cell that did not come to its end nothing can be said.
            if a.outcome.has_outputs() && b.outcome.has_outputs() {
                let digest = |side: &Side, port: &str| {
                    side.outputs.get(port).map(|output| output.digest.clone())
                };
                let all = a.outputs.keys().chain(b.outputs.keys());
                outputs = all.filter(|port| digest(a, port) != digest(b, port)).cloned().collect();
                outputs.sort_unstable();
                outputs.dedup();
            }
        }
        Self { cell, a, b, parts, outputs }
    }

    /// `ok` and `cached` are the same result.
    fn differs(&self) -> bool {
        let (Some(a), Some(b)) = (&self.a, &self.b) else { return true };
        let end = |side: &Side| match side.outcome {
            Outcome::Cached => Outcome::Ok,
            other => other,
        };
        end(a) != end(b) || a.key != b.key && !self.parts.is_empty() || !self.outputs.is_empty()
    }

    fn ran(&self) -> bool {
        [&self.a, &self.b].into_iter().flatten().any(|side| side.wall_ms.is_some())
    }

    fn mark(&self) -> (Style, &'static str) {
        match (&self.a, &self.b) {
            (Some(_), None) => (Style::Bad, "-"),
            (None, _) => (Style::Good, "+"),
            (Some(_), Some(_)) if self.differs() => (Style::Warn, "~"),
            (Some(_), Some(_)) => (Style::Dim, " "),
        }
    }

    fn words(&self, word: impl Fn(&Side) -> Option<String>) -> String {
        let shown = |side: &Option<Side>| side.as_ref().and_then(&word);
        match (shown(&self.a), shown(&self.b)) {
            (Some(a), Some(b)) if a == b => a,
            (None, None) => String::new(),
            (Some(a), None) if self.b.is_none() => a,
            (None, Some(b)) if self.a.is_none() => b,
            (a, b) => {
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                format!("{} → {}", or(a), or(b))
            }
        }
    }

    fn json(&self) -> Value {
        let side = |side: &Side| {
            json!({
                "outcome": side.outcome, "wall_ms": side.wall_ms, "cpu_ms": side.cpu_ms,
                "peak_memory": side.memory, "key": side.key,
            })
        };
        let digest = |side: &Option<Side>, port: &str| {
            let output = side.as_ref().and_then(|side| side.outputs.get(port));
            output.map(|output| output.digest.clone())
        };
        let part = |change: &PartChange| {
            json!({
                "part": change.part.to_string(), "before": change.before.as_deref(),
                "after": change.after.as_deref(),
            })
        };
        let output = |port: &String| json!({ "port": port, "before": digest(&self.a, port), "after": digest(&self.b, port) });
        json!({
            "cell": self.cell,
            "same": !self.differs(),
            "a": self.a.as_ref().map(side),
            "b": self.b.as_ref().map(side),
            "parts": self.parts.iter().map(part).collect::<Vec<_>>(),
            "outputs": self.outputs.iter().map(output).collect::<Vec<_>>(),
        })
    }
}

/// The command.
pub fn diff(world: &World, args: DiffArgs) -> failure::Outcome {
    let history = history::open(world, args.project)?;
    let (a, b) = (history::find(&history, &args.a)?, history::find(&history, &args.b)?);
    let (before, mut after) = (cells(&history, &a)?, cells(&history, &b)?);
    let mut pairs: Vec<Pair> = before
        .into_iter()
        .map(|(cell, side)| {
            let other = after.remove(&cell);
            Pair::new(cell, Some(side), other)
        })
        .collect();
    pairs.extend(after.into_iter().map(|(cell, side)| Pair::new(cell, None, Some(side))));
    pairs.sort_by(|a, b| a.cell.cmp(&b.cell));
    if let Some(cell) = &args.cell {
        pairs.retain(|pair| pair.cell == *cell);
        if pairs.is_empty() {
            let cell = cell.escape_debug();
            let message = format!("neither `{}` nor `{}` has a cell `{cell}`", a.id, b.id);
            return Err(Failure::new(Exit::Usage, message).hint("polyloom runs diff A B"));
        }
    }
    let pairs: Vec<Pair> =
        pairs.into_iter().map(|pair| pair.told(&history, &a, &b)).collect::<Result<_, _>>()?;
    let run = |row: &RunRow| json!({ "run": row.id, "flow": row.flow, "state": row.state.as_str(), "wall_ms": row.wall_ms });
    match args.format {
        Format::Json => {
            let cells: Vec<_> = pairs.iter().map(Pair::json).collect();
            let document = json!({
                "schema": "polyloom.runs-diff/1", "a": run(&a), "b": run(&b), "cells": cells,
            });
            world.screen.json(&document);
        }
        Format::Jsonl => pairs.iter().for_each(|pair| world.screen.json_line(&pair.json())),
        Format::Text => {
            let took = |row: &RunRow| row.wall_ms.map(duration).unwrap_or_default();
            let state = |row: &RunRow| row.state.as_str().to_owned();
            let mut table = Table::new(&[("", Align::Left); 4]);
            table.row(["-", &a.id, &state(&a), &took(&a)]);
            table.row(["+", &b.id, &state(&b), &took(&b)]);
            world.screen.print(&table.render(world.screen.out, world.screen.columns));
            match args.cell {
                Some(_) => pairs.iter().for_each(|pair| show_cell(world, pair)),
                None => show_all(world, &pairs),
            }
        }
    }
    Ok(Exit::Ok)
}

fn show_all(world: &World, pairs: &[Pair]) {
    let all = world.screen.verbosity > 0;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("cell", Align::Left),
        ("outcome", Align::Left),
        ("took", Align::Left),
        ("memory", Align::Left),
        ("outputs", Align::Left),
        ("key", Align::Left),
    ]);
    for pair in pairs.iter().filter(|pair| all || pair.ran() || pair.differs()) {
        let (style, mark) = pair.mark();
        let parts: Vec<_> = pair.parts.iter().map(|change| change.part.to_string()).collect();
        table.styled([
            (style, mark.to_owned()),
            (Style::Strong, pair.cell.clone()),
            (Style::Plain, pair.words(|side| Some(side.outcome.to_string()))),
            (Style::Dim, pair.words(|side| side.wall_ms.map(duration))),
            (Style::Dim, pair.words(|side| side.memory.map(size))),
            (Style::Plain, pair.outputs.join(", ")),
            (Style::Plain, parts.join(", ")),
        ]);
    }
    if !table.is_empty() {
        world.screen.print(&table.render(world.screen.out, world.screen.columns));
    }
    let differ = pairs.iter().filter(|pair| pair.differs()).count();
    let verb = if differ == 1 { "differs" } else { "differ" };
    world.screen.note(&format!("{differ} of {} cells {verb}\n", pairs.len()));
}

fn show_cell(world: &World, pair: &Pair) {
    let paint = world.screen.out;
    let mut text = format!("\n{}\n", paint.text(Style::Strong, &escape_line(&pair.cell)));
    let mut facts = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let here = match (&pair.a, &pair.b) {
        (Some(_), None) => "only in the first",
        (None, _) => "only in the second",
        (Some(_), Some(_)) => "in both",
    };
    facts.row(["there", here]);
    facts.row(["outcome", &pair.words(|side| Some(side.outcome.to_string()))]);
    facts.row(["wall time", &pair.words(|side| side.wall_ms.map(duration))]);
    facts.row(["cpu time", &pair.words(|side| side.cpu_ms.map(duration))]);
    facts.row(["peak memory", &pair.words(|side| side.memory.map(size))]);
    text.push_str(&facts.render(paint, world.screen.columns));
    let unknown = [&pair.a, &pair.b].into_iter().flatten().any(|side| side.parts.is_none());
    if unknown {
        text.push_str("the parts of its key are not known of both runs\n");
    }
    let or = |text: Option<&str>| text.unwrap_or("-").to_owned();
    if !pair.parts.is_empty() {
        let mut table =
            Table::new(&[("part", Align::Left), ("first", Align::Left), ("second", Align::Left)]);
        for change in &pair.parts {
            let (before, after) = (or(change.before.as_deref()), or(change.after.as_deref()));
            table.row([change.part.to_string(), before, after]);
        }
        text.push_str(&table.render(paint, world.screen.columns));
    }
    if !pair.outputs.is_empty() {
        let mut table =
            Table::new(&[("output", Align::Left), ("first", Align::Left), ("second", Align::Left)]);
        for port in &pair.outputs {
            let digest = |side: &Option<Side>| {
                let output = side.as_ref().and_then(|side| side.outputs.get(port));
                output.map_or_else(
                    || "-".to_owned(),
                    |output| {
                        let short: String = output.digest.chars().take(15).collect();
                        format!("{short} {}", size(output.size))
                    },
                )
            };
            table.row([port.clone(), digest(&pair.a), digest(&pair.b)]);
        }
        text.push_str(&table.render(paint, world.screen.columns));
    }
    world.screen.print(&text);
}
