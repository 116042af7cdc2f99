//! WebAssembly cells that come one after the other out of a runner which was started once, as instances in its process where they have a program in common, and as
//! forks of it where not: that they do, end as ever, and can tell nothing of each other.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;

use polyloom_test_e2e::{Place, is_root, skip};
use serde_json::Value;

/// How cells come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// In one process.
    Instances,
    /// Each of a program of its own: copies of one process.
    Forks,
}

impl Made {
    /// What the host's log says of it.
    fn log(self) -> &'static str {
        match self {
            Self::Instances => "instances are made in one process",
            Self::Forks => "a zygote waits for cells",
        }
    }

    /// The code of a cell: the same program for all, or one for each.
    fn code(self, name: &str, code: &str) -> String {
        match (self, code.rsplit_once(')')) {
            (Self::Forks, Some((body, _))) => {
                format!("{body}\n(data (i32.const 65000) \"{name}\"))")
            }
            (Self::Instances | Self::Forks, _) => code.to_owned(),
        }
    }
}

/// Prints what there is of an earlier cell, and leaves what there would be: a byte of its memory, a file in each folder, one more descriptor.
const LOOK: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $made (mut i32) (i32.const 0))
  (data (i32.const 100) "left")
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $letter (param $number i32)
    (i32.store8 (i32.const 64) (i32.add (i32.const 97) (i32.rem_u (local.get $number) (i32.const 26))))
    (call $print (i32.const 64) (i32.const 1)))
  ;; The errno of making a file anew: 0, or 20 where it is there.
  (func $leave (param $folder i32)
    (call $letter (call $open (local.get $folder) (i32.const 0) (i32.const 100) (i32.const 4)
      (i32.const 5) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 72))))
  (func (export "_start") (local $fd i32) (local $at i32)
    (call $letter (i32.load8_u (i32.const 70000)))
    (call $letter (global.get $made))
    (i32.store8 (i32.const 70000) (i32.const 7)) (global.set $made (i32.const 7))
    (call $leave (i32.const 3)) (call $leave (i32.const 6))
    (loop $count
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $count (i32.eqz (call $stat (local.get $fd) (i32.const 200)))))
    (call $letter (local.get $fd))
    (i32.store8 (i32.const 65) (i32.const 32)) (call $print (i32.const 65) (i32.const 1))
    (drop (call $random (i32.const 300) (i32.const 16)))
    (loop $each
      (call $letter (i32.load8_u (i32.add (i32.const 300) (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $each (i32.lt_u (local.get $at) (i32.const 16))))
    (call $print (i32.const 65) (i32.const 1))
    (drop (call $sizes (i32.const 400) (i32.const 404)))
    (drop (call $environ (i32.const 1000) (i32.const 20000)))
    (call $print (i32.const 20000) (i32.load (i32.const 404)))))"#;

/// A module whose start does this.
fn does(body: &str) -> String {
    format!(
        "(module\n(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))\n\
         (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))\n\
         (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))\n\
         (memory (export \"memory\") 1)\n(data (i32.const 16) \"fine\\n\")\n\
         (func $fine (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 5))\n\
         (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))\n\
         (func $again (call $again) (call $again))\n(func (export \"_start\") {body}))"
    )
}

/// What there is to know of each cell, one after the other, none of them taken from the cache; and the host's log.
struct Told(BTreeMap<String, Value>, String);

impl Told {
    fn of(place: &Place, made: Made) -> Self {
        let args = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
        let ended = place.call(&args).env("POLYLOOM_LOG", "debug").end();
        let out = ended.stdout();
        assert!(!out.is_empty(), "{}", ended.stderr());
        let events = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let finished = events.filter(|event| event["event"] == "step.finished");
        let told = finished.map(|it| (it["cell"].as_str().unwrap().to_owned(), it["meta"].clone()));
        let told = Self(told.collect(), ended.stderr());
        told.were(made);
        told
    }

    /// All but the first were made by one runner, where there can be such.
    fn were(&self, made: Made) {
        if made == Made::Instances {
            assert!(self.1.contains(made.log()), "{}", self.1);
            return;
        }
        let counted = |name: &str| {
            let rows = self.0.values().filter_map(|meta| meta["enforcement"].as_array()).flatten();
            let mut rows = rows.filter(|row| row["mechanism"] == name);
            rows.any(|row| row["detail"].as_str().is_some_and(|it| it.contains("cgroup v")))
        };
        if !is_root() || !counted("memory") || !counted("cpu_time") {
            skip("zygotes take root and control groups");
            return;
        }
        assert!(self.1.contains(made.log()), "{}", self.1);
        for failed in ["no sandbox could be made for many cells", "took no cell"] {
            assert!(!self.1.contains(failed), "{}", self.1);
        }
    }

    fn text(&self, cell: &str, stream: &str) -> String {
        self.0[cell][stream]["text"].as_str().unwrap().to_owned()
    }
}

fn cell(name: &str, keys: &str, code: &str) -> String {
    format!("[cells.{name}]\nlang = \"wasm\"\n{keys}code = '''\n{code}\n;; {name}\n'''\n")
}

#[test]
fn nothing_of_an_instance_is_in_the_next() {
    nothing_is_in_the_next(Made::Instances);
}

#[test]
fn nothing_of_a_fork_is_in_the_next() {
    nothing_is_in_the_next(Made::Forks);
}

fn nothing_is_in_the_next(made: Made) {
    let mut flow = "[params.n]\ntype = \"int\"\ndefault = 41\n".to_owned();
    for at in 0..6 {
        let keys = if at == 3 { "inputs = { n = \"param:n\" }\n" } else { "" };
        let name = format!("c{at}");
        flow += &cell(&name, keys, &made.code(&name, LOOK));
    }
    let run = Told::of(&Place::flow(&flow), made);
    let mut seen = Vec::new();
    for at in 0..6 {
        let name = format!("c{at}");
        assert_eq!(run.0[&name]["outcome"], "ok", "{:#}", run.0[&name]);
        let said = run.text(&name, "stdout");
        let (found, rest) = said.split_once(' ').unwrap();
        let (random, environment) = rest.split_once(' ').unwrap();
        // Memory, global, two files, and as many descriptors as the first cell has, which was no fork.
        assert_eq!(found, run.text("c0", "stdout").split(' ').next().unwrap());
        assert!(found.starts_with("aaaa"), "{found}");
        assert!(!seen.contains(&random.to_owned()), "{random}");
        seen.push(random.to_owned());
        let named = |name: &str| environment.split('\0').filter(|it| it.starts_with(name)).count();
        assert!(environment.contains(&format!("POLYLOOM_CELL={name}\0")), "{environment:?}");
        assert_eq!((named("POLYLOOM_CELL="), named("n=")), (1, usize::from(at == 3)));
        assert_eq!(named("POLYLOOM_ZYGOTE"), 0);
    }
}

#[test]
fn ends_of_instances_are_told_as_ever() {
    ends_are_told_as_ever(Made::Instances);
}

#[test]
fn ends_of_forks_are_told_as_ever() {
    ends_are_told_as_ever(Made::Forks);
}

fn ends_are_told_as_ever(made: Made) {
    let fine = does("(call $fine)");
    let wide = r#"(local $at i32)
        (loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (if (i32.lt_u (memory.size) (i32.const 300)) (then unreachable))
        (call $fine)"#;
    let table = "(local $size i32)\n(loop $grow (br_if $grow (i32.ne (table.grow $many (ref.null func) (i32.const 200000)) (i32.const -1))))";
    let full = does(table).replacen("(memory", "(table $many 1 funcref)\n(memory", 1);
    // A clock that is due in an hour.
    let asleep = "(i64.store (i32.const 64) (i64.const 0)) (i32.store (i32.const 80) (i32.const 1))\n\
        (i64.store (i32.const 88) (i64.const 3600000000000)) (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 0)))";
    let cells = [
        ("a", "", fine.clone(), "ok", 0),
        ("b", "", fine.clone(), "ok", 0),
        ("c", "", does("unreachable"), "failed", 65),
        ("d", "", does("(call $exit (i32.const 3))"), "failed", 3),
        ("e", "", does("(call $again)"), "failed", 65),
        ("f", "timeout = \"500ms\"\n", does("(loop $on (br $on))"), "timed_out", -1),
        ("g", "timeout = \"500ms\"\n", does(asleep), "timed_out", -1),
        (
            "h",
            "output_limit = \"1MiB\"\n",
            does("(loop $on (call $fine) (br $on))"),
            "output_exceeded",
            -1,
        ),
        ("i", "", does(wide), "ok", 0),
        ("j", "", full, "out_of_memory", -1),
        ("k", "", fine.clone(), "ok", 0),
        ("l", "argv = [\"x\"]\n", fine.clone(), "ok", 0),
        ("m", "env = { A = \"b\" }\n", fine, "ok", 0),
    ];
    // The second of a program is one in a process that can make more of them.
    let rounds = if made == Made::Instances { 2 } else { 1 };
    let mut flow = "[defaults]\nmemory = \"32MiB\"\n".to_owned();
    for round in 0..rounds {
        for (name, keys, code, ..) in &cells {
            let name = format!("{name}{round}");
            flow += &cell(&name, keys, &made.code(&name, code));
        }
    }
    let run = Told::of(&Place::flow(&flow), made);
    for (round, (name, _, code, outcome, exit)) in
        (0..rounds).flat_map(|round| cells.iter().map(move |cell| (round, cell)))
    {
        let name = format!("{name}{round}");
        let told = &run.0[&name];
        assert_eq!(told["outcome"], *outcome, "{name}: {told:#}");
        if *exit >= 0 {
            assert_eq!(told["exit_code"].as_i64(), Some(*exit), "{name}: {told:#}");
        }
        if *outcome == "ok" {
            assert_eq!(run.text(&name, "stdout"), "fine\n", "{name} {code}");
        }
        // What is said of a cell is the same, whichever way it came to be; whether one whose time is over says something of it is a matter of luck.
        let first = &run.0[&format!("{}0", &name[..1])];
        if *exit >= 0 {
            assert_eq!(said(told), said(first), "{name}");
            assert_eq!(told["stderr"]["text"], first["stderr"]["text"], "{name}");
        }
    }
    assert!(run.text("c0", "stderr").contains("wasm trap: wasm `unreachable`"));
    assert!(run.text("e0", "stderr").contains("call stack exhausted"));
}

/// The messages of a cell's diagnostics.
fn said(meta: &Value) -> Vec<&str> {
    let all = meta["diagnostics"].as_array().unwrap().iter();
    all.map(|it| it["message"].as_str().unwrap()).collect()
}

/// What an instance's memories and tables grow by is not in the next one, whether they lie in places that are used over and over (few of them) or not
/// (more than there are places).
#[test]
fn what_an_instance_grew_by_is_gone() {
    for memories in [1, 20] {
        let more = "(memory 1 100)\n".repeat(memories - 1);
        let code = format!(
            r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  {more}
  (table $table 2 funcref) (elem declare func $print)
  (func $print (param $number i32)
    (i32.store8 (i32.const 64) (i32.add (i32.const 97) (local.get $number)))
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $print (i32.sub (memory.size) (i32.const 1)))
    (call $print (i32.sub (table.size $table) (i32.const 2)))
    (call $print (i32.sub (i32.const 1) (ref.is_null (table.get $table (i32.const 1)))))
    (call $print (memory.grow (i32.const 1600))) (call $print (table.grow $table (ref.null func) (i32.const 3)))
    (call $print (i32.load8_u (i32.const 100000000)))
    (call $print (i32.sub (i32.const 1) (ref.is_null (table.get $table (i32.const 4)))))
    (i32.store8 (i32.const 100000000) (i32.const 7))
    (table.set $table (i32.const 1) (ref.func $print)) (table.set $table (i32.const 4) (ref.func $print))
    ;; No more than the cell may have.
    (call $print (i32.add (memory.grow (i32.const 10000)) (i32.const 1)))))"#
        );
        let names: Vec<_> = (0..4).map(|at| format!("c{at}")).collect();
        let flow: String =
            names.iter().map(|name| cell(name, "memory = \"256MiB\"\n", &code)).collect();
        let run = Told::of(&Place::flow(&flow), Made::Instances);
        for name in &names {
            assert_eq!(run.0[name]["outcome"], "ok", "{:#}", run.0[name]);
            assert_eq!(run.text(name, "stdout"), "aaabcaaa");
        }
    }
}

#[test]
fn an_instance_that_fails_is_its_process_last() {
    let code = does(
        r#"(drop (call $count (i32.const 32) (i32.const 36))) (call $fine)
        (call $exit (i32.sub (i32.load (i32.const 32)) (i32.const 1)))"#,
    );
    let code = code.replacen(
        "(memory",
        "(import \"wasi_snapshot_preview1\" \"args_sizes_get\" (func $count (param i32 i32) (result i32)))\n(memory",
        1,
    );
    let mut flow = String::new();
    for at in 0..7 {
        let keys = if at == 4 { "argv = [\"x\", \"y\"]\n" } else { "" };
        flow += &cell(&format!("c{at}"), keys, &code);
    }
    let run = Told::of(&Place::flow(&flow), Made::Instances);
    for at in 0..7 {
        let (name, code) = (format!("c{at}"), if at == 4 { 2 } else { 0 });
        assert_eq!(run.0[&name]["exit_code"], code, "{:#}", run.0[&name]);
        assert_eq!(run.text(&name, "stdout"), "fine\n");
    }
    // One for the second cell, one after the cell that failed.
    assert_eq!(run.1.matches(Made::Instances.log()).count(), 2, "{}", run.1);
}

#[test]
fn components_and_results_are_those_of_cells_that_are_started_alone() {
    let component = include_str!("../../../executors/wasm/tests/guests/component.wat");
    let writes = |name: &str| {
        cell(
            name,
            "outputs = { y = \"str\" }\n",
            r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "y") (data (i32.const 32) "made")
  (func (export "_start")
    (if (call $open (i32.const 5) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)) (then unreachable))
    (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 4))
    (drop (call $write (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12)))))"#,
        )
    };
    let mut flow = String::new();
    for name in ["a", "b", "c"] {
        flow += &writes(name);
        flow += &cell(&format!("k{name}"), "", component);
    }
    let place = Place::flow(&flow);
    let run = Told::of(&place, Made::Instances);
    for name in ["ka", "kb", "kc"] {
        assert_eq!(run.0[name]["outcome"], run.0["ka"]["outcome"]);
        assert_eq!(run.text(name, "stdout"), run.text("ka", "stdout"));
    }
    let again = place.run(&["-j1", "-F"]);
    for name in ["a", "b", "c"] {
        assert_eq!(run.0[name]["outcome"], "ok", "{:#}", run.0[name]);
        assert_eq!(again.bytes(name, "y"), b"\xa4made");
    }
}
