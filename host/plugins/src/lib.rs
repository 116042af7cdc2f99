//! Executors that a person installed: found, copied, trusted, locked. Runs nothing of a plugin and knows no cell.
//!
//! What a plugin offers, also one in a Python package, is learnt from static data alone. What is executed is a copy, named by its digest, that was made when the
//! person installed it: neither the place it came from nor anything that changes there counts afterwards.

mod archive;
mod index;
mod installed;
mod lock;
mod now;
mod offers;
mod python;
mod tree;

pub use archive::{ArchiveError, unpack};
pub use index::{Found, Index};
pub use installed::{Installed, InstalledError, Plugin, Source, Staged, asks, offered_digest};
pub use lock::{Differs, LOCK_FILE, Lock, LockError, Locked};
pub use now::{digest_now, is_outdated};
pub use offers::{Offer, OfferPlace, offers, settle};
pub use python::{Made, Package, functions, functions_of, installed, packaged};
pub use tree::{Copied, Limits, TreeError, digest};
