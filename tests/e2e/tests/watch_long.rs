//! `run --watch` over many edits: what waits for the next one does not pile up.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::time::Duration;

use polyloom_test_e2e::{Place, Running, needs};
use rustix::process::Signal;

/// Edits, each of which makes attempts of another kind.
const EDITS: usize = 10;
/// Eight workers in a sandbox each, four sandboxes with a zygote at most, what normalises code, and the spawner.
const PROCESSES: usize = 8 * 2 + 4 * 2 + 2 + 1;

/// All processes below one.
fn below(process: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            found.push(child.to_owned());
            found.extend(below(child));
        }
    }
    found
}

fn rests(running: &mut Running) {
    running.until(|event| event["event"] == "watch.waiting");
    // Workers for the next edit are started meanwhile.
    std::thread::sleep(Duration::from_millis(700));
}

#[test]
fn workers_and_descriptors_do_not_pile_up() {
    needs!("python3");
    let place = Place::flow(
        r#"
[cells.each]
lang = "python"
map = { f = "glob:in/*.txt" }
outputs = { n = "int" }
file = "each.py"

[cells.sum]
lang = "python"
inputs = { all = "each.n" }
code = "print(sum(all))"
"#,
    );
    place.write("each.py", "n = int(open(f).read())\n");
    place.write("in/0.txt", "0");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    rests(&mut running);
    let host = running.pid().to_string();
    let mut most = (0, 0);
    for edit in 1..=EDITS {
        place.write(&format!("in/{edit}.txt"), edit.to_string());
        rests(&mut running);
        let descriptors = fs::read_dir(format!("/proc/{host}/fd")).unwrap().count();
        let now = (below(&host).len(), descriptors);
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    assert!(most.0 > PROCESSES / 2, "{most:?}: do workers wait at all?");
    assert!(most.0 <= PROCESSES && most.1 < 200, "{most:?}");
    // Each of many steps runs with a worker of its own; as many wait afterwards as before.
    place.write("each.py", "n = int(open(f).read()) + 1\n");
    rests(&mut running);
    assert!(below(&host).len() <= PROCESSES, "{:?}", below(&host));
    running.signal(Signal::INT);
    let _ = running.end();
}
