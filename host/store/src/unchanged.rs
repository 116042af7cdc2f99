//! What was known of a whole flow when every one of its results stood, in its owner's own words, beside the count of changes that it holds for.

use polyloom_model::Digest;
use rusqlite::OptionalExtension;

use crate::blobs::SMALL;
use crate::fault::Fault;
use crate::results::sum_of;
use crate::store::Store;
use crate::tree::Listing;

/// So many flows are known at most: those that were used last.
const MOST: u32 = 64;
/// What is known of one may have this many bytes.
const LARGEST: usize = 8 << 20;

impl Store {
    /// How often a recorded result, or the bytes of a small output, was replaced, changed or lost. While it stays the same, every result that
    /// stood still does, as far as the files of its large outputs are there: see [`Store::large_stand`].
    pub fn changes(&self) -> Result<u64, Fault> {
        let count: Option<i64> = self.query(|index| {
            index
                .prepare_cached("SELECT value FROM counters WHERE name = 'changes'")?
                .query_row([], |row| row.get(0))
                .optional()
        })?;
        count.and_then(|count| u64::try_from(count).ok()).ok_or_else(|| self.row("counter"))
    }

    /// Whether a store stands behind this one: what it has is not counted here.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.behind.is_none()
    }

    /// The files that an output of this digest and size rests on. `None`: they can't be told by their names.
    #[must_use]
    pub fn large(&self, digest: &Digest, size: u64, is_dir: bool) -> Option<Vec<(Digest, u64)>> {
        let large = |(_, size): &(Digest, u64)| *size > SMALL;
        if !is_dir {
            return Some([(*digest, size)].into_iter().filter(large).collect());
        }
        let listing: Listing = self.listing(digest).ok()?;
        // The listing itself has to be a small one, which is counted.
        if self.encode(&listing).ok()?.len() as u64 > SMALL {
            return None;
        }
        let files = listing.values().flatten().map(|entry| (entry.digest, entry.size));
        Some(files.filter(large).collect())
    }

    /// Whether all these files are as they were stored, as far as their stat tells.
    #[must_use]
    pub fn large_stand(&self, files: &[(Digest, u64)]) -> bool {
        files.iter().all(|(digest, size)| self.stands(digest, *size))
    }

    /// What is known under a key. What is damaged is not.
    pub fn unchanged(&self, key: &Digest) -> Result<Option<Vec<u8>>, Fault> {
        let found: Option<(Vec<u8>, Vec<u8>)> = self.query(|index| {
            index
                .prepare_cached("SELECT data, sum FROM unchanged WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        let whole = found.filter(|(data, sum)| *sum == sum_of(&[key.as_bytes(), data.as_slice()]));
        Ok(whole.map(|(data, _)| data))
    }

    /// Keeps what is known under a key; too much of it is not kept.
    pub fn keep_unchanged(&self, key: &Digest, data: &[u8], unix_ms: u64) -> Result<(), Fault> {
        if data.len() > LARGEST {
            return Ok(());
        }
        let used = i64::try_from(self.at(unix_ms)).unwrap_or(i64::MAX);
        let sum = sum_of(&[key.as_bytes(), data]);
        self.write(|index| {
            index.execute(
                "INSERT OR REPLACE INTO unchanged (key, used, sum, data) VALUES (?1, ?2, ?3, ?4)",
                (key.as_bytes(), used, &sum[..], data),
            )?;
            index.execute(
                "DELETE FROM unchanged WHERE key NOT IN (SELECT key FROM unchanged ORDER BY used DESC, key LIMIT ?1)",
                [MOST],
            )?;
            Ok(())
        })
    }
}
