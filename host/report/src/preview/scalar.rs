//! Numbers, dates and times of Arrow columns as text. Knows no file.

use crate::units;

/// How a column's values lie in its buffers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool,
    Int {
        bytes: u64,
        signed: bool,
    },
    Half,
    Float,
    Double,
    /// Offsets of four or eight bytes; whether it is text.
    Bytes {
        wide: bool,
        text: bool,
    },
    /// Days (four bytes) or milliseconds (eight) since 1970.
    Date {
        days: bool,
    },
    /// Parts of a second since 1970; whether of UTC, which those with a time zone are.
    Timestamp {
        per_second: i64,
        utc: bool,
    },
    /// An index into a dictionary of so many bytes.
    Index {
        bytes: u64,
    },
    /// Shown by its name only; own buffers.
    Other {
        buffers: usize,
    },
}

impl Kind {
    /// Bytes of one element.
    pub(super) fn width(self) -> u64 {
        match self {
            Self::Int { bytes, .. } | Self::Index { bytes } => bytes,
            Self::Half => 2,
            Self::Float | Self::Date { days: true } => 4,
            Self::Double | Self::Date { days: false } | Self::Timestamp { .. } => 8,
            Self::Null | Self::Bool | Self::Bytes { .. } | Self::Other { .. } => 0,
        }
    }
}

/// The `i`th little-endian number of `width` bytes; what is not there reads as zero.
pub(super) fn unsigned(bytes: &[u8], i: usize, width: u64) -> u64 {
    let width = usize::try_from(width).unwrap_or(0).min(8);
    let at = i.saturating_mul(width);
    let Some(part) = bytes.get(at..at.saturating_add(width)) else { return 0 };
    let mut all = [0; 8];
    all[..width].copy_from_slice(part);
    u64::from_le_bytes(all)
}

/// A number as text.
pub(super) fn scalar(kind: Kind, bits: u64) -> String {
    let sign = |width: u64| {
        let unused = 64 - 8 * u32::try_from(width.clamp(1, 8)).unwrap_or(8);
        (bits << unused).cast_signed() >> unused
    };
    match kind {
        Kind::Int { bytes, signed: true } => sign(bytes).to_string(),
        Kind::Int { .. } => bits.to_string(),
        Kind::Index { bytes } => format!("#{}", sign(bytes)),
        Kind::Half => half(bits).to_string(),
        Kind::Float => f32::from_bits(u32::try_from(bits).unwrap_or(0)).to_string(),
        Kind::Double => f64::from_bits(bits).to_string(),
        Kind::Date { days: true } => units::date(sign(4)).unwrap_or_else(|| sign(4).to_string()),
        Kind::Date { days: false } => {
            let days = bits.cast_signed().div_euclid(86_400_000);
            units::date(days).unwrap_or_else(|| bits.cast_signed().to_string())
        }
        Kind::Timestamp { per_second, utc } => {
            let value = bits.cast_signed();
            let seconds = units::date_time(value.div_euclid(per_second));
            let zone = if utc { "Z" } else { "" };
            match value.rem_euclid(per_second) {
                0 => format!("{seconds}{zone}"),
                rest => {
                    let digits = per_second.ilog10() as usize;
                    format!("{seconds}.{rest:0digits$}{zone}")
                }
            }
        }
        Kind::Null | Kind::Bool | Kind::Bytes { .. } | Kind::Other { .. } => String::new(),
    }
}

/// IEEE 754 binary16.
fn half(bits: u64) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15 & 1, bits >> 10 & 31, bits & 1023);
    #[expect(clippy::cast_precision_loss, reason = "ten bits")]
    let fraction = fraction as f64 / 1024.0;
    let value = match exponent {
        0 => fraction * 2.0_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction) * 2.0_f64.powi(i32::try_from(e).unwrap_or(0) - 15),
    };
    if sign == 1 { -value } else { value }
}
