//! A spawner, short ways to run a cell, and what a finished one left.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, process::CommandExt},
    },
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use polyloom_sandbox::{
    Bind, Exit, ExitFact, File, Level, Limits, Mechanism, Policy, Sandbox, Spawner, Spec, Teardown,
};

/// Long enough for any machine; no test waits for it when things work.
pub const LONG: Duration = Duration::from_secs(20);
const NOBODY: u32 = 65534;

pub struct Lab {
    pub spawner: Spawner,
    pub exe: PathBuf,
}

/// A finished cell.
pub struct Done {
    pub fact: ExitFact,
    pub stdout: String,
    pub stderr: String,
    pub teardown: Teardown,
    pub sandbox: Sandbox,
}

impl Lab {
    pub fn open() -> Self {
        let exe = std::env::current_exe().unwrap();
        Self { spawner: Spawner::start(&exe).unwrap(), exe }
    }

    pub fn mode(&self) -> &'static str {
        if is_root() { "root" } else { "user" }
    }

    pub fn level(&self, mechanism: Mechanism) -> Level {
        self.spawner.enforcement(&Policy::default()).unwrap().level(mechanism)
    }

    /// Whether a mechanism is whole here; says so if it is not.
    pub fn has(&self, mechanism: Mechanism) -> bool {
        let full = self.level(mechanism) == Level::Full;
        if !full {
            println!("       not enforced in full here: {mechanism}");
        }
        full
    }

    pub fn print_levels(&self) {
        match self.spawner.enforcement(&Policy::default()) {
            Ok(enforcement) => {
                for (mechanism, status) in &enforcement.mechanisms {
                    println!(
                        "       {mechanism}: {} {} {}",
                        status.level, status.used, status.reason
                    );
                }
            }
            Err(error) => println!("       no sandbox: {error}"),
        }
    }

    /// This binary inside the sandbox, doing one of `acts`.
    pub fn act(&self, act: &[&str]) -> Spec {
        let mut argv: Vec<OsString> = vec!["/polyloom/bin/cell".into(), "__act".into()];
        argv.extend(act.iter().map(OsString::from));
        Spec {
            argv,
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            binds: vec![Bind { source: self.exe.clone(), target: "/polyloom/bin/cell".into() }],
            ..Spec::default()
        }
    }

    pub fn start(&self, spec: &Spec, limits: Limits) -> Sandbox {
        self.spawner.spawn(&Policy::untrusted(limits), spec).unwrap()
    }

    pub fn run(&self, spec: &Spec, limits: Limits) -> Done {
        finish(self.start(spec, limits))
    }

    pub fn shell(&self, code: &str) -> Done {
        self.run(&shell(code), Limits::default())
    }
}

pub fn shell(code: &str) -> Spec {
    Spec {
        argv: vec!["sh".into(), "/cell/code/main.sh".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        files: vec![File { path: "/cell/code/main.sh".into(), bytes: code.into(), mode: 0o644 }],
        ..Spec::default()
    }
}

/// Waits for the end like a host does: pipes are drained meanwhile, memory is polled, an out-of-memory kill ends the tree.
pub fn finish(mut sandbox: Sandbox) -> Done {
    let (mut out, mut err) = (sandbox.take_stdout().unwrap(), sandbox.take_stderr().unwrap());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + LONG;
    let fact = loop {
        let fact = sandbox.wait(Duration::from_millis(20));
        drain(&mut out, &mut stdout);
        drain(&mut err, &mut stderr);
        if let Some(fact) = fact {
            break fact;
        }
        let usage = sandbox.usage();
        if usage.oom_kills > 0 || usage.disk_over {
            sandbox.kill();
        }
        assert!(Instant::now() < deadline, "the cell did not end");
    };
    let teardown = sandbox.finish();
    drain(&mut out, &mut stdout);
    drain(&mut err, &mut stderr);
    assert!(teardown.complete, "something is left");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Done { fact, stdout: text(stdout), stderr: text(stderr), teardown, sandbox }
}

pub fn drain(fd: &mut OwnedFd, into: &mut Vec<u8>) {
    let mut file = fs::File::from(fd.try_clone().unwrap());
    // Ends with WouldBlock, or with the end of the pipe.
    let _ = file.read_to_end(into);
}

impl Done {
    pub fn code(&self) -> i32 {
        match self.fact.exit {
            Exit::Code(code) => code,
            other => panic!("{other:?}, stderr: {}", self.stderr),
        }
    }

    /// Value of a `key=value` line of the output.
    pub fn said(&self, key: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| {
            panic!("no `{key}` in {:?} / {:?} / {:?}", self.stdout, self.stderr, self.fact)
        })
    }
}

pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

pub fn run_as_nobody() -> bool {
    let copy = std::env::temp_dir().join(format!("polyloom-sandbox-test-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let status = Command::new(&copy).uid(NOBODY).gid(NOBODY).current_dir("/").status();
    fs::remove_file(&copy).unwrap();
    status.unwrap().success()
}
