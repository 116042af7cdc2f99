//! The names behind the key part `libraries`: a key holds one digest, and `why` is to say which of hundreds changed.
//!
//! The lines are remembered in the store under their digest. Where they are gone the answer is vaguer, never wrong.

use std::collections::BTreeMap;

use polyloom_model::Digest;
use polyloom_plan::{KeyParts, Part, PartChange, PartName};
use polyloom_store::Store;

/// How many libraries one line names.
const NAMED: usize = 4;

fn place(digest: &Digest) -> String {
    format!("libraries {digest}")
}

/// Remembers what stands behind a digest.
pub(crate) fn remember(store: &Store, digest: &Digest, lines: &[String]) {
    let place = place(digest);
    if matches!(store.tool(&place), Ok(None))
        && let Err(error) = store.remember_tool(&place, &lines.join("\n"))
    {
        tracing::warn!(%error, "the names of installed libraries could not be remembered");
    }
}

/// Puts the libraries that differ in place of the words of the part `libraries`: `numpy 2.0` before, `numpy 2.1` now.
pub fn tell(store: &Store, before: &KeyParts, after: &KeyParts, changes: &mut [PartChange]) {
    let Some(change) = changes.iter_mut().find(|change| change.part == PartName::Libraries) else {
        return;
    };
    let lines = |parts: &KeyParts| {
        let part = parts.get(&PartName::Libraries)?;
        store.tool(&place(&part.digest)).ok().flatten()
    };
    if let (Some(before), Some(after)) = (lines(before), lines(after))
        && let Some((before, after)) = difference(&before, &after)
    {
        // Told as every text of a part is: in one short line without control characters.
        let shown = |text: &str| Some(Part::new(Digest::of(text.as_bytes()), text).text);
        (change.before, change.after) = (shown(&before), shown(&after));
    }
}

/// What differs between two lists; nothing when they differ in their order alone.
fn difference(before: &str, after: &str) -> Option<(String, String)> {
    let (old, new) = (read(before), read(after));
    let mut names: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| old.get(name) != new.get(name));
    if names.is_empty() {
        return None;
    }
    let side = |all: &BTreeMap<&str, Vec<&str>>, other: &BTreeMap<&str, Vec<&str>>| {
        let word = |name: &&str| match all.get(name) {
            None => format!("no {name}"),
            Some(versions) => {
                // The digest of the files is for people only where nothing else tells the two apart.
                let brief = |of: &Vec<&str>| -> Vec<String> {
                    of.iter().map(|v| v.split(' ').next().unwrap_or_default().to_owned()).collect()
                };
                let same = other.get(name).is_some_and(|other| brief(other) == brief(versions));
                let told =
                    if same { versions.join(" and ") } else { brief(versions).join(" and ") };
                format!("{name} {told}").trim_end().to_owned()
            }
        };
        let more = names.len().saturating_sub(NAMED);
        let mut words: Vec<String> = names.iter().take(NAMED).map(word).collect();
        if more > 0 {
            words.push(format!("{more} more"));
        }
        words.join(", ")
    };
    Some((side(&old, &new), side(&new, &old)))
}

/// Versions by name, in the order in which they are looked for.
fn read(lines: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.lines() {
        let (name, version) = line.split_once(' ').unwrap_or((line, ""));
        all.entry(name).or_default().push(version);
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use super::difference;

    #[test]
    fn what_changed_is_named_with_both_versions() {
        let told = |before: &str, after: &str| {
            difference(before, after).map(|(before, after)| format!("{before} → {after}"))
        };
        assert_eq!(
            told("a 1\nnumpy 2.0 aa", "a 1\nnumpy 2.1 bb").unwrap(),
            "numpy 2.0 → numpy 2.1"
        );
        assert_eq!(told("a 1", "a 1\nb 2 ff").unwrap(), "no b → b 2");
        assert_eq!(told("a 1\nb 2", "a 1").unwrap(), "b 2 → no b");
        assert_eq!(told("a 1 aa", "a 1 bb").unwrap(), "a 1 aa → a 1 bb");
        assert_eq!(told("a 1", "a 1\na 2").unwrap(), "a 1 → a 1 and 2");
        assert_eq!(told("a 1\nb 1", "b 1\na 1"), None);
        let many = |v: &str| (0..9).map(|at| format!("p{at} {v}\n")).collect::<String>();
        assert!(told(&many("1"), &many("2")).unwrap().ends_with("p3 2, 5 more"));
    }
}
