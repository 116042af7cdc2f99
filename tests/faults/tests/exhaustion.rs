//! The host runs out of descriptors, processes and threads: it says so, and the next run goes on from there.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write as _;

use polyloom_test_e2e::{Ended, Place, is_root, needs, skip};
use polyloom_test_faults::{Pids, after};

/// Eight cells at once, each of which leaves a folder of forty files.
fn flow() -> String {
    let mut text = String::new();
    for cell in 0..8 {
        let _ = write!(
            text,
            "[cells.c{cell}]\nlang = \"sh\"\noutputs = {{ all = \"dir\" }}\n\
             code = 'mkdir $OUT/all; for f in $(seq 40); do head -c 9000 /dev/zero > $OUT/all/$f; done; sleep 0.1'\n"
        );
    }
    text
}

const RUN: [&str; 6] = ["run", "-k", "-j", "8", "--events", "-"];

/// What must be true of a run that had too little of something; then one that has enough.
fn judge(place: &Place, ended: &Ended, words: &[&str], user: Option<u32>) -> usize {
    let screen = ended.screen();
    assert!([0, 1, 3, 5].contains(&ended.code()), "{screen}");
    assert!(!screen.contains("panicked"), "{screen}");
    if ended.code() != 0 {
        assert!(words.iter().any(|word| ended.stderr().contains(word)), "not told why: {screen}");
    }
    assert_eq!(place.processes(), [""; 0], "{screen}");
    let events = ended.json_lines();
    let good: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "step.finished" && event["meta"]["outcome"] == "ok")
        .map(|event| event["cell"].as_str().unwrap().to_owned())
        .collect();
    // What it claims to have is there.
    let call = place.call(&["run", "--format", "json"]);
    let call = if let Some(user) = user { call.uid(user) } else { call };
    let next = call.end().run().exits(0);
    for cell in &good {
        assert_eq!(next.outcome(cell), "cached", "{screen}");
    }
    good.len()
}

#[test]
fn out_of_descriptors() {
    let mut some = Vec::new();
    for most in [10, 16, 24, 40, 70, 110, 180] {
        let place = Place::flow(&flow());
        let ended = after(&place, &format!("ulimit -n {most}"), &RUN).end();
        let words = ["open files", "open database", "descriptors", "os error 24"];
        some.push((most, judge(&place, &ended, &words, None)));
    }
    println!("descriptors and cells that ended well: {some:?}");
    assert!(some.iter().any(|(_, good)| *good < 8), "none ran out: {some:?}");
}

#[test]
fn out_of_processes() {
    if !is_root() {
        return skip("a control group of its own needs root");
    }
    let mut some = Vec::new();
    for most in [1, 2, 3, 4, 5, 7, 10, 14, 20, 40] {
        let place = Place::flow(&flow());
        let name = place.root().file_name().unwrap().to_str().unwrap().to_owned();
        let Some(group) = Pids::new(&name, most) else {
            return skip("no control group of version 1 for processes can be made");
        };
        let ended = after(&place, &group.enter(), &RUN).end();
        let words = ["unavailable", "os error 11", "pids", "fork", "spawner", "thread"];
        some.push((most, judge(&place, &ended, &words, None)));
    }
    println!("processes and cells that ended well: {some:?}");
    assert!(some.iter().any(|(_, good)| *good < 8), "none ran out: {some:?}");
}

#[test]
fn out_of_processes_as_an_ordinary_user() {
    needs!("prlimit");
    if !is_root() {
        return skip("a user of its own needs root");
    }
    for (at, most) in [2_u32, 4, 8, 16].into_iter().enumerate() {
        let place = Place::flow(&flow());
        let user = 58_000 + u32::try_from(at).unwrap();
        place.give_to(user);
        let before = format!("prlimit --pid $$ --nproc={most}");
        let ended = after(&place, &before, &RUN).uid(user).end();
        let words = ["unavailable", "os error 11", "pids", "fork", "spawner", "thread"];
        judge(&place, &ended, &words, Some(user));
    }
}
