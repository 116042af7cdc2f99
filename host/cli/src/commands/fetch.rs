//! Plugins that other tools fetch or build: `npm:NAME`, `crate:NAME`, `git+FOLDER`, and the folder of a crate. What they end in is a folder with a
//! manifest, which is agreed to like any other.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyloom_load::Root;
use polyloom_plugins::{Limits, Source};
use polyloom_report::escape_line;

use super::install::{agree, said_yes};
use super::manage::absolute;
use super::pip::{ask, run};
use crate::args::InstallArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::scratch::Scratch;
use crate::world::World;

const MANIFEST: &str = "executor.toml";

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
            // With a scope, a slash: without, it would be a repository of GitHub's.
            let is = match name.strip_prefix('@').map(|name| name.split_once('/')) {
                Some(Some((scope, name))) => is_name(scope, &[]) && is_name(name, &[]),
                Some(None) => false,
                None => is_name(name, &[]),
            };
            return Some(match is {
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
    // One `@` at most, between a name and its version.
    let parted = text.split_once('@').is_none_or(|(_, it)| !it.is_empty() && !it.contains('@'));
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
        && !text.contains("..")
        && parted
}

/// Fetches it, and installs what came if the person agrees to it.
pub fn install(world: &World, wanted: &Wanted, args: &InstallArgs) -> Outcome {
    let what = escape_line(&wanted.text()).into_owned();
    let asked = match wanted {
        Wanted::Npm(_) => {
            Some((("fetch", "fetched", "npm"), "npm fetches it and what it needs; no script runs"))
        }
        Wanted::Crate(_) | Wanted::CrateFolder(_) => Some((
            ("build", "built", "cargo"),
            "building it runs its code and that of what it needs, as you and outside of the sandbox",
        )),
        Wanted::Git { .. } => None,
    };
    if let Some(((verb, done, by), means)) = asked {
        let network = if args.offline { " without the network" } else { "" };
        world.screen.tell(&format!("{what}, {done} by {by}{network}\n  {means}\n"));
        let asks = || said_yes(world, &format!("`{what}` may be {done}"), &format!("{verb} it?"));
        if !args.yes && !asks()? {
            world.screen.tell("nothing was installed\n");
            return Ok(Exit::Failed);
        }
    }
    let scratch = Scratch::new().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let folder = match wanted {
        Wanted::Npm(name) => npm(world, name, scratch.path(), args.offline)?,
        Wanted::Git { folder, revision } => git(world, folder, revision, scratch.path())?,
        Wanted::Crate(_) | Wanted::CrateFolder(_) => {
            cargo(world, wanted, scratch.path(), args.offline)?
        }
    };
    agree(world, &folder, Source::Fetched(wanted.text()), args.yes)
}

/// The digest of what a source holds now, where finding that out asks nobody and runs nothing of it.
pub fn digest(world: &World, source: &str) -> Option<Result<polyloom_model::Digest, String>> {
    let Some(Ok(Wanted::Git { folder, revision })) = Wanted::of(source) else { return None };
    let look = || {
        let scratch = Scratch::new().map_err(|error| error.to_string())?;
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

/// A package and what it depends on. No script of any of them runs, and npm does what the person's own configuration says, and nobody else's.
fn npm(world: &World, name: &str, scratch: &Path, offline: bool) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::of(Exit::Environment, &error);
    let npm = |command: &str, folder: &Path| {
        let mut npm = tool("npm")?;
        npm.arg(command).args(["--ignore-scripts", "--no-audit", "--no-fund"]);
        // Nothing above the folder counts: neither a `.npmrc` nor a project that this could be a part of.
        npm.args(["--no-update-notifier", "--workspaces=false", "--install-links=false"]);
        // All comes from the registry. The newer npm has words for that, an older one still has no git.
        npm.args(["--git=/bin/false", "--allow-git=none"]);
        npm.args(["--allow-file=none", "--allow-directory=none"]);
        npm.args(offline.then_some("--offline")).current_dir(folder);
        Ok::<_, Failure>(npm)
    };
    fs::write(scratch.join("package.json"), r#"{"private":true}"#).map_err(failed)?;
    let mut pack = npm("pack", scratch)?;
    pack.arg("--pack-destination").arg(scratch).arg("--").arg(name);
    world.screen.note("fetching …\n");
    run(world, &pack, "fetching it")?;
    let mut packed = fs::read_dir(scratch).map_err(failed)?.flatten();
    let packed = packed.find(|entry| entry.path().extension().is_some_and(|it| it == "tgz"));
    let packed = packed.ok_or_else(|| Failure::new(Exit::Environment, "npm left no package"))?;
    let folder = unpack(&packed.path(), &scratch.join("unpacked"), &format!("npm:{name}"))?;
    disarm(&folder).map_err(failed)?;
    from_registry(&folder.join("package.json"))?;
    let mut install = npm("install", &folder)?;
    // Links to programs are no part of a plugin.
    install.args(["--omit=dev", "--no-bin-links", "--allow-remote=none"]);
    run(world, &install, "fetching what it needs")?;
    Ok(folder)
}

/// Takes out of an unpacked package what would tell npm where to fetch from: configuration anywhere in it, and locks, which may name any place.
fn disarm(folder: &Path) -> std::io::Result<()> {
    for lock in ["package-lock.json", "npm-shrinkwrap.json", "node_modules/.package-lock.json"] {
        let path = folder.join(lock);
        if path.is_file() {
            fs::remove_file(path)?;
        }
    }
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if entry.file_name().eq_ignore_ascii_case(".npmrc") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Whether all that a `package.json` needs has a version in a registry.
fn from_registry(path: &Path) -> Result<(), Failure> {
    let refused = |message: String| {
        Err(Failure::new(Exit::Usage, message)
            .hint("valid: versions of packages in a registry, as `^1.2.0`"))
    };
    let mut text = String::new();
    let _ = fs::File::open(path).and_then(|file| {
        // A larger one is cut off, and then is no JSON.
        file.take(1 << 20).read_to_string(&mut text)
    });
    let Ok(package) = serde_json::from_str::<serde_json::Value>(&text) else {
        return refused("the package has no package.json that can be read".to_owned());
    };
    if package.get("workspaces").is_some() {
        return refused("the package has workspaces".to_owned());
    }
    for table in
        ["dependencies", "optionalDependencies", "peerDependencies", "devDependencies", "overrides"]
    {
        let Some(needs) = package.get(table) else { continue };
        // Overrides are tables in tables.
        let mut open = vec![(table, needs)];
        while let Some((name, needs)) = open.pop() {
            match needs {
                serde_json::Value::Object(more) => {
                    open.extend(more.iter().map(|(name, needs)| (name.as_str(), needs)));
                }
                serde_json::Value::String(version) if is_registered(version) => {}
                other => {
                    let other = other.to_string();
                    let (name, other) = (escape_line(name), escape_line(&other));
                    return refused(format!("the package needs `{name}` from {other} ({table})"));
                }
            }
        }
    }
    Ok(())
}

/// Whether what npm is told to fetch is in its registry: a version, a range, a tag, or such of another name (`npm:NAME@^1`), and neither a path, an
/// address nor a repository.
fn is_registered(version: &str) -> bool {
    let (version, alias) = match version.strip_prefix("npm:") {
        Some(version) => (version, true),
        None => (version, false),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || " .^~<>=|*+-_$".contains(c);
    let more = |c: char| alias && "@/".contains(c);
    let lower = version.to_ascii_lowercase();
    let archive = ["tgz", "tar.gz", "tar"].iter().any(|end| lower.ends_with(&format!(".{end}")));
    let repository = alias && !version.starts_with('@') && version.contains('/');
    let path = version.trim_start().starts_with('.');
    version.chars().all(|c| plain(c) || more(c)) && !archive && !repository && !path
}

/// What is committed in a repository on this machine. Whoever made it also wrote its configuration, which names programs: nothing is run in it but what
/// serves it to others, and what was fetched is read in a repository of our own.
fn git(world: &World, folder: &Path, revision: &str, scratch: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.canonicalize().ok().filter(|folder| folder.is_dir()).ok_or_else(|| {
        let message = format!("there is no folder `{}`", folder.display());
        Failure::new(Exit::Usage, message)
            .hint("what is elsewhere: clone it, and install the clone")
    })?;
    // Serving looks for no repository above a folder.
    let above = folder.ancestors().find(|above| above.join(".git").exists());
    let bare = folder.join("HEAD").is_file() && folder.join("objects").is_dir();
    let top = above.or(bare.then_some(folder.as_path())).ok_or_else(|| {
        let message = format!("`{}` is in no repository", folder.display());
        Failure::new(Exit::Usage, message)
            .hint(format!("polyloom plugin install {}", folder.display()))
    })?;
    let part = folder.strip_prefix(top).unwrap_or(Path::new(""));
    let (own, archive) = (scratch.join("repository"), scratch.join("archive.tar"));
    let git = || {
        let mut git = tool("git")?;
        git.env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_LAZY_FETCH", "1");
        git.env("GIT_ALLOW_PROTOCOL", "file").env("GIT_ATTR_NOSYSTEM", "1");
        git.args(["-c", "core.attributesFile=/dev/null", "-c", "core.hooksPath=/dev/null"]);
        // A signature may be asked for by a file that is archived (`export-subst`).
        for program in ["gpg.program", "gpg.ssh.program", "gpg.x509.program"] {
            git.arg("-c").arg(format!("{program}=false"));
        }
        git.arg("--git-dir").arg(&own);
        Ok::<_, Failure>(git)
    };
    let alone = |mut git: Command| {
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("GIT_DEFAULT_HASH", "sha1");
        git
    };
    let mut init = alone(git()?);
    init.args(["init", "--quiet", "--bare", "--template="]);
    run(world, &init, "making a repository for it")?;
    // Which folders of others may be read (`safe.directory`) is in the person's own configuration.
    let mut list = git()?;
    list.args(["-c", "protocol.version=2", "ls-remote", "--quiet", "--"]).arg(top);
    has(top, revision, &ask(world, &list, "reading the repository")?)?;
    let mut fetch = git()?;
    fetch.args(["-c", "protocol.version=2", "fetch", "--quiet", "--depth=1", "--no-tags"]);
    fetch.args(["--no-recurse-submodules", "--no-auto-maintenance", "--"]).arg(top).arg(revision);
    run(world, &fetch, "reading the repository").map_err(|failure| {
        failure.hint("a revision is a branch, a tag or a whole commit id, of a repository that is here in full")
    })?;
    let mut pack = alone(git()?);
    pack.args(["archive", "--format=tar", "-o"]).arg(&archive);
    let mut tree = std::ffi::OsString::from("FETCH_HEAD");
    if part != Path::new("") {
        tree.push(":");
        tree.push(part);
    }
    run(world, pack.arg(tree), "reading the repository")?;
    let wanted = format!("git+{}@{revision}", folder.display());
    unpack(&archive, &scratch.join("unpacked"), &wanted)
}

/// Whether a repository has a revision, by the list of its branches and tags: a line for each, `ID TAB NAME`. Whole ids are not in it.
fn has(folder: &Path, revision: &str, list: &str) -> Result<(), Failure> {
    let all: Vec<&str> = list.lines().filter_map(|line| Some(line.split_once('\t')?.1)).collect();
    let shown = folder.display();
    if all.is_empty() {
        let message = format!("the repository `{shown}` has no commit yet");
        return Err(
            Failure::new(Exit::Usage, message).hint("commit the plugin, or install the folder")
        );
    }
    let id = matches!(revision.len(), 40 | 64) && revision.chars().all(|c| c.is_ascii_hexdigit());
    let named = |name: &str| {
        let begins = ["", "refs/", "refs/heads/", "refs/tags/"];
        begins.iter().any(|begin| name.strip_prefix(begin) == Some(revision))
    };
    if id || all.iter().any(|name| named(name)) {
        return Ok(());
    }
    let short = |name: &&str| {
        let name = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"))?;
        (!name.ends_with("^{}")).then(|| format!("`{}`", escape_line(name)))
    };
    let names: Vec<String> = all.iter().filter_map(short).take(20).collect();
    let message =
        format!("`{}` is no branch, tag or whole commit id of `{shown}`", escape_line(revision));
    Err(Failure::new(Exit::Usage, message).hint(format!("valid: {}", names.join(", "))))
}

/// The programs of a crate beside its manifest, which is at its top or in a folder `plugin`.
fn cargo(
    world: &World,
    wanted: &Wanted,
    scratch: &Path,
    offline: bool,
) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::of(Exit::Environment, &error);
    let mut cargo = tool("cargo")?;
    // Cargo and rustup obey files of the folder that they are in and of those above it: they are in the person's own.
    let home = cargo_home().filter(|home| home.is_dir());
    let home = home.or_else(|| std::env::var_os("HOME").map(PathBuf::from));
    let home = home.ok_or_else(|| {
        Failure::new(Exit::Environment, "cargo has no home: neither CARGO_HOME nor HOME is set")
    })?;
    cargo.current_dir(home).env("CARGO_TARGET_DIR", scratch.join("target"));
    world.screen.note("building …\n");
    let (source, programs) = match wanted {
        Wanted::CrateFolder(folder) => {
            let source = folder.canonicalize().map_err(failed)?;
            // Not `cargo install --path`, which obeys the configuration in the crate's folder and in all above it: a compiler's wrapper of
            // whoever may write to one of these. What is built is asked for by its manifest, and configured as the folder we are in.
            cargo.args(["build", "--quiet", "--release", "--bins"]);
            cargo.args(["--message-format", "json-render-diagnostics"]);
            cargo.arg("--manifest-path").arg(source.join("Cargo.toml"));
            // A lock is kept to where there is one.
            cargo.args(source.join("Cargo.lock").is_file().then_some("--locked"));
            cargo.args(offline.then_some("--offline"));
            let said = ask(world, &cargo, "building it")?;
            (folder.clone(), executables(&said))
        }
        _ => {
            let root = scratch.join("root");
            cargo.args(["install", "--quiet", "--root"]).arg(&root);
            cargo.args(offline.then_some("--offline"));
            cargo.arg("--").arg(wanted.text().trim_start_matches("crate:"));
            run(world, &cargo, "building it")?;
            let programs = fs::read_dir(root.join("bin")).map_err(failed)?.flatten();
            (registered(&root)?, programs.map(|entry| entry.path()).collect())
        }
    };
    let places = [source.clone(), source.join("plugin")];
    let of = places.iter().find(|folder| folder.join(MANIFEST).exists());
    let of = of.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{}` has no {MANIFEST}", source.display()))
            .hint("it is at the top of the crate, or in its folder `plugin`")
    })?;
    let plugin = scratch.join("plugin");
    fs::create_dir(&plugin).map_err(failed)?;
    let inside = Root::open(&source).map_err(failed)?;
    for name in [MANIFEST, polyloom_conformance::FILE] {
        let path = of.join(name);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let refused = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Usage, format!("`{}` can't be used: {why}", path.display()))
        };
        if !meta.is_file() {
            return Err(refused(&"it is no regular file"));
        }
        let below = path.strip_prefix(&source).unwrap_or(&path);
        let bytes = inside.read(below).map_err(|error| refused(&error))?;
        fs::write(plugin.join(name), bytes).map_err(failed)?;
    }
    if programs.is_empty() {
        let message = format!("`{}` has no program", source.display());
        return Err(Failure::new(Exit::Usage, message).hint("a plugin is a crate with a `main.rs`"));
    }
    for program in programs {
        let name = program.file_name().unwrap_or_default();
        fs::copy(&program, plugin.join(name)).map_err(failed)?;
    }
    Ok(plugin)
}

/// The programs that cargo says it has made: <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>.
fn executables(said: &str) -> Vec<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str(line).ok());
    messages
        .filter_map(|message: serde_json::Value| Some(message["executable"].as_str()?.into()))
        .collect()
}

fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
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
    let sources = cargo_home().ok_or_else(unknown)?.join("registry/src");
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
            "npm:owner/repository",
            "npm:name@owner/repository",
            "npm:@scope/name/more",
            "npm:--global",
            "npm:",
            "npm:../x",
            "npm:https://x",
            "npm:a b",
            "npm:bad@@",
            "npm:bad@",
            "npm:@scope/bad@1@2",
            "crate:bad@@1",
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

    #[test]
    fn what_npm_fetches_is_in_a_registry() {
        for good in ["1.0.0", "^1.2.3-beta.1+x", "~1", ">=1.0.0 <2 || 3.x", "*", "", "latest"] {
            assert!(is_registered(good), "{good}");
        }
        assert!(is_registered("npm:other@^1") && is_registered("npm:@scope/other@^1"));
        for bad in [
            "git+ssh://git@host/x.git",
            "git@github.com:a/b.git",
            "github:a/b",
            "a/b",
            "a/b#main",
            "file:/home",
            "link:../x",
            "workspace:*",
            "http://host/x.tgz",
            "https://host/x",
            "../x",
            "./x",
            ".",
            "~/x",
            "/x",
            "x.tgz",
            "x.TAR.GZ",
            "x.tar",
            "npm:a/b",
            "npm:file:x",
        ] {
            assert!(!is_registered(bad), "{bad}");
        }
    }
}
