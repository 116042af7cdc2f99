//! `polyloom doctor --attack`: on this machine, on one where nothing can run, and on one where an attack gets through.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

use polyloom_attack::{Ended, Launch, Stage, all_cases};
use polyloom_test_attacks::oracle::{binary, program};

fn doctor(through: &[&str], words: &[&str]) -> Ended {
    let mut launch = Launch::plain(binary());
    launch.through = through.iter().map(OsString::from).collect();
    let stage = Stage::new(launch).unwrap();
    let words: Vec<OsString> =
        ["doctor", "--attack"].iter().chain(words).map(OsString::from).collect();
    let ended = stage.call(&words).unwrap();
    assert_eq!(ended.complaints, Vec::<String>::new(), "{}", ended.stderr);
    ended
}

#[test]
fn a_table_says_how_each_attack_ended_and_nothing_is_left() {
    let ended = doctor(&[], &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let all = all_cases().unwrap();
    for case in all.iter().filter(|case| case.short) {
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{} ", case.id)));
        let line = line.unwrap_or_else(|| panic!("no `{}`:\n{}", case.id, ended.stdout));
        let verdicts = ["held", "not enforced", "not applicable"];
        assert!(verdicts.iter().any(|word| line.trim_end().ends_with(word)), "{line}");
    }
    assert!(ended.stdout.trim_end().ends_with(", 0 failed"), "{}", ended.stdout);
}

#[test]
fn programs_get_a_document() {
    let ended = doctor(&[], &["--format", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // The last braces close what the first opened; the rest is in the table's test.
    assert!(ended.stdout.starts_with("{\n") && ended.stdout.trim_end().ends_with('}'));
    for text in ["\"schema\": \"polyloom.attack/1\"", "\"verdict\": \"held\"", "\"failed\": 0"] {
        assert!(ended.stdout.contains(text), "{text}:\n{}", ended.stdout);
    }
}

#[test]
fn a_machine_without_a_sandbox_is_told_what_it_lacks() {
    let under = program("POLYLOOM_UNDER_BIN", "polyloom-attack-under");
    let ended = doctor(&[under.to_str().unwrap(), "--fail", "seccomp=ENOSYS"], &[]);
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    assert!(ended.stderr.contains("install the system call filter"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("held  "), "{}", ended.stdout);
}

#[test]
fn an_attack_that_gets_through_is_told_and_is_exit_code_1() {
    // A shell that says so whatever it is given: what is printed is believed for the worse.
    let folder = std::env::temp_dir().join(format!("polyloom-attack-shell-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let shell = folder.join("dash");
    std::fs::write(&shell, "#!/bin/sh\necho 'LET THROUGH: everything'\n").unwrap();
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("PATH={}:{}", folder.display(), std::env::var("PATH").unwrap());
    let ended = doctor(&["env", &path], &[]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("B07: FAILED: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("LET THROUGH: everything"), "{}", ended.stdout);
}
