//! The normal forms of cells' codes: asked of their executors before planning, remembered in the store by executor and code.
//!
//! A code without a normal form is keyed by its bytes: then a comment runs the cell again, and nothing else is different. So nothing here is an
//! error, and nothing that the memory holds is needed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use polyloom_model::{CellId, Digest, ExecutorId, Flow};
use polyloom_plan::ExecutorFacts;
use polyloom_worker::Workplace;
use polyloom_worker::executor::Executor;

use crate::place::Place;

/// Longer code is keyed by its bytes.
const LONGEST: usize = 256 << 10;
/// One question has at most so many bytes of code.
const QUESTION: usize = 4 << 20;
/// Memories beyond this many are dropped but for those in use.
const REMEMBERED: usize = 40_000;

/// By the digest of the bytes; nothing where the executor declined.
type Known = BTreeMap<Digest, Option<Digest>>;

/// The normal form of every cell's code that has one.
pub(crate) fn digests<'e>(
    place: &Place,
    flow: &Flow,
    executors: impl Iterator<Item = (&'e ExecutorId, &'e Arc<Executor>)>,
    facts: &HashMap<ExecutorId, ExecutorFacts>,
) -> HashMap<CellId, Digest> {
    let mut all = HashMap::new();
    for (id, executor) in executors {
        let Some(facts) = facts.get(id) else { continue };
        if executor.manifest.normalise.is_none() {
            continue;
        }
        let cells = flow.cells.iter().filter(|cell| cell.executor == *id && cell.call.is_none());
        let cells: Vec<_> = cells.map(|cell| (cell, Digest::of(&cell.code.bytes))).collect();
        let codes: BTreeMap<Digest, &[u8]> = cells
            .iter()
            .filter(|(cell, _)| cell.code.bytes.len() <= LONGEST)
            .map(|(cell, digest)| (*digest, &cell.code.bytes[..]))
            .collect();
        // What the normal form of a code is depends on the program that gives it.
        let memory = format!("normal/1 {} {}", facts.identity.digest, facts.toolchain.digest);
        let text = place.store.tool(&memory).ok().flatten().unwrap_or_default();
        let mut known: Known = text.lines().filter_map(read).collect();
        let before = known.len();
        let unknown: Vec<_> =
            codes.iter().filter(|(digest, _)| !known.contains_key(digest)).collect();
        if !unknown.is_empty() {
            // Before there are threads.
            let _ = place.workplace.spawner();
            // Whoever is asked takes a while, in which what the cells of these codes will want is looked at.
            place.look_at_once(executor, &facts.together());
            ask(place, executor, &unknown, &mut known);
        }
        if known.len() > before {
            if known.len() > REMEMBERED {
                known.retain(|digest, _| codes.contains_key(digest));
            }
            if let Err(error) = place.store.remember_tool(&memory, &write(&known)) {
                tracing::warn!(%error, "normal forms of code could not be remembered");
            }
        }
        let normal = |(cell, digest): &(&polyloom_model::Cell, Digest)| {
            Some((cell.id.clone(), (*known.get(digest)?)?))
        };
        all.extend(cells.iter().filter_map(normal));
    }
    all
}

fn ask(place: &Place, executor: &Arc<Executor>, unknown: &[(&Digest, &&[u8])], known: &mut Known) {
    let mut rest = unknown;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |(_, code): &&(&Digest, &&[u8])| {
            bytes += code.len();
            bytes <= QUESTION
        };
        // One code alone always fits.
        let count = rest.iter().take(Workplace::CODES).take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        rest = later;
        let codes: Vec<&[u8]> = now.iter().map(|(_, code)| **code).collect();
        match place.workplace.normal_forms(executor, &codes) {
            Ok(forms) => known.extend(now.iter().map(|(digest, _)| **digest).zip(forms)),
            Err(why) => {
                let executor = &executor.manifest.id;
                tracing::info!(%executor, why, "code has no normal form now: its bytes are keyed");
                return;
            }
        }
    }
}

fn read(line: &str) -> Option<(Digest, Option<Digest>)> {
    let (code, form) = line.split_once(' ')?;
    let form = if form == "-" { None } else { Some(form.parse().ok()?) };
    Some((code.parse().ok()?, form))
}

fn write(known: &Known) -> String {
    let mut text = String::new();
    for (code, form) in known {
        let written = match form {
            Some(form) => writeln!(text, "{code} {form}"),
            None => writeln!(text, "{code} -"),
        };
        written.expect("a string takes whatever is written");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use polyloom_model::Digest;

    use super::{Known, read, write};

    #[test]
    fn a_memory_is_read_as_it_is_written_and_damage_is_forgotten() {
        let known: Known =
            [(Digest::of(b"a"), Some(Digest::of(b"b"))), (Digest::of(b"c"), None)].into();
        let text = write(&known);
        assert_eq!(text.lines().filter_map(read).collect::<Known>(), known);
        for cut in 0..text.len() {
            let read: Known = text[..cut].lines().filter_map(read).collect();
            assert!(read.iter().all(|(code, form)| known.get(code) == Some(form)), "{cut}");
        }
    }
}
