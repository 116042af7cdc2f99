//! The direction of dependencies between the crates, and the walls around what each may do (host/README.md).

#![expect(clippy::unwrap_used, reason = "a test: a panic with its place is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// What each crate may depend on among ours, outside of tests. A crate that is not here may be used by nobody.
const MAY_USE: &[(&str, &[&str])] = &[
    ("polyloom-protocol", &[]),
    ("polyloom-sandbox", &[]),
    ("polyloom-sdk", &["polyloom-protocol"]),
    ("polyloom-executors", &[]),
    ("polyloom-executor-c", &[]),
    ("polyloom-executor-jupyter", &["polyloom-sdk"]),
    ("polyloom-executor-native", &["polyloom-sdk"]),
    ("say-rust", &["polyloom-sdk"]),
    ("polyloom-executor-wasm", &["polyloom-protocol", "polyloom-sdk"]),
    ("polyloom-model", &["polyloom-protocol"]),
    ("polyloom-events", &["polyloom-protocol"]),
    ("polyloom-load", &["polyloom-model", "polyloom-protocol"]),
    ("polyloom-plan", &["polyloom-model", "polyloom-protocol"]),
    ("polyloom-plugins", &["polyloom-load", "polyloom-model"]),
    ("polyloom-schedule", &["polyloom-model", "polyloom-plan"]),
    ("polyloom-store", &["polyloom-model", "polyloom-protocol"]),
    ("polyloom-worker", &["polyloom-model", "polyloom-protocol", "polyloom-sandbox"]),
    ("polyloom-report", &["polyloom-events", "polyloom-protocol"]),
    ("polyloom-server", &["polyloom-events"]),
    ("polyloom-attack", &["polyloom-events", "polyloom-protocol"]),
    (
        "polyloom-conformance",
        &["polyloom-model", "polyloom-protocol", "polyloom-sandbox", "polyloom-worker"],
    ),
    (
        "polyloom-runtime",
        &[
            "polyloom-model",
            "polyloom-protocol",
            "polyloom-plan",
            "polyloom-schedule",
            "polyloom-worker",
            "polyloom-store",
            "polyloom-events",
        ],
    ),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let used = package["dependencies"].as_array().unwrap().iter();
        let used = used.filter(|dependency| dependency["kind"].is_null());
        let names = used.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
        all.insert(package["name"].as_str().unwrap().to_owned(), names.collect());
    }
    all
}

#[test]
fn crates_depend_in_one_direction() {
    let all = dependencies();
    for (name, used) in &all {
        let ours: Vec<&String> = used.iter().filter(|name| name.starts_with("polyloom")).collect();
        if name == "polyloom" || name.starts_with("polyloom-test-") || name == "polyloom-fake" {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("`{name}` has no row"));
        for used in ours {
            assert!(allowed.contains(&used.as_str()), "`{name}` may not use `{used}`");
        }
    }
}

#[test]
fn pure_crates_have_no_way_out() {
    let all = dependencies();
    for name in ["model", "plan", "schedule", "events"] {
        let used = &all[&format!("polyloom-{name}")];
        for banned in
            ["tokio", "nix", "libc", "rustix", "cap-std", "rusqlite", "tempfile", "memmap2"]
        {
            assert!(!used.contains(banned), "`{name}` is pure and may not use `{banned}`");
        }
        for (path, text) in sources(&root().join("host").join(name).join("src")) {
            let text = without_tests(&text);
            for banned in [
                "std::fs",
                "std::process",
                "std::net",
                "std::thread",
                "std::env",
                "SystemTime::now",
                "Instant::now",
            ] {
                // There, and nowhere else: what is computed by several threads is what one would compute.
                let computes = banned == "std::thread" && path.ends_with("host/model/src/each.rs");
                let has = text.contains(banned) && !computes;
                assert!(!has, "{}: `{banned}` in a pure crate", path.display());
            }
        }
    }
}

#[test]
fn only_the_composition_root_names_the_executors_and_wasmtime() {
    for (name, used) in dependencies() {
        let root = name == "polyloom";
        assert!(root || !used.contains("polyloom-executor-c"), "{name}");
        assert!(root || !used.contains("polyloom-executor-jupyter"), "{name}");
        assert!(root || !used.contains("polyloom-executor-native"), "{name}");
        assert!(root || !used.contains("polyloom-executor-wasm"), "{name}");
        assert!(root || !used.contains("polyloom-executors"), "{name}");
        assert!(name == "polyloom-executor-wasm" || !used.contains("wasmtime"), "{name}");
    }
}

#[test]
fn only_the_command_line_prints() {
    for part in ["host", "sandbox", "protocol"] {
        for (path, text) in sources(&root().join(part)) {
            let place = path.strip_prefix(root()).unwrap();
            if place.starts_with("host/cli")
                || place.components().any(|c| {
                    matches!(c.as_os_str().to_str(), Some("tests" | "examples" | "benches"))
                })
            {
                continue;
            }
            let text = without_tests(&text);
            for banned in ["println!", "print!(", "dbg!"] {
                let found = text
                    .lines()
                    .find(|line| line.contains(banned) && !line.trim_start().starts_with("//"));
                assert!(found.is_none(), "{}: {}", place.display(), found.unwrap_or_default());
            }
        }
    }
}

#[test]
fn unsafe_stays_in_its_rooms() {
    // The room, and why it needs it.
    let rooms = [
        "sandbox/",          // the kernel's interfaces
        "executors/native/", // calling shared libraries, plugins and Java machines, in a process of their own
        "executors/wasm/",   // deserialising its own precompiled modules
        "sdk/rust/",         // taking over the descriptor the host announces
        "tests/fake/",       // misbehaving to order
        "tests/tidy/",       // this text
    ];
    for (path, text) in sources(&root()) {
        let place = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let found = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//")
                && (line.contains("unsafe {")
                    || line.contains("unsafe fn")
                    || line.contains("unsafe impl"))
        });
        assert!(
            !found || rooms.iter().any(|room| place.starts_with(room)),
            "{place} holds `unsafe`"
        );
    }
}

/// A number is somebody else's as soon as its owner was waited for; a descriptor is not.
#[test]
fn no_process_is_signalled_by_its_number() {
    // The room, and why a number can't be another's there.
    let rooms = [
        "sandbox/src/sys/process.rs", // the call itself
        "sandbox/src/inside/",        // process 1: nobody else's numbers, and nobody else waits
        "host/attack/src/stage.rs",   // a group whose leader has not been waited for
        "sdk/rust/src/program.rs",    // the same
    ];
    for part in ["host", "sandbox/src", "sdk/rust/src", "executors"] {
        for (path, text) in sources(&root().join(part)) {
            let place = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if place.contains("/tests/") || rooms.iter().any(|room| place.starts_with(room)) {
                continue;
            }
            for banned in ["libc::kill(", "process::kill(", "signal::kill", "kill_process"] {
                assert!(!text.contains(banned), "{place}: {banned}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources(&root()) {
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(first.starts_with("//!"), "{} does not open with what it is", path.display());
    }
}

#[test]
fn no_loose_ends() {
    for (path, text) in sources(&root()) {
        if path.ends_with("walls.rs") {
            continue;
        }
        for banned in ["todo!(", "unimplemented!(", "#[ignore", "FIXME"] {
            assert!(!text.contains(banned), "{}: {banned}", path.display());
        }
    }
}

/// The part of a file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// Every Rust file below `dir` with its text.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules"
            {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                all.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!all.is_empty());
    all
}
