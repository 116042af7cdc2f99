//! What the fault tests share: a flow of mixed cells whose results are known, the processes of a run as `/proc` shows
//! them, and rounds that strike one of these at a random point.
//!
//! It knows the command line and the kernel's view of processes, nothing of the crates behind the binary.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up may panic")]

mod family;
mod flow;
mod limited;
mod random;
mod round;
mod sample;

pub use family::{Family, Process, groups_of, identity, living, processes};
pub use flow::{CELLS, Mixed, digest_of_int};
pub use limited::{Pids, after, mounted};
pub use random::{Random, number_of, seed};
pub use round::{Blow, Plan, Report, Signal, Target, play};
pub use sample::Sample;
