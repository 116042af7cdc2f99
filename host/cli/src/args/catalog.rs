//! `catalog` as it may be typed.

use clap::Args;

use super::Format;

// `catalog`.
#[derive(Debug, Args, Clone)]
pub struct CatalogArgs {
    /// Files and folders of functions (`filters.py`), and ids (`python:numpy.linalg`, `python:./filters.py:blur`). What is installed is that of the interpreter that the flow in this folder names, if it does.
    #[arg(required = true, value_name = "PATH|ID")]
    pub of: Vec<String>,
    /// Let through what has no types: it is warned of, and takes and gives anything.
    #[arg(long)]
    pub allow_untyped: bool,
    /// Warnings are errors.
    #[arg(long, conflicts_with = "allow_untyped")]
    pub strict: bool,
    /// The executor whose functions are meant where a path does not say it.
    #[arg(long, value_name = "ID")]
    pub executor: Option<String>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}
