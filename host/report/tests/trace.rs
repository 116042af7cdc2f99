//! The trace of a run, as a program reads it that draws it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use polyloom_events::{Event, Phase, Sink, Totals};
use polyloom_protocol::meta::{ExecMeta, Outcome, Times};
use polyloom_report::Trace;
use serde_json::Value;
use support::{Story, meta};

/// A file in memory, or a pipe.
#[derive(Clone, Default)]
struct File {
    bytes: Arc<Mutex<Cursor<Vec<u8>>>>,
    pipe: bool,
}

impl File {
    fn entries(&self) -> Vec<Value> {
        let bytes = self.bytes.lock().unwrap().get_ref().clone();
        let trace: Value = serde_json::from_slice(&bytes).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if self.pipe {
            return Err(io::ErrorKind::NotSeekable.into());
        }
        self.bytes.lock().unwrap().seek(to)
    }
}

fn timed(outcome: Outcome, times: Times) -> ExecMeta {
    ExecMeta { times: Some(times), ..meta(outcome, 1.0) }
}

/// Two cells side by side, one of them tried twice, one compiled after both, one cached.
fn mixed() -> Story {
    let mut story = Story::default();
    story.at(3.0).start(&[("old", "sh"), ("a", "python"), ("b", "sh"), ("c", "cpp")]);
    story.done("old", "sh", meta(Outcome::Cached, 0.0));
    let a =
        Times { start_ms: 4.0, prepare_ms: 1.0, spawn_ms: 2.0, hello_ms: 13.3, ..Times::default() };
    let a = Times { run_ms: 9.7, collect_ms: 0.5, store_ms: 0.25, commit_ms: 0.25, ..a };
    let b = Times { start_ms: 4.1, spawn_ms: 1.0, run_ms: 1.9, ..Times::default() };
    story.at(4.2).run("a").at(4.3).run("b");
    story.at(7.0).say(Event::StepRetried {
        cell: "b".into(),
        attempt: 1,
        delay_ms: 0,
        meta: Box::new(timed(Outcome::Failed, b)),
    });
    story.at(7.5).run("b");
    story.at(10.5).done("b", "sh", timed(Outcome::Ok, Times { start_ms: 7.5, ..b }));
    story.at(31.0).done("a", "python", timed(Outcome::Ok, a));
    for phase in [Phase::Compile, Phase::Run] {
        story.at(32.0).say(Event::StepStarted { cell: "c".into(), attempt: 1, phase });
    }
    let c = Times { start_ms: 31.0, compile_ms: 90.0, run_ms: 10.0, ..Times::default() };
    story.at(131.0).done("c", "cpp", timed(Outcome::Ok, c));
    let totals = Totals { ok: 3, cached: 1, ..Totals::default() };
    story.at(132.0).end(Outcome::Ok, totals);
    story
}

fn all<'e>(entries: &'e [Value], ph: &str, cat: &str) -> Vec<&'e Value> {
    let has = |entry: &&Value| entry["ph"] == ph && (cat.is_empty() || entry["cat"] == cat);
    entries.iter().filter(has).collect()
}

fn span(entry: &Value) -> (f64, f64) {
    let from = entry["ts"].as_f64().unwrap();
    (from, from + entry["dur"].as_f64().unwrap())
}

#[test]
fn every_part_is_in_its_cell_and_cells_have_tracks() {
    let file = File::default();
    mixed().play(&mut Trace::new(file.clone()));
    let entries = file.entries();
    let cells = all(&entries, "X", "cell");
    let names: Vec<_> = cells.iter().map(|cell| cell["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "b", "a", "c"]);
    assert_eq!(cells[0]["args"]["outcome"], "failed");
    for cell in &cells {
        let (from, to) = span(cell);
        let mut at = from;
        for part in all(&entries, "X", "part") {
            if part["tid"] == cell["tid"] && (from..to).contains(&span(part).0) {
                assert!((span(part).0 - at).abs() < 0.01, "{part} after {at}");
                at = span(part).1;
            }
        }
        assert!((at - to).abs() < 0.01, "the parts of {cell} end at {at}");
    }
    // What runs at a time is beside each other, what follows may be in one track.
    assert_eq!(cells[0]["tid"], cells[1]["tid"]);
    assert_ne!(cells[1]["tid"], cells[2]["tid"]);
    let parts: Vec<_> =
        all(&entries, "X", "part").iter().map(|part| part["name"].as_str().unwrap()).collect();
    let a = ["prepare", "spawn", "hello", "run", "collect", "store", "commit"];
    assert_eq!(parts, [&["spawn", "run", "spawn", "run"][..], &a, &["compile", "run"]].concat());
    assert_eq!(all(&entries, "i", "cached")[0]["name"], "old");
    let path: Vec<_> = all(&entries, "X", "critical").into_iter().map(span).collect();
    assert_eq!(path, [(5e3, 128e3), (130e3, 530e3)]);
    let run = all(&entries, "X", "run");
    assert_eq!((run[0]["name"].as_str(), span(run[0])), (Some("load and plan"), (0.0, 3e3)));
    assert_eq!(span(run[1]), (0.0, 132e3));
    let count = |entry: &&Value| entry["args"]["cells"].as_u64().unwrap();
    let running: Vec<_> = all(&entries, "C", "").iter().map(count).collect();
    assert_eq!(running, [1, 2, 1, 2, 1, 0, 1, 0]);
    // Every track that is used has a name.
    for entry in &entries {
        let named = all(&entries, "M", "");
        let names = |it: &&Value| it["name"] == "thread_name" && it["tid"] == entry["tid"];
        assert!(named.iter().any(names), "{entry}");
    }
}

#[test]
fn the_file_is_whole_while_it_is_written() {
    let file = File::default();
    let mut trace = Trace::new(file.clone());
    let mut story = Story::default();
    story.start(&[("a", "sh")]);
    let mut seen = 0;
    for at in 1..2000_u32 {
        let start_ms = f64::from(at);
        let times = Times { start_ms, run_ms: 1.0, ..Times::default() };
        story.at(start_ms + 1.0).run("a").done("a", "sh", timed(Outcome::Ok, times));
    }
    for record in &story.records {
        trace.record(record);
        if !file.bytes.lock().unwrap().get_ref().is_empty() && record.seq % 50 == 0 {
            let now = all(&file.entries(), "X", "cell").len();
            assert!(now >= seen, "{now} after {seen}");
            seen = now;
        }
    }
    assert!(seen > 100, "only {seen} were written before the end");
    trace.finish().unwrap();
    assert_eq!(all(&file.entries(), "X", "cell").len(), 1999);
}

#[test]
fn a_pipe_has_the_first_run_and_a_file_all() {
    for pipe in [false, true] {
        let file = File { pipe, ..File::default() };
        let mut trace = Trace::new(file.clone());
        let mut story = mixed();
        story.play(&mut trace);
        for record in &mut story.records {
            if let Event::RunStarted { started_unix_ms, .. } = &mut record.event {
                *started_unix_ms += 1000;
            }
        }
        story.play(&mut trace);
        let entries = file.entries();
        let cells = all(&entries, "X", "cell");
        assert_eq!(cells.len(), if pipe { 4 } else { 8 });
        if let Some(again) = cells.get(4) {
            assert!((span(again).0 - span(cells[0]).0 - 1e6).abs() < 0.01, "{again}");
        }
    }
}
