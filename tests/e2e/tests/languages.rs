//! Languages as a flow has them: the samples beside each manifest, lines of errors, compilers, the choice of an interpreter.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use polyloom_test_e2e::{Place, needs, skip};
use serde_json::Value;

/// Languages that are ready here and have this sample in `executors/ID/tests`: id and the sample's file.
fn samples(place: &Place, stem: &str) -> Vec<(String, PathBuf)> {
    let executors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../executors");
    let list = place.polyloom(&["plugin", "list", "--format", "json"]).exits(0).json();
    let mut found = Vec::new();
    for row in list["executors"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let Ok(entries) = std::fs::read_dir(executors.join(id).join("tests")) else { continue };
        let code = |path: &PathBuf| {
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            path.file_stem().is_some_and(|name| name == stem)
                && !["stdout", "diagnostic"].contains(&extension)
        };
        let Some(path) = entries.flatten().map(|entry| entry.path()).find(code) else { continue };
        if row["ready"] == true {
            found.push((id.to_owned(), path));
        } else {
            skip(&format!("{id}: {}", row["missing"]));
        }
    }
    assert!(found.len() > 2, "{found:?}");
    found
}

#[test]
fn samples_say_hello() {
    let place = Place::new();
    let mut flow = String::new();
    let samples = samples(&place, "hello");
    for (id, path) in &samples {
        let name = path.file_name().unwrap().to_str().unwrap();
        place.write(&format!("{id}/{name}"), std::fs::read(path).unwrap());
        flow.push_str(&format!(
            "[cells.{id}]\nlang = \"{id}\"\nfile = \"{id}/{name}\"\n\
             params = {{ name = \"world\", x = 20 }}\noutputs = {{ y = \"int\" }}\n"
        ));
    }
    place.write("polyloom.toml", flow);
    let run = place.run(&["-k"]);
    for (id, path) in &samples {
        assert_eq!(run.outcome(id), "ok", "{id}: {}", run.messages(id));
        assert_eq!(run.bytes(id, "y"), [42], "{id}");
        let logs = place.polyloom(&["logs", "latest", id]).exits(0).stdout();
        let wanted = std::fs::read_to_string(path.with_extension("stdout")).unwrap();
        assert!(logs.contains(wanted.trim()), "{id}: {logs}");
    }
}

#[test]
fn errors_name_line_and_message() {
    let place = Place::new();
    let mut flow = String::new();
    let samples = samples(&place, "fail");
    for (id, path) in &samples {
        let name = path.file_name().unwrap().to_str().unwrap();
        place.write(&format!("{id}/{name}"), std::fs::read(path).unwrap());
        flow.push_str(&format!("[cells.{id}]\nlang = \"{id}\"\nfile = \"{id}/{name}\"\n"));
    }
    place.write("polyloom.toml", flow);
    let run = place.run(&["-k"]).exits(1);
    for (id, path) in &samples {
        let wanted = std::fs::read_to_string(path.with_extension("diagnostic")).unwrap();
        // One letter stands for any words: those of compilers differ from version to version.
        let (line, message) = wanted.trim().split_once(' ').unwrap();
        let line: u64 = line.parse().unwrap();
        let fits = |diagnostic: &Value| {
            let said = diagnostic["message"].as_str().unwrap_or_default();
            diagnostic["line"] == line && (message.len() == 1 || said.contains(message))
        };
        let all = run.cell(id)["diagnostics"].as_array().unwrap();
        assert!(all.iter().any(fits), "{id} wants {wanted}: {all:#?}");
        assert_eq!(run.outcome(id), "failed", "{id}");
    }
}

#[test]
fn scripts_name_line_and_message() {
    needs!("python3", "node");
    let place = Place::new();
    place.write("bad.py", "x = 1\n\ndef f():\n    return [][3]\n\nf()\n");
    place.write(
        "bad.mjs",
        "const x = 1;\nfunction f() {\n  throw new TypeError('no good');\n}\nf();\n",
    );
    place.write("syntax.py", "x = 1\nif x\n");
    place.write("syntax.mjs", "const x = 1;\nconst x = 2;\n");
    let cells = [("a", "bad.py"), ("b", "bad.mjs"), ("c", "syntax.py"), ("d", "syntax.mjs")];
    let flow: String =
        cells.iter().map(|(id, file)| format!("[cells.{id}]\nfile = \"{file}\"\n")).collect();
    place.write("polyloom.toml", flow);
    let run = place.run(&["-k"]).exits(1);
    let wanted = [
        ("a", 4, "IndexError: list index out of range"),
        ("b", 3, "TypeError: no good"),
        ("c", 2, "SyntaxError"),
        ("d", 2, "SyntaxError"),
    ];
    for (id, line, message) in wanted {
        let diagnostic = &run.cell(id)["diagnostics"][0];
        assert_eq!(diagnostic["line"], line, "{id}: {diagnostic:#}");
        assert!(diagnostic["message"].as_str().unwrap().contains(message), "{id}: {diagnostic:#}");
    }
}

#[test]
fn compiling_is_confined_too() {
    needs!("gcc");
    let place = Place::new();
    let cell = |id: &str, code: &str| {
        format!(
            "[cells.{id}]\nlang = \"c\"\ntimeout = \"3s\"\nmemory = \"256MiB\"\ncode = '''\n{code}\n'''\n"
        )
    };
    let flow = cell("secret", "#include \"/etc/shadow\"\nint main(void) { return 0; }")
        + &cell("home", "#include \"/root/.bashrc\"\nint main(void) { return 0; }")
        + &cell("endless", "#include \"/dev/zero\"\nint main(void) { return 0; }")
        + &cell("huge", "char x[1ull << 40] = {1};\nint main(void) { return x[5]; }")
        + &cell("fine", "int main(void) { return 0; }");
    place.write("polyloom.toml", flow);
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("fine"), "ok");
    for cell in ["secret", "home", "endless", "huge"] {
        let outcome = run.outcome(cell);
        let stopped =
            ["failed", "timed_out", "out_of_memory", "disk_exceeded", "killed", "output_exceeded"];
        assert!(stopped.contains(&outcome), "{cell}: {outcome}");
    }
    assert!(!run.stderr.contains("root:"), "{}", run.stderr);
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_program_is_compiled_once() {
    needs!("gcc");
    let place = Place::flow(
        r#"
[params.x]
type = "int"
default = 1

[cells.a]
lang = "c"
inputs = { x = "param:x" }
outputs = { y = "int" }
code = '''
#include <polyloom.h>
int main(void) { pl_out_int("y", 2 * pl_in_int("x")); return 0; }
'''
"#,
    );
    let phases = |args: &[&str]| {
        let words: Vec<&str> = ["run", "--format", "jsonl"].iter().chain(args).copied().collect();
        let events = place.polyloom(&words).exits(0).json_lines();
        let phases: Vec<String> = events
            .iter()
            .filter(|event| event["event"] == "step.started")
            .map(|event| event["phase"].as_str().unwrap().to_owned())
            .collect();
        phases.join(" ")
    };
    let first = phases(&[]);
    assert!(first.contains("compile"), "{first}");
    let second = phases(&["-p", "x=2"]);
    assert!(!second.contains("compile"), "{second}");
}

#[test]
fn the_interpreter_is_that_of_flow_environment_or_path() {
    needs!("python3");
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\noutputs = { prefix = \"str\" }\ncode = 'import sys; prefix = sys.prefix'\n",
    );
    let venv = |name: &str| {
        let path = place.project().join(name);
        let made = std::process::Command::new("python3")
            .args(["-m", "venv", "--without-pip"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        path
    };
    let (one, two) = (venv("one"), venv(".venv"));
    let prefix = |run: &polyloom_test_e2e::Run| {
        String::from_utf8_lossy(&run.bytes("a", "prefix")).into_owned()
    };
    let plain = place.run(&[]).exits(0);
    assert!(!prefix(&plain).contains("project"), "{}", prefix(&plain));
    let call = || place.call(&["run", "--format", "json"]).env("VIRTUAL_ENV", &one);
    let run = call().end().run().exits(0);
    assert_eq!(run.ran(), ["a"], "another interpreter is another key");
    assert!(prefix(&run).ends_with("project/one"), "{}", prefix(&run));
    assert_eq!(call().end().run().exits(0).ran(), [""; 0]);
    let flow = place.read("polyloom.toml");
    place.write(
        "polyloom.toml",
        format!("[executors.python]\npython = \".venv/bin/python\"\n{flow}"),
    );
    let run = call().end().run().exits(0);
    assert!(prefix(&run).ends_with("project/.venv"), "{}", prefix(&run));
    std::fs::remove_dir_all(two).unwrap();
    let ended = place.polyloom(&["run"]).exits(2);
    let told = "no program is at `.venv/bin/python`";
    assert!(ended.stderr().contains(told), "{}", ended.screen());
}

#[test]
fn ten_lines_make_a_language() {
    let place = Place::flow(
        "[cells.a]\nlang = \"shout\"\nparams = { who = \"world\" }\noutputs = { y = \"str\" }\nargv = [\"!\"]\ncode = 'Hello %s'\n\
         [cells.b]\nlang = \"shout\"\ncode = 'oops'\n",
    );
    place.executor(
        "shout",
        r#"id = "shout"
version = "1"
kind = "command"
extensions = ["shout"]
[toolchain.sh]
any = ["sh"]
version = []
[run]
argv = ["{sh}", "-c", 'if grep -q oops {code}; then echo "{code}:1:2: error: no oops" >&2; exit 1; fi; printf "$(cat {code})$1" "$who" | tr a-z A-Z > {out}/y', "shout", "{args}"]
[diagnostics]
format = "regex"
regex = '^(?P<file>[^:]+):(?P<line>\d+):(?P<col>\d+): (?P<severity>error): (?P<message>.*)$'
"#,
    );
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.bytes("a", "y")[1..], *b"HELLO WORLD!");
    let diagnostic = &run.cell("b")["diagnostics"][0];
    assert_eq!(diagnostic["message"], "no oops");
    assert_eq!(diagnostic["col"], 10, "that of the file");
}

#[test]
fn an_error_in_code_on_one_line_of_a_flow_has_the_column_of_the_file() {
    needs!("python3", "gcc");
    let place = Place::flow(
        "[cells.p]\nlang = \"python\"\ncode = \"x = 1 + nix\"\n\
         [cells.c]\nlang = \"c\"\ncode = 'int main(void) { return nix; }'\n\
         [cells.q]\nlang = \"python\"\ncode = \"'\\\"'; nix\"\n",
    );
    let run = place.run(&["-k"]).exits(1);
    let at = |cell: &str| {
        let told = run.cell(cell)["diagnostics"][0].clone();
        (told["line"].as_u64(), told["col"].as_u64())
    };
    assert_eq!(at("p"), (Some(3), Some(17)));
    assert_eq!(at("c"), (Some(6), Some(33)));
    assert_eq!(at("q"), (Some(9), None), "behind an escape");
}

#[test]
fn what_a_compiler_warns_of_is_told_of_a_cell_that_went_well() {
    needs!("gcc", "g++");
    let place = Place::flow(
        "[cells.c]\nlang = \"c\"\ncode = \"\"\"\nint main(void) {\n  int unused;\n}\n\"\"\"\n\
         [cells.cpp]\nlang = \"cpp\"\ncode = 'int main() { int unused; }'\n",
    );
    let run = place.run(&[]).exits(0);
    for (cell, line, col) in [("c", 5, 7), ("cpp", 10, 26)] {
        let told = &run.cell(cell)["diagnostics"][0];
        assert_eq!(told["severity"], "warning");
        assert_eq!(told["code"], "-Wunused-variable");
        assert_eq!((&told["line"], &told["col"]), (&line.into(), &col.into()));
    }
    let shown = place.polyloom(&["show", "latest", "c"]).exits(0).stdout();
    assert!(shown.contains("polyloom.toml:5: warning: unused variable"), "{shown}");
}

#[test]
fn a_file_of_c_may_be_called_anything() {
    needs!("gcc", "g++");
    let place = Place::flow(
        "[cells.c]\nlang = \"c\"\nfile = \"prog.inc\"\n[cells.cpp]\nlang = \"cpp\"\nfile = \"prog.txt\"\n",
    );
    place.write("prog.inc", "#include <polyloom.h>\nint main(void) { return 0; }\n");
    place.write("prog.txt", "#include <string>\nint main() { return std::string().size(); }\n");
    let _ = place.run(&[]).exits(0);
}

#[test]
fn a_cell_that_ends_its_process_has_failed() {
    needs!("python3");
    let place = Place::flow("[cells.a]\nlang = \"python\"\ncode = \"import os; os._exit(0)\"\n");
    let told = place.polyloom(&["run"]).exits(1).stderr();
    assert!(told.contains("it ended its own process, with exit code 0"), "{told}");
    assert!(!told.contains("protocol"), "{told}");
}

#[test]
fn all_outputs_that_a_cell_leaves_out_are_told() {
    needs!("python3");
    let place = Place::flow(
        "[cells.a]\nlang = \"python\"\ncode = \"y = 1\"\noutputs = { x = \"int\", y = \"int\", z = \"int\" }\n",
    );
    let told = place.polyloom(&["run"]).exits(1).stderr();
    assert!(told.contains("output `x` was not set, nor was `z`"), "{told}");
}

#[test]
fn a_module_beside_a_cell_of_javascript_is_said_to_be_for_functions() {
    needs!("node");
    let place =
        Place::flow("[cells.a]\nlang = \"javascript\"\ncode = \"await import('./x.mjs')\"\n");
    place.write("x.mjs", "");
    let told = place.polyloom(&["run"]).exits(1).stderr();
    assert!(told.contains("can be imported by functions (`uses`) alone"), "{told}");
}

#[test]
fn one_warm_python_cell() {
    needs!("python3");
    let place =
        Place::flow("[cells.a]\nlang = \"python\"\noutputs = { x = \"int\" }\ncode = 'x = 1'\n");
    let _ = place.run(&[]).exits(0);
    let mut best = None;
    for round in 0..5 {
        place.write(
            "polyloom.toml",
            format!(
                "[cells.a]\nlang = \"python\"\noutputs = {{ x = \"int\" }}\ncode = 'x = 1{round}'\n"
            ),
        );
        let start = Instant::now();
        assert_eq!(place.run(&[]).exits(0).ran(), ["a"]);
        let took = start.elapsed();
        best = Some(best.map_or(took, |best: std::time::Duration| best.min(took)));
    }
    println!("one warm Python cell, from command to exit: {:?}", best.unwrap());
}

#[test]
fn an_endless_recursion_in_java_is_told_at_its_line() {
    needs!("java", "javac");
    let place = Place::flow(
        "[cells.a]\nlang = \"java\"\ncode = '''\nclass A {\n  static int deep(int n) { return deep(n + 1) + 1; }\n\
         public static void main(String[] args) { System.out.println(deep(0)); }\n}\n'''\n",
    );
    let run = place.run(&[]).exits(1);
    let told = run.messages("a");
    assert!(told.starts_with("java.lang.StackOverflowError"), "{told}");
    let told = place.call(&["show", "a"]).end().stdout();
    assert!(told.contains("polyloom.toml:5"), "{told}");
}
