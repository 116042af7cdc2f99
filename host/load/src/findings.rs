//! Where a check of one text puts what it finds: problems with places in that text, and the nearest known word
//! to a misspelt one.

use std::sync::Arc;

use crate::problem::{Code, Problem, Report, Severity};
use crate::source::{Source, Span};

/// So many problems of one text are told, and the others counted: no one reads them, and a hostile file has millions.
const MOST: usize = 10_000;

/// Problems of one text, being collected.
pub(crate) struct Findings {
    /// The text.
    pub source: Arc<Source>,
    /// What was found first.
    problems: Vec<Problem>,
    /// What is only counted: errors, and all.
    more: (usize, usize),
    /// Word comparisons left. Suggestions are a courtesy: a file with thousands of wrong names
    /// must not cost thousands times thousands of comparisons.
    comparisons: usize,
    /// Whether the text is one that this program comes with, whose patterns were tried by its tests.
    pub bundled: bool,
}

impl Findings {
    pub fn new(source: &Arc<Source>) -> Self {
        let (source, problems) = (Arc::clone(source), Vec::new());
        Self { source, problems, more: (0, 0), comparisons: 200_000, bundled: false }
    }

    /// The same text's, for one of that many parts of it that are looked at by themselves.
    pub fn part(&self, parts: usize) -> Self {
        let comparisons = self.comparisons / parts.max(1);
        Self { comparisons, ..Self::new(&self.source) }
    }

    /// Takes over what was found in a part, or in another text.
    pub fn absorb(&mut self, part: Self) {
        self.extend(part.problems);
        self.more = (self.more.0 + part.more.0, self.more.1 + part.more.1);
    }

    /// Adds problems that were found elsewhere.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| {
            self.push(problem);
        });
    }

    /// Adds a problem; whether it is one that is told.
    pub fn push(&mut self, problem: Problem) -> bool {
        let is_told = !self.is_full();
        if is_told {
            self.problems.push(problem);
        } else {
            self.more.0 += usize::from(problem.severity == Severity::Error);
            self.more.1 += 1;
        }
        is_told
    }

    /// Whether what is found from now on is only counted.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= MOST
    }

    /// How many problems there are.
    pub fn count(&self) -> usize {
        self.problems.len() + self.more.1
    }

    /// All that was found, in the order of the text.
    pub fn into_report(self) -> Report {
        let mut report = Report { problems: self.problems };
        report.sort();
        if let (errors, more @ 1..) = self.more {
            let message = format!("and {more} more, which are not listed");
            let problem = Problem::error(Code::TooMany, message);
            report.problems.push(if errors > 0 { problem } else { problem.warning() });
        }
        report
    }

    /// Adds an error at a place; more can be said by the builder it returns.
    pub fn error(
        &mut self,
        code: Code,
        span: &Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Found<'_> {
        let problem = Problem::error(code, message).at(&self.source, span.clone(), label);
        let is_told = self.push(problem);
        Found { findings: self, is_told }
    }

    pub fn has_errors(&self) -> bool {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        self.more.0 > 0 || self.problems.iter().any(is_error)
    }

    /// The word most like `word`, if one is alike at all.
    pub fn nearest<'w>(
        &mut self,
        word: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) -> Option<&'w str> {
        let allowed = (word.chars().count() / 3).clamp(1, 3);
        let mut best: Option<(usize, &str)> = None;
        for candidate in known {
            if self.comparisons == 0 {
                break;
            }
            self.comparisons -= 1;
            if candidate.len().abs_diff(word.len()) > 8 {
                continue;
            }
            let distance = if candidate.eq_ignore_ascii_case(word) {
                0
            } else {
                strsim::osa_distance(candidate, word)
            };
            // A one-letter word is like every other one.
            if distance <= allowed
                && distance < word.chars().count().max(1)
                && best.is_none_or(|(least, _)| distance < least)
            {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, word)| word)
    }
}

/// The problem added last, to say more about it.
pub(crate) struct Found<'f> {
    findings: &'f mut Findings,
    is_told: bool,
}

impl Found<'_> {
    fn last(&mut self) -> Option<&mut Problem> {
        self.findings.problems.last_mut().filter(|_| self.is_told)
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(problem) = self.last() {
            problem.help = Some(help.into());
        }
        self
    }

    pub fn help_opt(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    pub fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        let source = Arc::clone(&self.findings.source);
        if let Some(problem) = self.last() {
            problem.labels.push(crate::problem::Label {
                source,
                span: span.clone(),
                text: label.into(),
            });
        }
        self
    }

    pub fn warning(mut self) -> Self {
        match self.last() {
            Some(problem) => problem.severity = Severity::Warning,
            None => self.findings.more.0 = self.findings.more.0.saturating_sub(1),
        }
        self
    }
}

/// A name as it may be shown: control characters escaped, at most 80 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

/// `did you mean X?` or the list of what is valid.
pub(crate) fn suggestion(nearest: Option<&str>, valid: &[&str]) -> Option<String> {
    match nearest {
        Some(word) => Some(format!("did you mean `{word}`?")),
        None if valid.is_empty() => None,
        None => Some(format!("valid: {}", list(valid))),
    }
}

/// Names in backticks with commas; the rest of a long list as a count.
pub(crate) fn list(words: &[&str]) -> String {
    const MOST: usize = 40;
    let mut text = words
        .iter()
        .take(MOST)
        .map(|word| format!("`{}`", shown(word)))
        .collect::<Vec<_>>()
        .join(", ");
    if words.len() > MOST {
        text.push_str(&format!(" and {} more", words.len() - MOST));
    }
    text
}
