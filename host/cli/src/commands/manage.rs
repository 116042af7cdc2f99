//! `polyloom plugin remove|info|enable|disable|outdated`: what a person installed, and what could be.

use std::path::{Component, Path, PathBuf};

use polyloom_model::Manifest;
use polyloom_plugins::{Installed, InstalledError, Limits, Offer, Package, Plugin, Source, asks};
use polyloom_report::{Align, Table, escape_line};
use serde_json::json;

use super::abilities::Abilities;
use super::fetch;
use super::install::agree_to;
use crate::args::Format;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// From the root, without `..`, as it is kept and shown.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if climbs && let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let path = std::path::absolute(path).map(|path| path.components().collect());
    path.map_err(|error| Failure::of(Exit::Environment, &error))
}

pub(super) fn open(world: &World) -> Result<Installed, Failure> {
    let folder = world.plugins_folder().ok_or_else(|| {
        let message = "there is no place for plugins: neither XDG_DATA_HOME nor HOME is set";
        Failure::new(Exit::Environment, message)
    })?;
    Installed::open(&folder).map_err(|error| failure(world, &error))
}

pub(super) fn failure(world: &World, error: &InstalledError) -> Failure {
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
        InstalledError::Gone { again, .. } => Failure::of(Exit::Environment, error)
            .hint(format!("polyloom plugin install {}", escape_line(again))),
        InstalledError::Tree(_) => Failure::of(Exit::Usage, error),
        InstalledError::List { .. } => Failure::of(Exit::Environment, error)
            .hint("move it away, and install again what you need"),
        InstalledError::Io { .. }
        | InstalledError::Open { .. }
        | InstalledError::Changed { .. } => Failure::of(Exit::Environment, error),
    }
}

/// What is the matter with a name that no installed plugin has.
fn unknown(world: &World, id: &str) -> Failure {
    let shown = escape_line(id);
    let known = world.languages.find(id);
    let is = known.and_then(|manifest| match (&manifest.path, manifest.kind.kernel()) {
        (None, _) => Some("is bundled"),
        (Some(_), Some(_)) => Some("is a kernel of Jupyter"),
        (Some(_), None) => None,
    });
    if let (Some(manifest), Some(is)) = (known, is) {
        let lang = &manifest.id;
        let message =
            format!("`{shown}` {is}: cells with `lang = \"{lang}\"` need no installation");
        return Failure::new(Exit::Usage, message).hint("polyloom plugin list");
    }
    let (offers, _) = world.offers(Path::new("."));
    let offered = offers.iter().any(|offer| offer.manifest.id.as_str() == id);
    let ids = world.installed.plugins().iter().map(|plugin| plugin.id.as_str());
    let ids = ids.chain(offers.iter().map(|offer| offer.manifest.id.as_str()));
    let hint = match (known, polyloom_plan::nearest(id, ids)) {
        // Who has an id under another name knows it.
        (Some(manifest), _) if manifest.id.as_str() != id => format!("its id is `{}`", manifest.id),
        (Some(_), _) => "it is in a folder of `--executor-dir`, and runs from there".to_owned(),
        (None, _) if offered => format!("`{shown}` is offered: polyloom plugin enable {shown}"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => "polyloom plugin list".to_owned(),
    };
    Failure::of(Exit::Usage, &InstalledError::Unknown(shown.into_owned())).hint(hint)
}

/// Why a plugin of a name could not be changed.
fn unchanged(world: &World, id: &str, error: &InstalledError) -> Failure {
    match error {
        InstalledError::Unknown(_) => unknown(world, id),
        _ => failure(world, error),
    }
}

/// `polyloom plugin remove`.
pub fn remove(world: &World, id: &str) -> Outcome {
    open(world)?.remove(id).map_err(|error| unchanged(world, id, &error))?;
    world.screen.note(&format!("removed `{}`\n", escape_line(id)));
    Ok(Exit::Ok)
}

/// `polyloom plugin disable`.
pub fn disable(world: &World, id: &str) -> Outcome {
    open(world)?.enable(id, false).map_err(|error| unchanged(world, id, &error))?;
    world.screen.note(&format!("`{}` does not run any more\n", escape_line(id)));
    Ok(Exit::Ok)
}

/// `polyloom plugin enable`.
pub fn enable(world: &World, id: &str, yes: bool) -> Outcome {
    let mut installed = open(world)?;
    if let Some(plugin) = &installed.find(id).cloned() {
        // What was agreed to is this copy: nothing is asked again.
        installed.verify(plugin).map_err(|error| {
            let hint = format!("polyloom plugin install {}", plugin.again());
            Failure::of(Exit::Environment, &error).hint(hint)
        })?;
        installed.enable(id, true).map_err(|error| failure(world, &error))?;
        world.screen.note(&format!("cells with `lang = \"{}\"` run\n", escape_line(id)));
        world.note_outdated(plugin);
        return Ok(Exit::Ok);
    }
    let Some(offer) = offered_as(world, id)? else {
        return Err(unknown(world, id));
    };
    agree_to(world, &offer, yes)
}

/// What is offered under a name; what was told of that name is told again.
pub(super) fn offered_as(world: &World, id: &str) -> Result<Option<Offer>, Failure> {
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
    let Some(mut offer) = first else {
        // Who has the name already is not concerned by what can't be had.
        let known = world.languages.find(id).is_some();
        return match World::broken_offer(Path::new("."), id).filter(|_| !known) {
            Some(broken) => {
                let (path, problems) = (broken.path, broken.problems);
                Err(failure(world, &InstalledError::Manifest { path, problems }))
            }
            None => Ok(None),
        };
    };
    offer.folder = absolute(&offer.folder)?;
    Ok(Some(offer))
}

/// `polyloom plugin info`.
pub fn info(world: &World, id: &str, format: Format) -> Outcome {
    let installed = open(world)?;
    let mut runs = false;
    let mut digest = None;
    let found = match installed.find(id) {
        Some(plugin) => {
            let manifest = installed.manifest(plugin).map_err(|error| failure(world, &error))?;
            (Some(plugin), manifest, plugin.source.to_string())
        }
        None => {
            match (offered_as(world, id)?, world.languages.find(id)) {
                (Some(offer), _) => {
                    let from = offer.source().to_string();
                    digest = polyloom_plugins::offered_digest(&offer).ok();
                    (None, offer.manifest, from)
                }
                // Bundled, or in a folder that was named on the command line: it runs as it is.
                (None, Some(known)) => {
                    runs = true;
                    let manifest = world.manifest(&known.id).map(|it| Manifest::clone(it));
                    let manifest = manifest.unwrap_or_else(|| Manifest::clone(known));
                    let folder = manifest.path.as_deref().and_then(Path::parent);
                    let own = folder.filter(|_| manifest.kind.kernel().is_none());
                    digest =
                        own.and_then(|it| polyloom_plugins::digest(it, Limits::default()).ok());
                    let from = folder.map(|folder| folder.display().to_string());
                    (None, manifest, from.unwrap_or_else(|| "bundled".to_owned()))
                }
                (None, None) => {
                    let failure = unknown(world, id);
                    let message = format!("there is no executor `{}`", escape_line(id));
                    return Err(Failure { messages: vec![message], ..failure });
                }
            }
        }
    };
    let (plugin, manifest, from) = found;
    let digest = plugin.map(|plugin| plugin.digest).or(digest);
    let packages = packages(&installed, plugin);
    let asks = asks(&manifest);
    let changed = plugin.map(|plugin| installed.verify(plugin).is_err());
    let abilities = Abilities::of(&manifest);
    // Nothing is asked of one that does not run.
    let ready = runs || plugin.is_some_and(|it| it.enabled && changed == Some(false));
    let programs = match world.manifest(&manifest.id).filter(|_| ready) {
        Some(manifest) => programs(world, manifest)?,
        None => Ok(Vec::new()),
    };
    if format != Format::Text {
        let document = json!({
            "schema": "polyloom.plugin/1",
            "id": manifest.id.as_str(),
            "version": manifest.version,
            "title": manifest.title,
            "from": from,
            "installed": plugin.is_some(),
            "enabled": runs || plugin.is_some_and(|plugin| plugin.enabled),
            "digest": digest.map(|digest| digest.to_string()),
            "changed": changed,
            "asks": asks,
            "packages": packages,
            "aliases": manifest.aliases.iter().map(|alias| alias.as_str()).collect::<Vec<_>>(),
            "extensions": manifest.extensions,
            "abilities": abilities,
            "programs": programs.as_ref().ok(),
            "missing": programs.as_ref().err(),
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
    row("state", if runs { "needs no installation" } else { state(plugin, changed) }.to_owned());
    if let Some(digest) = digest {
        row("digest", digest.to_string());
    }
    row("sessions", abilities.session());
    row("prompt", abilities.prompt().to_owned());
    row("starts", abilities.starts());
    for ask in &asks {
        let (label, text) = labelled(ask);
        row(label, text.to_owned());
    }
    match programs {
        Ok(programs) => {
            for found in programs {
                row("found", format!("{}: {}", found.program, found.identity));
            }
        }
        Err(missing) => row("missing", missing),
    }
    for package in packages {
        row("has", package);
    }
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
    Ok(Exit::Ok)
}

/// A program of an executor's that was found.
#[derive(serde::Serialize)]
struct Program {
    tool: String,
    program: String,
    /// What it says it is.
    identity: String,
}

/// The programs of an executor as a flow in the current folder would have them, or what is missing.
fn programs(
    world: &World,
    manifest: &std::sync::Arc<Manifest>,
) -> Result<Result<Vec<Program>, String>, Failure> {
    let place = world.readers_place()?;
    let here = Path::new(".");
    let tools = polyloom_load::tools_in(here, &world.languages);
    Ok(place.executor(manifest, &tools, here).map_err(|error| error.to_string()).map(|executor| {
        let found = executor.tools.iter().map(|(tool, found)| Program {
            tool: tool.clone(),
            program: found.program.display().to_string(),
            identity: found.identity.lines().next().unwrap_or_default().trim().to_owned(),
        });
        found.collect()
    }))
}

/// What a manifest asks for, as a row of a table.
fn labelled(ask: &str) -> (&'static str, &str) {
    let labels = [
        ("is also called ", "aliases"),
        ("takes files ", "files"),
        ("runs the program ", "runs"),
        ("runs its own file ", "own file"),
        ("has the ability ", "ability"),
        ("has its machine code in ", "library"),
        ("has its code in WebAssembly, ", "component"),
    ];
    let label = labels.iter().find_map(|(words, label)| Some((*label, ask.strip_prefix(words)?)));
    label.unwrap_or(("is", ask.strip_prefix("is ").unwrap_or(ask)))
}

/// The Python packages that a plugin is of, and runs with where it has an environment of its own.
fn packages(installed: &Installed, plugin: Option<&Plugin>) -> Vec<String> {
    let Some(package) = plugin.and_then(Plugin::package) else { return Vec::new() };
    let shown = |package: &Package| format!("{} {}", package.name, package.version);
    match installed.is_own(&package.interpreter) {
        true => polyloom_plugins::installed(&package.interpreter).iter().map(shown).collect(),
        false => vec![shown(package)],
    }
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
    let mut unasked = Vec::new();
    for plugin in installed.plugins() {
        let now = polyloom_plugins::digest_now(plugin, world.python());
        let now = match (now, &plugin.source) {
            (Some(now), _) => now,
            (None, Source::Fetched(from)) => match fetch::digest(world, from) {
                Some(now) => now,
                None => {
                    unasked.push(from.as_str());
                    continue;
                }
            },
            (None, _) => continue,
        };
        match now {
            Ok(now) if now == plugin.digest => {}
            Ok(now) => rows.push((plugin, Some(now), "has changed".to_owned())),
            Err(why) => rows.push((plugin, None, why)),
        }
    }
    for from in unasked {
        let from = escape_line(from);
        world.screen.note(&format!("not asked: {from}; `polyloom plugin install {from}` does\n"));
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
            if rows.is_empty() {
                world.screen.note("no change was found\n");
            } else {
                world.screen.print(&table.render(world.screen.out, world.screen.columns));
            }
            for (plugin, now, _) in &rows {
                let (id, again) = (&plugin.id, plugin.again());
                let hint = match now {
                    Some(_) => format!("polyloom plugin install {}", escape_line(&again)),
                    // What is gone can't be had again from there.
                    None => format!(
                        "`{id}` runs as it was installed: `polyloom plugin install` takes it from elsewhere, `polyloom plugin remove {id}` removes it"
                    ),
                };
                world.screen.note(&format!("hint: {hint}\n"));
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
