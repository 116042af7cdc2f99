//! The rows of an Arrow IPC file as values: one map for each, by the names of the columns.
//!
//! After the "Arrow Columnar Format" (<https://arrow.apache.org/docs/format/Columnar.html>). Cells write these files, so nothing in them is
//! believed: every place is looked up in the bytes there are, and what claims could multiply (rows, texts) is counted. Columns of numbers,
//! bools, texts, bytes, dates and timestamps are read; others are refused by their name, since a value must not be lost silently.

use std::collections::{BTreeMap, BTreeSet};

use polyloom_model::Value;
use polyloom_plan::MAX_STEPS;
use polyloom_protocol::flatbuffer::Node;

/// Values in all rows together.
const MOST_VALUES: usize = 4_000_000;
/// Bytes of all texts together: rows may share theirs in the file.
const MOST_TEXT: usize = 64 << 20;

const DAMAGED: &str = "not a readable Arrow file";

#[derive(Debug, Clone, Copy)]
enum Kind {
    Null,
    Bool,
    Int {
        width: usize,
        signed: bool,
    },
    Half,
    Float,
    Double,
    Bytes {
        wide: bool,
        text: bool,
    },
    Days,
    /// Parts of a second since 1970, in eight bytes.
    Time {
        per_second: i64,
        date: bool,
    },
}

struct Column {
    name: String,
    kind: Kind,
}

/// The rows, or why there are none.
pub(super) fn rows(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let damaged = || DAMAGED.to_owned();
    let end = bytes.len().checked_sub(10).filter(|_| bytes.starts_with(b"ARROW1"));
    let end = end.ok_or_else(damaged)?;
    let tail = bytes.get(end..).filter(|tail| tail.ends_with(b"ARROW1")).ok_or_else(damaged)?;
    let length = number(tail, 0, 4) as usize;
    let footer = end.checked_sub(length).and_then(|from| bytes.get(from..end));
    let footer = footer.and_then(Node::root).ok_or_else(damaged)?;
    let schema = footer.table(1).ok_or_else(damaged)?;
    if schema.i16(0).unwrap_or(0) != 0 {
        return Err("its numbers are big-endian".to_owned());
    }
    let columns: Vec<Column> = schema.tables(1).iter().map(column).collect::<Result<_, _>>()?;
    let names: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if names.len() < columns.len() || names.contains("") {
        return Err("a column has no name, or two have one".to_owned());
    }
    let mut rows = Vec::new();
    let mut text = MOST_TEXT;
    for block in &footer.structs::<24>(3) {
        let at = number(block, 0, 8) as usize;
        let meta = number(block, 8, 4) as usize;
        batch(bytes, at, meta, &columns, &mut rows, &mut text)?;
    }
    Ok(rows.into_iter().map(Value::Map).collect())
}

fn column(field: &Node<'_>) -> Result<Column, String> {
    let name = field.text(0).unwrap_or_default().to_owned();
    let ty = field.table(3);
    let i16 = |at, default| ty.and_then(|ty| ty.i16(at)).unwrap_or(default);
    let refused = |what: &str| {
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        Err(format!(
            "the column `{shown}` is of {what}, which is no value of an item; leave it out of the table"
        ))
    };
    if field.table(4).is_some() {
        return refused("a dictionary type (a categorical)");
    }
    // The numbers are those of `Schema.fbs`.
    let kind = match field.u8(2).unwrap_or(0) {
        1 => Kind::Null,
        2 => {
            let bits = ty.and_then(|ty| ty.i32(0)).unwrap_or(32);
            let signed = ty.and_then(|ty| ty.u8(1)).unwrap_or(0) != 0;
            match bits {
                8 | 16 | 32 | 64 => {
                    Kind::Int { width: usize::try_from(bits / 8).unwrap_or(8), signed }
                }
                _ => return refused("an unknown kind of integers"),
            }
        }
        3 => match i16(0, 0) {
            0 => Kind::Half,
            1 => Kind::Float,
            _ => Kind::Double,
        },
        4 | 19 => Kind::Bytes { wide: field.u8(2) == Some(19), text: false },
        5 | 20 => Kind::Bytes { wide: field.u8(2) == Some(20), text: true },
        6 => Kind::Bool,
        8 if i16(0, 1) == 0 => Kind::Days,
        8 => Kind::Time { per_second: 1000, date: true },
        10 => {
            let per_second = [1, 1000, 1_000_000, 1_000_000_000];
            let unit = usize::try_from(i16(0, 0)).unwrap_or(0);
            Kind::Time { per_second: per_second[unit.min(3)], date: false }
        }
        12 | 16 | 21 => return refused("a list type"),
        13 => return refused("a record type"),
        17 => return refused("a map type"),
        _ => return refused("a type that is not read here"),
    };
    Ok(Column { name, kind })
}

/// The bytes of one record batch.
struct Batch<'a> {
    bytes: &'a [u8],
    body: usize,
    /// Place in the body, and length.
    buffers: Vec<(usize, usize)>,
    rows: usize,
}

fn batch(
    bytes: &[u8],
    at: usize,
    meta: usize,
    columns: &[Column],
    rows: &mut Vec<BTreeMap<String, Value>>,
    text: &mut usize,
) -> Result<(), String> {
    let damaged = || DAMAGED.to_owned();
    let body = at.checked_add(meta).ok_or_else(damaged)?;
    let message = bytes.get(at..body).ok_or_else(damaged)?;
    // A continuation mark and the length come first; files of before 0.15 have the length only.
    let skip = if message.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message = message.get(skip..).and_then(Node::root).ok_or_else(damaged)?;
    let head = message.table(2).filter(|_| message.u8(1) == Some(3)).ok_or_else(damaged)?;
    if head.table(3).is_some() {
        return Err("it is compressed; tables are stored as they are".to_owned());
    }
    let count = usize::try_from(head.i64(0).unwrap_or(0)).map_err(|_| damaged())?;
    let total = rows.len().saturating_add(count);
    if total > MAX_STEPS || total.saturating_mul(columns.len().max(1)) > MOST_VALUES {
        return Err(format!("more than {MAX_STEPS} rows, or than {MOST_VALUES} values"));
    }
    let pair = |bytes: &[u8; 16]| (number(bytes, 0, 8) as usize, number(bytes, 8, 8) as usize);
    let buffers = head.structs::<16>(2).iter().map(pair).collect();
    let nulls: Vec<bool> = head.structs::<16>(1).iter().map(|node| pair(node).1 > 0).collect();
    let batch = Batch { bytes, body, buffers, rows: count };
    let first = rows.len();
    rows.resize_with(total, BTreeMap::new);
    let mut buffer = 0;
    for (node, column) in columns.iter().enumerate() {
        let has_nulls = nulls.get(node).copied().unwrap_or(false);
        let values = batch.column(column.kind, buffer, has_nulls, text);
        let values =
            values.map_err(|why| format!("column `{}`: {why}", column.name.escape_debug()))?;
        buffer += match column.kind {
            Kind::Null => 0,
            Kind::Bytes { .. } => 3,
            _ => 2,
        };
        for (row, value) in rows[first..].iter_mut().zip(values) {
            row.insert(column.name.clone(), value);
        }
    }
    Ok(())
}

impl Batch<'_> {
    fn buffer(&self, number: usize) -> Option<&[u8]> {
        let (from, length) = *self.buffers.get(number)?;
        let from = self.body.checked_add(from)?;
        self.bytes.get(from..from.checked_add(length)?)
    }

    fn column(
        &self,
        kind: Kind,
        first: usize,
        has_nulls: bool,
        text: &mut usize,
    ) -> Result<Vec<Value>, String> {
        let damaged = || DAMAGED.to_owned();
        if matches!(kind, Kind::Null) {
            return Ok(vec![Value::Null; self.rows]);
        }
        let bits = self.rows.div_ceil(8);
        let valid = match has_nulls {
            true => Some(self.buffer(first).filter(|it| it.len() >= bits).ok_or_else(damaged)?),
            false => None,
        };
        let data = self.buffer(first + 1).ok_or_else(damaged)?;
        let needed = match kind {
            Kind::Null => 0,
            Kind::Bool => bits,
            Kind::Bytes { .. } if self.rows == 0 => 0,
            Kind::Bytes { wide, .. } => (self.rows + 1) * if wide { 8 } else { 4 },
            _ => self.rows * kind.width(),
        };
        if data.len() < needed {
            return Err(damaged());
        }
        let texts = match kind {
            Kind::Bytes { .. } => self.buffer(first + 2).ok_or_else(damaged)?,
            _ => &[],
        };
        let one = |row: usize| -> Result<Value, String> {
            if valid.is_some_and(|valid| valid[row / 8] >> (row % 8) & 1 == 0) {
                return Ok(Value::Null);
            }
            let Kind::Bytes { wide, text: is_text } = kind else { return kind.value(data, row) };
            let width = if wide { 8 } else { 4 };
            let at = |row: usize| number(data, row * width, width) as usize;
            let part = texts.get(at(row)..at(row + 1)).ok_or_else(damaged)?;
            *text = text.checked_sub(part.len()).ok_or("its texts are too long together")?;
            if !is_text {
                return Ok(Value::Bytes(part.to_vec()));
            }
            let part = std::str::from_utf8(part).map_err(|_| "a text is not UTF-8")?;
            Ok(Value::Str(part.to_owned()))
        };
        let mut one = one;
        (0..self.rows).map(&mut one).collect()
    }
}

impl Kind {
    fn width(self) -> usize {
        match self {
            Self::Int { width, .. } => width,
            Self::Half => 2,
            Self::Float | Self::Days => 4,
            Self::Double | Self::Time { .. } => 8,
            Self::Null | Self::Bool | Self::Bytes { .. } => 0,
        }
    }

    fn value(self, data: &[u8], row: usize) -> Result<Value, String> {
        let bits = number(data, row * self.width(), self.width());
        let signed = |width: usize| {
            let unused = 64 - 8 * width;
            (bits << unused).cast_signed() >> unused
        };
        Ok(match self {
            Self::Null | Self::Bytes { .. } => Value::Null,
            Self::Bool => Value::Bool(data[row / 8] >> (row % 8) & 1 == 1),
            Self::Int { width, signed: true } => Value::Int(signed(width)),
            Self::Int { .. } => {
                let int = i64::try_from(bits);
                Value::Int(int.map_err(|_| format!("{bits} is larger than an int may be"))?)
            }
            Self::Half => Value::Float(half(bits)),
            Self::Float => Value::Float(f64::from(f32::from_bits(bits as u32))),
            Self::Double => Value::Float(f64::from_bits(bits)),
            Self::Days => Value::Str(date(signed(4))),
            Self::Time { per_second, date: only } => {
                let time = bits.cast_signed();
                let (seconds, rest) = (time.div_euclid(per_second), time.rem_euclid(per_second));
                let day = date(seconds.div_euclid(86_400));
                if only {
                    return Ok(Value::Str(day));
                }
                let of_day = seconds.rem_euclid(86_400);
                let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
                let digits = per_second.ilog10() as usize;
                let rest = if rest == 0 { String::new() } else { format!(".{rest:0digits$}") };
                Value::Str(format!("{day}T{hour:02}:{minute:02}:{second:02}{rest}"))
            }
        })
    }
}

/// A little-endian number of up to eight bytes; what is not there reads as zero.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut all = [0; 8];
    if let Some(part) = at.checked_add(width).and_then(|end| bytes.get(at..end)) {
        all[..width].copy_from_slice(part);
    }
    u64::from_le_bytes(all)
}

/// IEEE 754 binary16.
fn half(bits: u64) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15 & 1, bits >> 10 & 31, bits & 1023);
    let fraction = f64::from(fraction as u16) / 1024.0;
    let value = match exponent {
        0 => fraction * 2.0_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction) * 2.0_f64.powi(e as i32 - 15),
    };
    if sign == 1 { -value } else { value }
}

/// Days since 1970 as `2012-01-31`, after Howard Hinnant's `civil_from_days`.
fn date(days: i64) -> String {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: &[u8] = include_bytes!("../../../../sdk/c/tests/fixtures/numbers.arrow");
    const EMPTY: &[u8] = include_bytes!("../../../../sdk/c/tests/fixtures/empty.arrow");
    const COMPRESSED: &[u8] = include_bytes!("../../../../sdk/c/tests/fixtures/compressed.arrow");
    const TYPES: &[u8] = include_bytes!("../../../report/tests/data/types.arrow");

    #[test]
    fn rows_are_maps_by_the_names_of_the_columns() {
        let rows = rows(NUMBERS).unwrap();
        let texts: Vec<String> = rows.iter().map(Value::to_json).collect();
        assert_eq!(texts, [r#"{"n":1,"x":0.5}"#, r#"{"n":2,"x":1.5}"#, r#"{"n":3,"x":2.5}"#]);
    }

    #[test]
    fn what_is_no_value_is_refused_by_its_name() {
        assert_eq!(rows(EMPTY).unwrap(), []);
        assert!(rows(COMPRESSED).unwrap_err().contains("compressed"));
        let told = rows(TYPES).unwrap_err();
        assert!(told.contains("the column `tags` is of a list type"), "{told}");
        assert_eq!(rows(b"ARROW1").unwrap_err(), DAMAGED);
    }

    #[test]
    fn dates_and_halves_are_what_they_are_elsewhere() {
        assert_eq!([0, 15_340, -1].map(date), ["1970-01-01", "2012-01-01", "1969-12-31"]);
        assert_eq!([0x3e00, 0xc000, 0x0001].map(half), [1.5, -2.0, 2.0_f64.powi(-24)]);
        let _ = [i64::MAX, i64::MIN].map(date);
    }

    #[test]
    fn no_damage_brings_the_reader_down() {
        for file in [NUMBERS, TYPES] {
            for at in 0..file.len() {
                for byte in [0x00, 0x01, 0x7f, 0xff] {
                    let mut bytes = file.to_vec();
                    bytes[at] = byte;
                    let _ = rows(&bytes);
                }
                let _ = rows(&file[..at]);
            }
        }
    }
}
