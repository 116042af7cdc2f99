//! Work on many things by as many threads as there are processors. Knows nothing of what they are.

use std::num::NonZeroUsize;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// How many processors there are. Asked of the system once: the answer is in a dozen of its files.
pub fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// Makes something of each of some things that are worth a thread's while: what `work` gives is in their order. They are begun in their order, too,
/// so that one may wait for what is made of those before it. Each thread has a `memory` of its own. Without a thread to be had, it takes longer.
pub fn each<I: Send, M, T: Send>(
    things: impl ExactSizeIterator<Item = I> + Send,
    memory: impl Fn() -> M + Sync,
    work: impl Fn(&mut M, I) -> T + Sync,
) -> Vec<T> {
    let count = things.len();
    let things = Mutex::new(things.enumerate());
    let next = || things.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut memory = memory();
        let mut made = Vec::new();
        while let Some((at, thing)) = next() {
            made.push((at, work(&mut memory, thing)));
        }
        made
    };
    let threads = match count {
        0 | 1 => 1,
        _ => processors().min(count),
    };
    let mut made = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut made = work();
        for other in others {
            match other.join() {
                Ok(more) => made.extend(more),
                Err(why) => std::panic::resume_unwind(why),
            }
        }
        made
    });
    made.sort_unstable_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::each;

    #[test]
    fn what_is_made_is_in_order_and_may_wait_for_what_came_before() {
        for count in [0, 1, 2, 1000] {
            let made: Vec<OnceLock<usize>> = (0..count).map(|_| OnceLock::new()).collect();
            let sums = each(
                0..count,
                || 0,
                |met, at: usize| {
                    *met += 1;
                    let before = if at == 0 { 0 } else { *made[at - 1].wait() };
                    *made[at].get_or_init(|| before + at)
                },
            );
            let wanted: Vec<usize> = (0..count).map(|at| at * (at + 1) / 2).collect();
            assert_eq!(sums, wanted);
        }
    }
}
