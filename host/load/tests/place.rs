//! Files and folders on disk: which file is meant, what is told of the others, values for params.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use polyloom_load::{Config, Given, Purpose, check_all, find_flow, load, render, template};
use polyloom_model::Value;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn told(folder: &Path) -> String {
    let problem = find_flow(folder).unwrap_err();
    let text = format!("{}; {}", problem.message, problem.help.unwrap());
    text.replace(&folder.display().to_string(), "DIR")
}

#[test]
fn a_folder_means_its_only_flow() {
    for (files, meant) in [
        (&["polyloom.toml", "x.flow.toml", "a.md"][..], "polyloom.toml"),
        (&["x.flow.toml", "a.md", "x.toml"], "x.flow.toml"),
        (&["a.md", "b.txt"], "a.md"),
        (&["a.qmd", "README.md"], "a.qmd"),
    ] {
        let cell = "```{python}\nx = 1\n```\n";
        let text = |name: &str| if name == "a.md" { cell } else { "" };
        let files: Vec<_> = files.iter().map(|name| (*name, text(name))).collect();
        let folder = folder(&files);
        assert_eq!(find_flow(folder.path()).unwrap(), folder.path().join(meant));
    }
}

#[test]
fn prose_is_no_flow() {
    let folder = folder(&[("README.md", "# Title\n\n```python\nx\n```\n"), ("NEWS.md", "x")]);
    assert!(find_flow(folder.path()).is_err());
}

#[test]
fn a_folder_without_a_flow_says_what_is_there() {
    insta::assert_snapshot!(told(folder(&[]).path()), @r#"
no flow file in `DIR`; the folder is empty; expected `polyloom.toml`, `NAME.flow.toml` or `NAME.md`; `polyloom new NAME` begins a project
"#);
    insta::assert_snapshot!(told(folder(&[("a.py", ""), ("b.csv", "")]).path()), @r#"
no flow file in `DIR`; the folder has `a.py`, `b.csv`; expected `polyloom.toml`, `NAME.flow.toml` or `NAME.md`; `polyloom new NAME` begins a project
"#);
    insta::assert_snapshot!(told(folder(&[("a.flow.toml", ""), ("b.flow.toml", "")]).path()), @r#"
several flow files in `DIR`; name one of `a.flow.toml`, `b.flow.toml`
"#);
}

#[test]
fn a_broken_flow_does_not_keep_others_from_being_checked() {
    let folder = folder(&[
        ("a.toml", "x"),
        ("b.toml", "[cells.a]\nlang = 'c'\ncode = ''"),
        ("c.json", "{}"),
    ]);
    std::fs::write(folder.path().join("d.md"), b"\xff\xfe").unwrap();
    std::fs::write(folder.path().join("f.txt"), b"").unwrap();
    let paths: Vec<_> = ["a.toml", "b.toml", "c.json", "d.md", "e.toml", "f.txt"]
        .iter()
        .map(|name| folder.path().join(name))
        .collect();
    let languages = support::languages();
    let given = Given::default();
    let config =
        Config { languages: &languages, purpose: Purpose::Check, given: &given, functions: None };
    let all = check_all(&paths, &config);
    let good: Vec<bool> = all.iter().map(|loaded| loaded.flow.is_some()).collect();
    assert_eq!(good, [false, true, false, false, false, false]);
    let lines: String = all
        .iter()
        .flat_map(|loaded| &loaded.report.problems)
        .map(|problem| format!("{problem}\n").replace(&folder.path().display().to_string(), "DIR"))
        .collect();
    insta::assert_snapshot!(lines, @r#"
DIR/a.toml:1:2: error[PL001]: key with no value, expected `=`
DIR/c.json:1:1: error[PL008]: the flow has no cells
DIR/d.md:1:1: error[PL002]: the file is not UTF-8 from byte 0 on
error[PL002]: can't read `DIR/e.toml`: there is no such file or folder
error[PL002]: `DIR/f.txt` is not a flow file by its name
"#);
}

#[test]
fn values_come_from_the_command_line_before_the_file_before_the_default() {
    let folder = folder(&[
        (
            "x.toml",
            "[params]\na = 1\nb = 2\nc = 3\nd = { type = 'list<float>' }\ne = 'x'\n[cells.a]\nlang = 'c'\ncode = ''",
        ),
        ("values.json", "{\"b\": 20, \"c\": 30}"),
    ]);
    let given = Given {
        sets: vec!["c=300".into(), "d=[1, 2.5]".into(), "e=a=b".into()],
        file: Some(folder.path().join("values.json")),
        seed: None,
    };
    let languages = support::languages();
    let config =
        Config { languages: &languages, purpose: Purpose::Run, given: &given, functions: None };
    let loaded = load(&folder.path().join("x.toml"), &config);
    assert!(loaded.report.is_empty(), "{}", render(&loaded.report, false, 100));
    let params = loaded.flow.unwrap().params;
    let values: Vec<&Value> = params.values().map(|param| &param.value).collect();
    let list = Value::List(vec![Value::Float(1.0), Value::Float(2.5)]);
    assert_eq!(
        values,
        [&Value::Int(1), &Value::Int(20), &Value::Int(300), &list, &Value::Str("a=b".into())]
    );
}

#[test]
fn problems_of_a_params_file_point_into_it() {
    let folder = folder(&[
        ("x.toml", "[params]\na = 1\n[cells.a]\nlang = 'c'\ncode = ''"),
        ("v.toml", "a = 'x'\nbb = 1\n"),
    ]);
    let given = Given { sets: vec![], file: Some(folder.path().join("v.toml")), seed: None };
    let languages = support::languages();
    let config =
        Config { languages: &languages, purpose: Purpose::Run, given: &given, functions: None };
    let report = load(&folder.path().join("x.toml"), &config).report;
    let text = render(&report, false, 200).replace(&folder.path().display().to_string(), "DIR");
    insta::assert_snapshot!(text, @r#"
PL051

  × the value of `a` does not fit: expected int, found str "x"
   ╭─[DIR/v.toml:1:5]
 1 │ a = 'x'
   ·     ─┬─
   ·      ╰── not int
 2 │ bb = 1
   ╰────

PL047

  × the flow has no param `bb`
   ╭─[DIR/v.toml:2:1]
 1 │ a = 'x'
 2 │ bb = 1
   · ──
   ╰────
  help: valid: `a`
"#);
}

#[test]
fn the_new_flow_has_no_problems_and_is_formatted() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in template("some/where/my \"flow\"").unwrap() {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    let languages = support::languages();
    let given = Given::default();
    let config =
        Config { languages: &languages, purpose: Purpose::Run, given: &given, functions: None };
    let loaded = load(folder.path(), &config);
    assert!(loaded.report.is_empty(), "{}", render(&loaded.report, false, 100));
    assert_eq!(loaded.flow.unwrap().name, "my \"flow\"");
    let (_, before, after) = polyloom_load::format_file(folder.path()).unwrap();
    assert_eq!(before, after);
    assert!(template("..").is_err() && template("").is_err());
}
