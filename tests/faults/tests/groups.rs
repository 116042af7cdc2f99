//! Control groups that lie about: of the dead, of the living, of others, and one that does not want to go.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use polyloom_test_e2e::{Place, eventually, is_root, skip};
use polyloom_test_faults::{Process, groups_of, identity};

const FLOW: &str = "[cells.a]\nlang = \"sh\"\ncode = 'echo ready; sleep 0.5'\n";

/// The hierarchies in which groups are made here.
fn hierarchies() -> Vec<PathBuf> {
    let names = ["memory", "pids", "unified"];
    let all = names.iter().map(|name| Path::new("/sys/fs/cgroup").join(name));
    all.filter(|path| path.join("cgroup.procs").exists()).collect()
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    id.chars().filter(char::is_ascii_hexdigit).take(12).collect()
}

/// That of our process ids.
fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap();
    let text = link.to_str().unwrap();
    text.strip_prefix("pid:[").and_then(|rest| rest.strip_suffix(']')).unwrap().to_owned()
}

/// A group that is removed at the end, whoever made it.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn group(hierarchy: &Path, name: &str) -> Group {
    let path = hierarchy.join(name);
    fs::create_dir(&path).unwrap();
    Group(path)
}

fn sleeper() -> Child {
    Command::new("sleep").arg("7206").spawn().unwrap()
}

#[test]
fn groups_of_the_dead_go_and_all_others_stay() {
    let all = hierarchies();
    if !is_root() || all.is_empty() {
        return skip("no control groups can be made");
    }
    let boot = boot();
    let mut alive = sleeper();
    let (pid, start) = identity(alive.id());
    let me = std::process::id();
    for hierarchy in &all {
        // A number that is in use by somebody else now: the start says that it is not the owner.
        let reused = group(hierarchy, &format!("polyloom-{pid}-{}-{boot}-7", start - 1));
        let gone = group(hierarchy, &format!("polyloom-4194301-1-{boot}-{me}"));
        let reboot = group(hierarchy, &format!("polyloom-{pid}-{start}-0123456789ab-{me}"));
        let living = group(hierarchy, &format!("polyloom-{pid}-{start}-{boot}-{me}"));
        let here = format!("{boot}-{me}-{}", namespace());
        let left = group(hierarchy, &format!("polyloom-4194301-1-{here}"));
        let others = [
            group(hierarchy, &format!("polyloom-{pid}-{start}-{here}")),
            // Its number is somebody else's here, or nobody's.
            group(hierarchy, &format!("polyloom-4194301-1-{boot}-{me}-1")),
            group(hierarchy, &format!("polyloom-{me}")),
            group(hierarchy, &format!("polyloom-x-{me}-{boot}-1")),
            group(hierarchy, &format!("other-4194301-1-{boot}-{me}")),
        ];
        let _ = Place::flow(FLOW).polyloom(&["run"]).exits(0);
        for dead in [&reused, &gone, &reboot, &left] {
            assert!(!dead.0.exists(), "{} is left", dead.0.display());
        }
        for stays in others.iter().chain([&living]) {
            assert!(stays.0.exists(), "{} was removed", stays.0.display());
        }
    }
    alive.kill().unwrap();
    alive.wait().unwrap();
}

#[test]
fn a_host_in_a_container_takes_nobody_outside_for_dead() {
    let (all, unshare) = (hierarchies(), ["unshare", "-pf", "--mount-proc"]);
    let able = || Command::new(unshare[0]).args(&unshare[1..]).arg("true").status();
    if !is_root() || all.is_empty() || !able().is_ok_and(|status| status.success()) {
        return skip("no control groups or no namespaces can be made");
    }
    let mut alive = sleeper();
    let ((pid, start), boot) = (identity(alive.id()), boot());
    let name = format!("polyloom-{pid}-{start}-{boot}-{}-{}", std::process::id(), namespace());
    let groups: Vec<Group> = all.iter().map(|hierarchy| group(hierarchy, &name)).collect();
    let _ = Place::flow(FLOW).call_through(&unshare, &["run"]).end().exits(0);
    for group in &groups {
        assert!(group.0.exists(), "{} was removed", group.0.display());
    }
    alive.kill().unwrap();
    alive.wait().unwrap();
    // Its own are told from ours.
    let _ = Place::flow(FLOW).polyloom(&["run"]).exits(0);
    for group in &groups {
        assert!(!group.0.exists(), "{} is left", group.0.display());
    }
}

#[test]
fn a_group_that_is_busy_is_no_error_and_goes_with_a_later_run() {
    if !is_root() || !Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        return skip("no control groups of version 1 can be made");
    }
    let place = Place::flow(FLOW);
    let mut running = place.call(&["run", "--events", "-"]).start();
    let host = identity(running.pid());
    running.until_printed("a", "ready");
    let groups = groups_of(host);
    let pids = groups.iter().find(|path| path.starts_with("/sys/fs/cgroup/pids")).unwrap();
    // Somebody from outside is in it, and files of it are open.
    let mut guest = sleeper();
    fs::write(pids.join("cgroup.procs"), guest.id().to_string()).unwrap();
    let _open = fs::File::open(pids.join("pids.current")).unwrap();
    let _folder = fs::File::open(pids).unwrap();
    let ended = running.end().exits(0);
    assert!(
        !ended.stderr().contains("error") && !ended.stderr().contains("warning"),
        "{}",
        ended.screen()
    );
    assert!(pids.exists(), "it could not go");
    // Whoever is in a group of a dead host is not ours to kill where there is no switch for it.
    assert!(Process::of(guest.id().cast_signed()).is_some_and(|guest| guest.lives()));
    guest.kill().unwrap();
    guest.wait().unwrap();
    let _ = place.polyloom(&["run", "-F"]).exits(0);
    assert!(
        eventually(Duration::from_secs(1), || groups_of(host).is_empty()),
        "{:?}",
        groups_of(host)
    );
}
