//! Colours and widths. Whether there is colour at all is the caller's decision.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a piece of text is, from which its look follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Style {
    Good,
    Bad,
    Warn,
    Dim,
    Strong,
    Plain,
}

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    /// Whether escape sequences for colours are written.
    pub color: bool,
}

impl Paint {
    /// `text` in a style. The text must be safe already; see [`crate::escape`].
    #[must_use]
    pub fn text(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Good => "32",
            Style::Bad => "1;31",
            Style::Warn => "33",
            Style::Dim => "2",
            Style::Strong => "1",
            Style::Plain => return text.to_owned(),
        };
        self.coded(code, text)
    }

    /// A cell's name in a colour of its own, the same in every run.
    #[must_use]
    pub fn cell(self, cell: &str, text: &str) -> String {
        const COLORS: [&str; 6] = ["36", "35", "34", "33", "32", "96"];
        let hash = cell.bytes().fold(5381_usize, |h, b| h.wrapping_mul(33) ^ usize::from(b));
        self.coded(COLORS[hash % COLORS.len()], text)
    }

    fn coded(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text and blanks up to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let mut text = text.to_owned();
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&text))));
    text
}

/// As much of a text as fits into `columns`, with `…` where something is left out.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next + 1 > columns {
            break;
        }
        out.push(c);
        used += next;
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// The same, with what is left out in the middle: both ends stay.
pub(crate) fn fit_ends(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let start = fit(text, columns.div_ceil(2));
    let mut room = columns.saturating_sub(width(&start));
    let mut at = text.len();
    for (place, c) in text.char_indices().rev() {
        let next = c.width().unwrap_or(0);
        if next > room {
            break;
        }
        room -= next;
        at = place;
    }
    start + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_columns_not_bytes() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello", 4), "hel…");
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("漢字", 0), "");
        assert_eq!(pad("漢", 4), "漢  ");
        assert_eq!(fit_ends("fit[x=1,y=2]", 12), "fit[x=1,y=2]");
        assert_eq!(fit_ends("fit[x=1,y=2]", 10), "fit[…,y=2]");
        assert_eq!(fit_ends("漢字漢字漢", 7), "漢…字漢");
        assert_eq!(fit_ends("fit", 0), "");
    }
}
