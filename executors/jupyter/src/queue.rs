//! What came from a kernel's sockets and was not looked at yet. A kernel throws away what it publishes when nobody takes it, so it is taken as it comes, up to
//! a bound. Knows no message.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that are held before nothing more is taken.
const MOST: usize = 64 << 20;
/// What an entry takes besides its bytes.
const ENTRY: usize = 256;

/// A queue that many fill and one empties.
pub struct Queue<T> {
    held: Mutex<Held<T>>,
    changed: Condvar,
}

struct Held<T> {
    entries: VecDeque<(usize, T)>,
    bytes: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        let held = Held { entries: VecDeque::new(), bytes: 0, closed: false };
        Self { held: Mutex::new(held), changed: Condvar::new() }
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry of that many bytes once there is room. Whether anybody will take it.
    pub fn push(&self, bytes: usize, entry: T) -> bool {
        let full = |held: &mut Held<T>| held.bytes >= MOST && !held.closed;
        let waited = self.changed.wait_while(self.held(), full);
        let mut held = waited.unwrap_or_else(PoisonError::into_inner);
        held.bytes += bytes + ENTRY;
        held.entries.push_back((bytes + ENTRY, entry));
        self.changed.notify_all();
        !held.closed
    }

    /// Takes the first entry, if there is one within `wait`.
    pub fn pop(&self, wait: Duration) -> Option<T> {
        let empty = |held: &mut Held<T>| held.entries.is_empty();
        let waited = self.changed.wait_timeout_while(self.held(), wait, empty);
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (bytes, entry) = held.entries.pop_front()?;
        held.bytes -= bytes;
        self.changed.notify_all();
        Some(entry)
    }

    /// Nobody will take anything any more.
    pub fn close(&self) {
        let mut held = self.held();
        held.closed = true;
        held.entries.clear();
        held.bytes = 0;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn who_fills_waits_for_who_empties_until_that_is_gone() {
        let queue = Arc::new(Queue::new());
        assert_eq!(queue.pop(Duration::ZERO), None);
        assert!(queue.push(MOST, 1));
        let other = Arc::clone(&queue);
        let filling =
            thread::spawn(move || (other.push(1, 2), other.push(MOST, 3), other.push(1, 4)));
        let long = Duration::from_secs(60);
        assert_eq!((queue.pop(long), queue.pop(long)), (Some(1), Some(2)));
        while queue.held().entries.is_empty() {
            thread::yield_now();
        }
        assert!(!filling.is_finished(), "the third takes all the room");
        queue.close();
        assert_eq!(filling.join().ok(), Some((true, true, false)));
    }
}
