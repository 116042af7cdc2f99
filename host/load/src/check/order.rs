//! Whether the cells can be put in an order: cycles, found without recursion (a chain may be 100,000 long).

use crate::source::Span;

/// A way round: each cell, and the place where it names the one before it.
pub(crate) type Cycle = Vec<(usize, Span)>;

/// One cycle for each group of cells that wait for each other, as far as they don't share cells.
/// `edges[i]` are the cells that cell `i` waits for.
pub(crate) fn cycles(edges: &[Vec<(usize, Span)>]) -> Vec<Cycle> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        /// On the path from the start to where we are, at this depth.
        Open(usize),
        Done,
    }
    let mut found = Vec::new();
    // Nearly every flow names what comes in before what it goes to.
    if edges.iter().enumerate().all(|(cell, from)| from.iter().all(|(source, _)| *source < cell)) {
        return found;
    }
    let mut state = vec![State::New; edges.len()];
    // The path: a cell, how many of its edges were followed, and the depth from which on no cell was reported.
    let mut path: Vec<(usize, usize, usize)> = Vec::new();
    for start in 0..edges.len() {
        if state[start] != State::New {
            continue;
        }
        state[start] = State::Open(0);
        path.push((start, 0, 0));
        while let Some(last) = path.last_mut() {
            let (cell, next, fresh) = *last;
            let Some((source, _)) = edges[cell].get(next) else {
                state[cell] = State::Done;
                path.pop();
                continue;
            };
            last.1 += 1;
            match state[*source] {
                State::New => {
                    state[*source] = State::Open(path.len());
                    path.push((*source, 0, fresh));
                }
                // Rounds that share cells are one round told many times: together as long as the square of the flow.
                State::Open(depth) if depth >= fresh => {
                    let round = &mut path[depth..];
                    // Written in the direction of the data: the source first.
                    let mut cycle: Cycle = Vec::with_capacity(round.len());
                    for (at, (cell, followed, fresh)) in round.iter_mut().enumerate().rev() {
                        *fresh = depth + at + 1;
                        cycle.push((*cell, edges[*cell][*followed - 1].1.clone()));
                    }
                    found.push(cycle);
                }
                State::Open(_) | State::Done => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[&[usize]]) -> Vec<Vec<(usize, Span)>> {
        edges.iter().map(|to| to.iter().map(|to| (*to, 0..0)).collect()).collect()
    }

    fn found(edges: &[&[usize]]) -> Vec<Vec<usize>> {
        cycles(&graph(edges)).iter().map(|c| c.iter().map(|(cell, _)| *cell).collect()).collect()
    }

    #[test]
    fn cycles_are_found_once_and_orders_are_not_cycles() {
        assert!(found(&[&[], &[0], &[0, 1]]).is_empty());
        assert_eq!(found(&[&[2], &[0], &[1]]).len(), 1);
        assert_eq!(found(&[&[1], &[0], &[3], &[2]]).len(), 2);
    }

    #[test]
    fn rounds_that_share_cells_are_told_once() {
        // A long way down, and from its end many ways back up.
        let size = 20_000;
        let mut all: Vec<Vec<(usize, Span)>> = (1..=size).map(|next| vec![(next, 0..0)]).collect();
        all.push((size + 1..=2 * size).map(|tip| (tip, 0..0)).collect());
        all.extend((0..size).rev().map(|top| vec![(top, 0..0)]));
        assert_eq!(cycles(&all).len(), 1);
    }

    #[test]
    fn a_cycle_of_100_000_cells_is_found() {
        let size = 100_000;
        let ring: Vec<Vec<(usize, Span)>> =
            (0..size).map(|i| vec![((i + size - 1) % size, 0..0)]).collect();
        assert_eq!(cycles(&ring)[0].len(), size);
    }
}
