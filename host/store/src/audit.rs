//! A look at everything: each blob is hashed, each row is read, the index is checked. Used by people; runs look only at what they use.

use polyloom_model::Digest;
use thiserror::Error;

use crate::blobs::ReadError;
use crate::fault::Fault;
use crate::results::StoredResult;
use crate::store::Store;

/// What becomes of what is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// It is only told.
    No,
    /// It is removed, so that whoever needs it makes it again.
    Yes,
}

/// Something that is not as it should be.
#[derive(Debug, Error)]
pub enum Damage {
    /// A blob's bytes.
    #[error(transparent)]
    Blob(ReadError),
    /// A row of the index.
    #[error("the record of result `{key}` can't be read")]
    Row {
        /// The result's key.
        key: Digest,
    },
    /// A result whose outputs are not all there, though no collection removed them.
    #[error("the result of `{cell}` lacks an output")]
    Incomplete {
        /// The result's key.
        key: Digest,
        /// The cell that made it.
        cell: String,
    },
    /// The index as a file.
    #[error("the index is damaged: {text}")]
    Index {
        /// SQLite's words.
        text: String,
    },
}

/// What was looked at and what was found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Results.
    pub results: u64,
    /// What is damaged.
    pub damaged: Vec<Damage>,
}

impl Store {
    /// Looks at everything. `progress` hears the bytes hashed so far and those to hash.
    pub fn audit(&self, mend: Mend, progress: &mut dyn FnMut(u64, u64)) -> Result<Audit, Fault> {
        self.flush()?;
        let mut audit = Audit::default();
        if let Some(text) = self.check_index()? {
            audit.damaged.push(Damage::Index { text });
        }
        let blobs = self.all_blobs()?;
        let total = blobs.values().fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
        let mut order: Vec<_> = blobs.into_iter().collect();
        order.sort_unstable_by_key(|(digest, _)| *digest);
        for (digest, blob) in order {
            progress(audit.bytes, total);
            audit.blobs += 1;
            audit.bytes = audit.bytes.saturating_add(blob.size);
            match self.verify(&digest) {
                Ok(()) => {}
                // A collection at the same time.
                Err(ReadError::Missing { .. }) => audit.blobs -= 1,
                Err(error) => {
                    if mend == Mend::Yes {
                        self.discard(&digest);
                    }
                    audit.damaged.push(Damage::Blob(error));
                }
            }
        }
        self.audit_results(mend, &mut audit)?;
        progress(total, total);
        Ok(audit)
    }

    fn audit_results(&self, mend: Mend, audit: &mut Audit) -> Result<(), Fault> {
        const AT_ONCE: usize = 1000;
        let keys = self.all_keys()?;
        audit.results = keys.len() as u64;
        let mut unreadable = Vec::new();
        let mut incomplete = Vec::new();
        for keys in keys.chunks(AT_ONCE) {
            let found = self.lookup_many(&keys.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
            for (key, marked) in keys {
                match found.get(key) {
                    None => unreadable.push(*key),
                    Some(result) if !marked && (result.evicted || self.lacks(result)) => {
                        incomplete.push(*key);
                        let cell = result.cell.clone();
                        audit.damaged.push(Damage::Incomplete { key: *key, cell });
                    }
                    Some(_) => {}
                }
            }
        }
        audit.damaged.extend(unreadable.iter().map(|key| Damage::Row { key: *key }));
        if mend == Mend::Yes {
            self.write(|index| {
                let mut forget = index.prepare_cached("DELETE FROM results WHERE key = ?1")?;
                for key in &unreadable {
                    forget.execute([key.as_bytes()])?;
                }
                let mut mark =
                    index.prepare_cached("UPDATE results SET evicted = 1 WHERE key = ?1")?;
                for key in &incomplete {
                    mark.execute([key.as_bytes()])?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Whether a blob is not there that a look at stats does not show: the small ones, which are rows.
    fn lacks(&self, result: &StoredResult) -> bool {
        let needed = result.outputs.iter().filter(|(port, _)| !result.gone.contains(port));
        let mut digests = needed.filter_map(|(_, output)| output.digest.parse().ok());
        digests.any(|digest| !self.has(&digest).unwrap_or(true))
    }

    /// All keys, and whether their results are marked as evicted.
    pub(crate) fn all_keys(&self) -> Result<Vec<(Digest, bool)>, Fault> {
        self.query(|index| {
            let mut statement = index.prepare_cached("SELECT key, evicted FROM results")?;
            let mut rows = statement.query([])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let Ok(bytes) = row.get_ref(0)?.as_blob() else { continue };
                let marked = row.get(1).unwrap_or(0_i64) != 0;
                keys.extend(crate::index::digest(bytes).map(|key| (key, marked)));
            }
            Ok(keys)
        })
    }

    fn check_index(&self) -> Result<Option<String>, Fault> {
        let text: String =
            self.query(|index| index.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
        Ok((text != "ok").then_some(text))
    }
}
