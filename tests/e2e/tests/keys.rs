//! What a key is made of, seen from outside: early cutoff from language to language, installed libraries, reasons.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::PathBuf;

use polyloom_test_e2e::{Place, needs};
use rustix::process::Signal;
use serde_json::Value;

/// Each cell adds one to what it gets. Every language is followed by another.
const CHAIN: &str = r#"
[cells.python]
lang = "python"
outputs = { n = "int" }
code = "n = 1 # PYTHON\n"

[cells.cpp]
lang = "cpp"
inputs = { n = "python.n" }
outputs = { m = "int" }
code = '''
#include <polyloom.h>
int main() { polyloom::out("m", polyloom::in<int>("n") + 1); } // CPP
'''

[cells.c]
lang = "c"
inputs = { n = "cpp.m" }
outputs = { m = "int" }
code = '''
#include <polyloom.h>
int main(void) { pl_out_int("m", pl_in_int("n") + 1); } // CCC
'''

[cells.javascript]
lang = "javascript"
inputs = { n = "c.m" }
outputs = { m = "int" }
code = "const m = Number(n) + 1; // JAVASCRIPT\n"

[cells.shell]
lang = "shell"
inputs = { n = "javascript.m" }
outputs = { m = "int" }
code = "echo $((n + 1)) > $OUT/m # SHELL\n"

[cells.wasm]
lang = "wasm"
inputs = { n = "shell.m" }
outputs = { m = "int" }
code = '''
(module ;; WASM
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "n.txt")
  (data (i32.const 16) "m")
  (func (export "_start")
    (drop (call $open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 0)
      (i32.const 0) (i32.const 64)))
    (i32.store (i32.const 72) (i32.const 1024))
    (i32.store (i32.const 76) (i32.const 16))
    (drop (call $read (i32.load (i32.const 64)) (i32.const 72) (i32.const 1) (i32.const 80)))
    (drop (call $open (i32.const 5) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 9) (i64.const 64) (i64.const 0)
      (i32.const 0) (i32.const 64)))
    ;; One digit more.
    (i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
    (i32.store (i32.const 76) (i32.load (i32.const 80)))
    (drop (call $write (i32.load (i32.const 64)) (i32.const 72) (i32.const 1) (i32.const 80)))))
'''

[cells.last]
lang = "python"
inputs = { n = "wasm.m" }
outputs = { m = "int" }
code = "m = n + 1"
"#;

const ORDER: [&str; 7] = ["python", "cpp", "c", "javascript", "shell", "wasm", "last"];

#[test]
fn a_change_stops_where_the_bytes_are_as_before_in_every_language() {
    needs!("python3", "g++", "gcc", "node", "bash");
    let place = Place::flow(CHAIN);
    let mut all = ORDER;
    all.sort_unstable();
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran(), all);
    assert_eq!(run.bytes("last", "m"), [7]);
    // Other bytes of code, no other result: nothing below runs, whichever two languages meet there.
    for cell in &ORDER[1..6] {
        let mark = if *cell == "c" { "CCC".to_owned() } else { cell.to_uppercase() };
        place.edit("polyloom.toml", &mark, "said otherwise");
        let run = place.run(&[]).exits(0);
        assert_eq!(run.ran(), [*cell]);
        assert_eq!(run.bytes("last", "m"), [7], "{cell}");
        assert_eq!(place.run(&[]).exits(0).ran(), [""; 0], "{cell}");
    }
    // Another result goes through all of them, and back again without a run.
    place.edit("polyloom.toml", "n = 1", "n = 2");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.ran(), all);
    assert_eq!(run.bytes("last", "m"), [8]);
    place.edit("polyloom.toml", "n = 2", "n = 1");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    // A change in the middle that is undone by the next: the rest stands.
    place.edit("polyloom.toml", "Number(n) + 1", "Number(n) + 2");
    place.edit("polyloom.toml", "$((n + 1))", "$((n))");
    assert_eq!(place.run(&[]).exits(0).ran(), ["javascript", "shell"]);
}

/// A virtual environment without pip, whose packages are written by hand.
fn venv(place: &Place, name: &str) -> PathBuf {
    let path = place.project().join(name);
    let made = std::process::Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    let lib = path.join("lib").read_dir().unwrap().next().unwrap().unwrap().path();
    lib.join("site-packages")
}

/// As an installer leaves it: a folder that names the version, with the list of files in it.
fn install(packages: &std::path::Path, name: &str, version: &str, content: &str) {
    let info = packages.join(format!("{name}-{version}.dist-info"));
    std::fs::create_dir(&info).unwrap();
    std::fs::write(packages.join(format!("{name}.py")), content).unwrap();
    let record = format!("{name}.py,sha256={content},{}\n", content.len());
    std::fs::write(info.join("RECORD"), record).unwrap();
}

#[test]
fn an_installed_library_is_a_part_of_the_cells_of_its_language() {
    needs!("python3");
    let place = Place::flow(
        "[executors.python]\npython = \".venv/bin/python\"\n\
         [cells.a]\nlang = \"python\"\noutputs = { v = \"int\" }\ncode = 'from numbers_ import v'\n\
         [cells.b]\nlang = \"sh\"\ninputs = { v = \"a.v\" }\noutputs = { w = \"int\" }\ncode = 'echo $v > $OUT/w'\n",
    );
    let packages = venv(&place, ".venv");
    let remove = |version: &str| {
        std::fs::remove_dir_all(packages.join(format!("numbers_-{version}.dist-info"))).unwrap();
        std::fs::remove_file(packages.join("numbers_.py")).unwrap();
    };
    install(&packages, "numbers_", "2.0", "v = 1");
    assert_eq!(place.run(&[]).exits(0).told(), "a ok, b ok");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    // Another library that changes no result: its language's cells run, and the change stops there.
    install(&packages, "pandas_", "1.5", "");
    let why = place.polyloom(&["why", "a"]).exits(0).stdout();
    assert!(why.contains("libraries changed (no pandas_ → pandas_ 1.5)"), "{why}");
    assert_eq!(place.run(&[]).exits(0).told(), "a ok, b cached");
    // Another version.
    remove("2.0");
    install(&packages, "numbers_", "2.1", "v = 2");
    let why = place.polyloom(&["why", "a"]).exits(0).stdout();
    assert!(why.contains("libraries changed (numbers_ 2.0 → numbers_ 2.1)"), "{why}");
    assert!(why.lines().any(|line| line.starts_with("libraries ")), "{why}");
    let run = place.run(&[]).exits(0);
    assert_eq!(run.told(), "a ok, b ok");
    assert_eq!(run.bytes("b", "w"), [2]);
    // The same version built anew: the list of its files tells them apart.
    remove("2.1");
    install(&packages, "numbers_", "2.1", "v = 3");
    let run = place.run(&[]).exits(0);
    assert_eq!((run.told().as_str(), run.bytes("b", "w")), ("a ok, b ok", vec![3]));
    // What was there before is known.
    remove("2.1");
    install(&packages, "numbers_", "2.1", "v = 2");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
}

#[test]
fn a_watch_hears_of_what_is_installed() {
    needs!("python3");
    let place = Place::flow(
        "[executors.python]\npython = \".venv/bin/python\"\n\
         [cells.a]\nlang = \"python\"\ncode = 'from numbers_ import v; print(v)'\n\
         [cells.b]\nlang = \"sh\"\ncode = 'true'\n",
    );
    let packages = venv(&place, ".venv");
    install(&packages, "numbers_", "2.0", "v = 1");
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    let waits = |event: &Value| event["event"] == "watch.waiting";
    assert_eq!(running.until(waits)["state"], "ok");
    std::fs::remove_dir_all(packages.join("numbers_-2.0.dist-info")).unwrap();
    install(&packages, "numbers_", "2.1", "v = 2");
    let began = running.until(|event| event["event"] == "run.started");
    let changed = began["changed"].as_array().unwrap();
    let names = |name: &Value| name.as_str().unwrap().ends_with("numbers_-2.1.dist-info");
    assert!(changed.iter().any(names), "{began}");
    let end = running.until(|event| event["event"] == "step.finished" && event["cell"] == "a");
    assert_eq!(end["reason"], "libraries changed (numbers_ 2.0 → numbers_ 2.1)");
    assert_eq!(running.until(waits)["state"], "ok");
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    assert_eq!(place.polyloom(&["logs", "a"]).exits(0).stdout(), "2\n");
}

/// A flow of one Python cell.
fn python(code: &str) -> String {
    format!("[cells.a]\nlang = \"python\"\noutputs = {{ x = \"str\" }}\ncode = '''\n{code}\n'''\n")
}

#[test]
fn comments_and_layout_of_python_change_no_key() {
    needs!("python3");
    let place = Place::flow(&python("def f(n):\n    return n + 1\nx = str(f(1))"));
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
    for same in [
        "# what it does\ndef f(n):  # one more\n\n    return n + 1\n\nx = str(f(1))",
        "def f( n ):\n        return (n + 1)\nx = str( f(1) )  ",
        "def f(n):\r\n    return n + 1\r\nx = str(f(1))\r\n",
        "def f(n): return n + 0x1\nx = (\n  str(f(1)))",
    ] {
        place.write("polyloom.toml", python(same));
        let why = place.polyloom(&["why", "a"]).exits(0).stdout();
        assert!(why.contains("a is up to date"), "{same}: {why}");
        assert_eq!(place.run(&[]).exits(0).ran(), [""; 0], "{same}");
    }
    for other in [
        "def f(n):\n    return n + 2\nx = str(f(1))",
        "def f(n):\n    return n + 1.0\nx = str(f(1))",
        "def f(n):\n    'a cell can read this'\n    return n + 1\nx = str(f(1))",
        "def f(m):\n    return m + 1\nx = str(f(1))",
    ] {
        place.write("polyloom.toml", python(other));
        let why = place.polyloom(&["why", "a"]).exits(0).stdout();
        assert!(why.contains("code changed"), "{other}: {why}");
        assert_eq!(place.run(&[]).exits(0).ran(), ["a"], "{other}");
    }
}

#[test]
fn code_that_can_see_its_own_text_is_keyed_by_its_bytes() {
    needs!("python3");
    let codes = [
        "import inspect, sys\nx = inspect.getsource(sys.modules['__main__'])[:1]",
        "import warnings\nwith warnings.catch_warnings(record=True) as w:\n    warnings.simplefilter('always')\n    warnings.warn('x')\nx = str(w[0])[:1]",
        "import marshal\ndef f(): return 1\nx = str(len(marshal.dumps(f.__code__)))",
        "x = open(__file__).read()[:0]",
        "x = open('/cell/code/a.py').read()[:0]",
        "import sys\nx = str(sys._getframe().f_lineno)",
        "import sys\nx = open(sys.argv[0]).read()[:0]",
        "# -*- coding: utf-8 -*-\nx = 'é'",
        "try:\n    1 / 0\nexcept Exception as e:\n    x = str(e.__traceback__.tb_lineno)",
    ];
    for code in codes {
        let place = Place::flow(&python(code));
        assert_eq!(place.run(&[]).exits(0).ran(), ["a"], "{code}");
        assert_eq!(place.run(&[]).exits(0).ran(), [""; 0], "{code}");
        place.write("polyloom.toml", python(&format!("{code}\n# more")));
        assert_eq!(place.run(&[]).exits(0).ran(), ["a"], "{code}");
    }
}

/// One code that no parser takes takes nothing from the others.
#[test]
fn code_that_can_not_be_parsed_has_no_normal_form_and_harms_no_other() {
    needs!("python3");
    let deep = format!("x = {}1{}", "(".repeat(150), ")".repeat(150));
    let broken = ["x = (", "x = '\u{0}'", "\tx = 1\n  y", &deep, &"x = [".repeat(5000)];
    let mut flow = python("x = 'a'");
    for (at, code) in broken.iter().enumerate() {
        let code = serde_json::to_string(code).unwrap();
        if code.contains("\\u0000") {
            continue;
        }
        flow.push_str(&format!("[cells.b{at}]\nlang = \"python\"\ncode = {code}\n"));
    }
    let place = Place::flow(&flow);
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("a"), "ok");
    place.edit("polyloom.toml", "x = 'a'", "x = 'a'  # a");
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("a"), "cached");
    assert!(!run.ran().contains(&"a".to_owned()));
}

/// A language with a normaliser of its own, by what `script` says to the codes on its input.
fn lines(place: &Place, script: &str) {
    let script = serde_json::to_string(script).unwrap();
    place.executor(
        "lines",
        &format!(
            "id = \"lines\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"lines\"]\n\
             [toolchain.sh]\nany = [\"sh\"]\nversion = []\n\
             [normalise]\nargv = [\"{{sh}}\", \"-c\", {script}, \"normal\"]\n\
             [run]\nargv = [\"{{sh}}\", \"{{code}}\"]\n"
        ),
    );
}

const SHELL: &str = "[cells.a]\nlang = \"lines\"\noutputs = { x = \"str\" }\ncode = 'echo one > $OUT/x'\n\
     [cells.b]\nlang = \"lines\"\noutputs = { x = \"str\" }\ncode = 'echo two > $OUT/x'\n";

#[test]
fn any_executor_can_give_a_normal_form() {
    needs!("sha256sum");
    let place = Place::flow(SHELL);
    lines(
        &place,
        "while read name length; do echo $name $(head -c $length | sed 's/ *#.*//' | sha256sum | cut -c 1-64); done",
    );
    assert_eq!(place.run(&[]).exits(0).ran(), ["a", "b"]);
    place.edit("polyloom.toml", "echo one > $OUT/x", "echo one > $OUT/x # once");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    place.edit("polyloom.toml", "echo two", "echo three");
    assert_eq!(place.run(&[]).exits(0).ran(), ["b"]);
    // Another normaliser is another executor.
    lines(&place, "while read name length; do head -c $length > /dev/null; echo $name -; done");
    assert_eq!(place.run(&[]).exits(0).ran(), ["a", "b"]);
    place.edit("polyloom.toml", "# once", "# twice");
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
}

/// What one does once it has answered is waited for by nobody.
#[test]
fn a_normaliser_that_has_answered_is_ended() {
    needs!("sha256sum");
    let place = Place::flow(SHELL);
    lines(
        &place,
        "while read name length; do echo $name $(head -c $length | sed 's/ *#.*//' | sha256sum | cut -c 1-64); done; sleep 600",
    );
    let began = std::time::Instant::now();
    assert_eq!(place.run(&[]).exits(0).ran(), ["a", "b"]);
    place.edit("polyloom.toml", "echo one > $OUT/x", "echo one > $OUT/x # once");
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    // A run that waited for it would give up after 20 s, each of the two.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// Whatever a normaliser does wrong, the bytes count, and no cell gets the result of another.
#[test]
fn a_normaliser_that_fails_leaves_the_bytes() {
    for script in [
        "exit 1",
        "kill -9 $$",
        "echo nonsense; echo 0; echo 0 0f; echo 7 -; echo x -",
        "head -c 200000 /dev/zero",
        "cat > /dev/null; touch /etc/x",
        "cat; cat >&2; kill -9 $$",
        "echo -n '0 '; head -c 63 /dev/zero | tr '\\\\0' 0",
    ] {
        let place = Place::flow(SHELL);
        lines(&place, script);
        let run = place.run(&[]).exits(0);
        assert_eq!(run.ran(), ["a", "b"], "{script}");
        assert_eq!(run.bytes("b", "x")[1..], *b"two", "{script}");
        assert_eq!(place.run(&[]).exits(0).ran(), [""; 0], "{script}");
        place.edit("polyloom.toml", "echo one > $OUT/x", "echo one > $OUT/x # once");
        assert_eq!(place.run(&[]).exits(0).ran(), ["a"], "{script}");
    }
}

/// Which of an executor's files is another one now is said by `plan`, by `run` and by `why`.
#[test]
fn a_changed_executor_names_its_files() {
    let place = Place::flow(
        "[cells.a]\nlang = \"own\"\noutputs = { x = \"str\" }\ncode = 'echo one > $OUT/x'\n",
    );
    let manifest = |shell: &str| {
        format!(
            "id = \"own\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"own\"]\n\
             [toolchain.sh]\nany = [\"sh\"]\nversion = []\n\
             [run]\nargv = [\"{{sh}}\", {shell}\"{{dir}}/run.sh\", \"{{code}}\"]\n"
        )
    };
    let own = |path: &str, text: &str| {
        let path = place.executors().join("own").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    place.executor("own", &manifest(""));
    own("run.sh", ". $1\n");
    own("lib/a.txt", "a");
    own("lib/b.txt", "b");
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
    let says = |words: &str| {
        let plan = place.polyloom(&["plan"]);
        assert!(plan.stdout().contains(words), "{words}\n{}", plan.stdout());
        let why = place.polyloom(&["why", "a"]);
        let why = why.stdout();
        let first = why.lines().next().unwrap_or_default();
        assert_eq!(first, format!("a will run: {words}"));
    };
    own("run.sh", "# said otherwise\n. $1\n");
    says("executor changed (own 1: run.sh)");
    std::fs::remove_file(place.executors().join("own/lib/b.txt")).unwrap();
    own("lib/c.txt", "c");
    place.executor("own", &manifest("\"-e\", "));
    says("executor changed (own 1: executor.toml, lib/b.txt is gone, lib/c.txt is new, 1 more)");
    let why = place.polyloom(&["why", "a"]);
    assert!(why.stdout().contains("own 1: executor.toml, "), "{}", why.stdout());
    assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
}
