//! What a flow is made of in which every result stands: as long as none of it has changed, nothing of the flow needs to be read, keyed or
//! looked up to know that there is nothing to do.
//!
//! It vouches only for what can be compared cheaply and as a whole: files by their stat, which must have been settled before the plan was
//! begun; programs by their identity; results by the store's count of changes. A flow of which more has to be asked (what a person
//! grants, conditions, a store behind) is planned each time.

mod look;

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_events::{Event, Record, Totals};
use polyloom_model::{CellId, Digest, Encoding, ExecutorId, Manifest, ToolChoice};
use polyloom_plan::Action;
use polyloom_protocol::Outcome;
use polyloom_schedule::RunOutcome;
use polyloom_store::{Fault, History, RunEnd, RunWriter, StatKey, Stood, Store};
use serde::{Deserialize, Serialize};

use self::look::{Since, folder, matches};
use crate::place::Place;
use crate::prepare::Prepared;
use crate::run::{Rest, Summary, unix_ms};
use crate::sources::sources;
use crate::stream::Stream;
use crate::words::chain;

/// A collection spares what was used within the last hour: so long the use of results need not be noted.
const LASTS_MS: u64 = 1_200_000;

/// What must be as it was.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unchanged {
    flow: String,
    path: PathBuf,
    root: PathBuf,
    cells: u64,
    written: Option<u64>,
    tools: Vec<ToolChoice>,
    executors: Vec<(ExecutorId, Digest)>,
    files: Vec<(PathBuf, StatKey)>,
    folders: Vec<(PathBuf, Digest)>,
    globs: Vec<(PathBuf, String, Digest)>,
    changes: u64,
    large: Vec<(Digest, u64)>,
    until_unix_ms: u64,
    /// What the store has its steps by.
    steps: Digest,
    /// What the history knows such runs by.
    stood: Option<Stood>,
}

/// A step whose result stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoodStep {
    /// Its cell.
    pub cell: CellId,
    /// Its language.
    pub executor: ExecutorId,
    /// Its structural key.
    pub key: Digest,
    /// Its time limit, milliseconds.
    pub timeout_ms: u64,
}

/// An [`Unchanged`] that is not kept yet, with its steps.
#[derive(Debug)]
pub struct Fresh {
    unchanged: Unchanged,
    steps: Vec<u8>,
}

impl Fresh {
    /// What a plan rests on, or why nothing vouches for it: something may run, or more has to be asked. `began_unix_ms`: when the first
    /// file was read.
    pub fn of(
        prepared: &Prepared,
        place: &Place,
        more_files: &[PathBuf],
        began_unix_ms: u64,
    ) -> Result<Self, &'static str> {
        for (holds, why) in [
            (prepared.warnings.is_empty(), "it is warned of"),
            (prepared.marks.is_empty(), "what is kept of its outputs has changed"),
            (prepared.open.is_empty(), "it has maps whose items are not known"),
            (prepared.plan.later.is_empty(), "it has steps that are not known yet"),
            (prepared.facts.env.is_empty(), "it reads the environment"),
            (prepared.asking().is_empty(), "cells of it ask for more than their inputs"),
            (place.store.is_alone(), "a store stands behind the store"),
        ] {
            if !holds {
                return Err(why);
            }
        }
        let mut large = Vec::new();
        let mut steps = Vec::with_capacity(prepared.plan.steps.len());
        for step in &prepared.plan.steps {
            let Action::Cached(recorded) = &step.action else {
                return Err("some of its steps have no result");
            };
            let there =
                recorded.outputs.iter().filter(|(port, _)| !recorded.evicted.contains(port));
            for (_, artifact) in there {
                let is_dir = artifact.ty.encoding() == Encoding::Dir;
                let files = place.store.large(&artifact.digest, artifact.size, is_dir);
                large.extend(files.ok_or("a folder among its outputs has too many files")?);
            }
            let cell = &prepared.flow.cells[step.index.at()];
            steps.push(StoodStep {
                cell: step.cell.clone(),
                executor: cell.executor.clone(),
                key: step.key.0,
                timeout_ms: u64::try_from(cell.limits.timeout.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let flow = &prepared.written;
        let sources = sources(flow);
        let changed = "files of it were changed just now";
        let mut since = Since::new(began_unix_ms);
        let mut files = Vec::with_capacity(sources.files.len());
        for path in sources.files.iter().chain(more_files) {
            let meta = fs::metadata(path).map_err(|_| "files of it are not there")?;
            if !meta.is_dir() {
                files.push((path.clone(), since.stat(path, &meta).ok_or(changed)?));
            }
        }
        let mut folders = Vec::new();
        // In others only patterns are looked for.
        for path in sources.folders.intersection(&sources.files) {
            let sum = folder(path, Some(&mut since));
            let why = "a folder that it reads was changed just now, or is large, or has links";
            folders.push((path.clone(), sum.ok_or(why)?));
        }
        let mut globs = Vec::new();
        for (root, pattern) in &sources.globs {
            let sum = matches(root, pattern, &place.writes, Some(&mut since)).ok_or(changed)?;
            globs.push((root.clone(), pattern.clone(), sum));
        }
        if since.changed().next().is_some() {
            return Err("folders on the way to its files were changed just now");
        }
        let executors = prepared.identities.iter();
        let steps = rmp_serde::to_vec(&steps).map_err(|_| "its steps have no form")?;
        let unchanged = Unchanged {
            flow: flow.name.clone(),
            path: flow.path.clone(),
            root: flow.root.clone(),
            cells: prepared.plan.steps.len() as u64,
            written: prepared.written_cells(),
            tools: prepared.templates.tools.clone(),
            executors: executors.map(|(id, digest)| (id.clone(), *digest)).collect(),
            files,
            folders,
            globs,
            changes: prepared.changes.ok_or("the store's count could not be read")?,
            large,
            until_unix_ms: began_unix_ms.saturating_add(LASTS_MS),
            steps: Digest::of(&steps),
            stood: None,
        };
        Ok(Self { unchanged, steps })
    }

    /// Keeps it under a key that stands for all that was asked for. `stood` is what the history knows a run with nothing else by.
    pub fn keep(mut self, store: &Store, key: &Digest, stood: Option<Stood>) -> Result<(), Fault> {
        self.unchanged.stood = stood;
        let Ok(bytes) = rmp_serde::to_vec(&self.unchanged) else { return Ok(()) };
        let now = unix_ms();
        store.keep_unchanged(&self.unchanged.steps, &self.steps, now)?;
        store.keep_unchanged(key, &bytes, now)
    }
}

impl Unchanged {
    /// What is kept under a key, if all of it is still so.
    pub fn find<'m>(
        place: &Place,
        key: &Digest,
        manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    ) -> Option<Self> {
        let bytes = place.store.unchanged(key).ok()??;
        let found: Self = rmp_serde::from_slice(&bytes).ok()?;
        match found.broken(place, manifest) {
            None => Some(found),
            Some(why) => {
                tracing::debug!(why, "what was known of the flow does not hold any more");
                None
            }
        }
    }

    /// Why it does not hold any more.
    fn broken<'m>(
        &self,
        place: &Place,
        manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    ) -> Option<&'static str> {
        let same_file = |(path, stat): &(PathBuf, StatKey)| {
            fs::metadata(path).is_ok_and(|meta| StatKey::of(&meta) == *stat)
        };
        let same_matches = |(root, pattern, sum): &(PathBuf, String, Digest)| {
            matches(root, pattern, &place.writes, None).as_ref() == Some(sum)
        };
        let same_program = |(id, digest): &(ExecutorId, Digest)| {
            let found = manifest(id).map(|it| place.executor(it, &self.tools, &self.root));
            matches!(found, Some(Ok(executor)) if place.facts(&executor).together() == *digest)
        };
        if self.until_unix_ms < place.unix_ms {
            return Some("the use of its results has to be noted");
        }
        if !place.store.is_alone() {
            return Some("a store stands behind the store");
        }
        if !place.store.changes().is_ok_and(|changes| changes == self.changes) {
            return Some("results in the store have changed");
        }
        if !self.files.iter().all(same_file) {
            return Some("a file has changed");
        }
        if !self.folders.iter().all(|(path, sum)| folder(path, None).as_ref() == Some(sum)) {
            return Some("a folder has changed");
        }
        if !self.globs.iter().all(same_matches) {
            return Some("a file that a pattern matches has changed");
        }
        if !place.store.large_stand(&self.large) {
            return Some("a file in the store has changed");
        }
        if !self.executors.iter().all(same_program) {
            return Some("a program has changed");
        }
        None
    }

    /// Its steps.
    #[must_use]
    pub fn steps(&self, store: &Store) -> Option<Vec<StoodStep>> {
        let bytes = store.unchanged(&self.steps).ok()??;
        rmp_serde::from_slice(&bytes).ok()
    }

    /// The name of the flow.
    #[must_use]
    pub fn flow(&self) -> &str {
        &self.flow
    }

    /// The folder of the flow.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The flow file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the history knows such runs by.
    #[must_use]
    pub fn stood(&self) -> Option<&Stood> {
        self.stood.as_ref()
    }

    /// Says a run in which nothing happens, and records its end.
    pub fn run(
        &self,
        history: &History,
        writer: RunWriter,
        mut stream: Stream,
        jobs: usize,
        version: &str,
    ) -> Summary {
        stream.say(Event::RunStarted {
            schema: polyloom_events::SCHEMA.to_owned(),
            run: writer.id().to_owned(),
            flow: self.flow.clone(),
            path: self.path.display().to_string(),
            started_unix_ms: unix_ms(),
            cells: self.cells,
            written: self.written,
            jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
            version: version.to_owned(),
            changed: Vec::new(),
        });
        stream.stood(self.cells, |first, at_ms| {
            let lines = history.stood(writer.id(), first, at_ms).ok()?;
            // Its writer is a polyloom of this version.
            let records = lines.lines().map_while(Result::ok);
            Some(records.filter_map(|line| serde_json::from_str::<Record>(&line).ok()).collect())
        });
        let totals = Totals { cached: self.cells, ..Totals::default() };
        let wall_ms = stream.now_ms();
        let (critical_path, slowest) = (Vec::new(), Vec::new());
        let outcome = Outcome::Ok;
        stream.say(Event::RunFinished { outcome, wall_ms, totals, critical_path, slowest });
        let unwritten = stream.end();
        let totals_text = serde_json::to_string(&totals).unwrap_or_default();
        if let Err(error) = writer.finish(&RunEnd { outcome, wall_ms, totals: totals_text }) {
            tracing::warn!(error = %chain(&error), "the run's end could not be recorded");
        }
        Summary {
            outcome: RunOutcome::Ok,
            totals,
            wall_ms,
            environment: false,
            moved: false,
            unwritten,
            carried: Vec::new(),
            rest: Rest::default(),
        }
    }
}
