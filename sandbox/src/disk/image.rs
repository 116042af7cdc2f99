//! A file system of its own for one cell: a nameless file, a loop device, ext4. Nothing of it has a name, so that nothing is left however its
//! host ends: the last descriptor of the mount takes device and file along.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    process::{Command, Stdio},
};

use crate::sys::{check_int, file, loops, mount};

/// Where distributions keep it; never looked up in anybody's PATH.
const MKFS: [&str; 4] =
    ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4", "/usr/bin/mkfs.ext4", "/usr/local/sbin/mkfs.ext4"];

const BLOCK: u64 = 4096;
const INODE: u64 = 256;

/// A mounted, unattached, empty file system with room for at least `bytes` and `inodes`, and little more.
pub fn make(scratch: BorrowedFd<'_>, bytes: u64, inodes: u64) -> io::Result<OwnedFd> {
    let program = MKFS.into_iter().map(Path::new).find(|path| path.exists());
    let program = program.ok_or_else(|| io::Error::other("`mkfs.ext4` is not installed"))?;
    let backing = file::openat(scratch, c".", libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
    // A dozen inodes are the file system's own.
    let inodes = inodes + 16;
    // Tables of inodes, bitmaps of each 128 MiB, and what is there once: a little more than measured, since less would be an error.
    let size = bytes.saturating_add(inodes * INODE).saturating_add(bytes / 4096 + (192 << 10));
    // What ext4 keeps back at a mount: one block in fifty, at most 4096 blocks.
    let size = size.saturating_add((size / 48).min(4096 * BLOCK));
    let size = i64::try_from(size.next_multiple_of(BLOCK)).map_err(io::Error::other)?;
    // Reserved now: a disk that fills up later would lose what the cell believes it has written.
    // SAFETY: integers only.
    check_int(unsafe { libc::fallocate(backing.as_raw_fd(), 0, 0, size) })?;
    format(program, &backing, inodes)?;
    let (device, path) = loops::attach(backing.as_fd())?;
    let options = [(c"source", path.as_c_str())];
    let mount = mount::new_filesystem(c"ext4", &options, mount::NOSUID | mount::NODEV)?;
    drop(device);
    file::rmdirat(mount.as_fd(), c"lost+found")?;
    let stat = file::fstatfs(mount.as_fd())?;
    if stat.f_bavail * (stat.f_bsize as u64) < bytes || stat.f_ffree + 16 < inodes {
        return Err(io::Error::other("the file system came out smaller than asked for"));
    }
    Ok(mount)
}

fn format(program: &Path, backing: &OwnedFd, inodes: u64) -> io::Result<()> {
    // It only takes a path; that of its own standard input leads to the nameless file.
    let output = Command::new(program)
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-I", "256"])
        .args(["-O", "^has_journal,^resize_inode", "-E", "nodiscard,lazy_itable_init=1"])
        .args(["-N", &inodes.to_string(), "/proc/self/fd/0"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(File::from(backing.try_clone()?)))
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().next_back().unwrap_or("it said nothing").to_owned();
    Err(io::Error::other(format!("`mkfs.ext4` failed: {last}")))
}
