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
    if let Some(root) = super::plain::read(source.text()) {
        return Ok(root);
    }
    whole(source)
}

/// Reads a document with the parser of all of TOML.
fn whole(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
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
            key: Key { text: (&**key.get_ref()).into(), span: key.span() },
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
        DeValue::String(text) => Data::Str((&**text).into()),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plain;
    use super::{Source, whole};

    /// Whether the text is plain. Where it is, both readers say the same of it.
    fn is_plain(text: &str) -> bool {
        // In pieces, it may be found not to be plain where it is.
        let trees = [plain::read(text), plain::read_by(text, 1)];
        for tree in trees.iter().flatten() {
            let all = whole(&Source::new("x.toml", text));
            let all = all.unwrap_or_else(|problems| panic!("{text:?} is plain: {problems:?}"));
            assert_eq!(format!("{tree:?}"), format!("{all:?}"), "{text:?}");
        }
        trees[0].is_some()
    }

    #[test]
    fn flows_as_they_are_written_are_plain() {
        for text in [
            "",
            "# a flow\n[flow]\nname = \"x\" # its name\n\n[params]\nn = 3\nf = -1.5\n[params.m]\ndefault = [1, [2], \n 3, # more\n]\n",
            "[cells.a]\nlang = 'sh'\ncode = '''\necho \"$x\" > \\n\n'''\noutputs = { x = \"int\", \"y\" = { type = 'file', keep = true } }\n[cells.a.inputs]\np = {}\n[cells.'b']\nq = []",
            "a = \"\"\"\n é ''' \"\" \"\"\"\nb = ''\nc=\"\"\n[d]\n[e.f]\n[d.g]\n[e.f.h]\n[e.f.i]\n",
            "a = \"\\t\\u00e9\"\r\nb = '''x''''\r\n[ 'c' . d ]\r\ne = { f = 1, # g\n}\r\n",
            "a = [+1, 1_0, 0x1f, 0o7, 0b1, 1e3, inf, -nan]",
            "a.b = 1\na.c.d = { e.f = 2, e.g = 3 }\n[a.h]\ni.j = 4\n[a.h.i.k]\n",
        ] {
            assert!(is_plain(text), "{text:?}");
        }
        let layers = (0..200).map(|i| format!("[cells.c{i}]\ninputs = {{ a = 'c{i}.x' }}\n"));
        assert!(is_plain(&layers.collect::<String>()));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_other() {
        for text in [
            "a = 1\na = 2",
            "a = {b = 1, b = 2}",
            "a = [{b = 1, b = 2}]",
            "a = 01",
            "a = 1979-05-27",
            "a = 07:32:00",
            "a = \"\\q\"",
            "[[a]]",
            "[a]\n[a]",
            "[a.b]\n[a]",
            "a = {b = 1}\n[a.c]",
            "a = {b = 1}\na.c = 1",
            "a = {b = {}, b.c = 1}",
            "a.b = 1\na = 1",
            "a.b = 1\na.b = 1",
            "a.b = 1\n[a]",
            "[a]\nb = 1\n[a.b.c]",
            "[a]\nb.c = 1\n[a.b]",
            "a = 1\r",
            "a = 9999999999999999999",
            "a = 1 b = 2",
            "a = '\u{7}'",
            "# \u{1}",
            "a = truex",
            "a =\n1",
            "a",
            "= 1",
            "[a",
            "a = [1",
            "a = [1\n[b]\n",
            "a = \"x",
            "a = \"\"\"x",
            "[a]\n[b]\n[a.c]\n[a.c]",
            "a = 1\n[a]",
        ] {
            assert!(plain::read(text).is_none(), "{text:?}");
        }
        // More names than are compared one by one.
        let many: String = (0..40).map(|i| format!("[a.k{i}]\n")).collect();
        assert!(is_plain(&many));
        assert!(plain::read(&format!("{many}[a.k39]")).is_none());
        assert!(plain::read(&format!("{many}[a.k3]")).is_none());
        let many: String = (0..40).map(|i| format!("\"k{i}\" = 1\n")).collect();
        assert!(is_plain(&many));
        assert!(plain::read(&format!("{many}k20 = 1")).is_none());
        // A table that is named again long after.
        assert!(is_plain("[a.b]\n[c]\n[a.d]"));
        let many: String = (0..40).map(|i| format!("[a{i}.b]\n")).collect();
        assert!(is_plain(&many));
        assert!(plain::read(&format!("{many}[a3.c]")).is_none());
        // Long texts are read in pieces.
        let cell =
            |i: usize| format!("[cells.c{i}]\na = '{}'\nb = {{ c = [1, 2] }}\n", "x".repeat(900));
        let many = |count: usize| (0..count).map(cell).collect::<String>();
        let head = "[flow]\nname = 'x'\n[params.a]\ndefault = 1\n";
        assert!(is_plain(&format!("{head}{}", many(2000))));
        assert!(is_plain(&format!("{}{head}[cells.d]\n", many(2000))));
        assert!(is_plain(&format!("[cells]\n{}[cells.c1999.e]\n", many(2000))));
        assert!(is_plain(&format!("[cells.c0]\n{}[cells.c1]\na = 1\n", "# x\n".repeat(400_000))));
        // Headers in texts and in lists are none.
        let code = format!("[cells.a]\ncode = '''\n{}'''\n", "[cells.a]\n".repeat(200_000));
        assert!(plain::read(&code).is_none() && whole(&Source::new("", &*code)).is_ok());
        let code = format!("[cells.a]\ncode = '''\n{}'''\n[cells.b]\n", "x\n".repeat(900_000));
        assert!(is_plain(&code));
        for bad in
            ["[cells.c3]\n", "[cells]\n", "[cells.c3.b]\n", "[cells.z\n", "[cells.z]\na = {\n"]
        {
            assert!(plain::read(&format!("{}{bad}", many(2000))).is_none(), "{bad}");
            assert!(plain::read(&format!("{}{bad}{}", many(1000), many(2000))).is_none(), "{bad}");
        }
        assert!(plain::read(&format!("cells = {{}}\n{}", many(2000))).is_none());
        // As deep as it may be, and deeper.
        let nested = |depth| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_plain(&nested(30)));
        assert!(plain::read(&nested(100_000)).is_none());
        assert!(plain::read(&format!("a{} = 1", ".a".repeat(100_000))).is_none());
    }

    /// Pieces of TOML, whole and broken.
    const PIECES: &[&str] = &[
        "[a]",
        "[a.b]",
        "[a.b.c]",
        "[cells.a]",
        "[cells.b]",
        "[cells.a.inputs]",
        "['a']",
        "[a.\"b\"]",
        "\n",
        "\n",
        "\n",
        "\n",
        " ",
        "\t",
        "a",
        "b",
        "c",
        "'a'",
        "\"b\"",
        " = ",
        " = ",
        "=",
        "=",
        ".",
        ",",
        ", ",
        "{",
        "}",
        "[",
        "]",
        "# x",
        "1",
        "-0",
        "2.5",
        "true",
        "false",
        "0",
        "07",
        "-",
        "'x'",
        "\"y\"",
        "''",
        "\"\"",
        "'''",
        "\"\"\"",
        "\"",
        "'",
        "\\",
        "é",
        "a = 1\n",
        "b = { a = 1 }\n",
        "c = [1, 2]\n",
        "a = '''\nx\n'''\n",
        "a.b = 1\n",
        "b.c.d = 1\n",
        "a = {}\n",
        "[a.c]\nb.c = 1\n",
        "[[a]]",
        "\\u00e9",
        "0x1f",
        "1_0",
        "1979-05-27",
        "\r\n",
        "\u{7f}",
    ];

    const KEYS: &[&str] = &["a", "b", "'c'", "\"\\u0061\""];
    const KINDS: &[&str] = &["[]", "[]", "[[]]", "=", "=", "="];
    const VALUES: &[&str] =
        &["1", "'x'", "{}", "[]", "[{ a = 1 }]", "{ a = 1, b.c = 2 }", "{ a.b = 1, a.c = 2 }"];

    /// A header or an entry, of names that meet again.
    fn line() -> impl Strategy<Value = String> {
        let path = prop::collection::vec(prop::sample::select(KEYS), 1..4);
        let kind = prop::sample::select(KINDS);
        (path, kind, prop::sample::select(VALUES)).prop_map(|(path, kind, value)| {
            match (kind, path.join(".")) {
                ("=", path) => format!("{path} = {value}\n"),
                (brackets, path) => format!("{}\n", brackets.replace("[]", &format!("[{path}]"))),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn both_readers_say_the_same(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..14),
        ) {
            is_plain(&pieces.concat());
        }

        #[test]
        fn both_readers_put_tables_in_the_same_places(
            lines in prop::collection::vec(line(), 0..10),
        ) {
            is_plain(&lines.concat());
        }
    }
}
