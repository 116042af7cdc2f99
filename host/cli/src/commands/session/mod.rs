//! `polyloom session`: the interpreters that the daemon keeps from run to run.

mod durable;
mod state;
mod told;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::{ExecutorId, Manifest};
use polyloom_report::escape_line;
use polyloom_worker::daemon::{Client, SessionId, SessionStatus};
use polyloom_worker::session::{Session, Stand, Unanswered, Unhad, Unkept, present_session};

use self::told::Told;
use super::daemon::visited;
use super::install::said_yes;
use crate::args::{SessionAt, SessionCommand};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// The longest name of a snapshot, in bytes: as protocol/SPEC.md has it.
const LONGEST: usize = 255;

/// The command.
pub fn session(world: &World, command: &SessionCommand) -> Outcome {
    match command {
        SessionCommand::List { format } => {
            let all = match visited(world)? {
                Some(client) => Some(all(&client)?),
                None => None,
            };
            told::list(world, all.as_deref(), *format)
        }
        SessionCommand::Reset(at) => {
            let said = "is as it was before its first cell";
            change(
                world,
                at,
                |id| Told::new("reset", id, said),
                async |session, stand| {
                    session.reset().await?;
                    (stand.cells, stand.lineage) = (0, None);
                    Some(Ok(()))
                },
            )
        }
        SessionCommand::Snapshot { at, name } => {
            nameable(name)?;
            let told = |id| {
                let said = format!("is kept as `{}`", escape_line(name));
                Told { snapshot: Some(name.clone()), ..Told::new("snapshot", id, said) }
            };
            change(world, at, told, async |session, stand| {
                if let Err(why) = session.snapshot(name).await? {
                    return Some(Err(unkept(at, "can't be kept", &why)));
                }
                stand.kept.retain(|(kept, _)| kept != name);
                stand.kept.push((name.clone(), stand.lineage.clone()));
                Some(Ok(()))
            })
        }
        SessionCommand::Restore { at, name } => {
            let told = |id| {
                let said = format!("is as it was kept as `{}`", escape_line(name));
                Told { snapshot: Some(name.clone()), ..Told::new("restore", id, said) }
            };
            change(world, at, told, async |session, stand| {
                let lineage = match kept(at, stand, name) {
                    Ok(lineage) => lineage,
                    Err(failure) => return Some(Err(failure)),
                };
                let what = format!("can't go back to `{}`", escape_line(name));
                if let Err(why) = session.restore(name).await? {
                    return Some(Err(unkept(at, &what, &why)));
                }
                stand.lineage = lineage;
                // It is not new: something may have been typed into it.
                stand.cells = stand.cells.max(1);
                Some(Ok(()))
            })
        }
        SessionCommand::Forget { at, name } => {
            let told = |id| {
                let said = format!("has no snapshot `{}` any more", escape_line(name));
                Told { snapshot: Some(name.clone()), ..Told::new("forget", id, said) }
            };
            change(world, at, told, async |session, stand| {
                if let Err(failure) = kept(at, stand, name) {
                    return Some(Err(failure));
                }
                let what = format!("can't drop `{}`", escape_line(name));
                if let Err(why) = session.forget(name).await? {
                    return Some(Err(unkept(at, &what, &why)));
                }
                stand.kept.retain(|(kept, _)| kept != name);
                Some(Ok(()))
            })
        }
        SessionCommand::Save { at, file } => durable::save(world, at, file),
        SessionCommand::Load { at, file } => durable::load(world, at, file),
        SessionCommand::Fork { at, new } => durable::fork(world, at, new),
        SessionCommand::Rm { at, yes } => {
            let client = reach(world)?;
            let id = find(&client, at)?.ok_or_else(|| absent(at))?;
            // By its name alone it may be one that nobody thinks of here.
            let is_meant = *yes || at.flow.is_some() || here(&at.session)? == id;
            if !is_meant && !is_confirmed(world, &id)? {
                world.screen.tell("nothing was ended\n");
                return Ok(Exit::Failed);
            }
            match client.end_session(&id) {
                Some(true) => Told::new("rm", id, "has ended").show(world, &client, at.format),
                Some(false) => Err(absent(at)),
                None => Err(in_use(at)),
            }
        }
    }
}

/// Whether a person means the session of a flow that is not here.
fn is_confirmed(world: &World, id: &SessionId) -> Result<bool, Failure> {
    let (name, flow) = (escape_line(&id.name), id.flow.display().to_string());
    let flow = escape_line(&flow);
    let what = format!("the session `{name}` of `{flow}`, which is not here, may be ended");
    said_yes(world, &what, &format!("the session `{name}` is one of `{flow}`: end it?"))
        .map_err(|failure| failure.hint(format!("`--yes`, or `--flow {flow}`, ends it")))
}

/// Whether a state can be kept under a name.
pub fn nameable(name: &str) -> Result<(), Failure> {
    let bytes = name.len();
    let wrong = match bytes {
        0 => "a snapshot has to have a name".to_owned(),
        _ if bytes > LONGEST => format!("the name of the snapshot has {bytes} bytes"),
        _ if name.chars().any(char::is_control) => {
            "the name of the snapshot has characters that can't be shown".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Exit::Usage, wrong)
        .hint(format!("valid: 1 to {LONGEST} bytes of text, on one line")))
}

/// The lineage of a snapshot that a session has.
fn kept(at: &SessionAt, stand: &Stand, name: &str) -> Result<Option<String>, Failure> {
    if let Some((_, lineage)) = stand.kept.iter().find(|(kept, _)| kept == name) {
        return Ok(lineage.clone());
    }
    let (session, wanted) = (escape_line(&at.session), escape_line(name));
    let failure =
        Failure::new(Exit::Usage, format!("session `{session}` has no snapshot `{wanted}`"));
    let names: Vec<_> = stand.kept.iter().map(|(kept, _)| format!("`{kept}`")).collect();
    Err(match names.is_empty() {
        true => failure.hint(format!("polyloom session snapshot {session} {wanted}")),
        false => failure.hint(format!("valid: {}", names.join(", "))),
    })
}

/// What can't be done with a session, which goes on as it was.
fn unkept(at: &SessionAt, what: &str, why: &Unkept) -> Failure {
    let text = format!("session `{}` {what}: {why}", escape_line(&at.session));
    let failure = Failure::new(Exit::Environment, text);
    match why {
        Unkept::Files => failure.hint("have its cells leave no files: what is kept is memory"),
        Unkept::Processes => failure.hint("have its cells wait for the processes that they start"),
        Unkept::Never => {
            failure.hint("`polyloom doctor` shows what each executor's sessions can do")
        }
        Unkept::Worker(_) => failure.hint("`polyloom plugin info` shows what an executor can do"),
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

/// Why a session can't be had.
pub fn unhad(at: &SessionAt, why: Unhad) -> Failure {
    match why {
        Unhad::InUse => in_use(at),
        Unhad::Full => Failure::new(Exit::Environment, why.to_string())
            .hint("`polyloom session list` shows them, `polyloom session rm NAME` ends one"),
    }
}

/// Does something with a session, leaves it as it is then, and tells of it.
fn change(
    world: &World,
    at: &SessionAt,
    told: impl FnOnce(SessionId) -> Told,
    act: impl AsyncFnOnce(&mut Session, &mut Stand) -> Option<Result<(), Failure>>,
) -> Outcome {
    let (client, id) = found(world, at)?;
    let done = alone()?.block_on(async {
        let read = OnceCell::new();
        let manifest = |name: &str| read.get_or_init(|| manifest_of(world, name)).as_deref();
        let had = present_session(&client, &id, manifest);
        let had = had.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let Some((mut session, mut stand)) = had.map_err(|why| unhad(at, why))? else {
            return Err(absent(at));
        };
        session.busy();
        let done = act(&mut session, &mut stand).await;
        if done.is_some() {
            session.stands(&stand);
        }
        session.leave();
        done.unwrap_or_else(|| Err(lost(at, None)))
    });
    done?;
    told(id).show(world, &client, at.format)
}

/// A session whose worker was asked something, and did not answer as it should.
fn lost(at: &SessionAt, why: Option<&Unanswered>) -> Failure {
    let name = escape_line(&at.session);
    let text = match why {
        None => format!("session `{name}` gave no answer, and has ended"),
        Some(why) => format!("session `{name}` has ended: {why}"),
    };
    Failure::new(Exit::Failed, text).hint("the next run of its flow begins it anew")
}

/// What waits for answers, with nothing beside.
fn alone() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::of(Exit::Environment, &error))
}

fn manifest_of(world: &World, name: &str) -> Option<Arc<Manifest>> {
    world.manifest_alone(&name.parse::<ExecutorId>().ok()?)
}

fn reach(world: &World) -> Result<Arc<Client>, Failure> {
    visited(world)?.map(Arc::new).ok_or_else(|| {
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

/// The session of this name that the flow in this folder would have, or the folder where there is none: as `repl --session` has it.
pub fn here(name: &str) -> Result<SessionId, Failure> {
    let here = std::env::current_dir();
    let here = here.map_err(|error| Failure::of(Exit::Environment, &error))?;
    let flow = polyloom_load::find_flow(&here).unwrap_or(here);
    let flow = std::fs::canonicalize(&flow).unwrap_or(flow);
    Ok(SessionId { flow, name: name.to_owned() })
}

/// The session of this name that the named flow would have, or the one in this folder.
fn named_here(at: &SessionAt) -> Result<SessionId, Failure> {
    match flow_named(at)? {
        Some(flow) => Ok(SessionId { flow, name: at.session.clone() }),
        None => here(&at.session),
    }
}

/// The one session that is meant, which there has to be. Where there is a flow in this folder, one of another flow has to be named with it.
fn found(world: &World, at: &SessionAt) -> Result<(Arc<Client>, SessionId), Failure> {
    let client = reach(world)?;
    let id = find(&client, at)?.ok_or_else(|| absent(at))?;
    match is_another(at, &id)? {
        false => Ok((client, id)),
        true => {
            let (name, flow) = (escape_line(&id.name), id.flow.display().to_string());
            let flow = escape_line(&flow);
            let text = format!("the session `{name}` is one of `{flow}`, not of the flow here");
            Err(Failure::new(Exit::Usage, text).hint(format!("--flow {flow}")))
        }
    }
}

/// Whether a session that was found by its name alone is of another flow than the one in this folder.
fn is_another(at: &SessionAt, id: &SessionId) -> Result<bool, Failure> {
    let own = here(&at.session)?;
    Ok(at.flow.is_none() && own.flow.is_file() && own != *id)
}

/// The one session that is meant.
fn find(client: &Client, at: &SessionAt) -> Result<Option<SessionId>, Failure> {
    let flow = flow_named(at)?;
    let here = std::env::current_dir().ok();
    let all = all(client)?;
    let named = |it: &&SessionStatus| {
        it.id.name == at.session && flow.as_ref().is_none_or(|flow| *flow == it.id.flow)
    };
    let mut fit: Vec<&SessionStatus> = all.iter().filter(named).collect();
    if fit.len() > 1 {
        // That of the folder one is in.
        fit.retain(|it| it.id.flow.parent() == here.as_deref());
    }
    match fit[..] {
        [one] => Ok(Some(one.id.clone())),
        [] if !all.iter().any(|it| named(&it)) => Ok(None),
        _ => {
            let text = format!("several flows have a session `{}`", escape_line(&at.session));
            Err(Failure::new(Exit::Usage, text).hint("name one with `--flow`"))
        }
    }
}

/// Every session that the daemon keeps.
pub fn all(client: &Client) -> Result<Vec<SessionStatus>, Failure> {
    client.sessions().ok_or_else(|| {
        Failure::new(Exit::Environment, "the daemon does not answer")
            .hint("polyloom daemon stop, which ends its sessions, too")
    })
}
