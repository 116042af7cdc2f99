//! Sandboxes that are used for one cell after the other: which cells could share one, and which wait for the next. Those of an executor that can be a zygote
//! hold one, from which its cells are forked.
//!
//! One is made for the second cell of its kind, since one alone would gain nothing; a cell that is compiled is two by itself. What can't be had so has a
//! sandbox of its own, as ever.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use polyloom_model::{Kind, MAX_PATTERN_PROGRAM, WorkerSpec};
use polyloom_sandbox as sandbox;
use regex_lite::{Regex, RegexBuilder};

use crate::attempt::{Attempt, Phase};
use crate::executor::Executor;
use crate::parking::laid_bytes;

/// Kinds of cells that are known at once; the one that was not asked for longest is forgotten.
const MOST_KINDS: usize = 64;
/// Environment that is sent to a zygote with its cell, in bytes.
const MOST_ENV: usize = 64 << 10;
/// Links into the cell's own file system.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// As many are always kept, and twice as many as were taken at the same time.
const FEW: usize = 4;
/// After so many that failed there is no more trying.
const MOST_FAILURES: u32 = 2;

/// Variables of these names are the cell's own; all others are there when its program starts, where it may look at them once.
const OWN: &str = "POLYLOOM_";

/// What cells of one sandbox have in common.
pub struct Ground {
    executor: Arc<Executor>,
    binds: Vec<(PathBuf, PathBuf)>,
    calls: sandbox::Seccomp,
    /// What they have in common besides where they come from one zygote.
    zygote: Option<Start>,
}

/// How a zygote is started.
#[derive(PartialEq)]
struct Start {
    policy: sandbox::Policy,
    argv: Vec<std::ffi::OsString>,
    env: Vec<(String, std::ffi::OsString)>,
    /// Libraries to be loaded before the first fork.
    preload: Vec<String>,
}

impl Ground {
    /// What a cell needs; nothing where it takes a sandbox of its own.
    fn of(
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        patterns: &Patterns,
    ) -> Option<Self> {
        let executor = &attempt.executor;
        let shared = spec.binds.iter().filter(|bind| !is_own(bind));
        let plain = attempt.secrets.is_none()
            // What is made of no cell's code is for cells of anybody's: no cell was where it is made.
            && attempt.phase != Phase::Head
            && spec.openings.is_empty()
            && !spec.terminals
            // What lies below the cell's own folders is taken away after it.
            && shared.clone().all(|bind| !TEMPORARY.iter().any(|own| bind.target.starts_with(own)));
        plain.then(|| Self {
            executor: Arc::clone(executor),
            binds: shared.map(|bind| (bind.source.clone(), bind.target.clone())).collect(),
            calls: policy.seccomp,
            zygote: Start::of(attempt, policy, spec, patterns),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        let zygotes = self.zygote.is_some() || other.zygote.is_some();
        // A program that was replaced under its old name is another one.
        let same = !zygotes
            || self.executor.tools == other.executor.tools
                && self.executor.manifest.id == other.executor.manifest.id;
        same && self.binds == other.binds
            && self.calls == other.calls
            && self.zygote == other.zygote
    }

    fn park(
        &self,
        spawner: &sandbox::Spawner,
        policy: &sandbox::Policy,
    ) -> Result<sandbox::Parked, sandbox::SpawnError> {
        let bind = |(source, target): &(PathBuf, PathBuf)| sandbox::Bind {
            source: source.clone(),
            target: target.clone(),
        };
        let binds = self.binds.iter().map(bind).collect();
        let Some(start) = &self.zygote else {
            // No program is started before there is a cell.
            let argv = vec!["-".into()];
            return spawner
                .park(policy, &sandbox::Spec { argv, binds, ..sandbox::Spec::default() });
        };
        let mut env = start.env.clone();
        if !start.preload.is_empty() {
            env.push(("POLYLOOM_PRELOAD".to_owned(), start.preload.join(",").into()));
        }
        let (argv, zygote) = (start.argv.clone(), true);
        let spec = sandbox::Spec { argv, env, binds, zygote, ..sandbox::Spec::default() };
        spawner.park(&start.policy, &spec)
    }
}

impl Start {
    /// How the zygote of such a cell is started, if it can have one.
    fn of(
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        patterns: &Patterns,
    ) -> Option<Self> {
        let executor = &attempt.executor;
        let Kind::Worker(WorkerSpec { zygote: Some(zygote), .. }) = &executor.manifest.kind else {
            return None;
        };
        let size: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let plain = matches!(attempt.phase, Phase::Run { .. })
            // What a flow sets is for cells: a zygote would have it before there is one.
            && attempt.env.is_empty()
            && attempt.granted.env.is_empty()
            && size <= MOST_ENV
            // What has read the files beside its manifest has them as they were.
            && executor.folder().is_none()
            && !executor.manifest.mentions("{code}")
            && !executor.manifest.mentions("{args}");
        let mut policy = policy.clone();
        let laid = laid_bytes(spec.files.iter().map(|file| file.bytes.len() as u64));
        if policy.limits.disk != policy.limits.memory {
            policy.limits.disk = policy.limits.disk.saturating_sub(laid);
        }
        plain.then(|| Self {
            policy,
            argv: spec.argv.clone(),
            env: spec.env.iter().filter(|(name, _)| !name.starts_with(OWN)).cloned().collect(),
            preload: match &zygote.preload {
                Some(pattern) => {
                    patterns.get(pattern).map_or(Vec::new(), |it| preload(&it, &attempt.code))
                }
                None => Vec::new(),
            },
        })
    }
}

/// The libraries that the first lines of code name.
fn preload(regex: &Regex, code: &[u8]) -> Vec<String> {
    // Lines that were looked at by nobody are no longer the first ones.
    const MOST_LINES: usize = 200;
    const MOST_LIBRARIES: usize = 32;
    let lines = code.split(|byte| *byte == b'\n').take(MOST_LINES);
    let lines = lines.map_while(|line| std::str::from_utf8(line).ok().map(str::trim_end));
    let mut libraries: Vec<String> = Vec::new();
    for groups in lines.map_while(|line| regex.captures(line)) {
        let parts: Vec<&str> =
            groups.iter().skip(1).flatten().map(|group| group.as_str()).collect();
        let library = parts.join(".");
        let plain = library
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@'));
        if !plain || libraries.len() == MOST_LIBRARIES || library.len() > 200 {
            break;
        }
        if !library.is_empty() && !libraries.contains(&library) {
            libraries.push(library);
        }
    }
    libraries
}

fn is_own(bind: &sandbox::Bind) -> bool {
    bind.target.starts_with(sandbox::CELL_ROOT)
}

/// A kind of cell.
struct Known {
    ground: Arc<Ground>,
    failures: u32,
    waiting: Vec<sandbox::Parked>,
}

/// The patterns of manifests, each of which is built once.
#[derive(Default)]
struct Patterns(Mutex<BTreeMap<String, Option<Arc<Regex>>>>);

impl Patterns {
    fn get(&self, pattern: &str) -> Option<Arc<Regex>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(pattern) {
            return known.clone();
        }
        let built = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_PROGRAM).build();
        let built = built.ok().map(Arc::new);
        all.insert(pattern.to_owned(), built.clone());
        built
    }
}

/// Sandboxes that wait for their next cell.
#[derive(Default)]
pub struct Grounds {
    /// The latest first.
    known: Mutex<Vec<Known>>,
    patterns: Patterns,
    /// Cells that have one now, and as many as had one at the same time.
    taken: AtomicUsize,
    peak: AtomicUsize,
}

/// That a cell has one, as long as this lives.
struct Taken(Arc<Grounds>);

impl Taken {
    fn by(grounds: &Arc<Grounds>) -> Self {
        let count = grounds.taken.fetch_add(1, Ordering::Relaxed) + 1;
        grounds.peak.fetch_max(count, Ordering::Relaxed);
        Self(Arc::clone(grounds))
    }

    fn end(self, ground: &Ground, parked: sandbox::Parked) {
        self.0.wait(ground, parked);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What there is for a cell.
enum Found {
    /// One that waits.
    Waiting(Box<sandbox::Parked>),
    /// None that waits: one is worth it.
    Wanted,
    /// It is the first of its kind, or its kind can't be had.
    Nothing,
}

impl Grounds {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a cell into a sandbox that waits or is worth making; its time counts from `started`, then.
    pub fn cell(
        self: &Arc<Self>,
        spawner: &sandbox::Spawner,
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        started: &mut Instant,
    ) -> Option<sandbox::Sandbox> {
        let ground = Arc::new(Ground::of(attempt, policy, spec, &self.patterns)?);
        if let Err(why) = spawner.can_park(policy).ok()? {
            tracing::debug!(why, "every cell has a sandbox of its own");
            return None;
        }
        let executor = &ground.executor.manifest.id;
        // Its program runs where it was compiled.
        let soon = matches!(attempt.phase, Phase::Compile { .. });
        let parked = match self.look_for(&ground, soon) {
            Found::Waiting(parked) => *parked,
            Found::Nothing => return None,
            Found::Wanted => match ground.park(spawner, policy) {
                Ok(parked) => parked,
                Err(error) => {
                    tracing::info!(%executor, %error, "no sandbox could be made for many cells");
                    *started = Instant::now();
                    self.failed(&ground);
                    return None;
                }
            },
        };
        // What it took to make it is no time of the cell's, here and above.
        *started = Instant::now();
        let (taken, kind) = (Taken::by(self), Arc::clone(&ground));
        let made = spawner.unpark(parked, policy, spec, move |parked| taken.end(&kind, parked));
        match made {
            Ok(cell) => Some(cell),
            Err(sandbox::SpawnError::TooLarge) => None,
            Err(error) => {
                tracing::info!(%executor, %error, "a sandbox that waited took no cell");
                self.failed(&ground);
                None
            }
        }
    }

    /// What there is for a cell; `soon`: another of its kind follows at once.
    fn look_for(&self, ground: &Arc<Ground>, soon: bool) -> Found {
        let mut known = self.known();
        let Some(at) = known.iter().position(|kind| kind.ground.is_like(ground)) else {
            let kind = Known { ground: Arc::clone(ground), failures: 0, waiting: Vec::new() };
            known.insert(0, kind);
            let most = known.len().min(MOST_KINDS);
            let forgotten = known.split_off(most);
            drop(known);
            // To end a sandbox takes a moment.
            drop(forgotten);
            return if soon { Found::Wanted } else { Found::Nothing };
        };
        let mut gone = Vec::new();
        known[..=at].rotate_right(1);
        let kind = &mut known[0];
        let found = loop {
            match kind.waiting.pop() {
                Some(mut parked) => match parked.is_there() {
                    true => break Found::Waiting(Box::new(parked)),
                    false => gone.push(parked),
                },
                None if kind.failures >= MOST_FAILURES => break Found::Nothing,
                None => break Found::Wanted,
            }
        };
        drop(known);
        drop(gone);
        found
    }

    /// Hears that a cell did not come to be a worker, which it may be without a zygote.
    pub fn missed(&self, attempt: &Attempt, policy: &sandbox::Policy, spec: &sandbox::Spec) {
        if let Some(ground) = Ground::of(attempt, policy, spec, &self.patterns) {
            self.failed(&ground);
        }
    }

    fn failed(&self, ground: &Ground) {
        if let Some(kind) = self.known().iter_mut().find(|kind| kind.ground.is_like(ground)) {
            kind.failures += 1;
        }
    }

    /// Takes one back. One whose kind was forgotten is ended, and so are those that were not wanted longest where there are more than are of use.
    fn wait(&self, ground: &Ground, parked: sandbox::Parked) {
        let mut known = self.known();
        if let Some(kind) = known.iter_mut().find(|kind| kind.ground.is_like(ground)) {
            kind.waiting.push(parked);
        }
        let most = FEW.max(2 * self.peak.load(Ordering::Relaxed));
        let mut surplus =
            known.iter().map(|kind| kind.waiting.len()).sum::<usize>().saturating_sub(most);
        let mut given_up = Vec::new();
        for kind in known.iter_mut().rev() {
            let count = surplus.min(kind.waiting.len());
            given_up.extend(kind.waiting.drain(..count));
            surplus -= count;
        }
        drop(known);
        // To end them takes a moment.
        drop(given_up);
    }
}
