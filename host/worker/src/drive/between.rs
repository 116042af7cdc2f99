//! What is asked of a worker between two cells and takes its time: the limits of a cell hold there, too.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use polyloom_model::{Limit, Limits};
use polyloom_protocol::FromHost;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::unix::AsyncFdReadyGuard;

use super::{Seat, TICK, converse};
use crate::talk::Answer;

/// What a worker may use for an answer: as much as the last cell of its session might.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bounds {
    timeout: Duration,
    cpu_time: Option<Duration>,
    output: u64,
}

impl Bounds {
    /// Those of a cell.
    pub fn of(limits: &Limits) -> Self {
        Self { timeout: limits.timeout, cpu_time: limits.cpu_time, output: limits.output }
    }

    /// What is said of a worker that would use more.
    fn reached(&self, limit: Limit, peak: u64) -> Unanswered {
        let Self { timeout, cpu_time, output } = *self;
        let limits = Limits { timeout, cpu_time, output, ..Limits::default() };
        Unanswered::Limit(limit.reached(&limits, Some(peak)))
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(&Limits::default())
    }
}

/// Why there is no answer; nobody knows in what state the worker is then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// It is gone, or said something that is no answer.
    #[error("its worker ended, or said what it may not")]
    Ended,
    /// It would have used more than it may.
    #[error("its worker ran into a limit of the session's cells: {0}")]
    Limit(String),
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Seat {
    /// Says something to its worker while no cell runs, and waits for the answer. What is printed meanwhile is nobody's.
    pub async fn ask_within(
        &mut self,
        messages: impl IntoIterator<Item = FromHost>,
        bounds: &Bounds,
    ) -> Result<Answer, Unanswered> {
        self.greet().await.ok_or(Unanswered::Ended)?;
        let Self { cell, stdout, stderr, worker, talk, .. } = self;
        let (Some(worker), Some(talk)) = (worker.as_ref(), talk.as_mut()) else {
            return Err(Unanswered::Ended);
        };
        let unsent = messages.into_iter().flat_map(|it| talk.say_between(it)).collect();
        let (began, before) = (Instant::now(), cell.usage().cpu);
        let (mut printed, mut buffer) = (0, vec![0; 64 << 10]);
        let (mut out_is_open, mut err_is_open) = (true, true);
        {
            let answered = converse(worker, talk, unsent, |talk| talk.answer.is_some());
            tokio::pin!(answered);
            let late = tokio::time::sleep_until((began + bounds.timeout).into());
            tokio::pin!(late);
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answered => break answer.ok_or(Unanswered::Ended)?,
                    () = &mut late => {
                        return Err(bounds.reached(Limit::Timeout, millis(began.elapsed())));
                    }
                    _ = tick.tick() => {
                        if cell.poll_exit().is_some() {
                            return Err(Unanswered::Ended);
                        }
                        let used = cell.usage().cpu.saturating_sub(before);
                        if bounds.cpu_time.is_some_and(|limit| used > limit) {
                            return Err(bounds.reached(Limit::CpuTime, millis(used)));
                        }
                    }
                    ready = stdout.readable(), if out_is_open => {
                        out_is_open = drained(ready, &mut buffer, &mut printed);
                    }
                    ready = stderr.readable(), if err_is_open => {
                        err_is_open = drained(ready, &mut buffer, &mut printed);
                    }
                }
                if printed > bounds.output {
                    return Err(bounds.reached(Limit::Output, printed));
                }
            }
        }
        talk.answer.take().ok_or(Unanswered::Ended)
    }
}

/// Reads what a pipe has now, and counts it; whether there may be more later.
fn drained(
    ready: std::io::Result<AsyncFdReadyGuard<'_, OwnedFd>>,
    buffer: &mut [u8],
    printed: &mut u64,
) -> bool {
    let Ok(mut ready) = ready else { return false };
    match ready.try_io(|fd| Ok(nix::unistd::read(fd, buffer)?)) {
        Ok(Ok(count @ 1..)) => *printed += count as u64,
        Ok(Ok(0) | Err(_)) => return false,
        Err(_) => {}
    }
    true
}
