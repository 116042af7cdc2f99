//! Someone is stopped and stays so: what goes on without him, and what the run says.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::{Duration, Instant};

use polyloom_test_e2e::{Place, Running, eventually, needs, processes_with};
use polyloom_test_faults::{Family, Process, identity};
use rustix::process::Signal;
use serde_json::Value;

fn host(running: &Running) -> Process {
    Process::of(identity(running.pid()).0).unwrap()
}

fn family(running: &Running) -> Family {
    Family::of(identity(running.pid()).0)
}

fn end_of<'a>(events: &'a [Value], cell: &str) -> &'a Value {
    let fits = |event: &&Value| event["event"] == "step.finished" && event["cell"] == cell;
    &events.iter().find(fits).unwrap()["meta"]
}

#[test]
fn the_host_ends_a_cell_whose_supervisor_is_stopped() {
    let place = Place::flow(
        "[cells.long]\nlang = \"sh\"\ntimeout = \"1500ms\"\ncode = 'echo ready; (setsid sleep 7210 &); sleep 7210'\n\
         [cells.much]\nlang = \"sh\"\ntimeout = \"60s\"\noutput_limit = \"1MiB\"\ncode = 'echo ready; sleep 0.3; yes'\n",
    );
    for (cell, outcome) in [("long", "timed_out"), ("much", "output_exceeded")] {
        let mut running = place.call(&["run", "-F", "--events", "-", cell]).start();
        running.until_printed(cell, "ready");
        assert!(family(&running).supervisors[0].signal(Signal::STOP));
        let ended = running.end().exits(1);
        assert_eq!(end_of(&ended.json_lines(), cell)["outcome"], outcome);
        assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
        assert_eq!(place.processes(), [""; 0]);
    }
}

#[test]
fn a_stopped_supervisor_does_not_keep_ctrl_c_waiting() {
    let place = Place::flow("[cells.long]\nlang = \"sh\"\ncode = 'echo ready; sleep 7211'\n");
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("long", "ready");
    assert!(family(&running).supervisors[0].signal(Signal::STOP));
    running.signal(Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_stopped_sandbox_that_waits_costs_no_cell_its_time() {
    needs!("python3");
    let cell = |name: &str, lang: &str, after: &str, code: &str| {
        let inputs = match after {
            "" => String::new(),
            after => format!("inputs = {{ y = \"{after}.x\" }}\n"),
        };
        format!(
            "[cells.{name}]\nlang = \"{lang}\"\n{inputs}outputs = {{ x = \"int\" }}\ncode = '{code}'\n"
        )
    };
    let one = "echo 1 > $OUT/x";
    let slow = "x = 1; import time; print(\"ready\", flush=True); time.sleep(2)";
    let flow = cell("a", "sh", "", one)
        + &cell("b", "sh", "a", one)
        + &cell("c", "python", "b", slow)
        + &cell("d", "sh", "c", "echo 2 > $OUT/x").replace("code", "timeout = \"1500ms\"\ncode");
    let place = Place::flow(&flow);
    let mut running = place.call(&["run", "-j1", "--events", "-"]).start();
    running.until_printed("c", "ready");
    // That of the cell has its cell below it.
    let all = polyloom_test_faults::processes();
    let waits = |one: &&Process| !all.iter().any(|it| it.parent == one.pid);
    for one in family(&running).supervisors.iter().filter(waits) {
        assert!(one.signal(Signal::STOP));
    }
    let ended = running.end().exits(0);
    assert_eq!(end_of(&ended.json_lines(), "d")["outcome"], "ok");
    assert_eq!(place.processes(), [""; 0]);
}

/// A run whose spawner is stopped before its second cell is asked for.
fn without_a_spawner(place: &Place, words: &[&str]) -> Running {
    let words: Vec<&str> = ["run", "--events", "-"].iter().chain(words).copied().collect();
    let mut running = place.call(&words).start();
    running.until_printed("first", "ready");
    assert!(family(&running).spawner.unwrap().signal(Signal::STOP));
    running
}

/// `first`, and cells that wait for it.
fn waiting(cells: usize) -> String {
    let mut text = "[cells.first]\nlang = \"sh\"\noutputs = { x = \"int\" }\ncode = 'echo ready; sleep 0.5; echo 1 > $OUT/x'\n".to_owned();
    for cell in 0..cells {
        text.push_str(&format!(
            "[cells.c{cell}]\nlang = \"sh\"\ninputs = {{ x = \"first.x\" }}\ncode = 'sleep 0 # {cell}'\n"
        ));
    }
    text
}

#[test]
fn a_stopped_spawner_is_waited_for_once_and_not_by_every_cell() {
    let place = Place::flow(&waiting(12));
    let running = without_a_spawner(&place, &["-k", "-j", "2"]);
    let ended = running.end().exits(3);
    let events = ended.json_lines();
    for cell in 0..12 {
        let end = end_of(&events, &format!("c{cell}"));
        assert_eq!(end["outcome"], "worker_error");
        let why = end["diagnostics"][0]["message"].as_str().unwrap();
        assert!(why.contains("the spawner does not answer"), "{why}");
    }
    assert!(ended.took < Duration::from_secs(60), "{:?}", ended.took);
    assert_eq!(place.processes(), [""; 0]);
    assert_eq!(place.run(&[]).exits(0).outcome("first"), "cached");
}

#[test]
fn a_stopped_spawner_does_not_keep_ctrl_c_waiting() {
    let place = Place::flow(&waiting(2));
    let mut running = without_a_spawner(&place, &[]);
    running.until(|event| event["event"] == "step.started" && event["cell"] == "c0");
    running.signal(Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn limits_of_the_kernel_hold_while_the_host_is_stopped_and_the_others_at_once_thereafter() {
    needs!("python3");
    let place = Place::flow(
        "[cells.memory]\nlang = \"python\"\nmemory = \"64MiB\"\ncode = '''\nimport time\nprint(\"ready\", flush=True)\ntime.sleep(0.3)\n\
         x = [b\"x\" * (1 << 20) for _ in range(4000)]\n'''\n\
         [cells.time]\nlang = \"sh\"\ntimeout = \"1s\"\ncode = 'echo ready; sleep 7212'\n\
         [cells.plain]\nlang = \"sh\"\ncode = 'echo ready; sleep 0.5'\n\
         [cells.fine]\nlang = \"python\"\ntimeout = \"60s\"\noutputs = { x = \"int\" }\ncode = '''\nimport time\nprint(\"ready\", flush=True)\n\
         time.sleep(0.5)\nx = 3\n'''\n",
    );
    let mut running = place.call(&["run", "-k", "-j", "4", "--events", "-"]).start();
    let mut ready = std::collections::BTreeSet::new();
    while ready.len() < 4 {
        let event = running.until(|event| event["event"] == "log");
        ready.insert(event["cell"].as_str().unwrap().to_owned());
    }
    let stopped = host(&running);
    assert!(stopped.signal(Signal::STOP));
    // The one that asks for too much and the one that ends by itself are gone, though nobody watches. The worker waits to be told
    // that it may go. The sandbox of one of the two shells may be one that waits for another cell, and stays.
    let left = || Family::of(stopped.pid).supervisors.len();
    let gone = || left() <= 3 && processes_with("sleep\u{0}0.5").is_empty();
    assert!(eventually(Duration::from_secs(20), gone), "{:#?}", Family::of(stopped.pid));
    let start = Instant::now();
    assert!(eventually(Duration::from_secs(3), || start.elapsed() > Duration::from_millis(1200)));
    assert!(stopped.signal(Signal::CONT));
    let ended = running.end().exits(5);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    let events = ended.json_lines();
    assert_eq!(end_of(&events, "time")["outcome"], "timed_out");
    assert_eq!(end_of(&events, "plain")["outcome"], "ok");
    assert_eq!(end_of(&events, "fine")["outcome"], "ok");
    let memory = end_of(&events, "memory")["outcome"].as_str().unwrap();
    assert!(["out_of_memory", "failed", "killed"].contains(&memory), "{memory}");
    assert_eq!(place.processes(), [""; 0]);
}
