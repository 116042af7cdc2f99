//! A network namespace in which every address is its own, with a listener for each port that may be reached. What connects to one of them has
//! reached the host, which knows by the listener's own address where it meant to go; there is no device that leads anywhere else.
//!
//! Knows ports. Who is behind them is decided by whoever holds the listeners.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use crate::sys::{file, netlink::Routing, socket};

/// Where resolvers ask that have not been told of any server (resolv.conf(5)).
const DNS_PORT: u16 = 53;

/// Sets up the namespace of the calling process. The first descriptor is the datagram socket that names are asked of; then
/// one listener a port.
pub fn open(ports: &[u16]) -> io::Result<Vec<OwnedFd>> {
    let routing = Routing::open()?;
    routing.loopback_up()?;
    routing.everything_local(libc::AF_INET)?;
    // Without IPv6 in the kernel there is none to confine.
    let six = routing.everything_local(libc::AF_INET6).is_ok();
    let mut fds = vec![socket::bind_loopback_datagram(DNS_PORT)?];
    for port in ports {
        let family = if six { libc::AF_INET6 } else { libc::AF_INET };
        let listener = socket::listen_everywhere(family, *port)?;
        file::set_nonblocking(listener.as_fd())?;
        fds.push(listener);
    }
    file::set_nonblocking(fds[0].as_fd())?;
    Ok(fds)
}
