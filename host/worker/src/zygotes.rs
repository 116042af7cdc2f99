//! Executors that were started once and make each cell by forking themselves: which cells could come from which, and who waits for the next.
//!
//! A zygote is started for the second cell of its kind, since one alone would gain nothing. What can't be had by one is started by itself, as ever.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyloom_model::{Kind, MAX_PATTERN_PROGRAM, WorkerSpec};
use polyloom_sandbox as sandbox;
use regex_lite::RegexBuilder;

use crate::attempt::{Attempt, Phase};
use crate::executor::Executor;
use crate::parking::laid_bytes;

/// Kinds of cells that are known at once; the one that was not asked for longest is forgotten.
const MOST_KINDS: usize = 64;
/// Environment that is sent to a zygote with its cell, in bytes.
const MOST_ENV: usize = 64 << 10;
/// After so many that failed there is no more trying.
const MOST_FAILURES: u32 = 2;

/// Variables of these names are the cell's own; all others are there when its program starts, where it may look at them once.
const OWN: &str = "POLYLOOM_";

/// What cells of one zygote have in common.
pub struct Ground {
    executor: Arc<Executor>,
    policy: sandbox::Policy,
    argv: Vec<std::ffi::OsString>,
    env: Vec<(String, std::ffi::OsString)>,
    binds: Vec<(PathBuf, PathBuf)>,
    /// Libraries to be loaded before the first fork.
    preload: Vec<String>,
}

impl Ground {
    /// What a cell needs of its zygote; nothing where it can have none.
    fn of(attempt: &Attempt, policy: &sandbox::Policy, spec: &sandbox::Spec) -> Option<Self> {
        let executor = &attempt.executor;
        let Kind::Worker(WorkerSpec { zygote: Some(zygote), .. }) = &executor.manifest.kind else {
            return None;
        };
        let size: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let plain = matches!(attempt.phase, Phase::Run { .. })
            && attempt.secrets.is_none()
            && spec.openings.is_empty()
            && !spec.terminals
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
        let shared = spec.binds.iter().filter(|bind| !is_own(bind));
        plain.then(|| Self {
            executor: Arc::clone(executor),
            policy,
            argv: spec.argv.clone(),
            env: spec.env.iter().filter(|(name, _)| !name.starts_with(OWN)).cloned().collect(),
            binds: shared.map(|bind| (bind.source.clone(), bind.target.clone())).collect(),
            preload: match &zygote.preload {
                Some(pattern) => preload(pattern, &attempt.code),
                None => Vec::new(),
            },
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        // A program that was replaced under its old name is another one.
        self.executor.tools == other.executor.tools
            && self.executor.manifest.id == other.executor.manifest.id
            && self.policy == other.policy
            && self.argv == other.argv
            && self.env == other.env
            && self.binds == other.binds
            && self.preload == other.preload
    }

    fn spec(&self) -> sandbox::Spec {
        let bind = |(source, target): &(PathBuf, PathBuf)| sandbox::Bind {
            source: source.clone(),
            target: target.clone(),
        };
        let mut env = self.env.clone();
        if !self.preload.is_empty() {
            env.push(("POLYLOOM_PRELOAD".to_owned(), self.preload.join(",").into()));
        }
        sandbox::Spec {
            argv: self.argv.clone(),
            env,
            binds: self.binds.iter().map(bind).collect(),
            zygote: true,
            ..sandbox::Spec::default()
        }
    }
}

/// The libraries that the first lines of code name.
fn preload(pattern: &str, code: &[u8]) -> Vec<String> {
    // Lines that were looked at by nobody are no longer the first ones.
    const MOST_LINES: usize = 200;
    const MOST_LIBRARIES: usize = 32;
    let Ok(regex) = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_PROGRAM).build() else {
        return Vec::new();
    };
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
    waiting: Vec<sandbox::Zygote>,
}

/// Zygotes that wait for their next cell.
#[derive(Default)]
pub struct Zygotes {
    /// The latest first.
    known: Mutex<Vec<Known>>,
}

/// What there is for a cell.
enum Found {
    /// One that waits.
    Waiting(sandbox::Zygote),
    /// None that waits: one is worth it.
    Wanted,
    /// It is the first of its kind, or its kind can't be had.
    Nothing,
}

impl Zygotes {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a cell, if it can be made by a zygote that waits or is worth starting.
    pub fn cell(
        self: &Arc<Self>,
        spawner: &sandbox::Spawner,
        attempt: &Attempt,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<sandbox::Sandbox> {
        let ground = Arc::new(Ground::of(attempt, policy, spec)?);
        if let Err(why) = spawner.can_fork(policy).ok()? {
            tracing::debug!(why, "cells are not made by a zygote");
            return None;
        }
        let executor = &ground.executor.manifest.id;
        let zygote = match self.look_for(&ground) {
            Found::Waiting(zygote) => zygote,
            Found::Nothing => return None,
            Found::Wanted => match spawner.zygote(&ground.policy, &ground.spec()) {
                Ok(zygote) => zygote,
                Err(error) => {
                    tracing::info!(%executor, %error, "no zygote could be started");
                    self.failed(&ground);
                    return None;
                }
            },
        };
        let (this, kind) = (Arc::clone(self), Arc::clone(&ground));
        let made = spawner.fork(zygote, policy, spec, move |zygote| this.wait(&kind, zygote));
        match made {
            Ok(cell) => Some(cell),
            Err(sandbox::SpawnError::TooLarge) => None,
            Err(error) => {
                tracing::info!(%executor, %error, "a zygote made no cell");
                self.failed(&ground);
                None
            }
        }
    }

    fn look_for(&self, ground: &Arc<Ground>) -> Found {
        let mut known = self.known();
        let Some(at) = known.iter().position(|kind| kind.ground.is_like(ground)) else {
            let kind = Known { ground: Arc::clone(ground), failures: 0, waiting: Vec::new() };
            known.insert(0, kind);
            let most = known.len().min(MOST_KINDS);
            let forgotten = known.split_off(most);
            drop(known);
            // To end a zygote takes a moment.
            drop(forgotten);
            return Found::Nothing;
        };
        let mut gone = Vec::new();
        known[..=at].rotate_right(1);
        let kind = &mut known[0];
        let found = loop {
            match kind.waiting.pop() {
                Some(mut zygote) => match zygote.is_there() {
                    true => break Found::Waiting(zygote),
                    false => gone.push(zygote),
                },
                None if kind.failures >= MOST_FAILURES => break Found::Nothing,
                None => break Found::Wanted,
            }
        };
        drop(known);
        drop(gone);
        found
    }

    fn failed(&self, ground: &Ground) {
        if let Some(kind) = self.known().iter_mut().find(|kind| kind.ground.is_like(ground)) {
            kind.failures += 1;
        }
    }

    /// Takes one back. One whose kind was forgotten is ended.
    fn wait(&self, ground: &Ground, zygote: sandbox::Zygote) {
        let mut known = self.known();
        if let Some(kind) = known.iter_mut().find(|kind| kind.ground.is_like(ground)) {
            kind.waiting.push(zygote);
        }
    }
}
