//! What is in a store, read from its folders and its index. What can't be read any more counts as not there.

use std::collections::{BTreeMap, HashMap};
use std::time::UNIX_EPOCH;

use polyloom_model::Digest;
use polyloom_protocol::meta::ArtifactMeta;

use super::worth::{Blob, Holdings, Program, Row};
use crate::fault::Fault;
use crate::index;
use crate::layout;
use crate::results::{is_spent, marks_of};
use crate::store::Store;

impl Store {
    pub(super) fn holdings(&self) -> Result<Holdings, Fault> {
        let (blobs, rows) = (self.all_blobs()?, self.all_results()?);
        Ok(Holdings { blobs, rows, programs: self.all_programs()? })
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = self.dir.read_dir(folder) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    pub(crate) fn all_blobs(&self) -> Result<HashMap<Digest, Blob>, Fault> {
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
                let Some(digest) = key_of(row) else { continue };
                let number = |at: usize| u64::try_from(row.get(at).unwrap_or(0_i64)).unwrap_or(0);
                let (size, used) = (number(1), number(2));
                let blob = blobs.entry(digest).or_insert(Blob { size, used });
                blob.used = blob.used.max(used);
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    pub(super) fn all_programs(&self) -> Result<Vec<Program>, Fault> {
        let found = self.query(|index| {
            let mut statement = index.prepare_cached("SELECT digest, used FROM programs")?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let used = u64::try_from(row.get(1).unwrap_or(0_i64)).unwrap_or(0);
                found.extend(key_of(row).map(|digest| (digest, used)));
            }
            Ok(found)
        })?;
        let program = |(digest, used)| {
            // A program may be a blob that happens not to be a listing.
            let files = self.listing(&digest).unwrap_or_default();
            let mut blobs = vec![digest];
            blobs.extend(files.values().flatten().map(|entry| entry.digest));
            Program { used, blobs }
        };
        Ok(found.into_iter().map(program).collect())
    }

    pub(super) fn all_results(&self) -> Result<Vec<Row>, Fault> {
        let raw = self.query(|index| {
            let mut statement = index
                .prepare_cached("SELECT key, used, evicted, outputs, wall, marks FROM results")?;
            let mut rows = statement.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let number = |at: usize| row.get::<_, i64>(at).unwrap_or(0);
                let text = |at: usize| row.get::<_, String>(at).unwrap_or_default();
                let Some(key) = key_of(row) else { continue };
                let used = u64::try_from(number(1)).unwrap_or(0);
                let wall = row.get::<_, f64>(4).unwrap_or(0.0);
                all.push((key, used, number(2) != 0, wall, (text(3), text(5))));
            }
            Ok(all)
        })?;
        let mut results = Vec::with_capacity(raw.len());
        for (key, used, evicted, wall_ms, (outputs, marks)) in raw {
            // A row that can't be read is looked up by nobody: it counts as a record without outputs.
            let read: Option<BTreeMap<String, ArtifactMeta>> = serde_json::from_str(&outputs).ok();
            let evicted = evicted || read.is_none();
            let mut outputs = Vec::new();
            let mut spent = Vec::new();
            let (text, marks) = (&marks, marks_of(&marks));
            for (port, output) in read.unwrap_or_default() {
                let Ok(digest) = output.digest.parse() else { continue };
                let mark = marks.get(&port).copied();
                let first = outputs.len();
                outputs.push((digest, mark));
                if output.r#type == "dir" && !evicted {
                    let listing = self.listing(&digest).unwrap_or_default();
                    outputs.extend(listing.values().flatten().map(|entry| (entry.digest, mark)));
                }
                if is_spent(text, &port) {
                    spent.extend(outputs[first..].iter().map(|(digest, _)| *digest));
                }
            }
            results.push(Row { key, used, wall_ms, evicted, outputs, spent });
        }
        Ok(results)
    }
}

/// The digest in a row's first column.
fn key_of(row: &rusqlite::Row<'_>) -> Option<Digest> {
    index::digest(row.get_ref(0).ok()?.as_blob().ok()?)
}

pub(super) fn parse(hex: &str) -> Option<Digest> {
    format!("b3:{hex}").parse().ok()
}

fn millis(time: std::time::SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
