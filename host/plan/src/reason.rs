//! Why a step runs or does not, in a closed list and in a few words.

use std::fmt;

use polyloom_model::CellId;
use polyloom_protocol::meta::Outcome;

use crate::{PartChange, PartName, Plan, StepIndex};

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its result is recorded and nothing it depends on runs.
    UpToDate,
    /// It was never attempted and no result is recorded.
    NeverRan,
    /// It is not what it was at its last attempt. Inputs whose producers run in this plan are not listed.
    Changed(Vec<PartChange>),
    /// It is what it was, but these cells that it is made from run.
    Upstream(Vec<CellId>),
    /// It is what it was, and so are the bytes it reads; but these cells that gave them are not what they were.
    SameOutput(Vec<CellId>),
    /// The user wants it.
    Forced,
    /// The cell, or the user for this run, has the cache off.
    NoCache,
    /// Nothing changed since its last attempt, which ended so.
    Failed(Outcome),
    /// Nothing changed since its last attempt, which never ended.
    Interrupted,
    /// What it asks for, or what it is made of, is denied: in these words.
    Denied(String),
    /// Its items come from these cells, which run.
    Items(Vec<CellId>),
    /// This condition of its says no.
    When(String),
    /// This cell, which it reads from, is left out.
    LeftOut(CellId),
    /// It has run, and its temporary outputs are gone as they should, but these cells need them now.
    Temporary(Vec<CellId>),
    /// It has run, but the result or its bytes are no longer in the store.
    Evicted,
}

/// How many of a list one line names.
const NAMED: usize = 3;

/// `a`, `a and b`, `a, b and c`, `a, b and 3 more`.
fn list(f: &mut fmt::Formatter<'_>, cells: &[CellId]) -> fmt::Result {
    let named = if cells.len() > NAMED { NAMED - 1 } else { cells.len() };
    for (i, cell) in cells.iter().take(named).enumerate() {
        let last = i + 1 == cells.len();
        let joint = match i {
            0 => "",
            _ if last => " and ",
            _ => ", ",
        };
        write!(f, "{joint}{cell}")?;
    }
    match cells.len() - named {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate => f.write_str("up to date"),
            Self::NeverRan => f.write_str("never ran"),
            Self::Changed(changes) => {
                // "input types changed" says nothing more where an input was added or removed.
                let ports = changes.iter().any(|change| {
                    matches!(change.part, PartName::Input(_))
                        && (change.before.is_none() || change.after.is_none())
                });
                let told = |change: &&PartChange| !ports || change.part != PartName::Inputs;
                let count = changes.iter().filter(told).count();
                for (i, change) in changes.iter().filter(told).take(NAMED).enumerate() {
                    write!(f, "{}{change}", if i > 0 { ", " } else { "" })?;
                }
                if count > NAMED { write!(f, " and {} more", count - NAMED) } else { Ok(()) }
            }
            Self::Upstream(cells) => {
                list(f, cells)?;
                f.write_str(if cells.len() == 1 { " runs" } else { " run" })
            }
            Self::SameOutput(cells) => {
                list(f, cells)?;
                f.write_str(match cells.len() {
                    1 => " changed, its output did not",
                    _ => " changed, their outputs did not",
                })
            }
            Self::Items(cells) => {
                f.write_str("its items come from ")?;
                list(f, cells)
            }
            Self::When(text) => write!(f, "`{text}` is false"),
            Self::LeftOut(cell) => write!(f, "{cell} is left out"),
            Self::Denied(why) => f.write_str(why),
            Self::Forced => f.write_str("forced"),
            Self::NoCache => f.write_str("cache is off"),
            Self::Failed(outcome) => match outcome {
                Outcome::Failed => f.write_str("failed last time"),
                Outcome::Cancelled => f.write_str("cancelled last time"),
                other => write!(f, "failed last time ({other})"),
            },
            Self::Interrupted => f.write_str("interrupted last time"),
            Self::Temporary(cells) => {
                list(f, cells)?;
                let verb = if cells.len() == 1 { "needs" } else { "need" };
                write!(f, " {verb} its temporary output, which was removed")
            }
            Self::Evicted => f.write_str("result is no longer in the store"),
        }
    }
}

impl Plan {
    /// The steps a step runs because of, as far up as reasons go: those whose own reason is not that another runs.
    /// In the plan's order; a step with a reason of its own is its own cause.
    #[must_use]
    pub fn causes(&self, step: StepIndex) -> Vec<StepIndex> {
        let mut seen = vec![false; self.steps.len() + self.later.len()];
        let mut open = vec![step];
        let mut causes = Vec::new();
        while let Some(at) = open.pop() {
            let Some(step) = self.get(at) else { continue };
            if std::mem::replace(&mut seen[at.at()], true) {
                continue;
            }
            match &step.reason {
                Reason::Upstream(_) | Reason::Items(_) => {
                    let runs = |next: &&StepIndex| {
                        self.get(**next).is_some_and(|step| step.action.may_run())
                    };
                    open.extend(step.needs.iter().filter(runs));
                }
                Reason::UpToDate | Reason::When(_) | Reason::LeftOut(_) => {}
                Reason::NeverRan
                | Reason::Changed(_)
                | Reason::SameOutput(_)
                | Reason::Denied(_)
                | Reason::Forced
                | Reason::NoCache
                | Reason::Failed(_)
                | Reason::Interrupted
                | Reason::Temporary(_)
                | Reason::Evicted => causes.push(at),
            }
        }
        causes.sort_unstable();
        causes
    }
}
