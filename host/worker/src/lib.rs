//! Attempts: one cell, one sandbox, one uniform result.
//!
//! Knows executors' manifests, the protocol and the sandbox. Does not know the graph, the store, events or the terminal.

mod ask;
pub mod attempt;
pub mod built;
mod capture;
mod collect;
pub mod daemon;
mod described;
pub mod diagnostics;
mod drive;
pub mod executor;
mod formats;
mod gate;
mod grounds;
pub mod head;
mod inputs;
mod instances;
pub mod mask;
mod messages;
pub mod names;
mod normaliser;
mod order;
mod outcome;
mod parking;
mod pipes;
pub mod portable;
mod reader;
pub mod secrets;
pub mod session;
mod talk;
pub mod tools;
mod words;
mod workplace;

pub use ask::Asker;
pub use formats::{
    check_arrow, check_file, check_npy, extension_of, media_of, read_value, sniff_image,
};
pub use grounds::WORTH_TWO;
pub use inputs::text_of;
pub use normaliser::NormalForms;
pub use polyloom_sandbox::{HOT_FROM, HotFile, MOST_HOT};
pub use workplace::{AttemptError, Workplace, bounded, enforcement, most_open_files};
