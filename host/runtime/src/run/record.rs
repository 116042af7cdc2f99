//! What a run leaves: rows for results and the history, the last event.

use std::collections::BTreeMap;

use polyloom_events::{Event, Timed, Totals};
use polyloom_model::{Cell, Digest, Input, PortName, Source};
use polyloom_plan::{Action, Artifact, Feed, StepIndex};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::{ArtifactMeta, Diagnostic, ExecMeta, Severity};
use polyloom_schedule::{RunOutcome, Span, critical_path};
use polyloom_store::{InputRow, KeptRow, Origin, OutputRow, ResultRow, StepRow};

use super::{Rest, Runner, Summary, unix_ms};
use crate::step::artifact_meta;
use crate::words::chain;

impl Runner {
    /// Rows for the next commit.
    pub(super) fn remember(
        &mut self,
        step: StepIndex,
        meta: &ExecMeta,
        reason: &str,
        outputs: Option<&BTreeMap<PortName, Artifact>>,
    ) {
        let planned = &self.job.prepared.plan.steps[step.at()];
        let cell = &self.job.prepared.flow.cells[planned.index.at()];
        let known = matches!(planned.action, Action::Cached(_));
        let cache = cell.cache && !self.job.no_cache;
        // A result found by its content is recorded under this key too, so that the next plan knows it at once.
        // The time it took is that of whoever made it: a collection goes by it.
        let found = self.slots[step.at()].known.as_ref().map(|found| (found.key, found.wall_ms));
        let recorded = known || found.is_some_and(|(key, _)| key == planned.key.0);
        if let Some(outputs) = outputs.filter(|_| meta.outcome.has_outputs() && !recorded && cache)
        {
            let outputs =
                outputs.iter().map(|(port, a)| (port.to_string(), artifact_meta(a))).collect();
            self.temporary.came(cell, &outputs);
            self.results.push(ResultRow {
                key: planned.key.0,
                content_key: Some(self.content_key(step).0),
                cell: cell.id.to_string(),
                executor: cell.executor.to_string(),
                outcome: Outcome::Ok,
                outputs,
                meta: ExecMeta {
                    wall_ms: found.map_or(meta.wall_ms, |(_, wall_ms)| wall_ms),
                    times: None,
                    ..meta.clone()
                },
                created_unix_ms: unix_ms(),
                marks: cell.marks_by_name(),
            });
        }
        if self.recorder.is_none() {
            return;
        }
        let (cell, key) = (cell.id.to_string(), planned.key.0.to_string());
        // A step whose result stood is no attempt: what is known of its last one stays.
        if known {
            if meta.outcome == Outcome::Cached {
                let outputs = outputs_of(meta);
                let (parts, inputs) = (String::new(), Vec::new());
                let row = KeptRow { cell, key, parts, inputs, outputs };
                self.kept.push((step, row));
            }
            return;
        }
        // Without outputs its inputs may never have been all there.
        let (outputs, content) = if meta.outcome.has_outputs() {
            (outputs_of(meta), self.content_key(step).0.to_string())
        } else {
            (Vec::new(), String::new())
        };
        let found = meta.outcome == Outcome::Cached;
        self.rows.push(StepRow {
            key,
            content,
            parts: serde_json::to_string(&*planned.parts).unwrap_or_default(),
            outcome: if found { Outcome::Ok } else { meta.outcome },
            reason: reason.to_owned(),
            wall_ms: meta.wall_ms,
            meta: serde_json::to_string(meta).unwrap_or_default(),
            origin: if found { Origin::Found } else { Origin::Made },
            inputs: self.inputs_of(step),
            outputs,
            cell,
        });
    }

    /// What came into a step, for whoever asks later what it was made of.
    fn inputs_of(&self, step: StepIndex) -> Vec<InputRow> {
        let cell = self.cell(step);
        let edges = self.edges(step);
        let mut rows = Vec::with_capacity(cell.inputs.len());
        let mut row = |port: String, source, digest: Option<Digest>| {
            rows.push(InputRow { port, source, digest: digest.map(|digest| digest.to_string()) });
        };
        for (port, input) in &cell.inputs {
            let name = port.to_string();
            match &input.source {
                Source::Port(cell, output) => {
                    let digest = edges.get(port).and_then(|feed| match feed {
                        Feed::One(artifact) => Some(artifact.digest),
                        Feed::Several(_) => None,
                    });
                    row(name, format!("{cell}.{output}"), digest);
                }
                Source::Param(param) => row(name, format!("param:{param}"), None),
                Source::File(path) => {
                    let known = self.job.prepared.facts.files.get(&(cell.id.clone(), port.clone()));
                    row(name, format!("file:{}", path.display()), known.copied());
                }
                Source::Value(_) | Source::Item => row(name, "value".to_owned(), None),
                // One row for each step that was gathered.
                Source::Ports(_) => {
                    let planned = &self.job.prepared.plan.steps[step.at()];
                    let from = planned.supplies.iter().filter(|supply| supply.input == *port);
                    let from = from.map(|supply| (supply.step, &supply.output));
                    for (port, source, digest) in self.gathered(port, from) {
                        row(port, source, Some(digest));
                    }
                }
            }
        }
        // What its items came from: the list goes into no key, and is none of its inputs.
        let planned = &self.job.prepared.plan.steps[step.at()];
        for items in &cell.items {
            let from = planned
                .needs
                .iter()
                .find(|need| self.job.prepared.plan.steps[need.at()].cell == items.cell);
            let outputs = from.and_then(|from| self.slots[from.at()].outputs.as_ref());
            let digest = outputs.and_then(|it| it.get(&items.port)).map(|it| it.digest.to_string());
            let source = format!("{}.{}", items.cell, items.port);
            rows.push(InputRow { port: format!("{}*", items.axis), source, digest });
        }
        rows
    }

    /// What is gathered in a port, each with a port of its own: those that are left out give nothing.
    fn gathered<'p>(
        &self,
        port: &PortName,
        from: impl Iterator<Item = (StepIndex, &'p PortName)>,
    ) -> impl Iterator<Item = (String, String, Digest)> {
        from.enumerate().filter_map(move |(number, (step, output))| {
            let digest = self.slots[step.at()].outputs.as_ref()?.get(output)?.digest;
            Some((format!("{port}#{number}"), format!("{}.{output}", self.name(step)), digest))
        })
    }

    /// Adds to rows of what gathers, or lists outputs, where that comes from: of all other inputs the parts of the key say it.
    pub(super) fn tell_gathered(&self, kept: &mut [(StepIndex, KeptRow)]) {
        let listed = |(_, input): &(&PortName, &Input)| matches!(input.source, Source::Ports(_));
        let lists = |step: StepIndex| self.cell(step).inputs.iter().any(|it| listed(&it));
        if !kept.iter().any(|(step, _)| lists(*step)) {
            return;
        }
        let places = self.job.prepared.places();
        for (step, row) in kept.iter_mut().filter(|(step, _)| lists(*step)) {
            for (port, input) in self.cell(*step).inputs.iter().filter(listed) {
                let from = input.source.ports();
                let from = from.filter_map(|(cell, output)| Some((*places.get(cell)?, output)));
                let one = |(port, source, digest): (String, String, Digest)| InputRow {
                    port,
                    source,
                    digest: Some(digest.to_string()),
                };
                row.inputs.extend(self.gathered(port, from).map(one));
            }
        }
    }

    fn tell_declined(&mut self) {
        let declined = self.job.place.hot.take_declined();
        if declined.files == 0 {
            return;
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        self.warn(format!(
            "{} large outputs ({} MiB) were handed over by the disk, not in memory: at most {} MiB may be held; \
             `polyloom doctor` tells why",
            declined.files,
            mib(declined.bytes),
            mib(self.job.place.hot.limit()),
        ));
    }

    pub(super) fn finish(mut self) -> Summary {
        self.let_go();
        self.job.place.hot.clear();
        self.drop_temporary();
        self.tell_unrecorded();
        if let Err(error) = self.job.place.store.carry_log_over() {
            tracing::warn!(error = %chain(&error), "the log of the store's index could not be carried over");
        }
        self.tell_declined();
        let lost = self.late.lost;
        let outcome = match self.outcome.unwrap_or(RunOutcome::Ok) {
            RunOutcome::Ok if lost > 0 || self.unplanned => RunOutcome::Failed,
            outcome => outcome,
        };
        let counted = self.schedule.totals();
        let totals = Totals {
            ok: counted.ok.saturating_sub(lost) as u64,
            cached: counted.cached as u64,
            failed: (counted.failed + lost) as u64,
            skipped: counted.skipped as u64,
            cancelled: counted.cancelled as u64,
        };
        let wall_ms = self.stream.now_ms();
        let spans: Vec<Option<Span>> = self
            .slots
            .iter()
            .map(|slot| {
                let (start_ms, end_ms) = slot.started_ms.zip(slot.ended_ms)?;
                Some(Span { start_ms, end_ms })
            })
            .collect();
        let timed = |step: StepIndex| {
            let span = spans[step.at()].unwrap_or_default();
            let (start_ms, wall_ms) = (span.start_ms, span.end_ms - span.start_ms);
            Timed { cell: self.name(step), wall_ms, start_ms }
        };
        let mut critical: Vec<Timed> =
            critical_path(self.schedule.specs(), &spans).into_iter().map(timed).collect();
        // Who needs what is on its way to the disk begins before that is there.
        for at in 1..critical.len() {
            let next = critical[at].start_ms;
            let before = &mut critical[at - 1];
            before.wall_ms = before.wall_ms.min(next - before.start_ms).max(0.0);
        }
        let ran = (0..).map(StepIndex).take(spans.len()).filter(|step| spans[step.at()].is_some());
        let mut slowest: Vec<Timed> = ran.map(timed).collect();
        slowest.sort_by(|a, b| b.wall_ms.total_cmp(&a.wall_ms));
        slowest.truncate(5);
        let run_outcome = match outcome {
            RunOutcome::Ok => Outcome::Ok,
            RunOutcome::Failed => Outcome::Failed,
            RunOutcome::Interrupted | RunOutcome::Superseded => Outcome::Cancelled,
            RunOutcome::TimedOut => Outcome::TimedOut,
        };
        self.stream.say(Event::RunFinished {
            outcome: run_outcome,
            wall_ms,
            totals,
            critical_path: critical,
            slowest,
        });
        let unwritten = self.stream.end();
        if let Some(history) = self.recorder.take() {
            let end = polyloom_store::RunEnd {
                outcome: run_outcome,
                wall_ms,
                totals: serde_json::to_string(&totals).unwrap_or_default(),
            };
            if let Err(error) = history.finish(&end) {
                tracing::warn!(error = %chain(&error), "the run's end could not be recorded");
            }
        }
        let Self { environment, moved, released: carried, .. } = self;
        let Self { job, slots, schedule, .. } = self;
        let rest = Rest::new(job.prepared, slots, schedule);
        Summary { outcome, totals, wall_ms, environment, moved, unwritten, carried, rest }
    }
}

/// The sentence about a limit goes with the diagnostics, first: it is what the person has to read.
/// It points to the line of the flow file that sets the limit.
pub(super) fn explain(meta: &mut ExecMeta, explanation: Option<String>, cell: &Cell) {
    let Some(text) = explanation else { return };
    let told = meta.diagnostics.iter().any(|diagnostic| diagnostic.message == text);
    // An exit code is in the result already; beside the error that caused it, it says nothing.
    if !told && meta.outcome != Outcome::Failed {
        let mut diagnostic = Diagnostic::new(Severity::Error, text);
        match meta.limit.as_ref().map(|limit| cell.limit_line(&limit.name)) {
            Some(0) => diagnostic.message.push_str(" (set by `--limit`)"),
            Some(line) => {
                diagnostic.file = Some(cell.lines.path.display().to_string());
                diagnostic.line = Some(line);
            }
            None => {}
        }
        meta.diagnostics.insert(0, diagnostic);
    }
}

fn outputs_of(meta: &ExecMeta) -> Vec<OutputRow> {
    let row = |(port, artifact): (&String, &ArtifactMeta)| OutputRow {
        port: port.clone(),
        digest: artifact.digest.clone(),
        ty: artifact.r#type.clone(),
        size: artifact.size,
    };
    meta.artifacts.iter().map(row).collect()
}
