//! The document that `run --format json` prints, with the questions that tests ask it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// The document.
    pub document: Value,
    /// The exit code.
    pub code: i32,
    /// What was printed on stderr.
    pub stderr: String,
}

impl Run {
    /// Asserts the exit code.
    #[must_use]
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n{}", self.stderr);
        self
    }

    /// One cell.
    #[must_use]
    #[track_caller]
    pub fn cell(&self, id: &str) -> &Value {
        let cells = self.document["cells"].as_array().unwrap();
        let cell = cells.iter().find(|cell| cell["id"] == id);
        cell.unwrap_or_else(|| panic!("no cell `{id}` in {:#}", self.document))
    }

    /// A cell's outcome.
    #[must_use]
    #[track_caller]
    pub fn outcome(&self, id: &str) -> &str {
        self.cell(id)["outcome"].as_str().unwrap_or("none")
    }

    /// All outcomes as `cell outcome`, in the order of names.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<String, String> {
        let cells = self.document["cells"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        cells.iter().map(|cell| (text(&cell["id"]), text(&cell["outcome"]))).collect()
    }

    /// All outcomes as one text, `a ok, b cached`, in the order of names.
    #[must_use]
    pub fn told(&self) -> String {
        let told: Vec<String> =
            self.outcomes().iter().map(|(cell, outcome)| format!("{cell} {outcome}")).collect();
        told.join(", ")
    }

    /// Names of the cells that ran, whatever came of it.
    #[must_use]
    pub fn ran(&self) -> Vec<String> {
        let idle = ["cached", "skipped", "cancelled", "none"];
        let outcomes = self.outcomes().into_iter();
        outcomes.filter(|(_, outcome)| !idle.contains(&&**outcome)).map(|(cell, _)| cell).collect()
    }

    /// The digest of an output.
    #[must_use]
    #[track_caller]
    pub fn digest(&self, cell: &str, port: &str) -> String {
        let digest = self.cell(cell)["outputs"][port]["digest"].as_str();
        let digest = digest.unwrap_or_else(|| panic!("no `{cell}.{port}`: {}", self.stderr));
        digest.to_owned()
    }

    /// The path of an output in the store.
    #[must_use]
    #[track_caller]
    pub fn path(&self, cell: &str, port: &str) -> PathBuf {
        let path = self.cell(cell)["outputs"][port]["path"].as_str();
        PathBuf::from(path.unwrap_or_else(|| panic!("no `{cell}.{port}`: {}", self.stderr)))
    }

    /// The bytes of an output as they are stored.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self, cell: &str, port: &str) -> Vec<u8> {
        std::fs::read(self.path(cell, port)).unwrap()
    }

    /// How well a mechanism of the sandbox was enforced on a cell: `full`, `partial` or `none`.
    #[must_use]
    #[track_caller]
    pub fn level(&self, cell: &str, mechanism: &str) -> &str {
        let all = self.cell(cell)["enforcement"].as_array().unwrap();
        let row = all.iter().find(|row| row["mechanism"] == mechanism);
        row.and_then(|row| row["level"].as_str()).unwrap_or("none")
    }

    /// Messages of a cell's diagnostics.
    #[must_use]
    #[track_caller]
    pub fn messages(&self, cell: &str) -> String {
        let all = self.cell(cell)["diagnostics"].as_array().unwrap();
        let texts = all.iter().filter_map(|diagnostic| diagnostic["message"].as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}
