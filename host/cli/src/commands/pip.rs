//! Python packages that are installed as plugins: by pip, into an environment of their own below the plugins' folder.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use polyloom_plugins::Offer;
use polyloom_report::{escape, escape_line};
use polyloom_worker::tools::{Surroundings, on_path};

use super::install::{agree_to_all, said_yes};
use super::manage::{failure, open};
use crate::args::InstallArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// What is shown of what pip said when it failed.
const LAST_WORDS: u64 = 4 << 10;
/// A longer answer of a tool is cut off.
const LONGEST_ANSWER: u64 = 64 << 20;

/// What pip is to install.
pub enum Wanted {
    /// A folder with a `pyproject.toml`.
    Project(PathBuf),
    /// A package of the index that pip is configured with, and perhaps its version.
    Named(String),
}

impl Wanted {
    /// What a text names, if it begins as this does: `pip:NAME`, `pip:NAME==VERSION`. Nothing that pip would take for an option, a path or an address.
    pub fn of(text: &str) -> Option<Result<Self, Failure>> {
        let text = text.strip_prefix("pip:")?;
        let (name, version) = text.split_once("==").unwrap_or((text, "0"));
        let plain = |part: &str, extra: &[char]| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c))
        };
        let is = plain(name, &['.', '_', '-']) && plain(version, &['.', '+', '!', '_', '-']);
        Some(match is {
            true => Ok(Self::Named(text.to_owned())),
            false => {
                let message = format!("`{}` is no name of a Python package", escape_line(text));
                let hint = "valid: pip:NAME, pip:NAME==VERSION";
                Err(Failure::new(Exit::Usage, message).hint(hint))
            }
        })
    }

    /// As `plugin install` takes it.
    fn text(&self) -> String {
        match self {
            Self::Project(folder) => folder.display().to_string(),
            Self::Named(name) => format!("pip:{name}"),
        }
    }

    /// As pip takes it.
    fn argument(&self) -> OsString {
        match self {
            Self::Project(folder) => folder.into(),
            Self::Named(name) => name.into(),
        }
    }

    /// The beginning of the name of its environment.
    fn stem(&self) -> String {
        let text = match self {
            Self::Project(folder) => folder.file_name().unwrap_or_default().to_string_lossy(),
            Self::Named(name) => name.as_str().into(),
        };
        let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        plain.take(40).collect()
    }
}

/// Installs a package and all that it needs, and then what it offers, if the person agrees to each.
pub fn install(world: &World, wanted: &Wanted, args: &InstallArgs) -> Outcome {
    let text = wanted.text();
    let what = escape_line(text.strip_prefix("pip:").unwrap_or(&text)).into_owned();
    let index = match (wanted, args.offline) {
        (_, true) => "without the network",
        (Wanted::Named(_), false) => "from the index that pip is configured with",
        (Wanted::Project(_), false) => {
            "with what it needs from the index that pip is configured with"
        }
    };
    world.screen.tell(&format!(
        "the Python package {what}, {index}\n  building and installing it runs its code and that of what it needs, as you and outside of the sandbox\n"
    ));
    if !args.yes && !said_yes(world, &format!("`{what}` may be installed"), "install it?")? {
        world.screen.tell("nothing was installed\n");
        return Ok(Exit::Failed);
    }
    let base = chosen_python().ok_or_else(|| {
        Failure::new(Exit::Environment, "there is no Python, which would install it")
            .hint("apt install python3-venv")
    })?;
    let tool = world
        .python()
        .ok_or_else(|| Failure::new(Exit::Environment, "this build has no executor for Python"))?;
    // Nobody takes the environment away while no plugin has it yet.
    let held = open(world)?;
    let environment =
        held.fresh_environment(&wanted.stem()).map_err(|error| failure(world, &error))?;
    let made = fill(world, &base, &environment, wanted, args.offline);
    let ended = made.and_then(|interpreter| {
        let (offers, problems) = polyloom_plugins::packaged(&[interpreter], tool);
        world.note_problems(&problems);
        let asked = offers.into_iter().filter(|offer| offer.is_requested());
        let offers: Vec<Offer> = asked.map(|offer| offer.built_from(&text)).collect();
        if offers.is_empty() {
            let message = format!("the Python package {what} offers no executor");
            return Err(Failure::new(Exit::Usage, message)
                .hint("it needs an entry point of the group `polyloom.executors`"));
        }
        agree_to_all(world, &offers, args.yes)
    });
    drop(held);
    // Whatever no plugin has goes: this environment, if nothing was agreed to, and one that was replaced.
    open(world)?.sweep_up().map_err(|error| failure(world, &error))?;
    ended
}

/// The Python that the person has chosen. Never one beside a flow: it runs outside of the sandbox.
fn chosen_python() -> Option<PathBuf> {
    let around = Surroundings::of_process();
    let active = around.vars.get("VIRTUAL_ENV").map(|prefix| prefix.join("bin/python"));
    active.filter(|program| program.exists()).or_else(|| on_path(&["python3", "python"], &around))
}

/// Makes the environment and lets pip install into it; the interpreter.
fn fill(
    world: &World,
    base: &Path,
    environment: &Path,
    wanted: &Wanted,
    offline: bool,
) -> Result<PathBuf, Failure> {
    world.screen.note("making an environment for it …\n");
    let mut venv = Command::new(base);
    venv.args(["-I", "-m", "venv"]).arg(environment);
    run(world, &venv, "making the environment")?;
    let interpreter = environment.join("bin/python");
    let mut pip = Command::new(&interpreter);
    pip.args(["-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "install"]);
    if offline {
        pip.args(["--no-index", "--no-build-isolation"]);
    }
    pip.arg("--").arg(wanted.argument());
    world.screen.note("installing …\n");
    run(world, &pip, "installing it")?;
    Ok(interpreter)
}

/// Runs a program to its end; what it said is shown if that is a bad one.
pub(super) fn run(world: &World, wanted: &Command, what: &str) -> Result<(), Failure> {
    let environment = |error| Failure::of(Exit::Environment, &error);
    let said = tempfile::tempfile().map_err(environment)?;
    run_to(world, wanted, what, said.try_clone().map_err(environment)?, said)
}

/// The same of one that answers on its stdout, which is given.
pub(super) fn ask(world: &World, wanted: &Command, what: &str) -> Result<String, Failure> {
    let environment = |error| Failure::of(Exit::Environment, &error);
    let mut out = tempfile::tempfile().map_err(environment)?;
    let err = tempfile::tempfile().map_err(environment)?;
    run_to(world, wanted, what, out.try_clone().map_err(environment)?, err)?;
    let mut text = String::new();
    out.rewind().map_err(environment)?;
    out.take(LONGEST_ANSWER).read_to_string(&mut text).map_err(environment)?;
    Ok(text)
}

fn run_to(
    world: &World,
    wanted: &Command,
    what: &str,
    out: File,
    mut said: File,
) -> Result<(), Failure> {
    let environment = |error| Failure::of(Exit::Environment, &error);
    let err = said.try_clone().map_err(environment)?;
    // What it installs is read by the cells' user.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 022; exec \"$0\" \"$@\""]);
    command.arg(wanted.get_program()).args(wanted.get_args());
    command.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = wanted.get_current_dir() {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::from(out)).stderr(Stdio::from(err));
    let status = command.status().map_err(environment)?;
    if status.success() {
        return Ok(());
    }
    world.screen.tell(&escape(&last_words(&mut said)));
    Err(Failure::new(Exit::Environment, format!("{what} failed: {status}")))
}

fn last_words(file: &mut File) -> String {
    let length = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)));
    let _ = file.take(LAST_WORDS).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
