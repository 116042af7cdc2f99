//! One layout for everybody: flow files as `polyloom fmt` writes them. Comments stay; what a text means stays.

mod markdown;
mod toml;

use std::sync::Arc;

use crate::canonical::to_json;
use crate::problem::Problem;
use crate::read::{Document, Format};
use crate::source::Source;

/// Formats a text; the result formats to itself. A text that can't be read is not touched.
pub fn format(source: &Arc<Source>, format: Format) -> Result<String, Vec<Problem>> {
    let document = Document::read(source, format)?;
    Ok(match format {
        Format::Toml => toml::format(source.text()),
        Format::Json => to_json(&document),
        Format::Markdown => markdown::format(source),
    })
}
