//! Cells that mean harm: each ends with an outcome that says what it did, nothing of it is left, and a cell beside it is well.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Place, Run, eventually, groups_of_the_dead, needs, processes_with};

/// Runs one cell of this code next to one that is well, and looks for leftovers.
fn beside(lang: &str, keys: &str, code: &str) -> (Place, Run) {
    let place = Place::flow(&format!(
        "[cells.bad]\nlang = \"{lang}\"\n{keys}\ncode = '''\n{code}\n'''\n\n\
         [cells.well]\nlang = \"sh\"\ncode = 'echo 42 > $OUT/answer'\noutputs = {{ answer = \"int\" }}\n"
    ));
    let run = place.run(&["-k"]);
    assert_eq!(run.outcome("well"), "ok", "{}", run.stderr);
    assert!(run.document["outcome"].is_string());
    assert_clean(&place);
    (place, run)
}

/// Nothing of the place is left: no process, no control group.
fn assert_clean(place: &Place) {
    let left = place.processes();
    assert!(left.is_empty(), "processes left behind: {left:#?}");
    // Other tests kill hosts, whose groups go with the next run.
    let gone = || groups_of_the_dead().is_empty();
    assert!(eventually(Duration::from_secs(20), gone), "groups left: {:?}", groups_of_the_dead());
}

/// A number of seconds that no other process sleeps for.
fn marked_sleep() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("86400.{:09}{:06}", now.subsec_nanos(), std::process::id())
}

#[test]
fn ten_gigabytes_of_output_are_cut_off() {
    let (place, run) = beside("sh", "timeout = \"60s\"", "head -c 10G /dev/zero");
    assert_eq!(run.outcome("bad"), "output_exceeded");
    let recorded = size(&place.project().join(".polyloom"));
    assert!(recorded < 80 << 20, "the recording has {recorded} bytes");
}

#[test]
fn endless_lines_do_not_flood_the_screen() {
    let (_place, run) = beside("sh", "output_limit = \"4MiB\"", "yes");
    assert_eq!(run.outcome("bad"), "output_exceeded");
    assert!(run.stderr.lines().count() < 300, "{} lines", run.stderr.lines().count());
}

#[test]
fn one_line_without_end_is_bounded() {
    let (_place, run) = beside("sh", "output_limit = \"8MiB\"", "tr '\\0' x < /dev/zero");
    assert_eq!(run.outcome("bad"), "output_exceeded");
    let longest = run.stderr.lines().map(str::len).max().unwrap();
    assert!(longest < 70_000, "a line of {longest} bytes");
}

#[test]
fn a_fork_bomb_ends_with_its_cell() {
    needs!("bash");
    let (_place, run) = beside(
        "shell",
        "pids = 64\ntimeout = \"3s\"",
        "bomb() { bomb | bomb & }; bomb; wait; sleep 60",
    );
    assert!(["pids_exceeded", "timed_out"].contains(&run.outcome("bad")), "{}", run.told());
}

#[test]
fn a_tree_that_keeps_forking_away_ends_with_its_cell() {
    let code = "again() { (again &) ; }; again; while :; do (sleep 0.01 &) ; done";
    let (_place, run) = beside("sh", "pids = 64\ntimeout = \"2s\"", code);
    assert!(["pids_exceeded", "timed_out"].contains(&run.outcome("bad")), "{}", run.told());
}

#[test]
fn a_cell_without_end_is_stopped() {
    let (_place, run) = beside("sh", "timeout = \"400ms\"", "while :; do :; done");
    assert_eq!(run.outcome("bad"), "timed_out");
}

#[test]
fn a_cell_deaf_to_signals_is_stopped() {
    let (_place, run) =
        beside("sh", "timeout = \"400ms\"", "trap '' TERM INT HUP QUIT; while :; do :; done");
    assert_eq!(run.outcome("bad"), "timed_out");
}

#[test]
fn a_stopped_cell_is_stopped_for_good() {
    let (_place, run) = beside("sh", "timeout = \"400ms\"", "kill -STOP $$");
    assert_eq!(run.outcome("bad"), "timed_out");
}

#[test]
fn a_cell_that_kills_itself_is_killed() {
    let (_place, run) = beside("sh", "", "kill -9 $$");
    assert_eq!(run.outcome("bad"), "killed");
}

#[test]
fn a_cell_that_kills_all_it_may_kills_itself() {
    let (_place, run) = beside("sh", "", "kill -9 -1; sleep 5");
    assert!(["killed", "ok", "failed"].contains(&run.outcome("bad")), "{}", run.told());
}

#[test]
fn killing_process_one_ends_nobody_else() {
    let (_place, run) = beside("sh", "", "kill -9 1; echo alive");
    assert!(["ok", "failed"].contains(&run.outcome("bad")), "{}", run.told());
}

#[test]
fn the_exit_code_of_a_killed_child_is_a_plain_failure() {
    let (_place, run) = beside("sh", "", "exit 137");
    assert_eq!(run.outcome("bad"), "failed");
    assert_eq!(run.cell("bad")["exit_code"], 137);
}

#[test]
fn daemons_end_with_their_cell() {
    let sleep = marked_sleep();
    let code = format!(
        "setsid sleep {sleep} > /dev/null 2>&1 < /dev/null &\n(setsid nohup sleep {sleep} &) \nsetsid sleep {sleep} &\necho 1 > $OUT/x"
    );
    let (_place, run) = beside("sh", "outputs = { x = \"int\" }", &code);
    assert_eq!(run.outcome("bad"), "ok");
    let left = processes_with(&sleep);
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn garbage_on_every_descriptor_confuses_nobody() {
    needs!("python3");
    for lang in ["sh", "python"] {
        let code = if lang == "sh" {
            "i=3\nwhile [ $i -lt 10 ]; do echo garbage >&$i; i=$((i+1)); done 2> /dev/null\necho end"
        } else {
            "import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, b'\\xff' * 64)\n    except OSError:\n        pass"
        };
        let (_place, run) = beside(lang, "", code);
        let outcome = run.outcome("bad");
        assert!(["ok", "failed", "worker_error"].contains(&outcome), "{lang}: {outcome}");
    }
}

#[test]
fn forged_frames_claim_nothing() {
    needs!("python3");
    // A `Done {ok: true}` of its own making, then death: evidence decides.
    let code = "import os, socket, struct\n\
                body = b'\\x81\\xa2ok\\xc3'\n\
                for fd in range(3, 64):\n\
                \x20   for exec_id in range(4):\n\
                \x20       try:\n\
                \x20           os.write(fd, struct.pack('<IBBHQ', len(body), 8, 0, 0, exec_id) + body)\n\
                \x20       except OSError:\n\
                \x20           pass\n\
                os._exit(3)";
    let (_place, run) = beside("python", "", code);
    let outcome = run.outcome("bad");
    assert!(["failed", "worker_error"].contains(&outcome), "{outcome}");
    assert_eq!(run.cell("bad")["exit_code"], 3);
}

#[test]
fn strange_outputs_are_refused() {
    for (what, code) in [
        ("a link out", "ln -s /etc/passwd $OUT/x"),
        ("a link to itself", "ln -s x $OUT/x"),
        ("a link inside", "echo hi > $OUT/.hidden; ln -s .hidden $OUT/x"),
        ("a fifo", "mkfifo $OUT/x"),
        ("a directory", "mkdir $OUT/x"),
        ("two of them", "echo 1 > $OUT/x; echo 2 > $OUT/x.txt"),
        ("a link for a folder", "rmdir $OUT && ln -s /etc $OUT"),
    ] {
        let (_place, run) = beside("sh", "outputs = { x = \"file\" }", code);
        let outcome = run.outcome("bad");
        assert!(["output_missing", "failed", "denied"].contains(&outcome), "{what}: {outcome}");
        assert!(run.cell("bad")["outputs"]["x"].is_null(), "{what}");
        // Making it may have been refused already: then the cell failed by itself.
        let told = run.messages("bad");
        assert!(told.contains('x') || run.cell("bad")["exit_code"] != 0, "{what}: {told}");
    }
}

#[test]
fn a_hard_link_and_an_odd_mode_are_just_files() {
    let code = "echo hi > a; ln a $OUT/x; chmod 0 a\nprintf 'cheeky' > $OUT/y; chmod 6777 $OUT/y";
    let (_place, run) = beside("sh", "outputs = { x = \"file\", y = \"file\" }", code);
    if run.outcome("bad") == "ok" {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(run.path("bad", "y")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7222, 0, "mode {mode:o}");
        assert_eq!(std::fs::read(run.path("bad", "x")).unwrap(), b"hi\n");
    } else {
        assert!(run.messages("bad").contains('x'), "{}", run.told());
    }
}

#[test]
fn strange_things_in_a_directory_output_are_refused_or_left_out() {
    for code in ["ln -s /etc/passwd $OUT/d/x", "mkfifo $OUT/d/x", "ln -s / $OUT/d/x"] {
        let (_place, run) = beside(
            "sh",
            "outputs = { d = \"dir\" }",
            &format!("mkdir $OUT/d; echo 1 > $OUT/d/ok; {code}"),
        );
        if run.outcome("bad") == "ok" {
            let tree = run.path("bad", "d");
            assert!(!tree.join("x").exists(), "{code}");
        } else {
            let told = run.messages("bad");
            assert!(told.contains('d') || run.cell("bad")["exit_code"] != 0, "{code}: {told}");
        }
    }
}

#[test]
fn a_file_of_holes_is_not_eight_exabytes_of_store() {
    let (_place, run) =
        beside("sh", "outputs = { x = \"file\" }\ndisk = \"16MiB\"", "truncate -s 8T $OUT/x");
    assert_ne!(run.outcome("bad"), "ok");
}

#[test]
fn names_with_control_characters_reach_no_terminal() {
    let (_place, run) = beside(
        "sh",
        "outputs = { x = \"file\" }",
        "echo hi > \"$OUT/$(printf 'y\\033[31m\\n\\177')\"",
    );
    assert_eq!(run.outcome("bad"), "output_missing");
    let raw = run.stderr.chars().filter(|c| c.is_control() && *c != '\n').count();
    assert_eq!(raw, 0, "{:?}", run.stderr);
}

#[test]
fn no_network_no_host_files_no_secrets() {
    needs!("python3");
    let code = r#"
import os, socket
found = []
for host in ["127.0.0.1", "1.1.1.1", "::1"]:
    try:
        socket.create_connection((host, 22), timeout=1)
        found.append(host)
    except OSError:
        pass
for path in ["/etc/shadow", "/root/.ssh", "/root/.bashrc", "/home", "/proc/1/environ", "/proc/1/mem", "/sys/kernel/debug", "/dev/sda", "/dev/mem"]:
    try:
        if os.path.isdir(path):
            found += [f"{path}/{name}" for name in os.listdir(path)]
        else:
            open(path, "rb").read(1)
            found.append(path)
    except OSError:
        pass
for path in ["/usr/x", "/etc/x", "/x", "/polyloom/x", "/cell/in/x", "/cell/code/x", "/dev/x", "/proc/sys/kernel/hostname"]:
    try:
        open(path, "w").close()
        found.append("wrote " + path)
    except OSError:
        pass
found += [name for name in os.environ if name in ("SECRET", "POLYLOOM_STORE", "XDG_CACHE_HOME", "POLYLOOM_W")]
assert not found, found
"#;
    let (_place, run) = beside("python", "", code);
    assert_eq!(run.outcome("bad"), "ok", "{}", run.stderr);
}

#[test]
fn a_cell_sees_only_its_own_processes() {
    let (_place, run) =
        beside("sh", "outputs = { n = \"int\" }", "ls -d /proc/[0-9]* | wc -l > $OUT/n");
    assert!(run.bytes("bad", "n")[0] <= 5);
}

#[test]
fn memory_hoarded_by_many_is_given_back() {
    needs!("python3");
    let code = "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        break\nhoard = []\nwhile True:\n    hoard.append(bytearray(1 << 20))";
    let (_place, run) = beside("python", "memory = \"128MiB\"\ntimeout = \"20s\"", code);
    assert_eq!(run.outcome("bad"), "out_of_memory");
}

fn size(path: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().flatten();
    entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { size(&entry.path()) } else { meta.len() }
        })
        .sum()
}

/// One cell may change a folder. What it puts there in place of another's input, while the flow runs, is not what the other may read.
#[test]
fn a_link_leads_no_input_out_of_the_folder() {
    let place = Place::flow(
        r#"
        [cells.swap]
        lang = "sh"
        allow = { write = ["data"] }
        outputs = { done = "str" }
        code = """
        rm -r data/file.txt data/tree
        ln -s ../../secret/key data/file.txt
        ln -s ../../secret data/tree
        echo yes > $OUT/done
        """

        [cells.file]
        lang = "sh"
        inputs = { x = "file:data/file.txt", after = "swap.done" }
        code = "cat $x"

        [cells.tree]
        lang = "sh"
        inputs = { x = { from = "file:data/tree", type = "dir" }, after = "swap.done" }
        code = "cat $x/*"
        "#,
    );
    place.write("data/file.txt", "own");
    place.write("data/tree/in-it", "own");
    place.write("../secret/key", "a key of the user's");
    let run = place.run(&["-k", "-A"]);
    assert_eq!(run.told(), "file failed, swap ok, tree failed");
    assert!(
        run.messages("file").contains("it leads out of the folder"),
        "{}",
        run.messages("file")
    );
    let has = |path: &std::path::Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(8).any(|part| part == b"a key of")
    };
    let mut open = vec![place.store(), place.project().join(".polyloom")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else if path.is_file() {
                assert!(!has(&path), "{}", path.display());
            }
        }
    }
}
