//! The first lines of a text, or the first bytes of what is none.

use std::fmt::Write;

use super::PreviewOptions;
use crate::escape::escape;
use crate::paint::fit;

/// `bytes` are the beginning of something `size` long.
pub(super) fn show(bytes: &[u8], size: u64, options: PreviewOptions) -> String {
    // The cut may be within a character.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return hex(bytes, size, options),
    };
    if text.contains('\0') {
        return hex(bytes, size, options);
    }
    let mut out = String::new();
    let mut lines = text.lines();
    for line in lines.by_ref().take(options.rows) {
        let _ = writeln!(out, "{}", fit(&escape(line).replace('\t', "    "), options.width));
    }
    let rest = lines.count();
    if size > bytes.len() as u64 {
        out.push_str("… and more\n");
    } else if rest > 0 {
        let _ = writeln!(out, "… {rest} more");
    }
    out
}

fn hex(bytes: &[u8], size: u64, options: PreviewOptions) -> String {
    let mut out = String::new();
    for (row, chunk) in bytes.chunks(16).take(options.rows.min(4)).enumerate() {
        let digits: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String = chunk
            .iter()
            .map(|byte| if (32..127).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        let _ = writeln!(out, "{:08x}  {:<47}  {shown}", row * 16, digits.join(" "));
    }
    if size > 16 * options.rows.min(4) as u64 {
        out.push_str("… and more\n");
    }
    out
}
