//! `polyloom plugin test`: the bundled executors keep the contract, and each of the fake one's breaches is told by the name of a case.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod table;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use polyloom_test_e2e::{Ended, Place, fake, needs, skip};
use serde_json::Value;

/// Codes for the fake executor, which does what the first line of a cell says.
const CODES: &str = "hello = '''\necho\nhello\n'''\n";

/// Adds an executor that is the fake one, misbehaving as `word` says before it has greeted; `codes` are its `conformance.toml`.
fn fake_executor(place: &Place, id: &str, word: &str, codes: &str) -> String {
    place.executor(
        id,
        &format!(
            "id = \"{id}\"\nversion = \"1\"\nkind = \"worker\"\nextensions = [\"{id}\"]\n\
             [toolchain.env]\nany = [\"env\"]\nversion = []\n\
             [worker]\nargv = [\"{{env}}\", \"POLYLOOM_FAKE_ID={id}\", \"{{dir}}/polyloom-fake\", \"{word}\"]\n\
             features = [\"cancel.soft\", \"display\", \"progress\"]\n"
        ),
    );
    let folder = place.executors().join(id);
    fs::copy(fake(), folder.join("polyloom-fake")).unwrap();
    fs::set_permissions(folder.join("polyloom-fake"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(folder.join("conformance.toml"), codes).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn test(place: &Place, which: &str, timeout: &str) -> Ended {
    place.polyloom(&["plugin", "test", which, "--format", "json", "--timeout", timeout])
}

/// The cases that failed, each with what came.
fn failed(report: &Value) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = report["cases"].as_array().unwrap().iter();
    rows.filter(|row| row["outcome"] == "fail")
        .map(|row| {
            let words = format!("{} | {}", text(row, "got"), text(row, "stderr"));
            // What steers a terminal is in the document as it came; a test's file shows it.
            let plain = words.replace('\n', " ⏎ ").replace('\u{202e}', "\\u{202e}");
            (text(row, "case"), plain.replace('\x1b', "\\x1b").replace('\x07', "\\x07"))
        })
        .collect()
}

fn grade(report: &Value, level: &str) -> String {
    let all = report["grades"].as_array().unwrap();
    let found = all.iter().find(|grade| grade["level"] == level).unwrap();
    found["outcome"].as_str().unwrap().to_owned()
}

/// The languages of a folder whose programs are here pass everything, no case is left out, and the README says so.
fn keep_the_contract(folder: &str, langs: &[&str]) {
    let place = Place::new();
    let manifests = table::root().join(folder);
    let dir = manifests.to_str().unwrap();
    let list = ["plugin", "list", "--format", "json", "--executor-dir", dir];
    let list = if folder == BUNDLED { &list[..4] } else { &list[..] };
    let list = place.polyloom(list).exits(0).json();
    for lang in langs {
        let row = list["executors"].as_array().unwrap().iter().find(|row| row["id"] == *lang);
        if row.is_none_or(|row| row["ready"] != true) {
            let why = row.and_then(|row| row["missing"].as_str()).unwrap_or("not here");
            skip(&format!("{lang}: {why}"));
            continue;
        }
        let which = if folder == BUNDLED { (*lang).to_owned() } else { format!("{dir}/{lang}") };
        // Other tests run beside this one.
        let ended = test(&place, &which, "60s");
        let report = ended.json();
        assert_eq!(failed(&report), [], "{lang}");
        assert_eq!(ended.code(), 0);
        let rows = report["cases"].as_array().unwrap().iter();
        let left: Vec<&str> = rows
            .filter(|row| row["outcome"] == "not_tried")
            .map(|row| row["case"].as_str().unwrap())
            .collect();
        assert_eq!(left, [""; 0], "{lang}");
        table::compare(&manifests, lang, &report["grades"]);
    }
}

/// What the binary carries, and languages that are a manifest and nothing else.
const BUNDLED: &str = "executors";
const MORE: &str = "examples/languages";

#[test]
fn python_and_javascript_keep_the_contract() {
    keep_the_contract(BUNDLED, &["python", "javascript"]);
}

/// An example of the SDK passes all it declares.
fn example(name: &str, levels: &[&str]) {
    needs!("python3");
    let place = Place::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/examples");
    let ended = test(&place, examples.join(name).to_str().unwrap(), "60s");
    let report = ended.json();
    assert_eq!(failed(&report), []);
    assert_eq!(ended.code(), 0);
    for level in levels {
        assert_eq!(grade(&report, level), "pass", "{level}");
    }
}

#[test]
fn a_function_of_the_python_sdk_keeps_the_contract() {
    example("upper", &["run", "stream", "diagnose", "cancel"]);
}

#[test]
fn a_class_of_the_python_sdk_keeps_the_contract() {
    example("kept", &["run", "stream", "diagnose", "cancel", "session", "snapshot", "catalog"]);
}

#[test]
fn interpreted_languages_keep_the_contract() {
    keep_the_contract(BUNDLED, &["shell", "sh", "awk", "perl", "tcl", "sqlite"]);
}

#[test]
fn compiled_languages_keep_the_contract() {
    keep_the_contract(BUNDLED, &["c", "cpp", "tcc", "wasm"]);
}

#[test]
fn java_keeps_the_contract() {
    keep_the_contract(BUNDLED, &["java"]);
}

#[test]
fn more_interpreted_languages_keep_the_contract() {
    keep_the_contract(MORE, &["lua", "ruby", "php", "r"]);
}

#[test]
fn more_compiled_languages_keep_the_contract() {
    keep_the_contract(MORE, &["go", "rust"]);
}

/// A language that no test above names has no row.
#[test]
fn the_tables_have_a_row_for_each_manifest() {
    for folder in [BUNDLED, MORE] {
        let folder = table::root().join(folder);
        assert_eq!(table::listed(&folder), table::manifests(&folder), "{}", folder.display());
    }
}

/// Manifests are all there is to them.
#[test]
fn more_languages_have_no_program_of_their_own() {
    for lang in table::manifests(&table::root().join(MORE)) {
        let folder = table::root().join(MORE).join(&lang);
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["conformance.toml", "executor.toml"], "{lang}");
        let manifest = table::manifest(&folder);
        assert_eq!(manifest["kind"].as_str(), Some("command"), "{lang}");
    }
}

#[test]
fn every_breach_is_told_by_the_name_of_a_case() {
    let place = Place::new();
    let with = |line: &str| format!("{CODES}{line}");
    let breaches = [
        ("well", CODES.to_owned()),
        ("banner", CODES.to_owned()),
        ("wrong-magic", CODES.to_owned()),
        ("huge-length", CODES.to_owned()),
        ("wide-features", CODES.to_owned()),
        ("never-hello", CODES.to_owned()),
        ("half-hello", CODES.to_owned()),
        ("crash-before-hello", CODES.to_owned()),
        ("words-before-crash", CODES.to_owned()),
        ("well two-done", "hello = 'two-done'".to_owned()),
        ("well done-unknown", "hello = 'done-unknown'".to_owned()),
        ("well half-frame", "hello = 'half-frame'".to_owned()),
        ("well crash", "hello = 'crash'".to_owned()),
        ("well deaf-echo", "hello = '''\ndeaf-echo\nhello\n'''".to_owned()),
        ("well credit-overrun", with("flood = 'credit-overrun 20'")),
        ("well credit", with("flood = 'spend-credit 20'")),
        ("well hang-deaf", with("sleep = 'hang-deaf'")),
    ];
    let mut told = String::new();
    for (at, (name, codes)) in breaches.iter().enumerate() {
        let (word, _) = name.split_once(' ').unwrap_or((name, ""));
        let folder = fake_executor(&place, &format!("fake-{at}"), word, codes);
        let began = Instant::now();
        let ended = test(&place, &folder, "2s");
        assert!(began.elapsed() < Duration::from_secs(100), "{name}");
        let report = ended.json();
        let failed = failed(&report);
        assert_eq!(ended.code(), i32::from(!failed.is_empty()), "{name}");
        let _ = writeln!(told, "{name}:{}", if failed.is_empty() { " none" } else { "" });
        for (case, got) in failed {
            let _ = writeln!(told, "  {case}: {got}");
        }
    }
    insta::assert_snapshot!(polyloom_test_e2e::without_numbers(&told));
}

/// An executor of three abilities that no bundled one has, with a flaw.
fn state_executor(place: &Place, flaw: &str, features: &str) -> String {
    place.executor(
        "state",
        &format!(
            "id = \"state\"\nversion = \"1\"\nkind = \"worker\"\nextensions = [\"state\"]\n\
             [toolchain.python]\nany = [\"python3\"]\n\
             [worker]\nargv = [\"{{python}}\", \"{{dir}}/state.py\", \"{{sdk}}/python\", \"{flaw}\"]\n\
             features = [{features}]\n"
        ),
    );
    let folder = place.executors().join("state");
    fs::write(folder.join("state.py"), include_str!("state.py")).unwrap();
    let codes = "hello = 'print(\"hello\")'\nset = 'x = 42'\nchange = 'x = 7'\nget = 'print(x if \"x\" in globals() else None)'\nshown = 'x = 42'\n\
                 environment = 'import os; print(os.environ.get(\"POLYLOOM_W\", \"\"))'\n";
    fs::write(folder.join("conformance.toml"), codes).unwrap();
    folder.to_str().unwrap().to_owned()
}

const ALL: &str = "\"session\", \"snapshot\", \"catalog\", \"prepare\", \"display\", \"durable\", \"interactive\", \"source\"";

/// Flaws, and the cases that find them.
fn found(flaws: &[(&str, &[&str])]) {
    needs!("python3");
    for (flaw, cases) in flaws {
        let place = Place::new();
        let folder = state_executor(&place, flaw, ALL);
        let report = test(&place, &folder, "2s").json();
        let names: Vec<String> = failed(&report).into_iter().map(|(case, _)| case).collect();
        assert_eq!(names, *cases, "{flaw}: {:?}", failed(&report));
        for level in ["run", "session", "snapshot", "catalog"] {
            let rows = report["cases"].as_array().unwrap().iter();
            let of = rows.filter(|row| row["level"] == level);
            let bad = of.clone().any(|row| row["outcome"] == "fail");
            let whole = of.clone().all(|row| row["outcome"] == "pass");
            let mark = if bad {
                "fail"
            } else if whole {
                "pass"
            } else {
                "not_tried"
            };
            assert_eq!(grade(&report, level), mark, "{flaw} {level}");
        }
    }
}

#[test]
fn sessions_snapshots_and_catalogues_have_marks_of_their_own() {
    found(&[
        ("none", &[]),
        ("silent", &["session"]),
        ("unforgetting", &["reset"]),
        ("unrestored", &["snapshot"]),
        ("uncatalogued", &["catalog"]),
    ]);
}

#[test]
fn what_a_session_is_asked_for_by_people_is_tried() {
    found(&[
        ("unsaved", &["durable"]),
        ("unloaded", &["durable"]),
        ("eager", &["interactive"]),
        ("shy", &["interactive"]),
        ("illiterate", &["source"]),
    ]);
}

#[test]
fn a_worker_that_takes_messages_amiss_is_found_out() {
    found(&[
        ("absent-minded", &["done"]),
        ("strict-key", &["unknown_key"]),
        ("strict-kind", &["unknown_kind"]),
        ("surprised", &["late_credit"]),
        ("unprepared", &["prepare"]),
        ("obliging", &["must_understand"]),
    ]);
}

#[test]
fn a_worker_that_ends_amiss_is_found_out() {
    found(&[
        ("chatty", &["shrunk", "interactive"]),
        ("announcing", &["environment"]),
        ("orphaned", &["end_of_file"]),
        ("undying", &["hello"]),
        ("sulking", &["hello"]),
    ]);
}

#[test]
fn an_ability_that_is_not_declared_is_refused() {
    needs!("python3");
    let place = Place::new();
    let folder = state_executor(&place, "none", "\"session\"");
    let report = test(&place, &folder, "3s").exits(1).json();
    let [(case, got)] = &failed(&report)[..] else { panic!("{report}") };
    assert_eq!(case, "greeting");
    assert!(got.contains("`snapshot`"), "{got}");
    // The host refuses it likewise.
    place.write("polyloom.toml", "[cells.a]\nlang = 'state'\ncode = 'print(1)'\n");
    let run = place.run(&[]).exits(1);
    assert_eq!(run.outcome("a"), "worker_error");
}

#[test]
fn an_ability_that_is_declared_and_not_offered_is_a_failure() {
    let place = Place::new();
    // The fake executor offers `cancel.soft`, `display` and `progress`, and answers what it does not know with silence.
    let folder = fake_executor(&place, "fake-a", "well", CODES);
    let manifest = Path::new(&folder).join("executor.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let more = "\"catalog\", \"prepare\", \"session\", \"snapshot\", \"progress\"]";
    fs::write(&manifest, text.replace("\"progress\"]", more)).unwrap();
    let report = test(&place, &folder, "5s").exits(1).json();
    let failed = failed(&report);
    let cases: Vec<&str> = failed.iter().map(|(case, _)| case.as_str()).collect();
    assert_eq!(cases, ["prepare", "session", "reset", "snapshot", "catalog"]);
    let got = "the greeting does not offer `catalog`, which the manifest declares";
    assert!(failed[4].1.starts_with(got), "{failed:?}");
    assert_eq!(grade(&report, "catalog"), "fail");
}

#[test]
fn marks_are_shown_until_the_executor_changes() {
    let place = Place::new();
    fake_executor(&place, "fake-a", "well", CODES);
    let shown = || {
        let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
        let all = list["executors"].as_array().unwrap().clone();
        let row = all.into_iter().find(|row| row["id"] == "fake-a").unwrap();
        row["grades"].clone()
    };
    assert!(shown().is_null());
    let report = test(&place, "fake-a", "5s").exits(0).json();
    assert_eq!(report["schema"], "polyloom.conformance/1");
    assert_eq!(shown(), report["grades"]);
    let lines =
        place.polyloom(&["plugin", "test", "fake-a", "--format", "jsonl"]).exits(0).json_lines();
    let (document, rows) = lines.split_last().unwrap();
    assert_eq!(rows.len(), report["cases"].as_array().unwrap().len());
    assert!(rows.iter().all(|row| row["case"].is_string()));
    assert_eq!(
        (&document["grades"], &document["cases"]),
        (&report["grades"], &Value::Array(Vec::new()))
    );
    let folder = place.executors().join("fake-a");
    let manifest = fs::read_to_string(folder.join("executor.toml")).unwrap();
    fs::write(folder.join("executor.toml"), manifest.replace("\"display\", ", "")).unwrap();
    assert!(shown().is_null());
    fs::write(folder.join("executor.toml"), &manifest).unwrap();
    assert_eq!(shown(), report["grades"]);
    let other = CODES.replace("hello\n", "hullo\n");
    fs::write(folder.join("conformance.toml"), other).unwrap();
    assert!(shown().is_null());
    fs::write(folder.join("conformance.toml"), CODES).unwrap();
    assert_eq!(shown(), report["grades"]);
    fs::write(folder.join("more"), "a program of it").unwrap();
    assert!(shown().is_null());
}

#[test]
fn what_is_made_once_for_all_workers_is_tried() {
    let place = Place::new();
    let folder = fake_executor(&place, "fake-a", "well", CODES);
    let report = test(&place, &folder, "5s").exits(0).json();
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.iter().all(|row| row["case"] != "once"), "there is none");
    let path = place.executors().join("fake-a/executor.toml");
    let manifest = fs::read_to_string(&path).unwrap();
    let tools = "[toolchain.sh]\nany = [\"sh\"]\nversion = []\n[worker]\n";
    let manifest = manifest.replace("[worker]\n", tools);
    let told = |script: &str| {
        let once = format!("once = [\"{{sh}}\", \"-c\", \"{script}\", \"x\", \"{{out}}\"]\n");
        fs::write(&path, format!("{manifest}{once}")).unwrap();
        failed(&test(&place, &folder, "5s").json())
    };
    assert_eq!(told("echo made > $1/it"), []);
    let all = told("echo no such module >&2; exit 3");
    let [(case, came)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(case, "once");
    assert!(came.contains("exit code 3") && came.contains("no such module"), "{came}");
    let all = told("true");
    assert!(
        matches!(all.as_slice(), [(case, came)] if case == "once" && came.contains("left nothing")),
        "{all:?}"
    );
}

#[test]
fn a_folder_goes_before_what_is_installed_under_its_name() {
    let place = Place::new();
    let manifest = "id = \"pc\"\nversion = \"1\"\nkind = \"command\"\n[toolchain.sh]\nany = [\"sh\"]\nversion = []\n\
                    [run]\nargv = [\"{sh}\", \"{code}\"]\n";
    place.write("pc/executor.toml", manifest);
    place.write("pc/conformance.toml", "hello = 'echo hello'\n");
    let _ = place.polyloom(&["plugin", "install", "pc", "--yes"]).exits(0);
    place.write("pc/conformance.toml", "hello = 'echo hullo'\n");
    let told = place.polyloom(&["plugin", "test", "pc"]).exits(1).stderr();
    assert!(told.contains("testing pc (the folder pc, not the one that is installed)"), "{told}");
    // Elsewhere the name is that of what is installed.
    std::fs::create_dir(place.project().join("sub")).unwrap();
    let call = place.call(&["plugin", "test", "pc"]).cwd(place.project().join("sub"));
    let told = call.end().exits(0).stderr();
    assert!(told.contains("testing pc (installed, from "), "{told}");
}

#[test]
fn what_can_t_be_tested_is_told_with_what_can() {
    let place = Place::new();
    let said = |args: &[&str]| {
        let words: Vec<&str> = ["plugin", "test"].iter().chain(args).copied().collect();
        place.polyloom(&words).exits(2).stderr()
    };
    let unknown = said(&["cobol"]);
    assert!(unknown.contains("`cobol` is no executor") && unknown.contains("python"), "{unknown}");
    let folder = fake_executor(&place, "fake-a", "well", "hullo = ''");
    let misspelt = said(&[&folder]);
    assert!(misspelt.contains("`hullo`") && misspelt.contains("hello, "), "{misspelt}");
    let folder = fake_executor(&place, "fake-a", "well", "hello = ''\nsleep = \"");
    let broken = said(&[&folder]);
    assert!(broken.contains("conformance.toml, line 2: ") && !broken.contains("\\n"), "{broken}");
    fs::remove_file(place.executors().join("fake-a/conformance.toml")).unwrap();
    assert!(said(&[&folder]).contains("conformance.toml"), "{}", said(&[&folder]));
    assert!(said(&["sh", "--timeout", "soon"]).contains("soon"));
}

#[test]
fn the_cases_are_listed_and_what_was_taken_is_said() {
    let place = Place::new();
    let listed = place.polyloom(&["plugin", "test", "--cases"]).exits(0).stdout();
    let exit = listed.lines().find(|line| line.starts_with("exit ")).unwrap();
    assert!(exit.contains("run") && exit.contains("`exit`"), "{exit}");
    assert!(exit.ends_with("fails with exit code 7"), "{exit}");
    let listed = place.polyloom(&["plugin", "test", "--cases", "--format", "json"]).exits(0).json();
    let cases = listed["cases"].as_array().unwrap();
    let int = cases.iter().find(|case| case["case"] == "value.int").unwrap();
    assert_eq!((&int["values"], &int["workers"]), (&"int".into(), &false.into()));
    let _ = place.polyloom(&["plugin", "test"]).exits(2);
    // A cell that says nothing before it sleeps.
    place.executor(
        "mute",
        "id = \"mute\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"mute\"]\n[toolchain.sh]\nany = [\"sh\"]\nversion = []\n\
         [run]\nargv = [\"{sh}\", \"{code}\"]\n",
    );
    let folder = place.executors().join("mute");
    let codes = "hello = 'echo hello'\nsleep = 'sleep 60 # asleep'\n";
    fs::write(folder.join("conformance.toml"), codes).unwrap();
    let ended = test_text(&place, folder.to_str().unwrap());
    let (out, err) = (ended.stdout(), ended.stderr());
    assert!(out.contains("got: `asleep` was never printed: is it flushed? (timed_out"), "{out}");
    assert!(out.contains("passed, ") && out.contains(" not tried\n"), "{out}");
    assert!(err.contains("testing mute (the folder ") && err.contains("/mute)"), "{err}");
    let err = place.polyloom(&["plugin", "test", "sh", "--timeout", "1ms"]).stderr();
    assert!(err.contains("testing sh (bundled)"), "{err}");
}

fn test_text(place: &Place, which: &str) -> Ended {
    place.polyloom(&["plugin", "test", which, "--timeout", "3s"]).exits(1)
}

/// Who says what when, in every case of a conversation with an executor that behaves.
#[test]
fn transcripts_are_golden() {
    let place = Place::new();
    let folder = fake_executor(&place, "fake", "well", CODES);
    let report = test(&place, &folder, "10s").exits(0).json();
    let mut text = String::new();
    for row in report["cases"].as_array().unwrap() {
        let Some(lines) = row["transcript"].as_array().filter(|lines| !lines.is_empty()) else {
            continue;
        };
        let _ = writeln!(text, "{}", row["case"].as_str().unwrap());
        for line in lines {
            let _ = writeln!(text, "  {}", line.as_str().unwrap());
        }
    }
    insta::assert_snapshot!(text);
}
