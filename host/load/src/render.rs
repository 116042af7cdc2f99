//! A report as a picture for people and as JSON for programs. Chooses no stream and no colour by itself.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde_json::{Value, json};

use crate::problem::{Code, Label, Problem, Report, Severity};
use crate::source::Source;

/// So many problems are drawn; the others are one line each.
const PICTURES: usize = 40;
/// So many of those without a text to point into, of which a drawing shows no more than a line does.
const BARE_PICTURES: usize = 3;
/// So many of those lines are shown.
const LINES: usize = 400;
/// A line longer than this is cut around the place meant.
const LONGEST: usize = 400;

/// Draws a report, `width` columns wide.
#[must_use]
pub fn render(report: &Report, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width.clamp(40, 400))
        .with_context_lines(1)
        .with_links(false)
        .without_syntax_highlighting();
    let mut text = String::new();
    let mut after = Lines(String::new());
    let (uncounted, problems): (Vec<_>, Vec<_>) =
        report.problems.iter().partition(|problem| problem.code == Code::TooMany);
    let (mut drawn, mut bare) = (0, 0);
    for (index, problem) in problems.iter().enumerate() {
        bare += usize::from(problem.labels.is_empty());
        if drawn < PICTURES && (!problem.labels.is_empty() || bare <= BARE_PICTURES) {
            drawn += 1;
            let picture = Picture::new(problem);
            // The handler can only fail where the text it writes to does, and a String never does.
            if handler.render_report(&mut text, &picture).is_err() {
                text.push_str(&problem.to_string());
            }
            text.push('\n');
        } else if index - drawn < LINES {
            after.push(&problem.to_string());
        }
    }
    text.push_str(&after.0);
    if let Some(more) = problems.len().checked_sub(drawn + LINES).filter(|more| *more > 0) {
        text.push_str(&format!("and {more} more\n"));
    }
    uncounted.iter().for_each(|problem| text.push_str(&format!("{problem}\n")));
    // Trailing blanks are nobody's and make snapshots fragile.
    let mut lines = Lines(String::with_capacity(text.len()));
    text.lines().for_each(|line| lines.push(line.trim_end()));
    lines.0
}

struct Lines(String);

impl Lines {
    fn push(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// The report as one JSON object: `{"problems": […], "errors": n, "warnings": n}`.
#[must_use]
pub fn report_to_json(report: &Report) -> Value {
    let label = |label: &Label| {
        let (start, end) = (label.start(), label.end());
        json!({
            "file": label.file(),
            "line": start.line,
            "column": start.column,
            "end_line": end.line,
            "end_column": end.column,
            "offset": label.span.start,
            "length": label.span.len(),
            "text": label.text,
        })
    };
    let problem = |problem: &Problem| {
        json!({
            "code": problem.shown_code(),
            "severity": problem.severity.to_string(),
            "message": problem.message,
            "help": problem.help,
            "labels": problem.labels.iter().map(label).collect::<Vec<_>>(),
        })
    };
    json!({
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
        "errors": report.errors(),
        "warnings": report.warnings(),
    })
}

/// A problem in the shape that miette draws: labels of one text only, others told in the help.
struct Picture<'p> {
    problem: &'p Problem,
    excerpt: Option<Excerpt>,
    labels: Vec<&'p Label>,
    help: Option<String>,
}

impl<'p> Picture<'p> {
    fn new(problem: &'p Problem) -> Self {
        let first = problem.labels.first();
        let (labels, others): (Vec<_>, Vec<_>) = problem.labels.iter().partition(|label| {
            first.is_some_and(|first| Arc::ptr_eq(&first.source, &label.source))
        });
        let mut help: Vec<String> = problem.help.iter().cloned().collect();
        let mut seen = BTreeSet::new();
        for other in others {
            let at = other.start();
            let place = format!("see {}:{}:{}", other.file(), at.line, at.column);
            if seen.insert(place.clone()) {
                help.push(place);
            }
        }
        Self {
            problem,
            excerpt: first.map(|first| Excerpt::new(&first.source)),
            labels,
            help: (!help.is_empty()).then(|| help.join("\n")),
        }
    }
}

impl fmt::Debug for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Picture<'_> {}

impl Diagnostic for Picture<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.shown_code()))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.labels.iter().enumerate().map(|(index, label)| {
            let start = label.source.clamp(label.span.start);
            let end = label.source.clamp(label.span.end).max(start);
            // What is marked is what is on its first line, and no more of it than is shown: a whole table would hide the point.
            let line = label.source.line_span(label.source.line_index(start));
            let end = end.min(line.end.max(start)).min(label.source.clamp(start + LONGEST / 2));
            let length = end.max(start) - start;
            let text = Some(label.text.clone()).filter(|text| !text.is_empty());
            match index {
                0 => LabeledSpan::new_primary_with_span(text, (start, length)),
                _ => LabeledSpan::new_with_span(text, (start, length)),
            }
        });
        Some(Box::new(labels))
    }
}

/// A text for miette: found by line instead of from the beginning, and cut where lines are endless.
struct Excerpt {
    source: Arc<Source>,
    name: String,
}

impl Excerpt {
    fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), name: source.name().escape_debug().to_string() }
    }

    /// Bytes of the lines from `before` above to `after` below a span, or of a part of one long line.
    fn bounds(&self, span: &std::ops::Range<usize>, before: usize, after: usize) -> (usize, usize) {
        let first = self.source.line_index(span.start);
        let last = self.source.line_index(span.end);
        let lines = first.saturating_sub(before)..=(last + after).min(self.source.line_count() - 1);
        let (first, last) = (*lines.start(), *lines.end());
        if lines.into_iter().all(|line| self.source.line_span(line).len() <= LONGEST) {
            // With the end of the last line, so that an empty line stays one.
            let end = self.source.line_span(last).end;
            let text = self.source.text();
            let newline = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
            return (self.source.line_span(first).start, newline);
        }
        let line = self.source.line_span(self.source.line_index(span.start));
        let start = self.source.clamp(span.start.saturating_sub(LONGEST / 8)).max(line.start);
        let end = self.source.clamp(span.end.min(line.end) + LONGEST / 8).min(line.end);
        (start, end.max(start))
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let start = self.source.clamp(span.offset());
        let end = self.source.clamp(span.offset() + span.len()).max(start);
        // Without context, the handler asks for the place itself.
        let exact = before == 0 && after == 0;
        let (from, to) =
            if exact { (start, end) } else { self.bounds(&(start..end), before, after) };
        let at = self.source.position(from);
        let data = &self.source.shown().as_bytes()[from..to];
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            data,
            (from, to - from).into(),
            at.line as usize - 1,
            at.column as usize - 1,
            self.source.line_index(to) - self.source.line_index(from) + 1,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    fn one(text: &str, span: std::ops::Range<usize>) -> String {
        let source = Source::new("x.toml", text);
        let problem = Problem::error(Code::Syntax, "what is wrong").at(&source, span, "here");
        render(&Report { problems: vec![problem] }, false, 80)
    }

    #[test]
    fn many_problems_that_nothing_can_be_drawn_of_are_a_line_each() {
        let bare =
            |at| Problem::error(Code::Typed, format!("f{at} (a.py:{at}:5)")).help("what to do");
        let text = render(&Report { problems: (0..30).map(bare).collect() }, false, 80);
        assert_eq!(text.matches("help: what to do").count(), BARE_PICTURES);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("error[")).collect();
        assert_eq!(lines.len(), 30 - BARE_PICTURES);
        assert_eq!(lines[0], "error[PL059]: f3 (a.py:3:5)");
        // They take no picture from what has a place.
        let source = Source::new("x.toml", "a = 1");
        let mut problems: Vec<_> = (0..30).map(bare).collect();
        problems.push(Problem::error(Code::Syntax, "what is wrong").at(&source, 0..1, "here"));
        assert!(render(&Report { problems }, false, 80).contains("╭─[x.toml:1:1]"));
    }

    #[test]
    fn a_hostile_text_does_not_reach_the_terminal() {
        let picture = one("a = \"\u{1b}]0;x\u{7}\u{202e}\u{9b}\"\r\nb = 1", 4..9);
        assert!(!picture.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}', '\r']), "{picture:?}");
        assert!(picture.contains("x.toml:1:5"), "{picture}");
    }

    #[test]
    fn an_endless_line_is_cut_around_the_place() {
        let text = format!("{}é!{}", "x".repeat(100_000), "y".repeat(100_000));
        let picture = one(&text, 100_002..100_003);
        assert!(picture.len() < 2000 && picture.contains("1:100002"), "{picture}");
    }

    #[test]
    fn an_endless_place_is_cut() {
        let text = format!("a = \"{}\"", "é".repeat(1 << 19));
        let picture = one(&text, 4..text.len());
        assert!(picture.len() < 4000 && picture.contains("x.toml:1:5"), "{}", picture.len());
    }

    #[test]
    fn any_place_can_be_drawn() {
        for text in ["", "\n", "a", "é\r\n\r\n", "\n\n\n"] {
            for start in 0..8 {
                for end in start..9 {
                    one(text, start..end);
                }
            }
        }
    }
}
