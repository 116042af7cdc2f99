//! Outputs of several cells, gathered: their values as one list, their files as one directory. No code of anybody runs here.

use std::collections::BTreeMap;
use std::sync::Arc;

use polyloom_model::{Cell, CellId, Encoding, PortName, Type};
use polyloom_plan::{Artifact, Feed};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::{ExecMeta, Times};
use polyloom_store::{ListingEntry, Store, TreeEntry};
use polyloom_worker::attempt::{Start, Stop};
use polyloom_worker::extension_of;
use tokio::sync::watch;

use crate::place::Place;
use crate::step::{StepEnd, artifact_meta};
use crate::words::chain;

/// Larger lists of values are refused: they would have to be in memory whole.
const LARGEST: u64 = 256 << 20;

/// A directory of more files is refused before it is made: it would have to be in memory whole, and no cell could have it.
const MOST_FILES: usize = 500_000;

/// What nobody reads: the step has ended by then.
const UNWANTED: &str = "it is not wanted any more";

/// The media type of stored values.
const MEDIA: &str = "application/msgpack";

/// Makes the outputs of a cell that gathers.
pub(crate) fn gather(
    place: &Place,
    cell: &Cell,
    feeds: &BTreeMap<PortName, Feed>,
    stop: &watch::Receiver<Stop>,
) -> StepEnd {
    let is_wanted = || *stop.borrow() == Stop::No;
    let began = std::time::Instant::now();
    let mut meta = ExecMeta::new(Outcome::Ok);
    let mut outputs = BTreeMap::new();
    for (port, ty) in &cell.outputs {
        let parts = match feeds.get(port) {
            Some(Feed::Several(parts)) => &parts[..],
            Some(Feed::One(part)) => std::slice::from_ref(part),
            None => &[],
        };
        match one(place, ty, parts, &is_wanted) {
            Ok(artifact) => {
                meta.artifacts.insert(port.to_string(), artifact_meta(&artifact));
                outputs.insert(port.clone(), artifact);
            }
            Err(_) if !is_wanted() => return StepEnd::stopped(),
            Err(why) => return StepEnd::not_begun(format!("output `{port}`: {why}")),
        }
    }
    meta.wall_ms = began.elapsed().as_secs_f64() * 1e3;
    meta.times = Some(Times { store_ms: meta.wall_ms, ..Times::default() });
    StepEnd { began: Some(began), ..StepEnd::new(meta, Some(outputs), None, Start::None) }
}

/// What an input gets that lists outputs: a list of their values, or a directory of their files.
pub(crate) fn together(
    place: &Place,
    sources: &[(CellId, PortName)],
    parts: &[Artifact],
    is_wanted: &dyn Fn() -> bool,
) -> Result<Artifact, String> {
    let mut types = parts.iter().map(|part| &part.ty);
    let ty = match types.next() {
        Some(first) if types.all(|ty| ty == first) => first.gathered(),
        Some(first) if first.encoding() != Encoding::Msgpack => Type::Dir,
        Some(_) | None => Type::Any.gathered(),
    };
    one(place, &ty, parts, is_wanted).map_err(|why| match largest(sources, parts) {
        Some((cell, port)) if too_large(parts).is_some() => {
            format!("{why}; the largest is `{cell}.{port}`")
        }
        _ => why,
    })
}

fn largest<'s>(
    sources: &'s [(CellId, PortName)],
    parts: &[Artifact],
) -> Option<&'s (CellId, PortName)> {
    let sizes = sources.iter().zip(parts).map(|(source, part)| (part.size, source));
    // Of equal ones it is the first.
    sizes.reduce(|most, next| if next.0 > most.0 { next } else { most }).map(|(_, source)| source)
}

fn one(
    place: &Place,
    ty: &Type,
    parts: &[Artifact],
    is_wanted: &dyn Fn() -> bool,
) -> Result<Artifact, String> {
    // What is on its way to the disk is waited for: a directory is made of files there.
    parts.iter().for_each(|part| place.hot.wait(&part.digest));
    match ty.encoding() {
        Encoding::Dir => dir(&place.store, parts, is_wanted),
        _ => list(&place.store, ty, parts, is_wanted),
    }
}

/// How many bytes values are that are too large for a list.
fn too_large(parts: &[Artifact]) -> Option<u64> {
    let all = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.size));
    (all > LARGEST).then_some(all)
}

/// What is stored of values is canonical MessagePack, and so is a list of it behind its length.
fn list(
    store: &Arc<Store>,
    ty: &Type,
    parts: &[Artifact],
    is_wanted: &dyn Fn() -> bool,
) -> Result<Artifact, String> {
    if let Some(all) = too_large(parts) {
        let (all, most) = (all.div_ceil(1 << 20), LARGEST >> 20);
        return Err(format!("these values are {all} MiB together, a list may be {most} MiB"));
    }
    let mut bytes = header(parts.len())?;
    for part in parts {
        if !is_wanted() {
            return Err(UNWANTED.to_owned());
        }
        let part = store.read(&part.digest, part.size).map_err(|error| chain(&error))?;
        bytes.extend_from_slice(&part);
    }
    let digest = store.put_bytes(&bytes).map_err(|error| chain(&error))?;
    let size = bytes.len() as u64;
    Ok(Artifact { digest, ty: ty.clone(), size, media: Some(MEDIA.to_owned()) })
}

/// The length of a list as MessagePack: the shortest form there is.
fn header(count: usize) -> Result<Vec<u8>, String> {
    let count = u32::try_from(count).map_err(|_| format!("{count} values are too many"))?;
    let [a, b, c, d] = count.to_be_bytes();
    Ok(match (count, u16::try_from(count)) {
        (..16, _) => vec![0x90 | d],
        (_, Ok(_)) => vec![0xdc, c, d],
        _ => vec![0xdd, a, b, c, d],
    })
}

/// Files and directories by their numbers, in the order of the steps.
fn dir(
    store: &Arc<Store>,
    parts: &[Artifact],
    is_wanted: &dyn Fn() -> bool,
) -> Result<Artifact, String> {
    let width = parts.len().saturating_sub(1).to_string().len().max(3);
    let mut entries = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        if !is_wanted() {
            return Err(UNWANTED.to_owned());
        }
        if entries.len() > MOST_FILES {
            return Err(format!("these directories have more than {MOST_FILES} files together"));
        }
        let name = format!("{number:0width$}");
        if part.ty == Type::Dir {
            let inner = store.listing(&part.digest).map_err(|error| chain(&error))?;
            if inner.is_empty() {
                entries.push(TreeEntry { path: name, file: None });
                continue;
            }
            for (path, file) in inner {
                entries.push(TreeEntry { path: format!("{name}/{path}"), file });
            }
            continue;
        }
        let extension = match part.ty {
            Type::Tensor(..) => ".npy",
            Type::Table => ".arrow",
            _ => extension_of(part.media.as_deref().unwrap_or_default()),
        };
        let file = ListingEntry { digest: part.digest, exec: false, size: part.size };
        entries.push(TreeEntry { path: format!("{name}{extension}"), file: Some(file) });
    }
    if !is_wanted() {
        return Err(UNWANTED.to_owned());
    }
    let (digest, size) = store.put_tree(entries).map_err(|error| chain(&error))?;
    Ok(Artifact { digest, ty: Type::Dir, size, media: None })
}

#[cfg(test)]
mod tests {
    use polyloom_model::Value;

    use super::*;

    #[test]
    fn a_list_of_stored_values_is_the_stored_list() {
        for count in [0_usize, 1, 15, 16, 255, 256, 65_535, 65_536] {
            let items: Vec<Value> = (0..count).map(|n| Value::Int(n as i64)).collect();
            let mut bytes = header(count).unwrap();
            items.iter().for_each(|item| bytes.extend(item.to_msgpack()));
            assert_eq!(bytes, Value::List(items).to_msgpack(), "{count}");
        }
    }
}
