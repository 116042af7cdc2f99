//! A place for one test: its own home, store and project, in a folder that goes with the test.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Call, Ended, Run};

/// A project in a home of its own.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty project.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("polyloom-e2e-").unwrap();
        for name in ["home", "project", "executors"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// A project with this `polyloom.toml`.
    #[must_use]
    pub fn flow(text: &str) -> Self {
        let place = Self::new();
        place.write("polyloom.toml", text);
        place
    }

    /// A copy of an example of the repository, without what runs left there.
    #[must_use]
    pub fn example(name: &str) -> Self {
        let place = Self::new();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        copy(&from, &place.project());
        place
    }

    /// The project's folder.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// The folder of everything of this place: unique, so it also marks its processes.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Where the store is.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A folder given to every call as `--executor-dir` once there is something in it.
    #[must_use]
    pub fn executors(&self) -> PathBuf {
        self.folder.path().join("executors")
    }

    /// Writes a file of the project; its folders are made.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.project().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file of the project.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.project().join(path)).unwrap()
    }

    /// Replaces a text, which is there once, in a file of the project.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {path}:\n{text}");
        self.write(path, text.replace(from, to));
    }

    /// Adds an executor of this name with this manifest.
    pub fn executor(&self, id: &str, manifest: &str) {
        let folder = self.executors().join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("executor.toml"), manifest).unwrap();
    }

    /// A call of the binary, to be started.
    #[must_use]
    pub fn call(&self, args: &[&str]) -> Call {
        Call::new(self, &[], args)
    }

    /// A call of the binary by another program, which gets its path and arguments as its last ones.
    #[must_use]
    pub fn call_through(&self, through: &[&str], args: &[&str]) -> Call {
        Call::new(self, through, args)
    }

    /// Gives the whole place to another user.
    pub fn give_to(&self, uid: u32) {
        give(self.root(), uid);
    }

    /// A call of the binary to its end.
    #[must_use]
    pub fn polyloom(&self, args: &[&str]) -> Ended {
        self.call(args).end()
    }

    /// `polyloom run --format json ARGS`, whatever its exit code.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Run {
        let words: Vec<&str> = ["run", "--format", "json"].iter().chain(args).copied().collect();
        self.polyloom(&words).run()
    }

    /// Whether a process of this place is still there: the host, its spawner, a supervisor, a cell.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        crate::processes_with(self.root().to_str().unwrap())
    }
}

fn give(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_name() == ".polyloom" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
