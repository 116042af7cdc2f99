//! Everything that outlives a run: artifacts by digest, results by key, compiled programs, and a project's history.
//!
//! It does not know what a flow, a graph or a plan is, runs no code, prints nothing and has no clock: whoever
//! calls it passes the time in. Every call blocks; several threads and several processes may call at once.

mod blobs;
mod caches;
mod copying;
mod direct;
mod fault;
mod gc;
mod hashing;
mod history;
mod hot;
mod index;
mod layout;
mod rescue;
mod results;
mod share;
mod stats;
mod store;
mod tree;

pub use blobs::{PutError, ReadError};
pub use fault::Fault;
pub use gc::{GcReport, GcRequest, Usage};
pub use history::{
    FindError, HISTORY_VERSION, History, HistoryError, HistoryPlace, NewRun, Previous, RunEnd,
    RunReader, RunRow, RunState, RunWriter, StepRow, format_run_time,
};
pub use hot::Room;
pub use index::INDEX_VERSION;
pub use layout::{PlaceError, place};
pub use rescue::collect;
pub use results::{ResultRow, StoredResult};
pub use stats::{ImportError, StatKey};
pub use store::{OpenError, Store};
pub use tree::{Listing, ListingEntry, TreeEntry, TreeError, TreeLimits};
