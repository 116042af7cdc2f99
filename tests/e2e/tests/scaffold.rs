//! `plugin new`: what it makes works as it is, in every language that it knows.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::process::Command;

use polyloom_test_e2e::{Place, needs, skip};

fn sh(place: &Place, command: &str) {
    let done = Command::new("sh").args(["-ec", command]).current_dir(place.project()).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Makes one, builds it as `build` says, tests it, runs its flow, installs it and runs the flow again. `plugin` is the folder of its manifest.
fn works(lang: &str, build: &str, plugin: &str, least: usize) {
    let place = Place::new();
    let words: Vec<&str> = "plugin new mine --lang".split(' ').chain(lang.split(' ')).collect();
    let told = place.polyloom(&words).exits(0).stderr();
    assert!(told.contains(&format!("polyloom plugin test {plugin}")), "{told}");
    sh(&place, build);
    let report = place.polyloom(&["plugin", "test", plugin, "--format", "json"]).exits(0).json();
    let cases = report["cases"].as_array().unwrap();
    let passed = cases.iter().filter(|case| case["outcome"] == "pass").count();
    assert!(passed >= least, "{lang}: {passed} cases passed");
    let run = place.run(&["mine/try", "--executor-dir", plugin]);
    assert_eq!(run.bytes("greet", "greeting"), b"\xafhello from mine");
    let _ = place.polyloom(&["plugin", "install", plugin, "--yes"]).exits(0);
    let _ = place.polyloom(&["run", "mine/try", "--force-all"]).exits(0);
    assert_eq!(
        place.polyloom(&["logs", "mine/try", "latest", "greet"]).exits(0).stdout(),
        "hello\n"
    );
}

/// The examples that have no build keep the contract as they lie there.
#[test]
fn examples_keep_the_contract() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins");
    let place = Place::new();
    for (name, program, least) in [
        ("say-command", "sh", 28),
        ("say-wasm", "sh", 28),
        ("say-javascript", "node", 45),
        ("say-python", "python3", 45),
    ] {
        if polyloom_test_e2e::missing(&[program]) {
            continue;
        }
        let folder = examples.join(name);
        let folder = folder.to_str().unwrap();
        let report =
            place.polyloom(&["plugin", "test", folder, "--format", "json"]).exits(0).json();
        let cases = report["cases"].as_array().unwrap();
        let passed = cases.iter().filter(|case| case["outcome"] == "pass").count();
        assert!(passed >= least, "{name}: {passed} cases passed");
    }
    // A component is compiled once, whatever the cells' code.
    place.write(
        "polyloom.toml",
        "[cells.a]\nlang = \"say-wasm\"\ncode = \"say one\"\n[cells.b]\nlang = \"say-wasm\"\ncode = \"say two\"\n",
    );
    let folder = examples.join("say-wasm");
    let args = ["run", "--executor-dir", folder.to_str().unwrap(), "-j", "1", "--format", "jsonl"];
    let events = place.polyloom(&args).exits(0).stdout();
    assert_eq!(events.matches("\"phase\":\"compile\"").count(), 1, "{events}");
    assert_eq!(events.matches("\"phase\":\"run\"").count(), 2, "{events}");
    assert_eq!(place.polyloom(&["logs", "latest", "b"]).exits(0).stdout(), "two\n");
}

#[test]
fn a_script_works() {
    works("command", "true", "mine", 28);
}

#[test]
fn a_function_in_python_works() {
    needs!("python3");
    works("python", "true", "mine", 45);
    // Whatever goes wrong in a line is told with it.
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine", "--lang", "python"]).exits(0);
    place
        .write("polyloom.toml", "[cells.a]\nlang = \"mine\"\ncode = \"\"\"\n\nsay $none\n\"\"\"\n");
    let told = place.polyloom(&["run", "--executor-dir", "mine"]).exits(1).stderr();
    assert!(told.contains("polyloom.toml:5: error: no input `none`"), "{told}");
}

#[test]
fn a_program_in_javascript_works() {
    needs!("node");
    works("javascript", "true", "mine", 45);
}

#[test]
fn a_library_in_c_works() {
    needs!("cc", "make");
    works("c", "make -C mine", "mine", 40);
}

#[test]
fn a_program_in_rust_is_built_when_it_is_installed_and_works() {
    needs!("cargo");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine", "--lang", "rust"]).exits(0);
    // What the workspace was built with is here, and nothing else is asked for.
    sh(
        &place,
        &format!(
            "cp {}/Cargo.lock mine/; cd mine; cargo update --workspace --offline",
            root.display()
        ),
    );
    let told = place.polyloom(&["plugin", "install", "./mine"]).exits(2).stderr();
    assert!(told.contains("outside of the sandbox") && told.contains("nobody was asked"), "{told}");
    let home = std::env::var("HOME").unwrap();
    let of = |name: &str, usual: &str| std::env::var(name).unwrap_or(format!("{home}/{usual}"));
    let call = place.call(&["plugin", "install", "./mine", "--yes", "--offline"]);
    let call = call.env("CARGO_HOME", of("CARGO_HOME", ".cargo"));
    let call = call.env("RUSTUP_HOME", of("RUSTUP_HOME", ".rustup"));
    // Whatever rustup is asked, it is to change nothing.
    let call = call.env("RUSTUP_AUTO_INSTALL", "0");
    let _ = call.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").end().exits(0);
    let report = place.polyloom(&["plugin", "test", "mine", "--format", "json"]).exits(0).json();
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.iter().filter(|case| case["outcome"] == "pass").count() >= 45);
    let _ = place.polyloom(&["run", "mine/try"]).exits(0);
    let said = place.polyloom(&["logs", "mine/try", "latest", "greet"]).exits(0).stdout();
    assert_eq!(said, "hello\n");
    let info = place.polyloom(&["plugin", "info", "mine", "--format", "json"]).exits(0).json();
    assert!(info["from"].as_str().unwrap().starts_with("crate:/"), "{info}");
}

#[test]
fn a_component_works() {
    needs!("rustc", "make");
    let targets = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = String::from_utf8(targets.stdout).unwrap();
    if !Path::new(sysroot.trim()).join("lib/rustlib/wasm32-wasip2").is_dir() {
        return skip("rustc has no target wasm32-wasip2");
    }
    works("rust --kind wasm", "make -C mine", "mine", 24);
}

#[test]
fn names_that_are_taken_and_ways_that_are_not_there_are_refused() {
    let place = Place::new();
    for (args, said) in [
        (&["python"][..], "bundled executor `python`"),
        (&["py"], "bundled executor `python`"),
        (&["No/../Name"], "executor id"),
        (&["mine", "--lang", "rust", "--kind", "native"], "no plugin of that kind"),
    ] {
        let told = place.polyloom(&[&["plugin", "new"], args].concat()).exits(2).stderr();
        assert!(told.contains(said), "{args:?}: {told}");
    }
    assert_eq!(std::fs::read_dir(place.project()).unwrap().count(), 0);
    let _ = place.polyloom(&["plugin", "new", "mine"]).exits(0);
    place.write("mine/say.sh", "my own");
    let told = place.polyloom(&["plugin", "new", "mine"]).exits(2).stderr();
    assert!(told.contains("`mine` is here already"), "{told}");
    assert_eq!(place.read("mine/say.sh"), "my own");
}
