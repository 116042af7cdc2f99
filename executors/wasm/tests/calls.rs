//! Functions that a component exports, read and called as the host does it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use polyloom_protocol::Value;
use serde_json::{Value as Json, json};

const EXECUTOR: &str = env!("CARGO_BIN_EXE_polyloom-executor-wasm");
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests");

fn ask(question: &Json) -> Output {
    let mut command = Command::new(EXECUTOR);
    let command = command.arg("catalog").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn catalog(location: &str, object: Option<&str>) -> Json {
    let target = json!({ "location": location, "object": object });
    let output = ask(&json!({ "version": 1, "root": GUESTS, "targets": [target] }));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Problems as `CODE message`.
fn problems(catalog: &Json) -> Vec<String> {
    let all = catalog["problems"].as_array().unwrap().iter();
    all.map(|it| format!("{} {}", it["code"].as_str().unwrap(), it["message"].as_str().unwrap()))
        .collect()
}

/// The compiled component in a folder with inputs, called.
fn call(function: &str, inputs: &[(&str, Value)]) -> (Output, Vec<(String, Value)>) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("in")).unwrap();
    std::fs::create_dir(at("out")).unwrap();
    for (port, value) in inputs {
        std::fs::write(at("in").join(format!("{port}.msgpack")), value.to_msgpack()).unwrap();
    }
    let source = Path::new(GUESTS).join("calc.wat");
    let compiled = Command::new(EXECUTOR)
        .arg("compile")
        .arg(source)
        .arg("-o")
        .arg(at("program"))
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let mut command = Command::new(EXECUTOR);
    command.arg("run").arg(at("program")).env("IN", at("in")).env("OUT", at("out"));
    let output = command.env("POLYLOOM_CALL", function).output().unwrap();
    let files = std::fs::read_dir(at("out")).unwrap().map(|entry| entry.unwrap());
    let read = |path: &Path| Value::from_canonical(&std::fs::read(path).unwrap()).unwrap();
    let mut found: Vec<_> =
        files.map(|file| (file.file_name().into_string().unwrap(), read(&file.path()))).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    (output, found)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

#[test]
fn the_catalog_has_functions_and_those_of_interfaces_with_their_types() {
    let catalog = catalog("./calc.wat", None);
    let port = |it: &Json| {
        let optional = if it["required"].as_bool().unwrap() { "" } else { "?" };
        format!("{}{optional}: {}", it["name"].as_str().unwrap(), it["type"].as_str().unwrap())
    };
    let ports = |it: &Json| it.as_array().unwrap().iter().map(port).collect::<Vec<_>>().join(", ");
    let entries = catalog["entries"].as_array().unwrap().iter();
    let lines: Vec<_> = entries
        .map(|it| {
            format!(
                "{} ({}) -> {}",
                it["id"].as_str().unwrap(),
                ports(&it["inputs"]),
                ports(&it["outputs"])
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "wasm:./calc.wat:add (a: int, b: int) -> result: int",
            "wasm:./calc.wat:scale (values: list<float>, by_factor?: float|null) -> result: list<float>",
            "wasm:./calc.wat:whole.div-mod (a: int, b: int) -> result_1: int, result_2: int",
        ]
    );
    let schema = &catalog["entries"][0]["inputs"][0]["schema"];
    assert_eq!(*schema, json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }));
}

#[test]
fn what_is_no_component_or_not_there_is_told() {
    for (location, object, told) in [
        ("./calc.wat", Some("sub"), "WC006 `calc.wat` exports no `sub`"),
        ("./hello.wat", Some("x"), "WC004 `hello.wat` is a module: it exports no types"),
        ("./files.c", None, "WC003 `files.c` is no WebAssembly"),
        ("./absent.wasm", None, "WC002 `absent.wasm` can't be read"),
        ("../guests.rs", None, "WC001 `../guests.rs` is no file of the project"),
        ("./../guests.rs", None, "WC001 `./../guests.rs` leads out of the folder"),
        ("some.package", None, "WC001 `some.package` is no file of the project"),
    ] {
        let problems = problems(&catalog(location, object));
        assert!(problems.len() == 1 && problems[0].starts_with(told), "{location}: {problems:?}");
    }
    let answer = ask(&json!({ "version": 2 }));
    assert_eq!(answer.status.code(), Some(2));
    assert!(said(&answer).starts_with("error: the question is not one of version 1"));
}

#[test]
fn values_come_from_inputs_and_go_to_outputs() {
    let float = |x: f64| Value::Float(x);
    let (_, sum) = call("add", &[("a", Value::Int(17)), ("b", Value::Int(5))]);
    assert_eq!(sum, [("result.msgpack".to_owned(), Value::Int(22))]);
    let values = Value::List(vec![float(1.5), Value::Int(4)]);
    let (_, twice) = call("scale", &[("values", values.clone())]);
    assert_eq!(twice[0].1, Value::List(vec![float(3.0), float(8.0)]));
    let (_, thrice) = call("scale", &[("values", values), ("by_factor", Value::Int(3))]);
    assert_eq!(thrice[0].1, Value::List(vec![float(4.5), float(12.0)]));
    let (_, both) = call("whole.div-mod", &[("a", Value::Int(17)), ("b", Value::Int(5))]);
    let [first, second] = &both[..] else { panic!("{both:?}") };
    assert_eq!((&first.1, &second.1), (&Value::Int(3), &Value::Int(2)));
}

#[test]
fn what_does_not_fit_names_the_argument_and_nothing_is_left() {
    let (a, big) = (("a", Value::Int(17)), ("b", Value::Int(1 << 40)));
    let text = ("b", Value::Str("five".into()));
    for (function, inputs, told) in [
        ("add", vec![a.clone()], "error: argument `b` is not given"),
        ("add", vec![a.clone(), big], "error: argument `b`: expected u32, found int 1099511627776"),
        ("add", vec![a.clone(), text], "error: argument `b`: expected int, found str \"five\""),
        ("sub", vec![a.clone()], "error: the component exports no function `sub`"),
        ("other.add", vec![a.clone()], "error: the component exports no function `other.add`"),
        (
            "whole.div-mod",
            vec![a, ("b", Value::Int(0))],
            "error: `whole.div-mod` gave an error: division by zero",
        ),
    ] {
        let (output, left) = call(function, &inputs);
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), told));
        assert_eq!(left, []);
    }
}
