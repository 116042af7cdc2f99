//! What this machine offers, row by row, for people: each thing tried, and seen from inside a real sandbox. Slower than [`crate::probe()`], which only
//! plans.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    SPAWNER_ARG,
    cgroup::Layout,
    enforcement::{Enforcement, Level, Mechanism},
    inside::{LOOK, NAMESPACES, TRY},
    policy::Policy,
    sandbox::Exit,
    spawner::{SpawnError, Spawner},
    spec::{Bind, Spec},
};

/// One thing a sandbox is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name: that of a [`Mechanism`], or of a part of one.
    pub mechanism: String,
    /// How far it can be had here.
    pub available: Level,
    /// What a sandbox with the policy uses; empty: nothing.
    pub used: String,
    /// Why it is not full, or not used.
    pub why: String,
}

/// What [`survey`] found.
#[derive(Debug)]
pub struct Survey {
    /// What a sandbox with the policy gets.
    pub enforcement: Result<Enforcement, SpawnError>,
    /// The same in parts, in the order in which they are to be shown.
    pub rows: Vec<Row>,
}

/// Where the binary is inside the sandbox that looks around.
const INSIDE: &str = "/polyloom/bin/polyloom";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The parts of the namespaces' row, in its order.
const KINDS: [(&str, &str); 7] = [
    ("user", "user namespace"),
    ("pid", "process namespace"),
    ("mnt", "mount namespace"),
    ("net", "network namespace"),
    ("ipc", "ipc namespace"),
    ("uts", "host-name namespace"),
    ("cgroup", "cgroup namespace"),
];

/// What is looked for inside: row, what is used, key, and whether a value is as it should be.
type Sight = (&'static str, &'static str, &'static str, fn(&str) -> bool);

/// Parts of the files' row.
const FILES: [Sight; 5] = [
    ("read-only binds", "toolchains by allow-list", "write /usr", |value| value == "30"),
    ("root", "tmpfs, read-only", "write /", |value| value == "30"),
    ("synthetic /etc", "two users, no resolver", "hostname", |value| value == "cell"),
    ("synthetic /dev", "null zero full random urandom", "dev", |value| value == "10"),
    ("masked /proc", "fresh, hidepid, covers", "kallsyms", |value| value == "0"),
];

/// Parts of the privileges' row.
const PRIVILEGES: [Sight; 4] = [
    ("dropped capabilities", "all sets empty", "CapBnd", |value| value.bytes().all(|b| b == b'0')),
    ("no_new_privs", "set", "NoNewPrivs", |value| value == "1"),
    ("cell's user", "user 1000", "uid", |value| value == "1000"),
    ("rlimits", "core, memlock, msgqueue 0; files, stack, fsize", "limit core", |value| {
        value == "0"
    }),
];

/// Parts of the rows of the network and of the filter.
const NETWORK: [Sight; 1] = [("internet sockets", "refused", "socket", |value| value == "13")];
const SECCOMP: [Sight; 2] = [
    ("filter", "installed", "Seccomp", |value| value == "2"),
    ("newer system calls", "unknown to the cell", "future", |value| value == "38"),
];

/// Tries everything. `exe` is the binary that calls [`crate::spawner_main`]; `scratch` is where cells may have files on disk.
pub fn survey(exe: &Path, policy: &Policy, scratch: Option<&Path>) -> Survey {
    let spawner = Spawner::start(exe).map(|spawner| match scratch {
        Some(scratch) => spawner.with_scratch(scratch),
        None => spawner,
    });
    let seen = match &spawner {
        Ok(spawner) => look(exe, spawner, policy),
        Err(error) => Err(told(error)),
    };
    let (enforcement, large) = match spawner {
        Ok(spawner) => (spawner.enforcement(policy), spawner.enforcement(&larger(policy))),
        Err(error) => (Err(error), Err(SpawnError::Lost)),
    };
    let rows = rows(exe, &enforcement, &large, &seen);
    Survey { enforcement, rows }
}

/// The same policy for a cell that wants more: files that do not fit into memory, and a share of the processors.
fn larger(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.limits.disk = policy.limits.memory.saturating_add(1);
    policy.limits.cpus = Some(1.0);
    policy
}

fn rows(
    exe: &Path,
    enforcement: &Result<Enforcement, SpawnError>,
    large: &Result<Enforcement, SpawnError>,
    seen: &Result<Sights, String>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, name) in KINDS {
        rows.push(namespace(exe, kind, name, seen));
    }
    for mechanism in Mechanism::ALL {
        let parts: &[Sight] = match mechanism {
            Mechanism::Namespaces => continue,
            Mechanism::Files => &FILES,
            Mechanism::Privileges => &PRIVILEGES,
            Mechanism::Network => &NETWORK,
            Mechanism::Seccomp => &SECCOMP,
            _ => &[],
        };
        // A share is only kept for who asks for one.
        let of = if mechanism == Mechanism::CpuShare { large } else { enforcement };
        rows.push(whole(mechanism, of));
        rows.extend(parts.iter().map(|part| sight(part, seen)));
        if mechanism == Mechanism::Disk {
            let name = "  beyond memory".to_owned();
            rows.push(Row { mechanism: name, ..whole(mechanism, large) });
        }
    }
    rows.push(groups());
    rows
}

/// A mechanism as the plan has it.
fn whole(mechanism: Mechanism, enforcement: &Result<Enforcement, SpawnError>) -> Row {
    let status = enforcement.as_ref().ok().and_then(|found| found.mechanisms.get(&mechanism));
    let (available, used, why) = match status {
        Some(status) => (status.level, status.used.clone(), status.reason.clone()),
        None => (Level::None, String::new(), "no sandbox on this machine".to_owned()),
    };
    Row { mechanism: mechanism.name().to_owned(), available, used, why }
}

fn namespace(exe: &Path, kind: &str, name: &str, seen: &Result<Sights, String>) -> Row {
    let tried = attempt(exe, kind);
    let own = fs::read_link(format!("/proc/self/ns/{kind}"))
        .map(|link| link.display().to_string())
        .unwrap_or_default();
    let inside = seen.as_ref().ok().and_then(|seen| seen.get(&format!("ns {kind}")));
    let used = match inside {
        Some(inside) if !inside.is_empty() && *inside != own => "a new one",
        _ => "",
    };
    let available = if tried.is_ok() || !used.is_empty() { Level::Full } else { Level::None };
    let why = match (&tried, used, seen) {
        (_, "a new one", _) => String::new(),
        (Err(why), _, _) | (Ok(()), _, Err(why)) => why.clone(),
        (Ok(()), _, Ok(_)) => "the cell is in the host's".to_owned(),
    };
    Row { mechanism: name.to_owned(), available, used: used.to_owned(), why }
}

/// Whether such a namespace can be made.
fn attempt(exe: &Path, kind: &str) -> Result<(), String> {
    let output = Command::new(exe)
        .args([SPAWNER_ARG, TRY, kind])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().rsplit('=').next().and_then(|number| number.parse().ok()) {
        Some(0) => Ok(()),
        Some(number) => Err(std::io::Error::from_raw_os_error(number).to_string()),
        None => Err("it could not be tried".to_owned()),
    }
}

fn sight((name, used, key, right): &Sight, seen: &Result<Sights, String>) -> Row {
    let (available, used, why) = match seen.as_ref().map(|seen| seen.get(*key)) {
        Ok(Some(value)) if right(value) => (Level::Full, *used, String::new()),
        Ok(value) => {
            let value = value.map_or("nothing", String::as_str);
            (Level::None, "", format!("seen from inside: `{key}` is `{value}`"))
        }
        Err(why) => (Level::None, "", why.clone()),
    };
    Row { mechanism: format!("  {name}"), available, used: used.to_owned(), why }
}

/// The hierarchies of control groups.
fn groups() -> Row {
    let layout = Layout::detect();
    let v1 = layout.memory.is_some() || layout.pids.is_some();
    let (available, used) = match &layout.unified {
        Some(unified) if !unified.controllers.is_empty() => (Level::Full, "v2"),
        Some(_) if v1 => (Level::Full, "hybrid: limits of v1, killing and time of v2"),
        Some(_) => (Level::Partial, "v2 without controllers: killing and time"),
        None if v1 => (Level::Partial, "v1"),
        None => (Level::None, ""),
    };
    let why = if available == Level::Full { String::new() } else { layout.why };
    Row { mechanism: "control groups".to_owned(), available, used: used.to_owned(), why }
}

type Sights = BTreeMap<String, String>;

/// Runs the binary in a real sandbox, where it tells what it finds.
fn look(exe: &Path, spawner: &Spawner, policy: &Policy) -> Result<Sights, String> {
    let view = spawner.view().map_err(|error| told(&error))?;
    let spec = Spec {
        argv: vec![view.path(INSIDE).into(), SPAWNER_ARG.into(), LOOK.into()],
        binds: vec![Bind { source: exe.to_path_buf(), target: INSIDE.into() }],
        view,
        ..Spec::default()
    };
    // What is required is judged by the levels; here it is only in the way.
    let policy = Policy { require: BTreeMap::new(), ..policy.clone() };
    let mut sandbox = spawner.spawn(&policy, &spec).map_err(|error| told(&error))?;
    let stdout = sandbox.take_stdout();
    let fact = sandbox.wait(PATIENCE);
    sandbox.finish();
    match fact.map(|fact| fact.exit) {
        Some(Exit::Code(0)) => Ok(parse(stdout)),
        other => Err(format!("the cell that looks around ended with {other:?}")),
    }
}

fn parse(stdout: Option<OwnedFd>) -> Sights {
    let mut bytes = Vec::new();
    if let Some(stdout) = stdout {
        // It does not block: what is in the pipe is all there will be.
        let _ = fs::File::from(stdout).take(64 << 10).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// One list, told twice: inside by flag, here by words.
const _: () = assert!(NAMESPACES.len() == KINDS.len());
