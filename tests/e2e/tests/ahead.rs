//! JavaScript cells whose workers were started ahead of them: that they are, that each is as one that was started for its cell, and that ends of all kinds
//! leave the next alone.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use polyloom_test_e2e::{Call, Ended, Place, Running, eventually, is_root, needs, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What the host's log says of each.
const TAKEN: &str = "a worker that was started ahead has its cell";

/// What there is to know of each cell, one after the other, none of them taken from the cache; and the host's log.
struct Told(BTreeMap<String, Value>, String);

impl Told {
    fn of(place: &Place) -> Self {
        let args = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
        Self::by(place.call(&args))
    }

    fn by(call: Call) -> Self {
        Self::ended(&call.env("POLYLOOM_LOG", "debug").end())
    }

    /// What there is to know of the cells that have ended since the call was last listened to.
    fn ended(ended: &Ended) -> Self {
        let out = ended.stdout();
        assert!(!out.is_empty(), "{}", ended.stderr());
        let events = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let finished = events.filter(|event| event["event"] == "step.finished");
        let told = finished.map(|it| (it["cell"].as_str().unwrap().to_owned(), it["meta"].clone()));
        Self(told.collect(), ended.stderr())
    }

    /// Whether there can be some here.
    fn can(&self) -> bool {
        let counted = |name: &str| {
            let rows = self.0.values().filter_map(|meta| meta["enforcement"].as_array()).flatten();
            let mut rows = rows.filter(|row| row["mechanism"] == name);
            rows.any(|row| row["detail"].as_str().is_some_and(|it| it.contains("cgroup v")))
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let can = is_root() && counted("memory") && counted("cpu_time") && processors > 1;
        if !can {
            skip("workers are started ahead as root, with control groups and a processor to spare");
        }
        can
    }

    /// How many cells took one, where there can be some.
    fn took(&self, count: usize) {
        if self.can() {
            assert_eq!(self.1.matches(TAKEN).count(), count, "{}", self.1);
        }
    }

    fn printed(&self, cell: &str) -> String {
        let told = &self.0[cell];
        assert_eq!(told["outcome"], "ok", "{cell}: {told:#}");
        told["stdout"]["text"].as_str().unwrap().to_owned()
    }
}

fn cell(name: &str, keys: &str, code: &str) -> String {
    format!("[cells.{name}]\nlang = \"javascript\"\n{keys}code = '''\n{code}\n'''\n")
}

#[test]
fn a_cell_sees_what_it_sees_in_a_worker_of_its_own() {
    needs!("node");
    let code = r#"
import fs from "node:fs";
const look = {
  env: Object.fromEntries(Object.entries(process.env).sort()), left: globalThis.left ?? null, cwd: process.cwd(), argv: process.argv.slice(2),
  files: ["/cell/in", "/cell/work", "/cell/out", "/tmp"].map((folder) => fs.readdirSync(folder)),
  code: fs.readdirSync("/cell/code").map((name) => [name.replace(/c\d/, "c"), fs.statSync("/cell/code/" + name).uid]),
  user: [process.getuid(), process.getgid()], pid: process.pid, fds: fs.readdirSync("/proc/self/fd").length,
  // The largest file is a little larger with room for the cell's own.
  limits: fs.readFileSync("/proc/self/limits", "utf8").replace(/Max file size.*/, ""), status: /Cap[^]*Seccomp:\t\d/.exec(fs.readFileSync("/proc/self/status", "utf8"))[0],
};
console.log(JSON.stringify(look));
globalThis.left = process.env.LEFT = "left";
for (const folder of ["/cell/work", "/tmp"]) fs.writeFileSync(folder + "/left", "left");
fs.chmodSync("/cell/work", 0o700);
process.umask(0);
"#;
    let random = "console.log(Math.random(), process.env.POLYLOOM_SEED)";
    let mut flow = String::new();
    for at in 0..4 {
        flow += &cell(&format!("c{at}"), "", &format!("{code}//{at}"));
    }
    for at in 0..2 {
        flow += &cell(&format!("r{at}"), "seed = 7\n", &format!("{random}//{at}"));
        flow += &cell(&format!("u{at}"), "", &format!("{random}//{at}"));
    }
    let run = Told::of(&Place::flow(&flow));
    run.took(7);
    let alone = run.printed("c0");
    for at in 1..4 {
        let (name, own) = (format!("c{at}"), format!("\"POLYLOOM_CELL\":\"c{at}\""));
        let seen = run.printed(&name);
        assert!(seen.contains(&own), "{seen}");
        assert_eq!(seen.replace(&own, "\"POLYLOOM_CELL\":\"c0\""), alone);
    }
    assert_eq!(run.printed("r0"), run.printed("r1"));
    assert!(run.printed("r0").ends_with(" 7\n"));
    assert_ne!(run.printed("u0"), run.printed("u1"));
    assert!(run.printed("u0").ends_with(" undefined\n"));
}

#[test]
fn inputs_and_results_are_each_cells_own() {
    needs!("node");
    let mut flow = "[params.n]\ntype = \"int\"\ndefault = 4\n".to_owned();
    flow += &cell(
        "a",
        "outputs = { t = \"tensor<f64,[n]>\", l = \"list<int>\" }\n",
        "const t = new Float64Array(1 << 20).fill(2);\nconst l = [1, 2, 3];",
    );
    let add = "const y = t.data.reduce((a, b) => a + b, 0) + n;";
    flow +=
        &cell("b", "inputs = { t = \"a.t\", n = \"param:n\" }\noutputs = { y = \"float\" }\n", add);
    flow += &cell(
        "c",
        "inputs = { l = \"a.l\", y = \"b.y\" }\noutputs = { z = \"str\" }\n",
        "import fs from 'node:fs';\nconst z = `${l} ${y} ${fs.readdirSync('/cell/in')} ${fs.readFileSync('/cell/in/f.txt')}`;",
    );
    let flow = flow.replace("l = \"a.l\", y", "f = \"file:f.txt\", l = \"a.l\", y");
    let place = Place::flow(&flow);
    place.write("f.txt", "file");
    let run = Told::of(&place);
    run.took(2);
    for name in ["a", "b", "c"] {
        assert_eq!(run.0[name]["outcome"], "ok", "{name}: {:#}", run.0[name]);
    }
    let first = place.run(&["-j1"]).exits(0);
    let z = String::from_utf8_lossy(&first.bytes("c", "z")).into_owned();
    assert!(z.ends_with("1,2,3 2097156 f.txt,l.msgpack,y.msgpack file"), "{z}");
    assert_eq!(place.run(&[]).ran(), Vec::<String>::new(), "and all of them are kept");
}

#[test]
fn ends_of_all_kinds_are_told_as_ever() {
    needs!("node");
    let cells = [
        ("a", "console.log('fine')", "ok"),
        ("b", "throw new TypeError('no')", "failed"),
        ("c", "process.exit(3)", "failed"),
        (
            "d",
            "process.kill(process.pid, 'SIGSEGV'); await new Promise(() => setTimeout(() => {}, 5000))",
            "killed",
        ),
        (
            "e",
            "(await import('node:child_process')).spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }).unref()",
            "ok",
        ),
        ("f", "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))", "out_of_memory"),
        ("g", "for (;;);", "timed_out"),
        (
            "h",
            // A full pipe is an error there.
            "for (;;) try { (await import('node:fs')).writeSync(1, 'x'.repeat(9999)) } catch {}",
            "output_exceeded",
        ),
        ("i", "console.log('fine')\n//", "ok"),
    ];
    let mut flow =
        "[defaults]\nmemory = \"192MiB\"\ntimeout = \"4s\"\noutput_limit = \"1MiB\"\n".to_owned();
    for (name, code, _) in &cells {
        flow += &cell(name, "", code);
    }
    let run = Told::of(&Place::flow(&flow));
    for (name, _, outcome) in &cells {
        assert_eq!(run.0[*name]["outcome"], *outcome, "{name}: {:#}", run.0[*name]);
    }
    run.took(cells.len() - 1);
    assert_eq!((run.printed("a"), run.printed("i")), ("fine\n".into(), "fine\n".into()));
    assert_eq!(run.0["c"]["exit_code"], 3);
    assert_eq!(run.0["d"]["signal"], 11);
    assert!(run.0["b"]["stderr"]["text"].as_str().unwrap().contains("TypeError: no"));
    // Its start is in its time, whoever else had a use for it.
    assert!(run.0["i"]["cpu_ms"].as_f64().unwrap() > 5.0);
}

#[test]
fn none_is_started_that_no_cell_can_take() {
    needs!("node");
    let flow = cell("a", "", "console.log(1)")
        + &cell("b", "env = { A = \"b\" }\n", "console.log(process.env.A)")
        + &cell("c", "timeout = \"7s\"\n", "console.log(3)");
    let run = Told::of(&Place::flow(&flow));
    assert_eq!(run.printed("b"), "b\n");
    assert_eq!(run.printed("c"), "3\n");
    run.took(0);
    assert!(!run.1.contains("is started ahead"), "{}", run.1);
}

#[test]
fn those_of_a_plugin_that_says_so_are_started_ahead() {
    needs!("node");
    let mut flow = String::new();
    for at in 0..4 {
        flow += &format!("[cells.c{at}]\nlang = \"mine\"\ncode = 'say {at}'\n");
    }
    let place = Place::flow(&flow);
    let begun = ["plugin", "new", "mine", "--lang", "javascript"];
    let _ = place.call(&begun).cwd(place.executors()).end().exits(0);
    let manifest = place.executors().join("mine/executor.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("{dir}") && text.contains("[worker]\n"), "{text}");
    std::fs::write(&manifest, text.replace("[worker]\n", "[worker]\nahead = true\n")).unwrap();
    let run = Told::of(&place);
    run.took(3);
    for at in 0..4 {
        assert_eq!(run.printed(&format!("c{at}")), format!("{at}\n"));
    }
    // What stands in the way is told.
    let own = flow.replace("code =", "env = { A = \"b\" }\ncode =");
    place.write("polyloom.toml", own);
    let run = Told::of(&place);
    run.took(0);
    assert!(run.1.contains("the cell has an environment of its own"), "{}", run.1);
}

fn java(name: &str, keys: &str, code: &str) -> String {
    let code = code.replace("MAIN", "public static void main(String[] args) throws Exception");
    format!("[cells.{name}]\nlang = \"java\"\n{keys}code = '''\n{code}\n'''\n")
}

/// A run of what an earlier one has compiled: compilers have the processors to themselves there.
fn compiled(place: &Place) -> Told {
    drop(place.call(&["run", "--no-cache", "-j1", "-k"]).end());
    Told::of(place)
}

#[test]
fn a_java_cell_sees_what_it_sees_in_a_machine_of_its_own() {
    needs!("java", "javac");
    let code = r#"
import java.io.*;
import java.nio.file.*;
import java.util.*;
class Case {
  static String[] names(String folder) { String[] all = new File(folder).list(); Arrays.sort(all); return all; }
  static int deep(int n) { try { return deep(n + 1); } catch (StackOverflowError e) { return n; } }
  MAIN {
    System.out.println(new TreeMap<>(System.getenv()));
    System.out.println(Arrays.toString(args) + args[1].length() + System.in.read());
    var own = new TreeMap<String, Object>();
    for (Object name : System.getProperties().keySet()) own.put("" + name, System.getProperty("" + name));
    System.out.println(own);
    for (String folder : new String[] {"/cell", "/cell/in", "/cell/work", "/cell/out", "/tmp", "/cell/program"}) System.out.println(folder + Arrays.toString(names(folder)));
    System.out.println(Files.getAttribute(Path.of("/cell/code"), "unix:uid") + Case.class.getProtectionDomain().getCodeSource().getLocation().toString() + Case.class.getClassLoader().getName());
    System.out.println(Files.readString(Path.of("/proc/self/limits")).replaceAll("Max file size.*", ""));
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) if (line.matches("(Cap|Sig|Seccomp|NoNew|Uid|Gid|Groups|Pid).*")) System.out.println(line);
    for (StackTraceElement frame : Thread.currentThread().getStackTrace()) System.out.println(frame);
    var threads = new TreeSet<String>();
    for (Thread thread : Thread.getAllStackTraces().keySet()) threads.add(thread.getName() + thread.isDaemon() + thread.getThreadGroup().getName());
    System.out.println(threads);
    int depth = deep(0);
    System.out.println(depth > 5000 && depth < 100000);
    System.out.flush();
    new ProcessBuilder("sh", "-c", "env | sort; ls /proc/self/fd; cat; trap '' PIPE; kill -PIPE $$; echo none").inheritIO().start().waitFor();
    for (String folder : new String[] {"/cell/work", "/tmp"}) Files.writeString(Path.of(folder, "left"), "left");
    System.setProperty("left", "left");
    new File("/cell/work").setWritable(false);
  }
}
"#;
    let mut flow = String::new();
    for at in 0..4 {
        let keys = format!("argv = [\"{at}\", \"ü 🌍\", \"\"]\n");
        flow += &java(&format!("c{at}"), &keys, &format!("{code}//{at}"));
    }
    let run = compiled(&Place::flow(&flow));
    run.took(3);
    let alone = run.printed("c0");
    assert!(alone.contains("sun.java.command=Case 0 ü 🌍"), "{alone}");
    for at in 1..4 {
        let name = format!("c{at}");
        let seen = run.printed(&name).replace(&name, "c0");
        let seen =
            seen.replace(&format!("[{at}, "), "[0, ").replace(&format!("Case {at} "), "Case 0 ");
        assert_eq!(seen, alone);
    }
}

#[test]
fn ends_of_all_kinds_of_java_cells_are_told_as_ever() {
    needs!("java", "javac");
    let cells = [
        ("a", "class A { MAIN { System.out.println(\"fine\"); } }", "ok"),
        (
            "b",
            "class A { MAIN {\n throw new IllegalStateException(\"no\", new Exception(\"why\")); } }",
            "failed",
        ),
        (
            "c",
            "class A { MAIN { Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println(\"hook\"))); System.exit(3); } }",
            "failed",
        ),
        (
            "d",
            "class A { MAIN { new ProcessBuilder(\"sh\", \"-c\", \"kill -9 $PPID\").start(); Thread.sleep(5000); } }",
            "killed",
        ),
        ("e", "class A { MAIN { new ProcessBuilder(\"sleep\", \"1000\").start(); } }", "ok"),
        (
            "f",
            "class A { MAIN { var all = new java.util.ArrayList<byte[]>(); for (;;) { byte[] b = new byte[1 << 20]; java.util.Arrays.fill(b, (byte) 1); all.add(b); } } }",
            "out_of_memory",
        ),
        ("g", "class A { MAIN { for (;;); } }", "timed_out"),
        (
            "h",
            "class A { MAIN { for (;;) System.out.println(\"x\".repeat(9999)); } }",
            "output_exceeded",
        ),
        (
            "i",
            "class A { MAIN { var t = new Thread(() -> { try { Thread.sleep(300); } catch (Exception e) {} System.out.println(\"last\"); throw new RuntimeException(\"no\"); }); t.start(); var d = new Thread(() -> { for (;;); }); d.setDaemon(true); d.start(); } }",
            "ok",
        ),
        ("j", "class A { static { if (true) throw new Error(\"no\"); } MAIN { } }", "failed"),
        ("k", "class A { void main() { } }//", "failed"),
        (
            "l",
            "class A { MAIN { try (var say = new java.io.FileOutputStream(\"/proc/self/fd/3\")) { say.write(\"log info told\\n\".getBytes()); } } }",
            "ok",
        ),
        ("m", "class A { MAIN { System.out.println(\"fine\"); } }//", "ok"),
    ];
    let mut flow =
        "[defaults]\nmemory = \"192MiB\"\ntimeout = \"4s\"\noutput_limit = \"1MiB\"\n".to_owned();
    for (name, code, _) in &cells {
        flow += &java(name, "", code);
    }
    // Each once in a machine of its own, and once in one that waited.
    let own = "lang = \"java\"\nenv = { A = \"b\" }\n";
    let place = Place::flow(&flow.replace("lang = \"java\"\n", own));
    let alone = Told::of(&place);
    place.write("polyloom.toml", flow);
    let run = Told::of(&place);
    run.took(cells.len() - 1);
    alone.took(0);
    for (name, _, outcome) in &cells {
        let (meta, own) = (&run.0[*name], &alone.0[*name]);
        // Whether there may be such a `main` is the JDK's matter.
        if *name != "k" {
            assert_eq!(meta["outcome"], *outcome, "{name}: {meta:#}");
        }
        for field in ["outcome", "exit_code", "signal"] {
            assert_eq!(meta[field], own[field], "{name}: {meta:#} {own:#}");
        }
        if !["g", "h"].contains(name) {
            assert_eq!(meta["stdout"]["text"], own["stdout"]["text"], "{name}");
            assert_eq!(meta["stderr"]["text"], own["stderr"]["text"], "{name}");
            let told = |meta: &Value| meta["diagnostics"][0]["message"].clone();
            assert_eq!(told(meta), told(own), "{name}");
        }
    }
    assert_eq!((run.printed("a"), run.printed("m")), ("fine\n".into(), "fine\n".into()));
    let thrown = "java.lang.IllegalStateException: no\n\tat A.main(A.java:2)";
    assert_eq!(run.0["b"]["diagnostics"][0]["message"], thrown);
    assert_eq!(run.0["c"]["exit_code"], 3);
}

#[test]
fn java_cells_that_need_more_than_is_told_have_a_machine_of_their_own() {
    needs!("java", "javac");
    let code =
        "class Case { MAIN { System.out.println(System.getenv(\"A\") + System.in.read()); } }";
    let env = "env = { A = \"b\" }\n";
    let flow = java("a", "", code) + &java("b", env, code) + &java("c", "stdin = \"x\"\n", code);
    // What is no class has nothing to be told of but that.
    let flow = flow + &java("d", "", "//");
    let run = compiled(&Place::flow(&flow));
    run.took(1);
    let told = [("a", "null-1\n"), ("b", "b-1\n"), ("c", "null120\n")];
    for (name, told) in told {
        assert_eq!(run.printed(name), told);
    }
    let told = run.0["d"]["stderr"]["text"].as_str().unwrap();
    assert!(told.starts_with("Usage: java "), "{told}");
}

/// What no text decides, but what a machine has done before: identity hash codes and what is ordered by them, of `main` and of threads, after work enough for
/// the compiler. And the program as it sees itself.
const UNDECIDED: &str = r#"
import java.util.*;
import java.util.stream.*;
class Case {
  enum Color { RED, GREEN, BLUE, BLACK, WHITE, CYAN }
  record Pair(Color color, int n) {}
  MAIN {
    var all = new HashMap<Color, Integer>();
    for (Color it : Color.values()) all.put(it, it.ordinal());
    System.out.println(new Object() + " " + all);
    System.out.println(new HashSet<Class<?>>(List.of(String.class, Integer.class, Long.class, Case.class, List.class)));
    System.out.println(Arrays.stream(Color.values()).map(it -> new Pair(it, 1)).collect(Collectors.toSet()));
    long sum = 0;
    for (int at = 0; at < 1000000; at++) sum += Integer.toString(at).hashCode();
    for (int at = 0; at < 4; at++) {
      var thread = new Thread(() -> System.out.println(new Object() + " " + new HashSet<>(List.of(Color.values()))));
      thread.start();
      thread.join();
      System.out.println(thread.hashCode() + sum);
    }
    var own = ProcessHandle.current().info();
    System.out.println(own.command().get() + Arrays.toString(own.arguments().get()));
  }
}
"#;

#[test]
fn what_java_leaves_open_is_the_same_however_a_cell_starts() {
    needs!("java", "javac");
    let mut flow = String::new();
    for (at, keys) in
        ["", "", "stdin = \"x\"\n", "", "env = { A = \"b\" }\n", ""].iter().enumerate()
    {
        flow += &java(&format!("c{at}"), keys, UNDECIDED);
    }
    let place = Place::flow(&flow);
    let run = compiled(&place);
    run.took(3);
    let first = run.printed("c0");
    assert!(first.contains("CYAN=5"), "{first}");
    for run in [run, Told::of(&place), Told::of(&place)] {
        for at in 0..6 {
            assert_eq!(run.printed(&format!("c{at}")), first, "c{at}");
        }
    }
}

#[test]
fn a_java_cell_starts_itself_again_by_what_it_sees_of_itself() {
    needs!("java", "javac");
    let code = r#"
import java.util.*;
class Case {
  MAIN {
    if (System.getenv("AGAIN") != null) { System.out.println("again " + args.length); return; }
    var own = ProcessHandle.current().info();
    var words = new ArrayList<>(List.of(own.command().get()));
    words.addAll(List.of(own.arguments().get()));
    var again = new ProcessBuilder(words).inheritIO();
    again.environment().put("AGAIN", "1");
    System.exit(again.start().waitFor());
  }
}
"#;
    let flow = java("a", "", code) + &java("b", "", code) + &java("c", "", code);
    let run = compiled(&Place::flow(&flow));
    run.took(2);
    for cell in ["a", "b", "c"] {
        assert_eq!(run.printed(cell), "again 0\n");
    }
}

#[test]
fn where_no_machine_can_be_made_both_ways_are_the_program_java() {
    needs!("java", "javac");
    let code = "class Case { MAIN { System.out.println(ProcessHandle.current().info().command().get() + args[0]); } }";
    let flow = java("a", "argv = [\"ü 1\"]\n", code) + &java("b", "argv = [\"ü 1\"]\n", code);
    let place = Place::flow(&flow);
    for name in ["java", "javac"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        let path = format!("jdk/bin/{name}");
        place.write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", found.trim()));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.project().join(path), mode).unwrap();
    }
    let home = place.project().join("jdk");
    let args = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
    for _ in 0..2 {
        let run = Told::by(place.call(&args).env("JAVA_HOME", &home));
        run.took(0);
        for cell in ["a", "b"] {
            let told = run.printed(cell);
            assert!(told.ends_with("/bin/javaü 1\n"), "{told}");
        }
    }
}

#[test]
fn a_java_cell_that_is_compiled_has_a_machine_that_was_started_meanwhile() {
    needs!("java", "javac");
    let code = "class Case { MAIN { System.out.println(System.in.read()); } }";
    let place = Place::flow(&java("a", "", &format!("{code}//once")));
    // Beside the first, the archive of the compiler is made: no processor is free.
    drop(Told::of(&place));
    place.write("polyloom.toml", java("a", "", code));
    let run = Told::of(&place);
    run.took(1);
    assert_eq!(run.printed("a"), "-1\n");
    let run = Told::of(&place);
    run.took(0);
    assert_eq!(run.printed("a"), "-1\n");
    // One that takes none is not given one, and none is started for what does not compile but by those after it.
    place.write("polyloom.toml", java("a", "stdin = \"x\"\n", &format!("{code}//")));
    let run = Told::of(&place);
    assert_eq!(run.printed("a"), "120\n");
    assert!(!run.1.contains("is started ahead"), "{}", run.1);
    place.write("polyloom.toml", java("a", "", "class Case {"));
    let run = Told::of(&place);
    run.took(0);
    assert_eq!(run.0["a"]["outcome"], "failed");
}

/// Any program that is told its cell: this one becomes what the cell would have been started as.
const TOLD: &str = r#"
import os, sys
HOW
data = sys.stdin.buffer.read().split(b"\0")[:-1]
count = int(data[0])
argv, env = data[1 : count + 1], dict(pair.split(b"=", 1) for pair in data[count + 1 :])
os.execve(argv[0], argv, env)
"#;

#[test]
fn a_command_of_a_plugin_is_told_its_cell_or_left_alone() {
    needs!("python3");
    let mut flow = "[params.n]\ntype = \"int\"\ndefault = 4\n".to_owned();
    for at in 0..4 {
        flow += &format!(
            "[cells.c{at}]\nlang = \"mine\"\nargv = [\"ü {at}\", \"\"]\ninputs = {{ n = \"param:n\" }}\ncode = 'import os, sys; print(sys.argv[1:], os.environ[\"n\"], os.environ[\"POLYLOOM_CELL\"], os.environ[\"POLYLOOM_SAY\"], ascii(sys.stdin.read()))'\n"
        );
    }
    let place = Place::flow(&flow);
    let manifest = "id = \"mine\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"mine\"]\n[toolchain.python]\nany = [\"python3\"]\n[run]\nargv = [\"{python}\", \"{code}\", \"{args}\"]\nahead = [\"{python}\", \"{dir}/told.py\"]\n";
    place.executor("mine", manifest);
    let as_ever = |how: &str, count: usize| {
        std::fs::write(place.executors().join("mine/told.py"), TOLD.replace("HOW", how)).unwrap();
        let run = Told::of(&place);
        run.took(count);
        for at in 0..4 {
            let told = format!("['ü {at}', ''] 4 c{at} 3 ''\n");
            assert_eq!(run.printed(&format!("c{at}")), told, "{how}");
        }
    };
    as_ever("os.write(3, b'ready\\n')", 3);
    // One that ends, and one that says something else.
    as_ever("sys.exit()", 0);
    as_ever("os.write(3, b'log info early\\n')", 0);
}

/// Cells of a plugin whose program, started ahead of them, does this; each has its argument, and takes what it takes to end.
fn plugin(how: &str, args: &[&str], seconds: f64) -> Place {
    let mut flow = String::new();
    for (at, arg) in args.iter().enumerate() {
        flow += &format!(
            "[cells.c{at}]\nlang = \"mine\"\nargv = [\"{arg}\"]\ncode = 'import sys, time; time.sleep({seconds}); print(len(sys.argv[1]))'\n"
        );
    }
    let place = Place::flow(&flow);
    let manifest = "id = \"mine\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"mine\"]\n[toolchain.python]\nany = [\"python3\"]\n[run]\nargv = [\"{python}\", \"{code}\", \"{args}\"]\nahead = [\"{python}\", \"{dir}/told.py\"]\n";
    place.executor("mine", manifest);
    std::fs::write(place.executors().join("mine/told.py"), TOLD.replace("HOW", how)).unwrap();
    place
}

#[test]
fn who_never_says_that_it_is_ready_is_waited_for_once() {
    needs!("python3");
    let run = Told::of(&plugin("import time; time.sleep(60)", &["a"; 4], 0.1));
    run.took(0);
    let waited: Vec<f64> = (0..4).map(|at| prepared(&run.0[&format!("c{at}")])).collect();
    let long = waited.iter().filter(|ms| **ms > 1900.0).count();
    // Where none can be started ahead, none is waited for.
    let late = run.1.matches("a worker that is started ahead is late").count();
    assert_eq!(long, late, "{waited:?}\n{}", run.1);
    assert!(late <= 1, "{}", run.1);
    for at in 0..4 {
        assert_eq!(run.printed(&format!("c{at}")), "1\n");
    }
}

fn prepared(meta: &Value) -> f64 {
    meta["times"]["prepare_ms"].as_f64().unwrap()
}

#[test]
fn who_takes_no_cell_is_started_once() {
    needs!("python3");
    // It ends when it is waiting, or no longer listens.
    for how in [
        "os.write(3, b'ready\\n'); sys.exit()",
        "os.close(0); os.write(3, b'ready\\n'); import time; time.sleep(60)",
    ] {
        let run = Told::of(&plugin(how, &["a"; 4], 0.5));
        run.took(0);
        let started = run.1.matches("a worker is started ahead").count();
        let told = run.1.matches("no other is started in this run").count();
        assert_eq!(told, started.min(1), "{how}: {}", run.1);
        assert!(started <= 2, "{how}: {}", run.1);
        for at in 0..4 {
            assert_eq!(run.printed(&format!("c{at}")), "1\n", "{how}");
        }
    }
}

#[test]
fn a_cell_of_which_there_is_too_much_to_tell_starts_by_itself() {
    needs!("python3");
    let long = "x".repeat(70_000);
    let run = Told::of(&plugin("os.write(3, b'ready\\n')", &["a", &long, "b", "c"], 0.0));
    run.took(2);
    assert_eq!(run.printed("c1"), "70000\n");
    assert_eq!(run.printed("c3"), "1\n");
}

/// Java machines of a run: one that waits for its cell, or else that of a cell.
fn machine(run: &Running, waits: bool) -> Option<Pid> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let read = |pid: i32, file: &str| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default())
            .into_owned()
    };
    let parent =
        |pid: i32| read(pid, "status").split_once("PPid:\t")?.1.lines().next()?.parse::<i32>().ok();
    let own = |pid: i32| {
        let line = std::iter::successors(Some(pid), |pid| parent(*pid).filter(|it| *it > 1));
        line.into_iter().any(|it| it.unsigned_abs() == run.pid())
    };
    let fits = |pid: &i32| {
        read(*pid, "cmdline").contains("\0__executor\0java\0")
            && read(*pid, "environ").contains("POLYLOOM_AHEAD=") == waits
            && own(*pid)
    };
    numbers.filter(|it| *it > 1).find(fits).and_then(Pid::from_raw)
}

#[test]
fn a_java_machine_that_is_killed_while_it_waits_costs_no_cell() {
    needs!("java", "javac");
    let code = "class Case { MAIN { System.out.println(\"up\"); if (args.length > 0) Thread.sleep(50000); } }";
    let flow = |keys| {
        let cells = java("a", keys, code) + &java("b", "", code) + &java("c", "", code);
        format!("[defaults]\ntimeout = \"60s\"\n{cells}")
    };
    let place = Place::flow(&flow(""));
    let can = Told::of(&place).can();
    place.write("polyloom.toml", flow("argv = [\"held\"]\n"));
    let args = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
    let mut run = place.call(&args).env("POLYLOOM_LOG", "debug").start();
    run.until_printed("a", "up");
    if can {
        assert!(eventually(Duration::from_secs(20), || machine(&run, true).is_some()));
        kill_process(machine(&run, true).unwrap(), Signal::KILL).unwrap();
        // One that is still ending may be given a cell.
        assert!(eventually(Duration::from_secs(20), || machine(&run, true).is_none()));
    }
    kill_process(machine(&run, false).unwrap(), Signal::KILL).unwrap();
    let run = Told::ended(&run.end());
    assert_eq!(run.0["a"]["outcome"], "killed");
    assert_eq!((run.printed("b"), run.printed("c")), ("up\n".into(), "up\n".into()));
    assert_eq!(run.1.matches(TAKEN).count(), 0, "{}", run.1);
}
