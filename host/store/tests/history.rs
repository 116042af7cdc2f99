//! A project's history: runs that end, runs that die, and finding one by what a person types.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use polyloom_protocol::meta::Outcome;
use polyloom_store::{
    FindError, HISTORY_VERSION, History, HistoryError, HistoryPlace, NewRun, Origin, Retention,
    RunEnd, RunState, StepRow, Store,
};

const START: u64 = 1_795_231_113_000;

fn open(root: &Path) -> Arc<History> {
    let project = root.join("project");
    fs::create_dir_all(&project).unwrap();
    Arc::new(History::open(&project, &Store::open(root.join("store")).unwrap()).unwrap())
}

fn new(at: u64) -> NewRun {
    NewRun { started_unix_ms: at, flow: "polyloom.toml".into(), argv: vec!["run".into()] }
}

fn step(cell: &str, outcome: Outcome, parts: &str) -> StepRow {
    StepRow {
        cell: cell.into(),
        key: "b3:00".into(),
        content: String::new(),
        parts: parts.into(),
        outcome,
        reason: "never ran".into(),
        wall_ms: 1.5,
        meta: "{}".into(),
        origin: Origin::Made,
        inputs: Vec::new(),
        outputs: Vec::new(),
    }
}

fn keep(runs: usize) -> Retention {
    Retention { runs: runs.try_into().unwrap(), since_unix_ms: 0 }
}

fn end() -> RunEnd {
    RunEnd { outcome: Outcome::Ok, wall_ms: 12.5, totals: "{\"ok\":1}".into() }
}

#[test]
fn a_run_is_listed_as_running_then_as_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    assert!(matches!(history.find_run("latest"), Err(FindError::None)));
    let mut run = history.begin(&new(START)).unwrap();
    let id = run.id().to_owned();
    assert!(id.starts_with("20261121-031833-") && id.len() == 20, "{id}");
    run.write_all(b"{\"seq\":1}\n{\"seq\":2}\n{\"se").unwrap();
    let watcher = open(root.path());
    assert_eq!(watcher.find_run("latest").unwrap().state, RunState::Running);
    let mut text = String::new();
    watcher.read_events(&id).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"seq\":1}\n{\"seq\":2}\n", "a torn line is left out");
    run.record_steps(&[step("load", Outcome::Ok, "{\"code\":\"1\"}")]).unwrap();
    run.finish(&end()).unwrap();
    let row = watcher.find_run(&id).unwrap();
    assert_eq!(row.state, RunState::Ended(Outcome::Ok));
    assert_eq!((row.wall_ms, row.argv), (Some(12.5), vec!["run".to_owned()]));
    assert_eq!(watcher.steps(&id).unwrap(), [step("load", Outcome::Ok, "{\"code\":\"1\"}")]);
    let ignore = fs::read_to_string(root.path().join("project/.polyloom/.gitignore")).unwrap();
    assert_eq!(ignore, "*\n");
}

#[test]
fn a_run_whose_writer_died_is_interrupted() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let run = history.begin(&new(START)).unwrap();
    let log = run.log().unwrap();
    drop(run);
    assert_eq!(history.find_run("latest").unwrap().state, RunState::Running, "a sink still writes");
    drop(log);
    assert_eq!(history.find_run("latest").unwrap().state, RunState::Interrupted);
    assert_eq!(history.runs(10).unwrap()[0].state.as_str(), "interrupted");
}

#[test]
fn two_runs_at_once_in_the_same_second_both_work() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (open(root.path()), open(root.path()));
    let (a, b) = (one.begin(&new(START)).unwrap(), two.begin(&new(START)).unwrap());
    assert_ne!(a.id(), b.id());
    for run in [&a, &b] {
        run.record_steps(&[step("load", Outcome::Ok, "{}")]).unwrap();
    }
    let last = b.id().to_owned();
    a.finish(&end()).unwrap();
    b.finish(&end()).unwrap();
    assert_eq!(one.runs(10).unwrap().len(), 2);
    assert_eq!(one.previous_parts("polyloom.toml").unwrap()["load"].run, last);
}

#[test]
fn runs_are_found_by_the_beginning_of_their_id() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let ids: Vec<_> = [START, START + 1000, START + 86_400_000]
        .map(|at| {
            let run = history.begin(&new(at)).unwrap();
            let id = run.id().to_owned();
            run.finish(&end()).unwrap();
            id
        })
        .into();
    assert_eq!(history.find_run("latest").unwrap().id, ids[2]);
    assert_eq!(history.find_run("latest~2").unwrap().id, ids[0]);
    assert_eq!(history.find_run("20261122").unwrap().id, ids[2]);
    assert_eq!(history.find_run(&ids[0]).unwrap().id, ids[0]);
    let error = history.find_run("20261121").unwrap_err().to_string();
    assert_eq!(
        error,
        format!("`20261121` is the beginning of several runs: {}, {}", ids[1], ids[0])
    );
    for text in ["", "%", "x\u{1b}[2J", "latest~3", "latest~x"] {
        let error = history.find_run(text).unwrap_err();
        assert!(matches!(error, FindError::Unknown { .. }), "{text}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[test]
fn the_latest_of_a_cell_is_its_last_attempt_not_a_skip() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let first = history.begin(&new(START)).unwrap();
    first.record_steps(&[step("load", Outcome::Failed, "{\"a\":1}")]).unwrap();
    first.finish(&end()).unwrap();
    let second = history.begin(&new(START + 1000)).unwrap();
    second.record_steps(&[step("load", Outcome::Skipped, "{}")]).unwrap();
    second.finish(&end()).unwrap();
    let previous = history.previous_parts("polyloom.toml").unwrap();
    assert_eq!(previous["load"].outcome, Outcome::Failed);
    assert_eq!(previous["load"].parts, "{\"a\":1}");
    assert!(history.previous_parts("other.toml").unwrap().is_empty());
}

#[test]
fn old_runs_are_pruned_and_the_reasons_stay() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let running = history.begin(&new(START - 1000)).unwrap();
    for i in 0..4 {
        let run = history.begin(&new(START + i * 1000)).unwrap();
        run.record_steps(&[step(&format!("c{i}"), Outcome::Ok, "{}")]).unwrap();
        run.finish(&end()).unwrap();
    }
    assert_eq!(history.prune(&keep(2)).unwrap(), 2);
    assert_eq!(history.runs(10).unwrap().len(), 3, "a living run stays however old");
    assert_eq!(fs::read_dir(history.place().folder().join("runs")).unwrap().count(), 3);
    assert_eq!(history.previous_parts("polyloom.toml").unwrap().len(), 4);
    drop(running);
}

#[test]
fn what_steps_have_in_common_is_kept_once_and_read_of_each() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let long = "x".repeat(1000);
    let parts = |at: usize| format!("{{\"code\":{at},\"toolchain\":\"{long}\"}}");
    let meta =
        |at: usize| format!("{{\"wall_ms\":{at},\"enforcement\":[\"{long}\"],\"policy\":null}}");
    let rows = |from: usize| (from..from + 3).map(move |at| (at, format!("c{at}")));
    let mut runs = Vec::new();
    for started in 0..2 {
        let run = history.begin(&new(START + 1000 * started)).unwrap();
        for from in [0, 3, 1] {
            let step = |(at, cell): (usize, String)| StepRow {
                meta: meta(at),
                ..step(&cell, Outcome::Ok, &parts(at))
            };
            run.record_steps(&rows(from).map(step).collect::<Vec<_>>()).unwrap();
        }
        runs.push(run.id().to_owned());
        run.finish(&end()).unwrap();
    }
    let index = rusqlite::Connection::open(history.place().folder().join("index.db")).unwrap();
    let count = |sql: &str| index.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM shared"), 4);
    assert_eq!(count("SELECT max(length(parts) + length(meta)) FROM steps"), 37);
    assert_eq!(count("SELECT sum(json_extract(meta, '$.wall_ms')) FROM steps"), 30);
    for run in &runs {
        let steps = history.steps(run).unwrap();
        assert_eq!(steps.len(), 6);
        for (at, step) in steps.iter().enumerate() {
            assert_eq!((&step.parts, &step.meta), (&parts(at), &meta(at)));
            assert_eq!(history.step(run, &step.cell).unwrap().as_ref(), Some(step));
        }
    }
    assert_eq!(history.prune(&keep(1)).unwrap(), 1);
    assert_eq!(count("SELECT count(*) FROM shared"), 2);
    assert_eq!(history.previous("polyloom.toml", "c5").unwrap().unwrap().parts, parts(5));
}

#[test]
fn a_project_that_cant_be_written_to_has_its_history_in_the_store() {
    let root = tempfile::tempdir().unwrap();
    let project = root.path().join("project");
    fs::create_dir_all(&project).unwrap();
    // A file in the folder's place: even root can't make the folder.
    fs::write(project.join(".polyloom"), "").unwrap();
    let history = open(root.path());
    let HistoryPlace::Store { folder, reason } = history.place() else { panic!("in the project") };
    assert!(folder.starts_with(root.path().canonicalize().unwrap().join("store")));
    assert!(reason.contains("can't make the folder"), "{reason}");
    history.begin(&new(START)).unwrap().finish(&end()).unwrap();
    assert_eq!(open(root.path()).runs(10).unwrap().len(), 1);
}

#[test]
fn a_newer_history_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let index = rusqlite::Connection::open(history.place().folder().join("index.db")).unwrap();
    index.pragma_update(None, "user_version", 9).unwrap();
    let store = Store::open(root.path().join("store")).unwrap();
    let error = History::open(&root.path().join("project"), &store).unwrap_err();
    assert!(
        matches!(error, HistoryError::Newer { found: 9, known: HISTORY_VERSION, .. }),
        "{error}"
    );
}

#[test]
fn a_clock_that_was_set_back_does_not_change_which_run_is_the_latest() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let day = 86_400_000;
    let ids: Vec<String> = [20 * day, 21 * day, 19 * day]
        .iter()
        .map(|at| {
            let run = history.begin(&new(*at)).unwrap();
            let id = run.id().to_owned();
            run.finish(&end()).unwrap();
            id
        })
        .collect();
    assert_eq!(history.find_run("latest").unwrap().id, ids[2]);
    assert_eq!(history.find_run("latest~1").unwrap().id, ids[1]);
    history.prune(&keep(1)).unwrap();
    assert_eq!(
        history.runs(9).unwrap().into_iter().map(|run| run.id).collect::<Vec<_>>(),
        ids[2..]
    );
}

#[test]
fn runs_are_pruned_by_age_and_the_newest_stays() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    for i in 0..3 {
        history.begin(&new(START + i * 1000)).unwrap().finish(&end()).unwrap();
    }
    let since = |since_unix_ms| Retention { since_unix_ms, ..keep(10) };
    assert_eq!(history.prune(&since(START + 1000)).unwrap(), 1);
    assert_eq!(history.prune(&since(START + 1_000_000)).unwrap(), 1);
    assert_eq!(history.runs(9).unwrap().len(), 1);
    // A folder that somebody removed by hand is no reason to fail.
    history.begin(&new(START + 5000)).unwrap().finish(&end()).unwrap();
    fs::remove_dir_all(history.place().folder().join("runs")).unwrap();
    assert_eq!(history.prune(&keep(1)).unwrap(), 1);
}

#[test]
fn the_log_of_a_run_is_carried_over_once_it_has_ended() {
    let root = tempfile::tempdir().unwrap();
    let history = open(root.path());
    let run = history.begin(&new(START)).unwrap();
    let index = root.path().join("project/.polyloom/index.db");
    let size = || fs::metadata(&index).unwrap().len();
    let before = size();
    for batch in 0..20 {
        let name = |at: usize| step(&format!("c{batch}-{at}"), Outcome::Ok, &"x".repeat(1000));
        run.record_steps(&(0..50).map(name).collect::<Vec<_>>()).unwrap();
        assert_eq!(size(), before, "batch {batch}");
    }
    run.finish(&end()).unwrap();
    assert!(size() > before + 1_000_000, "{} bytes", size());
    // Nobody has to read it again.
    assert_eq!(fs::metadata(index.with_extension("db-wal")).unwrap().len(), 0);
}
