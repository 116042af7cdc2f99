//! `polyloom plugin install|remove|info|enable|disable|outdated`: which plugins may run is the person's decision, and is bound to what they
//! were when it was made.

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use polyloom_model::Manifest;
use polyloom_plugins::{
    ArchiveError, Installed, InstalledError, Limits, Offer, Plugin, Source, Staged, asks,
};
use polyloom_report::{Align, Style, Table, escape_line};
use serde_json::json;

use crate::args::{Format, InstallArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::{World, unix_ms};

/// `polyloom plugin install`.
pub fn install(world: &World, args: &InstallArgs) -> Outcome {
    let path = absolute(&args.source)?;
    if path.is_dir() {
        if !path.join("executor.toml").exists()
            && let Some(offers) = functions(world, &path)
        {
            for offer in &offers {
                let ended = agree_to(world, offer, args.yes)?;
                if ended != Exit::Ok {
                    return Ok(ended);
                }
            }
            return Ok(Exit::Ok);
        }
        return agree(world, &path, Source::Folder(path.clone()), args.yes);
    }
    if !path.exists() {
        let offer = args.source.to_str().map(|id| offered_as(world, id)).transpose()?.flatten();
        let Some(offer) = offer else {
            let message = format!("there is no file or folder `{}`", path.display());
            let hint = "valid: a folder with an executor.toml, a .tar or .tar.gz of one, or the name of what `polyloom plugin list` has";
            return Err(Failure::new(Exit::Usage, message).hint(hint));
        };
        return agree_to(world, &offer, args.yes);
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

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::of(Exit::Environment, &error))
}

/// The functions `_exec` in the files of a folder, if there are any.
fn functions(world: &World, folder: &Path) -> Option<Vec<Offer>> {
    let (offers, problems) = polyloom_plugins::functions(folder, world.python()?);
    world.note_problems(&problems);
    Some(offers).filter(|offers| !offers.is_empty())
}

/// Copies the plugin in `folder`, and installs the copy if the person agrees to what it asks for.
fn agree(world: &World, folder: &Path, source: Source, yes: bool) -> Outcome {
    let installed = open(world)?;
    let staged = installed.stage(folder).map_err(|error| failure(world, &error))?;
    agree_staged(world, installed, staged, source, yes)
}

/// The same for what is offered.
fn agree_to(world: &World, offer: &Offer, yes: bool) -> Outcome {
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
    let id = escape_line(manifest.id.as_str()).into_owned();
    let before = installed.find(manifest.id.as_str());
    let same = |plugin: &Plugin| {
        plugin.digest == *digest && plugin.enabled && installed.verify(plugin).is_ok()
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
    if !yes && !said_yes(world, &id)? {
        world.screen.tell("nothing was installed\n");
        return Ok(Exit::Failed);
    }
    let plugin =
        installed.install(staged, source, unix_ms()).map_err(|error| failure(world, &error))?;
    world.screen.note(&format!("installed: cells with `lang = \"{}\"` run\n", plugin.id));
    Ok(Exit::Ok)
}

fn said_yes(world: &World, id: &str) -> Result<bool, Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let message = format!("nobody was asked whether `{id}` may run");
        return Err(Failure::new(Exit::Usage, message).hint("`--yes` agrees to what it asks for"));
    }
    // What was typed before the question was seen answers nothing.
    let _ = nix::sys::termios::tcflush(io::stdin(), nix::sys::termios::FlushArg::TCIFLUSH);
    world.screen.tell("may it run, as it is now? [y/N] ");
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

fn open(world: &World) -> Result<Installed, Failure> {
    let folder = world.plugins_folder().ok_or_else(|| {
        let message = "there is no place for plugins: neither XDG_DATA_HOME nor HOME is set";
        Failure::new(Exit::Environment, message)
    })?;
    Installed::open(&folder).map_err(|error| failure(world, &error))
}

fn failure(world: &World, error: &InstalledError) -> Failure {
    match error {
        InstalledError::Manifest { problems, .. } => {
            if !problems.is_empty() {
                let report = polyloom_load::Report { problems: problems.clone() };
                let width = world.screen.columns.unwrap_or(100);
                world.screen.tell(&polyloom_load::render(&report, world.screen.err.color, width));
            }
            let failure = Failure::of(Exit::Usage, error);
            match problems.is_empty() {
                true => failure.hint("a plugin is a folder with an executor.toml"),
                false => failure,
            }
        }
        InstalledError::Unknown(_) => Failure::of(Exit::Usage, error).hint("polyloom plugin list"),
        InstalledError::Tree(_) => Failure::of(Exit::Usage, error),
        InstalledError::List { .. } => Failure::of(Exit::Environment, error)
            .hint("move it away, and install again what you need"),
        InstalledError::Io { .. }
        | InstalledError::Open { .. }
        | InstalledError::Changed { .. } => Failure::of(Exit::Environment, error),
    }
}

/// `polyloom plugin remove`.
pub fn remove(world: &World, id: &str) -> Outcome {
    open(world)?.remove(id).map_err(|error| failure(world, &error))?;
    world.screen.note(&format!("removed `{}`\n", escape_line(id)));
    Ok(Exit::Ok)
}

/// `polyloom plugin disable`.
pub fn disable(world: &World, id: &str) -> Outcome {
    open(world)?.enable(id, false).map_err(|error| failure(world, &error))?;
    world.screen.note(&format!("`{}` does not run any more\n", escape_line(id)));
    Ok(Exit::Ok)
}

/// `polyloom plugin enable`.
pub fn enable(world: &World, id: &str, yes: bool) -> Outcome {
    let mut installed = open(world)?;
    if let Some(plugin) = installed.find(id) {
        // What was agreed to is this copy: nothing is asked again.
        installed.verify(plugin).map_err(|error| {
            let hint = format!("polyloom plugin install {}", plugin.again());
            Failure::of(Exit::Environment, &error).hint(hint)
        })?;
        installed.enable(id, true).map_err(|error| failure(world, &error))?;
        world.screen.note(&format!("cells with `lang = \"{}\"` run\n", escape_line(id)));
        return Ok(Exit::Ok);
    }
    let Some(offer) = offered_as(world, id)? else {
        let error = InstalledError::Unknown(escape_line(id).into_owned());
        return Err(failure(world, &error));
    };
    agree_to(world, &offer, yes)
}

/// What is offered under a name; what was told of that name is told again.
fn offered_as(world: &World, id: &str) -> Result<Option<Offer>, Failure> {
    let (offers, problems) = world.offers(Path::new("."));
    let mut meant = offers.into_iter().filter(|offer| offer.manifest.id.as_str() == id);
    let (first, second) = (meant.next(), meant.next());
    if let (Some(one), Some(other)) = (&first, &second) {
        let message = format!(
            "the name `{}` is claimed by `{}` and `{}`",
            escape_line(id),
            escape_line(&one.source().to_string()),
            escape_line(&other.source().to_string())
        );
        let hint = match one.made {
            None => format!("polyloom plugin install {}", one.folder.display()),
            Some(_) => "uninstall one of the packages".to_owned(),
        };
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    let about = format!("`{id}");
    let about = problems.into_iter().filter(|problem| problem.message.contains(&about));
    world.note_problems(&about.collect::<Vec<_>>());
    let Some(mut offer) = first else { return Ok(None) };
    offer.folder = absolute(&offer.folder)?;
    Ok(Some(offer))
}

/// `polyloom plugin info`.
pub fn info(world: &World, id: &str, format: Format) -> Outcome {
    let installed = open(world)?;
    let found = match installed.find(id) {
        Some(plugin) => {
            let manifest = installed.manifest(plugin).map_err(|error| failure(world, &error))?;
            (Some(plugin), manifest, plugin.source.to_string())
        }
        None => {
            let Some(offer) = offered_as(world, id)? else {
                let error = InstalledError::Unknown(escape_line(id).into_owned());
                return Err(failure(world, &error));
            };
            let from = offer.source().to_string();
            (None, offer.manifest, from)
        }
    };
    let (plugin, manifest, from) = found;
    let asks = asks(&manifest);
    let changed = plugin.map(|plugin| installed.verify(plugin).is_err());
    if format != Format::Text {
        let document = json!({
            "schema": "polyloom.plugin/1",
            "id": manifest.id.as_str(),
            "version": manifest.version,
            "title": manifest.title,
            "from": from,
            "installed": plugin.is_some(),
            "enabled": plugin.is_some_and(|plugin| plugin.enabled),
            "digest": plugin.map(|plugin| plugin.digest.to_string()),
            "changed": changed,
            "asks": asks,
            "aliases": manifest.aliases.iter().map(|alias| alias.as_str()).collect::<Vec<_>>(),
            "extensions": manifest.extensions,
        });
        world.screen.json(&document);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, text: String| table.row([name.to_owned(), text]);
    row("id", manifest.id.to_string());
    row("version", manifest.version.clone());
    row("title", manifest.title.clone());
    row("from", from);
    row("state", state(plugin, changed).to_owned());
    if let Some(plugin) = plugin {
        row("digest", plugin.digest.to_string());
    }
    for ask in asks {
        row("asks", ask);
    }
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
    Ok(Exit::Ok)
}

fn state(plugin: Option<&Plugin>, changed: Option<bool>) -> &'static str {
    match (plugin.map(|plugin| plugin.enabled), changed) {
        (None, _) => "not installed",
        (Some(_), Some(true)) => {
            "its copy was changed: it does not run until it is installed again"
        }
        (Some(true), _) => "enabled",
        (Some(false), _) => "disabled",
    }
}

/// `polyloom plugin outdated`.
pub fn outdated(world: &World, format: Format) -> Outcome {
    let installed = open(world)?;
    let mut rows = Vec::new();
    for plugin in installed.plugins() {
        let now = match &plugin.source {
            Source::Folder(folder) => {
                polyloom_plugins::digest(folder, Limits::default()).map_err(|e| e.to_string())
            }
            Source::Archive(path) => archived(path),
            Source::Package(_) | Source::Function(_) => offered(world, plugin),
        };
        match now {
            Ok(now) if now == plugin.digest => {}
            Ok(now) => rows.push((plugin, Some(now), "has changed".to_owned())),
            Err(why) => rows.push((plugin, None, why)),
        }
    }
    match format {
        Format::Text => {
            let mut table = Table::new(&[
                ("plugin", Align::Left),
                ("from", Align::Left),
                ("what", Align::Left),
            ]);
            for (plugin, _, what) in &rows {
                table.row([plugin.id.to_string(), plugin.source.to_string(), what.clone()]);
            }
            if !rows.is_empty() {
                world.screen.print(&table.render(world.screen.out, world.screen.columns));
                world.screen.note("hint: polyloom plugin install FROM\n");
            }
        }
        Format::Json | Format::Jsonl => {
            let rows = rows.iter().map(|(plugin, now, what)| {
                json!({
                    "id": plugin.id.as_str(),
                    "digest": plugin.digest.to_string(),
                    "now": now.map(|now| now.to_string()),
                    "what": what,
                })
            });
            let rows: Vec<_> = rows.collect();
            world.screen.json(&json!({ "schema": "polyloom.outdated/1", "plugins": rows }));
        }
    }
    Ok(if rows.is_empty() { Exit::Nothing } else { Exit::Ok })
}

/// The digest of what a package or a file offers now.
fn offered(world: &World, plugin: &Plugin) -> Result<polyloom_model::Digest, String> {
    let gone = || "is not there any more".to_owned();
    let tool = world.python().ok_or_else(gone)?;
    let (offers, _) = match &plugin.source {
        Source::Function(path) => polyloom_plugins::functions(path.parent().unwrap_or(path), tool),
        Source::Package(package) => {
            polyloom_plugins::packaged(std::slice::from_ref(&package.interpreter), tool)
        }
        Source::Folder(_) | Source::Archive(_) => return Err(gone()),
    };
    let offer = offers.iter().find(|offer| offer.manifest.id == plugin.id).ok_or_else(gone)?;
    polyloom_plugins::offered_digest(offer).map_err(|error| error.to_string())
}

/// The digest of what an archive holds.
fn archived(path: &Path) -> Result<polyloom_model::Digest, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let unpacked = polyloom_plugins::unpack(path, folder.path(), Limits::default());
    let unpacked = unpacked.map_err(|error| error.to_string())?;
    polyloom_plugins::digest(&unpacked, Limits::default()).map_err(|error| error.to_string())
}
