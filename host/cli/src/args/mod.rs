//! The command line as data. Knows what may be typed, not what it does.
//!
//! The arguments of a command are described when it is asked for (`defer`), and by then it has its own words: a doc comment of a struct with arguments
//! would take their place, so these have plain ones.

mod cache;
mod catalog;
mod history;
mod live;
mod permission;
mod plugin;
mod repl;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use polyloom_plan::{Force, Scope, Selection, Selector};

use crate::failure::{Exit, Failure};

pub use cache::{CacheCommand, GcArgs};
pub use catalog::CatalogArgs;
pub use history::{
    At, DiffArgs, ExportArgs, ImportArgs, LineageArgs, LineageFormat, ListArgs, PruneArgs,
    RunsArgs, RunsCommand, ShowArgs,
};
pub use live::{AttachArgs, LiveAt, LiveFormat};
pub use permission::PermissionArgs;
pub use plugin::{InstallArgs, NewArgs, PluginCommand, PluginKind, PluginLang};
pub use repl::ReplArgs;

/// Run one graph of code cells in any mix of languages: sandboxed, cached, explained.
#[derive(Debug, Parser)]
#[command(name = "polyloom", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 ok, 1 a cell failed, 2 bad usage or flow, 3 environment or plugin problem, \
4 nothing selected, 5 partial (with -k), 124 run timeout, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// Flags of every command.
#[derive(Debug, Args, Clone, Default)]
pub struct Global {
    /// Say less; twice: only errors.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
    /// Say more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
    /// A folder with executors (each a folder with an executor.toml); may be given more than once.
    #[arg(long, global = true, value_name = "DIR")]
    pub executor_dir: Vec<PathBuf>,
}

/// auto, always or never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// If it is a terminal and NO_COLOR is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of what is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// As the terminal allows.
    Auto,
    /// One line a step.
    Plain,
    /// Live lines.
    Tty,
}

// Which flow, with which parameters.
#[derive(Debug, Args, Clone)]
pub struct FlowArgs {
    /// A flow file, or a folder with a polyloom.toml [default: the folder you are in].
    pub flow: Option<PathBuf>,
    /// The folder that FLOW is in, or is.
    #[arg(short = 'C', long = "project", value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Set a parameter.
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    pub param: Vec<String>,
    /// Parameters from a TOML or JSON file; -p wins over it.
    #[arg(long, value_name = "FILE")]
    pub params_file: Option<PathBuf>,
    /// What random numbers of typed functions are derived from, in place of the flow's `seed`.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<i64>,
}

fn seed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "a seed is a whole number of 64 bits, such as 7".to_owned())
}

impl FlowArgs {
    /// Has `-C DIR` be the flow, or the folder of it. A word that is nothing there is a selector, where there are such.
    fn settle(&mut self, selectors: Option<&mut Vec<String>>) {
        let Some(folder) = self.folder.take() else { return };
        // What is not there is a path for all that.
        let folder = if folder.exists() { folder } else { PathBuf::from(".").join(folder) };
        self.flow = match (self.flow.take(), selectors) {
            (None, _) => Some(folder),
            (Some(word), Some(selectors)) if !folder.join(&word).exists() => {
                selectors.insert(0, word.to_string_lossy().into_owned());
                Some(folder)
            }
            (Some(word), _) => Some(folder.join(word)),
        };
    }
}

// Which cells.
#[derive(Debug, Args, Clone, Default)]
pub struct Select {
    /// Cells: `cell`, `+cell` (with ancestors), `cell+` (with descendants), `tag:WORD`, globs.
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Up to and with this cell.
    #[arg(long, value_name = "CELL")]
    pub until: Vec<String>,
    /// This cell and all that depends on it.
    #[arg(long, value_name = "CELL")]
    pub from: Vec<String>,
    /// This cell alone, with the inputs the store has.
    #[arg(long, value_name = "CELL")]
    pub only: Vec<String>,
    /// Run the selected cells even if nothing changed.
    #[arg(short, long)]
    pub force: bool,
    /// Run all cells even if nothing changed.
    #[arg(short = 'F', long)]
    pub force_all: bool,
    /// Neither take results from the store nor put them there for later runs.
    #[arg(long)]
    pub no_cache: bool,
}

impl Select {
    /// As the plan understands it.
    pub fn selection(&self) -> Result<Selection, Failure> {
        let parse = |texts: &[String]| {
            let parsed: Result<Vec<Selector>, _> = texts.iter().map(|text| text.parse()).collect();
            parsed.map_err(|error| Failure::of(Exit::Usage, &error))
        };
        let mut cells = parse(&self.selectors)?;
        cells.extend(parse(&self.only)?);
        let scope = if self.only.is_empty() { Scope::Needed } else { Scope::Only };
        Ok(Selection { cells, from: parse(&self.from)?, until: parse(&self.until)?, scope })
    }

    /// What runs though its result is there.
    pub fn how(&self) -> Force {
        match (self.no_cache, self.force_all, self.force) {
            (true, _, _) => Force::NoCache,
            (_, true, _) => Force::All,
            (_, _, true) => Force::Selected,
            (false, false, false) => Force::Nothing,
        }
    }

    /// A first word that is no path but fits a selector is one, when a flow is here: `polyloom run stats+`.
    pub fn settle(&mut self, flow: &mut FlowArgs) {
        let Some(first) = &flow.flow else { return };
        let Some(text) = first.to_str() else { return };
        // `sub/cell` is a cell of a flow within the flow.
        let path = text.starts_with(['.', '/', '~']) || text.ends_with('/');
        let looks_like_file = path || text.contains(".toml") || first.exists();
        let here = polyloom_load::find_flow(std::path::Path::new(".")).is_ok();
        if !looks_like_file && here && text.parse::<Selector>().is_ok() {
            self.selectors.insert(0, text.to_owned());
            flow.flow = None;
        }
    }
}

// `run`.
#[derive(Debug, Args, Clone)]
pub struct RunArgs {
    /// The flow.
    #[command(flatten)]
    pub flow: FlowArgs,
    /// The cells.
    #[command(flatten)]
    pub select: Select,
    /// What cells may do beyond their inputs.
    #[command(flatten)]
    pub permissions: PermissionArgs,
    /// Show what would be done, and why, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Run nothing, but open the sandbox of this cell with its inputs in place, and a prompt in it.
    #[arg(short, long, value_name = "CELL", conflicts_with_all = ["dry_run", "watch", "output"])]
    pub interactive: Option<String>,
    /// Run again whenever a file of the flow changes: what the change made stale, and nothing else.
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
    /// Run nothing unless the executors are what `polyloom.lock` says (`polyloom plugin lock`).
    #[arg(long)]
    pub locked: bool,
    /// Go on with the cells that do not depend on a failed one.
    #[arg(short, long)]
    pub keep_going: bool,
    /// Cells that run at once [default: the number of processors].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// End the whole run after this time (exit code 124).
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// A limit for this run: of every cell (`memory=4GiB`) or of one (`train.timeout=1h`), whatever the flow says.
    #[arg(long = "limit", value_name = "[CELL.]NAME=VALUE")]
    pub limits: Vec<String>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write the only output of the one cell that is asked for (`--until CELL`) to this file, or to stdout with `-`.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["dry_run", "watch"])]
    pub output: Option<PathBuf>,
    /// Write the event stream as JSON lines to a file, or to stdout with `-`.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Write where the time of each cell went to a file that Perfetto (ui.perfetto.dev) and chrome://tracing open.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Run a flow: what is out of date, and nothing else.
    Run(Box<RunArgs>),
    /// Open a prompt: what is typed runs in a sandbox, in one language or several that share values.
    Repl(ReplArgs),
    /// Check flow files and show every problem at once.
    Check {
        /// Flow files or folders [default: the folder you are in].
        flows: Vec<PathBuf>,
        /// The same.
        #[arg(short = 'C', long = "project", value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Run every cell whose function is tagged `pure` twice, and compare what it gives.
        #[arg(long)]
        purity: bool,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show the typed functions there are, each of which can be a cell: `uses = "python:./filters.py:blur"`.
    Catalog(CatalogArgs),
    /// Show what `run` would do, and why.
    Plan {
        /// The flow.
        #[command(flatten)]
        flow: FlowArgs,
        /// The cells.
        #[command(flatten)]
        select: Select,
        /// What cells may do.
        #[command(flatten)]
        permissions: Box<PermissionArgs>,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show which parts of a cell's key changed since it last ran.
    Why {
        /// The cell. Of one that is a flow its cells are listed.
        cell: String,
        /// Compare with this run, instead of the last one that had the cell.
        #[arg(long, value_name = "RUN")]
        against: Option<String>,
        /// The flow.
        #[command(flatten)]
        flow: FlowArgs,
        /// What cells may do.
        #[command(flatten)]
        permissions: Box<PermissionArgs>,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show which cells are fresh and which are stale.
    Status {
        /// The flow.
        #[command(flatten)]
        flow: FlowArgs,
        /// What cells may do.
        #[command(flatten)]
        permissions: Box<PermissionArgs>,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Draw the graph of a flow.
    Graph {
        /// The flow.
        #[command(flatten)]
        flow: FlowArgs,
        /// As a Mermaid diagram.
        #[arg(long, group = "form")]
        mermaid: bool,
        /// As a Graphviz file.
        #[arg(long, group = "form")]
        dot: bool,
        /// As JSON.
        #[arg(long, group = "form")]
        json: bool,
    },
    /// Show the plain steps of a flow: those of its maps, and of the flows within it.
    Expand {
        /// The flow.
        #[command(flatten)]
        flow: FlowArgs,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show what cells printed in a run.
    Logs {
        /// Which run, which cell.
        #[command(flatten)]
        at: At,
        /// Only the last N lines.
        #[arg(long, value_name = "N")]
        tail: Option<usize>,
    },
    /// Show a run, a cell's result, or an output (CELL.PORT).
    Show(ShowArgs),
    /// List the runs of a project; compare, export, import and remove them.
    Runs(RunsArgs),
    /// Show what an output was made of, and what was made of it, across runs.
    Lineage(LineageArgs),
    /// Show a recorded run again through the same reporters.
    Replay {
        /// Which run.
        #[command(flatten)]
        at: At,
        /// Write where the time of each cell went to a file, as `run --trace` does.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
    },
    /// Watch a run that is going on, from its first event to its end, and where it is one of `run --watch`, those that follow. Ctrl-C ends the watching, not the run.
    Attach(AttachArgs),
    /// Stop a run that is going on or a `run --watch`, as Ctrl-C where it was started would, and wait for its end.
    Stop {
        /// Which run.
        #[command(flatten)]
        at: LiveAt,
        /// As a second Ctrl-C would: at once.
        #[arg(long)]
        now: bool,
    },
    /// Look after the store.
    Cache {
        /// What to do.
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// List what was granted to cells for good, or take it back.
    Grants {
        /// The project: a folder or a flow file [default: the folder you are in].
        project: Option<PathBuf>,
        /// The same.
        #[arg(short = 'C', long = "project", value_name = "DIR", conflicts_with = "project")]
        folder: Option<PathBuf>,
        /// Take back what was granted to this cell; `*` is all.
        #[arg(long, value_name = "CELL")]
        revoke: Vec<String>,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Make a new flow.
    New {
        /// Its name: a folder of that name is made.
        name: String,
    },
    /// Put a flow file into its usual form.
    Fmt {
        /// Flow files or folders [default: the folder you are in].
        flows: Vec<PathBuf>,
        /// Only say whether anything would change (exit code 1).
        #[arg(long)]
        check: bool,
    },
    /// Look after executors: the plugins that run languages.
    Plugin {
        /// What to do.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Keep interpreters and sandboxes waiting from one run to the next. Without a daemon everything is the same, and starts slower.
    Daemon {
        /// What to do.
        #[command(subcommand)]
        command: DaemonCommand,
    },
    /// Look after sessions: interpreters whose state cells share. The daemon keeps them from run to run, where there is one.
    Session {
        /// What to do.
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// Show what this machine offers: sandbox mechanisms, interpreters, compilers, the store.
    Doctor {
        /// Attack this machine's sandbox, and show how each attack ended: exit code 1 if one was not held.
        #[arg(long)]
        attack: bool,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print a JSON Schema.
    Schema {
        /// Which.
        #[arg(value_enum)]
        of: SchemaOf,
    },
    /// Print a completion script.
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write manual pages.
    Man {
        /// The folder they are written to.
        dir: PathBuf,
    },
}

// `session`.
#[derive(Debug, Subcommand, Clone)]
#[command(defer = true)]
pub enum SessionCommand {
    /// Show the sessions that the daemon keeps.
    List {
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Make a session as it was before its first cell; its snapshots stay.
    Reset(SessionAt),
    /// Keep the state of a session under a name.
    Snapshot {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// The snapshot's name.
        name: String,
    },
    /// Go back to a snapshot.
    Restore {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// The snapshot's name.
        name: String,
    },
    /// Drop a snapshot.
    Forget {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// The snapshot's name.
        name: String,
    },
    /// Save the state of a session in a file, as far as its executor can write it; tells what is not in it.
    Save {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// The file.
        file: PathBuf,
    },
    /// Make the state of a session, or of a new one, that of a file of `save`.
    Load {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// The file.
        file: PathBuf,
    },
    /// Begin another session with what can be written of the state of one; tells what did not come along.
    Fork {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// The name of the other.
        new: String,
    },
    /// End a session, and all of its snapshots.
    Rm {
        /// Which session.
        #[command(flatten)]
        at: SessionAt,
        /// Do not ask, where it is of a flow in another folder.
        #[arg(long)]
        yes: bool,
    },
}

// Which session.
#[derive(Debug, Args, Clone)]
pub struct SessionAt {
    /// The session's name in its flow.
    pub session: String,
    /// Its flow, where it is not the one in this folder, or several have a session of this name.
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

// `daemon`.
#[derive(Debug, Subcommand, Clone)]
pub enum DaemonCommand {
    /// Start it in the background, for this user and this store.
    Start {
        /// End after this time without a run.
        #[arg(long, value_name = "TIME", default_value = "1h")]
        idle: String,
    },
    /// Be it, to the first Ctrl-C: for a service manager, or to look at it.
    Run {
        /// End after this time without a run.
        #[arg(long, value_name = "TIME", default_value = "1h")]
        idle: String,
        /// Leave the terminal, and say on stdout when runs can come.
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// End it, once no run has anything of it.
    Stop,
    /// Show what waits, and how often it was there.
    Status {
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// What a schema is wanted of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Flow files.
    Flow,
    /// executor.toml.
    Executor,
    /// The event stream.
    Events,
    /// `run --format json`.
    Run,
}

impl Command {
    /// Has `-C DIR` mean the same with every command that takes a flow.
    pub fn settle(&mut self) {
        match self {
            Self::Run(args) => args.flow.settle(Some(&mut args.select.selectors)),
            Self::Plan { flow, select, .. } => flow.settle(Some(&mut select.selectors)),
            Self::Why { flow, .. }
            | Self::Status { flow, .. }
            | Self::Graph { flow, .. }
            | Self::Expand { flow, .. }
            | Self::Plugin { command: PluginCommand::Lock { flow } } => flow.settle(None),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::Cli;

    #[test]
    fn what_is_described_later_has_the_words_it_had() {
        let told = Cli::command();
        let mut described = Cli::command();
        described.build();
        for command in described.get_subcommands().filter(|it| it.get_name() != "help") {
            let name = command.get_name();
            let before = told.find_subcommand(name).and_then(Command::get_about);
            assert_eq!(command.get_about(), before, "{name}");
            for part in command.get_subcommands() {
                let words = part.get_about().map(ToString::to_string).unwrap_or_default();
                assert!(words.starts_with(char::is_uppercase), "{name} {}", part.get_name());
            }
        }
    }
}
