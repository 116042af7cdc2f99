//! How well cells must be confined: presets, and levels of single mechanisms beyond them. Plain data and the rule by which the words of a flow, of
//! its project and of the person are put together. Does not know what a machine can do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use polyloom_protocol::meta::Level;
use thiserror::Error;

/// A policy by name, weakest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// Code that one's own account may run: every mechanism there is takes hold, none is required.
    Trusted,
    /// Code nobody has read: what keeps it from the host is required whole.
    #[default]
    Default,
    /// The same with every limit held by the kernel, nothing granted, and no shared channel that can be closed.
    Strict,
}

/// A word that is no preset, or not one that may stand there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PresetError {
    /// No preset.
    #[error("`{0}` is not a policy; valid: `strict`, `default`, `trusted`")]
    Unknown(String),
    /// A file can't loosen.
    #[error(
        "a file can't ask for `trusted`; valid there: `strict`, `default`. Who runs it may say `--policy=trusted`"
    )]
    Loose,
}

impl Preset {
    /// All of them, strictest first.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Default, Self::Trusted];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Default => "default",
            Self::Strict => "strict",
        }
    }

    /// Reads a preset from a file that came with the code it is about.
    pub fn from_file(text: &str) -> Result<Self, PresetError> {
        match text.parse()? {
            Self::Trusted => Err(PresetError::Loose),
            preset => Ok(preset),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = PresetError;
    fn from_str(text: &str) -> Result<Self, PresetError> {
        let known = Self::ALL.into_iter().find(|preset| preset.name() == text);
        known.ok_or_else(|| {
            PresetError::Unknown(text.chars().take(40).flat_map(char::escape_debug).collect())
        })
    }
}

/// The least level of mechanisms, by their names.
pub type Levels = BTreeMap<String, Level>;

/// What a cell's confinement must come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The preset.
    pub preset: Preset,
    /// Levels that are required beyond the preset's.
    pub enforce: Levels,
}

impl Policy {
    /// Adds the word of a file: it can only tighten.
    #[must_use]
    pub fn tightened(mut self, preset: Option<Preset>, enforce: &Levels) -> Self {
        self.preset = self.preset.max(preset.unwrap_or(self.preset));
        for (mechanism, level) in enforce {
            let known = self.enforce.entry(mechanism.clone()).or_insert(*level);
            *known = (*known).max(*level);
        }
        self
    }

    /// Adds the word of the person, which replaces what files said.
    #[must_use]
    pub fn replaced(mut self, preset: Option<Preset>, enforce: &Levels) -> Self {
        if let Some(preset) = preset {
            self.preset = preset;
        }
        self.enforce.extend(enforce.iter().map(|(name, level)| (name.clone(), *level)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tighten_and_the_person_has_the_last_word() {
        let levels = |level| Levels::from([("memory".to_owned(), level)]);
        let policy = Policy::default().tightened(Some(Preset::Strict), &levels(Level::Full));
        let policy = policy.tightened(Some(Preset::Default), &levels(Level::Partial));
        assert_eq!(policy, Policy { preset: Preset::Strict, enforce: levels(Level::Full) });
        let policy = policy.replaced(Some(Preset::Trusted), &levels(Level::None));
        assert_eq!(policy, Policy { preset: Preset::Trusted, enforce: levels(Level::None) });
        assert_eq!(Preset::from_file("trusted"), Err(PresetError::Loose));
        assert!("Strict".parse::<Preset>().is_err());
    }
}
