//! The end of a run: what failed, the counts, where the time went.

use std::fmt::Write;

use polyloom_events::{Timed, Totals};
use polyloom_protocol::meta::Outcome;

use super::{Screen, Verbosity};
use crate::escape::escape_line;
use crate::paint::Style;
use crate::units;

/// Less beside the cells' own time is not told.
const OUTSIDE_MS: f64 = 100.0;

/// What the last event says.
pub(super) struct End<'e> {
    pub(super) outcome: Outcome,
    pub(super) wall_ms: f64,
    pub(super) totals: Totals,
    pub(super) critical_path: &'e [Timed],
    pub(super) slowest: &'e [Timed],
}

/// `1 cell`, `10,000 cells`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {}", if n == 1 { one } else { many })
}

/// Every failure, the first ones in full.
pub(super) fn failures(screen: &Screen) -> String {
    let mut out = String::new();
    for failure in &screen.failures {
        let _ = write!(out, "\n{}", failure.tell(screen));
    }
    let rest = &screen.more_failures;
    if !rest.is_empty() {
        let title = count(rest.len() as u64, "more failure", "more failures");
        let _ = writeln!(out, "\nand {title}:");
        let shown = if screen.says(Verbosity::Verbose) { rest.len() } else { 20 };
        for failure in rest.iter().take(shown) {
            let _ = writeln!(out, "  {failure}");
        }
        if rest.len() > shown {
            let _ = writeln!(out, "  … {} more", rest.len() - shown);
        }
    }
    out
}

/// The last lines of a run.
pub(super) fn end(screen: &Screen, end: &End<'_>) -> String {
    let totals = end.totals;
    let parts: Vec<_> = [
        (totals.ok, "ran"),
        (totals.cached, "cached"),
        (totals.failed, "failed"),
        (totals.skipped, "skipped"),
        (totals.cancelled, "cancelled"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, word)| count(n, word, word))
    .collect();
    let counts = if parts.is_empty() { "no cell was run".to_owned() } else { parts.join(", ") };
    let style = match end.outcome {
        Outcome::Ok | Outcome::Cached => Style::Good,
        Outcome::Cancelled | Outcome::Skipped => Style::Warn,
        _ => Style::Bad,
    };
    let word = screen.paint.text(style, end.outcome.as_str());
    let mut out = String::new();
    if !screen.failures.is_empty() {
        out.push('\n');
    }
    let stopped = matches!(end.outcome, Outcome::Cancelled | Outcome::TimedOut);
    let next = if stopped { screen.goes_on() } else { "" };
    let _ = writeln!(out, "{word} in {}: {counts}{next}", units::duration(end.wall_ms));
    let ran = totals.ok + totals.failed + totals.cancelled;
    if ran > 1 {
        // One cell is no path: it only ended last.
        if end.critical_path.len() > 1 {
            let chain: f64 = end.critical_path.iter().map(|timed| timed.wall_ms).sum();
            let (chain, wall) = (units::duration(chain), units::duration(end.wall_ms));
            let in_all = format!(", {chain} of {wall}{}", outside(screen, end.critical_path));
            times(&mut out, screen, "critical path", " → ", end.critical_path, &in_all);
        }
        // With few cells the lines above show it.
        if ran > 5 {
            times(&mut out, screen, "slowest", ", ", end.slowest, "");
        }
    }
    out
}

/// Where much of the critical path was not the cells' own: they waited for workers, were begun, and their results were taken.
fn outside(screen: &Screen, path: &[Timed]) -> String {
    let chain: f64 = path.iter().map(|timed| timed.wall_ms).sum();
    let own = |timed: &Timed| {
        screen.walls.get(&timed.cell).map_or(timed.wall_ms, |own| own.min(timed.wall_ms))
    };
    let rest = chain - path.iter().map(own).sum::<f64>();
    match rest >= OUTSIDE_MS && rest >= chain / 4.0 {
        true => format!(", {} of it before and after the cells' own time", units::duration(rest)),
        false => String::new(),
    }
}

/// What made a run begin: `; load.py changed`.
pub fn changed(files: &[String]) -> String {
    const NAMED: usize = 3;
    if files.is_empty() {
        return String::new();
    }
    let mut names: Vec<_> = files.iter().take(NAMED).map(|name| escape_line(name)).collect();
    if files.len() > NAMED {
        names.push(format!("{} more", files.len() - NAMED).into());
    }
    format!("; {} changed", names.join(", "))
}

fn times(
    out: &mut String,
    screen: &Screen,
    title: &str,
    between: &str,
    cells: &[Timed],
    in_all: &str,
) {
    const MAX: usize = 12;
    if cells.is_empty() {
        return;
    }
    let shown =
        |timed: &Timed| format!("{} {}", escape_line(&timed.cell), units::duration(timed.wall_ms));
    let mut texts: Vec<_> = cells.iter().take(MAX).map(shown).collect();
    if cells.len() > MAX {
        texts.push(format!("… {} more", cells.len() - MAX));
    }
    let line = format!("{title}: {}{in_all}", texts.join(between));
    let _ = writeln!(out, "{}", screen.paint.text(Style::Dim, &line));
}
