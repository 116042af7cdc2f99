//! `CASES.md` is what the cases say. `UPDATE=1 cargo test -p polyloom-conformance` writes it anew.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use polyloom_conformance::CASES;

#[test]
fn the_table_of_cases_is_up_to_date() {
    let mut text = String::from(
        "# The cases\n\nGenerated from `src/case.rs`. *Needs* are codes of `conformance.toml`, and features of the manifest without which a case does not \
         concern an executor. Those with ● are for workers only.\n\n| case | level | needs | expected |\n|---|---|---|---|\n",
    );
    for case in CASES {
        let mark = if case.of_workers() { " ●" } else { "" };
        let expected = case.expected.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}`{mark} | {} | {} | {expected} |",
            case.name,
            case.level,
            case.needs().join(", ")
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CASES.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "CASES.md is out of date: run with UPDATE=1");
}
