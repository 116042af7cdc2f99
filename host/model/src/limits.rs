//! What a cell may use, and the human spelling of durations and sizes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The limits of one cell. Recorded with a run, never part of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall-clock time from spawn to exit.
    pub timeout: Duration,
    /// Wall-clock time after which the cell is said to take long; `None`: never.
    pub soft_timeout: Option<Duration>,
    /// What a cell that is asked to end (SIGTERM) is given before it is ended (SIGKILL).
    pub grace: Duration,
    /// Physical memory of all the cell's processes together, in bytes.
    pub memory: u64,
    /// By what `memory` grows for each attempt that ran out of it.
    pub retry_memory: f64,
    /// Processes and threads alive at once.
    pub pids: u32,
    /// Processor time of all the cell's processes together; `None`: only the wall clock counts.
    pub cpu_time: Option<Duration>,
    /// Processors' worth of time per second; `None`: no quota.
    pub cpus: Option<f64>,
    /// Open files of each process.
    pub open_files: u32,
    /// Bytes the cell may write into its own file system.
    pub disk: u64,
    /// Whether somebody asked for that much: the default alone is no reason to leave memory for a disk.
    pub disk_asked: bool,
    /// Files and directories the cell may make in it.
    pub inodes: u32,
    /// Bytes of stdout and stderr together after which the cell is killed.
    pub output: u64,
    /// Files that are kept of it: outputs, what is in directories of them, further results.
    pub artifacts: u32,
    /// Bytes of all these, holes included; `None`: as many as `disk` allows.
    pub artifact_size: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            soft_timeout: None,
            grace: Duration::from_secs(2),
            memory: 2 << 30,
            retry_memory: 1.0,
            pids: 256,
            cpu_time: None,
            cpus: None,
            open_files: 1024,
            disk: 1 << 30,
            disk_asked: false,
            inodes: 65_536,
            output: 64 << 20,
            artifacts: 10_000,
            artifact_size: None,
        }
    }
}

/// With less not even the sandbox starts.
const LEAST_MEMORY: u64 = 1 << 20;
const LONGEST_GRACE: Duration = Duration::from_secs(3600);

/// The keys by which flow files, manifests and `--limit` set [`Limits`].
pub const LIMIT_KEYS: [&str; 14] = [
    "timeout",
    "soft_timeout",
    "grace",
    "memory",
    "retry_memory",
    "cpus",
    "cpu_time",
    "pids",
    "open_files",
    "disk",
    "inodes",
    "output_limit",
    "artifacts",
    "artifact_size",
];

/// What a cell can run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `timeout`, in milliseconds.
    Timeout,
    /// `cpu_time`, in milliseconds.
    CpuTime,
    /// `memory`, in bytes.
    Memory,
    /// `pids`.
    Pids,
    /// `open_files`.
    OpenFiles,
    /// `disk`, in bytes.
    Disk,
    /// `inodes`.
    Inodes,
    /// `output_limit`, in bytes.
    Output,
    /// `artifacts`.
    Artifacts,
    /// `artifact_size`, in bytes.
    ArtifactSize,
}

/// A limit that can't be set so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitError {
    /// No such limit.
    #[error("`{0}` is not a limit; valid: {keys}", keys = LIMIT_KEYS.join(", "))]
    Unknown(String),
    /// Not a duration or size.
    #[error(transparent)]
    Amount(#[from] SizeError),
    /// Not a number in the range.
    #[error("`{1}` is not a number for `{0}`; valid: {2} to {3}")]
    Number(&'static str, String, String, String),
}

fn number<T>(key: &'static str, text: &str, least: T, most: T) -> Result<T, LimitError>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let read = text.trim().parse::<T>().ok().filter(|number| (&least..=&most).contains(&number));
    let shown = || text.chars().take(40).flat_map(char::escape_debug).collect();
    read.ok_or_else(|| LimitError::Number(key, shown(), least.to_string(), most.to_string()))
}

impl Limits {
    /// Sets one by its key, from the text a person writes.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), LimitError> {
        match key {
            "timeout" => self.timeout = parse_duration(text)?,
            "soft_timeout" => self.soft_timeout = Some(parse_duration(text)?),
            "grace" => {
                let grace = parse_duration(text)?;
                if grace > LONGEST_GRACE {
                    return Err(SizeError::Range(text.to_owned(), "1ms to 1h").into());
                }
                self.grace = grace;
            }
            "memory" => {
                let memory = parse_size(text)?;
                if memory < LEAST_MEMORY {
                    return Err(SizeError::Range(text.to_owned(), "1 MiB to 1024 TiB").into());
                }
                self.memory = memory;
            }
            "retry_memory" => self.retry_memory = number("retry_memory", text, 1.0, 16.0)?,
            "cpus" => self.cpus = Some(number("cpus", text, 0.01, 4096.0)?),
            "cpu_time" => self.cpu_time = Some(parse_duration(text)?),
            "pids" => self.pids = number("pids", text, 1, 1_000_000)?,
            "open_files" => self.open_files = number("open_files", text, 32, 1_000_000)?,
            "disk" => (self.disk, self.disk_asked) = (parse_size(text)?, true),
            "inodes" => self.inodes = number("inodes", text, 32, 10_000_000)?,
            "output_limit" => self.output = parse_size(text)?,
            "artifacts" => self.artifacts = number("artifacts", text, 1, 1_000_000)?,
            "artifact_size" => self.artifact_size = Some(parse_size(text)?),
            _ => {
                let shown = key.chars().take(40).flat_map(char::escape_debug).collect();
                return Err(LimitError::Unknown(shown));
            }
        }
        Ok(())
    }

    /// How much there may be of it, in its unit; `None`: any amount.
    #[must_use]
    pub fn amount(&self, limit: Limit) -> Option<u64> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match limit {
            Limit::Timeout => Some(ms(self.timeout)),
            Limit::CpuTime => self.cpu_time.map(ms),
            Limit::Memory => Some(self.memory),
            Limit::Pids => Some(self.pids.into()),
            Limit::OpenFiles => Some(self.open_files.into()),
            Limit::Disk => {
                Some(if self.disk_asked { self.disk } else { self.disk.min(self.memory) })
            }
            Limit::Inodes => Some(self.inodes.into()),
            Limit::Output => Some(self.output),
            Limit::Artifacts => Some(self.artifacts.into()),
            // Of files with holes the size counts, since that is what is kept of them.
            Limit::ArtifactSize => self.artifact_size.or_else(|| self.amount(Limit::Disk)),
        }
    }

    /// The limits of an attempt before which `times` others ran out of memory.
    #[must_use]
    pub fn grown(&self, times: u32) -> Self {
        let factor = self.retry_memory.powi(i32::try_from(times).unwrap_or(i32::MAX));
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a product that is too large is the most there is"
        )]
        let memory = ((self.memory as f64 * factor) as u64).clamp(self.memory, 1 << 50);
        Self { memory: if times == 0 { self.memory } else { memory }, ..self.clone() }
    }
}

impl Limit {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::CpuTime,
        Self::Memory,
        Self::Pids,
        Self::OpenFiles,
        Self::Disk,
        Self::Inodes,
        Self::Output,
        Self::Artifacts,
        Self::ArtifactSize,
    ];

    /// The key that sets it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CpuTime => "cpu_time",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::OpenFiles => "open_files",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
            Self::Output => "output_limit",
            Self::Artifacts => "artifacts",
            Self::ArtifactSize => "artifact_size",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Timeout => "time",
            Self::CpuTime => "processor time",
            Self::Memory => "memory",
            Self::Pids => "process",
            Self::OpenFiles => "open file",
            Self::Disk => "disk",
            Self::Inodes => "file count",
            Self::Output => "output",
            Self::Artifacts => "artifact count",
            Self::ArtifactSize => "artifact size",
        }
    }

    /// An amount of it, for people.
    #[must_use]
    pub fn shown(self, amount: u64) -> String {
        match self {
            Self::Timeout | Self::CpuTime => format_duration(Duration::from_millis(amount)),
            Self::Memory | Self::Disk | Self::Output | Self::ArtifactSize => format_size(amount),
            Self::Pids | Self::OpenFiles | Self::Inodes | Self::Artifacts => amount.to_string(),
        }
    }

    /// What is said of a cell that ran into it: `memory limit 64 MiB, peak 65 MiB`.
    #[must_use]
    pub fn reached(self, limits: &Limits, peak: Option<u64>) -> String {
        let mut text = format!("{} limit", self.name());
        if let Some(amount) = limits.amount(self) {
            text.push(' ');
            text.push_str(&self.shown(amount));
        }
        text.push_str(", peak ");
        text.push_str(&peak.map_or_else(|| "unknown".to_owned(), |peak| self.shown(peak)));
        text
    }
}

/// Where a cell's limits are set in the flow file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitLines {
    /// The flow file, relative to the flow's root.
    pub path: PathBuf,
    /// The lines of those that are set, by key; in the cell itself or in `[defaults]`. Line 0 is the command line.
    pub keys: BTreeMap<String, u32>,
}

/// A duration or size that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SizeError {
    /// Not a duration.
    #[error("`{0}` is not a duration; valid: `250ms`, `5s`, `1m30s`, `2h`")]
    Duration(String),
    /// Not a size.
    #[error("`{0}` is not a size; valid: `64KiB`, `256MiB`, `2GiB`, `500MB` or a number of bytes")]
    Size(String),
    /// Zero, or too large to be meant.
    #[error("`{0}` is out of range; valid: {1}")]
    Range(String, &'static str),
}

/// Reads `250ms`, `5s`, `1m30s`, `1.5h`. At least 1 ms, at most 365 days.
pub fn parse_duration(text: &str) -> Result<Duration, SizeError> {
    let error = || SizeError::Duration(text.chars().take(40).collect());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(error());
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return Err(error()),
            };
        rest = rest[unit..].trim_start();
    }
    if !(0.001..=365.0 * 86400.0).contains(&seconds) {
        return Err(SizeError::Range(text.to_owned(), "1ms to 365d"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads `256MiB`, `2GB`, `4096`. At least 1 byte, at most 1 PiB.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError::Size(text.chars().take(40).collect());
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let number: f64 = trimmed[..digits].parse().map_err(|_| error())?;
    let unit = match trimmed[digits..].trim() {
        "" | "B" => 1.0,
        "KiB" | "K" | "Ki" => 1024.0,
        "MiB" | "M" | "Mi" => 1024.0 * 1024.0,
        "GiB" | "G" | "Gi" => 1024.0 * 1024.0 * 1024.0,
        "TiB" | "T" | "Ti" => 1024.0_f64.powi(4),
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(error()),
    };
    let bytes = number * unit;
    if !(1.0..=1024.0_f64.powi(5)).contains(&bytes) {
        return Err(SizeError::Range(text.to_owned(), "1 byte to 1024 TiB"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    Ok(bytes as u64)
}

/// `1.5 s`, `250 ms`, `2m 05s`: for people.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.0995 {
        format!("{:.1}ms", seconds * 1e3)
    } else if seconds < 0.9995 {
        format!("{:.0}ms", seconds * 1e3)
    } else if seconds < 59.995 {
        format!("{seconds:.2}s")
    } else if seconds < 3600.0 {
        format!("{}m{:02}s", duration.as_secs() / 60, duration.as_secs() % 60)
    } else {
        format!("{}h{:02}m", duration.as_secs() / 3600, duration.as_secs() % 3600 / 60)
    }
}

/// `512 B`, `1.5 KiB`, `256 MiB`: for people.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 || (value - value.round()).abs() < 0.005 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "5", "5 parsecs", "-1s", "s", "..s", "1e3s", "0s", "9999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "MiB", "5XB", "-1", "0", "9999999TiB", "NaN"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_limit_is_set_by_its_key() {
        let mut limits = Limits::default();
        for key in LIMIT_KEYS {
            let before = limits.clone();
            let text = ["77s", "77MiB", "77", "7.5"];
            assert!(text.iter().any(|text| limits.set(key, text).is_ok()), "{key}");
            assert_ne!(limits, before, "{key}");
        }
        for limit in Limit::ALL {
            assert!(LIMIT_KEYS.contains(&limit.key()) && limits.amount(limit).is_some());
        }
        let error = limits.set("memroy", "1").unwrap_err().to_string();
        assert!(error.contains("valid: timeout, "), "{error}");
        for (key, bad) in [("pids", "0"), ("cpus", "NaN"), ("retry_memory", "0.5"), ("grace", "5")]
        {
            assert!(limits.set(key, bad).is_err(), "{key} = {bad}");
        }
    }

    #[test]
    fn memory_grows_by_the_attempts_that_ran_out_of_it() {
        let limits = Limits { memory: 100, retry_memory: 1.5, ..Limits::default() };
        let grown: Vec<_> = (0..3).map(|times| limits.grown(times).memory).collect();
        assert_eq!(grown, [100, 150, 225]);
        assert_eq!(limits.grown(u32::MAX).memory, 1 << 50);
    }

    #[test]
    fn a_limit_is_told_with_its_peak() {
        let limits = Limits { memory: 64 << 20, ..Limits::default() };
        let told = Limit::Memory.reached(&limits, Some(65 << 20));
        assert_eq!(told, "memory limit 64 MiB, peak 65 MiB");
        assert_eq!(Limit::Pids.reached(&limits, Some(256)), "process limit 256, peak 256");
    }

    #[test]
    fn shown_forms_are_short() {
        assert_eq!(format_size(512), "512 B");
        assert_eq!(format_size(1536), "1.5 KiB");
        assert_eq!(format_size(256 << 20), "256 MiB");
        assert_eq!(format_duration(Duration::from_millis(1500)), "1.50s");
        assert_eq!(format_duration(Duration::from_secs(125)), "2m05s");
    }
}
