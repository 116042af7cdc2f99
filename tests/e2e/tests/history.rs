//! Runs compared, explained, traced, pruned, and carried to another machine.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;

use polyloom_test_e2e::{Place, carry_log_over, needs};
use serde_json::Value;

const FLOW: &str = r#"
[flow]
name = "weather"

[params.greeting]
type = "str"
default = "hello"

[cells.words]
lang = "sh"
inputs = { greeting = "param:greeting", raw = "file:data.txt" }
outputs = { text = "str", all = "file" }
code = '''
echo "$greeting" > $OUT/text
cat $raw > $OUT/all.txt
'''

[cells.count]
lang = "sh"
inputs = { text = "words.text" }
outputs = { n = "int" }
code = 'echo 5 > $OUT/n; echo counted'

[cells.last]
lang = "sh"
inputs = { n = "count.n", all = "words.all" }
outputs = { line = "str" }
code = 'echo "$n" > $OUT/line'
"#;

/// A first run, one in which nothing is done, one in which the cutoff holds the last cell.
fn three_runs() -> Place {
    let place = Place::flow(FLOW);
    place.write("data.txt", "one\ntwo\n");
    let _ = place.run(&["-j", "1"]).exits(0);
    let _ = place.run(&[]).exits(0);
    place.edit("polyloom.toml", "\"hello\"", "\"tulip\"");
    let _ = place.run(&["-j", "1"]).exits(0);
    place
}

fn id(place: &Place, run: &str) -> String {
    place.polyloom(&["runs", "show", run, "--format", "json"]).exits(0).json()["run"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn cell<'a>(document: &'a Value, list: &str, name: &str) -> &'a Value {
    let all = document[list].as_array().unwrap();
    all.iter().find(|cell| cell["cell"] == name).unwrap_or_else(|| panic!("{name}: {document}"))
}

#[test]
fn runs_are_compared_cell_by_cell() {
    let place = three_runs();
    let diff = place.polyloom(&["runs", "diff", "latest~2", "latest", "--format", "json"]);
    let diff = diff.exits(0).json();
    assert_eq!(diff["schema"], "polyloom.runs-diff/1");
    let words = cell(&diff, "cells", "words");
    assert_eq!(words["parts"][0]["part"], "input.greeting");
    assert_eq!(words["parts"][0]["before"], "\"hello\"");
    assert_eq!(words["outputs"][0]["port"], "text");
    assert_eq!(words["outputs"].as_array().unwrap().len(), 1);
    assert!(words["a"]["wall_ms"].as_f64().unwrap() > 0.0);
    let last = cell(&diff, "cells", "last");
    assert_eq!(last["b"]["outcome"], "cached");
    assert!(last["outputs"].as_array().unwrap().is_empty());
    let text = place.polyloom(&["runs", "diff", "latest~2", "latest"]).exits(0);
    assert!(text.stdout().contains("input.greeting"), "{}", text.stdout());
    assert!(text.stderr().contains("of 3 cells"), "{}", text.stderr());
    let one = place.polyloom(&["runs", "diff", "latest~2", "latest", "words"]).exits(0).stdout();
    assert!(one.contains("\"hello\"") && one.contains("\"tulip\""), "{one}");
    // A run in which nothing was done has the keys and outputs of the one that did.
    let same = place.polyloom(&["runs", "diff", "latest~2", "latest~1", "--format", "json"]);
    let same = same.exits(0).json();
    assert!(same["cells"].as_array().unwrap().iter().all(|cell| cell["same"] == true), "{same}");
    let _ = place.polyloom(&["runs", "diff", "latest", "latest~9"]).exits(2);
    let _ = place.polyloom(&["runs", "diff", "latest", "latest", "nope"]).exits(2);
}

#[test]
fn cells_that_only_one_run_has_are_marked() {
    let place = three_runs();
    place.edit("polyloom.toml", "[cells.last]", "[cells.final]");
    let _ = place.run(&[]).exits(0);
    let diff = place.polyloom(&["runs", "diff", "latest~1", "latest", "--format", "json"]);
    let diff = diff.exits(0).json();
    assert_eq!(cell(&diff, "cells", "last")["b"], Value::Null);
    assert_eq!(cell(&diff, "cells", "final")["a"], Value::Null);
    let text = place.polyloom(&["runs", "diff", "latest~1", "latest"]).exits(0).stdout();
    assert!(text.contains("-  last") && text.contains("+  final"), "{text}");
}

#[test]
fn why_compares_with_any_run() {
    let place = three_runs();
    let why = |args: &[&str]| {
        let words = [&["why", "words", "--format", "json"], args].concat();
        place.polyloom(&words).exits(0).json()
    };
    assert!(why(&[])["changes"].as_array().unwrap().is_empty());
    for run in ["latest~2", "latest~1"] {
        let changes = why(&["--against", run])["changes"].clone();
        assert_eq!(changes[0]["part"], "input.greeting", "{run}");
        assert_eq!(changes[0]["after"], "\"tulip\"");
    }
    let text = place.polyloom(&["why", "words", "--against", "latest~2"]).exits(0).stdout();
    assert!(text.contains("compared with") && text.contains("\"hello\""), "{text}");
    let _ = place.polyloom(&["why", "words", "--against", "nope"]).exits(2);
}

#[test]
fn lineage_goes_up_to_files_and_params_and_down_to_what_was_made() {
    let place = three_runs();
    let first = id(&place, "latest~2");
    let third = id(&place, "latest");
    let up = place.polyloom(&["lineage", "last.line", "--up", "--format", "json"]).exits(0).json();
    assert_eq!(up["down"], Value::Null);
    // The cutoff: it was made in the first run, of what the first run made.
    assert_eq!(cell(&up, "up", "last")["run"], *first);
    let words = cell(&up, "up", "words");
    assert_eq!(words["run"], *first);
    assert_eq!(words["inputs"][0]["source"], "param:greeting");
    assert_eq!(words["inputs"][0]["text"], "\"hello\"");
    assert_eq!(words["inputs"][1]["source"], "file:data.txt");
    let file = words["inputs"][1]["digest"].as_str().unwrap();
    assert!(words["parts"]["code"]["digest"].as_str().unwrap().starts_with("b3:"));
    // From the file down, by the beginning of its digest: both runs' words, and the one last cell.
    let down = place.polyloom(&["lineage", &file[..20], "--down", "--format", "json"]);
    let down = down.exits(0).json();
    let runs: Vec<_> =
        down["down"].as_array().unwrap().iter().map(|s| (&s["cell"], &s["run"])).collect();
    for (cell, run) in [("words", &first), ("words", &third), ("count", &third), ("last", &first)] {
        let (cell, run) = (Value::from(cell), Value::from(run.as_str()));
        assert!(runs.contains(&(&cell, &run)), "{cell} {run}: {runs:?}");
    }
    let old = place.polyloom(&["lineage", &first, "words.text", "--format", "json"]).exits(0);
    assert_eq!(cell(&old.json(), "down", "count")["run"], *first);
    let tree = place.polyloom(&["lineage", "last.line"]).exits(0).stdout();
    for word in ["made by", "└─ last in", "file:data.txt", "as above", "nothing was made of it"]
    {
        assert!(tree.contains(word), "{word}: {tree}");
    }
    let shallow = place.polyloom(&["lineage", "last.line", "--depth", "1"]).exits(0).stdout();
    assert!(!shallow.contains("data.txt") && shallow.contains('…'), "{shallow}");
    let mermaid = place.polyloom(&["lineage", "last.line", "--format", "mermaid"]).exits(0);
    assert!(mermaid.stdout().starts_with("flowchart LR"));
    let dot = place.polyloom(&["lineage", "last.line", "--format", "dot"]).exits(0);
    assert!(dot.stdout().starts_with("digraph"));
    for bad in ["last.nope", "nope.x", "nope", "b3:00000000", "b3:", "b3:ABCDEF"] {
        let _ = place.polyloom(&["lineage", bad]).exits(2);
    }
}

#[test]
fn lineage_knows_what_a_pruned_run_made() {
    let place = three_runs();
    let _ = place.run(&[]).exits(0);
    let said = place.polyloom(&["runs", "prune", "--keep", "1"]).exits(0);
    assert!(said.stderr().contains("removed 3 runs"), "{}", said.stderr());
    let up = place.polyloom(&["lineage", "last.line", "--format", "json"]).exits(0).json();
    let last = cell(&up, "up", "last");
    assert_eq!(last["run"], Value::Null);
    assert_eq!(last["inputs"][1]["source"], "count.n");
    assert_eq!(cell(&up, "up", "words")["inputs"][0]["text"], "\"tulip\"");
}

#[test]
fn runs_are_kept_by_count_and_age() {
    let place = three_runs();
    let count =
        || place.polyloom(&["runs", "list", "--format", "jsonl"]).exits(0).json_lines().len();
    let _ = place.polyloom(&["runs", "prune", "--max-age", "365d"]).exits(0);
    assert_eq!(count(), 3);
    let _ = place.call(&["run"]).env("POLYLOOM_KEEP_RUNS", "2").end().exits(0);
    assert_eq!(count(), 2);
    let _ = place.polyloom(&["runs", "prune", "--max-age", "1ms"]).exits(0);
    assert_eq!(count(), 1, "the newest stays");
    for (name, value) in [("POLYLOOM_KEEP_RUNS", "0"), ("POLYLOOM_KEEP_AGE", "a month")] {
        let ended = place.call(&["run"]).env(name, value).end().exits(2);
        assert!(ended.stderr().contains(name), "{}", ended.stderr());
    }
    let _ = place.polyloom(&["runs", "prune", "--keep", "0"]).exits(2);
    assert_eq!(count(), 1);
}

#[test]
fn another_machine_opens_an_exported_run() {
    let here = three_runs();
    let file = here.root().join("run.tar");
    let path = file.to_str().unwrap();
    let _ = here.polyloom(&["runs", "export", "-o", path, "--with-artifacts"]).exits(0);
    let there = Place::new();
    let hint = there.polyloom(&["show", path]).exits(2);
    assert!(hint.stderr().contains("runs import"), "{}", hint.stderr());
    let run = there.polyloom(&["runs", "import", path]).exits(0).stdout();
    let run = run.trim();
    assert_eq!(run, id(&here, "latest"));
    assert_eq!(there.polyloom(&["runs", "import", path]).exits(0).stdout().trim(), run);
    for args in [&["show", run][..], &["show", run, "words.text"], &["logs", run], &["replay", run]]
    {
        let (a, b) = (here.polyloom(args).exits(0), there.polyloom(args).exits(0));
        // Paths in the stores are the only difference there may be.
        let text =
            |screen: String, place: &Place| screen.replace(place.root().to_str().unwrap(), "");
        assert_eq!(text(a.screen(), &here), text(b.screen(), &there), "{args:?}");
    }
    let lineage = there.polyloom(&["lineage", run, "count.n", "--format", "json"]).exits(0).json();
    assert_eq!(cell(&lineage, "up", "words")["inputs"][0]["text"], "\"tulip\"");
    // Of this project's own runs it is none.
    there.write("polyloom.toml", FLOW);
    there.write("data.txt", "one\ntwo\n");
    let _ = there.run(&[]).exits(0);
    assert_ne!(id(&there, "latest"), run);
    let diff = there.polyloom(&["runs", "diff", run, "latest", "words", "--format", "json"]);
    assert_eq!(diff.exits(0).json()["cells"][0]["parts"][0]["part"], "input.greeting");
}

#[test]
fn files_that_are_no_whole_run_are_refused() {
    let here = three_runs();
    let file = here.root().join("run.tar");
    let path = file.to_str().unwrap();
    let _ = here.polyloom(&["runs", "export", "latest~1", "-o", path]).exits(0);
    let bytes = fs::read(&file).unwrap();
    let there = Place::new();
    let refused = |bytes: &[u8], word: &str| {
        fs::write(&file, bytes).unwrap();
        let ended = there.polyloom(&["runs", "import", path]).exits(2);
        assert!(ended.stderr().contains(word), "{word}: {}", ended.stderr());
        let _ = there.polyloom(&["show"]).exits(4);
    };
    refused(&bytes[..bytes.len() - 1500], "ends too early");
    refused(b"[package]", "is not a run");
    let text = String::from_utf8(bytes).unwrap();
    refused(text.replace("\"cell\":\"count\"", "\"cell\":\"../..\"").as_bytes(), "is damaged");
    refused(text.replace("up to date", "up to hate").as_bytes(), "is damaged");
    // The manifest has a digest of its own.
    let size = usize::from_str_radix(&text[124..135], 8).unwrap();
    let mut manifest: Value = serde_json::from_str(&text[512..512 + size]).unwrap();
    let counts =
        format!(r#"{{"ok":{},"cached":9,"failed":9,"skipped":9,"cancelled":9}}"#, u64::MAX);
    manifest["totals"] = Value::from(counts);
    let manifest = manifest.to_string();
    assert!(manifest.len() <= size);
    let lie = format!("{}{manifest:size$}{}", &text[..512], &text[512 + size..]);
    refused(lie.as_bytes(), "is damaged");
    let _ = there.polyloom(&["runs", "import", "/dev/null"]).exits(2);
    let _ = there.polyloom(&["runs", "import", "/nowhere"]).exits(2);
    let _ = here.polyloom(&["runs", "export", "-o", "/nowhere/x.tar"]).exits(2);
}

#[test]
fn a_damaged_history_makes_no_run_impossible() {
    needs!("python3");
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\noutputs = { n = \"int\" }\ncode = 'echo 1 > $OUT/n'\n",
    );
    let _ = place.run(&[]).exits(0);
    let index = place.project().join(".polyloom/index.db");
    // What is in its log yet is carried over first: else there is nothing to be damaged.
    carry_log_over(&index);
    let mut bytes = std::fs::read(&index).unwrap();
    for byte in &mut bytes[4096..] {
        *byte = !*byte;
    }
    std::fs::write(&index, bytes).unwrap();
    place.edit("polyloom.toml", "echo 1", "echo 2");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.outcome("a"), "ok");
    assert!(run.stderr.contains("not recorded"), "{}", run.stderr);
    assert_eq!(place.run(&[]).exits(0).outcome("a"), "cached");
}

/// After `x=1`, `x=2` and `x=1` again: cell `a` has what the first run made.
#[test]
fn what_is_cached_is_credited_to_the_run_that_made_it() {
    let place = Place::flow(
        r#"
[params.x]
type = "int"
default = 1

[cells.a]
lang = "sh"
inputs = { x = "param:x" }
outputs = { n = "int" }
code = 'echo x=$x; echo $x > $OUT/n'

[cells.b]
lang = "sh"
inputs = { n = "a.n" }
outputs = { m = "int" }
code = 'echo $n > $OUT/m'
"#,
    );
    let _ = place.run(&[]).exits(0);
    let _ = place.run(&["-p", "x=2"]).exits(0);
    assert_eq!(place.run(&[]).exits(0).told(), "a cached, b cached");
    let first = id(&place, "latest~2");
    let logs = place.polyloom(&["logs", "latest", "a"]).exits(0);
    assert_eq!(logs.stdout(), "x=1\n");
    assert!(logs.stderr().contains(&format!("what it printed in {first}")), "{}", logs.stderr());
    let shown = place.polyloom(&["show", "latest", "a"]).exits(0).stdout();
    assert!(shown.contains(&first) && !shown.contains(&id(&place, "latest~1")), "{shown}");
    let _ = place.polyloom(&["runs", "prune", "--keep", "1"]).exits(0);
    let logs = place.polyloom(&["logs", "latest", "a"]).exits(0);
    assert!(logs.stderr().contains("no run that is kept here"), "{}", logs.stderr());
}

/// The cutoff holds a cell, what gathers the steps of a map, and a cell of a flow: none of them ran in that run.
#[test]
fn what_the_cutoff_held_ran_before() {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
outputs = { n = "int" }
code = 'echo 1 > $OUT/n'

[cells.m]
lang = "sh"
map = { x = [1, 2] }
inputs = { n = "a.n" }
outputs = { y = "int" }
code = 'echo m $x; echo $x > $OUT/y'

[cells.sub]
flow = "sub/polyloom.toml"
inputs = { n = "a.n" }

[cells.last]
lang = "sh"
inputs = { all = "m.y" }
outputs = { n = "int" }
code = 'echo last; echo 5 > $OUT/n'
"#,
    );
    place.write(
        "sub/polyloom.toml",
        r#"
[params.n]
type = "int"
default = 0

[cells.inner]
lang = "sh"
inputs = { n = "param:n" }
outputs = { m = "int" }
code = 'echo inner; echo $n > $OUT/m'

[outputs]
m = "inner.m"
"#,
    );
    let _ = place.run(&[]).exits(0);
    place.edit("polyloom.toml", "'echo 1 > $OUT/n'", "'echo  1 > $OUT/n'");
    let cut = place.run(&[]).exits(0);
    assert_eq!(cut.outcome("last"), "cached");
    let (first, second) = (id(&place, "latest~1"), id(&place, "latest"));
    let _ = place.run(&[]).exits(0);
    let third = id(&place, "latest");
    for (cell, said) in [("last", "last\n"), ("sub/inner", "inner\n"), ("m[x=2]", "m 2\n")] {
        for run in [&second, &third] {
            let logs = place.polyloom(&["logs", run, cell]).exits(0);
            assert_eq!(logs.stdout(), said);
            assert!(logs.stderr().contains(&format!("printed in {first}")), "{}", logs.stderr());
        }
    }
    for cell in ["last", "sub/inner", "m[x=2]", "m"] {
        let why = place.polyloom(&["why", cell]).exits(0).stdout();
        assert!(why.contains(&format!("last ran in {first} (ok), cached in {third}")), "{why}");
        let shown = place.polyloom(&["show", "latest", cell]).exits(0).stdout();
        assert!(shown.contains(&first) && !shown.contains(&second), "{shown}");
    }
    let json = place.polyloom(&["why", "last", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&json["last_run"]["run"], &json["compared_with"]["run"]),
        (&first.into(), &third.into())
    );
    // Of a run in which nothing ran it is said where to look.
    let logs = place.polyloom(&["logs", "latest"]).exits(0);
    assert_eq!(logs.stdout(), "");
    insta::assert_snapshot!(logs.screen(), @"
    --- stderr
    no cell ran in [RUN]; what its cells printed is in the runs in which they did:
      [RUN]: a
      [RUN]: m[x=1], m[x=2], m and 2 more
    --- exit 0
    ");
}

/// After an edit was taken back, `make.big` has the key of before. For who reads it, it never changed.
#[test]
fn an_input_with_the_same_bytes_has_not_changed() {
    let place = Place::flow(
        r#"
[cells.make]
lang = "sh"
outputs = { big = "file", n = "int" }
code = 'echo big > $OUT/big; echo 1 > $OUT/n'

[cells.read]
lang = "sh"
inputs = { big = "make.big", n = "make.n" }
outputs = { m = "int" }
code = 'wc -c < $big > $OUT/m'

[cells.both]
lang = "sh"
map = { x = [1, 2] }
inputs = { big = "make.big" }
outputs = { y = "int" }
code = 'echo $x > $OUT/y'

[cells.sum]
lang = "sh"
inputs = { all = "both.y" }
outputs = { s = "int" }
code = 'echo 3 > $OUT/s'
"#,
    );
    let _ = place.run(&[]).exits(0);
    place.edit("polyloom.toml", "echo 1 >", "echo 2 >");
    let _ = place.run(&[]).exits(0);
    let diff = place.polyloom(&["runs", "diff", "latest~1", "latest", "--format", "json"]);
    let diff = diff.exits(0).json();
    let names = |cell: &Value| -> Vec<String> {
        let parts = cell["parts"].as_array().unwrap().iter();
        parts.map(|part| part["part"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(cell(&diff, "cells", "make")), ["code"]);
    assert_eq!(names(cell(&diff, "cells", "read")), ["input.n"]);
    assert!(names(cell(&diff, "cells", "sum")).is_empty());
    let n = cell(&diff, "cells", "read")["parts"][0].clone();
    let digest = cell(&diff, "cells", "make")["outputs"][0]["after"].as_str().unwrap().to_owned();
    assert_eq!(n["after"], format!("make.n ({})", &digest[..15]));
    place.edit("polyloom.toml", "echo 2 >", "echo 1 >");
    place.edit("polyloom.toml", "wc -c", "wc  -c");
    insta::assert_snapshot!(place.polyloom(&["why", "read"]).exits(0).screen(), @"
    --- stdout
    read will run: code changed, input n changed (make.n)
    last ran in [RUN] (ok)
    part     then                         now
    code     read.dash, 1 line, 9d7b736d  read.dash, 1 line, 9ebcdd15
    input.n  make.n (b3:[HEX])     make.n (b3:[HEX])
    --- exit 0
    ");
    assert_eq!(
        place.run(&[]).exits(0).cell("read")["reason"],
        "code changed, input n changed (make.n)"
    );
    // What reads `big` alone is not known by this key, and nothing has changed for it.
    place.edit("polyloom.toml", "echo 1 >", "echo 3 >");
    let _ = place.run(&["make"]).exits(0);
    let plan = place.polyloom(&["plan"]).exits(0).stdout();
    assert!(plan.contains("make changed, its output did not"), "{plan}");
    let why = place.polyloom(&["why", "both[x=1]"]).exits(0).stdout();
    assert!(why.contains("made of something else, with the same bytes"), "{why}");
    assert_eq!(place.run(&[]).exits(0).ran(), ["read"]);
}

/// An edit was taken back: what runs next is told from the run after that, not from the last one in which the cell ran.
#[test]
fn what_was_taken_back_is_no_reason_later() {
    let place = three_runs();
    place.edit("polyloom.toml", "echo 5 >", "echo 6 >");
    let _ = place.run(&[]).exits(0);
    place.edit("polyloom.toml", "echo 6 >", "echo 5 >");
    assert!(place.run(&[]).exits(0).ran().is_empty());
    let back = id(&place, "latest");
    place.edit("polyloom.toml", "\"tulip\"", "\"rose\"");
    let why = place.polyloom(&["why", "count"]).exits(0).stdout();
    assert!(why.contains(&format!("cached in {back}")), "{why}");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.cell("words")["reason"], "input greeting changed (\"tulip\" → \"rose\")");
    assert_eq!(run.cell("count")["reason"], "words runs");
}

#[test]
fn outputs_of_a_flow_in_the_flow_are_shown_by_the_names_that_edges_have() {
    let place = Place::flow(
        r#"
[cells.report]
flow = "sub/polyloom.toml"
inputs = { n = 3 }
when = "n > 1"

[cells.each]
flow = "sub/polyloom.toml"
map = { n = [4, 5] }

[cells.last]
lang = "sh"
inputs = { total = "report.total" }
outputs = { x = "int" }
code = 'echo $total > $OUT/x'
"#,
    );
    place.write(
        "sub/polyloom.toml",
        r#"
[params.n]
type = "int"

[cells.sum]
lang = "sh"
inputs = { n = "param:n" }
outputs = { s = "int" }
code = 'echo $((n + 1)) > $OUT/s'

[outputs]
total = "sum.s"
"#,
    );
    let _ = place.run(&[]).exits(0);
    let shown = |words: &[&str]| place.polyloom(&[&["show"], words].concat()).exits(0).stdout();
    for (words, value) in [
        (&["report.total"][..], "4"),
        (&["latest", "report.total"], "4"),
        (&["each[n=5].total"], "6"),
        (&["report/sum.s"], "4"),
        (&["each.total"], "[5, 6]"),
    ] {
        let text = shown(words);
        assert_eq!(text.lines().last(), Some(value), "{words:?}: {text}");
    }
    let lineage = place.polyloom(&["lineage", "report.total", "--format", "json"]).exits(0).json();
    assert_eq!(lineage["artifact"]["cell"], "report/sum");
    assert_eq!(cell(&lineage, "down", "last")["cell"], "last");
    for words in [&["show", "report.nope"], &["lineage", "report.nope"], &["show", "nope.total"]] {
        let _ = place.polyloom(words).exits(2);
    }
}

#[test]
fn what_the_latest_run_has_not_is_shown_of_the_one_before_that_has() {
    let place = three_runs();
    let third = id(&place, "latest");
    place.edit("polyloom.toml", "echo \"$greeting\"", "echo  \"$greeting\"");
    let _ = place.run(&[".", "words"]).exits(0);
    let shown = place.polyloom(&["show", "last.line"]).exits(0);
    assert!(shown.stdout().ends_with("\n5\n"), "{}", shown.stdout());
    let told =
        format!("`last` is not in the latest run, {}; this is of {third}", id(&place, "latest"));
    assert!(shown.stderr().contains(&told), "{}", shown.stderr());
    let shown = place.polyloom(&["show", "count"]).exits(0);
    assert!(shown.stderr().contains(&third) && shown.stdout().contains("outcome"));
    let logs = place.polyloom(&["logs", "count"]).exits(0);
    assert_eq!((logs.stdout(), logs.stderr().contains(&third)), ("counted\n".to_owned(), true));
    // Of a run that was named, only what it has.
    let _ = place.polyloom(&["show", "latest", "last.line"]).exits(2);
    let _ = place.polyloom(&["logs", "latest", "count"]).exits(2);
    let _ = place.polyloom(&["show", "nope.line"]).exits(2);
}

/// Two maps whose items differ and whose numbers are the same: each list is told by its own cell's files.
#[test]
fn what_happens_to_be_the_same_is_told_by_the_cell_that_is_asked_about() {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
map = { f = "glob:x/*.txt" }
outputs = { n = "int" }
code = 'wc -c < $f > $OUT/n'

[cells.b]
lang = "sh"
map = { f = "glob:y/*.txt" }
outputs = { n = "int" }
code = 'cat $f | wc -c > $OUT/n'
"#,
    );
    place.write("x/.none", "");
    place.write("y/2.txt", "34");
    let _ = place.run(&[]).exits(0);
    let made = id(&place, "latest");
    place.write("x/1.txt", "12");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.outcome("a"), "cached");
    assert_eq!(run.cell("a")["reason"], "a[f=1.txt] runs; there is a result with the same inputs");
    for round in 0..2 {
        let latest = id(&place, "latest");
        let lineage = place.polyloom(&["lineage", "a.n", "--up"]).exits(0).stdout();
        assert!(lineage.contains("file:x/1.txt") && !lineage.contains("y/2.txt"), "{lineage}");
        assert!(lineage.contains(&format!("a in {made}, where b was made")), "{lineage}");
        let json = place.polyloom(&["lineage", "a.n", "--format", "json"]).exits(0).json();
        let step = cell(&json, "up", "a");
        assert_eq!((&step["by"], &step["run"]), (&"b".into(), &made.as_str().into()));
        let why = place.polyloom(&["why", "a"]).exits(0).stdout();
        let told = format!("cached in {latest}; `b` made its result in {made}, of the same inputs");
        assert!(why.contains(&told), "{round}: {why}");
        let shown = place.polyloom(&["show", "a"]).exits(0).stdout();
        assert!(shown.contains(&format!("{made} by `b`")), "{shown}");
        assert!(place.run(&[]).exits(0).ran().is_empty());
    }
    // Once it has made the same itself, that is told.
    let _ = place.run(&["--force", "a"]).exits(0);
    let why = place.polyloom(&["why", "a"]).exits(0).stdout();
    assert!(why.contains(&format!("last ran in {} (ok)", id(&place, "latest"))), "{why}");
}

/// What is gathered was found by the plan: it never ran here, and is made of its own steps all the same.
#[test]
fn what_was_gathered_elsewhere_is_traced_to_its_own_steps() {
    let map = |cell: &str, folder: &str| {
        format!(
            "[cells.{cell}]\nlang = \"sh\"\nmap = {{ f = \"glob:{folder}/*.txt\" }}\noutputs = {{ n = \"int\" }}\ncode = 'wc -c < $f > $OUT/n'\n"
        )
    };
    let place = Place::flow(&map("b", "y"));
    place.write("x/1.txt", "12");
    place.write("y/2.txt", "12");
    let _ = place.run(&[]).exits(0);
    place.write("polyloom.toml", map("b", "y") + &map("a", "x"));
    assert!(place.run(&[]).exits(0).ran().is_empty());
    for _ in 0..2 {
        let lineage = place.polyloom(&["lineage", "a.n", "--up"]).exits(0).stdout();
        assert!(lineage.contains("n ← a[f=1.txt].n") && lineage.contains("x/1.txt"), "{lineage}");
        assert!(!lineage.contains("y/2.txt"), "{lineage}");
        let _ = place.polyloom(&["runs", "prune", "--keep", "1"]).exits(0);
    }
}

#[test]
fn a_cell_that_is_a_flow_is_told_by_its_cells() {
    let place = Place::flow(
        "[cells.report]\nflow = \"sub/polyloom.toml\"\n\n[cells.each]\nflow = \"sub/polyloom.toml\"\nmap = { n = [1, 2] }\n",
    );
    place.write(
        "sub/polyloom.toml",
        r#"
[params.n]
type = "int"
default = 3

[cells.sum]
lang = "sh"
inputs = { n = "param:n" }
outputs = { s = "int" }
code = 'echo sum of $n; echo $n > $OUT/s'

[outputs]
total = "sum.s"
"#,
    );
    let _ = place.run(&[]).exits(0);
    let told = |words: &[&str]| place.polyloom(words).exits(0).stdout();
    for words in [&["show", "report"][..], &["show", "latest", "report"], &["why", "report"]] {
        let text = told(words);
        assert!(text.contains("report is a flow") && text.contains("report/sum"), "{text}");
        assert!(!text.contains("each"), "{text}");
    }
    assert!(told(&["show", "each[n=2]"]).contains("each[n=2]/sum"));
    assert_eq!(told(&["logs", "report"]), "report/sum │ sum of 3\n");
    assert_eq!(told(&["logs", "each[n=2]"]), "each[n=2]/sum │ sum of 2\n");
    let shown = place.polyloom(&["show", "report", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&shown["flow"], &shown["cells"][0]["cell"]),
        (&"report".into(), &"report/sum".into())
    );
    let why = place.polyloom(&["why", "report", "--format", "json"]).exits(0).json();
    assert_eq!(
        why["cells"],
        serde_json::json!([
            { "cell": "report/sum", "action": "is up to date", "reason": "up to date" }
        ])
    );
    let _ = place.run(&[]).exits(0);
    let logs = place.polyloom(&["logs", "report"]).exits(0);
    assert_eq!(logs.stdout(), "");
    assert!(logs.stderr().starts_with("no cell of `report` ran in "), "{}", logs.stderr());
    assert!(!logs.stderr().contains("each"), "{}", logs.stderr());
    // Of the last run that had them, where the latest is of something else.
    let had = id(&place, "latest");
    let _ = place.run(&["--force", "each[n=1]"]).exits(0);
    for command in ["show", "logs"] {
        let told = place.polyloom(&[command, "report"]).exits(0);
        assert!(told.stderr().contains(&format!("this is of {had}\n")), "{}", told.stderr());
    }
    let why = place.polyloom(&["why", "report.total"]).exits(2);
    assert!(why.stderr().contains("hint: `polyloom why report`"), "{}", why.stderr());
    for words in [&["show", "repo"], &["logs", "repo"], &["why", "repo"], &["show", "report/"]] {
        let _ = place.polyloom(words).exits(2);
    }
}

/// A result that was found is shown with what its cell printed and took when it ran.
#[test]
fn a_cached_cell_is_shown_as_it_ran() {
    let place = three_runs();
    let _ = place.run(&[]).exits(0);
    let shown = place.polyloom(&["show", "latest", "count"]).exits(0).stdout();
    assert!(shown.contains("outcome      cached") && shown.contains("wall time"), "{shown}");
    assert!(shown.contains("stdout       8 B"), "{shown}");
    let json = place.polyloom(&["show", "count", "--format", "json"]).exits(0).json();
    assert_eq!(json["last_run"]["meta"]["stdout"]["bytes"], 8);
}

/// What it will be given is known only when a cell has run that always runs: nobody says that it has not been made.
#[test]
fn what_is_in_the_store_is_not_said_to_be_unmade() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ncache = false\noutputs = { n = \"int\" }\ncode = 'echo 1 > $OUT/n'\n\n[cells.b]\nlang = \"sh\"\nfile = \"b.sh\"\ninputs = { n = \"a.n\" }\noutputs = { m = \"int\" }\n\n[cells.c]\nlang = \"sh\"\ninputs = { m = \"b.m\" }\ncode = 'echo $m'\n",
    );
    for b in ["echo 1 > $OUT/m", "echo 2 > $OUT/m"] {
        place.write("b.sh", b);
        let _ = place.run(&[]).exits(0);
    }
    place.write("b.sh", "echo 1 > $OUT/m");
    let why = place.polyloom(&["why", "c"]).exits(0).stdout();
    assert!(why.contains("b.m (not known yet)"), "{why}");
}

#[test]
fn why_is_told_by_what_is_granted() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nallow = { env = [\"WORDS\"] }\noutputs = { n = \"int\" }\ncode = 'echo 1 > $OUT/n'\n",
    );
    let _ = place.run(&["--allow-env=WORDS"]).exits(0);
    let why = |more: &[&str]| place.polyloom(&[&["why", "a"], more].concat()).exits(0).stdout();
    assert!(why(&[]).starts_with("a will be denied: "), "{}", why(&[]));
    assert!(why(&["--allow-env=WORDS"]).starts_with("a is up to date\n"));
    assert!(why(&["-A", "--deny-env"]).starts_with("a will be denied: "));
}
