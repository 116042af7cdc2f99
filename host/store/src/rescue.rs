//! Collection where the index can't be opened or written because the disk is full: by what the file system alone tells.
//!
//! Files go before the rows that name them, the other way round than in `gc`. A result whose files are gone counts as
//! evicted wherever it is looked up, and the collection that follows marks it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fail::point;
use crate::fault::Fault;
use crate::gc::{GRACE_MS, GcReport, GcRequest};
use crate::layout;
use crate::store::{OpenError, Store, clear};

/// What the index needs to open and to note what has gone.
const ROOM: u64 = 4 << 20;

/// Opens the store in `root` and collects. On a full disk the blobs used least lately go first, as many as the index needs to
/// be opened at least.
pub fn collect(root: &Path, request: GcRequest) -> Result<GcReport, OpenError> {
    let whole = || -> Result<GcReport, OpenError> { Ok(Store::open(root)?.gc(request)?) };
    match whole() {
        Err(OpenError::Fault(fault)) if fault.is_full() && !request.dry_run => {
            let first = make_room(root, request)?;
            let then = whole()?;
            Ok(GcReport {
                blobs: first.blobs + then.blobs,
                bytes: first.bytes + then.bytes,
                trees: first.trees + then.trees,
                ..then
            })
        }
        other => other,
    }
}

/// Moves an index that can't be read out of the way, so that the store begins a new one. Gives the place it is at now. Artifacts stay,
/// and are used again by the results that make them. Nobody else may have the store open.
pub fn renew_index(root: &Path) -> Result<PathBuf, Fault> {
    let lock = lock(root)?;
    lock.try_lock().map_err(|error| Fault::io("have alone the store", root, error.into()))?;
    let index = root.join(layout::INDEX);
    let free = |n: &u32| !root.join(format!("{}.damaged-{n}", layout::INDEX)).exists();
    let n = (1..).find(free).unwrap_or(0);
    let aside = root.join(format!("{}.damaged-{n}", layout::INDEX));
    // Its log first: with a new index it must not be read.
    for rest in ["-wal", "-shm"] {
        let from = root.join(format!("{}{rest}", layout::INDEX));
        let to = root.join(format!("{}.damaged-{n}{rest}", layout::INDEX));
        match fs::rename(&from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fault::io("move away", &from, error));
            }
            _ => {}
        }
    }
    point("log moved away");
    fs::rename(&index, &aside).map_err(|error| Fault::io("move away", &index, error))?;
    Ok(aside)
}

fn make_room(root: &Path, request: GcRequest) -> Result<GcReport, Fault> {
    let lock = lock(root)?;
    let alone = lock.try_lock().is_ok();
    let mut report = GcReport::default();
    if alone {
        clear(&root.join(layout::TMP));
        // Laid-out directories are links to blobs, which would keep their bytes. They are made again on demand.
        report.trees = fs::read_dir(root.join(layout::TREES)).map_or(0, |all| all.count() as u64);
        clear(&root.join(layout::TREES));
    }
    let mut blobs = blobs(root);
    blobs.sort_unstable();
    let mut left: u64 = blobs.iter().map(|(_, size, _)| size).sum();
    let youngest = if alone { u64::MAX } else { request.now_unix_ms.saturating_sub(GRACE_MS) };
    let most = request.bounds.max_bytes.unwrap_or(u64::MAX);
    let wanted = most.min(left.saturating_sub(ROOM));
    for (used, size, path) in blobs {
        if left <= wanted || used >= youngest {
            break;
        }
        if fs::remove_file(path).is_ok() {
            left -= size;
            report.blobs += 1;
            report.bytes += size;
        }
    }
    report.left = left;
    Ok(report)
}

fn lock(root: &Path) -> Result<File, Fault> {
    let path = root.join(layout::LOCK);
    let open = OpenOptions::new().read(true).write(true).open(&path);
    open.map_err(|error| Fault::io("open", &path, error))
}

/// When each blob's file was last used in milliseconds, its size, its path.
fn blobs(root: &Path) -> Vec<(u64, u64, PathBuf)> {
    let folders = fs::read_dir(root.join(layout::BLOBS)).into_iter().flatten().flatten();
    let files =
        folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    let told = files.filter_map(|file| {
        let meta = file.metadata().ok().filter(fs::Metadata::is_file)?;
        let used = u64::try_from(meta.atime()).unwrap_or(0).saturating_mul(1000);
        Some((used, meta.len(), file.path()))
    });
    told.collect()
}
