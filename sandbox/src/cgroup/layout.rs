//! Where on this machine control groups can be made. Reads `/proc/self/{cgroup,mountinfo}` once; tries by doing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::owner;

/// Directories under which a sandbox's groups are made, per v1 controller and for v2.
#[derive(Debug, Default)]
pub struct Layout {
    pub memory: Option<PathBuf>,
    /// Whether memory and swap can be limited together.
    pub memory_swap: bool,
    pub pids: Option<PathBuf>,
    pub cpu: Option<PathBuf>,
    pub cpuacct: Option<PathBuf>,
    pub unified: Option<Unified>,
    /// Why something is missing; shown to people.
    pub why: String,
}

/// A place in the v2 hierarchy.
#[derive(Debug)]
pub struct Unified {
    pub parent: PathBuf,
    /// Of memory, pids and cpu, those that children get. Empty on a machine whose controllers live in v1.
    pub controllers: Vec<String>,
    /// Whether one write ends everybody in a group.
    pub kills: bool,
}

/// A mounted hierarchy, and our own place in it.
struct Hierarchy {
    /// v1 controllers; none means v2.
    controllers: Vec<String>,
    mount: PathBuf,
    own: PathBuf,
}

impl Layout {
    /// Whether a control group counts every page of a cell.
    pub fn counts_memory(&self) -> bool {
        let handed_out = |unified: &Unified| unified.controllers.iter().any(|one| one == "memory");
        self.memory.is_some() || self.unified.as_ref().is_some_and(handed_out)
    }

    /// Looks around. Never fails: what cannot be used is absent, with a reason.
    pub fn detect() -> Self {
        let mut layout = Self::default();
        let hierarchies = match hierarchies() {
            Ok(hierarchies) => hierarchies,
            Err(error) => {
                layout.why = format!("`/proc/self/mountinfo` is not readable: {error}");
                return layout;
            }
        };
        if hierarchies.is_empty() {
            layout.why = "no cgroup file system is mounted".into();
        }
        for hierarchy in &hierarchies {
            if hierarchy.controllers.is_empty() {
                layout.unified = unified(hierarchy, &mut layout.why);
                continue;
            }
            if let Err(error) = attempt(&hierarchy.own) {
                let place = hierarchy.own.display();
                layout.why = format!("`{place}` is not ours to divide: {error}");
                continue;
            }
            for controller in &hierarchy.controllers {
                let slot = match controller.as_str() {
                    "memory" => &mut layout.memory,
                    "pids" => &mut layout.pids,
                    "cpu" => &mut layout.cpu,
                    "cpuacct" => &mut layout.cpuacct,
                    _ => continue,
                };
                *slot = Some(hierarchy.own.clone());
            }
        }
        layout.memory_swap = layout
            .memory
            .as_ref()
            .is_some_and(|own| own.join("memory.memsw.limit_in_bytes").exists());
        layout
    }
}

/// The nearest place, going up from our own group, whose children get memory and process limits and where we may both make
/// a group and move a process of ours into it (which needs write access to the common ancestor). Our own group is usually not
/// it, since a v2 group with processes cannot hand out controllers.
fn unified(hierarchy: &Hierarchy, why: &mut String) -> Option<Unified> {
    let mut place = hierarchy.own.clone();
    loop {
        let controllers = handed_out(&place);
        let has = |name: &str| controllers.iter().any(|controller| controller == name);
        let useful = has("memory") && has("pids");
        if useful && writable(&place.join("cgroup.procs")) && attempt(&place).is_ok() {
            let kills = kills(&place);
            return Some(Unified { parent: place, controllers, kills });
        }
        if place == hierarchy.mount || !place.pop() || !place.starts_with(&hierarchy.mount) {
            break;
        }
    }
    // Without controllers a group still kills and counts time.
    match attempt(&hierarchy.own) {
        Ok(()) => Some(Unified {
            parent: hierarchy.own.clone(),
            controllers: Vec::new(),
            kills: kills(&hierarchy.own),
        }),
        Err(error) => {
            if why.is_empty() {
                let place = hierarchy.own.display();
                *why = format!("no delegated group from `{place}` upwards: {error}");
            }
            None
        }
    }
}

/// Whether a group made here could be killed at once. The root group has no such file: so another one is asked.
fn kills(place: &Path) -> bool {
    let trial = place.join(owner::fresh());
    let made = fs::create_dir(&trial).is_ok();
    let kills = fs::OpenOptions::new().write(true).open(trial.join("cgroup.kill")).is_ok();
    if made {
        // Empty, so that it goes at once.
        let _ = fs::remove_dir(&trial);
    }
    kills
}

fn handed_out(place: &Path) -> Vec<String> {
    let text = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap_or_default();
    text.split_whitespace()
        .filter(|name| matches!(*name, "memory" | "pids" | "cpu"))
        .map(String::from)
        .collect()
}

fn writable(path: &Path) -> bool {
    fs::OpenOptions::new().write(true).open(path).is_ok()
}

/// Makes and removes a group: permissions, delegation and limits on depth are all answered by this.
fn attempt(place: &Path) -> io::Result<()> {
    let trial = place.join(owner::fresh());
    fs::create_dir(&trial)?;
    // v1 `cpuset` style surprises aside, a group that was made and not used can be removed.
    fs::remove_dir(&trial)
}

/// Where the hierarchies are mounted.
pub fn mounts() -> Vec<PathBuf> {
    hierarchies().unwrap_or_default().into_iter().map(|hierarchy| hierarchy.mount).collect()
}

fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(parse(&own, &mounts))
}

/// Joins the two texts: where each hierarchy is mounted and which of its groups is ours. The format is proc(5)'s.
fn parse(own: &str, mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut left = left.split(' ').skip(3);
        let (Some(root), Some(mount)) = (left.next(), left.next()) else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next().unwrap_or(""), right.nth(1).unwrap_or(""));
        let wanted: &[&str] = match kind {
            "cgroup2" => &[],
            "cgroup" => &["memory", "pids", "cpu", "cpuacct"],
            _ => continue,
        };
        let controllers: Vec<String> =
            options.split(',').filter(|option| wanted.contains(option)).map(String::from).collect();
        if kind == "cgroup" && controllers.is_empty() {
            continue;
        }
        let ours = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            let matches = match controllers.first() {
                None => names.is_empty(),
                Some(first) => names.split(',').any(|name| name == first),
            };
            matches.then_some(path)
        });
        let Some(ours) = ours else { continue };
        // In a container the mount shows only a part of the hierarchy.
        let below = Path::new(ours).strip_prefix(root).unwrap_or(Path::new(""));
        let mount = PathBuf::from(mount);
        let own = if below.as_os_str().is_empty() { mount.clone() } else { mount.join(below) };
        // The same hierarchy mounted twice: the first one is the one people look at.
        if !found.iter().any(|known| known.controllers == controllers) {
            found.push(Hierarchy { controllers, mount, own });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_machine_is_understood() {
        let own = "8:pids:/\n4:memory:/a/b\n0::/\n";
        let mounts = "30 1 0:26 / /cg/memory rw,relatime - cgroup cgroup rw,memory\n\
                      31 1 0:27 / /cg/pids rw,relatime - cgroup cgroup rw,pids\n\
                      32 1 0:28 / /cg/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let found = parse(own, mounts);
        let own: Vec<_> = found.iter().map(|h| h.own.display().to_string()).collect();
        assert_eq!(own, ["/cg/memory/a/b", "/cg/pids", "/cg/unified"]);
    }

    #[test]
    fn container_root_is_stripped() {
        let found = parse("0::/docker/x/y\n", "32 1 0:28 /docker/x /cg rw - cgroup2 cgroup2 rw\n");
        assert_eq!(found[0].own, Path::new("/cg/y"));
    }
}
