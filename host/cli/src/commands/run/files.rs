//! Hears that files were changed. What is in them is read by whoever needs it: a name that is heard of here is never opened here.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use polyloom_runtime::Sources;
use tokio::sync::Notify;

use crate::failure::{Exit, Failure};

/// Files that were written and closed are taken as they are after so much quiet: many are often saved at once.
const SAVED: Duration = Duration::from_millis(5);
/// A file that is being written, or that is gone and may come back, is waited for so long.
const UNFINISHED: Duration = Duration::from_millis(50);
/// More names of one change are not kept.
const NAMES: usize = 1000;

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unfinished,
    Saved,
}

/// What the watcher's thread and the waiting side share.
#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    bell: Notify,
}

#[derive(Default)]
struct Heard {
    wanted: Sources,
    changed: BTreeMap<PathBuf, Stage>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on(&self, event: notify::Result<notify::Event>) {
        let mut heard = self.heard();
        // Where some were lost, anything may have changed.
        let lost = match &event {
            Ok(event) => event.need_rescan(),
            Err(_) => true,
        };
        let (paths, stage) = match event {
            _ if lost => (heard.wanted.files.iter().take(1).cloned().collect(), Stage::Saved),
            Ok(event) => match stage(event.kind) {
                Some(stage) => (event.paths, stage),
                None => return,
            },
            Err(_) => return,
        };
        let mut any = false;
        for path in paths {
            if heard.wanted.has(&path) && heard.changed.len() < NAMES {
                heard.changed.insert(path, stage);
                any = true;
            }
        }
        if any {
            let now = Instant::now();
            heard.first.get_or_insert(now);
            heard.last = Some(now);
            self.bell.notify_one();
        }
    }
}

fn stage(kind: EventKind) -> Option<Stage> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_)) => Some(Stage::Saved),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => {
            Some(Stage::Unfinished)
        }
        EventKind::Any | EventKind::Access(_) | EventKind::Other => None,
    }
}

/// Files that were changed.
pub struct Change {
    /// Their names.
    pub paths: Vec<PathBuf>,
    /// When the first was heard of.
    pub since: Instant,
}

/// The files that are watched.
pub struct Files {
    shared: Arc<Shared>,
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, Watched>,
}

/// How a folder is watched, and which one had the name then: one that was made anew is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watched {
    how: RecursiveMode,
    inode: (u64, u64),
}

impl Files {
    /// Watches nothing yet.
    pub fn new() -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let hears = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| hears.on(event));
        let watcher = watcher.map_err(|error| failure(&error))?;
        Ok(Self { shared, watcher, watched: BTreeMap::new() })
    }

    /// Watches these from now on. Folders are watched and not the files in them: most editors replace a file.
    pub fn watch(&mut self, mut wanted: Sources) -> Result<(), Failure> {
        wanted.resolve();
        let mut hows: BTreeMap<PathBuf, RecursiveMode> = BTreeMap::new();
        let parents = wanted.files.iter().filter_map(|file| file.parent()).map(Path::to_owned);
        let beside = wanted.beside.iter().cloned();
        hows.extend(parents.chain(beside).map(|folder| (folder, RecursiveMode::NonRecursive)));
        let trees = wanted.folders.iter().cloned();
        hows.extend(trees.map(|folder| (folder, RecursiveMode::Recursive)));
        let there = hows.into_iter().filter_map(|(folder, how)| {
            let meta = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
            Some((folder, Watched { how, inode: (meta.dev(), meta.ino()) }))
        });
        let folders: BTreeMap<PathBuf, Watched> = there.collect();
        self.shared.heard().wanted = wanted;
        for (folder, _) in self.watched.extract_if(.., |at, is| folders.get(at) != Some(is)) {
            // One that is gone is not watched any more.
            let _ = self.watcher.unwatch(&folder);
        }
        for (folder, watched) in folders {
            if !self.watched.contains_key(&folder) {
                self.watcher.watch(&folder, watched.how).map_err(|error| failure(&error))?;
                self.watched.insert(folder, watched);
            }
        }
        Ok(())
    }

    /// How many files and folders that is.
    pub fn count(&self) -> usize {
        let heard = self.shared.heard();
        heard.wanted.files.len() + heard.wanted.folders.len()
    }

    /// Waits until something has changed and has come to rest.
    pub async fn changed(&self) -> Change {
        loop {
            let due = {
                let heard = self.shared.heard();
                heard.last.map(|last| {
                    let open = heard.changed.values().any(|stage| *stage == Stage::Unfinished);
                    last + if open { UNFINISHED } else { SAVED }
                })
            };
            match due {
                None => self.shared.bell.notified().await,
                // What comes meanwhile may say that it is finished.
                Some(due) if due > Instant::now() => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = self.shared.bell.notified() => {}
                },
                Some(_) => {
                    let mut heard = self.shared.heard();
                    let paths = std::mem::take(&mut heard.changed).into_keys().collect();
                    heard.last = None;
                    let since = heard.first.take().unwrap_or_else(Instant::now);
                    return Change { paths, since };
                }
            }
        }
    }
}

fn failure(error: &notify::Error) -> Failure {
    let hint = "`sysctl fs.inotify` says how many folders may be watched; without `--watch` the flow runs once";
    Failure::new(Exit::Environment, format!("files can't be watched: {error}")).hint(hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use std::fs;

    use super::*;

    fn names(change: &Change) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        change.paths.iter().map(name).collect()
    }

    #[tokio::test]
    async fn what_is_named_is_heard_of_however_it_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "1").unwrap();
        fs::create_dir_all(at("tree/below")).unwrap();
        let mut files = Files::new().unwrap();
        let wanted = Sources {
            files: [at("a"), at("b")].into(),
            folders: [at("tree")].into(),
            beside: None,
        };
        files.watch(wanted).unwrap();
        assert_eq!(files.count(), 3);
        // In place.
        fs::write(at("other"), "x").unwrap();
        fs::write(at("a"), "2").unwrap();
        assert_eq!(names(&files.changed().await), ["a"]);
        // By another that takes its name, and one that comes into being.
        fs::write(at("a.new"), "3").unwrap();
        fs::rename(at("a.new"), at("a")).unwrap();
        fs::write(at("b"), "1").unwrap();
        assert_eq!(names(&files.changed().await), ["a", "b"]);
        fs::write(at("tree/below/c"), "1").unwrap();
        assert_eq!(names(&files.changed().await), ["c"]);
        fs::remove_file(at("b")).unwrap();
        assert_eq!(names(&files.changed().await), ["b"]);
        // Not any more.
        files.watch(Sources { files: [at("b")].into(), ..Sources::default() }).unwrap();
        fs::write(at("a"), "4").unwrap();
        fs::write(at("b"), "2").unwrap();
        assert_eq!(names(&files.changed().await), ["b"]);
    }

    #[tokio::test]
    async fn a_file_that_is_written_in_pieces_is_waited_for() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut files = Files::new().unwrap();
        files.watch(Sources { files: [path.clone()].into(), ..Sources::default() }).unwrap();
        let mut file = fs::File::create(&path).unwrap();
        for _ in 0..5 {
            file.write_all(b"piece").unwrap();
            let soon = tokio::time::timeout(Duration::from_millis(10), files.changed());
            assert!(soon.await.is_err());
        }
        drop(file);
        let before = Instant::now();
        let change = files.changed().await;
        assert_eq!(names(&change), ["a"]);
        assert!(change.since < before);
    }
}
