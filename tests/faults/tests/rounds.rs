//! Host, spawner, supervisors and workers are killed and stopped at random points.
//!
//! `POLYLOOM_ROUNDS` says how many rounds (30), `POLYLOOM_SEED` which; a round that fails prints both.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use polyloom_test_e2e::{is_root, needs, skip};
use polyloom_test_faults::{Plan, Random, Report, number_of, play, seed};

/// At once: most of a round is waiting.
const AT_ONCE: usize = 3;

/// Plays the rounds whose number leaves `rest` when divided by `of`.
fn rounds(of: u64, rest: &[u64], user: impl Fn(u64) -> Option<u32> + Sync) {
    let seed = seed();
    let all = number_of("POLYLOOM_ROUNDS").unwrap_or(30);
    println!("POLYLOOM_SEED={seed} POLYLOOM_ROUNDS={all}");
    let start = Instant::now();
    let next = AtomicU64::new(0);
    let reports: Mutex<Vec<Report>> = Mutex::default();
    let failures: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= all {
                        return;
                    }
                    if !rest.contains(&(number % of)) {
                        continue;
                    }
                    let mut random = Random::new(seed.wrapping_add(number));
                    let plan = Plan::new(number, seed, user(number), &mut random);
                    match catch_unwind(AssertUnwindSafe(|| play(&plan))) {
                        Ok(report) => {
                            println!("{report}");
                            reports.lock().unwrap().push(report);
                        }
                        Err(why) => {
                            let text = why.downcast_ref::<String>().cloned();
                            failures.lock().unwrap().push(text.unwrap_or_default());
                        }
                    }
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap();
    let failures = failures.into_inner().unwrap();
    let hit = reports.iter().filter(|report| report.hit).count();
    let committed: usize = reports.iter().map(|report| report.committed).sum();
    let slowest = reports.iter().map(|report| report.gone).max().unwrap_or(Duration::ZERO);
    println!(
        "{} rounds in {:.1?}, {hit} hit; {committed} cells committed, none lost; nobody left after {slowest:.1?} at most",
        reports.len(),
        start.elapsed()
    );
    assert!(failures.is_empty(), "seed {seed}: {} rounds failed: {failures:#?}", failures.len());
    assert!(hit * 2 > reports.len(), "most blows came too late: {hit} of {}", reports.len());
}

#[test]
fn no_orphan_and_nothing_lost() {
    needs!("python3", "gcc");
    // Of four rounds three; from an ordinary user all.
    if is_root() { rounds(4, &[0, 1, 2], |_| None) } else { rounds(1, &[0], |_| None) }
}

#[test]
fn no_orphan_and_nothing_lost_for_an_ordinary_user() {
    needs!("python3", "gcc");
    if !is_root() {
        return skip("the other test is by an ordinary user already");
    }
    rounds(4, &[3], |number| Some(61_000 + u32::try_from(number % 4000).unwrap()));
}
