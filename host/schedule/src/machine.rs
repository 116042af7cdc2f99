//! The machine itself. Each cause is answered with commands in the order they are to be done.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use polyloom_plan::{Plan, StepIndex};

use crate::critical::ranks;
use crate::{
    Because, Cause, Command, Ended, Entry, Finish, KeepGoing, Options, Retry, RunOutcome, State,
    StepSpec, Totals, Verdict,
};

/// Whether new steps start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They do.
    Going,
    /// This step failed: none starts, those that run may finish.
    Draining(StepIndex),
    /// The run is to end: none starts, those that run were asked to end.
    Stopping(Stop),
    /// As above, and those that run are being killed.
    Killing(Stop),
}

/// Whether steps are still added to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// They may be.
    GoesOn,
    /// These were the last.
    Over,
}

/// Why the run is to end before its steps have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Interrupt,
    Timeout,
    Superseded,
}

/// The state of a run.
#[derive(Debug)]
pub struct Schedule {
    states: Vec<State>,
    entries: Vec<Entry>,
    /// Attempts made and allowed.
    attempts: Vec<(u32, u32)>,
    /// Needs that have not ended well.
    missing: Vec<u32>,
    consumers: Vec<Vec<StepIndex>>,
    specs: Vec<StepSpec>,
    rank: Vec<u32>,
    /// Steps that are `Ready` (others in it have ended meanwhile), best rank first.
    ready: BinaryHeap<Reverse<(u32, StepIndex)>>,
    options: Options,
    mode: Mode,
    /// Whether steps may still be added.
    growing: bool,
    live: usize,
    totals: Totals,
    finished: bool,
    commands: Vec<Command>,
}

impl Schedule {
    /// The machine for a plan.
    #[must_use]
    pub fn of_plan(plan: &Plan, options: Options) -> Self {
        Self::made(plan.steps.iter().map(StepSpec::from).collect(), options)
    }

    /// The machine for these steps.
    ///
    /// # Panics
    /// If a step needs one that is not before it; a plan never does.
    #[must_use]
    pub fn new(steps: &[StepSpec], options: Options) -> Self {
        Self::made(steps.to_vec(), options)
    }

    fn made(steps: Vec<StepSpec>, options: Options) -> Self {
        let mut schedule = Self {
            states: Vec::with_capacity(steps.len()),
            entries: Vec::with_capacity(steps.len()),
            attempts: Vec::with_capacity(steps.len()),
            missing: Vec::with_capacity(steps.len()),
            consumers: Vec::with_capacity(steps.len()),
            specs: Vec::new(),
            rank: Vec::new(),
            ready: BinaryHeap::new(),
            options,
            mode: Mode::Going,
            growing: false,
            live: 0,
            totals: Totals::default(),
            finished: false,
            commands: Vec::new(),
        };
        schedule.add(steps);
        schedule
    }

    /// Keeps the run from being over before the steps that are to be added are.
    #[must_use]
    pub fn growing(mut self) -> Self {
        self.growing = true;
        self
    }

    /// Adds steps to a run that goes on. They may need steps that have ended. With `Growth::Over` nothing is added any more.
    ///
    /// # Panics
    /// If a step needs one that is not before it.
    pub fn grow(&mut self, steps: Vec<StepSpec>, growth: Growth) -> Vec<Command> {
        let first = self.states.len();
        self.growing = growth == Growth::GoesOn;
        self.add(steps);
        for step in self.all().skip(first) {
            self.begin(step);
        }
        self.answer()
    }

    fn add(&mut self, steps: Vec<StepSpec>) {
        let first = self.states.len();
        if self.specs.is_empty() {
            self.specs = steps;
        } else {
            self.specs.extend(steps);
        }
        for (at, step) in self.specs[first..].iter().enumerate() {
            let index =
                StepIndex(u32::try_from(first + at).expect("a plan's steps are counted in u32"));
            let mut missing = 0;
            for need in &step.needs {
                assert!(*need < index, "a step needs only steps before it");
                let there = self.states.get(need.at()).is_some_and(|state| match state {
                    State::Ended(Ended::Ok | Ended::Cached) => true,
                    State::Ended(Ended::Skipped(Because::Condition | Because::LeftOut(_))) => {
                        step.gathers && !self.specs[need.at()].gates
                    }
                    _ => false,
                });
                if !there {
                    missing += 1;
                    self.consumers[need.at()].push(index);
                }
            }
            self.missing.push(missing);
            self.consumers.push(Vec::new());
            self.entries.push(step.entry);
            self.attempts.push((0, step.retries.count.saturating_add(1)));
            self.states.push(State::Waiting);
        }
        self.rank = ranks(&self.specs);
    }

    /// Begins; to be called once, before any cause. Steps that are cached end here.
    pub fn start(&mut self) -> Vec<Command> {
        for step in self.all() {
            self.begin(step);
        }
        self.answer()
    }

    /// Lets a step that was just added go on as far as it can.
    fn begin(&mut self, step: StepIndex) {
        if self.states[step.at()] != State::Waiting {
            return;
        }
        if let Some(because) = self.mode.because() {
            // A result stands however the run ends.
            let ended = match self.entries[step.at()] {
                Entry::Cached => Ended::Cached,
                Entry::LeftOut | Entry::Decide | Entry::Start => {
                    Ended::Skipped(self.failed_before(step).unwrap_or(because))
                }
            };
            self.enter(step, State::Ended(ended));
            return;
        }
        match self.entries[step.at()] {
            Entry::Cached => self.end_well(step, Ended::Cached),
            Entry::LeftOut => self.leave_out(step, Because::Condition),
            Entry::Decide | Entry::Start => match self.ended_badly(step) {
                Some(because) => self.end_badly(step, Ended::Skipped(because)),
                None => self.open(step),
            },
        }
    }

    /// Where steps are skipped because of a failure: whether it is one of what this step is made from.
    fn failed_before(&self, step: StepIndex) -> Option<Because> {
        let Mode::Draining(_) = self.mode else { return None };
        self.specs[step.at()].needs.iter().find_map(|need| match self.states[need.at()] {
            State::Ended(Ended::Failed) => Some(Because::Upstream(*need)),
            State::Ended(Ended::Skipped(because @ Because::Upstream(_))) => Some(because),
            _ => None,
        })
    }

    /// Why a step can't begin because of one that had ended before it was added.
    fn ended_badly(&self, step: StepIndex) -> Option<Because> {
        let spec = &self.specs[step.at()];
        spec.needs.iter().find_map(|need| match self.states[need.at()] {
            State::Ended(Ended::Failed | Ended::Cancelled) => Some(Because::Upstream(*need)),
            State::Ended(Ended::Skipped(Because::Condition | Because::LeftOut(_))) => {
                let without = spec.gathers && !self.specs[need.at()].gates;
                (!without).then_some(Because::LeftOut(*need))
            }
            State::Ended(Ended::Skipped(because)) => Some(because),
            _ => None,
        })
    }

    /// Takes a cause.
    pub fn on(&mut self, cause: Cause) -> Vec<Command> {
        match cause {
            Cause::Decided { step, verdict } => self.decided(step, verdict),
            Cause::Finished { step, finish } => self.attempt_over(step, finish),
            Cause::Waited { step } => {
                if matches!(self.state(step), Some(State::Backoff | State::Held)) {
                    self.enter(step, State::Ready);
                }
            }
            Cause::Interrupt => self.stop(Stop::Interrupt),
            Cause::Timeout => self.stop(Stop::Timeout),
            Cause::Superseded => self.stop(Stop::Superseded),
        }
        self.answer()
    }

    /// Whether nothing goes on any more, though steps may still be added.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.totals.sum() == self.states.len()
    }

    /// The state of a step.
    #[must_use]
    pub fn state(&self, step: StepIndex) -> Option<State> {
        self.states.get(step.at()).copied()
    }

    /// All steps, as they were added.
    #[must_use]
    pub fn specs(&self) -> &[StepSpec] {
        &self.specs
    }

    /// Attempts that run now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// How many steps have ended how, so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn all(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..).map(StepIndex).take(self.states.len())
    }

    /// The one place where a step's state changes; the views beside it follow.
    fn enter(&mut self, step: StepIndex, next: State) {
        let before = std::mem::replace(&mut self.states[step.at()], next);
        debug_assert!(before.may_become(next), "{before:?} can't become {next:?}");
        self.live -= usize::from(before.is_live());
        self.live += usize::from(next.is_live());
        match next {
            State::Waiting | State::Held => {}
            State::Deciding => self.commands.push(Command::Decide { step }),
            State::Ready => self.ready.push(Reverse((self.rank[step.at()], step))),
            State::Running => {
                self.attempts[step.at()].0 += 1;
                let attempt = self.attempts[step.at()].0;
                self.commands.push(Command::Start { step, attempt });
            }
            State::Cancelling => self.commands.push(Command::Cancel { step }),
            State::Killing => self.commands.push(Command::Kill { step }),
            State::Backoff => {
                let failed = self.attempts[step.at()].0;
                let delay = self.specs[step.at()].retries.delay(failed);
                self.commands.push(Command::Wait { step, attempt: failed + 1, delay });
            }
            State::Ended(ended) => {
                self.totals.add(ended);
                let attempts = self.attempts[step.at()].0;
                self.commands.push(Command::End { step, ended, attempts });
            }
        }
    }

    /// Lets a waiting step go on if nothing it needs is missing.
    fn open(&mut self, step: StepIndex) {
        if self.missing[step.at()] > 0 || self.states[step.at()] != State::Waiting {
            return;
        }
        match self.entries[step.at()] {
            // Ended at the start, whatever it needs.
            Entry::Cached | Entry::LeftOut => {}
            Entry::Decide => self.enter(step, State::Deciding),
            Entry::Start => self.enter(step, State::Ready),
        }
    }

    fn end_well(&mut self, step: StepIndex, ended: Ended) {
        self.enter(step, State::Ended(ended));
        let consumers = std::mem::take(&mut self.consumers[step.at()]);
        for &consumer in &consumers {
            self.missing[consumer.at()] -= 1;
            self.open(consumer);
        }
    }

    /// Ends a step without outputs, and everything that is made from it.
    fn end_badly(&mut self, step: StepIndex, ended: Ended) {
        self.enter(step, State::Ended(ended));
        let because = match ended {
            Ended::Skipped(because) => because,
            Ended::Ok | Ended::Cached | Ended::Failed | Ended::Cancelled => Because::Upstream(step),
        };
        let mut open = std::mem::take(&mut self.consumers[step.at()]);
        while let Some(next) = open.pop() {
            match self.states[next.at()] {
                State::Waiting => {
                    self.enter(next, State::Ended(Ended::Skipped(because)));
                    open.append(&mut self.consumers[next.at()]);
                }
                // Met on another way; it can't have begun without this need.
                State::Deciding
                | State::Ready
                | State::Running
                | State::Cancelling
                | State::Killing
                | State::Backoff
                | State::Held
                | State::Ended(_) => {}
            }
        }
    }

    /// Ends a step whose condition says no, and everything that is made from it, but what only gathers.
    fn leave_out(&mut self, step: StepIndex, because: Because) {
        self.enter(step, State::Ended(Ended::Skipped(because)));
        let mut open = vec![step];
        while let Some(ended) = open.pop() {
            for next in std::mem::take(&mut self.consumers[ended.at()]) {
                if self.states[next.at()] != State::Waiting {
                    continue;
                }
                if self.specs[next.at()].gathers && !self.specs[ended.at()].gates {
                    self.missing[next.at()] -= 1;
                    self.open(next);
                } else {
                    let because = Because::LeftOut(step);
                    self.enter(next, State::Ended(Ended::Skipped(because)));
                    open.push(next);
                }
            }
        }
    }

    fn decided(&mut self, step: StepIndex, verdict: Verdict) {
        if self.state(step) != Some(State::Deciding) {
            return;
        }
        match verdict {
            Verdict::Run => {}
            Verdict::Cached => return self.end_well(step, Ended::Cached),
            Verdict::LeftOut => return self.leave_out(step, Because::Condition),
            Verdict::Failed => return self.fail(step),
        }
        match self.mode.because() {
            None => self.enter(step, State::Ready),
            Some(because) => self.enter(step, State::Ended(Ended::Skipped(because))),
        }
    }

    fn attempt_over(&mut self, step: StepIndex, finish: Finish) {
        let Some(state) = self.state(step).filter(|state| state.is_live()) else { return };
        let (made, allowed) = self.attempts[step.at()];
        match finish {
            Finish::Ok => self.end_well(step, Ended::Ok),
            Finish::Shared => self.end_well(step, Ended::Cached),
            Finish::Cancelled => self.end_badly(step, Ended::Cancelled),
            Finish::PutOff(delay) => self.put_off(step, delay),
            Finish::FailedBefore => self.end_badly(step, Ended::Failed),
            Finish::Failed(Retry::Allowed)
                if made < allowed && self.mode == Mode::Going && state == State::Running =>
            {
                self.enter(step, State::Backoff);
            }
            Finish::Failed(Retry::Allowed | Retry::Never) => {
                self.fail(step);
            }
        }
    }

    /// What was commanded was no attempt. Where nothing starts any more, the step ends as if it had waited for a place.
    fn put_off(&mut self, step: StepIndex, delay: Duration) {
        let made = &mut self.attempts[step.at()].0;
        *made -= 1;
        let made = *made;
        match self.mode.because() {
            None => {
                self.enter(step, State::Held);
                self.commands.push(Command::Hold { step, delay });
            }
            Some(because) if made == 0 => self.end_badly(step, Ended::Skipped(because)),
            Some(_) => self.end_badly(step, Ended::Failed),
        }
    }

    fn fail(&mut self, step: StepIndex) {
        self.end_badly(step, Ended::Failed);
        match (self.mode, self.options.keep_going) {
            (Mode::Going, KeepGoing::No) => {
                self.mode = Mode::Draining(step);
                self.end_unstarted(Because::Stopped(step));
            }
            (Mode::Going, KeepGoing::Yes)
            | (Mode::Draining(_) | Mode::Stopping(_) | Mode::Killing(_), _) => {}
        }
    }

    fn stop(&mut self, stop: Stop) {
        match (self.mode, stop) {
            (Mode::Going | Mode::Draining(_), _) => {
                self.mode = Mode::Stopping(stop);
                self.end_unstarted(stop.because());
                self.each_live(State::Running, State::Cancelling);
            }
            (Mode::Stopping(first), Stop::Interrupt) => {
                self.mode = Mode::Killing(first);
                self.each_live(State::Cancelling, State::Killing);
            }
            (Mode::Stopping(_), Stop::Timeout | Stop::Superseded) | (Mode::Killing(_), _) => {}
        }
    }

    fn each_live(&mut self, from: State, to: State) {
        for step in self.all() {
            if self.states[step.at()] == from {
                self.enter(step, to);
            }
        }
    }

    /// Ends every step that waits for something, but those whose answer is on its way.
    fn end_unstarted(&mut self, because: Because) {
        self.ready.clear();
        // A step between two attempts has failed; what is made from it says so.
        for step in self.all() {
            let tried = self.attempts[step.at()].0 > 0;
            let state = self.states[step.at()];
            if state == State::Backoff || (state == State::Held && tried) {
                self.end_badly(step, Ended::Failed);
            }
        }
        for step in self.all() {
            match self.states[step.at()] {
                State::Waiting | State::Ready | State::Held => {
                    self.enter(step, State::Ended(Ended::Skipped(because)));
                }
                State::Deciding
                | State::Running
                | State::Cancelling
                | State::Killing
                | State::Backoff
                | State::Ended(_) => {}
            }
        }
    }

    /// Starts what there is a place for and hands out the commands.
    fn answer(&mut self) -> Vec<Command> {
        while self.mode == Mode::Going && self.live < self.options.jobs.get() {
            let Some(Reverse((_, step))) = self.ready.pop() else { break };
            self.enter(step, State::Running);
        }
        if self.totals.sum() == self.states.len() && !self.growing && !self.finished {
            self.finished = true;
            self.commands.push(Command::Finish(self.outcome()));
        }
        std::mem::take(&mut self.commands)
    }

    fn outcome(&self) -> RunOutcome {
        match self.mode {
            Mode::Stopping(stop) | Mode::Killing(stop) => match stop {
                Stop::Interrupt => RunOutcome::Interrupted,
                Stop::Timeout => RunOutcome::TimedOut,
                Stop::Superseded => RunOutcome::Superseded,
            },
            Mode::Going | Mode::Draining(_) => {
                let well = self.totals.ok + self.totals.cached + self.totals.left_out;
                let whole = well == self.states.len();
                if whole { RunOutcome::Ok } else { RunOutcome::Failed }
            }
        }
    }
}

impl Mode {
    /// Why a step that could start does not.
    fn because(self) -> Option<Because> {
        match self {
            Self::Going => None,
            Self::Draining(step) => Some(Because::Stopped(step)),
            Self::Stopping(stop) | Self::Killing(stop) => Some(stop.because()),
        }
    }
}

impl Stop {
    fn because(self) -> Because {
        match self {
            Self::Interrupt => Because::Interrupted,
            Self::Timeout => Because::TimedOut,
            Self::Superseded => Because::Superseded,
        }
    }
}
