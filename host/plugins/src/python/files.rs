//! Plugins of before: a folder of `.py` files that define `_exec`, each a language of the file's name.

use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polyloom_load::{Code, Problem};
use polyloom_model::{ExecutorId, Tool};

use super::made::{self, Made};
use super::read;
use crate::offers::{Offer, OfferPlace};

/// More files than this are not looked at.
const MOST: usize = 1000;

/// The functions `_exec` of a folder that has no `executor.toml`, as plugins of the folder's files; see [`functions_of`].
#[must_use]
pub fn functions(folder: &Path, tool: &Tool) -> (Vec<Offer>, Vec<Problem>) {
    functions_of(&polyloom_load::manifests_in(&[folder.to_owned()]).scripts, tool)
}

/// The functions `_exec` in these files, those of a folder together. They are found by a line that begins with `def _exec(`; `tool` is how
/// a Python is found and asked what it is.
#[must_use]
pub fn functions_of(scripts: &[PathBuf], tool: &Tool) -> (Vec<Offer>, Vec<Problem>) {
    let (mut offers, mut problems) = (Vec::new(), Vec::new());
    for scripts in scripts.chunk_by(|a, b| a.parent() == b.parent()) {
        let Some(folder) = scripts.first().and_then(|script| script.parent()) else { continue };
        let (more, broken) = functions_in(folder, scripts, tool);
        offers.extend(more);
        problems.extend(broken);
    }
    (offers, problems)
}

fn functions_in(folder: &Path, scripts: &[PathBuf], tool: &Tool) -> (Vec<Offer>, Vec<Problem>) {
    let (mut offers, mut problems) = (Vec::new(), Vec::new());
    let Ok(dir) = Dir::open_ambient_dir(folder, ambient_authority()) else {
        return (offers, problems);
    };
    let names = scripts.iter().filter_map(|script| script.file_name()?.to_str());
    for name in names.filter(|name| !name.contains(char::is_control)).take(MOST) {
        // What can't be read as a text is none of them.
        let Ok(text) = read(&dir, Path::new(name)) else { continue };
        if !text.lines().any(|line| line.starts_with("def _exec(")) {
            continue;
        }
        let path = folder.join(name);
        let id = match name.strip_suffix(".py").unwrap_or(name).parse::<ExecutorId>() {
            Ok(id) => id,
            Err(error) => {
                let text = format!("`{}` names no executor: {error}", path.display());
                problems.push(Problem::error(Code::BadName, text).warning());
                continue;
            }
        };
        let made = Made::of_file(&id, folder, name, tool);
        match made.manifest(&path) {
            Ok(manifest) => {
                problems.push(made::of_before(&id, &format!("`{}`", path.display())));
                let (folder, made) = (folder.to_owned(), Some(made));
                let place = OfferPlace::User;
                offers.push(Offer {
                    manifest,
                    folder,
                    place,
                    made,
                    package: None,
                    built_from: None,
                });
            }
            Err(more) => problems.extend(more),
        }
    }
    (offers, problems)
}
