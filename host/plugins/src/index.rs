//! Manifests as they were read last, by the stats of their files: a machine with hundreds of languages is not parsed at each start.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use polyloom_load::{Files, Problem, kernels_in, manifests_in, read_kernel, read_manifest};
use polyloom_model::Manifest;
use serde::{Deserialize, Deserializer, Serialize};

/// A larger one is not read.
const LARGEST: u64 = 256 << 20;
/// Fewer manifests are read as fast.
const WORTH: usize = 16;
/// The coarsest grain of the times of the file systems in use: who changed within it may change again without a trace.
const GRAIN: i64 = 2;

/// Device, inode, size, and the times of the last change of content and of inode, seconds and nanoseconds.
type Stat = (u64, u64, u64, i64, i64, i64, i64);

fn stat(meta: &Metadata) -> Stat {
    (
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    )
}

/// By the path as it is written: to hash it part by part takes longer than to read the manifest. Apart, since they go from hand to hand, and memory that is
/// touched for the first time is what this costs.
type Known = HashMap<OsString, (Stat, Shared)>;

#[derive(Deserialize)]
struct Written {
    /// What reads manifests in another way knows nothing of these.
    program: String,
    manifests: Vec<(Stat, Shared)>,
}

/// A manifest that is read into the place where it stays.
#[derive(Debug)]
struct Shared(Arc<Manifest>);

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Manifest::deserialize(from).map(|manifest| Self(Arc::new(manifest)))
    }
}

#[derive(Serialize)]
struct Writing<'m> {
    program: &'m str,
    manifests: Vec<(&'m Stat, &'m Manifest)>,
}

/// An index in a file that nobody else writes to. What is wrong with it makes it empty.
#[derive(Debug)]
pub struct Index {
    path: Option<PathBuf>,
    program: String,
    known: Option<Known>,
}

/// What is in folders.
#[derive(Debug)]
pub struct Found {
    /// The manifests that can be read.
    pub manifests: Vec<Arc<Manifest>>,
    /// Files that may be plugins of before; see [`crate::functions_of`].
    pub scripts: Vec<PathBuf>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
}

impl Index {
    /// An index in this file, if there is one; `program` stands for whatever reads manifests.
    #[must_use]
    pub fn new(path: Option<PathBuf>, program: &str) -> Self {
        Self { path, program: program.to_owned(), known: None }
    }

    /// Does what [`polyloom_load::discover`] does, and tells of scripts in the same look. A broken manifest is read each time.
    pub fn discover(&mut self, folders: &[PathBuf]) -> Found {
        let Files { manifests, scripts, mut problems } = manifests_in(folders);
        let manifests = self.recall(manifests, read_manifest, &mut problems);
        Found { manifests, scripts, problems }
    }

    /// The kernels of Jupyter in these folders; see [`read_kernel`].
    pub fn kernels(
        &mut self,
        folders: &[PathBuf],
        python: &[String],
    ) -> (Vec<Arc<Manifest>>, Vec<Problem>) {
        let (paths, mut problems) = kernels_in(folders);
        let manifests = self.recall(paths, |path| read_kernel(path, python), &mut problems);
        (manifests, problems)
    }

    fn recall(
        &mut self,
        paths: Vec<(PathBuf, Metadata)>,
        read: impl Fn(&Path) -> Result<Manifest, Vec<Problem>>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Arc<Manifest>> {
        if paths.len() >= WORTH && self.known.is_none() {
            self.known = Some(self.read());
        }
        let mut manifests = Vec::with_capacity(paths.len());
        let mut stats = Vec::with_capacity(paths.len());
        let mut fresh = false;
        for (path, meta) in paths {
            let stat = stat(&meta);
            // Each is asked for once.
            let known = self.known.as_mut().and_then(|known| known.remove(path.as_os_str()));
            if let Some((was, Shared(manifest))) = known
                && was == stat
            {
                manifests.push(manifest);
                stats.push(stat);
                continue;
            }
            match read(&path) {
                Ok(manifest) => {
                    manifests.push(Arc::new(manifest));
                    stats.push(stat);
                    fresh |= self.known.is_some();
                }
                Err(more) => problems.extend(more),
            }
        }
        if fresh {
            self.write(stats.iter().zip(manifests.iter().map(|manifest| &**manifest)));
        }
        manifests
    }

    fn read(&self) -> Known {
        let read = || {
            let file = File::open(self.path.as_ref()?).ok()?;
            let meta = file.metadata().ok()?;
            // It says what is executed.
            let own = meta.uid() == rustix::process::geteuid().as_raw();
            if !meta.is_file() || !own || meta.mode() & 0o022 != 0 || meta.len() > LARGEST {
                return None;
            }
            let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()? + 1);
            file.take(LARGEST).read_to_end(&mut bytes).ok()?;
            rmp_serde::from_slice::<Written>(&bytes).ok()
        };
        let written = read().filter(|written| written.program == self.program);
        let manifests = written.map(|written| written.manifests).unwrap_or_default();
        let by_path = manifests.into_iter().filter_map(|(stat, manifest)| {
            let path = manifest.0.path.clone()?.into_os_string();
            Some((path, (stat, manifest)))
        });
        by_path.collect()
    }

    /// Best effort: without it, all is read again.
    fn write<'m>(&'m self, read: impl Iterator<Item = (&'m Stat, &'m Manifest)>) {
        let Some(path) = &self.path else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let settled = |stat: &Stat| stat.3.max(stat.5) + GRAIN < now;
        let read: Vec<_> = read.collect();
        // Those of other folders are kept as long as they are there, also where this index was asked for them before.
        let mut others = self.read();
        for (_, manifest) in &read {
            manifest.path.as_ref().map(|path| others.remove(path.as_os_str()));
        }
        others.retain(|path, _| Path::new(path).exists());
        let others = others.values().map(|(stat, Shared(manifest))| (stat, &**manifest));
        let read = read.into_iter().filter(|(stat, _)| settled(stat));
        let manifests: Vec<_> = read.chain(others).collect();
        let written = Writing { program: &self.program, manifests };
        let Some(folder) = path.parent().filter(|folder| folder.is_dir()) else { return };
        let Ok(bytes) = rmp_serde::to_vec(&written) else { return };
        let file = tempfile::NamedTempFile::new_in(folder);
        let done = file.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.persist(path).map_err(|error| error.error)
        });
        if done.is_err() {
            let _ = fs::remove_file(path);
        }
    }
}
