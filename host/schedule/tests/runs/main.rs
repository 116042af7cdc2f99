//! Runs of the machine: told one by one, and random ones against an oracle.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behaviour;
mod property;
mod support;
