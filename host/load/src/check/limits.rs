//! Limits, retries and the like: the same keys in `[defaults]`, in cells and in manifests.

use std::time::Duration;

use polyloom_model::{Limits, parse_duration, parse_size};

use crate::findings::Findings;
use crate::problem::Code;
use crate::tree::{Data, Map, Node};

/// What `[defaults]` and a cell can set besides limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub retries: u32,
    pub cache: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { retries: 0, cache: true }
    }
}

/// Reads the habits that `map` has.
pub(crate) fn habits(findings: &mut Findings, map: &Map, habits: &mut Habits) {
    if let Some(node) = map.get("retries")
        && let Some(number) = findings.int("retries", node, 0, 100)
    {
        habits.retries = u32::try_from(number).unwrap_or(0);
    }
    if let Some(node) = map.get("cache")
        && let Some(flag) = findings.flag("cache", node)
    {
        habits.cache = flag;
    }
}

/// Limits as far as a table sets them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partial {
    timeout: Option<Duration>,
    memory: Option<u64>,
    pids: Option<u32>,
    cpu_time: Option<Duration>,
    cpus: Option<f64>,
    disk: Option<u64>,
    output: Option<u64>,
}

impl Partial {
    /// Reads the limits that `map` has.
    pub fn read(findings: &mut Findings, map: &Map) -> Self {
        let pids = map.get("pids").and_then(|node| findings.int("pids", node, 1, 1_000_000));
        Self {
            timeout: duration(findings, map, "timeout"),
            memory: size(findings, map, "memory"),
            pids: pids.and_then(|number| u32::try_from(number).ok()),
            cpu_time: duration(findings, map, "cpu_time"),
            cpus: map.get("cpus").and_then(|node| cpus(findings, node)),
            disk: size(findings, map, "disk"),
            output: size(findings, map, "output_limit"),
        }
    }

    /// Puts what is set over `limits`.
    pub fn over(&self, limits: &Limits) -> Limits {
        Limits {
            timeout: self.timeout.unwrap_or(limits.timeout),
            memory: self.memory.unwrap_or(limits.memory),
            pids: self.pids.unwrap_or(limits.pids),
            cpu_time: self.cpu_time.or(limits.cpu_time),
            cpus: self.cpus.or(limits.cpus),
            disk: self.disk.unwrap_or(limits.disk),
            output: self.output.unwrap_or(limits.output),
        }
    }
}

fn duration(findings: &mut Findings, map: &Map, key: &str) -> Option<Duration> {
    let node = map.get(key)?;
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
        Ok(duration) => Some(duration),
        Err(error) => {
            findings.error(Code::BadLimit, &node.span, error.to_string(), "");
            None
        }
    }
}

fn size(findings: &mut Findings, map: &Map, key: &str) -> Option<u64> {
    let node = map.get(key)?;
    let text = match &node.data {
        Data::Int(number) => number.to_string(),
        Data::Str(text) => text.clone(),
        _ => {
            findings
                .wrong_kind(key, node, "a size")
                .help("valid: `\"256MiB\"` or a number of bytes");
            return None;
        }
    };
    match parse_size(&text) {
        Ok(size) => Some(size),
        Err(error) => {
            findings.error(Code::BadLimit, &node.span, error.to_string(), "");
            None
        }
    }
}

fn cpus(findings: &mut Findings, node: &Node) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "checked to be small just below")]
    let number = match node.data {
        Data::Int(number) => number as f64,
        Data::Float(number) => number,
        _ => {
            findings.wrong_kind("cpus", node, "a number");
            return None;
        }
    };
    if (0.01..=4096.0).contains(&number) {
        return Some(number);
    }
    findings
        .error(Code::BadLimit, &node.span, format!("`cpus` is {number}, out of range"), "")
        .help("valid: 0.01 to 4096");
    None
}
