//! Kernels of Jupyter as languages: ipykernel and bash_kernel where they are installed, and one that misbehaves to order.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyloom_test_e2e::{Place, Run, skip};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The virtual environment of the tests, where kernels are installed in it.
fn kernels() -> Option<PathBuf> {
    let venv = std::env::var_os("POLYLOOM_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let there = venv.join("share/jupyter/kernels/python3/kernel.json").is_file();
    if !there {
        skip("ipykernel is not in POLYLOOM_VENV");
    }
    there.then(|| venv.canonicalize().unwrap())
}

/// Where a person's own kernels are.
fn own(place: &Place) -> PathBuf {
    place.root().join("home/.local/share/jupyter/kernels")
}

fn spec(folder: &Path, name: &str, spec: &Value) {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("kernel.json"), spec.to_string()).unwrap();
}

/// A place with the kernel that misbehaves. `more` goes into its kernelspec.
fn fake(flow: &str, more: &Value) -> Place {
    let place = Place::flow(flow);
    let mut written = json!({
        "argv": ["python3", "{resource_dir}/kernel.py", "{connection_file}"],
        "display_name": "Fake", "language": "fake",
    });
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec(&own(&place), "fake", &written);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jupyter/kernel.py");
    fs::copy(script, own(&place).join("fake/kernel.py")).unwrap();
    place
}

fn cell(id: &str, lang: &str, more: &str, code: &str) -> String {
    format!("[cells.{id}]\nlang = \"jupyter:{lang}\"\n{more}\ncode = '''\n{code}\n'''\n")
}

/// What a cell printed, by the last run.
fn logs(place: &Place, cell: &str) -> String {
    place.polyloom(&["logs", "latest", cell]).exits(0).stdout()
}

/// Runs cells whose codes these are, named `a`, `b`, …
fn misbehave(codes: &[&str]) -> (Place, Run) {
    let name = |n: usize| char::from(b'a' + u8::try_from(n).unwrap()).to_string();
    let flow = codes.iter().enumerate().map(|(n, code)| cell(&name(n), "fake", "", code));
    let place = fake(&flow.collect::<String>(), &json!({}));
    let run = place.run(&["-k"]);
    (place, run)
}

/// `VIRTUAL_ENV` leads to a kernel whose specification says no more than `python`.
#[test]
fn ipykernel_runs_cells_with_what_a_plain_program_has() {
    let Some(venv) = kernels() else { return };
    let flow = [
        cell(
            "first",
            "python3",
            "params = { name = \"Ada\", xs = [1, 2], blob = \"file:blob.bin\" }\noutputs = { y = \"int\", t = \"str\" }\n",
            "import os, sys\nprint('hello', os.environ['name'], os.environ['xs'])\nprint('apart', file=sys.stderr)\n\
             out = os.environ['OUT']\nopen(out + '/y', 'w').write('42')\nopen(out + '/t.txt', 'w').write('grüße')",
        )
        .replace(", blob = \"file:blob.bin\" }", " }\ninputs = { blob = \"file:blob.bin\" }"),
        cell("second", "python3", "inputs = { y = \"first.y\" }", "import os\nprint(int(os.environ['y']) + 1)"),
    ];
    let place = Place::flow(&flow.concat());
    place.write("blob.bin", b"\0\x01");
    let run = || place.call(&["run", "--format", "json"]).env("VIRTUAL_ENV", &venv).end().run();
    let ran = run().exits(0);
    assert_eq!(ran.bytes("first", "t"), b"\xa7gr\xc3\xbc\xc3\x9fe");
    let first = logs(&place, "first");
    for text in ["hello Ada [1,2]\n", "apart\n"] {
        assert!(first.contains(text), "{first}");
    }
    assert!(logs(&place, "second").contains("43\n"));
    assert_eq!(run().told(), "first cached, second cached");
}

/// As in cells of `lang = "python"`, and nothing is left behind for it.
#[test]
fn ports_are_variables_in_a_kernel_of_python() {
    let Some(venv) = kernels() else { return };
    let flow = [
        cell(
            "makes",
            "python3",
            "argv = [\"-v\"]\nseed = 7\nparams = { xs = [1, 2] }\noutputs = { y = \"int\", t = \"tensor<f64,[n]>\", f = \"str\" }",
            "import os, random, sys\nprint(sorted(n for n in globals() if 'polyloom' in n), sys.argv[1:], random.random())\n\
             y = sum(xs)\nt = [1.0, 2.0]\nopen(os.environ['OUT'] + '/f', 'w').write('written')",
        ),
        cell(
            "reads",
            "python3",
            "inputs = { y = \"makes.y\", t = \"makes.t\" }",
            "print(y + 1, [float(x) for x in t])",
        ),
        cell("wrong", "python3", "outputs = { y = \"int\" }", "y = 'text'"),
    ];
    let place = Place::flow(&flow.concat());
    let run = place.call(&["run", "-k", "--format", "json"]).env("VIRTUAL_ENV", &venv).end().run();
    assert_eq!(run.told(), "makes ok, reads ok, wrong failed");
    assert!(logs(&place, "makes").contains("[] ['-v'] 0.32383276483316237\n"));
    assert_eq!(
        (run.bytes("makes", "y"), run.bytes("makes", "f")),
        (b"\x03".to_vec(), b"\xa7written".to_vec())
    );
    assert!(logs(&place, "reads").contains("4 [1.0, 2.0]\n"));
    assert_eq!(run.messages("wrong"), "output `y`: expected int, found str \"text\"");
}

#[test]
fn errors_are_told_with_their_line_in_the_flow() {
    let Some(venv) = kernels() else { return };
    let flow = [
        cell("raises", "python3", "", "def f():\n    raise ValueError('boom')\n\nf()"),
        cell("syntax", "python3", "", "x = 1\ny = = 2"),
        cell("forgets", "python3", "outputs = { y = \"int\" }", "x = 1"),
    ];
    let place = Place::flow(&flow.concat());
    let run = place.call(&["run", "-k", "--format", "json"]).env("VIRTUAL_ENV", &venv).end().run();
    let told = |cell: &str| {
        let told = &run.cell(cell)["diagnostics"][0];
        (told["file"].clone(), told["line"].clone(), told["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(told("raises"), (json!("polyloom.toml"), json!(6), "ValueError: boom".to_owned()));
    assert!(logs(&place, "raises").contains("----> 2     raise ValueError('boom')"));
    let (_, line, message) = told("syntax");
    assert_eq!(line, json!(15), "{message}");
    assert!(message.starts_with("SyntaxError: "), "{message}");
    assert_eq!(run.outcome("forgets"), "output_missing");
}

/// What a cell displays is shown, and kept as a file where it is large.
#[test]
fn displays_are_shown_and_large_ones_are_artifacts() {
    let Some(venv) = kernels() else { return };
    let code = "import base64\nfrom IPython.display import HTML, Image, display\n\
        png = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==')\n\
        display(HTML('<p>shown</p>'))\ndisplay(Image(png))\ndisplay(HTML('<p>large</p>' + 'x' * 60000))\n\
        handle = display('changes', display_id=True)\nhandle.update('changed')\nprint?\n6 * 7";
    let place = Place::flow(&cell("shows", "python3", "", code));
    let events = ["run", "--events", "-"];
    let ended = place.call(&events).env("VIRTUAL_ENV", &venv).end().exits(0);
    let shown: Vec<(String, String)> = ended
        .json_lines()
        .iter()
        .filter(|event| event["event"] == "display")
        .map(|event| {
            (event["media"].as_str().unwrap().into(), event["text"].as_str().unwrap().into())
        })
        .collect();
    let has = |media: &str, text: &str| {
        assert!(
            shown.iter().any(|(m, t)| m == media && t.contains(text)),
            "{media} {text}: {shown:?}"
        );
    };
    has("text/html", "<p>shown</p>");
    has("image/png", "");
    has("text/plain", "changed");
    has("text/plain", "42");
    has("text/plain", "print(*args");
    assert!(!shown.iter().any(|(_, text)| text.contains("large")), "{shown:?}");
    let show = place.polyloom(&["show", "latest", "--format", "json"]).exits(0).stdout();
    assert!(show.contains("display-1.html") && show.contains("text/html"), "{show}");
}

#[test]
fn a_kernel_is_interrupted_when_the_run_is_and_gone_when_time_is_over() {
    let Some(venv) = kernels() else { return };
    let code = "import time\nprint('asleep', flush=True)\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('woken', flush=True)\n    raise";
    let place = Place::flow(&cell("sleeps", "python3", "", code));
    let mut running = place.call(&["run", "--events", "-"]).env("VIRTUAL_ENV", &venv).start();
    running.until_printed("sleeps", "asleep");
    running.signal(Signal::INT);
    running.until_printed("sleeps", "woken");
    let _ = running.end().exits(130);
    place.edit("polyloom.toml", "lang =", "timeout = \"3s\"\nlang =");
    let ended = place.call(&["run", "--format", "json"]).env("VIRTUAL_ENV", &venv).end();
    assert_eq!(ended.run().outcome("sleeps"), "timed_out");
    assert_eq!(place.processes(), Vec::<String>::new());
}

/// What is installed beside a kernel decides what its cells do, and is part of their keys.
#[test]
fn keys_hold_the_interpreter_the_libraries_and_the_kernelspec() {
    let Some(venv) = kernels() else { return };
    let place = Place::flow(&cell("one", "mine", "", "print('one')"));
    let written = |name: &str| {
        let argv = [
            venv.join("bin/python").to_str().unwrap(),
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ]
        .map(str::to_owned);
        spec(
            &own(&place),
            "Mine",
            &json!({ "argv": argv, "display_name": "Mine", "language": "python", "env": { "NAME": name, "PATH": "/nowhere", "OTHER": "${HOME}" } }),
        );
    };
    written("a");
    assert_eq!(place.run(&[]).exits(0).told(), "one ok");
    assert_eq!(place.run(&[]).exits(0).told(), "one cached");
    written("b");
    assert_eq!(place.run(&[]).exits(0).told(), "one ok");
    let why = place.polyloom(&["why", "one", "--format", "json"]).exits(0).json();
    let parts: Vec<&str> =
        why["parts"].as_array().unwrap().iter().filter_map(|part| part["part"].as_str()).collect();
    assert!(parts.contains(&"libraries") && parts.contains(&"toolchain"), "{parts:?}");
}

#[test]
fn ipykernel_keeps_the_contract() {
    let Some(venv) = kernels() else { return };
    let place = Place::new();
    let test = ["plugin", "test", "jupyter:python3", "--timeout", "60s", "--format", "json"];
    let report = place.call(&test).env("VIRTUAL_ENV", &venv).end().exits(0).json();
    let cases = report["cases"].as_array().unwrap();
    let passed = cases.iter().filter(|case| case["outcome"] == "pass").count();
    assert!(passed > 55, "{passed}: {cases:#?}");
    assert_eq!(report["kind"], "jupyter");
    let list =
        place.call(&["plugin", "list", "--format", "json"]).env("VIRTUAL_ENV", &venv).end().json();
    let all = list["executors"].as_array().unwrap();
    let row = all.iter().find(|row| row["id"] == "jupyter:python3").unwrap();
    assert!(row["ready"] == true && row["grades"].is_array(), "{row}");
}

/// It stands for a prompt at a terminal, and its `kernel_info_reply` is not what the specification says.
#[test]
fn bash_kernel_runs_and_keeps_the_contract() {
    let Some(venv) = kernels() else { return };
    let flow = [
        cell(
            "good",
            "bash",
            "params = { name = \"Ada\" }\noutputs = { y = \"int\" }",
            "echo hello $name\necho 42 > $OUT/y",
        ),
        cell("bad", "bash", "", "echo so far\nls /nonexistent"),
    ];
    let place = Place::flow(&flow.concat());
    let argv =
        [venv.join("bin/python").to_str().unwrap(), "-m", "bash_kernel", "-f", "{connection_file}"]
            .map(str::to_owned);
    spec(
        &own(&place),
        "bash",
        &json!({ "argv": argv, "display_name": "Bash", "language": "bash", "env": { "PS1": "$" } }),
    );
    let codes = "hello = 'echo hello'\nsleep = '''\necho asleep\nsleep 60\n'''\nset = 'x=42'\nget = 'echo $x'\n";
    fs::write(own(&place).join("bash/conformance.toml"), codes).unwrap();
    let run = place.run(&["-k"]);
    assert_eq!(run.told(), "bad failed, good ok");
    assert!(logs(&place, "good").contains("hello Ada\n"));
    assert!(logs(&place, "bad").contains("cannot access '/nonexistent'"));
    assert_eq!(run.messages("bad"), "exit status 2");
    let test = ["plugin", "test", "jupyter:bash", "--timeout", "60s", "--format", "json"];
    let report = place.polyloom(&test).exits(0).json();
    let passed =
        report["cases"].as_array().unwrap().iter().filter(|case| case["outcome"] == "pass");
    assert!(passed.count() > 20, "{report:#}");
}

#[test]
fn what_is_no_message_is_dropped_and_told() {
    let (place, run) = misbehave(&["hello", "wrong signature", "no messages", "odd types"]);
    let run = run.exits(0);
    assert_eq!(
        logs(&place, "a"),
        logs(&place, "a").replace("a word of the start", ""),
        "start-up is nobody's output"
    );
    assert!(run.messages("a").is_empty());
    assert_eq!(
        run.messages("b"),
        "3 messages of the kernel were dropped: the first has a wrong signature"
    );
    let printed = logs(&place, "b");
    assert!(printed.contains("signed\n") && !printed.contains("forged"), "{printed}");
    assert_eq!(
        run.messages("c"),
        "3 messages of the kernel were dropped: the first has not the frames of one"
    );
    assert!(logs(&place, "c").contains("after it\n"));
    assert!(run.messages("d").contains("is not of JSON tables"), "{}", run.messages("d"));
    assert!(logs(&place, "d").contains("in pieces\n"));
}

#[test]
fn a_kernel_that_breaks_the_protocol_fails_its_cell_and_takes_no_memory() {
    let codes = ["not zmtp", "claims", "many frames", "large", "closes"];
    let (_, run) = misbehave(&codes);
    let run = run.exits(1);
    for (n, words) in [
        "what came is not ZMTP 3: a frame with the flags 0x80",
        "a message of more than 64 MiB came",
        "a message of more than 64 frames",
        "a message of more than 64 MiB came",
        "the kernel's iopub socket failed: the connection ",
    ]
    .iter()
    .enumerate()
    {
        let cell = char::from(b'a' + u8::try_from(n).unwrap()).to_string();
        assert_eq!(run.outcome(&cell), "failed", "{}", codes[n]);
        assert!(run.messages(&cell).contains(words), "{}: {}", codes[n], run.messages(&cell));
        let peak = run.cell(&cell)["peak_memory"].as_u64().unwrap();
        assert!(peak < 256 << 20, "{}: {peak}", codes[n]);
    }
}

#[test]
fn kernels_that_bend_the_specification_are_understood() {
    let codes = ["no idle", "no reply", "no status", "aborted", "error in the reply alone"];
    let (place, run) = misbehave(&codes);
    assert_eq!(run.outcome("a"), "ok", "{}", run.messages("a"));
    assert!(logs(&place, "a").contains("no idle comes\n"));
    assert_eq!(run.messages("b"), "the kernel was done and did not reply");
    assert_eq!(run.messages("c"), "the kernel's reply does not say how the cell ended");
    assert_eq!(run.messages("d"), "the kernel aborted the cell");
    assert_eq!(run.messages("e"), "Odd: told once");
    assert_eq!(run.cell("e")["diagnostics"][0]["line"], 30);
    let place =
        fake(&cell("a", "fake", "", "hello"), &json!({ "env": { "KERNEL_START": "unpublished" } }));
    assert_eq!(place.run(&[]).exits(0).told(), "a ok");
}

#[test]
fn displays_are_counted() {
    let (_, run) = misbehave(&["displays", "large displays"]);
    let run = run.exits(0);
    assert_eq!(run.messages("a"), "more than 1000 displays: the others are not shown");
    assert_eq!(run.messages("b"), "more than 64 large displays: the others are not kept");
}

#[test]
fn a_kernel_that_ends_is_told_with_its_last_words() {
    let (place, run) = misbehave(&["dies", "is killed", "hello"]);
    assert_eq!(run.messages("a"), "the kernel ended with exit status: 7; it said: last words");
    assert!(
        run.messages("b").starts_with("the kernel ended with signal: 11 (SIGSEGV)"),
        "{}",
        run.messages("b")
    );
    assert!(logs(&place, "b").contains("so far\n"));
    assert_eq!(run.outcome("c"), "ok");
    for (start, words) in [
        ("ends", "the kernel ended with exit status: 3; it said: no such library: libmoon"),
        (
            "junk",
            "the kernel's shell socket failed: what came is not ZMTP 3: the greeting is of something else",
        ),
    ] {
        let place =
            fake(&cell("a", "fake", "", "hello"), &json!({ "env": { "KERNEL_START": start } }));
        let run = place.run(&[]).exits(1);
        assert_eq!(run.messages("a"), words);
        assert_eq!(logs(&place, "a").contains("starting\n"), start == "ends");
    }
}

#[test]
fn a_kernel_that_does_not_listen_is_killed() {
    let place = fake(&cell("a", "fake", "", "deaf"), &json!({}));
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("a", "asleep");
    running.signal(Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(place.processes(), Vec::<String>::new());
    let flow = cell("a", "fake", "timeout = \"2s\"", "hello");
    let place = fake(&flow, &json!({ "env": { "KERNEL_START": "mute" } }));
    assert_eq!(place.run(&[]).exits(1).outcome("a"), "timed_out");
}

#[test]
fn a_kernel_is_interrupted_by_a_message_where_it_wants_one() {
    let place = fake(&cell("a", "fake", "", "waits"), &json!({ "interrupt_mode": "message" }));
    let mut running = place.call(&["run", "--events", "-"]).start();
    running.until_printed("a", "asleep");
    running.signal(Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
}

#[test]
fn under_the_strict_policy_it_is_said_what_a_kernel_needs() {
    let place = fake(&cell("a", "fake", "policy = \"strict\"", "hello"), &json!({}));
    let run = place.polyloom(&["run", "--format", "json"]);
    if run.code() == 1 {
        let words = run.run().messages("a");
        assert!(words.contains("sockets with names are refused here"), "{words}");
    } else {
        skip("the machine does not meet the strict policy");
    }
}

/// Places are those of Jupyter, the first wins, a broken one is told and stops nobody, and what lies beside a flow is not looked at.
#[test]
fn kernels_are_found_by_their_files_alone() {
    let place = fake(&cell("a", "fake", "", "hello"), &json!({}));
    let (first, second) = (place.root().join("first"), place.root().join("second"));
    let absent = json!({ "argv": ["/no/such/program", "{connection_file}"], "display_name": "An \u{1b}[31mabsent one", "language": "x" });
    spec(&first.join("kernels"), "Absent", &absent);
    spec(&second.join("kernels"), "absent", &json!({ "argv": ["sh"], "display_name": "Later" }));
    for (name, text) in [
        ("broken", "{"),
        ("empty", "{}"),
        ("numbers", r#"{"argv": [1]}"#),
        ("relative", r#"{"argv": ["../x"]}"#),
        ("list", "[]"),
        ("a b", "{}"),
    ] {
        let folder = first.join("kernels").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("kernel.json"), text).unwrap();
    }
    let large = first.join("kernels/large");
    fs::create_dir_all(&large).unwrap();
    fs::write(large.join("kernel.json"), vec![b' '; 300 << 10]).unwrap();
    fs::create_dir_all(first.join("kernels/pipe")).unwrap();
    let fifo = first.join("kernels/pipe/kernel.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    spec(&place.project().join("share/jupyter/kernels"), "beside", &json!({ "argv": ["sh"] }));
    spec(&place.project().join("kernels"), "beside", &json!({ "argv": ["sh"] }));
    let path = std::env::join_paths([PathBuf::from("."), first, second]).unwrap();
    let list = place
        .call(&["plugin", "list", "--format", "json"])
        .env("JUPYTER_PATH", &path)
        .end()
        .exits(0);
    let document = list.json();
    let all = document["executors"].as_array().unwrap();
    let ours: Vec<&Value> = all
        .iter()
        .filter(|row| {
            row["kind"] == "jupyter" && row["from"].as_str().unwrap().contains("polyloom-e2e-")
        })
        .collect();
    let ids: Vec<&str> = ours.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["jupyter:absent", "jupyter:fake"]);
    assert_eq!(ours[0]["title"], "An [31mabsent one");
    let missing = ours[0]["missing"].as_str().unwrap();
    assert!(
        missing.starts_with("`jupyter:absent` needs `/no/such/program` and nothing is there: "),
        "{missing}"
    );
    let stderr = list.stderr().replace('│', " ");
    let stderr = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "broken/kernel.json` can't be used: it is not a table of JSON",
        "empty/kernel.json` can't be used: it has no `argv`",
        "numbers/kernel.json` can't be used: `argv` has something that is no text",
        "relative/kernel.json` can't be used: its program `../x` is neither a name nor an absolute path",
        "list/kernel.json` can't be used: it is not a table of JSON",
        "a b/kernel.json` can't be used: kernel name `a b` has the character ' '",
        "large/kernel.json` can't be used: it is larger than 256 KiB",
        "pipe/kernel.json` can't be used: it is not a regular file",
    ] {
        assert!(stderr.contains(words), "{words}\n{stderr}");
    }
    let run = place.call(&["run", "--format", "json"]).env("JUPYTER_PATH", &path).end().run();
    assert_eq!(run.exits(0).told(), "a ok");
}

/// No manifest can be taken for a kernel.
#[test]
fn an_id_with_a_colon_is_a_kernel_alone() {
    let place = fake(&cell("a", "fake", "", "hello"), &json!({}));
    place.executor("evil", "id = \"jupyter:fake\"\nversion = \"1\"\nkind = \"command\"\n[run]\nargv = [\"{polyloom}\"]\n");
    place.executor("sly", "id = \"sly\"\naliases = [\"jupyter:fake\"]\nversion = \"1\"\nkind = \"command\"\n[run]\nargv = [\"{polyloom}\"]\n");
    let ended = place.polyloom(&["run", "--format", "json"]);
    assert!(
        ended.stderr().contains("executor id `jupyter:fake` has the character ':'"),
        "{}",
        ended.stderr()
    );
    assert_eq!(ended.run().exits(0).told(), "a ok");
    let unknown =
        Place::flow(&cell("a", "nothere", "", "x")).polyloom(&["check"]).exits(2).stderr();
    assert!(unknown.contains("unknown language `jupyter:nothere`"), "{unknown}");
}
