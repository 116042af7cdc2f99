//! Sandboxes that are used for one cell after the other: which cells could share one, and which wait for the next. Those of an executor that can be a zygote
//! hold one, from which its cells are forked.
//!
//! One is made for the second cell of its kind, since one alone would gain nothing; a cell that is compiled is two by itself. What can't be had so has a
//! sandbox of its own, as ever.

mod ahead;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use polyloom_model::{Calls, MAX_PATTERN_PROGRAM};
use polyloom_sandbox as sandbox;
use regex_lite::{Regex, RegexBuilder};

use self::ahead::Ahead;
pub use self::ahead::Post;
use crate::attempt::{Attempt, Phase};
use crate::daemon::{Client, Daemon};
use crate::executor::Executor;
use crate::order::{Order, Wait};
use crate::parking::laid_bytes;
use crate::workplace::Workplace;

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
/// A second zygote takes as long to start as some such cells take longer without it.
pub const WORTH_TWO: usize = 8;

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
    /// Those that the cell is known to load, which are out of its sight until it does.
    learnt: Vec<String>,
    /// Whether its cells are calls of functions: what these do besides is rehearsed.
    calls: bool,
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
        let in_tmp =
            |bind: &sandbox::Bind| TEMPORARY.iter().any(|own| bind.target.starts_with(own));
        let in_its_way = [
            (attempt.secrets.is_some(), "the cell has secrets"),
            // What is made of no cell's code is for cells of anybody's: no cell was where it is made.
            (attempt.phase == Phase::Head, "no cell may have been there"),
            (!spec.openings.is_empty(), "the cell was granted files"),
            (spec.terminals, "the cell has terminals"),
            // What lies below the cell's own folders is taken away after it.
            (shared.clone().any(in_tmp), "its program lies in a temporary folder"),
        ];
        let why = in_its_way.iter().find(|(is_so, _)| *is_so);
        let kind = &executor.manifest.kind;
        let ahead = kind.zygote().is_some() || kind.ahead().is_some();
        if let Some((_, why)) = why.filter(|_| ahead) {
            not_ahead(attempt, why);
        }
        why.is_none().then(|| Self {
            executor: Arc::clone(executor),
            binds: shared.map(|bind| (bind.source.clone(), bind.target.clone())).collect(),
            calls: policy.seccomp,
            zygote: Start::of(attempt, policy, spec, patterns),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        let zygotes = self.zygote.is_some() || other.zygote.is_some();
        // A program that was replaced under its old name is another one.
        let same = !zygotes || is_same_program(&self.executor, &other.executor);
        same && self.binds == other.binds
            && self.calls == other.calls
            && self.zygote == other.zygote
    }

    /// Whether there is something in its zygote that its cells' workers have told of.
    fn learns(&self) -> bool {
        self.zygote.as_ref().is_some_and(|start| !start.learnt.is_empty())
    }

    /// The sandbox that its cells can have, to be made here or by the daemon.
    fn order(&self, policy: &sandbox::Policy) -> Order {
        let bind = |(source, target): &(PathBuf, PathBuf)| sandbox::Bind {
            source: source.clone(),
            target: target.clone(),
        };
        let binds = self.binds.iter().map(bind).collect();
        let Some(start) = &self.zygote else {
            // No program is started before there is a cell, whose limits it will be.
            let argv = vec!["-".into()];
            let limits = sandbox::Limits::default();
            let policy = sandbox::Policy { limits, ..policy.clone() };
            let spec = sandbox::Spec { argv, binds, ..sandbox::Spec::default() };
            return Order::new(Wait::Sandbox, &self.executor, &policy, &spec);
        };
        let mut env = start.env.clone();
        // What its libraries look up when it is first called would be looked up by each of its copies.
        env.push(("LD_BIND_NOW".to_owned(), "1".into()));
        if !start.preload.is_empty() {
            env.push(("POLYLOOM_PRELOAD".to_owned(), start.preload.join(",").into()));
        }
        if !start.learnt.is_empty() {
            env.push(("POLYLOOM_LEARNT".to_owned(), start.learnt.join(",").into()));
        }
        if start.calls {
            env.push(("POLYLOOM_CALLS".to_owned(), "1".into()));
        }
        let argv = start.argv.clone();
        let spec = sandbox::Spec { argv, env, binds, ..sandbox::Spec::default() };
        Order::new(Wait::Zygote, &self.executor, &start.policy, &spec)
    }
}

/// What is done with a sandbox after its cell.
enum Home {
    /// It waits for the next cell of this run.
    Here,
    /// It is the daemon's.
    There(Arc<Client>, u64),
}

impl Start {
    /// How the zygote of such a cell is started, if it can have one.
    fn of(
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        patterns: &Patterns,
    ) -> Option<Self> {
        let manifest = &attempt.executor.manifest;
        let zygote = manifest.kind.zygote()?;
        // A zygote has more calls than its cells; to take them away is left to no program but our own.
        let own = manifest.kind.run().first().is_some_and(|program| program == "{polyloom}");
        let preload = match &zygote.preload {
            Some(pattern) => {
                patterns.get(pattern).map_or(Vec::new(), |it| preload(&it, &attempt.code))
            }
            None => Vec::new(),
        };
        let learnt = match &zygote.learn {
            Some(pattern) => {
                let mut names =
                    patterns.get(pattern).map_or(Vec::new(), |it| learnt(&it, &attempt.learnt));
                // What its first lines name is there anyway: whether it was told of makes no other kind of cell.
                names.retain(|name| !preload.iter().any(|it| is_or_brings(it, name)));
                names
            }
            None => Vec::new(),
        };
        if manifest.calls != Calls::Ordinary && !own {
            not_ahead(attempt, "its cells have fewer system calls than a zygote");
            return None;
        }
        let calls = attempt.call.is_some();
        let argv = (manifest.kind.run(), spec.argv.clone());
        Some(Self { preload, learnt, calls, ..Self::plain(attempt, policy, spec, argv)? })
    }

    /// How the program of such a cell is started where nothing of the cell's is there yet, if that makes no difference to it: by this argv, as it is in the
    /// manifest and as it is here.
    fn plain(
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        (run, argv): (&[String], Vec<std::ffi::OsString>),
    ) -> Option<Self> {
        let executor = &attempt.executor;
        let mentions = |slot: &str| run.iter().any(|item| item.contains(slot));
        let size: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let in_its_way = [
            (!matches!(attempt.phase, Phase::Run { .. }), "it is not to run"),
            // What a flow sets is for cells: the program would have it before there is one.
            (!attempt.env.is_empty(), "the cell has an environment of its own"),
            (!attempt.granted.env.is_empty(), "the cell was granted variables"),
            (size > MOST_ENV, "its environment is too large"),
            (mentions("{code}"), "its argv names {code}"),
            (mentions("{args}") && !attempt.argv.is_empty(), "the cell has arguments"),
        ];
        if let Some((_, why)) = in_its_way.iter().find(|(is_so, _)| *is_so) {
            not_ahead(attempt, why);
            return None;
        }
        let mut policy = policy.clone();
        let laid = laid_bytes(spec.files.iter().map(|file| file.bytes.len() as u64));
        if policy.limits.disk != policy.limits.memory {
            policy.limits.disk = policy.limits.disk.saturating_sub(laid);
        }
        Some(Self {
            policy,
            argv,
            env: Workplace::base_env(executor, &spec.view, &attempt.limits),
            preload: Vec::new(),
            learnt: Vec::new(),
            calls: false,
        })
    }
}

/// Whether what the one has started can be the other's. Files beside a manifest are looked at for each run, and what has read them has them as they were.
fn is_same_program(one: &Arc<Executor>, other: &Arc<Executor>) -> bool {
    Arc::ptr_eq(one, other)
        || one.manifest.id == other.manifest.id
            && one.tools == other.tools
            && !one.manifest.mentions("{dir}")
            && !other.manifest.mentions("{dir}")
}

/// Says why nothing is started before there is the cell, which its executor would allow.
fn not_ahead(attempt: &Attempt, why: &str) {
    let (executor, cell) = (&attempt.executor.manifest.id, &attempt.cell);
    tracing::debug!(%executor, %cell, why, "its program is not started ahead");
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

/// Whether to load one library loads the other.
fn is_or_brings(library: &str, other: &str) -> bool {
    library.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Those of the libraries a worker has told of that may be loaded for another cell's process: of a cell's word there is nothing else.
fn learnt(regex: &Regex, told: &[String]) -> Vec<String> {
    const MOST: usize = 32;
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let may_be = |name: &&String| {
        let whole = || regex.find(name).is_some_and(|found| found.range() == (0..name.len()));
        name.len() <= 200 && name.split('.').all(plain) && whole()
    };
    let mut names: Vec<String> = Vec::new();
    for name in told.iter().take(MOST).filter(may_be) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn is_own(bind: &sandbox::Bind) -> bool {
    bind.target.starts_with(sandbox::CELL_ROOT)
}

/// A kind of cell.
struct Known {
    ground: Arc<Ground>,
    failures: u32,
    /// The one that waits longest first.
    waiting: VecDeque<sandbox::Parked>,
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
    /// Workers that wait in some of them.
    ahead: Ahead,
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

    fn end(self, home: &Home, ground: &Ground, parked: sandbox::Parked) {
        match home {
            Home::Here => self.0.wait(ground, parked),
            Home::There(client, id) => {
                parked.leave();
                client.back(*id);
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What there is for a cell that may share a sandbox with those before and after it.
pub enum Shared {
    /// It has one.
    Has(Box<sandbox::Sandbox>),
    /// There is none now; later ones of its kind may have one.
    Later,
    /// Its kind can't be had here.
    Never,
}

/// What waits for a cell here.
enum Found {
    /// One that waits.
    Waiting(Box<sandbox::Parked>),
    /// None that waits: one is worth it.
    Wanted,
    /// It is the first of its kind here.
    First,
    /// Its kind can't be had.
    Nothing,
}

/// The one that waits at the daemon's.
fn waits_there(daemon: &Daemon, order: &Order) -> Option<(sandbox::Parked, Home)> {
    let client = daemon.client()?;
    let taken = client.take(order)?;
    let parked = sandbox::Parked::receive(&taken.about, taken.fds)?;
    Some((parked, Home::There(Arc::clone(client), taken.id)))
}

impl Grounds {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a cell into a sandbox that waits or is worth making; its time counts from `started`, then.
    pub fn cell(
        self: &Arc<Self>,
        place: &Arc<Workplace>,
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
        started: &mut Instant,
    ) -> Shared {
        let Ok(spawner) = place.spawner() else { return Shared::Never };
        let Some(ground) = Ground::of(attempt, policy, spec, &self.patterns) else {
            return Shared::Never;
        };
        let ground = Arc::new(ground);
        match spawner.can_park(policy) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                tracing::debug!(why, "every cell has a sandbox of its own");
                return Shared::Never;
            }
            Err(_) => return Shared::Never,
        }
        let executor = &ground.executor.manifest.id;
        // Its program runs where it was compiled.
        let soon = matches!(attempt.phase, Phase::Compile { .. });
        let (parked, home) = match self.look_for(&ground, soon) {
            Found::Waiting(parked) => (*parked, Home::Here),
            Found::Nothing if ground.learns() => {
                let plain = Attempt { learnt: Vec::new(), ..attempt.clone() };
                return self.cell(place, &plain, policy, spec, started);
            }
            Found::Nothing => return Shared::Never,
            found => {
                let order = ground.order(policy);
                // Other runs than this one may have other files beside the manifest.
                let open = ground.executor.folder().is_none();
                let there = open.then(|| waits_there(&place.daemon, &order)).flatten();
                match (there, found) {
                    (Some(taken), _) => taken,
                    (None, Found::First) => return Shared::Later,
                    (None, _) => match spawner.park(order.policy(), &order.spec()) {
                        Ok(parked) => {
                            let zygote = ground.zygote.is_some();
                            let what = if zygote { "a zygote" } else { "a sandbox" };
                            let start = ground.zygote.as_ref();
                            let learnt = start.map(|it| it.learnt.join(",")).unwrap_or_default();
                            tracing::debug!(%executor, learnt, "{what} waits for cells");
                            let many = zygote && attempt.coming >= WORTH_TWO;
                            if many && attempt.spare {
                                self.park_another(place, &ground, order);
                            }
                            (parked, Home::Here)
                        }
                        // What its cells load may be too much for a zygote, or nothing that can be shared.
                        Err(error) if ground.learns() => {
                            let why = "what cells load is not loaded ahead";
                            tracing::info!(%executor, %error, why);
                            *started = Instant::now();
                            (0..MOST_FAILURES).for_each(|_| self.failed(&ground));
                            let plain = Attempt { learnt: Vec::new(), ..attempt.clone() };
                            return self.cell(place, &plain, policy, spec, started);
                        }
                        Err(error) => {
                            let why = "no sandbox could be made for many cells";
                            tracing::info!(%executor, %error, why);
                            *started = Instant::now();
                            self.failed(&ground);
                            return Shared::Never;
                        }
                    },
                }
            }
        };
        // What it took to make it is no time of the cell's, here and above.
        *started = Instant::now();
        let (taken, kind) = (Taken::by(self), Arc::clone(&ground));
        let made = spawner.unpark(parked, policy, spec, move |parked| {
            taken.end(&home, &kind, parked);
        });
        match made {
            Ok(cell) => Shared::Has(Box::new(cell)),
            Err(sandbox::SpawnError::TooLarge) => Shared::Never,
            Err(error) => {
                tracing::info!(%executor, %error, "a sandbox that waited took no cell");
                // Nor is it the cell's what was waited for in vain.
                *started = Instant::now();
                self.failed(&ground);
                Shared::Never
            }
        }
    }

    /// Makes a second zygote beside the first, which nobody waits for: what will be the next cell but one gets ready in the one while a cell is in the other.
    fn park_another(self: &Arc<Self>, place: &Arc<Workplace>, ground: &Arc<Ground>, order: Order) {
        let (grounds, place, ground) = (Arc::clone(self), Arc::clone(place), Arc::clone(ground));
        let executor = &ground.executor.manifest.id;
        tracing::debug!(%executor, "a second zygote is started beside the first");
        // Where it fails, there is the first one.
        drop(tokio::task::spawn_blocking(move || {
            let parked = place.spawner().ok()?.park(order.policy(), &order.spec()).ok()?;
            grounds.wait(&ground, parked);
            Some(())
        }));
    }

    /// What there is for a cell; `soon`: another of its kind follows at once. Of several the one that has waited longest is the most ready.
    fn look_for(&self, ground: &Arc<Ground>, soon: bool) -> Found {
        let mut known = self.known();
        let Some(at) = known.iter().position(|kind| kind.ground.is_like(ground)) else {
            let kind = Known { ground: Arc::clone(ground), failures: 0, waiting: VecDeque::new() };
            known.insert(0, kind);
            let most = known.len().min(MOST_KINDS);
            let forgotten = known.split_off(most);
            drop(known);
            // To end a sandbox takes a moment.
            drop(forgotten);
            return if soon { Found::Wanted } else { Found::First };
        };
        let mut gone = Vec::new();
        known[..=at].rotate_right(1);
        let kind = &mut known[0];
        let found = loop {
            match kind.waiting.pop_front() {
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
            kind.waiting.push_back(parked);
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
