//! The stream as it is, one JSON object a line: for other programs, and for the run's own record.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyloom_events::{Event, Record, Sink};
use polyloom_protocol::meta::Outcome;

use crate::escape::json_text;

/// Writes every record at once, those of one moment together, for a reader that follows along.
pub struct Jsonl {
    out: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    failed: Option<io::Error>,
}

impl Jsonl {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, buffer: Vec::new(), failed: None }
    }

    fn append(&mut self, record: &Record) {
        let start = self.buffer.len();
        if let Err(error) = write_record(&mut self.buffer, record) {
            self.failed.get_or_insert(error.into());
            self.buffer.truncate(start);
        }
        // What serde writes has no control characters below 0x20; a line of nothing else but ASCII is safe as it is.
        let line = &self.buffer[start..];
        if !line.iter().all(|byte| *byte < 0x7f) {
            let safe = json_text(&String::from_utf8_lossy(line)).into_owned();
            self.buffer.truncate(start);
            self.buffer.extend(safe.as_bytes());
        }
        self.buffer.push(b'\n');
    }

    /// Whole lines leave in one write each, so that a reader seldom sees half of one. After an error nothing more is
    /// written: a gap in the numbers would be worse than an end.
    fn pass_on(&mut self) {
        if self.failed.is_none() && !self.buffer.is_empty() {
            let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
            self.failed = written.err();
        }
        self.buffer.clear();
    }

    fn end(&mut self) -> io::Result<()> {
        self.pass_on();
        self.failed.take().map_or(Ok(()), Err)
    }
}

/// A record as JSON, byte for byte what its `Serialize` gives. A flattened field goes through a map of keys and values one by one, which
/// is most of the time that a run of many cached cells takes; the event by itself does not.
fn write_record(out: &mut Vec<u8>, record: &Record) -> Result<(), serde_json::Error> {
    out.extend(b"{\"seq\":");
    serde_json::to_writer(&mut *out, &record.seq)?;
    out.extend(b",\"at_ms\":");
    serde_json::to_writer(&mut *out, &record.at_ms)?;
    let event = out.len();
    serde_json::to_writer(&mut *out, &record.event)?;
    // Every event has its name, so its object is not empty.
    out[event] = b',';
    Ok(())
}

/// Whether a crash may lose it: nothing has happened in what it tells, or a cell said it.
fn is_chatter(event: &Event) -> bool {
    match event {
        Event::Log { .. }
        | Event::Progress { .. }
        | Event::Display { .. }
        | Event::StepPlanned { .. } => true,
        Event::StepFinished { meta, .. } => meta.outcome == Outcome::Cached,
        _ => false,
    }
}

impl Sink for Jsonl {
    fn record(&mut self, record: &Record) {
        self.append(record);
        if self.buffer.len() > HOLD {
            self.pass_on();
        }
    }

    fn told(&mut self) {
        self.pass_on();
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end()
    }
}

/// Writes a run's own event log: chatter is held back for a moment, everything else passed on at once, so that a crash
/// loses a little chatter and no result. Clones are one recording: give one to the run as a sink, keep another for
/// [`Recording::pass_on`].
#[derive(Clone)]
pub struct Recording(Arc<Mutex<Held>>);

struct Held {
    lines: Jsonl,
    /// When the last record was, and the last one that was passed on.
    at_ms: f64,
    passed_ms: f64,
    /// Whether something is in it that is not to be lost.
    due: bool,
}

impl Held {
    fn pass_on(&mut self) {
        self.lines.pass_on();
        (self.passed_ms, self.due) = (self.at_ms, false);
    }
}

/// Bytes held back at most.
const HOLD: usize = 64 << 10;
const HOLD_MS: f64 = 250.0;

impl Recording {
    /// Writes to `out`, a file opened for appending.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Held {
            lines: Jsonl::new(out),
            at_ms: 0.0,
            passed_ms: 0.0,
            due: false,
        })))
    }

    /// Passes on what is held back. A run that has fallen silent does not do so by itself; to be called now and then,
    /// and by whoever wants to read the record as it is now.
    pub fn pass_on(&self) {
        self.lock().pass_on();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Recording {
    /// Those who begin such a run lay the records of these steps beside the log.
    fn stood(&mut self, _count: u64) -> bool {
        true
    }

    fn record(&mut self, record: &Record) {
        let mut held = self.lock();
        held.lines.append(record);
        let late = record.at_ms - held.passed_ms > HOLD_MS;
        held.due |= late || !is_chatter(&record.event);
        held.at_ms = record.at_ms;
        if held.lines.buffer.len() > HOLD {
            held.pass_on();
        }
    }

    fn told(&mut self) {
        let mut held = self.lock();
        if held.due {
            held.pass_on();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.lock().lines.end()
    }
}

#[cfg(test)]
mod tests {
    use polyloom_protocol::meta::ExecMeta;

    use super::*;

    #[test]
    fn a_record_is_written_as_it_is_serialised() {
        let warning = Event::Warning { text: "\"a\\b\"\n\u{7f}é".to_owned() };
        let finished = Event::StepFinished {
            cell: "load".to_owned(),
            lang: "sh".to_owned(),
            reason: "up to date".to_owned(),
            attempts: 0,
            meta: Box::new(ExecMeta::new(Outcome::Cached)),
        };
        for event in [warning, finished] {
            for at_ms in [0.0, 1.5, 1e300] {
                let record = Record { seq: 7, at_ms, event: event.clone() };
                let mut written = Vec::new();
                write_record(&mut written, &record).unwrap();
                assert_eq!(
                    String::from_utf8(written).unwrap(),
                    serde_json::to_string(&record).unwrap()
                );
            }
        }
    }
}
