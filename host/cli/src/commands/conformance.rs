//! `polyloom plugin test`: whether an executor keeps the contract. What is asked and how is `polyloom-conformance`'s; here are finding the executor,
//! keeping the report for `plugin list`, words and exit codes.

use std::path::Path;
use std::sync::Arc;

use polyloom_conformance::{
    CASES, Case, FILE, Grade, Kit, KitError, Outcome as Mark, Report, Row, Snippets,
};
use polyloom_load::Root;
use polyloom_model::{Digest, ExecutorId, Manifest, parse_duration};
use polyloom_report::{Align, Style, Table, escape_line, quote};
use polyloom_runtime::Place;
use polyloom_worker::executor::Executor;
use polyloom_worker::tools::ToolError;
use serde_json::json;

use super::manage::offered_as;
use crate::args::Format;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::{VERSION, World};

/// The command.
pub fn test(world: &World, which: &str, timeout: &str, format: Format) -> Outcome {
    let timeout = parse_duration(timeout).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let manifest = manifest(world, which)?;
    let snippets = snippets(&manifest)?;
    let place = world.place(world.store()?)?;
    // The spawner dies with the thread that starts it, so it is started here.
    place.workplace.spawner().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let executor = place.executor(&manifest, &[], Path::new("."));
    let executor = Arc::new(executor.map_err(|error| missing(&error))?);
    world.screen.note(&format!(
        "testing {} ({}) in the sandbox, up to a minute …\n",
        manifest.id,
        escape_line(&place_of(world, &manifest))
    ));
    let scratch = place.store.temporary_folder();
    let kit = Kit { workplace: &place.workplace, scratch: &scratch, timeout };
    let mut count = 0;
    let told = |row: &Row| {
        count += 1;
        if format == Format::Jsonl {
            world.screen.json_line(row);
        }
        if world.screen.err_tty {
            world.screen.note(&format!("\r\x1b[K{count} {} {}", sign(row.outcome).1, row.case));
        }
    };
    let report = kit.test(&executor, &snippets, told);
    if world.screen.err_tty {
        world.screen.note("\r\x1b[K");
    }
    let report = report.map_err(|error| match &error {
        KitError::Sandbox(_) => Failure::of(Exit::Environment, &error).hint("polyloom doctor"),
        KitError::Files(_) => Failure::of(Exit::Environment, &error),
    })?;
    keep(&place, &executor, &report);
    match format {
        Format::Text => world.screen.print(&to_text(world, &report)),
        Format::Json => world.screen.json(&report),
        // The cases have had their lines.
        Format::Jsonl => world.screen.json_line(&Report { cases: Vec::new(), ..report.clone() }),
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

/// `plugin test --cases`: what is asked, of whomever.
pub fn cases(world: &World, format: Format) -> Outcome {
    let document = |case: &Case| {
        json!({
            "case": case.name, "level": case.level, "codes": case.snippets, "values": case.values(),
            "feature": case.feature, "workers": case.of_workers(), "expected": case.expected,
        })
    };
    match format {
        Format::Text => {
            let mut table = Table::new(
                &["case", "level", "needs", "expected"].map(|title| (title, Align::Left)),
            );
            for case in CASES {
                let expected = match case.of_workers() {
                    true => format!("of a worker: {}", case.expected),
                    false => case.expected.to_owned(),
                };
                let level = case.level.to_string();
                table.row([case.name.to_owned(), level, case.needs().join(", "), expected]);
            }
            world.screen.print(&table.render(world.screen.out, world.screen.columns));
        }
        Format::Json => {
            let cases: Vec<_> = CASES.iter().map(document).collect();
            world.screen.json(&json!({ "schema": "polyloom.cases/1", "cases": cases }));
        }
        Format::Jsonl => {
            for case in CASES {
                world.screen.json_line(&document(case));
            }
        }
    }
    Ok(Exit::Ok)
}

/// Where an executor is from that an id or a folder was taken for.
fn place_of(world: &World, manifest: &Manifest) -> String {
    match (&manifest.path, world.plugin(&manifest.id)) {
        (None, _) => "bundled".to_owned(),
        (Some(path), Some(plugin)) if path.starts_with(world.installed.copy(plugin)) => {
            format!("installed, from {}", plugin.source)
        }
        (Some(path), installed) => {
            let folder = path.parent().unwrap_or(path).display().to_string();
            let folder = if folder.is_empty() { "." } else { &folder };
            let other = if installed.is_some() { ", not the one that is installed" } else { "" };
            format!("the folder {folder}{other}")
        }
    }
}

/// The manifest of that folder, or of that id: a folder goes first, as in `plugin install`.
fn manifest(world: &World, which: &str) -> Result<Arc<Manifest>, Failure> {
    let folder = Path::new(which);
    if folder.join("executor.toml").is_file() {
        return of_folder(world, folder);
    }
    let known = which.parse::<ExecutorId>().ok().and_then(|name| {
        let mut all = world.languages.all();
        let found = all.find(|manifest| manifest.id == name || manifest.aliases.contains(&name))?;
        world.manifest(&found.id)
    });
    if let Some(manifest) = known {
        world.unharmed_executor(&manifest.id)?;
        return Ok(Arc::clone(manifest));
    }
    if let Some(offer) = offered_as(world, which)? {
        let message = format!("`{which}` is offered and not installed");
        let hint = match offer.made {
            None => {
                format!("polyloom plugin test {}", quote(&offer.folder.display().to_string()))
            }
            Some(_) => format!("polyloom plugin enable {which}"),
        };
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    let mut ids: Vec<&str> = world.languages.all().map(|manifest| manifest.id.as_str()).collect();
    ids.sort_unstable();
    let text = format!(
        "`{which}` is no executor and no folder with an executor.toml; executors: {}",
        ids.join(", ")
    );
    Err(Failure::new(Exit::Usage, text).hint("polyloom plugin list"))
}

fn of_folder(world: &World, folder: &Path) -> Result<Arc<Manifest>, Failure> {
    let (manifests, problems) = polyloom_load::discover(&[folder.to_owned()]);
    if !problems.is_empty() {
        let report = polyloom_load::Report { problems };
        let width = world.screen.columns.unwrap_or(100);
        world.screen.tell(&polyloom_load::render(&report, world.screen.err.color, width));
    }
    let manifest = manifests.into_iter().next().map(Arc::new);
    manifest.ok_or_else(|| {
        let text = format!("`{}` can't be used", folder.join("executor.toml").display());
        Failure::new(Exit::Usage, text).hint("polyloom schema executor")
    })
}

/// What lies beside a manifest, or came along with a bundled one.
fn snippets(manifest: &Manifest) -> Result<Snippets, Failure> {
    let hint = format!(
        "executors/README.md, \"Test your executor\"; the least is {FILE} with `hello = '…'`"
    );
    let bundled = |name: String| {
        let file = polyloom_executors::conformance().iter().find(|file| file.path == name);
        file.map(|file| String::from_utf8_lossy(file.bytes).into_owned())
    };
    let beside = manifest.path.as_ref().map(|path| path.with_file_name(FILE));
    let of_language = manifest.kind.kernel().and_then(|language| {
        bundled(format!("jupyter/conformance.{}.toml", language.to_ascii_lowercase()))
    });
    let text = match (beside, of_language) {
        // Kernels come without, and what they are written in is known for some.
        (Some(path), Some(text)) if !path.exists() => text,
        (Some(path), _) => {
            let failed = |why: String| {
                let text = format!("{} can't be read: {why}", path.display());
                Failure::new(Exit::Usage, text).hint(&hint)
            };
            // A plugin's folder may come from anybody.
            let folder = path.parent().unwrap_or(Path::new("."));
            if !path.exists() {
                let text = format!("`{}` has no {FILE} beside its manifest", manifest.id);
                return Err(Failure::new(Exit::Usage, text).hint(&hint));
            }
            let root = Root::open(folder).map_err(|error| failed(error.to_string()))?;
            let bytes = root.read(Path::new(FILE)).map_err(|error| failed(error.to_string()))?;
            String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?
        }
        (None, _) => bundled(format!("{}/{FILE}", manifest.id)).unwrap_or_default(),
    };
    Snippets::read(&text).map_err(|error| Failure::of(Exit::Usage, &error).hint(hint))
}

fn missing(error: &ToolError) -> Failure {
    let failure = Failure::of(Exit::Environment, error);
    match error {
        ToolError::Missing { install: Some(install), .. } => failure.hint(install),
        _ => failure,
    }
}

/// The cases beside a manifest, for whom a pipe is no file.
fn beside(manifest: &Manifest) -> Option<Vec<u8>> {
    Root::open(manifest.path.as_deref()?.parent()?).ok()?.read(Path::new(FILE)).ok()
}

/// What a report is kept under: it is about this very executor, its cases, its programs and this version of the kit.
fn key(place: &Place, executor: &Executor) -> String {
    let manifest = &executor.manifest;
    let together = place.facts(executor).together().hex();
    let cases = beside(&executor.manifest).unwrap_or_default();
    let cases = Digest::of(&cases).hex();
    let said = format!(
        "{VERSION} {together} {cases} {:?} {:?} {:?} {:?}",
        manifest.kind, manifest.diagnostics, manifest.limits, manifest.calls
    );
    format!("conformance {}", Digest::of(said.as_bytes()).hex())
}

fn keep(place: &Place, executor: &Executor, report: &Report) {
    let text = serde_json::to_string(report).unwrap_or_default();
    if let Err(error) = place.store.remember_tool(&key(place, executor), &text) {
        tracing::warn!(%error, "the report could not be kept for `plugin list`");
    }
}

/// How an executor did when it was tested as it is now.
pub fn known(place: &Place, executor: &Executor) -> Option<Report> {
    let text = place.store.tool(&key(place, executor)).ok().flatten()?;
    serde_json::from_str(&text).ok()
}

/// Marks in one line: the levels that were reached, and those in which a case failed.
pub fn marks(grades: &[Grade]) -> (Style, String) {
    let marks: Vec<String> = grades
        .iter()
        .filter_map(|grade| match grade.outcome {
            Mark::Pass => Some(grade.level.to_string()),
            Mark::Fail => Some(format!("✗{}", grade.level)),
            Mark::NotTried => None,
        })
        .collect();
    let failed = grades.iter().any(|grade| grade.outcome == Mark::Fail);
    let style = if failed { Style::Bad } else { Style::Good };
    (style, if marks.is_empty() { "-".to_owned() } else { marks.join(" ") })
}

fn to_text(world: &World, report: &Report) -> String {
    let paint = world.screen.out;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("level", Align::Left),
        ("case", Align::Left),
        ("took", Align::Right),
        ("", Align::Left),
    ]);
    // Those that were left out one after another for one reason are one line.
    let alike =
        |a: &Row, b: &Row| a.outcome == Mark::NotTried && a.outcome == b.outcome && a.got == b.got;
    for rows in report.cases.chunk_by(alike) {
        let [row, more @ ..] = rows else { continue };
        let case = match more.len() {
            0 => row.case.clone(),
            more => format!("{} and {more} more", row.case),
        };
        let (style, mark) = sign(row.outcome);
        let took = match row.outcome {
            Mark::NotTried => String::new(),
            Mark::Pass | Mark::Fail => format!("{:.0}ms", row.ms),
        };
        let why = match row.outcome {
            Mark::Pass => String::new(),
            Mark::Fail => "failed".to_owned(),
            Mark::NotTried => format!("not tried: {}", row.got),
        };
        table.styled([
            (style, mark.to_owned()),
            (Style::Dim, row.level.to_string()),
            (Style::Plain, case),
            (Style::Dim, took),
            (if row.outcome == Mark::Fail { style } else { Style::Dim }, why),
        ]);
    }
    let mut text = table.render(paint, world.screen.columns);
    for row in report.cases.iter().filter(|row| row.outcome == Mark::Fail) {
        text.push_str(&format!(
            "\n{} {}\n  expected: {}\n  got: {}\n",
            paint.text(Style::Bad, "FAILED"),
            row.case,
            row.expected,
            escape_line(&row.got)
        ));
        for line in row.stderr.lines() {
            text.push_str(&format!("  stderr │ {}\n", escape_line(line)));
        }
    }
    text.push('\n');
    for grade in &report.grades {
        let (style, mark) = sign(grade.outcome);
        let rows = || report.cases.iter().filter(|row| row.level == grade.level);
        let count = |outcome| rows().filter(|row| row.outcome == outcome).count();
        let counts =
            [(Mark::Pass, "passed"), (Mark::Fail, "failed"), (Mark::NotTried, "not tried")]
                .map(|(outcome, word)| (count(outcome), word));
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        let count = match counts.is_empty() {
            true => "not declared".to_owned(),
            false => counts.join(", "),
        };
        text.push_str(&format!("{} {:8}  {count}\n", paint.text(style, mark), grade.level));
    }
    text
}

fn sign(mark: Mark) -> (Style, &'static str) {
    match mark {
        Mark::Pass => (Style::Good, "✓"),
        Mark::Fail => (Style::Bad, "✗"),
        Mark::NotTried => (Style::Dim, "·"),
    }
}
