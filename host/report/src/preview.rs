//! How an artifact looks in a few lines. The bytes are anybody's: every reader here is bounded and none panics.
//!
//! It opens nothing: whoever asks gives the bytes, and the path only to be shown.

mod image;
mod scalar;
mod table;
mod tensor;
mod text;
mod value;

use std::io::{self, Read, Seek};
use std::path::Path;

use crate::escape::escape_line;
use crate::units;

/// Bytes that can be read from any place.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Port type, as the flow spells it: `table`, `tensor<f64,[n]>`, `str`.
    pub r#type: &'a str,
    /// Media type, if known.
    pub media_type: Option<&'a str>,
    /// Size in bytes.
    pub size: u64,
    /// A file with the bytes, for the user to open.
    pub path: Option<&'a Path>,
}

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub struct PreviewOptions {
    /// Rows of a table, lines of a text or value.
    pub rows: usize,
    /// Columns of the screen.
    pub width: usize,
}

impl Default for PreviewOptions {
    fn default() -> Self {
        Self { rows: 10, width: 80 }
    }
}

/// Values up to this size are read whole.
const MAX_VALUE: u64 = 4 << 20;

/// The preview: one line about the artifact, then a look at it. Damaged contents are a line of words, not an error;
/// only reading can fail.
pub fn preview(
    subject: &Subject<'_>,
    source: &mut dyn Source,
    options: PreviewOptions,
) -> io::Result<String> {
    let ty = subject.r#type;
    let mut out = format!("{}, {}", escape_line(ty), units::size(subject.size));
    if let Some(path) = subject.path {
        out.push_str(&format!(", {}", escape_line(&path.to_string_lossy())));
    }
    out.push('\n');
    let media = subject.media_type.unwrap_or_default();
    let body = if ty.starts_with("tensor") {
        tensor::show(source, subject.size, options)?
    } else if ty == "table" {
        table::show(source, options)?
    } else if ty == "image" {
        image::show(source)?
    } else if ty == "file" {
        file(source, subject, options)?
    } else if ty == "dir" {
        value::show_listing(&head(source, MAX_VALUE)?, options)
    } else if media.starts_with("text/") {
        text::show(&head(source, MAX_VALUE)?, subject.size, options)
    } else if subject.size > MAX_VALUE {
        format!("larger than {}, not shown\n", units::size(MAX_VALUE))
    } else {
        value::show(&head(source, MAX_VALUE)?, options)
    };
    out.push_str(&body);
    Ok(out)
}

/// A file may be anything: what its first bytes say.
fn file(
    source: &mut dyn Source,
    subject: &Subject<'_>,
    options: PreviewOptions,
) -> io::Result<String> {
    let start = head(source, 64 << 10)?;
    Ok(if start.starts_with(b"ARROW1") {
        table::show(source, options)?
    } else if start.starts_with(b"\x93NUMPY") {
        tensor::show(source, subject.size, options)?
    } else if image::is_image(&start) {
        image::show(source)?
    } else {
        text::show(&start, subject.size, options)
    })
}

/// The first bytes, at most `max`.
fn head(source: &mut dyn Source, max: u64) -> io::Result<Vec<u8>> {
    source.rewind()?;
    let mut bytes = Vec::new();
    source.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes from a place, as many as there are up to `len`.
fn slice(source: &mut dyn Source, at: u64, len: u64) -> io::Result<Vec<u8>> {
    source.seek(io::SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    source.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}
