//! `polyloom repl`, and `run -i`: what is typed runs in a sandbox, in one language after the other.

mod carry;
mod input;
mod kept;
mod room;
mod shown;
mod word;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use polyloom_model::{Limits, Manifest, Origin, Policy};
use polyloom_report::{Style, escape_line};
use polyloom_runtime::{AloneError, Place, PolicyWord};
use polyloom_worker::attempt::{Attempt, Granted, Phase, Stop};
use tokio::sync::watch;

use self::input::{Input, Listener, Typed};
use self::kept::Kept;
pub use self::room::opens;
use self::room::{Ground, Ran, Room};
use self::word::{Carried, Word};
use crate::args::{ReplArgs, RunArgs, Select};
use crate::commands::daemon;
use crate::commands::run::limit;
use crate::commands::run::live::runtime;
use crate::failure::{Exit, Failure, Outcome};
use crate::permission::{self, Settled};
use crate::world::{VERSION, World, data_folder};

/// The language of who names none.
const USUAL: &str = "python";

/// What to do about a cell that there is not.
const EXPAND: &str = "`polyloom expand` shows the cells there are";

/// The command.
pub fn repl(world: &World, args: &ReplArgs) -> Outcome {
    let mut lang = args.lang.clone();
    if let Some(name) = &args.session {
        // Before anything asks whether there is one.
        let client = daemon::needed(world)?;
        lang = lang.map_or_else(|| kept::language(&client, name), |lang| Ok(Some(lang)))?;
    }
    let place = world.place(world.store()?)?;
    let (granted, policy) = permission::named(world, &place, &args.permissions)?;
    let ground = ground(world, place, &policy.over(&Policy::default()))?;
    let name = args.session.clone();
    let mut repl = Repl::new(world, ground, granted, policy, name);
    repl.current = repl.room(lang.as_deref().unwrap_or(USUAL))?;
    repl.warn();
    if let Some(name) = &args.session {
        repl.keep(name)?;
    }
    repl.go("")
}

/// `run -i CELL`: a prompt where the cell would run.
pub fn within(world: &World, args: &RunArgs, cell: &str) -> Outcome {
    if let Some(more) = args.select.selectors.first() {
        let text = format!("`-i` opens one cell, and `{}` is no flow", escape_line(more));
        return Err(Failure::new(Exit::Usage, text).hint(format!("polyloom run -i {cell} [FLOW]")));
    }
    let mut flow = world.flow(&args.flow)?;
    args.limits.iter().try_for_each(|words| limit(&mut flow, words))?;
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let history = world.history(&flow.root, &store).ok();
    let select = Select { selectors: vec![cell.to_owned()], force: true, ..Select::default() };
    let prepared = world.prepare(&place, Arc::new(flow), history.as_deref(), &select);
    let prepared = prepared.map_err(|failure| match failure {
        Failure { exit: Exit::Usage, hint: None, .. } => failure.hint(EXPAND),
        failure => failure,
    })?;
    let folder = history.as_ref().map(|history| history.place().folder());
    let Settled { permits, policy, .. } =
        permission::settle(world, &place, &prepared, &args.permissions, folder)?;
    let found = prepared.flow.cells.iter().find(|it| it.id.as_str() == cell);
    let manifest = found.and_then(|found| world.manifest(&found.executor));
    manifest.map_or(Ok(()), |manifest| {
        room::opens(manifest).map_err(|failure| failure.hint(format!("polyloom run {cell}")))
    })?;
    let permit = found.and_then(|found| permits.get(&found.declared)).cloned();
    let wanted = policy.over(&found.map(|found| found.policy.clone()).unwrap_or_default());
    if let Some((found, session)) = found.and_then(|it| Some((it, it.session.as_ref()?))) {
        let text = format!(
            "note: the state of the session of `{}` is not here; `polyloom repl --session {}` goes on in what a daemon keeps of it\n",
            found.id, session.name
        );
        world.screen.note(&text);
    }
    let ground = ground(world, place, &wanted)?;
    let (_open, stop) = watch::channel(Stop::No);
    let alone = polyloom_runtime::alone(&ground.place, &prepared, cell, permit, &policy, &stop);
    let alone = ground.runtime.block_on(alone).map_err(|error| {
        let hint = match &error {
            AloneError::NotMade { from, .. } => format!("polyloom run --until {from}"),
            AloneError::NoCell(_) | AloneError::Refused(_) => EXPAND.to_owned(),
        };
        Failure::of(Exit::Failed, &error).hint(hint)
    })?;
    let code = String::from_utf8_lossy(&alone.code).into_owned();
    let inputs: Vec<&str> = alone.inputs.iter().map(|input| input.port.as_str()).collect();
    if !inputs.is_empty() {
        world.screen.note(&format!("inputs of `{cell}`: {}\n", inputs.join(", ")));
    }
    let granted = alone.granted.clone();
    let room = Room::new(Attempt { outputs: Default::default(), call: None, ..alone });
    let name = Some(cell.to_owned());
    let mut repl = Repl::new(world, ground, granted, policy, name);
    repl.enter(room);
    repl.warn();
    repl.go(code.trim_end())
}

/// What rooms stand on, where the machine meets a policy. The spawner must be there before the runtime's threads are.
fn ground(world: &World, place: Arc<Place>, policy: &Policy) -> Result<Ground, Failure> {
    place
        .workplace
        .meets(policy)
        .map_err(|error| Failure::of(Exit::Environment, &error).hint("polyloom doctor"))?;
    Ok(Ground { runtime: runtime()?, place, screen: world.screen })
}

/// What is asked of an executor outside of a flow, with nothing in it, its programs those that a flow in the current folder chooses: what inputs at a prompt are made from.
pub fn blank(world: &World, place: &Place, manifest: &Arc<Manifest>) -> Result<Attempt, Failure> {
    world.unharmed_executor(&manifest.id)?;
    let here = Path::new(".");
    let tools = polyloom_load::tools_in(here, &world.languages);
    let executor = place.executor(manifest, &tools, here);
    let executor = executor.map_err(|error| {
        Failure::of(Exit::Environment, &error).hint("polyloom doctor shows what this machine lacks")
    })?;
    let limits = Limits::default();
    let most = u32::try_from(polyloom_worker::most_open_files()).unwrap_or(u32::MAX);
    let cell = "prompt".parse().map_err(|error| {
        let error: polyloom_model::NameError = error;
        Failure::of(Exit::Usage, &error)
    })?;
    Ok(Attempt {
        cell,
        executor: Arc::new(executor),
        phase: Phase::Run { program: None },
        code_name: String::new(),
        code: Arc::default(),
        call: None,
        origin: Origin::whole(Path::new("input")),
        beside: Arc::default(),
        inputs: Vec::new(),
        outputs: Default::default(),
        env: Default::default(),
        secrets: None,
        argv: Vec::new(),
        stdin: None,
        seed: None,
        limits: Limits { open_files: limits.open_files.min(most), ..limits },
        policy: Policy::default(),
        granted: Granted::default(),
        coming: 0,
        spare: true,
        learnt: Vec::new(),
        then: None,
    })
}

/// All that is said to it.
struct Repl<'w> {
    world: &'w World,
    ground: Ground,
    granted: Granted,
    policy: PolicyWord,
    rooms: Vec<Room>,
    current: usize,
    name: Option<String>,
    /// What ran has asked to leave.
    quits: bool,
}

impl<'w> Repl<'w> {
    fn new(
        world: &'w World,
        ground: Ground,
        granted: Granted,
        policy: PolicyWord,
        name: Option<String>,
    ) -> Self {
        let rooms = Vec::new();
        Self { world, ground, granted, policy, rooms, current: 0, name, quits: false }
    }

    /// Reads and runs to the end. `code` is there to be had by arrow-up.
    fn go(self, code: &str) -> Outcome {
        let screen = self.ground.screen;
        let history = data_folder().map(|own| own.join("history"));
        if let Some(own) = data_folder() {
            // Without it nothing is remembered.
            let _ = std::fs::create_dir_all(own);
        }
        let repl = Rc::new(RefCell::new(self));
        let broken = |error: rustyline::error::ReadlineError| {
            Failure::new(Exit::Environment, format!("the terminal can't be read: {error}"))
        };
        let mut input = Input::open(&repl, history.as_deref(), screen.out).map_err(broken)?;
        if input.is_terminal() {
            screen.note(&format!("polyloom {VERSION}: `%help` shows words, Control-D ends\n"));
            input.remember(code);
        }
        let mut well = true;
        loop {
            let prompt = repl.borrow().prompt();
            let text = match input.read(&prompt).map_err(broken)? {
                Typed::End => break,
                Typed::Dropped => continue,
                Typed::Text(text) if text.trim().is_empty() => continue,
                Typed::Text(text) => text,
            };
            let mut repl = repl.borrow_mut();
            let done = match word::parse(&text) {
                None => repl.run(&text),
                Some(Ok(Word::Quit)) => break,
                Some(Ok(word)) => repl.heed(word),
                Some(Err(why)) => Err(Failure::new(Exit::Usage, why)),
            };
            let ok = done.unwrap_or_else(|failure| {
                screen.tell(&failure.render(screen.err));
                false
            });
            well &= ok;
            if repl.quits {
                break;
            }
        }
        let mut repl = repl.borrow_mut();
        let Repl { rooms, ground, .. } = &mut *repl;
        rooms.drain(..).for_each(|room| room.close(ground));
        // A person has seen what went wrong.
        Ok(if well || input.is_terminal() { Exit::Ok } else { Exit::Failed })
    }

    fn prompt(&self) -> String {
        let lang = self.rooms[self.current].lang();
        match &self.name {
            Some(name) => format!("{lang} {}> ", escape_line(name)),
            None => format!("{lang}> "),
        }
    }

    /// The room of a language, made where there is none.
    fn room(&mut self, lang: &str) -> Result<usize, Failure> {
        let manifest = self.world.languages.find(lang).ok_or_else(|| {
            let text = format!("there is no language `{}`", escape_line(lang));
            Failure::new(Exit::Usage, text).hint("`polyloom plugin list` shows those there are")
        })?;
        let known = self.rooms.iter().position(|room| room.lang() == manifest.id.as_str());
        if let Some(known) = known {
            return Ok(known);
        }
        room::opens(manifest).map_err(|failure| failure.hint("write it as a cell of a flow"))?;
        let blank = blank(self.world, &self.ground.place, manifest)?;
        let room = Room::new(Attempt {
            policy: self.policy.over(&Policy::default()),
            granted: self.granted.clone(),
            ..blank
        });
        Ok(self.enter(room))
    }

    /// Has the present room go on as the daemon's session of a name.
    fn keep(&mut self, name: &str) -> Result<(), Failure> {
        let room = self.rooms.remove(self.current);
        let manifest = self.world.languages.find(room.lang()).filter(|_| room.stays());
        let Some(manifest) = manifest else {
            let text = format!("`{}` has no sessions: nothing stays", room.lang());
            return Err(Failure::new(Exit::Usage, text).hint("leave out `--session`"));
        };
        let kept = Kept::new(self.world, manifest, name)?;
        self.rooms.insert(self.current, room.kept(kept));
        Ok(())
    }

    fn enter(&mut self, room: Room) -> usize {
        self.rooms.push(room);
        self.rooms.len() - 1
    }

    /// Says what is to be known of the present room.
    fn warn(&mut self) {
        if let Some(text) = self.rooms[self.current].warning() {
            self.ground.screen.note(&text);
        }
    }

    /// Runs what was typed; whether it went well.
    fn run(&mut self, text: &str) -> Result<bool, Failure> {
        let ran =
            self.rooms[self.current].run(&self.ground, text, Vec::new(), Default::default())?;
        self.quits = ran.quits();
        Ok(self.told(self.current, &ran))
    }

    fn told(&self, room: usize, ran: &Ran) -> bool {
        shown::end(self.ground.screen, &self.rooms[room], ran);
        ran.is_ok()
    }

    fn heed(&mut self, word: Word) -> Result<bool, Failure> {
        let Self { ground, rooms, current, .. } = self;
        let here = &mut rooms[*current];
        match word {
            Word::Help => ground.screen.print(&word::help()),
            Word::Quit => {}
            Word::Reset => here.reset(ground)?,
            Word::Snapshot(name) => here.snapshot(ground, &name)?,
            Word::Restore(name) => here.restore(ground, &name)?,
            Word::Forget(name) => here.forget(ground, &name)?,
            Word::Lang(None, _) => {
                for (at, room) in rooms.iter().enumerate() {
                    let mark = if at == *current { "*" } else { " " };
                    let lang = ground.screen.out.text(Style::Strong, room.lang());
                    ground.screen.print(&format!("{mark} {lang}\n"));
                }
            }
            Word::Lang(Some(lang), values) => {
                let (from, to) = (*current, self.room(&lang)?);
                let went = self.carry(&values, from, to)?;
                if went {
                    self.current = to;
                    self.warn();
                }
                return Ok(went);
            }
            Word::Get(values, lang) => {
                let (from, to) = (self.room(&lang)?, self.current);
                return self.carry(&values, from, to);
            }
        }
        Ok(true)
    }

    /// Has values of one room known in another.
    fn carry(&mut self, values: &[Carried], from: usize, to: usize) -> Result<bool, Failure> {
        if values.is_empty() || from == to {
            return Ok(true);
        }
        if !self.rooms[from].stays() {
            let text =
                format!("`{}` has no sessions: it has no values to take", self.rooms[from].lang());
            return Err(Failure::new(Exit::Usage, text));
        }
        let ports = values.iter().map(carry::port).collect::<Result<_, _>>()?;
        let ran = self.rooms[from].run(&self.ground, "", Vec::new(), ports)?;
        if let Some(failure) = carry::refused(values, self.rooms[from].lang(), &ran.report) {
            return Err(failure);
        }
        if !self.told(from, &ran) {
            return Ok(false);
        }
        let store = &self.ground.place.store;
        let outputs = ran.report.outputs.into_iter();
        let inputs = outputs.map(|(port, output)| carry::input(store, port, output));
        let inputs = inputs.collect::<Result<_, _>>()?;
        let ran = self.rooms[to].give(&self.ground, inputs)?;
        Ok(ran.is_none_or(|ran| self.told(to, &ran)))
    }
}

impl Repl<'_> {
    /// What a line that begins with `%` may go on with; the line is what follows that.
    fn complete_word(&mut self, line: &str) -> (usize, Vec<String>) {
        let begun = line.rsplit(' ').next().unwrap_or_default();
        let earlier: Vec<&str> = line[..line.len() - begun.len()].split_whitespace().collect();
        let Self { world, ground, rooms, current, .. } = self;
        let named = |room: &mut Room| {
            let at = u32::try_from(begun.chars().count()).unwrap_or(u32::MAX);
            let words = room.complete(ground, begun, at).filter(|_| !begun.is_empty());
            words.map(|words| words.matches).unwrap_or_default()
        };
        let mut found: Vec<String> = match earlier[..] {
            [] => word::WORDS.iter().map(|(name, ..)| (*name).to_owned()).collect(),
            ["lang"] | ["get", .., "from"] => {
                world.languages.all().map(|it| it.id.to_string()).collect()
            }
            ["lang", ..] => named(&mut rooms[*current]),
            ["get", ref values @ ..] => {
                let others = rooms.iter_mut().enumerate().filter(|(at, _)| at != current);
                let names = others.flat_map(|(_, room)| named(room));
                names.chain((!values.is_empty()).then(|| "from".to_owned())).collect()
            }
            ["restore"] => rooms[*current].states().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        found.retain(|name| name.starts_with(begun));
        found.sort();
        found.dedup();
        (1 + line.len() - begun.len(), found)
    }
}

impl Listener for Repl<'_> {
    fn complete(&mut self, text: &str, at: usize) -> (usize, Vec<String>) {
        if let Some(line) = text.get(..at).and_then(|text| text.strip_prefix('%')) {
            return self.complete_word(line);
        }
        let place = |characters: u32| {
            text.char_indices().nth(characters as usize).map_or(text.len(), |(byte, _)| byte)
        };
        let before = text.get(..at).unwrap_or(text).chars().count();
        let cursor = u32::try_from(before).unwrap_or(u32::MAX);
        match self.rooms[self.current].complete(&self.ground, text, cursor) {
            Some(words) => (place(words.start).min(at), words.matches),
            None => (at, Vec::new()),
        }
    }

    fn is_open(&mut self, text: &str) -> bool {
        if text.trim().is_empty() || word::parse(text).is_some() {
            return false;
        }
        let told = self.rooms[self.current].complete(&self.ground, text, 0);
        told.is_some_and(|words| words.open)
    }
}
