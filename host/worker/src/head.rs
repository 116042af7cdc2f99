//! The head of a code: the lines it begins with that its language compiles once for all codes that begin so. Runs nothing.
//!
//! It is made of names that the manifest lists, never of the code's own bytes: whoever shares a head shares nothing of anybody's code.

use polyloom_model::{HeadSpec, Kind, MAX_PATTERN, MAX_PATTERN_PROGRAM};
use regex_lite::{Regex, RegexBuilder};

use crate::executor::Executor;

/// A head has at most so many lines.
const MOST: usize = 100;
/// It is looked for in so many bytes.
const MOST_BYTES: usize = 32 << 10;
/// A longer line belongs to no head, bytes.
const LONGEST: usize = 200;

/// What names the files that a compiled head was made from, in the form of make's rules.
pub const DEPENDS: &str = "depends";
/// The text of a head, beside its compiled form.
pub const TEXT: &str = "head";

/// How an executor compiles heads here; nothing if it does not.
#[must_use]
pub fn spec(executor: &Executor) -> Option<&HeadSpec> {
    let Kind::Command(command) = &executor.manifest.kind else { return None };
    let spec = command.head.as_ref()?;
    let here = |name: &String| executor.tools.values().any(|found| found.name == *name);
    (spec.with.is_empty() || spec.with.iter().any(here)).then_some(spec)
}

/// The lines of a code's head, as they stand in it, each once.
#[must_use]
pub fn lines(spec: &HeadSpec, code: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let (Some(line), Some(skip)) = (built(&spec.line), built(&spec.skip)) else { return lines };
    // Only whole lines.
    let code = match code.get(..MOST_BYTES) {
        Some(begin) => &begin[..begin.iter().rposition(|&byte| byte == b'\n').unwrap_or(0)],
        None => code,
    };
    for text in code.split(|&byte| byte == b'\n') {
        let Some(text) = std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST) else {
            break;
        };
        let whole = |found: regex_lite::Match<'_>| found.range() == (0..text.len());
        let captures = line.captures(text).filter(|all| all.get(0).is_some_and(whole));
        if let Some(name) = captures.and_then(|all| all.name("name").map(|name| name.as_str())) {
            if !spec.names.contains(name) || lines.len() == MOST {
                break;
            }
            let text = spec.text.replace("{name}", name);
            if !lines.contains(&text) {
                lines.push(text);
            }
        } else if !skip.find(text).is_some_and(whole) {
            break;
        }
    }
    lines
}

fn built(pattern: &str) -> Option<Regex> {
    if pattern.len() > MAX_PATTERN {
        return None;
    }
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_PROGRAM).build().ok()
}

/// The files that rules of make name behind their targets: <https://www.gnu.org/software/make/manual/html_node/Rule-Syntax.html>. Only whole paths.
#[must_use]
pub fn depends(rules: &str) -> Vec<String> {
    let mut files = Vec::new();
    for rule in rules.replace("\\\n", " ").lines() {
        let Some((_, named)) = rule.split_once(": ") else { continue };
        let mut file = String::new();
        let mut letters = named.chars().chain([' ']).peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if matches!(letters.peek(), Some(' ' | '#' | '\\')) => {
                    file.extend(letters.next());
                }
                '$' if letters.peek() == Some(&'$') => file.extend(letters.next()),
                ' ' | '\t' | '\r' => {
                    let whole = std::mem::take(&mut file);
                    if whole.starts_with('/') && !files.contains(&whole) {
                        files.push(whole);
                    }
                }
                other => file.push(other),
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{depends, lines};

    fn spec() -> polyloom_model::HeadSpec {
        polyloom_model::HeadSpec {
            line: r"[ \t]*#[ \t]*include[ \t]*<(?P<name>[a-z_.]+)>[ \t]*(//[^\\\r]*)?\r?"
                .to_owned(),
            skip: r"[ \t]*(//[^\\\r]*)?\r?".to_owned(),
            names: ["iostream", "vector", "map"].map(str::to_owned).into(),
            text: "#include <{name}>".to_owned(),
            with: Vec::new(),
            argv: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn names(code: &str) -> String {
        lines(&spec(), code.as_bytes()).join(";").replace("#include ", "")
    }

    #[test]
    fn a_head_is_what_stands_before_anything_that_could_matter() {
        for (code, head) in [
            (
                "#include <iostream>\n#include <vector>\nint main(){}\n#include <map>",
                "<iostream>;<vector>",
            ),
            ("\n// words\n  #  include<map> // more\r\n\n#include <iostream>", "<map>;<iostream>"),
            ("#include <map>\n#include <map>\n", "<map>"),
            ("#include <map>\n#define X\n#include <vector>\n", "<map>"),
            ("#include <map>\n#include \"x.h\"\n#include <vector>\n", "<map>"),
            ("#include <map>\n#include <other>\n#include <vector>\n", "<map>"),
            ("#define X 1\n#include <map>\n", ""),
            ("#if 0\n#include <map>\n#endif\n", ""),
            ("/*\n#include <map>\n*/\n", ""),
            ("#include <map> /*\n#include <vector>\n*/\n", ""),
            ("// goes on \\\n#include <map>\n", ""),
            ("#include <map> // goes on \\\n#include <vector>\n", ""),
            ("#include <map> int x;\n", ""),
            ("\u{feff}#include <map>\n", ""),
            ("// one\r int x;\n#include <map>\n", ""),
            ("int x; #include <map>\n", ""),
            ("", ""),
        ] {
            assert_eq!(names(code), head, "{code:?}");
        }
        assert!(lines(&spec(), b"#include <map>\n\xff\n#include <vector>").len() == 1);
        let far = format!("{}#include <map>\n", "\n".repeat(40_000));
        assert_eq!(names(&far), "");
        let cut = format!("{}#include <map>  int x;\n", "\n".repeat((32 << 10) - 15));
        assert_eq!(names(&cut), "", "the end of the line counts");
        let long = format!("//{}\n#include <map>\n", "x".repeat(300));
        assert_eq!(names(&long), "");
    }

    #[test]
    fn rules_of_make_name_files() {
        let rules = "/cell/out/head.gch: /cell/code/head /usr/include/a.h \\\n /usr/a\\ b.h \\\n  /usr/$$x relative.h\n/usr/include/a.h:\n";
        assert_eq!(
            depends(rules),
            ["/cell/code/head", "/usr/include/a.h", "/usr/a b.h", "/usr/$x"]
        );
        assert!(depends("nothing").is_empty());
    }
}
