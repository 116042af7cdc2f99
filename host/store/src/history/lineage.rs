//! What was made of what, by digest. Knows rows; what leads from one to the next is asked by whoever draws it.

use rusqlite::Row;

use super::OutputRow;
use super::open::History;
use crate::fault::Fault;

/// An output that a step made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The run.
    pub run: String,
    /// The flow file of the run.
    pub flow: String,
    /// The cell.
    pub cell: String,
    /// What it made.
    pub output: OutputRow,
}

/// A step that took something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The run.
    pub run: String,
    /// The flow file of the run.
    pub flow: String,
    /// The cell.
    pub cell: String,
    /// The port.
    pub port: String,
    /// `CELL.PORT` or `file:PATH`.
    pub source: String,
}

fn read_made(row: &Row<'_>) -> Result<Made, rusqlite::Error> {
    Ok(Made {
        run: row.get(0)?,
        flow: row.get(1)?,
        cell: row.get(2)?,
        output: OutputRow {
            port: row.get(3)?,
            digest: row.get(4)?,
            ty: row.get(5)?,
            size: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        },
    })
}

impl History {
    /// The digests of outputs and inputs that begin with `prefix`, at most `limit` of them.
    pub fn digests(&self, prefix: &str, limit: u32) -> Result<Vec<String>, Fault> {
        // `~` comes after every character of a digest: a range, which an index answers.
        let end = format!("{prefix}~");
        self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT digest FROM outputs WHERE digest >= ?1 AND digest < ?2
                 UNION SELECT digest FROM inputs WHERE digest IS NOT NULL AND digest >= ?1 AND digest < ?2
                 LIMIT ?3",
            )?;
            statement.query_map((prefix, end, limit), |row| row.get(0))?.collect()
        })
    }

    /// The steps that made these very bytes, newest first.
    pub fn made(&self, digest: &str) -> Result<Vec<Made>, Fault> {
        self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT o.run, r.flow, o.cell, o.port, o.digest, o.type, o.size
                 FROM outputs o JOIN runs r ON r.id = o.run
                 WHERE o.digest = ?1 AND o.made ORDER BY r.rowid DESC, o.cell, o.port",
            )?;
            statement.query_map([digest], read_made)?.collect()
        })
    }

    /// The steps that took these very bytes in and made something, newest first.
    pub fn taken(&self, digest: &str) -> Result<Vec<Taken>, Fault> {
        self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT i.run, r.flow, i.cell, i.port, i.source
                 FROM inputs i JOIN runs r ON r.id = i.run
                 WHERE i.digest = ?1
                   AND EXISTS (SELECT 1 FROM outputs o WHERE o.run = i.run AND o.cell = i.cell AND o.made)
                 ORDER BY r.rowid DESC, i.cell, i.port",
            )?;
            let rows = statement.query_map([digest], |row| {
                Ok(Taken {
                    run: row.get(0)?,
                    flow: row.get(1)?,
                    cell: row.get(2)?,
                    port: row.get(3)?,
                    source: row.get(4)?,
                })
            })?;
            rows.collect()
        })
    }
}
