//! The command line of `plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{FlowArgs, Format};

/// `plugin …`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the executors: bundled, installed, and those that could be installed.
    List {
        /// What to print on stdout.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Test whether an executor keeps the contract: exit code 1 if a case failed.
    Test {
        /// An executor's id, or the folder of its executor.toml.
        #[arg(value_name = "ID|FOLDER")]
        which: String,
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
    /// Show an installed plugin, or one that could be installed.
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

/// `plugin install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// A folder with an executor.toml, a .tar or .tar.gz of one, the folder of a Python package, or a name: of what is offered, or of a Python package in the
    /// index that pip is configured with.
    #[arg(value_name = "FOLDER|ARCHIVE|NAME")]
    pub source: PathBuf,
    /// Agree to what it asks for.
    #[arg(short, long)]
    pub yes: bool,
    /// Have pip use no index: what a Python package needs has to be here.
    #[arg(long)]
    pub offline: bool,
}
