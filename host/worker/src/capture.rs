//! One output stream of a cell: counted always, kept up to a bound, passed on in whole lines.

use polyloom_protocol::meta::Tail;

/// Passed on to the run's log at most; the rest is counted and thrown away while it is still drained.
const LOG: u64 = 8 << 20;
/// Kept of the end for the result.
pub const TAIL: usize = 16 << 10;
/// Kept of the end of a compiler's messages, which are read as a whole.
pub const COMPILER: usize = 1 << 20;
/// A line longer than this is passed on in pieces.
const LINE: usize = 64 << 10;

/// What has come of one stream.
#[derive(Debug)]
pub struct Capture {
    keep: usize,
    /// Bytes that came.
    pub bytes: u64,
    /// Whether the stream has ended.
    pub ended: bool,
    passed: u64,
    waiting: Vec<u8>,
    tail: Vec<u8>,
}

impl Capture {
    /// A stream of whose end `keep` bytes are kept.
    pub fn new(keep: usize) -> Self {
        let (waiting, tail) = (Vec::new(), Vec::new());
        Self { keep, bytes: 0, ended: false, passed: 0, waiting, tail }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
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
            truncated: self.bytes - kept.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_whole_and_the_rest_at_the_end() {
        let mut capture = Capture::new(TAIL);
        capture.push(b"one\ntw");
        assert_eq!(capture.take_text(false).as_deref(), Some("one\n"));
        assert_eq!(capture.take_text(false), None);
        capture.push(b"o");
        assert_eq!(capture.take_text(true).as_deref(), Some("two"));
    }

    #[test]
    fn a_flood_is_counted_but_not_kept() {
        let mut capture = Capture::new(TAIL);
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
}
