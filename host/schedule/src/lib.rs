//! In what order steps start and what happens when one ends: a state machine without time, threads or input and output.
//!
//! The runtime tells it causes and does what the commands say. It knows places of steps, not cells, keys or results.

mod command;
mod critical;
mod machine;
mod spec;
mod state;

pub use command::{Because, Cause, Command, Ended, Finish, Retry, RunOutcome, Verdict};
pub use critical::{Span, critical_path};
pub use machine::{Growth, Schedule};
pub use polyloom_plan::StepIndex;
pub use spec::{Entry, KeepGoing, Options, StepSpec};
pub use state::{State, Totals};
