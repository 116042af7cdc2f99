//! The targets with random input, briefly, in every test run: what their corpora begin, changed, and what is made up.

use std::fs;
use std::path::Path;

use polyloom_protocol::frame::encode;
use polyloom_test_fuzz::{
    artifact_name, body, conversation, flow_json, flow_markdown, flow_toml, frame_header, manifest,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};

/// Runs a property; a few tenths of a second in a debug build.
fn holds<S: Strategy>(cases: u32, inputs: S, property: impl Fn(S::Value)) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        property(input);
        Ok::<(), TestCaseError>(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The smaller files of a corpus, in a fixed order.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    let files = paths.iter().map(|path| fs::read(path).expect("a readable file"));
    files.filter(|file| file.len() < 4096).collect()
}

/// A file of the corpus in which a few pieces were cut out, put in or taken from another file.
fn changed(target: &str, pieces: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop_oneof![pieces.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..4),];
    let change = (any::<Index>(), 0..10_usize, piece);
    let other = (any::<Index>(), any::<Index>());
    let files = prop::sample::select(corpus(target));
    let changes = prop::collection::vec(change, 0..6);
    (files.clone(), changes, prop::option::of((files, other))).prop_map(
        |(mut file, changes, spliced)| {
            for (at, removed, added) in changes {
                let at = at.index(file.len() + 1);
                let end = (at + removed).min(file.len());
                file.splice(at..end, added);
            }
            if let Some((other, (here, there))) = spliced {
                file.truncate(here.index(file.len() + 1));
                file.extend_from_slice(&other[there.index(other.len() + 1)..]);
            }
            file
        },
    )
}

/// What steers the readers of flows and manifests.
const PIECES: &str = "[\\[\\]{}=:,.\"'#|`\n -]{0,3}|code|lang|inputs|enum\\{a,a\\}|\\PC{0,2}";

#[test]
fn frames_are_what_was_sent_however_they_are_cut() {
    let frame = (any::<u8>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..40));
    let streams = (prop::collection::vec(frame, 0..6), any::<Index>(), any::<u8>(), 1..60_u8);
    holds(512, streams, |(frames, at, byte, cut)| {
        let mut stream = polyloom_protocol::frame::PREAMBLE.to_vec();
        for (kind, exec, body) in &frames {
            if let Ok(frame) = encode(*kind, *exec, body) {
                stream.extend(frame);
            }
        }
        frame_header(&[&[cut], stream.as_slice()].concat());
        let at = at.index(stream.len());
        stream[at] = byte;
        frame_header(&[&[cut], stream.as_slice()].concat());
        stream.truncate(at);
        frame_header(&[&[cut], stream.as_slice()].concat());
    });
    holds(512, changed("frame_header", "x"), |bytes| frame_header(&bytes));
}

#[test]
fn bodies_are_read_as_they_are_written_or_refused() {
    holds(1024, changed("body", "[a-z]{0,8}"), |bytes| body(&bytes));
    holds(1024, prop::collection::vec(any::<u8>(), 0..64), |bytes| body(&bytes));
}

#[test]
fn every_accepted_sequence_follows_the_rules() {
    // Mostly a handshake first, since without it all is refused; then steps, mostly with the ids and lengths that matter.
    let greeting = prop_oneof![
        4 => Just(vec![0x00, 6, 0, 0x80, 6]),
        1 => Just(Vec::new()),
    ];
    let step = (any::<u8>(), prop_oneof![4 => 0..8_u8, 1 => any::<u8>()], any::<u8>());
    let steps = prop::collection::vec(step, 0..60);
    holds(1536, (greeting, steps), |(mut bytes, steps)| {
        bytes.extend(steps.into_iter().flat_map(|(what, exec, length)| [what, exec, length]));
        conversation(&bytes);
    });
    holds(1024, changed("conversation", "x"), |bytes| conversation(&bytes));
}

#[test]
fn a_manifest_is_read_or_refused_with_a_reason() {
    holds(256, changed("manifest", PIECES), |bytes| manifest(&bytes));
}

#[test]
fn a_flow_means_the_same_in_every_form() {
    holds(48, changed("flow_toml", PIECES), |bytes| flow_toml(&bytes));
    holds(48, changed("flow_json", PIECES), |bytes| flow_json(&bytes));
    holds(96, changed("flow_markdown", PIECES), |bytes| flow_markdown(&bytes));
}

#[test]
fn no_name_of_an_artifact_leads_out() {
    let part =
        "\\.{1,2}|[a-z]{1,3}|[A-Z]{1,3}|con|aux\\.txt|\\PC{1,3}|[\u{1}-\u{1f}\\\\:*?<>| .]{1,2}";
    let name = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    holds(96, prop::collection::vec(name, 1..5), |names| {
        artifact_name(names.join("\0").as_bytes())
    });
    holds(96, changed("artifact_name", "[/\\.\0a]{0,3}"), |bytes| artifact_name(&bytes));
}
