//! `--allow-…`, `--deny-…`, `--policy` and `--enforce` as data. Paths are made absolute and free of links here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use polyloom_model::{Grant, Grants, Levels, Permission, Preset};
use polyloom_protocol::meta::{Level, MECHANISMS};
use polyloom_worker::tools::Surroundings;

use super::KINDS;
use crate::args::PermissionArgs;
use crate::failure::{Exit, Failure};

/// What the flags grant and deny.
pub fn grants(args: &PermissionArgs, around: &Surroundings) -> Result<Grants, Failure> {
    let cwd = std::env::current_dir().unwrap_or_default();
    let mut grants = Grants::default();
    for kind in KINDS {
        for (flag, texts, map) in [
            ("allow", args.allowed(kind), &mut grants.allow),
            ("deny", args.denied(kind), &mut grants.deny),
        ] {
            for text in texts {
                for one in split(text) {
                    let grant = grant(kind, &one, &cwd, around).map_err(|why| {
                        Failure::new(Exit::Usage, format!("--{flag}-{kind}: {why}"))
                    })?;
                    map.entry(kind).or_default().push(grant);
                }
            }
        }
        if args.allow_all {
            grants.allow.entry(kind).or_default().push(Grant::All);
        }
    }
    Ok(grants)
}

/// Splits at commas; `\,` is a comma of the text itself. A flag without a value is one empty text.
pub fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let last = parts.len() - 1;
        match c {
            '\\' => parts[last].extend(chars.next()),
            ',' => parts.push(String::new()),
            c => parts[last].push(c),
        }
    }
    if parts.len() > 1 {
        parts.retain(|part| !part.is_empty());
    }
    parts
}

/// Reads one thing that is granted or denied.
pub fn grant(
    kind: Permission,
    text: &str,
    cwd: &Path,
    around: &Surroundings,
) -> Result<Grant, String> {
    if text.is_empty() {
        return Ok(Grant::All);
    }
    match kind {
        Permission::Net => text.parse().map(Grant::Net).map_err(|error| {
            let error: polyloom_model::NetError = error;
            error.to_string()
        }),
        Permission::Env => Ok(Grant::Env(text.to_owned())),
        Permission::Read | Permission::Write => Ok(Grant::Path(absolute(text, cwd, around))),
        Permission::Run if !text.contains('/') => {
            let hit = around.path.iter().map(|dir| dir.join(text)).find(|path| path.is_file());
            let hit = hit.ok_or_else(|| format!("there is no program `{text}` on PATH"))?;
            Ok(Grant::Path(absolute(&hit.to_string_lossy(), cwd, around)))
        }
        Permission::Run => Ok(Grant::Path(absolute(text, cwd, around))),
    }
}

/// The path a person means; free of links as far as it exists.
fn absolute(text: &str, cwd: &Path, around: &Surroundings) -> PathBuf {
    let path = match (text.strip_prefix('~'), &around.home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => cwd.join(text),
    };
    found(&path)
}

/// A path free of links as far as it exists: one that is not there yet lies where its nearest parent is.
pub fn found(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut known = path.to_owned();
    loop {
        if let Ok(real) = known.canonicalize() {
            return rest.iter().rev().fold(real, |path, part| path.join(part));
        }
        match (known.file_name().map(ToOwned::to_owned), known.parent()) {
            (Some(name), Some(parent)) => {
                rest.push(name);
                known = parent.to_owned();
            }
            // `..` behind something that is not there: it can't be what was found for any ask.
            _ => return path.to_owned(),
        }
    }
}

/// The person's word on policies.
pub fn policy(args: &PermissionArgs) -> Result<(Option<Preset>, Levels), Failure> {
    let mut levels: BTreeMap<String, Level> = BTreeMap::new();
    for text in &args.enforce {
        let wrong = |why: String| Failure::new(Exit::Usage, format!("--enforce: {why}"));
        let Some((name, level)) = text.split_once('=') else {
            let shown = text.escape_debug();
            return Err(wrong(format!("`{shown}` is not of the form MECHANISM=LEVEL")));
        };
        if !MECHANISMS.contains(&name) {
            let shown = name.escape_debug();
            let valid = MECHANISMS.map(|name| format!("`{name}`")).join(", ");
            return Err(wrong(format!("`{shown}` is not a mechanism; valid: {valid}")));
        }
        let level = level.parse().map_err(|error| {
            let error: polyloom_protocol::meta::LevelError = error;
            wrong(error.to_string())
        })?;
        levels.insert(name.to_owned(), level);
    }
    Ok((args.policy.map(Into::into), levels))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commas_part_grants_and_a_bare_flag_is_one_empty_grant() {
        assert_eq!(split(""), [""]);
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split(r"a\,b,c\\d"), ["a,b", r"c\d"]);
        assert_eq!(split("a,"), ["a"]);
    }
}
