//! Directory artifacts, and files of the user's that are remembered by their stat.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

use polyloom_model::Digest;
use polyloom_store::{
    ImportError, ListingEntry, ReadError, Root, StatKey, Store, TreeEntry, TreeError, TreeLimits,
};

const LIMITS: TreeLimits = TreeLimits { bytes: 1 << 20, entries: 100, left_out: &["left"] };

fn open(root: &Path) -> Store {
    Store::open(root.join("store")).unwrap()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn at(folder: &Path) -> Root {
    Root::open(folder).unwrap()
}

fn sample(root: &Path) -> std::path::PathBuf {
    let dir = root.join("source");
    fs::create_dir_all(dir.join("sub/empty")).unwrap();
    fs::write(dir.join("small.txt"), "small").unwrap();
    fs::write(dir.join("sub/large.bin"), vec![1; 30_000]).unwrap();
    fs::write(dir.join("sub/run.sh"), "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(dir.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn a_directory_comes_back_with_its_modes_and_empty_folders() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let source = sample(root.path());
    let (digest, size) = store.put_dir(File::open(&source).unwrap().as_fd(), LIMITS).unwrap();
    assert_eq!(size, 30_022);
    assert_eq!(
        store.import_dir(&at(root.path()), Path::new("source"), LIMITS, now()).unwrap(),
        (digest, size)
    );
    assert_eq!(
        store.hash_dir(&at(root.path()), Path::new("source"), LIMITS, now()).unwrap(),
        (digest, size)
    );
    let names: Vec<_> = store.listing(&digest).unwrap().into_keys().collect();
    assert_eq!(names, ["small.txt", "sub/empty", "sub/large.bin", "sub/run.sh"]);
    let tree = store.tree_path(&digest).unwrap();
    assert_eq!(store.tree_path(&digest).unwrap(), tree);
    assert_eq!(fs::read(tree.join("small.txt")).unwrap(), b"small");
    assert!(tree.join("sub/empty").is_dir());
    let mode = |path: &str| fs::metadata(tree.join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("."), mode("sub")), (0o755, 0o755));
    assert_eq!((mode("small.txt"), mode("sub/run.sh")), (0o444, 0o555));
    let linked = fs::metadata(tree.join("sub/large.bin")).unwrap();
    assert_eq!(linked.nlink(), 2, "large files are links to their blobs");
    // What is left out is nothing, wherever it is.
    fs::create_dir_all(source.join("sub/left/deep")).unwrap();
    fs::write(source.join("sub/left/deep/file"), "x").unwrap();
    fs::write(source.join("left"), "x").unwrap();
    assert_eq!(
        store.hash_dir(&at(root.path()), Path::new("source"), LIMITS, now()).unwrap(),
        (digest, size)
    );
    // One bit of one file is another tree.
    fs::set_permissions(source.join("small.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(
        store.hash_dir(&at(root.path()), Path::new("source"), LIMITS, now()).unwrap().0,
        digest
    );
}

#[test]
fn links_pipes_and_too_much_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let source = sample(root.path());
    let put = |limits| store.put_dir(File::open(&source).unwrap().as_fd(), limits);
    let few = TreeLimits { entries: 3, ..LIMITS };
    assert!(matches!(put(few), Err(TreeError::TooLarge { .. })));
    let short = TreeLimits { bytes: 30_021, ..LIMITS };
    assert!(matches!(put(short), Err(TreeError::TooLarge { .. })));
    symlink("/etc/passwd", source.join("sub/link")).unwrap();
    let error = put(LIMITS).unwrap_err().to_string();
    assert!(error.starts_with("`sub/link` is a symbolic link"), "{error}");
    fs::remove_file(source.join("sub/link")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(source.join("pipe")).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(matches!(put(LIMITS), Err(TreeError::Special { kind: "a pipe", .. })));
        let pipe = store.hash_file(&at(root.path()), Path::new("source/pipe"), now());
        assert!(matches!(pipe, Err(ImportError::NotAFile { .. })));
    }
}

#[test]
fn listings_with_hostile_paths_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let file = Some(ListingEntry { digest: Digest::of(b""), exec: false, size: 0 });
    let entry = |path: &str| TreeEntry { path: path.into(), file: file.clone() };
    for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "nul\0"] {
        assert!(matches!(store.put_tree([entry(path)]), Err(TreeError::Path { .. })), "{path:?}");
    }
    for pair in [["a", "a/b"], ["a", "a"]] {
        assert!(store.put_tree(pair.map(entry)).is_err(), "{pair:?}");
    }
    assert!(store.put_tree([entry("a.b"), entry("a/b")]).is_ok());
    // A listing that did not come through `put_tree`: the bytes of some other artifact.
    let forged = store.put_bytes(b"\x81\xa5../xx\xc0").unwrap();
    assert!(store.tree_path(&forged).is_err());
    let junk = store.put_bytes(b"not a listing").unwrap();
    assert!(store.tree_path(&junk).is_err());
}

#[test]
fn a_digest_is_remembered_only_for_a_file_that_had_settled() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let path = root.path().join("data.csv");
    fs::write(&path, "a,b").unwrap();
    let stat = StatKey::of(&fs::metadata(&path).unwrap());
    let digest = store.hash_file(&at(root.path()), Path::new("data.csv"), now()).unwrap().0;
    assert_eq!(digest, Digest::of(b"a,b"));
    assert_eq!(store.file_digest(&path, &stat).unwrap(), None, "just written");
    // The inode's own time can't be set back, so the clock goes forward.
    let later = now() + 10_000;
    store.hash_file(&at(root.path()), Path::new("data.csv"), later).unwrap();
    assert_eq!(store.file_digest(&path, &stat).unwrap(), Some(digest));
    store.flush().unwrap();
    assert_eq!(store.file_digest(&path, &stat).unwrap(), Some(digest));
    // The same size and mtime again: ctime tells.
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    // The file system's clock ticks every few milliseconds.
    let after = loop {
        fs::write(&path, "x,y").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
        let after = StatKey::of(&fs::metadata(&path).unwrap());
        if after.ctime_ns != stat.ctime_ns {
            break after;
        }
    };
    assert_eq!((after.size, after.mtime_ns), (stat.size, stat.mtime_ns));
    assert_eq!(
        store.hash_file(&at(root.path()), Path::new("data.csv"), later).unwrap().0,
        Digest::of(b"x,y")
    );
}

#[test]
fn links_lead_no_file_or_folder_out_of_the_users_folder() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    sample(root.path());
    fs::create_dir(root.path().join("flow")).unwrap();
    fs::write(root.path().join("flow/own.txt"), "own").unwrap();
    let flow = at(&root.path().join("flow"));
    for (name, target) in [("in", "own.txt"), ("out", "../source/small.txt"), ("dir", "../source")]
    {
        symlink(target, root.path().join("flow").join(name)).unwrap();
    }
    let own = store.hash_file(&flow, Path::new("in"), now()).unwrap();
    assert_eq!(own, (Digest::of(b"own"), 3));
    for path in ["out", "dir/small.txt", "../source/small.txt", "/etc/passwd"] {
        let path = Path::new(path);
        assert!(store.hash_file(&flow, path, now()).is_err(), "{path:?}");
        assert!(store.import_file(&flow, path, u64::MAX, now()).is_err(), "{path:?}");
    }
    for path in ["dir", "../source", "/etc", "dir/sub"] {
        let path = Path::new(path);
        assert!(store.hash_dir(&flow, path, LIMITS, now()).is_err(), "{path:?}");
        assert!(store.import_dir(&flow, path, LIMITS, now()).is_err(), "{path:?}");
    }
}

#[test]
fn an_imported_file_is_a_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let path = root.path().join("data.bin");
    fs::write(&path, vec![1; 100_000]).unwrap();
    let (digest, size) = store
        .import_file(&at(root.path()), Path::new("data.bin"), u64::MAX, now() + 10_000)
        .unwrap();
    fs::write(&path, vec![2; 100_000]).unwrap();
    assert_eq!(store.read(&digest, size).unwrap(), vec![1; 100_000]);
    assert!(matches!(
        store.import_file(&at(root.path()), Path::new("data.bin"), 10, now()),
        Err(ImportError::Put(_))
    ));
}

#[test]
fn a_directory_that_is_not_wanted_any_more_is_not_laid_out_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let source = sample(root.path());
    let (digest, _) = store.put_dir(File::open(&source).unwrap().as_fd(), LIMITS).unwrap();
    for most in 0..4 {
        let asked = std::cell::Cell::new(0);
        let is_wanted = || asked.replace(asked.get() + 1) < most;
        let error = store.tree_path_while(&digest, &is_wanted).unwrap_err();
        assert!(matches!(error, ReadError::Unwanted), "{most}: {error}");
        assert!(store.tree_there(&digest).is_none());
    }
    let tree = store.tree_path(&digest).unwrap();
    assert_eq!(fs::read(tree.join("small.txt")).unwrap(), b"small");
    // One that is there is not taken for damaged because nobody waited until it was looked at.
    drop(store);
    let store = open(root.path());
    assert!(store.tree_path_while(&digest, &|| false).is_err());
    assert!(store.tree_there(&digest).is_some());
}
