//! Several threads store the same bytes at once: the file that was there first stays the file.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::MetadataExt;

use polyloom_store::Store;

#[test]
fn the_first_of_equal_blobs_stands() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    for round in 0..30_u8 {
        let bytes = vec![round; 100_000];
        let source = folder.path().join("source");
        std::fs::write(&source, &bytes).unwrap();
        let barrier = std::sync::Barrier::new(4);
        let inodes: Vec<u64> = std::thread::scope(|scope| {
            let put = || {
                barrier.wait();
                let file = std::fs::File::open(&source).unwrap();
                let (digest, _) = store.put_file(&file, u64::MAX).unwrap();
                std::fs::metadata(store.path(&digest).unwrap()).unwrap().ino()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
    }
}
