//! Words for paths that can't be used, and one look per path however many cells name it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::files::{FileError, Found, Root};
use crate::findings::{Findings, shown};
use crate::problem::Code;
use crate::source::Span;

/// What paths name, asked once each.
#[derive(Default)]
pub(crate) struct Seen(HashMap<PathBuf, Result<Found, FileError>>);

impl Seen {
    pub fn find(&mut self, root: &Root, path: &Path) -> Result<Found, FileError> {
        if let Some(known) = self.0.get(path) {
            return known.clone();
        }
        let found = root.find(path);
        self.0.insert(path.to_owned(), found.clone());
        found
    }
}

pub(crate) fn report_outside(findings: &mut Findings, span: &Span, text: &str) {
    let message = if text.is_empty() {
        "a path can't be empty".to_owned()
    } else {
        format!("`{}` is outside of the flow's folder", shown(text))
    };
    findings
        .error(Code::Outside, span, message, "")
        .help("valid: a path relative to the flow's folder, without `..`; copy the file there");
}

pub(crate) fn report_file_error(
    findings: &mut Findings,
    span: &Span,
    text: &str,
    error: &FileError,
) {
    let name = shown(text);
    let (code, message, help) = match error {
        FileError::Missing => (
            Code::MissingFile,
            format!("the file `{name}` does not exist"),
            Some("paths are relative to the flow's folder".to_owned()),
        ),
        FileError::Outside => (
            Code::Outside,
            format!("`{name}` leads outside of the flow's folder"),
            Some("links must stay inside of the folder; copy the file there".to_owned()),
        ),
        FileError::Special => (
            Code::NotAFile,
            format!("`{name}` is neither a file nor a folder"),
            Some("devices, sockets and pipes can't be read".to_owned()),
        ),
        FileError::IsDir => (Code::NotAFile, format!("`{name}` is a folder"), None),
        FileError::TooLarge(most) => (
            Code::NotAFile,
            format!("`{name}` is larger than {}", polyloom_model::format_size(*most)),
            Some("data goes into an input: `file:PATH`".to_owned()),
        ),
        FileError::Io(why) => (Code::NotAFile, format!("can't read `{name}`: {why}"), None),
    };
    findings.error(code, span, message, "").help_opt(help);
}
