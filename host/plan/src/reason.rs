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
    /// The user wants it.
    Forced,
    /// The cell, or the user for this run, has the cache off.
    NoCache,
    /// Nothing changed since its last attempt, which ended so.
    Failed(Outcome),
    /// Nothing changed since its last attempt, which never ended.
    Interrupted,
    /// It has run, but the result or its bytes are no longer in the store.
    Evicted,
}

/// How many of a list one line names.
const NAMED: usize = 3;

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
                let named = if cells.len() > NAMED { NAMED - 1 } else { cells.len() };
                for (i, cell) in cells.iter().take(named).enumerate() {
                    let last = i + 1 == cells.len();
                    let joint = if i == 0 {
                        ""
                    } else if last {
                        " and "
                    } else {
                        ", "
                    };
                    write!(f, "{joint}{cell}")?;
                }
                match cells.len() - named {
                    0 if cells.len() == 1 => f.write_str(" runs"),
                    0 => f.write_str(" run"),
                    more => write!(f, " and {more} more run"),
                }
            }
            Self::Forced => f.write_str("forced"),
            Self::NoCache => f.write_str("cache is off"),
            Self::Failed(outcome) => match outcome {
                Outcome::Failed => f.write_str("failed last time"),
                Outcome::Cancelled => f.write_str("cancelled last time"),
                other => write!(f, "failed last time ({other})"),
            },
            Self::Interrupted => f.write_str("interrupted last time"),
            Self::Evicted => f.write_str("result is no longer in the store"),
        }
    }
}

impl Plan {
    /// The steps a step runs because of, as far up as reasons go: those whose own reason is not that another runs.
    /// In the plan's order; a step with a reason of its own is its own cause.
    #[must_use]
    pub fn causes(&self, step: StepIndex) -> Vec<StepIndex> {
        let mut seen = vec![false; self.steps.len()];
        let mut open = vec![step];
        let mut causes = Vec::new();
        while let Some(at) = open.pop() {
            let Some(step) = self.steps.get(at.at()) else { continue };
            if std::mem::replace(&mut seen[at.at()], true) {
                continue;
            }
            match &step.reason {
                Reason::Upstream(_) => {
                    let runs = |next: &&StepIndex| self.steps[next.at()].action.may_run();
                    open.extend(step.needs.iter().filter(runs));
                }
                Reason::UpToDate => {}
                Reason::NeverRan
                | Reason::Changed(_)
                | Reason::Forced
                | Reason::NoCache
                | Reason::Failed(_)
                | Reason::Interrupted
                | Reason::Evicted => causes.push(at),
            }
        }
        causes.sort_unstable();
        causes
    }
}
