//! What users and attackers ran into once: each a small flow that must stay mended.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, missing};

#[test]
fn logs_of_a_worker_count_as_output() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(
        r#"
[cells.flood]
lang = "python"
code = '''
import polyloom
while True:
    polyloom.log("x" * 1000)
'''
output_limit = "1MiB"
timeout = "60s"
"#,
    );
    let run = place.run(&[]).exits(1);
    assert_eq!(run.told(), "flood output_exceeded");
}

#[test]
fn a_busy_worker_is_not_taken_for_one_that_stopped_in_a_frame() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(
        r#"
[cells.chatty]
lang = "python"
code = '''
import polyloom, time
end = time.time() + 5.6
while time.time() < end:
    polyloom.log("x" * 10)
done = True
'''
outputs = { done = "bool" }
output_limit = "4GiB"
"#,
    );
    assert_eq!(place.run(&[]).exits(0).told(), "chatty ok");
}

#[test]
fn an_interpreter_named_by_the_flow_is_found_beside_it() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(
        r#"
[executors.python]
python = "venv/bin/python"

[cells.who]
lang = "python"
code = '''
import sys
prefix = sys.prefix
'''
outputs = { prefix = "str" }
"#,
    );
    let made = std::process::Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(place.project().join("venv"))
        .status()
        .unwrap();
    assert!(made.success());
    let run = place.run(&[]).exits(0);
    let prefix = String::from_utf8_lossy(&run.bytes("who", "prefix")).into_owned();
    assert!(prefix.ends_with("/venv"), "{prefix}");
}

#[test]
fn a_missing_interpreter_of_the_flow_is_no_missing_package() {
    let place = Place::flow(
        "[executors.python]\npython = \"venv/bin/python\"\n[cells.a]\nlang = \"python\"\ncode = \"\"\n",
    );
    let ended = place.polyloom(&["run", "."]).exits(2);
    let told = ended.stderr();
    assert!(told.contains("no program is at `venv/bin/python`"), "{told}");
    assert!(!told.contains("apt install"), "{told}");
}

#[test]
fn extra_artifacts_are_kept_and_values_are_written_out_as_people_read_them() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(
        r#"
[cells.a]
lang = "python"
code = '''
import polyloom
polyloom.artifact("notes.txt", "some text")
words = "plain words"
raw = b"\x00\xff"
numbers = [1, 2]
'''
outputs = { words = "str", raw = "bytes", numbers = "list<int>" }
"#,
    );
    let _ = place.run(&[]).exits(0);
    let shown = |what: &str| place.polyloom(&["show", "latest", what, "-o", "-"]).exits(0);
    assert_eq!(shown("a.notes.txt").bytes(), b"some text");
    assert_eq!(shown("a.words").bytes(), b"plain words");
    assert_eq!(shown("a.raw").bytes(), b"\x00\xff");
    assert_eq!(shown("a.numbers").bytes(), b"[1,2]\n");
}

#[test]
fn an_error_in_code_on_one_line_of_the_file_has_the_line_of_the_code() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\ncode = \"x = 1\\ny = 2\\nraise ValueError('three')\\n\"\n[cells.b]\nlang = \"sh\"\ncode = \"true\"\n",
    );
    let run = place.run(&["-k"]).exits(5);
    let diagnostic = &run.cell("a")["diagnostics"][0];
    assert_eq!(diagnostic["file"], "polyloom.toml#a");
    assert_eq!(diagnostic["line"], 3);
}

#[test]
fn a_failing_cell_is_told_what_cells_can_see() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = \"cat data.csv\"\n");
    let told = place.polyloom(&["run", "."]).exits(1).stderr();
    assert!(told.contains("cells see only their inputs"), "{told}");
}

#[test]
fn a_cached_cell_still_has_its_log() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = \"echo hello\"\n");
    let _ = place.run(&[]).exits(0);
    let _ = place.run(&[]).exits(0);
    assert_eq!(place.polyloom(&["logs", "latest", "a"]).exits(0).stdout(), "hello\n");
}

#[test]
fn a_manifest_brings_its_own_program() {
    let place =
        Place::flow("[cells.a]\nlang = \"upper\"\ncode = \"hello\"\noutputs = { y = \"str\" }\n");
    place.executor(
        "upper",
        "id = \"upper\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"up\"]\n[toolchain.sh]\nany = [\"sh\"]\nversion = []\n[run]\nargv = [\"{sh}\", \"{dir}/upper.sh\", \"{code}\"]\n",
    );
    let program = place.executors().join("upper/upper.sh");
    std::fs::write(&program, "tr a-z A-Z < \"$1\" > \"$OUT/y\"\n").unwrap();
    let folder = place.executors();
    let args = ["--executor-dir", folder.to_str().unwrap()];
    let run = place.run(&args).exits(0);
    assert_eq!(&run.bytes("a", "y")[1..], b"HELLO");
    assert_eq!(place.run(&args).exits(0).told(), "a cached");
    // Its program is part of the key.
    std::fs::write(&program, "tr a-z A-Z < \"$1\" | tr L 1 > \"$OUT/y\"\n").unwrap();
    let run = place.run(&args).exits(0);
    assert_eq!(run.told(), "a ok");
    assert_eq!(&run.bytes("a", "y")[1..], b"HE11O");
}

#[test]
fn data_that_cant_be_written_is_an_error() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = \"true\"\n");
    let _ = place.run(&[]).exits(0);
    let program = polyloom_test_e2e::binary();
    let script = format!("{} runs > /dev/full", program.display());
    let ended = place.call_through(&["sh", "-c", &script], &[]).end();
    assert_eq!(ended.code(), 3);
}

#[test]
fn looking_where_nothing_ran_makes_no_folder() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = \"true\"\n");
    assert_eq!(place.polyloom(&["runs"]).exits(0).stdout(), "");
    let told = place.polyloom(&["logs"]).exits(4).stderr();
    assert!(told.contains("no run has been recorded"), "{told}");
    assert!(!place.project().join(".polyloom").exists());
}
