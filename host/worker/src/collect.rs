//! Outputs from a dead cell's files: found by descriptor, searched for secrets, checked against their declared types (SPEC.md,
//! «Files of a cell»).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use polyloom_model::{CellId, Encoding, PortName, Ports, Type, format_size};
use polyloom_sandbox::{Collector, Entry, HOT_FROM, Kind, ListingCaps, Refusal, Sandbox};

use crate::attempt::{Collected, Output, TreeFile};
use crate::mask::{Found, Mask};
use crate::{formats, messages, names, portable};

/// Values are read into memory, so they are bounded; what is larger belongs into a tensor, a table or a file.
const LARGEST_VALUE: u64 = 64 << 20;
/// Entries looked at in the folder of outputs.
const ENTRIES: usize = 10_000;
/// Levels of an output directory.
const DEPTH: usize = 16;

/// Whether the processes that wrote the files can change them still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// They are dead.
    Gone,
    /// They are not, as in a session: what is looked at is a copy, of at most so many bytes a file.
    GoOn {
        /// Bytes.
        most: u64,
    },
}

impl Writers {
    fn open(self, collector: &Collector, path: &str) -> Result<OwnedFd, Refusal> {
        match self {
            Self::Gone => collector.open_file(path),
            Self::GoOn { most } => collector.copy_file(path, most),
        }
    }
}

/// Every declared output.
#[derive(Default)]
pub struct Gathered {
    /// By port.
    pub outputs: BTreeMap<PortName, Output>,
    /// What is odd about them, in words.
    pub odd: Vec<String>,
}

/// Why something was not taken.
#[derive(Debug)]
pub enum Problem {
    /// The cell left something else than it declared.
    Cell(String),
    /// The host could not look: the cell is not at fault.
    Host(String),
    /// What would be kept holds a secret: what, as `output `x``.
    Secret(String, Found),
    /// There are more files than may be kept.
    Many,
}

impl Problem {
    fn of(self, what: impl Display) -> Self {
        match self {
            Self::Cell(why) => Self::Cell(format!("{what}: {why}")),
            Self::Host(why) => Self::Host(format!("{what}: {why}")),
            Self::Secret(_, found) => Self::Secret(what.to_string(), found),
            Self::Many => Self::Many,
        }
    }

    /// Whether a secret was found.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(..))
    }

    /// Whether there is simply too much.
    pub fn is_many(&self) -> bool {
        matches!(self, Self::Many)
    }

    /// Why nothing of `cell` is kept, where a secret was found.
    pub fn secret(&self, cell: &CellId) -> Option<String> {
        match self {
            Self::Secret(what, found) => Some(messages::secret_kept(what, cell, found)),
            Self::Cell(_) | Self::Host(_) | Self::Many => None,
        }
    }

    fn reading(error: std::io::Error) -> Self {
        Self::Host(format!("can't be read: {error}"))
    }
}

impl From<String> for Problem {
    fn from(why: String) -> Self {
        Self::Cell(why)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OutOfDescriptors => Self::Host(refusal.to_string()),
            _ => Self::Cell(refusal.to_string()),
        }
    }
}

/// Looks for secrets where a cell has any. Before anything else is: what is said of a content must not tell one either.
fn secret_free(mask: Option<&Mask>, bytes: &[u8]) -> Result<(), Problem> {
    match mask.and_then(|mask| mask.find(bytes)) {
        Some(found) => Err(Problem::Secret(String::new(), found)),
        None => Ok(()),
    }
}

/// The same for a file, which is read whole and set back to its start.
fn secret_free_file(mask: Option<&Mask>, mut file: &File) -> Result<(), Problem> {
    let Some(mask) = mask else { return Ok(()) };
    if let Some(found) = mask.find_in(file).map_err(Problem::reading)? {
        return Err(Problem::Secret(String::new(), found));
    }
    file.rewind().map_err(Problem::reading)
}

/// How many files these are, and how many bytes.
pub fn amount<'o>(outputs: impl Iterator<Item = &'o Output>) -> (u64, u64) {
    outputs.fold((0, 0), |(files, bytes), output| match &output.content {
        Collected::Bytes(content) => (files + 1, bytes + content.len() as u64),
        Collected::File { size, .. } => (files + 1, bytes + size),
        Collected::Tree { files: all, empty } => {
            let count = (all.len() + empty.len()) as u64;
            (files + count, all.iter().fold(bytes, |bytes, file| bytes + file.size))
        }
    })
}

/// The declared outputs, or everything that is wrong with them: those that its worker `told`, and files for all others. Directories hold at most `most` entries.
pub fn outputs(
    cell: &Sandbox,
    declared: &Ports<Type>,
    mut told: BTreeMap<String, Vec<u8>>,
    most: u32,
    mask: Option<&Mask>,
    writers: Writers,
) -> Result<Gathered, Vec<Problem>> {
    let mut outputs = BTreeMap::new();
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for (port, ty) in declared {
        let Some(bytes) = told.remove(port.as_str()).filter(|_| is_value(ty)) else {
            files.push((port, ty));
            continue;
        };
        match value(bytes, true, ty, mask) {
            Ok(value) => {
                let extension = ".msgpack".to_owned();
                outputs.insert(port.clone(), Output { extension, ..value });
            }
            Err(why) => problems.push(why.of(format_args!("output `{port}`"))),
        }
    }
    if files.is_empty() && problems.is_empty() {
        return Ok(Gathered { outputs, odd: Vec::new() });
    }
    let collector = cell.collect().map_err(|error| vec![Problem::reading(error).of("outputs")])?;
    let collector = Arc::new(collector);
    let caps = ListingCaps { entries: ENTRIES, depth: 1 };
    let listing = collector.list("out", caps);
    let listing =
        listing.map_err(|refusal| vec![Problem::from(refusal).of("`out` can't be read")])?;
    for (port, ty) in files {
        match one(&collector, &listing.entries, port, ty, most, mask, writers) {
            Ok(output) => {
                outputs.insert(port.clone(), output);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        let odd = outputs.iter().filter_map(|(port, output)| match &output.content {
            Collected::Tree { files, empty } => {
                let empty = empty.iter().map(String::as_str);
                let names = files.iter().map(|file| file.path.as_str()).chain(empty);
                let what = portable::problem(names)?;
                Some(format!("output `{port}` has names that are not portable: {what}"))
            }
            Collected::Bytes(_) | Collected::File { .. } => None,
        });
        let odd = odd.collect();
        return Ok(Gathered { outputs, odd });
    }
    let refused = listing.refused.into_iter().take(5);
    problems.extend(refused.map(|refused| {
        Problem::from(refused.refusal).of(format_args!("`{}` was left out", refused.path))
    }));
    Err(problems)
}

/// Whether what is declared may be told in place of a file.
pub fn is_value(ty: &Type) -> bool {
    ty.encoding() == Encoding::Msgpack && *ty != Type::Bytes
}

/// A value of its declared type, from what it is read of: MessagePack, or its text.
fn value(bytes: Vec<u8>, encoded: bool, ty: &Type, mask: Option<&Mask>) -> Result<Output, Problem> {
    secret_free(mask, &bytes)?;
    let value = formats::read_value(bytes, encoded, ty)?;
    let bytes = value.to_msgpack();
    if mask.is_some() {
        // The value may say what its text had in another form, and its numbers what its bytes don't show.
        secret_free(mask, &bytes)?;
        secret_free(mask, value.to_json().as_bytes())?;
    }
    Ok(output(ty, Collected::Bytes(bytes), "application/msgpack"))
}

fn output(ty: &Type, content: Collected, media: &str) -> Output {
    let (encoding, extension) = (ty.encoding(), String::new());
    Output { ty: ty.clone(), encoding, content, media: media.to_owned(), extension }
}

fn one(
    collector: &Arc<Collector>,
    entries: &[Entry],
    port: &PortName,
    ty: &Type,
    most: u32,
    mask: Option<&Mask>,
    writers: Writers,
) -> Result<Output, Problem> {
    let found: Vec<&Entry> =
        entries.iter().filter(|entry| names::belongs(&entry.path, port)).collect();
    let entry = match found[..] {
        [] => return Err(missing(entries, port, ty).into()),
        [entry] => entry,
        _ => {
            let names: Vec<_> = found.iter().take(4).map(|e| format!("`{}`", e.path)).collect();
            let names = names.join(", ");
            return Err(format!("output `{port}` is there more than once: {names}").into());
        }
    };
    let output = secret_free(mask, entry.path.as_bytes())
        .and_then(|()| content(collector, entry, ty, most, mask, writers));
    let output = output.map_err(|why| why.of(format_args!("output `{port}`")))?;
    Ok(Output { extension: names::extension(&entry.path, port).to_owned(), ..output })
}

fn missing(entries: &[Entry], port: &PortName, ty: &Type) -> String {
    let mut text = format!("output `{port}` ({ty}) was not written");
    let names: Vec<_> = entries.iter().take(5).map(|entry| format!("`{}`", entry.path)).collect();
    if !names.is_empty() {
        text.push_str("; `$OUT` holds ");
        text.push_str(&names.join(", "));
    }
    text
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "a file",
        Kind::Directory => "a directory",
        Kind::Symlink => "a symbolic link",
        Kind::Other => "neither a file nor a directory",
    }
}

fn content(
    collector: &Arc<Collector>,
    entry: &Entry,
    ty: &Type,
    most: u32,
    mask: Option<&Mask>,
    writers: Writers,
) -> Result<Output, Problem> {
    let path = format!("out/{}", entry.path);
    if *ty == Type::Dir {
        if entry.kind != Kind::Directory {
            return Err(format!("expected a directory, found {}", what(entry.kind)).into());
        }
        return Ok(output(ty, tree(collector, &path, most, mask, writers)?, ""));
    }
    let Kind::File { .. } = entry.kind else {
        return Err(format!("expected a file, found {}", what(entry.kind)).into());
    };
    let file = File::from(writers.open(collector, &path)?);
    let read = Problem::reading;
    // Of what is open, whatever is at its place by now; nobody writes to it any more.
    let size = file.metadata().map_err(read)?.size();
    secret_free_file(mask, &file)?;
    match ty.encoding() {
        Encoding::Msgpack => {
            if size > LARGEST_VALUE {
                return Err(format!(
                    "{} is too much for a value (at most {}); declare it as tensor, table or file",
                    format_size(size),
                    format_size(LARGEST_VALUE)
                )
                .into());
            }
            let mut bytes = Vec::new();
            file.take(LARGEST_VALUE).read_to_end(&mut bytes).map_err(read)?;
            let encoded = entry.path.ends_with(".msgpack");
            value(bytes, encoded, ty, mask)
        }
        Encoding::Npy | Encoding::Arrow | Encoding::Raw | Encoding::Dir => {
            let mut head = vec![0; usize::try_from(size.min(70_000)).unwrap_or(70_000)];
            file.read_exact_at(&mut head, 0).map_err(read)?;
            let media = match ty {
                Type::Tensor(dtype, shape) => {
                    formats::check_npy(&head, size, *dtype, shape.as_deref())?;
                    formats::media_of(".npy")
                }
                Type::Table => {
                    let mut tail = vec![0; usize::try_from(size.min(6)).unwrap_or(6)];
                    file.read_exact_at(&mut tail, size - size.min(6)).map_err(read)?;
                    formats::check_arrow(&head, &tail)?;
                    formats::media_of(".arrow")
                }
                Type::Image => match formats::sniff_image(&head) {
                    Some((media, _)) => media,
                    None => {
                        let text = "expected a PNG, JPEG, GIF, WebP or SVG picture";
                        return Err(text.to_owned().into());
                    }
                },
                _ => formats::media_of(extension(&entry.path)),
            };
            let fd = OwnedFd::from(file);
            let hot = if size >= HOT_FROM { collector.keep(&fd) } else { None };
            Ok(output(ty, Collected::File { fd, size, hot }, media))
        }
    }
}

fn extension(name: &str) -> &str {
    name.rfind('.').map_or("", |at| &name[at..])
}

/// What is below a directory; anything but files and directories is refused, not left out: what a consumer gets is what
/// the cell wrote.
fn tree(
    collector: &Arc<Collector>,
    path: &str,
    most: u32,
    mask: Option<&Mask>,
    writers: Writers,
) -> Result<Collected, Problem> {
    let caps = ListingCaps { entries: usize::try_from(most).unwrap_or(ENTRIES), depth: DEPTH };
    let listing = collector.list(path, caps)?;
    if listing.refused.iter().any(|refused| matches!(refused.refusal, Refusal::TooMany)) {
        return Err(Problem::Many);
    }
    if let Some(refused) = listing.refused.into_iter().next() {
        let what = format!("`{}` can't be taken", refused.path);
        return Err(Problem::from(refused.refusal).of(what));
    }
    let full: BTreeSet<String> = listing
        .entries
        .iter()
        .filter_map(|entry| Some(entry.path.rsplit_once('/')?.0.to_owned()))
        .collect();
    let (mut files, mut empty) = (Vec::new(), Vec::new());
    for entry in listing.entries {
        match entry.kind {
            Kind::Directory if full.contains(&entry.path) => {}
            Kind::Directory => {
                secret_free(mask, entry.path.as_bytes())?;
                empty.push(entry.path);
            }
            Kind::File { .. } => {
                let at = format!("{path}/{}", entry.path);
                let named = |problem: Problem| problem.of(format_args!("`{}`", entry.path));
                let fd = writers.open(collector, &at).map_err(|refusal| named(refusal.into()))?;
                secret_free(mask, entry.path.as_bytes())?;
                let file = File::from(fd);
                secret_free_file(mask, &file)?;
                let meta = file.metadata().map_err(|error| named(Problem::reading(error)))?;
                let (size, executable) = (meta.size(), meta.mode() & 0o100 != 0);
                files.push(match writers {
                    Writers::Gone => TreeFile::new(collector, at, entry.path, size, executable),
                    Writers::GoOn { .. } => {
                        TreeFile::copied(file.into(), entry.path, size, executable)
                    }
                });
            }
            Kind::Symlink | Kind::Other => {
                return Err(format!("`{}` is {}", entry.path, what(entry.kind)).into());
            }
        }
    }
    Ok(Collected::Tree { files, empty })
}

/// Results beyond the declared outputs that a worker named: files that are there, each under a name of its own. What can't
/// be taken is told and left.
pub fn extra(
    cell: &Sandbox,
    claims: &[(String, String)],
    declared: &Ports<Type>,
    mask: Option<&Mask>,
    writers: Writers,
) -> Result<(BTreeMap<String, Output>, Vec<String>), Problem> {
    let mut taken = BTreeMap::new();
    let mut problems = Vec::new();
    if claims.is_empty() {
        return Ok((taken, problems));
    }
    let Ok(collector) = cell.collect() else { return Ok((taken, problems)) };
    for (name, path) in claims {
        let port = name.parse::<PortName>().is_ok_and(|port| declared.contains_key(&port));
        let output = if !names::fits_extra(name) || port {
            let text = "its name is that of an output, or has characters beyond A-Z a-z 0-9 . _ -";
            Err(Problem::Cell(text.to_owned()))
        } else {
            file_of(&collector, path, mask, writers)
        };
        match output {
            Ok(output) => {
                taken.insert(name.clone(), output);
            }
            Err(secret @ Problem::Secret(..)) => {
                return Err(secret.of(format_args!("artifact `{name}`")));
            }
            Err(Problem::Many) => return Err(Problem::Many),
            Err(Problem::Cell(why) | Problem::Host(why)) => {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                problems.push(format!("artifact `{shown}` was left out: {why}"));
            }
        }
    }
    Ok((taken, problems))
}

fn file_of(
    collector: &Collector,
    path: &str,
    mask: Option<&Mask>,
    writers: Writers,
) -> Result<Output, Problem> {
    let file = File::from(writers.open(collector, &format!("out/{path}"))?);
    let read = Problem::reading;
    secret_free_file(mask, &file)?;
    let size = file.metadata().map_err(read)?.size();
    let mut head = vec![0; usize::try_from(size.min(1024)).unwrap_or(1024)];
    file.read_exact_at(&mut head, 0).map_err(read)?;
    let (ty, media) = match formats::sniff_image(&head) {
        Some((media, _)) => (Type::Image, media),
        None => (Type::File, formats::media_of(extension(path))),
    };
    Ok(Output {
        encoding: ty.encoding(),
        ty,
        content: Collected::File { fd: OwnedFd::from(file), size, hot: None },
        media: media.to_owned(),
        extension: String::new(),
    })
}

/// What a compiler left of a head: all files in its directory for outputs.
pub fn head(cell: &Sandbox) -> Result<Collected, Vec<Problem>> {
    let taken = || -> Result<Collected, Problem> {
        let collector = Arc::new(cell.collect().map_err(Problem::reading)?);
        tree(&collector, "out", 100, None, Writers::Gone)
    };
    taken().map_err(|problem| vec![problem])
}

/// What a compiler left as its program: a file or a directory.
pub fn program(cell: &Sandbox) -> Result<Collected, Vec<Problem>> {
    let taken = || -> Result<Collected, Problem> {
        let collector = Arc::new(cell.collect().map_err(Problem::reading)?);
        let caps = ListingCaps { entries: ENTRIES, depth: 1 };
        let listing = collector.list("out", caps)?;
        let entry = listing.entries.iter().find(|entry| entry.path == "program");
        match entry.map(|entry| entry.kind) {
            None => Err("its program ended well and left none".to_owned().into()),
            Some(Kind::Directory) => tree(&collector, "out/program", 10_000, None, Writers::Gone),
            Some(Kind::File { size, .. }) => {
                Ok(Collected::File { fd: collector.open_file("out/program")?, size, hot: None })
            }
            Some(kind) => Err(format!("what it left is {}", what(kind)).into()),
        }
    };
    taken().map_err(|problem| vec![problem])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_told_is_of_its_type_and_holds_no_secret() {
        let mask = Mask::new([("PIN", &b"hunter2-hunter2"[..])]);
        let told = |bytes: &[u8], ty: &Type| value(bytes.to_vec(), true, ty, Some(&mask));
        assert!(told(&[7], &Type::Int).is_ok());
        for bytes in [&[0xc1][..], &[], &[7, 7], b"\xa3abc"] {
            assert!(matches!(told(bytes, &Type::Int), Err(Problem::Cell(_))), "{bytes:?}");
        }
        let secret = [&[0xaf][..], b"hunter2-hunter2"].concat();
        assert!(told(&secret, &Type::Str).is_err_and(|it| it.is_secret()));
        assert!(told(&secret, &Type::Int).is_err_and(|it| it.is_secret()), "nor an error tells it");
        assert!(is_value(&Type::Int) && !is_value(&Type::Bytes) && !is_value(&Type::Table));
    }
}
