//! JSON to tree: the whole of RFC 8259 with places, without recovery. A name that is there twice is refused.

use std::collections::HashMap;
use std::sync::Arc;

use crate::problem::{Code, Problem};
use crate::source::{Source, Span};
use crate::tree::{Data, Entry, Key, Map, Node};

/// The same bound as the TOML parser's.
const DEPTH: usize = 80;

/// Reads a document.
pub(crate) fn read(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let fail = |failure: Failure| {
        let mut problem =
            Problem::error(failure.code, failure.message).at(source, failure.span, "");
        if let Some(first) = failure.first {
            problem = problem.at(source, first, "first here");
        }
        vec![problem]
    };
    parse(source.text()).map_err(fail)
}

/// Reads one value, a whole text.
pub(crate) fn parse(text: &str) -> Result<Node, Failure> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let node = parser.value()?;
    parser.space();
    if parser.at < text.len() {
        return parser.fail("unexpected text after the value");
    }
    Ok(node)
}

/// Why a text is not JSON.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    pub message: String,
    span: Span,
    first: Option<Span>,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Failure> {
        let rest = &self.text[self.at..];
        let end = self.at + rest.chars().next().map_or(0, char::len_utf8);
        let message = if rest.is_empty() {
            format!("{}, found the end of the text", message.into())
        } else {
            message.into()
        };
        Err(Failure { code: Code::Syntax, message, span: self.at..end, first: None })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Node, Failure> {
        self.space();
        let start = self.at;
        let data = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => Data::Str(self.string()?.into()),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Data::Bool(true))?,
            Some(b'f') => self.word("false", Data::Bool(false))?,
            Some(b'n') => self.word("null", Data::Null)?,
            _ => return self.fail("expected a value"),
        };
        Ok(Node { span: start..self.at, data })
    }

    fn word(&mut self, word: &str, data: Data) -> Result<Data, Failure> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(data)
    }

    fn deeper(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > DEPTH { self.fail(format!("nested deeper than {DEPTH}")) } else { Ok(()) }
    }

    fn object(&mut self) -> Result<Data, Failure> {
        self.deeper()?;
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Data::Map(Map { entries }));
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.fail("expected a name in double quotes");
            }
            let text = self.string()?;
            let span = start..self.at;
            if let Some(first) = seen.insert(text.clone(), span.clone()) {
                let message = format!("duplicate name `{}`", crate::findings::shown(&text));
                return Err(Failure { code: Code::Duplicate, message, span, first: Some(first) });
            }
            self.space();
            if self.peek() != Some(b':') {
                return self.fail("expected `:` after the name");
            }
            self.at += 1;
            let node = self.value()?;
            entries.push(Entry { key: Key { text: text.into(), span }, node });
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Data::Map(Map { entries }));
                }
                _ => return self.fail("expected `,` or `}`"),
            }
        }
    }

    fn array(&mut self) -> Result<Data, Failure> {
        self.deeper()?;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Data::List(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Data::List(items));
                }
                _ => return self.fail("expected `,` or `]`"),
            }
        }
    }

    fn number(&mut self) -> Result<Data, Failure> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest
            .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let text = &rest[..end];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let leading_zero =
            digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        let bare_point = text.ends_with('.') || text.contains(".e") || text.contains(".E");
        let grammar =
            digits.starts_with(|c: char| c.is_ascii_digit()) && !leading_zero && !bare_point;
        let whole = !text.contains(['.', 'e', 'E']);
        let data = if whole {
            text.parse().map(Data::Int).ok()
        } else {
            text.parse().ok().filter(|number: &f64| number.is_finite()).map(Data::Float)
        };
        match data {
            Some(data) if grammar => {
                self.at += end;
                Ok(data)
            }
            _ if grammar && (whole || text.parse::<f64>().is_ok()) => {
                self.fail("the number does not fit into 64 bits")
            }
            _ => self.fail("expected a number such as `1`, `-2.5` or `1e9`"),
        }
    }

    fn string(&mut self) -> Result<String, Failure> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            text.push_str(&rest[..end]);
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => {
                    return self.fail("control characters in a text are written `\\n`, `\\u001b`");
                }
                None => return self.fail("expected `\"` at the end of the text"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Failure> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        let simple = match code {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex(self.at)?;
                if let Some(found) = char::from_u32(high) {
                    self.at += 6;
                    return Ok(found);
                }
                let low = if self.text[self.at + 6..].starts_with("\\u") {
                    self.hex(self.at + 6)?
                } else {
                    0
                };
                if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
                    return self.fail("half of a surrogate pair");
                }
                self.at += 12;
                let scalar = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(scalar).map_or_else(|| self.fail("no such character"), Ok);
            }
            _ => return self.fail("unknown escape; valid: `\\\"` `\\\\` `\\/` `\\b` `\\f` `\\n` `\\r` `\\t` `\\uXXXX`"),
        };
        self.at += 2;
        Ok(simple)
    }

    /// The four hex digits of the `\uXXXX` that begins at `at`.
    fn hex(&self, at: usize) -> Result<u32, Failure> {
        let digits = self.text.as_bytes().get(at + 2..at + 6).unwrap_or(&[]);
        let mut number = 0;
        for digit in digits {
            match (*digit as char).to_digit(16) {
                Some(digit) => number = number << 4 | digit,
                None => return self.fail("expected four hex digits after `\\u`"),
            }
        }
        if digits.len() == 4 {
            Ok(number)
        } else {
            self.fail("expected four hex digits after `\\u`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json_on_what_is_json() {
        for text in [
            "{}",
            "[]",
            "[1,2.5,-0,1e3,\"\\u00e9\\ud83d\\ude00\\n\"]",
            "{\"a\":{\"b\":[null,true,false]}}",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "\"\\x\"",
            "\"\u{1}\"",
            "\"\\ud83d\"",
            "[1,]",
            "{\"a\":1,}",
            "nul",
            "\"",
            "",
            "[1 2]",
            "1e",
            "1e+",
            "--1",
            "1-1",
            "\"\\u12\"",
            "1 ",
            "{\"a\" 1}",
            "{a:1}",
        ] {
            let theirs = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(parse(text).is_ok(), theirs, "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse("9223372036854775808").is_err(), "no silent float");
    }
}
