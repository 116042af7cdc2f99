//! Which runs are kept, and letting the others go.

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;

use rusqlite::Transaction;

use super::open::History;
use super::run::{folder_of, is_id};
use super::steps::ids_of;
use crate::fault::Fault;

/// How long runs are kept. The newest one and those that run stay in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At most this many.
    pub runs: NonZeroUsize,
    /// None that began before this time, milliseconds since 1970.
    pub since_unix_ms: u64,
}

impl History {
    /// Removes the runs that `retention` does not keep. What is known of each cell stays. Gives how many went.
    pub fn prune(&self, retention: &Retention) -> Result<u64, Fault> {
        let since = i64::try_from(retention.since_unix_ms).unwrap_or(i64::MAX);
        let runs: Vec<(String, i64)> = self.query(|index| {
            let sql = "SELECT id, started FROM runs ORDER BY rowid DESC";
            let mut statement = index.prepare_cached(sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let old: HashSet<String> = runs
            .into_iter()
            .enumerate()
            .skip(1)
            .filter(|(at, (_, started))| *at >= retention.runs.get() || *started < since)
            .map(|(_, (id, _))| id)
            .filter(|id| !self.is_running(id))
            .collect();
        if old.is_empty() {
            return Ok(0);
        }
        self.remove(old.iter().map(String::as_str))?;
        Ok(old.len() as u64)
    }

    /// Removes a run that has ended, as if it had not been. What is known of each cell stays.
    pub fn forget(&self, run: &str) -> Result<(), Fault> {
        self.remove([run].into_iter())
    }

    fn remove<'r>(&self, runs: impl Iterator<Item = &'r str> + Clone) -> Result<(), Fault> {
        self.write(|index| {
            for id in runs.clone() {
                for (table, column) in [
                    ("runs", "id"),
                    ("steps", "run"),
                    ("shared", "run"),
                    ("inputs", "run"),
                    ("outputs", "run"),
                    ("kept_in", "run"),
                ] {
                    index.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [id])?;
                }
            }
            sweep(index)
        })?;
        for id in runs {
            // Another row is not ours, and names no folder.
            if !is_id(id) {
                continue;
            }
            let folder = folder_of(id);
            match self.dir.remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.io("remove", &folder, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Removes what no run keeps any more.
fn sweep(index: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let mut live = HashSet::new();
    {
        // Runs with the same sum have the same ids.
        let mut statement =
            index.prepare_cached("SELECT ids FROM kept_in GROUP BY ifnull(sum, rowid)")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            live.extend(ids_of(row)?);
        }
    }
    let mut all = index.prepare_cached("SELECT id FROM kept")?;
    let ids: Vec<i64> = all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut remove = index.prepare_cached("DELETE FROM kept WHERE id = ?1")?;
    for id in ids {
        if !u32::try_from(id).is_ok_and(|id| live.contains(&id)) {
            remove.execute([id])?;
        }
    }
    Ok(())
}
