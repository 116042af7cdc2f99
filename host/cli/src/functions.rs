//! Typed functions, as checks ask for them: the reader of an executor in a sandbox, and what it said before, as long as nothing has changed of the
//! files that it looked at or of the program that looked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polyloom_load::{Catalog, Functions, Question, Root, Target};
use polyloom_model::{Digest, LEFT_OUT, Listed, Manifest, Shelf, is_left_out};
use serde::{Deserialize, Serialize};

use crate::world::{VERSION, World};

/// A file that was saved this short before it was read may have been saved once more since.
const GRAIN: Duration = Duration::from_millis(20);
/// So often a reader is asked while files change under it.
const TRIES: usize = 5;
/// So many names of a folder, and so many folders, are looked at.
const MOST: usize = 20_000;
/// A longer answer is not remembered.
const LARGEST: usize = 32 << 20;

/// Who is asked, for a command. Nothing is opened before something is asked.
pub struct Readers<'w>(&'w World);

impl fmt::Debug for Readers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

/// What a reader's answer rests on. It is remembered as a line before the answer.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// The files that it reaches, by their digests; nothing for one that was not there.
    files: BTreeMap<PathBuf, Option<Digest>>,
    /// The names of what could stand in their place, by folder.
    names: BTreeMap<PathBuf, Digest>,
}

impl<'w> Readers<'w> {
    /// Those of this command.
    pub fn new(world: &'w World) -> Self {
        Self(world)
    }
}

impl Functions for Readers<'_> {
    fn ask(&self, question: &Question<'_>) -> Result<Catalog, String> {
        let world = self.0;
        let said = |failure: crate::failure::Failure| failure.messages.join(": ");
        let place = world.readers_place().map_err(said)?;
        let manifest = world.manifest(&question.manifest.id).ok_or("it is not installed")?;
        world.unharmed_executor(&manifest.id).map_err(said)?;
        let executor = place.executor(manifest, question.tools, question.root.path());
        let executor = executor.map_err(|error| error.to_string())?;
        let facts = place.facts(&executor);
        let asked: Vec<_> = question.targets.iter().map(|it| (&it.location, &it.object)).collect();
        let asked = serde_json::json!({ "of": asked, "root": absolute(question.root), "untyped": question.allow_untyped });
        let argv = manifest.catalog.as_deref().unwrap_or_default().join("\0");
        let whole = format!("{} {} {VERSION} {argv} {asked}", facts.together(), place.sdk);
        let key = format!("functions/2 {}", Digest::of(whole.as_bytes()));
        let remembered = place.store.tool(&key).ok().flatten();
        if let Some(text) = remembered
            && let Some(catalog) = recall(question, manifest, &text)
        {
            return Ok(catalog);
        }
        let executor = Arc::new(executor);
        place.recall_once(&executor, &facts.together());
        let mut last = Err("its files change all the time".to_owned());
        for _ in 0..TRIES {
            let began = SystemTime::now().checked_sub(GRAIN).unwrap_or(SystemTime::UNIX_EPOCH);
            let answer = place.workplace.read_functions(&executor, question.root.path(), |root| {
                let target = |it: &Target| serde_json::json!({ "location": it.location, "object": it.object });
                let targets: Vec<_> = question.targets.iter().map(target).collect();
                serde_json::json!({
                    "version": 1, "root": root, "targets": targets, "allow_untyped": question.allow_untyped,
                })
                .to_string()
            })?;
            let mut catalog =
                Catalog::read(manifest.id.as_str(), &answer).map_err(|error| error.to_string())?;
            only(question, &mut catalog);
            let reach = Reach::of(question, manifest, &catalog);
            let settled = !reach.saved_since(question.root, began);
            catalog.contents = reach.contents;
            last = Ok(catalog);
            if !settled {
                continue;
            }
            if let Some(answer) = String::from_utf8(answer).ok().filter(|it| it.len() < LARGEST) {
                let memory = Memory { files: reach.files, names: reach.names };
                let text = serde_json::to_string(&memory).unwrap_or_default() + "\n" + &answer;
                if let Err(error) = place.store.remember_tool(&key, &text) {
                    tracing::warn!(%error, "typed functions could not be remembered");
                }
            }
            break;
        }
        last
    }
}

/// Leaves of what a worker has what is asked for: it says all.
fn only(question: &Question<'_>, catalog: &mut Catalog) {
    let wanted = |target: &Target| {
        question.targets.iter().any(|it| {
            it.location == target.location && (it.object.is_none() || it.object == target.object)
        })
    };
    if question.manifest.catalog.is_none() {
        catalog.entries.retain(|entry| wanted(&entry.target));
    }
}

/// What a reader said before, if it would say the same now.
fn recall(question: &Question<'_>, manifest: &Manifest, text: &str) -> Option<Catalog> {
    let (memory, answer) = text.split_once('\n')?;
    let memory: Memory = serde_json::from_str(memory).ok()?;
    // An answer is long: it is looked at only where no file has changed.
    let stands = |(file, digest): (&PathBuf, &Option<Digest>)| {
        question.root.read(file).ok().as_deref().map(Digest::of) == *digest
    };
    if !memory.files.iter().all(stands) {
        return None;
    }
    let mut catalog = Catalog::read(manifest.id.as_str(), answer.as_bytes()).ok()?;
    only(question, &mut catalog);
    let reach = Reach::of(question, manifest, &catalog);
    let same = reach.files == memory.files && reach.names == memory.names;
    catalog.contents = reach.contents;
    same.then_some(catalog)
}

/// What an answer rests on, of the flow's folder.
#[derive(Default)]
struct Reach {
    files: BTreeMap<PathBuf, Option<Digest>>,
    names: BTreeMap<PathBuf, Digest>,
    contents: BTreeMap<PathBuf, Arc<[u8]>>,
}

impl Reach {
    fn of(question: &Question<'_>, manifest: &Manifest, catalog: &Catalog) -> Self {
        let mut reach = Self::default();
        let local: Vec<&Target> = question.targets.iter().filter(|it| it.is_local()).collect();
        if local.is_empty() {
            return reach;
        }
        let mut files: BTreeSet<PathBuf> = BTreeSet::new();
        let named = catalog.findings.iter().filter_map(|it| it.file.clone());
        files.extend(named.filter(|path| path.is_relative()));
        for entry in &catalog.entries {
            files.extend(entry.file.iter().chain(&entry.files).cloned());
        }
        let mut folders = BTreeSet::from([PathBuf::new()]);
        for target in local {
            let path: PathBuf = Path::new(&target.location).components().skip(1).collect();
            let is_code = is_code(manifest, &target.location);
            if is_code {
                files.insert(path);
            } else {
                // All of a folder is read.
                below(question.root, manifest, &path, &mut files, &mut folders);
            }
        }
        for file in files {
            folders.extend(file.ancestors().skip(1).map(Path::to_owned));
            let bytes = question.root.read(&file).ok();
            reach.files.insert(file.clone(), bytes.as_deref().map(Digest::of));
            reach.contents.extend(bytes.map(|bytes| (file, bytes.into())));
        }
        for folder in folders.into_iter().take(MOST) {
            let names = names(question.root, manifest, &folder);
            reach.names.insert(folder, Digest::of(names.join("\n").as_bytes()));
        }
        reach
    }

    /// Whether a file may be another one than the reader saw.
    fn saved_since(&self, root: &Root, began: SystemTime) -> bool {
        let late = |path: &PathBuf| {
            let meta = std::fs::metadata(root.path().join(path)).and_then(|meta| meta.modified());
            meta.is_ok_and(|saved| saved >= began)
        };
        self.files.keys().any(late)
    }
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

fn absolute(root: &Root) -> PathBuf {
    std::path::absolute(root.path()).unwrap_or_else(|_| root.path().to_owned())
}
