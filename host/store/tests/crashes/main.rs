//! Processes that use a store are killed at its every step, two at once, and between that somebody damages files: the store is always in
//! an old or in a new state, opens without anybody's help, and gives no wrong byte. A model of it says what it must be like.
//!
//! `POLYLOOM_ROUNDS=5000 cargo test -p polyloom-store --test crashes -- --nocapture` takes longer; `POLYLOOM_SEED` plays a round again.
#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "tests")]

mod model;
mod work;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use self::model::{Damaged, Model};
use self::work::{Dice, Op, work};

/// Places passed in a process that goes to its end are fewer.
const FAR: u64 = 400;

/// Runs in a process of its own, started by the test below: works, and ends itself at a place.
#[test]
fn child_works_if_told_to() {
    let Some(root) = std::env::var_os("STORE_TEST_WORK") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let last = number("STORE_TEST_PLACE");
    let passed = AtomicU64::new(0);
    polyloom_store::arm(move |_| {
        if passed.fetch_add(1, Ordering::SeqCst) == last {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        }
    });
    let ops = work(number("STORE_TEST_SEED"), number("STORE_TEST_MINE"), number("STORE_TEST_OF"));
    work::go(Path::new(&root), &ops, |at| {
        // In one write, so that a line is whole or not there.
        std::io::stderr().write_all(format!("done {at}\n").as_bytes()).unwrap();
    });
}

struct Process {
    child: Child,
    ops: Vec<Op>,
}

fn start(root: &Path, seed: u64, mine: u64, of: u64, place: u64) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_works_if_told_to", "--nocapture"])
        .env("STORE_TEST_WORK", root)
        .env("STORE_TEST_SEED", seed.to_string())
        .env("STORE_TEST_MINE", mine.to_string())
        .env("STORE_TEST_OF", of.to_string())
        .env("STORE_TEST_PLACE", place.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Process { child, ops: work(seed, mine, of) }
}

/// Waits for its end; tells the model what it did. Gives the commit that was under way.
fn end(mut process: Process, model: &mut Model) -> Option<(Vec<u64>, u64)> {
    let mut done = 0;
    let mut said = String::new();
    for line in BufReader::new(process.child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("done ") {
            model.done(&process.ops[done]);
            done += 1;
        } else {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let status = process.child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}: {said}");
    let op = process.ops.get(done)?;
    model.interrupted(op);
    match op {
        Op::Commit(keys, version) => Some((keys.clone(), *version)),
        _ => None,
    }
}

/// Does to files what disks and people do.
fn damage(root: &Path, dice: &mut Dice) -> Damaged {
    let mut files = Vec::new();
    for folder in ["blobs", "trees"] {
        list(&root.join(folder), &mut files);
    }
    files.sort();
    if files.is_empty() {
        return Damaged::No;
    }
    for _ in 0..=dice.roll(2) {
        let path = &files[usize::try_from(dice.roll(files.len() as u64)).unwrap()];
        let Ok(bytes) = fs::read(path) else { continue };
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o644));
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        let at = usize::try_from(dice.roll(bytes.len().max(1) as u64)).unwrap();
        match dice.roll(4) {
            0 => fs::remove_file(path).unwrap(),
            1 => fs::write(path, &bytes[..at]).unwrap(),
            2 => fs::write(path, b"").unwrap(),
            _ => {
                let mut bytes = bytes;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
                fs::write(path, bytes).unwrap();
                if dice.roll(2) == 0 {
                    let file = fs::File::options().write(true).open(path).unwrap();
                    file.set_modified(modified).unwrap();
                }
            }
        }
    }
    Damaged::Yes
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

/// What a power cut or a disk leaves of the index's log: SQLite keeps what is whole of it. Then earlier states are right, too.
fn tear(root: &Path, dice: &mut Dice, before: &Model, model: &mut Model) -> bool {
    let log = root.join("index.db-wal");
    let Ok(meta) = fs::metadata(&log) else { return false };
    if dice.roll(6) != 0 || meta.len() == 0 {
        return false;
    }
    fs::File::options().write(true).open(&log).unwrap().set_len(dice.roll(meta.len())).unwrap();
    for (key, known) in &mut model.keys {
        known.versions.extend(&before.keys[key].versions);
        known.versions.extend((0..5).map(Some));
        known.versions.insert(None);
        known.may_lack = true;
    }
    true
}

fn round(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let mut dice = Dice(seed);
    let mut model = Model::new();
    for _ in 0..1 + dice.roll(4) {
        let before = model.clone();
        let of = 1 + dice.roll(2);
        let mut processes = Vec::new();
        for mine in 0..of {
            let sides = if dice.roll(3) == 0 { FAR } else { 60 };
            let place = dice.roll(sides);
            processes.push(start(&root, dice.roll(1 << 40), mine, of, place));
        }
        let groups: Vec<_> = processes.into_iter().map(|p| end(p, &mut model)).collect();
        if of == 2 {
            // One may have collected when the other had not begun or was gone.
            model.lose();
        }
        let mut groups: Vec<_> = groups.into_iter().flatten().collect();
        // A version that all keys of a commit may have had before says nothing about it.
        groups.retain(|(keys, version)| {
            keys.iter().all(|key| !before_has(&before, &model, *key, *version))
        });
        if tear(&root, &mut dice, &before, &mut model) {
            groups.clear();
        }
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::write(root.join("tmp/0123456789abcdef-7"), "left").unwrap();
        if dice.roll(2) == 0 {
            model.damaged = damage(&root, &mut dice);
        }
        model.check(&root, &groups);
    }
}

/// Whether a key may have had a version before the commit that was interrupted.
fn before_has(before: &Model, model: &Model, key: u64, version: u64) -> bool {
    before.keys[&key].versions.contains(&Some(version)) || model.keys[&key].versions.len() < 2
}

#[test]
fn a_store_is_always_in_an_old_or_a_new_state() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("POLYLOOM_ROUNDS").unwrap_or(25);
    let first = number("POLYLOOM_SEED");
    for at in 0..first.map_or(rounds, |_| 1) {
        let seed = first.unwrap_or(at);
        let failed = std::panic::catch_unwind(|| round(seed)).is_err();
        assert!(!failed, "round {at} failed; POLYLOOM_SEED={seed} plays it again");
    }
}
