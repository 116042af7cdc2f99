//! `conformance.toml`: how the cells that the cases need are written in a language. Knows no case's meaning but its name.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::case::CASES;
use crate::samples;

/// The file's name, beside `executor.toml`.
pub const FILE: &str = "conformance.toml";

/// Codes by the names that cases know them under.
#[derive(Debug, Clone)]
pub struct Snippets {
    codes: BTreeMap<String, String>,
    values: Vec<ValueCode>,
}

/// The cell that gives its input `x` as its output `y`, for some types; without a code it is that of the entry before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueCode {
    types: Vec<String>,
    code: Option<String>,
    #[serde(default)]
    argv: Vec<String>,
}

/// What is wrong with the file.
#[derive(Debug, Error)]
pub enum SnippetError {
    /// It is not TOML, or not of the shape.
    #[error("{FILE}{}: {message}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Syntax {
        /// Where, where that is known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// A code without which nothing can be tried.
    #[error("{FILE} has no `hello`: a cell that prints `hello` and a line feed")]
    NoHello,
    /// A code that is none.
    #[error("{FILE}: `{name}` has to be a text, the code of a cell")]
    NoText {
        /// The name.
        name: String,
    },
    /// The first of those that give on values, without a code to be taken for the next ones.
    #[error("{FILE}: the first `[[values]]` has no `code`, and there is none before it")]
    NoCode,
    /// A name that no case knows.
    #[error("{FILE}: no case needs `{name}`; valid: {valid}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that would do.
        valid: String,
    },
    /// A type that is not one.
    #[error("{FILE}: `{name}` is no kind of values; valid: {valid}")]
    Kind {
        /// The name.
        name: String,
        /// Those that would do.
        valid: String,
    },
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    values: Vec<ValueCode>,
    #[serde(flatten)]
    codes: BTreeMap<String, toml::Value>,
}

impl Snippets {
    /// Reads the file's text.
    pub fn read(text: &str) -> Result<Self, SnippetError> {
        let Raw { mut values, codes } =
            toml::from_str(text).map_err(|error| syntax(text, &error))?;
        for at in 0..values.len() {
            match (&values[at].code, at.checked_sub(1)) {
                (None, None) => return Err(SnippetError::NoCode),
                (None, Some(before)) => values[at].code = values[before].code.clone(),
                (Some(_), _) => {}
            }
        }
        let known = CASES.iter().flat_map(|case| case.snippets);
        let mut valid: Vec<&str> = known.copied().collect();
        valid.sort_unstable();
        valid.dedup();
        if let Some(name) = codes.keys().find(|name| !valid.contains(&name.as_str())) {
            let valid = format!("{}, and tables `[[values]]`", valid.join(", "));
            return Err(SnippetError::Unknown { name: name.clone(), valid });
        }
        let text = |(name, code): (String, toml::Value)| match code {
            toml::Value::String(code) => Ok((name, code)),
            _ => Err(SnippetError::NoText { name }),
        };
        let codes = codes.into_iter().map(text).collect::<Result<BTreeMap<_, _>, _>>()?;
        let kinds = samples::kinds();
        let named = values.iter().flat_map(|value| &value.types);
        if let Some(name) = named.into_iter().find(|name| !kinds.contains(&name.as_str())) {
            let valid = kinds.join(", ");
            return Err(SnippetError::Kind { name: name.clone(), valid });
        }
        if !codes.contains_key("hello") {
            return Err(SnippetError::NoHello);
        }
        Ok(Self { codes, values })
    }

    /// The code of that name.
    #[must_use]
    pub fn code(&self, name: &str) -> Option<&str> {
        self.codes.get(name).map(String::as_str)
    }

    /// The code that gives on a value of that kind, and its arguments.
    #[must_use]
    pub fn value(&self, kind: &str) -> Option<(&str, &[String])> {
        let found = self.values.iter().find(|value| value.types.iter().any(|name| name == kind));
        found.map(|value| (value.code.as_deref().unwrap_or_default(), value.argv.as_slice()))
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> SnippetError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    // Its own form has a piece of the file below it.
    let message = error.message().trim().replace('\n', "; ");
    SnippetError::Syntax { line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Snippets::read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_a_table_of_codes() {
        let text = "hello = 'echo hello'\n[[values]]\ntypes = ['int', 'str']\ncode = 'y = x'\n";
        let snippets = Snippets::read(text).unwrap();
        assert_eq!(snippets.code("hello"), Some("echo hello"));
        assert_eq!(snippets.code("raise"), None);
        assert_eq!(snippets.value("str"), Some(("y = x", &[][..])));
        assert_eq!(snippets.value("bool"), None);
        let more = format!("{text}[[values]]\ntypes = ['bool']\nargv = ['-b']\n");
        let snippets = Snippets::read(&more).unwrap();
        assert_eq!(snippets.value("bool"), Some(("y = x", &["-b".to_owned()][..])));
    }

    #[test]
    fn what_is_wrong_names_what_is_valid() {
        assert!(refused("").contains("has no `hello`"));
        let unknown = refused("hello = ''\nrais = ''\n");
        assert!(unknown.contains("`rais`") && unknown.contains("raise"), "{unknown}");
        let kind = refused("hello = ''\n[[values]]\ntypes = ['integer']\ncode = ''\n");
        assert!(kind.contains("`integer`") && kind.contains("int, "), "{kind}");
        let number = refused("hello = 1");
        assert_eq!(number, "conformance.toml: `hello` has to be a text, the code of a cell");
        let singular = refused("hello = ''\n[[value]]\ntypes = ['int']\ncode = 'x'\n");
        assert!(
            singular.contains("`value`; valid: ") && singular.contains("[[values]]"),
            "{singular}"
        );
        let bare = refused("hello = ''\n[[values]]\ntypes = ['int']\n");
        assert!(bare.contains("the first `[[values]]` has no `code`"), "{bare}");
        let syntax = refused("hello = ''\n\nsleep = \"x\n");
        assert!(syntax.starts_with("conformance.toml, line 3: "), "{syntax}");
        assert!(!syntax.contains('\n'), "{syntax}");
    }
}
