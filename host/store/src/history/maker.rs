//! Which step made the result that a cell has in a run: a run in which it was cached says only what it found.

use polyloom_protocol::meta::Outcome;

use super::open::History;
use super::{Origin, StepRow};
use crate::fault::Fault;

/// The step that made a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Maker {
    /// The run in which it ran; `None`: none that is kept here, and `step` has what is known all the same.
    pub run: Option<String>,
    /// The cell that ran there. It may be another one, made of the same.
    pub by: String,
    /// The run whose cells made what came in.
    pub beside: String,
    /// The step of the cell that is asked about: where another one made its result, that which found it.
    pub step: StepRow,
}

/// By what a result is looked for among the attempts.
#[derive(Clone, Copy)]
enum By<'a> {
    Key(&'a str),
    Content(&'a str),
}

impl History {
    /// The step that made the result that a cell has in a run, in that run or an earlier one. Nothing where the run has no such cell.
    pub fn maker(&self, run: &str, cell: &str) -> Result<Option<Maker>, Fault> {
        if let Some(step) = self.step(run, cell)? {
            return self.maker_of(run, run.to_owned(), step).map(Some);
        }
        let Some(kept) = self.kept_step(run, cell)? else { return Ok(None) };
        let found = StepRow {
            cell: kept.cell,
            key: kept.key,
            content: String::new(),
            parts: kept.parts,
            outcome: Outcome::Ok,
            reason: String::new(),
            wall_ms: 0.0,
            meta: String::new(),
            origin: Origin::Found,
            inputs: kept.inputs,
            outputs: kept.outputs,
        };
        let beside = run.to_owned();
        let made = match self.attempt(run, By::Key(&found.key), &found)? {
            Some((other, step)) => Some(self.maker_of(run, other, step)?),
            None => None,
        };
        Ok(Some(match made {
            Some(made) if made.step.cell == found.cell => made,
            Some(Maker { run, by, .. }) => Maker { run, by, beside, step: found },
            None => Maker { run: None, by: found.cell.clone(), beside, step: found },
        }))
    }

    /// A step of the run `beside` made its result itself, or found it by the content of its inputs.
    fn maker_of(&self, asked: &str, beside: String, step: StepRow) -> Result<Maker, Fault> {
        let by = step.cell.clone();
        if step.origin == Origin::Made {
            return Ok(Maker { run: Some(beside.clone()), by, beside, step });
        }
        Ok(match self.attempt(asked, By::Content(&step.content), &step)? {
            Some((run, made)) if made.cell == by => {
                Maker { run: Some(run.clone()), by, beside: run, step: made }
            }
            Some((run, made)) => Maker { run: Some(run), by: made.cell, beside, step },
            None => Maker { run: None, by, beside, step },
        })
    }

    /// The newest attempt that ended with the outputs of `like`, made of the same; of another cell only where there is none of its own. One that
    /// came after the run that is asked about made another result, whatever its bytes; imported runs are in no order.
    fn attempt(
        &self,
        asked: &str,
        by: By<'_>,
        like: &StepRow,
    ) -> Result<Option<(String, StepRow)>, Fault> {
        let (column, value) = match by {
            By::Key(key) => ("key", key),
            By::Content(content) => ("content", content),
        };
        if value.is_empty() {
            return Ok(None);
        }
        let places: Vec<(String, String)> = self.query(|index| {
            let mut statement = index.prepare_cached(&format!(
                "SELECT s.run, s.cell FROM steps s JOIN runs r ON r.id = s.run
                 WHERE s.{column} = ?1 AND s.{column} <> '' AND s.outcome = 'ok'
                   AND (r.imported IS NOT NULL OR r.rowid <= (SELECT rowid FROM runs WHERE id = ?2))
                 ORDER BY s.cell = ?3 DESC, r.rowid DESC"
            ))?;
            statement
                .query_map([value, asked, &like.cell], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        for (run, cell) in places {
            let Some(step) = self.step(&run, &cell)? else { continue };
            let fits = match by {
                By::Key(_) => true,
                By::Content(_) => step.origin == Origin::Made,
            };
            if fits && step.outputs == like.outputs {
                return Ok(Some((run, step)));
            }
        }
        Ok(None)
    }
}
