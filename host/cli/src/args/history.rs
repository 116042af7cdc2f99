//! The command line of what earlier runs left.

use std::path::PathBuf;

use clap::Args;

/// A place in a project's history.
#[derive(Debug, Args, Clone)]
pub struct At {
    /// [PROJECT] [RUN] [CELL]: a folder or flow file; a run's id, a unique beginning of one, or `latest` (the
    /// default); a cell of it, where that makes sense.
    #[arg(value_name = "WORD", num_args = 0..=3)]
    pub words: Vec<String>,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}
