//! Plugins that other tools fetch or build: `npm:NAME`, `crate:NAME`, `git+FOLDER`, and the folder of a crate. What they end in is a folder with a
//! manifest, which is agreed to like any other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyloom_plugins::{Limits, Source};
use polyloom_report::escape_line;

use super::install::{agree, said_yes};
use super::manage::absolute;
use super::pip::run;
use crate::args::InstallArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// Where a plugin is, in the words of `plugin install`.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `npm:NAME`, `npm:NAME@VERSION`.
    Npm(String),
    /// `crate:NAME`, `crate:NAME@VERSION`: from the registry that cargo is configured with.
    Crate(String),
    /// `crate:FOLDER`, or a folder with a `Cargo.toml`.
    CrateFolder(PathBuf),
    /// `git+FOLDER`, `git+FOLDER@REVISION`: what is committed, not what lies there.
    Git {
        /// The repository.
        folder: PathBuf,
        /// A branch, a tag or a commit.
        revision: String,
    },
}

impl Wanted {
    /// What a text names, if it begins as these do.
    pub fn of(text: &str) -> Option<Result<Self, Failure>> {
        let refused = |message: String, valid: &str| {
            Err(Failure::new(Exit::Usage, message).hint(format!("valid: {valid}")))
        };
        if let Some(name) = text.strip_prefix("npm:") {
            return Some(match is_name(name.strip_prefix('@').unwrap_or(name), &['/']) {
                true => Ok(Self::Npm(name.to_owned())),
                false => refused(
                    format!("`{}` is no name of an npm package", escape_line(name)),
                    "npm:NAME, npm:@SCOPE/NAME, npm:NAME@VERSION",
                ),
            });
        }
        if let Some(name) = text.strip_prefix("crate:") {
            return Some(match name.contains('/') || name == "." {
                true => absolute(Path::new(name)).map(Self::CrateFolder),
                false if is_name(name, &[]) => Ok(Self::Crate(name.to_owned())),
                false => refused(
                    format!("`{}` is no name of a crate", escape_line(name)),
                    "crate:NAME, crate:NAME@VERSION, crate:./FOLDER",
                ),
            });
        }
        let place = text.strip_prefix("git+")?;
        let (folder, revision) = place.rsplit_once('@').unwrap_or((place, "HEAD"));
        if folder.is_empty() {
            let message = "`git+` names no repository".to_owned();
            return Some(refused(message, "git+FOLDER, git+FOLDER@BRANCH, a tag, a commit"));
        }
        if !is_name(revision, &['/']) {
            let message = format!("`{}` is no revision", escape_line(revision));
            return Some(refused(message, "git+FOLDER, git+FOLDER@BRANCH, a tag, a commit"));
        }
        let revision = revision.to_owned();
        Some(absolute(Path::new(folder)).map(|folder| Self::Git { folder, revision }))
    }

    /// As `plugin install` takes it.
    fn text(&self) -> String {
        match self {
            Self::Npm(name) => format!("npm:{name}"),
            Self::Crate(name) => format!("crate:{name}"),
            Self::CrateFolder(folder) => format!("crate:{}", folder.display()),
            Self::Git { folder, revision } => format!("git+{}@{revision}", folder.display()),
        }
    }
}

/// Nothing that a tool would take for an option, a path or an address.
fn is_name(text: &str, more: &[char]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c) || more.contains(&c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
        && !text.contains("..")
}

/// Fetches it, and installs what came if the person agrees to it.
pub fn install(world: &World, wanted: &Wanted, args: &InstallArgs) -> Outcome {
    let scratch = tempfile::tempdir().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let folder = match wanted {
        Wanted::Npm(name) => npm(world, name, scratch.path(), args.offline)?,
        Wanted::Git { folder, revision } => git(world, folder, revision, scratch.path())?,
        Wanted::Crate(_) | Wanted::CrateFolder(_) => {
            let what = escape_line(&wanted.text()).into_owned();
            world.screen.tell(&format!(
                "{what}, built by cargo{}\n  building it runs its code and that of what it needs, as you and outside of the sandbox\n",
                if args.offline { " without the network" } else { "" }
            ));
            if !args.yes && !said_yes(world, &format!("`{what}` may be built"), "build it?")? {
                world.screen.tell("nothing was installed\n");
                return Ok(Exit::Failed);
            }
            cargo(world, wanted, scratch.path(), args.offline)?
        }
    };
    agree(world, &folder, Source::Fetched(wanted.text()), args.yes)
}

/// The digest of what a source holds now, where finding that out asks nobody and runs nothing of it.
pub fn digest(world: &World, source: &str) -> Option<Result<polyloom_model::Digest, String>> {
    let Some(Ok(Wanted::Git { folder, revision })) = Wanted::of(source) else { return None };
    let look = || {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let folder = git(world, &folder, &revision, scratch.path())
            .map_err(|failure| failure.messages.join(": "))?;
        polyloom_plugins::digest(&folder, Limits::default()).map_err(|error| error.to_string())
    };
    Some(look())
}

/// The first program of that name on PATH. A version manager's stand-in is left to stand in: what it starts has to find the same version.
fn tool(name: &str) -> Result<Command, Failure> {
    let around = polyloom_worker::tools::Surroundings::of_process();
    let found = around.path.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.map(Command::new).ok_or_else(|| {
        Failure::new(Exit::Environment, format!("there is no `{name}`, which would fetch it"))
            .hint(format!("install {name}"))
    })
}

/// Unpacks what came, which is known by what was asked for.
fn unpack(path: &Path, to: &Path, wanted: &str) -> Result<PathBuf, Failure> {
    fs::create_dir(to).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let unpacked = polyloom_plugins::unpack(path, to, Limits::default());
    unpacked.map_err(|error| Failure::of(Exit::Usage, &error.called(Path::new(wanted))))
}

/// A package and what it depends on. No script of any of them runs.
fn npm(world: &World, name: &str, scratch: &Path, offline: bool) -> Result<PathBuf, Failure> {
    let quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"];
    let mut pack = tool("npm")?;
    pack.arg("pack").args(quiet).arg("--pack-destination").arg(scratch);
    pack.args(offline.then_some("--offline")).arg("--").arg(name).current_dir(scratch);
    world.screen.note("fetching …\n");
    run(world, &pack, "fetching it")?;
    let failed = |error| Failure::of(Exit::Environment, &error);
    let mut packed = fs::read_dir(scratch).map_err(failed)?.flatten();
    let packed = packed.find(|entry| entry.path().extension().is_some_and(|it| it == "tgz"));
    let packed = packed.ok_or_else(|| Failure::new(Exit::Environment, "npm left no package"))?;
    let folder = unpack(&packed.path(), &scratch.join("unpacked"), &format!("npm:{name}"))?;
    let mut install = tool("npm")?;
    // Links to programs are no part of a plugin.
    install.arg("install").args(quiet).args(["--omit=dev", "--no-bin-links"]);
    install.args(offline.then_some("--offline")).current_dir(&folder);
    run(world, &install, "fetching what it needs")?;
    Ok(folder)
}

/// What is committed in a repository on this machine.
fn git(world: &World, folder: &Path, revision: &str, scratch: &Path) -> Result<PathBuf, Failure> {
    if !folder.is_dir() {
        let message = format!("there is no folder `{}`", folder.display());
        return Err(Failure::new(Exit::Usage, message)
            .hint("what is elsewhere: clone it, and install the clone"));
    }
    let archive = scratch.join("archive.tar");
    let mut git = tool("git")?;
    git.arg("-C").arg(folder).args(["archive", "--format=tar", "-o"]).arg(&archive);
    git.arg(revision);
    run(world, &git, "reading the repository")?;
    let wanted = format!("git+{}@{revision}", folder.display());
    unpack(&archive, &scratch.join("unpacked"), &wanted)
}

/// The programs of a crate beside its manifest, which is at its top or in a folder `plugin`.
fn cargo(
    world: &World,
    wanted: &Wanted,
    scratch: &Path,
    offline: bool,
) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::of(Exit::Environment, &error);
    let root = scratch.join("root");
    let mut cargo = tool("cargo")?;
    cargo
        .args(["install", "--quiet", "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", scratch.join("target"));
    cargo.args(offline.then_some("--offline"));
    match wanted {
        Wanted::CrateFolder(folder) => {
            cargo.arg("--path").arg(folder);
            // A lock is kept to where there is one.
            cargo.args(folder.join("Cargo.lock").is_file().then_some("--locked"));
        }
        _ => {
            cargo.arg("--").arg(wanted.text().trim_start_matches("crate:"));
        }
    }
    world.screen.note("building …\n");
    run(world, &cargo, "building it")?;
    let source = match wanted {
        Wanted::CrateFolder(folder) => folder.clone(),
        _ => registered(&root)?,
    };
    let places = [source.clone(), source.join("plugin")];
    let of = places.iter().find(|folder| folder.join("executor.toml").is_file());
    let of = of.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{}` has no executor.toml", source.display()))
            .hint("it is at the top of the crate, or in its folder `plugin`")
    })?;
    let plugin = scratch.join("plugin");
    fs::create_dir(&plugin).map_err(failed)?;
    for name in ["executor.toml", "conformance.toml"] {
        if of.join(name).is_file() {
            fs::copy(of.join(name), plugin.join(name)).map_err(failed)?;
        }
    }
    for program in fs::read_dir(root.join("bin")).map_err(failed)?.flatten() {
        fs::copy(program.path(), plugin.join(program.file_name())).map_err(failed)?;
    }
    Ok(plugin)
}

/// Where cargo keeps the source of the one crate that it has installed below `root`.
fn registered(root: &Path) -> Result<PathBuf, Failure> {
    let unknown = || Failure::new(Exit::Environment, "cargo does not say which crate it built");
    let list = fs::read_to_string(root.join(".crates.toml")).map_err(|_| unknown())?;
    let list: toml::Table = list.parse().map_err(|_| unknown())?;
    let crates = list.get("v1").and_then(toml::Value::as_table).ok_or_else(unknown)?;
    // `NAME VERSION (registry+…)`
    let mut words = crates.keys().next().ok_or_else(unknown)?.split(' ');
    let folder = match (words.next(), words.next()) {
        (Some(name), Some(version)) => format!("{name}-{version}"),
        _ => return Err(unknown()),
    };
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.ok_or_else(unknown)?.join("registry/src");
    let registries = fs::read_dir(sources).map_err(|_| unknown())?.flatten();
    let found = registries.map(|entry| entry.path().join(&folder)).find(|path| path.is_dir());
    found.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_nothing_else() {
        let of = |text: &str| Wanted::of(text).map(|wanted| wanted.map(|it| it.text()).ok());
        assert_eq!(of("npm:left-pad@1.3.0"), Some(Some("npm:left-pad@1.3.0".to_owned())));
        assert_eq!(of("npm:@scope/name"), Some(Some("npm:@scope/name".to_owned())));
        assert_eq!(of("crate:some_crate"), Some(Some("crate:some_crate".to_owned())));
        assert_eq!(of("git+/srv/lush@v1"), Some(Some("git+/srv/lush@v1".to_owned())));
        assert_eq!(of("git+/srv/lush"), Some(Some("git+/srv/lush@HEAD".to_owned())));
        for bad in [
            "npm:--global",
            "npm:",
            "npm:../x",
            "npm:https://x",
            "npm:a b",
            "crate:-p",
            "crate:a;b",
            "git+/srv/lush@--output=/x",
            "git+/srv/lush@a..b",
            "git+",
            "git+@v1",
        ] {
            assert_eq!(of(bad), Some(None), "{bad}");
        }
        assert_eq!(of("left-pad"), None);
        assert_eq!(of("./folder"), None);
    }
}
