//! One pass over MessagePack bytes that proves their structure before anything is built from them.
//! It knows no message.
//!
//! A generic reader keeps the last of two equal keys, ignores what follows the value and nests a
//! thousand deep; this pass refuses all of that first. It never recurses, and what it allocates grows
//! with keys that are really there, never with a length that is only claimed.

use std::collections::HashSet;

use crate::Violation;

/// Deepest nesting of containers in a frame's body. The body's own map is level 1.
pub const MAX_DEPTH: usize = 32;
/// Most values (keys not counted) in a frame's body: a byte of nil would otherwise cost 30 in memory.
pub const MAX_VALUES: usize = 65_536;

/// What [`check`] lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of containers, at most 64.
    pub depth: usize,
    /// Most values.
    pub values: usize,
}

impl Limits {
    /// The limits of a frame's body.
    pub const BODY: Self = Self { depth: MAX_DEPTH, values: MAX_VALUES };
}

/// What one marker byte announces.
enum Item<'a> {
    Scalar,
    Text(&'a [u8]),
    List(u32),
    Map(u32),
}

/// An open container.
struct Open<'a> {
    /// Values still to come.
    left: u32,
    /// Keys seen, for a map.
    keys: Option<HashSet<&'a [u8]>>,
}

/// Checks that `bytes` is the body of a frame: one sound map within [`Limits::BODY`] and no more.
///
/// # Errors
/// The first violation in reading order.
pub fn check_body(bytes: &[u8]) -> Result<(), Violation> {
    match bytes.first() {
        None => Err(Violation::TruncatedBody),
        Some(0x80..=0x8f | 0xde | 0xdf) => check(bytes, Limits::BODY),
        // The more telling reasons come first: an ext body is an ext, not merely "no map".
        Some(_) => check(bytes, Limits::BODY).and(Err(Violation::BodyNotMap)),
    }
}

/// Checks that `bytes` is exactly one sound value within `limits`.
///
/// # Errors
/// The first violation in reading order.
pub fn check(bytes: &[u8], limits: Limits) -> Result<(), Violation> {
    let mut rest = bytes;
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut values = 0usize;
    loop {
        // Close every container that is complete, then see what the innermost wants next.
        while open.last().is_some_and(|top| top.left == 0) {
            open.pop();
        }
        match open.last_mut() {
            None if values > 0 => break,
            None => {}
            Some(top) => {
                top.left -= 1;
                if let Some(keys) = &mut top.keys {
                    let key = take_key(&mut rest)?;
                    if !keys.insert(key) {
                        let key = String::from_utf8_lossy(key).chars().take(64).collect();
                        return Err(Violation::DuplicateKey { key });
                    }
                }
            }
        }
        values += 1;
        if values > limits.values {
            return Err(Violation::TooManyValues { limit: limits.values });
        }
        let (left, keys) = match take_item(&mut rest)? {
            Item::Scalar => continue,
            Item::Text(text) => {
                std::str::from_utf8(text).map_err(|_| Violation::InvalidUtf8)?;
                continue;
            }
            Item::List(left) => (left, None),
            Item::Map(left) => (left, Some(HashSet::new())),
        };
        if open.len() == limits.depth {
            return Err(Violation::TooDeep { limit: limits.depth });
        }
        open.push(Open { left, keys });
    }
    if rest.is_empty() { Ok(()) } else { Err(Violation::TrailingBytes { count: rest.len() }) }
}

fn take_key<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Violation> {
    match rest.first() {
        None => return Err(Violation::TruncatedBody),
        Some(0xa0..=0xbf | 0xd9..=0xdb) => {}
        Some(_) => return Err(Violation::KeyNotText),
    }
    match take_item(rest)? {
        Item::Text(key) if std::str::from_utf8(key).is_ok() => Ok(key),
        Item::Text(_) => Err(Violation::InvalidUtf8),
        Item::Scalar | Item::List(_) | Item::Map(_) => Err(Violation::KeyNotText),
    }
}

fn take_item<'a>(rest: &mut &'a [u8]) -> Result<Item<'a>, Violation> {
    let marker = take::<1>(rest)?[0];
    Ok(match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Item::Scalar,
        0x80..=0x8f => Item::Map(u32::from(marker & 0x0f)),
        0x90..=0x9f => Item::List(u32::from(marker & 0x0f)),
        0xa0..=0xbf => Item::Text(take_slice(rest, u32::from(marker & 0x1f))?),
        0xc1 => return Err(Violation::ReservedByte),
        0xc4 => skip_claimed::<1>(rest)?,
        0xc5 => skip_claimed::<2>(rest)?,
        0xc6 => skip_claimed::<4>(rest)?,
        0xc7..=0xc9 | 0xd4..=0xd8 => return Err(Violation::ExtType),
        0xca | 0xce | 0xd2 => skip(rest, 4)?,
        0xcb | 0xcf | 0xd3 => skip(rest, 8)?,
        0xcc | 0xd0 => skip(rest, 1)?,
        0xcd | 0xd1 => skip(rest, 2)?,
        0xd9 => Item::Text(take_claimed::<1>(rest)?),
        0xda => Item::Text(take_claimed::<2>(rest)?),
        0xdb => Item::Text(take_claimed::<4>(rest)?),
        0xdc => Item::List(take_length::<2>(rest)?),
        0xdd => Item::List(take_length::<4>(rest)?),
        0xde => Item::Map(take_length::<2>(rest)?),
        0xdf => Item::Map(take_length::<4>(rest)?),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Violation> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Violation::TruncatedBody)?;
    *rest = tail;
    Ok(*head)
}

fn take_length<const N: usize>(rest: &mut &[u8]) -> Result<u32, Violation> {
    let bytes = take::<N>(rest)?;
    Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

fn take_slice<'a>(rest: &mut &'a [u8], length: u32) -> Result<&'a [u8], Violation> {
    let length = usize::try_from(length).map_err(|_| Violation::TruncatedBody)?;
    let (head, tail) = rest.split_at_checked(length).ok_or(Violation::TruncatedBody)?;
    *rest = tail;
    Ok(head)
}

fn take_claimed<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8], Violation> {
    let length = take_length::<N>(rest)?;
    take_slice(rest, length)
}

fn skip_claimed<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<Item<'a>, Violation> {
    take_claimed::<N>(rest).map(|_| Item::Scalar)
}

fn skip<'a>(rest: &mut &'a [u8], length: u32) -> Result<Item<'a>, Violation> {
    take_slice(rest, length).map(|_| Item::Scalar)
}
