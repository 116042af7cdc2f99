//! What is left of a host that has ended: processes, control groups, mounts, shared memory. Knows the machine by `/proc` and
//! `/sys`; does not know what the host did.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

/// Users that sandboxes get when root starts them (`sandbox/src/wire.rs`).
const USERS: std::ops::Range<u32> = 0x7000_0000..0x7fff_ffff;

/// While it lives, orphans of everything this process starts become its own children, where they can be found.
#[derive(Debug)]
pub struct Reaper;

impl Reaper {
    /// Begins to adopt.
    pub fn new() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Self)
    }

    /// Descendants of this process that are alive, as `PID: NAME`. Dead ones are buried on the way.
    #[must_use]
    pub fn living(&self) -> Vec<String> {
        let mut family = BTreeSet::from([std::process::id()]);
        let mut found = Vec::new();
        let all = processes();
        // Parents may have larger numbers than their children: go on until nobody is added.
        loop {
            let before = family.len();
            for process in &all {
                if family.contains(&process.parent) && family.insert(process.pid) {
                    if process.state != 'Z' {
                        found.push(format!("{}: {}", process.pid, process.name));
                    } else if process.parent == std::process::id()
                        && let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw)
                    {
                        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                    }
                }
            }
            if family.len() == before {
                return found;
            }
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let _ = set_child_subreaper(None);
    }
}

struct Process {
    pid: u32,
    parent: u32,
    state: char,
    name: String,
}

fn processes() -> Vec<Process> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        let stat = String::from_utf8_lossy(&stat).into_owned();
        // The name is in parentheses and may hold anything, parentheses too.
        let Some((front, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let state = fields.next().and_then(|text| text.chars().next()).unwrap_or('?');
        let parent = fields.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let name = front.split_once('(').map_or("", |(_, name)| name).escape_debug().to_string();
        all.push(Process { pid, parent, state, name });
    }
    all
}

/// What the machine looked like before.
#[derive(Debug)]
pub struct Leftovers {
    mounts: BTreeSet<String>,
    memory: BTreeSet<String>,
    /// The user besides [`USERS`] whose shared memory is looked at.
    user: Option<u32>,
}

impl Leftovers {
    /// Looks. `user` is the ordinary user that the host will run as, if it does.
    #[must_use]
    pub fn before(user: Option<u32>) -> Self {
        Self { mounts: mounts(), memory: shared_memory(user), user }
    }

    /// What is there now that was not, of a host with this process id and this folder; asked again until it is gone, since the
    /// kernel takes its time after a process has ended.
    #[must_use]
    pub fn after(&self, reaper: &Reaper, host: u32, folder: &Path) -> Vec<String> {
        let start = Instant::now();
        loop {
            let left = self.now(reaper, host, folder);
            if left.is_empty() || start.elapsed() > Duration::from_secs(5) {
                return left;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn now(&self, reaper: &Reaper, host: u32, folder: &Path) -> Vec<String> {
        let mut left: Vec<String> = Vec::new();
        left.extend(reaper.living().into_iter().map(|line| format!("process {line}")));
        let prefix = format!("polyloom-{host}-");
        left.extend(groups(&prefix).iter().map(|path| format!("control group {}", path.display())));
        let marks = [folder.display().to_string(), "polyloom".to_owned()];
        left.extend(
            mounts()
                .difference(&self.mounts)
                .filter(|line| marks.iter().any(|mark| line.contains(mark)))
                .map(|line| format!("mount {line}")),
        );
        left.extend(
            shared_memory(self.user)
                .difference(&self.memory)
                .map(|line| format!("shared memory {line}")),
        );
        left
    }
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// System V objects and files in the places for shared memory whose owner is a sandbox's user.
fn shared_memory(user: Option<u32>) -> BTreeSet<String> {
    let ours = |uid: u32| USERS.contains(&uid) || Some(uid) == user;
    let mut all = BTreeSet::new();
    for (file, column) in [("shm", 7), ("msg", 7), ("sem", 4)] {
        let text = fs::read_to_string(format!("/proc/sysvipc/{file}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let owner = line.split_whitespace().nth(column).and_then(|uid| uid.parse().ok());
            if owner.is_some_and(ours) {
                all.insert(format!("{file} {line}"));
            }
        }
    }
    for folder in ["/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            use std::os::unix::fs::MetadataExt;
            let owner = entry.metadata().map(|meta| meta.uid());
            let marked = entry.file_name().to_string_lossy().starts_with("pwned");
            if owner.is_ok_and(|uid| USERS.contains(&uid)) || marked {
                all.insert(entry.path().display().to_string());
            }
        }
    }
    all
}

fn groups(prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            } else if depth < 8 {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    found
}
