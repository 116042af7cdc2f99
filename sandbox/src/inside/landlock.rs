//! Landlock, the second wall behind the mount namespace. Knows the layout of a cell's file system; does not know users or binds.
//!
//! The mount namespace decides what is visible; this decides what may be done with it even if a path to
//! something else were found. It is never the only wall: it does not stop `stat`, UDP or connecting to a unix socket by path.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use crate::sys::{check, file};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// Layout of ABI 6; older ABIs read a prefix.
#[repr(C)]
struct RulesetAttr {
    handled_fs: u64,
    handled_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// The ABI version of this kernel; 0 is none.
pub fn abi() -> u32 {
    const VERSION: u32 = 1;
    let none: *const RulesetAttr = std::ptr::null();
    // SAFETY: the version query takes a null attribute of size zero.
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) })
        .map_or(0, |version| version as u32)
}

/// Every file-system right an ABI knows.
const fn all_rights(abi: u32) -> u64 {
    let count = match abi {
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << count) - 1
}

/// Restricts the calling process, for good. Needs `no_new_privs`. Does nothing at ABI 0, which the host reports.
pub fn restrict(abi: u32) -> io::Result<()> {
    if abi == 0 {
        return Ok(());
    }
    let all = all_rights(abi);
    let attr = RulesetAttr {
        handled_fs: all,
        // Bind and connect over TCP; no rule allows any.
        handled_net: if abi >= 4 { 3 } else { 0 },
        // Abstract unix sockets and signals stay inside the cell: cells of one spawner share a network namespace.
        scoped: if abi >= 6 { 3 } else { 0 },
    };
    let size = match abi {
        ..4 => 8,
        4..6 => 16,
        _ => size_of::<RulesetAttr>(),
    };
    // SAFETY: `attr` outlives the call and `size` is at most its size.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0)
    })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    let ruleset = unsafe { OwnedFd::from_raw_fd(fd as i32) };

    let read = EXECUTE | READ_FILE | READ_DIR;
    let nodes = MAKE_CHAR | MAKE_BLOCK | MAKE_FIFO;
    allow(&ruleset, c"/", read & all)?;
    allow(&ruleset, c"/dev", (read | WRITE_FILE | TRUNCATE | IOCTL_DEV) & all)?;
    allow(&ruleset, c"/cell/out", all & !nodes & !MAKE_SOCK)?;
    for directory in [c"/cell/work", c"/cell/tmp", c"/cell/shm"] {
        allow(&ruleset, directory, all & !nodes)?;
    }
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}

fn allow(ruleset: &OwnedFd, path: &CStr, rights: u64) -> io::Result<()> {
    const PATH_BENEATH: u32 = 1;
    let parent = file::open(path, libc::O_PATH)?;
    let rule = PathBeneath { allowed: rights, parent: parent.as_fd().as_raw_fd() };
    // SAFETY: the rule outlives the call, which only reads it.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0,
        )
    })
    .map(drop)
}
