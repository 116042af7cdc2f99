//! Landlock, the second wall behind the mount namespace. Knows the layout of a cell's file system; does not know users or binds.
//!
//! The mount namespace decides what is visible; this decides what may be done with it even if a path to
//! something else were found. It is never the only wall: it does not stop `stat`, UDP or connecting to a unix socket by path.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use super::template;
use crate::sys::{self, check, file};

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

#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// The newest ABI whose rights, scopes and flags we know (Linux 6.15); what later ones add is not claimed.
const KNOWN: u32 = 7;

/// The best ABI that this kernel makes a ruleset of; 0 is none. What it says of itself is only where the trying begins.
pub fn abi() -> u32 {
    const VERSION: u32 = 1;
    let none: *const RulesetAttr = std::ptr::null();
    // SAFETY: the version query takes a null attribute of size zero.
    let said = check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) })
        .map_or(0, |version| version as u32);
    (1..=said.min(KNOWN)).rev().find(|abi| ruleset(*abi).is_ok()).unwrap_or(0)
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

/// An empty ruleset of an ABI: everything it knows is refused, for nothing is allowed yet.
fn ruleset(abi: u32) -> io::Result<OwnedFd> {
    let attr = RulesetAttr {
        handled_fs: all_rights(abi),
        // Bind and connect over TCP; rules allow connecting to doors.
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
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// What a cell may do; nothing at ABI 0, which the host reports. `writable`: what was granted beyond the cell's own directories; `ports`: where it may
/// connect to.
pub fn rules(abi: u32, writable: &[CString], ports: &[u16]) -> io::Result<Option<OwnedFd>> {
    if abi == 0 {
        return Ok(None);
    }
    let all = all_rights(abi);
    let ruleset = ruleset(abi)?;

    let read = EXECUTE | READ_FILE | READ_DIR;
    let nodes = MAKE_CHAR | MAKE_BLOCK | MAKE_FIFO;
    allow(&ruleset, c"/", read & all)?;
    allow(&ruleset, c"/dev", (read | WRITE_FILE | TRUNCATE | IOCTL_DEV) & all)?;
    allow(&ruleset, c"/cell/out", all & !nodes & !MAKE_SOCK)?;
    for directory in [c"/cell/work", c"/cell/tmp", c"/cell/shm"] {
        allow(&ruleset, directory, all & !nodes)?;
    }
    for path in writable {
        allow(&ruleset, path, all & !nodes & !MAKE_SOCK)?;
    }
    if abi >= 4 {
        for port in ports {
            allow_port(&ruleset, *port)?;
        }
    }
    Ok(Some(ruleset))
}

/// The same without a mount namespace: this is what decides about files. `cell` is the folder of the cell's own files.
pub fn restrict_bare(
    abi: u32,
    cell: &CStr,
    readable: &[CString],
    writable: &[CString],
) -> io::Result<()> {
    if abi == 0 {
        return Ok(());
    }
    let all = all_rights(abi);
    let ruleset = ruleset(abi)?;
    let read = (EXECUTE | READ_FILE | READ_DIR) & all;
    let nodes = MAKE_CHAR | MAKE_BLOCK | MAKE_FIFO;
    let write = all & !nodes & !MAKE_SOCK;
    for path in host_paths() {
        allow_existing(&ruleset, &path, read)?;
    }
    for device in [c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom"] {
        allow_existing(&ruleset, device, (READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV) & all)?;
    }
    allow(&ruleset, cell, read)?;
    for own in ["out", "work", "tmp", "shm"] {
        let path = [cell.to_bytes(), b"/", own.as_bytes()].concat();
        allow(&ruleset, &CString::new(path).map_err(io::Error::other)?, write)?;
    }
    for path in readable {
        allow(&ruleset, path, read)?;
    }
    for path in writable {
        allow(&ruleset, path, write)?;
    }
    enforce(abi, &ruleset)
}

/// What of the host's a cell reads: the trees and files that the template shows, and what stands in for its synthetic ones.
fn host_paths() -> Vec<CString> {
    const MORE: [&str; 5] = ["passwd", "group", "nsswitch.conf", "localtime", "os-release"];
    let trees = template::TREES.into_iter().map(|tree| Path::new("/").join(tree));
    let files =
        template::ETC_FILES.into_iter().chain(MORE).map(|name| Path::new("/etc").join(name));
    let folders = template::ETC_TREES.into_iter();
    let folders = folders.flat_map(|pattern| template::matches(Path::new("/etc"), pattern));
    let all = trees.chain(files).chain(folders).chain(["/proc".into()]);
    all.filter_map(|path| sys::c_path(&path).ok()).collect()
}

fn allow_existing(ruleset: &OwnedFd, path: &CStr, rights: u64) -> io::Result<()> {
    match allow(ruleset, path, rights) {
        // Not every machine has each of them.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Restricts the calling process, for good. Needs `no_new_privs`.
pub fn enforce(abi: u32, ruleset: &OwnedFd) -> io::Result<()> {
    // What a cell's own, nested rulesets refuse is no business of the machine's audit log, which a cell could fill with it.
    const LOG_SUBDOMAINS_OFF: u32 = 4;
    let flags = if abi >= 7 { LOG_SUBDOMAINS_OFF } else { 0 };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, flags) }).map(drop)
}

fn allow_port(ruleset: &OwnedFd, port: u16) -> io::Result<()> {
    const NET_PORT: u32 = 2;
    const CONNECT_TCP: u64 = 2;
    let rule = NetPort { allowed: CONNECT_TCP, port: u64::from(port) };
    // SAFETY: the rule outlives the call, which only reads it.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            NET_PORT,
            &raw const rule,
            0,
        )
    })
    .map(drop)
}

fn allow(ruleset: &OwnedFd, path: &CStr, rights: u64) -> io::Result<()> {
    const PATH_BENEATH: u32 = 1;
    let parent = file::open(path, libc::O_PATH)?;
    // Rights of directories are refused for a file.
    let directory = file::fstat(parent.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let rights = if directory {
        rights
    } else {
        rights & (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)
    };
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
