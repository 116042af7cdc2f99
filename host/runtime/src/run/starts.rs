//! Workers that do not come up: after three failed starts in a row, an executor is not started again in the run. Knows ends of steps, not why
//! they were run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use polyloom_model::{CellId, ExecutorId};
use polyloom_worker::attempt::Start;

use crate::step::StepEnd;

/// So many failed starts in a row are enough. Attempts that are under way by then go on.
const MOST: u32 = 3;
/// So many of its last lines are told, each of at most so many characters.
const LINES: usize = 6;
const LINE: usize = 200;

#[derive(Default)]
pub(super) struct Starts(BTreeMap<ExecutorId, Failed>);

/// The failed starts of one executor since the last good one.
#[derive(Default)]
struct Failed {
    times: u32,
    /// Of the last one: the cell, what the host saw, what it said.
    cell: String,
    why: String,
    stderr: String,
}

impl Starts {
    /// Takes notice of how an attempt ended.
    pub(super) fn saw(&mut self, executor: &ExecutorId, cell: &CellId, end: &StepEnd) {
        match end.start {
            Start::None => {}
            // Who was given up stays so: it has been said.
            Start::Greeted if self.0.get(executor).is_some_and(|it| it.times >= MOST) => {}
            Start::Greeted => {
                self.0.remove(executor);
            }
            Start::Failed => {
                let failed = self.0.entry(executor.clone()).or_default();
                failed.times += 1;
                failed.cell = cell.to_string();
                failed.why =
                    end.explanation.clone().unwrap_or_else(|| end.meta.outcome.to_string());
                failed.stderr.clone_from(&end.meta.stderr.text);
            }
        }
    }

    /// Why the executor is not started any more, if it is not.
    pub(super) fn given_up(&self, executor: &ExecutorId, run: &str) -> Option<String> {
        let failed = self.0.get(executor).filter(|failed| failed.times >= MOST)?;
        let Failed { times, cell, why, stderr } = failed;
        let mut text = format!(
            "executor `{executor}` is not started again in this run: it failed to start {times} times in a row, last for cell `{cell}`: {why}"
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
        ends.iter().for_each(|end| starts.saw(&executor, &cell, end));
        starts.given_up(&executor, "r1")
    }

    #[test]
    fn three_failed_starts_in_a_row_are_enough_and_are_told() {
        let failed = || end(Start::Failed, "one\n\ntwo\n");
        assert_eq!(told(&[failed(), failed()]), None);
        let text = told(&[failed(), end(Start::None, ""), failed(), failed()]).expect("given up");
        assert_eq!(
            text,
            "executor `x` is not started again in this run: it failed to start 3 times in a row, last for cell `c`: it ended\n\
             its stderr: one\nits stderr: two\n\
             `polyloom logs r1 c` shows all it printed, `polyloom doctor` what this machine lacks"
        );
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
