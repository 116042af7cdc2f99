//! The sandbox tried from outside: this binary is test runner, spawner and (bound into the sandbox) the hostile cell.
//!
//! It has a main of its own because a spawner is a re-executed binary. What this machine cannot enforce is printed, never skipped
//! in silence.
#![allow(unsafe_code, reason = "the hostile acts are system calls")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod acts;
mod bare;
mod collecting;
mod confinement;
mod disks;
mod doors;
mod limits;
mod lives;
mod openings;
mod support;
mod zygotes;

use std::{env, panic, process::ExitCode};

use support::Lab;

/// One test: its name states the behaviour.
pub type Case = (&'static str, fn(&Lab));

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(polyloom_sandbox::SPAWNER_ARG) => polyloom_sandbox::spawner_main(),
        Some("__act") => acts::run(&arguments[2..]),
        Some("__host") => lives::victim_host(),
        Some("__unavailable") => lives::without_namespaces(),
        Some("__folder") => disks::without_loop_devices(),
        Some("__disk_host") => disks::victim_host(),
        Some("__bare") => bare::without_namespaces(),
        Some("__bare_host") => bare::victim_host(),
        Some("__small") => lives::container_root(),
        _ => {}
    }
    let cases: Vec<Case> = [
        confinement::CASES,
        doors::CASES,
        openings::CASES,
        limits::CASES,
        disks::CASES,
        lives::CASES,
        bare::CASES,
        collecting::CASES,
        zygotes::CASES,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        // A runner asks for the ignored ones apart; there are none.
        if arguments.iter().any(|argument| argument == "--ignored") {
            return ExitCode::SUCCESS;
        }
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let filter = arguments.iter().skip(1).find(|argument| !argument.starts_with('-'));
    let lab = Lab::open();
    lab.print_levels();
    let mut failed = 0;
    for (name, case) in cases {
        let wanted = filter
            .is_none_or(|text| if exact { text == name } else { name.contains(text.as_str()) });
        if !wanted {
            continue;
        }
        let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| case(&lab)));
        println!("{} {name} ({})", if outcome.is_ok() { "ok    " } else { "FAILED" }, lab.mode());
        failed += usize::from(outcome.is_err());
    }
    drop(lab);
    // The same again as an ordinary user, from a copy that user may read.
    if filter.is_none() && support::is_root() {
        failed += usize::from(!support::run_as_nobody());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
