//! Whatever the bytes are, the readers answer: no panic, no endless work, and every place can be drawn.
#![allow(clippy::unwrap_used)]

mod support;

use polyloom_load::{Format, Loaded, Source, parse_manifest, render, report_to_json};
use proptest::prelude::*;

const SEEDS: [&str; 4] = [
    "[flow]\nname = 'x'\n[params]\na = 1\n[params.b]\ntype = 'list<int>'\ndefault = [1]\n[executors.c]\ncc = 'x'\n[defaults]\n\
     timeout = '5s'\n[cells.a]\nlang = 'python'\ncode = '''\nx\n'''\ninputs = { x = 'b.y', z = { from = 'param:a', type = 'float' } }\n\
     outputs = { q = 'tensor<f64,[n]>' }\nmemory = '1MiB'\nstdin = { input = 'x' }\nenv = { A = 'b' }\n[cells.b]\nlang = 'c'\ncode = ''\noutputs = { y = 'int' }\n",
    "{\"flow\": {\"name\": \"x\"}, \"params\": {\"a\": {\"type\": \"int\", \"default\": 1}}, \"cells\": {\"a\": {\"lang\": \"python\", \
     \"code\": \"\\u00e9\\n\", \"inputs\": {\"x\": \"a.y\", \"v\": {\"value\": {\"$bytes\": \"aGk=\"}}}, \"outputs\": {\"y\": \"record{a:int}\"}, \"argv\": [\"a\"]}}}",
    "---\ntitle: T\nparams:\n  a: [1, {b: c}]\n---\n# T\n\n```{python}\n#| id: a\n#| inputs:\n#|   x: param:a\n#| tags:\n#| - b\nx = 1\n```\n~~~{bash #b}\n#| outputs: {y: tensor<f64,[n]>}\n~~~\n",
    "id = 'x'\nversion = '1'\nkind = 'command'\nextensions = ['x']\n[toolchain.cc]\nany = ['gcc']\nflags = { gcc = ['-x'] }\n[compile]\n\
     argv = ['{cc}', '{cc.flags}', '{code}', '-o', '{program}']\n[run]\nargv = ['{program}', '{args}']\n[diagnostics]\nformat = 'regex'\nregex = '(?P<message>.)'\n",
];

/// Reads and checks a text in every way there is, and draws what was found.
fn all(text: &str) {
    for (name, format) in
        [("x.toml", Format::Toml), ("x.json", Format::Json), ("x.md", Format::Markdown)]
    {
        let Loaded { flow, report } = support::check(name, text, None);
        assert_eq!(flow.is_none(), report.has_errors(), "{}", render(&report, false, 80));
        drawn(&report);
        let source = Source::new(name, text);
        if let Ok(once) = polyloom_load::format(&source, format) {
            let again = polyloom_load::format(&Source::new(name, once.as_str()), format);
            assert_eq!(again.unwrap(), once, "formatting is not stable for {text:?}");
        }
    }
    let (manifest, report) = parse_manifest(&Source::new("executor.toml", text), None);
    assert_eq!(manifest.is_none(), report.has_errors());
    drawn(&report);
}

fn drawn(report: &polyloom_load::Report) {
    let text = render(report, false, 60);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let json = report_to_json(report);
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(report.problems.len()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}|[\\[\\]{}=:,.\"'#|`~\\-\n a-c0-9\\\\<>é\u{1b}\r\t]{0,200}") {
        all(&text);
    }

    #[test]
    fn a_changed_file_is_answered(
        seed in 0..SEEDS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "\\PC|[\\[\\]{}=:,.\"'#|`\n \\\\\u{0}é-]{0,3}"), 1..6),
    ) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (at, removed, added) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, added.chars());
        }
        all(&text.into_iter().collect::<String>());
    }
}

#[test]
fn the_seeds_are_answered_cut_anywhere() {
    for seed in SEEDS {
        for (at, _) in seed.char_indices() {
            all(&seed[..at]);
        }
    }
}

#[test]
fn depth_costs_nothing() {
    for text in [
        "[".repeat(200_000),
        "{\"a\":".repeat(200_000),
        format!("a = {}", "[".repeat(200_000)),
        format!("{}x = 1", "a.".repeat(200_000)),
        format!("[{}x]", "a.".repeat(200_000)),
        format!("```{{python}}\n#| inputs: {}\n```", "[".repeat(200_000)),
        format!(
            "```{{python}}\n{}```",
            (0..3000).map(|i| format!("#| {}a:\n", " ".repeat(i))).collect::<String>()
        ),
        format!("[cells.a]\noutputs = {{ x = '{}' }}", "list<".repeat(200_000)),
    ] {
        all(&text);
    }
}
