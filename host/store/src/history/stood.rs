//! Runs in which nothing happened again: as many records as such a run has, they are the same in each, but for their numbers and times. Such
//! a run has them from the one before, as a second name of one file, and its own log has only what is its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take, Write};
use std::sync::Arc;

use cap_std::fs::OpenOptions;
use polyloom_model::Digest;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::NewRun;
use super::open::{History, regular};
use super::run::{RunReader, RunWriter, within};
use crate::fault::Fault;
use crate::index;

/// Records between the first and the last of a run, a line each, without `{"seq":1,"at_ms":2.5,`.
pub(super) const STOOD: &str = "stood.jsonl";
/// So many bytes of them, and no more.
const LARGEST: u64 = 1 << 30;
/// Longer lines are none of ours.
const MAX_LINE: u64 = 16 << 20;

/// The number and the time of a record, whatever it says.
#[derive(Deserialize)]
struct Place {
    seq: u64,
    at_ms: f64,
}

/// The place of a record and what it says, behind the comma.
fn parted(line: &[u8]) -> Option<(Place, &[u8])> {
    let place: Place = serde_json::from_slice(line).ok()?;
    let head = head(&place)?;
    Some((place, line.strip_prefix(head.as_slice())?))
}

/// `{"seq":1,"at_ms":2.5,`.
fn head(place: &Place) -> Option<Vec<u8>> {
    let mut head = b"{\"seq\":".to_vec();
    serde_json::to_writer(&mut head, &place.seq).ok()?;
    head.extend(b",\"at_ms\":");
    serde_json::to_writer(&mut head, &place.at_ms).ok()?;
    head.push(b',');
    Some(head)
}

/// What tells that a further run is the same, and that its records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    sum: Digest,
    records: Digest,
}

impl History {
    /// Keeps the records between the first and the last of a run whose steps all stood, so that [`History::begin_again`] finds them. Nothing
    /// where the run was no such run.
    pub fn keep_stood(&self, run: &str) -> Result<Option<Stood>, Fault> {
        let sums: Vec<Option<Vec<u8>>> = self.query(|index| {
            let mut statement = index.prepare_cached("SELECT sum FROM kept_in WHERE run = ?1")?;
            statement.query_map([run], |row| row.get(0))?.collect()
        })?;
        let [Some(sum)] = sums.as_slice() else { return Ok(None) };
        let Some(sum) = index::digest(sum) else { return Ok(None) };
        let path = within(run, STOOD);
        let fault = |error| self.io("write", &path, error);
        let mut log = Vec::new();
        self.read_events(run)?.read_to_end(&mut log).map_err(fault)?;
        let mut lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.len() < 2 {
            return Ok(None);
        }
        lines.pop();
        let mut stood = Vec::with_capacity(log.len());
        for line in &lines[1..] {
            let Some((_, said)) = parted(line) else { return Ok(None) };
            stood.extend(said);
        }
        let known = Stood { sum, records: Digest::of(&stood) };
        if self.records(run).is_ok_and(|records| Digest::of(&records) == known.records) {
            return Ok(Some(known));
        }
        let fresh = within(run, &format!("{STOOD}.new"));
        let mut options = OpenOptions::new();
        let written = regular(&self.dir, &fresh, options.write(true).create(true).truncate(true))
            .and_then(|mut file| file.write_all(&stood))
            .and_then(|()| self.dir.rename(&fresh, &self.dir, &path));
        written.map_err(fault)?;
        Ok(Some(known))
    }

    /// Begins a run that is the same as the last one of these. Nothing where there is none any more, or its records are not what they were.
    pub fn begin_again(
        self: &Arc<Self>,
        run: &NewRun,
        known: &Stood,
    ) -> Result<Option<RunWriter>, Fault> {
        let Stood { sum, records } = known;
        let last: Option<String> = self.query(|index| {
            let sql = "SELECT run FROM kept_in WHERE sum = ?1 ORDER BY rowid DESC LIMIT 1";
            index.prepare_cached(sql)?.query_row([sum.as_bytes()], |row| row.get(0)).optional()
        })?;
        let Some(last) = last else { return Ok(None) };
        self.begin_with(run, |index, id| {
            let (from, path) = (within(&last, STOOD), within(id, STOOD));
            let linked = self.dir.hard_link(&from, &self.dir, &path);
            let there = linked.or_else(|_| self.dir.copy(&from, &self.dir, &path).map(drop));
            // A power cut may have left less of it.
            let same = |found: Vec<u8>| Digest::of(&found) == *records;
            if there.is_err() || !self.records(id).is_ok_and(same) {
                return Ok(false);
            }
            let same = "INSERT INTO kept_in (run, ids, sum)
                SELECT ?1, ids, sum FROM kept_in WHERE sum = ?2 LIMIT 1";
            Ok(index.execute(same, (id, sum.as_bytes()))? > 0)
        })
    }

    /// The records of the steps of a run that was begun again, numbered from `first` on, each with this time.
    pub fn stood(&self, run: &str, first: u64, at_ms: f64) -> Result<impl BufRead + use<>, Fault> {
        let path = within(run, STOOD);
        let file = self.open_file(&path).map_err(|error| self.io("read", &path, error))?;
        Ok(BufReader::new(Numbered::new(file, Place { seq: first, at_ms })))
    }

    fn records(&self, run: &str) -> io::Result<Vec<u8>> {
        let mut records = Vec::new();
        self.open_file(&within(run, STOOD))?.take(LARGEST).read_to_end(&mut records)?;
        Ok(records)
    }
}

/// A run's log with the records that it has from an earlier run, where it has.
pub(super) fn joined(
    stood: impl FnOnce() -> io::Result<File>,
    mut log: BufReader<Take<File>>,
) -> io::Result<RunReader> {
    let Ok(stood) = stood() else { return Ok(BufReader::new(Box::new(log))) };
    let mut first = Vec::new();
    log.read_until(b'\n', &mut first)?;
    let Ok(place) = serde_json::from_slice::<Place>(&first) else {
        return Ok(BufReader::new(Box::new(io::Cursor::new(first).chain(log))));
    };
    // A run that made its records itself has them in its log.
    let mut second = Vec::new();
    log.read_until(b'\n', &mut second)?;
    let follows = |next: Place| next.seq == place.seq + 1;
    if serde_json::from_slice(&second).is_ok_and(follows) {
        return Ok(BufReader::new(Box::new(io::Cursor::new([first, second].concat()).chain(log))));
    }
    let stood = Numbered::new(stood, Place { seq: place.seq + 1, at_ms: place.at_ms });
    let all = io::Cursor::new(first).chain(stood).chain(io::Cursor::new(second)).chain(log);
    Ok(BufReader::new(Box::new(all)))
}

/// Lines of a file of records, each with its number and time put before it.
struct Numbered {
    lines: BufReader<File>,
    next: Place,
    ready: io::Cursor<Vec<u8>>,
}

impl Numbered {
    fn new(file: File, next: Place) -> Self {
        Self { lines: BufReader::new(file), next, ready: io::Cursor::default() }
    }
}

impl Read for Numbered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.ready.read(into)?;
        if count > 0 {
            return Ok(count);
        }
        let mut line = head(&self.next).unwrap_or_default();
        let before = line.len();
        (&mut self.lines).take(MAX_LINE).read_until(b'\n', &mut line)?;
        // What has no end is none: its writer died.
        if line.len() == before || line.last() != Some(&b'\n') {
            return Ok(0);
        }
        self.next.seq += 1;
        self.ready = io::Cursor::new(line);
        self.ready.read(into)
    }
}
