//! The text form of WebAssembly: translated to binary, and offsets in that binary led back to
//! lines of the text. Does not compile to native code.

use wasmparser::{Parser, Payload};
use wast::core::{FuncKind, ModuleField, ModuleKind};
use wast::parser::{self, ParseBuffer};
use wast::{Wat, token::Span};

/// A place in the text, counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) col: usize,
}

/// Why a text has no binary form.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TextError {
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
}

/// The text of a module or component.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    text: &'a str,
}

impl<'a> Text<'a> {
    /// Takes bytes that are no binary; they must be UTF-8 then.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, TextError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TextError {
            position: None,
            message: "neither a WebAssembly binary nor UTF-8 text".to_owned(),
        })?;
        Ok(Self { text })
    }

    /// The binary form.
    pub(crate) fn translate(&self) -> Result<Vec<u8>, TextError> {
        let buffer = ParseBuffer::new(self.text).map_err(|e| self.error(&e))?;
        let mut wat = parser::parse::<Wat>(&buffer).map_err(|e| self.error(&e))?;
        wat.encode().map_err(|e| self.error(&e))
    }

    /// Where the instruction at `offset` of the binary stands in the text; the start of its
    /// function or nothing where that cannot be said. Parses again, since only errors need it.
    pub(crate) fn locate(&self, binary: &[u8], offset: usize) -> Option<Position> {
        let (function, operator) = find(binary, offset)?;
        let mut buffer = ParseBuffer::new(self.text).ok()?;
        buffer.track_instr_spans(true);
        let mut wat = parser::parse::<Wat>(&buffer).ok()?;
        // Encoding brings the fields into the order that they have in the binary.
        wat.encode().ok()?;
        let Wat::Module(module) = &wat else { return None };
        let ModuleKind::Text(fields) = &module.kind else { return None };
        let (span, expression) = fields
            .iter()
            .filter_map(|field| match field {
                ModuleField::Func(func) => match &func.kind {
                    FuncKind::Inline { expression, .. } => Some((func.span, expression)),
                    FuncKind::Import(..) => None,
                },
                _ => None,
            })
            .nth(function)?;
        let spans = expression.instr_spans.as_deref().unwrap_or_default();
        Some(self.position(spans.get(operator).copied().unwrap_or(span)))
    }

    fn error(&self, error: &wast::Error) -> TextError {
        TextError { position: Some(self.position(error.span())), message: error.message() }
    }

    fn position(&self, span: Span) -> Position {
        let (line, byte) = span.linecol_in(self.text);
        let text = self.text.lines().nth(line).unwrap_or_default();
        let col = text.get(..byte).map_or(byte, |before| before.chars().count());
        Position { line: line + 1, col: col + 1 }
    }
}

/// Which defined function and which of its operators the offset falls into.
fn find(binary: &[u8], offset: usize) -> Option<(usize, usize)> {
    let bodies = Parser::new(0).parse_all(binary).filter_map(|payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => Some(body),
        _ => None,
    });
    for (function, body) in bodies.enumerate() {
        if !body.range().contains(&offset) {
            continue;
        }
        let mut reader = body.get_operators_reader().ok()?;
        let mut operator = 0;
        while !reader.eof() {
            reader.read().ok()?;
            if reader.original_position() > offset {
                return Some((function, operator));
            }
            operator += 1;
        }
        return Some((function, usize::MAX));
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn translate(text: &str) -> Result<Vec<u8>, TextError> {
        Text::new(text.as_bytes()).unwrap().translate()
    }

    #[test]
    fn syntax_errors_have_line_and_column() {
        let error = translate("(module\n  (func (i32.cosnt 1)))").unwrap_err();
        assert_eq!(error.position, Some(Position { line: 2, col: 10 }));
        let error = translate("(module\n  (; é ;) (func (call $gone)))").unwrap_err();
        assert_eq!(error.position, Some(Position { line: 2, col: 23 }));
        assert!(error.message.contains("gone"), "{}", error.message);
    }

    #[test]
    fn offsets_lead_back_to_the_instruction() {
        let source = "(module\n (func (export \"a\") nop)\n (func\n  (drop (i32.const 1))\n  nop))";
        let text = Text::new(source.as_bytes()).unwrap();
        let binary = text.translate().unwrap();
        // The second body ends with: i32.const 1, drop, nop, end.
        let end = binary.windows(5).position(|w| w == [0x41, 1, 0x1a, 1, 0x0b]).unwrap();
        assert_eq!(text.locate(&binary, end), Some(Position { line: 4, col: 10 }));
        assert_eq!(text.locate(&binary, end + 2), Some(Position { line: 4, col: 4 }));
        assert_eq!(text.locate(&binary, end + 3), Some(Position { line: 5, col: 3 }));
        assert_eq!(text.locate(&binary, end + 4), Some(Position { line: 3, col: 3 }));
        assert_eq!(text.locate(&binary, 1), None);
    }

    #[test]
    fn bytes_that_are_neither_form_are_refused() {
        assert!(Text::new(b"\xff\xfe").is_err());
    }
}
