//! What codes begin with is compiled once for all that begin so: when it is used, when it is not, and that it changes nothing else.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::Path;

use polyloom_test_e2e::{Place, Run, needs};

/// A language whose compiler makes a script that says with which head it was made. Its header is the project's file `header`.
fn lab(place: &Place) {
    let header = place.project().join("header");
    fs::write(&header, "1").unwrap();
    // A file that changed a moment ago may change again without its times telling.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(&header).unwrap().set_modified(old).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(3100));
    place.executor(
        "lab",
        &format!(
            r#"
id = "lab"
version = "1"
kind = "command"
[toolchain.sh]
any = ["sh"]
version = []
[compile]
argv = ["{{sh}}", "-c", '''
(echo tampered > /cell/head/head.made) 2> /dev/null
(rm -f /cell/head/head.made) 2> /dev/null
said=$(test "$#" = 2 || cat "$3.made")
printf '#!/bin/sh\necho "%s"\n' "head: $said" > "$2"
chmod +x "$2"
''', "sh", "{{code}}", "{{program}}", "{{head.flags}}"]
[compile.head]
line = 'use (?P<name>[a-z]+)'
names = ["a", "b", "c", "bad"]
text = "used {{name}}"
argv = ["{{sh}}", "-c", '''
! grep -q bad "$1" || exit 1
ls -d /cell/code/* > "$2/head.made"
cat "$1" >> "$2/head.made"
echo "x: {}" > "$2/depends"
''', "sh", "{{head}}", "{{out}}"]
flags = ["{{head}}"]
[run]
argv = ["{{program}}"]
"#,
            header.display()
        ),
    );
}

fn flow(codes: &[(&str, &str)]) -> String {
    codes.iter().fold(String::new(), |flow, (lang, code)| {
        let at = flow.matches("[cells.").count();
        format!("{flow}[cells.x{at}]\nlang = \"{lang}\"\ncode = '''\n{code}\n'''\n")
    })
}

/// Runs one code; what it says of its head.
#[track_caller]
fn said(place: &Place, code: &str) -> String {
    place.write("polyloom.toml", flow(&[("lab", code)]));
    let _ = place.run(&[]).exits(0);
    let told = place.polyloom(&["logs", "latest", "x0"]).exits(0).stdout();
    let told: Vec<&str> = told.lines().map(|line| line.trim_start_matches("x0 │ ")).collect();
    told.join(" ").trim().to_owned()
}

const AB: &str = "head: /cell/code/head used a used b";

#[test]
fn a_head_is_made_once_and_used_by_every_code_that_begins_so() {
    let place = Place::new();
    lab(&place);
    assert_eq!(said(&place, "use a\nuse b\n1"), "head:", "the first goes without");
    assert_eq!(said(&place, "use a\nuse b\n2"), AB);
    assert_eq!(said(&place, "\nuse a\n\nuse b\nother\nuse c"), AB);
    // Of a longer head the part that is there is used; it is made itself when it is seen again.
    assert_eq!(said(&place, "use a\nuse b\nuse c\n1"), AB);
    assert_eq!(said(&place, "use a\nuse b\nuse c\n2"), AB);
    assert_eq!(said(&place, "use a\nuse b\nuse c\n3"), format!("{AB} used c"));
    assert_eq!(said(&place, "use a\n3"), "head:", "another one");
    assert_eq!(said(&place, "use z\nuse a\n4"), "head:", "no head at all");
    // What no compiler takes is tried once.
    assert_eq!(said(&place, "use bad\n1"), "head:");
    assert_eq!(said(&place, "use bad\n2"), "head:");
}

#[test]
fn a_head_whose_files_changed_is_not_used() {
    let place = Place::new();
    lab(&place);
    said(&place, "use a\nuse b\n1");
    assert_eq!(said(&place, "use a\nuse b\n2"), AB);
    let header = place.project().join("header");
    fs::write(&header, "2").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(3100));
    assert_eq!(said(&place, "use a\nuse b\n3"), "head:");
    assert_eq!(said(&place, "use a\nuse b\n4"), AB, "it was made anew");
    // Nor one of another executor.
    let manifest = place.executors().join("lab/executor.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("used {name}", "now {name}")).unwrap();
    assert_eq!(said(&place, "use a\nuse b\n5"), "head:");
    assert_eq!(said(&place, "use a\nuse b\n6"), AB.replace("used", "now"));
}

#[test]
fn what_a_damaged_head_led_to_counts_for_nothing() {
    let place = Place::new();
    lab(&place);
    said(&place, "use a\nuse b\n1");
    assert_eq!(said(&place, "use a\nuse b\n2"), AB);
    let trees = fs::read_dir(place.store().join("trees")).unwrap();
    let made = trees.map(|tree| tree.unwrap().path().join("head.made")).find(|path| path.exists());
    let made = made.expect("the head is laid out");
    // As many bytes: what a disk does to a file shows by its bytes alone.
    let forged = vec![b'!'; fs::read(&made).unwrap().len()];
    let mut allowed = fs::metadata(&made).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut allowed, 0o600);
    fs::set_permissions(&made, allowed).unwrap();
    fs::write(&made, forged).unwrap();
    assert_eq!(said(&place, "use a\nuse b\n3"), "head:", "it is compiled again, without");
    assert_eq!(said(&place, "use a\nuse b\n4"), AB, "it was made anew");
}

#[test]
fn a_head_goes_as_programs_go() {
    let place = Place::new();
    lab(&place);
    said(&place, "use a\nuse b\n1");
    assert_eq!(said(&place, "use a\nuse b\n2"), AB);
    let _ = place.polyloom(&["cache", "gc", "--max-size", "1"]).exits(0);
    assert_eq!(said(&place, "use a\nuse b\n3"), "head:");
    assert_eq!(said(&place, "use a\nuse b\n4"), AB);
}

/// Codes whose outcome a head could change.
const CODES: &[&str] = &[
    "#include <vector>\nint main() { std::cout << 1; }",
    "#include <iostream>\nint main() { std::cout << __LINE__ << __FILE__ << __COUNTER__ << '\\n'; }",
    "#include <iostream>\n\nint main() { int unused; std::cout << 2 << '\\n'; return boom; }",
    "#include <iostream>\n\nint main() { int unused; std::cout << 3 << '\\n'; }",
    "#include <vector>\n#include <algorithm>\nstruct S {};\nint main() { std::vector<S> v(2); std::sort(v.begin(), v.end()); }",
    "// words\n#include <iostream>\n#define NDEBUG\n#include <cassert>\nint main() { assert(false); std::cout << 4 << '\\n'; }",
    "#include <string>\n#include <polyloom.h>\nint main() { polyloom::in<int>(\"none\"); }",
    "#include <iostream>\n#include \"mine.h\"\nint main() { }",
    "#include <cstdio>\nint vector = 5, string = 6;\nusing namespace std;\nint main() { printf(\"%d\\n\", vector + string); }",
    "#include <string>\nint main() { std::string s = 7; }",
];

/// What there is to see of each cell.
fn seen(place: &Place, run: &Run) -> Vec<String> {
    (0..CODES.len())
        .map(|at| {
            let id = format!("x{at}");
            let cell = run.cell(&id);
            let logs = place.polyloom(&["logs", "latest", &id]).stdout();
            format!("{} {} {} {logs}", cell["outcome"], cell["exit_code"], cell["diagnostics"])
        })
        .collect()
}

#[test]
fn what_comes_out_and_what_is_told_is_the_same_with_a_head() {
    needs!("g++");
    // With lines at the end that mean nothing, so that everything is compiled again.
    let codes = |more: &str| -> Vec<(&str, String)> {
        CODES.iter().map(|code| ("cpp", format!("{code}\n{more}"))).collect()
    };
    let written = |codes: &[(&str, String)]| {
        let codes: Vec<_> = codes.iter().map(|(lang, code)| (*lang, code.as_str())).collect();
        format!("[executors.cpp]\ncxx = \"g++\"\n{}", flow(&codes))
    };
    let place = Place::flow(&written(&codes("// without")));
    let without = place.run(&["-k", "-j", "1"]);
    let without = seen(&place, &without);
    // The heads that were not made beside the last cells are made beside these.
    place.write("polyloom.toml", written(&codes("// between")));
    let _ = place.run(&["-k", "-j", "1"]);
    place.write("polyloom.toml", written(&codes("// with")));
    let run = place.run(&["-k", "-j", "1"]);
    let with = seen(&place, &run);
    for (code, (without, with)) in CODES.iter().zip(without.iter().zip(&with)) {
        assert_eq!(with, without, "{code}");
    }
    let show = place.polyloom(&["show", "x3", "--format", "json"]).exits(0).json();
    assert_eq!(show["meta"]["extras"]["compiled_head"], "#include <iostream>");
}

/// `-H` names the files that are read; one that begins with `!` is a precompiled header that was taken.
#[test]
fn the_compiler_takes_the_head() {
    needs!("gcc", "g++");
    let executors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../executors");
    for (id, compiler, code) in [
        ("c", "gcc", "#include <stdio.h>\nint main(void) { return 0; }"),
        ("cpp", "g++", "#include <iostream>\n#include <polyloom.h>\nint main() { }"),
    ] {
        let place = Place::new();
        let manifest = fs::read_to_string(executors.join(id).join("executor.toml")).unwrap();
        let (manifest, _) = manifest.split_once("[diagnostics]").unwrap();
        let manifest = manifest
            .replace(&format!("id = \"{id}\""), "id = \"watched\"")
            .replace("aliases = [\"cxx\"]\n", "")
            .replace("\"{head.flags}\", ", "\"{head.flags}\", \"-H\", \"-Winvalid-pch\", ");
        assert!(manifest.contains(&format!("\"{compiler}\"")));
        place.executor("watched", &manifest);
        for (at, expected) in [(1, false), (2, true)] {
            place.write("polyloom.toml", flow(&[("watched", &format!("{code}\n// {at}"))]));
            let _ = place.run(&[]).exits(0);
            let told = place.polyloom(&["logs", "latest", "x0"]).exits(0);
            let told = format!("{}{}", told.stdout(), told.stderr());
            assert_eq!(told.contains("! /cell/head/head.gch"), expected, "{id}: {told}");
        }
    }
}
