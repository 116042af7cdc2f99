//! Every type from every language to every language, compared by digest.
//!
//! One Python cell makes all values. For each language one cell takes and gives them all, and for each pair of
//! languages the second takes what the first gave. Python, C, C++ and JavaScript decode and encode natively; the others pass on
//! what the host made of the values: text, JSON, files. Tables have no canonical bytes: their rows are compared.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cases;
mod native;
mod plain;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cases::CASES;
use polyloom_test_e2e::{Place, Run, skip};
use serde_json::json;

/// Languages, whether they encode natively, and their programs.
fn languages() -> Vec<(&'static str, bool, String)> {
    vec![
        ("python", true, native::python()),
        ("c", true, native::c()),
        ("cpp", true, native::cpp()),
        ("javascript", true, native::javascript()),
        ("shell", false, plain::shell()),
        ("sh", false, plain::shell()),
        ("awk", false, plain::awk()),
        ("perl", false, plain::perl()),
        ("tcl", false, plain::tcl()),
        ("java", false, plain::java()),
        ("sqlite", false, plain::sqlite()),
        ("wasm", false, plain::WASM.to_owned()),
    ]
}

fn cell(lang: &str, code: &str, from: &str) -> serde_json::Value {
    let inputs: serde_json::Map<_, _> = CASES
        .iter()
        .map(|case| (format!("i_{}", case.name), json!(format!("{from}.{}", case.name))))
        .collect();
    let argv = if lang == "wasm" { plain::wasm_arguments() } else { Vec::new() };
    // Cells that get the same bytes are one computation: the variable makes each of them run.
    json!({ "lang": lang, "code": code, "inputs": inputs, "outputs": outputs(), "argv": argv, "env": { "FROM": from } })
}

fn outputs() -> serde_json::Value {
    CASES
        .iter()
        .map(|case| (case.name.to_owned(), json!(case.ty)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Languages whose programs are here; for the others it is told what is missing.
fn ready(place: &Place) -> BTreeSet<String> {
    let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
    let mut ready = BTreeSet::new();
    for (lang, _, _) in languages() {
        let row = list["executors"].as_array().unwrap().iter().find(|row| row["id"] == lang);
        match row {
            Some(row) if row["ready"] == true => {
                ready.insert(lang.to_owned());
            }
            Some(row) => skip(&format!("{lang}: {}", row["missing"])),
            None => skip(&format!("{lang}: this build does not have it")),
        }
    }
    ready
}

#[test]
fn every_type_from_every_language_to_every_language() {
    let place = Place::new();
    let ready = ready(&place);
    let languages: Vec<_> =
        languages().into_iter().filter(|(lang, _, _)| ready.contains(*lang)).collect();
    if !ready.contains("python") {
        return skip("the values are made in Python");
    }
    let mut cells = serde_json::Map::new();
    cells.insert(
        "source".into(),
        json!({ "lang": "python", "code": native::source(), "outputs": outputs() }),
    );
    let mut tables = serde_json::Map::new();
    tables.insert("source".into(), json!("source.days"));
    for (lang, _, code) in &languages {
        cells.insert((*lang).into(), cell(lang, code, "source"));
        tables.insert((*lang).into(), json!(format!("{lang}.days")));
        for (second, _, code) in &languages {
            let id = format!("{lang}-{second}");
            tables.insert(format!("{lang}_{second}"), json!(format!("{id}.days")));
            cells.insert(id, cell(second, code, lang));
        }
    }
    let ids: Vec<String> = cells.keys().filter(|id| *id != "source").cloned().collect();
    cells.insert(
        "compare".into(),
        json!({ "lang": "python", "code": native::COMPARE, "inputs": tables, "outputs": { "verdict": "int" } }),
    );
    place.write("polyloom.json", json!({ "cells": cells }).to_string());
    let run = place.run(&["-k"]);
    println!(
        "{} cells, {} values each, in {}",
        ids.len() + 2,
        CASES.len(),
        run.document["wall_ms"]
    );
    let mut wrong = String::new();
    if run.outcome("source") != "ok" {
        wrong = run.stderr.clone();
    }
    for id in &ids {
        let second = id.rsplit('-').next().unwrap();
        let native = languages.iter().any(|(lang, native, _)| *lang == second && *native);
        differences(&run, id, native, &mut wrong);
    }
    if run.outcome("compare") != "ok" {
        let _ = writeln!(wrong, "compare: {} {}", run.outcome("compare"), run.messages("compare"));
    }
    let shown: String = wrong.chars().take(8_000).collect();
    assert!(wrong.is_empty(), "{shown}");
    assert_eq!(run.code, 0);
}

fn differences(run: &Run, id: &str, native: bool, wrong: &mut String) {
    if run.outcome(id) == "skipped" {
        return;
    }
    if run.outcome(id) != "ok" {
        let _ = writeln!(wrong, "{id}: {} {}", run.outcome(id), run.messages(id));
        return;
    }
    for case in CASES {
        if native && case.ty == "table" {
            continue;
        }
        // A plain language passes on what the first one gave: its own bytes, for a table.
        let from = match id.split_once('-') {
            Some((first, _)) if case.ty == "table" => first,
            _ => "source",
        };
        if run.digest(id, case.name) != run.digest(from, case.name) {
            let head = |cell: &str| {
                let bytes = std::fs::read(run.path(cell, case.name)).unwrap_or_default();
                bytes[..bytes.len().min(24)].escape_ascii().to_string()
            };
            let _ = writeln!(wrong, "{id}.{}: {} for {}", case.name, head(id), head(from));
        }
    }
}
