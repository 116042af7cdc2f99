//! The names of things as newtypes. A name that exists has been checked; nobody checks it again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a {kind} can't be empty")]
    Empty {
        /// What was to be named, e.g. `cell id`.
        kind: &'static str,
    },
    /// The text is longer than 64 bytes.
    #[error("{kind} `{name}` is longer than 64 characters")]
    TooLong {
        /// What was to be named.
        kind: &'static str,
        /// The beginning of the text.
        name: String,
    },
    /// A character is not allowed where it stands.
    #[error("{kind} `{name}` has the character {found:?} at position {at}; valid: {valid}")]
    Character {
        /// What was to be named.
        kind: &'static str,
        /// The text, with control characters escaped.
        name: String,
        /// The offending character.
        found: char,
        /// Its position, counted from 1.
        at: usize,
        /// The pattern that would be valid.
        valid: &'static str,
    },
    /// The name can't be a file name on every platform (`con`, `nul`, …).
    #[error("{kind} `{name}` is reserved on some platforms")]
    Reserved {
        /// What was to be named.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

fn check(
    kind: &'static str,
    valid: &'static str,
    text: &str,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    for (at, found) in text.chars().enumerate() {
        if at >= 64 {
            return Err(NameError::TooLong { kind, name: text.chars().take(64).collect() });
        }
        if !(if at == 0 { first(found) } else { rest(found) }) {
            let name = text.chars().take(64).flat_map(char::escape_default).collect();
            return Err(NameError::Character { kind, name, found, at: at + 1, valid });
        }
    }
    if RESERVED.contains(&text) {
        return Err(NameError::Reserved { kind, name: text.to_owned() });
    }
    Ok(())
}

/// What every name can do.
macro_rules! text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $valid:literal, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The pattern of a valid name.
            pub const VALID: &'static str = $valid;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check($kind, $valid, text, $first, $rest)?;
                Ok(Self(Arc::from(text)))
            }
        }

        text!($type);
    };
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase()
}
fn lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}
fn cell_rest(c: char) -> bool {
    lower_or_digit(c) || c == '_' || c == '-'
}
fn port_rest(c: char) -> bool {
    lower_or_digit(c) || c == '_'
}
fn executor_rest(c: char) -> bool {
    lower_or_digit(c) || c == '.' || c == '_' || c == '-'
}

/// The id of a cell, unique in its flow: as it stands in the file (`train`), one step of a mapped cell (`train[lr=0.1]`), a cell of a
/// sub-flow (`sub/train`), or any of these together (`sub[n=2]/train[lr=0.1]`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(Arc<str>);

/// The name of a session, as it stands in the file (`main`), or of one within a sub-flow (`sub/main`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName(Arc<str>);

impl SessionName {
    /// The pattern of a name as it may stand in a flow file.
    pub const VALID: &'static str = CellId::VALID;

    /// A name as it may stand in a flow file.
    pub fn declared(text: &str) -> Result<Self, NameError> {
        check("session name", Self::VALID, text, lower, cell_rest)?;
        Ok(Self(Arc::from(text)))
    }

    /// What the session is called outside of the sub-flow that `cell` is.
    #[must_use]
    pub fn within(&self, cell: &CellId) -> Self {
        Self(Arc::from(format!("{cell}/{self}")))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The longest id of a step within sub-flows, in bytes.
const LONGEST_ID: usize = 512;

impl CellId {
    /// The pattern of an id as it may stand in a flow file.
    pub const VALID: &'static str = "[a-z][a-z0-9_-]{0,63}";

    /// An id as it may stand in a flow file.
    pub fn declared(text: &str) -> Result<Self, NameError> {
        check("cell id", Self::VALID, text, lower, cell_rest)?;
        Ok(Self(Arc::from(text)))
    }

    /// The id of one step of this mapped cell. Characters that a label can't have become `_`.
    pub fn item(&self, label: &str) -> Result<Self, NameError> {
        let label: String = label.chars().map(|c| if label_char(c) { c } else { '_' }).collect();
        format!("{self}[{label}]").parse()
    }

    /// The id of `cell`, which is in the sub-flow that this cell is.
    pub fn within(&self, cell: &Self) -> Result<Self, NameError> {
        format!("{self}/{cell}").parse()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CellId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        const KIND: &str = "cell id";
        const VALID: &str = "[a-z][a-z0-9_-]{0,63}, with `[LABEL]` for a step of a mapped cell, with `/` within a sub-flow";
        if text.len() > LONGEST_ID {
            return Err(NameError::TooLong { kind: KIND, name: text.chars().take(64).collect() });
        }
        for part in text.split('/') {
            let (name, label) = match part.split_once('[') {
                Some((name, rest)) => (name, rest.strip_suffix(']').unwrap_or("]")),
                None => (part, "_"),
            };
            check(KIND, VALID, name, lower, cell_rest)?;
            let wrong = label.char_indices().find(|(_, c)| !label_char(*c));
            if let Some((at, found)) = wrong.or(label.is_empty().then_some((0, ']'))) {
                let name = text.chars().take(64).flat_map(char::escape_default).collect();
                let at = name_at(text, part) + part.find('[').unwrap_or(0) + at + 2;
                return Err(NameError::Character { kind: KIND, name, found, at, valid: VALID });
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

fn name_at(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

fn label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-' | '=' | ',' | '#')
}

text!(CellId);

name!(
    /// The name of an input or output of a cell.
    PortName, "port name", "[a-z][a-z0-9_]{0,63}", lower, port_rest
);
name!(
    /// The name of a flow's parameter.
    ParamName, "param name", "[a-z][a-z0-9_]{0,63}", lower, port_rest
);
/// The id (or an alias) of an executor: as its manifest says it (`python`), or `jupyter:NAME` for a kernel that is installed under this name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorId(Arc<str>);

impl ExecutorId {
    /// The pattern of an id as it may stand in a manifest.
    pub const VALID: &'static str = "[a-z0-9][a-z0-9._-]{0,63}";

    /// What the ids of kernels begin with: no manifest's does.
    pub const KERNEL: &'static str = "jupyter:";

    /// An id as it may stand in a manifest.
    pub fn declared(text: &str) -> Result<Self, NameError> {
        check("executor id", Self::VALID, text, lower_or_digit, executor_rest)?;
        Ok(Self(Arc::from(text)))
    }

    /// The id of the kernel of this name. Its case does not count, as it does not for Jupyter.
    pub fn kernel(name: &str) -> Result<Self, NameError> {
        let name = name.to_ascii_lowercase();
        check("kernel name", "[A-Za-z0-9._-]{1,64}", &name, executor_rest, executor_rest)?;
        Ok(Self(Arc::from(format!("{}{name}", Self::KERNEL))))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExecutorId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(Self::KERNEL) {
            Some(name) => Self::kernel(name),
            None => Self::declared(text),
        }
    }
}

text!(ExecutorId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_pattern() {
        assert!("load-2_x".parse::<CellId>().is_ok());
        for bad in ["", "Load", "2x", "a b", "../x", "pythоn", "con", "a\n", "-rf"] {
            assert!(bad.parse::<CellId>().is_err(), "{bad:?}");
        }
        assert!("a-b".parse::<PortName>().is_err());
        assert!("c".repeat(65).parse::<PortName>().is_err());
        assert!("jupyter.x".parse::<ExecutorId>().is_ok());
    }

    #[test]
    fn kernels_have_ids_that_no_manifest_can_have() {
        assert_eq!(ExecutorId::kernel("Julia-1.11").unwrap().as_str(), "jupyter:julia-1.11");
        assert_eq!("jupyter:IR".parse(), ExecutorId::kernel("ir"));
        assert!(ExecutorId::declared("jupyter:ir").is_err());
        for bad in ["jupyter:", "jupyter:a:b", "jupyter:a/b", "other:a", "jupyter:é"] {
            assert!(bad.parse::<ExecutorId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_and_cells_of_sub_flows_have_ids_of_more_than_one_part() {
        let train = CellId::declared("train").unwrap();
        let step = train.item("lr=0.1,name=a b/c").unwrap();
        assert_eq!(step.as_str(), "train[lr=0.1,name=a_b_c]");
        let sub = CellId::declared("sub").unwrap().item("n=2").unwrap();
        let inner = sub.within(&step).unwrap();
        assert_eq!(inner.as_str().parse::<CellId>().unwrap(), inner);
        assert!(CellId::declared("a/b").is_err() && CellId::declared("a[x]").is_err());
        for bad in ["a[]", "a[x", "a[x]y", "a]", "/a", "a/", "a//b", "a[x[y]]", "a[é]", "a[x]]"] {
            assert!(bad.parse::<CellId>().is_err(), "{bad:?}");
        }
        assert!(format!("a[{}]", "x".repeat(600)).parse::<CellId>().is_err());
    }

    #[test]
    fn a_bad_character_is_named_with_its_place() {
        let text = "a\u{1b}[2J".parse::<CellId>().expect_err("control character").to_string();
        assert!(text.contains("position 2") && !text.contains('\u{1b}'), "{text}");
    }
}
