//! Inputs that list outputs of several cells: their values as a list, their files as a folder, in plain cells, functions and flows within flows.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};

const SOURCES: &str = r#"
[cells.a]
lang = "sh"
outputs = { n = "int", text = "file" }
code = 'printf 1 > "$OUT/n"; printf first > "$OUT/text.txt"'

[cells.b]
lang = "sh"
outputs = { n = "float", text = "file" }
code = 'printf 2.5 > "$OUT/n"; printf second > "$OUT/text.txt"'
"#;

const FUNCTIONS: &str = "from pathlib import Path\n\n\
    def total(*values: float) -> float:\n    return sum(values)\n\n\
    def joined(*parts: Path, sep: str = '-') -> str:\n    return sep.join(part.read_text() for part in parts)\n\n\
    def split(text: str) -> list[bytes]:\n    return [word.encode() for word in text.split()]\n\n\
    def pages(text: str, base: str) -> list[Path]:\n    all = []\n    for at, word in enumerate(text.split()):\n        path = Path(f'{base}{at}.txt')\n        path.write_text(word)\n        all.append(path)\n    return all\n";

fn place(cells: &str) -> Place {
    let place = Place::flow(&format!("{SOURCES}{cells}"));
    place.write("f.py", FUNCTIONS);
    place
}

fn shown(place: &Place, what: &str) -> String {
    let text = place.call(&["show", what]).end().exits(0).stdout();
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

/// What a cell printed in the last run that had it.
fn printed(place: &Place, cell: &str) -> String {
    place.call(&["logs", cell]).end().exits(0).stdout()
}

#[test]
fn a_plain_cell_gets_a_list_of_values_and_a_folder_of_files() {
    let place = place(
        "[cells.c]\nlang = \"sh\"\ncode = 'printf \"%s \" \"$all\"; cat \"$files\"/*; ls \"$files\"'\n\
         inputs = { all = { from = [\"b.n\", \"a.n\", \"b.n\"] }, files = { from = [\"b.text\", \"a.text\"] } }\n",
    );
    let _ = place.run(&[]).exits(0);
    assert_eq!(printed(&place, "c"), "[2.5,1,2.5] secondfirst000.txt\n001.txt\n");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    // Their order is theirs.
    place.edit("polyloom.toml", "\"b.text\", \"a.text\"", "\"a.text\", \"b.text\"");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran(), ["c"]);
    assert!(printed(&place, "c").contains("firstsecond"), "{}", printed(&place, "c"));
    // One of them changes, and another run finds what came of it.
    place.edit("polyloom.toml", "printf 1 >", "printf 4 >");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran(), ["a", "c"]);
    assert!(printed(&place, "c").starts_with("[2.5,4,2.5]"), "{}", printed(&place, "c"));
    place.edit("polyloom.toml", "printf 4 >", "printf 1 >");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn what_came_in_can_be_asked_for() {
    let place = place(
        "[cells.c]\nlang = \"sh\"\noutputs = { x = \"str\" }\ncode = 'printf x > \"$OUT/x\"'\ninputs = { all = { from = [\"a.n\", \"b.n\"] } }\n",
    );
    let _ = place.run(&[]).exits(0);
    let expand = place.call(&["expand"]).end().exits(0).stdout();
    assert!(expand.contains("all ← a.n, b.n"), "{expand}");
    for _ in 0..2 {
        let lineage = place.call(&["lineage", "c.x"]).end().exits(0).stdout();
        assert!(lineage.contains("a.n") && lineage.contains("b.n"), "{lineage}");
        // Of a run in which it stands, too.
        let _ = place.run(&[]).exits(0);
    }
    place.edit("polyloom.toml", "printf 2.5 >", "printf 3.5 >");
    let why = place.call(&["why", "c"]).end().exits(0).stdout();
    assert!(why.contains("input.all") && why.contains("2 outputs"), "{why}");
}

#[test]
fn functions_take_many_of_what_they_name() {
    needs!("python3");
    let place = place(
        "[cells.total]\nuses = \"python:./f.py:total\"\ninputs = { values = { from = [\"a.n\", \"b.n\"] } }\n\
         [cells.joined]\nuses = \"python:./f.py:joined\"\ninputs = { parts = { from = [\"b.text\", \"a.text\", \"b.text\"] } }\nparams = { sep = \"+\" }\n\
         [cells.none]\nuses = \"python:./f.py:joined\"\n\
         [cells.pages]\nuses = \"python:./f.py:pages\"\nparams = { text = \"x y z\", base = \"p\" }\n\
         [cells.read]\nuses = \"python:./f.py:joined\"\ninputs = { parts = \"pages.result\" }\n",
    );
    let catalog = place.call(&["catalog", "f.py"]).end().exits(0).stdout();
    assert!(catalog.contains("parts?: dir (of file)"), "{catalog}");
    assert!(catalog.contains("result: dir (of file)"), "{catalog}");
    let _ = place.run(&[]).exits(0);
    assert_eq!(shown(&place, "total.result"), "3.5");
    assert!(shown(&place, "joined.result").contains("second+first+second"));
    assert!(shown(&place, "read.result").contains("x-y-z"));
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn what_can_not_be_listed_is_told_with_its_place() {
    needs!("python3");
    let rows = [
        (
            "total",
            "values",
            "from = [\"a.n\", \"b.text\"]",
            "the input `values` lists values and files",
        ),
        (
            "total",
            "values",
            "from = [\"a.text\"]",
            "the source is dir, the input `values` is list<float>",
        ),
        (
            "joined",
            "parts",
            "from = [\"a.n\"]",
            "the source is list<int>, the input `parts` is dir",
        ),
        ("total", "values", "from = []", "`from` of the input `values` lists no output"),
        ("total", "values", "from = [\"file:f.py\"]", "`file:f.py` is no output of a cell"),
        ("total", "values", "from = [\"a.n\", \"a.m\"]", "the cell `a` has no output `m`"),
        ("total", "values", "from = [\"c.result\"]", "the cell `c` takes its own output `result`"),
        (
            "total",
            "values",
            "from = \"a.n\"",
            "`values = { from = [\"a.n\"] }` gives it a list of this one",
        ),
        (
            "joined",
            "parts",
            "from = \"a.text\"",
            "`parts = { from = [\"a.text\"] }` gives it a list of this one",
        ),
        ("total", "values", "value = [\"a.n\"]", "the value of `values` does not fit"),
        ("split", "text", "from = [\"a.n\"]", "the source is list<int>, the input `text` is str"),
    ];
    for (function, port, from, words) in rows {
        let place = place(&format!(
            "[cells.c]\nuses = \"python:./f.py:{function}\"\ninputs = {{ {port} = {{ {from} }} }}\n"
        ));
        let told = place.call(&["check"]).end().exits(2).stderr();
        assert!(told.replace("\n  │ ", " ").contains(words), "{words}\n{told}");
    }
    let strict = place(
        "[cells.c]\nuses = \"python:./f.py:total\"\ninputs = { values = { from = [\"a.n\"] } }\n[flow]\nstrict = true\n",
    );
    let told = strict.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("the source is int, the input `values` is float"), "{told}");
    let guessed =
        place("[cells.c]\nlang = \"sh\"\ncode = \"true\"\ninputs = { all = [\"x\", \"a.n\"] }\n");
    let told = guessed.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("`all` is a list of texts, and `a.n` is an output"), "{told}");
    guessed.edit("polyloom.toml", "[\"x\", \"a.n\"]", "{ value = [\"x\", \"a.n\"] }");
    let _ = guessed.polyloom(&["check"]).exits(0);
    let asked = place(
        "[cells.c]\nlang = \"sh\"\ncode = \"true\"\nwhen = \"x\"\ninputs = { x = { from = [\"a.n\"] } }\n",
    );
    let told = asked.call(&["check"]).end().exits(2).stderr();
    assert!(told.contains("`when` asks for `x`, which lists several outputs"), "{told}");
}

#[test]
fn a_flow_within_a_flow_and_a_mapped_cell_take_lists() {
    let place = place(
        "[cells.sub]\nflow = \"sub/polyloom.toml\"\ninputs = { all = { from = [\"a.n\", \"b.n\"] } }\n\
         [cells.each]\nlang = \"sh\"\nmap = { k = [1, 2] }\noutputs = { n = \"int\" }\ncode = 'printf \"$k\" > \"$OUT/n\"'\n\
         [cells.c]\nlang = \"sh\"\nmap = { k = [1, 2] }\ninputs = { all = { from = [\"each.n\", \"each.n\"] } }\ncode = 'echo \"$k $all\"'\n",
    );
    place.write(
        "sub/polyloom.toml",
        "[params]\nall = { type = \"list<float>\" }\n[cells.in]\nlang = \"sh\"\ninputs = { all = \"param:all\" }\ncode = 'echo \"$all\"'\n",
    );
    let _ = place.run(&[]).exits(0);
    assert_eq!(printed(&place, "sub/in"), "[1.0,2.5]\n");
    assert_eq!(printed(&place, "c[k=2]"), "2 [[1,2],[1,2]]\n");
}

#[test]
fn what_lists_one_that_is_left_out_is_left_out() {
    let place = place(
        "[cells.no]\nlang = \"sh\"\nwhen = \"on\"\ninputs = { on = { value = false } }\noutputs = { n = \"int\" }\ncode = 'printf 7 > \"$OUT/n\"'\n\
         [cells.c]\nlang = \"sh\"\ninputs = { all = { from = [\"a.n\", \"no.n\"] } }\ncode = 'echo \"$all\"'\n",
    );
    let run = place.run(&[]).exits(0);
    assert_eq!(run.outcome("c"), "skipped");
}

#[test]
fn a_list_that_is_too_large_is_refused_before_it_is_read_and_names_its_largest() {
    let from = ["\"large.s\""; 40].join(", ");
    let place = place(&format!(
        "[cells.large]\nlang = \"sh\"\noutputs = {{ s = \"str\" }}\ncode = 'head -c 7000000 /dev/zero | tr \"\\0\" a > \"$OUT/s\"'\n\
         [cells.c]\nlang = \"sh\"\ninputs = {{ all = {{ from = [\"a.n\", {from}] }} }}\ncode = 'true'\n"
    ));
    let run = place.run(&[]).exits(1);
    let told = run.cell("c")["diagnostics"].to_string();
    assert!(
        told.contains(
            "these values are 268 MiB together, a list may be 256 MiB; the largest is `large.s`"
        ),
        "{told}"
    );
}

#[test]
fn folders_that_multiply_are_refused_before_they_are_made() {
    let from = ["\"many.d\""; 120].join(", ");
    let place = place(&format!(
        "[cells.many]\nlang = \"sh\"\noutputs = {{ d = \"dir\" }}\ncode = 'mkdir \"$OUT/d\"; cd \"$OUT/d\"; seq 5000 | xargs touch'\n\
         [cells.c]\nlang = \"sh\"\ninputs = {{ all = {{ from = [{from}] }} }}\ncode = 'ls \"$all\"'\n"
    ));
    let run = place.run(&[]).exits(1);
    let told = run.cell("c")["diagnostics"].to_string();
    assert!(told.contains("these directories have more than 500000 files together"), "{told}");
}
