//! Every command as a whole screen, and what it does with odd arguments.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, is_root, needs};
use serde_json::Value;

const FLOW: &str = r#"
[flow]
name = "tour"

[params.greeting]
type = "str"
default = "hello"

[cells.words]
lang = "sh"
inputs = { greeting = "param:greeting" }
outputs = { text = "str", list = "list<str>", file = "file" }
code = '''
echo "$greeting world" > $OUT/text
echo '["a", "b", "c"]' > $OUT/list.json
seq 100 > $OUT/file.txt
echo "words were made"
echo "and a warning" >&2
'''
doc = "makes words"

[cells.count]
lang = "awk"
inputs = { list = "words.list", text = "words.text" }
outputs = { n = "int" }
code = 'BEGIN { print length(ENVIRON["text"]) > (ENVIRON["OUT"] "/n") }'

[cells.end-of-it]
lang = "sh"
inputs = { n = "count.n", file = "words.file" }
code = 'echo "$n letters, $(wc -l < "$file") lines"'
tags = ["last"]
"#;

fn warm() -> Place {
    let place = Place::flow(FLOW);
    let _ = place.run(&["-j", "1"]).exits(0);
    place
}

#[test]
fn check_says_ok_and_what_is_wrong() {
    let place = Place::flow(FLOW);
    insta::assert_snapshot!(place.polyloom(&["check"]).exits(0).screen(), @"
    --- stderr
    1 flow with 3 cells: no problems
    --- exit 0
    ");
    place.write(
        "polyloom.toml",
        FLOW.replace("words.list", "words.lists")
            .replace("lang = \"awk\"", "lang = \"awkk\"\nmemory = \"5 parsecs\""),
    );
    insta::assert_snapshot!(place.polyloom(&["check"]).exits(2).screen(), @r#"
    --- stderr
    PL020

      × unknown language `awkk`
        ╭─[./polyloom.toml:23:8]
     22 │ [cells.count]
     23 │ lang = "awkk"
        ·        ──────
     24 │ memory = "5 parsecs"
        ╰────
      help: did you mean `awk`?

    PL052

      × `5 parsecs` is not a size; valid: `64KiB`, `256MiB`, `2GiB`, `500MB` or a number of bytes
        ╭─[./polyloom.toml:24:10]
     23 │ lang = "awkk"
     24 │ memory = "5 parsecs"
        ·          ───────────
     25 │ inputs = { list = "words.lists", text = "words.text" }
        ╰────

    PL041

      × the cell `words` has no output `lists`
        ╭─[./polyloom.toml:9:8]
      8 │
      9 │ [cells.words]
        ·        ──┬──
        ·          ╰── this cell
     10 │ lang = "sh"
        ╰────
        ╭─[./polyloom.toml:25:19]
     24 │ memory = "5 parsecs"
     25 │ inputs = { list = "words.lists", text = "words.text" }
        ·                   ─────────────
     26 │ outputs = { n = "int" }
        ╰────
      help: did you mean `list`?

    1 flow: 3 errors, 0 warnings
    --- exit 2
    "#);
    let problems = place.polyloom(&["check", "--format", "json"]).exits(2).json();
    insta::assert_snapshot!(serde_json::to_string_pretty(&problems).unwrap(), @r#"
    {
      "errors": 3,
      "problems": [
        {
          "code": "PL020",
          "help": "did you mean `awk`?",
          "labels": [
            {
              "column": 8,
              "end_column": 14,
              "end_line": 23,
              "file": "./polyloom.toml",
              "length": 6,
              "line": 23,
              "offset": 406,
              "text": ""
            }
          ],
          "message": "unknown language `awkk`",
          "severity": "error"
        },
        {
          "code": "PL052",
          "help": null,
          "labels": [
            {
              "column": 10,
              "end_column": 21,
              "end_line": 24,
              "file": "./polyloom.toml",
              "length": 11,
              "line": 24,
              "offset": 422,
              "text": ""
            }
          ],
          "message": "`5 parsecs` is not a size; valid: `64KiB`, `256MiB`, `2GiB`, `500MB` or a number of bytes",
          "severity": "error"
        },
        {
          "code": "PL041",
          "help": "did you mean `list`?",
          "labels": [
            {
              "column": 19,
              "end_column": 32,
              "end_line": 25,
              "file": "./polyloom.toml",
              "length": 13,
              "line": 25,
              "offset": 452,
              "text": ""
            },
            {
              "column": 8,
              "end_column": 13,
              "end_line": 9,
              "file": "./polyloom.toml",
              "length": 5,
              "line": 9,
              "offset": 80,
              "text": "this cell"
            }
          ],
          "message": "the cell `words` has no output `lists`",
          "severity": "error"
        }
      ],
      "schema": "polyloom.check/1",
      "warnings": 0
    }
    "#);
}

#[test]
fn check_finds_every_kind_of_problem() {
    let place = Place::new();
    place.write(
        "polyloom.toml",
        r#"
[flow]
nmae = "x"
[cells.a]
lang = "sh"
code = ""
inputs = { x = "b.y", z = "c.nope", w = "param:gone", f = "file:missing.csv" }
outputs = { o = "int" }
timeout = "5 fortnights"
[cells.b]
lang = "sh"
code = ""
inputs = { x = "a.o" }
outputs = { y = "tensor<f64>" }
[cells.c]
lang = "python"
file = "gone.py"
inputs = { t = { from = "b.y", type = "str" } }
[cells.CON]
lang = "sh"
code = ""
"#,
    );
    insta::assert_snapshot!(place.polyloom(&["check"]).exits(2).screen(), @r#"
    --- stderr
    PL003

      × unknown key `nmae` in `[flow]`
       ╭─[./polyloom.toml:3:1]
     2 │ [flow]
     3 │ nmae = "x"
       · ──┬─
       ·   ╰── nobody reads this
     4 │ [cells.a]
       ╰────
      help: did you mean `name`?

    PL044

      × cells wait for each other: a → b → a
       ╭─[./polyloom.toml:7:16]
     6 │ code = ""
     7 │ inputs = { x = "b.y", z = "c.nope", w = "param:gone", f = "file:missing.csv" }
       ·                ──┬──
       ·                  ╰── `a` waits for `b`
     8 │ outputs = { o = "int" }
       ╰────
        ╭─[./polyloom.toml:13:16]
     12 │ code = ""
     13 │ inputs = { x = "a.o" }
        ·                ──┬──
        ·                  ╰── `b` waits for `a`
     14 │ outputs = { y = "tensor<f64>" }
        ╰────
      help: take one of these inputs away

    PL041

      × the cell `c` has no output `nope`
       ╭─[./polyloom.toml:7:27]
     6 │ code = ""
     7 │ inputs = { x = "b.y", z = "c.nope", w = "param:gone", f = "file:missing.csv" }
       ·                           ────────
     8 │ outputs = { o = "int" }
       ╰────
        ╭─[./polyloom.toml:15:8]
     14 │ outputs = { y = "tensor<f64>" }
     15 │ [cells.c]
        ·        ┬
        ·        ╰── this cell
     16 │ lang = "python"
        ╰────
      help: `c` declares no outputs

    PL047

      × the flow has no param `gone`
       ╭─[./polyloom.toml:7:41]
     6 │ code = ""
     7 │ inputs = { x = "b.y", z = "c.nope", w = "param:gone", f = "file:missing.csv" }
       ·                                         ────────────
     8 │ outputs = { o = "int" }
       ╰────
      help: declare it: `[params]` `gone = …`

    PL030

      × the file `missing.csv` does not exist
       ╭─[./polyloom.toml:7:59]
     6 │ code = ""
     7 │ inputs = { x = "b.y", z = "c.nope", w = "param:gone", f = "file:missing.csv" }
       ·                                                           ──────────────────
     8 │ outputs = { o = "int" }
       ╰────
      help: paths are relative to the flow's folder

    PL052

      × `5 fortnights` is not a duration; valid: `250ms`, `5s`, `1m30s`, `2h`
        ╭─[./polyloom.toml:9:11]
      8 │ outputs = { o = "int" }
      9 │ timeout = "5 fortnights"
        ·           ──────────────
     10 │ [cells.b]
        ╰────

    PL030

      × the file `gone.py` does not exist
        ╭─[./polyloom.toml:17:8]
     16 │ lang = "python"
     17 │ file = "gone.py"
        ·        ─────────
     18 │ inputs = { t = { from = "b.y", type = "str" } }
        ╰────
      help: paths are relative to the flow's folder

    PL045

      × types don't fit: the source is tensor<f64>, the input `t` is str
        ╭─[./polyloom.toml:18:25]
     17 │ file = "gone.py"
     18 │ inputs = { t = { from = "b.y", type = "str" } }
        ·                         ──┬──
        ·                           ╰── gives tensor<f64>
     19 │ [cells.CON]
        ╰────
      help: declare the input `t` as tensor<f64>, or convert in a cell between them

    PL007

      × cell id `CON` has the character 'C' at position 1; valid: [a-z][a-z0-9_-]{0,63}
        ╭─[./polyloom.toml:19:8]
     18 │ inputs = { t = { from = "b.y", type = "str" } }
     19 │ [cells.CON]
        ·        ───
     20 │ lang = "sh"
        ╰────

    1 flow: 9 errors, 0 warnings
    --- exit 2
    "#);
}

#[test]
fn graph_draws_in_four_forms() {
    let place = Place::flow(FLOW);
    insta::assert_snapshot!(place.polyloom(&["graph"]).exits(0).screen(), @"
    --- stdout
    words sh
    count awk
      ← words: list, text
    end-of-it sh
      ← words: file
      ← count: n
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["graph", "--mermaid"]).exits(0).screen(), @r#"
    --- stdout
    flowchart LR
      c_words["words<br/><small>sh</small>"]
      c_count["count<br/><small>awk</small>"]
      c_end_d_of_d_it["end-of-it<br/><small>sh</small>"]
      c_words -->|list, text| c_count
      c_words -->|file| c_end_d_of_d_it
      c_count -->|n| c_end_d_of_d_it
    --- exit 0
    "#);
    insta::assert_snapshot!(place.polyloom(&["graph", "--dot"]).exits(0).screen(), @r#"
    --- stdout
    digraph flow {
      rankdir=LR
      node [shape=box]
      "words" [label="words\nsh"]
      "count" [label="count\nawk"]
      "end-of-it" [label="end-of-it\nsh"]
      "words" -> "count" [label="list, text"]
      "words" -> "end-of-it" [label="file"]
      "count" -> "end-of-it" [label="n"]
    }
    --- exit 0
    "#);
    let json = place.polyloom(&["graph", "--json"]).exits(0).json();
    assert_eq!(json["cells"].as_array().unwrap().len(), 3);
    assert_eq!(json["edges"].as_array().unwrap().len(), 4);
    let _ = place.polyloom(&["graph", "--json", "--dot"]).exits(2);
}

#[test]
fn a_whole_run_as_it_is_watched() {
    let place = Place::flow(FLOW);
    insta::assert_snapshot!(place.polyloom(&["run", "-j", "1"]).exits(0).screen(), @"
    --- stderr
    run [RUN]: tour (./polyloom.toml), 3 cells, [N] at once
    words     │ words were made
    words     │ and a warning
    ok      words      sh [TOOK]  never ran
    ok      count      awk [TOOK]  never ran
    end-of-it │ 11 letters, 100 lines
    ok      end-of-it  sh [TOOK]  never ran
    ok in [TOOK]: 3 ran
    critical path: words [TOOK] → count [TOOK] → end-of-it [TOOK], [TOOK] of [TOOK]
    --- exit 0
    ");
}

#[test]
fn logs_show_what_was_printed() {
    let place = warm();
    insta::assert_snapshot!(place.polyloom(&["logs"]).exits(0).screen(), @"
    --- stdout
    words │ words were made
    words │ and a warning
    end-of-it │ 11 letters, 100 lines
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["logs", "latest", "words"]).exits(0).screen(), @"
    --- stdout
    words were made
    and a warning
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["logs", "--tail", "1"]).exits(0).screen(), @"
    --- stdout
    end-of-it │ 11 letters, 100 lines
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["logs", "latest", "nope"]).screen(), @"
    --- stderr
    error: run `[RUN]` has no cell `nope`
    hint: `polyloom show` lists the cells, `polyloom runs` the runs
    --- exit 2
    ");
    // One word may be meant as either.
    let either = place.polyloom(&["logs", "20200101-000000-abcd"]).exits(2).stderr();
    assert!(either.contains("neither a run `20200101-000000-abcd` nor a cell"), "{either}");
    let either = place.polyloom(&["show", "20200101-000000-abcd"]).exits(2).stderr();
    assert!(either.contains("neither a run `20200101-000000-abcd` nor a cell"), "{either}");
    assert!(
        either.contains("it has words, count, end-of-it; `polyloom runs` lists the runs"),
        "{either}"
    );
    let project = place.project().display().to_string();
    let there = place.call(&["logs", "-C", &project]).cwd("/").end().exits(0);
    assert!(there.stdout().contains("words were made"));
    // The bare name of its folder, from beside it.
    let (beside, name) = project.rsplit_once('/').unwrap();
    for words in [&[name][..], &[name, "latest"], &[name, "latest", "words"], &[name, "words"]] {
        let words = [&["logs"], words].concat();
        let there = place.call(&words).cwd(beside).end().exits(0);
        assert!(there.stdout().contains("words were made"), "{words:?}");
    }
    let _ = place.call(&["show", name, "latest"]).cwd(beside).end().exits(0);
    let _ = place.call(&["replay", name]).cwd(beside).end().exits(0);
}

#[test]
fn a_folder_named_with_c_is_that_of_the_flow() {
    let place = Place::flow(
        "[cells.a]\nlang = 'sh'\ncode = 'echo a'\n[cells.b]\nlang = 'sh'\ncode = 'false'\n",
    );
    let project = place.project().display().to_string();
    let at = |words: &[&str]| {
        let words = [words, &["-C", &project]].concat();
        place.call(&words).cwd("/").end()
    };
    let ran = at(&["run", "-k"]).exits(5).stderr();
    assert!(ran.contains(&format!("`polyloom logs -C {project} ")), "{ran}");
    for words in [&["plan"][..], &["status"], &["check"], &["grants"], &["why", "a"]] {
        let _ = at(words).exits(0);
    }
    let selected = at(&["plan", "a"]).exits(0).stdout();
    assert!(selected.contains('a') && !selected.contains("b "), "{selected}");
    let nowhere = place.polyloom(&["run", "-C", "nowhere"]).exits(2).stderr();
    assert!(nowhere.contains("`./nowhere`"), "{nowhere}");
}

#[test]
fn a_folder_called_like_a_cell_is_the_cell_and_another_is_its_project() {
    let cell = |code: &str| format!("[cells.a]\nlang = 'sh'\ncode = 'echo {code}'\n");
    let place = Place::flow(&cell("outer"));
    for folder in ["a", "b"] {
        place.write(&format!("{folder}/polyloom.toml"), cell(&format!("in {folder}")));
        let _ = place.polyloom(&["run", folder]).exits(0);
    }
    let logs = |words: &[&str]| {
        place.polyloom(&[&["logs"], words].concat()).exits(0).stdout().trim().to_owned()
    };
    // Nothing was run here yet.
    assert_eq!(logs(&["a"]), "a │ in a");
    let _ = place.polyloom(&["run"]).exits(0);
    assert_eq!(logs(&["a"]), "outer");
    assert_eq!(logs(&["./a"]), "a │ in a");
    assert_eq!(logs(&["b"]), "a │ in b");
    assert_eq!(logs(&["b", "latest"]), "a │ in b");
    assert_eq!(logs(&["b", "a"]), "in b");
}

#[test]
fn show_a_run_a_cell_and_an_output() {
    let place = warm();
    insta::assert_snapshot!(place.polyloom(&["show"]).exits(0).screen(), @"
    --- stdout
    run [RUN]
        cell       lang took memory  why
    ok  words      sh [TOOK] [SIZE]  never ran
    ok  count      awk [TOOK] [SIZE]  never ran
    ok  end-of-it  sh [TOOK] [SIZE]  never ran
    --- exit 0
    ");
    let cell = place.polyloom(&["show", "latest", "count"]).exits(0).stdout();
    for word in ["outcome", "exit code", "peak memory", "enforcement", "seccomp"] {
        assert!(cell.contains(word), "{word}: {cell}");
    }
    insta::assert_snapshot!(place.polyloom(&["show", "latest", "words.text"]).exits(0).screen(), @"
    --- stdout
    words.text: str, [SIZE], [ROOT]/store/blobs/5d/[DIGEST]
    hello world
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["show", "words.list"]).exits(0).screen(), @r#"
    --- stdout
    words.list: list<str>, [SIZE], [ROOT]/store/blobs/b0/[DIGEST]
    ["a", "b", "c"]
    --- exit 0
    "#);
    insta::assert_snapshot!(place.polyloom(&["show", "words.file"]).exits(0).screen(), @"
    --- stdout
    words.file: file, [SIZE], [ROOT]/store/blobs/b4/[DIGEST]
    1
    2
    3
    4
    5
    6
    7
    8
    9
    10
    … 90 more
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["show", "latest", "words.nope"]).exits(2).screen(), @"
    --- stderr
    error: cell `words` has no output `nope` in that run
    hint: it has file, list, text
    --- exit 2
    ");
    insta::assert_snapshot!(place.polyloom(&["show", "latest", "word"]).exits(2).screen(), @"
    --- stderr
    error: run `[RUN]` has no finished cell `word`
    hint: it has words, count, end-of-it
    --- exit 2
    ");
    let _ = place.polyloom(&["show", "words.file", "-o", "copy.txt"]);
    let bytes = place.polyloom(&["show", "latest", "words.file", "-o", "-"]).exits(0);
    assert_eq!(bytes.stdout().lines().count(), 100);
    let _ = place.polyloom(&["show", "latest", "words.file", "-o", "copy.txt"]).exits(0);
    assert_eq!(place.read("copy.txt"), bytes.stdout());
    for args in [&["show"][..], &["show", "latest", "count"], &["show", "latest", "count.n"]] {
        let words: Vec<&str> = args.iter().chain(&["--format", "json"]).copied().collect();
        assert!(place.polyloom(&words).exits(0).json().is_object());
    }
}

#[test]
fn show_previews_tables_tensors_and_images() {
    needs!("python3");
    let place = Place::flow(
        r##"
[cells.a]
lang = "python"
outputs = { table = "table", tensor = "tensor<f64,[2,3]>", picture = "image", folder = "dir", raw = "bytes" }
code = '''
from pathlib import Path
import struct, zlib
table = {"day": [1, 2, 3], "temp": [1.5, float("nan"), -3.0], "name": ["x", "é", None]}
tensor = [[0.0, 1.5, 2.0], [3.0, 4.0, -5.0]]
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 20, 8, 0, 0, 0, 0))
picture += chunk(b"IDAT", zlib.compress(bytes(41 * 20))) + chunk(b"IEND", b"")
folder = Path("f")
folder.mkdir()
(folder / "one.txt").write_text("1")
raw = bytes(range(20))
'''
"##,
    );
    let _ = place.run(&[]).exits(0);
    insta::assert_snapshot!(place.polyloom(&["show", "latest", "a.table"]).exits(0).screen(), @"
    --- stdout
    a.table: table, [SIZE], [ROOT]/store/blobs/c6/[DIGEST]
    3 rows × 3 columns
    day  temp  name
    i64   f64  str
      1   1.5  x
      2   NaN  é
      3    -3  null
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["show", "latest", "a.tensor"]).exits(0).screen(), @"
    --- stdout
    a.tensor: tensor<f64,[2,3]>, [SIZE], [ROOT]/store/blobs/1a/[DIGEST]
    f64 [2, 3]
    0 1.5 2 3 4 -5
    min -5  max 4  mean 0.916667
    --- exit 0
    ");
    let picture = place.polyloom(&["show", "latest", "a.picture"]).exits(0).stdout();
    assert!(picture.contains("40 × 20"), "{picture}");
    let folder = place.polyloom(&["show", "latest", "a.folder"]).exits(0).stdout();
    assert!(folder.contains("one.txt"), "{folder}");
    let _ = place.polyloom(&["show", "latest", "a.raw"]).exits(0);
}

#[test]
fn a_project_that_is_not_there_is_told_alike_by_all_that_read_what_was() {
    let place = Place::flow(FLOW);
    for command in ["runs", "grants", "logs", "show", "lineage", "replay"] {
        let mut words = vec![command, "-C", "missing"];
        words.extend((command == "lineage").then_some("a.x"));
        let told = place.polyloom(&words).exits(2).stderr();
        assert!(
            told.contains("can't read `missing`: there is no such file or folder"),
            "{command}: {told}"
        );
    }
    let told = place.polyloom(&["runs", "-C", "/dev/null"]).exits(2).stderr();
    assert!(told.contains("it is neither a file nor a folder"), "{told}");
}

#[test]
fn runs_are_listed_newest_first() {
    let place = Place::flow(FLOW);
    insta::assert_snapshot!(place.polyloom(&["runs"]).exits(0).screen(), @"
    --- stderr
    no run has been recorded here
    --- exit 0
    ");
    let _ = place.run(&[]).exits(0);
    let _ = place.run(&[]).exits(0);
    insta::assert_snapshot!(place.polyloom(&["runs"]).exits(0).screen(), @"
    --- stdout
    run                   started              flow           state took  cells
    [RUN]  [TIME]  polyloom.toml  ok [TOOK]  3 cached
    [RUN]  [TIME]  polyloom.toml  ok [TOOK]  3 ok
    --- exit 0
    ");
    let runs = place.polyloom(&["runs", "--limit", "1", "--format", "json"]).exits(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    assert_eq!(runs["runs"][0]["totals"]["cached"], 3);
    let lines = place.polyloom(&["runs", "--format", "jsonl"]).exits(0).json_lines();
    assert_eq!(lines.len(), 2);
    let _ = place.polyloom(&["show", "20200101-000000-aaaa"]).screen();
    let id = lines[0]["run"].as_str().unwrap();
    let _ = place.polyloom(&["show", id]).exits(0);
    let _ = place.polyloom(&["logs", "nope"]).exits(2);
}

#[test]
fn replay_looks_like_the_run() {
    let place = Place::flow(FLOW);
    let live = place.polyloom(&["run", "-j", "1"]).exits(0);
    let again = place.polyloom(&["replay"]).exits(0);
    let text = |screen: String| screen.replace(" [N] at once", "");
    assert_eq!(text(again.screen()), text(live.screen()));
}

#[test]
fn new_makes_a_flow_that_runs() {
    let place = Place::new();
    insta::assert_snapshot!(place.polyloom(&["new", "garden"]).exits(0).screen(), @"
    --- stderr
    wrote garden/polyloom.toml
    wrote garden/count.py
    wrote garden/report.sh
    now: polyloom run garden
    --- exit 0
    ");
    let _ = place.polyloom(&["check", "garden"]).exits(0);
    let run = place.run(&["garden"]).exits(0);
    assert_eq!(run.document["outcome"], "ok");
    let _ = place.polyloom(&["fmt", "--check", "garden"]).exits(0);
    insta::assert_snapshot!(place.polyloom(&["new", "garden"]).exits(2).screen(), @"
    --- stderr
    error: `garden` is there already; nothing was written
    --- exit 2
    ");
    let _ = place.polyloom(&["new", ""]).exits(2);
}

#[test]
fn fmt_has_one_layout_and_keeps_comments() {
    let place = Place::flow(
        "# top\n[cells.a]\ncode='echo hi'   # what it does\nlang   =   \"sh\"\noutputs={x=\"int\"}\n\n\n\n[flow]\nname='x'\n",
    );
    let told = place.polyloom(&["fmt", "--check"]).exits(1);
    assert!(told.stdout().contains("polyloom.toml"));
    let _ = place.polyloom(&["fmt"]).exits(0);
    insta::assert_snapshot!(place.read("polyloom.toml"), @r#"
    # top
    [cells.a]
    lang = "sh"
    outputs = { x = "int" }
    code = 'echo hi' # what it does

    [flow]
    name = 'x'
    "#);
    let _ = place.polyloom(&["fmt", "--check"]).exits(0);
    place.write("bad.toml", "[cells");
    let _ = place.polyloom(&["fmt", "bad.toml"]).exits(2);
    assert_eq!(place.read("bad.toml"), "[cells");
}

#[test]
fn fmt_changes_no_key() {
    let place = warm();
    let _ = place.polyloom(&["fmt"]).exits(0);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn doctor_tells_of_sandbox_languages_and_store() {
    let place = Place::new();
    let text = place.polyloom(&["doctor"]).exits(0).stdout();
    for word in ["seccomp", "landlock", "python", "sh", "store"] {
        assert!(text.to_lowercase().contains(word), "{word}: {text}");
    }
    for word in ["user namespace", "cgroup namespace", "masked /proc", "no_new_privs", "sweep"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let document = place.polyloom(&["doctor", "--format", "json"]).exits(0).json();
    let parts = document["sandbox_parts"].as_array().unwrap();
    let row = |name: &str| parts.iter().find(|row| row["mechanism"] == name).unwrap();
    // Seen from inside of a sandbox, not supposed.
    for name in ["user", "process", "mount", "network", "ipc", "host-name", "cgroup"] {
        let row = row(&format!("{name} namespace"));
        assert_eq!(
            (&row["available"], &row["used"]),
            (&"full".into(), &"a new one".into()),
            "{row}"
        );
    }
    for name in [
        "read-only binds",
        "root",
        "synthetic /etc",
        "synthetic /dev",
        "masked /proc",
        "dropped capabilities",
        "no_new_privs",
        "cell's user",
        "rlimits",
        "sweep",
    ] {
        assert_eq!(row(name)["available"], "full", "{}", row(name));
    }
    let memory = row("memory")["used"].as_str().unwrap();
    assert!(memory.starts_with('M'), "{memory}");
    assert!(text.contains("warm starts"), "{text}");
    warm_starts_are_told(&document, is_root());
}

/// What waits for cells, by a run itself or by the daemon: in words and for programs the same.
fn warm_starts_are_told(document: &Value, root: bool) {
    let parts = document["sandbox_parts"].as_array().unwrap();
    let row = parts.iter().find(|row| row["mechanism"] == "warm starts").unwrap();
    let warm = &document["warm_starts"];
    if warm["possible"] == true {
        assert!(root, "{warm}");
        assert_eq!((&row["available"], &row["why"]), (&"full".into(), &"".into()), "{row}");
        assert_eq!(warm["with_daemon"], "sandboxes");
        return;
    }
    let reason = warm["reason"].as_str().unwrap();
    assert_eq!(warm["with_daemon"], "workers");
    assert_eq!(row["available"], "partial", "{row}");
    assert!(row["used"].as_str().unwrap().contains("`polyloom daemon start`"), "{row}");
    assert_eq!(row["why"], format!("sandboxes and zygotes: {reason}"));
}

#[test]
fn doctor_tells_an_ordinary_user_what_waits_with_a_daemon() {
    if !is_root() {
        return; // the test before has shown it
    }
    let place = Place::new();
    place.give_to(65_534);
    let call = place.call(&["doctor", "--format", "json"]).uid(65_534);
    let document = call.end().exits(0).json();
    warm_starts_are_told(&document, false);
    let reason = document["warm_starts"]["reason"].as_str().unwrap();
    assert!(reason.contains("it takes root"), "{reason}");
}

#[test]
fn plugin_list_knows_the_bundled_languages() {
    let place = Place::new();
    let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
    let all = list["executors"].as_array().unwrap();
    let ids = all.iter().filter_map(|row| row["id"].as_str());
    // The machine may have kernels of its own.
    let ids: Vec<&str> = ids.filter(|id| !id.starts_with("jupyter:")).collect();
    assert_eq!(
        ids,
        [
            "awk",
            "c",
            "cpp",
            "java",
            "javascript",
            "perl",
            "python",
            "sh",
            "shell",
            "sqlite",
            "tcc",
            "tcl",
            "wasm"
        ]
    );
    assert_eq!(place.polyloom(&["plugin", "list"]).exits(0).stdout().lines().count(), 14);
}

#[test]
fn completion_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.polyloom(&["completion", shell]).exits(0).stdout().contains("polyloom"));
    }
    let _ = place.polyloom(&["completion", "tcsh"]).exits(2);
}

#[test]
fn manual_pages_are_written() {
    let place = Place::new();
    let _ = place.polyloom(&["man", "man"]).exits(0);
    assert!(place.read("man/polyloom.1").contains("polyloom"));
}

#[test]
fn schemas_are_json_schemas() {
    let place = Place::new();
    for of in ["flow", "executor", "events", "run"] {
        let schema = place.polyloom(&["schema", of]).exits(0).json();
        assert!(schema["$schema"].is_string(), "{of}");
    }
}

#[test]
fn documents_have_the_fields_of_their_schema() {
    let place = warm();
    let run = place.run(&[]).exits(0);
    let schema = place.polyloom(&["schema", "run"]).exits(0).json();
    let known = schema["properties"].as_object().unwrap();
    for key in run.document.as_object().unwrap().keys() {
        assert!(known.contains_key(key), "{key}");
    }
}

#[test]
fn cache_is_counted_and_collected() {
    let place = warm();
    let stats = place.polyloom(&["cache", "stats"]).exits(0);
    assert!(!stats.stdout().is_empty());
    let _ = place.polyloom(&["cache", "gc", "--max-size", "1B", "-n"]).exits(0);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    let _ = place.polyloom(&["cache", "gc", "--max-size", "1B"]).exits(0);
    let run = place.run(&["-j", "1"]).exits(0);
    assert_eq!(run.document["outcome"], "ok");
}

#[test]
fn help_and_version_and_nonsense() {
    let place = Place::new();
    let version = place.polyloom(&["--version"]).exits(0).stdout();
    assert!(version.starts_with("polyloom 0."), "{version}");
    let help = place.polyloom(&["--help"]).exits(0).stdout();
    for command in [
        "run", "check", "plan", "why", "status", "graph", "logs", "show", "runs", "new", "fmt",
        "doctor",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(help.contains("Exit codes"));
    let _ = place.polyloom(&[]).exits(2);
    let _ = place.polyloom(&["rnu"]).exits(2);
    insta::assert_snapshot!(place.polyloom(&["rnu"]).exits(2).screen(), @"
    --- stderr
    error: unrecognized subcommand 'rnu'

      tip: a similar subcommand exists: 'runs'

    Usage: polyloom [OPTIONS] <COMMAND>

    For more information, try '--help'.
    --- exit 2
    ");
}

#[test]
fn json_of_every_command_is_json() {
    let place = warm();
    for args in [
        &["plan"][..],
        &["status"],
        &["why", "words"],
        &["runs"],
        &["show"],
        &["doctor"],
        &["plugin", "list"],
        &["check"],
        &["run"],
    ] {
        let words: Vec<&str> = args.iter().chain(&["--format", "json"]).copied().collect();
        let document: Value = place.polyloom(&words).exits(0).json();
        assert!(
            document["schema"].as_str().is_some_and(|s| s.starts_with("polyloom.")),
            "{args:?}: {document}"
        );
    }
}

#[test]
fn the_header_of_a_run_tells_cells_from_their_steps() {
    let place = Place::flow(
        "[cells.one]\nlang = \"sh\"\nmap = { x = [1, 2] }\noutputs = { n = \"int\" }\ncode = 'echo $x > $OUT/n'\n\n[cells.two]\nlang = \"sh\"\ncode = 'true'\n",
    );
    for _ in 0..3 {
        let told = place.polyloom(&["run", "-j", "2"]).exits(0).stderr();
        assert!(told.contains("2 cells in 4 steps, 2 at once"), "{told}");
    }
    let told = place.polyloom(&["run", ".", "two"]).exits(0).stderr();
    assert!(told.contains(", 1 cell in 1 step, "), "{told}");
    let plain = Place::flow("[cells.two]\nlang = \"sh\"\ncode = 'true'\n");
    let told = plain.polyloom(&["run"]).exits(0).stderr();
    assert!(told.contains(", 1 cell, "), "{told}");
}

#[test]
fn a_limit_of_the_command_line_is_raised_there() {
    let place = Place::flow("[cells.slow]\nlang = \"sh\"\ncode = 'sleep 60'\n");
    let told = place.polyloom(&["run", "--limit", "slow.timeout=100ms"]).exits(1).stderr();
    assert!(told.contains("`--limit slow.timeout=…`"), "{told}");
    assert!(!told.contains("[cells.slow]"), "{told}");
}

#[test]
fn an_input_that_changed_meanwhile_is_told_in_the_row_of_its_cell() {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
outputs = { n = "int" }
allow = { write = ["in"] }
code = 'echo 2 > in/file; echo 1 > $OUT/n'

[cells.b]
lang = "sh"
inputs = { f = "file:in/file", n = "a.n" }
code = 'cat $f'
"#,
    );
    place.write("in/file", "1");
    let told = place.polyloom(&["run", "-A"]).exits(1).stderr();
    let row = told.lines().find(|line| line.starts_with("failed  b")).unwrap();
    assert!(row.contains(" -  input `f`: `in/file` was changed while the flow ran"), "{row}");
    assert!(told.contains("it did not begin") && !told.contains("shows all it printed"), "{told}");
}
