//! Finding the programs an executor needs and learning what they are.
//!
//! A program is searched in the flow's choice, then `$ENV/bin`, then PATH; what it is (its identity, part of
//! every key) is what it prints for the manifest's `version` arguments, asked inside a sandbox and remembered under the
//! stat of the file. Knows nothing of cells.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polyloom_model::{Digest, ExecutorId, Manifest, Tool};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::built::NotBuilt;

/// No program has more bytes.
const LARGEST_PROGRAM: u64 = 1 << 30;

/// The part of the user's environment that decides which program is found.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `PATH`; relative entries are passed over.
    pub path: Vec<PathBuf>,
    /// `HOME`, never bound whole into a sandbox.
    pub home: Option<PathBuf>,
    /// Values of the variables that manifests name (`VIRTUAL_ENV`).
    pub vars: BTreeMap<String, PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let absolute = |p: OsString| Some(PathBuf::from(p)).filter(|p| p.is_absolute());
        Self {
            path: std::env::split_paths(&path).filter(|p| p.is_absolute()).collect(),
            home: std::env::var_os("HOME").and_then(absolute),
            vars: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, absolute(value)?)))
                .collect(),
        }
    }
}

impl Surroundings {
    /// The prefix of the installation of the program of this name on PATH.
    #[must_use]
    pub fn prefix(&self, name: &str) -> Option<PathBuf> {
        let program = self.path.iter().find_map(|dir| candidate(&dir.join(name), self))?;
        let bin =
            program.parent().filter(|dir| dir.file_name().is_some_and(|name| name == "bin"))?;
        bin.parent().map(Path::to_owned)
    }
}

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The candidate's name (`gcc`), which selects `{tool.flags}`.
    pub name: String,
    /// Its absolute path, symbolic links kept: a virtual environment is recognised by it.
    pub program: PathBuf,
    /// What it says it is.
    pub identity: String,
    /// Directories and files it needs in view beyond the system's.
    pub roots: Vec<PathBuf>,
    /// What it has installed: lines of a name, a version and, where there is one, a digest of the files.
    pub libraries: Vec<String>,
    /// Files and folders whose change asks for another answer.
    pub watch: Vec<PathBuf>,
}

/// Why an executor can't run here.
#[derive(Debug, Error)]
pub enum ToolError {
    /// None of the candidates is there.
    #[error("`{executor}` needs {} and {}", list(.any), absence(.any, .chosen.as_deref()))]
    Missing {
        /// The executor.
        executor: ExecutorId,
        /// The candidates.
        any: Vec<String>,
        /// The program the flow chose, when it did.
        chosen: Option<PathBuf>,
        /// How to get it.
        install: Option<String>,
    },
    /// It is there but does not answer the version question.
    #[error("`{} {}` of `{executor}` failed: {why}", .program.display(), short(.args))]
    Broken {
        /// The executor.
        executor: ExecutorId,
        /// The arguments.
        args: Vec<String>,
        /// The program.
        program: PathBuf,
        /// Its last words or the error of starting it.
        why: String,
    },
    /// What it brings along itself is not there.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
}

/// Arguments as they fit into a sentence: some are programs of many lines.
fn short(args: &[String]) -> String {
    let words = args.iter().map(|arg| {
        let line = arg.trim_start().lines().next().unwrap_or_default();
        if line.len() == arg.len() && line.chars().count() <= 60 {
            return line.to_owned();
        }
        format!("{}…", line.chars().take(20).collect::<String>().trim_end())
    });
    words.collect::<Vec<_>>().join(" ")
}

fn list(any: &[String]) -> String {
    any.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

fn absence(any: &[String], chosen: Option<&Path>) -> String {
    match chosen {
        Some(path) => format!("none was found at `{}`, which the flow names", path.display()),
        None if any.iter().all(|name| Path::new(name).is_absolute()) => {
            "nothing is there".to_owned()
        }
        None => "none was found on PATH".to_owned(),
    }
}

/// Remembers what programs said, by a text key that changes with the file.
pub trait ToolCache: Send + Sync {
    /// The remembered text.
    fn get(&self, key: &str) -> Option<String>;
    /// Remembers it; failing to is not an error.
    fn put(&self, key: &str, text: &str);
}

/// Asks `program` for its identity in a sandbox that has `roots` in view; gives its output text.
pub type Ask<'a> = &'a dyn Fn(&Path, &[String], &[PathBuf]) -> Result<String, String>;

#[derive(Serialize, Deserialize)]
struct Memory {
    identity: String,
    roots: Vec<PathBuf>,
    watch: Vec<(PathBuf, String)>,
    libraries: Vec<String>,
}

/// Finds one tool and its identity.
pub fn find(
    manifest: &Manifest,
    tool: &Tool,
    chosen: Option<&Path>,
    around: &Surroundings,
    cache: &dyn ToolCache,
    ask: Ask<'_>,
) -> Result<Found, ToolError> {
    let Some((name, program)) = locate(tool, chosen, around) else {
        return Err(ToolError::Missing {
            executor: manifest.id.clone(),
            any: match tool.any.is_empty() {
                true => tool.at.iter().map(|path| path.display().to_string()).collect(),
                false => tool.any.clone(),
            },
            chosen: chosen.map(Path::to_owned),
            // What is missing is a file of the user's then, not a package.
            install: tool.install.clone().filter(|_| chosen.is_none()),
        });
    };
    let mut roots = roots_of(&program, around.home.as_deref());
    let key = format!("{}\n{}\n{:?}", program.display(), stat(&program), tool.version);
    let memory = recall(cache, &key, || {
        if tool.version.is_empty() {
            return Ok(format!("{name}, known by its file\n{}", stat(&program)));
        }
        ask(&program, &tool.version, &roots).map_err(|why| {
            let (executor, args) = (manifest.id.clone(), tool.version.clone());
            ToolError::Broken { executor, program: program.clone(), args, why }
        })
    })?;
    let places = hops(&program);
    for root in memory.roots {
        if !system(&root)
            && is_of(&root, &places)
            && comes_whole(&root, around.home.as_deref())
            && !roots.iter().any(|known| root.starts_with(known))
        {
            roots.push(root);
        }
    }
    let watch = memory.watch.into_iter().map(|(path, _)| path).collect();
    let (mut identity, libraries) = (memory.identity, memory.libraries);
    // What it says of itself is believed of the programs that the user has on PATH and that bundled executors ask for. Any other is what it is: else it
    // could say what another says, and have its results taken for the other's.
    if manifest.path.is_some() || chosen.is_some_and(|path| path.components().count() > 1) {
        identity.push_str(&format!("\n{} {}", program.display(), content(&program, cache)));
    }
    Ok(Found { name, program, identity, roots, libraries, watch })
}

/// What is remembered under a key, as long as nothing that the answer named has changed; else what is answered now.
fn recall<E>(
    cache: &dyn ToolCache,
    key: &str,
    ask: impl FnOnce() -> Result<String, E>,
) -> Result<Memory, E> {
    let remembered = cache.get(key).and_then(|text| serde_json::from_str::<Memory>(&text).ok());
    if let Some(memory) = remembered
        && memory.watch.iter().all(|(path, was)| stat(path) == *was)
    {
        return Ok(memory);
    }
    let began = SystemTime::now();
    let memory = read_answer(&ask()?);
    // What changed while it was asked may be what it did not see: it is asked again.
    if memory.watch.iter().all(|(path, _)| is_settled(path, began))
        && let Ok(text) = serde_json::to_string(&memory)
    {
        cache.put(key, &text);
    }
    Ok(memory)
}

/// Reads `root:`, `watch:` and `library:` lines; the rest is the identity, at most 4 KiB of it. An answer has at most 64 KiB.
fn read_answer(text: &str) -> Memory {
    let mut memory = Memory {
        identity: String::new(),
        roots: Vec::new(),
        watch: Vec::new(),
        libraries: Vec::new(),
    };
    for line in text.lines().take(8000) {
        let path = |rest: &str| Some(PathBuf::from(rest.trim())).filter(|path| path.is_absolute());
        if let Some(rest) = line.strip_prefix("root:") {
            memory.roots.extend(path(rest));
        } else if let Some(rest) = line.strip_prefix("watch:") {
            memory.watch.extend(path(rest).map(|watched| {
                let was = stat(&watched);
                (watched, was)
            }));
        } else if let Some(rest) = line.strip_prefix("library:") {
            // Control characters would end up on people's screens.
            let plain = rest.trim().chars().filter(|c| !c.is_control());
            memory.libraries.push(plain.take(200).collect());
        } else if memory.identity.len() < 4096 && !line.trim().is_empty() {
            if !memory.identity.is_empty() {
                memory.identity.push('\n');
            }
            memory.identity.extend(line.chars().take(1024));
        }
    }
    memory
}

/// Whether a file has not changed since `began`, nor so shortly before that its times don't tell (two seconds is the coarsest grain of
/// the file systems in use). One that is absent has not.
#[must_use]
pub fn is_settled(path: &Path, began: SystemTime) -> bool {
    const GRAIN: Duration = Duration::from_secs(2);
    let Ok(meta) = std::fs::metadata(path) else { return true };
    let Ok(began) = began.duration_since(UNIX_EPOCH) else { return false };
    let last = meta.mtime().max(meta.ctime());
    u64::try_from(last).is_ok_and(|last| Duration::from_secs(last + 1) + GRAIN <= began)
}

/// What tells a file from another one, and from itself after a change, without reading it.
#[must_use]
pub fn stat(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(m) => {
            let (size, ino, dev) = (m.size(), m.ino(), m.dev());
            format!(
                "{size} {ino} {dev} {}.{} {}.{}",
                m.mtime(),
                m.mtime_nsec(),
                m.ctime(),
                m.ctime_nsec()
            )
        }
        Err(_) => "absent".to_owned(),
    }
}

pub(crate) fn executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0)
}

fn locate(tool: &Tool, chosen: Option<&Path>, around: &Surroundings) -> Option<(String, PathBuf)> {
    if let Some(chosen) = chosen {
        let name = chosen.file_name()?.to_str()?;
        // A chosen `python3.12` has the flags of the candidate it begins with.
        let base =
            tool.any.iter().filter(|any| name.starts_with(any.as_str())).max_by_key(|a| a.len());
        let name = base.cloned().unwrap_or_else(|| name.to_owned());
        if chosen.components().count() > 1 {
            // The sandbox shows it at the same place, which has to be an absolute one.
            let program = climbed(&std::path::absolute(chosen).ok()?)?;
            return executable(&program).then_some((name, program));
        }
        let program = around.path.iter().find_map(|dir| candidate(&dir.join(chosen), around))?;
        return Some((name, program));
    }
    if let Some(program) = tool.at.iter().find_map(|path| candidate(path, around)) {
        let name = program.file_name()?.to_str()?.to_owned();
        return Some((name, program));
    }
    let prefix = tool.env.as_ref().and_then(|name| around.vars.get(name)).map(|p| p.join("bin"));
    let in_order = |dirs: &[PathBuf]| {
        // The best candidate wins wherever it is: `clang` in an earlier folder does not hide `gcc`.
        tool.any.iter().find_map(|name| {
            // A name with a slash would climb out of the folders; a whole path is that very program.
            let program = match name.contains('/') {
                false => dirs.iter().find_map(|dir| candidate(&dir.join(name), around))?,
                true => whole(name).filter(|program| executable(program))?,
            };
            Some((name.clone(), program))
        })
    };
    prefix.and_then(|prefix| in_order(&[prefix])).or_else(|| in_order(&around.path))
}

/// The same path without `..`: what is before the last one is taken without links, as the system takes it; the links behind it stand.
fn climbed(path: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Some(path.to_owned());
    };
    let above: PathBuf = parts[..=last].iter().collect();
    let mut whole = std::fs::canonicalize(above).ok()?;
    whole.extend(&parts[last + 1..]);
    Some(whole)
}

/// An absolute path that climbs nowhere.
fn whole(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let climbs = path.components().any(|part| part == Component::ParentDir);
    (path.is_absolute() && !climbs).then(|| path.to_owned())
}

/// The first program of one of these names on PATH.
#[must_use]
pub fn on_path(names: &[&str], around: &Surroundings) -> Option<PathBuf> {
    let mut all = names.iter().flat_map(|name| around.path.iter().map(move |dir| dir.join(name)));
    all.find_map(|path| candidate(&path, around))
}

/// The program itself: a version manager's stand-in, which needs its whole installation, stands for the program of its version.
fn candidate(path: &Path, around: &Surroundings) -> Option<PathBuf> {
    if !executable(path) {
        return None;
    }
    let dir = path.parent()?;
    if dir.file_name()? == "shims" {
        return shim(path, dir.parent()?);
    }
    Some(proxy(path, dir, around).unwrap_or_else(|| path.to_owned()))
}

/// `ROOT/shims/NAME`, a script, stands for `ROOT/versions/V/bin/NAME` with `V` from `ROOT/version`: the layout of pyenv,
/// rbenv, nodenv.
fn shim(path: &Path, root: &Path) -> Option<PathBuf> {
    let version = std::fs::read_to_string(root.join("version")).ok()?;
    version.split_whitespace().find_map(|version| {
        if version == "system" || version.contains('/') {
            return None;
        }
        let program = root.join("versions").join(version).join("bin").join(path.file_name()?);
        executable(&program).then_some(program)
    })
}

/// A name of the file `rustup` beside it stands for `HOME/toolchains/V/bin/NAME` with the default `V` of `HOME/settings.toml`
/// (<https://rust-lang.github.io/rustup/installation/index.html>). `HOME` is `RUSTUP_HOME`, `.rustup` beside `.cargo`, or that
/// of the user.
fn proxy(path: &Path, dir: &Path, around: &Surroundings) -> Option<PathBuf> {
    let file = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    // A link, symbolic or hard.
    if file(path) != Some(file(&dir.join("rustup"))?) {
        return None;
    }
    let cargo = dir.parent()?;
    let beside = cargo.with_file_name(cargo.file_name()?.to_str()?.replace("cargo", "rustup"));
    let homes = [
        around.vars.get("RUSTUP_HOME").cloned(),
        Some(beside),
        around.home.as_ref().map(|home| home.join(".rustup")),
    ];
    homes.into_iter().flatten().find_map(|home| {
        let settings = std::fs::read_to_string(home.join("settings.toml")).ok()?;
        let default = settings.lines().find_map(|line| line.strip_prefix("default_toolchain"))?;
        let version = default.trim_start().strip_prefix('=')?.trim().trim_matches('"');
        let plain = !version.is_empty() && !version.contains('/');
        let program = home.join("toolchains").join(version).join("bin").join(path.file_name()?);
        (plain && executable(&program)).then_some(program)
    })
}

fn system(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/alternatives"]
        .iter()
        .any(|dir| path.starts_with(dir))
}

/// What a program outside of the system's folders needs in view, for each hop of its chain of symbolic links.
fn roots_of(program: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    for hop in hops(program) {
        let root = prefix(&hop, home, |folder| comes_whole(folder, home));
        if !system(&root) && !roots.iter().any(|known| root.starts_with(known)) {
            roots.push(root);
        }
    }
    roots
}

/// The names of a program: its own, those of its chain of symbolic links, and the one without any link.
fn hops(program: &Path) -> Vec<PathBuf> {
    let mut hops = vec![program.to_owned()];
    let mut hop = program.to_owned();
    for _ in 0..16 {
        let Ok(target) = std::fs::read_link(&hop) else { break };
        hop = hop.parent().map_or_else(|| target.clone(), |dir| dir.join(&target));
        hops.push(hop.clone());
    }
    hops.extend(std::fs::canonicalize(program));
    hops
}

/// Whether a program may have this folder in view because it says so: it is in there itself, or it is a folder of packages.
fn is_of(root: &Path, hops: &[PathBuf]) -> bool {
    hops.iter().any(|hop| hop.starts_with(root)) || is_packages(root) || is_environment(root)
}

/// Whether a folder may come into view as a whole: an installation, and no more, by whatever links it is named.
fn comes_whole(folder: &Path, home: Option<&Path>) -> bool {
    let Ok(real) = std::fs::canonicalize(folder) else { return false };
    let wide = |folder: &Path| too_wide(folder, home) || keeps_more(folder);
    !wide(folder) && !wide(&real) && installation(&real)
}

/// Whether a directory holds more than an installation: the whole disk, a home, what is above it, `~/.local`.
fn too_wide(root: &Path, home: Option<&Path>) -> bool {
    root == Path::new("/")
        || root.components().any(|part| part == Component::ParentDir)
        || home.is_some_and(|home| home.starts_with(root) || root == home.join(".local"))
}

/// Whether a directory is kept by the system for other things than programs, holds such a one, or is somebody's project.
fn keeps_more(folder: &Path) -> bool {
    const NEVER: [&str; 8] =
        ["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/log", "/var/run"];
    const NOT_WHOLE: [&str; 9] =
        ["/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var/lib", "/var/tmp"];
    const PROJECT: [&str; 4] = [".env", ".git", ".polyloom", "polyloom.toml"];
    NEVER.iter().any(|never| folder.starts_with(never) || Path::new(never).starts_with(folder))
        || NOT_WHOLE.iter().any(|place| Path::new(place).starts_with(folder))
        || PROJECT.iter().any(|name| folder.join(name).exists())
}

/// The digest of a program's bytes, remembered under its stat. One that can't be read, or is larger than programs are, is known by its stat: a flow
/// may name any file.
fn content(program: &Path, cache: &dyn ToolCache) -> String {
    let key = format!("content\n{}\n{}", program.display(), stat(program));
    if let Some(known) = cache.get(&key) {
        return known;
    }
    let began = SystemTime::now();
    let mut hasher = blake3::Hasher::new();
    let read = std::fs::File::open(program).and_then(|file| {
        if file.metadata()?.len() > LARGEST_PROGRAM {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        // It may grow meanwhile.
        hasher.update_reader(file.take(LARGEST_PROGRAM)).map(|_| ())
    });
    if read.is_err() {
        return stat(program);
    }
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes()).to_string();
    if is_settled(program, began) {
        cache.put(&key, &digest);
    }
    digest
}

/// Whether a directory looks like the prefix of an installation, or like a folder of installed packages. A program can name
/// any directory as what it needs, and a flow any program: only what was installed comes into view, never somebody's files.
fn installation(root: &Path) -> bool {
    is_packages(root)
        || is_environment(root)
        || ["lib", "lib64"].iter().any(|d| root.join(d).is_dir())
}

fn is_packages(root: &Path) -> bool {
    root.file_name().is_some_and(|name| name == "site-packages" || name == "dist-packages")
}

fn is_environment(root: &Path) -> bool {
    root.join("pyvenv.cfg").is_file()
}

/// What a program outside of the system's folders needs in view: the prefix of its installation, else itself alone.
fn prefix(program: &Path, home: Option<&Path>, installed: impl Fn(&Path) -> bool) -> PathBuf {
    let bin = program.parent().filter(|dir| dir.file_name().is_some_and(|name| name == "bin"));
    match bin.and_then(Path::parent) {
        Some(prefix) if !too_wide(prefix, home) && installed(prefix) => prefix.to_owned(),
        _ => program.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_question_of_many_lines_is_told_in_a_few_words() {
        let question = ["-I", "-c", "\nimport os, sys\nprint(sys.version)\n", "--version"];
        let question: Vec<String> = question.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(short(&question), "-I -c import os, sys… --version");
    }

    #[test]
    fn a_path_that_climbs_is_taken_as_the_system_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("deep/flow")).unwrap();
        std::fs::create_dir_all(real.join("deep/env/bin")).unwrap();
        std::os::unix::fs::symlink("deep/flow", real.join("flow")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", real.join("deep/env/bin/python")).unwrap();
        let found = climbed(&real.join("flow/../env/bin/python"));
        assert_eq!(found, Some(real.join("deep/env/bin/python")));
        assert_eq!(climbed(Path::new("/a/link")), Some("/a/link".into()));
        assert_eq!(climbed(&real.join("none/../x")), None);
    }

    #[test]
    fn a_program_is_its_bytes_unless_it_is_no_program() {
        struct Nothing;
        impl ToolCache for Nothing {
            fn get(&self, _: &str) -> Option<String> {
                None
            }
            fn put(&self, _: &str, _: &str) {}
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, "one").unwrap();
        let one = content(&program, &Nothing);
        assert_eq!(one, Digest::of(b"one").to_string());
        std::fs::write(&program, "two").unwrap();
        assert_ne!(content(&program, &Nothing), one);
        std::fs::File::create(&program).unwrap().set_len(1 << 31).unwrap();
        assert_eq!(content(&program, &Nothing), stat(&program));
        std::fs::remove_file(&program).unwrap();
        assert_eq!(content(&program, &Nothing), "absent");
    }

    #[test]
    fn an_installation_is_bound_whole_and_any_other_program_alone() {
        let home = Some(Path::new("/home/ada"));
        let bound = |program: &str, installed: bool| {
            prefix(Path::new(program), home, |_| installed).display().to_string()
        };
        assert_eq!(bound("/home/ada/.venv/bin/x", true), "/home/ada/.venv");
        assert_eq!(bound("/home/ada/.cargo/bin/x", false), "/home/ada/.cargo/bin/x");
        for alone in
            ["/home/ada/bin/x", "/home/ada/.local/bin/x", "/home/ada/secret/run.sh", "/bin/x"]
        {
            assert_eq!(bound(alone, true), alone);
        }
    }

    #[test]
    fn a_version_managers_stand_in_is_the_program_of_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let program = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        let settings = |home: &str, version: &str| {
            let text = format!("version = \"12\"\ndefault_toolchain = \"{version}\"\n");
            std::fs::write(folder.path().join(home).join("settings.toml"), text).unwrap();
        };
        let mut around = Surroundings::default();
        let shim = program("pyenv/shims/python3");
        std::fs::write(folder.path().join("pyenv/version"), "3.9.1\n").unwrap();
        assert_eq!(candidate(&shim, &around), None);
        let python = program("pyenv/versions/3.9.1/bin/python3");
        assert_eq!(candidate(&shim, &around), Some(python));

        let rustup = program(".cargo/bin/rustup");
        let other = program(".cargo/bin/other");
        let links = ["rustc", "cargo"].map(|name| rustup.with_file_name(name));
        std::os::unix::fs::symlink("rustup", &links[0]).unwrap();
        std::fs::hard_link(&rustup, &links[1]).unwrap();
        let stable = ["rustc", "cargo", "other"]
            .map(|name| program(&format!(".rustup/toolchains/stable/bin/{name}")));
        for link in &links {
            assert_eq!(candidate(link, &around).as_ref(), Some(link), "nothing is chosen");
        }
        settings(".rustup", "stable");
        for (link, program) in links.iter().zip(&stable) {
            assert_eq!(candidate(link, &around).as_ref(), Some(program));
        }
        assert_eq!(candidate(&other, &around), Some(other), "a program of its own");
        let nightly = program("elsewhere/toolchains/nightly/bin/rustc");
        settings("elsewhere", "nightly");
        around.vars.insert("RUSTUP_HOME".to_owned(), folder.path().join("elsewhere"));
        assert_eq!(candidate(&links[0], &around), Some(nightly));
        settings("elsewhere", "../../outside");
        program("outside/bin/rustc");
        assert_eq!(candidate(&links[0], &around).as_ref(), Some(&stable[0]));
    }

    #[test]
    fn a_program_can_not_name_the_home_as_its_root() {
        let home = Some(Path::new("/home/ada"));
        for root in ["/", "/home", "/home/ada", "/home/ada/.local", "/opt/../home/ada"] {
            assert!(too_wide(Path::new(root), home), "{root}");
        }
        assert!(!too_wide(Path::new("/home/ada/.venv"), home));
    }

    #[test]
    fn a_candidate_may_be_a_whole_path_and_no_other_with_a_slash() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("mine");
        std::fs::copy("/bin/true", &program).unwrap();
        let around = Surroundings { path: vec!["/bin".into()], ..Surroundings::default() };
        let found = |any: &str| {
            let any = vec![any.to_owned(), "true".to_owned()];
            let (env, install) = (None, None);
            let (at, version, flags) = Default::default();
            let tool = Tool { at, any, env, version, flags, install };
            locate(&tool, None, &around).unwrap().1
        };
        assert_eq!(found(program.to_str().unwrap()), program);
        for bad in ["../bin/true", "/bin/../bin/true", "/no/such", "bin/true"] {
            assert_eq!(found(bad), Path::new("/bin/true"), "{bad}");
        }
    }

    #[test]
    fn answers_give_identity_roots_and_watched_paths() {
        let memory = read_answer(
            "cpython 3.11\nroot: /opt/py\nroot: relative\nwatch: /nowhere\nlibrary: b 2\nlibrary: a 1\n\n",
        );
        assert_eq!(memory.identity, "cpython 3.11");
        assert_eq!(memory.libraries, ["b 2", "a 1"], "in the order in which they are looked for");
        assert_eq!(memory.roots, [PathBuf::from("/opt/py")]);
        assert_eq!(memory.watch, [(PathBuf::from("/nowhere"), "absent".to_owned())]);
    }

    #[test]
    fn what_changes_while_a_program_is_asked_is_asked_again() {
        struct Kept(Mutex<BTreeMap<String, String>>);
        impl ToolCache for Kept {
            fn get(&self, key: &str) -> Option<String> {
                self.0.lock().unwrap().get(key).cloned()
            }
            fn put(&self, key: &str, text: &str) {
                self.0.lock().unwrap().insert(key.to_owned(), text.to_owned());
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("library");
        std::fs::write(&library, "1").unwrap();
        std::thread::sleep(Duration::from_millis(3100));
        let cache = Kept(Mutex::default());
        let mut asked = 0;
        let mut identity = |key: &str, becomes: &str| {
            let memory = recall(&cache, key, || {
                asked += 1;
                let version = std::fs::read_to_string(&library).unwrap();
                if version != becomes {
                    std::fs::write(&library, becomes).unwrap();
                }
                Ok::<_, ()>(format!("version {version}\nwatch: {}\n", library.display()))
            });
            (memory.unwrap().identity, asked)
        };
        assert_eq!(identity("a", "1"), ("version 1".to_owned(), 1));
        assert_eq!(identity("a", "1"), ("version 1".to_owned(), 1), "it is remembered");
        assert_eq!(identity("b", "2"), ("version 1".to_owned(), 2));
        assert_eq!(identity("b", "2"), ("version 2".to_owned(), 3));
        assert_eq!(identity("a", "2"), ("version 2".to_owned(), 4));
    }
}
