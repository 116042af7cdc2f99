//! Whole screens.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use polyloom_events::{Event, Phase, Sink, Stream, Totals};
use polyloom_protocol::meta::{Diagnostic, ExecMeta, Outcome, Severity};
use polyloom_report::{Options, Progress, Terminal, Verbosity};
use support::{Out, Story, failing, meta, tail};

fn screen(story: &Story, options: Options) -> String {
    let out = Out::default();
    story.play(&mut Terminal::new(out.boxed(), options));
    out.text()
}

fn plain(story: &Story) -> String {
    screen(story, Options::default())
}

fn source(file: &str, first: u32, count: u32) -> Vec<String> {
    assert_eq!(file, "stats.cpp");
    let lines =
        ["#include \"polyloom.h\"", "int main() {", "\tdouble s sum = 0;", "\treturn 0;", "}"];
    lines.iter().skip(first as usize - 1).take(count as usize).map(|l| (*l).to_owned()).collect()
}

#[test]
fn a_failing_run_in_plain_mode() {
    let options = Options { source: Some(Box::new(source)), ..Options::default() };
    insta::assert_snapshot!(screen(&failing(), options), @r#"
    run 20261121-031833-ab12: weather (polyloom.toml), 4 cells, 2 at once
    cached  fetch  bash         -  nothing changed
    load  │ reading 1461 rows
    load  │ nan dropped: 3
    load  │ slow disk
    ok      load   python   123ms  never ran
    failed  stats  cpp      400ms  exit code 1
    skipped plot   python       -  `stats` failed

    error: cell `stats` (cpp): failed, exit code 1
      stats.cpp:3:12: error: expected ';' before 'sum' [E1]
        note: or a comma
           1 │ #include "polyloom.h"
           2 │ int main() {
      >    3 │     double s sum = 0;
             │               ^
           4 │     return 0;
      stderr, last lines:
        │ In file included from polyloom.h
        │ stats.cpp:3:12: error
    hint: `polyloom logs 20261121-031833-ab12 stats` shows all it printed; the next run goes on from here

    failed in 531ms: 1 ran, 1 cached, 1 failed, 1 skipped
    critical path: load 123ms → stats 400ms, 523ms of 531ms
    "#);
}

#[test]
fn a_step_that_never_began_is_not_run_and_no_worker_is_blamed() {
    let mut story = Story::default();
    story.start(&[("began", "c"), ("never", "c")]);
    story.run("began").done("began", "c", meta(Outcome::WorkerError, 5.0));
    story.done("never", "c", meta(Outcome::WorkerError, 0.0));
    story.at(10.0).end(Outcome::Failed, Totals { failed: 2, ..Totals::default() });
    let text = plain(&story);
    let line = |start: &str| text.lines().find(|it| it.starts_with(start)).unwrap().to_owned();
    assert!(line("error: cell `began`").contains("worker_error"), "{text}");
    assert!(
        text.contains("never") && text.contains("not run, the host could not begin it"),
        "{text}"
    );
    assert_eq!(text.matches("worker_error").count(), 2, "that of `began`, twice: {text}");
}

#[test]
fn who_looks_late_is_told_which_run_it_is() {
    let late = |run: Option<&str>| {
        let mut story = Story::default();
        story.done("stats", "cpp", meta(Outcome::Failed, 400.0));
        story.end(Outcome::Failed, Totals { failed: 1, ..Totals::default() });
        screen(&story, Options { run: run.map(str::to_owned), ..Options::default() })
    };
    let told = late(Some("20261121-031833-ab12"));
    assert!(told.contains("`polyloom logs 20261121-031833-ab12 stats`"), "{told}");
    assert!(late(None).contains("`polyloom logs stats`"), "{}", late(None));
}

#[test]
fn an_attempt_that_is_followed_by_another_has_a_line() {
    let mut story = Story::default();
    story.start(&[("load", "sh")]).run("load");
    let retried = |attempt, delay_ms, meta| Event::StepRetried {
        cell: "load".into(),
        attempt,
        delay_ms,
        meta: Box::new(meta),
    };
    let failed = ExecMeta { exit_code: Some(3), ..meta(Outcome::Failed, 9.0) };
    story.at(9.0).say(retried(1, 1500, failed));
    story.at(1600.0).say(retried(2, 0, meta(Outcome::TimedOut, 90.0)));
    story.at(1700.0).done("load", "sh", meta(Outcome::Ok, 90.0));
    insta::assert_snapshot!(plain(&story), @r"
    run 20261121-031833-ab12: weather (polyloom.toml), 1 cell, 2 at once
    load │ attempt 1 failed: exit code 3; the next begins in 1.50s
    load │ attempt 2 failed: timed_out, stopped after 90ms; trying again
    ok      load  sh    90ms  never ran
    ");
}

#[test]
fn a_quiet_run_shows_the_failure_only() {
    let options = Options { verbosity: Verbosity::Quiet, ..Options::default() };
    let text = screen(&failing(), options);
    assert!(text.starts_with("\nerror: cell `stats` (cpp): failed, exit code 1\n"), "{text}");
    assert!(!text.contains("load │"));
}

#[test]
fn a_verbose_run_shows_starts_and_artifacts() {
    let options = Options { verbosity: Verbosity::Verbose, ..Options::default() };
    let text = screen(&failing(), options);
    let start: String = text.lines().take(10).map(|line| line.to_owned() + "\n").collect();
    insta::assert_snapshot!(start, @r#"
    run 20261121-031833-ab12: weather (polyloom.toml), 4 cells, 2 at once
    cached  fetch  bash         -  nothing changed
    load  │ running
    load  │ reading 1461 rows
    load  │ nan dropped: 3
    load  │ slow disk
    load  │ temps = tensor<f64,[n]>, 11.5 KiB, b3:abababababab
    ok      load   python   123ms  never ran
    stats │ compiling
    failed  stats  cpp      400ms  exit code 1
    "#);
}

#[test]
fn each_outcome_has_a_cause_and_a_next_step() {
    let mut story = Story::default();
    let outcomes = [
        Outcome::TimedOut,
        Outcome::OutOfMemory,
        Outcome::OutputExceeded,
        Outcome::PidsExceeded,
        Outcome::OutputMissing,
        Outcome::WorkerError,
        Outcome::Killed,
    ];
    let names: Vec<_> = outcomes.iter().map(|o| o.as_str().replace('_', "-")).collect();
    story.start(&names.iter().map(|name| (name.as_str(), "c")).collect::<Vec<_>>());
    for (name, outcome) in names.iter().zip(outcomes) {
        let failed = ExecMeta {
            peak_memory: Some(256 << 20),
            signal: (outcome == Outcome::Killed).then_some(11),
            stdout: tail(if outcome == Outcome::OutputExceeded { "y\ny\n" } else { "" }),
            ..meta(outcome, 5000.0)
        };
        story.run(name).done(name, "c", failed);
    }
    story.at(5100.0).end(Outcome::Failed, Totals { failed: 7, ..Totals::default() });
    let text = plain(&story);
    let end = &text[text.find("\nerror").unwrap()..];
    insta::assert_snapshot!(end, @"

    error: cell `timed-out` (c): timed_out, stopped after 5.00s
    caused by: it ran longer than its time limit
    hint: raise `timeout` under `[cells.timed-out]`, if it really needs more; for one run, `--limit timed-out.timeout=…`
    hint: `polyloom logs 20261121-031833-ab12 timed-out` shows all it printed; the next run goes on from here

    error: cell `out-of-memory` (c): out_of_memory, peak memory 256 MiB
    caused by: its processes together used more memory than its limit
    hint: raise `memory` under `[cells.out-of-memory]`, if it really needs more; for one run, `--limit out-of-memory.memory=…`
    hint: `polyloom logs 20261121-031833-ab12 out-of-memory` shows all it printed; the next run goes on from here

    error: cell `output-exceeded` (c): output_exceeded, printed 4 B
      stdout, last lines:
        │ y
        │ y
    caused by: it printed more than its limit
    hint: raise `output_limit` under `[cells.output-exceeded]`, if it really needs more; for one run, `--limit output-exceeded.output_limit=…`
    hint: `polyloom logs 20261121-031833-ab12 output-exceeded` shows all it printed; the next run goes on from here

    error: cell `pids-exceeded` (c): pids_exceeded, too many processes
    caused by: it started more processes and threads than its limit
    hint: raise `pids` under `[cells.pids-exceeded]`, if it really needs more; for one run, `--limit pids-exceeded.pids=…`
    hint: `polyloom logs 20261121-031833-ab12 pids-exceeded` shows all it printed; the next run goes on from here

    error: cell `output-missing` (c): output_missing, a declared output is missing
    caused by: it ended well but left a declared output out
    hint: write the file `$OUT/NAME`; in Python and JavaScript, set a variable of that name
    hint: `polyloom logs 20261121-031833-ab12 output-missing` shows all it printed; the next run goes on from here

    error: cell `worker-error` (c): worker_error, the executor broke off
    caused by: the executor broke the protocol, or ended outside of the cell's code
    hint: `polyloom logs 20261121-031833-ab12 worker-error` shows all it printed; the next run goes on from here

    error: cell `killed` (c): killed, signal 11 (SIGSEGV)
    caused by: it used memory that is not its own: a wrong index or pointer, or a write to an input, which is read-only
    hint: `polyloom logs 20261121-031833-ab12 killed` shows all it printed; the next run goes on from here

    failed in 5.10s: 7 failed
    critical path: load 123ms → stats 400ms, 523ms of 5.10s
    ");
}

#[test]
fn each_outcome_fits_its_column() {
    let mut story = Story::default();
    story.start(&[("load", "sh")]);
    for outcome in [Outcome::Ok, Outcome::Cached, Outcome::Skipped, Outcome::Cancelled] {
        story.done("load", "sh", meta(outcome, 5.0));
    }
    let text = plain(&story);
    insta::assert_snapshot!(text.split_once('\n').unwrap().1, @r"
    ok      load  sh   5.0ms  never ran
    cached  load  sh       -  nothing changed
    skipped load  sh       -  `stats` failed
    stopped load  sh   5.0ms  cancelled, never ran
    ");
}

#[test]
fn nothing_a_cell_says_reaches_the_terminal_as_a_command() {
    let evil = "\u{1b}]0;x\u{7}\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\0\u{fffd}\u{9b}31m\u{202e}gpj\r\n";
    let mut story = Story::default();
    story.say(Event::RunStarted {
        schema: evil.into(),
        run: evil.into(),
        flow: evil.into(),
        path: evil.into(),
        started_unix_ms: 0,
        cells: 1,
        written: Some(1),
        jobs: 1,
        version: evil.into(),
        changed: vec![evil.into(); 5],
    });
    let diagnostic = |severity| Diagnostic {
        code: Some(evil.into()),
        file: Some(evil.into()),
        line: Some(1),
        col: Some(1),
        ..Diagnostic::new(severity, evil.repeat(3))
    };
    story.say(Event::StepStarted { cell: evil.into(), attempt: 1, phase: Phase::Run });
    for stream in
        [Stream::Stdout, Stream::Stderr, Stream::Debug, Stream::Info, Stream::Warn, Stream::Error]
    {
        story.log(evil, stream, evil);
    }
    story.say(Event::Progress { cell: evil.into(), fraction: Some(f64::NAN), text: evil.into() });
    for media in [evil, "text/plain"] {
        story.say(Event::Display { cell: evil.into(), media: media.into(), text: evil.into() });
    }
    for severity in [Severity::Error, Severity::Warning, Severity::Other(evil.into())] {
        story.say(Event::Diagnostic { cell: evil.into(), diagnostic: diagnostic(severity) });
    }
    let mut artifact = support::artifact();
    artifact.digest = evil.into();
    artifact.r#type = evil.into();
    story.say(Event::Artifact { cell: evil.into(), port: evil.into(), artifact });
    story.say(Event::Warning { text: evil.into() });
    let failed = ExecMeta {
        stderr: tail(evil),
        diagnostics: vec![diagnostic(Severity::Error); 7],
        ..meta(Outcome::WorkerError, f64::NAN)
    };
    story.say(Event::StepFinished {
        cell: evil.into(),
        lang: evil.into(),
        reason: evil.into(),
        attempts: 2,
        meta: Box::new(failed),
    });
    story.at(10.0).end(Outcome::Failed, Totals { failed: 1, ok: 9, ..Totals::default() });
    let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Debug] {
        let source: polyloom_report::SourceLines =
            Box::new(|_, _, _| vec!["\u{1b}[2J".to_owned(); 4]);
        let options = Options { verbosity, source: Some(source), ..Options::default() };
        let text = screen(&story, options);
        assert!(!text.contains(hostile), "{text:?}");
        assert!(verbosity == Verbosity::Quiet || text.contains("\\x1b]0;x\\x07\\x1b[2J"), "{text}");
        // Live: what is left without our own few sequences is as safe.
        let options = Options { verbosity, progress: Progress::Tty, ..Options::default() };
        let text = screen(&story, options).replace("\r\u{1b}[J", "");
        let text: String = text
            .split("\u{1b}[")
            .map(|part| {
                part.split_once('A')
                    .filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit()))
                    .map_or(part, |p| p.1)
            })
            .collect();
        assert!(!text.contains(hostile), "{text:?}");
    }
}

#[test]
fn a_flood_is_cut_and_says_where_the_rest_is() {
    let mut story = Story::default();
    story.start(&[("noisy", "sh")]).run("noisy");
    for _ in 0..100 {
        story.log("noisy", Stream::Stdout, &"y\n".repeat(1000));
    }
    story.at(900.0).done("noisy", "sh", meta(Outcome::Ok, 900.0));
    story.end(Outcome::Ok, Totals { ok: 1, ..Totals::default() });
    let text = plain(&story);
    assert_eq!(text.matches("noisy │ y\n").count(), 50);
    let end: String = text.lines().skip(51).map(|line| line.to_owned() + "\n").collect();
    insta::assert_snapshot!(end, @r#"
    noisy │ … 99,950 lines more, `polyloom logs 20261121-031833-ab12 noisy`
    ok      noisy  sh   900ms  never ran
    ok in 900ms: 1 ran
    "#);
}

#[test]
fn cached_steps_of_a_large_run_are_only_counted() {
    let names: Vec<_> = (0..1000).map(|i| format!("c{i}")).collect();
    let mut story = Story::default();
    story.start(&names.iter().map(|name| (name.as_str(), "python")).collect::<Vec<_>>());
    for name in &names {
        story.done(name, "python", meta(Outcome::Cached, 1.0));
    }
    story.at(40.0).end(Outcome::Ok, Totals { cached: 1000, ..Totals::default() });
    insta::assert_snapshot!(plain(&story), @r#"
    run 20261121-031833-ab12: weather (polyloom.toml), 1,000 cells, 2 at once
    ok in 40ms: 1,000 cached
    "#);
}

#[test]
fn left_out_steps_of_a_large_map_are_a_line_and_each_with_v() {
    let mut story = Story::default();
    // Its items are known only while the run goes on.
    story.start(&[("gen", "python")]).done("gen", "python", meta(Outcome::Ok, 1.0));
    let names: Vec<_> = (0..20_000).map(|i| format!("fit[n={i}]")).collect();
    for name in names.iter().map(String::as_str).chain(["fit"]) {
        let (cell, lang) = (name.to_owned(), "python".to_owned());
        let reason = "never ran".to_owned();
        story.say(Event::StepPlanned { cell, lang, action: polyloom_events::Action::Run, reason });
    }
    for name in &names {
        story.done(name, "python", meta(Outcome::Skipped, 0.0));
    }
    story.done("fit", "gather", meta(Outcome::Ok, 1.0));
    let totals = Totals { ok: 2, skipped: 20_000, ..Totals::default() };
    story.at(40.0).end(Outcome::Ok, totals);
    insta::assert_snapshot!(plain(&story), @r#"
    run 20261121-031833-ab12: weather (polyloom.toml), 1 cell, 2 at once
    ok      gen  python   1.0ms  never ran
    skipped fit[…]        python       -  20,000 steps: `stats` failed; -v shows each
    ok      fit           gather   1.0ms  never ran
    ok in 40ms: 2 ran, 20,000 skipped
    critical path: load 123ms → stats 400ms, 523ms of 40ms
    "#);
    let options = Options { verbosity: Verbosity::Verbose, ..Options::default() };
    assert!(screen(&story, options).lines().count() > 20_000);
}

#[test]
fn the_live_screen_draws_over_itself_and_leaves_only_lines_that_stay() {
    let out = Out::default();
    let options = Options { tty: true, width: 40, ..Options::default() };
    let terminal = Terminal::new(out.boxed(), options);
    let mut sink = terminal.clone();
    let mut story = Story::default();
    story.start(&[("load", "python"), ("stats", "cpp")]).run("load").run("stats");
    story.at(100.0).say(Event::Progress {
        cell: "load".into(),
        fraction: Some(0.5),
        text: "fitting a model with very many words".into(),
    });
    story.at(150.0).log("stats", Stream::Stdout, "hello\n");
    story.records.iter().for_each(|record| sink.record(record));
    terminal.tick(1200.0);
    insta::assert_snapshot!(drawn(&out.text()), @r#"
    run 20261121-031833-ab12: weather (polyloom.toml), 2 cells, 2 at once
    stats │ hello
    ⠹ load   python   1.20s  50%  fitting …
    ⠹ stats  cpp      1.20s
    0/2 done · 2 running · 1.20s
    "#);
    story.records.clear();
    story.at(1300.0).done("load", "python", meta(Outcome::Ok, 1300.0));
    story.at(1400.0).done("stats", "cpp", meta(Outcome::Ok, 1400.0));
    story.at(1400.0).end(Outcome::Ok, Totals { ok: 2, ..Totals::default() });
    story.play(&mut sink);
    insta::assert_snapshot!(drawn(&out.text()), @r#"
    run 20261121-031833-ab12: weather (polyloom.toml), 2 cells, 2 at once
    stats │ hello
    ok      load   python   1.30s  never ran
    ok      stats  cpp      1.40s  never ran
    ok in 1.40s: 2 ran
    critical path: load 123ms → stats 400ms, 523ms of 1.40s
    "#);
}

/// What a terminal shows after `text`: lines, cursor up, clear to the end.
fn drawn(text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((up, after)) =
            rest.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once("A\r\u{1b}[J"))
            && let Ok(up) = up.parse::<usize>()
        {
            lines.truncate(lines.len() - 1 - up);
            lines.push(String::new());
            rest = after;
            continue;
        }
        match c {
            '\n' => lines.push(String::new()),
            c => lines.last_mut().unwrap().push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    assert!(lines.iter().all(|line| polyloom_width(line) <= 80));
    lines.join("\n")
}

fn polyloom_width(text: &str) -> usize {
    text.chars().count()
}

#[test]
fn of_many_failures_the_first_are_told_in_full() {
    let names: Vec<_> = (0..40).map(|i| format!("c{i}")).collect();
    let mut story = Story::default();
    story.start(&names.iter().map(|name| (name.as_str(), "sh")).collect::<Vec<_>>());
    for name in &names {
        let failed = ExecMeta { exit_code: Some(2), ..meta(Outcome::Failed, 1.0) };
        story.run(name).done(name, "sh", failed);
    }
    story.at(40.0).end(Outcome::Failed, Totals { failed: 40, ..Totals::default() });
    let text = plain(&story);
    assert_eq!(text.matches("\nerror: ").count(), 10);
    assert!(text.contains("\nand 30 more failures:\n  c10: failed: exit code 2\n"), "{text}");
    assert!(text.contains("\n  … 10 more\n"), "{text}");
}

#[test]
fn long_names_of_steps_are_whole_and_on_a_narrow_terminal_still_tell_them_apart() {
    let names = [
        "fit[degree=3,row=#0,smooth=1]",
        "fit[degree=3,row=#0,smooth=10]",
        "漢字漢字漢字漢字漢字漢字漢字",
    ];
    let mut story = Story::default();
    story.start(&names.map(|name| (name, "sh")));
    for name in names {
        story.run(name).log(name, Stream::Stdout, "hello\n");
    }
    let drawing = Options { tty: true, width: 20, ..Options::default() };
    let terminal = Terminal::new(Out::default().boxed(), drawing);
    let mut sink = terminal.clone();
    story.records.iter().for_each(|record| sink.record(record));
    // Wider than the screen: nothing to be seen but that it stands.
    terminal.tick(1200.0);
    for name in names {
        story.done(name, "sh", meta(Outcome::Ok, 1.0));
    }
    insta::assert_snapshot!(plain(&story), @"
    run 20261121-031833-ab12: weather (polyloom.toml), 3 cells, 2 at once
    fit[degree=3,row=#0,smooth=1]  │ hello
    fit[degree=3,row=#0,smooth=10] │ hello
    漢字漢字漢字漢字漢字漢字漢字   │ hello
    ok      fit[degree=3,row=#0,smooth=1]   sh   1.0ms  never ran
    ok      fit[degree=3,row=#0,smooth=10]  sh   1.0ms  never ran
    ok      漢字漢字漢字漢字漢字漢字漢字    sh   1.0ms  never ran
    ");
    let narrow = Options { tty: true, width: 60, progress: Progress::Plain, ..Options::default() };
    insta::assert_snapshot!(screen(&story, narrow), @"
    run 20261121-031833-ab12: weather (polyloom.toml), 3 cells, 2 at once
    fit[degree=…#0,smooth=1] │ hello
    fit[degree=…0,smooth=10] │ hello
    漢字漢字漢…漢字漢字漢字  │ hello
    ok      fit[degree=…#0,smooth=1]  sh   1.0ms  never ran
    ok      fit[degree=…0,smooth=10]  sh   1.0ms  never ran
    ok      漢字漢字漢…漢字漢字漢字   sh   1.0ms  never ran
    ");
}

#[test]
fn the_language_of_a_kernel_is_whole() {
    let mut story = Story::default();
    story.start(&[("a", "jupyter:python3"), ("b", "sh")]);
    story.run("a").done("a", "jupyter:python3", meta(Outcome::Ok, 5.0));
    story.run("b").done("b", "sh", meta(Outcome::Ok, 5.0));
    let shown = plain(&story);
    assert!(
        shown.contains("a  jupyter:python3  ") && shown.contains("b  sh               "),
        "{shown}"
    );
}

#[test]
fn a_kernel_that_ended_is_told_as_that() {
    let mut story = Story::default();
    story.start(&[("a", "jupyter:python3")]);
    let mut failed = meta(Outcome::Failed, 5.0);
    failed.exit_code = Some(0);
    let words = "the kernel ended with exit status: 1: No module named ipykernel_launcher";
    failed.diagnostics = vec![Diagnostic::new(Severity::Error, words)];
    story.run("a").done("a", "jupyter:python3", failed);
    let totals = Totals { failed: 1, ..Totals::default() };
    story.end(Outcome::Failed, totals);
    let shown = plain(&story);
    assert!(shown.contains("cell `a` (jupyter:python3): failed, its kernel ended\n"), "{shown}");
}

#[test]
fn time_of_the_critical_path_that_is_no_cells_own_is_told() {
    let mut story = Story::default();
    story.start(&[("load", "python"), ("stats", "cpp")]);
    story.at(100.0).done("load", "python", meta(Outcome::Ok, 20.0));
    story.at(500.0).done("stats", "cpp", meta(Outcome::Ok, 30.0));
    story.at(531.0).end(Outcome::Ok, Totals { ok: 2, ..Totals::default() });
    let text = screen(&story, Options::default());
    let last = "critical path: load 123ms → stats 400ms, 523ms of 531ms, 473ms of it before and after the cells' own time\n";
    assert!(text.ends_with(last), "{text}");
}
