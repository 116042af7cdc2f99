//! Finding manifests in folders. A broken one is reported and blocks nobody.

use std::fs;
use std::path::{Path, PathBuf};

use polyloom_model::Manifest;

use super::parse_manifest;
use crate::place::read_text;
use crate::problem::{Code, Problem};

/// Reads `FOLDER/executor.toml` and `FOLDER/*/executor.toml` of every folder. A folder that is not there holds nothing.
#[must_use]
pub fn discover(folders: &[PathBuf]) -> (Vec<Manifest>, Vec<Problem>) {
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for folder in folders {
        for path in candidates(folder, &mut problems) {
            match read_text(&path) {
                Ok(source) => {
                    let (manifest, report) = parse_manifest(&source, Some(&path));
                    manifests.extend(manifest);
                    problems.extend(report.problems);
                }
                Err(problem) => problems.push(problem),
            }
        }
    }
    (manifests, problems)
}

fn candidates(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let own = folder.join("executor.toml");
    if own.exists() {
        return vec![own];
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let message = format!("can't look into `{}`: {error}", folder.display());
            problems.push(Problem::error(Code::Unreadable, message));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("executor.toml"))
        .filter(|path| path.exists())
        .collect();
    // The file system's order is nobody's.
    paths.sort();
    paths
}
