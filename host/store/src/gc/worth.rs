//! Which blobs and records a collection removes: a calculation over what is there. Knows no disk and no index.
//!
//! What is cheap to make again goes first: the wall time of the result that made a blob, for each byte that its removal frees,
//! shared out over the hours since its last use.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use polyloom_model::{Digest, Mark};

/// Compiling is not timed apart: a program counts as having taken as long as small ones do.
const PROGRAM_MS: f64 = 1000.0;
const HOUR_MS: f64 = 3_600_000.0;

/// What a store may hold. What is not bounded is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of blobs.
    pub max_bytes: Option<u64>,
    /// Milliseconds since a blob's last use.
    pub max_age_ms: Option<u64>,
    /// Records of results, those whose outputs are gone included.
    pub max_results: Option<u64>,
    /// Whether outputs that are marked to be kept may go.
    pub kept: Kept,
}

/// What becomes of outputs with [`Mark::Keep`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kept {
    /// They stay, whatever the bounds.
    #[default]
    Stay,
    /// They are like others.
    MayGo,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob {
    pub(crate) size: u64,
    pub(crate) used: u64,
}

/// A record of a result.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: Digest,
    pub(crate) used: u64,
    pub(crate) wall_ms: f64,
    pub(crate) evicted: bool,
    /// Every blob of every output, with the output's mark.
    pub(crate) outputs: Vec<(Digest, Option<Mark>)>,
    /// Those of them that are temporary and were given up.
    pub(crate) spent: Vec<Digest>,
}

/// A compiled program: its blobs, and when it was used last.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) used: u64,
    pub(crate) blobs: Vec<Digest>,
}

/// All that is in a store.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) blobs: HashMap<Digest, Blob>,
    pub(crate) rows: Vec<Row>,
    pub(crate) programs: Vec<Program>,
}

/// What is to go.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// Blobs, in the order in which they were given up.
    pub(crate) blobs: Vec<Digest>,
    /// Records that are forgotten.
    pub(crate) records: Vec<Digest>,
    /// Bytes of blobs that remain.
    pub(crate) left: u64,
    /// Those of them that stay because they are marked.
    pub(crate) kept: u64,
}

/// What is known of a blob by those who refer to it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Milliseconds of work for each byte; 0 where nothing refers to it.
    worth: f64,
    used: u64,
    kept: bool,
    /// Some result refers to it, and all who do call it temporary.
    temporary: bool,
    referred: bool,
}

/// Chooses what goes. Nothing that was used at `youngest` or later does.
pub(crate) fn choose(all: &Holdings, bounds: &Bounds, now: u64, youngest: u64) -> Choice {
    let mut choice = Choice { records: records(all, bounds, now, youngest), ..Choice::default() };
    let forgotten: HashSet<Digest> = choice.records.iter().copied().collect();
    let standings = standings(all, &forgotten);
    choice.left = sum(all.blobs.values().map(|blob| blob.size));
    let mut order = Vec::with_capacity(all.blobs.len());
    for (digest, blob) in &all.blobs {
        let standing = &standings[digest];
        if standing.kept && bounds.kept == Kept::Stay {
            choice.kept = choice.kept.saturating_add(blob.size);
        } else if standing.used < youngest {
            let hours = 1.0 + as_ms(now.saturating_sub(standing.used)) / HOUR_MS;
            order.push((!standing.temporary, standing.worth / hours, standing.used, *digest));
        }
    }
    order.sort_by(|a, b| {
        let by_worth = a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
        by_worth.then_with(|| a.2.cmp(&b.2)).then_with(|| a.3.cmp(&b.3))
    });
    let oldest = bounds.max_age_ms.map_or(0, |age| now.saturating_sub(age));
    let most = bounds.max_bytes.unwrap_or(u64::MAX);
    let (old, rest): (Vec<_>, Vec<_>) =
        order.into_iter().partition(|(_, _, used, _)| *used < oldest);
    for (at, (_, _, _, digest)) in old.iter().chain(&rest).enumerate() {
        if at >= old.len() && choice.left <= most {
            break;
        }
        choice.left = choice.left.saturating_sub(all.blobs[digest].size);
        choice.blobs.push(*digest);
    }
    choice
}

/// Bytes that are to be kept, and bytes that are temporary for all who refer to them.
pub(crate) fn marked(all: &Holdings) -> (u64, u64) {
    let standings = standings(all, &HashSet::new());
    let bytes = |wanted: fn(&Standing) -> bool| {
        sum(all.blobs.iter().filter(|(it, _)| wanted(&standings[it])).map(|(_, blob)| blob.size))
    };
    (bytes(|it| it.kept), bytes(|it| it.temporary && !it.kept))
}

/// Records over the bound: first those whose outputs are gone, the longest unused first, then those that are made again cheaply.
fn records(all: &Holdings, bounds: &Bounds, now: u64, youngest: u64) -> Vec<Digest> {
    let most = bounds.max_results.unwrap_or(u64::MAX);
    let over = (all.rows.len() as u64).saturating_sub(most);
    if over == 0 {
        return Vec::new();
    }
    let kept = |row: &Row| {
        bounds.kept == Kept::Stay
            && !row.evicted
            && row.outputs.iter().any(|(_, mark)| *mark == Some(Mark::Keep))
    };
    let mut order: Vec<_> = all
        .rows
        .iter()
        .filter(|row| row.used < youngest && !kept(row))
        .map(|row| {
            let hours = 1.0 + as_ms(now.saturating_sub(row.used)) / HOUR_MS;
            let worth = if row.evicted { 0.0 } else { worth(all, row) / hours };
            (!row.evicted, worth, row.used, row.key)
        })
        .collect();
    order.sort_by(|a, b| {
        let by_worth = a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
        by_worth.then_with(|| a.2.cmp(&b.2)).then_with(|| a.3.cmp(&b.3))
    });
    order.truncate(usize::try_from(over).unwrap_or(usize::MAX));
    order.into_iter().map(|(_, _, _, key)| key).collect()
}

/// Milliseconds of work for each byte of a result's outputs: all go or none is of use.
fn worth(all: &Holdings, row: &Row) -> f64 {
    let sizes = row.outputs.iter().filter_map(|(digest, _)| all.blobs.get(digest));
    let bytes = sum(sizes.map(|blob| blob.size));
    let wall = if row.wall_ms.total_cmp(&1.0) == Ordering::Greater { row.wall_ms } else { 1.0 };
    wall.min(f64::MAX) / as_ms(bytes.max(1))
}

fn standings(all: &Holdings, forgotten: &HashSet<Digest>) -> HashMap<Digest, Standing> {
    let new = |blob: &Blob| Standing {
        worth: 0.0,
        used: blob.used,
        kept: false,
        temporary: false,
        referred: false,
    };
    let mut standings: HashMap<Digest, Standing> =
        all.blobs.iter().map(|(digest, blob)| (*digest, new(blob))).collect();
    for row in all.rows.iter().filter(|row| !forgotten.contains(&row.key)) {
        let worth = worth(all, row);
        for (digest, mark) in &row.outputs {
            let Some(standing) = standings.get_mut(digest) else { continue };
            standing.used = standing.used.max(row.used);
            if row.evicted {
                continue;
            }
            standing.worth = standing.worth.max(worth);
            standing.kept |= *mark == Some(Mark::Keep);
            let temporary = *mark == Some(Mark::Temp);
            standing.temporary = temporary && (standing.temporary || !standing.referred);
            standing.referred = true;
        }
    }
    for program in &all.programs {
        let sizes = program.blobs.iter().filter_map(|digest| all.blobs.get(digest));
        let bytes = sum(sizes.map(|blob| blob.size));
        for digest in &program.blobs {
            let Some(standing) = standings.get_mut(digest) else { continue };
            standing.used = standing.used.max(program.used);
            standing.worth = standing.worth.max(PROGRAM_MS / as_ms(bytes.max(1)));
            standing.temporary = false;
            standing.referred = true;
        }
    }
    standings
}

/// Sizes come from the disk and may be anything.
pub(super) fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

#[expect(clippy::cast_precision_loss, reason = "to compare by")]
fn as_ms(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1000 * HOUR;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    /// A result with one output of its own name: wall time in seconds, bytes, hours since its last use.
    fn holdings(results: &[(&str, u32, u64, u64, Option<Mark>)]) -> Holdings {
        let mut all = Holdings::default();
        for (name, seconds, size, hours, mark) in results {
            let used = NOW - hours * HOUR;
            all.blobs.insert(digest(name), Blob { size: *size, used });
            all.rows.push(Row {
                key: digest(&format!("key of {name}")),
                used,
                wall_ms: f64::from(*seconds) * 1000.0,
                evicted: false,
                outputs: vec![(digest(name), *mark)],
                spent: Vec::new(),
            });
        }
        all
    }

    fn gone(all: &Holdings, bounds: Bounds) -> Vec<Digest> {
        choose(all, &bounds, NOW, u64::MAX).blobs
    }

    fn size(max: u64) -> Bounds {
        Bounds { max_bytes: Some(max), ..Bounds::default() }
    }

    #[test]
    fn cheap_bytes_go_before_dear_ones_and_old_before_new() {
        let all = holdings(&[
            ("dear", 600, 100, 5, None),
            ("cheap", 1, 100, 5, None),
            ("small and cheap", 1, 1, 5, None),
            ("old", 1, 100, 500, None),
        ]);
        assert_eq!(gone(&all, size(301)), []);
        assert_eq!(gone(&all, size(201)), [digest("old")]);
        assert_eq!(gone(&all, size(101)), [digest("old"), digest("cheap")]);
        assert_eq!(gone(&all, size(0)).last(), Some(&digest("dear")));
        // For very long unused, it does not help to have been dear.
        let all = holdings(&[("dear", 60, 100, 900, None), ("cheap", 1, 100, 0, None)]);
        assert_eq!(gone(&all, size(100)), [digest("dear")]);
    }

    #[test]
    fn what_nothing_refers_to_goes_first_and_programs_are_work() {
        let mut all = holdings(&[("cheap", 0, 100, 5, None)]);
        for name in ["nobody's", "program"] {
            all.blobs.insert(digest(name), Blob { size: 100, used: NOW - 5 * HOUR });
        }
        all.programs.push(Program { used: NOW - 5 * HOUR, blobs: vec![digest("program")] });
        assert_eq!(gone(&all, size(0)), ["nobody's", "cheap", "program"].map(digest));
    }

    #[test]
    fn temporary_outputs_go_first_and_kept_ones_never() {
        let (temp, keep) = (Some(Mark::Temp), Some(Mark::Keep));
        let mut all = holdings(&[
            ("temp", 600, 100, 0, temp),
            ("kept", 0, 100, 900, keep),
            ("both", 600, 100, 0, temp),
            ("plain", 1, 100, 5, None),
        ]);
        // Somebody else needs it.
        all.rows.push(Row { key: digest("other"), ..all.rows[2].clone() });
        all.rows[4].outputs = vec![(digest("both"), None)];
        let choice = choose(&all, &size(0), NOW, u64::MAX);
        assert_eq!(choice.blobs, ["temp", "plain", "both"].map(digest));
        assert_eq!((choice.left, choice.kept), (100, 100));
        let old = Bounds { max_age_ms: Some(HOUR), ..Bounds::default() };
        assert_eq!(gone(&all, old), [digest("plain")]);
        let all_of_it = Bounds { kept: Kept::MayGo, ..size(0) };
        assert_eq!(gone(&all, all_of_it).len(), 4);
    }

    #[test]
    fn age_is_a_bound_of_its_own() {
        let all = holdings(&[("new", 0, 100, 5, None), ("old", 9000, 100, 50, None)]);
        let bounds = Bounds { max_age_ms: Some(10 * HOUR), ..size(u64::MAX) };
        assert_eq!(gone(&all, bounds), [digest("old")]);
        let both = Bounds { max_bytes: Some(50), ..bounds };
        assert_eq!(gone(&all, both), [digest("old"), digest("new")]);
    }

    #[test]
    fn what_is_young_stays() {
        let all = holdings(&[("new", 0, 100, 1, None), ("old", 0, 100, 3, None)]);
        let choice = choose(&all, &size(0), NOW, NOW - 2 * HOUR);
        assert_eq!((choice.blobs, choice.left), (vec![digest("old")], 100));
    }

    #[test]
    fn records_are_counted_and_empty_ones_are_forgotten_first() {
        let mut all = holdings(&[
            ("dear", 600, 100, 5, None),
            ("cheap", 1, 100, 5, None),
            ("gone", 600, 100, 1, None),
            ("kept", 0, 100, 900, Some(Mark::Keep)),
        ]);
        all.rows[2].evicted = true;
        let records = |most| {
            let bounds = Bounds { max_results: Some(most), ..Bounds::default() };
            choose(&all, &bounds, NOW, u64::MAX).records
        };
        assert_eq!(records(4), []);
        assert_eq!(records(3), [digest("key of gone")]);
        assert_eq!(records(0), ["key of gone", "key of cheap", "key of dear"].map(digest));
    }

    #[test]
    fn hostile_numbers_are_no_matter() {
        let mut all = holdings(&[("a", 1, u64::MAX / 4, 0, None), ("b", 1, 0, 0, None)]);
        all.rows[0].wall_ms = f64::NAN;
        all.rows[1].wall_ms = f64::INFINITY;
        all.rows[1].used = u64::MAX;
        assert_eq!(gone(&all, size(0)).len(), 1);
    }
}
