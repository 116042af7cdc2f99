//! One attack as data: what is run, and what has to be seen. Does not know how it is run.

use std::time::Duration;

use serde::Deserialize;

/// Why a file of cases can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It is not TOML of this form.
    #[error("`{file}`: {source}")]
    Form {
        /// Its name.
        file: String,
        /// What the parser says.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// One case contradicts itself.
    #[error("`{file}`: case `{id}`: {what}")]
    Case {
        /// Its name.
        file: String,
        /// The case.
        id: String,
        /// What is wrong, and what would be valid.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

/// One attack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Stable: `THREATS.md` cites it. The cell's id is the same in lower case.
    pub id: String,
    /// What is tried, in a few words.
    pub title: String,
    /// The language, as a flow names it.
    pub lang: String,
    /// Why what is expected is the right end, or what stops it.
    pub why: String,
    /// The attack. `@NAME@` stands for a canary, see [`crate::Canaries`]; `@C@`, `@PY@` and `@SH@` for some lines that let it say how each
    /// thing it tried was answered, see [`crate::flow_of`].
    #[serde(default)]
    pub code: String,
    /// Further keys of the cell, as in a flow.
    #[serde(default)]
    pub keys: toml::Table,
    /// Files of the flow's folder that its inputs name, by path.
    #[serde(default)]
    pub files: std::collections::BTreeMap<String, String>,
    /// Flags of the run that grant what cells ask for: for all cells of the same group.
    #[serde(default)]
    pub grants: Vec<String>,
    /// Mechanisms and the least level of each at which the demand is made.
    #[serde(default)]
    pub needs: std::collections::BTreeMap<String, NeedLevel>,
    /// Programs of the machine that it needs.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Whether it is one of the few that a user's own machine is tried with.
    #[serde(default)]
    pub short: bool,
    /// Whether it is run again with each mechanism removed.
    #[serde(default)]
    pub core: bool,
    /// With which others it may run.
    #[serde(default)]
    pub group: Group,
    /// Set where the feature under attack does not exist yet: why.
    #[serde(default)]
    pub absent: Option<String>,
    /// Set where the attack is known to succeed: where that is written down.
    #[serde(default)]
    pub known: Option<String>,
    /// What has to be seen.
    #[serde(default)]
    pub expect: Expect,
}

/// The levels a case can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeedLevel {
    /// By any means.
    Partial,
    /// As promised.
    Full,
}

/// With which others a case may run at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// With any.
    #[default]
    Plain,
    /// Alone: it takes all of the machine that it gets.
    Heavy,
    /// After all of the others, to look for what they left.
    After,
}

/// What has to be seen of an attack. Texts are regular expressions, multi-line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// One of these outcomes.
    pub outcome: Vec<String>,
    /// One of these exit codes.
    pub exit: Vec<i32>,
    /// One of these signals.
    pub signal: Vec<i32>,
    /// All of these on stdout.
    pub stdout: Vec<String>,
    /// None of these on stdout.
    pub not_stdout: Vec<String>,
    /// All of these on stderr.
    pub stderr: Vec<String>,
    /// None of these on stderr.
    pub not_stderr: Vec<String>,
    /// All of these among the messages.
    pub diagnostics: Vec<String>,
    /// Exactly these results.
    pub artifacts: Option<Vec<String>>,
    /// At most this long on the wall, in seconds.
    pub within: Option<f64>,
    /// At least this much processor time, in seconds: it is counted, whoever used it.
    pub cpu_over: Option<f64>,
    /// At most this much memory at any time, in bytes.
    pub peak_below: Option<u64>,
    /// At most this many events of what it printed.
    pub logs_below: Option<usize>,
}

impl Case {
    /// The cell's id.
    #[must_use]
    pub fn cell(&self) -> String {
        self.id.to_ascii_lowercase()
    }

    fn problem(&self) -> Option<String> {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        if self.id.is_empty() || !self.id.chars().all(plain) {
            return Some("an id is of A-Z and 0-9".to_owned());
        }
        if self.absent.is_some() {
            return (!self.code.is_empty()).then(|| "an absent case has no code".to_owned());
        }
        if self.code.is_empty() && !self.keys.contains_key("file") {
            return Some("it has no code".to_owned());
        }
        if self.expect.outcome.is_empty() {
            return Some("it expects no outcome: one that can't fail proves nothing".to_owned());
        }
        let expect = &self.expect;
        let texts = [
            &expect.stdout,
            &expect.not_stdout,
            &expect.stderr,
            &expect.not_stderr,
            &expect.diagnostics,
        ];
        texts.into_iter().flatten().find_map(|text| {
            regex_lite::Regex::new(text).err().map(|error| format!("`{text}`: {error}"))
        })
    }
}

impl Expect {
    /// The time on the wall, if it is bounded.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        self.within.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// In words, for a table.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = self.outcome.join(" or ");
        let numbers = |numbers: &[i32]| {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        };
        if !self.exit.is_empty() {
            words.push_str(&format!(", exit {}", numbers(&self.exit)));
        }
        if !self.signal.is_empty() {
            words.push_str(&format!(", signal {}", numbers(&self.signal)));
        }
        for text in self.stdout.iter().take(1) {
            let plain: String = text.chars().filter(|c| !"^$\\".contains(*c)).collect();
            words.push_str(&format!(", prints `{plain}`"));
        }
        words
    }
}

/// Reads a file of cases; `file` is its name in messages.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, CaseError> {
    let parsed: CaseFile = toml::from_str(text)
        .map_err(|source| CaseError::Form { file: file.to_owned(), source: Box::new(source) })?;
    match parsed.case.iter().find_map(|case| Some((case, case.problem()?))) {
        Some((case, what)) => {
            Err(CaseError::Case { file: file.to_owned(), id: case.id.clone(), what })
        }
        None => Ok(parsed.case),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let head = "[[case]]\ntitle = \"t\"\nlang = \"sh\"\nwhy = \"w\"\n";
        parse("x.toml", &format!("{head}{text}")).expect_err("a fault").to_string()
    }

    #[test]
    fn a_case_that_can_not_fail_is_refused() {
        let fault = fault("id = \"A1\"\ncode = \"true\"");
        assert!(fault.contains("`A1`: it expects no outcome"), "{fault}");
    }

    #[test]
    fn contradictions_are_refused() {
        let expect = "[case.expect]\noutcome = [\"ok\"]";
        assert!(fault(&format!("id = \"a1\"\ncode = \"true\"\n{expect}")).contains("A-Z"));
        assert!(fault(&format!("id = \"A1\"\n{expect}")).contains("no code"));
        assert!(fault("id = \"A1\"\ncode = \"true\"\nabsent = \"x\"").contains("absent"));
        let pattern = fault(&format!("id = \"A1\"\ncode = \"true\"\n{expect}\nstdout = [\"(\"]"));
        assert!(pattern.contains("`(`"), "{pattern}");
        assert!(fault("id = \"A1\"\ncod = \"true\"").contains("x.toml"));
    }
}
