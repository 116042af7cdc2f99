//! What a host does with a store: a list of operations, drawn from a seed, that the test and the process it kills both know.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use polyloom_store::{Bounds, GcRequest, ListingEntry, ResultRow, Store, TreeEntry};

/// Results there may be.
pub const KEYS: u64 = 12;

/// Splitmix64: enough, and the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub enum Op {
    /// Results of these keys, all of this version, in one commit.
    Commit(Vec<u64>, u64),
    /// Looks a result up and reads what it gives.
    Read(u64),
    /// Comes down to so many bytes.
    Gc(u64),
    Flush,
    Touch(u64),
    Program(u64),
    /// To an archive and back.
    Carry,
    Audit,
    Reopen,
}

/// The work of one process. It writes only keys that are `mine` modulo `of`.
pub fn work(seed: u64, mine: u64, of: u64) -> Vec<Op> {
    let mut dice = Dice(seed);
    let count = 4 + dice.roll(10);
    (0..count)
        .map(|at| {
            let key = |dice: &mut Dice| dice.roll(KEYS / of) * of + mine;
            match dice.roll(20) {
                0..=8 => {
                    let mut keys: Vec<_> = (0..=dice.roll(3)).map(|_| key(&mut dice)).collect();
                    keys.sort_unstable();
                    keys.dedup();
                    // Few versions: the same bytes are put again and again. The count keeps them apart by time.
                    Op::Commit(keys, (seed.wrapping_add(at)) % 5)
                }
                9..=11 => Op::Read(dice.roll(KEYS)),
                12 | 13 => Op::Gc(dice.roll(400_000)),
                14 => Op::Flush,
                15 => Op::Touch(dice.roll(KEYS)),
                16 => Op::Program(dice.roll(3)),
                17 => Op::Carry,
                18 => Op::Audit,
                _ => Op::Reopen,
            }
        })
        .collect()
}

pub fn key_of(key: u64) -> Digest {
    Digest::of(format!("key {key}").as_bytes())
}

/// The bytes of a key's outputs in a version: a small one, a large one, a directory's two files. The large ones are shared by keys.
pub fn outputs(key: u64, version: u64) -> [Vec<u8>; 4] {
    let fill = |salt: u64, size: u64| {
        let mut dice = Dice(version * 1000 + salt);
        (0..size).map(|_| dice.roll(256) as u8).collect::<Vec<u8>>()
    };
    [
        format!("{key} {version}").into_bytes(),
        fill(key % 3, 9000 + version * 1000),
        fill(100 + key % 2, 12_000),
        format!("in a directory: {}", key % 4).into_bytes(),
    ]
}

/// What the listing of that directory's digest is, and its size, without a store.
pub fn row(store: &Store, key: u64, version: u64) -> ResultRow {
    let [small, large, first, second] = outputs(key, version);
    let put = |bytes: &[u8]| store.put_bytes(bytes).unwrap();
    let file = |bytes: &[u8], exec| {
        let digest = put(bytes);
        Some(ListingEntry { digest, exec, size: bytes.len() as u64 })
    };
    let entries = [
        TreeEntry { path: "bin/first".into(), file: file(&first, true) },
        TreeEntry { path: "second".into(), file: file(&second, false) },
    ];
    let (tree, tree_size) = store.put_tree(entries).unwrap();
    let artifact = |digest: Digest, ty: &str, size: u64| ArtifactMeta {
        digest: digest.to_string(),
        r#type: ty.into(),
        size,
        media_type: None,
        path: None,
    };
    let outputs = BTreeMap::from([
        ("dir".to_owned(), artifact(tree, "dir", tree_size)),
        ("large".to_owned(), artifact(put(&large), "bytes", large.len() as u64)),
        ("small".to_owned(), artifact(put(&small), "bytes", small.len() as u64)),
    ]);
    ResultRow {
        key: key_of(key),
        content_key: Some(Digest::of(format!("content {key} {version}").as_bytes())),
        cell: format!("{key} {version}"),
        executor: "test".into(),
        outcome: Outcome::Ok,
        outputs,
        meta: ExecMeta::new(Outcome::Ok),
        created_unix_ms: now(),
        marks: BTreeMap::new(),
    }
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Does the work, telling after each operation that it is done. What a store refuses because somebody damaged it is no matter here.
pub fn go(root: &Path, ops: &[Op], mut done: impl FnMut(usize)) {
    let mut store = Store::open(root).unwrap();
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Commit(keys, version) => {
                let rows: Vec<_> = keys.iter().map(|key| row(&store, *key, *version)).collect();
                store.commit(&rows).unwrap();
            }
            Op::Read(key) => {
                let found = store.lookup_many(&[key_of(*key)]).unwrap();
                for (name, output) in found.values().flat_map(|result| &result.outputs) {
                    let digest = output.digest.parse().unwrap();
                    let _ = store.read(&digest, u64::MAX);
                    let _ = store.path(&digest);
                    if name == "dir" {
                        let _ = store.tree_path(&digest);
                    }
                }
            }
            Op::Gc(max) => {
                let bounds = Bounds { max_bytes: Some(*max), ..Bounds::default() };
                let request = GcRequest { bounds, dry_run: false, now_unix_ms: now() };
                store.gc(request).unwrap();
            }
            Op::Flush => store.flush().unwrap(),
            Op::Touch(key) => store.touch(&[key_of(*key)], now()).unwrap(),
            Op::Program(key) => {
                let program = store.put_bytes(format!("program {key}").as_bytes()).unwrap();
                store.commit_program(&key_of(100 + key), &program, now()).unwrap();
            }
            Op::Carry => {
                let mut archive = Vec::new();
                store.export(&mut archive).unwrap();
                store.import(&mut &archive[..], now()).unwrap();
            }
            Op::Audit => {
                store.audit(polyloom_store::Mend::Yes, &mut |_, _| {}).unwrap();
            }
            Op::Reopen => {
                drop(store);
                store = Store::open(root).unwrap();
            }
        }
        done(at);
    }
}
