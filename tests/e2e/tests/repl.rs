//! The prompt: what is typed runs in a sandbox and stays, goes from language to language, fails in its place, and can be called off.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use polyloom_test_e2e::{Ended, Place, needs};
use rustix::process::{Pid, Signal, kill_process};

/// What came of these inputs.
fn typed(place: &Place, args: &[&str], text: &str) -> Ended {
    place.call(args).typed(text).end()
}

#[test]
fn what_is_typed_stays_and_values_are_shown() {
    needs!("python3");
    let place = Place::new();
    let text = "x = 20\nx + 1\ndef f(n):\n    return n * 2\n\nf(x)\n(x,\n 1)\nprint('out')\n_ = 1";
    let ended = typed(&place, &["repl"], text).exits(0);
    assert_eq!(ended.stdout(), "21\n40\n(20, 1)\nout\n");
    assert_eq!(ended.stderr(), "");
}

#[test]
fn a_word_ends_a_block_of_a_pipe_and_no_text_of_several_lines() {
    needs!("python3");
    let text = "def f(n):\n    return n * 2\n%lang\nf(2)\nx = '''\n%lang\n'''\nx\n";
    let ended = typed(&Place::new(), &["repl"], text).exits(0);
    assert_eq!(ended.stdout(), "* python\n4\n'\\n%lang\\n'\n");
}

#[test]
fn a_word_too_many_beside_a_cell_is_told() {
    needs!("python3");
    let place = Place::flow("[cells.x]\nlang = \"python\"\ncode = \"1\"\n");
    let ended = typed(&place, &["run", "-i", "x", "nonsense"], "").exits(2);
    let told = "error: `-i` opens one cell, and `nonsense` is no flow\nhint: ";
    assert!(ended.stderr().starts_with(told), "{}", ended.stderr());
}

#[test]
fn an_error_is_told_in_its_place_and_the_state_stays() {
    needs!("python3");
    let place = Place::new();
    let ended = typed(&place, &["repl"], "x = 1\nif x:\n    1 / 0\n\nx\n%nope\n").exits(1);
    assert_eq!(ended.stdout(), "1\n");
    let told = "error: ZeroDivisionError: division by zero\n       1 │ if x:\n  >    2 │     1 / 0\n         │     ^\n";
    assert!(ended.stderr().contains(told), "{}", ended.stderr());
    let word = "error: `%nope` is no word; valid: %lang, %get, %reset";
    assert!(ended.stderr().contains(word), "{}", ended.stderr());
}

#[test]
fn what_a_cell_prints_can_not_steer_the_terminal() {
    needs!("python3");
    let ended = typed(&Place::new(), &["repl"], "print('\\x1b[2J')\n'\\x1b[2J'\n").exits(0);
    assert_eq!(ended.stdout(), "\\x1b[2J\n'\\x1b[2J'\n");
}

#[test]
fn the_state_can_be_kept_gone_back_to_and_forgotten() {
    needs!("python3");
    let text = "x = 1\n%snapshot a\nx = 2\n%restore a\nx\n%restore b\nx\n%forget a\n%restore a\n%reset\n'x' in globals()\n";
    let ended = typed(&Place::new(), &["repl"], text).exits(1);
    assert_eq!(ended.stdout(), "1\n1\nFalse\n");
    let told = ended.stderr();
    for none in [
        "error: can't go back to `b`: no snapshot `b`, there is `a`\n",
        "error: can't go back to `a`: no snapshot `a`, there is none\n",
    ] {
        assert!(told.contains(none), "{told}");
    }
}

#[test]
fn what_can_not_be_kept_is_told_with_its_reason() {
    needs!("python3");
    let long = "x".repeat(256);
    let text = format!(
        "%snapshot {long}\nimport threading; e = threading.Event(); t = threading.Thread(target=e.wait); t.start()\n%snapshot a\ne.set(); t.join()\nopen('f', 'w').close()\n%snapshot a\n"
    );
    let told = typed(&Place::new(), &["repl"], &text).exits(1).stderr();
    for why in [
        "error: the name of the snapshot has 256 bytes\nhint: valid: 1 to 255 bytes of text, on one line\n",
        "error: no snapshot `a` was taken: threads are running, which a copy of the process would not have\n",
        "error: no snapshot `a` was taken: it has files of its own, in `/cell/work`, `/tmp` or `/dev/shm`\n",
    ] {
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn a_process_that_ends_is_told_and_the_next_input_begins_anew() {
    needs!("python3");
    let text = "x = 1\nimport os; os._exit(3)\n'x' in globals()\n";
    let ended = typed(&Place::new(), &["repl"], text).exits(1);
    assert_eq!(ended.stdout(), "False\n");
    let lost = "note: the process ended, and its state with it; the next input begins anew\n";
    assert!(ended.stderr().contains("exit code 3"), "{}", ended.stderr());
    assert!(ended.stderr().ends_with(lost), "{}", ended.stderr());
}

#[test]
fn languages_share_values() {
    needs!("python3", "bash");
    let place = Place::new();
    let text = "xs = [1, 2]\nimport array; a = array.array('d', [0.5])\n%lang bash xs a:tensor<f64,[1]>\necho \"$xs\"; ls $IN\n%lang python\nxs\n%get y from bash\n%lang bash nothing\n%lang\n";
    let ended = typed(&place, &["repl"], text).exits(1);
    let out = ended.stdout();
    assert!(out.starts_with("[1,2]\na.npy\nxs.json\nxs.msgpack\n[1, 2]\n"), "{out}");
    assert!(out.ends_with("* python\n  shell\n"), "{out}");
    let err = ended.stderr();
    assert!(
        err.contains("note: `shell` keeps nothing: each input is a cell of its own\n"),
        "{err}"
    );
    assert!(err.contains("error: `shell` has no sessions: it has no values to take\n"), "{err}");
    assert!(err.contains("error: `nothing` can't be had from `python`: was not set\n"), "{err}");
}

/// Three inputs of a cell that are no values.
const FILES: &str = r#"
[cells.load]
lang = "python"
inputs = { csv = "file:data/orders.csv", all = "file:data", n = 7 }
code = "print(open(csv).read())"
"#;

#[test]
fn inputs_of_a_cell_that_are_files_are_there_for_all_that_is_typed() {
    needs!("python3");
    let place = Place::flow(FILES);
    place.write("data/orders.csv", "a,b");
    let look = "print(open(csv).read())\n(all / 'orders.csv').open().read(), n\n";
    let text = format!("{look}n = 8\n%snapshot s\n{look}%restore s\n{look}%reset\n{look}");
    let ended = typed(&place, &["run", "-i", "load", "-A"], &text).exits(0);
    let seen = |n: u8| format!("a,b\n('a,b', {n})\n");
    let all = [seen(7), seen(8), seen(8), seen(7)].concat();
    assert_eq!(ended.stdout(), all, "{}", ended.stderr());
}

#[test]
fn a_file_goes_to_another_language_as_often_as_it_is_wanted() {
    needs!("python3", "bash", "node");
    let text = "from pathlib import Path\nz = Path('/tmp/z.txt')\nz.write_text('one')\n%lang shell z:file\ncat $z\n%lang javascript\n%get z:file from python\nrequire('fs').readFileSync(z, 'utf8')\n%lang python\nz.write_text('two')\n%lang javascript z:file\n1\nrequire('fs').readFileSync(z, 'utf8')\n";
    let ended = typed(&Place::new(), &["repl"], text).exits(0);
    let all = "3\noneone\n3\n1\ntwo\n";
    assert_eq!(ended.stdout().replace('\'', ""), all, "{}", ended.stderr());
}

#[test]
fn it_may_do_what_flags_name() {
    needs!("python3");
    let place = Place::new();
    place.write("data.txt", "held");
    let code = "open('data.txt').read()\n";
    let ended = typed(&place, &["repl", "--allow-read=data.txt"], code).exits(0);
    assert_eq!(ended.stdout(), "'held'\n");
    let ended = typed(&place, &["repl"], code).exits(1);
    assert!(ended.stderr().contains("FileNotFoundError"), "{}", ended.stderr());
    let flags = ["repl", "--allow-read=data.txt", "--deny-read=data.txt"];
    let ended = typed(&place, &flags, code).exits(2);
    let told = "error: --allow-read: `data.txt` is denied\n";
    assert_eq!(ended.stderr(), told);
}

#[test]
fn bad_beginnings_say_what_is_wrong() {
    let ended = typed(&Place::new(), &["repl", "--lang", "klingon"], "").exits(2);
    assert!(ended.stderr().starts_with("error: there is no language `klingon`\nhint: "));
    let ended = typed(&Place::new(), &["repl", "--lang", "cpp"], "").exits(2);
    let told = "error: `cpp` is compiled: compiled languages have no prompt\nhint: write it as a cell of a flow\n";
    assert_eq!(ended.stderr(), told);
}

#[test]
fn an_error_is_told_once_and_where_it_was_called_from() {
    needs!("python3");
    let text = "def f():\n    return 1 / 0\n\nf()\n";
    let ended = typed(&Place::new(), &["repl"], text).exits(1);
    let told = "error: ZeroDivisionError: division by zero (in input 1)\n       1 │ def f():\n  >    2 │     return 1 / 0\n         │            ^\n\
                input 2: it was called here\n  >    1 │ f()\n";
    assert_eq!(ended.stderr(), told);
    // What leads through other code is told as Python tells it.
    let ended = typed(&Place::new(), &["repl"], "import json\njson.loads('{')\n").exits(1).stderr();
    assert!(ended.starts_with("Traceback") && ended.contains("json/decoder.py"), "{ended}");
    assert_eq!(ended.matches("JSONDecodeError").count(), 1, "{ended}");
}

#[test]
fn an_error_in_javascript_is_told_once_and_where_it_was_called_from() {
    needs!("node");
    let text = "function f() {\n  throw new Error('no');\n}\nf()\nnope\n";
    let ended = typed(&Place::new(), &["repl", "--lang", "js"], text).exits(1);
    let told = "error: Error: no (in input 1)\n       1 │ function f() {\n  >    2 │   throw new Error('no');\n         │         ^\n       3 │ }\n\
                input 2: it was called here\n  >    1 │ f()\n         │ ^\n\
                error: ReferenceError: nope is not defined\n  >    1 │ nope\n         │ ^\n";
    assert_eq!(ended.stderr(), told);
}

#[test]
fn who_exits_leaves() {
    needs!("python3");
    for (text, code) in
        [("exit()", 0), ("quit()", 0), ("import sys; sys.exit(0)", 0), ("exit(3)", 1)]
    {
        let ended = typed(&Place::new(), &["repl"], &format!("{text}\nprint(1)\n")).exits(code);
        assert_eq!((ended.stdout(), ended.stderr()), (String::new(), String::new()), "{text}");
    }
}

#[test]
fn what_is_shown_comes_after_what_was_printed_before() {
    needs!("python3", "node");
    let python = "import polyloom\nfor n in range(50): print(f'{n}.', end=''); polyloom.display(f'<{n}>')\n\n";
    let javascript = "for (let n = 0; n < 50; n++) { process.stdout.write(`${n}.`); polyloom.display(`<${n}>`); }\n";
    for (lang, text) in [("python", python), ("javascript", javascript)] {
        let out = typed(&Place::new(), &["repl", "--lang", lang], text).exits(0).stdout();
        // Two pipes do not say what was printed after it.
        for n in 0..50 {
            let (before, _) = out.split_once(&format!("<{n}>\n")).unwrap();
            assert!(before.contains(&format!("{n}.")), "{n}: {out}");
        }
    }
}

#[test]
fn a_value_that_can_not_be_carried_is_told_with_a_type_that_can() {
    needs!("python3", "node");
    let text = "class DataFrame: pass\n\ndf = DataFrame()\n%lang js df\n%lang js nothing\n%lang\n";
    let ended = typed(&Place::new(), &["repl"], text).exits(1);
    assert_eq!(ended.stdout(), "* python\n  javascript\n");
    let told = "error: `df` can't be had from `python`: expected a plain value, found `DataFrame`\nhint: say what it is: `df:table`\n\
                error: `nothing` can't be had from `python`: was not set\n";
    assert_eq!(ended.stderr(), told);
}

#[test]
fn an_interrupt_stops_what_runs_and_keeps_the_state() {
    needs!("python3");
    let place = Place::new();
    let mut command = place.call(&["repl"]).into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, "x = 7; import time; print('on', flush=True); time.sleep(600)").unwrap();
    assert_eq!(out.next().unwrap().unwrap(), "on");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    writeln!(stdin, "x").unwrap();
    assert_eq!(out.next().unwrap().unwrap(), "7");
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "interrupted\n");
}

#[test]
fn an_interrupt_stops_code_that_keeps_javascript_busy() {
    needs!("node");
    let place = Place::new();
    let mut command = place.call(&["repl", "--lang", "js"]).into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, "let x = 7").unwrap();
    for code in [
        "console.log('on'); while (true) {}",
        "console.log('on'); await new Promise((done) => setTimeout(done, 600000))",
    ] {
        writeln!(stdin, "{code}").unwrap();
        assert_eq!(out.next().unwrap().unwrap(), "on");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        writeln!(stdin, "x").unwrap();
        assert_eq!(out.next().unwrap().unwrap(), "7");
    }
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "interrupted\ninterrupted\n");
}

const FLOW: &str = "
[cells.load]
lang = \"python\"
outputs = { xs = \"list<int>\" }
code = \"xs = [1, 2, 3]\"

[cells.bad]
lang = \"python\"
inputs = { xs = \"load.xs\", at = 4 }
outputs = { y = \"int\" }
env = { WHO = \"me\" }
code = \"y = xs[at]\"
";

#[test]
fn the_sandbox_of_a_cell_that_failed_is_opened_with_its_inputs() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let ended = typed(&place, &["run", "-i", "bad"], "xs\n").exits(1);
    let told = "error: input `xs` comes from `load`, whose result is not there\nhint: polyloom run --until load\n";
    assert_eq!(ended.stderr(), told);
    let _ = place.run(&[]).exits(1);
    let text = "xs, at\nimport os; os.environ['WHO']\n'y' in globals()\n";
    let ended = typed(&place, &["run", "-i", "bad"], text).exits(0);
    assert_eq!(ended.stdout(), "([1, 2, 3], 4)\n'me'\nFalse\n");
    assert_eq!(ended.stderr(), "inputs of `bad`: at, xs\n");
}

#[test]
fn a_cell_that_has_no_prompt_is_told_with_what_works() {
    needs!("python3");
    let place = Place::flow(
        "[cells.native]\nlang = \"c\"\ncode = \"\"\n[cells.kept]\nlang = \"python\"\nsession = \"main\"\ncode = \"\"\n",
    );
    let said = |cell: &str, code| typed(&place, &["run", "-i", cell], "").exits(code).stderr();
    let compiled =
        "error: `c` is compiled: compiled languages have no prompt\nhint: polyloom run native\n";
    assert_eq!(said("native", 2), compiled);
    let none =
        "error: there is no cell `other`\nhint: `polyloom expand` shows the cells there are\n";
    assert_eq!(said("other", 2), none);
    let session = "note: the state of the session of `kept` is not here; `polyloom repl --session main` goes on in what a daemon keeps of it\n";
    assert_eq!(said("kept", 0), session);
}

/// Types what it is told to on a terminal of its own, and waits for what it is to see: pairs of texts, then the command.
const TERMINAL: &str = r#"
import json, os, pty, select, sys, time
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(command[0], command)
seen, due = "", time.monotonic() + 60
for wanted, typed in steps:
    while wanted not in seen:
        if not select.select([fd], [], [], max(0, due - time.monotonic()))[0]:
            sys.exit(f"no {wanted!r} in {seen!r}")
        seen += os.read(fd, 65536).decode("utf-8", "replace")
    seen = seen[seen.index(wanted) + len(wanted):]
    os.write(fd, typed.encode())
try:
    while os.read(fd, 65536):
        pass
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn at_a_terminal(place: &Place, args: &[&str], steps: &[(&str, &str)]) {
    let steps = serde_json::to_string(steps).unwrap();
    let _ = place.call_through(&["python3", "-c", TERMINAL, &steps], args).end().exits(0);
}

#[test]
fn a_terminal_has_editing_completion_history_and_control_c() {
    needs!("python3");
    let place = Place::new();
    let steps = [
        ("> ", "variety = 41\r"),
        ("> ", "vari\t + 1\r"),
        ("\n42\r\n", ""),
        ("> ", "def f():\r    return variety\r\r"),
        ("> ", "f()\r"),
        ("\n41\r\n", ""),
        ("> ", "import time; print('o' + 'n', flush=True); time.sleep(600)\r"),
        ("on\r\n", "\x03"),
        ("interrupted", ""),
        ("> ", "forgotten\x03"),
        ("> ", "%lan\t\r"),
        ("* ", ""),
        ("> ", "variety + 2\r"),
        ("\n43\r\n", ""),
        ("> ", "\x1b[A\r"),
        ("\n43\r\n", ""),
        ("> ", "\x04"),
    ];
    at_a_terminal(&place, &["repl"], &steps);
    let history = place.root().join("home/.local/share/polyloom/history");
    let text = fs::read_to_string(&history).unwrap();
    assert!(text.contains("variety = 41\nvariety + 1\ndef f():\\n"), "{text}");
    assert_eq!(fs::metadata(history).unwrap().permissions().mode() & 0o777, 0o600);
    // The next one knows it.
    at_a_terminal(
        &place,
        &["repl"],
        &[("> ", "variety = 1\r"), ("> ", "\x1b[A\x1b[A\r"), ("\n3\r\n", ""), ("> ", "\x04")],
    );
}

#[test]
fn what_is_typed_ahead_is_kept_and_words_and_imports_are_completed() {
    needs!("python3");
    let steps = [
        ("> ", "import time; print('o' + 'n', flush=True); time.sleep(1)\r"),
        // While it runs.
        ("on\r\n", "ahead = 40\rahead + 2\r"),
        ("\n42\r\n", ""),
        ("> ", "from asyn\t.event\timport AbstractEventLoopPol\t\r"),
        ("> ", "AbstractEventLoopPolicy.__name__\r"),
        ("'AbstractEventLoopPolicy'", ""),
        ("> ", "%snapshot mine\r"),
        ("> ", "ahead = 1\r"),
        ("> ", "%rest\t mi\t\r"),
        ("> ", "ahead\r"),
        ("\n40\r\n", ""),
        ("> ", "%lang pyt\t\r"),
        ("> ", "exit()\r"),
    ];
    at_a_terminal(&Place::new(), &["repl"], &steps);
}

#[test]
fn arrow_up_brings_the_code_of_the_cell() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let _ = place.run(&[]).exits(1);
    let steps = [
        ("> ", "at = 1\r"),
        ("> ", "\x1b[A\x1b[A\r"),
        ("> ", "y\r"),
        ("\n2\r\n", ""),
        ("> ", "\x04"),
    ];
    at_a_terminal(&place, &["run", "-i", "bad"], &steps);
}

#[test]
fn a_prompt_in_javascript_keeps_what_is_typed_and_shows_values() {
    needs!("node");
    let place = Place::new();
    let text = "let x = 20\nx + 1\nfunction f(n) {\n  return n * 2\n}\nf(x)\nnope\nx = 3; [x]\n%reset\ntypeof x\n";
    let ended = typed(&place, &["repl", "--lang", "javascript"], text).exits(1);
    assert_eq!(ended.stdout(), "21\n40\n[ 3 ]\nundefined\n".replace("undefined", "'undefined'"));
    assert!(ended.stderr().contains("ReferenceError: nope is not defined"), "{}", ended.stderr());
}
