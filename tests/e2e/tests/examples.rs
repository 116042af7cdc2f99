//! The examples give what their `expected.txt` says, and their second run executes nothing.
//!
//! `POLYLOOM_UPDATE=1` writes the files anew.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::time::Instant;

use polyloom_test_e2e::{Place, Run, libraries, needs};

/// `cell outcome`, then `cell.port type digest` of its outputs.
fn told(run: &Run) -> String {
    let mut lines = String::new();
    for (cell, outcome) in run.outcomes() {
        lines.push_str(&format!("{cell} {outcome}\n"));
        for (port, output) in run.cell(&cell)["outputs"].as_object().unwrap() {
            let text = |name: &str| output[name].as_str().unwrap().to_owned();
            lines.push_str(&format!("{cell}.{port} {} {}\n", text("type"), text("digest")));
        }
    }
    lines
}

fn compare(name: &str, run: &Run) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
        .join("expected.txt");
    if std::env::var_os("POLYLOOM_UPDATE").is_some() {
        std::fs::write(&path, told(run)).unwrap();
    }
    let mut expected = std::fs::read_to_string(&path).unwrap_or_default();
    if name == "limits" && run.level("processes", "processes") != "full" {
        // Without a control group nobody counts the processes that were refused.
        expected = expected.replace("processes pids_exceeded", "processes failed");
    }
    // Compilers of other processors fuse multiplications and additions: last digits of floats differ.
    let exact = cfg!(target_arch = "x86_64");
    let lines = |text: &str| -> Vec<String> {
        let line = |line: &str| match line.rsplit_once(' ') {
            Some((head, _)) if !exact && line.contains(" b3:") => head.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(line).collect()
    };
    assert_eq!(lines(&told(run)), lines(&expected), "see {}", path.display());
}

/// Runs it twice: all well, then all cached.
fn twice(name: &str) {
    twice_with(name, &[]);
}

fn twice_with(name: &str, options: &[&str]) {
    let place = Place::example(name);
    let check: Vec<&str> = ["check"].iter().chain(options).copied().collect();
    let _ = place.polyloom(&check).exits(0);
    let first = place.run(options).exits(0);
    assert!(first.outcomes().values().all(|outcome| outcome == "ok"), "{}", first.told());
    compare(name, &first);
    let start = Instant::now();
    let second = place.run(options).exits(0);
    println!("second run of {name}: {:?}", start.elapsed());
    assert_eq!(second.ran(), [""; 0]);
    assert_eq!(told(&second).replace(" cached\n", " ok\n"), told(&first));
}

#[test]
fn weather() {
    needs!("python3", "g++", "bash", "awk");
    twice("weather");
}

#[test]
fn flights() {
    needs!("python3", "g++", "node");
    twice("flights");
}

#[test]
fn babel() {
    needs!("python3", "gcc", "g++", "node", "bash", "awk", "perl", "tclsh", "javac", "sqlite3");
    twice("babel");
}

#[test]
fn languages() {
    needs!("lua5.4", "ruby", "tcc", "python3", "awk");
    twice_with("languages", &["--executor-dir", "."]);
}

#[test]
fn sweep() {
    needs!("python3");
    let place = Place::example("sweep");
    let first = place.run(&[]).exits(0);
    compare("sweep", &first);
    let left = |run: &Run| run.outcomes().values().filter(|it| *it == "skipped").count();
    assert_eq!(left(&first), 6, "{}", first.told());
    assert_eq!(place.run(&[]).exits(0).ran(), [""; 0]);
    // One degree more: its fits run, and what is made of all fits.
    let more = place.run(&["-p", "degrees=[1, 3, 5, 7, 9]"]).exits(0);
    let fits = more.ran().iter().filter(|cell| cell.starts_with("fit[degree=7")).count();
    assert_eq!((fits, more.ran().iter().any(|cell| cell.starts_with("fit[degree=5"))), (9, false));
    let undrawn = place.run(&["-p", "draw=false"]).exits(0);
    assert_eq!((undrawn.outcome("chart/draw"), left(&undrawn)), ("skipped", 8));
    // Each part is a flow of its own.
    let _ = place.polyloom(&["run", "parts/data.toml", "-p", "name=few"]).exits(0);
}

/// The same flow and seed give the same bytes, by `run -o` too; another seed gives others.
#[test]
fn glitch() {
    let Some(venv) = libraries() else { return };
    let place = Place::example("glitch");
    let call = |args: &[&str]| {
        let words: Vec<&str> = ["run", "--format", "json"].iter().chain(args).copied().collect();
        place.call(&words).env("VIRTUAL_ENV", &venv).end().run().exits(0)
    };
    let picture = |file: &str| std::fs::read(place.project().join(file)).unwrap();
    let seven = ["--seed", "7", "--until", "viewer", "-o"];
    let first = call(&[&seven[..], &["a.png"]].concat());
    compare("glitch", &first);
    let again = call(&[&seven[..], &["b.png"]].concat());
    assert_eq!(again.ran(), [""; 0]);
    assert_eq!(picture("a.png"), picture("b.png"));
    // Only cells that use the seed, and what is made of theirs, run again.
    let other = call(&["--seed", "8", "--until", "viewer", "-o", "c.png"]);
    assert_ne!(picture("a.png"), picture("c.png"));
    assert!(other.ran().contains(&"scene".to_owned()), "{}", other.told());
}

#[test]
fn limits() {
    needs!("python3", "gcc", "bash");
    let place = Place::example("limits");
    compare("limits", &place.run(&["-k"]).exits(5));
}
