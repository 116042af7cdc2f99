//! The table of cases in `CASES.md`, which `THREATS.md` cites: made from the cases, and compared.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};

use polyloom_attack::{Case, all_cases};
use polyloom_test_attacks::files::{Try, files, tests};
use polyloom_test_attacks::hostile::workers;

/// Cases of cells, and of workers.
fn with_code() -> Vec<Case> {
    [all_cases().unwrap(), workers()].concat()
}

/// The ids of all rows, whatever they are about.
fn ids() -> Vec<String> {
    let cases = with_code();
    let mut ids: Vec<String> = cases.into_iter().map(|case| case.id).collect();
    ids.extend(files().into_iter().map(|case| case.id));
    ids.extend(tests().into_iter().map(|case| case.id));
    ids
}

/// A text in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    let mut out = table(&with_code());
    out.push_str(
        "\n## Files\n\nFlow files, manifests and texts: `hostile/files.toml`, tried by `tests/files.rs`.\n\n\
         | id | attack | in | calls | why it holds |\n|---|---|---|---|---|\n",
    );
    for case in files() {
        let calls = match &case.absent {
            Some(absent) => format!("not there yet: {absent}"),
            None => case.tries.iter().map(Try::calls).sum::<usize>().to_string(),
        };
        let row = [&case.id, &case.title, &case.lang, &calls, &case.why].map(|text| cell(text));
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    out.push_str(
        "\n## Tests of their own\n\nWhat needs more than a row can say, most of it what befalls the host itself: `hostile/tests.toml`.\n\n\
         | id | what happens | test | why it ends well |\n|---|---|---|---|\n",
    );
    for case in tests() {
        let row = [&case.id, &case.title, &format!("`{}`", case.test), &case.why];
        out.push_str(&format!("| {} |\n", row.map(|text| cell(text)).join(" | ")));
    }
    out
}

fn table(cases: &[Case]) -> String {
    let own = cases.iter().filter(|case| case.absent.is_none()).count();
    let mut out = format!(
        "# The cases\n\nMade from `cases/*.toml` and `hostile/*.toml` by `UPDATE=1 cargo test -p polyloom-test-attacks --test documented`; ids are stable. {} cases, {} of \
         them tried today. `needs` is the level at which the demand is made.\n\n| id | attack | in | to be seen | needs | why it holds |\n|---|---|---|---|---|---|\n",
        cases.len(),
        own,
    );
    for case in cases {
        let needs: Vec<String> = case
            .needs
            .iter()
            .map(|(name, level)| format!("{name} {level:?}").to_lowercase())
            .collect();
        let seen = match (&case.absent, &case.known) {
            (Some(absent), _) => format!("not there yet: {absent}"),
            (_, Some(known)) => format!("**known gap**: {known}"),
            _ => case.expect.words(),
        };
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            case.id,
            cell(&case.title),
            case.lang,
            cell(&seen),
            needs.join(", "),
            cell(&case.why)
        ));
    }
    out
}

#[test]
fn the_table_of_cases_is_what_the_cases_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CASES.md");
    let made = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "CASES.md is not what the cases say: UPDATE=1 writes it anew");
}

#[test]
fn every_file_of_cases_is_read() {
    let mut written = 0;
    for folder in ["cases", "hostile"] {
        for entry in std::fs::read_dir(root().join("tests/attacks").join(folder)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            written += text.lines().filter(|line| *line == "[[case]]").count();
        }
    }
    let mut ids = ids();
    assert_eq!(written, ids.len());
    ids.sort();
    ids.dedup();
    assert_eq!(written, ids.len(), "an id is used twice");
}

#[test]
fn every_listed_attack_has_a_row() {
    let listed = std::fs::read_to_string(root().join("tests/attacks/listed.txt")).unwrap();
    let listed: Vec<&str> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(listed.len() > 100);
    let ids = ids();
    let missing: Vec<&&str> =
        listed.iter().filter(|id| !ids.iter().any(|own| own == **id)).collect();
    assert!(missing.is_empty(), "listed and no row: {missing:?}");
}

#[test]
fn every_test_that_stands_for_a_row_is_there() {
    for case in tests() {
        let (file, function) = case.test.split_once("::").unwrap();
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let found = text.contains(&format!("fn {function}("));
        assert!(found, "{}: no `{function}` in `{file}`", case.id);
    }
}

#[test]
fn there_is_something_to_try_on_a_users_machine_and_it_is_short() {
    let all = all_cases().unwrap();
    let short = all.iter().filter(|case| case.short).count();
    assert!((20..=40).contains(&short), "{short}");
    assert!(all.iter().all(|case| !case.short || case.absent.is_none()));
}

#[test]
fn every_case_stands_for_a_promise() {
    let page = std::fs::read_to_string(root().join("sandbox/THREATS.md")).unwrap();
    let (_, table) = page.split_once("## Which cases try it").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    let cited: Vec<&str> = rows
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(2))
        .flat_map(str::split_whitespace)
        .collect();
    let ids = ids();
    let missing: Vec<&String> = ids.iter().filter(|id| !cited.contains(&id.as_str())).collect();
    assert!(missing.is_empty(), "cases that no promise cites: {missing:?}");
    let dead: Vec<&&str> =
        cited.iter().filter(|id| **id != "---" && !ids.iter().any(|own| own == **id)).collect();
    assert!(dead.is_empty(), "cited and not there: {dead:?}");
}
