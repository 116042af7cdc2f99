//! The descriptor-based mount interface (Linux 5.2, `mount_setattr` 5.12), and pivoting.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::{check, check_int};

/// Attribute: read-only.
pub const RDONLY: u64 = 0x1;
/// Attribute: set-user-id bits have no effect.
pub const NOSUID: u64 = 0x2;
/// Attribute: device nodes do not work.
pub const NODEV: u64 = 0x4;
/// Attribute: nothing can be executed.
pub const NOEXEC: u64 = 0x8;

const OPEN_TREE_CLONE: i32 = 1;
const AT_RECURSIVE: i32 = 0x8000;
const FSOPEN_CLOEXEC: i32 = 1;
const FSMOUNT_CLOEXEC: i32 = 1;
const FSCONFIG_SET_STRING: i32 = 1;
const FSCONFIG_CMD_CREATE: i32 = 6;
const MOVE_MOUNT_F_EMPTY_PATH: i32 = 0x4;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn new_fd(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: a non-negative result of these calls is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A detached copy of the mount tree at `path` (absolute, or relative to the current directory).
pub fn clone_tree(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated.
    new_fd(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A detached copy of the mount tree that a descriptor refers to.
pub fn clone_tree_of(found: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    // SAFETY: the path is NUL-terminated.
    new_fd(unsafe { libc::syscall(libc::SYS_open_tree, found.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Shows a detached mount with other owners: those that the user namespace maps (`mount_setattr(2)`, MOUNT_ATTR_IDMAP).
pub fn map_owners(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
    const IDMAP: u64 = 0x0010_0000;
    let attr =
        MountAttr { set: IDMAP, clear: 0, propagation: 0, userns_fd: namespace.as_raw_fd() as u64 };
    set_attributes(mount, &attr, Reach::Tree)
}

/// Adds attributes to a mount, and to everything mounted below it when `recursive` is [`Reach::Tree`].
pub fn add_attributes(mount: BorrowedFd<'_>, attributes: u64, reach: Reach) -> io::Result<()> {
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, userns_fd: 0 };
    set_attributes(mount, &attr, reach)
}

fn set_attributes(mount: BorrowedFd<'_>, attr: &MountAttr, reach: Reach) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if reach == Reach::Tree { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` outlives the call and its exact size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// How far a change of attributes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This mount only.
    One,
    /// It and everything below it.
    Tree,
}

/// Makes a new instance of a file system and a detached mount of it.
pub fn new_filesystem(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated.
    let context =
        new_fd(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    set_options(&context, options)?;
    let none: *const libc::c_char = std::ptr::null();
    // SAFETY: this command takes no key and no value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0)
    })?;
    // SAFETY: integers only.
    new_fd(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attributes as libc::c_uint,
        )
    })
}

/// Changes options of the file system that a mount's root is given by.
pub fn reconfigure(root: BorrowedFd<'_>, options: &[(&CStr, &CStr)]) -> io::Result<()> {
    const FSPICK_CLOEXEC: i32 = 1;
    const FSPICK_EMPTY_PATH: i32 = 8;
    const FSCONFIG_CMD_RECONFIGURE: i32 = 7;
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is NUL-terminated.
    let context =
        new_fd(unsafe { libc::syscall(libc::SYS_fspick, root.as_raw_fd(), c"".as_ptr(), flags) })?;
    set_options(&context, options)?;
    let none: *const libc::c_char = std::ptr::null();
    let command = FSCONFIG_CMD_RECONFIGURE;
    // SAFETY: this command takes no key and no value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, none, none, 0) })
        .map(drop)
}

fn set_options(context: &OwnedFd, options: &[(&CStr, &CStr)]) -> io::Result<()> {
    for (key, value) in options {
        // SAFETY: key and value are NUL-terminated.
        check(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        })?;
    }
    Ok(())
}

/// Attaches a detached mount at `path` relative to `dir` (or at an absolute path).
pub fn attach(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: both paths are NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            dir.as_raw_fd(),
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// A plain bind of one file or directory by paths: for covers, where one call is much cheaper than three by descriptor.
pub fn bind(source: &CStr, target: &CStr) -> io::Result<()> {
    let none: *const libc::c_char = std::ptr::null();
    // SAFETY: both paths are NUL-terminated; kind and data may be null for a bind.
    check_int(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), none, libc::MS_BIND, std::ptr::null())
    })
    .map(drop)
}

/// Lets go of a mount and everything below it.
pub fn detach(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// The same for a path whose last part must not be a link.
pub fn detach_plain(path: &CStr) -> io::Result<()> {
    let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::umount2(path.as_ptr(), flags) }).map(drop)
}

/// Makes the current directory the root and lets the old root go: `pivot_root(".", ".")` stacks the old root on the
/// new one, so detaching "." removes it (see the notes of pivot_root(2)).
pub fn pivot_here() -> io::Result<()> {
    // SAFETY: both paths are NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) })?;
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::chdir(c"/".as_ptr()) }).map(drop)
}

/// Cuts the whole mount namespace off from the one it was copied from.
pub fn make_all_private() -> io::Result<()> {
    let none: *const libc::c_char = std::ptr::null();
    // SAFETY: source, type and data may be null for a change of propagation.
    check_int(unsafe {
        libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())
    })
    .map(drop)
}

/// Makes the current directory the root.
pub fn root_here() -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check_int(unsafe { libc::chroot(c".".as_ptr()) }).map(drop)
}

/// `fchdir`.
pub fn enter(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::fchdir(dir.as_raw_fd()) }).map(drop)
}
