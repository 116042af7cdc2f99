//! What the end-to-end tests share: a hermetic place for a project, calls of the binary, and facts about how they ended.
//!
//! It knows the command line and the documents it prints, nothing of the crates behind them: what is tested here is
//! what a user has.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up may panic")]

mod call;
mod facts;
mod machine;
mod place;
mod screen;

pub use call::{Call, Ended, Running};
pub use facts::Run;
pub use machine::{
    binary, carry_log_over, eventually, fake, groups_of_the_dead, is_root, libraries, missing,
    processes_with, skip,
};
pub use place::Place;
pub use screen::{screen, without_numbers};

/// Ends the test where a program is missing on this machine; tells it, and counts it for `tests/run`.
#[macro_export]
macro_rules! needs {
    ($($program:expr),+) => {
        if $crate::missing(&[$($program),+]) {
            return;
        }
    };
}
