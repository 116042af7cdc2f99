//! One flight for each key, of threads and of processes, and none outlives its holder.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use polyloom_model::Digest;
use polyloom_store::Store;

#[test]
fn a_key_has_one_flight_at_a_time_and_keys_do_not_wait_for_each_other() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let other = Store::open(root.path()).unwrap();
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let held = store.try_flight(&a).unwrap().unwrap();
    assert!(store.try_flight(&a).unwrap().is_none());
    assert!(other.try_flight(&a).unwrap().is_none());
    assert!(other.try_flight(&b).unwrap().is_some());
    drop(held);
    assert!(other.try_flight(&a).unwrap().is_some());
}

#[test]
fn threads_that_need_the_same_make_it_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let key = Digest::of(b"key");
    let (made, inside) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _flight = loop {
                    if let Some(flight) = store.try_flight(&key).unwrap() {
                        break flight;
                    }
                    std::thread::yield_now();
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                if store.program(&key).unwrap().is_none() {
                    made.fetch_add(1, Ordering::SeqCst);
                    let program = store.put_bytes(b"made").unwrap();
                    store.commit_program(&key, &program, 0).unwrap();
                }
                inside.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

/// Runs in a process of its own, started by the test below: takes the flight, says so, and waits to be killed.
#[test]
fn child_holds_if_told_to() {
    let Some(root) = std::env::var_os("STORE_TEST_HOLD") else { return };
    let store = Store::open(root).unwrap();
    let _flight = store.try_flight(&Digest::of(b"key")).unwrap().unwrap();
    println!("held");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_killed_holder_lets_go() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_holds_if_told_to", "--nocapture"])
        .env("STORE_TEST_HOLD", root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("held")));
    let key = Digest::of(b"key");
    assert!(store.try_flight(&key).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(store.try_flight(&key).unwrap().is_some());
}
