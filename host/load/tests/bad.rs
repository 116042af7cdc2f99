//! What the user sees of a bad file: one test for each kind of problem.
#![allow(clippy::unwrap_used)]

mod support;

use polyloom_load::{Given, Purpose, Root, render};
use support::{check, check_for, picture};

/// The picture of a TOML flow in which the cell `a` has these lines.
fn cell(lines: &str) -> String {
    picture("x.toml", &format!("[cells.a]\nlang = 'python'\ncode = ''\n{lines}\n"))
}

/// The picture of a flow in a folder with a file, a folder and links.
fn in_folder(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("load.py"), "x = 1\n").unwrap();
    std::fs::write(path.join("load.csv"), "a\n").unwrap();
    std::fs::write(path.join("big.py"), vec![b'#'; (4 << 20) + 1]).unwrap();
    std::fs::create_dir(path.join("data")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path.join("out.csv")).unwrap();
    std::os::unix::fs::symlink("..", path.join("up")).unwrap();
    std::os::unix::fs::symlink("load.csv", path.join("link.csv")).unwrap();
    let root = Root::open(path).unwrap();
    render(&check("x.toml", text, Some(&root)).report, false, 100)
}

#[test]
fn toml_syntax_is_shown_where_it_breaks() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = python
code = ''
[cells.b
"#), @r#"
PL001

  × string values must be quoted, expected literal string
   ╭─[x.toml:2:8]
 1 │ [cells.a]
 2 │ lang = python
   ·        ──────
 3 │ code = ''
   ╰────

PL001

  × unclosed table, expected `]`
   ╭─[x.toml:4:9]
 3 │ code = ''
 4 │ [cells.b
   ·         ▲
   ╰────
"#);
}

#[test]
fn toml_says_a_table_twice() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'c'
[cells.a]
lang = 'c'
"#), @r#"
PL006

  × duplicate key `a`
   ╭─[x.toml:3:8]
 2 │ lang = 'c'
 3 │ [cells.a]
   ·        ─
 4 │ lang = 'c'
   ╰────
"#);
}

#[test]
fn json_syntax_is_shown_where_it_breaks() {
    insta::assert_snapshot!(picture("x.json", "{\"cells\": {\n  \"a\": {\"lang\": \"c\",}\n}}"), @r#"
PL001

  × expected a name in double quotes
   ╭─[x.json:2:21]
 1 │ {"cells": {
 2 │   "a": {"lang": "c",}
   ·                     ─
 3 │ }}
   ╰────
"#);
}

#[test]
fn json_says_a_name_twice() {
    insta::assert_snapshot!(picture("x.json", "{\"cells\": {}, \n \"cells\": {}}"), @r#"
PL006

  × duplicate name `cells`
   ╭─[x.json:2:2]
 1 │ {"cells": {},
   ·  ───┬───
   ·     ╰── first here
 2 │  "cells": {}}
   ·  ───────
   ╰────
"#);
}

#[test]
fn keys_nobody_reads() {
    insta::assert_snapshot!(picture("x.toml", r#"[flow]
nmae = 'x'
[cells.a]
language = 'python'
code = ''
timout = '5s'
blub = 1
[cell.b]
"#), @r#"
PL003

  × unknown key `nmae` in `[flow]`
   ╭─[x.toml:2:1]
 1 │ [flow]
 2 │ nmae = 'x'
   · ──┬─
   ·   ╰── nobody reads this
 3 │ [cells.a]
   ╰────
  help: did you mean `name`?

PL003

  × unknown key `language` in the cell `a`
   ╭─[x.toml:4:1]
 3 │ [cells.a]
 4 │ language = 'python'
   · ────┬───
   ·     ╰── nobody reads this
 5 │ code = ''
   ╰────
  help: did you mean `lang`?

PL003

  × unknown key `timout` in the cell `a`
   ╭─[x.toml:6:1]
 5 │ code = ''
 6 │ timout = '5s'
   · ───┬──
   ·    ╰── nobody reads this
 7 │ blub = 1
   ╰────
  help: did you mean `timeout`?

PL003

  × unknown key `blub` in the cell `a`
   ╭─[x.toml:7:1]
 6 │ timout = '5s'
 7 │ blub = 1
   · ──┬─
   ·   ╰── nobody reads this
 8 │ [cell.b]
   ╰────
  help: valid: `lang`, `file`, `uses`, `untyped`, `flow`, `inputs`, `outputs`, `params`, `env`,
        `secrets`, `argv`, `stdin`, `timeout`, `soft_timeout`, `grace`, `memory`, `retry_memory`,
        `cpus`, `cpu_time`, `pids`, `open_files`, `disk`, `inodes`, `output_limit`, `artifacts`,
        `artifact_size`, `retries`, `cache`, `policy`, `enforce`, `session`, `seed`, `when`,
        `map`, `allow`, `tags`, `doc`, `code`

PL003

  × unknown key `cell` in the flow file
   ╭─[x.toml:8:2]
 7 │ blub = 1
 8 │ [cell.b]
   ·  ──┬─
   ·    ╰── nobody reads this
   ╰────
  help: did you mean `cells`?
"#);
}

#[test]
fn values_of_the_wrong_kind() {
    insta::assert_snapshot!(cell(r#"argv = '-x --fast'
cache = 'yes'
retries = 1.5
env = ['A']
tags = [1]
doc = 3
inputs = 5
timeout = 5
stdin = 3"#), @r#"
PL005

  × `argv` takes a list of texts, not a text
   ╭─[x.toml:4:8]
 3 │ code = ''
 4 │ argv = '-x --fast'
   ·        ───────────
 5 │ cache = 'yes'
   ╰────
  help: no shell splits it; write ["-x", "--fast"]

PL005

  × `cache` takes `true` or `false`, not a text
   ╭─[x.toml:5:9]
 4 │ argv = '-x --fast'
 5 │ cache = 'yes'
   ·         ─────
 6 │ retries = 1.5
   ╰────

PL005

  × `retries` takes a whole number, not a float
   ╭─[x.toml:6:11]
 5 │ cache = 'yes'
 6 │ retries = 1.5
   ·           ───
 7 │ env = ['A']
   ╰────

PL005

  × `env` takes a table, not a list
   ╭─[x.toml:7:7]
 6 │ retries = 1.5
 7 │ env = ['A']
   ·       ─────
 8 │ tags = [1]
   ╰────

PL005

  × `tags` takes a text, not an int
   ╭─[x.toml:8:9]
 7 │ env = ['A']
 8 │ tags = [1]
   ·         ─
 9 │ doc = 3
   ╰────
  help: put it in quotes

PL005

  × `doc` takes a text, not an int
    ╭─[x.toml:9:7]
  8 │ tags = [1]
  9 │ doc = 3
    ·       ─
 10 │ inputs = 5
    ╰────
  help: put it in quotes

PL005

  × `inputs` takes a table, not an int
    ╭─[x.toml:10:10]
  9 │ doc = 3
 10 │ inputs = 5
    ·          ─
 11 │ timeout = 5
    ╰────

PL052

  × `timeout` needs a unit
    ╭─[x.toml:11:11]
 10 │ inputs = 5
 11 │ timeout = 5
    ·           ─
 12 │ stdin = 3
    ╰────
  help: write "5s" or "5ms"

PL005

  × `stdin` takes a text or `{ input = "PORT" }`, not an int
    ╭─[x.toml:12:9]
 11 │ timeout = 5
 12 │ stdin = 3
    ·         ─
    ╰────
"#);
}

#[test]
fn cells_that_can_be_in_no_session() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'python'
code = ''
session = 'x'
"#), @r#"
PL010

  × `python` holds no sessions
   ╭─[x.toml:4:11]
 3 │ code = ''
 4 │ session = 'x'
   ·           ───
   ╰────
  help: no executor that is installed does
"#);
}

#[test]
fn asks_and_policies_that_mean_nothing() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'python'
code = ''
policy = 'trusted'
enforce = { memroy = 'full', disk = 'whole' }
[cells.a.allow]
net = ['example.com', 'http://a.org:80']
read = ['../up']
env = ['A=B', 'LD_PRELOAD']
write = true
nett = []
"#), @"
    PL051

      × a file can't ask for `trusted`; valid there: `strict`, `default`. Who runs it may say
      │ `--policy=trusted`
       ╭─[x.toml:4:10]
     3 │ code = ''
     4 │ policy = 'trusted'
       ·          ─────────
     5 │ enforce = { memroy = 'full', disk = 'whole' }
       ╰────

    PL003

      × `memroy` is not a mechanism of the sandbox
       ╭─[x.toml:5:13]
     4 │ policy = 'trusted'
     5 │ enforce = { memroy = 'full', disk = 'whole' }
       ·             ──────
     6 │ [cells.a.allow]
       ╰────
      help: did you mean `memory`?

    PL051

      × `whole` is not a level; valid: `full`, `partial`, `none`
       ╭─[x.toml:5:37]
     4 │ policy = 'trusted'
     5 │ enforce = { memroy = 'full', disk = 'whole' }
       ·                                     ───────
     6 │ [cells.a.allow]
       ╰────

    PL051

      × `example.com` has no port that can be reached; valid: `HOST:PORT`, with a port from 1 to 65535
       ╭─[x.toml:7:8]
     6 │ [cells.a.allow]
     7 │ net = ['example.com', 'http://a.org:80']
       ·        ─────────────
     8 │ read = ['../up']
       ╰────

    PL051

      × `http://a.org` is not a host; valid: `example.com`, `*.example.com`, `10.0.0.5`, `[::1]`, in
      │ ASCII
       ╭─[x.toml:7:23]
     6 │ [cells.a.allow]
     7 │ net = ['example.com', 'http://a.org:80']
       ·                       ─────────────────
     8 │ read = ['../up']
       ╰────

    PL051

      × `../up` is not a path; valid: a relative path without `..`, an absolute path, or `~/PATH`
       ╭─[x.toml:8:9]
     7 │ net = ['example.com', 'http://a.org:80']
     8 │ read = ['../up']
       ·         ───────
     9 │ env = ['A=B', 'LD_PRELOAD']
       ╰────

    PL051

      × `A=B` is not the name of an environment variable; valid: [A-Za-z_][A-Za-z0-9_]*
        ╭─[x.toml:9:8]
      8 │ read = ['../up']
      9 │ env = ['A=B', 'LD_PRELOAD']
        ·        ─────
     10 │ write = true
        ╰────

    PL053

      × the environment variable `LD_PRELOAD` can't be set by a flow
        ╭─[x.toml:9:15]
      8 │ read = ['../up']
      9 │ env = ['A=B', 'LD_PRELOAD']
        ·               ──────┬─────
        ·                     ╰── steers the system
     10 │ write = true
        ╰────
      help: choose another name; the program of an executor is set in `[executors.ID]`

    PL005

      × `write` takes a list of texts, not a bool
        ╭─[x.toml:10:9]
      9 │ env = ['A=B', 'LD_PRELOAD']
     10 │ write = true
        ·         ────
     11 │ nett = []
        ╰────
      help: a cell says what it needs, one by one: whoever grants it has to know

    PL003

      × unknown key `nett` in `allow`
        ╭─[x.toml:11:1]
     10 │ write = true
     11 │ nett = []
        · ──┬─
        ·   ╰── nobody reads this
        ╰────
      help: did you mean `net`?
    ");
}

#[test]
fn unknown_kernel() {
    insta::assert_snapshot!(picture("x.toml", "[cells.a]\nlang = 'jupyter:python3'\ncode = ''\n"), @r"
    PL020

      × unknown language `jupyter:python3`
       ╭─[x.toml:2:8]
     1 │ [cells.a]
     2 │ lang = 'jupyter:python3'
       ·        ─────────────────
     3 │ code = ''
       ╰────
      help: kernels are looked for in JUPYTER_PATH, the active environment (VIRTUAL_ENV), ~/.local/
            share/jupyter, beside the python3 on PATH and in /usr/local and /usr, not in a `.venv`
            that is not active; `polyloom plugin list` shows those that are found
    ");
}

#[test]
fn unknown_language() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'pyton'
code = ''
[cells.b]
lang = 'cobol'
code = ''
[cells.c]
code = ''
[cells.d]
file = 'x.cob'
[executors.ruby]
ruby = 'x'
[executors.c]
ld = 'x'
"#), @r#"
PL020

  × unknown language `pyton`
   ╭─[x.toml:2:8]
 1 │ [cells.a]
 2 │ lang = 'pyton'
   ·        ───────
 3 │ code = ''
   ╰────
  help: did you mean `python`?

PL020

  × unknown language `cobol`
   ╭─[x.toml:5:8]
 4 │ [cells.b]
 5 │ lang = 'cobol'
   ·        ───────
 6 │ code = ''
   ╰────
  help: valid: `c`, `python`, `shell`

PL004

  × the cell `c` has no `lang`
   ╭─[x.toml:7:8]
 6 │ code = ''
 7 │ [cells.c]
   ·        ─
 8 │ code = ''
   ╰────
  help: valid: `c`, `python`, `shell`

PL020

  × no executor takes `.cob` files
    ╭─[x.toml:10:8]
  9 │ [cells.d]
 10 │ file = 'x.cob'
    ·        ───────
 11 │ [executors.ruby]
    ╰────
  help: set `lang` to one of `c`, `python`, `shell`

PL020

  × unknown executor `ruby`
    ╭─[x.toml:11:12]
 10 │ file = 'x.cob'
 11 │ [executors.ruby]
    ·            ────
 12 │ ruby = 'x'
    ╰────
  help: valid: `c`, `python`, `shell`

PL022

  × `c` has no tool `ld`
    ╭─[x.toml:14:1]
 13 │ [executors.c]
 14 │ ld = 'x'
    · ──
    ╰────
  help: valid: `cc`
"#);
}

#[test]
fn cells_without_code_or_with_two() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'c'
[cells.b]
lang = 'c'
code = ''
file = 'x.c'
"#), @r#"
PL004

  × the cell `a` has no code
   ╭─[x.toml:1:8]
 1 │ [cells.a]
   ·        ─
 2 │ lang = 'c'
   ╰────
  help: valid: `file = "FILE"` or `code = '''…'''`

PL042

  × the cell `b` has both `code` and `file`
   ╭─[x.toml:5:8]
 4 │ lang = 'c'
 5 │ code = ''
   ·        ─┬
   ·         ╰── this
 6 │ file = 'x.c'
   ·        ──┬──
   ·          ╰── and this
   ╰────
"#);
}

#[test]
fn files_that_are_not_there() {
    insta::assert_snapshot!(in_folder("[cells.a]\nfile = 'nope.py'\ninputs = { x = 'file:data/nope.csv' }\n"), @r#"
PL030

  × the file `nope.py` does not exist
   ╭─[x.toml:2:8]
 1 │ [cells.a]
 2 │ file = 'nope.py'
   ·        ─────────
 3 │ inputs = { x = 'file:data/nope.csv' }
   ╰────
  help: paths are relative to the flow's folder

PL030

  × the file `data/nope.csv` does not exist
   ╭─[x.toml:3:16]
 2 │ file = 'nope.py'
 3 │ inputs = { x = 'file:data/nope.csv' }
   ·                ────────────────────
   ╰────
  help: paths are relative to the flow's folder
"#);
}

#[test]
fn files_outside_of_the_flow() {
    insta::assert_snapshot!(in_folder("[cells.a]\nfile = '../load.py'\n[cells.b]\nlang = 'python'\ncode = ''\ninputs = { a = 'file:/etc/passwd', b = 'file:out.csv', c = 'file:up/x', d = 'file:link.csv', e = 'file:' }\n"), @r#"
PL031

  × `../load.py` is outside of the flow's folder
   ╭─[x.toml:2:8]
 1 │ [cells.a]
 2 │ file = '../load.py'
   ·        ────────────
 3 │ [cells.b]
   ╰────
  help: valid: a path relative to the flow's folder, without `..`; copy the file there

PL031

  × `/etc/passwd` is outside of the flow's folder
   ╭─[x.toml:6:16]
 5 │ code = ''
 6 │ inputs = { a = 'file:/etc/passwd', b = 'file:out.csv', c = 'file:up/x', d = 'file:link.csv', e = 'file:' }
   ·                ──────────────────
   ╰────
  help: valid: a path relative to the flow's folder, without `..`; copy the file there

PL031

  × `out.csv` leads outside of the flow's folder
   ╭─[x.toml:6:40]
 5 │ code = ''
 6 │ inputs = { a = 'file:/etc/passwd', b = 'file:out.csv', c = 'file:up/x', d = 'file:link.csv', e = 'file:' }
   ·                                        ──────────────
   ╰────
  help: links must stay inside of the folder; copy the file there

PL031

  × `up/x` leads outside of the flow's folder
   ╭─[x.toml:6:60]
 5 │ code = ''
 6 │ inputs = { a = 'file:/etc/passwd', b = 'file:out.csv', c = 'file:up/x', d = 'file:link.csv', e = 'file:' }
   ·                                                            ───────────
   ╰────
  help: links must stay inside of the folder; copy the file there

PL031

  × a path can't be empty
   ╭─[x.toml:6:98]
 5 │ code = ''
 6 │ inputs = { a = 'file:/etc/passwd', b = 'file:out.csv', c = 'file:up/x', d = 'file:link.csv', e = 'file:' }
   ·                                                                                                  ───────
   ╰────
  help: valid: a path relative to the flow's folder, without `..`; copy the file there
"#);
}

#[test]
fn files_that_are_no_code() {
    insta::assert_snapshot!(in_folder("[cells.a]\nlang = 'python'\nfile = 'data'\n[cells.b]\nfile = 'big.py'\n"), @r#"
PL032

  × `data` is a folder
   ╭─[x.toml:3:8]
 2 │ lang = 'python'
 3 │ file = 'data'
   ·        ──────
 4 │ [cells.b]
   ╰────

PL032

  × `big.py` is larger than 4 MiB
   ╭─[x.toml:5:8]
 4 │ [cells.b]
 5 │ file = 'big.py'
   ·        ────────
   ╰────
  help: data goes into an input: `file:PATH`
"#);
}

#[test]
fn a_file_where_a_folder_is_declared() {
    insta::assert_snapshot!(in_folder("[cells.a]\nfile = 'load.py'\ninputs = { x = { from = 'file:load.csv', type = 'dir' } }\n"), @r#"
PL045

  × types don't fit: the source is file, the input `x` is dir
   ╭─[x.toml:3:25]
 2 │ file = 'load.py'
 3 │ inputs = { x = { from = 'file:load.csv', type = 'dir' } }
   ·                         ───────┬───────
   ·                                ╰── gives file
   ╰────
  help: declare the input `x` as file, or convert in a cell between them
"#);
}

#[test]
fn a_cycle_shows_the_way_round() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'python'
code = ''
inputs = { x = 'c.x' }
outputs = { x = 'int' }
[cells.b]
lang = 'python'
code = ''
inputs = { y = 'a.x' }
outputs = { x = 'int' }
[cells.c]
lang = 'python'
code = ''
inputs = { z = 'b.x' }
outputs = { x = 'int' }
"#), @r#"
PL044

  × cells wait for each other: a → b → c → a
   ╭─[x.toml:4:16]
 3 │ code = ''
 4 │ inputs = { x = 'c.x' }
   ·                ──┬──
   ·                  ╰── `a` waits for `c`
 5 │ outputs = { x = 'int' }
   ╰────
    ╭─[x.toml:9:16]
  8 │ code = ''
  9 │ inputs = { y = 'a.x' }
    ·                ──┬──
    ·                  ╰── `b` waits for `a`
 10 │ outputs = { x = 'int' }
    ╰────
    ╭─[x.toml:14:16]
 13 │ code = ''
 14 │ inputs = { z = 'b.x' }
    ·                ──┬──
    ·                  ╰── `c` waits for `b`
 15 │ outputs = { x = 'int' }
    ╰────
  help: take one of these inputs away

PL042

  × `x` is both an input and an output of one cell
   ╭─[x.toml:5:13]
 3 │ code = ''
 4 │ inputs = { x = 'c.x' }
   ·            ┬
   ·            ╰── an input
 5 │ outputs = { x = 'int' }
   ·             ┬
   ·             ╰── an output
 6 │ [cells.b]
   ╰────
  help: code sees both under one name: rename one
"#);
}

#[test]
fn a_cell_that_feeds_itself() {
    insta::assert_snapshot!(cell(r#"inputs = { x = 'a.y' }
outputs = { y = 'int' }"#), @r#"
PL043

  × the cell `a` takes its own output `y`
   ╭─[x.toml:4:16]
 3 │ code = ''
 4 │ inputs = { x = 'a.y' }
   ·                ─────
 5 │ outputs = { y = 'int' }
   ╰────
  help: a cell can't wait for itself: split it in two
"#);
}

#[test]
fn unknown_cells_and_ports() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.load]
lang = 'python'
code = ''
outputs = { temps = 'int' }
[cells.b]
lang = 'python'
code = ''
inputs = { x = 'laod.temps', y = 'load.tmps', z = 'param:year' }
stdin = { input = 'q' }
"#), @r#"
PL040

  × there is no cell `laod`
   ╭─[x.toml:8:16]
 7 │ code = ''
 8 │ inputs = { x = 'laod.temps', y = 'load.tmps', z = 'param:year' }
   ·                ────────────
 9 │ stdin = { input = 'q' }
   ╰────
  help: did you mean `load`?

PL041

  × the cell `load` has no output `tmps`
   ╭─[x.toml:1:8]
 1 │ [cells.load]
   ·        ──┬─
   ·          ╰── this cell
 2 │ lang = 'python'
   ╰────
   ╭─[x.toml:8:34]
 7 │ code = ''
 8 │ inputs = { x = 'laod.temps', y = 'load.tmps', z = 'param:year' }
   ·                                  ───────────
 9 │ stdin = { input = 'q' }
   ╰────
  help: did you mean `temps`?

PL047

  × the flow has no param `year`
   ╭─[x.toml:8:51]
 7 │ code = ''
 8 │ inputs = { x = 'laod.temps', y = 'load.tmps', z = 'param:year' }
   ·                                                   ────────────
 9 │ stdin = { input = 'q' }
   ╰────
  help: declare it: `[params]` `year = …`

PL041

  × the cell has no input `q`
   ╭─[x.toml:9:19]
 8 │ inputs = { x = 'laod.temps', y = 'load.tmps', z = 'param:year' }
 9 │ stdin = { input = 'q' }
   ·                   ───
   ╰────
  help: valid: `x`, `y`, `z`
"#);
}

#[test]
fn texts_that_are_no_inputs() {
    insta::assert_snapshot!(in_folder("[params]\nyear = 1\n[cells.b]\nlang = 'python'\ncode = ''\noutputs = { o = 'int' }\n[cells.a]\nlang = 'python'\ncode = ''\ninputs = { v = 'hello world', w = 'b', x = 'year', y = 'data', z = 'load.csv' }\n"), @r#"
PL046

  × `hello world` is not an input
    ╭─[x.toml:10:16]
  9 │ code = ''
 10 │ inputs = { v = 'hello world', w = 'b', x = 'year', y = 'data', z = 'load.csv' }
    ·                ──────┬──────
    ·                      ╰── expected `CELL.PORT`, `file:PATH` or `param:NAME`
    ╰────
  help: a constant is written `{ value = "hello world" }`

PL046

  × `b` is not an input
    ╭─[x.toml:10:35]
  9 │ code = ''
 10 │ inputs = { v = 'hello world', w = 'b', x = 'year', y = 'data', z = 'load.csv' }
    ·                                   ─┬─
    ·                                    ╰── expected `CELL.PORT`, `file:PATH` or `param:NAME`
    ╰────
  help: did you mean `b.o`?

PL046

  × `year` is not an input
    ╭─[x.toml:10:44]
  9 │ code = ''
 10 │ inputs = { v = 'hello world', w = 'b', x = 'year', y = 'data', z = 'load.csv' }
    ·                                            ───┬──
    ·                                               ╰── expected `CELL.PORT`, `file:PATH` or `param:NAME`
    ╰────
  help: did you mean `param:year`?

PL046

  × `data` is not an input
    ╭─[x.toml:10:56]
  9 │ code = ''
 10 │ inputs = { v = 'hello world', w = 'b', x = 'year', y = 'data', z = 'load.csv' }
    ·                                                        ───┬──
    ·                                                           ╰── expected `CELL.PORT`, `file:PATH` or `param:NAME`
    ╰────
  help: did you mean `file:data`?

PL040

  × there is no cell `load`
    ╭─[x.toml:10:68]
  9 │ code = ''
 10 │ inputs = { v = 'hello world', w = 'b', x = 'year', y = 'data', z = 'load.csv' }
    ·                                                                    ──────────
    ╰────
  help: a file is written `file:load.csv`
"#);
}

#[test]
fn names_bound_twice() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'python'
code = ''
inputs = { x = 1, y = 2, z = 3 }
params = { x = 2 }
outputs = { y = 'int' }
env = { z = 'q' }
"#), @r#"
PL042

  × `x` is both an input and a constant of one cell
   ╭─[x.toml:5:12]
 3 │ code = ''
 4 │ inputs = { x = 1, y = 2, z = 3 }
   ·            ┬
   ·            ╰── an input
 5 │ params = { x = 2 }
   ·            ┬
   ·            ╰── a constant
 6 │ outputs = { y = 'int' }
   ╰────
  help: code sees both under one name: rename one

PL042

  × `y` is both an input and an output of one cell
   ╭─[x.toml:6:13]
 3 │ code = ''
 4 │ inputs = { x = 1, y = 2, z = 3 }
   ·                   ┬
   ·                   ╰── an input
 5 │ params = { x = 2 }
 6 │ outputs = { y = 'int' }
   ·             ┬
   ·             ╰── an output
 7 │ env = { z = 'q' }
   ╰────
  help: code sees both under one name: rename one

PL042

  × `z` is both an input and a variable of `env`
   ╭─[x.toml:7:9]
 3 │ code = ''
 4 │ inputs = { x = 1, y = 2, z = 3 }
   ·                          ┬
   ·                          ╰── an input
 5 │ params = { x = 2 }
 6 │ outputs = { y = 'int' }
 7 │ env = { z = 'q' }
   ·         ┬
   ·         ╰── a variable
   ╰────
  help: programs see ports as variables of the same name: rename one
"#);
}

#[test]
fn types_that_do_not_fit() {
    insta::assert_snapshot!(picture("x.toml", r#"[flow]
strict = true
[cells.a]
lang = 'python'
code = ''
outputs = { s = 'str', n = 'int' }
[cells.b]
lang = 'python'
code = ''
inputs = { x = { from = 'a.s', type = 'int' }, y = { from = 'a.n', type = 'float' } }
"#), @r#"
PL045

  × types don't fit: the source is str, the input `x` is int
    ╭─[x.toml:10:25]
  9 │ code = ''
 10 │ inputs = { x = { from = 'a.s', type = 'int' }, y = { from = 'a.n', type = 'float' } }
    ·                         ──┬──
    ·                           ╰── gives str
    ╰────
  help: declare the input `x` as str, or convert in a cell between them

PL045

  × types don't fit: the source is int, the input `y` is float
    ╭─[x.toml:10:61]
  9 │ code = ''
 10 │ inputs = { x = { from = 'a.s', type = 'int' }, y = { from = 'a.n', type = 'float' } }
    ·                                                             ──┬──
    ·                                                               ╰── gives int
    ╰────
  help: this needs a coercion, and the flow is `strict`: convert in a cell between them, or leave
        `strict` out of `[flow]`
"#);
}

#[test]
fn texts_that_are_no_types() {
    insta::assert_snapshot!(cell(r#"outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }"#), @r#"
PL050

  × `integer` is not a type
   ╭─[x.toml:4:18]
 3 │ code = ''
 4 │ outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }
   ·                  ───────
   ╰────
  help: did you mean `int`?

PL050

  × `list<flaot>` is not a type
   ╭─[x.toml:4:38]
 3 │ code = ''
 4 │ outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }
   ·                                      ─────
   ╰────
  help: did you mean `float`?

PL050

  × `tensor<f16>` is not a type: expected a dtype, one of bool, i8, i16, i32, i64, u8, u16, u32,
  │ u64, f32, f64, any
   ╭─[x.toml:4:51]
 3 │ code = ''
 4 │ outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }
   ·                                                   ─────────────
   ╰────

PL050

  × `list<table>` is not a type: lists, maps and records hold values, not tensors, tables or files
   ╭─[x.toml:4:71]
 3 │ code = ''
 4 │ outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }
   ·                                                                       ────
   ╰────
  help: several files are a `dir`; a cell with a `map` runs once for each of them

PL050

  × `map<` is not a type: a type is missing at position 5
   ╭─[x.toml:4:89]
 3 │ code = ''
 4 │ outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }
   ·                                                                                         ──────
   ╰────
  help: `any`, `null`, `bool`, `int`, `float`, `str`, `bytes`, `list`, `map`, `record`, `enum`,
        `tensor`, `table`, `image`, `file`, `dir`, `seed`, `vec2`, `color`

PL050

  × `wat` is not a type
   ╭─[x.toml:4:102]
 3 │ code = ''
 4 │ outputs = { a = 'integer', b = 'list<flaot>', c = 'tensor<f16>', d = 'list<table>', e = 'map<', f = 'wat' }
   ·                                                                                                      ───
   ╰────
  help: types: `any`, `null`, `bool`, `int`, `float`, `str`, `bytes`, `list`, `map`, `record`,
        `enum`, `tensor`, `table`, `image`, `file`, `dir`, `seed`, `vec2`, `color`
"#);
}

#[test]
fn types_that_are_too_long() {
    let names = |count| (0..count).map(|at| format!("n{at}")).collect::<Vec<_>>().join(",");
    let many = format!(
        "[cells.a]\nlang = 'python'\ncode = ''\noutputs = {{ a = 'enum{{{}}}' }}\n",
        names(2000)
    );
    let long = many.replace(&names(2000), &"x".repeat(20_000));
    for (text, why) in [(many, "more than 1024 names in an enum"), (long, "longer than 16 KiB")] {
        let report = check("x.toml", &text, None).report;
        let [problem] = &report.problems[..] else { panic!("{report:?}") };
        assert_eq!(problem.code.as_str(), "PL050");
        assert!(
            problem.message.ends_with(&format!("… is not a type: {why}"))
                || problem.message.ends_with(&format!("…` is not a type: {why}")),
            "{}",
            problem.message
        );
    }
}

#[test]
fn durations_and_sizes_that_are_none() {
    insta::assert_snapshot!(cell(r#"timeout = '5 parsecs'
memory = 'lots'
cpus = 0
pids = 0
disk = -1
retries = 1000
output_limit = true"#), @r#"
PL052

  × `5 parsecs` is not a duration; valid: `250ms`, `5s`, `1m30s`, `2h`
   ╭─[x.toml:4:11]
 3 │ code = ''
 4 │ timeout = '5 parsecs'
   ·           ───────────
 5 │ memory = 'lots'
   ╰────

PL052

  × `lots` is not a size; valid: `64KiB`, `256MiB`, `2GiB`, `500MB` or a number of bytes
   ╭─[x.toml:5:10]
 4 │ timeout = '5 parsecs'
 5 │ memory = 'lots'
   ·          ──────
 6 │ cpus = 0
   ╰────

PL052

  × `cpus` is 0, out of range
   ╭─[x.toml:6:8]
 5 │ memory = 'lots'
 6 │ cpus = 0
   ·        ─
 7 │ pids = 0
   ╰────
  help: valid: 0.01 to 4096

PL052

  × `pids` is 0, out of range
   ╭─[x.toml:7:8]
 6 │ cpus = 0
 7 │ pids = 0
   ·        ─
 8 │ disk = -1
   ╰────
  help: valid: 1 to 1000000

PL052

  × `-1` is not a size; valid: `64KiB`, `256MiB`, `2GiB`, `500MB` or a number of bytes
   ╭─[x.toml:8:8]
 7 │ pids = 0
 8 │ disk = -1
   ·        ──
 9 │ retries = 1000
   ╰────

PL052

  × `retries` is 1000, out of range
    ╭─[x.toml:9:11]
  8 │ disk = -1
  9 │ retries = 1000
    ·           ────
 10 │ output_limit = true
    ╰────
  help: valid: 0 to 100

PL005

  × `output_limit` takes a size, not a bool
    ╭─[x.toml:10:16]
  9 │ retries = 1000
 10 │ output_limit = true
    ·                ────
    ╰────
  help: valid: `"256MiB"` or a number of bytes
"#);
}

#[test]
fn names_that_do_not_travel() {
    insta::assert_snapshot!(picture("x.toml", r#"[params]
Year = 1
[cells.Load]
lang = 'c'
code = ''
[cells.con]
lang = 'c'
code = ''
[cells.a]
lang = 'c'
code = ''
inputs = { 'a-b' = 1 }
outputs = { '' = 'int' }
"#), @r#"
PL007

  × param name `Year` has the character 'Y' at position 1; valid: [a-z][a-z0-9_]{0,63}
   ╭─[x.toml:2:1]
 1 │ [params]
 2 │ Year = 1
   · ────
 3 │ [cells.Load]
   ╰────

PL007

  × cell id `Load` has the character 'L' at position 1; valid: [a-z][a-z0-9_-]{0,63}
   ╭─[x.toml:3:8]
 2 │ Year = 1
 3 │ [cells.Load]
   ·        ────
 4 │ lang = 'c'
   ╰────
  help: try `load`

PL007

  × cell id `con` is reserved on some platforms
   ╭─[x.toml:6:8]
 5 │ code = ''
 6 │ [cells.con]
   ·        ───
 7 │ lang = 'c'
   ╰────

PL007

  × port name `a-b` has the character '-' at position 2; valid: [a-z][a-z0-9_]{0,63}
    ╭─[x.toml:12:12]
 11 │ code = ''
 12 │ inputs = { 'a-b' = 1 }
    ·            ─────
 13 │ outputs = { '' = 'int' }
    ╰────

PL007

  × a port name can't be empty
    ╭─[x.toml:13:13]
 12 │ inputs = { 'a-b' = 1 }
 13 │ outputs = { '' = 'int' }
    ·             ──
    ╰────
"#);
}

#[test]
fn variables_that_steer_the_system() {
    insta::assert_snapshot!(cell(r#"inputs = { http_proxy = 1 }
env = { LD_PRELOAD = 'x.so', PATH = '/x', 'A=B' = '', POLYLOOM_CELL = 'x', OK = 'fine' }"#), @r#"
PL053

  × the port name `http_proxy` is a variable that programs obey
   ╭─[x.toml:4:12]
 3 │ code = ''
 4 │ inputs = { http_proxy = 1 }
   ·            ──────────
 5 │ env = { LD_PRELOAD = 'x.so', PATH = '/x', 'A=B' = '', POLYLOOM_CELL = 'x', OK = 'fine' }
   ╰────
  help: choose another name

PL053

  × the environment variable `LD_PRELOAD` can't be set by a flow
   ╭─[x.toml:5:9]
 4 │ inputs = { http_proxy = 1 }
 5 │ env = { LD_PRELOAD = 'x.so', PATH = '/x', 'A=B' = '', POLYLOOM_CELL = 'x', OK = 'fine' }
   ·         ─────┬────
   ·              ╰── steers the system
   ╰────
  help: choose another name; the program of an executor is set in `[executors.ID]`

PL053

  × the environment variable `PATH` can't be set by a flow
   ╭─[x.toml:5:30]
 4 │ inputs = { http_proxy = 1 }
 5 │ env = { LD_PRELOAD = 'x.so', PATH = '/x', 'A=B' = '', POLYLOOM_CELL = 'x', OK = 'fine' }
   ·                              ──┬─
   ·                                ╰── steers the system
   ╰────
  help: choose another name; the program of an executor is set in `[executors.ID]`

PL007

  × `A=B` is not the name of an environment variable
   ╭─[x.toml:5:43]
 4 │ inputs = { http_proxy = 1 }
 5 │ env = { LD_PRELOAD = 'x.so', PATH = '/x', 'A=B' = '', POLYLOOM_CELL = 'x', OK = 'fine' }
   ·                                           ─────
   ╰────
  help: valid: [A-Za-z_][A-Za-z0-9_]*

PL053

  × the environment variable `POLYLOOM_CELL` can't be set by a flow
   ╭─[x.toml:5:55]
 4 │ inputs = { http_proxy = 1 }
 5 │ env = { LD_PRELOAD = 'x.so', PATH = '/x', 'A=B' = '', POLYLOOM_CELL = 'x', OK = 'fine' }
   ·                                                       ──────┬──────
   ·                                                             ╰── steers the system
   ╰────
  help: choose another name; the program of an executor is set in `[executors.ID]`
"#);
}

#[test]
fn nul_in_texts() {
    insta::assert_snapshot!(cell(r#"argv = ["a\u0000b"]
env = { "A\u0000" = 'x' }"#), @r#"
PL011

  × a text holds the character U+0000
   ╭─[x.toml:4:9]
 3 │ code = ''
 4 │ argv = ["a\u0000b"]
   ·         ──────────
 5 │ env = { "A\u0000" = 'x' }
   ╰────

PL011

  × a key holds the character U+0000
   ╭─[x.toml:5:9]
 4 │ argv = ["a\u0000b"]
 5 │ env = { "A\u0000" = 'x' }
   ·         ─────────
   ╰────
"#);
}

#[test]
fn params_that_can_not_be() {
    insta::assert_snapshot!(picture("x.toml", r#"[params]
a = { type = 'int', default = 'x' }
b = { type = 'file' }
c = {}
d = { typ = 'int', default = 1 }
e = 2012-01-01
f = { type = 'enum{x,y}', default = 'z' }
g = { type = 'list<int>', default = [1, 'x'] }
[cells.a]
lang = 'c'
code = ''
"#), @r#"
PL051

  × the value does not fit: expected int, found str "x"
   ╭─[x.toml:2:31]
 1 │ [params]
 2 │ a = { type = 'int', default = 'x' }
   ·                               ─┬─
   ·                                ╰── not int
 3 │ b = { type = 'file' }
   ╰────

PL004

  × the param `c` has neither `type` nor `default`
   ╭─[x.toml:4:1]
 3 │ b = { type = 'file' }
 4 │ c = {}
   · ─
 5 │ d = { typ = 'int', default = 1 }
   ╰────
  help: valid: `type = "int"`, `default = 3` or both

PL003

  × unknown key `typ` in the param `d`
   ╭─[x.toml:5:7]
 4 │ c = {}
 5 │ d = { typ = 'int', default = 1 }
   ·       ─┬─
   ·        ╰── nobody reads this
 6 │ e = 2012-01-01
   ╰────
  help: did you mean `type`?

PL051

  × dates are no values here: put it in quotes
   ╭─[x.toml:6:5]
 5 │ d = { typ = 'int', default = 1 }
 6 │ e = 2012-01-01
   ·     ──────────
 7 │ f = { type = 'enum{x,y}', default = 'z' }
   ╰────

PL051

  × the value does not fit: expected enum{x,y}, found str "z"
   ╭─[x.toml:7:37]
 6 │ e = 2012-01-01
 7 │ f = { type = 'enum{x,y}', default = 'z' }
   ·                                     ─┬─
   ·                                      ╰── not enum{x,y}
 8 │ g = { type = 'list<int>', default = [1, 'x'] }
   ╰────
  help: valid: x, y

PL051

  × the value does not fit: [1]: expected int, found str "x"
   ╭─[x.toml:8:37]
 7 │ f = { type = 'enum{x,y}', default = 'z' }
 8 │ g = { type = 'list<int>', default = [1, 'x'] }
   ·                                     ────┬───
   ·                                         ╰── not list<int>
 9 │ [cells.a]
   ╰────
"#);
}

#[test]
fn params_without_a_value_are_warned_of() {
    insta::assert_snapshot!(picture("x.toml", r#"[params]
year = { type = 'int' }
[cells.a]
lang = 'c'
code = ''
"#), @r#"
PL054

  ⚠ the param `year` has no value
   ╭─[x.toml:2:1]
 1 │ [params]
 2 │ year = { type = 'int' }
   · ────
 3 │ [cells.a]
   ╰────
  help: give one: `-p year=VALUE`, or set `default`
"#);
}

#[test]
fn params_without_a_value_can_not_run() {
    insta::assert_snapshot!({
        let given = Given { sets: vec!["yera=5".into(), "n=x".into(), "n".into()], file: None, seed: None };
        let text = "[params]\nyear = { type = 'int' }\nn = 1\n[cells.a]\nlang = 'c'\ncode = ''";
        render(&check_for("x.toml", text, None, Purpose::Run, &given).report, false, 100)
    }, @r#"
PL047

  × the flow has no param `yera`
   ╭─[-p:1:1]
 1 │ yera=5
   · ────
   ╰────
  help: did you mean `year`?

PL051

  × the value of `n` does not fit: expected a whole number
   ╭─[-p:1:3]
 1 │ n=x
   ·   ┬
   ·   ╰── not int
   ╰────

PL001

  × `-p` takes NAME=VALUE
   ╭─[-p:1:1]
 1 │ n
   · ─
   ╰────
  help: e.g. `-p year=2013`
"#);
}

#[test]
fn constants_that_do_not_fit() {
    insta::assert_snapshot!(cell(r#"inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }"#), @r#"
PL051

  × the value does not fit: expected int, found str "x"
   ╭─[x.toml:4:26]
 3 │ code = ''
 4 │ inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }
   ·                          ─┬─
   ·                           ╰── not int
   ╰────

PL051

  × the value does not fit: expected table, found str "p"
   ╭─[x.toml:4:61]
 3 │ code = ''
 4 │ inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }
   ·                                                             ─┬─
   ·                                                              ╰── not table
   ╰────
  help: stored things can't be constants: use `file:PATH`

PL051

  × `$bytes` is not base64
   ╭─[x.toml:4:98]
 3 │ code = ''
 4 │ inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }
   ·                                                                                                  ──────────────────
   ╰────

PL051

  × dates are no values here: put it in quotes
   ╭─[x.toml:4:124]
 3 │ code = ''
 4 │ inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }
   ·                                                                                                                            ──────────
   ╰────

PL042

  × the input `e` has both `from` and `value`
   ╭─[x.toml:4:149]
 3 │ code = ''
 4 │ inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }
   ·                                                                                                                                                     ─────          ─
   ╰────

PL003

  × unknown key `tpye` in the input `f`
   ╭─[x.toml:4:186]
 3 │ code = ''
 4 │ inputs = { a = { value = 'x', type = 'int' }, b = { value = 'p', type = 'table' }, c = { value = { '$bytes' = '?' } }, d = 1979-05-27, e = { from = 'a.b', value = 1 }, f = { value = 1, tpye = 'int' } }
   ·                                                                                                                                                                                          ──┬─
   ·                                                                                                                                                                                            ╰── nobody reads this
   ╰────
  help: did you mean `type`?
"#);
}

#[test]
fn a_flow_without_cells() {
    insta::assert_snapshot!(picture("x.toml", r#"[flow]
name = 'x'
"#), @r#"
PL008

  × the flow has no cells
   ╭─[x.toml:1:1]
 1 │ [flow]
   · ▲
 2 │ name = 'x'
   ╰────
  help: valid: `[cells.hello]` with `lang` and `code`
"#);
}

#[test]
fn a_flow_for_a_newer_version() {
    insta::assert_snapshot!(picture("x.toml", r#"[flow]
requires = '>=99.1'
[cells.a]
lang = 'c'
code = ''
"#), @r#"
PL009

  × the flow needs polyloom >=99.1, this is 0.1.0
   ╭─[x.toml:2:12]
 1 │ [flow]
 2 │ requires = '>=99.1'
   ·            ────────
 3 │ [cells.a]
   ╰────
  help: install a newer polyloom
"#);
}

#[test]
fn a_version_nobody_can_read() {
    insta::assert_snapshot!(picture("x.toml", r#"[flow]
requires = 'soon'
[cells.a]
lang = 'c'
code = ''
"#), @r#"
PL009

  × `soon` is not a version that can be asked for
   ╭─[x.toml:2:12]
 1 │ [flow]
 2 │ requires = 'soon'
   ·            ──────
 3 │ [cells.a]
   ╰────
  help: valid: `>=0.1`, `>=0.1.2`
"#);
}

#[test]
fn cells_that_are_no_tables() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells]
a = 5
b = { lang = 'c', code = '' }
"#), @r#"
PL005

  × the cell `a` is an int, not a table
   ╭─[x.toml:2:1]
 1 │ [cells]
 2 │ a = 5
   · ─
 3 │ b = { lang = 'c', code = '' }
   ╰────
  help: valid: `[cells.ID]` with `lang` and `code`
"#);
}

#[test]
fn markdown_options_that_can_not_be_read() {
    insta::assert_snapshot!(picture("x.md", "---\nparams:\n  n: [1\n---\n```{python}\n#| id: a\n#| id: b\n#|   deep\n#| inputs: {x: y.z}\n```\n```{python #a}\n```\n```{python echo=FALSE}\n"), @r#"
PL001

  × expected `,` or `]`
   ╭─[x.md:3:8]
 2 │ params:
 3 │   n: [1
   ·        ▲
 4 │ ---
   ╰────

PL006

  × duplicate key `id`
   ╭─[x.md:7:4]
 5 │ ```{python}
 6 │ #| id: a
   ·    ─┬
   ·     ╰── first here
 7 │ #| id: b
   ·    ──
 8 │ #|   deep
   ╰────

PL001

  × unexpected indentation
   ╭─[x.md:8:6]
 7 │ #| id: b
 8 │ #|   deep
   ·      ────
 9 │ #| inputs: {x: y.z}
   ╰────

PL006

  × two cells are called `a`
   ╭─[x.md:6:8]
 5 │ ```{python}
 6 │ #| id: a
   ·        ┬
   ·        ╰── first here
 7 │ #| id: b
   ╰────
    ╭─[x.md:11:5]
 10 │ ```
 11 │ ```{python #a}
    ·     ──────
 12 │ ```
    ╰────

PL001

  × the cell has no end: a closing fence is missing
    ╭─[x.md:13:5]
 12 │ ```
 13 │ ```{python echo=FALSE}
    ·     ──────
    ╰────

PL001

  × only `#ID` may follow the language; options are lines `#| key: value`
    ╭─[x.md:13:11]
 12 │ ```
 13 │ ```{python echo=FALSE}
    ·           ───────────
    ╰────
"#);
}

#[test]
fn markdown_cells_of_one_name() {
    insta::assert_snapshot!(picture("x.md", "```{python}\n#| id: a\n1\n```\ntext\n```{python}\n#| label: a\n2\n```\n"), @r#"
PL006

  × two cells are called `a`
   ╭─[x.md:2:8]
 1 │ ```{python}
 2 │ #| id: a
   ·        ┬
   ·        ╰── first here
 3 │ 1
   ╰────
   ╭─[x.md:7:11]
 6 │ ```{python}
 7 │ #| label: a
   ·           ─
 8 │ 2
   ╰────
"#);
}

#[test]
fn markdown_options_that_the_block_has_already() {
    insta::assert_snapshot!(picture("x.md", "```{python}\n#| code: y\n#| lang: c\n1\n```\n"), @r"
PL006

  × a cell's code is what stands in its block, not an option
   ╭─[x.md:2:4]
 1 │ ```{python}
 2 │ #| code: y
   ·    ────
 3 │ #| lang: c
 4 │ 1
   · ┬
   · ╰── first here
 5 │ ```
   ╰────

PL006

  × a cell's language stands in the braces, not in an option
   ╭─[x.md:3:4]
 1 │ ```{python}
   ·     ───┬──
   ·        ╰── first here
 2 │ #| code: y
 3 │ #| lang: c
   ·    ────
 4 │ 1
   ╰────
");
}

#[test]
fn markdown_problems_point_at_the_option() {
    insta::assert_snapshot!(picture("x.qmd", "# T\n\n```{python}\n#| id: a\n#| timeot: 5s\n#| inputs: {x: b.z, y: {from: \"param:k\"}}\n#| echo: false\nx\n```\n"), @r#"
PL003

  × unknown key `timeot` in the cell `a`
   ╭─[x.qmd:5:4]
 4 │ #| id: a
 5 │ #| timeot: 5s
   ·    ───┬──
   ·       ╰── nobody reads this
 6 │ #| inputs: {x: b.z, y: {from: "param:k"}}
   ╰────
  help: did you mean `timeout`?

PL040

  × there is no cell `b`
   ╭─[x.qmd:6:16]
 5 │ #| timeot: 5s
 6 │ #| inputs: {x: b.z, y: {from: "param:k"}}
   ·                ───
 7 │ #| echo: false
   ╰────

PL047

  × the flow has no param `k`
   ╭─[x.qmd:6:31]
 5 │ #| timeot: 5s
 6 │ #| inputs: {x: b.z, y: {from: "param:k"}}
   ·                               ─────────
 7 │ #| echo: false
   ╰────
  help: declare it: `[params]` `k = …`
"#);
}

#[test]
fn a_text_that_never_ends_is_shown_from_its_beginning() {
    insta::assert_snapshot!(picture("x.toml", "[cells.a]\ncode = '''\nx\n[cells.b]\nlang = 'c'\n"), @r#"
PL001

  × invalid multi-line literal string, expected `'`
   ╭─[x.toml:6:1]
 1 │ [cells.a]
 2 │ code = '''
   ·        ─┬─
   ·         ╰── the text begins here
 3 │ x
 4 │ [cells.b]
 5 │ lang = 'c'
   ╰────
"#);
}

#[test]
fn habits_of_other_languages() {
    insta::assert_snapshot!(
        picture("x.toml", "[cells.a]\nlang: python\n") + &picture("x.md", "# no cells\n"), @r#"
PL001

  × invalid unquoted key, expected letters, numbers, `-`, `_`
   ╭─[x.toml:2:5]
 1 │ [cells.a]
 2 │ lang: python
   ·     ─
   ╰────
  help: TOML writes `key = value`

PL008

  × the flow has no cells
   ╭─[x.md:1:1]
 1 │ # no cells
   · ▲
   ╰────
  help: a cell is a fenced block with its language in braces: ```{python}
"#);
    insta::assert_snapshot!(
        cell("inputs = { x = { form = 'b.c' }, y = { type = 'int' }, z = { x = 1 } }\nstdin = { inptu = 'x' }"), @r#"
PL003

  × unknown key `form` in the input `x`
   ╭─[x.toml:4:18]
 3 │ code = ''
 4 │ inputs = { x = { form = 'b.c' }, y = { type = 'int' }, z = { x = 1 } }
   ·                  ────
 5 │ stdin = { inptu = 'x' }
   ╰────
  help: did you mean `from`? a constant table is written `{ value = {…} }`

PL004

  × the input `y` has a type and no source
   ╭─[x.toml:4:38]
 3 │ code = ''
 4 │ inputs = { x = { form = 'b.c' }, y = { type = 'int' }, z = { x = 1 } }
   ·                                      ────────────────
 5 │ stdin = { inptu = 'x' }
   ╰────
  help: add `from = "CELL.PORT"` or `value = …`

PL003

  × unknown key `inptu` in `stdin`
   ╭─[x.toml:5:11]
 4 │ inputs = { x = { form = 'b.c' }, y = { type = 'int' }, z = { x = 1 } }
 5 │ stdin = { inptu = 'x' }
   ·           ──┬──
   ·             ╰── nobody reads this
   ╰────
  help: did you mean `input`?
"#);
}

#[test]
fn a_secret_is_a_handle_under_a_name_of_its_own() {
    insta::assert_snapshot!(cell("env = { A = 'x' }\nsecrets = { A = 'env:A', PATH = 'env:B', C = 'cmd:a | b', D = 5 }"), @"
    PL042

      × `A` is both a variable of `env` and a secret
       ╭─[x.toml:5:13]
     3 │ code = ''
     4 │ env = { A = 'x' }
       ·         ┬
       ·         ╰── a variable of `env`
     5 │ secrets = { A = 'env:A', PATH = 'env:B', C = 'cmd:a | b', D = 5 }
       ·             ┬
       ·             ╰── a secret
       ╰────
      help: programs see each as a variable of that name: rename one

    PL053

      × the environment variable `PATH` can't be set by a flow
       ╭─[x.toml:5:26]
     4 │ env = { A = 'x' }
     5 │ secrets = { A = 'env:A', PATH = 'env:B', C = 'cmd:a | b', D = 5 }
       ·                          ──┬─
       ·                            ╰── steers the system
       ╰────
      help: choose another name; the program of an executor is set in `[executors.ID]`

    PL048

      × `C` of `secrets`: `|` in `cmd:` would need a shell, and none reads it; put it in single quotes
       ╭─[x.toml:5:46]
     4 │ env = { A = 'x' }
     5 │ secrets = { A = 'env:A', PATH = 'env:B', C = 'cmd:a | b', D = 5 }
       ·                                              ───────────
       ╰────
      help: name the place where the secret is kept; it never stands in the flow file itself

    PL005

      × `D` takes a text, not an int
       ╭─[x.toml:5:63]
     4 │ env = { A = 'x' }
     5 │ secrets = { A = 'env:A', PATH = 'env:B', C = 'cmd:a | b', D = 5 }
       ·                                                               ─
       ╰────
      help: put it in quotes
    ");
}

#[test]
fn handles_are_read() {
    let text = "[cells.a]\nlang = 'python'\ncode = ''\nsecrets = { A = 'env:B', C = 'file:~/c', D = \"cmd:x 'a b'\" }\n";
    let flow = check("x.toml", text, None).flow.unwrap();
    let told: Vec<String> =
        flow.cells[0].secrets.iter().map(|(name, handle)| format!("{name} {handle}")).collect();
    assert_eq!(told, ["A env:B", "C file:~/c", "D cmd:x 'a b'"]);
}

#[test]
fn outputs_that_are_tables_are_read_whole() {
    let outputs = |text: &str| cell(&format!("outputs = {{ x = {{ {text} }} }}"));
    for (text, message, help) in [
        (
            "keep = true",
            "the output `x` has no `type`",
            "valid: `{ type = \"file\", keep = true }`",
        ),
        (
            "type = 'int', protected = true",
            "unknown key `protected` in the output `x`",
            "did you mean `keep`?",
        ),
        (
            "type = 'int', keep = true, temp = true",
            "the output `x` is both `temp` and `keep`",
            "take one of them away",
        ),
        ("type = 'int', temp = 1", "`temp` takes `true` or `false`, not an int", "x.toml:4"),
    ] {
        let picture = outputs(text);
        assert!(picture.contains(message) && picture.contains(help), "{text}: {picture}");
    }
}
