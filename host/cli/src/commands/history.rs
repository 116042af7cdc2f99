//! `runs`, `logs`, `replay`: what earlier runs left in the project's history.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_events::{Event, Record, Sink};
use polyloom_protocol::Outcome as ProtocolOutcome;
use polyloom_report::{Align, Style, Table, Terminal, date_time, duration, escape, escape_line};
use polyloom_store::{FindError, History, Home, Maker, RunRow, RunState, is_exported_run};
use serde_json::json;

use super::inner;
use crate::args::{At, Format, ListArgs, Progress};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// What to do where nothing has been recorded.
const NO_RUN: &str = "polyloom run; another project is named with -C FOLDER";

/// The project that was named, or the folder we are in.
pub fn project_of(project: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let mut project = project.unwrap_or_else(|| PathBuf::from("."));
    let unreadable = |why: &str| {
        let message = format!("can't read `{}`: {why}", escape_line(&project.to_string_lossy()));
        Err(Failure::new(Exit::Usage, message)
            .hint("-C names a project's folder, or its flow file"))
    };
    match std::fs::metadata(&project) {
        // As of a flow that is named.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return unreadable("there is no such file or folder");
        }
        Err(error) => return unreadable(&error.to_string()),
        Ok(found) if !found.is_file() && !found.is_dir() => {
            return unreadable("it is neither a file nor a folder");
        }
        Ok(_) => {}
    }
    // A flow file stands for its folder.
    if project.is_file() {
        project = project.parent().unwrap_or(Path::new("")).to_owned();
    }
    if project.as_os_str().is_empty() {
        project = PathBuf::from(".");
    }
    Ok(project)
}

/// The folder of a project's history, where there is one.
pub fn folder(world: &World, project: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let project = project_of(project.map(Path::to_owned))?;
    let store = world.store()?;
    if !History::is_there(&project, &store) {
        return Ok(None);
    }
    Ok(Some(world.history(&project, &store)?.place().folder().to_owned()))
}

/// The history of the project that was named, or of the folder we are in.
pub fn open(world: &World, project: Option<PathBuf>) -> Result<Arc<History>, Failure> {
    let project = project_of(project)?;
    let store = world.store()?;
    if !History::is_there(&project, &store) {
        return Err(Failure::of(Exit::Nothing, &FindError::None).hint(NO_RUN));
    }
    world.history(&project, &store)
}

/// A run, and what is asked of it.
pub struct Found {
    /// The folder of the project.
    pub project: PathBuf,
    /// The history it is in.
    pub history: Arc<History>,
    /// The run.
    pub row: RunRow,
    /// A cell, or CELL.PORT.
    pub place: Option<String>,
    /// It was the only word, and could as well have been a run.
    pub alone: bool,
}

impl Found {
    /// The newest run that had a cell which the latest has not, or cells of one that is a flow, where no run was named. Says so.
    pub fn earlier(&self, world: &World, cell: &str) -> Result<Option<String>, Failure> {
        if !self.alone {
            return Ok(None);
        }
        let environment = |error| Failure::of(Exit::Environment, &error);
        let flow = &self.row.flow;
        let within = self.history.attempted(flow, &format!("{cell}/")).map_err(environment)?;
        let cells: Vec<&str> = within.iter().map(String::as_str).chain([cell]).collect();
        let mut last = self.history.last(flow, &cells).map_err(environment)?;
        // Ids begin with the time.
        let run = cells.iter().filter_map(|cell| last.remove(*cell)).map(|last| last.run).max();
        let run = run.filter(|run| *run != self.row.id);
        if let Some(run) = &run {
            let text =
                format!("`{cell}` is not in the latest run, {}; this is of {run}\n", self.row.id);
            world.screen.note(&text);
        }
        Ok(run)
    }

    /// There is no such cell in the run. `kind`: what it should be, as `cell`.
    pub fn no_cell(&self, kind: &str, cell: &str) -> Failure {
        let (cell, run) = (cell.escape_debug(), &self.row.id);
        let message = match self.alone {
            true => format!(
                "there is neither a run `{cell}` nor a cell `{cell}` in the latest run, `{run}`"
            ),
            false => format!("run `{run}` has no {kind} `{cell}`"),
        };
        Failure::new(Exit::Usage, message)
    }
}

/// Finds what the words after `show`, `logs` and `replay` mean.
pub fn locate(world: &World, at: &At) -> Result<Found, Failure> {
    let mut words = at.words.clone();
    let mut project = at.project.clone();
    if let Some(first) = words.first() {
        let path = Path::new(first);
        if path.is_file() && is_exported_run(path) {
            let message = format!("`{}` is an exported run of some project", path.display());
            let hint = format!("polyloom runs import {}, which says its id", path.display());
            return Err(Failure::new(Exit::Usage, message).hint(hint));
        }
        let named = first.contains('/') || first == "." || path.is_file();
        let is_project = || named || words.len() == 3 || is_elsewhere(world, first);
        if project.is_none() && path.exists() && is_project() {
            project = Some(PathBuf::from(words.remove(0)));
        }
    }
    let project = project_of(project)?;
    let history = open(world, Some(project.clone()))?;
    let mut words = words.into_iter();
    let (first, second) = (words.next(), words.next());
    let mut alone = false;
    let (row, place) = match (first, second) {
        (None, _) => (find(&history, "latest")?, None),
        (Some(run), Some(place)) => (find(&history, &run)?, Some(place)),
        // One word is a run if there is such a run, else a cell of the latest.
        (Some(word), None) => match history.find_run(&word) {
            Ok(row) => (row, None),
            Err(_) => {
                alone = true;
                (find(&history, "latest")?, Some(word))
            }
        },
    };
    Ok(Found { project, history, row, place, alone })
}

/// Whether a folder's bare name means the project there. A folder called like a run or a cell of this project is that run or cell: it is what
/// these commands are about.
fn is_elsewhere(world: &World, word: &str) -> bool {
    if !world.store().is_ok_and(|store| History::is_there(Path::new(word), &store)) {
        return false;
    }
    let Ok(history) = open(world, None) else { return true };
    let Ok(latest) = history.find_run("latest") else { return true };
    let (cell, _) = inner::cell_and_port(word);
    let flow = &latest.flow;
    let within = || history.attempted(flow, &format!("{cell}/")).is_ok_and(|all| !all.is_empty());
    let known = history.find_run(word).is_ok()
        || history.step(&latest.id, cell).is_ok_and(|step| step.is_some())
        || history.last(flow, &[cell]).is_ok_and(|last| !last.is_empty())
        || within();
    !known
}

/// The run that a text means.
pub fn find(history: &History, text: &str) -> Result<RunRow, Failure> {
    history.find_run(text).map_err(|error| {
        let exit = match error {
            FindError::None => Exit::Nothing,
            _ => Exit::Usage,
        };
        let next = match error {
            FindError::None => NO_RUN,
            _ => "polyloom runs",
        };
        Failure::of(exit, &error).hint(next)
    })
}

/// The records of a run; a line that can't be read is passed over.
pub fn records(history: &History, run: &str) -> Result<Vec<Record>, Failure> {
    let reader = history.read_events(run);
    let reader = reader.map_err(|error| Failure::of(Exit::Environment, &error))?;
    let lines = reader.lines().map_while(Result::ok);
    Ok(lines.filter_map(|line| serde_json::from_str(&line).ok()).collect())
}

fn state(state: RunState) -> (Style, &'static str) {
    let style = match state.as_str() {
        "ok" => Style::Good,
        "running" => Style::Strong,
        "interrupted" | "cancelled" => Style::Warn,
        _ => Style::Bad,
    };
    (style, state.as_str())
}

/// `polyloom runs`.
pub fn runs(world: &World, args: ListArgs) -> Outcome {
    let ListArgs { project, folder, limit, format } = args;
    let rows = match open(world, project.or(folder)) {
        Ok(history) => {
            history.runs(limit).map_err(|error| Failure::of(Exit::Environment, &error))?
        }
        // An empty list is an answer.
        Err(nothing) if nothing.exit == Exit::Nothing => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let row = |row: &RunRow| {
        let totals =
            row.totals.as_deref().and_then(|t| serde_json::from_str::<serde_json::Value>(t).ok());
        json!({
            "run": row.id, "started_unix_ms": row.started_unix_ms, "flow": row.flow, "argv": row.argv,
            "state": row.state.as_str(), "wall_ms": row.wall_ms, "totals": totals,
            "imported": row.home == Home::Elsewhere,
        })
    };
    match format {
        Format::Json => {
            let runs: Vec<_> = rows.iter().map(row).collect();
            let document = json!({ "schema": "polyloom.runs/1", "runs": runs });
            world.screen.json(&document);
        }
        Format::Jsonl => {
            for found in &rows {
                world.screen.json_line(&row(found));
            }
        }
        Format::Text if rows.is_empty() => world.screen.note("no run has been recorded here\n"),
        Format::Text => {
            let mut table = Table::new(&[
                ("run", Align::Left),
                ("started", Align::Left),
                ("flow", Align::Left),
                ("state", Align::Left),
                ("took", Align::Right),
                ("cells", Align::Left),
            ]);
            for found in &rows {
                let seconds = i64::try_from(found.started_unix_ms / 1000).unwrap_or(0);
                let (style, word) = state(found.state);
                let imported = if found.home == Home::Elsewhere { ", imported" } else { "" };
                table.styled([
                    (Style::Strong, found.id.clone()),
                    (Style::Dim, date_time(seconds)),
                    (Style::Plain, found.flow.clone()),
                    (style, word.to_owned() + imported),
                    (Style::Plain, found.wall_ms.map(duration).unwrap_or_default()),
                    (Style::Dim, counts(found.totals.as_deref())),
                ]);
            }
            world.screen.print(&table.render(world.screen.out, world.screen.columns));
        }
    }
    Ok(Exit::Ok)
}

/// `3 ok, 2 cached`, leaving out what there is none of.
pub fn counts(totals: Option<&str>) -> String {
    let totals = totals.and_then(|text| serde_json::from_str::<polyloom_events::Totals>(text).ok());
    let Some(t) = totals else { return String::new() };
    let all = [
        (t.ok, "ok"),
        (t.cached, "cached"),
        (t.failed, "failed"),
        (t.skipped, "skipped"),
        (t.cancelled, "cancelled"),
    ];
    let some = all.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// What made the result that a cell has in a run.
pub fn maker(history: &History, run: &str, cell: &str) -> Result<Option<Maker>, Failure> {
    history.maker(run, cell).map_err(|error| Failure::of(Exit::Environment, &error))
}

/// What a cell printed, line by line.
fn printed<'r>(records: &'r [Record], cell: &'r str) -> impl Iterator<Item = String> + 'r {
    let texts = records.iter().filter_map(move |record| match &record.event {
        Event::Log { cell: id, text, .. } if id == cell => Some(text),
        _ => None,
    });
    texts.flat_map(|text| text.lines().map(|line| format!("{}\n", escape(line))))
}

/// `polyloom logs`.
pub fn logs(world: &World, at: &At, tail: Option<usize>) -> Outcome {
    let found = locate(world, at)?;
    let place = found.place.as_deref();
    // The cells of one that is a flow are in its place.
    let meant = |cell: &str| place.is_none_or(|flow| inner::is_in(cell, flow));
    let has = |records: &[Record], fits: &dyn Fn(&str) -> bool| {
        records.iter().any(|it| matches!(&it.event, Event::StepPlanned { cell, .. } if fits(cell)))
    };
    let mut run = found.row.id.clone();
    let mut records = self::records(&found.history, &run)?;
    if let Some(cell) = place
        && !has(&records, &|id| id == cell || meant(id))
    {
        let Some(earlier) = found.earlier(world, cell)? else {
            return Err(found
                .no_cell("cell", cell)
                .hint("`polyloom show` lists the cells, `polyloom runs` the runs"));
        };
        records = self::records(&found.history, &earlier)?;
        run = earlier;
    }
    let lines = match place {
        Some(cell) if has(&records, &|id| id == cell) => {
            logs_of(world, &found, &run, &records, cell)?
        }
        _ => {
            let logs = records.iter().filter_map(|record| match &record.event {
                Event::Log { cell, text, .. } if meant(cell) => Some((cell, text)),
                _ => None,
            });
            let line = |(cell, text): (&String, &String)| {
                let name = world.screen.out.cell(cell, &escape_line(cell));
                let lines = text.lines().map(|line| format!("{name} │ {}\n", escape(line)));
                lines.collect::<Vec<_>>()
            };
            let lines: Vec<String> = logs.flat_map(line).collect();
            if lines.is_empty() {
                tell_makers(world, &found, &run, &records, meant)?;
            }
            lines
        }
    };
    let skip = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    world.screen.print(&lines[skip..].concat());
    Ok(Exit::Ok)
}

/// Says of a run in which no cell ran in which runs its cells did.
fn tell_makers(
    world: &World,
    found: &Found,
    run: &str,
    records: &[Record],
    meant: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    /// Of more cells the runs are not looked up.
    const LOOKED_UP: usize = 200;
    let history = &found.history;
    let mut cached = Vec::new();
    for record in records {
        match &record.event {
            Event::StepFinished { cell, .. } if !meant(cell) => {}
            Event::StepFinished { cell, meta, .. } if meta.outcome == ProtocolOutcome::Cached => {
                cached.push(cell);
            }
            Event::StepFinished { attempts: 1.., .. } => return Ok(()),
            _ => {}
        }
    }
    if cached.is_empty() {
        return Ok(());
    }
    let mut runs: Vec<(String, Vec<&str>)> = Vec::new();
    for cell in cached.iter().take(LOOKED_UP) {
        if let Some(Maker { run: Some(run), .. }) = maker(history, run, cell)? {
            match runs.iter_mut().find(|(known, _)| *known == run) {
                Some((_, cells)) => cells.push(cell),
                None => runs.push((run, vec![cell])),
            }
        }
    }
    let whose = found.place.as_ref().map(|flow| format!(" of `{flow}`")).unwrap_or_default();
    let mut text = format!("no cell{whose} ran in {run}");
    if !runs.is_empty() {
        text.push_str("; what its cells printed is in the runs in which they did:");
    }
    text.push('\n');
    for (run, cells) in &runs {
        let more = cells.len().saturating_sub(3);
        let named = cells[..cells.len() - more].join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!("  {run}: {named}{more}\n"));
    }
    if cached.len() > LOOKED_UP {
        text.push_str("  …\n");
    }
    world.screen.note(&text);
    Ok(())
}

/// What a cell printed; if it was cached, in the run that made its result.
fn logs_of(
    world: &World,
    found: &Found,
    run: &str,
    records: &[Record],
    cell: &str,
) -> Result<Vec<String>, Failure> {
    let Found { history, row, .. } = found;
    let ended = records.iter().rev().find_map(|record| match &record.event {
        Event::StepFinished { cell: id, meta, attempts, .. } if id == cell => {
            Some((meta.outcome, *attempts))
        }
        _ => None,
    });
    let elsewhere = match ended {
        Some((ProtocolOutcome::Cached, _)) => match maker(history, run, cell)? {
            Some(Maker { run: Some(run), by, .. }) => Some((run, by)),
            _ => {
                world.screen.note(&format!(
                    "`{cell}` was cached in {run}, and no run that is kept here made its result\n"
                ));
                None
            }
        },
        // It was left out, or failed as before.
        Some((_, 0)) => {
            let last = history.previous(&row.flow, cell);
            let last = last.map_err(|error| Failure::of(Exit::Environment, &error))?;
            last.filter(|last| last.run != run).map(|last| (last.run, cell.to_owned()))
        }
        Some(_) | None => None,
    };
    let Some((other, maker)) = elsewhere else { return Ok(printed(records, cell).collect()) };
    let who = if maker == cell { "it".to_owned() } else { format!("`{maker}`") };
    world
        .screen
        .note(&format!("`{cell}` did not run in {run}; this is what {who} printed in {other}\n"));
    Ok(printed(&self::records(history, &other)?, &maker).collect())
}

/// `polyloom replay`.
pub fn replay(world: &World, at: &At, trace: Option<&Path>) -> Outcome {
    let Found { history, row, place, .. } = locate(world, at)?;
    if let Some(place) = place {
        let message = format!("there is no run `{}`", place.escape_debug());
        return Err(Failure::new(Exit::Usage, message).hint("polyloom runs"));
    }
    let options = super::run::plain_options(world.screen, Progress::Plain);
    let terminal = Terminal::new(Box::new(crate::screen::People), options);
    let mut reader =
        history.read_events(&row.id).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(terminal)];
    if let Some(path) = trace {
        sinks.push(Box::new(super::run::trace(path)?.0));
    }
    polyloom_report::replay(&mut reader, &mut sinks)
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    if row.state == RunState::Interrupted {
        world.screen.note("this run was interrupted; `polyloom run` goes on with it\n");
    }
    Ok(Exit::Ok)
}
