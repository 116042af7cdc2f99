//! What a flow is made of in which every result stands: as long as none of it has changed, nothing of the flow needs to be read, keyed or
//! looked up to know that there is nothing to do.
//!
//! It vouches only for what can be compared cheaply and as a whole: files by their stat, which must have been settled before the plan was
//! begun; programs by their identity; results by the store's count of changes. A flow of which more has to be asked (what a person
//! grants, conditions, a store behind) is planned each time.

use std::fs::{self, Metadata};
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_events::{Event, Record, Totals};
use polyloom_model::{Digest, Encoding, ExecutorId, Manifest, ToolChoice};
use polyloom_plan::Action;
use polyloom_protocol::Outcome;
use polyloom_schedule::RunOutcome;
use polyloom_store::{Fault, History, RunEnd, RunWriter, StatKey, Store};
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::prepare::Prepared;
use crate::run::{Rest, Summary, unix_ms};
use crate::sources::sources;
use crate::stream::Stream;
use crate::words::chain;

/// A collection spares what was used within the last hour: so long the use of results need not be noted.
const LASTS_MS: u64 = 1_200_000;
/// Folders with more in them are read again.
const ENTRIES: usize = 20_000;

/// What must be as it was.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unchanged {
    flow: String,
    path: PathBuf,
    root: PathBuf,
    cells: u64,
    tools: Vec<ToolChoice>,
    executors: Vec<(ExecutorId, Digest)>,
    files: Vec<(PathBuf, StatKey)>,
    folders: Vec<(PathBuf, Digest)>,
    changes: u64,
    large: Vec<(Digest, u64)>,
    until_unix_ms: u64,
    /// What the history knows such runs by.
    sum: Option<Digest>,
}

impl Unchanged {
    /// What a plan rests on. `None`: something may run, or more has to be asked. `began_unix_ms`: when the first file was read.
    #[must_use]
    pub fn of(
        prepared: &Prepared,
        place: &Place,
        more_files: &[PathBuf],
        began_unix_ms: u64,
    ) -> Option<Self> {
        let known = prepared.warnings.is_empty()
            && prepared.marks.is_empty()
            && prepared.open.is_empty()
            && prepared.plan.later.is_empty()
            && prepared.facts.env.is_empty()
            && prepared.asking().is_empty()
            && place.store.is_alone();
        if !known {
            return None;
        }
        let mut large = Vec::new();
        for step in &prepared.plan.steps {
            let Action::Cached(recorded) = &step.action else { return None };
            let there =
                recorded.outputs.iter().filter(|(port, _)| !recorded.evicted.contains(port));
            for (_, artifact) in there {
                let is_dir = artifact.ty.encoding() == Encoding::Dir;
                large.extend(place.store.large(&artifact.digest, artifact.size, is_dir)?);
            }
        }
        let flow = &prepared.written;
        let sources = sources(flow);
        let mut files = Vec::with_capacity(sources.files.len());
        for path in sources.files.iter().chain(more_files) {
            let meta = fs::metadata(path).ok()?;
            if !meta.is_dir() {
                files.push((path.clone(), settled(&meta, began_unix_ms)?));
            }
        }
        let mut folders = Vec::new();
        for path in &sources.folders {
            folders.push((path.clone(), folder(path, Some(began_unix_ms))?));
        }
        let executors = prepared.identities.iter();
        Some(Self {
            flow: flow.name.clone(),
            path: flow.path.clone(),
            root: flow.root.clone(),
            cells: prepared.plan.steps.len() as u64,
            tools: prepared.templates.tools.clone(),
            executors: executors.map(|(id, digest)| (id.clone(), *digest)).collect(),
            files,
            folders,
            changes: prepared.changes?,
            large,
            until_unix_ms: began_unix_ms.saturating_add(LASTS_MS),
            sum: None,
        })
    }

    /// Keeps it under a key that stands for all that was asked for, once the run is recorded.
    pub fn keep(
        mut self,
        store: &Store,
        key: &Digest,
        history: &History,
        run: &str,
    ) -> Result<(), Fault> {
        self.sum = history.keep_stood(run)?;
        if self.sum.is_none() {
            return Ok(());
        }
        let Ok(bytes) = rmp_serde::to_vec(&self) else { return Ok(()) };
        store.keep_unchanged(key, &bytes, unix_ms())
    }

    /// What is kept under a key, if all of it is still so.
    pub fn find<'m>(
        place: &Place,
        key: &Digest,
        manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    ) -> Option<Self> {
        let bytes = place.store.unchanged(key).ok()??;
        let found: Self = rmp_serde::from_slice(&bytes).ok()?;
        found.holds(place, manifest).then_some(found)
    }

    fn holds<'m>(
        &self,
        place: &Place,
        manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    ) -> bool {
        let same_file = |(path, stat): &(PathBuf, StatKey)| {
            fs::metadata(path).is_ok_and(|meta| StatKey::of(&meta) == *stat)
        };
        let same_program = |(id, digest): &(ExecutorId, Digest)| {
            let found = manifest(id).map(|it| place.executor(it, &self.tools, &self.root));
            matches!(found, Some(Ok(executor)) if place.facts(&executor).together() == *digest)
        };
        self.until_unix_ms >= place.unix_ms
            && place.store.is_alone()
            && place.store.changes().is_ok_and(|changes| changes == self.changes)
            && self.files.iter().all(same_file)
            && self.folders.iter().all(|(path, sum)| folder(path, None).as_ref() == Some(sum))
            && place.store.large_stand(&self.large)
            && self.executors.iter().all(same_program)
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
    pub fn sum(&self) -> Option<&Digest> {
        self.sum.as_ref()
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
            unwritten,
            carried: Vec::new(),
            rest: Rest::default(),
        }
    }
}

/// A file's stat, if any later change must show in it.
fn settled(meta: &Metadata, unix_ms: u64) -> Option<StatKey> {
    Some(StatKey::of(meta)).filter(|stat| stat.is_settled(unix_ms))
}

/// The digest of the names and stats of all that is in a folder. `None`: there is too much, or it can't be told; or, where a time is
/// given, not all was settled by then.
fn folder(path: &Path, settled_by: Option<u64>) -> Option<Digest> {
    let mut text = Vec::new();
    let mut count = 0;
    walk(path, settled_by, &mut text, &mut count)?;
    Some(Digest::of(&text))
}

fn walk(path: &Path, by: Option<u64>, text: &mut Vec<u8>, count: &mut usize) -> Option<()> {
    let mut put = |name: &[u8], meta: &Metadata| {
        let stat = match by {
            Some(by) => settled(meta, by)?,
            None => StatKey::of(meta),
        };
        text.extend((name.len() as u64).to_le_bytes());
        text.extend(name);
        text.extend(rmp_serde::to_vec(&stat).ok()?);
        Some(())
    };
    put(b"", &fs::metadata(path).ok()?)?;
    let mut entries: Vec<_> = fs::read_dir(path).ok()?.collect::<Result<_, _>>().ok()?;
    *count += entries.len();
    if *count > ENTRIES {
        return None;
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in &entries {
        let meta = entry.metadata().ok()?;
        // What a link leads to is not in the folder.
        if meta.is_symlink() {
            return None;
        }
        put(entry.file_name().as_bytes(), &meta)?;
    }
    let below = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in below {
        walk(&entry.path(), by, text, count)?;
    }
    Some(())
}
