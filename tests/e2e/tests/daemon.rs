//! What waits from one run to the next: that it is used, that nothing of a cell is in it, and that runs go on without it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use polyloom_test_e2e::{Ended, Place, eventually, groups_of_the_dead, is_root, needs, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What is made ahead is there by then.
const SOON: Duration = Duration::from_secs(30);

/// A place with a daemon, which ends with this.
struct Daemon<'p> {
    place: &'p Place,
    uid: Option<u32>,
}

impl<'p> Daemon<'p> {
    fn of(place: &'p Place, uid: Option<u32>) -> Self {
        let daemon = Self { place, uid };
        daemon.ask(&["start"]);
        daemon
    }

    fn ask(&self, words: &[&str]) -> Ended {
        let call = self.place.call(&[&["daemon"], words].concat());
        let call = match self.uid {
            Some(uid) => call.uid(uid),
            None => call,
        };
        call.end().exits(0)
    }

    fn status(&self) -> Value {
        self.ask(&["status", "--format", "json"]).json()["daemon"].clone()
    }

    fn count(&self, key: &str) -> u64 {
        self.status()[key].as_u64().unwrap()
    }

    /// Waits until something of this kind waits.
    fn awaits(&self, what: &str) {
        let there = || {
            let status = self.status();
            let waiting = status["waiting"].as_array().unwrap();
            status["making"] == false && waiting.iter().any(|it| it["what"] == what)
        };
        assert!(eventually(SOON, there), "{:#}", self.status());
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.count("pid") as i32).unwrap()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let call = self.place.call(&["daemon", "stop"]);
        let call = match self.uid {
            Some(uid) => call.uid(uid),
            None => call,
        };
        let _ = call.end();
    }
}

/// A flow of one Python cell with this code.
fn one(code: &str) -> Place {
    let place = Place::flow("[cells.a]\nlang = \"python\"\nfile = \"a.py\"\n");
    place.write("a.py", code);
    place
}

fn printed(place: &Place, code: &str, uid: Option<u32>) -> String {
    place.write("a.py", code);
    let call = place.call(&["run", "--format", "jsonl"]);
    let call = match uid {
        Some(uid) => call.uid(uid),
        None => call,
    };
    text(call.end().exits(0))
}

fn text(ended: Ended) -> String {
    let events = ended.json_lines();
    let finished = events.iter().find(|event| event["event"] == "step.finished");
    let finished = finished.unwrap_or_else(|| panic!("{}", ended.stderr()));
    finished["meta"]["stdout"]["text"].as_str().unwrap().to_owned()
}

/// What a cell waits in here.
fn kind(daemon: &Daemon<'_>, place: &Place) -> &'static str {
    // The first run has bytecode made for the second, which is in view of those that wait then.
    printed(place, "print(1)", daemon.uid);
    printed(place, "print(11)", daemon.uid);
    let any = || !daemon.status()["waiting"].as_array().unwrap().is_empty();
    assert!(eventually(SOON, any));
    let zygote = || {
        let status = daemon.status();
        status["waiting"].as_array().unwrap().iter().any(|it| it["what"] == "zygote")
    };
    if eventually(Duration::from_secs(5), zygote) { "zygote" } else { "worker" }
}

fn used(uid: Option<u32>) {
    let place = one("print(0)");
    if let Some(uid) = uid {
        place.give_to(uid);
    }
    let daemon = Daemon::of(&place, uid);
    let kind = kind(&daemon, &place);
    for at in 2..5 {
        daemon.awaits(kind);
        daemon.awaits("normaliser");
        let found = daemon.count("found");
        assert_eq!(printed(&place, &format!("print({at})"), uid), format!("{at}\n"));
        // The cell, and the normal form of its code.
        assert_eq!(daemon.count("found") - found, 2, "{:#}", daemon.status());
        assert_eq!(daemon.count("lent"), 0);
    }
}

#[test]
fn a_cell_after_an_edit_finds_what_waits() {
    needs!("python3");
    used(None);
}

#[test]
fn an_ordinary_users_cell_finds_what_waits() {
    needs!("python3");
    if !is_root() {
        return skip("it takes root to be another user");
    }
    used(Some(12345));
}

#[test]
fn nothing_of_a_run_is_in_the_next() {
    needs!("python3");
    let leave = "import builtins, os, sys\nbuiltins.MARK = sys.MARK = 'left'\nos.environ['MARK'] = 'left'\n\
                 open('/cell/tmp/mark', 'w').write('left')\nopen('/tmp/mark', 'w').write('left')\nprint('left')";
    let look = "import builtins, os, sys\nprint([hasattr(it, 'MARK') for it in (builtins, sys)], 'MARK' in os.environ, \
                os.listdir('/cell/tmp'), os.path.exists('/tmp/mark'), sorted(map(int, os.listdir('/proc/self/fd'))))";
    let place = one("print(0)");
    let cold = printed(&place, look, None);
    let daemon = Daemon::of(&place, None);
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    printed(&place, leave, None);
    daemon.awaits(kind);
    let found = daemon.count("found");
    assert_eq!(printed(&place, &format!("{look}\n"), None), cold);
    daemon.awaits(kind);
    assert_eq!(printed(&place, &format!("{look}\nimport json"), None), cold);
    assert!(daemon.count("found") > found);
}

#[test]
fn a_run_that_is_killed_leaves_nobody() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    place.write("a.py", "import time\nprint('here', flush=True)\ntime.sleep(987)");
    let mut run = place.call(&["run", "--format", "jsonl"]).start();
    run.until_printed("a", "here");
    assert!(daemon.count("lent") >= 1, "{:#}", daemon.status());
    run.signal(Signal::KILL);
    let _ = run.end();
    assert!(eventually(SOON, || daemon.count("lent") == 0));
    // The next run is served as ever, and sweeps away what the killed one's names say is its.
    daemon.awaits(kind);
    assert_eq!(printed(&place, "print(7)", None), "7\n");
    assert!(eventually(SOON, || groups_of_the_dead().is_empty()));
}

#[test]
fn a_daemon_that_is_killed_is_missed_by_nobody() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    let pid = daemon.pid();
    kill_process(pid, Signal::KILL).unwrap();
    let waiting = || place.processes().iter().any(|it| it.contains("python"));
    assert!(eventually(SOON, || !waiting()), "{:?}", place.processes());
    assert_eq!(printed(&place, "print(5)", None), "5\n");
    assert!(daemon.status().is_null());
    // Its socket is in nobody's way.
    daemon.ask(&["start"]);
    assert_ne!(daemon.pid(), pid);
}

#[test]
fn it_ends_once_nobody_has_anything_of_it() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let again = daemon.ask(&["start"]).stderr();
    assert!(again.contains("runs already"), "{again}");
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    place.write("a.py", "import time\nprint('here', flush=True)\ntime.sleep(2)\nprint('end')");
    let mut run = place.call(&["run", "--format", "jsonl"]).start();
    run.until_printed("a", "here");
    let told = daemon.ask(&["stop"]).stderr();
    assert!(told.contains("once the runs"), "{told}");
    let _ = run.end().exits(0);
    let gone = || !place.processes().iter().any(|it| it.contains("daemon"));
    assert!(eventually(SOON, gone), "{:?}", place.processes());
    assert!(daemon.ask(&["stop"]).stderr().contains("no daemon runs"));
    assert!(daemon.ask(&["status"]).stdout().contains("daemon start"));
}

#[test]
fn it_ends_by_itself_when_nobody_comes() {
    let place = one("print(0)");
    let _ = place.call(&["daemon", "start", "--idle", "300ms"]).end().exits(0);
    let gone = || !place.processes().iter().any(|it| it.contains("daemon"));
    assert!(eventually(SOON, gone), "{:?}", place.processes());
    assert!(!place.store().join("daemon").exists());
    let wrong = place.call(&["daemon", "start", "--idle", "soon"]).end().exits(2);
    assert!(wrong.stderr().contains("soon"), "{}", wrong.stderr());
}

#[test]
fn another_build_is_not_served_and_runs() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    kind(&daemon, &place);
    // The same program in another file is another build.
    let copy = place.root().join("polyloom");
    std::fs::copy(polyloom_test_e2e::binary(), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let wanted = daemon.count("wanted");
    place.write("a.py", "print(2)");
    let through = ["sh", "-c", "shift; exec \"$0\" \"$@\"", copy.to_str().unwrap()];
    let run = place.call_through(&through, &["run", "--format", "jsonl"]).end().exits(0);
    assert_eq!(text(run), "2\n");
    assert_eq!(daemon.count("wanted"), wanted);
}

#[test]
fn another_users_is_not_asked() {
    needs!("python3");
    if !is_root() {
        return skip("it takes root to be another user");
    }
    let place = one("print(0)");
    place.give_to(12345);
    let daemon = Daemon::of(&place, Some(12345));
    let wanted = daemon.count("wanted");
    // Root may open the socket; what is behind it is not root's.
    assert_eq!(printed(&place, "print(3)", None), "3\n");
    assert_eq!(daemon.count("wanted"), wanted);
    place.give_to(12345);
}

#[test]
fn runs_at_once_share_it() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    daemon.awaits("normaliser");
    // What a code imports first makes it another kind, where it is a zygote's.
    printed(&place, "import os\nprint(2)", None);
    let all = if kind == "zygote" { 3 } else { 2 };
    daemon.awaits(kind);
    assert!(daemon.status()["waiting"].as_array().unwrap().len() >= all);
    let code = "import os\nprint(len([p for p in os.listdir('/proc') if p.isdigit()]))";
    let found = daemon.count("found");
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6)
            .map(|at| {
                let file = format!("b{at}.flow.toml");
                let cell = format!(
                    "[cells.b]\nlang = \"python\"\ncode = '''\n{code}\n# {at}\nx = {at}\n'''\n"
                );
                place.write(&file, cell);
                let place = &place;
                scope.spawn(move || place.run(&[&file]).exits(0))
            })
            .collect();
        for run in runs {
            let run = run.join().unwrap();
            assert_eq!(run.outcome("b"), "ok");
        }
    });
    assert!(eventually(SOON, || daemon.count("lent") == 0));
    // One cell, and one question.
    assert!(daemon.count("found") >= found + 2, "{:#}", daemon.status());
}

#[test]
fn it_can_be_told_to_be_left_alone() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let _ = place.call(&["run"]).env("POLYLOOM_DAEMON", "off").end().exits(0);
    assert_eq!(daemon.count("wanted"), 0);
}

#[test]
fn a_cell_whose_lender_is_killed_runs_again_in_a_sandbox_of_its_own() {
    needs!("python3");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    // The same first lines as before: what waits is of its kind.
    place.write("a.py", "print('here', flush=True)\nimport time\ntime.sleep(1.5)\nprint('end')");
    let mut run = place.call(&["run", "--format", "jsonl"]).start();
    run.until_printed("a", "here");
    assert!(daemon.count("lent") >= 1, "{:#}", daemon.status());
    kill_process(daemon.pid(), Signal::KILL).unwrap();
    let ended = run.end().exits(0);
    assert!(ended.stdout().contains("end"), "{}", ended.stdout());
}

#[test]
fn what_a_run_hands_down_is_its_cells_own() {
    needs!("python3", "taskset");
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let kind = kind(&daemon, &place);
    daemon.awaits(kind);
    place.write("a.py", "import os\nprint(os.nice(0), len(os.sched_getaffinity(0)))");
    let through = ["nice", "-n", "7", "taskset", "-c", "0"];
    let run = place.call_through(&through, &["run", "--format", "jsonl"]).end().exits(0);
    assert_eq!(text(run), "7 1\n");
    let status = place.call_through(&through, &["daemon", "status"]).end().exits(0);
    assert!(status.stderr().contains("lends nothing"), "{}", status.stderr());
}

#[test]
fn starts_and_stops_in_a_row_and_at_once_are_all_fine() {
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    for _ in 0..3 {
        daemon.ask(&["stop"]);
        daemon.ask(&["start"]);
    }
    daemon.ask(&["stop"]);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(|| daemon.ask(&["start"]))).collect();
        all.into_iter().for_each(|one| drop(one.join().unwrap()));
    });
    assert!(daemon.count("pid") > 1);
}

#[test]
fn a_daemon_of_another_build_can_be_ended() {
    let place = one("print(0)");
    let daemon = Daemon::of(&place, None);
    let copy = place.root().join("polyloom");
    std::fs::copy(polyloom_test_e2e::binary(), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let through = ["sh", "-c", "shift; exec \"$0\" \"$@\"", copy.to_str().unwrap()];
    let told = place.call_through(&through, &["daemon", "start"]).end().exits(3).stderr();
    assert!(told.contains("another build") && told.contains("daemon stop"), "{told}");
    let _ = place.call_through(&through, &["daemon", "stop"]).end().exits(0);
    assert!(daemon.status().is_null());
}

#[test]
fn what_is_no_socket_is_not_taken_for_one() {
    needs!("mkfifo");
    let place = one("print(0)");
    let _ = place.call(&["run"]).end().exits(0);
    std::fs::write(place.store().join("daemon"), "precious").unwrap();
    let told = place.call(&["daemon", "start"]).end().exits(3).stderr();
    assert!(told.contains("something else"), "{told}");
    assert_eq!(std::fs::read(place.store().join("daemon")).unwrap(), b"precious");
    std::fs::remove_file(place.store().join("daemon")).unwrap();
    let _ = std::fs::remove_file(place.store().join("daemon.lock"));
    let lock = place.store().join("daemon.lock");
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let told = place.call(&["daemon", "start"]).end().exits(3).stderr();
    assert!(told.contains("lock"), "{told}");
}

#[test]
fn a_socket_that_answers_slowly_or_never_holds_no_run() {
    needs!("python3");
    let place = one("print(0)");
    let _ = place.call(&["run"]).end().exits(0);
    // A long message, a byte at a time; and nobody is ever let in.
    for code in [
        "s.listen(8)\nwhile True:\n c, _ = s.accept(); c.sendall(b'\\x00\\x02\\x00\\x00')\n try:\n  while True: c.sendall(b'x'); time.sleep(.1)\n except OSError: pass",
        "s.listen(0)\nk = []\nfor _ in range(9):\n c = socket.socket(socket.AF_UNIX); c.setblocking(False); c.connect_ex(sys.argv[1]); k.append(c)\ntime.sleep(99)",
    ] {
        let socket = place.store().join("daemon");
        let _ = std::fs::remove_file(&socket);
        let head =
            "import socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\n";
        let mut server = std::process::Command::new("python3");
        let mut server =
            server.args(["-c", &format!("{head}{code}")]).arg(&socket).spawn().unwrap();
        assert!(eventually(SOON, || socket.exists()));
        std::thread::sleep(Duration::from_millis(300));
        let began = std::time::Instant::now();
        let _ = place.call(&["run", "-F"]).end().exits(0);
        let took = began.elapsed();
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(took < Duration::from_secs(6), "{took:?}");
    }
}
