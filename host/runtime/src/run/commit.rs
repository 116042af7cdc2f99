//! Commits: what ended is put into the store and the history, and then it is said. Where much ends that is done beside the loop, which goes on meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Instant;

use polyloom_events::{Event, RESULTS_LOST};
use polyloom_plan::StepIndex;
use polyloom_store::{Fault, Flight, StepRow};

use super::{Happened, Runner};
use crate::words::chain;

/// Fewer results are recorded by the loop itself: that takes no longer than to ask another thread for it.
const FEW: usize = 64;

/// A commit that goes on beside the loop, and what is done when it is over.
pub(super) struct UnderWay {
    done: Receiver<Result<(), Fault>>,
    began: Instant,
    results: usize,
    rows: Vec<StepRow>,
    flights: Vec<Flight>,
    /// So many events wait for it.
    events: usize,
}

/// What becomes of a run's commits. What fails is told once, and at the end how much it was.
#[derive(Default)]
pub(super) struct Commits {
    pub(super) under_way: Option<UnderWay>,
    unrecorded: usize,
    told: bool,
    history_told: bool,
}

impl Runner {
    /// Commits what ended, beside the loop where it is much.
    pub(super) fn commit_beside(&mut self) {
        if self.commits.under_way.is_some() {
            return;
        }
        if self.results.len() < FEW || !self.kept.is_empty() {
            return self.commit();
        }
        let (tell, done) = sync_channel(1);
        let (place, sender) = (Arc::clone(&self.job.place), self.sender.clone());
        let results = std::mem::take(&mut self.results);
        // What is not said yet is not committed either.
        let flights = match self.late.ends.is_empty() {
            true => std::mem::take(&mut self.flights),
            false => Vec::new(),
        };
        self.commits.under_way = Some(UnderWay {
            done,
            began: Instant::now(),
            results: results.len(),
            rows: std::mem::take(&mut self.rows),
            flights,
            events: self.stream.held(),
        });
        tokio::task::spawn_blocking(move || {
            let _ = tell.send(place.store.commit(&results));
            // Where there is no room for this, the loop has enough to do, and looks after that.
            let _ = sender.try_send(Happened::Committed);
        });
    }

    /// Says what a commit beside the loop was about, once it is over.
    pub(super) fn look_at_commit(&mut self) {
        let Some(under_way) = self.commits.under_way.take() else { return };
        match under_way.done.try_recv() {
            Ok(done) => self.on_committed(under_way, Some(done)),
            Err(TryRecvError::Empty) => self.commits.under_way = Some(under_way),
            Err(TryRecvError::Disconnected) => self.on_committed(under_way, None),
        }
    }

    fn on_committed(&mut self, under_way: UnderWay, done: Option<Result<(), Fault>>) {
        let UnderWay { began, results, rows, flights, events, .. } = under_way;
        self.tell_commit(results, done);
        drop(flights);
        let last = false;
        let recorded = self.recorder.as_mut().map_or(Ok(()), |it| it.record(rows, last));
        self.tell_history(recorded);
        if self.temporary.is_much() {
            self.drop_temporary();
        }
        self.stream.release_first(events);
        self.pace.took(began.elapsed());
    }

    /// Puts what ended into the store and the history, then says it.
    pub(crate) fn commit(&mut self) {
        if let Some(under_way) = self.commits.under_way.take() {
            let done = under_way.done.recv().ok();
            self.on_committed(under_way, done);
        }
        let began = Instant::now();
        if !self.results.is_empty() {
            let done = self.job.place.store.commit(&self.results);
            self.tell_commit(self.results.len(), Some(done));
            self.results.clear();
        }
        // What is not said yet is not committed either.
        if self.late.ends.is_empty() {
            self.flights.clear();
        }
        let written = self.write_history();
        self.tell_history(written);
        self.kept.clear();
        if self.temporary.is_much() {
            self.drop_temporary();
        }
        self.stream.release();
        self.pace.took(began.elapsed());
    }

    /// Takes notice of how a commit of results ended; nothing: its thread did not come to an end.
    fn tell_commit(&mut self, results: usize, done: Option<Result<(), Fault>>) {
        let why = match done {
            Some(Ok(())) => return,
            Some(Err(error)) => chain(&error),
            None => "an internal step failed".to_owned(),
        };
        self.commits.unrecorded += results;
        self.environment = true;
        if !std::mem::replace(&mut self.commits.told, true) {
            let text = format!("{RESULTS_LOST}, they will be made again: {why}");
            self.stream.say(Event::Warning { text });
        }
    }

    fn tell_history(&mut self, written: Result<(), Fault>) {
        if let Err(error) = written
            && !std::mem::replace(&mut self.commits.history_told, true)
        {
            let text = format!("the run's history could not be written: {}", chain(&error));
            self.stream.say(Event::Warning { text });
        }
    }

    /// Says how many results could not be recorded, where it were more than were told of.
    pub(super) fn tell_unrecorded(&mut self) {
        let count = self.commits.unrecorded;
        if count > 1 {
            self.warn(format!(
                "{RESULTS_LOST}: {count} of this run, which the next one makes again"
            ));
        }
    }

    fn write_history(&mut self) -> Result<(), Fault> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        recorder.record(std::mem::take(&mut self.rows), self.outcome.is_some())?;
        if self.kept.is_empty() {
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        self.tell_gathered(&mut kept);
        let (steps, rows): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        let parts = |at: usize| {
            let step: StepIndex = steps[at];
            serde_json::to_string(&*self.job.prepared.plan.steps[step.at()].parts)
                .unwrap_or_default()
        };
        let Some(recorder) = &self.recorder else { return Ok(()) };
        recorder.writer().record_kept(&rows, &parts)
    }
}
