//! How much is in a folder that a living cell fills. Names and open files are both looked at: a file without a name takes space, too.

use std::{
    collections::HashSet,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    sys::{self, file},
    usage,
};

/// Directories nested deeper than this are not counted but taken for too much.
const DEPTH: usize = 256;
/// Looking takes at most one part in this many of the time.
const SHARE: u32 = 20;

/// What was seen, and when to look again.
#[derive(Debug)]
pub struct Measure {
    limit: u64,
    files: u64,
    last: Mutex<Option<(Instant, Sum)>>,
}

/// What is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub bytes: u64,
    pub files: u64,
    /// More than the limit, or more than can be counted.
    pub over: bool,
}

impl Measure {
    /// For a folder that may hold this much.
    pub fn new(limit: u64, files: u64) -> Self {
        Self { limit, files, last: Mutex::new(None) }
    }

    /// How much it may hold, and how many.
    pub fn bounds(&self) -> (u64, u64) {
        (self.limit, self.files)
    }

    /// Whether it is the files that are more than there may be.
    pub fn too_many(&self, sum: Sum) -> bool {
        sum.files > self.files
    }

    /// The sum, which may be a moment old where counting takes long. `supervisor` is the process whose descendants may have files open.
    pub fn sum(&self, folder: &OwnedFd, supervisor: Option<i32>) -> Sum {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        if let Some((due, sum)) = *last
            && start < due
            && supervisor.is_some()
        {
            return sum;
        }
        let mut count = Count { measure: self, sum: Sum::default(), seen: HashSet::new() };
        // Where nothing can be seen, nothing is claimed.
        if count.directory(folder, DEPTH).is_err() {
            count.sum.over = true;
        }
        if let (Some(supervisor), Ok(own)) = (supervisor, file::fstat(folder.as_fd())) {
            count.open_files(supervisor, own.st_dev);
        }
        let sum = count.sum;
        *last = Some((Instant::now() + pause(start.elapsed()), sum));
        sum
    }
}

fn pause(cost: Duration) -> Duration {
    cost * SHARE
}

struct Count<'m> {
    measure: &'m Measure,
    sum: Sum,
    /// Files met: they may have more names than one, and be open besides.
    seen: HashSet<u64>,
}

impl Count<'_> {
    fn add(&mut self, inode: u64, blocks: u64, directory: bool) {
        if !directory && !self.seen.insert(inode) {
            return;
        }
        self.sum.bytes += blocks * 512;
        self.sum.files += 1;
        self.sum.over |= self.sum.bytes > self.measure.limit || self.sum.files > self.measure.files;
    }

    fn directory(&mut self, directory: &OwnedFd, depth: usize) -> io::Result<()> {
        if depth == 0 {
            self.sum.over = true;
            return Ok(());
        }
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let mode = file::fstat(directory.as_fd())?.st_mode;
        // A directory into which its owner may put files but which it may not list: we are that owner, where we are not root.
        if mode & 0o300 == 0o300 && mode & 0o400 == 0 {
            let _ = fs::set_permissions(&link, fs::Permissions::from_mode(mode & 0o7777 | 0o400));
        }
        let entries = match fs::read_dir(&link) {
            Ok(entries) => entries,
            // Nobody can put anything in here either; what is open in there is found by its descriptor.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            if self.sum.over {
                return Ok(());
            }
            let name = sys::c_path(Path::new(&entry?.file_name()))?;
            let flags = libc::O_PATH | libc::O_NOFOLLOW;
            let rules = file::NO_ESCAPE | file::RESOLVE_NO_XDEV;
            // Gone since it was listed.
            let Ok(found) = file::openat2(directory.as_fd(), &name, flags, 0, rules) else {
                continue;
            };
            let stat = file::fstat(found.as_fd())?;
            let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
            self.add(stat.st_ino, stat.st_blocks as u64, is_directory);
            if is_directory {
                self.directory(&found, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Files of this device that are open and have no name where the walk could see one.
    fn open_files(&mut self, supervisor: i32, device: u64) {
        for pid in usage::descendants(supervisor) {
            let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
            for entry in entries.flatten() {
                if self.sum.over {
                    return;
                }
                // Follows what the descriptor refers to, not a path.
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                if metadata.is_file() && metadata.dev() == device {
                    self.add(metadata.ino(), metadata.blocks(), false);
                }
            }
        }
    }
}
