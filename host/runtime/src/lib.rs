//! A run: the one place where plan, schedule, worker, store and events meet.
//!
//! Knows no flow file and no terminal. `prepare` asks what planning needs to know, `run` is the only loop.

mod alone;
mod bytecode;
mod conditions;
mod files;
mod first;
mod flight;
mod gather;
mod grow;
mod heads;
mod hot;
mod inputs;
mod items;
mod libraries;
mod normal;
pub mod permit;
mod place;
mod prepare;
mod programs;
mod refuse;
mod run;
mod sessions;
mod sources;
mod step;
mod stream;
mod sure;
mod unchanged;
mod ways;
mod words;

pub use alone::{AloneError, alone};
pub use files::FileError;
pub use heads::Heads;
pub use hot::{FROM as HOT_FROM, Hot};
pub use inputs::{Taken, taken, tell as tell_inputs};
pub use items::ItemsError;
pub use libraries::tell as tell_libraries;
pub use permit::Permit;
pub use place::{Executors, Inode, Place};
pub use prepare::{PrepareError, Prepared, Wanted, action_of, begin, prepare};
pub use programs::tell as tell_programs;
pub use run::{
    Carried, Failures, Job, PolicyWord, Rest, Runner, Standing, Summary, Word, standing,
};
pub use sessions::Sessions;
pub use sources::{Sources, sources};
pub use stream::Stream;
pub use unchanged::{Fresh, StoodStep, Unchanged};
pub use ways::Ways;
pub use words::chain;
