//! Plugins: found, agreed to, run from their copies, changed, disabled, removed.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::PermissionsExt;

use polyloom_test_e2e::Place;
use serde_json::json;

const FLOW: &str = "[cells.a]\nlang = \"greet\"\ncode = \"Ada\"\n";

/// A plugin in a folder beside the flow.
fn offered() -> Place {
    let place = Place::flow(FLOW);
    place.write(
        "executors/greet/executor.toml",
        "id = \"greet\"\nversion = \"1\"\ntitle = \"Greetings\"\nkind = \"command\"\nextensions = [\"greet\"]\naliases = [\"hi\"]\n\
         [toolchain.sh]\nany = [\"sh\"]\nversion = []\n[run]\nargv = [\"{sh}\", \"{dir}/greet.sh\", \"{code}\"]\n",
    );
    place.write("executors/greet/greet.sh", "echo hello $(cat $1)\n");
    place
}

fn done(place: &Place, args: &[&str]) {
    let ended = place.polyloom(args);
    assert_eq!(ended.code(), 0, "{}", ended.stderr());
}

/// What the cell prints in a run that it ends well in, or has ended well in.
fn said(place: &Place, args: &[&str]) -> String {
    let _ = place.run(args).exits(0);
    place.polyloom(&["logs", "latest", "a"]).exits(0).stdout()
}

#[test]
fn it_is_shown_what_sessions_of_each_executor_can_do_and_how_its_cells_start() {
    let place = Place::new();
    let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
    let of = |id: &str| {
        let all = list["executors"].as_array().unwrap();
        all.iter().find(|it| it["id"] == id).unwrap()["abilities"].clone()
    };
    let abilities = |share, prompt, complete, keeps, save, starts| {
        json!({
            "share": share, "prompt": prompt, "complete": complete, "reset": share,
            "snapshot": keeps, "restore": keeps, "save": save, "starts": starts,
        })
    };
    assert_eq!(of("python"), abilities(true, "values", true, true, true, json!(["zygote"])));
    assert_eq!(of("javascript"), abilities(true, "values", true, false, false, json!(["ahead"])));
    let wasm = json!(["zygote", "instances"]);
    assert_eq!(of("wasm"), abilities(false, "none", false, false, false, wasm));
    assert_eq!(of("sh"), abilities(false, "alone", false, false, false, json!([])));
    let info = place.polyloom(&["plugin", "info", "python", "--format", "json"]).exits(0).json();
    assert_eq!(info["abilities"], of("python"));
    let info = place.polyloom(&["plugin", "info", "javascript"]).exits(0).stdout();
    assert!(info.contains("sessions  share, complete, reset\n"), "{info}");
    let told = place.polyloom(&["doctor"]).exits(0).stdout();
    let (_, table) = told.split_once("\nsessions and starts\n").unwrap();
    let row = |id: &str| {
        let row = table.lines().find(|line| line.starts_with(id)).unwrap();
        row.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("python"), "yes values yes yes yes yes yes zygote");
    assert_eq!(row("wasm"), "- - - - - - - zygote, instances");
}

#[test]
fn a_plugin_runs_once_it_was_agreed_to_and_as_it_was_then() {
    let place = offered();
    let told = place.polyloom(&["run"]).exits(2).stderr();
    assert!(
        told.contains("`greet` is offered") && told.contains("install ./executors/greet"),
        "{told}"
    );
    let listed = place.polyloom(&["plugin", "list"]).exits(0).stdout();
    assert!(listed.contains("greet") && listed.contains("not enabled"), "{listed}");
    let told = place.polyloom(&["plugin", "enable", "greet"]).exits(2).stderr();
    assert!(told.contains("runs the program sh\n") && told.contains("--yes"), "{told}");
    assert!(told.contains("runs its own file greet.sh\n"), "{told}");
    assert!(
        told.contains("is also called hi\n") && told.contains("takes files .greet\n"),
        "{told}"
    );
    let _ = place.polyloom(&["run"]).exits(2);
    done(&place, &["plugin", "enable", "greet", "--yes"]);
    assert_eq!(said(&place, &[]), "hello Ada\n");
    // What is changed where it came from runs only when that is agreed to.
    place.write("executors/greet/greet.sh", "echo good morning $(cat $1)\n");
    place.edit("executors/greet/executor.toml", "[\"hi\"]", "[\"hi\", \"go\"]");
    place.edit("polyloom.toml", "Ada", "Bea");
    assert_eq!(said(&place, &[]), "hello Bea\n");
    let outdated = place.polyloom(&["plugin", "outdated", "--format", "json"]).exits(0).json();
    assert_eq!(outdated["plugins"][0]["id"], "greet");
    let told = place.polyloom(&["plugin", "install", "executors/greet", "--yes"]).exits(0).stderr();
    assert!(
        told.contains("is also called hi, go (new)") && !told.contains(".greet (new)"),
        "{told}"
    );
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    assert_eq!(said(&place, &[]), "good morning Bea\n", "its files are in the key");
    // A copy that was changed does not run, nor is a result of it taken for its own.
    let copies = place.root().join("home/.local/share/polyloom/plugins/copies");
    let copy = std::fs::read_dir(copies).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(copy.join("greet.sh")).unwrap();
    std::fs::write(copy.join("greet.sh"), "echo harm\n").unwrap();
    let told = place.polyloom(&["run"]).exits(3).stderr();
    assert!(told.contains("was changed") && told.contains("polyloom plugin install"), "{told}");
    let list = place.polyloom(&["plugin", "list"]).exits(0).stdout();
    let row = list.lines().find(|line| line.starts_with("greet")).unwrap();
    assert!(row.contains("changed: polyloom plugin install /"), "{list}");
    let info = place.polyloom(&["plugin", "info", "greet", "--format", "json"]).exits(0).json();
    assert_eq!((&info["changed"], &info["enabled"]), (&true.into(), &true.into()));
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    assert_eq!(said(&place, &[]), "good morning Bea\n");
    done(&place, &["plugin", "disable", "greet"]);
    let told = place.polyloom(&["run"]).exits(2).stderr();
    assert!(told.contains("installed and disabled"), "{told}");
    done(&place, &["plugin", "enable", "greet"]);
    assert_eq!(said(&place, &[]), "good morning Bea\n");
    done(&place, &["plugin", "remove", "greet"]);
    let told = place.polyloom(&["plugin", "remove", "greet"]).exits(2).stderr();
    assert!(told.contains("no plugin `greet`"), "{told}");
}

#[test]
fn nothing_that_was_put_into_a_copy_runs() {
    let place = offered();
    place.write("executors/greet/conformance.toml", "hello = 'Ada'\n");
    place.write("executors/greet/__pycache__/own.pyc", "as any run leaves one");
    done(&place, &["plugin", "enable", "greet", "--yes"]);
    assert_eq!(said(&place, &[]), "hello Ada\n");
    let copies = place.root().join("home/.local/share/polyloom/plugins/copies");
    let copy = std::fs::read_dir(copies).unwrap().next().unwrap().unwrap().path();
    // Python takes one with an unchecked hash for the source, whatever that says.
    std::fs::create_dir(copy.join("__pycache__")).unwrap();
    std::fs::write(copy.join("__pycache__/greet.pyc"), b"\x01").unwrap();
    for args in [&["run", "-f"][..], &["plugin", "test", "greet"]] {
        let told = place.polyloom(args).exits(3).stderr();
        assert!(told.contains("was changed") && told.contains("plugin install"), "{told}");
    }
    let info = place.polyloom(&["plugin", "info", "greet"]).exits(0).stdout();
    assert!(info.contains("its copy was changed"), "{info}");
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    assert!(!copy.join("__pycache__").exists());
    done(&place, &["run", "-f"]);
}

#[test]
fn what_is_about_a_plugin_and_not_of_it_makes_no_cell_run_again() {
    let place = offered();
    let about = ["README.md", "tests/t.sh", "try/polyloom.toml", ".github/a.yml", ".gitignore"];
    let write = |text: &str| {
        for file in about {
            place.write(&format!("executors/greet/{file}"), text);
        }
    };
    write("# 1\n");
    place.write("executors/greet/lib/README.md", "of it\n");
    place.write("executors/greet/conformance.toml", "hello = 'Ada'\n");
    // From its folder, and as it is installed.
    let beside = ["--executor-dir", "executors"];
    for args in [&beside[..], &[]] {
        if args.is_empty() {
            done(&place, &["plugin", "enable", "greet", "--yes"]);
        }
        let _ = place.run(args).exits(0);
        write("# 2\n");
        let run = place.run(args).exits(0);
        assert_eq!(run.ran(), [""; 0], "{args:?}");
    }
    let told = place.polyloom(&["plugin", "outdated"]).exits(4).stderr();
    assert_eq!(told, "no change was found\n");
    let copies = place.root().join("home/.local/share/polyloom/plugins/copies");
    let copy = std::fs::read_dir(copies).unwrap().next().unwrap().unwrap().path();
    assert!(about.iter().all(|file| !copy.join(file).exists()));
    assert!(copy.join("lib/README.md").is_file() && copy.join("conformance.toml").is_file());
    place.edit("executors/greet/conformance.toml", "Ada", "Bea");
    assert_eq!(place.run(&beside).exits(0).ran(), [""; 0]);
    place.write("executors/greet/lib/README.md", "of it, too\n");
    assert_eq!(place.run(&beside).exits(0).ran(), ["a"]);
    place.edit("executors/greet/executor.toml", "{dir}/greet.sh", "{dir}/tests/t.sh");
    let told = place.polyloom(&["plugin", "install", "executors/greet", "--yes"]).exits(2).stderr();
    assert!(told.contains("`tests` is no part of an executor"), "{told}");
}

#[test]
fn who_runs_a_plugin_keeps_it_and_no_longer() {
    let place = offered();
    place.write("executors/greet/greet.sh", "sleep 1; echo hello $(cat $1)\n");
    place.edit("polyloom.toml", "[cells.a]", "[cells.z]\nlang = \"sh\"\ncode = \"sleep 1\"\noutputs = { n = \"int\" }\n[cells.a]\ninputs = { n = \"z.n\" }");
    place.edit("polyloom.toml", "sleep 1\"", "sleep 1; echo 1 > $OUT/n\"");
    done(&place, &["plugin", "enable", "greet", "--yes"]);
    let mut running = place.call(&["run", "--format", "jsonl"]).start();
    let _ = running.until(|event| event["event"] == "step.started");
    place.write("executors/greet/greet.sh", "echo new $(cat $1)\n");
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    let copies = || {
        std::fs::read_dir(place.root().join("home/.local/share/polyloom/plugins/copies"))
            .unwrap()
            .count()
    };
    assert_eq!(copies(), 2);
    assert_eq!(running.end().code(), 0, "it has what it began with");
    assert_eq!(place.polyloom(&["logs", "latest", "a"]).exits(0).stdout(), "hello Ada\n");
    done(&place, &["plugin", "disable", "greet"]);
    assert_eq!(copies(), 1);
}

#[test]
fn names_are_taken_once() {
    let place = offered();
    let info = place.polyloom(&["plugin", "info", "bash"]).exits(0).stdout();
    assert!(info.contains("bundled") && info.contains("runs      bash\n"), "{info}");
    let info = place.polyloom(&["plugin", "info", "py", "--format", "json"]).exits(0).json();
    assert_eq!((&info["id"], &info["installed"]), (&"python".into(), &false.into()));
    let _ = place.polyloom(&["plugin", "info", "nobody"]).exits(2);
    place.edit("executors/greet/executor.toml", "id = \"greet\"", "id = \"sh\"");
    let told = place.polyloom(&["plugin", "install", "executors/greet", "--yes"]).exits(2).stderr();
    assert!(told.contains("the bundled executor `sh`"), "{told}");
    place.edit("executors/greet/executor.toml", "id = \"sh\"", "id = \"greet\"");
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    place.write("other/executor.toml", place.read("executors/greet/executor.toml"));
    place.edit("other/executor.toml", "id = \"greet\"", "id = \"other\"");
    let told = place.polyloom(&["plugin", "install", "other", "--yes"]).exits(2).stderr();
    assert!(told.contains("the name `hi`") && told.contains("the plugin `greet`"), "{told}");
    // A folder on the command line goes before what is installed.
    place.write("given/greet/executor.toml", place.read("executors/greet/executor.toml"));
    place.write("given/greet/greet.sh", "echo given $(cat $1)\n");
    assert_eq!(said(&place, &["--executor-dir", "given"]), "given Ada\n");
}

#[test]
fn a_lock_holds_a_flow_to_its_executors() {
    let place = offered();
    done(&place, &["plugin", "enable", "greet", "--yes"]);
    // However it is spelt, it is from one place.
    done(&place, &["plugin", "install", "executors/../executors//greet/"]);
    let info = place.polyloom(&["plugin", "info", "greet"]).exits(0).stdout();
    assert!(info.contains("/project/executors/greet\n"), "{info}");
    let told = place.polyloom(&["run", "--locked"]).exits(2).stderr();
    assert!(
        told.contains("there is no `./polyloom.lock`") && told.contains("polyloom plugin lock"),
        "{told}"
    );
    done(&place, &["plugin", "lock"]);
    let lock = place.read("polyloom.lock");
    assert!(lock.contains("[executor.greet]") && lock.contains("files = \"b3:"), "{lock}");
    done(&place, &["run", "--locked"]);
    // Twice is once.
    let told = place.polyloom(&["plugin", "lock"]).exits(0).stderr();
    assert!(told.contains("nothing has changed"), "{told}");
    place.write("executors/greet/greet.sh", "echo hi $(cat $1)\n");
    done(&place, &["run", "--locked"]);
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    let told = place.polyloom(&["run", "--locked"]).exits(3).stderr();
    assert!(
        told.contains("greet") && told.contains("files") && told.contains("nothing was run"),
        "{told}"
    );
    done(&place, &["run"]);
    place.edit(
        "polyloom.toml",
        "[cells.a]",
        "[cells.b]\nlang = \"sh\"\ncode = \"echo b\"\n[cells.a]",
    );
    done(&place, &["plugin", "lock"]);
    assert!(place.read("polyloom.lock").contains("[executor.sh]\nfiles = \"bundled\""));
    done(&place, &["run", "--locked"]);
    // Another flow of the folder has the same lock: what only the first one needs stays as it was.
    place.write("other.flow.toml", "[cells.p]\nlang = \"awk\"\ncode = \"BEGIN { print 1 }\"\n");
    let told = place.polyloom(&["run", "other.flow.toml", "--locked"]).exits(3).stderr();
    assert!(told.contains("awk") && told.contains("not locked"), "{told}");
    let before = place.read("polyloom.lock");
    let told = place.polyloom(&["plugin", "lock", "other.flow.toml"]).exits(0).stderr();
    assert!(told.contains("kept as they were") && told.contains("`greet`, `sh`"), "{told}");
    let after = place.read("polyloom.lock");
    assert!(after.contains("[executor.awk]") && before.lines().all(|line| after.contains(line)));
    done(&place, &["run", "--locked"]);
    done(&place, &["run", "other.flow.toml", "--locked"]);
    // What the flow has is replaced.
    place.edit(
        "polyloom.lock",
        "[executor.sh]\nfiles = \"bundled\"",
        "[executor.sh]\nfiles = \"b3:0\"",
    );
    let _ = place.polyloom(&["run", "--locked"]).exits(3);
    let told = place.polyloom(&["plugin", "lock"]).exits(0).stderr();
    assert!(told.contains("wrote") && told.contains("folder: `awk`;"), "{told}");
    assert_eq!(place.read("polyloom.lock"), after);
    for (bad, why) in [
        ("version = 2\nnew = 1\n", "it has version 2, this program reads 1\n"),
        ("version = 1\nwhat = 3\n", "line 2: unknown field `what`"),
        ("version = 1\n\nno toml\n", "line 3: "),
    ] {
        place.write("polyloom.lock", bad);
        for args in [["run", "--locked"], ["plugin", "lock"]] {
            let told = place.polyloom(&args).exits(2).stderr();
            assert!(told.contains(&format!("polyloom.lock` can't be understood: {why}")), "{told}");
            assert!(told.contains("hint: have it as it was, or remove `"), "{told}");
            assert!(!told.contains("\\n"), "{told}");
        }
    }
}

#[test]
fn what_is_broken_is_told_where_its_name_is_used_and_nothing_runs_in_its_place() {
    let place = offered();
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    place.write("given/greet/executor.toml", place.read("executors/greet/executor.toml"));
    place.edit("given/greet/executor.toml", "extensions =", "extension =");
    let told = place.polyloom(&["run", "--executor-dir", "given"]).exits(2).stderr();
    assert!(told.contains("PL003") && told.contains("unknown language `greet`"), "{told}");
    assert!(told.contains("given/greet/executor.toml` is broken: see above"), "{told}");
    assert!(!told.contains("takes what is there now"), "{told}");
    // Who looks after what runs already has no manifests read.
    let told = place.polyloom(&["session", "list", "--executor-dir", "given"]).exits(0).stderr();
    assert!(!told.contains("PL003"), "{told}");
    done(&place, &["run"]);
    done(&place, &["plugin", "remove", "greet"]);
    // The same of what is offered, by whatever asks for it.
    place.edit("executors/greet/executor.toml", "[run]", "[run");
    for args in
        [&["run"][..], &["check"], &["plugin", "enable", "greet"], &["plugin", "test", "greet"]]
    {
        let told = place.polyloom(args).exits(2).stderr();
        assert!(told.contains("PL001") && told.contains("executors/greet/executor.toml"), "{told}");
    }
    let told = place.polyloom(&["plugin", "info", "greet"]).exits(2).stderr();
    assert!(told.contains("see above what is wrong in"), "{told}");
    done(&place, &["plugin", "info", "sh"]);
}

#[test]
fn a_copy_that_is_gone_is_told_with_its_plugin_and_what_brings_it_back() {
    let place = offered();
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    let copies = place.root().join("home/.local/share/polyloom/plugins/copies");
    std::fs::rename(&copies, place.root().join("away")).unwrap();
    let again = "polyloom plugin install /";
    let told = place.polyloom(&["run"]).exits(2).stderr();
    assert!(told.contains("the copy of plugin `greet` is not there") && told.contains(again));
    let list = place.polyloom(&["plugin", "list"]).exits(0).stdout();
    let row = list.lines().find(|line| line.starts_with("greet")).unwrap();
    assert!(row.contains("gone: polyloom plugin install /"), "{list}");
    let told = place.polyloom(&["plugin", "info", "greet"]).exits(3).stderr();
    assert!(told.contains("`greet` is not there") && told.contains(again), "{told}");
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    assert_eq!(said(&place, &[]), "hello Ada\n");
}

#[test]
fn an_archive_that_changed_or_is_gone_is_told() {
    let place = offered();
    let pack = |text: &str| {
        place.write("executors/greet/greet.sh", text);
        let mut tar = std::process::Command::new("tar");
        tar.args(["-cf", "greet.tar", "-C", "executors", "greet"]).current_dir(place.project());
        assert!(tar.status().unwrap().success());
    };
    pack("echo hello $(cat $1)\n");
    done(&place, &["plugin", "install", "greet.tar", "--yes"]);
    let told = place.polyloom(&["run"]).exits(0).stderr();
    assert!(!told.contains("as it was installed"), "{told}");
    pack("echo bye $(cat $1)\n");
    let told = place.polyloom(&["run"]).exits(0).stderr();
    assert!(told.contains("`greet` runs as it was installed"), "{told}");
    std::fs::remove_file(place.project().join("greet.tar")).unwrap();
    let told = place.polyloom(&["plugin", "outdated"]).exits(0);
    assert!(told.stdout().contains("can't unpack"), "{}", told.stdout());
    assert!(told.stderr().contains("polyloom plugin remove greet"), "{}", told.stderr());
    done(&place, &["run"]);
}

#[test]
fn a_name_that_no_installed_plugin_has_is_told_for_what_it_is() {
    let place = offered();
    let told = |args: &[&str]| place.polyloom(&[&["plugin"], args].concat()).exits(2).stderr();
    for verb in ["enable", "disable", "remove"] {
        let perl = told(&[verb, "perl"]);
        assert!(perl.contains("`perl` is bundled: cells with `lang = \"perl\"`"), "{perl}");
    }
    let offer = told(&["disable", "greet"]);
    assert!(offer.contains("`greet` is offered: polyloom plugin enable greet"), "{offer}");
    let test = told(&["test", "greet"]);
    assert!(
        test.contains("`greet` is offered and not installed")
            && test.contains("/project/executors/greet\n"),
        "{test}"
    );
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    for verb in ["enable", "disable", "remove", "info"] {
        let near = told(&[verb, "gret"]);
        assert!(near.contains("did you mean `greet`?"), "{near}");
        assert_eq!(near.contains("there is no executor"), verb == "info", "{near}");
    }
    let alias = told(&["disable", "hi"]);
    assert!(alias.contains("its id is `greet`"), "{alias}");
}

#[test]
fn the_digest_of_a_plugin_is_told_before_it_is_installed() {
    let place = offered();
    let info = |args: &[&str]| {
        let args = [args, &["plugin", "info", "greet", "--format", "json"]].concat();
        place.polyloom(&args).exits(0).json()["digest"].clone()
    };
    let offered = info(&[]);
    assert!(offered.as_str().unwrap().starts_with("b3:"), "{offered}");
    done(&place, &["plugin", "install", "executors/greet", "--yes"]);
    assert_eq!(info(&[]), offered);
    done(&place, &["plugin", "remove", "greet"]);
    let named = std::fs::rename(place.project().join("executors"), place.project().join("own"));
    named.unwrap();
    assert_eq!(info(&["--executor-dir", "own"]), offered);
}

/// Nobody agrees to what is not told, and no result depends on what is in no key.
#[test]
fn a_program_that_is_no_tool_is_refused() {
    let place = offered();
    let made = "[toolchain.make]\nany = [\"make\"]\n[toolchain.sh]";
    place.edit("executors/greet/executor.toml", "\"{sh}\", \"{dir}", "\"make\", \"{dir}");
    let told = place.polyloom(&["plugin", "install", "executors/greet", "--yes"]).exits(2).stderr();
    assert!(
        told.contains("`make` is no tool of this manifest") && told.contains("[toolchain.make]"),
        "{told}"
    );
    place.edit("executors/greet/executor.toml", "[toolchain.sh]", made);
    place.edit("executors/greet/executor.toml", "\"make\", \"{dir}", "\"{make}\", \"{dir}");
    let told = place.polyloom(&["plugin", "install", "executors/greet"]).exits(2).stderr();
    assert!(told.contains("runs the program make\n"), "{told}");
    // A program of its own is told, too.
    place.write(
        "own/x/executor.toml",
        "id = \"x\"\nversion = \"1\"\nkind = \"worker\"\n[worker]\nargv = [\"{dir}/bin/x\"]\nprotocol = [1]\n",
    );
    place.write("own/x/bin/x", b"\x7fELF");
    let program = place.project().join("own/x/bin/x");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let told = place.polyloom(&["plugin", "install", "own/x"]).exits(2).stderr();
    assert!(told.contains("runs its own file bin/x\n"), "{told}");
}

/// A plugin `pc3` in a folder, of a kind and its table.
fn unbuilt(place: &Place, kind: &str, table: &str) {
    let text = format!(
        "id = \"pc3\"\nversion = \"1\"\nextensions = [\"pc3\"]\nkind = \"{kind}\"\n{table}\n"
    );
    place.write("own/pc3/executor.toml", text);
    place.write(
        "polyloom.toml",
        "[cells.first]\nlang = \"sh\"\ncode = \"true\"\n[cells.a]\nlang = \"pc3\"\ncode = \"x\"\n",
    );
}

/// What `install`, `list` and `run` say of it.
fn refused(place: &Place, expected: &str) {
    let told = place.polyloom(&["plugin", "install", "own/pc3", "--yes"]).exits(2).stderr();
    assert!(told.contains(&format!("{expected}; nothing was installed")), "{told}");
    let _ = place.polyloom(&["plugin", "info", "pc3"]).exits(2);
    let own = ["--executor-dir", "own"];
    let list = [&own[..], &["plugin", "list", "--format", "json"]].concat();
    let list = place.polyloom(&list).exits(0).json();
    let rows = list["executors"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == "pc3").unwrap();
    assert_eq!(row["ready"], false, "{row}");
    assert!(row["missing"].as_str().unwrap().contains(expected), "{row}");
    let run = place.polyloom(&[&own[..], &["run"]].concat()).exits(3);
    let told = run.stderr();
    assert!(told.contains(expected) && !told.contains("first: ok"), "{told}");
    assert!(!told.contains("hint: "), "{told}");
}

#[test]
fn what_was_not_built_is_neither_installed_nor_run() {
    let place = Place::new();
    let native = "[native]\nlibrary = \"libpc3.so\"";
    unbuilt(&place, "native", native);
    refused(&place, "`libpc3.so` of `pc3` is not there: build it first");
    place.write("own/pc3/Makefile", "libpc3.so:\n");
    refused(&place, "`libpc3.so` of `pc3` is not there: build it first (`make`)");
    place.write("own/pc3/libpc3.so", "text");
    refused(&place, "`libpc3.so` of `pc3` is no shared library");
    unbuilt(&place, "wasm", "[wasm]\ncomponent = \"pc3.wasm\"");
    refused(&place, "`pc3.wasm` of `pc3` is not there: build it first (`make`)");
    place.write("own/pc3/pc3.wasm", "fn main() {}");
    refused(&place, "`pc3.wasm` of `pc3` is no WebAssembly");
    std::fs::remove_file(place.project().join("own/pc3/Makefile")).unwrap();
    unbuilt(&place, "worker", "[worker]\nargv = [\"{dir}/bin/pc3\"]\nprotocol = [1]");
    refused(&place, "`bin/pc3` of `pc3` is not there");
    place.write("own/pc3/bin/pc3", "#!/bin/sh\n");
    refused(&place, "`bin/pc3` of `pc3` is not executable: `chmod +x bin/pc3`");
    // What a program is given to read.
    let sh = "[toolchain.sh]\nany = [\"sh\"]\nversion = []\n[worker]\nprotocol = [1]\nargv = [\"{sh}\", ";
    unbuilt(&place, "worker", &format!("{sh}\"{{dir}}/own.sh:main\"]"));
    refused(&place, "`own.sh` of `pc3` is not there");
    unbuilt(&place, "worker", &format!("{sh}\"{{sdk}}/python/exec.py\"]"));
    refused(&place, "`{sdk}/python/exec.py` of `pc3` is not in the SDK of this polyloom");
    // One that lost its library since.
    unbuilt(&place, "native", native);
    place.write("own/pc3/libpc3.so", b"\x7fELF");
    done(&place, &["plugin", "install", "own/pc3", "--yes"]);
    // The file is what it has, and is not a part of polyloom.
    let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
    let rows = list["executors"].as_array().unwrap();
    let programs = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap()["programs"].clone();
    assert_eq!((programs("pc3"), programs("wasm")), ("libpc3.so".into(), "built in".into()));
}

/// Who opens a pipe waits for its other end: none of an executor's files may be one, wherever it is named.
#[test]
fn pipes_in_the_place_of_an_executors_files_are_refused_at_once() {
    let place = Place::new();
    let pipe = |path: &str| {
        let path = place.project().join("own").join(path);
        std::fs::remove_file(&path).ok();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    let kinds = [
        ("wasm", "[wasm]\ncomponent = \"pc3.wasm\"", "pc3.wasm"),
        ("native", "[native]\nlibrary = \"libpc3.so\"", "libpc3.so"),
        ("worker", "[worker]\nargv = [\"{dir}/bin/pc3\"]\nprotocol = [1]", "bin/pc3"),
        (
            "command",
            "[toolchain.sh]\nany = [\"sh\"]\nversion = []\n[run]\nargv = [\"{sh}\", \"{dir}/run.sh\", \"{code}\"]",
            "run.sh",
        ),
        (
            "worker",
            "[toolchain.sh]\nany = [\"sh\"]\nversion = []\n[worker]\nargv = [\"{sh}\", \"{dir}/own.sh:main\"]\nprotocol = [1]",
            "own.sh",
        ),
    ];
    for (kind, table, file) in kinds {
        std::fs::remove_dir_all(place.project().join("own")).ok();
        unbuilt(&place, kind, table);
        pipe(&format!("pc3/{file}"));
        let told = place.polyloom(&["run", "--executor-dir", "own"]).exits(3).stderr();
        let said = format!("`{file}` of `pc3` is no regular file; cells that need it: `a`");
        assert!(told.contains(&said), "{told}");
        let told = place.polyloom(&["plugin", "install", "own/pc3", "--yes"]).exits(2).stderr();
        assert!(told.contains(&format!("pc3/{file}` is no regular file")), "{told}");
    }
    // What is said of them, and what they are.
    pipe("pc3/conformance.toml");
    let told = place.polyloom(&["plugin", "test", "own/pc3"]).stderr();
    assert!(told.contains("conformance.toml can't be read: neither a file nor a folder"), "{told}");
    pipe("pc3/executor.toml");
    let told = place.polyloom(&["plugin", "list", "--executor-dir", "own"]).exits(0).stderr();
    assert!(told.contains("executor.toml`: it is not a regular file"), "{told}");
}

#[test]
fn a_folder_of_plugins_is_none_and_names_those_in_it() {
    let place = offered();
    let told = place.polyloom(&["plugin", "install", "executors", "--yes"]).exits(2).stderr();
    assert!(
        told.contains("`executors` is no plugin, but has some in it: executors/greet\n"),
        "{told}"
    );
    assert!(told.contains("hint: polyloom plugin install executors/greet\n"), "{told}");
    // A program that is not there was not asked what it is.
    place.edit("polyloom.toml", "[cells.a]", "[executors.greet]\nsh = \"shX\"\n[cells.a]");
    let told = place.polyloom(&["run", "--executor-dir", "executors"]).exits(3).stderr();
    assert!(told.contains("`shX`") && !told.contains("version = []"), "{told}");
}

#[test]
fn a_file_that_is_no_archive_is_not_shown() {
    let place = Place::new();
    place.write("secrets", "hunter2 is the password of the person\n".repeat(40));
    place.write("secrets.gz", b"\x1f\x8bhunter2 is the password");
    for name in ["secrets", "secrets.gz"] {
        let told = place.polyloom(&["plugin", "install", name, "--yes"]).exits(2).stderr();
        assert!(told.contains("is no .tar or .tar.gz, or is damaged"), "{told}");
        assert!(told.contains("valid: ") && !told.contains("hunter2"), "{told}");
    }
    let done = std::process::Command::new("tar")
        .args(["-cf", "bare.tar", "secrets"])
        .current_dir(place.project())
        .status();
    assert!(done.unwrap().success());
    let told = place.polyloom(&["plugin", "install", "bare.tar", "--yes"]).exits(2).stderr();
    assert!(told.contains("project/bare.tar/executor.toml`"), "{told}");
}

#[test]
fn a_compiler_that_writes_no_program_is_the_manifests_mistake() {
    let place = Place::new();
    place.executor(
        "gco",
        "id = \"gco\"\nversion = \"1\"\nkind = \"command\"\n[toolchain.cp]\nany = [\"cp\"]\nversion = []\n\
         [compile]\nargv = [\"{cp}\", \"{code}\", \"{work}/out\"]\n[run]\nargv = [\"{program}\"]\n",
    );
    place.write("polyloom.toml", "[cells.a]\nlang = \"gco\"\ncode = \"x\"\n");
    let run = place.polyloom(&["run"]).exits(1);
    let told = run.stderr();
    let said = "executor.toml: error: `[compile]` of `gco` has to write `{program}`: its program ended well and left none\n";
    assert_eq!(told.matches(said).count(), 1, "{told}");
    assert_eq!(told.matches("left none").count(), 1, "{told}");
    assert!(told.contains("cell `a` (gco): worker_error, its code was not compiled\n"), "{told}");
    assert!(told.contains("hint: `{program}` in the argv of `[compile]`"), "{told}");
    assert!(!told.contains("outputs"), "{told}");
}
