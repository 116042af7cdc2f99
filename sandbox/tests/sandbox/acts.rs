//! What a hostile cell does, by name. Runs inside the sandbox; prints `key=value` lines.

use std::{
    fs, io,
    io::Write,
    os::unix::net::UnixStream,
    process,
    time::{Duration, Instant},
};

use polyloom_sandbox::{Seccomp, zygote};

pub fn run(arguments: &[String]) -> ! {
    let argument = arguments.get(1).map_or("", String::as_str);
    match arguments[0].as_str() {
        "exit" => process::exit(argument.parse().unwrap()),
        "signal" => kill(own_pid(), argument.parse().unwrap()),
        "memory" => memory(),
        "memory-children" => memory_children(),
        "fork-bomb" => fork_bomb(),
        "daemon" => daemon(),
        "orphans" => orphans(),
        "sleep" => sleep(),
        "term" => term(),
        "look" => look(),
        "calls" => calls(),
        "calls-runner" => calls_of_a_runner(),
        "uncounted" => uncounted(),
        "kill-all" => kill_all(),
        "spin" => spin(argument.parse().unwrap()),
        "worker" => worker(),
        "zygote" => be_zygote(argument),
        other => panic!("no act {other}"),
    }
    process::exit(0)
}

fn own_pid() -> i32 {
    process::id() as i32
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: integers only.
    let result = unsafe { libc::kill(pid, signal) };
    if result != 0 {
        println!("kill {pid}={}", io::Error::last_os_error().raw_os_error().unwrap());
    }
}

fn fork() -> i32 {
    // SAFETY: single-threaded.
    unsafe { libc::fork() }
}

fn memory() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
    }
}

/// Each child stays well below the limit; all together exceed it.
fn memory_children() {
    for _ in 0..8 {
        if fork() == 0 {
            let block = vec![1_u8; 24 << 20];
            std::hint::black_box(&block);
            sleep();
        }
    }
    sleep();
}

fn fork_bomb() {
    // SAFETY: ignoring a signal.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    println!("started=1");
    loop {
        if fork() == 0 {
            // SAFETY: no arguments.
            unsafe { libc::setsid() };
        }
    }
}

fn daemon() {
    if fork() == 0 {
        // SAFETY: no arguments.
        unsafe { libc::setsid() };
        if fork() == 0 {
            sleep();
        }
        process::exit(0);
    }
    // SAFETY: a null status is allowed.
    unsafe { libc::wait(std::ptr::null_mut()) };
}

/// Children that burn time and outlive the main process.
fn orphans() {
    for _ in 0..3 {
        if fork() == 0 {
            spin(10_000);
        }
    }
    std::thread::sleep(Duration::from_millis(500));
}

fn sleep() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

extern "C" fn on_term(_: i32) {
    // SAFETY: `_exit` is allowed in a signal handler.
    unsafe { libc::_exit(42) }
}

fn term() {
    // SAFETY: the handler only calls `_exit`.
    unsafe { libc::signal(libc::SIGTERM, on_term as *const () as libc::sighandler_t) };
    println!("started=1");
    sleep();
}

fn spin(millis: u64) {
    let end = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < end {}
}

fn error_of<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "done".into(),
        Err(error) => {
            error.raw_os_error().map_or_else(|| error.to_string(), |number| number.to_string())
        }
    }
}

/// What is within reach.
fn look() {
    // SAFETY: no arguments.
    unsafe {
        println!("uid={} gid={} pid={}", libc::getuid(), libc::getgid(), libc::getpid());
        println!("uid={}", libc::getuid());
        println!("pid={}", libc::getpid());
        println!("groups={}", libc::getgroups(0, std::ptr::null_mut()));
    }
    for path in [
        "/root",
        "/home",
        "/var/lib",
        "/etc/shadow",
        "/sys/fs/cgroup",
        "/work",
        "/dev/vda",
        "/dev/kmsg",
    ] {
        println!("{path}={}", fs::symlink_metadata(path).is_ok());
    }
    println!("pid 1 root={}", error_of(fs::read_link("/proc/1/root")));
    println!("pid 1 fd={}", error_of(fs::read_dir("/proc/1/fd").map(drop)));
    println!("kallsyms={}", fs::read("/proc/kallsyms").map_or(0, |bytes| bytes.len()));
    println!("cmdline={}", fs::read("/proc/cmdline").map_or(0, |bytes| bytes.len()));
    println!("write usr={}", error_of(fs::write("/usr/x", "x")));
    println!("write etc={}", error_of(fs::write("/etc/passwd", "x")));
    println!("write root={}", error_of(fs::write("/x", "x")));
    println!("write code={}", error_of(fs::write("/cell/code/x", "x")));
    println!("write in={}", error_of(fs::write("/cell/in/x", "x")));
    println!("write sysctl={}", error_of(fs::write("/proc/sys/kernel/core_pattern", "x")));
    println!("write out={}", error_of(fs::write("/cell/out/x", "x")));
    println!("write tmp={}", error_of(fs::write("/tmp/x", "x")));
    println!("write shm={}", error_of(fs::write("/dev/shm/x", "x")));
    println!("dev null={}", error_of(fs::write("/dev/null", "x")));
    println!("dev random={}", error_of(fs::File::open("/dev/urandom")));
    println!("dev stderr={}", error_of(fs::write("/dev/stderr", "")));
    println!(
        "cgroup={}",
        fs::read_to_string("/proc/self/cgroup").unwrap_or_default().contains("polyloom")
    );
    println!("caps={}", status_line("CapEff") + &status_line("CapBnd") + &status_line("CapPrm"));
    println!("nnp={}", status_line("NoNewPrivs"));
    println!("seccomp={}", status_line("Seccomp"));
    let open: Vec<i32> = (0..1024)
        // SAFETY: integers only.
        .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0)
        .collect();
    println!("fds={open:?}");
    println!("env={}", std::env::vars().count());
    println!("cwd={}", std::env::current_dir().unwrap().display());
    kill(1, 0);
    kill(1, libc::SIGKILL);
    kill(1, libc::SIGSTOP);
}

fn status_line(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
    line.unwrap_or("none").trim().to_owned()
}

fn errno_of(result: libc::c_long) -> i32 {
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap() }
}

/// System calls that must be refused, with the error they are refused by.
fn calls() {
    // SAFETY: every call is refused before it looks at its (null or integer) arguments.
    unsafe {
        println!(
            "socket inet={}",
            errno_of(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into())
        );
        println!(
            "socket udp={}",
            errno_of(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).into())
        );
        println!("socket raw={}", errno_of(libc::socket(libc::AF_INET, libc::SOCK_RAW, 1).into()));
        println!(
            "socket netlink={}",
            errno_of(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).into())
        );
        println!("socket vsock={}", errno_of(libc::socket(40, libc::SOCK_STREAM, 0).into()));
        println!(
            "socket unix={}",
            errno_of(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into())
        );
        println!("unshare={}", errno_of(libc::unshare(libc::CLONE_NEWUSER).into()));
        println!("clone3={}", errno_of(libc::syscall(libc::SYS_clone3, 0, 0)));
        let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
        println!("clone newuser={}", errno_of(libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0)));
        println!("io_uring={}", errno_of(libc::syscall(libc::SYS_io_uring_setup, 4, 0)));
        println!("ptrace={}", errno_of(libc::syscall(libc::SYS_ptrace, 16, 1, 0, 0)));
        println!("inotify={}", errno_of(libc::inotify_init1(0).into()));
        println!(
            "inotify watch={}",
            errno_of(libc::inotify_add_watch(0, c"/usr".as_ptr(), 1).into())
        );
        println!("dnotify={}", errno_of(libc::fcntl(0, libc::F_NOTIFY, 1).into()));
        println!("mount={}", errno_of(libc::syscall(libc::SYS_mount, 0, 0, 0, 0, 0)));
        println!("umount={}", errno_of(libc::syscall(libc::SYS_umount2, 0, 0)));
        println!("mkfifo={}", errno_of(libc::mkfifo(c"f".as_ptr(), 0o600).into()));
        println!("keyctl={}", errno_of(libc::syscall(libc::SYS_keyctl, 0, 0, 0, 0, 0)));
        println!("bpf={}", errno_of(libc::syscall(libc::SYS_bpf, 0, 0, 0)));
        println!("future={}", errno_of(libc::syscall(999)));
        println!("memfd huge={}", {
            let fd = libc::memfd_create(c"x".as_ptr(), 0);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let made = errno_of(fd.into());
            if made == 0 { errno_of(libc::ftruncate(fd, 1 << 40).into()) } else { made }
        });
        let raise = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
        println!(
            "raise nofile={}",
            errno_of(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raise).into())
        );
    }
    println!("abstract={}", abstract_connect());
    io::stdout().flush().unwrap();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the 32-bit entry must kill us; nothing after it is believed.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") 20_i64 => _);
    }
    println!("int80=survived");
}

/// What the allow-list refuses beyond the deny-list, and what it leaves.
fn calls_of_a_runner() {
    // SAFETY: a child that should not be there ends at once; the other calls take integers or literals.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(0);
        }
        println!("fork={}", errno_of(child.into()));
        println!("vfork={}", errno_of(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)));
        println!("socket={}", errno_of(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into()));
        println!("kill={}", errno_of(libc::kill(libc::getpid(), 0).into()));
        println!("chmod={}", errno_of(libc::chmod(c"/cell/out".as_ptr(), 0o777).into()));
        println!("chdir={}", errno_of(libc::chdir(c"/".as_ptr()).into()));
        println!("prctl={}", errno_of(libc::prctl(libc::PR_SET_DUMPABLE, 1).into()));
        println!("shmget={}", errno_of(libc::shmget(0, 4096, 0o600).into()));
        println!("personality={}", errno_of(libc::personality(0xffff_ffff).into()));
        println!("io_uring={}", errno_of(libc::syscall(libc::SYS_io_uring_setup, 4, 0)));
    }
    println!("thread={}", std::thread::spawn(|| 5).join().unwrap());
    println!("file={}", error_of(fs::write("/cell/out/x", "x")));
    println!("list={}", fs::read_dir("/cell/out").unwrap().count());
}

/// Memory that no process maps.
fn uncounted() {
    // SAFETY: integers and a literal only.
    unsafe {
        println!("memfd={}", errno_of(libc::memfd_create(c"x".as_ptr(), 0).into()));
        println!("shmget={}", errno_of(libc::shmget(libc::IPC_PRIVATE, 4096, 0o600).into()));
        println!("msgget={}", errno_of(libc::msgget(libc::IPC_PRIVATE, 0o600).into()));
        println!("semget={}", errno_of(libc::semget(libc::IPC_PRIVATE, 1, 0o600).into()));
    }
}

fn abstract_connect() -> String {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(b"polyloom-canary").unwrap();
    error_of(UnixStream::connect_addr(&address))
}

fn kill_all() {
    kill(-1, libc::SIGKILL);
    kill(1, libc::SIGKILL);
    println!("still=here");
    process::exit(7);
}

fn worker() {
    use std::{io::Read, os::fd::FromRawFd};
    let number: i32 = std::env::var("POLYLOOM_W").unwrap().parse().unwrap();
    // SAFETY: the sandbox gave us this descriptor.
    let mut socket = unsafe { UnixStream::from_raw_fd(number) };
    let mut word = [0; 4];
    socket.read_exact(&mut word).unwrap();
    word.reverse();
    socket.write_all(&word).unwrap();
}

/// A zygote whose cells are what `/cell/code/main.sh` says; or one that does something else when it is asked for a cell.
fn be_zygote(how: &str) {
    const LINE: i32 = 3;
    let tell = |kind: u32, value: i32| {
        let bytes = [kind.to_le_bytes(), value.to_le_bytes()].concat();
        // SAFETY: the pointer and length describe a live buffer.
        unsafe { libc::send(LINE, bytes.as_ptr().cast(), bytes.len(), 0) }
    };
    match how {
        "" => {
            use std::os::unix::process::CommandExt as _;
            zygote::serve(Seccomp::Default);
            panic!("{}", process::Command::new("sh").arg("/cell/code/main.sh").exec());
        }
        "narrow" => {
            zygote::serve(Seccomp::Runner);
            narrow();
        }
        "threads" => {
            std::thread::spawn(sleep);
            zygote::serve(Seccomp::Default);
            return;
        }
        "dead" => process::exit(1),
        "cold" => sleep(),
        "fat" => std::mem::forget(vec![1_u8; 300 << 20]),
        _ => {}
    }
    tell(3, i32::from(matches!(how, "ahead" | "spare")));
    let mut two = [0_u8; 2];
    // SAFETY: room for two bytes.
    let hear =
        |two: &mut [u8; 2], flags| unsafe { libc::recv(LINE, two.as_mut_ptr().cast(), 2, flags) };
    loop {
        match hear(&mut two, libc::MSG_PEEK) {
            ..=0 => return,
            1 => drop(hear(&mut two, 0)),
            _ => {}
        }
        match how {
            "ahead" | "late" | "spare" => {}
            "exit" => process::exit(1),
            "unread" => {
                tell(1, 77);
                tell(2, 0);
                process::exit(0);
            }
            "early" => drop(tell(2, 0)),
            "garbage" => drop(tell(9, 9)),
            // SAFETY: the buffer is live.
            "long" => drop(unsafe { libc::send(LINE, [0_u8; 64].as_ptr().cast(), 64, 0) }),
            _ => sleep(),
        }
        let child = fork();
        if child == 0 {
            match how {
                "ahead" | "late" => forked(None),
                "spare" => forked(Some(two[0])),
                _ => process::exit(1),
            }
        }
        tell(1, child);
        let mut status = 0;
        // SAFETY: `status` is live.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        tell(2, status);
    }
}

/// The first steps of a cell, in the order of the specification; it is told the byte by which its zygote was asked.
fn forked(spare: Option<u8>) -> ! {
    const LINE: i32 = 3;
    let (mut bytes, mut control) = (vec![0_u8; 1 << 18], [0_u64; 64]);
    // SAFETY: all pointers refer to live buffers of the sizes given; descriptors that come are ours.
    let (length, fds) = unsafe {
        let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut iov, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 512);
        let length = libc::recvmsg(LINE, &raw mut message, 0);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let count = ((*header).cmsg_len - libc::CMSG_LEN(0) as usize) / 4;
        let slots = libc::CMSG_DATA(header).cast::<i32>();
        (length as usize, (0..count).map(|at| slots.add(at).read_unaligned()).collect::<Vec<_>>())
    };
    let user = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    for fd in &fds[4..] {
        // SAFETY: one byte of a literal.
        assert_eq!(unsafe { libc::write(*fd, c"0".as_ptr().cast(), 1) }, 1);
    }
    // SAFETY: integers only.
    unsafe {
        for (place, fd) in (0..).zip(&fds[..4]) {
            libc::dup2(*fd, place);
        }
        libc::close_range(4, u32::MAX, 0);
        libc::setpgid(0, 0);
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(user, user, user), 0);
        assert_eq!(libc::setresuid(user, user, user), 0);
        let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()), 0);
    }
    std::env::set_current_dir("/cell/work").unwrap();
    let env = bytes[8..length].split(|byte| *byte == 0).filter_map(|pair| {
        let text = std::str::from_utf8(pair).unwrap();
        text.split_once('=')
    });
    use std::os::unix::process::CommandExt as _;
    let told = spare.map(|byte| ("SPARE", byte.to_string()));
    let mut cell = process::Command::new("sh");
    let error = cell.arg("/cell/code/main.sh").env_clear().envs(env).envs(told).exec();
    panic!("{error}");
}

/// What a cell of a zygote with the runner's filter is left with.
fn narrow() -> ! {
    let errno = |result: i64| match result {
        -1 => io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    };
    // SAFETY: integers only; a copy, if there is one, ends at once.
    let (copy, socket, user, wait) = unsafe {
        let copy = libc::fork();
        if copy == 0 {
            libc::_exit(0);
        }
        (
            errno(copy.into()),
            errno(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into()),
            errno(libc::syscall(libc::SYS_setresuid, 0, 0, 0)),
            errno(libc::syscall(libc::SYS_wait4, -1, 0, 0, 0)),
        )
    };
    let variables: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    let place = std::env::current_dir().unwrap();
    print!("{copy} {socket} {user} {wait} {} {}", variables.join(" "), place.display());
    io::stdout().flush().unwrap();
    process::exit(0)
}
