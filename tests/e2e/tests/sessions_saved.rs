//! States of sessions in files: what is saved is told name by name, what is loaded is data that only a sandbox reads, and a fork goes its own way.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use polyloom_test_e2e::{Ended, Place, eventually, needs};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// A place with a daemon, which ends with this, and one session of a flow.
struct Kept(Place);

const FLOW: &str = "[cells.a]\nlang = 'python'\nsession = 'main'\ncode = '''
import math
x = [1, 2]
t = {'one': 1.5}
def double(n):
    return 2 * n
class Odd: pass
odd = Odd()
'''
[cells.b]\nlang = 'python'\nsession = 'main'\ncode = 'x.append(3); print(x)'\n";

impl Kept {
    fn new() -> Self {
        let place = Place::flow(FLOW);
        let _ = place.polyloom(&["daemon", "start"]).exits(0);
        let kept = Self(place);
        let _ = kept.0.run(&[]).exits(0);
        kept
    }

    fn session(&self, words: &[&str]) -> Ended {
        self.0.polyloom(&[&["session"], words].concat())
    }

    fn sessions(&self) -> Vec<Value> {
        let list = self.session(&["list", "--format", "json"]).exits(0).json();
        list["sessions"].as_array().unwrap().clone()
    }

    fn one(&self, name: &str) -> Value {
        self.sessions().into_iter().find(|it| it["name"] == name).unwrap()
    }

    /// What a prompt into a session prints for an input.
    fn asked(&self, name: &str, input: &str) -> String {
        self.0.call(&["repl", "--session", name]).typed(input).end().stdout()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for one in self.sessions() {
            let _ = self.session(&["rm", one["name"].as_str().unwrap()]);
        }
        let _ = self.0.polyloom(&["daemon", "stop"]);
    }
}

#[test]
fn a_save_that_is_killed_leaves_the_session() {
    needs!("python3");
    let kept = Kept::new();
    let large = "large = [bytes(1 << 20) for _ in range(100)]; len(large)\n";
    assert_eq!(kept.asked("main", large), "100\n");
    let process = kept.one("main")["process"].clone();
    for next in ["repl", "snapshot", "save"] {
        let save = kept.0.call(&["session", "save", "main", "state"]).start();
        assert!(eventually(SOON, || kept.one("main")["in_use"] == true));
        save.signal(Signal::KILL);
        let _ = save.end();
        assert!(eventually(SOON, || kept.one("main")["in_use"] == false));
        match next {
            "repl" => assert_eq!(kept.asked("main", "len(large), x\n"), "(100, [1, 2, 3])\n"),
            "snapshot" => drop(kept.session(&["snapshot", "main", "mine"]).exits(0)),
            _ => drop(kept.session(&["save", "main", "state"]).exits(0)),
        };
        assert_eq!(kept.one("main")["process"], process, "{next}");
    }
    assert_eq!(kept.asked("main", "len(large), x\n"), "(100, [1, 2, 3])\n");
}

#[test]
fn a_state_is_saved_and_loaded_and_what_is_not_in_it_is_told() {
    needs!("python3");
    let kept = Kept::new();
    let key = kept.one("main")["key"].clone();
    let told = kept.session(&["save", "main", "state"]).exits(0).stdout();
    let row = |name: &str| {
        let rows = told.lines().find(|line| line.split_whitespace().next() == Some(name));
        rows.map(|row| row.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
    };
    for name in ["math", "x", "t", "double"] {
        assert_eq!(row(name).as_deref(), Some("saved"), "{told}");
    }
    let why = "not saved Odd: there is no encoding for values of this type";
    assert_eq!(row("odd").as_deref(), Some(why), "{told}");
    assert!(row("Odd").unwrap().starts_with("not saved type: its source text"), "{told}");
    // It goes on as it was.
    assert_eq!(kept.one("main")["key"], key);
    assert_eq!(kept.one("main")["in_use"], false);
    let state = std::fs::read(kept.0.project().join("state")).unwrap();
    let head = state.split(|byte| *byte == b'\n').nth(1).unwrap();
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!((&head["executor"], &head["key"]), (&json!("python"), &key));
    let _ = kept.session(&["rm", "main"]).exits(0);

    let told = kept.session(&["load", "main", "state"]).exits(0).stdout();
    assert!(told.contains("double  loaded") && !told.contains("not loaded"), "{told}");
    // No cells' state: whatever the file says.
    assert_eq!(kept.one("main")["key"], Value::Null);
    assert_eq!(kept.asked("main", "double(x[2]), t, math.floor(1.5)"), "(6, {'one': 1.5}, 1)\n");
    // A run begins anew.
    kept.0.edit("polyloom.toml", "x.append(3)", "x.append(4)");
    let run = kept.0.polyloom(&["run"]).exits(0).screen();
    assert!(run.contains("b │ [1, 2, 4]"), "{run}");
}

#[test]
fn a_fork_goes_its_own_way() {
    needs!("python3");
    let kept = Kept::new();
    let key = kept.one("main")["key"].clone();
    let told = kept.session(&["fork", "main", "other"]).exits(0).stdout();
    assert!(told.contains("x       came along") && told.contains("odd"), "{told}");
    assert_eq!(kept.asked("other", "x.append(9); x"), "[1, 2, 3, 9]\n");
    assert_eq!(kept.one("main")["key"], key);
    assert_eq!(kept.asked("main", "x, odd is None"), "([1, 2, 3], False)\n");
    let told = kept.session(&["fork", "main", "other"]).exits(2).stderr();
    assert!(told.contains("there is a session `other` already"), "{told}");
    let _ = kept.session(&["rm", "main"]).exits(0);
    assert_eq!(kept.asked("other", "len(x)"), "4\n");
}

#[test]
fn a_file_that_is_no_state_changes_no_session() {
    needs!("python3");
    let kept = Kept::new();
    let key = kept.one("main")["key"].clone();
    let head = |files: &str| {
        format!(
            "polyloom session 1\n{{\"executor\":\"python\",\"version\":\"1\",\"environment\":\"\",\"key\":null,\"saved\":[],\"unsaved\":[],\"files\":{files}}}\n"
        )
    };
    for (content, said) in [
        (
            "import os".to_owned(),
            "it is no saved session\nhint: valid: a file that `polyloom session save SESSION FILE` has written",
        ),
        (
            "polyloom session 3\n".to_owned(),
            "another version of polyloom, `polyloom session 3`\nhint: valid: `polyloom session 2`",
        ),
        (head("[[\"../x\",1]]") + "x", "can't be the name"),
        (
            head("[[\"x\",2]]") + "x",
            "it is cut off\nhint: it was changed, or not copied as a whole",
        ),
        (head("[]").replace("python", "cobol"), "no language `cobol`"),
        (head("[]").replace("\"python\"", "\"sh\""), "the session is one of `python`"),
    ] {
        kept.0.write("state", &content);
        let told = kept.session(&["load", "main", "state"]).exits(2).stderr();
        assert!(told.contains(said), "{told}");
        assert_eq!(kept.one("main")["key"], key);
    }
    // Well formed, and nonsense to its worker: nothing of it is there, and all that was before.
    kept.0.write("state", &(head("[[\"state.msgpack\",3]]") + "abc"));
    let told = kept.session(&["load", "main", "state"]).exits(1).stderr();
    assert!(told.contains("nothing of the state could be loaded"), "{told}");
    assert!(
        told.contains("state.msgpack") && told.contains("hint: the session is as it was"),
        "{told}"
    );
    assert_eq!(kept.one("main")["key"], key);
    let _ = kept.session(&["load", "new", "state"]).exits(1);
    assert!(!kept.sessions().iter().any(|it| it["name"] == "new"));
    // Nor is a file that is something else written over.
    let flow = kept.0.read("polyloom.toml");
    let told = kept.session(&["save", "main", "polyloom.toml"]).exits(2).stderr();
    assert!(told.contains("no saved session: it is left\nhint: save it under"), "{told}");
    assert_eq!(kept.0.read("polyloom.toml"), flow);
    // One that was saved, and changed since.
    let _ = kept.session(&["save", "main", "state"]).exits(0);
    let path = kept.0.project().join("state");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let told = kept.session(&["load", "main", "state"]).exits(2).stderr();
    assert!(told.contains("its checksum does not fit"), "{told}");
    assert_eq!(kept.one("main")["key"], key);
    assert_eq!(kept.asked("main", "x, odd is None"), "([1, 2, 3], False)\n");
}

#[test]
fn a_worker_that_does_not_write_its_state_runs_into_the_limits_of_its_cells() {
    needs!("python3");
    let kept = Kept::new();
    for (name, limit, does, said) in [
        ("hangs", "timeout = '2s'", "__import__('time').sleep(600)", "time limit 2.00s"),
        ("spins", "cpu_time = '1s'", "[None for _ in iter(int, 1)]", "processor time limit 1.00s"),
        (
            "prints",
            "output_limit = '1MiB'",
            "[print('x' * 10000) for _ in iter(int, 1)]",
            "output limit 1 MiB",
        ),
    ] {
        let code = format!(
            "import polyloom._session as s\ndef heed(self, frame):\n    if frame.kind == s.wire.SAVE: {does}\n    return old(self, frame)\nold, s.Session.heed = s.Session.heed, heed\n"
        );
        let flow = format!(
            "[cells.a]\nlang = 'python'\nsession = '{name}'\n{limit}\ncode = \"\"\"\n{code}\"\"\"\n"
        );
        kept.0.write("polyloom.toml", &flow);
        let _ = kept.0.run(&[]).exits(0);
        let told = kept.session(&["save", name, "state"]).exits(1).stderr();
        assert!(told.contains(said) && told.contains(name), "{told}");
        assert!(!kept.sessions().iter().any(|it| it["name"] == name));
    }
}
