//! Finding manifests in folders. A broken one is reported and blocks nobody.

use std::ffi::OsString;
use std::fs::{self, DirEntry, Metadata};
use std::path::{Path, PathBuf};

use polyloom_model::Manifest;

use super::parse_manifest;
use crate::place::read_text;
use crate::problem::{Code, Problem};

/// Reads `FOLDER/executor.toml` and `FOLDER/*/executor.toml` of every folder. A folder that is not there holds nothing.
#[must_use]
pub fn discover(folders: &[PathBuf]) -> (Vec<Manifest>, Vec<Problem>) {
    let Files { manifests: paths, mut problems, .. } = manifests_in(folders);
    let mut manifests = Vec::new();
    for (path, _) in paths {
        match read_manifest(&path) {
            Ok(manifest) => manifests.push(manifest),
            Err(more) => problems.extend(more),
        }
    }
    (manifests, problems)
}

/// Reads a manifest, or tells what is wrong with it.
pub fn read_manifest(path: &Path) -> Result<Manifest, Vec<Problem>> {
    let source = read_text(path).map_err(|problem| vec![problem])?;
    let (manifest, report) = parse_manifest(&source, Some(path));
    manifest.ok_or(report.problems)
}

/// A manifest that can't be used, and what it would have been.
#[derive(Debug)]
pub struct Broken {
    /// The id that a line of it tells, else its folder's name.
    pub name: String,
    /// The manifest.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// The broken manifests among those that [`discover`] reads.
#[must_use]
pub fn broken_in(folders: &[PathBuf]) -> Vec<Broken> {
    let broken = |(path, _): (PathBuf, Metadata)| {
        let problems = read_manifest(&path).err()?;
        let folder = path.parent()?;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let folder = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let text = read_text(&path).map(|source| source.text().to_owned()).unwrap_or_default();
        let id = text.lines().find_map(|line| {
            let value = line.trim().strip_prefix("id")?.trim_start().strip_prefix('=')?;
            Some(value.split(['"', '\'']).nth(1)?.to_owned())
        });
        Some(Broken { name: id.or(folder)?, path, problems })
    };
    manifests_in(folders).manifests.into_iter().filter_map(broken).collect()
}

/// What one look into folders shows.
#[derive(Debug, Default)]
pub struct Files {
    /// The files that [`discover`] reads, in their order, each with its stat.
    pub manifests: Vec<(PathBuf, Metadata)>,
    /// `FOLDER/*.py` of the folders that are no executor themselves, in their order.
    pub scripts: Vec<PathBuf>,
    /// What can't be looked into.
    pub problems: Vec<Problem>,
}

/// Looks into folders; reads no file.
#[must_use]
pub fn manifests_in(folders: &[PathBuf]) -> Files {
    let Files { manifests: mut paths, mut scripts, mut problems } = Files::default();
    for folder in folders {
        let there = |path: PathBuf| fs::metadata(&path).ok().map(|meta| (path, meta));
        if let Some(own) = there(folder.join("executor.toml")) {
            paths.push(own);
            continue;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let message = format!("can't look into `{}`: {error}", folder.display());
                problems.push(Problem::error(Code::Unreadable, message));
                continue;
            }
        };
        let is_file = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        let names = entries.flatten().map(|entry| (entry.file_name(), is_file(&entry)));
        let mut names: Vec<(OsString, bool)> = names.collect();
        // The file system's order is nobody's.
        names.sort_unstable();
        for (name, file) in names {
            let path = folder.join(name);
            if !file {
                paths.extend(there(path.join("executor.toml")));
            }
            if path.extension().is_some_and(|extension| extension == "py") {
                scripts.push(path);
            }
        }
    }
    Files { manifests: paths, scripts, problems }
}
