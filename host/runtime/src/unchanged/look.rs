//! What can be compared of files and folders without reading them.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use polyloom_model::Digest;
use polyloom_store::StatKey;

use crate::items;
use crate::place::Inode;
use crate::ways::Ways;

/// Folders with more in them are read again.
const ENTRIES: usize = 20_000;

/// What was as it is since a time, for what was read after it: milliseconds since 1970.
pub struct Since {
    unix_ms: u64,
    ways: Ways,
    folders: BTreeSet<PathBuf>,
}

impl Since {
    pub fn new(unix_ms: u64) -> Self {
        Self { unix_ms, ways: Ways::default(), folders: BTreeSet::new() }
    }

    /// A file's stat, if any change since then must show in it.
    pub fn stat(&mut self, path: &Path, meta: &Metadata) -> Option<StatKey> {
        self.ways.to(path);
        Some(StatKey::of(meta)).filter(|stat| stat.is_settled(self.unix_ms))
    }

    /// Folders on the way to what was looked at in which something changed: a name comes, goes or becomes another's only by a change of its
    /// folder.
    pub fn changed(self) -> impl Iterator<Item = PathBuf> {
        let mut folders = self.folders;
        folders.extend(self.ways.names.iter().filter_map(|name| name.parent()).map(Path::to_owned));
        folders.into_iter().filter(move |folder| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let meta = fs::metadata(folder);
            !meta.is_ok_and(|meta| StatKey::of(&meta).is_settled(self.unix_ms))
        })
    }
}

/// The digest of the names and stats of all that is in a folder. `None`: there is too much, or it can't be told; or not all was settled.
pub fn folder(path: &Path, mut since: Option<&mut Since>) -> Option<Digest> {
    let mut text = Vec::new();
    let mut count = 0;
    let mut open = vec![path.to_owned()];
    put(path, b"", &fs::metadata(path).ok()?, since.as_deref_mut(), &mut text)?;
    while let Some(path) = open.pop() {
        let mut entries: Vec<_> = fs::read_dir(&path).ok()?.collect::<Result<_, _>>().ok()?;
        count += entries.len();
        if count > ENTRIES {
            return None;
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        text.extend((entries.len() as u64).to_le_bytes());
        for entry in &entries {
            let meta = entry.metadata().ok()?;
            // What a link leads to is not in the folder.
            if meta.is_symlink() {
                return None;
            }
            let name = entry.file_name();
            put(&entry.path(), name.as_bytes(), &meta, since.as_deref_mut(), &mut text)?;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Some(Digest::of(&text))
}

/// The digest of the files that a pattern matches and their stats. `None`: as for [`folder`].
pub fn matches(
    root: &Path,
    pattern: &str,
    writes: &[Inode],
    mut since: Option<&mut Since>,
) -> Option<Digest> {
    let mut looked = BTreeSet::new();
    let found = items::search(root, Path::new(""), pattern, writes, &mut |folder| {
        looked.insert(root.join(folder));
    });
    let mut text = Vec::new();
    for path in &found.ok()? {
        let path = root.join(path);
        let meta = fs::metadata(&path).ok()?;
        put(&path, path.as_os_str().as_bytes(), &meta, since.as_deref_mut(), &mut text)?;
    }
    if let Some(since) = since {
        for folder in looked {
            since.ways.to(&folder);
            since.folders.insert(folder);
        }
    }
    Some(Digest::of(&text))
}

fn put(
    path: &Path,
    name: &[u8],
    meta: &Metadata,
    since: Option<&mut Since>,
    text: &mut Vec<u8>,
) -> Option<()> {
    let stat = match since {
        Some(since) => since.stat(path, meta)?,
        None => StatKey::of(meta),
    };
    text.extend((name.len() as u64).to_le_bytes());
    text.extend(name);
    text.extend(rmp_serde::to_vec(&stat).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::run::unix_ms;

    #[test]
    fn what_was_swapped_since_is_told_though_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir_all(at(name).join("deep")).unwrap();
            fs::write(at(name).join("deep/x.txt"), name).unwrap();
        }
        symlink("one", at("data")).unwrap();
        std::thread::sleep(Duration::from_millis(2100));
        let began = unix_ms();
        let looks: [fn(&Path, &mut Since) -> bool; 3] = [
            |root, since| {
                let path = root.join("data/deep/x.txt");
                since.stat(&path, &fs::metadata(&path).unwrap()).is_some()
            },
            |root, since| folder_of(&root.join("data/deep"), since),
            |root, since| matches(root, "*/deep/*.txt", &[], Some(since)).is_some(),
        ];
        // Other tests make folders beside this one.
        let changed = |look: fn(&Path, &mut Since) -> bool| -> Vec<PathBuf> {
            let mut since = Since::new(began);
            assert!(look(folder.path(), &mut since), "the files themselves are old");
            since.changed().filter(|changed| changed.starts_with(folder.path())).collect()
        };
        for look in looks {
            assert_eq!(changed(look), [""; 0].map(PathBuf::from));
        }
        fs::remove_file(at("data")).unwrap();
        symlink("two", at("data")).unwrap();
        for look in looks {
            assert_eq!(changed(look), [folder.path()]);
        }
    }

    fn folder_of(path: &Path, since: &mut Since) -> bool {
        folder(path, Some(since)).is_some()
    }
}
