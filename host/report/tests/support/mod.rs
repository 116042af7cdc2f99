//! A screen that can be looked at, and runs made of events.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use polyloom_events::{Action, Event, Phase, Record, SCHEMA, Sink, Stream, Timed, Totals};
use polyloom_protocol::meta::{ArtifactMeta, Diagnostic, ExecMeta, Outcome, Severity, Tail};

/// A writer whose contents can be read afterwards.
#[derive(Clone, Default)]
pub struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    pub fn boxed(&self) -> Box<dyn Write + Send> {
        Box::new(self.clone())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives events numbers and times.
#[derive(Default)]
pub struct Story {
    pub records: Vec<Record>,
    at_ms: f64,
}

impl Story {
    pub fn at(&mut self, at_ms: f64) -> &mut Self {
        self.at_ms = at_ms;
        self
    }

    pub fn say(&mut self, event: Event) -> &mut Self {
        let seq = self.records.len() as u64 + 1;
        self.records.push(Record { seq, at_ms: self.at_ms, event });
        self
    }

    pub fn start(&mut self, cells: &[(&str, &str)]) -> &mut Self {
        self.say(Event::RunStarted {
            schema: SCHEMA.into(),
            run: "20261121-031833-ab12".into(),
            flow: "weather".into(),
            path: "polyloom.toml".into(),
            started_unix_ms: 1_795_231_113_000,
            cells: cells.len() as u64,
            written: None,
            jobs: 2,
            version: "0.1.0".into(),
            changed: Vec::new(),
        });
        for (cell, lang) in cells {
            self.say(Event::StepPlanned {
                cell: (*cell).into(),
                lang: (*lang).into(),
                action: Action::Run,
                reason: "never ran".into(),
            });
        }
        self
    }

    pub fn run(&mut self, cell: &str) -> &mut Self {
        self.say(Event::StepStarted { cell: cell.into(), attempt: 1, phase: Phase::Run })
    }

    pub fn log(&mut self, cell: &str, stream: Stream, text: &str) -> &mut Self {
        self.say(Event::Log { cell: cell.into(), stream, text: text.into() })
    }

    pub fn done(&mut self, cell: &str, lang: &str, meta: ExecMeta) -> &mut Self {
        let reason = match meta.outcome {
            Outcome::Cached => "nothing changed",
            Outcome::Skipped => "`stats` failed",
            _ => "never ran",
        };
        self.say(Event::StepFinished {
            cell: cell.into(),
            lang: lang.into(),
            reason: reason.into(),
            attempts: 1,
            meta: Box::new(meta),
        })
    }

    pub fn end(&mut self, outcome: Outcome, totals: Totals) -> &mut Self {
        let timed = |cell: &str, start_ms, wall_ms| Timed { cell: cell.into(), wall_ms, start_ms };
        let critical_path = vec![timed("load", 5.0, 123.0), timed("stats", 130.0, 400.0)];
        let wall_ms = self.at_ms;
        self.say(Event::RunFinished { outcome, wall_ms, totals, critical_path, slowest: vec![] })
    }

    pub fn play(&self, sink: &mut dyn Sink) {
        self.records.iter().for_each(|record| sink.record(record));
        sink.finish().unwrap();
    }
}

pub fn meta(outcome: Outcome, wall_ms: f64) -> ExecMeta {
    ExecMeta { wall_ms, exit_code: outcome.has_outputs().then_some(0), ..ExecMeta::new(outcome) }
}

pub fn tail(text: &str) -> Tail {
    Tail { text: text.into(), bytes: text.len() as u64, truncated: 0 }
}

pub fn artifact() -> ArtifactMeta {
    ArtifactMeta {
        digest: format!("b3:{}", "ab".repeat(32)),
        r#type: "tensor<f64,[n]>".into(),
        size: 11_752,
        media_type: Some("application/x-npy".into()),
        path: None,
    }
}

/// A run with everything in it: cached, printed, failed, skipped.
pub fn failing() -> Story {
    let mut story = Story::default();
    story.start(&[("fetch", "bash"), ("load", "python"), ("stats", "cpp"), ("plot", "python")]);
    story.at(2.0).done("fetch", "bash", meta(Outcome::Cached, 40.0));
    story.at(5.0).run("load").log("load", Stream::Stdout, "reading 1461 rows\nna");
    story.log("load", Stream::Stdout, "n dropped: 3\n").log("load", Stream::Stderr, "slow disk\n");
    story.at(128.0).say(Event::Artifact {
        cell: "load".into(),
        port: "temps".into(),
        artifact: artifact(),
    });
    let mut loaded = meta(Outcome::Ok, 123.0);
    loaded.artifacts.insert("temps".into(), artifact());
    story.done("load", "python", loaded);
    story.say(Event::StepStarted { cell: "stats".into(), attempt: 1, phase: Phase::Compile });
    let error = Diagnostic {
        code: Some("E1".into()),
        file: Some("stats.cpp".into()),
        line: Some(3),
        col: Some(12),
        ..Diagnostic::new(Severity::Error, "expected ';' before 'sum'\nnote: or a comma")
    };
    story.say(Event::Diagnostic { cell: "stats".into(), diagnostic: error.clone() });
    let mut failed = meta(Outcome::Failed, 400.0);
    failed.exit_code = Some(1);
    failed.stderr = tail("In file included from polyloom.h\nstats.cpp:3:12: error\n");
    failed.diagnostics = vec![error];
    story.at(530.0).done("stats", "cpp", failed);
    story.done("plot", "python", meta(Outcome::Skipped, 0.0));
    let totals = Totals { ok: 1, cached: 1, failed: 1, skipped: 1, cancelled: 0 };
    story.at(531.0).end(Outcome::Failed, totals);
    story
}
