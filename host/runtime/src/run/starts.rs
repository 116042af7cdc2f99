//! Workers that do not come up: an executor is tried again at once, then after a delay, and after three failed starts in a row not any
//! more in the run. Knows ends of steps and when they were, not why they were run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use polyloom_model::{CellId, ExecutorId};
use polyloom_worker::attempt::Start;

use crate::step::StepEnd;

/// So many failed starts in a row are enough. Attempts that are under way by then go on.
const MOST: u32 = 3;
/// After the second failed start in a row, the next waits this long; after each further one twice as long, up to the longest.
const DELAY: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// So many of its last lines are told, each of at most so many characters.
const LINES: usize = 6;
const LINE: usize = 200;

#[derive(Default)]
pub(super) struct Starts(BTreeMap<ExecutorId, Failed>);

/// The failed starts of one executor since the last good one.
#[derive(Default)]
struct Failed {
    /// Those that had begun before another one failed tell nothing new: they count once together.
    rounds: u32,
    times: u32,
    first_ms: f64,
    last_ms: f64,
    /// When the last round was over.
    round_ms: f64,
    /// Of the last one: the cell, what the host saw, what it said.
    cell: String,
    why: String,
    stderr: String,
}

/// When an attempt was, in milliseconds of the run.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) begun_ms: f64,
    pub(super) ended_ms: f64,
}

impl Failed {
    fn is_enough(&self) -> bool {
        self.rounds >= MOST
    }

    /// How long the next start waits after the last failed one.
    fn delay(&self) -> Duration {
        match self.rounds {
            0 | 1 => Duration::ZERO,
            rounds => DELAY.saturating_mul(1 << (rounds - 2).min(16)).min(LONGEST),
        }
    }
}

impl Starts {
    /// Takes notice of how an attempt ended.
    pub(super) fn saw(
        &mut self,
        executor: &ExecutorId,
        cell: &CellId,
        end: &StepEnd,
        Span { begun_ms, ended_ms }: Span,
    ) {
        match end.start {
            Start::None => {}
            // Who was given up stays so: it has been said.
            Start::Greeted if self.0.get(executor).is_some_and(Failed::is_enough) => {}
            Start::Greeted => {
                self.0.remove(executor);
            }
            Start::Failed => {
                let failed = self.0.entry(executor.clone()).or_default();
                if failed.times == 0 {
                    failed.first_ms = begun_ms;
                }
                if failed.times == 0 || begun_ms >= failed.round_ms {
                    failed.rounds += 1;
                    failed.round_ms = ended_ms;
                }
                failed.times += 1;
                failed.last_ms = ended_ms;
                failed.cell = cell.to_string();
                failed.why =
                    end.explanation.clone().unwrap_or_else(|| end.meta.outcome.to_string());
                failed.stderr.clone_from(&end.meta.stderr.text);
            }
        }
    }

    /// How long the executor is not to be started from now on, if it is to wait.
    pub(super) fn wait(&self, executor: &ExecutorId, now_ms: f64) -> Option<Duration> {
        let failed = self.0.get(executor).filter(|failed| !failed.is_enough())?;
        let since = Duration::try_from_secs_f64((now_ms - failed.round_ms) / 1e3);
        let left = failed.delay().saturating_sub(since.unwrap_or_default());
        (!left.is_zero()).then_some(left)
    }

    /// Why the executor is not started any more, if it is not.
    pub(super) fn given_up(&self, executor: &ExecutorId, run: &str) -> Option<String> {
        let failed = self.0.get(executor).filter(|failed| failed.is_enough())?;
        let Failed { times, cell, why, stderr, .. } = failed;
        let seconds = (failed.last_ms - failed.first_ms) / 1e3;
        let mut text = format!(
            "executor `{executor}` is not started again in this run: it failed to start {times} times in a row within {seconds:.1} s, last for cell `{cell}`: {why}"
        );
        let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let line: String = line.chars().take(LINE).collect();
            let _ = write!(text, "\nits stderr: {line}");
        }
        let _ = write!(
            text,
            "\n`polyloom logs {run} {cell}` shows all it printed, `polyloom doctor` what this machine lacks"
        );
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use polyloom_protocol::Outcome;
    use polyloom_protocol::meta::ExecMeta;

    use super::*;

    fn end(start: Start, stderr: &str) -> StepEnd {
        let mut meta = ExecMeta::new(Outcome::WorkerError);
        stderr.clone_into(&mut meta.stderr.text);
        let explanation = Some("it ended".to_owned());
        StepEnd::new(meta, None, explanation, start)
    }

    fn told(ends: &[StepEnd]) -> Option<String> {
        let (executor, cell) = ("x".parse().expect("an id"), "c".parse().expect("an id"));
        let mut starts = Starts::default();
        for (at, end) in (0_u32..).zip(ends) {
            let begun_ms = 1000.0 * f64::from(at);
            starts.saw(&executor, &cell, end, Span { begun_ms, ended_ms: begun_ms + 100.0 });
        }
        starts.given_up(&executor, "r1")
    }

    #[test]
    fn three_failed_starts_in_a_row_are_enough_and_are_told() {
        let failed = || end(Start::Failed, "one\n\ntwo\n");
        assert_eq!(told(&[failed(), failed()]), None);
        let text = told(&[failed(), end(Start::None, ""), failed(), failed()]).expect("given up");
        assert_eq!(
            text,
            "executor `x` is not started again in this run: it failed to start 3 times in a row within 3.1 s, last for cell `c`: it ended\n\
             its stderr: one\nits stderr: two\n\
             `polyloom logs r1 c` shows all it printed, `polyloom doctor` what this machine lacks"
        );
    }

    #[test]
    fn the_second_start_is_at_once_and_the_third_waits() {
        let (executor, cell) = ("x".parse().expect("an id"), "c".parse().expect("an id"));
        let mut starts = Starts::default();
        let mut fails = |begun_ms, ended_ms| {
            let span = Span { begun_ms, ended_ms };
            starts.saw(&executor, &cell, &end(Start::Failed, ""), span);
            let wait = starts.wait(&executor, ended_ms);
            assert_eq!(starts.wait(&executor, ended_ms + 250.0), None);
            (wait, starts.given_up(&executor, "r1").is_some())
        };
        let quarter = Some(Duration::from_millis(250));
        assert_eq!(fails(0.0, 10.0), (None, false));
        // They were under way together: one failure of the machine may have been enough for all.
        assert_eq!(fails(0.0, 11.0), (None, false));
        assert_eq!(fails(1.0, 12.0), (None, false));
        assert_eq!(fails(10.0, 20.0), (quarter, false));
        let (wait, given_up) = fails(12.0, 30.0);
        assert_eq!((wait, given_up), (Some(Duration::from_millis(240)), false));
        assert_eq!(fails(270.0, 280.0), (None, true));
        let text = starts.given_up(&executor, "r1").expect("given up");
        assert!(text.contains("failed to start 6 times in a row within 0.3 s"), "{text}");
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delay = |rounds| Failed { rounds, ..Failed::default() }.delay().as_millis();
        assert_eq!([0, 1, 2, 3, 4, 9, 99].map(delay), [0, 0, 250, 500, 1000, 30_000, 30_000]);
    }

    #[test]
    fn a_good_start_makes_up_for_bad_ones() {
        let failed = || end(Start::Failed, "");
        let good = end(Start::Greeted, "");
        assert_eq!(told(&[failed(), failed(), good, failed(), failed()]), None);
        let late = end(Start::Greeted, "");
        assert!(told(&[failed(), failed(), failed(), late]).is_some());
    }
}
