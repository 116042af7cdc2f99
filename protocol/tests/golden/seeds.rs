//! Vectors of seeds.

use polyloom_protocol::seed::cell_seed;
use serde_json::{Value as Json, json};

/// Seeds are texts: not every reader of JSON has integers of 64 bits.
pub fn seeds() -> Vec<Json> {
    let long = "x".repeat(200);
    let rows = [
        (0, "load"),
        (0, "blur"),
        (1, "blur"),
        (42, "blur"),
        (-1, "blur"),
        (i64::MAX, "blur"),
        (i64::MIN, "blur"),
        (0, "inner/blur"),
        (0, "blur[3]"),
        (7, "größe"),
        (7, ""),
        (123_456_789, long.as_str()),
    ];
    let row = |(flow, cell): (i64, &str)| {
        let seed = cell_seed(flow, cell);
        assert!(seed >= 0);
        json!({ "flow": flow.to_string(), "cell": cell, "seed": seed.to_string() })
    };
    rows.map(row).into()
}
