//! Random graphs, random answers in random order, interrupts anywhere. A plain recursion over the graph is the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use polyloom_schedule::{
    Because, Cause, Command, Ended, Entry, Finish, KeepGoing, Retry, RunOutcome, Schedule,
    StepIndex, StepSpec, Verdict,
};
use proptest::prelude::*;

use crate::support::{options, spec};

/// What a step does when it is asked.
#[derive(Debug, Clone, Copy)]
struct Script {
    verdict: Verdict,
    /// Attempts that fail before one does well.
    failures: u32,
    retry: Retry,
    /// So often its start is put off.
    held: u32,
}

/// Something from outside, when so many causes have been taken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shock {
    Interrupt,
    Timeout,
    Superseded,
    /// A cause for any step that it may not be waiting for.
    Noise(u32, u8),
}

#[derive(Debug, Clone)]
struct Case {
    steps: Vec<StepSpec>,
    scripts: Vec<Script>,
    jobs: usize,
    keep_going: KeepGoing,
    /// Which of the open answers comes next.
    order: Vec<prop::sample::Index>,
    shocks: BTreeMap<usize, Shock>,
}

fn case(shocks: bool) -> impl Strategy<Value = Case> {
    let entry = prop_oneof![1 => Just(Entry::Cached), 1 => Just(Entry::LeftOut), 3 => Just(Entry::Decide), 4 => Just(Entry::Start)];
    let retry = prop_oneof![3 => Just(Retry::Allowed), 1 => Just(Retry::Never)];
    let failures = prop_oneof![4 => Just(0), 1 => 1..4u32];
    let verdict = prop_oneof![
        3 => Just(Verdict::Run),
        2 => Just(Verdict::Cached),
        1 => Just(Verdict::LeftOut),
        1 => Just(Verdict::Failed),
    ];
    let held = prop_oneof![3 => Just(0), 1 => 1..3u32];
    let script = (verdict, failures, retry, held)
        .prop_map(|(verdict, failures, retry, held)| Script { verdict, failures, retry, held });
    let needs = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let step = (needs, entry, 0..3u32, script, prop::bool::weighted(0.2));
    let shock = prop_oneof![
        2 => Just(Shock::Interrupt),
        1 => Just(Shock::Timeout),
        1 => Just(Shock::Superseded),
        2 => (0..20u32, any::<u8>()).prop_map(|(step, kind)| Shock::Noise(step, kind)),
    ];
    let shocks = prop::collection::btree_map(0..30usize, shock, if shocks { 0..5 } else { 0..1 });
    (
        prop::collection::vec(step, 0..16),
        1..5usize,
        prop_oneof![Just(KeepGoing::No), Just(KeepGoing::Yes)],
        prop::collection::vec(any::<prop::sample::Index>(), 1..80),
        shocks,
    )
        .prop_map(|(drawn, jobs, keep_going, order, shocks)| {
            let mut steps = Vec::new();
            let mut scripts = Vec::new();
            for (at, (needs, entry, retries, script, gathers)) in drawn.into_iter().enumerate() {
                let needs: BTreeSet<u32> = match at {
                    0 => BTreeSet::new(),
                    // As in a plan: what is cached stands on nothing.
                    _ if matches!(entry, Entry::Cached | Entry::LeftOut) => BTreeSet::new(),
                    _ => needs.iter().map(|need| u32::try_from(need.index(at)).unwrap()).collect(),
                };
                let needs = needs.into_iter().collect::<Vec<_>>();
                steps.push(StepSpec { gathers, ..spec(&needs, entry, retries) });
                scripts.push(script);
            }
            Case { steps, scripts, jobs, keep_going, order, shocks }
        })
}

/// The world around the machine.
#[derive(Default)]
struct World {
    deciding: BTreeSet<StepIndex>,
    running: BTreeMap<StepIndex, u32>,
    waiting: BTreeSet<StepIndex>,
    /// How often starts were put off.
    held: BTreeMap<StepIndex, u32>,
    cancelled: BTreeSet<StepIndex>,
    killed: BTreeSet<StepIndex>,
    ended: BTreeMap<StepIndex, Ended>,
    finished: Option<RunOutcome>,
    stopped: bool,
    failed: bool,
}

impl World {
    fn take(&mut self, case: &Case, commands: Vec<Command>) {
        for command in commands {
            assert_eq!(self.finished, None, "{command:?} after the end");
            let there = |step: StepIndex, ended: &BTreeMap<StepIndex, Ended>| {
                let good = |need| match ended.get(need) {
                    Some(Ended::Ok | Ended::Cached) => true,
                    Some(Ended::Skipped(Because::Condition | Because::LeftOut(_))) => {
                        case.steps[step.at()].gathers
                    }
                    _ => false,
                };
                case.steps[step.at()].needs.iter().all(good)
            };
            match command {
                Command::Decide { step } => {
                    assert!(there(step, &self.ended) && self.deciding.insert(step));
                }
                Command::Start { step, attempt } => {
                    assert!(there(step, &self.ended), "{step:?} starts before its needs");
                    assert!(!self.stopped, "{step:?} starts after an interrupt");
                    assert!(
                        !(self.failed && case.keep_going == KeepGoing::No),
                        "starts after a failure"
                    );
                    assert!(attempt >= 1 && attempt <= case.steps[step.at()].retries.count + 1);
                    assert!(!self.ended.contains_key(&step));
                    assert_eq!(self.running.insert(step, attempt), None);
                    assert!(self.running.len() <= case.jobs, "too many at once");
                }
                Command::Wait { step, attempt, .. } => {
                    assert!(attempt > 1 && !self.running.contains_key(&step));
                    assert!(self.waiting.insert(step));
                }
                Command::Hold { step, .. } => {
                    assert!(!self.running.contains_key(&step) && !self.stopped);
                    assert!(self.waiting.insert(step));
                }
                Command::Cancel { step } => {
                    assert!(self.stopped && self.running.contains_key(&step));
                    assert!(self.cancelled.insert(step), "cancelled twice");
                }
                Command::Kill { step } => {
                    assert!(self.running.contains_key(&step) && self.cancelled.contains(&step));
                    assert!(self.killed.insert(step), "killed twice");
                }
                Command::End { step, ended, .. } => {
                    assert!(!self.running.contains_key(&step) && !self.deciding.contains(&step));
                    assert_eq!(self.ended.insert(step, ended), None, "{step:?} ends twice");
                    self.waiting.remove(&step);
                    self.failed |= ended == Ended::Failed;
                }
                Command::Finish(outcome) => {
                    assert_eq!(self.ended.len(), case.steps.len(), "finished too early");
                    self.finished = Some(outcome);
                }
            }
        }
    }

    /// One of the open answers.
    fn next(&mut self, case: &Case, pick: prop::sample::Index) -> Option<Cause> {
        let open: Vec<(u8, StepIndex)> = (self.deciding.iter().map(|&step| (0, step)))
            .chain(self.running.keys().map(|&step| (1, step)))
            .chain(self.waiting.iter().map(|&step| (2, step)))
            .collect();
        if open.is_empty() {
            return None;
        }
        let (kind, step) = open[pick.index(open.len())];
        let script = case.scripts[step.at()];
        Some(match kind {
            0 => {
                self.deciding.remove(&step);
                Cause::Decided { step, verdict: script.verdict }
            }
            1 => {
                let attempt = self.running.remove(&step).unwrap();
                let held = self.held.entry(step).or_default();
                if *held < script.held {
                    *held += 1;
                    return Some(Cause::Finished { step, finish: Finish::PutOff(Duration::ZERO) });
                }
                let finish = if self.cancelled.contains(&step) && attempt % 2 == 1 {
                    Finish::Cancelled
                } else if attempt <= script.failures {
                    Finish::Failed(script.retry)
                } else {
                    Finish::Ok
                };
                Cause::Finished { step, finish }
            }
            _ => {
                self.waiting.remove(&step);
                Cause::Waited { step }
            }
        })
    }
}

/// A cause for a step that does not wait for it.
fn noise(world: &World, step: u32, kind: u8) -> Option<Cause> {
    let step = StepIndex(step);
    match kind % 3 {
        0 if !world.deciding.contains(&step) => {
            Some(Cause::Decided { step, verdict: Verdict::Cached })
        }
        1 if !world.running.contains_key(&step) => {
            Some(Cause::Finished { step, finish: Finish::Ok })
        }
        2 if !world.waiting.contains(&step) => Some(Cause::Waited { step }),
        _ => None,
    }
}

fn drive(case: &Case) -> World {
    let mut schedule = Schedule::new(&case.steps, options(case.jobs, case.keep_going));
    let mut world = World::default();
    world.take(case, schedule.start());
    for turn in 0.. {
        assert!(turn < 1000, "it does not end");
        match case.shocks.get(&turn) {
            Some(Shock::Interrupt) => {
                world.stopped = true;
                world.take(case, schedule.on(Cause::Interrupt));
            }
            Some(Shock::Timeout) => {
                world.stopped = true;
                world.take(case, schedule.on(Cause::Timeout));
            }
            Some(Shock::Superseded) => {
                world.stopped = true;
                world.take(case, schedule.on(Cause::Superseded));
            }
            Some(&Shock::Noise(step, kind)) => {
                if let Some(cause) = noise(&world, step, kind) {
                    assert_eq!(schedule.on(cause), []);
                }
            }
            None => {}
        }
        assert_eq!(schedule.live(), world.running.len());
        let Some(cause) = world.next(case, case.order[turn % case.order.len()]) else { break };
        world.take(case, schedule.on(cause));
    }
    assert!(world.finished.is_some(), "nothing is open and the run has not ended");
    assert_eq!(schedule.totals().sum(), case.steps.len());
    world
}

/// How each step must end when the run keeps going and nobody interrupts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Must {
    Be(Ended),
    BeLeftOut,
    BeSkipped,
    /// Whichever of its needs ended first decides.
    BeEither,
}

fn oracle(case: &Case) -> Vec<Must> {
    let mut all: Vec<Must> = Vec::new();
    for (step, script) in case.steps.iter().zip(&case.scripts) {
        let needs = |of: &[Must]| step.needs.iter().any(|need| of.contains(&all[need.at()]));
        let bad = needs(&[Must::Be(Ended::Failed), Must::BeSkipped]);
        let left = needs(&[Must::BeLeftOut]) && !step.gathers;
        let either = needs(&[Must::BeEither]);
        let attempts = if script.retry == Retry::Never { 1 } else { step.retries.count + 1 };
        all.push(match (step.entry, script.verdict) {
            (Entry::Cached, _) => Must::Be(Ended::Cached),
            (Entry::LeftOut, _) => Must::BeLeftOut,
            _ if either || (bad && left) => Must::BeEither,
            _ if bad => Must::BeSkipped,
            _ if left => Must::BeLeftOut,
            (Entry::Decide, Verdict::Cached) => Must::Be(Ended::Cached),
            (Entry::Decide, Verdict::LeftOut) => Must::BeLeftOut,
            (Entry::Decide, Verdict::Failed) => Must::Be(Ended::Failed),
            _ if script.failures >= attempts => Must::Be(Ended::Failed),
            _ => Must::Be(Ended::Ok),
        });
    }
    all
}

/// Whether `from` is made from `to`.
fn made_from(case: &Case, from: StepIndex, to: StepIndex) -> bool {
    case.steps[from.at()].needs.iter().any(|&need| need == to || made_from(case, need, to))
}

/// As `made_from`, but not by way of steps that are left out: who gathers does not wait for what these need.
fn waits_for(case: &Case, world: &World, from: StepIndex, to: StepIndex) -> bool {
    let left = |step| {
        matches!(world.ended[&step], Ended::Skipped(Because::Condition | Because::LeftOut(_)))
    };
    let mut needs = case.steps[from.at()].needs.iter();
    needs.any(|&need| need == to || (!left(need) && waits_for(case, world, need, to)))
}

fn check_skips(case: &Case, world: &World) {
    for (&step, &ended) in &world.ended {
        let bad = |step| matches!(world.ended[&step], Ended::Failed | Ended::Cancelled);
        match ended {
            Ended::Skipped(Because::Upstream(from)) => {
                assert!(bad(from) && made_from(case, step, from), "{step:?} blames {from:?}");
            }
            Ended::Skipped(Because::Stopped(by)) => {
                assert!(case.keep_going == KeepGoing::No && bad(by));
                assert!(!waits_for(case, world, step, by));
            }
            Ended::Skipped(Because::LeftOut(from)) => {
                assert!(made_from(case, step, from) && !case.steps[step.at()].gathers);
                assert!(matches!(
                    world.ended[&from],
                    Ended::Skipped(Because::Condition | Because::LeftOut(_))
                ));
            }
            Ended::Skipped(Because::Condition) => {}
            Ended::Skipped(Because::Interrupted | Because::TimedOut | Because::Superseded) => {
                assert!(world.stopped)
            }
            Ended::Ok | Ended::Cached | Ended::Failed | Ended::Cancelled => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_and_breaks_no_rule(case in case(true)) {
        let world = drive(&case);
        check_skips(&case, &world);
        let fine = |ended: &Ended| matches!(
            ended,
            Ended::Ok
                | Ended::Cached
                | Ended::Skipped(Because::Condition | Because::LeftOut(_))
        );
        let bad = !world.ended.values().all(fine);
        match world.finished.unwrap() {
            RunOutcome::Ok => prop_assert!(!bad),
            RunOutcome::Failed => prop_assert!(world.failed),
            RunOutcome::Interrupted | RunOutcome::TimedOut | RunOutcome::Superseded => {
                prop_assert!(world.stopped)
            },
        }
    }

    #[test]
    fn an_undisturbed_run_ends_as_the_oracle_says(case in case(false)) {
        let world = drive(&case);
        check_skips(&case, &world);
        for (at, expected) in oracle(&case).into_iter().enumerate() {
            let ended = world.ended[&StepIndex(u32::try_from(at).unwrap())];
            match (expected, ended) {
                (Must::BeEither, _) => {}
                (Must::BeSkipped, Ended::Skipped(Because::Upstream(_) | Because::Stopped(_))) => {}
                (
                    Must::BeLeftOut,
                    Ended::Skipped(Because::Condition | Because::LeftOut(_)),
                ) => {}
                (Must::Be(expected), ended) if expected == ended => {}
                // Without --keep-going the order decides how far it came, or whether a retry was made.
                (Must::Be(_) | Must::BeLeftOut, Ended::Skipped(_) | Ended::Failed) => {
                    prop_assert!(case.keep_going == KeepGoing::No && world.failed);
                }
                (expected, ended) => prop_assert!(false, "{at}: {expected:?}, {ended:?}"),
            }
        }
    }
}
