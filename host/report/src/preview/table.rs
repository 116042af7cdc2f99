//! The head of an Arrow IPC file: columns and types, the number of rows, the first rows of the first batches.
//!
//! After the "Arrow Columnar Format" (<https://arrow.apache.org/docs/format/Columnar.html>). Scalars, texts, dates and
//! timestamps are shown; nested columns by their type; compressed files by their schema.

use std::io::{self, SeekFrom};

use polyloom_protocol::flatbuffer::Node;

use super::scalar::{Kind, scalar, unsigned};
use super::{PreviewOptions, Source, slice};
use crate::escape::escape_line;
use crate::paint::{Paint, fit};
use crate::tables::{Align, Table};

/// Metadata larger than this is not looked at.
const MAX_META: u64 = 16 << 20;
/// Columns shown, and columns of all levels that are read at all: entries of a hostile schema may all point to the
/// same few bytes, so its size says nothing.
const MAX_COLUMNS: usize = 64;
const MAX_FIELDS: usize = 4096;
/// Metadata of all batches together; batches may overlap just the same.
const MAX_ALL_META: u64 = 64 << 20;
const MAX_CELL: usize = 40;
/// Values of a dictionary that are looked up; those behind are shown by their place.
const MAX_LOOKED_UP: u64 = 10_000;

/// Kinds of messages, as `Message.fbs` numbers them.
const DICTIONARY: u8 = 2;
const RECORDS: u8 = 3;

struct Column {
    name: String,
    ty: String,
    kind: Kind,
    /// The number of the dictionary that its values are places in, and how those are read.
    dictionary: Option<(i64, Kind)>,
    children: Vec<Column>,
}

struct Batch {
    rows: u64,
    /// Place and length of every buffer, in the file.
    buffers: Vec<(u64, u64)>,
    /// Whether each node has nulls.
    nulls: Vec<bool>,
    compressed: bool,
}

pub(super) fn show(source: &mut dyn Source, options: PreviewOptions) -> io::Result<String> {
    Ok(read(source, options)?.unwrap_or_else(|| "not a readable Arrow file\n".to_owned()))
}

fn read(source: &mut dyn Source, options: PreviewOptions) -> io::Result<Option<String>> {
    let end = source.seek(SeekFrom::End(0))?;
    if end < 22 || slice(source, 0, 6)? != b"ARROW1" {
        return Ok(None);
    }
    let tail = slice(source, end - 10, 10)?;
    let Some((len, b"ARROW1")) = tail.split_at_checked(4) else { return Ok(None) };
    let len = u64::from(u32::from_le_bytes(len.try_into().unwrap_or_default()));
    let Some(from) = (end - 10).checked_sub(len).filter(|_| len <= MAX_META) else {
        return Ok(None);
    };
    let footer = slice(source, from, len)?;
    let Some(footer) = Node::root(&footer) else { return Ok(None) };
    let Some(schema) = footer.table(1) else { return Ok(None) };
    let mut budget = MAX_FIELDS;
    let columns = columns(&schema, 1, 0, &mut budget);
    let (mut rows, mut head) = (0_u64, Vec::new());
    let (mut known, mut compressed) = (true, false);
    let mut looked = 0;
    for block in &footer.structs::<24>(3) {
        looked += meta_of(block);
        let read = if looked > MAX_ALL_META { None } else { batch(source, block)? };
        let Some(batch) = read else {
            known = false;
            break;
        };
        if head.len() < options.rows && !batch.compressed {
            let wanted = (options.rows - head.len()) as u64;
            head.extend(rows_of(source, &columns, &batch, wanted)?);
        }
        compressed |= batch.compressed;
        rows = rows.saturating_add(batch.rows);
    }
    look_up(source, &footer.structs::<24>(2), &columns, &mut head)?;
    let about = if known { "" } else { "at least " };
    let mut out = format!("{about}{rows} rows × {} columns\n", columns.len());
    if compressed {
        out.push_str("compressed, rows are not shown\n");
    }
    out.push_str(&draw(&columns, &head, rows, options));
    Ok(Some(out))
}

fn draw(columns: &[Column], head: &[Vec<String>], rows: u64, options: PreviewOptions) -> String {
    let shown: Vec<_> = columns.iter().take(MAX_COLUMNS).collect();
    let titles: Vec<_> = shown.iter().map(|c| escape_line(&c.name).into_owned()).collect();
    let numeric = |c: &Column| matches!(c.kind, Kind::Int { .. } | Kind::Float | Kind::Double);
    let align = |c: &&Column| if numeric(c) { Align::Right } else { Align::Left };
    let heads: Vec<_> = titles.iter().map(String::as_str).zip(shown.iter().map(align)).collect();
    let mut table = Table::new(&heads);
    table.row(shown.iter().map(|column| &column.ty));
    head.iter().for_each(|row| table.row(row));
    let mut out: String = table
        .render(Paint { color: false }, None)
        .lines()
        .map(|line| fit(line, options.width) + "\n")
        .collect();
    if rows > head.len() as u64 {
        out.push_str(&format!("… {} more\n", rows - head.len() as u64));
    }
    out
}

fn columns(parent: &Node<'_>, number: usize, depth: usize, budget: &mut usize) -> Vec<Column> {
    // Real schemas are a few levels deep.
    if depth > 16 {
        return Vec::new();
    }
    let mut all = Vec::new();
    for field in parent.tables(number) {
        let Some(left) = budget.checked_sub(1) else { break };
        *budget = left;
        all.push(column(&field, depth, budget));
    }
    all
}

fn column(field: &Node<'_>, depth: usize, budget: &mut usize) -> Column {
    let name = fit(field.text(0).unwrap_or_default(), MAX_CELL);
    let children = columns(field, 5, depth + 1, budget);
    let (ty, kind) = kind(field, &children);
    let ty = fit(&ty, 4 * MAX_CELL);
    if let Some(dictionary) = field.table(4) {
        let bits = dictionary.table(1).and_then(|int| int.i32(0)).unwrap_or(32);
        let bytes = u64::try_from(bits / 8).unwrap_or(4).clamp(1, 8);
        let ty = format!("dict<{ty}>");
        let of = children.is_empty().then(|| (dictionary.i64(0).unwrap_or(0), kind));
        let kind = Kind::Index { bytes };
        return Column { name, ty, kind, dictionary: of, children: Vec::new() };
    }
    Column { name, ty, kind, dictionary: None, children }
}

/// A column's type in words, and how it is read. The numbers are those of `Schema.fbs`.
fn kind(field: &Node<'_>, children: &[Column]) -> (String, Kind) {
    let ty = field.table(3);
    let i16 = |number, default| ty.and_then(|ty| ty.i16(number)).unwrap_or(default);
    let i32 = |number, default| ty.and_then(|ty| ty.i32(number)).unwrap_or(default);
    let child = |i: usize| children.get(i).map_or("?", |child| child.ty.as_str());
    let other = |name: &str, buffers| (name.to_owned(), Kind::Other { buffers });
    match field.u8(2).unwrap_or(0) {
        1 => ("null".to_owned(), Kind::Null),
        2 => {
            let bits = i32(0, 32);
            let signed = ty.and_then(|ty| ty.u8(1)).unwrap_or(0) != 0;
            let sign = if signed { "i" } else { "u" };
            let kind = match bits {
                8 => Kind::Int { bytes: 1, signed },
                16 => Kind::Int { bytes: 2, signed },
                32 => Kind::Int { bytes: 4, signed },
                64 => Kind::Int { bytes: 8, signed },
                _ => Kind::Other { buffers: 2 },
            };
            (format!("{sign}{bits}"), kind)
        }
        3 => match i16(0, 0) {
            0 => ("f16".to_owned(), Kind::Half),
            1 => ("f32".to_owned(), Kind::Float),
            _ => ("f64".to_owned(), Kind::Double),
        },
        4 => ("bytes".to_owned(), Kind::Bytes { wide: false, text: false }),
        5 => ("str".to_owned(), Kind::Bytes { wide: false, text: true }),
        6 => ("bool".to_owned(), Kind::Bool),
        7 => other("decimal", 2),
        8 => ("date".to_owned(), Kind::Date { days: i16(0, 1) == 0 }),
        9 => other("time", 2),
        10 => {
            let (unit, per_second) = match i16(0, 0) {
                0 => ("s", 1),
                1 => ("ms", 1000),
                2 => ("us", 1_000_000),
                _ => ("ns", 1_000_000_000),
            };
            let zone = ty.and_then(|ty| ty.text(1)).map_or_else(String::new, |z| format!(",{z}"));
            let utc = !zone.is_empty();
            (format!("timestamp<{unit}{zone}>"), Kind::Timestamp { per_second, utc })
        }
        11 => other("interval", 2),
        12 => other(&format!("list<{}>", child(0)), 2),
        13 => other("record", 1),
        15 => other("bytes[]", 2),
        16 => other(&format!("list<{}>", child(0)), 1),
        17 => other("map", 2),
        18 => other("duration", 2),
        19 => ("bytes".to_owned(), Kind::Bytes { wide: true, text: false }),
        20 => ("str".to_owned(), Kind::Bytes { wide: true, text: true }),
        21 => other(&format!("list<{}>", child(0)), 2),
        // Unions, run ends and views have buffers that only their own readers can count.
        _ => other("?", usize::MAX),
    }
}

/// Puts the values of dictionaries in the place of their numbers. A dictionary that comes in parts is left as it is.
fn look_up(
    source: &mut dyn Source,
    blocks: &[[u8; 24]],
    columns: &[Column],
    head: &mut [Vec<String>],
) -> io::Result<()> {
    let place = |text: &str| text.strip_prefix('#').and_then(|text| text.parse::<u64>().ok());
    for (at, column) in columns.iter().enumerate().take(MAX_COLUMNS) {
        let Some((id, kind)) = column.dictionary else { continue };
        let last = head.iter().filter_map(|row| place(row.get(at)?)).max();
        let Some(last) = last.filter(|last| *last < MAX_LOOKED_UP) else { continue };
        let mut found = Vec::new();
        for block in blocks.iter().take(MAX_COLUMNS) {
            if let Some((_, batch)) = dictionary(source, block)?.filter(|(of, _)| *of == id) {
                found.push(batch);
            }
        }
        let [batch] = found.as_slice() else { continue };
        if batch.compressed {
            continue;
        }
        let (name, ty) = (String::new(), String::new());
        let values = Column { name, ty, kind, dictionary: None, children: Vec::new() };
        let values = rows_of(source, std::slice::from_ref(&values), batch, last + 1)?;
        for cell in head.iter_mut().filter_map(|row| row.get_mut(at)) {
            let value = place(cell).and_then(|at| values.get(usize::try_from(at).ok()?)?.first());
            if let Some(value) = value {
                cell.clone_from(value);
            }
        }
    }
    Ok(())
}

/// The number of a dictionary and its values, from its block in the footer.
fn dictionary(source: &mut dyn Source, block: &[u8; 24]) -> io::Result<Option<(i64, Batch)>> {
    message(source, block, DICTIONARY, |header, body| {
        Some((header.i64(0).unwrap_or(0), batch_of(&header.table(1)?, body)))
    })
}

/// The metadata of a record batch, from its block in the footer.
fn batch(source: &mut dyn Source, block: &[u8; 24]) -> io::Result<Option<Batch>> {
    message(source, block, RECORDS, |header, body| Some(batch_of(header, body)))
}

/// What is read of the header of a message of a kind, and of the place where its body begins.
fn message<T>(
    source: &mut dyn Source,
    block: &[u8; 24],
    wanted: u8,
    read: impl FnOnce(&Node<'_>, u64) -> Option<T>,
) -> io::Result<Option<T>> {
    let meta = meta_of(block);
    let at = block[..8].try_into().map(u64::from_le_bytes).unwrap_or_default();
    if meta > MAX_META {
        return Ok(None);
    }
    let bytes = slice(source, at, meta)?;
    // A continuation mark and the length come first; files of before 0.15 have the length only.
    let skip = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let Some(message) = bytes.get(skip..).and_then(Node::root) else { return Ok(None) };
    let header = message.table(2).filter(|_| message.u8(1) == Some(wanted));
    let body = at.checked_add(meta);
    Ok(header.zip(body).and_then(|(header, body)| read(&header, body)))
}

fn meta_of(block: &[u8; 24]) -> u64 {
    u64::from(u32::from_le_bytes([block[8], block[9], block[10], block[11]]))
}

fn batch_of(batch: &Node<'_>, body: u64) -> Batch {
    let pair = |bytes: [u8; 16]| {
        let (a, b) = bytes.split_at(8);
        let number = |b: &[u8]| b.try_into().map(i64::from_le_bytes).unwrap_or(0);
        (u64::try_from(number(a)).unwrap_or(0), u64::try_from(number(b)).unwrap_or(0))
    };
    let buffers = batch.structs::<16>(2).into_iter().map(pair);
    Batch {
        rows: u64::try_from(batch.i64(0).unwrap_or(0)).unwrap_or(0),
        buffers: buffers.map(|(from, len)| (body.saturating_add(from), len)).collect(),
        nulls: batch.structs::<16>(1).into_iter().map(|node| pair(node).1 > 0).collect(),
        compressed: batch.table(3).is_some(),
    }
}

/// The first rows of a batch as texts.
fn rows_of(
    source: &mut dyn Source,
    columns: &[Column],
    batch: &Batch,
    wanted: u64,
) -> io::Result<Vec<Vec<String>>> {
    let count = usize::try_from(batch.rows.min(wanted)).unwrap_or(0);
    let mut rows = vec![Vec::new(); count];
    let mut cursor = Cursor { buffer: 0, node: 0 };
    for column in columns.iter().take(MAX_COLUMNS) {
        let texts = cursor.column(source, column, batch, count)?;
        for (row, text) in rows.iter_mut().zip(texts) {
            row.push(text);
        }
    }
    Ok(rows)
}

/// Walks the buffers in the order of the columns.
struct Cursor {
    buffer: usize,
    node: usize,
}

impl Cursor {
    fn column(
        &mut self,
        source: &mut dyn Source,
        column: &Column,
        batch: &Batch,
        count: usize,
    ) -> io::Result<Vec<String>> {
        let own = match column.kind {
            Kind::Null => 0,
            Kind::Bytes { .. } => 3,
            Kind::Other { buffers } => buffers,
            _ => 2,
        };
        let (first, node) = (self.buffer, self.node);
        self.skip(column, own);
        if matches!(column.kind, Kind::Other { .. }) || first >= batch.buffers.len() && own > 0 {
            return Ok(vec!["…".to_owned(); count]);
        }
        let mut part = |number: usize, from: u64, len: u64| -> io::Result<Vec<u8>> {
            let Some((at, size)) = batch.buffers.get(first.saturating_add(number)) else {
                return Ok(Vec::new());
            };
            slice(source, at.saturating_add(from), len.min(size.saturating_sub(from)))
        };
        let rows = count as u64;
        let has_nulls = batch.nulls.get(node).copied().unwrap_or(false);
        let valid = if has_nulls { part(0, 0, rows.div_ceil(8))? } else { Vec::new() };
        let is_null = |i: usize| valid.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 0);
        let mut texts = Vec::with_capacity(count);
        match column.kind {
            Kind::Bytes { wide, text } => {
                let width = if wide { 8 } else { 4 };
                let offsets = part(1, 0, (rows + 1) * width)?;
                for i in 0..count {
                    let at = |i: usize| unsigned(&offsets, i, width);
                    let (from, to) = (at(i), at(i + 1));
                    let len = to.saturating_sub(from);
                    let bytes = part(2, from, len.min(4 * MAX_CELL as u64))?;
                    let shown = match text {
                        true => fit(&escape_line(&String::from_utf8_lossy(&bytes)), MAX_CELL),
                        false => format!("<{len} bytes>"),
                    };
                    texts.push(shown);
                }
            }
            Kind::Bool => {
                let bits = part(1, 0, rows.div_ceil(8))?;
                let bit = |i: usize| bits.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
                texts.extend((0..count).map(|i| bit(i).to_string()));
            }
            kind => {
                let width = kind.width();
                let data = part(1, 0, rows.saturating_mul(width))?;
                texts.extend((0..count).map(|i| scalar(kind, unsigned(&data, i, width))));
            }
        }
        for (i, text) in texts.iter_mut().enumerate() {
            if is_null(i) || column.kind == Kind::Null {
                "null".clone_into(text);
            }
        }
        Ok(texts)
    }

    fn skip(&mut self, column: &Column, own: usize) {
        self.buffer = self.buffer.saturating_add(own);
        self.node += 1;
        for child in &column.children {
            let own = match child.kind {
                Kind::Null => 0,
                Kind::Bytes { .. } => 3,
                Kind::Other { buffers } => buffers,
                _ => 2,
            };
            self.skip(child, own);
        }
    }
}
