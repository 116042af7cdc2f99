//! One language at the prompt: its sandbox, and what was typed there. Knows neither lines nor words.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use polyloom_model::{Kind, Manifest, Origin, Ports, Type};
use polyloom_protocol::messages::worker::Completions;
use polyloom_protocol::{Outcome, Value};
use polyloom_report::escape_line;
use polyloom_runtime::Place;
use polyloom_worker::AttemptError;
use polyloom_worker::attempt::{Attempt, InputFile, Report, Stop};
use polyloom_worker::session::{Session, Stand};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::kept::Kept;
use super::shown;
use crate::commands::session;
use crate::commands::socket::Signals;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// Nobody is asked about a longer input: it is taken as it is.
const LONGEST: usize = 32 << 10;

/// What runs stops within this when it is asked to, or takes no notice.
const PATIENCE: Duration = Duration::from_millis(500);

/// What all rooms stand on.
pub struct Ground {
    pub runtime: Runtime,
    pub place: Arc<Place>,
    pub screen: Screen,
}

/// One language.
pub struct Room {
    /// What every input is made from. Its own inputs are there from the start.
    base: Attempt,
    session: Option<Session>,
    /// What was typed, for the lines that errors are in.
    typed: Vec<String>,
    /// The session of the daemon's that it is.
    kept: Option<Kept>,
    /// Whether it was said that nothing stays.
    warned: bool,
    /// Names of states that were kept here.
    states: Vec<String>,
}

/// What an input came to.
pub struct Ran {
    pub report: Report,
    /// Whether it was called off.
    pub interrupted: bool,
    /// Whether the state that it ran in is gone.
    pub lost: bool,
}

impl Ran {
    /// Whether it ended well.
    pub fn is_ok(&self) -> bool {
        self.report.meta.outcome == Outcome::Ok
    }

    /// Whether the code asked to leave, as `exit()` does.
    pub fn quits(&self) -> bool {
        self.report.meta.extras.get("quits") == Some(&Value::Bool(true))
    }
}

/// Whether there can be a prompt in a language at all.
pub fn opens(manifest: &Manifest) -> Result<(), Failure> {
    match &manifest.kind {
        Kind::Command(command) if command.compile.is_some() => {
            let text = format!("`{}` is compiled: compiled languages have no prompt", manifest.id);
            Err(Failure::new(Exit::Usage, text))
        }
        Kind::Command(_) | Kind::Worker(_) => Ok(()),
    }
}

impl Room {
    /// One in which nothing runs yet.
    pub fn new(base: Attempt) -> Self {
        let (typed, states) = (Vec::new(), Vec::new());
        Self { base, session: None, typed, kept: None, warned: false, states }
    }

    /// The same, as a session that goes on when the prompt is over.
    pub fn kept(mut self, kept: Kept) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Leaves what goes on.
    pub fn close(mut self, ground: &Ground) {
        let _inside = ground.runtime.enter();
        if let Some(session) = self.session.take() {
            session.leave();
        }
    }

    /// Lets the daemon know how the session stands, where it keeps it.
    fn stands(&mut self, changed: impl FnOnce(&mut Stand)) {
        if let (Some(kept), Some(session)) = (&mut self.kept, &mut self.session) {
            changed(&mut kept.stand);
            session.stands(&kept.stand);
        }
    }

    /// Whether what is typed stays. Elsewhere each input is a cell of its own.
    pub fn stays(&self) -> bool {
        self.base.executor.manifest.holds_sessions()
    }

    /// The language.
    pub fn lang(&self) -> &str {
        self.base.executor.manifest.id.as_str()
    }

    /// What is to be said to who comes in for the first time.
    pub fn warning(&mut self) -> Option<String> {
        let first = !std::mem::replace(&mut self.warned, true);
        let text =
            || format!("note: `{}` keeps nothing: each input is a cell of its own\n", self.lang());
        (first && !self.stays()).then(text)
    }

    /// What the last input is called in messages.
    pub fn last(&self) -> String {
        format!("input {}", self.typed.len())
    }

    /// Names of states that can be gone back to, as far as this prompt knows.
    pub fn states(&self) -> impl Iterator<Item = &str> {
        let kept = self.kept.iter().flat_map(|kept| &kept.stand.kept).map(|(name, _)| name);
        self.states.iter().chain(kept).map(String::as_str)
    }

    /// A line of what was typed and the lines after it.
    pub fn lines(&self, file: &str, line: u32, count: u32) -> Vec<String> {
        let number = file.strip_prefix("input ").and_then(|number| number.parse::<usize>().ok());
        let text = number.and_then(|number| self.typed.get(number.checked_sub(1)?));
        let lines = text.map(String::as_str).unwrap_or_default().lines();
        let skip = line.saturating_sub(1) as usize;
        lines.skip(skip).take(count as usize).map(str::to_owned).collect()
    }

    fn attempt(
        &mut self,
        code: &str,
        inputs: Vec<InputFile>,
        outputs: Ports<Type>,
    ) -> Arc<Attempt> {
        self.typed.push(code.to_owned());
        let number = self.typed.len();
        let extension = self.base.executor.manifest.extensions.first();
        let extension = extension.map_or("txt", String::as_str);
        let name = |number: usize| format!("{number}.{extension}");
        let origin = |number: usize| Origin::whole(Path::new(&format!("input {number}")));
        Arc::new(Attempt {
            code_name: name(number),
            code: code.as_bytes().into(),
            call: None,
            origin: origin(number),
            beside: Arc::new((1..number).map(|earlier| (name(earlier), origin(earlier))).collect()),
            inputs,
            outputs,
            ..self.base.clone()
        })
    }

    /// The session that is there, or a new one with the inputs of the room in it.
    async fn session(&mut self, ground: &Ground) -> Result<Session, Failure> {
        if let Some(mut session) = self.session.take()
            && session.is_there()
        {
            return Ok(session);
        }
        if let Some(kept) = &mut self.kept {
            return kept.session(ground, &self.base).await;
        }
        let workplace = &ground.place.workplace;
        let (_open, stop) = watch::channel(Stop::No);
        let begun = workplace.begin_session(&Arc::new(self.base.clone()), &stop).await;
        let Some(session) = begun.map_err(|error| failed(&error))? else {
            return Err(Failure::new(Exit::Interrupted, "stopped before it began"));
        };
        let mut session = session.at_prompt();
        // One that does not come is told of by what it was to run.
        let _ = session.learn().await;
        self.with_inputs(ground, session, stop).await
    }

    /// A session that has its own inputs.
    async fn with_inputs(
        &mut self,
        ground: &Ground,
        session: Session,
        stop: watch::Receiver<Stop>,
    ) -> Result<Session, Failure> {
        if self.base.inputs.is_empty() {
            return Ok(session);
        }
        let workplace = &ground.place.workplace;
        let attempt = self.attempt("", self.base.inputs.clone(), Ports::new());
        let (live, heard) = mpsc::channel(64);
        let showing = tokio::spawn(shown::live(ground.screen, heard));
        let ran = workplace.exec(session, &attempt, Vec::new(), live, stop).await;
        let _ = showing.await;
        match ran.map_err(|error| failed(&error))? {
            (report, Some(session)) if report.meta.outcome == Outcome::Ok => Ok(session),
            (report, _) => {
                let said = report.meta.diagnostics.into_iter().map(|it| it.message).next();
                let why = said.or(report.explanation);
                let why = why.unwrap_or_else(|| report.meta.outcome.to_string());
                Err(Failure::new(Exit::Failed, format!("its inputs can't be had: {why}")))
            }
        }
    }

    /// Runs an input, and shows what it shows.
    pub fn run(
        &mut self,
        ground: &Ground,
        code: &str,
        inputs: Vec<InputFile>,
        outputs: Ports<Type>,
    ) -> Result<Ran, Failure> {
        ground.runtime.block_on(self.ran(ground, code, inputs, outputs))
    }

    async fn ran(
        &mut self,
        ground: &Ground,
        code: &str,
        mut inputs: Vec<InputFile>,
        outputs: Ports<Type>,
    ) -> Result<Ran, Failure> {
        let mut signals = Signals::listen();
        let session = match self.stays() {
            true => Some(self.session(ground).await?),
            false => None,
        };
        let stays = session.is_some();
        if !stays {
            inputs.extend(self.base.inputs.iter().cloned());
        }
        let attempt = self.attempt(code, inputs, outputs);
        let (stop, stopped) = watch::channel(Stop::No);
        let (live, heard) = mpsc::channel(64);
        let showing = tokio::spawn(shown::live(ground.screen, heard));
        let workplace = &ground.place.workplace;
        let work = async {
            match session {
                Some(session) => workplace.exec(session, &attempt, Vec::new(), live, stopped).await,
                None => Ok((workplace.attempt(&attempt, live, stopped).await?, None)),
            }
        };
        tokio::pin!(work);
        let mut interrupts = 0;
        let (patience, mut said) = (sleep_until(Instant::now()), false);
        tokio::pin!(patience);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                () = &mut patience, if interrupts == 1 && !said => {
                    said = true;
                    let state = if stays { ", and its state with it" } else { "" };
                    let text = format!("it does not stop; Ctrl-C again ends it at once{state}\n");
                    ground.screen.note(&text);
                }
                () = signals.next() => {
                    interrupts += 1;
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                    stop.send_replace(match interrupts {
                        1 if stays => Stop::Interrupt,
                        1 => Stop::Gracefully,
                        _ => Stop::Now,
                    });
                }
            }
        };
        let _ = showing.await;
        let (report, next) = ended.map_err(|error| failed(&error))?;
        self.session = next;
        self.stands(Kept::typed);
        let lost = stays && self.session.is_none();
        Ok(Ran { report, interrupted: interrupts > 0, lost })
    }

    /// Has a value known: now, or by each input where nothing stays.
    pub fn give(
        &mut self,
        ground: &Ground,
        inputs: Vec<InputFile>,
    ) -> Result<Option<Ran>, Failure> {
        if self.stays() {
            return self.run(ground, "", inputs, Ports::new()).map(Some);
        }
        self.base.inputs.retain(|it| inputs.iter().all(|new| new.port != it.port));
        self.base.inputs.extend(inputs);
        Ok(None)
    }

    /// What an input may go on with at a character of it, and whether it is open; nothing where nobody knows.
    pub fn complete(&mut self, ground: &Ground, code: &str, cursor: u32) -> Option<Completions> {
        if !self.stays() || code.len() > LONGEST {
            return None;
        }
        ground.runtime.block_on(async {
            // Why there is none is told when the input is to run.
            let mut session = self.session(ground).await.ok()?;
            let words = session.complete(code, cursor).await;
            match words {
                Some(_) => self.session = Some(session),
                None => self.lose(ground, session),
            }
            words
        })
    }

    fn lose(&self, ground: &Ground, session: Session) {
        session.end();
        ground.screen.tell("note: the state was lost; the next input begins anew\n");
    }

    /// Forgets everything but its own inputs.
    pub fn reset(&mut self, ground: &Ground) -> Result<(), Failure> {
        self.keep(ground, async |session| session.reset().await)?;
        if let Some(session) = self.session.take() {
            let (_open, stop) = watch::channel(Stop::No);
            let session = self.with_inputs(ground, session, stop);
            self.session = Some(ground.runtime.block_on(session)?);
        }
        self.stands(|stand| (stand.cells, stand.lineage) = (0, None));
        Ok(())
    }

    /// Keeps the state under a name.
    pub fn snapshot(&mut self, ground: &Ground, name: &str) -> Result<(), Failure> {
        self.can_keep(ground)?;
        session::nameable(name)?;
        match self.keep(ground, async |session| session.snapshot(name).await)? {
            Ok(()) => {
                self.states.retain(|kept| kept != name);
                self.states.push(name.to_owned());
                self.stands(|stand| {
                    stand.kept.retain(|(kept, _)| kept != name);
                    stand.kept.push((name.to_owned(), stand.lineage.clone()));
                });
                Ok(())
            }
            Err(why) => {
                let text = format!("no snapshot `{}` was taken: {why}", escape_line(name));
                Err(Failure::new(Exit::Failed, text))
            }
        }
    }

    /// Goes back to a state that was kept.
    pub fn restore(&mut self, ground: &Ground, name: &str) -> Result<(), Failure> {
        self.can_keep(ground)?;
        match self.keep(ground, async |session| session.restore(name).await)? {
            Ok(()) => {
                self.stands(|stand| {
                    let found = stand.kept.iter().find(|(kept, _)| kept == name);
                    stand.lineage = found.and_then(|(_, lineage)| lineage.clone());
                    stand.cells = stand.cells.max(1);
                });
                Ok(())
            }
            Err(why) => {
                let text = format!("can't go back to `{}`: {why}", escape_line(name));
                Err(Failure::new(Exit::Failed, text).hint("`%snapshot NAME` keeps the state"))
            }
        }
    }

    /// Drops a state that was kept.
    pub fn forget(&mut self, ground: &Ground, name: &str) -> Result<(), Failure> {
        self.can_keep(ground)?;
        match self.keep(ground, async |session| session.forget(name).await)? {
            Ok(()) => {
                self.stands(|stand| stand.kept.retain(|(kept, _)| kept != name));
                Ok(())
            }
            Err(why) => {
                let text = format!("`{}` can't be dropped: {why}", escape_line(name));
                Err(Failure::new(Exit::Failed, text))
            }
        }
    }

    fn can_keep(&mut self, ground: &Ground) -> Result<(), Failure> {
        let can = self.keep(ground, async |session| Some(session.keeps()))?;
        let none = || Failure::new(Exit::Usage, format!("`{}` keeps no snapshots", self.lang()));
        if can { Ok(()) } else { Err(none()) }
    }

    fn keep<T>(
        &mut self,
        ground: &Ground,
        ask: impl AsyncFnOnce(&mut Session) -> Option<T>,
    ) -> Result<T, Failure> {
        if !self.stays() {
            let text = format!("`{}` has no sessions: nothing stays", self.lang());
            return Err(Failure::new(Exit::Usage, text));
        }
        ground.runtime.block_on(async {
            let mut session = self.session(ground).await?;
            match ask(&mut session).await {
                Some(done) => {
                    self.session = Some(session);
                    Ok(done)
                }
                None => {
                    self.lose(ground, session);
                    Err(Failure::new(Exit::Failed, "the executor gave no answer"))
                }
            }
        })
    }
}

pub fn failed(error: &AttemptError) -> Failure {
    Failure::of(Exit::Environment, error).hint("polyloom doctor shows what this machine lacks")
}
