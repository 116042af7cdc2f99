//! Workers, and programs of kind `command`, that are started ahead of their cells, while others of their kind run: each has greeted and waits in a parked
//! sandbox, with nothing of a cell's there. The files of its cell come to it. It runs that cell and ends, as any.
//!
//! One is started where a processor has nothing to do and a cell is coming that can take it. A cell that comes while its own starts waits for that.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polyloom_model::Kind;
use polyloom_sandbox as sandbox;

use super::{Found, Ground, Grounds, Home, Start, Taken, is_same_program, told};
use crate::attempt::{Attempt, Phase};
use crate::executor::Slots;
use crate::parking::{Berth, greeted};
use crate::workplace::Workplace;

/// A worker that is being started is waited for so long: to start another one would take as long.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a worker that was started ahead takes from its `Exec`.
const OF_ITS_CELL: [&str; 2] = ["POLYLOOM_CELL", "POLYLOOM_SEED"];
/// What tells a command that it is to wait for its cell: its argv may be the same.
const WAITS: &str = "POLYLOOM_AHEAD";

/// A kind of program that can be started ahead, and so of cells that can take one.
pub struct Post {
    ground: Arc<Ground>,
    start: Start,
    view: sandbox::View,
}

impl Post {
    /// That of a cell, if it can take one.
    pub fn of(
        grounds: &Grounds,
        spawner: &sandbox::Spawner,
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<Self> {
        let executor = &attempt.executor;
        let kind = &executor.manifest.kind;
        let ahead = kind.ahead().filter(|_| matches!(attempt.phase, Phase::Run { .. }))?;
        let ground = Ground::of(attempt, policy, spec, &grounds.patterns)?;
        let null = matches!(spec.stdin, sandbox::Stdin::Null);
        if ground.zygote.is_some() || !null || spawner.can_park(policy).ok()?.is_err() {
            return None;
        }
        let argv = match kind {
            Kind::Worker(_) => spec.argv.clone(),
            Kind::Command(_) => {
                let view = &spec.view;
                let program = view.path("/cell/program");
                let slots = Slots { code: "", program: &program, args: &[], head: None, view };
                executor.expand(ahead, slots)
            }
        };
        let mut start = Start::plain(attempt, policy, spec, (ahead, argv))?;
        match kind {
            // What all its cells have; their own names it is told.
            Kind::Worker(_) => {
                let own = spec.env.iter().filter(|(name, _)| !OF_ITS_CELL.contains(&name.as_str()));
                start.env = own.cloned().collect();
            }
            Kind::Command(_) => start.env.push((WAITS.to_owned(), "1".into())),
        }
        Some(Self { ground: Arc::new(ground), start, view: spec.view.clone() })
    }

    fn is_like(&self, other: &Self) -> bool {
        is_same_program(&self.ground.executor, &other.ground.executor)
            && self.ground.is_like(&other.ground)
            && self.start == other.start
    }

    /// Starts one, and where it is to be told its cell, the pipe for that.
    fn begin(
        &self,
        grounds: &Arc<Grounds>,
        spawner: &sandbox::Spawner,
    ) -> Option<(sandbox::Sandbox, Option<OwnedFd>)> {
        let executor = &self.ground.executor.manifest.id;
        let parked = match grounds.look_for(&self.ground, true) {
            Found::Waiting(parked) => Ok(*parked),
            Found::Wanted => {
                let order = self.ground.order(&self.start.policy);
                spawner.park(order.policy(), &order.spec())
            }
            Found::First | Found::Nothing => return None,
        };
        let tells = matches!(self.ground.executor.manifest.kind, Kind::Command(_));
        let (stdin, pipe) = match tells.then(told::pipe).transpose().ok()? {
            Some((theirs, ours)) => (sandbox::Stdin::Fd(theirs), Some(ours)),
            None => (sandbox::Stdin::Null, None),
        };
        let spec = sandbox::Spec {
            argv: self.start.argv.clone(),
            env: self.start.env.clone(),
            stdin,
            worker_socket: !tells,
            words: tells,
            ahead: true,
            view: self.view.clone(),
            ..sandbox::Spec::default()
        };
        tracing::debug!(%executor, "a worker is started ahead");
        let (taken, kind) = (Taken::by(grounds), Arc::clone(&self.ground));
        let back = move |parked| taken.end(&Home::Here, &kind, parked);
        let cell =
            parked.and_then(|parked| spawner.unpark(parked, &self.start.policy, &spec, back));
        let cell = cell.inspect_err(
            |error| tracing::info!(%executor, %error, "no worker could be started ahead"),
        );
        Some((cell.ok()?, pipe))
    }
}

/// One that waits for its cell.
struct Waiting {
    berth: Berth,
    /// Where it is told its cell, unless that is on its line.
    pipe: Option<OwnedFd>,
}

impl Waiting {
    /// One that was begun, once it has greeted; nothing where it does not.
    async fn of((cell, pipe): (sandbox::Sandbox, Option<OwnedFd>), post: &Post) -> Option<Self> {
        if pipe.is_none() {
            let berth = greeted(cell, &post.ground.executor).await?;
            return Some(Self { berth, pipe });
        }
        if told::is_ready(&cell).await {
            return Some(Self { berth: Berth { cell, line: None }, pipe });
        }
        // Its end is waited for where waiting does not matter.
        drop(tokio::task::spawn_blocking(move || drop(cell)));
        None
    }

    /// Gives it its cell, of which it is told `text` where it has a pipe for that.
    fn give(
        mut self,
        spawner: &sandbox::Spawner,
        (policy, spec): (&sandbox::Policy, &sandbox::Spec),
        text: &[u8],
    ) -> Result<Berth, Vain> {
        let cell = &mut self.berth.cell;
        if cell.poll_exit().is_some() {
            return Err(Vain::Gone("it has ended".to_owned()));
        }
        spawner.fill(cell, policy, spec).map_err(|error| match error {
            sandbox::SpawnError::TooLarge => Vain::Large,
            error => Vain::Gone(error.to_string()),
        })?;
        let told = self.pipe.map_or(Ok(()), |pipe| told::tell(pipe, text));
        told.map_err(|error| Vain::Gone(error.to_string()))?;
        Ok(self.berth)
    }
}

/// Those of one kind.
struct Kept {
    post: Arc<Post>,
    there: Vec<Waiting>,
    /// How many are being started.
    starting: usize,
    /// One was waited for in vain: none is any more.
    late: bool,
    /// One did not come up, or took no cell: no other is tried.
    failed: bool,
}

/// Why one that waited took no cell.
enum Vain {
    /// The cell's files are more than can be laid so.
    Large,
    /// It has ended or does not listen.
    Gone(String),
}

/// All that were started ahead.
#[derive(Default)]
pub struct Ahead {
    kinds: Mutex<Vec<Kept>>,
    changed: Condvar,
}

impl Ahead {
    fn kinds(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker that was started for such a cell, given its files.
    fn take(
        &self,
        post: &Post,
        spawner: &sandbox::Spawner,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<Berth> {
        let executor = &post.ground.executor.manifest.id;
        let is_told = matches!(post.ground.executor.manifest.kind, Kind::Command(_));
        let text = if is_told { told::text(spec)? } else { Vec::new() };
        let waiting = self.wait_for(post)?;
        let why = match waiting.give(spawner, (policy, spec), &text) {
            Ok(berth) => {
                tracing::debug!(%executor, "a worker that was started ahead has its cell");
                return Some(berth);
            }
            Err(Vain::Large) => "the cell has too many files".to_owned(),
            Err(Vain::Gone(why)) => {
                let mut kinds = self.kinds();
                if let Some(kept) = kinds.iter_mut().find(|kept| kept.post.is_like(post)) {
                    kept.failed = true;
                }
                format!("{why}; no other is started in this run")
            }
        };
        tracing::info!(%executor, why, "a worker that was started ahead took no cell");
        None
    }

    /// One of them, as soon as it is there.
    fn wait_for(&self, post: &Post) -> Option<Waiting> {
        let deadline = Instant::now() + PATIENCE;
        let mut kinds = self.kinds();
        loop {
            let kept = kinds.iter_mut().find(|kept| kept.post.is_like(post))?;
            if let Some(waiting) = kept.there.pop() {
                return Some(waiting);
            }
            if kept.starting == 0 || kept.late {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                kept.late = true;
                let executor = &post.ground.executor.manifest.id;
                let why = "cells of this run no longer wait for one";
                tracing::info!(%executor, why, "a worker that is started ahead is late");
                return None;
            }
            let waited = self.changed.wait_timeout(kinds, left);
            (kinds, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether one is to be started, where `coming` cells may take it; it counts as being started from now on.
    fn is_wanted(&self, post: &Arc<Post>, coming: usize) -> bool {
        let mut kinds = self.kinds();
        let at = kinds.iter().position(|kept| kept.post.is_like(post));
        let at = at.unwrap_or_else(|| {
            let post = Arc::clone(post);
            kinds.push(Kept { post, there: Vec::new(), starting: 0, late: false, failed: false });
            kinds.len() - 1
        });
        let kept = &mut kinds[at];
        let wanted = !kept.failed && kept.there.len() + kept.starting < coming;
        kept.starting += usize::from(wanted);
        wanted
    }

    fn started(&self, post: &Post, waiting: Option<Waiting>) {
        let mut kinds = self.kinds();
        let gone = match kinds.iter_mut().find(|kept| kept.post.is_like(post)) {
            Some(kept) => {
                kept.starting = kept.starting.saturating_sub(1);
                kept.failed |= waiting.is_none();
                kept.there.extend(waiting);
                None
            }
            // Nobody wants it any more.
            None => waiting,
        };
        drop(kinds);
        self.changed.notify_all();
        // Its end is waited for where waiting does not matter.
        drop(tokio::task::spawn_blocking(move || drop(gone)));
    }
}

impl Grounds {
    /// No cell is coming: what was started for one ends.
    pub fn end_ahead(&self) {
        let kinds = std::mem::take(&mut *self.ahead.kinds());
        self.ahead.changed.notify_all();
        drop(kinds);
    }

    /// The worker that was started ahead for a cell, if there is one; its time counts from `started`, then.
    pub fn worker(
        &self,
        spawner: &sandbox::Spawner,
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        started: &mut Instant,
    ) -> Option<Berth> {
        let post = Post::of(self, spawner, attempt, policy, spec)?;
        let berth = self.ahead.take(&post, spawner, policy, spec);
        // What it took to start it is no time of the cell's.
        *started = Instant::now();
        berth
    }

    /// Starts a worker for one of `coming` cells, unless there are enough.
    pub fn start_ahead(self: &Arc<Self>, place: &Arc<Workplace>, post: Post, coming: usize) {
        let (grounds, place, post) = (Arc::clone(self), Arc::clone(place), Arc::new(post));
        if !grounds.ahead.is_wanted(&post, coming) {
            return;
        }
        tokio::spawn(async move {
            let (all, kind) = (Arc::clone(&grounds), Arc::clone(&post));
            let made = move || place.spawner().ok().and_then(|it| kind.begin(&all, it));
            let waiting = match tokio::task::spawn_blocking(made).await.ok().flatten() {
                Some(begun) => Waiting::of(begun, &post).await,
                None => None,
            };
            grounds.ahead.started(&post, waiting);
        });
    }
}
