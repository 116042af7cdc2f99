//! Outputs from a dead cell's files: found by descriptor, checked against their declared types (SPEC.md, «Files of a cell»).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use polyloom_model::{Encoding, PortName, Type, format_size};
use polyloom_sandbox::{Collector, Entry, Kind, ListingCaps, Sandbox};

use crate::attempt::{Collected, Output, TreeFile};
use crate::formats;

/// Values are read into memory, so they are bounded; what is larger belongs into a tensor, a table or a file.
const LARGEST_VALUE: u64 = 64 << 20;
/// Entries looked at in one output directory.
const ENTRIES: usize = 10_000;
/// Levels of an output directory.
const DEPTH: usize = 16;

/// The declared outputs, or everything that is wrong with them.
pub fn outputs(
    cell: &Sandbox,
    declared: &BTreeMap<PortName, Type>,
) -> Result<BTreeMap<PortName, Output>, Vec<String>> {
    if declared.is_empty() {
        return Ok(BTreeMap::new());
    }
    let collector =
        cell.collect().map_err(|error| vec![format!("outputs can't be read: {error}")])?;
    let caps = ListingCaps { entries: ENTRIES, depth: 1 };
    let listing = collector.list("out", caps);
    let listing = listing.map_err(|refusal| vec![format!("`out` can't be read: {refusal}")])?;
    let mut outputs = BTreeMap::new();
    let mut problems = Vec::new();
    for (port, ty) in declared {
        match one(&collector, &listing.entries, port, ty) {
            Ok(output) => {
                outputs.insert(port.clone(), output);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok(outputs);
    }
    let refused = listing.refused.iter().take(5);
    problems.extend(
        refused.map(|refused| format!("`{}` was left out: {}", refused.path, refused.refusal)),
    );
    Err(problems)
}

/// Compares the start of an entry's name with a port's: `PORT` or `PORT.ext`.
fn belongs(entry: &Entry, port: &str) -> bool {
    let rest = entry.path.strip_prefix(port);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn one(
    collector: &Collector,
    entries: &[Entry],
    port: &PortName,
    ty: &Type,
) -> Result<Output, String> {
    let found: Vec<&Entry> = entries.iter().filter(|entry| belongs(entry, port.as_str())).collect();
    let entry = match found[..] {
        [] => return Err(missing(entries, port, ty)),
        [entry] => entry,
        _ => {
            let names: Vec<_> = found.iter().take(4).map(|e| format!("`{}`", e.path)).collect();
            return Err(format!("output `{port}` is there more than once: {}", names.join(", ")));
        }
    };
    let output = content(collector, entry, ty).map_err(|why| format!("output `{port}`: {why}"))?;
    let extension = &entry.path[port.as_str().len()..];
    let plain = extension.len() <= 17
        && extension.chars().skip(1).all(|c| c.is_ascii_alphanumeric())
        && extension.len() > 1;
    Ok(Output { extension: if plain { extension.to_owned() } else { String::new() }, ..output })
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

fn content(collector: &Collector, entry: &Entry, ty: &Type) -> Result<Output, String> {
    let path = format!("out/{}", entry.path);
    let output = |content, media: &str| Output {
        ty: ty.clone(),
        encoding: ty.encoding(),
        content,
        media: media.to_owned(),
        extension: String::new(),
    };
    if *ty == Type::Dir {
        if entry.kind != Kind::Directory {
            return Err(format!("expected a directory, found {}", what(entry.kind)));
        }
        return Ok(output(Collected::Tree(tree(collector, &path)?), ""));
    }
    let Kind::File { size, .. } = entry.kind else {
        return Err(format!("expected a file, found {}", what(entry.kind)));
    };
    let fd = collector.open_file(&path).map_err(|refusal| refusal.to_string())?;
    let file = File::from(fd);
    let read = |error: std::io::Error| format!("can't be read: {error}");
    match ty.encoding() {
        Encoding::Msgpack => {
            if size > LARGEST_VALUE {
                return Err(format!(
                    "{} is too much for a value (at most {}); declare it as tensor, table or file",
                    format_size(size),
                    format_size(LARGEST_VALUE)
                ));
            }
            let mut bytes = Vec::new();
            file.take(LARGEST_VALUE).read_to_end(&mut bytes).map_err(read)?;
            let encoded = entry.path.ends_with(".msgpack");
            let value = formats::read_value(bytes, encoded, ty)?;
            Ok(output(Collected::Bytes(value.to_msgpack()), "application/msgpack"))
        }
        Encoding::Npy | Encoding::Arrow | Encoding::Raw | Encoding::Dir => {
            // The tree is dead: the size can't change any more.
            let size = file.metadata().map_err(read)?.size();
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
                    None => return Err("expected a PNG, JPEG, GIF, WebP or SVG picture".to_owned()),
                },
                _ => formats::media_of(extension(&entry.path)),
            };
            Ok(output(Collected::File { fd: OwnedFd::from(file), size }, media))
        }
    }
}

fn extension(name: &str) -> &str {
    name.rfind('.').map_or("", |at| &name[at..])
}

/// The files below a directory; anything but files and directories is refused, not left out: what a consumer gets is what
/// the cell wrote.
fn tree(collector: &Collector, path: &str) -> Result<Vec<TreeFile>, String> {
    let caps = ListingCaps { entries: ENTRIES, depth: DEPTH };
    let listing = collector.list(path, caps).map_err(|refusal| refusal.to_string())?;
    if let Some(refused) = listing.refused.first() {
        return Err(format!("`{}` can't be taken: {}", refused.path, refused.refusal));
    }
    let mut files = Vec::new();
    for entry in listing.entries {
        match entry.kind {
            Kind::Directory => {}
            Kind::File { .. } => {
                let fd = collector.open_file(&format!("{path}/{}", entry.path));
                let file =
                    File::from(fd.map_err(|refusal| format!("`{}`: {refusal}", entry.path))?);
                let meta = file.metadata().map_err(|error| format!("`{}`: {error}", entry.path))?;
                files.push(TreeFile {
                    size: meta.size(),
                    executable: meta.mode() & 0o100 != 0,
                    path: entry.path,
                    fd: OwnedFd::from(file),
                });
            }
            Kind::Symlink | Kind::Other => {
                return Err(format!("`{}` is {}", entry.path, what(entry.kind)));
            }
        }
    }
    Ok(files)
}

/// Results beyond the declared outputs that a worker named: files that are there, each under a name of its own. What can't
/// be taken is told and left.
pub fn extra(
    cell: &Sandbox,
    claims: &[(String, String)],
    declared: &BTreeMap<PortName, Type>,
) -> (BTreeMap<String, Output>, Vec<String>) {
    let mut taken = BTreeMap::new();
    let mut problems = Vec::new();
    let Ok(collector) = cell.collect() else { return (taken, problems) };
    for (name, path) in claims {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits =
            (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.');
        let port = name.parse::<PortName>().is_ok_and(|port| declared.contains_key(&port));
        let output = if !fits || port {
            Err("its name is that of an output, or has characters beyond A-Z a-z 0-9 . _ -"
                .to_owned())
        } else {
            file_of(&collector, path)
        };
        match output {
            Ok(output) => {
                taken.insert(name.clone(), output);
            }
            Err(why) => {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                problems.push(format!("artifact `{shown}` was left out: {why}"));
            }
        }
    }
    (taken, problems)
}

fn file_of(collector: &Collector, path: &str) -> Result<Output, String> {
    let fd = collector.open_file(&format!("out/{path}")).map_err(|refusal| refusal.to_string())?;
    let file = File::from(fd);
    let read = |error: std::io::Error| format!("can't be read: {error}");
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
        content: Collected::File { fd: OwnedFd::from(file), size },
        media: media.to_owned(),
        extension: String::new(),
    })
}

/// What a compiler left as its program: a file or a directory.
pub fn program(cell: &Sandbox) -> Result<Collected, Vec<String>> {
    let taken = || -> Result<Collected, String> {
        let collector = cell.collect().map_err(|error| error.to_string())?;
        let caps = ListingCaps { entries: ENTRIES, depth: 1 };
        let listing = collector.list("out", caps).map_err(|refusal| refusal.to_string())?;
        let entry = listing.entries.iter().find(|entry| entry.path == "program");
        match entry.map(|entry| entry.kind) {
            None => Err("the compiler ended well but left no program".to_owned()),
            Some(Kind::Directory) => Ok(Collected::Tree(tree(&collector, "out/program")?)),
            Some(Kind::File { size, .. }) => {
                let fd =
                    collector.open_file("out/program").map_err(|refusal| refusal.to_string())?;
                Ok(Collected::File { fd, size })
            }
            Some(kind) => Err(format!("the compiler's program is {}", what(kind))),
        }
    };
    taken().map_err(|problem| vec![problem])
}
