//! Driving one attempt: watch, end, collect. The only file of the crate that waits.
//!
//! Every fact of the result comes from here: timers, counters, wait status. What the worker says is passed on as claims.

mod between;
mod finish;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::{Kind, Limit, Manifest};
use polyloom_protocol::Diagnostic;
use polyloom_protocol::FromHost;
use polyloom_protocol::handshake::feature;
use polyloom_protocol::messages::host::{Exec, Ping};
use polyloom_protocol::meta::{Severity, Times};
use polyloom_sandbox as sandbox;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::attempt::{Attempt, Live, Report, Stage, Stop};
use crate::capture::{COMPILER, Capture, READ, TAIL};
use crate::gate::{self, Gate};
use crate::messages;
use crate::outcome::Evidence;
use crate::parking::{Berth, Line};
use crate::pipes::{asynchronous, conversed, is_empty, oom_of, piped, read, readable, room, send};
use crate::talk::{Answer, Pause, Talk};
use crate::words::Words;

pub use between::{Bounds, Unanswered};

/// A worker must have said hello by then, counted from the spawn.
pub const HELLO: Duration = Duration::from_secs(20);
/// A frame that was begun must be complete by then.
const FRAME: Duration = Duration::from_secs(5);
/// The signal of the host's own kill.
const KILL: i32 = 9;
/// A cell that is called off is given no more than this, whatever its flow says.
const LONGEST_FAREWELL: Duration = Duration::from_secs(10);
/// A worker that has said Done is given this long to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
/// Words of the gate that wait to be told.
const REFUSALS: usize = 32;
/// How often counters are read and text is passed on.
const TICK: Duration = Duration::from_millis(50);
/// So much of what a worker has said is taken in before something else is looked at: more than all that may wait in a socket for cells that follow each other.
const MOST_READS: usize = 256;
/// A tick that comes later than this shows that the host did not run.
const LATE: Duration = Duration::from_millis(500);
/// After the main process ended, pipes are drained for at most this long: a daemon may hold them.
const DRAIN: Duration = Duration::from_millis(100);

/// How a watch came to its end.
enum Over {
    /// Its first process has ended.
    Ended(sandbox::ExitFact),
    /// Its worker has said that the cell is done, and stays.
    Done,
}

/// What is to be seen to.
enum Cause {
    /// Its first process may have ended.
    Exit,
    /// Its time is over.
    Wall,
    /// It takes longer than it was expected to.
    Soft,
    /// Somebody wants it to end.
    Stop(Stop),
    /// The kernel tells of its memory.
    Memory,
    /// The gate has refused something.
    Refused(String),
    /// It is time to look.
    Tick,
    /// It has printed something.
    Printed { stderr: bool },
    /// A plain program says something.
    Words,
    /// Its worker says something.
    Worker,
    /// There is room for what is to be sent to its worker.
    Room,
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A sandbox with all that is heard of it: what one attempt has, or those of a session one after the other.
pub struct Seat {
    pub cell: sandbox::Sandbox,
    control: AsyncFd<OwnedFd>,
    stdout: AsyncFd<OwnedFd>,
    stderr: AsyncFd<OwnedFd>,
    worker: Option<AsyncFd<OwnedFd>>,
    oom: Option<AsyncFd<OwnedFd>>,
    talk: Option<Talk>,
    /// Where a plain program says something.
    say: Option<AsyncFd<OwnedFd>>,
    /// What is behind the doors of its network, and what it was refused there.
    gate: Option<Gate>,
    refusals: mpsc::Receiver<String>,
    /// Processor time of the attempts before.
    pub cpu: Duration,
    /// What is still to be sent to its worker.
    unsent: Vec<u8>,
    /// What each of the next attempts has used, where they were done together.
    share: Option<Share>,
    /// Where bytes are read to, once there was an attempt.
    buffer: Vec<u8>,
}

/// What several attempts of a session have used of which the host heard at once: a part for each of them.
#[derive(Clone, Copy)]
struct Share {
    /// As many attempts are still to have theirs.
    left: usize,
    wall: Duration,
    usage: sandbox::Usage,
}

impl Seat {
    /// Takes over a sandbox that was started, or waited.
    pub fn open(attempt: &Attempt, berth: Berth) -> std::io::Result<Self> {
        let Berth { mut cell, line } = berth;
        let (refuse, refusals) = mpsc::channel(REFUSALS);
        let gate = match cell.take_doors() {
            Some(doors) => {
                let granted = &attempt.granted;
                let (rules, denied) = (granted.net.clone(), granted.denied.clone());
                Some(Gate::open(doors, rules, denied, gate::system(), refuse)?)
            }
            None => None,
        };
        let line = match (line, &attempt.executor.manifest.kind) {
            (None, Kind::Worker(_)) => Line::open(&mut cell, &attempt.executor, attempt.mask())?,
            (line, _) => line,
        };
        Self::at(cell, line, gate, refusals)
    }

    /// Takes over a sandbox whose worker another process has talked with until now.
    pub fn resume(
        mut cell: sandbox::Sandbox,
        manifest: &Manifest,
        pause: Pause,
    ) -> std::io::Result<Self> {
        let (Kind::Worker(spec), Some(socket)) = (&manifest.kind, cell.take_worker()) else {
            return Err(std::io::ErrorKind::Unsupported.into());
        };
        let worker = conversed(socket)?;
        let talk = Talk::resumed(manifest, spec, pause);
        let (_, refusals) = mpsc::channel(REFUSALS);
        Self::at(cell, Some(Line { worker, talk }), None, refusals)
    }

    /// What another process needs to know of its worker; nothing while something is under way.
    pub fn pause(&self) -> Option<(Pause, Duration)> {
        Some((self.talk.as_ref()?.pause()?, self.cpu))
    }

    fn at(
        mut cell: sandbox::Sandbox,
        line: Option<Line>,
        gate: Option<Gate>,
        refusals: mpsc::Receiver<String>,
    ) -> std::io::Result<Self> {
        let (worker, talk) = line.map(|Line { worker, talk }| (worker, talk)).unzip();
        let say = match cell.take_worker() {
            Some(pipe) => Some(piped(Some(pipe))?),
            None => None,
        };
        Ok(Self {
            control: asynchronous(cell.control(), Interest::READABLE)?,
            stdout: piped(cell.take_stdout())?,
            stderr: piped(cell.take_stderr())?,
            worker,
            oom: match cell.oom_signal() {
                Some(sandbox::OomSignal::Readable(fd)) => {
                    Some(asynchronous(fd, Interest::READABLE)?)
                }
                Some(sandbox::OomSignal::Priority(fd)) => {
                    Some(asynchronous(fd, Interest::PRIORITY)?)
                }
                None => None,
            },
            talk,
            say,
            gate,
            refusals,
            cpu: Duration::ZERO,
            unsent: Vec::new(),
            share: None,
            buffer: Vec::new(),
            cell,
        })
    }

    /// Has its worker run a cell, as soon as it is there.
    pub fn run(&mut self, exec: Exec) {
        if let Some(talk) = &mut self.talk {
            self.unsent.extend(talk.ask(exec));
        }
    }

    /// Has its worker run a cell behind those that it was asked to run.
    pub fn run_behind(&mut self, exec: Exec) {
        if let Some(talk) = &mut self.talk {
            self.unsent.extend(talk.ask_behind(exec));
        }
    }

    /// Turns to the cell that its worker has gone on with.
    pub fn go_on(&mut self) {
        if let Some(talk) = &mut self.talk {
            talk.go_on();
        }
    }

    /// Whether its worker goes on with another cell by itself.
    pub fn is_followed(&self) -> bool {
        self.talk.as_ref().is_some_and(Talk::is_followed)
    }

    /// Whether its last cell left something, by what its worker said.
    pub fn leaves(&self) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.leaves)
    }

    /// Whether its worker can be asked to run cells behind the one that it runs.
    pub fn queues(&self) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.greeted)
            && [feature::QUEUE, feature::SOURCE].into_iter().all(|it| self.may(it))
    }

    /// Has its worker go on after each of its cells.
    pub fn stays(mut self) -> Self {
        if let Some(talk) = &mut self.talk {
            talk.stays = true;
        }
        self
    }

    /// Whether its worker keeps snapshots.
    pub fn keeps(&self) -> bool {
        self.talk.as_ref().is_some_and(Talk::keeps)
    }

    /// Waits until its worker has greeted. Nothing where it does not.
    pub async fn greet(&mut self) -> Option<&Talk> {
        self.hear(Vec::new(), HELLO, |talk| talk.greeted).await?;
        self.settle().await?;
        self.talk.as_ref()
    }

    /// Waits until its worker is through with what a process that is gone has asked it to save. Nothing where it does not come through.
    pub async fn settle(&mut self) -> Option<()> {
        let Some(talk) = self.talk.as_mut().filter(|talk| talk.saving) else { return Some(()) };
        talk.saving = false;
        let unsent = talk.say_between(FromHost::Ping(Ping { n: 1 }));
        self.hear(unsent, HELLO, |talk| talk.answer == Some(Answer::Pong)).await?;
        self.talk.as_mut()?.answer = None;
        self.cell.empty("out").ok()
    }

    /// Says something to its worker while no cell runs, and waits for the answer, not for long. Nothing where it is not known in what state it is now.
    pub async fn ask(&mut self, messages: impl IntoIterator<Item = FromHost>) -> Option<Answer> {
        self.greet().await?;
        let talk = self.talk.as_mut()?;
        let unsent = messages.into_iter().flat_map(|it| talk.say_between(it)).collect();
        self.hear(unsent, FRAME, |talk| talk.answer.is_some()).await?;
        self.talk.as_mut()?.answer.take()
    }

    /// Sends bytes, and reads until it has heard what it waits for, not for long.
    async fn hear(
        &mut self,
        unsent: Vec<u8>,
        patience: Duration,
        heard: impl Fn(&Talk) -> bool,
    ) -> Option<()> {
        let (Some(worker), Some(talk)) = (&self.worker, &mut self.talk) else { return None };
        tokio::time::timeout(patience, converse(worker, talk, unsent, heard)).await.ok().flatten()
    }

    /// Takes what its cells run as inputs at a prompt.
    pub fn at_prompt(&mut self) {
        if let Some(talk) = &mut self.talk {
            talk.interactive = true;
        }
    }

    /// Whether they are.
    pub fn is_at_prompt(&self) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.interactive)
    }

    /// Whether its worker has agreed to a feature.
    pub fn may(&self, feature: &str) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.may(feature))
    }

    /// The same, by its manifest before it has greeted.
    pub fn takes(&self, feature: &str) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.takes(feature))
    }

    /// Whether its first process is there.
    pub fn is_there(&mut self) -> bool {
        self.worker.is_some() && self.cell.poll_exit().is_none()
    }
}

/// Sends bytes to a worker, and reads until something of it was heard. Nothing: it ended, or said what it may not.
pub async fn converse(
    worker: &AsyncFd<OwnedFd>,
    talk: &mut Talk,
    mut unsent: Vec<u8>,
    heard: impl Fn(&Talk) -> bool,
) -> Option<()> {
    let mut buffer = vec![0; 4096];
    loop {
        send(worker, &mut unsent).ok()?;
        if !unsent.is_empty() {
            room(Some(worker)).await.ok()?;
            continue;
        }
        if heard(talk) {
            return Some(());
        }
        let mut ready = worker.readable().await.ok()?;
        match ready.try_io(|fd| sandbox::stream::read(fd, &mut buffer)) {
            Err(_) => {}
            Ok(Ok((count @ 1.., false))) => {
                unsent.extend(talk.on_bytes(&buffer[..count]).ok()?.send);
            }
            Ok(_) => return None,
        }
    }
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
    talk: Option<Talk>,
    unsent: Vec<u8>,
    share: Option<Share>,
    buffer: Vec<u8>,
    /// Where a plain program says something, and what it has said.
    say: Option<AsyncFd<OwnedFd>>,
    words: Words,
    out: Capture,
    err: Capture,
    diagnostics: Vec<Diagnostic>,
    live: mpsc::Sender<Live>,
    /// What is behind the doors of its network, and what it was refused there.
    gate: Option<Gate>,
    refusals: mpsc::Receiver<String>,
    stop: watch::Receiver<Stop>,
    seen: Evidence,
    cpu: Duration,
    started: Instant,
    /// When its first process was there, and when its worker had greeted.
    spawned: Instant,
    greeted: Option<Instant>,
    ticked: Instant,
    greeting_due: Instant,
    frame_began: Option<Instant>,
    farewell: Option<Instant>,
    /// When a cell that was asked to end is ended.
    kill_due: Option<Instant>,
    killed: bool,
    /// What is to be told as soon as there is time to.
    pending: Vec<Live>,
}

impl<'a> Watch<'a> {
    /// Watches what is done in a seat from `started` on: an exec, or what its worker was asked to run.
    pub fn new(
        attempt: &'a Arc<Attempt>,
        mut seat: Seat,
        exec: Option<Exec>,
        live: mpsc::Sender<Live>,
        stop: watch::Receiver<Stop>,
        started: Instant,
    ) -> Self {
        let spawned = Instant::now();
        if let Some(exec) = exec {
            seat.run(exec);
        }
        let Seat { cell, control, stdout, stderr, worker, oom, talk, .. } = seat;
        let Seat { say, gate, refusals, cpu, unsent, share, buffer, .. } = seat;
        // One that waited has greeted before.
        let greeted = talk.as_ref().is_none_or(|talk| talk.greeted).then_some(spawned);
        let keep = match attempt.executor.manifest.diagnostics {
            _ if attempt.phase.compiles() => COMPILER,
            Some(_) => READ,
            None => TAIL,
        };
        Self {
            control,
            stdout,
            stderr,
            worker,
            oom,
            // One that makes instances of programs is told of as the programs are.
            seen: Evidence {
                is_worker: talk.is_some()
                    && matches!(attempt.executor.manifest.kind, Kind::Worker(_)),
                ..Evidence::default()
            },
            cpu,
            talk,
            unsent,
            share,
            buffer,
            say,
            words: Words::new(attempt.mask().cloned(), cell.view().path("/cell/out")),
            out: Capture::new(keep, attempt.mask()),
            err: Capture::new(keep, attempt.mask()),
            diagnostics: Vec::new(),
            live,
            gate,
            refusals,
            stop,
            started,
            spawned,
            greeted,
            ticked: Instant::now(),
            greeting_due: started + HELLO,
            frame_began: None,
            farewell: None,
            kill_due: None,
            killed: false,
            pending: Vec::new(),
            attempt,
            cell,
        }
    }

    /// The parts of its time until its process had ended.
    fn times(&self, ended: Instant) -> Times {
        let greeted = self.greeted.unwrap_or(ended);
        Times {
            spawn_ms: millis(self.spawned - self.started),
            hello_ms: millis(greeted - self.spawned),
            run_ms: millis(ended - greeted),
            ..Times::default()
        }
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

    /// Ends it because of a limit.
    fn kill_for(&mut self, limit: Limit, used: Option<u64>) {
        if !self.killed {
            self.pending.push(Live::Limit { limit, stage: Stage::Kill, used });
            self.kill();
        }
    }

    /// Asks it to end; what becomes of that is seen at the ticks.
    fn ask_to_end(&mut self, most: Duration) {
        if self.ask_worker(most) {
            // Failing means that it is ending already.
            let _ = self.cell.signal(nix::sys::signal::Signal::SIGTERM as i32);
        }
    }

    /// Asks its worker to end what it does; false where it was asked before, and has less time now.
    fn ask_worker(&mut self, most: Duration) -> bool {
        let grace = self.attempt.limits.grace.min(most);
        if let Some(due) = &mut self.kill_due {
            *due = (*due).min(Instant::now() + grace);
            return false;
        }
        if let Some(talk) = &mut self.talk {
            let bytes = talk.cancel(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
            self.unsent.extend(bytes);
            self.flush_worker();
        }
        self.kill_due = Some(Instant::now() + grace);
        true
    }

    fn on_time(&mut self, stage: Stage) {
        let used = u64::try_from(self.started.elapsed().as_millis()).ok();
        self.pending.push(Live::Limit { limit: Limit::Timeout, stage, used });
        if stage == Stage::Term {
            self.seen.wall = true;
            self.ask_to_end(Duration::MAX);
        }
    }

    /// Watches it to its end.
    pub async fn run(mut self) -> std::io::Result<Report> {
        let mut buffer = vec![0; 64 << 10];
        match self.until_over(&mut buffer).await? {
            Over::Ended(exit) => self.end(exit, buffer).await,
            // Said by a worker that was not to stay: it is about to end.
            Over::Done => Err(std::io::Error::other("a worker that ends stays")),
        }
    }

    /// Watches a cell of a session until it is done; the seat is there for the next one, unless it went wrong.
    pub async fn run_on(mut self) -> std::io::Result<(Report, Option<Seat>)> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(64 << 10, 0);
        // What its worker has said of it before its turn.
        self.heed(&[]).await;
        match self.until_over(&mut buffer).await? {
            Over::Ended(exit) => Ok((self.end(exit, buffer).await?, None)),
            Over::Done if self.is_followed() => self.settle(buffer).await,
            Over::Done => match self.cell.poll_exit() {
                // It took its process along.
                Some(exit) => Ok((self.end(exit, buffer).await?, None)),
                None => self.settle(buffer).await,
            },
        }
    }

    async fn end(self, exit: sandbox::ExitFact, buffer: Vec<u8>) -> std::io::Result<Report> {
        let ended = Instant::now();
        let mut report = self.finish(exit, ended, buffer).await?;
        if let Some(times) = &mut report.meta.times {
            times.collect_ms = millis(ended.elapsed());
        }
        Ok(report)
    }

    async fn until_over(&mut self, buffer: &mut [u8]) -> std::io::Result<Over> {
        self.flush_worker();
        if self.is_done() {
            // Before its turn.
            return Ok(Over::Done);
        }
        let limits = &self.attempt.limits;
        let wall = tokio::time::sleep_until((self.started + limits.timeout).into());
        tokio::pin!(wall);
        let mut soft_due = limits.soft_timeout.filter(|soft| *soft < limits.timeout);
        let soft = self.started + soft_due.unwrap_or_default();
        let soft = tokio::time::sleep_until(soft.into());
        tokio::pin!(soft);
        let mut tick = tokio::time::interval_at((Instant::now() + TICK).into(), TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        let mut stop_open = true;
        loop {
            if self.is_done() {
                return Ok(Over::Done);
            }
            let cause = tokio::select! {
                biased;
                ready = self.control.readable() => ready.map(|_| Cause::Exit)?,
                () = &mut wall, if !self.seen.wall => Cause::Wall,
                () = &mut soft, if soft_due.is_some() => Cause::Soft,
                changed = stop.changed(), if stop_open => match changed {
                    Ok(()) => Cause::Stop(*stop.borrow_and_update()),
                    Err(_) => {
                        stop_open = false;
                        continue;
                    }
                },
                ready = oom_of(self.oom.as_ref()), if self.oom.is_some() => ready.map(|()| Cause::Memory)?,
                Some(text) = self.refusals.recv(), if self.gate.is_some() => Cause::Refused(text),
                _ = tick.tick() => Cause::Tick,
                ready = self.stdout.readable(), if !self.out.ended => ready.map(|_| Cause::Printed { stderr: false })?,
                ready = self.stderr.readable(), if !self.err.ended => ready.map(|_| Cause::Printed { stderr: true })?,
                ready = readable(self.say.as_ref()), if self.say.is_some() => ready.map(|()| Cause::Words)?,
                ready = readable(self.worker.as_ref()), if self.worker.is_some() => ready.map(|()| Cause::Worker)?,
                ready = room(self.worker.as_ref()), if !self.unsent.is_empty() => ready.map(|()| Cause::Room)?,
            };
            if self.is_followed() && self.is_past(&cause, buffer).await {
                continue;
            }
            match cause {
                Cause::Exit => {
                    let exit = self.control.try_io(Interest::READABLE, |_| {
                        self.cell.poll_exit().ok_or_else(|| ErrorKind::WouldBlock.into())
                    });
                    if let Ok(fact) = exit {
                        return Ok(Over::Ended(fact));
                    }
                }
                Cause::Wall => {
                    self.on_time(Stage::Term);
                    self.tell_pending().await;
                }
                Cause::Soft => {
                    soft_due = None;
                    self.on_time(Stage::Warning);
                    self.tell_pending().await;
                }
                Cause::Stop(stop) => self.on_stop(stop),
                Cause::Memory => drop(self.on_usage()),
                Cause::Refused(text) => {
                    self.on_live(Live::Diagnostic(Diagnostic::new(Severity::Warning, text))).await;
                }
                Cause::Tick => self.on_tick().await,
                Cause::Printed { stderr } => {
                    let (pipe, capture) = match stderr {
                        false => (&self.stdout, &mut self.out),
                        true => (&self.stderr, &mut self.err),
                    };
                    read(pipe, capture, buffer);
                    self.on_output();
                }
                Cause::Words => self.on_words(buffer).await,
                Cause::Worker => self.on_worker(buffer).await,
                Cause::Room => self.flush_worker(),
            }
        }
    }

    /// Whether its worker goes on with another cell when it is done with this one.
    fn is_followed(&self) -> bool {
        self.talk.as_ref().is_some_and(Talk::is_followed)
    }

    /// Whether what was seen is of a cell that follows this one: this one is done, by what the worker has said until now, or has printed nothing.
    ///
    /// The worker begins no cell while something of the one before is in a pipe. So what was there before it was last heard of is this cell's,
    /// with all that has come to it since.
    async fn is_past(&mut self, cause: &Cause, buffer: &mut [u8]) -> bool {
        let pipe = match cause {
            Cause::Worker | Cause::Room => return false,
            Cause::Printed { stderr: false } => Some(&self.stdout),
            Cause::Printed { stderr: true } => Some(&self.stderr),
            Cause::Exit
            | Cause::Wall
            | Cause::Soft
            | Cause::Stop(_)
            | Cause::Memory
            | Cause::Refused(_)
            | Cause::Tick
            | Cause::Words => None,
        };
        if pipe.is_some_and(is_empty) {
            return true;
        }
        for _ in 0..MOST_READS {
            let Some(worker) = self.worker.as_ref().filter(|_| !self.is_done()) else { break };
            // The runtime may not have heard yet of what is there.
            match sandbox::stream::read(worker.get_ref(), buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                read => self.on_read(read, buffer).await,
            }
        }
        self.is_done()
    }

    /// Whether a cell of a session is done, and nothing was done about it that ends the session.
    fn is_done(&self) -> bool {
        let done = |talk: &Talk| talk.stays && talk.done.is_some();
        !self.killed && self.talk.as_ref().is_some_and(done)
    }

    fn on_stop(&mut self, stop: Stop) {
        match stop {
            Stop::No => {}
            Stop::Interrupt => {
                // Who is kept busy by code reads no message.
                let by_signal = self.talk.as_ref().is_some_and(|it| it.may(feature::INTERRUPT));
                if self.ask_worker(LONGEST_FAREWELL) && by_signal {
                    let _ = self.cell.signal(nix::sys::signal::Signal::SIGINT as i32);
                }
            }
            Stop::Gracefully => {
                // One whose time is over already has an end of its own.
                self.seen.cancelled |= !self.seen.wall;
                self.ask_to_end(LONGEST_FAREWELL);
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
        self.seen.printed = self.out.bytes + self.err.bytes + self.words.metered + logged;
        if self.seen.printed > self.attempt.limits.output && !self.seen.output {
            self.seen.output = true;
            self.kill_for(Limit::Output, Some(self.seen.printed));
        }
    }

    /// Looks at the counters; ends the cell where a limit is passed that the kernel does not hold by itself.
    fn on_usage(&mut self) -> sandbox::Usage {
        let mut usage = self.cell.usage();
        usage.cpu = usage.cpu.saturating_sub(self.cpu);
        let attempt = Arc::clone(self.attempt);
        let limits = &attempt.limits;
        self.seen.take_in(&usage, limits);
        if usage.disk_over {
            let (limit, used) = match usage.inodes_full {
                true => (Limit::Inodes, usage.inodes),
                false => (Limit::Disk, usage.disk),
            };
            self.kill_for(limit, Some(used));
        }
        if usage.oom_kills > 0 {
            self.kill_for(Limit::Memory, usage.peak_memory);
        }
        if usage
            .peak_memory
            .is_some_and(|peak| peak > limits.memory.saturating_add(limits.memory / 16))
        {
            self.seen.memory_polled = true;
            self.kill_for(Limit::Memory, usage.peak_memory);
        }
        if limits.cpu_time.is_some_and(|limit| usage.cpu > limit) {
            self.seen.cpu = true;
            self.kill_for(Limit::CpuTime, u64::try_from(usage.cpu.as_millis()).ok());
        }
        usage
    }

    /// A host that was itself stopped (a Ctrl-Z) has heard nothing meanwhile: what was due from the worker in that time may
    /// wait in its socket. The cell's own time limit goes on, as the cell did.
    fn excuse(&mut self, late: Duration) {
        self.greeting_due += late;
        for clock in [&mut self.frame_began, &mut self.farewell, &mut self.kill_due] {
            *clock = clock.map(|at| at + late);
        }
    }

    async fn on_tick(&mut self) {
        self.on_usage();
        self.seen.open_files = self.seen.open_files.max(self.cell.open_files());
        let now = Instant::now();
        let late = (now - self.ticked).saturating_sub(TICK);
        self.ticked = now;
        if late > LATE {
            self.excuse(late);
        }
        if self.kill_due.is_some_and(|due| now > due) {
            match self.seen.wall {
                true => self.kill_for(
                    Limit::Timeout,
                    u64::try_from(self.started.elapsed().as_millis()).ok(),
                ),
                false => {
                    self.seen.cancelled = true;
                    self.kill();
                }
            }
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
            if !talk.greeted && now > self.greeting_due && self.seen.violation.is_none() {
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
        // A worker that waits for credit sends nothing by which it would be noticed.
        self.on_taken();
        self.flush_worker();
        self.pass_text_on(false).await;
    }

    async fn tell_pending(&mut self) {
        for live in std::mem::take(&mut self.pending) {
            let _ = self.live.send(live).await;
        }
    }

    async fn pass_text_on(&mut self, last: bool) {
        self.tell_pending().await;
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

    /// Passes on what was printed before something is shown. That is in the pipes by now, whether the runtime has heard of it or not.
    async fn pass_printed_on(&mut self) {
        // Where another cell follows it may be that one's.
        if !self.is_followed() {
            let mut buffer = vec![0; 64 << 10];
            for (pipe, capture) in [(&self.stdout, &mut self.out), (&self.stderr, &mut self.err)] {
                // Once: what comes meanwhile was printed later.
                if let Ok(count) = nix::unistd::read(pipe.get_ref(), &mut buffer) {
                    capture.push(&buffer[..count]);
                }
            }
        }
        self.on_output();
        self.pass_text_on(true).await;
    }

    fn hides_stderr(&self) -> bool {
        use polyloom_model::DiagnosticsFormat::Gcc;
        let spec = self.attempt.executor.manifest.diagnostics.as_ref();
        self.attempt.phase.compiles() && spec.is_some_and(|spec| spec.format == Gcc)
    }

    fn flush_worker(&mut self) {
        let Some(worker) = &self.worker else { return };
        if send(worker, &mut self.unsent).is_err() {
            // The worker closed its end; what it is is decided by how it ends.
            self.unsent.clear();
        }
    }

    /// Asks whether the worker has taken all that was sent to it.
    fn on_taken(&mut self) {
        let (Some(worker), Some(talk)) = (&self.worker, &mut self.talk) else { return };
        // Where the kernel can't say, a worker is believed.
        if talk.grants()
            && self.unsent.is_empty()
            && sandbox::stream::all_taken(worker.get_ref()).unwrap_or(true)
        {
            self.unsent.extend(talk.on_taken());
        }
    }

    async fn on_worker(&mut self, buffer: &mut [u8]) {
        self.flush_worker();
        let Some(worker) = &self.worker else { return };
        let read = worker.try_io(Interest::READABLE, |fd| sandbox::stream::read(fd, buffer));
        self.on_read(read, buffer).await;
    }

    /// Takes in what was read of the worker: so many bytes, and whether descriptors came with them.
    async fn on_read(&mut self, read: std::io::Result<(usize, bool)>, buffer: &[u8]) {
        let bytes = match read {
            Ok((1.., true)) => {
                self.violated(
                    "the worker broke the protocol: descriptors came, which were not agreed",
                );
                self.kill();
                return;
            }
            Ok((count @ 1.., false)) => &buffer[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // Its end is closed: as a rule the process is about to end, too.
            Ok((0, _)) | Err(_) => {
                self.worker = None;
                self.farewell.get_or_insert_with(Instant::now);
                return;
            }
        };
        if self.seen.violation.is_some() {
            return;
        }
        // Asked after the read: whatever credit these bytes were sent under was taken before.
        self.on_taken();
        self.heed(bytes).await;
    }

    /// Takes in what the worker has said.
    async fn heed(&mut self, bytes: &[u8]) {
        let Some(talk) = &mut self.talk else { return };
        let frames = talk.frames;
        let reaction = talk.on_bytes(bytes);
        // The clock is that of one frame: it starts anew where another was completed.
        self.frame_began = match (talk.mid_frame(), self.frame_began) {
            (false, _) => None,
            (true, Some(began)) if talk.frames == frames => Some(began),
            (true, _) => Some(Instant::now()),
        };
        if talk.greeted && self.greeted.is_none() {
            self.greeted = Some(Instant::now());
        }
        if talk.done.is_some() && !talk.stays && self.farewell.is_none() {
            self.farewell = Some(Instant::now());
        }
        match reaction {
            Ok(reaction) => {
                self.unsent.extend(reaction.send);
                self.flush_worker();
                self.on_output();
                for live in reaction.live {
                    if matches!(live, Live::Display { .. }) {
                        self.pass_printed_on().await;
                    }
                    self.on_live(live).await;
                }
            }
            Err(words) => {
                self.seen.violation = Some(words);
                self.kill();
            }
        }
    }

    /// Reads what a plain program says.
    async fn on_words(&mut self, buffer: &mut [u8]) {
        let Some(say) = &self.say else { return };
        let read = say.try_io(Interest::READABLE, |fd| {
            nix::unistd::read(fd, &mut *buffer).map_err(std::io::Error::from)
        });
        let said = match read {
            Ok(count @ 1..) => self.words.on_bytes(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                self.say = None;
                self.words.finish()
            }
        };
        self.on_output();
        for live in said {
            self.on_live(live).await;
        }
    }

    async fn on_live(&mut self, mut live: Live) {
        if let Live::Diagnostic(diagnostic) = &mut live {
            messages::to_author(diagnostic, self.attempt, self.cell.view());
            if let Some(mask) = self.attempt.mask() {
                mask.hide_diagnostic(diagnostic);
            }
            if self.diagnostics.len() >= 200 {
                return;
            }
            self.diagnostics.push(diagnostic.clone());
        }
        let _ = self.live.send(live).await;
    }
}
