//! The store as its users see it: damage that heals itself, runs that wait for each other, bounds, archives, a store behind the store.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use polyloom_test_e2e::{Place, Running};
use rustix::process::Signal;

const FLOW: &str = r#"
[cells.make]
lang = "sh"
outputs = { big = "file", n = "int" }
code = 'head -c 300000 /dev/zero > $OUT/big; echo 7 > $OUT/n'

[cells.size]
lang = "sh"
inputs = { big = "make.big" }
outputs = { n = "int" }
code = 'wc -c < "$big" > $OUT/n'
"#;

/// 300000 as MessagePack.
const SIZE: [u8; 5] = [0xce, 0, 4, 0x93, 0xe0];

/// Changes a byte; the file's time stays, as when a disk forgets.
fn rot(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(1000)).unwrap();
    file.write_all(b"x").unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn what_rots_is_found_before_a_cell_reads_it_and_made_again() {
    let place = Place::flow(FLOW);
    rot(&place.run(&[]).exits(0).path("make", "big"));
    place.edit("polyloom.toml", "wc -c <", "wc  -c <");
    let ended = place.polyloom(&["run", "--format", "json"]);
    assert!(ended.stderr().contains("`make.big` was damaged in the store"), "{}", ended.screen());
    let run = ended.run().exits(0);
    assert_eq!(run.told(), "make ok, size ok");
    assert_eq!(run.bytes("size", "n"), SIZE);
    assert_eq!(run.bytes("make", "big"), vec![0; 300_000]);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn a_file_that_was_written_to_is_made_again_by_the_next_run() {
    let place = Place::flow(FLOW);
    let path = place.run(&[]).exits(0).path("make", "big");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all(b"x").unwrap();
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "make ok, size cached");
    assert_eq!(run.bytes("make", "big"), vec![0; 300_000]);
}

#[test]
fn verify_finds_what_rots_and_mends_it() {
    let place = Place::flow(FLOW);
    let path = place.run(&[]).exits(0).path("make", "big");
    let told = place.polyloom(&["cache", "verify"]).exits(0).stdout();
    assert!(told.contains("all are whole"), "{told}");
    rot(&path);
    for _ in 0..2 {
        let told = place.polyloom(&["cache", "verify"]).exits(1).stdout();
        assert!(told.contains("is damaged: its bytes have the digest"), "{told}");
    }
    let told = place.polyloom(&["cache", "verify", "--fix"]).exits(0).stdout();
    assert!(told.contains("1 damaged, removed"), "{told}");
    let _ = place.polyloom(&["cache", "verify"]).exits(0);
    assert_eq!(place.run(&[]).exits(0).told(), "make ok, size cached");
}

#[test]
fn an_index_that_cannot_be_read_is_moved_away_on_demand() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let index = place.store().join("index.db");
    for rest in ["index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(place.store().join(rest));
    }
    fs::write(&index, "no database at all".repeat(1000)).unwrap();
    let told = place.polyloom(&["cache", "verify"]).exits(3).stderr();
    assert!(told.contains("hint: polyloom cache verify --fix"), "{told}");
    let _ = place.polyloom(&["cache", "verify", "--fix"]).exits(0);
    assert!(place.store().join("index.db.damaged-1").is_file());
    assert_eq!(place.run(&[]).exits(0).told(), "make ok, size ok");
}

#[test]
fn an_index_that_is_damaged_within_is_moved_away_too() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let index = place.store().join("index.db");
    let mut bytes = fs::read(&index).unwrap();
    // The first page, with the schema, is left whole: it opens.
    for byte in &mut bytes[4096..] {
        *byte = !*byte;
    }
    fs::write(&index, bytes).unwrap();
    let run = place.polyloom(&["run"]).exits(3).stderr();
    assert!(run.contains("hint: `polyloom cache verify --fix`"), "{run}");
    let told = place.polyloom(&["cache", "verify"]).exits(3).stderr();
    assert!(told.contains("hint: polyloom cache verify --fix"), "{told}");
    let told = place.polyloom(&["cache", "verify", "--fix"]).exits(0).stdout();
    assert!(told.contains("index.db.damaged-1` now") && told.contains("all are whole"), "{told}");
    assert_eq!(place.run(&[]).exits(0).told(), "make ok, size ok");
}

/// A cell that says `ready` and waits for a file, outside of which nothing of it depends on time.
const GATE: &str = r#"
[cells.slow]
lang = "sh"
outputs = { n = "int" }
code = '''
echo ready
while [ ! -e gate/open ]; do sleep 0.05; done
echo 7 > $OUT/n
'''
allow = { read = ["gate"] }
"#;

fn gate() -> Place {
    let place = Place::flow(GATE);
    place.write("gate/.keep", "");
    place
}

fn start(place: &Place) -> Running {
    place.call(&["run", "-A", "--events", "-"]).start()
}

fn until_waiting(running: &mut Running) {
    running.until_printed("slow", "another run is making this very result");
}

fn reason(ended: &polyloom_test_e2e::Ended) -> String {
    let events = ended.json_lines();
    let finished = events.iter().find(|event| event["event"] == "step.finished").unwrap();
    format!("{} {}", finished["meta"]["outcome"], finished["reason"]).replace('"', "")
}

#[test]
fn runs_at_once_make_a_result_once() {
    let place = gate();
    let mut first = start(&place);
    first.until_printed("slow", "ready");
    let mut second = start(&place);
    until_waiting(&mut second);
    place.write("gate/open", "");
    assert!(reason(&first.end().exits(0)).starts_with("ok "));
    let second = second.end().exits(0);
    assert_eq!(reason(&second), "cached another run made it meanwhile");
    assert_eq!(place.run(&["-A"]).exits(0).ran(), [""; 0]);
}

#[test]
fn a_killed_run_lets_the_next_one_make_it() {
    let place = gate();
    let mut first = start(&place);
    first.until_printed("slow", "ready");
    let mut second = start(&place);
    until_waiting(&mut second);
    first.signal(Signal::KILL);
    let _ = first.end().exits(137);
    second.until_printed("slow", "ready");
    place.write("gate/open", "");
    assert!(reason(&second.end().exits(0)).starts_with("ok "));
}

#[test]
fn waiting_can_be_interrupted() {
    let place = gate();
    let mut first = start(&place);
    first.until_printed("slow", "ready");
    let mut second = start(&place);
    until_waiting(&mut second);
    second.signal(Signal::INT);
    let _ = second.end().exits(130);
    place.write("gate/open", "");
    assert!(reason(&first.end().exits(0)).starts_with("ok "));
}

#[test]
fn nobody_waits_for_what_is_not_shared() {
    let place = gate();
    let mut first = start(&place);
    first.until_printed("slow", "ready");
    for args in [["--no-cache"], ["-f"]] {
        let mut other = place.call(&["run", "-A", "--events", "-", args[0]]).start();
        other.until_printed("slow", "ready");
        other.signal(Signal::INT);
        let _ = other.end().exits(130);
    }
    place.write("gate/open", "");
    let _ = first.end().exits(0);
}

#[test]
fn equal_cells_of_one_run_are_made_once() {
    let cell = |name: &str| {
        format!(
            "[cells.{name}]\nlang = \"sh\"\noutputs = {{ n = \"int\" }}\ncode = 'echo 7 > $OUT/n'\n"
        )
    };
    let place = Place::flow(&format!("{}{}", cell("a"), cell("b")));
    let run = place.run(&["-j2"]).exits(0);
    assert_eq!(run.ran().len(), 1, "{}", run.told());
}

#[test]
fn a_run_brings_the_store_back_within_its_bounds() {
    let place = Place::flow(FLOW);
    let run = |max: &str| place.call(&["run"]).env("POLYLOOM_STORE_MAX", max).end();
    let _ = run("nonsense").exits(2);
    let _ = run("1KiB").exits(0);
    // What was just made is spared.
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    let told = place.polyloom(&["cache", "gc", "-n", "--max-age", "1ms"]).exits(0).stdout();
    assert!(told.contains("would remove") && !told.contains("would remove 0 "), "{told}");
    let told = place.polyloom(&["cache", "gc", "--max-results", "1"]).exits(0).stdout();
    assert!(told.contains("removed 1 records"), "{told}");
}

#[test]
fn results_are_carried_to_another_store_in_a_file() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let file = place.root().join("results.polyloom");
    let file = file.to_str().unwrap();
    let told = place.polyloom(&["cache", "export", file]).exits(0).stdout();
    assert!(told.starts_with("wrote 2 results"), "{told}");
    fs::remove_dir_all(place.store()).unwrap();
    let told = place.polyloom(&["cache", "import", file]).exits(0).stdout();
    assert!(told.starts_with("took over 2 results"), "{told}");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "make cached, size cached");
    assert_eq!(run.bytes("size", "n"), SIZE);
    fs::write(file, &fs::read(file).unwrap()[..200_000]).unwrap();
    let told = place.polyloom(&["cache", "import", file]).exits(3).stderr();
    assert!(told.contains("it ends too early"), "{told}");
}

/// All files below a folder with their bytes and times.
fn everything(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        if meta.is_dir() {
            all.extend(everything(&path));
        }
        all.push(format!("{} {:?} {}", path.display(), meta.modified().unwrap(), meta.len()));
    }
    all.sort();
    all
}

#[test]
fn a_store_behind_the_store_is_read_and_never_written() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let behind = place.root().join("behind");
    fs::rename(place.store(), &behind).unwrap();
    let before = everything(&behind);
    let run = |args: &[&str]| {
        let args = [&["run", "--format", "json"], args].concat();
        place.call(&args).env("POLYLOOM_STORE_BEHIND", &behind).end().run()
    };
    assert_eq!(run(&[]).exits(0).told(), "make cached, size cached");
    place.edit("polyloom.toml", "wc -c <", "wc  -c <");
    let again = run(&[]).exits(0);
    assert_eq!(again.told(), "make cached, size ok");
    assert_eq!(again.bytes("size", "n"), SIZE);
    assert_eq!(everything(&behind), before);
    // What was used is here now.
    fs::remove_dir_all(&behind).unwrap();
    assert_eq!(place.run(&[]).exits(0).told(), "make cached, size cached");
    let ended = place.call(&["run"]).env("POLYLOOM_STORE_BEHIND", &behind).end().exits(0);
    assert!(ended.stderr().contains("warning: there is no store"), "{}", ended.screen());
}
