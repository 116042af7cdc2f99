//! A lineage as a tree, as Mermaid and as Graphviz. Knows no history.

use polyloom_plan::PartName;
use polyloom_report::{Paint, Style, escape_line, size};
use polyloom_store::OutputRow;

use super::Artifact;
use super::graph::{Lineage, Step, Way};

/// `b3:` and twelve digits. Escaped: a history may have come from elsewhere.
fn short(digest: &str) -> String {
    escape_line(&digest.chars().take(15).collect::<String>()).into_owned()
}

fn thing(output: &OutputRow) -> String {
    format!("{}  {}, {}", short(&output.digest), escape_line(&output.ty), size(output.size))
}

fn run_of(step: &Step) -> String {
    let run = step.run.as_deref().unwrap_or("a run that is not kept here");
    match &step.by {
        Some(by) => format!("{run}, where {by} was made of the same"),
        None => run.to_owned(),
    }
}

/// A tree for people.
pub struct Drawing<'a> {
    /// What is drawn.
    pub lineage: &'a Lineage<'a>,
    /// How.
    pub paint: Paint,
    /// How many steps deep.
    pub depth: usize,
}

/// A line and what hangs below it.
enum Todo {
    Up(usize),
    Down(usize),
    Input(usize, usize),
    Output(usize, usize),
    Text(String),
}

impl Drawing<'_> {
    /// What it is about.
    pub fn head(&self, artifact: &Artifact) -> String {
        let Some(_) = artifact.places.first() else {
            return format!(
                "{}  a file that was read\n",
                self.paint.text(Style::Strong, &artifact.digest)
            );
        };
        let line = |place: &super::Place| {
            let name = format!("{}.{}", place.cell, place.output.port);
            let name = self.paint.text(Style::Strong, &escape_line(&name));
            format!("{name}  {}\n", thing(&place.output))
        };
        artifact.places.iter().map(line).collect()
    }

    /// What it was made of.
    pub fn up(&self, roots: &[usize]) -> String {
        if roots.is_empty() {
            return String::new();
        }
        self.paint.text(Style::Dim, "made by")
            + "\n"
            + &self.tree(roots.iter().map(|at| Todo::Up(*at)).collect())
    }

    /// What was made of it.
    pub fn down(&self, roots: &[usize]) -> String {
        if roots.is_empty() {
            return self.paint.text(Style::Dim, "nothing was made of it") + "\n";
        }
        self.paint.text(Style::Dim, "taken in by")
            + "\n"
            + &self.tree(roots.iter().map(|at| Todo::Down(*at)).collect())
    }

    fn tree(&self, roots: Vec<Todo>) -> String {
        let mut drawn = vec![false; self.lineage.steps.len()];
        let mut text = String::new();
        // What is to be drawn, its indent, whether it is the last of its siblings, how deep it is.
        let mut todo: Vec<(Todo, String, bool, usize)> = Vec::new();
        push(&mut todo, roots, "", 1);
        while let Some((what, indent, last, depth)) = todo.pop() {
            let (line, below) = self.line(&what, &mut drawn, depth);
            text.push_str(&format!("{indent}{}{line}\n", if last { "└─ " } else { "├─ " }));
            let step = matches!(what, Todo::Up(_) | Todo::Down(_));
            let inner = format!("{indent}{}", if last { "   " } else { "│  " });
            push(&mut todo, below, &inner, depth + usize::from(step));
        }
        text
    }

    fn line(&self, what: &Todo, drawn: &mut [bool], depth: usize) -> (String, Vec<Todo>) {
        let steps = &self.lineage.steps;
        match what {
            Todo::Text(text) => (text.clone(), Vec::new()),
            Todo::Up(at) | Todo::Down(at) => {
                let step = &steps[*at];
                let mut line = self.paint.text(Style::Strong, &escape_line(&step.cell));
                line.push_str(&format!(" in {}", escape_line(&run_of(step))));
                let again = std::mem::replace(&mut drawn[*at], true);
                if again {
                    return (line + ", as above", Vec::new());
                }
                if depth > self.depth {
                    return (line + ", …", Vec::new());
                }
                let below = if matches!(what, Todo::Up(_)) {
                    self.above(*at)
                } else {
                    (0..step.outputs.len()).map(|output| Todo::Output(*at, output)).collect()
                };
                (line, below)
            }
            Todo::Input(at, input) => {
                let input = &steps[*at].inputs[*input];
                let source = if input.source.is_empty() { &input.text } else { &input.source };
                let mut line = format!("{} ← {}", escape_line(&input.port), escape_line(source));
                if let Some(digest) = &input.digest {
                    line.push_str(&format!("  {}", short(digest)));
                } else if *source != input.text {
                    line.push_str(&format!("  {}", escape_line(&input.text)));
                }
                (line, input.from.map(Todo::Up).into_iter().collect())
            }
            Todo::Output(at, output) => {
                let step = &steps[*at];
                let row = &step.outputs[*output];
                let name = format!("{}.{}", step.cell, row.port);
                let line = format!("{}  {}", escape_line(&name), thing(row));
                (line, step.readers[*output].iter().map(|at| Todo::Down(*at)).collect())
            }
        }
    }

    fn above(&self, at: usize) -> Vec<Todo> {
        let step = &self.lineage.steps[at];
        let mut below = Vec::new();
        for name in
            [PartName::Code, PartName::Executor, PartName::Seed, PartName::Argv, PartName::Stdin]
        {
            if let Some(text) = step.part(&name) {
                below.push(Todo::Text(
                    self.paint.text(Style::Dim, &escape_line(&format!("{name} {text}"))),
                ));
            }
        }
        below.extend((0..step.inputs.len()).map(|input| Todo::Input(at, input)));
        below
    }
}

fn push(todo: &mut Vec<(Todo, String, bool, usize)>, below: Vec<Todo>, indent: &str, depth: usize) {
    let count = below.len();
    for (at, what) in below.into_iter().enumerate().rev() {
        todo.push((what, indent.to_owned(), at + 1 == count, depth));
    }
}

/// The arrows between steps: from, to, what goes along.
fn arrows(lineage: &Lineage<'_>) -> Vec<(usize, usize, String)> {
    let mut arrows = Vec::new();
    for (at, step) in lineage.steps.iter().enumerate() {
        match step.way {
            Way::Up => {
                for input in &step.inputs {
                    arrows.extend(input.from.map(|from| (from, at, input.source.clone())));
                }
            }
            Way::Down => {
                for (output, readers) in step.outputs.iter().zip(&step.readers) {
                    let name = format!("{}.{}", step.cell, output.port);
                    arrows.extend(readers.iter().map(|reader| (at, *reader, name.clone())));
                }
            }
        }
    }
    arrows
}

/// As a label in quotes: nothing in it ends it, or is taken for markup.
fn label(text: &str) -> String {
    escape_line(text).replace(['"', '\\', '<', '>', '&', '#', '`'], "_")
}

/// As a Mermaid diagram.
pub fn mermaid(lineage: &Lineage<'_>) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (at, step) in lineage.steps.iter().enumerate() {
        text.push_str(&format!(
            "  s{at}[\"{}<br/>{}\"]\n",
            label(&step.cell),
            label(&run_of(step))
        ));
    }
    for (from, to, what) in arrows(lineage) {
        text.push_str(&format!("  s{from} -- \"{}\" --> s{to}\n", label(&what)));
    }
    text
}

/// As a Graphviz file.
pub fn dot(lineage: &Lineage<'_>) -> String {
    let mut text = "digraph lineage {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for (at, step) in lineage.steps.iter().enumerate() {
        let (cell, run) = (label(&step.cell), label(&run_of(step)));
        text.push_str(&format!("  s{at} [label=\"{cell}\\n{run}\"];\n"));
    }
    for (from, to, what) in arrows(lineage) {
        text.push_str(&format!("  s{from} -> s{to} [label=\"{}\"];\n", label(&what)));
    }
    text + "}\n"
}
