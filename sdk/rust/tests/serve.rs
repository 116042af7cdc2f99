//! An executor over a socket pair, with a small host on the other end that checks the conversation.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread::{JoinHandle, spawn};

use polyloom_protocol::frame::{Decoder, PREAMBLE};
use polyloom_protocol::messages::host::{
    Cancel, Complete, Credit, Describe, Encoding, Exec, Forget, HelloNo, HelloOk, Input, Load,
    Ping, Prepare, Reset, Restore, Save, Shutdown, Snapshot,
};
use polyloom_protocol::npy::Npy;
use polyloom_protocol::state::State;
use polyloom_protocol::{Accept, Conversation, FromHost, FromWorker};
use polyloom_sdk::{
    About, Completions, Context, Dtype, Executor, Failure, LogLevel, Saved, ServeError, Unsaved,
    Value, serve_on,
};

/// Its cells say what to do in a word.
#[derive(Default)]
struct Sample(Vec<String>);

impl Executor for Sample {
    fn describe(&self) -> About {
        let mut about = About::new("sample", "1");
        let also = ["session", "snapshot", "kept", "prepare", "catalog", "complete", "durable"];
        about.features.extend(also.map(str::to_owned));
        about
    }

    fn reset(&mut self) {
        self.0.push("reset".to_owned());
    }

    fn prepare(&mut self, code: &str) {
        self.0.push(format!("prepare {code}"));
    }

    fn snapshot(&mut self, name: &str) -> Result<(), Failure> {
        self.0.push(format!("snapshot {name}"));
        Ok(())
    }

    fn restore(&mut self, name: &str) -> Result<(), Failure> {
        self.0.push(format!("restore {name}"));
        if name == "a" { Ok(()) } else { Err(Failure::new(format!("no snapshot `{name}`"))) }
    }

    fn forget(&mut self, name: &str) -> Result<(), Failure> {
        self.0.push(format!("forget {name}"));
        Ok(())
    }

    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        let begun: String = code.chars().take(cursor).collect();
        let found = self.0.iter().filter(|word| word.starts_with(&begun)).cloned().collect();
        let open = code.ends_with('(');
        Completions { start: 0, end: begun.chars().count() as u32, matches: found, open }
    }

    fn save(&mut self, out: &Path) -> Result<Saved, Failure> {
        fs::write(out.join("words"), self.0.join(","))?;
        let why = Unsaved { name: "socket".into(), why: "it is open".into() };
        Ok(Saved { saved: self.0.clone(), unsaved: vec![why] })
    }

    fn load(&mut self, path: &Path) -> Result<Saved, Failure> {
        let words = fs::read_to_string(path.join("words"))?;
        self.0 = words.split(',').map(str::to_owned).collect();
        Ok(Saved { saved: self.0.clone(), unsaved: Vec::new() })
    }

    fn catalog(&mut self) -> Result<Vec<BTreeMap<String, Value>>, Failure> {
        let value = match self.0.last().map_or("", String::as_str) {
            "prepare none" => return Err(Failure::new("none is known")),
            "prepare deep" => (0..40).fold(Value::Null, |value, _| Value::List(vec![value])),
            "prepare large" => Value::from("x".repeat(1 << 20)),
            "prepare many" => Value::List(vec![Value::Null; 65_536]),
            _ => Value::Int(1),
        };
        Ok(vec![[("is".to_owned(), value)].into()])
    }

    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        match &*exec.cell {
            "double" => {
                let Value::Int(n) = cx.read_value("n")? else { return Err(Failure::new("no int")) };
                cx.extra("seen", Value::Int(n));
                cx.write_value("n", &Value::Int(2 * n))?;
                cx.write_tensor("t", Dtype::F64, &[1], &2.5f64.to_le_bytes())
            }
            "chatty" => {
                for _ in 0..20 {
                    cx.log(LogLevel::Info, &"ü".repeat(20_000));
                }
                cx.progress(Some(f64::NAN), "still here");
                cx.display("text/plain", b"hi")
            }
            "waits" => {
                while !cx.cancelled() {
                    std::thread::yield_now();
                }
                Err(Failure::new("stopped"))
            }
            "heard" => {
                cx.session_changed();
                cx.extra("heard", Value::from(self.0.join(", ")));
                Ok(())
            }
            "text" => {
                let text = String::from_utf8(cx.read_text("n")?)?;
                cx.progress(Some(0.5), "half");
                cx.extra("text", Value::from(text));
                Ok(())
            }
            "compiles" => {
                let mut compiler = Command::new("sh");
                compiler
                    .args(["-c", "echo a.x:3:7: warning: odd >&2; echo a.x:4: wrong >&2; exit $0"]);
                compiler.arg(&exec.argv[0]);
                let mut program = Command::new("sh");
                program.args(["-c", "sleep 60 & sleep 60 & exit $0", &exec.argv[1]]);
                cx.compile_and_run(&mut compiler, &mut program)
            }
            "sleeps" => {
                let mut program = Command::new("sh");
                program.args(["-c", "sleep 61; exit 0"]);
                cx.run(&mut program).map(|_| ())
            }
            "missing" => cx.run(&mut Command::new("/no/such/program")).map(|_| ()),
            "misfit" => cx.write_tensor("t", Dtype::F64, &[2], &[0; 8]),
            _ => Err(Failure::new("no such cell").at_line(3)),
        }
    }
}

/// The other end.
struct Host {
    stream: UnixStream,
    decoder: Decoder,
    talk: Conversation,
    worker: JoinHandle<Result<(), ServeError>>,
}

impl Host {
    fn start() -> Self {
        let (mut stream, theirs) = UnixStream::pair().unwrap();
        let worker = spawn(move || serve_on(theirs, Sample::default()));
        stream.write_all(&PREAMBLE).unwrap();
        let (decoder, talk) = (Decoder::new(), Conversation::new());
        let mut host = Self { stream, decoder, talk, worker };
        assert!(matches!(host.receive(), FromWorker::Hello(_)));
        host
    }

    fn ready() -> Self {
        Self::agreed(&["progress", "display"])
    }

    fn agreed(features: &[&str]) -> Self {
        let mut host = Self::start();
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        host.send(0, FromHost::HelloOk(HelloOk { major: 1, minor: 0, features }));
        host
    }

    fn send(&mut self, exec: u64, message: FromHost) {
        self.talk.on_send(&message, exec).unwrap();
        self.stream.write_all(&message.encode(exec).unwrap()).unwrap();
    }

    fn receive(&mut self) -> FromWorker {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                match self.talk.on_frame(&frame).unwrap() {
                    Accept::Deliver(message) => return message,
                    Accept::Late | Accept::Skip => continue,
                }
            }
            let mut buffer = [0; 4096];
            let length = self.stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the worker ended");
            self.decoder.feed(&buffer[..length]);
        }
    }

    /// Everything up to `Done`.
    fn until_done(&mut self) -> Vec<FromWorker> {
        let mut out = Vec::new();
        loop {
            out.push(self.receive());
            if let Some(FromWorker::Done(_)) = out.last() {
                return out;
            }
        }
    }

    fn exec(&mut self, id: u64, cell: &str, folder: &Path) {
        self.exec_with(id, cell, folder, &[]);
    }

    fn exec_with(&mut self, id: u64, cell: &str, folder: &Path, argv: &[&str]) {
        let path = folder.join("n.msgpack").to_string_lossy().into_owned();
        let input = Input {
            r#type: "int".into(),
            path,
            encoding: Encoding::Msgpack,
            media: None,
            value: None,
        };
        let exec = Exec {
            cell: cell.into(),
            code: "/cell/code/a.txt".into(),
            inputs: [("n".to_owned(), input)].into(),
            outputs: [].into(),
            out: folder.join("out").to_string_lossy().into_owned(),
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            ..Exec::default()
        };
        self.send(id, FromHost::Exec(exec));
    }

    fn finish(mut self) {
        self.send(0, FromHost::Shutdown(Shutdown { grace_ms: 100 }));
        self.worker.join().unwrap().unwrap();
    }
}

fn names(messages: &[FromWorker]) -> Vec<&str> {
    messages.iter().map(FromWorker::name).collect()
}

#[test]
fn a_cell_reads_inputs_and_writes_outputs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("n.msgpack"), Value::Int(21).to_msgpack()).unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut host = Host::ready();
    host.exec(7, "double", folder.path());
    let messages = host.until_done();
    assert_eq!(names(&messages), ["Started", "Done"]);
    let Some(FromWorker::Done(done)) = messages.last() else { panic!("no done") };
    assert!(done.ok && done.extras == [("seen".to_owned(), Value::Int(21))].into());
    let n = Value::from_canonical(&fs::read(out.join("n.msgpack")).unwrap());
    assert_eq!(n, Ok(Value::Int(42)));
    let tensor = fs::read(out.join("t.npy")).unwrap();
    assert_eq!(tensor[Npy::parse(&tensor).unwrap().data..], 2.5f64.to_le_bytes());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "no half-written file is left");
    host.finish();
}

#[test]
fn failures_become_diagnostics_and_the_worker_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::ready();
    for (id, cell, line) in [(1, "nonsense", Some(3)), (2, "misfit", None), (3, "double", None)] {
        host.exec(id, cell, folder.path());
        let messages = host.until_done();
        assert_eq!(names(&messages), ["Started", "Diagnostic", "Done"]);
        let [_, FromWorker::Diagnostic(found), FromWorker::Done(done)] = &messages[..] else {
            panic!("other messages")
        };
        assert!(!done.ok);
        assert_eq!((found.line, found.file.as_deref()), (line, Some("/cell/code/a.txt")));
    }
    host.finish();
}

#[test]
fn a_worker_without_credit_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::ready();
    host.exec(1, "chatty", folder.path());
    // 20 logs of 40 kB are three times the first credit. `receive` fails on any overrun.
    let mut logged = 0;
    loop {
        match host.receive() {
            FromWorker::Log(log) => {
                logged += log.text.len();
                if let State::Busy(running) = host.talk.state()
                    && running.credit < 64 << 10
                {
                    host.send(1, FromHost::Credit(Credit { bytes: 128 << 10 }));
                }
            }
            FromWorker::Progress(progress) => assert_eq!(progress.fraction, None),
            FromWorker::Done(done) => break assert!(done.ok),
            _ => {}
        }
    }
    assert_eq!(logged, 20 * 40_000);
    host.finish();
}

#[test]
fn a_cancelled_cell_ends_with_its_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::ready();
    host.exec(1, "waits", folder.path());
    assert!(matches!(host.receive(), FromWorker::Started(_)));
    host.send(1, FromHost::Cancel(Cancel { grace_ms: 1000 }));
    assert_eq!(names(&host.until_done()), ["Diagnostic", "Done"]);
    host.send(0, FromHost::Ping(Ping { n: 9 }));
    assert!(matches!(host.receive(), FromWorker::Pong(pong) if pong.n == 9));
    host.exec(2, "waits", folder.path());
    host.send(0, FromHost::Shutdown(Shutdown { grace_ms: 1000 }));
    host.until_done();
    host.worker.join().unwrap().unwrap();
}

#[test]
fn refusal_and_silence_end_the_worker() {
    let mut host = Host::start();
    let no = HelloNo { reason: "too old".into(), supported: Vec::new() };
    host.send(0, FromHost::HelloNo(no));
    let error = host.worker.join().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "host refused: too old");

    let host = Host::ready();
    drop(host.stream);
    host.worker.join().unwrap().unwrap();
}

#[test]
fn a_host_that_breaks_the_protocol_is_told() {
    let mut host = Host::ready();
    host.stream.write_all(&[0xff; 16]).unwrap();
    let FromWorker::Error(error) = host.receive() else { panic!("no error") };
    assert_eq!(error.code, "reserved_bits");
    assert!(matches!(host.worker.join().unwrap(), Err(ServeError::Violation(_))));
}

#[test]
fn what_was_not_agreed_to_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("n.msgpack"), Value::Int(21).to_msgpack()).unwrap();
    for (features, wanted) in
        [(&["progress"][..], &["Started", "Progress", "Done"][..]), (&[], &["Started", "Done"])]
    {
        let mut host = Host::agreed(features);
        host.exec(1, "text", folder.path());
        let messages = host.until_done();
        assert_eq!(names(&messages), wanted);
        let Some(FromWorker::Done(done)) = messages.last() else { panic!("no done") };
        assert_eq!(done.extras["text"], Value::from("21".to_owned()));
        host.finish();
    }
}

#[test]
fn a_catalog_is_what_a_host_takes_or_an_error() {
    for (what, wanted) in [
        ("fine", Ok(Value::Int(1))),
        ("none", Err("none is known")),
        ("deep", Err("nesting is deeper than 32")),
        ("large", Err("is 1048595 bytes, the cap is 1048576")),
        ("many", Err("more than 65536 values")),
    ] {
        let mut host = Host::agreed(&["catalog", "prepare"]);
        host.send(0, FromHost::Prepare(Prepare { code: what.into() }));
        host.send(0, FromHost::Describe(Describe {}));
        match (host.receive(), wanted) {
            (FromWorker::Catalog(catalog), Ok(value)) => {
                assert_eq!(catalog.entries, [[("is".to_owned(), value)].into()]);
                host.finish();
            }
            (FromWorker::Error(error), Err(words)) => {
                assert_eq!(error.code, "catalog");
                assert!(error.text.contains(words), "{what}: {}", error.text);
                let ended = host.worker.join().unwrap();
                assert!(matches!(ended, Err(ServeError::Catalog(_))), "{what}");
            }
            (message, _) => panic!("{what}: {message:?}"),
        }
    }
}

#[test]
fn sessions_are_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::agreed(&["session", "snapshot", "prepare"]);
    host.send(0, FromHost::Prepare(Prepare { code: "/c".into() }));
    host.send(0, FromHost::Snapshot(Snapshot { name: "a".into() }));
    host.send(0, FromHost::Reset(Reset {}));
    host.send(0, FromHost::Restore(Restore { name: "a".into() }));
    host.exec(1, "heard", folder.path());
    let messages = host.until_done();
    let Some(FromWorker::Done(done)) = messages.last() else { panic!("no done") };
    let heard = "prepare /c, snapshot a, reset, restore a".to_owned();
    assert_eq!(done.extras["heard"], Value::from(heard));
    assert!(done.session_changed);
    host.finish();
}

#[test]
fn a_host_that_wants_to_know_hears_what_was_kept() {
    let mut host = Host::agreed(&["session", "snapshot", "kept"]);
    host.send(0, FromHost::Snapshot(Snapshot { name: "a".into() }));
    host.send(0, FromHost::Restore(Restore { name: "b".into() }));
    host.send(0, FromHost::Forget(Forget { name: "a".into() }));
    for (name, ok, reason) in [("a", true, ""), ("b", false, "no snapshot `b`"), ("a", true, "")] {
        let FromWorker::Kept(kept) = host.receive() else { panic!("not kept") };
        assert_eq!((&*kept.name, kept.ok, &*kept.reason), (name, ok, reason));
    }
    host.finish();
}

#[test]
fn what_cells_left_is_completed_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_string_lossy().into_owned();
    let mut host = Host::agreed(&["session", "prepare", "complete", "durable"]);
    host.send(0, FromHost::Prepare(Prepare { code: "größe".into() }));
    host.send(0, FromHost::Complete(Complete { code: "prepare grö(".into(), cursor: 11 }));
    let FromWorker::Completions(found) = host.receive() else { panic!("no completions") };
    assert_eq!((found.start, found.end, found.open), (0, 11, true));
    assert_eq!(found.matches, ["prepare größe"]);

    host.send(0, FromHost::Save(Save { out: place.clone() }));
    let FromWorker::Saved(saved) = host.receive() else { panic!("not saved") };
    assert_eq!(saved.saved, ["prepare größe"]);
    assert_eq!((&*saved.unsaved[0].name, &*saved.unsaved[0].why), ("socket", "it is open"));

    host.send(0, FromHost::Reset(Reset {}));
    host.send(0, FromHost::Load(Load { path: place }));
    let FromWorker::Saved(loaded) = host.receive() else { panic!("not loaded") };
    assert_eq!((loaded.saved.len(), loaded.unsaved.len()), (1, 0));
    host.exec(1, "heard", folder.path());
    let messages = host.until_done();
    let Some(FromWorker::Done(done)) = messages.last() else { panic!("no done") };
    assert_eq!(done.extras["heard"], Value::from("prepare größe"));

    // What is no state is told, and ends the executor.
    host.send(0, FromHost::Load(Load { path: "/no/such/folder".into() }));
    let FromWorker::Error(error) = host.receive() else { panic!("no error") };
    assert_eq!(error.code, "durable");
    assert!(error.text.contains("No such file"), "{}", error.text);
    assert!(matches!(host.worker.join().unwrap(), Err(ServeError::Durable(_))));
}

#[test]
fn compilers_are_read_and_programs_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::ready();
    // Exit codes of the compiler and the program, and what is told: the line and the beginning of each message.
    type Told = (Option<u32>, &'static str);
    let ways: [(&[&str], &[Told], bool); 3] = [
        (&["0", "0"], &[(Some(3), "odd"), (Some(4), "wrong")], true),
        (&["1", "0"], &[(Some(3), "odd"), (Some(4), "wrong")], false),
        (
            &["0", "3"],
            &[(Some(3), "odd"), (Some(4), "wrong"), (None, "the program ended with exit")],
            false,
        ),
    ];
    for (at, (argv, wanted, ok)) in ways.into_iter().enumerate() {
        host.exec_with(at as u64 + 1, "compiles", folder.path(), argv);
        let began = std::time::Instant::now();
        let messages = host.until_done();
        // `sleep 60` in the background is ended with its group.
        assert!(began.elapsed().as_secs() < 20, "{argv:?}");
        let told: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                FromWorker::Diagnostic(told) => Some((told.line, told.message.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), wanted.len(), "{told:?}");
        for ((line, text), (wanted_line, wanted_text)) in told.iter().zip(wanted) {
            assert_eq!(line, wanted_line);
            assert!(text.starts_with(wanted_text), "{text}");
        }
        let Some(FromWorker::Done(done)) = messages.last() else { panic!("no done") };
        assert_eq!(done.ok, ok, "{argv:?}");
    }
    host.exec(9, "missing", folder.path());
    let messages = host.until_done();
    let FromWorker::Diagnostic(told) = &messages[1] else { panic!("no diagnostic") };
    assert!(told.message.contains("can't start `/no/such/program`"), "{}", told.message);
    host.exec(10, "sleeps", folder.path());
    assert!(matches!(host.receive(), FromWorker::Started(_)));
    std::thread::sleep(std::time::Duration::from_millis(50));
    host.send(10, FromHost::Cancel(Cancel { grace_ms: 1000 }));
    assert_eq!(names(&host.until_done()), ["Diagnostic", "Done"]);
    host.finish();
}
