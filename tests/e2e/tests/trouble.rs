//! When the world is not as it should be: folders that can't be written, full disks, newer stores, two runs at once.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use polyloom_test_e2e::{Ended, Place, is_root, needs, skip};

const FLOW: &str = r#"
[cells.a]
lang = "sh"
outputs = { x = "file" }
code = 'head -c 100000 /dev/zero > $OUT/x'

[cells.b]
lang = "sh"
inputs = { x = "a.x" }
outputs = { n = "int" }
code = 'wc -c < "$x" > $OUT/n'
"#;

const NOBODY: u32 = 65_534;

/// A call by a user for whom permissions count.
fn as_nobody(place: &Place, args: &[&str]) -> Ended {
    let call = place.call(args);
    if is_root() { call.uid(NOBODY).end() } else { call.end() }
}

fn forbid(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap();
}

#[test]
fn a_read_only_project_runs_and_is_recorded_elsewhere() {
    let place = Place::flow(FLOW);
    if is_root() {
        place.give_to(NOBODY);
    }
    forbid(&place.project());
    let ended = as_nobody(&place, &["run"]).exits(0);
    insta::assert_snapshot!(ended.screen(), @"
    --- stderr
    warning: the project can't hold its history (can't make the folder `./.polyloom`: Permission denied (os error 13)); it is kept in [ROOT]/store/projects/[HEX]
    run [RUN]: project (./polyloom.toml), 2 cells, [N] at once
    ok      a  sh [TOOK]  never ran
    ok      b  sh [TOOK]  never ran
    ok in [TOOK]: 2 ran
    critical path: a [TOOK] → b [TOOK], [TOOK] of [TOOK]
    --- exit 0
    ");
    let run = as_nobody(&place, &["run", "--format", "json"]).run().exits(0);
    assert_eq!(run.ran(), [""; 0]);
    let runs = as_nobody(&place, &["runs", "--format", "json"]).exits(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2);
    std::fs::set_permissions(place.project(), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_store_that_cannot_be_written_is_an_environment_problem() {
    let place = Place::flow(FLOW);
    if is_root() {
        place.give_to(NOBODY);
    }
    std::fs::create_dir(place.store()).unwrap();
    forbid(&place.store());
    let ended = as_nobody(&place, &["run"]).exits(3);
    insta::assert_snapshot!(ended.screen(), @"
    --- stderr
    error: can't make the folder `[ROOT]/store/blobs`
    caused by: Permission denied (os error 13)
    hint: `POLYLOOM_STORE` names this place for the store: set it to a folder that you may write to
    --- exit 3
    ");
    let _ = as_nobody(&place, &["check"]).exits(0);
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let index = place.store().join("index.db");
    set_version(&index, 999);
    let before = std::fs::read(&index).unwrap();
    insta::assert_snapshot!(place.polyloom(&["run"]).exits(3).screen(), @"
    --- stderr
    error: the store `[ROOT]/store` has version 999, this program reads versions up to 4: update polyloom, or set `POLYLOOM_STORE` to another folder
    --- exit 3
    ");
    assert_eq!(std::fs::read(&index).unwrap(), before);
    let _ = place.polyloom(&["check"]).exits(0);
}

#[test]
fn a_history_of_a_newer_version_is_left_alone() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let index = place.project().join(".polyloom/index.db");
    set_version(&index, 999);
    let before = std::fs::read(&index).unwrap();
    let ended = place.polyloom(&["run"]).exits(0);
    insta::assert_snapshot!(ended.screen(), @"
    --- stderr
    error: the history `./.polyloom` has version 999, this program reads versions up to 5: update polyloom
    warning: this run will not be recorded
    not recorded: project (./polyloom.toml), 2 cells, [N] at once
    cached  a  sh       -  up to date
    cached  b  sh       -  up to date
    ok in [TOOK]: 2 cached
    --- exit 0
    ");
    assert_eq!(std::fs::read(&index).unwrap(), before);
}

fn set_version(index: &Path, version: u32) {
    let connection = rusqlite::Connection::open(index).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
    connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
}

#[test]
fn a_damaged_store_is_told_and_not_made_worse() {
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(0);
    let index = place.store().join("index.db");
    std::fs::write(
        &index,
        "this is no database, and it is longer than a header of one would be".repeat(20),
    )
    .unwrap();
    let ended = place.polyloom(&["run"]);
    assert!([0, 3].contains(&ended.code()), "{}", ended.screen());
    assert!(!ended.stderr().contains("panicked"), "{}", ended.screen());
    assert!(ended.stderr().contains("index.db") || ended.code() == 0, "{}", ended.screen());
}

#[test]
fn a_cut_off_artifact_never_reaches_a_cell() {
    let place = Place::flow(FLOW);
    let path = place.run(&[]).exits(0).path("a", "x");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&path, "short").unwrap();
    place.edit("polyloom.toml", "wc -c <", "wc  -c <");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.bytes("b", "n"), [0xce, 0, 1, 0x86, 0xa0]);
}

#[test]
fn two_runs_at_once_are_both_well() {
    let place = Place::flow(FLOW);
    let calls: Vec<_> = (0..4).map(|_| place.call(&["run", "--format", "json"]).start()).collect();
    let runs: Vec<_> = calls.into_iter().map(|call| call.end().run().exits(0)).collect();
    for run in &runs {
        assert_eq!(run.document["outcome"], "ok");
        assert_eq!(run.digest("b", "n"), runs[0].digest("b", "n"));
    }
    let runs = place.polyloom(&["runs", "--format", "json"]).exits(0).json();
    let states: Vec<_> =
        runs["runs"].as_array().unwrap().iter().map(|r| r["state"].clone()).collect();
    assert_eq!(states, ["ok"; 4]);
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    let place = Place::flow(
        "[cells.small]\nlang = \"sh\"\noutputs = { x = \"int\" }\ncode = 'echo 1 > $OUT/x'\n\
         [cells.big]\nlang = \"sh\"\ninputs = { after = \"small.x\" }\noutputs = { y = \"file\" }\ncode = 'head -c 9000000 /dev/urandom > $OUT/y'\n",
    );
    std::fs::create_dir(place.store()).unwrap();
    // Both calls see the same small file system, which goes with their mount namespace.
    let script = "mount -t tmpfs -o size=4m none \"$POLYLOOM_STORE\" || exit 77\n\
                  \"$@\"; first=$?\n\
                  \"$@\" 2>&1; second=$?\n\
                  echo \"exits $first $second\"";
    let ended = place.call_through(&["unshare", "-m", "sh", "-c", script, "sh"], &["run"]).end();
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let out = ended.stdout();
    assert!(out.contains("no space left on the disk"), "{}", ended.screen());
    assert!(out.contains("cached  small"), "{}", ended.screen());
    assert!(!ended.screen().contains("panicked"), "{}", ended.screen());
    assert!(out.contains("exits 3 3") || out.contains("exits 1 1"), "{}", ended.screen());
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_full_project_disk_loses_the_record_only() {
    needs!("unshare", "mount");
    if !is_root() {
        return skip("a file system of its own needs root");
    }
    let place = Place::flow(FLOW);
    std::fs::create_dir(place.project().join(".polyloom")).unwrap();
    let script = "mount -t tmpfs -o size=64k none .polyloom || exit 77\n\
                  head -c 60000 /dev/zero > .polyloom/filler; exec \"$@\"";
    let call = place
        .call_through(&["unshare", "-m", "sh", "-c", script, "sh"], &["run", "--format", "json"]);
    let ended = call.end();
    if ended.code() == 77 {
        return skip("no file system can be mounted");
    }
    let run = ended.run().exits(0);
    assert_eq!(run.told(), "a ok, b ok");
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
}

#[test]
fn a_project_that_vanishes_while_it_runs_is_survived() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo ready; sleep 0.5; echo end'\n");
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("a", "ready");
    std::fs::remove_dir_all(place.project()).unwrap();
    let ended = running.end();
    assert!(!ended.stderr().contains("panicked"), "{}", ended.screen());
    assert!([0, 3].contains(&ended.code()), "{}", ended.screen());
}

#[test]
fn ten_thousand_cells_are_checked_in_no_time() {
    let mut flow = String::new();
    for i in 0..10_000 {
        let inputs = if i == 0 {
            String::new()
        } else {
            format!("inputs = {{ before = \"c{}.x\" }}\n", i - 1)
        };
        flow.push_str(&format!(
            "[cells.c{i}]\nlang = \"sh\"\n{inputs}outputs = {{ x = \"int\" }}\ncode = 'echo {i}'\n"
        ));
    }
    let place = Place::flow(&flow);
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    let start = Instant::now();
    let _ = place.polyloom(&["check"]).exits(0);
    let took = start.elapsed();
    println!("check of 10,000 cells: {took:?}");
    assert!(took < limit, "{took:?}");
    for args in [
        &["plan", "--format", "json"][..],
        &["status"],
        &["graph", "--json"],
        &["graph"],
        &["graph", "--dot"],
    ] {
        let start = Instant::now();
        let _ = place.polyloom(args).exits(0);
        let took = start.elapsed();
        println!("{args:?} of 10,000 cells: {took:?}");
        assert!(took < 3 * limit, "{args:?} took {took:?}");
    }
}

#[test]
fn a_broken_file_does_not_hide_the_others() {
    let place = Place::flow(FLOW);
    place.write("broken.toml", "[cells.a\nlang = ");
    place.write(
        "wrong.toml",
        "[cells.a]\nlang = \"sh\"\ncode = ''\ninputs = { x = \"b.y\" }\ntimeot = \"5s\"\n",
    );
    place.write("binary.toml", [0xff, 0xfe, 0, 1]);
    let flows =
        ["check", "broken.toml", "polyloom.toml", "wrong.toml", "binary.toml", "absent.toml"];
    insta::assert_snapshot!(place.polyloom(&flows).exits(2).screen(), @r#"
    --- stderr
    PL001

      × unclosed table, expected `]`
       ╭─[broken.toml:1:9]
     1 │ [cells.a
       ·         ▲
     2 │ lang =
       ╰────

    PL040

      × there is no cell `b`
       ╭─[wrong.toml:4:16]
     3 │ code = ''
     4 │ inputs = { x = "b.y" }
       ·                ─────
     5 │ timeot = "5s"
       ╰────

    PL003

      × unknown key `timeot` in the cell `a`
       ╭─[wrong.toml:5:1]
     4 │ inputs = { x = "b.y" }
     5 │ timeot = "5s"
       · ───┬──
       ·    ╰── nobody reads this
       ╰────
      help: did you mean `timeout`?

    PL002

      × the file is not UTF-8 from byte 0 on
       ╭─[binary.toml:1:1]
     1 │ ��??
       · ─
       ╰────
      help: save it as UTF-8

    PL002

      × can't read `absent.toml`: there is no such file or folder

    5 flows: 5 errors, 0 warnings
    --- exit 2
    "#);
    let _ = place.polyloom(&["check", "polyloom.toml"]).exits(0);
}

#[test]
fn bad_manifests_stop_nobody() {
    let place = Place::flow("[cells.a]\nlang = \"good\"\ncode = 'echo good'\n");
    let manifest = |id: &str, rest: &str| {
        format!(
            "id = \"{id}\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"{id}\"]\n{rest}\
             [toolchain.sh]\nany = [\"sh\"]\nversion = []\n[run]\nargv = [\"{{sh}}\", \"{{code}}\"]\n"
        )
    };
    place.executor("good", &manifest("good", ""));
    place.executor("torn", "id = \"torn\nkind");
    place.executor("python", &manifest("python", ""));
    place.executor("keys", &manifest("keys", "colour = \"red\"\n"));
    place.executor(
        "hole",
        "id = \"hole\"\nversion = \"1\"\nkind = \"command\"\n[run]\nargv = [\"{nothing}\"]\n",
    );
    place.executor("loader", &(manifest("loader", "") + "[env]\nLD_PRELOAD = \"/tmp/x.so\"\n"));
    std::fs::create_dir(place.executors().join("empty")).unwrap();
    let ended = place.polyloom(&["run"]).exits(0);
    insta::assert_snapshot!(ended.screen(), @r#"
    --- stderr
    PL060

      × unknown placeholder `{nothing}`
       ╭─[[ROOT]/executors/hole/executor.toml:5:9]
     4 │ [run]
     5 │ argv = ["{nothing}"]
       ·         ───────────
       ╰────
      help: valid here: `{code}`, `{args}`, `{in}`, `{out}`, `{work}`, `{dir}`, `{sdk}`, `{polyloom}`

    PL003

      × unknown key `colour` in the manifest
       ╭─[[ROOT]/executors/keys/executor.toml:5:1]
     4 │ extensions = ["keys"]
     5 │ colour = "red"
       · ───┬──
       ·    ╰── nobody reads this
     6 │ [toolchain.sh]
       ╰────
      help: valid: `id`, `version`, `title`, `kind`, `aliases`, `extensions`, `toolchain`, `compile`,
            `run`, `worker`, `zygote`, `instances`, `native`, `wasm`, `limits`, `env`, `sandbox`,
            `normalise`, `catalog`, `diagnostics`, `meta`

    PL053

      × the environment variable `LD_PRELOAD` can't be set by a manifest
        ╭─[[ROOT]/executors/loader/executor.toml:11:1]
     10 │ [env]
     11 │ LD_PRELOAD = "/tmp/x.so"
        · ──────────
        ╰────
      help: every cell is given its own; use another name or an argument

    PL001

      × invalid basic string, expected `"`
       ╭─[[ROOT]/executors/torn/executor.toml:1:11]
     1 │ id = "torn
       ·           ▲
     2 │ kind
       ╰────

    PL001

      × key with no value, expected `=`
       ╭─[[ROOT]/executors/torn/executor.toml:2:5]
     1 │ id = "torn
     2 │ kind
       ╰────

    PL061

      × the name `python` is claimed by `python` (bundled) and `python` ([ROOT]/
      │ executors/python/executor.toml)
      help: bundled names can't be taken: `python` stays the bundled executor

    run [RUN]: project (./polyloom.toml), 1 cell, [N] at once
    a │ good
    ok      a  good [TOOK]  never ran
    ok in [TOOK]: 1 ran
    --- exit 0
    "#);
    let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
    let ids: Vec<&str> =
        list["executors"].as_array().unwrap().iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(ids.contains(&"good"));
    for id in ["torn", "keys", "hole", "loader", "empty"] {
        assert!(!ids.contains(&id), "{id}");
    }
}

#[test]
fn an_executor_that_cannot_say_its_version_is_named() {
    let place = Place::flow("[cells.a]\nlang = \"bad\"\ncode = ''\n");
    place.executor(
        "bad",
        "id = \"bad\"\nversion = \"1\"\nkind = \"command\"\n[toolchain.t]\nany = [\"false\"]\n[run]\nargv = [\"{t}\"]\n",
    );
    let told = place.polyloom(&["run"]).exits(3).stderr();
    assert!(told.contains("false --version` of `bad` failed: exit code 1"), "{told}");
}

#[test]
fn a_home_that_is_not_there_is_no_matter() {
    let place = Place::flow(FLOW);
    let run = place.call(&["run", "--format", "json"]).env("HOME", "/nonexistent").end().run();
    assert_eq!(run.exits(0).told(), "a ok, b ok");
}

/// A script of an executor's own that nobody made executable.
#[test]
fn a_program_that_can_not_be_executed_is_no_breach_of_a_protocol() {
    let place = Place::flow("[cells.a]\nlang = \"go\"\ncode = \"x\"\n");
    place.executor(
        "go",
        "id = \"go\"\nversion = \"1\"\nkind = \"command\"\n[run]\nargv = [\"{dir}/go.sh\", \"{code}\"]\n",
    );
    let script = place.executors().join("go/go.sh");
    std::fs::write(&script, "#!/bin/sh\ncat $1\n").unwrap();
    let told = place.polyloom(&["run"]).exits(3).stderr();
    assert!(told.contains("`go.sh` of `go` is not executable: `chmod +x go.sh`"), "{told}");
    assert!(!told.contains("protocol") && !told.contains("broke off"), "{told}");
}
