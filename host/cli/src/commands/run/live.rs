//! The async runtime, and a run on it: shown, recorded, watched by others, interrupted.

use std::any::Any;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use polyloom_report::Terminal;
use polyloom_runtime::{Runner, Summary, Word};
use polyloom_server::Stop;
use tokio::sync::mpsc;

use super::exit_of;
use crate::commands::socket::Watched;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// Threads of the async runtime itself, beside the one that waits for it.
const WORKERS: usize = 2;
/// A thread for what waits for the disk is kept this long when there is nothing to do: another might not be had later.
const KEPT: Duration = Duration::from_secs(3600);

/// The async runtime and a first thread for what waits for the disk, where the machine has threads to give.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    runtime_of(WORKERS)
}

/// The same for one cell, which has no use for as many threads.
pub fn runtime_of_one() -> Result<tokio::runtime::Runtime, Failure> {
    runtime_of(1)
}

fn runtime_of(workers: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let held = Mutex::new(());
    let tried = std::thread::scope(|scope| {
        let _hold = held.lock();
        let thread = || {
            let waits = || drop(held.lock());
            std::thread::Builder::new().spawn_scoped(scope, waits).map(drop)
        };
        (0..=workers).try_for_each(|_| thread())
    });
    let none = |error: io::Error| {
        Failure::new(Exit::Environment, format!("no thread could be started: {error}"))
            .hint("`ulimit -u` and `pids.max` of the control group say how many there may be")
    };
    tried.map_err(none)?;
    // Others may have taken them since, and where the runtime gets no thread it panics: that is the machine's fault, too. What
    // it has begun by then can't be ended, only left.
    let build = || -> io::Result<_> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_keep_alive(KEPT)
            .enable_all()
            .build()
            .map(ManuallyDrop::new)?;
        let first = runtime.spawn_blocking(|| ());
        runtime.block_on(first).map_err(io::Error::other)?;
        Ok(runtime)
    };
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let built = std::panic::catch_unwind(build);
    std::panic::set_hook(told);
    let words = |why: Box<dyn Any + Send>| why.downcast_ref().cloned().unwrap_or_else(String::new);
    let built = built.unwrap_or_else(|why| Err(io::Error::other(words(why)))).map_err(none)?;
    Ok(ManuallyDrop::into_inner(built))
}

/// What shows a run.
pub struct Shown {
    pub terminal: Terminal,
    pub watched: Option<Watched>,
    pub screen: Screen,
    /// Where clients' wishes to stop go.
    pub stops: mpsc::Sender<Stop>,
}

impl Shown {
    /// Runs it, with ticks for the terminal and a socket for other terminals. `words` are what is said to it.
    pub async fn run(
        self,
        runner: Runner,
        words: mpsc::Receiver<Word>,
        keep_going: bool,
    ) -> Summary {
        let Self { terminal, watched, screen, stops } = self;
        let server = watched.as_ref().and_then(|watched| watched.open(screen, stops));
        let ticks = tokio::spawn(async move {
            let started = Instant::now();
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                tick.tick().await;
                terminal.tick(started.elapsed().as_secs_f64() * 1e3);
                if let Some(watched) = &watched {
                    watched.pass_on();
                }
            }
        });
        // Among the tasks that it hears of: nothing that one says has to wake another thread.
        let summary = tokio::spawn(runner.run(words)).await;
        ticks.abort();
        let summary = summary.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        if let Some(server) = server {
            server.finish(exit_of(&summary, keep_going) as u8).await;
        }
        summary
    }
}
