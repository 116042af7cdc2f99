//! What comes in through edges, as bytes: a key changes with whatever its producers are made of, an input only with its bytes.

use polyloom_model::{CellId, Digest, Source};

use crate::Recorded;

/// What is known of a cell that something is read from.
#[derive(Debug, Clone, Copy)]
pub enum Producer<'a> {
    /// Its result stands.
    Stands(&'a Recorded),
    /// Its condition says no; what gathers goes without it.
    LeftOut,
    /// It runs, or nothing is recorded.
    Unknown,
}

/// The digests of what comes in from other cells, in the order in which they are gathered. Nothing where that is not known, or where
/// it comes from no cell.
#[must_use]
pub fn comes_in<'a>(
    source: &Source,
    producer: impl Fn(&CellId) -> Producer<'a>,
) -> Option<Vec<Digest>> {
    let mut digests = Vec::new();
    let mut edges = 0;
    for (cell, output) in source.ports() {
        edges += 1;
        match producer(cell) {
            Producer::Stands(recorded) => digests.push(recorded.outputs.get(output)?.digest),
            Producer::LeftOut => {}
            Producer::Unknown => return None,
        }
    }
    (edges > 0).then_some(digests)
}
