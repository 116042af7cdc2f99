//! A session's state as files: written by its worker between two cells and copied out, or laid in and taken over by it. What is in them, only the worker knows; and
//! only there, in its sandbox, are they read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use polyloom_protocol::FromHost;
use polyloom_protocol::handshake::feature;
use polyloom_protocol::messages::host::{Load, Save};
use polyloom_protocol::messages::worker::Saved;
use polyloom_sandbox::{Kind, ListingCaps};

use super::{Session, Stand, Unanswered};
use crate::talk::Answer;

/// Files of a state at most.
pub const MOST_FILES: usize = 10_000;
/// Levels of folders in it.
pub const DEPTH: usize = 16;
/// One of its files has at most so many bytes.
const LARGEST: u64 = 64 << 30;
/// The snapshot of what a session was before it was to have another state.
const BEFORE: &str = "polyloom";

/// A file of a state.
pub struct StateFile {
    /// Where it lies below the state's folder, with `/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is in it.
    pub content: Part,
}

/// A part of a file, which is read where it is.
#[derive(Debug, Clone)]
pub struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Part {
    /// So many bytes from there on.
    #[must_use]
    pub fn new(file: Arc<File>, at: u64, size: u64) -> Self {
        Self { file, at, left: size }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            // Somebody has cut it off.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.at, self.left) = (self.at + count as u64, self.left - count as u64);
        Ok(count)
    }
}

/// What became of a state that a session was to have.
pub enum Loaded {
    /// What came through, and what did not (claims).
    State(Saved),
    /// Nothing came through of what was to; whether the session is as it was before, or empty.
    Nothing(Saved, bool),
    /// It can't be laid before its worker. The session is as it was before.
    Unlaid(io::Error),
}

impl Session {
    /// Whether its worker can write its state, and take one over.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.seat.may(feature::DURABLE)
    }

    /// Bytes that there is room for in its file system.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.seat.cell.room().unwrap_or(u64::MAX)
    }

    /// Has the state written, as far as that can be, and copies it: what there is, and what could not be saved (claims); or why it can't be copied. An error: the
    /// session is of no use any more.
    /// It stands at `at` all the time: who is killed meanwhile does not take it along.
    pub async fn save(
        &mut self,
        at: &Stand,
    ) -> Result<Result<(Saved, Vec<StateFile>), String>, Unanswered> {
        self.greet().await.ok_or(Unanswered::Ended)?;
        self.stands_as(at, true);
        let out = self.seat.cell.view().path("/cell/out");
        let saved = self.told(FromHost::Save(Save { out })).await?;
        let files = self.copied();
        self.seat.cell.empty("out").map_err(|_| Unanswered::Ended)?;
        Ok(files.map(|files| (saved, files)))
    }

    fn copied(&self) -> Result<Vec<StateFile>, String> {
        let collector = self.seat.cell.collect().map_err(|error| error.to_string())?;
        let caps = ListingCaps { entries: MOST_FILES, depth: DEPTH };
        let listing = collector.list("out", caps).map_err(|refusal| refusal.to_string())?;
        if let Some(refused) = listing.refused.first() {
            return Err(format!("`{}`: {}", refused.path, refused.refusal));
        }
        let mut files = Vec::new();
        for entry in listing.entries {
            let path = entry.path;
            match entry.kind {
                Kind::Directory => {}
                Kind::File { .. } => {
                    let copy = collector.copy_file(&format!("out/{path}"), LARGEST);
                    let file = File::from(copy.map_err(|refusal| format!("`{path}`: {refusal}"))?);
                    let size = file.metadata().map_err(|error| error.to_string())?.len();
                    let content = Part::new(Arc::new(file), 0, size);
                    files.push(StateFile { path, size, content });
                }
                Kind::Symlink | Kind::Other => return Err(format!("`{path}` is no file")),
            }
        }
        Ok(files)
    }

    /// Has it take over a state and nothing else. `is_something`: there is to be something in it. Paths must be relative and plain. An error: the session is of no
    /// use any more.
    pub async fn load(
        &mut self,
        files: Vec<StateFile>,
        is_something: bool,
    ) -> Result<Loaded, Unanswered> {
        const ENDED: Unanswered = Unanswered::Ended;
        self.busy();
        // A worker that waits to be asked for the first time has its folders, too.
        self.greet().await.ok_or(ENDED)?;
        if let Err(error) = self.laid(files) {
            self.seat.cell.empty("in").map_err(|_| ENDED)?;
            return Ok(Loaded::Unlaid(error));
        }
        let goes_back = self.keeps() && self.snapshot(BEFORE).await.ok_or(ENDED)? == Ok(());
        self.reset().await.ok_or(ENDED)?;
        let path = self.seat.cell.view().path("/cell/in");
        let loaded = self.told(FromHost::Load(Load { path })).await?;
        self.seat.cell.empty("in").map_err(|_| ENDED)?;
        let nothing = loaded.saved.is_empty() && (is_something || !loaded.unsaved.is_empty());
        let is_back = nothing && goes_back && self.restore(BEFORE).await.ok_or(ENDED)? == Ok(());
        if goes_back {
            let _ = self.forget(BEFORE).await.ok_or(ENDED)?;
        }
        Ok(if nothing { Loaded::Nothing(loaded, is_back) } else { Loaded::State(loaded) })
    }

    fn laid(&mut self, files: Vec<StateFile>) -> io::Result<()> {
        let top = Path::new("/cell/in");
        let mut made = BTreeSet::new();
        for StateFile { path, mut content, .. } in files {
            let at = top.join(&path);
            let folders: Vec<&Path> =
                at.ancestors().skip(1).take_while(|folder| *folder != top).collect();
            for folder in folders.into_iter().rev() {
                if made.insert(folder.to_owned()) {
                    self.seat.cell.lay_folder(folder)?;
                }
            }
            self.seat.cell.lay(&at, &mut content)?;
        }
        Ok(())
    }

    async fn told(&mut self, message: FromHost) -> Result<Saved, Unanswered> {
        match self.seat.ask_within([message], &self.bounds).await? {
            Answer::Saved(saved) => Ok(saved),
            Answer::Kept(_) | Answer::Completions(_) | Answer::Pong => Err(Unanswered::Ended),
        }
    }
}
