//! The table of a report. Knows rows and words, nothing of how they came about.

use polyloom_attack::{Report, Verdict};

/// What was not simply held, a line each, and the totals under the name of the variant.
#[must_use]
pub fn table(name: &str, report: &Report) -> String {
    // Who asks for some cases alone wants to see them.
    let whole = std::env::var_os("POLYLOOM_ATTACKS").is_some();
    let mut out = String::new();
    // Then every row says the same.
    let rows = if report.refused.is_some() { &[][..] } else { &report.rows };
    for row in rows {
        if whole || row.verdict != Verdict::Held {
            out.push_str(&format!(
                "  {:<5} {:<14} {}: {}\n        seen: {}\n",
                row.id,
                row.verdict.word(),
                row.title,
                row.verdict.reason(),
                row.seen
            ));
        }
    }
    for complaint in &report.complaints {
        out.push_str(&format!("  the run: {complaint}\n"));
    }
    let totals = match &report.refused {
        Some(_) => "refused to run any cell".to_owned(),
        None => report.totals().to_string(),
    };
    format!("attacks {name}: {totals}\n{out}")
}

/// Prints it, and appends its first line and what is wrong to the file `POLYLOOM_ATTACK_TABLE`, which `tests/run` shows.
pub fn print(name: &str, report: &Report) {
    let text = table(name, report);
    println!("{text}");
    note(text.lines().next().unwrap_or_default());
    for row in report.rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed(_))) {
        note(&format!("  {} {}: {}", row.id, row.title, row.verdict.reason()));
    }
    for complaint in &report.complaints {
        note(&format!("  the run: {complaint}"));
    }
}

/// Appends a line to the file `POLYLOOM_ATTACK_TABLE`, if there is to be one.
pub fn note(line: &str) {
    if let Some(path) = std::env::var_os("POLYLOOM_ATTACK_TABLE") {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
