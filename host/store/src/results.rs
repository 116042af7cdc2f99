//! Results by key: which outputs a step had. Rows outlive the blobs they name; a row without its blobs counts as evicted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use rusqlite::{OptionalExtension, Row};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::blobs::SMALL;
use crate::fault::Fault;
use crate::index;
use crate::store::Store;

/// One step's result, to be recorded.
#[derive(Debug, Clone)]
pub struct ResultRow {
    /// Identity of the step by its code and what its inputs come from.
    pub key: Digest,
    /// Identity by the digests of its inputs, for early cutoff.
    pub content_key: Option<Digest>,
    /// The cell it was made by; for people, not part of the identity.
    pub cell: String,
    /// The executor; for people.
    pub executor: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its outputs by port. Their digests are texts of [`Digest`].
    pub outputs: BTreeMap<String, ArtifactMeta>,
    /// The whole result.
    pub meta: ExecMeta,
    /// When, milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// A recorded result.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// Its key.
    pub key: Digest,
    /// Its key by content.
    pub content_key: Option<Digest>,
    /// The cell that made it.
    pub cell: String,
    /// The executor.
    pub executor: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its outputs by port, in the order of their names. A list and not a map: a plan of ten thousand cells reads
    /// this ten thousand times, and a map's node costs more than all the texts in it.
    pub outputs: Vec<(String, ArtifactMeta)>,
    /// Wall time of the attempt in milliseconds.
    pub wall_ms: f64,
    /// When, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Whether an output's blob is gone, so that only the record is left.
    pub evicted: bool,
}

const COLUMNS: &str = "key, content, cell, executor, outcome, outputs, created, evicted, wall";

impl Store {
    /// Records results, and all blobs that wait, in one transaction. When this returns, another process sees them.
    pub fn commit(&self, rows: &[ResultRow]) -> Result<(), Fault> {
        let mut texts = Vec::with_capacity(rows.len());
        for row in rows {
            self.at(row.created_unix_ms);
            let unwritable = |_| self.row("result");
            texts.push((
                serde_json::to_string(&row.outputs).map_err(unwritable)?,
                serde_json::to_string(&row.meta).map_err(unwritable)?,
            ));
        }
        self.write(|index| {
            let mut result = index.prepare_cached(
                "INSERT OR REPLACE INTO results
                 (key, content, cell, executor, outcome, created, used, evicted, outputs, wall)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, ?7, ?8)",
            )?;
            let mut meta =
                index.prepare_cached("INSERT OR REPLACE INTO metas (key, meta) VALUES (?1, ?2)")?;
            for (row, (outputs, text)) in rows.iter().zip(&texts) {
                result.execute((
                    row.key.as_bytes(),
                    row.content_key.as_ref().map(Digest::as_bytes),
                    &row.cell,
                    &row.executor,
                    row.outcome.as_str(),
                    i64::try_from(row.created_unix_ms).unwrap_or(i64::MAX),
                    outputs,
                    row.meta.wall_ms,
                ))?;
                meta.execute((row.key.as_bytes(), text))?;
            }
            Ok(())
        })
    }

    /// The recorded results of many keys, evicted ones too (and marked).
    pub fn lookup_many(&self, keys: &[Digest]) -> Result<HashMap<Digest, StoredResult>, Fault> {
        let raw = self.query(|index| {
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
                if let Some(row) = rows.next()? {
                    found.push(read(row)?);
                }
            }
            Ok(found)
        })?;
        let mut results = HashMap::with_capacity(raw.len());
        for row in raw {
            let result = self.checked(row)?;
            results.insert(result.key, result);
        }
        Ok(results)
    }

    /// The newest result with these inputs by content whose outputs are all there.
    pub fn lookup_content(&self, content_key: &Digest) -> Result<Option<StoredResult>, Fault> {
        let raw = self.query(|index| {
            let sql = format!(
                "SELECT {COLUMNS} FROM results WHERE content = ?1 AND evicted = 0
                 ORDER BY created DESC LIMIT 4"
            );
            let mut statement = index.prepare_cached(&sql)?;
            let mut rows = statement.query([content_key.as_bytes()])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })?;
        for row in raw {
            let result = self.checked(row)?;
            if !result.evicted {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// The whole recorded result of a key.
    pub fn meta(&self, key: &Digest) -> Result<Option<ExecMeta>, Fault> {
        let text: Option<String> = self.query(|index| {
            index
                .prepare_cached("SELECT meta FROM metas WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| self.row("result"))).transpose()
    }

    /// Notes that results were used, so that a collection evicts others first. Cheap for results used lately.
    pub fn touch(&self, keys: &[Digest], unix_ms: u64) -> Result<(), Fault> {
        const GRAIN_MS: i64 = 3_600_000;
        let now = i64::try_from(self.at(unix_ms)).unwrap_or(i64::MAX);
        let stale = self.query(|index| {
            let mut statement =
                index.prepare_cached("SELECT 1 FROM results WHERE key = ?1 AND used < ?2")?;
            let mut stale = Vec::new();
            for key in keys {
                if statement.exists((key.as_bytes(), now.saturating_sub(GRAIN_MS)))? {
                    stale.push(key);
                }
            }
            Ok(stale)
        })?;
        if stale.is_empty() {
            return Ok(());
        }
        self.write(|index| {
            let mut update = index.prepare_cached("UPDATE results SET used = ?2 WHERE key = ?1")?;
            stale.iter().try_for_each(|key| update.execute((key.as_bytes(), now)).map(|_| ()))
        })
    }

    /// A row as a result; looks whether the files of its large outputs are there. Small outputs are rows that only a
    /// collection removes, which marks the result in the same transaction.
    fn checked(&self, raw: Raw) -> Result<StoredResult, Fault> {
        let unreadable = || self.row("result");
        let Outputs(outputs) = serde_json::from_str(&raw.outputs).map_err(|_| unreadable())?;
        let there = |digest: &Digest, size: u64| size <= SMALL || self.stands(digest, size);
        let gone = |output: &ArtifactMeta| {
            let Ok(digest) = output.digest.parse() else { return true };
            if output.r#type != "dir" {
                // A file of another size than was recorded is as good as none.
                return !there(&digest, output.size);
            }
            // The size of a directory is that of its files; its own blob is their listing.
            !self.listing(&digest).is_ok_and(|listing| {
                listing.values().flatten().all(|entry| there(&entry.digest, entry.size))
            })
        };
        Ok(StoredResult {
            evicted: raw.evicted || outputs.iter().any(|(_, output)| gone(output)),
            key: raw.key.ok_or_else(unreadable)?,
            content_key: raw.content,
            cell: raw.cell,
            executor: raw.executor,
            outcome: outcome(&raw.outcome).ok_or_else(unreadable)?,
            outputs,
            wall_ms: raw.wall,
            created_unix_ms: u64::try_from(raw.created).unwrap_or(0),
        })
    }
}

/// A JSON object of outputs, as a list.
struct Outputs(Vec<(String, ArtifactMeta)>);

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
struct Raw {
    key: Option<Digest>,
    content: Option<Digest>,
    cell: String,
    executor: String,
    outcome: String,
    outputs: String,
    created: i64,
    evicted: bool,
    wall: f64,
}

fn read(row: &Row<'_>) -> Result<Raw, rusqlite::Error> {
    let content = row.get_ref(1)?.as_blob_or_null()?;
    Ok(Raw {
        key: index::digest(row.get_ref(0)?.as_blob()?),
        content: content.and_then(index::digest),
        cell: row.get(2)?,
        executor: row.get(3)?,
        outcome: row.get(4)?,
        outputs: row.get(5)?,
        created: row.get(6)?,
        evicted: row.get(7)?,
        wall: row.get(8)?,
    })
}

/// An outcome from its name.
pub(crate) fn outcome(name: &str) -> Option<Outcome> {
    // By the type's own reader of names, without a detour over a tree: this runs once for every row of a plan.
    let reader: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(name);
    serde::Deserialize::deserialize(reader).ok()
}
