//! Making foreign text safe to show: whatever a cell wrote, no control sequence reaches a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character could steer a terminal or make text read otherwise than it is.
fn is_hostile(c: char) -> bool {
    c.is_control()
        // Direction overrides, isolates and marks ("Trojan Source", CVE-2021-42574).
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
        // Line and paragraph separators, invisible tags, interlinear marks, the byte order mark.
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, keep: fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hostile(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !is_hostile(c) || keep(c) {
            out.push(c);
            continue;
        }
        // Writing to a string does not fail.
        let _ = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if (c as u32) < 0x100 => write!(out, "\\x{:02x}", c as u32),
            c => write!(out, "\\u{{{:x}}}", c as u32),
        };
    }
    Cow::Owned(out)
}

/// The text with every control character and every character that changes reading direction as an escape; line
/// feeds and tabs stay.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Like [`escape`] for text that has to stay on one line.
#[must_use]
pub fn escape_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A path as a shell takes it.
#[must_use]
pub fn quote(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

/// JSON whose texts hold no character that steers a terminal or turns the reading direction: each is written as an
/// escape of JSON, so that a reader gets what was meant. `text` must be JSON; only the layout's line feeds stay.
#[must_use]
pub fn json_text(text: &str) -> Cow<'_, str> {
    let steers = |c: char| is_hostile(c) && c != '\n';
    // Nearly all is of this kind, and a loop over bytes is many times faster.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return Cow::Borrowed(text);
    }
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_keeps_its_meaning_without_characters_that_steer() {
        let hostile = "a\u{9b}2J\u{7f}\u{202e}é\u{e0001}\u{1b}\n";
        let text = serde_json::to_string(hostile).unwrap();
        let safe = json_text(&text);
        assert!(!safe.chars().any(is_hostile), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), hostile);
    }

    #[test]
    fn sequences_that_steer_terminals_become_visible() {
        let text = "\u{1b}]0;x\u{7}\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\0\u{fffd}";
        assert_eq!(escape(text), "\\x1b]0;x\\x07\\x1b[2J\\x1b]52;c;aGk=\\x07\\x00\u{fffd}");
        assert_eq!(escape("a\u{9b}2J b\u{7f}"), "a\\x9b2J b\\x7f");
        assert_eq!(escape("\u{202e}txt.exe\u{2066}"), "\\u{202e}txt.exe\\u{2066}");
        assert_eq!(escape("a\tb\nc"), "a\tb\nc");
        assert_eq!(escape_line("a\tb\r\n"), "a\\tb\\r\\n");
        assert!(matches!(escape("plain ünïcode 漢字 🙂"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(text in any::<String>()) {
            prop_assert!(!escape_line(&text).chars().any(is_hostile));
            prop_assert!(!escape(&text).chars().any(|c| is_hostile(c) && c != '\n' && c != '\t'));
        }
    }
}
