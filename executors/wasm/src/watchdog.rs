//! Deadlines of guests, one after the other. Knows no guest: it changes the engine's epoch, and ends the process where that is not noticed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::{Engine, Trap};

use crate::EXIT_TRAP;

/// How long a guest has to notice the new epoch, before it counts as waiting.
const GRACE: Duration = Duration::from_millis(100);

/// A thread that watches the time.
pub(crate) struct Watchdog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When the present guest's time is over.
    due: Option<Instant>,
    /// When the thread looks again by itself.
    looks: Option<Instant>,
    over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchdog {
    pub(crate) fn new(engine: Engine) -> Self {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        std::thread::spawn(move || watch(&engine, &watched));
        Self(shared)
    }

    /// Gives the next guest so much time.
    pub(crate) fn arm(&self, time: Duration) {
        let due = Instant::now() + time;
        let mut state = self.0.state();
        state.due = Some(due);
        // To wake a thread for each guest would take longer than most guests do.
        if state.looks.is_none_or(|looks| looks > due) {
            self.0.changed.notify_one();
        }
    }

    /// The guest is at its end; whether it was in time. If not, this process is about to end.
    pub(crate) fn disarm(&self) -> bool {
        let mut state = self.0.state();
        state.due = None;
        !state.over
    }
}

/// Changes the epoch once a deadline is over: a guest that computes then traps where it is. One
/// that waits inside a system call does not notice (a sleep blocks this process's only other
/// thread), so the process is ended over its head a little later.
fn watch(engine: &Engine, shared: &Shared) {
    let mut state = shared.state();
    loop {
        let now = Instant::now();
        state.looks = state.due;
        state = match state.due {
            None => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(due) if due > now => {
                let waited = shared.changed.wait_timeout(state, due - now);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            Some(_) => break,
        };
    }
    state.over = true;
    drop(state);
    engine.increment_epoch();
    std::thread::sleep(GRACE);
    eprintln!("{}", Trap::Interrupt);
    std::process::exit(EXIT_TRAP.into());
}
