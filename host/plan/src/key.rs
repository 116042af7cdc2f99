//! The identity of a step's result. Knows parts, not cells.
//!
//! Two keys are made of the same parts. The structural one holds, for an edge, the key of the producer: a whole plan is answered
//! without touching data. The content one holds the producer's bytes instead: it stays the same when a producer
//! ran again and gave what it gave before.

use std::collections::BTreeMap;
use std::fmt;

use polyloom_model::{Cell, Digest, PortName, Source};
use serde::{Deserialize, Serialize};

use crate::encode::Message;
use crate::{Artifact, KeyParts, PartName};

/// The version of the encoding and of what a cell sees of its surroundings; a part of every key.
pub(crate) const SCHEMA: &str = "polyloom.key/2";
const STRUCTURAL: &str = "polyloom.key/2 structural";
const CONTENT: &str = "polyloom.key/2 content";
const ARTIFACT: &str = "polyloom.key/2 artifact";
const ARTIFACTS: &str = "polyloom.key/2 artifacts";

/// What the inputs of a cell get of other cells, of the outputs as they come: by input, in the order in which they stand there.
#[must_use]
pub fn feeds(
    cell: &Cell,
    given: impl IntoIterator<Item = (PortName, Artifact)>,
) -> BTreeMap<PortName, Feed> {
    let several = cell.inputs.iter().filter(|(_, it)| matches!(it.source, Source::Ports(_)));
    let mut feeds: BTreeMap<PortName, Feed> =
        several.map(|(port, _)| (port.clone(), Feed::Several(Vec::new()))).collect();
    for (port, artifact) in given {
        match feeds.get_mut(&port) {
            Some(Feed::Several(all)) => all.push(artifact),
            _ => {
                feeds.insert(port, Feed::One(artifact));
            }
        }
    }
    feeds
}

/// What an input gets of other cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// One output.
    One(Artifact),
    /// Outputs of several: those of the steps that are gathered, without those that were left out, or those that an input lists.
    Several(Vec<Artifact>),
}

/// A structural or a content key; the two never collide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Digest);

impl Key {
    /// The structural key: domain, number of parts, then each part's name and digest in order.
    #[must_use]
    pub fn of(parts: &KeyParts) -> Self {
        Self(encode(STRUCTURAL, parts, |_| None))
    }

    /// The first 12 hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.0)
    }
}

/// The content key: as the structural one, with the artifact (digest and media type, which decides a file's name for the cell)
/// in place of the part `input.PORT` for each of `inputs`. A caller gives all edges and nothing else.
#[must_use]
pub fn content_key<'a>(
    parts: &KeyParts,
    inputs: impl IntoIterator<Item = (&'a PortName, &'a Feed)>,
) -> Key {
    let mut inputs: Vec<_> = inputs.into_iter().collect();
    inputs.sort_by_key(|(port, _)| *port);
    let digest = encode(CONTENT, parts, |name| {
        let PartName::Input(port) = name else { return None };
        let at = inputs.binary_search_by_key(&port, |(port, _)| *port).ok()?;
        let put = |message: &mut Message, artifact: &Artifact| {
            message.digest(&artifact.digest).text(artifact.media.as_deref().unwrap_or(""));
        };
        Some(match inputs[at].1 {
            Feed::One(artifact) => {
                let mut message = Message::new(ARTIFACT);
                put(&mut message, artifact);
                message.finish()
            }
            Feed::Several(artifacts) => {
                let mut message = Message::new(ARTIFACTS);
                message.count(artifacts.len());
                artifacts.iter().for_each(|artifact| put(&mut message, artifact));
                message.finish()
            }
        })
    });
    Key(digest)
}

fn encode(domain: &str, parts: &KeyParts, instead: impl Fn(&PartName) -> Option<Digest>) -> Digest {
    let mut message = Message::new(domain);
    message.count(parts.len());
    let mut text = String::new();
    for (name, part) in parts.iter() {
        text.clear();
        name.push_to(&mut text);
        message.text(&text).digest(&instead(name).unwrap_or(part.digest));
    }
    message.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    fn parts(load: &str) -> KeyParts {
        [
            (PartName::Code, Part::new(Digest::of(b"code"), "code")),
            (
                PartName::Input("temps".parse().unwrap()),
                Part::new(Digest::of(load.as_bytes()), "x"),
            ),
        ]
        .into_iter()
        .collect()
    }

    fn artifact(bytes: &[u8], media: Option<&str>) -> Artifact {
        Artifact {
            digest: Digest::of(bytes),
            ty: "file".parse().unwrap(),
            size: 1,
            media: media.map(str::to_owned),
        }
    }

    #[test]
    fn a_content_key_forgets_the_producer_and_sees_the_bytes() {
        let port = "temps".parse().unwrap();
        let key = |load, bytes: &[u8], media| {
            content_key(&parts(load), [(&port, &Feed::One(artifact(bytes, media)))])
        };
        assert_eq!(key("v1", b"a", None), key("v2", b"a", None));
        assert_ne!(key("v1", b"a", None), key("v1", b"b", None));
        assert_ne!(key("v1", b"a", None), key("v1", b"a", Some("image/png")));
        assert_ne!(Key::of(&parts("v1")), Key::of(&parts("v2")));
        assert_ne!(Key::of(&parts("v1")), content_key(&parts("v1"), []));
    }

    /// Stores live longer than a version of this program: a change here must come with a new [`SCHEMA`].
    #[test]
    fn the_encoding_is_what_it_was() {
        assert_eq!(Key::of(&parts("v1")).short(), "906af92171dc");
    }
}
