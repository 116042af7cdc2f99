//! A run: the one place where plan, schedule, worker, store and events meet.
//!
//! Knows no flow file and no terminal. `prepare` asks what planning needs to know, `run` is the only loop.

mod files;
mod hot;
pub mod permit;
mod place;
mod prepare;
mod run;
mod step;
mod stream;
mod words;

pub use files::FileError;
pub use hot::Hot;
pub use permit::Permit;
pub use place::{Executors, Place};
pub use prepare::{PrepareError, Prepared, Wanted, action_of, prepare};
pub use run::{Job, PolicyWord, Runner, Summary};
pub use stream::Stream;
pub use words::chain;
