//! The command line of `attach` and `stop`: runs that are going on.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

// A run that is going on.
#[derive(Debug, Args, Clone)]
pub struct LiveAt {
    /// [PROJECT] [RUN]: a folder or flow file; a run's id, or a unique beginning of one [default: the newest run that
    /// is going on].
    #[arg(value_name = "WORD", num_args = 0..=2)]
    pub words: Vec<String>,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

// `attach`.
#[derive(Debug, Args, Clone)]
pub struct AttachArgs {
    /// Which run.
    #[command(flatten)]
    pub at: LiveAt,
    /// Begin with the event of this number.
    #[arg(long, value_name = "SEQ", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub from: u64,
    /// As on the terminal of the run, or events as JSON lines on stdout.
    #[arg(long, value_enum, default_value_t = LiveFormat::Text)]
    pub format: LiveFormat,
}

/// How a run is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LiveFormat {
    /// For people, on stderr.
    Text,
    /// One event a line, on stdout.
    Jsonl,
}
