//! The states of a step and which of them may follow which. Counts by how steps ended.

use crate::{Because, Ended};

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Something it needs has not ended.
    Waiting,
    /// Its content key is being looked up.
    Deciding,
    /// It starts as soon as there is a place.
    Ready,
    /// An attempt runs.
    Running,
    /// The attempt was asked to end.
    Cancelling,
    /// The attempt is being killed.
    Killing,
    /// The last attempt failed; the delay before the next goes on.
    Backoff,
    /// It could start, and its start was put off.
    Held,
    /// It has ended for good.
    Ended(Ended),
}

impl State {
    /// Whether an attempt of it takes a place.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Running | Self::Cancelling | Self::Killing => true,
            Self::Waiting
            | Self::Deciding
            | Self::Ready
            | Self::Backoff
            | Self::Held
            | Self::Ended(_) => false,
        }
    }

    /// Whether `next` may follow.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use State::{Backoff, Cancelling, Deciding, Held, Killing, Ready, Running, Waiting};
        let Self::Ended(ended) = next else {
            return match self {
                Waiting => matches!(next, Deciding | Ready),
                Deciding | Backoff | Held => next == Ready,
                Ready => next == Running,
                Running => matches!(next, Backoff | Held | Cancelling),
                Cancelling => next == Killing,
                Killing | Self::Ended(_) => false,
            };
        };
        match (self, ended) {
            (Waiting | Deciding, Ended::Cached) => true,
            (Waiting | Deciding | Ready | Held, Ended::Skipped(_)) => true,
            // Its start was put off when none is made any more.
            (Running | Cancelling | Killing, Ended::Skipped(_)) => true,
            // Its condition has no answer.
            (Deciding, Ended::Failed) => true,
            (
                Running | Cancelling | Killing,
                Ended::Ok | Ended::Cached | Ended::Failed | Ended::Cancelled,
            ) => true,
            (Backoff | Held, Ended::Failed) => true,
            (Waiting | Ready, Ended::Ok | Ended::Failed | Ended::Cancelled)
            | (Deciding, Ended::Ok | Ended::Cancelled)
            | (Ready, Ended::Cached)
            | (Backoff, Ended::Ok | Ended::Cached | Ended::Cancelled | Ended::Skipped(_))
            | (Held, Ended::Ok | Ended::Cached | Ended::Cancelled)
            | (Self::Ended(_), _) => false,
        }
    }
}

/// How many steps ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Totals {
    pub ok: usize,
    pub cached: usize,
    pub failed: usize,
    pub skipped: usize,
    pub cancelled: usize,
    /// Those of the skipped ones that were left out by a condition: nothing is amiss with them.
    pub left_out: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, ended: Ended) {
        let count = match ended {
            Ended::Ok => &mut self.ok,
            Ended::Cached => &mut self.cached,
            Ended::Failed => &mut self.failed,
            Ended::Cancelled => &mut self.cancelled,
            Ended::Skipped(Because::Condition | Because::LeftOut(_)) => {
                self.left_out += 1;
                &mut self.skipped
            }
            Ended::Skipped(
                Because::Upstream(_)
                | Because::Stopped(_)
                | Because::Interrupted
                | Because::TimedOut
                | Because::Superseded,
            ) => &mut self.skipped,
        };
        *count += 1;
    }

    /// All steps that ended.
    #[must_use]
    pub fn sum(&self) -> usize {
        self.ok + self.cached + self.failed + self.skipped + self.cancelled
    }
}
