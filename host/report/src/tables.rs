//! Aligned tables for lists of runs, steps, mechanisms and whatever else comes in rows.

use std::fmt::Write;

use crate::escape::escape_line;
use crate::paint::{Paint, Style, fit, width};

/// No column but the last is wider than that. A text that is longer has its whole length all the same, and its row alone is out of line: what
/// others say of its width is not believed for all rows.
const WIDEST: usize = 120;

/// Which side of its column a text keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Align {
    Left,
    Right,
}

/// A table. Texts are made safe as they are put in.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    /// A table with these columns; with empty titles only, it is drawn without a head.
    #[must_use]
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|(title, align)| ((*title).to_owned(), *align)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row of plain texts. Missing ones are empty, those beyond the last column are dropped.
    pub fn row<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        self.styled(texts.into_iter().map(|text| (Style::Plain, text)));
    }

    /// Adds a row of styled texts.
    pub fn styled<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = (Style, T)>) {
        let row = texts.into_iter().take(self.columns.len());
        self.rows.push(row.map(|(s, text)| (s, escape_line(text.as_ref()).into_owned())).collect());
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, a line feed after every row. The last column gives way where `columns` of the screen are
    /// known and don't suffice.
    #[must_use]
    pub fn render(&self, paint: Paint, columns: Option<usize>) -> String {
        let mut widths: Vec<_> = self.columns.iter().map(|(title, _)| width(title)).collect();
        for row in &self.rows {
            for (most, (_, text)) in widths.iter_mut().zip(row) {
                *most = width(text).max(*most);
            }
        }
        if let Some((_, others)) = widths.split_last_mut() {
            others.iter_mut().for_each(|width| *width = (*width).min(WIDEST));
        }
        if let (Some(columns), Some((last, others))) = (columns, widths.split_last_mut()) {
            let others: usize = others.iter().map(|width| width + 2).sum();
            *last = (*last).min(columns.saturating_sub(others).max(8));
        }
        let mut out = String::new();
        if self.columns.iter().any(|(title, _)| !title.is_empty()) {
            let head: Vec<_> =
                self.columns.iter().map(|(title, _)| (Style::Dim, title.clone())).collect();
            self.line(&mut out, paint, &widths, &head);
        }
        for row in &self.rows {
            self.line(&mut out, paint, &widths, row);
        }
        out
    }

    fn line(&self, out: &mut String, paint: Paint, widths: &[usize], row: &[(Style, String)]) {
        let start = out.len();
        for (i, (style, text)) in row.iter().enumerate() {
            let last = i + 1 == widths.len();
            let text = if last { fit(text, widths[i]) } else { text.clone() };
            let blanks = " ".repeat(widths[i].saturating_sub(width(&text)));
            let text = paint.text(*style, &text);
            let gap = if i == 0 { "" } else { "  " };
            // Writing to a string does not fail.
            let _ = match self.columns[i].1 {
                Align::Right => write!(out, "{gap}{blanks}{text}"),
                Align::Left => write!(out, "{gap}{text}{blanks}"),
            };
        }
        out.truncate(start.max(out.trim_end_matches(' ').len()));
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { color: false };

    #[test]
    fn columns_line_up_and_foreign_text_is_safe() {
        let mut table =
            Table::new(&[("RUN", Align::Left), ("WALL", Align::Right), ("FLOW", Align::Left)]);
        table.row(["20261121-031833-ab12", "1.2s", "weather"]);
        table.row(["a", "123ms", "漢\u{1b}[2J"]);
        insta::assert_snapshot!(table.render(PLAIN, None), @r"
        RUN                    WALL  FLOW
        20261121-031833-ab12   1.2s  weather
        a                     123ms  漢\x1b[2J
        ");
        let narrow = table.render(PLAIN, Some(38));
        assert!(narrow.lines().all(|line| width(line) <= 38), "{narrow}");
    }

    #[test]
    fn one_long_text_makes_no_other_row_long() {
        let mut table = Table::new(&[("name", Align::Left), ("", Align::Left)]);
        let long = "x".repeat(5_000);
        table.row([long.as_str(), "saved"]);
        table.row(["short", "saved"]);
        let text = table.render(PLAIN, None);
        let lines: Vec<_> = text.lines().map(str::len).collect();
        assert_eq!(lines, [4, 5_007, WIDEST + 7]);
        assert!(text.contains(&long));
    }

    #[test]
    fn a_table_without_titles_has_no_head() {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
        table.styled([(Style::Good, "full"), (Style::Plain, "landlock")]);
        assert_eq!(table.render(PLAIN, None), "full  landlock\n");
        assert_eq!(
            table.render(Paint { color: true }, None),
            "\u{1b}[32mfull\u{1b}[0m  landlock\n"
        );
    }
}
