//! What Python packages offer, read from what was installed with them. Neither Python nor anything of a package is run.
//!
//! A package offers an executor by an entry point of the group `polyloom.executors`: `NAME = pkg:executor.toml` is a manifest in the folder of
//! `pkg`, `NAME = pkg.module:object` an executor written with `polyloom_sdk`, for which the manifest is made here. The group
//! `fabric_nodes.executors` has functions `_exec(code, g)` of before.

mod entries;
mod files;
mod made;
mod sites;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use polyloom_load::{Code, Problem, parse_manifest};
use polyloom_model::{ExecutorId, Manifest, Tool};
use serde::{Deserialize, Serialize};

use self::entries::{Entry, Group, Value};
use crate::offers::{Offer, OfferPlace};

pub use files::{functions, functions_of};
pub use made::Made;

/// A longer `entry_points.txt` is none.
const LONGEST: u64 = 1 << 20;
/// More files and folders than this are not looked at, where packages are.
const MOST: usize = 100_000;

/// An installed Python distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The folder that it is in.
    pub site: PathBuf,
    /// The interpreter that runs it.
    pub interpreter: PathBuf,
}

/// What a manifest in a package names as the program of a tool, to have the interpreter that has the package.
const INTERPRETER: &str = "interpreter-of-the-package";

impl Package {
    /// Puts the interpreter where a manifest asks for it. It is in none of the files that have a digest: those are the same everywhere.
    /// `gone` is what helps if it is not there any more: it is in an environment, and no package of a system's.
    pub(crate) fn settle(&self, manifest: &mut Manifest, gone: Option<&str>) {
        for tool in manifest.tools.values_mut().filter(|tool| tool.any == [INTERPRETER]) {
            tool.any = vec![self.interpreter.display().to_string()];
            tool.install = gone.map(str::to_owned);
        }
    }

    /// Whether an installer was asked for it; pip writes that down.
    pub(crate) fn is_requested(&self) -> bool {
        let Ok(dir) = Dir::open_ambient_dir(&self.site, ambient_authority()) else { return false };
        let mut all = distributions(&dir, &self.site, &self.interpreter).into_iter();
        let folder = all.find(|(_, package)| package == self).map(|(folder, _)| folder);
        folder.is_some_and(|folder| dir.symlink_metadata(format!("{folder}/REQUESTED")).is_ok())
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} in {}", self.name, self.version, self.site.display())
    }
}

/// What the packages of these interpreters offer, in their order: where two have the same package, the first one's counts. `tool` is how a
/// Python is asked what it is. A broken package is told and blocks nobody.
#[must_use]
pub fn packaged(interpreters: &[PathBuf], tool: &Tool) -> (Vec<Offer>, Vec<Problem>) {
    let mut found = Found { tool, offers: Vec::new(), problems: Vec::new() };
    let (mut sites, mut packages) = (HashSet::new(), HashSet::new());
    for interpreter in interpreters {
        for site in sites::of(interpreter) {
            // An activated environment is on PATH, too.
            if !site.canonicalize().is_ok_and(|real| sites.insert(real)) {
                continue;
            }
            let Ok(dir) = Dir::open_ambient_dir(&site, ambient_authority()) else { continue };
            for (folder, package) in distributions(&dir, &site, interpreter) {
                if packages.insert(package.name.to_lowercase()) {
                    found.package(&dir, &folder, &package);
                }
            }
        }
    }
    (found.offers, found.problems)
}

/// The distributions in the folder of an interpreter's packages, in the order of their names.
#[must_use]
pub fn installed(interpreter: &Path) -> Vec<Package> {
    let of = |site: PathBuf| {
        let dir = Dir::open_ambient_dir(&site, ambient_authority()).ok()?;
        Some(distributions(&dir, &site, interpreter))
    };
    let all = sites::of(interpreter).into_iter().filter_map(of).flatten();
    all.map(|(_, package)| package).collect()
}

/// Each with the name of the folder that describes it.
fn distributions(dir: &Dir, site: &Path, interpreter: &Path) -> Vec<(String, Package)> {
    let mut names: Vec<String> = dir
        .entries()
        .into_iter()
        .flatten()
        .flatten()
        .take(MOST)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.contains(char::is_control))
        .filter(|name| name.ends_with(".dist-info") || name.ends_with(".egg-info"))
        .collect();
    names.sort();
    let package = |folder: String| {
        let (stem, _) = folder.rsplit_once('.')?;
        let (name, version) = stem.split_once('-').unwrap_or((stem, "0"));
        // `-py3.11` is behind the version of an egg.
        let (version, _) = version.split_once("-py").unwrap_or((version, ""));
        let (name, version) = (name.replace(['_', '.'], "-"), version.to_owned());
        let (site, interpreter) = (site.to_owned(), interpreter.to_owned());
        Some((folder, Package { name, version, site, interpreter }))
    };
    names.into_iter().filter_map(package).collect()
}

struct Found<'t> {
    tool: &'t Tool,
    offers: Vec<Offer>,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn package(&mut self, dir: &Dir, folder: &str, package: &Package) {
        let path = format!("{folder}/entry_points.txt");
        let text = match read(dir, Path::new(&path)) {
            Ok(text) => text,
            // Most have none; an egg may be a file.
            Err(error) => {
                let none = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
                if !none.contains(&error.kind()) {
                    self.broken(Code::Unreadable, package, format!("`{path}`: {error}"));
                }
                return;
            }
        };
        let (entries, wrong) = entries::read(&text);
        if let Some(wrong) = wrong {
            self.broken(Code::Syntax, package, format!("`{path}` {wrong}"));
        }
        for entry in entries {
            match self.offer(dir, folder, package, &package.site.join(&path), &entry) {
                Ok(offer) => self.offers.push(offer),
                Err(Wrong::Entry(code, why)) => {
                    self.broken(code, package, format!("`{} = {}` {why}", entry.name, entry.value));
                }
                Err(Wrong::Manifest(problems)) => self.problems.extend(problems),
            }
        }
    }

    fn broken(&mut self, code: Code, package: &Package, why: String) {
        let text = format!("the package {package} offers nothing: {why}");
        self.problems.push(Problem::error(code, text).warning());
    }

    fn offer(
        &mut self,
        dir: &Dir,
        info: &str,
        package: &Package,
        path: &Path,
        entry: &Entry,
    ) -> Result<Offer, Wrong> {
        let id: ExecutorId = entry
            .name
            .parse()
            .map_err(|error| Wrong::Entry(Code::BadName, format!("names no executor: {error}")))?;
        let value = Value::parse(&entry.value).ok_or_else(|| {
            let why = "is neither `MODULE:executor.toml` nor `MODULE:OBJECT`";
            Wrong::Entry(Code::BadValue, why.to_owned())
        })?;
        let offer = |mut manifest, folder, made| {
            package.settle(&mut manifest, None);
            let (place, package) = (OfferPlace::Python, Some(package.clone()));
            Offer { manifest, folder, place, made, package, built_from: None }
        };
        match value {
            Value::Manifest { module } => {
                let below = Path::new(&module.replace('.', "/")).join("executor.toml");
                let text = read(dir, &below).map_err(|error| {
                    Wrong::Entry(Code::MissingFile, format!("can't be read: {error}"))
                })?;
                let path = package.site.join(&below);
                let source = polyloom_load::Source::new(path.display().to_string(), text.as_str());
                let (manifest, report) = parse_manifest(&source, Some(&path));
                let manifest = manifest.ok_or(Wrong::Manifest(report.problems))?;
                if manifest.id != id {
                    let why = format!("leads to a manifest with the id `{}`", manifest.id);
                    return Err(Wrong::Entry(Code::BadName, why));
                }
                let folder = path.parent().unwrap_or(&package.site).to_owned();
                Ok(offer(manifest, folder, None))
            }
            Value::Object { module, object } => {
                let missing = |why: String| Wrong::Entry(Code::MissingFile, why);
                let part = part(dir, &module).ok_or_else(|| missing(match is_editable(dir, info) {
                    true => "is not in that folder: what is installed with `pip install -e` can't be copied, install it without".to_owned(),
                    false => format!("is not in that folder: there is no module `{module}`"),
                }))?;
                if !has_module(dir, &module) {
                    return Err(missing(format!(
                        "leads nowhere: `{part}` has no module `{module}`"
                    )));
                }
                let legacy = entry.group == Group::Legacy;
                let tool =
                    Tool { any: vec![INTERPRETER.to_owned()], env: None, ..self.tool.clone() };
                let made =
                    Made::of_package(&id, package, &tool, &format!("{module}:{object}"), legacy);
                let made = Made { from: package.site.clone(), part: Some(part), ..made };
                let manifest = made.manifest(path).map_err(Wrong::Manifest)?;
                if legacy {
                    self.problems.push(made::of_before(&id, &package.to_string()));
                }
                Ok(offer(manifest, package.site.clone(), Some(made)))
            }
        }
    }
}

enum Wrong {
    Entry(Code, String),
    Manifest(Vec<Problem>),
}

/// The folder or file that a module is in, and all that goes with it.
fn part(dir: &Dir, module: &str) -> Option<String> {
    let top = module.split('.').next()?;
    let meta = |name: &str| dir.symlink_metadata(name).ok();
    if meta(top).is_some_and(|meta| meta.is_dir()) {
        return Some(top.to_owned());
    }
    let file = format!("{top}.py");
    (top == module && meta(&file).is_some_and(|meta| meta.is_file())).then_some(file)
}

/// Whether a package is where it was written, which the installer notes in the folder `info`.
///
/// <https://packaging.python.org/en/latest/specifications/direct-url/>
fn is_editable(dir: &Dir, info: &str) -> bool {
    let text = read(dir, &Path::new(info).join("direct_url.json")).unwrap_or_default();
    let noted = serde_json::from_str::<serde_json::Value>(&text);
    noted.is_ok_and(|noted| noted["dir_info"]["editable"] == true)
}

/// Whether a file or a folder is there for a module, whatever it is written in.
fn has_module(dir: &Dir, module: &str) -> bool {
    let path = module.replace('.', "/");
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", &path));
    let entries = if folder.is_empty() { dir.entries() } else { dir.read_dir(folder) };
    let names =
        entries.into_iter().flatten().flatten().filter_map(|it| it.file_name().into_string().ok());
    let is = |name: String| match name.strip_prefix(last) {
        Some("") => true,
        Some(rest) => {
            rest.starts_with('.') && [".py", ".pyc", ".so"].iter().any(|end| rest.ends_with(end))
        }
        None => false,
    };
    names.take(MOST).any(is)
}

/// The text of a file below a folder: whoever wrote it leads nowhere else, and nobody waits for it or reads for ever.
fn read(dir: &Dir, path: &Path) -> io::Result<String> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    let file: File = dir.open_with(path, &options)?.into_std();
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        let why = format!("it is longer than {LONGEST} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(text)
}
