//! TOML to tree. All syntax errors of a text are reported, one for each line.

use std::sync::Arc;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue, Error};

use crate::findings::shown;
use crate::problem::{Code, Problem};
use crate::source::{Source, Span};
use crate::tree::{Data, Entry, Key, Map, Node};

/// More than this many errors of syntax say that the text is not TOML at all.
const MOST_ERRORS: usize = 20;

/// Reads a document.
pub(crate) fn read(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        return Err(problems(source, &errors));
    }
    let mut bad = Vec::new();
    let span = table.span();
    let root = Node { span, data: Data::Map(map(table.get_ref(), &mut bad)) };
    if bad.is_empty() { Ok(root) } else { Err(numbers(source, bad)) }
}

/// Reads a text that is one value.
pub(crate) fn value(text: &str) -> Option<Data> {
    let (value, errors) = DeValue::parse_recoverable(text);
    let mut bad = Vec::new();
    let tree = node(&value, &mut bad);
    (errors.is_empty() && bad.is_empty()).then_some(tree.data)
}

fn problems(source: &Arc<Source>, errors: &[Error]) -> Vec<Problem> {
    let mut all: Vec<Problem> = Vec::new();
    let mut last_line = None;
    // A table that is there twice: its keys are, too, most often.
    let mut table_twice = None;
    let mut sorted: Vec<&Error> = errors.iter().collect();
    sorted.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    for error in sorted {
        let span = error.span().unwrap_or(0..0);
        let line = source.line_index(span.start);
        // What follows on one line is most often the echo of its first error.
        if last_line == Some(line) {
            continue;
        }
        last_line = Some(line);
        let mut message = error.message().replace('\n', "; ");
        let mut code = Code::Syntax;
        if message == "duplicate key" {
            let header = |line| source.text()[source.line_span(line)].trim_start().starts_with('[');
            if table_twice.is_some_and(|from| !(from + 1..=line).any(header)) {
                continue;
            }
            table_twice = header(line).then_some(line);
            code = Code::Duplicate;
            let name = source.text().get(span.clone()).unwrap_or_default();
            message = format!("duplicate key `{}`", shown(name));
        }
        all.push(explain(
            Problem::error(code, message).at(source, span.clone(), ""),
            source,
            &span,
        ));
        if all.len() == MOST_ERRORS {
            break;
        }
    }
    all
}

/// Says more where the parser's place is far from the mistake, or the mistake is another language's habit.
fn explain(problem: Problem, source: &Arc<Source>, span: &Span) -> Problem {
    let text = source.text();
    let before = text.get(..span.end).unwrap_or(text);
    for (kind, quotes) in
        [("invalid multi-line literal", "'''"), ("invalid multi-line basic", "\"\"\"")]
    {
        // Nothing closed it, so the last quotes are those that opened it.
        if problem.message.starts_with(kind)
            && let Some(at) = before.rfind(quotes)
        {
            return problem.at(source, at..at + 3, "the text begins here");
        }
    }
    if problem.message.starts_with("invalid unquoted key") && text.get(span.clone()) == Some(":") {
        return problem.help("TOML writes `key = value`");
    }
    problem
}

fn numbers(source: &Arc<Source>, bad: Vec<Span>) -> Vec<Problem> {
    let problem = |span| {
        Problem::error(Code::Syntax, "the number does not fit into 64 bits")
            .at(source, span, "")
            .help("valid: -9223372036854775808 to 9223372036854775807")
    };
    bad.into_iter().map(problem).collect()
}

fn map(table: &DeTable<'_>, bad: &mut Vec<Span>) -> Map {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: Key { text: key.get_ref().to_string(), span: key.span() },
            node: node(value, bad),
        })
        .collect();
    // The parser sorts by name; people expect the order they wrote.
    entries.sort_by_key(|entry| entry.key.span.start);
    Map { entries }
}

fn node(value: &Spanned<DeValue<'_>>, bad: &mut Vec<Span>) -> Node {
    let span = value.span();
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Str(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Data::Int(number),
            Err(_) => {
                bad.push(span.clone());
                Data::Null
            }
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Data::Float(number),
            Err(_) => {
                bad.push(span.clone());
                Data::Null
            }
        },
        DeValue::Boolean(flag) => Data::Bool(*flag),
        DeValue::Datetime(_) => Data::Date,
        DeValue::Array(items) => Data::List(items.iter().map(|item| node(item, bad)).collect()),
        DeValue::Table(table) => Data::Map(map(table, bad)),
    };
    Node { span, data }
}
