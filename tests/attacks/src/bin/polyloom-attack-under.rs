//! Becomes a program under a system call filter that makes one call fail, as on a kernel or in a container that lacks it.
//!
//!     polyloom-attack-under --fail fsopen=ENOSYS PROGRAM ARGS…

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let mut rules = Vec::new();
    let mut program = None;
    while let Some(word) = words.next() {
        if word != "--fail" {
            program = Some(word);
            break;
        }
        let rule = words.next().and_then(|word| parse(word.to_str()?));
        let Some(rule) = rule else {
            eprintln!("error: --fail takes CALL=ERRNO of those listed in this file");
            return ExitCode::from(2);
        };
        rules.push(rule);
    }
    let Some(program) = program else { return ExitCode::from(2) };
    for (call, errno) in rules {
        if let Err(error) = install(call, errno) {
            eprintln!("error: the filter can't be installed: {error}");
            return ExitCode::from(2);
        }
    }
    eprintln!("error: {}", Command::new(program).args(words).exec());
    ExitCode::from(2)
}

fn parse(text: &str) -> Option<(i64, i32)> {
    let (call, errno) = text.split_once('=')?;
    let call = match call {
        "landlock_create_ruleset" => libc::SYS_landlock_create_ruleset,
        "landlock_restrict_self" => libc::SYS_landlock_restrict_self,
        "clone3" => libc::SYS_clone3,
        "openat2" => libc::SYS_openat2,
        "mount_setattr" => libc::SYS_mount_setattr,
        "fsopen" => libc::SYS_fsopen,
        "fsmount" => libc::SYS_fsmount,
        "open_tree" => libc::SYS_open_tree,
        "move_mount" => libc::SYS_move_mount,
        "pivot_root" => libc::SYS_pivot_root,
        "pidfd_open" => libc::SYS_pidfd_open,
        "pidfd_send_signal" => libc::SYS_pidfd_send_signal,
        "close_range" => libc::SYS_close_range,
        "seccomp" => libc::SYS_seccomp,
        "unshare" => libc::SYS_unshare,
        "memfd_create" => libc::SYS_memfd_create,
        "setresuid" => libc::SYS_setresuid,
        "prlimit64" => libc::SYS_prlimit64,
        _ => return None,
    };
    let errno = match errno {
        "ENOSYS" => libc::ENOSYS,
        "EPERM" => libc::EPERM,
        _ => return None,
    };
    Some((call, errno))
}

fn install(call: i64, errno: i32) -> Result<(), Box<dyn std::error::Error>> {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    // The next filter of the same call would be refused by this one if it is `seccomp` itself that fails.
    seccompiler::apply_filter(&program)?;
    Ok(())
}
