//! What a run leaves: results in the store, rows in the history, the last event. Nothing of it is said before it is committed.

use std::collections::BTreeMap;

use polyloom_events::{Event, Timed, Totals};
use polyloom_model::PortName;
use polyloom_plan::{Action, Artifact, StepIndex};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::ExecMeta;
use polyloom_schedule::{RunOutcome, Span, critical_path};
use polyloom_store::{ResultRow, StepRow};

use super::{Runner, Summary, unix_ms};
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
        if matches!(meta.outcome, Outcome::Skipped) {
            return;
        }
        let planned = &self.job.prepared.plan.steps[step.at()];
        let cell = &self.job.prepared.flow.cells[planned.index.at()];
        let known = matches!(planned.action, Action::Cached(_));
        let cache = cell.cache && !self.job.no_cache;
        // A result found by its content is recorded under this key too, so that the next plan knows it at once.
        if let Some(outputs) = outputs.filter(|_| meta.outcome.has_outputs() && !known && cache) {
            let outputs =
                outputs.iter().map(|(port, a)| (port.to_string(), artifact_meta(a))).collect();
            self.results.push(ResultRow {
                key: planned.key.0,
                content_key: Some(self.content_key(step).0),
                cell: cell.id.to_string(),
                executor: cell.executor.to_string(),
                outcome: Outcome::Ok,
                outputs,
                meta: meta.clone(),
                created_unix_ms: unix_ms(),
            });
        }
        // A cached step is no attempt: what is known of its last one stays.
        if self.job.history.is_some() && !known {
            let parts = serde_json::to_string(&*planned.parts).unwrap_or_default();
            self.rows.push(StepRow {
                cell: cell.id.to_string(),
                key: planned.key.0.to_string(),
                parts,
                outcome: if meta.outcome == Outcome::Cached { Outcome::Ok } else { meta.outcome },
                reason: reason.to_owned(),
                wall_ms: meta.wall_ms,
                meta: serde_json::to_string(meta).unwrap_or_default(),
            });
        }
    }

    /// Puts what ended into the store and the history, then says it.
    pub(super) fn commit(&mut self) {
        if !self.results.is_empty() {
            if let Err(error) = self.job.place.store.commit(&self.results) {
                let text = format!(
                    "results could not be recorded, they will be made again: {}",
                    chain(&error)
                );
                self.stream.say(Event::Warning { text });
                self.environment = true;
            }
            self.results.clear();
        }
        if let Some(history) = self.job.history.as_ref().filter(|_| !self.rows.is_empty())
            && let Err(error) = history.record_steps(&self.rows)
        {
            let text = format!("the run's history could not be written: {}", chain(&error));
            self.stream.say(Event::Warning { text });
        }
        self.rows.clear();
        for event in std::mem::take(&mut self.held) {
            self.stream.say(event);
        }
    }

    pub(super) fn finish(mut self) -> Summary {
        self.job.place.hot.clear();
        let lost = self.late.lost;
        let outcome = match self.outcome.unwrap_or(RunOutcome::Ok) {
            RunOutcome::Ok if lost > 0 => RunOutcome::Failed,
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
            let span = spans[step.at()];
            let wall_ms = span.map_or(0.0, |span| span.end_ms - span.start_ms);
            Timed { cell: self.name(step), wall_ms }
        };
        let critical: Vec<Timed> =
            critical_path(&self.specs, &spans).into_iter().map(timed).collect();
        let ran = (0..).map(StepIndex).take(spans.len()).filter(|step| spans[step.at()].is_some());
        let mut slowest: Vec<Timed> = ran.map(timed).collect();
        slowest.sort_by(|a, b| b.wall_ms.total_cmp(&a.wall_ms));
        slowest.truncate(5);
        let run_outcome = match outcome {
            RunOutcome::Ok => Outcome::Ok,
            RunOutcome::Failed => Outcome::Failed,
            RunOutcome::Interrupted => Outcome::Cancelled,
            RunOutcome::TimedOut => Outcome::TimedOut,
        };
        self.stream.say(Event::RunFinished {
            outcome: run_outcome,
            wall_ms,
            totals,
            critical_path: critical,
            slowest,
        });
        // A reader that has gone away (`| head`) is no error of the run.
        let ended = self.stream.finish();
        let unwritten = ended.err().filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
        if let Some(history) = self.job.history.take() {
            let end = polyloom_store::RunEnd {
                outcome: run_outcome,
                wall_ms,
                totals: serde_json::to_string(&totals).unwrap_or_default(),
            };
            if let Err(error) = history.finish(&end) {
                tracing::warn!(error = %chain(&error), "the run's end could not be recorded");
            }
        }
        Summary { outcome, totals, wall_ms, environment: self.environment, unwritten }
    }
}
