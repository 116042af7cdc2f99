//! Cells that are made by forking a worker which was started once: that they are, and that none can tell anything of another.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use polyloom_test_e2e::{Place, Running, is_root, libraries, needs, skip};
use rustix::process::Signal;
use serde_json::Value;

/// The process id of a zygote in its sandbox: the parent of its cells.
const ZYGOTE: &str = "1000";

/// Cells in a row, one after the other, each with this code and what is put before it.
fn row(codes: &[&str]) -> Place {
    let mut flow = String::new();
    for (at, code) in codes.iter().enumerate() {
        flow.push_str(&format!("[cells.c{at}]\nlang = \"python\"\ncode = '''\n{code}\n'''\n"));
    }
    Place::flow(&flow)
}

/// What there is to know of each cell, one after the other, none of them taken from the cache.
struct Told(BTreeMap<String, Value>);

impl Told {
    fn of(place: &Place) -> Self {
        Self::ended(&place.polyloom(&["run", "--format", "jsonl", "--no-cache", "-j1", "-k"]))
    }

    fn ended(ended: &polyloom_test_e2e::Ended) -> Self {
        let out = ended.stdout();
        assert!(!out.is_empty(), "{}", ended.stderr());
        let events = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let finished = events.filter(|event| event["event"] == "step.finished");
        Self(
            finished
                .map(|it| (it["cell"].as_str().unwrap().to_owned(), it["meta"].clone()))
                .collect(),
        )
    }

    fn text(&self, cell: &str, stream: &str) -> String {
        self.0[cell][stream]["text"].as_str().unwrap().to_owned()
    }

    fn printed(&self, cell: &str) -> String {
        let told = &self.0[cell];
        assert_eq!(told["outcome"], "ok", "{cell}: {told:#}");
        self.text(cell, "stdout")
    }
}

/// Whether there can be zygotes here, as the record of a cell tells.
fn possible(told: &Told) -> bool {
    let counted = |name: &str| {
        let rows = told.0.values().filter_map(|meta| meta["enforcement"].as_array()).flatten();
        let mut rows = rows.filter(|row| row["mechanism"] == name);
        rows.any(|row| row["detail"].as_str().is_some_and(|detail| detail.contains("cgroup v")))
    };
    let possible = is_root() && counted("memory") && counted("cpu_time");
    if !possible {
        skip("zygotes take root and control groups");
    }
    possible
}

#[test]
fn all_but_the_first_cells_are_forks() {
    needs!("python3");
    let code = "import os\nprint(os.getppid(), os.getpid())";
    let place = row(&[code; 6]);
    let run = Told::of(&place);
    assert_eq!(run.printed("c0"), "1 2\n");
    if possible(&run) {
        for cell in ["c1", "c2", "c3", "c4", "c5"] {
            assert_eq!(run.printed(cell), format!("{ZYGOTE} 2\n"), "{cell}");
        }
    }
}

#[test]
fn many_cells_in_a_row_take_turns_in_two_zygotes() {
    needs!("python3");
    // Where things lie is drawn once for each zygote.
    let code = "import os\nprint(id(os), os.getppid(), os.getpid())";
    let started = "a second zygote is started beside the first";
    // How often a second one was started, and how many there were.
    let ran = |count| {
        let call = ["run", "--format", "jsonl", "--no-cache", "-j1"];
        let ended = row(&vec![code; count]).call(&call).env("POLYLOOM_LOG", "debug").end();
        let run = Told::ended(&ended);
        let mut zygotes = BTreeSet::new();
        let possible = possible(&run);
        for at in 1..count {
            let printed = run.printed(&format!("c{at}"));
            let (place, rest) = printed.split_once(' ').unwrap();
            zygotes.insert(place.to_owned());
            assert!(!possible || rest == format!("{ZYGOTE} 2\n"), "c{at}: {printed}");
        }
        possible.then(|| (ended.stderr().matches(started).count(), zygotes.len()))
    };
    let spare = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let Some((few, _)) = ran(8).filter(|_| spare) else { return };
    assert_eq!(few, 0);
    // Nobody waits for the second one, and a busy machine takes its time to start it.
    let took_turns = |count| ran(count).is_some_and(|(said, zygotes)| said > 0 && zygotes > 1);
    assert!(took_turns(60) || took_turns(300));
}

#[test]
fn nothing_of_a_cell_is_in_the_next() {
    needs!("python3");
    // Put together only while it runs: no code has these bytes.
    const WORD: &str = "word = bytes(x ^ 1 for x in b'ihkk`onmdgu')";
    let leave = format!(
        "import builtins, json, os, random, sys\n{WORD}\nbuiltins.SECRET = json.SECRET = sys.SECRET = [word + b'%06d' % x for x in range(5000)]\n\
         os.environ['SECRET'] = SECRET[7].decode()\nrandom.seed(1)\nopen('/cell/tmp/secret', 'wb').writelines(SECRET)\n\
         sys.path.insert(0, '/cell/work')\nos.umask(0)\nos.nice(3)\nsys.setrecursionlimit(99)\nprint(os.getppid())"
    );
    let look = format!(
        "import builtins, json, os, random, re, sys\n{WORD}\n\
         found = [hasattr(it, 'SECRET') for it in (builtins, json, sys)]\n\
         print(found, 'SECRET' in os.environ, os.listdir('/cell/tmp'), '/cell/work' in sys.path, oct(os.umask(0)), os.nice(0), sys.getrecursionlimit())\n\
         print(random.random(), file=sys.stderr)\n\
         seen = 0\n\
         with open('/proc/self/mem', 'rb', 0) as mem:\n\
         \x20   for line in open('/proc/self/maps'):\n\
         \x20       start, end = (int(x, 16) for x in line.split()[0].split('-'))\n\
         \x20       if ' rw' in line and end - start < 1 << 28:\n\
         \x20           mem.seek(start)\n\
         \x20           seen += len(re.findall(re.escape(word) + rb'[0-9]{{6}}', mem.read(end - start)))\n\
         print(seen)\n\
         print(os.getppid(), file=sys.stderr)"
    );
    let seen =
        format!("{look}\n{WORD}\n").replace("seen = 0\n", "seen = 0; own = word + b'123456'\n");
    let (leave, look, seen) = (leave.as_str(), look.as_str(), seen.as_str());
    let place = row(&["print()", leave, look, look, seen]);
    let run = Told::of(&place);
    let clean = "[False, False, False] False [] False 0o22 0 1000\n0\n";
    assert!(!run.printed("c4").ends_with("\n0\n"), "what is there is found");
    assert_eq!((run.printed("c2"), run.printed("c3")), (clean.into(), clean.into()));
    let random = |cell: &str| run.text(cell, "stderr");
    assert_ne!(random("c2"), random("c3"), "each has a random state of its own");
    if possible(&run) {
        assert_eq!(run.printed("c1"), format!("{ZYGOTE}\n"));
        assert!(random("c3").ends_with(&format!("{ZYGOTE}\n")));
    }
}

#[test]
fn first_imports_are_made_before_the_fork() {
    needs!("python3");
    let code = "# a comment\n\nimport decimal\nfrom html import parser\nimport gc, os\n\
        print(os.getppid(), [any(o is m.__dict__ for o in gc.get_objects()) for m in (decimal, parser)])";
    // What a cell does before it imports something may be meant for that.
    let late = "import gc, os\nos.environ['A'] = 'b'\nimport decimal\nprint(os.getppid(), any(o is decimal.__dict__ for o in gc.get_objects()))";
    let place = row(&[code, code, code, late, late]);
    let run = Told::of(&place);
    assert_eq!(run.printed("c0"), "1 [True, True]\n");
    assert!(run.printed("c4").ends_with("True\n"));
    if possible(&run) {
        assert_eq!(run.printed("c2"), format!("{ZYGOTE} [False, False]\n"));
        assert_eq!(run.printed("c4"), format!("{ZYGOTE} True\n"));
    }
}

#[test]
fn nothing_that_a_flow_chooses_runs_in_a_zygote() {
    needs!("python3");
    // Its own variables, a module that does something, code behind an import, a module that is not there.
    let shell = "python3 -c \"import os; open('/cell/work/seen', 'w').write(str(os.getuid()))\" %s";
    let mut flow = String::new();
    for at in 0..3 {
        for (name, keys, code) in [
            (
                "browser",
                format!("env = {{ BROWSER = '''{shell}''' }}\n"),
                "import antigravity, os\nprint(open('/cell/work/seen').read(), os.getuid())"
                    .to_owned(),
            ),
            (
                "behind",
                String::new(),
                format!(
                    "from sys import path; open('/cell/work/this.py', 'w').write('v = 1'); path.insert(0, '/cell/work')\nimport this\nprint(getattr(this, 'v', 0) * 10 + {at})"
                ),
            ),
            (
                "gone",
                String::new(),
                "try:\n    import encodings.mbcs\nexcept ImportError:\n    print('gone')"
                    .to_owned(),
            ),
            ("first", String::new(), "import json.nothing".to_owned()),
        ] {
            flow.push_str(&format!(
                "[cells.{name}{at}]\nlang = \"python\"\n{keys}code = '''\n{code}\n#{at}\n'''\n"
            ));
        }
    }
    let run = Told::of(&Place::flow(&flow));
    for at in 0..3 {
        assert_eq!(run.printed(&format!("browser{at}")), "1000 1000\n");
        assert_eq!(run.printed(&format!("behind{at}")), format!("{}\n", 10 + at));
        assert_eq!(run.printed(&format!("gone{at}")), "gone\n");
        assert_eq!(run.0[&format!("first{at}")]["outcome"], "failed");
        assert!(run.text(&format!("first{at}"), "stderr").contains("ModuleNotFoundError"));
    }
}

#[test]
fn what_a_cell_holds_back_is_written_at_its_end_wherever_it_is() {
    needs!("python3");
    let code = r#"
import builtins, gzip, io, json, os, sys, tempfile
print("begin", end="")
sys.stdout = io.StringIO()
out = os.environ["OUT"]
json.text = open(out + "/text", "w")
json.text.write("all of it")
builtins.packed = gzip.open(out + "/packed", "wt")
packed.write("packed")
class Last:
    def __del__(self, write=os.write):
        write(2, b"last words")
os.last = Last()
class Odd(type):
    def __eq__(self, other): raise ValueError
    def __getattribute__(self, name): raise ValueError
os.odd = Odd("Made", (), {})()
json.decoder.again = open(1, "w", closefd=False)
json.decoder.again.write(" and end")
"#;
    let cell = |at: usize| {
        let outputs = "outputs = { text = \"file\", packed = \"file\" }";
        format!("[cells.c{at}]\nlang = \"python\"\n{outputs}\ncode = '''{code}'''\n")
    };
    let place = Place::flow(&(0..4).map(cell).collect::<String>());
    let (ran, told) = (place.run(&["-j1", "-F"]).exits(0), Told::of(&place));
    for at in 0..4 {
        let cell = format!("c{at}");
        assert_eq!(ran.bytes(&cell, "text"), b"all of it", "{cell}");
        assert!(ran.bytes(&cell, "packed").len() > 20, "{cell}");
        let said = (told.printed(&cell), told.text(&cell, "stderr"));
        assert_eq!(said, ("begin and end".to_owned(), "last words".to_owned()), "{cell}");
    }
}

#[test]
fn ends_of_all_kinds_are_told_as_ever() {
    needs!("python3");
    let fine = "import os\nprint(os.getppid())";
    let codes = [
        fine,
        "raise ValueError('no')",
        "import sys\nsys.exit(3)",
        "import os\nos._exit(4)",
        "import os\nos.kill(os.getpid(), 11)",
        "import subprocess\nsubprocess.Popen(['sleep', '1000'])",
        "import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait()\nprint('ok')",
        "import atexit, sys\natexit.register(lambda: 1 / 0)\nsys.modules['__main__'] = 3\nprint('odd')",
        fine,
    ];
    let mut flow = String::new();
    for (at, code) in codes.iter().enumerate() {
        flow.push_str(&format!(
            "[cells.c{at}]\nlang = \"python\"\nmemory = \"64MiB\"\ncode = '''\n{code}\n'''\n"
        ));
    }
    flow.push_str(
        "[cells.full]\nlang = \"python\"\nmemory = \"64MiB\"\ncode = 'x = bytearray(200 << 20)'\n",
    );
    flow.push_str("[cells.slow]\nlang = \"python\"\nmemory = \"64MiB\"\ntimeout = \"500ms\"\ncode = 'while True: pass'\n");
    flow.push_str("[cells.loud]\nlang = \"python\"\nmemory = \"64MiB\"\noutput_limit = \"1MiB\"\ncode = 'while True: print(\"x\" * 9999)'\n");
    let run = Told::of(&Place::flow(&flow));
    for (cell, outcome) in [
        ("c0", "ok"),
        ("c1", "failed"),
        ("c2", "failed"),
        ("c3", "failed"),
        ("c4", "killed"),
        ("c5", "ok"),
        ("c6", "ok"),
        ("c7", "ok"),
        ("c8", "ok"),
        ("full", "out_of_memory"),
        ("slow", "timed_out"),
        ("loud", "output_exceeded"),
    ] {
        assert_eq!(run.0[cell]["outcome"], outcome, "{cell}: {:#}", run.0[cell]);
    }
    assert!(run.text("c7", "stderr").contains("ZeroDivisionError"));
    assert_eq!(run.0["c2"]["exit_code"], 3);
    assert_eq!(run.0["c4"]["signal"], 11);
    if possible(&run) {
        assert_eq!(run.printed("c8"), format!("{ZYGOTE}\n"));
    }
}

#[test]
fn variables_inputs_and_results_are_each_cells_own() {
    needs!("python3");
    let flow = "[cells.a]\nlang = \"python\"\noutputs = { n = \"list<int>\" }\ncode = 'n = list(range(30))'\n\
        [cells.m]\nlang = \"python\"\nmap = { n = \"a.n\" }\noutputs = { y = \"str\" }\n\
        code = '''\nimport os\nopen(\"left\", \"x\").write(\"x\")\ny = f\"{n} {os.environ['POLYLOOM_CELL']} {sorted(os.listdir('.'))} {sorted(os.listdir('/cell/in'))}\"\n'''\n\
        [cells.own]\nlang = \"python\"\nenv = { OWN = \"1\" }\nseed = 7\noutputs = { y = \"str\" }\ncode = '''\nimport os, random\ny = f\"{os.environ['OWN']} {random.random()}\"\n'''\n\
        [cells.other]\nlang = \"python\"\nafter = [\"own\"]\nseed = 7\noutputs = { y = \"str\" }\ncode = '''\nimport os, random\ny = f\"{os.environ.get('OWN')} {random.random()}\"\n'''\n";
    let place = Place::flow(&flow.replace("after = [\"own\"]\n", ""));
    let first = place.run(&["-j2"]).exits(0);
    let text = |cell: &str| String::from_utf8_lossy(&first.bytes(cell, "y")).into_owned();
    let (own, other) = (text("own"), text("other"));
    assert_eq!(
        own.split_once("1 ").unwrap().1,
        other.split_once("None ").unwrap().1,
        "one seed, one stream"
    );
    let again = place.run(&["-j1", "-F"]).exits(0);
    for cell in first.ran() {
        let port = if cell == "a" { "n" } else { "y" };
        assert_eq!(first.digest(&cell, port), again.digest(&cell, port), "{cell}");
    }
    assert_eq!(place.run(&["-j2"]).ran(), Vec::<String>::new(), "and all of them are kept");
}

/// Of Python, and of what it starts: in the same order, too.
#[test]
fn a_fork_has_the_variables_that_a_worker_of_its_own_has() {
    needs!("python3");
    let code = "import os, subprocess\nseen = dict(os.environ)\n\
        print([(name, value) for name, value in seen.items() if name != 'POLYLOOM_CELL'])\n\
        said = subprocess.run(['env', '-0'], capture_output=True, text=True).stdout.split('\\0')\n\
        print([pair for pair in said if not pair.startswith('POLYLOOM_CELL=')], seen['POLYLOOM_CELL'])";
    let run = Told::of(&row(&[code; 3]));
    let own = run.printed("c0");
    assert!(own.contains("'PYTHONHASHSEED'") && !own.contains("LD_BIND_NOW"), "{own}");
    assert!(!own.contains("POLYLOOM_W'") && !own.contains("POLYLOOM_W="), "{own}");
    for cell in ["c1", "c2"] {
        assert_eq!(run.printed(cell).replace(cell, "c0"), own, "{cell}");
    }
}

#[test]
fn a_worker_that_is_no_zygote_after_all_is_started_for_each_cell() {
    needs!("python3");
    let place = Place::flow(
        "[defaults]\ntimeout = \"8s\"\n[cells.a]\nlang = \"cold\"\ncode = 'print(1)'\n[cells.b]\nlang = \"cold\"\ncode = 'print(2)'\n\
         [cells.c]\nlang = \"dead\"\ncode = 'print(3)'\n[cells.d]\nlang = \"dead\"\ncode = 'print(4)'\n[cells.e]\nlang = \"dead\"\ncode = 'print(5)'\n",
    );
    for (id, instead) in [("cold", "time.sleep(60)"), ("dead", "os._exit(0)")] {
        let code = format!(
            "import os, sys, time\nif 'POLYLOOM_ZYGOTE' in os.environ: {instead}\nsys.path.insert(0, '/polyloom/sdk/python')\n\
             from polyloom import _worker\n_worker.Worker.about = lambda self: dict(executor='{id}', version='1', features=[])\nsys.exit(_worker.main())"
        );
        place.executor(
            id,
            &format!(
                "id = \"{id}\"\nversion = \"1\"\nkind = \"worker\"\n[toolchain.python]\nany = [\"python3\"]\n\
                 [worker]\nargv = [\"{{python}}\", \"-B\", \"-c\", \"\"\"{code}\"\"\"]\n[zygote]\n"
            ),
        );
    }
    let run = Told::of(&place);
    for (cell, text) in [("a", "1\n"), ("b", "2\n"), ("c", "3\n"), ("d", "4\n"), ("e", "5\n")] {
        assert_eq!(run.printed(cell), text);
    }
    assert!(
        run.0["b"]["wall_ms"].as_f64().unwrap() < 8000.0,
        "waiting for it is no time of the cell's"
    );
}

#[test]
fn a_zygote_of_a_plugin_is_not_there_for_cells_after_the_plugin_was_edited() {
    needs!("python3");
    let cells = (0..3).map(|at| {
        format!("[cells.c{at}]\nlang = \"mine\"\ncode = 'print(MARK, \"POLYLOOM_ZYGOTE\" in ZYGOTE, {at})'\n")
    });
    let place = Place::flow(&cells.collect::<String>());
    place.executor(
        "mine",
        "id = \"mine\"\nversion = \"1\"\nkind = \"worker\"\n[toolchain.python]\nany = [\"python3\"]\n\
         [worker]\nargv = [\"{python}\", \"-B\", \"{dir}/mine.py\", \"{sdk}\"]\n[zygote]\n",
    );
    let program = |mark: &str| {
        let code = format!(
            "import builtins, os, sys\nbuiltins.MARK, builtins.ZYGOTE = '{mark}', set(os.environ)\nsys.path.insert(0, sys.argv[1] + '/python')\n\
             from polyloom import _worker\n_worker.Worker.about = lambda self: dict(executor='mine', version='1', features=[])\nsys.exit(_worker.main())"
        );
        std::fs::write(place.executors().join("mine/mine.py"), code).unwrap();
    };
    let all_print = |running: &mut Running, mark: &str| {
        let mut printed = vec![String::new(); 3];
        loop {
            let event = running
                .until(|event| ["log", "run.finished"].iter().any(|it| event["event"] == *it));
            let Some(cell) = event["cell"].as_str() else { break };
            printed[cell[1..].parse::<usize>().unwrap()] += event["text"].as_str().unwrap();
        }
        for (at, text) in printed.iter().enumerate() {
            assert!(text.starts_with(mark) && text.ends_with(&format!(" {at}\n")), "{printed:?}");
        }
        printed.iter().filter(|text| text.contains("True")).count()
    };
    program("one");
    let mut running = place.call(&["run", "--watch", "-j1", "--events", "-"]).start();
    let first = all_print(&mut running, "one");
    program("two");
    let second = all_print(&mut running, "two");
    assert_eq!(first, second, "another one is started");
    if first == 0 {
        skip("zygotes take root and control groups");
    }
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
}

/// An environment whose numpy takes its time, and tells in which process it was loaded. Not in a temporary folder, which cells have of their own.
fn environment() -> tempfile::TempDir {
    let venv = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let make = ["-m", "venv", "--without-pip"];
    let made = std::process::Command::new("python3").args(make).arg(venv.path()).status();
    assert!(made.unwrap().success());
    let lib = std::fs::read_dir(venv.path().join("lib")).unwrap().next().unwrap().unwrap();
    let numpy = lib.path().join("site-packages/numpy");
    std::fs::create_dir(&numpy).unwrap();
    let code = "import os, time\ntime.sleep(0.1)\nfrom . import rest\nmade = os.getpid()\nhome = os.environ.get('LOOKED_AT')\n";
    std::fs::write(numpy.join("__init__.py"), code).unwrap();
    std::fs::write(numpy.join("rest.py"), "").unwrap();
    venv
}

#[test]
fn what_a_cell_loaded_last_time_is_loaded_before_the_next_fork_and_out_of_sight() {
    needs!("python3");
    let venv = environment();
    let code = |more: &str| {
        format!(
            "{more}\nimport os, sys\ndef f():\n    import numpy\n    return numpy\nhidden = 'numpy' not in sys.modules\n\
             n = f()\nprint(hidden, n.made == os.getpid(), n.home, n is sys.modules['numpy'], hasattr(n, 'rest'))"
        )
    };
    let write = |place: &Place, more: &str| {
        let code = code(more);
        let cell = |at| format!("[cells.c{at}]\nlang = \"python\"\ncode = '''\n{code}\n'''\n");
        place.write("polyloom.toml", (0..4).map(cell).collect::<String>());
    };
    let place = Place::flow("");
    let run = || {
        let words = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
        Told::ended(&place.call(&words).env("VIRTUAL_ENV", venv.path()).end())
    };
    write(&place, "");
    let first = run();
    assert_eq!(first.printed("c3"), "True True None True True\n");
    assert_eq!(first.0["c3"]["extras"]["loaded"], serde_json::json!(["numpy"]));
    if !possible(&first) {
        return;
    }
    // Edited: what it loaded is known by its name.
    write(&place, "edited = 1");
    let second = run();
    assert_eq!(second.printed("c3"), "True False None True True\n");
    assert_eq!(second.0["c3"]["extras"]["preloaded"], serde_json::json!(["numpy"]));
    assert!(second.0["c3"]["peak_memory"].as_u64() > Some(0));
    // It changes what a library may look at: it has none that was loaded before.
    write(&place, "import os; os.environ['LOOKED_AT'] = 'this'");
    let third = run();
    assert_eq!(third.printed("c3"), "True True this True True\n");
    assert!(third.0["c3"]["extras"].get("loaded").is_none());
}

#[test]
fn what_the_first_lines_name_makes_one_kind_of_cell_in_every_run() {
    needs!("python3");
    let venv = environment();
    let code = "import numpy\nimport os\nprint(numpy.made == os.getpid())";
    let place = row(&[code; 4]);
    for at in 0..4 {
        let words = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
        let run = Told::ended(&place.call(&words).env("VIRTUAL_ENV", venv.path()).end());
        if !possible(&run) {
            return;
        }
        let own = (0..4).filter(|at| run.printed(&format!("c{at}")) == "True\n").count();
        // The first one of a run alone, whatever the run before has told of what its cells loaded.
        assert_eq!(own, 1, "run {at}");
        // What a zygote took to be made is no part of the end of its first cell.
        let times = run.0.values().map(|meta| meta["times"].clone());
        let slow = |times: &Value, part: &str| times[part].as_f64().unwrap() > 90.0;
        let made: Vec<Value> = times.filter(|it| !slow(it, "run_ms")).collect();
        assert!(made.iter().any(|it| slow(it, "prepare_ms")), "{made:?}");
    }
}

#[test]
fn libraries_that_take_long_to_load_are_loaded_once_and_do_the_same() {
    let Some(venv) = libraries() else { return };
    // Below something, so that it is learnt; and first of all, so that it is read.
    let codes = [
        "def f():\n    import pandas as pd\n    return pd\npd = f()\n\
         print(pd.DataFrame({'a': [3, 1], 'b': ['x', 'y']}).sort_values('a').to_csv(), pd.Timestamp('2024-03-31 12:00', tz='Europe/Berlin'))",
        "import pyarrow as pa\nimport pyarrow.compute as pc\nt = pa.table({'a': [3, 1, 2]})\nprint(pc.sum(t['a']), t.sort_by('a')['a'].to_pylist())",
    ];
    let threads = "\nimport os, numpy\nprint(len(os.listdir('/proc/self/task')))\nprint(numpy.random.random(), end='')";
    let cell = |at: usize| {
        let code = codes[at / 4];
        format!(
            "[cells.c{at}]\nlang = \"python\"\nmemory = \"1GiB\"\ncode = '''\n{code}{threads}\n'''\n"
        )
    };
    let place = Place::flow(&(0..8).map(cell).collect::<String>());
    let run = || {
        let words = ["run", "--format", "jsonl", "--no-cache", "-j1", "-k"];
        Told::ended(&place.call(&words).env("VIRTUAL_ENV", &venv).end())
    };
    let first = run();
    let _ = run();
    let third = run();
    let mut draws = BTreeSet::new();
    for at in 0..8 {
        let cell = format!("c{at}");
        let (one, other) = (first.printed(&cell), third.printed(&cell));
        let apart = |text: &str| {
            let (rest, drawn) = text.rsplit_once('\n').unwrap();
            (rest.to_owned(), drawn.to_owned())
        };
        assert_eq!(apart(&one).0, apart(&other).0);
        draws.insert(apart(&one).1);
        draws.insert(apart(&other).1);
    }
    // No cell has the random numbers of another.
    assert_eq!(draws.len(), 16);
    if possible(&first) {
        let ahead = |cell: &str| third.0[cell]["extras"]["preloaded"].clone();
        let loaded = ["c0", "c1", "c2", "c3"].map(ahead);
        assert!(loaded.contains(&serde_json::json!(["pandas"])), "{loaded:?}");
    }
}

#[test]
fn what_a_cell_claims_to_have_loaded_is_no_more_than_a_name_of_a_list() {
    needs!("python3");
    let claim = "import sys\nfrom polyloom._shelf import SHELF\n\
        type(SHELF).loaded = lambda self: ['this', 'os', '../x', 'numpy,this', 'numpy\\0', 'numpy.' * 99, 'numpy.no.such'] * 99";
    let codes = |tail: &str| {
        let code = format!("{claim}\nimport os\nprint(os.getppid(), 'this' in sys.modules){tail}");
        let cell = |at| format!("[cells.c{at}]\nlang = \"python\"\ncode = '''\n{code}\n'''\n");
        (0..4).map(cell).collect::<String>()
    };
    let place = Place::flow(&codes(""));
    let run =
        || Told::ended(&place.polyloom(&["run", "--format", "jsonl", "--no-cache", "-j1", "-k"]));
    let first = run();
    place.write("polyloom.toml", codes("\nx = 1"));
    let second = run();
    if possible(&first) {
        assert_eq!(second.printed("c3"), format!("{ZYGOTE} False\n"));
    }
}
