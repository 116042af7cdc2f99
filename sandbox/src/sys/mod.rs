//! System calls without a safe wrapper, one thin function each, errors as `io::Error` from `errno`.
//! Knows no policy.

pub mod file;
pub mod ipc;
pub mod loops;
pub mod mount;
pub mod netlink;
pub mod process;
pub mod socket;

use std::{ffi::CString, io, os::unix::ffi::OsStrExt, path::Path};

/// Turns the `-1` convention into a `Result`; `errno` is read at once, before anything else can change it.
pub fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// [`check`] for the calls that return an `int`.
pub fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A path for the kernel.
pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Repeats a call that a signal interrupted.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// Waits until one of the descriptors has one of its events, at most `timeout_ms` (-1 is for ever). Returns the number ready.
pub fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> io::Result<i32> {
    // SAFETY: the slice is valid for writing for the call; a slice's length fits nfds_t.
    retry(|| {
        check_int(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) })
    })
}

/// A `pollfd` for one descriptor.
pub fn interest(fd: std::os::fd::BorrowedFd<'_>, events: i16) -> libc::pollfd {
    libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&fd), events, revents: 0 }
}
