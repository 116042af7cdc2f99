//! How the cases ended: rows, marks for each level, and the document of both. Knows no bench.

use std::time::Duration;

use polyloom_worker::executor::Executor;
use serde::{Deserialize, Serialize};

use crate::bench::{Check, Got};
use crate::case::{Case, Level};

/// The document's schema.
pub const SCHEMA: &str = "polyloom.conformance/1";

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As expected.
    Pass,
    /// Otherwise.
    Fail,
    /// It could not be tried: `got` says why.
    NotTried,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub case: String,
    /// Its level.
    pub level: Level,
    /// How it ended.
    pub outcome: Outcome,
    /// What was expected.
    pub expected: String,
    /// What came instead, or why it was not tried; empty where it passed.
    pub got: String,
    /// The last lines that the executor wrote on standard error, where it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// What was said on the wire, a line for each message; `>` is the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transcript: Vec<String>,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

impl Row {
    fn new(case: &Case, outcome: Outcome) -> Self {
        Self {
            case: case.name.to_owned(),
            level: case.level,
            outcome,
            expected: case.expected.to_owned(),
            got: String::new(),
            stderr: String::new(),
            transcript: Vec::new(),
            ms: 0.0,
        }
    }

    pub(crate) fn not_tried(case: &Case, got: String) -> Self {
        Self { got, ..Self::new(case, Outcome::NotTried) }
    }

    pub(crate) fn tried(case: &Case, found: Check, took: Duration) -> Self {
        let ms = (took.as_secs_f64() * 1e4).round() / 10.0;
        match found {
            Ok(()) => Self { ms, ..Self::new(case, Outcome::Pass) },
            Err(Got { words, stderr }) => {
                Self { ms, got: words, stderr, ..Self::new(case, Outcome::Fail) }
            }
        }
    }
}

/// The mark for one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// The level.
    pub level: Level,
    /// Passed where all of its cases did; failed where one did; else not tried whole, or not declared.
    pub outcome: Outcome,
    /// Cases that passed.
    pub passed: usize,
    /// Cases that there are for this executor; none where it declares no such ability.
    pub cases: usize,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version of the kit.
    pub kit: String,
    /// The executor's id.
    pub executor: String,
    /// Its version.
    pub version: String,
    /// `command` or `worker`.
    pub kind: String,
    /// What its programs say they are.
    pub programs: Vec<String>,
    /// Whether no case failed.
    pub ok: bool,
    /// A mark for each level.
    pub grades: Vec<Grade>,
    /// A row for each case.
    pub cases: Vec<Row>,
}

impl Report {
    pub(crate) fn new(executor: &Executor, cases: Vec<Row>) -> Self {
        let manifest = &executor.manifest;
        let kind = manifest.kind.as_str();
        let first = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
        Self {
            schema: SCHEMA.to_owned(),
            kit: env!("CARGO_PKG_VERSION").to_owned(),
            executor: manifest.id.to_string(),
            version: manifest.version.clone(),
            kind: kind.to_owned(),
            programs: executor.tools.values().map(|found| first(&found.identity)).collect(),
            ok: cases.iter().all(|row| row.outcome != Outcome::Fail),
            grades: Level::ALL.map(|level| grade(level, &cases)).into(),
            cases,
        }
    }
}

fn grade(level: Level, rows: &[Row]) -> Grade {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.level == level).collect();
    let passed = rows.iter().filter(|row| row.outcome == Outcome::Pass).count();
    let outcome = if rows.iter().any(|row| row.outcome == Outcome::Fail) {
        Outcome::Fail
    } else if passed == rows.len() && passed > 0 {
        Outcome::Pass
    } else {
        Outcome::NotTried
    };
    Grade { level, outcome, passed, cases: rows.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(level: Level, outcome: Outcome) -> Row {
        let case = &crate::CASES[0];
        Row { level, ..Row::new(case, outcome) }
    }

    #[test]
    fn a_level_is_reached_when_all_of_its_cases_pass() {
        use Outcome::{Fail, NotTried, Pass};
        let of = |outcomes: &[Outcome]| {
            let rows: Vec<Row> = outcomes.iter().map(|one| row(Level::Run, *one)).collect();
            grade(Level::Run, &rows).outcome
        };
        assert_eq!(of(&[Pass, Pass]), Pass);
        assert_eq!(of(&[Pass, NotTried]), NotTried);
        assert_eq!(of(&[Pass, NotTried, Fail]), Fail);
        assert_eq!(of(&[]), NotTried);
    }
}
