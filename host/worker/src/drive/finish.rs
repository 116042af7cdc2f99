//! The end of an attempt: what is left in its pipes, what it left behind, and what is said of it all.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::{Encoding, Limit, PortName, Type, Value};
use polyloom_protocol::meta::{ExecMeta, LimitMeta, PolicyMeta, Severity, Times};
use polyloom_protocol::{Diagnostic, Outcome};
use polyloom_sandbox as sandbox;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::{DRAIN, KILL, Seat, Share, Watch, millis};
use crate::attempt::{Attempt, Collected, Live, Output, Phase, Report, Start};
use crate::capture::{Capture, shorten};
use crate::collect::{self, Problem, Writers};
use crate::gate::Gate;
use crate::messages;
use crate::outcome::{Evidence, Verdict, decide};
use crate::pipes::read;
use crate::talk::Talk;
use crate::words::Words;
use crate::workplace::enforcement;

/// A cell that has written no more than this is looked through at once.
const LITTLE: u64 = 1 << 20;

/// What was collected from a dead cell.
enum Taken {
    Program(Collected),
    Outputs(BTreeMap<PortName, Output>, (BTreeMap<String, Output>, Vec<String>)),
}

impl<'a> Watch<'a> {
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

        let (rest, mut cell, before) = self.apart();
        let joined = tokio::task::spawn_blocking(move || {
            let teardown = cell.finish();
            (cell, teardown)
        });
        let (cell, teardown) = joined.await.map_err(std::io::Error::other)?;

        let mut rest = rest;
        let seen = &mut rest.seen;
        let mut usage = teardown.usage;
        usage.cpu = usage.cpu.saturating_sub(before);
        seen.take_in(&usage, &rest.attempt.limits);
        seen.wall_time = wall;
        seen.was_to_stay = rest.talk.as_ref().is_some_and(|talk| talk.stays);
        let unsaid = rest.talk.as_ref().is_some_and(|talk| talk.greeted && talk.done.is_none());
        match exit.exit {
            sandbox::Exit::Code(0) if unsaid && !seen.is_worker => {
                let text = "the worker ended before it said that the cell is done";
                seen.violation.get_or_insert_with(|| text.to_owned());
                seen.exit_code = Some(0);
            }
            sandbox::Exit::Code(code) => seen.exit_code = Some(code),
            sandbox::Exit::Signal(signal) => seen.signal = Some(signal),
            sandbox::Exit::SupervisorLost if rest.killed => seen.signal = Some(KILL),
            sandbox::Exit::SupervisorLost => seen.supervisor_lost = true,
            exit => seen.not_started = Some(messages::exit_words(exit)),
        }
        let (report, _, _) = rest.report(cell, Writers::Gone, times).await?;
        Ok(report)
    }

    /// Ends the watch of a cell of a session that is done: what it has printed is in the pipes by now, and its files are copied, since the process goes on.
    /// Where that goes on with another cell, this one has left nothing, and what is there is of that.
    pub(super) async fn settle(
        mut self,
        mut buffer: Vec<u8>,
    ) -> std::io::Result<(Report, Option<Seat>)> {
        let ended = Instant::now();
        let is_followed = self.is_followed();
        let mut times = self.times(ended);
        let pipes = [(&self.stdout, &mut self.out), (&self.stderr, &mut self.err)];
        for (pipe, capture) in pipes.into_iter().filter(|_| !is_followed) {
            while let Ok(count @ 1..) = nix::unistd::read(pipe.get_ref(), &mut buffer) {
                capture.push(&buffer[..count]);
            }
        }
        self.on_output();
        while let Ok(text) = self.refusals.try_recv() {
            self.on_live(Live::Diagnostic(Diagnostic::new(Severity::Warning, text))).await;
        }
        self.out.finish();
        self.err.finish();
        self.pass_text_on(true).await;
        let wall = self.share(ended - self.started);
        times.run_ms = times.run_ms.min(millis(wall));
        self.tell_pending().await;
        let cpu = self.cpu + self.seen.cpu_time;
        let (mut rest, cell, _) = self.apart();
        let is_worker = rest.seen.is_worker;
        rest.seen.wall_time = wall;
        if rest.killed {
            rest.seen.signal = Some(KILL);
        } else {
            // Nothing has ended: what is said of the cell is what its worker said.
            let failed = rest.talk.as_ref().is_some_and(|talk| talk.done == Some(false));
            rest.seen.exit_code = Some((failed && !is_worker).into());
        }
        let writers = Writers::GoOn { most: rest.attempt.limits.disk };
        let kept = rest.ears.take();
        let (mut report, cell, talk) = rest.report(cell, writers, times).await?;
        if is_worker {
            report.meta.exit_code = None;
        }
        times.collect_ms = millis(ended.elapsed());
        report.meta.times = Some(times);
        // Of others it is not known what they have left behind.
        let whole = [Outcome::Ok, Outcome::Failed, Outcome::OutputMissing];
        let whole = if is_worker { &whole[..] } else { &whole[..1] };
        let goes_on = whole.contains(&report.meta.outcome);
        let kept = kept.filter(|_| goes_on);
        let seat = kept.map(|ears| Seat { buffer, ..ears.seat(cell, talk, cpu) });
        Ok((report, seat))
    }

    /// Reads the counters, for all cells of which the host has heard at once that they are done: each has used as much as the others. Gives the time of one.
    fn share(&mut self, wall: Duration) -> Duration {
        let mut share = match self.share.take().filter(|share| share.left > 0) {
            Some(share) => share,
            None => {
                let mut usage = self.on_usage();
                let left = 1 + self.talk.as_ref().map_or(0, Talk::done_ahead);
                let parts = u32::try_from(left).unwrap_or(u32::MAX);
                usage.cpu /= parts;
                Share { left, wall: wall / parts, usage }
            }
        };
        share.left -= 1;
        self.seen.take_in(&share.usage, &self.attempt.limits);
        self.share = Some(share);
        share.wall
    }

    /// What has been seen and said, without the sandbox that it was about; and the processor time that was used there before.
    fn apart(self) -> (Rest<'a>, sandbox::Sandbox, Duration) {
        let hidden = self.hides_stderr();
        let ears = Ears {
            control: self.control,
            stdout: self.stdout,
            stderr: self.stderr,
            worker: self.worker,
            oom: self.oom,
            gate: self.gate,
            refusals: self.refusals,
            unsent: self.unsent,
            share: self.share,
        };
        let rest = Rest {
            attempt: self.attempt,
            talk: self.talk,
            words: self.words,
            out: self.out,
            err: self.err,
            diagnostics: self.diagnostics,
            live: self.live,
            seen: self.seen,
            killed: self.killed,
            hidden,
            ears: Some(ears),
        };
        (rest, self.cell, self.cpu)
    }

    /// Reads what is left in the pipes, without waiting for their end.
    async fn drain(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        let deadline = tokio::time::Instant::now() + DRAIN;
        for (pipe, capture) in [(&self.stdout, &mut self.out), (&self.stderr, &mut self.err)] {
            while !capture.ended {
                match tokio::time::timeout_at(deadline, pipe.readable()).await {
                    Ok(ready) => drop(ready?),
                    Err(_) => break,
                }
                read(pipe, capture, buffer);
            }
        }
        Ok(())
    }
}

/// By what a sandbox is heard.
struct Ears {
    control: AsyncFd<OwnedFd>,
    stdout: AsyncFd<OwnedFd>,
    stderr: AsyncFd<OwnedFd>,
    worker: Option<AsyncFd<OwnedFd>>,
    oom: Option<AsyncFd<OwnedFd>>,
    gate: Option<Gate>,
    refusals: mpsc::Receiver<String>,
    unsent: Vec<u8>,
    share: Option<Share>,
}

impl Ears {
    fn seat(self, cell: sandbox::Sandbox, talk: Option<Talk>, cpu: Duration) -> Seat {
        let Self { control, stdout, stderr, worker, oom, gate, refusals, unsent, share } = self;
        let (say, buffer) = (None, Vec::new());
        Seat {
            cell,
            control,
            stdout,
            stderr,
            worker,
            oom,
            talk,
            say,
            gate,
            refusals,
            cpu,
            unsent,
            share,
            buffer,
        }
    }
}

/// What has been seen and said in an attempt that is over.
struct Rest<'a> {
    attempt: &'a Arc<Attempt>,
    talk: Option<Talk>,
    words: Words,
    out: Capture,
    err: Capture,
    diagnostics: Vec<Diagnostic>,
    live: mpsc::Sender<Live>,
    seen: Evidence,
    killed: bool,
    hidden: bool,
    ears: Option<Ears>,
}

impl Rest<'_> {
    /// Decides how it ended, and takes what is to be kept.
    async fn report(
        mut self,
        cell: sandbox::Sandbox,
        writers: Writers,
        times: Times,
    ) -> std::io::Result<(Report, sandbox::Sandbox, Option<Talk>)> {
        let attempt = self.attempt;
        let achieved = enforcement(cell.enforcement());
        let seen = &mut self.seen;
        if let Some(talk) = &self.talk {
            seen.done = talk.done;
            seen.greeted = talk.greeted && seen.is_worker;
        }
        let Verdict { mut outcome, mut hit, text: mut explanation } = decide(seen, &attempt.limits);
        if let Some(code) = seen.ended_itself().filter(|_| outcome == Outcome::Failed) {
            self.diagnostics.extend(messages::ended_itself(&attempt.executor.manifest, code));
        }
        // The code of a cell runs in a bundled one, which does not end by itself.
        let is_bundled = attempt.executor.manifest.path.is_none();
        if is_bundled && seen.has_left() && outcome == Outcome::WorkerError {
            outcome = Outcome::Failed;
            explanation = None;
            let text = "it ended its own process, with exit code 0, before it was over";
            self.diagnostics.push(Diagnostic::new(Severity::Error, text.to_owned()));
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

        let cell = Arc::new(cell);
        let mut meta = ExecMeta::new(Outcome::Ok);
        let mut outputs = Default::default();
        let mut program = None;
        let (mut stdout, mut stderr) = (self.out.tail(), self.err.tail());
        let told = messages::of_tools(attempt, cell.view(), &stdout.text, &stderr.text);
        if self.hidden {
            stderr.text = messages::in_place_of(&stderr.text, &told);
        }
        self.diagnostics.extend(told);
        if !attempt.phase.compiles() {
            shorten(&mut stdout);
            shorten(&mut stderr);
        }
        let mut extra = Default::default();
        if outcome == Outcome::Ok {
            let limits = &attempt.limits;
            let attempt = Arc::clone(attempt);
            let most = limits.artifacts;
            let claims = match &mut self.talk {
                Some(talk) => std::mem::take(&mut talk.artifacts),
                None => std::mem::take(&mut self.words.artifacts),
            };
            let talk = self.talk.as_mut();
            let told = talk.map(|talk| std::mem::take(&mut talk.values)).unwrap_or_default();
            let sealed = Arc::clone(&cell);
            // A few values are no reason to go to another thread.
            let is_value = |ty: &Type| ty.encoding() == Encoding::Msgpack;
            let little = matches!(attempt.phase, Phase::Run { .. })
                && attempt.outputs.iter().all(|(_, ty)| is_value(ty))
                && claims.is_empty()
                && seen.disk <= LITTLE;
            let collect = move || match attempt.phase {
                Phase::Head => collect::head(&sealed).map(Taken::Program),
                Phase::Compile { .. } => collect::program(&sealed).map(Taken::Program),
                Phase::Run { .. } => {
                    let mask = attempt.mask().map(Arc::as_ref);
                    let gathered =
                        collect::outputs(&sealed, &attempt.outputs, told, most, mask, writers)?;
                    let (more, mut left) =
                        collect::extra(&sealed, &claims, &attempt.outputs, mask, writers)
                            .map_err(|it| vec![it])?;
                    left.extend(gathered.odd);
                    Ok(Taken::Outputs(gathered.outputs, (more, left)))
                }
            };
            let collected = match little {
                true => collect(),
                false => {
                    let collected = tokio::task::spawn_blocking(collect).await;
                    collected.map_err(std::io::Error::other)?
                }
            };
            match collected {
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
        meta.wall_ms = millis(seen.wall_time);
        meta.times = Some(times);
        meta.cpu_ms = seen.cpu_time.as_secs_f64() * 1e3;
        meta.peak_memory = seen.peak_memory;
        meta.stdout = stdout;
        meta.stderr = stderr;
        meta.diagnostics = self.diagnostics;
        if let Some(talk) = &mut self.talk {
            meta.session_changed = talk.session_changed;
            meta.extras = claims(std::mem::take(&mut talk.extras), &attempt.learnt);
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
        let report = Report { meta, outputs, extra, program, explanation, start, vanished };
        let Some(cell) = Arc::into_inner(cell) else {
            return Err(std::io::Error::other("the files of a cell are still being read"));
        };
        Ok((report, cell, self.talk))
    }
}

/// Results of its own that a worker named, without those that only the host can know, and with what was loaded ahead where that was to be.
fn claims(mut extras: BTreeMap<String, Value>, learnt: &[String]) -> BTreeMap<String, Value> {
    const HOSTS: [&str; 5] =
        ["compiled_ms", "compiled_head", "did_not_compile", "replayed", "session"];
    extras.retain(|name, value| match value {
        Value::List(names) if name == "preloaded" => {
            names.retain(|name| matches!(name, Value::Str(name) if learnt.contains(name)));
            !names.is_empty()
        }
        _ => name != "preloaded" && !HOSTS.contains(&name.as_str()),
    });
    extras
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_host_can_know_is_no_claim() {
        let names = |all: &[&str]| {
            Value::List(all.iter().map(|name| Value::Str((*name).to_owned())).collect())
        };
        let of = |pairs: &[(&str, Value)]| -> BTreeMap<String, Value> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let said = of(&[
            ("compiled_ms", Value::Float(1e300)),
            ("did_not_compile", Value::Bool(true)),
            ("replayed", names(&["a"])),
            ("session", Value::Str("forged".to_owned())),
            ("preloaded", names(&["numpy", "torch"])),
            ("own", Value::Int(1)),
        ]);
        let learnt = ["numpy".to_owned()];
        let own = ("own", Value::Int(1));
        assert_eq!(
            claims(said.clone(), &learnt),
            of(&[("preloaded", names(&["numpy"])), own.clone()])
        );
        assert_eq!(claims(said, &[]), of(&[own]));
    }
}
