//! What was made of what, results that stood, and histories of older versions.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use polyloom_protocol::meta::Outcome;
use polyloom_store::{
    History, InputRow, KeptRow, NewRun, Origin, OutputRow, Retention, RunEnd, RunWriter, StepRow,
    Store,
};

fn open(root: &Path) -> Arc<History> {
    let project = root.join("project");
    fs::create_dir_all(&project).unwrap();
    Arc::new(History::open(&project, &Store::open(root.join("store")).unwrap()).unwrap())
}

fn begin(history: &Arc<History>, at: u64) -> RunWriter {
    let (flow, argv) = ("polyloom.toml".to_owned(), Vec::new());
    history.begin(&NewRun { started_unix_ms: at * 1000, flow, argv }).unwrap()
}

fn finish(run: RunWriter) {
    let end = RunEnd { outcome: Outcome::Ok, wall_ms: 1.0, totals: "{}".into() };
    run.finish(&end).unwrap();
}

fn out(port: &str, digest: &str) -> OutputRow {
    OutputRow { port: port.into(), digest: digest.into(), ty: "int".into(), size: 1 }
}

fn step(cell: &str, key: &str, inputs: &[(&str, &str, &str)], outputs: &[OutputRow]) -> StepRow {
    let input = |(port, source, digest): &(&str, &str, &str)| InputRow {
        port: (*port).into(),
        source: (*source).into(),
        digest: Some((*digest).into()),
    };
    StepRow {
        cell: cell.into(),
        key: key.into(),
        content: format!("content of {key}"),
        parts: "{}".into(),
        outcome: Outcome::Ok,
        reason: String::new(),
        wall_ms: 1.0,
        meta: "{}".into(),
        origin: Origin::Made,
        inputs: inputs.iter().map(input).collect(),
        outputs: outputs.to_vec(),
    }
}

#[test]
fn what_was_made_of_what_is_found_by_digest() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let run = begin(&history, 1);
    let load = step("load", "k1", &[("raw", "file:a.csv", "b3:f1")], &[out("x", "b3:aa01")]);
    let stats = step("stats", "k2", &[("x", "load.x", "b3:aa01")], &[out("mean", "b3:aa02")]);
    run.record_steps(&[load.clone(), stats.clone()]).unwrap();
    let id = run.id().to_owned();
    finish(run);
    assert_eq!(history.step(&id, "stats").unwrap(), Some(stats));
    assert_eq!(history.steps(&id).unwrap()[0], load);
    assert_eq!(history.made("b3:aa01").unwrap()[0].cell, "load");
    assert_eq!(history.taken("b3:aa01").unwrap()[0].source, "load.x");
    assert_eq!(history.taken("b3:f1").unwrap()[0].cell, "load");
    assert_eq!(history.digests("b3:aa", 9).unwrap(), ["b3:aa01", "b3:aa02"]);
    assert_eq!(history.digests("b3:f", 9).unwrap(), ["b3:f1"]);
}

/// Cells `a` of runs one after the other: made with these keys (and found where the key is given in brackets), or kept.
#[test]
fn what_a_cached_cell_has_is_credited_to_the_run_that_made_it() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let record = |at: u64, rows: &[StepRow], kept: &[KeptRow]| {
        let run = begin(&history, at);
        run.record_steps(rows).unwrap();
        run.record_kept(kept, &|_| "{}".to_owned()).unwrap();
        let id = run.id().to_owned();
        finish(run);
        id
    };
    let one = || step("a", "k1", &[], &[out("n", "b3:01")]);
    let two = || step("a", "k2", &[], &[out("n", "b3:02")]);
    let kept = |key: &str, digest: &str| KeptRow {
        cell: "a".into(),
        key: key.into(),
        parts: "{}".into(),
        inputs: Vec::new(),
        outputs: vec![out("n", digest)],
    };
    let first = record(1, &[one()], &[]);
    let second = record(2, &[two()], &[]);
    let back = record(3, &[], &[kept("k1", "b3:01")]);
    // By the content of its inputs, under a key of its own; kept afterwards.
    let found = StepRow { key: "k3".into(), origin: Origin::Found, ..one() };
    let cutoff = record(4, &[found], &[]);
    let after = record(5, &[], &[kept("k3", "b3:01")]);
    // Forced, with the same and with other bytes.
    let forced = record(6, &[one()], &[]);
    let last = record(7, &[], &[kept("k1", "b3:01")]);
    let foreign = record(8, &[], &[kept("k1", "b3:09")]);
    let ran = |run: &str| history.maker(run, "a").unwrap().unwrap().run;
    assert_eq!(ran(&first), Some(first.clone()));
    assert_eq!(ran(&second), Some(second.clone()));
    for run in [&back, &cutoff, &after] {
        assert_eq!(ran(run), Some(first.clone()), "{run}");
    }
    assert_eq!(ran(&last), Some(forced));
    assert_eq!(ran(&foreign), None);
    assert_eq!(history.maker(&first, "b").unwrap(), None);
    // A cell without outputs says by its whole result that it was found.
    let quiet = StepRow { meta: r#"{"outcome":"cached"}"#.into(), ..step("q", "k4", &[], &[]) };
    let made = record(9, &[StepRow { meta: "{}".into(), ..quiet.clone() }], &[]);
    let found = record(10, &[quiet], &[]);
    assert_eq!(history.maker(&found, "q").unwrap().unwrap().run, Some(made));
    // Another cell made the same since: it is credited by cells that never did. What came into them is their own.
    let other = record(11, &[StepRow { cell: "z".into(), ..two() }], &[]);
    let own = InputRow { port: "p".into(), source: "file:own".into(), digest: None };
    let never =
        StepRow { cell: "y".into(), origin: Origin::Found, inputs: vec![own.clone()], ..two() };
    let both = record(12, &[never], &[kept("k2", "b3:02")]);
    assert_eq!(ran(&both), Some(second));
    let made = history.maker(&both, "y").unwrap().unwrap();
    assert_eq!((made.run, made.by.as_str(), made.beside), (Some(other), "z", both));
    assert_eq!((made.step.cell.as_str(), made.step.inputs), ("y", vec![own]));
}

#[test]
fn what_was_found_was_not_made() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let run = begin(&history, 1);
    let found = StepRow { origin: Origin::Found, ..step("load", "k", &[], &[out("x", "b3:01")]) };
    run.record_steps(&[found]).unwrap();
    let step = history.step(run.id(), "load").unwrap().unwrap();
    assert_eq!(History::outcome_of(&step), Outcome::Cached);
    assert!(history.made("b3:01").unwrap().is_empty());
}

#[test]
fn the_last_of_a_cell_is_its_attempt_or_what_stood_since() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let kept = |cell: &str, key: &str| KeptRow {
        cell: cell.into(),
        key: key.into(),
        parts: String::new(),
        inputs: Vec::new(),
        outputs: vec![out("n", "b3:01")],
    };
    let mut at = 0;
    let mut record = |rows: &[StepRow], kept: &[KeptRow]| {
        at += 1;
        let run = begin(&history, at);
        run.record_steps(rows).unwrap();
        run.record_kept(kept, &|at| format!("parts of {}", kept[at].key)).unwrap();
        let id = run.id().to_owned();
        finish(run);
        id
    };
    let last = |cell: &str| {
        let last = history.last("polyloom.toml", &[cell]).unwrap().remove(cell).unwrap();
        // One cell, or several: the same.
        assert_eq!(history.last("polyloom.toml", &["a", "b"]).unwrap()[cell], last);
        (last.run, last.outcome, last.key)
    };
    let first = record(&[step("a", "k1", &[], &[]), step("b", "k1", &[], &[])], &[]);
    let second = record(&[step("a", "k2", &[], &[])], &[kept("b", "k1")]);
    assert_eq!(last("a"), (second.clone(), Outcome::Ok, "k2".to_owned()));
    assert_eq!(last("b"), (second.clone(), Outcome::Cached, "k1".to_owned()));
    // Back to the first edit: what stood is newer than the attempt at the second.
    let third = record(&[], &[kept("a", "k1"), kept("b", "k1")]);
    assert_eq!(last("a"), (third.clone(), Outcome::Cached, "k1".to_owned()));
    // A run with other cells, and one of the same once more.
    let _ = record(&[step("c", "k1", &[], &[])], &[]);
    assert_eq!(last("a").0, third);
    let fifth = record(&[], &[kept("a", "k1"), kept("b", "k1")]);
    assert_eq!(last("b").0, fifth);
    let sixth = record(&[step("a", "k2", &[], &[])], &[]);
    assert_eq!(last("a"), (sixth, Outcome::Ok, "k2".to_owned()));
    assert_eq!(last("b").0, fifth);
    assert!(history.last("other.toml", &["a"]).unwrap().is_empty());
    assert_ne!(first, second);
}

#[test]
fn results_that_stood_are_kept_once_and_go_with_their_last_run() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let rows: Vec<KeptRow> = (0..3)
        .map(|at| KeptRow {
            cell: format!("c{at}"),
            key: format!("k{at}"),
            parts: String::new(),
            inputs: Vec::new(),
            outputs: vec![out("x", "b3:01")],
        })
        .collect();
    let asked = std::cell::Cell::new(0);
    let parts = |at: usize| {
        asked.set(asked.get() + 1);
        format!("{{\"{at}\":1}}")
    };
    let mut ids = Vec::new();
    for at in 1..=3 {
        let run = begin(&history, at);
        run.record_kept(&rows[..2], &parts).unwrap();
        run.record_kept(&rows[2..], &parts).unwrap();
        ids.push(run.id().to_owned());
        finish(run);
    }
    assert_eq!(asked.get(), 3, "the parts of what is known are not asked for again");
    let kept = history.kept(&ids[2]).unwrap();
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[1], KeptRow { parts: "{\"1\":1}".into(), ..rows[1].clone() });
    assert_eq!(history.kept_step(&ids[0], "c2").unwrap().unwrap().key, "k2");
    assert!(history.kept_step(&ids[0], "c3").unwrap().is_none());
    let run = begin(&history, 4);
    run.record_kept(&rows[..1], &parts).unwrap();
    let last = run.id().to_owned();
    finish(run);
    let one = Retention { runs: 1.try_into().unwrap(), since_unix_ms: 0 };
    assert_eq!(history.prune(&one).unwrap(), 3);
    assert_eq!(history.kept(&last).unwrap().len(), 1);
    assert!(history.kept(&ids[0]).unwrap().is_empty());
    let run = begin(&history, 5);
    run.record_kept(&rows, &parts).unwrap();
    assert_eq!(asked.get(), 5, "two had gone");
}

#[test]
fn a_run_that_keeps_other_outputs_under_the_same_key_is_not_taken_for_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let row = |digest: &str| KeptRow {
        cell: "c".to_owned(),
        key: "k".to_owned(),
        parts: String::new(),
        inputs: Vec::new(),
        outputs: vec![out("x", digest)],
    };
    let mut ids = Vec::new();
    for (at, digest) in ["b3:01", "b3:02", "b3:01"].into_iter().enumerate() {
        let run = begin(&history, at as u64 + 1);
        run.record_kept(&[row(digest)], &|_| "{}".to_owned()).unwrap();
        ids.push(run.id().to_owned());
        finish(run);
    }
    let digests: Vec<String> =
        ids.iter().map(|id| history.kept(id).unwrap()[0].outputs[0].digest.clone()).collect();
    assert_eq!(digests, ["b3:01", "b3:02", "b3:01"]);
}

/// The index as the first version wrote it.
const FIRST: &str = "
CREATE TABLE runs (
    id TEXT PRIMARY KEY, started INTEGER NOT NULL, flow TEXT NOT NULL, argv TEXT NOT NULL,
    outcome TEXT, wall REAL, totals TEXT);
CREATE INDEX runs_by_start ON runs (started);
CREATE TABLE steps (
    run TEXT NOT NULL, cell TEXT NOT NULL, key TEXT NOT NULL, parts TEXT NOT NULL, outcome TEXT NOT NULL,
    reason TEXT NOT NULL, wall REAL NOT NULL, meta TEXT NOT NULL, PRIMARY KEY (run, cell));
CREATE TABLE latest (
    flow TEXT NOT NULL, cell TEXT NOT NULL, run TEXT NOT NULL, outcome TEXT NOT NULL,
    key TEXT NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (flow, cell)) WITHOUT ROWID;
INSERT INTO runs VALUES ('20260101-000000-aaaa', 1, 'polyloom.toml', '[]', 'ok', 1.0, '{}');
INSERT INTO steps VALUES ('20260101-000000-aaaa', 'load', 'k', '{}', 'ok', '', 1.0,
    '{\"outcome\":\"ok\",\"artifacts\":{\"x\":{\"digest\":\"b3:01\",\"type\":\"int\",\"size\":1},\"bad\":7,\"worse\":{}}}');
INSERT INTO steps VALUES ('20260101-000000-aaaa', 'torn', 'k', '{}', 'ok', '', 1.0, '{\"outco');
PRAGMA user_version = 1;
";

#[test]
fn a_history_of_the_first_version_is_brought_up_to_date() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("project/.polyloom");
    fs::create_dir_all(&folder).unwrap();
    let index = rusqlite::Connection::open(folder.join("index.db")).unwrap();
    index.execute_batch(FIRST).unwrap();
    drop(index);
    let history = open(root.path());
    let made = history.made("b3:01").unwrap();
    assert_eq!((made.len(), &*made[0].cell, &*made[0].output.port), (1, "load", "x"));
    assert_eq!(history.steps("20260101-000000-aaaa").unwrap().len(), 2);
    assert_eq!(history.find_run("latest").unwrap().id, "20260101-000000-aaaa");
}
