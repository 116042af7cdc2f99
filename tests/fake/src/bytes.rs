//! Orders that are given byte by byte, and descriptors to send along. It knows no behaviour.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use polyloom_protocol::frame::Header;
use rustix::fs::{Mode, OFlags};

use crate::wire::Wire;

/// Frames as ordered by `KIND FLAGS EXEC HEX [TIMES]`.
pub struct Frame {
    pub kind: u8,
    pub bytes: Vec<u8>,
    pub times: u32,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not an order: {what}"))
}

fn number<N: std::str::FromStr>(words: &mut std::str::SplitWhitespace<'_>) -> io::Result<N> {
    words.next().and_then(|word| word.parse().ok()).ok_or_else(|| bad("a number is missing"))
}

fn times(words: &mut std::str::SplitWhitespace<'_>) -> io::Result<u32> {
    words.next().map_or(Ok(1), |word| word.parse().map_err(|_| bad(word)))
}

impl Frame {
    pub fn read(order: &str) -> io::Result<Self> {
        let mut words = order.split_whitespace();
        let (kind, flags, exec) = (number(&mut words)?, number(&mut words)?, number(&mut words)?);
        let body = of_hex(words.next().unwrap_or_default())?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let header = Header { length, kind, flags, exec }.to_bytes();
        Ok(Self { kind, bytes: [&header[..], &body].concat(), times: times(&mut words)? })
    }
}

/// `HEX [TIMES]`.
pub fn read(order: &str) -> io::Result<(Vec<u8>, u32)> {
    let mut words = order.split_whitespace();
    let bytes = of_hex(words.next().unwrap_or_default())?;
    Ok((bytes, times(&mut words)?))
}

/// `-` is nothing, `1MiB` as many zeros.
pub fn of_hex(text: &str) -> io::Result<Vec<u8>> {
    match text {
        "-" => return Ok(Vec::new()),
        "1MiB" => return Ok(vec![0; 1 << 20]),
        _ => {}
    }
    let digits = text.bytes().map(|byte| char::from(byte).to_digit(16));
    let digits: Option<Vec<u32>> = digits.collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(|| bad(text))?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).map_err(io::Error::other))
        .collect()
}

/// A body with a bin32 of zeros behind it.
pub fn with_zeros(mut body: Vec<u8>, count: u32) -> Vec<u8> {
    body.push(0xc6);
    body.extend(count.to_be_bytes());
    body.resize(body.len() + count as usize, 0);
    body
}

/// A descriptor of what nobody wants to be given.
pub fn gift(what: &str, wire: &Wire) -> io::Result<OwnedFd> {
    match what {
        "device" => Ok(File::open("/dev/zero")?.into()),
        "folder" => Ok(File::open("/")?.into()),
        "fifo" => Ok(rustix::pipe::pipe()?.0),
        "path" => Ok(rustix::fs::open("/etc", OFlags::PATH, Mode::empty())?),
        "memory" => Ok(File::open("/proc/self/mem")?.into()),
        "itself" => wire.share(),
        _ => Err(bad(what)),
    }
}
