//! Attempts: one cell, one sandbox, one uniform result.
//!
//! Knows executors' manifests, the protocol and the sandbox. Does not know the graph, the store, events or the terminal.

pub mod attempt;
mod capture;
mod collect;
pub mod diagnostics;
mod drive;
pub mod executor;
mod formats;
mod inputs;
mod messages;
mod outcome;
mod pipes;
mod talk;
pub mod tools;
mod workplace;

pub use formats::{check_file, extension_of, media_of};
pub use inputs::text_of;
pub use workplace::{AttemptError, Workplace, enforcement};
