//! A run whose place is taken by that of a newer plan: attempts that the newer plan needs as they are go on in its run, the others end.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use polyloom_events::{Event, Phase};
use polyloom_model::{Cell, CellId, Limits, Policy};
use polyloom_plan::{Key, StepIndex};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::ExecMeta;
use polyloom_schedule::{Cause, Finish};
use polyloom_worker::attempt::{Live, Start, Stop};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Happened, PolicyWord, Runner};
use crate::prepare::Prepared;
use crate::step::StepEnd;

/// What is said to a run while it goes on.
#[derive(Debug)]
pub enum Word {
    /// It is to end: the first time gently, the second at once.
    Interrupt,
    /// Another run takes its place, with a plan that has these steps.
    Superseded(Standing),
}

/// The steps of a plan that are to run, and all that an attempt at one of them is made with.
#[derive(Debug, Default)]
pub struct Standing(HashMap<CellId, Made>);

/// What an attempt is made with. Keys say nothing of limits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    key: Key,
    limits: Limits,
    policy: Policy,
}

impl Made {
    /// The first attempt of a step.
    pub(super) fn of(cell: &Cell, key: Key, word: &PolicyWord) -> Self {
        Self { key, limits: cell.limits.clone(), policy: word.over(&cell.policy) }
    }
}

/// An attempt, seen from the loop.
pub(super) struct Running {
    pub(super) heard: mpsc::Receiver<Live>,
    pub(super) work: Work,
}

/// What an attempt comes to. It always does come to something.
pub(super) type Work = Pin<Box<dyn Future<Output = StepEnd> + Send>>;

/// An attempt that goes on in a task of its own.
pub(super) fn apart(attempt: impl Future<Output = StepEnd> + Send + 'static) -> Work {
    let task = tokio::spawn(attempt);
    Box::pin(async { task.await.unwrap_or_else(|error| StepEnd::broken(&error)) })
}

/// An attempt that goes on as far as it is waited for.
pub(super) fn caught(attempt: impl Future<Output = StepEnd> + Send + 'static) -> Work {
    let mut attempt = Box::pin(attempt);
    Box::pin(poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx)));
        // It is not polled again after that.
        polled.unwrap_or_else(|_| Poll::Ready(StepEnd::broken(&"it panicked")))
    }))
}

/// An attempt that goes on in another run than it was begun in.
pub struct Carried {
    cell: CellId,
    made: Made,
    running: Running,
    stop: watch::Sender<Stop>,
}

impl Carried {
    /// Its cell.
    #[must_use]
    pub fn cell(&self) -> &CellId {
        &self.cell
    }
}

/// What stands by a plan. A cell that was granted something is not in it: another word may hold for it by now.
#[must_use]
pub fn standing(prepared: &Prepared, word: &PolicyWord) -> Standing {
    let mut all = HashMap::new();
    for step in prepared.plan.steps.iter().filter(|step| step.action.may_run()) {
        let cell = &prepared.flow.cells[step.index.at()];
        if cell.is_program() && cell.asks.is_empty() && cell.secrets.is_empty() {
            all.insert(cell.id.clone(), Made::of(cell, step.key, word));
        }
    }
    Standing(all)
}

impl Runner {
    /// Takes a word.
    pub(super) fn hear(&mut self, word: Word) {
        let cause = match word {
            Word::Interrupt => Cause::Interrupt,
            Word::Superseded(standing) => {
                self.standing = Some(standing);
                Cause::Superseded
            }
        };
        let commands = self.schedule.on(cause);
        self.commands.extend(commands);
    }

    /// Ends a running attempt, unless the next run needs it.
    pub(super) fn cancel(&mut self, step: StepIndex) {
        let Some(standing) = &self.standing else { return self.stop(step, Stop::Gracefully) };
        let cell = self.cell(step);
        if standing.0.get(&cell.id) == Some(&self.made(step)) {
            if let Some(release) = self.slots[step.at()].release.take() {
                let _ = release.send(());
            }
            return;
        }
        // What has nothing but its own sandbox leaves nothing half done.
        let closed = cell.asks.is_empty() && cell.secrets.is_empty();
        self.stop(step, if closed { Stop::Now } else { Stop::Gracefully });
    }

    /// What an attempt at a step is made with now. One that got more memory after it ran out of it stands for no other.
    fn made(&self, step: StepIndex) -> Made {
        let planned = &self.job.prepared.plan.steps[step.at()];
        let made = Made::of(self.cell(step), planned.key, &self.job.policy);
        Made { limits: self.limits(step), ..made }
    }

    /// Hears of an attempt until it ends or is let go.
    pub(super) fn follow(&mut self, step: StepIndex, mut running: Running) {
        let (release, mut released) = oneshot::channel();
        self.slots[step.at()].release = Some(release);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let end = loop {
                tokio::select! {
                    biased;
                    Ok(()) = &mut released => {
                        let _ = sender.send(Happened::Released(step, running)).await;
                        return;
                    }
                    Some(seen) = running.heard.recv() => {
                        let _ = sender.send(Happened::Seen(step, seen)).await;
                    }
                    end = &mut running.work => break end,
                }
            };
            while let Some(seen) = running.heard.recv().await {
                let _ = sender.send(Happened::Seen(step, seen)).await;
            }
            let _ = sender.send(Happened::Ended(step, Box::new(end))).await;
        });
    }

    /// Hears of an attempt that may be over as soon as it is looked at, as those are that a session's worker was sent before their turn. Then nobody has to be
    /// woken for it. It is looked at once, here: what takes longer is followed as all others are.
    pub(super) fn look_at(&mut self, step: StepIndex, mut running: Running) {
        // Whoever follows it asks again, and is woken.
        let polled = running.work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(end) = polled else { return self.follow(step, running) };
        while let Ok(seen) = running.heard.try_recv() {
            self.on_seen(step, seen);
        }
        self.on_ended(step, Box::new(end));
    }

    /// An attempt is the next run's from now on.
    pub(super) fn on_released(&mut self, step: StepIndex, running: Running) {
        let (cell, made) = (self.cell(step).id.clone(), self.made(step));
        let slot = &mut self.slots[step.at()];
        let Some(stop) = slot.stop.take() else { return };
        "it goes on in the next run".clone_into(&mut slot.reason);
        let meta = ExecMeta::new(Outcome::Cancelled);
        slot.end = Some(Box::new(StepEnd::new(meta, None, None, Start::None)));
        self.released.push(Carried { cell, made, running, stop });
        let commands = self.schedule.on(Cause::Finished { step, finish: Finish::Cancelled });
        self.commands.extend(commands);
    }

    /// Takes over the attempt of the run before, if there is one for this step.
    pub(super) fn adopt(&mut self, step: StepIndex) -> bool {
        let made = self.made(step);
        let cell = self.cell(step).id.clone();
        let Some(carried) = self.carried.remove(&cell) else { return false };
        if carried.made != made {
            carried.stop.send_replace(Stop::Now);
            return false;
        }
        let (now, cell) = (self.stream.now_ms(), self.name(step));
        let slot = &mut self.slots[step.at()];
        slot.stop = Some(carried.stop);
        slot.started_ms.get_or_insert(now);
        let attempt = slot.attempt;
        self.stream.say(Event::StepStarted { cell, attempt, phase: Phase::Run });
        self.follow(step, carried.running);
        true
    }

    /// Ends what was carried here and not needed.
    pub(super) fn let_go(&mut self) {
        for (_, carried) in self.carried.drain() {
            carried.stop.send_replace(Stop::Now);
        }
    }
}
