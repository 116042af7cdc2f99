//! Executors that break the protocol in every way the fake one knows: the cell says so, the host lives, the next cell runs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, fake, needs};
use serde_json::Value;

/// A place with executors `fake-WORD`, one for each way to behave before the handshake.
fn place(words: &[&str], cells: &str) -> Place {
    let place = Place::flow("");
    let program = fake();
    let mut flow = String::from("[defaults]\ntimeout = \"30s\"\n");
    for word in words {
        let id = format!("fake-{word}");
        place.executor(
            &id,
            &format!(
                "id = \"{id}\"\nversion = \"1\"\nkind = \"worker\"\nextensions = [\"fake-{word}\"]\n\
                 [toolchain.fake]\nany = [\"polyloom-fake\"]\nversion = [\"--help\"]\n\
                 [toolchain.env]\nany = [\"env\"]\nversion = []\n\
                 [worker]\nargv = [\"{{env}}\", \"POLYLOOM_FAKE_ID={id}\", \"{{fake}}\", \"{word}\"]\n\
                 features = [\"cancel.soft\", \"display\", \"progress\"]\n"
            ),
        );
        flow.push_str(&format!("[executors.{id}]\nfake = \"{}\"\n", program.display()));
    }
    place.write("polyloom.toml", flow + cells);
    place
}

fn cell(id: &str, lang: &str, keys: &str, code: &str) -> String {
    format!("[cells.{id}]\nlang = \"fake-{lang}\"\n{keys}\ncode = '''\n{code}\n'''\n")
}

/// The id of the cell of an order.
fn name(order: &str) -> String {
    order.split(' ').next().unwrap().to_owned()
}

const GOOD: &str =
    "[cells.good]\nlang = \"sh\"\ncode = 'echo 42 > $OUT/answer'\noutputs = { answer = \"int\" }\n";

/// One error message of a cell, which must be there and say something.
fn message(cell: &Value) -> String {
    let all = cell["diagnostics"].as_array().unwrap();
    let texts: Vec<&str> = all.iter().filter_map(|d| d["message"].as_str()).collect();
    texts.join(" / ")
}

#[test]
fn breaches_before_and_in_the_handshake() {
    let fine = ["well", "one-byte-at-a-time", "banner"];
    let broken = [
        "exit-before-hello",
        "crash-before-hello",
        "never-hello",
        "half-hello",
        "dribble",
        "banner-on-wire",
        "wrong-magic",
        "wrong-preamble",
        "wide-features",
        "wrong-major",
        "no-versions",
        "many-versions",
        "minor-as-text",
        "wrong-executor",
        "huge-length",
        "huge-hello",
        "hello-duplicate-keys",
        "garbage-after-hello",
        "hello-twice",
        "close-after-hello",
        "exit-after-hello",
    ];
    // Whether the host has begun the cell when these arrive is a race; it is only to survive them.
    let early = ["log-before-exec", "done-before-exec"];
    let words: Vec<&str> = fine.iter().chain(&broken).chain(&early).copied().collect();
    let cells: String =
        words.iter().map(|word| cell(&name(word), word, "", "echo\nhello")).collect();
    let place = place(&words, &(cells + GOOD));
    let run = place.run(&["-k", "-j", "12"]).exits(5);
    assert_eq!(run.outcome("good"), "ok");
    for word in fine {
        let cell = name(word);
        assert_eq!(run.outcome(&cell), "ok", "{word}: {}", message(run.cell(&cell)));
    }
    for word in early {
        let outcome = run.outcome(&name(word));
        assert!(["ok", "worker_error"].contains(&outcome), "{word}: {outcome}");
    }
    let mut told = String::new();
    for word in broken {
        let cell = name(word);
        told.push_str(&format!("{word}: {} | {}\n", run.outcome(&cell), message(run.cell(&cell))));
    }
    for word in broken {
        let cell = name(word);
        let outcome = run.outcome(&cell);
        assert!(["worker_error", "failed", "killed"].contains(&outcome), "{word}\n{told}");
        assert!(!message(run.cell(&cell)).is_empty(), "{word} says nothing\n{told}");
    }
    insta::assert_snapshot!(polyloom_test_e2e::without_numbers(&told), @"
    exit-before-hello: worker_error | the worker ended with exit code N before it said hello
    crash-before-hello: worker_error | the worker was ended by SIGABRT before it said hello
    never-hello: worker_error | the worker did not say hello within N s
    half-hello: worker_error | the worker began a message and did not end it in N s
    dribble: worker_error | the worker began a message and did not end it in N s
    banner-on-wire: worker_error | the worker's greeting was refused: stream does not begin with `PLYW`
    wrong-magic: worker_error | the worker's greeting was refused: stream does not begin with `PLYW`
    wrong-preamble: worker_error | the worker's greeting was refused: preamble version is N, supported is N
    wide-features: worker_error | the worker's greeting was refused: feature `session` is not in its manifest, which declares [cancel.soft, display, progress]
    wrong-major: worker_error | the worker's greeting was refused: no common protocol version: the worker speaks N, the host N
    no-versions: worker_error | the worker's greeting was refused: no common protocol version: the worker speaks none, the host N
    many-versions: worker_error | the worker's greeting was refused: N protocol versions are listed, at most N may be
    minor-as-text: worker_error | the worker's greeting was refused: message `Hello` is malformed: wrong msgpack marker FixStr(N)
    wrong-executor: worker_error | the worker's greeting was refused: executor is `somebody-else`, the manifest says `fake-wrong-executor`
    huge-length: worker_error | the worker's greeting was refused: frame of kind N claims N bytes, the cap is N
    huge-hello: worker_error | the worker's greeting was refused: frame of kind N claims N bytes, the cap is N
    hello-duplicate-keys: worker_error | the worker's greeting was refused: key `executor` occurs twice in one map
    garbage-after-hello: worker_error | the worker broke the protocol: reserved bits are set in the flags
    hello-twice: worker_error | the worker broke the protocol: `Hello` is not allowed while busy
    close-after-hello: worker_error | the worker closed its connection before it said that the cell is done
    exit-after-hello: worker_error | the worker ended before it said that the cell is done
    ");
    assert_eq!(place.processes(), [""; 0]);
}

/// Of an executor that does not come up, three starts are enough: its other cells are told why, and the others go on.
#[test]
fn an_executor_that_does_not_come_up_is_given_up() {
    let cells: String =
        (0..9).map(|at| cell(&format!("c{at}"), "words-before-crash", "", "x")).collect();
    let place = place(&["words-before-crash"], &(cells + GOOD));
    let run = place.run(&["-k", "-j", "1"]).exits(5);
    assert_eq!(run.outcome("good"), "ok");
    let told: Vec<String> = (0..9).map(|at| message(run.cell(&format!("c{at}")))).collect();
    let given_up = |told: &&String| told.contains("is not started again in this run");
    assert_eq!(told.iter().filter(given_up).count(), 6, "{told:#?}");
    assert!(told.iter().filter(given_up).all(|told| told.contains("its stderr: ")), "{told:#?}");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn breaches_in_a_cell() {
    let orders = [
        "echo",
        "fail 7",
        "no-output",
        "two-done",
        "done-unknown",
        "log-unknown",
        "log-connection",
        "started-twice",
        "late-logs",
        "hello-again",
        "pong-unasked",
        "credit-overrun",
        "spend-credit",
        "garbage",
        "huge-length",
        "duplicate-keys",
        "deep",
        "amplify",
        "trailing",
        "nan-progress",
        "reserved-bits",
        "descriptors",
        "wrong-direction",
        "unknown-kind",
        "must-understand",
        "close-wire-exit",
        "exit 9",
        "exit-quietly",
        "crash",
        "done-then-crash",
        "done-then-exit 6",
        "extras-claims",
        "fork-and-exit",
        "fork-holding-wire",
        "symlink-output",
        "fifo-output",
        "two-outputs",
        "escaping-artifact",
        "huge-display",
        "flood 3",
    ];
    let keys = |order: &str| match order {
        "no-output" | "symlink-output" | "fifo-output" | "two-outputs" => {
            "outputs = { x = \"int\" }"
        }
        _ => "",
    };
    let cells: String =
        orders.iter().map(|order| cell(&name(order), "well", keys(order), order)).collect();
    let place = place(&["well"], &(cells + GOOD));
    let run = place.run(&["-k", "-j", "4"]).exits(5);
    let mut told = String::new();
    for order in orders {
        let name = name(order);
        // Whether the host had consumed enough in time is a race.
        if order != "credit-overrun" {
            told.push_str(&format!(
                "{name}: {} | {}\n",
                run.outcome(&name),
                message(run.cell(&name))
            ));
        }
    }
    assert!(["ok", "worker_error"].contains(&run.outcome("credit-overrun")));
    for fine in ["good", "echo", "unknown-kind", "spend-credit", "extras-claims", "flood"] {
        assert_eq!(run.outcome(fine), "ok", "{fine}\n{told}");
    }
    // Evidence beats claims.
    for (cell, code) in [("exit", 9), ("done-then-exit", 6)] {
        assert_eq!(run.cell(cell)["exit_code"], code, "{told}");
        assert_eq!(run.outcome(cell), "failed", "{told}");
    }
    assert_eq!(run.outcome("done-then-crash"), "killed", "{told}");
    assert!(run.cell("extras-claims")["wall_ms"].as_f64().unwrap() > 0.0);
    insta::assert_snapshot!(polyloom_test_e2e::without_numbers(&told), @"
    echo: ok | 
    fail: failed | failed to order
    no-output: output_missing | output `x` (int) was not written
    two-done: worker_error | the worker broke the protocol: `Done` came twice for exec id N
    done-unknown: worker_error | the worker broke the protocol: exec id N is not known on this connection
    log-unknown: worker_error | the worker broke the protocol: exec id N is not known on this connection
    log-connection: worker_error | the worker broke the protocol: exec id N is not known on this connection
    started-twice: worker_error | the worker broke the protocol: `Started` came twice for exec id N
    late-logs: ok | 
    hello-again: worker_error | the worker broke the protocol: `Hello` is not allowed while busy
    pong-unasked: worker_error | the worker broke the protocol: `Pong` is not allowed while busy
    spend-credit: ok | 
    garbage: worker_error | the worker broke the protocol: reserved bits are set in the flags
    huge-length: worker_error | the worker broke the protocol: frame of kind N claims N bytes, the cap is N
    duplicate-keys: worker_error | the worker broke the protocol: key `ok` occurs twice in one map
    deep: worker_error | the worker broke the protocol: nesting is deeper than N
    amplify: worker_error | the worker broke the protocol: body holds more than N values
    trailing: worker_error | the worker broke the protocol: N bytes follow the body's map
    nan-progress: worker_error | the worker broke the protocol: message `Progress` is malformed: `fraction` is not a finite number
    reserved-bits: worker_error | the worker broke the protocol: reserved bits are set in the flags
    descriptors: worker_error | the worker broke the protocol: frame of kind N carries descriptors, which were not agreed
    wrong-direction: worker_error | the worker broke the protocol: kind N was sent in the wrong direction
    unknown-kind: ok | 
    must-understand: worker_error | the worker broke the protocol: kind N must be understood and is not known
    close-wire-exit: worker_error | the worker ended before it said that the cell is done
    exit: failed | the executor `fake-well` ended itself with exit code N before it said that the cell is done
    exit-quietly: worker_error | the worker ended before it said that the cell is done
    crash: killed | the executor `fake-well` was ended by SIGSEGV before it said that the cell is done
    done-then-crash: killed | ended by SIGSEGV
    done-then-exit: failed | 
    extras-claims: ok | 
    fork-and-exit: worker_error | the worker ended before it said that the cell is done
    fork-holding-wire: worker_error | the worker ended before it said that the cell is done
    symlink-output: output_missing | output `x`: expected a file, found a symbolic link
    fifo-output: output_missing | output `x` (int) was not written
    two-outputs: output_missing | output `x` is there more than once: `x.json`, `x.txt`
    escaping-artifact: ok | artifact `passwd` was left out: it is not a plain relative path
    huge-display: worker_error | the worker broke the protocol: message `Display` is malformed: `data` is over N bytes
    flood: ok |
    ");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn workers_that_hang_end_with_their_time() {
    let keys = "timeout = \"600ms\"";
    let orders = ["hang", "hang-deaf", "half-frame", "close-wire"];
    let cells: String =
        orders.iter().map(|order| cell(&name(order), "well", keys, order)).collect();
    let place = place(&["well"], &(cells + GOOD));
    let run = place.run(&["-k", "-j", "5"]).exits(5);
    for order in ["hang", "hang-deaf", "half-frame"] {
        assert_eq!(run.outcome(order), "timed_out", "{order}");
    }
    let outcome = run.outcome("close-wire");
    assert!(["worker_error", "timed_out"].contains(&outcome), "{outcome}");
    assert_eq!(run.outcome("good"), "ok");
    assert_eq!(place.processes(), [""; 0]);
}

/// An executor's own mistakes are no mistakes of the flow.
#[test]
fn a_fault_of_an_executor_is_told_as_its_own() {
    needs!("python3");
    let place = Place::new();
    let argv = "[\"{python}\", \"{sdk}/python/executor.py\", \"{dir}/mine.py:mine\"]\nfeatures = [\"cancel.soft\", \"display\", \"progress\"]";
    place.executor("mine", &format!(
        "id = \"mine\"\nversion = \"1\"\ntitle = \"Mine\"\nkind = \"worker\"\n[toolchain.python]\nany = [\"python3\"]\nversion = [\"--version\"]\n[worker]\nargv = {argv}\n"
    ));
    let code = "import os\nfrom polyloom_sdk import Failure, executor\n@executor('mine', '1')\ndef mine(cx, exec):\n    if exec.source == 'end':\n        os._exit(4)\n    \
                if exec.source == 'fail':\n        raise Failure.at_line(1, 'no')\n    exec.cell + 1\n";
    std::fs::write(place.executors().join("mine/mine.py"), code).unwrap();
    place.write(
        "polyloom.toml",
        ["add", "end", "fail"]
            .map(|word| format!("[cells.{word}]\nlang = \"mine\"\ncode = \"{word}\"\n"))
            .concat(),
    );
    let told = place.polyloom(&["run", "-k"]).exits(1).stderr();
    for words in [
        "\n  error: the executor `mine` failed: TypeError: can only concatenate str (not \"int\") to str (mine.py, line 9)\n",
        "    │   File \"/polyloom/executor/mine.py\", line 9, in mine\n",
        "\n  error: the executor `mine` ended itself with exit code 4 before it said that the cell is done\n",
        "\n  polyloom.toml:9: error: no\n",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // In a bundled worker the cell's code runs: what it does is the cell's doing.
    place.write(
        "polyloom.toml",
        "[cells.a]\nlang = \"python\"\ncode = \"import os; os._exit(4)\"\n",
    );
    let told = place.polyloom(&["run"]).exits(1).stderr();
    assert!(told.contains("exit code 4") && !told.contains("the executor"), "{told}");
}
