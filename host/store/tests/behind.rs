//! A store behind the store: what it lends is whole, what is used comes over, and nothing of it is written.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use polyloom_model::Digest;
use polyloom_store::{ArtifactKind, BehindError, Bounds, GcRequest, Mark, Spent, Store};

use support::{NOW, Put, put, result};

fn fill(store: &Store) -> Put {
    let all = put(store);
    let outputs =
        [(all.small, "int", 5), (all.large, "bytes", 600_000), (all.tree.0, "dir", all.tree.1)];
    store.commit(&[result("a", &outputs, &[])]).unwrap();
    store.commit_program(&Digest::of(b"cc"), &all.tree.0, NOW).unwrap();
    all
}

fn over(root: &Path) -> Store {
    let store = Store::open(root.join("first")).unwrap();
    store.with_behind(&root.join("behind")).map_err(|(_, error)| error).unwrap()
}

fn everything(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, meta) = (entry.path(), fs::symlink_metadata(entry.path()).unwrap());
        if meta.is_dir() {
            all.extend(everything(&path));
        }
        let changed = (meta.ctime(), meta.ctime_nsec());
        all.push(format!("{} {} {} {changed:?}", path.display(), meta.len(), meta.nlink()));
    }
    all.sort();
    all
}

#[test]
fn results_and_blobs_come_from_behind_and_stay_when_used() {
    let root = tempfile::tempdir().unwrap();
    let filled = fill(&Store::open(root.path().join("behind")).unwrap());
    let before = everything(&root.path().join("behind"));
    let key = Digest::of(b"a");
    {
        let store = over(root.path());
        let found = store.lookup_many(&[key]).unwrap();
        assert!(!found[&key].evicted);
        assert_eq!((found[&key].used_unix_ms, found[&key].wall_ms), (0, 12.5));
        let content = Digest::of(b"content of a");
        assert_eq!(store.lookup_content(&content).unwrap().unwrap().key, key);
        assert_eq!(store.usage().unwrap().blobs, 1, "nothing but the listing that had to be read");
        store.touch(&[key], NOW).unwrap();
        assert_eq!(store.read(&filled.large, u64::MAX).unwrap(), [7; 600_000]);
        store.make_sure(&filled.tree.0, ArtifactKind::Dir).unwrap();
        assert_eq!(store.program(&Digest::of(b"cc")).unwrap(), Some(filled.tree.0));
        assert!(store.tree_path(&filled.tree.0).unwrap().join("d/f").is_file());
        assert!(store.has(&filled.small).unwrap());
    }
    assert_eq!(everything(&root.path().join("behind")), before, "it was written to");
    fs::remove_dir_all(root.path().join("behind")).unwrap();
    let store = Store::open(root.path().join("first")).unwrap();
    assert!(!store.lookup_many(&[key]).unwrap()[&key].evicted);
    assert_eq!(store.read(&filled.small, 10).unwrap(), b"small");
    store.verify(&filled.large).unwrap();
    assert_eq!(store.meta(&key).unwrap().unwrap().wall_ms, 12.5);
}

#[test]
fn what_is_damaged_behind_is_not_taken() {
    let root = tempfile::tempdir().unwrap();
    let filled = {
        let behind = Store::open(root.path().join("behind")).unwrap();
        let filled = fill(&behind);
        let path = behind.path(&filled.large).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[70_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        filled
    };
    let store = over(root.path());
    assert!(store.make_sure(&filled.large, ArtifactKind::Blob).is_err());
    assert!(store.read(&filled.large, u64::MAX).is_err());
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    // What is damaged here may be whole there.
    let path = store.path(&filled.small).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, b"smell").unwrap();
    assert_eq!(fs::read(store.path(&filled.small).unwrap()).unwrap(), b"small");
}

#[test]
fn what_another_program_commits_there_meanwhile_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let behind = Store::open(root.path().join("behind")).unwrap();
    fill(&behind);
    let store = over(root.path());
    behind.commit(&[result("b", &[], &[])]).unwrap();
    let keys = [Digest::of(b"a"), Digest::of(b"b")];
    assert_eq!(store.lookup_many(&keys).unwrap().len(), 2);
}

#[test]
fn what_is_no_store_is_told_and_the_first_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let first = root.path().join("first");
    let open = || Store::open(&first).unwrap();
    let (store, error) = open().with_behind(&root.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, BehindError::Unreadable { .. }));
    store.put_bytes(b"x").unwrap();
    drop(store);
    let (_, error) = open().with_behind(&first).unwrap_err();
    assert!(matches!(error, BehindError::Itself { .. }));
    let junk = root.path().join("junk");
    fs::create_dir(&junk).unwrap();
    fs::write(junk.join("index.db"), "junk".repeat(5000)).unwrap();
    let (_, error) = open().with_behind(&junk).unwrap_err();
    assert!(matches!(error, BehindError::Unreadable { .. }));
    let newer = root.path().join("newer");
    drop(Store::open(&newer).unwrap());
    let index = rusqlite::Connection::open(newer.join("index.db")).unwrap();
    index.pragma_update(None, "user_version", 99).unwrap();
    drop(index);
    let (_, error) = open().with_behind(&newer).unwrap_err();
    assert!(matches!(error, BehindError::Version { found: 99, .. }), "{error}");
}

#[test]
fn marks_are_the_first_stores_and_nothing_behind_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let key = Digest::of(b"a");
    let filled = {
        let behind = Store::open(root.path().join("behind")).unwrap();
        let filled = put(&behind);
        let outputs = [(filled.small, "int", 5), (filled.large, "bytes", 600_000)];
        behind.commit(&[result("a", &outputs, &[("p1", Mark::Temp)])]).unwrap();
        filled
    };
    let before = everything(&root.path().join("behind"));
    let store = over(root.path());
    let looked = || store.lookup_many(&[key]).unwrap().remove(&key).unwrap();
    assert_eq!(looked().marks["p1"], Mark::Temp, "what is lent says what it is");
    store.touch(&[key], NOW).unwrap();
    store.read(&filled.large, u64::MAX).unwrap();
    let spent = Spent { key, digest: filled.large, kind: ArtifactKind::Blob };
    assert_eq!(store.drop_temporary(&[spent]).unwrap().blobs, 1, "the copy here");
    assert!(looked().gone.is_empty(), "it is still behind");
    store.mark(&[(key, [("p1".to_owned(), Mark::Keep)].into())]).unwrap();
    assert_eq!(looked().marks["p1"], Mark::Keep, "here another flow has the last word");
    store.read(&filled.large, u64::MAX).unwrap();
    let bounds = Bounds { max_bytes: Some(0), ..Bounds::default() };
    let now_unix_ms = 4_000_000_000_000;
    let report = store.gc(GcRequest { bounds, dry_run: false, now_unix_ms }).unwrap();
    assert_eq!(report.kept, 600_000);
    assert_eq!(everything(&root.path().join("behind")), before, "it was written to");
}
