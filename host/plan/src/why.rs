//! What is different between two keys, as data for `why CELL`. Knows no cells and no plan.

use std::fmt;
use std::sync::Arc;

use crate::keys::{GATHERS, OPEN};
use crate::{KeyParts, PartName};

/// One part that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChange {
    /// The part.
    pub part: PartName,
    /// Its words before; `None`: it was not there.
    pub before: Option<Arc<str>>,
    /// Its words now; `None`: it is gone.
    pub after: Option<Arc<str>>,
}

/// The parts whose digests differ, in the order of the parts. Words that differ alone are no change.
#[must_use]
pub fn diff(before: &KeyParts, after: &KeyParts) -> Vec<PartChange> {
    let mut changes = Vec::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        if before.map(|(_, part)| part.digest) == after.map(|(_, part)| part.digest) {
            continue;
        }
        if let Some((name, _)) = before.or(after) {
            changes.push(PartChange {
                part: name.clone(),
                before: before.map(|(_, part)| part.text.clone()),
                after: after.map(|(_, part)| part.text.clone()),
            });
        }
    }
}

/// Words longer than this stay out of one-line reasons; `why` shows them whole.
const SHORT: usize = 24;
/// But which library or program changed is what people ask, and how long its name is nobody chose.
const LIBRARIES: usize = 60;

impl PartChange {
    /// Whether the cell came to be mapped, is no more, or its items came to be known.
    #[must_use]
    pub fn is_of_map(&self) -> bool {
        self.of_map().is_some()
    }

    fn of_map(&self) -> Option<&'static str> {
        if self.part != PartName::Executor {
            return None;
        }
        let role = |words: &Option<Arc<str>>| match words.as_deref() {
            Some(GATHERS) => Some(true),
            Some(OPEN) => Some(false),
            _ => None,
        };
        match (role(&self.before), role(&self.after)) {
            (None, None) => None,
            (Some(false), Some(true)) => Some("its items are known now"),
            (_, Some(false)) => Some("its items are not known yet"),
            (_, Some(true)) => Some("it is mapped now"),
            (Some(_), None) => Some("it is no longer mapped"),
        }
    }
}

/// Of tools in words (`make: GNU Make 4.3; perl: …`), those that are not in both; all of them where no words differ.
fn other_tools(before: &Arc<str>, after: &Arc<str>) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let of = |words: &str, others: &str| {
        let mine = words.split("; ").filter(|&one| others.split("; ").all(|other| other != one));
        mine.collect::<Vec<_>>().join("; ")
    };
    match (of(before, after), of(after, before)) {
        (gone, come) if gone.is_empty() && come.is_empty() => {
            (Some(Arc::clone(before)), Some(Arc::clone(after)))
        }
        (gone, come) => {
            let some = |words: String| if words.is_empty() { "none".into() } else { words.into() };
            (Some(some(gone)), Some(some(come)))
        }
    }
}

impl fmt::Display for PartChange {
    /// `code changed`, `input temps changed (load.temps)`, `input year changed (2012 → 2013)`, `env A added`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(words) = self.of_map() {
            return f.write_str(words);
        }
        match &self.part {
            PartName::Env(name) => write!(f, "env {name}")?,
            PartName::Secret(name) => write!(f, "secret {name}")?,
            PartName::Input(port) => write!(f, "input {port}")?,
            PartName::Inputs => f.write_str("input types")?,
            PartName::Schema => f.write_str("key format")?,
            PartName::Allow => f.write_str("what it asks for")?,
            PartName::Argv
            | PartName::Code
            | PartName::Executor
            | PartName::Libraries
            | PartName::Outputs
            | PartName::Seed
            | PartName::Session
            | PartName::Stdin
            | PartName::Toolchain
            | PartName::When => write!(f, "{}", self.part)?,
        }
        let (before, after) = match (&self.part, &self.before, &self.after) {
            (PartName::Toolchain, Some(before), Some(after)) => other_tools(before, after),
            (_, before, after) => (before.clone(), after.clone()),
        };
        match (&before, &after) {
            (None, None) => Ok(()),
            (None, Some(_)) => f.write_str(" added"),
            (Some(_), None) => f.write_str(" removed"),
            (Some(_), Some(_)) if self.part == PartName::Code => f.write_str(" changed"),
            (Some(before), Some(after)) if before == after => write!(f, " changed ({after})"),
            (Some(before), Some(after))
                if before.chars().count().max(after.chars().count())
                    <= match self.part {
                        PartName::Libraries | PartName::Toolchain => LIBRARIES,
                        _ => SHORT,
                    } =>
            {
                write!(f, " changed ({before} → {after})")
            }
            (Some(_), Some(_)) => f.write_str(" changed"),
        }
    }
}
