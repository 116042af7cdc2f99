//! Compiled heads: what codes of a language begin with, compiled once and used for every code that begins so.
//!
//! A head is kept in the store like a compiled program, known by its executor, its text and the state of every file it was made from. Where there is none
//! the code is compiled without, and the head is made beside it, for the next one. It never decides what comes out: only how soon.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use polyloom_model::Digest;
use polyloom_protocol::Outcome;
use polyloom_store::{ListingEntry, TreeEntry};
use polyloom_worker::attempt::{Attempt, Collected, Phase, Report, Stop, TreeFile};
use polyloom_worker::head::{self, DEPENDS, TEXT};
use polyloom_worker::tools::{is_settled, stat};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::step::{StepRun, Trouble, blocking, compiling, tree_file};
use crate::words::chain;

/// Heads that wait to be made, at most: the end of a run waits for them.
const MOST: usize = 4;
/// What names the files of a head has at most so many bytes.
const LARGEST_DEPENDS: u64 = 1 << 20;

/// Heads that are being made. They go on when the cell whose code asked for them has ended.
#[derive(Debug)]
pub struct Heads {
    making: Mutex<Making>,
    /// One at a time: they are beside the cells.
    turn: Semaphore,
}

#[derive(Debug, Default)]
struct Making {
    keys: HashSet<Digest>,
    work: Vec<JoinHandle<()>>,
}

impl Default for Heads {
    fn default() -> Self {
        Self { making: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Heads {
    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one that is being made.
    #[must_use]
    pub fn any(&self) -> bool {
        self.making().work.iter().any(|work| !work.is_finished())
    }

    /// Makes something known by this key beside the cells, unless it is being made or too much is.
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: Digest,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut making = self.making();
        making.work.retain(|work| !work.is_finished());
        if making.work.len() >= MOST || !making.keys.insert(key) {
            return;
        }
        let heads = Arc::clone(self);
        making.work.push(tokio::spawn(async move {
            let turn = heads.turn.acquire().await;
            work.await;
            drop(turn);
            heads.making().keys.remove(&key);
        }));
    }

    /// Waits for those that are being made.
    pub async fn settle(&self) {
        let work = std::mem::take(&mut self.making().work);
        for one in work {
            let _ = one.await;
        }
    }
}

/// When all bytes of a head are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Before it is used.
    Before,
    /// By whoever uses it, while it is used: to hash 20 MB takes as long as to start a program.
    Beside,
}

/// A compiled head.
pub(crate) struct Head {
    /// What it is in the store.
    pub(crate) digest: Digest,
    /// Its directory there.
    pub(crate) path: PathBuf,
    /// Its lines.
    pub(crate) lines: Vec<String>,
}

/// What is remembered of a head.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Memory {
    /// A code began so.
    Seen,
    /// Its language does not compile it.
    Refused,
    /// It was made from these files.
    Made(Vec<PathBuf>),
}

impl StepRun {
    /// The compiled head of the cell's code: of all its lines, or of as many of the first of them as there is one of. One that is missing is begun.
    pub(crate) async fn head(self: Arc<Self>, sight: Sight) -> Result<Option<Head>, Trouble> {
        if head::spec(&self.executor).is_none() {
            return Ok(None);
        }
        let step = Arc::clone(&self);
        let (found, wanted) = blocking(move || step.find_head(sight)).await?;
        if let Some(lines) = wanted {
            self.begin_head(lines);
        }
        Ok(found)
    }

    fn head_key(&self, lines: &[String]) -> Digest {
        let text = format!("polyloom.head/1\n{}\n{}\n", self.identity, lines.join("\n"));
        Digest::of(text.as_bytes())
    }

    /// What there is, and the lines of what is to be made.
    fn find_head(&self, sight: Sight) -> (Option<Head>, Option<Vec<String>>) {
        let code = &self.flow.cells[self.cell].code.bytes;
        let lines = head::spec(&self.executor).map(|spec| head::lines(spec, code));
        let lines = lines.unwrap_or_default();
        let store = &self.place.store;
        let mut found = None;
        let mut wanted = None;
        for count in (1..=lines.len()).rev() {
            let key = self.head_key(&lines[..count]);
            let memory = store.tool(&place(&key)).ok().flatten();
            let memory = memory.and_then(|text| serde_json::from_str::<Memory>(&text).ok());
            if let Some(Memory::Made(files)) = &memory
                && let Ok(Some(digest)) = store.program(&made_key(&key, files))
                && let Some(path) = match sight {
                    Sight::Beside => store.tree_there(&digest),
                    Sight::Before => None,
                }
                .or_else(|| store.tree_path(&digest).ok())
            {
                found = Some(Head { digest, path, lines: lines[..count].to_vec() });
                break;
            }
            if count == lines.len() {
                wanted = Some(memory);
            }
        }
        let wanted = match (wanted, &found) {
            (None | Some(Some(Memory::Refused)), _) => None,
            // What there is does for a code that may stay the only one of its kind.
            (Some(None), Some(_)) => {
                remember(self, &self.head_key(&lines), &Memory::Seen);
                None
            }
            (Some(_), _) => (!lines.is_empty()).then_some(lines),
        };
        (found, wanted)
    }

    /// Makes a head beside the cells.
    fn begin_head(self: Arc<Self>, lines: Vec<String>) {
        let key = self.head_key(&lines);
        let heads = Arc::clone(&self.place.heads);
        heads.begin(key, async move {
            if let Err(text) = self.make_head(key, lines).await {
                tracing::warn!(text, "the head of a code could not be compiled ahead");
            }
        });
    }

    /// What comes of an attempt that is no cell's: nobody follows it.
    pub(crate) async fn made_of_no_cell(&self, attempt: Attempt) -> Result<Report, String> {
        let (live, mut heard) = mpsc::channel(64);
        let (_stop, stopped) = watch::channel(Stop::No);
        let attempt = Arc::new(attempt);
        let working = self.place.workplace.attempt(&attempt, live, stopped);
        let hearing = async { while heard.recv().await.is_some() {} };
        let (report, ()) = tokio::join!(working, hearing);
        report.map_err(|error| chain(&error))
    }

    async fn make_head(self: Arc<Self>, key: Digest, lines: Vec<String>) -> Result<(), String> {
        let text = format!("{}\n", lines.join("\n"));
        // Nothing in it is of the cell: not its name, not its code.
        let mut attempt = self.bare(Phase::Head);
        attempt.cell = TEXT.parse().map_err(|_| "a head has no name".to_owned())?;
        attempt.code_name = TEXT.to_owned();
        attempt.code = text.as_bytes().into();
        attempt.limits = compiling(&attempt.limits);
        let began = SystemTime::now();
        let report = self.made_of_no_cell(attempt).await?;
        match (report.meta.outcome, report.program) {
            (Outcome::Ok, Some(Collected::Tree { files, .. })) => {
                let work = blocking(move || self.keep_head(&key, &text, files, began)).await;
                work.map_err(|trouble| trouble.text)?
            }
            (Outcome::Failed, _) => {
                remember(&self, &key, &Memory::Refused);
                Err(report.meta.stderr.text)
            }
            (outcome, _) => Err(format!("{outcome:?}")),
        }
    }

    fn keep_head(
        &self,
        key: &Digest,
        text: &str,
        files: Vec<TreeFile>,
        began: SystemTime,
    ) -> Result<(), String> {
        let store = &self.place.store;
        let fault = |error: &dyn std::error::Error| chain(error);
        let mut made_from = Vec::new();
        let mut entries = Vec::with_capacity(files.len() + 1);
        for file in files {
            if file.path == DEPENDS {
                let mut rules = String::new();
                let open = file.open().map_err(|error| fault(&error))?;
                let mut read = std::fs::File::from(open).take(LARGEST_DEPENDS);
                read.read_to_string(&mut rules).map_err(|error| fault(&error))?;
                made_from = head::depends(&rules);
            } else if file.path != TEXT {
                entries.push(tree_file(store, file).map_err(|trouble| trouble.text)?);
            }
        }
        // What is not here by that name is of the sandbox: the SDK and the executor's own folder, which are part of its identity.
        let files: Vec<PathBuf> = made_from.into_iter().map(PathBuf::from).collect();
        let files: Vec<PathBuf> = files.into_iter().filter(|path| path.exists()).collect();
        if let Some(file) = files.iter().find(|path| !is_settled(path, began)) {
            return Err(format!("{} changed meanwhile", file.display()));
        }
        let (digest, size) = (store.put_bytes(text.as_bytes()), text.len() as u64);
        let digest = digest.map_err(|error| fault(&error))?;
        let file = Some(ListingEntry { digest, exec: false, size });
        entries.push(TreeEntry { path: TEXT.to_owned(), file });
        let (digest, _) = store.put_tree(entries).map_err(|error| fault(&error))?;
        // Laid out now, so that nobody waits for it.
        store.tree_path(&digest).map_err(|error| fault(&error))?;
        let made = made_key(key, &files);
        store.commit_program(&made, &digest, self.unix_ms).map_err(|error| fault(&error))?;
        remember(self, key, &Memory::Made(files));
        Ok(())
    }
}

fn place(key: &Digest) -> String {
    format!("head {key}")
}

/// The key of a head that was made from files in the state in which they are now.
fn made_key(key: &Digest, files: &[PathBuf]) -> Digest {
    let mut text = format!("polyloom.head.made/1\n{key}\n");
    for file in files {
        text.push_str(&line(file));
    }
    Digest::of(text.as_bytes())
}

fn line(file: &Path) -> String {
    format!("{} {}\n", file.display(), stat(file))
}

fn remember(step: &StepRun, key: &Digest, memory: &Memory) {
    let text = serde_json::to_string(memory).unwrap_or_default();
    if let Err(error) = step.place.store.remember_tool(&place(key), &text) {
        tracing::warn!(%error, "what is known of a head could not be remembered");
    }
}
