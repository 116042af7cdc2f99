//! The forms in which a text reaches an output by accident: as it is, and as common encodings write it.
//!
//! Pure. Knows no stream and no search.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One form of one secret.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// The bytes to look for.
    pub bytes: Vec<u8>,
    /// What it is called.
    pub name: &'static str,
    /// Whether programs break it into lines.
    pub wraps: bool,
}

/// All forms of `secret`, the plain one among them; those that are equal once.
pub fn of(secret: &[u8]) -> Vec<Form> {
    let mut all = Forms { seen: BTreeSet::new(), forms: Vec::new() };
    all.add("as it is", false, secret.to_vec());
    base64s(secret, &mut all);
    for digits in ["0123456789abcdef", "0123456789ABCDEF"] {
        all.add("as hex", true, secret.iter().flat_map(|byte| hex(*byte, digits)).collect());
        percents(secret, digits, &mut all);
    }
    let text = std::str::from_utf8(secret).ok();
    if let Some(text) = text {
        escapes(text, &mut all);
        let units = || text.encode_utf16();
        all.add("as UTF-16", false, units().flat_map(u16::to_le_bytes).collect());
        all.add("as UTF-16", false, units().flat_map(u16::to_be_bytes).collect());
    }
    all.add("escaped", false, byte_string(secret, b"\\").into_bytes());
    all.add("escaped", false, byte_string(secret, b"\\'").into_bytes());
    all.add("escaped", false, byte_string(secret, b"\\\"").into_bytes());
    quotes(secret, &mut all);
    all.forms
}

struct Forms {
    seen: BTreeSet<Vec<u8>>,
    forms: Vec<Form>,
}

impl Forms {
    fn add(&mut self, name: &'static str, wraps: bool, bytes: Vec<u8>) {
        if bytes.len() >= 2 && self.seen.insert(bytes.clone()) {
            self.forms.push(Form { bytes, name, wraps });
        }
    }
}

fn hex(byte: u8, digits: &str) -> [u8; 2] {
    let digit = |at: u8| digits.as_bytes()[usize::from(at)];
    [digit(byte >> 4), digit(byte & 15)]
}

/// Base64 in both alphabets. What stands before a secret shifts it by 0, 1 or 2 bytes: of each shift, the characters that the secret
/// alone decides. At its edges up to four bits of it share a character with its neighbours.
fn base64s(secret: &[u8], all: &mut Forms) {
    for last in [*b"+/", *b"-_"] {
        let whole = base64(secret, last, 0);
        let mut padded = whole.clone();
        padded.resize(whole.len().next_multiple_of(4), b'=');
        all.add("as base64", true, padded);
        all.add("as base64", true, whole);
        for shift in 0..3 {
            let shifted = base64(secret, last, shift);
            let from = (shift * 8).div_ceil(6);
            let to = (secret.len() + shift) * 8 / 6;
            all.add("as base64", true, shifted[from..to].to_vec());
        }
    }
}

fn base64(secret: &[u8], last: [u8; 2], zeros: usize) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |six: u32| {
        let at = (six & 63) as usize;
        LETTERS.get(at).copied().unwrap_or_else(|| last[at - LETTERS.len()])
    };
    let bytes: Vec<u8> = std::iter::repeat_n(0, zeros).chain(secret.iter().copied()).collect();
    let mut text = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend((0..=three.len() as u32).map(|at| letter(group >> (18 - 6 * at))));
    }
    text
}

/// Percent-encoding: which characters stay differs between libraries, and a form has `+` for a blank.
fn percents(secret: &[u8], digits: &str, all: &mut Forms) {
    for (stays, blank) in
        [("-_.~", "%20"), ("-_.~/", "%20"), ("-_.!~*'()", "%20"), ("*-._", "+"), ("-_.~", "+")]
    {
        let mut text = Vec::new();
        for &byte in secret {
            if byte == b' ' {
                text.extend(blank.as_bytes());
            } else if byte.is_ascii_alphanumeric() || stays.as_bytes().contains(&byte) {
                text.push(byte);
            } else {
                text.push(b'%');
                text.extend(hex(byte, digits));
            }
        }
        all.add("percent-encoded", false, text);
    }
    let whole = secret.iter().flat_map(|byte| {
        let [high, low] = hex(*byte, digits);
        [b'%', high, low]
    });
    all.add("percent-encoded", false, whole.collect());
}

/// The short escape that JSON, JavaScript, C and Python have for a character.
fn short(c: char) -> Option<char> {
    Some(match c {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        _ => return None,
    })
}

/// Strings of JSON and of its relatives: what else than control characters they escape differs.
fn escapes(text: &str, all: &mut Forms) {
    for escaped in ["\\\"", "\\\"/", "\\", "\\'", "\\`"] {
        for (ascii, html) in [(false, false), (true, false), (false, true)] {
            let mut lower = String::new();
            let mut upper = String::new();
            for c in text.chars() {
                if escaped.contains(c) {
                    lower.extend(['\\', c]);
                    upper.extend(['\\', c]);
                } else if let Some(short) = short(c) {
                    lower.extend(['\\', short]);
                    upper.extend(['\\', short]);
                } else if c.is_control() || (ascii && !c.is_ascii()) || (html && "<>&".contains(c))
                {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing into a text can't fail.
                        let _ = write!(lower, "\\u{unit:04x}");
                        let _ = write!(upper, "\\u{unit:04X}");
                    }
                } else {
                    lower.push(c);
                    upper.push(c);
                }
            }
            all.add("as JSON", false, lower.into_bytes());
            all.add("as JSON", false, upper.into_bytes());
        }
    }
    for apostrophe in ["&#39;", "&#x27;", "&apos;", "'"] {
        let mut html = String::new();
        for c in text.chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str(apostrophe),
                c => html.push(c),
            }
        }
        all.add("as HTML", false, html.into_bytes());
    }
}

/// As C and Python write bytes: `\n` and `\xff`.
fn byte_string(secret: &[u8], escaped: &[u8]) -> String {
    let mut text = String::new();
    for &byte in secret {
        let c = char::from(byte);
        if escaped.contains(&byte) {
            text.extend(['\\', c]);
        } else if let '\n' | '\r' | '\t' = c {
            text.extend(short(c).into_iter().flat_map(|short| ['\\', short]));
        } else if (0x20..0x7f).contains(&byte) {
            text.push(c);
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// As shells quote it.
fn quotes(secret: &[u8], all: &mut Forms) {
    for apostrophe in ["'\\''", "'\"'\"'"] {
        let mut text = Vec::new();
        for &byte in secret {
            match byte {
                b'\'' => text.extend(apostrophe.as_bytes()),
                byte => text.push(byte),
            }
        }
        all.add("quoted", false, text);
    }
    for stays in [&b"-_./:=+@%^,"[..], b"-_./:=+@%", b"-_./"] {
        let mut text = Vec::new();
        for &byte in secret {
            if !byte.is_ascii_alphanumeric() && !stays.contains(&byte) && byte.is_ascii() {
                text.push(b'\\');
            }
            text.push(byte);
        }
        all.add("quoted", false, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(secret: &str, form: &str) {
        let forms = of(secret.as_bytes());
        let shown: Vec<_> = forms.iter().map(|form| String::from_utf8_lossy(&form.bytes)).collect();
        assert!(forms.iter().any(|other| other.bytes == form.as_bytes()), "{form} in {shown:#?}");
    }

    #[test]
    fn every_common_encoding_is_there() {
        has("hunter2!", "aHVudGVyMiE=");
        has("hunter2!", "aHVudGVyMiE");
        has("hunter2!", "68756e7465723221");
        has("hunter2!", "68756E7465723221");
        has("hunter2!", "%68%75%6e%74%65%72%32%21");
        has("a b/c?d", "a%20b%2Fc%3Fd");
        has("a b/c?d", "a%20b/c%3fd");
        has("a b/c?d", "a+b%2Fc%3Fd");
        has("é\"\\\n", "é\\\"\\\\\\n");
        has("é\"\\\n", "\\u00e9\\\"\\\\\\n");
        has("it's it", "it'\\''s it");
        has("it's it", "it'\"'\"'s it");
        has("it's it", "it\\'s\\ it");
        has("a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;");
        has("ab\u{1}c", "ab\\x01c");
        has("ab\u{1}c", "ab\\u0001c");
        has("ab>c", "ab\\u003ec");
        has("abcd", "a\0b\0c\0d\0");
        has("abcd", "\0a\0b\0c\0d");
        has("???>>>", "Pz8_Pj4-");
    }

    #[test]
    fn base64_is_known_behind_any_neighbour() {
        for before in ["", "x", "xy", "xyz", "user:"] {
            for after in ["", "!", "!!", "!!!"] {
                for last in [*b"+/", *b"-_"] {
                    let whole = format!("{before}s3cr3t-t0ken{after}");
                    let encoded = base64(whole.as_bytes(), last, 0);
                    let known = of(b"s3cr3t-t0ken").into_iter().any(|form| {
                        form.name == "as base64"
                            && form.bytes.len() >= 14
                            && encoded.windows(form.bytes.len()).any(|part| part == form.bytes)
                    });
                    assert!(known, "{before:?} {after:?}");
                }
            }
        }
    }

    #[test]
    fn a_plain_word_has_few_forms_and_none_is_shorter_than_four() {
        let forms = of(b"abcd");
        assert!(forms.iter().all(|form| form.bytes.len() >= 4));
        assert!(forms.len() < 20, "{}", forms.len());
    }
}
