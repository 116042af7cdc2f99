//! Maps, conditions and flows within flows as a user runs them: what runs, what runs again, what is left out, what is told.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, Run};

/// `items` gives a list, `twice` is made for each of them and for two constants, `sum` reads them all.
const SWEEP: &str = r#"
[params.names]
type = "list<str>"
default = ["x", "y"]

[cells.items]
lang = "sh"
inputs = { list = "file:items.txt" }
outputs = { all = "list<int>" }
code = 'cat "$list" > $OUT/all'

[cells.twice]
lang = "sh"
map = { n = "items.all", name = "param:names" }
outputs = { m = "int", file = "file" }
code = '''
echo $((n * 2)) > $OUT/m
echo "$name $n" > $OUT/file
'''

[cells.sum]
lang = "sh"
inputs = { all = "twice.m", files = "twice.file" }
outputs = { text = "str" }
code = 'echo "$all $(ls $files | tr "\n" " ") $(cat $files/* | tr "\n" ";")" > $OUT/text'
"#;

fn sweep(items: &str) -> Place {
    let place = Place::flow(SWEEP);
    place.write("items.txt", items);
    place
}

fn text(run: &Run, cell: &str, port: &str) -> String {
    let bytes = run.bytes(cell, port);
    // A text of 32 to 255 bytes is stored behind two bytes, a shorter one behind one.
    let start = if bytes[0] == 0xd9 { 2 } else { 1 };
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

fn ran(run: &Run) -> String {
    run.ran().join(" ")
}

#[test]
fn items_that_a_cell_gives_become_steps_while_the_run_goes_on() {
    let place = sweep("[3, 1]");
    let run = place.run(&[]).exits(0);
    assert_eq!(
        run.told(),
        "items ok, sum ok, twice ok, twice[n=1,name=x] ok, twice[n=1,name=y] ok, twice[n=3,name=x] ok, \
         twice[n=3,name=y] ok"
    );
    assert_eq!(text(&run, "sum", "text"), "[6,6,2,2] 000 001 002 003  x 3;y 3;x 1;y 1;");
    let again = place.run(&[]).exits(0);
    assert_eq!(ran(&again), "");
    assert_eq!(again.outcomes().len(), 7);
}

#[test]
fn another_item_runs_its_steps_and_what_gathers_them() {
    let place = sweep("[3, 1]");
    let _ = place.run(&[]).exits(0);
    place.write("items.txt", "[1, 5]");
    let run = place.run(&[]).exits(0);
    assert_eq!(ran(&run), "items sum twice twice[n=5,name=x] twice[n=5,name=y]");
    assert_eq!(run.outcome("twice[n=1,name=x]"), "cached");
    assert_eq!(text(&run, "sum", "text"), "[2,2,10,10] 000 001 002 003  x 1;y 1;x 5;y 5;");
    // The list comes out as before: nothing behind it runs, and what it was made of is not asked.
    place.write("items.txt", "[1,   5]");
    let run = place.run(&[]).exits(0);
    assert_eq!(ran(&run), "items");
    let run = place.run(&["-p", "names=[\"y\"]"]).exits(0);
    assert_eq!(ran(&run), "sum twice");
}

#[test]
fn no_items_are_told_and_give_an_empty_list() {
    let place = sweep("[]");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "items ok, sum ok, twice ok");
    assert_eq!(text(&run, "sum", "text"), "[]  ");
}

#[test]
fn a_step_that_fails_keeps_the_others_and_what_gathers_waits() {
    let place = sweep("[3, 1]");
    place.edit("polyloom.toml", "echo $((n * 2))", "[ $n$name != 1y ] || exit 1; echo $((n * 2))");
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("twice[n=1,name=y]"), "failed");
    assert_eq!(run.outcome("twice[n=3,name=y]"), "ok");
    assert_eq!((run.outcome("twice"), run.outcome("sum")), ("skipped", "skipped"));
    place.edit("polyloom.toml", "1y", "2y");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.outcome("twice"), "ok");
}

#[test]
fn what_gives_the_items_may_fail() {
    let place = sweep("[3, 1]");
    place.edit("polyloom.toml", "cat \"$list\" > $OUT/all", "exit 1");
    let run = place.run(&["-k"]).exits(1);
    assert_eq!(run.told(), "items failed, sum skipped, twice skipped");
}

#[test]
fn what_is_no_list_is_told_where_it_is_found() {
    let place = sweep("3");
    place.edit("polyloom.toml", "\"list<int>\"", "\"any\"");
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.told(), "items ok, sum skipped, twice failed");
    let told = run.cell("twice")["diagnostics"][0]["message"].as_str().unwrap();
    assert!(told.contains("the items `n` of the cell `twice` can't be had: it is int"), "{told}");
    let ended = place.call(&["plan"]).end();
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr().contains("it is int, not a list"), "{}", ended.stderr());
}

#[test]
fn a_malformed_list_or_value_is_told_as_what_it_is() {
    let place = sweep("[3, 1");
    let told = place.call(&["run"]).end().stderr();
    assert!(told.contains("an output is not what it is declared as"), "{told}");
    assert!(told.contains("output `all`: not a value of type list<int>: "), "{told}");
    assert!(!told.contains("left a declared output out"), "{told}");
    let place = Place::flow(WHEN);
    place.edit("polyloom.toml", "echo $((n * 10)) > $OUT/m", "echo ten > $OUT/m");
    let told = place.call(&["run"]).end().stderr();
    assert!(told.contains("output `m`: not a value of type int: "), "{told}");
}

#[test]
fn lists_of_one_map_may_come_at_different_times() {
    let list = |name: &str, wait: &str| {
        format!(
            "[cells.{name}]\nlang = \"sh\"\noutputs = {{ all = \"list<int>\" }}\ncode = 'sleep {wait}; echo \"[1, 2]\" > $OUT/all'\n"
        )
    };
    let cell = "[cells.pair]\nlang = \"sh\"\nmap = { a = \"soon.all\", b = \"late.all\", f = \"glob:*.txt\" }\noutputs = { n = \"int\" }\n\
                code = 'echo $((a * b)) > $OUT/n'\n";
    let place = Place::flow(&format!("{}{}{cell}", list("soon", "0"), list("late", "0.5")));
    place.write("x.txt", "");
    let run = place.run(&["-j", "2"]).exits(0);
    assert_eq!(run.bytes("pair", "n"), [0x94, 1, 2, 2, 4]);
}

#[test]
fn one_map_without_items_does_not_keep_another_from_its_own() {
    let place = sweep("[3, 1]");
    let other = r#"
[cells.odd]
lang = "sh"
outputs = { no = "any" }
code = 'echo 3 > $OUT/no'
[cells.never]
lang = "sh"
map = { n = "odd.no" }
code = 'echo $n'
[cells.slow]
lang = "sh"
inputs = { files = "twice.file" }
outputs = { names = "list<str>" }
code = 'echo "[\"a\", \"b\"]" > $OUT/names'
[cells.third]
lang = "sh"
map = { name = "slow.names" }
code = 'echo $name'
"#;
    place.write("polyloom.toml", format!("{SWEEP}{other}"));
    let run = place.run(&["-k"]).exits(5);
    assert_eq!((run.outcome("never"), run.outcome("third")), ("failed", "ok"));
    assert_eq!((run.outcome("third[name=b]"), run.outcome("sum")), ("ok", "ok"));
    let told = run.cell("never")["diagnostics"][0]["message"].as_str().unwrap();
    assert!(told.contains("it is int, not a list"), "{told}");
}

#[test]
fn steps_are_selected_and_shown_by_their_names() {
    let place = sweep("[3, 1]");
    // What gives the items is run first, and then this step alone.
    let first = place.run(&["twice[n=3,name=x]"]).exits(0);
    assert_eq!(first.told(), "items ok, twice[n=3,name=x] ok");
    place.write("items.txt", "[3,  1]");
    let run = place.run(&["twice[n=9,name=x]", "-k"]).exits(5);
    assert_eq!(run.told(), "items ok, twice failed");
    let told = run.messages("twice");
    let wanted = "there is no step `twice[n=9,name=x]`; `twice` has `twice[n=3,name=x]`, `twice[n=3,name=y]`";
    assert!(told.contains(wanted) && !told.contains("not known"), "{told}");
    let ended = place.call(&["plan", "twice[n=9,name=x]"]).end();
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr().contains(wanted), "{}", ended.stderr());
    assert_eq!(ran(&place.run(&["twice[n=1*"]).exits(0)), "twice[n=1,name=x] twice[n=1,name=y]");
    let shown = place.call(&["show", "latest", "twice[n=1,name=y].m"]).end();
    assert_eq!((shown.code(), shown.stdout().lines().last()), (0, Some("2")), "{}", shown.stderr());
    let plan = place.call(&["plan"]).end().stdout();
    assert!(plan.contains("cached  twice[n=3,name=x]") && plan.contains("run     sum"), "{plan}");
    let _ = place.run(&[]).exits(0);
    let lineage = place.call(&["lineage", "sum.text"]).end().stdout();
    assert!(lineage.contains("twice[n=3,name=x].m"), "{lineage}");
}

#[test]
fn what_gives_the_items_comes_before_the_steps_in_every_view() {
    let place = sweep("[3, 1]");
    let steps = "items twice[n=3,name=x] twice[n=3,name=y] twice[n=1,name=x] twice[n=1,name=y]";
    let mut sorted: Vec<&str> = steps.split(' ').collect();
    sorted.sort_unstable();
    let all = format!("items sum twice {}", sorted[1..].join(" "));
    assert_eq!(ran(&place.run(&["items+"]).exits(0)), all);
    let planned = |words: &[&str]| -> String {
        let json = place.call(&[&["plan", "--format", "json"], words].concat()).end().json();
        let steps = json["steps"].as_array().unwrap().iter();
        let mut cells: Vec<_> = steps.map(|step| step["cell"].as_str().unwrap()).collect();
        cells.sort_unstable();
        cells.join(" ")
    };
    assert_eq!(planned(&["items+"]), all);
    assert_eq!(planned(&["--from", "items"]), all);
    assert_eq!(planned(&["+twice[n=3,name=x]"]), "items twice[n=3,name=x]");
    assert_eq!(planned(&["--until", "twice"]), all.replace("sum ", ""));
    let text = place.call(&["graph"]).end().stdout();
    assert!(text.contains("twice sh\n  ⇠ items of items: all\n"), "{text}");
    let mermaid = place.call(&["graph", "--mermaid"]).end().stdout();
    assert!(mermaid.contains("c_items -.->|all| c_twice"), "{mermaid}");
    let dot = place.call(&["graph", "--dot"]).end().stdout();
    assert!(dot.contains("\"items\" -> \"twice\" [label=\"all\" style=dotted]"), "{dot}");
    let up = place.call(&["lineage", "twice[n=3,name=x].m", "--up"]).end().stdout();
    assert!(up.contains("items of n ← items.all") && up.contains("list ← file:items.txt"), "{up}");
    let down = place.call(&["lineage", "items.all", "--down"]).end().stdout();
    assert!(down.contains("twice[n=3,name=x] in") && down.contains("sum in"), "{down}");
    let told = place.call(&["run", "-F"]).end().stderr();
    let chain = told.lines().find(|line| line.starts_with("critical path: ")).unwrap();
    assert!(chain.contains("items ") && chain.contains("→ twice[n="), "{chain}");
}

#[test]
fn reasons_of_maps_are_in_the_words_of_their_authors() {
    let place = sweep("3");
    place.edit("polyloom.toml", "\"list<int>\"", "\"any\"");
    let _ = place.run(&["-k"]).exits(5);
    place.write("items.txt", "[3]");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.cell("twice")["reason"], "its items are known now");
    let why = place.call(&["why", "twice"]).end().stdout();
    assert!(!why.contains("open") && !why.contains("gather "), "{why}");
}

#[test]
fn two_items_that_are_the_same_are_made_once() {
    let place = Place::flow(
        "[cells.d]\nlang = \"sh\"\nmap = { n = [1, 1] }\noutputs = { m = \"int\" }\ncode = 'sleep 0.2; echo $n > $OUT/m'\n",
    );
    let run = place.run(&["-j", "1"]).exits(0);
    assert_eq!(run.told(), "d ok, d[n=1#1] cached, d[n=1] ok");
    assert_eq!(
        run.cell("d[n=1#1]")["reason"],
        "d[n=1] of this run has the same inputs and made it"
    );
}

#[test]
fn a_quote_that_is_not_closed_is_told_and_nothing_is_run() {
    let place = Place::flow(
        "[cells.row]\nlang = \"sh\"\nmap = { it = \"file:rows.csv\" }\ncode = 'echo $it'\n",
    );
    place.write("rows.csv", "name,n\nann,1\n\"b,2\nc,3\n");
    let ended = place.call(&["run"]).end();
    assert_eq!(ended.code(), 2);
    let told = ended.stderr();
    assert!(told.contains("`rows.csv`: line 3: a quote that is not closed"), "{told}");
}

#[test]
fn rows_and_files_are_items() {
    let place = Place::flow(
        r#"
[cells.row]
lang = "sh"
map = { it = "file:rows.csv" }
outputs = { text = "str" }
code = 'echo "$it" > $OUT/text'

[cells.size]
lang = "sh"
map = { file = "glob:data/*.txt" }
outputs = { n = "int" }
code = 'wc -c < $file > $OUT/n'
"#,
    );
    place.write("rows.csv", "name,n\nann,1\n\"b, c\",2.5\n");
    place.write("data/a.txt", "12345");
    place.write("data/b.txt", "123");
    place.write("data/c.csv", "");
    let run = place.run(&[]).exits(0);
    assert_eq!(
        run.told(),
        "row ok, row[it=#0] ok, row[it=#1] ok, size ok, size[file=a.txt] ok, size[file=b.txt] ok"
    );
    assert_eq!(text(&run, "row[it=#1]", "text"), r#"{"n":2.5,"name":"b, c"}"#);
    assert_eq!(run.bytes("size", "n"), [0x92, 5, 3]);
    place.write("data/d.txt", "1");
    place.write("rows.csv", "name,n\nann,1\nb,3\n");
    let run = place.run(&[]).exits(0);
    assert_eq!(ran(&run), "row row[it=#1] size size[file=d.txt]");
    place.write("rows.csv", "name,n\nann\n");
    let ended = place.call(&["run"]).end();
    assert_eq!(ended.code(), 2);
    assert!(
        ended.stderr().contains("rows.csv") && ended.stderr().contains("line: 2"),
        "{}",
        ended.stderr()
    );
}

#[test]
fn rows_of_a_table_that_a_cell_gives_are_items() {
    let place = Place::flow(
        r#"
[cells.gen]
lang = "python"
code = 't = {"name": ["ann", "b"], "n": [1, 2], "x": [0.5, None]}'
outputs = { t = "table" }
[cells.row]
lang = "sh"
map = { it = "gen.t" }
outputs = { text = "str" }
code = 'echo "$it" > $OUT/text'
[cells.odd]
lang = "python"
map = { it = "odd_table.t" }
code = ""
[cells.odd_table]
lang = "python"
code = 't = {"lists": [[1], [2]]}'
outputs = { t = "table" }
"#,
    );
    let run = place.run(&["row"]).exits(0);
    assert_eq!(run.told(), "gen ok, row ok, row[it=#0] ok, row[it=#1] ok");
    assert_eq!(text(&run, "row[it=#0]", "text"), r#"{"n":1,"name":"ann","x":0.5}"#);
    assert_eq!(text(&run, "row[it=#1]", "text"), r#"{"n":2,"name":"b","x":null}"#);
    let run = place.run(&["-k", "odd"]).exits(5);
    assert!(
        run.messages("odd").contains("the column `lists` is of a list type"),
        "{}",
        run.messages("odd")
    );
}

/// `big` and what reads it are left out unless `n` is large.
const WHEN: &str = r#"
[params.n]
type = "int"
default = 1
[params.mode]
default = "full"

[cells.a]
lang = "sh"
inputs = { n = "param:n" }
outputs = { m = "int" }
code = 'echo $((n * 10)) > $OUT/m'

[cells.big]
lang = "sh"
inputs = { m = "a.m", mode = "param:mode" }
when = "m > 50 and mode in ['full', 'half']"
outputs = { x = "int" }
code = 'echo $m > $OUT/x'

[cells.after]
lang = "sh"
inputs = { x = "big.x" }
code = 'echo $x'
"#;

#[test]
fn a_cell_is_left_out_with_what_reads_it_and_the_run_is_well() {
    let place = Place::flow(WHEN);
    let first = place.run(&[]).exits(0);
    assert_eq!(first.told(), "a ok, after skipped, big skipped");
    assert_eq!(first.cell("big")["reason"], "`m > 50 and mode in ['full', 'half']` is false");
    assert_eq!(first.cell("after")["reason"], "big is left out");
    let again = place.run(&[]).exits(0);
    assert_eq!(again.told(), "a cached, after skipped, big skipped");
    assert_eq!(place.run(&["-p", "n=9"]).exits(0).told(), "a ok, after ok, big ok");
    let other = place.run(&["-p", "n=9", "-p", "mode=none"]).exits(0);
    assert_eq!(other.told(), "a cached, after skipped, big skipped");
    let plan = place.call(&["plan"]).end().stdout();
    assert!(plan.contains("skip    big"), "{plan}");
    // A result from before is not taken for a cell that is left out now.
    place.edit("polyloom.toml", "m > 50", "m > 500");
    assert_eq!(place.run(&["-p", "n=9"]).exits(0).told(), "a cached, after skipped, big skipped");
}

#[test]
fn a_condition_without_an_answer_fails_its_cell() {
    let place = Place::flow(WHEN);
    place.edit("polyloom.toml", "m > 50", "m > 'x'");
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.told(), "a ok, after skipped, big failed");
    let told = run.cell("big")["diagnostics"][0]["message"].as_str().unwrap();
    assert!(told.contains("10 and \"x\" have no order"), "{told}");
}

#[test]
fn a_map_gathers_the_steps_that_are_not_left_out() {
    let place = Place::flow(
        r#"
[cells.odd]
lang = "sh"
map = { n = [1, 2, 3] }
when = "n != 2"
outputs = { m = "int" }
code = 'echo $n > $OUT/m'
"#,
    );
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "odd ok, odd[n=1] ok, odd[n=2] skipped, odd[n=3] ok");
    assert_eq!(run.bytes("odd", "m"), [0x92, 1, 3]);
    place.edit("polyloom.toml", "n != 2", "n != 3");
    let run = place.run(&[]).exits(0);
    assert_eq!(ran(&run), "odd odd[n=2]");
    assert_eq!(run.bytes("odd", "m"), [0x92, 1, 2]);
}

/// A flow within a flow, once as it is and once for each of two words.
fn nested() -> Place {
    let place = Place::flow(
        r#"
[params.word]
default = "hi"
[cells.one]
flow = "parts/greet.toml"
inputs = { word = "param:word" }
[cells.each]
flow = "parts/greet.toml"
map = { word = ["a", "b"] }
params = { mark = "?" }
[cells.all]
lang = "sh"
inputs = { one = "one.text", each = "each.text" }
outputs = { text = "str" }
code = 'echo "$one $each" > $OUT/text'
"#,
    );
    place.write(
        "parts/greet.toml",
        r#"
[params]
word = { type = "str" }
mark = "!"
[cells.upper]
lang = "sh"
file = "upper.sh"
inputs = { word = "param:word", before = "file:before.txt" }
outputs = { up = "str" }
[cells.finish]
lang = "sh"
inputs = { up = "upper.up", mark = "param:mark" }
outputs = { text = "str" }
code = 'echo "$up$mark" > $OUT/text'
[outputs]
text = "finish.text"
"#,
    );
    place.write("parts/upper.sh", "echo \"$(cat $before)$word\" | tr a-z A-Z > $OUT/up\n");
    place.write("parts/before.txt", "so ");
    place
}

#[test]
fn flows_within_flows_are_their_cells() {
    let place = nested();
    let run = place.run(&[]).exits(0);
    assert_eq!(
        run.told(),
        "all ok, each ok, each[word=a]/finish ok, each[word=a]/upper ok, each[word=b]/finish ok, each[word=b]/upper ok, \
         one/finish ok, one/upper ok"
    );
    assert_eq!(text(&run, "all", "text"), r#"SO HI! ["SO A?","SO B?"]"#);
    assert_eq!(ran(&place.run(&[]).exits(0)), "");
    let run = place.run(&["-p", "word=yo"]).exits(0);
    assert_eq!(ran(&run), "all one/finish one/upper");
}

#[test]
fn cells_within_flows_are_selected_explained_and_expanded() {
    let place = nested();
    assert_eq!(ran(&place.run(&["one/upper"]).exits(0)), "one/upper");
    assert_eq!(ran(&place.run(&["one"]).exits(0)), "one/finish");
    let why = place.call(&["why", "each[word=a]/upper"]).end();
    assert!(why.stdout().contains("will run: never ran"), "{} {}", why.stdout(), why.stderr());
    let flat = place.call(&["expand"]).end().stdout();
    assert!(flat.contains("each[word=b]/finish") && flat.contains("2 steps"), "{flat}");
    // A failure is told with the file and line of the flow that the cell stands in.
    place.edit("parts/greet.toml", "echo \"$up$mark\"", "nothing_of_that_name");
    let ended = place.call(&["run", "one"]).end();
    assert!(
        ended.stderr().contains("one/finish") && ended.stderr().contains("greet.toml"),
        "{}",
        ended.stderr()
    );
}

#[test]
fn what_steps_of_a_map_ask_for_is_granted_once_for_all() {
    let place = Place::flow(
        r#"
[cells.read]
lang = "sh"
map = { n = [1, 2] }
allow = { read = ["notes.txt"] }
outputs = { text = "str" }
code = 'cat notes.txt > $OUT/text'
[cells.all]
lang = "sh"
inputs = { texts = "read.text" }
code = 'echo $texts'
"#,
    );
    place.write("notes.txt", "secret");
    let refused = place.run(&["-k", "--no-prompt"]).exits(1);
    assert_eq!(refused.outcome("read[n=1]"), "denied");
    assert_eq!(refused.outcome("all"), "skipped");
    for step in ["read[n=1]", "read[n=2]"] {
        let told = refused.messages(step);
        assert!(told.contains("asks for `read notes.txt") && !told.contains("made of"), "{told}");
    }
    let run = place.run(&["--allow-read=notes.txt"]).exits(0);
    assert_eq!(run.told(), "all ok, read ok, read[n=1] ok, read[n=2] ok");
    // What is kept is not had without the grant either, nor what was made of it.
    let refused = place.run(&["-k", "--no-prompt"]).exits(1);
    assert_eq!(refused.outcome("read[n=2]"), "denied");
    assert!(!["ok", "cached"].contains(&refused.outcome("all")), "{}", refused.told());
}

/// A flow in `parts`, beside which there is more of the same names.
fn parted(cell: &str) -> Place {
    let place = Place::flow("[cells.one]\nflow = \"parts/part.toml\"\n");
    place.write(
        "parts/part.toml",
        format!("[cells.a]\nlang = \"sh\"\noutputs = {{ t = \"str\" }}\n{cell}"),
    );
    for (folder, text) in [("", "outer"), ("parts/", "inner")] {
        place.write(&format!("{folder}notes.txt"), text);
        place.write(&format!("{folder}get.sh"), format!("echo {text}-secret\n"));
    }
    place
}

#[test]
fn what_a_flow_in_a_flow_asks_for_is_relative_to_its_own_folder() {
    let place = parted("allow = { read = [\"notes.txt\"] }\ncode = 'cat notes.txt > $OUT/t'\n");
    for wrong in ["--allow-read=data", "--allow-read=notes.txt"] {
        let refused = place.run(&["--no-prompt", wrong]).exits(1);
        assert_eq!(refused.outcome("one/a"), "denied", "{wrong}");
        let told = refused.messages("one/a");
        assert!(told.contains("--allow-read=") && told.contains("/parts/notes.txt"), "{told}");
    }
    let run = place.run(&["--allow-read=parts/notes.txt"]).exits(0);
    assert_eq!(text(&run, "one/a", "t"), "inner");
}

#[test]
fn a_flow_in_a_flow_is_granted_nothing_beside_its_folder() {
    let place = parted("allow = { read = [\"link.txt\"] }\ncode = 'cat link.txt > $OUT/t'\n");
    std::os::unix::fs::symlink("../notes.txt", place.project().join("parts/link.txt")).unwrap();
    let refused = place.run(&["-A"]).exits(1);
    assert_eq!(refused.outcome("one/a"), "denied");
    assert!(refused.messages("one/a").contains("leads out of the flow's folder"));
}

#[test]
fn a_command_of_a_flow_in_a_flow_runs_in_its_folder_and_is_granted_for_it() {
    let place =
        parted("secrets = { T = \"cmd:sh get.sh\" }\ncode = 'echo ${T%-secret} > $OUT/t'\n");
    let refused = place.run(&["--no-prompt", "--allow-cmd=sh get.sh"]).exits(1);
    assert_eq!(refused.outcome("one/a"), "denied");
    let told = refused.messages("one/a");
    assert!(told.contains("--allow-cmd='cd parts && sh get.sh'"), "{told}");
    let run = place.run(&["--allow-cmd=cd parts && sh get.sh"]).exits(0);
    assert_eq!(text(&run, "one/a", "t"), "inner");
}

#[test]
fn patterns_of_a_flow_in_a_flow_stay_in_its_folder() {
    let place = Place::flow("[cells.one]\nflow = \"parts/part.toml\"\n");
    place.write(
        "parts/part.toml",
        "[cells.a]\nlang = \"sh\"\nmap = { f = \"glob:*.txt\" }\noutputs = { t = \"str\" }\ncode = 'cat $f > $OUT/t'\n",
    );
    place.write("parts/own.txt", "own");
    place.write("beside.txt", "beside");
    std::os::unix::fs::symlink("../beside.txt", place.project().join("parts/link.txt")).unwrap();
    assert_eq!(place.run(&[]).exits(0).told(), "one/a ok, one/a[f=own.txt] ok");
}

#[test]
fn a_flow_in_a_flow_is_left_out_as_a_whole() {
    let place = nested();
    place.edit(
        "polyloom.toml",
        "inputs = { word = \"param:word\" }",
        "inputs = { word = \"param:word\" }\nwhen = \"word != 'no'\"",
    );
    place.edit(
        "polyloom.toml",
        "params = { mark = \"?\" }",
        "params = { mark = \"?\" }\nwhen = \"word != 'b'\"",
    );
    let run = place.run(&[]).exits(0);
    assert_eq!(
        run.told(),
        "all ok, each ok, each[word=a] ok, each[word=a]/finish ok, each[word=a]/upper ok, each[word=b] skipped, \
         each[word=b]/finish skipped, each[word=b]/upper skipped, one ok, one/finish ok, one/upper ok"
    );
    assert_eq!(run.cell("each[word=b]")["reason"], "`word != 'b'` is false");
    assert_eq!(run.cell("each[word=b]/upper")["reason"], "each[word=b] is left out");
    assert_eq!(text(&run, "all", "text"), r#"SO HI! ["SO A?"]"#);
    assert_eq!(ran(&place.run(&[]).exits(0)), "");
    let run = place.run(&["-p", "word=no"]).exits(0);
    assert_eq!((run.outcome("one/finish"), run.outcome("all")), ("skipped", "skipped"));
    assert_eq!(ran(&run), "");
    assert_eq!(ran(&place.run(&["-p", "word=so", "one"]).exits(0)), "one one/finish one/upper");
}

#[test]
fn delays_between_attempts_are_the_cells_own() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nretries = { count = 3, delay = \"1ms\", factor = 1 }\ncode = 'exit 1'\n",
    );
    let began = std::time::Instant::now();
    let told = place.call(&["run"]).end().stderr();
    assert!(told.contains("4 attempts"), "{told}");
    // By default the third attempt alone would wait for four seconds.
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
}

/// What a run writes itself is none of its items, wherever it lies and however it is named.
#[test]
fn the_events_of_a_run_are_none_of_its_items() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nmap = { f = \"glob:*.jsonl\" }\noutputs = { n = \"int\" }\ncode = 'wc -c < $f > $OUT/n'\n",
    );
    place.write("x.jsonl", "1");
    for round in 0..3 {
        let run = place.run(&["--events", "events.jsonl"]).exits(0);
        assert_eq!(ran(&run), if round == 0 { "a a[f=x.jsonl]" } else { "" });
    }
    std::os::unix::fs::symlink("events.jsonl", place.project().join("link")).unwrap();
    let _ = place.run(&["--events", "link"]).exits(0);
    // Where it is written by nobody it is a file like any other.
    assert_eq!(ran(&place.run(&[]).exits(0)), "a a[f=events.jsonl]");
    let out = std::fs::File::create(place.project().join("out.jsonl")).unwrap();
    let mut command = place.call(&["run", "--format", "jsonl"]).into_command();
    assert!(command.stdout(out).status().unwrap().success());
    assert!(!place.read("out.jsonl").contains("out.jsonl"));
}
