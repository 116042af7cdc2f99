//! From a flow and what is known about the world to a plan: which cells run, which do not, and why.
//!
//! Knows no file system, no process, no clock and no store: digests of files, identities of toolchains and
//! recorded results come in as values ([`Facts`], [`Answers`]).

mod answers;
mod decide;
mod encode;
mod expand;
mod facts;
mod graph;
mod key;
mod keys;
mod parts;
mod plan;
mod reason;
mod select;
mod suggest;
mod taken;
mod why;

pub use answers::{Answers, Artifact, Previous, Recorded};
pub use decide::{Force, PlanError, Request, plan};
pub use expand::{
    AllFound, ExpandError, Expanded, Found, MAX_DEPTH, MAX_STEPS, OpenAxis, expand, is_plain,
    templates,
};
pub use facts::{ExecutorFacts, Facts, Identity};
pub use graph::{CellIndex, Edge, Graph, GraphError};
pub use key::{Feed, Key, content_key, feeds};
pub use keys::{KeyError, Keyed, keys};
pub use parts::{KeyParts, Part, PartName, PartNameError};
pub use plan::{Action, Check, Plan, Step, StepIndex, Supply};
pub use reason::Reason;
pub use select::{Scope, SelectError, Selected, Selection, Selector};
pub use suggest::nearest;
pub use taken::{Producer, comes_in};
pub use why::{PartChange, diff};
