//! Hears that files were changed. What is in them is read by whoever needs it: a name that is heard of here is never opened here.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use polyloom_runtime::{Inode, Sources};
use tokio::sync::Notify;

use super::names::Names;
use crate::failure::{Exit, Failure};

/// Files that were written and closed are taken as they are after so much quiet: many are often saved at once.
const SAVED: Duration = Duration::from_millis(5);
/// A file that is being written, or that is gone and may come back, is waited for so long.
const UNFINISHED: Duration = Duration::from_millis(50);
/// What is being installed comes in many files, of which not all are heard of.
const INSTALLED: Duration = Duration::from_secs(1);
/// More names of one change are not kept.
const NAMES: usize = 1000;

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Saved,
    Unfinished,
    Installing,
}

impl Stage {
    fn rests(self) -> Duration {
        match self {
            Self::Saved => SAVED,
            Self::Unfinished => UNFINISHED,
            Self::Installing => INSTALLED,
        }
    }
}

/// What was heard of a name.
#[derive(Debug, Clone, Copy)]
struct Seen {
    stage: Stage,
    /// At first it came to be: there was nothing under it before.
    new: bool,
}

/// What the watcher's thread and the waiting side share.
#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    bell: Notify,
    /// Files that the one who watches writes itself.
    own: Vec<Inode>,
}

#[derive(Default)]
struct Heard {
    names: Arc<Names>,
    /// Names that came, went or are others' now: whatever was watched by way of them is to be watched anew.
    moved: BTreeSet<PathBuf>,
    changed: BTreeMap<PathBuf, Seen>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Heard {
    /// The names of a change. Those of files that editors write to first are not among them.
    fn take(&mut self) -> Vec<PathBuf> {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        let mut changed = std::mem::take(&mut self.changed);
        // It came and went meanwhile.
        changed.retain(|path, seen| !seen.new || is_there(path));
        // It may have been a folder or not: where there is something else, that says more.
        let is_clear = |path: &PathBuf| is_there(path) || self.names.names(path);
        let (clear, gone): (Vec<_>, Vec<_>) = changed.into_keys().partition(is_clear);
        if clear.is_empty() { gone } else { clear }
    }
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on(&self, event: notify::Result<notify::Event>) {
        let mut heard = self.heard();
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            // Where some were lost, anything may have changed.
            Ok(_) | Err(_) => {
                heard.moved.insert("/".into());
                let some = heard.names.sources().files.first().cloned().unwrap_or_default();
                return self.note(&mut heard, some, Seen { stage: Stage::Saved, new: false });
            }
        };
        let Some(stage) = stage(event.kind) else { return };
        let renames = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        for path in event.paths {
            let leads = renames && heard.names.leads(&path);
            // By what it says of a change, a watch would hear of another.
            let is_other = || renames || !self.writes(&path);
            if leads || (heard.names.has(&path) && is_other()) {
                if renames {
                    heard.moved.insert(path.clone());
                }
                let new = matches!(event.kind, EventKind::Create(_));
                let stage = match heard.names.sources().installs(&path) {
                    true => Stage::Installing,
                    false => stage,
                };
                self.note(&mut heard, path, Seen { stage, new });
            }
        }
    }

    /// Whether the file of this name is one of its own.
    fn writes(&self, path: &Path) -> bool {
        let inode = path.metadata().map(|meta| (meta.dev(), meta.ino()));
        inode.is_ok_and(|inode| self.own.contains(&inode))
    }

    fn note(&self, heard: &mut Heard, path: PathBuf, seen: Seen) {
        if let Some(before) = heard.changed.get_mut(&path) {
            before.stage = seen.stage;
        } else if heard.changed.len() < NAMES {
            heard.changed.insert(path, seen);
        }
        let now = Instant::now();
        heard.first.get_or_insert(now);
        heard.last = Some(now);
        self.bell.notify_one();
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

impl Change {
    /// The same with what an earlier one had.
    pub fn with(mut self, earlier: Option<Self>) -> Self {
        if let Some(earlier) = earlier {
            self.paths.extend(earlier.paths);
            self.paths.sort();
            self.paths.dedup();
            self.since = self.since.min(earlier.since);
        }
        self
    }
}

/// The files that are watched.
pub struct Files {
    shared: Arc<Shared>,
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, Watched>,
    here: PathBuf,
}

/// How a folder is watched, and which one had the name then: one that was made anew is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watched {
    how: RecursiveMode,
    inode: Inode,
}

impl Files {
    /// Watches nothing yet. Relative names are relative to `here`. What is written to the files `own` is no change.
    pub fn new(here: PathBuf, own: Vec<Inode>) -> Result<Self, Failure> {
        let shared = Arc::new(Shared { own, ..Shared::default() });
        let hears = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| hears.on(event));
        let watcher = watcher.map_err(|error| failure(&error))?;
        Ok(Self { shared, watcher, watched: BTreeMap::new(), here })
    }

    /// Watches these from now on. Folders are watched and not the files in them: most editors replace a file. So are the folders above, for the names of
    /// those below. True if something is watched that was not: what was read of it before may have changed since.
    pub fn watch(&mut self, wanted: &Sources) -> Result<bool, Failure> {
        let names = Arc::new(Names::of(wanted, &self.here));
        let moved = {
            // First of all: what happens from now on is heard of by these names.
            let mut heard = self.shared.heard();
            heard.names = Arc::clone(&names);
            heard.changed.retain(|path, _| names.has(path) || names.leads(path));
            if heard.changed.is_empty() {
                (heard.first, heard.last) = (None, None);
            }
            std::mem::take(&mut heard.moved)
        };
        let (files, trees) = (&names.sources().files, &names.sources().folders);
        // One watch for each folder: what is in a tree is watched with it.
        let inside = |path: &Path| path.ancestors().skip(1).any(|above| trees.contains(above));
        let needed: BTreeSet<&Path> = files
            .iter()
            .filter_map(|file| file.parent())
            .chain(trees.iter().map(PathBuf::as_path))
            .collect();
        let all: BTreeSet<&Path> = names
            .folders()
            .into_iter()
            .chain(needed.iter().copied())
            .chain(names.sources().beside.as_deref())
            .chain(names.sources().installed.iter().map(PathBuf::as_path))
            .collect();
        let there = all.iter().filter(|folder| !inside(folder)).filter_map(|folder| {
            let meta = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
            let how = match trees.contains(*folder) {
                true => RecursiveMode::Recursive,
                false => RecursiveMode::NonRecursive,
            };
            Some(((*folder).to_owned(), Watched { how, inode: (meta.dev(), meta.ino()) }))
        });
        let folders: BTreeMap<PathBuf, Watched> = there.collect();
        // An inode's number may be that of a folder that is gone; a link in a tree may lead elsewhere.
        let another = |at: &Path, is: &Watched| {
            moved.iter().any(|moved| {
                at.starts_with(moved)
                    || (is.how == RecursiveMode::Recursive
                        && moved.starts_with(at)
                        && moved.is_symlink())
            })
        };
        let gone = |at: &PathBuf, is: &mut Watched| folders.get(at) != Some(is) || another(at, is);
        for (folder, _) in self.watched.extract_if(.., gone) {
            // One that is gone is not watched any more.
            let _ = self.watcher.unwatch(&folder);
        }
        let mut more = false;
        for (folder, watched) in &folders {
            if self.watched.contains_key(folder) {
                continue;
            }
            match self.watcher.watch(folder, watched.how) {
                Ok(()) => {
                    self.watched.insert(folder.clone(), *watched);
                    more = true;
                }
                // It has gone meanwhile, or may not be read: what is in it is missed by nobody, or may not be renamed by us.
                Err(error) if !needed.contains(&**folder) || !folder.is_dir() => {
                    tracing::debug!(%error, folder = %folder.display(), "a folder is not watched");
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        Ok(more)
    }

    /// Whether a name is that of a watched file, or below a watched folder.
    pub fn has(&self, path: &Path) -> bool {
        self.shared.heard().names.has(path)
    }

    /// How many files and folders there are of these.
    pub fn count(&self) -> usize {
        let names = Arc::clone(&self.shared.heard().names);
        let Sources { files, folders, .. } = names.sources();
        files.iter().chain(folders).filter(|path| path.exists()).count()
    }

    /// Waits until something has changed and has come to rest.
    pub async fn changed(&self) -> Change {
        loop {
            let due = {
                let heard = self.shared.heard();
                heard.last.map(|last| {
                    let stages = heard.changed.values().map(|seen| seen.stage);
                    last + stages.max().unwrap_or(Stage::Saved).rests()
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
                    heard.last = None;
                    let since = heard.first.take().unwrap_or_else(Instant::now);
                    let paths = heard.take();
                    if !paths.is_empty() {
                        return Change { paths, since };
                    }
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
        for folder in ["tree/below", "tree/own", "in"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let mut files = Files::new(PathBuf::from("/"), Vec::new()).unwrap();
        let wanted = Sources {
            files: [at("a"), at("b"), at("tree")].into(),
            folders: [at("tree"), at("in")].into(),
            globs: [(folder.path().to_owned(), "in/**/*.csv".into())].into(),
            apart: [at("tree/own")].into(),
            ..Sources::default()
        };
        assert!(files.watch(&wanted).unwrap());
        assert!(!files.watch(&wanted).unwrap());
        assert_eq!(files.count(), 4);
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
        // Only what a pattern matches, and folders that may hold some; nothing of what is kept apart.
        fs::write(at("tree/own/x"), "1").unwrap();
        fs::write(at("in/x.txt"), "1").unwrap();
        fs::write(at("in/x.csv"), "1").unwrap();
        assert_eq!(names(&files.changed().await), ["x.csv"]);
        fs::create_dir_all(at("away/deep")).unwrap();
        fs::write(at("away/deep/y.csv"), "1").unwrap();
        fs::rename(at("away"), at("in/back")).unwrap();
        assert_eq!(names(&files.changed().await), ["back"]);
        // What an editor writes first and gives the name of a file then.
        fs::write(at("tree/sedXYZ"), "2").unwrap();
        fs::rename(at("tree/sedXYZ"), at("tree/below/c")).unwrap();
        assert_eq!(names(&files.changed().await), ["c"]);
        // Not any more.
        files.watch(&Sources { files: [at("b")].into(), ..Sources::default() }).unwrap();
        fs::write(at("a"), "4").unwrap();
        fs::write(at("b"), "2").unwrap();
        assert_eq!(names(&files.changed().await), ["b"]);
    }

    #[tokio::test]
    async fn a_file_that_is_written_in_pieces_is_waited_for() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut files = Files::new(PathBuf::from("/"), Vec::new()).unwrap();
        files.watch(&Sources { files: [path.clone()].into(), ..Sources::default() }).unwrap();
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
