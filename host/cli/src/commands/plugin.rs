//! `polyloom plugin list`: which executors there are, where from, whether their programs are here, and how they did when they were tested.

use std::path::Path;
use std::sync::Arc;

use polyloom_conformance::Grade;
use polyloom_model::{Flow, Kind, Manifest};
use polyloom_plugins::Plugin;
use polyloom_report::{Align, Style, Table};
use polyloom_runtime::Place;
use serde_json::json;

use super::abilities::{self, Abilities};
use super::conformance;
use crate::args::Format;
use crate::failure::{Exit, Outcome};
use crate::world::World;

/// What is known of one executor.
pub struct Row {
    id: String,
    title: String,
    kind: &'static str,
    from: String,
    /// Whether that place holds something else by now.
    outdated: bool,
    /// The programs found, or what is missing.
    state: Result<String, String>,
    /// How it did when it was tested as it is now.
    grades: Option<Vec<Grade>>,
    /// What its sessions can do, and how its cells start; none where its manifest can't be read.
    abilities: Option<Abilities>,
}

/// Asks every executor's programs what they are.
pub fn rows(world: &World, place: &Place) -> Vec<Row> {
    let flow = Flow {
        name: String::new(),
        doc: None,
        path: "polyloom.toml".into(),
        root: ".".into(),
        params: Default::default(),
        strict: false,
        seed: 0,
        tools: Vec::new(),
        cells: Vec::new(),
        outputs: std::collections::BTreeMap::new(),
    };
    let mut manifests: Vec<&Arc<Manifest>> =
        world.languages.all().filter_map(|manifest| world.manifest(&manifest.id)).collect();
    manifests.sort_by(|a, b| a.id.cmp(&b.id));
    manifests.into_iter().map(|manifest| row(world, manifest, place, &flow)).collect()
}

fn row(world: &World, manifest: &Arc<Manifest>, place: &Place, flow: &Flow) -> Row {
    let mut grades = None;
    let mut state = match place.executor(manifest, &flow.tools, &flow.root) {
        Ok(executor) => {
            grades = conformance::known(place, &executor).map(|report| report.grades);
            let identity =
                |identity: &str| identity.lines().next().unwrap_or_default().trim().to_owned();
            let tools: Vec<String> =
                executor.tools.values().map(|found| identity(&found.identity)).collect();
            Ok(if tools.is_empty() { own(manifest) } else { tools.join("; ") })
        }
        Err(error) => Err(match &error {
            polyloom_worker::tools::ToolError::Missing { install: Some(install), .. } => {
                format!("{error}: {install}")
            }
            _ => error.to_string(),
        }),
    };
    // Its copy does not run, nor was it tested.
    let plugin = world.plugin(&manifest.id);
    if let Some(plugin) = plugin.filter(|plugin| world.installed.verify(plugin).is_err()) {
        state = Err(format!("changed: polyloom plugin install {}", plugin.again()));
        grades = None;
    }
    Row {
        id: manifest.id.to_string(),
        title: manifest.title.clone(),
        kind: manifest.kind.as_str(),
        from: match &manifest.path {
            None => "bundled".to_owned(),
            Some(_) if plugin.is_some() => "installed".to_owned(),
            Some(path) => path.display().to_string(),
        },
        outdated: plugin.is_some_and(|plugin| world.is_outdated(plugin)),
        state,
        grades,
        abilities: Some(Abilities::of(manifest)),
    }
}

/// What an executor without programs of the machine runs: a file of its own, or nothing but polyloom.
fn own(manifest: &Manifest) -> String {
    let (file, argv) = match &manifest.kind {
        Kind::Command(command) => (&command.component, &command.run),
        Kind::Worker(worker) => (&worker.library, &worker.argv),
    };
    let program = || Some(argv.first()?.strip_prefix("{dir}/")?.to_owned());
    let file = file.clone().or_else(program).filter(|_| manifest.path.is_some());
    file.unwrap_or_else(|| "built in".to_owned())
}

/// What could be installed: known by its manifest alone.
fn offered(world: &World) -> Vec<Row> {
    let known = |id: &str| world.languages.find(id).is_some() || world.installed.find(id).is_some();
    let (offers, problems) = world.offers(Path::new("."));
    world.note_problems(&problems);
    let (installed, offers) = (world.installed.plugins().iter(), offers.iter());
    let state = |plugin: &Plugin| match world.installed.manifest(plugin) {
        Err(_) => Some(format!("gone: polyloom plugin install {}", plugin.again())),
        Ok(_) => (!plugin.enabled).then(|| "disabled".to_owned()),
    };
    let idle = installed.filter_map(|plugin| Some((plugin, state(plugin)?)));
    let idle = idle.map(|(plugin, state)| Row {
        id: plugin.id.to_string(),
        title: plugin.title.clone(),
        kind: "-",
        from: "installed".to_owned(),
        outdated: world.is_outdated(plugin),
        state: Err(state),
        grades: None,
        abilities: world.installed.manifest(plugin).ok().map(|it| Abilities::of(&it)),
    });
    let offers = offers.filter(|offer| !known(offer.manifest.id.as_str())).map(|offer| Row {
        id: offer.manifest.id.to_string(),
        title: offer.manifest.title.clone(),
        kind: offer.manifest.kind.as_str(),
        from: offer.source().to_string(),
        outdated: false,
        state: Err(format!("not enabled ({})", offer.place.as_str())),
        grades: None,
        abilities: Some(Abilities::of(&offer.manifest)),
    });
    let mut rows: Vec<Row> = idle.chain(offers).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

/// As JSON.
pub fn to_json(row: &Row) -> serde_json::Value {
    json!({
        "id": row.id, "title": row.title, "kind": row.kind, "from": row.from,
        "outdated": row.outdated,
        "ready": row.state.is_ok(),
        "programs": row.state.as_ref().ok(),
        "missing": row.state.as_ref().err(),
        "grades": row.grades,
        "abilities": row.abilities,
    })
}

/// As a table.
pub fn to_text(world: &World, rows: &[Row]) -> String {
    let mut table = Table::new(&[
        ("lang", Align::Left),
        ("kind", Align::Left),
        ("from", Align::Left),
        ("tested", Align::Left),
        ("programs", Align::Left),
    ]);
    for row in rows {
        let state = match &row.state {
            Ok(text) => (Style::Plain, text.clone()),
            Err(text) => (Style::Warn, text.clone()),
        };
        let tested = match &row.grades {
            Some(grades) => conformance::marks(grades),
            None => (Style::Dim, "-".to_owned()),
        };
        let from = match row.outdated {
            true => (Style::Warn, format!("{}, outdated", row.from)),
            false => (Style::Dim, row.from.clone()),
        };
        table.styled([
            (Style::Strong, row.id.clone()),
            (Style::Plain, row.kind.to_owned()),
            from,
            tested,
            state,
        ]);
    }
    table.render(world.screen.out, world.screen.columns)
}

/// What sessions of each can do, and how its cells start, as a table.
pub fn abilities(world: &World, rows: &[Row]) -> String {
    let known = rows.iter().filter_map(|row| Some((row.id.as_str(), row.abilities.as_ref()?)));
    abilities::to_text(world, known)
}

/// The command.
pub fn list(world: &World, format: Format) -> Outcome {
    let place = world.place(world.store()?)?;
    let mut rows = rows(world, &place);
    rows.extend(offered(world));
    match format {
        Format::Text => world.screen.print(&to_text(world, &rows)),
        Format::Json => {
            let all: Vec<_> = rows.iter().map(to_json).collect();
            let document = json!({ "schema": "polyloom.plugins/1", "executors": all });
            world.screen.json(&document);
        }
        Format::Jsonl => {
            for row in &rows {
                world.screen.json_line(&to_json(row));
            }
        }
    }
    Ok(Exit::Ok)
}
