//! What is in a key and what is not.

use std::path::PathBuf;
use std::time::Duration;

use polyloom_model::{Digest, Input, Source, Stdin, Type, Value};
use polyloom_plan::{ExecutorFacts, KeyError, Part, PartName, diff, keys};

use crate::world::{World, port};

fn parts_changed(change: impl Fn(&mut World)) -> Vec<String> {
    let mut world = World::new("a, b: a");
    let value = Input { source: Source::Value(Value::Int(1)), ty: Type::Int };
    world.cell("a").inputs.insert(port("n"), value);
    let file = Input { source: Source::File(PathBuf::from("x/data.csv")), ty: Type::File };
    world.cell("a").inputs.insert(port("csv"), file);
    world.facts.files.insert(("a".parse().unwrap(), port("csv")), Digest::of(b"1,2"));
    let before = world.keys().1;
    change(&mut world);
    let after = world.keys().1;
    let changes = diff(&before[0].parts, &after[0].parts);
    assert_eq!(changes.is_empty(), before[0].key == after[0].key);
    // A consumer's key follows its producer's.
    assert_eq!(before[0].key == after[0].key, before[1].key == after[1].key);
    changes.iter().map(|change| change.part.to_string()).collect()
}

#[test]
fn what_decides_a_result_is_keyed_under_its_name() {
    type Edit = fn(&mut World);
    let edits: [(&str, Edit); 14] = [
        ("code", |w| w.edit("a", "x")),
        ("code", |w| w.edit("a", "a\r\n")),
        ("code", |w| w.cell("a").code.name = "a.sh".into()),
        ("argv", |w| w.cell("a").argv.push(String::new())),
        ("stdin", |w| w.cell("a").stdin = Some(Stdin::Text(String::new()))),
        ("seed", |w| w.cell("a").seed = Some(0)),
        ("env.PATH", |w| {
            w.cell("a").env.insert("PATH".into(), String::new());
        }),
        ("secret.TOKEN", |w| {
            w.cell("a").secrets.insert("TOKEN".into(), "env:TOKEN".parse().unwrap());
        }),
        ("outputs", |w| {
            w.cell("a").outputs.insert(port("more"), Type::Int);
        }),
        ("input.n", |w| {
            w.cell("a").inputs.get_mut("n").unwrap().source = Source::Value(Value::Int(2))
        }),
        ("inputs", |w| w.cell("a").inputs.get_mut("n").unwrap().ty = Type::Float),
        ("input.csv", |w| {
            w.facts.files.values_mut().for_each(|digest| *digest = Digest::of(b"1,3"));
        }),
        ("input.csv", |w| {
            let csv = w.cell("a").inputs.get_mut("csv").unwrap();
            csv.source = Source::File(PathBuf::from("data.tsv"));
        }),
        ("toolchain", |w| {
            let facts = w.facts.executors.values_mut().next().unwrap();
            facts.toolchain = Part::new(Digest::of(b"3.13"), "Python 3.13");
        }),
    ];
    for (part, edit) in edits {
        assert_eq!(parts_changed(edit), [part]);
    }
}

#[test]
fn what_decides_no_result_is_not_keyed() {
    let nothing: [fn(&mut World); 7] = [
        |w| w.cell("a").limits.timeout = Duration::from_secs(1),
        |w| w.cell("a").limits.memory = 1,
        |w| w.cell("a").retries.count = 3,
        |w| w.cell("a").tags.push("x".into()),
        |w| w.cell("a").doc = Some("x".into()),
        |w| w.cell("a").code.name = "renamed.py".into(),
        |w| {
            let csv = w.cell("a").inputs.get_mut("csv").unwrap();
            csv.source = Source::File(PathBuf::from("elsewhere/other.csv"));
        },
    ];
    for edit in nothing {
        assert!(parts_changed(edit).is_empty());
    }
}

#[test]
fn which_output_an_edge_comes_from_is_keyed() {
    let mut world = World::new("a, b: a");
    world.cell("a").outputs.insert(port("other"), Type::Any);
    let before = world.keys().1;
    let source = Source::Port("a".parse().unwrap(), port("other"));
    world.cell("b").inputs.get_mut("in0").unwrap().source = source;
    let after = world.keys().1;
    assert_eq!(before[0].key, after[0].key);
    assert_ne!(before[1].key, after[1].key);
    assert_eq!(&*after[1].parts.get(&PartName::Input(port("in0"))).unwrap().text, "a.other");
}

#[test]
fn missing_facts_are_named() {
    let mut world = World::new("a");
    let file = Input { source: Source::File(PathBuf::from("d.csv")), ty: Type::File };
    world.cell("a").inputs.insert(port("csv"), file);
    let graph = polyloom_plan::Graph::new(&world.flow).unwrap();
    let error = keys(&world.flow, &graph, &world.facts).unwrap_err();
    assert_eq!(error.to_string(), "the file of input `csv` of cell `a` was not read");
    world.facts.executors.clear();
    let error = keys(&world.flow, &graph, &world.facts).unwrap_err();
    assert!(matches!(error, KeyError::Executor { .. }));
}

#[test]
fn of_a_toolchain_the_programs_that_changed_are_told() {
    let make = ("make", "GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu\nCopyright (C) 1988-2020");
    let perl = ("perl", "\nThis is perl 5, version 36\n");
    let told = |before: &[(&str, &str)], after: &[(&str, &str)]| {
        let mut world = World::new("a");
        let mut keys = [before, after].map(|tools| {
            let facts = world.facts.executors.values_mut().next().unwrap();
            facts.toolchain = ExecutorFacts::toolchain(tools.iter().copied());
            world.keys().1.remove(0)
        });
        let [before, after] = &mut keys;
        let changes = diff(&before.parts, &after.parts);
        changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(told(&[make], &[make]), "");
    assert_eq!(
        told(&[make], &[make, perl]),
        "toolchain changed (none → perl: This is perl 5, version 36)"
    );
    assert_eq!(told(&[make, perl], &[perl]), "toolchain changed (make: GNU Make 4.3 → none)");
    let newer = ("make", "GNU Make 4.4\n");
    assert_eq!(
        told(&[make, perl], &[newer, perl]),
        "toolchain changed (make: GNU Make 4.3 → make: GNU Make 4.4)"
    );
    // What differs is further down.
    let built = ("make", "GNU Make 4.3\nBuilt for aarch64-unknown-linux-gnu");
    assert_eq!(told(&[make], &[built]), "toolchain changed (make: GNU Make 4.3)");
}
