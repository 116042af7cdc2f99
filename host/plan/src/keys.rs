//! The keys of all cells of a flow, from its text and the facts alone. Asks nobody.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use polyloom_model::{
    Ask, Cell, CellId, Digest, ExecutorId, Flow, ParamName, PortName, Role, Session, Source, Stdin,
    Type, Value, each,
};
use thiserror::Error;

use crate::encode::Message;
use crate::key::SCHEMA;
use crate::{CellIndex, ExecutorFacts, Facts, Graph, Key, KeyParts, Part, PartName};

/// A cell and its key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The cell.
    pub cell: CellIndex,
    /// Its structural key.
    pub key: Key,
    /// What the key is made of.
    pub parts: Arc<KeyParts>,
}

/// A fact that is missing: the caller of [`keys`] did not look everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Nothing is known of an executor.
    #[error("executor `{executor}` of cell `{cell}` is not known")]
    Executor {
        /// The cell.
        cell: CellId,
        /// Its executor.
        executor: ExecutorId,
    },
    /// A file's content is not known.
    #[error("the file of input `{input}` of cell `{cell}` was not read")]
    File {
        /// The cell.
        cell: CellId,
        /// Its input.
        input: PortName,
    },
    /// The flow has no such parameter.
    #[error("input `{input}` of cell `{cell}` comes from param `{param}`, which is not declared")]
    Param {
        /// The cell.
        cell: CellId,
        /// Its input.
        input: PortName,
        /// The parameter.
        param: ParamName,
    },
}

/// The key of every cell, in topological order. Limits, retries, tags, docs, ids and the place of the code decide no
/// result and are not keyed.
pub fn keys(flow: &Flow, graph: &Graph, facts: &Facts) -> Result<Vec<Keyed>, KeyError> {
    let made: Vec<OnceLock<Option<Key>>> = graph.order().iter().map(|_| OnceLock::new()).collect();
    let maker = || Maker {
        flow,
        facts,
        schema: Part::new(Digest::of(SCHEMA.as_bytes()), SCHEMA),
        params: HashMap::new(),
        ports: HashMap::new(),
        keys: &made,
        graph,
    };
    // Whoever has a part waits only for those before it: its cells' producers are there, or are being made by somebody who waits for none of these.
    let part = if graph.len() < FEW { FEW } else { PART };
    let parts = each(graph.order().chunks(part), maker, |maker, cells| {
        // Who waits for one of them hears, too, that it has none.
        let _waiting = Waiting { cells, keys: &made };
        cells.iter().map(|&cell| maker.keyed(cell)).collect::<Result<Vec<_>, _>>()
    });
    let mut all = Vec::with_capacity(graph.len());
    for part in parts {
        match part {
            Ok(keyed) => all.extend(keyed),
            Err(Unkeyed::Itself(error)) => return Err(error),
            Err(Unkeyed::Producer) => {}
        }
    }
    Ok(all)
}

/// Fewer cells are keyed in less time than a thread is worth.
const FEW: usize = 2048;

/// So many cells are keyed by one thread before another takes the next: fewer than stand between most cells and those that they read.
const PART: usize = 32;

/// Why a cell has no key.
enum Unkeyed {
    Itself(KeyError),
    /// One that it reads, which comes before it, has none.
    Producer,
}

impl From<KeyError> for Unkeyed {
    fn from(error: KeyError) -> Self {
        Self::Itself(error)
    }
}

/// What people are told in the place of an executor.
pub(crate) const GATHERS: &str = "gathers the steps of a map";
pub(crate) const OPEN: &str = "waits for the items of its map";
const GATES: &str = "asks the condition of a flow";

/// Keys that others may be waiting for. However their making ends, they do not wait any longer.
struct Waiting<'a> {
    cells: &'a [CellIndex],
    keys: &'a [OnceLock<Option<Key>>],
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for cell in self.cells {
            self.keys[cell.at()].get_or_init(|| None);
        }
    }
}

struct Maker<'a> {
    flow: &'a Flow,
    facts: &'a Facts,
    graph: &'a Graph,
    schema: Part,
    /// A large parameter is digested once, however many cells read it.
    params: HashMap<&'a ParamName, Part>,
    /// By their message.
    ports: HashMap<Vec<u8>, Part>,
    /// By cell, as far as they are made; nothing for one that has none.
    keys: &'a [OnceLock<Option<Key>>],
}

impl<'a> Maker<'a> {
    fn keyed(&mut self, cell: CellIndex) -> Result<Keyed, Unkeyed> {
        let parts = self.parts(&self.flow.cells[cell.at()])?;
        let key = Key::of(&parts);
        self.keys[cell.at()].get_or_init(|| Some(key));
        Ok(Keyed { cell, key, parts: Arc::new(parts) })
    }

    /// The key of a cell that this one comes after.
    fn before(&self, cell: &CellId) -> Result<Key, Unkeyed> {
        // A graph that was made of this flow has all producers, and its order puts them first.
        let at = self.graph.index(cell.as_str()).expect("producers are in the graph");
        self.keys[at.at()].wait().ok_or(Unkeyed::Producer)
    }

    fn parts(&mut self, cell: &'a Cell) -> Result<KeyParts, Unkeyed> {
        let mut parts = Vec::with_capacity(8 + cell.inputs.len() + cell.env.len());
        parts.push((PartName::Schema, self.schema.clone()));
        match cell.role {
            Role::Program => {
                let ExecutorFacts { identity, toolchain, libraries } =
                    self.facts.executors.get(&cell.executor).ok_or_else(|| KeyError::Executor {
                        cell: cell.id.clone(),
                        executor: cell.executor.clone(),
                    })?;
                parts.push((PartName::Executor, identity.clone()));
                parts.push((PartName::Toolchain, toolchain.clone()));
                if let Some(libraries) = libraries {
                    parts.push((PartName::Libraries, libraries.clone()));
                }
                parts.push((PartName::Code, code(cell, self.facts.codes.get(&cell.id))));
            }
            // Made by the host itself: what it does changes with the schema only.
            Role::Gather | Role::Open | Role::Gate | Role::Flow(_) => {
                let (name, words) = match cell.role {
                    Role::Gather => ("gather", GATHERS),
                    Role::Gate => ("gate", GATES),
                    Role::Program | Role::Open | Role::Flow(_) => ("open", OPEN),
                };
                let mut message = Message::new("polyloom.key/2 role");
                message.text(name);
                parts.push((PartName::Executor, Part::new(message.finish(), words)));
                // Which steps it gathers is decided by what they read, and by this.
                if let Some(when) = &cell.when {
                    let text = when.to_string();
                    let mut message = Message::new("polyloom.key/2 when");
                    message.text(&text);
                    parts.push((PartName::When, Part::new(message.finish(), &text)));
                }
            }
        }
        let outputs = self.ports(cell.outputs.iter());
        parts.push((PartName::Outputs, outputs));
        if !cell.inputs.is_empty() {
            let types = cell.inputs.iter().map(|(port, input)| (port, &input.ty));
            let inputs = self.ports(types);
            parts.push((PartName::Inputs, inputs));
        }
        for (port, input) in &cell.inputs {
            let part = self.input(cell, port, &input.source)?;
            parts.push((PartName::Input(port.clone()), part));
        }
        for (name, value) in &cell.env {
            let part = Part::new(Digest::of(value.as_bytes()), value);
            parts.push((PartName::Env(name.clone()), part));
        }
        for (name, handle) in &cell.secrets {
            let handle = handle.text_in(&cell.folder);
            let part = Part::new(Digest::of(handle.as_bytes()), &handle);
            parts.push((PartName::Secret(name.clone()), part));
        }
        if !cell.asks.is_empty() {
            parts.push((PartName::Allow, allow(cell)));
        }
        for ask in &cell.asks {
            if let Ask::Env(name) = ask {
                let value = self.facts.env.get(name).copied().flatten();
                parts.push((PartName::Env(name.clone()), granted_variable(value)));
            }
        }
        if !cell.argv.is_empty() {
            parts.push((PartName::Argv, argv(&cell.argv)));
        }
        if let Some(stdin) = &cell.stdin {
            parts.push((PartName::Stdin, self::stdin(stdin)));
        }
        if let Some(seed) = self.flow.seed_of(cell) {
            let digest = Digest::of(&seed.to_le_bytes());
            parts.push((PartName::Seed, Part::new(digest, &seed.to_string())));
        }
        if let Some(session) = &cell.session {
            parts.push((PartName::Session, self.lineage(session)?));
        }
        Ok(parts.into_iter().collect())
    }

    /// What was done in a session before: the key of the cell before it holds all that came before that.
    fn lineage(&self, session: &Session) -> Result<Part, Unkeyed> {
        let before = session.before.as_ref();
        let there = before.filter(|id| self.graph.index(id.as_str()).is_some());
        let key = there.map(|id| self.before(id)).transpose()?;
        let mut message = Message::new("polyloom.key/2 session");
        match key {
            Some(key) => message.digest(&key.0),
            None => message.text(""),
        };
        let text = match before {
            Some(id) => format!("{}, after {id}", session.name),
            None => format!("{}, from the start", session.name),
        };
        Ok(Part::new(message.finish(), &text))
    }

    /// The names and types of ports. Many cells have the same, so each list is digested once.
    fn ports<'p>(
        &mut self,
        ports: impl ExactSizeIterator<Item = (&'p PortName, &'p Type)>,
    ) -> Part {
        let mut message = Message::new("polyloom.key/2 ports");
        message.count(ports.len());
        let mut text = String::new();
        for (port, ty) in ports {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(port.as_str());
            text.push_str(": ");
            let start = text.len();
            // Writing to a string does not fail.
            let _ = write!(text, "{ty}");
            message.text(port.as_str()).text(&text[start..]);
        }
        if let Some(part) = self.ports.get(message.as_bytes()) {
            return part.clone();
        }
        if text.is_empty() {
            text.push_str("none");
        }
        let part = Part::new(message.finish(), &text);
        self.ports.insert(message.as_bytes().to_vec(), part.clone());
        part
    }

    fn input(&mut self, cell: &Cell, port: &PortName, source: &'a Source) -> Result<Part, Unkeyed> {
        Ok(match source {
            Source::Port(id, output) => {
                let mut message = Message::new("polyloom.key/2 edge");
                message.digest(&self.before(id)?.0).text(output.as_str());
                Part::new(message.finish(), &[id.as_str(), ".", output.as_str()].concat())
            }
            Source::Param(name) => {
                if let Some(part) = self.params.get(name) {
                    return Ok(part.clone());
                }
                let param = self.flow.params.get(name).ok_or_else(|| KeyError::Param {
                    cell: cell.id.clone(),
                    input: port.clone(),
                    param: name.clone(),
                })?;
                let part = value(&param.value);
                self.params.insert(name, part.clone());
                part
            }
            Source::File(path) => {
                let known = self.facts.files.get(&(cell.id.clone(), port.clone()));
                let content = known
                    .ok_or_else(|| KeyError::File { cell: cell.id.clone(), input: port.clone() })?;
                // The cell sees the file under its port's name and this extension, so a renamed file is the same input.
                let extension = path.extension().unwrap_or_default().as_encoded_bytes();
                let mut message = Message::new("polyloom.key/2 file");
                message.digest(content).bytes(extension);
                let text = format!("{}, {}", path.display(), content.short());
                Part::new(message.finish(), &text)
            }
            Source::Value(constant) => value(constant),
            // Only in a flow that was not expanded, of which no cell runs.
            Source::Item => value(&Value::Null),
            Source::Ports(ports) => {
                let mut message = Message::new("polyloom.key/2 edges");
                message.count(ports.len());
                for (id, output) in ports {
                    message.digest(&self.before(id)?.0).text(output.as_str());
                }
                let unit = match (&cell.role, ports.len()) {
                    (Role::Gather, 1) => "step",
                    (Role::Gather, _) => "steps",
                    (_, 1) => "output",
                    _ => "outputs",
                };
                Part::new(message.finish(), &format!("{} {unit}", ports.len()))
            }
        })
    }
}

/// A value's digest is that of its canonical MessagePack, as if it were an artifact.
fn value(value: &Value) -> Part {
    let text = match value {
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::List(items) if items.len() > 40 => format!("list of {}", items.len()),
        Value::Map(items) if items.len() > 40 => format!("map of {}", items.len()),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::List(_)
        | Value::Map(_) => value.to_json(),
    };
    let mut message = Message::new("polyloom.key/2 value");
    message.bytes(&value.to_msgpack());
    Part::new(message.finish(), &text)
}

/// Of a call the function, with all that it reaches: what else stands in its file is nothing to it. Else the bytes as they are: a changed line ending changes what a shell or a here-document does, so it is a change. Or the normal form that the
/// executor gives them, in a domain of its own: the two are never taken for one another.
fn code(cell: &Cell, normal: Option<&Digest>) -> Part {
    if let Some(call) = &cell.call {
        let digest = Message::new("polyloom.key/2 call").text(&call.id).text(&call.digest).finish();
        return Part::new(digest, &format!("{}, {}", call.id, digest.short()));
    }
    let extension = cell.code.name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let digest = match normal {
        Some(normal) => Message::new("polyloom.key/2 code in normal form")
            .text(extension)
            .digest(normal)
            .finish(),
        None => {
            Message::new("polyloom.key/2 code").text(extension).bytes(&cell.code.bytes).finish()
        }
    };
    let lines = cell.code.bytes.split_inclusive(|&b| b == b'\n').count();
    let unit = if lines == 1 { "line" } else { "lines" };
    let [a, b, c, d, ..] = *digest.as_bytes();
    let short = u32::from_be_bytes([a, b, c, d]);
    Part::new(digest, &format!("{}, {lines} {unit}, {short:08x}", cell.code.name))
}

/// What it asks for, not what it is granted: without all of it, it does not run.
fn allow(cell: &Cell) -> Part {
    // Two flows of one project may ask for files of the same name.
    let below = |ask: &Ask| ask.clone().below(&cell.folder).to_string();
    let asks: Vec<String> = cell.asks.iter().map(below).collect();
    let mut message = Message::new("polyloom.key/2 allow");
    message.count(asks.len());
    for ask in &asks {
        message.text(ask);
    }
    Part::new(message.finish(), &asks.join(", "))
}

/// A variable of the person's environment. Its value is theirs: people are shown only whether it is the same.
fn granted_variable(value: Option<Digest>) -> Part {
    let mut message = Message::new("polyloom.key/2 granted variable");
    let text = match value {
        Some(digest) => {
            message.text("set").digest(&digest);
            "set"
        }
        None => {
            message.text("not set");
            "not set"
        }
    };
    let digest = message.finish();
    let short = digest.short();
    Part::new(digest, &if value.is_some() { format!("{text}, {short}") } else { text.to_owned() })
}

fn argv(argv: &[String]) -> Part {
    let mut message = Message::new("polyloom.key/2 argv");
    message.count(argv.len());
    for arg in argv {
        message.text(arg);
    }
    Part::new(message.finish(), &argv.join(" "))
}

fn stdin(stdin: &Stdin) -> Part {
    let mut message = Message::new("polyloom.key/2 stdin");
    match stdin {
        Stdin::Text(text) => {
            message.text("text").text(text);
            Part::new(message.finish(), text)
        }
        Stdin::Input(port) => {
            message.text("input").text(port.as_str());
            Part::new(message.finish(), &format!("input {port}"))
        }
    }
}
