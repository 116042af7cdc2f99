//! Manifests: what is read, what is refused, who gets a name.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use polyloom_load::{
    ByExtension, Languages, Source, discover, parse_bundled, parse_manifest, render,
};
use polyloom_model::{Kind, Manifest};

fn picture(text: &str) -> String {
    render(&parse_manifest(&Source::new("executor.toml", text), None).1, false, 100)
}

fn manifest(id: &str, more: &str, path: Option<&str>) -> Manifest {
    let text = format!(
        "id = '{id}'\nversion = '1'\nkind = 'command'\n{more}\n[run]\nargv = ['{{dir}}/x']"
    );
    let (manifest, report) =
        parse_manifest(&Source::new("executor.toml", text), path.map(Path::new));
    manifest.unwrap_or_else(|| panic!("{}", render(&report, false, 100)))
}

#[test]
fn the_bundled_manifests_are_read_without_a_problem() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../executors");
    let mut bundled = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let Ok(text) = std::fs::read_to_string(entry.unwrap().path().join("executor.toml")) else {
            continue;
        };
        let source = Source::new("executor.toml", text);
        let (manifest, report) = parse_manifest(&source, None);
        assert!(report.is_empty(), "{}", render(&report, false, 100));
        let taken = parse_bundled(&source).0;
        assert_eq!(format!("{taken:?}"), format!("{manifest:?}"));
        bundled.extend(manifest);
    }
    assert!(bundled.len() > 5);
    let (languages, problems) = Languages::new(bundled);
    assert!(problems.is_empty(), "{problems:#?}");
    for (extension, id) in [("py", "python"), ("c", "c"), ("sh", "shell"), ("cpp", "cpp")] {
        let ByExtension::One(found) = languages.by_extension(extension) else {
            panic!("{extension}")
        };
        assert_eq!(found.id.as_str(), id);
    }
}

#[test]
fn a_worker_is_understood() {
    let languages = support::languages();
    let python = languages.find("py").unwrap();
    let Kind::Worker(worker) = &python.kind else { panic!() };
    assert_eq!((worker.protocol.as_slice(), worker.argv[0].as_str()), (&[1][..], "{python}"));
    assert_eq!(python.tools["python"].version, ["--version"]);
    assert_eq!(python.title, "python");
}

#[test]
fn a_worker_speaks_what_is_spoken_here() {
    let worker = |more: &str| {
        picture(&format!(
            "id = 'x'\nversion = '1'\nkind = 'worker'\n[worker]\nargv = ['{{dir}}/x']\n{more}"
        ))
    };
    assert_eq!(worker("protocol = [1, 7]\nfeatures = ['display', 'catalog']\n"), "");
    insta::assert_snapshot!(worker("protocol = [7, 8]\n"), @"
    PL063

      × it speaks version 7, 8 of the protocol, this polyloom 1
       ╭─[executor.toml:6:12]
     5 │ argv = ['{dir}/x']
     6 │ protocol = [7, 8]
       ·            ──────
       ╰────
      help: valid: a list with 1 in it
    ");
    insta::assert_snapshot!(worker("features = ['display', 'dsplay', 'magic']\n"), @"
    PL051

      × unknown feature `dsplay`
       ╭─[executor.toml:6:24]
     5 │ argv = ['{dir}/x']
     6 │ features = ['display', 'dsplay', 'magic']
       ·                        ────────
       ╰────
      help: did you mean `display`?

    PL051

      × unknown feature `magic`
       ╭─[executor.toml:6:34]
     5 │ argv = ['{dir}/x']
     6 │ features = ['display', 'dsplay', 'magic']
       ·                                  ───────
       ╰────
      help: valid: `cancel.soft`, `display`, `progress`, `session`, `snapshot`, `catalog`, `prepare`,
            `call`, `kept`, `complete`, `durable`, `interactive`, `source`, `interrupt`, `queue`,
            `values`
    ");
}

#[test]
fn placeholders_are_checked_where_they_stand() {
    insta::assert_snapshot!(picture(
        "id = 'x'\nversion = '1'\nkind = 'command'\n[toolchain.cc]\nany = ['gcc']\nflags = { gcc = [] }\n[compile]\n\
         argv = ['{cc}', 'a{cc.flags}', '{args}', '{cod}', '{code']\n[run]\nargv = ['{program}', '-{args}', '{cc.flag}']\n"
    ), @"
    PL060

      × `{cc.flags}` stands for several arguments and must be one of its own
       ╭─[executor.toml:8:17]
     7 │ [compile]
     8 │ argv = ['{cc}', 'a{cc.flags}', '{args}', '{cod}', '{code']
       ·                 ─────────────
     9 │ [run]
       ╰────
      help: valid here: `{code}`, `{program}`, `{work}`, `{dir}`, `{sdk}`, `{polyloom}`, `{cc}`,
            `{cc.flags}`

    PL060

      × unknown placeholder `{args}`
       ╭─[executor.toml:8:32]
     7 │ [compile]
     8 │ argv = ['{cc}', 'a{cc.flags}', '{args}', '{cod}', '{code']
       ·                                ────────
     9 │ [run]
       ╰────
      help: valid here: `{code}`, `{program}`, `{work}`, `{dir}`, `{sdk}`, `{polyloom}`, `{cc}`,
            `{cc.flags}`

    PL060

      × unknown placeholder `{cod}`
       ╭─[executor.toml:8:42]
     7 │ [compile]
     8 │ argv = ['{cc}', 'a{cc.flags}', '{args}', '{cod}', '{code']
       ·                                          ───────
     9 │ [run]
       ╰────
      help: valid here: `{code}`, `{program}`, `{work}`, `{dir}`, `{sdk}`, `{polyloom}`, `{cc}`,
            `{cc.flags}`

    PL060

      × the placeholder in `{code` has no end
       ╭─[executor.toml:8:51]
     7 │ [compile]
     8 │ argv = ['{cc}', 'a{cc.flags}', '{args}', '{cod}', '{code']
       ·                                                   ───────
     9 │ [run]
       ╰────
      help: valid here: `{code}`, `{program}`, `{work}`, `{dir}`, `{sdk}`, `{polyloom}`, `{cc}`,
            `{cc.flags}`

    PL060

      × `{args}` stands for several arguments and must be one of its own
        ╭─[executor.toml:10:22]
      9 │ [run]
     10 │ argv = ['{program}', '-{args}', '{cc.flag}']
        ·                      ─────────
        ╰────
      help: valid here: `{code}`, `{program}`, `{args}`, `{in}`, `{out}`, `{work}`, `{dir}`, `{sdk}`,
            `{polyloom}`, `{cc}`, `{cc.flags}`

    PL060

      × unknown placeholder `{cc.flag}`
        ╭─[executor.toml:10:33]
      9 │ [run]
     10 │ argv = ['{program}', '-{args}', '{cc.flag}']
        ·                                 ───────────
        ╰────
      help: valid here: `{code}`, `{program}`, `{args}`, `{in}`, `{out}`, `{work}`, `{dir}`, `{sdk}`,
            `{polyloom}`, `{cc}`, `{cc.flags}`
    ");
}

#[test]
fn no_shell_reads_an_argv() {
    insta::assert_snapshot!(picture(
        "id = 'x'\nversion = '1'\nkind = 'command'\n[run]\nargv = 'bash -c {code}'\n"
    ), @r#"
PL005

  × `argv` takes a list of texts, not a text
   ╭─[executor.toml:5:8]
 4 │ [run]
 5 │ argv = 'bash -c {code}'
   ·        ────────────────
   ╰────
  help: no shell splits it; write ["bash", "-c", "{code}"]
"#);
}

#[test]
fn unknown_keys_are_refused_but_in_meta() {
    insta::assert_snapshot!(picture(
        "id = 'X'\nversion = 1\nkind = 'comand'\nextension = ['x']\nextensions = ['.x']\n[toolchain.code]\nany = ['x']\n\
         [toolchain.x]\nany = ['y']\nflags = { z = [] }\n[env]\nLD_PRELOAD = 'x'\n[limits]\nretries = 1\n[diagnostics]\n\
         format = 'regex'\nregex = '(?P<massage>x'\nstream = 'both'\n[meta]\nanything = 'goes'\n"
    ), @"
    PL007

      × executor id `X` has the character 'X' at position 1; valid: [a-z0-9][a-z0-9._-]{0,63}
       ╭─[executor.toml:1:6]
     1 │ id = 'X'
       ·      ───
     2 │ version = 1
       ╰────

    PL005

      × `version` takes a text, not an int
       ╭─[executor.toml:2:11]
     1 │ id = 'X'
     2 │ version = 1
       ·           ─
     3 │ kind = 'comand'
       ╰────
      help: put it in quotes

    PL063

      × unknown kind `comand`
       ╭─[executor.toml:3:8]
     2 │ version = 1
     3 │ kind = 'comand'
       ·        ────────
     4 │ extension = ['x']
       ╰────
      help: valid: `command`, `worker`, `native`, `wasm`

    PL003

      × unknown key `extension` in the manifest
       ╭─[executor.toml:4:1]
     3 │ kind = 'comand'
     4 │ extension = ['x']
       · ────┬────
       ·     ╰── nobody reads this
     5 │ extensions = ['.x']
       ╰────
      help: did you mean `extensions`?

    PL007

      × `.x` is not a file extension
       ╭─[executor.toml:5:14]
     4 │ extension = ['x']
     5 │ extensions = ['.x']
       ·              ──────
     6 │ [toolchain.code]
       ╰────
      help: letters and digits, without the dot: `py`

    PL007

      × a tool can't be called `code`
       ╭─[executor.toml:6:12]
     5 │ extensions = ['.x']
     6 │ [toolchain.code]
       ·            ────
     7 │ any = ['x']
       ╰────
      help: valid: [A-Za-z0-9_-]+, but for `code`, `program`, `args`, `in`, `out`, `head`, `work`,
            `dir`, `sdk`, `polyloom`

    PL003

      × `flags` for `z`, which is not in `any`
        ╭─[executor.toml:10:11]
      9 │ any = ['y']
     10 │ flags = { z = [] }
        ·           ─
     11 │ [env]
        ╰────
      help: valid: `y`

    PL053

      × the environment variable `LD_PRELOAD` can't be set by a manifest
        ╭─[executor.toml:12:1]
     11 │ [env]
     12 │ LD_PRELOAD = 'x'
        · ──────────
     13 │ [limits]
        ╰────
      help: every cell is given its own; use another name or an argument

    PL003

      × unknown key `retries` in `[limits]`
        ╭─[executor.toml:14:1]
     13 │ [limits]
     14 │ retries = 1
        · ───┬───
        ·    ╰── nobody reads this
     15 │ [diagnostics]
        ╰────
      help: valid: `timeout`, `soft_timeout`, `grace`, `memory`, `retry_memory`, `cpus`, `cpu_time`,
            `pids`, `open_files`, `disk`, `inodes`, `output_limit`, `artifacts`, `artifact_size`

    PL062

      × not a regular expression: found open group without closing ')'
        ╭─[executor.toml:17:9]
     16 │ format = 'regex'
     17 │ regex = '(?P<massage>x'
        ·         ───────────────
     18 │ stream = 'both'
        ╰────

    PL051

      × unknown stream `both`
        ╭─[executor.toml:18:10]
     17 │ regex = '(?P<massage>x'
     18 │ stream = 'both'
        ·          ──────
     19 │ [meta]
        ╰────
      help: valid: `stderr`, `stdout`
    ");
}

#[test]
fn patterns_have_a_size() {
    for (pattern, message) in [
        (
            "(?P<message>.){300}{300}".to_owned(),
            "not a regular expression: compiled regex exceeded size limit",
        ),
        (format!("(?P<message>.){}", "(x)".repeat(16)), "a pattern with more than 16 groups"),
        (format!("(?P<message>.){}", "x".repeat(4096)), "a pattern of more than 4 KiB"),
    ] {
        let text = format!(
            "id = 'x'\nversion = '1'\nkind = 'command'\n[run]\nargv = ['x']\n[diagnostics]\nformat = 'regex'\nregex = '{pattern}'\n"
        );
        let (manifest, report) = parse_manifest(&Source::new("executor.toml", text.as_str()), None);
        assert!(manifest.is_none());
        let [problem] = &report.problems[..] else { panic!("{report:?}") };
        assert_eq!((problem.code.as_str(), problem.message.as_str()), ("PL062", message));
    }
}

#[test]
fn a_head_says_all_that_it_needs() {
    let head = |compile: &str, more: &str| {
        let text = format!(
            "id = 'x'\nversion = '1'\nkind = 'command'\n[toolchain.cc]\nany = ['gcc']\n[compile]\nargv = ['{{cc}}', {compile}]\n\
             [compile.head]\n{more}\n[run]\nargv = ['{{program}}']\n"
        );
        let (manifest, report) = parse_manifest(&Source::new("executor.toml", text), None);
        let told: Vec<String> = report.problems.iter().map(|it| it.message.clone()).collect();
        assert_eq!(manifest.is_some(), told.is_empty());
        (manifest, told.join("; "))
    };
    let good = "line = '#include <(?P<name>.*)>'\nnames = ['stdio.h']\ntext = '#include <{name}>'\n\
                argv = ['{cc}', '{head}', '-o', '{out}/head.gch']\nflags = ['-include', '{head}']\n";
    let (manifest, told) = head("'{head.flags}'", good);
    assert_eq!(told, "");
    let Kind::Command(command) = manifest.unwrap().kind else { panic!() };
    assert_eq!(command.head.unwrap().skip, r"^[ \t\r]*$");
    for (compile, more, expected) in [
        ("'{head}'", good.to_owned(), "unknown placeholder `{head}`"),
        (
            "'-{head.flags}'",
            good.to_owned(),
            "`{head.flags}` stands for several arguments and must be one of its own",
        ),
        ("'x'", good.replace("(?P<name>.*)", ".*"), "the pattern has no group `name`"),
        ("'x'", format!("{good}skip = '(?P<name>x)'"), "unknown group `name` in the pattern"),
        ("'x'", good.replace("{name}", "x"), "`text` has no `{name}`"),
        ("'x'", good.replace("{out}", "{code}"), "unknown placeholder `{code}`"),
        ("'x'", good.replace("'-include'", "'{out}'"), "unknown placeholder `{out}`"),
        ("'x'", format!("{good}with = ['clang']"), "`with` names `clang`, which no tool is"),
        ("'x'", good.replace("names = ['stdio.h']", ""), "`[compile.head]` has no `names`"),
    ] {
        assert_eq!(head(compile, &more).1, expected, "{compile} {more}");
    }
    let without = "id = 'x'\nversion = '1'\nkind = 'command'\n[compile]\nargv = ['/x', '{head.flags}']\n[run]\nargv = ['x']\n";
    assert!(picture(without).contains("unknown placeholder `{head.flags}`"));
}

#[test]
fn what_is_made_once_is_made_of_no_code() {
    let compile = |once: &str| {
        format!(
            "id = 'x'\nversion = '1'\nkind = 'command'\n[toolchain.cc]\nany = ['cc']\n[compile]\nargv = ['{{cc}}', '{{code}}', '-o', '{{program}}']\nonce = {once}\n[run]\nargv = ['{{program}}']"
        )
    };
    let text = compile("['{cc}', '{sdk}/x', '{out}']");
    let (manifest, report) = parse_manifest(&Source::new("executor.toml", text), None);
    assert!(report.is_empty(), "{}", render(&report, false, 100));
    assert_eq!(manifest.unwrap().kind.once().unwrap(), ["{cc}", "{sdk}/x", "{out}"]);
    let wrong =
        [("['{cc}', '{code}']", "unknown placeholder `{code}`"), ("[]", "`once` has no program")];
    for (once, told) in wrong {
        let seen = picture(&compile(once));
        assert!(seen.contains(told), "{seen}");
    }
}

#[test]
fn what_is_started_ahead_names_nothing_of_a_cell() {
    let run = |ahead: &str| {
        format!(
            "id = 'x'\nversion = '1'\nkind = 'command'\n[toolchain.vm]\nany = ['vm']\n[compile]\nargv = ['{{vm}}', '{{code}}', '{{program}}']\n[run]\nargv = ['{{vm}}', '{{program}}', '{{args}}']\nahead = {ahead}"
        )
    };
    let text = run("['{vm}', '--wait', '{program}', '{in}', '{out}', '{sdk}/x', '{polyloom}']");
    let (manifest, report) = parse_manifest(&Source::new("executor.toml", text), None);
    assert!(report.is_empty(), "{}", render(&report, false, 100));
    assert_eq!(manifest.unwrap().kind.ahead().unwrap()[..2], ["{vm}", "--wait"]);
    let wrong = [
        ("['{vm}', '{code}']", "unknown placeholder `{code}`"),
        ("['{vm}', '{args}']", "unknown placeholder `{args}`"),
        ("true", "`ahead` takes a list"),
    ];
    for (ahead, told) in wrong {
        let seen = picture(&run(ahead));
        assert!(seen.contains(told), "{seen}");
    }
}

#[test]
fn kind_and_tables_fit_together() {
    insta::assert_snapshot!(picture("id = 'x'\nversion = '1'\nkind = 'worker'\n[run]\nargv = ['x']\n"), @r#"
PL063

  × kind `worker` needs `[worker]`
   ╭─[executor.toml:3:8]
 2 │ version = '1'
 3 │ kind = 'worker'
   ·        ────────
 4 │ [run]
   ╰────
  help: valid: `[worker]` with `argv = […]`

PL063

  × kind `worker` has no `[run]`
   ╭─[executor.toml:4:2]
 2 │ version = '1'
 3 │ kind = 'worker'
   ·        ────┬───
   ·            ╰── the kind
 4 │ [run]
   ·  ───
 5 │ argv = ['x']
   ╰────
"#);
    insta::assert_snapshot!(picture("kind = 'command'\n[run]\nargv = []\n"), @r#"
PL004

  × the manifest has no `id`
   ╭─[executor.toml:1:1]
 1 │ kind = 'command'
   · ▲
 2 │ [run]
   ╰────
  help: add `id = "mylang"`

PL004

  × the manifest has no `version`
   ╭─[executor.toml:1:1]
 1 │ kind = 'command'
   · ▲
 2 │ [run]
   ╰────
  help: add `version = "1"`, the executor's own

PL063

  × `argv` has no program
   ╭─[executor.toml:3:8]
 2 │ [run]
 3 │ argv = []
   ·        ──
   ╰────
  help: valid: `argv = ["{PROGRAM}", "{code}"]`
"#);
}

#[test]
fn a_name_that_two_claim_goes_to_neither() {
    let (languages, problems) = Languages::new(vec![
        manifest("python", "aliases = ['py']", None),
        manifest("mine", "aliases = ['py', 'm']", Some("a/executor.toml")),
        manifest("python", "", Some("b/executor.toml")),
        manifest("other", "aliases = ['m']", Some("c/executor.toml")),
        manifest("twin", "", Some("d/executor.toml")),
        manifest("twin", "aliases = ['t']", Some("e/executor.toml")),
    ]);
    let text: String = problems
        .iter()
        .map(|problem| format!("{problem}; {}\n", problem.help.as_deref().unwrap()))
        .collect();
    insta::assert_snapshot!(text, @r#"
error[PL061]: the name `m` is claimed by `mine` (a/executor.toml) and `other` (c/executor.toml); neither gets it: remove one, or change its id or alias
error[PL061]: the name `py` is claimed by `python` (bundled) and `mine` (a/executor.toml); bundled names can't be taken: `py` stays the bundled executor
error[PL061]: the name `python` is claimed by `python` (bundled) and `python` (b/executor.toml); bundled names can't be taken: `python` stays the bundled executor
error[PL061]: the name `twin` is claimed by `twin` (d/executor.toml) and `twin` (e/executor.toml); neither gets it: remove one, or change its id or alias
"#);
    assert_eq!(languages.names(), ["mine", "other", "python"]);
    assert!(languages.find("python").unwrap().path.is_none());
    assert!(languages.find("py").unwrap().path.is_none());
    assert!(languages.find("m").is_none() && languages.find("t").is_none());
}

#[test]
fn an_extension_goes_to_the_bundled_or_to_the_first() {
    let (languages, problems) = Languages::new(vec![
        manifest("a", "extensions = ['x', 'y']", Some("a")),
        manifest("b", "extensions = ['y']", Some("b")),
        manifest("c", "extensions = ['z']", Some("c")),
        manifest("d", "extensions = ['z']", Some("d")),
    ]);
    assert!(problems.is_empty());
    assert!(matches!(languages.by_extension("y"), ByExtension::One(one) if one.id.as_str() == "b"));
    assert!(matches!(languages.by_extension("z"), ByExtension::Several(ids) if ids == ["c", "d"]));
    assert!(matches!(languages.by_extension("q"), ByExtension::Nobody));
}

#[test]
fn a_broken_manifest_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a", "id = "),
        ("b", "id = 'b'\nversion = '1'\nkind = 'command'\n[run]\nargv = ['{dir}/b']"),
        ("c", "\u{0}"),
    ] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("executor.toml"), text).unwrap();
    }
    let (manifests, problems) =
        discover(&[folder.path().to_owned(), PathBuf::from("/nowhere/at/all")]);
    assert_eq!(manifests.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(manifests[0].path, Some(folder.path().join("b/executor.toml")));
    assert!(problems.len() >= 2, "{problems:?}");
}

#[test]
fn what_a_plugin_starts_is_named_as_a_tool_or_lies_in_its_folder() {
    let told = |run: &str| {
        let text = format!(
            "id = 'x'\nversion = '1'\nkind = 'command'\n[toolchain.sh]\nany = ['dash']\n[run]\nargv = ['{run}', '{{code}}']\n"
        );
        let source = Source::new("executor.toml", text);
        render(&parse_manifest(&source, Some(Path::new("x/executor.toml"))).1, false, 100)
    };
    for good in ["{sh}", "{dir}/x", "{polyloom}"] {
        assert_eq!(told(good), "");
    }
    insta::assert_snapshot!(told("make"), @r#"
    PL063

      × the program `make` is no tool of this manifest
       ╭─[executor.toml:7:9]
     6 │ [run]
     7 │ argv = ['make', '{code}']
       ·         ──────
       ╰────
      help: name it in `[toolchain.make]` with `any = ["make"]` and begin with `"{make}"`; what comes
            with the plugin is `{dir}/…`
    "#);
    assert!(told("dash").contains("valid: `\"{sh}\"`"), "{}", told("dash"));
    assert!(told("/opt/none").contains("`[toolchain.none]` with `any = [\"/opt/none\"]`"));
    let once = |program: &str| {
        let text = format!(
            "id = 'x'\nversion = '1'\nkind = 'worker'\n[toolchain.python]\nany = ['python3']\n[worker]\nargv = ['{{python}}']\nonce = ['{program}', '{{out}}']\n"
        );
        let source = Source::new("executor.toml", text);
        render(&parse_manifest(&source, Some(Path::new("x/executor.toml"))).1, false, 100)
    };
    assert_eq!(once("{python}"), "");
    let refused = once("python3");
    assert!(refused.contains("the program `python3` is no tool of this manifest"), "{refused}");
    assert!(refused.contains("valid: `\"{python}\"`"), "{refused}");
}
