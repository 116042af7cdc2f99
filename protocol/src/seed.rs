//! The seed of a cell: one stream of random numbers per cell, from the flow's seed and the cell's id.
//!
//! SPEC.md, section 6.3. What generator is made of a seed is each language's own; the seed is the same in all.

use sha2::{Digest, Sha256};

/// The seed of the cell `cell` in a flow of seed `flow`: 0 to 2⁶³−1.
#[must_use]
pub fn cell_seed(flow: i64, cell: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(b"polyloom seed 1\0");
    hash.update(flow.to_string());
    hash.update(b"\0");
    hash.update(cell);
    let digest = hash.finalize();
    let first = digest.iter().take(8).rev().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    i64::try_from(first & (u64::MAX >> 1)).expect("the highest bit is cleared")
}
