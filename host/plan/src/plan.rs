//! A plan: steps in an order that can be run, each with what is done and why. Plain data; how it is made is in `decide`.

use std::sync::Arc;

use polyloom_model::{CellId, PortName, Retries};

use crate::{CellIndex, Key, KeyParts, Reason, Recorded};

/// The place of a step in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub u32);

impl StepIndex {
    /// As an index into a slice.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// What is done with a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing: this result stands.
    Cached(Arc<Recorded>),
    /// It runs.
    Run,
    /// It runs unless its inputs turn out as they were.
    Maybe,
    /// Nothing: its condition, or that of a cell it reads from, says no.
    Skip,
}

impl Action {
    /// Whether the step may run.
    #[must_use]
    pub fn may_run(&self) -> bool {
        match self {
            Self::Cached(_) | Self::Skip => false,
            Self::Run | Self::Maybe => true,
        }
    }
}

/// What is to be asked before a step that may run is started, once its inputs are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Nothing,
    /// What its condition says.
    Condition,
    /// What its condition says if it has one, and whether a complete result is recorded under its content key. Also asked for steps that are announced as `Run`: that their inputs
    /// and code met before is unlikely then, not impossible (a branch was switched back).
    Content,
}

/// Where an input comes from within a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// The input.
    pub input: PortName,
    /// The step that makes it.
    pub step: StepIndex,
    /// The output of that step.
    pub output: PortName,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// The cell.
    pub cell: CellId,
    /// Its place in the flow.
    pub index: CellIndex,
    /// The structural key.
    pub key: Key,
    /// What the key is made of.
    pub parts: Arc<KeyParts>,
    /// What is done.
    pub action: Action,
    /// What is asked before it starts.
    pub check: Check,
    /// Why.
    pub reason: Reason,
    /// The steps whose outputs it reads or whose items it is one of, each once, ascending. Empty when it is cached.
    pub needs: Vec<StepIndex>,
    /// The inputs that come from those steps. Empty when it is cached, unless a later cell of its session runs, for which it may be done again.
    pub supplies: Vec<Supply>,
    /// Whether it makes one result of what other steps gave, those that were left out not counted.
    pub gathers: bool,
    /// Whether what goes after it is left out with it, also what gathers.
    pub gates: bool,
    /// Whether the user selected it; else a selected one needs it.
    pub selected: bool,
    /// Further attempts after a failed one.
    pub retries: Retries,
    /// How long it took last, in milliseconds, if that is known.
    pub expected_ms: Option<f64>,
}

/// Steps in topological order.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// Steps whose items are not known yet, and those that are made from them: they are planned anew when the items are known.
    /// They are numbered on from `steps`, and none of those needs one of these.
    pub later: Vec<Step>,
}

impl Plan {
    /// The step of that place.
    #[must_use]
    pub fn get(&self, step: StepIndex) -> Option<&Step> {
        self.steps.get(step.at()).or_else(|| self.later.get(step.at() - self.steps.len()))
    }

    /// All steps, those for later last.
    pub fn all(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.later)
    }

    /// The step of a cell.
    #[must_use]
    pub fn find(&self, cell: &str) -> Option<StepIndex> {
        let at = self.all().position(|step| step.cell.as_str() == cell)?;
        u32::try_from(at).ok().map(StepIndex)
    }

    /// Whether everything is cached.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.all().all(|step| !step.action.may_run())
    }
}
