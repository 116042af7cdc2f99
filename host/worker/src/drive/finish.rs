//! The end of an attempt: what is left in its pipes, what it left behind, and what is said of it all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use polyloom_model::{Limit, PortName};
use polyloom_protocol::meta::{ExecMeta, LimitMeta, PolicyMeta, Severity};
use polyloom_protocol::{Diagnostic, Outcome};
use polyloom_sandbox as sandbox;

use super::{DRAIN, KILL, Watch, millis};
use crate::attempt::{Collected, Live, Output, Phase, Report, Start};
use crate::collect::{self, Problem};
use crate::messages;
use crate::outcome::{Verdict, decide};
use crate::pipes::read;
use crate::workplace::enforcement;

/// What was collected from a dead cell.
enum Taken {
    Program(Collected),
    Outputs(BTreeMap<PortName, Output>, (BTreeMap<String, Output>, Vec<String>)),
}

impl Watch<'_> {
    /// Ends the watch of a cell that has ended: reads what is left, takes what is to be kept, and decides how it ended.
    pub(super) async fn finish(
        mut self,
        exit: sandbox::ExitFact,
        ended: Instant,
        mut buffer: Vec<u8>,
    ) -> std::io::Result<Report> {
        let wall = ended - self.started;
        let times = self.times(ended);
        // What the worker said before it ended still counts.
        let deadline = tokio::time::Instant::now() + DRAIN;
        while let Some(worker) = &self.worker {
            match tokio::time::timeout_at(deadline, worker.readable()).await {
                Ok(Ok(guard)) => drop(guard),
                Ok(Err(_)) | Err(_) => break,
            }
            self.on_worker(&mut buffer).await;
        }
        while let Some(say) = &self.say {
            match tokio::time::timeout_at(deadline, say.readable()).await {
                Ok(Ok(guard)) => drop(guard),
                Ok(Err(_)) | Err(_) => break,
            }
            self.on_words(&mut buffer).await;
        }
        for live in self.words.finish() {
            self.on_live(live).await;
        }
        self.drain(&mut buffer).await?;
        if let Some(gate) = self.gate.take() {
            gate.close().await;
        }
        while let Ok(text) = self.refusals.try_recv() {
            self.on_live(Live::Diagnostic(Diagnostic::new(Severity::Warning, text))).await;
        }
        self.out.finish();
        self.err.finish();
        self.pass_text_on(true).await;
        self.on_usage();
        self.tell_pending().await;

        let hidden = self.hides_stderr();
        let achieved = enforcement(self.cell.enforcement());
        let mut cell = self.cell;
        let joined = tokio::task::spawn_blocking(move || {
            let teardown = cell.finish();
            (cell, teardown)
        });
        let (cell, teardown) = joined.await.map_err(std::io::Error::other)?;

        let attempt = self.attempt;
        let seen = &mut self.seen;
        seen.take_in(&teardown.usage, &attempt.limits);
        seen.wall_time = wall;
        match exit.exit {
            sandbox::Exit::Code(code) => seen.exit_code = Some(code),
            sandbox::Exit::Signal(signal) => seen.signal = Some(signal),
            sandbox::Exit::SupervisorLost if self.killed => seen.signal = Some(KILL),
            sandbox::Exit::SupervisorLost => seen.supervisor_lost = true,
            exit => seen.not_started = Some(messages::exit_words(exit)),
        }
        if let Some(talk) = &self.talk {
            seen.done = talk.done;
            seen.greeted = talk.greeted;
        }
        let Verdict { mut outcome, mut hit, text: mut explanation } = decide(seen, &attempt.limits);
        if let Some(code) = seen.ended_itself().filter(|_| outcome == Outcome::Failed) {
            self.diagnostics.extend(messages::ended_itself(&attempt.executor.manifest, code));
        }
        if let Some(signal) = seen.crashed().filter(|_| outcome == Outcome::Killed) {
            explanation = messages::crashed(&attempt.executor.manifest, signal).or(explanation);
        }
        let vanished = seen.supervisor_lost && cell.is_anothers();
        let start = match (&self.talk, outcome) {
            (Some(talk), _) if talk.greeted => Start::Greeted,
            (Some(_), Outcome::WorkerError | Outcome::Killed | Outcome::Failed) => Start::Failed,
            (Some(_) | None, _) => Start::None,
        };

        let mut meta = ExecMeta::new(Outcome::Ok);
        let mut outputs = Default::default();
        let mut program = None;
        let (stdout, mut stderr) = (self.out.tail(), self.err.tail());
        let told = messages::of_tools(attempt, cell.view(), &stdout.text, &stderr.text);
        if hidden {
            stderr.text = messages::in_place_of(&stderr.text, &told);
        }
        self.diagnostics.extend(told);
        let mut extra = Default::default();
        if outcome == Outcome::Ok {
            let limits = &attempt.limits;
            let attempt = Arc::clone(attempt);
            let most = limits.artifacts;
            let claims = match &mut self.talk {
                Some(talk) => std::mem::take(&mut talk.artifacts),
                None => std::mem::take(&mut self.words.artifacts),
            };
            let collected = tokio::task::spawn_blocking(move || match attempt.phase {
                Phase::Head => collect::head(&cell).map(Taken::Program),
                Phase::Compile { .. } => collect::program(&cell).map(Taken::Program),
                Phase::Run { .. } => {
                    let mask = attempt.mask().map(Arc::as_ref);
                    let gathered = collect::outputs(&cell, &attempt.outputs, most, mask)?;
                    let (more, mut left) = collect::extra(&cell, &claims, &attempt.outputs, mask)
                        .map_err(|it| vec![it])?;
                    left.extend(gathered.odd);
                    Ok(Taken::Outputs(gathered.outputs, (more, left)))
                }
            });
            match collected.await.map_err(std::io::Error::other)? {
                Ok(Taken::Program(built)) => program = Some(built),
                Ok(Taken::Outputs(all, (more, left))) => {
                    outputs = all;
                    extra = more;
                    for text in left {
                        let warning = Diagnostic::new(Severity::Warning, text);
                        self.diagnostics.push(warning.clone());
                        let _ = self.live.send(Live::Diagnostic(warning)).await;
                    }
                    let (count, bytes) = collect::amount(outputs.values().chain(extra.values()));
                    let over = [(Limit::Artifacts, count), (Limit::ArtifactSize, bytes)];
                    let over = over.into_iter().find(|(limit, there_is)| {
                        limits.amount(*limit).is_some_and(|may_be| *there_is > may_be)
                    });
                    if let Some((limit, there_is)) = over {
                        (outputs, extra) = Default::default();
                        let there_is = Some(there_is);
                        let what = Outcome::ArtifactsExceeded;
                        let verdict = Verdict::limit(what, limit, limits, there_is);
                        (outcome, hit, explanation) = (what, verdict.hit, verdict.text);
                    }
                }
                Err(problems) if problems.iter().any(Problem::is_many) => {
                    (outcome, hit) = (Outcome::ArtifactsExceeded, Some((Limit::Artifacts, None)));
                    explanation = Some(format!("artifact count limit {most}, there are more"));
                }
                Err(mut problems) if problems.iter().any(Problem::is_secret) => {
                    outcome = Outcome::Denied;
                    problems.retain(Problem::is_secret);
                    let told = problems.iter().find_map(|it| it.secret(&self.attempt.cell));
                    explanation = told;
                }
                Err(problems) => {
                    let mut told = Vec::with_capacity(problems.len());
                    for problem in problems {
                        match problem {
                            Problem::Cell(why) => told.push(why),
                            Problem::Secret(what, _) => told.push(what),
                            Problem::Many => {}
                            Problem::Host(why) => return Err(std::io::Error::other(why)),
                        }
                    }
                    let problems = told;
                    let manifest = &self.attempt.executor.manifest;
                    if matches!(self.attempt.phase, Phase::Compile { .. }) {
                        outcome = Outcome::WorkerError;
                        self.diagnostics
                            .push(messages::not_compiled(manifest, &problems.join("; ")));
                    } else {
                        outcome = Outcome::OutputMissing;
                        explanation = problems.first().cloned();
                        let error = |text| Diagnostic::new(Severity::Error, text);
                        self.diagnostics.extend(problems.into_iter().map(error));
                    }
                }
            }
        }
        meta.outcome = outcome;
        meta.exit_code = seen.exit_code;
        meta.signal = seen.signal;
        meta.wall_ms = millis(wall);
        meta.times = Some(times);
        meta.cpu_ms = teardown.usage.cpu.as_secs_f64() * 1e3;
        meta.peak_memory = teardown.usage.peak_memory;
        meta.stdout = stdout;
        meta.stderr = stderr;
        meta.diagnostics = self.diagnostics;
        if let Some(talk) = self.talk {
            meta.session_changed = talk.session_changed;
            meta.extras = talk.extras;
        }
        meta.limit = hit.and_then(|(limit, peak)| {
            let amount = attempt.limits.amount(limit)?;
            Some(LimitMeta { name: limit.key().to_owned(), limit: amount, peak })
        });
        meta.enforcement = achieved;
        meta.policy = Some(PolicyMeta {
            preset: attempt.policy.preset.to_string(),
            enforce: attempt.policy.enforce.clone(),
            granted: attempt.granted.texts.clone(),
        });
        if let Some(mask) = attempt.mask() {
            messages::hide(mask, &mut meta, &mut explanation);
        }
        Ok(Report { meta, outputs, extra, program, explanation, start, vanished })
    }

    /// Reads what is left in the pipes, without waiting for their end.
    async fn drain(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        let deadline = tokio::time::Instant::now() + DRAIN;
        for (pipe, capture) in [(&self.stdout, &mut self.out), (&self.stderr, &mut self.err)] {
            while !capture.ended {
                match tokio::time::timeout_at(deadline, pipe.readable()).await {
                    Ok(ready) => read(&mut ready?, capture, buffer),
                    Err(_) => break,
                }
            }
        }
        Ok(())
    }
}
