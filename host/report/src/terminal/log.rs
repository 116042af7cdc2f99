//! What one cell prints, cut into lines, made safe, and held to a measure. Everything is in the recording; this is
//! only what scrolls by.

use polyloom_events::Stream;

use super::Verbosity;
use crate::escape::escape;
use crate::paint::Style;

/// A line longer than this is shown in part.
const MAX_LINE: usize = 1000;

/// Lines of one cell that are shown.
pub(super) fn limit(verbosity: Verbosity) -> u64 {
    match verbosity {
        Verbosity::Quiet => 0,
        Verbosity::Normal => 50,
        Verbosity::Verbose => 1000,
        Verbosity::Debug => 100_000,
    }
}

/// One cell's printing so far.
#[derive(Default)]
pub(super) struct Log {
    /// A line of stdout and one of stderr whose end has not come yet.
    open: [String; 2],
    /// Whether the next text begins that line anew.
    returned: [bool; 2],
    shown: u64,
    hidden: u64,
}

impl Log {
    /// Takes a piece of text and gives the lines to be shown now.
    pub(super) fn take(&mut self, stream: Stream, text: &str, limit: u64) -> Vec<(Style, String)> {
        let mut lines = Vec::new();
        match stream {
            Stream::Stdout | Stream::Stderr => {
                let which = usize::from(stream == Stream::Stderr);
                let mut open = std::mem::take(&mut self.open[which]);
                for part in text.split_inclusive(['\n', '\r']) {
                    let body = part.trim_end_matches(['\n', '\r']);
                    // A carriage return without a line feed is how progress bars draw over themselves: the last
                    // state is the line.
                    if self.returned[which] && !body.is_empty() {
                        open.clear();
                        self.returned[which] = false;
                    }
                    let room = (MAX_LINE + 4).saturating_sub(open.len());
                    open.push_str(&body[..floor(body, room)]);
                    if part.ends_with('\n') {
                        self.show(which, &open, limit, &mut lines);
                        open.clear();
                        self.returned[which] = false;
                    } else if part.ends_with('\r') {
                        self.returned[which] = true;
                    }
                }
                self.open[which] = open;
            }
            Stream::Debug | Stream::Info | Stream::Warn | Stream::Error => {
                for line in text.lines() {
                    if self.admit(limit) {
                        let (word, style) = match stream {
                            Stream::Warn => ("warning: ", Style::Warn),
                            Stream::Error => ("error: ", Style::Bad),
                            Stream::Debug => ("debug: ", Style::Dim),
                            _ => ("", Style::Plain),
                        };
                        lines.push((style, format!("{word}{}", cut(line))));
                    }
                }
            }
        }
        lines
    }

    /// The cell has ended: what is still open, and how many lines were not shown.
    pub(super) fn end(&mut self, limit: u64) -> (Vec<(Style, String)>, u64) {
        let mut lines = Vec::new();
        for which in 0..2 {
            let open = std::mem::take(&mut self.open[which]);
            if !open.is_empty() {
                self.show(which, &open, limit, &mut lines);
            }
        }
        let hidden = std::mem::take(&mut self.hidden);
        *self = Self::default();
        (lines, hidden)
    }

    fn show(&mut self, which: usize, line: &str, limit: u64, lines: &mut Vec<(Style, String)>) {
        if self.admit(limit) {
            let style = if which == 1 { Style::Warn } else { Style::Plain };
            lines.push((style, cut(&plain(line))));
        }
    }

    fn admit(&mut self, limit: u64) -> bool {
        if self.shown < limit {
            self.shown += 1;
            return true;
        }
        self.hidden += 1;
        false
    }
}

/// The text without the sequences that only colour it (`ESC [ … m`); all others stay and are shown as escapes.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        let body = &rest[at + 2..];
        let end = body.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':');
        match end.filter(|end| body[*end..].starts_with('m')) {
            Some(end) => {
                out.push_str(&rest[..at]);
                rest = &body[end + 1..];
            }
            None => {
                out.push_str(&rest[..at + 2]);
                rest = body;
            }
        }
    }
    out.push_str(rest);
    out
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A line as it is shown: safe, and not endless.
pub(super) fn cut(line: &str) -> String {
    let end = floor(line, MAX_LINE);
    let mut text = escape(&line[..end]).replace('\t', "    ");
    if end < line.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<(Style, String)>) -> Vec<String> {
        lines.into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn pieces_become_lines() {
        let mut log = Log::default();
        assert_eq!(texts(log.take(Stream::Stdout, "a\nb", 9)), ["a"]);
        assert_eq!(texts(log.take(Stream::Stderr, "x\n", 9)), ["x"]);
        assert_eq!(texts(log.take(Stream::Stdout, "c\r\n\nd\re", 9)), ["bc", ""]);
        assert_eq!(texts(log.take(Stream::Stdout, "\r", 9)), [""; 0]);
        assert_eq!(texts(log.take(Stream::Stdout, "\n", 9)), ["e"]);
        assert_eq!(texts(log.end(9).0), [""; 0]);
    }

    #[test]
    fn a_progress_bar_is_its_last_state_and_colours_are_left_out() {
        let mut log = Log::default();
        let bar = "\r 10%\r 20%\r\u{1b}[1;32m100%\u{1b}[0m";
        assert_eq!(texts(log.take(Stream::Stderr, bar, 9)), [""; 0]);
        assert_eq!(texts(log.end(9).0), ["100%"]);
        assert_eq!(plain("\u{1b}[2Jx\u{1b}[mé\u{1b}["), "\u{1b}[2Jxé\u{1b}[");
    }

    #[test]
    fn a_flood_is_counted_and_a_line_without_end_takes_no_memory() {
        let mut log = Log::default();
        assert_eq!(log.take(Stream::Stdout, &"y\n".repeat(1000), 50).len(), 50);
        for _ in 0..1000 {
            log.take(Stream::Stderr, &"é".repeat(1000), 50);
        }
        assert!(log.open[1].len() < 2000);
        let (lines, hidden) = log.end(50);
        assert_eq!((lines.len(), hidden), (0, 951));
    }
}
