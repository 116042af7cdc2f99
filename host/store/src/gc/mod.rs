//! Collection: evicts what is cheapest to make again until the store keeps its bounds, and clears what crashed writers left.
//! Records of results stay, so that reasons survive; they are marked as evicted.

mod scan;
mod temporary;
mod worth;

use std::collections::HashSet;

use cap_std::fs::MetadataExt;
use polyloom_model::{Digest, Mark};

use self::scan::parse;
pub use self::temporary::{Dropped, Spent};
pub use self::worth::{Bounds, Kept};
use crate::fail::point;
use crate::fault::Fault;
use crate::layout;
use crate::store::{Store, turn};

/// Another process may be about to use what it looked up: while other stores are open, nothing younger is evicted.
pub(crate) const GRACE_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;
/// So often at most a run looks for something to remove.
const PAUSE_MS: u64 = 600_000;

/// What a collection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcRequest {
    /// What the store is brought down to.
    pub bounds: Bounds,
    /// Only say what would go.
    pub dry_run: bool,
    /// The time now, milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs evicted.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Results that are now records only.
    pub results: u64,
    /// Records that are forgotten.
    pub records: u64,
    /// Laid-out directories removed; they are made again on demand.
    pub trees: u64,
    /// Files and folders left by writers that died.
    pub stale: u64,
    /// Bytes of blobs that remain.
    pub left: u64,
    /// Those of them that no bound removes, since a flow says so.
    pub kept: u64,
}

/// What is in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records of results.
    pub results: u64,
    /// Those of them whose blobs were evicted.
    pub evicted: u64,
    /// Bytes that no bound removes, since a flow says so.
    pub kept: u64,
    /// Bytes that go first: temporary outputs whose cells were not all through, or that a run had no time to remove.
    pub temporary: u64,
    /// Compiled programs.
    pub programs: u64,
    /// Bytes of the index file.
    pub index_bytes: u64,
}

/// Which blobs are spared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    /// Those used within the last hour, if others have the store open.
    OfOthers,
    /// Those used within the last hour.
    Young,
}

impl Store {
    /// Counts what is in the store.
    pub fn usage(&self) -> Result<Usage, Fault> {
        self.flush()?;
        let all = self.holdings()?;
        let (kept, temporary) = worth::marked(&all);
        let blobs = all.blobs;
        let count = |sql: &str| {
            let counted = self.query(|index| index.query_row(sql, [], |row| row.get::<_, i64>(0)));
            counted.map(|count| u64::try_from(count).unwrap_or(0))
        };
        Ok(Usage {
            blobs: blobs.len() as u64,
            bytes: worth::sum(blobs.values().map(|blob| blob.size)),
            results: count("SELECT count(*) FROM results")?,
            evicted: count("SELECT count(*) FROM results WHERE evicted = 1")?,
            kept,
            temporary,
            programs: count("SELECT count(*) FROM programs")?,
            index_bytes: self.dir.metadata(layout::INDEX).map_or(0, |meta| meta.len()),
        })
    }

    /// Brings the store within its bounds. While other processes have it open, what was used within the last hour stays.
    pub fn gc(&self, request: GcRequest) -> Result<GcReport, Fault> {
        self.gc_sparing(request, Spare::OfOthers)
    }

    /// What a run does at its end: nothing, unless the store has outgrown its bounds by what it has counted of itself, or was
    /// not looked at for a day where age is a bound. Then it goes down to nine tenths, so that the next run need not.
    /// What was used within the last hour stays.
    pub fn tidy(&self, bounds: Bounds, now_unix_ms: u64) -> Result<Option<GcReport>, Fault> {
        self.flush()?;
        let since = self.counter("collected")?.map(|then| now_unix_ms.saturating_sub(then));
        if since.is_some_and(|since| since < PAUSE_MS) {
            return Ok(None);
        }
        let most = bounds.max_bytes.unwrap_or(u64::MAX);
        let over = most < u64::MAX && self.counter("bytes")?.is_none_or(|bytes| bytes > most);
        let old = bounds.max_age_ms.is_some() && since.is_none_or(|since| since > DAY_MS);
        if !over && !old {
            return Ok(None);
        }
        let bounds = Bounds { max_bytes: bounds.max_bytes.map(|most| most / 10 * 9), ..bounds };
        let request = GcRequest { bounds, dry_run: false, now_unix_ms };
        self.gc_sparing(request, Spare::Young).map(Some)
    }

    fn gc_sparing(&self, request: GcRequest, spare: Spare) -> Result<GcReport, Fault> {
        self.asking_who_is_here(|alone| self.collect(request, spare, alone))
    }

    /// Does something that depends on whether no other process has the store open. Nobody opens it meanwhile, if so.
    fn asking_who_is_here<T>(
        &self,
        body: impl FnOnce(bool) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.flush()?;
        // The lock is ours shared; to get it alone means that no other process is here. A failed try loses the shared lock, too.
        let shared = || self.lock.lock_shared().map_err(|e| Fault::io("lock", &self.root, e));
        let turn = turn(&self.root)?;
        let alone = self.lock.try_lock().is_ok();
        if !alone {
            shared()?;
        }
        drop(turn);
        let done = body(alone);
        shared()?;
        done
    }

    fn collect(&self, request: GcRequest, spare: Spare, alone: bool) -> Result<GcReport, Fault> {
        let all = self.holdings()?;
        let now = request.now_unix_ms;
        let youngest = match spare {
            Spare::OfOthers if alone => u64::MAX,
            Spare::OfOthers | Spare::Young => now.saturating_sub(GRACE_MS),
        };
        let choice = worth::choose(&all, &request.bounds, now, youngest);
        let gone: HashSet<Digest> = choice.blobs.iter().copied().collect();
        // What went without us (from a full disk, by hand) is as lost.
        let lacks = |digest: &Digest| gone.contains(digest) || !all.blobs.contains_key(digest);
        let lost: Vec<_> = all
            .rows
            .iter()
            .filter(|row| {
                // A result stands without its temporary outputs.
                let lost =
                    |(digest, mark): &(Digest, _)| *mark != Some(Mark::Temp) && lacks(digest);
                !row.evicted && row.outputs.iter().any(lost)
            })
            .map(|row| row.key)
            .collect();
        let mut report = GcReport {
            blobs: choice.blobs.len() as u64,
            bytes: worth::sum(choice.blobs.iter().map(|digest| all.blobs[digest].size)),
            results: lost.len() as u64,
            records: choice.records.len() as u64,
            left: choice.left,
            kept: choice.kept,
            ..GcReport::default()
        };
        if !request.dry_run {
            self.evict(&gone, &lost, &choice.records)?;
            report.trees = self.drop_trees(&gone);
            point("trees dropped");
            self.count(choice.left, now)?;
        }
        report.stale = self.clear_temporary(request, alone)?;
        Ok(report)
    }

    /// Rows first: a crash in between leaves files that nothing names, never names without files.
    fn evict(
        &self,
        gone: &HashSet<Digest>,
        lost: &[Digest],
        records: &[Digest],
    ) -> Result<(), Fault> {
        self.write(|index| {
            let mut blob = index.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?;
            let mut program = index.prepare_cached("DELETE FROM programs WHERE digest = ?1")?;
            for digest in gone {
                blob.execute([digest.as_bytes()])?;
                program.execute([digest.as_bytes()])?;
            }
            let mut mark = index.prepare_cached("UPDATE results SET evicted = 1 WHERE key = ?1")?;
            for key in lost {
                mark.execute([key.as_bytes()])?;
            }
            let mut result = index.prepare_cached("DELETE FROM results WHERE key = ?1")?;
            let mut meta = index.prepare_cached("DELETE FROM metas WHERE key = ?1")?;
            for key in records {
                result.execute([key.as_bytes()])?;
                meta.execute([key.as_bytes()])?;
            }
            Ok(())
        })?;
        for digest in gone {
            point("blob evicted");
            let _ = self.dir.remove_file(layout::blob(digest));
        }
        Ok(())
    }

    /// Laid-out directories keep blobs' bytes alive through their links, so those that name an evicted blob go too.
    fn drop_trees(&self, gone: &HashSet<Digest>) -> u64 {
        let mut dropped = 0;
        for name in self.names(layout::TREES) {
            let whole = parse(&name).is_some_and(|digest| {
                self.listing(&digest).is_ok_and(|listing| {
                    !listing.values().flatten().any(|entry| gone.contains(&entry.digest))
                })
            });
            if !whole && self.dir.remove_dir_all(format!("{}/{name}", layout::TREES)).is_ok() {
                dropped += 1;
            }
        }
        dropped
    }

    fn clear_temporary(&self, request: GcRequest, alone: bool) -> Result<u64, Fault> {
        let mut stale = 0;
        for name in self.names(layout::TMP) {
            let path = format!("{}/{name}", layout::TMP);
            let Ok(meta) = self.dir.symlink_metadata(&path) else { continue };
            // Not by the modification time: a blob has that of all blobs before it gets its name.
            let changed = u64::try_from(meta.ctime()).unwrap_or(0).saturating_mul(1000);
            if !alone && changed.saturating_add(DAY_MS) > request.now_unix_ms {
                continue;
            }
            stale += 1;
            if !request.dry_run {
                let removed = if meta.is_dir() {
                    self.dir.remove_dir_all(&path)
                } else {
                    self.dir.remove_file(&path)
                };
                removed.map_err(|error| self.io("remove", &path, error))?;
            }
        }
        Ok(stale)
    }

    /// What the store has counted of itself: `bytes` since the last collection, or when that was.
    fn counter(&self, name: &str) -> Result<Option<u64>, Fault> {
        use rusqlite::OptionalExtension;
        let value: Option<i64> = self.query(|index| {
            index
                .prepare_cached("SELECT value FROM counters WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })?;
        Ok(value.map(|value| u64::try_from(value).unwrap_or(0)))
    }

    /// Bytes that went between two collections.
    fn discount(&self, bytes: u64) -> Result<(), Fault> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.write(|index| {
            index.execute(
                "UPDATE counters SET value = max(0, value - ?1) WHERE name = 'bytes'",
                [bytes],
            )?;
            Ok(())
        })
    }

    fn count(&self, bytes: u64, now_unix_ms: u64) -> Result<(), Fault> {
        let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.write(|index| {
            let mut set =
                index.prepare_cached("INSERT OR REPLACE INTO counters VALUES (?1, ?2)")?;
            set.execute(("bytes", signed(bytes)))?;
            set.execute(("collected", signed(now_unix_ms)))?;
            Ok(())
        })
    }
}
