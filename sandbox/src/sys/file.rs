//! Files and directories by descriptor, pipes, memfds, eventfds.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

use super::{check, check_int};

/// `openat2` resolve flags used everywhere: stay below, no links of any kind.
pub const NO_ESCAPE: u64 = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
/// Do not cross mount points.
pub const RESOLVE_NO_XDEV: u64 = 0x01;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_BENEATH: u64 = 0x08;

/// Opens relative to a directory under `resolve` rules; always close-on-exec.
pub fn openat2(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: `open_how` is plain integers; zero is a valid value of each.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    // SAFETY: the path is NUL-terminated, `how` outlives the call and its exact size is given.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `openat`, close-on-exec.
pub fn openat(dir: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    // SAFETY: the path is NUL-terminated; the rest are integers.
    let fd = check_int(unsafe {
        libc::openat(dir.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC, mode)
    })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `open` from the current directory or root, close-on-exec.
pub fn open(path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: AT_FDCWD is always valid to borrow for the call.
    openat(unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }, path, flags, 0)
}

/// Whether a folder that was just opened has no entries but the two that every folder has.
pub fn is_empty(folder: BorrowedFd<'_>) -> io::Result<bool> {
    // `.` and `..`: 19 bytes and the name with its end, in whole words.
    const OWN: i64 = 24 + 24;
    let mut entries = [0_u64; 8];
    let mut length = 0;
    while length <= OWN {
        let (to, size) = (entries.as_mut_ptr(), std::mem::size_of_val(&entries));
        // SAFETY: the kernel writes at most `size` bytes of the buffer.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), to, size) };
        match check(read) {
            Ok(0) => return Ok(true),
            Ok(more) => length += more,
            // The name of one is longer than there is room for.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// `mkdirat`; an existing directory is fine. The umask applies.
pub fn mkdirat(dir: BorrowedFd<'_>, path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    match check_int(unsafe { libc::mkdirat(dir.as_raw_fd(), path.as_ptr(), mode) }) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// `mkdirat` of something new that is the caller's alone.
pub fn make_private_dir(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::mkdirat(dir.as_raw_fd(), path.as_ptr(), 0o700) }).map(drop)
}

/// Whether something has extended attributes (a link itself, not what it leads to).
pub fn has_attributes(path: &CStr) -> io::Result<bool> {
    // SAFETY: the path is NUL-terminated; a size of zero asks for the size alone.
    let size =
        check(unsafe { libc::llistxattr(path.as_ptr(), std::ptr::null_mut(), 0) } as libc::c_long);
    match size {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        other => Ok(other? > 0),
    }
}

/// Whether a directory has flags of `chattr(1)`. A file system without them has none.
pub fn has_flags(path: &CStr) -> io::Result<bool> {
    // FS_IOC_GETFLAGS, which writes an int whatever its number says (ioctl_iflags(2)).
    const GET_FLAGS: libc::Ioctl = 0x8008_6601;
    let directory = open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut flags = 0_i64;
    // SAFETY: `flags` is live and as large as the number says.
    match check_int(unsafe { libc::ioctl(directory.as_raw_fd(), GET_FLAGS, &raw mut flags) }) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(false),
        other => other.map(|_| flags != 0),
    }
}

/// Sets both times to now.
pub fn touch(path: &CStr) -> io::Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path is NUL-terminated; no times mean now.
    check_int(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), flags) })
        .map(drop)
}

/// `unlinkat`, of anything but a directory.
pub fn unlinkat(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), 0) }).map(drop)
}

/// `unlinkat`, of an empty directory.
pub fn rmdirat(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), libc::AT_REMOVEDIR) })
        .map(drop)
}

/// Moves within one file system onto a name that must not exist.
pub fn rename_new(
    from: BorrowedFd<'_>,
    old: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
) -> io::Result<()> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: both paths are NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from,
            old.as_ptr(),
            to,
            new.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    })
    .map(drop)
}

/// Takes the exclusive lock of what is open, unless another has it. It goes with the last copy of the descriptor.
pub fn try_lock(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: integers only.
    check_int(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).is_ok()
}

/// `symlinkat`.
pub fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: both paths are NUL-terminated.
    check_int(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// `mknodat`.
pub fn mknodat(dir: BorrowedFd<'_>, path: &CStr, mode: u32, device: u64) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::mknodat(dir.as_raw_fd(), path.as_ptr(), mode, device) }).map(drop)
}

/// `fchownat` without following a link.
pub fn chownat(dir: BorrowedFd<'_>, path: &CStr, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe {
        libc::fchownat(dir.as_raw_fd(), path.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW)
    })
    .map(drop)
}

/// `fchown`.
pub fn fchown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) }).map(drop)
}

/// `fstat`; works on `O_PATH` descriptors.
pub fn fstat(fd: BorrowedFd<'_>) -> io::Result<libc::stat> {
    // SAFETY: `stat` is plain integers; zero is a valid value of each, and the kernel fills it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing.
    check_int(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    Ok(stat)
}

/// `fstatfs`; works on `O_PATH` descriptors.
pub fn fstatfs(fd: BorrowedFd<'_>) -> io::Result<libc::statfs> {
    // SAFETY: `statfs` is plain integers; zero is a valid value of each, and the kernel fills it.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing.
    check_int(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut stat) })?;
    Ok(stat)
}

/// Bytes in use on the file system of a descriptor; 0 if it cannot be told.
pub fn bytes_used(fd: BorrowedFd<'_>) -> u64 {
    fstatfs(fd).map_or(0, |stat| (stat.f_blocks - stat.f_bfree) * stat.f_bsize as u64)
}

/// A pipe, close-on-exec at both ends: (read, write).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for two descriptors.
    check_int(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: on success both are new descriptors nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Waits for one byte; false at the end of the file, or where it can't be read.
pub fn read_byte(fd: BorrowedFd<'_>) -> bool {
    let mut byte = [0_u8];
    // SAFETY: the buffer is valid for writing one byte.
    unsafe { libc::read(fd.as_raw_fd(), byte.as_mut_ptr().cast(), 1) == 1 }
}

/// Makes a pipe as large as allowed, at most `bytes`. A refusal is harmless: the pipe keeps its size.
pub fn grow_pipe(fd: BorrowedFd<'_>, bytes: i32) {
    // SAFETY: integers only.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// Sets `O_NONBLOCK` on the open file description.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    let flags = check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: integers only.
    check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
        .map(drop)
}

/// An anonymous file that may be sealed, close-on-exec.
pub fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is NUL-terminated.
    let fd = check_int(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Seals a memfd against every change.
pub fn seal(fd: BorrowedFd<'_>) -> io::Result<()> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: integers only.
    check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// A non-blocking eventfd, close-on-exec.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = check_int(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads from an offset until the buffer is full or the file ends; returns the number of bytes.
pub fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let rest = &mut buffer[done..];
        // SAFETY: `rest` is valid for writing its length.
        let got = super::retry(|| {
            check(unsafe {
                libc::pread(
                    fd.as_raw_fd(),
                    rest.as_mut_ptr().cast(),
                    rest.len(),
                    (offset + done as u64) as libc::off_t,
                )
            } as libc::c_long)
        })?;
        if got == 0 {
            break;
        }
        done += got as usize;
    }
    Ok(done)
}

/// Maps the first `size` bytes of a file for reading, at least one. The caller unmaps them, and answers for what becomes of the file
/// meanwhile.
pub fn map(fd: BorrowedFd<'_>, size: usize) -> io::Result<NonNull<u8>> {
    let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice touches no other.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), size, read, shared, fd.as_raw_fd(), 0) };
    if map == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(map.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// One `write` of the whole buffer; a short write is an error, as for the kernel's control files.
pub fn write_whole(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the slice is valid for reading its length.
    let done = super::retry(|| {
        check(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
            as libc::c_long)
    })?;
    if done as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Copies `length` bytes from an offset of one file to the end position of another, in the kernel.
pub fn send_file(
    to: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    offset: u64,
    length: u64,
) -> io::Result<()> {
    let mut position = offset as libc::off_t;
    let mut left = length;
    while left > 0 {
        let chunk = left.min(1 << 30) as usize;
        // SAFETY: `position` is valid for reading and writing; the rest are integers.
        let sent = super::retry(|| {
            check(unsafe {
                libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), &raw mut position, chunk)
            } as libc::c_long)
        })?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= sent as u64;
    }
    Ok(())
}
