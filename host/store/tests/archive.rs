//! Archives: what goes out comes in elsewhere, and nothing that lies does.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ExecMeta, Outcome};
use polyloom_store::{ArchiveError, ArtifactKind, Mark, Spent, Store};

use support::{NOW, Put, put, result};

fn open(root: &Path, name: &str) -> Store {
    Store::open(root.join(name)).unwrap()
}

/// Two results: a value and a file, and a directory.
fn filled(store: &Store) -> Vec<Digest> {
    let Put { small, large, inner, tree } = put(store);
    let rows = [
        result("a", &[(small, "int", 5), (large, "bytes", 600_000)], &[("p0", Mark::Keep)]),
        result("b", &[(tree.0, "dir", tree.1)], &[]),
    ];
    store.commit(&rows).unwrap();
    vec![small, large, inner, tree.0]
}

fn exported(store: &Store) -> Vec<u8> {
    let mut archive = Vec::new();
    store.export(&mut archive).unwrap();
    archive
}

#[test]
fn a_store_comes_back_from_its_archive() {
    let root = tempfile::tempdir().unwrap();
    let from = open(root.path(), "from");
    let blobs = filled(&from);
    let mut archive = Vec::new();
    let out = from.export(&mut archive).unwrap();
    assert_eq!((out.blobs, out.results, out.left_out), (4, 2, 0));
    let to = open(root.path(), "to");
    let taken = to.import(&mut &archive[..], NOW).unwrap();
    assert_eq!((taken.blobs, taken.bytes, taken.results), (4, out.bytes, 2));
    for digest in &blobs {
        to.verify(digest).unwrap();
    }
    let keys = [Digest::of(b"a"), Digest::of(b"b")];
    let (there, here) = (from.lookup_many(&keys).unwrap(), to.lookup_many(&keys).unwrap());
    assert_eq!(there, here);
    assert_eq!(here[&keys[0]].marks["p0"], Mark::Keep);
    assert_eq!(to.meta(&keys[0]).unwrap().unwrap().wall_ms, 12.5);
    assert!(to.tree_path(&blobs[3]).unwrap().join("d/f").is_file());
    // The same store gives the same bytes, and what is there stays.
    assert_eq!(exported(&to), archive);
    assert_eq!(to.import(&mut &archive[..], NOW).unwrap().results, 0);
}

#[test]
fn an_archive_that_was_changed_anywhere_gives_no_result() {
    let root = tempfile::tempdir().unwrap();
    let from = open(root.path(), "from");
    filled(&from);
    let archive = exported(&from);
    let keys = [Digest::of(b"a"), Digest::of(b"b")];
    let to = open(root.path(), "to");
    let step = archive.len() / 97;
    let tail = archive.len() - 3000..archive.len();
    for at in (0..archive.len()).step_by(step).chain(0..200).chain(tail.step_by(7)) {
        let mut changed = archive.clone();
        changed[at] ^= 0x01;
        let error = to.import(&mut &changed[..], NOW).expect_err("it is damaged");
        assert!(!matches!(error, ArchiveError::Fault(_) | ArchiveError::Io(_)), "{at}: {error}");
        assert!(to.lookup_many(&keys).unwrap().is_empty(), "{at}");
        assert!(to.import(&mut &archive[..at], NOW).is_err(), "cut at {at}");
        assert!(to.lookup_many(&keys).unwrap().is_empty(), "cut at {at}");
    }
    let twice = [&archive[..], &archive[..]].concat();
    assert!(to.import(&mut &twice[..], NOW).is_err());
    assert_eq!(std::fs::read_dir(to.root().join("tmp")).unwrap().count(), 0);
    to.import(&mut &archive[..], NOW).unwrap();
    assert_eq!(to.lookup_many(&keys).unwrap().len(), 2);
}

/// An archive by hand, with a sum that fits.
fn forged(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"polyloom-archive/1\n".to_vec();
    let put = |bytes: &mut Vec<u8>, header: &str, body: &[u8]| {
        bytes.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
    };
    for (header, body) in records {
        put(&mut bytes, header, body);
    }
    let end =
        format!(r#"{{"end":{{"records":{},"sum":"{}"}}}}"#, records.len(), Digest::of(&bytes));
    put(&mut bytes, &end, b"");
    bytes
}

#[test]
fn names_and_sizes_that_lie_are_found() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "store");
    let digest = Digest::of(b"true");
    let blob = |size: u64| format!(r#"{{"blob":{{"digest":"{digest}","size":{size}}}}}"#);
    let row = |output: &str| {
        let meta = serde_json::to_string(&ExecMeta::new(Outcome::Ok)).unwrap();
        format!(
            r#"{{"result":{{"key":"{digest}","content":null,"cell":"a","executor":"x","outcome":"ok","marks":{{}},"created":1,"meta":{meta},"outputs":{{"x":{{"digest":"{output}","type":"bytes","size":4}}}}}}}}"#
        )
    };
    let import = |records: &[(&str, &[u8])]| store.import(&mut &forged(records)[..], NOW);
    assert!(import(&[]).is_ok());
    assert_eq!(import(&[(&blob(4), b"true")]).unwrap().blobs, 1);
    assert!(matches!(import(&[(&blob(4), b"lies")]), Err(ArchiveError::Digest { .. })));
    for size in [3, 5, 9000, u64::MAX] {
        assert!(import(&[(&blob(size), b"true")]).is_err(), "{size}");
    }
    for header in ["", "{}", "[]", r#"{"blob":{"digest":"../../x","size":1}}"#, r#"{"other":1}"#] {
        assert!(matches!(import(&[(header, b"x")]), Err(ArchiveError::Record { .. })), "{header}");
    }
    // A result whose output is nowhere, or can't be anywhere.
    for output in ["b3:00", "../../../etc/passwd", &Digest::of(b"nowhere").to_string()] {
        let taken = import(&[(&row(output), b"")]).unwrap();
        assert_eq!((taken.results, taken.left_out), (0, 1), "{output}");
    }
    assert_eq!(import(&[(&row(&digest.to_string()), b"")]).unwrap().results, 1);
    // Lengths that lie take no memory.
    let mut long = b"polyloom-archive/1\n".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    assert!(store.import(&mut &long[..], NOW).is_err());
    assert!(matches!(store.import(&mut &b"PK\x03\x04"[..], NOW), Err(ArchiveError::Magic)));
}

#[test]
fn what_is_damaged_or_gone_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let from = open(root.path(), "from");
    let blobs = filled(&from);
    std::fs::remove_file(from.path(&blobs[1]).unwrap()).unwrap();
    let out = open(root.path(), "from").export(&mut Vec::new()).unwrap();
    assert_eq!((out.results, out.left_out), (1, 1));
}

#[test]
fn a_result_goes_along_without_its_temporary_outputs() {
    let root = tempfile::tempdir().unwrap();
    let from = open(root.path(), "from");
    let Put { small, large, .. } = put(&from);
    let outputs = [(small, "int", 5), (large, "bytes", 600_000)];
    let row = result("a", &outputs, &[("p1", Mark::Temp)]);
    from.commit(std::slice::from_ref(&row)).unwrap();
    let spent = Spent { key: row.key, digest: large, kind: ArtifactKind::Blob };
    assert_eq!(from.drop_temporary(&[spent]).unwrap().blobs, 1);
    let archive = exported(&from);
    let to = open(root.path(), "to");
    assert_eq!(to.import(&mut &archive[..], NOW).unwrap().results, 1);
    let found = &to.lookup_many(&[row.key]).unwrap()[&row.key];
    assert!(!found.evicted && found.gone == ["p1"], "{found:?}");
}
