//! The parts of a key by name: what a step's result depends on, each as a digest and as a few words for people.
//!
//! Knows neither how a part is computed nor which of them are edges.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use polyloom_model::{Digest, PortName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a part. The order of the variants is the order of the parts in a key: it can't change without a new
/// version of the key's schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartName {
    /// What the cell asks for; absent when nothing.
    Allow,
    /// The arguments; absent when there are none.
    Argv,
    /// The cell's code: bytes and file name extension.
    Code,
    /// A variable of the cell's environment.
    Env(String),
    /// The executor: id, version, argv and environment of its manifest, its own program.
    Executor,
    /// What comes in through a port.
    Input(PortName),
    /// The declared input ports and their types.
    Inputs,
    /// The libraries that the executor's programs have installed; absent where they tell of none.
    Libraries,
    /// The declared output ports and their types.
    Outputs,
    /// The version of the key itself.
    Schema,
    /// The handle of a secret, never the secret.
    Secret(String),
    /// The seed; absent when the cell has none.
    Seed,
    /// The key of the cell before it in its session; absent when the cell is in none.
    Session,
    /// What stdin gives; absent when nothing.
    Stdin,
    /// The programs the executor found.
    Toolchain,
    /// The condition of the steps that are gathered; absent when there is none.
    When,
}

/// A text that is not the name of a part.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a part of a key; valid: allow, argv, code, env.NAME, executor, input.PORT, inputs, libraries, outputs, schema, secret.NAME, seed, session, stdin, toolchain, when"
)]
pub struct PartNameError(pub String);

impl PartName {
    /// Appends the name to `text`: a key is made of many names, and this allocates nothing.
    pub(crate) fn push_to(&self, text: &mut String) {
        match self {
            Self::Allow => text.push_str("allow"),
            Self::Argv => text.push_str("argv"),
            Self::Code => text.push_str("code"),
            Self::Env(name) => {
                text.push_str("env.");
                text.push_str(name);
            }
            Self::Executor => text.push_str("executor"),
            Self::Input(port) => {
                text.push_str("input.");
                text.push_str(port.as_str());
            }
            Self::Inputs => text.push_str("inputs"),
            Self::Libraries => text.push_str("libraries"),
            Self::Outputs => text.push_str("outputs"),
            Self::Schema => text.push_str("schema"),
            Self::Secret(name) => {
                text.push_str("secret.");
                text.push_str(name);
            }
            Self::Seed => text.push_str("seed"),
            Self::Session => text.push_str("session"),
            Self::Stdin => text.push_str("stdin"),
            Self::Toolchain => text.push_str("toolchain"),
            Self::When => text.push_str("when"),
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push_to(&mut text);
        f.pad(&text)
    }
}

impl FromStr for PartName {
    type Err = PartNameError;
    fn from_str(text: &str) -> Result<Self, PartNameError> {
        let error = || PartNameError(text.chars().take(80).flat_map(char::escape_debug).collect());
        Ok(match text {
            "allow" => Self::Allow,
            "argv" => Self::Argv,
            "code" => Self::Code,
            "executor" => Self::Executor,
            "inputs" => Self::Inputs,
            "libraries" => Self::Libraries,
            "outputs" => Self::Outputs,
            "schema" => Self::Schema,
            "seed" => Self::Seed,
            "session" => Self::Session,
            "stdin" => Self::Stdin,
            "toolchain" => Self::Toolchain,
            "when" => Self::When,
            _ => match text.split_once('.') {
                Some(("env", name)) => Self::Env(name.to_owned()),
                Some(("secret", name)) => Self::Secret(name.to_owned()),
                Some(("input", port)) => Self::Input(port.parse().map_err(|_| error())?),
                _ => return Err(error()),
            },
        })
    }
}

impl Serialize for PartName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PartName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What enters the key.
    pub digest: Digest,
    /// What people read: one line, at most 120 characters. Not keyed.
    pub text: Arc<str>,
}

/// The longest text of a part, in characters.
const LONGEST: usize = 120;

impl Part {
    /// A part with a text of any length: control characters are escaped, the end is cut.
    #[must_use]
    pub fn new(digest: Digest, text: &str) -> Self {
        // Nearly all texts are short ASCII, and a plan has many.
        let plain = text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if text.len() <= LONGEST && (plain || !text.chars().any(char::is_control)) {
            return Self { digest, text: Arc::from(text) };
        }
        // A little more than fits is escaped, never the whole of a long text.
        let mut short = String::new();
        let mut left = LONGEST;
        for c in text.chars() {
            let piece: String =
                if c.is_control() { c.escape_debug().collect() } else { c.to_string() };
            let width = piece.chars().count();
            if width >= left {
                short.push('…');
                break;
            }
            left -= width;
            short.push_str(&piece);
        }
        Self { digest, text: Arc::from(short) }
    }
}

/// All parts of one key: sorted by name, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyParts(Vec<(PartName, Part)>);

impl KeyParts {
    /// The part of that name.
    #[must_use]
    pub fn get(&self, name: &PartName) -> Option<&Part> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// The parts in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PartName, &Part)> {
        self.0.iter().map(|(name, part)| (name, part))
    }

    /// How many parts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(PartName, Part)> for KeyParts {
    /// Of two parts with one name the last stays.
    fn from_iter<I: IntoIterator<Item = (PartName, Part)>>(parts: I) -> Self {
        let mut all: Vec<_> = parts.into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        Self(all)
    }
}

impl Serialize for KeyParts {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for KeyParts {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<PartName, Part>::deserialize(d)?;
        Ok(map.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Part {
        Part::new(Digest::of(text.as_bytes()), text)
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in
            ["argv", "code", "env.A.B", "input.temps", "inputs", "secret.A", "toolchain", "env."]
        {
            assert_eq!(text.parse::<PartName>().unwrap().to_string(), text);
        }
        for bad in ["", "input", "input.", "input.A", "limits", "env"] {
            assert!(bad.parse::<PartName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_one_short_line() {
        let long = part(&"é\n".repeat(500));
        assert!(long.text.chars().count() <= 120 && long.text.ends_with('…'));
        assert!(!long.text.contains('\n'));
        assert_eq!(&*part(&"é".repeat(120)).text, format!("{}…", "é".repeat(119)));
        assert_eq!(&*part("plain").text, "plain");
    }

    #[test]
    fn parts_are_sorted_unique_and_survive_json() {
        let parts: KeyParts =
            [(PartName::Seed, part("1")), (PartName::Argv, part("a")), (PartName::Seed, part("2"))]
                .into_iter()
                .collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(&*parts.get(&PartName::Seed).unwrap().text, "2");
        assert!(parts.get(&PartName::Code).is_none());
        let json = serde_json::to_string(&parts).unwrap();
        assert!(json.starts_with("{\"argv\":{\"digest\":\"b3:"), "{json}");
        assert_eq!(serde_json::from_str::<KeyParts>(&json).unwrap(), parts);
    }
}
