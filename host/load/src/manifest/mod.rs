//! Executors as data: `executor.toml` to manifest, many manifests to the languages there are. Nothing of an
//! executor is run to learn about it.

mod discover;
mod head;
mod kernelspec;
mod languages;
mod pattern;
mod placeholder;
mod read;

pub use discover::{Broken, Files, broken_in, discover, manifests_in, read_manifest};
pub use kernelspec::{kernels_in, read_kernel};
pub use languages::{ByExtension, Languages};
pub use read::{parse_bundled, parse_manifest};
