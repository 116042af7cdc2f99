//! The allow-list of our own runner: every call of WASI answers under it as it does without.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write as _;

use polyloom_test_e2e::Place;

/// Calls in the order in which they are made: name, types of the parameters (i32 or I64), arguments. `$f` is the file that was opened.
/// Addresses: names at 1000, 1100, 1200, 1300; results at 2000; one vector of 16 bytes of memory at 3000; a subscription at 3104.
const CALLS: &[(&str, &str, &str)] = &[
    ("args_sizes_get", "ii", "2000 2004"),
    ("environ_sizes_get", "ii", "2000 2004"),
    ("clock_res_get", "ii", "1 2000"),
    ("clock_time_get", "iIi", "0 1 2000"),
    ("random_get", "ii", "2000 16"),
    ("sched_yield", "", ""),
    ("fd_prestat_get", "ii", "3 2000"),
    ("path_create_directory", "iii", "3 1000 1"),
    ("path_open", "iiiiiIIii", "3 0 1100 3 1 0x1fffffff 0x1fffffff 0 900"),
    ("fd_write", "iiii", "$f 3000 1 2000"),
    ("fd_pwrite", "iiiIi", "$f 3000 1 40 2000"),
    ("fd_seek", "iIii", "$f 0 0 2000"),
    ("fd_tell", "ii", "$f 2000"),
    ("fd_read", "iiii", "$f 3000 1 2000"),
    ("fd_pread", "iiiIi", "$f 3000 1 0 2000"),
    ("fd_advise", "iIIi", "$f 0 0 1"),
    ("fd_allocate", "iII", "$f 0 100"),
    ("fd_datasync", "i", "$f"),
    ("fd_sync", "i", "$f"),
    ("fd_fdstat_get", "ii", "$f 2000"),
    ("fd_fdstat_set_flags", "ii", "$f 1"),
    ("fd_filestat_get", "ii", "$f 2000"),
    ("fd_filestat_set_size", "iI", "$f 10"),
    ("fd_filestat_set_times", "iIIi", "$f 1000 1000 5"),
    ("path_filestat_get", "iiiii", "3 0 1100 3 2000"),
    ("path_filestat_set_times", "iiiiIIi", "3 0 1100 3 1000 1000 5"),
    ("path_link", "iiiiiii", "3 0 1100 3 3 1200 1"),
    ("path_symlink", "iiiii", "1200 1 3 1300 1"),
    ("path_readlink", "iiiiii", "3 1300 1 2000 16 2100"),
    ("path_rename", "iiiiii", "3 1200 1 3 1201 1"),
    ("path_unlink_file", "iii", "3 1201 1"),
    ("path_unlink_file", "iii", "3 1300 1"),
    ("fd_readdir", "iiiIi", "3 2000 500 0 2600"),
    ("path_remove_directory", "iii", "3 1000 1"),
    ("path_open", "iiiiiIIii", "3 0 1000 1 0 0x1fffffff 0x1fffffff 0 904"),
    ("poll_oneoff", "iiii", "3104 2000 1 2600"),
    ("fd_read", "iiii", "0 3000 1 2000"),
    ("fd_renumber", "ii", "$f 6"),
    ("fd_close", "i", "6"),
    ("fd_close", "i", "77"),
    // Preview 1 hands out no sockets; asking must not end the guest.
    ("sock_shutdown", "ii", "3 0"),
];

/// A guest that makes all these calls and writes each answer as one letter, `a` for success.
fn guest() -> String {
    let mut text = String::from("(module\n");
    let mut imported = Vec::new();
    for (name, types, _) in CALLS {
        if !imported.contains(name) {
            imported.push(name);
            let params: String =
                types.chars().map(|t| if t == 'I' { " i64" } else { " i32" }).collect();
            let params = if params.is_empty() { String::new() } else { format!("(param{params})") };
            writeln!(
                text,
                "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {params} (result i32)))"
            )
            .unwrap();
        }
    }
    text.push_str(
        "(memory (export \"memory\") 1)
         (data (i32.const 1000) \"d\") (data (i32.const 1100) \"d/f\")
         (data (i32.const 1200) \"lm\") (data (i32.const 1300) \"s\")
         (global $at (mut i32) (i32.const 100))
         (func $told (param i32)
           (i32.store8 (global.get $at) (i32.add (local.get 0) (i32.const 97)))
           (global.set $at (i32.add (global.get $at) (i32.const 1))))
         (func (export \"_start\")
           (i32.store (i32.const 3000) (i32.const 3200))
           (i32.store (i32.const 3004) (i32.const 16))
           ;; A clock of one millisecond.
           (i32.store (i32.const 3120) (i32.const 1))
           (i64.store (i32.const 3128) (i64.const 1000000))\n",
    );
    for (name, types, arguments) in CALLS {
        let typed = types.chars().zip(arguments.split_whitespace());
        let pushed: Vec<String> = typed
            .map(|(t, word)| match (t, word) {
                (_, "$f") => "(i32.load (i32.const 900))".to_owned(),
                ('I', word) => format!("(i64.const {word})"),
                (_, word) => format!("(i32.const {word})"),
            })
            .collect();
        // A directory that holds a file is not removed, which is an answer too: so the file goes first, unheard.
        if *name == "path_remove_directory" {
            text.push_str(
                "(drop (call $path_unlink_file (i32.const 3) (i32.const 1100) (i32.const 3)))\n",
            );
        }
        writeln!(text, "(call $told (call ${name} {}))", pushed.join(" ")).unwrap();
    }
    writeln!(
        text,
        "(i32.store (i32.const 3000) (i32.const 100)) (i32.store (i32.const 3004) (i32.const {}))
         (drop (call $fd_write (i32.const 1) (i32.const 3000) (i32.const 1) (i32.const 2000)))))",
        CALLS.len()
    )
    .unwrap();
    text
}

#[test]
fn the_runner_answers_under_its_allow_list_as_without() {
    let place = Place::flow(
        "[cells.held]\nlang = \"wasm\"\nfile = \"guest.wat\"\nstdin = \"0123456789abcdef\"\n\n\
         [cells.free]\nlang = \"free\"\nfile = \"guest.wat\"\nstdin = \"0123456789abcdef\"\n",
    );
    place.write("guest.wat", guest());
    // The same program under the filter of ordinary ones.
    let manifest = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../executors/wasm/executor.toml"
    ))
    .unwrap();
    let plain = manifest
        .replace("id = \"wasm\"", "id = \"free\"")
        .replace("aliases = [\"wat\", \"webassembly\"]", "")
        .replace("extensions = [\"wat\", \"wasm\"]", "extensions = [\"wat2\"]")
        .replace("seccomp = \"runner\"", "seccomp = \"default\"");
    assert_eq!(plain.matches("\"default\"").count(), 1, "{plain}");
    place.executor("free", &plain);
    let run = place.run(&["-k"]);
    let answers = |cell: &str| {
        assert_eq!(run.outcome(cell), "ok", "{cell}: {} {}", run.messages(cell), run.stderr);
        place.polyloom(&["logs", "latest", cell]).exits(0).stdout()
    };
    let filter = |cell: &str| {
        let rows = run.cell(cell)["enforcement"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["mechanism"] == "seccomp").unwrap().clone();
        row["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(filter("held"), "allow-list filter");
    assert_eq!(filter("free"), "deny-list filter");
    let (held, free) = (answers("held"), answers("free"));
    assert_eq!(held, free);
    let told = held.trim().rsplit(char::is_whitespace).next().unwrap().to_owned();
    let failed: Vec<&str> = CALLS
        .iter()
        .zip(told.chars())
        .filter(|(_, answer)| *answer != 'a')
        .map(|((name, _, _), _)| *name)
        .collect();
    // What WASI itself refuses: reserving space, a file that is gone, a descriptor that is none, sockets.
    assert_eq!(failed, ["fd_allocate", "path_open", "fd_close", "sock_shutdown"], "{told}");
}

#[test]
fn a_manifest_can_only_take_calls_away() {
    let place = Place::flow("[cells.a]\nlang = \"strict\"\ncode = \"x\"\n");
    let manifest = |filter: &str| {
        format!(
            "id = \"strict\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"strict\"]\n\
             [toolchain.sh]\nany = [\"/bin/sh\"]\nversion = []\n[sandbox]\nseccomp = \"{filter}\"\n[run]\nargv = [\"{{sh}}\", \"-c\", \"exec 2>&1; (true) || echo no; echo end\"]\n"
        )
    };
    place.executor("strict", &manifest("none"));
    let told = place.polyloom(&["check", "."]).stderr();
    assert!(told.contains("unknown filter `none`") && told.contains("`runner`"), "{told}");
    // A shell under the runner's list starts and cannot fork.
    place.executor("strict", &manifest("runner"));
    let run = place.run(&[]);
    assert_eq!(run.outcome("a"), "failed", "{}", run.stderr);
    let logs = place.polyloom(&["logs", "latest", "a"]).stdout();
    assert!(logs.contains("fork"), "{logs}");
}
