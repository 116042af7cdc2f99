//! The system call filter: a deny-list with an allow-list's edge (numbers newer than we know are refused), as classic BPF.
//!
//! Knows system call numbers. Does not know files, users or which cell runs. A deny-list lets compilers and
//! interpreters run unchanged over C library versions; what it leaves is cut by lack of capabilities, an empty network
//! namespace and Landlock.

use std::io;

use crate::sys::check;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// The newest call we know the meaning of (`mseal`, Linux 6.10).
const NEWEST: u32 = 462;
/// x32 calls on x86-64 carry this bit.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
/// Low half of an argument, little endian. The kernel ignores the high half of the `int`s looked at here.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// Answered ENOSYS, so that libraries take their older way.
const UNKNOWN: &[libc::c_long] = &[
    // Takes its flags from memory, where a filter cannot look; the C library falls back to `clone`.
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_memfd_secret,
    libc::SYS_vmsplice,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // Watches see through read-only binds: they tell which programs and libraries anybody on the machine opens.
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    // statmount and listmount (6.8): describe the host's mounts.
    457,
    458,
];

/// The same for calls that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const UNKNOWN_HERE: &[libc::c_long] = &[libc::SYS_inotify_init];
#[cfg(not(target_arch = "x86_64"))]
const UNKNOWN_HERE: &[libc::c_long] = &[];

/// Answered EPERM: programs that ask are told no.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_syslog,
    libc::SYS_mknodat,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_reboot,
    libc::SYS_vhangup,
];

/// The same for calls that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[libc::c_long] = &[
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS__sysctl,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[libc::c_long] = &[];

const LOAD: u16 = 0x20;
const JUMP_EQ: u16 = 0x15;
const JUMP: u16 = 0x05;
const JUMP_GE: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const fn errno(number: i32) -> u32 {
    0x0005_0000 | number as u32
}

/// Builds instructions backwards from nothing: jumps are only ever a few instructions forward.
#[derive(Default)]
struct Program(Vec<libc::sock_filter>);

impl Program {
    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) {
        self.0.push(libc::sock_filter { code, jt, jf, k });
    }

    fn load(&mut self, offset: u32) {
        self.push(LOAD, offset, 0, 0);
    }

    /// If the loaded word passes the test, return `action`.
    fn when(&mut self, test: u16, k: u32, action: u32) {
        self.push(test, k, 0, 1);
        self.push(RETURN, action, 0, 0);
    }
}

/// Emits the rules that look at the arguments of one call; they end by answering.
type Rules = fn(&mut Program);

/// What becomes of all calls from a number up to the next entry's.
#[derive(Clone)]
enum Fate {
    Answer(u32),
    Look(Rules),
}

impl Fate {
    fn is(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Answer(a), Self::Answer(b)) if a == b)
    }
}

/// The filter every cell runs under. The kernel tries every call number on it when it is installed, once per sandbox, so calls
/// are found by halving, which makes that four times cheaper than a list.
pub fn filter() -> Vec<libc::sock_filter> {
    let mut program = Program::default();
    // First of all: a 32-bit entry has other numbers, and would walk through every rule below.
    program.load(OFFSET_ARCH);
    program.push(JUMP_EQ, ARCH, 1, 0);
    program.push(RETURN, KILL_PROCESS, 0, 0);
    program.load(OFFSET_NR);
    #[cfg(target_arch = "x86_64")]
    program.when(JUMP_GE, X32_BIT, errno(libc::ENOSYS));
    halve(&fates(), &mut program);
    program.0
}

/// Fates by first call number, ascending, without neighbours of the same fate.
fn fates() -> Vec<(u32, Fate)> {
    let special: [(libc::c_long, Rules); 7] = [
        (libc::SYS_socket, socket_rules),
        (libc::SYS_socketpair, socket_rules),
        (libc::SYS_clone, clone_rules),
        (libc::SYS_ioctl, ioctl_rules),
        (libc::SYS_fcntl, fcntl_rules),
        (libc::SYS_personality, personality_rules),
        (libc::SYS_seccomp, seccomp_rules),
    ];
    let mut out: Vec<(u32, Fate)> = Vec::new();
    for number in 0..=NEWEST + 1 {
        let call = libc::c_long::from(number);
        let fate = if number > NEWEST || UNKNOWN.contains(&call) || UNKNOWN_HERE.contains(&call) {
            Fate::Answer(errno(libc::ENOSYS))
        } else if FORBIDDEN.contains(&call) || FORBIDDEN_HERE.contains(&call) {
            Fate::Answer(errno(libc::EPERM))
        } else if let Some((_, rules)) = special.iter().find(|(special, _)| *special == call) {
            Fate::Look(*rules)
        } else {
            Fate::Answer(ALLOW)
        };
        if out.last().is_none_or(|(_, last)| !last.is(&fate)) {
            out.push((number, fate));
        }
    }
    out
}

/// A binary search over the (loaded) call number.
fn halve(fates: &[(u32, Fate)], program: &mut Program) {
    match fates {
        [] => {}
        [(_, Fate::Answer(action))] => program.push(RETURN, *action, 0, 0),
        [(_, Fate::Look(rules))] => rules(program),
        _ => {
            let (low, high) = fates.split_at(fates.len() / 2);
            let mut below = Program::default();
            halve(low, &mut below);
            match u8::try_from(below.0.len()) {
                Ok(length) => program.push(JUMP_GE, high[0].0, length, 0),
                Err(_) => {
                    // Too far for a conditional jump, whose distance is one byte.
                    program.push(JUMP_GE, high[0].0, 0, 1);
                    program.push(JUMP, below.0.len() as u32, 0, 0);
                }
            }
            program.0.append(&mut below.0);
            halve(high, program);
        }
    }
}

fn clone_rules(program: &mut Program) {
    const CLONE_UNTRACED: i32 = 0x0080_0000;
    let refused = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | CLONE_UNTRACED;
    program.load(argument(0));
    program.when(JUMP_BITS, refused as u32, errno(libc::EPERM));
    program.push(RETURN, ALLOW, 0, 0);
}

fn ioctl_rules(program: &mut Program) {
    program.load(argument(1));
    // Pushing input into a terminal; the cell has none, but the kernel's default still allows it.
    program.when(JUMP_EQ, libc::TIOCSTI as u32, errno(libc::EPERM));
    program.when(JUMP_EQ, 0x541C /* TIOCLINUX */, errno(libc::EPERM));
    program.push(RETURN, ALLOW, 0, 0);
}

fn fcntl_rules(program: &mut Program) {
    program.load(argument(1));
    // The older way to watch a directory, by signals.
    program.when(JUMP_EQ, libc::F_NOTIFY as u32, errno(libc::EINVAL));
    program.push(RETURN, ALLOW, 0, 0);
}

fn personality_rules(program: &mut Program) {
    program.load(argument(0));
    program.when(JUMP_EQ, 0, ALLOW);
    program.when(JUMP_EQ, 0xffff_ffff, ALLOW);
    program.push(RETURN, errno(libc::EPERM), 0, 0);
}

fn seccomp_rules(program: &mut Program) {
    const NEW_LISTENER: u32 = 8;
    program.load(argument(1));
    program.when(JUMP_BITS, NEW_LISTENER, errno(libc::EPERM));
    program.push(RETURN, ALLOW, 0, 0);
}

/// Only local sockets. Internet ones are refused at once (EACCES, or EPERM for raw ones, as socket(2) words it) instead of
/// failing later in an empty network; families that are not a network to an ordinary program do not exist.
fn socket_rules(program: &mut Program) {
    program.load(argument(0));
    program.when(JUMP_EQ, libc::AF_UNIX as u32, ALLOW);
    program.push(JUMP_EQ, libc::AF_INET as u32, 2, 0);
    program.push(JUMP_EQ, libc::AF_INET6 as u32, 1, 0);
    program.push(RETURN, errno(libc::EAFNOSUPPORT), 0, 0);
    program.load(argument(1));
    program.push(AND, 0xf, 0, 0);
    program.when(JUMP_EQ, libc::SOCK_RAW as u32, errno(libc::EPERM));
    program.push(RETURN, errno(libc::EACCES), 0, 0);
}

/// Installs a filter on the calling process, for good. Needs `no_new_privs`.
pub fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program and its instructions outlive the call, which only reads them.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small interpreter of what we emit: the oracle for the tree is the lists it was made from.
    fn decide(program: &[libc::sock_filter], arch: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let test = match step.code {
                LOAD => {
                    word = match step.k {
                        OFFSET_NR => number,
                        OFFSET_ARCH => arch,
                        16 => arguments[0],
                        24 => arguments[1],
                        other => panic!("load of {other}"),
                    };
                    continue;
                }
                AND => {
                    word &= step.k;
                    continue;
                }
                JUMP => {
                    at += step.k as usize;
                    continue;
                }
                RETURN => return step.k,
                JUMP_EQ => word == step.k,
                JUMP_GE => word >= step.k,
                JUMP_BITS => word & step.k != 0,
                other => panic!("code {other:#x}"),
            };
            at += usize::from(if test { step.jt } else { step.jf });
        }
    }

    #[test]
    fn every_call_gets_the_fate_of_its_list() {
        let program = filter();
        for number in 0..2000_u32 {
            let call = libc::c_long::from(number);
            let decided = decide(&program, ARCH, number, [libc::AF_UNIX as u32, 0]);
            let unknown = UNKNOWN.contains(&call) || UNKNOWN_HERE.contains(&call);
            let expected = if number > NEWEST || unknown {
                errno(libc::ENOSYS)
            } else if FORBIDDEN.contains(&call)
                || FORBIDDEN_HERE.contains(&call)
                || call == libc::SYS_personality
            {
                errno(libc::EPERM)
            } else {
                ALLOW
            };
            assert_eq!(decided, expected, "call {number}");
        }
    }

    #[test]
    fn other_architectures_are_killed() {
        assert_eq!(decide(&filter(), 0x4000_0003, 20, [0, 0]), KILL_PROCESS);
    }

    #[test]
    fn arguments_are_looked_at() {
        let program = filter();
        let decide = |call: libc::c_long, arguments| decide(&program, ARCH, call as u32, arguments);
        assert_eq!(decide(libc::SYS_clone, [libc::CLONE_NEWUSER as u32, 0]), errno(libc::EPERM));
        assert_eq!(decide(libc::SYS_clone, [libc::SIGCHLD as u32, 0]), ALLOW);
        assert_eq!(decide(libc::SYS_socket, [libc::AF_INET as u32, 1]), errno(libc::EACCES));
        assert_eq!(decide(libc::SYS_socket, [libc::AF_INET6 as u32, 3]), errno(libc::EPERM));
        assert_eq!(decide(libc::SYS_socket, [40, 1]), errno(libc::EAFNOSUPPORT));
        assert_eq!(decide(libc::SYS_ioctl, [0, libc::TIOCSTI as u32]), errno(libc::EPERM));
        assert_eq!(decide(libc::SYS_fcntl, [0, libc::F_NOTIFY as u32]), errno(libc::EINVAL));
        assert_eq!(decide(libc::SYS_fcntl, [0, libc::F_GETFD as u32]), ALLOW);
        assert_eq!(decide(libc::SYS_seccomp, [1, 8]), errno(libc::EPERM));
        assert_eq!(decide(libc::SYS_personality, [0, 0]), ALLOW);
    }
}
