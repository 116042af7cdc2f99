//! How long a sandbox takes: spawn → exit seen → torn down, of a static binary that does nothing.
//!
//! `cargo bench -p polyloom-sandbox [-- COUNT]`. Medians of a run, in microseconds; only ratios inside one run count. The same program without a sandbox,
//! in ours, and in `bwrap --unshare-all` where that is installed, take turns, so that load meets all alike.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use polyloom_sandbox::{Bind, Exit, Limits, Parked, Policy, Spawner, Spec};

fn main() {
    if env::args().nth(1).as_deref() == Some(polyloom_sandbox::SPAWNER_ARG) {
        polyloom_sandbox::spawner_main();
    }
    let count = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(300);
    let spawner = Spawner::start(&env::current_exe().unwrap()).unwrap();
    let (directory, program) = static_program();
    let spec = Spec {
        argv: vec!["/opt/nothing".into()],
        binds: vec![Bind { source: program.clone(), target: "/opt/nothing".into() }],
        ..Spec::default()
    };
    let policy = Policy::untrusted(Limits::default());
    measure(&spawner, &policy, &spec, 20);
    let mut steps = measure(&spawner, &policy, &spec, count);
    println!("            p10    p50     p95  (µs, {count} sandboxes)");
    for (name, values) in ["ready", "exit seen", "torn down", "its cpu"].iter().zip(&mut steps) {
        print(name, values);
    }
    compare(&spawner, &policy, &spec, &program, count);
    fs::remove_dir_all(directory).unwrap();
}

fn print(name: &str, values: &mut [Duration]) {
    values.sort_unstable();
    let at = |part: usize| values[values.len() * part / 100].as_micros();
    println!("{name:10} {:5} {:6} {:7}", at(10), at(50), at(95));
}

/// Each step measured from the call; then the processor time of supervisor and cell, which depends less on the load.
fn measure(spawner: &Spawner, policy: &Policy, spec: &Spec, count: usize) -> [Vec<Duration>; 4] {
    let mut steps = [vec![], vec![], vec![], vec![]];
    for _ in 0..count {
        let start = Instant::now();
        let mut sandbox = spawner.spawn(policy, spec).unwrap();
        steps[0].push(start.elapsed());
        let fact = sandbox.wait(Duration::from_secs(10)).unwrap();
        steps[1].push(start.elapsed());
        assert!(sandbox.finish().complete);
        steps[2].push(start.elapsed());
        steps[3].push(sandbox.usage().cpu);
        assert_eq!(fact.exit, Exit::Code(0));
    }
    steps
}

/// Four ways to run the same program, in turn: fork and exec, our sandbox from spawn to exit seen, one that waited for it, bubblewrap.
fn compare(spawner: &Spawner, policy: &Policy, spec: &Spec, program: &Path, count: usize) {
    let bubblewrap = Path::new("/usr/bin/bwrap").exists();
    let (mut plain, mut ours, mut theirs, mut waited) = (vec![], vec![], vec![], vec![]);
    let pool = Pool::default();
    for _ in 0..count {
        plain.push(bare(program));
        let start = Instant::now();
        let mut sandbox = spawner.spawn(policy, spec).unwrap();
        sandbox.wait(Duration::from_secs(10)).unwrap();
        ours.push(start.elapsed());
        assert!(sandbox.finish().complete);
        waited.extend(parked(spawner, policy, spec, &pool));
        if bubblewrap {
            theirs.push(bubble(program));
        }
    }
    println!();
    print("no sandbox", &mut plain);
    print("ours", &mut ours);
    let median = |values: &[Duration]| values[values.len() / 2].as_secs_f64() * 1e3;
    println!("ours adds {:.2} ms at the median", median(&ours) - median(&plain));
    if !waited.is_empty() {
        print("parked", &mut waited);
        println!("parked adds {:.2} ms", median(&waited) - median(&plain));
    }
    if bubblewrap {
        print("bwrap", &mut theirs);
        println!("bwrap adds {:.2} ms", median(&theirs) - median(&plain));
        println!("ours / bwrap: {:.2}", median(&ours) / median(&theirs));
        if !waited.is_empty() {
            println!("parked / bwrap: {:.2}", median(&waited) / median(&theirs));
        }
    } else {
        println!("bwrap is not installed: nothing to compare with");
    }
}

type Pool = Arc<Mutex<Vec<Parked>>>;

/// From the request to the exit seen, in a sandbox that has served others before, where there can be one.
fn parked(spawner: &Spawner, policy: &Policy, spec: &Spec, pool: &Pool) -> Option<Duration> {
    spawner.can_park(policy).unwrap().ok()?;
    let waiting = pool.lock().unwrap().pop();
    let waiting = waiting.unwrap_or_else(|| spawner.park(policy, spec).unwrap());
    let start = Instant::now();
    let back = Arc::clone(pool);
    let back = move |parked| back.lock().unwrap().push(parked);
    let mut sandbox = spawner.unpark(waiting, policy, spec, back).unwrap();
    let fact = sandbox.wait(Duration::from_secs(10)).unwrap();
    let took = start.elapsed();
    assert_eq!(fact.exit, Exit::Code(0));
    assert!(sandbox.finish().complete);
    Some(took)
}

fn bubble(program: &Path) -> Duration {
    let start = Instant::now();
    let mut command = Command::new("/usr/bin/bwrap");
    command.arg("--unshare-all").arg("--ro-bind").arg(program).arg("/nothing");
    assert!(
        command.args(["--proc", "/proc", "--dev", "/dev", "/nothing"]).status().unwrap().success()
    );
    start.elapsed()
}

fn bare(program: &Path) -> Duration {
    let start = Instant::now();
    assert!(Command::new(program).status().unwrap().success());
    start.elapsed()
}

/// Compiled here if there is a compiler, else the system's `true`.
fn static_program() -> (PathBuf, PathBuf) {
    let directory = env::temp_dir().join(format!("polyloom-bench-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (source, program) = (directory.join("nothing.c"), directory.join("nothing"));
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let compiled =
        Command::new("cc").arg("-static").arg("-O1").arg(&source).arg("-o").arg(&program).status();
    if compiled.is_ok_and(|status| status.success()) {
        (directory, program)
    } else {
        println!("no compiler for a static binary: measuring /bin/true instead");
        (directory, fs::canonicalize("/bin/true").unwrap())
    }
}
