//! Functions that an executor's worker says it has, as cells: no reader, the protocol's `Describe`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};

const MANIFEST: &str = r#"
id = "words"
version = "1"
kind = "worker"
extensions = ["words"]
[toolchain.python]
any = ["python3"]
version = ["--version"]
[worker]
argv = ["{python}", "-B", "-s", "-X", "utf8", "{sdk}/python/executor.py", "{dir}/words.py:Words"]
features = ["cancel.soft", "display", "progress", "catalog", "call"]
"#;

const PROGRAM: &str = r#"
from polyloom_sdk import Executor, Failure, Function

class Words(Executor):
    id, version = "words", "1"

    def exec(self, cx, exec):
        raise Failure("only functions")

    def catalog(self):
        return [
            Function("text", "repeat", {"text": "str"}, {"times": "int"}, {"result": "str", "length": "int"}, {"times": 2}, "Again."),
            Function("text", "broken", {"x": "no such type"}),
        ]

    def call(self, cx, exec, call):
        if call.module != "text" or call.object != "repeat":
            raise Failure("no such function")
        words = " ".join([cx.input("text")] * cx.inputs.get("times", 2))
        cx.output("result", words)
        cx.output("length", len(words))
"#;

fn place(cells: &str) -> Place {
    let place = Place::flow(cells);
    place.write("executors/words/executor.toml", MANIFEST);
    place.write("executors/words/words.py", PROGRAM);
    let _ = place.polyloom(&["plugin", "enable", "words", "--yes"]).exits(0);
    place
}

#[test]
fn a_worker_says_what_functions_it_has() {
    needs!("python3");
    let place = place(
        "[cells.it]\nuses = 'words:text:repeat'\nparams = { text = 'ho' }\n\
         [cells.again]\nuses = 'words:text:repeat'\ninputs = { text = 'it.result' }\nparams = { times = 3 }\n\
         [cells.show]\nlang = 'sh'\ncode = 'echo $words $length'\ninputs = { words = 'again.result', length = 'again.length' }\n",
    );
    let run = place.polyloom(&["run"]).exits(0);
    assert!(run.stderr().contains("ho ho ho ho ho ho 17"), "{}", run.screen());
    assert!(place.polyloom(&["run"]).exits(0).stderr().contains("3 cached"));
    let shown = place.polyloom(&["catalog", "words:text"]);
    assert!(shown.stdout().contains("words:text:repeat"), "{}", shown.screen());
    assert!(shown.stdout().contains("text: str, times: int = 2"), "{}", shown.screen());
    assert!(shown.stderr().contains("can't be understood"), "{}", shown.screen());
}

#[test]
fn what_is_wrong_with_a_call_is_told_before_it_runs() {
    needs!("python3");
    for (cell, words) in [
        ("uses = 'words:text:repaet'\nparams = { text = 'x' }", "`repeat`"),
        ("uses = 'words:text:repeat'", "`text`"),
        ("uses = 'words:text:repeat'\nparams = { text = 3 }", "`text`"),
        ("uses = 'words:text:broken'\nparams = { x = 3 }", "no such type"),
    ] {
        let place = place(&format!("[cells.it]\n{cell}\n"));
        let check = place.polyloom(&["check"]).exits(2);
        assert!(check.stderr().contains(words), "{}", check.screen());
    }
}

#[test]
fn a_worker_that_can_not_say_it_is_told() {
    needs!("python3");
    let place = place("[cells.it]\nuses = 'words:text:repeat'\nparams = { text = 'x' }\n");
    place.edit(
        "executors/words/words.py",
        "return [",
        "raise Failure('not today')\n        return [",
    );
    let _ = place.polyloom(&["plugin", "install", "./executors/words", "--yes"]);
    let check = place.polyloom(&["check"]).exits(2);
    assert!(
        check.stderr().contains("typed functions of `words` can't be read"),
        "{}",
        check.screen()
    );
}
