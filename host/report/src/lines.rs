//! The stream as it is, one JSON object a line: for other programs, and for the run's own record.

use std::io::{self, Write};

use polyloom_events::{Event, Record, Sink};

/// Writes every record at once, for a reader that follows along.
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
        if let Err(error) = serde_json::to_writer(&mut self.buffer, record) {
            self.failed.get_or_insert(error.into());
        }
        self.buffer.push(b'\n');
    }

    /// Whole lines leave in one write each, so that a reader seldom sees half of one. After an error nothing more is
    /// written: a gap in the numbers would be worse than an end.
    fn pass_on(&mut self) {
        if self.failed.is_none() {
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

impl Sink for Jsonl {
    fn record(&mut self, record: &Record) {
        self.append(record);
        self.pass_on();
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end()
    }
}

/// Writes a run's own event log: buffered, passed on whenever a step ends, so that a crash loses chatter and no result.
pub struct Recording(Jsonl);

/// Chatter held back at most.
const HOLD: usize = 64 << 10;

impl Recording {
    /// Writes to `out`, a file opened for appending.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Jsonl::new(out))
    }
}

impl Sink for Recording {
    fn record(&mut self, record: &Record) {
        self.0.append(record);
        let chatter = matches!(
            record.event,
            Event::Log { .. } | Event::Progress { .. } | Event::Display { .. } | Event::StepPlanned { .. }
        );
        if !chatter || self.0.buffer.len() > HOLD {
            self.0.pass_on();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.end()
    }
}
