//! Many attacks in few runs, and the table of how they ended. Knows which may run together; the verdicts are `judge`'s.

use std::collections::BTreeMap;
use std::path::Path;

use polyloom_events::Event;
use polyloom_protocol::meta::Level;

use crate::stage::tail;
use crate::{Case, CaseError, Fault, Group, Launch, Stage, Verdict, flow_of, judge, parse};

/// Every file of cases, so that the binary carries them along.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../tests/attacks/cases/", $name)))),+]
    };
}
const FILES: &[(&str, &str)] = files![
    "a.toml",
    "b.toml",
    "c.toml",
    "d.toml",
    "e.toml",
    "f.toml",
    "processes.toml",
    "namespaces.toml",
    "syscalls.toml",
    "kernel.toml",
    "files.toml",
    "outputs.toml",
    "compilers.toml",
    "interpreters.toml",
    "wasm.toml",
];

/// Every case there is, in the order of their ids.
pub fn all_cases() -> Result<Vec<Case>, CaseError> {
    let mut all = Vec::new();
    for (file, text) in FILES {
        all.extend(parse(file, text)?);
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pair) = all.windows(2).find(|pair| pair[0].id == pair[1].id) {
        let what = "its id is taken twice".to_owned();
        return Err(CaseError::Case { file: "cases".to_owned(), id: pair[0].id.clone(), what });
    }
    Ok(all)
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The case.
    pub id: String,
    /// What was tried.
    pub title: String,
    /// What was to be seen.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// What that means.
    pub verdict: Verdict,
}

/// How the attacks ended.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// One row for each case, in the order given.
    pub rows: Vec<Row>,
    /// What is to be said against whole runs: crashes, leftovers, canaries, facts that contradict each other.
    pub complaints: Vec<String>,
    /// How the cells were confined, mechanism by mechanism, as the record says.
    pub levels: BTreeMap<String, Level>,
    /// Set when the host refused to run any cell: what it said.
    pub refused: Option<String>,
}

/// Counts of a report's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Held.
    pub held: usize,
    /// Known to succeed, and written down.
    pub known: usize,
    /// Not enforced here, and reported so.
    pub not_enforced: usize,
    /// Could not be tried.
    pub not_applicable: usize,
    /// Not held.
    pub failed: usize,
}

impl Report {
    /// Counts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for row in &self.rows {
            *match row.verdict {
                Verdict::Held => &mut totals.held,
                Verdict::Known(_) => &mut totals.known,
                Verdict::NotEnforced(_) => &mut totals.not_enforced,
                Verdict::NotApplicable(_) => &mut totals.not_applicable,
                Verdict::Failed(_) => &mut totals.failed,
            } += 1;
        }
        totals
    }

    /// Whether nothing failed and nothing is to be said against any run.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.complaints.is_empty() && self.totals().failed == 0
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { held, known, not_enforced, not_applicable, failed } = self;
        write!(
            f,
            "{held} held, {known} known gaps, {not_enforced} not enforced, {not_applicable} not applicable, {failed} failed"
        )
    }
}

/// Runs the cases on a stage of their own and judges each.
pub fn attack(launch: &Launch, cases: &[&Case]) -> Result<Report, Fault> {
    let stage = Stage::new(launch.clone())?;
    let mut report = Report::default();
    let mut verdicts: Vec<Option<(Verdict, String)>> = cases
        .iter()
        .map(|case| impossible(case).map(|why| (why, "not tried".to_owned())))
        .collect();
    for (group, jobs) in [(Group::Plain, "2"), (Group::Heavy, "1"), (Group::After, "2")] {
        let chosen: Vec<usize> = (0..cases.len())
            .filter(|&at| verdicts[at].is_none() && cases[at].group == group)
            .collect();
        if chosen.is_empty() || report.refused.is_some() {
            continue;
        }
        let batch: Vec<&Case> = chosen.iter().map(|&at| cases[at]).collect();
        for (path, content) in batch.iter().flat_map(|case| &case.files) {
            stage.write(&format!("project/{path}"), content)?;
        }
        stage.write("project/polyloom.json", flow_of(&batch, stage.canaries()))?;
        let mut words = vec!["-k", "-j", jobs];
        words.extend(batch.iter().flat_map(|case| &case.grants).map(String::as_str));
        let ended = stage.run(&words)?;
        report.complaints.extend(ended.complaints);
        if ended.code == 3 && ended.records.is_empty() {
            report.refused = Some(refusal(&ended.stderr));
            continue;
        }
        if ended.records.is_empty() {
            report.complaints.push(format!("nothing was run: {}", tail(&ended.stderr)));
        }
        for record in &ended.records {
            if let Event::StepFinished { meta, .. } = &record.event {
                let rows = meta.enforcement.iter();
                report.levels.extend(rows.map(|row| (row.mechanism.clone(), row.level)));
            }
        }
        for at in chosen {
            verdicts[at] = Some(judge(cases[at], &ended.records));
        }
    }
    let refused = report.refused.clone();
    let untried = || {
        let why = refused.clone().unwrap_or_else(|| "it was not run".to_owned());
        (Verdict::NotApplicable(format!("refused: {why}")), "nothing was started".to_owned())
    };
    report.rows = cases
        .iter()
        .zip(verdicts)
        .map(|(case, verdict)| {
            let (verdict, seen) = verdict.unwrap_or_else(untried);
            Row {
                id: case.id.clone(),
                title: case.title.clone(),
                expected: case.expect.words(),
                seen,
                verdict,
            }
        })
        .collect();
    Ok(report)
}

/// The host's first error, as far as one wants to read it.
fn refusal(stderr: &str) -> String {
    let line = stderr.lines().find_map(|line| line.strip_prefix("error: "));
    line.unwrap_or(stderr).chars().take(400).collect()
}

/// Why a case can't be tried on this machine, or by this version.
fn impossible(case: &Case) -> Option<Verdict> {
    if let Some(reason) = &case.absent {
        return Some(Verdict::NotApplicable(format!("not there yet: {reason}")));
    }
    let tools: &[&str] = match case.lang.as_str() {
        "python" => &["python3", "python"],
        "sh" => &["dash", "sh"],
        "shell" => &["bash"],
        "c" => &["gcc", "clang"],
        "cpp" => &["g++", "clang++"],
        "javascript" => &["node"],
        "java" => &["javac"],
        _ => &[],
    };
    if !tools.is_empty() && !tools.iter().any(|tool| is_installed(tool)) {
        return Some(Verdict::NotApplicable(format!("`{}` is not installed", tools[0])));
    }
    let missing = case.programs.iter().find(|program| !is_installed(program))?;
    Some(Verdict::NotApplicable(format!("`{missing}` is not installed")))
}

fn is_installed(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
