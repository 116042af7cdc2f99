//! Sessions that are alive, and what is done so that a cell finds the state that those before it left.
//!
//! A session's state is known by its lineage alone: the key of the cell that ran in it last, which holds the keys of all before that. No word of a worker
//! counts. A state that is not there is made anew, by running those cells again in a new process; what they give then is thrown away, since their results are known.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use polyloom_model::{CellId, Limits, SessionName, Value};
use polyloom_plan::Key;
use polyloom_protocol::{Diagnostic, Outcome, Severity};
use polyloom_worker::AttemptError;
use polyloom_worker::attempt::{Attempt, Live, Origins, Report, Stop};
use polyloom_worker::daemon::SessionId;
use polyloom_worker::session::{Session, Stand, Unhad};
use tokio::sync::{mpsc, watch};

use crate::place::Place;
use crate::step::{StepRun, Trouble};
use crate::words::chain;

/// A cell's part in its session.
pub struct Turn {
    /// The session.
    pub name: SessionName,
    /// The flow's file.
    pub flow: PathBuf,
    /// The cell's key.
    pub key: Key,
    /// The key of the cell before it; the first has none.
    pub before: Option<Key>,
    /// That cell.
    pub previous: Option<CellId>,
    /// The cells before it, as far as the state that is there may lack them.
    pub replays: Vec<StepRun>,
    /// The cells after it that are to be sent to the session's worker before their turn, without those that have been.
    pub behind: Vec<StepRun>,
    /// What its process may use: as much as any of its cells may.
    pub limits: Limits,
    /// Where the code of the session's cells stands.
    pub origins: Origins,
}

/// One that is alive.
struct Alive {
    session: Session,
    /// Nothing: it is as it began, or somebody has typed into it.
    lineage: Option<Key>,
    /// States that can be gone back to, the latest last.
    kept: Vec<Key>,
    /// Those that people have kept under names of their own.
    named: Vec<(String, Option<String>)>,
    /// How many cells have run in it.
    cells: u64,
    /// The keys of the cells that its worker goes on with by itself.
    ahead: VecDeque<Key>,
    /// So many of them there may be: the more, the longer no cell has left something that ends that.
    depth: usize,
}

/// So many cells wait with a session's worker at most: what it can do while the host commits what has ended.
const MOST_AHEAD: usize = 64;
/// So many states of a session are kept, each a process of its own; the one that was kept first goes.
const MOST_KEPT: usize = 16;

impl Alive {
    fn new(session: Session) -> Self {
        let (kept, named, ahead) = Default::default();
        Self { session, lineage: None, kept, named, cells: 0, ahead, depth: 0 }
    }

    /// One of the daemon's, as it was left.
    fn found(session: Session, stand: Stand) -> Self {
        let key = |text: &str| text.parse().ok().map(Key);
        let lineage = stand.lineage.as_deref().and_then(key);
        let own = |(name, lineage): &(String, Option<String>)| {
            lineage.as_deref().and_then(key).filter(|key| key.short() == *name)
        };
        let kept = stand.kept.iter().filter_map(own).collect();
        let named = stand.kept.into_iter().filter(|it| own(it).is_none()).collect();
        Self { lineage, kept, named, cells: stand.cells, ..Self::new(session) }
    }

    /// Lets the daemon know how it stands, where it is one of its.
    fn tell(&mut self) {
        if !self.session.outlives() {
            return;
        }
        let kept = self.kept.iter().map(|key| (key.short(), Some(key.to_string())));
        let kept = kept.chain(self.named.iter().cloned()).collect();
        let lineage = self.lineage.map(|key| key.to_string());
        self.session.stands(&Stand { cells: self.cells, lineage, kept });
    }

    /// Keeps the state as it is now, where there will be runs that may go back to it; nothing where the session is of no use any more.
    async fn keep(mut self, wanted: bool, limits: &Limits) -> Option<Self> {
        let Some(lineage) = self.lineage.filter(|_| wanted && self.keeps()) else {
            return Some(self);
        };
        match self.kept_now(lineage, limits).await {
            Some(()) => Some(self),
            None => {
                self.session.end();
                None
            }
        }
    }

    /// Whether its state can be kept: not while its worker goes on by itself.
    fn keeps(&self) -> bool {
        self.ahead.is_empty() && self.session.keeps()
    }

    async fn kept_now(&mut self, lineage: Key, limits: &Limits) -> Option<()> {
        // What is kept is not to be what a cell fails for.
        if self.session.is_crowded(limits) {
            for key in std::mem::take(&mut self.kept) {
                let _ = self.session.forget(&key.short()).await?;
            }
        }
        if self.kept.contains(&lineage) || self.session.is_crowded(limits) {
            return Some(());
        }
        if self.kept.len() >= MOST_KEPT {
            let first = self.kept.remove(0);
            let _ = self.session.forget(&first.short()).await?;
        }
        if self.session.snapshot(&lineage.short()).await?.is_ok() {
            self.kept.push(lineage);
        }
        Some(())
    }

    /// Whether a cell can run in it as it is: its state is the one that the cell before has left, and its worker goes on with no other cell.
    fn is_at(&mut self, before: Option<Key>, key: Key) -> bool {
        let is_next = match self.ahead.front() {
            Some(next) => *next == key,
            None => self.session.is_there(),
        };
        is_next && self.lineage == before
    }

    /// How far behind the next cell those are that its worker is to be sent with that one.
    fn wanted(&self) -> Range<usize> {
        let waiting = self.ahead.len().saturating_sub(1);
        match self.session.queues() && waiting <= self.depth / 2 {
            true => waiting..self.depth,
            false => 0..0,
        }
    }

    /// Runs a cell of this key, and what is left of the session then. Those `behind` it are sent to its worker with it.
    async fn exec(
        self,
        place: &Place,
        attempt: &Arc<Attempt>,
        key: Option<Key>,
        behind: Vec<(Key, Arc<Attempt>)>,
        live: mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<(Report, Option<Self>), Trouble> {
        let Self { session, lineage: _, kept, named, cells, mut ahead, depth } = self;
        let sent = session.queue().front().cloned();
        let attempt = sent.as_ref().unwrap_or(attempt);
        ahead.pop_front();
        let (keys, behind): (Vec<Key>, Vec<_>) = behind.into_iter().unzip();
        ahead.extend(keys);
        let ran = place.workplace.exec(session, attempt, behind, live, stop.clone()).await;
        let (report, next) = ran.map_err(|error| told(&error))?;
        let alive = |session: Session| {
            // It may not have taken all of them, and goes on with none where this one left something.
            ahead.truncate(session.queue().len());
            let depth = if session.leaves() { 0 } else { (2 * depth + 1).min(MOST_AHEAD) };
            Self { session, lineage: key, kept, named, cells: cells + 1, ahead, depth }
        };
        Ok((report, next.map(alive)))
    }

    /// Goes back to a kept state; where that can't be done the session ends.
    async fn back_to(mut self, lineage: Key) -> Option<Self> {
        let is_kept = self.kept.contains(&lineage);
        if is_kept && self.session.restore(&lineage.short()).await == Some(Ok(())) {
            return Some(Self { lineage: Some(lineage), ..self });
        }
        self.session.end();
        None
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

    /// Whether a session is alive, nobody uses it, and a cell of this key can run in it as it is, after one of the key before; then how far behind it
    /// those are that are to be sent with it.
    pub fn stands_at(
        &self,
        name: &SessionName,
        before: Option<Key>,
        key: Key,
    ) -> Option<Range<usize>> {
        let place = self.place(name);
        let mut held = place.try_lock().ok()?;
        let alive = held.as_mut()?;
        alive.is_at(before, key).then(|| alive.wanted())
    }

    /// Ends those that nobody uses, and waits for that; those of the daemon are left to it.
    pub async fn end(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let held = |place: &Berth| place.try_lock().ok().and_then(|mut held| held.take());
        let held: Vec<Alive> = all.values().filter_map(held).collect();
        if !held.is_empty() {
            let leave = move || held.into_iter().for_each(|alive| alive.session.leave());
            let _ = tokio::task::spawn_blocking(leave).await;
        }
    }
}

/// What a cell of a session came to.
pub(crate) enum Played {
    /// It ran, and these cells had to be run again before.
    Ran(Box<Report>, Vec<CellId>),
    /// A cell before it could not be run again.
    NotAgain(CellId, Box<Report>),
    /// The one before it has left a worker that is of no use.
    Spoilt(CellId),
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
        let Some((mut alive, from)) = self.had(place, attempt, stop, held.take()).await? else {
            return Ok(Played::Stopped);
        };
        let keeps = place.workplace.room() > 0 || alive.session.outlives();
        if keeps && alive.cells == 0 {
            // Whether it comes up is seen by what it is to run.
            let _ = alive.session.learn().await;
        }
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
            let key = step.turn.as_ref().map(|turn| turn.key);
            let (report, next) = alive.exec(place, &earlier, key, Vec::new(), silent, stop).await?;
            alive = match (report.meta.outcome, next) {
                (Outcome::Ok, Some(next)) => next,
                (Outcome::Cancelled, _) => return Ok(Played::Stopped),
                (_, next) => {
                    if let Some(next) = next {
                        next.session.end();
                    }
                    return Ok(Played::NotAgain(cell, Box::new(report)));
                }
            };
            again.push(cell);
        }
        if let Some(previous) = &self.previous {
            let Some(kept) = alive.keep(keeps, &attempt.limits).await else {
                return Ok(Played::Spoilt(previous.clone()));
            };
            alive = kept;
        }
        let (key, behind) = (Some(self.key), self.attempts_behind(keeps));
        let (mut report, next) = alive.exec(place, attempt, key, behind, live, stop).await?;
        let broke = matches!(report.meta.outcome, Outcome::WorkerError | Outcome::Killed);
        if let Some(previous) = self.previous.as_ref().filter(|_| broke) {
            // What the worker said may be the other's doing: they share a process.
            let text = format!(
                "`{previous}` may have done this, which ran before it in the process of session `{}`; `polyloom run -f {previous}` runs it again",
                self.name
            );
            report.meta.diagnostics.push(Diagnostic::new(Severity::Info, text));
        }
        if let Some(alive) = next {
            *held = match (report.meta.outcome, self.before) {
                (Outcome::Ok, _) => Some(alive),
                // What it did before it failed is undone.
                (_, Some(before)) => alive.back_to(before).await,
                (_, None) => {
                    alive.session.end();
                    None
                }
            };
            if let Some(alive) = held.as_mut() {
                alive.tell();
            }
        }
        Ok(Played::Ran(Box::new(report), again))
    }

    /// The cells behind it, as far as they can be made ready now: what is amiss with one is told when it is its turn. None where states are to be kept between them.
    fn attempts_behind(&self, keeps: bool) -> Vec<(Key, Arc<Attempt>)> {
        let ready = |step: &StepRun| {
            let key = step.turn.as_ref()?.key;
            Some((key, Arc::new(step.attempt(None).ok()?)))
        };
        self.behind.iter().filter(|_| !keeps).map_while(ready).collect()
    }

    /// The session in the latest state on the way to this cell that is there, or begun anew, and how many of the replays it is past then; nothing where that was stopped.
    async fn had(
        &self,
        place: &Place,
        attempt: &Arc<Attempt>,
        stop: &watch::Receiver<Stop>,
        held: Option<Alive>,
    ) -> Result<Option<(Alive, usize)>, Trouble> {
        if let Some(alive) = held
            && let Some(found) = self.goes_on(alive).await
        {
            return Ok(Some(found));
        }
        // Where the state that the daemon has kept is of no use, that session has ended: it begins another one, and is asked no third time.
        for _ in 0..2 {
            let Some(alive) = self.kept_by_daemon(place, attempt).await? else { break };
            let is_new = alive.cells == 0;
            match self.goes_on(alive).await {
                Some(found) => return Ok(Some(found)),
                None if is_new => break,
                None => {}
            }
        }
        if self.before.is_some() && self.replays.is_empty() {
            let text = format!("the session `{}` ended meanwhile; run it again", self.name);
            return Err(Trouble::host(text));
        }
        let wanted = Attempt { limits: self.limits.clone(), ..Attempt::clone(attempt) };
        let begun = place.workplace.begin_session(&Arc::new(wanted), stop).await;
        Ok(begun.map_err(|error| told(&error))?.map(|session| (Alive::new(session), 0)))
    }

    /// What the daemon keeps of it.
    async fn kept_by_daemon(
        &self,
        place: &Place,
        attempt: &Arc<Attempt>,
    ) -> Result<Option<Alive>, Trouble> {
        let wanted = Attempt { limits: self.limits.clone(), ..Attempt::clone(attempt) };
        let (workplace, id) = (Arc::clone(&place.workplace), self.id());
        let had = tokio::task::spawn_blocking(move || workplace.kept_session(&wanted, &id)).await;
        let had = had.map_err(|error| Trouble::internal(&error))?;
        match had.map_err(|error| told(&error))? {
            Ok(had) => Ok(had.map(|(session, stand)| Alive::found(session, stand))),
            // It has one of its own.
            Err(Unhad::Full) => Ok(None),
            Err(in_use @ Unhad::InUse) => Err(Trouble::host(format!(
                "the session `{}` can't be had: {in_use}; `polyloom session list` shows it",
                self.name
            ))),
        }
    }

    fn id(&self) -> SessionId {
        // However it is named today.
        let flow = std::fs::canonicalize(&self.flow).unwrap_or_else(|_| self.flow.clone());
        SessionId { flow, name: self.name.to_string() }
    }

    /// A session that is alive, in the latest state on the way to this cell that it has, and how many of the replays it is past then.
    async fn goes_on(&self, mut alive: Alive) -> Option<(Alive, usize)> {
        if !alive.ahead.is_empty() && !alive.is_at(self.before, self.key) {
            // Its worker has gone on with another cell.
            alive.session.end();
            return None;
        }
        if alive.ahead.is_empty() && !alive.session.is_there() {
            return None;
        }
        let is_new = alive.cells == 0;
        match self.before {
            Some(_) if self.before == alive.lineage => return Some((alive, self.replays.len())),
            None if is_new => return Some((alive, 0)),
            Some(_) if is_new && !self.replays.is_empty() => return Some((alive, 0)),
            Some(_) | None => {}
        }
        let keys = self.replays.iter().map(|step| step.turn.as_ref().map(|turn| turn.key));
        for (at, key) in keys.enumerate().rev() {
            match key {
                Some(key) if Some(key) == alive.lineage => return Some((alive, at + 1)),
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

/// What is said of a cell that did not end as it said.
pub(crate) fn spoilt(session: &SessionName, cell: &CellId) -> String {
    format!(
        "`{cell}` has left the worker of session `{session}` of no use: it has ended its process, or spoken in its place; `polyloom run -f {cell}` runs it again"
    )
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
