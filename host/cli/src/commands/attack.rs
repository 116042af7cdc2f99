//! `polyloom doctor --attack`: some dozens of attacks on the sandbox of this very machine, and the table of how they ended.
//!
//! What is tried and who judges it is `polyloom-attack`'s, the same that the project's own suite uses; here are words and exit codes.

use polyloom_attack::{Case, Launch, Report, Row, Verdict, all_cases, attack};
use polyloom_report::{Align, Style, Table};
use serde_json::json;

use crate::args::Format;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::{VERSION, World};

/// The command.
pub fn run(world: &World, format: Format) -> Outcome {
    let failure = |error: &dyn std::error::Error| Failure::of(Exit::Environment, error);
    let binary = std::env::current_exe().map_err(|error| failure(&error))?;
    let all = all_cases().map_err(|error| failure(&error))?;
    let cases: Vec<&Case> = all.iter().filter(|case| case.short).collect();
    world.screen.note(&format!("trying {} attacks, some seconds …\n", cases.len()));
    let report = attack(&Launch::plain(binary), &cases).map_err(|error| failure(&error))?;
    if format == Format::Text {
        world.screen.print(&to_text(world, &report));
    } else {
        world.screen.json(&to_json(&report));
    }
    if let Some(reason) = &report.refused {
        let message = format!("no cell can be run on this machine: {}", reason.trim());
        return Err(Failure::new(Exit::Environment, message).hint("polyloom doctor"));
    }
    Ok(if report.is_good() { Exit::Ok } else { Exit::Failed })
}

fn to_text(world: &World, report: &Report) -> String {
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("attack", Align::Left),
        ("expected", Align::Left),
        ("seen", Align::Left),
        ("", Align::Left),
    ]);
    for row in &report.rows {
        let style = match row.verdict {
            Verdict::Held => Style::Good,
            Verdict::Known(_) | Verdict::NotEnforced(_) | Verdict::NotApplicable(_) => Style::Warn,
            Verdict::Failed(_) => Style::Bad,
        };
        table.styled([
            (Style::Plain, row.id.clone()),
            (Style::Plain, row.title.clone()),
            (Style::Dim, row.expected.clone()),
            (Style::Plain, row.seen.clone()),
            (style, row.verdict.word().to_owned()),
        ]);
    }
    let mut text = table.render(world.screen.out, world.screen.columns);
    let reasons = report.rows.iter().filter(|row| row.verdict != Verdict::Held);
    for Row { id, verdict, .. } in reasons.filter(|_| report.refused.is_none()) {
        text.push_str(&format!("{id}: {}: {}\n", verdict.word(), verdict.reason()));
    }
    for complaint in &report.complaints {
        text.push_str(&format!("FAILED: {complaint}\n"));
    }
    text.push_str(&format!("{}\n", report.totals()));
    text
}

fn to_json(report: &Report) -> serde_json::Value {
    let rows: Vec<_> = report
        .rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id, "attack": row.title, "expected": row.expected, "seen": row.seen,
                "verdict": row.verdict.word().to_ascii_lowercase().replace(' ', "_"),
                "reason": row.verdict.reason(),
            })
        })
        .collect();
    let totals = report.totals();
    json!({
        "schema": "polyloom.attack/1",
        "version": VERSION,
        "rows": rows,
        "complaints": report.complaints,
        "refused": report.refused,
        "totals": {
            "held": totals.held, "known": totals.known, "not_enforced": totals.not_enforced,
            "not_applicable": totals.not_applicable, "failed": totals.failed,
        },
    })
}
