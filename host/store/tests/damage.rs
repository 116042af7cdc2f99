//! Damaged bytes never come out: they are found before their first use, go, and are made again.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use polyloom_store::{ArtifactKind, ListingEntry, ReadError, ResultRow, Store, TreeEntry};

const NOW: u64 = 1_800_000_000_000;

fn open(root: &Path) -> Store {
    Store::open(root.join("store")).unwrap()
}

fn result(key: &str, digest: Digest, ty: &str, size: u64) -> ResultRow {
    let artifact = ArtifactMeta {
        digest: digest.to_string(),
        r#type: ty.into(),
        size,
        media_type: None,
        path: None,
    };
    ResultRow {
        key: Digest::of(key.as_bytes()),
        content_key: Some(Digest::of(format!("content of {key}").as_bytes())),
        cell: key.into(),
        executor: "sh".into(),
        outcome: Outcome::Ok,
        outputs: BTreeMap::from([("x".to_owned(), artifact)]),
        meta: ExecMeta::new(Outcome::Ok),
        created_unix_ms: NOW,
        marks: BTreeMap::new(),
    }
}

fn evicted(store: &Store, key: &str) -> bool {
    let key = Digest::of(key.as_bytes());
    store.lookup_many(&[key]).unwrap()[&key].evicted
}

/// Changes one byte where it is, as a stray write would, and puts the modification time back if `quiet`.
fn flip(path: &Path, at: u64, quiet: Quiet) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut byte = [fs::read(path).unwrap()[usize::try_from(at).unwrap()]];
    byte[0] ^= 0x10;
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&byte).unwrap();
    if quiet == Quiet::Yes {
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[derive(Clone, Copy, PartialEq)]
enum Quiet {
    Yes,
    No,
}

#[test]
fn a_changed_byte_is_seen_by_whoever_looks_the_result_up() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = store.put_bytes(&[1; 20_000]).unwrap();
    store.commit(&[result("a", digest, "bytes", 20_000)]).unwrap();
    flip(&store.path(&digest).unwrap(), 19_999, Quiet::No);
    let store = open(root.path());
    assert!(evicted(&store, "a"));
    assert_eq!(store.take_damaged(), [digest]);
    assert_eq!(store.take_damaged(), []);
    assert!(!store.has(&digest).unwrap());
    // Made again, it is whole again.
    assert_eq!(store.put_bytes(&[1; 20_000]).unwrap(), digest);
    store.commit(&[result("a", digest, "bytes", 20_000)]).unwrap();
    assert!(!evicted(&store, "a"));
    assert_eq!(store.read(&digest, 20_000).unwrap(), [1; 20_000]);
}

#[test]
fn rot_that_no_stat_shows_is_found_before_the_bytes_are_used() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = store.put_bytes(&[1; 20_000]).unwrap();
    store.commit(&[result("a", digest, "bytes", 20_000)]).unwrap();
    type Way = fn(&Store, &Digest) -> Result<(), ReadError>;
    let ways: [Way; 5] = [
        |store, digest| store.read(digest, 1 << 20).map(drop),
        |store, digest| store.path(digest).map(drop),
        |store, digest| store.open_blob(digest).map(drop),
        |store, digest| store.make_sure(digest, ArtifactKind::Blob),
        |store, digest| store.verify(digest),
    ];
    for (at, way) in ways.into_iter().enumerate() {
        let path = store.path(&digest).unwrap();
        flip(&path, 100, Quiet::Yes);
        let other = open(root.path());
        assert!(!evicted(&other, "a"), "nothing of it shows");
        let error = way(&other, &digest).unwrap_err();
        assert!(matches!(error, ReadError::Corrupt { .. }), "{at}: {error}");
        store.put_bytes(&[1; 20_000]).unwrap();
        store.commit(&[result("a", digest, "bytes", 20_000)]).unwrap();
        way(&open(root.path()), &digest).unwrap();
    }
}

#[test]
fn equal_bytes_do_not_take_a_damaged_file_for_theirs() {
    let root = tempfile::tempdir().unwrap();
    let bytes = vec![3; 50_000];
    let digest = open(root.path()).put_bytes(&bytes).unwrap();
    flip(&open(root.path()).path(&digest).unwrap(), 0, Quiet::Yes);
    let store = open(root.path());
    store.put_bytes(&bytes).unwrap();
    assert_eq!(fs::read(store.path(&digest).unwrap()).unwrap(), bytes);
    // The same from a file.
    flip(&store.path(&digest).unwrap(), 0, Quiet::Yes);
    let store = open(root.path());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    store.put_file(&file, u64::MAX).unwrap();
    assert_eq!(fs::read(store.path(&digest).unwrap()).unwrap(), bytes);
}

#[test]
fn a_damaged_row_goes_and_its_result_counts_as_evicted() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = store.put_bytes(b"small").unwrap();
    store.commit(&[result("a", digest, "bytes", 5)]).unwrap();
    let index = rusqlite::Connection::open(store.root().join("index.db")).unwrap();
    index.execute("UPDATE blobs SET data = x'736d616c6d'", []).unwrap();
    let error = store.read(&digest, 10).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
    assert!(evicted(&store, "a"));
    assert!(matches!(store.read(&digest, 10), Err(ReadError::Missing { .. })));
}

#[test]
fn a_changed_directory_is_laid_out_anew() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let file = |byte: u8, exec| {
        let digest = store.put_bytes(&vec![byte; 20_000]).unwrap();
        let file = ListingEntry { digest, exec, size: 20_000 };
        TreeEntry { path: format!("d/{byte}"), file: Some(file) }
    };
    let (tree, _) = store.put_tree([file(1, false), file(2, true)]).unwrap();
    store.flush().unwrap();
    let path = store.tree_path(&tree).unwrap();
    let good = |store: &Store| {
        let path = store.tree_path(&tree).unwrap();
        (fs::read(path.join("d/1")).unwrap(), fs::read(path.join("d/2")).unwrap())
    };
    let right = (vec![1; 20_000], vec![2; 20_000]);
    // One that stands is left as it is, by others as well.
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let made = inode(&path);
    assert_eq!(good(&open(root.path())), right);
    assert_eq!(inode(&path), made);
    let other = open(root.path());
    assert_eq!(other.tree_there(&tree), Some(path.clone()));
    assert!(other.make_sure_of_tree(&tree));
    // A file of its own.
    flip(&path.join("d/2"), 7, Quiet::Yes);
    assert_eq!(good(&open(root.path())), right);
    // One whose bytes nobody has looked at yet.
    flip(&path.join("d/2"), 7, Quiet::Yes);
    let other = open(root.path());
    assert!(other.tree_there(&tree).is_some() && !other.make_sure_of_tree(&tree));
    assert!(other.tree_there(&tree).is_none());
    assert_eq!(good(&other), right);
    // One that is too many.
    fs::write(path.join("d/3"), "more").unwrap();
    assert_eq!(good(&open(root.path())), right);
    assert!(!path.join("d/3").exists());
    // A link to a blob: the blob is damaged with it, and has to be made again.
    flip(&path.join("d/1"), 7, Quiet::Yes);
    let other = open(root.path());
    assert!(matches!(other.tree_path(&tree), Err(ReadError::Corrupt { .. })));
    assert!(other.make_sure(&tree, ArtifactKind::Dir).is_err());
    other.put_bytes(&[1; 20_000]).unwrap();
    assert_eq!(good(&other), right);
}

#[test]
fn something_else_in_a_blobs_place_is_no_blob() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let bytes = vec![5; 20_000];
    let digest = store.put_bytes(&bytes).unwrap();
    let path = store.path(&digest).unwrap();
    let outside = root.path().join("outside");
    fs::write(&outside, &bytes).unwrap();
    let makers: [&dyn Fn(); 3] = [
        &|| fs::create_dir(&path).unwrap(),
        &|| std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
        &|| {
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
        },
    ];
    for make in makers {
        fs::remove_file(&path).unwrap();
        make();
        let other = open(root.path());
        assert!(other.read(&digest, 1 << 20).is_err());
        assert!(other.path(&digest).is_err());
        let _ = fs::remove_dir(&path);
        let _ = fs::remove_file(&path);
        other.put_bytes(&bytes).unwrap();
    }
}

#[test]
fn a_row_of_which_anything_has_changed_is_none() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = store.put_bytes(b"small").unwrap();
    let key = Digest::of(b"a");
    for change in [
        "content = x'00'",
        "cell = 'b'",
        "executor = 'b'",
        "outcome = 'failed'",
        "outcome = 'nonsense'",
        "created = created + 1",
        "wall = 7.5",
        "outputs = replace(outputs, 'bytes', 'int')",
        "outputs = '{'",
        "outputs = x'ff'",
        "sum = x'00'",
    ] {
        store.commit(&[result("a", digest, "bytes", 5)]).unwrap();
        let content = Digest::of(b"content of a");
        assert!(!evicted(&store, "a") && store.lookup_content(&content).unwrap().is_some());
        let index = rusqlite::Connection::open(store.root().join("index.db")).unwrap();
        index.execute(&format!("UPDATE results SET {change}"), []).unwrap();
        assert!(store.lookup_many(&[key]).unwrap().is_empty(), "{change}");
        assert!(store.lookup_content(&content).unwrap().is_none(), "{change}");
        // Nobody else stumbles over it.
        store.usage().unwrap();
        store
            .gc(polyloom_store::GcRequest {
                bounds: polyloom_store::Bounds::default(),
                dry_run: false,
                now_unix_ms: NOW,
            })
            .unwrap();
        index.execute("UPDATE metas SET meta = replace(meta, 'ok', 'no')", []).unwrap();
        assert!(store.meta(&key).unwrap().is_none());
    }
}
