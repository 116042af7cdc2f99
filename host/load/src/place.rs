//! Which file an argument of the command line means, and its text.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::findings::list;
use crate::problem::{Code, Problem};
use crate::read::Format;
use crate::source::Source;

/// A flow file may be this long.
const MAX_FLOW: u64 = 32 << 20;

/// A folder's flow file before all others, and how the names of others end: tables, and documents with cells in them.
const FIRST: &str = "polyloom.toml";
const TABLES: [&str; 3] = ["polyloom.json", ".flow.toml", ".flow.json"];
const DOCUMENTS: [&str; 2] = [".flow.md", ".qmd"];

/// The flow file that an argument means: the file itself, or a folder's `polyloom.toml`, else the only
/// `*.flow.toml`, `*.flow.json`, `*.flow.md` or `*.qmd` in it, else the only Markdown file that has a cell.
pub fn find_flow(argument: &Path) -> Result<PathBuf, Problem> {
    if !argument.exists() {
        return Err(unreadable(argument, "there is no such file or folder"));
    }
    if !argument.is_dir() {
        return Ok(argument.to_owned());
    }
    let first = argument.join(FIRST);
    if first.is_file() {
        return Ok(first);
    }
    let mut names: Vec<String> = fs::read_dir(argument)
        .map_err(|error| unreadable(argument, &error.to_string()))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let named = |end: &[&str]| -> Vec<&str> {
        let ends = |name: &&String| {
            end.iter().any(|end| name.ends_with(end)) && argument.join(name).is_file()
        };
        names.iter().filter(ends).map(String::as_str).collect()
    };
    let mut flows = named(&TABLES);
    if flows.is_empty() {
        flows = named(&DOCUMENTS);
    }
    if flows.is_empty() {
        // Most Markdown is prose: only a file with a cell in it is a flow.
        flows = named(&[".md"]);
        flows.retain(|name| has_cell(&argument.join(name)));
    }
    match flows.as_slice() {
        [only] => Ok(argument.join(only)),
        [] => {
            let shown: Vec<&str> = names.iter().map(String::as_str).collect();
            let there = if shown.is_empty() {
                "the folder is empty".to_owned()
            } else {
                format!("the folder has {}", list(&shown))
            };
            let message = format!("no flow file in `{}`", argument.display());
            Err(Problem::error(Code::NoFlow, message)
                .help(format!("{there}; expected `polyloom.toml`, `NAME.flow.toml` or `NAME.md`; `polyloom new NAME` begins a project")))
        }
        several => {
            let message = format!("several flow files in `{}`", argument.display());
            Err(Problem::error(Code::NoFlow, message)
                .help(format!("name one of {}", list(several))))
        }
    }
}

/// Whether a folder is one of a flow, by the names in it.
#[must_use]
pub fn has_flow(folder: &Path) -> bool {
    let is_flow = |name: &str| {
        let hidden = name.starts_with('.');
        name == FIRST || !hidden && TABLES.iter().chain(&DOCUMENTS).any(|it| name.ends_with(it))
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names.into_iter().any(|it| it.file_name().to_str().is_some_and(is_flow) && it.path().is_file())
}

/// Whether there is a file that can be run.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn unreadable(path: &Path, why: &str) -> Problem {
    Problem::error(Code::Unreadable, format!("can't read `{}`: {why}", path.display()))
}

/// Whether a Markdown file has a block that is a cell: a fence with a language in braces.
fn has_cell(path: &Path) -> bool {
    let short = fs::metadata(path).is_ok_and(|meta| meta.len() <= 1 << 20);
    let text = if short { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    text.lines().any(|line| line.trim_start().starts_with("```{"))
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<Arc<Source>, Problem> {
    let failed = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        };
        unreadable(path, &why)
    };
    // Asked before opening: to open a pipe is to wait for its other end.
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(unreadable(path, "it is not a regular file"));
    }
    let room = usize::try_from(meta.len().min(MAX_FLOW)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room + 1);
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FLOW + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FLOW {
        return Err(unreadable(path, "it is larger than 32 MiB"));
    }
    text(&path.to_string_lossy(), bytes)
}

/// Bytes as a text, or where they stop being UTF-8.
pub(crate) fn text(name: &str, bytes: Vec<u8>) -> Result<Arc<Source>, Problem> {
    String::from_utf8(bytes).map(|text| Source::new(name, text)).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let source = Source::new(name, String::from_utf8_lossy(&bytes));
        Problem::error(Code::Unreadable, format!("the file is not UTF-8 from byte {at} on"))
            .at(&source, at..at + 3, "")
            .help("save it as UTF-8")
    })
}

/// The format of a flow file, or why it has none.
pub(crate) fn format(path: &Path) -> Result<Format, Problem> {
    Format::of(path).ok_or_else(|| {
        let message = format!("`{}` is not a flow file by its name", path.display());
        Problem::error(Code::Unreadable, message).help("valid: *.toml, *.json, *.md, *.qmd")
    })
}
