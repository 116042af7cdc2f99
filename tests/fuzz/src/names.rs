//! Names that a cell gives to its files, on a real file system and as text.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polyloom_model::PortName;
use polyloom_sandbox::{Collector, Kind, ListingCaps, Refusal};
use polyloom_worker::{names, portable};

/// Texts divided by NUL, which no name can hold. Each becomes a file, folder or link, and is asked for as a path.
pub fn artifact_name(bytes: &[u8]) {
    for text in bytes.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok()) {
        rules(text);
    }
    let place = tempfile::Builder::new().prefix("polyloom-fuzz").tempdir_in(room());
    let place = place.expect("a folder for what is tried");
    let root = place.path().join("cell");
    let out = root.join("out");
    fs::create_dir_all(&out).expect("a folder of our own");
    fs::write(place.path().join("canary"), "outside").expect("a file of our own");
    let held = Dir::open_ambient_dir(place.path(), ambient_authority());
    let held = held.expect("a folder of our own");
    let inside = held.open_dir("cell/out").expect("a folder of our own");
    for name in bytes.split(|byte| *byte == 0).take(8) {
        make(&held, &inside, name);
    }
    let opened = fs::File::open(&root).expect("a folder of our own");
    let collector = Collector::new(OwnedFd::from(opened));
    let listing = collector.list("out", ListingCaps::default()).expect("`out` is a folder");
    for entry in &listing.entries {
        plain(&entry.path);
        let path = format!("out/{}", entry.path);
        match (entry.kind, collector.open_file(&path)) {
            (Kind::File { .. }, Ok(fd)) => {
                let meta = fs::metadata(root.join(&path)).expect("it was listed");
                let same = fs::File::from(fd).metadata().expect("it is open").ino() == meta.ino();
                assert!(same, "another file was opened for {:?}", entry.path);
            }
            (Kind::File { .. }, Err(Refusal::HardLink(links))) => assert!(links > 1),
            (Kind::File { .. }, Err(refusal)) => panic!("{:?}: {refusal}", entry.path),
            (Kind::Symlink, refused) => assert_eq!(refused.map(drop), Err(Refusal::Symlink)),
            (Kind::Directory | Kind::Other, refused) => {
                assert_eq!(refused.map(drop), Err(Refusal::NotRegular));
            }
        }
    }
    for refused in &listing.refused {
        let printable = refused.path.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        assert!(printable, "{:?}", refused.path);
    }
    if let Some(words) = portable::problem(listing.entries.iter().map(|e| e.path.as_str())) {
        assert!(!words.contains(char::is_control), "{words:?}");
    }
    let around: Vec<_> = held.entries().expect("a folder of our own").flatten().collect();
    assert_eq!(around.len(), 2, "something was made outside");
    assert_eq!(held.read("canary").ok().as_deref(), Some(&b"outside"[..]));
    // A worker may name any path for an artifact: whatever is opened lies below its own folder.
    for text in bytes.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok()) {
        if let Ok(fd) = collector.open_file(&format!("out/{text}")) {
            let real = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            assert!(real.expect("an open file").starts_with(&out), "{text:?} leads outside");
        }
    }
}

/// Memory, where there is such a file system: thousands of small folders a second.
fn room() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

/// Makes something of that name, as far as the kernel allows; the first character may say what. The links made here lead out, and
/// whatever is made after them must not go their way: everything is made beneath the held folder, which the kernel sees to.
fn make(held: &Dir, out: &Dir, name: &[u8]) {
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() || name.len() > 300 {
        return;
    }
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
        && out.create_dir_all(parent).is_err()
    {
        return;
    }
    // What can't be made (a name that is too long, one that is taken) is not there.
    let _ = match name[0] {
        b'>' => out.symlink_contents("../../canary", path),
        b'^' => out.symlink_contents("/", path),
        b'=' => held.hard_link("canary", out, path),
        b'+' => out.create_dir(path),
        _ => out.write(path, name),
    };
}

fn rules(text: &str) {
    let ports = ["a", "chart", "chart_2"].map(|name| name.parse::<PortName>().expect("a port"));
    let belongs = ports.iter().filter(|port| names::belongs(text, port)).count();
    assert!(belongs <= 1, "{text:?} belongs to two ports");
    for port in &ports {
        let extension = names::extension(text, port);
        assert!(extension.is_empty() || names::belongs(text, port));
        assert!(extension.len() <= 17);
        if let Some(word) = extension.strip_prefix('.') {
            assert!(!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
    if names::fits_extra(text) {
        plain(text);
        assert!(text.is_ascii() && text.len() <= names::MAX_EXTRA && !text.contains(['/', '\\']));
    }
    if let Ok(port) = text.parse::<PortName>() {
        assert_eq!(port.as_str(), text);
        assert!(names::belongs(text, &port));
        plain(text);
    }
    if let Some(words) = portable::problem([text].into_iter()) {
        assert!(!words.contains(char::is_control), "{words:?}");
    }
}

/// A relative path without anything that climbs, and without anything that a terminal obeys.
fn plain(path: &str) {
    assert!(!path.is_empty() && !path.contains(char::is_control), "{path:?}");
    let normal = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    assert!(normal && !path.starts_with('/'), "{path:?}");
}
