//! The history of a run, written beside its loop: it tells what was, and no result rests on it. So nobody waits for it but the end of the run, and what
//! comes close together is written at once.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use polyloom_store::{Fault, RunEnd, RunWriter, StepRow};

/// For each moment that a write took, the next one is so many later.
const REST: u32 = 16;
/// Nothing waits longer than this before it is written, and of nothing wait more rows. Each write puts most pages of the index into its log anew, however
/// few of their rows it adds.
const LONGEST: Duration = Duration::from_secs(1);
const MOST: usize = 8192;
/// So many batches are taken in before whoever has more waits.
const BATCHES: usize = 4;

/// The writer of a run's steps.
pub(super) struct Recorder {
    writer: Arc<RunWriter>,
    /// Once there is something to be written before the end.
    beside: Option<Beside>,
    fault: Arc<Mutex<Option<Fault>>>,
}

struct Beside {
    rows: SyncSender<Vec<StepRow>>,
    thread: JoinHandle<()>,
}

impl Recorder {
    pub(super) fn new(writer: RunWriter) -> Self {
        Self { writer: Arc::new(writer), beside: None, fault: Arc::default() }
    }

    /// For what is written at once.
    pub(super) fn writer(&self) -> &RunWriter {
        &self.writer
    }

    /// Takes steps that have ended; with the `last` of them, all are written when this returns. Gives what went wrong since it was asked before.
    pub(super) fn record(&mut self, rows: Vec<StepRow>, last: bool) -> Result<(), Fault> {
        if !rows.is_empty() {
            if self.beside.is_none() && !last {
                self.beside = self.begin().ok();
            }
            match &self.beside {
                Some(beside) => drop(beside.rows.send(rows)),
                None => self.writer.record_steps(&rows)?,
            }
        }
        if let Some(Beside { rows, thread }) = self.beside.take_if(|_| last) {
            drop(rows);
            let ended = thread.join();
            debug_assert!(ended.is_ok(), "the history is written to the end");
        }
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.map_or(Ok(()), Err)
    }

    fn begin(&self) -> std::io::Result<Beside> {
        let (rows, come) = sync_channel::<Vec<StepRow>>(BATCHES);
        let (writer, fault) = (Arc::clone(&self.writer), Arc::clone(&self.fault));
        let write = move || {
            let mut due = Instant::now();
            while let Ok(mut rows) = come.recv() {
                let mut over = false;
                while rows.len() < MOST && !over {
                    match come.recv_timeout(due.saturating_duration_since(Instant::now())) {
                        Ok(more) => rows.extend(more),
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => over = true,
                    }
                }
                let began = Instant::now();
                if let Err(error) = writer.record_steps(&rows) {
                    *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                due = Instant::now() + (began.elapsed() * REST).min(LONGEST);
            }
        };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(write)?;
        Ok(Beside { rows, thread })
    }

    /// Records the end, after all that was taken.
    pub(super) fn finish(mut self, end: &RunEnd) -> Result<(), Fault> {
        let recorded = self.record(Vec::new(), true);
        if let Some(writer) = Arc::into_inner(self.writer) {
            writer.finish(end)?;
        }
        recorded
    }
}

#[cfg(test)]
mod tests {
    use polyloom_protocol::Outcome;
    use polyloom_store::{History, NewRun, Origin, RunState, Store};

    use super::*;

    #[test]
    fn all_that_was_taken_is_written_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let history = Arc::new(History::open(folder.path(), &store).unwrap());
        let new = NewRun { started_unix_ms: 1, flow: "f".to_owned(), argv: Vec::new() };
        let writer = history.begin(&new).unwrap();
        let run = writer.id().to_owned();
        let mut recorder = Recorder::new(writer);
        let row = |at: usize| StepRow {
            cell: format!("c{at}"),
            key: String::new(),
            content: String::new(),
            parts: String::new(),
            outcome: Outcome::Ok,
            reason: String::new(),
            wall_ms: 0.0,
            meta: "{}".to_owned(),
            origin: Origin::Made,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        for at in 0..20 {
            recorder.record(vec![row(at)], false).unwrap();
        }
        recorder.record(vec![row(20)], true).unwrap();
        assert_eq!(history.steps(&run).unwrap().len(), 21);
        // One that comes late, and a batch that nobody called the last.
        recorder.record(vec![row(21)], true).unwrap();
        recorder.record(vec![row(22)], false).unwrap();
        let end = RunEnd { outcome: Outcome::Ok, wall_ms: 1.0, totals: "{}".to_owned() };
        recorder.finish(&end).unwrap();
        assert_eq!(history.steps(&run).unwrap().len(), 23);
        assert_eq!(history.runs(1).unwrap()[0].state, RunState::Ended(Outcome::Ok));
    }
}
