//! The wall clock jumps by a day, forwards and back, while a run goes on and between runs.
//!
//! The real clock is left alone: a small library, loaded into the host only, shifts what the host is told.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use polyloom_test_e2e::{Call, Place, needs};

const DAY: i64 = 86_400;

/// Builds the library and gives the file that holds the shift.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(place: &Place) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clock.c");
        let library = place.root().join("clock.so");
        let mut gcc = Command::new("gcc");
        let built = gcc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success());
        let clock = Self { library, file: place.root().join("clock") };
        clock.set(0);
        clock
    }

    /// At once for whoever looks at a clock.
    fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, seconds.to_string()).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn call(&self, place: &Place, args: &[&str]) -> Call {
        place.call(args).env("LD_PRELOAD", &self.library).env("FAULT_CLOCK", &self.file)
    }
}

fn flow(nonce: &str) -> String {
    format!(
        "[cells.quick]\nlang = \"sh\"\noutputs = {{ x = \"int\" }}\ncode = 'echo 1 > $OUT/x # {nonce}'\n\
         [cells.steady]\nlang = \"sh\"\ntimeout = \"20s\"\ninputs = {{ x = \"quick.x\" }}\noutputs = {{ y = \"int\" }}\n\
         code = 'echo ready; sleep 0.7; echo 2 > $OUT/y'\n\
         [cells.endless]\nlang = \"sh\"\ntimeout = \"1s\"\ninputs = {{ x = \"quick.x\" }}\ncode = 'sleep 7205'\n"
    )
}

fn started(place: &Place, clock: &Clock) -> Vec<(String, i64)> {
    let runs = clock.call(place, &["runs", "--format", "json"]).end().exits(0).json();
    let rows = runs["runs"].as_array().unwrap().iter();
    rows.map(|row| {
        (row["run"].as_str().unwrap().to_owned(), row["started_unix_ms"].as_i64().unwrap())
    })
    .collect()
}

#[test]
fn limits_and_times_do_not_look_at_the_wall_clock() {
    needs!("gcc");
    for jump in [DAY, -DAY] {
        let place = Place::flow(&flow("a"));
        let clock = Clock::new(&place);
        let call = clock.call(&place, &["run", "-k", "-j", "4", "--events", "-"]);
        let mut running = call.start();
        running.until_printed("steady", "ready");
        clock.set(jump);
        let ended = running.end().exits(5);
        assert!(ended.took < Duration::from_secs(15), "{:?}", ended.took);
        let events = ended.json_lines();
        for (cell, outcome) in [("steady", "ok"), ("endless", "timed_out")] {
            let end = events
                .iter()
                .find(|event| event["event"] == "step.finished" && event["cell"] == cell)
                .unwrap();
            assert_eq!(end["meta"]["outcome"], outcome, "{jump}: {end}");
            let wall = end["meta"]["wall_ms"].as_f64().unwrap();
            assert!((600.0..15_000.0).contains(&wall), "{jump}: {cell} took {wall} ms");
        }
        let last = events.last().unwrap();
        assert!(last["at_ms"].as_f64().unwrap() < 30_000.0, "{last}");
        // What was finished before and after the jump is there, at this time and at the other.
        for shift in [jump, 0, -jump] {
            clock.set(shift);
            let run = clock.call(&place, &["run", "-k", "--format", "json", "quick", "steady"]);
            assert_eq!(run.end().run().exits(0).ran(), [""; 0], "{jump}, then {shift}");
        }
    }
}

#[test]
fn the_latest_run_is_the_last_one_whatever_the_clock_said() {
    needs!("gcc");
    let place = Place::flow(&flow("a"));
    let clock = Clock::new(&place);
    let mut last = None;
    for (at, shift) in [0, DAY, -DAY, 0].into_iter().enumerate() {
        clock.set(shift);
        let call = clock.call(&place, &["run", "-F", "--format", "json", "quick"]);
        let run = call.end().run().exits(0);
        let id = run.document["run"].as_str().unwrap().to_owned();
        let runs = started(&place, &clock);
        assert_eq!(runs.len(), at + 1);
        assert_eq!(runs[0].0, id, "the newest is first");
        let shown = clock.call(&place, &["show", "latest", "--format", "json"]).end().exits(0);
        assert_eq!(shown.json()["run"], id.as_str());
        last = Some(id);
    }
    // The library does shift.
    let runs = started(&place, &clock);
    assert!(runs[1].1 < runs[3].1 && runs[3].1 < runs[2].1, "{runs:?}");
    assert_eq!(Some(&runs[0].0), last.as_ref());
}

#[test]
fn a_changed_file_is_noticed_with_the_clock_behind() {
    needs!("gcc");
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ninputs = { f = \"file:f.txt\" }\noutputs = { x = \"file\" }\ncode = 'cat $f > $OUT/x'\n",
    );
    let clock = Clock::new(&place);
    for (shift, text) in [(0, "one"), (-DAY, "two"), (-DAY, "six"), (DAY, "ten"), (0, "one")] {
        clock.set(shift);
        place.write("f.txt", text);
        let run = clock.call(&place, &["run", "--format", "json"]).end().run().exits(0);
        assert_eq!(run.bytes("a", "x"), text.as_bytes(), "{shift}");
    }
}
