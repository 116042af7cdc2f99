//! The golden conversations of the protocol with an executor in Rust, byte for byte. The one test of its process, since it changes its folder.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod replay;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use polyloom_sdk::{
    About, Context, Diagnostic, Exec, Executor, Failure, LogLevel, Severity, Value, serve_on,
};

/// The language of the conversations: `protocol/vectors/README.md`.
#[derive(Default)]
struct Golden {
    kept: String,
    snapshots: BTreeMap<String, String>,
}

impl Golden {
    fn act(
        &mut self,
        cx: &mut Context<'_>,
        exec: &Exec,
        line: u32,
        words: &str,
    ) -> Result<(), Failure> {
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (first, last) = rest.split_once(' ').unwrap_or((rest, ""));
        let info = |cx: &mut Context<'_>, text: &str| cx.log(LogLevel::Info, text);
        match word {
            "log" => cx.log(LogLevel::from(first), last),
            "progress" => cx.progress(first.parse().ok(), last),
            "display" => cx.display(first, last.as_bytes())?,
            "artifact" => {
                let path = format!("_artifacts/{first}");
                fs::create_dir_all(Path::new(&exec.out).join("_artifacts"))?;
                fs::write(Path::new(&exec.out).join(&path), last)?;
                cx.artifact(first, path.as_ref(), None);
            }
            "warn" => {
                let (column, text) = last.split_once(' ').unwrap_or((last, ""));
                let mut told = Diagnostic::new(Severity::Warning, text);
                told.file = Some(exec.code.clone());
                (told.line, told.col) = (first.parse().ok(), column.parse().ok());
                cx.diagnostic(&told);
            }
            "read" if !exec.inputs.contains_key(rest) => {
                return Err(Failure::new(format!("there is no input `{rest}`")).at_line(line));
            }
            "read" => {
                let text = String::from_utf8(cx.read_text(rest)?)?;
                info(cx, &text);
            }
            "argv" => info(cx, &exec.argv.join(", ")),
            "seed" => info(cx, &exec.seed.map_or("none".to_owned(), |seed| seed.to_string())),
            "keep" => {
                rest.clone_into(&mut self.kept);
                cx.session_changed();
            }
            "kept" => info(cx, &self.kept),
            "wait" => {
                while !cx.cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
                return Err(Failure::new("stopped").at_line(line));
            }
            "fail" => return Err(Failure::new(rest).at_line(line)),
            "" => {}
            _ => return Err(Failure::new(format!("`{word}` is no word")).at_line(line)),
        }
        Ok(())
    }
}

impl Executor for Golden {
    fn describe(&self) -> About {
        let mut about = About::new("golden", "1");
        let features = ["cancel.soft", "display", "progress", "session", "snapshot", "catalog"];
        about.features = features.map(str::to_owned).into();
        about.runtime = "golden 1".to_owned();
        about
    }

    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        for (line, words) in (1..).zip(fs::read_to_string(&exec.code)?.lines()) {
            self.act(cx, exec, line, words)?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.kept.clear();
    }

    fn snapshot(&mut self, name: &str) -> Result<(), Failure> {
        self.snapshots.insert(name.to_owned(), self.kept.clone());
        Ok(())
    }

    fn restore(&mut self, name: &str) -> Result<(), Failure> {
        self.kept = self.snapshots.get(name).cloned().unwrap_or_default();
        Ok(())
    }

    fn catalog(&mut self) -> Result<Vec<BTreeMap<String, Value>>, Failure> {
        let json = r#"[{"name": "keep", "takes": ["str"], "keeps": true, "most": null, "cost": 0.5, "rank": -7}, {"name": "kept"}]"#;
        let Value::List(entries) = Value::from_json(json)? else { return Ok(Vec::new()) };
        let maps = entries.into_iter().filter_map(|entry| match entry {
            Value::Map(entry) => Some(entry),
            _ => None,
        });
        Ok(maps.collect())
    }
}

#[test]
fn conversations_are_golden() {
    replay::all(|stream| {
        thread::spawn(|| serve_on(stream, Golden::default()));
    });
}
