//! Sessions that are alive, and what is done so that a cell finds the state that those before it left.
//!
//! A session's state is known by its lineage alone: the key of the cell that ran in it last, which holds the keys of all before that. No word of a worker
//! counts. A state that is not there is made anew, by running those cells again in a new process; what they give then is thrown away, since their results are known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use polyloom_model::{CellId, Limits, SessionName, Value};
use polyloom_plan::Key;
use polyloom_protocol::Outcome;
use polyloom_worker::AttemptError;
use polyloom_worker::attempt::{Attempt, Live, Report, Stop};
use polyloom_worker::session::Session;
use tokio::sync::{mpsc, watch};

use crate::place::Place;
use crate::step::{StepRun, Trouble};
use crate::words::chain;

/// A cell's part in its session.
pub struct Turn {
    /// The session.
    pub name: SessionName,
    /// The cell's key.
    pub key: Key,
    /// The key of the cell before it; the first has none.
    pub before: Option<Key>,
    /// The cells before it, as far as the state that is there may lack them.
    pub replays: Vec<StepRun>,
    /// What its process may use: as much as any of its cells may.
    pub limits: Limits,
}

/// One that is alive.
struct Alive {
    session: Session,
    lineage: Key,
}

/// Who has the session now has the lock.
type Berth = Arc<tokio::sync::Mutex<Option<Alive>>>;

/// Sessions by name.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionName, Berth>>);

impl Sessions {
    fn place(&self, name: &SessionName) -> Berth {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.clone()).or_default())
    }

    /// Whether a session is alive, nobody uses it, and its state is this one.
    pub fn stands_at(&self, name: &SessionName, lineage: Option<Key>) -> bool {
        let place = self.place(name);
        let Ok(mut held) = place.try_lock() else { return false };
        held.as_mut().is_some_and(|it| Some(it.lineage) == lineage && it.session.is_there())
    }

    /// Ends those that nobody uses, and waits for that.
    pub async fn end(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let held = |place: &Berth| place.try_lock().ok().and_then(|mut held| held.take());
        let held: Vec<Alive> = all.values().filter_map(held).collect();
        if !held.is_empty() {
            let _ = tokio::task::spawn_blocking(move || drop(held)).await;
        }
    }
}

/// What a cell of a session came to.
pub(crate) enum Played {
    /// It ran, and these cells had to be run again before.
    Ran(Box<Report>, Vec<CellId>),
    /// A cell before it could not be run again.
    NotAgain(CellId, Box<Report>),
    /// It was stopped before.
    Stopped,
}

impl Turn {
    /// Runs a cell in its session, after those that have to be run again.
    pub(crate) async fn play(
        &self,
        place: &Place,
        attempt: &Arc<Attempt>,
        live: mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Played, Trouble> {
        let held = place.sessions.place(&self.name);
        let mut held = held.lock().await;
        let (mut session, from) = match held.take().and_then(|alive| self.goes_on(alive)) {
            Some(found) => found,
            None if self.before.is_some() && self.replays.is_empty() => {
                let text = format!("the session `{}` ended meanwhile; run it again", self.name);
                return Err(Trouble::host(text));
            }
            None => {
                let wanted = Attempt { limits: self.limits.clone(), ..Attempt::clone(attempt) };
                let begun = place.workplace.begin_session(&Arc::new(wanted), stop).await;
                match begun.map_err(|error| told(&error))? {
                    Some(session) => (session, 0),
                    None => return Ok(Played::Stopped),
                }
            }
        };
        let mut again = Vec::new();
        for step in &self.replays[from..] {
            let cell = step.cell().id.clone();
            let earlier = step.attempt(None).map_err(|trouble| Trouble {
                text: format!("`{cell}` can't be run again for its session: {}", trouble.text),
                ..trouble
            })?;
            let (secrets, granted) = (attempt.secrets.clone(), attempt.granted.clone());
            let earlier = Arc::new(Attempt { secrets, granted, ..earlier });
            // What it shows was shown when it ran.
            let (silent, _) = mpsc::channel(1);
            let ran = place.workplace.exec(session, &earlier, silent, stop.clone()).await;
            let (report, next) = ran.map_err(|error| told(&error))?;
            session = match (report.meta.outcome, next) {
                (Outcome::Ok, Some(next)) => next,
                (Outcome::Cancelled, _) => return Ok(Played::Stopped),
                _ => return Ok(Played::NotAgain(cell, Box::new(report))),
            };
            again.push(cell);
        }
        let ran = place.workplace.exec(session, attempt, live, stop.clone()).await;
        let (report, next) = ran.map_err(|error| told(&error))?;
        *held = next.map(|session| Alive { session, lineage: self.key });
        Ok(Played::Ran(Box::new(report), again))
    }

    /// How many of the replays a session that is alive is past, if it is on the way to this cell.
    fn goes_on(&self, mut alive: Alive) -> Option<(Session, usize)> {
        let keys = self.replays.iter().map(|step| step.turn.as_ref().map(|turn| turn.key));
        let past = match self.before == Some(alive.lineage) {
            true => Some(self.replays.len()),
            false => keys.into_iter().position(|key| key == Some(alive.lineage)).map(|at| at + 1),
        };
        match past.filter(|_| alive.session.is_there()) {
            Some(past) => Some((alive.session, past)),
            None => {
                alive.session.end();
                None
            }
        }
    }
}

fn told(error: &AttemptError) -> Trouble {
    match error {
        AttemptError::Inputs(_) => Trouble::input(chain(error)),
        AttemptError::Spawn(_) | AttemptError::Watch(_) => Trouble::host(chain(error)),
    }
}

/// The names of cells as a fact of a result.
pub(crate) fn names(cells: &[CellId]) -> Value {
    Value::List(cells.iter().map(|cell| Value::Str(cell.to_string())).collect())
}
