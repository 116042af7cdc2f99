//! Hostile files, as rows of `hostile/files.toml`: what is laid, how `polyloom` is called, what it has to say. Does not know what a flow is.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use polyloom_attack::{Ended, Launch, Stage};
use regex_lite::RegexBuilder;
use serde::Deserialize;

use crate::oracle::binary;

/// One attack by files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCase {
    /// Stable, as in a case of a cell.
    pub id: String,
    /// What is tried, in a few words.
    pub title: String,
    /// What kind of file is hostile.
    pub lang: String,
    /// What stops it.
    pub why: String,
    /// Why there is nothing to try yet.
    #[serde(default)]
    pub absent: Option<String>,
    /// The calls.
    #[serde(default, rename = "try")]
    pub tries: Vec<Try>,
}

/// One call, or one for each of some texts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Try {
    /// Files to lay, by path from the stage's root.
    files: BTreeMap<String, String>,
    /// Those of them that can be run.
    #[serde(default)]
    programs: Vec<String>,
    /// Texts for `@EACH@`, as quoted texts; `@BIG@` is a mebibyte.
    #[serde(default)]
    each: Vec<String>,
    /// Texts for `@RAW@`, as they are.
    #[serde(default)]
    raw: Vec<String>,
    /// A text for `@MANY@`, many times over.
    #[serde(default)]
    many: Option<Many>,
    /// Entries of PATH before the user's own.
    #[serde(default)]
    path: Vec<String>,
    /// Whether it is run; else checked.
    #[serde(default)]
    run: bool,
    /// One of these exit codes.
    exit: Vec<i32>,
    /// All of these in what it says, regular expressions.
    #[serde(default)]
    said: Vec<String>,
    /// None of these.
    #[serde(default)]
    not_said: Vec<String>,
    /// It says less than so many bytes, whatever it was given.
    #[serde(default = "a_screen")]
    said_below: usize,
    /// Seconds that a call may take.
    #[serde(default = "soon")]
    within: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    count: u32,
    text: String,
}

fn a_screen() -> usize {
    16 << 10
}

fn soon() -> f64 {
    20.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<FileCase>,
}

/// What a test of its own stands for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// Stable.
    pub id: String,
    /// What happens.
    pub title: String,
    /// Why it ends well.
    pub why: String,
    /// `FILE::FUNCTION`, from the root of the repository.
    pub test: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestCases {
    case: Vec<TestCase>,
}

/// Rows about files.
#[must_use]
pub fn files() -> Vec<FileCase> {
    let cases: Cases = toml::from_str(include_str!("../hostile/files.toml")).unwrap();
    for case in &cases.case {
        assert_eq!(case.absent.is_some(), case.tries.is_empty(), "{}", case.id);
    }
    cases.case
}

/// Rows that are tests of their own.
#[must_use]
pub fn tests() -> Vec<TestCase> {
    let cases: TestCases = toml::from_str(include_str!("../hostile/tests.toml")).unwrap();
    cases.case
}

impl Try {
    /// How often `polyloom` is called.
    #[must_use]
    pub fn calls(&self) -> usize {
        (self.each.len() + self.raw.len()).max(1)
    }

    /// What is to be said against the host, for each text that it was given.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (token, text) in self.texts() {
            let ended = self.call(token, &text);
            let shown: String = text.chars().take(60).collect();
            wrong.extend(self.judge(&ended).into_iter().map(|what| format!("`{shown}`: {what}")));
        }
        wrong
    }

    fn texts(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &String| {
            let text = text.replace("@BIG@", &"a".repeat(1 << 20));
            serde_json::to_string(&text).unwrap()
        };
        let mut texts: Vec<(&str, String)> =
            self.each.iter().map(|text| ("@EACH@", quoted(text))).collect();
        texts.extend(self.raw.iter().map(|text| ("@RAW@", text.clone())));
        if texts.is_empty() {
            let many = self.many.as_ref().map(Many::written);
            texts.push(("@MANY@", many.unwrap_or_default()));
        }
        texts
    }

    fn call(&self, token: &str, text: &str) -> Ended {
        let mut launch = Launch::plain(binary());
        if !self.path.is_empty() {
            let path = format!("PATH={}:{}", self.path.join(":"), std::env::var("PATH").unwrap());
            launch.through = vec!["env".into(), path.into()];
        }
        let stage = Stage::new(launch).unwrap();
        for (path, content) in &self.files {
            stage.write(path, content.replace(token, text)).unwrap();
        }
        for path in &self.programs {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(stage.root().join(path), mode).unwrap();
        }
        let executors = stage.root().join("executors");
        std::fs::create_dir_all(&executors).unwrap();
        let folder = ["--executor-dir", executors.to_str().unwrap()];
        let mut ended = if self.run {
            stage.run(&[&["-k"], &folder[..]].concat()).unwrap()
        } else {
            let words = [&["check"], &folder[..]].concat();
            stage.call(&words.iter().map(Into::into).collect::<Vec<_>>()).unwrap()
        };
        let mut laid: Vec<PathBuf> =
            self.files.keys().map(|path| stage.root().join(path)).collect();
        laid.extend([".polyloom", "bin"].map(|name| stage.project().join(name)));
        for entry in std::fs::read_dir(stage.project()).unwrap() {
            let path = entry.unwrap().path();
            if !laid.contains(&path) {
                ended.complaints.push(format!("`{}` was made", path.display()));
            }
        }
        ended
    }

    fn judge(&self, ended: &Ended) -> Vec<String> {
        let mut wrong = ended.complaints.clone();
        let said = format!("{}\n{}", ended.stdout, ended.stderr);
        if !self.exit.contains(&ended.code) {
            wrong.push(format!("exit code {}", ended.code));
        }
        let has = |pattern: &String| {
            RegexBuilder::new(pattern).multi_line(true).build().unwrap().is_match(&said)
        };
        wrong.extend(self.said.iter().filter(|p| !has(p)).map(|p| format!("nothing of `{p}`")));
        wrong.extend(self.not_said.iter().filter(|p| has(p)).map(|p| format!("it says `{p}`")));
        if said.len() >= self.said_below {
            wrong.push(format!("it said {} bytes", said.len()));
        }
        if ended.took.as_secs_f64() > self.within {
            wrong.push(format!("it took {:?}", ended.took));
        }
        if !wrong.is_empty() {
            wrong.push(said.chars().take(1500).collect());
        }
        wrong
    }
}

impl Many {
    fn written(&self) -> String {
        (1..=self.count)
            .map(|n| {
                let text = self.text.replace("@N@", &n.to_string());
                text.replace("@BEFORE@", &(n - 1).to_string())
            })
            .collect()
    }
}
