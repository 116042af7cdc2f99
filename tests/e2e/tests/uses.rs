//! Cells that are calls of typed functions, as a user runs them: what flows between them, what is refused before, what is told after, what runs again.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};

const FUNCTIONS: &str = r#"
from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Iterator, NamedTuple, Optional

from helper import twice


class Mode(enum.Enum):
    UP = 1
    DOWN = 2


@dataclass
class Point:
    x: float
    y: float


class Ends(NamedTuple):
    low: float
    high: float


def numbers(count: int, *, start: float = 1.0) -> list[float]:
    """Numbers in a row."""
    return [start + at for at in range(count)]


def ends(values: list[float], mode: Mode = Mode.UP, limit: Optional[float] = None) -> Ends:
    values = sorted(values, reverse=mode is Mode.DOWN)
    return Ends(values[0], values[-1] if limit is None else limit)


def point(x: float, y: float) -> Point:
    return Point(twice(x), y)


def length(point: Point) -> float:
    return (point.x**2 + point.y**2) ** 0.5


def lying(x: float) -> int:
    return "no"


def items(count: int) -> Iterator[int]:
    yield from range(count)


async def later(x: int) -> str:
    return f"later {x}"


def either(x: int | str | None) -> str:
    return f"{type(x).__name__}"


def grows(values: list[float]) -> float:
    values.append(1.0)
    return sum(values)


def leaves(x: float) -> float:
    raise SystemExit(0)


def stumbles(x: float) -> float:
    return twice(x) / 0
"#;

const HELPER: &str = "def twice(x: float) -> float:\n    return x * 2\n";

fn place(flow: &str) -> Place {
    let place = Place::flow(flow);
    place.write("functions.py", FUNCTIONS);
    place.write("helper.py", HELPER);
    place
}

fn cell(id: &str, function: &str, rest: &str) -> String {
    format!("[cells.{id}]\nuses = \"python:./functions.py:{function}\"\n{rest}\n")
}

/// What a value is, as `show` has it.
fn shown(place: &Place, what: &str) -> String {
    let text = place.call(&["show", what]).end().exits(0).stdout();
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[test]
fn types_flow_between_functions() {
    needs!("python3");
    let flow = [
        cell("numbers", "numbers", "params = { count = 4 }"),
        cell(
            "ends",
            "ends",
            "inputs = { values = \"numbers.result\" }\nparams = { mode = \"DOWN\" }",
        ),
        cell("point", "point", "inputs = { x = \"ends.low\", y = \"ends.high\" }"),
        cell("length", "length", "inputs = { point = \"point.result\" }"),
        cell("items", "items", "params = { count = 3 }"),
        cell("later", "later", "params = { x = 7 }"),
        cell("either", "either", "inputs = { x = \"later.result\" }"),
    ]
    .concat();
    let place = place(&flow);
    let _ = place.polyloom(&["check"]).exits(0);
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran().len(), 7);
    assert_eq!(shown(&place, "ends.low"), "4.0");
    assert_eq!(shown(&place, "ends.high"), "1.0");
    assert!(shown(&place, "length.result").starts_with("8.06"), "sqrt(8² + 1²)");
    assert!(shown(&place, "items.result").contains('2'));
    assert!(shown(&place, "later.result").contains("later 7"));
    assert!(shown(&place, "either.result").contains("str"));
}

#[test]
fn constants_are_what_is_written_or_what_a_parameter_takes() {
    needs!("python3");
    let place = Place::flow(
        "[cells.f]\nuses = \"python:./f.py:f\"\nparams = { p = { x = 2.5, n = 3 }, any = [1, 2.5], floats = [1, 2.5] }\n\
         [cells.c]\nlang = \"python\"\ncode = \"print(m, big, small)\"\n\
         inputs = { m = { lr = 0.1, epochs = 10 }, big = [9007199254740993, 0.5], small = [1, 2.5] }\n",
    );
    place.write(
        "f.py",
        "from dataclasses import dataclass\nfrom typing import Union\n@dataclass\nclass P:\n    x: float\n    n: int\n\
         def f(p: P, any: list[Union[int, float]], floats: list[float]) -> str:\n    return f\"{p} {any} {floats}\"\n",
    );
    let _ = place.run(&[]).exits(0);
    assert!(shown(&place, "f.result").contains("P(x=2.5, n=3) [1, 2.5] [1.0, 2.5]"));
    let printed = place.call(&["logs", "c"]).end().exits(0).stdout();
    assert_eq!(printed, "{'epochs': 10, 'lr': 0.1} [9007199254740993, 0.5] [1.0, 2.5]\n");
}

#[test]
fn an_edit_of_another_function_runs_nothing() {
    needs!("python3");
    let flow = [
        cell("point", "point", "params = { x = 1, y = 2 }"),
        cell("numbers", "numbers", "params = { count = 2 }"),
    ]
    .concat();
    let place = place(&flow);
    let _ = place.run(&[]).exits(0);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    place.edit("functions.py", "return f\"later {x}\"", "return f\"sooner {x}\"");
    place.edit("functions.py", "def numbers(", "# a comment\n\n\ndef numbers(");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0], "nothing that they reach");
    place.edit("helper.py", "x * 2", "x * 3");
    assert_eq!(place.run(&[]).exits(0).ran(), ["point"], "what it reaches in another file");
    let why = place.call(&["why", "numbers"]).end().exits(0).stdout();
    assert!(why.contains("no part of its key changed"), "{why}");
    place.edit("functions.py", "start + at", "start - at");
    assert_eq!(place.run(&[]).exits(0).ran(), ["numbers"]);
}

#[test]
fn what_does_not_fit_is_told_before_anything_runs() {
    needs!("python3");
    let flow = [
        cell("a", "numbers", "params = { count = \"many\" }"),
        cell("b", "numbers", ""),
        cell("c", "numbers", "params = { count = 1, begin = 2.0 }"),
        cell("d", "length", "inputs = { point = \"good.result\" }"),
        cell("e", "nubmers", ""),
        cell("f", "numbers", "lang = \"sh\"\ncode = \"true\"\nparams = { count = 1 }"),
        cell("good", "numbers", "params = { count = 1 }\noutputs = { result = \"int\" }"),
        "[cells.g]\nuses = \"python:../functions.py:numbers\"\n".to_owned(),
        "[cells.h]\nuses = \"python:./gone.py:numbers\"\n".to_owned(),
        "[cells.i]\nuses = \"sh:./a.sh:numbers\"\n".to_owned(),
        "[cells.j]\nuses = \"numbers\"\n".to_owned(),
        "[cells.k]\nuses = \"python:not_installed_here:f\"\n".to_owned(),
    ]
    .concat();
    let place = place(&flow);
    let told = place.call(&["check"]).end().exits(2).stderr();
    for words in [
        "the value of `count` does not fit: expected int, found str \"many\"",
        "`b` gives the function no `count` (int)",
        "`python:./functions.py:numbers` has no parameter `begin`",
        "types don't fit: the source is list<float>, the input `point` is record{x:float,y:float}",
        "`./functions.py` has no function `nubmers`",
        "did you mean `numbers`?",
        "`code` has no place beside `uses`",
        "`lang` is another than that of `uses`",
        "`result` is declared as int, and the function gives list<float>",
        "`../functions.py` is outside of the flow's folder",
        "the file `./gone.py` does not exist",
        "`sh` has no typed functions",
        "`numbers` is not the id of a function",
        "not_installed_here",
    ] {
        assert!(told.replace("\n  │ ", " ").contains(words), "{words}\n{told}");
    }
}

#[test]
fn choices_and_bounds_are_told_where_the_flow_breaks_them() {
    needs!("python3");
    let text = "import enum\nfrom dataclasses import dataclass\nfrom typing import Annotated, Literal\n\
        from annotated_types import Ge, Len\nfrom polyloom import Slider\n\n\
        class Mode(enum.Enum):\n    UP = 1\n    DOWN = 2\n\n\
        @dataclass\nclass Kernel:\n    size: Annotated[int, Ge(1)]\n\n\
        def f(n: Literal[1, 2] = 1, s: Annotated[float, Slider(0, 10)] = 1.0, m: Mode = Mode.UP,\n\
        \x20     k: Kernel | None = None, xs: Annotated[list[int], Len(2, 3)] = (1, 2)) -> int:\n    return n\n\n\
        def g(n: Annotated[int, Slider(0, 10)] = 11, m: int = \"much\") -> int:\n    return n\n";
    for (set, words) in [
        ("n = 3", "expected one of 1, 2, found int 3"),
        ("s = 11", "expected 0 to 10, found float 11"),
        ("m = \"up\"", "expected enum{UP,DOWN}, found str \"up\""),
        ("k = { size = 0 }", ".size: expected at least 1, found int 0"),
        ("xs = [1]", "expected 2 to 3 items, found list of 1"),
    ] {
        let place =
            Place::flow(&format!("[cells.a]\nuses = \"python:./f.py:f\"\nparams = {{ {set} }}\n"));
        place.write("f.py", text);
        let told = place.call(&["check"]).end().exits(2).stderr();
        let told = told.replace("\n  │ ", " ");
        for words in [words, "polyloom.toml:3:", "polyloom catalog python:./f.py:f"] {
            assert!(told.contains(words), "{words}\n{told}");
        }
    }
    let place = Place::flow(
        "[cells.a]\nuses = \"python:./f.py:f\"\nparams = { n = 2, s = 0, m = \"DOWN\", k = { size = 1 }, xs = [1, 2, 3] }\n\
         [cells.b]\nuses = \"python:./f.py:f\"\nmap = { n = [1, 5] }\n",
    );
    place.write("f.py", text);
    let told = place.call(&["check"]).end().exits(2).stderr();
    assert_eq!(told.matches("does not fit").count(), 1, "{told}");
    assert!(told.contains("expected one of 1, 2, found int 5"), "{told}");
    // What a function itself says wrongly is told where it says so, and it stands.
    let ended = place.call(&["catalog", "f.py"]).end().exits(2);
    assert!(ended.stdout().contains("f.py:g"), "{}", ended.stdout());
    let told = ended.stderr();
    for words in ["f.py:19:7", "expected 0 to 10, found int 11", "f.py:19:46", "found str \"much\""]
    {
        assert!(told.contains(words), "{words}\n{told}");
    }
}

#[test]
fn what_is_misnamed_is_told_at_the_line_of_the_flow_and_once() {
    needs!("python3");
    let flow = [
        cell("e", "nubmers", "session = \"main\""),
        "[cells.s]\nlang = \"python\"\nsession = \"main\"\ncode = \"x = 1\"\n".to_owned(),
        cell("n", "numbers", "params = { count = 1 }"),
        cell("l", "length", "inputs = { point = \"n.result\" }"),
    ]
    .concat();
    let place = place(&flow);
    let told = place.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("polyloom.toml:2:8"), "{told}");
    assert!(told.contains("did you mean `numbers`?"), "{told}");
    assert!(!told.contains("PL013"), "{told}");
    assert!(!told.contains("declare the input"), "{told}");
    assert!(told.contains("convert in a cell between them; `polyloom catalog"), "{told}");
}

#[test]
fn a_value_of_another_type_fails_the_cell_and_names_it() {
    needs!("python3");
    for (function, with, words) in [
        ("lying", "params = { x = 1 }", "expected int, found str"),
        ("grows", "params = { values = [1, 2] }", "`values`"),
        ("leaves", "params = { x = 1 }", "`leaves` ended the program"),
        ("stumbles", "params = { x = 1 }", "division by zero"),
    ] {
        let place = place(&cell("a", function, with));
        let run = place.run(&[]).exits(1);
        assert_eq!(run.outcome("a"), "failed", "{function}");
        let told = run.messages("a");
        assert!(told.contains(words), "{function}: {told}");
    }
    // In the author's file, at the line.
    let place = place(&cell("a", "stumbles", "params = { x = 1 }"));
    let told = place.call(&["run"]).end().exits(1).stderr();
    assert!(told.contains("functions.py:"), "{told}");
}

#[test]
fn broken_files_take_nothing_from_others() {
    needs!("python3");
    let good = cell("good", "numbers", "params = { count = 1 }");
    for (name, text) in [
        ("syntax.py", &b"def f(x: int) -> int:\n    return (\n"[..]),
        ("bytes.py", b"def f(x: int) -> int:\n    return '\xff\xfe'\n"),
        ("untyped.py", b"def f(x):\n    return x\n"),
        ("circle.py", b"from circle import A\nA = 'A'\ndef f(x: A) -> int:\n    return 1\n"),
        ("unknown.py", b"def f(x: Nowhere) -> int:\n    return 1\n"),
        ("call.py", b"def f(x: print(1)) -> int:\n    return 1\n"),
        ("module.py", b"import nowhere\nraise SystemExit(7)\ndef g(x: int) -> int: ...\n"),
    ] {
        let flow =
            format!("{good}[cells.bad]\nuses = \"python:./{name}:f\"\nparams = {{ x = 1 }}\n");
        let place = place(&flow);
        place.write(name, text);
        let told = place.call(&["check"]).end().exits(2).stderr();
        assert!(told.contains(name), "{name}: {told}");
        assert!(!told.contains("`good`") && !told.contains("functions.py"), "{name}: {told}");
        // Where nobody uses it, it is nothing.
        place.write("polyloom.toml", &good);
        let _ = place.polyloom(&["check"]).exits(0);
    }
}

#[test]
fn reading_runs_nothing_and_a_warm_check_starts_nothing() {
    needs!("python3");
    let place = place(&cell("a", "numbers", "params = { count = 1 }"));
    let canary = place.root().join("canary");
    let text = format!("open({:?}, 'w').write('ran')\n{FUNCTIONS}", canary.display().to_string());
    place.write("functions.py", &text);
    let check = || place.call(&["check"]).env("POLYLOOM_LOG", "debug").end().exits(0).stderr();
    let reads = "typed functions were read";
    assert!(check().contains(reads));
    assert!(!canary.exists(), "its source was run");
    let told = check();
    assert!(!told.contains(reads) && !told.contains("spawner"), "{told}");
    // It would be told if there were something to read.
    place.write("functions.py", format!("{text}\n"));
    assert!(check().contains(reads));
}

#[test]
fn streams_of_random_numbers_are_of_the_flow_and_the_cell() {
    needs!("python3");
    let text = "from polyloom import Context, Seed\nfrom typing import Annotated\n\n\
        def draw(ctx: Context) -> int:\n    return ctx.seed\n\n\
        def given(seed: Annotated[int, Seed()]) -> int:\n    return seed\n\n\
        def none(x: int) -> int:\n    return x\n";
    let flow = "[cells.a]\nuses = \"python:./draw.py:draw\"\n[cells.b]\nuses = \"python:./draw.py:given\"\n\
        [cells.c]\nuses = \"python:./draw.py:given\"\nparams = { seed = 5 }\n\
        [cells.d]\nuses = \"python:./draw.py:none\"\nparams = { x = 1 }\n\
        [cells.e]\nuses = \"python:./draw.py:draw\"\nseed = 9\n";
    let place = Place::flow(flow);
    place.write("draw.py", text);
    let _ = place.run(&[]).exits(0);
    let value = |what: &str| shown(&place, what).trim().parse::<i64>().unwrap();
    let (a, b) = (value("a.result"), value("b.result"));
    assert!(a != b && a > 0 && b > 0);
    assert_eq!((value("c.result"), value("e.result")), (5, 9));
    // protocol/vectors/seeds.json: what it is does not change.
    assert_eq!(place.run(&["--seed", "0"]).exits(0).ran(), [""; 0]);
    let mut ran = place.run(&["--seed", "1"]).exits(0).ran();
    ran.retain(|cell| cell != "c");
    assert_eq!(ran, ["a", "b"], "cells without a stream have no seed in their key");
    assert_ne!(value("a.result"), a);
}

#[test]
fn a_cell_in_markdown_is_a_function_and_maps_over_one() {
    needs!("python3");
    let place = Place::flow("");
    std::fs::remove_file(place.project().join("polyloom.toml")).unwrap();
    place.write("functions.py", FUNCTIONS);
    place.write("helper.py", HELPER);
    place.write(
        "flow.md",
        "# Numbers\n\n```{python #n}\n#| uses: python:./functions.py:numbers\n#| map: {count: [1, 2]}\n```\n",
    );
    let _ = place.polyloom(&["check", "flow.md"]).exits(0);
    let run = place.run(&["flow.md"]).exits(0);
    assert!(run.ran().contains(&"n[count=2]".to_owned()), "{:?}", run.ran());
}

#[test]
fn purity_is_checked_by_running_twice() {
    needs!("python3");
    let text = "import time\nfrom typing import Annotated\nfrom polyloom import Tag\n\n\
        def clock(x: int) -> Annotated[float, Tag(\"pure\")]:\n    return time.time()\n\n\
        def same(x: int) -> Annotated[int, Tag(\"pure\")]:\n    return x\n";
    let flow = "[cells.clock]\nuses = \"python:./pure.py:clock\"\nparams = { x = 1 }\n\
        [cells.same]\nuses = \"python:./pure.py:same\"\nparams = { x = 1 }\n";
    let place = Place::flow(flow);
    place.write("pure.py", text);
    let told = place.call(&["check", "--purity"]).end().exits(1).stderr();
    assert!(told.contains("`clock` is tagged `pure`, and gave another `result`"), "{told}");
    assert!(told.contains("2 pure cells ran twice, 1 gave something else"), "{told}");
}

#[test]
fn what_is_impure_is_in_the_document() {
    needs!("python3");
    let flow = "[cells.clock]\nuses = \"python:./pure.py:clock\"\nparams = { x = 1 }\n";
    let place = Place::flow(flow);
    let clock = "import time\ndef clock(x: int) -> float:\n    \"\"\"The time.\n\n    Tags: pure\n    \"\"\"\n    return time.time()\n";
    place.write("pure.py", clock);
    let json = place.call(&["check", "--purity", "--format", "json"]).end().exits(1).json();
    assert_eq!((&json["errors"], &json["problems"][0]["code"]), (&1.into(), &"PL065".into()));
    place.write("pure.py", clock.replace("time.time()", "1 / 0"));
    let json = place.call(&["check", "--purity", "--format", "json"]).end().exits(1).json();
    let told = json["problems"][0]["message"].as_str().unwrap();
    assert!(told.contains("did not end well"), "{json}");
}

#[test]
fn each_problem_is_at_the_cell_that_it_is_of() {
    needs!("python3");
    let flow = "[cells.a]\nuses = \"python:./json.py:f\"\nparams = { x = 1 }\n\
        [cells.c]\nuses = \"python:./functions.py:lost\"\n\
        [cells.g]\nuses = \"python:nosuch_library:f\"\n\
        [cells.m]\nuses = \"python:statistics:mean\"\n\
        [cells.n]\nuses = \"python:nosuch_library:mean\"\n\
        [cells.o]\nuses = \"python:./gone.py:mean\"\n";
    let place = place(flow);
    place.write("json.py", "def f(x: int) -> int:\n    return x\n");
    let json = place.call(&["check", "--format", "json"]).end().exits(2).json();
    let at = |code: &str, words: &str| {
        let all = json["problems"].as_array().unwrap().iter();
        let all =
            all.filter(|it| it["code"] == code && it["message"].as_str().unwrap().contains(words));
        all.map(|it| it["labels"][0]["line"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(at("PY018", "`json`"), [2], "{json}");
    assert_eq!(at("PY013", "`lost`"), [5], "{json}");
    assert_eq!(at("PY013", "`nosuch_library`"), [7], "{json}");
    assert_eq!(at("PY002", "`mean` has no return type"), [9], "{json}");
    assert_eq!(at("PL030", "gone.py"), [13], "{json}");
}

#[test]
fn an_untyped_function_is_a_cell_where_the_cell_says_so() {
    needs!("python3");
    let flow = |with: &str| {
        format!("[cells.a]\nuses = \"python:./loose.py:f\"\n{with}params = {{ a = [1, 2] }}\n")
    };
    let place = Place::flow(&flow(""));
    place.write("loose.py", "def f(a, by=2.0):\n    return {\"most\": max(a) * by}\n");
    let told = place.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("`f`: parameter `a` has no type"), "{told}");
    place.write("polyloom.toml", flow("untyped = true\n"));
    let told = place.call(&["check"]).end().exits(0).stderr();
    assert!(told.contains("no problems"), "{told}");
    let _ = place.run(&[]).exits(0);
    assert!(shown(&place, "a.result").contains("4"), "{}", shown(&place, "a.result"));
    place.write("polyloom.toml", "[cells.a]\nlang = \"sh\"\nuntyped = true\ncode = \"true\"\n");
    let told = place.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("`untyped` has no place without `uses`"), "{told}");
}

#[test]
fn the_interpreter_of_the_flow_is_told_once_and_heeded_everywhere() {
    needs!("python3");
    let cells =
        [cell("a", "later", "params = { x = 1 }"), cell("b", "items", "params = { count = 1 }")];
    let flow =
        |program: &str| format!("[executors.python]\npython = \"{program}\"\n{}", cells.concat());
    let place = place(&flow("../env/bin/python3"));
    let check = || place.call(&["check", "--format", "json"]).end().exits(2).json();
    for (program, code) in [("../env/bin/python3", "PL030"), ("/bin/false", "PL058")] {
        place.write("polyloom.toml", flow(program));
        let json = check();
        assert_eq!(
            (&json["errors"], &json["problems"][0]["labels"][0]["line"]),
            (&1.into(), &2.into()),
            "{json}"
        );
        assert_eq!(json["problems"][0]["code"], code, "{json}");
    }
    // An environment beside the flow's folder.
    let bin = place.project().parent().unwrap().join("env/bin");
    let mut venv = std::process::Command::new("python3");
    venv.args(["-m", "venv", "--without-pip"]).arg(bin.parent().unwrap());
    let made = venv.status().unwrap();
    assert!(made.success());
    let packages = std::fs::read_dir(bin.with_file_name("lib")).unwrap().next().unwrap().unwrap();
    let library = packages.path().join("site-packages/of_the_flow.py");
    std::fs::write(library, "def f(x: int) -> int:\n    return x\n").unwrap();
    let used = "[cells.c]\nuses = \"python:of_the_flow:f\"\nparams = { x = 1 }\n";
    place.write("polyloom.toml", flow("../env/bin/python3") + used);
    let _ = place.run(&[]).exits(0);
    let shown = place.call(&["catalog", "python:of_the_flow"]).end().exits(0).stdout();
    assert!(shown.contains("python:of_the_flow:f"), "{shown}");
    let typed = place.call(&["repl"]).typed("import of_the_flow\nof_the_flow.f(41)\n").end();
    assert!(typed.stdout().contains("41"), "{}", typed.screen());
    let info = place.call(&["plugin", "info", "python"]).end().exits(0).stdout();
    assert!(info.contains("env/bin/python3") && info.contains("aliases"), "{info}");
    place.write("polyloom.toml", used);
    let told = place.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("`of_the_flow` is installed for Python 3"), "{told}");
    assert!(told.contains("[executors.python]"), "{told}");
}

#[test]
fn what_can_be_no_constant_is_to_be_wired() {
    needs!("python3");
    let place = Place::flow("[cells.a]\nuses = \"python:./f.py:f\"\nparams = { v = [3.0, 4.0] }\n");
    place.write("f.py", "import numpy as np\ndef f(v: np.ndarray) -> float: ...\n");
    let told = place.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("make it in a cell and wire it"), "{told}");
    let told = place.call(&["run", "--seed", "banana"]).end().exits(2).stderr();
    assert!(told.contains("a seed is a whole number"), "{told}");
}

#[test]
fn unions_and_tensors_of_any_type_cross_languages() {
    needs!("python3", "node");
    let place = Place::flow(
        "[cells.p]\nlang = \"python\"\noutputs = { x = \"int|null\", t = \"tensor<any>\" }\n\
         code = '''\nimport array\nx = None\nt = array.array(\"f\", [0.0] * 6)\n'''\n\
         [cells.j]\nlang = \"javascript\"\ninputs = { x = \"p.x\", t = \"p.t\" }\n\
         outputs = { y = \"str|int\", u = \"tensor<any,[n]>\" }\ncode = \"y = 3; u = t\"\n\
         [cells.s]\nlang = \"sh\"\ninputs = { y = \"j.y\" }\noutputs = { z = \"int|str\" }\n\
         code = 'echo \"not $y\" > $OUT/z'\n",
    );
    let _ = place.run(&[]).exits(0);
    assert_eq!(shown(&place, "p.x"), "null");
    assert_eq!(shown(&place, "j.y"), "3");
    assert!(shown(&place, "j.u").contains("f32 [6]"));
    assert!(shown(&place, "s.z").contains("not 3"));
}

#[test]
fn calls_and_code_share_a_session() {
    needs!("python3");
    let text = "import __main__\nN = 0\n\ndef count(by: int) -> int:\n    global N\n    N += by + __main__.k\n    return N\n";
    let call = |id: &str, from: &str| {
        format!(
            "[cells.{id}]\nuses = 'python:./count.py:count'\nsession = 's'\ninputs = {{ by = '{from}' }}\n"
        )
    };
    let code =
        |id: &str, rest: &str| format!("[cells.{id}]\nlang = 'python'\nsession = 's'\n{rest}\n");
    let flow = [
        code("start", "code = 'k = 5; x = 1'\noutputs = { x = 'int' }"),
        call("one", "start.x"),
        call("two", "one.result"),
        code("end", "inputs = { n = 'two.result' }\ncode = 'm = n + k'\noutputs = { m = 'int' }"),
    ];
    let place = place(&flow.concat());
    place.write("count.py", text);
    assert_eq!(place.run(&[]).exits(0).ran().len(), 4);
    // Variables are the session's; the module of a call is made anew for each.
    assert_eq!(shown(&place, "two.result"), "11");
    assert_eq!(shown(&place, "end.m"), "16");
    assert!(place.run(&[]).exits(0).ran().is_empty(), "what was done in the session is kept");
    place.write("count.py", text.replace("by +", "by * 2 +"));
    assert_eq!(place.run(&[]).exits(0).ran(), ["end", "one", "two"]);
    assert_eq!(shown(&place, "end.m"), "24");
}

#[test]
fn small_arguments_and_results_are_in_messages_and_large_ones_in_files() {
    needs!("python3");
    let large = "x".repeat(5000);
    let place = Place::flow(&format!(
        "[cells.a]\nuses = \"python:./f.py:take\"\nparams = {{ small = 7, large = \"{large}\" }}\n\
         [cells.b]\nuses = \"python:./f.py:take\"\ninputs = {{ small = \"a.n\", large = \"a.text\" }}\n\
         [cells.code]\nlang = \"python\"\ninputs = {{ n = \"a.n\" }}\noutputs = {{ files = \"list<str>\" }}\n\
         code = 'import os; files = os.listdir(os.environ[\"IN\"])'\n"
    ));
    place.write(
        "f.py",
        "import os\nfrom typing import NamedTuple\n\nclass Out(NamedTuple):\n    n: int\n    text: str\n    size: int\n    files: list[str]\n\n\
         def take(small: int, large: str) -> Out:\n    return Out(small, large, len(large), os.listdir('/cell/in'))\n",
    );
    let _ = place.run(&[]).exits(0);
    for (port, wanted) in [("a.files", "[\"large.msgpack\"]"), ("b.files", "[\"large.msgpack\"]")] {
        assert_eq!(shown(&place, port), wanted, "{port}");
    }
    assert_eq!((shown(&place, "b.n"), shown(&place, "b.size")), ("7".into(), "5000".into()));
    // Code is promised files.
    assert_eq!(shown(&place, "code.files"), "[\"n.msgpack\"]");
}
