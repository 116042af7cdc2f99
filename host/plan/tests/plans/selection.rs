//! What selectors and the flags around them select, and what they say when they can't.

use polyloom_plan::{Graph, GraphError, SelectError, Selection, Selector};

use crate::world::{World, cell};

const FLOW: &str = "load, clean: load, stats: clean, plot: clean stats, other";

fn world() -> World {
    let mut world = World::new(FLOW);
    world.cell("plot").tags.push("slow".into());
    world.cell("other").tags.push("slow".into());
    world
}

fn parse(words: &str) -> Vec<Selector> {
    words.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn select(cells: &str, from: &str, until: &str) -> Result<String, SelectError> {
    let world = world();
    let graph = Graph::new(&world.flow).unwrap();
    let selection = Selection {
        cells: parse(cells),
        from: parse(from),
        until: parse(until),
        ..Selection::default()
    };
    let selected = selection.resolve(&world.flow, &graph)?;
    let chosen = graph.order().iter().filter(|&&cell| selected.contains(cell));
    let names: Vec<_> = chosen.map(|&cell| graph.id(cell).to_string()).collect();
    assert_eq!(names.len(), selected.count());
    Ok(names.join(" "))
}

#[test]
fn selectors_reach_as_they_say() {
    for (cells, from, until, expected) in [
        ("", "", "", "load clean stats plot other"),
        ("clean", "", "", "clean"),
        ("+clean", "", "", "load clean"),
        ("stats+", "", "", "stats plot"),
        ("+stats+", "", "", "load clean stats plot"),
        ("load other", "", "", "load other"),
        ("*l*", "", "", "load clean plot"),
        ("tag:slow", "", "", "plot other"),
        ("+tag:sl*", "", "", "load clean stats plot other"),
        ("", "clean", "", "clean stats plot"),
        ("", "", "clean", "load clean"),
        ("", "clean", "stats", "clean stats"),
        ("*", "stats", "", "stats plot"),
    ] {
        assert_eq!(select(cells, from, until).unwrap(), expected, "{cells} {from} {until}");
    }
}

#[test]
fn what_is_not_there_is_said_with_what_could_be_meant() {
    let text = |cells: &str| select(cells, "", "").unwrap_err().to_string();
    assert_eq!(text("claen"), "there is no cell `claen`; did you mean `clean`?");
    assert_eq!(text("+zzz"), "there is no cell `zzz`");
    assert_eq!(text("tag:slwo"), "no cell has the tag `slwo`; did you mean `slow`?");
    assert_eq!(text("z*"), "no cell matches `z*`");
    assert_eq!(select("", "other", "load"), Err(SelectError::Nothing));
}

#[test]
fn a_loop_is_told_from_its_first_cell() {
    let mut world = World::new("free, a: free, b: a, c: b, after: c");
    let wire = cell("x", &["c"]).inputs.into_iter().next().unwrap().1;
    world.cell("a").inputs.insert("back".parse().unwrap(), wire);
    let error = Graph::new(&world.flow).unwrap_err();
    assert_eq!(error.to_string(), "cells wait for each other: `a` → `b` → `c` → `a`");
}

#[test]
fn edges_to_nowhere_are_refused() {
    let error = Graph::new(&World::new("load, b: laod").flow).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input `in0` of cell `b` comes from cell `laod`, which is not there; did you mean `load`?"
    );
    let mut world = World::new("load, b: load");
    world.cell("load").outputs = polyloom_model::Ports::new();
    assert!(matches!(Graph::new(&world.flow), Err(GraphError::UnknownOutput { .. })));
}
