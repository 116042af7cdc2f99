//! A run as a trace that Perfetto and `chrome://tracing` open: where each millisecond of a cell went.
//!
//! The format is the JSON of the Trace Event Format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>. It is written
//! as the run goes on, and nothing is held of a cell that has ended.

use std::collections::HashSet;
use std::io::{self, Seek, SeekFrom, Write};

use polyloom_events::{Event, Record, Sink, Timed};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::{ExecMeta, Times};
use serde::Serialize;
use serde_json::{Value, json};

/// What the file begins and ends with.
const HEAD: &[u8] = b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
const END: &[u8] = b"\n]}\n";
/// Entries held back at most, in bytes and in milliseconds.
const HOLD: usize = 64 << 10;
const HOLD_MS: f64 = 250.0;

/// Tracks: the run, its critical path, and from there on one for each cell that runs at a time.
const RUN: usize = 0;
const CRITICAL: usize = 1;
const SLOTS: usize = 2;

/// Writes the trace of all runs of a stream, each after the one before.
pub struct Trace<W> {
    out: W,
    buffer: Vec<u8>,
    /// Whether the end of the file can be written over, so that it is whole after every write.
    turns_back: bool,
    ended: bool,
    failed: Option<io::Error>,
    passed_ms: f64,
    /// When the first run began, in milliseconds since 1970, and how much later the present one did.
    first_unix_ms: Option<f64>,
    later_ms: f64,
    run: String,
    /// When the last slice of each slot's track ends.
    slots: Vec<i64>,
    running: HashSet<String>,
}

/// One of `traceEvents`.
#[derive(Serialize)]
struct Entry<'e> {
    name: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'e str,
    ph: &'e str,
    /// Microseconds.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: usize,
    /// How far a moment goes: `t`, its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'e str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// Milliseconds as nanoseconds: parts of a slice are to end where it ends.
fn nanos(ms: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a time too long for it is its end")]
    let nanos = (ms * 1e6).round() as i64;
    nanos
}

fn micros(nanos: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for a hundred days")]
    let nanos = nanos as f64;
    nanos / 1e3
}

/// To a thousandth: a recording has it so, too, whatever its reader makes of the last digit.
fn thousandths(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

impl<W: Write + Seek> Trace<W> {
    /// Writes to `out` from where it is. Of what can't be written over, as a pipe, only the first run is written.
    pub fn new(mut out: W) -> Self {
        let turns_back = out.stream_position().is_ok();
        let mut trace = Self {
            out,
            buffer: HEAD.to_vec(),
            turns_back,
            ended: false,
            failed: None,
            passed_ms: 0.0,
            first_unix_ms: None,
            later_ms: 0.0,
            run: String::new(),
            slots: Vec::new(),
            running: HashSet::new(),
        };
        trace.name("process_name", RUN, "polyloom");
        trace.name("thread_name", RUN, "run");
        trace.name("thread_name", CRITICAL, "critical path");
        trace
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        if !self.buffer.ends_with(HEAD) {
            self.buffer.extend(b",\n");
        }
        if let Err(error) = serde_json::to_writer(&mut self.buffer, entry) {
            self.failed.get_or_insert(error.into());
        }
    }

    /// Names the process or a track.
    fn name(&mut self, name: &str, tid: usize, is: &str) {
        let args = json!({ "name": is });
        let (cat, ph) = ("", "M");
        self.entry(&Entry { name, cat, ph, ts: 0.0, dur: None, pid: 1, tid, s: None, args });
        if name == "thread_name" {
            let (name, args) = ("thread_sort_index", json!({ "sort_index": tid }));
            self.entry(&Entry { name, cat, ph, ts: 0.0, dur: None, pid: 1, tid, s: None, args });
        }
    }

    fn slice(&mut self, tid: usize, (from, to): (i64, i64), cat: &str, name: &str, args: Value) {
        let (ts, dur) = (micros(from), Some(micros((to - from).max(0))));
        self.entry(&Entry { name, cat, ph: "X", ts, dur, pid: 1, tid, s: None, args });
    }

    /// A moment on the run's track.
    fn moment(&mut self, at_ms: f64, cat: &str, name: &str, args: Value) {
        let ts = micros(nanos(at_ms));
        let s = Some("t");
        self.entry(&Entry { name, cat, ph: "i", ts, dur: None, pid: 1, tid: RUN, s, args });
    }

    fn count(&mut self, at_ms: f64) {
        let args = json!({ "cells": self.running.len() });
        let (ts, name) = (micros(nanos(at_ms)), "running");
        let (cat, ph) = ("", "C");
        self.entry(&Entry { name, cat, ph, ts, dur: None, pid: 1, tid: RUN, s: None, args });
    }

    /// A track on which a slice that ends last of all has nothing beside it.
    fn slot(&mut self, (from, to): (i64, i64)) -> usize {
        let free = self.slots.iter().enumerate().filter(|(_, end)| **end <= from);
        let slot = match free.max_by_key(|(_, end)| **end) {
            Some((slot, _)) => slot,
            None => {
                self.slots.push(to);
                let slot = self.slots.len();
                self.name("thread_name", SLOTS + slot - 1, &format!("slot {slot}"));
                slot - 1
            }
        };
        self.slots[slot] = to;
        SLOTS + slot
    }

    /// An attempt at a cell, and in it the parts of its time.
    fn attempt(&mut self, cell: &str, times: &Times, args: Value) {
        let mut at_ms = times.start_ms + self.later_ms;
        let (from, to) = (nanos(at_ms), nanos(times.end_ms() + self.later_ms));
        let tid = self.slot((from, to));
        self.slice(tid, (from, to), "cell", cell, args);
        let mut begun = from;
        for (part, ms) in times.parts() {
            at_ms += ms;
            let ended = nanos(at_ms).min(to);
            if ended > begun {
                self.slice(tid, (begun, ended), "part", part, Value::Null);
            }
            begun = ended;
        }
    }

    fn ended(&mut self, at_ms: f64, cell: &str, meta: &ExecMeta, args: Value) {
        if self.running.remove(cell) {
            self.count(at_ms);
        }
        match &meta.times {
            Some(times) => self.attempt(cell, times, args),
            None => self.moment(at_ms, meta.outcome.as_str(), cell, args),
        }
    }

    fn take(&mut self, record: &Record) {
        let at_ms = record.at_ms + self.later_ms;
        match &record.event {
            Event::RunStarted { run, flow, started_unix_ms, .. } => {
                #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
                let began = *started_unix_ms as f64 - record.at_ms;
                let first = *self.first_unix_ms.get_or_insert(began);
                self.later_ms = (began - first).max(0.0);
                self.run.clone_from(run);
                self.running.clear();
                self.name("process_name", RUN, &format!("polyloom {flow}"));
                let span = (nanos(self.later_ms), nanos(self.later_ms + record.at_ms));
                self.slice(RUN, span, "run", "load and plan", Value::Null);
            }
            Event::StepStarted { cell, .. } if self.running.insert(cell.clone()) => {
                self.count(at_ms);
            }
            Event::StepRetried { cell, attempt, meta, .. } => {
                let args = json!({ "outcome": meta.outcome, "attempt": attempt, "cpu_ms": thousandths(meta.cpu_ms) });
                self.ended(at_ms, cell, meta, args);
            }
            Event::StepFinished { cell, lang, reason, attempts, meta } => {
                let args = match meta.outcome {
                    Outcome::Cached | Outcome::Skipped => json!({ "lang": lang, "reason": reason }),
                    outcome => json!({
                        "lang": lang, "outcome": outcome, "reason": reason, "attempt": attempts,
                        "cpu_ms": thousandths(meta.cpu_ms), "peak_memory": meta.peak_memory,
                    }),
                };
                self.ended(at_ms, cell, meta, args);
            }
            Event::RunFinished { outcome, wall_ms, totals, critical_path, .. } => {
                for Timed { cell, wall_ms, start_ms } in critical_path {
                    let from = self.later_ms + start_ms;
                    let span = (nanos(from), nanos(from + wall_ms));
                    self.slice(CRITICAL, span, "critical", cell, Value::Null);
                }
                let name = format!("run {}", self.run);
                let span = (nanos(self.later_ms), nanos(self.later_ms + wall_ms));
                let args = json!({ "outcome": outcome, "totals": totals });
                self.slice(RUN, span, "run", &name, args);
            }
            _ => {}
        }
    }

    /// Writes what is held back. Once something could not be written, nothing more is.
    fn pass_on(&mut self, last: bool) {
        let closes = last || self.turns_back;
        if closes {
            self.buffer.extend(END);
        }
        if self.failed.is_none() && !self.ended {
            let back = SeekFrom::Current(-i64::try_from(END.len()).unwrap_or(0));
            let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
            let written = match self.turns_back {
                true => written.and_then(|()| self.out.seek(back)).map(|_| ()),
                false => written,
            };
            self.failed = written.err();
        }
        self.ended |= last && !self.turns_back;
        self.buffer.clear();
    }
}

impl<W: Write + Seek + Send> Sink for Trace<W> {
    fn record(&mut self, record: &Record) {
        if self.ended {
            return;
        }
        self.take(record);
        if self.buffer.len() > HOLD || (record.at_ms - self.passed_ms).abs() > HOLD_MS {
            self.pass_on(false);
            self.passed_ms = record.at_ms;
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.pass_on(true);
        self.failed.take().map_or(Ok(()), Err)
    }
}
