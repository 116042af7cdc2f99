//! The patterns of a manifest: which are taken.

use polyloom_model::{MAX_PATTERN, MAX_PATTERN_GROUPS, MAX_PATTERN_PROGRAM};
use regex_lite::RegexBuilder;

use crate::findings::{Findings, list};
use crate::problem::Code;
use crate::tree::Node;

/// Checks a pattern: it has no other named groups than `groups`, and `needed` among them, where it is named at all.
pub(super) fn pattern(
    findings: &mut Findings,
    node: &Node,
    text: &str,
    groups: &[&str],
    needed: &str,
) {
    if findings.bundled {
        return;
    }
    let built = RegexBuilder::new(text).multi_line(true).size_limit(MAX_PATTERN_PROGRAM).build();
    match built {
        _ if text.len() > MAX_PATTERN => {
            let message = format!("a pattern of more than {} KiB", MAX_PATTERN >> 10);
            findings.error(Code::BadPattern, &node.span, message, "");
        }
        Ok(regex) if regex.captures_len() > MAX_PATTERN_GROUPS + 1 => {
            let message = format!("a pattern with more than {MAX_PATTERN_GROUPS} groups");
            findings
                .error(Code::BadPattern, &node.span, message, "")
                .help("`(?:…)` groups without taking note of the place");
        }
        Ok(regex) => {
            let names: Vec<&str> = regex.capture_names().flatten().collect();
            let unknown = names.iter().find(|name| !groups.contains(name));
            let message = match unknown {
                Some(name) => format!("unknown group `{name}` in the pattern"),
                None if needed.is_empty() || names.contains(&needed) => return,
                None => format!("the pattern has no group `{needed}`"),
            };
            let found = findings.error(Code::BadPattern, &node.span, message, "");
            match groups {
                [] => found.help("this pattern has no named groups"),
                groups => found.help(format!("groups: {}", list(groups))),
            };
        }
        Err(error) => {
            let message = format!("not a regular expression: {error}");
            findings.error(Code::BadPattern, &node.span, message, "");
        }
    }
}
