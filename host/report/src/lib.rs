//! Faces of the event stream: a terminal, lines of JSON, a recording, one JSON document; and how values and tables look.
//!
//! It sees events and nothing else: no graph, no store, no clock (time comes with the events), no process. It prints
//! nothing by itself: everything goes to the writer it was given.

mod document;
mod escape;
mod lines;
mod paint;
mod preview;
mod replay;
mod schema;
mod tables;
mod terminal;
mod trace;
mod units;

pub use document::{CellDocument, Document, OutputDocument, RUN_SCHEMA, RunDocument};
pub use escape::{escape, escape_line, json_text, quote};
pub use lines::{Jsonl, Recording};
pub use paint::{Paint, Style};
pub use preview::{PreviewOptions, Source, Subject, preview};
pub use replay::{ReplayError, replay};
pub use schema::{events_schema, run_schema};
pub use tables::{Align, Table};
pub use terminal::{
    Options, Progress, Prompt, SourceLines, Terminal, Verbosity, excerpt, is_caller,
};
pub use trace::Trace;
pub use units::{date_time, duration, size};
