//! What a cell can see, reach and change.

use std::os::linux::net::SocketAddrExt;

use polyloom_sandbox::{
    Bind, Exit, File, Level, Limits, Mechanism, Policy, Seccomp, SpawnError, Spec, Stdin,
};

use crate::{
    Case,
    support::{Lab, finish, is_root, shell},
};

pub const CASES: &[Case] = &[
    ("exit_codes_and_signals_are_reported", exit_codes),
    ("missing_program_is_told_apart_from_a_failing_one", missing_program),
    ("output_is_captured", output),
    ("stdin_bytes_arrive", stdin),
    ("terminals_are_for_who_asks_for_them_and_its_own", terminals),
    ("files_are_visible_and_read_only", files),
    ("binds_are_visible_and_read_only", binds),
    ("mount_points_tell_of_no_other_cell", points),
    ("bind_below_a_private_directory_works", private_bind),
    ("host_is_out_of_sight", look),
    ("refused_system_calls_are_refused", calls),
    ("the_runner_gets_an_allow_list", runner_calls),
    ("memory_that_nobody_counts_is_refused", uncounted),
    ("worker_socket_is_descriptor_three", worker),
    ("pipe_for_words_is_descriptor_three", words),
    ("wrong_specs_are_refused", wrong_specs),
    ("ordinary_programs_run_unchanged", ordinary),
];

const EPERM: &str = "1";
const ENOSYS: &str = "38";
const EFBIG: &str = "27";
const EROFS: &str = "30";
const EACCES: &str = "13";
const EAFNOSUPPORT: &str = "97";

fn exit_codes(lab: &Lab) {
    for code in [0, 1, 137, 255] {
        let done = lab.run(&lab.act(&["exit", &code.to_string()]), Limits::default());
        assert_eq!(done.fact.exit, Exit::Code(code));
        assert_eq!(done.fact.leftovers, 0);
    }
    for signal in [libc::SIGKILL, libc::SIGABRT, libc::SIGTERM] {
        let done = lab.run(&lab.act(&["signal", &signal.to_string()]), Limits::default());
        assert_eq!(done.fact.exit, Exit::Signal(signal));
        assert_eq!(done.teardown.usage.oom_kills, 0);
    }
    for (program, code) in [("true", 0), ("false", 1)] {
        let spec = Spec { argv: vec![program.into()], ..Spec::default() };
        assert_eq!(lab.run(&spec, Limits::default()).code(), code);
    }
}

fn missing_program(lab: &Lab) {
    let spec = Spec { argv: vec!["/no/such/program".into()], ..Spec::default() };
    let done = lab.run(&spec, Limits::default());
    assert_eq!(done.fact.exit, Exit::NotStarted(polyloom_sandbox::Stage::Exec, libc::ENOENT));
}

fn output(lab: &Lab) {
    let done = lab.shell("echo out; echo err >&2; echo more > /dev/stderr");
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\nmore\n"));
}

fn terminals(lab: &Lab) {
    let code =
        "ls /dev/pts; exec 3<>/dev/ptmx && exec 4<>/dev/ptmx && ls /dev/pts; echo > /dev/pts/x";
    let without = lab.shell(code);
    assert_eq!(without.stdout, "");
    assert!(without.stderr.contains("/dev/ptmx"), "{}", without.stderr);
    let with = lab.run(&Spec { terminals: true, ..shell(code) }, Limits::default());
    assert_eq!(with.stdout, "ptmx\n0\n1\nptmx\n", "{}", with.stderr);
    let many = "for i in $(seq 40); do eval \"exec $((i + 10))<>/dev/ptmx\" || break; done; ls /dev/pts | wc -l";
    let spec = Spec { argv: vec!["bash".into(), "-c".into(), many.into()], ..shell("") };
    let many = lab.run(&Spec { terminals: true, ..spec }, Limits::default());
    assert_eq!(many.stdout.trim(), "17", "{}", many.stderr);
}

fn stdin(lab: &Lab) {
    let spec = Spec { stdin: Stdin::Bytes(b"hello".into()), ..shell("cat") };
    assert_eq!(lab.run(&spec, Limits::default()).stdout, "hello");
    assert_eq!(lab.shell("cat; echo end").stdout, "end\n");
}

fn files(lab: &Lab) {
    let mut spec = shell(
        "cat /cell/in/deep/er/data; echo x 2>/dev/null > /cell/in/deep/er/data && echo written
         rm -f /cell/code/main.sh 2>/dev/null && echo removed
         mv /cell/code /cell/code2 2>/dev/null && echo moved
         chmod 777 /cell/code 2>/dev/null && echo opened
         pwd; cat /etc/hostname",
    );
    let bytes = b"data\n".to_vec();
    spec.files.push(File { path: "/cell/in/deep/er/data".into(), bytes, mode: 0o644 });
    assert_eq!(lab.run(&spec, Limits::default()).stdout, "data\n/cell/work\ncell\n");
}

fn binds(lab: &Lab) {
    let host =
        std::env::temp_dir().join(format!("polyloom-bind-{}-{}", lab.mode(), std::process::id()));
    std::fs::create_dir_all(host.join("sub")).unwrap();
    std::fs::write(host.join("sub/f"), "tree\n").unwrap();
    std::fs::write(host.join("one"), "file\n").unwrap();
    let mut spec = shell(
        "cat /cell/in/tree/sub/f /cell/in/one.txt /opt/x/y/sub/f
         for f in /cell/in/tree/sub/f /cell/in/one.txt /opt/x/y/sub/f; do
           (echo bad > $f) 2>/dev/null && echo written
         done",
    );
    spec.binds = vec![
        Bind { source: host.clone(), target: "/cell/in/tree".into() },
        Bind { source: host.join("one"), target: "/cell/in/one.txt".into() },
        Bind { source: host.clone(), target: "/opt/x/y".into() },
    ];
    let done = lab.run(&spec, Limits::default());
    std::fs::remove_dir_all(&host).unwrap();
    assert_eq!(done.stdout, "tree\nfile\ntree\n", "{}", done.stderr);
}

/// What a cell of an executor has at hand is there, empty, for any other, whoever was first.
fn points(lab: &Lab) {
    let done = lab.run(
        &shell("cd /polyloom; ls; ls once sdk executor; wc -c < bin/polyloom"),
        Limits::default(),
    );
    let seen = "bin\nexecutor\nonce\nsdk\nexecutor:\n\nonce:\n\nsdk:\n0\n";
    assert_eq!(done.stdout, seen, "{}", done.stderr);
}

fn private_bind(lab: &Lab) {
    use std::os::unix::fs::PermissionsExt;
    let host = std::env::temp_dir().join(format!(
        "polyloom-private-{}-{}",
        lab.mode(),
        std::process::id()
    ));
    std::fs::create_dir_all(host.join("open")).unwrap();
    std::fs::write(host.join("open/f"), "inside\n").unwrap();
    std::fs::write(host.join("secret"), "secret\n").unwrap();
    std::fs::set_permissions(&host, PermissionsExt::from_mode(0o700)).unwrap();
    let target = host.join("open");
    let mut spec = shell(&format!(
        "cat {}/f; cat {} 2>/dev/null",
        target.display(),
        host.join("secret").display()
    ));
    spec.binds = vec![Bind { source: target.clone(), target }];
    // A bind whose path lies below `/tmp` goes through the cell's own `/tmp`.
    let done = lab.run(&spec, Limits::default());
    std::fs::remove_dir_all(&host).unwrap();
    assert_eq!(done.stdout, "inside\n", "{}", done.stderr);
}

fn look(lab: &Lab) {
    let done = lab.run(&lab.act(&["look"]), Limits::default());
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    for (key, value) in [
        ("uid", "1000 gid=1000 pid=2"),
        ("/home", "false"),
        ("/etc/shadow", "false"),
        ("/sys/fs/cgroup", "false"),
        ("/work", "false"),
        ("/var/lib", "false"),
        ("/dev/vda", "false"),
        ("/dev/kmsg", "false"),
        ("kallsyms", "0"),
        ("cmdline", "0"),
        ("write usr", EROFS),
        ("write root", EROFS),
        ("write out", "done"),
        ("write tmp", "done"),
        ("write shm", "done"),
        ("dev null", "done"),
        ("dev random", "done"),
        ("dev stderr", "done"),
        ("cgroup", "false"),
        ("caps", &"0".repeat(48)),
        ("nnp", "1"),
        ("seccomp", "2"),
        ("fds", "[0, 1, 2]"),
        ("env", "1"),
        ("cwd", "/cell/work"),
    ] {
        assert_eq!(done.said(key), value, "{key}");
    }
    if is_root() {
        assert_eq!(done.said("groups"), "0");
    }
    for key in ["write etc", "write code", "write in", "write sysctl"] {
        assert!([EROFS, EACCES].contains(&done.said(key)), "{key}: {}", done.said(key));
    }
    for key in ["pid 1 root", "pid 1 fd"] {
        assert_ne!(done.said(key), "done", "{key}");
    }
    // Refused where there are two users; with one, process 1 of a namespace is immune to its own.
    if lab.has(Mechanism::TwoUsers) {
        assert_eq!(done.said("kill 1"), EPERM);
        assert_eq!(done.said("/root"), "false");
    }
}

fn calls(lab: &Lab) {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(b"polyloom-canary").unwrap();
    let canary = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    canary.set_nonblocking(true).unwrap();
    let done = lab.run(&lab.act(&["calls"]), Limits::default());
    assert_eq!(done.fact.exit, Exit::Signal(libc::SIGSYS), "the 32-bit entry kills");
    for (key, value) in [
        ("socket inet", EACCES),
        ("socket udp", EACCES),
        ("socket raw", EPERM),
        ("socket netlink", "22"),
        ("socket vsock", EAFNOSUPPORT),
        ("socket unix", "0"),
        ("unshare", EPERM),
        ("clone3", ENOSYS),
        ("clone newuser", EPERM),
        ("io_uring", ENOSYS),
        ("ptrace", EPERM),
        ("inotify", ENOSYS),
        ("inotify watch", ENOSYS),
        ("dnotify", "22"),
        ("mount", ENOSYS),
        ("umount", ENOSYS),
        ("mkfifo", EPERM),
        ("keyctl", ENOSYS),
        ("bpf", ENOSYS),
        ("future", ENOSYS),
        ("memfd huge", if lab.has(Mechanism::Memory) { EFBIG } else { ENOSYS }),
        ("raise nofile", EPERM),
    ] {
        assert_eq!(done.said(key), value, "{key}");
    }
    assert_ne!(done.said("abstract"), "done");
    assert!(canary.accept().is_err(), "nobody reached the host's socket");
}

fn runner_calls(lab: &Lab) {
    let policy = Policy { seccomp: Seccomp::Runner, ..Policy::default() };
    let sandbox = lab.spawner.spawn(&policy, &lab.act(&["calls-runner"])).unwrap();
    let status = &sandbox.enforcement().mechanisms[&Mechanism::Seccomp];
    assert_eq!((status.level, status.used.as_str()), (Level::Full, "allow-list filter"));
    let done = finish(sandbox);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    for (key, value) in [
        ("fork", EPERM),
        ("vfork", EPERM),
        ("socket", EPERM),
        ("kill", EPERM),
        ("chmod", EPERM),
        ("chdir", EPERM),
        ("prctl", EPERM),
        ("shmget", if lab.has(Mechanism::Memory) { EPERM } else { ENOSYS }),
        ("personality", EPERM),
        ("io_uring", ENOSYS),
        ("thread", "5"),
        ("file", "done"),
        ("list", "1"),
    ] {
        assert_eq!(done.said(key), value, "{key}");
    }
}

fn uncounted(lab: &Lab) {
    let done = lab.run(&lab.act(&["uncounted"]), Limits::default());
    let expected = if lab.has(Mechanism::Memory) { "0" } else { ENOSYS };
    for key in ["memfd", "shmget", "msgget", "semget"] {
        assert_eq!(done.said(key), expected, "{key}");
    }
}

fn worker(lab: &Lab) {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };
    let spec = Spec { worker_socket: true, ..lab.act(&["worker"]) };
    let mut sandbox = lab.start(&spec, Limits::default());
    let mut socket = UnixStream::from(sandbox.take_worker().unwrap());
    socket.set_nonblocking(false).unwrap();
    socket.write_all(b"abcd").unwrap();
    let mut back = Vec::new();
    socket.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"dcba");
    assert_eq!(crate::support::finish(sandbox).code(), 0);
}

fn words(lab: &Lab) {
    use std::{fs::File, io::Read};
    // By its number and by its path: a pipe can be opened anew.
    let script = "echo one >&$POLYLOOM_SAY; echo two > /proc/self/fd/$POLYLOOM_SAY; echo ${POLYLOOM_W:-none} >&3";
    let spec = Spec { words: true, ..shell(script) };
    let mut sandbox = lab.start(&spec, Limits::default());
    let pipe = sandbox.take_worker().unwrap();
    assert_eq!(crate::support::finish(sandbox).code(), 0);
    let mut said = String::new();
    let mut pipe = File::from(pipe);
    pipe.read_to_string(&mut said).unwrap();
    assert_eq!(said, "one\ntwo\nnone\n");
}

fn wrong_specs(lab: &Lab) {
    let refused = |change: &dyn Fn(&mut Spec)| {
        let mut spec = shell("true");
        change(&mut spec);
        let outcome = lab.spawner.spawn(&polyloom_sandbox::Policy::default(), &spec);
        matches!(outcome, Err(SpawnError::Spec(_)))
    };
    assert!(refused(&|spec| spec.argv.clear()));
    assert!(refused(&|spec| spec.env.push(("A=B".into(), "x".into()))));
    assert!(refused(&|spec| spec.env.push(("A".into(), "x\0".into()))));
    for path in ["/etc/x", "/cell/../etc/x", "cell/x", "/cell"] {
        let file = File { path: path.into(), bytes: vec![], mode: 0o644 };
        assert!(refused(&|spec| spec.files.push(file.clone())), "{path}");
    }
    for target in ["/", "/proc/x", "/dev/x", "/cell", "/cell/out", "x", "/cell/in/../../etc"] {
        let bind = Bind { source: "/usr".into(), target: target.into() };
        assert!(refused(&|spec| spec.binds.push(bind.clone())), "{target}");
    }
    let mut spec = shell("true");
    spec.binds.push(Bind { source: "/no/such/place".into(), target: "/cell/in/x".into() });
    let outcome = lab.spawner.spawn(&polyloom_sandbox::Policy::default(), &spec);
    assert!(matches!(
        outcome,
        Err(SpawnError::Setup { stage: polyloom_sandbox::Stage::BindSource, .. })
    ));
}

/// Name, code, and what it prints.
const PROGRAMS: &[(&str, &str, &str)] = &[
    (
        "cc",
        r#"echo 'int puts(const char*); int main(){puts("ran");}' > a.c && cc -O1 a.c -o a && ./a"#,
        "ran\n",
    ),
    (
        "c++",
        r#"printf '#include <iostream>\nint main(){std::cout<<1;}' > a.cc && c++ a.cc -o a && ./a"#,
        "1",
    ),
    ("bash", r#"bash -c 'cat <(echo in); (exit 3) | cat; echo $PIPESTATUS'"#, "in\n3\n"),
    ("perl", r#"perl -e 'my $p = fork // die; exit 4 if !$p; wait; print $? >> 8'"#, "4"),
    (
        "python3",
        r#"cat > m.py <<'E'
import multiprocessing as m, sqlite3, subprocess, tempfile, threading
if __name__ == "__main__":
    print(subprocess.run(["echo", "s"], capture_output=True).stdout.decode(), end="")
    with m.get_context("fork").Pool(2) as pool: print(pool.map(abs, [-1, 2]))
    with m.Manager() as manager: print(manager.list([1]))
    print(sqlite3.connect("a.db").execute("select 1").fetchone())
E
python3 m.py"#,
        "s\n[1, 2]\n[1]\n(1,)\n",
    ),
    (
        "node",
        r#"node -e 'new (require("worker_threads").Worker)("console.log(7)",{eval:true})'"#,
        "7\n",
    ),
    ("awk", r#"echo 1 2 | awk '{print $2 > "f"; close("f"); getline x < "f"; print x}'"#, "2\n"),
    ("make", r#"printf 'a:\n\t@echo made\n' > Makefile && make -s"#, "made\n"),
];

fn ordinary(lab: &Lab) {
    for (program, code, expected) in PROGRAMS {
        let there = ["/usr/bin", "/bin"]
            .iter()
            .any(|directory| std::path::Path::new(directory).join(program).exists());
        if !there {
            println!("       not on this machine: {program}");
            continue;
        }
        let limits = Limits { memory: 2 << 30, ..Limits::default() };
        let done = lab.run(&shell(code), limits);
        assert_eq!(done.stdout, *expected, "{program}: {} {:?}", done.stderr, done.fact);
    }
}
