//! What the machine is made from: the steps of a plan as far as order matters, and the options of a run.

use std::num::NonZeroUsize;

use polyloom_model::Retries;
use polyloom_plan::{Action, Check, Step, StepIndex};

/// What is done with a step once everything it needs is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing, and it waits for nothing: its result is known.
    Cached,
    /// Nothing, and it waits for nothing: it is left out.
    LeftOut,
    /// Its condition is asked, its content key is looked up.
    Decide,
    /// It starts.
    Start,
}

/// A step as the machine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// The steps it needs, all of them before it, each once.
    pub needs: Vec<StepIndex>,
    /// Whether needs that are left out count as if they had ended well.
    pub gathers: bool,
    /// Whether what goes after it is left out with it, also what gathers.
    pub gates: bool,
    /// How it begins.
    pub entry: Entry,
    /// Further attempts after a failed one.
    pub retries: Retries,
    /// How long it will take, in milliseconds, if that is known.
    pub expected_ms: Option<f64>,
}

impl From<&Step> for StepSpec {
    fn from(step: &Step) -> Self {
        let entry = match (&step.action, step.check) {
            (Action::Cached(_), _) => Entry::Cached,
            (Action::Skip, _) => Entry::LeftOut,
            (Action::Run | Action::Maybe, Check::Condition | Check::Content) => Entry::Decide,
            (Action::Run | Action::Maybe, Check::Nothing) => Entry::Start,
        };
        Self {
            needs: step.needs.clone(),
            gathers: step.gathers,
            gates: step.gates,
            entry,
            retries: step.retries,
            expected_ms: step.expected_ms,
        }
    }
}

/// What a failed step means for the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeepGoing {
    /// No further step starts; those that run may finish.
    #[default]
    No,
    /// Everything that is not made from it still runs.
    Yes,
}

/// The options of a run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Attempts that run at once.
    pub jobs: NonZeroUsize,
    /// What a failed step means for the others.
    pub keep_going: KeepGoing,
}
