//! The rules of planning, one by one, told as a user would see them.

use polyloom_model::{Input, Mark, Ports, Source, Type, Value};
use polyloom_plan::{Force, Reason};
use polyloom_protocol::meta::Outcome;

use crate::world::{World, port, told};

const FLOW: &str = "load, stats: load, plot: load stats";

fn ran() -> World {
    let mut world = World::new(FLOW);
    assert_eq!(world.run(""), "load stats plot");
    world
}

#[test]
fn first_everything_runs_and_then_nothing() {
    let mut world = World::new(FLOW);
    assert_eq!(
        world.told(""),
        ["load run: never ran", "stats run: never ran", "plot run: never ran"]
    );
    world.run("");
    let plan = world.plan("");
    assert!(plan.is_done());
    assert_eq!(told(&plan)[2], "plot cached: up to date");
    assert_eq!(world.run(""), "");
}

#[test]
fn a_changed_cell_runs_and_its_consumers_may() {
    let mut world = ran();
    world.edit("load", "load 2");
    assert_eq!(
        world.told(""),
        ["load run: code changed", "stats maybe: load runs", "plot maybe: load and stats run"]
    );
    assert_eq!(world.run(""), "load stats plot");
}

#[test]
fn the_same_output_as_before_stops_the_wave() {
    let mut world = ran();
    world.edit("load", "load# only a comment");
    assert_eq!(world.run(""), "load");
    assert_eq!(world.run(""), "");
    // And back: every key has been seen.
    world.edit("load", "load");
    assert!(world.plan("").is_done());
}

#[test]
fn a_mix_that_was_never_planned_is_still_found_by_content() {
    let mut world = ran();
    world.edit("load", "load# comment");
    world.edit("stats", "stats 2");
    world.run("");
    world.edit("load", "load");
    let plan = world.plan("stats");
    assert_eq!(
        told(&plan),
        ["load cached: up to date", "stats maybe: load changed, its output did not"]
    );
    // Where nobody knows what came in then, the key has the last word.
    for previous in world.answers.previous.values_mut() {
        previous.taken = None;
    }
    assert_eq!(world.told("stats")[1], "stats maybe: input in0 changed (load.out)");
    assert_eq!(world.follow(&plan).join(" "), "");
}

#[test]
fn a_cached_cell_needs_none_of_its_ancestors() {
    let mut world = ran();
    let load = world.plan("load").steps[0].key;
    world.answers.recorded.remove(&load);
    assert_eq!(world.told("plot"), ["plot cached: up to date"]);
    // But one that runs brings back what it reads, and what hangs on that is asked again.
    world.edit("plot", "plot 2");
    assert_eq!(
        world.told("plot"),
        [
            "load run: result is no longer in the store",
            "stats maybe: load runs",
            "plot run: code changed",
        ]
    );
    assert_eq!(world.run("plot"), "load plot");
}

#[test]
fn evicted_bytes_are_made_again() {
    let mut world = ran();
    let load = world.plan("load").steps[0].key;
    let mut record = (*world.answers.recorded[&load]).clone();
    record.evicted.push(port("out"));
    world.answers.recorded.insert(load, record.into());
    assert_eq!(world.told("load"), ["load run: result is no longer in the store"]);
    assert_eq!(world.run(""), "load");
}

#[test]
fn a_temporary_output_that_is_gone_is_made_again_only_for_who_reads_it() {
    let mut world = ran();
    let load = world.plan("load").steps[0].key;
    let mut record = (*world.answers.recorded[&load]).clone();
    record.evicted.push(port("out"));
    world.answers.recorded.insert(load, record.into());
    world.cell("load").marks.insert(port("out"), Mark::Temp);
    assert!(world.plan("").is_done());
    assert_eq!(world.told("load"), ["load cached: up to date"]);
    world.edit("plot", "plot 2");
    assert_eq!(
        world.told("plot"),
        [
            "load run: plot needs its temporary output, which was removed",
            "stats maybe: load runs",
            "plot run: code changed",
        ]
    );
    let error = world.try_plan("--only plot", Force::Nothing).unwrap_err();
    assert!(error.to_string().contains("needs the result of `load`"), "{error}");
    // Where it runs anyway, that it is gone says nothing.
    let plan = world.try_plan("load plot", Force::Selected).unwrap();
    assert_eq!(told(&plan)[0], "load run: forced");
    // What another cell needs does not become temporary by what one says.
    world.cell("load").marks.clear();
    assert_eq!(world.told("load"), ["load run: result is no longer in the store"]);
}

#[test]
fn only_takes_what_is_there_and_says_what_is_not() {
    let mut world = ran();
    world.edit("plot", "plot 2");
    assert_eq!(world.run("--only plot"), "plot");
    world.edit("stats", "stats 2");
    let error = world.try_plan("--only plot", Force::Nothing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`--only plot` needs the result of `stats`, which is not in the store; run `+plot` or `stats` first"
    );
    assert_eq!(world.run("--only stats plot"), "stats plot");
}

#[test]
fn force_is_for_the_selected_and_force_all_for_what_they_need() {
    let mut world = ran();
    let plan = world.try_plan("stats", Force::Selected).unwrap();
    assert_eq!(told(&plan), ["load cached: up to date", "stats run: forced"]);
    let plan = world.try_plan("stats", Force::All).unwrap();
    assert_eq!(told(&plan), ["load run: forced", "stats run: forced"]);
    let plan = world.try_plan("stats", Force::NoCache).unwrap();
    assert_eq!(told(&plan)[0], "load run: cache is off");
    let plan = world.try_plan("load+", Force::Nothing).unwrap();
    assert!(plan.is_done());
    // A forced cell that gives the same stops the wave like any other.
    let plan = world.try_plan("", Force::Nothing).unwrap();
    assert_eq!(world.follow(&plan).len(), 0);
}

#[test]
fn a_cell_without_cache_always_runs_and_is_asked_for_downstream() {
    let mut world = World::new(FLOW);
    world.cell("load").cache = false;
    world.run("");
    assert_eq!(
        world.told(""),
        ["load run: cache is off", "stats maybe: load runs", "plot maybe: load and stats run"]
    );
    assert_eq!(world.run("plot"), "load");
    world.edit("load", "load 2");
    assert_eq!(world.run("plot"), "load stats plot");
}

#[test]
fn a_failed_or_interrupted_cell_is_simply_continued() {
    let mut world = World::new(FLOW);
    world.spoiled.insert("stats".parse().unwrap(), Some(Outcome::OutOfMemory));
    assert_eq!(world.run(""), "load stats");
    assert_eq!(
        world.told(""),
        [
            "load cached: up to date",
            "stats run: failed last time (out_of_memory)",
            "plot run: never ran",
        ]
    );
    world.spoiled.insert("stats".parse().unwrap(), None);
    world.run("");
    assert_eq!(world.plan("").steps[1].reason, Reason::Interrupted);
    assert_eq!(world.run(""), "stats plot");
}

#[test]
fn reasons_name_what_changed() {
    let mut world = World::new("load");
    let year = Input { source: Source::Param("year".parse().unwrap()), ty: Type::Int };
    world.cell("load").inputs.insert(port("year"), year);
    world.run("");
    world.flow.params.values_mut().next().unwrap().value = Value::Int(2013);
    assert_eq!(world.told(""), ["load run: input year changed (2012 → 2013)"]);
    world.run("");
    world.cell("load").env.insert("A".into(), "1".into());
    world.cell("load").seed = Some(7);
    assert_eq!(world.told(""), ["load run: env A added, seed added"]);
    world.run("");
    world.cell("load").env.insert("A".into(), "2".into());
    world.cell("load").inputs = Ports::new();
    assert_eq!(world.told(""), ["load run: env A changed (1 → 2), input year removed"]);
}

#[test]
fn causes_are_found_at_the_end_of_the_chain() {
    let mut world = World::new("a, b: a, c: b, d: c, x, e: d x");
    world.run("");
    world.edit("a", "a 2");
    world.edit("x", "x 2");
    let plan = world.plan("");
    let names = |cell: &str| {
        let causes = plan.causes(plan.find(cell).unwrap());
        causes.iter().map(|at| plan.steps[at.at()].cell.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("e"), ["a", "x"]);
    assert_eq!(names("a"), ["a"]);
    world.run("");
    assert!(world.plan("").causes(polyloom_plan::StepIndex(3)).is_empty());
}
