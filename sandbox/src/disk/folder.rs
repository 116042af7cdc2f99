//! A plain folder of the host's that a cell fills: made under its owner's name, removed by descriptor, swept when its owner is dead.
//!
//! What is in it is hostile: links that lead away, folders without permissions, trees deeper than any path. Nothing is followed and no path is longer
//! than one name.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};

use crate::{
    cgroup::SweepReport,
    owner::{self, Owner},
    sys::{self, file},
};

/// What the cell sees is one level below, so that nobody else on the machine reaches it: the outer folder is its host's alone.
const INNER: &CStr = c"cell";

/// One cell's folder. It goes with everything in it when the last who needs it is gone.
#[derive(Debug)]
pub struct Folder {
    parent: OwnedFd,
    name: CString,
    /// Of what the cell sees, on the host.
    pub path: PathBuf,
    /// The same.
    pub inner: OwnedFd,
}

impl Folder {
    /// Makes it below `parent`; `owner` is the user that may make files in it, if it is another one than ours.
    pub fn make(path: &Path, parent: &OwnedFd, owner: Option<u32>) -> io::Result<Self> {
        let name = CString::new(owner::fresh()).map_err(io::Error::other)?;
        let parent = parent.try_clone()?;
        file::make_private_dir(parent.as_fd(), &name)?;
        let made = (|| {
            let outer = open_below(parent.as_fd(), &name)?;
            file::make_private_dir(outer.as_fd(), INNER)?;
            let inner = open_below(outer.as_fd(), INNER)?;
            // Literally, whatever the umask.
            fs::set_permissions(link(&inner), PermissionsExt::from_mode(0o755))?;
            if let Some(owner) = owner {
                file::chownat(outer.as_fd(), INNER, owner, owner)?;
            }
            Ok(inner)
        })();
        let path = path.join(name.to_string_lossy().as_ref()).join("cell");
        match made {
            Ok(inner) => Ok(Self { parent, name, path, inner }),
            Err(error) => {
                remove(parent.as_fd(), &name);
                Err(error)
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody can change it any more. What would not go is for [`sweep`].
        remove(self.parent.as_fd(), &self.name);
    }
}

/// Removes what dead hosts left in a folder that was given to [`crate::Spawner::with_scratch`]. Folders of living hosts and anything not named by us are
/// never touched; several may sweep at once.
pub fn sweep(place: &Path) -> SweepReport {
    let mut report = SweepReport::default();
    let Ok(entries) = fs::read_dir(place) else { return report };
    let opened =
        sys::c_path(place).and_then(|path| file::open(&path, libc::O_RDONLY | libc::O_DIRECTORY));
    let Ok(parent) = opened else { return report };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(Owner::parse) else { continue };
        let Ok(name) = CString::new(name.as_bytes()) else { continue };
        if !owner.is_dead() {
            continue;
        }
        // Who else is at it will finish it.
        let Ok(found) = open_for_all(parent.as_fd(), &name) else { continue };
        if !file::try_lock(found.as_fd()) {
            continue;
        }
        if remove(parent.as_fd(), &name) {
            report.removed += 1;
        } else {
            report.stuck += 1;
        }
    }
    report
}

fn link(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A directory of one name below another, never a link to one.
fn open_below(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY;
    file::openat2(parent, name, flags, 0, file::NO_ESCAPE | file::RESOLVE_NO_XDEV)
}

/// Opens a directory for listing and changing, whatever permissions its maker left on it.
fn open_for_all(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let found = open_below(parent, name)?;
    fs::set_permissions(link(&found), PermissionsExt::from_mode(0o700))?;
    file::open(&sys::c_path(Path::new(&link(&found)))?, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Removes a tree by flattening it: what a directory holds is unlinked, and directories in it move up beside it, to be emptied in their turn.
/// So two descriptors are enough for any depth, and no path is ever walked.
fn remove(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    let top = match open_for_all(parent, name) {
        Ok(top) => top,
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    let mut moved = 0_u64;
    loop {
        let Ok(entries) = names(&top) else { return false };
        if entries.is_empty() {
            return file::rmdirat(parent, name).is_ok();
        }
        let mut progress = false;
        for entry in entries {
            progress |= clear(&top, &entry, &mut moved);
        }
        if !progress {
            return false;
        }
    }
}

/// Removes one entry of `top`, or empties it into `top`; whether something changed.
fn clear(top: &OwnedFd, entry: &CStr, moved: &mut u64) -> bool {
    if file::unlinkat(top.as_fd(), entry).is_ok() || file::rmdirat(top.as_fd(), entry).is_ok() {
        return true;
    }
    let Ok(directory) = open_for_all(top.as_fd(), entry) else { return false };
    let mut progress = false;
    for child in names(&directory).unwrap_or_default() {
        if file::unlinkat(directory.as_fd(), &child).is_ok()
            || file::rmdirat(directory.as_fd(), &child).is_ok()
        {
            progress = true;
            continue;
        }
        // Moving a directory changes its `..`, which takes the right to write to it.
        if open_for_all(directory.as_fd(), &child).is_err() {
            continue;
        }
        // A name that the cell chose already is left alone, as the call demands.
        for _ in 0..1000 {
            *moved += 1;
            let Ok(name) = CString::new(format!("polyloom-removed-{moved}")) else { break };
            if file::rename_new(directory.as_fd(), &child, top.as_fd(), &name).is_ok() {
                progress = true;
                break;
            }
        }
    }
    progress | file::rmdirat(top.as_fd(), entry).is_ok()
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    // Not kept whole: a directory may have any number of entries.
    const AT_ONCE: usize = 4096;
    let entries = fs::read_dir(link(directory))?.take(AT_ONCE);
    Ok(entries
        .flatten()
        .filter_map(|entry| CString::new(entry.file_name().as_bytes()).ok())
        .collect())
}
