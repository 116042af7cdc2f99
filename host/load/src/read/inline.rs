//! Values as they are written in Markdown's options: what TOML and YAML have in common on one line.
//!
//! `5`, `true`, `"text"`, `'text'`, bare words, `[a, b]`, `{a: 1, b = 2}`. A bare word ends at a comma or bracket that
//! is not its own: `tensor<f64,[n]>` is one word.

use std::collections::HashSet;

use crate::source::Span;
use crate::tree::{Data, Entry, Key, Map, Node};

const DEPTH: usize = 32;

/// Why a text is not a value, and where.
pub(crate) struct Failure {
    pub message: String,
    pub span: Span,
}

/// Reads the value that is the whole of `text`, which stands at `offset` of its source. A comment may follow.
pub(crate) fn value(text: &str, offset: usize) -> Result<Node, Failure> {
    let mut parser = Parser { text, at: 0, offset, depth: 0 };
    let node = parser.value(false)?;
    parser.space();
    let rest = &text[parser.at..];
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(node);
    }
    parser.fail("unexpected text after the value")
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    offset: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, message: &str) -> Result<T, Failure> {
        let at = self.offset + self.at;
        let width = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Err(Failure { message: message.to_owned(), span: at..at + width })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn value(&mut self, nested: bool) -> Result<Node, Failure> {
        self.space();
        let start = self.at;
        self.depth += 1;
        if self.depth > DEPTH {
            return self.fail("nested too deep");
        }
        let data = match self.rest().chars().next() {
            Some('{') => self.map()?,
            Some('[') => self.list()?,
            Some('"' | '\'') => Data::Str(self.quoted()?.into()),
            Some(_) => {
                let word = self.bare(nested, false);
                scalar(&word)
            }
            None => Data::Null,
        };
        self.depth -= 1;
        Ok(Node { span: self.offset + start..self.offset + self.at, data })
    }

    fn list(&mut self) -> Result<Data, Failure> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.eat(']') {
            items.push(self.value(true)?);
            if !self.eat(',') {
                if self.eat(']') {
                    break;
                }
                return self.fail("expected `,` or `]`");
            }
        }
        Ok(Data::List(items))
    }

    fn map(&mut self) -> Result<Data, Failure> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        while !self.eat('}') {
            let start = self.at;
            let text = match self.rest().chars().next() {
                Some('"' | '\'') => self.quoted()?,
                _ => self.bare(true, true),
            };
            let span = self.offset + start..self.offset + self.at;
            if text.is_empty() || !(self.eat(':') || self.eat('=')) {
                return self.fail("expected `name: value`");
            }
            if !seen.insert(text.clone()) {
                let message = format!("duplicate name `{}`", crate::findings::shown(&text));
                return Err(Failure { message, span });
            }
            let node = self.value(true)?;
            entries.push(Entry { key: Key { text: text.into(), span }, node });
            if !self.eat(',') {
                if self.eat('}') {
                    break;
                }
                return self.fail("expected `,` or `}`");
            }
        }
        Ok(Data::Map(Map { entries }))
    }

    /// A quoted text: JSON's escapes in double quotes, a doubled quote in single ones.
    fn quoted(&mut self) -> Result<String, Failure> {
        let rest = self.rest();
        if rest.starts_with('\'') {
            let mut text = String::new();
            let mut at = 1;
            while let Some(end) = rest[at..].find('\'') {
                text.push_str(&rest[at..at + end]);
                at += end + 1;
                if !rest[at..].starts_with('\'') {
                    self.at += at;
                    return Ok(text);
                }
                text.push('\'');
                at += 1;
            }
            return self.fail("the quote has no end");
        }
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return self.fail("the quote has no end") };
        match super::json::parse(&rest[..=end]) {
            Ok(Node { data: Data::Str(text), .. }) => {
                self.at += end + 1;
                Ok(text.into())
            }
            Ok(_) => self.fail("expected a text"),
            Err(failure) => self.fail(&failure.message),
        }
    }

    /// A bare word: to the end of the text, or nested to the next comma, bracket or (for a key) colon of the outside.
    fn bare(&mut self, nested: bool, key: bool) -> String {
        let rest = self.rest();
        let end = scan(rest, nested, key, true).unwrap_or_else(|| {
            // A bracket that never closes was only a character.
            scan(rest, nested, key, false).unwrap_or(rest.len())
        });
        let word = rest[..end].trim_end();
        let (word, length) = (word.to_owned(), word.len());
        self.at += length;
        word
    }
}

/// Where a bare word ends; nothing if its own brackets don't close.
fn scan(rest: &str, nested: bool, key: bool, brackets: bool) -> Option<usize> {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        match c {
            '#' if before.is_whitespace() => return (depth == 0).then_some(at),
            '<' | '[' | '{' if brackets && !before.is_whitespace() => depth += 1,
            '>' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ']' | '}' if nested && depth == 0 => return Some(at),
            ':' | '=' if key && depth == 0 => return Some(at),
            _ => {}
        }
        before = c;
    }
    (depth == 0).then_some(rest.len())
}

/// A bare word as TOML and YAML would both read it; else a text.
fn scalar(word: &str) -> Data {
    if matches!(word, "" | "null" | "~") {
        return Data::Null;
    }
    let numeric = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    if !(numeric || matches!(word, "true" | "false" | "nan" | "inf")) {
        return Data::Str(word.into());
    }
    match super::toml::value(word) {
        Some(data @ (Data::Bool(_) | Data::Int(_) | Data::Float(_))) => data,
        _ => Data::Str(word.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        fn go(node: &Node) -> String {
            match &node.data {
                Data::Str(text) => format!("{text:?}"),
                Data::List(items) => {
                    format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(","))
                }
                Data::Map(map) => {
                    let all: Vec<_> = map
                        .entries
                        .iter()
                        .map(|e| format!("{}={}", e.key.text, go(&e.node)))
                        .collect();
                    format!("{{{}}}", all.join(","))
                }
                other => format!("{other:?}"),
            }
        }
        value(text, 0).map_or_else(|failure| format!("! {}", failure.message), |node| go(&node))
    }

    #[test]
    fn toml_and_yaml_mean_the_same() {
        for (text, expected) in [
            ("load.temps", "\"load.temps\""),
            ("5 # five", "Int(5)"),
            ("{ csv = \"file:a.csv\", n = 5 }", "{csv=\"file:a.csv\",n=Int(5)}"),
            ("{csv: file:a.csv, n: 5}", "{csv=\"file:a.csv\",n=Int(5)}"),
            (
                "{t: tensor<f64,[n]>, r: record{a:int,b:str}}",
                "{t=\"tensor<f64,[n]>\",r=\"record{a:int,b:str}\"}",
            ),
            ("[a, 'it''s', \"x\\n\"]", "[\"a\",\"it's\",\"x\\n\"]"),
            ("2024-01-01", "\"2024-01-01\""),
            ("a < b", "\"a < b\""),
            ("x[", "\"x[\""),
            ("{a: 1", "! expected `,` or `}`"),
            ("\"x", "! the quote has no end"),
            ("", "Null"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
