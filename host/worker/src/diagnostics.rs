//! What compilers and interpreters print, read as diagnostics.
//!
//! From text to plain data. The text comes from a cell and is hostile: whatever it is, reading takes time linear in it, or a
//! pattern is given up after a while; it yields at most [`MAX_DIAGNOSTICS`] and never fails. Knows no cell, no sandbox and no language: what differs between tools
//! is in the manifest's `[diagnostics]`.

use std::fmt;
use std::time::{Duration, Instant};

use polyloom_model::{MAX_PATTERN, MAX_PATTERN_GROUPS, MAX_PATTERN_PROGRAM};
use regex_lite::{Captures, Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// More are of no use to a reader.
pub const MAX_DIAGNOSTICS: usize = 200;
/// Longer messages are cut.
pub const MAX_MESSAGE: usize = 8 * 1024;
/// GCC's output beyond this is not read; it prints what is wrong first.
const MAX_GCC_TEXT: usize = 4 << 20;
/// A pattern reads this much from the beginning and from the end: compilers begin with what matters, interpreters end with it.
const MAX_REGEX_TEXT: usize = 64 << 10;
/// Matches that say nothing are passed over, this many of them.
const MAX_MATCHES: usize = 16 * MAX_DIAGNOSTICS;
/// After this long a pattern is not tried again; what it found counts.
const MAX_PATTERN_TIME: Duration = Duration::from_secs(2);
/// Text that looks like the beginning of GCC's JSON and is not could make the parser start over on every line.
const MAX_JSON_ATTEMPTS: usize = 16;

/// How a tool prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// GCC's `-fdiagnostics-format=json`, mixed with the text of gcc, clang and linkers.
    Gcc,
    /// A pattern with the named groups `message` and any of `file`, `line`, `col`, `severity`, `code`; `^` and `$` match at lines.
    Regex(String),
}

/// One message of a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diag {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// What it says, at most [`MAX_MESSAGE`] bytes.
    pub message: String,
    /// The tool's name for this kind of message (`-Wunused-variable`).
    pub code: Option<String>,
    /// The file as the tool wrote it, but the cell's own file always in full.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1.
    pub col: Option<u32>,
    /// The last line it is about.
    pub end_line: Option<u32>,
    /// The column after the last character it is about.
    pub end_col: Option<u32>,
}

/// Reads `text`. `code_file` is the path of the cell's file as the tool was given it.
#[must_use]
pub fn parse(format: &Format, text: &str, code_file: &str) -> Vec<Diag> {
    let mut found = match format {
        Format::Gcc => gcc(cut(text, MAX_GCC_TEXT)),
        Format::Regex(pattern) => by_pattern(pattern, text),
    };
    for diag in &mut found {
        diag.message.truncate(cut(&diag.message, MAX_MESSAGE).len());
        diag.code.take_if(|code| code.len() > 256);
        diag.file.take_if(|file| file.len() > 4096);
        if let Some(file) = &mut diag.file
            && code_file.rsplit('/').next() == Some(file.as_str())
        {
            code_file.clone_into(file);
        }
    }
    found
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

// ---- gcc, clang, linkers ----------------------------------------------------------------------------------------

fn gcc(text: &str) -> Vec<Diag> {
    let mut found = Vec::new();
    let mut function = None;
    let mut attempts = 0;
    let mut rest = text;
    while !rest.is_empty() && found.len() < MAX_DIAGNOSTICS {
        if rest.starts_with('[') && attempts < MAX_JSON_ATTEMPTS {
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
            let length = match stream.next() {
                Some(Ok(_)) => Some(stream.byte_offset()),
                _ => None,
            };
            // Read a second time to keep what a cut-off array holds.
            let mut json = serde_json::Deserializer::from_str(rest);
            let whole = json_array(&mut json, &mut found);
            attempts += usize::from(!whole);
            rest = match (whole, length) {
                (true, Some(length)) => &rest[length..],
                // Words inside of broken JSON are not messages.
                _ => after_line(rest),
            };
            continue;
        }
        let line = rest.lines().next().unwrap_or_default();
        rest = after_line(rest);
        // Most lines of most texts are nobody's message.
        if line.contains(": ") {
            let said = header_line(line).or_else(|| tool_line(line));
            found.extend(said.or_else(|| linker_line(line, &mut function)));
        }
    }
    let summary = |diag: &Diag| {
        diag.line.is_none()
            && (diag.message.starts_with("ld returned ")
                || diag.message.starts_with("linker command failed"))
    };
    if found.iter().any(|diag| diag.severity == "error" && !summary(diag)) {
        found.retain(|diag| !summary(diag));
    }
    found
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

/// Reads the array's diagnostics into `found`, which keeps them when the array turns out to be broken.
fn json_array<'de, D: Deserializer<'de>>(json: D, found: &mut Vec<Diag>) -> bool {
    struct Array<'f>(&'f mut Vec<Diag>);

    impl<'de> DeserializeSeed<'de> for Array<'_> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
            json.deserialize_seq(self)
        }
    }

    impl<'de> Visitor<'de> for Array<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of diagnostics")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
            while self.0.len() < MAX_DIAGNOSTICS {
                let Some(one) = array.next_element::<GccDiag>()? else { return Ok(()) };
                self.0.push(one.into());
            }
            while array.next_element::<IgnoredAny>()?.is_some() {}
            Ok(())
        }
    }

    Array(found).deserialize(json).is_ok()
}

/// One element of GCC's array ("Diagnostic Message Formatting Options" in its manual). Its children, which are notes, are left out.
#[derive(Deserialize)]
struct GccDiag {
    kind: String,
    message: String,
    #[serde(default)]
    option: Option<String>,
    #[serde(default)]
    locations: FirstLocation,
}

/// The first of the locations: the one the message is about.
#[derive(Default)]
struct FirstLocation(Option<GccLocation>);

impl<'de> Deserialize<'de> for FirstLocation {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct First;

        impl<'de> Visitor<'de> for First {
            type Value = FirstLocation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of locations")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<FirstLocation, A::Error> {
                let first = array.next_element()?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstLocation(first))
            }
        }

        json.deserialize_seq(First)
    }
}

#[derive(Deserialize)]
struct GccLocation {
    caret: Option<GccPoint>,
    finish: Option<GccPoint>,
}

#[derive(Deserialize)]
struct GccPoint {
    file: String,
    line: u32,
    #[serde(default)]
    column: Option<u32>,
}

impl From<GccDiag> for Diag {
    fn from(gcc: GccDiag) -> Self {
        let mut diag = Diag {
            severity: severity(&gcc.kind).to_owned(),
            message: gcc.message,
            code: gcc.option,
            ..Diag::default()
        };
        let Some(GccLocation { caret: Some(caret), finish }) = gcc.locations.0 else { return diag };
        if let Some(finish) = finish.filter(|finish| finish.file == caret.file) {
            diag.end_line = Some(finish.line);
            diag.end_col = finish.column.map(|column| column.saturating_add(1));
        }
        diag.file = Some(caret.file);
        diag.line = Some(caret.line);
        diag.col = caret.column.filter(|column| *column > 0);
        diag
    }
}

/// `polyloom: MESSAGE`: what the SDK's C header says before it ends a cell.
fn header_line(line: &str) -> Option<Diag> {
    let message = line.strip_prefix("polyloom: ")?.to_owned();
    Some(Diag { severity: "error".to_owned(), message, ..Diag::default() })
}

/// `FILE:LINE:COL: error: MESSAGE [-Wcode]`, `FILE:LINE: …`, `TOOL: error: MESSAGE`.
fn tool_line(line: &str) -> Option<Diag> {
    // The capital ones are the assembler's.
    let marks = [
        ": fatal error: ",
        ": error: ",
        ": warning: ",
        ": note: ",
        ": Fatal error: ",
        ": Error: ",
        ": Warning: ",
    ];
    let (at, word) = marks.iter().filter_map(|mark| Some((line.find(mark)?, *mark))).min()?;
    let mut diag = Diag {
        severity: severity(word.trim_matches([':', ' '])).to_owned(),
        message: line[at + word.len()..].to_owned(),
        ..Diag::default()
    };
    if let Some((message, code)) =
        diag.message.strip_suffix(']').and_then(|message| message.rsplit_once(" ["))
        && code.starts_with("-W")
    {
        diag.code = Some(code.to_owned());
        diag.message = message.to_owned();
    }
    let mut place = line[..at].rsplitn(3, ':');
    let (last, middle, first) = (place.next()?, place.next(), place.next());
    match (first, middle.map(str::parse), last.parse()) {
        (Some(file), Some(Ok(line)), Ok(col)) => {
            diag.file = Some(file.to_owned());
            diag.line = Some(line);
            diag.col = Some(col);
        }
        (_, Some(_), Ok(number)) => {
            diag.file = Some(line[..at - last.len() - 1].to_owned());
            diag.line = Some(number);
        }
        // Without a place it is the driver or the linker that speaks: `collect2: error: …`.
        _ if line[..at].contains(['/', ' ', ':']) => return None,
        _ => {}
    }
    Some(diag)
}

/// What ld says: `SOURCE:(.text+0x9): undefined reference to …`, after a line that names the function.
fn linker_line(line: &str, function: &mut Option<String>) -> Option<Diag> {
    if let Some((_, name)) = line.split_once(": in function `") {
        *function = name.split_once('\'').map(|(name, _)| name.chars().take(200).collect());
        return None;
    }
    let at = [": undefined reference to ", ": multiple definition of ", ": cannot find "]
        .iter()
        .filter_map(|words| line.find(words))
        .min()?;
    let mut diag = Diag {
        severity: "error".to_owned(),
        message: line[at + 2..].to_owned(),
        ..Diag::default()
    };
    if let Some(function) = function
        && diag.message.starts_with("undefined")
    {
        diag.message = format!("{} in function `{function}`", diag.message);
    }
    let place = line[..at].strip_prefix("/usr/bin/ld: ").unwrap_or(&line[..at]);
    if let Some((file, number)) = place.rsplit_once(':')
        && !file.ends_with(".o")
    {
        diag.line = number.parse().ok();
        // `ld: cannot find …` names itself, not a file.
        diag.file = (diag.line.is_some() || number.starts_with('(')).then(|| file.to_owned());
    }
    Some(diag)
}

fn severity(word: &str) -> &'static str {
    if word.eq_ignore_ascii_case("warning") || word.eq_ignore_ascii_case("warn") {
        "warning"
    } else if ["note", "info", "information", "hint", "help"]
        .iter()
        .any(|w| word.eq_ignore_ascii_case(w))
    {
        "note"
    } else {
        "error"
    }
}

// ---- patterns of manifests --------------------------------------------------------------------------------------

fn by_pattern(pattern: &str, text: &str) -> Vec<Diag> {
    // A pattern that does not compile was reported when its manifest was read.
    let built = RegexBuilder::new(pattern).multi_line(true).size_limit(MAX_PATTERN_PROGRAM).build();
    let Ok(regex) = built else { return Vec::new() };
    if pattern.len() > MAX_PATTERN || regex.captures_len() > MAX_PATTERN_GROUPS + 1 {
        return Vec::new();
    }
    let until = Instant::now() + MAX_PATTERN_TIME;
    match ends(text) {
        (all, "") => matches(&regex, all, until).take(MAX_DIAGNOSTICS).collect(),
        (head, tail) => [head, tail]
            .into_iter()
            .flat_map(|part| matches(&regex, part, until).take(MAX_DIAGNOSTICS / 2))
            .collect(),
    }
}

/// One search is linear in the text, all of them are not: each may look at everything that is left.
fn matches(regex: &Regex, text: &str, until: Instant) -> impl Iterator<Item = Diag> {
    regex
        .captures_iter(text)
        .take(MAX_MATCHES)
        .take_while(move |_| Instant::now() < until)
        .filter_map(|groups| of_match(&groups))
}

fn of_match(groups: &Captures<'_>) -> Option<Diag> {
    let get =
        |name| groups.name(name).map(|group| group.as_str().trim()).filter(|text| !text.is_empty());
    let number =
        |name| get(name).and_then(|text: &str| text.parse().ok()).filter(|number| *number > 0);
    Some(Diag {
        severity: severity(get("severity").unwrap_or("error")).to_owned(),
        message: get("message")?.to_owned(),
        code: get("code").map(str::to_owned),
        file: get("file").map(str::to_owned),
        line: number("line").or_else(|| number("line2")),
        col: number("col"),
        end_line: None,
        end_col: None,
    })
}

/// The beginning and the end, each of whole lines where it can be; the end is empty when the beginning is all.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= 2 * MAX_REGEX_TEXT {
        return (text, "");
    }
    let head = cut(text, MAX_REGEX_TEXT);
    let head = head.rfind('\n').map_or(head, |end| &head[..=end]);
    let tail = &text[text.ceil_char_boundary(text.len() - MAX_REGEX_TEXT)..];
    let tail = tail.find('\n').map_or(tail, |end| &tail[end + 1..]);
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "/cell/code/load.c";

    fn shown(found: &[Diag]) -> Vec<String> {
        let number = |n: Option<u32>| n.map_or("-".to_owned(), |n| n.to_string());
        let show = |d: &Diag| {
            format!(
                "{} {}:{}:{}-{}:{} {:?} {}",
                d.severity,
                d.file.as_deref().unwrap_or("-"),
                number(d.line),
                number(d.col),
                number(d.end_line),
                number(d.end_col),
                d.code.as_deref().unwrap_or(""),
                d.message
            )
        };
        found.iter().map(show).collect()
    }

    fn of_gcc(text: &str) -> Vec<String> {
        shown(&parse(&Format::Gcc, text, CODE))
    }

    fn of_regex(pattern: &str, text: &str) -> Vec<String> {
        shown(&parse(&Format::Regex(pattern.to_owned()), text, CODE))
    }

    #[test]
    fn the_assembler_is_understood() {
        let text = "[]\n/tmp/x.s: Assembler messages:\n/tmp/x.s:5: Error: file not found: /nope\n";
        assert_eq!(of_gcc(text), [r#"error /tmp/x.s:5:---:- "" file not found: /nope"#]);
    }

    #[test]
    fn gcc_json_is_read_with_the_linker_text_around_it() {
        let text = r#"[{"kind": "warning", "column-origin": 1, "option": "-Wunused-variable", "escape-source": false, "children": [], "locations": [{"caret": {"byte-column": 18, "display-column": 18, "line": 1, "file": "/cell/code/load.c", "column": 18}, "finish": {"byte-column": 20, "display-column": 20, "line": 1, "file": "/cell/code/load.c", "column": 20}}], "option_url": "https://gcc.gnu.org", "message": "unused variable 'abc'"}, {"kind": "fatal error", "children": [{"kind": "note", "locations": [], "message": "n"}], "locations": [], "message": "no input"}]
[]
/usr/bin/ld: /tmp/ccWkT1Xy.o: in function `main':
load.c:(.text+0x9): undefined reference to `foo'
/usr/bin/ld: cannot find -lnope: No such file or directory
collect2: error: ld returned 1 exit status
"#;
        assert_eq!(
            of_gcc(text),
            [
                "warning /cell/code/load.c:1:18-1:21 \"-Wunused-variable\" unused variable 'abc'",
                "error -:-:---:- \"\" no input",
                "error /cell/code/load.c:-:---:- \"\" undefined reference to `foo' in function `main`",
                "error -:-:---:- \"\" cannot find -lnope: No such file or directory",
            ]
        );
    }

    #[test]
    fn text_of_gcc_clang_and_mold_is_read() {
        let text = "In file included from x.h:1:\n\
                    /cell/code/load.c:3:5: error: use of undeclared identifier 'x'\n\
                    load.c:4: warning: old style [-Wold]\n\
                    /a b/x.h:7:1: fatal error: gone\n\
                    mold: error: undefined symbol: foo\n>>> referenced by /tmp/x.o\n\
                    collect2: error: ld returned 1 exit status\n";
        assert_eq!(
            of_gcc(text),
            [
                "error /cell/code/load.c:3:5--:- \"\" use of undeclared identifier 'x'",
                "warning /cell/code/load.c:4:---:- \"-Wold\" old style",
                "error /a b/x.h:7:1--:- \"\" gone",
                "error -:-:---:- \"\" undefined symbol: foo",
            ]
        );
        assert_eq!(of_gcc("collect2: error: ld returned 1 exit status").len(), 1);
        let header = "noise\npolyloom: input `x`: expected int, found str \"a\"\n";
        assert_eq!(
            of_gcc(header),
            ["error -:-:---:- \"\" input `x`: expected int, found str \"a\""]
        );
    }

    #[test]
    fn an_array_that_was_cut_off_gives_what_it_held() {
        let text = r#"[{"kind": "error", "message": "a", "locations": []}, {"kind": "err"#;
        assert_eq!(of_gcc(text), ["error -:-:---:- \"\" a"]);
    }

    #[test]
    fn patterns_match_at_lines_and_over_several() {
        let bash = r"^(?P<file>[^:\n]+): line (?P<line>\d+): (?P<message>.+)$";
        assert_eq!(
            of_regex(bash, "hello\n/cell/code/load.c: line 2: nope: command not found\nbye\n"),
            ["error /cell/code/load.c:2:---:- \"\" nope: command not found"]
        );
        let tcl = r#"^(?P<message>.+)\n(?:    \S.*\n|.*\n)*?    \(file "(?P<file>[^"\n]+)" line (?P<line>\d+)\)"#;
        let text = "invalid command name \"foo\"\n    while executing\n\"foo\"\n    (file \"load.c\" line 3)\n";
        assert_eq!(
            of_regex(tcl, text),
            ["error /cell/code/load.c:3:---:- \"\" invalid command name \"foo\""]
        );
        assert_eq!(of_regex("(", text), [""; 0]);
    }

    #[test]
    fn the_end_of_a_long_text_is_read_too() {
        let text = format!("x: 1: first\n{}x: 2: last\n", "noise\n".repeat(100_000));
        let found = of_regex(r"^(?P<file>\w+): (?P<line>\d+): (?P<message>.+)$", &text);
        assert_eq!(found, ["error x:1:---:- \"\" first", "error x:2:---:- \"\" last"]);
    }

    #[test]
    fn amounts_are_bounded() {
        let line = format!("a.c:1:2: error: {}\n", "é".repeat(10_000));
        let found = parse(&Format::Gcc, &line.repeat(300), CODE);
        assert_eq!(found.len(), MAX_DIAGNOSTICS);
        assert!(found.iter().all(|diag| diag.message.len() <= MAX_MESSAGE));
        let json = format!("[{}]", vec![r#"{"kind":"error","message":"m"}"#; 1000].join(","));
        assert_eq!(parse(&Format::Gcc, &json, CODE).len(), MAX_DIAGNOSTICS);
        let found = parse(&Format::Regex("(?P<message>.)".to_owned()), &"a".repeat(1 << 20), CODE);
        assert_eq!(found.len(), MAX_DIAGNOSTICS);
    }

    #[test]
    fn hostile_text_is_read_in_linear_time() {
        let pieces = [
            "[\n",
            "[{},\n",
            "[[1],\n",
            "[{\"kind\":\"error\",\"message\":\"m\",\"locations\":[\n",
            ": error: ",
            ":::::\n",
            "\u{0}\u{7f}é\n",
            "a: in function `",
            "undefined reference to ",
            "[\"",
            "    (file \"x\" line ",
        ];
        let tcl = r#"^(?P<message>.+)\n(?:    \S.*\n|.*\n)*?    \(file "(?P<file>[^"\n]+)" line (?P<line>\d+)\)"#;
        for piece in pieces {
            for format in [Format::Gcc, Format::Regex(tcl.to_owned())] {
                let text = piece.repeat((1 << 18) / piece.len());
                let begun = Instant::now();
                let found = parse(&format, &text, CODE);
                assert!(found.len() <= MAX_DIAGNOSTICS);
                // Quadratic time would be hours.
                assert!(begun.elapsed().as_secs() < 60, "{piece:?} {format:?}");
            }
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let text = "a".repeat(2 * MAX_REGEX_TEXT);
        for pattern in [
            // Every match is empty and looks at all that is left.
            r"(?:.*y)|(?P<message>)".to_owned(),
            r"(?P<message>(?:.*y)?)".to_owned(),
            r"(?P<message>(?:a?){200}b)|".to_owned(),
            format!("(?P<message>{}b)|", "(?:a|a|aa)*".repeat(30)),
        ] {
            let begun = Instant::now();
            assert!(parse(&Format::Regex(pattern.clone()), &text, CODE).is_empty(), "{pattern}");
            // The time of all searches is bounded but for the last one; without that it would be hours.
            assert!(begun.elapsed().as_secs() < 120, "{pattern}");
        }
        for refused in [
            "(?P<message>(?:a{100}){100})".to_owned(),
            format!("(?P<message>a){}", "()".repeat(MAX_PATTERN_GROUPS)),
            format!("(?P<message>a){}", " ".repeat(MAX_PATTERN)),
        ] {
            assert_eq!(parse(&Format::Regex(refused), "a", CODE), []);
        }
    }

    #[test]
    fn positions_that_are_no_positions_are_absent() {
        let found = of_regex(
            r"(?P<file>\w+):(?P<line>\d+):(?P<col>\d+) (?P<message>.+)",
            "a:0:99999999999 m",
        );
        assert_eq!(found, ["error a:-:---:- \"\" m"]);
        let json =
            r#"[{"kind":"error","message":"m","locations":[{"caret":{"file":"x","line":-1}}]}]"#;
        assert_eq!(of_gcc(json), [""; 0]);
    }
}
