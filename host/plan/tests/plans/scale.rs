//! Large flows: nothing recurses, nothing is quadratic. `cargo test --release -- --nocapture scale` prints times.

use std::sync::Arc;
use std::time::Instant;

use polyloom_plan::{Answers, Force, Graph, Previous, Request, Selection, keys, plan};
use polyloom_protocol::meta::Outcome;

use crate::world::{World, cell, recorded};

#[test]
fn ten_thousand_cells_in_layers() {
    let mut world = World::new("x");
    world.flow.cells.clear();
    for i in 0..10_000usize {
        let (layer, at) = (i / 100, i % 100);
        let from = |at: usize| format!("c{}", (layer - 1) * 100 + at % 100);
        let from = if layer == 0 { vec![] } else { vec![from(at), from(at * 7 + 3)] };
        world
            .flow
            .cells
            .push(cell(&format!("c{i}"), &from.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    let start = Instant::now();
    let graph = Graph::new(&world.flow).unwrap();
    let graphed = start.elapsed();
    let keyed = keys(&world.flow, &graph, &world.facts).unwrap();
    let keyed_at = start.elapsed();
    let selected = Selection::default().resolve(&world.flow, &graph).unwrap();
    let planning = |answers: &Answers| {
        let (flow, force) = (&world.flow, Force::Nothing);
        let request =
            Request { flow, graph: &graph, keys: &keyed, selected: &selected, answers, force };
        plan(&request).unwrap()
    };
    let first = planning(&world.answers);
    let planned = start.elapsed();
    assert_eq!(first.steps.len(), 10_000);

    let mut answers = world.answers.clone();
    for step in &first.steps {
        let result = recorded(&world.flow.cells[step.index.at()], [].into_iter());
        answers.recorded.insert(step.key, result);
        let parts = Arc::unwrap_or_clone(step.parts.clone());
        let previous = Previous { parts, outcome: Some(Outcome::Ok), wall_ms: 1.0 };
        answers.previous.insert(step.cell.clone(), previous);
    }
    let start = Instant::now();
    assert!(planning(&answers).is_done());
    let cached = start.elapsed();
    answers.recorded.clear();
    let start = Instant::now();
    assert!(!planning(&answers).is_done());
    let changed = start.elapsed();
    println!(
        "10,000 cells: graph {graphed:?}, keys {:?}, plan {:?}; all cached {cached:?}; all with a previous {changed:?}",
        keyed_at - graphed,
        planned - keyed_at
    );
}

#[test]
fn a_chain_of_a_hundred_thousand() {
    let mut world = World::new("c0");
    for i in 1..100_000usize {
        world.flow.cells.push(cell(&format!("c{i}"), &[&format!("c{}", i - 1)]));
    }
    // Backwards in the file: order must not depend on it.
    world.flow.cells.reverse();
    let plan = world.plan("+c99999");
    assert_eq!(plan.steps.len(), 100_000);
    assert_eq!(plan.causes(polyloom_plan::StepIndex(99_999)).len(), 1);
    let back = cell("x", &["c99999"]).inputs;
    world.flow.cells[99_999].inputs = back;
    assert!(Graph::new(&world.flow).is_err());
}
