//! Many short cells: what a host holds is at its end what it was at its beginning.
//!
//! `POLYLOOM_CELLS` says how many (150; the slow form is 1,000).

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write as _;
use std::path::Path;

use polyloom_test_e2e::{Place, is_root, needs, skip};
use polyloom_test_faults::{Sample, groups_of, identity, number_of};

/// Cells at once.
const JOBS: usize = 4;

/// Short cells in all manners: plain, with a folder, with a daemon, with a worker, failing.
fn flow(cells: u64) -> String {
    let mut text = String::new();
    for cell in 0..cells {
        let (lang, outputs, code) = match cell % 10 {
            0 => ("python", "x = \"int\"", format!("x = {cell}")),
            1 => (
                "sh",
                "all = \"dir\"",
                format!("mkdir $OUT/all; for f in 1 2 3; do echo {cell} > $OUT/all/$f; done"),
            ),
            2 => ("sh", "x = \"int\"", format!("(setsid sleep 7209 &); echo {cell} > $OUT/x")),
            3 => ("sh", "x = \"file\"", format!("yes {cell} | head -c 100000 > $OUT/x")),
            4 => ("sh", "x = \"int\"", format!("exit 1 # {cell}")),
            _ => ("sh", "x = \"int\"", format!("echo {cell} > $OUT/x")),
        };
        let _ = write!(
            text,
            "[cells.c{cell}]\nlang = \"{lang}\"\noutputs = {{ {outputs} }}\ncode = '''\n{code}\n'''\n"
        );
    }
    text
}

fn cells() -> u64 {
    number_of("POLYLOOM_CELLS").unwrap_or(150)
}

/// Runs the flow and looks at the host each time a tenth of the cells has ended.
fn watched(place: &Place, user: Option<u32>) -> Vec<Sample> {
    let all = cells();
    let jobs = JOBS.to_string();
    let call = place.call(&["run", "-k", "-j", &jobs, "--events", "-"]);
    let call = if let Some(user) = user { call.uid(user) } else { call };
    let mut running = call.start();
    let (host, store) = (running.pid(), place.store());
    let owner = identity(host);
    let mut samples = Vec::new();
    for ended in 1..=all {
        running.until(|event| event["event"] == "step.finished");
        if ended % (all / 10) == 0 && ended < all {
            samples.push(Sample::of(host, &store));
        }
    }
    let _ = running.end().exits(5);
    assert_eq!(groups_of(owner), Vec::<std::path::PathBuf>::new());
    assert_eq!(place.processes(), [""; 0]);
    samples
}

fn check(samples: &[Sample]) {
    for sample in samples {
        println!("{sample:?}");
    }
    let (first, last) = (&samples[1], &samples[samples.len() - 1]);
    let passed = cells() / 10 * (samples.len() as u64 - 2);
    // What belongs to the cells of the moment, of which there are more or fewer, and to the sandboxes that wait, of which twice as many are kept.
    let now = JOBS * 16 * 3;
    assert!(last.fds <= first.fds + now, "descriptors: {} to {}", first.fds, last.fds);
    assert!(
        last.threads <= first.threads + 2 * JOBS as u64,
        "threads: {} to {}",
        first.threads,
        last.threads
    );
    assert_eq!(last.mounts, first.mounts, "mounts");
    assert_eq!(last.spawner_mounts, first.spawner_mounts, "mounts of the spawner");
    assert!(
        last.spawner_fds <= first.spawner_fds + 16,
        "descriptors of the spawner: {} to {}",
        first.spawner_fds,
        last.spawner_fds
    );
    assert!(samples.iter().all(|sample| sample.zombies <= JOBS), "the dead");
    // Four directories each: of a cell, of the sandbox that it is in, and of those that wait, of which twice as many are kept.
    assert!(samples.iter().all(|sample| sample.groups <= JOBS * 4 * 4), "control groups");
    assert!(samples.iter().all(|sample| sample.temporary <= JOBS * 2), "files being written");
    let grown = last.memory.saturating_sub(first.memory);
    println!(
        "the host grew by {grown} KiB in {passed} cells; the spawner by {} KiB",
        last.spawner_memory.saturating_sub(first.spawner_memory)
    );
    // A run keeps the result of each cell to its end; 24 KiB are some of these with all that the allocator keeps.
    assert!(
        grown <= 2048 + 24 * passed,
        "memory of the host: {} KiB to {} KiB",
        first.memory,
        last.memory
    );
    assert!(last.spawner_memory <= first.spawner_memory + 1024, "memory of the spawner");
}

#[test]
fn many_cells_leave_nothing() {
    needs!("python3");
    let place = Place::flow(&flow(cells()));
    let mounts = lines("/proc/self/mountinfo");
    check(&watched(&place, None));
    assert_eq!(lines("/proc/self/mountinfo"), mounts);
    let temporary = std::fs::read_dir(place.store().join("tmp")).unwrap().count();
    assert_eq!(temporary, 0);
}

#[test]
fn many_cells_of_an_ordinary_user_leave_nothing() {
    needs!("python3");
    if !is_root() {
        return skip("the other test is by an ordinary user already");
    }
    let place = Place::flow(&flow(cells()));
    place.give_to(57_001);
    check(&watched(&place, Some(57_001)));
}

fn lines(path: impl AsRef<Path>) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn many_runs_leave_nothing() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\noutputs = { x = \"int\" }\ncode = 'echo 1 > $OUT/x'\n",
    );
    let before = || {
        let shared = std::fs::read_dir("/dev/shm").map_or(0, Iterator::count);
        (lines("/proc/self/mountinfo"), shared)
    };
    let at_first = before();
    for _ in 0..cells() / 10 {
        let running = place.call(&["run", "-F"]).start();
        let owner = identity(running.pid());
        let _ = running.end().exits(0);
        assert_eq!(groups_of(owner), Vec::<std::path::PathBuf>::new());
    }
    assert_eq!(before().0, at_first.0);
    let runs = std::fs::read_dir(place.project().join(".polyloom/runs")).unwrap().count();
    assert!(runs <= 100, "{runs} runs are kept");
}
