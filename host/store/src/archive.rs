//! Results with their artifacts as one file, to carry to another store. The README describes the format.
//!
//! It names nothing by path, so there is nothing to escape from. Blobs are taken for what they are, not for what they are called;
//! results only once the whole file was seen and is what was written. Whether what a result says is true, nobody can check.

mod wire;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read, Write};

use polyloom_model::{Digest, Mark};
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta};
use thiserror::Error;

use self::wire::{Record, Row, Tally, unreadable};
use crate::blobs::{ReadError, SMALL};
use crate::fail::point;
use crate::fault::Fault;
use crate::store::Store;

const MAGIC: &[u8] = b"polyloom-archive/1\n";
/// All results of an archive together; they are in memory until its end is seen.
const MAX_RESULTS: u64 = 1 << 30;
const BUFFER: usize = 256 << 10;

/// Why an archive could not be written or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It does not begin as an archive does.
    #[error(
        "it is no archive of a polyloom store, or one of a version that this program does not know"
    )]
    Magic,
    /// It ends before its end.
    #[error("it ends too early: part of the archive is missing")]
    Short,
    /// A record that no version of this program writes.
    #[error("it holds an unreadable record: {what}")]
    Record {
        /// What is wrong with it.
        what: String,
    },
    /// A blob that is not what it is called.
    #[error("it is damaged: what is called `{named}` has the digest `{found}`")]
    Digest {
        /// What it is called.
        named: Digest,
        /// What it is.
        found: Digest,
    },
    /// Bytes have changed since it was written.
    #[error("it is damaged: its checksum is not that of its bytes")]
    Sum,
    /// The archive can't be read or written.
    #[error("it can't be read or written")]
    Io(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What was written, or taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Results.
    pub results: u64,
    /// Results that were left out: their outputs are not all there, or the store has them.
    pub left_out: u64,
}

impl Store {
    /// Writes all results whose outputs are all there, and these outputs. Every blob is looked at on its way.
    pub fn export(&self, target: &mut dyn Write) -> Result<Archived, ArchiveError> {
        self.flush()?;
        let mut archived = Archived::default();
        let mut out = Tally::new(target);
        out.put(MAGIC)?;
        let keys: Vec<Digest> = self.all_keys()?.into_iter().map(|(key, _)| key).collect();
        let mut results = Vec::new();
        let mut written: HashSet<Digest> = HashSet::new();
        for (_, result) in self.lookup_many(&keys)?.into_iter().collect::<BTreeMap<_, _>>() {
            // Temporary outputs that are gone are not missed there either.
            let needed = result.outputs.iter().filter(|(port, _)| !result.gone.contains(port));
            let blobs = self.blobs_of(needed).filter(|_| !result.evicted);
            let Some(blobs) = blobs else {
                archived.left_out += 1;
                continue;
            };
            let mut complete = true;
            for digest in blobs {
                if written.contains(&digest) {
                    continue;
                }
                match self.export_blob(&digest, &mut out)? {
                    Some(size) => {
                        written.insert(digest);
                        archived.blobs += 1;
                        archived.bytes += size;
                    }
                    None => complete = false,
                }
            }
            if complete { results.push(result) } else { archived.left_out += 1 }
        }
        for result in results {
            let meta = self.meta(&result.key)?.unwrap_or_else(|| ExecMeta::new(result.outcome));
            out.put_record(&Record::Result(Box::new(Row {
                key: result.key.to_string(),
                content: result.content_key.map(|key| key.to_string()),
                cell: result.cell,
                executor: result.executor,
                outcome: result.outcome,
                outputs: result.outputs.into_iter().collect(),
                marks: result.marks,
                created: result.created_unix_ms,
                meta,
            })))?;
            archived.results += 1;
        }
        let (records, sum) = (out.records, out.sum());
        out.put_record(&Record::End { records, sum })?;
        out.inner.flush()?;
        Ok(archived)
    }

    /// One blob; `None`, and nothing written, if it is damaged or gone.
    fn export_blob(
        &self,
        digest: &Digest,
        out: &mut Tally<&mut dyn Write>,
    ) -> Result<Option<u64>, ArchiveError> {
        let mut file = match self.small(digest) {
            Ok(Some(bytes)) => {
                let size = bytes.len() as u64;
                out.put_record(&Record::Blob { digest: digest.to_string(), size })?;
                out.put(&bytes)?;
                return Ok(Some(size));
            }
            Ok(None) => match self.whole(digest) {
                Ok(Some(file)) => file,
                Ok(None) | Err(_) => return Ok(None),
            },
            Err(ReadError::Fault(fault)) => return Err(fault.into()),
            Err(_) => return Ok(None),
        };
        let size = file.metadata()?.len();
        out.put_record(&Record::Blob { digest: digest.to_string(), size })?;
        let mut buffer = vec![0; BUFFER];
        let mut left = size;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut buffer[..most])?;
            if read == 0 {
                return Err(ArchiveError::Short);
            }
            out.put(&buffer[..read])?;
            left -= read as u64;
        }
        Ok(Some(size))
    }

    /// All blobs of outputs, the files of directories included. `None`: one can't be named or listed.
    fn blobs_of<'a>(
        &self,
        outputs: impl IntoIterator<Item = &'a (String, ArtifactMeta)>,
    ) -> Option<BTreeSet<Digest>> {
        let mut blobs = BTreeSet::new();
        for (_, output) in outputs {
            let digest: Digest = output.digest.parse().ok()?;
            blobs.insert(digest);
            if output.r#type == "dir" {
                let listing = self.listing(&digest).ok()?;
                blobs.extend(listing.values().flatten().map(|entry| entry.digest));
            }
        }
        Some(blobs)
    }

    /// Takes over an archive. Results that the store has stay as they are. If it fails, no result was taken over, and what was read
    /// of blobs is there without anybody referring to it.
    pub fn import(&self, source: &mut dyn Read, unix_ms: u64) -> Result<Archived, ArchiveError> {
        self.at(unix_ms);
        let mut archived = Archived::default();
        let mut source = Tally::new(source);
        let mut magic = [0; MAGIC.len()];
        source.take(&mut magic).map_err(|error| match error {
            ArchiveError::Short => ArchiveError::Magic,
            other => other,
        })?;
        if magic != MAGIC {
            return Err(ArchiveError::Magic);
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut rows_bytes = 0;
        loop {
            let before = source.records;
            match source.next_record()? {
                (Record::Blob { digest, size }, ..) => {
                    let named = digest.parse().map_err(|_| unreadable(&"a digest"))?;
                    self.import_blob(named, size, &mut source)?;
                    archived.blobs += 1;
                    archived.bytes = archived.bytes.saturating_add(size);
                }
                (Record::Result(row), length, _) => {
                    rows_bytes += length;
                    if rows_bytes > MAX_RESULTS {
                        return Err(unreadable(&"its results are too many"));
                    }
                    rows.push(*row);
                }
                (Record::End { records, sum }, _, found) => {
                    if records != before || sum != found {
                        return Err(ArchiveError::Sum);
                    }
                    break;
                }
            }
        }
        // Nothing behind its end: two archives in one file are none.
        if source.inner.read(&mut [0])? > 0 {
            return Err(unreadable(&"there is more behind its end"));
        }
        point("archive read");
        self.flush()?;
        self.import_rows(rows, &mut archived)?;
        Ok(archived)
    }

    fn import_rows(&self, rows: Vec<Row>, archived: &mut Archived) -> Result<(), ArchiveError> {
        let mut taken = Vec::new();
        for row in rows {
            let row = row.read()?;
            let needed =
                row.outputs.iter().filter(|(port, _)| row.marks.get(*port) != Some(&Mark::Temp));
            let outputs: Vec<_> =
                needed.map(|(port, output)| (port.clone(), output.clone())).collect();
            let there = self.lookup_many(&[row.key])?.get(&row.key).is_some_and(|r| !r.evicted);
            let whole = || {
                let blobs = self.blobs_of(&outputs);
                blobs.is_some_and(|all| all.iter().all(|digest| self.has(digest).unwrap_or(false)))
            };
            if there || !row.outcome.has_outputs() || !whole() {
                archived.left_out += 1;
            } else {
                taken.push(row);
            }
        }
        archived.results = taken.len() as u64;
        Ok(self.commit(&taken)?)
    }

    fn import_blob(
        &self,
        named: Digest,
        size: u64,
        source: &mut Tally<&mut dyn Read>,
    ) -> Result<(), ArchiveError> {
        let same = |found: Digest| {
            if found == named { Ok(()) } else { Err(ArchiveError::Digest { named, found }) }
        };
        if size <= SMALL {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            source.take(&mut bytes)?;
            same(Digest::of(&bytes))?;
            self.put_bytes(&bytes)?;
            return Ok(());
        }
        let (name, file) = self.create_temporary()?;
        let discard = || {
            let _ = self.dir.remove_file(&name);
        };
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        let mut buffer = vec![0; BUFFER];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let went = source.take(&mut buffer[..most]).and_then(|()| {
                hasher.update(&buffer[..most]);
                let written = (&file).write_all(&buffer[..most]);
                Ok(written.map_err(|error| self.io("write", &name, error))?)
            });
            if let Err(error) = went {
                discard();
                return Err(error);
            }
            left -= most as u64;
        }
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        if let Err(error) = same(found) {
            discard();
            return Err(error);
        }
        if self.refresh(&named, size) {
            discard();
            return Ok(());
        }
        Ok(self.place(&name, file, &named)?)
    }
}
