//! Workers that are started ahead of need. One that has greeted waits, without a cell, in the very sandbox that its cell will have; all that may be
//! different then is the content of the files laid for it, which it reads only when it is asked to run.
//!
//! A worker runs one cell and ends, here as elsewhere: nothing of a cell is ever left for another.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use polyloom_model::{Kind, WorkerSpec};
use polyloom_sandbox as sandbox;
use tokio::io::unix::AsyncFd;

use crate::drive::{HELLO, converse};
use crate::executor::Executor;
use crate::mask::Mask;
use crate::order::{Order, Wait};
use crate::pipes::conversed;
use crate::talk::Talk;

/// A cell's file system is made in such pieces: a file that takes as many as before has room.
pub const PIECE: u64 = 64 << 10;

/// What files of these sizes take that are laid for a cell.
pub fn laid_bytes(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.map(|size| size + 4096).sum()
}

/// A sandbox that was started, and where its worker has been talked to, the line to it.
pub struct Berth {
    /// The sandbox.
    pub cell: sandbox::Sandbox,
    /// The line.
    pub line: Option<Line>,
}

/// The line to a worker.
pub struct Line {
    /// Our end of its socket.
    pub worker: AsyncFd<OwnedFd>,
    /// What was said.
    pub talk: Talk,
}

impl Line {
    /// The line to the worker of a sandbox; nothing where it has none.
    pub fn open(
        cell: &mut sandbox::Sandbox,
        executor: &Executor,
        mask: Option<&Arc<Mask>>,
    ) -> std::io::Result<Option<Self>> {
        let spec = match &executor.manifest.kind {
            Kind::Worker(spec) => spec,
            Kind::Command(_) => return Ok(None),
        };
        Self::with(cell, executor, spec, mask)
    }

    /// The same, where the worker is not the one that the executor's cells usually have.
    pub fn with(
        cell: &mut sandbox::Sandbox,
        executor: &Executor,
        spec: &WorkerSpec,
        mask: Option<&Arc<Mask>>,
    ) -> std::io::Result<Option<Self>> {
        let Some(socket) = cell.take_worker() else { return Ok(None) };
        let worker = conversed(socket)?;
        Ok(Some(Self { worker, talk: Talk::new(&executor.manifest, spec, mask.cloned()) }))
    }
}

/// A worker that is wanted, or waits.
struct Wanted {
    executor: Arc<Executor>,
    order: Order,
    /// That of the order: workers alike have it in common.
    digest: [u8; 32],
}

impl Wanted {
    /// The one that could wait for such a cell; see [`can_wait`].
    fn of(
        executor: &Arc<Executor>,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<Self> {
        if !can_wait(executor, policy, spec) {
            return None;
        }
        let order = Order::new(Wait::Worker, executor, policy, spec);
        let (_, digest) = order.told()?;
        Some(Self { executor: Arc::clone(executor), order, digest })
    }

    /// Whether a worker that waits by `self` can be given the cell of `other`.
    fn fits(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Whether the worker of such a sandbox can wait for its cell. Most can't: what somebody granted is looked up for each attempt, and what a cell left in
/// memory is there for its present consumers.
pub fn can_wait(executor: &Executor, policy: &sandbox::Policy, spec: &sandbox::Spec) -> bool {
    spec.worker_socket
        && spec.openings.is_empty()
        && spec.hot.is_empty()
        && matches!(spec.stdin, sandbox::Stdin::Null)
        && policy.network == sandbox::Network::None
        // What has read the files beside its manifest has them as they were.
        && executor.folder().is_none()
        && !executor.manifest.mentions("{code}")
}

/// Gives the sandbox of a worker that waited its cell's files; whether it could be done.
pub fn give(cell: &mut sandbox::Sandbox, files: &[sandbox::File]) -> bool {
    let ended = cell.poll_exit().is_some();
    let given = files.iter().try_for_each(|file| cell.rewrite(&file.path, &file.bytes));
    if let Err(error) = &given {
        tracing::info!(%error, "a waiting worker could not be given its cell");
    }
    !ended && given.is_ok()
}

/// Waiting workers, as many as there is room for. Without room, which is how it begins, nothing is kept.
#[derive(Default)]
pub struct Parking {
    room: AtomicUsize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// Orders of attempts that were made, the latest first.
    wanted: VecDeque<Arc<Wanted>>,
    waiting: Vec<(Arc<Wanted>, Berth)>,
}

impl Parking {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there is room for.
    pub fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// Makes room for so many.
    pub fn make_room(&self, room: usize) {
        self.room.store(room, Ordering::Relaxed);
    }

    /// Notes an attempt that may come, behind those that came.
    pub fn want(&self, executor: &Arc<Executor>, policy: &sandbox::Policy, spec: &sandbox::Spec) {
        let Some(order) = Wanted::of(executor, policy, spec) else { return };
        let mut places = self.places();
        let known = places.wanted.iter().any(|other| other.fits(&order));
        if !known && places.wanted.len() < self.room() {
            places.wanted.push_back(Arc::new(order));
        }
    }

    /// The worker that waits for such an attempt, given its files. From now on one is wanted for the next of its kind.
    pub fn take(
        &self,
        executor: &Arc<Executor>,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<Berth> {
        let room = self.room();
        if room == 0 {
            return None;
        }
        let order = Wanted::of(executor, policy, spec)?;
        let mut places = self.places();
        places.wanted.retain(|other| !other.fits(&order));
        let found = places.waiting.iter().position(|(other, _)| other.fits(&order));
        let found = found.map(|at| places.waiting.swap_remove(at));
        places.wanted.push_front(Arc::new(order));
        places.wanted.truncate(room);
        drop(places);
        let (_, mut berth) = found?;
        give(&mut berth.cell, &spec.files).then_some(berth)
    }

    /// The executors of the attempts that were made last.
    pub fn executors(&self) -> Vec<Arc<Executor>> {
        let mut all: Vec<Arc<Executor>> = Vec::new();
        for order in &self.places().wanted {
            if !all.iter().any(|other| other.manifest.id == order.executor.manifest.id) {
                all.push(Arc::clone(&order.executor));
            }
        }
        all
    }

    /// Orders for which nobody waits. Those who wait for what is not wanted any more are given up.
    fn lacking(&self) -> Vec<Arc<Wanted>> {
        let mut places = self.places();
        let Places { wanted, waiting } = &mut *places;
        let gone: Vec<_> =
            waiting.extract_if(.., |(order, _)| !wanted.iter().any(|w| w.fits(order))).collect();
        let lacks = |order: &&Arc<Wanted>| !waiting.iter().any(|(there, _)| there.fits(order));
        let lacking = wanted.iter().filter(lacks).map(Arc::clone).collect();
        drop(places);
        drop(gone);
        lacking
    }

    /// Starts what is wanted and not there. `spawner` makes the sandboxes. What fails is not tried again before its like has run once more.
    pub async fn fill<S>(self: &Arc<Self>, spawn: S)
    where
        S: Fn(&sandbox::Policy, &sandbox::Spec) -> Option<sandbox::Sandbox>
            + Clone
            + Send
            + 'static,
    {
        let this = Arc::clone(self);
        let Ok(lacking) = tokio::task::spawn_blocking(move || this.lacking()).await else { return };
        for order in lacking {
            let (began, ordered, spawn) = (Instant::now(), Arc::clone(&order), spawn.clone());
            let made = move || spawn(ordered.order.policy(), &ordered.order.spec());
            let made = tokio::task::spawn_blocking(made).await.ok().flatten();
            let berth = match made {
                Some(cell) => greeted(cell, &order.executor).await,
                None => None,
            };
            let executor = &order.executor.manifest.id;
            let mut places = self.places();
            match berth {
                // Somebody else may have filled it meanwhile.
                Some(berth)
                    if places.waiting.len() >= self.room()
                        || places.waiting.iter().any(|(there, _)| there.fits(&order)) =>
                {
                    drop(places);
                    drop(tokio::task::spawn_blocking(move || drop(berth)));
                }
                Some(berth) => {
                    tracing::debug!(%executor, took = ?began.elapsed(), "a worker waits");
                    places.waiting.push((order, berth));
                }
                None => {
                    tracing::info!(%executor, "a worker could not be started ahead of need");
                    places.wanted.retain(|other| !Arc::ptr_eq(other, &order));
                }
            }
        }
    }
}

/// A sandbox whose worker has greeted and was answered; nothing where it does not.
pub async fn greeted(mut cell: sandbox::Sandbox, executor: &Executor) -> Option<Berth> {
    let mut line = Line::open(&mut cell, executor, None).ok().flatten()?;
    let greeting = converse(&line.worker, &mut line.talk, Vec::new(), |talk| talk.greeted);
    match tokio::time::timeout(HELLO, greeting).await {
        Ok(Some(())) => Some(Berth { cell, line: Some(line) }),
        Ok(None) | Err(_) => {
            // Its end is waited for where waiting does not matter.
            drop(tokio::task::spawn_blocking(move || drop(cell)));
            None
        }
    }
}
