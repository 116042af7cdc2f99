//! Longest chains: before a run to start the right step first, after it to say what determined its time.

use polyloom_plan::StepIndex;

use crate::{Entry, StepSpec};

/// For a step of unknown length where none is known, in milliseconds: any constant gives the longest chain by steps.
const UNKNOWN_MS: f64 = 1000.0;

/// The place of each step in the order of starting: longest chain of work from it to the end first, else the plan's order.
pub(crate) fn ranks(steps: &[StepSpec]) -> Vec<u32> {
    let known: Vec<f64> =
        steps.iter().filter_map(|step| step.expected_ms).filter(|ms| ms.is_finite()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a mean to compare by")]
    let mean =
        if known.is_empty() { UNKNOWN_MS } else { known.iter().sum::<f64>() / known.len() as f64 };
    let mut length = vec![0.0_f64; steps.len()];
    for (at, step) in steps.iter().enumerate().rev() {
        // Until here `length[at]` is the longest chain of its consumers, all of which come later.
        length[at] += match step.entry {
            Entry::Cached | Entry::LeftOut => 0.0,
            Entry::Decide | Entry::Start => {
                step.expected_ms.filter(|ms| ms.is_finite()).unwrap_or(mean).max(0.0)
            }
        };
        for need in &step.needs {
            length[need.at()] = length[need.at()].max(length[at]);
        }
    }
    let mut order: Vec<u32> = (0..).take(steps.len()).collect();
    // The sort is stable, so equals stay in the plan's order.
    order.sort_by(|&a, &b| length[b as usize].total_cmp(&length[a as usize]));
    let mut ranks = vec![0; steps.len()];
    for (rank, step) in (0..).zip(order) {
        ranks[step as usize] = rank;
    }
    ranks
}

/// When a step ran, in milliseconds since the start of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Span {
    /// Its first attempt began.
    pub start_ms: f64,
    /// Its last attempt ended.
    pub end_ms: f64,
}

/// The chain of steps that determined when the run ended, first to last: from the step that ended last back over the need that ended
/// last. `spans` has a place for each step, `None` where it did not run.
#[must_use]
pub fn critical_path(steps: &[StepSpec], spans: &[Option<Span>]) -> Vec<StepIndex> {
    let end = |at: usize| spans.get(at).copied().flatten().map(|span| span.end_ms);
    let last = |steps: &mut dyn Iterator<Item = usize>| {
        let ran = steps.filter_map(|at| end(at).map(|end| (at, end)));
        ran.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
    };
    let mut path = Vec::new();
    let mut at = last(&mut (0..steps.len()));
    while let Some(step) = at {
        path.push(StepIndex(u32::try_from(step).expect("a plan's steps are counted in u32")));
        at = last(&mut steps[step].needs.iter().map(|need| need.at()));
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(needs: &[u32], expected_ms: Option<f64>) -> StepSpec {
        let needs = needs.iter().map(|&need| StepIndex(need)).collect();
        StepSpec {
            needs,
            entry: Entry::Start,
            retries: Default::default(),
            gathers: false,
            gates: false,
            expected_ms,
        }
    }

    #[test]
    fn the_step_with_most_work_behind_it_is_first() {
        // 0; 1 → 2 (long); 3 as long as 0.
        let steps = [
            spec(&[], Some(1.0)),
            spec(&[], Some(1.0)),
            spec(&[1], Some(9.0)),
            spec(&[], Some(1.0)),
        ];
        assert_eq!(ranks(&steps), [2, 0, 1, 3]);
        let broken = [spec(&[], Some(f64::NAN)), spec(&[], Some(-5.0)), spec(&[], None)];
        assert_eq!(ranks(&broken).len(), 3);
    }

    #[test]
    fn the_chain_that_ended_last_is_told() {
        let steps = [spec(&[], None), spec(&[], None), spec(&[0, 1], None), spec(&[0], None)];
        let span = |start_ms, end_ms| Some(Span { start_ms, end_ms });
        let spans = [span(0.0, 5.0), span(0.0, 7.0), span(7.0, 9.0), span(5.0, 8.0)];
        assert_eq!(critical_path(&steps, &spans), [StepIndex(1), StepIndex(2)]);
        assert_eq!(critical_path(&steps, &[None; 4]), []);
    }
}
