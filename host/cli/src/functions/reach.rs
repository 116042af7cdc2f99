//! The files of the flow's folder that an answer rests on, and the names of what could stand in their place. Knows nothing of what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use polyloom_load::{CatalogPart, Question, Root, Target};
use polyloom_model::{Digest, LEFT_OUT, Listed, Manifest, Shelf, is_left_out};

/// So many names of a folder, and so many folders, are looked at.
const MOST: usize = 20_000;

/// Files as they are.
#[derive(Debug, Default)]
pub struct Reach {
    /// By their digests; nothing for one that is not there.
    pub files: BTreeMap<PathBuf, Option<Digest>>,
    /// The code and the folders in each folder.
    pub names: BTreeMap<PathBuf, Vec<String>>,
    /// What is in the files.
    pub contents: BTreeMap<PathBuf, Arc<[u8]>>,
}

impl Reach {
    /// What a question names, and what its parts rest on.
    pub fn of(question: &Question<'_>, manifest: &Manifest, parts: &[CatalogPart]) -> Self {
        let mut reach = Self::default();
        if manifest.catalog.is_none() {
            return reach;
        }
        let root = question.root;
        let mut files: BTreeSet<PathBuf> =
            parts.iter().flat_map(|part| &part.files).cloned().collect();
        let mut folders = BTreeSet::from([PathBuf::new()]);
        for target in question.targets.iter().filter(|it| it.is_local()) {
            match path(target) {
                path if is_code(manifest, &target.location) => drop(files.insert(path)),
                // All of a folder is read.
                path => below(root, manifest, &path, &mut files, &mut folders),
            }
        }
        for file in files {
            folders.extend(file.ancestors().skip(1).map(Path::to_owned));
            reach.look(root, &file);
        }
        for folder in folders.into_iter().take(MOST) {
            reach.list(root, manifest, &folder);
        }
        reach
    }

    /// The digest of a file.
    pub fn look(&mut self, root: &Root, file: &Path) -> Option<Digest> {
        if let Some(known) = self.files.get(file) {
            return *known;
        }
        let bytes = root.read(file).ok();
        let digest = bytes.as_deref().map(Digest::of);
        self.files.insert(file.to_owned(), digest);
        self.contents.extend(bytes.map(|bytes| (file.to_owned(), bytes.into())));
        digest
    }

    /// The code and the folders in a folder.
    pub fn list(&mut self, root: &Root, manifest: &Manifest, folder: &Path) -> &[String] {
        if !self.names.contains_key(folder) {
            self.names.insert(folder.to_owned(), names(root, manifest, folder));
        }
        &self.names[folder]
    }

    /// Whether its files are those that a reader saw which was asked when they were as `before`: the same then and now, or not saved since.
    pub fn settled(&self, before: &Self, root: &Root, began: SystemTime) -> bool {
        let late = |path: &PathBuf| {
            let meta = std::fs::metadata(root.path().join(path)).and_then(|meta| meta.modified());
            meta.is_ok_and(|saved| saved >= began)
        };
        self.files
            .iter()
            .all(|(path, digest)| before.files.get(path) == Some(digest) || !late(path))
    }
}

/// Where a target is, relative to the root.
fn path(target: &Target) -> PathBuf {
    Path::new(&target.location).components().skip(1).collect()
}

/// Whether a name is one of the language's files, or of one beside them: `.pyi`.
fn is_code(manifest: &Manifest, name: &str) -> bool {
    let extension = Path::new(name).extension().map(|it| it.to_string_lossy());
    extension.is_some_and(|it| manifest.readable.iter().any(|own| it.starts_with(own.as_str())))
}

/// The code and the folders in a folder.
fn names(root: &Root, manifest: &Manifest, folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = root
        .list(folder, MOST)
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, kind)| match kind {
            Listed::Folder => !name.starts_with('.') && !is_left_out(&LEFT_OUT, "x", name),
            Listed::File | Listed::Link | Listed::Other => is_code(manifest, name),
        })
        .map(|(name, kind)| format!("{name} {kind:?}"))
        .collect();
    names.sort_unstable();
    names
}

fn below(
    root: &Root,
    manifest: &Manifest,
    folder: &Path,
    files: &mut BTreeSet<PathBuf>,
    folders: &mut BTreeSet<PathBuf>,
) {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        if folders.len() > MOST || files.len() > MOST {
            return;
        }
        for (name, kind) in root.list(&folder, MOST).unwrap_or_default() {
            let hidden = name.starts_with('.') || is_left_out(&LEFT_OUT, "x", &name);
            match kind {
                Listed::Folder if !hidden => open.push(folder.join(name)),
                Listed::File if is_code(manifest, &name) => {
                    files.insert(folder.join(name));
                }
                _ => {}
            }
        }
        folders.insert(folder);
    }
}
