//! A store with a value, a file and a directory, for tests of what leaves a store and comes into one.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use polyloom_store::{ListingEntry, Mark, ResultRow, Store, TreeEntry};

pub const NOW: u64 = 1_800_000_000_000;

/// A result with the outputs `p0`, `p1`… of these digests, types and sizes.
pub fn result(key: &str, outputs: &[(Digest, &str, u64)], marks: &[(&str, Mark)]) -> ResultRow {
    let output = |(digest, ty, size): &(Digest, &str, u64)| ArtifactMeta {
        digest: digest.to_string(),
        r#type: (*ty).into(),
        size: *size,
        media_type: None,
        path: None,
    };
    let outputs = outputs.iter().enumerate().map(|(at, it)| (format!("p{at}"), output(it)));
    ResultRow {
        key: Digest::of(key.as_bytes()),
        content_key: Some(Digest::of(format!("content of {key}").as_bytes())),
        cell: key.into(),
        executor: "sh".into(),
        outcome: Outcome::Ok,
        outputs: outputs.collect(),
        meta: ExecMeta { wall_ms: 12.5, ..ExecMeta::new(Outcome::Ok) },
        created_unix_ms: NOW,
        marks: marks
            .iter()
            .map(|(port, mark)| ((*port).to_owned(), *mark))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// What was put in.
pub struct Put {
    pub small: Digest,
    /// 600,000 times the byte 7.
    pub large: Digest,
    /// The file `d/f` of the directory.
    pub inner: Digest,
    /// A directory, and the size of its files.
    pub tree: (Digest, u64),
}

/// Puts blobs in; no result names them yet.
pub fn put(store: &Store) -> Put {
    let small = store.put_bytes(b"small").unwrap();
    let large = store.put_bytes(&[7; 600_000]).unwrap();
    let inner = store.put_bytes(&[8; 30_000]).unwrap();
    let file = Some(ListingEntry { digest: inner, exec: true, size: 30_000 });
    let tree = store.put_tree([TreeEntry { path: "d/f".into(), file }]).unwrap();
    Put { small, large, inner, tree }
}
