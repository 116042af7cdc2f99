//! Names of what a host makes outside of its own memory, which say whose it is: what a dead host left is known by its name alone.
//! Knows neither groups nor folders.

use std::{
    fs,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

const PREFIX: &str = "polyloom-";

/// A host process that cannot be confused with another: ids are reused, start times and boots are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    /// Clock ticks since boot.
    start: u64,
    /// First characters of the boot id.
    boot: String,
}

impl Owner {
    fn current() -> &'static Self {
        static OWNER: OnceLock<Owner> = OnceLock::new();
        OWNER.get_or_init(|| {
            let pid = std::process::id();
            Self { pid, start: start_time(pid).unwrap_or(0), boot: boot().to_owned() }
        })
    }

    /// From a name of ours; nothing else is one.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let owner = Self {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            boot: parts.next()?.to_owned(),
        };
        let _sequence: u32 = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(owner)
    }

    /// Proven, not supposed.
    pub fn is_dead(&self) -> bool {
        let boot = boot();
        // An unreadable boot id proves nothing.
        !boot.is_empty() && (self.boot != boot || start_time(self.pid) != Some(self.start))
    }
}

/// A name nobody has used.
pub fn fresh() -> String {
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);
    let owner = Owner::current();
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{}-{}-{sequence}", owner.pid, owner.start, owner.boot)
}

/// No process sees another one.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.chars().filter(char::is_ascii_hexdigit).take(12).collect()
    })
}

/// Field 22 of `/proc/PID/stat`, counted after the parenthesised name, which may contain anything.
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_name_is_parsed_and_alive() {
        let owner = Owner::parse(&fresh()).expect("own names parse");
        assert_eq!(&owner, Owner::current());
        assert!(!owner.is_dead());
    }

    #[test]
    fn reused_pid_is_dead() {
        let owner = Owner { start: 1, ..Owner::current().clone() };
        assert!(owner.is_dead());
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "polyloom-",
            "polyloom-1-2",
            "polyloom-1-2-ab-3-4",
            "other-1-2-ab-3",
            "polyloom-x-2-ab-3",
        ] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }
}
