//! What a person installed: a copy of each plugin, named by its digest, and a list that says which are enabled.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polyloom_load::{Problem, Report, parse_manifest};
use polyloom_model::{Calls, Digest, ExecutorId, Kind, Manifest};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::offers::Offer;
use crate::python::{Made, Package};
use crate::tree::{self, Copied, Limits, TreeError, open_file, regular};

const SCHEMA: &str = "polyloom.installed/1";
const LIST: &str = "installed.json";
const LOCK: &str = "lock";
const USE: &str = "use";
const COPIES: &str = "copies";
const ENVIRONMENTS: &str = "environments";
const MANIFEST: &str = "executor.toml";
const CASES: &str = "conformance.toml";
const LARGEST: u64 = 16 << 20;

/// Where a plugin came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "place")]
pub enum Source {
    /// A folder.
    Folder(PathBuf),
    /// A `.tar` or `.tar.gz`.
    Archive(PathBuf),
    /// A Python package.
    Package(Package),
    /// A Python package that was made for this, in an environment of its own.
    Built {
        /// The package.
        package: Package,
        /// As `plugin install` takes it: a folder, or `pip:NAME`.
        from: String,
    },
    /// A file with a function `_exec`.
    Function(PathBuf),
    /// What another tool fetches or builds, as `plugin install` takes it: `npm:NAME`, `crate:NAME`, `git+FOLDER@REVISION`.
    Fetched(String),
}

impl Source {
    /// The Python package, where it is one.
    #[must_use]
    pub fn package(&self) -> Option<&Package> {
        match self {
            Self::Package(package) | Self::Built { package, .. } => Some(package),
            Self::Folder(_) | Self::Archive(_) | Self::Function(_) | Self::Fetched(_) => None,
        }
    }

    /// The folder that it is built of by another tool: a Python project, a crate.
    #[must_use]
    pub fn project(&self) -> Option<&Path> {
        let folder = match self {
            Self::Built { from, .. } => Path::new(from),
            Self::Fetched(from) => Path::new(from.strip_prefix("crate:")?),
            Self::Folder(_) | Self::Archive(_) | Self::Function(_) | Self::Package(_) => {
                return None;
            }
        };
        folder.is_absolute().then_some(folder)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) | Self::Archive(path) | Self::Function(path) => {
                path.display().fmt(f)
            }
            Self::Package(package) => package.fmt(f),
            Self::Built { package, from } => write!(f, "{from} ({package})"),
            Self::Fetched(from) => from.fmt(f),
        }
    }
}

/// An installed plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The executor's id.
    pub id: ExecutorId,
    /// Its version, as its manifest says.
    pub version: String,
    /// For people.
    pub title: String,
    /// The digest of its files: what was agreed to.
    pub digest: Digest,
    /// Where they came from.
    pub source: Source,
    /// The digest of the folder that it was built of, where it was and that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_of: Option<Digest>,
    /// Whether it may run.
    pub enabled: bool,
    /// What its manifest asked for when it was agreed to.
    pub asks: Vec<String>,
    /// When, milliseconds since 1970.
    pub installed_unix_ms: u64,
}

impl Plugin {
    /// What `plugin install` takes to install it once more.
    #[must_use]
    pub fn again(&self) -> String {
        match &self.source {
            Source::Folder(path) | Source::Archive(path) => path.display().to_string(),
            Source::Function(path) => path.parent().unwrap_or(path).display().to_string(),
            Source::Package(_) => self.id.to_string(),
            Source::Built { from, .. } | Source::Fetched(from) => from.clone(),
        }
    }

    /// The Python package that it is of.
    #[must_use]
    pub fn package(&self) -> Option<&Package> {
        self.source.package()
    }

    /// What helps when the environment that its package was installed in is gone.
    fn without_environment(&self) -> String {
        let make = match self.source {
            Source::Built { .. } => "",
            _ => "make it anew and ",
        };
        let (again, id) = (self.again(), &self.id);
        format!(
            "the environment of its package is gone: {make}`polyloom plugin install {again}`, or `polyloom plugin remove {id}`"
        )
    }
}

/// Why plugins can't be used or changed.
#[derive(Debug, Error)]
pub enum InstalledError {
    /// The system's word.
    #[error("can't {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The list is not ours.
    #[error("`{}` can't be understood: {why}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Somebody else could put programs there.
    #[error("`{}` {why}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// How.
        why: &'static str,
    },
    /// The folder of a plugin.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It has no manifest, or one that is wrong.
    #[error("{} `{}`", if problems.is_empty() { "there is no" } else { "nothing was installed: see above what is wrong in" }, path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// No plugin of that id.
    #[error("no plugin `{0}` is installed")]
    Unknown(String),
    /// A copy is not there.
    #[error("the copy of plugin `{id}` is not there any more")]
    Gone {
        /// The plugin.
        id: ExecutorId,
        /// What `plugin install` takes to make it again.
        again: String,
    },
    /// A copy is not what was agreed to.
    #[error("the copy of plugin `{id}` was changed: it has the digest {found}, not {digest}")]
    Changed {
        /// The plugin.
        id: ExecutorId,
        /// What was agreed to.
        digest: Digest,
        /// What is there.
        found: Digest,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> InstalledError {
    let path = path.to_owned();
    move |source| InstalledError::Io { action, path: path.clone(), source }
}

#[derive(Serialize, Deserialize)]
struct List {
    schema: String,
    plugins: Vec<Plugin>,
}

/// The plugins of a person; by default, none.
#[derive(Debug, Default)]
pub struct Installed {
    folder: PathBuf,
    plugins: Vec<Plugin>,
    /// Held as long as copies may be run from here: they stay until nobody holds it.
    in_use: OnceLock<Option<File>>,
}

/// A plugin that was copied and is not installed yet. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    /// Held as long as this lives, so that nobody sweeps it; nothing where the system holds no folders, and then nobody sweeps.
    _held: Option<File>,
    /// What was copied.
    pub copied: Copied,
    /// The manifest in it.
    pub manifest: Manifest,
}

impl Staged {
    /// Where the copy is until it is installed.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        discard(&self.folder);
    }
}

impl Installed {
    /// Reads the list in a folder; where there is none, nothing is installed.
    pub fn open(folder: &Path) -> Result<Self, InstalledError> {
        let mut installed =
            Self { folder: folder.to_owned(), plugins: Vec::new(), in_use: OnceLock::new() };
        installed.read()?;
        Ok(installed)
    }

    /// Keeps what is installed now in place as long as this lives, whatever is installed or removed meanwhile. Of a folder that can't be
    /// written to nothing goes anyway.
    pub fn hold(&self) {
        self.in_use.get_or_init(|| {
            let file = lock_file(&self.folder.join(USE)).ok()?;
            file.lock_shared().ok()?;
            Some(file)
        });
    }

    fn read(&mut self) -> Result<(), InstalledError> {
        let path = self.folder.join(LIST);
        let mut text = String::new();
        match open_own(&path) {
            Ok(file) => {
                self.is_private()?;
                file.take(LARGEST).read_to_string(&mut text).map_err(io_error("read", &path))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.plugins.clear();
                return Ok(());
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        }
        let wrong = |why: String| InstalledError::List { path: path.clone(), why };
        let list: List = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if list.schema != SCHEMA {
            return Err(wrong(format!("it is {:?}, this program reads {SCHEMA}", list.schema)));
        }
        self.plugins = list.plugins;
        Ok(())
    }

    /// What others could change is no proof of anybody's consent.
    fn is_private(&self) -> Result<(), InstalledError> {
        // Not joined with nothing: a path that ends in `/` is what a link leads to.
        let below = [COPIES, ENVIRONMENTS].map(|name| self.folder.join(name));
        for path in std::iter::once(self.folder.clone()).chain(below) {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let own = meta.uid() == rustix::process::geteuid().as_raw();
            if !meta.is_dir() {
                let why =
                    "is no folder, or a link to one; what is installed is in a folder of its own";
                return Err(InstalledError::Open { path, why });
            }
            if !own || meta.mode() & 0o022 != 0 {
                let why = "can be changed by others than you; `chmod go-w` it";
                return Err(InstalledError::Open { path, why });
            }
        }
        Ok(())
    }

    /// The plugins, by id.
    #[must_use]
    pub fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.id.as_str() == id)
    }

    /// A folder for an environment that a plugin is to have for its own. It stays as long as a plugin is in it, or this lives.
    pub fn fresh_environment(&self, stem: &str) -> Result<PathBuf, InstalledError> {
        let all = self.folder.join(ENVIRONMENTS);
        make(&self.folder)?;
        make(&all)?;
        self.is_private()?;
        self.hold();
        // Its path is in the plugin's manifest: one that is installed anew where it was is the same.
        let folder = fresh(&all, stem)?;
        let readable = Permissions::from_mode(0o755);
        fs::set_permissions(&folder, readable).map_err(io_error("make", &folder))?;
        Ok(folder)
    }

    /// Whether a program is in such a folder.
    #[must_use]
    pub fn is_own(&self, program: &Path) -> bool {
        program.starts_with(self.folder.join(ENVIRONMENTS))
    }

    /// Removes what no plugin has any more.
    pub fn sweep_up(&mut self) -> Result<(), InstalledError> {
        self.change(|_| Ok(()))
    }

    /// The folder that is executed.
    #[must_use]
    pub fn copy(&self, plugin: &Plugin) -> PathBuf {
        self.folder.join(COPIES).join(plugin.digest.hex())
    }

    /// The manifest of a plugin, of its copy.
    pub fn manifest(&self, plugin: &Plugin) -> Result<Manifest, InstalledError> {
        let copy = self.there(plugin)?;
        let mut manifest = manifest(&copy, &copy.join(MANIFEST))?;
        if let Some(package) = plugin.package() {
            package.settle(&mut manifest, Some(&plugin.without_environment()));
        }
        Ok(manifest)
    }

    /// The folder that is executed, if it is there.
    fn there(&self, plugin: &Plugin) -> Result<PathBuf, InstalledError> {
        let copy = self.copy(plugin);
        match fs::symlink_metadata(&copy) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(InstalledError::Gone { id: plugin.id.clone(), again: plugin.again() })
            }
            Ok(_) | Err(_) => Ok(copy),
        }
    }

    /// Whether the copy of a plugin is still what was agreed to.
    pub fn verify(&self, plugin: &Plugin) -> Result<(), InstalledError> {
        let found = tree::digest_of_copy(&self.there(plugin)?, Limits::default())?;
        if found == plugin.digest {
            return Ok(());
        }
        Err(InstalledError::Changed { id: plugin.id.clone(), digest: plugin.digest, found })
    }

    /// Copies a folder that has an `executor.toml`. What is looked at from now on is the copy.
    pub fn stage(&self, from: &Path) -> Result<Staged, InstalledError> {
        self.stage_as(from, from)
    }

    /// The same of a folder that, in what is wrong with it, goes by the name `shown`.
    pub fn stage_as(&self, from: &Path, shown: &Path) -> Result<Staged, InstalledError> {
        let path = shown.join(MANIFEST);
        if !from.join(MANIFEST).is_file() {
            return Err(InstalledError::Manifest { path, problems: Vec::new() });
        }
        make(&self.folder)?;
        make(&self.folder.join(COPIES))?;
        self.is_private()?;
        let stem = format!("{STAGED}{}", std::process::id());
        let (folder, held) = {
            // Nobody sweeps between the two.
            let _alone = self.alone()?;
            let folder = fresh(&self.folder.join(COPIES), &stem)?;
            let held = hold_staged(&folder).ok();
            (folder, held)
        };
        let made = tree::copy(from, shown, &folder, Limits::default())
            .map_err(InstalledError::from)
            .and_then(|copied| Ok((copied, manifest(&folder, &path)?)))
            .and_then(|made| {
                let readable = Permissions::from_mode(0o755);
                fs::set_permissions(&folder, readable).map_err(io_error("make", &folder))?;
                Ok(made)
            });
        match made {
            Ok((copied, manifest)) => Ok(Staged { folder, _held: held, copied, manifest }),
            Err(error) => {
                discard(&folder);
                Err(error)
            }
        }
    }

    /// Copies what is offered, with the manifest that was made for it if it came without.
    pub fn stage_offer(&self, offer: &Offer) -> Result<Staged, InstalledError> {
        let mut staged = match &offer.made {
            None => self.stage(&offer.folder)?,
            Some(made) => {
                let folder = tempfile::tempdir();
                let folder = folder.map_err(io_error("make a folder for", &offer.folder))?;
                gather(made, folder.path())?;
                self.stage(folder.path())?
            }
        };
        if let Some(package) = &offer.package {
            package.settle(&mut staged.manifest, None);
        }
        Ok(staged)
    }

    /// Installs what was staged in place of whatever has its id, and enables it.
    pub fn install(
        &mut self,
        staged: Staged,
        source: Source,
        unix_ms: u64,
    ) -> Result<Plugin, InstalledError> {
        let plugin = Plugin {
            id: staged.manifest.id.clone(),
            version: staged.manifest.version.clone(),
            title: staged.manifest.title.clone(),
            digest: staged.copied.digest,
            built_of: source.project().and_then(|folder| tree::digest_of_sources(folder).ok()),
            source,
            enabled: true,
            asks: asks(&staged.manifest),
            installed_unix_ms: unix_ms,
        };
        let copy = self.copy(&plugin);
        self.change(|plugins| {
            // One that is damaged makes way.
            if copy.exists() {
                let same = tree::digest_of_copy(&copy, Limits::default());
                if same.is_ok_and(|found| found == plugin.digest) {
                    plugins.retain(|other| other.id != plugin.id);
                    plugins.push(plugin.clone());
                    return Ok(());
                }
                discard(&copy);
            }
            fs::rename(&staged.folder, &copy).map_err(io_error("make", &copy))?;
            plugins.retain(|other| other.id != plugin.id);
            plugins.push(plugin.clone());
            Ok(())
        })?;
        Ok(plugin)
    }

    /// Lets a plugin run, or not.
    pub fn enable(&mut self, id: &str, enabled: bool) -> Result<(), InstalledError> {
        self.change(|plugins| {
            let plugin = plugins.iter_mut().find(|plugin| plugin.id.as_str() == id);
            let plugin = plugin.ok_or_else(|| InstalledError::Unknown(id.to_owned()))?;
            plugin.enabled = enabled;
            Ok(())
        })
    }

    /// Removes a plugin and its copy.
    pub fn remove(&mut self, id: &str) -> Result<(), InstalledError> {
        self.change(|plugins| {
            let before = plugins.len();
            plugins.retain(|plugin| plugin.id.as_str() != id);
            match plugins.len() < before {
                true => Ok(()),
                false => Err(InstalledError::Unknown(id.to_owned())),
            }
        })
    }

    /// Changes the list as it is now, alone, and removes copies that no plugin has any more.
    fn change(
        &mut self,
        body: impl FnOnce(&mut Vec<Plugin>) -> Result<(), InstalledError>,
    ) -> Result<(), InstalledError> {
        make(&self.folder)?;
        let _alone = self.alone()?;
        self.read()?;
        let mut plugins = self.plugins.clone();
        body(&mut plugins)?;
        plugins.sort_by(|a, b| a.id.cmp(&b.id));
        let list = List { schema: SCHEMA.to_owned(), plugins };
        let path = self.folder.join(LIST);
        // A path that is no text has no form in it.
        let text = serde_json::to_string_pretty(&list)
            .map_err(|error| io_error("write", &path)(error.into()))?;
        let mut written = self.write(&text);
        // One that may not run any more is less, too.
        let as_before = |plugin: &Plugin| {
            let enabled = Plugin { enabled: true, ..plugin.clone() };
            self.plugins.contains(plugin) || self.plugins.contains(&enabled)
        };
        let fewer = list.plugins.iter().all(as_before);
        if fewer && matches!(&written, Err(error) if is_full(error)) {
            // Removing is what makes room: copies go first, then there is place for the list, which is shorter than it was.
            self.sweep(&list.plugins);
            written = self.write(&text);
            if matches!(&written, Err(error) if is_full(error)) {
                written = overwrite(&path, &text);
            }
        }
        written.map_err(io_error("write", &path))?;
        self.plugins = list.plugins;
        self.sweep(&self.plugins);
        Ok(())
    }

    /// Puts a list in place of the one that is there, whole or not at all.
    fn write(&self, text: &str) -> io::Result<()> {
        let (path, new) = (self.folder.join(LIST), self.folder.join(format!("{LIST}.new")));
        let _ = fs::remove_file(&new);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let written = file.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Nobody else changes anything as long as this is held.
    fn alone(&self) -> Result<File, InstalledError> {
        let path = self.folder.join(LOCK);
        let lock = lock_file(&path).and_then(|lock| lock.lock().map(|()| lock));
        lock.map_err(io_error("lock", &path))
    }

    /// Removes the copies and environments that none of these has, unless somebody runs from here.
    fn sweep(&self, plugins: &[Plugin]) {
        // Held until the end: who begins to run waits.
        let held = match lock_file(&self.folder.join(USE)) {
            Ok(file) => file.try_lock().is_ok().then_some(Some(file)),
            // What can't be made is not there, and nobody holds it.
            Err(error) => is_full(&error).then_some(None),
        };
        if held.is_none() {
            return;
        }
        let copies = fs::read_dir(self.folder.join(COPIES)).into_iter().flatten().flatten();
        for copy in copies {
            let name = copy.file_name();
            let name = name.to_string_lossy();
            let used = match name.starts_with(STAGED) {
                // Somebody's who is at it, or was ended there.
                true => hold_staged(&copy.path()).is_err(),
                false => plugins.iter().any(|plugin| plugin.digest.hex() == name),
            };
            if !used {
                discard(&copy.path());
            }
        }
        let environments = fs::read_dir(self.folder.join(ENVIRONMENTS)).into_iter().flatten();
        for environment in environments.flatten().map(|entry| entry.path()) {
            let mut packages = plugins.iter().filter_map(Plugin::package);
            if !packages.any(|package| package.interpreter.starts_with(&environment)) {
                discard(&environment);
            }
        }
    }
}

/// The digest that a copy of what is offered would have.
pub fn offered_digest(offer: &Offer) -> Result<Digest, InstalledError> {
    let Some(made) = &offer.made else {
        return Ok(tree::digest(&offer.folder, Limits::default())?);
    };
    let folder = tempfile::tempdir().map_err(io_error("make a folder for", &offer.folder))?;
    gather(made, folder.path())?;
    Ok(tree::digest(folder.path(), Limits::default())?)
}

/// Brings the files of a plugin that came without a manifest together with the one that was made.
fn gather(made: &Made, to: &Path) -> Result<(), InstalledError> {
    tree::copy_part(&made.from, made.part.as_deref(), to, Limits::default())?;
    // The cases of `plugin test` lie beside the manifest, wherever that was.
    if let Some(part) = &made.part
        && to.join(part).join(CASES).is_file()
    {
        let path = to.join(CASES);
        fs::copy(to.join(part).join(CASES), &path).map_err(io_error("write", &path))?;
    }
    let path = to.join(MANIFEST);
    fs::write(&path, &made.text).map_err(io_error("write", &path))?;
    fs::set_permissions(&path, Permissions::from_mode(0o444)).map_err(io_error("write", &path))
}

const STAGED: &str = ".staged-";

/// Holds a folder that is being filled, unless somebody does. The kernel lets go of it with the process, however that ends.
fn hold_staged(folder: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    let held = options.open(folder)?;
    held.try_lock()?;
    Ok(held)
}

fn lock_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    regular(options.open(path)?)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes a shorter text over a file where there is no room for another one. Spaces take the place of what is left over in one write; they are
/// cut off afterwards.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = regular(OpenOptions::new().write(true).custom_flags(flags).open(path)?)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if text.len() > length {
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_all_at(format!("{text:length$}").as_bytes(), 0)?;
    file.sync_all()?;
    file.set_len(text.len() as u64)
}

fn open_own(path: &Path) -> io::Result<File> {
    open_file(path, OFlags::NOFOLLOW)
}

fn make(folder: &Path) -> Result<(), InstalledError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io_error("make the folder", folder))
}

fn fresh(all: &Path, stem: &str) -> Result<PathBuf, InstalledError> {
    for n in 0..1000 {
        let folder = all.join(format!("{stem}-{n}"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("make the folder", &folder)(error)),
        }
    }
    let full = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(io_error("make a folder in", all)(full))
}

/// Removes a folder, best effort: what is left is swept next time.
fn discard(folder: &Path) {
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        let _ = fs::set_permissions(&at, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&at).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|entry| entry.path()));
    }
    let _ = fs::remove_dir_all(folder);
}

/// Reads the manifest in a folder; in what is wrong with it, it goes by the name `shown`.
fn manifest(folder: &Path, shown: &Path) -> Result<Manifest, InstalledError> {
    let path = folder.join(MANIFEST);
    let read = open_own(&path).and_then(|file| {
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map(|_| text)
    });
    let text = read.map_err(io_error("read", &path))?;
    let source: Arc<polyloom_load::Source> =
        polyloom_load::Source::new(shown.display().to_string(), text.as_str());
    let (manifest, report): (_, Report) = parse_manifest(&source, Some(&path));
    let wrong = InstalledError::Manifest { path: shown.to_owned(), problems: report.problems };
    manifest.ok_or(wrong)
}

/// What a manifest asks for, in a line each: what is not there yet when it changes has to be agreed to anew.
#[must_use]
pub fn asks(manifest: &Manifest) -> Vec<String> {
    let mut asks: Vec<String> = Vec::new();
    if !manifest.aliases.is_empty() {
        let aliases: Vec<&str> = manifest.aliases.iter().map(ExecutorId::as_str).collect();
        asks.push(format!("is also called {}", aliases.join(", ")));
    }
    if !manifest.extensions.is_empty() {
        let extensions = manifest.extensions.iter().map(|it| format!(".{it}"));
        asks.push(format!("takes files {}", extensions.collect::<Vec<_>>().join(" ")));
    }
    for tool in manifest.tools.values() {
        asks.push(format!("runs the program {}", tool.any.join(" or ")));
    }
    let files = argvs(manifest).filter_map(|item| item.strip_prefix("{dir}/"));
    asks.extend(files.map(|file| format!("runs its own file {file}")));
    match &manifest.kind {
        Kind::Command(command) => {
            if let Some(component) = &command.component {
                asks.push(format!("has its code in WebAssembly, {component}"));
            } else if manifest.calls != Calls::Ordinary {
                asks.push("has other system calls than ordinary programs".to_owned());
            }
        }
        Kind::Worker(worker) => {
            asks.push(match &worker.library {
                Some(library) => format!("has its machine code in {library}"),
                None => "is a process that speaks the protocol".to_owned(),
            });
            asks.extend(worker.features.iter().map(|it| format!("has the ability {it}")));
            if manifest.calls != Calls::Ordinary {
                asks.push("has other system calls than ordinary programs".to_owned());
            }
        }
    }
    asks.sort();
    asks.dedup();
    asks
}

/// The argvs in which a manifest names files of its folder; the library and the component are known as such.
fn argvs(manifest: &Manifest) -> impl Iterator<Item = &String> {
    let all: Vec<&Vec<String>> = match &manifest.kind {
        Kind::Command(command) if command.component.is_none() => {
            let head = command.head.as_ref().map(|head| &head.argv);
            command.compile.iter().chain(head).chain([&command.run]).chain(&command.ahead).collect()
        }
        Kind::Worker(worker) if worker.library.is_none() => vec![&worker.argv],
        Kind::Command(_) | Kind::Worker(_) => Vec::new(),
    };
    all.into_iter().flatten()
}
