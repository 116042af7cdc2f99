//! The system call filter: a deny-list with an allow-list's edge (numbers newer than we know are refused), as classic BPF.
//!
//! Knows system call numbers. Does not know files, users or which cell runs. A deny-list lets compilers and
//! interpreters run unchanged over C library versions; what it leaves is cut by lack of capabilities, an empty network
//! namespace and Landlock. Our own runner gets the reverse: what it is known to need, and nothing else.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use super::runner;
use crate::{policy::Seccomp, sys::check, wire::Filter};

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

/// Calls that make memory which no process has to map: where no control group counts it, nobody does. Answered ENOSYS.
const UNCOUNTED: &[libc::c_long] =
    &[libc::SYS_memfd_create, libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget];

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

/// The filters that were asked for so far: each is built once.
#[derive(Default)]
pub struct Filters(RefCell<BTreeMap<Filter, Rc<[libc::sock_filter]>>>);

impl Filters {
    pub fn get(&self, which: Filter) -> Rc<[libc::sock_filter]> {
        Rc::clone(self.0.borrow_mut().entry(which).or_insert_with(|| filter(which).into()))
    }
}

/// The filter a cell runs under. The kernel tries every call number on it when it is installed, once per sandbox, so calls
/// are found by halving, which makes that four times cheaper than a list.
fn filter(which: Filter) -> Vec<libc::sock_filter> {
    let mut program = Program::default();
    // First of all: a 32-bit entry has other numbers, and would walk through every rule below.
    program.load(OFFSET_ARCH);
    program.push(JUMP_EQ, ARCH, 1, 0);
    program.push(RETURN, KILL_PROCESS, 0, 0);
    program.load(OFFSET_NR);
    #[cfg(target_arch = "x86_64")]
    program.when(JUMP_GE, X32_BIT, errno(libc::ENOSYS));
    halve(&fates(which), &mut program);
    program.0
}

/// Calls whose arguments are looked at.
const LOOKED_AT: &[(libc::c_long, Rules)] = &[
    (libc::SYS_socket, socket_rules),
    (libc::SYS_socketpair, socket_rules),
    (libc::SYS_clone, clone_rules),
    (libc::SYS_ioctl, ioctl_rules),
    (libc::SYS_fcntl, fcntl_rules),
    (libc::SYS_personality, personality_rules),
    (libc::SYS_seccomp, seccomp_rules),
];

/// The same where cells are to share nothing: `flock` and the questions about locks tell of other readers of a file. What a program locks for
/// itself works.
const LOOKED_AT_STRICT: &[(libc::c_long, Rules)] = &[
    (libc::SYS_socket, socket_rules),
    (libc::SYS_socketpair, socket_rules),
    (libc::SYS_clone, clone_rules),
    (libc::SYS_ioctl, ioctl_rules),
    (libc::SYS_fcntl, quiet_fcntl_rules),
    (libc::SYS_personality, personality_rules),
    (libc::SYS_seccomp, seccomp_rules),
];

/// The same for our own runner.
const LOOKED_AT_RUNNER: &[(libc::c_long, Rules)] = &[
    (libc::SYS_socketpair, socket_rules),
    (libc::SYS_clone, thread_rules),
    (libc::SYS_ioctl, plain_ioctl_rules),
    (libc::SYS_fcntl, quiet_fcntl_rules),
    (libc::SYS_prctl, prctl_rules),
];

/// Calls that give a file its mode. What a cell leaves in somebody's folder is that somebody's, perhaps root's: with a set-user-id bit it
/// would run as them wherever the folder is not mounted `nosuid`. `openat2` has its mode in memory, where a filter can't look, and is ENOSYS.
const MODES: &[(libc::c_long, Rules)] = &[
    (libc::SYS_fchmod, |program| mode_rules(program, 1)),
    (libc::SYS_fchmodat, |program| mode_rules(program, 2)),
    (libc::SYS_fchmodat2, |program| mode_rules(program, 2)),
    (libc::SYS_openat, |program| made_rules(program, 2)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, |program| mode_rules(program, 1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, |program| mode_rules(program, 1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, |program| made_rules(program, 1)),
];

/// What becomes of a call.
fn fate(which: Filter, number: u32) -> Fate {
    let call = libc::c_long::from(number);
    let fate = fate_by_list(which, number);
    // Modes are a further condition: what the lists refuse stays refused.
    if !which.plain_modes || !fate.is(&Fate::Answer(ALLOW)) {
        return fate;
    }
    if call == libc::SYS_openat2 {
        return Fate::Answer(errno(libc::ENOSYS));
    }
    let rules = MODES.iter().find(|(special, _)| *special == call);
    rules.map_or(fate, |(_, rules)| Fate::Look(*rules))
}

/// What becomes of a call whatever mode it gives a file.
fn fate_by_list(which: Filter, number: u32) -> Fate {
    let call = libc::c_long::from(number);
    let among = |lists: [&[libc::c_long]; 2]| lists.iter().any(|list| list.contains(&call));
    let uncounted = which.uncounted && UNCOUNTED.contains(&call);
    if number > NEWEST || uncounted || among([UNKNOWN, UNKNOWN_HERE]) {
        return Fate::Answer(errno(libc::ENOSYS));
    }
    let (looked_at, otherwise) = match which.calls {
        Seccomp::Default if among([FORBIDDEN, FORBIDDEN_HERE]) => {
            return Fate::Answer(errno(libc::EPERM));
        }
        Seccomp::Default => (LOOKED_AT, ALLOW),
        Seccomp::Strict if among([FORBIDDEN, FORBIDDEN_HERE]) || call == libc::SYS_flock => {
            return Fate::Answer(errno(libc::EPERM));
        }
        Seccomp::Strict => (LOOKED_AT_STRICT, ALLOW),
        Seccomp::Runner if among([runner::CALLS, runner::CALLS_HERE]) => {
            return Fate::Answer(ALLOW);
        }
        Seccomp::Runner => (LOOKED_AT_RUNNER, errno(libc::EPERM)),
    };
    // Our own runner has no sockets to begin with.
    if call == libc::SYS_socket && which.calls != Seccomp::Runner {
        return Fate::Look(match (which.internet, which.unnamed) {
            (false, false) => socket_rules,
            (false, true) => unnamed_socket_rules,
            (true, false) => internet_socket_rules,
            (true, true) => internet_unnamed_socket_rules,
        });
    }
    if call == libc::SYS_socketpair && which.unnamed {
        return Fate::Look(unnamed_pair_rules);
    }
    match looked_at.iter().find(|(special, _)| *special == call) {
        Some((_, rules)) => Fate::Look(*rules),
        None => Fate::Answer(otherwise),
    }
}

/// Fates by first call number, ascending, without neighbours of the same fate.
fn fates(which: Filter) -> Vec<(u32, Fate)> {
    let mut out: Vec<(u32, Fate)> = Vec::new();
    for number in 0..=NEWEST + 1 {
        let fate = fate(which, number);
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

/// A mode without the bits that lend the owner's user or group.
fn mode_rules(program: &mut Program, at: u32) {
    program.load(argument(at));
    program.when(JUMP_BITS, libc::S_ISUID | libc::S_ISGID, errno(libc::EPERM));
    program.push(RETURN, ALLOW, 0, 0);
}

/// The same where the flags at `at` say that a file is made; else there is no mode behind them.
fn made_rules(program: &mut Program, at: u32) {
    // O_TMPFILE without the O_DIRECTORY that goes with it.
    const TMPFILE: i32 = 0x40_0000;
    program.load(argument(at));
    program.push(JUMP_BITS, (libc::O_CREAT | TMPFILE) as u32, 1, 0);
    program.push(RETURN, ALLOW, 0, 0);
    mode_rules(program, at + 1);
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

/// Threads, never processes.
fn thread_rules(program: &mut Program) {
    program.load(argument(0));
    program.push(JUMP_BITS, libc::CLONE_THREAD as u32, 1, 0);
    program.push(RETURN, errno(libc::EPERM), 0, 0);
    clone_rules(program);
}

/// What any descriptor may be asked; no device, no terminal.
fn plain_ioctl_rules(program: &mut Program) {
    program.load(argument(1));
    for request in [libc::TCGETS, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX] {
        program.when(JUMP_EQ, request as u32, ALLOW);
    }
    program.push(RETURN, errno(libc::ENOTTY), 0, 0);
}

/// Names of threads and of mappings.
fn prctl_rules(program: &mut Program) {
    program.load(argument(0));
    for option in [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA] {
        program.when(JUMP_EQ, option as u32, ALLOW);
    }
    program.push(RETURN, errno(libc::EPERM), 0, 0);
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

/// Where the network namespace is the cell's own: streams and datagrams, in their plain form. MPTCP, UDP-Lite and SCTP are not bound by Landlock's
/// rules for TCP, and raw sockets are nobody's need.
fn internet_socket_rules(program: &mut Program) {
    internet_rules(program);
    socket_rules(program);
}

fn internet_unnamed_socket_rules(program: &mut Program) {
    internet_rules(program);
    unnamed_socket_rules(program);
}

fn internet_rules(program: &mut Program) {
    let plain = [
        (libc::SOCK_STREAM, 0),
        (libc::SOCK_STREAM, libc::IPPROTO_TCP),
        (libc::SOCK_DGRAM, 0),
        (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
    ];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in plain {
            // All three fit, or the next block is tried.
            program.load(argument(0));
            program.push(JUMP_EQ, family as u32, 0, 6);
            program.load(argument(1));
            program.push(AND, 0xf, 0, 0);
            program.push(JUMP_EQ, kind as u32, 0, 3);
            program.load(argument(2));
            program.when(JUMP_EQ, protocol as u32, ALLOW);
        }
    }
}

fn quiet_fcntl_rules(program: &mut Program) {
    const F_OFD_GETLK: u32 = 36;
    program.load(argument(1));
    program.when(JUMP_EQ, libc::F_GETLK as u32, errno(libc::EACCES));
    program.when(JUMP_EQ, F_OFD_GETLK, errno(libc::EACCES));
    fcntl_rules(program);
}

/// No socket that could have a name or call one.
fn unnamed_socket_rules(program: &mut Program) {
    program.load(argument(0));
    program.when(JUMP_EQ, libc::AF_UNIX as u32, errno(libc::EACCES));
    socket_rules(program);
}

/// A pair is made of two descriptors; one of streams can't be turned to anybody else, one of datagrams can.
fn unnamed_pair_rules(program: &mut Program) {
    program.load(argument(1));
    program.push(AND, 0xf, 0, 0);
    program.when(JUMP_EQ, libc::SOCK_DGRAM as u32, errno(libc::EACCES));
    socket_rules(program);
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
/// failing later in an empty network; families that are not a network to an ordinary program do not exist. Whoever asks for the interfaces
/// (netlink) hears EINVAL, which socket(2) has for that too: libzmq takes any other error for a defect of its own and aborts.
fn socket_rules(program: &mut Program) {
    program.load(argument(0));
    program.when(JUMP_EQ, libc::AF_UNIX as u32, ALLOW);
    program.when(JUMP_EQ, libc::AF_NETLINK as u32, errno(libc::EINVAL));
    program.push(JUMP_EQ, libc::AF_INET as u32, 2, 0);
    program.push(JUMP_EQ, libc::AF_INET6 as u32, 1, 0);
    program.push(RETURN, errno(libc::EAFNOSUPPORT), 0, 0);
    program.load(argument(1));
    program.push(AND, 0xf, 0, 0);
    program.when(JUMP_EQ, libc::SOCK_RAW as u32, errno(libc::EPERM));
    program.push(RETURN, errno(libc::EACCES), 0, 0);
}

/// The filter by which a copy of a zygote is left with these calls.
pub fn filter_of(calls: Seccomp) -> Vec<libc::sock_filter> {
    filter(Filter { calls, uncounted: false, internet: false, unnamed: false, plain_modes: false })
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
    fn decide<const N: usize>(
        program: &[libc::sock_filter],
        arch: u32,
        number: u32,
        arguments: [u32; N],
    ) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let test = match step.code {
                LOAD => {
                    word = match step.k {
                        OFFSET_NR => number,
                        OFFSET_ARCH => arch,
                        at => arguments[(at as usize - 16) / 8],
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

    const EVERY: [Filter; 5] = [
        Filter {
            calls: Seccomp::Default,
            uncounted: false,
            internet: false,
            unnamed: false,
            plain_modes: false,
        },
        Filter {
            calls: Seccomp::Default,
            uncounted: true,
            internet: false,
            unnamed: false,
            plain_modes: false,
        },
        Filter {
            calls: Seccomp::Strict,
            uncounted: false,
            internet: false,
            unnamed: true,
            plain_modes: false,
        },
        Filter {
            calls: Seccomp::Runner,
            uncounted: false,
            internet: false,
            unnamed: false,
            plain_modes: false,
        },
        Filter {
            calls: Seccomp::Runner,
            uncounted: true,
            internet: false,
            unnamed: false,
            plain_modes: false,
        },
    ];
    const DENY: Filter = EVERY[0];
    const STRICT: Filter = EVERY[2];
    const RUNNER: Filter = EVERY[3];

    #[test]
    fn every_call_gets_the_fate_of_its_list() {
        for which in EVERY {
            let program = filter(which);
            for number in 0..2000_u32 {
                let call = libc::c_long::from(number);
                let decided = decide(&program, ARCH, number, [libc::AF_UNIX as u32, 0]);
                let unknown = UNKNOWN.contains(&call)
                    || UNKNOWN_HERE.contains(&call)
                    || which.uncounted && UNCOUNTED.contains(&call);
                let refused = match which.calls {
                    Seccomp::Default => {
                        FORBIDDEN.contains(&call)
                            || FORBIDDEN_HERE.contains(&call)
                            || call == libc::SYS_personality
                    }
                    Seccomp::Strict => {
                        FORBIDDEN.contains(&call)
                            || FORBIDDEN_HERE.contains(&call)
                            || [libc::SYS_personality, libc::SYS_flock].contains(&call)
                    }
                    Seccomp::Runner => {
                        let more = [libc::SYS_socketpair, libc::SYS_fcntl];
                        !runner::CALLS.contains(&call)
                            && !runner::CALLS_HERE.contains(&call)
                            && !more.contains(&call)
                    }
                };
                let expected = if number > NEWEST || unknown {
                    errno(libc::ENOSYS)
                } else if which.unnamed && call == libc::SYS_socket {
                    errno(libc::EACCES)
                } else if which.calls == Seccomp::Runner && call == libc::SYS_ioctl {
                    errno(libc::ENOTTY)
                } else if refused {
                    errno(libc::EPERM)
                } else {
                    ALLOW
                };
                assert_eq!(decided, expected, "call {number} of {which:?}");
            }
        }
    }

    #[test]
    fn the_runner_may_nothing_that_others_may_not() {
        let (deny, runner) = (filter(DENY), filter(RUNNER));
        for number in 0..2000_u32 {
            for arguments in [[1, 0], [libc::CLONE_THREAD as u32, libc::FIONREAD as u32]] {
                let allowed = |program| decide(program, ARCH, number, arguments) == ALLOW;
                assert!(!allowed(&runner) || allowed(&deny), "call {number}");
            }
        }
    }

    #[test]
    fn behind_doors_plain_streams_and_datagrams_are_let_be() {
        let program = filter(Filter { internet: true, ..DENY });
        let (stream, datagram) = (libc::SOCK_STREAM as u32, libc::SOCK_DGRAM as u32);
        for family in [libc::AF_INET, libc::AF_INET6] {
            let socket = |kind: u32, protocol: u32| {
                let kind = kind | libc::SOCK_CLOEXEC as u32;
                decide(&program, ARCH, libc::SYS_socket as u32, [family as u32, kind, protocol])
            };
            for (kind, protocol) in [(stream, 0), (stream, 6), (datagram, 0), (datagram, 17)] {
                assert_eq!(socket(kind, protocol), ALLOW, "{kind} {protocol}");
            }
            // MPTCP, SCTP, UDP-Lite, ICMP, and the two mixed up.
            for (kind, protocol) in [
                (stream, 262),
                (stream, 132),
                (datagram, 136),
                (datagram, 1),
                (stream, 17),
                (datagram, 6),
            ] {
                assert_eq!(socket(kind, protocol), errno(libc::EACCES), "{kind} {protocol}");
            }
            assert_eq!(socket(libc::SOCK_RAW as u32, 6), errno(libc::EPERM));
        }
        let other =
            |family: u32| decide(&program, ARCH, libc::SYS_socket as u32, [family, stream, 0]);
        assert_eq!(other(libc::AF_UNIX as u32), ALLOW);
        assert_eq!(other(libc::AF_NETLINK as u32), errno(libc::EINVAL));
        for family in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_BLUETOOTH] {
            assert_eq!(other(family as u32), errno(libc::EAFNOSUPPORT));
        }
    }

    #[test]
    fn plain_modes_allow_nothing_more() {
        for which in EVERY {
            let (plain, other) = (filter(Filter { plain_modes: true, ..which }), filter(which));
            for number in 0..2000_u32 {
                let allowed = |program| decide(program, ARCH, number, [1, 0, 0, 0]) == ALLOW;
                assert!(!allowed(&plain) || allowed(&other), "call {number} of {which:?}");
            }
        }
    }

    #[test]
    fn modes_that_lend_a_user_are_refused_where_files_are_somebodys() {
        let (plain, all) = (filter(Filter { plain_modes: true, ..DENY }), filter(DENY));
        let (make, tmp) = (libc::O_CREAT as u32 | 1, 0x41_0000 | 1);
        for (call, arguments, refused) in [
            (libc::SYS_fchmod, [3, 0o4755, 0, 0], true),
            (libc::SYS_fchmod, [3, 0o755, 0o4755, 0o4755], false),
            (libc::SYS_fchmodat, [0, 0, 0o2755, 0], true),
            (libc::SYS_fchmodat, [0, 0, 0o1777, 0o4755], false),
            (libc::SYS_fchmodat2, [0, 0, 0o6755, 0], true),
            (libc::SYS_openat, [0, 0, make, 0o4755], true),
            (libc::SYS_openat, [0, 0, tmp, 0o4755], true),
            (libc::SYS_openat, [0, 0, make, 0o644], false),
            // Without making a file the fourth argument is whatever was in the register.
            (libc::SYS_openat, [0, 0, 0, 0o4755], false),
            (libc::SYS_mkdirat, [0, 0, 0o755, 0], false),
        ] {
            let decided = decide(&plain, ARCH, call as u32, arguments);
            assert_eq!(
                decided,
                if refused { errno(libc::EPERM) } else { ALLOW },
                "{call} {arguments:?}"
            );
            assert_eq!(decide(&all, ARCH, call as u32, arguments), ALLOW);
        }
        assert_eq!(decide(&plain, ARCH, libc::SYS_openat2 as u32, [0; 4]), errno(libc::ENOSYS));
    }

    #[test]
    fn without_names_there_is_no_local_socket_but_a_pair() {
        for internet in [false, true] {
            let program = filter(Filter { internet, unnamed: true, ..DENY });
            let socket = |family: i32| {
                let stream = libc::SOCK_STREAM as u32;
                decide(&program, ARCH, libc::SYS_socket as u32, [family as u32, stream, 0])
            };
            assert_eq!(socket(libc::AF_UNIX), errno(libc::EACCES));
            assert_eq!(socket(libc::AF_INET) == ALLOW, internet);
        }
    }

    #[test]
    fn other_architectures_are_killed() {
        for which in EVERY {
            assert_eq!(decide(&filter(which), 0x4000_0003, 20, [0, 0]), KILL_PROCESS);
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let program = filter(DENY);
        let decide_in = |program: &[libc::sock_filter], call: libc::c_long, arguments| {
            decide(program, ARCH, call as u32, arguments)
        };
        let decide = |call, arguments| decide_in(&program, call, arguments);
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

        let strict = filter(STRICT);
        let decide = |call, arguments| decide_in(&strict, call, arguments);
        assert_eq!(decide(libc::SYS_fcntl, [0, libc::F_GETLK as u32]), errno(libc::EACCES));
        assert_eq!(decide(libc::SYS_fcntl, [0, libc::F_SETLK as u32]), ALLOW);
        assert_eq!(decide(libc::SYS_fcntl, [0, libc::F_NOTIFY as u32]), errno(libc::EINVAL));
        assert_eq!(decide(libc::SYS_socketpair, [libc::AF_UNIX as u32, 1]), ALLOW);
        let pair = [libc::AF_UNIX as u32, (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as u32];
        assert_eq!(decide(libc::SYS_socketpair, pair), errno(libc::EACCES));

        let runner = filter(RUNNER);
        let decide = |call, arguments| decide_in(&runner, call, arguments);
        let thread = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND;
        assert_eq!(decide(libc::SYS_clone, [thread as u32, 0]), ALLOW);
        assert_eq!(decide(libc::SYS_clone, [libc::SIGCHLD as u32, 0]), errno(libc::EPERM));
        let both = thread | libc::CLONE_NEWUSER;
        assert_eq!(decide(libc::SYS_clone, [both as u32, 0]), errno(libc::EPERM));
        assert_eq!(decide(libc::SYS_socket, [libc::AF_UNIX as u32, 1]), errno(libc::EPERM));
        assert_eq!(decide(libc::SYS_socketpair, [libc::AF_INET as u32, 1]), errno(libc::EACCES));
        assert_eq!(decide(libc::SYS_ioctl, [0, libc::FIONREAD as u32]), ALLOW);
        assert_eq!(decide(libc::SYS_ioctl, [0, libc::TIOCSTI as u32]), errno(libc::ENOTTY));
        assert_eq!(decide(libc::SYS_prctl, [libc::PR_SET_NAME as u32, 0]), ALLOW);
        assert_eq!(decide(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u32, 1]), errno(libc::EPERM));
    }
}
