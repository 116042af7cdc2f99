//! Folders for a moment. Where Ctrl-C, SIGTERM or SIGHUP end the process meanwhile, at a question or while a tool works, they are gone as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::commands::socket::Signals;
use crate::failure::Exit;

/// Those that are there. Whoever holds it keeps the process from ending.
static ALL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// So often a folder is removed that a tool, which was told to end too, still writes to.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A folder that is removed when this is dropped, or the process is interrupted.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// Makes one where temporary files are.
    pub fn new() -> io::Result<Self> {
        listen()?;
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir()?;
        all.push(folder.path().to_owned());
        Ok(Self(Some(folder)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("it is there until it is dropped").path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.0.take() {
            all.retain(|path| path != folder.path());
        }
    }
}

/// Something that is removed if the process is interrupted as long as this lives, and is somebody else's then.
#[derive(Debug)]
pub struct Unless(PathBuf);

impl Unless {
    /// From now on.
    pub fn interrupted(folder: &Path) -> io::Result<Self> {
        listen()?;
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Unless {
    fn drop(&mut self) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|path| *path != self.0);
    }
}

/// Answers signals from now on, whatever the process waits for.
fn listen() -> io::Result<()> {
    static LISTENING: OnceLock<()> = OnceLock::new();
    if LISTENING.get().is_some() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen()
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        runtime.block_on(signals.next());
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in all.iter() {
            for _ in 0..TRIES {
                if std::fs::remove_dir_all(folder).is_ok() || !folder.exists() {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
        std::process::exit(Exit::Interrupted as i32);
    })?;
    let _ = LISTENING.set(());
    Ok(())
}
