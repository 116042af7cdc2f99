//! The program of a step whose language compiles: found in the store, or made and kept there.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use polyloom_model::{Digest, Kind, Limits, Value};
use polyloom_protocol::{Diagnostic, Outcome, Severity};
use polyloom_worker::attempt::{Attempt, Collected, Live, Phase, Report, Start, Stop};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{StepEnd, StepRun, Trouble, blocking, tree_entry, tree_file};
use crate::files;
use crate::heads::Sight;
use crate::words::chain;

/// Compiling may take this long and this much, whatever the cell's own limits are.
const COMPILE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);
const COMPILE_MEMORY: u64 = 2 << 30;

/// The name of a program that is one file, inside its tree.
const SINGLE: &str = ".program";

/// How a program was made.
pub(super) struct Made {
    /// How long it took, milliseconds.
    pub ms: f64,
    /// What its code begins with and had been compiled before.
    pub head: Option<String>,
    /// What the compiler warned of.
    pub warnings: Vec<Diagnostic>,
    /// The disk is waited for while the program runs already.
    pub kept: JoinHandle<Result<(), Trouble>>,
}

impl StepRun {
    /// The compiled program, and how it was made if it was made now; or the end of a step that does not compile.
    pub(super) async fn compile(
        self: Arc<Self>,
        seen: &mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Result<(PathBuf, Option<Made>), Box<StepEnd>>, Trouble> {
        let began = Instant::now();
        let key = self.program_key();
        let step = Arc::clone(&self);
        let known = blocking(move || step.known_program(&key)).await??;
        if let Some(path) = known {
            return Ok(Ok((path, None)));
        }
        let mut sight = Sight::Beside;
        let (report, lines) = loop {
            let head = Arc::clone(&self).head(sight).await?;
            let lines = head.as_ref().map(|head| head.lines.join("\n"));
            let unseen = head.as_ref().filter(|_| sight == Sight::Beside).map(|head| head.digest);
            let whole = unseen.map(|digest| {
                let place = Arc::clone(&self.place);
                tokio::task::spawn_blocking(move || place.store.make_sure_of_tree(&digest))
            });
            let mut attempt = self.bare(Phase::Compile { head: head.map(|head| head.path) });
            attempt.limits = compiling(&self.limits);
            // Its files are what the code includes.
            attempt.call = self.cell().call.clone();
            attempt.then = self.then().map(Arc::new);
            let report = self.attempt_once(attempt, seen, stop).await;
            let whole = match whole {
                Some(whole) => whole.await.map_err(|error| Trouble::internal(&error))?,
                None => true,
            };
            if whole {
                break (report?, lines);
            }
            // What a damaged one led to counts for nothing; it is gone.
            sight = Sight::Before;
        };
        if report.meta.outcome != Outcome::Ok {
            let Report { mut meta, explanation, .. } = report;
            if meta.outcome == Outcome::Failed {
                meta.extras.insert("did_not_compile".to_owned(), Value::Bool(true));
            }
            let explanation = explanation.map(|text| format!("while compiling: {text}"));
            let start = Start::None;
            return Ok(Err(Box::new(StepEnd::new(meta, None, explanation, start))));
        }
        let mut warnings = report.meta.diagnostics;
        warnings.retain(|it| it.severity == Severity::Warning);
        for warning in &warnings {
            let _ = seen.send(Live::Diagnostic(warning.clone())).await;
        }
        let Some(collected) = report.program else {
            return Err(Trouble::host("the compiler left no program".to_owned()));
        };
        let step = Arc::clone(&self);
        let (path, digest) = blocking(move || step.lay_program(collected)).await??;
        let step = Arc::clone(&self);
        let kept = tokio::task::spawn_blocking(move || step.keep_program(&key, &digest));
        let ms = began.elapsed().as_secs_f64() * 1e3;
        Ok(Ok((path, Some(Made { ms, head: lines, warnings, kept }))))
    }

    /// The attempt that runs the program, as far as what is started ahead of it has to know; nothing where it takes none. Inputs are in its way: they are not
    /// looked up yet, and what is laid of them makes it another kind of cell.
    fn then(&self) -> Option<Attempt> {
        let cell = self.cell();
        let takes = self.executor.manifest.kind.ahead().is_some()
            && self.turn.is_none()
            && cell.inputs.is_empty()
            && cell.env.is_empty()
            && cell.asks.is_empty()
            && cell.secrets.is_empty()
            && cell.stdin.is_none();
        takes.then(|| self.bare(Phase::Run { program: None }))
    }

    fn program_key(&self) -> Digest {
        let cell = self.cell();
        let extension = files::extension(std::path::Path::new(&cell.code.name));
        let mut text = format!("polyloom.program/1\n{}\n{extension}\n", self.identity);
        // An executor that is compiled itself is so once, for all cells.
        let own = matches!(&self.executor.manifest.kind, Kind::Command(c) if !c.compiles_code());
        if !own {
            text.push_str(&Digest::of(&cell.code.bytes).hex());
            for (path, bytes) in cell.call.iter().flat_map(|call| &call.files) {
                text.push_str(&format!("\n{:?} {}", path, Digest::of(bytes).hex()));
            }
        }
        Digest::of(text.as_bytes())
    }

    fn known_program(&self, key: &Digest) -> Result<Option<PathBuf>, Trouble> {
        let store = &self.place.store;
        let found = store.program(key).map_err(|e| Trouble::host(chain(&e)))?;
        // A program that can't be laid out (a part was evicted) is compiled again.
        Ok(found.and_then(|digest| self.program_path(&digest).ok()))
    }

    /// Programs are stored as trees of one file or of a directory's files, so that a file keeps its executable bit.
    fn program_path(&self, digest: &Digest) -> Result<PathBuf, Trouble> {
        let store = &self.place.store;
        let root = store.tree_path(digest).map_err(|e| Trouble::host(chain(&e)))?;
        let file = root.join(SINGLE);
        Ok(if file.is_file() { file } else { root })
    }

    /// A compiled program, where it can be run from.
    fn lay_program(&self, collected: Collected) -> Result<(PathBuf, Digest), Trouble> {
        let store = &self.place.store;
        let entries = match collected {
            Collected::File { fd, size, .. } => {
                vec![tree_entry(store, SINGLE.to_owned(), File::from(fd), size, true)?]
            }
            Collected::Tree { files, .. } => {
                let mut entries = Vec::with_capacity(files.len());
                for file in files {
                    entries.push(tree_file(store, file)?);
                }
                entries
            }
            Collected::Bytes(_) => Vec::new(),
        };
        let (digest, _) = store.put_tree(entries).map_err(|e| Trouble::host(chain(&e)))?;
        Ok((self.program_path(&digest)?, digest))
    }

    /// Records it, for all who compile the same.
    fn keep_program(&self, key: &Digest, program: &Digest) -> Result<(), Trouble> {
        let kept = self.place.store.commit_program(key, program, self.unix_ms);
        kept.map_err(|error| Trouble::host(chain(&error)))
    }
}

/// What a compiler may use for a cell with these limits.
pub(crate) fn compiling(limits: &Limits) -> Limits {
    let mut limits = limits.clone();
    limits.timeout = limits.timeout.max(COMPILE_TIMEOUT);
    limits.memory = limits.memory.max(COMPILE_MEMORY);
    limits.pids = limits.pids.max(64);
    limits.disk = limits.disk.max(512 << 20);
    limits.cpu_time = None;
    limits.soft_timeout = None;
    limits.open_files = limits.open_files.max(1024);
    limits.inodes = limits.inodes.max(65_536);
    limits.artifacts = limits.artifacts.max(10_000);
    limits.artifact_size = None;
    limits
}
