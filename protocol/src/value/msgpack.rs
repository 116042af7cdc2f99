//! Values as MessagePack: canonical writing, careful reading. It knows no frame.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{MAX_VALUE_DEPTH, MAX_VALUES, Value, float_bits};
use crate::Violation;
use crate::check::{Limits, check};

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The bytes are not one sound MessagePack value of this profile.
    #[error("not a sound MessagePack value: {0}")]
    Unsound(#[source] Violation),
    /// An unsigned integer above the largest 64-bit signed one.
    #[error("integer {0} does not fit a 64-bit signed integer")]
    TooLargeInt(u64),
    /// A sound value that is not written in its one canonical form.
    #[error("value is not in its canonical form (shortest lengths, sorted keys, 64-bit floats)")]
    NotCanonical,
}

impl ValueError {
    /// The stable name of this error, as golden vectors spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unsound(violation) => violation.name(),
            Self::TooLargeInt(_) => "int_too_large",
            Self::NotCanonical => "not_canonical",
        }
    }
}

impl Value {
    /// The canonical MessagePack form: the bytes that are stored and hashed.
    #[must_use]
    pub fn to_msgpack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write(self, &mut out);
        out
    }

    /// Reads any sound MessagePack value of the profile, however its numbers and lengths are spelled;
    /// [`Value::to_msgpack`] then gives the canonical form. Nesting up to [`MAX_VALUE_DEPTH`].
    ///
    /// # Errors
    /// [`ValueError`] with the first thing that is wrong.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, ValueError> {
        let limits = Limits { depth: MAX_VALUE_DEPTH, values: MAX_VALUES };
        check(bytes, limits).map_err(ValueError::Unsound)?;
        let mut rest = bytes;
        read(&mut rest)
    }

    /// Reads a value that must be in canonical form, as everything in the store is.
    ///
    /// # Errors
    /// [`ValueError`], also [`ValueError::NotCanonical`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ValueError> {
        let value = Self::from_msgpack(bytes)?;
        if value.to_msgpack() == bytes { Ok(value) } else { Err(ValueError::NotCanonical) }
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(false) => out.push(0xc2),
        Value::Bool(true) => out.push(0xc3),
        Value::Int(int) => write_int(*int, out),
        Value::Float(float) => {
            out.push(0xcb);
            out.extend_from_slice(&float_bits(*float).to_be_bytes());
        }
        Value::Str(text) => write_str(text, out),
        Value::Bytes(bytes) => {
            write_length(bytes.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)], out);
            out.extend_from_slice(bytes);
        }
        Value::List(items) => {
            write_length(items.len(), Some((0x90, 15)), [None, Some(0xdc), Some(0xdd)], out);
            items.iter().for_each(|item| write(item, out));
        }
        Value::Map(entries) => {
            write_length(entries.len(), Some((0x80, 15)), [None, Some(0xde), Some(0xdf)], out);
            // `String` orders by bytes, which is the canonical order of keys.
            for (key, item) in entries {
                write_str(key, out);
                write(item, out);
            }
        }
    }
}

fn write_str(text: &str, out: &mut Vec<u8>) {
    write_length(text.len(), Some((0xa0, 31)), [Some(0xd9), Some(0xda), Some(0xdb)], out);
    out.extend_from_slice(text.as_bytes());
}

/// Writes the shortest marker for `length`: the fixed form (marker, largest) or 1, 2, 4 bytes.
fn write_length(length: usize, fixed: Option<(u8, u8)>, marks: [Option<u8>; 3], out: &mut Vec<u8>) {
    if let (Some((mark, most)), Ok(short)) = (fixed, u8::try_from(length))
        && short <= most
    {
        out.push(mark | short);
    } else if let (Some(mark), Ok(short)) = (marks[0], u8::try_from(length)) {
        out.extend([mark, short]);
    } else if let (Some(mark), Ok(short)) = (marks[1], u16::try_from(length)) {
        out.push(mark);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        // MessagePack has no longer form. Such a value is 4 GiB in memory, far above every cap that
        // stands before this; the expectation states that.
        let long = u32::try_from(length).expect("a value is smaller than 4 GiB");
        out.extend(marks[2]);
        out.extend_from_slice(&long.to_be_bytes());
    }
}

fn write_int(int: i64, out: &mut Vec<u8>) {
    if let Ok(byte) = i8::try_from(int)
        && byte >= -32
    {
        out.extend_from_slice(&byte.to_be_bytes());
    } else if let Ok(byte) = u8::try_from(int) {
        out.extend([0xcc, byte]);
    } else if let Ok(byte) = i8::try_from(int) {
        out.push(0xd0);
        out.extend_from_slice(&byte.to_be_bytes());
    } else if let Ok(short) = u16::try_from(int) {
        out.push(0xcd);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(short) = i16::try_from(int) {
        out.push(0xd1);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(word) = u32::try_from(int) {
        out.push(0xce);
        out.extend_from_slice(&word.to_be_bytes());
    } else if let Ok(word) = i32::try_from(int) {
        out.push(0xd2);
        out.extend_from_slice(&word.to_be_bytes());
    } else {
        // Positive numbers take the unsigned marker, as everywhere above.
        out.push(if int >= 0 { 0xcf } else { 0xd3 });
        out.extend_from_slice(&int.to_be_bytes());
    }
}

/// What `check` has promised about the bytes below.
const SOUND: &str = "the bytes were checked";

/// Reads one value from bytes that `check` let pass: depth, lengths and text are sound.
fn read(rest: &mut &[u8]) -> Result<Value, ValueError> {
    let [marker] = number::<1>(rest);
    Ok(match marker {
        0xc0 => Value::Null,
        0xc2 => Value::Bool(false),
        0xc3 => Value::Bool(true),
        0x00..=0x7f | 0xe0..=0xff => Value::Int(i64::from(i8::from_be_bytes([marker]))),
        0xcc => Value::Int(i64::from(u8::from_be_bytes(number(rest)))),
        0xcd => Value::Int(i64::from(u16::from_be_bytes(number(rest)))),
        0xce => Value::Int(i64::from(u32::from_be_bytes(number(rest)))),
        0xcf => {
            let int = u64::from_be_bytes(number(rest));
            Value::Int(i64::try_from(int).map_err(|_| ValueError::TooLargeInt(int))?)
        }
        0xd0 => Value::Int(i64::from(i8::from_be_bytes(number(rest)))),
        0xd1 => Value::Int(i64::from(i16::from_be_bytes(number(rest)))),
        0xd2 => Value::Int(i64::from(i32::from_be_bytes(number(rest)))),
        0xd3 => Value::Int(i64::from_be_bytes(number(rest))),
        0xca => Value::Float(f64::from(f32::from_be_bytes(number(rest)))),
        0xcb => Value::Float(f64::from_be_bytes(number(rest))),
        0xa0..=0xbf => Value::Str(text(rest, usize::from(marker & 0x1f))),
        0xd9..=0xdb => {
            let length = length(rest, 1 << (marker - 0xd9));
            Value::Str(text(rest, length))
        }
        0xc4..=0xc6 => {
            let length = length(rest, 1 << (marker - 0xc4));
            Value::Bytes(slice(rest, length).to_vec())
        }
        0x90..=0x9f => list(rest, usize::from(marker & 0x0f))?,
        0xdc | 0xdd => {
            let length = length(rest, 2 << (marker - 0xdc));
            list(rest, length)?
        }
        0x80..=0x8f => map(rest, usize::from(marker & 0x0f))?,
        0xde | 0xdf => {
            let length = length(rest, 2 << (marker - 0xde));
            map(rest, length)?
        }
        0xc1 => return Err(ValueError::Unsound(Violation::ReservedByte)),
        0xc7..=0xc9 | 0xd4..=0xd8 => return Err(ValueError::Unsound(Violation::ExtType)),
    })
}

fn list(rest: &mut &[u8], length: usize) -> Result<Value, ValueError> {
    (0..length).map(|_| read(rest)).collect::<Result<_, _>>().map(Value::List)
}

fn map(rest: &mut &[u8], length: usize) -> Result<Value, ValueError> {
    let mut entries = BTreeMap::new();
    for _ in 0..length {
        let Value::Str(key) = read(rest)? else {
            return Err(ValueError::Unsound(Violation::KeyNotText));
        };
        entries.insert(key, read(rest)?);
    }
    Ok(Value::Map(entries))
}

fn slice<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (head, tail) = rest.split_at_checked(length).expect(SOUND);
    *rest = tail;
    head
}

fn number<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    slice(rest, N).try_into().expect(SOUND)
}

fn length(rest: &mut &[u8], width: usize) -> usize {
    slice(rest, width).iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn text(rest: &mut &[u8], length: usize) -> String {
    String::from_utf8(slice(rest, length).to_vec()).expect(SOUND)
}
