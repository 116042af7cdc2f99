//! Runs `tests/hello.*` of every language that has one, as its manifest says, without the host and without a sandbox. A
//! language whose tools are not installed is passed over. The input is `name` = "world" and `x` = 20; the sample prints
//! `hello world` and puts 42 into the output `y`; `tests/fail.*`, where there is one, must fail, and be told by `[diagnostics]`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex_lite::RegexBuilder;
use toml::{Table, Value};

/// A manifest, its tools found, and the folders of one run.
struct Bench {
    manifest: Table,
    tools: Vec<(String, PathBuf, Vec<String>)>,
    dir: tempfile::TempDir,
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.map(|item| item.as_str().expect("a text").to_owned()).collect()
}

impl Bench {
    /// `None` when a tool is missing.
    fn new(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("executor.toml")).expect("a manifest");
        let manifest: Table = text.parse().expect("TOML");
        let mut tools = Vec::new();
        for (name, tool) in
            manifest.get("toolchain").and_then(Value::as_table).into_iter().flatten()
        {
            let any = texts(tool.get("any"));
            let (candidate, path) = any.iter().find_map(|name| Some((name, find(name)?)))?;
            let flags = tool.get("flags").and_then(|flags| flags.get(candidate));
            tools.push((name.clone(), path, texts(flags)));
        }
        let dir = tempfile::tempdir().expect("a folder");
        for sub in ["in", "out", "code", "work"] {
            fs::create_dir(dir.path().join(sub)).expect("a folder");
        }
        for (file, bytes) in [
            ("name.msgpack", &b"\xa5world"[..]),
            ("name.txt", b"world"),
            ("x.msgpack", b"\x14"),
            ("x.txt", b"20"),
        ] {
            fs::write(dir.path().join("in").join(file), bytes).expect("written");
        }
        Some(Self { manifest, tools, dir })
    }

    fn argv(&self, section: &str, code: &Path) -> Option<Vec<String>> {
        let at = |sub: &str| self.dir.path().join(sub).display().to_string();
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").display().to_string();
        let mut argv = Vec::new();
        for argument in texts(self.manifest.get(section)?.get("argv")) {
            // Heads are the host's affair: without one a code is compiled as it is.
            if argument == "{args}" || argument == "{head.flags}" {
                continue;
            }
            let flags = |(name, _, _): &&(String, PathBuf, Vec<String>)| {
                argument == format!("{{{name}.flags}}")
            };
            if let Some((_, _, flags)) = self.tools.iter().find(flags) {
                argv.extend(flags.clone());
                continue;
            }
            let mut argument = argument
                .replace("{code}", &code.display().to_string())
                .replace("{program}", &at("program"))
                .replace("{in}", &at("in"))
                .replace("{out}", &at("out"))
                .replace("{sdk}", &sdk);
            for (name, path, _) in &self.tools {
                argument = argument.replace(&format!("{{{name}}}"), &path.display().to_string());
            }
            argv.push(argument);
        }
        Some(argv)
    }

    fn start(&self, argv: &[String]) -> Output {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).current_dir(self.dir.path().join("work")).stdin(Stdio::null());
        command.env("IN", self.dir.path().join("in")).env("OUT", self.dir.path().join("out"));
        command.env("name", "world").env("x", "20").env("LANG", "C.UTF-8");
        command.output().expect("the program starts")
    }

    /// Compiles if there is a compiler, then runs; the output is that of the last program started.
    fn run(&self, sample: &Path) -> Output {
        // Under the name that the host gives it: the cell's id and the first extension.
        let extension = &texts(self.manifest.get("extensions"))[0];
        let code = self.dir.path().join("code").join("some-cell").with_extension(extension);
        let mut text = fs::read_to_string(sample).expect("a sample");
        if extension == "sql" {
            // SQL has no variables in names of files; in a cell this path is always the same.
            text = text.replace("/cell/", &format!("{}/", self.dir.path().display()));
        }
        fs::write(&code, text).expect("written");
        if let Some(argv) = self.argv("compile", &code) {
            let compiled = self.start(&argv);
            if !compiled.status.success() {
                return compiled;
            }
        }
        self.start(&self.argv("run", &code).expect("a command to run"))
    }
}

fn sample(folder: &Path, stem: &str, extension: &str) -> Option<PathBuf> {
    Some(folder.join("tests").join(format!("{stem}.{extension}"))).filter(|path| path.is_file())
}

/// Calls `check` with each language that is installed and has the sample.
fn each(stem: &str, check: impl Fn(&str, &Bench, &Path)) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for entry in fs::read_dir(here).expect("the folder") {
        let folder = entry.expect("an entry").path();
        let id = folder.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let Ok(text) = fs::read_to_string(folder.join("executor.toml")) else { continue };
        let manifest: Table = text.parse().expect("TOML");
        let extensions = texts(manifest.get("extensions"));
        let Some(path) = sample(&folder, stem, &extensions[0]) else { continue };
        if manifest["kind"].as_str() != Some("command") || text.contains("{polyloom}") {
            continue;
        }
        match Bench::new(&folder) {
            Some(bench) => check(&id, &bench, &path),
            None => eprintln!("{id}: not installed"),
        }
        checked += 1;
    }
    assert!(checked > 0, "no language has the sample `{stem}`");
}

#[test]
fn every_language_reads_inputs_and_writes_outputs() {
    each("hello", |id, bench, path| {
        let output = bench.run(path);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{id}: {stderr}");
        let expected = fs::read_to_string(path.with_extension("stdout")).expect("expected output");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{id}: {stderr}");
        let out = bench.dir.path().join("out");
        let y = fs::read(out.join("y"))
            .or_else(|_| fs::read(out.join("y.msgpack")))
            .expect("an output");
        assert!(y == [42] || String::from_utf8_lossy(&y).trim() == "42", "{id}: {y:?}");
    });
}

#[test]
fn the_pattern_finds_the_line_of_a_failure() {
    each("fail", |id, bench, path| {
        let output = bench.run(path);
        assert!(!output.status.success(), "{id}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let expected = fs::read_to_string(path.with_extension("diagnostic")).expect("what it says");
        let (line, message) = expected.trim_end().split_once(' ').expect("line and message");
        let Some(pattern) = bench.manifest["diagnostics"].get("regex").and_then(Value::as_str)
        else {
            assert!(stderr.starts_with('['), "{id}: {stderr}");
            return;
        };
        let regex = RegexBuilder::new(pattern).multi_line(true).build().expect("a pattern");
        let groups = regex.captures(&stderr).unwrap_or_else(|| panic!("{id}: {stderr}"));
        let group = |name| groups.name(name).map_or("-", |group| group.as_str());
        assert_eq!(group("line"), line, "{id}: {stderr}");
        // `*`: what it says differs between versions of the tool.
        assert!(message == "*" || group("message") == message, "{id}: {stderr}");
        let name =
            path.with_file_name("some-cell").with_extension(path.extension().unwrap_or_default());
        let file = Path::new(group("file"));
        assert!(group("file") == "-" || file.file_name() == name.file_name(), "{id}: {stderr}");
    });
}
