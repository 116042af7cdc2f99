//! What is on an axis of a map: rows of a file, files that a pattern matches, a list that a cell gave. Reads; runs nothing.

mod arrow;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use polyloom_model::{CellId, Items, Listed, PortName, Shelf, Source, Target, Type, Value};
use polyloom_plan::{Artifact, Found, MAX_STEPS, OpenAxis};
use polyloom_store::{ReadError, Store};
use thiserror::Error;

use crate::place::Inode;

/// A file of items may be this long, and so may a list that a cell gave.
const LARGEST: u64 = 64 << 20;

/// Why the items of an axis can't be had.
#[derive(Debug, Error)]
#[error("the items `{axis}` of the cell `{cell}` can't be had: {why}")]
pub struct ItemsError {
    /// The mapped cell.
    pub cell: CellId,
    /// The axis.
    pub axis: PortName,
    /// What is wrong.
    pub why: Box<Why>,
}

/// What is wrong with a list of items.
#[derive(Debug, Error)]
pub enum Why {
    /// A file or folder can't be read.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// It.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file is too long.
    #[error("`{}` is longer than {LARGEST} bytes", .0.display())]
    TooLong(PathBuf),
    /// A row or a document can't be read.
    #[error("`{}`: {text}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        text: String,
    },
    /// What a cell gave can't be read back.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// What a cell gave is no list.
    #[error("it is {0}, not a list")]
    NotAList(&'static str),
    /// The rows of a table can't be had.
    #[error("its table: {0}")]
    Table(String),
    /// More files than anybody can mean.
    #[error("more than {MAX_STEPS} files")]
    TooMany,
}

/// The items of an axis; nothing if they come from a cell whose result is not there. No pattern matches what this program `writes`. `result`
/// gives an output of a cell.
pub fn find(
    root: &Path,
    store: &Store,
    writes: &[Inode],
    open: &OpenAxis,
    result: impl FnOnce(&CellId, &PortName) -> Option<Artifact>,
) -> Result<Option<Found>, ItemsError> {
    let found = match &open.axis.items {
        Items::Glob(pattern) => {
            glob(root, &open.folder, pattern, writes).map(|files| Some(Found::Files(files)))
        }
        Items::Of(Source::File(path)) => file(root, path).map(|rows| Some(Found::Values(rows))),
        Items::Of(Source::Port(cell, port)) => match result(cell, port) {
            Some(artifact) => list(store, &artifact).map(|items| Some(Found::Values(items))),
            None => Ok(None),
        },
        Items::Of(Source::Value(_) | Source::Param(_) | Source::Item | Source::Ports(_)) => {
            Ok(None)
        }
    };
    found.map_err(|why| ItemsError {
        cell: open.cell.clone(),
        axis: open.axis.port.clone(),
        why: Box::new(why),
    })
}

fn list(store: &Store, artifact: &Artifact) -> Result<Vec<Value>, Why> {
    let bytes = store.read(&artifact.digest, LARGEST)?;
    if artifact.ty == Type::Table {
        return arrow::rows(&bytes).map_err(Why::Table);
    }
    match Value::from_msgpack(&bytes) {
        Ok(Value::List(items)) => Ok(items),
        Ok(other) => Err(Why::NotAList(other.kind())),
        Err(_) => Err(Why::NotAList("no value")),
    }
}

fn file(root: &Path, path: &Path) -> Result<Vec<Value>, Why> {
    let failed = |source| Why::Io { path: path.to_owned(), source };
    let bytes = (|| {
        let dir = Dir::open_ambient_dir(at(root), ambient_authority())?;
        if !dir.metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(dir.open(path)?, LARGEST + 1), &mut bytes)?;
        Ok(bytes)
    })()
    .map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Why::TooLong(path.to_owned()));
    }
    let form = |text: String| Why::Form { path: path.to_owned(), text };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => match serde_json::from_slice(&bytes) {
            Ok(serde_json::Value::Array(items)) => {
                items.into_iter().map(json).collect::<Result<_, _>>().map_err(form)
            }
            Ok(_) => Err(form("a document that is no list".to_owned())),
            Err(error) => Err(form(error.to_string())),
        },
        Some("arrow") => arrow::rows(&bytes).map_err(form),
        Some("tsv") => rows(&bytes, b'\t').map_err(form),
        _ => rows(&bytes, b',').map_err(form),
    }
}

fn json(value: serde_json::Value) -> Result<Value, String> {
    Ok(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(float)) => Value::Float(float),
            (None, None) => return Err(format!("the number {number} is too large")),
        },
        serde_json::Value::String(text) => Value::Str(text),
        serde_json::Value::Array(items) => {
            Value::List(items.into_iter().map(json).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(items) => Value::Map(
            items
                .into_iter()
                .map(|(name, item)| Ok((name, json(item)?)))
                .collect::<Result<_, String>>()?,
        ),
    })
}

/// One map for each row, by the names of the first line. A field that reads as a number is one.
fn rows(bytes: &[u8], delimiter: u8) -> Result<Vec<Value>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    quotes(bytes, delimiter)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes);
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    let twice = names.iter().collect::<BTreeSet<_>>().len() < names.len();
    if twice || names.iter().any(str::is_empty) {
        return Err("the first line has an empty name, or one twice".to_owned());
    }
    let row = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.map_err(|error| error.to_string())?;
        let fields = names.iter().zip(row.iter());
        Ok(Value::Map(fields.map(|(name, text)| (name.to_owned(), field(text))).collect()))
    };
    reader.records().map(row).collect()
}

/// Refuses quotes that the reader of rows would take for something: one that is not closed swallows all rows up to the next quote, or to the
/// end of the file.
fn quotes(bytes: &[u8], delimiter: u8) -> Result<(), String> {
    enum At {
        Begin,
        Bare,
        Quoted,
        Closed,
    }
    let (mut at, mut line, mut opened) = (At::Begin, 1, 1);
    for (place, &byte) in bytes.iter().enumerate() {
        let end = byte == delimiter || byte == b'\n' || byte == b'\r';
        at = match (at, byte) {
            (At::Begin, b'"') => {
                opened = line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) => At::Quoted,
            // Two of them are one within the text.
            (At::Closed, b'"') => At::Quoted,
            (At::Begin | At::Bare | At::Closed, _) if end => At::Begin,
            (At::Begin | At::Bare, _) => At::Bare,
            (At::Closed, _) => {
                return Err(format!(
                    "line {line}: text behind the quote that ends the field of line {opened}; a quote within quotes is written twice"
                ));
            }
        };
        line +=
            usize::from(byte == b'\n' || (byte == b'\r' && bytes.get(place + 1) != Some(&b'\n')));
    }
    match at {
        At::Quoted => Err(format!("line {opened}: a quote that is not closed")),
        At::Begin | At::Bare | At::Closed => Ok(()),
    }
}

/// A number only where nothing of the text is lost by it: `007` and `1e400` stay texts.
fn field(text: &str) -> Value {
    match text {
        "" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(int) = text.parse::<i64>()
        && int.to_string() == text
    {
        return Value::Int(int);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && !(digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit()));
    match text.parse::<f64>() {
        Ok(float) if plain && float.is_finite() && text.contains(['.', 'e', 'E']) => {
            Value::Float(float)
        }
        _ => Value::Str(text.to_owned()),
    }
}

fn at(root: &Path) -> &Path {
    if root.as_os_str().is_empty() { Path::new(".") } else { root }
}

/// The files below `folder`, which is below `root`, that a pattern matches, by name: see [`search`].
pub(crate) fn glob(
    root: &Path,
    folder: &Path,
    pattern: &str,
    writes: &[Inode],
) -> Result<Vec<PathBuf>, Why> {
    search(root, folder, pattern, writes, &mut |_| {})
}

/// The same. Nothing leads out of that folder. `seen` hears of each folder that was looked into.
pub(crate) fn search(
    root: &Path,
    folder: &Path,
    pattern: &str,
    writes: &[Inode],
    seen: &mut dyn FnMut(&Path),
) -> Result<Vec<PathBuf>, Why> {
    let failed = |source| Why::Io { path: root.to_owned(), source };
    let dir = Dir::open_ambient_dir(at(root), ambient_authority());
    let dir = match folder.as_os_str().is_empty() {
        true => dir,
        false => dir.and_then(|dir| dir.open_dir(folder)),
    };
    let below = Below { dir: dir.map_err(failed)?, own: folder, seen: RefCell::new(seen) };
    let mut found = polyloom_model::glob(&below, pattern, MAX_STEPS)?.ok_or(Why::TooMany)?;
    if !writes.is_empty() {
        let inode = |path: &PathBuf| below.dir.metadata(path).map(|it| (it.dev(), it.ino()));
        found.files.retain(|path| !inode(path).is_ok_and(|inode| writes.contains(&inode)));
    }
    Ok(found.files.into_iter().map(|path| folder.join(path)).collect())
}

/// A folder that is open, and how it is named.
struct Below<'p> {
    dir: Dir,
    own: &'p Path,
    seen: RefCell<&'p mut dyn FnMut(&Path)>,
}

impl Shelf for Below<'_> {
    type Error = Why;

    fn list(&self, folder: &Path, most: usize) -> Result<Vec<(String, Listed)>, Why> {
        let failed = |source| Why::Io { path: self.own.join(folder), source };
        (self.seen.borrow_mut())(&self.own.join(folder));
        let entries = match self.dir.read_dir(at(folder)) {
            Ok(entries) => entries,
            // A folder that the pattern names and that is not there matches nothing.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(failed(error)),
        };
        let mut listed = Vec::new();
        for entry in entries.take(most) {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let kind = match () {
                () if kind.is_file() => Listed::File,
                () if kind.is_dir() => Listed::Folder,
                () if kind.is_symlink() => Listed::Link,
                () => Listed::Other,
            };
            listed.extend(entry.file_name().into_string().ok().map(|name| (name, kind)));
        }
        Ok(listed)
    }

    fn target(&self, link: &Path) -> Target {
        match self.dir.metadata(link) {
            Ok(meta) if meta.is_file() => Target::File,
            Ok(_) => Target::Other,
            Err(_) => Target::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use polyloom_model::matching;

    use super::*;

    #[test]
    fn a_name_matches_where_the_search_would_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["", "a", "a/b", "a/b/c", ".h", "a/.h"];
        let names = ["x.csv", "y.txt", ".z.csv", "a.csv"];
        for inside in folders {
            std::fs::create_dir_all(folder.path().join(inside)).unwrap();
            for name in names {
                std::fs::write(folder.path().join(inside).join(name), "").unwrap();
            }
        }
        for pattern in [
            "*.csv",
            "x.csv",
            "a/*.csv",
            "./a//*",
            "*/*.csv",
            "**/*.csv",
            "**/b/*",
            "a/**/x.csv",
            "**/**/*",
            "a/**/**/y.*",
            ".h/*",
            "**/.h/.*",
            "**",
            "a/**",
            "*/**/c/*",
            "",
        ] {
            let found = glob(folder.path(), Path::new(""), pattern, &[]).unwrap();
            for inside in folders {
                let inside = Path::new(inside);
                for name in names {
                    let path = inside.join(name);
                    let file = matching(pattern, &path).file;
                    assert_eq!(file, found.contains(&path), "{pattern}: {}", path.display());
                }
                let holds = found.iter().any(|path| path.parent() == Some(inside));
                assert!(
                    !holds || matching(pattern, inside).folder,
                    "{pattern}: {}",
                    inside.display()
                );
            }
        }
        assert!(!matching("a/*.csv", Path::new("b")).folder);
        assert!(!matching("*.csv", Path::new("a")).folder);
        assert!(!matching("**/*.csv", Path::new("a/.b")).folder);
        assert!(matching("**/*.csv", Path::new("a/b")).folder);
    }

    #[test]
    fn fields_are_numbers_only_where_nothing_is_lost() {
        for (text, value) in [
            ("", Value::Null),
            ("true", Value::Bool(true)),
            ("12", Value::Int(12)),
            ("-3", Value::Int(-3)),
            ("0.5", Value::Float(0.5)),
            ("-1e3", Value::Float(-1000.0)),
        ] {
            assert_eq!(field(text), value, "{text}");
        }
        for text in
            ["007", "+1", "1e400", "nan", "inf", "0x10", "1_000", "01.5", "-", "1.2.3", " 1"]
        {
            assert_eq!(field(text), Value::Str(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn rows_are_maps_by_the_first_line() {
        let all = rows("name,n\n\"a, b\",1\nc,\n".as_bytes(), b',').unwrap();
        assert_eq!(all.len(), 2);
        let Value::Map(first) = &all[0] else { panic!() };
        assert_eq!((&first["name"], &first["n"]), (&Value::Str("a, b".into()), &Value::Int(1)));
        assert!(rows(b"a,b\n1\n", b',').unwrap_err().contains("line: 2"));
        assert!(rows(b"a,a\n1,2\n", b',').is_err());
        assert!(rows(b"a\n\xff\n", b',').is_err());
        assert_eq!(rows(b"a\tb\n", b'\t').unwrap(), []);
        let quoted = rows(b"a,b\n\"x \"\"y\"\"\nz\",it's \"it\"\n", b',').unwrap();
        let Value::Map(first) = &quoted[0] else { panic!() };
        assert_eq!(first["a"], Value::Str("x \"y\"\nz".into()));
        assert_eq!(first["b"], Value::Str("it's \"it\"".into()));
    }

    #[test]
    fn a_quote_that_would_swallow_rows_is_told_with_its_line() {
        let told = |text: &str| rows(text.as_bytes(), b',').unwrap_err();
        assert_eq!(told("a,b\n1,2\n\"3,4\n5,6\n"), "line 3: a quote that is not closed");
        assert_eq!(told("a,b\r1,2\r3,\"4"), "line 3: a quote that is not closed");
        let behind = told("a,b\n\"1,2\n3,4\n\"5,6\n");
        assert!(behind.starts_with("line 4: text behind the quote"), "{behind}");
        assert!(behind.contains("of line 2"), "{behind}");
    }

    #[test]
    fn patterns_find_files_by_name_and_never_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a.txt", "b.txt", "x/c.txt", "x/y/d.txt", ".h/e.txt", ".i.txt", "z.csv"] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("passwd.txt")).unwrap();
        std::os::unix::fs::symlink("z.csv", root.join("linked.txt")).unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let found = glob(root, Path::new(""), pattern, &[]).unwrap();
            found.into_iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(found("*.txt"), ["a.txt", "b.txt", "linked.txt"]);
        assert_eq!(found("**/*.txt"), ["a.txt", "b.txt", "linked.txt", "x/c.txt", "x/y/d.txt"]);
        assert_eq!(found("x/**/*.txt"), ["x/c.txt", "x/y/d.txt"]);
        assert_eq!(found("x/?.txt"), ["x/c.txt"]);
        assert_eq!(found(".*.txt"), [".i.txt"]);
        assert_eq!(found("*"), ["a.txt", "b.txt", "linked.txt", "z.csv"]);
        for nothing in ["out/*", "nothing/*.txt", "a.txt/*", "**/passwd*"] {
            assert!(found(nothing).is_empty(), "{nothing}");
        }
        assert!(glob(root, Path::new(""), "../*", &[]).map_or(true, |found| found.is_empty()));
        // A flow in a folder stays in it, also where a link leads to one beside it.
        std::os::unix::fs::symlink("../../a.txt", root.join("x/y/beside.txt")).unwrap();
        std::os::unix::fs::symlink("../c.txt", root.join("x/y/up.txt")).unwrap();
        std::os::unix::fs::symlink("d.txt", root.join("x/y/own.txt")).unwrap();
        let many = format!("{}*.txt", "**/".repeat(200));
        let found = glob(root, Path::new(""), &many, &[]).unwrap();
        assert_eq!(found, glob(root, Path::new(""), "**/*.txt", &[]).unwrap());
        let found = glob(root, Path::new("x/y"), "*.txt", &[]).unwrap();
        assert_eq!(found, [PathBuf::from("x/y/d.txt"), PathBuf::from("x/y/own.txt")]);
    }
}
