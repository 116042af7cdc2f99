//! The JSON faces: lines, recordings and their replay, the document of a run, and the committed schemas.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use polyloom_events::{Event, Record, Sink};
use polyloom_protocol::meta::{ExecMeta, Outcome};
use polyloom_report::{
    Document, Jsonl, Options, Recording, ReplayError, RunDocument, Terminal, events_schema, replay,
    run_schema,
};
use support::{Out, failing};

#[test]
fn lines_are_records_and_come_at_once() {
    let out = Out::default();
    let mut sink = Jsonl::new(out.boxed());
    let story = failing();
    for (i, record) in story.records.iter().enumerate() {
        sink.record(record);
        sink.told();
        assert_eq!(out.text().lines().count(), i + 1);
    }
    sink.finish().unwrap();
    let read: Vec<Record> =
        out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, story.records);
}

#[test]
fn a_replayed_recording_looks_like_the_run() {
    let (recorded, live, again) = (Out::default(), Out::default(), Out::default());
    let story = failing();
    story.play(&mut Recording::new(recorded.boxed()));
    story.play(&mut Terminal::new(live.boxed(), Options::default()));
    // A torn last line, as a killed writer leaves it.
    let text = recorded.text() + "{\"seq\":99,\"at";
    let mut sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(Terminal::new(again.boxed(), Options::default()))];
    let count = replay(&mut text.as_bytes(), &mut sinks).unwrap();
    assert_eq!(count, story.records.len() as u64);
    assert_eq!(again.text(), live.text());
}

#[test]
fn a_recording_with_a_foreign_line_names_the_line() {
    let mut text = "{\"seq\":1,\"at_ms\":0.0,\"event\":\"warning\",\"text\":\"x\"}\n".to_owned();
    text.push_str("{\"seq\":2,\"at_ms\":0.0,\"event\":\"from.the.future\"}\n");
    let error = replay(&mut text.as_bytes(), &mut []).unwrap_err();
    assert!(matches!(error, ReplayError::Line { line: 2, .. }), "{error}");
}

#[test]
fn a_recording_keeps_chatter_back_but_no_result() {
    let out = Out::default();
    let mut sink = Recording::new(out.boxed());
    for record in &failing().records {
        sink.record(record);
        sink.told();
        let Event::StepFinished { meta, .. } = &record.event else { continue };
        if meta.outcome != Outcome::Cached {
            assert_eq!(out.text().lines().count() as u64, record.seq);
        }
    }
}

/// How often it was written to.
#[derive(Clone, Default)]
struct Writes(Arc<AtomicUsize>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_recording_writes_cached_steps_many_at_once() {
    let writes = Writes::default();
    let mut sink = Recording::new(Box::new(writes.clone()));
    for seq in 1..=10_000 {
        let event = Event::StepFinished {
            cell: format!("c{seq}"),
            lang: "sh".to_owned(),
            reason: "up to date".to_owned(),
            attempts: 0,
            meta: Box::new(ExecMeta::new(Outcome::Cached)),
        };
        sink.record(&Record { seq, at_ms: 0.0, event });
    }
    sink.finish().unwrap();
    let count = writes.0.load(Ordering::Relaxed);
    assert!((1..100).contains(&count), "{count} writes");
}

#[test]
fn what_comes_at_one_moment_leaves_in_one_write() {
    let writes = || (Writes::default(), Writes::default(), Writes::default());
    let (lines, recording, terminal) = writes();
    let mut sinks: [Box<dyn Sink>; 3] = [
        Box::new(Jsonl::new(Box::new(lines.clone()))),
        Box::new(Recording::new(Box::new(recording.clone()))),
        Box::new(Terminal::new(Box::new(terminal.clone()), Options::default())),
    ];
    for sink in &mut sinks {
        for seq in 1..=20 {
            let event = Event::Warning { text: "x".to_owned() };
            sink.record(&Record { seq, at_ms: 0.0, event });
        }
        sink.told();
    }
    for writes in [lines, recording, terminal] {
        assert_eq!(writes.0.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn chatter_of_a_recording_can_be_asked_for() {
    let out = Out::default();
    let recording = Recording::new(out.boxed());
    let mut sink = recording.clone();
    for record in &failing().records {
        sink.record(record);
        recording.pass_on();
        assert_eq!(out.text().lines().count() as u64, record.seq);
    }
}

#[test]
fn an_error_of_writing_comes_out_at_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sinks: [Box<dyn Sink>; 3] = [
        Box::new(Jsonl::new(Box::new(Full))),
        Box::new(Recording::new(Box::new(Full))),
        Box::new(Terminal::new(Box::new(Full), Options::default())),
    ];
    for mut sink in sinks {
        failing().records.iter().for_each(|record| sink.record(record));
        assert_eq!(sink.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_run_is_one_document() {
    let document = Document::new();
    assert_eq!(document.to_json(), "");
    failing().play(&mut document.clone());
    let text = document.to_json();
    assert_eq!(serde_json::from_str::<RunDocument>(&text).unwrap(), document.get().unwrap());
    insta::assert_snapshot!(text, @r#"
    {
      "schema": "polyloom.run/1",
      "run": "20261121-031833-ab12",
      "outcome": "failed",
      "wall_ms": 531.0,
      "cells": [
        {
          "id": "fetch",
          "lang": "bash",
          "outcome": "cached",
          "reason": "nothing changed",
          "wall_ms": 40.0,
          "cpu_ms": 0.0,
          "peak_memory": null,
          "exit_code": 0,
          "limit": null,
          "diagnostics": [],
          "enforcement": [],
          "outputs": {}
        },
        {
          "id": "load",
          "lang": "python",
          "outcome": "ok",
          "reason": "never ran",
          "wall_ms": 123.0,
          "cpu_ms": 0.0,
          "peak_memory": null,
          "exit_code": 0,
          "limit": null,
          "diagnostics": [],
          "enforcement": [],
          "outputs": {
            "temps": {
              "type": "tensor<f64,[n]>",
              "digest": "b3:abababababababababababababababababababababababababababababababab",
              "size": 11752,
              "media_type": "application/x-npy",
              "path": null
            }
          }
        },
        {
          "id": "stats",
          "lang": "cpp",
          "outcome": "failed",
          "reason": "never ran",
          "wall_ms": 400.0,
          "cpu_ms": 0.0,
          "peak_memory": null,
          "exit_code": 1,
          "limit": null,
          "diagnostics": [
            {
              "severity": "error",
              "message": "expected ';' before 'sum'\nnote: or a comma",
              "code": "E1",
              "file": "stats.cpp",
              "line": 3,
              "col": 12,
              "end_line": null,
              "end_col": null
            }
          ],
          "enforcement": [],
          "outputs": {}
        },
        {
          "id": "plot",
          "lang": "python",
          "outcome": "skipped",
          "reason": "`stats` failed",
          "wall_ms": 0.0,
          "cpu_ms": 0.0,
          "peak_memory": null,
          "exit_code": null,
          "limit": null,
          "diagnostics": [],
          "enforcement": [],
          "outputs": {}
        }
      ]
    }
    "#);
}

/// `UPDATE_SCHEMA=1 cargo test -p polyloom-report` writes the files anew.
#[test]
fn the_committed_schemas_are_the_generated_ones() {
    for (name, text) in [("events", events_schema()), ("run", run_schema())] {
        let path = format!("{}/schema/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(committed, text, "{path} is out of date: run with UPDATE_SCHEMA=1");
    }
}
