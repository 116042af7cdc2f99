//! Sessions: cells that share an interpreter's state find what those before them left, whatever was answered from the store; and what a hostile cell can
//! do ends with its session.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, Running, needs};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Cells of one session, in this order: each a name, its outputs and its code.
fn session(cells: &[(&str, &str, &str)]) -> String {
    let cell = |(id, outputs, code): &(&str, &str, &str)| {
        format!(
            "[cells.{id}]\nlang = \"python\"\nsession = \"main\"\noutputs = {{ {outputs} }}\ncode = '''\n{code}\n'''\n\n"
        )
    };
    cells.iter().map(cell).collect()
}

const COUNT: [(&str, &str, &str); 3] = [
    ("a", "x = \"int\"", "seen = [1]\nx = len(seen)"),
    ("b", "y = \"int\"", "seen.append(2)\ny = len(seen)"),
    ("c", "z = \"int\"", "seen.append(3)\nz = sum(seen)"),
];

/// The names of the cells that were run again for `cell`, in a run that goes well.
fn replayed(place: &Place, cell: &str) -> Value {
    let events = place.polyloom(&["run", "--events", "-"]).exits(0).json_lines();
    let mut ends = events.iter().filter(|it| it["event"] == "step.finished" && it["cell"] == cell);
    let end = ends.next().unwrap();
    assert_eq!(end["meta"]["outcome"], "ok");
    end["meta"]["extras"]["replayed"].clone()
}

fn shown(place: &Place, port: &str) -> String {
    let shown = place.polyloom(&["show", "latest", port]).exits(0).stdout();
    shown.lines().last().unwrap().to_owned()
}

#[test]
fn cells_of_a_session_share_its_state_and_results_are_kept() {
    needs!("python3");
    let place = Place::flow(&session(&COUNT));
    assert_eq!(replayed(&place, "c"), Value::Null);
    assert_eq!(shown(&place, "c.z"), "6");
    assert!(place.run(&[]).exits(0).ran().is_empty());
}

#[test]
fn what_came_before_is_run_again_for_a_cell_that_was_edited() {
    needs!("python3");
    let place = Place::flow(&session(&COUNT));
    let _ = place.run(&[]).exits(0);
    place.edit("polyloom.toml", "z = sum(seen)", "z = sum(seen) + 100");
    assert_eq!(replayed(&place, "c"), json!(["a", "b"]));
    assert_eq!(shown(&place, "c.z"), "106");
    // What is done in a session is part of all that comes after it.
    place.edit("polyloom.toml", "seen.append(2)", "seen.append(20)");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran(), ["b", "c"]);
    assert_eq!(shown(&place, "c.z"), "124");
}

#[test]
fn the_terminal_tells_which_cells_were_run_again() {
    needs!("python3");
    let place = Place::flow(&session(&COUNT));
    let first = place.polyloom(&["run"]).exits(0).screen();
    assert!(!first.contains("ran again"), "{first}");
    place.edit("polyloom.toml", "z = sum(seen)", "z = sum(seen) + 100");
    let told = place.polyloom(&["run"]).exits(0).screen();
    assert!(told.contains("c │ ran again for session `main`: a, b\n"), "{told}");
}

#[test]
fn an_error_in_a_function_of_an_earlier_cell_leads_to_that_cell() {
    needs!("python3", "node");
    let python =
        session(&[("a", "", "def share(x):\n    return 1 / x"), ("b", "", "y = 2\nshare(0)")]);
    let javascript = session(&[
        ("a", "", "function share(x) {\n    return 1n / x }"),
        ("b", "", "let y = 2\nshare(0n)"),
    ]);
    let javascript = javascript.replace("\"python\"", "\"javascript\"");
    for (flow, message) in [
        (python, "ZeroDivisionError: division by zero"),
        (javascript, "RangeError: Division by zero"),
    ] {
        let run = Place::flow(&flow).polyloom(&["run", "--events", "-"]).exits(1);
        let events = run.json_lines();
        let told = |event: &&Value| event["event"] == "diagnostic";
        let told: Vec<&Value> = events.iter().filter(told).map(|it| &it["diagnostic"]).collect();
        let [error, caller] = told[..] else { panic!("{told:?}") };
        // The `return` is in line 7 of the flow, the call in line 16.
        assert_eq!((&error["file"], &error["line"]), (&json!("polyloom.toml"), &json!(7)));
        assert_eq!(error["message"], message);
        assert_eq!((&caller["file"], &caller["line"]), (&json!("polyloom.toml"), &json!(16)));
        assert_eq!((&caller["severity"], &caller["code"]), (&json!("info"), &json!("caller")));
        let shown = Place::flow(&flow).polyloom(&["run"]).exits(1).stderr();
        let line = "polyloom.toml:16: info: cell `b` called it here; it is of cell `a`\n";
        let column = line.replace(":16:", ":16:1:");
        assert!(shown.contains(line) || shown.contains(&column), "{shown}");
    }
}

#[test]
fn large_inputs_and_outputs_of_all_kinds_go_through_a_session() {
    needs!("python3");
    let flow = session(&[(
        "a",
        "t = \"file\", d = \"dir\"",
        "import os, pathlib\nd = pathlib.Path(os.environ['OUT'], 'd'); d.mkdir()\n(d / 'one').write_text('1')\nt = pathlib.Path(os.environ['OUT'], 't.bin'); t.write_bytes(b'x' * 3_000_000)",
    )]) + "[cells.b]\nlang = \"python\"\nsession = \"main\"\ninputs = { t = \"a.t\", d = \"a.d\" }\noutputs = { n = \"int\", e = \"str\" }\ncode = '''\nn = t.stat().st_size\ne = (d / 'one').read_text()\n'''\n";
    let place = Place::flow(&flow);
    let _ = place.run(&[]).exits(0);
    assert_eq!([shown(&place, "b.n"), shown(&place, "b.e")], ["3000000", "1"]);
}

#[test]
fn a_cell_that_fails_ends_its_session_and_those_after_it_do_not_run() {
    needs!("python3");
    let mut cells = COUNT;
    cells[1].2 = "seen.append(2)\nraise ValueError('no')";
    let place = Place::flow(&session(&cells));
    let run = place.run(&[]).exits(1);
    assert_eq!(run.outcomes()["b"], "failed");
    assert_eq!(run.outcomes()["c"], "skipped");
    assert!(run.messages("b").contains("no"), "{}", run.messages("b"));
    assert_eq!(run.outcome("a"), "ok");
    // What it did before it failed is not there when it is run again.
    place.edit("polyloom.toml", "raise ValueError('no')", "y = len(seen)");
    let _ = place.run(&[]).exits(0);
    assert_eq!(shown(&place, "c.z"), "6");
}

#[test]
fn limits_hold_for_each_cell_and_end_the_session() {
    needs!("python3");
    let mut cells = COUNT;
    cells[1].2 = "import time\ntime.sleep(60)";
    let flow = session(&cells).replacen(
        "[cells.b]\n",
        "[cells.b]\ntimeout = \"300ms\"\ngrace = \"100ms\"\n",
        1,
    );
    let place = Place::flow(&flow);
    let run = place.run(&[]).exits(1);
    assert_eq!(run.outcomes()["a"], "ok");
    assert_eq!(run.outcomes()["b"], "timed_out");
}

/// Cells that are nothing but code, which are sent to the session's worker before it is their turn.
fn plain(codes: &[&str]) -> String {
    let names: Vec<String> = (0..codes.len()).map(|at| format!("c{at:02}")).collect();
    let cells: Vec<_> =
        names.iter().zip(codes).map(|(name, code)| (name.as_str(), "", *code)).collect();
    session(&cells)
}

#[test]
fn what_a_cell_prints_is_its_own_however_soon_the_next_one_runs() {
    needs!("python3");
    let ways = [
        "x = 1",
        "print('printed')",
        "import os\nos.write(1, b'written\\n')",
        "import sys\nprint('complained', file=sys.stderr)",
        "import subprocess\nsubprocess.run(['echo', 'echoed'])",
        "import polyloom\npolyloom.log('logged')",
        "import os\nopen(os.environ['OUT'] + '/left', 'w').close()",
    ];
    let codes: Vec<&str> = ways.into_iter().cycle().take(42).collect();
    let place = Place::flow(&plain(&codes));
    let events = place.polyloom(&["run", "--events", "-"]).exits(0).json_lines();
    let said = |cell: &str| -> String {
        let logs = events.iter().filter(|it| it["event"] == "log" && it["cell"] == cell);
        logs.map(|it| it["text"].as_str().unwrap()).collect()
    };
    let words = ["", "printed", "written", "complained", "echoed", "logged", ""];
    for (at, word) in words.iter().cycle().take(codes.len()).enumerate() {
        assert_eq!(said(&format!("c{at:02}")).trim_end(), *word, "c{at:02}");
    }
}

#[test]
fn a_cell_that_ends_badly_is_told_as_itself_and_none_behind_it_ran() {
    needs!("python3");
    for (code, limit, outcome) in [
        ("1 / 0", "", "failed"),
        ("import os\nos._exit(3)", "", "failed"),
        ("import os\nos.kill(os.getpid(), 9)", "", "killed"),
        ("import time\ntime.sleep(60)", "timeout = \"300ms\"\ngrace = \"100ms\"\n", "timed_out"),
        ("while True: print('x' * 1000)", "output_limit = \"64KiB\"\n", "output_exceeded"),
        ("x = bytearray(1 << 30)", "", "out_of_memory"),
    ] {
        let mut codes = vec!["x = 1"; 24];
        codes[12] = code;
        let flow = plain(&codes).replacen("[cells.c12]\n", &format!("[cells.c12]\n{limit}"), 1);
        let flow = format!("[defaults]\nmemory = \"128MiB\"\n{flow}");
        let run = Place::flow(&flow).run(&[]).exits(1);
        for at in 0..24 {
            let cell = format!("c{at:02}");
            let expected = match at {
                ..12 => "ok",
                12 => outcome,
                _ => "skipped",
            };
            assert_eq!(run.outcome(&cell), expected, "{cell} of `{code}`");
        }
    }
}

#[test]
fn a_cell_that_speaks_for_a_later_one_ends_alone() {
    needs!("python3");
    let forge = "import gc\nworker = [it for it in gc.get_objects() if type(it).__name__ == 'Worker'][0]\nworker.done(worker.current.id + 2, True, {})";
    let mut codes = vec!["x = 1"; 24];
    codes[12] = forge;
    let run = Place::flow(&plain(&codes)).run(&[]).exits(1);
    for (at, expected) in [(11, "ok"), (12, "worker_error"), (13, "skipped"), (14, "skipped")] {
        assert_eq!(run.outcome(&format!("c{at}")), expected, "c{at}");
    }
    assert!(run.messages("c12").contains("broke the protocol"), "{}", run.messages("c12"));
}

#[test]
fn an_interrupt_ends_the_cell_that_runs_among_those_that_were_sent_ahead() {
    needs!("python3");
    let mut codes = vec!["x = 1"; 24];
    codes[12] = "import time\nprint('ready', flush=True)\ntime.sleep(3600)";
    let place = Place::flow(&plain(&codes));
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("c12", "ready");
    running.signal(Signal::INT);
    let events = running.end().json_lines();
    let ended = |cell: &str| {
        let of = |it: &&serde_json::Value| it["event"] == "step.finished" && it["cell"] == cell;
        events.iter().find(of).unwrap()["meta"]["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(["c12", "c13"].map(ended), ["cancelled", "skipped"]);
}

#[test]
fn a_cell_among_others_of_its_session_is_tried_again() {
    needs!("python3");
    let mut codes = vec!["seen = globals().get('seen', 0) + 1"; 20];
    codes[10] = "import os\nassert seen == 10\nif os.path.exists('/nowhere') or not globals().get('again'): 1 / 0";
    let flow = plain(&codes).replacen("[cells.c10]\n", "[cells.c10]\nretries = 1\n", 1);
    let run = Place::flow(&flow).run(&[]).exits(1);
    // What is tried again finds the state that those before it leave, not that of a failed attempt.
    assert_eq!(run.outcome("c10"), "failed");
    assert!(run.messages("c10").contains("ZeroDivisionError"), "{}", run.messages("c10"));
}

#[test]
fn cells_with_results_among_plain_ones_leave_them_whole() {
    needs!("python3");
    let plain: Vec<String> = (0..20).map(|at| format!("p{at:02}")).collect();
    let mut cells = vec![("a", "x = \"int\"", "n = 1\nx = n")];
    cells.extend(plain.iter().map(|name| (name.as_str(), "", "n += 1")));
    cells.insert(11, ("m", "y = \"int\"", "y = n"));
    cells.push(("z", "w = \"int\"", "w = n"));
    let place = Place::flow(&session(&cells));
    let _ = place.run(&[]).exits(0);
    let shown = ["a.x", "m.y", "z.w"].map(|port| shown(&place, port));
    assert_eq!(shown, ["1", "11", "21"]);
}

#[test]
fn cells_that_take_and_give_values_have_their_own_however_far_ahead_they_are_sent() {
    needs!("python3");
    let mut flow = String::new();
    for at in 0..60 {
        // What a folder would have is in no folder.
        let (ty, code) = match at {
            30 => ("list<int>", "x = list(range(3000))"),
            31 => ("bytes", "x = bytes([a])"),
            45 => ("list<str>", "import os\nx = os.listdir('/cell/in') + os.listdir('/cell/out')"),
            20.. => ("int", "x = a + 100"),
            _ => ("int", "x = 1000"),
        };
        let code = if at < 20 { format!("x = {at}") } else { code.to_owned() };
        let from = if at == 50 || at == 51 { 22 } else { at - 20 };
        let input =
            if at < 20 { String::new() } else { format!("inputs = {{ a = \"c{from}.x\" }}\n") };
        flow += &format!(
            "[cells.c{at}]\nlang = \"python\"\nsession = \"s\"\noutputs = {{ x = \"{ty}\" }}\n{input}code = \"\"\"{code}\"\"\"\n"
        );
    }
    let place = Place::flow(&flow);
    let _ = place.run(&["-F"]).exits(0);
    for (cell, value) in
        [("c0", "0"), ("c19", "19"), ("c29", "109"), ("c44", "204"), ("c52", "212")]
    {
        assert_eq!(shown(&place, &format!("{cell}.x")), value, "{cell}");
    }
    assert_eq!(shown(&place, "c45.x"), "[]");
    let run = place.run(&["-F"]).exits(0);
    assert_eq!(run.bytes("c31", "x"), [0xc4, 1, 11]);
    assert!(run.bytes("c30", "x").ends_with(&2999_u16.to_be_bytes()));
    assert!(place.run(&[]).exits(0).ran().is_empty(), "all of it is known");
}

#[test]
fn the_first_cell_of_a_session_has_what_later_ones_have() {
    needs!("python3");
    let mut flow =
        "[cells.n]\nlang = \"python\"\noutputs = { x = \"int\" }\ncode = 'x = 7'\n".to_owned();
    for cell in ["a", "b"] {
        flow += &format!(
            "[cells.{cell}]\nlang = \"python\"\nsession = \"s\"\ninputs = {{ n = \"n.x\" }}\noutputs = {{ y = \"list<str>\" }}\n\
             code = \"\"\"import os; y = os.listdir('/cell/in') + [str(n), str(os.path.exists(__file__))]\"\"\"\n"
        );
    }
    let place = Place::flow(&flow);
    let _ = place.run(&[]).exits(0);
    for cell in ["a.y", "b.y"] {
        assert_eq!(shown(&place, cell), r#"["7", "False"]"#, "{cell}");
    }
}

#[test]
fn a_value_that_a_worker_makes_up_is_checked_as_a_file_is() {
    needs!("python3");
    let told = "polyloom._msgpack.encode";
    for (bytes, why) in [("b'\\xa3abc'", "expected int"), ("b'\\xc1'", "not a value of type int")] {
        let forge = format!("import polyloom._msgpack\n{told} = lambda *_: {bytes}\nx = 1");
        let flow = session(&[
            ("a", "x = \"int\"", "x = 1"),
            ("b", "x = \"int\"", &forge),
            ("c", "x = \"int\"", "x = 1"),
        ]);
        let run = Place::flow(&flow).run(&[]).exits(1);
        assert_eq!(
            ["a", "b", "c"].map(|cell| run.outcome(cell)),
            ["ok", "output_missing", "skipped"]
        );
        assert!(run.messages("b").contains(why), "{}", run.messages("b"));
    }
}

#[test]
fn what_a_process_of_the_session_does_to_a_result_afterwards_is_too_late() {
    needs!("python3");
    let change = "import os, pathlib, threading, time
out = os.environ['OUT']
t = pathlib.Path(out, 't.bin')
t.write_bytes(b'good' * 1000)
held = open(t, 'r+b')
def change():
    while True:
        held.seek(0); held.write(b'evil' * 1000); held.flush(); time.sleep(0)
threading.Timer(0.05, change).start()";
    let flow = session(&[
        ("a", "t = \"file\"", change),
        ("b", "n = \"int\"", "n = 1\nimport time; time.sleep(0.3)"),
    ]);
    let place = Place::flow(&flow);
    let run = place.run(&[]).exits(0);
    // The digest is that of the bytes that are kept, whichever they were.
    let bytes = run.bytes("a", "t");
    assert_eq!(bytes.len(), 4000);
    assert!(bytes == b"good".repeat(1000), "what was written after Done is not kept");
    let _ = place.polyloom(&["cache", "verify"]).exits(0);
}

#[test]
fn links_and_garbage_are_refused_and_other_sessions_are_not_harmed() {
    needs!("python3");
    let other = "[cells.other]\nlang = \"python\"\nsession = \"side\"\noutputs = { n = \"int\" }\ncode = 'n = 7'\n\n";
    let attacks = [
        ("import os\nos.symlink('/etc/passwd', os.environ['OUT'] + '/t.bin')", "t = \"file\""),
        (
            "import os\nfor fd in map(int, os.listdir('/proc/self/fd')):\n    if fd < 3: continue\n    try: os.write(fd, b'\\xff' * 64)\n    except OSError: pass",
            "",
        ),
        ("import os\nos._exit(0)", ""),
        ("import os\nos.kill(os.getpid(), 9)", ""),
    ];
    for (code, outputs) in attacks {
        let flow = other.to_owned() + &session(&[("a", outputs, code), ("b", "", "pass")]);
        let place = Place::flow(&flow);
        let run = place.run(&["-k"]);
        assert_ne!(run.outcomes()["a"], "ok", "{code}");
        assert_eq!(run.outcomes()["b"], "skipped", "{code}");
        assert_eq!(run.outcomes()["other"], "ok", "{code}");
    }
}

#[test]
fn what_a_cell_leaves_deep_in_its_folders_goes_and_what_can_not_go_is_told() {
    needs!("python3");
    let nest = |depth: usize| {
        format!(
            "import os\nos.makedirs(os.path.join(os.environ[\"OUT\"], *[\"n\"] * {depth}))\nx = 1"
        )
    };
    let place = Place::flow(&session(&[("a", "", &nest(70)), ("b", "y = \"int\"", "y = x")]));
    assert_eq!(replayed(&place, "b"), Value::Null);
    let place = Place::flow(&session(&[("a", "", &nest(300)), ("b", "y = \"int\"", "y = x")]));
    let told = place.polyloom(&["run"]).exits(1).screen();
    for words in [
        "a │ warning: the session ends after it",
        "can't be removed (it is nested deeper than 256 folders)",
        "`a` was run again, and ended the session with it",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn sessions_that_can_not_be_are_told_before_anything_runs() {
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\nsession = \"s\"\ncode = ''\n[cells.b]\nlang = \"python\"\nsession = \"s\"\nenv = { A = \"1\" }\ncode = ''\n[cells.c]\nlang = \"sh\"\nsession = \"t\"\ncode = ''\n",
    );
    let told = place.polyloom(&["check"]).exits(2).stderr();
    assert!(told.contains("`a` and `b` are of one session and differ in `env`"), "{told}");
    assert!(told.contains("`sh` holds no sessions"), "{told}");
}

/// The events of the next run, from its first to its last.
fn run(running: &mut Running) -> Vec<Value> {
    let mut events = vec![running.until(|event| event["event"] == "run.started")];
    while events.last().unwrap()["event"] != "run.finished" {
        events.push(running.until(|_| true));
    }
    events
}

#[test]
fn a_watch_goes_on_from_the_state_before_the_edit() {
    needs!("python3");
    let place = Place::flow(&session(&COUNT));
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    run(&mut running);
    for more in 1..4 {
        place.write(
            "polyloom.toml",
            session(&COUNT).replace("z = sum(seen)", &format!("z = sum(seen) + {more}")),
        );
        let events = run(&mut running);
        let end = events.iter().find(|it| it["event"] == "step.finished" && it["cell"] == "c");
        let meta = &end.unwrap()["meta"];
        assert_eq!(meta["outcome"], "ok");
        assert_eq!(meta["extras"].get("replayed"), None, "nothing is run again");
        assert_eq!(shown(&place, "c.z"), (6 + more).to_string());
    }
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
}

#[test]
fn cells_in_javascript_share_the_variables_of_their_top_levels() {
    needs!("node");
    let cell = |id: &str, outputs: &str, code: &str| {
        format!(
            "[cells.{id}]\nlang = 'javascript'\nsession = 'main'\noutputs = {{ {outputs} }}\ncode = \"\"\"\n{code}\n\"\"\"\n\n"
        )
    };
    let flow = [
        cell(
            "a",
            "",
            "import path from 'node:path';\nconst seen = [await 1];\nlet n = 1;\nfunction next() { return ++n; }",
        ),
        cell(
            "b",
            "y = 'int'",
            "seen.push(next());\nlet y = seen.length;\nsetInterval(() => {}, 1000);",
        ),
        cell(
            "c",
            "z = 'int', base = 'str', y = 'int'",
            "const z = seen[1] + n;\nconst base = path.basename('/d/e');",
        ),
    ];
    let place = Place::flow(&flow.concat());
    let _ = place.run(&[]).exits(0);
    assert_eq!(
        [shown(&place, "c.z"), shown(&place, "c.base"), shown(&place, "c.y")],
        ["4", "e", "2"]
    );
    place.edit("polyloom.toml", "seen[1] + n", "seen[1] + n + 10");
    assert_eq!(replayed(&place, "c"), json!(["a", "b"]));
    assert_eq!(shown(&place, "c.z"), "14");
}

#[test]
fn a_cell_that_ends_its_sessions_process_or_speaks_for_it_is_named() {
    needs!("python3", "node");
    let exits = session(&[("a", "", "process.exit(0)"), ("b", "", "1")]);
    let run = Place::flow(&exits.replace("\"python\"", "\"javascript\"")).run(&[]).exits(1);
    assert_eq!((run.outcome("a"), run.outcome("b")), ("failed", "skipped"));

    let forged = "import gc, time, polyloom._worker as w, polyloom._frames as wire\n\
                  [worker] = [it for it in gc.get_objects() if isinstance(it, w.Worker)]\n\
                  worker.send(wire.DONE, 1, {'ok': True})\ntime.sleep(1)";
    let place = Place::flow(&session(&[("a", "", forged), ("b", "", "print(1)")]));
    for _ in 0..2 {
        let run = place.run(&[]).exits(1);
        assert_eq!(run.outcome("b"), "worker_error");
        assert!(run.messages("b").contains("`a`"), "{}", run.messages("b"));
        assert!(run.messages("b").contains("polyloom run -f a"), "{}", run.messages("b"));
    }
}
