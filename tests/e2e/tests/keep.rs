//! Outputs that are to be kept, and temporary ones: what is removed when, and what is made again for it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::Place;

/// `raw` is large and temporary, `model` is kept; `size` reads the one, `last` the other.
const FLOW: &str = r#"
[cells.raw]
lang = "sh"
outputs = { data = { type = "file", temp = true }, lines = "int" }
code = '''
seq 1 20000 > $OUT/data
echo 20000 > $OUT/lines
'''

[cells.size]
lang = "sh"
inputs = { data = "raw.data" }
outputs = { n = "int" }
code = 'wc -c < $data > $OUT/n'

[cells.model]
lang = "sh"
inputs = { data = "raw.data" }
outputs = { it = { type = "file", keep = true } }
code = 'tail -n 9000 $data > $OUT/it'

[cells.last]
lang = "sh"
inputs = { n = "size.n" }
code = 'echo size $n'
"#;

fn reason(run: &polyloom_test_e2e::Run, cell: &str) -> String {
    run.cell(cell)["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_temporary_output_goes_when_its_readers_are_through() {
    let place = Place::flow(FLOW);
    let first = place.run(&[]).exits(0);
    assert_eq!(first.ran(), ["last", "model", "raw", "size"]);
    let digest = first.digest("raw", "data");
    let blob = |digest: &str| {
        let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
        place.store().join("blobs").join(&hex[..2]).join(hex)
    };
    assert!(!blob(&digest).exists(), "{digest} is there");
    assert!(blob(&first.digest("model", "it")).exists());
    // The flow is up to date all the same.
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    let status = place.polyloom(&["status"]).exits(0);
    assert!(
        status.stderr().contains("4 fresh") || status.stdout().contains("4 fresh"),
        "{status:?}"
    );
    // Who does not read it does not bring it back.
    place.edit("polyloom.toml", "echo size $n", "echo the size is $n");
    assert_eq!(place.run(&[]).exits(0).ran(), ["last"]);
    // Who reads it does; the others stay as they are.
    place.edit("polyloom.toml", "wc -c < $data", "wc -l < $data");
    let plan = place.polyloom(&["plan"]).exits(0).stdout();
    assert!(plan.contains("raw"), "{plan}");
    let again = place.run(&[]).exits(0);
    assert_eq!(again.ran(), ["last", "raw", "size"]);
    assert_eq!(again.digest("raw", "data"), digest);
    let why = reason(&again, "raw");
    assert_eq!(why, "size needs its temporary output, which was removed");
    assert!(!blob(&digest).exists());
}

#[test]
fn a_temporary_output_stays_while_a_reader_has_not_made_it() {
    let place = Place::flow(FLOW);
    place.edit("polyloom.toml", "wc -c < $data > $OUT/n", "exit 3");
    let first = place.run(&["-k"]).exits(5);
    assert_eq!(first.outcome("size"), "failed");
    place.edit("polyloom.toml", "exit 3", "wc -c < $data > $OUT/n");
    let second = place.run(&[]).exits(0);
    assert_eq!(second.ran(), ["last", "size"]);
    // Asked for by itself it is there to be looked at.
    let place = Place::flow(FLOW);
    let alone = place.run(&["raw"]).exits(0);
    assert_eq!(alone.bytes("raw", "data").len(), 108_894);
}

#[test]
fn what_is_kept_outlasts_every_bound() {
    let place = Place::flow(FLOW);
    let first = place.run(&[]).exits(0);
    let kept = first.bytes("model", "it");
    let stats = place.polyloom(&["cache", "stats"]).exits(0);
    assert!(stats.stdout().contains("kept"), "{}", stats.stdout());
    let _ = place.polyloom(&["cache", "gc", "--max-size", "1"]).exits(0);
    let second = place.run(&[]).exits(0);
    assert!(!second.ran().contains(&"model".to_owned()), "{:?}", second.ran());
    assert_eq!(second.bytes("model", "it"), kept);
}

/// What is said of keeping is in no key, and wrong words are told.
#[test]
fn marks_are_in_no_key_and_checked() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    place.edit("polyloom.toml", "{ type = \"file\", keep = true }", "\"file\"");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    place.edit("polyloom.toml", "temp = true", "temp = true, keep = true");
    let wrong = place.polyloom(&["check"]).exits(2);
    assert!(wrong.screen().contains("temp"), "{}", wrong.screen());
}
