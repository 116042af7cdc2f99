//! Names of files that other systems can't hold, or hold as one. Knows names; does not know who wrote the files.

use std::collections::BTreeMap;

/// Names that Windows keeps for devices, whatever their extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Names shown before the rest is only counted.
const SHOWN: usize = 5;

/// What of these relative paths can't be written everywhere, in words, or nothing.
pub fn problem<'p>(paths: impl Iterator<Item = &'p str>) -> Option<String> {
    let mut odd = Vec::new();
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    for path in paths {
        if let Some(why) = path.split('/').find_map(name_problem) {
            odd.push(format!("`{}` {why}", path.escape_debug()));
        } else if let Some(other) = folded.insert(path.to_lowercase(), path) {
            odd.push(format!(
                "`{}` and `{}` differ in case only",
                other.escape_debug(),
                path.escape_debug()
            ));
        }
    }
    if odd.is_empty() {
        return None;
    }
    let more = odd.len().saturating_sub(SHOWN);
    odd.truncate(SHOWN);
    let mut text = odd.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    Some(text)
}

/// Why one part of a path is no name on Windows ("Naming Files, Paths, and Namespaces" in its documentation).
fn name_problem(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_lowercase();
    let numbered = ["com", "lpt"].iter().any(|port| {
        stem.strip_prefix(port).is_some_and(|rest| {
            matches!(rest, "¹" | "²" | "³")
                || (rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
        })
    });
    if numbered || DEVICES.contains(&stem.as_str()) {
        return Some("is a device elsewhere");
    }
    if name.contains(['<', '>', ':', '"', '|', '?', '*', '\\']) {
        return Some("has a character that means something else elsewhere");
    }
    if name.ends_with(['.', ' ']) {
        return Some("ends with a dot or a blank, which is lost elsewhere");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(paths: &[&str]) -> String {
        problem(paths.iter().copied()).unwrap_or_default()
    }

    #[test]
    fn ordinary_names_are_portable() {
        assert_eq!(
            said(&["a", "a.txt", "b/c.d.e", "console", "nul1", "com", "com10", "-rf", "é"]),
            ""
        );
    }

    #[test]
    fn names_of_devices_are_not_whatever_their_case_and_extension() {
        for name in ["CON", "nul.txt", "Aux.tar.gz", "x/COM1", "lpt9.log", "com¹"] {
            assert!(said(&[name]).contains("device"), "{name}");
        }
    }

    #[test]
    fn characters_and_ends_are_looked_at() {
        assert!(said(&["a:b"]).contains("character"));
        assert!(said(&["x."]).contains("dot or a blank"));
        assert!(said(&["y "]).contains("dot or a blank"));
    }

    #[test]
    fn names_that_differ_in_case_only_are_told_and_long_lists_counted() {
        assert_eq!(said(&["README", "readme"]), "`README` and `readme` differ in case only");
        let many: Vec<String> = (0..9).map(|n| format!("{n}:")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(said(&many).ends_with("and 4 more"));
    }
}
