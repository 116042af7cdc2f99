//! Plugins of kind `native`: shared libraries, loaded in the sandbox by polyloom's own worker.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use polyloom_test_e2e::{Place, needs, skip};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds a library of C code into the executor `id` of a place.
fn library(place: &Place, id: &str, compiler: &[&str], source: &Path) {
    let to = place.executors().join(id).join("lib.so");
    let built = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
        .arg("-I")
        .arg(root().join("sdk/c"))
        .arg("-o")
        .arg(to)
        .arg(source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&built.stderr));
}

fn executor(place: &Place, id: &str, features: &str) {
    place.executor(
        id,
        &format!(
            "id = \"{id}\"\nversion = \"1\"\nkind = \"native\"\n[native]\nlibrary = \"lib.so\"\nfeatures = [{features}]\n"
        ),
    );
}

#[test]
fn the_example_keeps_the_contract_with_every_compiler() {
    let place = Place::new();
    let example = root().join("examples/plugins/say-c");
    let compilers: [&[&str]; 4] = [
        &["gcc", "-std=c99", "-Wpedantic"],
        &["g++", "-x", "c++", "-std=c++11", "-Wpedantic"],
        &["clang", "-std=c17", "-Wpedantic"],
        &["tcc"],
    ];
    for compiler in compilers {
        if Command::new(compiler[0]).arg("-v").output().is_err() {
            skip(&format!("{}: not here", compiler[0]));
            continue;
        }
        executor(&place, "say-c", "\"cancel.soft\", \"display\", \"progress\", \"catalog\"");
        library(&place, "say-c", compiler, &example.join("say.c"));
        let folder = place.executors().join("say-c");
        std::fs::copy(example.join("conformance.toml"), folder.join("conformance.toml")).unwrap();
        let folder = folder.to_str().unwrap();
        let report =
            place.polyloom(&["plugin", "test", folder, "--format", "json"]).exits(0).json();
        let cases = report["cases"].as_array().unwrap();
        let passed = cases.iter().filter(|case| case["outcome"] == "pass").count();
        assert!(passed > 40, "{compiler:?}: {passed}");
        assert_eq!(report["kind"], "native");
    }
}

#[test]
fn a_library_has_what_a_cell_has_and_asks_the_host() {
    needs!("gcc");
    let place = Place::new();
    executor(&place, "cc", "\"cancel.soft\", \"display\", \"progress\"");
    place.write(
        "cc.c",
        r#"#include <polyloom_plugin.h>
           static int opened;
           static void *open_it(void) { opened++; return &opened; }
           static int run(void *self, plx_exec *x) {
             const char *compiler[] = {"/usr/bin/gcc", "-x", "c", x->code, "-o", "/cell/work/program", NULL};
             const char *program[] = {"/cell/work/program", x->argc ? x->argv[0] : "none", NULL};
             size_t length = 0;
             const char *list = plx_text(x, "list", &length);
             if (self != &opened || opened != 1) return plx_fail(x, 0, 0, "opened wrongly");
             if (x->size < sizeof *x || x->host->size < sizeof *x->host) return plx_fail(x, 0, 0, "small");
             if (!list || strlen(list) != length || strcmp(list, "[1,2]") != 0) return plx_fail(x, 0, 0, list);
             if (plx_text(x, "none", NULL)) return plx_fail(x, 0, 0, "an input that is not there");
             if (x->inputs_length != 1 || strcmp(x->inputs[0].encoding, "msgpack") != 0) return plx_fail(x, 0, 0, "inputs");
             if (x->outputs_length != 1 || strcmp(x->outputs[0].type, "str") != 0) return plx_fail(x, 0, 0, "outputs");
             plx_log(x, PLX_WARN, "noted");
             plx_progress(x, 0.5, "half");
             if (plx_write_text(x, "y", list, length) != 0) return 1;
             return plx_compile_and_run(x, compiler, program);
           }
           PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {
             static const plx_plugin plugin = {PLX_PLUGIN_SIZE, "cc", "1", NULL, "cancel.soft display progress", open_it, run, NULL, NULL, NULL, NULL, NULL};
             return &plugin;
           }"#,
    );
    library(&place, "cc", &["gcc"], &place.project().join("cc.c"));
    place.write(
        "polyloom.toml",
        "[cells.good]\nlang = \"cc\"\nargv = [\"Ada\"]\nparams = { list = [1, 2] }\noutputs = { y = \"str\" }\n\
         code = '''\n#include <stdio.h>\nint main(int n, char **a) { printf(\"hello %s\\n\", a[n - 1]); return 0; }\n'''\n\
         [cells.wrong]\nlang = \"cc\"\nparams = { list = [1, 2] }\noutputs = { y = \"str\" }\n\
         code = '''\nint main(void) {\n  return nothing;\n}\n'''\n\
         [cells.late]\nlang = \"cc\"\ntimeout = \"1s\"\nparams = { list = [1, 2] }\noutputs = { y = \"str\" }\n\
         code = '''\n#include <unistd.h>\nint main(void) { sleep(60); }\n'''\n",
    );
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("good"), "ok", "{}", run.messages("good"));
    assert_eq!(run.bytes("good", "y"), b"\xa5[1,2]");
    let logs = place.polyloom(&["logs", "latest", "good"]).exits(0).stdout();
    assert!(logs.contains("hello Ada") && logs.contains("noted"), "{logs}");
    assert_eq!(run.outcome("wrong"), "failed");
    let told = run.cell("wrong")["diagnostics"].as_array().unwrap();
    let error = told.iter().find(|told| told["severity"] == "error").unwrap();
    assert_eq!((&error["file"], &error["line"]), (&"polyloom.toml".into(), &16.into()), "{error}");
    assert!(error["message"].as_str().unwrap().contains("nothing"), "{error}");
    assert_eq!(run.outcome("late"), "timed_out");
}

#[test]
fn a_library_keeps_sessions() {
    needs!("gcc");
    let place = Place::new();
    executor(&place, "memory", "\"session\", \"snapshot\"");
    place.write(
        "memory.c",
        r#"#include <polyloom_plugin.h>
           static int now, kept;
           static int run(void *self, plx_exec *x) {
             char word[16] = "";
             FILE *code = fopen(x->code, "r");
             (void)self;
             if (!code || fscanf(code, "%15s", word) != 1) return plx_fail(x, 1, 0, "no word");
             fclose(code);
             if (strcmp(word, "hello") == 0) return puts("hello") < 0;
             if (strcmp(word, "get") == 0) return printf("%d\n", now) < 0;
             now = strcmp(word, "set") == 0 ? 42 : 7;
             plx_session_changed(x);
             return 0;
           }
           static void reset(void *self) { (void)self; now = 0; }
           static void snapshot(void *self, const char *name) { (void)self; (void)name; kept = now; }
           static void restore(void *self, const char *name) { (void)self; (void)name; now = kept; }
           PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {
             static const plx_plugin plugin = {PLX_PLUGIN_SIZE, "memory", "1", NULL, "session snapshot", NULL, run, reset, snapshot, restore, NULL, NULL};
             return &plugin;
           }"#,
    );
    library(&place, "memory", &["gcc"], &place.project().join("memory.c"));
    let folder = place.executors().join("memory");
    let codes = "hello = 'hello'\nset = 'set'\nget = 'get'\nchange = 'change'\n";
    std::fs::write(folder.join("conformance.toml"), codes).unwrap();
    let folder = folder.to_str().unwrap();
    let report = place.polyloom(&["plugin", "test", folder, "--format", "json"]).exits(0).json();
    let grades = report["grades"].as_array().unwrap();
    let passed =
        |level: &str| grades.iter().any(|it| it["level"] == level && it["outcome"] == "pass");
    assert!(passed("session") && passed("snapshot"), "{report}");
}

/// The case `catalog` of a library whose function `catalog` is `body`, or has none: its outcome, and what was got.
fn catalog_of(place: &Place, body: Option<&str>) -> (String, String) {
    executor(place, "lists", "\"catalog\"");
    // Without one it is as a header before `catalog` had it; what lies behind its end is no function.
    let (function, size, last) = match body {
        Some(body) => (
            format!("static const char *catalog(void *self) {{ (void)self; {body} }}"),
            "PLX_PLUGIN_SIZE",
            "catalog",
        ),
        None => (String::new(), "offsetof(plx_plugin, catalog)", "(const char *(*)(void *))1"),
    };
    place.write(
        "lists.c",
        format!(
            "#include <polyloom_plugin.h>\n#include <stdlib.h>\n#include <stddef.h>\n\
             static int run(void *self, plx_exec *x) {{ (void)self; (void)x; return puts(\"hello\") < 0; }}\n{function}\n\
             PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {{ static const plx_plugin p = {{{size}, \"lists\", \"1\", 0, \"catalog\", 0, run, 0, 0, 0, 0, {last}}}; return &p; }}\n"
        ),
    );
    library(place, "lists", &["gcc"], &place.project().join("lists.c"));
    let folder = place.executors().join("lists");
    std::fs::write(folder.join("conformance.toml"), "hello = 'x'\n").unwrap();
    let args = ["plugin", "test", folder.to_str().unwrap(), "--format", "json"];
    let report = place.polyloom(&args).json();
    let cases = report["cases"].as_array().unwrap();
    let passed = |name: &str| cases.iter().any(|it| it["case"] == name && it["outcome"] == "pass");
    assert!(passed("hello") && passed("greeting"), "{report}");
    let case = cases.iter().find(|it| it["case"] == "catalog").unwrap();
    (case["outcome"].as_str().unwrap().to_owned(), case["got"].to_string())
}

#[test]
fn a_library_says_what_it_offers() {
    needs!("gcc");
    let place = Place::new();
    for body in [
        Some(r#"return "[{\"name\": \"say\", \"takes\": [\"str\"]}]";"#),
        Some(r#"return "[]";"#),
        None,
    ] {
        let (outcome, got) = catalog_of(&place, body);
        assert_eq!(outcome, "pass", "{body:?}: {got}");
    }
}

#[test]
fn a_bad_catalog_ends_the_process_of_its_library_and_is_told() {
    needs!("gcc");
    let place = Place::new();
    let filled = |text: &str| {
        format!(
            "size_t i; char *t = malloc((10 << 20) + 1); if (!t) abort(); for (i = 0; i < (10 << 20); i++) t[i] = {text}; t[i] = 0; return t;"
        )
    };
    // Entries of an array that is deeper than a message, and not than JSON may be.
    let deep = format!("return \"[{{\\\"a\\\": {}{}}}]\";", "[".repeat(60), "]".repeat(60));
    for (body, said) in [
        ("return NULL;", "it gave up: catalog there is no catalog: the text of `catalog` is NULL"),
        ("return \"\";", "is not the JSON form of a value: EOF"),
        ("return \"say, put\";", "is not the JSON form of a value: expected value"),
        ("return \"{}\";", "is no array of objects"),
        ("return \"[1]\";", "is no array of objects: entry 0 is none"),
        ("return \"[{\\\"a\\\": \\\"\\xff\\\"}]\";", "is not UTF-8"),
        (&*deep, "32"),
        (&*filled("'['"), "has over 1048576 bytes"),
        (&*filled("\"[1, \"[i & 3]"), "has over 1048576 bytes"),
        ("abort();", "SIGABRT"),
        ("return (const char *)8;", "SIGSEGV"),
    ] {
        let (outcome, got) = catalog_of(&place, Some(body));
        assert_eq!(outcome, "fail", "{body}");
        assert!(got.contains(said) && got.len() < 1000, "{body}: {got}");
    }
}

#[test]
fn a_bad_library_ends_its_own_process_and_says_why() {
    needs!("gcc", "g++");
    const PLUGIN: &str = "PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) { static const plx_plugin p = {PLX_PLUGIN_SIZE, \"bad\", \"1\", 0, 0, 0, run, 0, 0, 0, 0, 0}; return &p; }";
    let with = |body: &str| {
        format!(
            "#include <polyloom_plugin.h>\n#include <stdlib.h>\nstatic int run(void *self, plx_exec *x) {{ (void)self; (void)x; {body} }}\n{PLUGIN}\n"
        )
    };
    let entry = |body: &str| {
        format!(
            "#include <polyloom_plugin.h>\nPLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {{ {body} }}\n"
        )
    };
    // What is wrong, its code, how the cell ends, what is said.
    let bad: [(&str, String, &str, &str); 11] = [
        (
            "constructor",
            "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }"
                .into(),
            "worker_error",
            "ended by SIGABRT before it said hello",
        ),
        ("symbol", "int nothing;".into(), "worker_error", "does not export `polyloom_plugin_v1`"),
        ("null", entry("return 0;"), "worker_error", "returned NULL"),
        (
            "size",
            entry("static const plx_plugin p = {8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}; return &p;"),
            "worker_error",
            "has 8 bytes",
        ),
        (
            "name",
            entry(
                "static const plx_plugin p = {PLX_PLUGIN_SIZE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}; return &p;",
            ),
            "worker_error",
            "has no `",
        ),
        (
            "other",
            entry(
                "static const plx_plugin p = {PLX_PLUGIN_SIZE, \"else\", \"1\", 0, 0, 0, (int (*)(void *, plx_exec *))1, 0, 0, 0, 0, 0}; return &p;",
            ),
            "worker_error",
            "else",
        ),
        (
            "segv",
            with("*(volatile int *)0 = 1; return 0;"),
            "killed",
            "` (its library `lib.so`) was ended by SIGSEGV before it said that the cell is done",
        ),
        (
            "exit",
            with("exit(7);"),
            "failed",
            "` ended itself with exit code 7 before it said that the cell is done",
        ),
        (
            "silent",
            with("return 3;"),
            "failed",
            "\"file\":null,\"line\":null,\"message\":\"the executor `bad8` failed: it returned 3 and said nothing",
        ),
        (
            "name of file",
            with("return plx_write(x, \"../y\", \"\", 0);"),
            "failed",
            "no name of an output",
        ),
        (
            "display",
            with("return plx_display(x, \"text/plain\", calloc(1, 1 << 20), 1 << 20);"),
            "failed",
            "1048576",
        ),
    ];
    let place = Place::new();
    let mut flow = "[cells.fine]\nlang = \"sh\"\ncode = \"echo fine\"\n".to_owned();
    for (at, (_, code, _, _)) in bad.iter().enumerate() {
        let id = format!("bad{at}");
        executor(&place, &id, "");
        let code = code.replace("\"bad\"", &format!("\"{id}\""));
        place.write(&format!("{id}.c"), code);
        library(&place, &id, &["gcc"], &place.project().join(format!("{id}.c")));
        flow.push_str(&format!("[cells.{id}]\nlang = \"{id}\"\ncode = \"x\"\n"));
    }
    // An exception of C++ that leaves a function, and what only begins as a library.
    let throws = with("throw 1; return 0;").replace("\"bad\"", "\"bad11\"");
    for id in ["bad11", "bad12"] {
        executor(&place, id, "");
        flow.push_str(&format!("[cells.{id}]\nlang = \"{id}\"\ncode = \"x\"\n"));
    }
    place.write("bad11.cc", throws);
    library(&place, "bad11", &["g++"], &place.project().join("bad11.cc"));
    std::fs::write(place.executors().join("bad12/lib.so"), b"\x7fELF junk").unwrap();
    place.write("polyloom.toml", flow);
    let run = place.run(&["-k"]).exits(5);
    assert_eq!(run.outcome("fine"), "ok");
    let all = bad.iter().map(|(name, _, outcome, said)| (*name, *outcome, *said)).chain([
        ("exception", "killed", "SIGABRT"),
        ("junk", "worker_error", "can't load the library"),
    ]);
    for (at, (name, outcome, said)) in all.enumerate() {
        let id = format!("bad{at}");
        let meta = run.cell(&id).to_string();
        assert_eq!(run.outcome(&id), outcome, "{name}: {meta}");
        let logs = place.polyloom(&["logs", "latest", &id]);
        let told = run.messages(&id) + &logs.stdout() + &logs.stderr() + &meta;
        assert!(told.contains(said), "{name}: {told}");
    }
}

#[test]
fn a_panic_of_rust_ends_the_process_of_its_library_only() {
    needs!("rustc");
    let place = Place::new();
    executor(&place, "rusty", "");
    place.write(
        "rusty.rs",
        r#"#[repr(C)] pub struct Plugin { size: usize, texts: [Option<&'static u8>; 4], open: Option<extern "C" fn() -> usize>,
             exec: extern "C" fn(usize, usize) -> i32, more: [usize; 4] }
           extern "C" fn exec(_: usize, _: usize) -> i32 { panic!("on purpose") }
           static PLUGIN: Plugin = Plugin { size: std::mem::size_of::<Plugin>(), texts: [Some(&b"rusty\0"[0]), Some(&b"1\0"[0]), None, None],
             open: None, exec, more: [0; 4] };
           #[unsafe(no_mangle)] pub extern "C" fn polyloom_plugin_v1() -> *const Plugin { &PLUGIN }"#,
    );
    let built = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
        .arg(place.executors().join("rusty/lib.so"))
        .arg(place.project().join("rusty.rs"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    place.write("polyloom.toml", "[cells.a]\nlang = \"rusty\"\ncode = \"x\"\n");
    let run = place.run(&[]).exits(1);
    assert_eq!(run.outcome("a"), "killed");
    let logs = place.polyloom(&["logs", "latest", "a"]).exits(0);
    assert!((logs.stdout() + &logs.stderr()).contains("on purpose"));
}
