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
