//! `.polyloom/grants.json`: what a person granted for good, bound to digests of code, executor and asks.
//!
//! The file lies in the project, which may be somebody else's work. So each entry is sealed with a key that never leaves the person's own
//! configuration: an entry that came with a repository, or from another folder, grants nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use polyloom_model::Digest;
use serde::{Deserialize, Serialize};

const NAME: &str = "grants.json";
const SCHEMA: &str = "polyloom.grants/1";
const LARGEST: u64 = 4 << 20;
const KEY_BYTES: usize = 32;

/// One grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The cell, for people.
    pub cell: String,
    /// Its executor, for people.
    pub lang: String,
    /// What it asked for, for people.
    pub asks: Vec<String>,
    /// When, milliseconds since 1970.
    pub granted_unix_ms: u64,
    /// What the grant is bound to.
    pub digest: String,
    /// Proof that it was made here.
    #[serde(default)]
    pub seal: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    schema: String,
    grants: Vec<Entry>,
}

/// The grants of a project that were made by this person in this folder.
#[derive(Debug, Default)]
pub struct GrantFile {
    entries: Vec<Entry>,
}

impl GrantFile {
    /// Reads the file of the project whose `.polyloom` is `folder`; none is an empty one.
    pub fn open(folder: &Path) -> Result<Self, String> {
        if folder.is_symlink() {
            return Err(format!(
                "`{}` is a symbolic link; grants are kept only in a folder of the project itself",
                folder.display()
            ));
        }
        let entries = read(&folder.join(NAME))?;
        if entries.is_empty() {
            return Ok(Self::default());
        }
        let key = key()?;
        let place = place(folder)?;
        let sealed = |entry: &Entry| entry.seal == seal(&key, &place, &entry.digest);
        Ok(Self { entries: entries.into_iter().filter(sealed).collect() })
    }

    /// Whether this was granted.
    pub fn holds(&self, digest: &Digest) -> bool {
        let digest = digest.hex();
        self.entries.iter().any(|entry| entry.digest == digest)
    }

    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a grant.
    pub fn add(folder: &Path, mut entry: Entry) -> Result<(), String> {
        let _held = lock(folder)?;
        entry.seal = seal(&key()?, &place(folder)?, &entry.digest);
        let mut entries = Self::open(folder)?.entries;
        entries.retain(|other| other.digest != entry.digest);
        entries.push(entry);
        write(folder, entries)
    }

    /// Takes back what `which` says; how many there were.
    pub fn revoke(folder: &Path, which: impl Fn(&Entry) -> bool) -> Result<usize, String> {
        let _held = lock(folder)?;
        let entries = Self::open(folder)?.entries;
        let before = entries.len();
        let kept: Vec<Entry> = entries.into_iter().filter(|entry| !which(entry)).collect();
        let gone = before - kept.len();
        if gone > 0 {
            write(folder, kept)?;
        }
        Ok(gone)
    }
}

fn failed(what: &str, path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("can't {what} `{}`: {error}", path.display())
}

/// Holds the folder for who changes its file, until it is dropped; the kernel lets go of it where a process was killed.
fn lock(folder: &Path) -> Result<File, String> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_DIRECTORY;
    let held = OpenOptions::new().read(true).custom_flags(flags).open(folder);
    let held = held.map_err(failed("open", folder))?;
    held.lock().map_err(failed("lock", folder))?;
    Ok(held)
}

fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(failed("read", path))?;
    let written: Written = serde_json::from_str(&text)
        .map_err(|error| format!("`{}` is not a file of grants: {error}", path.display()))?;
    if written.schema != SCHEMA {
        return Err(format!("`{}` has another schema than `{SCHEMA}`", path.display()));
    }
    Ok(written.grants)
}

fn write(folder: &Path, grants: Vec<Entry>) -> Result<(), String> {
    let (path, fresh) = (folder.join(NAME), folder.join(format!("{NAME}.{}", std::process::id())));
    let written = Written { schema: SCHEMA.to_owned(), grants };
    let text = serde_json::to_string_pretty(&written).map_err(|error| error.to_string())?;
    // A left-over of the same name is from a process that is gone: whoever lives holds the lock.
    let _ = fs::remove_file(&fresh);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh);
    let kept = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        // The name, too, is there after a loss of power.
        File::open(folder)?.sync_all()
    });
    if kept.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    kept.map_err(failed("write", &path))
}

/// The project as it is bound into a seal: a copy of it elsewhere is another project.
fn place(folder: &Path) -> Result<PathBuf, String> {
    folder.canonicalize().map_err(failed("find", folder))
}

fn seal(key: &[u8; KEY_BYTES], place: &Path, digest: &str) -> String {
    // BLAKE3 has no length extension: a key in front makes a code that only its holder can.
    let mut text = key.to_vec();
    text.extend(b"polyloom.grants/1\0");
    text.extend(place.as_os_str().as_bytes());
    text.push(0);
    text.extend(digest.as_bytes());
    Digest::of(&text).hex()
}

/// The person's own folder of settings.
pub fn config_folder() -> Result<PathBuf, String> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config =
        absolute("XDG_CONFIG_HOME").or_else(|| Option::Some(absolute("HOME")?.join(".config")));
    Ok(config.ok_or("neither XDG_CONFIG_HOME nor HOME is set")?.join("polyloom"))
}

/// The person's key, made at the first need.
fn key() -> Result<[u8; KEY_BYTES], String> {
    let folder = config_folder()?;
    let path = folder.join("grants.key");
    if path.symlink_metadata().is_err() {
        let mut made = [0; KEY_BYTES];
        let random = Path::new("/dev/urandom");
        let source = fs::File::open(random).and_then(|mut file| file.read_exact(&mut made));
        source.map_err(failed("read", random))?;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).map_err(failed("make", &folder))?;
        let fresh = folder.join(format!("grants.key.{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh);
        let kept = file.and_then(|mut file| {
            file.write_all(&made)?;
            file.sync_all()?;
            // The first of two that begin at once wins, whole.
            match fs::hard_link(&fresh, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        });
        let _ = fs::remove_file(&fresh);
        kept.map_err(failed("write", &path))?;
    }
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path);
    let file = file.map_err(failed("open", &path))?;
    let meta = file.metadata().map_err(failed("read", &path))?;
    let own = meta.uid() == nix::unistd::geteuid().as_raw();
    if !meta.is_file() || !own || meta.mode() & 0o777 != 0o600 {
        return Err(format!(
            "`{}` must be a regular file of your own with mode 600; remove it and grant anew",
            path.display()
        ));
    }
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
    bytes
        .try_into()
        .map_err(|_| format!("`{}` is not a key; remove it and grant anew", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: usize) -> Entry {
        Entry {
            cell: format!("cell-{at}"),
            lang: "sh".to_owned(),
            asks: vec!["read ".to_owned() + &"x".repeat(10_000)],
            granted_unix_ms: 0,
            digest: Digest::of(&at.to_le_bytes()).hex(),
            seal: String::new(),
        }
    }

    /// A folder of its own for each test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_grants_and_nothing_else() {
        let folder = Folder::new("polyloom-grants-full");
        write(&folder.0, vec![entry(0)]).unwrap();
        let before = fs::read(folder.0.join(NAME)).unwrap();
        // As on a full disk: the name can't be put in place.
        fs::rename(folder.0.join(NAME), folder.0.join("kept")).unwrap();
        fs::create_dir(folder.0.join(NAME)).unwrap();
        assert!(write(&folder.0, vec![entry(1)]).is_err());
        fs::remove_dir(folder.0.join(NAME)).unwrap();
        fs::rename(folder.0.join("kept"), folder.0.join(NAME)).unwrap();
        assert_eq!(fs::read(folder.0.join(NAME)).unwrap(), before);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn who_changes_the_grants_holds_the_folder() {
        let folder = Folder::new("polyloom-grants-lock");
        let held = lock(&folder.0).unwrap();
        assert!(File::open(&folder.0).unwrap().try_lock().is_err());
        drop(held);
        File::open(&folder.0).unwrap().try_lock().unwrap();
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&folder.0, &link).unwrap();
        assert!(lock(&link).is_err());
        assert!(GrantFile::open(&link).unwrap_err().contains("is a symbolic link"));
    }
}
