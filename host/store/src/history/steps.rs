//! The steps of runs in the index: those that were attempts, and those whose results the plan found in the store.

use std::collections::HashMap;

use polyloom_model::Digest;
use polyloom_protocol::meta::Outcome;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::open::History;
use super::shared::{Pieces, Whole};
use super::{InputRow, KeptRow, Origin, OutputRow, StepRow};
use crate::fault::Fault;
use crate::results::outcome;

const COLUMNS: &str = "cell, key, parts, outcome, reason, wall, meta, content, shared";

/// Adds steps of a run with what came in and out. `OR REPLACE` would note before each row how every page was that it touches.
pub(super) fn insert_steps(
    index: &Transaction<'_>,
    run: &str,
    steps: &[StepRow],
) -> Result<(), rusqlite::Error> {
    let mut step = index.prepare_cached(
        "INSERT INTO steps (run, cell, key, parts, outcome, reason, wall, meta, content, shared)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (run, cell) DO UPDATE SET key = ?3, parts = ?4, outcome = ?5, reason = ?6, wall = ?7, meta = ?8, content = ?9,
            shared = ?10",
    )?;
    let mut input = index.prepare_cached(
        "INSERT INTO inputs (run, cell, port, source, digest) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (run, cell, port) DO UPDATE SET source = ?4, digest = ?5",
    )?;
    let mut output = index.prepare_cached(
        "INSERT INTO outputs (run, cell, port, digest, type, size, made)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (run, cell, port) DO UPDATE SET digest = ?4, type = ?5, size = ?6, made = ?7",
    )?;
    let mut pieces = Pieces::of(index, run)?;
    for row in steps {
        let outcome = row.outcome.as_str();
        let cut = pieces.cut(&row.parts, &row.meta)?;
        step.execute((
            run,
            &row.cell,
            &row.key,
            &cut.parts,
            outcome,
            &row.reason,
            row.wall_ms,
            &cut.meta,
            &row.content,
            &cut.shared,
        ))?;
        for i in &row.inputs {
            input.execute((run, &row.cell, &i.port, &i.source, &i.digest))?;
        }
        let made = row.origin == Origin::Made;
        for o in &row.outputs {
            let size = i64::try_from(o.size).unwrap_or(i64::MAX);
            output.execute((run, &row.cell, &o.port, &o.digest, &o.ty, size, made))?;
        }
    }
    Ok(())
}

/// Adds steps of a run whose results stand. Where an earlier run kept the very same, which is what running again and again does, its ids
/// are these: one statement, however many steps.
pub(super) fn insert_kept(
    index: &Transaction<'_>,
    run: &str,
    steps: &[KeptRow],
    parts: &dyn Fn(usize) -> String,
) -> Result<(), rusqlite::Error> {
    let mut text = Vec::with_capacity(512);
    let mut all = blake3::Hasher::new();
    for row in steps {
        text.clear();
        put_kept(&mut text, row);
        all.update(&text);
    }
    let sum = all.finalize();
    let mut same = index.prepare_cached(
        "INSERT INTO kept_in (run, ids, sum) SELECT ?1, ids, sum FROM kept_in WHERE sum = ?2 LIMIT 1",
    )?;
    if same.execute((run, sum.as_bytes()))? > 0 {
        return Ok(());
    }
    let mut find = index.prepare_cached("SELECT id FROM kept WHERE hash = ?1")?;
    let mut add = index.prepare_cached(
        "INSERT INTO kept (hash, cell, key, parts, inputs, outputs) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut ids = Vec::with_capacity(steps.len() * 4);
    for (at, row) in steps.iter().enumerate() {
        let outputs = serde_json::to_string(&row.outputs).unwrap_or_default();
        let inputs = serde_json::to_string(&row.inputs).unwrap_or_default();
        let mut hash = format!("{}\n{}\n{outputs}{}", row.cell, row.key, row.parts);
        if !row.inputs.is_empty() {
            hash.push_str(&inputs);
        }
        let hash = Digest::of(hash.as_bytes());
        let known = find.query_row([hash.as_bytes()], |row| row.get(0)).optional()?;
        let id: i64 = match known {
            Some(id) => id,
            None => {
                let parts = parts(at);
                add.insert((hash.as_bytes(), &row.cell, &row.key, parts, inputs, outputs))?
            }
        };
        // Two thousand million of them are not to be feared.
        ids.extend(u32::try_from(id).unwrap_or(u32::MAX).to_le_bytes());
    }
    index.execute(
        "INSERT INTO kept_in (run, ids, sum) VALUES (?1, ?2, ?3)",
        (run, ids, sum.as_bytes()),
    )?;
    Ok(())
}

/// What makes a step that is kept the same one in another run; each text with its length, so that none can pass for two.
fn put_kept(out: &mut Vec<u8>, row: &KeptRow) {
    let mut put = |text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    put(&row.cell);
    put(&row.key);
    // Those of an imported run: what it says of a key is said by nobody else.
    put(&row.parts);
    for input in &row.inputs {
        put(&input.port);
        put(&input.source);
        put(input.digest.as_deref().unwrap_or_default());
    }
    for output in &row.outputs {
        put(&output.port);
        put(&output.digest);
        put(&output.ty);
        put(&output.size.to_string());
    }
    out.extend((row.outputs.len() as u64).to_le_bytes());
    if !row.inputs.is_empty() {
        out.extend((row.inputs.len() as u64).to_le_bytes());
    }
}

/// The ids of what a run kept.
pub(super) fn kept_ids(index: &Connection, run: &str) -> Result<Vec<u32>, rusqlite::Error> {
    let mut statement = index.prepare_cached("SELECT ids FROM kept_in WHERE run = ?1")?;
    let mut rows = statement.query([run])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.extend(ids_of(row)?);
    }
    Ok(ids)
}

/// The ids in a row's only column. A tail that is no whole id is left out.
pub(super) fn ids_of(row: &Row<'_>) -> Result<Vec<u32>, rusqlite::Error> {
    let bytes = row.get_ref(0)?.as_blob()?;
    let (ids, _) = bytes.as_chunks::<4>();
    Ok(ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
}

fn read_kept(row: &Row<'_>) -> Result<KeptRow, rusqlite::Error> {
    let (outputs, inputs): (String, String) = (row.get(3)?, row.get(4)?);
    Ok(KeptRow {
        cell: row.get(0)?,
        key: row.get(1)?,
        parts: row.get(2)?,
        inputs: serde_json::from_str(&inputs).unwrap_or_default(),
        outputs: serde_json::from_str(&outputs).unwrap_or_default(),
    })
}

/// A row whose outcome this program may not know.
fn read_step(row: &Row<'_>, whole: &Whole) -> Result<Option<StepRow>, rusqlite::Error> {
    let name: String = row.get(3)?;
    let Some(outcome) = outcome(&name) else { return Ok(None) };
    let (parts, meta) = whole.texts(row, (row.get(2)?, row.get(6)?), 8)?;
    Ok(Some(StepRow {
        cell: row.get(0)?,
        key: row.get(1)?,
        content: row.get(7)?,
        parts,
        outcome,
        reason: row.get(4)?,
        wall_ms: row.get(5)?,
        meta,
        origin: Origin::Made,
        inputs: Vec::new(),
        outputs: Vec::new(),
    }))
}

/// The rows of outputs say whether they were found; of a step without outputs only its whole result does.
fn tell_origin(step: &mut StepRow) {
    #[derive(serde::Deserialize)]
    struct Meta {
        outcome: Outcome,
    }
    let found =
        |meta: &str| serde_json::from_str(meta).is_ok_and(|it: Meta| it.outcome == Outcome::Cached);
    if step.outputs.is_empty() && step.outcome == Outcome::Ok && found(&step.meta) {
        step.origin = Origin::Found;
    }
}

fn read_output(row: &Row<'_>) -> Result<(String, Origin, OutputRow), rusqlite::Error> {
    let made: bool = row.get(5)?;
    Ok((
        row.get(0)?,
        if made { Origin::Made } else { Origin::Found },
        OutputRow {
            port: row.get(1)?,
            digest: row.get(2)?,
            ty: row.get(3)?,
            size: u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0),
        },
    ))
}

fn read_input(row: &Row<'_>) -> Result<(String, InputRow), rusqlite::Error> {
    Ok((row.get(0)?, InputRow { port: row.get(1)?, source: row.get(2)?, digest: row.get(3)? }))
}

const OUTPUTS: &str = "SELECT cell, port, digest, type, size, made FROM outputs";
const INPUTS: &str = "SELECT cell, port, source, digest FROM inputs";

impl History {
    /// The attempts of a run, in the order in which they ended, with what came in and out.
    pub fn steps(&self, run: &str) -> Result<Vec<StepRow>, Fault> {
        self.query(|index| {
            let snapshot = index.unchecked_transaction()?;
            let sql = format!("SELECT {COLUMNS} FROM steps WHERE run = ?1 ORDER BY rowid");
            let mut statement = snapshot.prepare_cached(&sql)?;
            let whole = Whole::of(&snapshot, run)?;
            let rows = statement.query_map([run], |row| read_step(row, &whole))?;
            let mut steps: Vec<StepRow> =
                rows.filter_map(Result::transpose).collect::<Result<_, _>>()?;
            let places: HashMap<String, usize> =
                steps.iter().enumerate().map(|(at, step)| (step.cell.clone(), at)).collect();
            let mut statement = snapshot.prepare_cached(&format!("{OUTPUTS} WHERE run = ?1"))?;
            for row in statement.query_map([run], read_output)? {
                let (cell, origin, output) = row?;
                if let Some(at) = places.get(&cell) {
                    steps[*at].origin = origin;
                    steps[*at].outputs.push(output);
                }
            }
            steps.iter_mut().for_each(tell_origin);
            let mut statement = snapshot.prepare_cached(&format!("{INPUTS} WHERE run = ?1"))?;
            for row in statement.query_map([run], read_input)? {
                let (cell, input) = row?;
                if let Some(at) = places.get(&cell) {
                    steps[*at].inputs.push(input);
                }
            }
            Ok(steps)
        })
    }

    /// One attempt of a run.
    pub fn step(&self, run: &str, cell: &str) -> Result<Option<StepRow>, Fault> {
        self.query(|index| {
            let sql = format!("SELECT {COLUMNS} FROM steps WHERE run = ?1 AND cell = ?2");
            let mut statement = index.prepare_cached(&sql)?;
            let whole = Whole::of(index, run)?;
            let read = |row: &Row<'_>| read_step(row, &whole);
            let found = statement.query_row([run, cell], read).optional()?.flatten();
            let Some(mut step) = found else { return Ok(None) };
            let sql = format!("{OUTPUTS} WHERE run = ?1 AND cell = ?2");
            for row in index.prepare_cached(&sql)?.query_map([run, cell], read_output)? {
                let (_, origin, output) = row?;
                step.origin = origin;
                step.outputs.push(output);
            }
            tell_origin(&mut step);
            let sql = format!("{INPUTS} WHERE run = ?1 AND cell = ?2");
            for row in index.prepare_cached(&sql)?.query_map([run, cell], read_input)? {
                step.inputs.push(row?.1);
            }
            Ok(Some(step))
        })
    }

    /// The steps of a run whose results its plan found in the store.
    pub fn kept(&self, run: &str) -> Result<Vec<KeptRow>, Fault> {
        self.query(|index| {
            let snapshot = index.unchecked_transaction()?;
            let ids = kept_ids(&snapshot, run)?;
            let mut statement = snapshot.prepare_cached(
                "SELECT cell, key, parts, outputs, inputs FROM kept WHERE id = ?1",
            )?;
            let mut kept = Vec::with_capacity(ids.len());
            for id in ids {
                kept.extend(statement.query_row([id], read_kept).optional()?);
            }
            Ok(kept)
        })
    }

    /// One of them.
    pub fn kept_step(&self, run: &str, cell: &str) -> Result<Option<KeptRow>, Fault> {
        self.query(|index| {
            let ids = kept_ids(index, run)?;
            let mut statement = index.prepare_cached(
                "SELECT cell, key, parts, outputs, inputs, id FROM kept WHERE cell = ?1 ORDER BY id DESC",
            )?;
            let mut rows = statement.query([cell])?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(5)?;
                if ids.iter().any(|kept| i64::from(*kept) == id) {
                    return read_kept(row).map(Some);
                }
            }
            Ok(None)
        })
    }

    /// How an attempt ended according to its whole result: a result that was found is `cached`.
    #[must_use]
    pub fn outcome_of(step: &StepRow) -> Outcome {
        match step.origin {
            Origin::Found => Outcome::Cached,
            Origin::Made => step.outcome,
        }
    }
}
