//! What compilers and interpreters print, read as diagnostics.

/// How messages are read.
#[derive(Debug, Clone)]
pub enum Format {
    /// GCC's JSON.
    Gcc,
    /// A pattern with named groups.
    Regex(String),
}

/// One message.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in a diagnostic")]
pub struct Diag {
    pub severity: String,
    pub message: String,
    pub code: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub col: Option<u32>,
    pub end_line: Option<u32>,
    pub end_col: Option<u32>,
}

/// Reads them.
#[must_use]
pub fn parse(_: &Format, _: &str, _: &str) -> Vec<Diag> {
    Vec::new()
}
