//! What could be installed: manifests in the folders where plugins are looked for. Nothing of them is run.

use std::path::PathBuf;

use polyloom_load::Problem;
use polyloom_model::Manifest;

use crate::index::Index;

/// What kind of place an offer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferPlace {
    /// For all users of this machine.
    System,
    /// The person's own.
    User,
    /// Beside the flow.
    Project,
}

impl OfferPlace {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Project => "project",
        }
    }
}

/// A plugin that is not installed.
#[derive(Debug)]
pub struct Offer {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its folder.
    pub folder: PathBuf,
    /// What kind of place that is in.
    pub place: OfferPlace,
}

/// The plugins in these folders. A broken one is told and blocks nobody.
#[must_use]
pub fn offers(places: &[(OfferPlace, PathBuf)], index: &mut Index) -> (Vec<Offer>, Vec<Problem>) {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for (place, folder) in places {
        let (manifests, more) = index.discover(std::slice::from_ref(folder));
        problems.extend(more);
        all.extend(manifests.into_iter().filter_map(|manifest| {
            let folder = manifest.path.as_ref()?.parent()?.to_owned();
            Some(Offer { manifest, folder, place: *place })
        }));
    }
    (all, problems)
}
