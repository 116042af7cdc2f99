//! One output stream of a cell: counted always, kept up to a bound, passed on in whole lines. Secrets are hidden before
//! anything is kept.

use std::sync::Arc;

use polyloom_protocol::meta::Tail;

use crate::mask::{Mask, Masker};

/// Passed on to the run's log at most; the rest is counted and thrown away while it is still drained.
const LOG: u64 = 8 << 20;
/// Kept of the end for the result.
pub const TAIL: usize = 16 << 10;
/// Kept of the end of a compiler's messages, which are read as a whole.
pub const COMPILER: usize = 1 << 20;
/// Kept of the end of what a program says whose messages are read: an exception of Java's has 1,024 lines.
pub const READ: usize = 128 << 10;
/// A line longer than this is passed on in pieces.
const LINE: usize = 64 << 10;

/// What has come of one stream.
#[derive(Debug)]
pub struct Capture {
    keep: usize,
    masker: Option<Masker>,
    masked: Vec<u8>,
    /// Bytes to be shown that came, which is another number where secrets were hidden.
    shown: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Whether the stream has ended.
    pub ended: bool,
    passed: u64,
    waiting: Vec<u8>,
    tail: Vec<u8>,
}

impl Capture {
    /// A stream of whose end `keep` bytes are kept, without the secrets of `mask`.
    pub fn new(keep: usize, mask: Option<&Arc<Mask>>) -> Self {
        Self {
            keep,
            masker: mask.map(|mask| Masker::new(Arc::clone(mask))),
            masked: Vec::new(),
            shown: 0,
            bytes: 0,
            ended: false,
            passed: 0,
            waiting: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let Some(masker) = &mut self.masker else { return self.take(bytes) };
        let mut masked = std::mem::take(&mut self.masked);
        masker.push(bytes, &mut masked);
        self.take(&masked);
        masked.clear();
        self.masked = masked;
    }

    /// Nothing more will come: what was held back for a secret's sake is none.
    pub fn finish(&mut self) {
        if let Some(masker) = &mut self.masker {
            let mut masked = Vec::new();
            masker.finish(&mut masked);
            self.take(&masked);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.shown += bytes.len() as u64;
        let room = usize::try_from(LOG.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let taken = &bytes[..bytes.len().min(room)];
        self.passed += taken.len() as u64;
        self.waiting.extend_from_slice(taken);
        let last = &bytes[bytes.len().saturating_sub(self.keep)..];
        self.tail.extend_from_slice(last);
        if self.tail.len() > 2 * self.keep {
            self.tail.drain(..self.tail.len() - self.keep);
        }
    }

    /// The whole lines that wait to be passed on; with `last` also an unfinished one.
    pub fn take_text(&mut self, last: bool) -> Option<String> {
        let end = if last || self.waiting.len() > LINE {
            self.waiting.len()
        } else {
            self.waiting.iter().rposition(|byte| *byte == b'\n')? + 1
        };
        if end == 0 {
            return None;
        }
        let rest = self.waiting.split_off(end);
        let text = std::mem::replace(&mut self.waiting, rest);
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// The end of the stream, as the result keeps it.
    pub fn tail(&self) -> Tail {
        let from = self.tail.len().saturating_sub(self.keep);
        let kept = &self.tail[from..];
        Tail {
            text: String::from_utf8_lossy(kept).into_owned(),
            bytes: self.bytes,
            truncated: self.shown - kept.len() as u64,
        }
    }
}

/// What the result keeps of an end of which more was read.
pub fn shorten(tail: &mut Tail) {
    let from = tail.text.ceil_char_boundary(tail.text.len().saturating_sub(TAIL));
    tail.truncated += from as u64;
    tail.text.drain(..from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_whole_and_the_rest_at_the_end() {
        let mut capture = Capture::new(TAIL, None);
        capture.push(b"one\ntw");
        assert_eq!(capture.take_text(false).as_deref(), Some("one\n"));
        assert_eq!(capture.take_text(false), None);
        capture.push(b"o");
        assert_eq!(capture.take_text(true).as_deref(), Some("two"));
    }

    #[test]
    fn a_secret_is_hidden_in_lines_and_tail_and_the_count_is_that_of_what_came() {
        let mask = Arc::new(Mask::new([("S", &b"hunter2!"[..])]));
        let mut capture = Capture::new(TAIL, Some(&mask));
        capture.push(b"it is hunt");
        assert_eq!(capture.take_text(true).as_deref(), Some("it is "));
        capture.push(b"er2! and hunt");
        capture.finish();
        assert_eq!(capture.take_text(true).as_deref(), Some("*** and hunt"));
        let tail = capture.tail();
        assert_eq!((tail.text.as_str(), tail.bytes, tail.truncated), ("it is *** and hunt", 23, 0));
    }

    #[test]
    fn a_flood_is_counted_but_not_kept() {
        let mut capture = Capture::new(TAIL, None);
        for _ in 0..200 {
            capture.push(&[b'x'; 64 << 10]);
            capture.take_text(false);
        }
        assert_eq!(capture.bytes, 200 * (64 << 10));
        assert_eq!(capture.passed, LOG);
        let tail = capture.tail();
        assert_eq!((tail.text.len(), tail.truncated), (TAIL, capture.bytes - TAIL as u64));
        assert!(capture.tail.len() <= 3 * TAIL);
    }

    #[test]
    fn of_what_was_read_the_end_is_kept() {
        let mut capture = Capture::new(READ, None);
        capture.push("é".repeat(READ).as_bytes());
        let mut tail = capture.tail();
        assert_eq!(tail.text.len(), READ);
        shorten(&mut tail);
        assert_eq!((tail.text.len(), tail.truncated), (TAIL, 2 * READ as u64 - TAIL as u64));
        let mut short = Tail { text: "ab".to_owned(), bytes: 2, truncated: 0 };
        shorten(&mut short);
        assert_eq!((short.text.as_str(), short.truncated), ("ab", 0));
    }
}
