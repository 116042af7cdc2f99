//! A whole screen as a text that is the same in every run: paths, ids, times and sizes are replaced.

use std::path::Path;

use regex_lite::Regex;

/// Both streams and the exit code.
#[must_use]
pub fn screen(root: &Path, out: &str, err: &str, code: i32) -> String {
    let mut text = String::new();
    for (name, stream) in [("stdout", out), ("stderr", err)] {
        if !stream.is_empty() {
            text.push_str(&format!("--- {name}\n{}\n", stream.trim_end_matches('\n')));
        }
    }
    text.push_str(&format!("--- exit {code}"));
    filtered(root, &text)
}

/// Replaces what differs from run to run.
fn filtered(root: &Path, text: &str) -> String {
    let text = text.replace(root.to_str().unwrap_or_default(), "[ROOT]");
    let filters = [
        (r"\d{8}-\d{6}-[0-9a-f]{4}", "[RUN]"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "[TIME]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r"\b([0-9a-f]{32}|[0-9a-f]{12})\b", "[HEX]"),
        // Right-aligned columns are as wide as their longest number.
        (r" +(took|memory|size)\b", " $1"),
        (r" +\d+(\.\d+)?(ms|µs| ms| µs|s| s)\b", " [TOOK]"),
        (r" +\d+(\.\d+)? (B|KiB|MiB|GiB)\b", " [SIZE]"),
        (r", \d+ at once", ", [N] at once"),
        (r"[ \t]+\n", "\n"),
    ];
    filters.iter().fold(text, |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}

/// A text with every number replaced, for lines whose numbers are the machine's.
#[must_use]
pub fn without_numbers(text: &str) -> String {
    Regex::new(r"\d+(\.\d+)?").unwrap().replace_all(text, "N").into_owned()
}
