//! Very many things, looked at part by part on all processors. Knows nothing of what they are.
//!
//! How many are in a part does not depend on the machine, so that neither does what is found in them.

use std::ops::{Index, Range};

use polyloom_model::each;

/// So many are one part: fewer are not worth a thread.
pub(crate) const PART: usize = 4096;

/// What was made of each, in their order.
pub(crate) struct Parts<T>(Vec<Vec<T>>);

impl<T> Parts<T> {
    /// What was made of each part of things. Where some were left out, those behind them close up.
    pub fn new(mut made: Vec<Vec<T>>) -> Self {
        let last = made.len().saturating_sub(1);
        let fits =
            |(at, part): (usize, &Vec<T>)| part.len() == PART || at == last && part.len() < PART;
        if !made.iter().enumerate().all(fits) {
            let mut all = made.into_iter().flatten().peekable();
            made = Vec::new();
            while all.peek().is_some() {
                made.push(all.by_ref().take(PART).collect());
            }
        }
        Self(made)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().flatten()
    }

    /// All of them, part by part.
    pub fn into_parts(self) -> Vec<Vec<T>> {
        self.0
    }

    /// All of them.
    #[cfg(test)]
    pub fn into_iter(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}

impl<T> Index<usize> for Parts<T> {
    type Output = T;
    fn index(&self, at: usize) -> &T {
        &self.0[at / PART][at % PART]
    }
}

/// Makes something of each part of `count` things: what `work` gives is in the order of the parts.
pub(crate) fn each_part<T: Send>(count: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let range = |part: usize| part * PART..count.min((part + 1) * PART);
    each((0..count.div_ceil(PART)).map(range), || (), |(), part| work(part))
}

#[cfg(test)]
mod tests {
    use super::{PART, Parts, each_part};

    #[test]
    fn each_thing_is_met_once_and_stays_in_its_place() {
        for count in [0, 1, PART, PART + 1, 5 * PART + 7] {
            let made = Parts::new(each_part(count, |range| range.collect::<Vec<_>>()));
            assert!(made.len() == count && made.iter().copied().eq(0..count));
            assert!((0..count).all(|at| made[at] == at));
        }
    }

    #[test]
    fn those_behind_what_was_left_out_close_up() {
        let count = 3 * PART + 5;
        let some = |at: &usize| at % 3 != 1;
        let made = Parts::new(each_part(count, |range| range.filter(some).collect::<Vec<_>>()));
        let left: Vec<usize> = (0..count).filter(some).collect();
        assert_eq!(made.len(), left.len());
        assert!(left.iter().enumerate().all(|(at, it)| made[at] == *it));
        assert!(made.into_iter().eq(left));
        let one = Parts::new(vec![(0..count).collect::<Vec<_>>()]);
        assert!((0..count).all(|at| one[at] == at));
    }
}
