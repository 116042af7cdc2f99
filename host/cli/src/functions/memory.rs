//! What a reader said before, part by part, and what each rests on. A part stands as long as its files are what they were, and no file has come or
//! gone that they could speak of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use polyloom_load::{CatalogPart, Question};
use polyloom_model::{Digest, Manifest};
use serde::{Deserialize, Serialize};

use super::reach::Reach;

/// Where more files have come and gone, all is read again.
const MOST_NAMES: usize = 100;

/// It is remembered as a line before the documents.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    files: BTreeMap<PathBuf, Option<Digest>>,
    names: BTreeMap<PathBuf, Vec<String>>,
    parts: Vec<Kept>,
    #[serde(skip)]
    documents: Vec<String>,
}

/// A part: the place that it is of, and its files by their numbers.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    location: Option<String>,
    files: Vec<usize>,
}

/// What of it would be said again.
#[derive(Debug)]
pub enum Standing<'m> {
    /// All documents.
    All(&'m [String]),
    /// Those of these locations.
    Some(Vec<(&'m str, &'m str)>),
}

impl Memory {
    /// What was said now, a document for each part.
    pub fn new(reach: &Reach, parts: &[CatalogPart], documents: Vec<String>) -> Self {
        let numbers: BTreeMap<&PathBuf, usize> =
            reach.files.keys().enumerate().map(|(at, path)| (path, at)).collect();
        let kept = |part: &CatalogPart| Kept {
            location: part.location.clone(),
            files: part.files.iter().filter_map(|path| numbers.get(path).copied()).collect(),
        };
        Self {
            files: reach.files.clone(),
            names: reach.names.clone(),
            parts: parts.iter().map(kept).collect(),
            documents,
        }
    }

    /// What is in the store.
    pub fn read(text: &str) -> Option<Self> {
        let (first, documents) = text.split_once('\n')?;
        let memory: Self = serde_json::from_str(first).ok()?;
        let documents: Vec<String> = documents.lines().map(str::to_owned).collect();
        (documents.len() == memory.parts.len()).then_some(Self { documents, ..memory })
    }

    /// What is to be in the store.
    pub fn text(&self) -> String {
        let first = serde_json::to_string(self).unwrap_or_default();
        first + "\n" + &self.documents.join("\n")
    }

    /// What stands of it. What is looked at for that is in `seen` then.
    pub fn standing(
        &self,
        question: &Question<'_>,
        manifest: &Manifest,
        seen: &mut Reach,
    ) -> Standing<'_> {
        let root = question.root;
        let changed: Vec<bool> =
            self.files.iter().map(|(path, digest)| seen.look(root, path) != *digest).collect();
        let mut names = BTreeSet::new();
        for (folder, before) in &self.names {
            let now: BTreeSet<&String> = seen.list(root, manifest, folder).iter().collect();
            let before = before.iter().collect();
            names.extend(now.symmetric_difference(&before).map(|name| stem(name).to_owned()));
        }
        if names.is_empty() && !changed.contains(&true) {
            return Standing::All(&self.documents);
        }
        if names.len() > MOST_NAMES {
            return Standing::Some(Vec::new());
        }
        let files: Vec<&PathBuf> = self.files.keys().collect();
        let speaks = |at: usize, name: &str| {
            let bytes = files.get(at).and_then(|path| seen.contents.get(*path));
            let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.is_none_or(|text| has_word(text, name))
        };
        let kept = self.parts.iter().zip(&self.documents).filter_map(|(part, document)| {
            let location = part.location.as_deref()?;
            let same = part.files.iter().all(|at| changed.get(*at) == Some(&false));
            // A file of such a name has a part in everything that is in its folder: `__init__`.
            let apart = |name: &String| {
                !name.starts_with("__")
                    && !has_word(location, name)
                    && !part.files.iter().any(|at| speaks(*at, name))
            };
            let stands = same && (names.is_empty() || !part.files.is_empty());
            (stands && names.iter().all(apart)).then_some((location, document.as_str()))
        });
        Standing::Some(kept.collect())
    }
}

/// The name by which code speaks of a file or a folder.
fn stem(name: &str) -> &str {
    name.split(['.', ' ']).next().unwrap_or_default()
}

/// Whether a name is in a text, and no part of another one.
fn has_word(text: &str, name: &str) -> bool {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    name.is_empty()
        || text.match_indices(name).any(|(at, _)| {
            !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_words() {
        for (text, name) in [("import e", "e"), ("from a.e import", "e"), ("e", "e"), ("x", "")] {
            assert!(has_word(text, name), "{text}");
        }
        for (text, name) in [("def f", "e"), ("e_1 _e e2 ée", "e"), ("", "e")] {
            assert!(!has_word(text, name), "{text}");
        }
        assert_eq!(["a.py File", "lib Folder", "b.d.ts File"].map(stem), ["a", "lib", "b"]);
    }
}
