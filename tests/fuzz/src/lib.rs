//! What is fuzzed: one function per subject, from any bytes to a panic where an invariant is broken. It knows no fuzzer; `libfuzzer/`
//! drives these functions for as long as one likes, `tests/` with the committed corpus and with random changes of it.

mod conversation;
mod flow;
mod names;
mod output;
mod values;
mod wire;

pub use conversation::conversation;
pub use flow::{flow_json, flow_markdown, flow_toml, manifest, selector};
pub use names::artifact_name;
pub use output::{arrow, diagnostics, npy};
pub use values::value;
pub use wire::{body, frame_header};

/// Panics when what is done with these bytes breaks an invariant.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 13] = [
    ("arrow", arrow),
    ("artifact_name", artifact_name),
    ("body", body),
    ("conversation", conversation),
    ("diagnostics", diagnostics),
    ("flow_json", flow_json),
    ("flow_markdown", flow_markdown),
    ("flow_toml", flow_toml),
    ("frame_header", frame_header),
    ("manifest", manifest),
    ("npy", npy),
    ("selector", selector),
    ("value", value),
];

/// Choices out of a fuzzer's bytes, one after the other. When they are used up, every choice is 0.
struct Choices<'b>(&'b [u8]);

impl<'b> Choices<'b> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte()))
    }

    fn bytes(&mut self, length: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
