//! Many manifests, read once.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use polyloom_plugins::{Found, Index};

fn write(folder: &Path, n: usize, title: &str) {
    let folder = folder.join(format!("l{n:03}"));
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "id = \"lang{n}\"\nversion = \"1\"\ntitle = \"{title}\"\nkind = \"command\"\nextensions = [\"x{n}\"]\n\
         [toolchain.sh]\nany = [\"sh\"]\nversion = [\"--version\"]\n[limits]\ntimeout = \"5s\"\n[run]\nargv = [\"{{sh}}\", \"{{code}}\"]\n"
    );
    fs::write(folder.join("executor.toml"), text).unwrap();
}

#[test]
fn an_index_says_what_the_files_say() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("executors");
    for n in 0..100 {
        write(&folder, n, "first");
    }
    write(&folder, 100, "broken\n");
    std::thread::sleep(Duration::from_millis(3100));
    let path = root.path().join("index");
    let folders = [folder.clone()];
    let read = |program: &str| {
        let mut index = Index::new(Some(path.clone()), program);
        let Found { manifests, problems, .. } = index.discover(&folders);
        assert!(!problems.is_empty(), "the broken one is told each time");
        manifests
    };
    let plain = |all: &dyn std::fmt::Debug| format!("{all:?}");
    let (truth, _) = polyloom_load::discover(&folders);
    assert_eq!(plain(&read("a")), plain(&truth));
    let size = fs::metadata(&path).unwrap().len();
    assert_eq!(plain(&read("a")), plain(&truth));
    // It is what is read: with a name changed in it that is as long, that is what comes out.
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|part| part == b"first").unwrap();
    let mut other = bytes.clone();
    other[at..at + 5].copy_from_slice(b"other");
    fs::write(&path, &other).unwrap();
    assert_ne!(plain(&read("a")), plain(&truth));
    // Others can't do that, and other programs don't read it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(plain(&read("a")), plain(&truth));
    fs::write(&path, &other).unwrap();
    assert_eq!(plain(&read("b")), plain(&truth));
    for damaged in [&b""[..], &bytes[..bytes.len() / 2], b"nothing"] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(plain(&read("a")), plain(&truth));
    }
    // A file that changed is read again, one that is gone is gone.
    write(&folder, 7, "again");
    fs::remove_dir_all(folder.join("l008")).unwrap();
    let (truth, _) = polyloom_load::discover(&folders);
    assert_eq!(plain(&read("a")), plain(&truth));
    assert_eq!(plain(&read("a")), plain(&truth));
    assert!(fs::metadata(&path).unwrap().len() < size);
}

/// A start asks one index for its folders and for its kernels: each answer is kept beside the other.
#[test]
fn one_index_keeps_what_several_questions_found() {
    let root = tempfile::tempdir().unwrap();
    let folders = ["a", "b"].map(|name| root.path().join(name));
    for n in 0..20 {
        write(&folders[0], n, "first");
        write(&folders[1], n + 20, "second");
    }
    fs::write(folders[1].join("old.py"), "def _exec(code):\n    return True, code\n").unwrap();
    fs::write(folders[1].join("l020/inner.py"), "").unwrap();
    std::thread::sleep(Duration::from_millis(3100));
    let path = root.path().join("index");
    let mut index = Index::new(Some(path.clone()), "a");
    assert_eq!(index.discover(&folders[..1]).manifests.len(), 20);
    let found = index.discover(&folders[1..]);
    assert_eq!(found.manifests.len(), 20);
    assert_eq!(found.scripts, [folders[1].join("old.py")]);
    let bytes = fs::read(&path).unwrap();
    let has = |word: &[u8]| bytes.windows(word.len()).filter(|part| *part == word).count();
    assert_eq!((has(b"first"), has(b"second")), (20, 20));
    // Asked again, it writes nothing.
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let mut index = Index::new(Some(path.clone()), "a");
    index.discover(&folders[..1]);
    index.discover(&folders[1..]);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
}
