//! Writing one run and reading it back.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::OpenOptions;
use polyloom_model::Digest;
use polyloom_protocol::meta::Outcome;
use rusqlite::Transaction;

use super::open::{History, regular};
use super::steps::{insert_kept, insert_steps};
use super::stood::{STOOD, joined};
use super::{KeptRow, NewRun, RunEnd, StepRow, format_run_time};
use crate::fault::Fault;

pub(super) const RUNS: &str = "runs";
pub(super) const LOG: &str = "events.jsonl";

/// The writer of one run. Holds the run's lock; dropping it without [`RunWriter::finish`] leaves an interrupted run.
#[derive(Debug)]
pub struct RunWriter {
    history: Arc<History>,
    id: String,
    flow: String,
    log: File,
}

/// A run's events up to its last whole line.
pub type RunReader = BufReader<Box<dyn Read + Send>>;

impl History {
    /// Begins a run: makes its folder, takes its lock and lists it.
    pub fn begin(self: &Arc<Self>, run: &NewRun) -> Result<RunWriter, Fault> {
        let begun = self.begin_with(run, |_, _| Ok(true))?;
        begun.ok_or_else(|| Fault::Row { what: "run", folder: self.folder.clone() })
    }

    /// The same, if what `more` adds to it in the same transaction is there. What has no row has no folder either.
    pub(super) fn begin_with(
        self: &Arc<Self>,
        run: &NewRun,
        more: impl FnOnce(&Transaction<'_>, &str) -> Result<bool, rusqlite::Error>,
    ) -> Result<Option<RunWriter>, Fault> {
        let id = self.make_folder(run)?;
        let begun = self.begin_in(&id, run, more);
        if !matches!(begun, Ok(Some(_))) {
            let _ = self.dir.remove_dir_all(folder_of(&id));
        }
        begun
    }

    fn begin_in(
        self: &Arc<Self>,
        id: &str,
        run: &NewRun,
        more: impl FnOnce(&Transaction<'_>, &str) -> Result<bool, rusqlite::Error>,
    ) -> Result<Option<RunWriter>, Fault> {
        let path = within(id, LOG);
        let mut new = OpenOptions::new();
        let log = regular(&self.dir, &path, new.append(true).create_new(true));
        let log = log.map_err(|error| self.io("make", &path, error))?;
        log.try_lock().map_err(|error| self.io("lock", &path, error.into()))?;
        let argv = serde_json::Value::from(run.argv.clone()).to_string();
        let begun = self.write(|index| {
            if !more(index, id)? {
                return Ok(false);
            }
            index.execute(
                "INSERT INTO runs (id, started, flow, argv) VALUES (?1, ?2, ?3, ?4)",
                (id, i64::try_from(run.started_unix_ms).unwrap_or(i64::MAX), &run.flow, argv),
            )?;
            Ok(true)
        })?;
        let (id, flow) = (id.to_owned(), run.flow.clone());
        Ok(begun.then(|| RunWriter { history: self.clone(), id, flow, log }))
    }

    /// Two runs may begin in the same second, in two processes: whoever makes the folder has the id.
    fn make_folder(&self, run: &NewRun) -> Result<String, Fault> {
        let mut salt = 0_u32;
        loop {
            let seed = format!("{}:{}:{salt}", std::process::id(), run.started_unix_ms);
            let suffix = &Digest::of(seed.as_bytes()).hex()[..4];
            let id = format!("{}-{suffix}", format_run_time(run.started_unix_ms));
            let folder = folder_of(&id);
            match self.dir.create_dir(&folder) {
                Ok(()) => return Ok(id),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && salt < 1000 => {
                    salt += 1;
                }
                Err(error) => return Err(self.io("make the folder", &folder, error)),
            }
        }
    }

    /// The events of a run, also of one that still runs. A last line without its end is left out: its writer died
    /// or is just writing it.
    pub fn read_events(&self, run: &str) -> Result<RunReader, Fault> {
        let log = self.read_log(run)?;
        let read = |error| self.io("read", &within(run, LOG), error);
        joined(|| self.open_file(&within(run, STOOD)), log).map_err(read)
    }

    /// The log that a run writes, for who follows it by the number of bytes.
    pub fn read_log(&self, run: &str) -> Result<BufReader<Take<File>>, Fault> {
        let path = within(run, LOG);
        let read = |error| self.io("read", &path, error);
        let mut file = self.open_file(&path).map_err(read)?;
        let whole = whole_lines(&mut file).map_err(read)?;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        Ok(BufReader::new(file.take(whole)))
    }

    /// The folder of a run, for a socket beside its log.
    #[must_use]
    pub fn run_folder(&self, run: &str) -> PathBuf {
        self.folder.join(folder_of(run))
    }

    /// Whether a living process holds the run's lock.
    pub(super) fn is_running(&self, run: &str) -> bool {
        self.open_file(&within(run, LOG))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Opens a file below the history's folder for reading.
    pub(super) fn open_file(&self, path: &Path) -> io::Result<File> {
        regular(&self.dir, path, OpenOptions::new().read(true))
    }

    /// An error about a file below the history's folder.
    pub(super) fn io(&self, action: &'static str, path: &Path, error: io::Error) -> Fault {
        Fault::io(action, &self.folder.join(path), error)
    }
}

/// The folder of a run, below the history's.
pub(super) fn folder_of(run: &str) -> PathBuf {
    Path::new(RUNS).join(run)
}

/// A file of a run, below the history's folder.
pub(super) fn within(run: &str, name: &str) -> PathBuf {
    folder_of(run).join(name)
}

/// Whether a text is the id of a run: `YYYYMMDD-HHMMSS-xxxx`. It names a folder.
pub(super) fn is_id(text: &str) -> bool {
    let kinds = "dddddddd-dddddd-xxxx".bytes();
    text.len() == kinds.len()
        && text.bytes().zip(kinds).all(|(byte, kind)| match kind {
            b'd' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            other => byte == other,
        })
}

/// The length of a file up to and with its last line feed.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut chunk = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let part = &mut chunk[..usize::try_from(end - start).unwrap_or(0)];
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl RunWriter {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A second handle on the run's event log, for the sink that writes it. The run's lock lasts as long as any
    /// handle is open, this one too.
    pub fn log(&self) -> Result<File, Fault> {
        let log = self.log.try_clone();
        log.map_err(|error| self.history.io("open", &within(&self.id, LOG), error))
    }

    /// Records finished steps and makes them the latest of their cells, in one transaction.
    pub fn record_steps(&self, steps: &[StepRow]) -> Result<(), Fault> {
        self.history.write_on(|index| {
            insert_steps(index, &self.id, steps)?;
            let mut latest = index.prepare_cached(
                "INSERT INTO latest (flow, cell, run, outcome, key, parts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (flow, cell) DO UPDATE SET run = ?3, outcome = ?4, key = ?5, parts = ?6",
            )?;
            for row in steps {
                // A step that was skipped says nothing new about its cell, nor does one that was denied before it began.
                let denied = row.outcome == Outcome::Denied && row.wall_ms == 0.0;
                if row.outcome != Outcome::Skipped && !denied {
                    let outcome = row.outcome.as_str();
                    latest.execute((
                        &self.flow, &row.cell, &self.id, outcome, &row.key, &row.parts,
                    ))?;
                }
            }
            Ok(())
        })
    }

    /// Records steps whose results stand. `parts` gives the parts of one of them as JSON, and is asked only for what
    /// no earlier run had.
    pub fn record_kept(
        &self,
        steps: &[KeptRow],
        parts: &dyn Fn(usize) -> String,
    ) -> Result<(), Fault> {
        self.history.write_on(|index| insert_kept(index, &self.id, steps, parts))
    }

    /// Records the end and lets go of the lock.
    pub fn finish(self, end: &RunEnd) -> Result<(), Fault> {
        let synced = self.log.sync_data();
        synced.map_err(|error| self.history.io("sync", &within(&self.id, LOG), error))?;
        self.history.write(|index| {
            index.execute(
                "UPDATE runs SET outcome = ?2, wall = ?3, totals = ?4 WHERE id = ?1",
                (&self.id, end.outcome.as_str(), end.wall_ms, &end.totals),
            )
        })?;
        Ok(())
    }
}

impl Write for RunWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn ids_of_runs_are_names_of_folders_and_nothing_else() {
        assert!(is_id("20261121-031833-ab12"));
        for bad in
            ["", "..", "20261121-031833-AB12", "20261121-031833-ab/2", "20261121_031833-ab12"]
        {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
