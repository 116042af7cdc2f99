//! `polyloom cache …`, as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

// `cache …`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show what the store holds.
    Stats,
    /// Make room: remove what is cheapest to make again and longest unused until the store keeps its bounds. Records stay.
    Gc(GcArgs),
    /// Hash every artifact and read every record. Exit code 1 if anything is damaged and was not mended.
    Verify {
        /// Remove what is damaged, so that the cells that need it run again.
        #[arg(long)]
        fix: bool,
    },
    /// Write all results with their outputs to one file.
    Export {
        /// The file; `-` is stdout.
        file: PathBuf,
    },
    /// Take over the results of an exported file. Only from people you would let run code: a result is believed.
    Import {
        /// The file; `-` is stdin.
        file: PathBuf,
    },
}

// What a collection is to do.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// The size to come down to [default: $POLYLOOM_STORE_MAX, else 10GiB].
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
    /// Remove outputs that were not used for so long: `30d`, `12h` [default: $POLYLOOM_STORE_MAX_AGE, else any].
    #[arg(long, value_name = "DURATION")]
    pub max_age: Option<String>,
    /// Keep at most this many records of results.
    #[arg(long, value_name = "N")]
    pub max_results: Option<u64>,
    /// Remove also what flows mark as `keep`.
    #[arg(long)]
    pub kept: bool,
    /// Only say what would go.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}
