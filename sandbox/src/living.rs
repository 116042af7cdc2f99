//! A sandbox whose program goes on from task to task: files that come and go while it lives, and copies of files that may still change. Everything is by
//! descriptor, below the cell's own folders, through no link; knows no task.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    CELL_ROOT,
    collect::{Collector, Refusal},
    sandbox::Sandbox,
    spec::Spec,
    sys::{
        self,
        file::{self, NO_ESCAPE, RESOLVE_NO_XDEV},
        process,
    },
    usage,
};

/// Levels of what is removed: each takes a descriptor.
const DEPTH: usize = 256;
/// Files and folders that are removed at most; a sandbox with more is ended instead.
const ENTRIES: usize = 100_000;

/// Folders that a cell can write to, and that no host lays anything into.
const OWN: [&str; 3] = ["work", "tmp", "shm"];

/// Mount points in these folders, by their paths below the cell's own file system. They are the host's, as are the folders on the way to them: no files of the cell's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Points(Vec<PathBuf>);

/// Whose an entry in one of these folders is.
enum Whose {
    /// Something of the host's is in view there.
    Point,
    /// Such a thing is below.
    Way,
    Cells,
}

impl Points {
    /// Those of a sandbox that is made by an order.
    pub fn of(spec: &Spec) -> Self {
        let openings = spec.openings.iter().map(|it| &it.target);
        let targets = spec.binds.iter().map(|it| &it.target).chain(openings);
        let below = targets.filter_map(|target| {
            let tmp = ["/tmp", "/var/tmp"].iter().find_map(|tmp| target.strip_prefix(tmp).ok());
            let below = tmp.map(|rest| Path::new("tmp").join(rest));
            below.or_else(|| target.strip_prefix(CELL_ROOT).ok().map(Path::to_owned))
        });
        let mut points: Vec<PathBuf> =
            below.filter(|it| OWN.iter().any(|own| it.starts_with(own))).collect();
        // What is below another one lies in what is in view there.
        points.sort();
        points.dedup_by(|later, earlier| later.starts_with(earlier));
        Self(points)
    }

    fn whose(&self, path: &Path) -> Whose {
        let below = || self.0.iter().filter(|point| point.starts_with(path));
        match below().next() {
            None => Whose::Cells,
            Some(_) if below().any(|point| point == path) => Whose::Point,
            Some(_) => Whose::Way,
        }
    }
}

impl Sandbox {
    /// Makes a file that the cell finds and, where there are two users, can't change. It is none of the cell's use of its disk.
    pub fn lay(&mut self, path: &Path, from: &mut dyn Read) -> io::Result<()> {
        self.as_supervisor(|sandbox| {
            let below = below(path)?;
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            let to = sandbox.open_below(below, flags, 0o644)?;
            // The umask of the host is not the cell's.
            let mut to = File::from(to);
            to.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            io::copy(from, &mut to)?;
            to.flush()
        })
    }

    /// Makes a folder for such files.
    pub fn lay_folder(&mut self, path: &Path) -> io::Result<()> {
        self.as_supervisor(|sandbox| {
            let below = below(path)?;
            let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let parent = sandbox.open_below(parent, flags, 0)?;
            file::mkdirat(parent.as_fd(), &sys::c_path(Path::new(name))?, 0o755)?;
            let made = sandbox.open_below(below, flags, 0)?;
            File::from(made).set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        })
    }

    /// Removes what lies in one of the cell's folders (`in`, `code`, `out`). An error: something is still there, put there by a program that goes on.
    pub fn empty(&mut self, folder: &str) -> io::Result<()> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let top = self.open_below(Path::new(folder), flags, 0)?;
        if file::is_empty(top.as_fd())? {
            return Ok(());
        }
        let before = file::bytes_used(self.root.as_fd());
        let mut removal = Removal { points: &self.points, left: ENTRIES };
        removal.below(top.as_fd(), Path::new(folder), DEPTH)?;
        let freed = before.saturating_sub(file::bytes_used(self.root.as_fd()));
        if folder != "out" && !OWN.contains(&folder) {
            self.disk_before = self.disk_before.saturating_sub(freed);
        }
        Ok(())
    }

    /// Removes what lies at a path in one of the folders that the host lays files into (`in`, `code`), where anything does.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let below = below(path)?;
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let folder = self.open_below(parent, flags, 0)?;
        let before = file::bytes_used(self.root.as_fd());
        let mut removal = Removal { points: &self.points, left: ENTRIES };
        match removal.entry(folder.as_fd(), Path::new(name), below, DEPTH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let freed = before.saturating_sub(file::bytes_used(self.root.as_fd()));
        self.disk_before = self.disk_before.saturating_sub(freed);
        Ok(())
    }

    /// Whether the cell has no files of its own: nothing lies where it can write, but for what the host has put there.
    pub fn has_no_files(&self) -> io::Result<bool> {
        let mut open: Vec<PathBuf> = OWN.iter().map(PathBuf::from).collect();
        while let Some(folder) = open.pop() {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let top = self.open_below(&folder, flags, 0)?;
            if file::is_empty(top.as_fd())? {
                continue;
            }
            let Whose::Way = self.points.whose(&folder) else { return Ok(false) };
            for entry in entries(top.as_fd())? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                match self.points.whose(&path) {
                    Whose::Point => {}
                    Whose::Way if entry.file_type()?.is_dir() => open.push(path),
                    Whose::Way | Whose::Cells => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Processes below its first one.
    #[must_use]
    pub fn processes(&self) -> usize {
        usage::descendants(self.pid).len()
    }

    /// Has all its processes stand still, or go on. Who is stopped so can only be ended; for one with namespaces.
    pub fn hold(&self, still: bool) -> io::Result<()> {
        let signal = if still { libc::SIGSTOP } else { libc::SIGCONT };
        crate::wire::send_signal_command(self.control.as_fd(), -signal)
    }

    /// Bytes that its file system has room for.
    pub fn room(&self) -> io::Result<u64> {
        let stat = file::fstatfs(self.root.as_fd())?;
        Ok(stat.f_bavail.saturating_mul(u64::try_from(stat.f_bsize).unwrap_or(0)))
    }

    /// Has the highest memory counted from now on, where the kernel can: else it is the highest that there ever was.
    pub fn forget_peak(&self) -> bool {
        self.polled_peak.store(0, std::sync::atomic::Ordering::Relaxed);
        self.groups.forget_peak()
    }

    /// Removes all files of the cell's own. An error: what the host has put among them is not in its place any more.
    pub fn clear(&mut self) -> io::Result<()> {
        OWN.iter().try_for_each(|folder| self.empty(folder))?;
        self.points.0.iter().try_for_each(|point| {
            match self.open_below(point, libc::O_PATH | libc::O_NOFOLLOW, 0) {
                // By a descriptor in the cell's own mount namespace, which leads further.
                Err(error) if error.raw_os_error() == Some(libc::EXDEV) => Ok(()),
                other => other.map(drop),
            }
        })
    }

    fn open_below(&self, below: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
        let resolve = NO_ESCAPE | RESOLVE_NO_XDEV;
        let (folder, below) = self.folder_of(below);
        file::openat2(folder, &sys::c_path(below)?, flags, mode, resolve)
    }

    /// The folder below which a path is looked for. Over those of code and inputs there may be read-only mounts, which are the cell's view of them.
    fn folder_of<'p>(&self, below: &'p Path) -> (BorrowedFd<'_>, &'p Path) {
        let folders = self.laid.iter().zip(["code", "in"]);
        let found = folders.filter_map(|(fd, name)| Some((fd, below.strip_prefix(name).ok()?)));
        match found.map(|(fd, rest)| (fd.as_fd(), rest)).next() {
            Some((folder, rest)) if rest.as_os_str().is_empty() => (folder, Path::new(".")),
            Some(found) => found,
            None => (self.root.as_fd(), below),
        }
    }

    /// Makes files as its supervisor does, whose user they are to be; what they take is not the cell's.
    fn as_supervisor(&mut self, make: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        let before = file::bytes_used(self.root.as_fd());
        let made = {
            let _guard = self.owner.map(process::FileUser::become_one).transpose()?;
            make(self)
        };
        let taken = file::bytes_used(self.root.as_fd()).saturating_sub(before);
        self.disk_before += taken;
        made
    }
}

fn below(path: &Path) -> io::Result<&Path> {
    path.strip_prefix(CELL_ROOT).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn entries(folder: BorrowedFd<'_>) -> io::Result<fs::ReadDir> {
    fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// Removes what is not the host's.
struct Removal<'p> {
    points: &'p Points,
    /// So much may still be removed.
    left: usize,
}

impl Removal<'_> {
    /// What is in a folder, whose path `at` is below the cell's own file system.
    fn below(&mut self, folder: BorrowedFd<'_>, at: &Path, depth: usize) -> io::Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(io::Error::other(format!("it is nested deeper than {DEPTH} folders")));
        };
        // Read to its end first, so that a level takes one descriptor.
        let mut names = Vec::new();
        for entry in entries(folder)? {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| io::Error::other(format!("there are more than {ENTRIES} files")))?;
            names.push(entry?.file_name());
        }
        names.into_iter().try_for_each(|name| {
            let name = Path::new(&name);
            self.entry(folder, name, &at.join(name), depth)
        })
    }

    /// One entry of a folder, with what is in it; `at` is its own path.
    fn entry(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &Path,
        at: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let whose = self.points.whose(at);
        let name = sys::c_path(name)?;
        match whose {
            // Its mount would go with it.
            Whose::Point => return Ok(()),
            Whose::Way => {}
            Whose::Cells => match file::unlinkat(folder, &name) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {}
                other => return other,
            },
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let resolve = NO_ESCAPE | RESOLVE_NO_XDEV;
        let inner = file::openat2(folder, &name, flags, 0, resolve)?;
        self.below(inner.as_fd(), at, depth)?;
        match whose {
            Whose::Cells => file::rmdirat(folder, &name),
            Whose::Point | Whose::Way => Ok(()),
        }
    }
}

impl Collector {
    /// A copy of a file that a program may still change: a file in the host's memory, at its start, that nobody changes any more. A file of more than
    /// `most` bytes is refused.
    pub fn copy_file(&self, path: &str, most: u64) -> Result<OwnedFd, Refusal> {
        let unreadable = |error: io::Error| Refusal::Unreadable(error.kind());
        let from = File::from(self.open_file(path)?);
        let meta = from.metadata().map_err(unreadable)?;
        let size = meta.len();
        if size > most {
            return Err(Refusal::Unreadable(io::ErrorKind::FileTooLarge));
        }
        let copy = file::memfd(c"polyloom-output").map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Refusal::OutOfDescriptors,
            _ => unreadable(error),
        })?;
        let mut to = File::from(copy);
        // What is written meanwhile beyond the size it had is not waited for.
        io::copy(&mut from.take(size), &mut to).map_err(unreadable)?;
        let mode = std::os::unix::fs::MetadataExt::mode(&meta) & 0o777 | 0o400;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        to.set_permissions(mode).map_err(unreadable)?;
        let copy = OwnedFd::from(to);
        file::seal(copy.as_fd()).map_err(unreadable)?;
        let link = sys::c_path(Path::new(&format!("/proc/self/fd/{}", copy.as_raw_fd())));
        let link = link.map_err(unreadable)?;
        file::open(&link, libc::O_RDONLY).map_err(unreadable)
    }
}
