//! Runs of a flow of which everything is as it was: they plan nothing, are told and recorded like any other, and end with the first change.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Place, Run};
use serde_json::Value;

const FLOW: &str = r#"
[flow]
name = "again"

[params]
n = 3

[cells.count]
lang = "sh"
file = "count.sh"
inputs = { words = "file:words.txt", tree = { from = "file:tree", type = "dir" }, k = "param:n" }
outputs = { n = "int", big = "file" }

[cells.sub]
flow = "sub.toml"

[cells.last]
lang = "sh"
inputs = { n = "count.n" }
code = 'echo last $n'
"#;

const SUB: &str = "[flow]\nname = \"sub\"\n[cells.one]\nlang = \"sh\"\ncode = 'echo one'\n";

/// A project whose last run planned nothing.
fn standing() -> Place {
    let place = Place::flow(FLOW);
    place.write(
        "count.sh",
        "wc -w < $words > $OUT/n\nseq 1 9000 > $OUT/big\nls $tree > /dev/null\n",
    );
    place.write("words.txt", "a b c\n");
    place.write("tree/x.txt", "x\n");
    place.write("sub.toml", SUB);
    done(&place, &["run"]);
    let status = place.run(&[]).exits(0);
    assert_eq!(status.ran(), [""; 0]);
    assert!(!is_again(&place), "files that were written just now can change without a trace");
    stand(&place);
    place
}

/// Runs until the last run planned nothing.
fn stand(place: &Place) {
    // Within two seconds a change need not show in a file's times.
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    assert!(is_again(place), "everything is as it was");
}

fn done(place: &Place, args: &[&str]) {
    let ended = place.polyloom(args);
    assert_eq!(ended.code(), 0, "{}", ended.stderr());
}

fn latest(place: &Place) -> std::path::PathBuf {
    let runs = std::fs::read_dir(place.project().join(".polyloom/runs")).unwrap();
    let mut runs: Vec<_> = runs.map(|run| run.unwrap().path()).collect();
    runs.sort_by_key(|run| {
        std::fs::metadata(run.join("events.jsonl")).unwrap().modified().unwrap()
    });
    runs.pop().unwrap()
}

/// Whether the last run has its steps from an earlier one.
fn is_again(place: &Place) -> bool {
    let run = latest(place);
    let own = std::fs::read_to_string(run.join("events.jsonl")).unwrap().lines().count();
    run.join("stood.jsonl").exists() && own == 2
}

/// A run after a change: it has to plan.
fn planned(place: &Place, args: &[&str]) -> Run {
    let run = place.run(args).exits(0);
    assert!(!is_again(place), "{}", run.told());
    run
}

#[test]
fn it_is_told_and_recorded_like_any_other() {
    let place = standing();
    let lines = |args: &[&str]| place.polyloom(args).exits(0).json_lines();
    let plain = |records: Vec<Value>| -> Vec<Value> {
        let mut records = records;
        for (at, record) in records.iter_mut().enumerate() {
            assert_eq!(record["seq"], at as u64 + 1);
            let record = record.as_object_mut().unwrap();
            for of_the_run in ["at_ms", "run", "started_unix_ms", "wall_ms"] {
                record.remove(of_the_run);
            }
        }
        records
    };
    // The same words by way of another limit: it is asked for something else, and planned.
    let made = plain(lines(&["run", "--limit", "timeout=1h", "--format", "jsonl"]));
    assert!(!is_again(&place));
    let again = plain(lines(&["run", "--format", "jsonl"]));
    assert!(is_again(&place));
    assert_eq!(again, made);
    let id = latest(&place).file_name().unwrap().to_string_lossy().into_owned();
    let replayed = place.polyloom(&["replay", &id, "-v"]).exits(0).screen();
    assert!(replayed.contains("cached  count") && replayed.contains("3 cached"), "{replayed}");
    let shown = place.polyloom(&["show", &id]).exits(0).screen();
    assert!(shown.contains("count") && shown.contains("sub/one"), "{shown}");
    // Its document has the places of outputs.
    let run = place.run(&[]).exits(0);
    assert!(is_again(&place));
    assert!(run.path("count", "big").exists());
    assert_eq!(run.outcome("last"), "cached");
    // It can go elsewhere whole, and stands without the runs before it.
    done(&place, &["runs", "export", &id, "-o", "run.tar"]);
    let there = Place::flow(FLOW);
    let file = place.project().join("run.tar");
    done(&there, &["runs", "import", file.to_str().unwrap()]);
    let log = std::fs::read_to_string(latest(&there).join("events.jsonl")).unwrap();
    let imported = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(plain(imported), made);
    for _ in 0..2 {
        let kept = place.call(&["run"]).env("POLYLOOM_KEEP_RUNS", "1").end();
        assert_eq!(kept.code(), 0);
    }
    done(&place, &["run"]);
    assert!(is_again(&place));
    let lineage = place.polyloom(&["lineage", "count.n"]).exits(0).screen();
    assert!(lineage.contains("count"), "{lineage}");
}

#[test]
fn code_input_files_and_flows_end_it() {
    let place = standing();
    place.edit("count.sh", "wc -w", "wc -c");
    assert_eq!(planned(&place, &[]).ran(), ["count", "last"]);
    stand(&place);
    // As long, and of the same time: a file's other times tell.
    let words = place.project().join("words.txt");
    let time = std::fs::metadata(&words).unwrap().modified().unwrap();
    place.write("words.txt", "abcde\n");
    std::fs::File::options().write(true).open(&words).unwrap().set_modified(time).unwrap();
    assert_eq!(planned(&place, &[]).ran(), ["count"]);
    stand(&place);
    place.write("tree/y.txt", "y\n");
    assert_eq!(planned(&place, &[]).ran(), ["count"]);
    stand(&place);
    place.edit("sub.toml", "echo one", "echo two");
    assert_eq!(planned(&place, &[]).ran(), ["sub/one"]);
}

#[test]
fn what_is_asked_for_ends_it() {
    let place = standing();
    assert_eq!(planned(&place, &["-p", "n=4"]).ran(), ["count"]);
    assert_eq!(planned(&place, &["--until", "last", "--force"]).ran(), ["count", "last"]);
    // The record of that run replaced one: what was known before counts no more.
    assert_eq!(planned(&place, &[]).ran(), [""; 0]);
    done(&place, &["run"]);
    assert!(is_again(&place));
    place.write(".polyloom/policy.toml", "policy = \"sloppy\"\n");
    let told = place.polyloom(&["run"]).exits(2).stderr();
    assert!(told.contains("policy.toml"), "{told}");
}

#[test]
fn what_the_store_loses_ends_it() {
    let place = standing();
    let big = place.run(&[]).exits(0).path("count", "big");
    std::fs::remove_file(&big).unwrap();
    assert_eq!(planned(&place, &[]).ran(), ["count"]);
    stand(&place);
    done(&place, &["cache", "gc", "--max-size", "1B"]);
    assert!(!planned(&place, &[]).ran().is_empty());
    stand(&place);
    std::fs::remove_dir_all(place.store()).unwrap();
    assert_eq!(planned(&place, &[]).ran(), ["count", "last", "sub/one"]);
    stand(&place);
    // The runs are gone, the results are not.
    std::fs::remove_dir_all(place.project().join(".polyloom")).unwrap();
    assert_eq!(planned(&place, &[]).ran(), [""; 0]);
    stand(&place);
}

/// What a command says, and whether it made a plan for it.
fn asked(place: &Place, args: &[&str]) -> (String, bool) {
    let ended = place.call(args).env("POLYLOOM_LOG", "polyloom_runtime=debug").end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr());
    (ended.stdout(), ended.stderr().contains("a plan is made"))
}

#[test]
fn questions_are_answered_without_a_plan() {
    let place = standing();
    let questions: [&[&str]; 7] = [
        &["status"],
        &["status", "--format", "json"],
        &["plan", "--format", "jsonl"],
        &["run", "--dry-run"],
        &["why", "count", "-v"],
        &["why", "sub/one", "--format", "json"],
        &["why", "last"],
    ];
    let answers = questions.map(|args| asked(&place, args));
    for ((answer, made), args) in answers.iter().zip(questions) {
        assert!(!made && !answer.is_empty(), "{args:?}");
    }
    // The first that has to plan leaves what it found for the others, but not for a run.
    place.write("count.sh", place.read("count.sh"));
    std::thread::sleep(Duration::from_millis(2200));
    for (at, ((answer, _), args)) in answers.iter().zip(questions).enumerate() {
        let (planned, made) = asked(&place, args);
        assert_eq!((&planned, made), (answer, at == 0), "{args:?}");
    }
    planned(&place, &[]);
}

#[test]
fn patterns_may_be_in_the_folder_of_the_flow() {
    let place = Place::flow(
        r#"
        [flow]
        name = "globs"

        [cells.each]
        lang = "sh"
        map = { file = "glob:*.csv" }
        code = 'cat $file'
        "#,
    );
    place.write("a.csv", "a\n");
    place.write("b.csv", "b\n");
    done(&place, &["run"]);
    stand(&place);
    place.write("c.txt", "of the link\n");
    done(&place, &["run"]);
    assert!(is_again(&place), "it is none of the files");
    place.write("c.csv", "c\n");
    assert_eq!(planned(&place, &[]).ran().len(), 1);
    stand(&place);
    place.write("c.csv", "d\n");
    assert_eq!(planned(&place, &[]).ran().len(), 1);
    stand(&place);
    std::fs::remove_file(place.project().join("a.csv")).unwrap();
    assert_eq!(planned(&place, &[]).ran(), [""; 0]);
    stand(&place);
    // By way of a link: what it leads to counts.
    std::os::unix::fs::symlink("c.txt", place.project().join("d.csv")).unwrap();
    assert_eq!(planned(&place, &[]).ran().len(), 1);
    stand(&place);
    place.write("c.txt", "e\n");
    assert_eq!(planned(&place, &[]).ran().len(), 1);
}
