//! Maps, conditions and flows within flows: what is understood, and what is wrong with what is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use polyloom_load::{Config, Given, Loaded, Purpose};
use polyloom_model::{Items, Role, Source, Type, Value};
use support::{check, languages, picture};

#[test]
fn axes_are_lists_of_every_kind() {
    let text = r#"
[params.seeds]
type = "list<int>"
default = [1, 2]
[cells.load]
lang = "python"
code = ""
outputs = { names = "list<str>", any = "any" }
[cells.train]
lang = "python"
code = ""
outputs = { score = "float", model = "file" }
[cells.train.map]
lr = [0.1, 1]
seed = "param:seeds"
name = "load.names"
any = { from = "load.any", type = "int" }
kind = { value = [1, 2], type = "float" }
file = "glob:data/*.csv"
[cells.best]
lang = "python"
code = ""
inputs = { scores = "train.score", models = "train.model" }
"#;
    let loaded = check("x.toml", text, None);
    assert!(loaded.report.is_empty(), "{:?}", loaded.report.problems);
    let flow = loaded.flow.unwrap();
    let train = &flow.cells[1];
    let types: Vec<String> =
        train.inputs.iter().map(|(port, input)| format!("{port}: {}", input.ty)).collect();
    assert_eq!(
        types,
        ["any: int", "file: file", "kind: float", "lr: float", "name: str", "seed: int"]
    );
    assert!(train.inputs.values().all(|input| input.source == Source::Item));
    let axis = |name: &str| &train.map.iter().find(|it| it.port.as_str() == name).unwrap().items;
    let list = Value::List(vec![Value::Float(0.1), Value::Float(1.0)]);
    assert_eq!(*axis("lr"), Items::Of(Source::Value(list)));
    assert_eq!(*axis("file"), Items::Glob("data/*.csv".into()));
    let best = &flow.cells[2];
    let ty = |name: &str| best.inputs.iter().find(|it| it.0.as_str() == name).unwrap().1.ty.clone();
    assert_eq!(ty("scores"), Type::List(Box::new(Type::Float)));
    assert_eq!(ty("models"), Type::Dir);
}

#[test]
fn what_is_no_axis_is_refused() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'python'
code = ''
outputs = { n = 'int', t = 'image' }
[cells.b]
lang = 'python'
code = ''
inputs = { twice = 'a.n' }
map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
[cells.c]
lang = 'python'
code = ''
map = {}
[cells.d]
lang = 'python'
code = ''
map = [1]
"#), @r#"
PL049

  × the cell is mapped over `n`, which is int, not a list
    ╭─[x.toml:9:13]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·             ─────
 10 │ [cells.c]
    ╰────
  help: valid: `[…]`, a `list<…>` of a param or a cell, a `table`, `file:ROWS.csv`, `glob:*.txt`

PL049

  × the cell is mapped over `t`, which is image, not a list
    ╭─[x.toml:9:24]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                        ─────
 10 │ [cells.c]
    ╰────
  help: valid: `[…]`, a `list<…>` of a param or a cell, a `table`, `file:ROWS.csv`, `glob:*.txt`

PL047

  × the flow has no param `x`
    ╭─[x.toml:9:35]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                   ─────────
 10 │ [cells.c]
    ╰────
  help: declare it: `[params]` `x = …`

PL049

  × `glob:data.csv` has no `*`
    ╭─[x.toml:9:50]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                  ───────────────
 10 │ [cells.c]
    ╰────
  help: valid: `glob:data/*.csv`, `glob:data/**/*.csv`

PL031

  × `../*` is outside of the flow's folder
    ╭─[x.toml:9:71]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                                       ───────────
 10 │ [cells.c]
    ╰────
  help: valid: a path relative to the flow's folder, without `..`; copy the file there

PL049

  × the cell is mapped over `f`, which is a file that is none of `.json`, `.csv`, `.tsv`,
  │ `.arrow`, not a list
    ╭─[x.toml:9:88]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                                                        ────────────
 10 │ [cells.c]
    ╰────
  help: valid: `[…]`, a `list<…>` of a param or a cell, a `table`, `file:ROWS.csv`, `glob:*.txt`

PL046

  × `words` is not an input
    ╭─[x.toml:9:106]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                                                                          ───┬───
    ·                                                                                                             ╰── expected `CELL.PORT`, `file:PATH` or `param:NAME`
 10 │ [cells.c]
    ╰────
  help: a constant is written `{ value = "words" }`

PL049

  × the cell is mapped over `v`, which is a constant, not a list
    ╭─[x.toml:9:129]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                                                                                                 ─
 10 │ [cells.c]
    ╰────
  help: valid: `[…]`, a `list<…>` of a param or a cell, a `table`, `file:ROWS.csv`, `glob:*.txt`

PL051

  × an item does not fit: expected int, found str "x"
    ╭─[x.toml:9:148]
  8 │ inputs = { twice = 'a.n' }
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                                                                                                                    ─────
 10 │ [cells.c]
    ╰────

PL042

  × `twice` is both an input and an item of `map` of one cell
    ╭─[x.toml:9:171]
  7 │ code = ''
  8 │ inputs = { twice = 'a.n' }
    ·            ──┬──
    ·              ╰── an input
  9 │ map = { n = 'a.n', t = 'a.t', p = 'param:x', g = 'glob:data.csv', o = 'glob:../*', f = 'file:x.txt', s = 'words', v = { value = 3 }, w = { value = ['x'], type = 'int' }, twice = [1] }
    ·                                                                                                                                                                           ──┬──
    ·                                                                                                                                                                             ╰── an item of `map`
 10 │ [cells.c]
    ╰────
  help: code sees both under one name: rename one

PL049

  × `map` has no axis
    ╭─[x.toml:13:7]
 12 │ code = ''
 13 │ map = {}
    ·       ──
 14 │ [cells.d]
    ╰────
  help: valid: `map = { n = [1, 2, 3] }`

PL005

  × `map` takes a table, not a list
    ╭─[x.toml:17:7]
 16 │ code = ''
 17 │ map = [1]
    ·       ───
    ╰────
"#);
}

#[test]
fn conditions_ask_for_values_of_inputs() {
    insta::assert_snapshot!(picture("x.toml", r#"[cells.a]
lang = 'python'
code = ''
outputs = { n = 'int', t = 'table' }
[cells.b]
lang = 'python'
code = ''
inputs = { n = 'a.n', t = 'a.t' }
when = 'm > 1 and n in [1, 2]'
[cells.c]
lang = 'python'
code = ''
inputs = { n = 'a.n', t = 'a.t' }
when = 'len(t) > 0'
[cells.d]
lang = 'python'
code = ''
inputs = { n = 'a.n' }
when = 'n = 1'
[cells.e]
lang = 'python'
code = ''
when = true
"#), @r#"
PL055

  × `when` asks for `m`, which is no input of the cell
    ╭─[x.toml:9:8]
  8 │ inputs = { n = 'a.n', t = 'a.t' }
  9 │ when = 'm > 1 and n in [1, 2]'
    ·        ───────────────────────
 10 │ [cells.c]
    ╰────
  help: valid: `n`, `t`

PL055

  × `when` asks for `t`, which is a table, not a value
    ╭─[x.toml:14:8]
 13 │ inputs = { n = 'a.n', t = 'a.t' }
 14 │ when = 'len(t) > 0'
    ·        ────────────
 15 │ [cells.d]
    ╰────

PL055

  × the condition can't be read: expected `and`, `or`, a comparison or the end at position 3
    ╭─[x.toml:19:8]
 18 │ inputs = { n = 'a.n' }
 19 │ when = 'n = 1'
    ·        ───────
 20 │ [cells.e]
    ╰────
  help: valid: `n > 10 and mode == 'full'`; names are the cell's inputs

PL005

  × `when` takes a text, not a bool
    ╭─[x.toml:23:8]
 22 │ code = ''
 23 │ when = true
    ·        ────
    ╰────
  help: put it in quotes
"#);
}

/// A folder with flows in it; loads one for a purpose.
fn load(files: &[(&str, &str)], name: &str, purpose: Purpose) -> (tempfile::TempDir, Loaded) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let languages = languages();
    let given = Given::default();
    let config = Config { languages: &languages, purpose, given: &given, functions: None };
    let loaded = polyloom_load::load(&folder.path().join(name), &config);
    (folder, loaded)
}

/// What the user sees, with the folder's name left out.
fn told((folder, loaded): &(tempfile::TempDir, Loaded)) -> String {
    let text = polyloom_load::render(&loaded.report, false, 100);
    text.replace(&format!("{}/", folder.path().display()), "")
}

const PART: &str = r#"
[params]
n = { type = "int" }
t = { type = "table" }
usual = 3
[cells.x]
lang = "python"
file = "x.py"
inputs = { n = "param:n", t = "param:t", u = "param:usual", d = "file:d.csv" }
outputs = { y = "float" }
[outputs]
y = "x.y"
"#;

#[test]
fn a_flow_is_a_cell_with_its_params_as_inputs() {
    let main = r#"
[cells.a]
lang = "python"
code = ""
outputs = { t = "table" }
[cells.s]
flow = "parts/part.toml"
inputs = { t = "a.t" }
params = { n = 3 }
[cells.m]
flow = "parts/part.toml"
map = { n = [1, 2] }
inputs = { t = "a.t" }
[cells.z]
lang = "python"
code = ""
inputs = { y = "s.y", all = "m.y" }
"#;
    let files = [
        ("polyloom.toml", main),
        ("parts/part.toml", PART),
        ("parts/x.py", "y = n"),
        ("parts/d.csv", "1"),
    ];
    let loaded = load(&files, "polyloom.toml", Purpose::Run);
    assert_eq!(told(&loaded), "");
    let flow = loaded.1.flow.as_ref().unwrap();
    let Role::Flow(sub) = &flow.cells[1].role else { panic!() };
    assert_eq!(sub.folder, Path::new("parts"));
    assert_eq!(&*sub.flow.cells[0].code.bytes, b"y = n");
    let z = &flow.cells[3].inputs;
    let types: Vec<String> = z.values().map(|input| input.ty.to_string()).collect();
    assert_eq!(types, ["list<float>", "float"]);
    // By itself it has no table to read.
    let alone = load(&files, "parts/part.toml", Purpose::Run);
    insta::assert_snapshot!(told(&alone), @r#"
    PL054

      × the param `n` has no value
       ╭─[parts/part.toml:3:1]
     2 │ [params]
     3 │ n = { type = "int" }
       · ─
     4 │ t = { type = "table" }
       ╰────
      help: give one: `-p n=VALUE`, or set `default`

    PL054

      × the param `t` has no value
       ╭─[parts/part.toml:4:1]
     3 │ n = { type = "int" }
     4 │ t = { type = "table" }
       · ─
     5 │ usual = 3
       ╰────
      help: only a flow that this one is a cell of can give it: `flow = "FILE"`
    "#);
}

#[test]
fn what_can_not_be_a_cell_says_so() {
    let main = r#"
[cells.a]
flow = "parts/part.toml"
lang = "python"
when = "n > 1"
inputs = { m = { value = 1 }, n = { value = "x" } }
[cells.b]
flow = "parts/broken.toml"
[cells.c]
flow = "polyloom.toml"
[cells.d]
flow = "../x.toml"
[cells.e]
flow = "nothing.toml"
[cells.f]
flow = "parts/x.py"
[cells.g]
lang = "python"
code = ""
inputs = { q = "a.q", y = "b.y" }
"#;
    let files = [
        ("polyloom.toml", main),
        ("parts/part.toml", PART),
        ("parts/x.py", "y = n"),
        ("parts/d.csv", "1"),
        (
            "parts/broken.toml",
            "[cells.x]\nlang = 'python'\n[outputs]\ny = 'x.y'\nz = 'w.q'\nv = 'x'\n",
        ),
    ];
    insta::assert_snapshot!(told(&load(&files, "polyloom.toml", Purpose::Run)), @r#"
    PL002

      × `parts/x.py` is not a flow file by its name
      help: valid: *.toml, *.json, *.md, *.qmd

    PL004

      × the cell `x` has no code
       ╭─[parts/broken.toml:1:8]
     1 │ [cells.x]
       ·        ─
     2 │ lang = 'python'
       ╰────
      help: valid: `file = "FILE"` or `code = '''…'''`

    PL054

      × `a` gives the flow no `t`
       ╭─[polyloom.toml:2:8]
     1 │
     2 │ [cells.a]
       ·        ─
     3 │ flow = "parts/part.toml"
       ╰────
      help: add `t` (table) to its `inputs`

    PL056

      × `lang` has no place in a cell that is a flow
       ╭─[polyloom.toml:4:1]
     2 │ [cells.a]
     3 │ flow = "parts/part.toml"
       ·        ────────┬────────
       ·                ╰── `a` is this flow
     4 │ lang = "python"
       · ────
     5 │ when = "n > 1"
       ╰────
      help: it may have flow, inputs, params, map, when, tags, doc; the rest is said in the flow

    PL041

      × the cell `x` has no output `y`
       ╭─[parts/broken.toml:4:5]
     3 │ [outputs]
     4 │ y = 'x.y'
       ·     ─────
     5 │ z = 'w.q'
       ╰────

    PL040

      × there is no cell `w`
       ╭─[parts/broken.toml:5:5]
     4 │ y = 'x.y'
     5 │ z = 'w.q'
       ·     ─────
     6 │ v = 'x'
       ╰────

    PL046

      × `x` is not an output of a cell
       ╭─[parts/broken.toml:6:5]
     5 │ z = 'w.q'
     6 │ v = 'x'
       ·     ─┬─
       ·      ╰── expected `CELL.PORT`
       ╰────

    PL047

      × the flow of `a` has no param `m`
       ╭─[polyloom.toml:6:26]
     5 │ when = "n > 1"
     6 │ inputs = { m = { value = 1 }, n = { value = "x" } }
       ·                          ─
     7 │ [cells.b]
       ╰────
      help: valid: `n`, `t`, `usual`

    PL051

      × the value of `n` does not fit: expected int, found str "x"
       ╭─[polyloom.toml:6:45]
     5 │ when = "n > 1"
     6 │ inputs = { m = { value = 1 }, n = { value = "x" } }
       ·                                             ─┬─
       ·                                              ╰── not int
     7 │ [cells.b]
       ╰────

    PL056

      × `polyloom.toml` contains itself
        ╭─[polyloom.toml:10:8]
      9 │ [cells.c]
     10 │ flow = "polyloom.toml"
        ·        ───────────────
     11 │ [cells.d]
        ╰────

    PL031

      × `../x.toml` is outside of the flow's folder
        ╭─[polyloom.toml:12:8]
     11 │ [cells.d]
     12 │ flow = "../x.toml"
        ·        ───────────
     13 │ [cells.e]
        ╰────
      help: valid: a path relative to the flow's folder, without `..`; copy the file there

    PL030

      × the file `nothing.toml` does not exist
        ╭─[polyloom.toml:14:8]
     13 │ [cells.e]
     14 │ flow = "nothing.toml"
        ·        ──────────────
     15 │ [cells.f]
        ╰────
      help: paths are relative to the flow's folder

    PL041

      × the cell `a` has no output `q`
       ╭─[polyloom.toml:2:8]
     1 │
     2 │ [cells.a]
       ·        ┬
       ·        ╰── this cell
     3 │ flow = "parts/part.toml"
       ╰────
        ╭─[polyloom.toml:20:16]
     19 │ code = ""
     20 │ inputs = { q = "a.q", y = "b.y" }
        ·                ─────
        ╰────
      help: valid: `y`
    "#);
}

#[test]
fn flows_that_contain_each_other_are_found() {
    let one = "[cells.a]\nflow = 'b.toml'\n";
    let other = "[cells.b]\nflow = 'a.toml'\n";
    let files = [("a.toml", one), ("b.toml", other)];
    insta::assert_snapshot!(told(&load(&files, "a.toml", Purpose::Run)), @r#"
    PL056

      × `a.toml` contains itself
       ╭─[b.toml:2:8]
     1 │ [cells.b]
     2 │ flow = 'a.toml'
       ·        ────────
       ╰────
    "#);
}

/// What a check and a run say of a flow in a folder with links.
#[test]
fn patterns_that_find_nothing_and_links_that_are_left_out_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["data/a.csv", "dir/x/a"] {
        std::fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
        std::fs::write(path.join(name), "").unwrap();
    }
    for (to, link) in [("/etc/passwd", "out"), ("nothing", "lost"), ("a.csv", "in")] {
        std::os::unix::fs::symlink(to, path.join(format!("data/{link}.csv"))).unwrap();
    }
    std::os::unix::fs::symlink("a", path.join("dir/x/link")).unwrap();
    let root = polyloom_load::Root::open(path).unwrap();
    let text = "
[cells.a]
lang = 'sh'
map = { f = 'glob:data/*.csv', g = 'glob:**/*.tsv' }
inputs = { d = 'file:dir' }
code = 'ls'
";
    let told = |purpose| {
        let loaded = support::check_for(
            "polyloom.toml",
            &text.replace("'sh'", "'bash'"),
            Some(&root),
            purpose,
            &polyloom_load::Given::default(),
        );
        polyloom_load::render(&loaded.report, false, 120)
    };
    insta::assert_snapshot!(told(Purpose::Check), @"
    PL033

      ⚠ `data/lost.csv` and 1 more fit `glob:data/*.csv` and are left out
       ╭─[polyloom.toml:4:13]
     3 │ lang = 'bash'
     4 │ map = { f = 'glob:data/*.csv', g = 'glob:**/*.tsv' }
       ·             ─────────────────
     5 │ inputs = { d = 'file:dir' }
       ╰────
      help: a link that leads out of the flow's folder, or to nothing; copy the file there

    PL033

      ⚠ no file matches `glob:**/*.tsv`
       ╭─[polyloom.toml:4:36]
     3 │ lang = 'bash'
     4 │ map = { f = 'glob:data/*.csv', g = 'glob:**/*.tsv' }
       ·                                    ───────────────
     5 │ inputs = { d = 'file:dir' }
       ╰────
      help: the cell has no steps; links to folders are not followed, and names with a dot in front only match a pattern
            with one

    PL032

      × `x/link` in the folder `dir` is a link
       ╭─[polyloom.toml:5:16]
     4 │ map = { f = 'glob:data/*.csv', g = 'glob:**/*.tsv' }
     5 │ inputs = { d = 'file:dir' }
       ·                ──────────
     6 │ code = 'ls'
       ╰────
      help: a folder that is an input holds files and folders only; copy what the link leads to
    ");
    // A run looks into the folder itself.
    assert!(!told(Purpose::Run).contains("PL032"));
    assert!(told(Purpose::Run).contains("PL033"));
}

/// Who gives a list or a pattern to a cell that takes one thing means a map.
#[test]
fn a_list_where_one_is_taken_is_told_of_maps() {
    for (inputs, help) in [
        (
            "{ n = { from = 'a.ns', type = 'int' } }",
            "`map = { n = \"a.ns\" }` runs the cell once for each item",
        ),
        (
            "{ n = { from = 'a.ns', type = 'float' } }",
            "`map = { n = \"a.ns\" }` runs the cell once for each item",
        ),
        ("{ n = { from = 'a.ns', type = 'file' } }", "declare the input `n` as list<int>"),
        (
            "{ n = 'glob:x/*.csv' }",
            "`map = { NAME = \"glob:x/*.csv\" }` runs the cell once for each file",
        ),
    ] {
        let text = format!(
            "[cells.a]\nlang = 'sh'\ncode = ''\noutputs = {{ ns = 'list<int>' }}\n[cells.b]\nlang = 'sh'\ncode = ''\ninputs = {inputs}\n"
        );
        let told = polyloom_load::render(&check("x.toml", &text, None).report, false, 200);
        assert!(told.contains(help), "{told}");
    }
}
