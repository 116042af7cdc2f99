//! Limits, retries and the like: the same keys in `[defaults]`, in cells and in manifests.

use std::time::Duration;

use polyloom_model::{
    Level, Levels, Limits, MECHANISMS, Policy, Preset, Retries, parse_duration, parse_size,
};

use crate::findings::{Findings, shown, suggestion};
use crate::keys::{LIMITS, MOST_RETRIES, RETRY, Shape};
use crate::problem::Code;
use crate::tree::{Data, Map, Node};

/// What `[defaults]` and a cell can set besides limits.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    pub retries: Retries,
    pub cache: bool,
    pub policy: Policy,
}

impl Default for Habits {
    fn default() -> Self {
        Self { retries: Retries::default(), cache: true, policy: Policy::default() }
    }
}

/// Reads the habits that `map` has.
pub(crate) fn habits(findings: &mut Findings, map: &Map, habits: &mut Habits) {
    if let Some(node) = map.get("retries")
        && let Some(read) = retries(findings, node)
    {
        habits.retries = read;
    }
    if let Some(node) = map.get("cache")
        && let Some(flag) = findings.flag("cache", node)
    {
        habits.cache = flag;
    }
    let preset = map.get("policy").and_then(|node| preset(findings, node));
    let enforce = map.get("enforce").map(|node| levels(findings, node)).unwrap_or_default();
    habits.policy = std::mem::take(&mut habits.policy).tightened(preset, &enforce);
}

/// A number of further attempts, or a table that says how long they wait, too.
fn retries(findings: &mut Findings, node: &Node) -> Option<Retries> {
    let mut retries = Retries::default();
    let count = |number: i64| u32::try_from(number).unwrap_or(0);
    let Data::Map(map) = &node.data else {
        retries.count = count(findings.int("retries", node, 0, MOST_RETRIES)?);
        return Some(retries);
    };
    let meant = findings.known_keys(map, RETRY, "`retries`");
    match map.get("count") {
        Some(node) => retries.count = count(findings.int("count", node, 0, MOST_RETRIES)?),
        None => {
            if !meant.contains(&"count") {
                findings
                    .error(Code::MissingKey, &node.span, "`retries` has no `count`", "")
                    .help("valid: `retries = 3`, `retries = { count = 3, delay = \"1s\", factor = 2, max_delay = \"60s\" }`");
            }
            return None;
        }
    }
    let wait = |findings: &mut Findings, name: &str| {
        let node = map.get(name)?;
        // No limit of a cell may be nothing, but a delay may.
        if node.as_str().is_some_and(|text| matches!(text, "0s" | "0ms")) {
            return Some(Duration::ZERO);
        }
        parse_duration(&duration(findings, node, name)?).ok()
    };
    retries.delay = wait(findings, "delay").unwrap_or(retries.delay);
    retries.max_delay = wait(findings, "max_delay").unwrap_or(retries.max_delay.max(retries.delay));
    if let Some(node) = map.get("factor")
        && let Some(text) = number(findings, node, "factor", 1.0, 100.0)
    {
        retries.factor = text.parse().unwrap_or(retries.factor);
    }
    if retries.max_delay < retries.delay {
        let span = map.get("max_delay").map_or(&node.span, |node| &node.span);
        findings.error(Code::BadLimit, span, "`max_delay` is less than `delay`", "");
        return None;
    }
    Some(retries)
}

fn preset(findings: &mut Findings, node: &Node) -> Option<Preset> {
    let text = findings.text("policy", node)?;
    match Preset::from_file(text) {
        Ok(preset) => Some(preset),
        Err(error) => {
            findings.error(Code::BadValue, &node.span, error.to_string(), "");
            None
        }
    }
}

fn levels(findings: &mut Findings, node: &Node) -> Levels {
    let mut levels = Levels::new();
    let Some(map) = findings.table("enforce", node) else { return levels };
    for entry in &map.entries {
        let name = entry.key.text.as_str();
        if !MECHANISMS.contains(&name) {
            let nearest = findings.nearest(name, MECHANISMS);
            let message = format!("`{}` is not a mechanism of the sandbox", shown(name));
            findings
                .error(Code::UnknownKey, &entry.key.span, message, "")
                .help_opt(suggestion(nearest, &MECHANISMS));
            continue;
        }
        let Some(text) = findings.text(name, &entry.node) else { continue };
        match text.parse::<Level>() {
            Ok(level) => {
                levels.insert(name.to_owned(), level);
            }
            Err(error) => {
                findings.error(Code::BadValue, &entry.node.span, error.to_string(), "");
            }
        }
    }
    levels
}

/// Limits as far as a table sets them: key, what it says, line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partial(Vec<(&'static str, String, u32)>);

impl Partial {
    /// Reads the limits that `map` has.
    pub fn read(findings: &mut Findings, map: &Map) -> Self {
        let mut set = Vec::new();
        for key in LIMITS {
            let Some(node) = map.get(key.name) else { continue };
            let text = match key.shape {
                Shape::Duration => duration(findings, node, key.name),
                Shape::Size => size(findings, node, key.name),
                Shape::Int(least, most) => {
                    findings.int(key.name, node, least, most).map(|number| number.to_string())
                }
                Shape::Number(least, most) => number(findings, node, key.name, least, most),
                _ => None,
            };
            let line = findings.source.line(node.span.start);
            let Some(text) = text else { continue };
            match Limits::default().set(key.name, &text) {
                Ok(()) => set.push((key.name, text, line)),
                Err(error) => {
                    findings.error(Code::BadLimit, &node.span, error.to_string(), "");
                }
            }
        }
        Self(set)
    }

    /// Puts what is set over `limits`.
    pub fn over(&self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        for (key, text, _) in &self.0 {
            let set = limits.set(key, text);
            debug_assert!(set.is_ok(), "{key} was read as {text}: {set:?}");
        }
        limits
    }

    /// The lines by key.
    pub fn lines(&self) -> impl Iterator<Item = (String, u32)> {
        self.0.iter().map(|(key, _, line)| ((*key).to_owned(), *line))
    }
}

fn duration(findings: &mut Findings, node: &Node, key: &str) -> Option<String> {
    if let Data::Int(number) = node.data {
        findings
            .error(Code::BadLimit, &node.span, format!("`{key}` needs a unit"), "")
            .help(format!("write \"{number}s\" or \"{number}ms\""));
        return None;
    }
    let Some(text) = node.as_str() else {
        findings.wrong_kind(key, node, "a duration").help("valid: `\"5s\"`, `\"1m30s\"`");
        return None;
    };
    match parse_duration(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            findings.error(Code::BadLimit, &node.span, error.to_string(), "");
            None
        }
    }
}

fn size(findings: &mut Findings, node: &Node, key: &str) -> Option<String> {
    let text = match &node.data {
        Data::Int(number) => number.to_string(),
        Data::Str(text) => text.to_string(),
        _ => {
            findings
                .wrong_kind(key, node, "a size")
                .help("valid: `\"256MiB\"` or a number of bytes");
            return None;
        }
    };
    match parse_size(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            findings.error(Code::BadLimit, &node.span, error.to_string(), "");
            None
        }
    }
}

fn number(
    findings: &mut Findings,
    node: &Node,
    key: &str,
    least: f64,
    most: f64,
) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "checked to be small just below")]
    let number = match node.data {
        Data::Int(number) => number as f64,
        Data::Float(number) => number,
        _ => {
            findings.wrong_kind(key, node, "a number");
            return None;
        }
    };
    if (least..=most).contains(&number) {
        return Some(number.to_string());
    }
    findings
        .error(Code::BadLimit, &node.span, format!("`{key}` is {number}, out of range"), "")
        .help(format!("valid: {least} to {most}"));
    None
}
