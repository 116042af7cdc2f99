//! Loop devices: a file as a disk.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::{check_int, file};

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
/// The device lets go of its file when nobody uses it any more.
const AUTOCLEAR: u32 = 4;
/// Pages are kept once, not once more below the device.
const DIRECT_IO: u32 = 16;

/// `struct loop_config` of `linux/loop.h` (5.8), whose only fields that are not left at zero are named.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    /// Device, inode, rdevice, offset, sizelimit.
    numbers: [u64; 5],
    /// Number, encryption type and key size.
    words: [u32; 3],
    flags: u32,
    /// Names and key, init, reserved.
    rest: [u64; 20 + 2 + 8],
}

const _: () = assert!(size_of::<Config>() == 8 + 232 + 64);

/// Attaches a file to a free loop device: the device and its path. It is free again when the last user of it is gone.
pub fn attach(backing: BorrowedFd<'_>) -> io::Result<(OwnedFd, CString)> {
    let control = file::open(c"/dev/loop-control", libc::O_RDWR)?;
    // Somebody else may be given the same number: who configures it first has it.
    for _ in 0..64 {
        // SAFETY: the request takes no argument.
        let number = check_int(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE, 0) })?;
        let path = CString::new(format!("/dev/loop{number}")).map_err(io::Error::other)?;
        let device = file::open(&path, libc::O_RDWR)?;
        for flags in [AUTOCLEAR | DIRECT_IO, AUTOCLEAR] {
            let config = Config {
                fd: backing.as_raw_fd() as u32,
                block_size: 4096,
                numbers: [0; 5],
                words: [0; 3],
                flags,
                rest: [0; 30],
            };
            // SAFETY: the request reads a `loop_config`, which outlives the call.
            let done =
                unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
            match check_int(done) {
                Ok(_) => return Ok((device, path)),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => break,
                // Not every file system reads around the cache.
                Err(_) if flags & DIRECT_IO != 0 => {}
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}
