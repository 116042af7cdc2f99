//! Languages and shortcuts for the tests.

use std::path::Path;

use polyloom_load::{Context, Document, Format, Given, Languages, Loaded, Purpose, Root, Source};

const PYTHON: &str = r#"
id = "python"
version = "1"
kind = "worker"
aliases = ["py"]
extensions = ["py"]
[toolchain.python]
any = ["python3"]
[worker]
argv = ["{python}", "-I", "{sdk}/python/worker.py"]
"#;

const SHELL: &str = r#"
id = "shell"
version = "1"
kind = "command"
aliases = ["bash"]
extensions = ["sh"]
[toolchain.bash]
any = ["bash"]
[run]
argv = ["{bash}", "{code}", "{args}"]
[limits]
pids = 64
"#;

const C: &str = r#"
id = "c"
version = "1"
kind = "command"
extensions = ["c"]
[toolchain.cc]
any = ["gcc", "clang"]
flags = { gcc = ["-fdiagnostics-format=json"], clang = [] }
[compile]
argv = ["{cc}", "{cc.flags}", "-I{sdk}/c", "{code}", "-o", "{program}"]
[run]
argv = ["{program}", "{args}"]
"#;

/// python, shell (which is also bash) and c.
pub fn languages() -> Languages {
    let manifests = [PYTHON, SHELL, C].map(|text| {
        let (manifest, report) =
            polyloom_load::parse_manifest(&Source::new("executor.toml", text), None);
        assert!(report.is_empty(), "{:?}", report.problems);
        manifest.unwrap()
    });
    let (languages, problems) = Languages::new(manifests.into());
    assert!(problems.is_empty());
    languages
}

/// Checks a text.
pub fn check(name: &str, text: &str, root: Option<&Root>) -> Loaded {
    check_for(name, text, root, Purpose::Check, &Given::default())
}

/// Checks a text for a purpose.
pub fn check_for(
    name: &str,
    text: &str,
    root: Option<&Root>,
    purpose: Purpose,
    given: &Given,
) -> Loaded {
    let source = Source::new(name, text);
    let path = Path::new(name);
    let languages = languages();
    match Document::read(&source, Format::of(path).unwrap()) {
        Ok(document) => {
            let context = Context {
                languages: &languages,
                root,
                purpose,
                given,
                functions: None,
                within: &[],
            };
            polyloom_load::check(&document, path, &context)
        }
        Err(problems) => Loaded { flow: None, report: polyloom_load::Report { problems } },
    }
}

/// What the user sees of a bad text.
#[allow(dead_code, reason = "not every test draws")]
pub fn picture(name: &str, text: &str) -> String {
    polyloom_load::render(&check(name, text, None).report, false, 100)
}
