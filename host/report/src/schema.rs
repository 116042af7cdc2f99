//! JSON Schemas of what leaves the program as JSON. The committed files under `schema/` are these.

use polyloom_events::Record;

use crate::document::RunDocument;

/// The schema of one line of the event stream.
#[must_use]
pub fn events_schema() -> String {
    pretty(&schemars::schema_for!(Record))
}

/// The schema of the document of a whole run.
#[must_use]
pub fn run_schema() -> String {
    pretty(&schemars::schema_for!(RunDocument))
}

fn pretty(schema: &schemars::Schema) -> String {
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}
