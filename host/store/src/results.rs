//! Results by key: which outputs a step had. Rows outlive the blobs they name; a row without its blobs counts as evicted.

mod row;

use std::collections::{BTreeMap, HashMap};

use polyloom_model::{Digest, Mark};
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

pub(crate) use self::row::outcome;
pub(crate) use self::row::sum_of;
use self::row::{Raw, Summed, rows_of, rows_of_content};
use crate::behind::Behind;
use crate::blobs::SMALL;
use crate::fault::Fault;
use crate::index::Log;
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
    /// What the flow says of keeping its outputs, by port.
    pub marks: BTreeMap<String, Mark>,
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
    /// When it was used last, as far as that was noted.
    pub used_unix_ms: u64,
    /// What was said of keeping its outputs, by port.
    pub marks: BTreeMap<String, Mark>,
    /// Whether only the record is left: the blob of an output is gone that was not called temporary.
    pub evicted: bool,
    /// Outputs whose bytes are not there. Where it is not evicted, these are temporary ones.
    pub gone: Vec<String>,
}

/// A mark as it is in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Temp,
    Keep,
    /// Temporary, and its bytes were given up: should they come again for another result, this one has no right to them.
    Spent,
}

impl From<Written> for Mark {
    fn from(written: Written) -> Self {
        match written {
            Written::Temp | Written::Spent => Self::Temp,
            Written::Keep => Self::Keep,
        }
    }
}

/// A text that can't be read says nothing.
fn written_of(text: &str) -> BTreeMap<String, Written> {
    if text.is_empty() { BTreeMap::new() } else { serde_json::from_str(text).unwrap_or_default() }
}

/// The marks of a row.
pub(crate) fn marks_of(text: &str) -> BTreeMap<String, Mark> {
    written_of(text).into_iter().map(|(port, written)| (port, written.into())).collect()
}

/// Whether the bytes of an output were given up, by the marks of its row.
pub(crate) fn is_spent(text: &str, port: &str) -> bool {
    !text.is_empty() && written_of(text).get(port) == Some(&Written::Spent)
}

impl Store {
    /// Records results, and all blobs that wait, in one transaction. When this returns, another process sees them. Whoever goes on to commit lets
    /// the log of the index grow, until [`Store::carry_log_over`].
    pub fn commit(&self, rows: &[ResultRow]) -> Result<(), Fault> {
        let mut texts = Vec::with_capacity(rows.len());
        for row in rows {
            self.at(row.created_unix_ms);
            let unwritable = |_| self.row("result");
            let outputs = serde_json::to_string(&row.outputs).map_err(unwritable)?;
            let meta = serde_json::to_string(&row.meta).map_err(unwritable)?;
            let marks = if row.marks.is_empty() {
                String::new()
            } else {
                serde_json::to_string(&row.marks).map_err(unwritable)?
            };
            let sum = Summed {
                key: &row.key,
                content: row.content_key.as_ref(),
                cell: &row.cell,
                executor: &row.executor,
                outcome: row.outcome.as_str(),
                outputs: &outputs,
                created: i64::try_from(row.created_unix_ms).unwrap_or(i64::MAX),
                wall: row.meta.wall_ms,
            };
            let sums = (sum.sum(), sum_of(&[row.key.as_bytes(), meta.as_bytes()]));
            texts.push((outputs, meta, marks, sums));
        }
        self.let_log_grow(Log::Growing)?;
        self.write(|index| {
            let mut result = index.prepare_cached(
                "INSERT INTO results
                 (key, content, cell, executor, outcome, created, used, evicted, outputs, wall, marks, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, ?7, ?8, ?9, ?10)
                 ON CONFLICT (key) DO UPDATE SET content = ?2, cell = ?3, executor = ?4, outcome = ?5, created = ?6,
                    used = ?6, evicted = 0, outputs = ?7, wall = ?8, marks = ?9, sum = ?10",
            )?;
            let mut meta = index.prepare_cached(
                "INSERT INTO metas (key, meta, sum) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET meta = ?2, sum = ?3",
            )?;
            for (row, (outputs, text, marks, sums)) in rows.iter().zip(&texts) {
                result.execute((
                    row.key.as_bytes(),
                    row.content_key.as_ref().map(Digest::as_bytes),
                    &row.cell,
                    &row.executor,
                    row.outcome.as_str(),
                    i64::try_from(row.created_unix_ms).unwrap_or(i64::MAX),
                    outputs,
                    row.meta.wall_ms,
                    marks,
                    &sums.0[..],
                ))?;
                meta.execute((row.key.as_bytes(), text, &sums.1[..]))?;
            }
            Ok(())
        })
    }

    /// The recorded results of many keys, evicted ones too (and marked). What is not here or not whole is looked up in the store
    /// behind.
    pub fn lookup_many(&self, keys: &[Digest]) -> Result<HashMap<Digest, StoredResult>, Fault> {
        let raw = self.query(|index| rows_of(index, keys))?;
        let mut results = HashMap::with_capacity(raw.len());
        for row in raw {
            let result = self.checked(row);
            results.insert(result.key, result);
        }
        if let Some(behind) = &self.behind {
            let lacking = |key: &&Digest| {
                results.get(*key).is_none_or(|found| found.evicted || !found.gone.is_empty())
            };
            let lacking: Vec<Digest> = keys.iter().filter(lacking).copied().collect();
            for row in behind.query(|index| rows_of(index, &lacking)).unwrap_or_default() {
                let known = results.get(&row.key).map(|result| result.used_unix_ms);
                let Some(mut result) = self.lent(behind, row, known) else { continue };
                // What flows say here holds here.
                if let Some(here) = results.get(&result.key) {
                    result.marks.clone_from(&here.marks);
                }
                match results.get_mut(&result.key) {
                    // The record here says more, but bytes may be there.
                    Some(here) if !here.evicted => {
                        here.gone.retain(|port| result.gone.contains(port));
                    }
                    _ => {
                        results.insert(result.key, result);
                    }
                }
            }
        }
        Ok(results)
    }

    /// The newest result with these inputs by content that is not evicted.
    pub fn lookup_content(&self, content_key: &Digest) -> Result<Option<StoredResult>, Fault> {
        for row in self.query(|index| rows_of_content(index, content_key))? {
            let result = self.checked(row);
            if !result.evicted {
                return Ok(Some(result));
            }
        }
        let Some(behind) = &self.behind else { return Ok(None) };
        let rows = behind.query(|index| rows_of_content(index, content_key)).unwrap_or_default();
        let mut results = rows.into_iter().filter_map(|row| self.lent(behind, row, None));
        Ok(results.next())
    }

    /// The whole recorded result of a key.
    pub fn meta(&self, key: &Digest) -> Result<Option<ExecMeta>, Fault> {
        let found: Option<(String, Option<Vec<u8>>)> = self.query(|index| {
            index
                .prepare_cached("SELECT meta, sum FROM metas WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        Ok(found.and_then(|(text, sum)| {
            let right = sum.is_none_or(|sum| sum == sum_of(&[key.as_bytes(), text.as_bytes()]));
            right.then(|| serde_json::from_str(&text).ok())?
        }))
    }

    /// Notes that results were used, so that a collection evicts others first. Those from the store behind are recorded here.
    pub fn touch(&self, keys: &[Digest], unix_ms: u64) -> Result<(), Fault> {
        self.take_over(keys)?;
        let now = i64::try_from(self.at(unix_ms)).unwrap_or(i64::MAX);
        if keys.is_empty() {
            return Ok(());
        }
        self.write(|index| {
            let mut update =
                index.prepare_cached("UPDATE results SET used = max(used, ?2) WHERE key = ?1")?;
            keys.iter().try_for_each(|key| update.execute((key.as_bytes(), now)).map(|_| ()))
        })
    }

    /// Replaces what is said of keeping the outputs of results that are there already.
    pub fn mark(&self, marks: &[(Digest, BTreeMap<String, Mark>)]) -> Result<(), Fault> {
        self.write(|index| {
            let mut update =
                index.prepare_cached("UPDATE results SET marks = ?2 WHERE key = ?1")?;
            marks.iter().try_for_each(|(key, marks)| {
                let text = if marks.is_empty() {
                    String::new()
                } else {
                    serde_json::to_string(marks).unwrap_or_default()
                };
                update.execute((key.as_bytes(), text)).map(|_| ())
            })
        })
    }

    /// Notes that these temporary outputs (key of the result, digest) were given up. One that is made again is there in its own right.
    pub(crate) fn give_up(&self, spent: &[(Digest, Digest)]) -> Result<(), Fault> {
        if spent.is_empty() {
            return Ok(());
        }
        self.write(|index| {
            let mut find =
                index.prepare_cached("SELECT outputs, marks FROM results WHERE key = ?1")?;
            let mut update =
                index.prepare_cached("UPDATE results SET marks = ?2 WHERE key = ?1")?;
            for (key, digest) in spent {
                let row = find.query_row([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)));
                let Some((outputs, marks)) = row.optional()? else { continue };
                let (outputs, marks): (String, String) = (outputs, marks);
                let Ok(row::Outputs(outputs)) = serde_json::from_str(&outputs) else { continue };
                let mut marks = written_of(&marks);
                for (port, output) in outputs {
                    if output.digest.parse() == Ok(*digest)
                        && let Some(mark @ Written::Temp) = marks.get_mut(&port)
                    {
                        *mark = Written::Spent;
                    }
                }
                let text = serde_json::to_string(&marks).unwrap_or_default();
                update.execute((key.as_bytes(), text))?;
            }
            Ok(())
        })
    }

    /// What is said of keeping an output with this digest, by whichever result: `keep` over `temp`.
    pub fn mark_of(&self, digest: &Digest) -> Result<Option<Mark>, Fault> {
        let rows: Vec<(String, String)> = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT outputs, marks FROM results WHERE marks <> '' AND instr(outputs, ?1) > 0",
            )?;
            let rows =
                statement.query_map([digest.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })?;
        let mut found = None;
        for (outputs, marks) in rows {
            let Ok(row::Outputs(outputs)) = serde_json::from_str(&outputs) else { continue };
            let marks = marks_of(&marks);
            let named = outputs.iter().filter(|(_, output)| output.digest.parse() == Ok(*digest));
            for mark in named.filter_map(|(port, _)| marks.get(port)) {
                if found != Some(Mark::Keep) {
                    found = Some(*mark);
                }
            }
        }
        Ok(found)
    }

    /// A row as a result; looks whether the files of its large outputs are there. Small outputs are rows that only a
    /// collection removes, which marks the result in the same transaction.
    fn checked(&self, raw: Raw) -> StoredResult {
        self.result(raw, |digest, size| size <= SMALL || self.stands(digest, size))
    }

    /// A row of the store behind as a result, if all its outputs are in either store. `known`: when the record here was used last.
    fn lent(&self, behind: &Behind, raw: Raw, known: Option<u64>) -> Option<StoredResult> {
        let there = |digest: &Digest, size: u64| {
            behind.has(digest, Some(size)) || self.stands(digest, size)
        };
        let mut result = Some(self.result(raw, there)).filter(|result| !result.evicted)?;
        // Never used here, unless it was.
        result.used_unix_ms = known.unwrap_or(0);
        if known.is_none() {
            behind.lend(&result);
        }
        Some(result)
    }

    fn result(&self, raw: Raw, there: impl Fn(&Digest, u64) -> bool) -> StoredResult {
        // Where temporary outputs are lost, no result is marked.
        let temp = |port: &str| raw.marks.get(port) == Some(&Mark::Temp);
        let lost = |port: &str, output: &ArtifactMeta| {
            let Ok(digest) = output.digest.parse() else { return true };
            if output.r#type != "dir" {
                // A file of another size than was recorded is as good as none.
                return !there(&digest, output.size)
                    || temp(port) && output.size <= SMALL && !self.has(&digest).unwrap_or(true);
            }
            // The size of a directory is that of its files; its own blob is their listing.
            !self.listing(&digest).is_ok_and(|listing| {
                listing.values().flatten().all(|entry| there(&entry.digest, entry.size))
            })
        };
        let gone = raw.outputs.iter().filter(|(port, output)| lost(port, output));
        let gone: Vec<String> = gone.map(|(port, _)| port.clone()).collect();
        StoredResult {
            evicted: raw.evicted || gone.iter().any(|port| !temp(port)),
            gone,
            key: raw.key,
            content_key: raw.content,
            cell: raw.cell,
            executor: raw.executor,
            outcome: raw.outcome,
            outputs: raw.outputs,
            wall_ms: raw.wall,
            created_unix_ms: u64::try_from(raw.created).unwrap_or(0),
            used_unix_ms: u64::try_from(raw.used).unwrap_or(0),
            marks: raw.marks,
        }
    }
}
