//! What can be compared of files and folders without reading them.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use polyloom_model::Digest;
use polyloom_store::StatKey;

use crate::items;

/// Folders with more in them are read again.
const ENTRIES: usize = 20_000;

/// A file's stat, if any later change must show in it.
pub fn settled(meta: &Metadata, unix_ms: u64) -> Option<StatKey> {
    Some(StatKey::of(meta)).filter(|stat| stat.is_settled(unix_ms))
}

/// The digest of the names and stats of all that is in a folder. `None`: there is too much, or it can't be told; or, where a time is
/// given, not all was settled by then.
pub fn folder(path: &Path, settled_by: Option<u64>) -> Option<Digest> {
    let mut text = Vec::new();
    let mut count = 0;
    walk(path, settled_by, &mut text, &mut count)?;
    Some(Digest::of(&text))
}

fn walk(path: &Path, by: Option<u64>, text: &mut Vec<u8>, count: &mut usize) -> Option<()> {
    put(b"", &fs::metadata(path).ok()?, by, text)?;
    let mut entries: Vec<_> = fs::read_dir(path).ok()?.collect::<Result<_, _>>().ok()?;
    *count += entries.len();
    if *count > ENTRIES {
        return None;
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in &entries {
        let meta = entry.metadata().ok()?;
        // What a link leads to is not in the folder.
        if meta.is_symlink() {
            return None;
        }
        put(entry.file_name().as_bytes(), &meta, by, text)?;
    }
    let below = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in below {
        walk(&entry.path(), by, text, count)?;
    }
    Some(())
}

/// The digest of the files that a pattern matches and their stats. `None`, `settled_by`: as for [`folder`].
pub fn matches(root: &Path, pattern: &str, settled_by: Option<u64>) -> Option<Digest> {
    let found = items::glob(root, Path::new(""), pattern).ok()?;
    let mut text = Vec::new();
    for path in &found {
        let meta = fs::metadata(root.join(path)).ok()?;
        put(path.as_os_str().as_bytes(), &meta, settled_by, &mut text)?;
    }
    Some(Digest::of(&text))
}

/// A name and the stat of what it leads to.
fn put(name: &[u8], meta: &Metadata, settled_by: Option<u64>, text: &mut Vec<u8>) -> Option<()> {
    let stat = match settled_by {
        Some(by) => settled(meta, by)?,
        None => StatKey::of(meta),
    };
    text.extend((name.len() as u64).to_le_bytes());
    text.extend(name);
    text.extend(rmp_serde::to_vec(&stat).ok()?);
    Some(())
}
