//! Preamble and frames: bytes in, whole frames out. It does not know what a body means, nor any socket.

use crate::Violation;
use crate::messages::kind;

/// First bytes of each direction of a connection: magic, preamble version 1, encoding 1, zero.
pub const PREAMBLE: [u8; 8] = *b"PLYW\x01\x01\0\0";
/// Length of a frame header in bytes.
pub const HEADER: usize = 16;
/// Largest body of any frame in bytes.
pub const MAX_BODY: u32 = 1 << 20;
/// Largest body of the kinds that a cell can produce in quantity, and of `Hello` and `Done`, in bytes.
pub const MAX_SMALL_BODY: u32 = 64 << 10;

/// Bits of the header's flags byte.
pub mod flag {
    /// A receiver that does not know the kind must close instead of skipping.
    pub const MUST_UNDERSTAND: u8 = 1;
    /// Descriptors ride with the first byte of the frame. No feature of version 1 allows it.
    pub const CARRIES_FDS: u8 = 2;
    /// The last frame of a stream of frames. Reserved for features; ignored without them.
    pub const LAST: u8 = 4;
    /// Every bit that has a meaning.
    pub const KNOWN: u8 = MUST_UNDERSTAND | CARRIES_FDS | LAST;
}

/// A decoded frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Body length in bytes.
    pub length: u32,
    /// Kind of the message, see [`kind`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// The exec the frame belongs to; 0 is the connection itself.
    pub exec: u64,
}

impl Header {
    /// Reads a header and checks its reserved bits and its cap.
    ///
    /// # Errors
    /// The violation it shows. Nothing has been allocated by then.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, Violation> {
        let [l0, l1, l2, l3, kind, flags, z0, z1, exec @ ..] = *bytes;
        let header = Self {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            flags,
            exec: u64::from_le_bytes(exec),
        };
        if flags & !flag::KNOWN != 0 {
            return Err(Violation::ReservedBits { place: "flags" });
        }
        if (z0, z1) != (0, 0) {
            return Err(Violation::ReservedBits { place: "header" });
        }
        if flags & flag::CARRIES_FDS != 0 {
            return Err(Violation::UnexpectedFds { kind });
        }
        let cap = cap(kind);
        if header.length > cap {
            return Err(Violation::FrameTooLarge { kind, length: header.length, cap });
        }
        Ok(header)
    }

    /// The header's 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&self.length.to_le_bytes());
        out[4] = self.kind;
        out[5] = self.flags;
        out[8..].copy_from_slice(&self.exec.to_le_bytes());
        out
    }
}

/// The largest body in bytes that a frame of this kind may have.
#[must_use]
pub fn cap(kind: u8) -> u32 {
    match kind {
        kind::HELLO
        | kind::LOG
        | kind::PROGRESS
        | kind::DISPLAY
        | kind::DIAGNOSTIC
        | kind::DONE
        | kind::ERROR => MAX_SMALL_BODY,
        _ => MAX_BODY,
    }
}

/// One whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// Its body, not looked at yet.
    pub body: Vec<u8>,
}

/// A body that is larger than its kind may be, found on the sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("body of kind {kind} is {length} bytes, the cap is {cap}")]
pub struct TooLarge {
    /// Kind of the message.
    pub kind: u8,
    /// Length of its body in bytes.
    pub length: usize,
    /// The cap in bytes.
    pub cap: u32,
}

/// Puts a header before `body`. `body` must be one MessagePack map.
///
/// # Errors
/// [`TooLarge`] when the body is over the cap of its kind.
pub fn encode(kind: u8, exec: u64, body: &[u8]) -> Result<Vec<u8>, TooLarge> {
    let cap = cap(kind);
    let too_large = TooLarge { kind, length: body.len(), cap };
    let length = u32::try_from(body.len()).map_err(|_| too_large)?;
    if length > cap {
        return Err(too_large);
    }
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(&Header { length, kind, flags: 0, exec }.to_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

/// Turns the bytes of one direction into frames, however they are cut.
///
/// It buffers only bytes that really came; take every frame after each [`Decoder::feed`] and it
/// never holds more than one frame and one read. After a violation it only repeats that violation.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    greeted: bool,
    broken: Option<Violation>,
}

impl Decoder {
    /// A decoder that expects the preamble first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder for what comes after the preamble, from the beginning of a frame on.
    #[must_use]
    pub fn resumed() -> Self {
        Self { greeted: true, ..Self::default() }
    }

    /// Adds bytes as they came from the peer.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// The violation the bytes show, as soon as they show it: a hostile length is refused at the
    /// header, without waiting for the bytes it announces.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Violation> {
        if let Some(violation) = &self.broken {
            return Err(violation.clone());
        }
        let result = self.step();
        if let Err(violation) = &result {
            self.broken = Some(violation.clone());
            self.buffer = Vec::new();
            self.start = 0;
        }
        result
    }

    /// Whether the bytes so far end inside a preamble or frame. A caller times such a pause.
    #[must_use]
    pub fn mid_frame(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// How many whole frames of a kind wait to be taken, as far as their headers tell.
    #[must_use]
    pub fn waiting(&self, kind: u8) -> usize {
        let mut rest = &self.buffer[self.start..];
        let mut count = 0;
        while let Some((header, body)) = rest.split_first_chunk::<HEADER>() {
            let Ok(header) = Header::parse(header) else { break };
            let Some(next) = body.get(header.length as usize..) else { break };
            count += usize::from(header.kind == kind);
            rest = next;
        }
        count
    }

    /// Whether the peer's preamble has come.
    #[must_use]
    pub fn greeted(&self) -> bool {
        self.greeted
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// [`Violation::TruncatedFrame`] when a frame was begun and not ended.
    pub fn end(&self) -> Result<(), Violation> {
        if self.mid_frame() { Err(Violation::TruncatedFrame) } else { Ok(()) }
    }

    fn step(&mut self) -> Result<Option<Frame>, Violation> {
        if !self.greeted && !self.take_preamble()? {
            return Ok(None);
        }
        let rest = &self.buffer[self.start..];
        let Some((head, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::parse(head)?;
        // The cap makes this cast exact on every target.
        let Some(body) = rest.get(..header.length as usize) else { return Ok(None) };
        let frame = Frame { header, body: body.to_vec() };
        self.start += HEADER + frame.body.len();
        Ok(Some(frame))
    }

    fn take_preamble(&mut self) -> Result<bool, Violation> {
        let rest = &self.buffer[self.start..];
        let seen = rest.len().min(4);
        if rest[..seen] != PREAMBLE[..seen] {
            return Err(Violation::BadMagic);
        }
        let Some(&[_, _, _, _, version, encoding, z0, z1]) = rest.first_chunk::<8>() else {
            return Ok(false);
        };
        if version != PREAMBLE[4] {
            return Err(Violation::BadVersion { found: version });
        }
        if encoding != PREAMBLE[5] {
            return Err(Violation::BadEncoding { found: encoding });
        }
        if (z0, z1) != (0, 0) {
            return Err(Violation::ReservedBits { place: "preamble" });
        }
        self.start += PREAMBLE.len();
        self.greeted = true;
        Ok(true)
    }
}
