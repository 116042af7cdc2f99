//! Guests compiled and run as the host does it: a process for each verb, directories by
//! environment. The sandbox is not here; what must hold without it is.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const EXECUTOR: &str = env!("CARGO_BIN_EXE_polyloom-executor-wasm");
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests");

/// A cell's directories, removed at the end of the test.
struct Cell {
    dir: tempfile::TempDir,
}

impl Cell {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["code", "in", "out", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(EXECUTOR);
        command
            .env_clear()
            .env("IN", self.path("in"))
            .env("OUT", self.path("out"))
            .env("POLYLOOM_CELL", "guest")
            .current_dir(self.path("work"));
        command
    }

    fn compile(&self, source: &Path) -> Output {
        let mut command = self.command();
        command.arg("compile").arg(source).arg("-o").arg(self.path("program"));
        command.output().unwrap()
    }

    fn compile_text(&self, text: &str) -> Output {
        let source = self.path("code/guest.wat");
        fs::write(&source, text).unwrap();
        self.compile(&source)
    }

    /// Compiles what must compile, and returns the command that runs it.
    fn ready(&self, source: &Path) -> Command {
        let output = self.compile(source);
        assert!(output.status.success(), "{}", stderr(&output));
        let mut command = self.command();
        command.arg("run").arg(self.path("program"));
        command
    }

    fn ready_text(&self, text: &str) -> Command {
        let source = self.path("code/guest.wat");
        fs::write(&source, text).unwrap();
        self.ready(&source)
    }
}

fn guest(name: &str) -> PathBuf {
    Path::new(GUESTS).join(name)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The message of a compile error, without the directory of the test.
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(output);
    let (_, rest) = text.split_once("guest.wat").unwrap();
    rest.trim_end().to_owned()
}

#[test]
fn text_module_writes_to_stdout() {
    let cell = Cell::new();
    let output = cell.ready(&guest("hello.wat")).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"hello\n"[..]));
}

#[test]
fn component_runs_as_a_command() {
    let cell = Cell::new();
    let output = cell.ready(&guest("component.wat")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from a component\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn component_that_returns_an_error_fails() {
    let cell = Cell::new();
    let failing = fs::read_to_string(guest("component.wat"))
        .unwrap()
        .replace("(i32.const 0)))\n  (core instance", "(i32.const 1)))\n  (core instance");
    assert_eq!(cell.ready_text(&failing).status().unwrap().code(), Some(1));
}

#[test]
fn binary_module_reads_inputs_and_writes_outputs() {
    let cell = Cell::new();
    fs::write(cell.path("in/n.txt"), "21\n").unwrap();
    let output =
        cell.ready(&guest("files.wasm")).arg("one").env("COLOUR", "blue").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "guest 2 one blue\n");
    assert_eq!(fs::read_to_string(cell.path("out/twice")).unwrap(), "42\n");
    assert_eq!(fs::read_to_string(cell.path("work/note.txt")).unwrap(), "in the work directory");
    assert_eq!(fs::read_to_string(cell.path("in/n.txt")).unwrap(), "21\n");
}

#[test]
fn exit_code_is_the_guests_own() {
    let module = |code: u32| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 1)
                 (func (export "_start") (call $exit (i32.const {code}))))"#
        )
    };
    for (code, seen) in [(0, 0), (7, 7), (125, 125), (126, 65)] {
        let cell = Cell::new();
        let status = cell.ready_text(&module(code)).status().unwrap();
        assert_eq!(status.code(), Some(seen), "proc_exit({code})");
    }
}

#[test]
fn syntax_error_has_line_and_column() {
    let output = Cell::new().compile_text("(module\n  (func (i32.cosnt 1)))");
    assert_eq!(complaint(&output), ":2:10: error: unknown operator or unexpected token");
}

#[test]
fn type_error_points_at_the_instruction() {
    let output = Cell::new().compile_text(
        "(module\n  (func (export \"_start\")\n    nop\n    (drop (f32.neg (i32.const 1)))))",
    );
    assert_eq!(complaint(&output), ":4:12: error: type mismatch: expected f32, found i32");
}

#[test]
fn missing_import_and_missing_start_fail_at_compile_time() {
    let output =
        Cell::new().compile_text(r#"(module (import "env" "f" (func)) (func (export "_start")))"#);
    assert_eq!(complaint(&output), ": error: unknown import: `env::f` has not been defined");
    let output = Cell::new().compile_text("(module)");
    assert_eq!(
        complaint(&output),
        ": error: the module exports no function `_start` without parameters and results"
    );
}

#[test]
fn shared_memory_is_refused() {
    let output = Cell::new().compile_text(
        r#"(module (memory 1 1 shared) (func (export "_start")
             (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#,
    );
    assert!(complaint(&output).contains("threads must be enabled"), "{}", stderr(&output));
}

#[test]
fn damaged_program_is_refused() {
    let cell = Cell::new();
    let mut run = cell.ready(&guest("hello.wat"));
    let mut program = fs::read(cell.path("program")).unwrap();
    let middle = program.len() / 2;
    program[middle] ^= 0x40;
    fs::write(cell.path("program"), program).unwrap();
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(66));
    assert!(stderr(&output).contains("damaged"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn code_that_was_not_compiled_is_refused() {
    let cell = Cell::new();
    let output = cell.command().arg("run").arg(guest("files.wasm")).output().unwrap();
    assert_eq!(output.status.code(), Some(66));
    assert!(stderr(&output).contains("not a program compiled"), "{}", stderr(&output));
}

#[test]
fn memory_growth_fails_at_the_cap() {
    // Exits with the number of mebibytes that it got.
    let greedy = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 16)
        (func (export "_start")
          (loop $more
            (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
          (call $exit (i32.div_u (memory.size) (i32.const 16)))))"#;
    let cell = Cell::new();
    let status = cell.ready_text(greedy).env("POLYLOOM_WASM_MEMORY", "67108864").status().unwrap();
    assert_eq!(status.code(), Some(64));
}

#[test]
fn memory_larger_than_the_cap_does_not_start() {
    let large = r#"(module (memory 2048) (func (export "_start")))"#;
    let cell = Cell::new();
    let output = cell.ready_text(large).env("POLYLOOM_WASM_MEMORY", "1048576").output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(stderr(&output).starts_with("wasm trap: memory"), "{}", stderr(&output));
}

#[test]
fn endless_recursion_traps() {
    let cell = Cell::new();
    let output = cell
        .ready_text(r#"(module (func $f (call $f)) (func (export "_start") (call $f)))"#)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(stderr(&output).starts_with("wasm trap: call stack exhausted\n    in `f`"));
}

#[test]
fn the_end_of_a_deep_stack_is_shown() {
    let functions: String = (1..9).map(|n| format!("(func $f{n} (call $f{}))", n - 1)).collect();
    let text = format!(
        r#"(module (func $f0 unreachable) {functions} (func (export "_start") (call $f8)))"#
    );
    let output = Cell::new().ready_text(&text).output().unwrap();
    let told = stderr(&output);
    assert_eq!(told.lines().count(), 6, "{told}");
    assert!(told.contains("in `f0`") && told.contains("in `f3`"), "{told}");
    assert!(told.ends_with("\n    in 6 more\n"), "{told}");
}

#[test]
fn endless_loop_is_interrupted_at_the_deadline() {
    let cell = Cell::new();
    let output = cell
        .ready_text(
            r#"(module (func $spin (loop $l (br $l))) (func (export "_start") (call $spin)))"#,
        )
        .env("POLYLOOM_DEADLINE_MS", "50")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(stderr(&output).starts_with("wasm trap: interrupt\n    in `spin`"));
}

#[test]
fn endless_sleep_is_interrupted_at_the_deadline() {
    // poll_oneoff with one clock subscription of an hour.
    let sleeper = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff"
          (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (i32.store (i32.const 16) (i32.const 1))
          (i64.store (i32.const 24) (i64.const 3600000000000))
          (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#;
    let cell = Cell::new();
    let output = cell.ready_text(sleeper).env("POLYLOOM_DEADLINE_MS", "50").output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(stderr(&output).starts_with("wasm trap: interrupt"), "{}", stderr(&output));
}

#[test]
fn stdin_reaches_the_guest() {
    // Copies up to 64 bytes from stdin to stdout.
    let cat = r#"(module
        (import "wasi_snapshot_preview1" "fd_read"
          (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write"
          (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 100))
          (i32.store (i32.const 4) (i32.const 64))
          (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let cell = Cell::new();
    fs::write(cell.path("text"), "from outside").unwrap();
    let stdin = fs::File::open(cell.path("text")).unwrap();
    let output = cell.ready_text(cat).stdin(stdin).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from outside");
}
