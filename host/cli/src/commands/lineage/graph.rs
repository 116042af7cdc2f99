//! Steps and what leads from one to the next, gathered from the history. Every step once, however many ways lead to it, and
//! without recursion: chains may be ten thousand cells long.

use std::collections::{HashMap, HashSet, VecDeque};

use polyloom_plan::{KeyParts, PartName};
use polyloom_store::{Fault, History, Maker, OutputRow, StepRow};
use serde_json::{Value, json};

/// On which side of the artifact a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// It was made of what the step made.
    Up,
    /// The step took it in, or what was made of it.
    Down,
}

/// Whether the bytes are meant also where they are those of a file of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They are: a digest was named.
    Too,
    /// An output was named.
    Not,
}

/// A cell that made something.
pub struct Step {
    /// On which side.
    pub way: Way,
    /// The run in which it ran; `None`: none that is kept here.
    pub run: Option<String>,
    /// The cell.
    pub cell: String,
    /// The cell that ran, where it is another one that was made of the same.
    pub by: Option<String>,
    /// Its key.
    pub key: String,
    /// The parts of its key.
    pub parts: KeyParts,
    /// What came in.
    pub inputs: Vec<Input>,
    /// What came out.
    pub outputs: Vec<OutputRow>,
    /// The steps that took in each of the outputs, in their order; of steps below the artifact.
    pub readers: Vec<Vec<usize>>,
}

/// One input.
pub struct Input {
    /// The port.
    pub port: String,
    /// `CELL.PORT`, `param:NAME`, `file:PATH` or `value`; empty if only words are known.
    pub source: String,
    /// What the key says of it.
    pub text: String,
    /// The digest of an artifact or a file.
    pub digest: Option<String>,
    /// The step that made it; of steps above the artifact.
    pub from: Option<usize>,
}

impl Step {
    /// What the key says of a part.
    pub fn part(&self, name: &PartName) -> Option<&str> {
        self.parts.get(name).map(|part| &*part.text)
    }

    /// For `--format json`.
    pub fn json(&self) -> Value {
        let parts = self.parts.iter().map(|(name, part)| {
            (name.to_string(), json!({ "digest": part.digest.to_string(), "text": &*part.text }))
        });
        let input = |input: &Input| {
            json!({
                "port": input.port, "source": Some(&input.source).filter(|s| !s.is_empty()),
                "text": input.text, "digest": input.digest,
            })
        };
        json!({
            "cell": self.cell, "run": self.run, "by": self.by.as_ref().unwrap_or(&self.cell), "key": self.key,
            "parts": parts.collect::<serde_json::Map<_, _>>(),
            "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "outputs": self.outputs,
        })
    }
}

/// What was gathered.
pub struct Lineage<'a> {
    history: &'a History,
    /// All steps.
    pub steps: Vec<Step>,
    /// Where a cell of a run is among them, once it has been looked for.
    met: HashMap<(String, String), Option<usize>>,
    /// By where they were made, or, if that is not known, by their key.
    places: HashMap<(Way, String, String), usize>,
}

impl<'a> Lineage<'a> {
    /// Nothing yet.
    pub fn new(history: &'a History) -> Self {
        Self { history, steps: Vec::new(), met: HashMap::new(), places: HashMap::new() }
    }

    /// Adds what a cell of a run was made of. Gives the step that made it.
    pub fn up(&mut self, run: &str, cell: &str) -> Result<Option<usize>, Fault> {
        let mut todo = VecDeque::new();
        let first = self.meet(run, cell, &mut todo)?;
        while let Some((at, beside)) = todo.pop_front() {
            for input in 0..self.steps[at].inputs.len() {
                let Input { source, digest, .. } = &self.steps[at].inputs[input];
                let (source, digest) = (source.clone(), digest.clone());
                let Some((cell, port)) = source.rsplit_once('.') else { continue };
                if source.contains(':') {
                    continue;
                }
                let mut from = self.meet(&beside, cell, &mut todo)?;
                let fits = |step: &Step| match &digest {
                    Some(digest) => {
                        step.outputs.iter().any(|o| o.port == port && o.digest == *digest)
                    }
                    None => true,
                };
                // A run of this cell alone: what it read had been made before.
                if from.is_none_or(|from| !fits(&self.steps[from])) {
                    from = None;
                    let made = match &digest {
                        Some(digest) => self.history.made(digest)?,
                        None => Vec::new(),
                    };
                    let made =
                        made.iter().find(|made| made.cell == cell && made.output.port == port);
                    if let Some(made) = made {
                        from = self.meet(&made.run, cell, &mut todo)?;
                    }
                }
                self.steps[at].inputs[input].from = from;
            }
        }
        Ok(first)
    }

    /// The step that made the outputs of a cell in a run, added if it is new.
    fn meet(
        &mut self,
        run: &str,
        cell: &str,
        todo: &mut VecDeque<(usize, String)>,
    ) -> Result<Option<usize>, Fault> {
        let asked = (run.to_owned(), cell.to_owned());
        if let Some(at) = self.met.get(&asked) {
            return Ok(*at);
        }
        let at = match self.history.maker(run, cell)? {
            None => None,
            Some(Maker { run, by, beside, step }) => {
                let by = Some(by).filter(|by| *by != step.cell);
                let place = match by {
                    None => run.clone().unwrap_or_else(|| step.key.clone()),
                    // It may have made something else in the run of the other.
                    Some(_) => beside.clone(),
                };
                let place = (Way::Up, place, step.cell.clone());
                let at = match self.places.get(&place) {
                    Some(at) => *at,
                    None => {
                        let at = self.add(Way::Up, run, step);
                        self.steps[at].by = by;
                        self.places.insert(place, at);
                        todo.push_back((at, beside));
                        at
                    }
                };
                Some(at)
            }
        };
        self.met.insert(asked, at);
        Ok(at)
    }

    fn add(&mut self, way: Way, run: Option<String>, row: StepRow) -> usize {
        let parts: KeyParts = serde_json::from_str(&row.parts).unwrap_or_default();
        let words = parts.iter().filter_map(|(name, part)| match name {
            PartName::Input(port) => Some((port.to_string(), part.text.to_string())),
            _ => None,
        });
        let rows: HashMap<_, _> = row.inputs.iter().map(|input| (&input.port, input)).collect();
        // What is gathered has a row for each step: `score#0`, `score#1` and so on.
        let gathered = |port: &str| {
            let mine = row
                .inputs
                .iter()
                .filter(|input| input.port.split_once('#').is_some_and(|(name, _)| name == port));
            let one = |row: &polyloom_store::InputRow| Input {
                source: row.source.clone(),
                digest: row.digest.clone(),
                port: port.to_owned(),
                text: row.source.clone(),
                from: None,
            };
            mine.map(one).collect::<Vec<_>>()
        };
        let inputs = words.flat_map(|(port, text)| {
            let several = gathered(&port);
            if !several.is_empty() {
                return several;
            }
            vec![match rows.get(&port) {
                Some(row) => Input {
                    source: row.source.clone(),
                    digest: row.digest.clone(),
                    port,
                    text,
                    from: None,
                },
                // The words for an edge are its source. A text of that form would be in quotes, a file has a comma.
                None => {
                    let edge = text.rsplit_once('.').is_some_and(|(cell, port)| {
                        let cell = cell.parse::<polyloom_model::CellId>();
                        cell.is_ok() && port.parse::<polyloom_model::PortName>().is_ok()
                    });
                    let source = if edge { text.clone() } else { String::new() };
                    Input { port, source, text, digest: None, from: None }
                }
            }]
        });
        let items = row.inputs.iter().filter_map(|input| {
            let axis = input.port.strip_suffix('*')?;
            Some(Input {
                source: input.source.clone(),
                digest: input.digest.clone(),
                port: format!("items of {axis}"),
                text: input.source.clone(),
                from: None,
            })
        });
        let inputs = inputs.chain(items).collect();
        let readers = vec![Vec::new(); row.outputs.len()];
        let (cell, by, key, outputs) = (row.cell, None, row.key, row.outputs);
        self.steps.push(Step { way, run, cell, by, key, parts, inputs, outputs, readers });
        self.steps.len() - 1
    }

    /// Adds what was made of an artifact that is known as each of `sources` (flow and `CELL.PORT`), and as a file.
    /// Gives the steps that took it in.
    pub fn down(
        &mut self,
        digest: &str,
        sources: &[(String, String)],
        files: Files,
    ) -> Result<Vec<usize>, Fault> {
        let mut first = Vec::new();
        let mut seen = HashSet::new();
        let mut alike = HashSet::new();
        let mut todo = VecDeque::new();
        todo.push_back((digest.to_owned(), sources.to_vec(), None));
        while let Some((digest, sources, by)) = todo.pop_front() {
            let mut readers = Vec::new();
            for taken in self.history.taken(&digest)? {
                let same = |(flow, source): &(String, String)| {
                    *flow == taken.flow && *source == taken.source
                };
                // Small values are equal by chance: the bytes alone are not what was read.
                let file = by.is_none() && files == Files::Too && taken.source.starts_with("file:");
                if !file && !sources.iter().any(same) {
                    continue;
                }
                let place = (Way::Down, taken.run.clone(), taken.cell.clone());
                if let Some(at) = self.places.get(&place) {
                    readers.push(*at);
                    continue;
                }
                if !seen.insert((taken.run.clone(), taken.cell.clone())) {
                    continue;
                }
                let Some(row) = self.history.step(&taken.run, &taken.cell)? else { continue };
                // Runs that gave the same again say nothing new; the newest is shown.
                let outputs: Vec<_> =
                    row.outputs.iter().map(|o| (o.port.clone(), o.digest.clone())).collect();
                if !alike.insert((digest.clone(), taken.flow.clone(), taken.cell.clone(), outputs))
                {
                    continue;
                }
                let at = self.add(Way::Down, Some(taken.run), row);
                self.places.insert(place, at);
                for (output, row) in self.steps[at].outputs.iter().enumerate() {
                    let source = (taken.flow.clone(), format!("{}.{}", taken.cell, row.port));
                    todo.push_back((row.digest.clone(), vec![source], Some((at, output))));
                }
                readers.push(at);
            }
            readers.dedup();
            match by {
                None => first = readers,
                Some((at, output)) => self.steps[at].readers[output] = readers,
            }
        }
        Ok(first)
    }
}
