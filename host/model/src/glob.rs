//! Files by a pattern: `*` and `?` in names, `**` for any number of folders. Asks whoever has the disk, which is to let nothing lead out
//! of its folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders are walked no deeper than this.
const DEEPEST: usize = 32;

/// An entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link, wherever it leads.
    Link,
    /// Anything else.
    Other,
}

/// Where a link leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a file within the folder.
    File,
    /// To something else there: links to folders are not followed.
    Other,
    /// Out of the folder, or to nothing.
    Lost,
}

/// A folder on a disk.
pub trait Shelf {
    /// Why it can't be read.
    type Error;
    /// The entries of a folder below it, at most so many; none where there is no such folder. Names that are no text are left out.
    fn list(&self, folder: &Path, most: usize) -> Result<Vec<(String, Listed)>, Self::Error>;
    /// Where a link leads.
    fn target(&self, link: &Path) -> Target;
}

/// What a pattern matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// The files, by name.
    pub files: BTreeSet<PathBuf>,
    /// Links that fit and lead out of the folder or to nothing.
    pub lost: BTreeSet<PathBuf>,
}

/// The files that a pattern matches; nothing if that takes a look at more than `most` entries. A name that begins with a dot is matched only
/// by a pattern that does.
pub fn glob<S: Shelf>(shelf: &S, pattern: &str, most: usize) -> Result<Option<Matches>, S::Error> {
    let mut parts: Vec<&str> = parts(pattern).collect();
    // Two of them match what one does, and are looked for as often as there are ways to share a path among them.
    parts.dedup_by(|one, two| *one == "**" && *two == "**");
    let mut matches = Matches::default();
    let mut left = most;
    // Each folder with the parts that are left to be matched in it.
    let mut open: Vec<(PathBuf, &[&str], usize)> = vec![(PathBuf::new(), &parts, 0)];
    while let Some((folder, parts, depth)) = open.pop() {
        let Some((part, rest)) = parts.split_first() else { continue };
        if depth > DEEPEST {
            continue;
        }
        if *part == "**" {
            open.push((folder.clone(), rest, depth));
        }
        for (name, kind) in shelf.list(&folder, left + 1)? {
            if left == 0 {
                return Ok(None);
            }
            left -= 1;
            let path = folder.join(&name);
            if *part == "**" {
                if kind == Listed::Folder && !name.starts_with('.') {
                    open.push((path, parts, depth + 1));
                }
                continue;
            }
            if !fits_name(part, &name) {
                continue;
            }
            match kind {
                Listed::File if rest.is_empty() => {
                    matches.files.insert(path);
                }
                Listed::Folder if !rest.is_empty() => open.push((path, rest, depth + 1)),
                Listed::Link => match shelf.target(&path) {
                    Target::File if rest.is_empty() => {
                        matches.files.insert(path);
                    }
                    Target::Lost => {
                        matches.lost.insert(path);
                    }
                    Target::File | Target::Other => {}
                },
                Listed::File | Listed::Folder | Listed::Other => {}
            }
        }
    }
    Ok(Some(matches))
}

/// What a pattern makes of a path below the folder that it starts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// A file of that name is one of its files.
    pub file: bool,
    /// In a folder of that name there may be some.
    pub folder: bool,
}

/// What [`glob`] would make of a path, by its name alone.
#[must_use]
pub fn matching(pattern: &str, path: &Path) -> Match {
    let parts: Vec<&str> = parts(pattern).collect();
    // Where in the pattern the next name may be; `**` may stand for no folder at all.
    let open = |at: usize, places: &mut BTreeSet<usize>| {
        let deep = parts[at.min(parts.len())..].iter().take_while(|part| **part == "**").count();
        places.extend(at..=at + deep);
    };
    let mut places = BTreeSet::new();
    open(0, &mut places);
    let mut file = false;
    for name in path {
        let Some(name) = name.to_str() else { return Match { file: false, folder: false } };
        file = false;
        for at in std::mem::take(&mut places) {
            match parts.get(at) {
                Some(&"**") if !name.starts_with('.') => open(at, &mut places),
                Some(part) if *part != "**" && fits_name(part, name) => {
                    file |= at + 1 == parts.len();
                    open(at + 1, &mut places);
                }
                Some(_) | None => {}
            }
        }
    }
    Match { file, folder: places.iter().any(|at| *at < parts.len()) }
}

fn parts(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|part| !matches!(*part, "" | "."))
}

fn fits_name(pattern: &str, name: &str) -> bool {
    (!name.starts_with('.') || pattern.starts_with('.')) && fits_pattern(pattern, name)
}

/// Whether a name fits a pattern of `*` and `?`.
#[must_use]
pub fn fits_pattern(pattern: &str, name: &str) -> bool {
    fits(pattern.as_bytes(), name.as_bytes())
}

/// Glob: `*` any run, `?` one byte (ids and most tags are ASCII). Linear in text × stars, without recursion.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}
