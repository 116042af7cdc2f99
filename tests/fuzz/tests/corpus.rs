//! Every file of the corpus is fed to its target: what a fuzzer once found, it need not find again.

use std::fs;
use std::path::Path;

use polyloom_test_fuzz::TARGETS;

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn the_corpus_breaks_nothing() {
    for (name, target) in TARGETS {
        let folder = corpus().join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for file in files {
            let path = file.expect("a readable folder").path();
            let bytes = fs::read(&path).expect("a readable file");
            let broken = std::panic::catch_unwind(|| target(&bytes));
            assert!(broken.is_ok(), "{} breaks `{name}`", path.display());
            count += 1;
        }
        assert!(count >= 5, "`{name}` has {count} files in its corpus");
    }
}

#[test]
fn every_folder_has_its_target() {
    let mut folders: Vec<_> = fs::read_dir(corpus())
        .expect("a corpus")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("text"))
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.map(|(name, _)| name));
    let binaries = fs::read_dir(corpus().join("../libfuzzer/targets")).expect("the binaries");
    assert_eq!(binaries.count(), TARGETS.len());
}

#[test]
fn every_dictionary_has_its_target() {
    for entry in fs::read_dir(corpus().join("../dictionaries")).expect("the dictionaries") {
        let name = entry.expect("a readable folder").file_name().into_string().expect("text");
        let target = name.strip_suffix(".dict");
        assert!(TARGETS.iter().any(|(name, _)| Some(*name) == target), "{name}");
    }
}
