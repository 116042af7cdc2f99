//! A run's socket from outside: watching, stopping, and clients that behave badly.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up may panic")]

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polyloom_events::{Event, Record, Sink};
use polyloom_server::{
    Answer, AttachError, Client, Config, Feed, GRACE, MAX_CLIENTS, MAX_REQUEST, OpenError,
    Recorded, Request, Server, Stop,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A record in memory.
#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl Recorded for Log {
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let log = self.0.lock().unwrap();
        let rest = &log[usize::try_from(at).unwrap()..];
        let size = rest.len().min(into.len());
        into[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }
}

/// A run that says what it is told to.
struct Run {
    folder: TempDir,
    log: Arc<Log>,
    feed: Feed,
    seq: u64,
    server: Server,
    stops: mpsc::Receiver<Stop>,
}

impl Run {
    fn new() -> Self {
        Self::in_folder(TempDir::new().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let (log, feed) = (Arc::new(Log::default()), Feed::new());
        let (sender, stops) = mpsc::channel(1);
        let server = Server::open(Config {
            path: folder.path().join("socket"),
            feed: feed.clone(),
            record: log.clone(),
            stops: sender,
        });
        Self { server: server.unwrap(), folder, log, feed, seq: 0, stops }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn say(&mut self, text: &str) {
        self.seq += 1;
        let event = Event::Warning { text: text.to_owned() };
        let record = Record { seq: self.seq, at_ms: 0.5, event };
        let mut line = serde_json::to_vec(&record).unwrap();
        line.push(b'\n');
        self.log.0.lock().unwrap().extend(line);
        self.feed.record(&record);
    }

    async fn watch(&self, from: u64) -> Client {
        Client::connect(&self.path(), Request::Watch { from }).await.unwrap()
    }

    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path()).await.unwrap();
        // It may hang up before it has read all.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

/// Numbers of the next records.
async fn numbers(client: &mut Client, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match client.next().await.unwrap().unwrap() {
            Answer::Record(line) => seen.push(Answer::record(&line).unwrap().seq),
            other => panic!("{other:?} after {seen:?}"),
        }
    }
    seen
}

async fn exit(client: &mut Client) -> u8 {
    match client.next().await.unwrap().unwrap() {
        Answer::Ended { exit } => exit,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_comes_late_sees_everything_once_and_in_order() {
    let mut run = Run::new();
    let mut early = run.watch(1).await;
    for i in 0..1000 {
        run.say(&format!("{i}"));
    }
    let mut late = run.watch(1).await;
    let mut part = run.watch(998).await;
    assert_eq!(numbers(&mut late, 1000).await, (1..=1000).collect::<Vec<_>>());
    assert_eq!(numbers(&mut part, 3).await, [998, 999, 1000]);
    for i in 0..1000 {
        run.say(&format!("{i} again"));
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&mut early, 2000).await, (1..=2000).collect::<Vec<_>>());
    assert_eq!(numbers(&mut late, 1000).await, (1001..=2000).collect::<Vec<_>>());
    let path = run.path();
    run.server.finish(5).await;
    for client in [&mut early, &mut late] {
        assert_eq!(exit(client).await, 5);
        assert!(client.next().await.unwrap().is_none());
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn a_client_that_was_away_goes_on_where_it_was() {
    let mut run = Run::new();
    let mut next = 1;
    for round in 0..20 {
        run.say("one");
        run.say("two");
        let mut client = run.watch(next).await;
        // Now and then it leaves with an event unread.
        let seen = numbers(&mut client, if round % 3 == 0 { 1 } else { 2 }).await;
        assert_eq!(seen[0], next);
        next += seen.len() as u64;
    }
    let mut client = run.watch(next).await;
    assert_eq!(numbers(&mut client, usize::try_from(41 - next).unwrap()).await.last(), Some(&40));
}

#[tokio::test]
async fn a_number_to_come_is_waited_for() {
    let mut run = Run::new();
    let mut client = run.watch(3).await;
    run.say("one");
    run.say("two");
    run.say("three");
    assert_eq!(numbers(&mut client, 1).await, [3]);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let mut run = Run::new();
    let mut deaf = run.watch(1).await;
    let text = "x".repeat(10_000);
    let start = Instant::now();
    for _ in 0..2000 {
        run.say(&text);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut client = run.watch(1).await;
    assert_eq!(numbers(&mut client, 2000).await.last(), Some(&2000));
    let start = Instant::now();
    let path = run.path();
    run.server.finish(0).await;
    assert!(start.elapsed() < GRACE * 3, "{:?}", start.elapsed());
    assert!(!path.exists());
    assert_eq!(exit(&mut client).await, 0);
    // What it had not taken in time is in the record; it is told by the missing end.
    let mut seen = 0;
    while let Ok(Some(answer)) = deaf.next().await {
        assert!(matches!(answer, Answer::Record(_)));
        seen += 1;
    }
    assert!(seen < 2000);
}

#[tokio::test]
async fn a_run_that_ends_lets_its_clients_take_the_rest() {
    let mut run = Run::new();
    let mut client = run.watch(1).await;
    let text = "x".repeat(10_000);
    for _ in 0..500 {
        run.say(&text);
    }
    let end = tokio::spawn(run.server.finish(1));
    assert_eq!(numbers(&mut client, 500).await.last(), Some(&500));
    assert_eq!(exit(&mut client).await, 1);
    end.await.unwrap();
}

#[tokio::test]
async fn a_wish_to_stop_is_passed_on_and_answered_with_the_end() {
    let mut run = Run::new();
    for stop in [Stop::Gracefully, Stop::Now, Stop::Now] {
        let mut client = Client::connect(&run.path(), Request::Stop(stop)).await.unwrap();
        assert_eq!(run.stops.recv().await, Some(stop));
        assert!(matches!(client.next().await.unwrap(), Some(Answer::Stopping)));
    }
    let mut client = Client::connect(&run.path(), Request::Stop(Stop::Now)).await.unwrap();
    assert_eq!(run.stops.recv().await, Some(Stop::Now));
    run.say("stopped");
    run.server.finish(130).await;
    assert!(matches!(client.next().await.unwrap(), Some(Answer::Stopping)));
    assert_eq!(exit(&mut client).await, 130);
}

#[tokio::test]
async fn nonsense_is_answered_and_the_run_goes_on() {
    let mut run = Run::new();
    run.say("one");
    let long = vec![b'['; MAX_REQUEST + 1];
    for (request, said) in [
        (&b"\n"[..], "the request is no JSON object"),
        (b"\xff\xfe\0\n", "the request is no JSON object"),
        (b"GET / HTTP/1.1\r\n\r\n", "the request is no JSON object"),
        (br#"{"schema":"polyloom.attach/1","from":18446744073709551616}"#, ""),
        (b"{\"schema\":\"polyloom.attach/9\"}\n", "the schema of the request"),
        (&long, "longer than 4096 bytes"),
    ] {
        // The one without an end gets no answer before it hangs up.
        if said.is_empty() {
            let mut stream = UnixStream::connect(run.path()).await.unwrap();
            stream.write_all(request).await.unwrap();
            continue;
        }
        let answer = run.raw(request).await;
        assert!(answer.starts_with("{\"error\":\"") && answer.contains(said), "{answer}");
        assert_eq!(answer.lines().count(), 1);
    }
    // Talking after the request ends the conversation.
    let answer = run.raw(b"{\"schema\":\"polyloom.attach/1\"}\nmore").await;
    assert!(answer.starts_with("{\"seq\":1,") && answer.lines().count() == 1, "{answer}");
    assert_eq!(numbers(&mut run.watch(1).await, 1).await, [1]);
}

#[tokio::test]
async fn only_so_many_clients_are_let_in() {
    let mut run = Run::new();
    run.say("one");
    let mut clients = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = run.watch(1).await;
        numbers(&mut client, 1).await;
        clients.push(client);
    }
    let error = run.watch(1).await.next().await.unwrap_err();
    assert!(matches!(error, AttachError::Refused(text) if text.contains("16 clients")));
    // Whoever leaves makes room, also while the run is silent.
    clients.clear();
    let mut seen = false;
    for _ in 0..1000 {
        if let Ok(Some(Answer::Record(_))) = run.watch(1).await.next().await {
            seen = true;
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(seen);
}

#[tokio::test]
async fn a_record_that_breaks_off_is_told() {
    let mut run = Run::new();
    run.say("one");
    let lost = Record { seq: 2, at_ms: 1.0, event: Event::Warning { text: "lost".into() } };
    run.feed.record(&lost);
    let mut client = run.watch(1).await;
    assert_eq!(numbers(&mut client, 1).await, [1]);
    let error = client.next().await.unwrap_err();
    assert!(
        matches!(error, AttachError::Refused(text) if text == "the record ends before event 2")
    );
}

#[tokio::test]
async fn the_socket_is_its_users_alone() {
    let run = Run::new();
    let mode = std::fs::metadata(run.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn places_that_hold_no_socket_are_told() {
    let folder = TempDir::new().unwrap();
    let open = |path: PathBuf| {
        let stops = mpsc::channel(1).0;
        let record = Arc::new(Log::default());
        Server::open(Config { path, feed: Feed::new(), record, stops }).unwrap_err()
    };
    let long = open(folder.path().join("x".repeat(120)));
    assert!(matches!(long, OpenError::TooLong { .. }), "{long:?}");
    std::fs::write(folder.path().join("file"), "").unwrap();
    let beneath = open(folder.path().join("file/socket"));
    assert!(matches!(beneath, OpenError::Open { .. }), "{beneath:?}");
}

#[tokio::test]
async fn nobody_behind_a_socket_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("socket");
    let watch = Request::Watch { from: 1 };
    let error = Client::connect(&path, watch).await.unwrap_err();
    assert!(matches!(error, AttachError::Connect { .. }), "{error:?}");
    // As a run that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let error = Client::connect(&path, watch).await.unwrap_err();
    assert!(matches!(error, AttachError::Connect { .. }), "{error:?}");
}
