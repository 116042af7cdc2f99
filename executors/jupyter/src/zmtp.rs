//! The client's end of a ZeroMQ socket: ZMTP 3.0 without security (<https://rfc.zeromq.org/spec/23>) over a Unix socket, whole messages in and out.
//! What a peer claims is bounded before memory is taken for it. Knows no Jupyter.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

/// A longer message is refused.
pub const LONGEST: usize = 64 << 20;
/// So is one of more frames.
const MOST_FRAMES: usize = 64;
/// How long a peer may take to greet, or to take in what is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Signature, version 3.0, mechanism `NULL`, not a server; 64 bytes.
const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    let mechanism = *b"NULL";
    let mut at = 0;
    while at < mechanism.len() {
        greeting[12 + at] = mechanism[at];
        at += 1;
    }
    greeting
};

/// The flags of a frame.
mod flag {
    pub const MORE: u8 = 1;
    pub const LONG: u8 = 2;
    pub const COMMAND: u8 = 4;
}

/// Why a line is of no more use.
#[derive(Debug, Error)]
pub enum LineError {
    /// There is nobody, or no longer.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer closed it.
    #[error("the connection was closed")]
    Closed,
    /// The peer does not speak the protocol.
    #[error("what came is not ZMTP 3: {0}")]
    Violation(String),
    /// The peer sends more than anybody could use.
    #[error("a message of more than {} MiB came", LONGEST >> 20)]
    Large,
}

/// What this end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Asks, and hears answers in any order.
    Dealer,
    /// Hears everything that is published.
    Subscriber,
}

struct Frame {
    flags: u8,
    body: Vec<u8>,
}

/// Connects and greets: the end that sends, and the end that receives.
pub fn connect(path: &Path, role: Role) -> Result<(Sender, Receiver), LineError> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut sender = Sender(stream.try_clone()?);
    let mut receiver = Receiver::new(stream);
    sender.0.write_all(&GREETING)?;
    let mut theirs = [0; 64];
    receiver.stream.read_exact(&mut theirs)?;
    if theirs[0] != 0xff || theirs[9] & 1 != 1 || theirs[10] < 3 {
        return Err(LineError::Violation("the greeting is of something else".to_owned()));
    }
    if &theirs[12..32] != b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" {
        return Err(LineError::Violation("it wants security".to_owned()));
    }
    let kind: &[u8] = match role {
        Role::Dealer => b"DEALER",
        Role::Subscriber => b"SUB",
    };
    let mut ready = b"\x05READY".to_vec();
    for (name, value) in [(&b"Socket-Type"[..], kind), (b"Identity", b"")] {
        ready.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        ready.extend_from_slice(name);
        ready.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        ready.extend_from_slice(value);
    }
    sender.0.write_all(&frame(flag::COMMAND, &ready))?;
    receiver.greeted()?;
    receiver.stream.set_read_timeout(None)?;
    if role == Role::Subscriber {
        // To everything.
        sender.send(&[vec![1]])?;
    }
    Ok((sender, receiver))
}

/// The end that sends.
#[derive(Debug)]
pub struct Sender(UnixStream);

impl Sender {
    /// Sends a message.
    pub fn send(&mut self, parts: &[Vec<u8>]) -> Result<(), LineError> {
        let mut bytes = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let more = if index + 1 < parts.len() { flag::MORE } else { 0 };
            bytes.extend_from_slice(&frame(more, part));
        }
        Ok(self.0.write_all(&bytes)?)
    }
}

/// The end that receives.
#[derive(Debug)]
pub struct Receiver {
    stream: UnixStream,
    /// Bytes that came; those before `at` are done with.
    buffer: Vec<u8>,
    at: usize,
    /// Frames of a message that is not whole yet.
    parts: Vec<Vec<u8>>,
}

impl Receiver {
    fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), at: 0, parts: Vec::new() }
    }

    /// Waits for the peer's `READY`.
    fn greeted(&mut self) -> Result<(), LineError> {
        let Frame { flags, body } = self.next_frame()?;
        match body.get(1..) {
            Some(rest) if flags & flag::COMMAND != 0 && rest.starts_with(b"READY") => Ok(()),
            Some(rest) if flags & flag::COMMAND != 0 && rest.starts_with(b"ERROR") => {
                let why = String::from_utf8_lossy(rest.get(6..).unwrap_or_default());
                Err(LineError::Violation(format!("it refused: {}", why.escape_debug())))
            }
            _ => Err(LineError::Violation("it did not get ready".to_owned())),
        }
    }

    /// Waits for the next message.
    pub fn receive(&mut self) -> Result<Vec<Vec<u8>>, LineError> {
        loop {
            let Frame { flags, body } = self.next_frame()?;
            // Commands after the handshake are of later versions, or of no meaning to this end.
            if flags & flag::COMMAND != 0 {
                continue;
            }
            self.parts.push(body);
            if flags & flag::MORE == 0 {
                return Ok(std::mem::take(&mut self.parts));
            }
            if self.parts.len() >= MOST_FRAMES {
                let why = format!("a message of more than {MOST_FRAMES} frames");
                return Err(LineError::Violation(why));
            }
        }
    }

    fn next_frame(&mut self) -> Result<Frame, LineError> {
        let mut buffer = [0; 64 << 10];
        loop {
            if let Some(frame) = self.frame()? {
                return Ok(frame);
            }
            // Once for each piece that is read, not for each frame in it.
            self.buffer.drain(..self.at);
            self.at = 0;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(LineError::Closed),
                Ok(count) => self.buffer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes a whole frame from the buffer.
    fn frame(&mut self) -> Result<Option<Frame>, LineError> {
        let waiting = &self.buffer[self.at..];
        let Some((&flags, rest)) = waiting.split_first() else { return Ok(None) };
        if flags & !(flag::MORE | flag::LONG | flag::COMMAND) != 0 {
            return Err(LineError::Violation(format!("a frame with the flags {flags:#04x}")));
        }
        let (length, rest) = match flags & flag::LONG {
            0 => match rest.split_first() {
                Some((&length, rest)) => (u64::from(length), rest),
                None => return Ok(None),
            },
            _ => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
        };
        let taken: usize = self.parts.iter().map(Vec::len).sum();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length.saturating_add(taken) > LONGEST {
            return Err(LineError::Large);
        }
        let Some(body) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.at += waiting.len() - rest.len() + length;
        Ok(Some(Frame { flags, body }))
    }
}

/// A frame as it is sent.
fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(length) => bytes.extend_from_slice(&[flags, length]),
        Err(_) => {
            bytes.push(flags | flag::LONG);
            bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use super::*;

    fn line() -> (Receiver, UnixStream) {
        let (stream, theirs) = UnixStream::pair().unwrap();
        (Receiver::new(stream), theirs)
    }

    #[test]
    fn messages_come_in_pieces_and_together() {
        let (mut line, mut theirs) = line();
        let long = vec![b'x'; 100_000];
        let mut bytes = frame(flag::MORE, b"topic");
        bytes.extend(frame(flag::COMMAND, b"\x04PING"));
        bytes.extend(frame(0, &long));
        bytes.extend(frame(0, b""));
        let sender = std::thread::spawn(move || {
            for piece in bytes.chunks(7001) {
                theirs.write_all(piece).unwrap();
            }
            theirs
        });
        let all = [line.receive().unwrap(), line.receive().unwrap()];
        assert_eq!(all, [vec![b"topic".to_vec(), long], vec![Vec::new()]]);
        drop(sender.join().unwrap());
        assert!(matches!(line.receive(), Err(LineError::Closed)));
    }

    #[test]
    fn claims_are_refused_before_memory_is_taken() {
        for (bytes, large) in [
            (&b"\x02\x7f\xff\xff\xff\xff\xff\xff\xff"[..], true),
            (b"\x02\x00\x00\x00\x00\x04\x00\x00\x01", true),
            (b"\x80\x00", false),
            (b"HTTP/1.1 400", false),
        ] {
            let (mut line, mut theirs) = line();
            theirs.write_all(bytes).unwrap();
            let error = line.receive().unwrap_err();
            assert_eq!(matches!(error, LineError::Large), large, "{error}");
            assert!(line.buffer.capacity() < 1 << 20);
        }
        let (mut line, mut theirs) = line();
        let many: Vec<u8> = (0..100).flat_map(|_| frame(flag::MORE, b"")).collect();
        theirs.write_all(&many).unwrap();
        assert!(matches!(line.receive(), Err(LineError::Violation(_))));
    }

    proptest::proptest! {
        /// Whatever comes, in whatever pieces, is messages or refused.
        #[test]
        fn any_bytes_are_taken_as_messages_or_refused(
            starts in proptest::collection::vec(0_u8..8, 0..6),
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let (mut line, mut theirs) = line();
            for flags in starts {
                theirs.write_all(&[flags, 1, 7]).unwrap();
            }
            theirs.write_all(&bytes).unwrap();
            drop(theirs);
            while let Ok(parts) = line.receive() {
                assert!(!parts.is_empty() && parts.len() <= MOST_FRAMES);
            }
        }
    }

    #[test]
    fn the_parts_of_a_message_count_together() {
        let (mut line, mut theirs) = line();
        let half = frame(flag::MORE, &vec![0; LONGEST / 2]);
        let sender = std::thread::spawn(move || {
            let _ = theirs.write_all(&half);
            let _ = theirs.write_all(&half);
            let _ = theirs.write_all(&frame(0, b"x"));
            theirs
        });
        let error = line.receive().unwrap_err();
        assert!(matches!(error, LineError::Large));
        drop(line);
        drop(sender.join().unwrap());
    }

    #[test]
    fn whoever_is_no_zeromq_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let answers: [Vec<u8>; 4] = [
            [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![b'x'; 64]].concat(),
            {
                let mut curve = GREETING;
                curve[12..17].copy_from_slice(b"CURVE");
                curve.to_vec()
            },
            [GREETING.to_vec(), frame(flag::COMMAND, b"\x05ERROR\x03\x1bno")].concat(),
            [GREETING.to_vec(), frame(0, b"hello")].concat(),
        ];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&answer).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        for words in ["something else", "security", "refused: \\u{1b}no", "get ready"] {
            let error = connect(&path, Role::Dealer).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        server.join().unwrap();
    }
}
