//! Short ways to write steps, causes and commands.

use std::num::NonZeroUsize;
use std::time::Duration;

use polyloom_model::Retries;
use polyloom_schedule::{
    Because, Cause, Command, Ended, Entry, Finish, KeepGoing, Options, Retry, RunOutcome, Schedule,
    StepIndex, StepSpec, Verdict,
};

pub fn options(jobs: usize, keep_going: KeepGoing) -> Options {
    Options { jobs: NonZeroUsize::new(jobs).unwrap(), keep_going }
}

pub fn spec(needs: &[u32], entry: Entry, retries: u32) -> StepSpec {
    let needs = needs.iter().map(|&need| StepIndex(need)).collect();
    let retries = Retries { count: retries, ..Retries::default() };
    StepSpec { needs, gathers: false, gates: false, entry, retries, expected_ms: None }
}

/// One step per line: its needs, `c` for cached, `?` for decide, `-` for left out, `g` for one that gathers, `w` for one that is a gate, `r2` for two retries.
pub fn steps(text: &str) -> Vec<StepSpec> {
    let line = |line: &str| {
        let mut step = spec(&[], Entry::Start, 0);
        for word in line.split_whitespace() {
            match word {
                "c" => step.entry = Entry::Cached,
                "?" => step.entry = Entry::Decide,
                "-" => step.entry = Entry::LeftOut,
                "g" => step.gathers = true,
                "w" => step.gates = true,
                _ => match word.strip_prefix('r') {
                    Some(retries) => step.retries.count = retries.parse().unwrap(),
                    None => step.needs.push(StepIndex(word.parse().unwrap())),
                },
            }
        }
        step
    };
    text.split(',').map(line).collect()
}

pub fn show(commands: &[Command]) -> String {
    let line = |command: &Command| match command {
        Command::Decide { step } => format!("decide {}", step.0),
        Command::Start { step, attempt: 1 } => format!("start {}", step.0),
        Command::Start { step, attempt } => format!("start {}#{attempt}", step.0),
        Command::Wait { step, attempt, delay } => {
            format!("wait {}#{attempt} {}s", step.0, delay.as_secs())
        }
        Command::Hold { step, delay } => format!("hold {} {}ms", step.0, delay.as_millis()),
        Command::Cancel { step } => format!("cancel {}", step.0),
        Command::Kill { step } => format!("kill {}", step.0),
        Command::End { step, ended, .. } => format!("{} {}", step.0, ending(*ended)),
        Command::Finish(outcome) => match outcome {
            RunOutcome::Ok => "finish ok".into(),
            RunOutcome::Failed => "finish failed".into(),
            RunOutcome::Interrupted => "finish interrupted".into(),
            RunOutcome::TimedOut => "finish timed out".into(),
            RunOutcome::Superseded => "finish superseded".into(),
        },
    };
    commands.iter().map(line).collect::<Vec<_>>().join(", ")
}

fn ending(ended: Ended) -> String {
    match ended {
        Ended::Ok => "ok".into(),
        Ended::Cached => "cached".into(),
        Ended::Failed => "failed".into(),
        Ended::Cancelled => "cancelled".into(),
        Ended::Skipped(Because::Upstream(step)) => format!("skipped by {}", step.0),
        Ended::Skipped(Because::Stopped(step)) => format!("stopped by {}", step.0),
        Ended::Skipped(Because::Condition) => "left out".into(),
        Ended::Skipped(Because::LeftOut(step)) => format!("left out by {}", step.0),
        Ended::Skipped(Because::Interrupted) => "interrupted".into(),
        Ended::Skipped(Because::TimedOut) => "timed out".into(),
        Ended::Skipped(Because::Superseded) => "superseded".into(),
    }
}

/// `ok 1`, `fail 1`, `broken 1` (failed, no retry), `before 1` (failed before), `off 1` (put off), `cancelled 1`, `cached 1`, `new 1`, `no 1`, `unclear 1`, `waited 1`, `int`, `timeout`.
pub fn on(schedule: &mut Schedule, cause: &str) -> String {
    let (word, step) = cause.split_once(' ').unwrap_or((cause, "0"));
    let step = StepIndex(step.parse().unwrap());
    let finished = |finish| Cause::Finished { step, finish };
    show(&schedule.on(match word {
        "ok" => finished(Finish::Ok),
        "fail" => finished(Finish::Failed(Retry::Allowed)),
        "broken" => finished(Finish::Failed(Retry::Never)),
        "off" => finished(Finish::PutOff(Duration::from_millis(250))),
        "before" => finished(Finish::FailedBefore),
        "cancelled" => finished(Finish::Cancelled),
        "cached" => Cause::Decided { step, verdict: Verdict::Cached },
        "new" => Cause::Decided { step, verdict: Verdict::Run },
        "no" => Cause::Decided { step, verdict: Verdict::LeftOut },
        "unclear" => Cause::Decided { step, verdict: Verdict::Failed },
        "waited" => Cause::Waited { step },
        "int" => Cause::Interrupt,
        "timeout" => Cause::Timeout,
        "newer" => Cause::Superseded,
        other => panic!("{other}"),
    }))
}
