//! Large data between cells: mapped from the memory it was written into, never changed by who reads it, on the disk before anything is said.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, Run, missing};

/// A producer of 32 MiB.
const MADE: &str = r#"
[cells.make]
lang = "python"
code = '''
import polyloom
x = polyloom.empty(4 << 20, "f8")
x[0], x[-1] = 1.5, 2.5
'''
outputs = { x = "tensor<f64,[n]>" }
"#;

/// A consumer that says where its input is mounted from, and what is at its ends.
const LOOK: &str = r#"
[cells.NAME]
lang = "python"
inputs = { x = { from = "make.x", type = "tensor<f64,[n]>" } }
code = '''
import os
mount = next(line for line in open("/proc/self/mountinfo") if " /cell/in/x.npy " in line)
root = mount.split()[3]
ends = x[0] + x[-1]
'''
outputs = { root = "str", ends = "float" }
"#;

fn look(name: &str) -> String {
    LOOK.replace("NAME", name)
}

/// Whether a consumer had its input from the memory of its producer: the mount is of a file in there.
#[track_caller]
fn from_memory(run: &Run, cell: &str) -> bool {
    // 1.5 + 2.5, as MessagePack has it.
    assert_eq!(run.bytes(cell, "ends"), b"\xcb\x40\x10\0\0\0\0\0\0", "{}", run.stderr);
    String::from_utf8_lossy(&run.bytes(cell, "root")).ends_with("/out/x.npy")
}

#[test]
fn a_large_output_is_mapped_from_memory_and_then_from_the_store() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(&format!("{MADE}{}{}", look("first"), look("second")));
    let run = place.run(&[]).exits(0);
    for cell in ["first", "second"] {
        assert!(from_memory(&run, cell), "{cell}");
    }
    // What was mapped is what is kept, and another run has it from the disk.
    let kept = run.bytes("make", "x");
    assert_eq!(kept.len(), 128 + (32 << 20));
    let first = look("first");
    place.edit("polyloom.toml", &first, &first.replace("import os", "import os # again"));
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "first ok, make cached, second cached");
    assert!(!from_memory(&run, "first"));
}

#[test]
fn content_that_the_store_has_is_mapped_from_memory_and_damage_to_it_is_mended() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(&format!("{MADE}{}", look("look")));
    let made = place.run(&[]).exits(0).bytes("make", "x");
    let run = place.run(&["--force-all"]).exits(0);
    assert!(from_memory(&run, "look"));
    let blob = run.path("make", "x");
    let mut damaged = made.clone();
    damaged[1 << 20] ^= 1;
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, &damaged).unwrap();
    let run = place.run(&["--force-all"]).exits(0);
    assert!(from_memory(&run, "look"));
    assert!(run.bytes("make", "x") == made, "the store has what was made");
}

#[test]
fn as_much_disk_as_memory_is_memory() {
    if missing(&["python3"]) {
        return;
    }
    let made = MADE.replace("outputs =", "memory = \"1GiB\"\ndisk = \"1GiB\"\noutputs =");
    let place = Place::flow(&format!("{made}{}", look("first")));
    assert!(from_memory(&place.run(&[]).exits(0), "first"));
}

#[test]
fn a_consumer_of_a_large_tensor_takes_no_memory_for_it() {
    if missing(&["python3"]) {
        return;
    }
    let reads = r#"
[cells.read]
lang = "python"
inputs = { x = { from = "make.x", type = "tensor<f64,[n]>" } }
code = 'total = sum(x[::512])'
outputs = { total = "float" }
"#;
    let place = Place::flow(&format!("{MADE}{reads}"));
    let run = place.run(&[]).exits(0);
    if run.level("read", "memory") == "none" {
        return;
    }
    // The pages are the producer's: it took all of them, its consumer none.
    let peak = |cell: &str| run.cell(cell)["peak_memory"].as_u64().unwrap();
    assert!(peak("make") >= 32 << 20, "{}", peak("make"));
    assert!(peak("read") < 32 << 20, "{}", peak("read"));
}

#[test]
fn ends_are_told_in_order_though_consumers_start_before_the_disk_has_all() {
    if missing(&["python3"]) {
        return;
    }
    let place = Place::flow(&format!("{MADE}{}", look("look")));
    let lines = place.polyloom(&["run", ".", "--format", "jsonl"]).exits(0).json_lines();
    let ends: Vec<&str> = lines
        .iter()
        .filter(|line| line["event"] == "step.finished")
        .map(|line| line["cell"].as_str().unwrap())
        .collect();
    assert_eq!(ends, ["make", "look"]);
}

/// Writers to the input `x`, each in its own way; the sibling reads it after all of them.
#[test]
fn a_write_to_an_input_fails_in_the_writer_alone() {
    if missing(&["python3"]) {
        return;
    }
    let mut flow = MADE.to_owned();
    let mut cell = |name: &str, lang: &str, code: &str| {
        flow.push_str(&format!(
            "[cells.{name}]\nlang = \"{lang}\"\ninputs = {{ x = {{ from = \"make.x\", type = \
             \"tensor<f64,[n]>\" }} }}\ncode = '''\n{code}\n'''\n"
        ));
    };
    cell("element", "python", "x[0] = 9.0");
    cell("opened", "python", "import polyloom, os\nopen('/cell/in/x.npy', 'r+b')");
    cell("mode", "python", "import os\nos.chmod('/cell/in/x.npy', 0o666)");
    cell("replaced", "python", "import os\nos.rename('/cell/in/x.npy', '/cell/work/x')");
    cell("shell", "sh", "echo no > \"$x\"");
    let with_c = !missing(&["cc"]);
    if with_c {
        cell(
            "pointer",
            "c",
            "#include <polyloom.h>\nint main(void) {\n  double *x = (double *)(uintptr_t)pl_in_f64(\"x\").data;\n  x[0] = 9;\n  return 0;\n}",
        );
    }
    let with_node = !missing(&["node"]);
    if with_node {
        // The array is the cell's own memory, the file is not.
        cell(
            "script",
            "javascript",
            "import fs from 'node:fs';\nx.data[0] = 9;\nfs.writeFileSync('/cell/in/x.npy', x.data);",
        );
    }
    // It asks for the right to write (64), and ends with the answer.
    cell(
        "guest",
        "wasm",
        r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x.npy")
  (func (export "_start")
    (call $exit (call $open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64)))))"#,
    );
    let place = Place::flow(&format!("{flow}{}", look("sibling")));
    let run = place.run(&["-k"]);
    if with_node {
        assert_eq!(run.outcome("script"), "failed");
        assert!(run.messages("script").contains("EROFS"), "{}", run.messages("script"));
    }
    for name in ["element", "opened", "mode", "replaced", "shell", "guest"] {
        assert_eq!(run.outcome(name), "failed", "{name}: {}", run.stderr);
    }
    assert!(run.messages("element").contains("read-only"), "{}", run.messages("element"));
    if with_c {
        assert_eq!(run.outcome("pointer"), "killed");
        assert!(run.messages("pointer").contains("SIGSEGV"), "{}", run.messages("pointer"));
        assert!(run.stderr.contains("an input, which is read-only"), "{}", run.stderr);
    }
    assert!(from_memory(&run, "sibling"));
    let kept = run.bytes("make", "x");
    assert_eq!(kept[128..136], 1.5_f64.to_le_bytes());
    // The store finds nothing wrong with what it has.
    let again = place.run(&["-k"]);
    assert_eq!(again.outcome("make"), "cached");
    assert_eq!(again.bytes("sibling", "ends"), run.bytes("sibling", "ends"));
}

/// A consumer that says which of its inputs are mounted from the memory of who made them, in the order of their names.
fn mounts(name: &str, inputs: &[(&str, &str)]) -> String {
    let tensor = |(port, from): &(&str, &str)| {
        format!("{port} = {{ from = \"{from}\", type = \"tensor<f64,[n]>\" }}")
    };
    let inputs: Vec<String> = inputs.iter().map(tensor).collect();
    format!(
        r#"
[cells.{name}]
lang = "python"
inputs = {{ {} }}
outputs = {{ mounted = "str" }}
code = """
mounts = [line.split() for line in open('/proc/self/mountinfo')]
here = sorted((it[4], it[3]) for it in mounts if it[4].startswith('/cell/in/'))
mounted = ' '.join(at.split('/')[-1] for at, root in here if root.endswith('/out/x.npy'))
"""
"#,
        inputs.join(", ")
    )
}

fn mounted(run: &Run, cell: &str) -> Vec<String> {
    let bytes = run.bytes(cell, "mounted");
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    text.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

#[test]
fn what_is_on_the_disk_leaves_the_memory_when_something_else_needs_the_room() {
    if missing(&["python3"]) {
        return;
    }
    // `through` has its input on stdin, and so waits until that is on the disk.
    let more = r#"
[cells.through]
lang = "python"
inputs = { x = { from = "make.x", type = "tensor<f64,[n]>" } }
stdin = { input = "x" }
code = 'n = 1'
outputs = { n = "int" }

[cells.more]
lang = "python"
inputs = { n = "through.n" }
code = """
import polyloom
x = polyloom.empty(4 << 20, "f8")
x[0] = n
"""
outputs = { x = "tensor<f64,[n]>" }
"#;
    let flow = format!("{MADE}{more}{}", mounts("both", &[("a", "make.x"), ("b", "more.x")]));
    let with = |most: &str| {
        let place = Place::flow(&flow);
        let args = ["run", "--format", "json"];
        let run = place.call(&args).env("POLYLOOM_HOT_MAX", most).end().run().exits(0);
        let warned = run.stderr.contains("were handed over by the disk, not in memory");
        (mounted(&run, "both").join(" "), warned)
    };
    assert_eq!(with("90MiB"), ("a.npy b.npy".to_owned(), false));
    assert_eq!(with("40MiB"), ("b.npy".to_owned(), false));
    assert_eq!(with("0"), (String::new(), true));
}

#[test]
fn the_ninth_large_input_comes_from_the_disk() {
    if missing(&["python3"]) {
        return;
    }
    let maker = |n: usize| {
        let named = MADE.replace("cells.make", &format!("cells.make{n}"));
        named.replace("4 << 20", &format!("(1 << 19) + {n}"))
    };
    let makers: String = (1..=9).map(maker).collect();
    let ports: Vec<(String, String)> =
        (1..=9).map(|n| (format!("x{n}"), format!("make{n}.x"))).collect();
    let ports: Vec<(&str, &str)> = ports.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let place = Place::flow(&format!("{makers}{}", mounts("all", &ports)));
    let run = place.run(&[]).exits(0);
    assert_eq!(mounted(&run, "all").len(), 8, "{:?}", mounted(&run, "all"));
}

#[test]
fn a_copy_that_does_not_arrive_is_told_and_its_result_is_not_kept() {
    use std::sync::atomic::{AtomicBool, Ordering};
    if missing(&["python3"]) {
        return;
    }
    let made = MADE.replace("4 << 20", "16 << 20");
    let made = made.replace("outputs", "memory = \"512MiB\"\noutputs");
    let place = Place::flow(&format!("{made}{}", look("look")));
    let (done, folder) = (AtomicBool::new(false), place.store().join("tmp"));
    let run = std::thread::scope(|scope| {
        // Its file is taken away while it is filled: as with a disk that fails half-way.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                    if entry.metadata().is_ok_and(|meta| meta.len() > 100 << 20) {
                        let _ = std::fs::remove_file(entry.path());
                    }
                }
                std::thread::yield_now();
            }
        });
        let run = place.run(&["-k"]);
        done.store(true, Ordering::Relaxed);
        run
    });
    assert_eq!(run.outcome("make"), "worker_error");
    let told = run.messages("make");
    assert!(told.contains("its outputs could not be stored"), "{told}");
    assert_ne!(run.code, 0, "{}", run.stderr);
    let again = place.run(&[]).exits(0);
    assert_eq!(again.outcome("make"), "ok", "it was not kept");
    assert_eq!(again.bytes("make", "x").len(), 128 + (128 << 20));
}

/// The producer leaves a child that goes on writing; its reader wants to write, and to see more than its input.
#[test]
fn who_made_a_large_output_and_who_reads_it_can_not_change_it() {
    if missing(&["python3"]) {
        return;
    }
    let flow = r#"
[cells.make]
lang = "python"
code = '''
import os, polyloom
x = polyloom.empty(4 << 20, "f8")
x[0], x[-1] = 1.5, 2.5
open("/cell/work/private", "w").write("of the producer")
began, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.write(told, b".")
    while True:
        x[1] += 1.0
os.read(began, 1)
'''
outputs = { x = "tensor<f64,[n]>" }

[cells.read]
lang = "python"
inputs = { x = { from = "make.x", type = "tensor<f64,[n]>" } }
code = '''
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
passed = []
def attempt(name, act):
    try:
        if act() != -1:
            passed.append(name)
    except (OSError, ValueError):
        pass
at, flags = b"/cell/in/x.npy", os.O_RDWR
fd = os.open(at, os.O_RDONLY)
attempt("remount", lambda: libc.mount(None, at, None, 0x1020, None))
attempt("bind over", lambda: libc.mount(b"/cell/work", b"/cell/in", None, 0x1000, None))
attempt("unmount", lambda: libc.umount2(at, 2))
attempt("descriptor", lambda: os.open(f"/proc/self/fd/{fd}", flags))
attempt("root of the supervisor", lambda: os.open("/proc/1/root/cell/in/x.npy", flags))
attempt("mode", lambda: os.fchmod(fd, 0o666))
attempt("length", lambda: os.truncate(at, 1))
attempt("mapping", lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
attempt("folder", lambda: os.open("..", os.O_RDONLY, dir_fd=fd))
attempt("hard link", lambda: os.link(at, b"/cell/work/x"))
before = x[1]
for folder, _, names in os.walk("/cell"):
    passed.extend(name for name in names if name == "private")
for _ in range(200):
    os.sched_yield()
if x[1] != before:
    passed.append("it changed")
passed = " ".join(passed)
ends = x[0] + x[-1]
root = next(line for line in open("/proc/self/mountinfo") if " /cell/in/x.npy " in line).split()[3]
'''
outputs = { passed = "str", ends = "float", root = "str" }
"#;
    let place = Place::flow(flow);
    let run = place.run(&[]).exits(0);
    assert!(from_memory(&run, "read"));
    // An empty text.
    assert_eq!(String::from_utf8_lossy(&run.bytes("read", "passed")), "\u{fffd}");
    let verified = place.polyloom(&["cache", "verify"]).exits(0).stdout();
    assert!(verified.contains("all are whole"), "{verified}");
}

#[test]
fn doctor_tells_how_much_memory_outputs_may_be_held_in() {
    let place = Place::new();
    let told = |most: &str, format: &str| {
        let call = place.call(&["doctor", "--format", format]).env("POLYLOOM_HOT_MAX", most);
        call.end()
    };
    let document = told("1MiB", "json").json();
    assert_eq!(document["hand_over"]["most_bytes"], 1 << 20);
    assert_eq!(document["hand_over"]["most_inputs"], 8);
    assert!(told("1MiB", "text").stdout().contains("at most 1 MiB in all now"));
    assert!(told("0", "text").stdout().contains("no memory may be held (POLYLOOM_HOT_MAX)"));
    let refused = told("much", "text").stderr();
    assert!(!refused.contains("panicked"), "{refused}");
}

#[test]
fn a_directory_keeps_its_empty_folders_and_is_written_as_a_new_one() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\noutputs = { d = \"dir\" }\n\
         code = 'mkdir -p \"$OUT/d/e/000\" \"$OUT/d/h\"; printf x > \"$OUT/d/f\"; printf y > \"$OUT/d/h/run\"; chmod +x \"$OUT/d/h/run\"'\n\
         [cells.b]\nlang = \"sh\"\ninputs = { d = \"a.d\" }\ncode = 'cd \"$d\"; find . | sort'\n",
    );
    let _ = place.run(&[]).exits(0);
    let found = place.polyloom(&["logs", "b"]).exits(0).stdout();
    assert_eq!(found, ".\n./e\n./e/000\n./f\n./h\n./h/run\n");
    let _ = place.polyloom(&["show", "a.d", "-o", "new"]).exits(0);
    let new = place.project().join("new");
    assert_eq!(std::fs::read_to_string(new.join("f")).unwrap(), "x");
    assert!(new.join("e/000").is_dir());
    let mode = std::os::unix::fs::MetadataExt::mode(&new.join("h/run").metadata().unwrap());
    assert_eq!(mode & 0o100, 0o100);
    let told = place.polyloom(&["show", "a.d", "-o", "new"]).exits(2).stderr();
    assert!(told.contains("a directory is written as a new one"), "{told}");
    std::os::unix::fs::symlink("/tmp", place.project().join("link")).unwrap();
    let _ = place.polyloom(&["show", "a.d", "-o", "link"]).exits(2);
    let told = place.polyloom(&["show", "a.d", "-o", "-"]).exits(2).stderr();
    assert!(told.contains("standard output has no form for"), "{told}");
}
