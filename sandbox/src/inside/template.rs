//! The read-only root that all sandboxes of one spawner share: built once, cloned per sandbox in one system call.
//!
//! Knows the allow-list of host trees and the synthetic `/etc` and `/dev`. Does not know any cell.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use super::mounts::{PreparedBind, attach_at, lookup, make_point};
use crate::{
    sys::{self, file, mount},
    wire::Mode,
};

/// Host trees seen read-only by every cell. A link (`/bin` → `usr/bin`) is replicated as a link.
pub const TREES: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store"];

/// Directories of `/etc` that toolchains read; an entry ending in `*` is a prefix.
pub const ETC_TREES: [&str; 8] =
    ["alternatives", "ssl/certs", "java*", "fonts", "ld.so.conf.d", "python3*", "perl", "R"];

/// A directory of `/etc` with at most this many entries is copied instead of bound.
const COPIED_ENTRIES: usize = 48;
/// So is one without larger files.
const COPIED_BYTES: u64 = 64 << 10;

/// Files of `/etc` that toolchains read; copied, since they are small.
pub const ETC_FILES: [&str; 6] =
    ["ld.so.cache", "ld.so.conf", "mime.types", "services", "protocols", "ssl/openssl.cnf"];

/// What replaces the host's own. The two users are those of `cell`.
const ETC_OWN: [(&str, &str); 6] = [
    (
        "passwd",
        "root:x:0:0:root:/cell/work:/bin/sh\n\
         cell:x:1000:1000:cell:/cell/work:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\ncell:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost cell\n::1 localhost\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("hostname", "cell\n"),
    ("os-release", "ID=linux\nNAME=Linux\nPRETTY_NAME=\"a polyloom cell\"\n"),
];

/// Device nodes: name, major, minor.
const DEVICES: [(&CStr, u32, u32); 5] =
    [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9)];

/// What only some cells have something at. A mount point stays: it would tell that one of them was here before.
const OWN_POINTS: [&str; 4] =
    ["polyloom/bin", "polyloom/executor", "polyloom/once", "polyloom/sdk"];
const OWN_PROGRAM: &str = "polyloom/bin/polyloom";

/// Where the template may be attached in the spawner's own mount namespace: a directory that exists everywhere and hides
/// nothing the spawner needs. Kernels before 6.15 cannot clone a tree that is attached nowhere.
const PLACES: [&CStr; 4] = [c"/sys", c"/mnt", c"/srv", c"/media"];

/// The shared root.
pub struct Template {
    /// Where it is attached (in the spawner's namespace, and so in every copy of it).
    pub place: &'static CStr,
    root: OwnedFd,
}

impl Template {
    pub fn build(mode: Mode) -> io::Result<Self> {
        // SAFETY: integers only. Modes below are meant literally.
        unsafe { libc::umask(0) };
        // Not `nodev`: in root mode its own five device nodes live here. Nobody can add others: clones are read-only.
        let options = [(c"size", c"8m"), (c"nr_inodes", c"8192"), (c"mode", c"0755")];
        let root = mount::new_filesystem(c"tmpfs", &options, mount::NOSUID)?;
        let place = PLACES
            .into_iter()
            .find(|place| {
                // SAFETY: AT_FDCWD is always valid to borrow.
                let cwd = unsafe { std::os::fd::BorrowedFd::borrow_raw(libc::AT_FDCWD) };
                mount::attach(root.as_fd(), cwd, place).is_ok()
            })
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        let template = Self { place, root };
        for directory in ["cell", "dev", "etc", "etc/ssl", "polyloom", "proc", "sys", "run", "var"]
            .into_iter()
            .chain(OWN_POINTS)
        {
            make_point(template.root.as_fd(), Path::new(directory), true)?;
        }
        make_point(template.root.as_fd(), Path::new(OWN_PROGRAM), false)?;
        file::symlinkat(c"/cell/tmp", template.root.as_fd(), c"tmp")?;
        file::symlinkat(c"/cell/tmp", template.root.as_fd(), c"var/tmp")?;
        for tree in TREES {
            template.tree(&Path::new("/").join(tree), Path::new(tree))?;
        }
        template.etc()?;
        template.devices(mode)?;
        Ok(template)
    }

    /// Makes the mount point of a bind outside the cell's own file system.
    pub fn ensure(&self, bind: &PreparedBind) -> io::Result<()> {
        bind.make_point(self.root.as_fd(), bind.target())
    }

    /// Makes what terminals are mounted on. Like the mount point of a bind it stays, and leads nowhere for others.
    pub fn ensure_terminals(&self) -> io::Result<()> {
        let dev = lookup(self.root.as_fd(), Path::new("dev"))?;
        make_point(dev.as_fd(), Path::new("pts"), true)?;
        match file::symlinkat(c"pts/ptmx", dev.as_fd(), c"ptmx") {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn tree(&self, source: &Path, target: &Path) -> io::Result<()> {
        let Ok(metadata) = fs::symlink_metadata(source) else { return Ok(()) };
        if metadata.is_symlink() {
            let to = sys::c_path(&fs::read_link(source)?)?;
            return file::symlinkat(&to, self.root.as_fd(), &sys::c_path(target)?);
        }
        let mut source_bytes = source.as_os_str().as_encoded_bytes();
        if source_bytes.is_empty() {
            source_bytes = b"/";
        }
        let bind = PreparedBind::open(source_bytes, target.as_os_str().as_encoded_bytes())?;
        self.ensure(&bind)?;
        bind.attach(self.root.as_fd())
    }

    fn etc(&self) -> io::Result<()> {
        for name in ETC_FILES {
            // Missing or unreadable is normal: these serve programs that are not everywhere either.
            if let Ok(bytes) = fs::read(Path::new("/etc").join(name)) {
                self.file(&Path::new("etc").join(name), &bytes)?;
            }
        }
        for (name, text) in ETC_OWN {
            self.file(&Path::new("etc").join(name), text.as_bytes())?;
        }
        for pattern in ETC_TREES {
            for source in matches(Path::new("/etc"), pattern) {
                let target = source.strip_prefix("/").unwrap_or(&source).to_path_buf();
                // Every mount is copied twice and torn down twice per sandbox: what is small is copied once instead. A copy
                // that was given up is covered by the mount.
                let mut budget = COPIED_ENTRIES;
                if self.copy(&source, &target, &mut budget).is_err() {
                    self.tree(&source, &target)?;
                }
            }
        }
        Ok(())
    }

    /// Copies a directory of links and small files; an error if it is none or has too much in it.
    fn copy(&self, source: &Path, target: &Path, budget: &mut usize) -> io::Result<()> {
        let entries = fs::read_dir(source)?;
        make_point(self.root.as_fd(), target, true)?;
        for entry in entries {
            let entry = entry?;
            *budget = budget.checked_sub(1).ok_or(io::ErrorKind::FileTooLarge)?;
            let (from, to) = (entry.path(), target.join(entry.file_name()));
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.copy(&from, &to, budget)?;
            } else if metadata.is_symlink() {
                let link = sys::c_path(&fs::read_link(&from)?)?;
                file::symlinkat(&link, self.root.as_fd(), &sys::c_path(&to)?)?;
            } else if metadata.len() <= COPIED_BYTES {
                self.file(&to, &fs::read(&from)?)?;
            } else {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(())
    }

    fn file(&self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = sys::c_path(name)?;
        let file = file::openat(self.root.as_fd(), &name, libc::O_CREAT | libc::O_WRONLY, 0o644)?;
        file::write_whole(file.as_fd(), bytes)
    }

    fn devices(&self, mode: Mode) -> io::Result<()> {
        let dev = lookup(self.root.as_fd(), Path::new("dev"))?;
        for (name, major, minor) in DEVICES {
            let device = libc::makedev(major, minor);
            let made = mode == Mode::Root
                && file::mknodat(dev.as_fd(), name, libc::S_IFCHR | 0o666, device).is_ok();
            if !made {
                // A user namespace cannot make nodes that work; the host's can be bound.
                let source = [b"/dev/", name.to_bytes()].concat();
                let source = CString::new(source).map_err(io::Error::other)?;
                let node = mount::clone_tree(&source)?;
                file::openat(dev.as_fd(), name, libc::O_CREAT | libc::O_WRONLY, 0o666)?;
                let point = file::openat(dev.as_fd(), name, libc::O_PATH, 0)?;
                attach_at(node.as_fd(), point.as_fd())?;
            }
        }
        let links = [
            (c"/proc/self/fd", c"fd"),
            (c"/proc/self/fd/0", c"stdin"),
            (c"/proc/self/fd/1", c"stdout"),
            (c"/proc/self/fd/2", c"stderr"),
            // One file system, one limit: shared memory counts as the cell's disk.
            (c"/cell/shm", c"shm"),
        ];
        for (to, name) in links {
            file::symlinkat(to, dev.as_fd(), name)?;
        }
        Ok(())
    }
}

/// What every root has of the host's `/etc` is what was there when its spawner started: stays the same as long as that does. No contents: devices, inodes,
/// sizes and times.
pub fn stamp(base: &Path) -> Vec<u8> {
    let mut stamp = Vec::new();
    for name in ETC_FILES {
        add(&mut stamp, fs::metadata(base.join(name)).ok().as_ref());
    }
    for pattern in ETC_TREES {
        let mut found = matches(base, pattern);
        found.sort();
        add_number(&mut stamp, found.len() as u64);
        for tree in found {
            add(&mut stamp, fs::metadata(&tree).ok().as_ref());
            // Of what is bound whatever is in it is today's.
            let (mut inside, mut budget) = (Vec::new(), COPIED_ENTRIES);
            if add_copied(&mut inside, &tree, &mut budget).is_ok() {
                stamp.append(&mut inside);
            }
        }
    }
    stamp
}

/// What [`Template::copy`] reads.
fn add_copied(stamp: &mut Vec<u8>, folder: &Path, budget: &mut usize) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        *budget = budget.checked_sub(1).ok_or(io::ErrorKind::FileTooLarge)?;
        names.push(entry?.path());
    }
    names.sort();
    for path in names {
        let metadata = fs::symlink_metadata(&path)?;
        add(stamp, Some(&metadata));
        if metadata.is_dir() {
            add_copied(stamp, &path, budget)?;
        } else if !metadata.is_symlink() && metadata.len() > COPIED_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Ok(())
}

fn add(stamp: &mut Vec<u8>, found: Option<&fs::Metadata>) {
    stamp.push(u8::from(found.is_some()));
    let Some(it) = found else { return };
    let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
    let numbers = [it.dev(), it.ino(), it.size()].into_iter();
    numbers.chain(times.map(i64::cast_unsigned)).for_each(|number| add_number(stamp, number));
}

fn add_number(stamp: &mut Vec<u8>, number: u64) {
    stamp.extend(number.to_le_bytes());
}

/// Existing entries of `base` for a pattern; only the last part of a pattern may end in `*`.
pub fn matches(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some(prefix) = pattern.strip_suffix('*') else { return vec![base.join(pattern)] };
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_stamp_changes_with_whatever_was_copied() -> io::Result<()> {
        let base = std::env::temp_dir().join(format!("polyloom-stamp-{}", std::process::id()));
        let at = |name: &str| base.join(name);
        for folder in ["fonts/conf.d", "alternatives", "python3", "ssl/certs", "other"] {
            fs::create_dir_all(at(folder))?;
        }
        for bound in 0..=COPIED_ENTRIES {
            fs::write(at(&format!("ssl/certs/{bound}")), "")?;
        }
        fs::write(at("services"), "a")?;
        fs::write(at("fonts/conf.d/a"), "a")?;
        symlink("/a", at("alternatives/a"))?;
        let mut last = stamp(&base);
        let mut step = |name: &str, changes: bool, done: io::Result<()>| {
            done.map(|()| {
                let now = stamp(&base);
                assert_eq!(now != last, changes, "{name}");
                last = now;
            })
        };
        step("nothing", false, Ok(()))?;
        step("a file", true, fs::write(at("services"), "ab"))?;
        step("a file that comes", true, fs::write(at("protocols"), ""))?;
        step("a file deep inside", true, fs::write(at("fonts/conf.d/a"), "ab"))?;
        let again = fs::remove_file(at("alternatives/a"));
        step("a link", true, again.and_then(|()| symlink("/b", at("alternatives/a"))))?;
        step("a tree that goes", true, fs::remove_dir(at("python3")))?;
        step("what is bound", false, fs::write(at("ssl/certs/0"), "ab"))?;
        step("what nobody sees", false, fs::write(at("other/a"), "a"))?;
        fs::remove_dir_all(&base)
    }
}
