//! Whether an attack was held, from the event stream of the run alone. Pure: it starts nothing and reads nothing.

use std::collections::BTreeMap;

use polyloom_events::{Event, Record};
use polyloom_protocol::meta::{ExecMeta, Level, Outcome, Severity};
use regex_lite::Regex;

use crate::Case;
use crate::case::NeedLevel;

/// What an attack prints of whatever was not refused, whatever else it was to print.
const THROUGH: &str = "LET THROUGH";

/// What became of an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It got nowhere.
    Held,
    /// It got where it is known to get.
    Known(String),
    /// A mechanism that would stop it does not hold whole here, and the record of the run says so: mechanism, level, reason.
    NotEnforced(String),
    /// It can't be tried: why.
    NotApplicable(String),
    /// It got somewhere, or what was to be seen was not: all that is wrong.
    Failed(Vec<String>),
}

impl Verdict {
    /// One word, or two.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Known(_) => "known gap",
            Self::NotEnforced(_) => "not enforced",
            Self::NotApplicable(_) => "not applicable",
            Self::Failed(_) => "FAILED",
        }
    }

    /// The rest of it.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Held => String::new(),
            Self::Known(text) | Self::NotEnforced(text) | Self::NotApplicable(text) => text.clone(),
            Self::Failed(all) => all.join("; "),
        }
    }
}

/// The verdict over one case, and what was seen of it.
#[must_use]
pub fn judge(case: &Case, records: &[Record]) -> (Verdict, String) {
    let cell = case.cell();
    let mut finished = records.iter().filter_map(|record| match &record.event {
        Event::StepFinished { cell: id, meta, .. } if *id == cell => Some(meta),
        _ => None,
    });
    let Some(meta) = finished.next() else {
        return (Verdict::Failed(vec!["it has no result".to_owned()]), "nothing".to_owned());
    };
    let mut wrong = wrong(case, meta);
    let logs = records
        .iter()
        .filter(|record| matches!(&record.event, Event::Log { cell: id, .. } if *id == cell));
    if let Some(below) = case.expect.logs_below
        && logs.count() >= below
    {
        wrong.push(format!("what it printed became {below} events or more"));
    }
    let verdict = match (&case.known, wrong.is_empty()) {
        (None, true) => Verdict::Held,
        (Some(_), true) => Verdict::Failed(vec![
            "it is listed as a known gap, but was held: take `known` away".to_owned(),
        ]),
        (Some(known), false) => Verdict::Known(known.clone()),
        (None, false) => match weak(case, meta) {
            Some(weak) => Verdict::NotEnforced(weak),
            None => Verdict::Failed(wrong),
        },
    };
    (verdict, seen(meta))
}

/// The first mechanism that is weaker than the case needs.
fn weak(case: &Case, meta: &ExecMeta) -> Option<String> {
    case.needs.iter().find_map(|(mechanism, need)| {
        let row = meta.enforcement.iter().find(|row| row.mechanism == *mechanism);
        let level = row.map_or(Level::None, |row| row.level);
        let enough = match need {
            NeedLevel::Partial => Level::Partial,
            NeedLevel::Full => Level::Full,
        };
        let reason = row.map_or("it is not in the record", |row| row.detail.as_str());
        (level < enough).then(|| format!("{mechanism}, {}, {reason}", level.as_str()))
    })
}

fn wrong(case: &Case, meta: &ExecMeta) -> Vec<String> {
    let expect = &case.expect;
    let mut wrong = Vec::new();
    if !expect.outcome.iter().any(|outcome| outcome == meta.outcome.as_str()) {
        wrong.push(format!("it ended as {}", meta.outcome));
    }
    if !expect.exit.is_empty() && !meta.exit_code.is_some_and(|code| expect.exit.contains(&code)) {
        wrong.push(format!("exit code {:?}", meta.exit_code));
    }
    if !expect.signal.is_empty() && !meta.signal.is_some_and(|it| expect.signal.contains(&it)) {
        wrong.push(format!("signal {:?}", meta.signal));
    }
    let messages: Vec<&str> = meta.diagnostics.iter().map(|d| d.message.as_str()).collect();
    let messages = messages.join("\n");
    let mut texts = |what: &str, text: &str, must: &[String], must_not: &[String]| {
        for pattern in must {
            if !matches(pattern, text) {
                wrong.push(format!("{what} has no `{pattern}`: {}", first_line(text)));
            }
        }
        for pattern in must_not {
            if matches(pattern, text) {
                wrong.push(format!("{what} has `{pattern}`"));
            }
        }
    };
    texts("stdout", &meta.stdout.text, &expect.stdout, &expect.not_stdout);
    texts("stderr", &meta.stderr.text, &expect.stderr, &expect.not_stderr);
    texts("messages", &messages, &expect.diagnostics, &[]);
    if meta.stdout.text.contains(THROUGH) {
        let lines = meta.stdout.text.lines().filter(|line| line.contains(THROUGH));
        wrong.push(lines.map(first_line).collect::<Vec<_>>().join(", "));
    }
    if let Some(expected) = &expect.artifacts {
        let there: Vec<&String> = meta.artifacts.keys().collect();
        if there != expected.iter().collect::<Vec<_>>() {
            wrong.push(format!("its results are {there:?}"));
        }
    }
    if let Some(within) = expect.within()
        && meta.wall_ms > within.as_secs_f64() * 1e3
    {
        wrong.push(format!("it took {:.1} s", meta.wall_ms / 1e3));
    }
    if expect.cpu_over.is_some_and(|seconds| meta.cpu_ms < seconds * 1e3) {
        wrong.push(format!("{:.0} ms of processor time were counted", meta.cpu_ms));
    }
    if expect.peak_below.is_some_and(|below| meta.peak_memory.is_none_or(|peak| peak >= below)) {
        wrong.push(format!("its peak was {:?} bytes", meta.peak_memory));
    }
    wrong
}

fn matches(pattern: &str, text: &str) -> bool {
    // Every pattern was tried when the case was read; one that is none fits nothing.
    Regex::new(&format!("(?m){pattern}")).is_ok_and(|regex| regex.is_match(text))
}

/// What was seen, in some words that any terminal can show.
fn seen(meta: &ExecMeta) -> String {
    let mut text = meta.outcome.to_string();
    match (meta.exit_code, meta.signal) {
        (Some(0), _) | (None, None) => {}
        (Some(code), _) => text.push_str(&format!(", exit {code}")),
        (None, Some(signal)) => text.push_str(&format!(", signal {signal}")),
    }
    let printed = first_line(&meta.stdout.text);
    let printed = if printed.is_empty() { first_line(&meta.stderr.text) } else { printed };
    if !printed.is_empty() {
        text.push_str(&format!(", printed `{printed}`"));
    }
    text
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().take(80).flat_map(char::escape_debug).collect()
}

/// What contradicts itself in the event stream of a run that ended with this exit code.
#[must_use]
pub fn facts(records: &[Record], code: i32) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut planned: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut ends = 0;
    for (record, expected) in records.iter().zip(1..) {
        if record.seq != expected {
            wrong.push(format!("event {} has number {}", expected, record.seq));
        }
        match &record.event {
            Event::StepPlanned { cell, .. } => {
                planned.entry(cell).or_default().0 += 1;
            }
            Event::StepFinished { cell, meta, .. } => {
                planned.entry(cell).or_default().1 += 1;
                wrong.extend(contradictions(meta).map(|what| format!("`{cell}`: {what}")));
            }
            Event::RunFinished { .. } => ends += 1,
            _ => {}
        }
    }
    for (cell, (plans, results)) in planned {
        if (plans, results) != (1, 1) {
            wrong.push(format!("`{cell}` was planned {plans} times and has {results} results"));
        }
    }
    // Without a plan the run was refused, which the exit code says.
    if ends != 1 && (code != 3 || !records.is_empty()) {
        wrong.push(format!("the run ended {ends} times, with exit code {code}"));
    }
    let expected: &[i32] = &[0, 1, 3, 5];
    if !expected.contains(&code) {
        wrong.push(format!("exit code {code}"));
    }
    wrong
}

/// Facts of one result that can't be true together.
fn contradictions(meta: &ExecMeta) -> impl Iterator<Item = &'static str> {
    let compiled = meta.extras.contains_key("did_not_compile");
    let told = meta.diagnostics.iter().any(|it| it.severity == Severity::Error);
    let full = |name: &str| {
        meta.enforcement.iter().any(|row| row.mechanism == name && row.level == Level::Full)
    };
    let idle = matches!(
        meta.outcome,
        Outcome::Cached | Outcome::Skipped | Outcome::Cancelled | Outcome::Denied
    );
    let ended = meta.exit_code.is_some() || meta.signal.is_some();
    // What was not begun was not confined either.
    let unbegun = meta.outcome == Outcome::WorkerError && !ended && meta.wall_ms == 0.0;
    // Each processor can be busy all of the time, and clocks are read one after the other.
    let processors = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    [
        (
            meta.outcome == Outcome::Ok && meta.exit_code.is_some_and(|code| code != 0),
            "it is ok with a bad exit code",
        ),
        (
            // A worker that ends before it has said that the cell is over has not done it, whatever it exits with.
            meta.outcome == Outcome::Failed && meta.exit_code == Some(0) && !compiled && !told,
            "it failed with exit code 0, and nothing says why",
        ),
        (
            meta.outcome == Outcome::Killed && meta.signal.is_none(),
            "it was killed without a signal",
        ),
        (meta.exit_code.is_some() && meta.signal.is_some(), "it exited and died of a signal"),
        (!idle && !ended && meta.outcome != Outcome::WorkerError, "it has no end"),
        (!meta.wall_ms.is_finite() || meta.wall_ms < 0.0, "its time is no time"),
        (
            full("cpu_time") && meta.cpu_ms > meta.wall_ms * processors * 1.5 + 1000.0,
            "it used more processor time than there was",
        ),
        (!idle && !unbegun && meta.enforcement.is_empty(), "it does not say how it was confined"),
    ]
    .into_iter()
    .filter_map(|(wrong, what)| wrong.then_some(what))
}

#[cfg(test)]
mod tests {
    use polyloom_protocol::meta::{Diagnostic, Enforcement};

    use super::*;

    fn case(more: &str) -> Case {
        let text = format!(
            "[[case]]\nid = \"X9\"\ntitle = \"t\"\nlang = \"sh\"\nwhy = \"w\"\ncode = \"true\"\n{more}"
        );
        let parsed = crate::parse("x.toml", &text).expect("a case");
        parsed.into_iter().next().expect("one case")
    }

    fn ended(change: impl FnOnce(&mut ExecMeta)) -> Vec<Record> {
        let mut meta = ExecMeta::new(Outcome::Ok);
        meta.exit_code = Some(0);
        let (mechanism, detail) = ("memory".to_owned(), "polled".to_owned());
        meta.enforcement = vec![Enforcement { mechanism, level: Level::Partial, detail }].into();
        change(&mut meta);
        let event = Event::StepFinished {
            cell: "x9".to_owned(),
            lang: "sh".to_owned(),
            reason: String::new(),
            attempts: 1,
            meta: Box::new(meta),
        };
        vec![Record { seq: 1, at_ms: 0.0, event }]
    }

    fn failed(case: &Case, records: &[Record]) -> String {
        match judge(case, records).0 {
            Verdict::Failed(all) => all.join("; "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_to_be_seen_is_asked_for() {
        let case = case(
            "[case.expect]\noutcome = [\"ok\"]\nstdout = ['^refused$']\nnot_stdout = ['got']\nartifacts = []\nwithin = 1",
        );
        let good = ended(|meta| meta.stdout.text = "a\nrefused\n".to_owned());
        assert_eq!(judge(&case, &good).0, Verdict::Held);
        assert!(failed(&case, &ended(|_| {})).contains("no `^refused$`"));
        let got = ended(|meta| meta.stdout.text = "refused\ngot\n".to_owned());
        assert!(failed(&case, &got).contains("stdout has `got`"));
        let late = ended(|meta| {
            meta.stdout.text = "refused".to_owned();
            meta.wall_ms = 1001.0;
        });
        assert_eq!(failed(&case, &late), "it took 1.0 s");
        let killed = ended(|meta| {
            meta.stdout.text = "refused".to_owned();
            meta.outcome = Outcome::Killed;
        });
        assert_eq!(failed(&case, &killed), "it ended as killed");
        assert_eq!(failed(&case, &[]), "it has no result");
    }

    #[test]
    fn what_was_let_through_fails_whatever_else_was_to_be_seen() {
        let case = case("[case.expect]\noutcome = [\"ok\"]");
        let through = ended(|meta| meta.stdout.text = "mount: LET THROUGH, 0\n".to_owned());
        assert_eq!(failed(&case, &through), "mount: LET THROUGH, 0");
    }

    #[test]
    fn amounts_are_compared() {
        let case = case(
            "[case.expect]\noutcome = [\"ok\"]\npeak_below = 10\ncpu_over = 0.5\nlogs_below = 1",
        );
        let records = ended(|meta| (meta.peak_memory, meta.cpu_ms) = (Some(10), 499.0));
        let said = failed(&case, &records);
        assert!(said.contains("peak was Some(10)") && said.contains("499 ms"), "{said}");
        let good = ended(|meta| (meta.peak_memory, meta.cpu_ms) = (Some(9), 500.0));
        assert_eq!(judge(&case, &good).0, Verdict::Held);
    }

    #[test]
    fn a_weak_level_excuses_only_what_needs_more() {
        let full = case("needs = { memory = \"full\" }\n[case.expect]\noutcome = [\"failed\"]");
        let expected = Verdict::NotEnforced("memory, partial, polled".to_owned());
        assert_eq!(judge(&full, &ended(|_| {})).0, expected);
        let partial =
            case("needs = { memory = \"partial\" }\n[case.expect]\noutcome = [\"failed\"]");
        assert!(matches!(judge(&partial, &ended(|_| {})).0, Verdict::Failed(_)));
        let whole = ended(|meta| {
            let row = Enforcement { level: Level::Full, ..meta.enforcement[0].clone() };
            meta.enforcement = vec![row].into();
        });
        assert!(matches!(judge(&full, &whole).0, Verdict::Failed(_)));
    }

    #[test]
    fn a_failure_with_a_good_exit_code_has_a_reason() {
        let early = |told: bool| {
            let mut meta = ExecMeta::new(Outcome::Failed);
            meta.exit_code = Some(0);
            if told {
                meta.diagnostics.push(Diagnostic::new(Severity::Error, "it left".to_owned()));
            }
            contradictions(&meta).any(|wrong| wrong.starts_with("it failed with exit code 0"))
        };
        assert!(early(false) && !early(true));
    }

    #[test]
    fn a_known_gap_that_closed_is_told() {
        let known = case("known = \"there\"\n[case.expect]\noutcome = [\"failed\"]");
        assert_eq!(judge(&known, &ended(|_| {})).0, Verdict::Known("there".to_owned()));
        let closed = ended(|meta| {
            meta.outcome = Outcome::Failed;
            meta.exit_code = Some(1);
        });
        assert!(failed(&known, &closed).contains("known gap"));
    }

    #[test]
    fn what_was_seen_can_be_shown_anywhere() {
        let case = case("[case.expect]\noutcome = [\"ok\"]");
        let odd = ended(|meta| meta.stdout.text = "\n\u{1b}[2J\u{202e}x".to_owned());
        assert_eq!(judge(&case, &odd).1, "ok, printed `\\u{1b}[2J\\u{202e}x`");
    }
}
