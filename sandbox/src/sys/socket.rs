//! Message sockets that carry descriptors.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::{check, check_int, retry};

/// The kernel's bound is 253 per message; ours never needs as many.
pub const MAX_FDS: usize = 32;

/// A connected pair, close-on-exec: `SOCK_SEQPACKET` or `SOCK_STREAM`.
pub fn pair(kind: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for two descriptors.
    check_int(unsafe {
        libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr())
    })?;
    // SAFETY: on success both are new descriptors nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Control data for [`MAX_FDS`] descriptors, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// Sends one message with descriptors. A vanished peer is `EPIPE`, never a signal.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    assert!(fds.len() <= MAX_FDS, "callers pass a bounded set of descriptors");
    let mut control = Control([0; 256]);
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain integers and pointers for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let data = size_of_val(fds) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(data) } as usize;
        // SAFETY: the control buffer is aligned and large enough for one header and MAX_FDS descriptors
        // (CMSG_SPACE(128) = 144), so the first header exists and its data may be written.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(data) as usize;
            let slots = libc::CMSG_DATA(header).cast::<i32>();
            for (index, fd) in fds.iter().enumerate() {
                slots.add(index).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    // SAFETY: every pointer in `message` refers to a live local.
    let sent = retry(|| {
        check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
            as libc::c_long)
    })?;
    if sent as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// What [`receive`] found.
#[derive(Debug)]
pub struct Received {
    /// Bytes of the message; 0 means the peer is gone (nobody here sends empty messages).
    pub length: usize,
    /// Descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Receives one message. A message or control data that did not fit is an error, and its descriptors are closed.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 256]);
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain integers and pointers for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: every pointer in `message` refers to a live local.
    let length = retry(|| {
        check(
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) }
                as libc::c_long,
        )
    })? as usize;
    let mut fds = Vec::new();
    // SAFETY: the kernel wrote well-formed headers into the buffer; the walk stays inside msg_controllen, and each
    // descriptor in an SCM_RIGHTS header is new and ours.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let count = ((*header).cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<i32>();
                let slots = libc::CMSG_DATA(header).cast::<i32>();
                for index in 0..count {
                    fds.push(OwnedFd::from_raw_fd(slots.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok(Received { length, fds })
}
