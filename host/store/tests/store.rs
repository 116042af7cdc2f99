//! The store as its callers see it: what was put in comes out, whatever else happens meanwhile.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Instant, SystemTime};

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use polyloom_store::{
    Bounds, Fault, GcRequest, INDEX_VERSION, OpenError, PutError, ReadError, ResultRow, Store,
};

const DAY: u64 = 86_400_000;
const NOW: u64 = 1_800_000_000_000;

fn open(root: &Path) -> Store {
    Store::open(root.join("store")).unwrap()
}

fn artifact(digest: Digest, size: u64) -> ArtifactMeta {
    ArtifactMeta {
        digest: digest.to_string(),
        r#type: "bytes".into(),
        size,
        media_type: Some("application/msgpack".into()),
        path: None,
    }
}

fn result(key: &str, outputs: &[(Digest, u64)], at: u64) -> ResultRow {
    let outputs = outputs.iter().enumerate();
    ResultRow {
        key: Digest::of(key.as_bytes()),
        content_key: Some(Digest::of(format!("content of {key}").as_bytes())),
        cell: "load".into(),
        executor: "python".into(),
        outcome: Outcome::Ok,
        outputs: outputs.map(|(i, (d, size))| (format!("port{i}"), artifact(*d, *size))).collect(),
        meta: ExecMeta::new(Outcome::Ok),
        created_unix_ms: at,
        marks: BTreeMap::new(),
    }
}

fn gc(max_bytes: u64, now_unix_ms: u64) -> GcRequest {
    let bounds = Bounds { max_bytes: Some(max_bytes), ..Bounds::default() };
    GcRequest { bounds, dry_run: false, now_unix_ms }
}

#[test]
fn small_values_are_rows_until_somebody_wants_a_file() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let files = || {
        let folders = fs::read_dir(store.root().join("blobs")).unwrap();
        folders.map(|it| fs::read_dir(it.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    let small = store.put_bytes(&[1; 8192]).unwrap();
    store.put_bytes(&[2; 8193]).unwrap();
    store.flush().unwrap();
    assert_eq!(files(), 1);
    store.path(&small).unwrap();
    assert_eq!(files(), 2);
}

#[test]
fn bytes_come_back_small_and_large_before_and_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let small = vec![1; 8192];
    let large = vec![2; 8193];
    let (a, b, empty) = {
        let store = open(root.path());
        let a = store.put_bytes(&small).unwrap();
        let b = store.put_bytes(&large).unwrap();
        let empty = store.put_bytes(b"").unwrap();
        assert_eq!(store.read(&a, 8192).unwrap(), small);
        assert_eq!(store.read(&b, 9000).unwrap(), large);
        (a, b, empty)
    };
    let store = open(root.path());
    assert_eq!(store.read(&a, 8192).unwrap(), small);
    assert_eq!(store.read(&b, 9000).unwrap(), large);
    assert!(store.has(&empty).unwrap());
    for (digest, bytes) in [(a, &small[..]), (b, &large), (empty, b"")] {
        let path = store.path(&digest).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(store.size(&digest).unwrap(), bytes.len() as u64);
        store.verify(&digest).unwrap();
    }
    assert!(matches!(store.read(&b, 100), Err(ReadError::TooLarge { size: 8193, max: 100, .. })));
    let absent = Digest::of(b"absent");
    assert!(!store.has(&absent).unwrap());
    assert!(matches!(store.path(&absent), Err(ReadError::Missing { .. })));
    assert_eq!(fs::metadata(store.root()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn files_are_hashed_as_they_are_copied_and_their_offset_stays() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    for size in [0, 10, 8192, 8193, 3_000_000] {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        let (digest, length) = store.put_file(&file, 3_000_000).unwrap();
        assert_eq!((digest, length), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(file.stream_position().unwrap(), 3);
        assert_eq!(store.read(&digest, u64::MAX).unwrap(), bytes);
        if size > 0 {
            let error = store.put_file(&file, length - 1).unwrap_err();
            assert!(matches!(error, PutError::TooLarge { .. }), "{size}: {error}");
        }
    }
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_program_can_be_run_while_its_blob_still_waits_for_its_sync() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let file = fs::File::open("/bin/true").unwrap();
    let (digest, size) = store.put_file(&file, u64::MAX).unwrap();
    let file = Some(polyloom_store::ListingEntry { digest, exec: true, size });
    let entry = polyloom_store::TreeEntry { path: "bin/program".into(), file };
    let (tree, total) = store.put_tree([entry]).unwrap();
    assert_eq!(total, size);
    let program = store.tree_path(&tree).unwrap().join("bin/program");
    assert!(std::process::Command::new(program).status().unwrap().success());
}

#[test]
fn results_are_found_by_key_and_by_content() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = store.put_bytes(b"x").unwrap();
    let large = store.put_bytes(&[7; 20_000]).unwrap();
    store.commit(&[result("a", &[(blob, 1), (large, 20_000)], NOW)]).unwrap();
    // Another process sees what was committed, blobs and all.
    let other = open(root.path());
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let found = other.lookup_many(&[a, b]).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[&a].outputs[0].1.digest, blob.to_string());
    assert!(!found[&a].evicted);
    assert_eq!(other.read(&blob, 10).unwrap(), b"x");
    assert_eq!(other.meta(&a).unwrap().unwrap().outcome, Outcome::Ok);
    let content = Digest::of(b"content of a");
    assert_eq!(other.lookup_content(&content).unwrap().unwrap().key, a);
    // A blob that is gone makes the result a record.
    fs::remove_file(store.path(&large).unwrap()).unwrap();
    assert!(other.lookup_many(&[a]).unwrap()[&a].evicted);
    assert_eq!(other.lookup_content(&content).unwrap(), None);
}

#[test]
fn ten_thousand_results_are_recorded_and_looked_up_quickly() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let start = Instant::now();
    let mut rows = Vec::new();
    for i in 0..10_000_u32 {
        let blob = store.put_bytes(&i.to_le_bytes()).unwrap();
        rows.push(result(&format!("{i}"), &[(blob, 4)], NOW));
    }
    let put = start.elapsed();
    let start = Instant::now();
    store.commit(&rows).unwrap();
    let commit = start.elapsed();
    let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
    let start = Instant::now();
    let found = store.lookup_many(&keys).unwrap();
    let lookup = start.elapsed();
    assert_eq!(found.len(), 10_000);
    assert!(found.values().all(|row| !row.evicted));
    let again = Instant::now();
    store.lookup_many(&keys).unwrap();
    let again = again.elapsed();
    println!("put {put:?}, commit {commit:?}, lookup {lookup:?}, again {again:?}");
    // The bounds catch a change of order, not a busy machine.
    assert!(lookup.as_millis() < if cfg!(debug_assertions) { 2000 } else { 150 }, "{lookup:?}");
}

#[test]
fn a_collection_evicts_what_was_used_least_lately_and_keeps_the_records() {
    let root = tempfile::tempdir().unwrap();
    let old = SystemTime::UNIX_EPOCH;
    let store = open(root.path());
    let put = |byte: u8, size: usize| {
        let digest = store.put_bytes(&vec![byte; size]).unwrap();
        if let Ok(file) = fs::File::options().read(true).open(store.path(&digest).unwrap()) {
            file.set_times(fs::FileTimes::new().set_accessed(old)).unwrap();
        }
        digest
    };
    let (a, b, c) = (put(1, 10_000), put(2, 10_000), put(3, 4000));
    store.commit(&[result("a", &[(a, 10_000)], NOW - 3 * DAY)]).unwrap();
    store.commit(&[result("c", &[(c, 4000)], NOW - 2 * DAY)]).unwrap();
    store.commit(&[result("b", &[(b, 10_000)], NOW - DAY)]).unwrap();
    store.touch(&[Digest::of(b"a")], NOW).unwrap();
    fs::write(store.root().join("tmp/left-by-a-crash"), b"half").unwrap();
    let dry = store.gc(GcRequest { dry_run: true, ..gc(12_000, NOW) }).unwrap();
    assert!(store.has(&b).unwrap());
    let report = store.gc(gc(12_000, NOW)).unwrap();
    assert_eq!(report, dry);
    assert_eq!((report.blobs, report.bytes, report.results), (2, 14_000, 2));
    assert_eq!((report.stale, report.left), (1, 10_000));
    assert!(store.has(&a).unwrap() && !store.has(&b).unwrap() && !store.has(&c).unwrap());
    let keys = [Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c")];
    let found = store.lookup_many(&keys).unwrap();
    assert_eq!(keys.map(|key| found[&key].evicted), [false, true, true]);
    let usage = store.usage().unwrap();
    assert_eq!((usage.blobs, usage.bytes, usage.results, usage.evicted), (1, 10_000, 3, 2));
    // What is made again is a result again.
    let again = store.put_bytes(&vec![2; 10_000]).unwrap();
    store.commit(&[result("b", &[(again, 10_000)], NOW)]).unwrap();
    assert!(!store.lookup_many(&keys[1..2]).unwrap()[&keys[1]].evicted);
}

#[test]
fn while_another_store_is_open_a_collection_spares_what_is_young() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    let blob = store.put_bytes(&[1; 10_000]).unwrap();
    let other = open(root.path());
    assert_eq!(store.gc(gc(0, now)).unwrap().blobs, 0);
    drop(other);
    assert_eq!(store.gc(gc(0, now)).unwrap().blobs, 1);
    assert!(!store.has(&blob).unwrap());
}

#[test]
fn a_writer_that_died_before_its_rename_leaves_no_blob() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let bytes = vec![9; 50_000];
    // What a killed process leaves: part of the bytes under a temporary name.
    fs::write(store.root().join("tmp/0123456789abcdef-0"), &bytes[..20_000]).unwrap();
    let digest = Digest::of(&bytes);
    assert!(!store.has(&digest).unwrap());
    assert_eq!(store.put_bytes(&bytes).unwrap(), digest);
    store.verify(&digest).unwrap();
    // What a power cut leaves: the name without the bytes. It counts as absent and is written again.
    let path = store.path(&digest).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"").unwrap();
    assert!(!store.has(&digest).unwrap());
    store.put_bytes(&bytes).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn verify_finds_changed_bytes_in_files_and_in_the_index() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let large = store.put_bytes(&[4; 10_000]).unwrap();
    let small = store.put_bytes(b"small").unwrap();
    store.flush().unwrap();
    let path = store.path(&large).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, [5; 10_000]).unwrap();
    let index = rusqlite::Connection::open(store.root().join("index.db")).unwrap();
    index.execute("UPDATE blobs SET data = x'00'", []).unwrap();
    for digest in [large, small] {
        let error = store.verify(&digest).unwrap_err();
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_store_of_a_newer_version_and_a_damaged_index_are_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = open(root.path()).root().join("index.db");
    let index = rusqlite::Connection::open(&path).unwrap();
    index.pragma_update(None, "user_version", INDEX_VERSION + 1).unwrap();
    drop(index);
    let error = Store::open(root.path().join("store")).unwrap_err();
    assert!(matches!(error, OpenError::Newer { .. }));
    let text = error.to_string();
    assert!(text.contains("has version 5, this program reads versions up to 4"), "{text}");
    for rest in ["index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(path.with_file_name(rest));
    }
    let junk = vec![0x5a; 8192];
    fs::write(&path, &junk).unwrap();
    let error = Store::open(root.path().join("store")).unwrap_err();
    assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), junk);
}

#[test]
fn a_store_of_an_older_version_is_brought_up() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    store.commit(&[result("a", &[], NOW)]).unwrap();
    let path = store.root().join("index.db");
    drop(store);
    let index = rusqlite::Connection::open(&path).unwrap();
    index
        .execute_batch(
            "DROP TRIGGER result_replaced; DROP TRIGGER result_changed; DROP TRIGGER result_gone;
             DROP TRIGGER blob_gone; DROP TABLE unchanged; ALTER TABLE results DROP COLUMN wall; ALTER TABLE results DROP COLUMN sum;
             ALTER TABLE results DROP COLUMN marks; ALTER TABLE metas DROP COLUMN sum;
             DROP TABLE counters; PRAGMA user_version = 1",
        )
        .unwrap();
    drop(index);
    let found = open(root.path()).lookup_many(&[Digest::of(b"a")]).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn programs_and_tools_are_remembered() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let key = Digest::of(b"cc -O1");
    assert_eq!(store.program(&key).unwrap(), None);
    let program = store.put_bytes(&[0x7f; 10_000]).unwrap();
    store.commit_program(&key, &program, NOW).unwrap();
    assert_eq!(store.program(&key).unwrap(), Some(program));
    fs::remove_file(store.path(&program).unwrap()).unwrap();
    assert_eq!(store.program(&key).unwrap(), None);
    store.remember_tool("gcc 1 2 3", "gcc 12.2").unwrap();
    assert_eq!(store.tool("gcc 1 2 3").unwrap().as_deref(), Some("gcc 12.2"));
    assert_eq!(store.tool("clang").unwrap(), None);
}

#[test]
fn a_share_is_laid_out_once_and_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = Digest::of(b"sdk");
    let files: [(&str, &[u8]); 2] = [("python/worker.py", b"print()"), ("c/polyloom.h", b"//")];
    let path = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| store.ensure_share(&digest, &files))).collect();
        all.into_iter().map(|thread| thread.join().unwrap().unwrap()).next_back().unwrap()
    });
    assert_eq!(fs::read(path.join("c/polyloom.h")).unwrap(), b"//");
    assert_eq!(fs::metadata(path.join("python")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_apart() {
    let root = tempfile::tempdir().unwrap();
    // Needs the right to mount; where that is missing the sorting of ENOSPC is still tested in `fault`.
    let flags = rustix::mount::MountFlags::empty();
    let options = c"size=1m,mode=0700";
    if rustix::mount::mount("tmpfs", root.path(), "tmpfs", flags, options).is_err() {
        return;
    }
    let full = (|| -> Result<(), Fault> {
        let store = Store::open(root.path().join("store")).unwrap();
        for i in 0..2000_u32 {
            store.put_bytes(&[&i.to_le_bytes()[..], &[0; 20_000]].concat())?;
        }
        Ok(())
    })();
    let left = fs::read_dir(root.path().join("store/tmp")).unwrap().count();
    rustix::mount::unmount(root.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    let error = full.unwrap_err();
    assert!(error.is_full(), "{error:?}");
    assert!(error.to_string().contains("/store/"), "{error}");
    assert_eq!(left, 0);
}

/// Runs in a process of its own, started by the test below.
#[test]
fn child_writes_if_told_to() {
    let Some(root) = std::env::var_os("STORE_TEST_ROOT") else { return };
    write_many(Path::new(&root));
}

fn write_many(root: &Path) {
    let store = open(root);
    for i in 0..200_u32 {
        let small = store.put_bytes(&i.to_le_bytes()).unwrap();
        let large = store.put_bytes(&vec![i as u8; 9000 + i as usize]).unwrap();
        let row = result(&format!("{i}"), &[(small, 4), (large, 9000 + u64::from(i))], NOW);
        store.commit(&[row]).unwrap();
    }
}

#[test]
fn processes_and_threads_write_the_same_store_at_once() {
    let root = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let mut children: Vec<_> = (0..3)
        .map(|_| {
            std::process::Command::new(&me)
                .args(["--exact", "child_writes_if_told_to"])
                .env("STORE_TEST_ROOT", root.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| write_many(root.path()));
        }
    });
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let store = open(root.path());
    let keys: Vec<_> = (0..200).map(|i| Digest::of(format!("{i}").as_bytes())).collect();
    let found = store.lookup_many(&keys).unwrap();
    assert_eq!(found.len(), 200);
    for row in found.values() {
        assert!(!row.evicted);
        for output in row.outputs.iter().map(|(_, output)| output) {
            store.verify(&output.digest.parse().unwrap()).unwrap();
        }
    }
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn outputs_survive_in_their_recorded_form() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let mut row = result("a", &[], NOW);
    let odd = ArtifactMeta { path: Some("ü \"x\"\n".into()), ..artifact(Digest::of(b""), 0) };
    row.outputs = BTreeMap::from([("π".to_owned(), odd)]);
    store.commit(std::slice::from_ref(&row)).unwrap();
    let found = store.lookup_many(&[row.key]).unwrap();
    assert_eq!(found[&row.key].outputs, row.outputs.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_directory_is_found_as_long_as_its_files_are_there() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let file = |byte: u8| {
        let digest = store.put_bytes(&vec![byte; 20_000]).unwrap();
        let file = polyloom_store::ListingEntry { digest, exec: false, size: 20_000 };
        (digest, polyloom_store::TreeEntry { path: format!("f{byte}"), file: Some(file) })
    };
    let ((first, a), (_, b)) = (file(1), file(2));
    let (digest, size) = store.put_tree(vec![a, b]).unwrap();
    assert_eq!(size, 40_000, "more than the listing itself");
    let mut row = result("a", &[(digest, size)], NOW);
    row.outputs.get_mut("port0").unwrap().r#type = "dir".into();
    store.commit(&[row]).unwrap();
    let evicted = || store.lookup_many(&[Digest::of(b"a")]).unwrap()[&Digest::of(b"a")].evicted;
    assert!(!evicted());
    fs::remove_file(store.path(&first).unwrap()).unwrap();
    assert!(evicted());
}

#[test]
fn what_the_dead_left_half_written_goes_when_nobody_else_is_here() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let folder = store.root().join("tmp");
    let leave = || {
        fs::write(folder.join("0123456789abcdef-0"), "half").unwrap();
        fs::create_dir_all(folder.join("0123456789abcdef-1/sub")).unwrap();
    };
    let left = || fs::read_dir(&folder).unwrap().count();
    leave();
    drop(open(root.path()));
    assert_eq!(left(), 2, "they may be the other store's");
    drop(store);
    let _store = open(root.path());
    assert_eq!(left(), 0);
}

#[test]
fn changes_are_counted_and_uses_are_not() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let key = Digest::of(b"key");
    let row = |key: &str, text: &[u8]| {
        let digest = store.put_bytes(text).unwrap();
        result(key, &[(digest, text.len() as u64)], NOW)
    };
    let mut last = store.changes().unwrap();
    let mut grows = |what: &str, grows: bool| {
        let now = store.changes().unwrap();
        assert_eq!(now > last, grows, "{what}: {last}, then {now}");
        last = now;
    };
    store.commit(&[row("key", b"one")]).unwrap();
    grows("a first result", false);
    store.commit(&[row("other", b"two")]).unwrap();
    store.touch(&[key], NOW + DAY).unwrap();
    grows("another result and a use", false);
    store.commit(&[row("key", b"three")]).unwrap();
    grows("a result that replaces one", true);
    let marks = [("port0".to_owned(), polyloom_store::Mark::Temp)];
    store.mark(&[(key, marks.clone().into())]).unwrap();
    grows("a mark", true);
    store.mark(&[(key, marks.into())]).unwrap();
    grows("the same mark", false);
    store.keep_unchanged(&key, b"known", 1).unwrap();
    assert_eq!(store.unchanged(&key).unwrap().as_deref(), Some(&b"known"[..]));
    assert_eq!(store.unchanged(&Digest::of(b"other")).unwrap(), None);
    for at in 0..100_u64 {
        store.keep_unchanged(&Digest::of(&at.to_le_bytes()), b"more", 2 + at).unwrap();
    }
    assert_eq!(store.unchanged(&key).unwrap(), None, "the oldest go");
    let index = rusqlite::Connection::open(root.path().join("store/index.db")).unwrap();
    index.execute("UPDATE unchanged SET data = x'00'", []).unwrap();
    assert_eq!(store.unchanged(&Digest::of(&99_u64.to_le_bytes())).unwrap(), None, "damaged");
    index.execute("DELETE FROM blobs", []).unwrap();
    grows("lost bytes", true);
}

#[test]
fn the_log_of_the_index_is_carried_over_once_nothing_more_is_committed() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let index = store.root().join("index.db");
    let size = || fs::metadata(&index).unwrap().len();
    let before = size();
    for batch in 0..30 {
        let row = |at: usize| result(&format!("{batch} {at}"), &[], NOW);
        store.commit(&(0..100).map(row).collect::<Vec<_>>()).unwrap();
        assert_eq!(size(), before, "batch {batch}");
    }
    store.carry_log_over().unwrap();
    assert!(size() > before + 500_000, "{} bytes", size());
    // Nobody has to read it again.
    let log = || fs::metadata(index.with_extension("db-wal")).unwrap().len();
    assert_eq!(log(), 0);
    // A short one is left to the next who commits, or the last who closes it.
    store.commit(&[result("last", &[], NOW)]).unwrap();
    store.carry_log_over().unwrap();
    assert!(log() > 0);
}
