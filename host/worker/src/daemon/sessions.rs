//! Sessions that the daemon keeps: processes that go on from run to run, and how each stood when somebody last said so.
//!
//! A session is one process's at a time. Who has it says when it does something and how it stands afterwards; one that was left in the midst of something ends. Where nobody
//! has it all its processes are stopped: threads, and processes that cells have started, do nothing that no limit would end.

use std::collections::BTreeMap;
use std::time::Instant;

use polyloom_sandbox as sandbox;

use super::wire::{SessionId, SessionStatus, Standing};

/// Sessions at once: each is a whole interpreter.
pub const MOST: usize = 32;

/// All of them.
#[derive(Default)]
pub struct Sessions(BTreeMap<SessionId, Kept>);

struct Kept {
    number: u64,
    /// What its sandbox was ordered by.
    digest: [u8; 32],
    order: Vec<u8>,
    cell: Box<sandbox::Sandbox>,
    standing: Option<Standing>,
    /// The run that has it.
    run: Option<u64>,
    /// Whether that run does something with it.
    busy: bool,
    since: Instant,
}

/// Sandboxes that are not wanted any more. To end one takes a moment: not while others wait.
pub type Gone = Vec<Box<sandbox::Sandbox>>;

/// What there is of a name.
pub enum Found {
    /// The session of this number, which is the asking run's now.
    Session(u64),
    /// Somebody else has it.
    InUse,
    /// None that fits.
    None,
}

/// Why one is not added.
pub enum Unadded {
    /// There is one of its name.
    Taken,
    /// There are too many.
    Full,
}

impl Sessions {
    /// The session of a name, where nobody has it and it fits what is ordered.
    pub fn take(&mut self, run: u64, id: &SessionId, digest: Option<[u8; 32]>) -> (Found, Gone) {
        let Some(kept) = self.0.get_mut(id) else { return (Found::None, Gone::new()) };
        if kept.run.is_some() {
            return (Found::InUse, Gone::new());
        }
        let fits = digest.is_none_or(|digest| digest == kept.digest);
        if fits && kept.cell.poll_exit().is_none() && kept.cell.hold(false).is_ok() {
            kept.run = Some(run);
            return (Found::Session(kept.number), Gone::new());
        }
        let gone = self.0.remove(id).map(|kept| kept.cell);
        (Found::None, gone.into_iter().collect())
    }

    /// Adds one that has begun, as a run's; given back where there are too many, or one of the name.
    pub fn add(
        &mut self,
        run: u64,
        number: u64,
        id: SessionId,
        (digest, order): ([u8; 32], Vec<u8>),
        cell: Box<sandbox::Sandbox>,
    ) -> Result<(), (Unadded, Box<sandbox::Sandbox>)> {
        if self.0.contains_key(&id) {
            return Err((Unadded::Taken, cell));
        }
        if self.is_full() {
            return Err((Unadded::Full, cell));
        }
        let (standing, since) = (None, Instant::now());
        // Before anything is noted of it nobody can go on with it.
        let kept =
            Kept { number, digest, order, cell, standing, run: Some(run), busy: true, since };
        self.0.insert(id, kept);
        Ok(())
    }

    /// What one was ordered by, where there is none of another name.
    pub fn order(&self, of: &SessionId, id: &SessionId) -> Option<Vec<u8>> {
        if self.0.contains_key(id) {
            return None;
        }
        self.0.get(of).map(|kept| kept.order.clone())
    }

    /// What a run needs to have one.
    pub fn pass(&self, number: u64) -> Option<(sandbox::Passed<'_>, Option<&Standing>)> {
        let kept = self.0.values().find(|kept| kept.number == number)?;
        Some((kept.cell.pass()?, kept.standing.as_ref()))
    }

    fn of(&mut self, run: u64, number: u64) -> Option<&mut Kept> {
        self.0.values_mut().find(|kept| kept.number == number && kept.run == Some(run))
    }

    /// A run does something with one.
    pub fn busy(&mut self, run: u64, number: u64) {
        if let Some(kept) = self.of(run, number) {
            kept.busy = true;
        }
    }

    /// How one stands now.
    pub fn stands(&mut self, run: u64, number: u64, standing: Standing) {
        if let Some(kept) = self.of(run, number) {
            kept.busy = false;
            kept.standing = Some(standing);
        }
    }

    /// A run has no use for one any more.
    pub fn leave(&mut self, run: u64, number: u64) -> Gone {
        self.without(|kept| kept.number == number && kept.run == Some(run))
    }

    /// A run is gone.
    pub fn left(&mut self, run: u64) -> Gone {
        self.without(|kept| kept.run == Some(run))
    }

    fn without(&mut self, of: impl Fn(&Kept) -> bool) -> Gone {
        let gone = self.0.extract_if(.., |_, kept| {
            if !of(kept) {
                return false;
            }
            kept.run = None;
            kept.busy || kept.cell.poll_exit().is_some() || kept.cell.hold(true).is_err()
        });
        gone.map(|(_, kept)| kept.cell).collect()
    }

    /// Every one that is there.
    pub fn all(&mut self) -> (Vec<SessionStatus>, Gone) {
        let ended = |kept: &mut Kept| kept.run.is_none() && kept.cell.poll_exit().is_some();
        let gone =
            self.0.extract_if(.., |_, kept| ended(kept)).map(|(_, kept)| kept.cell).collect();
        let status = |(id, kept): (&SessionId, &Kept)| SessionStatus {
            id: id.clone(),
            standing: kept.standing.clone(),
            pid: kept.cell.pid(),
            since_ms: u64::try_from(kept.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            lent: kept.run.is_some(),
        };
        (self.0.iter().map(status).collect(), gone)
    }

    /// Takes one out; whether there was one. Nothing: somebody has it.
    pub fn end(&mut self, id: &SessionId) -> (Option<bool>, Gone) {
        match self.0.get(id).map(|kept| kept.run) {
            Some(Some(_)) => (None, Gone::new()),
            Some(None) => {
                let gone = self.0.remove(id).map(|kept| kept.cell);
                (Some(true), gone.into_iter().collect())
            }
            None => (Some(false), Gone::new()),
        }
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a run has one.
    pub fn any_lent(&self) -> bool {
        self.0.values().any(|kept| kept.run.is_some())
    }
}
