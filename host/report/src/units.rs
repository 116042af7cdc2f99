//! Durations, sizes and times for people.

/// `1.2ms`, `123ms`, `4.56s`, `2m05s`, `1h02m`.
#[must_use]
pub fn duration(ms: f64) -> String {
    let ms = if ms.is_finite() { ms.max(0.0) } else { 0.0 };
    if ms < 9.95 {
        return format!("{ms:.1}ms");
    }
    if ms < 999.5 {
        return format!("{ms:.0}ms");
    }
    if ms < 59_995.0 {
        return format!("{:.2}s", ms / 1000.0);
    }
    let seconds = ms / 1000.0;
    let minutes = (seconds / 60.0).floor();
    if minutes < 60.0 {
        format!("{minutes:.0}m{:02.0}s", (seconds - minutes * 60.0).floor())
    } else {
        let hours = (minutes / 60.0).floor();
        format!("{hours:.0}h{:02.0}m", minutes - hours * 60.0)
    }
}

/// `512 B`, `1.5 KiB`, `256 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
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

/// `2026-11-21 03:18:33` in UTC, for seconds since 1970; years 0 to 9999, else the number itself.
#[must_use]
pub fn date_time(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    match date(days) {
        Some(date) => {
            format!("{date} {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
        }
        None => seconds.to_string(),
    }
}

/// `2026-11-21` for days since 1970, for years 0 to 9999. After Howard Hinnant's "chrono-compatible low-level date
/// algorithms": years that begin in March put the leap day last.
pub(crate) fn date(days: i64) -> Option<String> {
    if !(-719_528..=2_932_896).contains(&days) {
        return None;
    }
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_forms_are_short() {
        let shown = [0.04, 9.96, 123.4, 1234.0, 59_990.0, 125_000.0, 3_720_000.0].map(duration);
        assert_eq!(shown, ["0.0ms", "10ms", "123ms", "1.23s", "59.99s", "2m05s", "1h02m"]);
        assert_eq!([512, 1536, 256 << 20].map(size), ["512 B", "1.5 KiB", "256 MiB"]);
        assert_eq!(duration(f64::NAN), "0.0ms");
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(date_time(0), "1970-01-01 00:00:00");
        assert_eq!(date_time(1_795_231_113), "2026-11-21 03:18:33");
        assert_eq!(date_time(-1), "1969-12-31 23:59:59");
        assert_eq!(date_time(i64::MAX), i64::MAX.to_string());
        assert_eq!(date(-719_528).as_deref(), Some("0000-01-01"));
        assert_eq!(date(2_932_896).as_deref(), Some("9999-12-31"));
    }
}
