//! What a plugin came from, as it is now: what runs is the copy, and knows nothing of it.

use std::path::Path;

use polyloom_model::{Digest, Tool};

use crate::archive::unpack;
use crate::installed::{Plugin, Source, offered_digest};
use crate::python::{functions, packaged};
use crate::tree::{self, Limits};

/// The digest that it would have if it was installed once more; an error says why it could not be. Nobody but another tool knows that of what
/// was fetched by one; of what was built of a folder it is that of the folder, once that is another. `tool` is how a Python is asked what it is.
#[must_use]
pub fn digest_now(plugin: &Plugin, tool: Option<&Tool>) -> Option<Result<Digest, String>> {
    if let (Some(folder), Some(was)) = (plugin.source.project(), plugin.built_of) {
        match tree::digest_of_sources(folder) {
            Ok(now) if now == was => {}
            Ok(now) => return Some(Ok(now)),
            Err(error) => return Some(Err(error.to_string())),
        }
        if plugin.package().is_none() {
            return Some(Ok(plugin.digest));
        }
    }
    Some(match &plugin.source {
        Source::Folder(folder) => {
            tree::digest(folder, Limits::default()).map_err(|error| error.to_string())
        }
        Source::Archive(path) => archived(path),
        Source::Package(_) | Source::Built { .. } | Source::Function(_) => offered(plugin, tool),
        Source::Fetched(_) => return None,
    })
}

/// Whether it came from a folder, a file or a package of the person's that holds something else by now.
#[must_use]
pub fn is_outdated(plugin: &Plugin, tool: Option<&Tool>) -> bool {
    let changes = match &plugin.source {
        Source::Folder(_) | Source::Archive(_) | Source::Package(_) | Source::Function(_) => true,
        // To ask a repository takes programs.
        Source::Built { .. } | Source::Fetched(_) => plugin.built_of.is_some(),
    };
    changes && matches!(digest_now(plugin, tool), Some(Ok(now)) if now != plugin.digest)
}

/// The digest of what a package or a file offers.
fn offered(plugin: &Plugin, tool: Option<&Tool>) -> Result<Digest, String> {
    let gone = || "is not there any more".to_owned();
    let tool = tool.ok_or_else(gone)?;
    let (offers, _) = match &plugin.source {
        Source::Function(path) => functions(path.parent().unwrap_or(path), tool),
        Source::Package(package) | Source::Built { package, .. } => {
            packaged(std::slice::from_ref(&package.interpreter), tool)
        }
        Source::Folder(_) | Source::Archive(_) | Source::Fetched(_) => return Err(gone()),
    };
    let offer = offers.iter().find(|offer| offer.manifest.id == plugin.id).ok_or_else(gone)?;
    offered_digest(offer).map_err(|error| error.to_string())
}

/// The digest of what an archive holds.
fn archived(path: &Path) -> Result<Digest, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let unpacked = unpack(path, folder.path(), Limits::default());
    let unpacked = unpacked.map_err(|error| error.to_string())?;
    tree::digest(&unpacked, Limits::default()).map_err(|error| error.to_string())
}
