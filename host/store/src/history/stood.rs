//! Runs in which nothing happened again: as many records as such a run has, they are the same in each, but for their numbers and times. Such
//! a run has them from the one before, as a second name of one file, and its own log has only what is its own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::Path;
use std::sync::Arc;

use polyloom_model::Digest;
use rusqlite::OptionalExtension;
use serde::Deserialize;

use super::NewRun;
use super::open::History;
use super::run::{RunReader, RunWriter, open};
use crate::fault::Fault;

/// Records between the first and the last of a run, a line each, without `{"seq":1,"at_ms":2.5,`.
const STOOD: &str = "stood.jsonl";
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

impl History {
    /// Keeps the records between the first and the last of a run whose steps all stood, so that [`History::begin_again`] finds them. Gives
    /// what tells that a further run is the same; nothing where the run was no such run.
    pub fn keep_stood(&self, run: &str) -> Result<Option<Digest>, Fault> {
        let sums: Vec<Option<Vec<u8>>> = self.query(|index| {
            let mut statement = index.prepare_cached("SELECT sum FROM kept_in WHERE run = ?1")?;
            statement.query_map([run], |row| row.get(0))?.collect()
        })?;
        let [Some(sum)] = sums.as_slice() else { return Ok(None) };
        let Some(sum) = crate::index::digest(sum) else { return Ok(None) };
        let folder = self.run_folder(run);
        let path = folder.join(STOOD);
        if path.exists() {
            return Ok(Some(sum));
        }
        let fault = |error| Fault::io("write", &path, error);
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
        let fresh = folder.join(format!("{STOOD}.new"));
        let written = fs::write(&fresh, &stood).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(fault)?;
        Ok(Some(sum))
    }

    /// Begins a run that is the same as the last one with this sum. Nothing where there is none any more, or not all of it.
    pub fn begin_again(
        self: &Arc<Self>,
        run: &NewRun,
        sum: &Digest,
    ) -> Result<Option<RunWriter>, Fault> {
        let last: Option<String> = self.query(|index| {
            let sql = "SELECT run FROM kept_in WHERE sum = ?1 ORDER BY rowid DESC LIMIT 1";
            index.prepare_cached(sql)?.query_row([sum.as_bytes()], |row| row.get(0)).optional()
        })?;
        let Some(last) = last else { return Ok(None) };
        let stood = self.run_folder(&last).join(STOOD);
        if open(&stood).is_err() {
            return Ok(None);
        }
        self.begin_with(run, |index, id, folder| {
            let path = folder.join(STOOD);
            let linked =
                fs::hard_link(&stood, &path).or_else(|_| fs::copy(&stood, &path).map(|_| ()));
            if linked.is_err() {
                return Ok(false);
            }
            let same = "INSERT INTO kept_in (run, ids, sum)
                SELECT ?1, ids, sum FROM kept_in WHERE sum = ?2 LIMIT 1";
            Ok(index.execute(same, (id, sum.as_bytes()))? > 0)
        })
    }

    /// The records of the steps of a run that was begun again, numbered from `first` on, each with this time.
    pub fn stood(&self, run: &str, first: u64, at_ms: f64) -> Result<impl BufRead + use<>, Fault> {
        let path = self.run_folder(run).join(STOOD);
        let file = open(&path).map_err(|error| Fault::io("read", &path, error))?;
        Ok(BufReader::new(Stood::new(file, Place { seq: first, at_ms })))
    }
}

/// A run's log with the records that it has from an earlier run, where it has.
pub(super) fn joined(folder: &Path, mut log: BufReader<Take<File>>) -> io::Result<RunReader> {
    let Ok(stood) = open(&folder.join(STOOD)) else { return Ok(BufReader::new(Box::new(log))) };
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
    let stood = Stood::new(stood, Place { seq: place.seq + 1, at_ms: place.at_ms });
    let all = io::Cursor::new(first).chain(stood).chain(io::Cursor::new(second)).chain(log);
    Ok(BufReader::new(Box::new(all)))
}

/// Lines of a file of records, each with its number and time put before it.
struct Stood {
    lines: BufReader<File>,
    next: Place,
    ready: io::Cursor<Vec<u8>>,
}

impl Stood {
    fn new(file: File, next: Place) -> Self {
        Self { lines: BufReader::new(file), next, ready: io::Cursor::default() }
    }
}

impl Read for Stood {
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
