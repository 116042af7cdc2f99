//! Terminals that go away, are not there, or say no word; streams that are closed.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::process::Stdio;

use polyloom_test_e2e::{Place, is_root, needs};
use polyloom_test_faults::after;
use serde_json::Value;

/// `first` ends; `long` says `ready`, heeds no signal, and sleeps `seconds`.
fn place(seconds: &str) -> Place {
    Place::flow(&format!(
        "[cells.first]\nlang = \"sh\"\noutputs = {{ x = \"int\" }}\ncode = 'echo 1 > $OUT/x'\n\
         [cells.long]\nlang = \"sh\"\ninputs = {{ x = \"first.x\" }}\n\
         code = '''\ntrap \"\" TERM INT HUP\necho ready\nsleep {seconds}\n'''\n"
    ))
}

/// What the helper did on a terminal, and what came of it.
fn on_a_terminal(place: &Place, what: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py");
    let ended = place.call_through(&["python3", script, what], &["run"]).end().exits(0);
    ended.json()
}

fn states(place: &Place) -> Vec<String> {
    let runs = place.polyloom(&["runs", "--format", "json"]).exits(0).json();
    let rows = runs["runs"].as_array().unwrap().iter();
    rows.map(|row| row["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_terminal_that_is_closed_ends_the_run_in_order() {
    needs!("python3");
    let place = place("7207");
    let facts = on_a_terminal(&place, "hangup");
    assert_eq!(facts["code"], 130, "{facts:#}");
    assert!(facts["took"].as_f64().unwrap() < 20.0, "{facts:#}");
    assert_eq!(place.processes(), [""; 0]);
    assert_eq!(states(&place), ["cancelled"]);
    place.edit("polyloom.toml", "7207", "0");
    assert_eq!(place.run(&[]).exits(0).told(), "first cached, long ok");
}

#[test]
fn ctrl_c_twice_ends_it_at_once_and_leaves_the_terminal_as_it_was() {
    needs!("python3");
    let place = place("7208");
    let facts = on_a_terminal(&place, "twice");
    assert_eq!(facts["code"], 130, "{facts:#}");
    assert_eq!(facts["restored"], true, "{facts:#}");
    assert!(facts["took"].as_f64().unwrap() < 10.0, "{facts:#}");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn ctrl_z_stops_the_host_and_it_goes_on_as_if_nothing_was() {
    needs!("python3");
    let place = place("0.5");
    let facts = on_a_terminal(&place, "stop");
    assert_eq!(facts["code"], 0, "{facts:#}");
    assert_eq!(facts["restored"], true, "{facts:#}");
    assert_eq!(states(&place), ["ok"]);
}

#[test]
fn closed_streams_change_nothing() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let place = place("0");
        let script = format!("exec \"$@\" {closed}");
        let ended = place.call_through(&["sh", "-c", &script, "sh"], &["run"]).end();
        assert_eq!(ended.code(), 0, "{closed}: {}", ended.screen());
        assert_eq!(states(&place), ["ok"], "{closed}");
        assert_eq!(place.run(&[]).exits(0).told(), "first cached, long cached", "{closed}");
    }
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    for format in ["--events=-", "--format=jsonl", "--format=json"] {
        let place = place("0.2");
        let script = "\"$@\" | head -n 1 > /dev/null";
        let ended = place.call_through(&["sh", "-c", script, "sh"], &["run", format]).end();
        assert!(!ended.stderr().contains("panicked"), "{}", ended.screen());
        assert_eq!(states(&place), ["ok"], "{format}");
        assert_eq!(place.run(&[]).exits(0).ran(), [""; 0], "{format}");
    }
}

#[test]
fn a_screen_that_nobody_reads_any_more_changes_nothing() {
    let place = place("0.2");
    let mut command = place.call(&["run"]).into_command();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(states(&place), ["ok"]);
}

#[test]
fn without_a_terminal_or_its_name() {
    needs!("setsid");
    let place = place("0");
    let _ = after(&place, "unset TERM", &["run", "-F"]).end().exits(0);
    let call = place.call_through(&["setsid", "--wait"], &["run", "-F", "--progress", "tty"]);
    let _ = call.end().exits(0);
    if is_root() {
        // Nobody has told it who and where it is.
        let words = ["env", "-i", "PATH=/usr/bin:/bin", "POLYLOOM_STORE=/nonexistent/store"];
        let ended = place.call_through(&words, &["check"]).end();
        assert!(!ended.stderr().contains("panicked"), "{}", ended.screen());
    }
}
