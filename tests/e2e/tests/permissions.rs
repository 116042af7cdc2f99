//! What a cell asks for beyond its inputs, and who grants it: flags, a question on the terminal, what was granted for good.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use polyloom_test_e2e::{Ended, Place, needs};

/// A flow with one cell that asks for a folder to read, one to write, a variable and a program.
fn asking() -> Place {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
code = '''
cat data/letter && echo "$WORD" && ! touch data/new 2>/dev/null && echo kept > made/file && tool
'''
allow = { read = ["data"], write = ["made"], env = ["WORD"], run = ["TOOL"] }
"#,
    );
    place.write("data/letter", "dear reader\n");
    place.write("made/.keep", "");
    let tool = place.root().join("tools/tool");
    fs::create_dir_all(tool.parent().unwrap()).unwrap();
    fs::write(&tool, "#!/bin/sh\necho tool ran\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    place.edit("polyloom.toml", "TOOL", tool.to_str().unwrap());
    place
}

fn run(place: &Place, words: &[&str]) -> Ended {
    let mut all = vec!["run", "--format", "json"];
    all.extend(words);
    place.call(&all).env("WORD", "spoken").end()
}

/// The flags that a refusal names.
fn flags(told: &str) -> Vec<String> {
    let lines = told.lines().map(str::trim).filter(|line| line.starts_with("--allow-"));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_is_asked_for_is_refused_with_the_flags_that_grant_it() {
    let place = asking();
    let told = run(&place, &[]).exits(1);
    assert_eq!(told.json()["cells"][0]["outcome"], "denied", "{}", told.screen());
    let flags = flags(&told.stderr());
    assert_eq!(flags.len(), 4, "{}", told.stderr());
    assert!(!place.project().join("made/file").exists());
    // The very flags that were told grant it.
    let words: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _ = run(&place, &words).exits(0);
    let shown = place.polyloom(&["show", "latest", "a", "--format", "json"]).exits(0).json();
    let meta = &shown["meta"];
    assert_eq!(meta["stdout"]["text"], "dear reader\nspoken\ntool ran\n");
    assert_eq!(place.read("made/file"), "kept\n");
    assert_eq!(meta["policy"]["granted"].as_array().unwrap().len(), 4);
    assert_eq!(meta["policy"]["preset"], "default");
    let shown = place.polyloom(&["show", "latest", "a"]).exits(0).stdout();
    assert!(shown.contains("granted") && shown.contains("env WORD"), "{shown}");
    // All but one is not enough, and the one is named.
    for left_out in 0..words.len() {
        let mut some = words.clone();
        let flag = some.remove(left_out);
        some.push("-f");
        let told = run(&place, &some).exits(1).stderr();
        assert_eq!(self::flags(&told), [flag], "{told}");
    }
}

#[test]
fn a_denial_wins_over_every_grant() {
    let place = asking();
    for denied in [
        "--deny-read",
        "--deny-read=data",
        "--deny-read=data/letter",
        "--deny-write",
        "--deny-env=W*",
        "--deny-run",
    ] {
        let told = run(&place, &["-A", denied]).exits(1).stderr();
        assert!(told.contains("denied") && flags(&told).is_empty(), "{denied}: {told}");
    }
    let _ = run(&place, &["-A", "--deny-net", "--deny-env=OTHER", "--deny-read=made2"]).exits(0);
    let told = run(&place, &["-A", "-f", "--policy=strict"]).exits(1).stderr();
    assert!(told.contains("strict"), "{told}");
}

#[test]
fn a_result_from_the_store_is_not_had_without_its_grants() {
    let place = asking();
    let _ = run(&place, &["-A"]).exits(0);
    assert_eq!(run(&place, &["-A"]).exits(0).run().outcome("a"), "cached");
    let told = run(&place, &[]).exits(1);
    assert_eq!(flags(&told.stderr()).len(), 4, "{}", told.stderr());
    assert_eq!(told.run().outcome("a"), "denied");
    for refused in [
        &["-A", "--deny-env"][..],
        &["-A", "--deny-read=data"],
        &["-A", "--policy=strict"],
        &["--allow-read", "--allow-write", "--allow-run"],
    ] {
        let told = run(&place, refused).exits(1);
        assert_eq!(told.run().outcome("a"), "denied", "{refused:?}");
    }
    // Nothing was lost by it.
    assert_eq!(run(&place, &["-A"]).exits(0).run().outcome("a"), "cached");
}

#[test]
fn a_wider_grant_covers_and_a_neighbour_does_not() {
    let place = asking();
    let project = place.project();
    let up = format!("--allow-read={}", project.display());
    let all = ["--allow-write", "--allow-env=W*", "--allow-run"];
    let _ = run(&place, &[&[&*up], &all[..]].concat()).exits(0);
    for narrow in ["--allow-read=data/letter", "--allow-read=dat", "--allow-read=data2"] {
        let _ = run(&place, &[&["-f", narrow], &all[..]].concat()).exits(1);
    }
    for wrong in [
        "--allow-net=exa mple:1",
        "--allow-net=example.com:0",
        "--enforce=memory",
        "--enforce=x=full",
    ] {
        let _ = run(&place, &[wrong]).exits(2);
    }
}

#[test]
fn a_link_out_of_the_flow_is_not_what_was_asked_for() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ncode = \"cat data/letter\"\nallow = { read = [\"data\"] }\n",
    );
    let outside = place.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("letter"), "canary\n").unwrap();
    symlink(&outside, place.project().join("data")).unwrap();
    let told = run(&place, &["-A"]).exits(1);
    assert!(told.stderr().contains("leads out of the flow's folder"), "{}", told.stderr());
    assert!(!told.stdout().contains("canary"));
    // What the host believes is not changed by a cell, wherever it lies.
    let _ = place.polyloom(&["run", "-A"]);
    for own in
        [place.store(), place.project().join(".polyloom"), place.project(), place.root().to_owned()]
    {
        place.write(
            "other/polyloom.toml",
            format!("[cells.a]\nlang = \"sh\"\ncode = \"true\"\nallow = {{ write = [{own:?}] }}\n"),
        );
        fs::copy(
            place.project().join("other/polyloom.toml"),
            place.project().join("own.flow.toml"),
        )
        .unwrap();
        let told = place.call(&["run", "own.flow.toml", "-A"]).end().exits(1).stderr();
        assert!(told.contains("polyloom's own records"), "{told}");
    }
    fs::remove_file(place.project().join("own.flow.toml")).unwrap();
    // A folder that is not there is told, too.
    place.edit("polyloom.toml", "[\"data\"]", "[\"nothing\"]");
    assert!(run(&place, &["-A"]).exits(1).stderr().contains("can't be opened to a cell"));
    for own in ["/proc", "/etc/shadow", "/", "/dev/mem", "/cell/x", "."] {
        place.write(
            "polyloom.toml",
            format!("[cells.a]\nlang = \"sh\"\ncode = \"true\"\nallow = {{ read = [{own:?}] }}\n"),
        );
        let _ = run(&place, &["-A"]).exits(1);
    }
}

#[test]
fn a_variable_is_part_of_the_key_and_its_value_of_nothing() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ncode = \"test -n \\\"$WORD\\\"\"\nallow = { env = [\"WORD\"] }\n",
    );
    let with = |word: &str, args: &[&str]| place.call(args).env("WORD", word).end();
    let args = ["run", "--allow-env", "--format", "json"];
    assert_eq!(with("canary-one", &args).exits(0).run().outcome("a"), "ok");
    assert_eq!(with("canary-one", &args).exits(0).run().outcome("a"), "cached");
    assert_eq!(with("canary-two", &args).exits(0).run().outcome("a"), "ok");
    let why = with("canary-two", &["why", "a"]).exits(0);
    assert!(!why.screen().contains("canary"), "{}", why.screen());
    let kept = std::process::Command::new("grep")
        .args(["-rla", "canary-"])
        .args([place.project().join(".polyloom"), place.store()])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
}

#[test]
fn a_project_can_tighten_and_not_loosen() {
    let place = asking();
    let _ = run(&place, &["-A"]).exits(0);
    place.write(".polyloom/policy.toml", "[deny]\nread = [\"data\"]\n");
    let _ = run(&place, &["-A", "-f"]).exits(1);
    place.write(".polyloom/policy.toml", "policy = \"strict\"\n");
    let _ = run(&place, &["-A", "-f"]).exits(1);
    // The person's word is the last.
    let _ = run(&place, &["-A", "-f", "--policy=default"]).exits(0);
    for bad in ["policy = \"trusted\"\n", "allow = true\n", "[deny]\nnett = true\n", "\u{0}"] {
        place.write(".polyloom/policy.toml", bad);
        let _ = run(&place, &["-A", "-f"]).exits(2);
    }
    fs::remove_file(place.project().join(".polyloom/policy.toml")).unwrap();
    symlink("/etc/passwd", place.project().join(".polyloom/policy.toml")).unwrap();
    let _ = run(&place, &["-A", "-f"]).exits(2);
}

/// Starts a program on a terminal of its own and types an answer whenever it is asked.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys
answer, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)
said = b""
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    said += piece
    if said.endswith(b"[n] no: "):
        os.write(terminal, answer.encode() + b"\n")
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn typing(place: &Place, answer: &str, args: &[&str]) -> Ended {
    place.call_through(&["python3", "-c", ON_A_TERMINAL, answer], args).env("WORD", "spoken").end()
}

#[test]
fn a_person_is_asked_and_can_grant_for_good() {
    needs!("python3");
    let place = asking();
    let no = typing(&place, "n", &["run"]).exits(1);
    assert!(
        no.stdout().contains("asks for") && no.stdout().contains("env WORD"),
        "{}",
        no.stdout()
    );
    let _ = typing(&place, "y", &["run"]).exits(0);
    // Once was once.
    let asked = typing(&place, "a", &["run", "-f"]).exits(0);
    assert!(asked.stdout().contains("grant it?"));
    let silent = typing(&place, "n", &["run", "-f"]).exits(0);
    assert!(!silent.stdout().contains("grant it?"), "{}", silent.stdout());
    let _ = run(&place, &["-f"]).exits(0);
    let listed = place.polyloom(&["grants", "--format", "json"]).exits(0).json();
    assert_eq!(listed["grants"][0]["cell"], "a");
    // A denial is above what was granted for good.
    let _ = run(&place, &["-f", "--deny-env"]).exits(1);
    // Other code, other asks: another grant.
    place.edit("polyloom.toml", "&& tool", "&& tool # changed");
    let _ = run(&place, &["-f"]).exits(1);
}

#[test]
fn a_grant_that_came_with_a_repository_is_none() {
    needs!("python3");
    let place = asking();
    let _ = typing(&place, "a", &["run"]).exits(0);
    let file = place.project().join(".polyloom/grants.json");
    let grants = fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    let key = place.root().join("home/.config/polyloom/grants.key");
    assert_eq!((mode(&key), fs::metadata(&key).unwrap().len()), (0o600, 32));
    // Another person's key.
    fs::write(&key, [7; 32]).unwrap();
    let _ = run(&place, &["-f"]).exits(1);
    // No key, a broken file, a link in its place.
    fs::remove_file(&key).unwrap();
    let _ = run(&place, &["-f"]).exits(1);
    for broken in ["", "{}", "[]", "{\"schema\":\"polyloom.grants/2\",\"grants\":[]}"] {
        fs::write(&file, broken).unwrap();
        let _ = run(&place, &["-f"]).exits(1);
    }
    // The same folder elsewhere is another project.
    fs::remove_file(&file).unwrap();
    let _ = typing(&place, "a", &["run", "-f"]).exits(0);
    let again = fs::read_to_string(&file).unwrap();
    assert_ne!(again, grants);
    let copied = place.root().join("copied");
    assert!(
        std::process::Command::new("cp")
            .arg("-r")
            .arg(place.project())
            .arg(&copied)
            .status()
            .unwrap()
            .success()
    );
    let call = place.call(&["run", "-f"]).env("WORD", "spoken");
    let _ = call.cwd(&copied).end().exits(1);
    // Taken back.
    let _ = place.polyloom(&["grants", "--revoke", "a"]).exits(0);
    let _ = run(&place, &["-f"]).exits(1);
    let _ = place.polyloom(&["grants", "--revoke", "a"]).exits(4);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn strict_cells_share_no_lock_and_ordinary_work_goes_on() {
    needs!("python3", "sqlite3");
    let flow = r#"
[defaults]
policy = "PRESET"
[cells.lock]
lang = "python"
code = '''
import fcntl, socket
taken = []
for name, act in [
    ("flock", lambda: fcntl.flock(open("/usr/bin/env"), fcntl.LOCK_EX)),
    ("ask", lambda: fcntl.fcntl(open("/usr/bin/env"), fcntl.F_GETLK, b"\0" * 32)),
    ("meet", lambda: socket.socket(socket.AF_UNIX).bind("\0here")),
]:
    try:
        act()
        taken.append(name)
    except OSError:
        pass
with open("own", "w") as own:
    fcntl.lockf(own, fcntl.LOCK_EX)
a, b = socket.socketpair()
a.send(b"x")
taken.append(b.recv(1).decode())
print(" ".join(taken))
'''
[cells.sql]
lang = "sqlite"
code = "create table t(x); insert into t values (1); select sum(x) from t;"
"#;
    for (preset, taken) in [("strict", "x\n"), ("default", "flock ask meet x\n")] {
        let place = Place::flow(&flow.replace("PRESET", preset));
        let run = place.run(&["-k"]);
        if run.level("sql", "memory") != "full" {
            // Then strict starts nothing, and says so.
            continue;
        }
        assert_eq!(
            run.outcomes().values().filter(|outcome| *outcome == "ok").count(),
            2,
            "{preset}"
        );
        let shown = place.polyloom(&["show", "latest", "lock", "--format", "json"]).exits(0).json();
        assert_eq!(shown["meta"]["stdout"]["text"], taken, "{preset}");
        assert_eq!(shown["meta"]["policy"]["preset"], preset);
    }
}

#[test]
fn no_cell_writes_where_executors_are_put() {
    let place = Place::flow("");
    let home = place.root().join("home");
    let mine = home.join(".local/share/polyloom/executors");
    let given = place.root().join("given");
    fs::create_dir_all(given.join("inner")).unwrap();
    let linked = place.root().join("linked");
    symlink(&given, &linked).unwrap();
    let linked = linked.to_str().unwrap();
    // The first is not there yet: whoever may write above it could make it.
    let data = home.join(".local/share");
    fs::create_dir_all(&data).unwrap();
    let asks = |folder: &Path| {
        let text = format!(
            "[cells.a]\nlang = \"sh\"\ncode = \"true\"\nallow = {{ write = [{folder:?}] }}\n"
        );
        place.write("polyloom.toml", text);
        run(&place, &["-A", "--executor-dir", linked]).exits(1).stderr()
    };
    for folder in [&data, &given, &given.join("inner")] {
        let told = asks(folder);
        assert!(told.contains("polyloom's own records"), "{}: {told}", folder.display());
    }
    fs::create_dir_all(&mine).unwrap();
    assert!(asks(&mine).contains("polyloom's own records"));
    // A link on the way to a configuration that is not there yet hides nothing.
    let real = place.root().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, home.join("linked")).unwrap();
    let text =
        format!("[cells.a]\nlang = \"sh\"\ncode = \"true\"\nallow = {{ write = [{real:?}] }}\n");
    place.write("polyloom.toml", text);
    let call = place.call(&["run", "-A"]).env("XDG_CONFIG_HOME", home.join("linked/inner"));
    let told = call.end().exits(1).stderr();
    assert!(told.contains("polyloom's own records"), "{told}");
}

#[test]
fn a_lasting_grant_lapses_when_what_steers_the_code_changes() {
    needs!("python3");
    let place = asking();
    let text = place.read("polyloom.toml");
    let steered = |more: &str| place.write("polyloom.toml", format!("{text}{more}"));
    let base = "env = { A = \"1\" }\nargv = [\"x\"]\nstdin = \"in\"\n";
    steered(base);
    let _ = typing(&place, "a", &["run"]).exits(0);
    let _ = run(&place, &["-f"]).exits(0);
    for (from, to) in [
        ("A = \"1\"", "A = \"2\""),
        ("A = \"1\"", "A = \"1\", B = \"x\""),
        ("[\"x\"]", "[\"y\"]"),
        ("[\"x\"]", "[\"x\", \"\"]"),
        ("\"in\"", "\"other\""),
    ] {
        steered(&base.replace(from, to));
        assert_eq!(run(&place, &["-f"]).exits(1).run().outcome("a"), "denied", "{to}");
    }
    steered(base);
    let _ = run(&place, &["-f"]).exits(0);
}

#[test]
fn a_place_that_draws_is_asked_for_on_one_line_and_the_whole_of_it_is_shown() {
    needs!("python3");
    let place = asking();
    let drawing = place.root().join("x\u{1b}[2J\u{202e}\n--allow-all\ny");
    fs::create_dir(&drawing).unwrap();
    let link = place.root().join("link");
    symlink(&drawing, &link).unwrap();
    place.edit("polyloom.toml", "[\"data\"]", &format!("[\"data\", {link:?}]"));
    let told = run(&place, &[]).exits(1).stderr();
    let asked = typing(&place, "n", &["run", "--allow-env"]).exits(1).stdout();
    for text in [&told, &asked] {
        assert!(!text.contains('\u{202e}') && !text.contains("\u{1b}[2J"), "{text:?}");
        assert!(!text.lines().any(|line| line.trim().starts_with("--allow-all")), "{text}");
    }
    for item in ["read data", "write made", "run ", "env WORD (granted already)"] {
        assert!(asked.contains(item), "{item}: {asked}");
    }
}

#[test]
fn grants_are_kept_only_in_the_project_and_under_a_key_of_one_s_own() {
    needs!("python3");
    let place = asking();
    let _ = typing(&place, "a", &["run"]).exits(0);
    let key = place.root().join("home/.config/polyloom/grants.key");
    let away = place.root().join("away");
    let refused = |told: &str| {
        let ended = run(&place, &["-f"]).exits(1).stderr();
        assert!(ended.contains(told), "{told}: {ended}");
    };
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused("with mode 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&key, &away).unwrap();
    symlink(&away, &key).unwrap();
    refused("grants.key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    refused("grants.key");
    fs::remove_dir(&key).unwrap();
    fs::rename(&away, &key).unwrap();
    let _ = run(&place, &["-f"]).exits(0);
    let own = place.project().join(".polyloom");
    fs::rename(&own, &away).unwrap();
    symlink(&away, &own).unwrap();
    assert_ne!(run(&place, &["-f"]).code(), 0);
}

#[test]
fn grants_are_the_old_or_the_new_ones_however_their_change_ends() {
    needs!("python3", "sh");
    let place = asking();
    let _ = typing(&place, "a", &["run"]).exits(0);
    let file = place.project().join(".polyloom/grants.json");
    let before = fs::read(&file).unwrap();
    let count = || {
        let listed = place.polyloom(&["grants", "--format", "json"]).exits(0).json();
        listed["grants"].as_array().unwrap().len()
    };
    // No byte more goes to the disk.
    let full = ["sh", "-c", "ulimit -f 0; trap '' XFSZ; exec \"$@\"", "sh"];
    let ended = place.call_through(&full, &["grants", "--revoke", "a"]).end();
    assert_ne!(ended.code(), 0, "{}", ended.screen());
    assert_eq!(fs::read(&file).unwrap(), before);
    // Killed at any moment.
    for moment in 0..24 {
        fs::write(&file, &before).unwrap();
        let running = place.call(&["grants", "--revoke", "a"]).start();
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(3 * moment) {
            std::thread::yield_now();
        }
        running.signal(rustix::process::Signal::KILL);
        let _ = running.deaf();
        assert!(count() <= 1);
        assert!(fs::read(&file).unwrap() == before || count() == 0);
    }
    fs::write(&file, &before).unwrap();
    // Whoever is left behind holds nothing.
    let _ = place.polyloom(&["grants", "--revoke", "a"]).exits(0);
    assert_eq!(count(), 0);
}

#[test]
fn what_was_made_of_a_refused_result_is_refused_too() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nallow = { env = [\"TELL\"] }\noutputs = { x = \"str\" }\ncode = 'echo \"$TELL\" > $OUT/x'\n\
         [cells.b]\nlang = \"sh\"\ninputs = { x = \"a.x\" }\noutputs = { y = \"str\" }\ncode = 'echo $x > $OUT/y'\n\
         [cells.c]\nlang = \"sh\"\noutputs = { z = \"int\" }\ncode = 'echo 1 > $OUT/z'\n",
    );
    let run = |words: &[&str]| {
        let mut all = vec!["run", "-k", "--format", "json", "--no-prompt"];
        all.extend(words);
        place.call(&all).env("TELL", "told").end().run()
    };
    let told = |words: &[&str]| run(words).told();
    assert_eq!(told(&["--allow-env=TELL"]), "a ok, b ok, c ok");
    assert_eq!(told(&["--allow-env"]), "a cached, b cached, c cached");
    let refused = run(&[]);
    assert_eq!(refused.told(), "a denied, b denied, c cached", "{}", refused.stderr);
    assert!(refused.messages("b").contains("made of what `a` gave"), "{}", refused.messages("b"));
    // Also where the cell itself is not asked for.
    assert_eq!(told(&["--only", "b"]), "b denied");
    assert_eq!(told(&["--only", "b", "-f"]), "a denied, b skipped");
    assert_eq!(told(&["-A"]), "a cached, b cached, c cached");
}

#[test]
fn the_key_of_grants_is_in_no_view_and_no_projects_records_are_changed() {
    let place = Place::flow(
        "[cells.key]\nlang = \"sh\"\nallow = { read = [\"conf\"] }\ncode = 'true'\n\
         [cells.beside]\nlang = \"sh\"\nallow = { read = [\"conf/other\"] }\ncode = 'true'\n\
         [cells.other]\nlang = \"sh\"\nallow = { write = [\"their/.polyloom\"] }\ncode = 'true'\n",
    );
    for file in ["conf/polyloom/grants.key", "conf/other/x", "their/.polyloom/policy.toml"] {
        place.write(file, "");
    }
    let config = place.project().join("conf");
    let words = ["run", "-k", "-A", "--format", "json"];
    let run = place.call(&words).env("XDG_CONFIG_HOME", &config).end().run();
    assert_eq!(run.told(), "beside ok, key denied, other denied", "{}", run.stderr);
    assert!(run.messages("key").contains("polyloom's own records"), "{}", run.messages("key"));
}

#[test]
fn a_plan_says_what_a_run_will_refuse() {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
outputs = { n = "str" }
allow = { env = ["WORD"] }
code = 'echo "${WORD:-none}" > $OUT/n'

[cells.b]
lang = "sh"
inputs = { n = "a.n" }
outputs = { m = "str" }
code = 'echo "$n" > $OUT/m'

[cells.c]
lang = "sh"
code = 'echo c'
"#,
    );
    let refused = place.run(&["-k"]).exits(5);
    assert_eq!(refused.outcome("a"), "denied");
    assert_eq!(refused.cell("a")["reason"], "asks for `env WORD`: not granted");
    assert!(!refused.stderr.contains("shows all it printed"), "{}", refused.stderr);
    // What was refused before it began is no attempt.
    let granted = run(&place, &["-A"]).run().exits(0);
    assert_eq!(granted.cell("a")["reason"], "never ran");
    let plan = |words: &[&str]| place.call(words).env("WORD", "spoken").end().exits(0);
    insta::assert_snapshot!(plan(&["plan"]).screen(), @"
    --- stdout
            cell  lang  why
    denied  a     sh    asks for `env WORD`: not granted
    denied  b     sh    it is made of what `a` gave, which does not get what it asks for
    cached  c     sh    up to date
    --- stderr
    0 to run, 0 perhaps, 1 cached, 2 denied
    hint: what is not granted yet: --allow-env=WORD
    --- exit 0
    ");
    insta::assert_snapshot!(plan(&["status"]).screen(), @"
    --- stdout
            cell  lang  why
    denied  a     sh    asks for `env WORD`: not granted
    denied  b     sh    it is made of what `a` gave, which does not get what it asks for
    fresh   c     sh    up to date
    --- stderr
    1 fresh, 0 stale, 2 denied
    hint: what is not granted yet: --allow-env=WORD
    --- exit 0
    ");
    insta::assert_snapshot!(plan(&["plan", "--allow-env=WORD"]).screen(), @"
    --- stdout
            cell  lang  why
    cached  a     sh    up to date
    cached  b     sh    up to date
    cached  c     sh    up to date
    --- stderr
    0 to run, 0 perhaps, 3 cached
    --- exit 0
    ");
    insta::assert_snapshot!(plan(&["run", "-n", "-A", "--deny-env"]).screen(), @"
    --- stdout
            cell  lang  why
    denied  a     sh    asks for `env WORD`: denied
    denied  b     sh    it is made of what `a` gave, which does not get what it asks for
    cached  c     sh    up to date
    --- stderr
    0 to run, 0 perhaps, 1 cached, 2 denied
    --- exit 0
    ");
    let json = plan(&["plan", "--format", "json"]).json();
    assert_eq!(json["steps"][0]["action"], "denied");
    // And so it is; what is made of it names the cell, not all that is missing.
    let refused = run(&place, &["-k"]).run().exits(5);
    assert_eq!(refused.told(), "a denied, b denied, c cached");
    assert_eq!(
        refused.messages("b"),
        "it is made of what `a` gave, which does not get what it asks for"
    );
}
