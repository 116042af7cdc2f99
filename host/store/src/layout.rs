//! Where a store is and what its folders are called. Looks at no disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use polyloom_model::Digest;
use thiserror::Error;

/// Blobs, as `blobs/ab/<64 hex>`.
pub(crate) const BLOBS: &str = "blobs";
/// Directory artifacts laid out as directories, as `trees/<64 hex>`.
pub(crate) const TREES: &str = "trees";
/// Files being written. Nothing in here is referred to.
pub(crate) const TMP: &str = "tmp";
/// Files of living cells that do not fit into memory: theirs, and removed with them. Nothing of the store is in here.
pub(crate) const CELLS: &str = "cells";
/// Files of the program itself, by the digest of the set.
pub(crate) const SHARE: &str = "share";
/// Histories of projects that can't hold their own.
pub(crate) const PROJECTS: &str = "projects";
/// Held shared by every open store and exclusively by a collection that may evict everything.
pub(crate) const LOCK: &str = "lock";
/// Held by whoever opens the store or asks whether it has it alone.
pub(crate) const OPENING: &str = "opening";
/// Locked in parts by whoever makes a result.
pub(crate) const FLIGHTS: &str = "flights";
/// The index.
pub(crate) const INDEX: &str = "index.db";

/// No variable says where the store is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "no place for the store: set `POLYLOOM_STORE`, `XDG_CACHE_HOME` or `HOME` to an absolute path"
)]
pub struct PlaceError;

/// The store's folder by the environment: `POLYLOOM_STORE`, else `XDG_CACHE_HOME/polyloom/store`, else
/// `HOME/.cache/polyloom/store`. A relative `POLYLOOM_STORE` is taken from `cwd`; relative others are ignored, as
/// the XDG specification demands.
pub fn place(
    variable: impl Fn(&str) -> Option<OsString>,
    cwd: &Path,
) -> Result<PathBuf, PlaceError> {
    let get = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = get("POLYLOOM_STORE") {
        return Ok(cwd.join(path));
    }
    get("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| get("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".cache")))
        .map(|cache| cache.join("polyloom/store"))
        .ok_or(PlaceError)
}

/// The folder of the store behind it, if there is to be one: `POLYLOOM_STORE_BEHIND`.
pub fn behind(variable: impl Fn(&str) -> Option<OsString>, cwd: &Path) -> Option<PathBuf> {
    let value = variable("POLYLOOM_STORE_BEHIND").filter(|value| !value.is_empty())?;
    Some(cwd.join(value))
}

/// The path of a blob within the store.
pub(crate) fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{BLOBS}/{}/{hex}", &hex[..2])
}

/// The path of a laid-out tree within the store.
pub(crate) fn tree(digest: &Digest) -> String {
    format!("{TREES}/{}", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_variable_wins() {
        let all = [("POLYLOOM_STORE", "s"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        let from = |skip: usize| {
            place(
                |name| all[skip..].iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into()),
                Path::new("/cwd"),
            )
        };
        assert_eq!(from(0), Ok("/cwd/s".into()));
        assert_eq!(from(1), Ok("/x/polyloom/store".into()));
        assert_eq!(from(2), Ok("/h/.cache/polyloom/store".into()));
        assert_eq!(from(3), Err(PlaceError));
    }
}
