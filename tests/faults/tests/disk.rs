//! Full disks, read-only stores, torn records, damaged indexes: told, survived, and nothing is lost but cache.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::io::Write;
use std::path::Path;

use polyloom_test_e2e::{Place, carry_log_over, is_root, needs, skip};
use polyloom_test_faults::mounted;

const FLOW: &str = r#"
[cells.first]
lang = "sh"
outputs = { x = "file" }
code = 'yes first | head -c 1000000 > $OUT/x'

[cells.second]
lang = "sh"
inputs = { x = "first.x" }
outputs = { n = "int" }
code = 'wc -c < $x > $OUT/n'

[cells.much]
lang = "sh"
inputs = { n = "second.n" }
outputs = { all = "dir" }
code = 'mkdir $OUT/all; for f in $(seq 20); do head -c 300000 /dev/urandom > $OUT/all/$f; done'
"#;

/// Mounts what `NAME` (a variable) holds, runs, fills the disk to the last byte, and goes on with `rest`.
fn on_a_small_disk(variable: &str, size: &str, rest: &str) -> String {
    format!(
        "mount -t tmpfs -o size={size} none \"${variable}\" || exit 77\n\
         say() {{ echo \"== $1\"; shift; \"$@\" 2>&1; echo \"exit $?\"; }}\n\
         fill() {{ cat /dev/zero > \"${variable}/filler\" 2> /dev/null; }}\n{rest}"
    )
}

/// The part of what was printed that follows a heading.
fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("== {heading}\n"))
        .unwrap_or_else(|| panic!("no `{heading}`: {text}"));
    rest.split("\n== ").next().unwrap()
}

#[test]
fn a_full_store_is_told_can_be_read_and_can_be_emptied() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    let place = Place::flow(FLOW);
    fs::create_dir(place.store()).unwrap();
    let bin = "bin=\"$1\"; ";
    let rest = format!(
        "{bin}say run \"$@\"; fill\n\
         say again \"$@\"\n\
         say runs $bin runs\nsay show $bin show latest\nsay replay $bin replay latest~1\nsay stats $bin cache stats\n\
         say gc $bin cache gc --max-size 1KiB\n\
         rm \"$POLYLOOM_STORE/filler\"; mount -o remount,size=64m \"$POLYLOOM_STORE\"\nsay last \"$@\"\n"
    );
    let ended = mounted(&place, &on_a_small_disk("POLYLOOM_STORE", "4m", &rest), &["run"]);
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let out = ended.stdout();
    assert!(!out.contains("panicked"), "{out}");
    let run = part(&out, "run");
    assert!(run.contains("no space left on the disk") && run.contains("exit 3"), "{out}");
    let again = part(&out, "again");
    assert!(again.contains("cached  first") && again.contains("cached  second"), "{out}");
    assert!(again.contains("no space left on the disk"), "{out}");
    for (heading, words) in [
        ("runs", "failed"),
        ("show", "cached"),
        ("replay", "ok      first"),
        ("stats", "artifacts"),
    ] {
        let told = part(&out, heading);
        assert!(told.contains("exit 0") && told.contains(words), "{heading}: {out}");
    }
    let gc = part(&out, "gc");
    assert!(gc.contains("exit 0") && gc.contains("removed"), "{out}");
    assert!(!gc.contains("removed 0 "), "{out}");
    assert!(part(&out, "last").contains("exit 0"), "{out}");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn what_a_full_store_can_not_record_is_told_once_and_how_much_it_was() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    let items: Vec<String> = (0..300).map(|at| at.to_string()).collect();
    let place = Place::flow(&format!(
        "[cells.c]\nlang = \"sh\"\nmap = {{ i = [{}] }}\noutputs = {{ x = \"str\" }}\ncode = 'printf \"%04000d\" $i > $OUT/x'\n
         [cells.bad]\nlang = \"sh\"\ninputs = {{ all = \"c.x\" }}\ncode = 'exit 1'\n",
        items.join(", ")
    ));
    fs::create_dir(place.store()).unwrap();
    let ended =
        mounted(&place, &on_a_small_disk("POLYLOOM_STORE", "1500k", "say run \"$@\""), &["run"]);
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let out = ended.stdout();
    let lost = "warning: results could not be recorded";
    assert_eq!(out.matches(&format!("{lost}, they will be made again")).count(), 1, "{out}");
    assert_eq!(out.matches(&format!("{lost}: ")).count(), 1, "{out}");
    assert!(out.contains("of this run, which the next one makes again"), "{out}");
    assert!(out.contains("failed  c ") && out.contains("hint: it did not begin\n"), "{out}");
    assert!(!out.contains("the next run goes on from here"), "{out}");
}

#[test]
fn an_index_that_has_no_room_is_opened_after_the_oldest_went() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    // Many small results: they are rows, and to remove them takes room in the index.
    let mut flow = String::from(
        "[cells.big]\nlang = \"sh\"\noutputs = { x = \"file\" }\ncode = 'head -c 5000000 /dev/urandom > $OUT/x'\n",
    );
    for cell in 0..30 {
        flow.push_str(&format!(
            "[cells.c{cell}]\nlang = \"sh\"\noutputs = {{ x = \"file\" }}\ncode = 'head -c 8000 /dev/urandom > $OUT/x # {cell}'\n"
        ));
    }
    let place = Place::flow(&flow);
    fs::create_dir(place.store()).unwrap();
    let rest = "bin=\"$1\"; say run \"$@\"; fill\nsay gc $bin cache gc --max-size 1KiB\nsay stats $bin cache stats\n";
    let ended = mounted(&place, &on_a_small_disk("POLYLOOM_STORE", "8m", rest), &["run"]);
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let out = ended.stdout();
    assert!(part(&out, "run").contains("exit 0"), "{out}");
    let gc = part(&out, "gc");
    assert!(gc.contains("exit 0") && gc.contains("31 results lose their outputs"), "{out}");
    assert!(part(&out, "stats").contains("exit 0"), "{out}");
}

#[test]
fn a_full_project_or_temporary_folder_stops_nobody() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    for variable in ["HISTORY", "TMPDIR"] {
        let place = Place::flow(FLOW);
        let folder = place.project().join(".polyloom");
        fs::create_dir(&folder).unwrap();
        let rest = "fill; say run \"$@\"\nrm \"$HISTORY/filler\" 2> /dev/null; say again \"$@\"\n";
        let script = on_a_small_disk(variable, "256k", rest);
        let words = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let temporary = place.root().join("tmp");
        fs::create_dir(&temporary).unwrap();
        let call = place.call_through(&words, &["run"]);
        let ended = call.env("HISTORY", &folder).env("TMPDIR", &temporary).end();
        if ended.code() == 77 {
            return skip("no file system can be mounted");
        }
        let out = ended.stdout();
        assert!(!out.contains("panicked"), "{out}");
        let run = part(&out, "run");
        assert!(run.contains("exit 0") && run.contains("ok      much"), "{variable}: {out}");
        if variable == "HISTORY" {
            assert!(run.contains("warning"), "{out}");
        }
        let again = part(&out, "again");
        assert!(again.contains("exit 0") && again.contains("3 cached"), "{variable}: {out}");
    }
}

#[test]
fn a_read_only_store_is_told() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    let place = Place::flow(FLOW);
    let _ = place.polyloom(&["run"]).exits(0);
    let script = "mount --bind \"$POLYLOOM_STORE\" \"$POLYLOOM_STORE\" && mount -o remount,bind,ro \"$POLYLOOM_STORE\" || exit 77\n\"$@\"";
    let ended = mounted(&place, script, &["run"]);
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let ended = ended.exits(3);
    let told = ended.stderr();
    assert!(told.contains("Read-only file system") || told.contains("readonly"), "{told}");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

/// To remove a plugin is what helps a full disk: it needs no room, whether its copy may go now or somebody still runs it.
#[test]
fn a_plugin_is_removed_from_a_full_disk() {
    needs!("unshare", "mount", "flock");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    let place = Place::new();
    for name in ["one", "two", "three"] {
        let _ = place.polyloom(&["plugin", "new", name]).exits(0);
    }
    let data = place.root().join("home/.local/share");
    fs::create_dir_all(&data).unwrap();
    let plugins = "\"$XDG_DATA_HOME/polyloom/plugins\"";
    let rest = format!(
        "bin=\"$1\"; for it in one two three; do say $it $bin plugin install $it --yes; done\n\
         fill; say inuse flock -s {plugins}/use $bin plugin remove one; say left ls {plugins}/copies\n\
         rm {plugins}/use; fill; say second $bin plugin remove two\n\
         fill; say third $bin plugin remove three; say list cat {plugins}/installed.json; say none ls {plugins}/copies\n"
    );
    let ended = mounted(&place, &on_a_small_disk("XDG_DATA_HOME", "1m", &rest), &["run"]);
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let out = ended.stdout();
    for (heading, words) in [
        ("three", "installed: "),
        ("inuse", "removed `one`"),
        ("second", "removed `two`"),
        ("third", "removed `three`"),
    ] {
        let told = part(&out, heading);
        assert!(told.contains(words) && told.contains("exit 0"), "{heading}: {out}");
    }
    assert_eq!(part(&out, "left").lines().count(), 4, "a copy that is in use stays: {out}");
    assert!(part(&out, "list").contains("\"plugins\": []"), "{out}");
    assert_eq!(part(&out, "none"), "exit 0\n", "{out}");
}

/// The folder of the only run.
fn folder_of_the_run(place: &Place) -> std::path::PathBuf {
    let mut runs = fs::read_dir(place.project().join(".polyloom/runs")).unwrap();
    runs.next().unwrap().unwrap().path()
}

#[test]
fn a_torn_record_loses_its_last_line_only() {
    let place = Place::flow(FLOW);
    let _ = place.polyloom(&["run"]).exits(0);
    let log = folder_of_the_run(&place).join("events.jsonl");
    let whole = fs::read(&log).unwrap();
    let lines = whole.iter().filter(|byte| **byte == b'\n').count();
    for cut in [1, 7, 100, 400] {
        fs::write(&log, &whole[..whole.len() - cut]).unwrap();
        let replayed = place.polyloom(&["replay", "--format", "jsonl"]);
        let replayed = if replayed.code() == 2 { place.polyloom(&["replay"]) } else { replayed };
        let screen = replayed.screen();
        assert!(screen.contains("first") && !screen.contains("panicked"), "cut by {cut}: {screen}");
        let _ = place.polyloom(&["logs", "latest", "first"]).exits(0);
    }
    // What a power cut leaves of a file that had grown: zeros.
    let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(&[0; 700]).unwrap();
    let screen = place.polyloom(&["replay"]).screen();
    assert!(screen.contains("first") && !screen.contains("panicked"), "{screen}");
    assert!(lines > 5);
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran(), [""; 0], "the results are in the store");
}

/// Damages a file at several places; each time a run must tell, or go on, and end well once the file is gone.
fn damaged(index: &dyn Fn(&Place) -> std::path::PathBuf, needed: bool) {
    let place = Place::flow(FLOW);
    let first = place.run(&[]).exits(0);
    carry_log_over(&index(&place));
    let whole = fs::read(index(&place)).unwrap();
    let rest = |place: &Place| {
        for end in ["-wal", "-shm"] {
            let mut name = index(place).into_os_string();
            name.push(end);
            let _ = fs::remove_file(name);
        }
    };
    let mut told = 0;
    for size in [0, 50, 100, 4096, 5000, whole.len() / 2, whole.len() - 1] {
        rest(&place);
        fs::write(index(&place), &whole[..size]).unwrap();
        let ended = place.polyloom(&["run"]);
        let screen = ended.screen();
        assert!([0, 3].contains(&ended.code()), "cut to {size}: {screen}");
        assert!(!screen.contains("panicked"), "cut to {size}: {screen}");
        if ended.code() == 3 || screen.contains("not be recorded") || screen.contains("could not") {
            told += 1;
            assert!(screen.contains("index"), "cut to {size}: {screen}");
        }
    }
    assert!(told > 0, "no damage was noticed");
    rest(&place);
    fs::remove_file(index(&place)).unwrap();
    let run = place.run(&[]).exits(0);
    let ran = run.ran().len();
    assert_eq!(ran, if needed { 3 } else { 0 }, "{}", run.told());
    assert_eq!(run.digest("second", "n"), first.digest("second", "n"));
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn a_cut_off_index_of_the_store_is_told_and_costs_the_cache_only() {
    damaged(&|place: &Place| place.store().join("index.db"), true);
}

#[test]
fn a_cut_off_index_of_the_history_is_told_and_costs_no_result() {
    damaged(&|place: &Place| place.project().join(".polyloom/index.db"), false);
}

#[test]
fn a_blob_that_lost_its_end_is_made_again() {
    let place = Place::flow(FLOW);
    let path = place.run(&[]).exits(0).path("first", "x");
    let cut = |path: &Path| {
        let whole = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        fs::write(path, &whole[..whole.len() / 3]).unwrap();
    };
    cut(&path);
    let run = place.run(&[]).exits(0);
    assert_eq!(run.outcome("first"), "ok");
    assert_eq!(run.bytes("first", "x").len(), 1_000_000);
}
