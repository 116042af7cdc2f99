//! Cells that may write more than fits into their memory.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use polyloom_sandbox::{
    Exit, File, Level, Limits, Mechanism, Policy, SpawnError, Spawner, Spec, sweep_folders,
};

use crate::{
    Case,
    support::{Lab, is_root, shell},
};

pub const CASES: &[Case] = &[
    ("more_than_memory_is_written_to_disk", large),
    ("disk_limit_holds_on_disk", full),
    ("files_without_a_name_count", nameless),
    ("inodes_are_limited_on_disk", inodes),
    ("nothing_is_left_of_a_hostile_tree", hostile),
    ("what_is_in_memory_says_so", in_memory),
    ("root_without_loop_devices_sums_up", no_loop_devices),
    ("folders_of_a_killed_host_are_swept", host_death),
];

const MIB: u64 = 1 << 20;

/// A spawner with a folder on disk of its own.
struct OnDisk {
    lab: Lab,
    place: PathBuf,
}

impl OnDisk {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!(
            "polyloom-scratch-{name}-{}-{}",
            if is_root() { "root" } else { "user" },
            std::process::id()
        ));
        fs::create_dir_all(&place).unwrap();
        let exe = std::env::current_exe().unwrap();
        let spawner = Spawner::start(&exe).unwrap().with_scratch(&place);
        Self { lab: Lab { spawner, exe }, place }
    }

    fn level(&self) -> Level {
        let policy = Policy::untrusted(limits(64, 256));
        let status = &self.lab.spawner.enforcement(&policy).unwrap().mechanisms[&Mechanism::Disk];
        println!("       disk: {} {} {}", status.level, status.used, status.reason);
        status.level
    }

    fn left(&self) -> usize {
        fs::read_dir(&self.place).unwrap().count()
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.left(), 0, "something is left in {}", self.place.display());
            fs::remove_dir(&self.place).unwrap();
        }
    }
}

fn limits(memory: u64, disk: u64) -> Limits {
    Limits { memory: memory * MIB, disk: disk * MIB, ..Limits::default() }
}

fn large(_: &Lab) {
    let on_disk = OnDisk::new("large");
    on_disk.level();
    let mut spec =
        shell("cat /cell/in/given; head -c 200M /dev/zero > /cell/out/x && echo written");
    spec.files.push(File { path: "/cell/in/given".into(), bytes: b"given\n".into(), mode: 0o644 });
    let done = on_disk.lab.run(&spec, limits(64, 300));
    assert_eq!(done.stdout, "given\nwritten\n", "{} {:?}", done.stderr, done.teardown);
    assert_eq!(done.teardown.usage.oom_kills, 0);
    let disk = done.teardown.usage.disk;
    assert!((200 * MIB - 8192..202 * MIB).contains(&disk), "{disk}");
    // Read after everything is dead and the sandbox itself is gone.
    let collector = done.sandbox.collect().unwrap();
    drop(done);
    let mut file = fs::File::from(collector.open_file("out/x").unwrap());
    assert_eq!(file.metadata().unwrap().len(), 200 * MIB);
    let mut start = [1; 4096];
    file.read_exact(&mut start).unwrap();
    assert_eq!(start, [0; 4096]);
    drop((file, collector));
    let code = "echo x > /cell/code/a; echo x > /cell/in/a; ls -a /cell; ls -A /cell/out";
    let done = on_disk.lab.run(&shell(code), limits(64, 300));
    assert_eq!(done.stdout, ".\n..\ncode\nin\nout\nshm\ntmp\nwork\n", "{}", done.stderr);
}

fn full(_: &Lab) {
    let on_disk = OnDisk::new("full");
    let full = on_disk.level() == Level::Full;
    // Files of 8 MiB, so that it is not the limit of one file that holds.
    let code = "i=0; while head -c 8M /dev/zero > f$i; do i=$((i+1)); sleep 0.02; done; echo end";
    let done = on_disk.lab.run(&shell(code), limits(32, 100));
    let usage = done.teardown.usage;
    if full {
        assert_eq!(done.stdout, "end\n");
        assert!(usage.disk_full && !usage.disk_over, "{usage:?}");
        assert!((100 * MIB..103 * MIB).contains(&usage.disk), "{usage:?}");
    } else {
        assert_eq!(done.fact.exit, Exit::SupervisorLost, "{:?} {usage:?}", done.stdout);
        assert!(usage.disk_over && usage.disk > 100 * MIB, "{usage:?}");
    }
}

fn nameless(_: &Lab) {
    let on_disk = OnDisk::new("nameless");
    let full = on_disk.level() == Level::Full;
    let code = "n=3; for f in a b c d e f g; do eval \"exec $n>$f\"; rm $f; head -c 16M /dev/zero >&$n || break
                n=$((n+1)); done; echo end; sleep 20";
    let spec = Spec { argv: vec!["bash".into(), "-c".into(), code.into()], ..shell("") };
    let mut sandbox = on_disk.lab.spawner.spawn(&Policy::untrusted(limits(32, 64)), &spec).unwrap();
    let deadline = std::time::Instant::now() + crate::support::LONG;
    loop {
        let usage = sandbox.usage();
        if if full { usage.disk_full } else { usage.disk_over } {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{usage:?}");
        sandbox.wait(std::time::Duration::from_millis(10));
    }
    assert!(sandbox.finish().complete);
}

fn inodes(_: &Lab) {
    let on_disk = OnDisk::new("inodes");
    let full = on_disk.level() == Level::Full;
    let limits = Limits { inodes: 500, ..limits(32, 64) };
    let code =
        "mkdir a; chmod 300 a; i=0; while true > a/f$i && [ $i -lt 4000 ]; do i=$((i+1)); done
                echo $i; sleep 20";
    let mut sandbox = on_disk.lab.spawner.spawn(&Policy::untrusted(limits), &shell(code)).unwrap();
    let deadline = std::time::Instant::now() + crate::support::LONG;
    loop {
        let usage = sandbox.usage();
        if usage.disk_full || usage.disk_over {
            assert_eq!(usage.disk_over, !full);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{usage:?}");
        sandbox.wait(std::time::Duration::from_millis(10));
    }
    assert!(sandbox.finish().complete);
}

/// Trees that a careless removal follows, stumbles over or never ends with.
const HOSTILE: &str = r"
mkdir -p w/polyloom-removed-1/x polyloom-removed-2 && : > w/f
ln -s / away; ln -s CANARY/file link; ln -s CANARY folder; ln -s . self
perl -e 'for (1..3000) { mkdir q(d) or exit 9; chdir q(d) } open(my $f, q(>), q(bottom))' || exit 9
mkdir -p closed/inner/most && : > closed/inner/most/f && chmod 000 closed/inner/most closed/inner closed
mkdir listless && : > listless/f && chmod 300 listless
mkdir -p \
  $(printf 'n\nl') -- '-rf' '*' && : > 'a b'
for i in 1 2 3; do ln w/f hard$i; done
chmod 0000 /cell/out /cell/tmp /cell/work
echo made
";

fn hostile(_: &Lab) {
    let on_disk = OnDisk::new("hostile");
    on_disk.level();
    let canary = std::env::temp_dir().join(format!("polyloom-canary-{}", std::process::id()));
    fs::create_dir_all(&canary).unwrap();
    fs::write(canary.join("file"), "kept").unwrap();
    let code = HOSTILE.replace("CANARY", canary.to_str().unwrap());
    let policy = Policy::untrusted(limits(64, 128));
    let mut sandbox = on_disk.lab.spawner.spawn(&policy, &shell(&code)).unwrap();
    // Nobody sums up meanwhile: such a tree is too deep for it, and its cell would be ended.
    assert_eq!(sandbox.wait(crate::support::LONG).unwrap().exit, Exit::Code(0));
    drop(sandbox);
    assert_eq!(on_disk.left(), 0);
    assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "kept");
    fs::remove_dir_all(canary).unwrap();
}

fn in_memory(lab: &Lab) {
    let told = |lab: &Lab, limits| {
        let policy = Policy::untrusted(limits);
        let status = lab.spawner.enforcement(&policy).unwrap().mechanisms[&Mechanism::Disk].clone();
        (status.level, status.used, status.reason)
    };
    let (level, used, _) = told(lab, limits(64, 64));
    assert_eq!((level, used.as_str()), (Level::Full, "size of the private tmpfs, RLIMIT_FSIZE"));
    let (level, _, why) = told(lab, limits(64, 65));
    assert_eq!(level, Level::Partial);
    assert!(why.contains("no folder"), "{why}");
    // A folder of a file system that is memory is none.
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        let exe = std::env::current_exe().unwrap();
        let lab = Lab { spawner: Spawner::start(&exe).unwrap().with_scratch(shm), exe };
        let (level, _, why) = told(&lab, limits(64, 65));
        assert_eq!(level, Level::Partial);
        assert!(why.contains("itself held in memory"), "{why}");
    }
    // Who demands the whole limit is refused.
    let mut policy = Policy::untrusted(limits(64, 65));
    policy.require.insert(Mechanism::Disk, Level::Full);
    let refused = lab.spawner.spawn(&policy, &shell("true"));
    assert!(
        matches!(refused, Err(SpawnError::BelowPolicy { mechanism: Mechanism::Disk, .. })),
        "{refused:?}"
    );
}

fn no_loop_devices(lab: &Lab) {
    if !is_root() {
        return;
    }
    let line = "mount --bind /dev/null /dev/loop-control && exec \"$0\" __folder";
    let output = Command::new("unshare").args(["-m", "sh", "-c", line]).arg(&lab.exe).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
}

/// The part of `no_loop_devices` that has none.
pub fn without_loop_devices() -> ! {
    let lab = Lab::open();
    assert_eq!(OnDisk::new("loopless").level(), Level::Partial);
    for case in [large, full, nameless, inodes, hostile] {
        case(&lab);
    }
    drop(lab);
    std::process::exit(0)
}

/// The part of `host_death` that dies.
pub fn victim_host() -> ! {
    let on_disk = OnDisk::new("victim");
    let policy = Policy::untrusted(limits(64, 128));
    let spec = shell("mkdir -p a/b; : > a/b/c; chmod 000 a; echo ready; sleep 1000");
    let mut sandbox = on_disk.lab.spawner.spawn(&policy, &spec).unwrap();
    let mut out = sandbox.take_stdout().unwrap();
    let mut text = Vec::new();
    while text.is_empty() {
        sandbox.wait(std::time::Duration::from_millis(5));
        crate::support::drain(&mut out, &mut text);
    }
    println!("{}", on_disk.place.display());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

fn host_death(lab: &Lab) {
    let mut host =
        Command::new(&lab.exe).arg("__disk_host").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(host.stdout.take().unwrap()).lines().map(Result::unwrap);
    let place = said.find(|line| line.starts_with('/')).map(PathBuf::from).unwrap();
    let left = || fs::read_dir(&place).unwrap().count();
    let made = left();
    // A living host's is not touched, whatever else is there.
    fs::create_dir(place.join("polyloom-1-2")).unwrap();
    let before = sweep_folders(&place);
    assert_eq!((before.removed, before.stuck, left()), (0, 0, made + 1));
    host.kill().unwrap();
    host.wait().unwrap();
    // Its cell may still be on the way out, and hold what it has open; names go at once.
    let deadline = std::time::Instant::now() + crate::support::LONG;
    while left() > 1 {
        println!("       {:?}", sweep_folders(&place));
        assert!(std::time::Instant::now() < deadline);
    }
    fs::remove_dir_all(&place).unwrap();
}
