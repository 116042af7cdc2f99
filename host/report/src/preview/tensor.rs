//! A tensor: its header, first values, range, and a line of bars. Of large ones only the beginning is looked at.

use std::fmt::Write;
use std::io;

use super::{PreviewOptions, Source, head, slice};
use crate::paint::fit;
use crate::units;

/// Bytes of data that are looked at.
const LOOK: u64 = 8 << 20;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

struct Header {
    /// Kind and size of an element, such as `f8`.
    dtype: String,
    fortran: bool,
    shape: Vec<u64>,
    data: u64,
}

pub(super) fn show(
    source: &mut dyn Source,
    size: u64,
    options: PreviewOptions,
) -> io::Result<String> {
    let start = head(source, 64 << 10)?;
    let Some(header) = header(&start) else { return Ok("not a readable .npy file\n".to_owned()) };
    let shape: Vec<_> = header.shape.iter().map(u64::to_string).collect();
    let order = if header.fortran { ", column-major" } else { "" };
    let mut out = format!("{} [{}]{order}\n", name(&header.dtype), shape.join(", "));
    let Some(width) = width(&header.dtype) else { return Ok(out) };
    let expected = header.shape.iter().try_fold(width, |all, n| all.checked_mul(*n));
    let there = size.saturating_sub(header.data);
    if expected != Some(there) {
        let _ = writeln!(out, "damaged: {} of data", units::size(there));
    }
    let look = there.min(LOOK) / width * width;
    let bytes = slice(source, header.data, look)?;
    let whole = usize::try_from(width).unwrap_or(1);
    let values: Vec<f64> = bytes.chunks_exact(whole).map(|b| number(&header.dtype, b)).collect();
    if values.is_empty() {
        return Ok(out);
    }
    let texts: Vec<_> =
        bytes.chunks_exact(whole).take(16).map(|b| text(&header.dtype, b)).collect();
    let more = if values.len() > 16 || there > look { " …" } else { "" };
    let _ = writeln!(out, "{}", fit(&format!("{}{more}", texts.join(" ")), options.width));
    out.push_str(&range(&values, there > look));
    if header.shape.len() == 1 && values.len() > 2 {
        let _ = writeln!(out, "{}", bars(&values, options.width.min(60)));
    }
    Ok(out)
}

fn range(values: &[f64], partial: bool) -> String {
    let real: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let odd = values.len() - real.len();
    let mut out = String::new();
    if !real.is_empty() {
        let min = real.iter().copied().fold(f64::INFINITY, f64::min);
        let max = real.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        let mean = real.iter().map(|v| v / real.len() as f64).sum::<f64>();
        let _ = write!(out, "min {min}  max {max}  mean {mean:.6}");
    }
    if odd > 0 {
        let gap = if out.is_empty() { "" } else { "  " };
        let _ = write!(out, "{gap}{odd} not finite");
    }
    if partial {
        let _ = write!(out, "  (of the first {})", values.len());
    }
    out + "\n"
}

/// Each bar is the mean of a stretch.
fn bars(values: &[f64], columns: usize) -> String {
    let count = values.len().min(columns.max(1));
    let mut means = Vec::with_capacity(count);
    for i in 0..count {
        let stretch = &values[i * values.len() / count..(i + 1) * values.len() / count];
        let real: Vec<f64> = stretch.iter().copied().filter(|v| v.is_finite()).collect();
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        means.push((!real.is_empty()).then(|| real.iter().sum::<f64>() / real.len() as f64));
    }
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for mean in means.iter().flatten() {
        (min, max) = (min.min(*mean), max.max(*mean));
    }
    let bar = |mean: &Option<f64>| {
        let Some(mean) = mean else { return ' ' };
        let part = if max > min { (mean - min) / (max - min) } else { 0.5 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
        let level = (part.clamp(0.0, 1.0) * 7.0).round() as usize;
        BARS[level.min(7)]
    };
    means.iter().map(bar).collect()
}

/// The header after NEP 1 ("A Simple File Format for NumPy Arrays").
fn header(bytes: &[u8]) -> Option<Header> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (len, from): (usize, usize) = match rest.first()? {
        1 => (usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)), 10),
        2 | 3 => (usize::try_from(u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?)).ok()?, 12),
        _ => return None,
    };
    let text = std::str::from_utf8(bytes.get(from..from.checked_add(len)?)?).ok()?;
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'"))?;
        Some(text[at..].split_once(':')?.1.trim_start())
    };
    let descr = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
    let (order, dtype) = descr.split_at_checked(1)?;
    if !matches!(order, "<" | "|" | "=") || dtype.is_empty() || dtype.len() > 8 {
        return None;
    }
    let fortran = after("fortran_order")?.starts_with("True");
    let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let parts = shape.split(',').map(str::trim).filter(|part| !part.is_empty());
    let shape: Option<Vec<u64>> = parts.take(33).map(|part| part.parse().ok()).collect();
    let shape = shape.filter(|shape| shape.len() <= 32)?;
    if !dtype.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    Some(Header { dtype: dtype.to_owned(), fortran, shape, data: (from + len) as u64 })
}

fn width(dtype: &str) -> Option<u64> {
    match dtype {
        "b1" | "i1" | "u1" => Some(1),
        "i2" | "u2" => Some(2),
        "i4" | "u4" | "f4" => Some(4),
        "i8" | "u8" | "f8" => Some(8),
        _ => None,
    }
}

/// The word of port types.
fn name(dtype: &str) -> &str {
    match dtype {
        "b1" => "bool",
        "i1" => "i8",
        "i2" => "i16",
        "i4" => "i32",
        "i8" => "i64",
        "u1" => "u8",
        "u2" => "u16",
        "u4" => "u32",
        "u8" => "u64",
        "f4" => "f32",
        "f8" => "f64",
        other => other,
    }
}

/// Fewer bytes than a number needs count as zeros.
fn bits(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    let len = bytes.len().min(8);
    all[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(all)
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * u32::try_from(bytes.len().clamp(1, 8)).unwrap_or(8);
    (bits(bytes) << unused).cast_signed() >> unused
}

#[expect(clippy::cast_precision_loss, reason = "for a range and bars")]
fn number(dtype: &str, bytes: &[u8]) -> f64 {
    match dtype {
        "f8" => f64::from_bits(bits(bytes)),
        "f4" => f64::from(f32::from_bits(u32::try_from(bits(bytes)).unwrap_or(0))),
        "i1" | "i2" | "i4" | "i8" => signed(bytes) as f64,
        _ => bits(bytes) as f64,
    }
}

fn text(dtype: &str, bytes: &[u8]) -> String {
    match dtype {
        "b1" => (bits(bytes) != 0).to_string(),
        "f8" => f64::from_bits(bits(bytes)).to_string(),
        "f4" => f32::from_bits(u32::try_from(bits(bytes)).unwrap_or(0)).to_string(),
        "i1" | "i2" | "i4" | "i8" => signed(bytes).to_string(),
        _ => bits(bytes).to_string(),
    }
}
