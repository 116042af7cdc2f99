//! Workers that run one program for one cell after the other, each in an instance of its own (`[instances]` of a manifest): which cells may have one, and
//! which workers wait for the next.
//!
//! One is started for the second cell of its kind, since one alone would gain nothing. Cells of one kind have the program, the policy and the limits in
//! common: code never shares a process with other code. It goes on after a cell that has ended well and left nothing; whatever else becomes of a cell becomes of
//! the process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use polyloom_model::{Preset, WorkerSpec};
use polyloom_protocol::Outcome;
use polyloom_protocol::messages::host::Exec;
use polyloom_sandbox as sandbox;
use tokio::sync::{mpsc, watch};

use crate::attempt::{Attempt, Content, InputFile, Live, Phase, Report, Start, Stop};
use crate::drive::{Seat, Watch};
use crate::executor::{Executor, Slots};
use crate::inputs;
use crate::order::{Order, Wait};
use crate::parking::{Berth, Line};
use crate::session;
use crate::workplace::{AttemptError, Workplace, exec_of};

/// Kinds of cells that are known at once; the one that was not asked for longest is forgotten.
const MOST_KINDS: usize = 64;
/// As many are always kept, and as many as were at work at the same time.
const FEW: usize = 4;
/// After so many that failed there is no more trying.
const MOST_FAILURES: u32 = 2;
/// Inputs of more bytes are mounted instead, for a cell with a sandbox of its own: here they would be copied.
const MOST_INPUT: u64 = 1 << 20;
/// So much more than its cells may use has their file system room for: what the host lays there.
const ROOM: u64 = 2 * MOST_INPUT;
/// What is told with an `Exec`, in bytes.
const MOST_TOLD: usize = 256 << 10;

/// What cells of one worker have in common.
#[derive(Clone)]
struct Kind {
    executor: Arc<Executor>,
    order: Arc<Order>,
}

impl Kind {
    fn is_like(&self, other: &Self) -> bool {
        // Files beside a manifest are looked at for each run, and what has read them has them as they were.
        let same = Arc::ptr_eq(&self.executor, &other.executor)
            || self.executor.folder().is_none() && other.executor.folder().is_none();
        same && self.order == other.order
    }
}

/// A cell as it is given to a worker that waits.
struct Cell {
    kind: Kind,
    policy: sandbox::Policy,
    start: sandbox::Spec,
    exec: Exec,
    files: Vec<sandbox::File>,
    copies: Vec<sandbox::Bind>,
}

struct Known {
    kind: Kind,
    failures: u32,
    waiting: Vec<Seat>,
}

/// What there is for a cell.
enum Found {
    Waiting(Box<Seat>),
    Wanted,
    Nothing,
}

/// Workers that wait for their next cell.
#[derive(Default)]
pub struct Instances {
    /// The latest first.
    known: Mutex<Vec<Known>>,
    /// Those that have a cell now, and as many as had one at the same time.
    taken: AtomicUsize,
    peak: AtomicUsize,
}

impl Instances {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_for(&self, kind: &Kind) -> Found {
        let mut known = self.known();
        let Some(at) = known.iter().position(|it| it.kind.is_like(kind)) else {
            known.insert(0, Known { kind: kind.clone(), failures: 0, waiting: Vec::new() });
            let most = known.len().min(MOST_KINDS);
            let forgotten = known.split_off(most);
            end(forgotten.into_iter().flat_map(|it| it.waiting).collect());
            return Found::Nothing;
        };
        known[..=at].rotate_right(1);
        let of = &mut known[0];
        while let Some(mut seat) = of.waiting.pop() {
            if seat.is_there() {
                return Found::Waiting(Box::new(seat));
            }
            end(vec![seat]);
        }
        if of.failures >= MOST_FAILURES { Found::Nothing } else { Found::Wanted }
    }

    /// Takes one back; those that were not wanted longest end where there are more than are of use.
    fn wait(&self, kind: &Kind, seat: Seat) {
        let mut known = self.known();
        match known.iter_mut().find(|it| it.kind.is_like(kind)) {
            Some(of) => of.waiting.push(seat),
            None => end(vec![seat]),
        }
        let most = FEW.max(self.peak.load(Ordering::Relaxed));
        let mut surplus =
            known.iter().map(|kind| kind.waiting.len()).sum::<usize>().saturating_sub(most);
        for kind in known.iter_mut().rev() {
            let count = surplus.min(kind.waiting.len());
            end(kind.waiting.drain(..count).collect());
            surplus -= count;
        }
    }

    fn failed(&self, kind: &Kind) {
        if let Some(of) = self.known().iter_mut().find(|it| it.kind.is_like(kind)) {
            of.failures += 1;
        }
    }

    /// Ends those that wait.
    pub fn end(&self) {
        let all = std::mem::take(&mut *self.known());
        end(all.into_iter().flat_map(|it| it.waiting).collect());
    }
}

/// Ends workers, without waiting for that. To be called where there is a runtime.
fn end(seats: Vec<Seat>) {
    if !seats.is_empty() {
        drop(tokio::task::spawn_blocking(move || drop(seats)));
    }
}

/// Counts a worker that is at work.
struct Taken<'a>(&'a Instances);

impl<'a> Taken<'a> {
    fn of(all: &'a Instances) -> Self {
        let count = all.taken.fetch_add(1, Ordering::Relaxed) + 1;
        all.peak.fetch_max(count, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workplace {
    /// Runs a cell in an instance of a worker that waits, or is worth starting; nothing where it takes a process of its own.
    pub(crate) async fn in_instance(
        self: &Arc<Self>,
        attempt: &Arc<Attempt>,
        live: &mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Option<Report>, AttemptError> {
        let Some(worker) = attempt.executor.manifest.kind.instances() else { return Ok(None) };
        let Some(cell) = self.instance_of(attempt, worker)? else { return Ok(None) };
        let Cell { kind, policy, start, exec, files, copies } = cell;
        let mut seat = match self.instances.look_for(&kind) {
            Found::Nothing => return Ok(None),
            Found::Waiting(seat) => *seat,
            Found::Wanted => {
                let place = Arc::clone(self);
                let spawned = tokio::task::spawn_blocking(move || {
                    place.spawner().and_then(|spawner| spawner.spawn(&policy, &start))
                });
                let spawned = spawned.await.map_err(std::io::Error::other);
                let spawned = spawned.map_err(AttemptError::Watch)?;
                if *stop.borrow() != Stop::No {
                    return Ok(Some(Report::cancelled()));
                }
                let Ok(mut cell) = spawned else {
                    self.instances.failed(&kind);
                    return Ok(None);
                };
                let line = Line::with(&mut cell, &attempt.executor, worker, None);
                let line = line.map_err(AttemptError::Watch)?;
                let seat = Seat::open(attempt, Berth { cell, line });
                tracing::debug!(executor = %attempt.executor.manifest.id, "instances are made in one process");
                seat.map_err(AttemptError::Watch)?.stays()
            }
        };
        let _taken = Taken::of(&self.instances);
        // What it took to start it is no time of the cell's.
        let started = Instant::now();
        seat.cell.forget_peak();
        if let Err(error) = session::lay_files(&mut seat.cell, &files, &copies) {
            tracing::info!(cell = %attempt.cell, %error, "a worker that waited could not be given a cell's files");
            self.instances.failed(&kind);
            end(vec![seat]);
            return Ok(None);
        }
        let watch = Watch::new(attempt, seat, Some(exec), live.clone(), stop.clone(), started);
        let (report, seat) = watch.run_on().await.map_err(AttemptError::Watch)?;
        if report.start == Start::Failed && *stop.borrow() == Stop::No {
            // Nothing of the cell has run.
            self.instances.failed(&kind);
            return Ok(None);
        }
        if let Some(mut seat) = seat {
            let emptied = ["code", "in", "out"].into_iter().try_for_each(|it| seat.cell.empty(it));
            match emptied.and_then(|()| seat.cell.clear()) {
                Ok(()) if report.meta.outcome == Outcome::Ok => self.instances.wait(&kind, seat),
                _ => end(vec![seat]),
            }
        }
        Ok(Some(report))
    }

    /// A cell as a worker that waits is given it; nothing where it may have none: what somebody granted is for one cell, and what is large is mounted.
    fn instance_of(
        &self,
        attempt: &Attempt,
        worker: &WorkerSpec,
    ) -> Result<Option<Cell>, AttemptError> {
        let granted = &attempt.granted;
        let plain = matches!(attempt.phase, Phase::Run { .. })
            && attempt.secrets.is_none()
            && attempt.stdin.is_none()
            && granted.openings.is_empty()
            && granted.env.is_empty()
            && granted.net.is_empty()
            && attempt.policy.preset != Preset::Strict;
        let bytes = attempt.inputs.iter().try_fold(0, size);
        if !plain || bytes.is_none_or(|bytes| bytes > MOST_INPUT) {
            return Ok(None);
        }
        let view = self.spawner().and_then(sandbox::Spawner::view).map_err(AttemptError::Spawn)?;
        let (spec, ..) = self.prepare(attempt, view);
        let text = |text: &std::ffi::OsString| text.to_str().map(str::to_owned);
        let argv: Option<Vec<String>> = spec.argv.iter().map(text).collect();
        let env = spec.env.iter().map(|(name, value)| Some((name.clone(), text(value)?)));
        let (Some(argv), Some(env)) = (argv, env.collect::<Option<_>>()) else { return Ok(None) };
        let told = spec.env.iter().map(|(name, value)| name.len() + value.len());
        let told = told.chain(spec.argv.iter().map(|it| it.len())).sum::<usize>();
        if told > MOST_TOLD || !spec.hot.is_empty() {
            return Ok(None);
        }
        let (copies, binds) =
            spec.binds.into_iter().partition(|bind| bind.target.starts_with("/cell/in"));
        let executor = &attempt.executor;
        let view = spec.view;
        let slots = Slots { code: "", program: "", args: &[], head: None, view: &view };
        let start = sandbox::Spec {
            argv: executor.expand(&worker.argv, slots),
            env: Self::base_env(executor, &view, &attempt.limits),
            binds,
            worker_socket: true,
            view,
            ..sandbox::Spec::default()
        };
        let mut policy = Self::policy(attempt, ROOM);
        // That is counted for each cell, by the host.
        policy.limits.cpu_time = None;
        let order = Arc::new(Order::new(Wait::Worker, executor, &policy, &start));
        let laid = inputs::lay(&attempt.inputs, false, &start.view);
        let code = start.view.path(&crate::messages::code_path(attempt));
        let exec = exec_of(attempt, code, laid.exec, &start.view);
        // It is told of a function as the program is: by a variable.
        let exec = Exec { argv, env, call: None, ..exec };
        let kind = Kind { executor: Arc::clone(executor), order };
        Ok(Some(Cell { kind, policy, start, exec, files: spec.files, copies }))
    }
}

/// The bytes of inputs, with one more; nothing where that is not known without looking through a folder, or is in another cell's memory.
fn size(sum: u64, input: &InputFile) -> Option<u64> {
    let bytes = match &input.content {
        // As a value and as text.
        Content::Value(bytes) => 2 * bytes.len() as u64,
        Content::File(path) => path.metadata().ok()?.len(),
        Content::Hot(_) | Content::Dir(_) => return None,
    };
    Some(sum + bytes)
}
