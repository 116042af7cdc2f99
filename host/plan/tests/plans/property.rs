//! Random flows, edits, selections and failures. The oracle is the plain evaluation of the flow, and a list of everything that ever ran.

use std::collections::{BTreeMap, HashMap, HashSet};

use polyloom_model::{Digest, Source};
use polyloom_plan::{Action, Force, Plan};
use polyloom_protocol::meta::Outcome;
use proptest::prelude::*;

use crate::world::{World, port, recorded};

/// What the user does before a run.
#[derive(Debug, Clone)]
enum Move {
    Edit(usize, u8),
    Comment(usize, u8),
    Forget(usize),
    Spoil(usize),
}

#[derive(Debug, Clone)]
struct Round {
    moves: Vec<Move>,
    selected: Vec<usize>,
    force: Force,
}

fn moves(cells: usize) -> impl Strategy<Value = Move> {
    let at = 0..cells;
    prop_oneof![
        3 => (at.clone(), 0..3u8).prop_map(|(cell, code)| Move::Edit(cell, code)),
        3 => (at.clone(), 0..3u8).prop_map(|(cell, code)| Move::Comment(cell, code)),
        1 => at.clone().prop_map(Move::Forget),
        1 => at.prop_map(Move::Spoil),
    ]
}

fn rounds(cells: usize) -> impl Strategy<Value = Vec<Round>> {
    let force = prop_oneof![
        8 => Just(Force::Nothing),
        1 => Just(Force::Selected),
        1 => Just(Force::All),
    ];
    let round =
        (prop::collection::vec(moves(cells), 0..3), prop::collection::vec(0..cells, 0..3), force);
    let round = round.prop_map(|(moves, selected, force)| Round { moves, selected, force });
    prop::collection::vec(round, 1..8)
}

/// Cell `i` reads some of the cells before it; cells of `uncached` have no cache.
fn case() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<usize>, Vec<Round>)> {
    (1..9usize).prop_flat_map(|cells| {
        let wires: Vec<_> =
            (0..cells).map(|i| prop::collection::vec(0..i.max(1), 0..3usize.min(i + 1))).collect();
        (wires, prop::collection::vec(0..cells * 4, 0..2), rounds(cells))
    })
}

fn flow(wires: &[Vec<usize>]) -> World {
    let line = |(i, from): (usize, &Vec<usize>)| {
        let from: Vec<_> = from.iter().filter(|&&f| f < i).map(|f| format!("c{f}")).collect();
        format!("c{i}: {}", from.join(" "))
    };
    World::new(&wires.iter().enumerate().map(line).collect::<Vec<_>>().join(","))
}

/// What each cell gives if the flow is evaluated from nothing, and what it is evaluated from.
fn oracle(world: &World) -> Vec<(Digest, String)> {
    let mut all: Vec<(Digest, String)> = Vec::new();
    let place: HashMap<_, _> =
        world.flow.cells.iter().enumerate().map(|(i, cell)| (cell.id.clone(), i)).collect();
    for cell in &world.flow.cells {
        let inputs: Vec<Digest> = cell
            .inputs
            .values()
            .map(|input| match &input.source {
                Source::Port(id, _) => all[place[id]].0,
                other => panic!("{other:?}"),
            })
            .collect();
        let from = format!(
            "{:?} {:?} {inputs:?}",
            cell.inputs.keys().collect::<Vec<_>>(),
            cell.code.bytes
        );
        let result = recorded(cell, inputs.into_iter());
        all.push((result.outputs[&port("out")].digest, from));
    }
    all
}

fn check_shape(world: &World, plan: &Plan) {
    let mut needed: HashSet<usize> = HashSet::new();
    for (at, step) in plan.steps.iter().enumerate() {
        assert!(step.needs.iter().all(|need| need.at() < at), "producers first");
        for supply in &step.supplies {
            assert!(step.needs.contains(&supply.step));
        }
        match &step.action {
            Action::Cached(_) => {
                assert!(step.needs.is_empty());
                let runs =
                    |id: &str| plan.find(id).is_some_and(|at| plan.steps[at.at()].action.may_run());
                for input in world.flow.cells[step.index.at()].inputs.values() {
                    let Source::Port(id, _) = &input.source else { continue };
                    assert!(!runs(id.as_str()), "a cached step stands on one that runs");
                }
            }
            Action::Skip => panic!("no cell has a condition here"),
            Action::Run | Action::Maybe => {
                let edges = world.flow.cells[step.index.at()].inputs.len();
                assert_eq!(step.supplies.len(), edges, "a step that may run has all its inputs");
                needed.extend(step.needs.iter().map(|need| need.at()));
            }
        }
    }
    for (at, step) in plan.steps.iter().enumerate() {
        assert!(
            step.selected || step.action.may_run() || needed.contains(&at),
            "a step for nothing"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn results_are_right_and_nothing_runs_twice((wires, uncached, rounds) in case()) {
        let mut world = flow(&wires);
        for &cell in uncached.iter().filter(|&&cell| cell < wires.len()) {
            world.flow.cells[cell].cache = false;
        }
        // Evaluations that are in the store: cell's code and inputs.
        let mut done: HashSet<String> = HashSet::new();
        let mut forgotten: HashSet<usize> = HashSet::new();
        for Round { moves, selected, force } in rounds {
            let mut failing = HashSet::new();
            for change in moves {
                match change {
                    Move::Edit(cell, code) => world.edit(&format!("c{cell}"), &format!("{cell}/{code}")),
                    Move::Comment(cell, text) => {
                        let code = String::from_utf8(world.flow.cells[cell].code.bytes.to_vec()).unwrap();
                        let code = format!("{}#{text}", code.split('#').next().unwrap());
                        world.edit(&format!("c{cell}"), &code);
                    }
                    Move::Forget(cell) => {
                        let (_, keyed) = world.keys();
                        let key = keyed.iter().find(|keyed| keyed.cell.at() == cell).unwrap().key;
                        world.answers.recorded.remove(&key);
                        forgotten.insert(cell);
                    }
                    Move::Spoil(cell) => {
                        let id = world.flow.cells[cell].id.clone();
                        failing.insert(id.to_string());
                        world.spoiled.insert(id, Some(Outcome::Failed));
                    }
                }
            }
            let selectors: Vec<_> = selected.iter().map(|cell| format!("c{cell}")).collect();
            let selectors = selectors.join(" ");
            let plan = world.try_plan(&selectors, force).unwrap();
            check_shape(&world, &plan);
            let expected = oracle(&world);
            let ran = world.follow(&plan);
            for id in &ran {
                let at: usize = id[1..].parse().unwrap();
                let fresh = done.insert(expected[at].1.clone());
                // A cell without edges has nothing but its key, so forgetting that makes it run again.
                let cell = &world.flow.cells[at];
                let lost = cell.inputs.is_empty() && forgotten.contains(&at);
                let excused = force != Force::Nothing || lost || !cell.cache;
                prop_assert!(fresh || excused, "{id} ran again");
                if failing.contains(id) {
                    done.remove(&expected[at].1);
                }
            }
            let failed = ran.iter().any(|id| failing.contains(id));
            world.spoiled.clear();
            if failed {
                continue;
            }
            let (_, keyed) = world.keys();
            for keyed in keyed {
                let at = keyed.cell.at();
                let is_selected = selected.is_empty() || selected.contains(&at);
                if is_selected && world.flow.cells[at].cache {
                    let found = &world.answers.recorded[&keyed.key].outputs[&port("out")];
                    prop_assert_eq!(found.digest, expected[at].0, "c{} is wrong", at);
                }
            }
            // Done once is done, but for cells that have no cache.
            let again = world.plan(&selectors);
            let again: BTreeMap<_, _> =
                world.follow(&again).into_iter().map(|id| (id, ())).collect();
            for id in again.keys() {
                let at: usize = id[1..].parse().unwrap();
                prop_assert!(!world.flow.cells[at].cache, "{} ran in a second run", id);
            }
        }
    }
}
