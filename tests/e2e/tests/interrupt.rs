//! Ctrl-C, twice, and the death of the host itself.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Place, Running, eventually, needs, processes_with};
use rustix::process::Signal;

/// `first` ends, `long` says `ready` and sleeps for a time no one else sleeps, `last` would come after it.
fn place(sleep: &str) -> Place {
    Place::flow(&format!(
        r#"
[cells.first]
lang = "sh"
outputs = {{ x = "int" }}
code = 'echo 1 > $OUT/x'

[cells.long]
lang = "sh"
inputs = {{ x = "first.x" }}
outputs = {{ y = "int" }}
code = '''
echo ready
(setsid sleep {sleep} &)
sleep {sleep}
echo 2 > $OUT/y
'''

[cells.last]
lang = "sh"
inputs = {{ y = "long.y" }}
code = 'echo $y'
"#
    ))
}

fn sleep() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("7200.{:09}{:06}", now.subsec_nanos(), std::process::id())
}

fn start(place: &Place) -> Running {
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("long", "ready");
    running
}

fn states(place: &Place) -> Vec<String> {
    let runs = place.polyloom(&["runs", "--format", "json"]).exits(0).json();
    let rows = runs["runs"].as_array().unwrap();
    rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn first_interrupt_ends_the_run_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let sleep = sleep();
        let place = place(&sleep);
        let running = start(&place);
        running.signal(signal);
        let ended = running.end().exits(130);
        let events = ended.json_lines();
        let mut finished: Vec<String> = events
            .iter()
            .filter(|event| event["event"] == "step.finished")
            .map(|event| format!("{} {}", event["cell"], event["meta"]["outcome"]).replace('"', ""))
            .collect();
        finished.sort();
        // The first was told when it ended, before these.
        assert_eq!(finished, ["last skipped", "long cancelled"], "{signal:?}");
        assert_eq!(events.last().unwrap()["event"], "run.finished");
        assert_eq!(events.last().unwrap()["outcome"], "cancelled");
        assert_eq!(states(&place), ["cancelled"]);
        assert_eq!(processes_with(&sleep), [""; 0]);
        assert_eq!(place.processes(), [""; 0]);
    }
}

#[test]
fn second_interrupt_ends_it_at_once() {
    needs!("python3");
    let place = Place::flow(
        r#"
[cells.long]
lang = "python"
code = '''
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    try:
        time.sleep(3600)
    except BaseException:
        pass
'''
"#,
    );
    let running = start(&place);
    running.signal(Signal::INT);
    running.signal(Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    let told = ended.stderr();
    assert_eq!(told.matches("stopping; Ctrl-C again kills at once\n").count(), 1, "{told}");
    assert_eq!(states(&place), ["cancelled"]);
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_killed_host_takes_its_cells_along_and_the_next_run_goes_on() {
    let sleep = sleep();
    let place = place(&sleep);
    let running = start(&place);
    assert!(!processes_with(&sleep).is_empty());
    running.signal(Signal::KILL);
    let ended = running.end().exits(137);
    drop(ended);
    let dead = || processes_with(&sleep).is_empty();
    assert!(eventually(Duration::from_secs(1), dead), "{:#?}", processes_with(&sleep));
    let gone = || place.processes().is_empty();
    assert!(eventually(Duration::from_secs(1), gone), "{:#?}", place.processes());
    assert_eq!(states(&place), ["interrupted"]);

    let text = place.read("polyloom.toml").replace(&sleep, "0");
    place.write("polyloom.toml", text);
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "first cached, last ok, long ok");
    assert_eq!(states(&place), ["ok", "interrupted"]);
}

#[test]
fn what_an_interrupted_run_finished_is_kept() {
    let sleep = sleep();
    let place = place(&sleep);
    let running = start(&place);
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    let text = place.read("polyloom.toml").replace(&sleep, "0");
    place.write("polyloom.toml", text);
    assert_eq!(place.run(&[]).exits(0).told(), "first cached, last ok, long ok");
}

#[test]
fn hang_up_counts_as_interrupt() {
    let sleep = sleep();
    let place = place(&sleep);
    let running = start(&place);
    running.signal(Signal::HUP);
    let _ = running.end().exits(130);
    assert_eq!(processes_with(&sleep), [""; 0]);
}
