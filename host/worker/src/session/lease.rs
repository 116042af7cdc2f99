//! Sessions of the daemon's: those that go on when the process that uses them is over.

use std::sync::Arc;
use std::time::Duration;

use polyloom_model::Manifest;
use polyloom_sandbox as sandbox;
use thiserror::Error;

use super::{OF_A_CELL, Own, Session};
use crate::attempt::Attempt;
use crate::daemon::{Ask, Client, Lent, MOST_SESSIONS, SessionId, Standing};
use crate::drive::{Bounds, Seat};
use crate::order::{Order, Wait};
use crate::parking::{Berth, can_wait};
use crate::talk::Pause;
use crate::workplace::{AttemptError, Workplace};

/// What whoever runs cells knows of a session's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stand {
    /// How many cells have run in it.
    pub cells: u64,
    /// The key of the last of them; none: it is as it began.
    pub lineage: Option<String>,
    /// Snapshots: name, and the lineage that each has.
    pub kept: Vec<(String, Option<String>)>,
}

/// Why a session of the daemon's can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unhad {
    /// It is one process's at a time.
    #[error("another run, or a terminal, has the session now")]
    InUse,
    /// There are too many to begin another one.
    #[error("the daemon keeps {MOST_SESSIONS} sessions, which is the most")]
    Full,
}

/// What this process may do with a session of the daemon's.
pub struct Lease {
    client: Arc<Client>,
    number: u64,
    executor: String,
    /// Whether the daemon knows how it stands.
    known: bool,
}

impl Lease {
    pub fn busy(&mut self) {
        self.known = false;
        self.client.say(&Ask::Busy(self.number));
    }

    pub fn stands(
        &mut self,
        pause: Pause,
        (own, bounds): (Own, Bounds),
        cpu: Duration,
        counted: (u64, u64),
        at: &Stand,
    ) {
        let Stand { cells, lineage, kept } = at.clone();
        let executor = self.executor.clone();
        let standing =
            Standing { pause, own, bounds, cpu, counted, executor, cells, lineage, kept };
        self.client.say(&Ask::Stands(self.number, standing));
        self.known = true;
    }

    /// Leaves the session as it stands; false where the daemon does not know how that is, and ends it.
    pub fn leave(self) -> bool {
        self.known
    }
}

impl Drop for Lease {
    /// Whatever became of the session: nobody here has it any more.
    fn drop(&mut self) {
        self.client.say(&Ask::Leave(self.number));
    }
}

impl Workplace {
    /// The daemon's session of this name, for cells like this one: as it stands, or begun now. Nothing: no daemon keeps it, since there is none or since what such
    /// a cell was granted stays with the run. May block.
    pub fn kept_session(
        &self,
        attempt: &Attempt,
        id: &SessionId,
    ) -> Result<Result<Option<(Session, Stand)>, Unhad>, AttemptError> {
        let Some(client) = self.daemon.client() else { return Ok(Ok(None)) };
        let view = self.spawner().and_then(sandbox::Spawner::view).map_err(AttemptError::Spawn)?;
        // What is of one cell alone makes no other session.
        let (inputs, stdin, code, call) = (Vec::new(), None, Arc::default(), None);
        let bare = Attempt { inputs, stdin, code, call, ..attempt.clone() };
        let (mut spec, policy, _) = self.prepare(&bare, view);
        spec.files.clear();
        spec.env.retain(|(name, _)| !OF_A_CELL.contains(&name.as_str()));
        let executor = &attempt.executor;
        let open = attempt.secrets.is_none()
            && attempt.granted.env.is_empty()
            && can_wait(executor, &policy, &spec);
        if !open {
            return Ok(Ok(None));
        }
        let order = Order::new(Wait::Worker, executor, &policy, &spec);
        let lent = client.session(id, Some(&order));
        had(client, lent, &executor.manifest, Some(attempt)).map_err(AttemptError::Watch)
    }
}

/// The session that there is of a name, whatever its cells are. `manifest` gives that of its executor.
pub fn present_session<'m>(
    client: &Arc<Client>,
    id: &SessionId,
    manifest: impl FnOnce(&str) -> Option<&'m Manifest>,
) -> std::io::Result<Result<Option<(Session, Stand)>, Unhad>> {
    let lent = client.session(id, None);
    let Lent::Session { standing: Some(standing), .. } = &lent else {
        return Ok(if matches!(lent, Lent::InUse) { Err(Unhad::InUse) } else { Ok(None) });
    };
    match manifest(&standing.executor) {
        Some(manifest) => had(client, lent, manifest, None),
        None => Ok(Ok(None)),
    }
}

/// A new session of the daemon's that is begun as the one of another name was. `base` has its executor. Nothing: there is no other, or one of that name.
pub fn forked_session(
    client: &Arc<Client>,
    of: &SessionId,
    id: &SessionId,
    base: &Attempt,
) -> std::io::Result<Result<Option<Session>, Unhad>> {
    let lent = client.session_like(of, id);
    let had = had(client, lent, &base.executor.manifest, Some(base))?;
    Ok(had.map(|had| had.map(|(session, _)| session)))
}

fn had(
    client: &Arc<Client>,
    lent: Lent,
    manifest: &Manifest,
    attempt: Option<&Attempt>,
) -> std::io::Result<Result<Option<(Session, Stand)>, Unhad>> {
    let (number, about, fds, standing) = match lent {
        Lent::InUse => return Ok(Err(Unhad::InUse)),
        Lent::Full => return Ok(Err(Unhad::Full)),
        Lent::None => return Ok(Ok(None)),
        Lent::Session { id, about, fds, standing } => (id, about, fds, standing),
    };
    let Some(mut cell) = sandbox::Sandbox::receive(&about, fds) else { return Ok(Ok(None)) };
    let executor = manifest.id.to_string();
    let known = standing.is_some();
    let (seat, own, bounds, stand) = match (standing, attempt) {
        (Some(standing), _) => {
            let Standing { pause, own, bounds, cpu, counted, cells, lineage, kept, .. } = *standing;
            cell.count_from(counted);
            let mut seat = Seat::resume(cell, manifest, pause)?;
            seat.cpu = cpu;
            (seat, own, bounds, Stand { cells, lineage, kept })
        }
        (None, Some(attempt)) => {
            let seat = Seat::open(attempt, Berth { cell, line: None })?.stays();
            (seat, Own::default(), Bounds::of(&attempt.limits), Stand::default())
        }
        (None, None) => return Ok(Ok(None)),
    };
    let client = Arc::clone(client);
    let lease = Some(Lease { client, number, executor, known });
    Ok(Ok(Some((Session::new(seat, lease, own, bounds), stand))))
}
