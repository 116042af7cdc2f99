//! The files of a project that a header reaches: what is included with quotes, and of each header the `.c` beside it. Knows no C but that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::lex::{Lexed, lex};

/// A larger file is not read.
const LARGEST: u64 = 4 << 20;
/// More files are not followed.
const MOST: usize = 512;

/// A file.
#[derive(Debug)]
pub(crate) struct Source {
    pub bytes: Vec<u8>,
    pub lexed: Lexed,
}

/// What a header reaches, in the order in which it is found: the header first.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    pub sources: BTreeMap<PathBuf, Source>,
    /// The order.
    pub order: Vec<PathBuf>,
    /// Those that are to be compiled and that no other one includes.
    pub bodies: Vec<PathBuf>,
    /// The names of all, and the digest of their names and bytes: the same for each function.
    pub names: Vec<String>,
    pub digest: String,
}

/// A path below the root, without `.` and `..`; nothing where it leads out.
pub(crate) fn below(path: &Path) -> Option<PathBuf> {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => whole.push(name),
            Component::CurDir => {}
            Component::ParentDir if whole.pop() => {}
            _ => return None,
        }
    }
    (!whole.as_os_str().is_empty()).then_some(whole)
}

/// A file's bytes.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if file.take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
        return Err(std::io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

impl Reach {
    /// Follows a file. An error is one of the file itself: what it includes and is not there may be in the system's folders.
    pub fn of(root: &Path, path: &Path) -> std::io::Result<Self> {
        let mut reach = Self::default();
        let bytes = read(&root.join(path))?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(std::io::Error::other("it is not UTF-8"));
        }
        let mut open = vec![(path.to_owned(), bytes)];
        let mut included = Vec::new();
        while let Some((path, bytes)) = open.pop() {
            if reach.sources.contains_key(&path) || reach.order.len() == MOST {
                continue;
            }
            let lexed = lex(&String::from_utf8_lossy(&bytes));
            let folder = path.parent().unwrap_or(Path::new(""));
            let mut next = Vec::new();
            for name in &lexed.includes {
                let Some(path) = below(&folder.join(name)) else { continue };
                included.push(path.clone());
                next.push(path);
            }
            if path.extension().is_some_and(|it| it == "h") {
                let body = path.with_extension("c");
                reach.bodies.push(body.clone());
                next.push(body);
            }
            for path in next.into_iter().rev() {
                if let Ok(bytes) = read(&root.join(&path)) {
                    open.push((path, bytes));
                }
            }
            reach.order.push(path.clone());
            reach.sources.insert(path, Source { bytes, lexed });
        }
        let sources = &reach.sources;
        reach.bodies.retain(|it| sources.contains_key(it) && !included.contains(it) && it != path);
        reach.names = sources.keys().map(|it| it.display().to_string()).collect();
        let mut hash = blake3::Hasher::new();
        for (path, source) in sources {
            for bytes in [path.as_os_str().as_encoded_bytes(), &source.bytes] {
                hash.update(&(bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
        }
        reach.digest = hash.finalize().to_hex().to_string();
        Ok(reach)
    }

    /// What a program that calls a function of the header includes: it, and the bodies. One without a guard can stand there once only: where a body
    /// includes it, that does.
    pub fn included(&self) -> Vec<&PathBuf> {
        let twice = |header: &&PathBuf| {
            let guarded = self.sources.get(*header).is_none_or(|it| is_guarded(&it.bytes));
            !guarded && self.bodies.iter().any(|body| self.leads(body, header))
        };
        let own = self.order.first().filter(|header| !twice(header));
        own.into_iter().chain(&self.bodies).collect()
    }

    /// Whether a file includes another one, by however many others.
    fn leads(&self, from: &Path, to: &Path) -> bool {
        let (mut open, mut seen) = (vec![from.to_owned()], BTreeSet::new());
        while let Some(path) = open.pop() {
            let Some(source) = self.sources.get(&path) else { continue };
            let folder = path.parent().unwrap_or(Path::new(""));
            let next = source.lexed.includes.iter().filter_map(|name| below(&folder.join(name)));
            for path in next {
                if path == to {
                    return true;
                }
                if seen.insert(path.clone()) {
                    open.push(path);
                }
            }
        }
        false
    }
}

/// Whether a header says that it counts once: its first line for the preprocessor is a test, or it has `#pragma once`.
fn is_guarded(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
    let first = lines.clone().next().is_some_and(|line| line.trim_start().starts_with("if"));
    first || lines.any(|line| line.split_whitespace().eq(["pragma", "once"]))
}
