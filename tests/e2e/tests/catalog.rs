//! `polyloom catalog`: what it shows of files, folders and libraries, and what it reports, as a type checker does.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write as _;

use polyloom_test_e2e::{Place, needs};

const FILE: &str = "def half(x: float, *, by: float = 2.0) -> float:\n    \"\"\"A part of it.\"\"\"\n    return x / by\n\n\ndef bad(a):\n    return a\n";

#[test]
fn functions_are_shown_and_problems_are_where_they_are() {
    needs!("python3");
    let place = Place::new();
    place.write("filters.py", FILE);
    let ended = place.call(&["catalog", "filters.py"]).end().exits(2);
    let (out, err) = (ended.stdout(), ended.stderr());
    assert!(
        out.contains(
            "python:./filters.py:half  x: float, by: float = 2.0  result: float  A part of it."
        ),
        "{out}"
    );
    assert!(!out.contains(":bad"), "{out}");
    assert!(err.contains("filters.py:6:9") && err.contains("PY001"), "{err}");
    assert!(err.contains("1 function: "), "{err}");
    let ended = place.call(&["catalog", "filters.py", "--allow-untyped"]).end().exits(0);
    assert!(ended.stdout().contains("python:./filters.py:bad"), "{}", ended.stdout());
    let err = ended.stderr();
    assert!(err.ends_with("warnings (`-v` shows them)\n") && !err.contains("PY001"), "{err}");
    let told =
        place.call(&["catalog", "filters.py", "--allow-untyped", "-v"]).end().exits(0).stderr();
    assert!(told.ends_with("warnings\n") && told.contains("PY001"), "{told}");
    let json = place.call(&["catalog", "python:./filters.py:half", "--format", "json"]).end();
    let json = json.exits(0).json();
    assert_eq!(json["entries"][0]["params"][0]["default"], 2.0);
    assert!(json["coercions"].as_array().unwrap().iter().any(|it| it["name"] == "widen"));
    assert_eq!(json["version"], 1);
}

#[test]
fn defaults_bounds_and_choices_are_shown() {
    needs!("python3");
    let place = Place::new();
    place.write(
        "f.py",
        "from typing import Annotated, Literal\nfrom annotated_types import Gt\nfrom polyloom import Slider\n\
         def f(a: Annotated[float, Slider(0, 10)] = 4.0, b: Literal[1, 2] = 1, c: Annotated[int, Gt(3)] = 7, d: Literal['x', 'y'] = 'x') -> None: ...\n",
    );
    let out = place.call(&["catalog", "f.py"]).end().exits(0).stdout();
    for words in [
        "a: float (0 to 10) = 4.0",
        "b: int (1, 2) = 1",
        "c: int (greater than 3) = 7",
        "d: enum{x,y} = \"x\"",
    ] {
        assert!(out.replace('\n', " ").contains(words), "{words}: {out}");
    }
}

#[test]
fn what_is_no_place_of_functions_is_told() {
    needs!("python3");
    let place = Place::new();
    place.write("a.py", FILE);
    for (what, words) in [
        ("nowhere.py", "there is no file or folder `nowhere.py`"),
        ("sh:./a.py", "has no typed functions"),
    ] {
        let told = place.call(&["catalog", what]).end().exits(2).stderr();
        assert!(told.contains(words), "{what}: {told}");
    }
    let told = place.call(&["catalog", "python:no_such_library"]).end().exits(2).stderr();
    assert!(told.contains("no_such_library"), "{told}");
}

#[test]
fn libraries_are_read_as_installed() {
    needs!("python3");
    let place = Place::new();
    let ended = place.call(&["catalog", "python:statistics", "--allow-untyped"]).end().exits(0);
    assert!(ended.stdout().contains("python:statistics:fmean"), "{}", ended.stdout());
    // What it lacks is a line each, at its place.
    let told = place.call(&["catalog", "python:statistics"]).end().exits(2).stderr();
    let told: Vec<&str> = told.lines().collect();
    let line = told
        .iter()
        .find(|it| it.starts_with("error[PY001]: `fmean`: parameter `data` has no type (/"));
    let place = line.unwrap().rsplit('/').next().unwrap();
    assert!(place.starts_with("statistics.py:") && place.matches(':').count() == 2, "{place}");
    let errors = told.iter().filter(|it| it.starts_with("error[")).count();
    assert!(told.len() < errors + 25, "{}", told.join("\n"));
}

#[test]
fn a_folder_is_read_by_all_whose_files_are_in_it() {
    needs!("python3", "node");
    let place = Place::new();
    place.write("all/filters.py", FILE);
    place.write("all/js/f.mjs", "/** @returns {number} */\nexport const one = () => 1;\n");
    place.write("all/node_modules/g.mjs", "export const two = 2;\n");
    place.write("none/a.txt", "");
    let shown = place.call(&["catalog", "all"]).end().exits(2).stdout();
    assert!(shown.contains("python:./all/filters.py:half"), "{shown}");
    assert!(shown.contains("javascript:./all/js/f.mjs:one"), "{shown}");
    let shown = place.call(&["catalog", "all", "--executor", "js"]).end().exits(0).stdout();
    assert!(!shown.contains("python"), "{shown}");
    place.write("all/c/add.h", "int add(int a, int b);\n");
    place.write("all/c/add.c", "int add(int a, int b) { return a + b; }\n");
    let shown = place.call(&["catalog", "."]).cwd(place.project().join("all")).end().stdout();
    for id in ["python:./filters.py:half", "javascript:./js/f.mjs:one", "c:./c/add.h:add"] {
        assert!(shown.contains(id), "{id}: {shown}");
    }
    let told = place.call(&["catalog", "none"]).end().exits(2).stderr();
    assert!(told.contains("no executor reads typed functions of `none`"), "{told}");
}

#[test]
fn a_thousand_functions_are_one_answer() {
    needs!("python3");
    let place = Place::new();
    for module in 0..20 {
        let mut text = String::from("from __future__ import annotations\n");
        for at in 0..50 {
            let _ = write!(
                text,
                "\n\ndef f{at}(x: float, y: list[int], *, z: str = \"a\") -> float:\n    return x\n"
            );
        }
        place.write(&format!("pkg/m{module}.py"), text);
    }
    place.write("pkg/__init__.py", "");
    let json = place.call(&["catalog", "pkg", "--format", "json"]).end().exits(0).json();
    assert_eq!(json["entries"].as_array().unwrap().len(), 1000);
}

#[test]
fn source_that_means_harm_reaches_nothing() {
    needs!("python3");
    let place = Place::new();
    let outside = place.root().join("secret.py");
    std::fs::write(&outside, "def secret(x: int) -> int: ...\n").unwrap();
    std::os::unix::fs::symlink(&outside, place.project().join("link.py")).unwrap();
    let told = place.call(&["catalog", "link.py"]).end().exits(2).stderr();
    assert!(!told.contains("secret(x"), "{told}");
    let deep = format!("x = {}1{}\n", "(".repeat(50_000), ")".repeat(50_000));
    place.write("deep.py", format!("{deep}def f(x: int) -> int: ...\n"));
    place.write("long.py", format!("def f(x: {}int) -> int: ...\n", "list[".repeat(3000)));
    place.write("good.py", FILE);
    let ended = place.call(&["catalog", "deep.py", "long.py", "good.py"]).end().exits(2);
    assert!(ended.stdout().contains("python:./good.py:half"), "{}", ended.stderr());
}

/// What the reader was asked to read, as `places` and `known`; nothing where it was not asked.
fn read(place: &Place, what: &[&str]) -> (Vec<String>, Option<(u32, u32)>) {
    let ended = place.call(what).env("POLYLOOM_LOG", "debug").end();
    let (out, told) = (ended.stdout(), ended.stderr());
    let number = |line: &str, key: &str| {
        let (_, rest) = line.split_once(&format!("{key}="))?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let line = told.lines().find(|line| line.contains("typed functions were read"));
    let asked = line.map(|line| (number(line, "places").unwrap(), number(line, "known").unwrap()));
    (out.lines().map(str::to_owned).collect(), asked)
}

#[test]
fn what_no_change_can_touch_is_not_read_again() {
    needs!("python3");
    let place = Place::new();
    let uses = "from lib.shared import Size\n\ndef f(x: Size) -> int: ...\n";
    place.write("pkg/a.py", uses);
    place.write("pkg/b.py", uses);
    place.write("pkg/c.py", "def g(x: int) -> int: ...\n");
    place.write("pkg/d.py", "import later\n\ndef h(x: later.Kind) -> int: ...\n");
    place.write("lib/shared.py", "Size = int\n");
    let catalog = ["catalog", "pkg"];
    let show = || read(&place, &catalog);
    let (first, asked) = show();
    assert_eq!(asked, Some((4, 0)));
    assert_eq!(show(), (first.clone(), None), "nothing has changed");

    place.write("pkg/c.py", "def g(x: float) -> int: ...\n");
    let (shown, asked) = show();
    assert_eq!(asked, Some((1, 3)), "its own file alone");
    assert!(shown.iter().any(|line| line.contains(":g") && line.contains("x: float")), "{shown:?}");
    assert_eq!(show(), (shown, None));

    place.write("lib/shared.py", "Size = str\n");
    let (shown, asked) = show();
    assert_eq!(asked, Some((2, 2)), "those that import it");
    let of = |name: &str| shown.iter().find(|line| line.contains(name)).unwrap().clone();
    assert!(of("a.py:f").contains("x: str") && of("b.py:f").contains("x: str"), "{shown:?}");

    place.write("pkg/e.py", "def i(x: int) -> int: ...\n");
    assert_eq!(show().1, Some((1, 4)), "a new file that nobody speaks of");
    place.write("later.py", "Kind = int\n");
    let (shown, asked) = show();
    assert_eq!(asked, Some((1, 4)), "a new file that one speaks of");
    assert!(shown.iter().any(|line| line.contains("d.py:h") && line.contains("x: int")));
    std::fs::remove_file(place.project().join("pkg/e.py")).unwrap();
    let (shown, asked) = show();
    assert_eq!(asked, Some((0, 4)), "a file that is gone");
    assert!(!shown.iter().any(|line| line.contains("e.py")), "{shown:?}");
    place.write("pkg/__init__.py", "");
    assert_eq!(show().1.unwrap().1, 0, "a folder that is a package now");
}

#[test]
fn ids_can_be_used_as_they_are_in_the_flow_that_is_near() {
    needs!("python3");
    let place = Place::new();
    let id = |cwd: &str, what: &str| {
        let ended = place.call(&["catalog", what]).cwd(place.project().join(cwd)).end();
        let (out, told) = (ended.stdout(), ended.stderr());
        let id =
            out.lines().find_map(|line| line.split_whitespace().find(|it| it.contains(":half")));
        (id.unwrap_or_else(|| panic!("{cwd} {what}: {told}")).to_owned(), told)
    };
    for path in ["lib/filters.py", "sub/own/filters.py", "none/filters.py"] {
        place.write(path, &FILE[..FILE.find("def bad").unwrap()]);
    }
    // Nowhere is a flow.
    assert_eq!(id("", "lib").0, "python:./lib/filters.py:half");
    assert_eq!(id("lib", ".").0, "python:./filters.py:half");
    assert_eq!(id("lib", "../none/filters.py").0, "python:./filters.py:half");
    place.write("polyloom.toml", "[cells.a]\nuses = \"USE\"\nparams = { x = 1 }\n");
    place.write("sub/polyloom.toml", "[cells.a]\nuses = \"USE\"\nparams = { x = 1 }\n");
    let whole = place.project().join("lib/filters.py").display().to_string();
    for (cwd, what, flow, root) in [
        ("", "lib", "", ""),
        ("", ".", "", ""),
        ("", "./lib/../lib/filters.py", "", ""),
        ("", "sub/own", "", ""),
        ("lib", "filters.py", "", ".."),
        ("lib", ".", "", ".."),
        ("none", "../lib/filters.py", "", ".."),
        ("none", &whole, "", ".."),
        ("sub", "own/filters.py", "sub", ""),
        ("sub/own", "filters.py", "sub", ".."),
        ("lib", "../sub/own", "sub", &place.project().join("sub").display().to_string()),
    ] {
        let (id, told) = id(cwd, what);
        assert_eq!(told.contains("ids are those of a flow"), !root.is_empty(), "{cwd}: {told}");
        assert!(told.contains(&format!("`{root}`")) || root.is_empty(), "{cwd}: {told}");
        let file = place.project().join(flow);
        let text = format!("[cells.a]\nuses = \"{id}\"\nparams = {{ x = 1 }}\n");
        std::fs::write(file.join("polyloom.toml"), text).unwrap();
        let _ = place.call(&["check"]).cwd(file).end().exits(0);
    }
}

#[test]
fn warnings_are_errors_where_it_is_strict() {
    needs!("python3");
    let place = Place::new();
    place.write("a.py", "import nowhere_at_all\n\ndef f(x: int) -> int: ...\n");
    let told = place.call(&["catalog", "a.py"]).end().exits(0).stderr();
    assert!(told.contains("PY020") && told.contains("0 errors, 1 warning"), "{told}");
    let told = place.call(&["catalog", "a.py", "--strict"]).end().exits(2).stderr();
    assert!(told.contains("a.py:1:1") && told.contains("1 error, 0 warnings"), "{told}");
    let json =
        place.call(&["catalog", "a.py", "--strict", "--format", "json"]).end().exits(2).json();
    assert_eq!(json["problems"][0]["severity"], "error");
    assert_eq!(json["entries"].as_array().unwrap().len(), 1, "the function stands");
    // What every cell has is there, whatever the reader itself imports.
    let good = "import asyncio, math, polyloom, sys, xml.etree\nfrom polyloom import Slider\n";
    place.write("b.py", format!("{good}\ndef f(x: int) -> int: ...\n"));
    let _ = place.call(&["catalog", "b.py", "--strict"]).end().exits(0);
}
