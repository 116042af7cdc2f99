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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    pid: u32,
    /// Clock ticks since boot.
    start: u64,
    /// First characters of the boot id.
    boot: String,
    /// Where `pid` is its number; names of older hosts don't say.
    namespace: Option<u64>,
}

impl Owner {
    fn current() -> &'static Self {
        static OWNER: OnceLock<Owner> = OnceLock::new();
        OWNER.get_or_init(|| {
            let pid = std::process::id();
            Self {
                pid,
                start: start_time("self").unwrap_or(0),
                boot: boot().to_owned(),
                namespace: Some(namespace()),
            }
        })
    }

    /// From a name of ours; nothing else is one.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let boot = parts.next()?.to_owned();
        let _sequence: u32 = parts.next()?.parse().ok()?;
        let namespace = parts.next().map(str::parse).transpose().ok()?;
        let owner = Self { pid, start, boot, namespace };
        parts.next().is_none().then_some(owner)
    }

    /// Proven, not supposed.
    pub fn is_dead(&self) -> bool {
        let boot = boot();
        // An unreadable boot id proves nothing.
        if boot.is_empty() || self.boot != boot {
            return !boot.is_empty();
        }
        // Neither does a number that is looked up where it is somebody else's.
        let here = self.namespace.is_none_or(|it| it != ELSEWHERE && it == namespace());
        here && start_time(&self.pid.to_string()) != Some(self.start)
    }
}

/// A name nobody has used.
pub fn fresh() -> String {
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);
    let owner = Owner::current();
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    // Last, where older hosts don't take the name for one of theirs: they would look the number up anywhere.
    let namespace = owner.namespace.unwrap_or(ELSEWHERE);
    format!("{PREFIX}{}-{}-{}-{sequence}-{namespace}", owner.pid, owner.start, owner.boot)
}

/// No process sees another one.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.chars().filter(char::is_ascii_hexdigit).take(12).collect()
    })
}

/// No namespace has this number.
const ELSEWHERE: u64 = 0;

/// The namespace of our process id, if `/proc` shows that one; else [`ELSEWHERE`], which is nobody's.
fn namespace() -> u64 {
    static NAMESPACE: OnceLock<u64> = OnceLock::new();
    *NAMESPACE.get_or_init(|| {
        let link = |path: &str| fs::read_link(path).ok()?.into_os_string().into_string().ok();
        // `unshare -p` without a mount of its own has the `/proc` of others.
        let shown = link("/proc/self").is_some_and(|it| it == std::process::id().to_string());
        let named = link("/proc/self/ns/pid").filter(|_| shown);
        let inode = named.and_then(|it| it.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok());
        inode.unwrap_or(ELSEWHERE)
    })
}

/// Field 22 of `/proc/PID/stat`, counted after the parenthesised name, which may contain anything.
fn start_time(pid: &str) -> Option<u64> {
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
    fn who_has_its_number_elsewhere_is_not_dead() {
        let gone = Owner { start: 1, ..Owner::current().clone() };
        for namespace in [1, ELSEWHERE] {
            assert!(!Owner { namespace: Some(namespace), ..gone.clone() }.is_dead());
        }
        // Names of older hosts, and of another boot.
        assert!(Owner { namespace: None, ..gone.clone() }.is_dead());
        let boot = "0123456789ab".to_owned();
        assert!(Owner { namespace: Some(1), boot, ..gone }.is_dead());
    }

    #[test]
    fn older_names_say_no_namespace() {
        let older = Owner::parse("polyloom-1-2-ab-3").expect("it is one of ours");
        assert_eq!((older.boot.as_str(), older.namespace), ("ab", None));
        let named = Owner::parse("polyloom-1-2-ab-3-4026531836").expect("it is one of ours");
        assert_eq!((named.boot.as_str(), named.namespace), ("ab", Some(4_026_531_836)));
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "polyloom-",
            "polyloom-1-2",
            "polyloom-1-2-ab-3-",
            "polyloom-1-2-ab-3-x",
            "polyloom-1-2-ab-3-4-5",
            "other-1-2-ab-3",
            "polyloom-x-2-ab-3",
        ] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }
}
