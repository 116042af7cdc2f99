//! Driving one attempt: watch, end, collect. The only file of the crate that waits.
//!
//! Every fact of the result comes from here: timers, counters, wait status. What the worker says is passed on as claims.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::{Kind, PortName};
use polyloom_protocol::messages::host::Exec;
use polyloom_protocol::meta::{ExecMeta, Severity};
use polyloom_protocol::{Diagnostic, Outcome};
use polyloom_sandbox as sandbox;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::attempt::{Attempt, Collected, Live, Output, Phase, Report, Stop};
use crate::capture::{COMPILER, Capture, TAIL};
use crate::collect;
use crate::messages;
use crate::outcome::{Evidence, decide};
use crate::pipes::{asynchronous, oom_of, piped, read, ready_of, watched};
use crate::talk::Talk;
use crate::workplace::enforcement;

/// A worker must have said hello by then, counted from the spawn.
const HELLO: Duration = Duration::from_secs(20);
/// A frame that was begun must be complete by then.
const FRAME: Duration = Duration::from_secs(5);
/// The signal of the host's own kill.
const KILL: i32 = 9;
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);
/// A worker that has said Done is given this long to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often counters are read and text is passed on.
const TICK: Duration = Duration::from_millis(50);
/// After the main process ended, pipes are drained for at most this long: a daemon may hold them.
const DRAIN: Duration = Duration::from_millis(100);

/// What was collected from a dead cell.
enum Taken {
    Program(Collected),
    Outputs(BTreeMap<PortName, Output>, (BTreeMap<String, Output>, Vec<String>)),
}

/// One attempt under watch.
pub struct Watch<'a> {
    attempt: &'a Arc<Attempt>,
    cell: sandbox::Sandbox,
    control: AsyncFd<OwnedFd>,
    stdout: AsyncFd<OwnedFd>,
    stderr: AsyncFd<OwnedFd>,
    worker: Option<AsyncFd<OwnedFd>>,
    oom: Option<AsyncFd<OwnedFd>>,
    talk: Option<Talk<'a>>,
    unsent: Vec<u8>,
    out: Capture,
    err: Capture,
    diagnostics: Vec<Diagnostic>,
    live: mpsc::Sender<Live>,
    stop: watch::Receiver<Stop>,
    seen: Evidence,
    started: Instant,
    frame_began: Option<Instant>,
    farewell: Option<Instant>,
    term_sent: Option<Instant>,
    killed: bool,
}

impl<'a> Watch<'a> {
    /// Takes over a sandbox that was started at `started`.
    pub fn new(
        attempt: &'a Arc<Attempt>,
        mut cell: sandbox::Sandbox,
        exec: Option<Exec>,
        live: mpsc::Sender<Live>,
        stop: watch::Receiver<Stop>,
        started: Instant,
    ) -> std::io::Result<Self> {
        let manifest = &attempt.executor.manifest;
        let talk = match (&manifest.kind, exec) {
            (Kind::Worker(spec), Some(exec)) => Some(Talk::new(manifest, spec, exec)),
            (Kind::Command(_), _) | (Kind::Worker(_), None) => None,
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let keep = if attempt.phase == Phase::Compile { COMPILER } else { TAIL };
        Ok(Self {
            control: asynchronous(cell.control(), Interest::READABLE)?,
            stdout: piped(cell.take_stdout())?,
            stderr: piped(cell.take_stderr())?,
            worker: cell.take_worker().map(|fd| watched(fd, both)).transpose()?,
            oom: match cell.oom_signal() {
                Some(sandbox::OomSignal::Readable(fd)) => {
                    Some(asynchronous(fd, Interest::READABLE)?)
                }
                Some(sandbox::OomSignal::Priority(fd)) => {
                    Some(asynchronous(fd, Interest::PRIORITY)?)
                }
                None => None,
            },
            seen: Evidence { is_worker: talk.is_some(), ..Evidence::default() },
            talk,
            unsent: Vec::new(),
            out: Capture::new(keep),
            err: Capture::new(keep),
            diagnostics: Vec::new(),
            live,
            stop,
            started,
            frame_began: None,
            farewell: None,
            term_sent: None,
            killed: false,
            attempt,
            cell,
        })
    }

    fn violated(&mut self, words: &str) {
        self.seen.violation.get_or_insert_with(|| words.to_owned());
    }

    fn kill(&mut self) {
        if !self.killed {
            self.killed = true;
            self.cell.kill();
        }
    }

    /// Watches it to its end.
    pub async fn run(mut self) -> std::io::Result<Report> {
        let limits = &self.attempt.limits;
        let wall = tokio::time::sleep_until((self.started + limits.timeout).into());
        tokio::pin!(wall);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        let mut stop_open = true;
        let mut buffer = vec![0; 64 << 10];
        let exit = loop {
            // Writability is only of interest while something waits: it is there nearly always.
            let interest = if self.unsent.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            tokio::select! {
                biased;
                ready = self.control.readable() => {
                    let mut guard = ready?;
                    match self.cell.poll_exit() {
                        Some(fact) => break fact,
                        None => guard.clear_ready(),
                    }
                }
                () = &mut wall, if !self.seen.wall => {
                    self.seen.wall = true;
                    self.kill();
                }
                changed = stop.changed(), if stop_open => match changed {
                    Ok(()) => self.on_stop(*stop.borrow_and_update()),
                    Err(_) => stop_open = false,
                },
                ready = oom_of(self.oom.as_ref()), if self.oom.is_some() => {
                    ready?;
                    self.on_usage();
                }
                _ = tick.tick() => self.on_tick().await,
                ready = self.stdout.readable(), if !self.out.ended => {
                    read(&mut ready?, &mut self.out, &mut buffer);
                    self.on_output();
                }
                ready = self.stderr.readable(), if !self.err.ended => {
                    read(&mut ready?, &mut self.err, &mut buffer);
                    self.on_output();
                }
                ready = ready_of(self.worker.as_ref(), interest), if self.worker.is_some() => {
                    ready?;
                    self.on_worker(&mut buffer).await;
                }
            }
        };
        let wall_time = self.started.elapsed();
        self.finish(exit, wall_time, buffer).await
    }

    fn on_stop(&mut self, stop: Stop) {
        match stop {
            Stop::No => {}
            Stop::Gracefully => {
                self.seen.cancelled = true;
                if let Some(talk) = &mut self.talk {
                    let grace = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
                    let bytes = talk.cancel(grace);
                    self.unsent.extend(bytes);
                    self.flush_worker();
                }
                // Failing means that it is ending already.
                let _ = self.cell.signal(nix::sys::signal::Signal::SIGTERM as i32);
                self.term_sent = Some(Instant::now());
            }
            Stop::Now => {
                self.seen.cancelled = true;
                self.kill();
            }
        }
    }

    fn on_output(&mut self) {
        // What a worker logs lies in the run's record as what it prints does.
        let logged = self.talk.as_ref().map_or(0, |talk| talk.metered);
        if self.out.bytes + self.err.bytes + logged > self.attempt.limits.output
            && !self.seen.output
        {
            self.seen.output = true;
            self.kill();
        }
    }

    /// Looks at the counters; ends the cell where a limit is passed that the kernel does not hold by itself.
    fn on_usage(&mut self) {
        let usage = self.cell.usage();
        let limits = &self.attempt.limits;
        self.seen.oom_kills = usage.oom_kills;
        self.seen.disk_full |= usage.disk_full || usage.disk >= limits.disk;
        if usage.oom_kills > 0 {
            self.kill();
        }
        if usage
            .peak_memory
            .is_some_and(|peak| peak > limits.memory.saturating_add(limits.memory / 16))
        {
            self.seen.memory_polled = true;
            self.kill();
        }
        if limits.cpu_time.is_some_and(|limit| usage.cpu > limit) {
            self.seen.cpu = true;
            self.kill();
        }
    }

    async fn on_tick(&mut self) {
        self.on_usage();
        let now = Instant::now();
        if self.term_sent.is_some_and(|at| now - at > GRACE) {
            self.kill();
        }
        if self.farewell.is_some_and(|at| now - at > FAREWELL) && !self.killed {
            match self.talk.as_ref().and_then(|talk| talk.done) {
                Some(_) => self.seen.lingered = true,
                None => self.violated(
                    "the worker closed its connection before it said that the cell is done",
                ),
            }
            self.kill();
        }
        if let Some(talk) = &self.talk {
            if !talk.greeted && now - self.started > HELLO && self.seen.violation.is_none() {
                let limit = HELLO.as_secs();
                self.seen.violation =
                    Some(format!("the worker did not say hello within {limit} s"));
                self.kill();
            }
            if self.frame_began.is_some_and(|at| now - at > FRAME) && self.seen.violation.is_none()
            {
                self.seen.violation =
                    Some("the worker began a message and did not end it in 5 s".into());
                self.kill();
            }
        }
        self.pass_text_on(false).await;
    }

    async fn pass_text_on(&mut self, last: bool) {
        // A compiler's machine-readable messages become diagnostics instead.
        let quiet = self.hides_stderr();
        for (capture, stderr) in [(&mut self.out, false), (&mut self.err, true)] {
            if let Some(text) = capture.take_text(last)
                && !(quiet && stderr)
            {
                let _ = self.live.send(Live::Text { stderr, text }).await;
            }
        }
    }

    fn hides_stderr(&self) -> bool {
        use polyloom_model::DiagnosticsFormat::Gcc;
        let spec = self.attempt.executor.manifest.diagnostics.as_ref();
        self.attempt.phase == Phase::Compile && spec.is_some_and(|spec| spec.format == Gcc)
    }

    fn flush_worker(&mut self) {
        let Some(worker) = &self.worker else { return };
        while !self.unsent.is_empty() {
            match worker.try_io(Interest::WRITABLE, |fd| {
                nix::unistd::write(fd, &self.unsent).map_err(std::io::Error::from)
            }) {
                Ok(sent) => {
                    self.unsent.drain(..sent);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // The worker closed its end; what it is is decided by how it ends.
                Err(_) => self.unsent.clear(),
            }
        }
    }

    async fn on_worker(&mut self, buffer: &mut [u8]) {
        self.flush_worker();
        let Some(worker) = &self.worker else { return };
        let read = worker.try_io(Interest::READABLE, |fd| {
            nix::unistd::read(fd, buffer).map_err(std::io::Error::from)
        });
        let bytes = match read {
            Ok(count @ 1..) => &buffer[..count],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            // Its end is closed: as a rule the process is about to end, too.
            Ok(0) | Err(_) => {
                self.worker = None;
                self.farewell.get_or_insert_with(Instant::now);
                return;
            }
        };
        let Some(talk) = &mut self.talk else { return };
        if self.seen.violation.is_some() {
            return;
        }
        let frames = talk.frames;
        let reaction = talk.on_bytes(bytes);
        // The clock is that of one frame: it starts anew where another was completed.
        self.frame_began = match (talk.mid_frame(), self.frame_began) {
            (false, _) => None,
            (true, Some(began)) if talk.frames == frames => Some(began),
            (true, _) => Some(Instant::now()),
        };
        if talk.done.is_some() && self.farewell.is_none() {
            self.farewell = Some(Instant::now());
        }
        match reaction {
            Ok(reaction) => {
                self.unsent.extend(reaction.send);
                self.flush_worker();
                self.on_output();
                for live in reaction.live {
                    self.on_live(live).await;
                }
            }
            Err(words) => {
                self.seen.violation = Some(words);
                self.kill();
            }
        }
    }

    async fn on_live(&mut self, mut live: Live) {
        if let Live::Diagnostic(diagnostic) = &mut live {
            messages::to_author(diagnostic, self.attempt);
            if self.diagnostics.len() >= 200 {
                return;
            }
            self.diagnostics.push(diagnostic.clone());
        }
        let _ = self.live.send(live).await;
    }

    async fn finish(
        mut self,
        exit: sandbox::ExitFact,
        wall: Duration,
        mut buffer: Vec<u8>,
    ) -> std::io::Result<Report> {
        // What the worker said before it ended still counts.
        let deadline = tokio::time::Instant::now() + DRAIN;
        while let Some(worker) = &self.worker {
            match tokio::time::timeout_at(deadline, worker.readable()).await {
                Ok(Ok(guard)) => drop(guard),
                Ok(Err(_)) | Err(_) => break,
            }
            self.on_worker(&mut buffer).await;
        }
        self.drain(&mut buffer).await?;
        self.pass_text_on(true).await;
        self.on_usage();

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
        seen.oom_kills = teardown.usage.oom_kills;
        seen.pids_refused = teardown.usage.pids_refused;
        seen.peak_memory = teardown.usage.peak_memory;
        seen.disk_full |= teardown.usage.disk_full || teardown.usage.disk >= attempt.limits.disk;
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
        let (mut outcome, mut explanation) = decide(seen, &attempt.limits);

        let mut meta = ExecMeta::new(Outcome::Ok);
        let mut outputs = Default::default();
        let mut program = None;
        let (stdout, mut stderr) = (self.out.tail(), self.err.tail());
        let told = messages::of_tools(attempt, &stdout.text, &stderr.text);
        if hidden {
            stderr.text = messages::as_text(&told);
        }
        self.diagnostics.extend(told);
        let mut extra = Default::default();
        if outcome == Outcome::Ok {
            let attempt = Arc::clone(attempt);
            let claims = self.talk.as_mut().map(|talk| std::mem::take(&mut talk.artifacts));
            let claims = claims.unwrap_or_default();
            let collected = tokio::task::spawn_blocking(move || match attempt.phase {
                Phase::Compile => collect::program(&cell).map(Taken::Program),
                Phase::Run { .. } => {
                    let all = collect::outputs(&cell, &attempt.outputs)?;
                    Ok(Taken::Outputs(all, collect::extra(&cell, &claims, &attempt.outputs)))
                }
            });
            match collected.await.map_err(std::io::Error::other)? {
                Ok(Taken::Program(built)) => program = Some(built),
                Ok(Taken::Outputs(all, (more, left))) => {
                    outputs = all;
                    extra = more;
                    let warning = |text| Diagnostic::new(Severity::Warning, text);
                    self.diagnostics.extend(left.into_iter().map(warning));
                }
                Err(problems) => {
                    outcome = Outcome::OutputMissing;
                    explanation = problems.first().cloned();
                    let error = |text| Diagnostic::new(Severity::Error, text);
                    self.diagnostics.extend(problems.into_iter().map(error));
                }
            }
        }
        meta.outcome = outcome;
        meta.exit_code = seen.exit_code;
        meta.signal = seen.signal;
        meta.wall_ms = wall.as_secs_f64() * 1e3;
        meta.cpu_ms = teardown.usage.cpu.as_secs_f64() * 1e3;
        meta.peak_memory = teardown.usage.peak_memory;
        meta.stdout = stdout;
        meta.stderr = stderr;
        meta.diagnostics = self.diagnostics;
        if let Some(talk) = self.talk {
            meta.session_changed = talk.session_changed;
            meta.extras = talk.extras;
        }
        meta.enforcement = achieved;
        Ok(Report { meta, outputs, extra, program, explanation })
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
