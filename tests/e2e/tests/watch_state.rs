//! `run --watch`: what it says of itself between runs, what it records, and when it does not run.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Place, Running, needs};
use rustix::process::Signal;
use serde_json::Value;

/// The events of the next run, from its first to its last.
fn run(running: &mut Running) -> Vec<Value> {
    let mut events = vec![running.until(|event| event["event"] == "run.started")];
    while events.last().unwrap()["event"] != "run.finished" {
        events.push(running.until(|_| true));
    }
    events
}

fn runs(place: &Place) -> usize {
    let runs = place.polyloom(&["runs", "--format", "json"]).json();
    runs["runs"].as_array().unwrap().len()
}

#[test]
fn only_what_ran_is_a_run_of_the_history() {
    needs!("python3");
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\nfile = \"a.py\"\noutputs = { n = \"int\" }\n\n[cells.b]\nlang = \"python\"\ninputs = { n = \"a.n\" }\nwhen = \"n > 1\"\ncode = 'print(n)'\n",
    );
    place.write("a.py", "n = 1\n");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    run(&mut running);
    for comment in 0..3 {
        place.write("a.py", format!("n = 1  # {comment}\n"));
        let events = run(&mut running);
        assert_eq!(events[0]["changed"][0], "a.py");
        assert_eq!(events.last().unwrap()["totals"]["ok"], 0);
    }
    place.write("a.py", "n = 2\n");
    run(&mut running);
    running.signal(Signal::INT);
    let _ = running.end();
    assert_eq!(runs(&place), 2);
    // Nor is one that a new watch begins with.
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    run(&mut running);
    running.signal(Signal::INT);
    let _ = running.end();
    assert_eq!(runs(&place), 2);
    assert_eq!(
        place.polyloom(&["show", "latest", "a.n"]).exits(0).stdout().lines().last(),
        Some("2")
    );
}

#[test]
fn cells_that_feed_themselves_are_held_until_somebody_else_changes_something() {
    let place = Place::new();
    // It writes while it runs, and is not ended by that.
    let code = "echo x >> log/x; sleep 0.2; cat $x";
    place.write("log/x", "");
    place.write(
        "polyloom.toml",
        format!("[cells.a]\nlang = \"sh\"\ninputs = {{ x = \"file:log/x\" }}\nallow = {{ write = [\"log\"] }}\ncode = '{code}'\n"),
    );
    let call = place.call(&["run", "--watch", "--events", "-", "--allow-write=log"]);
    let mut running = call.start();
    for round in 1..3 {
        // The first, and three that began by what it wrote.
        for _ in 0..4 {
            let events = run(&mut running);
            assert_eq!(events.last().unwrap()["outcome"], "ok", "{events:#?}");
        }
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(place.read("log/x").matches('x').count(), 4);
        place.write("log/x", format!("{round}\n"));
    }
    run(&mut running);
    running.signal(Signal::INT);
    let told = running.end().stderr();
    let held = "held: cell `a` writes log/x,";
    assert_eq!(told.matches(held).count(), 2, "{told}");
}
