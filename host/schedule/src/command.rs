//! The two vocabularies of the machine: causes go in, commands come out. Plain data.

use std::time::Duration;

use polyloom_plan::StepIndex;

/// Something that happened. One that does not fit the state of its step (a timer that fired late) changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The answer to [`Command::Decide`].
    Decided {
        /// The step.
        step: StepIndex,
        /// What is known of it.
        verdict: Verdict,
    },
    /// An attempt is over and nothing of it is left running.
    Finished {
        /// The step.
        step: StepIndex,
        /// How it ended.
        finish: Finish,
    },
    /// The delay of [`Command::Wait`] or [`Command::Hold`] is over.
    Waited {
        /// The step.
        step: StepIndex,
    },
    /// The user wants it to end: the first time gently, the second at once.
    Interrupt,
    /// The run has taken as long as it may; ends it as the first interrupt does.
    Timeout,
    /// There is a newer plan, whose run takes this one's place; ends it as the first interrupt does.
    Superseded,
}

/// What is known of a step once its inputs are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it runs.
    Run,
    /// Its result, complete.
    Cached,
    /// Its condition says no.
    LeftOut,
    /// Its condition has no answer: it can't run.
    Failed,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Its outputs are in the store.
    Ok,
    /// Its outputs are in the store, and another run made them.
    Shared,
    /// It failed.
    Failed(Retry),
    /// It was not tried, since it is known to fail. That stops no other step.
    FailedBefore,
    /// It was not tried yet: it is to be started after this delay, which takes no place. Counts as no attempt.
    PutOff(Duration),
    /// It was cancelled or killed, by a command or by the runtime on its own.
    Cancelled,
}

/// Whether another attempt could end otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It could; the step's own count of retries decides.
    Allowed,
    /// It could not: a permission is missing, a declared output does not exist.
    Never,
}

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Ask the step's condition, look up its content key (its inputs are there) and answer with [`Cause::Decided`]. Takes no place of a job.
    Decide {
        /// The step.
        step: StepIndex,
    },
    /// Start an attempt and answer with [`Cause::Finished`].
    Start {
        /// The step.
        step: StepIndex,
        /// From 1.
        attempt: u32,
    },
    /// The last attempt failed and there will be another: answer with [`Cause::Waited`] after the delay. Takes no place of a job.
    Wait {
        /// The step.
        step: StepIndex,
        /// The number of the attempt to come.
        attempt: u32,
        /// How long.
        delay: Duration,
    },
    /// The attempt was put off: answer with [`Cause::Waited`] after the delay. Takes no place of a job.
    Hold {
        /// The step.
        step: StepIndex,
        /// How long.
        delay: Duration,
    },
    /// Ask the running attempt to end, and end it when its grace is over; [`Cause::Finished`] still follows.
    Cancel {
        /// The step.
        step: StepIndex,
    },
    /// End the running attempt at once; [`Cause::Finished`] still follows.
    Kill {
        /// The step.
        step: StepIndex,
    },
    /// The step has ended for good. Said exactly once for each step.
    End {
        /// The step.
        step: StepIndex,
        /// How.
        ended: Ended,
        /// Attempts made.
        attempts: u32,
    },
    /// Every step has ended. Said exactly once, last.
    Finish(RunOutcome),
}

impl Command {
    /// The step it is about.
    #[must_use]
    pub fn step(&self) -> Option<StepIndex> {
        match self {
            Self::Decide { step }
            | Self::Start { step, .. }
            | Self::Wait { step, .. }
            | Self::Hold { step, .. }
            | Self::Cancel { step }
            | Self::Kill { step }
            | Self::End { step, .. } => Some(*step),
            Self::Finish(_) => None,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It ran well.
    Ok,
    /// Its result was known.
    Cached,
    /// Its last attempt failed.
    Failed,
    /// It was stopped while it ran.
    Cancelled,
    /// It was never started.
    Skipped(Because),
}

/// Why a step was never started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Its condition says no.
    Condition,
    /// This step, which it is made from (not always directly), is left out.
    LeftOut(StepIndex),
    /// This step, which it is made from (not always directly), failed or was cancelled.
    Upstream(StepIndex),
    /// This step failed, and the run does not keep going.
    Stopped(StepIndex),
    /// The user interrupted the run.
    Interrupted,
    /// The run's time was over.
    TimedOut,
    /// A newer plan took over.
    Superseded,
}

/// How the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// Every step is ok, cached, or left out by a condition.
    Ok,
    /// A step failed or was cancelled by itself.
    Failed,
    /// The user interrupted it before every step had ended.
    Interrupted,
    /// Its time was over before every step had ended.
    TimedOut,
    /// A newer plan took over before every step had ended.
    Superseded,
}
