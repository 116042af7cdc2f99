//! The command line of what earlier runs left.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

// A place in a project's history.
#[derive(Debug, Args, Clone)]
pub struct At {
    /// [PROJECT] [RUN] [CELL]: a folder or flow file (`./NAME` where a run or a cell here is called like it); a run's id, a unique beginning of one, `latest` (the
    /// default) or `latest~N`, the Nth before it; a cell of it, where that makes sense.
    #[arg(value_name = "WORD", num_args = 0..=3)]
    pub words: Vec<String>,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

// `runs`, `runs list`.
#[derive(Debug, Args, Clone)]
pub struct ListArgs {
    /// The project: a folder or a flow file [default: the folder you are in].
    pub project: Option<PathBuf>,
    /// The same.
    #[arg(short = 'C', long = "project", value_name = "DIR", conflicts_with = "project")]
    pub folder: Option<PathBuf>,
    /// At most this many, newest first.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

// `show`, `runs show`.
#[derive(Debug, Args, Clone)]
pub struct ShowArgs {
    /// Which run, which cell or output.
    #[command(flatten)]
    pub at: At,
    /// Write an output's bytes to this file, or to stdout with `-`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

// `runs …`; alone, it lists them.
#[derive(Debug, Args, Clone)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// The list.
    #[command(flatten)]
    pub list: ListArgs,
}

// `runs …`.
#[derive(Debug, Subcommand, Clone)]
pub enum RunsCommand {
    /// List the runs of a project, as `runs` alone does.
    List(ListArgs),
    /// Show a run, a cell's result, or an output (CELL.PORT), as `show` does.
    Show(ShowArgs),
    /// Show what is different between two runs, cell by cell: outcomes, times, memory, parts of keys, outputs.
    Diff(DiffArgs),
    /// Remove old runs. Stored results stay, and so does what is known of each cell.
    Prune(PruneArgs),
    /// Write a run to one file that another machine can open with `runs import`: a tar archive.
    Export(ExportArgs),
    /// Take in a run from such a file; `show`, `logs`, `replay`, `runs diff` and all others know it by its id.
    Import(ImportArgs),
}

// `runs diff`.
#[derive(Debug, Args, Clone)]
pub struct DiffArgs {
    /// The run before: an id, a unique beginning of one, `latest`, or `latest~N` for the Nth before it.
    pub a: String,
    /// The run after.
    pub b: String,
    /// Only this cell, with all that differs.
    pub cell: Option<String>,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

// How long runs are kept.
#[derive(Debug, Args, Clone)]
pub struct PruneArgs {
    /// Keep at most this many runs [default: $POLYLOOM_KEEP_RUNS, or 100].
    #[arg(long, value_name = "N")]
    pub keep: Option<std::num::NonZeroUsize>,
    /// Keep no run that is older than this, such as `30d` or `12h` [default: $POLYLOOM_KEEP_AGE, or any age].
    #[arg(long, value_name = "TIME")]
    pub max_age: Option<String>,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

// `runs export`.
#[derive(Debug, Args, Clone)]
pub struct ExportArgs {
    /// The run: an id, a unique beginning of one, or `latest`.
    #[arg(default_value = "latest")]
    pub run: String,
    /// The file to write, or stdout with `-` [default: RUN.tar].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// With the bytes of all outputs, as far as the store has them.
    #[arg(long)]
    pub with_artifacts: bool,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

// `runs import`.
#[derive(Debug, Args, Clone)]
pub struct ImportArgs {
    /// The file.
    pub file: PathBuf,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

// `lineage`.
#[derive(Debug, Args, Clone)]
pub struct LineageArgs {
    /// CELL.PORT of the latest run, RUN CELL.PORT, or the beginning of a digest: `b3:1f0c…`, of an output or of a file that was read.
    #[arg(value_name = "ARTIFACT", num_args = 1..=2, required = true)]
    pub words: Vec<String>,
    /// Only what it was made of.
    #[arg(long, conflicts_with = "down")]
    pub up: bool,
    /// Only what was made of it.
    #[arg(long)]
    pub down: bool,
    /// At most so many steps deep; the drawing alone is cut, never the JSON.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub depth: usize,
    /// The project [default: the folder you are in].
    #[arg(short = 'C', long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = LineageFormat::Text)]
    pub format: LineageFormat,
}

/// How a lineage is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LineageFormat {
    /// A tree, for people.
    Text,
    /// One JSON document.
    Json,
    /// A Mermaid diagram.
    Mermaid,
    /// A Graphviz file.
    Dot,
}
