//! Listing runs and finding one by what a person types.

use rusqlite::Row;
use thiserror::Error;

use super::open::History;
use super::run::is_id;
use super::{Home, RunRow, RunState};
use crate::fault::Fault;
use crate::results::outcome;

/// Why a text names no run.
#[derive(Debug, Error)]
pub enum FindError {
    /// There is none yet.
    #[error("no run has been recorded in this project")]
    None,
    /// No run's id begins so.
    #[error(
        "no run begins with `{text}`; valid: `latest`, or the beginning of an id such as `{newest}`"
    )]
    Unknown {
        /// The text, escaped.
        text: String,
        /// The newest run's id.
        newest: String,
    },
    /// Several do.
    #[error("`{text}` is the beginning of several runs: {}", ids.join(", "))]
    Ambiguous {
        /// The text, escaped.
        text: String,
        /// The first few of them, newest first.
        ids: Vec<String>,
    },
    /// The index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Runs are in the order in which they were begun, which is that of their rows: a clock may have been set back since.
impl History {
    /// The newest `limit` runs, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRow>, Fault> {
        let raw = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT id, started, flow, argv, outcome, wall, totals, imported FROM runs
                 ORDER BY rowid DESC",
            )?;
            let rows = statement.query_map([], read)?.filter_map(Result::transpose);
            rows.take(limit).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(raw.into_iter().map(|raw| self.state(raw)).collect())
    }

    /// The run that `text` names: `latest` (of this project's own), `latest~N` (the Nth before it), an id or the beginning of just one.
    pub fn find_run(&self, text: &str) -> Result<RunRow, FindError> {
        // In a project that has imported runs only, these can be named.
        let newest = match self.nth(0)? {
            Some(newest) => newest,
            None => self.runs(1)?.pop().ok_or(FindError::None)?,
        };
        let shown = || text.chars().take(80).flat_map(char::escape_debug).collect::<String>();
        if text == "latest" {
            return Ok(newest);
        }
        let unknown = |newest: RunRow| FindError::Unknown { text: shown(), newest: newest.id };
        if let Some(back) = text.strip_prefix("latest~").and_then(|n| n.parse().ok()) {
            return self.nth(back)?.ok_or_else(|| unknown(newest));
        }
        // Not LIKE: the text may hold its wildcards.
        let found = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT id, started, flow, argv, outcome, wall, totals, imported FROM runs
                 WHERE substr(id, 1, length(?1)) = ?1 ORDER BY rowid DESC LIMIT 6",
            )?;
            let rows = statement.query_map([text], read)?.filter_map(Result::transpose);
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        if text.is_empty() || found.is_empty() {
            return Err(unknown(newest));
        }
        let mut found = found;
        if let Some(at) = found.iter().position(|raw| raw.row.id == text) {
            return Ok(self.state(found.swap_remove(at)));
        }
        if found.len() > 1 {
            let ids = found.into_iter().take(5).map(|raw| raw.row.id).collect();
            return Err(FindError::Ambiguous { text: shown(), ids });
        }
        Ok(self.state(found.swap_remove(0)))
    }

    fn nth(&self, back: u32) -> Result<Option<RunRow>, Fault> {
        let raw = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT id, started, flow, argv, outcome, wall, totals, imported FROM runs
                 WHERE imported IS NULL ORDER BY rowid DESC LIMIT 1 OFFSET ?1",
            )?;
            statement.query_map([back], read)?.next().transpose().map(Option::flatten)
        })?;
        Ok(raw.map(|raw| self.state(raw)))
    }

    fn state(&self, raw: Raw) -> RunRow {
        let mut row = raw.row;
        row.state = match raw.outcome.as_deref().map(outcome) {
            Some(Some(outcome)) => RunState::Ended(outcome),
            Some(None) => RunState::Interrupted,
            None if self.is_running(&row.id) => RunState::Running,
            None => RunState::Interrupted,
        };
        row
    }
}

struct Raw {
    row: RunRow,
    outcome: Option<String>,
}

/// A row whose id names no folder is not ours.
fn read(row: &Row<'_>) -> Result<Option<Raw>, rusqlite::Error> {
    let id: String = row.get(0)?;
    if !is_id(&id) {
        return Ok(None);
    }
    let argv: String = row.get(3)?;
    Ok(Some(Raw {
        outcome: row.get(4)?,
        row: RunRow {
            id,
            started_unix_ms: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            flow: row.get(2)?,
            argv: serde_json::from_str(&argv).unwrap_or_default(),
            state: RunState::Interrupted,
            wall_ms: row.get(5)?,
            totals: row.get(6)?,
            home: match row.get_ref(7)? {
                rusqlite::types::ValueRef::Null => Home::Here,
                _ => Home::Elsewhere,
            },
        },
    }))
}
