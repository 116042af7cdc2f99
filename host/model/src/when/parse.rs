//! From text to a condition: a small grammar, read from left to right, with a place for everything that is wrong.
//!
//! `or`, `and`, `not`, then one comparison or a chain of them, then a number, a text in either quotes, `true`, `false`,
//! `null`, a list, `len(…)`, an input with fields, or an expression in parentheses.

use std::str::FromStr;

use thiserror::Error;

use super::{Ast, Relation, When};
use crate::{PortName, Value};

/// A longer condition is refused: it should be a cell.
const LONGEST: usize = 2000;
/// Deeper parentheses and lists are refused.
const DEEPEST: usize = 32;

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why} at position {at}")]
pub struct WhenError {
    /// What is wrong.
    pub why: String,
    /// Where, in characters from 1.
    pub at: usize,
}

impl FromStr for When {
    type Err = WhenError;
    fn from_str(text: &str) -> Result<Self, WhenError> {
        if text.len() > LONGEST {
            return Err(WhenError { why: format!("it is longer than {LONGEST} bytes"), at: 1 });
        }
        let mut reader = Reader { text, at: 0, depth: 0 };
        let ast = reader.any()?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.fail("expected `and`, `or`, a comparison or the end"));
        }
        Ok(Self { text: text.trim().into(), ast })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn fail(&self, why: impl Into<String>) -> WhenError {
        WhenError { why: why.into(), at: self.text[..self.at].chars().count() + 1 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes a sign if it comes next.
    fn sign(&mut self, sign: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(sign);
        self.at += if there { sign.len() } else { 0 };
        there
    }

    fn name(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Takes a word if it comes next.
    fn word(&mut self, word: &str) -> bool {
        self.space();
        let there = self.name() == word;
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn any(&mut self) -> Result<Ast, WhenError> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Ast::Any(parts) })
    }

    fn all(&mut self) -> Result<Ast, WhenError> {
        let mut parts = vec![self.not()?];
        while self.word("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Ast::All(parts) })
    }

    fn not(&mut self) -> Result<Ast, WhenError> {
        let mut odd = false;
        while self.word("not") {
            odd = !odd;
        }
        let ast = self.comparison()?;
        Ok(if odd { Ast::Not(Box::new(ast)) } else { ast })
    }

    fn comparison(&mut self) -> Result<Ast, WhenError> {
        let mut left = self.term()?;
        while let Some(relation) = self.relation() {
            left = Ast::Compare(Box::new(left), relation, Box::new(self.term()?));
        }
        Ok(left)
    }

    fn relation(&mut self) -> Option<Relation> {
        for (sign, relation) in [
            ("==", Relation::Equal),
            ("!=", Relation::Differs),
            ("<=", Relation::AtMost),
            (">=", Relation::AtLeast),
            ("<", Relation::Less),
            (">", Relation::More),
        ] {
            if self.sign(sign) {
                return Some(relation);
            }
        }
        self.word("in").then_some(Relation::In)
    }

    fn term(&mut self) -> Result<Ast, WhenError> {
        self.space();
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fail(format!("nested deeper than {DEEPEST}")));
        }
        let ast = match self.rest().chars().next() {
            Some('(') => {
                self.at += 1;
                let inner = self.any()?;
                self.close(")")?;
                inner
            }
            Some('[') => {
                self.at += 1;
                self.list()?
            }
            Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.named()?,
            Some('=') => return Err(self.fail("expected `==`, found `=`")),
            Some(_) => {
                return Err(self.fail("expected an input, a number, a quoted text or a list"));
            }
            None => return Err(self.fail("it ends where a value is expected")),
        };
        self.depth -= 1;
        Ok(ast)
    }

    fn close(&mut self, sign: &str) -> Result<(), WhenError> {
        if self.sign(sign) { Ok(()) } else { Err(self.fail(format!("expected `{sign}`"))) }
    }

    fn list(&mut self) -> Result<Ast, WhenError> {
        let mut items = Vec::new();
        while !self.sign("]") {
            items.push(self.term()?);
            if !self.sign(",") {
                self.close("]")?;
                break;
            }
        }
        Ok(Ast::List(items))
    }

    fn quoted(&mut self, quote: char) -> Result<Ast, WhenError> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('\\' | '\'' | '"'))) => text.push(c),
                    _ => {
                        return Err(
                            self.fail("valid after `\\`: n, t, `\\` and quotes; in the text")
                        );
                    }
                },
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(Ast::Value(Value::Str(text)));
                }
                c => text.push(c),
            }
        }
        Err(self.fail("a text without its closing quote"))
    }

    fn number(&mut self) -> Result<Ast, WhenError> {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let part = c.is_ascii_alphanumeric()
                || matches!(c, '.' | '_')
                || (matches!(c, '+' | '-') && matches!(before, ' ' | 'e' | 'E'));
            before = c;
            !part
        });
        let text = &rest[..end.unwrap_or(rest.len())];
        let plain = text.replace('_', "");
        let value = match (plain.parse::<i64>(), plain.parse::<f64>()) {
            (Ok(int), _) => Value::Int(int),
            (_, Ok(float)) if float.is_finite() && !plain.ends_with('.') => Value::Float(float),
            _ => return Err(self.fail(format!("`{text}` is not a number"))),
        };
        self.at += text.len();
        Ok(Ast::Value(value))
    }

    fn named(&mut self) -> Result<Ast, WhenError> {
        let name = self.name();
        let start = self.at;
        self.at += name.len();
        match name {
            "true" => return Ok(Ast::Value(Value::Bool(true))),
            "false" => return Ok(Ast::Value(Value::Bool(false))),
            "null" => return Ok(Ast::Value(Value::Null)),
            "len" if self.sign("(") => {
                let of = self.term()?;
                self.close(")")?;
                return Ok(Ast::Len(Box::new(of)));
            }
            "and" | "or" | "not" | "in" => {
                self.at = start;
                return Err(self.fail(format!("`{name}` where a value is expected")));
            }
            _ => {}
        }
        let Ok(port) = name.parse::<PortName>() else {
            self.at = start;
            return Err(self.fail(format!("`{name}` is not the name of an input")));
        };
        let mut fields = Vec::new();
        while self.rest().starts_with('.') {
            self.at += 1;
            let field = self.name();
            if field.is_empty() {
                return Err(self.fail("expected a field's name after `.`"));
            }
            self.at += field.len();
            fields.push(field.to_owned());
        }
        Ok(Ast::Input(port, fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, error) in [
            ("", "it ends where a value is expected at position 1"),
            ("n >", "it ends where a value is expected at position 4"),
            ("n = 1", "expected `and`, `or`, a comparison or the end at position 3"),
            ("n > = 1", "expected `==`, found `=` at position 5"),
            ("(n > 1", "expected `)` at position 7"),
            ("n > 1 2", "expected `and`, `or`, a comparison or the end at position 7"),
            ("'é' == 'x", "a text without its closing quote at position 8"),
            ("n > 1x", "`1x` is not a number at position 5"),
            ("n > 1.", "`1.` is not a number at position 5"),
            ("N > 1", "`N` is not the name of an input at position 1"),
            ("n.", "expected a field's name after `.` at position 3"),
            ("and", "`and` where a value is expected at position 1"),
            ("[1 2] == n", "expected `]` at position 4"),
            ("$(rm)", "expected an input, a number, a quoted text or a list at position 1"),
        ] {
            assert_eq!(text.parse::<When>().map(|_| ()).unwrap_err().to_string(), error, "{text}");
        }
        assert!("(".repeat(3000).parse::<When>().is_err());
        assert!("(".repeat(100).parse::<When>().unwrap_err().why.contains("deeper"));
        assert!(format!("{}true", "not ".repeat(400)).parse::<When>().is_ok());
        assert!(format!("{}1", "1 < ".repeat(400)).parse::<When>().is_ok());
    }

    #[test]
    fn numbers_may_be_written_as_usual() {
        for (text, value) in [
            ("-1", Value::Int(-1)),
            ("+2", Value::Int(2)),
            ("1_000", Value::Int(1000)),
            ("1e-3", Value::Float(1e-3)),
            ("-2.5E+2", Value::Float(-250.0)),
        ] {
            let when: When = format!("{text} == n").parse().unwrap();
            let Ast::Compare(left, ..) = when.ast else { panic!("{text}") };
            assert_eq!(*left, Ast::Value(value), "{text}");
        }
    }
}
