//! Each part of the host by itself, on made-up flows: `cargo bench -p polyloom-test-bench`. A word chooses: `-- plan`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use divan::{Bencher, black_box, counter};
use polyloom_load::{Config, Given, Languages, Purpose, Source, load, parse_manifest};
use polyloom_model::{Digest, Flow};
use polyloom_plan::{
    Answers, ExecutorFacts, Facts, Force, Graph, Keyed, Part, Plan, Recorded, Request, Selection,
};
use polyloom_protocol::frame::{Decoder, PREAMBLE};
use polyloom_protocol::messages::worker::{Log, LogLevel};
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use polyloom_protocol::{FromWorker, Value};
use polyloom_schedule::{Cause, Command, Finish, KeepGoing, Options, Schedule, Verdict};
use polyloom_store::{ResultRow, Store};

fn main() {
    divan::main();
}

/// Sizes of flows.
const CELLS: [usize; 3] = [10, 1_000, 10_000];

/// A flow in layers of 100; each cell reads two of the layer before.
fn flow(folder: &Path, cells: usize) -> Flow {
    let mut text = String::from("[flow]\nname = \"bench\"\n");
    for i in 0..cells {
        write!(text, "[cells.c{i}]\nlang = \"python\"\ncode = \"x = {i}\"\n").unwrap();
        text.push_str("outputs = { x = \"int\" }\n");
        if let Some(a) = i.checked_sub(100) {
            let b = a / 100 * 100 + (a * 7 + 3) % 100;
            writeln!(text, "inputs = {{ a = \"c{a}.x\", b = \"c{b}.x\" }}").unwrap();
        }
    }
    std::fs::write(folder.join("polyloom.toml"), text).unwrap();
    loaded(folder)
}

const MANIFEST: &str =
    "id = 'python'\nversion = '1'\nkind = 'command'\n[run]\nargv = ['/bin/true', '{code}']\n";

fn loaded(folder: &Path) -> Flow {
    let (manifest, _) = parse_manifest(&Source::new("executor.toml", MANIFEST), None);
    let (languages, _) = Languages::new(vec![manifest.unwrap()]);
    let given = Given::default();
    let purpose = Purpose::Check;
    load(folder, &Config { languages: &languages, purpose, given: &given, functions: None })
        .flow
        .unwrap()
}

/// A flow with all that is known before it is planned.
struct World {
    flow: Flow,
    graph: Graph,
    facts: Facts,
    keys: Vec<Keyed>,
    answers: Answers,
}

impl World {
    /// Of so many cells, none or all of which have a result.
    fn new(cells: usize, done: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flow = flow(folder.path(), cells);
        let part = |text: &str| Part::new(Digest::of(text.as_bytes()), text);
        let python = ExecutorFacts {
            identity: part("python 1"),
            toolchain: part("Python 3.12"),
            libraries: None,
        };
        let facts = Facts {
            executors: [("python".parse().unwrap(), python)].into(),
            files: HashMap::new(),
            codes: HashMap::new(),
            env: HashMap::new(),
        };
        let graph = Graph::new(&flow).unwrap();
        let keys = polyloom_plan::keys(&flow, &graph, &facts).unwrap();
        let mut world = Self { flow, graph, facts, keys, answers: Answers::default() };
        if done {
            let outputs = Default::default();
            let recorded = Arc::new(Recorded { outputs, wall_ms: 1.0, evicted: Vec::new() });
            for step in &world.plan().steps {
                world.answers.recorded.insert(step.key, Arc::clone(&recorded));
            }
        }
        world
    }

    fn plan(&self) -> Plan {
        let selected = Selection::default().resolve(&self.flow, &self.graph).unwrap();
        polyloom_plan::plan(&Request {
            flow: &self.flow,
            graph: &self.graph,
            keys: &self.keys,
            selected: &selected,
            answers: &self.answers,
            force: Force::Nothing,
            ran: &Default::default(),
        })
        .unwrap()
    }
}

/// Reading and checking a flow file.
#[divan::bench(args = CELLS, sample_count = 10)]
fn load_flow(bencher: Bencher<'_, '_>, cells: usize) {
    let folder = tempfile::tempdir().unwrap();
    flow(folder.path(), cells);
    bencher.counter(counter::ItemsCount::new(cells)).bench_local(|| loaded(folder.path()));
}

/// The keys of all cells.
#[divan::bench(args = CELLS, sample_count = 20)]
fn plan_keys(bencher: Bencher<'_, '_>, cells: usize) {
    let world = World::new(cells, false);
    let World { flow, graph, facts, .. } = &world;
    let keys = || polyloom_plan::keys(flow, graph, facts).unwrap();
    bencher.counter(counter::ItemsCount::new(cells)).bench_local(keys);
}

/// A plan in which everything runs.
#[divan::bench(args = CELLS, sample_count = 20)]
fn plan_all(bencher: Bencher<'_, '_>, cells: usize) {
    let world = World::new(cells, false);
    bencher.counter(counter::ItemsCount::new(cells)).bench_local(|| world.plan());
}

/// A plan in which every result stands.
#[divan::bench(args = CELLS, sample_count = 20)]
fn plan_nothing(bencher: Bencher<'_, '_>, cells: usize) {
    let world = World::new(cells, true);
    assert!(cells < 1 || world.plan().is_done());
    bencher.counter(counter::ItemsCount::new(cells)).bench_local(|| world.plan());
}

/// A whole run of the state machine: each attempt ends well at once.
#[divan::bench(args = CELLS, sample_count = 20)]
fn schedule_run(bencher: Bencher<'_, '_>, cells: usize) {
    let plan = World::new(cells, false).plan();
    let jobs = NonZeroUsize::new(8).unwrap();
    bencher.counter(counter::ItemsCount::new(cells)).bench_local(|| {
        let mut schedule = Schedule::of_plan(&plan, Options { jobs, keep_going: KeepGoing::No });
        let mut commands = schedule.start();
        let mut ended = 0;
        while let Some(command) = commands.pop() {
            let cause = match command {
                Command::Decide { step } => Cause::Decided { step, verdict: Verdict::Run },
                Command::Start { step, .. } => Cause::Finished { step, finish: Finish::Ok },
                Command::End { .. } => {
                    ended += 1;
                    continue;
                }
                _ => continue,
            };
            commands.extend(schedule.on(cause));
        }
        assert_eq!(ended, cells);
    });
}

/// A hundred lines of log as a worker sends them.
fn logs() -> Vec<u8> {
    let mut bytes = PREAMBLE.to_vec();
    for i in 0..100 {
        let log = Log { level: LogLevel::Info, text: format!("line {i} of a cell's log") };
        bytes.extend(FromWorker::Log(log).encode(1).unwrap());
    }
    bytes
}

/// A hundred messages to bytes.
#[divan::bench]
fn protocol_encode(bencher: Bencher<'_, '_>) {
    bencher.counter(counter::ItemsCount::new(100_usize)).bench(logs);
}

/// And back: frames, checks, messages.
#[divan::bench]
fn protocol_decode(bencher: Bencher<'_, '_>) {
    let bytes = logs();
    bencher.counter(counter::ItemsCount::new(100_usize)).bench(|| {
        let mut decoder = Decoder::new();
        decoder.feed(black_box(&bytes));
        let mut count = 0;
        while let Some(frame) = decoder.next_frame().unwrap() {
            black_box(FromWorker::from_frame(&frame).unwrap());
            count += 1;
        }
        assert_eq!(count, 100);
    });
}

/// A list of a thousand numbers to canonical MessagePack and back.
#[divan::bench]
fn protocol_value(bencher: Bencher<'_, '_>) {
    let value = Value::List((0..1000).map(Value::Int).collect());
    bencher.counter(counter::ItemsCount::new(1000_usize)).bench(|| {
        let bytes = black_box(&value).to_msgpack();
        assert_eq!(Value::from_msgpack(&bytes).unwrap(), value);
    });
}

fn rows(from: usize, count: usize) -> Vec<ResultRow> {
    let row = |i: usize| {
        let key = Digest::of(&i.to_le_bytes());
        let output = ArtifactMeta {
            digest: Digest::of(b"output").to_string(),
            r#type: "int".to_owned(),
            size: 1,
            media_type: None,
            path: None,
        };
        ResultRow {
            key,
            content_key: Some(Digest::of(key.hex().as_bytes())),
            cell: format!("c{i}"),
            executor: "sh".to_owned(),
            outcome: Outcome::Ok,
            outputs: [("x".to_owned(), output)].into(),
            meta: ExecMeta::new(Outcome::Ok),
            created_unix_ms: 1_800_000_000_000,
            marks: Default::default(),
        }
    };
    (from..from + count).map(row).collect()
}

/// Results that were never recorded before, committed together.
#[divan::bench(args = [1, 100, 1_000], sample_count = 20, sample_size = 1)]
fn store_commit(bencher: Bencher<'_, '_>, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let mut next = 0;
    bencher
        .counter(counter::ItemsCount::new(count))
        .with_inputs(|| {
            next += count;
            rows(next, count)
        })
        .bench_local_refs(|rows| store.commit(rows).unwrap());
}

/// The results of so many keys out of 10,000.
#[divan::bench(args = [1, 100, 10_000], sample_count = 20)]
fn store_look_up(bencher: Bencher<'_, '_>, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let rows = rows(0, 10_000);
    store.commit(&rows).unwrap();
    let keys: Vec<Digest> = rows.iter().take(count).map(|row| row.key).collect();
    bencher
        .counter(counter::ItemsCount::new(count))
        .bench_local(|| assert_eq!(store.lookup_many(&keys).unwrap().len(), count));
}

/// Bytes that are hashed and stored, each time others.
#[divan::bench(args = [100, 1 << 20], sample_count = 20, sample_size = 1)]
fn store_put(bencher: Bencher<'_, '_>, size: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let mut bytes = vec![0; size];
    let mut number = 0_u64;
    bencher.counter(counter::BytesCount::new(size)).bench_local(|| {
        number += 1;
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        store.put_bytes(&bytes).unwrap()
    });
}
