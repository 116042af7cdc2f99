//! Runs as files: what is exported is imported whole, and what is damaged, cut or somebody else's is refused and leaves nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use polyloom_model::Digest;
use polyloom_protocol::meta::Outcome;
use polyloom_store::{
    History, Home, ImportRunError, KeptRow, NewRun, Origin, OutputRow, RunEnd, StepRow, Store,
    is_exported_run,
};

struct Machine {
    root: tempfile::TempDir,
    store: Store,
    history: Arc<History>,
}

fn machine() -> Machine {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path().join("store")).unwrap();
    let history = Arc::new(History::open(root.path(), &store).unwrap());
    Machine { root, store, history }
}

const EVENTS: &str = "{\"seq\":1}\n{\"seq\":2}\n";

/// A run with a small and a large artifact and a folder.
fn exported() -> (Machine, String, Vec<u8>) {
    let here = machine();
    let large = here.store.put_bytes(&[7; 200_000]).unwrap();
    let small = here.store.put_bytes(b"small").unwrap();
    let folder = here.root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("in-it"), b"bytes of a file in a folder").unwrap();
    let limits = polyloom_store::TreeLimits { bytes: 1 << 20, entries: 10, left_out: &[] };
    let place = polyloom_store::Root::open(here.root.path()).unwrap();
    let folder = here.store.import_dir(&place, Path::new("folder"), limits, 0).unwrap().0;
    here.store.flush().unwrap();
    let out = |port: &str, digest: Digest, ty: &str| OutputRow {
        port: port.into(),
        digest: digest.to_string(),
        ty: ty.into(),
        size: 1,
    };
    let new = NewRun { started_unix_ms: 1000, flow: "f.toml".into(), argv: vec!["run".into()] };
    let mut run = here.history.begin(&new).unwrap();
    run.write_all(EVENTS.as_bytes()).unwrap();
    let step = StepRow {
        cell: "load".into(),
        key: "k".into(),
        content: "c".into(),
        parts: "{}".into(),
        outcome: Outcome::Ok,
        reason: "never ran".into(),
        wall_ms: 1.5,
        meta: "{}".into(),
        origin: Origin::Made,
        inputs: Vec::new(),
        outputs: vec![out("folder", folder, "dir"), out("large", large, "file")],
    };
    run.record_steps(&[step]).unwrap();
    let kept = KeptRow {
        cell: "old".into(),
        key: "k2".into(),
        parts: "{}".into(),
        inputs: Vec::new(),
        outputs: vec![out("small", small, "int")],
    };
    run.record_kept(&[kept], &|_| "{}".to_owned()).unwrap();
    let id = run.id().to_owned();
    run.finish(&RunEnd { outcome: Outcome::Ok, wall_ms: 2.0, totals: "{}".into() }).unwrap();
    let row = here.history.find_run(&id).unwrap();
    let mut bytes = Vec::new();
    let told = here.history.export(&row, Some(&here.store), &mut bytes).unwrap();
    assert_eq!((told.steps, told.blobs, told.gone), (2, 4, 0));
    (here, id, bytes)
}

fn import(there: &Machine, bytes: &[u8]) -> Result<String, ImportRunError> {
    let path = there.root.path().join("run.tar");
    fs::write(&path, bytes).unwrap();
    there.history.import(&path, &there.store).map(|imported| imported.run)
}

fn nothing_is_left(there: &Machine) {
    assert_eq!(there.store.usage().unwrap().blobs, 0, "a blob was taken of what is not whole");
    assert!(there.history.runs(9).unwrap().is_empty());
    let runs = there.history.place().folder().join("runs");
    assert_eq!(fs::read_dir(runs).unwrap().count(), 0);
}

#[test]
fn another_machine_has_the_run_whole() {
    let (here, id, bytes) = exported();
    let there = machine();
    assert_eq!(import(&there, &bytes).unwrap(), id);
    assert_eq!(there.history.steps(&id).unwrap(), here.history.steps(&id).unwrap());
    assert_eq!(there.history.kept(&id).unwrap(), here.history.kept(&id).unwrap());
    let row = there.history.find_run(&id).unwrap();
    assert_eq!((row.home, row.wall_ms, row.flow.as_str()), (Home::Elsewhere, Some(2.0), "f.toml"));
    let mut events = String::new();
    there.history.read_events(&id).unwrap().read_to_string(&mut events).unwrap();
    assert_eq!(events, EVENTS);
    for output in &there.history.steps(&id).unwrap()[0].outputs {
        there.store.verify(&output.digest.parse().unwrap()).unwrap();
    }
    let folder: Digest = there.history.steps(&id).unwrap()[0].outputs[0].digest.parse().unwrap();
    let path = there.store.tree_path(&folder).unwrap().join("in-it");
    assert_eq!(fs::read(path).unwrap(), b"bytes of a file in a folder");
    assert!(is_exported_run(&there.root.path().join("run.tar")));
    // It is no word on why the cells of this project run, and not the latest run of it.
    assert!(there.history.previous_parts("f.toml").unwrap().is_empty());
    let new = NewRun { started_unix_ms: 500, flow: "f.toml".into(), argv: Vec::new() };
    let own = there.history.begin(&new).unwrap().id().to_owned();
    assert_eq!(import(&machine(), &bytes).unwrap(), id);
    assert_eq!(there.history.find_run("latest").unwrap().id, own);
    assert!(matches!(import(&there, &bytes), Err(ImportRunError::Known { .. })));
}

#[test]
fn a_file_that_ends_too_early_leaves_nothing() {
    let (_here, _, bytes) = exported();
    let there = machine();
    for end in (0..bytes.len() - 1024).step_by(4099) {
        let error = import(&there, &bytes[..end]).unwrap_err();
        match error {
            ImportRunError::Truncated { .. } => {}
            ImportRunError::Foreign { .. } => assert!(end < 2048, "{end}"),
            other => panic!("{end}: {other}"),
        }
        nothing_is_left(&there);
    }
}

#[test]
fn whatever_byte_is_changed_is_noticed_or_does_not_matter() {
    let (here, id, bytes) = exported();
    let expected = here.history.steps(&id).unwrap();
    // Where the blobs are already, what is in the file is looked at no less.
    let full = machine();
    assert_eq!(import(&full, &bytes).unwrap(), id);
    let full_again = |changed: &[u8]| {
        let again = History::open(&full.root.path().join("other"), &full.store).unwrap();
        let path = full.root.path().join("again.tar");
        fs::write(&path, changed).unwrap();
        again.import(&path, &full.store).is_ok()
    };
    fs::create_dir(full.root.path().join("other")).unwrap();
    for at in (0..bytes.len() - 1024).step_by(1009) {
        let there = machine();
        let mut changed = bytes.clone();
        changed[at] ^= 0x11;
        match import(&there, &changed) {
            // Padding: the manifest, the logs and the blobs are what they were.
            Ok(id) => {
                assert_eq!(there.history.steps(&id).unwrap(), expected, "{at}");
                let outputs = expected.iter().flat_map(|step| &step.outputs);
                for output in outputs {
                    there.store.verify(&output.digest.parse().unwrap()).unwrap();
                }
            }
            Err(_) => {
                nothing_is_left(&there);
                assert!(!full_again(&changed), "{at}");
            }
        }
    }
}

#[test]
fn what_is_no_exported_run_is_said_to_be_none() {
    let there = machine();
    for bytes in [&b""[..], b"{}", &[0; 4096], &[0xff; 4096]] {
        let error = import(&there, bytes).unwrap_err();
        assert!(matches!(error, ImportRunError::Foreign { .. }), "{error}");
    }
    let folder = there.history.import(there.root.path(), &there.store).unwrap_err();
    assert!(matches!(folder, ImportRunError::Foreign { .. }));
    let missing = there.history.import(Path::new("/nowhere"), &there.store).unwrap_err();
    assert!(matches!(missing, ImportRunError::Read { .. }));
    nothing_is_left(&there);
}

/// The manifest's text is changed and its header made right again.
fn with_manifest(bytes: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let octal = std::str::from_utf8(&bytes[124..135]).unwrap();
    let size = usize::from_str_radix(octal, 8).unwrap();
    let text = change(std::str::from_utf8(&bytes[512..512 + size]).unwrap());
    let mut out = bytes[..512].to_vec();
    out[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
    out[148..156].fill(b' ');
    let sum: u32 = out.iter().map(|byte| u32::from(*byte)).sum();
    out[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend(text.as_bytes());
    out.resize(out.len().next_multiple_of(512), 0);
    // Its digest is the next file.
    let rest = &bytes[512 + size.next_multiple_of(512)..];
    out.extend(&rest[..512]);
    let sum = Digest::of(text.as_bytes()).to_string();
    out.extend(sum.as_bytes());
    out.extend(&rest[512 + sum.len()..]);
    out
}

#[test]
fn manifests_that_lie_are_refused() {
    let (_here, id, bytes) = exported();
    let there = machine();
    assert_eq!(with_manifest(&bytes, str::to_owned), bytes);
    let refused = |change: &dyn Fn(&str) -> String| {
        let error = import(&there, &with_manifest(&bytes, change)).unwrap_err();
        nothing_is_left(&there);
        error.to_string()
    };
    // Without that, any change of it is damage.
    let mut changed = bytes.clone();
    let at = bytes.windows(7).position(|it| it == b"f.toml\"").unwrap();
    changed[at] = b'g';
    let error = import(&there, &changed).unwrap_err().to_string();
    assert!(error.contains("has not the digest in `manifest.sum`"), "{error}");
    nothing_is_left(&there);
    let newer = refused(&|text| text.replace("exported-run/1", "exported-run/2"));
    assert!(newer.contains("update polyloom"), "{newer}");
    for path in ["../../../../etc/x", "20261121-031833-ab/2", ""] {
        let error = refused(&|text| text.replace(&id, path));
        assert!(error.contains("no id of a run"), "{error}");
    }
    let fewer = refused(&|text| text.replace("\"blobs\": 4", "\"blobs\": 3"));
    assert!(fewer.contains("is not where it has to be"), "{fewer}");
    let more = refused(&|text| text.replace("\"blobs\": 4", "\"blobs\": 18446744073709551615"));
    assert!(more.contains("no name of a blob"), "{more}");
    let deep = refused(&|_| "[".repeat(500_000));
    assert!(deep.contains("is not a run"), "{deep}");
    let large = refused(&|_| " ".repeat(2 << 20));
    assert!(large.contains("too large"), "{large}");
}

#[test]
fn another_run_of_the_same_id_is_left_alone() {
    let (_here, id, bytes) = exported();
    let there = machine();
    let _ = import(&there, &bytes).unwrap();
    let log = there.history.run_folder(&id).join("events.jsonl");
    fs::write(&log, "{\"seq\":9}\n").unwrap();
    assert!(matches!(import(&there, &bytes), Err(ImportRunError::Taken { .. })));
    assert_eq!(fs::read_to_string(&log).unwrap(), "{\"seq\":9}\n");
}
