//! Cells of parked sandboxes, with and without a zygote: each as confined as one that was started by itself, and nothing of one is ever there for the next.

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use polyloom_sandbox::{
    Bind, Exit, File, HOT_FROM, Limits, Network, Parked, Policy, Sandbox, Seccomp, SpawnError, Spec,
};

use crate::{
    Case,
    support::{Done, LONG, Lab, finish, shell},
};

pub const CASES: &[Case] = &[
    ("a_zygote_makes_one_cell_after_the_other", |lab| ways(lab, one_after_the_other)),
    ("a_cell_of_a_zygote_sees_what_any_cell_sees", |lab| ways(lab, same_view)),
    ("nothing_of_a_cell_is_left_for_the_next", |lab| ways(lab, nothing_left)),
    ("what_is_laid_for_one_cell_is_gone_for_the_next", |lab| ways(lab, laid)),
    ("memory_and_time_of_a_zygotes_cells_are_their_own", counted),
    ("counters_of_a_cell_tell_of_no_other", |lab| ways(lab, other_counters)),
    ("a_cell_that_leaves_a_process_is_the_last_of_its_zygote", |lab| ways(lab, leftovers)),
    ("a_cell_that_leaves_shared_memory_is_the_last_of_its_zygote", |lab| ways(lab, objects)),
    ("a_cell_that_leaves_something_large_keeps_it_in_memory", |lab| ways(lab, large)),
    ("a_cell_that_flags_its_directories_is_the_last_in_its_sandbox", |lab| ways(lab, flags)),
    ("a_cell_that_marks_its_directories_is_the_last_of_its_zygote", |lab| ways(lab, marks)),
    ("a_killed_cell_takes_its_zygote_along", |lab| ways(lab, killed)),
    ("a_cell_has_no_power_over_its_zygote", |lab| ways(lab, no_power)),
    ("what_is_read_of_a_cell_keeps_its_zygote_from_the_next", |lab| ways(lab, readers)),
    ("a_copy_of_a_zygote_has_only_the_calls_of_its_cell", narrowed),
    ("files_can_come_to_a_program_that_waits", ahead),
    ("a_zygote_that_forks_ahead_is_told_whether_a_processor_is_free", spare),
    ("a_bad_zygote_makes_no_cell", bad_zygotes),
    ("what_does_not_come_up_is_no_zygote", no_zygotes),
    ("a_program_that_is_not_there_ends_its_parked_sandbox", no_program),
    ("a_cell_that_cannot_be_laid_out_is_an_error", bad_binds),
    ("a_supervisor_that_does_not_answer_is_soon_given_up", silent),
    ("what_shares_nothing_has_no_zygote", shares_nothing),
];

fn ways(lab: &Lab, case: fn(&Lab, &str)) {
    if possible(lab) {
        WAYS.into_iter().for_each(|way| case(lab, way));
    }
}

/// Where zygotes are given back.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Parked>>>);

impl Pool {
    fn take(&self) -> Option<Parked> {
        self.0.lock().unwrap().pop()
    }
}

/// Whether there can be zygotes here; says so if not.
fn possible(lab: &Lab) -> bool {
    match lab.spawner.can_park(&Policy::default()).unwrap() {
        Ok(()) => true,
        Err(why) => {
            println!("       no zygotes here: {why}");
            false
        }
    }
}

/// What there is: our own program as a zygote, another that forks before there is a cell, one that forks for each, and a supervisor that starts them.
const WAYS: [&str; 4] = ["", "ahead", "late", "plain"];

fn zygote(lab: &Lab, how: &str) -> Parked {
    if how == "plain" {
        return lab.spawner.park(&Policy::default(), &lab.act(&["never"])).unwrap();
    }
    let spec = Spec { zygote: true, ..lab.act(&["zygote", how]) };
    lab.spawner.park(&Policy::default(), &spec).unwrap()
}

fn cell(code: &str) -> Spec {
    Spec { worker_socket: true, ..shell(code) }
}

fn fork(lab: &Lab, zygote: Parked, spec: &Spec, pool: &Pool) -> Sandbox {
    fork_with(lab, zygote, &Policy::default(), spec, pool)
}

fn fork_with(lab: &Lab, zygote: Parked, policy: &Policy, spec: &Spec, pool: &Pool) -> Sandbox {
    let back = pool.clone();
    let back = move |zygote| back.0.lock().unwrap().push(zygote);
    lab.spawner.unpark(zygote, policy, spec, back).unwrap()
}

/// A cell from its beginning to its end; its zygote is in the pool if it can make another.
fn run(lab: &Lab, zygote: Parked, code: &str, pool: &Pool) -> Done {
    finish(fork(lab, zygote, &cell(code), pool))
}

fn text(done: &Done, path: &str) -> String {
    let file = done.sandbox.collect().unwrap().open_file(path).unwrap();
    std::io::read_to_string(std::fs::File::from(file)).unwrap()
}

fn one_after_the_other(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let mut next = zygote(lab, way);
    let pid = next.pid();
    for number in 0..20 {
        let code = format!("echo {number}; echo {number} > /cell/out/x; exit {}", number % 3);
        let done = run(lab, next, &code, &pool);
        assert_eq!(done.fact.exit, Exit::Code(number % 3));
        assert_eq!(done.stdout, format!("{number}\n"));
        assert_eq!(text(&done, "out/x"), format!("{number}\n"));
        drop(done);
        next = pool.take().expect("it can make another");
        assert_eq!(next.pid(), pid);
        assert!(next.is_there());
    }
    let done = run(lab, next, "kill -SEGV $$", &pool);
    assert_eq!(done.fact.exit, Exit::Signal(libc::SIGSEGV));
    drop(done);
    assert!(pool.take().is_some(), "a crash is an end like any other");
}

fn same_view(lab: &Lab, way: &str) {
    const LOOK: &str = "id -u; id -g; id -G; pwd; ls -la /cell /cell/work /cell/out /cell/tmp | grep -v total | \
        sed 's/[0-9]*:[0-9]*/T/g'; ls -la /proc/self/fd | grep -c pipe; echo $$; cat /proc/self/environ | tr '\\0' '\\n'; \
        grep -E '^(Cap|NoNew|Seccomp|Uid|Gid|Groups)' /proc/self/status; ulimit -a; ls /; set -- /proc/[0-9]*; echo $#; \
        cat /proc/self/oom_score_adj; umask; hostname";
    let alone = finish(lab.start(&cell(LOOK), Limits::default())).stdout;
    let pool = Pool::default();
    let mut next = zygote(lab, way);
    for _ in 0..3 {
        let done = run(lab, next, LOOK, &pool);
        assert_eq!(done.stdout, alone, "{}", done.stderr);
        drop(done);
        next = pool.take().unwrap();
    }
}

fn nothing_left(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let secret = cell(
        "echo secret | tee /cell/out/a /cell/work/b /cell/tmp/c /dev/shm/d > /dev/null; \
         mkdir -p /cell/work/x/y/z; ln -s /etc/passwd /cell/work/link; chmod 000 /cell/work/x; chmod 777 /cell/work; \
         touch -d 2001-01-01 /cell/tmp; export LEFT=secret",
    );
    let secret = Spec {
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("OWN".into(), "secret".into())],
        ..secret
    };
    let done = finish(fork(lab, zygote(lab, way), &secret, &pool));
    assert_eq!(done.fact.exit, Exit::Code(0), "{}", done.stderr);
    drop(done);
    let look = "find /cell -not -path '/cell/code*' | sort; stat -c '%a %U' /cell/work /cell/tmp; \
        find /cell/tmp -newermt 2002-01-01; echo $OWN$LEFT; df --output=iused /cell | tail -1";
    let first = run(lab, zygote(lab, way), look, &pool);
    let second = run(lab, pool.take().unwrap(), look, &pool);
    assert_eq!(second.stdout, first.stdout);
    assert!(!second.stdout.contains("secret"));
    assert!(second.stdout.contains("\n755 cell\n755 cell\n/cell/tmp\n\n"), "{}", second.stdout);
}

fn laid(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let mut next = zygote(lab, way);
    let folder = std::env::temp_dir().join(format!("polyloom-laid-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..3 {
        let source = folder.join(number.to_string());
        std::fs::write(&source, format!("bound {number}\n")).unwrap();
        let mut spec =
            cell("cat /cell/in/* /cell/program; ls /cell/in; : > /cell/in/b && echo written");
        let target = format!("/cell/in/b{number}");
        spec.binds.push(Bind { source: source.clone(), target: target.into() });
        spec.binds.push(Bind { source, target: "/cell/program".into() });
        let path = format!("/cell/in/f{number}");
        // The size of its file system follows what it is given.
        let bytes = vec![b'x'; 1 << (20 + number)];
        spec.files.push(File { path: path.into(), bytes, mode: 0o644 });
        let done = finish(fork(lab, next, &spec, &pool));
        let shown = done.stdout.replace('x', "");
        let bound = format!("bound {number}\nbound {number}\nb{number}\nf{number}\n");
        assert_eq!(shown, bound, "{}", done.stderr);
        assert_eq!(done.teardown.usage.disk, 0);
        drop(done);
        next = pool.take().unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn counted(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    let policy =
        |memory: u64| Policy::untrusted(Limits { memory: memory << 20, ..Limits::default() });
    let spec = Spec { zygote: true, ..lab.act(&["zygote", ""]) };
    let new = || lab.spawner.park(&policy(64), &spec).unwrap();
    let pool = Pool::default();
    let busy = cell(
        "head -c 40M /dev/zero | tail -c 1 | wc -c; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
    );
    let done = finish(fork_with(lab, new(), &policy(64), &busy, &pool));
    let usage = done.teardown.usage;
    assert!(usage.cpu > Duration::from_millis(20), "{usage:?}");
    let peak = usage.peak_memory.unwrap();
    drop(done);
    let idle = finish(fork_with(lab, pool.take().unwrap(), &policy(64), &cell("true"), &pool));
    let usage = idle.teardown.usage;
    assert!(
        usage.cpu < Duration::from_millis(20) && usage.peak_memory.unwrap() < peak,
        "{usage:?}"
    );
    drop(idle);
    // Each has the limit for itself, and the kernel holds it.
    let over = cell("head -c 200M /dev/zero | tail");
    let done = finish(fork_with(lab, pool.take().unwrap(), &policy(64), &over, &pool));
    assert!(done.teardown.usage.oom_kills > 0, "{:?}", done.teardown.usage);
}

/// Control groups are those of the cell before where that left nothing in them.
fn other_counters(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let quiet = |zygote| {
        let usage = run(lab, zygote, "true", &pool).teardown.usage;
        let peak = usage.peak_memory.unwrap();
        // With what the zygote holds, which is a copy of this program.
        assert!(peak < 8 << 20 && usage.cpu < Duration::from_millis(50), "{usage:?}");
        assert!(!usage.cpu.is_zero() && peak > 0, "{usage:?}");
        assert_eq!((usage.oom_kills, usage.pids_refused), (0, 0));
        peak
    };
    let first = quiet(zygote(lab, way));
    let noisy = [
        "head -c 40M /dev/zero | tail -n 1 >/dev/null",
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
        "head -c 3M /dev/zero > /cell/out/x",
        "for i in $(seq 300); do sleep 0.3 & done 2>/dev/null; wait; true",
    ];
    for code in noisy {
        let usage = run(lab, pool.take().unwrap(), code, &pool).teardown.usage;
        let one = usage.peak_memory.unwrap() > first + (2 << 20)
            || usage.cpu > Duration::from_millis(50)
            || usage.pids_refused > 0;
        assert!(one, "{code}: {usage:?}");
        // A refused fork is followed by a new sandbox where somebody was left.
        let peak = quiet(pool.take().unwrap_or_else(|| zygote(lab, way)));
        assert!(peak < first + (2 << 20), "{code}: {peak} after {first}");
    }
}

fn leftovers(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let done = run(lab, zygote(lab, way), "setsid sleep 1000 > /dev/null 2>&1 &", &pool);
    assert_eq!((done.fact.exit, done.fact.leftovers), (Exit::Code(0), 1));
    drop(done);
    assert!(pool.take().is_none());
}

fn objects(lab: &Lab, way: &str) {
    for kind in ["-M 100000", "-S 3", "-Q"] {
        let pool = Pool::default();
        let done = run(lab, zygote(lab, way), &format!("ipcmk {kind}"), &pool);
        assert_eq!(done.fact.exit, Exit::Code(0), "{}", done.stderr);
        drop(done);
        assert!(pool.take().is_none(), "{kind}");
    }
}

fn large(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let code = format!("head -c {HOT_FROM} /dev/zero > /cell/out/x");
    let done = run(lab, zygote(lab, way), &code, &pool);
    let collector = done.sandbox.collect().unwrap();
    let file = collector.open_file("out/x").unwrap();
    assert!(collector.keep(&file).is_some());
    drop(collector);
    drop(done);
    assert!(pool.take().is_none());
}

fn marks(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let code = "python3 -c 'import os; os.setxattr(\"/cell/work\", \"user.mark\", b\"secret\")'";
    let done = run(lab, zygote(lab, way), code, &pool);
    if done.fact.exit != Exit::Code(0) {
        println!("       no attributes here: {}", done.stderr);
        return;
    }
    drop(done);
    // It was given back before that was seen, and is gone when it is asked.
    let deadline = Instant::now() + LONG;
    while pool.0.lock().unwrap().last_mut().is_some_and(Parked::is_there) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn flags(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let done = run(lab, zygote(lab, way), "chattr +d /cell/out", &pool);
    if done.fact.exit != Exit::Code(0) {
        println!("       no flags here: {}", done.stderr);
        return;
    }
    drop(done);
    let deadline = Instant::now() + LONG;
    while pool.0.lock().unwrap().last_mut().is_some_and(Parked::is_there) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn killed(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let mut sandbox = fork(lab, zygote(lab, way), &cell("sleep 1000"), &pool);
    sandbox.kill();
    let teardown = sandbox.finish();
    assert!(teardown.complete);
    drop(sandbox);
    assert!(pool.take().is_none());
    // A signal reaches the cell, and no further.
    let mut sandbox = fork(lab, zygote(lab, way), &cell("echo there; sleep 1000"), &pool);
    let mut out = sandbox.take_stdout().unwrap();
    let mut seen = Vec::new();
    let deadline = Instant::now() + LONG;
    while seen.is_empty() {
        crate::support::drain(&mut out, &mut seen);
        assert!(Instant::now() < deadline);
    }
    sandbox.signal(libc::SIGTERM).unwrap();
    assert_eq!(sandbox.wait(LONG).unwrap().exit, Exit::Signal(libc::SIGTERM));
    assert!(sandbox.finish().complete);
    drop(sandbox);
    assert!(pool.take().is_some());
}

fn no_power(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let code = "for pid in 1 1000; do kill -9 $pid 2>/dev/null && echo killed $pid; \
        cat /proc/$pid/environ 2>/dev/null && echo read $pid; ls /proc/$pid/fd 2>/dev/null && echo listed $pid; \
        prlimit --pid $pid --nofile=1:1 2>/dev/null && echo limited $pid; renice 19 $pid 2>/dev/null && echo slowed $pid; done; \
        kill -9 -1; true";
    let done = run(lab, zygote(lab, way), code, &pool);
    assert_eq!((done.stdout.as_str(), done.fact.exit), ("", Exit::Code(0)));
    drop(done);
    let done = run(lab, pool.take().unwrap(), "ulimit -n; nice", &pool);
    assert_eq!(done.stdout, "1024\n0\n");
}

fn readers(lab: &Lab, way: &str) {
    let pool = Pool::default();
    let done = run(lab, zygote(lab, way), "echo kept > /cell/out/x", &pool);
    let collector = done.sandbox.collect().unwrap();
    drop(done);
    assert!(pool.take().is_none(), "its files are being read");
    assert_eq!(
        std::io::read_to_string(std::fs::File::from(collector.open_file("out/x").unwrap()))
            .unwrap(),
        "kept\n"
    );
    drop(collector);
    assert!(pool.take().is_some());
}

fn narrowed(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    let policy = Policy { seccomp: Seccomp::Runner, ..Policy::default() };
    let spec = Spec { zygote: true, ..lab.act(&["zygote", "narrow"]) };
    let pool = Pool::default();
    let mut next = lab.spawner.park(&policy, &spec).unwrap();
    for _ in 0..2 {
        let env = vec![("OWN".to_owned(), "x".into())];
        let done = finish(fork_with(lab, next, &policy, &Spec { env, ..cell("") }, &pool));
        let (told, errno) = (done.stdout.as_str(), libc::EPERM);
        let expected = format!("{errno} {errno} {errno} {errno} OWN POLYLOOM_W /cell/work");
        assert_eq!(told, expected, "{}", done.stderr);
        assert_eq!(done.fact.exit, Exit::Code(0));
        drop(done);
        next = pool.take().unwrap();
    }
}

fn spare(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    let pool = Pool::default();
    let mut next = zygote(lab, "spare");
    // Of each cell the next one's fork is told.
    for (spare, told) in [(false, 1), (true, 0), (true, 1), (false, 1)] {
        let done = finish(fork(lab, next, &Spec { spare, ..cell("echo $SPARE") }, &pool));
        assert_eq!(done.stdout, format!("{told}\n"), "{}", done.stderr);
        drop(done);
        next = pool.take().unwrap();
    }
}

fn bad_zygotes(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    for how in ["exit", "unread", "early", "garbage", "long"] {
        let pool = Pool::default();
        let back = pool.clone();
        let back = move |zygote| back.0.lock().unwrap().push(zygote);
        let made =
            lab.spawner.unpark(zygote(lab, how), &Policy::default(), &cell("echo never"), back);
        if let Ok(sandbox) = made {
            let done = finish(sandbox);
            assert_ne!(done.fact.exit, Exit::Code(0), "{how}");
            assert_eq!(done.stdout, "", "{how}");
        }
        assert!(pool.take().is_none(), "{how}");
    }
    // One that does nothing at all is as any program that does nothing.
    let pool = Pool::default();
    let mut sandbox = fork(lab, zygote(lab, "mute"), &cell("echo never"), &pool);
    assert!(sandbox.wait(Duration::from_millis(50)).is_none());
    sandbox.kill();
    assert!(sandbox.finish().complete);
    drop(sandbox);
    assert!(pool.take().is_none());
}

fn no_zygotes(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    for how in ["dead", "fat", "threads"] {
        let spec = Spec { zygote: true, ..lab.act(&["zygote", how]) };
        let error = lab.spawner.park(&Policy::default(), &spec).unwrap_err().to_string();
        assert_eq!(error, "its program is no zygote", "{how}");
    }
}

fn no_program(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    let pool = Pool::default();
    let spec = Spec { argv: vec!["/nothing".into()], ..cell("") };
    let done = finish(fork(lab, zygote(lab, "plain"), &spec, &pool));
    assert!(matches!(done.fact.exit, Exit::NotStarted(_, libc::ENOENT)), "{:?}", done.fact);
    drop(done);
    assert!(pool.take().is_none());
}

fn bad_binds(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    let mut spec = cell("true");
    spec.binds.push(Bind { source: "/nowhere/at/all".into(), target: "/cell/in/x".into() });
    let made =
        lab.spawner.unpark(zygote(lab, ""), &Policy::default(), &spec, |_| panic!("given back"));
    let error = made.unwrap_err().to_string();
    assert!(error.contains("open a bind source"), "{error}");
}

/// Whether it is asked by us or by the spawner, which is not to blame.
fn silent(lab: &Lab) {
    if !possible(lab) {
        return;
    }
    let mut bound = cell("true");
    bound.binds.push(Bind { source: "/usr".into(), target: "/cell/in/x".into() });
    for spec in [cell("true"), bound] {
        let parked = zygote(lab, "plain");
        // SAFETY: it takes no pointers.
        assert_eq!(unsafe { libc::kill(parked.pid(), libc::SIGSTOP) }, 0);
        let begun = Instant::now();
        let made = lab.spawner.unpark(parked, &Policy::default(), &spec, |_| panic!("given back"));
        assert!(matches!(made, Err(SpawnError::Silent)), "{made:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(lab.spawner.is_there());
    }
}

fn shares_nothing(lab: &Lab) {
    let refused = |policy: Policy| lab.spawner.can_park(&policy).unwrap().unwrap_err();
    let strict = Policy { require: Default::default(), ..Policy::strict(Limits::default()) };
    refused(strict);
    refused(Policy { network: Network::Doors(vec![80]), ..Policy::default() });
}

/// A program that is there before its files: they come while it waits, and it is as any other from then on.
fn ahead(lab: &Lab) {
    const SHOW: &str = "cd /cell; cat code/own code/sub/large in/b | tr -d x; ls -ln code code/sub in | cut -d' ' -f1-5; \
        head -c 3M /dev/zero > out/x; wc -c < out/x; touch in/y code/y code/sub/y; id -u";
    if !possible(lab) {
        return;
    }
    let source = std::env::temp_dir().join(format!("polyloom-ahead-{}", std::process::id()));
    std::fs::write(&source, "bound\n").unwrap();
    let files = |number: usize| Spec {
        argv: ["sh", "-c", SHOW].map(Into::into).to_vec(),
        files: vec![
            File {
                path: "/cell/code/own".into(),
                bytes: format!("{number}\n").into(),
                mode: 0o644,
            },
            File { path: "/cell/code/sub/large".into(), bytes: vec![b'x'; 1 << 20], mode: 0o644 },
        ],
        binds: vec![Bind { source: source.clone(), target: "/cell/in/b".into() }],
        ..cell("")
    };
    let limits = || Limits { disk: 2 << 20, ..Limits::default() };
    let policy = Policy::untrusted(limits());
    let code = format!(
        "read -r line <&3; ls -A /cell/code /cell/in; echo seen >&3; read -r line <&3; {SHOW}"
    );
    let started = || Spec {
        argv: ["sh", "-c", &code].map(Into::into).to_vec(),
        files: Vec::new(),
        ahead: true,
        ..cell("")
    };
    let begin = |next: Parked, pool: &Pool| {
        let mut sandbox = fork_with(lab, next, &policy, &started(), pool);
        let mut socket = std::fs::File::from(sandbox.take_worker().unwrap());
        socket.write_all(b"look\n").unwrap();
        let (deadline, mut said) = (Instant::now() + LONG, Vec::new());
        while said.is_empty() {
            let _ = socket.read_to_end(&mut said);
            assert!(Instant::now() < deadline);
        }
        (sandbox, socket)
    };
    let pool = Pool::default();
    let mut next = zygote(lab, "plain");
    for number in 0..3 {
        let alone = finish(lab.start(&files(number), limits())).stdout;
        assert!(alone.starts_with(&format!("{number}\nbound\n")), "{alone}");
        let (mut sandbox, mut socket) = begin(next, &pool);
        lab.spawner.fill(&mut sandbox, &policy, &files(number)).unwrap();
        socket.write_all(b"go\n").unwrap();
        let done = finish(sandbox);
        assert_eq!(done.stdout, format!("/cell/code:\n\n/cell/in:\n{alone}"), "{}", done.stderr);
        assert!(done.teardown.usage.disk <= 3 << 20, "{:?}", done.teardown.usage);
        drop(done);
        next = pool.take().unwrap();
    }
    // Once, and only what is there.
    let (mut sandbox, _socket) = begin(next, &pool);
    lab.spawner.fill(&mut sandbox, &policy, &files(4)).unwrap();
    lab.spawner.fill(&mut sandbox, &policy, &files(5)).unwrap_err();
    drop(sandbox);
    let mut alone = fork_with(lab, zygote(lab, "plain"), &policy, &cell("sleep 1000"), &pool);
    lab.spawner.fill(&mut alone, &policy, &files(6)).unwrap_err();
    drop(alone);
    assert!(pool.take().is_none());
    // One that has no cell after all leaves nothing.
    drop(begin(zygote(lab, "plain"), &pool));
    assert!(pool.take().is_none());
    std::fs::remove_file(source).unwrap();
}
