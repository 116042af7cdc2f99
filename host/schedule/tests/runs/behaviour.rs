//! Each rule as a conversation: causes on the left, commands on the right.

use polyloom_schedule::{Entry, Growth, KeepGoing, Schedule, StepSpec};

use crate::support::{on, options, show, spec, steps};

/// The first answer is to the start.
fn talk(text: &str, jobs: usize, keep_going: KeepGoing, lines: &[(&str, &str)]) -> Schedule {
    let mut schedule = Schedule::new(&steps(text), options(jobs, keep_going));
    for (cause, expected) in lines {
        let answer = match *cause {
            "start" => show(&schedule.start()),
            cause => on(&mut schedule, cause),
        };
        assert_eq!(answer, *expected, "after `{cause}`");
    }
    schedule
}

#[test]
fn steps_start_when_their_needs_are_there_and_a_place_is_free() {
    let schedule = talk(
        ", 0, 0, 1 2",
        1,
        KeepGoing::No,
        &[
            ("start", "start 0"),
            ("ok 0", "0 ok, start 1"),
            ("ok 1", "1 ok, start 2"),
            ("ok 2", "2 ok, start 3"),
            ("ok 3", "3 ok, finish ok"),
        ],
    );
    assert_eq!(schedule.totals().ok, 4);
}

#[test]
fn a_start_that_is_put_off_gives_its_place_to_others_and_is_no_attempt() {
    talk(
        ", , 0 r1",
        1,
        KeepGoing::No,
        &[
            ("start", "start 0"),
            ("off 0", "hold 0 250ms, start 1"),
            ("waited 0", ""),
            ("ok 1", "1 ok, start 0"),
            ("ok 0", "0 ok, start 2"),
            ("off 2", "hold 2 250ms"),
            ("waited 2", "start 2"),
            ("fail 2", "wait 2#2 1s"),
            ("waited 2", "start 2#2"),
            ("off 2", "hold 2 250ms"),
            ("waited 2", "start 2#2"),
            ("ok 2", "2 ok, finish ok"),
        ],
    );
}

#[test]
fn a_step_whose_start_was_put_off_ends_with_the_run_at_once() {
    talk(
        ", 0, r1",
        2,
        KeepGoing::No,
        &[
            ("start", "start 0, start 2"),
            ("off 0", "hold 0 250ms"),
            ("fail 2", "wait 2#2 1s"),
            ("waited 2", "start 2#2"),
            ("off 2", "hold 2 250ms"),
            ("int", "2 failed, 0 interrupted, 1 interrupted, finish interrupted"),
            ("waited 0", ""),
        ],
    );
    talk(
        ", ",
        2,
        KeepGoing::No,
        &[
            ("start", "start 0, start 1"),
            ("broken 0", "0 failed"),
            ("off 1", "1 stopped by 0, finish failed"),
        ],
    );
}

#[test]
fn nothing_to_do_is_done_at_once() {
    talk("c, c", 1, KeepGoing::No, &[("start", "0 cached, 1 cached, finish ok"), ("int", "")]);
    let mut empty = Schedule::new(&[], options(1, KeepGoing::No));
    assert_eq!(show(&empty.start()), "finish ok");
}

#[test]
fn a_known_result_ends_the_step_without_an_attempt() {
    talk(
        "c, 0 ?, 1 ?, 2",
        4,
        KeepGoing::No,
        &[
            ("start", "0 cached, decide 1"),
            ("cached 1", "1 cached, decide 2"),
            ("new 2", "start 2"),
            ("ok 2", "2 ok, start 3"),
            ("ok 3", "3 ok, finish ok"),
        ],
    );
}

#[test]
fn after_a_failure_nothing_starts_and_what_runs_may_finish() {
    talk(
        ", , 0, 1, ",
        2,
        KeepGoing::No,
        &[
            ("start", "start 0, start 1"),
            ("fail 0", "0 failed, 2 skipped by 0, 3 stopped by 0, 4 stopped by 0"),
            ("ok 1", "1 ok, finish failed"),
        ],
    );
}

#[test]
fn what_failed_before_stops_nothing_else() {
    talk(
        "r2, 0, , 2",
        1,
        KeepGoing::No,
        &[
            ("start", "start 0"),
            ("before 0", "0 failed, 1 skipped by 0, start 2"),
            ("ok 2", "2 ok, start 3"),
            ("ok 3", "3 ok, finish failed"),
        ],
    );
}

#[test]
fn keep_going_skips_only_what_is_made_from_the_failed_step() {
    talk(
        ", , 0, 1, 2 3",
        2,
        KeepGoing::Yes,
        &[
            ("start", "start 0, start 1"),
            ("fail 0", "0 failed, 2 skipped by 0, 4 skipped by 0"),
            ("ok 1", "1 ok, start 3"),
            ("ok 3", "3 ok, finish failed"),
        ],
    );
}

#[test]
fn a_failed_attempt_is_repeated_after_a_growing_delay_that_takes_no_place() {
    talk(
        "r2, ",
        1,
        KeepGoing::No,
        &[
            ("start", "start 0"),
            ("fail 0", "wait 0#2 1s, start 1"),
            ("waited 0", ""),
            ("ok 1", "1 ok, start 0#2"),
            ("fail 0", "wait 0#3 2s"),
            ("waited 0", "start 0#3"),
            ("fail 0", "0 failed, finish failed"),
        ],
    );
    talk("r2", 1, KeepGoing::No, &[("start", "start 0"), ("broken 0", "0 failed, finish failed")]);
}

#[test]
fn a_step_between_attempts_has_failed_when_the_run_stops() {
    talk(
        "r1, 0, ",
        2,
        KeepGoing::No,
        &[
            ("start", "start 0, start 2"),
            ("fail 0", "wait 0#2 1s"),
            ("int", "0 failed, 1 skipped by 0, cancel 2"),
            ("waited 0", ""),
            ("cancelled 2", "2 cancelled, finish interrupted"),
        ],
    );
}

#[test]
fn the_first_interrupt_cancels_and_the_second_kills() {
    let schedule = talk(
        ", , 0, ?",
        2,
        KeepGoing::No,
        &[
            ("start", "decide 3, start 0, start 1"),
            ("int", "2 interrupted, cancel 0, cancel 1"),
            ("new 3", "3 interrupted"),
            ("ok 0", "0 ok"),
            ("int", "kill 1"),
            ("int", ""),
            ("timeout", ""),
            ("cancelled 1", "1 cancelled, finish interrupted"),
            ("int", ""),
        ],
    );
    let totals = schedule.totals();
    assert_eq!((totals.ok, totals.cancelled, totals.skipped, schedule.live()), (1, 1, 2, 0));
}

#[test]
fn a_timeout_ends_the_run_as_an_interrupt_does() {
    talk(
        ", 0",
        1,
        KeepGoing::Yes,
        &[
            ("start", "start 0"),
            ("timeout", "1 timed out, cancel 0"),
            ("timeout", ""),
            ("int", "kill 0"),
            ("fail 0", "0 failed, finish timed out"),
        ],
    );
}

#[test]
fn a_newer_plan_ends_the_run_as_an_interrupt_does() {
    talk(
        ", , 0",
        2,
        KeepGoing::Yes,
        &[
            ("start", "start 0, start 1"),
            ("newer", "2 superseded, cancel 0, cancel 1"),
            ("newer", ""),
            ("ok 1", "1 ok"),
            ("cancelled 0", "0 cancelled, finish superseded"),
        ],
    );
}

#[test]
fn an_interrupt_while_draining_cancels_what_still_runs() {
    talk(
        ", , ",
        2,
        KeepGoing::No,
        &[
            ("start", "start 0, start 1"),
            ("fail 0", "0 failed, 2 stopped by 0"),
            ("int", "cancel 1"),
            ("cancelled 1", "1 cancelled, finish interrupted"),
        ],
    );
}

#[test]
fn causes_that_do_not_fit_change_nothing() {
    talk(
        ", 0",
        1,
        KeepGoing::No,
        &[
            ("start", "start 0"),
            ("ok 1", ""),
            ("waited 0", ""),
            ("cached 0", ""),
            ("ok 9", ""),
            ("ok 0", "0 ok, start 1"),
            ("ok 0", ""),
            ("ok 1", "1 ok, finish ok"),
            ("fail 1", ""),
        ],
    );
}

#[test]
fn one_cell_cancelled_by_the_runtime_takes_only_its_consumers_along() {
    talk(
        ", 0, ",
        1,
        KeepGoing::No,
        &[
            ("start", "start 0"),
            ("cancelled 0", "0 cancelled, 1 skipped by 0, start 2"),
            ("ok 2", "2 ok, finish failed"),
        ],
    );
}

#[test]
fn a_chain_of_a_hundred_thousand_and_a_fan_of_as_many() {
    use polyloom_schedule::{Cause, Command, Entry, Finish, Retry, StepIndex, Verdict};
    let count = 100_000_u32;
    let chain: Vec<_> = (0..count)
        .map(|i| crate::support::spec(&if i == 0 { vec![] } else { vec![i - 1] }, Entry::Start, 0))
        .collect();
    let mut schedule = Schedule::new(&chain, options(4, KeepGoing::Yes));
    schedule.start();
    let finish = Finish::Failed(Retry::Never);
    let commands = schedule.on(Cause::Finished { step: StepIndex(0), finish });
    assert_eq!(commands.len(), count as usize + 1);

    let fan: Vec<_> = (0..count)
        .map(|i| crate::support::spec(if i == 0 { &[] } else { &[0] }, Entry::Decide, 0))
        .collect();
    let mut schedule = Schedule::new(&fan, options(4, KeepGoing::Yes));
    let mut open = schedule.start();
    let mut ended = 0;
    while let Some(command) = open.pop() {
        open.extend(match command {
            Command::Decide { step } => {
                let verdict = if step.0 % 2 == 1 { Verdict::Cached } else { Verdict::Run };
                schedule.on(Cause::Decided { step, verdict })
            }
            Command::Start { step, .. } => {
                schedule.on(Cause::Finished { step, finish: Finish::Ok })
            }
            Command::End { .. } => {
                ended += 1;
                Vec::new()
            }
            _ => Vec::new(),
        });
    }
    assert_eq!(ended, count);
}

#[test]
fn what_is_left_out_takes_all_that_is_made_from_it_along() {
    let schedule = talk(
        "?, 0, 1, 0 ?",
        4,
        KeepGoing::No,
        &[
            ("start", "decide 0"),
            ("no 0", "0 left out, 1 left out by 0, 3 left out by 0, 2 left out by 0, finish ok"),
        ],
    );
    assert_eq!((schedule.totals().skipped, schedule.totals().left_out), (4, 4));
    talk(
        "-, 0, ",
        4,
        KeepGoing::No,
        &[("start", "0 left out, 1 left out by 0, start 2"), ("fail 2", "2 failed, finish failed")],
    );
}

#[test]
fn what_gathers_goes_on_with_those_that_are_left() {
    talk(
        "?, ?, 0 1 g, 2",
        4,
        KeepGoing::No,
        &[
            ("start", "decide 0, decide 1"),
            ("no 0", "0 left out"),
            ("new 1", "start 1"),
            ("ok 1", "1 ok, start 2"),
            ("ok 2", "2 ok, start 3"),
            ("ok 3", "3 ok, finish ok"),
        ],
    );
    talk(
        "-, -, 0 1 g",
        4,
        KeepGoing::No,
        &[("start", "0 left out, 1 left out, start 2"), ("ok 2", "2 ok, finish ok")],
    );
    talk(
        "-, , 0 1 g",
        4,
        KeepGoing::Yes,
        &[("start", "0 left out, start 1"), ("fail 1", "1 failed, 2 skipped by 1, finish failed")],
    );
}

#[test]
fn what_gathers_behind_a_gate_is_left_out_with_it() {
    talk(
        "w ?, 0, 0 1 g, 2, ",
        4,
        KeepGoing::No,
        &[
            ("start", "decide 0, start 4"),
            ("no 0", "0 left out, 1 left out by 0, 2 left out by 0, 3 left out by 0"),
            ("ok 4", "4 ok, finish ok"),
        ],
    );
    talk(
        "w -, 0 g, 1",
        4,
        KeepGoing::No,
        &[("start", "0 left out, 1 left out by 0, 2 left out by 0, finish ok")],
    );
}

/// Each cause is answered in a time that grows with the steps, not with their square: that would take minutes here.
#[test]
fn an_interrupt_of_very_many_steps_is_answered_at_once() {
    const MANY: u32 = 200_000;
    let mut steps = vec![spec(&[], Entry::Start, 0)];
    steps.extend((0..MANY).map(|_| spec(&[0], Entry::Start, 0)));
    let all: Vec<u32> = (1..=MANY).collect();
    steps.push(StepSpec { gathers: true, ..spec(&all, Entry::Decide, 0) });
    let mut schedule = Schedule::new(&steps, options(1, KeepGoing::Yes));
    let _ = schedule.start();
    let _ = on(&mut schedule, "ok 0");
    let said = schedule.on(polyloom_schedule::Cause::Interrupt);
    assert_eq!(said.len() as u32, 1 + MANY);
}

#[test]
fn a_condition_without_an_answer_is_a_failure() {
    talk(
        "?, 0, ",
        1,
        KeepGoing::No,
        &[
            ("start", "decide 0, start 2"),
            ("unclear 0", "0 failed, 1 skipped by 0"),
            ("ok 2", "2 ok, finish failed"),
        ],
    );
}

/// A schedule that waits for steps to be added.
fn grown(text: &str, keep_going: KeepGoing) -> Schedule {
    Schedule::new(&steps(text), options(2, keep_going)).growing()
}

#[test]
fn steps_that_are_added_fit_in_with_those_that_are_there() {
    let mut schedule = grown(", ", KeepGoing::No);
    assert_eq!(show(&schedule.start()), "start 0, start 1");
    assert_eq!(on(&mut schedule, "ok 0"), "0 ok");
    let added = steps("0, 1, 2 c, 2 3 g");
    assert_eq!(show(&schedule.grow(added, Growth::GoesOn)), "4 cached, start 2");
    assert_eq!(on(&mut schedule, "ok 1"), "1 ok, start 3");
    assert_eq!(on(&mut schedule, "ok 2"), "2 ok");
    assert_eq!(on(&mut schedule, "ok 3"), "3 ok, start 5");
    assert_eq!(on(&mut schedule, "ok 5"), "5 ok");
    assert!(schedule.is_idle());
    assert_eq!(show(&schedule.grow(Vec::new(), Growth::Over)), "finish ok");
}

#[test]
fn steps_that_are_added_too_late_end_with_what_they_need() {
    let mut schedule = grown(", ", KeepGoing::Yes);
    assert_eq!(show(&schedule.start()), "start 0, start 1");
    assert_eq!(on(&mut schedule, "fail 0"), "0 failed");
    assert_eq!(
        show(&schedule.grow(steps("0, 2, 1"), Growth::Over)),
        "2 skipped by 0, 3 skipped by 0"
    );
    assert_eq!(on(&mut schedule, "ok 1"), "1 ok, start 4");
    assert_eq!(on(&mut schedule, "ok 4"), "4 ok, finish failed");

    let mut schedule = grown("", KeepGoing::No);
    assert_eq!(show(&schedule.start()), "start 0");
    assert_eq!(on(&mut schedule, "fail 0"), "0 failed");
    let answer = show(&schedule.grow(steps("0, , c, 2 1, 3"), Growth::Over));
    let ends = "1 skipped by 0, 2 stopped by 0, 3 cached, 4 skipped by 0, 5 stopped by 0";
    assert_eq!(answer, format!("{ends}, finish failed"));

    let mut schedule = grown("", KeepGoing::No);
    assert_eq!(show(&schedule.start()), "start 0");
    assert_eq!(on(&mut schedule, "int"), "cancel 0");
    assert_eq!(on(&mut schedule, "cancelled 0"), "0 cancelled");
    assert_eq!(
        show(&schedule.grow(steps("0, , c, 3"), Growth::Over)),
        "1 interrupted, 2 interrupted, 3 cached, 4 interrupted, finish interrupted"
    );
    let mut schedule = grown("-", KeepGoing::No);
    assert_eq!(show(&schedule.start()), "0 left out");
    let answer = show(&schedule.grow(steps("0, 1, 0 g"), Growth::Over));
    assert_eq!(answer, "1 left out by 0, 2 left out by 0, start 3");
    assert_eq!(on(&mut schedule, "ok 3"), "3 ok, finish ok");
}
