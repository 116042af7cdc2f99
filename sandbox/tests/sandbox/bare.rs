//! Without any namespace: what a policy that requires none gets, and what it does not.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use polyloom_sandbox::{
    Bind, Exit, File, Level, Limits, Mechanism, Policy, Sandbox, Spawner, Spec, View,
};

use crate::{
    Case,
    lives::{WITHOUT_NAMESPACES, alive, behind},
    support::{Done, LONG, drain, finish},
};

pub const CASES: &[Case] =
    &[("without_namespaces_a_trusted_cell_is_confined_as_far_as_it_goes", all)];

fn all(lab: &crate::support::Lab) {
    let Some(said) = behind(WITHOUT_NAMESPACES, lab, "__bare") else { return };
    for line in said.lines() {
        println!("       {line}");
    }
    assert!(said.ends_with("all\n"), "{said}");
}

/// A host without namespaces, with a folder for its cells and something worth stealing beside it.
struct Bare {
    spawner: Spawner,
    place: PathBuf,
}

impl Bare {
    fn open() -> Self {
        let place = std::env::temp_dir().join(format!("polyloom-bare-{}", std::process::id()));
        fs::create_dir_all(place.join("cells")).unwrap();
        fs::write(place.join("secret"), "secret").unwrap();
        fs::write(place.join("input"), "given\n").unwrap();
        fs::set_permissions(&place, PermissionsExt::from_mode(0o755)).unwrap();
        let exe = std::env::current_exe().unwrap();
        let spawner = Spawner::start(&exe).unwrap().with_scratch(&place.join("cells"));
        Self { spawner, place }
    }

    fn spec(&self, code: &str) -> (Spec, View) {
        let view = self.spawner.view().unwrap();
        let spec = Spec {
            argv: vec!["sh".into(), view.path("/cell/code/main.sh").into()],
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("OUT".into(), view.path("/cell/out").into()),
                ("IN".into(), view.path("/cell/in").into()),
                ("PLACE".into(), self.place.clone().into()),
            ],
            files: vec![File {
                path: "/cell/code/main.sh".into(),
                bytes: code.into(),
                mode: 0o644,
            }],
            binds: vec![Bind { source: self.place.join("input"), target: "/cell/in/x.txt".into() }],
            view: view.clone(),
            ..Spec::default()
        };
        (spec, view)
    }

    fn start(&self, code: &str) -> Sandbox {
        let (spec, _) = self.spec(code);
        self.spawner.spawn(&Policy::trusted(Limits::default()), &spec).unwrap()
    }

    fn run(&self, code: &str) -> Done {
        finish(self.start(code))
    }

    fn left(&self) -> usize {
        fs::read_dir(self.place.join("cells")).unwrap().count()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.left(), 0);
            fs::remove_dir_all(&self.place).unwrap();
        }
    }
}

/// Another program of the same user, which is none of the cell's business.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The part that has no namespaces: everything that is tried there.
pub fn without_namespaces() -> ! {
    let bare = Bare::open();
    levels(&bare);
    works(&bare);
    files(&bare);
    network(&bare);
    ends(&bare);
    killed(&bare);
    bystanders(&bare);
    drop(bare);
    host_death();
    println!("all");
    std::process::exit(0)
}

fn levels(bare: &Bare) {
    let found = bare.spawner.enforcement(&Policy::trusted(Limits::default())).unwrap();
    for (mechanism, wanted) in [
        (Mechanism::Namespaces, Level::None),
        (Mechanism::Files, Level::Partial),
        (Mechanism::Network, Level::Partial),
        (Mechanism::TwoUsers, Level::None),
        (Mechanism::Privileges, Level::Full),
        (Mechanism::Seccomp, Level::Full),
        (Mechanism::Disk, Level::Partial),
        (Mechanism::Kill, Level::Partial),
    ] {
        let status = &found.mechanisms[&mechanism];
        println!("{mechanism}: {} {} {}", status.level, status.used, status.reason);
        if mechanism == Mechanism::Files && found.level(Mechanism::Landlock) == Level::None {
            assert_eq!(status.level, Level::None);
            continue;
        }
        assert_eq!(status.level, wanted, "{mechanism}");
        assert!(wanted == Level::Full || !status.reason.is_empty(), "{mechanism}");
    }
    let why = &found.mechanisms[&Mechanism::Namespaces].reason;
    assert!(why.contains("sysctl user.max_user_namespaces"), "{why}");
}

fn works(bare: &Bare) {
    let (spec, view) = bare.spec("pwd; cat $IN/x.txt; echo made > $OUT/y; ls $IN; exit 3");
    let root = view.cell_root().to_path_buf();
    assert!(root.starts_with(&bare.place), "{}", root.display());
    let sandbox = bare.spawner.spawn(&Policy::trusted(Limits::default()), &spec).unwrap();
    let done = finish(sandbox);
    assert_eq!(done.code(), 3, "{}", done.stderr);
    let expected = format!("{}\ngiven\nx.txt\n", root.join("work").display());
    assert_eq!(done.stdout, expected, "{}", done.stderr);
    let read = done.sandbox.collect().unwrap().open_file("out/y").unwrap();
    assert_eq!(std::io::read_to_string(fs::File::from(read)).unwrap(), "made\n");
    drop((done, spec, view));
    assert_eq!(bare.left(), 0);
}

fn files(bare: &Bare) {
    if bare.spawner.enforcement(&Policy::default()).unwrap().level(Mechanism::Landlock)
        == Level::None
    {
        println!("not enforced here: files");
        return;
    }
    let code = r#"
try() { if eval "$2" 2> /dev/null; then echo "$1"; fi; }
try read "cat $PLACE/secret"
try list "ls $PLACE"
try home "ls /root /home"
try write "echo x > $PLACE/secret"
try new "echo x > $PLACE/new"
try link "ln -s /etc/passwd $OUT/link && cat $PLACE/secret < $OUT/link"
try code "echo x >> $0"
try in "echo x > $IN/y"
try input "echo x > $IN/x.txt"
try remove "rm -f $PLACE/secret"
try out "echo x > $OUT/y"
try work "echo x > z"
try tmp "mktemp -p ../tmp > /dev/null"
try device "echo x > /dev/null"
"#;
    let done = bare.run(code);
    assert_eq!(done.stdout, "out\nwork\ntmp\ndevice\n", "{}", done.stderr);
    assert_eq!(fs::read_to_string(bare.place.join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_to_string(bare.place.join("input")).unwrap(), "given\n");
}

fn network(bare: &Bare) {
    let exe = std::env::current_exe().unwrap();
    let (mut spec, view) = bare.spec("");
    spec.argv = vec![exe.clone().into(), "__act".into(), "calls".into()];
    spec.binds.push(Bind { source: exe.clone(), target: exe });
    let sandbox = bare.spawner.spawn(&Policy::trusted(Limits::default()), &spec).unwrap();
    drop((spec, view));
    let done = finish(sandbox);
    assert_eq!(done.fact.exit, Exit::Signal(libc::SIGSYS), "the 32-bit entry kills");
    for (key, value) in [
        ("socket inet", "13"),
        ("socket udp", "13"),
        ("socket unix", "13"),
        ("unshare", "1"),
        ("ptrace", "1"),
        ("mount", "38"),
    ] {
        assert_eq!(done.said(key), value, "{key}");
    }
}

fn ends(bare: &Bare) {
    let done = bare.run("setsid sleep 1001 & (setsid sleep 1002 &) ; (sleep 1003 & sleep 1004 &) & sleep 0.2; echo over");
    assert_eq!(done.stdout, "over\n");
    assert!(done.fact.leftovers >= 4, "{:?}", done.fact);
}

fn killed(bare: &Bare) {
    let code = "trap '' TERM; (setsid sleep 1005 &); sleep 1006 & echo ready; sleep 1007";
    let mut sandbox = bare.start(code);
    let mut out = sandbox.take_stdout().unwrap();
    let mut text = Vec::new();
    let deadline = Instant::now() + LONG;
    while text.is_empty() && Instant::now() < deadline {
        sandbox.wait(Duration::from_millis(5));
        drain(&mut out, &mut text);
    }
    let pid = sandbox.pid();
    sandbox.kill();
    let teardown = sandbox.finish();
    assert!(teardown.complete, "{teardown:?}");
    assert!(!alive(pid));
    for seconds in 1001..=1007 {
        assert!(!sleeping(seconds), "`sleep {seconds}` lives");
    }
}

fn sleeping(seconds: u32) -> bool {
    let wanted = format!("sleep\0{seconds}\0");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line == wanted.as_bytes())
}

fn bystanders(bare: &Bare) {
    let bystander = Bystander::new();
    let landlock = bare.spawner.enforcement(&Policy::default()).unwrap();
    let landlock = landlock.level(Mechanism::Landlock);
    if landlock == Level::Full {
        // Whom the cell would take along if nothing held it back.
        let done =
            bare.run(&format!("kill -9 {}; kill -9 $PPID; kill -9 -1; echo on", bystander.pid()));
        // `kill -1` reaches the cell's own processes, itself not included.
        assert_eq!(done.stdout, "on\n", "{}", done.stderr);
    } else {
        println!("not enforced here: signals");
    }
    bare.run("setsid sleep 1001 & exit 0");
    assert!(alive(bystander.pid()), "a process that is none of the cell's was killed");
}

/// The part of `host_death` that dies.
pub fn victim_host() -> ! {
    let bare = Bare::open();
    let mut sandbox = bare.start("(setsid sleep 1008 &); echo ready; sleep 1009");
    let mut out = sandbox.take_stdout().unwrap();
    let mut text = Vec::new();
    while text.is_empty() {
        sandbox.wait(Duration::from_millis(5));
        drain(&mut out, &mut text);
    }
    println!("{}", bare.place.display());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

fn host_death() {
    let exe = std::env::current_exe().unwrap();
    let mut host = Command::new(exe);
    // Nothing of ours is held open by it: whoever reads our output is not to wait for it.
    host.arg("__bare_host").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut host = Bystander(host.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(host.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let deadline = Instant::now() + LONG;
    while !(sleeping(1008) && sleeping(1009)) {
        assert!(Instant::now() < deadline, "the cell did not start");
        std::thread::yield_now();
    }
    drop(host);
    while sleeping(1008) || sleeping(1009) {
        assert!(Instant::now() < deadline, "the cell outlived its host");
        std::thread::yield_now();
    }
    let place = Path::new(line.trim());
    while polyloom_sandbox::sweep_folders(&place.join("cells")).removed == 0 {
        assert!(Instant::now() < deadline, "nothing to sweep");
    }
    fs::remove_dir_all(place).unwrap();
}
