//! `--session NAME`: a prompt into a session that the daemon keeps, of a flow or of the folder one is in.

use std::sync::Arc;

use polyloom_model::{Digest, Manifest};
use polyloom_report::escape_line;
use polyloom_worker::attempt::Attempt;
use polyloom_worker::daemon::{Client, SessionId};
use polyloom_worker::session::{Session, Stand, Unhad, present_session};

use super::room::{Ground, failed};
use crate::commands::{daemon, session};
use crate::failure::{Exit, Failure};
use crate::world::World;

/// The language of the session of this name that the flow in this folder, or the folder, has; none where there is no such session.
pub fn language(client: &Client, name: &str) -> Result<Option<String>, Failure> {
    executor(client, &session::here(name)?)
}

fn executor(client: &Client, id: &SessionId) -> Result<Option<String>, Failure> {
    let there = session::all(client)?.into_iter().find(|it| it.id == *id);
    Ok(there.and_then(|it| it.standing).map(|standing| standing.executor))
}

/// A session that goes on when the prompt is over.
pub struct Kept {
    client: Arc<Client>,
    id: SessionId,
    manifest: Arc<Manifest>,
    /// How it stands.
    pub stand: Stand,
}

impl Kept {
    /// The one of this name: of the flow in this folder, where there is one. A daemon is started where there is none.
    pub fn new(world: &World, manifest: &Arc<Manifest>, name: &str) -> Result<Self, Failure> {
        let client = Arc::new(daemon::needed(world)?);
        if let Some(why) = client.but() {
            return Err(
                Failure::new(Exit::Environment, why.to_owned()).hint("polyloom daemon stop")
            );
        }
        let id = session::here(name)?;
        let there = executor(&client, &id)?;
        if there.is_none() {
            world.screen.note(&format!(
                "note: the daemon keeps no session `{}`: this one is new; a run that has a daemon leaves the state of its cells in theirs\n",
                escape_line(name)
            ));
        }
        if let Some(there) = there.filter(|there| there != manifest.id.as_str()) {
            let text = format!("the session `{}` is one of `{there}`", escape_line(name));
            return Err(Failure::new(Exit::Usage, text).hint(format!("--lang {there}")));
        }
        Ok(Self { client, id, manifest: Arc::clone(manifest), stand: Stand::default() })
    }

    /// It as it stands, whatever its limits are, or a new one like `base`.
    pub async fn session(&mut self, ground: &Ground, base: &Attempt) -> Result<Session, Failure> {
        let unhad = |why: Unhad| {
            if why == Unhad::Full {
                return Failure::new(Exit::Environment, why.to_string()).hint(
                    "`polyloom session list` shows them, `polyloom session rm NAME` ends one",
                );
            }
            let text = format!(
                "a run, or another terminal, has the session `{}` now",
                escape_line(&self.id.name)
            );
            Failure::new(Exit::Environment, text).hint("polyloom session list")
        };
        let there = present_session(&self.client, &self.id, |_| Some(&self.manifest));
        let there = there.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let found = match there.map_err(unhad)? {
            Some(found) => found,
            None => {
                let new = ground.place.workplace.kept_session(base, &self.id);
                let new = new.map_err(|error| failed(&error))?.map_err(unhad)?;
                new.ok_or_else(|| {
                    let text = "the daemon keeps no such session: what is granted, plugins with files of their own, and all where there are no namespaces, stay with one run";
                    Failure::new(Exit::Usage, text).hint("leave out `--session`")
                })?
            }
        };
        let (session, stand) = found;
        self.stand = stand;
        let mut session = session.at_prompt();
        let _ = match self.stand.cells {
            0 => session.learn().await,
            _ => session.greet().await,
        };
        // What cells have made of it is there to go back to, whatever is typed now.
        let state = self.stand.lineage.as_deref().and_then(|it| it.parse::<Digest>().ok());
        if let Some(name) = state.map(|it| it.short())
            && session.keeps()
            && !self.stand.kept.iter().any(|(kept, _)| *kept == name)
            && session.snapshot(&name).await == Some(Ok(()))
        {
            self.stand.kept.push((name, self.stand.lineage.clone()));
        }
        session.stands(&self.stand);
        Ok(session)
    }

    /// Something was typed: the state is no cells' any more.
    pub fn typed(stand: &mut Stand) {
        stand.cells += 1;
        stand.lineage = None;
    }
}
