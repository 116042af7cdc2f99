//! Rows of results as they lie in the index: read, checked against their sums, and not believed where these do not fit.

use std::fmt;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, Outcome};
use rusqlite::{Connection, Row};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::index;

const COLUMNS: &str =
    "key, content, cell, executor, outcome, outputs, created, evicted, wall, used, sum, marks";

/// The rows of these keys. One that can't be read is as good as none: what it was is made again.
pub(super) fn rows_of(index: &Connection, keys: &[Digest]) -> Result<Vec<Raw>, rusqlite::Error> {
    // One read transaction: otherwise every statement takes and drops the WAL's read lock.
    let snapshot = index.unchecked_transaction()?;
    let mut found = Vec::with_capacity(keys.len());
    let sql = format!("SELECT {COLUMNS} FROM results WHERE key = ?1");
    let mut statement = snapshot.prepare_cached(&sql)?;
    // In the order of the index: neighbours share its pages.
    let mut sorted: Vec<_> = keys.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    for key in sorted {
        let mut rows = statement.query([key.as_bytes()])?;
        found.extend(rows.next()?.and_then(read));
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

/// A row before its texts are understood.
pub(super) struct Raw {
    pub(super) key: Digest,
    pub(super) content: Option<Digest>,
    pub(super) cell: String,
    pub(super) executor: String,
    pub(super) outcome: String,
    pub(super) outputs: String,
    pub(super) created: i64,
    pub(super) evicted: bool,
    pub(super) wall: f64,
    pub(super) used: i64,
    pub(super) marks: String,
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
pub(super) fn sum_of(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut sum = [0; 8];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// A row that is what was written. `None`: something in it has changed.
fn read(row: &Row<'_>) -> Option<Raw> {
    let raw = columns(row).ok().flatten()?;
    // Rows of older versions have no sum.
    let sum = row.get_ref(10).ok()?.as_blob_or_null().ok()?;
    let summed = || Summed {
        key: &raw.key,
        content: raw.content.as_ref(),
        cell: &raw.cell,
        executor: &raw.executor,
        outcome: &raw.outcome,
        outputs: &raw.outputs,
        created: raw.created,
        wall: raw.wall,
    };
    let right = sum.is_none_or(|sum| sum == summed().sum());
    right.then_some(raw)
}

fn columns(row: &Row<'_>) -> Result<Option<Raw>, rusqlite::Error> {
    let Some(key) = index::digest(row.get_ref(0)?.as_blob()?) else { return Ok(None) };
    let content = row.get_ref(1)?.as_blob_or_null()?;
    Ok(Some(Raw {
        key,
        content: content.and_then(index::digest),
        cell: row.get(2)?,
        executor: row.get(3)?,
        outcome: row.get(4)?,
        outputs: row.get(5)?,
        created: row.get(6)?,
        evicted: row.get(7)?,
        wall: row.get(8)?,
        used: row.get(9)?,
        marks: row.get(11)?,
    }))
}

/// An outcome from its name.
pub(crate) fn outcome(name: &str) -> Option<Outcome> {
    // By the type's own reader of names, without a detour over a tree: this runs once for every row of a plan.
    let reader: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(name);
    serde::Deserialize::deserialize(reader).ok()
}
