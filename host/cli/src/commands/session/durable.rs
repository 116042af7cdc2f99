//! `session save`, `load` and `fork`: a state as files, in a file of a person's or on its way into another session.
//!
//! What comes so is data, imports and definitions. It is no cells' state: a run that finds it begins anew, since nobody can know that a file, or what a worker makes of it,
//! is what cells have left. A prompt goes on from it.

use std::cell::OnceCell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use polyloom_model::{Manifest, format_size};
use polyloom_protocol::messages::worker::Saved;
use polyloom_report::escape_line;
use polyloom_worker::bounded;
use polyloom_worker::daemon::{Client, SessionId};
use polyloom_worker::session::{
    Loaded, Session, Stand, StateFile, forked_session, present_session,
};

use super::state::{self, Head, State, Unread};
use super::told::Told;
use super::{absent, all, alone, find, found, lost, manifest_of, reach, unhad};
use crate::args::SessionAt;
use crate::commands::repl::blank;
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::shown;
use crate::world::World;

/// Saves a state in a file.
pub fn save(world: &World, at: &SessionAt, path: &Path) -> Outcome {
    let (client, id) = found(world, at)?;
    replaceable(path)?;
    let (stand, saved, files, manifest) = taken(world, &client, &id, at)?;
    let unsaved = saved.unsaved.iter().map(|it| (it.name.clone(), it.why.clone())).collect();
    let head = Head {
        executor: manifest.id.to_string(),
        version: manifest.version.clone(),
        environment: blank(world, &*world.place(world.store()?)?, &manifest)?.executor.toolchain(),
        key: stand.lineage,
        saved: saved.saved.clone(),
        unsaved,
        files: files.iter().map(|file| (file.path.clone(), file.size)).collect(),
    };
    state::write(path, &head, files).map_err(|error| {
        let failure =
            Failure::new(Exit::Environment, format!("`{}` can't be written", path.display()));
        let failure =
            Failure { messages: [failure.messages, vec![error.to_string()]].concat(), ..failure };
        match error.kind() {
            io::ErrorKind::StorageFull => {
                let folder = state::folder_of(path).display();
                failure.hint(format!("no space is left on the disk of `{folder}`"))
            }
            _ => failure,
        }
    })?;
    let said = format!("is saved in {}", shown(path));
    let (file, state) = (Some(path.to_owned()), Some((saved, "saved")));
    Told { file, state, ..Told::new("save", id, said) }.show(world, &client, at.format)
}

/// A file that is something else is not written over. Anything else than a file is written into.
fn replaceable(path: &Path) -> Result<(), Failure> {
    let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
    match is_file.then(|| State::open(path)) {
        Some(Err(Unread::NoState)) => {
            let text = format!("{} is there, and no saved session: it is left", shown(path));
            Err(Failure::new(Exit::Usage, text).hint("save it under another name"))
        }
        _ => Ok(()),
    }
}

/// Makes the state of a session, which may be a new one, that of a file.
pub fn load(world: &World, at: &SessionAt, path: &Path) -> Outcome {
    let state = State::open(path).map_err(|why| unread(path, &why))?;
    let head = &state.head;
    let manifest = manifest_of(world, &head.executor).ok_or_else(|| {
        let text = format!("there is no language `{}`", escape_line(&head.executor));
        Failure::new(Exit::Usage, text).hint("`polyloom plugin list` shows those there are")
    })?;
    let client = reach(world)?;
    let id = match find(&client, at)? {
        Some(id) if !super::is_another(at, &id)? => id,
        _ => super::named_here(at)?,
    };
    let there = all(&client)?;
    let standing = there.into_iter().find(|it| it.id == id).and_then(|it| it.standing);
    if let Some(other) = standing.filter(|it| it.executor != head.executor) {
        let text = format!(
            "it is a state of `{}`, and the session is one of `{}`",
            head.executor, other.executor
        );
        return Err(Failure::new(Exit::Usage, text).hint("load it under another name"));
    }
    let place = world.place(world.store()?)?;
    let base = blank(world, &place, &manifest)?;
    if head.environment != base.executor.toolchain() {
        world.screen.note("note: it was saved with other programs than are here now\n");
    }
    meets(&place)?;
    let loaded = alone()?.block_on(async {
        let there = present_session(&client, &id, |_| Some(&*manifest));
        let there = there.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let (session, stand) = match there.map_err(|why| unhad(at, why))? {
            Some(there) => there,
            None => {
                let new = place.workplace.kept_session(&base, &id);
                let new = new.map_err(|error| Failure::of(Exit::Environment, &error))?;
                new.map_err(|why| unhad(at, why))?.ok_or_else(|| {
                    let text = format!("the daemon can keep no session of `{}` here", manifest.id);
                    Failure::new(Exit::Environment, text).hint(
                        "plugins with files of their own, and all where there are no namespaces, stay with one run: `polyloom doctor`",
                    )
                })?
            }
        };
        let room = session.room();
        let fits = || match state.size() <= room {
            true => state.verify().map_err(|why| unread(path, &why)),
            false => {
                let (size, room) = (format_size(state.size()), format_size(room));
                let text = format!("its files have {size}, and the session has room for {room}");
                Err(Failure::new(Exit::Usage, text).hint("`disk` of its cells bounds it"))
            }
        };
        into(session, stand, (state.files(), !head.saved.is_empty()), &manifest, at, fits).await
    })?;
    let said = format!("is as {} has it", shown(path));
    let (file, state) = (Some(path.to_owned()), Some((loaded, "loaded")));
    Told { file, state, ..Told::new("load", id, said) }.show(world, &client, at.format)
}

/// Begins another session with the same state, as far as that can be had; each goes its own way.
pub fn fork(world: &World, at: &SessionAt, new: &str) -> Outcome {
    let (client, id) = found(world, at)?;
    let to = SessionId { name: new.to_owned(), ..id.clone() };
    let there = all(&client)?;
    if there.iter().any(|it| it.id == to) {
        let text = format!("there is a session `{}` already", escape_line(new));
        return Err(Failure::new(Exit::Usage, text)
            .hint(format!("polyloom session rm {}", escape_line(new))));
    }
    let (_, saved, files, manifest) = taken(world, &client, &id, at)?;
    let place = world.place(world.store()?)?;
    let base = blank(world, &place, &manifest)?;
    meets(&place)?;
    let mut loaded = alone()?.block_on(async {
        let begun = forked_session(&client, &id, &to, &base);
        let begun = begun.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let session = begun.map_err(|why| unhad(at, why))?.ok_or_else(|| {
            let text = format!("the daemon could not begin a session `{}`", escape_line(new));
            Failure::new(Exit::Environment, text).hint("polyloom session list")
        })?;
        let is_something = !saved.saved.is_empty();
        into(session, Stand::default(), (files, is_something), &manifest, at, || Ok(())).await
    })?;
    loaded.unsaved.extend(saved.unsaved);
    let said = format!("has what could be taken of `{}`", escape_line(&at.session));
    let (of, state) = (Some(at.session.clone()), Some((loaded, "came along")));
    Told { of, state, ..Told::new("fork", to, said) }.show(world, &client, at.format)
}

/// Why a file is none to be loaded, and which would be.
fn unread(path: &Path, why: &Unread) -> Failure {
    let text = format!("`{}` can't be loaded: {}", path.display(), escape_line(&why.to_string()));
    let failure = Failure::new(Exit::Usage, text);
    match why {
        Unread::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            failure.hint("`polyloom session save SESSION FILE` writes such a file")
        }
        Unread::Io(_) => failure,
        Unread::NoFile | Unread::NoState => failure.hint(
            "valid: a file that `polyloom session save SESSION FILE` has written, which begins with `polyloom session 2`",
        ),
        Unread::Version(_) => failure.hint(
            "valid: `polyloom session 2`, and `1` of earlier versions; load it with the version that has written it, or have its cells run here",
        ),
        Unread::Broken(_) => {
            failure.hint("it was changed, or not copied as a whole: copy it, or save it, again")
        }
    }
}

type Taken = (Stand, Saved, Vec<StateFile>, Arc<Manifest>);

/// The state of a session, which goes on.
fn taken(
    world: &World,
    client: &Arc<Client>,
    id: &SessionId,
    at: &SessionAt,
) -> Result<Taken, Failure> {
    let read = OnceCell::new();
    alone()?.block_on(async {
        let manifest = |name: &str| read.get_or_init(|| manifest_of(world, name)).as_deref();
        let there = present_session(client, id, manifest);
        let there = there.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let (mut session, stand) =
            there.map_err(|why| unhad(at, why))?.ok_or_else(|| absent(at))?;
        let manifest = read.get().cloned().flatten().ok_or_else(|| absent(at))?;
        let done =
            if session.is_durable() { session.save(&stand).await } else { Ok(Err(String::new())) };
        match done {
            Ok(done) => {
                session.stands(&stand);
                session.leave();
                let (saved, files) = done.map_err(|why| cant(&manifest, &why))?;
                Ok((stand, saved, files, manifest))
            }
            Err(why) => {
                session.end();
                Err(lost(at, Some(&why)))
            }
        }
    })
}

/// Has a session have a state and nothing else: these files, in which something is to be. `fits` says whether they can be had at all, before anything is done.
async fn into(
    mut session: Session,
    mut stand: Stand,
    (files, is_something): (Vec<StateFile>, bool),
    manifest: &Manifest,
    at: &SessionAt,
    fits: impl FnOnce() -> Result<(), Failure>,
) -> Result<Saved, Failure> {
    let began = match stand.cells {
        0 => session.learn().await,
        _ => session.greet().await,
    };
    // One that was begun for this and can't have it is nobody's.
    let is_new = stand.cells == 0 && stand.kept.is_empty();
    let refused = match began {
        Some(()) if !session.is_durable() => Err(cant(manifest, "")),
        _ => fits(),
    };
    if let Err(failure) = refused {
        match is_new {
            true => session.end(),
            false => session.leave(),
        }
        return Err(failure);
    }
    let loaded = match session.load(files, is_something).await {
        Ok(loaded) => loaded,
        Err(why) => {
            session.end();
            return Err(lost(at, Some(&why)));
        }
    };
    let is_as_it_was = matches!(loaded, Loaded::Unlaid(_) | Loaded::Nothing(_, true));
    if is_as_it_was && is_new {
        session.end();
    } else {
        if !is_as_it_was {
            // Whatever it is now, it is no cells' state.
            stand.lineage = None;
            stand.cells = stand.cells.max(1);
        }
        session.stands(&stand);
        session.leave();
    }
    let now = match (is_new, is_as_it_was) {
        (true, true) => "there is no such session",
        (false, true) => "the session is as it was",
        (_, false) => "the session is empty now; its cells run again with the next run of its flow",
    };
    match loaded {
        Loaded::State(saved) => Ok(saved),
        Loaded::Nothing(saved, _) => {
            let text = "nothing of the state could be loaded".to_owned();
            let why = saved.unsaved.iter().take(3);
            let why = why.map(|it| escape_line(&format!("{}: {}", it.name, it.why)).into_owned());
            Err(Failure {
                messages: std::iter::once(text).chain(why).collect(),
                ..Failure::new(Exit::Failed, "")
            }
            .hint(now))
        }
        Loaded::Unlaid(error) => {
            let text = format!(
                "the state can't be copied into the session's file system{}",
                bounded(&error)
            );
            let failure = Failure::new(Exit::Failed, text);
            Err(Failure {
                messages: [failure.messages, vec![error.to_string()]].concat(),
                ..failure
            }
            .hint(now))
        }
    }
}

fn cant(manifest: &Manifest, why: &str) -> Failure {
    if why.is_empty() {
        let text = format!("`{}` can't write its state into files", manifest.id);
        return Failure::new(Exit::Usage, text)
            .hint(format!("`polyloom plugin info {}` shows what it can do", manifest.id));
    }
    Failure::new(Exit::Failed, format!("the state can't be copied: {}", escape_line(why)))
}

fn meets(place: &polyloom_runtime::Place) -> Result<(), Failure> {
    let met = place.workplace.meets(&polyloom_model::Policy::default());
    met.map_err(|error| Failure::of(Exit::Environment, &error).hint("polyloom doctor"))
}
