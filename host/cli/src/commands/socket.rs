//! A live run's side of `attach` and `stop`: its socket, the record read while it is written, and what interrupts it.

use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_events::Sink;
use polyloom_report::Recording;
use polyloom_server::{Config, Feed, Recorded, Server, Stop};
use polyloom_store::{History, RunWriter};
use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};
use crate::world::World;

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
    pub fn open(&self, world: &World, stops: mpsc::Sender<Stop>) -> Option<Server> {
        let server = Server::open(Config {
            path: place(&self.history, &self.run),
            feed: self.feed.clone(),
            record: Arc::new(self.clone()),
            stops,
        });
        match server {
            Ok(server) => Some(server),
            Err(error) => {
                if world.screen.verbosity > 0 {
                    let why = Failure::of(Exit::Environment, &error).messages.join(": ");
                    let why = polyloom_report::escape_line(&why);
                    world.screen.tell(&format!("note: nobody can attach to this run: {why}\n"));
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
        let mut log = self.history.read_events(&self.run).map_err(io::Error::other)?;
        log.seek(SeekFrom::Start(at))?;
        log.read(into)
    }
}

/// A word for each SIGINT, SIGTERM and SIGHUP, and for what clients ask: `stop` is one word however often it is said,
/// `stop --now` makes it two.
pub async fn interrupts(mut stops: mpsc::Receiver<Stop>, sender: mpsc::Sender<()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let streams = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut int), Ok(mut term), Ok(mut hup)] = streams.map(signal) else { return };
    let mut said: u32 = 0;
    loop {
        let words = tokio::select! {
            _ = int.recv() => 1,
            _ = term.recv() => 1,
            _ = hup.recv() => 1,
            Some(stop) = stops.recv() => match stop {
                Stop::Gracefully => 1_u32.saturating_sub(said),
                Stop::Now => 2_u32.saturating_sub(said),
            },
        };
        said = said.saturating_add(words);
        for _ in 0..words {
            if sender.send(()).await.is_err() {
                return;
            }
        }
    }
}
