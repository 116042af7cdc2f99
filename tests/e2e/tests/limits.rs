//! Every limit has an outcome of its own, and the facts that come with it are believable.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};

#[test]
fn each_limit_has_its_outcome() {
    needs!("python3", "gcc", "bash");
    let place = Place::example("limits");
    let run = place.run(&["-k"]).exits(5);
    let outcomes = run.outcomes();
    // Without a control group nobody counts the processes that were refused.
    let counted = run.level("processes", "processes") == "full";
    let wanted = [
        ("after_failing", "skipped"),
        ("disk", "disk_exceeded"),
        ("failing", "failed"),
        ("killed", "killed"),
        ("memory", "out_of_memory"),
        ("missing", "output_missing"),
        ("output", "output_exceeded"),
        ("processes", if counted { "pids_exceeded" } else { "failed" }),
        ("processor", "cpu_exceeded"),
        ("time", "timed_out"),
        ("well", "ok"),
    ];
    let told: Vec<(&str, &str)> = outcomes.iter().map(|(c, o)| (&**c, &**o)).collect();
    assert_eq!(told, wanted);

    let number = |cell: &str, field: &str| {
        let value = &run.cell(cell)[field];
        value.as_f64().unwrap_or_else(|| panic!("{cell}.{field} is {value}"))
    };
    let mib = f64::from(1 << 20);
    let peak = number("memory", "peak_memory");
    assert!((32.0 * mib..=64.0 * mib).contains(&peak), "peak {peak}");
    let wall = number("time", "wall_ms");
    assert!((500.0..5_000.0).contains(&wall), "wall {wall}");
    assert!(number("time", "cpu_ms") < 2_000.0);
    let cpu = number("processor", "cpu_ms");
    assert!((290.0..3_000.0).contains(&cpu), "cpu {cpu}");
    // The line is that of the flow file, where the code stands.
    let line = run.cell("failing")["diagnostics"][0]["line"].as_u64().unwrap();
    let flow = place.read("polyloom.toml");
    let told = flow.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    assert!(told.contains("1 / v"), "{line}: {told}");
    assert!(run.messages("failing").contains("ZeroDivisionError"));
    assert!(run.messages("missing").contains("answer"));
    for cell in ["time", "memory", "processor", "processes", "output", "disk"] {
        if outcomes[cell] == "failed" {
            continue;
        }
        let told = run.messages(cell);
        assert!(told.contains("limit"), "{cell}: {told}");
    }
    assert_eq!(place.processes(), [""; 0]);

    // What went well is not done again.
    let again = place.run(&["-k"]).exits(5);
    assert_eq!(again.outcome("well"), "cached");
}

#[test]
fn memory_counts_all_processes_together() {
    needs!("python3");
    let place = Place::flow(
        r#"
[cells.a]
lang = "sh"
memory = "64MiB"
code = '''
for i in 1 2 3 4; do
  head -c 30000000 /dev/zero | tail -c 29000000 | { sleep 2; wc -c; } &
done
wait
'''
"#,
    );
    assert_eq!(place.run(&[]).exits(1).outcome("a"), "out_of_memory");
}

#[test]
fn files_count_as_memory_or_disk_never_as_free() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ndisk = \"8MiB\"\ncode = 'set -e; for i in 1 2 3 4; do head -c 3M /dev/zero > f$i; done'\n",
    );
    assert_eq!(place.run(&[]).exits(1).outcome("a"), "disk_exceeded");
}

#[test]
fn a_cell_that_copes_with_a_full_disk_is_well() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ndisk = \"4MiB\"\ncode = 'head -c 9M /dev/zero > f 2> /dev/null || true; rm -f f; echo 1 > $OUT/x'\noutputs = { x = \"int\" }\n",
    );
    assert_eq!(place.run(&[]).exits(0).outcome("a"), "ok");
}

#[test]
fn a_short_cell_under_a_tight_limit_is_well() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\npids = 2\ndisk = \"1MiB\"\nmemory = \"16MiB\"\ncode = 'echo hi'\n",
    );
    assert_eq!(place.run(&[]).exits(0).outcome("a"), "ok");
}

#[test]
fn more_disk_than_memory_is_on_disk() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nmemory = \"64MiB\"\ndisk = \"256MiB\"\noutputs = { x = \"file\" }\n\
         code = 'head -c 150M /dev/zero > $OUT/x'\n\
         [cells.b]\nlang = \"sh\"\nmemory = \"64MiB\"\ndisk = \"100MiB\"\n\
         code = 'for i in 1 2 3 4 5 6 7 8; do head -c 20M /dev/zero > f$i || exit 1; sleep 0.1; done'\n\
         [cells.c]\nlang = \"sh\"\nmemory = \"64MiB\"\ncode = 'echo hi'\n",
    );
    let run = place.run(&["-k"]);
    assert_eq!(run.told(), "a ok, b disk_exceeded, c ok", "{}", run.stderr);
    assert_eq!(std::fs::metadata(run.path("a", "x")).unwrap().len(), 150 << 20);
    // The default is no reason to leave memory.
    assert_eq!(run.level("c", "disk"), "full");
    let left = std::fs::read_dir(place.store().join("cells")).unwrap().count();
    assert_eq!(left, 0);
}

/// Cell, limit, value, code, outcome: each is told with the limit, the peak and the line of the flow file that sets it.
const EACH: &[(&str, &str, &str, &str, &str)] = &[
    ("wall", "timeout", "\"300ms\"", "sleep 30", "timed_out"),
    ("cpu", "cpu_time", "\"200ms\"", "while :; do :; done", "cpu_exceeded"),
    (
        "memory",
        "memory",
        "\"32MiB\"",
        "head -c 90M /dev/zero | tail -c 80M | wc -c",
        "out_of_memory",
    ),
    ("pids", "pids", "5", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait", "pids_exceeded"),
    ("disk", "disk", "\"1MiB\"", "set -e; head -c 3M /dev/zero > f", "disk_exceeded"),
    ("inodes", "inodes", "50", "set -e; for i in $(seq 200); do : > f$i; done", "disk_exceeded"),
    ("output", "output_limit", "\"10KiB\"", "head -c 5M /dev/zero; sleep 9", "output_exceeded"),
    ("many", "artifacts", "1", "echo > $OUT/a; echo > $OUT/b", "artifacts_exceeded"),
    (
        "large",
        "artifact_size",
        "\"1KiB\"",
        "head -c 5000 /dev/zero > $OUT/a; : > $OUT/b",
        "artifacts_exceeded",
    ),
];

#[test]
fn each_limit_is_told_with_its_peak_and_its_line() {
    let mut flow = String::new();
    for (cell, key, value, code, outcome) in EACH {
        let outputs = match *outcome {
            "artifacts_exceeded" => "outputs = { a = \"file\", b = \"file\" }\n",
            _ => "",
        };
        flow.push_str(&format!(
            "[cells.{cell}]\nlang = \"sh\"\n{key} = {value}\n{outputs}code = '''\n{code}\n'''\n"
        ));
    }
    let place = Place::flow(&flow);
    let run = place.run(&["-k"]).exits(1);
    let counted = run.level("pids", "processes") == "full";
    for (cell, key, _, _, outcome) in EACH {
        if *cell == "pids" && !counted {
            continue;
        }
        assert_eq!(run.outcome(cell), *outcome, "{cell}: {}", run.messages(cell));
        let limit = &run.cell(cell)["limit"];
        assert_eq!(limit["name"], *key, "{cell}: {limit}");
        let number = |name: &str| limit[name].as_u64().unwrap_or_else(|| panic!("{cell}: {limit}"));
        // The kernel refuses what would be over some of them.
        assert!(number("peak") * 2 > number("limit"), "{cell}: {limit}");
        let found = &run.cell(cell)["diagnostics"][0];
        let line = usize::try_from(found["line"].as_u64().unwrap()).unwrap();
        assert_eq!(found["file"], "polyloom.toml");
        assert!(flow.lines().nth(line - 1).unwrap().starts_with(&format!("{key} = ")), "{found}");
        let hint = format!("raise `{key}` under `[cells.{cell}]`");
        assert!(run.stderr.contains(&hint), "{cell}: {}", run.stderr);
        assert!(found["message"].as_str().unwrap().contains(", peak "), "{found}");
    }
}

#[test]
fn open_files_are_limited_and_told() {
    needs!("python3");
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\nopen_files = 64\ncode = '''\n\
         import time\nheld = []\ntry:\n    while True: held.append(open('/dev/null'))\n\
         except OSError:\n    assert 40 < len(held) < 64\n    time.sleep(0.5)\n    del held[:9]\n    raise\n'''\n\
         [cells.b]\nlang = \"python\"\nopen_files = 3000\ncode = 'held = [open(\"/dev/null\") for _ in range(2500)]'\n",
    );
    let run = place.run(&["-k"]);
    assert_eq!(run.told(), "a files_exceeded, b ok", "{}", run.stderr);
    assert!(run.messages("a").contains("open file limit 64, peak 64"), "{}", run.messages("a"));
}

#[test]
fn a_time_limit_is_a_warning_then_term_then_kill() {
    needs!("python3");
    let place = Place::flow(
        "[defaults]\ntimeout = \"600ms\"\nsoft_timeout = \"200ms\"\ngrace = \"300ms\"\n\
         [cells.deaf]\nlang = \"python\"\ncode = '''\nimport time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass\n'''\n\
         [cells.tidy]\nlang = \"python\"\ncode = '''\nimport time\ntry:\n    time.sleep(9)\nfinally:\n    print(\"tidied up\")\n'''\n\
         [cells.plain]\nlang = \"sh\"\ncode = 'trap \"echo trapped; exit 0\" TERM; sleep 9 & wait'\n",
    );
    let run = place.run(&["-k", "--events", "events.jsonl"]).exits(1);
    let events = place.read("events.jsonl");
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(run.told(), "deaf timed_out, plain timed_out, tidy timed_out", "{}", run.stderr);
    let stages = |cell: &str| -> Vec<String> {
        let events = events.iter();
        let events = events.filter(|event| event["event"] == "limit" && event["cell"] == cell);
        events.map(|event| event["stage"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stages("deaf"), ["warning", "term", "kill"]);
    assert_eq!(stages("tidy"), ["warning", "term"]);
    assert_eq!(stages("plain"), ["warning", "term"]);
    for (cell, words) in [("tidy", "tidied up\n"), ("plain", "trapped\n")] {
        let mut said =
            events.iter().filter(|event| event["event"] == "log" && event["cell"] == cell);
        assert!(said.any(|event| event["text"] == words), "{cell}: {}", run.stderr);
    }
    let wall = run.cell("deaf")["wall_ms"].as_f64().unwrap();
    assert!((900.0..5_000.0).contains(&wall), "{wall}");
    assert!(run.stderr.contains("it takes long"), "{}", run.stderr);
}

#[test]
fn memory_grows_with_each_attempt_that_ran_out_of_it() {
    needs!("python3");
    let flow = |growth: &str| {
        format!(
            "[cells.a]\nlang = \"python\"\nmemory = \"64MiB\"\nretries = 1\n{growth}code = 'x = bytearray(90 << 20)'\n"
        )
    };
    let run = Place::flow(&flow("retry_memory = 3\n")).run(&[]).exits(0);
    assert_eq!(run.outcome("a"), "ok");
    assert_eq!(Place::flow(&flow("")).run(&[]).exits(1).outcome("a"), "out_of_memory");
}

#[test]
fn a_limit_of_the_command_line_has_the_last_word() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ncode = 'sleep 5'\n[cells.b]\nlang = \"sh\"\ncode = 'echo hi'\n",
    );
    let run = place.run(&["-k", "--limit", "a.timeout=200ms", "--limit", "memory=32MiB"]);
    assert_eq!(run.told(), "a timed_out, b ok", "{}", run.stderr);
    for (word, why) in [
        ("timeout", "it has no `=VALUE`"),
        ("c.timeout=1s", "the flow has no cell `c`; it has a, b"),
        ("a.timeuot=1s", "`timeuot` is not a limit; valid: timeout, "),
        ("a.timeout=5", "`5` is not a duration"),
        ("pids=0", "`0` is not a number for `pids`; valid: 1 to 1000000"),
    ] {
        let told = place.polyloom(&["run", "--limit", word]).exits(2).stderr();
        assert!(told.contains(why), "{word}: {told}");
    }
}

#[test]
fn holes_count_as_what_they_would_be() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ndisk = \"16MiB\"\noutputs = { d = \"dir\" }\n\
         code = 'mkdir $OUT/d; for i in 1 2 3; do truncate -s 10M $OUT/d/$i; done'\n",
    );
    let run = place.run(&[]).exits(1);
    assert_eq!(run.outcome("a"), "artifacts_exceeded");
    assert!(run.messages("a").contains("artifact size limit 16 MiB, peak 30 MiB"));
}

#[test]
fn no_grace_outlasts_the_run_or_ctrl_c() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\ngrace = \"1h\"\ntimeout = \"300ms\"\ncode = \"trap '' TERM; while :; do sleep 0.1; done\"\n",
    );
    let began = std::time::Instant::now();
    let run = place.run(&["--timeout", "1s"]).exits(124);
    assert_eq!(run.outcome("a"), "timed_out");
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn what_can_not_be_had_is_said_and_so_is_who_set_it() {
    needs!("prlimit");
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nopen_files = 64\ncode = 'sleep 9'\n");
    let run = place.call_through(
        &["prlimit", "--nofile=4000:4000"],
        &["run", "--format", "json", "--limit", "open_files=5000"],
    );
    let run = run.end().run();
    assert_eq!(run.outcome("a"), "failed", "{}", run.stderr);
    assert!(run.messages("a").contains("ulimit -Hn"), "{}", run.messages("a"));
    let run = place.run(&["--limit", "timeout=100ms"]).exits(1);
    assert!(run.messages("a").contains("(set by `--limit`)"), "{}", run.messages("a"));
    assert!(run.cell("a")["diagnostics"][0]["line"].is_null());
}

#[test]
fn threads_are_as_many_as_a_cells_own_processors() {
    needs!("python3");
    let cell = |name: &str, more: &str| {
        format!(
            "[cells.{name}]\nlang = \"python\"\n{more}outputs = {{ y = \"str\" }}\ncode = '''\nimport os, time\n\
             # Another code in each: neither limits nor names make another result.\n\
             y = '{name}'[:0] + os.environ['OMP_NUM_THREADS'] + time.strftime(' %Z', time.localtime(0))\n'''\n"
        )
    };
    let flow = [
        cell("alone", ""),
        cell("half", "cpus = 1.5\n"),
        // What a flow says goes before what executors and polyloom do.
        cell("own", "cpus = 2\nenv = { OMP_NUM_THREADS = \"7\", TZ = \"XYZ-3\" }\n"),
        cell("second", ""),
    ];
    let place = Place::flow(&flow.concat());
    let run = place.run(&["-j1"]).exits(0);
    for (cell, said) in
        [("alone", "1 UTC"), ("half", "2 UTC"), ("own", "7 XYZ"), ("second", "1 UTC")]
    {
        assert_eq!(&run.bytes(cell, "y")[1..], said.as_bytes(), "{cell}");
    }
}
