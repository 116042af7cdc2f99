//! What an executor makes once for a toolchain and all its programs find when they start, as bytecode is: kept in the store like a compiled program. No cell
//! has a part in it. Where there is none yet they start without, and it is made beside them, for the next run.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use polyloom_model::Digest;
use polyloom_protocol::Outcome;
use polyloom_worker::attempt::{Collected, Phase};
use polyloom_worker::executor::Executor;

use crate::place::Place;
use crate::step::{StepRun, blocking, compiling, tree_file};
use crate::words::chain;

/// What is remembered of one that failed.
const REFUSED: &str = "refused";
/// The name of the cell that makes it.
const NAME: &str = "once";

/// What is being looked at before somebody wants it.
#[derive(Debug, Default)]
pub struct Looks(Mutex<Vec<JoinHandle<()>>>);

impl Looks {
    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all was looked at. Whoever comes second waits, too.
    fn settle(&self) {
        for thread in self.threads().drain(..) {
            // One that panicked has seen nothing, which is looked at again.
            let _ = thread.join();
        }
    }
}

impl Place {
    /// Has what an earlier run made once for an executor in view of all that is started for it from now on. `identity` is
    /// [`polyloom_plan::ExecutorFacts::together`].
    pub fn recall_once(&self, executor: &Arc<Executor>, identity: &Digest) {
        if executor.once().is_none() || self.workplace.once(executor).is_some() {
            return;
        }
        // Where there is nothing yet, the next run has to see that and make it.
        if let (Some(path), _) = self.find_once(&key(identity)) {
            self.workplace.keep_once(executor, Some(path));
        }
    }

    /// Begins to look at the bytes of what was made once for an executor, which somebody will want soon.
    pub(crate) fn look_at_once(&self, executor: &Executor, identity: &Digest) {
        if executor.once().is_none() || self.workplace.once(executor).is_some() {
            return;
        }
        let (store, key) = (Arc::clone(&self.store), key(identity));
        // The store remembers what it has seen: it is found at once then. Without a thread it is looked at when it is wanted.
        let look = move || {
            let digest = store.program(&key).ok().flatten();
            let _ = digest.map(|digest| store.tree_path(&digest));
        };
        if let Ok(thread) = std::thread::Builder::new().spawn(look) {
            self.looks.threads().push(thread);
        }
    }

    /// The directory, all of whose bytes were looked at; and whether it can't be made.
    fn find_once(&self, key: &Digest) -> (Option<PathBuf>, bool) {
        self.looks.settle();
        let digest = self.store.program(key).ok().flatten();
        let found = digest.and_then(|digest| self.store.tree_path(&digest).ok());
        let refused = || self.store.tool(&place(key)).is_ok_and(|text| text.is_some());
        let refused = found.is_none() && refused();
        (found, refused)
    }
}

impl StepRun {
    /// Sees to it that the step's programs have in view what is made once for them.
    pub(crate) async fn look_for_once(self: &Arc<Self>) {
        let workplace = &self.place.workplace;
        if workplace.once(&self.executor).is_some() {
            return;
        }
        let Some(maker) = self.executor.once() else { return };
        let key = key(&self.identity);
        let step = Arc::clone(self);
        let Ok((found, refused)) = blocking(move || step.place.find_once(&key)).await else {
            return;
        };
        if found.is_none() && !refused {
            let step = Arc::clone(self);
            self.place.heads.begin(key, async move {
                if let Err(text) = step.make_once(key, maker).await {
                    let executor = &step.executor.manifest.id;
                    tracing::warn!(%executor, text, "nothing could be made once for its programs");
                }
            });
        }
        workplace.keep_once(&self.executor, found);
    }

    async fn make_once(self: &Arc<Self>, key: Digest, maker: Executor) -> Result<(), String> {
        // There is no cell: its name, its code and what it may do have no part in it.
        let mut attempt = self.bare(Phase::Head);
        attempt.executor = Arc::new(maker);
        attempt.cell = NAME.parse().map_err(|_| "it has no name".to_owned())?;
        attempt.code_name = NAME.to_owned();
        attempt.code = Vec::new().into();
        attempt.limits = compiling(&attempt.limits);
        let report = self.made_of_no_cell(attempt).await?;
        let store = Arc::clone(&self.place.store);
        match (report.meta.outcome, report.program) {
            (Outcome::Ok, Some(Collected::Tree { files, .. })) => {
                let unix_ms = self.unix_ms;
                let work = move || {
                    let entries = files.into_iter().map(|file| tree_file(&store, file));
                    let entries: Result<Vec<_>, _> = entries.collect();
                    let entries = entries.map_err(|trouble| trouble.text)?;
                    let (digest, _) = store.put_tree(entries).map_err(|error| chain(&error))?;
                    // Laid out now, so that nobody waits for it.
                    store.tree_path(&digest).map_err(|error| chain(&error))?;
                    store.commit_program(&key, &digest, unix_ms).map_err(|error| chain(&error))
                };
                blocking(work).await.map_err(|trouble| trouble.text)?
            }
            (Outcome::Ok, _) => Err("it made no folder".to_owned()),
            (Outcome::Failed, _) => {
                let kept = store.remember_tool(&place(&key), REFUSED);
                kept.map_err(|error| chain(&error))?;
                Err(report.meta.stderr.text)
            }
            (outcome, _) => Err(format!("{outcome:?}")),
        }
    }
}

fn key(identity: &Digest) -> Digest {
    Digest::of(format!("polyloom.once/1\n{identity}\n").as_bytes())
}

fn place(key: &Digest) -> String {
    format!("once {key}")
}
