//! Collection: evicts the blobs used least lately until the store fits, and clears what crashed writers left.
//! Records of results stay, so that reasons and history survive; they are marked as evicted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::UNIX_EPOCH;

use polyloom_model::Digest;
use polyloom_protocol::meta::ArtifactMeta;

use crate::fault::Fault;
use crate::index;
use crate::layout;
use crate::store::Store;

/// Another process may be about to use what it looked up: while other stores are open, nothing younger is evicted.
pub(crate) const GRACE_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// What a collection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcRequest {
    /// The size the blobs are to be brought down to, in bytes.
    pub max_bytes: u64,
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
    /// Laid-out directories removed; they are made again on demand.
    pub trees: u64,
    /// Files and folders left by writers that died.
    pub stale: u64,
    /// Bytes of blobs that remain.
    pub left: u64,
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
    /// Compiled programs.
    pub programs: u64,
    /// Bytes of the index file.
    pub index_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Blob {
    size: u64,
    used: u64,
}

impl Store {
    /// Counts what is in the store.
    pub fn usage(&self) -> Result<Usage, Fault> {
        self.flush()?;
        let blobs = self.all_blobs()?;
        let count = |sql: &str| {
            let counted = self.query(|index| index.query_row(sql, [], |row| row.get::<_, i64>(0)));
            counted.map(|count| u64::try_from(count).unwrap_or(0))
        };
        Ok(Usage {
            blobs: blobs.len() as u64,
            bytes: blobs.values().map(|blob| blob.size).sum(),
            results: count("SELECT count(*) FROM results")?,
            evicted: count("SELECT count(*) FROM results WHERE evicted = 1")?,
            programs: count("SELECT count(*) FROM programs")?,
            index_bytes: self.dir.metadata(layout::INDEX).map_or(0, |meta| meta.len()),
        })
    }

    /// Evicts the blobs used least lately until at most `max_bytes` are left. While other processes have the store
    /// open, what was used within the last hour stays.
    pub fn gc(&self, request: GcRequest) -> Result<GcReport, Fault> {
        self.flush()?;
        // The lock is ours shared; to get it alone means that no other process is here. A failed try loses the shared
        // lock too (flock(2), "converting a lock"), so it is taken again either way.
        let shared = || self.lock.lock_shared().map_err(|e| Fault::io("lock", &self.root, e));
        let alone = self.lock.try_lock().is_ok();
        if !alone {
            shared()?;
        }
        let report = self.collect(request, alone);
        shared()?;
        report
    }

    fn collect(&self, request: GcRequest, alone: bool) -> Result<GcReport, Fault> {
        let mut blobs = self.all_blobs()?;
        let results = self.all_results()?;
        for (digest, used) in self.uses(&results)? {
            if let Some(blob) = blobs.get_mut(&digest) {
                blob.used = blob.used.max(used);
            }
        }
        let mut left: u64 = blobs.values().map(|blob| blob.size).sum();
        let youngest = if alone { u64::MAX } else { request.now_unix_ms.saturating_sub(GRACE_MS) };
        let mut order: Vec<_> = blobs.iter().filter(|(_, b)| b.used < youngest).collect();
        order.sort_by_key(|(digest, blob)| (blob.used, **digest));
        let mut gone = HashSet::new();
        let mut report = GcReport::default();
        for (digest, blob) in order {
            if left <= request.max_bytes {
                break;
            }
            left -= blob.size;
            report.blobs += 1;
            report.bytes += blob.size;
            gone.insert(*digest);
        }
        report.left = left;
        // What went without us (from a full disk, by hand) is as lost.
        let lacks = |digest: &Digest| gone.contains(digest) || !blobs.contains_key(digest);
        let lost: Vec<_> = results
            .iter()
            .filter(|row| !row.evicted && row.outputs.iter().any(&lacks))
            .map(|row| row.key)
            .collect();
        report.results = lost.len() as u64;
        if !request.dry_run {
            self.evict(&gone, &lost)?;
            report.trees = self.drop_trees(&gone);
        }
        report.stale = self.clear_temporary(request, alone)?;
        Ok(report)
    }

    /// Rows first: a crash in between leaves files that nothing names, never names without files.
    fn evict(&self, gone: &HashSet<Digest>, lost: &[Digest]) -> Result<(), Fault> {
        self.write(|index| {
            let mut blob = index.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?;
            for digest in gone {
                blob.execute([digest.as_bytes()])?;
            }
            let mut mark = index.prepare_cached("UPDATE results SET evicted = 1 WHERE key = ?1")?;
            for key in lost {
                mark.execute([key.as_bytes()])?;
            }
            let mut program = index.prepare_cached("DELETE FROM programs WHERE digest = ?1")?;
            for digest in gone {
                program.execute([digest.as_bytes()])?;
            }
            Ok(())
        })?;
        for digest in gone {
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
            let changed = meta.modified().map(|time| millis(time.into_std())).unwrap_or(0);
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

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = self.dir.read_dir(folder) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn all_blobs(&self) -> Result<HashMap<Digest, Blob>, Fault> {
        let mut blobs = HashMap::new();
        for folder in self.names(layout::BLOBS) {
            let folder = format!("{}/{folder}", layout::BLOBS);
            for name in self.names(&folder) {
                let Some(digest) = parse(&name) else { continue };
                let Ok(meta) = self.dir.symlink_metadata(format!("{folder}/{name}")) else {
                    continue;
                };
                let used = meta.accessed().map(|time| millis(time.into_std())).unwrap_or(0);
                blobs.insert(digest, Blob { size: meta.len(), used });
            }
        }
        self.query(|index| {
            let mut statement = index.prepare_cached("SELECT digest, size, used FROM blobs")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let Some(digest) = index::digest(row.get_ref(0)?.as_blob()?) else { continue };
                let number = |value: i64| u64::try_from(value).unwrap_or(0);
                let (size, used) = (number(row.get(1)?), number(row.get(2)?));
                let blob = blobs.entry(digest).or_insert(Blob { size, used });
                blob.used = blob.used.max(used);
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    /// When each blob was last used, as far as results and programs tell.
    fn uses(&self, results: &[Row]) -> Result<HashMap<Digest, u64>, Fault> {
        let mut uses = HashMap::new();
        let mut note = |digest: Digest, used: u64| {
            let entry = uses.entry(digest).or_insert(used);
            *entry = used.max(*entry);
        };
        for row in results {
            row.outputs.iter().for_each(|digest| note(*digest, row.used));
        }
        let programs = self.query(|index| {
            let mut statement = index.prepare_cached("SELECT digest, used FROM programs")?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let used = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
                found.extend(index::digest(row.get_ref(0)?.as_blob()?).map(|d| (d, used)));
            }
            Ok(found)
        })?;
        for (digest, used) in programs {
            note(digest, used);
            // A program may be a blob that happens not to be a listing.
            let files = self.listing(&digest).unwrap_or_default();
            files.values().flatten().for_each(|entry| note(entry.digest, used));
        }
        Ok(uses)
    }

    fn all_results(&self) -> Result<Vec<Row>, Fault> {
        let raw = self.query(|index| {
            let mut statement =
                index.prepare_cached("SELECT key, used, evicted, outputs FROM results")?;
            let rows = statement.query_map([], |row| {
                Ok((
                    index::digest(row.get_ref(0)?.as_blob()?),
                    row.get::<_, i64>(1)?,
                    row.get::<_, bool>(2)?,
                    row.get::<_, String>(3)?,
                ))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let mut results = Vec::with_capacity(raw.len());
        for (key, used, evicted, outputs) in raw {
            let outputs: BTreeMap<String, ArtifactMeta> =
                serde_json::from_str(&outputs).map_err(|_| self.row("result"))?;
            let mut digests = Vec::new();
            for output in outputs.values() {
                let Ok(digest) = output.digest.parse() else { continue };
                digests.push(digest);
                if output.r#type == "dir" && !evicted {
                    let listing = self.listing(&digest).unwrap_or_default();
                    digests.extend(listing.values().flatten().map(|entry| entry.digest));
                }
            }
            let key = key.ok_or_else(|| self.row("result"))?;
            let used = u64::try_from(used).unwrap_or(0);
            results.push(Row { key, used, evicted, outputs: digests });
        }
        Ok(results)
    }
}

struct Row {
    key: Digest,
    used: u64,
    evicted: bool,
    outputs: Vec<Digest>,
}

fn parse(hex: &str) -> Option<Digest> {
    format!("b3:{hex}").parse().ok()
}

fn millis(time: std::time::SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
