//! Beginning and end: what outlives what.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use polyloom_sandbox::{Bind, Exit, Limits, Mechanism, Policy, Sandbox, SpawnError, Stdin, sweep};

use crate::{
    Case,
    support::{LONG, Lab, drain, shell},
};

pub const CASES: &[Case] = &[
    ("daemon_dies_with_the_main_process", daemon),
    ("daemon_that_holds_stdout_does_not_hold_the_result", stdout_holder),
    ("kill_ends_a_sleeping_cell", kill),
    ("soft_signal_reaches_the_cell", soft),
    ("cell_cannot_end_its_supervisor", kill_all),
    ("cells_die_with_a_killed_host_and_their_groups_are_swept", host_death),
    ("cells_die_with_a_killed_spawner_and_the_host_is_told", spawner_death),
    ("spawner_outlives_the_thread_that_started_it", short_thread),
    ("dropping_a_sandbox_ends_it", dropped),
    ("what_the_host_shows_below_tmp_is_no_file_of_the_cells", shown_below_tmp),
    ("a_hundred_cells_leave_nothing", many),
    ("cells_run_side_by_side", parallel),
    ("a_sandbox_costs_at_most_six_milliseconds", cost),
    ("machine_without_user_namespaces_is_a_typed_error", unavailable),
    ("root_of_a_small_container_lives_like_a_user", small_container),
];

fn daemon(lab: &Lab) {
    let done = lab.run(&lab.act(&["daemon"]), Limits::default());
    assert_eq!((done.code(), done.fact.leftovers), (0, 1));
}

fn stdout_holder(lab: &Lab) {
    let start = Instant::now();
    let done = lab.shell("setsid sleep 100 & echo hi");
    assert_eq!(done.stdout, "hi\n");
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn kill(lab: &Lab) {
    let mut sandbox =
        lab.start(&shell("trap '' TERM INT HUP; sleep 1000 & sleep 1000"), Limits::default());
    assert_eq!(sandbox.wait(Duration::from_millis(50)), None);
    let pid = sandbox.pid();
    let start = Instant::now();
    sandbox.kill();
    let fact = sandbox.wait(LONG).unwrap();
    assert_eq!(fact.exit, Exit::SupervisorLost);
    assert!(sandbox.finish().complete);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(!alive(pid));
}

fn soft(lab: &Lab) {
    let mut sandbox = lab.start(&lab.act(&["term"]), Limits::default());
    let mut out = sandbox.take_stdout().unwrap();
    let mut text = Vec::new();
    let deadline = Instant::now() + LONG;
    while text.is_empty() && Instant::now() < deadline {
        sandbox.wait(Duration::from_millis(5));
        drain(&mut out, &mut text);
    }
    sandbox.signal(libc::SIGTERM).unwrap();
    assert_eq!(sandbox.wait(LONG).unwrap().exit, Exit::Code(42));
}

fn kill_all(lab: &Lab) {
    let done = lab.run(&lab.act(&["kill-all"]), Limits::default());
    assert_eq!(done.code(), 7, "the supervisor lived to report it");
    assert_eq!(done.said("still"), "here");
    if lab.has(Mechanism::TwoUsers) {
        assert_eq!(done.said("kill 1"), "1");
    }
    // `kill -STOP` of process 1 and of everything must not stop the report either.
    assert_eq!(lab.shell("kill -STOP 1 2>/dev/null; kill -9 -1; exit 3").code(), 3);
}

fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

fn spawner_death(_: &Lab) {
    let before = children();
    let lab = Lab::open();
    let mut sandbox = lab.start(&shell("sleep 1000"), Limits::default());
    let spawner = children().into_iter().find(|pid| !before.contains(pid)).unwrap();
    // SAFETY: integers only; our own child.
    unsafe { libc::kill(spawner, libc::SIGKILL) };
    assert_eq!(sandbox.wait(LONG).unwrap().exit, Exit::SupervisorLost);
    assert!(sandbox.finish().complete);
    let next = lab.spawner.spawn(&Policy::default(), &shell("true"));
    assert!(matches!(next, Err(SpawnError::Lost)), "{next:?}");
}

fn short_thread(_: &Lab) {
    let lab = std::thread::spawn(Lab::open).join().unwrap();
    let done = lab.shell("sleep 0.1; echo on");
    assert_eq!(done.stdout, "on\n");
}

/// Has a cell that reads commands do one; whether it could.
fn does(cell: &mut Sandbox, commands: &mut impl Write, out: &mut OwnedFd, code: &str) -> bool {
    writeln!(commands, "{code} && echo done || echo not").unwrap();
    let (mut text, deadline) = (Vec::new(), Instant::now() + LONG);
    while !text.ends_with(b"\n") {
        assert!(Instant::now() < deadline, "{code}");
        cell.wait(Duration::from_millis(2));
        drain(out, &mut text);
    }
    text == b"done\n"
}

fn shown_below_tmp(lab: &Lab) {
    if !lab.has(Mechanism::Files) {
        return;
    }
    let top =
        std::env::temp_dir().join(format!("polyloom-shown-{}-{}", lab.mode(), std::process::id()));
    let target = top.join("a/b");
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("theirs"), "").unwrap();
    let (stdin, mut commands) = std::io::pipe().unwrap();
    let mut spec = shell("while read -r line; do eval \"$line\"; done");
    spec.binds = vec![Bind { source: target.clone(), target: target.clone() }];
    spec.stdin = Stdin::Fd(stdin.into());
    let mut cell = lab.start(&spec, Limits::default());
    let mut out = cell.take_stdout().unwrap();
    let (shown, way) = (target.display(), top.display());
    assert!(does(&mut cell, &mut commands, &mut out, &format!("test -e {shown}/theirs")));
    assert!(cell.has_no_files().unwrap());
    // The folders on the way are the supervisor's; where there is one user they are the cell's, too.
    for (own, can) in
        [("/tmp".to_owned(), true), (way.to_string(), false), (format!("{way}/a"), false)]
    {
        let make = format!("mkdir {own}/own 2>/dev/null && echo > {own}/own/file");
        let made = does(&mut cell, &mut commands, &mut out, &make);
        assert!(made || !can, "{own}");
        assert_eq!(cell.has_no_files().unwrap(), !made, "{own}");
        cell.clear().unwrap();
        assert!(cell.has_no_files().unwrap(), "{own}");
    }
    // Once they are somewhere else, what is in the cell's folders is its own.
    if does(&mut cell, &mut commands, &mut out, &format!("mv {way} /tmp/away 2>/dev/null")) {
        assert!(!cell.has_no_files().unwrap());
        assert!(cell.clear().is_err());
    }
    assert!(target.join("theirs").exists());
    drop(cell);
    fs::remove_dir_all(top).unwrap();
}

fn dropped(lab: &Lab) {
    let sandbox = lab.start(&shell("sleep 1000"), Limits::default());
    let pid = sandbox.pid();
    drop(sandbox);
    assert!(!alive(pid));
}

fn many(lab: &Lab) {
    let count = || (fs::read_dir("/proc/self/fd").unwrap().count(), groups_of(std::process::id()));
    lab.shell("true");
    let before = count();
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(lab.shell("exit 5").code(), 5);
    }
    println!("       {:?} a cell with `sh`", start.elapsed() / 100);
    assert_eq!(count(), before, "descriptors and groups");
}

/// The bound is for the sandbox, not for what else this machine does: of a few series the quietest counts, and one that is within it is enough.
fn cost(lab: &Lab) {
    let mut least = Duration::MAX;
    for _ in 0..8 {
        least = least.min(added(lab));
        if least < Duration::from_millis(6) {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("{least:?}");
}

/// What a sandbox adds to a start, at the median. In turn, so that load meets both alike.
fn added(lab: &Lab) -> Duration {
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    let spec = lab.act(&["exit", "0"]);
    for _ in 0..60 {
        let start = Instant::now();
        let mut command = Command::new(&lab.exe);
        let status = command.args(["__act", "exit", "0"]).env_clear().status().unwrap();
        plain.push(start.elapsed());
        assert!(status.success());
        let start = Instant::now();
        let mut sandbox = lab.start(&spec, Limits::default());
        assert_eq!(sandbox.wait(LONG).unwrap().exit, Exit::Code(0));
        ours.push(start.elapsed());
        assert!(sandbox.finish().complete);
    }
    plain.sort_unstable();
    ours.sort_unstable();
    println!("       {:?} without, {:?} with", plain[30], ours[30]);
    ours[30].saturating_sub(plain[30])
}

fn parallel(lab: &Lab) {
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                for _ in 0..5 {
                    let done = lab.shell(&format!(
                        "echo {number}; ls /proc | grep -c '^[0-9]'; exit {number}"
                    ));
                    assert_eq!(done.code(), number);
                    assert!(done.stdout.starts_with(&format!("{number}\n")));
                }
            });
        }
    });
}

/// The part of `host_death` that dies: starts a cell, says its supervisor's id, waits to be killed.
pub fn victim_host() -> ! {
    let lab = Lab::open();
    let sandbox = lab.start(&shell("sleep 1000 & sleep 1000"), Limits::default());
    println!("{}", sandbox.pid());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

fn host_death(lab: &Lab) {
    let mut host = Command::new(&lab.exe).arg("__host").stdout(Stdio::piped()).spawn().unwrap();
    let host_id = host.id();
    let mut line = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    assert!(alive(pid));
    let left = || groups_of(host_id);
    let made = left();
    host.kill().unwrap();
    host.wait().unwrap();
    let deadline = Instant::now() + LONG;
    while alive(pid) {
        assert!(Instant::now() < deadline, "the cell outlived its host");
        std::thread::yield_now();
    }
    if made == 0 {
        println!("       no control groups here to sweep");
        return;
    }
    // Another host's sweep may have been first.
    let report = sweep();
    println!("       {report:?}");
    assert_eq!(left(), 0);
}

pub fn alive(pid: i32) -> bool {
    // A zombie is dead.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// How many control groups on this machine belong to a host; others may be at work next to us.
fn groups_of(host: u32) -> usize {
    let prefix = format!("polyloom-{host}-");
    ours().iter().filter(|path| path.to_string_lossy().contains(&prefix)).count()
}

/// Every control group of any host on the machine.
fn ours() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with("polyloom-") {
                found.push(path);
            } else {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &mut found);
    found
}

/// Runs this binary as `role` behind a shell line that takes something away first. None if the tools are missing.
pub fn behind(prelude: &str, lab: &Lab, role: &str) -> Option<String> {
    let line = format!("{prelude} \"$0\" {role}");
    let output = Command::new("timeout")
        .args(["-k", "1", "120", "unshare", "-Ur", "sh", "-c", &line])
        .arg(&lab.exe)
        .output();
    match output {
        Ok(output) if !output.stdout.is_empty() => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        other => {
            println!("       cannot be tried here: {other:?}");
            None
        }
    }
}

/// Takes the right to make user namespaces, and every other way to namespaces, from what is executed after it.
pub const WITHOUT_NAMESPACES: &str = "echo 0 > /proc/sys/user/max_user_namespaces; \
                                      exec setpriv --bounding-set=-all --inh-caps=-all";

fn unavailable(lab: &Lab) {
    if let Some(said) = behind(WITHOUT_NAMESPACES, lab, "__unavailable") {
        assert_eq!(said, "cannot make a user namespace\n");
    }
}

/// The part of `unavailable` that has no namespaces.
pub fn without_namespaces() -> ! {
    let lab = Lab::open();
    match lab.spawner.spawn(&Policy::default(), &shell("echo ran")) {
        Err(SpawnError::Unavailable { stage, why, .. }) => {
            println!("cannot {stage}");
            assert!(why.contains("sysctl user.max_user_namespaces"), "{why}");
        }
        other => println!("{other:?}"),
    }
    drop(lab);
    std::process::exit(0)
}

fn small_container(lab: &Lab) {
    if let Some(said) = behind("exec", lab, "__small") {
        assert_eq!(said, "uid 1000, two users: none\n");
    }
}

/// The part of `small_container` that is root of one user.
pub fn container_root() -> ! {
    let lab = Lab::open();
    let done = lab.shell("id -u");
    println!("uid {}, two users: {}", done.stdout.trim(), lab.level(Mechanism::TwoUsers));
    drop((done, lab));
    std::process::exit(0)
}
