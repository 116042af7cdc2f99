//! Rows of results as they lie in the index: read, checked against their sums, and not believed where these do not fit.

use std::collections::BTreeMap;
use std::fmt;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, Outcome};
use rusqlite::{Connection, Row};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::Mark;
use crate::index;

const COLUMNS: &str =
    "key, content, cell, executor, outcome, outputs, created, evicted, wall, used, sum, marks";

/// The rows of these keys. One that can't be read is as good as none: what it was is made again.
pub(super) fn rows_of(index: &Connection, keys: &[Digest]) -> Result<Vec<Raw>, rusqlite::Error> {
    // One read transaction: otherwise every statement takes and drops the WAL's read lock.
    let snapshot = index.unchecked_transaction()?;
    let mut found = Vec::new();
    let sql = format!("SELECT {COLUMNS} FROM results WHERE key >= ?1 ORDER BY key LIMIT 1");
    let mut statement = snapshot.prepare_cached(&sql)?;
    // In the order of the index: neighbours share its pages.
    let mut sorted: Vec<_> = keys.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut sorted = sorted.into_iter().peekable();
    while let Some(key) = sorted.next() {
        let mut rows = statement.query([key.as_bytes()])?;
        let Some(row) = rows.next()? else { break };
        let there = row.get_ref(0)?.as_bytes()?;
        if there == key.as_bytes() {
            found.extend(read(row));
        } else {
            // The next that there is: of those before it there is none.
            while sorted.next_if(|other| &other.as_bytes()[..] < there).is_some() {}
        }
    }
    Ok(found)
}

/// The newest rows of a key by content.
pub(super) fn rows_of_content(
    index: &Connection,
    content: &Digest,
) -> Result<Vec<Raw>, rusqlite::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM results WHERE content = ?1 AND evicted = 0
         ORDER BY created DESC LIMIT 4"
    );
    let mut statement = index.prepare_cached(&sql)?;
    let mut rows = statement.query([content.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(read(row));
    }
    Ok(found)
}

/// A JSON object of outputs, as a list.
pub(super) struct Outputs(pub(super) Vec<(String, ArtifactMeta)>);

impl<'de> Deserialize<'de> for Outputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Outputs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outputs by port")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outputs, A::Error> {
                let mut outputs = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    outputs.push(entry);
                }
                Ok(Outputs(outputs))
            }
        }
        deserializer.deserialize_map(List)
    }
}

/// A row that is what was written, of which nobody has looked yet whether its outputs are there.
pub(super) struct Raw {
    pub(super) key: Digest,
    pub(super) content: Option<Digest>,
    pub(super) cell: String,
    pub(super) executor: String,
    pub(super) outcome: Outcome,
    pub(super) outputs: Vec<(String, ArtifactMeta)>,
    pub(super) created: i64,
    pub(super) evicted: bool,
    pub(super) wall: f64,
    pub(super) used: i64,
    pub(super) marks: BTreeMap<String, Mark>,
}

/// What a row's checksum is made of: all that says what the result is, not what changes while it stays the same.
pub(super) struct Summed<'a> {
    pub(super) key: &'a Digest,
    pub(super) content: Option<&'a Digest>,
    pub(super) cell: &'a str,
    pub(super) executor: &'a str,
    pub(super) outcome: &'a str,
    pub(super) outputs: &'a str,
    pub(super) created: i64,
    pub(super) wall: f64,
}

impl Summed<'_> {
    pub(super) fn sum(&self) -> [u8; 8] {
        sum_of(&[
            self.key.as_bytes(),
            self.content.map_or(&[][..], |content| content.as_bytes()),
            self.cell.as_bytes(),
            self.executor.as_bytes(),
            self.outcome.as_bytes(),
            self.outputs.as_bytes(),
            &self.created.to_le_bytes(),
            &self.wall.to_le_bytes(),
        ])
    }
}

/// SQLite keeps no checksums of its pages: a bit that flips in a row would be believed.
pub(crate) fn sum_of(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut sum = [0; 8];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// Reads a row. `None`: something in it has changed, or can't be read any more. Its texts are looked at where SQLite has them: a plan of
/// ten thousand cells comes here ten thousand times.
fn read(row: &Row<'_>) -> Option<Raw> {
    let blob = |at| row.get_ref(at).ok()?.as_blob_or_null().ok();
    let text = |at| row.get_ref(at).ok()?.as_str().ok();
    let key = index::digest(blob(0)??)?;
    let content = blob(1)?.and_then(index::digest);
    let (cell, executor, ended, outputs) = (text(2)?, text(3)?, text(4)?, text(5)?);
    let (created, wall) = (row.get(6).ok()?, row.get(8).ok()?);
    let summed = || Summed {
        key: &key,
        content: content.as_ref(),
        cell,
        executor,
        outcome: ended,
        outputs,
        created,
        wall,
    };
    // Rows of older versions have no sum.
    if blob(10)?.is_some_and(|sum| sum != summed().sum()) {
        return None;
    }
    let Outputs(outputs) = serde_json::from_str(outputs).ok()?;
    Some(Raw {
        key,
        content,
        cell: cell.to_owned(),
        executor: executor.to_owned(),
        outcome: outcome(ended)?,
        outputs,
        created,
        evicted: row.get(7).ok()?,
        wall,
        used: row.get(9).ok()?,
        marks: super::marks_of(text(11)?),
    })
}

/// An outcome from its name.
pub(crate) fn outcome(name: &str) -> Option<Outcome> {
    // By the type's own reader of names, without a detour over a tree: this runs once for every row of a plan.
    let reader: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(name);
    serde::Deserialize::deserialize(reader).ok()
}
