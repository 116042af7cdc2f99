//! Temporary outputs go as soon as a run says that nobody needs them: their bytes, not the record. Knows no runs.
//!
//! What another result, or a program, has a right to stays (a result that gave its bytes up has none to what comes with the same), and so does everything while others have the store open: they may be about
//! to read it. A collection takes it later, before all else.

use std::collections::HashSet;

use polyloom_model::{Digest, Mark};

use crate::fault::Fault;
use crate::seen::ArtifactKind;
use crate::store::Store;

/// An output that nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// The key of its result, which has to call it temporary.
    pub key: Digest,
    /// The output.
    pub digest: Digest,
    /// What it is.
    pub kind: ArtifactKind,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes the bytes of temporary outputs. Blobs that are rows of the index stay: they take no room worth the work.
    pub fn drop_temporary(&self, spent: &[Spent]) -> Result<Dropped, Fault> {
        self.asking_who_is_here(
            |alone| {
                if alone { self.drop_alone(spent) } else { Ok(Dropped::default()) }
            },
        )
    }

    fn drop_alone(&self, spent: &[Spent]) -> Result<Dropped, Fault> {
        let mut given: HashSet<(Digest, Digest)> = HashSet::new();
        for Spent { key, digest, kind } in spent {
            match kind {
                ArtifactKind::Blob => {
                    given.insert((*key, *digest));
                }
                // Its listing stays: it is what is known of it.
                ArtifactKind::Dir => {
                    let listing = self.listing(digest).unwrap_or_default();
                    given.extend(listing.values().flatten().map(|entry| (*key, entry.digest)));
                }
            }
        }
        let mut gone: HashSet<Digest> = given.iter().map(|(_, digest)| *digest).collect();
        let mut known: HashSet<(Digest, Digest)> = HashSet::new();
        for row in self.all_results()?.iter().filter(|row| !row.evicted) {
            for (digest, mark) in &row.outputs {
                let spent = row.spent.contains(digest);
                if *mark != Some(Mark::Temp) || !spent && !given.contains(&(row.key, *digest)) {
                    gone.remove(digest);
                }
            }
            known.extend(row.spent.iter().map(|digest| (row.key, *digest)));
        }
        let spent = spent.iter().map(|spent| (spent.key, spent.digest));
        self.give_up(&spent.filter(|spent| !known.contains(spent)).collect::<Vec<_>>())?;
        for program in self.all_programs()? {
            program.blobs.iter().for_each(|digest| {
                gone.remove(digest);
            });
        }
        gone.retain(|digest| self.has_file(digest, None));
        let sizes = gone.iter().filter_map(|digest| self.size(digest).ok());
        let dropped = Dropped { blobs: gone.len() as u64, bytes: super::worth::sum(sizes) };
        if !gone.is_empty() {
            self.evict(&gone, &[], &[])?;
            self.drop_trees(&gone);
            self.discount(dropped.bytes)?;
        }
        Ok(dropped)
    }
}
