//! The tables of languages in `README.md` beside the manifests: what each needs and can do, and the marks that it was given.
//!
//! The tests that give the marks compare the rows, so that nothing is run for the table alone. With `UPDATE=1` they write them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

const BEGIN: &str = "<!-- begin languages -->\n";
const END: &str = "<!-- end languages -->";
const LEVELS: [&str; 7] = ["run", "stream", "diagnose", "cancel", "session", "snapshot", "catalog"];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The names of the folders with a manifest, sorted.
pub fn manifests(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("executor.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The manifest in a folder.
pub fn manifest(folder: &Path) -> toml::Table {
    fs::read_to_string(folder.join("executor.toml")).unwrap().parse().unwrap()
}

/// The languages that have a row, in its order.
pub fn listed(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    rows(&text).into_iter().map(|(lang, _)| lang).collect()
}

/// Compares the row of a language with its manifest and these marks.
pub fn compare(folder: &Path, lang: &str, grades: &Value) {
    let row = row(&manifest(&folder.join(lang)), grades);
    let path = folder.join("README.md");
    // Other tests write other rows.
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut rows: BTreeMap<String, String> = rows(&text).into_iter().collect();
    let there = rows.insert(lang.to_owned(), row.clone());
    if std::env::var_os("UPDATE").is_some() {
        let kept = manifests(folder);
        rows.retain(|lang, _| kept.contains(lang));
        let (from, to) = block(&text);
        let table = head() + &rows.into_values().collect::<String>();
        fs::write(&path, format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
        return;
    }
    let why = format!("{}: run with UPDATE=1", path.display());
    assert_eq!(there.as_ref(), Some(&row), "the row of `{lang}` is out of date in {why}");
}

fn block(text: &str) -> (usize, usize) {
    let from = text.find(BEGIN).unwrap() + BEGIN.len();
    (from, from + text[from..].find(END).unwrap())
}

/// Languages and their lines.
fn rows(text: &str) -> Vec<(String, String)> {
    let (from, to) = block(text);
    let lines = text[from..to].lines().filter_map(|line| {
        let (lang, _) = line.strip_prefix("| `")?.split_once('`')?;
        Some((lang.to_owned(), format!("{line}\n")))
    });
    lines.collect()
}

fn head() -> String {
    let columns: Vec<&str> =
        ["id", "language", "kind", "needs", "features"].iter().chain(&LEVELS).copied().collect();
    format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
}

fn row(manifest: &toml::Table, grades: &Value) -> String {
    let text = |name: &str| manifest[name].as_str().unwrap();
    let tools = manifest.get("toolchain").and_then(|tools| tools.as_table());
    let tools = tools.into_iter().flat_map(|tools| tools.values());
    let needs: Vec<String> = tools.map(|tool| list(&tool["any"], " or ")).collect();
    let features = manifest.get("worker").and_then(|worker| worker.get("features"));
    let features = features.map_or_else(String::new, |features| list(features, ", "));
    let cell = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    let mut row = format!("| `{}` | {} | {} |", text("id"), text("title"), text("kind"));
    let _ = write!(row, " {} | {} |", cell(needs.join(", ")), cell(features));
    for level in LEVELS {
        let grade =
            grades.as_array().unwrap().iter().find(|grade| grade["level"] == level).unwrap();
        let mark = match grade["outcome"].as_str().unwrap() {
            "pass" => format!("✓ {}", grade["passed"]),
            "fail" => format!("✗ {} of {}", grade["passed"], grade["cases"]),
            _ => String::new(),
        };
        let _ = write!(row, " {} |", cell(mark));
    }
    row + "\n"
}

fn list(values: &toml::Value, between: &str) -> String {
    let values = values.as_array().unwrap().iter();
    let words: Vec<String> = values.map(|value| format!("`{}`", value.as_str().unwrap())).collect();
    words.join(between)
}
