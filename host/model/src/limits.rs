//! What a cell may use, and the human spelling of durations and sizes.

use std::time::Duration;

use thiserror::Error;

/// The limits of one cell. Recorded with a run, never part of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Wall-clock time from spawn to exit.
    pub timeout: Duration,
    /// Physical memory of all the cell's processes together, in bytes.
    pub memory: u64,
    /// Processes and threads alive at once.
    pub pids: u32,
    /// Processor time of all the cell's processes together; `None`: only the wall clock counts.
    pub cpu_time: Option<Duration>,
    /// Processors' worth of time per second; `None`: no quota.
    pub cpus: Option<f64>,
    /// Bytes the cell may write into its own file system.
    pub disk: u64,
    /// Bytes of stdout and stderr together after which the cell is killed.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            memory: 2 << 30,
            pids: 256,
            cpu_time: None,
            cpus: None,
            disk: 1 << 30,
            output: 64 << 20,
        }
    }
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
    fn shown_forms_are_short() {
        assert_eq!(format_size(512), "512 B");
        assert_eq!(format_size(1536), "1.5 KiB");
        assert_eq!(format_size(256 << 20), "256 MiB");
        assert_eq!(format_duration(Duration::from_millis(1500)), "1.50s");
        assert_eq!(format_duration(Duration::from_secs(125)), "2m05s");
    }
}
