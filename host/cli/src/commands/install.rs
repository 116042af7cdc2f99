//! `polyloom plugin install`: which plugins may run is the person's decision, and is bound to what they were when it was made.

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use polyloom_model::Manifest;
use polyloom_plugins::{ArchiveError, Installed, Limits, Offer, Plugin, Source, Staged, asks};
use polyloom_report::{Style, escape_line};

use super::manage::{absolute, failure, offered_as, open};
use super::{fetch, pip};
use crate::args::InstallArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::{World, unix_ms};

/// `polyloom plugin install`.
pub fn install(world: &World, args: &InstallArgs) -> Outcome {
    if let Some(wanted) = args.source.to_str().and_then(fetch::Wanted::of) {
        return fetch::install(world, &wanted?, args);
    }
    let path = absolute(&args.source)?;
    if path.is_dir() {
        if !path.join("executor.toml").exists() {
            if path.join("pyproject.toml").is_file() {
                return pip::install(world, &pip::Wanted::Project(path), args);
            }
            if path.join("Cargo.toml").is_file() {
                return fetch::install(world, &fetch::Wanted::CrateFolder(path), args);
            }
            if let Some(offers) = functions(world, &path) {
                return agree_to_all(world, &offers, args.yes);
            }
        }
        return agree(world, &path, Source::Folder(path.clone()), args.yes);
    }
    if !path.exists() {
        let name = args.source.to_str().unwrap_or_default();
        if let Some(offer) = offered_as(world, name)? {
            return agree_to(world, &offer, args.yes);
        }
        // A name that somebody has here is never asked of an index, where it may be anybody's.
        if let Some(by) = taken(world, name)? {
            let message = format!("`{}` is {by}, and nothing else is offered", escape_line(name));
            return Err(Failure::new(Exit::Usage, message).hint("polyloom plugin list"));
        }
        let Some(wanted) = pip::Wanted::named(name) else {
            let message = format!("there is no file or folder `{}`", path.display());
            let hint = "valid: a folder with an executor.toml, a pyproject.toml or a Cargo.toml, a .tar or .tar.gz of one, npm:NAME, crate:NAME, git+FOLDER, or a name of what `polyloom plugin list` or a package index has";
            return Err(Failure::new(Exit::Usage, message).hint(hint));
        };
        return pip::install(world, &wanted, args);
    }
    let folder = tempfile::tempdir().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let unpacked = polyloom_plugins::unpack(&path, folder.path(), Limits::default());
    let unpacked = unpacked.map_err(|error| match error {
        ArchiveError::Io { .. } => Failure::of(Exit::Environment, &error),
        ArchiveError::Entry { .. } | ArchiveError::TooMuch { .. } => {
            Failure::of(Exit::Usage, &error)
        }
    })?;
    agree(world, &unpacked, Source::Archive(path.clone()), args.yes)
}

/// Who has a name, unless it is a package that was installed by that very name.
fn taken(world: &World, name: &str) -> Result<Option<String>, Failure> {
    let installed = open(world)?;
    if let Some(plugin) = installed.find(name) {
        let again = matches!(plugin.source, Source::Built { .. }) && plugin.again() == name;
        let by = format!("the plugin from {}", escape_line(&plugin.source.to_string()));
        return Ok((!again).then_some(by));
    }
    let known = world.languages.find(name);
    Ok(known.map(|manifest| format!("the executor `{}`", manifest.id)))
}

/// The functions `_exec` in the files of a folder, if there are any.
fn functions(world: &World, folder: &Path) -> Option<Vec<Offer>> {
    let (offers, problems) = polyloom_plugins::functions(folder, world.python()?);
    world.note_problems(&problems);
    Some(offers).filter(|offers| !offers.is_empty())
}

/// Copies the plugin in `folder`, and installs the copy if the person agrees to what it asks for.
pub(super) fn agree(world: &World, folder: &Path, source: Source, yes: bool) -> Outcome {
    let installed = open(world)?;
    let staged = installed.stage(folder).map_err(|error| failure(world, &error))?;
    agree_staged(world, installed, staged, source, yes)
}

/// The same for all that is offered, until one is declined.
pub(super) fn agree_to_all(world: &World, offers: &[Offer], yes: bool) -> Outcome {
    for offer in offers {
        let ended = agree_to(world, offer, yes)?;
        if ended != Exit::Ok {
            return Ok(ended);
        }
    }
    Ok(Exit::Ok)
}

/// The same for what is offered.
pub(super) fn agree_to(world: &World, offer: &Offer, yes: bool) -> Outcome {
    let installed = open(world)?;
    let staged = installed.stage_offer(offer).map_err(|error| failure(world, &error))?;
    agree_staged(world, installed, staged, offer.source(), yes)
}

fn agree_staged(
    world: &World,
    mut installed: Installed,
    staged: Staged,
    source: Source,
    yes: bool,
) -> Outcome {
    let Staged { manifest, copied, .. } = &staged;
    let digest = &copied.digest;
    if let Some(other) = claimed(world, &installed, manifest) {
        let message = format!("the name `{}` is {other}; nothing was installed", other.name);
        return Err(Failure::new(Exit::Usage, message)
            .hint("`id` and `aliases` in its executor.toml name it"));
    }
    // How it is built is seen where it came from.
    let path = match &source {
        Source::Folder(folder) => Some(folder.join("executor.toml")),
        _ => manifest.path.clone(),
    };
    if let Err(error) = polyloom_worker::built::check(&Manifest { path, ..manifest.clone() }) {
        return Err(Failure::of(Exit::Usage, &error).hint("nothing was installed"));
    }
    let id = escape_line(manifest.id.as_str()).into_owned();
    let before = installed.find(manifest.id.as_str());
    let same = |plugin: &Plugin| {
        // An environment that was made for it is another each time.
        let stays = !matches!(source, Source::Built { .. });
        stays
            && plugin.digest == *digest
            && plugin.enabled
            && plugin.package() == source.package()
            && installed.verify(plugin).is_ok()
    };
    if before.is_some_and(same) {
        world.screen.note(&format!("`{id}` is installed and the same\n"));
        return Ok(Exit::Ok);
    }
    let paint = world.screen.err;
    let mut text = format!(
        "{} {} ({}) from {}\n",
        paint.text(Style::Strong, &id),
        escape_line(&manifest.version),
        escape_line(&manifest.title),
        escape_line(&source.to_string()),
    );
    let all = asks(manifest);
    let new = |ask: &String| before.is_some_and(|plugin| !plugin.asks.contains(ask));
    for ask in &all {
        let (style, note) = if new(ask) { (Style::Warn, " (new)") } else { (Style::Plain, "") };
        text.push_str(&format!("  {}{note}\n", paint.text(style, &escape_line(ask))));
    }
    text.push_str(&format!(
        "  has {} ({}), together {}\n",
        if copied.files == 1 { "1 file".to_owned() } else { format!("{} files", copied.files) },
        polyloom_report::size(copied.bytes),
        digest.short()
    ));
    if let Some(old) = before {
        text.push_str(&format!(
            "  in place of {} from {}, {}\n",
            escape_line(&old.version),
            escape_line(&old.source.to_string()),
            old.digest.short()
        ));
    }
    world.screen.tell(&text);
    if !yes && !said_yes(world, &format!("`{id}` may run"), "may it run, as it is now?")? {
        world.screen.tell("nothing was installed\n");
        return Ok(Exit::Failed);
    }
    let plugin =
        installed.install(staged, source, unix_ms()).map_err(|error| failure(world, &error))?;
    world.screen.note(&format!("installed: cells with `lang = \"{}\"` run\n", plugin.id));
    Ok(Exit::Ok)
}

/// Asks the person; `what` is what nobody was asked where there is none.
pub(super) fn said_yes(world: &World, what: &str, question: &str) -> Result<bool, Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let message = format!("nobody was asked whether {what}");
        return Err(Failure::new(Exit::Usage, message).hint("`--yes` agrees to what it asks for"));
    }
    // What was typed before the question was seen answers nothing.
    let _ = nix::sys::termios::tcflush(io::stdin(), nix::sys::termios::FlushArg::TCIFLUSH);
    world.screen.tell(&format!("{question} [y/N] "));
    let mut line = String::new();
    let _ = io::stdin().lock().take(256).read_line(&mut line);
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Who has a name already.
struct Claim {
    name: String,
    by: String,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.by)
    }
}

/// Who has one of a manifest's names, other than what it replaces.
fn claimed(world: &World, installed: &Installed, manifest: &Manifest) -> Option<Claim> {
    let names = || std::iter::once(&manifest.id).chain(&manifest.aliases);
    for name in names() {
        let bundled = world.languages.find(name.as_str()).filter(|other| other.path.is_none());
        if let Some(other) = bundled {
            let by = format!("that of the bundled executor `{}`", other.id);
            return Some(Claim { name: name.to_string(), by });
        }
        for plugin in installed.plugins().iter().filter(|plugin| plugin.id != manifest.id) {
            let other = installed.manifest(plugin).ok();
            let theirs = other.as_ref().is_some_and(|other| other.aliases.contains(name));
            if plugin.id == *name || theirs {
                let by = format!("that of the plugin `{}` ({})", plugin.id, plugin.source);
                return Some(Claim { name: name.to_string(), by });
            }
        }
    }
    None
}
