//! The records of an archive, and the sum of all its bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use polyloom_model::{Digest, Mark};
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::results::ResultRow;

/// A record's header: a result with its log, at most.
const MAX_HEADER: u32 = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Record {
    Blob { digest: String, size: u64 },
    Result(Box<Row>),
    End { records: u64, sum: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) content: Option<String>,
    pub(super) cell: String,
    pub(super) executor: String,
    pub(super) outcome: Outcome,
    pub(super) outputs: BTreeMap<String, ArtifactMeta>,
    pub(super) marks: BTreeMap<String, Mark>,
    pub(super) created: u64,
    pub(super) meta: ExecMeta,
}

/// Counts and hashes what goes through.
pub(super) struct Tally<T> {
    pub(super) inner: T,
    pub(super) hasher: blake3::Hasher,
    pub(super) records: u64,
}

impl<T> Tally<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), records: 0 }
    }

    pub(super) fn sum(&self) -> String {
        Digest::from_bytes(*self.hasher.finalize().as_bytes()).to_string()
    }
}

impl<W: Write> Tally<W> {
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }

    pub(super) fn put_record(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let header = serde_json::to_vec(record).map_err(|error| unreadable(&error))?;
        let length = u32::try_from(header.len()).ok().filter(|length| *length <= MAX_HEADER);
        let length = length.ok_or_else(|| unreadable(&"it is too large"))?;
        self.put(&length.to_le_bytes())?;
        self.put(&header)?;
        self.records += 1;
        Ok(())
    }
}

impl<R: Read> Tally<R> {
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.inner.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Short,
            _ => error.into(),
        })?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// The next record and the length of its header. The sum is asked for before an end is read.
    pub(super) fn next_record(&mut self) -> Result<(Record, u64, String), ArchiveError> {
        let (sum, mut length) = (self.sum(), [0; 4]);
        self.take(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(unreadable(&"its header is too large"));
        }
        // As it comes, not all at once: the length may lie.
        let mut header = Vec::new();
        let read = (&mut self.inner).take(u64::from(length)).read_to_end(&mut header)?;
        if read as u64 != u64::from(length) {
            return Err(ArchiveError::Short);
        }
        self.hasher.update(&header);
        self.records += 1;
        let record = serde_json::from_slice(&header).map_err(|error| unreadable(&error))?;
        Ok((record, u64::from(length), sum))
    }
}

pub(super) fn unreadable(what: &dyn std::fmt::Display) -> ArchiveError {
    ArchiveError::Record { what: what.to_string() }
}

impl Row {
    pub(super) fn read(self) -> Result<ResultRow, ArchiveError> {
        let digest = |text: &str| text.parse().map_err(|_| unreadable(&"a key"));
        Ok(ResultRow {
            key: digest(&self.key)?,
            content_key: self.content.as_deref().map(digest).transpose()?,
            cell: self.cell,
            executor: self.executor,
            outcome: self.outcome,
            outputs: self.outputs,
            meta: self.meta,
            created_unix_ms: self.created,
            marks: self.marks,
        })
    }
}
