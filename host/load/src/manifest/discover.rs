//! Finding manifests in folders. A broken one is reported and blocks nobody.

use std::fs::{self, Metadata};
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
        let (first, script) = (paths.len(), scripts.len());
        for entry in entries.flatten() {
            let path = entry.path();
            let file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if !file {
                paths.extend(there(path.join("executor.toml")));
            }
            if path.extension().is_some_and(|extension| extension == "py") {
                scripts.push(path);
            }
        }
        // The file system's order is nobody's.
        paths[first..].sort_by(|(a, _), (b, _)| a.cmp(b));
        scripts[script..].sort();
    }
    Files { manifests: paths, scripts, problems }
}
