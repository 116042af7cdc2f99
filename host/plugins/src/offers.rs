//! What could be installed: manifests in the folders where plugins are looked for. Nothing of them is run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_load::{Code, Problem};
use polyloom_model::{ExecutorId, Manifest};

use crate::index::Index;
use crate::installed::Source;
use crate::python::{Made, Package};

/// What kind of place an offer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferPlace {
    /// For all users of this machine.
    System,
    /// The person's own.
    User,
    /// Beside the flow.
    Project,
    /// A Python package.
    Python,
}

impl OfferPlace {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Project => "project",
            Self::Python => "python",
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
    /// The manifest and the files, where it came without a manifest.
    pub made: Option<Made>,
    /// The Python package that it is of.
    pub package: Option<Package>,
    /// What that package was made of, where it was installed for this.
    pub built_from: Option<String>,
}

impl Offer {
    /// The same, of a package that was made of `from` to be installed.
    #[must_use]
    pub fn built_from(self, from: &str) -> Self {
        Self { built_from: Some(from.to_owned()), ..self }
    }

    /// Whether its package was asked for by its name or folder, and is not only what another needs.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.package.as_ref().is_some_and(Package::is_requested)
    }

    /// Where it would be installed from.
    #[must_use]
    pub fn source(&self) -> Source {
        match (&self.package, &self.made) {
            (Some(package), _) => match &self.built_from {
                Some(from) => Source::Built { package: package.clone(), from: from.clone() },
                None => Source::Package(package.clone()),
            },
            // The function is in a file of the executor's name.
            (None, Some(_)) => {
                Source::Function(self.folder.join(format!("{}.py", self.manifest.id)))
            }
            (None, None) => Source::Folder(self.folder.clone()),
        }
    }
}

/// The plugins in these folders. A broken one is told and blocks nobody.
#[must_use]
pub fn offers(places: &[(OfferPlace, PathBuf)], index: &mut Index) -> (Vec<Offer>, Vec<Problem>) {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for (place, folder) in places {
        let found = index.discover(std::slice::from_ref(folder));
        problems.extend(found.problems);
        all.extend(found.manifests.into_iter().filter_map(|manifest| {
            let folder = manifest.path.as_ref()?.parent()?.to_owned();
            Some(Offer {
                manifest: Arc::unwrap_or_clone(manifest),
                folder,
                place: *place,
                made: None,
                package: None,
                built_from: None,
            })
        }));
    }
    (all, problems)
}

/// Takes out what claims a name that is bundled, and tells of it and of names that are claimed twice.
pub fn settle(offers: &mut Vec<Offer>, bundled: impl Fn(&ExecutorId) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let names = |offer: &Offer| {
        let Manifest { id, aliases, .. } = &offer.manifest;
        std::iter::once(id).chain(aliases).cloned().collect::<BTreeSet<_>>()
    };
    let mut claims: BTreeMap<ExecutorId, Vec<String>> = BTreeMap::new();
    offers.retain(|offer| {
        let names = names(offer);
        let source = offer.source();
        if let Some(name) = names.iter().find(|name| bundled(name)) {
            let text = format!("the name `{name}` of {source} is that of a bundled executor");
            let help = "bundled names can't be taken: it is not offered";
            problems.push(Problem::error(Code::Claimed, text).warning().help(help));
            return false;
        }
        for name in names {
            claims.entry(name).or_default().push(source.to_string());
        }
        true
    });
    for (name, by) in claims.iter().filter(|(_, by)| by.len() > 1) {
        let text = format!("the name `{name}` is claimed by {}", by.join(" and "));
        let help = "neither gets it by its name: remove one";
        problems.push(Problem::error(Code::Claimed, text).warning().help(help));
    }
    problems
}
