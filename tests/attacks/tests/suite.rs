//! Every attack on this machine as it is, as root and as an ordinary user, and the core of them on machines that lack something.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_attack::{Case, Launch, Report, all_cases, attack};
use polyloom_test_attacks::oracle::binary;
use polyloom_test_attacks::{Answer, USER, Variant, is_root, ordinary_user, variants, with_daemon};

/// Only these cases: `POLYLOOM_ATTACKS=A01,B20`.
fn chosen(all: &[Case]) -> Vec<&Case> {
    let only = std::env::var("POLYLOOM_ATTACKS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|id| !id.is_empty()).collect();
    all.iter().filter(|case| only.is_empty() || only.contains(&case.id.as_str())).collect()
}

#[track_caller]
fn assert_good(name: &str, report: &Report) {
    polyloom_test_attacks::print(name, report);
    assert!(report.is_good(), "see the table above");
}

#[test]
fn every_attack_is_held() {
    let all = all_cases().unwrap();
    let report = attack(&Launch::plain(binary()), &chosen(&all)).unwrap();
    assert!(report.refused.is_none(), "{:?}", report.refused);
    assert_good("as this user", &report);
}

/// The cases that are tried where something is missing: all of them with `POLYLOOM_SLOW`, or those that are named.
fn core(all: &[Case]) -> Vec<&Case> {
    let asked = |name: &str| std::env::var_os(name).is_some();
    let whole = asked("POLYLOOM_SLOW") || asked("POLYLOOM_ATTACKS");
    chosen(all).into_iter().filter(|case| whole || case.short || case.core).collect()
}

/// The cases that are tried on machine after machine: those for users' machines, and those that hang on a level.
fn few(all: &[Case]) -> Vec<&Case> {
    let asked = |name: &str| std::env::var_os(name).is_some();
    let whole = asked("POLYLOOM_SLOW") || asked("POLYLOOM_ATTACKS");
    core(all).into_iter().filter(|case| whole || case.short || !case.needs.is_empty()).collect()
}

/// What is wrong with how the host took a machine.
fn wrong(variant: &Variant, report: &Report) -> Option<String> {
    let name = &variant.name;
    let refused = report.refused.as_deref();
    let level = |mechanism: &str| report.levels.get(mechanism).copied();
    let problem = match variant.answer {
        _ if !report.is_good() => Some("it is not good".to_owned()),
        Answer::Refuses(words) if refused.is_none_or(|refused| !refused.contains(words)) => {
            Some(format!("it should have said `{words}`: {refused:?}"))
        }
        Answer::Reports(mechanism, expected) if level(mechanism) != Some(expected) => {
            Some(format!("`{mechanism}` is {:?}: {refused:?}", level(mechanism)))
        }
        Answer::Copes if refused.is_some() => Some(format!("it refused: {refused:?}")),
        Answer::Refuses(_) | Answer::Reports(..) | Answer::Copes => None,
    };
    problem.map(|problem| format!("{name}: {problem}"))
}

fn try_all(variants: &[Variant], choose: fn(&[Case]) -> Vec<&Case>) {
    let all = all_cases().unwrap();
    let cases = choose(&all);
    let mut bad = Vec::new();
    for variant in variants {
        let report = attack(&variant.launch, &cases).unwrap();
        polyloom_test_attacks::print(&variant.name, &report);
        if let Some(wrong) = wrong(variant, &report) {
            polyloom_test_attacks::note(&format!("  not what it should be: {wrong}"));
            bad.push(wrong);
        }
    }
    assert!(bad.is_empty(), "see the tables above: {bad:#?}");
}

#[test]
fn every_attack_is_held_for_an_ordinary_user() {
    if !is_root("trying as another user") {
        return;
    }
    try_all(&[ordinary_user()], core);
}

#[test]
fn a_machine_that_lacks_something_holds_or_says_so() {
    if !is_root("hiding control groups") {
        return;
    }
    try_all(&variants(None), few);
}

#[test]
fn an_ordinary_users_machine_that_lacks_something_holds_or_says_so() {
    if !is_root("trying as another user") || std::env::var_os("POLYLOOM_SLOW").is_none() {
        return;
    }
    try_all(&variants(Some(USER)), core);
}

#[test]
fn every_attack_is_held_where_a_daemon_has_all_waiting() {
    // An ordinary user's daemon has workers, and only of the last few cells.
    if !is_root("having sandboxes wait") {
        return;
    }
    try_all(&[with_daemon()], few);
}
