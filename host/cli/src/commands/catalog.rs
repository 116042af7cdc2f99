//! `polyloom catalog`: the typed functions there are, and what is wrong with those that could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use polyloom_load::{
    Catalog, CatalogEntry, CatalogPort, Functions, Question, Report, Root, Severity, Target, Use,
    has_flow,
};
use polyloom_model::{ExecutorId, LEFT_OUT, Manifest, is_left_out};
use polyloom_report::{Align, Style, Table, escape_line};
use serde_json::Value as Json;

use crate::args::{CatalogArgs, Format};
use crate::failure::{Exit, Failure, Outcome};
use crate::functions::Readers;
use crate::world::World;

/// What is asked of which reader, by its folder.
type Asked = BTreeMap<(ExecutorId, PathBuf), Vec<Target>>;

/// The command.
pub fn catalog(world: &World, args: &CatalogArgs) -> Outcome {
    let mut asked = Asked::new();
    for text in &args.of {
        let (manifests, root, target) = target(world, text, args.executor.as_deref())?;
        for manifest in manifests {
            asked.entry((manifest.id.clone(), root.clone())).or_default().push(target.clone());
        }
    }
    let folders: BTreeSet<PathBuf> = asked.keys().map(|(_, folder)| folder.clone()).collect();
    let readers = Readers::new(world);
    let mut whole = Catalog::default();
    let mut report = Report::default();
    for ((id, folder), targets) in asked {
        let root = Root::open(&folder).map_err(|error| {
            let message = format!("can't open the folder `{}`: {error}", folder.display());
            Failure::new(Exit::Usage, message)
        })?;
        let Some(manifest) = world.manifest(&id) else { continue };
        let tools = polyloom_load::tools_in(&folder, &world.languages);
        let question = Question {
            manifest,
            root: &root,
            tools: &tools,
            targets: &targets,
            allow_untyped: args.allow_untyped,
        };
        let mut catalog = readers.ask(&question).map_err(|why| {
            let message = format!("typed functions of `{id}` can't be read: {why}");
            Failure::new(Exit::Environment, message)
                .hint("polyloom doctor shows what this machine lacks")
        })?;
        if args.strict {
            catalog.findings.iter_mut().for_each(|it| it.severity = Severity::Error);
        }
        report.extend(catalog.report(&root));
        whole.entries.extend(catalog.entries);
        whole.types.extend(catalog.types);
        whole.findings.extend(catalog.findings);
    }
    whole.entries.sort_by(|a, b| a.id.cmp(&b.id));
    whole.entries.dedup_by(|a, b| a.id == b.id);
    let failed = report.has_errors();
    match args.format {
        Format::Json => world.screen.json(&whole.to_json()),
        Format::Jsonl => world.screen.json_line(&whole.to_json()),
        Format::Text => {
            if !whole.entries.is_empty() {
                world
                    .screen
                    .print(&table(&whole.entries).render(world.screen.out, world.screen.columns));
            }
            let (errors, warnings) = (report.errors(), report.warnings());
            // Who lets untyped ones through knows; what they are is told to who asks.
            let is_quiet = args.allow_untyped && world.screen.verbosity < 1 && warnings > 0;
            if is_quiet {
                report.problems.retain(|it| it.severity == Severity::Error);
            }
            let width = world.screen.columns.unwrap_or(100);
            world.screen.tell(&polyloom_load::render(&report, world.screen.err.color, width));
            let elsewhere = folders.iter().filter(|it| it.as_path() != Path::new("."));
            for folder in elsewhere.filter(|_| !whole.entries.is_empty()) {
                let folder = folder.display().to_string();
                world
                    .screen
                    .note(&format!("ids are those of a flow in `{}`\n", escape_line(&folder)));
            }
            let plural = |count: usize, noun: &str| match count {
                1 => format!("1 {noun}"),
                _ => format!("{count} {noun}s"),
            };
            world.screen.note(&format!(
                "{}: {}, {}{}\n",
                plural(whole.entries.len(), "function"),
                plural(errors, "error"),
                plural(warnings, "warning"),
                if is_quiet { " (`-v` shows them)" } else { "" }
            ));
        }
    }
    // The command ends here, and to take a long catalog apart takes as long as to make it.
    std::mem::forget(whole);
    Ok(if failed { Exit::Usage } else { Exit::Ok })
}

fn table(entries: &[CatalogEntry]) -> Table {
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("takes", Align::Left),
        ("gives", Align::Left),
        ("does", Align::Left),
    ]);
    for entry in entries {
        let line = |text: &str| escape_line(text).into_owned();
        let input = |port: &CatalogPort| {
            let default = port.default.as_ref().map(|it| format!(" = {}", brief(it)));
            // What has a default may be left out.
            let mark = if port.required || default.is_some() { "" } else { "?" };
            let bounds = bounds(port).map(|it| format!(" ({it})")).unwrap_or_default();
            let (name, ty) = (&port.name, brief(&port.ty.to_string()));
            line(&format!("{name}{mark}: {ty}{bounds}{}", default.unwrap_or_default()))
        };
        let inputs: Vec<String> = entry.inputs.iter().map(input).collect();
        let output = |port: &CatalogPort| {
            let item = port.item().map(|it| format!(" (of {})", brief(&it.to_string())));
            line(&format!(
                "{}: {}{}",
                port.name,
                brief(&port.ty.to_string()),
                item.unwrap_or_default()
            ))
        };
        let outputs: Vec<String> = entry.outputs.iter().map(output).collect();
        table.styled([
            (Style::Strong, line(&entry.id)),
            (Style::Plain, inputs.join(", ")),
            (Style::Plain, outputs.join(", ")),
            (Style::Dim, line(entry.doc.lines().next().unwrap_or_default())),
        ]);
    }
    table
}

/// The choices or the range that a port's schema leaves of its type, in short.
fn bounds(port: &CatalogPort) -> Option<String> {
    const MOST: usize = 6;
    if let Some(item) = port.item() {
        return Some(format!("of {}", brief(&item.to_string())));
    }
    if let Some(choices) = port.schema.get("enum").and_then(Json::as_array) {
        // An enum says them itself.
        let plain = !port.ty.to_string().starts_with("enum{");
        let shown: Vec<String> = choices.iter().take(MOST).map(Json::to_string).collect();
        let more = if choices.len() > MOST { ", …" } else { "" };
        return plain.then(|| format!("{}{more}", shown.join(", ")));
    }
    let bound = |key: &str| port.schema.get(key).filter(|it| it.is_number());
    let low = bound("minimum").map(|it| (it, "at least"));
    let low = low.or_else(|| bound("exclusiveMinimum").map(|it| (it, "greater than")));
    let high = bound("maximum").map(|it| (it, "at most"));
    let high = high.or_else(|| bound("exclusiveMaximum").map(|it| (it, "less than")));
    Some(match (low, high) {
        (Some((low, "at least")), Some((high, "at most"))) => format!("{low} to {high}"),
        (Some((low, above)), Some((high, below))) => format!("{above} {low}, {below} {high}"),
        (Some((bound, word)), None) | (None, Some((bound, word))) => format!("{word} {bound}"),
        (None, None) => return None,
    })
}

/// A type as it fits into a line.
fn brief(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a word of the command line means.
fn target<'w>(
    world: &'w World,
    text: &str,
    executor: Option<&str>,
) -> Result<(Vec<&'w Manifest>, PathBuf, Target), Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let with_reader = || {
        let all = world.languages.all().filter(|it| it.has_functions());
        all.map(|it| &**it).collect::<Vec<_>>()
    };
    let named = |name: &str| -> Result<&'w Manifest, Failure> {
        let names: Vec<String> = with_reader().iter().map(|it| format!("`{}`", it.id)).collect();
        let valid = format!("valid: {}", names.join(", "));
        match world.languages.find(name) {
            Some(manifest) if manifest.has_functions() => Ok(manifest),
            Some(manifest) => {
                Err(usage(format!("`{}` has no typed functions", manifest.id)).hint(valid))
            }
            None => Err(usage(format!("unknown executor `{name}`")).hint(valid)),
        }
    };
    let here = PathBuf::from(".");
    if let Some(found) = Use::read(text).filter(|it| world.languages.find(&it.executor).is_some()) {
        return Ok((vec![named(&found.executor)?], here, found.target));
    }
    let path = Path::new(text);
    // The function of a file: `filters.py:blur`.
    let (path, object) = match text.rsplit_once(':') {
        Some((file, object)) if !path.exists() && Path::new(file).exists() => {
            (Path::new(file), Some(object.to_owned()))
        }
        _ => (path, None),
    };
    if path.exists() {
        let manifests = match executor {
            Some(name) => vec![named(name)?],
            None => {
                let mut all = with_reader();
                let found = extensions(path);
                all.retain(|it| {
                    it.catalog.is_some() && it.readable.iter().any(|own| found.contains(own))
                });
                all
            }
        };
        if manifests.is_empty() {
            return Err(usage(format!("no executor reads typed functions of `{text}`")));
        }
        let (root, below) = placed(path)
            .ok_or_else(|| usage(format!("`{text}` is no file or folder of functions")))?;
        let location = format!("./{}", below.display());
        return Ok((manifests, root, Target { location, object }));
    }
    let dotted = !text.contains(['/', '\\', ' ']);
    match executor {
        Some(name) if dotted => {
            let (location, object) = match text.split_once(':') {
                Some((location, object)) => (location, Some(object.to_owned())),
                None => (text, None),
            };
            Ok((vec![named(name)?], here, Target { location: location.to_owned(), object }))
        }
        _ => Err(usage(format!("there is no file or folder `{text}`")).hint(format!(
            "what is installed is named with its language: `polyloom catalog python:{}`",
            if dotted { text } else { "numpy.linalg" }
        ))),
    }
}

/// The extensions of a file, or of those in a folder: whose functions may be there.
fn extensions(path: &Path) -> BTreeSet<String> {
    const MOST: usize = 20_000;
    let of = |path: &Path| Some(path.extension()?.to_str()?.to_owned());
    if !path.is_dir() {
        return of(path).into_iter().collect();
    }
    let mut found = BTreeSet::new();
    let (mut open, mut seen) = (vec![path.to_owned()], 0);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return found;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                _ if name.starts_with('.') => {}
                Ok(kind) if kind.is_dir() && !is_left_out(&LEFT_OUT, "x", &name) => {
                    open.push(entry.path());
                }
                Ok(kind) if kind.is_file() => found.extend(of(&entry.path())),
                _ => {}
            }
        }
    }
    found
}

/// The folder that a path's ids are relative to, and the path there: that of the flow they can be used in, which is the current one, if it has a
/// flow, else the nearest above the path that has one; without any the current one, or that of the path.
fn placed(path: &Path) -> Option<(PathBuf, PathBuf)> {
    // Where a link leads is the reader's affair.
    let whole = match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => Path::new(".").join(above).canonicalize().ok()?.join(name),
        _ => path.canonicalize().ok()?,
    };
    let here = Path::new(".").canonicalize().ok()?;
    let folder = if whole.is_dir() { whole.as_path() } else { whole.parent()? };
    let inside = whole.starts_with(&here);
    let root = if inside && has_flow(&here) {
        here.as_path()
    } else {
        let above = folder.ancestors().find(|above| has_flow(above));
        above.unwrap_or(if inside { &here } else { folder })
    };
    let below = whole.strip_prefix(root).ok()?.to_owned();
    Some((from(&here, root), below))
}

/// A folder as it is named from another one, where one is above the other.
fn from(here: &Path, folder: &Path) -> PathBuf {
    let dots =
        |up: &Path| Path::new("..").components().cycle().take(up.components().count()).collect();
    match (folder.strip_prefix(here), here.strip_prefix(folder)) {
        (Ok(same), _) if same.as_os_str().is_empty() => PathBuf::from("."),
        (Ok(below), _) => below.to_owned(),
        (_, Ok(up)) => dots(up),
        _ => folder.to_owned(),
    }
}
