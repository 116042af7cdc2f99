//! Raw access to the connection: whole messages, and any bytes at all. It knows no behaviour.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use polyloom_protocol::frame::{Decoder, Header};
use polyloom_protocol::{FromHost, FromWorker};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// The connection.
pub struct Wire {
    /// `None` once closed on purpose.
    stream: Option<UnixStream>,
    decoder: Decoder,
}

impl Wire {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream: Some(stream), decoder: Decoder::new() }
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?.write_all(bytes)
    }

    /// Sends a sound frame of any kind with any body.
    pub fn frame(&mut self, kind: u8, flags: u8, exec: u64, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.raw(&[&Header { length, kind, flags, exec }.to_bytes(), body].concat())
    }

    /// Sends a message.
    pub fn send(&mut self, exec: u64, message: &FromWorker) -> io::Result<()> {
        let bytes = message.encode(exec).map_err(io::Error::other)?;
        self.raw(&bytes)
    }

    /// Sends bytes with descriptors, at most 253 of them.
    pub fn pass(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?;
        self.raw(&bytes[sent..])
    }

    /// The next message of the host; `None` at the end.
    pub fn receive(&mut self) -> io::Result<Option<(u64, FromHost)>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                let message = FromHost::from_frame(&frame).map_err(io::Error::other)?;
                return Ok(Some((frame.header.exec, message)));
            }
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            match stream.read(&mut buffer)? {
                0 => return Ok(None),
                length => self.decoder.feed(&buffer[..length]),
            }
        }
    }

    /// Closes the connection and lives on.
    pub fn close(&mut self) {
        self.stream = None;
    }

    /// A second descriptor of the connection, for a child process.
    pub fn share(&self) -> io::Result<OwnedFd> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(stream.try_clone()?.into())
    }
}

/// Never comes back. A parked thread uses no processor time.
pub fn forever() -> ! {
    loop {
        std::thread::park();
    }
}
