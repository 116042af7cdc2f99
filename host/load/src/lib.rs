//! From text to model: flow files (TOML, JSON, Markdown) and executor manifests, read, checked and formatted.
//!
//! Reads files and knows no process, no store, no network, no clock and no terminal. Everything that is wrong
//! with a text is found in one pass and comes back as data ([`Report`]); nothing is printed here.

mod canonical;
mod catalog;
mod check;
mod codes;
mod files;
mod findings;
mod fmt;
mod given;
mod keys;
mod manifest;
mod parts;
mod place;
mod problem;
mod read;
mod reference;
mod render;
mod schema;
mod source;
mod template;
mod text;
mod tree;

use std::path::{Path, PathBuf};

use polyloom_model::ToolChoice;

pub use canonical::to_json;
pub use catalog::{
    BadCatalog, Catalog, Entry as CatalogEntry, Finding, Functions, Part as CatalogPart,
    Port as CatalogPort, Question, Target, Use, documents,
};
pub use check::{Context, Loaded, Purpose, check};
pub use codes::catalogue;
pub use files::{FileError, MAX_CODE, Root};
pub use fmt::format;
pub use given::{Given, apply_params};
pub use manifest::{
    Broken, ByExtension, Files, Languages, broken_in, discover, kernels_in, manifests_in,
    parse_bundled, parse_manifest, read_kernel, read_manifest,
};
pub use place::{find_flow, has_flow};
pub use problem::{Code, Label, Problem, Report, Severity};
pub use read::{Document, Format};
pub use reference::{manifest_reference, reference};
pub use render::{render, report_to_json};
pub use schema::{executor_schema, flow_schema};
pub use source::{Position, Source, Span};
pub use template::{TemplateError, template};
pub use text::Text;
pub use tree::{Data, Entry, Key, Map, Node};

/// How flows are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    /// The languages there are.
    pub languages: &'a Languages,
    /// Why.
    pub purpose: Purpose,
    /// Values for the flow's params.
    pub given: &'a Given,
    /// Who is asked for typed functions.
    pub functions: Option<&'a dyn Functions>,
}

/// Files of so many bytes are long.
const LONG: usize = 1 << 20;

/// Loads the flow that `argument` means: a file, or a folder with one (see [`find_flow`]).
#[must_use]
pub fn load(argument: &Path, config: &Config<'_>) -> Loaded {
    match document(argument) {
        Ok((path, document)) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            match Root::open(folder) {
                Ok(root) => {
                    let context = Context {
                        languages: config.languages,
                        root: Some(&root),
                        purpose: config.purpose,
                        given: config.given,
                        functions: config.functions,
                        within: &[],
                    };
                    let loaded = check(&document, &path, &context);
                    let_go(document);
                    loaded
                }
                Err(error) => {
                    let message = format!("can't open the folder `{}`: {error}", folder.display());
                    check::failed([Problem::error(Code::Unreadable, message)])
                }
            }
        }
        Err(report) => Loaded { flow: None, report },
    }
}

/// To give back what a long file was read into takes a while, which nobody has to wait for.
fn let_go(document: Document) {
    if document.source.text().len() >= LONG {
        // Without a thread to be had, it is given back here.
        let _ = std::thread::Builder::new().spawn(move || drop(document));
    }
}

/// Loads several flows; a broken one does not keep the others from being checked.
#[must_use]
pub fn check_all(arguments: &[PathBuf], config: &Config<'_>) -> Vec<Loaded> {
    arguments.iter().map(|argument| load(argument, config)).collect()
}

/// Which programs the flow in a folder chooses for executors; none where there is no flow, or none that can be read.
#[must_use]
pub fn tools_in(folder: &Path, languages: &Languages) -> Vec<ToolChoice> {
    let (Ok((path, document)), Ok(root)) = (document(folder), Root::open(folder)) else {
        return Vec::new();
    };
    let context = Context {
        languages,
        root: Some(&root),
        purpose: Purpose::Check,
        given: &Given::default(),
        functions: None,
        within: &[],
    };
    check::tools(&document, &path, &context)
}

/// Reads the flow file that `argument` means, without checking what it says.
pub fn document(argument: &Path) -> Result<(PathBuf, Document), Report> {
    let one = |problem| Report { problems: vec![problem] };
    let path = find_flow(argument).map_err(one)?;
    let format = place::format(&path).map_err(one)?;
    let source = place::read_text(&path).map_err(one)?;
    let document = Document::read(&source, format).map_err(|problems| Report { problems })?;
    Ok((path, document))
}

/// Formats the flow file that `argument` means: its path, its text now, its text formatted. Writes nothing.
pub fn format_file(argument: &Path) -> Result<(PathBuf, String, String), Report> {
    let one = |problem| Report { problems: vec![problem] };
    let path = find_flow(argument).map_err(one)?;
    let kind = place::format(&path).map_err(one)?;
    let source = place::read_text(&path).map_err(one)?;
    let formatted = format(&source, kind).map_err(|problems| Report { problems })?;
    Ok((path, source.text().to_owned(), formatted))
}
