//! A live run from another terminal: watched, left, stopped; and runs that are not live.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

use polyloom_test_e2e::{Place, Running, eventually};
use rustix::process::Signal;

/// `first` ends, `long` says `ready` and sleeps.
fn place(then: &str) -> Place {
    Place::flow(&format!(
        r#"
[cells.first]
lang = "sh"
outputs = {{ x = "int" }}
code = 'echo first; echo 1 > $OUT/x'

[cells.long]
lang = "sh"
inputs = {{ x = "first.x" }}
code = '''
echo ready
sleep {then}
'''
"#
    ))
}

fn start(place: &Place) -> Running {
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("long", "ready");
    running
}

fn watch(place: &Place) -> Running {
    let mut watching = place.call(&["attach", "latest", "--format", "jsonl"]).start();
    watching.until_printed("long", "ready");
    watching
}

fn sockets(place: &Place) -> Vec<PathBuf> {
    let runs = place.project().join(".polyloom/runs").read_dir().unwrap();
    let sockets = runs.map(|run| run.unwrap().path().join("socket"));
    sockets.filter(|path| path.metadata().is_ok_and(|data| data.file_type().is_socket())).collect()
}

#[test]
fn two_watch_a_run_to_its_end_and_see_what_it_recorded() {
    let place = place("2; echo more; exit 3");
    let run = start(&place);
    assert_eq!(sockets(&place).len(), 1);
    let (one, two) =
        (watch(&place), place.call(&["attach", "latest", "--from", "3", "--format", "jsonl"]));
    let two = two.start();
    let text = place.call(&["attach", "latest"]).start();
    let ended = run.end().exits(1);
    assert_eq!(sockets(&place).len(), 0);
    let recorded = place.project().join(".polyloom/runs");
    let folder = recorded.read_dir().unwrap().next().unwrap().unwrap().path();
    let recorded = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let two = two.end().exits(1).stdout();
    assert!(recorded.ends_with(&two));
    assert_eq!(two.lines().count() + 2, recorded.lines().count());
    let one = one.end().exits(1).json_lines();
    assert_eq!(one.last().unwrap()["event"], "run.finished");
    assert!(ended.json_lines().ends_with(&one));
    let text = text.end().exits(1);
    let replay = place.polyloom(&["replay"]).exits(0);
    let failure = |text: &str| text.contains("cell `long` (sh): failed, exit code 3");
    assert!(failure(&text.stderr()) && failure(&replay.stderr()), "{}", text.screen());
    assert!(text.stderr().contains("long  │ more"), "{}", text.screen());
    // Who begins late has not seen which run it is.
    let late = place.polyloom(&["attach", "latest", "--from", "5"]).exits(1).stderr();
    let id = folder.file_name().unwrap().to_str().unwrap();
    assert!(late.contains(&format!("`polyloom logs {id} long`")), "{late}");
}

#[test]
fn ctrl_c_ends_the_watching_and_stop_ends_the_run() {
    let place = place("7207");
    let run = start(&place);
    let watching = watch(&place);
    watching.signal(Signal::INT);
    let left = watching.end().exits(130);
    assert!(left.stderr().starts_with("detached; run "), "{}", left.screen());
    let other = watch(&place);
    let stopped = place.polyloom(&["stop"]).exits(0);
    assert!(stopped.stderr().contains(": cancelled in "), "{}", stopped.screen());
    assert!(stopped.stderr().contains(": 1 ok, "), "{}", stopped.screen());
    let events = other.end().exits(130).json_lines();
    assert_eq!(events.last().unwrap()["outcome"], "cancelled");
    let _ = run.end().exits(130);
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn stop_now_ends_what_does_not_want_to() {
    let place = Place::flow(
        r#"
[cells.long]
lang = "bash"
code = '''
trap '' INT TERM
echo ready
while true; do sleep 3607; done
'''
"#,
    );
    let run = start(&place);
    // Asking twice is asking once; it does not become a second Ctrl-C.
    let asking = [place.call(&["stop"]).start(), place.call(&["stop"]).start()];
    let stopped = place.polyloom(&["stop", "--now"]).exits(0);
    assert!(stopped.took < Duration::from_secs(5), "{:?}", stopped.took);
    let _ = run.end().exits(130);
    for asking in asking {
        // One that came after the end has found nothing.
        let code = asking.end().code();
        assert!([0, 4].contains(&code), "{code}");
    }
}

#[test]
fn a_killed_run_is_no_obstacle() {
    let place = place("7208");
    let run = start(&place);
    let watching = watch(&place);
    run.signal(Signal::KILL);
    let _ = run.end().exits(137);
    let watched = watching.end().exits(130);
    assert!(watched.stderr().contains("this run was interrupted"), "{}", watched.screen());
    // Its socket is still there, and nobody is behind it.
    assert_eq!(sockets(&place).len(), 1);
    assert!(eventually(Duration::from_secs(1), || place.processes().is_empty()));
    let gone = place.polyloom(&["stop", "latest"]).exits(4);
    assert!(gone.stderr().contains("is not going on: interrupted"), "{}", gone.screen());
    let run = start(&place);
    assert_eq!(sockets(&place).len(), 2);
    let watching = watch(&place);
    let _ = place.polyloom(&["stop"]).exits(0);
    let _ = watching.end().exits(130);
    let _ = run.end().exits(130);
    assert_eq!(sockets(&place).len(), 1);
}

#[test]
fn a_run_that_has_ended_is_shown_as_replay_shows_it() {
    let place = place("0");
    let _ = place.polyloom(&["run"]).exits(0);
    let attached = place.polyloom(&["attach", "latest"]).exits(0);
    let replayed = place.polyloom(&["replay"]).exits(0);
    assert_eq!(attached.screen(), replayed.screen());
    let events = place.polyloom(&["attach", "latest", "--from", "3", "--format", "jsonl"]);
    assert_eq!(events.exits(0).json_lines()[0]["seq"], 3);
    for command in ["attach", "stop"] {
        let none = place.polyloom(&[command]).exits(4);
        assert!(none.stderr().contains("no run is going on in this project"), "{}", none.screen());
    }
}

#[test]
fn a_run_whose_folder_is_too_deep_for_a_socket_goes_on_without() {
    let place = place("7209");
    let deep = place.project().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    std::fs::rename(place.project().join("polyloom.toml"), deep.join("polyloom.toml")).unwrap();
    let flow = deep.to_str().unwrap();
    let mut run = place.call(&["run", "-v", "--events", "-", flow]).start();
    run.until_printed("long", "ready");
    let none = place.polyloom(&["stop", flow]).exits(3);
    assert!(none.stderr().contains("can't be reached"), "{}", none.screen());
    run.signal(Signal::INT);
    let ended = run.end().exits(130);
    assert!(ended.stderr().contains("note: nobody can attach to this run: "), "{}", ended.screen());
    assert!(ended.stderr().contains("is too long for a socket"), "{}", ended.screen());
}
