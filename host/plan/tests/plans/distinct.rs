//! Two distinct steps never share a key, and equal steps always do: many random steps, made to be mistaken for one another.
//!
//! `POLYLOOM_STEPS=30000000 POLYLOOM_STEPS_SEED=7 cargo test --release -p polyloom-plan distinct` looks at more of them.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::LazyLock;

use polyloom_model::{Ask, Cell, Digest, Input, Source, Stdin, Type, Value};

use crate::world::{World, cell, port};

const STEPS: u64 = 100_000;
/// Cells of one flow: what one reads from another is of the same flow.
const FLOW: usize = 500;

static TYPES: LazyLock<Vec<Type>> = LazyLock::new(|| {
    let words = ["any", "int", "list<int>", "enum{a,b}", "enum{b,a}", "record{a:int}"];
    words.iter().map(|word| word.parse().unwrap()).collect()
});

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Short texts of few letters: prefixes, suffixes and joints of one another, words of the encoding, lengths as bytes.
    fn text(&mut self) -> &'static str {
        const TEXTS: [&str; 16] = [
            "", "a", "b", "ab", "aa", "a b", "a\0", "\0", "env", "A", "out", "in0", "\u{1}", "1",
            "e\u{301}", "é",
        ];
        TEXTS[self.below(TEXTS.len())]
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => Value::Bool(self.one_in(2)),
            2 => Value::Int([0, 1, -1, 97, i64::MIN][self.below(5)]),
            3 => Value::Float([0.0, -0.0, 1.0, 5e-324, f64::NAN, f64::INFINITY][self.below(6)]),
            4 => Value::Str(self.text().into()),
            5 => Value::Bytes(self.text().into()),
            6 => Value::List((0..self.below(3)).map(|_| self.value(depth - 1)).collect()),
            _ => Value::Map(
                (0..self.below(3))
                    .map(|_| (self.text().to_owned(), self.value(depth - 1)))
                    .collect(),
            ),
        }
    }

    fn ty(&mut self) -> Type {
        TYPES[self.below(TYPES.len())].clone()
    }
}

/// Fills in a cell at random. Of `read` cells before it some may be read.
fn fill(random: &mut Random, cell: &mut Cell, read: usize) {
    cell.executor = random.pick(&["python", "shell"]).parse().unwrap();
    cell.code.bytes = random.text().as_bytes().into();
    cell.code.name = format!("x{}", random.pick(&["", ".", ".a", ".ab", ".py"]));
    for _ in 0..random.below(3) {
        let source = match random.below(4) {
            0 if read > 0 => {
                let from = format!("c{}", random.below(read.min(4)));
                Source::Port(from.parse().unwrap(), port(random.pick(&["out", "a"])))
            }
            1 => Source::Param(random.pick(&["year", "a"]).parse().unwrap()),
            2 => Source::File(PathBuf::from(random.pick(&["d/a", "d/b", "a.a", "b.ab"]))),
            _ => Source::Value(random.value(2)),
        };
        cell.inputs.insert(port(random.pick(&["a", "b", "ab"])), Input { source, ty: random.ty() });
    }
    cell.outputs = (0..random.below(3))
        .map(|_| (port(random.pick(&["a", "out", "ab"])), random.ty()))
        .chain([(port("out"), Type::Any), (port("a"), Type::Any)])
        .collect();
    for _ in 0..random.below(3) {
        cell.env.insert(random.pick(&["A", "B", "AB"]).into(), random.text().into());
    }
    if random.one_in(3) {
        let handle = random.pick(&["env:A", "env:B", "file:A"]).parse().unwrap();
        cell.secrets.insert(random.pick(&["A", "S"]).into(), handle);
    }
    cell.argv = (0..random.below(4)).map(|_| random.text().to_owned()).collect();
    cell.stdin = match random.below(4) {
        0 => Some(Stdin::Text(random.text().into())),
        1 => cell.inputs.keys().next().cloned().map(Stdin::Input),
        _ => None,
    };
    if random.one_in(2) {
        cell.seed = Some([0, 1, -1, 97, 256][random.below(5)]);
    }
    for _ in 0..random.below(2) {
        // A variable has one source: `a` to `d` are never set by the cell itself.
        cell.asks.insert(match random.below(3) {
            0 => Ask::Read(PathBuf::from(random.pick(&["a", "b", "a, read b"]))),
            1 => Ask::Run(PathBuf::from(random.pick(&["a", "b"]))),
            _ => Ask::Env(random.pick(&["a", "b"]).into()),
        });
    }
}

/// What the step is, in words that leave nothing keyed out and let nothing run together.
fn words(world: &World, cell: &Cell, told: &HashMap<String, u64>) -> u64 {
    let mut text = String::new();
    let extension = cell.code.name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let fixed =
        (&cell.executor, &cell.code.bytes, extension, &cell.outputs, &cell.env, &cell.secrets);
    let rest = (&cell.argv, &cell.stdin, cell.seed, &cell.asks);
    write!(text, "{fixed:?} {rest:?}").unwrap();
    for (name, Input { source, ty }) in &cell.inputs {
        write!(text, "{name} {ty:?} ").unwrap();
        match source {
            Source::Port(from, output) => {
                write!(text, "port {} {output}", told[from.as_str()]).unwrap();
            }
            // A parameter is its value; nothing tells it from a constant.
            Source::Item | Source::Ports(_) => unreachable!("these cells gather nothing"),
            Source::Param(name) => write!(text, "{:?}", world.flow.params[name].value).unwrap(),
            Source::Value(value) => write!(text, "{value:?}").unwrap(),
            Source::File(path) => {
                let content = world.facts.files[&(cell.id.clone(), name.clone())];
                write!(text, "file {:?} {content}", path.extension()).unwrap();
            }
        }
    }
    for ask in &cell.asks {
        if let Ask::Env(name) = ask {
            write!(text, "{:?}", world.facts.env.get(name)).unwrap();
        }
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn distinct_steps_never_share_a_key() {
    let number = |name: &str, or: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
    };
    let (steps, seed) = (number("POLYLOOM_STEPS", STEPS), number("POLYLOOM_STEPS_SEED", 1));
    let mut random = Random(seed);
    // 128 bits of each key are kept: millions of steps fit, and a shared prefix of a whole digest can't be chance.
    let mut by_key: HashMap<u128, u64> = HashMap::new();
    let mut by_step: HashMap<u64, u128> = HashMap::new();
    let mut seen = 0;
    while seen < steps {
        let mut world = World::new("c0");
        let python = world.facts.executors["python"].clone();
        world.facts.executors.insert("shell".parse().unwrap(), {
            // The same words about the programs, so that only the executor differs.
            let identity = polyloom_plan::Part::new(Digest::of(b"shell"), "shell");
            polyloom_plan::ExecutorFacts { identity, ..python }
        });
        let mut other = world.flow.params["year"].clone();
        other.value = random.value(1);
        world.flow.params.insert("a".parse().unwrap(), other);
        if random.one_in(2) {
            world.facts.env.insert("a".into(), Some(Digest::of(random.text().as_bytes())));
        }
        world.flow.cells.clear();
        for at in 0..FLOW {
            let mut cell = cell(&format!("c{at}"), &[]);
            fill(&mut random, &mut cell, at);
            for (name, input) in &cell.inputs {
                if matches!(input.source, Source::File(_)) {
                    let content = Digest::of(random.pick(&["", "a", "b"]).as_bytes());
                    world.facts.files.insert((cell.id.clone(), name.clone()), content);
                }
            }
            world.flow.cells.push(cell);
        }
        let mut told: HashMap<String, u64> = HashMap::new();
        for keyed in world.keys().1 {
            let cell = &world.flow.cells[keyed.cell.at()];
            let step = words(&world, cell, &told);
            told.insert(cell.id.to_string(), step);
            let key = u128::from_be_bytes(keyed.key.0.as_bytes()[..16].try_into().unwrap());
            match by_key.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(step);
                }
                Entry::Occupied(known) => {
                    assert_eq!(
                        *known.get(),
                        step,
                        "seed {seed}: another step has the key of {cell:#?}"
                    );
                }
            }
            let known = *by_step.entry(step).or_insert(key);
            assert_eq!(known, key, "seed {seed}: two keys of one step {cell:#?}");
            seen += 1;
        }
    }
    // The test is worth something only if it meets steps more than once, and many that differ.
    assert!(by_key.len() as u64 > steps / 4, "{} distinct", by_key.len());
    println!("{seen} steps, {} distinct, each with a key of its own", by_key.len());
}
