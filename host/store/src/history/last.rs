//! What the last run that had a cell left of it: an attempt, or a result that stood. Attempts have a row each; which results stood is
//! found out when it is asked for, so that a run in which all of them do costs nothing for each.

use std::collections::{HashMap, HashSet};

use polyloom_protocol::meta::Outcome;
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;

use super::Previous;
use super::open::History;
use super::steps::ids_of;
use crate::fault::Fault;

/// A result that stood in the run that is looked for.
struct Stood {
    run: String,
    id: u32,
}

impl History {
    /// The cells of a flow whose names begin so and that were attempted.
    pub fn attempted(&self, flow: &str, prefix: &str) -> Result<Vec<String>, Fault> {
        self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT cell FROM latest WHERE flow = ?1 AND cell >= ?2
                   AND substr(cell, 1, length(?2)) = ?2",
            )?;
            statement.query_map([flow, prefix], |row| row.get(0))?.collect()
        })
    }

    /// What the worker of a cell's last attempt said that it has loaded.
    pub fn loaded(&self, flow: &str, cell: &str) -> Result<Vec<String>, Fault> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Told {
            extras: Extras,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Extras {
            loaded: Vec<String>,
        }
        let meta: Option<String> = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT s.meta FROM latest l JOIN steps s ON s.run = l.run AND s.cell = l.cell
                 WHERE l.flow = ?1 AND l.cell = ?2",
            )?;
            statement.query_row([flow, cell], |row| row.get(0)).optional()
        })?;
        let told = meta.and_then(|meta| serde_json::from_str::<Told>(&meta).ok());
        Ok(told.unwrap_or_default().extras.loaded)
    }

    /// What this project's last run of the flow that had a cell left of it, for each of `cells` that is known. A result that stood
    /// is [`Outcome::Cached`].
    pub fn last(&self, flow: &str, cells: &[&str]) -> Result<HashMap<String, Previous>, Fault> {
        let mut all = match cells {
            [cell] => {
                let previous = self.previous(flow, cell)?;
                previous.map(|it| ((*cell).to_owned(), it)).into_iter().collect()
            }
            _ => self.previous_parts(flow)?,
        };
        self.query(|index| {
            let snapshot = index.unchecked_transaction()?;
            let stood = stood(&snapshot, flow, cells, &all)?;
            let mut read = snapshot.prepare_cached("SELECT key, parts FROM kept WHERE id = ?1")?;
            for (cell, Stood { run, id }) in stood {
                let row = read.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                if let Some((key, parts)) = row {
                    let outcome = Outcome::Cached;
                    all.insert(cell.to_owned(), Previous { run, outcome, key, parts });
                }
            }
            Ok(())
        })?;
        Ok(all)
    }
}

/// Cells whose result stood in a run after their last attempt, with the newest such run.
fn stood<'c>(
    index: &Connection,
    flow: &str,
    cells: &[&'c str],
    attempts: &HashMap<String, Previous>,
) -> Result<HashMap<&'c str, Stood>, rusqlite::Error> {
    let mut find =
        index.prepare_cached("SELECT cell, id FROM kept WHERE cell >= ?1 ORDER BY cell")?;
    let mut place = index.prepare_cached("SELECT rowid FROM runs WHERE id = ?1")?;
    // Runs come in the order of their rows; one that is gone came before all that are there.
    let mut places: HashMap<&str, i64> = HashMap::new();
    let mut candidates: HashMap<u32, (&str, i64)> = HashMap::new();
    let mut sorted = cells.to_vec();
    sorted.sort_unstable();
    let mut sorted = sorted.into_iter().peekable();
    while let Some(cell) = sorted.next() {
        let mut ids = Vec::new();
        let mut rows = find.query([cell])?;
        let next = loop {
            let Some(row) = rows.next()? else { break None };
            let there = row.get_ref(0)?.as_str()?;
            if there != cell {
                break Some(there);
            }
            ids.push(row.get(1)?);
        };
        // The next that there is: of those before it there is none.
        while sorted.next_if(|other| next.is_none_or(|next| *other < next)).is_some() {}
        if ids.is_empty() {
            continue;
        }
        let attempted = match attempts.get(cell) {
            None => 0,
            Some(previous) => match places.get(previous.run.as_str()) {
                Some(place) => *place,
                None => {
                    let found = place.query_row([&previous.run], |row| row.get(0)).optional()?;
                    let found = found.unwrap_or(0);
                    places.insert(&previous.run, found);
                    found
                }
            },
        };
        candidates.extend(ids.into_iter().map(|id| (id, (cell, attempted))));
    }
    let mut stood = HashMap::new();
    let Some(oldest) = candidates.values().map(|(_, attempted)| *attempted).min() else {
        return Ok(stood);
    };
    let mut runs = index.prepare_cached(
        "SELECT k.ids, k.sum, r.rowid, r.id FROM kept_in k JOIN runs r ON r.id = k.run
         WHERE r.flow = ?1 AND r.imported IS NULL AND r.rowid > ?2 ORDER BY r.rowid DESC",
    )?;
    let mut rows = runs.query((flow, oldest))?;
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    while let Some(row) = rows.next()? {
        // Runs with the same sum have the same ids: the newer one has said all.
        if row.get::<_, Option<Vec<u8>>>(1)?.is_some_and(|sum| !seen.insert(sum)) {
            continue;
        }
        let place: i64 = row.get(2)?;
        for id in ids_of(row)? {
            if let Some((cell, attempted)) = candidates.get(&id)
                && place > *attempted
                && !stood.contains_key(cell)
            {
                stood.insert(*cell, Stood { run: row.get(3)?, id });
            }
        }
    }
    Ok(stood)
}
