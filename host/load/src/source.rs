//! A text with a name, and where a byte of it stands for a person. Knows no format.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Bytes of one stretch of a text.
const STRETCH: usize = 1024;

/// Bytes `start..end` of a text.
pub type Span = Range<usize>;

/// A line and a column, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A text that was read, with the name it is shown by.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins; never empty.
    lines: Vec<usize>,
    /// For each stretch of the text the line that holds its first byte: of a long text, no line is looked for among all.
    stretches: Vec<usize>,
    shown: OnceLock<String>,
}

impl Source {
    /// A text called `name`. A byte order mark is dropped: no span ever counts it.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut stretches = Vec::with_capacity(text.len() / STRETCH + 1);
        for (line, start) in lines.iter().enumerate() {
            // All that begin before this line does begin in those before it.
            while stretches.len() * STRETCH < *start {
                stretches.push(line - 1);
            }
        }
        Arc::new(Self { name: name.into(), text, lines, stretches, shown: OnceLock::new() })
    }

    /// The name: a path as the user wrote it, or what stands for one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text without characters that a terminal would obey or that reorder what is read; as long as the
    /// text itself, byte for byte.
    pub(crate) fn shown(&self) -> &str {
        self.shown.get_or_init(|| {
            let mut shown = String::with_capacity(self.text.len());
            for c in self.text.chars() {
                match c {
                    '\n' | '\t' => shown.push(c),
                    '\r' => shown.push(' '),
                    '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                        shown.push_str("???");
                    }
                    c if c.is_control() => (0..c.len_utf8()).for_each(|_| shown.push('?')),
                    c => shown.push(c),
                }
            }
            shown
        })
    }

    /// The index, from 0, of the line that holds a byte.
    pub(crate) fn line_index(&self, offset: usize) -> usize {
        let stretch = offset / STRETCH;
        let from = self.stretches.get(stretch).or(self.stretches.last()).copied().unwrap_or(0);
        let to = self.stretches.get(stretch + 1).map_or(self.lines.len(), |line| line + 1);
        let lines = &self.lines[from..to];
        from + lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The bytes of a line by its index from 0, without its end; the last line for any greater index.
    pub(crate) fn line_span(&self, index: usize) -> Span {
        let index = index.min(self.lines.len() - 1);
        let start = self.lines[index];
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        start..start + line.strip_suffix('\r').unwrap_or(line).len()
    }

    /// How many lines there are.
    pub(crate) fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// The nearest place at or before `offset` that is between two characters of the text.
    pub(crate) fn clamp(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// The line, from 1, that holds a byte. Unlike a column it costs nothing on a long line: a JSON text may be a single one.
    #[must_use]
    pub(crate) fn line(&self, offset: usize) -> u32 {
        number(self.line_index(self.clamp(offset))) + 1
    }

    /// Where a byte stands. Reads its line up to there: for what people are shown.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.clamp(offset);
        let line = self.line_index(offset);
        let column = self.text[self.lines[line]..offset].chars().count();
        Position { line: number(line) + 1, column: number(column) + 1 }
    }
}

/// A count for people; texts are far shorter than 4 GiB (the readers cap them).
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_anywhere_in_a_long_text() {
        for text in ["", "\n", &"\n".repeat(5000), &"a".repeat(5000), &"ab\n".repeat(3000)] {
            let long = format!("{text}{}\n{text}", "x".repeat(3000));
            for text in [text, &long] {
                let source = Source::new("x", text);
                let mut line = 0;
                for offset in 0..=text.len() {
                    assert_eq!(source.line_index(offset), line, "{offset}");
                    line += usize::from(text.as_bytes().get(offset) == Some(&b'\n'));
                }
                assert_eq!(source.line_index(usize::MAX), line);
            }
        }
    }

    #[test]
    fn columns_count_characters_and_lines_end_before_their_break() {
        let source = Source::new("x", "\u{feff}aé=1\r\nb\n");
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(2), Position { line: 1, column: 2 }, "inside a character");
        assert_eq!([0, 3, 6, 7, 8, 999].map(|at| source.line(at)), [1, 1, 1, 2, 2, 3]);
        assert_eq!(source.position(7), Position { line: 2, column: 1 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
        assert_eq!(&source.text()[source.line_span(0)], "aé=1");
    }
}
