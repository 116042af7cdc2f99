//! The files behind the key part `executor`: a key holds one digest, and a reason is to say which of them changed.
//!
//! The lines are remembered in the store under their digest. Where they are gone the answer is vaguer, never wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use polyloom_model::Digest;
use polyloom_plan::{KeyParts, Part, PartChange, PartName};
use polyloom_store::{Listing, Store};

/// How many files one reason names.
const NAMED: usize = 3;
/// Of folders with more files nothing is remembered.
const MOST: usize = 2000;

fn place(digest: &Digest) -> String {
    format!("executor {digest}")
}

/// The lines of a folder's files: what stands for the content, and the path.
pub(crate) fn lines_of(listing: &Listing) -> impl Iterator<Item = String> {
    listing.iter().map(|(path, file)| match file {
        Some(file) => {
            format!("{}{} {path}", file.digest.short(), if file.exec { "+x" } else { "" })
        }
        None => format!("- {path}"),
    })
}

/// Remembers what stands behind a digest.
pub(crate) fn remember(store: &Store, digest: &Digest, lines: &[String]) {
    let place = place(digest);
    if lines.is_empty() || lines.len() > MOST || lines.iter().any(|line| line.contains('\n')) {
        return;
    }
    if matches!(store.tool(&place), Ok(None))
        && let Err(error) = store.remember_tool(&place, &lines.join("\n"))
    {
        tracing::warn!(%error, "the names of an executor's files could not be remembered");
    }
}

/// Adds the files that differ to the words of the part `executor`, where these are the same before and now.
pub fn tell(store: &Store, before: &KeyParts, after: &KeyParts, changes: &mut [PartChange]) {
    let Some(change) = changes.iter_mut().find(|change| change.part == PartName::Executor) else {
        return;
    };
    let Some(words) = change.before.clone().filter(|_| change.before == change.after) else {
        return;
    };
    let lines = |parts: &KeyParts| {
        let part = parts.get(&PartName::Executor)?;
        store.tool(&place(&part.digest)).ok().flatten()
    };
    if let (Some(before), Some(after)) = (lines(before), lines(after))
        && let Some(files) = difference(&before, &after)
    {
        // Told as every text of a part is: in one short line without control characters.
        let text = format!("{words}: {files}");
        let text = Some(Part::new(Digest::of(text.as_bytes()), &text).text);
        (change.before, change.after) = (text.as_ref().map(Arc::clone), text);
    }
}

/// The paths whose content differs.
fn difference(before: &str, after: &str) -> Option<String> {
    let read = |lines: &'_ str| -> BTreeMap<String, String> {
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(content, path)| (path.to_owned(), content.to_owned())).collect()
    };
    let (old, new) = (read(before), read(after));
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.retain(|path| old.get(*path) != new.get(*path));
    if paths.is_empty() {
        return None;
    }
    let word = |path: &&String| match (old.get(*path), new.get(*path)) {
        (None, _) => format!("{path} is new"),
        (_, None) => format!("{path} is gone"),
        (Some(_), Some(_)) => (*path).clone(),
    };
    let mut words: Vec<String> = paths.iter().take(NAMED).map(word).collect();
    if paths.len() > NAMED {
        words.push(format!("{} more", paths.len() - NAMED));
    }
    Some(words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn files_that_changed_came_and_went_are_named() {
        let told = |before: &str, after: &str| difference(before, after);
        assert_eq!(told("aa a b.py\nbb c", "ab a b.py\nbb c").as_deref(), Some("a b.py"));
        assert_eq!(told("aa a\nbb b", "aa a\ncc c").as_deref(), Some("b is gone, c is new"));
        assert_eq!(told("aa a", "aa+x a").as_deref(), Some("a"));
        assert_eq!(told("aa a\nbb b", "bb b\naa a"), None);
        let many = |v: &str| (0..9).map(|at| format!("{v} f{at}\n")).collect::<String>();
        assert_eq!(told(&many("a"), &many("b")).as_deref(), Some("f0, f1, f2, 6 more"));
    }
}
