//! A session's state as files: written by its worker between two cells and copied out, or laid in and taken over by it. What is in them, only the worker knows; and
//! only there, in its sandbox, are they read.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use polyloom_protocol::FromHost;
use polyloom_protocol::handshake::feature;
use polyloom_protocol::messages::host::{Load, Save};
use polyloom_protocol::messages::worker::Saved;
use polyloom_sandbox::{Kind, ListingCaps};

use super::Session;
use crate::talk::Answer;

/// Files of a state at most.
pub const MOST_FILES: usize = 10_000;
/// Levels of folders in it.
pub const DEPTH: usize = 16;
/// One of its files has at most so many bytes.
const LARGEST: u64 = 64 << 30;
/// A large state takes its time.
const PATIENCE: Duration = Duration::from_secs(600);

/// A file of a state.
pub struct StateFile {
    /// Where it lies below the state's folder, with `/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is in it.
    pub content: Box<dyn io::Read + Send>,
}

impl Session {
    /// Whether its worker can write its state, and take one over.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.seat.may(feature::DURABLE)
    }

    /// Has the state written, as far as that can be, and copies it: what there is, and what could not be saved (claims); or why it can't be copied. Nothing: the
    /// session is of no use any more.
    pub async fn save(&mut self) -> Option<Result<(Saved, Vec<StateFile>), String>> {
        self.busy();
        let out = self.seat.cell.view().path("/cell/out");
        let saved = self.told(FromHost::Save(Save { out })).await?;
        let files = self.copied();
        self.seat.cell.empty("out").ok()?;
        Some(files.map(|files| (saved, files)))
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
                    files.push(StateFile { path, size, content: Box::new(file) });
                }
                Kind::Symlink | Kind::Other => return Err(format!("`{path}` is no file")),
            }
        }
        Ok(files)
    }

    /// Has it take over a state: what came through, and what did not (claims), or why it can't be laid before its worker. Paths must be relative and plain. Nothing: the
    /// session is of no use any more.
    pub async fn load(
        &mut self,
        files: impl IntoIterator<Item = StateFile>,
    ) -> Option<Result<Saved, io::Error>> {
        self.busy();
        // A worker that waits to be asked for the first time has its folders, too.
        self.greet().await?;
        let loaded = match self.laid(files) {
            Ok(()) => {
                let path = self.seat.cell.view().path("/cell/in");
                Ok(self.told(FromHost::Load(Load { path })).await?)
            }
            Err(error) => Err(error),
        };
        self.seat.cell.empty("in").ok()?;
        Some(loaded)
    }

    fn laid(&mut self, files: impl IntoIterator<Item = StateFile>) -> io::Result<()> {
        let top = Path::new("/cell/in");
        let mut made = std::collections::BTreeSet::new();
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

    async fn told(&mut self, message: FromHost) -> Option<Saved> {
        match self.seat.ask_for([message], PATIENCE).await? {
            Answer::Saved(saved) => Some(saved),
            Answer::Kept(_) | Answer::Completions(_) | Answer::Pong => None,
        }
    }
}
