//! The golden vectors: built from the code, compared with `vectors/*.json`, and rewritten with `UPDATE=1`.
//! Implementations in other languages test themselves against the same files.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod conversations;
mod frames;
mod npy;
mod seeds;
mod values;

use std::path::PathBuf;

use serde_json::{Value as Json, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares with the committed file, or writes it.
fn compare(name: &str, built: &Json) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let built = serde_json::to_string_pretty(built).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, built).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, built, "`{name}` differs from the code; rewrite it with UPDATE=1");
}

#[test]
fn frames_match_their_vectors() {
    compare(
        "frames.json",
        &json!({
            "about": "section 12 of SPEC.md; `body` is the message in the JSON form of values, `hex` the whole frame",
            "preamble": hex(&polyloom_protocol::frame::PREAMBLE),
            "from_worker": frames::from_worker(),
            "from_host": frames::from_host(),
            "tolerated": frames::tolerated(),
            "invalid": frames::invalid(),
        }),
    );
}

#[test]
fn seeds_match_their_vectors() {
    compare(
        "seeds.json",
        &json!({
            "about": "section 6.3 of SPEC.md; `seed` is that of the cell `cell` in a flow of seed `flow`; numbers are texts",
            "seeds": seeds::seeds(),
        }),
    );
}

#[test]
fn values_match_their_vectors() {
    compare(
        "values.json",
        &json!({
            "about": "section 12 of SPEC.md; `tagged` names each type, `json` is the JSON form as text, `text` the plain text of a scalar",
            "valid": values::valid(),
            "not_canonical": values::not_canonical(),
            "invalid": values::invalid(),
            "invalid_json": values::invalid_json(),
        }),
    );
}

#[test]
fn npy_headers_match_their_vectors() {
    compare(
        "npy.json",
        &json!({
            "about": "section 12 of SPEC.md; `header` is everything before the data; `files` are whole",
            "valid": npy::valid(),
            "tolerated": npy::tolerated(),
            "invalid": npy::invalid(),
            "files": npy::files(),
        }),
    );
}
