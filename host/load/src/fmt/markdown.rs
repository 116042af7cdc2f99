//! Markdown's layout: only option lines are touched. One blank after the leader, one after the colon, none at the end.

use crate::read::{LEADERS, fences, front_matter, option};
use crate::source::Source;

pub(super) fn format(source: &Source) -> String {
    let text = source.text();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let (_, from) = front_matter(source);
    for fence in fences(source, from) {
        for line in &fence.options {
            let span = source.line_span(source.line_index(line.offset));
            out.push_str(&text[copied..span.start]);
            out.push_str(&one(&text[span.clone()]));
            copied = span.end;
        }
    }
    out.push_str(&text[copied..]);
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn one(line: &str) -> String {
    let Some((rest, _)) = option(line) else { return line.to_owned() };
    let start = line.trim_start();
    let indent = &line[..line.len() - start.len()];
    let leader = LEADERS.iter().find(|leader| start.starts_with(**leader)).unwrap_or(&LEADERS[0]);
    let rest = rest.trim_end();
    if rest.is_empty() {
        return format!("{indent}{leader}");
    }
    // Only a plain `key: value`: below it, blanks are what tells tables apart.
    let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    match word.map(|end| (&rest[..end], rest[end..].trim_start())) {
        Some((key, after)) if !key.is_empty() && after.starts_with(':') => {
            let value = after[1..].trim_start();
            let gap = if value.is_empty() { "" } else { " " };
            format!("{indent}{leader} {key}:{gap}{value}")
        }
        _ => format!("{indent}{leader} {rest}"),
    }
}
