//! Headers of `.npy` files, version 1.0, as tensors are stored. It knows no file: bytes in, bytes out.
//!
//! Format: NumPy's `numpy.lib.format`. Ours is the narrow part that every reader can map: little
//! endian, C order, data at a multiple of 64 bytes.

use std::fmt::Write as _;

use thiserror::Error;

/// Data begins at a multiple of this many bytes.
pub const ALIGNMENT: usize = 64;
/// Most dimensions.
pub const MAX_RANK: usize = 32;

const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\0";

/// Element types of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the type it names")]
pub enum Dtype {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

impl Dtype {
    /// Every element type.
    pub const ALL: [Self; 11] = [
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F32,
        Self::F64,
    ];

    /// The name in port types, such as `f64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// NumPy's `descr`, such as `<f8`.
    #[must_use]
    pub fn descr(self) -> &'static str {
        match self {
            Self::Bool => "|b1",
            Self::I8 => "|i1",
            Self::I16 => "<i2",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
            Self::U8 => "|u1",
            Self::U16 => "<u2",
            Self::U32 => "<u4",
            Self::U64 => "<u8",
            Self::F32 => "<f4",
            Self::F64 => "<f8",
        }
    }

    /// Size of one element in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Npy {
    /// Element type.
    pub dtype: Dtype,
    /// Lengths of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<u64>,
    /// Where the data begins, in bytes.
    pub data: usize,
}

/// Why bytes are not a header of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NpyError {
    /// It does not begin with the magic of version 1.0.
    #[error("not a `.npy` file of version 1.0")]
    BadMagic,
    /// It ends before its header does.
    #[error("file ends inside the header")]
    Truncated,
    /// The header is not the dictionary NumPy writes.
    #[error("header is not a dictionary of `descr`, `fortran_order` and `shape`")]
    BadHeader,
    /// An element type that tensors do not have, or in big endian.
    #[error("element type `{0}` is not supported (little endian bool, i8 to u64, f32, f64 are)")]
    BadDtype(String),
    /// Columns first.
    #[error("array is in Fortran order, save it in C order")]
    FortranOrder,
    /// The data does not begin at a multiple of 64.
    #[error("data begins at byte {0}, which is not a multiple of 64")]
    Unaligned(usize),
    /// Shape and element size do not fit 63 bits, or there are too many dimensions.
    #[error("shape is too large")]
    TooLarge,
}

impl NpyError {
    /// The stable name of this error, as golden vectors spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadMagic => "npy_bad_magic",
            Self::Truncated => "npy_truncated",
            Self::BadHeader => "npy_bad_header",
            Self::BadDtype(_) => "npy_bad_dtype",
            Self::FortranOrder => "npy_fortran_order",
            Self::Unaligned(_) => "npy_unaligned",
            Self::TooLarge => "npy_too_large",
        }
    }
}

/// The header of a tensor: everything before its data.
#[must_use]
pub fn header(dtype: Dtype, shape: &[u64]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': (", dtype.descr());
    for (at, length) in shape.iter().enumerate() {
        let gap = if at == 0 { "" } else { " " };
        // A tuple of one needs its comma, and NumPy writes none behind the last of several.
        let comma = if at + 1 < shape.len() || shape.len() == 1 { "," } else { "" };
        let _ = write!(text, "{gap}{length}{comma}");
    }
    text.push_str("), }");
    let unpadded = MAGIC.len() + 2 + text.len() + 1;
    let total = unpadded.next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', total - unpadded));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("32 dimensions of 20 digits fit 64 KiB");
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

impl Npy {
    /// Reads a header from the beginning of a file. Wider than [`header`] writes: the keys may come in
    /// any order and with any spacing, as other writers have it.
    ///
    /// # Errors
    /// [`NpyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NpyError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::BadMagic)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Truncated)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let text = rest.get(..length).ok_or(NpyError::Truncated)?;
        let text = std::str::from_utf8(text).map_err(|_| NpyError::BadHeader)?;
        let (descr, fortran, shape) = dictionary(text).ok_or(NpyError::BadHeader)?;
        let dtype = Dtype::ALL
            .into_iter()
            .find(|dtype| dtype.descr() == descr || (dtype.size() == 1 && same(descr, *dtype)))
            .ok_or_else(|| NpyError::BadDtype(descr.chars().take(32).collect()))?;
        if fortran && shape.len() > 1 {
            return Err(NpyError::FortranOrder);
        }
        let data = MAGIC.len() + 2 + length;
        if !data.is_multiple_of(ALIGNMENT) {
            return Err(NpyError::Unaligned(data));
        }
        let npy = Self { dtype, shape, data };
        npy.data_len().filter(|_| npy.shape.len() <= MAX_RANK).ok_or(NpyError::TooLarge)?;
        Ok(npy)
    }

    /// Length of the data in bytes; `None` when it does not fit 63 bits.
    #[must_use]
    pub fn data_len(&self) -> Option<u64> {
        let elements = self.shape.iter().try_fold(1u64, |all, length| all.checked_mul(*length))?;
        elements.checked_mul(self.dtype.size() as u64).filter(|bytes| i64::try_from(*bytes).is_ok())
    }
}

/// One-byte types have no byte order; NumPy writes `|`, some writers `<`.
fn same(descr: &str, dtype: Dtype) -> bool {
    descr.strip_prefix('<') == dtype.descr().strip_prefix('|')
}

/// Reads the Python dictionary of a header: `descr`, `fortran_order`, `shape`, each exactly once.
fn dictionary(text: &str) -> Option<(&str, bool, Vec<u64>)> {
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    let mut rest = text.trim().strip_prefix('{')?;
    loop {
        rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix('}') {
            return end.is_empty().then_some((descr?, fortran?, shape?));
        }
        let (key, tail) = quoted(rest)?;
        rest = tail.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" if descr.is_none() => {
                let (value, tail) = quoted(rest)?;
                (descr, rest) = (Some(value), tail);
            }
            "fortran_order" if fortran.is_none() => {
                let (value, tail) = match rest.strip_prefix("False") {
                    Some(tail) => (false, tail),
                    None => (true, rest.strip_prefix("True")?),
                };
                (fortran, rest) = (Some(value), tail);
            }
            "shape" if shape.is_none() => {
                let (inside, tail) = rest.strip_prefix('(')?.split_once(')')?;
                (shape, rest) = (Some(tuple(inside)?), tail);
            }
            _ => return None,
        }
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(tail) => rest = tail,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

fn tuple(inside: &str) -> Option<Vec<u64>> {
    let inside = inside.trim();
    if inside.is_empty() {
        return Some(Vec::new());
    }
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    inside
        .split(',')
        .map(str::trim)
        .map(|part| part.parse().ok().filter(|_| digits(part)))
        .collect()
}
