//! A live run's side of `attach` and `stop`: its socket, the record read while it is written, and what interrupts it.

use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_events::Sink;
use polyloom_report::Recording;
use polyloom_runtime::Word;
use polyloom_server::{Config, Feed, Recorded, Server, Stop};
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

    /// Opens the socket. A run without one is as good, so what is in the way is told only to who asks.
    pub fn open(&self, screen: Screen, stops: mpsc::Sender<Stop>) -> Option<Server> {
        let server = Server::open(Config {
            path: place(&self.history, &self.run),
            feed: self.feed.clone(),
            record: Arc::new(self.clone()),
            stops,
        });
        match server {
            Ok(server) => Some(server),
            Err(error) => {
                if screen.verbosity > 0 {
                    let why = Failure::of(Exit::Environment, &error).messages.join(": ");
                    let why = polyloom_report::escape_line(&why);
                    screen.tell(&format!("note: nobody can attach to this run: {why}\n"));
                }
                None
            }
        }
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

    /// Hears none: they are somebody else's.
    pub fn none() -> Self {
        Self(None)
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

/// A word for each signal, and for what clients ask: `stop` is one word however often it is said, `stop --now` makes it two.
pub async fn interrupts(
    mut signals: Signals,
    mut stops: mpsc::Receiver<Stop>,
    sender: mpsc::Sender<Word>,
) {
    let mut said: u32 = 0;
    loop {
        let words = tokio::select! {
            () = signals.next() => 1,
            Some(stop) = stops.recv() => match stop {
                Stop::Gracefully => 1_u32.saturating_sub(said),
                Stop::Now => 2_u32.saturating_sub(said),
            },
        };
        said = said.saturating_add(words);
        for _ in 0..words {
            if sender.send(Word::Interrupt).await.is_err() {
                return;
            }
        }
    }
}
