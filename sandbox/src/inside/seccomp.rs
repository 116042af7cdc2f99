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
    // statmount and listmount (6.8): describe the host's mounts.
    457,
    458,
];

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
const JUMP_GT: u16 = 0x25;
#[cfg(target_arch = "x86_64")]
const JUMP_GE: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const fn errno(number: i32) -> u32 {
    0x0005_0000 | number as u32
}

/// Builds instructions; every rule is self-contained, so jumps are only ever a few instructions forward.
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

    /// Rules that look at arguments of one call; ends by allowing the call.
    fn call(&mut self, number: libc::c_long, rules: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.push(JUMP_EQ, number as u32, 0, 0);
        rules(self);
        self.push(RETURN, ALLOW, 0, 0);
        let length = self.0.len() - start - 1;
        self.0[start].jf = u8::try_from(length).expect("a call has few rules");
    }
}

/// The filter every cell runs under.
pub fn filter() -> Vec<libc::sock_filter> {
    let mut program = Program(Vec::with_capacity(220));
    // First of all: a 32-bit entry has other numbers, and would walk through every rule below.
    program.load(OFFSET_ARCH);
    program.push(JUMP_EQ, ARCH, 1, 0);
    program.push(RETURN, KILL_PROCESS, 0, 0);
    program.load(OFFSET_NR);
    #[cfg(target_arch = "x86_64")]
    program.when(JUMP_GE, X32_BIT, errno(libc::ENOSYS));
    program.when(JUMP_GT, NEWEST, errno(libc::ENOSYS));
    for number in UNKNOWN {
        program.when(JUMP_EQ, *number as u32, errno(libc::ENOSYS));
    }
    for number in FORBIDDEN.iter().chain(FORBIDDEN_HERE) {
        program.when(JUMP_EQ, *number as u32, errno(libc::EPERM));
    }
    program.call(libc::SYS_socket, socket_rules);
    program.call(libc::SYS_socketpair, socket_rules);
    program.call(libc::SYS_clone, |program| {
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
    });
    program.call(libc::SYS_ioctl, |program| {
        program.load(argument(1));
        // Pushing input into a terminal; the cell has none, but the kernel's default still allows it.
        program.when(JUMP_EQ, libc::TIOCSTI as u32, errno(libc::EPERM));
        program.when(JUMP_EQ, 0x541C /* TIOCLINUX */, errno(libc::EPERM));
    });
    program.call(libc::SYS_personality, |program| {
        program.load(argument(0));
        program.when(JUMP_EQ, 0, ALLOW);
        program.when(JUMP_EQ, 0xffff_ffff, ALLOW);
        program.push(RETURN, errno(libc::EPERM), 0, 0);
    });
    program.call(libc::SYS_seccomp, |program| {
        const NEW_LISTENER: u32 = 8;
        program.load(argument(1));
        program.when(JUMP_BITS, NEW_LISTENER, errno(libc::EPERM));
    });
    program.push(RETURN, ALLOW, 0, 0);
    program.0
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
