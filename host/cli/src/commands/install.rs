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
use crate::scratch::Scratch;
use crate::scratch::Unless;
use crate::world::{World, unix_ms};

/// What can be installed.
const VALID: &str = "valid: a folder with an executor.toml, a pyproject.toml or a Cargo.toml, a .tar or .tar.gz of one, a name that `polyloom plugin list` shows, git+FOLDER, npm:NAME, crate:NAME, pip:NAME";

/// `polyloom plugin install`.
pub fn install(world: &World, args: &InstallArgs) -> Outcome {
    let text = args.source.to_str();
    if let Some(address) = text.filter(|text| text.contains("://") && !text.starts_with("pip:")) {
        let message =
            format!("`{}` is an address; nothing is fetched from one", escape_line(address));
        return Err(Failure::new(Exit::Usage, message).hint(format!(
            "clone or download it, and install the folder or the archive; {VALID}"
        )));
    }
    if let Some(wanted) = text.and_then(fetch::Wanted::of) {
        return fetch::install(world, &wanted?, args);
    }
    if let Some(wanted) = text.and_then(pip::Wanted::of) {
        return pip::install(world, &wanted?, args);
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
            if let Some(failure) = several(&args.source) {
                return Err(failure);
            }
        }
        return agree(world, &path, Source::Folder(path.clone()), args.yes);
    }
    if !path.exists() {
        let name = args.source.to_str().unwrap_or_default();
        return match offered_as(world, name)? {
            Some(offer) => agree_to(world, &offer, args.yes),
            None => Err(nothing(world, name)?),
        };
    }
    let folder = Scratch::new().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let unpacked = polyloom_plugins::unpack(&path, folder.path(), Limits::default());
    let unpacked = unpacked.map_err(|error| match error {
        ArchiveError::Io { .. } => Failure::of(Exit::Environment, &error),
        ArchiveError::Form { .. } => Failure::of(Exit::Usage, &error).hint(VALID),
        ArchiveError::Entry { .. } | ArchiveError::TooMuch { .. } => {
            Failure::of(Exit::Usage, &error)
        }
    })?;
    agree(world, &unpacked, Source::Archive(path.clone()), args.yes)
}

/// Why nothing is to be had under a name. No index is asked for it: there it may be anybody's.
fn nothing(world: &World, name: &str) -> Result<Failure, Failure> {
    let shown = escape_line(name);
    let installed = open(world)?;
    if let Some(plugin) = installed.find(name) {
        let from = escape_line(&plugin.source.to_string()).into_owned();
        let message = format!("`{shown}` is installed, from {from}, and nothing else is offered");
        let hint = match plugin.again() {
            again if again == name => "polyloom plugin list".to_owned(),
            again => format!("polyloom plugin install {again}"),
        };
        return Ok(Failure::new(Exit::Usage, message).hint(hint));
    }
    let bundled = world.languages.find(name).filter(|manifest| manifest.path.is_none());
    if let Some(manifest) = bundled {
        let message = format!(
            "`{shown}` is bundled: cells with `lang = \"{}\"` need no installation",
            manifest.id
        );
        return Ok(Failure::new(Exit::Usage, message).hint("polyloom plugin list"));
    }
    let message =
        format!("there is no file or folder `{shown}`, and no plugin of that name is offered");
    Ok(Failure::new(Exit::Usage, message).hint(VALID))
}

/// That a folder is no plugin and has some in it.
fn several(folder: &Path) -> Option<Failure> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is = |path: &Path| path.join("executor.toml").is_file();
    let mut all: Vec<String> =
        entries.filter(|path| is(path)).map(|path| path.display().to_string()).collect();
    all.sort_unstable();
    let first = escape_line(all.first()?).into_owned();
    let folder = folder.display().to_string();
    let shown = format!("`{}` is no plugin, but has some in it: {}", folder, all.join(", "));
    let failure = Failure::new(Exit::Usage, escape_line(&shown));
    Some(failure.hint(format!("polyloom plugin install {first}")))
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
    // What was fetched or unpacked is known by what was asked for.
    let shown = match &source {
        Source::Fetched(from) => Path::new(from),
        Source::Archive(path) => path,
        Source::Folder(_) | Source::Package(_) | Source::Built { .. } | Source::Function(_) => {
            folder
        }
    };
    let staged = installed.stage_as(folder, shown).map_err(|error| failure(world, &error))?;
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
    let sdk = |file: &str| {
        let mut all = polyloom_executors::sdk().iter().map(|it| it.path);
        all.any(|path| Path::new(path).starts_with(file))
    };
    let shown = Manifest { path, ..manifest.clone() };
    if let Err(error) = polyloom_worker::built::check(&shown, &sdk) {
        let failure = Failure::new(Exit::Usage, format!("{error}; nothing was installed"));
        return Err(match &source {
            Source::Fetched(from) if from.starts_with("git+") => failure
                .hint("only what is committed is taken: commit the file, or install the folder"),
            _ => failure,
        });
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
    if let Some(plugin) = before.filter(|plugin| same(plugin)) {
        let mut text = format!("`{id}` is installed and the same");
        // What was agreed to are its files: nothing is asked again.
        if plugin.source != source {
            text.push_str(&format!(
                "; from now on it is from {}",
                escape_line(&source.to_string())
            ));
            installed.install(staged, source, unix_ms()).map_err(|error| failure(world, &error))?;
        }
        world.screen.note(&(text + "\n"));
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
    let watched = Unless::interrupted(staged.folder())
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    if !yes && !said_yes(world, &format!("`{id}` may run"), "may it run, as it is now?")? {
        world.screen.tell("nothing was installed\n");
        return Ok(Exit::Failed);
    }
    drop(watched);
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
