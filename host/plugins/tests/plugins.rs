//! Plugins that are copied, agreed to, changed behind one's back, packed and unpacked.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use polyloom_plugins::{
    ArchiveError, Installed, InstalledError, Limits, Plugin, Source, TreeError, asks, digest,
    unpack,
};

const MANIFEST: &str = "id = \"x\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"x\"]\n[run]\nargv = [\"{dir}/run\", \"{code}\"]\n";

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.write("from/executor.toml", MANIFEST);
        place.write("from/lib/deep/a.txt", "a");
        place.write("from/run", "#!/bin/sh\n");
        fs::set_permissions(place.at("from/run"), fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn open(&self) -> Result<Installed, InstalledError> {
        Installed::open(&self.at("plugins"))
    }

    fn install(&self, installed: &mut Installed) -> Result<Plugin, InstalledError> {
        let staged = installed.stage(&self.at("from"))?;
        installed.install(staged, Source::Folder(self.at("from")), 1)
    }

    fn copies(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("plugins/copies")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn what_runs_is_the_copy_that_was_agreed_to() {
    let place = Place::new();
    let mut installed = place.open().unwrap();
    let plugin = place.install(&mut installed).unwrap();
    assert!(plugin.enabled);
    let copy = installed.copy(&plugin);
    assert_eq!(fs::read_to_string(copy.join("lib/deep/a.txt")).unwrap(), "a");
    let mode = |name: &str| fs::metadata(copy.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("lib/deep/a.txt"), mode("lib")), (0o555, 0o444, 0o755));
    assert_eq!(mode("."), 0o755, "cells have other ids than the user");
    // What changes where it came from counts no more.
    place.write("from/lib/deep/a.txt", "b");
    let again = place.open().unwrap();
    assert_eq!(again.plugins(), installed.plugins());
    again.verify(again.find("x").unwrap()).unwrap();
    assert_ne!(digest(&place.at("from"), Limits::default()).unwrap(), plugin.digest);
    // What changes in the copy is found, whatever it is.
    for harm in [
        |copy: &Path| fs::write(copy.join("new"), "").unwrap(),
        |copy: &Path| fs::create_dir(copy.join("folder")).unwrap(),
        |copy: &Path| {
            fs::set_permissions(copy.join("lib/deep/a.txt"), fs::Permissions::from_mode(0o755))
                .unwrap();
        },
        |copy: &Path| {
            fs::remove_file(copy.join("lib/deep/a.txt")).unwrap();
            symlink("/etc/passwd", copy.join("lib/deep/a.txt")).unwrap();
        },
    ] {
        place.write("from/lib/deep/a.txt", "a");
        let mut installed = place.open().unwrap();
        let plugin = place.install(&mut installed).unwrap();
        installed.verify(&plugin).unwrap();
        harm(&installed.copy(&plugin));
        assert!(installed.verify(&plugin).is_err());
    }
    // Installed once more, it is whole.
    let mut installed = place.open().unwrap();
    let plugin = place.install(&mut installed).unwrap();
    installed.verify(&plugin).unwrap();
    assert_eq!(place.copies(), [plugin.digest.hex()]);
    installed.enable("x", false).unwrap();
    assert!(!place.open().unwrap().find("x").unwrap().enabled);
    installed.remove("x").unwrap();
    assert!(place.copies().is_empty());
    assert!(matches!(installed.remove("x"), Err(InstalledError::Unknown(_))));
}

#[test]
fn what_is_left_out_of_a_copy_is_not_put_into_it() {
    let place = Place::new();
    for name in ["__pycache__/a.pyc", "lib/__pycache__/a.pyc", ".git/config", ".polyloom/x"] {
        place.write(&format!("from/{name}"), "left out");
    }
    let mut installed = place.open().unwrap();
    let plugin = place.install(&mut installed).unwrap();
    let copy = installed.copy(&plugin);
    assert!(!copy.join("__pycache__").exists() && !copy.join("lib/__pycache__").exists());
    assert_eq!(digest(&place.at("from"), Limits::default()).unwrap(), plugin.digest);
    for name in ["__pycache__", "lib/__pycache__", ".git", ".polyloom"] {
        let path = copy.join(name);
        fs::create_dir(&path).unwrap();
        let told = installed.verify(&plugin);
        assert!(matches!(told, Err(InstalledError::Changed { .. })), "{name}: {told:?}");
        // Installed again, it is as it was.
        place.install(&mut installed).unwrap();
        installed.verify(&plugin).unwrap();
        assert!(!path.exists(), "{name}");
    }
}

#[test]
fn two_hands_on_the_list_lose_nothing() {
    let place = Place::new();
    let (mut one, mut two) = (place.open().unwrap(), place.open().unwrap());
    place.install(&mut one).unwrap();
    place.write("from/executor.toml", &MANIFEST.replace("id = \"x\"", "id = \"y\""));
    place.install(&mut two).unwrap();
    let ids: Vec<_> =
        place.open().unwrap().plugins().iter().map(|plugin| plugin.id.to_string()).collect();
    assert_eq!(ids, ["x", "y"]);
    assert_eq!(place.copies().len(), 2);
}

#[test]
fn what_is_no_plugin_leaves_nothing() {
    let place = Place::new();
    let mut installed = place.open().unwrap();
    symlink("/etc/passwd", place.at("from/link")).unwrap();
    let error = place.install(&mut installed).unwrap_err();
    assert!(matches!(&error, InstalledError::Tree(TreeError::Special { .. })), "{error}");
    fs::remove_file(place.at("from/link")).unwrap();
    place.write("from/executor.toml", "id = 3\n");
    let error = place.install(&mut installed).unwrap_err();
    let InstalledError::Manifest { problems, .. } = error else { panic!("{error}") };
    assert!(!problems.is_empty());
    fs::remove_file(place.at("from/executor.toml")).unwrap();
    assert!(matches!(place.install(&mut installed), Err(InstalledError::Manifest { .. })));
    assert!(place.copies().is_empty(), "{:?}", place.copies());
}

#[test]
fn a_list_that_others_can_change_counts_for_nothing() {
    let place = Place::new();
    let mut installed = place.open().unwrap();
    place.install(&mut installed).unwrap();
    for folder in ["plugins", "plugins/copies"] {
        let mode = |bits| fs::set_permissions(place.at(folder), fs::Permissions::from_mode(bits));
        mode(0o777).unwrap();
        assert!(matches!(place.open(), Err(InstalledError::Open { .. })), "{folder}");
        mode(0o700).unwrap();
        place.open().unwrap();
    }
    let list = place.at("plugins/installed.json");
    let text = fs::read_to_string(&list).unwrap();
    for bad in ["", "{}", &text.replace("installed/1", "installed/2")] {
        fs::write(&list, bad).unwrap();
        assert!(matches!(place.open(), Err(InstalledError::List { .. })), "{bad}");
    }
    fs::rename(&list, place.at("elsewhere")).unwrap();
    symlink(place.at("elsewhere"), &list).unwrap();
    assert!(place.open().is_err(), "a link");
}

#[test]
fn what_nobody_is_at_any_more_is_swept() {
    let place = Place::new();
    let mut installed = place.open().unwrap();
    place.install(&mut installed).unwrap();
    let left = place.at("plugins/copies/.staged-1-0");
    fs::create_dir_all(left.join("lib")).unwrap();
    fs::write(left.join("lib/a"), "a").unwrap();
    fs::set_permissions(left.join("lib"), fs::Permissions::from_mode(0o500)).unwrap();
    let staged = place.open().unwrap().stage(&place.at("from")).unwrap();
    installed.remove("x").unwrap();
    assert!(!left.exists());
    assert_eq!(place.copies().len(), 1, "somebody is at it");
    // And can go on.
    installed.install(staged, Source::Folder(place.at("from")), 2).unwrap();
    installed.verify(installed.find("x").unwrap()).unwrap();
}

#[test]
fn a_folder_that_is_a_link_and_files_that_are_pipes_count_for_nothing() {
    let place = Place::new();
    let mut installed = place.open().unwrap();
    let plugin = place.install(&mut installed).unwrap();
    fs::rename(place.at("plugins"), place.at("elsewhere")).unwrap();
    symlink(place.at("elsewhere"), place.at("plugins")).unwrap();
    let told = place.open().unwrap_err();
    assert!(told.to_string().contains("a link to one"), "{told}");
    assert!(matches!(installed.stage(&place.at("from")), Err(InstalledError::Open { .. })));
    fs::remove_file(place.at("plugins")).unwrap();
    fs::rename(place.at("elsewhere"), place.at("plugins")).unwrap();
    place.open().unwrap().verify(&plugin).unwrap();
    let pipe = |name: &str| {
        let path = place.at(name);
        let _ = fs::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    };
    // A lock that is no file is held by nobody: what can be changed alone can't be changed.
    pipe("plugins/lock");
    assert!(place.open().unwrap().enable("x", false).is_err());
    fs::remove_file(place.at("plugins/lock")).unwrap();
    pipe("plugins/use");
    place.open().unwrap().hold();
    place.open().unwrap().enable("x", false).unwrap();
    pipe("plugins/installed.json");
    assert!(place.open().is_err());
}

fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_size(if kind.is_file() { data.len() as u64 } else { 0 });
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name(data).unwrap();
        }
        let bytes = header.as_gnu_mut().unwrap();
        // As they come: the builder would refuse the bad ones.
        bytes.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        let data = if kind.is_file() { data.as_bytes() } else { b"" };
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn nothing_of_an_archive_ends_outside_of_its_folder() {
    use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.tar");
    let mut n = 0;
    let mut unpacked = |bytes: &[u8], limits: Limits| {
        fs::write(&path, bytes).unwrap();
        n += 1;
        let to = root.path().join(format!("to{n}"));
        fs::create_dir(&to).unwrap();
        unpack(&path, &to, limits)
    };
    let good = archive(&[("p/", Directory, ""), ("p/executor.toml", Regular, MANIFEST)]);
    let folder = unpacked(&good, Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(folder.join("executor.toml")).unwrap(), MANIFEST);
    let flat = archive(&[("./executor.toml", Regular, MANIFEST), ("./b", Regular, "b")]);
    assert!(unpacked(&flat, Limits::default()).unwrap().join("executor.toml").is_file());
    for bad in [
        ("../x", Regular, "x"),
        ("p/../../x", Regular, "x"),
        ("/tmp/polyloom-x", Regular, "x"),
        ("link", Symlink, "/etc"),
        ("link", Link, "/etc/passwd"),
        ("pipe", Fifo, ""),
    ] {
        let error = unpacked(&archive(&[bad]), Limits::default()).unwrap_err();
        assert!(matches!(error, ArchiveError::Entry { .. }), "{bad:?}: {error}");
    }
    let twice = archive(&[("a", Regular, "1"), ("a", Regular, "2")]);
    assert!(unpacked(&twice, Limits::default()).is_err(), "one name for two files");
    let few = Limits { bytes: 10, entries: 2 };
    let large = unpacked(&archive(&[("a", Regular, "12345678901")]), few).unwrap_err();
    assert!(matches!(large, ArchiveError::TooMuch { .. }), "{large}");
    let many = archive(&[("a", Regular, ""), ("b", Regular, ""), ("c", Regular, "")]);
    assert!(matches!(unpacked(&many, few), Err(ArchiveError::TooMuch { .. })));
    for bytes in [&b"no archive"[..], &good[..700], b"\x1f\x8bnothing"] {
        assert!(unpacked(bytes, Limits::default()).is_err());
    }
    assert!(!Path::new("/tmp/polyloom-x").exists() && !root.path().join("x").exists());
}

#[test]
fn an_archive_takes_no_more_than_a_plugin_needs() {
    use tar::EntryType::{GNULongName, Regular, XGlobalHeader, XHeader};
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.tar");
    let mut n = 0;
    let mut unpacked = |entries: &[(tar::EntryType, &[u8])], limits: Limits| {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_path("short").unwrap();
            header.set_mode(0o644);
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, *data).unwrap();
        }
        fs::write(&path, builder.into_inner().unwrap()).unwrap();
        n += 1;
        let to = root.path().join(format!("to{n}"));
        fs::create_dir(&to).unwrap();
        unpack(&path, &to, limits).map(|_| to)
    };
    let all = Limits::default();
    let pax = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = (1..9).find(|digits| (rest.len() + digits).to_string().len() == *digits);
        format!("{}{rest}", rest.len() + length.unwrap()).into_bytes()
    };
    // Names that have no room in an entry, as tar writes them.
    let long = format!("{}/{}", "a".repeat(150), "b".repeat(150));
    let gnu = [(GNULongName, [long.as_bytes(), b"\0"].concat()), (Regular, b"x".to_vec())];
    let extended = [
        (XHeader, pax("path", &long)),
        (XGlobalHeader, pax("path", "not/this")),
        (Regular, b"x".to_vec()),
    ];
    for entries in [&gnu[..], &extended[..]] {
        let entries: Vec<_> = entries.iter().map(|(kind, data)| (*kind, &data[..])).collect();
        let to = unpacked(&entries, all).unwrap();
        assert_eq!(fs::read_to_string(to.join(&long)).unwrap(), "x");
    }
    // A name that is read to its end before anybody asks how long it is.
    let endless = vec![b'a'; 9 << 10];
    for kind in [GNULongName, XHeader] {
        let told = unpacked(&[(kind, &endless), (Regular, b"x")], all).unwrap_err();
        assert!(matches!(told, ArchiveError::TooMuch { .. }), "{told}");
        assert!(told.to_string().ends_with("more than 8192 bytes in the name of an entry"));
    }
    let size = pax("size", "0");
    let told = unpacked(&[(XHeader, &size), (Regular, b"x")], all).unwrap_err();
    assert!(matches!(told, ArchiveError::Entry { .. }), "{told}");
    let up = format!("../{}", "a".repeat(7000));
    let told = unpacked(&[(GNULongName, up.as_bytes()), (Regular, b"x")], all).unwrap_err();
    assert!(told.to_string().len() < 1000, "{told}");
    // Folders that only a path names are folders.
    let deep = |depth| format!("{}x", "a/".repeat(depth));
    assert!(unpacked(&[(GNULongName, deep(64).as_bytes()), (Regular, b"x")], all).is_ok());
    let told = unpacked(&[(GNULongName, deep(65).as_bytes()), (Regular, b"x")], all).unwrap_err();
    assert!(told.to_string().ends_with("more than 64 folders in each other"), "{told}");
    let few = Limits { bytes: 10, entries: 20 };
    assert!(unpacked(&[(GNULongName, deep(19).as_bytes()), (Regular, b"x")], few).is_ok());
    let told = unpacked(&[(GNULongName, deep(20).as_bytes()), (Regular, b"x")], few).unwrap_err();
    assert!(told.to_string().ends_with("more than 20 files and folders"), "{told}");
    // Nobody waits for a pipe, or reads a device.
    let pipe = root.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, Path::new("/dev/zero")] {
        let told = unpack(path, root.path(), all).unwrap_err();
        assert!(matches!(told, ArchiveError::Io { .. }), "{told}");
    }
}

#[test]
fn a_lock_that_is_none_is_not_waited_for() {
    use polyloom_plugins::{LOCK_FILE, Lock};
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(LOCK_FILE);
    assert!(Lock::read(root.path()).unwrap().is_none());
    assert!(Lock::default().write(root.path()).unwrap());
    assert_eq!(Lock::read(root.path()).unwrap(), Some(Lock::default()));
    fs::write(&path, "#".repeat(2 << 20)).unwrap();
    assert!(Lock::read(root.path()).is_err(), "too long");
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(Lock::read(root.path()).is_err(), "a pipe");
}

#[test]
fn a_file_that_is_started_ahead_is_agreed_to_like_any() {
    let of = |more: &str| {
        let source = polyloom_load::Source::new("executor.toml", format!("{MANIFEST}{more}"));
        asks(&polyloom_load::parse_manifest(&source, None).0.unwrap())
    };
    assert_eq!(of(""), ["runs its own file run", "takes files .x"]);
    let ahead = "ahead = [\"{dir}/wait\", \"--now\"]\n";
    assert_eq!(of(ahead), ["runs its own file run", "runs its own file wait", "takes files .x"]);
}
