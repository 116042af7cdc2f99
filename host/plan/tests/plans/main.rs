//! Plans of small made-up flows, of random ones against an oracle, and of large ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod canonical;
mod distinct;
mod expanded;
mod keyed;
mod matrix;
mod property;
mod rules;
mod scale;
mod selection;
mod sessions;
mod world;
