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
    send_with(socket, bytes, fds, 0)
}

/// The same, but a peer that has long not read is `WouldBlock`.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_with(socket, bytes, fds, libc::MSG_DONTWAIT)
}

fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: i32,
) -> io::Result<()> {
    let flags = flags | libc::MSG_NOSIGNAL;
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
        check(
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) } as libc::c_long
        )
    })?;
    if sent as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Tells the other side that nothing more comes.
pub fn end_sending(socket: BorrowedFd<'_>) {
    // SAFETY: integers only. A peer that is gone needs no telling.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) };
}

/// Whether to wait for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Yes,
    No,
}

/// Whether a message is there, which stays: 0 is the end of the socket, nothing that there is none now, 1 and 2 that it has one byte or more.
pub fn is_waiting(socket: BorrowedFd<'_>, wait: Wait) -> io::Result<Option<usize>> {
    let mut two = [0_u8; 2];
    let flags = libc::MSG_PEEK | if wait == Wait::No { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: there is room for two bytes.
    let peeked = retry(|| {
        check(unsafe { libc::recv(socket.as_raw_fd(), two.as_mut_ptr().cast(), 2, flags) }
            as libc::c_long)
    });
    match peeked {
        Ok(length) => Ok(Some(length as usize)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
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
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    // There is room for more than anybody here sends: what did not fit had no number to be given.
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    Ok(Received { length, fds })
}

fn internet(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = check_int(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a non-negative result is a new descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A datagram socket on 127.0.0.1.
pub fn bind_loopback_datagram(port: u16) -> io::Result<OwnedFd> {
    let socket = internet(libc::AF_INET, libc::SOCK_DGRAM)?;
    bind_v4(&socket, u32::from(std::net::Ipv4Addr::LOCALHOST), port)?;
    Ok(socket)
}

/// A listening socket on every address of a family; for IPv6 on those of IPv4, too.
pub fn listen_everywhere(family: i32, port: u16) -> io::Result<OwnedFd> {
    const WAITING: i32 = 128;
    let socket = internet(family, libc::SOCK_STREAM)?;
    if family == libc::AF_INET6 {
        let off: libc::c_int = 0;
        // SAFETY: the option's value is a live integer of the given size.
        check_int(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IPV6,
                libc::IPV6_V6ONLY,
                (&raw const off).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        })?;
        // SAFETY: `sockaddr_in6` is plain integers; zero is the address that stands for all.
        let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        address.sin6_port = port.to_be();
        let size = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        // SAFETY: the address is live and its exact size is given.
        check_int(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) })?;
    } else {
        bind_v4(&socket, 0, port)?;
    }
    // SAFETY: integers only.
    check_int(unsafe { libc::listen(socket.as_raw_fd(), WAITING) })?;
    Ok(socket)
}

fn bind_v4(socket: &OwnedFd, address: u32, port: u16) -> io::Result<()> {
    // SAFETY: `sockaddr_in` is plain integers; zero is a valid value of each.
    let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    to.sin_family = libc::AF_INET as libc::sa_family_t;
    to.sin_port = port.to_be();
    to.sin_addr.s_addr = address.to_be();
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address is live and its exact size is given.
    check_int(unsafe { libc::bind(socket.as_raw_fd(), (&raw const to).cast(), size) }).map(drop)
}

/// Tells the other end that nothing more will come; what it still sends can be read.
pub fn end(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// Whether the other end of a stream has taken all that was sent to it.
pub fn all_taken(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (by its other name) writes one integer, which is live.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) })?;
    Ok(waiting == 0)
}

/// Reads from a stream. Descriptors that come along are closed by the kernel, since there is no room for them; whether there were some is
/// the second value.
pub fn read_bare(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain integers and pointers for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    let length = retry(|| {
        // SAFETY: every pointer in `message` refers to a live local.
        check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) }
            as libc::c_long)
    })? as usize;
    Ok((length, message.msg_flags & libc::MSG_CTRUNC != 0))
}
