//! The routing socket, as far as a network namespace with nothing but a loopback device needs it (rtnetlink(7)).

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use super::{check, check_int};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
/// REQUEST, ACK.
const ASK: u16 = 0x1 | 0x4;
/// CREATE, EXCL.
const MAKE: u16 = 0x400 | 0x200;
/// A fresh network namespace numbers its loopback device so.
const LOOPBACK: u32 = 1;

/// A connection to the kernel's routing of the calling process's network namespace.
pub struct Routing(OwnedFd);

impl Routing {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: integers only.
        let fd = check_int(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
        // SAFETY: a non-negative result is a new descriptor nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Switches the loopback device on.
    pub fn loopback_up(&self) -> io::Result<()> {
        // ifinfomsg: family, pad, type, index, flags, mask of flags.
        let mut body = vec![0; 4];
        body.extend(LOOPBACK.to_ne_bytes());
        body.extend((libc::IFF_UP as u32).to_ne_bytes());
        body.extend((libc::IFF_UP as u32).to_ne_bytes());
        self.ask(RTM_NEWLINK, ASK, &body)
    }

    /// Makes every address of a family one of this machine's own: whatever is connected to arrives here.
    pub fn everything_local(&self, family: i32) -> io::Result<()> {
        const TABLE_LOCAL: u8 = 255;
        const PROTOCOL_BOOT: u8 = 3;
        const SCOPE_HOST: u8 = 254;
        const TYPE_LOCAL: u8 = 2;
        const ATTRIBUTE_OIF: u16 = 4;
        // rtmsg: family, bits of destination and source, tos, table, protocol, scope, type, flags; then the device.
        let mut body =
            vec![family as u8, 0, 0, 0, TABLE_LOCAL, PROTOCOL_BOOT, SCOPE_HOST, TYPE_LOCAL];
        body.extend(0_u32.to_ne_bytes());
        body.extend(8_u16.to_ne_bytes());
        body.extend(ATTRIBUTE_OIF.to_ne_bytes());
        body.extend(LOOPBACK.to_ne_bytes());
        self.ask(RTM_NEWROUTE, ASK | MAKE, &body)
    }

    /// Sends one request and waits for its answer.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        const ERROR: u16 = 2;
        // nlmsghdr: length, type, flags, sequence, port.
        let mut message = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        let fd = self.0.as_raw_fd();
        // SAFETY: pointer and length are those of the live message; an unconnected netlink socket sends to the kernel.
        check(unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), 0) } as libc::c_long)?;
        let mut answer = [0; 256];
        // SAFETY: pointer and length are those of the live buffer.
        let got =
            check(unsafe { libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0) }
                as libc::c_long)?;
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        if got < 20 || kind != ERROR {
            return Err(io::Error::from_raw_os_error(libc::EBADMSG));
        }
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            negative => Err(io::Error::from_raw_os_error(-negative)),
        }
    }
}
