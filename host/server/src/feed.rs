//! How far a run is: the sink that counts, and where what was counted can be read again.
//!
//! No record is kept here. The recording has them all; a client reads it at its own pace, so a slow one costs the run
//! nothing and the host no memory.

use std::io;

use polyloom_events::{Record, Sink};
use tokio::sync::watch;

/// What is known of a run's progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of the last record that has been recorded.
    pub seq: u64,
    /// The exit code, once the run has ended.
    pub exit: Option<u8>,
}

/// The sink that counts. It has to stand behind the sink that records: what it has counted can be read. Clones are one.
#[derive(Debug, Clone)]
pub struct Feed(watch::Sender<Progress>);

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Feed {
    /// The feed of a run that has not said anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Progress::default()))
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }

    pub(crate) fn end(&self, exit: u8) {
        self.0.send_modify(|progress| progress.exit = Some(exit));
    }
}

impl Sink for Feed {
    fn stood(&mut self, _count: u64) -> bool {
        // The record behind them is counted.
        true
    }

    fn record(&mut self, record: &Record) {
        self.0.send_modify(|progress| progress.seq = record.seq);
    }
}

/// The record of a run, read while it is written.
pub trait Recorded: Send + Sync {
    /// Reads bytes of the record from the byte `at` on. The record has a line for each event, in order; every record
    /// that was given to the recording before this call is there. 0 bytes mean that there is nothing more just now, and are
    /// given only at the end of a line.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
}
