//! What runs again and what does not: the second run, edits, early cutoff, params, files, forcing, selecting.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, Run};

/// `a` makes a number, `b` its parity, `c` and `d` texts of it.
const FLOW: &str = r#"
[params.start]
type = "int"
default = 4

[cells.a]
lang = "sh"
inputs = { start = "param:start" }
outputs = { n = "int" }
code = 'echo $((start + 6)) > $OUT/n'

[cells.b]
lang = "sh"
inputs = { n = "a.n", words = "file:words.txt" }
outputs = { even = "bool", first = "str" }
code = '''
if [ $((n % 2)) = 0 ]; then echo true; else echo false; fi > $OUT/even
head -n 1 "$words" > $OUT/first
'''

[cells.c]
lang = "sh"
inputs = { even = "b.even" }
outputs = { text = "str" }
code = 'echo "even: $even" > $OUT/text'
tags = ["last"]

[cells.d]
lang = "sh"
inputs = { first = "b.first" }
outputs = { text = "str" }
code = 'echo "first: $first" > $OUT/text'
tags = ["last"]
"#;

fn place() -> Place {
    let place = Place::flow(FLOW);
    place.write("words.txt", "one\ntwo\n");
    place
}

/// A place where the flow has run once.
fn warm() -> Place {
    let place = place();
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "a ok, b ok, c ok, d ok");
    place
}

fn text(run: &Run, cell: &str, port: &str) -> String {
    // A short text is stored as one byte of length and itself.
    String::from_utf8_lossy(&run.bytes(cell, port)[1..]).into_owned()
}

#[test]
fn second_run_executes_nothing() {
    let place = warm();
    let first = place.run(&[]).exits(0);
    assert_eq!(first.told(), "a cached, b cached, c cached, d cached");
    assert_eq!(first.document["outcome"], "ok");
    assert_eq!(text(&first, "c", "text"), "even: true");
}

#[test]
fn one_character_reruns_the_cell_and_what_changes() {
    let place = warm();
    place.edit("polyloom.toml", "start + 6", "start + 7");
    let run = place.run(&[]).exits(0);
    // `a` and `b` have other outputs; `even` changed, `first` did not.
    assert_eq!(run.told(), "a ok, b ok, c ok, d cached");
    assert_eq!(text(&run, "c", "text"), "even: false");
}

#[test]
fn early_cutoff_spares_descendants() {
    let place = warm();
    place.edit("polyloom.toml", "echo $((start + 6))", "echo  $((start + 6))");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "a ok, b cached, c cached, d cached");
    // And the chain is known from then on without running anything.
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "a cached, b cached, c cached, d cached");
}

#[test]
fn undone_edit_is_cached() {
    let place = warm();
    place.edit("polyloom.toml", "start + 6", "start + 8");
    assert_eq!(place.run(&[]).exits(0).told(), "a ok, b ok, c cached, d cached");
    place.edit("polyloom.toml", "start + 8", "start + 6");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn comments_limits_and_order_are_not_in_the_key() {
    let place = warm();
    let text =
        FLOW.replace("tags = [\"last\"]", "tags = [\"end\"]\ntimeout = \"9s\"\nmemory = \"99MiB\"");
    place.write("polyloom.toml", format!("# a comment\n{text}"));
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn a_param_reruns_what_takes_it() {
    let place = warm();
    let run = place.run(&["-p", "start=5"]).exits(0);
    assert_eq!(run.told(), "a ok, b ok, c ok, d cached");
    assert_eq!(place.run(&["-p", "start=5"]).exits(0).ran(), [""; 0]);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    place.write("values.toml", "start = 6\n");
    assert_eq!(place.run(&["--params-file", "values.toml"]).exits(0).ran(), ["a", "b"]);
}

#[test]
fn an_input_file_reruns_what_reads_it() {
    let place = warm();
    place.write("words.txt", "one\nthree\n");
    assert_eq!(place.run(&[]).exits(0).told(), "a cached, b ok, c cached, d cached");
    place.write("words.txt", "zero\n");
    assert_eq!(place.run(&[]).exits(0).told(), "a cached, b ok, c cached, d ok");
}

#[test]
fn a_touched_file_reruns_nothing() {
    let place = warm();
    place.write("words.txt", "one\ntwo\n");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn same_size_and_time_do_not_hide_a_change() {
    let place = warm();
    let path = place.project().join("words.txt");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    place.write("words.txt", "ONE\ntwo\n");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    assert_eq!(place.run(&[]).exits(0).ran(), ["b", "d"]);
}

#[test]
fn a_failed_cell_is_not_cached() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'exit 3'\n");
    assert_eq!(place.run(&[]).exits(1).told(), "a failed");
    assert_eq!(place.run(&[]).exits(1).told(), "a failed");
}

#[test]
fn force_reruns_the_selected_or_all() {
    let place = warm();
    assert_eq!(place.run(&["polyloom.toml", "b", "--force"]).exits(0).told(), "a cached, b ok");
    let run = place.run(&["--force-all"]).exits(0);
    assert_eq!(run.told(), "a ok, b ok, c ok, d ok");
    assert_eq!(place.run(&["-f"]).exits(0).ran().len(), 4);
}

#[test]
fn no_cache_neither_takes_nor_gives() {
    let place = place();
    assert_eq!(place.run(&["--no-cache"]).exits(0).told(), "a ok, b ok, c ok, d ok");
    assert_eq!(place.run(&[]).exits(0).told(), "a ok, b ok, c ok, d ok");
    assert_eq!(place.run(&["--no-cache"]).exits(0).told(), "a ok, b ok, c ok, d ok");
}

#[test]
fn a_cell_without_cache_runs_each_time() {
    let place = place();
    place.edit(
        "polyloom.toml",
        "outputs = { n = \"int\" }",
        "outputs = { n = \"int\" }\ncache = false",
    );
    assert_eq!(place.run(&[]).exits(0).ran().len(), 4);
    assert_eq!(place.run(&[]).exits(0).told(), "a ok, b cached, c cached, d cached");
}

#[test]
fn selectors_choose_cells() {
    let select = |args: &[&str]| {
        let run = place().run(args).exits(0);
        run.ran().join(" ")
    };
    // What a selected cell needs runs with it.
    assert_eq!(select(&["polyloom.toml", "b"]), "a b");
    assert_eq!(select(&["polyloom.toml", "+c"]), "a b c");
    assert_eq!(select(&["polyloom.toml", "a+"]), "a b c d");
    assert_eq!(select(&["polyloom.toml", "tag:last"]), "a b c d");
    assert_eq!(select(&["polyloom.toml", "?", "b"]), "a b c d");
}

#[test]
fn until_and_from_cut_the_graph() {
    let place = place();
    assert_eq!(place.run(&["--until", "b"]).exits(0).told(), "a ok, b ok");
    assert_eq!(place.run(&["--from", "b"]).exits(0).ran(), ["c", "d"]);
}

#[test]
fn only_takes_inputs_from_the_store() {
    let place = place();
    let none = place.polyloom(&["run", "--only", "b"]);
    assert_ne!(none.code(), 0, "{}", none.screen());
    let place = warm();
    place.edit("polyloom.toml", "even: ", "odd or even: ");
    assert_eq!(place.run(&["--only", "c"]).exits(0).ran(), ["c"]);
}

#[test]
fn a_selector_without_a_flow_is_understood() {
    let place = warm();
    assert_eq!(place.run(&["b", "-f"]).exits(0).told(), "a cached, b ok");
}

#[test]
fn another_store_knows_nothing() {
    let place = warm();
    let other = place.root().join("other-store");
    let run = place.call(&["run", "--format", "json"]).env("POLYLOOM_STORE", &other).end().run();
    assert_eq!(run.exits(0).ran().len(), 4);
}

#[test]
fn a_copy_of_the_project_is_cached() {
    let place = warm();
    let copy = place.root().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["polyloom.toml", "words.txt"] {
        std::fs::copy(place.project().join(name), copy.join(name)).unwrap();
    }
    let run = place.call(&["run", "--format", "json"]).cwd(&copy).end().run().exits(0);
    assert_eq!(run.ran(), [""; 0]);
}

#[test]
fn a_lost_artifact_is_made_again() {
    let place = Place::flow(
        r#"
[cells.make]
lang = "sh"
outputs = { big = "file" }
code = 'head -c 300000 /dev/zero > $OUT/big'

[cells.size]
lang = "sh"
inputs = { big = "make.big" }
outputs = { n = "int" }
code = 'wc -c < "$big" > $OUT/n'
"#,
    );
    let lost = place.run(&[]).exits(0).path("make", "big");
    std::fs::remove_file(lost).unwrap();
    place.edit("polyloom.toml", "wc -c <", "wc  -c <");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "make ok, size ok");
}

#[test]
fn a_language_of_another_version_is_another_key() {
    let place = Place::flow("[cells.a]\nlang = \"mine\"\ncode = 'echo hi'\n");
    let manifest = |version: u32| {
        format!(
            "id = \"mine\"\nversion = \"{version}\"\nkind = \"command\"\nextensions = [\"mine\"]\n\
             [toolchain.sh]\nany = [\"sh\"]\nversion = []\n[run]\nargv = [\"{{sh}}\", \"{{code}}\"]\n"
        )
    };
    place.executor("mine", &manifest(1));
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    place.executor("mine", &manifest(2));
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
}

#[test]
fn the_environment_of_a_cell_is_in_its_key_and_the_users_is_not() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nenv = { GREETING = \"hi\" }\ncode = 'echo $GREETING $LEAK'\n",
    );
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
    let run = place.call(&["run", "--format", "json"]).env("LEAK", "secret").end().run();
    assert_eq!(run.exits(0).ran(), [""; 0]);
    place.edit("polyloom.toml", "\"hi\"", "\"ho\"");
    let run = place.call(&["run", "--format", "json"]).env("LEAK", "secret").end().run().exits(0);
    assert_eq!(run.ran(), ["a"]);
    assert_eq!(place.polyloom(&["logs"]).exits(0).stdout().matches("secret").count(), 0);
}

#[test]
fn plan_and_status_say_what_run_would_do() {
    let place = warm();
    place.edit("polyloom.toml", "start + 6", "start + 7");
    insta::assert_snapshot!(place.polyloom(&["plan"]).exits(0).screen(), @"
    --- stdout
           cell  lang  why
    run    a     sh    code changed
    maybe  b     sh    a runs
    maybe  c     sh    b runs
    maybe  d     sh    b runs
    --- stderr
    1 to run, 3 perhaps, 0 cached
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["run", "--dry-run"]).exits(0).screen(), @"
    --- stdout
           cell  lang  why
    run    a     sh    code changed
    maybe  b     sh    a runs
    maybe  c     sh    b runs
    maybe  d     sh    b runs
    --- stderr
    1 to run, 3 perhaps, 0 cached
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["status"]).exits(0).screen(), @"
    --- stdout
           cell  lang  why
    stale  a     sh    code changed
    stale  b     sh    a runs
    stale  c     sh    b runs
    stale  d     sh    b runs
    --- stderr
    0 fresh, 4 stale
    --- exit 0
    ");
    // Asking changed nothing.
    assert_eq!(place.run(&[]).exits(0).ran(), ["a", "b", "c"]);
}

#[test]
fn why_names_the_parts_that_changed() {
    let place = warm();
    insta::assert_snapshot!(place.polyloom(&["why", "c"]).exits(0).screen(), @"
    --- stdout
    c is up to date
    last ran in [RUN] (ok)
    no part of its key changed since then
    --- exit 0
    ");
    place.edit("polyloom.toml", "start + 6", "start + 7");
    place.write("words.txt", "zero\n");
    insta::assert_snapshot!(place.polyloom(&["why", "a"]).exits(0).screen(), @"
    --- stdout
    a will run: code changed
    last ran in [RUN] (ok)
    part  then                      now
    code  a.dash, 1 line, 4990f778  a.dash, 1 line, 99bc8461
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["why", "b"]).exits(0).screen(), @"
    --- stdout
    b will run: input words changed (words.txt, [HEX] → words.txt, [HEX])
    last ran in [RUN] (ok)
    part         then                     now
    input.n      a.n (b3:[HEX])    a.n (not known yet)
    input.words  words.txt, [HEX]  words.txt, [HEX]
    --- exit 0
    ");
    insta::assert_snapshot!(place.polyloom(&["why", "c"]).exits(0).screen(), @"
    --- stdout
    c may run: b runs
      because b: input words changed (words.txt, [HEX] → words.txt, [HEX])
    last ran in [RUN] (ok)
    part        then                      now
    input.even  b.even (b3:[HEX])  b.even (not known yet)
    --- exit 0
    ");
    let document = place.polyloom(&["why", "a", "--format", "json"]).exits(0).json();
    let parts: Vec<&str> =
        document["changes"].as_array().unwrap().iter().filter_map(|c| c["part"].as_str()).collect();
    assert_eq!(parts, ["code"]);
    insta::assert_snapshot!(place.polyloom(&["why", "nope"]).exits(2).screen(), @"
    --- stderr
    error: there is no cell `nope`
    hint: `polyloom status` lists the cells
    --- exit 2
    ");
}

#[test]
fn why_tells_a_param_from_code() {
    let place = warm();
    let told = place.polyloom(&["why", "a", "-p", "start=9"]).exits(0).stdout();
    assert!(told.contains("start"), "{told}");
    assert!(!told.contains("code "), "{told}");
}
