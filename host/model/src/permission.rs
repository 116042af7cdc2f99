//! What a cell asks for beyond its inputs, and what a person grants: words and precedence of Deno's permissions.
//!
//! A flow asks, and only the person who runs it grants; a refusal wins over every grant, also where it names no particular thing. Pure: paths are
//! compared as they come, whoever asks has made them absolute and free of links.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::{NetGrant, NetRule};

/// A kind of thing that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Reaching a host and port.
    Net,
    /// Seeing a file or folder of the host.
    Read,
    /// Changing one.
    Write,
    /// Seeing a variable of the host's environment.
    Env,
    /// Running a program of the host that is outside of the system's folders.
    Run,
}

impl Permission {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Net, Self::Read, Self::Write, Self::Env, Self::Run];

    /// The word of flags and of the key `allow`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Read => "read",
            Self::Write => "write",
            Self::Env => "env",
            Self::Run => "run",
        }
    }

    /// Whether what is asked for is a place in the file system.
    #[must_use]
    pub fn is_path(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::Run)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One thing a cell asks for, as its flow writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// A host and port.
    Net(NetRule),
    /// A file or folder; relative to the flow's folder.
    Read(PathBuf),
    /// A file or folder that is changed.
    Write(PathBuf),
    /// A variable.
    Env(String),
    /// A program: a path, or a name that is searched on PATH.
    Run(PathBuf),
}

/// A text that asks for nothing that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskError {
    /// Not a host with a port.
    #[error(transparent)]
    Net(#[from] crate::NetError),
    /// Not a path.
    #[error(
        "`{0}` is not a path; valid: a relative path without `..`, an absolute path, or `~/PATH`"
    )]
    Path(String),
    /// Not a variable.
    #[error("`{0}` is not the name of an environment variable; valid: [A-Za-z_][A-Za-z0-9_]*")]
    Env(String),
}

impl Ask {
    /// Reads what stands in a list of the key `allow`.
    pub fn parse(kind: Permission, text: &str) -> Result<Self, AskError> {
        let path = || {
            let shown = || text.chars().take(120).flat_map(char::escape_debug).collect();
            let plain = !text.is_empty()
                && text.len() <= 4096
                && !text.chars().any(steers)
                && text.split('/').all(|part| part != "..");
            if plain { Ok(PathBuf::from(text)) } else { Err(AskError::Path(shown())) }
        };
        Ok(match kind {
            Permission::Net => Self::Net(text.parse()?),
            Permission::Read => Self::Read(path()?),
            Permission::Write => Self::Write(path()?),
            Permission::Run => Self::Run(path()?),
            Permission::Env if is_variable(text) => Self::Env(text.to_owned()),
            Permission::Env => {
                let shown = text.chars().take(120).flat_map(char::escape_debug).collect();
                return Err(AskError::Env(shown));
            }
        })
    }

    /// The same, where a path of it was relative to `folder` and is to be relative to what that is relative to.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        let below = |path: PathBuf| {
            if path.starts_with("~") || folder.as_os_str().is_empty() {
                path
            } else {
                folder.join(path)
            }
        };
        match self {
            Self::Read(path) => Self::Read(below(path)),
            Self::Write(path) => Self::Write(below(path)),
            Self::Run(path) if path.components().count() > 1 => Self::Run(below(path)),
            Self::Net(_) | Self::Env(_) | Self::Run(_) => self,
        }
    }

    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> Permission {
        match self {
            Self::Net(_) => Permission::Net,
            Self::Read(_) => Permission::Read,
            Self::Write(_) => Permission::Write,
            Self::Env(_) => Permission::Env,
            Self::Run(_) => Permission::Run,
        }
    }

    /// The path of an ask for one, as written.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Read(path) | Self::Write(path) | Self::Run(path) => Some(path),
            Self::Net(_) | Self::Env(_) => None,
        }
    }

    /// The thing, without its kind.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Net(rule) => rule.to_string(),
            Self::Read(path) | Self::Write(path) | Self::Run(path) => path.display().to_string(),
            Self::Env(name) => name.clone(),
        }
    }

    /// The flag that grants just this, `--allow-net=example.com:443`. `place`: the path as it was found.
    #[must_use]
    pub fn flag(&self, place: Option<&Path>) -> String {
        let what = place.map_or_else(|| self.what(), |place| place.display().to_string());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=[]~".contains(c);
        // The one line a person copies: quoted for their shell where that is needed; a comma would begin another grant.
        let what = what.replace('\\', "\\\\").replace(',', "\\,");
        if what.chars().all(plain) {
            format!("--allow-{}={what}", self.kind())
        } else {
            format!("--allow-{}='{}'", self.kind(), what.replace('\'', r"'\''"))
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.what())
    }
}

/// Whether a character could steer a terminal or make a text read otherwise than it is: none belongs into what a person is asked.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 256
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What a person allows or denies of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Everything of the kind: the flag without a value.
    All,
    /// Hosts and ports.
    Net(NetGrant),
    /// A path, absolute and free of links, and what is below it.
    Path(PathBuf),
    /// A variable; a `*` at the end stands for any rest.
    Env(String),
}

impl Grant {
    /// Whether all of `ask` is in it. `place`: where a path that is asked for really is.
    fn covers(&self, ask: &Ask, place: Option<&Path>) -> bool {
        match (self, ask) {
            (Self::All, _) => true,
            (Self::Net(grant), Ask::Net(rule)) => grant.covers(rule),
            (Self::Path(path), Ask::Read(_) | Ask::Write(_) | Ask::Run(_)) => {
                place.is_some_and(|place| place.starts_with(path))
            }
            (Self::Env(pattern), Ask::Env(name)) => match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            },
            _ => false,
        }
    }

    /// Whether any of `ask` is in it: what is denied inside of what is asked for denies the whole.
    fn touches(&self, ask: &Ask, place: Option<&Path>) -> bool {
        match (self, ask) {
            (Self::Net(grant), Ask::Net(rule)) => grant.touches(rule),
            (Self::Path(path), Ask::Read(_) | Ask::Write(_) | Ask::Run(_)) => {
                place.is_none_or(|place| place.starts_with(path) || path.starts_with(place))
            }
            _ => self.covers(ask, place),
        }
    }
}

/// What is to become of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was granted.
    Granted,
    /// It was denied: no question is asked.
    Denied,
    /// Nobody has said anything yet.
    Open,
}

/// Everything a person has said, for all cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// What is allowed.
    pub allow: BTreeMap<Permission, Vec<Grant>>,
    /// What is denied, which wins.
    pub deny: BTreeMap<Permission, Vec<Grant>>,
}

impl Grants {
    /// Decides one ask. `place`: where a path that is asked for really is, absolute and free of links. Without it no grant but the one for
    /// everything covers a path.
    #[must_use]
    pub fn verdict(&self, ask: &Ask, place: Option<&Path>) -> Verdict {
        let of = |map: &BTreeMap<Permission, Vec<Grant>>, kind| {
            map.get(&kind).cloned().unwrap_or_default()
        };
        // What may be written may be read; so what may not be read may not be written.
        let kinds = match ask.kind() {
            Permission::Write => &[Permission::Write, Permission::Read][..],
            Permission::Run => &[Permission::Run, Permission::Read][..],
            Permission::Net => &[Permission::Net][..],
            Permission::Read => &[Permission::Read][..],
            Permission::Env => &[Permission::Env][..],
        };
        let denied =
            |kind: &Permission| of(&self.deny, *kind).iter().any(|grant| grant.touches(ask, place));
        if kinds.iter().any(denied) {
            Verdict::Denied
        } else if of(&self.allow, ask.kind()).iter().any(|grant| grant.covers(ask, place)) {
            Verdict::Granted
        } else {
            Verdict::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_read_otherwise_than_it_is_can_not_be_asked_for() {
        for c in
            ['\u{1b}', '\n', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{200b}', '\u{feff}']
        {
            for kind in [Permission::Read, Permission::Write, Permission::Run] {
                let error = Ask::parse(kind, &format!("data{c}x")).unwrap_err().to_string();
                assert!(!error.contains(c), "{error:?}");
            }
            assert!(Ask::parse(Permission::Env, &format!("A{c}")).is_err());
            assert!(format!("file:a{c}b").parse::<crate::SecretHandle>().is_err());
            assert!(format!("cmd:a '{c}b'").parse::<crate::SecretHandle>().is_err());
        }
        assert!(Ask::parse(Permission::Read, "dönnées/漢字 🙂").is_ok());
    }
}
