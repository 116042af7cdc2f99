//! What a kernel says of an error, as a diagnostic: in words, and with a line of the cell where one can be found. Knows no socket.

use std::sync::LazyLock;

use polyloom_sdk::{Diagnostic, Severity};
use regex_lite::Regex;

use crate::message::{Message, text};

/// Longer words are of no use to a reader.
const LONGEST: usize = 8 << 10;

/// Colours and other commands to a terminal.
static ESCAPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("\x1b(?:\\[[0-9;:?]*[A-Za-z]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\))").ok()
});
/// `Cell In[3], line 2` (IPython, xeus-python), `In[3]:2` (IJulia).
static PLACE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\bIn ?\[\s*[0-9]+\](?:, line |:)([0-9]{1,9})\b").ok());
/// `----> 2 code`, below `Input In [3], in …` or `<ipython-input-3-…>` (IPython before 8.5).
static ARROW: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:Input In \[|<ipython-input-)[^\n]*\n(?:[^\n]+\n)*?-+> ([0-9]{1,9})\b").ok()
});

/// A text without commands to a terminal.
pub fn plain(text: &str) -> String {
    let plain = ESCAPES.as_ref().map(|escapes| escapes.replace_all(text, "").into_owned());
    let plain = plain.unwrap_or_else(|| text.to_owned());
    plain.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// The traceback of an error as one text that ends with a line feed; empty where there is none.
pub fn traceback(error: &Message) -> String {
    let lines = error.content.get("traceback").and_then(|lines| lines.as_array());
    let mut whole = String::new();
    for line in lines.into_iter().flatten() {
        whole.push_str(plain(&text(line)).trim_end_matches('\n'));
        whole.push('\n');
    }
    whole
}

/// An error, or a reply that tells one.
pub fn diagnostic(error: &Message) -> Diagnostic {
    let (name, value) = (plain(&error.text("ename")), plain(&error.text("evalue")));
    let mut message = match (name.trim(), value.trim()) {
        ("", "") => "the kernel tells of an error and not which".to_owned(),
        // bash_kernel and others of the kind.
        ("", value) if value.parse::<u32>().is_ok() => format!("exit status {value}"),
        ("", words) | (words, "") => words.to_owned(),
        (name, value) => format!("{name}: {value}"),
    };
    message.truncate(message.floor_char_boundary(LONGEST));
    let mut diagnostic = Diagnostic::new(Severity::Error, message);
    diagnostic.line = line(&traceback(error));
    diagnostic
}

/// The innermost place in the cell.
fn line(traceback: &str) -> Option<u32> {
    let last = |pattern: &Option<Regex>| {
        let found = pattern.as_ref()?.captures_iter(traceback).last()?;
        found.get(1)?.as_str().parse().ok().filter(|line| *line > 0)
    };
    last(&PLACE).or_else(|| last(&ARROW))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn error(content: Value) -> Message {
        let Value::Object(content) = content else { panic!("a table") };
        Message { kind: "error".to_owned(), parent: String::new(), content }
    }

    #[test]
    fn errors_are_told_in_words_and_with_the_innermost_line() {
        let ipython = error(json!({
            "ename": "ValueError", "evalue": "boom",
            "traceback": [
                "\u{1b}[31m---------\u{1b}[39m",
                "\u{1b}[31mValueError\u{1b}[39m   Traceback (most recent call last)",
                "\u{1b}[36mCell\u{1b}[39m\u{1b}[36m \u{1b}[39m\u{1b}[32mIn[1]\u{1b}[39m\u{1b}[32m, line 9\u{1b}[39m\n      7 \n\u{1b}[32m----> \u{1b}[39m\u{1b}[32m9\u{1b}[39m f()",
                "\u{1b}[36mCell In[1], line 2\u{1b}[39m, in f()\n----> 2 raise ValueError",
                "File /usr/lib/python3/site-packages/x.py:77, in g()",
            ],
        }));
        let told = diagnostic(&ipython);
        assert_eq!((told.message.as_str(), told.line), ("ValueError: boom", Some(2)));
        assert!(traceback(&ipython).starts_with("---------\nValueError   Traceback"));
    }

    #[test]
    fn other_kernels_and_older_ones_have_other_forms() {
        for (traceback, line) in [
            (json!(["Input In [4], in <cell line: 3>()\n      1 a\n----> 3 b"]), Some(3)),
            (json!(["<ipython-input-1-0a1b2c> in <module>\n      2 a\n----> 5 b"]), Some(5)),
            (json!(["Stacktrace:", " [1] top-level scope", "   @ In[3]:12"]), Some(12)),
            (json!(["  Cell In[2], line 7\n    x = = 1\n"]), Some(7)),
            (json!(["/usr/lib/x.py in f()\n----> 5 b"]), None),
            (json!(["Cell In[1], line 99999999999"]), None),
            (json!(["Cell In[1], line 0"]), None),
            (json!("none"), None),
            (json!([1, {"a": 2}]), None),
        ] {
            let told = diagnostic(&error(json!({"ename": "E", "traceback": traceback})));
            assert_eq!((told.message.as_str(), told.line), ("E", line), "{traceback}");
        }
        let words = |content| diagnostic(&error(content)).message;
        assert_eq!(
            words(json!({"ename": "", "evalue": "127", "traceback": []})),
            "exit status 127"
        );
        assert_eq!(words(json!({"ename": "", "evalue": "no\u{1b}]0;title\u{7} way\r"})), "no way");
        assert_eq!(words(json!({"ename": 7})), "the kernel tells of an error and not which");
        assert!(words(json!({"evalue": "é".repeat(100_000)})).len() <= LONGEST);
    }
}
