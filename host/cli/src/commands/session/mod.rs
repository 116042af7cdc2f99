//! `polyloom session`: the interpreters that the daemon keeps from run to run.

mod durable;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{ExecutorId, Manifest};
use polyloom_report::{Align, Table, duration, escape_line};
use polyloom_worker::daemon::{Client, SessionId, SessionStatus};
use polyloom_worker::session::{Session, Stand, present_session};
use serde_json::{Value as Json, json};

use super::daemon::present;
use crate::args::{Format, SessionAt, SessionCommand};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// The command.
pub fn session(world: &World, command: &SessionCommand) -> Outcome {
    match command {
        SessionCommand::List { format } => list(world, *format),
        SessionCommand::Reset(at) => {
            let done = change(world, at, async |session, stand| {
                session.reset().await?;
                (stand.cells, stand.lineage) = (0, None);
                Some(true)
            });
            told(world, done?, at, "is as it was before its first cell")
        }
        SessionCommand::Snapshot { at, name } => {
            let done = change(world, at, async |session, stand| {
                let done = session.snapshot(name).await?;
                if done {
                    stand.kept.retain(|(kept, _)| kept != name);
                    stand.kept.push((name.clone(), stand.lineage.clone()));
                }
                Some(done)
            });
            told(world, done?, at, &format!("is kept as `{}`", escape_line(name)))
        }
        SessionCommand::Restore { at, name } => {
            let done = change(world, at, async |session, stand| {
                let lineage = stand.kept.iter().find(|(kept, _)| kept == name)?.1.clone();
                let done = session.restore(name).await?;
                if done {
                    stand.lineage = lineage;
                    // It is not new: something may have been typed into it.
                    stand.cells = stand.cells.max(1);
                }
                Some(done)
            });
            told(world, done?, at, &format!("is as it was kept as `{}`", escape_line(name)))
        }
        SessionCommand::Save { at, file } => durable::save(world, at, file),
        SessionCommand::Load { at, file } => durable::load(world, at, file),
        SessionCommand::Fork { at, new } => durable::fork(world, at, new),
        SessionCommand::Rm(at) => {
            let (client, id) = found(world, at)?;
            match client.end_session(&id) {
                Some(true) => told(world, Done::Yes, at, "has ended"),
                Some(false) => Err(absent(at)),
                None => Err(in_use(at)),
            }
        }
    }
}

/// What became of a change.
enum Done {
    Yes,
    /// The worker could not do it.
    No,
    /// There is no snapshot of that name, or the session is of no use any more.
    Lost,
}

fn told(world: &World, done: Done, at: &SessionAt, what: &str) -> Outcome {
    let name = escape_line(&at.session);
    match done {
        Done::Yes => {
            world.screen.note(&format!("session `{name}` {what}\n"));
            Ok(Exit::Ok)
        }
        Done::No => {
            let text = format!("the worker of session `{name}` can't do that");
            Err(Failure::new(Exit::Environment, text)
                .hint("a state with threads that run, or with files in `/cell/work` or `/tmp`, can't be kept; `polyloom plugin info` shows what an executor can do"))
        }
        Done::Lost => {
            let text = format!("session `{name}` has no such snapshot, or has ended");
            Err(Failure::new(Exit::Usage, text).hint("`polyloom session list` shows what there is"))
        }
    }
}

fn absent(at: &SessionAt) -> Failure {
    let text = format!("the daemon keeps no session `{}`", escape_line(&at.session));
    Failure::new(Exit::Usage, text).hint("`polyloom session list` shows those that it keeps")
}

fn in_use(at: &SessionAt) -> Failure {
    let text = format!("a run, or a terminal, has the session `{}` now", escape_line(&at.session));
    Failure::new(Exit::Usage, text).hint("try again when it is over")
}

/// Does something with a session, and leaves it as it is then.
fn change(
    world: &World,
    at: &SessionAt,
    act: impl AsyncFnOnce(&mut Session, &mut Stand) -> Option<bool>,
) -> Result<Done, Failure> {
    let (client, id) = found(world, at)?;
    alone()?.block_on(async {
        let manifest = |name: &str| manifest_of(world, name).map(AsRef::as_ref);
        let had = present_session(&client, &id, manifest);
        let had = had.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let Some((mut session, mut stand)) = had.map_err(|_| in_use(at))? else {
            return Err(absent(at));
        };
        session.busy();
        let done = act(&mut session, &mut stand).await;
        if done.is_some() || session.is_there() {
            session.stands(&stand);
        }
        session.leave();
        Ok(match done {
            Some(true) => Done::Yes,
            Some(false) => Done::No,
            None => Done::Lost,
        })
    })
}

/// What waits for answers, with nothing beside.
fn alone() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::of(Exit::Environment, &error))
}

fn manifest_of<'w>(world: &'w World, name: &str) -> Option<&'w Arc<Manifest>> {
    world.manifest(&name.parse::<ExecutorId>().ok()?)
}

fn reach(world: &World) -> Result<Arc<Client>, Failure> {
    present(world)?.map(Arc::new).ok_or_else(|| {
        let text = "no daemon runs: sessions end with their run then";
        Failure::new(Exit::Usage, text).hint("polyloom daemon start")
    })
}

/// The flow that is named.
fn flow_named(at: &SessionAt) -> Result<Option<PathBuf>, Failure> {
    let Some(flow) = &at.flow else { return Ok(None) };
    let file = polyloom_load::find_flow(flow);
    let file = file.map_err(|problem| Failure::new(Exit::Usage, problem.message.clone()))?;
    Ok(Some(std::fs::canonicalize(&file).unwrap_or(file)))
}

/// The session of this name that the flow in this folder would have, as `repl --session` has it.
fn named_here(at: &SessionAt) -> Result<SessionId, Failure> {
    let flow = match flow_named(at)? {
        Some(flow) => flow,
        None => {
            let here = std::env::current_dir();
            let here = here.map_err(|error| Failure::of(Exit::Environment, &error))?;
            let flow = polyloom_load::find_flow(&here).unwrap_or(here);
            std::fs::canonicalize(&flow).unwrap_or(flow)
        }
    };
    Ok(SessionId { flow, name: at.session.clone() })
}

/// The one session that is meant.
fn found(world: &World, at: &SessionAt) -> Result<(Arc<Client>, SessionId), Failure> {
    let client = reach(world)?;
    let flow = flow_named(at)?;
    let here = std::env::current_dir().ok();
    let all = client.sessions().unwrap_or_default();
    let named = |it: &&SessionStatus| {
        it.id.name == at.session && flow.as_ref().is_none_or(|flow| *flow == it.id.flow)
    };
    let mut fit: Vec<&SessionStatus> = all.iter().filter(named).collect();
    if fit.len() > 1 {
        // That of the folder one is in.
        fit.retain(|it| it.id.flow.parent() == here.as_deref());
    }
    match fit[..] {
        [one] => Ok((Arc::clone(&client), one.id.clone())),
        [] if !all.iter().any(|it| named(&it)) => Err(absent(at)),
        _ => {
            let text = format!("several flows have a session `{}`", escape_line(&at.session));
            Err(Failure::new(Exit::Usage, text).hint("name one with `--flow`"))
        }
    }
}

fn list(world: &World, format: Format) -> Outcome {
    let all = present(world)?.and_then(|client| client.sessions());
    if format != Format::Text {
        let rows: Vec<Json> = all.iter().flatten().map(document).collect();
        world.screen.json(
            &json!({ "schema": "polyloom.sessions/1", "daemon": all.is_some(), "sessions": rows }),
        );
        return Ok(Exit::Ok);
    }
    let Some(all) = all else {
        world.screen.print("no daemon runs, so that sessions end with their run: `polyloom daemon start` starts one\n");
        return Ok(Exit::Ok);
    };
    if all.is_empty() {
        world.screen.print("no sessions\n");
        return Ok(Exit::Ok);
    }
    let heads = ["session", "flow", "executor", "cells", "snapshots", "process", "for", "now"];
    let mut table = Table::new(&heads.map(|head| (head, Align::Left)));
    for one in &all {
        let standing = one.standing.as_ref();
        let kept = standing.map(|it| {
            it.kept.iter().map(|(name, _)| escape_line(name).into_owned()).collect::<Vec<_>>()
        });
        table.row([
            escape_line(&one.id.name).into_owned(),
            escape_line(&flow_of(&one.id.flow)).into_owned(),
            standing.map(|it| it.executor.clone()).unwrap_or_default(),
            standing.map(|it| it.cells.to_string()).unwrap_or_default(),
            kept.unwrap_or_default().join(" "),
            one.pid.to_string(),
            duration(one.since_ms as f64),
            if one.lent { "in use" } else { "waits" }.to_owned(),
        ]);
    }
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
    Ok(Exit::Ok)
}

fn flow_of(flow: &Path) -> String {
    let here = std::env::current_dir().ok();
    let near = here.and_then(|here| flow.strip_prefix(here).ok());
    near.unwrap_or(flow).display().to_string()
}

fn document(one: &SessionStatus) -> Json {
    let standing = one.standing.as_ref();
    let kept = standing.map(|it| {
        it.kept
            .iter()
            .map(|(name, lineage)| json!({ "name": name, "key": lineage }))
            .collect::<Vec<_>>()
    });
    json!({
        "name": one.id.name, "flow": one.id.flow, "executor": standing.map(|it| &it.executor),
        "cells": standing.map_or(0, |it| it.cells), "key": standing.and_then(|it| it.lineage.as_ref()),
        "snapshots": kept.unwrap_or_default(), "process": one.pid, "since_ms": one.since_ms, "in_use": one.lent,
    })
}
