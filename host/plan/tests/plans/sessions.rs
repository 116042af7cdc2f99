//! Sessions: the order of their cells, what their keys hold, and what has to be there for a cell that runs.

use polyloom_model::{Session, SessionName};
use polyloom_plan::Action;

use crate::world::{World, told};

/// `a`, `b` and `c` are of one session in this order; `b` reads from `load`.
fn ran() -> World {
    let mut world = World::new("load, a, b: load, c");
    for (id, before) in [("a", None), ("b", Some("a")), ("c", Some("b"))] {
        let name = SessionName::declared("main").unwrap();
        let before = before.map(|id| id.parse().unwrap());
        world.cell(id).session = Some(Session { name, before });
    }
    assert_eq!(world.run(""), "load a b c");
    world
}

#[test]
fn what_is_done_in_a_session_is_part_of_what_comes_after_it() {
    let mut world = ran();
    assert_eq!(world.run(""), "");
    world.edit("b", "b 2");
    assert_eq!(
        told(&world.plan("")),
        ["load cached: up to date", "a cached: up to date", "b run: code changed", "c run: b runs"]
    );
    assert_eq!(world.run(""), "b c");
    assert_eq!(world.run(""), "");
}

#[test]
fn a_cell_whose_session_was_changed_elsewhere_says_so() {
    let mut world = ran();
    world.edit("b", "b 2");
    assert_eq!(world.run("b"), "b");
    let told = world.told("c");
    assert_eq!(told.last().unwrap(), "c run: session changed (main, after b)");
    assert!(told[..3].iter().all(|step| step.ends_with("cached: up to date")), "{told:?}");
}

#[test]
fn what_those_before_read_is_there_for_a_cell_that_runs() {
    let mut world = ran();
    world.edit("c", "c 2");
    let plan = world.plan("c");
    let supplied = |id: &str| {
        let step = plan.steps.iter().find(|step| step.cell.as_str() == id).unwrap();
        (matches!(step.action, Action::Cached(_)), step.needs.len(), step.supplies.len())
    };
    assert_eq!(supplied("b"), (true, 0, 1));
    assert_eq!(supplied("load"), (true, 0, 0));
    assert_eq!(supplied("a"), (true, 0, 0));
}

#[test]
fn nothing_is_taken_from_the_store_that_was_made_after_a_cell_without_cache() {
    let mut world = ran();
    world.cell("b").cache = false;
    assert_eq!(world.run(""), "b c");
    assert_eq!(world.run(""), "b c");
}
