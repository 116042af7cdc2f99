//! Sessions that the daemon keeps: their state outlives a run, is one process's at a time, and is changed from outside by name.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Place, eventually, needs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// A place with a daemon, which ends with this.
struct Kept(Place);

impl Kept {
    fn new(flow: &str) -> Self {
        let place = Place::flow(flow);
        // The first run of all has bytecode made, which is in view of the sessions that begin later.
        place
            .write("first/polyloom.toml", "[cells.a]\nlang = 'python'\nsession = 'x'\ncode = ''\n");
        let _ = place.polyloom(&["run", "first"]).exits(0);
        let _ = place.polyloom(&["daemon", "start"]).exits(0);
        Self(place)
    }

    fn sessions(&self) -> Vec<Value> {
        let list = self.0.polyloom(&["session", "list", "--format", "json"]).exits(0).json();
        list["sessions"].as_array().unwrap().clone()
    }

    fn only(&self) -> Value {
        let [one] = &self.sessions()[..] else { panic!("{:?}", self.sessions()) };
        one.clone()
    }

    /// Runs, and gives what `cell` printed and what was run again for it.
    fn run(&self, cell: &str) -> (String, Value) {
        let events = self.0.polyloom(&["run", "--events", "-"]).exits(0).json_lines();
        let mut ends =
            events.iter().filter(|it| it["event"] == "step.finished" && it["cell"] == cell);
        let meta = &ends.next().unwrap()["meta"];
        let printed = meta["stdout"]["text"].as_str().unwrap_or_default().trim().to_owned();
        (printed, meta["extras"]["replayed"].clone())
    }

    fn session(&self, words: &[&str]) -> polyloom_test_e2e::Ended {
        self.0.polyloom(&[&["session"], words].concat())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for one in self.sessions() {
            let _ = self.session(&["rm", one["name"].as_str().unwrap()]);
        }
        let _ = self.0.polyloom(&["daemon", "stop"]);
    }
}

const FLOW: &str = "[cells.a]\nlang = 'python'\nsession = 'main'\ncode = 'seen = [1]'\n\
                    [cells.b]\nlang = 'python'\nsession = 'main'\ncode = 'seen.append(2); print(seen)'\n";

#[test]
fn a_state_outlives_its_run_and_an_edit_goes_on_from_it() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    assert_eq!(kept.run("b"), ("[1, 2]".to_owned(), Value::Null));
    let before = kept.only();
    assert_eq!(
        (&before["name"], &before["cells"], &before["in_use"]),
        (&json!("main"), &json!(2), &json!(false))
    );
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    // Nothing had to be run again: the state before it was kept.
    assert_eq!(kept.run("b"), ("[1, 3]".to_owned(), Value::Null));
    assert_eq!(kept.only()["process"], before["process"]);
    kept.0.edit("polyloom.toml", "seen = [1]", "seen = [0]");
    assert_eq!(kept.run("b"), ("[0, 3]".to_owned(), Value::Null));
}

#[test]
fn a_shell_of_other_limits_deals_with_what_is_there() {
    needs!("python3", "nice");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let through = |words: &[&str]| {
        kept.0.call_through(&["nice", "-n", "7"], &[&["session"], words].concat()).end().exits(0)
    };
    assert!(through(&["snapshot", "main", "mine"]).stderr().contains("kept as `mine`"));
    assert!(through(&["restore", "main", "mine"]).stderr().contains("as it was kept as `mine`"));
    // A look makes no store where there is none.
    let none = kept.0.root().join("elsewhere");
    let listed = kept.0.call(&["session", "list"]).env("POLYLOOM_STORE", &none).end().exits(0);
    assert!(!none.exists(), "{}", listed.screen());
    std::fs::write(&none, "").unwrap();
    let listed = kept.0.call(&["session", "list"]).env("POLYLOOM_STORE", &none).end().exits(3);
    assert!(listed.stderr().contains("elsewhere/daemon`: Not a directory"), "{}", listed.stderr());
}

#[test]
fn a_session_is_kept_reset_gone_back_to_and_ended_by_name() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let key = kept.only()["key"].clone();
    let _ = kept.session(&["snapshot", "main", "mine"]).exits(0);
    let named =
        |one: &Value| one["snapshots"].as_array().unwrap().iter().any(|it| it["name"] == "mine");
    assert!(named(&kept.only()));
    let _ = kept.session(&["reset", "main"]).exits(0);
    assert_eq!((&kept.only()["cells"], &kept.only()["key"]), (&json!(0), &Value::Null));
    let _ = kept.session(&["restore", "main", "mine"]).exits(0);
    assert_eq!(kept.only()["key"], key);
    // It is known what state that is: an edit of the last cell goes on from the one before.
    kept.0.edit("polyloom.toml", "append(2)", "append(4)");
    assert_eq!(kept.run("b"), ("[1, 4]".to_owned(), Value::Null));
    let told = kept.session(&["restore", "main", "other"]).exits(2).stderr();
    let none = "error: session `main` has no snapshot `other`\nhint: valid: ";
    assert!(told.starts_with(none) && told.contains("`mine`"), "{told}");
    let _ = kept.session(&["forget", "main", "mine"]).exits(0);
    assert!(!named(&kept.only()));
    let _ = kept.session(&["forget", "main", "mine"]).exits(2);
    let told = kept.session(&["rm", "other"]).exits(2).stderr();
    assert!(told.contains("the daemon keeps no session `other`"), "{told}");
    let _ = kept.session(&["rm", "main"]).exits(0);
    assert_eq!(kept.sessions(), Vec::<Value>::new());
}

#[test]
fn a_snapshot_can_be_taken_under_its_name_again() {
    needs!("python3");
    // What was kept before takes a moment to end, as it has memory to give back.
    let large = FLOW.replace(
        "seen = [1]",
        "seen = [1]; large = bytearray(64 << 20); large[::4096] = bytes([1]) * 16384",
    );
    let kept = Kept::new(&large);
    kept.run("b");
    for _ in 0..4 {
        let _ = kept.session(&["snapshot", "main", "mine"]).exits(0);
        let _ = kept.session(&["restore", "main", "mine"]).exits(0);
    }
}

#[test]
fn a_session_whose_run_was_killed_in_a_cell_ends_and_the_next_run_begins_anew() {
    needs!("python3");
    let slow = FLOW.replace("print(seen)", "print(seen, flush=True); import time; time.sleep(60)");
    let kept = Kept::new(&slow);
    let run = kept.0.call(&["run"]).start();
    let used =
        || kept.sessions().first().is_some_and(|one| one["cells"] == 1 && one["in_use"] == true);
    assert!(eventually(SOON, used), "{:?}", kept.sessions());
    // Somebody else is told.
    let told = kept.session(&["reset", "main"]).exits(2).stderr();
    assert!(told.contains("has the session `main` now"), "{told}");
    run.signal(Signal::KILL);
    let _ = run.end();
    assert!(eventually(SOON, || kept.sessions().is_empty()), "{:?}", kept.sessions());
    kept.0.write("polyloom.toml", FLOW);
    assert_eq!(kept.run("b").0, "[1, 2]");
}

#[test]
fn a_cell_whose_session_ended_with_it_is_tried_again_in_a_new_one() {
    needs!("python3");
    for fails in ["raise ValueError('first')", "import os; os.kill(os.getpid(), 9)"] {
        let kept = Kept::new(&format!(
            "[cells.a]\nlang = 'python'\nsession = 'main'\nretries = {{ count = 1, delay = '10ms' }}\ncode = \"\"\"\nprint('tried')\n{fails}\n\"\"\"\n"
        ));
        let ended = kept.0.polyloom(&["run", "--events", "-"]).exits(1);
        let told = ended.stderr();
        let events = ended.json_lines();
        let tried = |it: &&Value| it["event"] == "log" && it["text"] == "tried\n";
        assert_eq!(events.iter().filter(tried).count(), 2, "{told}");
        assert!(!told.contains("can't be had"), "{told}");
        assert_eq!(kept.sessions(), Vec::<Value>::new());
    }
}

#[test]
fn a_session_whose_process_died_is_begun_anew_with_what_came_before() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let pid = kept.only()["process"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    assert!(eventually(SOON, || kept.sessions().is_empty()));
    kept.0.edit("polyloom.toml", "append(2)", "append(5)");
    assert_eq!(kept.run("b"), ("[1, 5]".to_owned(), json!(["a"])));
}

#[test]
fn a_session_with_other_limits_is_another_one() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let before = kept.only()["process"].clone();
    kept.0.edit("polyloom.toml", "append(2)", "append(6)");
    kept.0.edit("polyloom.toml", "code = 'seen = [1]'", "memory = '3GiB'\ncode = 'seen = [1]'");
    assert_eq!(kept.run("b"), ("[1, 6]".to_owned(), json!(["a"])));
    assert_ne!(kept.only()["process"], before);
}

#[test]
fn what_was_granted_stays_with_its_run() {
    needs!("python3");
    let flow =
        FLOW.replace("session = 'main'\n", "session = 'main'\nallow = { env = ['TOKEN'] }\n");
    let kept = Kept::new(&flow);
    let run = kept.0.call(&["run", "--allow-env=TOKEN"]).env("TOKEN", "x").end();
    let _ = run.exits(0);
    assert_eq!(kept.sessions(), Vec::<Value>::new());
}

#[test]
fn files_of_a_session_are_what_its_cells_left_whatever_came_between() {
    needs!("python3");
    let flow = FLOW.replace("seen = [1]", "open(\"log\", \"w\").write(\"a\")");
    let flow = flow.replace(
        "seen.append(2); print(seen)",
        "f = open(\"log\", \"a\"); f.write(\"b\"); f.close(); print(open(\"log\").read())",
    );
    let kept = Kept::new(&flow);
    assert_eq!(kept.run("b"), ("ab".to_owned(), Value::Null));
    kept.0.edit("polyloom.toml", "f.write(\"b\")", "f.write(\"c\")");
    // Memory could be gone back to, the file could not.
    assert_eq!(kept.run("b"), ("ac".to_owned(), json!(["a"])));
    let told = kept.session(&["snapshot", "main", "mine"]).exits(3).stderr();
    assert!(told.contains("can't be kept: it has files of its own, in `/cell/work`"), "{told}");
}

#[test]
fn a_process_that_a_cell_left_is_not_there_when_the_cell_is_undone() {
    needs!("python3");
    let flow =
        FLOW.replace("print(seen)", "import os; os.fork() or __import__(\"time\").sleep(600)");
    let kept = Kept::new(&flow);
    let _ = kept.run("b");
    let before = kept.only()["process"].clone();
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    // The state before the fork is had by another process, which knows nothing of it.
    assert_eq!(kept.run("b").1, json!(["a"]));
    assert_ne!(kept.only()["process"], before);
}

#[test]
fn files_that_came_after_a_snapshot_go_with_it() {
    needs!("python3");
    let flow =
        FLOW.replace("print(seen)", "import os; print(os.listdir(\".\")); open(\"x\", \"w\")");
    let kept = Kept::new(&flow);
    assert_eq!(kept.run("b"), ("[]".to_owned(), Value::Null));
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    assert_eq!(kept.run("b"), ("[]".to_owned(), Value::Null));
}

#[test]
fn a_prompt_goes_on_from_a_run_and_the_next_run_from_before_the_prompt() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let typed = |lines: &str| {
        let call = kept.0.call_through(
            &["sh", "-c", "printf '%s\\n' \"$LINES_TYPED\" | \"$@\"", "sh"],
            &["repl", "--session", "main"],
        );
        call.env("LINES_TYPED", lines).end().exits(0).stdout()
    };
    assert_eq!(typed("seen.append(9)\nprint(seen)"), "[1, 2, 9]\n");
    // It outlives the prompt, and is no cells' any more.
    assert_eq!(typed("print(seen)"), "[1, 2, 9]\n");
    assert_eq!(kept.only()["key"], Value::Null);
    kept.0.edit("polyloom.toml", "append(2)", "append(7)");
    assert_eq!(kept.run("b"), ("[1, 7]".to_owned(), Value::Null));
}

#[test]
fn every_command_has_one_form_for_programs() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let state = kept.0.project().join("state");
    let state = state.to_str().unwrap();
    let all = |words: &[&str]| {
        let document = kept.session(&[words, &["--format", "json"]].concat()).exits(0).json();
        let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let names = [
            "did", "file", "flow", "name", "of", "saved", "schema", "session", "snapshot",
            "unsaved",
        ];
        assert_eq!((keys, &document["schema"]), (names.to_vec(), &json!("polyloom.session/1")));
        assert_eq!(document["did"], words[0]);
        // What it is now is what `list` says of it.
        let now = kept.sessions().into_iter().find(|it| it["name"] == document["name"]);
        for key in ["cells", "key", "snapshots", "process", "in_use"] {
            assert_eq!(document["session"][key], now.clone().unwrap_or_default()[key], "{words:?}");
        }
        document
    };
    assert_eq!(all(&["snapshot", "main", "mine"])["snapshot"], "mine");
    assert_eq!(all(&["restore", "main", "mine"])["snapshot"], "mine");
    assert_eq!(all(&["forget", "main", "mine"])["snapshot"], "mine");
    let saved = all(&["save", "main", state]);
    assert_eq!((&saved["saved"], &saved["file"]), (&json!(["seen"]), &json!(state)));
    let fork = all(&["fork", "main", "other"]);
    assert_eq!((&fork["name"], &fork["of"]), (&json!("other"), &json!("main")));
    assert_eq!(all(&["reset", "main"])["session"]["cells"], 0);
    let loaded = all(&["load", "main", state]);
    assert_eq!((&loaded["saved"], &loaded["unsaved"]), (&json!(["seen"]), &json!([])));
    assert_eq!(all(&["rm", "other"])["session"], Value::Null);
    let line = kept.session(&["list", "--format", "jsonl"]).exits(0).stdout();
    assert_eq!(line.lines().count(), 1, "{line}");
    // What goes wrong is told as by every command.
    let wrong = kept.session(&["rm", "other", "--format", "json"]).exits(2);
    assert_eq!(wrong.stdout(), "");
    assert!(wrong.stderr().starts_with("error: the daemon keeps no session `other`\nhint: "));
}

/// A flow whose interpreter is one of its own, below `/tmp` as the place is.
fn with_interpreter() -> Kept {
    let place = Place::new();
    let made = std::process::Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(place.project().join("env"))
        .status();
    assert!(made.unwrap().success());
    let chosen = "[executors.python]\npython = 'env/bin/python'\n";
    place.write("polyloom.toml", format!("{chosen}{FLOW}"));
    let _ = place.polyloom(&["daemon", "start"]).exits(0);
    Kept(place)
}

#[test]
fn an_interpreter_below_tmp_is_no_file_of_the_session() {
    needs!("python3");
    let kept = with_interpreter();
    kept.run("b");
    let process = kept.only()["process"].clone();
    let _ = kept.session(&["snapshot", "main", "mine"]).exits(0);
    let _ = kept.session(&["reset", "main"]).exits(0);
    let _ = kept.session(&["restore", "main", "mine"]).exits(0);
    assert_eq!(kept.only()["process"], process);
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    assert_eq!(kept.run("b"), ("[1, 3]".to_owned(), Value::Null));
}

#[test]
fn the_first_edit_with_a_new_interpreter_runs_nothing_again() {
    needs!("python3");
    let kept = with_interpreter();
    // Its bytecode is made meanwhile, and is in view of what begins later.
    assert_eq!(kept.run("b"), ("[1, 2]".to_owned(), Value::Null));
    let process = kept.only()["process"].clone();
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    assert_eq!(kept.run("b"), ("[1, 3]".to_owned(), Value::Null));
    assert_eq!(kept.only()["process"], process);
}

#[test]
fn a_session_of_another_folder_is_ended_only_where_that_is_said() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    kept.run("b");
    let elsewhere = kept.0.root().join("home");
    let rm = |more: &[&str]| {
        kept.0.call(&[&["session", "rm", "main"], more].concat()).cwd(&elsewhere).end()
    };
    let told = rm(&[]).exits(2).stderr();
    assert!(told.contains("nobody was asked whether the session `main` of `"), "{told}");
    assert!(told.contains("hint: `--yes`, or `--flow "), "{told}");
    assert_eq!(kept.sessions().len(), 1);
    // Where there is a flow, its own session is meant, whether it is there or not.
    kept.0.write("other/polyloom.toml", FLOW);
    let (other, key) = (kept.0.project().join("other"), kept.only()["key"].clone());
    for words in [&["reset", "main"][..], &["restore", "main", "x"], &["save", "main", "it"]] {
        let told = kept.0.call(&[&["session"], words].concat()).cwd(&other).end().exits(2).stderr();
        assert!(told.contains("not of the flow here\nhint: --flow "), "{told}");
    }
    assert_eq!(kept.only()["key"], key);
    let _ = rm(&["--yes"]).exits(0);
    kept.run("b");
    let flow = kept.0.project().join("polyloom.toml");
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    kept.run("b");
    let _ = rm(&["--flow", flow.to_str().unwrap()]).exits(0);
    assert_eq!(kept.sessions(), Vec::<Value>::new());
}

#[test]
fn a_prompt_finds_the_language_of_a_session_that_there_is() {
    needs!("python3", "node");
    let kept =
        Kept::new("[cells.a]\nlang = 'javascript'\nsession = 'main'\ncode = 'const x = 42'\n");
    kept.run("a");
    let typed =
        |args: &[&str]| kept.0.call(&[&["repl", "--session"], args].concat()).typed("x\n").end();
    assert_eq!(typed(&["main"]).exits(0).stdout(), "42\n");
    let told = typed(&["main", "--lang", "python"]).exits(2).stderr();
    assert!(
        told.contains("the session `main` is one of `javascript`\nhint: --lang javascript"),
        "{told}"
    );
    // A new one is one of Python, and says that it is new.
    let told = typed(&["other"]).exits(1).stderr();
    assert!(told.contains("NameError"), "{told}");
    let note = |name| format!("note: the daemon keeps no session `{name}`: this one is new;");
    assert!(told.contains(&note("other")), "{told}");
    assert!(!typed(&["main"]).exits(0).stderr().contains(&note("main")));
}

#[test]
fn a_session_that_can_not_be_kept_says_so_of_its_executor() {
    needs!("node");
    let kept = Kept::new("[cells.a]\nlang = 'javascript'\nsession = 'main'\ncode = 'let x = 1'\n");
    kept.run("a");
    let told = kept.session(&["snapshot", "main", "mine"]).exits(3).stderr();
    let why =
        "session `main` can't be kept: its executor can't keep states\nhint: `polyloom doctor`";
    assert!(told.contains(why), "{told}");
}

#[test]
fn a_daemon_says_what_it_keeps() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    let status = || kept.0.polyloom(&["daemon", "status"]).exits(0).stdout();
    assert!(status().contains("it ends after 1h00m without a run\n"), "{}", status());
    kept.run("b");
    let told = "it keeps 1 session (`polyloom session list`), and ends after 1h00m without a run once there are none\n";
    assert!(status().contains(told), "{}", status());
}

#[test]
fn a_watch_that_ends_leaves_the_session_to_the_daemon() {
    needs!("python3");
    let kept = Kept::new(FLOW);
    let mut watch = kept.0.call(&["run", "--watch", "--events", "-"]).start();
    let is_over = |event: &Value| event["event"] == "run.finished";
    watch.until(is_over);
    kept.0.edit("polyloom.toml", "append(2)", "append(3)");
    watch.until_printed("b", "[1, 3]");
    watch.until(is_over);
    let process = kept.only()["process"].clone();
    watch.signal(Signal::INT);
    let _ = watch.end().exits(130);
    assert_eq!(kept.only()["process"], process);
    assert_eq!(kept.only()["in_use"], json!(false));
}

#[test]
fn a_session_more_than_the_daemon_keeps_ends_with_its_run() {
    needs!("python3");
    let one =
        |at| format!("[cells.c{at}]\nlang = 'python'\nsession = 's{at}'\ncode = 'x = {at}'\n");
    let kept = Kept::new(&(0..33).map(one).collect::<String>());
    let _ = kept.0.polyloom(&["run"]).exits(0);
    assert_eq!(kept.sessions().len(), 32);
    // Who asks for another one is told.
    let full = "the daemon keeps 32 sessions, which is the most\nhint: `polyloom session list`";
    let repl = kept.0.call(&["repl", "--session", "other"]).typed("1").end().exits(1).stderr();
    assert!(repl.contains(full), "{repl}");
    let fork = kept.session(&["fork", "s0", "other"]).exits(3).stderr();
    assert!(fork.contains(full), "{fork}");
}

#[test]
fn nothing_of_a_session_runs_while_nobody_has_it() {
    needs!("python3");
    let code = "import os, threading; spin = lambda: [None for _ in iter(int, 1)]; threading.Thread(target=spin, daemon=True).start(); os.fork() or spin()";
    let kept = Kept::new(&FLOW.replace("print(seen)", code));
    let _ = kept.0.polyloom(&["run"]).exits(0);
    let first = kept.only()["process"].as_u64().unwrap();
    let read = |pid: u64, name: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
    };
    let below = || {
        let (mut all, mut open) = (Vec::new(), vec![first]);
        while let Some(pid) = open.pop() {
            let children = read(pid, &format!("task/{pid}/children"));
            let children = children.split_whitespace().map(|it| it.parse::<u64>().unwrap());
            open.extend(children.clone());
            all.extend(children);
        }
        all
    };
    let is_stopped = |pid: &u64| {
        let stat = read(*pid, "stat");
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    assert!(below().len() >= 3, "{:?}", below());
    assert!(eventually(SOON, || below().iter().all(is_stopped)));
    let list = kept.session(&["list"]).exits(0).stdout();
    assert!(list.contains("stopped"), "{list}");
    // Who has it finds it as it was.
    kept.0.write(
        "polyloom.toml",
        &(FLOW.replace("print(seen)", code)
            + "[cells.c]\nlang = 'python'\nsession = 'main'\ncode = 'print(seen)'\n"),
    );
    assert_eq!(kept.run("c"), ("[1, 2]".to_owned(), Value::Null));
}

#[test]
fn without_a_daemon_it_is_said_that_there_is_none() {
    let place = Place::new();
    let list = place.polyloom(&["session", "list"]).exits(0).stdout();
    assert!(list.starts_with("no daemon runs"), "{list}");
    let told = place.polyloom(&["session", "reset", "main"]).exits(2).stderr();
    assert!(told.contains("no daemon runs: sessions end with their run then"), "{told}");
}
