//! One flow in three forms: TOML, JSON and Markdown mean the same cells with the same keys.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::Place;
use serde_json::Value;

const TOML: &str = r#"
[params.n]
type = "int"
default = 3

[cells.a]
lang = "sh"
inputs = { n = "param:n" }
outputs = { x = "int" }
code = """
echo $((n * 2)) > $OUT/x
"""
timeout = "5s"

[cells.b]
lang = "awk"
inputs = { x = "a.x" }
outputs = { y = "str" }
env = { UNIT = "m" }
code = """
BEGIN { print ENVIRON["x"] ENVIRON["UNIT"] > (ENVIRON["OUT"] "/y") }
"""
"#;

const JSON: &str = r#"{
  "params": { "n": { "type": "int", "default": 3 } },
  "cells": {
    "a": {
      "lang": "sh", "inputs": { "n": "param:n" }, "outputs": { "x": "int" }, "timeout": "5s",
      "code": "echo $((n * 2)) > $OUT/x\n"
    },
    "b": {
      "lang": "awk", "inputs": { "x": "a.x" }, "outputs": { "y": "str" }, "env": { "UNIT": "m" },
      "code": "BEGIN { print ENVIRON[\"x\"] ENVIRON[\"UNIT\"] > (ENVIRON[\"OUT\"] \"/y\") }\n"
    }
  }
}"#;

const MARKDOWN: &str = r#"---
title: A document
params: { n: 3 }
---

# Twice as much

```{sh}
#| id: a
#| inputs: { n: "param:n" }
#| outputs: { x: int }
#| timeout: 5s
echo $((n * 2)) > $OUT/x
```

and with a unit, which is not `a cell`:

```
plain
```

```{awk}
#| id: b
#| inputs: { x: a.x }
#| outputs: { y: str }
#| env: { UNIT: m }
BEGIN { print ENVIRON["x"] ENVIRON["UNIT"] > (ENVIRON["OUT"] "/y") }
```
"#;

fn keys(place: &Place, flow: &str) -> Vec<(String, String)> {
    let plan = place.polyloom(&["plan", flow, "--format", "json"]).exits(0).json();
    let steps = plan["steps"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps.map(|step| (text(&step["cell"]), text(&step["key"]))).collect()
}

#[test]
fn three_forms_have_the_same_keys_and_results() {
    let place = Place::new();
    place.write("one.flow.toml", TOML);
    place.write("two.flow.json", JSON);
    place.write("three.md", MARKDOWN);
    let flows = ["one.flow.toml", "two.flow.json", "three.md"];
    for flow in flows {
        let _ = place.polyloom(&["check", flow]).exits(0);
        assert_eq!(keys(&place, flow), keys(&place, flows[0]), "{flow}");
    }
    let first = place.run(&[flows[0]]).exits(0);
    assert_eq!(first.told(), "a ok, b ok");
    assert_eq!(first.bytes("b", "y"), b"\xa26m");
    for flow in &flows[1..] {
        let run = place.run(&[flow]).exits(0);
        assert_eq!(run.told(), "a cached, b cached", "{flow}");
        assert_eq!(run.digest("b", "y"), first.digest("b", "y"));
    }
}

#[test]
fn inline_code_and_a_file_have_the_same_key() {
    let place = Place::new();
    place.write("inline.toml", "[cells.a]\nlang = \"sh\"\ncode = \"\"\"\necho hi\n\"\"\"\n");
    place.write("beside.toml", "[cells.a]\nlang = \"sh\"\nfile = \"a.dash\"\n");
    place.write("a.dash", "echo hi\n");
    assert_eq!(keys(&place, "inline.toml"), keys(&place, "beside.toml"));
    place.write("a.dash", "echo ho\n");
    assert_ne!(keys(&place, "inline.toml"), keys(&place, "beside.toml"));
}

#[test]
fn lines_of_a_markdown_cell_are_those_of_the_document() {
    let place = Place::new();
    place.write("doc.md", "# Title\n\n```{c}\n//| id: a\nint main(void) {\n  return x;\n}\n```\n");
    polyloom_test_e2e::needs!("gcc");
    let ended = place.polyloom(&["run", "doc.md"]).exits(1);
    assert!(ended.stderr().contains("doc.md:6:10"), "{}", ended.screen());
}

#[test]
fn a_folder_with_one_flow_needs_no_name() {
    for (name, text) in [("x.flow.toml", TOML), ("polyloom.json", JSON), ("notes.md", MARKDOWN)] {
        let place = Place::new();
        place.write(name, text);
        assert_eq!(place.run(&[]).exits(0).told(), "a ok, b ok", "{name}");
    }
}
