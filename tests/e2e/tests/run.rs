//! How a run goes and ends: exit codes, parallel cells, `-k`, retries, timeouts, missing programs, what it prints.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, is_root};
use serde_json::Value;

const MIXED: &str = r#"
[cells.bad]
lang = "sh"
outputs = { x = "int" }
code = '''
echo before
echo "the reason" >&2
exit 7
'''

[cells.after]
lang = "sh"
inputs = { x = "bad.x" }
code = 'echo never'

[cells.good]
lang = "sh"
outputs = { y = "int" }
code = 'echo 1 > $OUT/y'

[cells.last]
lang = "sh"
inputs = { y = "good.y" }
code = 'echo "y is $y"'
"#;

#[test]
fn zero_when_all_is_well() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo hi'\n");
    insta::assert_snapshot!(place.polyloom(&["run"]).exits(0).screen(), @"
    --- stderr
    run [RUN]: project (./polyloom.toml), 1 cell, [N] at once
    a │ hi
    ok      a  sh [TOOK]  never ran
    ok in [TOOK]: 1 ran
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["run"]).exits(0).screen(), @"
    --- stderr
    run [RUN]: project (./polyloom.toml), 1 cell, [N] at once
    cached  a  sh       -  up to date
    ok in [TOOK]: 1 cached
    --- exit 0
    ");
}

#[test]
fn one_when_a_cell_fails() {
    let place = Place::flow(MIXED);
    let run = place.run(&["-j", "1"]).exits(1);
    assert_eq!(run.outcome("bad"), "failed");
    assert_eq!(run.cell("bad")["exit_code"], 7);
    assert_eq!(run.document["outcome"], "failed");
}

#[test]
fn failure_ends_with_place_reason_and_next_command() {
    let place = Place::flow(MIXED);
    insta::assert_snapshot!(place.polyloom(&["run", "bad"]).exits(1).screen(), @"
    --- stderr
    run [RUN]: project (./polyloom.toml), 1 cell, [N] at once
    bad │ before
    bad │ the reason
    failed  bad  sh [TOOK]  exit code 7

    error: cell `bad` (sh): failed, exit code 7
      stderr, last lines:
        │ the reason
    hint: `polyloom logs [RUN] bad` shows all it printed; `polyloom run -i bad` opens its sandbox; the next run goes on from here

    failed in [TOOK]: 1 failed
    --- exit 1
    ");
}

#[test]
fn five_when_others_went_well() {
    let place = Place::flow(MIXED);
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.told(), "after skipped, bad failed, good ok, last ok");
}

#[test]
fn one_with_keep_going_when_nothing_went_well() {
    let place = Place::flow(MIXED);
    let run = place.run(&["polyloom.toml", "after", "-k"]).exits(1);
    assert_eq!(run.told(), "after skipped, bad failed");
}

#[test]
fn two_for_bad_usage_and_bad_flows() {
    let place = Place::flow("[cells.a]\nlang = \"cobol\"\ncode = ''\n");
    let _ = place.polyloom(&["run", "--no-such-flag"]).exits(2);
    insta::assert_snapshot!(place.polyloom(&["run"]).exits(2).screen(), @r#"
    --- stderr
    PL020

      × unknown language `cobol`
       ╭─[./polyloom.toml:2:8]
     1 │ [cells.a]
     2 │ lang = "cobol"
       ·        ───────
     3 │ code = ''
       ╰────
      help: valid: `awk`, `c`, `cpp`, `java`, `javascript`, `perl`, `python`, `sh`, `shell`, `sqlite`,
            `tcc`, `tcl`, `wasm`

    error: `.` has 1 error; nothing was run
    --- exit 2
    "#);
    insta::assert_snapshot!(place.polyloom(&["run", "absent.toml"]).exits(2).screen(), @"
    --- stderr
    PL002

      × can't read `absent.toml`: there is no such file or folder

    error: `absent.toml` has 1 error; nothing was run
    --- exit 2
    ");
    let _ = Place::new().polyloom(&["run"]).exits(2);
    let place = Place::flow(MIXED);
    insta::assert_snapshot!(place.polyloom(&["run", "goood"]).exits(2).screen(), @"
    --- stderr
    error: there is no cell `goood`; did you mean `good`?
    --- exit 2
    ");
    let _ = place.polyloom(&["run", "-p", "nope=1"]).exits(2);
    let _ = place.polyloom(&["run", "--timeout", "soon"]).exits(2);
}

#[test]
fn three_when_an_interpreter_is_missing() {
    let place = Place::flow("[cells.a]\nlang = \"python\"\ncode = 'print(1)'\n");
    let ended = place.call(&["run"]).env("PATH", place.root()).end().exits(3);
    insta::assert_snapshot!(ended.screen(), @"
    --- stderr
    error: `python` needs `python3` or `python` and none was found on PATH; cells that need it: `a`
    hint: apt install python3
    --- exit 3
    ");
}

#[test]
fn three_when_a_compiler_is_missing() {
    let place = Place::flow("[cells.a]\nlang = \"c\"\ncode = 'int main(void) { return 0; }'\n");
    let ended = place.call(&["run"]).env("PATH", place.root()).end().exits(3);
    insta::assert_snapshot!(ended.screen(), @"
    --- stderr
    error: `c` needs `gcc` or `clang` and none was found on PATH; cells that need it: `a`
    hint: apt install gcc libc6-dev
    --- exit 3
    ");
}

#[test]
fn a_missing_interpreter_is_no_matter_of_cells_that_do_without() {
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\ncode = 'print(1)'\n[cells.b]\nlang = \"sh\"\ncode = 'echo hi'\n",
    );
    let bin = place.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let run = place
        .call(&["run", "--format", "json", "polyloom.toml", "b"])
        .env("PATH", &bin)
        .end()
        .run();
    assert_eq!(run.exits(0).told(), "b ok");
}

#[test]
fn four_when_nothing_is_selected() {
    let place = Place::flow(MIXED);
    let _ = place.polyloom(&["run", "polyloom.toml", "good", "--from", "bad"]).exits(4);
}

#[test]
fn one_hundred_and_twenty_four_when_the_run_takes_too_long() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'sleep 600'\n");
    let run = place.run(&["--timeout", "300ms"]).exits(124);
    assert_eq!(run.document["outcome"], "timed_out");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_cell_is_tried_again_as_often_as_it_says() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nretries = 2\ncode = 'echo try; exit 1'\n");
    let ended = place.polyloom(&["run", "--format", "jsonl"]).exits(1);
    let events = ended.json_lines();
    let starts = events.iter().filter(|event| event["event"] == "step.started").count();
    assert_eq!(starts, 3);
    let finished = events.iter().find(|event| event["event"] == "step.finished").unwrap();
    assert_eq!(finished["attempts"], 3);
    let retried: Vec<_> = events.iter().filter(|event| event["event"] == "step.retried").collect();
    assert_eq!(retried.len(), 2);
    assert_eq!((&retried[1]["attempt"], &retried[1]["meta"]["exit_code"]), (&2.into(), &1.into()));
    assert!(retried[1]["delay_ms"].is_u64());
    let told = ended.stderr();
    assert_eq!(told.matches("a │ attempt ").count(), 2, "{told}");
    let shown = place.polyloom(&["show", "latest", "a"]).exits(0).stdout();
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["attempts", "3"])), "{shown}");
}

#[test]
fn independent_cells_run_at_the_same_time() {
    // Each waits until it sees that both had begun: through time alone, since they share nothing.
    let cell =
        |name: &str| format!("[cells.{name}]\nlang = \"sh\"\ncode = 'echo begun; sleep 1'\n");
    let place = Place::flow(&(cell("a") + &cell("b")));
    let begun = |jobs: &str| {
        let ended = place.polyloom(&["run", "-F", "-j", jobs, "--format", "jsonl"]).exits(0);
        let events = ended.json_lines();
        let at = |name: &str| events.iter().position(|event| event["event"] == name).unwrap();
        let last = events.iter().rposition(|event| event["event"] == "step.started").unwrap();
        last < at("step.finished")
    };
    assert!(begun("2"), "two jobs: both begin before one ends");
    assert!(!begun("1"), "one job: one ends before the other begins");
}

#[test]
fn the_first_failure_stops_what_has_not_begun() {
    let place = Place::flow(MIXED);
    let run = place.run(&["-j", "1"]).exits(1);
    let outcomes = run.outcomes();
    assert_eq!(outcomes["after"], "skipped");
    assert_ne!(outcomes["last"], "failed");
}

#[test]
fn the_document_has_every_field() {
    let place = Place::flow(MIXED);
    let run = place.run(&["-k"]).exits(5);
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(&run.document), "cells outcome run schema wall_ms");
    let good = run.cell("good");
    assert_eq!(
        keys(good),
        "cpu_ms diagnostics enforcement exit_code id lang limit outcome outputs peak_memory reason wall_ms"
    );
    assert_eq!(keys(&good["outputs"]["y"]), "digest media_type path size type");
    assert_eq!(good["outputs"]["y"]["size"], 1);
    assert!(!good["enforcement"].as_array().unwrap().is_empty());
    assert_eq!(std::fs::read(run.path("good", "y")).unwrap(), [1]);
}

#[test]
fn stdout_is_data_and_nothing_else() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo hi; echo ho >&2'\n");
    assert_eq!(place.polyloom(&["run"]).exits(0).stdout(), "");
    let ended = place.polyloom(&["run", "-F", "--format", "json"]).exits(0);
    assert!(ended.json()["cells"].is_array());
    assert!(ended.stderr().contains("hi"));
    for event in place.polyloom(&["run", "-F", "--format", "jsonl"]).exits(0).json_lines() {
        assert!(event["seq"].is_u64());
    }
    let quiet = place.polyloom(&["run", "-q", "-q", "-F"]).exits(0);
    assert_eq!((quiet.stdout(), quiet.stderr()), (String::new(), String::new()));
}

#[test]
fn events_are_whole_and_without_gaps() {
    let place = Place::flow(MIXED);
    let _ = place.polyloom(&["run", "-k", "--events", "events.jsonl"]).exits(5);
    let text = place.read("events.jsonl");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, event) in (1u64..).zip(&events) {
        assert_eq!(event["seq"], number);
    }
    assert_eq!(events.first().unwrap()["event"], "run.started");
    assert_eq!(events.last().unwrap()["event"], "run.finished");
    // The recording is the same stream, but that chatter may be joined.
    let runs = place.project().join(".polyloom/runs");
    let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();
    let recorded = std::fs::read_to_string(run.join("events.jsonl")).unwrap();
    let ends = |text: &str| text.lines().filter(|line| line.contains("step.finished")).count();
    assert_eq!(ends(&recorded), 4);
    assert_eq!(ends(&text), 4);
}

#[test]
fn text_of_cells_never_steers_the_terminal() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ncode = '''printf '\\033[31mred\\033]0;title\\007\\b\\302\\233 end\\n' '''\n",
    );
    for args in [&["run"][..], &["logs"], &["replay"]] {
        let ended = place.polyloom(args).exits(0);
        let all = [ended.bytes(), ended.stderr().as_bytes()].concat();
        let raw = all.iter().filter(|&&b| b < 32 && b != b'\n' || b == 127).count();
        assert_eq!(raw, 0, "{}", ended.screen());
        assert!(!String::from_utf8_lossy(&all).contains('\u{9b}'));
        assert!(ended.screen().contains("red"), "{}", ended.screen());
    }
}

#[test]
fn colour_only_where_it_is_wanted() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo hi'\n");
    assert!(!place.polyloom(&["run"]).stderr().contains('\x1b'));
    assert!(place.polyloom(&["run", "-F", "--color", "always"]).stderr().contains('\x1b'));
    let ended = place.call(&["run", "-F"]).env("NO_COLOR", "").end();
    assert!(!ended.stderr().contains('\x1b'), "not a terminal");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::flow(MIXED);
    for args in [
        &["run", "-k", "--format", "jsonl"][..],
        &["run", "-k", "--format", "json", "-F"],
        &["graph"],
        &["runs"],
        &["logs"],
        &["show", "good.y", "-o", "-"],
        &["schema", "flow"],
        &["completion", "bash"],
    ] {
        let ended = place.call(args).start().deaf();
        assert!(!ended.stderr().contains("panicked"), "{args:?}: {}", ended.stderr());
        assert!([0, 5, 141].contains(&ended.code()), "{args:?}: {}", ended.code());
    }
}

#[test]
fn an_ordinary_user_can_run_flows() {
    if !is_root() {
        return; // every other test here has shown it
    }
    let place = Place::flow(MIXED);
    place.give_to(65_534);
    let ended = place.call(&["run", "-k", "--format", "json"]).uid(65_534).end();
    let run = ended.run().exits(5);
    assert_eq!(run.told(), "after skipped, bad failed, good ok, last ok");
    let run = place.call(&["run", "-k", "--format", "json"]).uid(65_534).end().run();
    assert_eq!(run.exits(5).told(), "after skipped, bad failed, good cached, last cached");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn what_is_planned_of_a_step_is_told_before_anything_else_of_it() {
    let code = |i: usize| if i == 0 { "exit 1" } else { "true" };
    let cells = (0..1500).map(|i| format!("[cells.c{i}]\nlang = 'sh'\ncode = '{}'\n", code(i)));
    let place = Place::flow(&cells.collect::<String>());
    let events = place.polyloom(&["run", "-q", "-j", "1", "--format", "jsonl"]).exits(1);
    let mut planned = Vec::new();
    let mut ended = 0;
    for event in events.json_lines() {
        let Some(cell) = event["cell"].as_str() else { continue };
        if event["event"] == "step.planned" {
            planned.push(cell.to_owned());
        } else {
            assert!(planned.iter().any(|it| it == cell), "{event}");
            ended += usize::from(event["event"] == "step.finished");
        }
    }
    assert!(planned.iter().eq((0..1500).map(|i| format!("c{i}")).collect::<Vec<_>>().iter()));
    assert_eq!(ended, 1500);
}

/// A flow of 10,000 cells of which all but the second and the last are made from the first.
fn large(first: &str) -> Place {
    let cells = (0..10_000).map(|i: usize| {
        let code = if i == 0 { first.to_owned() } else { format!("echo {i} > $OUT/x") };
        let inputs = match i {
            0 | 1 | 9_999 => String::new(),
            _ => format!("a = 'c{}.x', b = 'c{}.x'", i / 2, i.saturating_sub(100)),
        };
        format!("[cells.c{i}]\nlang = 'sh'\ncode = '{code}'\ninputs = {{ {inputs} }}\noutputs = {{ x = 'int' }}\n")
    });
    Place::flow(&cells.collect::<String>())
}

/// What is planned of cells: the action and the reason of each, in their order.
fn planned(steps: &[Value]) -> Vec<String> {
    steps.iter().map(|it| format!("{} {} {}", it["cell"], it["action"], it["reason"])).collect()
}

#[test]
fn the_first_cells_of_a_large_flow_begin_before_the_others_are_planned() {
    let place = large("exit 1");
    let _ = place.polyloom(&["run", "c9999"]).exits(0);
    let plan = place.polyloom(&["run", "--dry-run", "--format", "json"]).exits(0).json();
    let run = || place.call(&["run", "-q", "-j", "1", "--format", "jsonl"]);
    let run = run().env("POLYLOOM_LOG", "debug").end().exits(1);
    assert!(run.stderr().contains("the first cells are planned"));
    let events = run.json_lines();
    let of =
        |name: &str| events.iter().filter(|it| it["event"] == name).cloned().collect::<Vec<_>>();
    assert_eq!(of("run.started")[0]["cells"], 10_000);
    let steps = of("step.planned");
    assert_eq!(planned(&steps), planned(plan["steps"].as_array().unwrap()));
    assert_eq!(steps[9_999]["action"], "cached");
    let totals = &of("run.finished")[0]["totals"];
    assert_eq!(
        (&totals["failed"], &totals["cached"], &totals["skipped"]),
        (&1.into(), &1.into(), &9_998.into())
    );
    // What it failed of is known, and stays so when it runs again.
    let again = place.polyloom(&["run", "--dry-run", "--format", "json"]).exits(0).json();
    assert!(planned(again["steps"].as_array().unwrap())[0].contains("failed"));
}

#[test]
fn cells_that_are_planned_while_others_run_run_too() {
    let place = large("exit 1");
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.ran(), ["c0", "c1", "c9999"]);
    assert_eq!((run.outcome("c9999"), run.outcome("c9998")), ("ok", "skipped"));
    assert_eq!(run.outcomes().values().filter(|it| *it == "skipped").count(), 9_997);
    // Whatever was planned when: no cell is without a word in the history.
    let why = place.polyloom(&["why", "c9998"]).exits(0).stdout();
    assert!(why.contains("never ran"), "{why}");
}

#[test]
fn a_large_flow_that_is_interrupted_at_once_tells_of_all_its_cells() {
    let place = large("sleep 7200");
    let mut run = place.call(&["run", "-q", "-j", "1", "--events", "-"]).start();
    run.until(|event| event["event"] == "step.started");
    run.signal(rustix::process::Signal::INT);
    let end = run.until(|event| event["event"] == "run.finished");
    assert_eq!(end["totals"]["cancelled"], 1);
    assert_eq!(end["totals"]["skipped"], 9_999);
    let _ = run.end().exits(130);
    assert_eq!(place.processes(), [""; 0]);
}
