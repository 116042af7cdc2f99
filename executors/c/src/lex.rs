//! The text of a header as tokens with their places, its comments, and what it includes. Macros stay names; conditionals are passed over, so that all of their branches are read.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub col: u32,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(String),
    Number(String),
    /// A string or a character; what is in it says nothing of types.
    Text,
    Mark(char),
}

/// A comment, without its marks.
#[derive(Debug)]
pub(crate) struct Comment {
    pub text: String,
    /// Where it begins and ends.
    pub first: u32,
    pub last: u32,
}

/// A file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
    /// The names in `#include "…"`.
    pub includes: Vec<String>,
}

struct Chars {
    chars: Vec<char>,
    at: usize,
    line: u32,
    col: u32,
}

impl Chars {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        match c {
            '\n' => (self.line, self.col) = (self.line.saturating_add(1), 1),
            _ => self.col = self.col.saturating_add(1),
        }
        Some(c)
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|c| fits(*c)) {
            text.push(c);
            self.next();
        }
        text
    }

    /// What stands before the end of the line, which a backslash before it moves.
    fn rest_of_line(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0) {
            if c == '\\' && matches!(self.peek(1), Some('\n' | '\r')) {
                self.next();
                self.take_while(|c| c == '\r');
            } else if c == '\n' || c == '/' && matches!(self.peek(1), Some('*' | '/')) {
                break;
            } else {
                text.push(c);
            }
            self.next();
        }
        text
    }
}

/// Takes a file apart. Any text will do.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut chars = Chars { chars: text.chars().collect(), at: 0, line: 1, col: 1 };
    let mut lexed = Lexed::default();
    let mut fresh_line = true;
    while let Some(c) = chars.peek(0) {
        let (line, col) = (chars.line, chars.col);
        if c.is_whitespace() || c == '\\' {
            chars.next();
            fresh_line |= c == '\n';
            continue;
        }
        if c == '/' && chars.peek(1) == Some('*') {
            let mut text = String::new();
            chars.next();
            chars.next();
            while let Some(c) = chars.next() {
                if c == '*' && chars.peek(0) == Some('/') {
                    chars.next();
                    break;
                }
                text.push(c);
            }
            lexed.comments.push(Comment { text: plain(&text), first: line, last: chars.line });
            continue;
        }
        if c == '/' && chars.peek(1) == Some('/') {
            let text = chars.take_while(|c| c != '\n');
            let text = text.trim_start_matches('/').trim_start_matches('<').trim().to_owned();
            match lexed.comments.last_mut() {
                // Lines below each other are one comment, but for what stands behind code.
                Some(above) if above.last + 1 == line && fresh_line => {
                    above.text.push('\n');
                    above.text.push_str(&text);
                    above.last = line;
                }
                _ => lexed.comments.push(Comment { text, first: line, last: line }),
            }
            continue;
        }
        if c == '#' && fresh_line {
            let directive = chars.rest_of_line();
            let rest = directive.trim_start_matches('#').trim_start();
            let name = rest.strip_prefix("include").map(str::trim_start);
            let name = name.and_then(|name| name.strip_prefix('"')?.split_once('"'));
            lexed.includes.extend(name.map(|(name, _)| name.to_owned()));
            fresh_line = false;
            continue;
        }
        fresh_line = false;
        let kind = match c {
            _ if c.is_alphabetic() || c == '_' => {
                Kind::Word(chars.take_while(|c| c.is_alphanumeric() || c == '_'))
            }
            '0'..='9' => Kind::Number(chars.take_while(|c| c.is_alphanumeric() || c == '.')),
            '"' | '\'' => {
                chars.next();
                while let Some(it) = chars.next() {
                    if it == '\\' {
                        chars.next();
                    } else if it == c || it == '\n' {
                        break;
                    }
                }
                Kind::Text
            }
            _ => {
                chars.next();
                Kind::Mark(c)
            }
        };
        lexed.tokens.push(Token { kind, line, col });
    }
    lexed
}

/// The words of a comment without the stars before its lines.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().trim_start_matches(['*', '!', '<']).trim());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_includes_and_places() {
        let text = "/** Adds.\n *  Twice. */\n#include \"a/b.h\" // x\n#define X \\\n  int f(int)\nint  f('\\'', \"a\\\"b\");\n// one\n// two\n";
        let lexed = lex(text);
        let words: Vec<_> = lexed.tokens.iter().map(|it| (&it.kind, it.line, it.col)).collect();
        assert_eq!(words[0], (&Kind::Word("int".into()), 6, 1));
        assert_eq!(words[1], (&Kind::Word("f".into()), 6, 6));
        assert_eq!(words.len(), 8);
        assert_eq!(lexed.includes, ["a/b.h"]);
        let comments: Vec<_> =
            lexed.comments.iter().map(|it| (it.text.as_str(), it.last)).collect();
        assert_eq!(comments, [("Adds.\nTwice.", 2), ("x", 3), ("one\ntwo", 8)]);
    }
}
