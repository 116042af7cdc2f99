//! Which executor a `lang` or a file's extension means.

use std::collections::HashMap;
use std::sync::Arc;

use polyloom_model::{ExecutorId, Manifest};

use crate::problem::{Code, Problem};

/// Every language there is.
#[derive(Debug, Default)]
pub struct Languages {
    manifests: Vec<Arc<Manifest>>,
    by_name: HashMap<String, usize>,
    by_extension: HashMap<String, Vec<usize>>,
}

/// Who takes files of an extension.
#[derive(Debug)]
pub enum ByExtension<'l> {
    /// One executor.
    One(&'l Manifest),
    /// Several: the flow has to say which.
    Several(Vec<&'l str>),
    /// No executor.
    Nobody,
}

fn origin(manifest: &Manifest) -> String {
    match &manifest.path {
        Some(path) => format!("`{}` ({})", manifest.id, path.display()),
        None => format!("`{}` (bundled)", manifest.id),
    }
}

impl Languages {
    /// From manifests, the bundled ones among them (those without a path). A bundled name can't be taken by
    /// another manifest; two others that claim one name both lose it, and one that loses its id is not there.
    #[must_use]
    pub fn new<M: Into<Arc<Manifest>>>(manifests: Vec<M>) -> (Self, Vec<Problem>) {
        let manifests: Vec<Arc<Manifest>> = manifests.into_iter().map(Into::into).collect();
        let mut problems = Vec::new();
        let mut claims: HashMap<&ExecutorId, Vec<usize>> = HashMap::new();
        for (index, manifest) in manifests.iter().enumerate() {
            let mut own = vec![&manifest.id];
            own.extend(manifest.aliases.iter().filter(|alias| **alias != manifest.id));
            own.dedup();
            for name in own {
                let claim = claims.entry(name).or_default();
                if claim.last() != Some(&index) {
                    claim.push(index);
                }
            }
        }
        let mut lost: Vec<bool> = vec![false; manifests.len()];
        let mut names: Vec<(String, usize)> = Vec::new();
        let mut claims: Vec<_> = claims.into_iter().collect();
        claims.sort();
        for (name, claim) in claims {
            let bundled: Vec<usize> =
                claim.iter().copied().filter(|index| manifests[*index].path.is_none()).collect();
            let winner = match (bundled.as_slice(), claim.as_slice()) {
                ([], [only]) | ([only], _) => Some(*only),
                _ => None,
            };
            if claim.len() > 1 {
                problems.push(clash(name, &claim, &manifests, winner));
            }
            for index in claim {
                if winner == Some(index) {
                    names.push((name.to_string(), index));
                } else if manifests[index].id == *name {
                    lost[index] = true;
                }
            }
        }
        let by_name = names.into_iter().filter(|(_, index)| !lost[*index]).collect();
        let mut by_extension: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, manifest) in manifests.iter().enumerate().filter(|(index, _)| !lost[*index]) {
            for extension in &manifest.extensions {
                by_extension.entry(extension.clone()).or_default().push(index);
            }
        }
        (Self { manifests, by_name, by_extension }, problems)
    }

    /// The executor of that id or alias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Manifest>> {
        self.by_name.get(name).map(|index| &self.manifests[*index])
    }

    /// The executor that takes files of that extension (without the dot). A bundled one goes before others,
    /// one whose first extension it is before those that merely accept it.
    #[must_use]
    pub fn by_extension(&self, extension: &str) -> ByExtension<'_> {
        let Some(all) = self.by_extension.get(extension) else { return ByExtension::Nobody };
        let mut left: Vec<&Manifest> = all.iter().map(|index| &*self.manifests[*index]).collect();
        for better in [
            (|manifest, _| manifest.path.is_none()) as fn(&Manifest, &str) -> bool,
            |manifest, extension| {
                manifest.extensions.first().is_some_and(|first| first == extension)
            },
        ] {
            if left.iter().any(|manifest| better(manifest, extension)) {
                left.retain(|manifest| better(manifest, extension));
            }
        }
        match left.as_slice() {
            [only] => ByExtension::One(only),
            several => ByExtension::Several(several.iter().map(|one| one.id.as_str()).collect()),
        }
    }

    /// The ids, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.all().map(|manifest| manifest.id.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Every executor that kept its id, in the order given.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.manifests.iter().enumerate().filter_map(|(index, manifest)| {
            (self.by_name.get(manifest.id.as_str()) == Some(&index)).then_some(manifest)
        })
    }
}

fn clash(
    name: &ExecutorId,
    claim: &[usize],
    all: &[Arc<Manifest>],
    winner: Option<usize>,
) -> Problem {
    let who: Vec<String> = claim.iter().map(|index| origin(&all[*index])).collect();
    let message = format!("the name `{name}` is claimed by {}", who.join(" and "));
    let help = match winner {
        Some(_) => format!("bundled names can't be taken: `{name}` stays the bundled executor"),
        None => "neither gets it: remove one, or change its id or alias".to_owned(),
    };
    Problem::error(Code::Claimed, message).help(help)
}
