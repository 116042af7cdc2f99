//! `run --watch`: what it says of itself between runs, what it records, and when it does not run.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Place, Running, eventually, needs};
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
    let told = running.end().stderr();
    assert_eq!(told.matches("not recorded: ").count(), 3, "{told}");
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
fn a_warning_is_told_once_while_it_stays_the_same() {
    let flow = "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n[cells.b]\nlang = \"sh\"\nmap = { f = \"glob:in/*.txt\" }\ncode = 'true'\n";
    let place = Place::flow(flow);
    place.write("a.sh", "echo 0");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    run(&mut running);
    for n in 1..3 {
        place.write("a.sh", format!("echo {n}"));
        run(&mut running);
    }
    place.write("polyloom.toml", flow.replace("in/*.txt", "on/*.txt"));
    place.write("a.sh", "echo 3");
    run(&mut running);
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    assert_eq!(told.matches("PL033").count(), 2, "{told}");
}

/// What asks the history afterwards is told of what stands, not of the edit.
#[test]
fn an_edit_that_is_taken_back_is_a_run_though_no_cell_runs() {
    let good = "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\noutputs = { n = \"int\" }\n";
    let bad = "[cells.bad]\nlang = \"sh\"\ncode = 'exit 3'\n";
    for flow in [good, &format!("{good}{bad}")] {
        taken_back(flow);
    }
}

fn taken_back(flow: &str) {
    let place = Place::flow(flow);
    let first = "echo one; echo 1 > $OUT/n";
    place.write("a.sh", first);
    let mut running = place.call(&["run", "-k", "--watch", "--events", "-"]).start();
    run(&mut running);
    place.write("a.sh", "echo two; echo 2 > $OUT/n");
    run(&mut running);
    place.write("a.sh", first);
    let back = run(&mut running);
    assert_eq!(back.last().unwrap()["totals"]["ok"], 0);
    let back = back[0]["run"].as_str().unwrap().to_owned();
    assert_ne!(back, "unrecorded");
    between(&mut running);
    assert_eq!(runs(&place), 3);
    let told = |words: &[&str]| place.polyloom(words).exits(0);
    assert_eq!(told(&["show", "a.n"]).stdout().lines().last(), Some("1"));
    assert_eq!(told(&["logs", "a"]).stdout(), "one\n");
    let why = told(&["why", "a"]).stdout();
    assert!(why.contains(&format!("cached in {back}\n")), "{why}");
    running.signal(Signal::INT);
    let _ = running.end();
    assert_eq!(runs(&place), 3);
}

#[test]
fn a_run_that_turns_out_to_have_no_work_is_told_to_be_none() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nmap = { f = \"glob:*/*.txt\" }\noutputs = { n = \"int\" }\ncode = 'wc -c < $f > $OUT/n'\n",
    );
    place.write("in/x.txt", "1");
    place.write("on/y.txt", "2");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    run(&mut running);
    // The list has another order, and the same numbers.
    std::fs::rename(place.project().join("on"), place.project().join("a")).unwrap();
    let events = run(&mut running);
    assert_eq!(events.last().unwrap()["totals"]["ok"], 0, "{events:#?}");
    assert_ne!(events[0]["run"], "unrecorded");
    between(&mut running);
    running.signal(Signal::INT);
    let told = running.end().stderr();
    assert!(told.contains("not recorded: no cell had to run\n"), "{told}");
    assert_eq!(runs(&place), 1);
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

const EACH: &str =
    "[cells.a]\nlang = \"sh\"\nmap = { f = \"glob:*.jsonl\" }\ncode = 'cat $f > /dev/null'\n";

#[test]
fn a_watch_does_not_feed_on_its_own_events() {
    let place = Place::flow(EACH);
    let words = ["run", "--watch", "--format", "jsonl", "--events", "own.jsonl"];
    let mut running = place.call(&words).start();
    between(&mut running);
    std::thread::sleep(Duration::from_secs(1));
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    assert!(runs(&place) <= 1);
}

#[test]
fn what_somebody_writes_whenever_the_flow_runs_holds_it() {
    use std::io::Write;
    let place = Place::flow(EACH);
    place.write("other.jsonl", "");
    let mut copy = std::fs::File::create(place.project().join("copy.jsonl")).unwrap();
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    for round in ["1", "2"] {
        // As `tee copy.jsonl` would.
        loop {
            let event = running.until(|_| true);
            writeln!(copy, "{event}").unwrap();
            if event["state"] == "held" {
                assert!(event["text"].as_str().unwrap().contains("copy.jsonl"), "{event}");
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(300));
        writeln!(copy, "one more").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        place.write("other.jsonl", round);
    }
    running.until(|event| event["event"] == "run.started");
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    assert_eq!(told.matches("held: copy.jsonl changes whenever").count(), 2, "{told}");
}

/// The process ids of a host's children.
fn children(host: u32) -> Vec<u32> {
    let file = format!("/proc/{host}/task/{host}/children");
    let text = std::fs::read_to_string(file).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

fn outcome(events: &[Value]) -> &str {
    events.last().unwrap()["outcome"].as_str().unwrap()
}

/// Removes the store once what its first run has made for later ones is in it: it would be put there while the store goes.
fn remove_store(place: &Place) {
    let made = || std::fs::read_dir(place.store().join("trees")).is_ok_and(|it| it.count() > 0);
    assert!(eventually(Duration::from_secs(10), made));
    assert!(eventually(Duration::from_secs(10), || std::fs::remove_dir_all(place.store()).is_ok()));
}

#[test]
fn a_watch_outlives_its_store_and_its_spawner() {
    needs!("python3");
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\nfile = \"a.py\"\noutputs = { n = \"int\" }\n\n[cells.b]\nlang = \"python\"\ninputs = { n = \"a.n\" }\ncode = 'print(n)'\n",
    );
    place.write("a.py", "n = 0\n");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    assert_eq!(outcome(&run(&mut running)), "ok");
    for n in 1..3 {
        // Between runs.
        remove_store(&place);
        place.write("a.py", format!("n = {n}\n"));
        let events = run(&mut running);
        assert_eq!((outcome(&events), &events.last().unwrap()["totals"]["ok"]), ("ok", &2.into()));
        kill(children(running.pid())[0]);
        place.write("a.py", format!("n = {n} * 10\n"));
        assert_eq!(outcome(&run(&mut running)), "ok");
    }
    // All results went with it; a save that changes nothing makes them anew.
    remove_store(&place);
    place.write("a.py", "n = 2 * 10\n");
    assert_eq!(run(&mut running).last().unwrap()["totals"]["ok"], 2);
    // While a cell runs: that run fails, and is made again.
    place.write("a.py", "import time\nprint('begun', flush=True)\ntime.sleep(1)\nn = 5\n");
    running.until_printed("a", "begun");
    kill(children(running.pid())[0]);
    let failed = running.until(|event| event["event"] == "run.finished");
    assert_eq!(failed["outcome"], "failed");
    assert_eq!(outcome(&run(&mut running)), "ok");
    running.signal(Signal::INT);
    let told = running.end().stderr();
    let (store, spawner) = (
        "warning: the store was deleted; this watch begins anew",
        "warning: the process that starts sandboxes is gone; this watch begins anew",
    );
    assert_eq!((told.matches(store).count(), told.matches(spawner).count()), (3, 3), "{told}");
    assert!(eventually(Duration::from_secs(10), || place.processes().is_empty()));
}

#[test]
fn a_watch_that_can_have_no_store_ends() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    place.write("a.sh", "echo one");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    run(&mut running);
    std::fs::remove_dir_all(place.store()).unwrap();
    std::fs::write(place.store(), "in the way").unwrap();
    place.write("a.sh", "echo two");
    let told = running.end().exits(3).stderr();
    assert!(told.contains("error: ") && told.contains("store"), "{told}");
}

/// The next thing said between runs.
fn between(running: &mut Running) -> Value {
    running.until(|event| {
        let name = event["event"].as_str().unwrap();
        name == "watch.waiting" || name == "flow.broken"
    })
}

#[test]
fn a_reader_of_the_stream_hears_what_is_wrong_with_the_flow() {
    let good = "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n";
    let place = Place::flow(good);
    place.write("a.sh", "echo one");
    let mut running = place.call(&["run", "--watch", "--format", "jsonl"]).start();
    let waiting = between(&mut running);
    assert_eq!((&waiting["state"], &waiting["files"]), (&"ok".into(), &2.into()));
    place.write("polyloom.toml", "[cells.a]\nlang = \"sh\"\nfil = \"a.sh\"\n");
    let broken = between(&mut running);
    let first = &broken["diagnostics"][0];
    assert_eq!(
        (&broken["event"], &first["line"], &first["col"]),
        (&"flow.broken".into(), &3.into(), &1.into())
    );
    assert_eq!(first["file"], "./polyloom.toml");
    assert!(first["message"].as_str().unwrap().contains("`fil`"), "{broken}");
    assert_eq!(between(&mut running)["state"], "broken");
    place.write("polyloom.toml", good);
    let again = between(&mut running);
    assert_eq!((&again["event"], &again["state"]), (&"watch.waiting".into(), &"ok".into()));
    assert_eq!(again["text"], "the flow is good again and as it was: nothing to run");
    // Numbers run on; in each run's own record they begin anew.
    place.write("a.sh", "exit 1");
    let last = between(&mut running);
    assert_eq!(last["state"], "failed");
    running.signal(Signal::INT);
    let _ = running.end();
    let events = place.polyloom(&["runs", "--format", "json"]).json();
    let run = events["runs"][0]["run"].as_str().unwrap();
    let record = place.read(&format!(".polyloom/runs/{run}/events.jsonl"));
    let first: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["seq"]), (&"run.started".into(), &1.into()));

    // Counted from the first to the last.
    let mut running =
        place.call(&["run", "--watch", "--format", "jsonl", "--events", "all.jsonl"]).start();
    let mut seq = 0;
    for round in 0..3 {
        loop {
            let event = running.until(|_| true);
            seq += 1;
            assert_eq!(event["seq"], seq);
            if event["event"] == "watch.waiting" {
                break;
            }
        }
        place.write("a.sh", format!("echo {round}"));
    }
    between(&mut running);
    running.signal(Signal::INT);
    let _ = running.end();
    let all = place.read("all.jsonl");
    let last: Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["exit"]), (&"watch.ended".into(), &130.into()));
}

#[test]
fn what_is_wrong_is_told_once_and_what_the_watch_writes_is_no_change() {
    let good = "[cells.a]\nlang = \"sh\"\ncode = 'echo one'\n";
    let place = Place::flow(good);
    let words = ["run", "--watch", "--format", "jsonl", "--events", "events.jsonl"];
    let mut running = place.call(&words).start();
    assert_eq!(between(&mut running)["state"], "ok");
    let mut seq = 0;
    for (round, mistake) in ["broken", "also broken"].into_iter().enumerate() {
        place.write("polyloom.toml", format!("{good}{mistake}\n"));
        let broken = between(&mut running);
        assert_eq!(broken["event"], "flow.broken", "{broken}");
        // Nothing was said since the last mistake, whatever came to be beside the flow.
        assert!(round == 0 || broken["seq"] == seq + 1, "{broken}");
        let waiting = between(&mut running);
        assert_eq!(waiting["state"], "broken");
        seq = waiting["seq"].as_u64().unwrap();
        for note in 0..3 {
            std::thread::sleep(Duration::from_millis(150));
            place.write(&format!("note-{note}"), "beside it");
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    place.write("polyloom.toml", good);
    assert_eq!(between(&mut running)["seq"], seq + 1);
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    assert_eq!(told.matches("has 1 error; nothing was run").count(), 2, "{told}");
    assert_eq!(told.matches("polyloom.toml:4").count(), 2, "{told}");
}

#[test]
fn the_policy_of_the_project_is_watched() {
    let place = Place::new();
    place.write("in/x", "one");
    place.write(
        "polyloom.toml",
        "[cells.a]\nlang = \"sh\"\nallow = { read = [\"in\"] }\ncode = 'cat in/x'\n",
    );
    let mut running = place.call(&["run", "--watch", "--events", "-", "--allow-read"]).start();
    assert_eq!(outcome(&run(&mut running)), "ok");
    place.write(".polyloom/policy.toml", "[deny]\nread = true\n");
    let denied = run(&mut running);
    assert_eq!(
        (outcome(&denied), &denied[0]["changed"][0]),
        ("failed", &".polyloom/policy.toml".into())
    );
    // Its mistakes have a place, and one line.
    place.write(".polyloom/policy.toml", "[deny]\nread = tru\n");
    let broken = running.until(|event| event["event"] == "flow.broken");
    let text = broken["text"].as_str().unwrap();
    assert!(text.contains("policy.toml:2:8`: ") && !text.contains('\n'), "{text}");
    place.write(".polyloom/policy.toml", "");
    assert_eq!(outcome(&run(&mut running)), "ok");
    running.signal(Signal::INT);
    let told = running.end().stderr();
    assert!(told.contains("policy.toml:2:8`: ") && !told.contains("\\n"), "{told}");
}

#[test]
fn a_watch_is_stopped_and_followed_from_another_terminal() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    place.write("a.sh", "echo one");
    let start = || place.call(&["run", "--watch", "--events", "-"]).start();
    // Between its runs.
    let mut running = start();
    assert_eq!(between(&mut running)["state"], "ok");
    let attached = place.call(&["attach", "--format", "jsonl"]).start();
    let mut later = place.call(&["attach", "--format", "jsonl"]).start();
    std::thread::sleep(Duration::from_millis(300));
    place.write("a.sh", "echo two");
    later.until_printed("a", "two");
    // Once more: who is attached goes on with it.
    between(&mut running);
    place.write("a.sh", "echo three");
    later.until_printed("a", "three");
    between(&mut running);
    let stopped = place.polyloom(&["stop"]).exits(0).stderr();
    assert!(
        stopped.contains(&format!("the watch of process {} has ended", running.pid())),
        "{stopped}"
    );
    let _ = running.end();
    let _ = later.end().exits(0);
    let lines = attached.end().exits(0).json_lines();
    let runs = lines.iter().filter(|event| event["event"] == "run.finished");
    assert_eq!(runs.count(), 2);
    // Its record and its socket were deleted: it has others by the next change.
    let mut running = start();
    between(&mut running);
    std::fs::remove_dir_all(place.project().join(".polyloom")).unwrap();
    place.write("a.sh", "echo four");
    running.until_printed("a", "four");
    between(&mut running);
    let _ = place.polyloom(&["stop"]).exits(0);
    let _ = running.end().exits(130);
    // While one goes on, gently and at once.
    for now in [false, true] {
        let mut running = start();
        place.write("a.sh", format!("trap '' TERM; echo {now}; sleep 3"));
        running.until_printed("a", &now.to_string());
        let words: &[&str] = if now { &["stop", "--now"] } else { &["stop"] };
        let stopped = place.polyloom(words).exits(0);
        assert!(stopped.stderr().contains("cancelled"), "{}", stopped.stderr());
        let _ = running.end().exits(130);
        place.write("a.sh", "echo one");
    }
    // One that was killed is in nobody's way.
    let mut running = start();
    between(&mut running);
    running.signal(Signal::KILL);
    let _ = running.end();
    assert!(place.polyloom(&["stop"]).exits(4).stderr().contains("nobody watches it"));
    let mut running = start();
    between(&mut running);
    let _ = place.polyloom(&["stop"]).exits(0);
    let _ = running.end();
}

#[test]
fn who_is_attached_to_a_watch_sees_its_runs_and_no_others() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    place.write("a.sh", "echo one");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    between(&mut running);
    let attached = place.call(&["attach", "--format", "jsonl"]).start();
    std::thread::sleep(Duration::from_millis(300));
    for text in ["two", "three"] {
        let _ = place.polyloom(&["run", "-f"]).exits(0);
        std::thread::sleep(Duration::from_millis(300));
        place.write("a.sh", format!("echo {text}"));
        between(&mut running);
        std::thread::sleep(Duration::from_millis(300));
    }
    let _ = place.polyloom(&["stop"]).exits(0);
    let _ = running.end();
    let lines = attached.end().exits(0).json_lines();
    let begun = lines.iter().filter(|event| event["event"] == "run.started");
    let changed: Vec<_> = begun.map(|event| event["changed"][0].as_str()).collect();
    assert_eq!(changed, [Some("a.sh"); 2]);
    // A run of another program ends for who is attached to it, though there is a watch.
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    between(&mut running);
    place.write("other.toml", "[cells.b]\nlang = \"sh\"\ncode = 'echo ready; sleep 1'\n");
    let mut other = place.call(&["run", "other.toml", "--events", "-"]).start();
    other.until_printed("b", "ready");
    let attached = place.call(&["attach", "--format", "jsonl"]).start();
    let _ = other.end().exits(0);
    assert_eq!(attached.end().exits(0).json_lines()[0]["path"], "other.toml");
    running.signal(Signal::INT);
    let _ = running.end();
}

#[test]
fn a_watch_that_is_left_says_what_it_waits_for() {
    needs!("python3");
    let place = Place::flow("[cells.a]\nlang = \"python\"\nfile = \"a.py\"\n");
    place.write(
        "a.py",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass\n",
    );
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    running.until_printed("a", "ready");
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    let told = ended.stderr();
    assert_eq!(told.matches("stopping; Ctrl-C again kills at once\n").count(), 1, "{told}");
}

#[test]
fn a_selection_of_nothing_waits_for_an_edit_and_says_so() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo a'\n");
    let words = ["run", ".", "nosuch", "--watch", "--events", "-"];
    let mut running = place.call(&words).start();
    let broken = between(&mut running);
    assert!(broken["text"].as_str().unwrap().contains("nosuch"), "{broken}");
    assert_eq!(between(&mut running)["state"], "broken");
    place.write("polyloom.toml", "[cells.nosuch]\nlang = \"sh\"\ncode = 'echo a'\n");
    assert_eq!(outcome(&run(&mut running)), "ok");
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    let waits =
        "nothing can run before an edit mends this; watching 1 file for changes; Ctrl-C ends\n";
    assert!(told.contains(waits), "{told}");
}

fn end<'e>(events: &'e [Value], cell: &str) -> &'e Value {
    events.iter().find(|event| event["event"] == "step.finished" && event["cell"] == cell).unwrap()
}

#[test]
fn what_failed_is_not_tried_again_before_something_of_it_changes() {
    needs!("python3");
    let flow = "[cells.bad]\nlang = \"sh\"\nfile = \"bad.sh\"\ninputs = { x = \"file:x\" }\noutputs = { n = \"int\" }\n\n[cells.after]\nlang = \"sh\"\ninputs = { n = \"bad.n\" }\ncode = 'echo $n'\n\n[cells.good]\nlang = \"python\"\nfile = \"good.py\"\n";
    let place = Place::flow(flow);
    place.write("x", "1");
    place.write("bad.sh", "echo tried; cat $x; exit 3");
    place.write("good.py", "print(1)");
    let mut running = place.call(&["run", "--watch", "--events", "-", "-j", "2"]).start();
    let first = run(&mut running);
    assert_eq!(end(&first, "bad")["reason"], "never ran");
    let id = first[0]["run"].as_str().unwrap().to_owned();
    // Another cell: it runs, whatever failed before it.
    place.write("good.py", "print(2)");
    let second = run(&mut running);
    let bad = end(&second, "bad");
    assert_eq!((&bad["meta"]["outcome"], &bad["attempts"]), (&"failed".into(), &0.into()));
    assert_eq!(bad["reason"], format!("failed as before, in run {id}"));
    assert_eq!(bad["meta"]["exit_code"], 3);
    assert_eq!(end(&second, "good")["meta"]["outcome"], "ok");
    assert!(!second.iter().any(|event| event["event"] == "log" && event["cell"] == "bad"));
    // Nothing else to do: that is told, and is no run.
    place.write("good.py", "print(2)  # two");
    let third = run(&mut running);
    assert_eq!(
        (&third[0]["run"], &end(&third, "bad")["attempts"]),
        (&"unrecorded".into(), &0.into())
    );
    let waiting = between(&mut running);
    assert_eq!(waiting["state"], "failed");
    assert!(waiting["text"].as_str().unwrap().contains("not tried again: bad"), "{waiting}");
    // A save that changes nothing is a wish.
    place.write("good.py", "print(2)  # two");
    let fourth = run(&mut running);
    assert_eq!(end(&fourth, "bad")["attempts"], 1);
    // What its key or its limits are made of.
    for edit in ["x", "limit"] {
        match edit {
            "x" => place.write("x", "2"),
            _ => place.write(
                "polyloom.toml",
                flow.replace("[cells.after]", "timeout = \"9s\"\n[cells.after]"),
            ),
        }
        assert_eq!(end(&run(&mut running), "bad")["attempts"], 1, "{edit}");
    }
    place.write("bad.sh", "echo 1 > $OUT/n");
    assert_eq!(outcome(&run(&mut running)), "ok");
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    assert!(told.contains("hint: `polyloom logs bad` shows all it printed"), "{told}");
    assert!(told.contains(&format!("exit code 3, failed as before, in run {id}\n")), "{told}");
    assert_eq!(runs(&place), 6);
    let logs = place.polyloom(&["logs", &id, "bad"]).exits(0).stdout();
    assert!(logs.contains("tried"), "{logs}");
}

#[test]
fn what_failed_by_what_it_was_granted_is_tried_again() {
    let place = Place::flow(
        "[cells.bad]\nlang = \"sh\"\nallow = { read = [\"in\"] }\ncode = 'cat in/x'\n\n[cells.good]\nlang = \"sh\"\nfile = \"good.sh\"\n",
    );
    place.write("good.sh", "echo 1");
    place.write("in/y", "1");
    let mut running =
        place.call(&["run", "--watch", "--events", "-", "-k", "--allow-read"]).start();
    run(&mut running);
    place.write("in/x", "1");
    place.write("good.sh", "echo 2");
    assert_eq!(outcome(&run(&mut running)), "ok");
    running.signal(Signal::INT);
    let _ = running.end();
}
