//! Where a secret is to be had. Never the secret itself: handles stand in flow files, keys and records.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// The handle of a secret, as the host can read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretHandle {
    /// `env:NAME`: a variable of the host's environment.
    Env(String),
    /// `file:PATH`: a file, absolute, below the home folder (`~/…`) or relative to the flow's folder.
    File(PathBuf),
    /// `cmd:PROGRAM ARGS`: what a program prints; its words, the program first. No shell reads them.
    Cmd(Vec<String>),
}

/// A text that is not a handle. The text itself is not told: it may be the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandleError {
    /// It begins with none of the kinds.
    #[error("not the handle of a secret; valid: `env:NAME`, `file:PATH`, `cmd:PROGRAM ARGS`")]
    Kind,
    /// Nothing comes after the kind.
    #[error("`{0}` names nothing")]
    Empty(&'static str),
    /// Not the name of a variable.
    #[error("`env:` takes the name of an environment variable: [A-Za-z_][A-Za-z0-9_]*")]
    Variable,
    /// A path that only a shell could read.
    #[error("`file:` takes a path: absolute, `~/PATH`, or relative to the flow's folder")]
    Path,
    /// A control character.
    #[error("a handle can't hold the character `{}`", .0.escape_unicode())]
    Control(char),
    /// A quote or a backslash without its other half.
    #[error("`cmd:` has a {0} that does not end")]
    Open(&'static str),
    /// What only a shell would obey.
    #[error("`{0}` in `cmd:` would need a shell, and none reads it; put it in single quotes")]
    Shell(char),
}

impl SecretHandle {
    /// Its text as it is known in another folder, where what is relative in it is relative to `folder`: `file:parts/key`,
    /// `cmd:cd parts && ./get`. No handle reads like the latter, since `&` needs a shell.
    #[must_use]
    pub fn text_in(&self, folder: &Path) -> String {
        if folder.as_os_str().is_empty() {
            return self.to_string();
        }
        match self {
            Self::File(path) if !path.starts_with("~") => Self::File(folder.join(path)).to_string(),
            Self::File(_) | Self::Env(_) => self.to_string(),
            Self::Cmd(_) => {
                let folder = quoted(&folder.to_string_lossy()).into_owned();
                let text = self.to_string();
                let command = text.strip_prefix("cmd:").unwrap_or(&text);
                format!("cmd:cd {folder} && {command}")
            }
        }
    }
}

impl FromStr for SecretHandle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Self, HandleError> {
        if let Some(control) = text.chars().find(|c| crate::permission::steers(*c)) {
            return Err(HandleError::Control(control));
        }
        let (kind, rest) = text.split_once(':').ok_or(HandleError::Kind)?;
        match kind {
            "env" if rest.is_empty() => Err(HandleError::Empty("env:")),
            "env" => {
                let first = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                let plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if first && plain && rest.len() <= 256 {
                    Ok(Self::Env(rest.to_owned()))
                } else {
                    Err(HandleError::Variable)
                }
            }
            "file" if rest.is_empty() => Err(HandleError::Empty("file:")),
            "file" if rest.starts_with('~') && !rest.starts_with("~/") => Err(HandleError::Path),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "cmd" => {
                let words = words(rest)?;
                match words.first() {
                    Some(program) if !program.is_empty() => Ok(Self::Cmd(words)),
                    Some(_) | None => Err(HandleError::Empty("cmd:")),
                }
            }
            _ => Err(HandleError::Kind),
        }
    }
}

impl fmt::Display for SecretHandle {
    /// One text for one handle: it is what keys are made of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Cmd(words) => {
                f.write_str("cmd:")?;
                for (at, word) in words.iter().enumerate() {
                    if at > 0 {
                        f.write_str(" ")?;
                    }
                    f.write_str(&quoted(word))?;
                }
                Ok(())
            }
        }
    }
}

/// What a shell would not take as it is.
const SHELL: &str = "|&;<>()$`*?";

/// A word as a shell would take it for one.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_whitespace() && !SHELL.contains(c) && !"'\"\\~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

/// Splits a command into words as a shell would, as far as that needs no shell: blanks, quotes and backslashes.
fn words(text: &str) -> Result<Vec<String>, HandleError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(HandleError::Open("single quote")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(HandleError::Open("double quote")),
                        },
                        Some(c @ ('$' | '`')) => return Err(HandleError::Shell(c)),
                        Some(c) => word.push(c),
                        None => return Err(HandleError::Open("double quote")),
                    }
                }
            }
            '\\' => {
                let next = chars.next().ok_or(HandleError::Open("backslash"))?;
                word.get_or_insert_default().push(next);
            }
            '~' if word.is_none() => return Err(HandleError::Shell(c)),
            c if SHELL.contains(c) => return Err(HandleError::Shell(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmd(text: &str) -> Result<Vec<String>, HandleError> {
        match format!("cmd:{text}").parse()? {
            SecretHandle::Cmd(words) => Ok(words),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_split_as_a_shell_would() {
        assert_eq!(cmd("pass show db").unwrap(), ["pass", "show", "db"]);
        assert_eq!(cmd("  op  read 'op://a b/c' ").unwrap(), ["op", "read", "op://a b/c"]);
        assert_eq!(
            cmd(r#"x "a \"b\" \c" d\ e '' f'g'h"#).unwrap(),
            ["x", r#"a "b" \c"#, "d e", "", "fgh"]
        );
        assert_eq!(cmd("x '$HOME | *'").unwrap(), ["x", "$HOME | *"]);
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        for (text, c) in [
            ("a | b", '|'),
            ("a; b", ';'),
            ("a $HOME", '$'),
            ("a \"$HOME\"", '$'),
            ("a `b`", '`'),
            ("~/bin/a", '~'),
            ("a > b", '>'),
            ("a *", '*'),
        ] {
            assert_eq!(cmd(text), Err(HandleError::Shell(c)), "{text}");
        }
        for open in ["a 'b", "a \"b", "a \\", "a \"b\\"] {
            assert!(matches!(cmd(open), Err(HandleError::Open(_))), "{open}");
        }
        assert_eq!(cmd(""), Err(HandleError::Empty("cmd:")));
        assert_eq!(cmd("'' x"), Err(HandleError::Empty("cmd:")));
    }

    #[test]
    fn a_handle_is_read_as_it_was_shown() {
        for text in [
            "env:API_TOKEN",
            "file:~/.config/x/key",
            "file:/run/secrets/a b",
            "cmd:pass show db",
            "cmd:op read 'a b' 'it'\\''s' '' '~x' '$y' 'a\"b' 'c\\d'",
        ] {
            let handle: SecretHandle = text.parse().unwrap();
            assert_eq!(handle.to_string(), text);
            assert_eq!(handle.to_string().parse(), Ok(handle));
        }
    }

    #[test]
    fn a_command_of_another_folder_is_another_text_and_no_handle() {
        let text = |text: &str, folder: &str| {
            text.parse::<SecretHandle>().unwrap().text_in(Path::new(folder))
        };
        assert_eq!(text("cmd:./get db", ""), "cmd:./get db");
        assert_eq!(text("cmd:./get db", "a b/c"), "cmd:cd 'a b/c' && ./get db");
        assert!(text("cmd:./get db", "parts").parse::<SecretHandle>().is_err());
        assert_eq!(text("file:key", "parts"), "file:parts/key");
        assert_eq!(text("file:~/key", "parts"), "file:~/key");
        assert_eq!(text("env:KEY", "parts"), "env:KEY");
    }

    #[test]
    fn what_is_no_handle_is_refused_and_not_repeated() {
        for text in [
            "s3cr3t-value",
            "env:",
            "env:1A",
            "env:A B",
            "file:",
            "file:~root/x",
            "vault:x",
            "file:a\0",
        ] {
            let error = text.parse::<SecretHandle>().unwrap_err().to_string();
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
