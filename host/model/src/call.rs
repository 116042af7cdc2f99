//! A cell that is a call of a typed function: which function, and what it can reach. Knows no language.

use std::path::PathBuf;
use std::sync::Arc;

/// A function that a cell calls: what an executor's catalog says of it, as far as running and keying it need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `EXECUTOR:LOCATION:OBJECT`.
    pub id: String,
    /// The name by which its language finds where it is.
    pub module: String,
    /// Its name there.
    pub object: String,
    /// The digest of it and of all that it can reach by name: what is keyed in place of its file's bytes.
    pub digest: String,
    /// The project's other files that it can reach, by their paths in the flow's folder.
    pub files: Vec<(PathBuf, Arc<[u8]>)>,
    /// Whether it draws on the cell's stream of random numbers.
    pub seeded: bool,
    /// Whether it says of itself that it gives the same for the same.
    pub pure: bool,
}
