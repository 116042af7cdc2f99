//! Why this machine gives no namespaces, in words that say what to do. Reads the switches that are known to be in the way; changes none.

use std::fs;

/// The likely cause and the remedy.
pub fn explain(errno: i32) -> String {
    explain_by(errno, |path| fs::read_to_string(path).ok())
}

/// File of a switch, the value that is in the way, and what to say.
const SWITCHES: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "`user.max_user_namespaces` is 0; as root: `sysctl user.max_user_namespaces=15000`",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "`kernel.unprivileged_userns_clone` is 0; as root: `sysctl kernel.unprivileged_userns_clone=1`",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts user namespaces of ordinary users; give the program a profile with `userns,`, or as root: \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
    ),
];

fn explain_by(errno: i32, read: impl Fn(&str) -> Option<String>) -> String {
    for (path, bad, words) in SWITCHES {
        if read(path).is_some_and(|text| text.trim() == bad) {
            return words.to_owned();
        }
    }
    let filtered = read("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() != "0"));
    match errno {
        libc::ENOSPC | libc::EUSERS => {
            "too many or too deeply nested user namespaces; see `user.max_user_namespaces`".into()
        }
        libc::EPERM | libc::ENOSYS | libc::EACCES if filtered => {
            "a system call filter around this process refuses it; a container needs one that lets \
             `unshare`, `clone` and `mount` be (Docker: `--security-opt seccomp=unconfined`)"
                .into()
        }
        libc::EINVAL | libc::ENOSYS => "this kernel is built without it".into(),
        _ => "nothing known is in the way; a security module or a `chroot` may be".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(errno: i32, files: &[(&str, &str)]) -> String {
        explain_by(errno, |path| {
            files.iter().find(|(name, _)| path.ends_with(name)).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_switch_in_the_way_is_named_with_its_remedy() {
        for (file, value) in [
            ("max_user_namespaces", "0\n"),
            ("unprivileged_userns_clone", "0\n"),
            ("apparmor_restrict_unprivileged_userns", "1\n"),
        ] {
            let text = told(libc::EPERM, &[(file, value)]);
            assert!(text.contains(file) && text.contains("sysctl"), "{text}");
        }
        let fine = [("max_user_namespaces", "96365"), ("unprivileged_userns_clone", "1")];
        assert!(told(libc::EPERM, &fine).contains("nothing known"));
    }

    #[test]
    fn a_filter_is_told_from_a_kernel_without_it() {
        let status = ("status", "Name:\tx\nSeccomp:\t2\n");
        assert!(told(libc::EPERM, &[status]).contains("filter"));
        let status = ("status", "Name:\tx\nSeccomp:\t0\n");
        assert!(told(libc::EINVAL, &[status]).contains("kernel is built without"));
        assert!(told(libc::ENOSPC, &[]).contains("max_user_namespaces"));
    }
}
