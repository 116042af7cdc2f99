//! Secrets out of what a cell shows: every form of them becomes `***`, in whole texts and in streams cut anywhere.
//!
//! Knows no cell and no descriptor. What a program prints by accident is caught; what a cell disguises on purpose can't be.

mod automaton;
mod forms;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use polyloom_protocol::Value;
use polyloom_protocol::meta::Diagnostic;

use automaton::{Automaton, ROOT};

/// Shorter secrets are passed over: hiding every place where three characters stand would leave no output.
pub const SHORTEST: usize = 4;
/// The beginning of a longer secret is hidden like the whole: messages quote long texts in part.
const BEGINNING: usize = 16;
/// What is shown in place of a secret.
pub const SHOWN: &[u8] = b"***";
/// Encoded lines are held back behind a line's end only when so much of a secret stands there; else the ends of ordinary lines
/// would wait for the next output.
const HELD_OVER: usize = 4;
/// `\r\n`: more in a row is no wrapped line.
const BREAKS: usize = 2;

/// Secrets to be hidden.
pub struct Mask {
    exact: Automaton,
    wrapped: Automaton,
    /// By needle: the secret's name and its form.
    exact_names: Vec<(Arc<str>, &'static str)>,
    wrapped_names: Vec<(Arc<str>, &'static str)>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

/// A secret that was found where none may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The secret's name.
    pub secret: Arc<str>,
    /// In which form, in words: `as it is`, `as base64`.
    pub form: &'static str,
}

impl Mask {
    /// A mask of secrets by name; those shorter than [`SHORTEST`] are passed over.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = (&'s str, &'s [u8])>) -> Self {
        let (mut exact, mut wrapped) = (Vec::new(), Vec::new());
        let (mut exact_names, mut wrapped_names) = (Vec::new(), Vec::new());
        for (name, secret) in secrets.into_iter().filter(|(_, it)| it.len() >= SHORTEST) {
            let name: Arc<str> = Arc::from(name);
            for form in forms::of(secret) {
                let (needles, names) = if form.wraps {
                    (&mut wrapped, &mut wrapped_names)
                } else {
                    (&mut exact, &mut exact_names)
                };
                needles.push(form.bytes);
                names.push((Arc::clone(&name), form.name));
            }
        }
        Self {
            exact: Automaton::new(exact.iter().map(Vec::as_slice), b""),
            wrapped: Automaton::new(wrapped.iter().map(Vec::as_slice), b"\r\n"),
            exact_names,
            wrapped_names,
        }
    }

    /// A whole text with its secrets hidden.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Hides secrets in a text that is kept.
    pub fn hide(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    /// Whole bytes with their secrets hidden.
    #[must_use]
    pub fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let mut search = Search::default();
        if search.scan(self, bytes, |_, _, _| Go::Stop) == Go::On {
            return Cow::Borrowed(bytes);
        }
        let (mut place, mut out) = (Place::default(), Vec::new());
        place.push(self, bytes, &mut out);
        place.finish(&mut out);
        Cow::Owned(out)
    }

    /// Hides secrets in the texts of a diagnostic.
    pub fn hide_diagnostic(&self, diagnostic: &mut Diagnostic) {
        self.hide(&mut diagnostic.message);
        let Diagnostic { code, file, .. } = diagnostic;
        for text in [code, file].into_iter().flatten() {
            self.hide(text);
        }
    }

    /// A value with secrets hidden in its texts, bytes, keys and numbers.
    #[must_use]
    pub fn value(&self, value: Value) -> Value {
        let number = |shown: Option<String>, value: Value| match shown {
            Some(shown) if self.find(shown.as_bytes()).is_some() => {
                Value::Str(self.text(&shown).into_owned())
            }
            Some(_) | None => value,
        };
        match value {
            Value::Null | Value::Bool(_) => value,
            Value::Int(_) | Value::Float(_) => number(value.to_text(), value),
            Value::Str(text) => Value::Str(self.text(&text).into_owned()),
            Value::Bytes(bytes) => Value::Bytes(self.bytes(&bytes).into_owned()),
            Value::List(items) => {
                Value::List(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Map(entries) => {
                let entries = entries.into_iter();
                let masked =
                    entries.map(|(key, value)| (self.text(&key).into_owned(), self.value(value)));
                Value::Map(masked.collect())
            }
        }
    }

    /// The first secret in `bytes`.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<Found> {
        let mut search = Search::default();
        search.find(self, bytes)
    }

    /// The first secret in what `reader` gives, which is read to its end.
    pub fn find_in(&self, mut reader: impl Read) -> std::io::Result<Option<Found>> {
        let mut search = Search::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    if let Some(found) = search.find(self, &buffer[..count]) {
                        return Ok(Some(found));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A stream on its way through a mask.
#[derive(Debug)]
pub struct Masker {
    mask: Arc<Mask>,
    place: Place,
}

impl Masker {
    /// A stream at its beginning.
    #[must_use]
    pub fn new(mask: Arc<Mask>) -> Self {
        Self { mask, place: Place::default() }
    }

    /// Takes bytes; what can be shown is appended to `out`. Held back is only what may be the beginning of a secret.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.place.push(&self.mask, bytes, out);
    }

    /// The stream has ended: what was held back is no secret.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.place.finish(out);
    }
}

/// The two searches over one stream, from its first byte on.
#[derive(Debug, Default)]
struct Search {
    exact: Exact,
    wrapped: Wrapped,
    at: u64,
}

impl Search {
    /// Tells each range of the stream that shows a secret or the beginning of a longer one, and the form that ends there.
    fn scan<'m>(
        &mut self,
        mask: &'m Mask,
        bytes: &[u8],
        mut found: impl FnMut(u64, u64, Option<&'m (Arc<str>, &'static str)>) -> Go,
    ) -> Go {
        let at = self.at;
        self.at += bytes.len() as u64;
        let names = &mask.exact_names;
        let exact = self.exact.scan(&mask.exact, bytes, at, |start, end, needle| {
            found(start, end, needle.and_then(|needle| names.get(needle)))
        });
        if exact == Go::Stop {
            return Go::Stop;
        }
        let names = &mask.wrapped_names;
        self.wrapped.scan(&mask.wrapped, bytes, at, |start, end, needle| {
            found(start, end, needle.and_then(|needle| names.get(needle)))
        })
    }

    /// The first secret that is there whole.
    fn find(&mut self, mask: &Mask, bytes: &[u8]) -> Option<Found> {
        let mut first = None;
        self.scan(mask, bytes, |_, _, form| {
            first = form;
            if form.is_some() { Go::Stop } else { Go::On }
        });
        first.map(|(secret, form)| Found { secret: Arc::clone(secret), form })
    }
}

/// Whether a scan goes on after a match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

/// How many bytes before this place are to be hidden, and the needle that ends here.
fn shows(automaton: &Automaton, node: u32) -> Option<(usize, Option<usize>)> {
    let ends = automaton.ends(node);
    let depth = automaton.depth(node);
    if depth >= BEGINNING {
        // Every needle that ends here lies in it.
        return Some((depth, ends.map(|(needle, _)| needle)));
    }
    ends.map(|(needle, length)| (length, Some(needle)))
}

/// The search for forms that stand in one piece.
#[derive(Debug, Default)]
struct Exact {
    node: u32,
}

impl Exact {
    /// Tells each match as the range of the stream it takes.
    fn scan(
        &mut self,
        automaton: &Automaton,
        bytes: &[u8],
        at: u64,
        mut found: impl FnMut(u64, u64, Option<usize>) -> Go,
    ) -> Go {
        let mut next = 0;
        while next < bytes.len() {
            if self.node == ROOT {
                next = automaton.skip(bytes, next);
            }
            let Some(&byte) = bytes.get(next) else { break };
            self.node = automaton.step(self.node, byte);
            next += 1;
            if let Some((length, needle)) = shows(automaton, self.node) {
                let end = at + next as u64;
                if found(end - length as u64, end, needle) == Go::Stop {
                    return Go::Stop;
                }
            }
        }
        Go::On
    }

    /// From where on bytes may belong to a match that is not complete; `end` is the end of the stream so far.
    fn held(&self, automaton: &Automaton, end: u64) -> u64 {
        end - automaton.depth(self.node) as u64
    }
}

/// The search for forms that may go over several lines.
#[derive(Debug, Default)]
struct Wrapped {
    node: u32,
    /// Where each byte of the needle so far stands.
    places: VecDeque<u64>,
    breaks: usize,
    /// What was let go at a line's end, though it may be part of a match.
    floor: u64,
}

impl Wrapped {
    fn scan(
        &mut self,
        automaton: &Automaton,
        bytes: &[u8],
        at: u64,
        mut found: impl FnMut(u64, u64, Option<usize>) -> Go,
    ) -> Go {
        let mut next = 0;
        while next < bytes.len() {
            if self.node == ROOT {
                next = automaton.skip(bytes, next);
            }
            let Some(&byte) = bytes.get(next) else { break };
            let here = at + next as u64;
            next += 1;
            if matches!(byte, b'\n' | b'\r') {
                self.breaks += 1;
                if self.breaks > BREAKS {
                    self.node = ROOT;
                    self.places.clear();
                } else if self.places.len() < HELD_OVER {
                    self.floor = here + 1;
                }
                continue;
            }
            self.breaks = 0;
            self.node = automaton.step(self.node, byte);
            self.places.push_back(here);
            let depth = automaton.depth(self.node);
            self.places.drain(..self.places.len() - depth);
            if let Some((length, needle)) = shows(automaton, self.node) {
                let start = self.places[depth - length].max(self.floor);
                if found(start, here + 1, needle) == Go::Stop {
                    return Go::Stop;
                }
            }
        }
        Go::On
    }

    fn held(&self, end: u64) -> u64 {
        self.places.front().map_or(end, |first| (*first).max(self.floor).min(end))
    }
}

/// A place in a stream that is being masked.
#[derive(Debug, Default)]
struct Place {
    search: Search,
    /// What is not shown yet, and where in the stream it begins.
    waiting: Vec<u8>,
    from: u64,
    /// Ranges to be hidden that are not behind, of either search: disjoint, in order.
    exact: VecDeque<(u64, u64)>,
    wrapped: VecDeque<(u64, u64)>,
    /// Whether the last thing shown was `***` and no byte after it.
    hidden: bool,
}

/// Adds a range whose end is not before any other's.
fn join(ranges: &mut VecDeque<(u64, u64)>, mut start: u64, end: u64) {
    while let Some(&(from, to)) = ranges.back() {
        if to < start {
            break;
        }
        start = start.min(from);
        ranges.pop_back();
    }
    ranges.push_back((start, end));
}

impl Place {
    fn push(&mut self, mask: &Mask, bytes: &[u8], out: &mut Vec<u8>) {
        let Search { exact, wrapped, at } = &mut self.search;
        exact.scan(&mask.exact, bytes, *at, |start, end, _| {
            join(&mut self.exact, start, end);
            Go::On
        });
        wrapped.scan(&mask.wrapped, bytes, *at, |start, end, _| {
            join(&mut self.wrapped, start, end);
            Go::On
        });
        *at += bytes.len() as u64;
        let upto = exact.held(&mask.exact, *at).min(wrapped.held(*at));
        self.waiting.extend_from_slice(bytes);
        self.show(upto, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.show(self.search.at, out);
        *self = Self::default();
    }

    /// Shows everything before `upto`.
    fn show(&mut self, upto: u64, out: &mut Vec<u8>) {
        let mut at = self.from;
        while at < upto {
            // The next range of either search.
            let next = [self.exact.front(), self.wrapped.front()].into_iter().flatten().min();
            let (start, end) = next.copied().unwrap_or((upto, upto));
            if start > at {
                let plain = start.min(upto);
                out.extend_from_slice(&self.waiting[self.index(at)..self.index(plain)]);
                self.hidden = false;
                at = plain;
            }
            if start < upto && end > at {
                if !self.hidden {
                    out.extend_from_slice(SHOWN);
                    self.hidden = true;
                }
                at = end.min(upto);
            }
            for ranges in [&mut self.exact, &mut self.wrapped] {
                while ranges.front().is_some_and(|(_, end)| *end <= at) {
                    ranges.pop_front();
                }
            }
        }
        let shown = self.index(at);
        self.waiting.drain(..shown);
        self.from = at;
    }

    fn index(&self, at: u64) -> usize {
        // What waits is in memory.
        usize::try_from(at - self.from).unwrap_or(usize::MAX)
    }
}
