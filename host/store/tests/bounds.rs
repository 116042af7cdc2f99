//! Bounds: how a store keeps them by itself, and how long a large one takes.

use std::collections::BTreeMap;
use std::time::Instant;

use polyloom_model::Digest;
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Outcome};
use polyloom_store::{
    ArtifactKind, Bounds, Dropped, GcRequest, Mark, Mend, ResultRow, Spent, Store,
};

const HOUR: u64 = 3_600_000;
/// After all times that files of this test have.
const NOW: u64 = 4_000_000_000_000;

fn result(key: &str, digest: Digest, size: u64, marks: &[(&str, Mark)]) -> ResultRow {
    let artifact = ArtifactMeta {
        digest: digest.to_string(),
        r#type: "bytes".into(),
        size,
        media_type: None,
        path: None,
    };
    ResultRow {
        key: Digest::of(key.as_bytes()),
        content_key: None,
        cell: key.into(),
        executor: "sh".into(),
        outcome: Outcome::Ok,
        outputs: BTreeMap::from([("x".to_owned(), artifact)]),
        meta: ExecMeta::new(Outcome::Ok),
        created_unix_ms: 1000,
        marks: marks.iter().map(|(port, mark)| ((*port).to_owned(), *mark)).collect(),
    }
}

fn size(max_bytes: u64) -> Bounds {
    Bounds { max_bytes: Some(max_bytes), ..Bounds::default() }
}

#[test]
fn a_store_tidies_itself_when_it_has_outgrown_its_bounds() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let put = |byte: u8| store.put_bytes(&[byte; 100_000]).unwrap();
    for byte in 0..5 {
        put(byte);
    }
    // The first time it is counted; five of a hundred thousand are within the bound.
    let report = store.tidy(size(500_000), NOW).unwrap().unwrap();
    assert_eq!((report.blobs, report.left), (1, 400_000), "down to nine tenths");
    assert!(store.tidy(size(500_000), NOW + HOUR).unwrap().is_none());
    let late = NOW + 2 * HOUR;
    for byte in 10..12 {
        put(byte);
    }
    assert!(store.tidy(size(500_000), NOW + 1000).unwrap().is_none(), "not every minute");
    let report = store.tidy(size(500_000), late).unwrap().unwrap();
    assert_eq!((report.blobs, report.left), (2, 400_000));
    assert!(store.tidy(Bounds::default(), late + HOUR).unwrap().is_none());
    // What is young stays, however much it is.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let fresh = Store::open(root.path().join("fresh")).unwrap();
    fresh.put_bytes(&[1; 100_000]).unwrap();
    assert_eq!(fresh.tidy(size(10), now).unwrap().unwrap().blobs, 0);
    // Age is looked at once a day.
    let old = Bounds { max_age_ms: Some(HOUR), ..Bounds::default() };
    assert!(store.tidy(old, late + 2 * HOUR).unwrap().is_none());
    assert_eq!(store.tidy(old, late + 30 * HOUR).unwrap().unwrap().left, 0);
}

#[test]
fn marks_are_kept_can_be_changed_and_decide() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let put = |byte: u8| store.put_bytes(&[byte; 50_000]).unwrap();
    let rows = [
        result("kept", put(1), 50_000, &[("x", Mark::Keep)]),
        result("plain", put(2), 50_000, &[]),
        result("temp", put(3), 50_000, &[("x", Mark::Temp)]),
    ];
    store.commit(&rows).unwrap();
    let gc = |bounds| {
        let request = GcRequest { bounds, dry_run: false, now_unix_ms: NOW };
        let report = store.gc(request).unwrap();
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        let found = store.lookup_many(&keys).unwrap();
        let lost = |key| found[key].evicted || !found[key].gone.is_empty();
        (report, keys.iter().map(lost).collect::<Vec<_>>())
    };
    assert_eq!(gc(size(100_000)).1, [false, false, true]);
    let (report, evicted) = gc(Bounds { max_age_ms: Some(1), ..size(0) });
    assert_eq!((report.kept, evicted), (50_000, vec![false, true, true]));
    store.mark(&[(rows[0].key, BTreeMap::new())]).unwrap();
    assert!(store.lookup_many(&[rows[0].key]).unwrap()[&rows[0].key].marks.is_empty());
    assert_eq!(gc(size(0)).1, [true, true, true]);
}

#[test]
fn temporary_outputs_go_when_nobody_has_a_right_to_them() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let put = |byte: u8| store.put_bytes(&[byte; 50_000]).unwrap();
    let (alone, shared, plain) = (put(1), put(2), put(3));
    let temp = &[("x", Mark::Temp)];
    let rows = [
        result("alone", alone, 50_000, temp),
        result("shared", shared, 50_000, temp),
        result("other", shared, 50_000, temp),
        result("plain", plain, 50_000, &[]),
    ];
    store.commit(&rows).unwrap();
    let spent = |at: usize, digest| Spent { key: rows[at].key, digest, kind: ArtifactKind::Blob };
    let all = [spent(0, alone), spent(1, shared), spent(3, plain)];
    // Somebody else may be about to read it.
    let other = Store::open(root.path()).unwrap();
    assert_eq!(store.drop_temporary(&all).unwrap(), Dropped::default());
    drop(other);
    let dropped = store.drop_temporary(&all).unwrap();
    assert_eq!(dropped, Dropped { blobs: 1, bytes: 50_000 }, "one is another's, one not temporary");
    assert_eq!([alone, shared, plain].map(|it| store.has(&it).unwrap()), [false, true, true]);
    let found = store.lookup_many(&[rows[0].key]).unwrap();
    let found = &found[&rows[0].key];
    assert!(!found.evicted && found.gone == ["x"], "the record stands: {found:?}");
    assert!(store.audit(Mend::No, &mut |_, _| {}).unwrap().damaged.is_empty());
    let usage = store.usage().unwrap();
    assert_eq!((usage.evicted, usage.temporary, usage.kept), (0, 50_000, 0));
    // It is as much as all others once nobody calls it temporary any more.
    store.mark(&[(rows[0].key, BTreeMap::new())]).unwrap();
    assert!(store.lookup_many(&[rows[0].key]).unwrap()[&rows[0].key].evicted);
    // The other result gave it up before.
    let dropped = store.drop_temporary(&[spent(2, shared)]).unwrap();
    assert_eq!(dropped.blobs, 1);
    // The same bytes come again, for another result: those that gave them up don't hold them.
    assert_eq!(put(2), shared);
    let again = result("again", shared, 50_000, temp);
    store.commit(std::slice::from_ref(&again)).unwrap();
    let spent_again = Spent { key: again.key, digest: shared, kind: ArtifactKind::Blob };
    assert_eq!(store.drop_temporary(&[spent_again]).unwrap().blobs, 1);
    // One that is made again does.
    assert_eq!(put(2), shared);
    store.commit(&rows[1..2]).unwrap();
    assert_eq!(store.drop_temporary(&[spent_again]).unwrap().blobs, 0);
    assert_eq!(store.lookup_many(&[rows[1].key]).unwrap()[&rows[1].key].marks["x"], Mark::Temp);
}

#[test]
fn a_small_temporary_output_that_a_collection_took_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let row = result("a", store.put_bytes(b"small").unwrap(), 5, &[("x", Mark::Temp)]);
    store.commit(std::slice::from_ref(&row)).unwrap();
    let gone = || store.lookup_many(&[row.key]).unwrap()[&row.key].gone.clone();
    assert!(gone().is_empty());
    store.gc(GcRequest { bounds: size(0), dry_run: false, now_unix_ms: NOW }).unwrap();
    assert_eq!(gone(), ["x"]);
}

#[test]
fn a_large_store_is_collected_in_little_time() {
    let count: u32 = std::env::var("POLYLOOM_RESULTS").map_or(2000, |text| text.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut rows = Vec::new();
    for i in 0..count {
        // One in ten is a file.
        let length = if i % 10 == 0 { 9000 } else { 100 };
        let mut bytes = vec![0; length];
        bytes[..4].copy_from_slice(&i.to_le_bytes());
        let digest = store.put_bytes(&bytes).unwrap();
        rows.push(result(&format!("{i}"), digest, length as u64, &[]));
    }
    store.commit(&rows).unwrap();
    let all = store.usage().unwrap().bytes;
    let timed = |bounds, dry_run| {
        let start = Instant::now();
        let report = store.gc(GcRequest { bounds, dry_run, now_unix_ms: NOW }).unwrap();
        (start.elapsed(), report)
    };
    let (dry, _) = timed(size(all / 2), true);
    let (wet, report) = timed(size(all / 2), false);
    println!("{count} results: dry {dry:?}, half removed ({} blobs) {wet:?}", report.blobs);
    assert!(report.left <= all / 2);
    let start = Instant::now();
    let audit = store.audit(polyloom_store::Mend::No, &mut |_, _| {}).unwrap();
    println!("verify of the rest: {:?}", start.elapsed());
    assert!(audit.damaged.is_empty());
}
