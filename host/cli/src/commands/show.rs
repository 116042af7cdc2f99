//! `polyloom show RUN [CELL[.PORT]]`: a run, a cell's result, or an output with a preview.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use polyloom_events::Event;
use polyloom_model::{Digest, Encoding, Mark, Type, Value};
use polyloom_protocol::meta::ExecMeta;
use polyloom_report::{
    Align, Paint, PreviewOptions, Style, Subject, Table, duration, escape_line, preview, size,
};
use polyloom_store::{History, Maker, Store};
use serde_json::json;

use super::history::{self, Found};
use super::inner;
use crate::args::{Format, ShowArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// One finished step of a run.
struct Step {
    cell: String,
    lang: String,
    reason: String,
    attempts: u32,
    meta: ExecMeta,
}

/// When what a cell has was made.
struct Ran {
    run: String,
    /// It may be another cell, made of the same.
    cell: String,
    meta: Option<ExecMeta>,
}

impl Ran {
    /// By what a run found of a cell.
    fn of(history: &History, run: &str, cell: &str) -> Result<Option<Self>, Failure> {
        let Some(Maker { run: Some(run), by: cell, .. }) = history::maker(history, run, cell)?
        else {
            return Ok(None);
        };
        let step = history.step(&run, &cell);
        let step = step.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let meta = step.and_then(|step| serde_json::from_str(&step.meta).ok());
        Ok(Some(Self { run, cell, meta }))
    }
}

/// Where an output lies in the store as something a person can open.
pub fn place_of(store: &Store, digest: &str, ty: &str) -> Option<PathBuf> {
    let digest: Digest = digest.parse().ok()?;
    let ty: Type = ty.parse().ok()?;
    if ty.encoding() == Encoding::Dir {
        store.tree_path(&digest).ok()
    } else {
        store.path(&digest).ok()
    }
}

/// The steps of a run that have ended.
fn finished(history: &History, run: &str) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for record in history::records(history, run)? {
        if let Event::StepFinished { cell, lang, reason, attempts, meta } = record.event {
            steps.push(Step { cell, lang, reason, attempts, meta: *meta });
        }
    }
    Ok(steps)
}

fn mark_of(store: &Store, digest: &str) -> Option<Mark> {
    store.mark_of(&digest.parse().ok()?).ok().flatten()
}

/// The command.
pub fn show(world: &World, args: ShowArgs) -> Outcome {
    let ShowArgs { at, output, format } = args;
    let found = history::locate(world, &at)?;
    let Found { history, row, place, .. } = &found;
    let store = world.store()?;
    let mut run = row.id.clone();
    let mut steps = finished(history, &run)?;
    let Some(place) = place.as_deref() else {
        return Ok(show_run(world, &run, None, &steps, format));
    };
    let (cell, port) = inner::cell_and_port(place);
    let has = |steps: &[Step], cell: &str, port: Option<&str>| {
        let gives = |step: &Step| port.is_none_or(|port| step.meta.artifacts.contains_key(port));
        steps.iter().any(|step| step.cell == cell && gives(step))
    };
    let given = port
        .filter(|port| !has(&steps, cell, Some(port)))
        .and_then(|port| inner::inner(world, &found.project, &row.flow, cell, port));
    let (cell, port) = match &given {
        Some((cell, port)) => (cell.as_str(), Some(port.as_str())),
        None => (cell, port),
    };
    if !has(&steps, cell, None)
        && !steps.iter().any(|step| inner::is_in(&step.cell, cell))
        && let Some(earlier) = found.earlier(world, cell)?
    {
        steps = finished(history, &earlier)?;
        run = earlier;
    }
    let Some(step) = steps.iter().find(|step| step.cell == cell) else {
        // The cells of one that is a flow are in its place.
        steps.retain(|step| port.is_none() && inner::is_in(&step.cell, cell));
        if !steps.is_empty() {
            return Ok(show_run(world, &run, Some(cell), &steps, format));
        }
        let steps = finished(history, &run)?;
        let names: Vec<_> = steps.iter().take(20).map(|step| step.cell.as_str()).collect();
        let runs = if found.alone { "; `polyloom runs` lists the runs" } else { "" };
        return Err(found
            .no_cell("finished cell", cell)
            .hint(format!("it has {}{runs}", names.join(", "))));
    };
    let Some(port) = port else {
        let made = match step.meta.outcome == polyloom_protocol::Outcome::Cached {
            true => Ran::of(history, &run, cell)?,
            false => None,
        };
        return Ok(show_step(world, &store, &run, step, made.as_ref(), format));
    };
    let Some(artifact) = step.meta.artifacts.get(port) else {
        let names: Vec<_> = step.meta.artifacts.keys().map(String::as_str).collect();
        let message = format!("cell `{cell}` has no output `{}` in that run", port.escape_debug());
        let hint = if names.is_empty() {
            "it has no outputs".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    };
    let gone = || {
        let message = match mark_of(&store, &artifact.digest) {
            Some(Mark::Temp) => format!(
                "`{cell}.{port}` is temporary: its bytes were removed when the cells that read it were through"
            ),
            _ => format!("the bytes of `{cell}.{port}` are no longer in the store"),
        };
        Failure::new(Exit::Environment, message).hint(format!("polyloom run -f {cell}"))
    };
    let path = place_of(&store, &artifact.digest, &artifact.r#type).ok_or_else(gone)?;
    if let Some(target) = output {
        let ty: Option<Type> = artifact.r#type.parse().ok();
        return match ty.map(|ty| ty.encoding()) {
            Some(Encoding::Msgpack) => write_value(&path, &target),
            Some(Encoding::Dir) => {
                let digest = artifact.digest.parse().map_err(|_| gone())?;
                write_folder(&store, &digest, &target)
            }
            _ => write_to(&path, &target),
        };
    }
    match format {
        Format::Json | Format::Jsonl => {
            let document = json!({
                "schema": "polyloom.artifact/1", "cell": cell, "port": port, "type": artifact.r#type,
                "digest": artifact.digest, "size": artifact.size, "media_type": artifact.media_type,
                "path": path.display().to_string(),
            });
            world.screen.json_line(&document);
        }
        Format::Text => {
            let paint = world.screen.out;
            let head = format!("{}: ", paint.text(Style::Strong, &escape_line(place)));
            let subject = Subject {
                r#type: &artifact.r#type,
                media_type: artifact.media_type.as_deref(),
                size: artifact.size,
                path: Some(&path),
            };
            let options = PreviewOptions {
                width: world.screen.columns.unwrap_or(100),
                ..PreviewOptions::default()
            };
            let digest: Option<Digest> = artifact.digest.parse().ok().filter(|_| path.is_dir());
            let text = match digest {
                Some(digest) => folder(world, &store, &digest, &path)?,
                None => {
                    let opened = std::fs::File::open(&path)
                        .and_then(|mut file| preview(&subject, &mut file, options));
                    opened.map_err(|error| {
                        let message = format!("`{}` can't be read: {error}", path.display());
                        Failure::new(Exit::Environment, message)
                    })?
                }
            };
            world.screen.print(&(head + &text));
        }
    }
    Ok(Exit::Ok)
}

/// The files of a directory.
fn folder(world: &World, store: &Store, digest: &Digest, path: &Path) -> Result<String, Failure> {
    const SHOWN: usize = 20;
    let listing = store.listing(digest).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
    for (name, file) in listing.iter().take(SHOWN) {
        let size = file.as_ref().map_or_else(|| "folder".to_owned(), |file| size(file.size));
        table.row([&size, name]);
    }
    let noun = if listing.len() == 1 { "entry" } else { "entries" };
    let mut text = format!("dir, {} {noun}, {}\n", listing.len(), path.display());
    text.push_str(&table.render(world.screen.out, world.screen.columns));
    if listing.len() > SHOWN {
        text.push_str(&format!("… {} more\n", listing.len() - SHOWN));
    }
    Ok(text)
}

/// Writes a value as a person or a shell wants it: texts and bytes as they are, lists and maps as JSON.
fn write_value(source: &Path, target: &Path) -> Outcome {
    let bytes = std::fs::read(source).map_err(|error| unwritten(target, &error))?;
    let value =
        Value::from_msgpack(&bytes).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let text = match value {
        Value::Bytes(bytes) => bytes,
        value => value.to_text().unwrap_or_else(|| value.to_json() + "\n").into_bytes(),
    };
    if target.as_os_str() == "-" {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away is no error.
        let _ = out.write_all(&text).and_then(|()| out.flush());
    } else {
        std::fs::write(target, text).map_err(|error| unwritten(target, &error))?;
    }
    Ok(Exit::Ok)
}

fn unwritten(target: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("`{}` can't be written: {error}", target.display()))
}

fn write_to(source: &Path, target: &Path) -> Outcome {
    let failed = |error: std::io::Error| unwritten(target, &error);
    let mut file = std::fs::File::open(source).map_err(failed)?;
    if target.as_os_str() == "-" {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away is no error.
        let _ = std::io::copy(&mut file, &mut out).and_then(|_| out.flush());
    } else {
        let mut out = std::fs::File::create(target).map_err(failed)?;
        std::io::copy(&mut file, &mut out).map_err(failed)?;
    }
    Ok(Exit::Ok)
}

/// Writes a directory as a new one, by what the store says of it: names of its listing, which lead nowhere else, and bytes by their digests.
fn write_folder(store: &Store, digest: &Digest, target: &Path) -> Outcome {
    let failed = |error: std::io::Error| unwritten(target, &error);
    let store_failed = |error| Failure::of(Exit::Environment, &error);
    if target.as_os_str() == "-" {
        let message = "the output is a directory, which standard output has no form for";
        return Err(Failure::new(Exit::Usage, message).hint("-o FOLDER makes a new one"));
    }
    let listing = store.listing(digest).map_err(store_failed)?;
    std::fs::create_dir(target).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            failed(error).hint("a directory is written as a new one: name one that is not there")
        }
        _ => failed(error),
    })?;
    for (name, file) in &listing {
        let path = target.join(name);
        let Some(file) = file else {
            std::fs::create_dir_all(&path).map_err(failed)?;
            continue;
        };
        std::fs::create_dir_all(path.parent().unwrap_or(target)).map_err(failed)?;
        let mut from = store.open_blob(&file.digest).map_err(store_failed)?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(if file.exec { 0o777 } else { 0o666 });
        let mut to = options.open(&path).map_err(failed)?;
        std::io::copy(&mut from, &mut to).map_err(failed)?;
    }
    Ok(Exit::Ok)
}

fn outcome_style(step: &Step) -> Style {
    match step.meta.outcome.as_str() {
        "ok" => Style::Good,
        "cached" => Style::Dim,
        "skipped" | "cancelled" => Style::Warn,
        _ => Style::Bad,
    }
}

/// `flow`: the cell that is a flow, where only its cells are shown.
fn show_run(world: &World, run: &str, flow: Option<&str>, steps: &[Step], format: Format) -> Exit {
    if format != Format::Text {
        let cells: Vec<_> = steps.iter().map(to_json).collect();
        let mut document = json!({ "schema": "polyloom.show/1", "run": run, "cells": cells });
        if let Some(flow) = flow {
            document["flow"] = json!(flow);
        }
        world.screen.json(&document);
        return Exit::Ok;
    }
    let mut table = Table::new(&[
        ("", Align::Left),
        ("cell", Align::Left),
        ("lang", Align::Left),
        ("took", Align::Right),
        ("memory", Align::Right),
        ("why", Align::Left),
    ]);
    for step in steps {
        let ran = step.meta.wall_ms > 0.0;
        table.styled([
            (outcome_style(step), step.meta.outcome.to_string()),
            (Style::Strong, step.cell.clone()),
            (Style::Dim, step.lang.clone()),
            (Style::Plain, if ran { duration(step.meta.wall_ms) } else { String::new() }),
            (Style::Plain, step.meta.peak_memory.filter(|_| ran).map(size).unwrap_or_default()),
            (Style::Plain, step.reason.clone()),
        ]);
    }
    let paint = world.screen.out;
    let strong = |text: &str| paint.text(Style::Strong, &escape_line(text));
    let head = match flow {
        Some(flow) => format!("{} is a flow; its cells in run {run}:\n", strong(flow)),
        None => format!("run {}\n", strong(run)),
    };
    world.screen.print(&(head + &table.render(paint, world.screen.columns)));
    Exit::Ok
}

fn to_json(step: &Step) -> serde_json::Value {
    json!({
        "cell": step.cell, "lang": step.lang, "reason": step.reason, "attempts": step.attempts, "meta": step.meta,
    })
}

fn show_step(
    world: &World,
    store: &Store,
    run: &str,
    step: &Step,
    made: Option<&Ran>,
    format: Format,
) -> Exit {
    if format != Format::Text {
        let mut document = to_json(step);
        document["run"] = json!(run);
        if let Some(Ran { run, cell, meta }) = made {
            document["last_run"] = json!({ "run": run, "cell": cell, "meta": meta });
        }
        world.screen.json(&document);
        return Exit::Ok;
    }
    let paint = world.screen.out;
    let mut facts = Table::new(&[("", Align::Left), ("", Align::Left)]);
    facts.row(["run", run]);
    facts.row(["outcome", step.meta.outcome.as_str()]);
    facts.row(["lang", &step.lang]);
    facts.row(["why", &step.reason]);
    if step.attempts > 0 {
        facts.row(["attempts", &step.attempts.to_string()]);
    }
    match made {
        Some(Ran { run, cell, .. }) if *cell == step.cell => facts.row(["last ran in", run]),
        Some(Ran { run, cell, .. }) => {
            facts.row(["made in", &format!("{run} by `{cell}`, of the same inputs")]);
        }
        None => {}
    }
    // What follows is of the run in which it ran.
    let meta = made.and_then(|made| made.meta.as_ref()).unwrap_or(&step.meta);
    if let Some(code) = meta.exit_code {
        facts.row(["exit code", &code.to_string()]);
    }
    if let Some(signal) = meta.signal {
        facts.row(["signal", &signal.to_string()]);
    }
    if meta.wall_ms > 0.0 {
        facts.row(["wall time", &duration(meta.wall_ms)]);
        facts.row(["cpu time", &duration(meta.cpu_ms)]);
    }
    if let Some(peak) = meta.peak_memory {
        facts.row(["peak memory", &size(peak)]);
    }
    if let Some(policy) = &meta.policy {
        let levels = policy.enforce.iter().map(|(name, level)| format!(", {name} {level}"));
        facts.row(["policy", &(policy.preset.clone() + &levels.collect::<String>())]);
        for granted in &policy.granted {
            facts.row(["granted", granted]);
        }
    }
    facts.row(["stdout", &size(meta.stdout.bytes)]);
    facts.row(["stderr", &size(meta.stderr.bytes)]);
    let mut text = format!("{}\n", paint.text(Style::Strong, &escape_line(&step.cell)));
    text.push_str(&facts.render(paint, world.screen.columns));
    text.push_str(&outputs(store, &step.meta, paint, world.screen.columns));
    for diagnostic in &meta.diagnostics {
        let place = match (&diagnostic.file, diagnostic.line) {
            (Some(file), Some(line)) => format!("{}:{line}: ", escape_line(file)),
            _ => String::new(),
        };
        // What would grant what is missing is in lines of its own.
        let lines: Vec<_> = diagnostic.message.lines().map(escape_line).collect();
        let severity = diagnostic.severity.to_string();
        let severity = escape_line(&severity);
        text.push_str(&format!("{place}{severity}: {}\n", lines.join("\n  ")));
    }
    if !meta.enforcement.is_empty() {
        let mut table =
            Table::new(&[("enforcement", Align::Left), ("level", Align::Left), ("", Align::Left)]);
        for row in meta.enforcement.iter() {
            table.row([row.mechanism.as_str(), row.level.as_str(), &row.detail]);
        }
        text.push_str(&table.render(paint, world.screen.columns));
    }
    world.screen.print(&text);
    Exit::Ok
}

fn outputs(store: &Store, meta: &ExecMeta, paint: Paint, columns: Option<usize>) -> String {
    if meta.artifacts.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("output", Align::Left),
        ("type", Align::Left),
        ("size", Align::Right),
        ("path", Align::Left),
    ]);
    for (port, artifact) in &meta.artifacts {
        let path = place_of(store, &artifact.digest, &artifact.r#type);
        let mark = mark_of(store, &artifact.digest);
        let path = match (path, mark) {
            (Some(path), Some(mark)) => format!("{} ({})", path.display(), mark.as_str()),
            (Some(path), None) => path.display().to_string(),
            (None, Some(Mark::Temp)) => "removed, it is temporary".to_owned(),
            (None, _) => "no longer in the store".to_owned(),
        };
        table.row([port.clone(), artifact.r#type.clone(), size(artifact.size), path]);
    }
    table.render(paint, columns)
}
