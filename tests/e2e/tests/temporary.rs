//! Outputs that a flow calls temporary or to be kept: what is removed, what stays, and what is made again because of it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::PathBuf;

use polyloom_test_e2e::{Place, Run};

const FLOW: &str = r#"
[cells.make]
lang = "sh"
outputs = { big = { type = "file", temp = true }, n = "int" }
code = 'head -c 100000 /dev/zero > $OUT/big; echo 1 > $OUT/n'

[cells.count]
lang = "sh"
inputs = { big = "make.big" }
outputs = { n = "int" }
code = 'wc -c < "$big" > $OUT/n'

[cells.model]
lang = "sh"
outputs = { kept = { type = "file", keep = true }, plain = "file" }
code = 'head -c 200000 /dev/zero > $OUT/kept; head -c 300000 /dev/zero > $OUT/plain'
"#;

/// Where the bytes of an output are, if they are.
fn blob(place: &Place, run: &Run, cell: &str, port: &str) -> PathBuf {
    let digest = run.digest(cell, port);
    let hex = digest.strip_prefix("b3:").unwrap();
    place.store().join("blobs").join(&hex[..2]).join(hex)
}

#[test]
fn a_temporary_output_goes_and_comes_back_only_for_who_reads_it() {
    let place = Place::flow(FLOW);
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "count ok, make ok, model ok");
    let big = blob(&place, &run, "make", "big");
    assert!(!big.exists(), "{}", big.display());
    assert!(blob(&place, &run, "model", "plain").exists());
    // Nothing is missed.
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "count cached, make cached, model cached");
    let shown = place.polyloom(&["show", "latest", "make"]).exits(0).stdout();
    assert!(shown.contains("removed, it is temporary"), "{shown}");
    let shown = place.polyloom(&["show", "latest", "make.big"]).exits(3).stderr();
    assert!(shown.contains("`make.big` is temporary") && shown.contains("run -f make"), "{shown}");
    let shown = place.polyloom(&["show", "latest", "model"]).exits(0).stdout();
    assert!(shown.contains("(keep)"), "{shown}");
    assert!(place.polyloom(&["cache", "verify"]).exits(0).stdout().contains("all are whole"));
    // Who reads it and has to run brings it back.
    place.edit("polyloom.toml", "wc -c", "wc -c -c");
    let plan = place.polyloom(&["plan"]).exits(0).stdout();
    assert!(plan.contains("count needs its temporary output, which was removed"), "{plan}");
    let why = place.polyloom(&["why", "make"]).exits(0).stdout();
    assert!(why.contains("count needs its temporary output"), "{why}");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "count ok, make ok, model cached");
    assert!(!big.exists());
    // Without the word it is an output like others, and is not there.
    place.edit("polyloom.toml", "{ type = \"file\", temp = true }", "\"file\"");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "count cached, make ok, model cached");
    assert!(big.exists());
    // With it again, it goes at the end of a run in which nothing happens.
    place.edit("polyloom.toml", "{ big = \"file\"", "{ big = { type = \"file\", temp = true }");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "count cached, make cached, model cached");
    assert!(!big.exists());
}

#[test]
fn a_temporary_output_stays_for_a_reader_that_failed_and_for_who_asked_for_it() {
    let place = Place::flow(&FLOW.replace("wc -c", "exit 1; wc -c"));
    let run = place.run(&["-k"]);
    assert_eq!(run.outcome("count"), "failed");
    let big = blob(&place, &run, "make", "big");
    assert!(big.exists());
    place.edit("polyloom.toml", "exit 1; ", "");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "count ok, make cached, model cached");
    assert!(!big.exists());
    let run = place.run(&["make", "-f"]).exits(0);
    assert_eq!(run.told(), "make ok");
    assert!(big.exists(), "it was asked for by itself");
}

#[test]
fn the_same_bytes_made_again_go_again() {
    let place = Place::flow(FLOW);
    let run = place.run(&[]).exits(0);
    let big = blob(&place, &run, "make", "big");
    assert!(!big.exists());
    place.edit("polyloom.toml", "echo 1 >", "echo 2 >");
    let again = place.run(&[]).exits(0);
    assert_eq!(again.told(), "count cached, make ok, model cached");
    assert_eq!(again.digest("make", "big"), run.digest("make", "big"));
    assert!(!big.exists());
    let shown = place.polyloom(&["show", "make.big"]).exits(3).stderr();
    assert!(shown.contains("is temporary"), "{shown}");
}

#[test]
fn a_chain_of_temporary_outputs_is_made_again_as_far_as_it_is_needed() {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
outputs = { x = { type = "file", temp = true } }
code = 'head -c 100000 /dev/zero > $OUT/x'

[cells.b]
lang = "sh"
inputs = { y = "a.x" }
outputs = { x = { type = "file", temp = true } }
code = 'cat "$y" "$y" > $OUT/x'

[cells.c]
lang = "sh"
inputs = { x = "b.x" }
outputs = { n = "int" }
code = 'wc -c < "$x" > $OUT/n # c'

[cells.d]
lang = "sh"
inputs = { x = "a.x" }
outputs = { n = "int" }
code = 'wc -c < "$x" > $OUT/n # d'
"#,
    );
    let run = place.run(&[]).exits(0);
    let gone = |run: &Run| {
        for cell in ["a", "b"] {
            assert!(!blob(&place, run, cell, "x").exists(), "{cell}");
        }
    };
    gone(&run);
    assert_eq!(place.run(&[]).exits(0).ran(), [] as [&str; 0]);
    place.edit("polyloom.toml", "# d", "; : # d");
    let run = place.run(&[]).exits(0);
    assert_eq!((run.outcome("a"), run.outcome("d"), run.outcome("c")), ("ok", "ok", "cached"));
    place.edit("polyloom.toml", "# c", "; : # c");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "a ok, b ok, c ok, d cached");
    gone(&run);
}

#[test]
fn what_is_to_be_kept_is_removed_only_when_that_is_asked_for() {
    let place = Place::flow(FLOW);
    let run = place.run(&[]).exits(0);
    let (kept, plain) = (blob(&place, &run, "model", "kept"), blob(&place, &run, "model", "plain"));
    let gc = |more: &[&str]| {
        let args = [&["cache", "gc", "--max-size", "1B"], more].concat();
        place.polyloom(&args).exits(0).stdout()
    };
    let stats = place.polyloom(&["cache", "stats"]).exits(0).stdout();
    assert!(stats.contains("to be kept"), "{stats}");
    let told = gc(&[]);
    assert!(told.contains("are kept since flows say so"), "{told}");
    assert!(kept.exists() && !plain.exists());
    // The word goes, and so may the bytes.
    place.edit("polyloom.toml", "{ type = \"file\", keep = true }", "\"file\"");
    assert_eq!(place.run(&[]).code, 0);
    gc(&[]);
    assert!(!kept.exists());
    place.edit("polyloom.toml", "kept = \"file\"", "kept = { type = \"file\", keep = true }");
    assert_eq!(place.run(&[]).code, 0);
    assert!(kept.exists());
    gc(&["--kept"]);
    assert!(!kept.exists());
}

#[test]
fn what_is_gathered_of_temporary_outputs_is_temporary_itself() {
    let place = Place::flow(
        r#"
[cells.part]
lang = "sh"
map = { n = [1, 2] }
outputs = { x = { type = "file", temp = true } }
code = 'head -c ${n}00000 /dev/zero > $OUT/x'

[cells.all]
lang = "sh"
inputs = { x = "part.x" }
outputs = { n = "int" }
code = 'cat "$x"/* | wc -c > $OUT/n # once'
"#,
    );
    let run = place.run(&[]).exits(0);
    for cell in ["part[n=1]", "part[n=2]"] {
        assert!(!blob(&place, &run, cell, "x").exists(), "{cell}");
    }
    assert_eq!(place.run(&[]).exits(0).ran(), [] as [&str; 0]);
    place.edit("polyloom.toml", "# once", "; : # again");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "all ok, part cached, part[n=1] ok, part[n=2] ok");
    assert!(!blob(&place, &run, "part[n=1]", "x").exists());
    assert_eq!(run.bytes("all", "n"), b"\xce\0\x04\x93\xe0");
}

#[test]
fn a_store_behind_lends_what_is_temporary_and_is_told() {
    let place = Place::flow(FLOW);
    let run = place.run(&[]).exits(0);
    let behind = place.root().join("behind");
    std::fs::rename(place.store(), &behind).unwrap();
    let call = |args: &[&str]| place.call(args).env("POLYLOOM_STORE_BEHIND", &behind).end();
    let again = call(&["run", "--format", "json"]).run().exits(0);
    assert_eq!(again.told(), "count cached, make cached, model cached");
    let stats = call(&["cache", "stats"]).exits(0).stdout();
    assert!(stats.contains("behind it, read only"), "{stats}");
    // What was lent is known as what it is: it is made here only for who reads it.
    place.edit("polyloom.toml", "wc -c", "wc -c -c");
    let again = call(&["run", "--format", "json"]).run().exits(0);
    assert_eq!(again.told(), "count ok, make ok, model cached");
    assert!(!blob(&place, &run, "make", "big").exists());
}

#[test]
fn marks_are_in_no_key_and_checked() {
    let place = Place::flow(
        "[cells.model]\nlang = \"sh\"\noutputs = { it = { type = \"file\", keep = true } }\ncode = 'seq 9 > $OUT/it'\n",
    );
    assert_eq!(place.run(&[]).exits(0).ran(), ["model"]);
    place.edit("polyloom.toml", "{ type = \"file\", keep = true }", "\"file\"");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    place.edit("polyloom.toml", "\"file\"", "{ type = \"file\", keep = true, temp = true }");
    let wrong = place.polyloom(&["check"]).exits(2);
    assert!(wrong.screen().contains("temp"), "{}", wrong.screen());
}
