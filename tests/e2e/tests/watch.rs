//! `run --watch`: what an edit makes stale runs, what it makes pointless ends, what it leaves alone goes on.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::{Duration, Instant};

use polyloom_test_e2e::{Place, Running, eventually, is_root, needs, processes_with};
use rustix::process::Signal;
use serde_json::Value;

/// An ordinary user.
const NOBODY: u32 = 65534;

fn watch(place: &Place) -> Running {
    place.call(&["run", "--watch", "--events", "-"]).start()
}

/// The events of the next run, from its first to its last.
fn run(running: &mut Running) -> Vec<Value> {
    let mut events = vec![running.until(|event| event["event"] == "run.started")];
    loop {
        let event = running.until(|_| true);
        let last = event["event"] == "run.finished";
        events.push(event);
        if last {
            return events;
        }
    }
}

fn changed(events: &[Value]) -> Vec<&str> {
    let changed = events[0]["changed"].as_array().map(Vec::as_slice).unwrap_or_default();
    changed.iter().map(|name| name.as_str().unwrap()).collect()
}

/// How each cell ended that did not stay as it was.
fn ends(events: &[Value]) -> Vec<String> {
    let ended = events.iter().filter(|event| event["event"] == "step.finished");
    let words = ended.map(|event| {
        let outcome = event["meta"]["outcome"].as_str().unwrap();
        format!("{} {outcome}", event["cell"].as_str().unwrap())
    });
    let mut words: Vec<_> = words.filter(|words| !words.ends_with(" cached")).collect();
    words.sort();
    words
}

fn printed(events: &[Value], cell: &str) -> String {
    let logs = events.iter().filter(|event| {
        event["event"] == "log" && event["cell"] == cell && event["stream"] == "stdout"
    });
    logs.map(|event| event["text"].as_str().unwrap()).collect()
}

/// Interrupts it and sees that nothing is left of it.
fn leave(place: &Place, running: Running) {
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    assert!(eventually(Duration::from_secs(10), || place.processes().is_empty()));
}

/// A plugin that is being written: its files are what its cells are made of, and no worker that waits has them as they were.
#[test]
fn an_edit_of_a_plugin_runs_its_cells() {
    needs!("python3");
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine", "--lang", "python"]).exits(0);
    let args = ["run", "mine/try", "--executor-dir", "mine", "--watch", "--events", "-"];
    let mut running = place.call(&args).start();
    let first = run(&mut running);
    assert_eq!(
        (ends(&first), printed(&first, "greet")),
        (vec!["count ok".into(), "greet ok".into()], "hello\n".into())
    );
    for (from, to) in [("print(filled", "print(1, filled"), ("print(1, filled", "print(2, filled")]
    {
        place.edit("mine/mine.py", from, to);
        let next = run(&mut running);
        assert_eq!(ends(&next), ["greet ok"]);
        assert_eq!(printed(&next, "greet"), format!("{} hello\n", &to[6..7]));
    }
    // Its manifest is read once: that it says something else is told, that it is there again as it was is not.
    place.edit("mine/executor.toml", "version = \"1\"", "version = \"2\"");
    let _ = run(&mut running);
    place.edit("mine/executor.toml", "version = \"2\"", "version = \"1\" # as it was");
    let _ = run(&mut running);
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    assert_eq!(told.matches("start polyloom again").count(), 1, "{told}");
    assert!(eventually(Duration::from_secs(10), || place.processes().is_empty()));
    // What a run leaves beside the flow is no part of the plugin.
    let run = place.run(&["mine/try", "--executor-dir", "mine"]);
    assert_eq!((run.outcome("greet"), run.outcome("count")), ("cached", "cached"));
}

#[test]
fn an_edit_runs_what_it_made_stale() {
    needs!("python3");
    let place = Place::new();
    place.write("data.txt", "1\n");
    place.write("a.py", "n = int(open(text).read())\n");
    place.write(
        "polyloom.toml",
        r#"
[cells.a]
lang = "python"
file = "a.py"
inputs = { text = "file:data.txt" }
outputs = { n = "int" }

[cells.b]
lang = "python"
inputs = { n = "a.n" }
code = "print('n is', n)"

[cells.apart]
lang = "python"
code = "print('apart')"
"#,
    );
    let mut running = watch(&place);
    let first = run(&mut running);
    assert_eq!(ends(&first), ["a ok", "apart ok", "b ok"]);
    assert_eq!(changed(&first), [""; 0]);

    place.write("a.py", "n = int(open(text).read()) * 2\n");
    let second = run(&mut running);
    assert_eq!(
        (changed(&second), ends(&second)),
        (vec!["a.py"], vec!["a ok".into(), "b ok".into()])
    );
    assert_eq!(printed(&second, "b"), "n is 2\n");

    // As most editors do it: another file takes the name.
    place.write("data.txt.new", "5\n");
    std::fs::rename(place.project().join("data.txt.new"), place.project().join("data.txt"))
        .unwrap();
    let third = run(&mut running);
    assert_eq!(changed(&third), ["data.txt"]);
    assert_eq!(printed(&third, "b"), "n is 10\n");

    // The same bytes are no change, nor is a comment, nor a file that the flow does not read; an early cutoff holds here as elsewhere.
    place.write("data.txt", "5\n");
    place.write("notes.txt", "5\n");
    place.write("a.py", "n = int(open(text).read()) + int(open(text).read())  # twice\n");
    let fourth = run(&mut running);
    assert_eq!(ends(&fourth), ["a ok"]);

    // The flow itself.
    place.edit("polyloom.toml", "print('apart')", "print('aside')");
    let fifth = run(&mut running);
    assert_eq!((changed(&fifth), ends(&fifth)), (vec!["polyloom.toml"], vec!["apart ok".into()]));
    leave(&place, running);
    // Each was a run like any other.
    let runs = place.polyloom(&["runs", "--format", "json"]).exits(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 5);
}

#[test]
fn a_flow_that_is_broken_is_told_and_waited_for() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    let mut running = watch(&place);
    // A file that it lacks is one whose coming is heard of.
    place.write("a.sh", "echo one");
    assert_eq!(printed(&run(&mut running), "a"), "one\n");
    place.write("polyloom.toml", "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\n");
    std::thread::sleep(Duration::from_millis(300));
    // As it was: there is nothing to run, and that is said.
    place.write("polyloom.toml", "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    std::thread::sleep(Duration::from_millis(300));
    place
        .write("polyloom.toml", "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\nenv = { X = \"1\" }\n");
    assert_eq!(ends(&run(&mut running)), ["a ok"]);
    // A cell that fails is mended.
    place.write("a.sh", "exit 3");
    assert_eq!(ends(&run(&mut running)), ["a failed"]);
    place.write("a.sh", "echo $X");
    assert_eq!(printed(&run(&mut running), "a"), "1\n");
    running.signal(Signal::INT);
    let told = running.end().exits(130).stderr();
    let again = "the flow is good again and as it was: nothing to run\n";
    assert_eq!(told.matches(again).count(), 1, "{told}");
    // What is not there at all is a mistake of the command.
    let _ = place.polyloom(&["run", "nowhere.toml", "--watch"]).exits(2);
    let refused = place.polyloom(&["run", "--watch", "--format", "json"]).exits(2);
    assert!(refused.stderr().contains("--format jsonl"), "{}", refused.stderr());
}

/// Two cells that take long: the edit of one ends it, and the other goes on as if nothing had happened.
#[test]
fn an_edit_ends_what_it_made_pointless_and_nothing_else() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let sleep = format!("7300.{:09}{:06}", now.subsec_nanos(), std::process::id());
    let place = Place::new();
    place.write("stays.sh", "echo begun; sleep 4; echo $$ > $OUT/x");
    place.write("goes.sh", format!("trap '' TERM; echo begun; sleep {sleep}"));
    place.write(
        "polyloom.toml",
        r#"
[cells.stays]
lang = "sh"
file = "stays.sh"
outputs = { x = "str" }

[cells.goes]
lang = "sh"
file = "goes.sh"

[cells.after]
lang = "sh"
inputs = { x = "stays.x" }
code = "echo after $x"
"#,
    );
    let mut running = place.call(&["run", "--watch", "--events", "-", "-j", "2"]).start();
    for _ in 0..2 {
        running.until(|event| event["event"] == "log" && event["text"] == "begun\n");
    }
    let edited = Instant::now();
    place.write("goes.sh", "echo soon");
    // The end of the first run.
    let mut first = Vec::new();
    loop {
        first.push(running.until(|_| true));
        if first.last().unwrap()["event"] == "run.finished" {
            break;
        }
    }
    assert_eq!(ends(&first), ["after skipped", "goes cancelled", "stays cancelled"]);
    assert_eq!(first.last().unwrap()["outcome"], "cancelled");
    let reason = |cell: &str| {
        let end = first.iter().find(|e| e["event"] == "step.finished" && e["cell"] == cell);
        end.unwrap()["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("stays"), "it goes on in the next run");
    assert_eq!(reason("after"), "a newer plan took over");
    let second = run(&mut running);
    assert_eq!(ends(&second), ["after ok", "goes ok", "stays ok"]);
    // It was not begun again.
    assert_eq!(printed(&second, "stays"), "");
    let soon = second.iter().find(|e| e["event"] == "log" && e["text"] == "soon\n").unwrap();
    let at = Duration::from_secs_f64(soon["at_ms"].as_f64().unwrap() / 1e3);
    assert!(at < Duration::from_secs(3), "{at:?}");
    assert!(edited.elapsed() < Duration::from_secs(20));
    assert_eq!(processes_with(&sleep), [""; 0]);
    leave(&place, running);
    // Its result is that of any other run.
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

/// Limits are in no key: a cell that goes on would go on with the old one.
#[test]
fn an_edit_of_a_limit_is_heard_of_while_the_cell_runs() {
    let flow = |timeout: &str| {
        format!(
            "[cells.a]\nlang = \"sh\"\ntimeout = \"{timeout}\"\ncode = 'echo begun; sleep 60'\n"
        )
    };
    let place = Place::flow(&flow("100s"));
    let mut running = watch(&place);
    running.until_printed("a", "begun");
    place.write("polyloom.toml", flow("300ms"));
    assert_eq!(ends(&run(&mut running)), ["a timed_out"]);
    leave(&place, running);
}

/// A worker waits for the next edit; each attempt has one of its own.
#[test]
fn workers_are_kept_waiting_and_used_once() {
    needs!("python3");
    const CODE: &str = r#"
import os, sys, time
hertz = os.sysconf("SC_CLK_TCK")
with open("/proc/self/stat") as stat, open("/proc/uptime") as up:
    started = int(stat.read().rpartition(")")[2].split()[19]) / hertz
    age = float(up.read().split()[0]) - started
found = [hasattr(sys, "mark"), os.path.exists("/tmp/mark"), os.path.exists("/cell/work/mark")]
sys.mark = 1
open("/tmp/mark", "w").close()
open("mark", "w").close()
print(round(age, 2), any(found), os.environ["POLYLOOM_CELL"])
"#;
    waits(CODE, watch);
    if is_root() {
        waits(CODE, |place| {
            place.give_to(NOBODY);
            place.call(&["run", "--watch", "--events", "-"]).uid(NOBODY).start()
        });
    }
}

fn waits(code: &str, start: impl Fn(&Place) -> Running) {
    let place = Place::new();
    place.write("a.py", code);
    place.write("polyloom.toml", "[cells.a]\nlang = \"python\"\nfile = \"a.py\"\n");
    let mut running = start(&place);
    let words = |events: &[Value]| {
        let text = printed(events, "a");
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        (words[0].parse::<f64>().unwrap(), words[1].clone(), words[2].clone())
    };
    let first = words(&run(&mut running));
    assert!(first.0 < 5.0, "{first:?}");
    let mut waited = 0;
    for edit in 0..4 {
        // It has two seconds to come up, and is older than the edit then.
        std::thread::sleep(Duration::from_secs(2));
        let edited = Instant::now();
        place.write("a.py", format!("{code}\nprint({edit})\n"));
        let (age, found, cell) = words(&run(&mut running));
        assert_eq!((found.as_str(), cell.as_str()), ("False", "a"));
        waited += usize::from(age > edited.elapsed().as_secs_f64() + 0.5);
    }
    assert!(waited >= 3, "{waited} of 4 edits found a worker that waited");
    // Code that takes another amount of memory, or is for a cell with another environment, has a worker of its own: it is as any other.
    place.write("a.py", format!("{code}#{}\nprint('long')", "x".repeat(200_000)));
    let (_, found, _) = words(&run(&mut running));
    assert_eq!(found, "False");
    leave(&place, running);
}

/// Code that comes late is no way around a limit.
#[test]
fn a_waiting_worker_holds_its_cell_to_its_limits() {
    needs!("python3");
    let place = Place::new();
    place.write("a.py", "print(1)");
    place.write(
        "polyloom.toml",
        "[cells.a]\nlang = \"python\"\nfile = \"a.py\"\nmemory = \"64MiB\"\ntimeout = \"2s\"\ndisk = \"1MiB\"\n",
    );
    let mut running = watch(&place);
    assert_eq!(ends(&run(&mut running)), ["a ok"]);
    for (code, outcome) in [
        ("x = bytearray(200 << 20)", "a out_of_memory"),
        ("import time\nwhile True: time.sleep(0.1)", "a timed_out"),
        ("open('/cell/work/x', 'wb').write(bytes(3 << 20))", "a disk_exceeded"),
        ("open('/cell/code/a.py', 'w')", "a failed"),
        ("print('fine')", "a ok"),
    ] {
        std::thread::sleep(Duration::from_millis(700));
        place.write("a.py", code);
        assert_eq!(ends(&run(&mut running)), [outcome], "{code}");
    }
    leave(&place, running);
}

#[test]
fn files_of_a_pattern_come_and_go() {
    let place = Place::new();
    place.write("in/one.txt", "1");
    place.write(
        "polyloom.toml",
        "[cells.a]\nlang = \"sh\"\nmap = { f = \"glob:in/*.txt\" }\noutputs = { n = \"int\" }\ncode = 'cp $f $OUT/n'\n",
    );
    let mut running = watch(&place);
    assert_eq!(ends(&run(&mut running)).len(), 2);
    place.write("in/two.txt", "2");
    let more = run(&mut running);
    assert_eq!(changed(&more), ["in/two.txt"]);
    assert!(ends(&more).iter().any(|end| end.contains("two") && end.ends_with(" ok")), "{more:?}");
    std::fs::remove_file(place.project().join("in/one.txt")).unwrap();
    let fewer = run(&mut running);
    assert!(!ends(&fewer).iter().any(|end| end.contains("one")), "{fewer:?}");
    // Another folder of that name.
    std::fs::rename(place.project().join("in"), place.project().join("out")).unwrap();
    std::fs::create_dir(place.project().join("in")).unwrap();
    run(&mut running);
    place.write("in/three.txt", "3");
    let third = run(&mut running);
    assert!(ends(&third).iter().any(|end| end.contains("three")), "{third:?}");
    leave(&place, running);
}

#[test]
fn only_what_a_pattern_matches_is_a_change_and_is_named() {
    let place = Place::new();
    place.write("b.csv", "1");
    place.write("deep/c.csv", "1");
    place.write(
        "polyloom.toml",
        "[cells.a]\nlang = \"sh\"\nmap = { f = \"glob:**/*.csv\" }\noutputs = { n = \"int\" }\ncode = 'cp $f $OUT/n'\n\n[cells.bad]\nlang = \"sh\"\ncode = 'exit 1'\n",
    );
    // Each run that fails would be made again if the history, or what is beside the files, were a change.
    let mut running = place.call(&["run", "--watch", "--events", "-", "-k"]).start();
    run(&mut running);
    for round in 0..3 {
        place.write("deep/x.txt", round.to_string());
        place.write("x.txt", round.to_string());
        std::thread::sleep(Duration::from_millis(200));
        // As `sed -i` does it.
        place.write("b.csv.new", format!("2{round}"));
        std::thread::sleep(Duration::from_millis(200));
        place.write("sedXYZ", format!("3{round}"));
        std::fs::rename(place.project().join("sedXYZ"), place.project().join("b.csv")).unwrap();
        let next = run(&mut running);
        assert_eq!((changed(&next), ends(&next).len()), (vec!["b.csv"], 3), "{next:#?}");
    }
    // A folder that comes with files in it.
    let rename = |from: &str, to: &str| {
        std::fs::rename(place.project().join(from), place.project().join(to)).unwrap();
    };
    place.write(".away/d.csv", "4");
    rename(".away", "more");
    assert_eq!(changed(&run(&mut running)), ["more"]);
    place.write("more/d.csv", "5");
    assert_eq!(changed(&run(&mut running)), ["more/d.csv"]);
    rename("more", ".gone");
    assert_eq!(changed(&run(&mut running)), ["more"]);
    leave(&place, running);
}

#[test]
fn a_host_that_is_killed_takes_waiting_workers_along() {
    needs!("python3");
    let place = Place::new();
    let mark = format!("{}/mark", place.root().display());
    place.write(
        "polyloom.toml",
        format!("[cells.a]\nlang = \"python\"\nenv = {{ MARK = \"{mark}\" }}\ncode = 'print(1)'\n"),
    );
    let mut running = watch(&place);
    run(&mut running);
    assert!(eventually(Duration::from_secs(10), || processes_with(&mark).len() == 1));
    running.signal(Signal::KILL);
    assert_eq!(running.end().code(), 137);
    assert!(eventually(Duration::from_secs(10), || place.processes().is_empty()));
}

#[test]
fn a_person_sees_what_changed_and_what_is_awaited() {
    let place = Place::new();
    place.write("a.sh", "echo one");
    place.write("polyloom.toml", "[cells.a]\nlang = \"sh\"\nfile = \"a.sh\"\n");
    let mut running = watch(&place);
    run(&mut running);
    place.write("a.sh", "echo two");
    run(&mut running);
    running.signal(Signal::TERM);
    let ended = running.end().exits(130);
    let told = ended.stderr();
    assert!(told.contains("watching 2 files for changes; Ctrl-C ends"), "{told}");
    assert!(told.contains("1 cell") && told.contains("; a.sh changed\n"), "{told}");
}

#[test]
fn flows_within_the_flow_are_watched_with_all_they_read() {
    let place = Place::new();
    place.write("parts/in/one.txt", "1");
    place.write("parts/add.sh", "echo $((n + 1)) > $OUT/m");
    place.write(
        "parts/part.toml",
        r#"
[params.n]
type = "int"
default = 0

[cells.add]
lang = "sh"
file = "add.sh"
inputs = { n = "param:n" }
outputs = { m = "int" }

[cells.each]
lang = "sh"
map = { f = "glob:in/*.txt" }
code = "cat $f"

[outputs]
m = "add.m"
"#,
    );
    place.write(
        "polyloom.toml",
        r#"
[params.start]
type = "int"
default = 1

[cells.part]
flow = "parts/part.toml"
inputs = { n = "param:start" }

[cells.last]
lang = "sh"
inputs = { m = "part.m" }
code = "echo $m"
"#,
    );
    place.write("params.toml", "start = 5\n");
    let words = ["run", "--watch", "--events", "-", "--params-file", "params.toml"];
    let mut running = place.call(&words).start();
    assert_eq!(printed(&run(&mut running), "last"), "6\n");
    place.write("parts/add.sh", "echo $((n + 2)) > $OUT/m");
    assert_eq!(printed(&run(&mut running), "last"), "7\n");
    place.edit("parts/part.toml", "cat $f", "cat $f $f");
    assert_eq!(ends(&run(&mut running)).len(), 1);
    place.write("parts/in/two.txt", "2");
    assert_eq!(changed(&run(&mut running)), ["parts/in/two.txt"]);
    // What is mended after a mistake is heard of wherever it was.
    place.write("params.toml", "start = \n");
    std::thread::sleep(Duration::from_millis(300));
    place.write("parts/add.sh", "echo $((n + 2)) > $OUT/m # again");
    std::thread::sleep(Duration::from_millis(300));
    place.write("params.toml", "start = 8\n");
    assert_eq!(printed(&run(&mut running), "last"), "10\n");
    leave(&place, running);
}

/// A round in which all stood is not recorded; the next one is compared with it all the same.
#[test]
fn what_was_taken_back_is_no_reason_in_the_next_round() {
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
file = "a.sh"
inputs = { text = "file:data.txt" }
"#,
    );
    place.write("data.txt", "1\n");
    place.write("a.sh", "cat $text");
    let mut running = watch(&place);
    assert_eq!(ends(&run(&mut running)), ["a ok"]);
    place.write("a.sh", "cat $text; echo more");
    assert_eq!(ends(&run(&mut running)), ["a ok"]);
    place.write("a.sh", "cat $text");
    assert_eq!(ends(&run(&mut running)), [""; 0]);
    place.write("data.txt", "2\n");
    let last = run(&mut running);
    let end = last.iter().find(|event| event["event"] == "step.finished").unwrap();
    let reason = end["reason"].as_str().unwrap();
    assert!(reason.starts_with("input text changed (data.txt, "), "{reason}");
    leave(&place, running);
}
