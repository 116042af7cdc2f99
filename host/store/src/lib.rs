//! Everything that outlives a run: artifacts by digest, results by key, compiled programs, and a project's history.
//!
//! It does not know what a flow, a graph or a plan is, runs no code, prints nothing and has no clock: whoever
//! calls it passes the time in. Every call blocks; several threads and several processes may call at once.

mod archive;
mod audit;
mod behind;
mod blobs;
mod caches;
mod copying;
mod direct;
mod fail;
mod fault;
mod flights;
mod gc;
mod hashing;
mod history;
mod hot;
mod index;
mod layout;
mod read;
mod rescue;
mod results;
mod seen;
mod share;
mod stats;
mod store;
mod tree;
mod unchanged;

pub use archive::{ArchiveError, Archived};
pub use audit::{Audit, Damage, Mend};
pub use behind::BehindError;
pub use blobs::{PutError, ReadError};
#[cfg(debug_assertions)]
pub use fail::arm;
pub use fault::Fault;
pub use flights::Flight;
pub use gc::{Bounds, Dropped, GcReport, GcRequest, Kept, Spent, Usage};
pub use hashing::digest_bytes;
pub use history::{
    ExportError, Exported, FindError, HISTORY_VERSION, History, HistoryError, HistoryPlace, Home,
    ImportRunError, Imported, InputRow, KeptRow, Made, Maker, NewRun, Origin, OutputRow, Previous,
    Retention, RunEnd, RunReader, RunRow, RunState, RunWriter, StepRow, Stood, Taken,
    format_run_time, is_exported_run,
};
pub use hot::Room;
pub use index::{HeldOpen, INDEX_VERSION, hold_open};
pub use layout::{PlaceError, behind, place};
pub use polyloom_model::Mark;
pub use rescue::{collect, renew_index};
pub use results::{ResultRow, StoredResult};
pub use seen::ArtifactKind;
pub use stats::{ImportError, Root, StatKey};
pub use store::{OpenError, Store};
pub use tree::{Listing, ListingEntry, TreeEntry, TreeError, TreeLimits};
