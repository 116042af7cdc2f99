//! Typed functions as data: what an executor's reader says there is. Knows no process; whoever can ask a reader does so for a check by
//! [`Functions`].

mod fit;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::{Coercion, Manifest, PortName, ToolChoice, Type};
use serde_json::{Value as Json, json};

pub(crate) use self::fit::misfit;
pub use self::read::{BadCatalog, Part, documents};
use crate::files::Root;
use crate::problem::{Report, Severity};

/// The version of the catalog's form.
pub const VERSION: u64 = 1;

/// Who asks readers for what a check wants to know.
pub trait Functions: fmt::Debug + Sync {
    /// What there is of what is asked for. An error is one of the machine's or the reader's, in one line.
    fn ask(&self, question: &Question<'_>) -> Result<Catalog, String>;
}

/// What is asked of one reader.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The executor that has it.
    pub manifest: &'a Manifest,
    /// The folder that locations which begin with `./` are relative to.
    pub root: &'a Root,
    /// Which programs serve the executor.
    pub tools: &'a [ToolChoice],
    /// What is to be read.
    pub targets: &'a [Target],
    /// Whether what has no types is let through.
    pub allow_untyped: bool,
}

/// What is to be read: all functions of a place, or one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// `./filters.py`, a folder, or the name of something installed.
    pub location: String,
    /// One of them.
    pub object: Option<String>,
}

impl Target {
    /// Whether it is a path, and not the name of something installed.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.location.starts_with('.') || self.location.contains('/')
    }

    /// Whether it is in the flow's folder.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.location.starts_with("./")
    }
}

/// An id of a function, taken apart: `EXECUTOR:LOCATION:OBJECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The executor's id or alias.
    pub executor: String,
    /// Where the function is.
    pub target: Target,
}

impl Use {
    /// Takes an id apart. The object may be missing.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (executor, rest) = text.split_once(':')?;
        // A location of a path may hold a colon, an object can't.
        let (location, object) = match rest.rsplit_once(':') {
            Some((location, object)) => (location, Some(object)),
            None => (rest, None),
        };
        let plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        let fits = plain(executor) && plain(location) && object.is_none_or(plain);
        fits.then(|| Self {
            executor: executor.to_owned(),
            target: Target { location: location.to_owned(), object: object.map(str::to_owned) },
        })
    }
}

/// What a reader found.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The functions.
    pub entries: Vec<Entry>,
    /// The types that their annotations name, by `MODULE.NAME`, as the reader describes them.
    pub types: BTreeMap<String, Json>,
    /// What is wrong, in the reader's words.
    pub findings: Vec<Finding>,
    /// The files in the flow's folder that functions reach, as whoever asked found them: what the reader saw, and nothing newer.
    pub contents: BTreeMap<PathBuf, Arc<[u8]>>,
}

/// A typed function.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `EXECUTOR:LOCATION:OBJECT`.
    pub id: String,
    /// Where it is.
    pub target: Target,
    /// The name by which its language finds its file.
    pub module: String,
    /// What it does, in a line or a few.
    pub doc: String,
    /// Its file, relative to the root; nothing where it is installed.
    pub file: Option<PathBuf>,
    /// Where it begins there.
    pub line: u32,
    /// Words such as `pure`.
    pub tags: Vec<String>,
    /// Whether it is given a context.
    pub context: bool,
    /// What it takes, and then what is set of it.
    pub inputs: Vec<Port>,
    /// How many of `inputs` are no params.
    pub wired: usize,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// The project's files that it can reach, relative to the root.
    pub files: Vec<PathBuf>,
    /// The digest of it and of all that it can reach.
    pub digest: String,
    /// The program that calls it, where its file is none by itself.
    pub code: Option<Arc<[u8]>>,
    /// All that the reader said of it.
    pub json: Json,
}

impl Entry {
    /// An input by its name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name.as_str() == name)
    }

    /// Whether it draws on a stream of random numbers.
    #[must_use]
    pub fn is_seeded(&self) -> bool {
        self.context
            || self.tags.iter().any(|tag| tag == "seed")
            || self.inputs.iter().any(|port| port.ty == Type::Seed)
    }
}

/// A port of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: PortName,
    /// Its type.
    pub ty: Type,
    /// Whether a cell has to give it.
    pub required: bool,
    /// The text of its default, where it has one that is a value.
    pub default: Option<String>,
    /// What its values are, as JSON Schema says it.
    pub schema: Json,
    /// What it means.
    pub doc: String,
}

impl Port {
    /// What each file of a directory is, where it says so.
    #[must_use]
    pub fn item(&self) -> Option<Type> {
        let item = || self.schema.get("items")?.get("x-polyloom")?.as_str()?.parse().ok();
        (self.ty == Type::Dir).then(item)?
    }
}

/// Something wrong, as a reader says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The reader's own code.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// In one line.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Where, relative to the root; a file elsewhere is only named.
    pub file: Option<PathBuf>,
    /// From 1; 0 where there is none.
    pub line: u32,
    /// From 1.
    pub col: u32,
    /// Behind its end.
    pub end_col: u32,
    /// The function it speaks of.
    pub object: Option<String>,
    /// The locations that it was found at; none where the reader does not say.
    pub locations: Vec<String>,
}

impl Catalog {
    /// The parts of an answer together, in their order.
    #[must_use]
    pub fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        read::catalog(parts)
    }

    /// What is wrong, as it is shown beside the problems of flows.
    #[must_use]
    pub fn report(&self, root: &Root) -> Report {
        let mut sources = BTreeMap::new();
        let problem = |it| crate::check::to_problem(it, Some(root), &mut sources);
        Report { problems: self.findings.iter().map(problem).collect() }
    }

    /// The same in the form in which it is served, with the rule of what may be wired to what.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let finding = |it: &Finding| {
            json!({
                "code": it.code, "severity": it.severity.to_string(), "message": it.message, "help": it.help,
                "file": it.file, "line": it.line, "col": it.col, "end_col": it.end_col, "object": it.object,
            })
        };
        let coercion = |it: &Coercion| {
            let (from, to, doc) = it.row();
            json!({ "name": it.name(), "from": from, "to": to, "doc": doc })
        };
        json!({
            "version": VERSION,
            "entries": self.entries.iter().map(|entry| &entry.json).collect::<Vec<_>>(),
            "types": self.types,
            "problems": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "coercions": Coercion::ALL.iter().map(coercion).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_three_parts_of_which_the_last_may_be_missing() {
        let read = |text: &str| {
            let it = Use::read(text)?;
            Some((it.executor, it.target.location, it.target.object))
        };
        let (python, blur) = ("python".to_owned(), Some("blur".to_owned()));
        assert_eq!(
            read("python:./a:b.py:blur"),
            Some((python.clone(), "./a:b.py".into(), blur.clone()))
        );
        assert_eq!(
            read("python:scipy.ndimage:blur"),
            Some((python.clone(), "scipy.ndimage".into(), blur))
        );
        assert_eq!(read("python:scipy"), Some((python, "scipy".into(), None)));
        for bad in ["", "python", "python:", ":x:y", "python:x:", "python::y", "python:x\n:y"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
