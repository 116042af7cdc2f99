//! Typed functions, as checks ask for them: the reader of an executor in a sandbox, and what it said before, as long as nothing has changed of the
//! files that it looked at or of the program that looked. Where some have changed, what rests on others is not read again.

mod memory;
mod reach;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polyloom_load::{Catalog, CatalogPart, Functions, Question, Root, Target, documents};
use polyloom_model::{Digest, Manifest, processors};
use serde_json::json;

use self::memory::{Memory, Standing};
use self::reach::Reach;
use crate::world::{VERSION, World};

/// A file that was saved this short before it was read may have been saved once more since.
const GRAIN: Duration = Duration::from_millis(20);
/// So often a reader is asked while files change under it.
const TRIES: usize = 5;
/// A longer answer is not remembered.
const LARGEST: usize = 32 << 20;
/// Of a shorter answer each processor would have too little.
const LONG: usize = 128 << 10;

/// Who is asked, for a command. Nothing is opened before something is asked.
pub struct Readers<'w>(&'w World);

impl fmt::Debug for Readers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
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
        let key = format!("functions/3 {}", Digest::of(whole.as_bytes()));
        let memory = place.store.tool(&key).ok().flatten().and_then(|text| Memory::read(&text));
        let executor = Arc::new(executor);
        let mut last = Err("its files change all the time".to_owned());
        for _ in 0..TRIES {
            let began = SystemTime::now().checked_sub(GRAIN).unwrap_or(SystemTime::UNIX_EPOCH);
            let mut before = Reach::of(question, manifest, &[]);
            let standing = memory.as_ref().map(|it| it.standing(question, manifest, &mut before));
            let kept = match standing {
                None => Vec::new(),
                Some(Standing::Some(kept)) => kept,
                Some(Standing::All(documents)) => match parts(manifest, documents) {
                    Ok(parts) => return Ok(whole_of(question, parts, before)),
                    Err(_) => Vec::new(),
                },
            };
            place.recall_once(&executor, &facts.together());
            let answer =
                place.workplace.read_functions(&executor, question.root.path(), |root| {
                    let target =
                        |it: &Target| json!({ "location": it.location, "object": it.object });
                    json!({
                        "version": 1, "root": root, "allow_untyped": question.allow_untyped,
                        "targets": question.targets.iter().map(target).collect::<Vec<_>>(),
                        "known": kept.iter().map(|(location, _)| location).collect::<Vec<_>>(),
                    })
                    .to_string()
                })?;
            let mut said = documents(&String::from_utf8_lossy(&answer));
            let mut found = parts(manifest, &said)?;
            for (part, text) in found.iter_mut().zip(&mut said).filter(|(part, _)| part.known) {
                let own =
                    |(location, _): &&(&str, &str)| Some(*location) == part.location.as_deref();
                let (_, before) = kept.iter().find(own).ok_or("it leaves out what nobody knows")?;
                *part = CatalogPart::read(manifest.id.as_str(), before)
                    .map_err(|error| error.to_string())?;
                part.known = true;
                (*before).clone_into(text);
            }
            let again = found.iter().filter(|part| !part.known && part.location.is_some()).count();
            tracing::debug!(executor = %manifest.id, places = again, known = kept.len(), "typed functions were read");
            let after = Reach::of(question, manifest, &found);
            let settled = after.settled(&before, question.root, began);
            if settled && answer.len() < LARGEST {
                let text = Memory::new(&after, &found, said).text();
                if let Err(error) = place.store.remember_tool(&key, &text) {
                    tracing::warn!(%error, "typed functions could not be remembered");
                }
            }
            last = Ok(whole_of(question, found, after));
            if settled {
                break;
            }
        }
        last
    }
}

/// The parts that documents are, read by as many threads as there are processors.
fn parts(manifest: &Manifest, documents: &[String]) -> Result<Vec<CatalogPart>, String> {
    let read = |documents: &[String]| -> Result<Vec<CatalogPart>, String> {
        let read = |text: &String| CatalogPart::read(manifest.id.as_str(), text);
        documents.iter().map(read).collect::<Result<_, _>>().map_err(|error| error.to_string())
    };
    let size: usize = documents.iter().map(String::len).sum();
    let threads = processors().min(1 + size / LONG);
    let mut chunks = documents.chunks(documents.len().div_ceil(threads).max(1));
    let first = chunks.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = chunks.map(|chunk| scope.spawn(move || read(chunk))).collect();
        let mut all = read(first)?;
        for other in others {
            all.extend(other.join().map_err(|_| "its answer can't be understood")??);
        }
        Ok(all)
    })
}

/// What is asked for, of the parts together. A worker says all that it has.
fn whole_of(question: &Question<'_>, parts: Vec<CatalogPart>, reach: Reach) -> Catalog {
    let mut catalog = Catalog { contents: reach.contents, ..Catalog::of(parts) };
    let wanted = |target: &Target| {
        question.targets.iter().any(|it| {
            it.location == target.location && (it.object.is_none() || it.object == target.object)
        })
    };
    if question.manifest.catalog.is_none() {
        catalog.entries.retain(|entry| wanted(&entry.target));
    }
    catalog
}

fn absolute(root: &Root) -> PathBuf {
    root.path().canonicalize().unwrap_or_else(|_| root.path().to_owned())
}
