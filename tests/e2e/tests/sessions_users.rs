//! Sessions of an ordinary user, who has no control groups and one user for a cell and its supervisor, do what they do for root.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Ended, Place, is_root, needs, skip};
use serde_json::Value;

const USER: u32 = 65_534;

/// A place of that user's with a daemon, which ends with this.
struct Theirs(Place);

impl Theirs {
    fn new(flow: &str) -> Self {
        let place = Place::flow(flow);
        // The first run of all has bytecode made, which is in view of the sessions that begin later.
        place
            .write("first/polyloom.toml", "[cells.a]\nlang = 'python'\nsession = 'x'\ncode = ''\n");
        place.give_to(USER);
        let theirs = Self(place);
        let _ = theirs.polyloom(&["run", "first"]).exits(0);
        let _ = theirs.polyloom(&["daemon", "start"]).exits(0);
        theirs
    }

    fn polyloom(&self, words: &[&str]) -> Ended {
        self.0.call(words).uid(USER).end()
    }

    fn session(&self, words: &[&str]) -> Value {
        self.polyloom(&[&["session"], words, &["--format", "json"]].concat()).exits(0).json()
    }

    fn asked(&self, name: &str, input: &str) -> String {
        let call = self.0.call(&["repl", "--session", name]).uid(USER);
        call.typed(input).end().exits(0).stdout()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        for one in self.session(&["list"])["sessions"].as_array().unwrap() {
            let _ = self.polyloom(&["session", "rm", one["name"].as_str().unwrap()]);
        }
        let _ = self.polyloom(&["daemon", "stop"]);
    }
}

/// Cells with inputs of all kinds, whose files are laid while the session goes on.
const FLOW: &str = "[cells.n]\nlang = 'sh'\noutputs = { n = 'int', f = 'file' }\ncode = 'echo 3 > $OUT/n; echo text > $OUT/f'\n\
    [cells.a]\nlang = 'LANG'\nsession = 'main'\ninputs = { n = 'n.n', f = 'n.f' }\noutputs = { y = 'int' }\ncode = '''FIRST'''\n\
    [cells.b]\nlang = 'LANG'\nsession = 'main'\ninputs = { y = 'a.y' }\ncode = '''SECOND'''\n";

fn flow(lang: &str, first: &str, second: &str) -> String {
    FLOW.replace("LANG", lang).replace("FIRST", first).replace("SECOND", second)
}

#[test]
fn a_session_is_kept_gone_back_to_saved_loaded_and_forked() {
    needs!("python3");
    if !is_root() {
        return skip("it takes root to be another user");
    }
    let python = flow("python", "seen = [n, open(f).read()]; y = n + 1", "seen.append(y)");
    let theirs = Theirs::new(&python);
    let _ = theirs.polyloom(&["run"]).exits(0);
    let seen = "[3, 'text\\n', 4]\n";
    assert_eq!(theirs.asked("main", "seen"), seen);
    let _ = theirs.session(&["snapshot", "main", "mine"]);
    assert_eq!(theirs.asked("main", "seen.append(9); seen"), seen.replace(']', ", 9]"));
    let _ = theirs.session(&["restore", "main", "mine"]);
    assert_eq!(theirs.asked("main", "seen"), seen);
    let state = theirs.0.project().join("state");
    let state = state.to_str().unwrap();
    let saved = theirs.session(&["save", "main", state]);
    assert!(saved["saved"].as_array().unwrap().contains(&"seen".into()), "{saved}");
    let _ = theirs.session(&["fork", "main", "other"]);
    assert_eq!(theirs.asked("other", "seen"), seen);
    let _ = theirs.session(&["reset", "main"]);
    assert_eq!(theirs.asked("main", "'seen' in globals()"), "False\n");
    let _ = theirs.session(&["load", "main", state]);
    assert_eq!(theirs.asked("main", "seen"), seen);
    // An edit goes on from what was kept before the cell, as it does for root.
    theirs.0.edit("polyloom.toml", "seen.append(y)", "seen.append(-y); print(seen)");
    let run = theirs.polyloom(&["run", "--events", "-"]).exits(0);
    let ends = run.json_lines().into_iter().filter(|it| it["event"] == "step.finished");
    let metas: Vec<Value> = ends.map(|it| it["meta"].clone()).collect();
    let last = metas.last().unwrap();
    assert_eq!(last["stdout"]["text"], "[3, 'text\\n', -4]\n");
    assert_eq!(last["extras"]["replayed"], Value::Null, "{last}");
}

#[test]
fn a_session_whose_code_lies_in_files_goes_on() {
    needs!("python3", "node");
    if !is_root() {
        return skip("it takes root to be another user");
    }
    let theirs = Theirs::new(&flow(
        "javascript",
        "const fs = await import(\"node:fs\"); const text = fs.readFileSync(f, \"utf8\"); let y = n + 1",
        "console.log(text, n, y)",
    ));
    let told = theirs.polyloom(&["run"]).exits(0).screen();
    assert!(told.contains("3 4"), "{told}");
}
