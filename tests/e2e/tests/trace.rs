//! `run --trace` and `replay --trace`: every cell that ran is there, with parts that make up its time.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;

use polyloom_test_e2e::Place;
use rustix::process::Signal;
use serde_json::Value;

/// A mixed flow: a worker, plain programs, a cell that needs two attempts, a map and what gathers it, and one that fails.
const FLOW: &str = r#"
[cells.list]
lang = "python"
outputs = { n = "list<int>" }
code = "n = [1, 2, 3]"

[cells.each]
lang = "sh"
map = { n = "list.n" }
outputs = { x = "int" }
code = 'sleep 0.0$n; echo $n > $OUT/x'

[cells.sum]
lang = "python"
inputs = { x = "each.x" }
outputs = { y = "int" }
code = "y = sum(x)"

[cells.twice]
lang = "sh"
retries = 1
code = 'exit 3'
"#;

fn entries(place: &Place, file: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&place.read(file)).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

fn of<'e>(entries: &'e [Value], ph: &str, cat: &str) -> Vec<&'e Value> {
    entries.iter().filter(|entry| entry["ph"] == ph && entry["cat"] == cat).collect()
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

fn span(entry: &Value) -> (f64, f64) {
    let from = entry["ts"].as_f64().unwrap();
    (from, from + entry["dur"].as_f64().unwrap())
}

/// Each cell's slices: no two of a track overlap, and their parts follow each other from their beginning to their end.
fn nests(entries: &[Value]) {
    let mut tracks: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for cell in of(entries, "X", "cell") {
        let (from, to) = span(cell);
        let mut at = from;
        for part in of(entries, "X", "part") {
            if part["tid"] == cell["tid"] && span(part).0 >= from && span(part).0 < to {
                assert!((span(part).0 - at).abs() < 0.1, "{part} in {cell} begins not at {at}");
                at = span(part).1;
            }
        }
        assert!((at - to).abs() < 0.1, "the parts of {cell} end at {at}");
        tracks.entry(cell["tid"].as_u64().unwrap()).or_default().push((from, to));
    }
    for mut spans in tracks.into_values() {
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0 + 0.1), "{spans:?}");
    }
}

#[test]
fn a_trace_has_every_cell_and_its_parts_make_up_its_time() {
    let place = Place::flow(FLOW);
    let run = place.run(&["-k", "--trace", "trace.json", "--events", "events.jsonl"]).exits(5);
    let found = entries(&place, "trace.json");
    nests(&found);
    let mut cells: Vec<_> = of(&found, "X", "cell").into_iter().map(name).collect();
    cells.sort_unstable();
    // Two attempts are two slices.
    let all = ["each", "each[n=1]", "each[n=2]", "each[n=3]", "list", "sum", "twice", "twice"];
    assert_eq!(cells, all);
    // The parts are the time that the result has.
    let text = place.read("events.jsonl");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (mut checked, mut last) = (0, String::new());
    for event in events.filter(|event| event["event"] == "step.finished") {
        let (at_ms, meta) = (event["at_ms"].as_f64().unwrap(), &event["meta"]);
        let times = meta["times"].as_object().unwrap();
        let part = |name: &str| times[name].as_f64().unwrap();
        let own = part("spawn_ms") + part("hello_ms") + part("run_ms");
        if event["lang"] != "gather" {
            let wall = meta["wall_ms"].as_f64().unwrap();
            assert!((own - wall).abs() < 0.01, "{event}");
        }
        let all: f64 = times.values().map(|value| value.as_f64().unwrap()).sum();
        assert!((all - at_ms).abs() < 0.01, "parts that end at {all}: {event}");
        let worker = event["lang"] == "python";
        assert_eq!(part("hello_ms") > 0.0, worker, "{event}");
        event["cell"].as_str().unwrap().clone_into(&mut last);
        checked += 1;
    }
    assert_eq!(checked, 7);
    let path = of(&found, "X", "critical");
    assert_eq!(path.last().map(|cell| name(cell)), Some(&*last));
    assert!(path.windows(2).all(|two| span(two[0]).1 <= span(two[1]).0 + 0.1), "{path:?}");
    assert_eq!(run.outcome("twice"), "failed");
    // Its recording makes the same one.
    let _ = place.polyloom(&["replay", "--trace", "again.json"]).exits(0);
    assert_eq!(entries(&place, "again.json"), found);
    // What stands takes no time.
    let _ = place.run(&["sum", "--trace", "trace.json"]).exits(0);
    let found = entries(&place, "trace.json");
    assert_eq!(of(&found, "X", "cell").len(), 0);
    let stood: Vec<_> = of(&found, "i", "cached").into_iter().map(name).collect();
    assert_eq!(stood, ["sum"]);
    let _ = place.run(&["sum", "--trace", "trace.json"]).exits(0);
    assert_eq!(of(&entries(&place, "trace.json"), "i", "cached").len(), 1);
}

#[test]
fn an_interrupted_run_leaves_a_whole_trace() {
    let flow = "[cells.long]\nlang = \"sh\"\ncode = 'echo ready; sleep 60'\n";
    for signals in [1, 2] {
        let place = Place::flow(flow);
        let args = ["run", "--events", "-", "--trace", "trace.json"];
        let mut running = place.call(&args).start();
        running.until_printed("long", "ready");
        for _ in 0..signals {
            running.signal(Signal::INT);
        }
        let _ = running.end().exits(130);
        let found = entries(&place, "trace.json");
        nests(&found);
        let cells = of(&found, "X", "cell");
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0]["args"]["outcome"], "cancelled");
    }
}

#[test]
fn a_trace_that_cannot_be_written_begins_no_run() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo a'\n");
    let names = [
        ("nosuch/trace.json", "can't be written"),
        ("-", "takes the name of a file"),
        ("events.jsonl", "beside something else"),
    ];
    for (name, why) in names {
        let run = place.polyloom(&["run", "--trace", name, "--events", "events.jsonl"]).exits(2);
        assert!(run.stderr().contains(why), "{}", run.stderr());
    }
    let runs = place.polyloom(&["runs", "--format", "json"]).exits(0).json();
    assert_eq!(runs["runs"].as_array().map_or(0, Vec::len), 0);
}

#[test]
fn the_runs_of_a_watch_follow_each_other_in_a_trace() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    place.write("a.sh", "echo one\n");
    let mut running =
        place.call(&["run", "--watch", "--events", "-", "--trace", "trace.json"]).start();
    running.until(|event| event["event"] == "watch.waiting");
    place.write("a.sh", "echo two\n");
    running.until_printed("a", "two");
    running.until(|event| event["event"] == "watch.waiting");
    let found = entries(&place, "trace.json");
    let cells = of(&found, "X", "cell");
    assert_eq!(cells.len(), 2);
    assert!(span(cells[0]).1 < span(cells[1]).0, "{cells:?}");
    running.signal(Signal::INT);
    let _ = running.end();
}
