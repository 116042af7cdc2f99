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
    /// States that can be gone back to, the latest last.
    kept: Vec<Key>,
}

/// So many states of a session are kept, each a process of its own; the one that was kept first goes.
const MOST_KEPT: usize = 16;

impl Alive {
    /// Keeps the state as it is now, where there will be runs that may go back to it; nothing where the session is of no use any more.
    async fn keep(mut self, wanted: bool) -> Option<Self> {
        if !wanted || !self.session.keeps() || self.kept.contains(&self.lineage) {
            return Some(self);
        }
        if self.kept.len() >= MOST_KEPT {
            let first = self.kept.remove(0);
            self.session.forget(&first.short()).await?;
        }
        if self.session.snapshot(&self.lineage.short()).await? {
            self.kept.push(self.lineage);
        }
        Some(self)
    }

    /// Goes back to a kept state.
    async fn back_to(mut self, lineage: Key) -> Option<Self> {
        let done = self.kept.contains(&lineage) && self.session.restore(&lineage.short()).await?;
        done.then_some(Self { lineage, ..self })
    }
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
        let found = match held.take() {
            Some(alive) => self.goes_on(alive).await,
            None => None,
        };
        let keeps = place.workplace.room() > 0;
        let (mut session, from, mut kept) = match found {
            Some((Alive { session, kept, .. }, from)) => (session, from, kept),
            None if self.before.is_some() && self.replays.is_empty() => {
                let text = format!("the session `{}` ended meanwhile; run it again", self.name);
                return Err(Trouble::host(text));
            }
            None => {
                let wanted = Attempt { limits: self.limits.clone(), ..Attempt::clone(attempt) };
                let begun = place.workplace.begin_session(&Arc::new(wanted), stop).await;
                match begun.map_err(|error| told(&error))? {
                    Some(session) => (session, 0, Vec::new()),
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
                (_, next) => {
                    if let Some(next) = next {
                        next.end();
                    }
                    return Ok(Played::NotAgain(cell, Box::new(report)));
                }
            };
            again.push(cell);
        }
        if let Some(lineage) = self.before {
            let alive = Alive { session, lineage, kept }.keep(keeps).await;
            let Some(alive) = alive else {
                let text = format!("the session `{}` can't be kept; run it again", self.name);
                return Err(Trouble::host(text));
            };
            (session, kept) = (alive.session, alive.kept);
        }
        let ran = place.workplace.exec(session, attempt, live, stop.clone()).await;
        let (report, next) = ran.map_err(|error| told(&error))?;
        if let Some(session) = next {
            let alive = Alive { session, lineage: self.key, kept };
            *held = match (report.meta.outcome, self.before) {
                (Outcome::Ok, _) => Some(alive),
                // What it did before it failed is undone.
                (_, Some(before)) => alive.back_to(before).await,
                (_, None) => None,
            };
        }
        Ok(Played::Ran(Box::new(report), again))
    }

    /// A session that is alive, in the latest state on the way to this cell that it has, and how many of the replays it is past then.
    async fn goes_on(&self, mut alive: Alive) -> Option<(Alive, usize)> {
        if !alive.session.is_there() {
            return None;
        }
        if self.before == Some(alive.lineage) {
            return Some((alive, self.replays.len()));
        }
        let keys = self.replays.iter().map(|step| step.turn.as_ref().map(|turn| turn.key));
        for (at, key) in keys.enumerate().rev() {
            match key {
                Some(key) if key == alive.lineage => return Some((alive, at + 1)),
                Some(key) if alive.kept.contains(&key) => {
                    return alive.back_to(key).await.map(|alive| (alive, at + 1));
                }
                _ => {}
            }
        }
        alive.session.end();
        None
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
