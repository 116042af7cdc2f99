//! Flows with maps and flows within them: what they expand to, what of it runs again, what is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{
    Axis, Cell, Code, Flow, Input, Items, Origin, Param, Role, Source, SubFlow, Type, Value,
};
use polyloom_plan::{Action, AllFound, ExpandError, Found, PartName, expand, is_plain, templates};

use crate::world::{World, cell, port};

fn list(items: &[i64]) -> Items {
    Items::Of(Source::Value(Value::List(items.iter().map(|n| Value::Int(*n)).collect())))
}

fn mapped(cell: &mut Cell, axes: &[(&str, Items)]) {
    for (name, items) in axes {
        let input = Input { source: Source::Item, ty: Type::Any };
        cell.inputs.insert(port(name), input);
        cell.map.push(Axis { port: port(name), items: items.clone() });
    }
}

/// `b` is mapped and reads from `a`, `c` reads all of it.
fn world(items: &[i64]) -> World {
    let mut world = World::new("a, b: a, c: b");
    mapped(world.cell("b"), &[("n", list(items))]);
    world
}

fn expanded(world: &World, found: &AllFound) -> World {
    let mut plain = World::new("x");
    plain.flow = expand(&world.flow, found).unwrap().flow;
    plain
}

fn ids(flow: &Flow) -> Vec<&str> {
    flow.cells.iter().map(|cell| cell.id.as_str()).collect()
}

#[test]
fn a_map_becomes_a_step_for_each_item_and_one_that_gathers() {
    let plain = expanded(&world(&[3, 1]), &AllFound::new());
    assert_eq!(ids(&plain.flow), ["a", "b[n=3]", "b[n=1]", "b", "c"]);
    let gather = plain.flow.cell(&"b".parse().unwrap()).unwrap();
    assert!(matches!(gather.role, Role::Gather));
    assert_eq!(gather.outputs[&port("out")], Type::List(Box::new(Type::Any)));
    let Source::Ports(from) = &gather.inputs[&port("out")].source else { panic!() };
    assert_eq!(from.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["b[n=3]", "b[n=1]"]);
    let step = plain.flow.cell(&"b[n=1]".parse().unwrap()).unwrap();
    assert_eq!(step.inputs[&port("n")].source, Source::Value(Value::Int(1)));
    assert_eq!((step.declared.as_str(), step.map.len()), ("b", 0));
    assert!(!is_plain(&world(&[1]).flow) && is_plain(&World::new("a").flow));
}

#[test]
fn several_axes_are_every_combination_the_last_one_fastest() {
    let mut world = World::new("b");
    mapped(world.cell("b"), &[("x", list(&[1, 2])), ("y", list(&[3, 4]))]);
    let plain = expanded(&world, &AllFound::new());
    assert_eq!(ids(&plain.flow), ["b[x=1,y=3]", "b[x=1,y=4]", "b[x=2,y=3]", "b[x=2,y=4]", "b"]);
}

#[test]
fn no_items_are_no_steps_and_an_empty_list() {
    let mut plain = expanded(&world(&[]), &AllFound::new());
    assert_eq!(ids(&plain.flow), ["a", "b", "c"]);
    assert_eq!(plain.run(""), "a b c");
}

#[test]
fn labels_are_short_safe_and_never_twice_the_same() {
    let items = vec![
        Value::Str("a b/c".into()),
        Value::Str("x".repeat(41)),
        Value::Str(String::new()),
        Value::Int(1),
        Value::Str("1".into()),
        Value::Float(1e-5),
        Value::Null,
        Value::Map(BTreeMap::new()),
        Value::Str("é".into()),
    ];
    let mut world = World::new("b");
    mapped(world.cell("b"), &[("v", Items::Of(Source::Value(Value::List(items))))]);
    let plain = expanded(&world, &AllFound::new());
    let labels: Vec<&str> = ids(&plain.flow);
    let expected = [
        "b[v=a_b_c]",
        "b[v=#1]",
        "b[v=#2]",
        "b[v=1]",
        "b[v=1#4]",
        "b[v=1e-5]",
        "b[v=null]",
        "b[v=#7]",
        "b[v=_]",
        "b",
    ];
    assert_eq!(labels, expected);
}

#[test]
fn a_change_of_one_item_runs_one_step_and_what_gathers() {
    let mut plain = expanded(&world(&[1, 2, 3]), &AllFound::new());
    assert_eq!(plain.run(""), "a b[n=1] b[n=2] b[n=3] b c");
    assert_eq!(plain.run(""), "");
    // Another order, one more, one less: the results of items are kept whatever their places are.
    for (items, ran) in
        [(&[2, 1, 3][..], "b c"), (&[2, 1, 3, 4], "b[n=4] b c"), (&[1, 2, 3], ""), (&[2], "b c")]
    {
        plain.flow = expand(&world(items).flow, &AllFound::new()).unwrap().flow;
        assert_eq!(plain.run(""), ran, "{items:?}");
    }
    // What all steps read changes all of them.
    plain.edit("a", "other");
    assert_eq!(plain.run(""), "a b[n=2] b c");
}

#[test]
fn steps_are_selected_like_cells() {
    let mut plain = expanded(&world(&[1, 2]), &AllFound::new());
    assert_eq!(plain.run("b[n=1]"), "a b[n=1]");
    assert_eq!(plain.run("b[*"), "b[n=2]");
    assert_eq!(plain.run("b"), "b");
    assert_eq!(plain.run("+c"), "c");
}

#[test]
fn an_axis_that_is_not_known_leaves_its_cell_open_and_what_follows_for_later() {
    let mut world = World::new("a, b: a, c: b, d: a");
    let items = Items::Of(Source::Port("a".parse().unwrap(), port("out")));
    mapped(world.cell("b"), &[("n", items)]);
    let open = expand(&world.flow, &AllFound::new()).unwrap();
    assert_eq!(open.open.len(), 1);
    let mut plain = World::new("x");
    plain.flow = open.flow;
    let plan = plain.plan("");
    let names = |steps: &[polyloom_plan::Step]| -> String {
        let all = steps.iter().map(|step| format!("{}: {}", step.cell, step.reason));
        all.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(names(&plan.steps), "a: never ran; d: never ran");
    assert_eq!(names(&plan.later), "b: its items come from a; c: never ran");
    assert!(plan.later.iter().all(|step| step.action == Action::Run));
    let found = [(("b".parse().unwrap(), port("n")), Found::Values(vec![Value::Int(7)]))];
    let plain = expanded(&world, &found.into());
    assert_eq!(ids(&plain.flow), ["a", "b[n=7]", "b", "c", "d"]);
}

#[test]
fn files_are_items_by_their_names() {
    let mut world = World::new("b");
    mapped(world.cell("b"), &[("f", Items::Glob("data/*.csv".into()))]);
    let files = ["data/x.csv", "data/y.csv", "more/x.csv"].map(PathBuf::from).to_vec();
    let found = [(("b".parse().unwrap(), port("f")), Found::Files(files))];
    let plain = expanded(&world, &found.into());
    assert_eq!(ids(&plain.flow), ["b[f=x.csv]", "b[f=y.csv]", "b[f=x.csv#2]", "b"]);
}

fn sub(flow: Flow) -> Cell {
    let mut outer = cell("s", &[]);
    outer.role = Role::Flow(Arc::new(SubFlow { flow, folder: PathBuf::from("parts") }));
    outer.outputs = [(port("out"), Type::Any)].into();
    outer
}

/// A flow of two cells; `y` reads a param and a file.
fn part() -> Flow {
    let mut world = World::new("x, y: x");
    let params = [("given", false), ("usual", true)].map(|(name, has_value)| {
        (name.parse().unwrap(), Param { ty: Type::Int, value: Value::Int(5), has_value, doc: None })
    });
    world.flow.params = params.into();
    let y = world.cell("y");
    for name in ["given", "usual"] {
        let source = Source::Param(name.parse().unwrap());
        y.inputs.insert(port(name), Input { source, ty: Type::Int });
    }
    let source = Source::File(PathBuf::from("d.csv"));
    y.inputs.insert(port("file"), Input { source, ty: Type::File });
    y.asks.insert(polyloom_model::Ask::Read("fonts".into()));
    y.code = Code {
        name: "y.py".into(),
        bytes: b"y"[..].into(),
        origin: Origin::whole(Path::new("y.py")),
    };
    world.flow.outputs = [(port("out"), ("y".parse().unwrap(), port("out")))].into();
    world.flow
}

#[test]
fn a_flow_in_a_flow_is_its_cells_under_its_name() {
    let mut world = World::new("a, z");
    let mut outer = sub(part());
    let source = Source::Port("a".parse().unwrap(), port("out"));
    outer.inputs = [(port("given"), Input { source, ty: Type::Int })].into();
    world.flow.cells.insert(1, outer);
    let source = Source::Port("s".parse().unwrap(), port("out"));
    world.cell("z").inputs.insert(port("i"), Input { source, ty: Type::Any });
    let plain = expanded(&world, &AllFound::new());
    assert_eq!(ids(&plain.flow), ["a", "s/x", "s/y", "z"]);
    let y = plain.flow.cell(&"s/y".parse().unwrap()).unwrap();
    let source = |name: &str| y.inputs[&port(name)].source.clone();
    assert_eq!(source("given"), Source::Port("a".parse().unwrap(), port("out")));
    assert_eq!(source("usual"), Source::Value(Value::Int(5)));
    assert_eq!(source("file"), Source::File("parts/d.csv".into()));
    assert_eq!(source("in0"), Source::Port("s/x".parse().unwrap(), port("out")));
    assert_eq!(*y.code.origin.path, *Path::new("parts/y.py"));
    assert!(y.asks.contains(&polyloom_model::Ask::Read("fonts".into())));
    assert_eq!(y.folder, PathBuf::from("parts"));
    let z = plain.flow.cell(&"z".parse().unwrap()).unwrap();
    let of_z = &z.inputs[&port("i")].source;
    assert_eq!(*of_z, Source::Port("s/y".parse().unwrap(), port("out")));
}

#[test]
fn a_flow_in_a_flow_in_a_flow_reads_below_its_own_folder() {
    let mut middle = World::new("m");
    middle.flow.cells.push(sub(part()));
    let mut world = World::new("z");
    let mut outer = sub(middle.flow);
    outer.id = "t".parse().unwrap();
    world.flow.cells.push(outer);
    let plain = expanded(&world, &AllFound::new());
    let y = plain.flow.cell(&"t/s/y".parse().unwrap()).unwrap();
    assert_eq!(y.folder, PathBuf::from("parts/parts"));
    assert_eq!(y.inputs[&port("file")].source, Source::File("parts/parts/d.csv".into()));
    assert_eq!(*y.code.origin.path, *Path::new("parts/parts/y.py"));
}

#[test]
fn steps_go_after_what_gave_their_items_and_keep_their_keys() {
    let mut world = World::new("a, b: a, c: b, d");
    let items = Items::Of(Source::Port("d".parse().unwrap(), port("out")));
    mapped(world.cell("b"), &[("n", items)]);
    let found = [(("b".parse().unwrap(), port("n")), Found::Values(vec![Value::Int(7)]))];
    let mut plain = expanded(&world, &found.into());
    assert_eq!(plain.run(""), "a d b[n=7] b c");
    for (selected, told) in
        [("+b[n=7]", "a d b[n=7]"), ("d+", "d b[n=7] b c"), ("+c", "a d b[n=7] b c")]
    {
        let plan = plain.plan(selected);
        let steps: Vec<&str> = plan.steps.iter().map(|step| step.cell.as_str()).collect();
        assert_eq!(steps.join(" "), told, "{selected}");
    }
    // Another way to the same list changes no key.
    plain.edit("d", "other");
    assert_eq!(plain.run(""), "d");
    let mut constant = World::new("a, b: a, c: b, d");
    mapped(constant.cell("b"), &[("n", list(&[7]))]);
    let key = |world: &World| {
        let (_, keyed) = world.keys();
        let of =
            |id: &str| world.flow.cells.iter().position(|cell| cell.id.as_str() == id).unwrap();
        let at = of("b[n=7]");
        keyed.iter().find(|it| it.cell.at() == at).unwrap().key
    };
    assert_eq!(key(&plain), key(&expanded(&constant, &AllFound::new())));
    // What runs for other reasons comes behind what gave its items.
    plain.edit("b[n=7]", "new");
    plain.edit("d", "again");
    let plan = plain.plan("");
    let at = |id: &str| plan.find(id).unwrap();
    assert!(plan.get(at("b[n=7]")).unwrap().needs.contains(&at("d")));
}

#[test]
fn a_step_of_an_open_map_is_selected_by_way_of_the_map() {
    let mut world = World::new("a, b, c: b");
    let items = Items::Of(Source::Port("a".parse().unwrap(), port("out")));
    mapped(world.cell("b"), &[("n", items)]);
    let mut open = World::new("x");
    open.flow = expand(&world.flow, &AllFound::new()).unwrap().flow;
    for selected in ["b[n=7]", "b[*", "b[n=7]/x"] {
        let plan = open.plan(selected);
        let later: Vec<&str> = plan.later.iter().map(|step| step.cell.as_str()).collect();
        assert_eq!((plan.steps.len(), later.join(" ").as_str()), (1, "b"), "{selected}");
    }
    let found = [(("b".parse().unwrap(), port("n")), Found::Values(vec![Value::Int(7)]))];
    let plain = expanded(&world, &found.into());
    let graph = polyloom_plan::Graph::new(&plain.flow).unwrap();
    let wrong = |text: &str| {
        let cells = vec![text.parse().unwrap()];
        let selection = polyloom_plan::Selection { cells, ..Default::default() };
        selection.resolve(&plain.flow, &graph).unwrap_err().to_string()
    };
    assert_eq!(wrong("b[n=8]"), "there is no step `b[n=8]`; `b` has `b[n=7]`");
    assert_eq!(wrong("b[n=8*"), "there is no step `b[n=8*`; `b` has `b[n=7]`");
}

#[test]
fn a_condition_of_a_flow_is_a_gate_before_all_its_cells() {
    let mut world = World::new("a, z, q: z");
    let mut part = part();
    part.cells[1].inputs.remove(&port("file"));
    let mut outer = sub(part);
    let source = Source::Port("a".parse().unwrap(), port("out"));
    outer.inputs = [(port("given"), Input { source, ty: Type::Int })].into();
    outer.when = Some("given > 1".parse().unwrap());
    world.flow.cells.insert(1, outer);
    let source = Source::Port("s".parse().unwrap(), port("out"));
    world.cell("z").inputs.insert(port("i"), Input { source, ty: Type::Any });
    let mut plain = expanded(&world, &AllFound::new());
    assert_eq!(ids(&plain.flow), ["a", "s", "s/x", "s/y", "z", "q"]);
    assert_eq!(plain.run(""), "a s s/x s/y z q");
    plain.answers.when.insert("s".parse().unwrap(), true);
    assert_eq!(plain.run(""), "");
    // Its id means all of it.
    let plan = plain.plan("s");
    assert_eq!(plan.steps.len(), 3);
    plain.answers.when.insert("s".parse().unwrap(), false);
    assert_eq!(
        plain.told(""),
        [
            "a cached: up to date",
            "s skip: `given > 1` is false",
            "s/x skip: s is left out",
            "s/y skip: s is left out",
            "z skip: s/y is left out",
            "q skip: z is left out",
        ]
    );
    // As long as what it asks for runs, nobody knows.
    plain.edit("a", "other");
    assert_eq!(plain.told("")[2], "s/x maybe: s runs");
}

#[test]
fn a_mapped_flow_is_one_flow_for_each_item() {
    let mut world = World::new("z");
    let mut outer = sub(part());
    mapped(&mut outer, &[("given", list(&[1, 2]))]);
    world.flow.cells.insert(0, outer);
    let plain = expanded(&world, &AllFound::new());
    let all = ["s[given=1]/x", "s[given=1]/y", "s[given=2]/x", "s[given=2]/y", "s", "z"];
    assert_eq!(ids(&plain.flow), all);
    let gather = plain.flow.cell(&"s".parse().unwrap()).unwrap();
    let Source::Ports(from) = &gather.inputs[&port("out")].source else { panic!() };
    assert_eq!(from[1].0.as_str(), "s[given=2]/y");
    let all = templates(&Arc::new(world.flow.clone())).unwrap();
    assert_eq!(ids(&all), ["s/x", "s/y", "z"]);
    let step = plain.flow.cell(&"s[given=2]/y".parse().unwrap()).unwrap();
    assert_eq!(step.declared, all.cells[1].declared);
}

#[test]
fn what_is_too_much_is_refused() {
    let mut large = World::new("b");
    let many: Vec<i64> = (0..2000).collect();
    mapped(large.cell("b"), &[("x", list(&many)), ("y", list(&many))]);
    let error = expand(&large.flow, &AllFound::new()).unwrap_err();
    assert!(matches!(error, ExpandError::TooMany { .. }), "{error}");

    let mut deep = part();
    for _ in 0..40 {
        let mut world = World::new("q");
        world.flow.cells = vec![sub(deep)];
        deep = world.flow;
    }
    let error = expand(&deep, &AllFound::new()).unwrap_err();
    assert!(matches!(error, ExpandError::TooDeep { .. }), "{error}");

    let mut odd = World::new("b");
    mapped(odd.cell("b"), &[("x", Items::Of(Source::Value(Value::Int(3))))]);
    let error = expand(&odd.flow, &AllFound::new()).unwrap_err().to_string();
    assert_eq!(error, "the cell `b` is mapped over `x`, which is int, not a list");
}

#[test]
fn a_cell_whose_condition_says_no_is_left_out_with_what_reads_it() {
    let mut world = World::new("a, b: a, c: b, d");
    world.cell("b").when = Some("in0 > 1".parse().unwrap());
    assert_eq!(world.run(""), "a b c d");
    world.answers.when.insert("b".parse().unwrap(), false);
    assert_eq!(
        world.told(""),
        [
            "a cached: up to date",
            "b skip: `in0 > 1` is false",
            "c skip: b is left out",
            "d cached: up to date",
        ]
    );
    // As long as something runs that it reads from, nobody knows.
    world.edit("a", "other");
    assert_eq!(world.told("")[1], "b maybe: a runs");
    world.answers.when.insert("b".parse().unwrap(), true);
    assert_eq!(world.run(""), "a b c");
    assert_eq!(world.run(""), "");
}

#[test]
fn what_gathers_goes_without_steps_that_are_left_out() {
    let mut mapped = world(&[1, 2]);
    mapped.cell("b").when = Some("n != 1".parse().unwrap());
    let mut plain = expanded(&mapped, &AllFound::new());
    for (id, answer) in [("b[n=1]", false), ("b[n=2]", true)] {
        plain.answers.when.insert(id.parse().unwrap(), answer);
    }
    assert_eq!(plain.run(""), "a b[n=2] b c");
    assert_eq!(plain.run(""), "");
    let (_, keyed) = plain.keys();
    let gather = keyed.iter().find(|it| plain.flow.cells[it.cell.at()].id.as_str() == "b").unwrap();
    assert_eq!(&*gather.parts.get(&PartName::When).unwrap().text, "n != 1");
    // Another condition gathers others, though no step has another key.
    mapped.cell("b").when = Some("n != 2".parse().unwrap());
    plain.flow = expanded(&mapped, &AllFound::new()).flow;
    for (id, answer) in [("b[n=1]", true), ("b[n=2]", false)] {
        plain.answers.when.insert(id.parse().unwrap(), answer);
    }
    assert_eq!(plain.run(""), "b[n=1] b c");
}
