//! Where an interpreter has its packages, told by the layout of its installation. It is not asked.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A chain of links this long has no end.
const HOPS: usize = 16;
/// Python's own file is far shorter.
const LONGEST: u64 = 64 << 10;

/// The folders of packages of an interpreter: of its virtual environment, and of what that is made of only if it says so.
pub(super) fn of(interpreter: &Path) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let mut sites = all(interpreter);
    // `lib64` is often a link to `lib`.
    sites.retain(|site| site.canonicalize().is_ok_and(|real| seen.insert(real)));
    sites
}

fn all(interpreter: &Path) -> Vec<PathBuf> {
    let mut sites = Vec::new();
    let Some(prefix) = prefix(interpreter) else { return sites };
    let Some(settings) = settings(&prefix) else {
        let version = version(interpreter);
        for prefix in prefixes(interpreter) {
            below(&prefix, version.as_deref(), &mut sites);
        }
        return sites;
    };
    below(&prefix, None, &mut sites);
    if settings.get("include-system-site-packages") == Some("true")
        && let Some(home) = settings.get("home").map(Path::new)
        && home.is_absolute()
        && home.file_name().is_some_and(|name| name == "bin")
        && let Some(prefix) = home.parent()
    {
        let version = settings.get("version").or(settings.get("version_info"));
        let version = version.map(|text| text.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
        below(prefix, version.as_deref(), &mut sites);
    }
    sites
}

/// `PREFIX` of `PREFIX/bin/python3`.
fn prefix(program: &Path) -> Option<PathBuf> {
    let bin = program.parent().filter(|dir| dir.file_name().is_some_and(|name| name == "bin"))?;
    bin.parent().filter(|prefix| prefix.is_absolute()).map(Path::to_owned)
}

/// The prefixes of a program and of what it is a link to.
fn prefixes(program: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    let mut hop = program.to_owned();
    for _ in 0..HOPS {
        all.extend(prefix(&hop).filter(|prefix| !all.contains(prefix)));
        let Ok(target) = fs::read_link(&hop) else { break };
        hop = hop.parent().map_or_else(|| target.clone(), |dir| dir.join(&target));
    }
    all
}

/// `3.11`, where the name of the program's file says it.
fn version(program: &Path) -> Option<String> {
    let real = program.canonicalize().ok()?;
    let version = real.file_name()?.to_str()?.strip_prefix("python")?.to_owned();
    (version.contains('.') && version.chars().all(|c| c.is_ascii_digit() || c == '.'))
        .then_some(version)
}

/// The folders of packages below a prefix, of any version where none is known. What a link has somewhere else is none of them.
fn below(prefix: &Path, version: Option<&str>, sites: &mut Vec<PathBuf>) {
    let Ok(real) = prefix.canonicalize() else { return };
    let within = |site: &PathBuf| {
        site.canonicalize().is_ok_and(|site| site.is_dir() && site.starts_with(&real))
    };
    for lib in ["lib", "lib64", "local/lib"] {
        let lib = prefix.join(lib);
        let mut names: Vec<String> = fs::read_dir(&lib)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                let found = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
                match (found, version) {
                    (Some("3"), _) => true,
                    (Some(found), Some(version)) => found == version,
                    (Some(found), None) => found.starts_with("3."),
                    (None, _) => false,
                }
            })
            .collect();
        names.sort();
        for name in names {
            let packages = ["site-packages", "dist-packages"].map(|of| lib.join(&name).join(of));
            sites.extend(packages.into_iter().filter(within));
        }
    }
}

/// `KEY = VALUE` lines.
struct Settings(String);

impl Settings {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim())
        })
    }
}

/// What is in the `pyvenv.cfg` of a virtual environment.
fn settings(prefix: &Path) -> Option<Settings> {
    let path = prefix.join("pyvenv.cfg");
    if !fs::metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(Settings(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_environment_has_its_own_packages_and_others_if_it_says_so() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in [
            "base/bin",
            "base/lib/python3.11/site-packages",
            "base/lib/python3.9/site-packages",
            "env/bin",
            "env/lib/python3.11/site-packages",
        ] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("base/bin/python3.11"), "").unwrap();
        symlink("python3.11", at("base/bin/python3")).unwrap();
        symlink(at("base/bin/python3"), at("env/bin/python")).unwrap();
        assert_eq!(of(&at("base/bin/python3")), [at("base/lib/python3.11/site-packages")]);
        fs::write(at("env/pyvenv.cfg"), "include-system-site-packages = false\n").unwrap();
        assert_eq!(of(&at("env/bin/python")), [at("env/lib/python3.11/site-packages")]);
        let cfg = format!(
            "home = {}\ninclude-system-site-packages = true\nversion = 3.9.1\n",
            at("base/bin").display()
        );
        fs::write(at("env/pyvenv.cfg"), cfg).unwrap();
        let both = [at("env/lib/python3.11/site-packages"), at("base/lib/python3.9/site-packages")];
        assert_eq!(of(&at("env/bin/python")), both);
        fs::create_dir_all(at("env/lib/python3.12")).unwrap();
        symlink(root.path(), at("env/lib/python3.12/site-packages")).unwrap();
        assert_eq!(of(&at("env/bin/python")), both, "a link leads nowhere else");
        assert_eq!(of(Path::new("relative/bin/python")), [] as [PathBuf; 0]);
    }
}
