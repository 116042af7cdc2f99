//! Hostile workers: each ends its own cell as its row says, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_attack::{Case, Ended, Verdict, judge};
use polyloom_events::Event;
use polyloom_test_attacks::hostile::{GOOD, crowd_on, workers, workers_on};
use polyloom_test_attacks::oracle;
use serde_json::{Value, json};

#[test]
fn every_hostile_worker_ends_its_own_cell_alone() {
    let all = workers();
    let only = std::env::var("POLYLOOM_ATTACKS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|id| !id.is_empty()).collect();
    let tried = |case: &&Case| {
        case.absent.is_none() && (only.is_empty() || only.contains(&case.id.as_str()))
    };
    let cases: Vec<&Case> = all.iter().filter(tried).collect();
    let stage = oracle::stage();
    workers_on(&stage, &cases);
    let executors = stage.root().join("executors");
    let ended =
        oracle::run(&stage, &["-k", "-j", "8", "--executor-dir", executors.to_str().unwrap()]);
    let mut bad = String::new();
    for case in &cases {
        let (verdict, seen) = judge(case, &ended.records);
        if verdict != Verdict::Held {
            bad.push_str(&format!("{} {}: {} ({seen})\n", case.id, case.title, verdict.reason()));
        }
    }
    assert!(bad.is_empty(), "{bad}\n{}", ended.stderr);
    let good = ended.stderr.lines().any(|line| line.starts_with("ok ") && line.contains(GOOD));
    assert!(good, "{}", ended.stderr);
    println!("{} hostile workers in {:?}", cases.len(), ended.took);
}

/// A run of a crowd of cells whose worker never comes up, one after the other.
fn crowd(words: &str, cells: &[&str], keys: &Value) -> Ended {
    let stage = oracle::stage();
    crowd_on(&stage, words, cells, keys);
    let executors = stage.root().join("executors");
    let ended =
        oracle::run(&stage, &["-k", "-j", "1", "--executor-dir", executors.to_str().unwrap()]);
    for fine in ["good", "well"] {
        let ok = ended.stderr.lines().any(|line| line.starts_with("ok ") && line.contains(fine));
        assert!(ok, "{fine}: {}", ended.stderr);
    }
    ended
}

/// How often attempts at cells of the crowd were begun.
fn begun(ended: &Ended) -> usize {
    let of = |cell: &str| cell.starts_with("bad");
    let begun = |event: &Event| matches!(event, Event::StepStarted { cell, .. } if of(cell));
    ended.records.iter().filter(|record| begun(&record.event)).count()
}

#[test]
fn a_worker_that_never_starts_is_given_up_and_nobody_else() {
    let cells = ["bad1", "bad2", "bad3", "bad4", "bad5", "bad6"];
    let ended = crowd("words-before-crash", &cells, &json!({}));
    assert_eq!(begun(&ended), 3, "{}", ended.stderr);
    // Whose start comes third is left open: those that wait are woken together.
    let mut begins = ended.records.iter().filter_map(|record| match &record.event {
        Event::StepStarted { cell, .. } if cell.starts_with("bad") => Some((cell, record.at_ms)),
        _ => None,
    });
    let (third, begun) = begins.next_back().expect("three begin");
    let failed = ended.records.iter().find_map(|record| match &record.event {
        Event::StepFinished { cell, .. } if cell == "bad2" => Some(record.at_ms),
        _ => None,
    });
    let failed = failed.expect("the second ends");
    assert!(begun - failed > 200.0, "it waits a little: {failed} {begun}");
    let mut given_up = 0;
    for record in &ended.records {
        let Event::StepFinished { cell, meta, .. } = &record.event else { continue };
        let Some(message) = meta.diagnostics.first().map(|it| &it.message) else { continue };
        assert_eq!(meta.outcome.as_str(), "worker_error", "{cell}");
        if message.contains("is not started again") {
            given_up += 1;
            for words in [
                "executor `fake-bad` ",
                "failed to start 3 times in a row within ",
                &format!(
                    " s, last for cell `{third}`: the worker ended with exit code 9 before it said hello"
                ),
                "its stderr: fake: line 200 of many",
                "`polyloom logs ",
                &format!(" {third}` shows all it printed"),
            ] {
                assert!(message.contains(words), "{cell}: {message}");
            }
        }
    }
    assert_eq!(given_up, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("executor `fake-bad` is not started again"), "{}", ended.stderr);
}

#[test]
fn a_worker_that_never_greets_is_given_up() {
    let cells = ["bad1", "bad2", "bad3", "bad4"];
    let ended = crowd("half-hello", &cells, &json!({}));
    assert_eq!(begun(&ended), 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("is not started again"), "{}", ended.stderr);
}

#[test]
fn attempts_at_one_cell_count_too() {
    let ended = crowd("crash-before-hello", &["bad1"], &json!({ "retries": 9 }));
    assert_eq!(begun(&ended), 3, "{}", ended.stderr);
}
