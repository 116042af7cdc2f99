//! Memory, processes, time and disk: all processes together, and counted by the kernel.

use std::{
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use polyloom_sandbox::{
    Exit, File, Kind, Level, Limits, ListingCaps, Mechanism, OomSignal, Policy, SpawnError,
};

use crate::{
    Case,
    support::{Lab, finish, shell},
};

pub const CASES: &[Case] = &[
    ("memory_of_one_process_is_limited", memory),
    ("hitting_the_memory_limit_is_told_by_descriptor", oom_signal),
    ("memory_of_all_processes_counts_together", memory_children),
    ("fork_bomb_is_refused_and_leaves_nothing", fork_bomb),
    ("time_of_orphans_is_counted", orphans),
    ("full_disk_is_an_error_and_is_seen", disk),
    ("file_larger_than_the_disk_is_refused", sparse),
    ("files_take_no_more_than_their_size", sizes),
    ("files_on_shm_end_with_the_cell", shm),
    ("processor_share_is_kept", share),
    ("policy_above_the_machine_is_refused", above),
];

const MIB: u64 = 1 << 20;

fn limits(memory: u64) -> Limits {
    Limits { memory: memory * MIB, ..Limits::default() }
}

fn memory(lab: &Lab) {
    let done = lab.run(&lab.act(&["memory"]), limits(64));
    if lab.has(Mechanism::Memory) {
        // Lost, if the poll that saw the kernel's kill was quicker than the report of it.
        assert!(matches!(done.fact.exit, Exit::Signal(libc::SIGKILL) | Exit::SupervisorLost));
        assert!(done.teardown.usage.oom_kills > 0);
        let peak = done.teardown.usage.peak_memory.unwrap();
        assert!((60 * MIB..=64 * MIB).contains(&peak), "{peak}");
    } else {
        assert_ne!(done.fact.exit, Exit::Code(0), "RLIMIT_DATA ends one process");
        assert!(done.fact.max_rss < 80 * MIB, "{}", done.fact.max_rss);
    }
}

fn oom_signal(lab: &Lab) {
    // The killed process is a child: nothing but the kernel's word tells of it.
    let spec = shell("head -c 200M /dev/zero | tail; sleep 1000");
    let mut sandbox = lab.start(&spec, limits(64));
    let Some(signal) = sandbox.oom_signal() else {
        println!("       no such descriptor here");
        return;
    };
    let (fd, events) = match signal {
        OomSignal::Readable(fd) => (fd.as_raw_fd(), libc::POLLIN),
        OomSignal::Priority(fd) => (fd.as_raw_fd(), libc::POLLPRI),
    };
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one valid element.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 20_000) };
    assert_eq!(ready, 1);
    // The signal may come before the kill it announces.
    let deadline = Instant::now() + crate::support::LONG;
    while sandbox.usage().oom_kills == 0 {
        assert!(Instant::now() < deadline);
        sandbox.wait(Duration::from_millis(5));
    }
    assert!(sandbox.finish().complete);
}

fn memory_children(lab: &Lab) {
    let mut sandbox = lab.start(&lab.act(&["memory-children"]), limits(100));
    let deadline = Instant::now() + crate::support::LONG;
    // What a host does: whoever polls sees it, by counter or by sum.
    let seen = loop {
        let usage = sandbox.usage();
        if usage.oom_kills > 0 || usage.memory.is_some_and(|memory| memory > 100 * MIB) {
            break true;
        }
        if Instant::now() > deadline {
            break false;
        }
        sandbox.wait(Duration::from_millis(10));
    };
    sandbox.kill();
    let teardown = sandbox.finish();
    assert!(seen && teardown.complete, "{teardown:?}");
    if lab.has(Mechanism::Memory) {
        assert!(teardown.usage.peak_memory.unwrap() <= 100 * MIB);
    }
}

fn fork_bomb(lab: &Lab) {
    let limits = Limits { pids: 40, ..Limits::default() };
    let mut sandbox = lab.start(&lab.act(&["fork-bomb"]), limits);
    let deadline = Instant::now() + crate::support::LONG;
    loop {
        let usage = sandbox.usage();
        assert!(usage.processes.unwrap_or(0) <= 40, "{usage:?}");
        let full = usage.pids_refused > 100
            || (lab.level(Mechanism::Processes) != Level::Full && usage.processes >= Some(40));
        if full {
            break;
        }
        assert!(Instant::now() < deadline, "{usage:?}");
        sandbox.wait(Duration::from_millis(5));
    }
    lab.has(Mechanism::Processes);
    let start = Instant::now();
    sandbox.kill();
    let teardown = sandbox.finish();
    println!("       killed in {:?}", start.elapsed());
    assert!(teardown.complete);
}

fn orphans(lab: &Lab) {
    let start = Instant::now();
    let done = lab.run(&lab.act(&["orphans"]), Limits::default());
    assert!(start.elapsed() < Duration::from_secs(5), "the main process ends the cell");
    assert_eq!((done.code(), done.fact.leftovers), (0, 3));
    assert!(done.teardown.usage.cpu > Duration::from_millis(50), "{:?}", done.teardown.usage.cpu);
}

fn disk(lab: &Lab) {
    let limits = Limits { disk: 4 * MIB, ..Limits::default() };
    let done = lab.run(&shell("cat /dev/zero > a; cat /dev/zero > /cell/out/b; echo end"), limits);
    assert_eq!(done.stdout, "end\n");
    assert!(done.teardown.usage.disk_full, "{:?}", done.teardown.usage);
    let mut spec = shell("head -c 3M /dev/zero > a && echo fits");
    let bytes = vec![1; 10 << 20];
    spec.files.push(File { path: "/cell/in/big".into(), bytes, mode: 0o644 });
    let done = lab.run(&spec, Limits { disk: 4 * MIB, ..Limits::default() });
    assert_eq!(done.stdout, "fits\n", "what is given does not count");
    assert!((3 * MIB..4 * MIB).contains(&done.teardown.usage.disk), "{:?}", done.teardown.usage);
    let limits = Limits { inodes: 50, ..Limits::default() };
    let done = lab.run(
        &shell("i=0; while true > f$i && [ $i -lt 99 ]; do i=$((i+1)); done; echo $i"),
        limits,
    );
    assert!((50..70).contains(&done.stdout.trim().parse::<u32>().unwrap()), "{}", done.stdout);
    assert!(done.teardown.usage.disk_full);
}

fn sparse(lab: &Lab) {
    let limits = Limits { disk: 4 * MIB, ..Limits::default() };
    let done = lab.run(&shell("truncate -s 1T big"), limits);
    assert!(
        matches!(done.fact.exit, Exit::Signal(libc::SIGXFSZ) | Exit::Code(1..)),
        "{:?}",
        done.fact
    );
}

/// Whatever the size of the pages they are in.
fn sizes(lab: &Lab) {
    let limits = Limits { memory: 64 * MIB, disk: 32 * MIB, ..Limits::default() };
    let write = "i=0; while [ $i -lt 40 ]; do echo $i > out/f$i; i=$((i+1)); done; head -c 3M /dev/zero > out/large";
    let done = lab.run(&shell(&format!("cd /cell && {write} && echo written")), limits);
    assert_eq!(done.stdout, "written\n");
    let stored = |entry: &polyloom_sandbox::Entry| match entry.kind {
        Kind::File { stored, .. } => stored,
        _ => 0,
    };
    let listing = done.sandbox.collect().unwrap().list("out", ListingCaps::default()).unwrap();
    let taken: u64 = listing.entries.iter().map(stored).sum();
    assert!((3 * MIB..4 * MIB).contains(&taken), "{taken}");
}

fn shm(lab: &Lab) {
    assert_eq!(lab.shell("echo x > /dev/shm/a; cat /dev/shm/a").stdout, "x\n");
    assert_eq!(
        lab.shell("ls /dev/shm /tmp /cell/out")
            .stdout
            .replace("/cell/out:\n", "")
            .matches('x')
            .count(),
        0
    );
}

fn share(lab: &Lab) {
    let policy = Policy::untrusted(Limits { cpus: Some(0.2), ..Limits::default() });
    let level = lab.spawner.enforcement(&policy).unwrap().level(Mechanism::CpuShare);
    if level != Level::Full {
        println!("       not enforced in full here: cpu_share");
        return;
    }
    let start = Instant::now();
    let sandbox = lab.spawner.spawn(&policy, &lab.act(&["spin", "600"])).unwrap();
    let done = finish(sandbox);
    let (cpu, wall) = (done.teardown.usage.cpu, start.elapsed());
    assert!(cpu.as_secs_f64() < wall.as_secs_f64() * 0.4, "{cpu:?} of {wall:?}");
}

fn above(lab: &Lab) {
    let mut policy = Policy::default();
    policy.require.insert(Mechanism::CpuShare, Level::Full);
    let outcome = lab.spawner.spawn(&policy, &shell("true"));
    assert!(matches!(outcome, Err(SpawnError::BelowPolicy { mechanism: Mechanism::CpuShare, .. })));
}
