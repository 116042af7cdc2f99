//! The invalidation matrix: one change per row, and exactly the cells whose keys it changes.
//!
//! No field of a cell and no part of a key can be forgotten: what has no row fails the test, and a new field or part does not compile
//! until it is named here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polyloom_model::{
    Ask, Call, Cell, Code, Digest, Flow, Input, LimitLines, Manifest, Mark, Param, Policy, Ports,
    Preset, Settings, Source, Stdin, ToolChoice, Type, Value,
};
use polyloom_plan::{ExecutorFacts, Key, KeyParts, Part, PartName, diff};

use crate::world::{World, port};

/// Names of things, and a function that does not compile when there is one more of them.
macro_rules! all {
    ($names:ident, $word:ident, $($part:pat => $name:literal,)+) => {
        const $names: &[&str] = &[$($name),+];
        fn $word(part: &PartName) -> &'static str {
            match part { $($part => $name),+ }
        }
    };
    ($names:ident, $check:ident, $of:ident { $($field:ident),+ }) => {
        const $names: &[&str] = &[$(stringify!($field)),+];
        #[allow(dead_code)]
        fn $check(it: $of) {
            let $of { $($field: _),+ } = it;
        }
    };
}

all!(PARTS, word,
    PartName::Allow => "allow",
    PartName::Argv => "argv",
    PartName::Code => "code",
    PartName::Env(_) => "env",
    PartName::Executor => "executor",
    PartName::Input(_) => "input",
    PartName::Inputs => "inputs",
    PartName::Libraries => "libraries",
    PartName::Outputs => "outputs",
    PartName::Schema => "schema",
    PartName::Secret(_) => "secret",
    PartName::Seed => "seed",
    PartName::Session => "session",
    PartName::Stdin => "stdin",
    PartName::Toolchain => "toolchain",
    PartName::When => "when",
);
all!(
    CELL,
    cell_fields,
    Cell { id, declared, role, executor, code, inputs, outputs, line, settings }
);
all!(
    SETTINGS,
    settings_fields,
    Settings {
        folder,
        items,
        gate,
        call,
        map,
        when,
        marks,
        env,
        secrets,
        argv,
        stdin,
        limits,
        lines,
        retries,
        cache,
        policy,
        asks,
        seed,
        session,
        tags,
        doc
    }
);
all!(CODE, code_fields, Code { name, bytes, origin });
all!(INPUT, input_fields, Input { source, ty });
all!(
    FLOW,
    flow_fields,
    Flow { name, doc, path, root, params, strict, seed, tools, cells, outputs }
);
all!(PARAM, param_fields, Param { ty, value, has_value, doc });
all!(FACTS, facts_fields, ExecutorFacts { identity, toolchain, libraries });

const LANGUAGES: [(&str, &str); 6] = [
    ("a", "python"),
    ("b", "shell"),
    ("c", "c"),
    ("d", "javascript"),
    ("e", "python"),
    ("f", "wasm"),
];

/// `a` → `b` → `c`, `a` and `d` → `e`, and `f` alone; `a` has everything that a cell can have.
fn world() -> World {
    let mut world = World::new("a, b: a, c: b, d, e: a d, f");
    let facts = |id: &str| ExecutorFacts {
        identity: Part::new(Digest::of(id.as_bytes()), &format!("{id} 1")),
        toolchain: Part::new(Digest::of(format!("{id} tool").as_bytes()), &format!("{id} 3.11")),
        libraries: None,
    };
    for (id, language) in LANGUAGES {
        world.cell(id).executor = language.parse().unwrap();
        world.facts.executors.insert(language.parse().unwrap(), facts(language));
    }
    world.facts.executors.insert("pypy".parse().unwrap(), facts("pypy"));
    let other = Param { ty: Type::Str, value: Value::Str("x".into()), has_value: true, doc: None };
    world.flow.params.insert("other".parse().unwrap(), other);
    let input = |source| Input { source, ty: Type::Any };
    let file = |path: &str| input(Source::File(PathBuf::from(path)));
    for (cell, param) in [("a", "year"), ("d", "other")] {
        let source = Source::Param(param.parse().unwrap());
        world.cell(cell).inputs.insert(port("param"), input(source));
    }
    let a = world.cell("a");
    a.inputs.insert(port("value"), input(Source::Value(Value::Float(0.0))));
    a.inputs.insert(port("csv"), file("x/data.csv"));
    a.env.insert("MODE".into(), "fast".into());
    a.secrets.insert("TOKEN".into(), "env:TOKEN".parse().unwrap());
    a.asks.insert(Ask::Env("LANG".into()));
    a.argv = vec!["-v".into(), "x".into()];
    a.stdin = Some(Stdin::Text("hello\n".into()));
    a.seed = Some(7);
    a.outputs.insert(port("more"), Type::Int);
    for cell in ["a", "f"] {
        world.cell(cell).inputs.insert(port("csv"), file("x/data.csv"));
        let at = (cell.parse().unwrap(), port("csv"));
        world.facts.files.insert(at, Digest::of(b"1,2"));
    }
    world.facts.env.insert("LANG".into(), Some(Digest::of(b"C")));
    world
}

fn call(id: &str, digest: &str) -> Option<Arc<Call>> {
    let (id, digest) = (id.to_owned(), digest.to_owned());
    let (module, object, files) = (String::new(), String::new(), Vec::new());
    Some(Arc::new(Call { id, module, object, digest, files, seeded: false, pure: false }))
}

fn session(name: &str, before: Option<&str>) -> Option<polyloom_model::Session> {
    let name = polyloom_model::SessionName::declared(name).unwrap();
    Some(polyloom_model::Session { name, before: before.map(|id| id.parse().unwrap()) })
}

type Edit = fn(&mut World);

/// What is changed (`field` of a struct, or a fact), the parts that change in cells themselves, the cells with another key, and how.
type Row = (&'static str, &'static str, &'static str, Edit);

fn a(world: &mut World) -> &mut Cell {
    world.cell("a")
}

fn source(world: &mut World, cell: &str, input: &str, source: Source) {
    world.cell(cell).inputs.get_mut(&port(input)).unwrap().source = source;
}

fn fact<'w>(world: &'w mut World, executor: &str) -> &'w mut ExecutorFacts {
    world.facts.executors.get_mut(executor).unwrap()
}

fn part(text: &str) -> Part {
    Part::new(Digest::of(text.as_bytes()), text)
}

fn installed(lines: &[&str]) -> Option<Part> {
    let lines: Vec<String> = lines.iter().map(|&line| line.into()).collect();
    ExecutorFacts::libraries(&lines)
}

const BELOW_A: &str = "a b c e";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Code: any byte, and what its file's name ends in.
    ("code bytes", "code", BELOW_A, |w| w.edit("a", "other")),
    ("code bytes", "code", BELOW_A, |w| w.edit("a", "a # comment")),
    ("code bytes", "code", BELOW_A, |w| w.edit("a", "a\n")),
    ("code bytes", "code", "b c", |w| w.edit("b", "x")),
    ("code bytes", "code", "c", |w| w.edit("c", "x")),
    ("code bytes", "code", "d e", |w| w.edit("d", "x")),
    ("code bytes", "code", "e", |w| w.edit("e", "x")),
    ("code bytes", "code", "f", |w| w.edit("f", "x")),
    ("code name", "code", BELOW_A, |w| a(w).code.name = "a.pyw".into()),
    ("code name", "", "", |w| a(w).code.name = "renamed.py".into()),
    ("code origin", "", "", |w| a(w).code.origin.first_line = 99),
    ("code origin", "", "", |w| a(w).code.origin.path = Path::new("moved/a.py").into()),
    // A call: its function and what that reaches, and nothing else of its file.
    ("call", "code", "f", |w| w.cell("f").call = call("wasm:./f.wasm:add", "1")),
    // Executors and their programs: the cells of that language.
    ("executor", "executor toolchain", BELOW_A, |w| a(w).executor = "pypy".parse().unwrap()),
    ("identity", "executor", BELOW_A, |w| fact(w, "python").identity = part("python 2")),
    ("identity", "executor", "c", |w| fact(w, "c").identity = part("c 2")),
    ("identity", "executor", "f", |w| fact(w, "wasm").identity = part("wasm 2")),
    ("toolchain", "toolchain", BELOW_A, |w| fact(w, "python").toolchain = part("3.12")),
    ("toolchain", "toolchain", "b c", |w| fact(w, "shell").toolchain = part("bash 6")),
    ("toolchain", "toolchain", "c", |w| fact(w, "c").toolchain = part("gcc 15")),
    ("toolchain", "toolchain", "d e", |w| fact(w, "javascript").toolchain = part("v24")),
    ("libraries", "libraries", BELOW_A, |w| fact(w, "python").libraries = installed(&["numpy 2.0"])),
    ("libraries", "libraries", "c", |w| fact(w, "c").libraries = installed(&["libc 2.36"])),
    ("toolchain", "", "", |w| fact(w, "pypy").toolchain = part("not used")),
    // Inputs: of each kind of source, their names and types.
    ("source", "input", BELOW_A, |w| source(w, "a", "value", Source::Value(Value::Float(-0.0)))),
    ("source", "input", BELOW_A, |w| source(w, "a", "value", Source::Value(Value::Int(0)))),
    ("source", "input", BELOW_A, |w| source(w, "a", "param", Source::Param("other".parse().unwrap()))),
    ("source", "input", BELOW_A, |w| source(w, "a", "csv", Source::File("x/data.tsv".into()))),
    ("source", "", "", |w| source(w, "a", "csv", Source::File("y/moved.csv".into()))),
    ("source", "input", "b c", |w| source(w, "b", "in0", Source::Port("a".parse().unwrap(), port("more")))),
    ("source", "input", "e", |w| source(w, "e", "in1", Source::Port("c".parse().unwrap(), port("out")))),
    ("source", "input", "e", |w| source(w, "e", "in1", Source::Ports(["a", "c"].map(|id| (id.parse().unwrap(), port("out"))).into()))),
    ("source", "input", "e", |w| source(w, "e", "in1", Source::Ports(["c", "a"].map(|id| (id.parse().unwrap(), port("out"))).into()))),
    ("source", "", "", |w| source(w, "a", "param", Source::Value(Value::Int(2012)))),
    ("file content", "input", "a b c e f", |w| w.facts.files.values_mut().for_each(|d| *d = Digest::of(b"1,3"))),
    ("value", "input", BELOW_A, |w| w.flow.params.get_mut("year").unwrap().value = Value::Int(2013)),
    ("value", "input", "d e", |w| w.flow.params.get_mut("other").unwrap().value = Value::Str("y".into())),
    ("ty", "", "", |w| w.flow.params.get_mut("year").unwrap().ty = Type::Any),
    ("ty", "inputs", BELOW_A, |w| a(w).inputs.get_mut(&port("value")).unwrap().ty = Type::Float),
    ("ty", "inputs", "c", |w| w.cell("c").inputs.get_mut(&port("in0")).unwrap().ty = Type::Int),
    ("inputs", "input inputs", BELOW_A, |w| { a(w).inputs.remove(&port("value")); }),
    ("inputs", "input inputs", "f", |w| {
        let csv = w.cell("f").inputs.remove(&port("csv")).unwrap();
        w.cell("f").inputs.insert(port("renamed"), csv);
        w.facts.files.insert(("f".parse().unwrap(), port("renamed")), Digest::of(b"1,2"));
    }),
    ("outputs", "outputs", BELOW_A, |w| { a(w).outputs.insert(port("new"), Type::Any); }),
    ("outputs", "outputs", BELOW_A, |w| { a(w).outputs.insert(port("more"), Type::Float); }),
    ("outputs", "outputs", "c", |w| { w.cell("c").outputs = Ports::new(); }),
    // What else reaches the cell.
    ("env", "env", BELOW_A, |w| { a(w).env.insert("MODE".into(), "slow".into()); }),
    ("env", "env", BELOW_A, |w| { a(w).env.insert("MODE".into(), String::new()); }),
    ("env", "env", BELOW_A, |w| a(w).env.clear()),
    ("env", "env", "f", |w| { w.cell("f").env.insert("NEW".into(), String::new()); }),
    ("secrets", "secret", BELOW_A, |w| { a(w).secrets.insert("TOKEN".into(), "env:OTHER".parse().unwrap()); }),
    ("secrets", "secret", BELOW_A, |w| a(w).secrets.clear()),
    ("asks", "allow", BELOW_A, |w| { a(w).asks.insert(Ask::Read("fonts".into())); }),
    ("asks", "allow", "c", |w| { w.cell("c").asks.insert(Ask::Net("example.com:443".parse().unwrap())); }),
    ("asks", "allow env", BELOW_A, |w| a(w).asks.clear()),
    ("granted value", "env", BELOW_A, |w| { w.facts.env.insert("LANG".into(), Some(Digest::of(b"de"))); }),
    ("granted value", "env", BELOW_A, |w| { w.facts.env.insert("LANG".into(), None); }),
    ("granted value", "", "", |w| { w.facts.env.insert("UNASKED".into(), Some(Digest::of(b"x"))); }),
    ("argv", "argv", BELOW_A, |w| a(w).argv.reverse()),
    ("argv", "argv", BELOW_A, |w| a(w).argv = vec!["-v x".into()]),
    ("argv", "argv", BELOW_A, |w| a(w).argv.clear()),
    ("stdin", "stdin", BELOW_A, |w| a(w).stdin = Some(Stdin::Text("hello".into()))),
    ("stdin", "stdin", BELOW_A, |w| a(w).stdin = Some(Stdin::Input(port("csv")))),
    ("stdin", "stdin", BELOW_A, |w| a(w).stdin = None),
    ("seed", "seed", BELOW_A, |w| a(w).seed = Some(8)),
    ("seed", "seed", BELOW_A, |w| a(w).seed = None),
    // What was done in its session before, never what the session is called.
    ("session", "session", "f", |w| w.cell("f").session = session("main", None)),
    ("session", "session", "f", |w| w.cell("f").session = session("main", Some("a"))),
    // What decides whether, when and where a cell runs, not what it gives.
    ("limits", "", "", |w| a(w).limits.timeout = Duration::from_secs(1)),
    ("limits", "", "", |w| a(w).limits.memory = 1),
    ("limits", "", "", |w| { a(w).limits.pids = 1; a(w).limits.cpus = Some(0.5); a(w).limits.disk = 1; }),
    ("when", "", "", |w| a(w).when = Some("value == 0".parse().unwrap())),
    // A map is expanded before there are keys; what each step is called is not keyed, and which cell it is a step of neither.
    ("map", "", "", |w| a(w).map.clear()),
    ("declared", "", "", |w| a(w).declared = "z".parse().unwrap()),
    // Where what it asks for lies is keyed with what it asks for; where its items came from and who lets it run are not.
    ("folder", "", "", |w| a(w).folder = "parts".into()),
    ("folder", "allow", "f", |w| {
        w.cell("f").asks.insert(Ask::Read("fonts".into()));
        w.cell("f").folder = "parts".into();
    }),
    ("items", "", "", |w| {
        let (axis, cell, port) = (port("value"), "f".parse().unwrap(), port("out"));
        a(w).items.push(polyloom_model::ItemsOf { axis, cell, port });
    }),
    ("gate", "", "", |w| a(w).gate = Some("f".parse().unwrap())),
    ("has_value", "", "", |w| w.flow.params.get_mut("year").unwrap().has_value = false),
    ("line", "", "", |w| a(w).line = 99),
    ("lines", "", "", |w| a(w).lines = LimitLines { path: "x".into(), ..Default::default() }),
    ("settings", "", "", |w| a(w).tags.push("x".into())),
    ("retries", "", "", |w| a(w).retries.count = 9),
    ("cache", "", "", |w| a(w).cache = false),
    ("policy", "", "", |w| a(w).policy = Policy { preset: Preset::Strict, ..Policy::default() }),
    ("marks", "", "", |w| {
        a(w).marks.insert(port("out"), Mark::Temp);
    }),
    ("tags", "", "", |w| a(w).tags.push("x".into())),
    ("doc", "", "", |w| { a(w).doc = Some("x".into()); w.flow.doc = Some("x".into()); }),
    ("doc", "", "", |w| w.flow.params.get_mut("year").unwrap().doc = Some("x".into())),
    ("name", "", "", |w| w.flow.name = "renamed".into()),
    ("path", "", "", |w| w.flow.path = "moved.toml".into()),
    ("root", "", "", |w| w.flow.root = "/elsewhere".into()),
    ("strict", "", "", |w| w.flow.strict = true),
    // The choice itself is not keyed: what it finds is, as the toolchain.
    ("tools", "", "", |w| w.flow.tools.push(ToolChoice {
        executor: "python".parse().unwrap(), tool: "python".into(), program: "python3.12".into(),
    })),
    ("params", "", "", |w| { w.flow.params.insert("unread".parse().unwrap(), Param { ty: Type::Int, value: Value::Int(1), has_value: true, doc: None }); }),
    ("outputs", "", "", |w| { w.flow.outputs.insert(port("x"), ("a".parse().unwrap(), port("out"))); }),
    ("cells", "", "", |w| w.flow.cells.reverse()),
    ("cells", "", "", |w| w.flow.cells.push(crate::world::cell("g", &["a"]))),
];

/// Keys and parts by cell.
fn keyed(world: &World) -> BTreeMap<String, (Key, KeyParts)> {
    let (_, keyed) = world.keys();
    let entry = |keyed: polyloom_plan::Keyed| {
        let id = world.flow.cells[keyed.cell.at()].id.to_string();
        (id, (keyed.key, (*keyed.parts).clone()))
    };
    keyed.into_iter().map(entry).collect()
}

/// The cells of `before` whose key is another, and the parts that changed in them but for edges from a cell that changed.
fn changed(before: &World, after: &World) -> (String, String) {
    let (old, new) = (keyed(before), keyed(after));
    let mut cells = Vec::new();
    let mut parts: BTreeSet<&str> = BTreeSet::new();
    for (id, (key, was)) in &old {
        let (now, is) = &new[id];
        let changes = diff(was, is);
        assert_eq!(key == now, changes.is_empty(), "{id}: keys differ exactly where parts do");
        if key == now {
            continue;
        }
        cells.push(id.as_str());
        let cell = before.flow.cell(&id.parse().unwrap()).unwrap();
        let now = after.flow.cell(&id.parse().unwrap()).unwrap();
        for change in changes {
            if let PartName::Input(name) = &change.part
                && let Some(Source::Port(from, _)) = cell.inputs.get(name).map(|i| &i.source)
                && cell.inputs.get(name) == now.inputs.get(name)
            {
                assert_ne!(old[from.as_str()].0, new[from.as_str()].0, "{id} changed for nothing");
                continue;
            }
            parts.insert(word(&change.part));
        }
    }
    (cells.join(" "), parts.into_iter().collect::<Vec<_>>().join(" "))
}

#[test]
fn every_change_reaches_exactly_the_cells_it_must() {
    let before = world();
    for (at, (what, parts, cells, edit)) in ROWS.iter().enumerate() {
        let mut after = world();
        edit(&mut after);
        let (got_cells, got_parts) = changed(&before, &after);
        assert_eq!((got_cells.as_str(), got_parts.as_str()), (*cells, *parts), "row {at}: {what}");
    }
}

#[test]
fn a_call_is_keyed_by_what_its_function_reaches_and_not_by_its_file() {
    let with = |id: &str, digest: &str| {
        let mut world = world();
        world.cell("f").call = call(id, digest);
        world
    };
    let before = with("wasm:./f.wasm:add", "1");
    let mut edited = with("wasm:./f.wasm:add", "1");
    edited.edit("f", "another function of the file");
    assert_eq!(changed(&before, &edited), (String::new(), String::new()));
    for after in [with("wasm:./f.wasm:add", "2"), with("wasm:./f.wasm:sub", "1")] {
        assert_eq!(changed(&before, &after), ("f".to_owned(), "code".to_owned()));
    }
}

#[test]
fn no_field_and_no_part_is_without_a_row() {
    let rows: BTreeSet<&str> = ROWS.iter().flat_map(|row| row.0.split(' ')).collect();
    // A cell's new name needs its consumers to follow, and what gathers reads others: tests of their own.
    let fields = [CELL, SETTINGS, CODE, INPUT, FLOW, PARAM, FACTS].concat();
    for field in fields.into_iter().filter(|field| !matches!(*field, "id" | "role")) {
        assert!(rows.contains(field), "`{field}` has no row");
    }
    let parts: BTreeSet<&str> = ROWS.iter().flat_map(|row| row.1.split(' ')).collect();
    // The salt is no input of a flow; `canonical.rs` changes it. Conditions are keyed where steps are gathered: `expanded.rs`.
    for part in PARTS.iter().filter(|part| !matches!(**part, "schema" | "when")) {
        assert!(parts.contains(part), "`{part}` has no row");
    }
}

#[test]
fn a_renamed_cell_keeps_its_key_and_those_of_its_readers() {
    let (before, mut after) = (world(), world());
    a(&mut after).id = "z".parse().unwrap();
    for cell in &mut after.flow.cells {
        for input in cell.inputs.values_mut() {
            if let Source::Port(from, _) = &mut input.source
                && from.as_str() == "a"
            {
                *from = "z".parse().unwrap();
            }
        }
    }
    let content = after.facts.files.remove(&("a".parse().unwrap(), port("csv"))).unwrap();
    after.facts.files.insert(("z".parse().unwrap(), port("csv")), content);
    let (old, new) = (keyed(&before), keyed(&after));
    for (id, (key, _)) in old {
        assert_eq!(new[if id == "a" { "z" } else { &id }].0, key, "{id}");
    }
}

/// Nothing a manifest says about how a program is started is left out of its identity.
#[test]
fn an_executor_is_its_command_lines_its_flags_and_its_own_files() {
    let manifest = || {
        let tool = polyloom_model::Tool {
            at: vec![],
            any: vec!["gcc".into()],
            env: None,
            version: vec!["--version".into()],
            flags: [("gcc".to_owned(), vec!["-O1".to_owned()])].into(),
            install: None,
        };
        let command = polyloom_model::CommandSpec {
            compile: Some(vec!["{cc}".into(), "{cc.flags}".into(), "{code}".into()]),
            head: Some(polyloom_model::HeadSpec {
                line: "#include <(?P<name>.*)>".into(),
                skip: String::new(),
                names: ["stdio.h".to_owned()].into(),
                text: "#include <{name}>".into(),
                with: vec!["gcc".into()],
                argv: vec!["{cc}".into(), "{head}".into()],
                flags: vec!["-include".into(), "{head}".into()],
            }),
            once: None,
            run: vec!["{program}".into()],
            ahead: None,
            zygote: None,
            instances: None,
            component: None,
        };
        Manifest {
            id: "c".parse().unwrap(),
            version: "1".into(),
            title: "C".into(),
            aliases: vec![],
            extensions: vec!["c".into()],
            kind: polyloom_model::Kind::Command(command),
            tools: [("cc".to_owned(), tool)].into(),
            limits: polyloom_model::Limits::default(),
            env: [("A".to_owned(), "b".to_owned())].into(),
            calls: polyloom_model::Calls::default(),
            normalise: None,
            catalog: None,
            readable: Vec::new(),
            diagnostics: None,
            path: None,
        }
    };
    fn command(manifest: &mut Manifest) -> &mut polyloom_model::CommandSpec {
        match &mut manifest.kind {
            polyloom_model::Kind::Command(command) => command,
            other => panic!("{other:?}"),
        }
    }
    let program = Digest::of(b"files");
    let of = |manifest: &Manifest, program: &Digest| {
        ExecutorFacts::of_manifest(manifest, program, part("gcc 14")).identity.digest
    };
    let before = of(&manifest(), &program);
    assert_ne!(before, of(&manifest(), &Digest::of(b"other files")));
    let keyed: [fn(&mut Manifest); 19] = [
        |m| m.normalise = Some(vec!["{cc}".into()]),
        |m| m.id = "d".parse().unwrap(),
        |m| m.version = "2".into(),
        |m| command(m).run.push("{args}".into()),
        |m| command(m).run = vec!["{program} ".into()],
        |m| command(m).compile = None,
        |m| command(m).compile.as_mut().unwrap().push("-O2".into()),
        |m| {
            // From the end of one list to the start of the next.
            let code = command(m).compile.as_mut().unwrap().pop().unwrap();
            command(m).run.insert(0, code);
        },
        |m| command(m).head = None,
        |m| command(m).ahead = Some(vec!["{cc}".into()]),
        |m| command(m).once = Some(vec!["{cc}".into()]),
        |m| command(m).head.as_mut().unwrap().argv.push("-O2".into()),
        |m| command(m).head.as_mut().unwrap().flags.push("-O2".into()),
        |m| command(m).head.as_mut().unwrap().text.push(' '),
        |m| m.env.clear(),
        |m| {
            m.env.insert("A".into(), String::new());
        },
        |m| {
            m.env.insert("B".into(), String::new());
        },
        |m| m.tools.get_mut("cc").unwrap().flags.get_mut("gcc").unwrap().push("-O2".into()),
        |m| m.tools.get_mut("cc").unwrap().flags.clear(),
    ];
    for (at, edit) in keyed.iter().enumerate() {
        let mut manifest = manifest();
        edit(&mut manifest);
        assert_ne!(of(&manifest, &program), before, "edit {at}");
    }
    let unkeyed: [fn(&mut Manifest); 5] = [
        |m| m.title = "see".into(),
        |m| m.aliases.push("ansi".parse().unwrap()),
        |m| m.limits.memory = 1,
        |m| m.path = Some("/elsewhere/executor.toml".into()),
        |m| m.tools.get_mut("cc").unwrap().install = Some("apt install gcc".into()),
    ];
    for (at, edit) in unkeyed.iter().enumerate() {
        let mut manifest = manifest();
        edit(&mut manifest);
        assert_eq!(of(&manifest, &program), before, "edit {at}");
    }
}

#[test]
fn libraries_are_their_lines_in_order() {
    let all: [&[&str]; 7] =
        [&["a 1"], &["a 2"], &["b 1"], &["a 1", "b 1"], &["b 1", "a 1"], &["a 1b 1"], &["a 1", ""]];
    let digests: BTreeSet<_> = all.iter().map(|lines| installed(lines).unwrap().digest).collect();
    assert_eq!(digests.len(), all.len());
    assert!(installed(&[]).is_none());
    assert!(installed(&["a 1"]).unwrap().text.starts_with("1 installed, "));
}

/// What an executor says of code is in a domain of its own: neither can its digest stand for bytes, nor bytes for a digest.
#[test]
fn a_normal_form_is_keyed_in_place_of_the_bytes_and_never_mixed_with_them() {
    let of = |code: &[u8], normal: Option<Digest>| {
        let mut world = world();
        world.cell("a").code.bytes = code.into();
        if let Some(normal) = normal {
            world.facts.codes.insert("a".parse().unwrap(), normal);
        }
        keyed(&world)["a"].0
    };
    let normal = Digest::of(b"x = 1");
    assert_eq!(of(b"x = 1", Some(normal)), of(b"x=1 # one", Some(normal)));
    assert_ne!(of(b"x = 1", Some(normal)), of(b"x = 1", Some(Digest::of(b"x = 2"))));
    let raw =
        [&b"x = 1"[..], normal.as_bytes(), normal.hex().as_bytes()].map(|code| of(code, None));
    for raw in raw {
        assert_ne!(of(b"x = 1", Some(normal)), raw);
    }
    assert_ne!(of(b"x = 1", None), of(b"x=1 # one", None), "without it every byte counts");
}
