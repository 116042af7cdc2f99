//! The command line of `plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{FlowArgs, Format};

// `plugin …`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum PluginCommand {
    /// List the executors: bundled, installed, and those that could be installed.
    List {
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Begin a plugin of your own: a folder with a manifest, a small language that works, and what `plugin test` asks of it.
    New(NewArgs),
    /// Test whether an executor keeps the contract: exit code 1 if a case failed.
    Test {
        /// An executor's id, or the folder of its executor.toml, which goes first.
        #[arg(value_name = "ID|FOLDER", required_unless_present = "cases")]
        which: Option<String>,
        /// List the cases instead: what each needs and what is expected.
        #[arg(long, conflicts_with_all = ["which", "timeout"])]
        cases: bool,
        /// How long one case may take.
        #[arg(long, value_name = "TIME", default_value = "10s")]
        timeout: String,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Copy a plugin, show what it asks for, and let it run once that is agreed to.
    Install(InstallArgs),
    /// Remove an installed plugin and its copy.
    Remove {
        /// Its id.
        id: String,
    },
    /// Show an executor: an installed plugin, one that could be installed, or a bundled one.
    Info {
        /// Its id.
        id: String,
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Let a plugin run: one that was disabled, or one that was found in a folder of plugins (which installs it).
    Enable {
        /// Its id.
        id: String,
        /// Agree to what it asks for.
        #[arg(short, long)]
        yes: bool,
    },
    /// Keep an installed plugin from running.
    Disable {
        /// Its id.
        id: String,
    },
    /// Write down which executors a flow's cells have, and what those are, in `polyloom.lock` beside it: `run --locked` holds to it.
    Lock {
        /// The flow.
        #[command(flatten)]
        flow: FlowArgs,
    },
    /// List installed plugins whose source has changed since. Exit code 4 if there are none.
    Outdated {
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

// `plugin new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Its id, the `lang` of cells; also the name of the folder that is made here.
    pub name: String,
    /// What it is written in.
    #[arg(long, value_enum)]
    pub lang: Option<PluginLang>,
    /// How it runs.
    #[arg(long, value_enum)]
    pub kind: Option<PluginKind>,
}

/// What a new plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum PluginLang {
    /// A script of the shell: kind `command`.
    Command,
    /// Python: kind `worker`.
    Python,
    /// Rust: kind `worker`, or `wasm`.
    Rust,
    /// JavaScript: kind `worker`.
    JavaScript,
    /// C: kind `native`.
    C,
}

/// How a new plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PluginKind {
    /// A program that is started for each cell.
    Command,
    /// A process that speaks the protocol.
    Worker,
    /// A shared library.
    Native,
    /// A WebAssembly component.
    Wasm,
}

// `plugin install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// A folder with an executor.toml, a .tar or .tar.gz of one, the folder of a Python package or of a crate, a name that `plugin list` shows,
    /// git+FOLDER[@REVISION], npm:NAME[@VERSION], crate:NAME[@VERSION], or pip:NAME[==VERSION].
    #[arg(value_name = "FOLDER|ARCHIVE|NAME")]
    pub source: PathBuf,
    /// Agree to what it asks for.
    #[arg(short, long)]
    pub yes: bool,
    /// Have pip, cargo and npm use no network: what a package needs has to be here.
    #[arg(long)]
    pub offline: bool,
}
