//! Hostile workers, as rows of `hostile/*.toml`. Knows how a worker of the fake executor is declared; does not know what became of them.

use polyloom_attack::{Case, Stage, flow_of, parse};
use serde_json::{Value, json};

use crate::oracle::program;

/// The executor that misbehaves to order.
fn fake() -> std::path::PathBuf {
    program("POLYLOOM_FAKE_BIN", "polyloom-fake")
}

/// Rows about workers.
#[must_use]
pub fn workers() -> Vec<Case> {
    parse("workers.toml", include_str!("../hostile/workers.toml")).unwrap()
}

/// The cell that shows that others go on, in every flow of [`workers_on`].
pub const GOOD: &str = "good";

/// Lays a flow with the cases on a stage, an executor of its own for each: what one does in its greeting is its own affair.
pub fn workers_on(stage: &Stage, cases: &[&Case]) {
    let mut renamed: Vec<Case> = Vec::new();
    let mut chosen = serde_json::Map::new();
    for case in cases {
        let id = format!("fake-{}", case.cell());
        let words =
            case.lang.strip_prefix("fake ").unwrap_or_else(|| panic!("lang of {}", case.id));
        stage.write(&format!("executors/{id}/executor.toml"), manifest(&id, words)).unwrap();
        chosen.insert(id.clone(), json!({ "fake": fake() }));
        renamed.push(Case { lang: id, ..Case::clone(case) });
    }
    let text = flow_of(&renamed.iter().collect::<Vec<_>>(), stage.canaries());
    let mut flow: Value = serde_json::from_str(&text).unwrap();
    flow["executors"] = Value::Object(chosen);
    flow["cells"][GOOD] =
        json!({ "lang": "sh", "code": "echo 42 > $OUT/answer", "outputs": { "answer": "int" } });
    stage.write("project/polyloom.json", flow.to_string()).unwrap();
}

/// Lays a flow on a stage with a cell for each name, all of one executor that greets as the words say, beside [`GOOD`] and a worker that behaves.
pub fn crowd_on(stage: &Stage, words: &str, cells: &[&str], keys: &Value) {
    for (id, words) in [("fake-bad", words), ("fake-well", "well")] {
        stage.write(&format!("executors/{id}/executor.toml"), manifest(id, words)).unwrap();
    }
    let mut flow = json!({
        "executors": { "fake-bad": { "fake": fake() }, "fake-well": { "fake": fake() } },
        "cells": {
            "well": { "lang": "fake-well", "code": "echo" },
            GOOD: { "lang": "sh", "code": "echo 42 > $OUT/answer", "outputs": { "answer": "int" } },
        },
    });
    for cell in cells {
        let mut bad = keys.clone();
        bad["lang"] = json!("fake-bad");
        bad["code"] = json!("echo");
        flow["cells"][*cell] = bad;
    }
    stage.write("project/polyloom.json", flow.to_string()).unwrap();
}

/// The manifest of a fake worker that greets as the words say.
fn manifest(id: &str, words: &str) -> String {
    let argv: Vec<String> = words.split(' ').map(|word| format!("\"{word}\"")).collect();
    format!(
        "id = \"{id}\"\nversion = \"1\"\nkind = \"worker\"\nextensions = [\"{id}\"]\n\
         [toolchain.fake]\nany = [\"polyloom-fake\"]\nversion = [\"--help\"]\n\
         [toolchain.env]\nany = [\"env\"]\nversion = []\n\
         [worker]\nargv = [\"{{env}}\", \"POLYLOOM_FAKE_ID={id}\", \"{{fake}}\", {}]\n\
         features = [\"cancel.soft\", \"display\", \"progress\"]\n",
        argv.join(", ")
    )
}
