//! Large flows: time grows with the file, and no chain is too long.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use support::check;

/// A flow of `size` cells, each of which reads from a few before it.
fn flow(size: usize, link: impl Fn(usize) -> Vec<usize>) -> String {
    let mut text = String::from("[params]\nn = 1\n");
    for cell in 0..size {
        let mut inputs = String::from("p = 'param:n'");
        for source in link(cell) {
            write!(inputs, ", i{source} = 'c{source}.out'").unwrap();
        }
        write!(
            text,
            "[cells.c{cell}]\nlang = 'python'\ncode = '''\nout = p\n'''\ninputs = {{ {inputs} }}\noutputs = {{ out = 'int' }}\ntimeout = '5s'\n"
        )
        .unwrap();
    }
    text
}

fn timed(what: &str, text: &str) -> (polyloom_load::Loaded, Duration) {
    let start = Instant::now();
    let loaded = check("x.toml", text, None);
    let took = start.elapsed();
    println!("{what}: {} KiB in {} ms", text.len() / 1024, took.as_millis());
    (loaded, took)
}

#[test]
fn ten_thousand_cells_are_checked_in_a_moment() {
    let text = flow(10_000, |cell| (1..=3).filter_map(|back| cell.checked_sub(back * 7)).collect());
    let (loaded, took) = timed("10,000 cells", &text);
    assert_eq!(loaded.flow.unwrap().cells.len(), 10_000);
    // Generous: the test must not depend on the machine, only catch what is not linear.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_chain_of_100_000_cells_does_not_overflow() {
    let text = flow(100_000, |cell| cell.checked_sub(1).into_iter().collect());
    let (loaded, _) = timed("a chain of 100,000 cells", &text);
    assert_eq!(loaded.flow.unwrap().cells.len(), 100_000);
}

#[test]
fn ten_thousand_problems_are_reported_in_a_moment() {
    let text = flow(10_000, |cell| vec![cell + 20_000, cell + 30_000]);
    let (loaded, took) = timed("20,000 problems", &text);
    // No one reads them all.
    assert_eq!(loaded.report.errors(), 10_001);
    let last = loaded.report.problems.last().unwrap().to_string();
    assert_eq!(last, "error[PL066]: and 10000 more, which are not listed");
    let start = Instant::now();
    let picture = polyloom_load::render(&loaded.report, false, 100);
    println!("drawn: {} KiB in {} ms", picture.len() / 1024, start.elapsed().as_millis());
    let end = "and 9560 more\nerror[PL066]: and 10000 more, which are not listed\n";
    assert!(picture.ends_with(end) && picture.len() < 200_000);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn unknown_tables_without_number_are_reported_in_a_moment() {
    let text: String = (0..300_000).map(|at| format!("[x{at}]\n")).collect();
    let (loaded, took) = timed("300,000 unknown tables", &text);
    assert!(loaded.flow.is_none());
    assert_eq!(loaded.report.problems.len(), 10_001);
    assert!(took < Duration::from_secs(40), "{took:?}");
}

#[test]
fn an_error_behind_too_many_warnings_is_one() {
    // Nobody has given values for them yet.
    let mut text = "[params]\n".to_owned();
    (0..10_100).for_each(|at| writeln!(text, "p{at} = {{ type = 'int' }}").unwrap());
    let inputs: String = (0..10_100).map(|at| format!("i{at} = 'param:p{at}'\n")).collect();
    let cell = |lang: &str| {
        format!("{text}[cells.a]\nlang = '{lang}'\ncode = ''\n[cells.a.inputs]\n{inputs}")
    };
    let loaded = check("x.toml", &cell("python"), None);
    assert_eq!((loaded.report.errors(), loaded.report.warnings()), (0, 10_001));
    assert!(loaded.flow.is_some());
    let loaded = check("x.toml", &cell("pyhton"), None);
    assert!(loaded.flow.is_none() && loaded.report.has_errors());
}

#[test]
fn problems_of_a_large_flow_are_told_from_the_top_however_many_look_for_them() {
    let mut text = String::new();
    for cell in 0..20_000 {
        let lang = if cell % 5000 == 7 { "pyhton" } else { "python" };
        let name = if cell % 7000 == 9 { format!("'c {cell}'") } else { format!("c{cell}") };
        let from = if cell % 3000 == 0 { 99_999 } else { cell / 2 };
        let ty = if cell % 11_000 == 11 { "strng" } else { "int" };
        writeln!(
            text,
            "[cells.{name}]\nlang = '{lang}'\ncode = ''\noutputs = {{ out = '{ty}' }}\ninputs = {{ i = 'c{from}.out' }}"
        )
        .unwrap();
    }
    let found = || polyloom_load::render(&check("x.toml", &text, None).report, false, 100);
    let loaded = check("x.toml", &text, None);
    let at = |problem: &polyloom_load::Problem| problem.labels[0].span.start;
    assert!(loaded.report.problems.is_sorted_by_key(at));
    let count = |part: &str| {
        loaded.report.problems.iter().filter(|problem| problem.message.contains(part)).count()
    };
    assert_eq!(count("pyhton"), 4);
    assert_eq!(count("`c99999`"), 7);
    assert_eq!(count("strng"), 2);
    assert_eq!(count("`c 9`") + count("`c 7009`") + count("`c 14009`"), 3);
    for _ in 0..3 {
        assert_eq!(found(), found());
    }
}

#[test]
fn a_ring_of_10_000_cells_is_one_problem() {
    let text = flow(10_000, |cell| vec![(cell + 9_999) % 10_000]);
    let (loaded, _) = timed("a ring of 10,000 cells", &text);
    assert_eq!(loaded.report.errors(), 1);
    let message = &loaded.report.problems[0].message;
    assert!(message.starts_with("cells wait for each other: c0 → c1 → c2"), "{message}");
    assert!(message.ends_with("(9992 more) → c0"), "{message}");
}

#[test]
fn options_that_keep_changing_their_indentation_are_read_in_a_moment() {
    let mut text = String::from("---\nparams: 1\n");
    for line in 0..100_000 {
        write!(text, "params{line}: 1\n  x: 1\n").unwrap();
    }
    text.push_str("---\n```{python}\n");
    for line in 0..100_000 {
        write!(text, "#| k{line}: 1\n#|   x: 1\n").unwrap();
    }
    text.push_str("```\n");
    let start = Instant::now();
    let report = check("x.md", &text, None).report;
    assert!(report.errors() >= 100_000);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn thousands_of_wires_share_a_long_type() {
    let names = (0..1000).map(|at| format!("n{at}")).collect::<Vec<_>>().join(",");
    let mut text = format!(
        "[cells.a]\nlang = 'python'\ncode = ''\noutputs = {{ o = 'enum{{{names}}}' }}\n\
         [cells.b]\nlang = 'python'\ncode = ''\n[cells.b.inputs]\n"
    );
    for wire in 0..2_000 {
        writeln!(text, "i{wire} = 'a.o'\nj{wire} = {{ from = 'a.o', type = 'int' }}").unwrap();
    }
    let (loaded, took) = timed("4,000 wires", &text);
    assert_eq!(loaded.report.errors(), 2_000);
    assert!(loaded.report.problems.iter().all(|problem| problem.message.len() < 400));
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn a_flow_in_one_line_takes_no_longer_than_in_many() {
    let cells = (0..10_000).map(|cell: usize| {
        let before = cell.checked_sub(1).map(|before| format!("\"i\": \"c{before}.out\""));
        let inputs = before.unwrap_or_default();
        format!(
            "\"c{cell}\": {{\"lang\": \"python\", \"code\": \"out = 1\", \"timeout\": \"5s\", \"inputs\": {{{inputs}}}, \"outputs\": {{\"out\": \"int\"}}}}"
        )
    });
    let text = format!("{{\"cells\": {{{}}}}}", cells.collect::<Vec<_>>().join(", "));
    let start = Instant::now();
    let loaded = check("x.json", &text, None);
    let took = start.elapsed();
    assert_eq!(loaded.flow.unwrap().cells.len(), 10_000);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
