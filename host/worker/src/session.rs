//! A session that is alive: one sandbox whose worker runs one cell after the other and keeps its state between them.
//!
//! What the cells are, and what state is wanted, is the caller's. Files of a cell are laid and taken away by the host while the worker waits; what a cell
//! leaves is copied, since processes of the session may go on. Where anything goes wrong, the session ends.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::Limits;

use polyloom_protocol::handshake::feature;
use polyloom_protocol::messages::host::{Complete, Exec, Forget, Ping, Reset, Restore, Snapshot};
use polyloom_protocol::messages::worker::Completions;
use polyloom_protocol::{Diagnostic, FromHost, Severity};
use polyloom_sandbox as sandbox;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::attempt::{Attempt, Live, Report, Stop};
use crate::collect::is_value;
use crate::drive::{Bounds, Seat, Watch};
use crate::inputs::{self, Laid};
use crate::messages;
use crate::parking::Berth;
use crate::talk::Answer;
use crate::workplace::{AttemptError, Workplace, exec_of, stopped};

mod durable;
mod lease;

pub use crate::drive::Unanswered;
pub use durable::{DEPTH, Loaded, MOST_FILES, Part, StateFile};
pub use lease::{Stand, Unhad, forked_session, present_session};

use lease::Lease;

/// Looks that are taken for processes which end.
const ENDING: usize = 15;
/// Inputs of more bytes are laid by a thread that may wait.
const AT_ONCE: usize = 1 << 20;
/// Longer code lies in a file.
const MOST_SOURCE: usize = 64 << 10;
/// The longest code of a cell that is sent before its turn: all that wait together fit a socket.
const MOST_QUEUED: usize = 4 << 10;
/// Variables that tell of one cell; those of a session are not of one.
const OF_A_CELL: [&str; 3] = ["POLYLOOM_CELL", "POLYLOOM_DEADLINE_MS", "POLYLOOM_SEED"];

/// A session that is alive and waits for its next cell.
pub struct Session {
    seat: Seat,
    /// The daemon's word on it, where it goes on when this process is over.
    lease: Option<Lease>,
    /// Processes that are the worker's own.
    own: Own,
    /// What the last cell might use.
    bounds: Bounds,
    /// The cells that its worker goes on with by itself.
    queue: VecDeque<Arc<Attempt>>,
    /// Whether a prompt may have left inputs in it, which no cell is to find.
    left: bool,
}

/// Why a state is not kept, or not gone back to; everything is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unkept {
    /// They would not be in it.
    #[error("it has files of its own, in `/cell/work`, `/tmp` or `/dev/shm`")]
    Files,
    /// They would not be in it, either.
    #[error("a process that a cell has started runs beside it")]
    Processes,
    /// Its worker has said from the start that it can't.
    #[error("its executor can't keep states")]
    Never,
    /// Its worker can't. A claim: it is shown.
    #[error("{}", if .0.is_empty() { "its executor does not say why" } else { .0 })]
    Worker(String),
}

/// What a worker consists of, as the host has counted it while nothing of a cell's could be there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Own {
    /// Processes without snapshots; none where that is not known.
    now: usize,
    /// Processes that each snapshot is.
    each: usize,
    /// The snapshots there are.
    names: BTreeSet<String>,
}

impl Own {
    /// So many processes are there, but for those that are about to end.
    fn all(&self) -> usize {
        self.now + self.each * self.names.len()
    }
}

impl Session {
    fn new(seat: Seat, lease: Option<Lease>, own: Own, bounds: Bounds) -> Self {
        let left = lease.is_some();
        Self { seat, lease, own, bounds, queue: VecDeque::new(), left }
    }

    /// The cells that its worker goes on with by itself, in order: each can only be the next that is executed.
    #[must_use]
    pub fn queue(&self) -> &VecDeque<Arc<Attempt>> {
        &self.queue
    }

    /// Whether its worker can be sent cells before their turn.
    #[must_use]
    pub fn queues(&self) -> bool {
        self.seat.queues()
    }

    /// Whether its last cell left something that the host had to take first, so that nothing could run behind it.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.seat.leaves()
    }

    /// Whether its worker is there, as far as is known.
    pub fn is_there(&mut self) -> bool {
        self.seat.is_there()
    }

    /// Whether it can be kept as it is, and gone back to.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.seat.keeps()
    }

    /// Keeps its state under a name, or says why that can't be done. Nothing: it is of no use any more.
    ///
    /// A snapshot is of the worker's state alone. Who has files, or processes beside it, would find them as they are later, so that its state can't be kept.
    pub async fn snapshot(&mut self, name: &str) -> Option<Result<(), Unkept>> {
        self.greet().await?;
        if !self.keeps() {
            return Some(Err(Unkept::Never));
        }
        if !self.seat.cell.has_no_files().ok()? {
            return Some(Err(Unkept::Files));
        }
        if !self.is_alone().await {
            return Some(Err(Unkept::Processes));
        }
        let done = self.keep(FromHost::Snapshot(Snapshot { name: name.to_owned() })).await?;
        // One that had the name before ends a moment later: it is not counted now.
        if done.is_ok() {
            self.own.names.insert(name.to_owned());
        }
        Some(done)
    }

    /// Goes back to a kept state; as for [`Self::snapshot`].
    pub async fn restore(&mut self, name: &str) -> Option<Result<(), Unkept>> {
        // What cells have left running since would go on in a state that does not know of it.
        if !self.is_alone().await {
            return Some(Err(Unkept::Processes));
        }
        let done = self.keep(FromHost::Restore(Restore { name: name.to_owned() })).await?;
        if done.is_ok() {
            // There were none when it was kept.
            self.seat.cell.clear().ok()?;
        }
        Some(done)
    }

    /// Drops a kept state; as for [`Self::snapshot`].
    pub async fn forget(&mut self, name: &str) -> Option<Result<(), Unkept>> {
        let done = self.keep(FromHost::Forget(Forget { name: name.to_owned() })).await?;
        if done.is_ok() {
            self.own.names.remove(name);
        }
        Some(done)
    }

    /// Counts what a worker consists of that has run no cell yet: to be done before anything is to be kept.
    pub async fn learn(&mut self) -> Option<()> {
        self.greet().await?;
        if !self.keeps() {
            return Some(());
        }
        let name = "polyloom".to_owned();
        if self.keep(FromHost::Snapshot(Snapshot { name: name.clone() })).await?.is_ok() {
            let with = self.seat.cell.processes();
            let _ = self.keep(FromHost::Forget(Forget { name })).await?;
            // It ends a moment after it was let go of, if it is a process at all.
            for _ in 0..ENDING {
                let now = self.seat.cell.processes();
                self.own = Own { now, each: with - now.min(with), names: BTreeSet::new() };
                if self.own.each > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Some(())
    }

    /// Whether no process is there but the worker's own. One that is about to end is waited for a little.
    async fn is_alone(&mut self) -> bool {
        for _ in 0..ENDING {
            if self.seat.cell.processes() == self.own.all() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    /// Whether what is kept takes so much of what its cells may use that they could miss it.
    #[must_use]
    pub fn is_crowded(&self, limits: &Limits) -> bool {
        let usage = self.seat.cell.usage();
        let many = usage.processes.is_some_and(|count| count > u64::from(limits.pids) / 2);
        many || usage.memory.is_some_and(|bytes| bytes > limits.memory / 2)
    }

    async fn keep(&mut self, message: FromHost) -> Option<Result<(), Unkept>> {
        match self.seat.ask([message]).await? {
            Answer::Kept(kept) if kept.ok => Some(Ok(())),
            Answer::Kept(kept) => Some(Err(Unkept::Worker(kept.reason))),
            Answer::Completions(_) | Answer::Saved(_) | Answer::Pong => None,
        }
    }

    /// Makes its state that of one which has run nothing; what was kept under names stays. Nothing: it is of no use any more.
    pub async fn reset(&mut self) -> Option<()> {
        let messages = [FromHost::Reset(Reset {}), FromHost::Ping(Ping { n: 1 })];
        let answer = self.seat.ask(messages).await?;
        self.seat.cell.clear().ok()?;
        (answer == Answer::Pong).then_some(())
    }

    /// Waits until its worker is there: only then is it known what it can. Nothing where it does not come up.
    pub async fn greet(&mut self) -> Option<()> {
        self.seat.greet().await.map(drop)
    }

    /// Takes what it runs from now on as inputs at a prompt: the value of a last expression is shown, and files that are given to one stay for those after it.
    #[must_use]
    pub fn at_prompt(mut self) -> Self {
        self.seat.at_prompt();
        self
    }

    /// Whether its worker completes code, and knows whether an input is still open.
    #[must_use]
    pub fn completes(&self) -> bool {
        self.seat.may(feature::COMPLETE)
    }

    /// What `code` may go on with at a character of it. Nothing: it is of no use any more.
    pub async fn complete(&mut self, code: &str, cursor: u32) -> Option<Completions> {
        self.seat.greet().await?;
        if !self.completes() {
            return Some(Completions::default());
        }
        let complete = Complete { code: code.to_owned(), cursor };
        match self.seat.ask([FromHost::Complete(complete)]).await? {
            Answer::Completions(words) => Some(words),
            Answer::Kept(_) | Answer::Saved(_) | Answer::Pong => None,
        }
    }

    /// Whether it goes on when this process is over.
    #[must_use]
    pub fn outlives(&self) -> bool {
        self.lease.is_some()
    }

    /// Something is about to be done with it: one that is left in the midst of that ends.
    pub fn busy(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.busy();
        }
    }

    /// Lets the daemon know how it stands, where the session is one of its.
    pub fn stands(&mut self, at: &Stand) {
        self.stands_as(at, false);
    }

    /// The same, where it is about to be asked to save its state, which changes nothing.
    fn stands_as(&mut self, at: &Stand, saving: bool) {
        let Some(lease) = &mut self.lease else { return };
        let Some((mut pause, cpu)) = self.seat.pause() else { return };
        pause.saving = saving;
        let own = (self.own.clone(), self.bounds.clone());
        lease.stands(pause, own, cpu, self.seat.cell.counted(), at);
    }

    /// Leaves it to the daemon where that knows how it stands; else it ends. May block.
    pub fn leave(self) {
        let known = self.lease.is_some_and(Lease::leave);
        match known {
            true => self.seat.cell.leave(),
            false => drop(self.seat),
        }
    }

    /// Ends it, without waiting for that.
    pub fn end(self) {
        let Self { seat, mut lease, .. } = self;
        if let Some(lease) = &mut lease {
            lease.busy();
        }
        drop(tokio::task::spawn_blocking(move || drop(seat)));
    }
}

impl Workplace {
    /// Starts a session for cells like this one, with its limits; nothing where that was stopped.
    pub async fn begin_session(
        self: &Arc<Self>,
        attempt: &Arc<Attempt>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Option<Session>, AttemptError> {
        let (place, wanted) = (Arc::clone(self), Arc::clone(attempt));
        let spawned = tokio::task::spawn_blocking(move || {
            let spawner = place.spawner()?;
            let bare = Attempt { inputs: Vec::new(), stdin: None, ..Attempt::clone(&wanted) };
            let (mut spec, policy, _) = place.prepare(&bare, spawner.view()?);
            spec.files.clear();
            spec.env.retain(|(name, _)| !OF_A_CELL.contains(&name.as_str()));
            spawner.spawn(&policy, &spec)
        });
        let mut told = stop.clone();
        let spawned = tokio::select! {
            spawned = spawned => spawned,
            () = stopped(&mut told) => return Ok(None),
        };
        let spawned = spawned.map_err(|error| AttemptError::Watch(std::io::Error::other(error)))?;
        let cell = spawned.map_err(AttemptError::Spawn)?;
        let seat = Seat::open(attempt, Berth { cell, line: None }).map_err(AttemptError::Watch)?;
        let bounds = Bounds::of(&attempt.limits);
        Ok(Some(Session::new(seat.stays(), None, Own::default(), bounds)))
    }

    /// Runs a cell in a session. `behind` are cells that are to be run after it and after those that wait: the first of them are sent to the worker at once, as
    /// far as it goes on with such by itself.
    ///
    /// The session is given back where it is there still: where the cell ended well, or failed by itself, and left nothing that
    /// is in the way. What one that failed has done to the state is the caller's to undo.
    pub async fn exec(
        &self,
        session: Session,
        attempt: &Arc<Attempt>,
        behind: Vec<Arc<Attempt>>,
        live: mpsc::Sender<Live>,
        stop: watch::Receiver<Stop>,
    ) -> Result<(Report, Option<Session>), AttemptError> {
        let started = Instant::now();
        let Session { mut seat, mut lease, own, mut queue, left, .. } = session;
        let bounds = Bounds::of(&attempt.limits);
        // One that does not come through is found out by what it is to run.
        let _ = seat.settle().await;
        if let Some(lease) = &mut lease {
            lease.busy();
        }
        let mut used = vec!["out"];
        match queue.pop_front() {
            Some(_) => seat.go_on(),
            None => {
                if left && !seat.is_at_prompt() {
                    seat.cell.empty("in").map_err(AttemptError::Inputs)?;
                }
                seat = begin(seat, attempt, &mut used).await?;
            }
        }
        let last = queue.back().unwrap_or(attempt);
        if !behind.is_empty() && seat.queues() && plain_exec(&seat, last).is_some() {
            for attempt in behind {
                let Some(exec) = plain_exec(&seat, &attempt) else { break };
                seat.run_behind(exec);
                queue.push_back(attempt);
            }
        }
        let told = live.clone();
        let watch = Watch::new(attempt, seat, None, live, stop, started);
        let (mut report, seat) = watch.run_on().await.map_err(AttemptError::Watch)?;
        let Some(mut seat) = seat else { return Ok((report, None)) };
        let emptied = match seat.is_followed() {
            // It has left nothing, and the next one may be at it.
            true => Ok(()),
            false => used.into_iter().try_for_each(|folder| seat.cell.empty(folder)),
        };
        if !seat.is_followed() {
            queue.clear();
        }
        let left = left && seat.is_at_prompt();
        let session = Session { seat, lease, own, bounds, queue, left };
        if let Err(error) = emptied {
            tracing::info!(cell = %attempt.cell, %error, "a session ends: what its cell left can't be removed");
            let text = format!(
                "the session ends after it, and the cells before run again for the next one: what it left in its folders can't be removed ({error})"
            );
            let warning = Diagnostic::new(Severity::Warning, text);
            report.meta.diagnostics.push(warning.clone());
            let _ = told.send(Live::Diagnostic(warning)).await;
            session.end();
            return Ok((report, None));
        }
        Ok((report, Some(session)))
    }
}

/// Lays what a cell needs and has it run; notes the folders that it uses.
async fn begin(
    mut seat: Seat,
    attempt: &Arc<Attempt>,
    used: &mut Vec<&'static str>,
) -> Result<Seat, AttemptError> {
    let view = seat.cell.view().clone();
    let stays = seat.is_at_prompt();
    // At a prompt those after it may read them, too.
    let laid =
        if stays { inputs::lay(&attempt.inputs, false, &view) } else { laid(&seat, attempt) };
    let code = messages::code_path(attempt);
    let bytes: usize = laid.files.iter().map(|file| file.bytes.len()).sum();
    // What is installed is in view already.
    let named = attempt.call.is_none() || !attempt.code_name.is_empty();
    let path = if named { view.path(&code) } else { String::new() };
    let source = source_of(attempt).filter(|_| seat.takes(feature::SOURCE));
    let is_file = named && source.is_none();
    used.extend((is_file || attempt.call.is_some()).then_some("code"));
    used.extend((!laid.is_nothing() && !stays).then_some("in"));
    let exec = exec_of(attempt, path, laid.exec.clone(), &view);
    let exec = Exec { session: true, source, ..exec };
    let lay = {
        let attempt = Arc::clone(attempt);
        let code = is_file.then(|| PathBuf::from(code));
        move |seat: &mut Seat| lay(&mut seat.cell, code.as_deref(), &attempt, &laid, stays)
    };
    if bytes <= AT_ONCE && laid_at_once(attempt) {
        lay(&mut seat).map_err(AttemptError::Inputs)?;
    } else {
        let task = tokio::task::spawn_blocking(move || lay(&mut seat).map(|()| seat)).await;
        let task = task.map_err(|error| AttemptError::Watch(std::io::Error::other(error)))?;
        seat = task.map_err(AttemptError::Inputs)?;
    }
    seat.run(exec);
    Ok(seat)
}

/// What is laid for a cell, and what its message has.
fn laid(seat: &Seat, attempt: &Attempt) -> Laid {
    let view = seat.cell.view();
    match seat.takes(feature::VALUES) {
        true => inputs::lay_few(&attempt.inputs, view),
        false => inputs::lay(&attempt.inputs, false, view),
    }
}

/// The message for a cell all of which is in messages: nothing lies in a folder for it or is expected there, and nothing of it has to be counted for it alone.
fn plain_exec(seat: &Seat, attempt: &Attempt) -> Option<Exec> {
    let told = seat.may(feature::VALUES) && attempt.outputs.iter().all(|(_, ty)| is_value(ty));
    let bare = (told || attempt.outputs.is_empty())
        && attempt.stdin.is_none()
        && attempt.secrets.is_none()
        && attempt.limits.cpu_time.is_none();
    let source = source_of(attempt).filter(|_| bare)?;
    let laid = laid(seat, attempt);
    if !laid.is_nothing() || source.len() + laid.told() > MOST_QUEUED {
        return None;
    }
    let view = seat.cell.view();
    let path = view.path(&messages::code_path(attempt));
    let exec = exec_of(attempt, path, laid.exec, view);
    Some(Exec { session: true, source: Some(source), ..exec })
}

/// The code of a cell where its message has room for it: nobody has to make a file of it, and to take that away.
fn source_of(attempt: &Attempt) -> Option<String> {
    let fits = attempt.call.is_none() && attempt.code.len() <= MOST_SOURCE;
    std::str::from_utf8(&attempt.code).ok().filter(|_| fits).map(str::to_owned)
}

/// Whether all its inputs are values.
fn laid_at_once(attempt: &Attempt) -> bool {
    let value = |input: &crate::attempt::InputFile| {
        matches!(input.content, crate::attempt::Content::Value(_))
    };
    attempt.inputs.iter().all(value)
}

/// Lays the files of a cell. What lies elsewhere in a sandbox that begins is copied into one that goes on. `stays`: they are not taken away after it.
fn lay(
    cell: &mut sandbox::Sandbox,
    code: Option<&Path>,
    attempt: &Attempt,
    laid: &Laid,
    stays: bool,
) -> std::io::Result<()> {
    if let Some(code) = code {
        lay_within(cell, code, &attempt.code)?;
    }
    for (path, bytes) in attempt.call.iter().flat_map(|call| &call.files) {
        lay_within(cell, &Path::new("/cell/code").join(path), bytes)?;
    }
    if stays {
        // What was given by the same name before is there still.
        let targets = laid.binds.iter().map(|bind| &bind.target);
        for path in laid.files.iter().map(|file| &file.path).chain(targets) {
            cell.remove(path)?;
        }
    }
    for file in &laid.files {
        cell.lay(&file.path, &mut &file.bytes[..])?;
    }
    for bind in &laid.binds {
        copy(cell, &bind.source, &bind.target)?;
    }
    match laid.hot.is_empty() {
        true => Ok(()),
        // Who prepares a cell of a session gives it what is on disk.
        false => Err(std::io::ErrorKind::Unsupported.into()),
    }
}

/// Lays a file and the folders that it is in.
fn lay_within(cell: &mut sandbox::Sandbox, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folders: Vec<&Path> = path.ancestors().skip(1).collect();
    // `/`, `/cell` and `/cell/code` are there.
    for folder in folders.into_iter().rev().skip(3) {
        cell.lay_folder(folder)?;
    }
    cell.lay(path, &mut &bytes[..])
}

/// Lays files as they would lie in a sandbox that begins.
pub(crate) fn lay_files(
    cell: &mut sandbox::Sandbox,
    files: &[sandbox::File],
    copies: &[sandbox::Bind],
) -> std::io::Result<()> {
    for file in files {
        lay_within(cell, &file.path, &file.bytes)?;
    }
    copies.iter().try_for_each(|bind| copy(cell, &bind.source, &bind.target))
}

/// Copies a file or a directory of the store, which has no links.
fn copy(cell: &mut sandbox::Sandbox, source: &Path, target: &Path) -> std::io::Result<()> {
    let mut open: Vec<(PathBuf, PathBuf)> = vec![(source.to_owned(), target.to_owned())];
    while let Some((source, target)) = open.pop() {
        if !source.is_dir() {
            cell.lay(&target, &mut File::open(&source)?)?;
            continue;
        }
        cell.lay_folder(&target)?;
        for entry in std::fs::read_dir(&source)? {
            let name = entry?.file_name();
            open.push((source.join(&name), target.join(&name)));
        }
    }
    Ok(())
}
