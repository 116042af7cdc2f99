//! The executors that the READMEs of the SDKs show in full are run as they stand there.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyloom_test_e2e::{Place, needs};

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk")
}

/// Writes the indented blocks whose first line is a comment that begins with `shout/FILE` as these files of the executor.
fn shout(place: &Place, readme: &str) -> PathBuf {
    let text = fs::read_to_string(sdk().join(readme)).unwrap();
    let folder = place.executors().join("shout");
    fs::create_dir_all(&folder).unwrap();
    let mut file = None;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ").or_else(|| line.is_empty().then_some("")) else {
            file = None;
            continue;
        };
        let words = line.trim_start_matches(['/', '*', '#', ' ']);
        if let Some(name) = words.strip_prefix("shout/").and_then(|name| name.split(' ').next()) {
            file = Some(folder.join(name));
        }
        if let Some(file) = &file {
            let there = fs::read_to_string(file).unwrap_or_default();
            // TOML knows no other comments.
            let line = if words.starts_with("shout/") { "" } else { line };
            fs::write(file, format!("{there}{line}\n")).unwrap();
        }
    }
    folder
}

/// One cell is shouted, the other one asks something.
fn shouts(place: &Place) {
    place.write(
        "polyloom.toml",
        "[cells.well]\nlang = \"shout\"\ncode = '''\nhello\nyou\n'''\n\
         [cells.ask]\nlang = \"shout\"\ncode = '''\nhello\nyou?\n'''\n",
    );
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("well"), "ok", "{}", run.told());
    let said = place.polyloom(&["logs", "latest", "well"]).exits(0).stdout();
    assert!(said.contains("HELLO") && said.contains("YOU"), "{said}");
    assert_eq!(run.outcome("ask"), "failed");
    let told = &run.cell("ask")["diagnostics"][0];
    assert_eq!(told["message"], "nobody shouts a question");
    assert_eq!((&told["file"], &told["line"]), (&"polyloom.toml".into(), &11.into()), "{told}");
}

#[test]
fn an_executor_in_javascript() {
    needs!("node");
    let place = Place::new();
    shout(&place, "javascript/README.md");
    shouts(&place);
}

#[test]
fn an_executor_in_c() {
    needs!("cc");
    let place = Place::new();
    let folder = shout(&place, "c/README.md");
    let built = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", "libshout.so", "shout.c"])
        .arg("-I")
        .arg(sdk().join("c").canonicalize().unwrap())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    shouts(&place);
}
