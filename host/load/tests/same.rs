//! The three formats say the same: what is read from one and written as JSON is the same flow.
#![allow(clippy::unwrap_used)]

mod support;

use polyloom_load::{Document, Format, Source, to_json};
use support::check;

const TOML: &str = r#"
[flow]
name = "same"
strict = false
[params]
n = 3
[params.names]
type = "list<str>"
default = ["a", "é\n"]
[executors.c]
cc = "clang"
[defaults]
memory = "64MiB"
[cells.b]
lang = "python"
code = "x = n\n"
inputs = { n = "param:n", w = { value = [1.0, inf, -0.0], type = "list<float>" }, k = { a = { b = 1 } } }
outputs = { y = "record{a:int,b:list<float>}", z = { temp = true, type = "tensor<f64,[n]>" }, m = { type = "file", keep = true, temp = false } }
[cells.a]
lang = "c"
code = "int main;\n"
inputs = { y = "b.y", t = { from = "b.y", type = "any" }, raw = { value = { "$bytes" = "aGk=" } } }
params = { title = "x.y" }
argv = ["-v"]
env = { A = "1" }
stdin = "hello"
timeout = "5s"
cpus = 0.5
cpu_time = "1s"
pids = 7
disk = 4096
output_limit = "1KiB"
retries = 1
cache = false
seed = -1
tags = ["x"]
doc = "d"
"#;

const MARKDOWN: &str = r#"---
flow: { name: same, strict: false }
params:
  n: 3
  names:
    type: list<str>
    default: ["a", "é\n"]
executors: { c: { cc: clang } }
defaults: { memory: 64MiB }
---

```{python}
#| id: b
#| inputs: { n: param:n, w: { value: [1.0, inf, -0.0], type: list<float> }, k: { a: { b: 1 } } }
#| outputs: { y: "record{a:int,b:list<float>}", z: { type: "tensor<f64,[n]>", temp: true }, m: { type: file, keep: true, temp: false } }
x = n
```

```{c}
//| label: a
//| inputs:
//|   y: b.y
//|   t: { from: b.y, type: any }
//|   raw: { value: { $bytes: aGk= } }
//| params: { title: x.y }
//| argv: [-v]
//| env: { A: "1" }
//| stdin: hello
//| timeout: 5s
//| cpus: 0.5
//| cpu_time: 1s
//| pids: 7
//| disk: 4096
//| output_limit: 1KiB
//| retries: 1
//| cache: false
//| seed: -1
//| tags: [x]
//| doc: d
int main;
```
"#;

/// What a flow says, but for where its code stood.
fn said(name: &str, text: &str) -> String {
    let loaded = check(name, text, None);
    let mut flow = loaded
        .flow
        .unwrap_or_else(|| panic!("{}", polyloom_load::render(&loaded.report, false, 100)));
    flow.path = "x".into();
    for cell in &mut flow.cells {
        cell.code.origin.path = std::path::Path::new("x").into();
        cell.code.origin.first_line = 0;
        cell.code.origin.indent = None;
        cell.line = 0;
        cell.lines = Default::default();
    }
    format!("{flow:#?}")
}

#[test]
fn three_formats_are_one_model() {
    let json = |text, format| to_json(&Document::read(&Source::new("x", text), format).unwrap());
    let from_toml = json(TOML, Format::Toml);
    let from_markdown = json(MARKDOWN, Format::Markdown);
    assert_eq!(from_toml, from_markdown);
    assert_eq!(
        json(&from_toml, Format::Json),
        from_toml,
        "canonical JSON is its own canonical form"
    );
    let flow = said("x.toml", TOML);
    assert_eq!(said("x.json", &from_toml), flow);
    assert_eq!(said("x.md", MARKDOWN), flow);
}

#[test]
fn the_order_of_keys_does_not_change_the_bytes() {
    let one = r#"{"cells": {"a": {"code": "", "lang": "c", "env": {"B": "1", "A": "2"}}}, "params": {"z": 1, "a": 2}}"#;
    let two = r#"{"params": {"a": 2, "z": 1}, "cells": {"a": {"env": {"A": "2", "B": "1"}, "lang": "c", "code": ""}}}"#;
    let json = |text| to_json(&Document::read(&Source::new("x", text), Format::Json).unwrap());
    assert_eq!(json(one), json(two));
}
