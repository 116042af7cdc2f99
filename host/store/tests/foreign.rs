//! A history that came with somebody's project: what it holds leads nowhere, does nothing and waits for nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_protocol::meta::Outcome;
use polyloom_store::{
    History, HistoryError, HistoryPlace, KeptRow, NewRun, Retention, RunEnd, Store,
};

struct Project {
    root: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("project")).unwrap();
        fs::create_dir_all(root.path().join("mine/kept")).unwrap();
        fs::write(root.path().join("mine/kept/file"), "dear").unwrap();
        Self { root }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn open(&self) -> Result<Arc<History>, HistoryError> {
        let store = Store::open(self.at("store")).unwrap();
        History::open(&self.at("project"), &store).map(Arc::new)
    }

    fn index(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.at("project/.polyloom/index.db")).unwrap()
    }

    /// Nothing of the user's has come or gone.
    fn is_unharmed(&self) {
        assert_eq!(fs::read(self.at("mine/kept/file")).unwrap(), b"dear");
        assert_eq!(names(&self.at("mine")), ["kept"]);
        assert_eq!(names(&self.at("mine/kept")), ["file"]);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn run(history: &Arc<History>, at: u64) -> String {
    let new = NewRun { started_unix_ms: at, flow: "polyloom.toml".into(), argv: Vec::new() };
    let writer = history.begin(&new).unwrap();
    let id = writer.id().to_owned();
    let end = RunEnd { outcome: Outcome::Ok, wall_ms: 1.0, totals: "{}".into() };
    writer.finish(&end).unwrap();
    id
}

fn prune(history: &History) {
    let keep = Retention { runs: 1.try_into().unwrap(), since_unix_ms: 0 };
    history.prune(&keep).unwrap();
}

#[test]
fn rows_name_no_folders_of_others() {
    let project = Project::new();
    let history = project.open().unwrap();
    let mine = project.at("mine");
    for id in [mine.to_str().unwrap(), "../../../mine", "..", ".", ""] {
        let row =
            "INSERT INTO runs (id, started, flow, argv, outcome) VALUES (?1, 1, 'f', '[]', 'ok')";
        project.index().execute(row, [id]).unwrap();
    }
    assert!(history.runs(9).unwrap().is_empty());
    let ids = [run(&history, 1_000_000), run(&history, 2_000_000)];
    assert_eq!(history.find_run("latest").unwrap().id, ids[1]);
    assert!(history.find_run("../").is_err());
    prune(&history);
    project.is_unharmed();
    assert_eq!(names(&project.at("project/.polyloom/runs")), ids[1..]);
    let rows = "SELECT count(*) FROM runs";
    let count: i64 = project.index().query_row(rows, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1, "such rows go with old runs");
}

#[test]
fn links_lead_nowhere() {
    for name in [
        ".polyloom",
        ".polyloom/runs",
        ".polyloom/opening",
        ".polyloom/index.db",
        ".polyloom/index.db-wal",
        ".polyloom/index.db-shm",
    ] {
        for target in ["mine", "mine/kept/file", "mine/new"] {
            let project = Project::new();
            let path = project.at("project").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(project.at(target), &path).unwrap();
            let history = project.open().unwrap();
            let place = history.place();
            assert!(matches!(place, HistoryPlace::Store { .. }), "{name} → {target}: {place:?}");
            run(&history, 1_000_000);
            run(&history, 2_000_000);
            prune(&history);
            project.is_unharmed();
        }
    }
    let project = Project::new();
    fs::create_dir_all(project.at("project/.polyloom")).unwrap();
    symlink(project.at("mine/new"), project.at("project/.polyloom/.gitignore")).unwrap();
    symlink(project.at("mine"), project.at("project/.polyloom/watches")).unwrap();
    let history = project.open().unwrap();
    assert!(history.own_folder("watches").is_err());
    project.is_unharmed();
    // A run's own folder and its files.
    let [first, second] = [1_000_000, 2_000_000].map(|at| run(&history, at));
    let runs = project.at("project/.polyloom/runs");
    fs::remove_dir_all(runs.join(&first)).unwrap();
    symlink(project.at("mine"), runs.join(&first)).unwrap();
    fs::remove_file(runs.join(&second).join("events.jsonl")).unwrap();
    symlink(project.at("mine/kept/file"), runs.join(&second).join("events.jsonl")).unwrap();
    assert!(history.read_events(&first).is_err());
    assert!(history.read_events(&second).is_err());
    prune(&history);
    project.is_unharmed();
}

#[test]
fn pipes_are_not_waited_for() {
    for name in ["opening", "index.db", "index.db-wal"] {
        let project = Project::new();
        let folder = project.at("project/.polyloom");
        fs::create_dir_all(&folder).unwrap();
        pipe(&folder.join(name));
        let history = project.open().unwrap();
        assert!(matches!(history.place(), HistoryPlace::Store { .. }), "{name}");
    }
    let project = Project::new();
    let history = project.open().unwrap();
    let id = run(&history, 1_000_000);
    let folder = project.at("project/.polyloom/runs").join(&id);
    fs::remove_file(folder.join("events.jsonl")).unwrap();
    pipe(&folder.join("events.jsonl"));
    assert!(history.read_events(&id).is_err());
}

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn an_index_does_nothing_of_its_own() {
    for bad in [
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM latest; END",
        "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
        "DROP TABLE latest; CREATE VIEW latest AS SELECT 1",
    ] {
        let project = Project::new();
        drop(project.open().unwrap());
        project.index().execute_batch(bad).unwrap();
        let error = project.open().unwrap_err();
        assert!(matches!(error, HistoryError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("move it away"), "{error}");
    }
}

#[test]
fn what_is_left_of_the_records_of_a_run_is_not_taken_for_all_of_them() {
    let project = Project::new();
    let history = project.open().unwrap();
    let new = |at| NewRun { started_unix_ms: at, flow: "f".into(), argv: Vec::new() };
    let mut writer = history.begin(&new(1_000_000)).unwrap();
    let id = writer.id().to_owned();
    let log = "{\"seq\":1,\"at_ms\":0.5,\"e\":1}\n{\"seq\":2,\"at_ms\":0.5,\"e\":2}\n{\"seq\":3,\"at_ms\":1.0,\"e\":3}\n";
    std::io::Write::write_all(&mut writer, log.as_bytes()).unwrap();
    let kept = KeptRow {
        cell: "a".into(),
        key: "k".into(),
        parts: String::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    writer.record_kept(&[kept], &|_| "{}".into()).unwrap();
    drop(writer);
    let known = history.keep_stood(&id).unwrap().unwrap();
    let stood = project.at("project/.polyloom/runs").join(&id).join("stood.jsonl");
    assert!(history.begin_again(&new(2_000_000), &known).unwrap().is_some());
    for damaged in ["", "\"e\":2}\n\"e\":4}\n"] {
        // Another file: the run after it has the first one under its own name.
        fs::remove_file(&stood).unwrap();
        fs::write(&stood, damaged).unwrap();
        let newest = history.begin_again(&new(3_000_000), &known).unwrap();
        assert!(newest.is_some(), "the newest has all of them");
    }
    for entry in fs::read_dir(project.at("project/.polyloom/runs")).unwrap() {
        fs::write(entry.unwrap().path().join("stood.jsonl"), "").unwrap();
    }
    let before = names(&project.at("project/.polyloom/runs")).len();
    assert!(history.begin_again(&new(4_000_000), &known).unwrap().is_none());
    assert_eq!(names(&project.at("project/.polyloom/runs")).len(), before, "it leaves nothing");
    // Kept once more, they are whole again.
    assert_eq!(history.keep_stood(&id).unwrap(), Some(known));
    assert_eq!(fs::read_to_string(&stood).unwrap(), "\"e\":2}\n");
}

#[test]
fn a_run_that_cant_be_listed_leaves_no_folder() {
    let project = Project::new();
    let history = project.open().unwrap();
    project.index().execute_batch("DROP TABLE runs").unwrap();
    let new = NewRun { started_unix_ms: 1_000_000, flow: "f".into(), argv: Vec::new() };
    assert!(history.begin(&new).is_err());
    assert!(names(&project.at("project/.polyloom/runs")).is_empty());
}
