//! A live run's side of `attach` and `stop`: its socket, the record read while it is written, and what interrupts it.

use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_events::Sink;
use polyloom_report::{Recording, Terminal};
use polyloom_runtime::Word;
use polyloom_server::{Config, Feed, OpenError, Recorded, Server, Stop};
use polyloom_store::{History, RunWriter};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// The socket of a run, in its folder.
pub fn place(history: &History, run: &str) -> PathBuf {
    history.run_folder(run).join("socket")
}

/// A recorded run, as those who watch it need it.
#[derive(Clone)]
pub struct Watched {
    recording: Recording,
    feed: Feed,
    history: Arc<History>,
    run: String,
}

impl Watched {
    /// Begins the recording.
    pub fn new(history: &Arc<History>, writer: &RunWriter) -> Result<Self, Failure> {
        let log = writer.log().map_err(|error| Failure::of(Exit::Environment, &error))?;
        let recording = Recording::new(Box::new(BufWriter::new(log)));
        let run = writer.id().to_owned();
        Ok(Self { recording, feed: Feed::new(), history: Arc::clone(history), run })
    }

    /// The sinks it takes, in this order: what is counted has been recorded.
    pub fn sinks(&self) -> [Box<dyn Sink>; 2] {
        [Box::new(self.recording.clone()), Box::new(self.feed.clone())]
    }

    /// Writes what the record holds back.
    pub fn pass_on(&self) {
        self.recording.pass_on();
    }

    /// Opens the socket.
    pub fn open(&self, screen: Screen, stops: mpsc::Sender<Stop>) -> Option<Server> {
        let server = Server::open(Config {
            path: place(&self.history, &self.run),
            feed: self.feed.clone(),
            record: Arc::new(self.clone()),
            stops,
        });
        shown(screen, server, "attach to this run")
    }
}

impl Recorded for Watched {
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.recording.pass_on();
        // It ends with a whole line, whoever is writing just now.
        let mut log = self.history.read_log(&self.run).map_err(io::Error::other)?;
        log.seek(SeekFrom::Start(at))?;
        log.read(into)
    }
}

/// SIGINT, SIGTERM and SIGHUP, once somebody listens to them.
pub struct Signals(Option<[Signal; 3]>);

impl Signals {
    /// Listens, from inside of the async runtime.
    pub fn listen() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(int), Ok(term), Ok(hup)] = kinds.map(signal) else { return Self(None) };
        Self(Some([int, term, hup]))
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        let Some([int, term, hup]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
}

/// Signals, and what clients ask for. `stop` is one interrupt however often it is said, `stop --now` makes it two.
pub struct Interrupts {
    signals: Signals,
    stops: mpsc::Receiver<Stop>,
    said: u32,
}

impl Interrupts {
    /// Of these.
    pub fn new(signals: Signals, stops: mpsc::Receiver<Stop>) -> Self {
        Self { signals, stops, said: 0 }
    }

    /// Waits for the next, and gives how many interrupts that is.
    pub async fn next(&mut self) -> u32 {
        loop {
            let Self { signals, stops, said } = self;
            let words = tokio::select! {
                () = signals.next() => 1,
                Some(stop) = stops.recv() => match stop {
                    Stop::Gracefully => 1_u32.saturating_sub(*said),
                    Stop::Now => 2_u32.saturating_sub(*said),
                },
            };
            if words > 0 {
                *said = said.saturating_add(words);
                return words;
            }
        }
    }

    /// Passes each on to a run, to its end, and says on its screen what the first one does: cells may take their time.
    pub async fn pass_on(mut self, sender: mpsc::Sender<Word>, terminal: Terminal) {
        loop {
            let words = self.next().await;
            self.tell(&terminal);
            for _ in 0..words {
                if sender.send(Word::Interrupt).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Says on a run's screen what the last interrupt does, where it was the first.
    pub fn tell(&self, terminal: &Terminal) {
        if self.said == 1 {
            terminal.note("stopping; Ctrl-C again kills at once");
        }
    }
}

/// Where the sockets of those who watch the flows of a project are, a socket for each, by process id.
fn watches(history: &History) -> Option<PathBuf> {
    history.own_folder("watches").ok()
}

/// Those that somebody may listen to.
pub fn watchers(history: &History) -> Vec<PathBuf> {
    let folder = watches(history);
    let entries = folder.and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The command line of the watch whose socket this is, as its runs have it. Nothing where its process can't be seen, as from another container.
pub fn argv(watcher: &std::path::Path) -> Option<Vec<String>> {
    let process: u32 = watcher.file_name()?.to_str()?.parse().ok()?;
    let words = std::fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let words = words.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn own(history: &History) -> Option<PathBuf> {
    Some(watches(history)?.join(std::process::id().to_string()))
}

/// Whether this process has its socket there.
pub fn is_watched(history: &History) -> bool {
    own(history).is_some_and(|own| own.exists())
}

/// Opens the socket of this process, for as long as it watches. Nothing is recorded of a watch, only of its runs: who asks for events hears of the end.
/// To be called inside a tokio runtime.
pub fn watcher(history: &History, screen: Screen, stops: mpsc::Sender<Stop>) -> Option<Server> {
    struct Nothing;
    impl Recorded for Nothing {
        fn read(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    // Those who were killed left theirs.
    let is_socket =
        |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
    for path in watchers(history).into_iter().filter(is_socket) {
        let asked = std::os::unix::net::UnixStream::connect(&path);
        if asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = std::fs::remove_file(&path);
        }
    }
    let server = Server::open(Config {
        path: own(history)?,
        feed: Feed::new(),
        record: Arc::new(Nothing),
        stops,
    });
    shown(screen, server, "stop or attach to this watch")
}

/// What is in the way of a socket is told only to who asks: a run without one is as good.
fn shown(screen: Screen, server: Result<Server, OpenError>, what: &str) -> Option<Server> {
    let error = match server {
        Ok(server) => return Some(server),
        Err(error) => error,
    };
    if screen.verbosity > 0 {
        let why = Failure::of(Exit::Environment, &error).messages.join(": ");
        let why = polyloom_report::escape_line(&why);
        screen.tell(&format!("note: nobody can {what}: {why}\n"));
    }
    None
}
