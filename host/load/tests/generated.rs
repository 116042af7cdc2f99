//! What is generated and committed is what the code says. `UPDATE=1 cargo test -p polyloom-load` writes it anew.
#![allow(clippy::unwrap_used)]

use std::path::Path;

fn same(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{} is out of date: run with UPDATE=1", path.display());
}

#[test]
fn the_catalogue_of_codes_is_up_to_date() {
    same("CODES.md", &polyloom_load::catalogue());
}

#[test]
fn codes_are_unique_and_documented() {
    let mut seen = std::collections::BTreeSet::new();
    for code in polyloom_load::Code::ALL {
        assert!(seen.insert(code.as_str()), "{code} is there twice");
        assert!(code.as_str().starts_with("PL") && code.as_str().len() == 5);
        assert!(code.doc().ends_with('.') && !code.title().is_empty());
    }
}

#[test]
fn the_schemas_are_up_to_date() {
    same("schema/flow.schema.json", &polyloom_load::flow_schema());
    same("schema/executor.schema.json", &polyloom_load::executor_schema());
}

#[test]
fn the_reference_in_the_readme_is_up_to_date() {
    let readme = include_str!("../README.md");
    let mut text = readme.to_owned();
    for (name, table) in
        [("flow", polyloom_load::reference()), ("manifest", polyloom_load::manifest_reference())]
    {
        let (begin, end) =
            (format!("<!-- begin {name} keys -->\n"), format!("<!-- end {name} keys -->"));
        let from = text.find(&begin).unwrap() + begin.len();
        let to = from + text[from..].find(&end).unwrap();
        text.replace_range(from..to, &table);
    }
    same("README.md", &text);
}

#[test]
fn every_table_of_a_manifest_is_in_the_reference_and_in_the_guide() {
    let reference = polyloom_load::manifest_reference();
    let guide = include_str!("../../../executors/README.md");
    let schema: serde_json::Value =
        serde_json::from_str(&polyloom_load::executor_schema()).unwrap();
    let properties =
        |node: &serde_json::Value| node["properties"].as_object().cloned().unwrap_or_default();
    for (name, node) in properties(&schema) {
        if properties(&node).is_empty() {
            continue;
        }
        assert!(reference.contains(&format!("### `[{name}]`")), "no table of [{name}]");
        assert!(guide.contains(&format!("[{name}]")), "[{name}] is not in executors/README.md");
    }
    let (_, limits) = guide.split_once("\n[limits]").unwrap();
    let (limits, _) = limits.split_once("\npids =").unwrap();
    let words: Vec<&str> = limits.split_whitespace().collect();
    for name in properties(&schema["properties"]["limits"]).keys() {
        assert!(words.contains(&name.as_str()), "[limits] in executors/README.md has no {name}");
    }
    assert!(!reference.contains("``"), "code in code");
}
