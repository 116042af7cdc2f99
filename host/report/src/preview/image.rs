//! What an image says of itself in its first bytes: format, width and height. Nothing is decoded.

use std::io;

use super::{Source, head};

/// Headers end well before this, also behind embedded colour profiles of a usual size.
const HEAD: u64 = 512 << 10;

pub(super) fn is_image(bytes: &[u8]) -> bool {
    format(bytes).is_some()
}

pub(super) fn show(source: &mut dyn Source) -> io::Result<String> {
    let bytes = head(source, HEAD)?;
    Ok(match (format(&bytes), dimensions(&bytes)) {
        (None, _) => "not an image of a known format\n".to_owned(),
        (Some(format), None) => format!("{format}\n"),
        (Some(format), Some((width, height))) => format!("{format}, {width} × {height}\n"),
    })
}

fn format(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("PNG")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("JPEG")
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some("GIF")
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("WebP")
    } else if is_svg(bytes) {
        Some("SVG")
    } else {
        None
    }
}

fn is_svg(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with("<svg")
        || ((text.starts_with("<?xml") || text.starts_with("<!")) && text.contains("<svg"))
}

fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let be16 = |at: usize| Some(u32::from(u16::from_be_bytes(array(bytes, at)?)));
    let le16 = |at: usize| Some(u32::from(u16::from_le_bytes(array(bytes, at)?)));
    match format(bytes)? {
        "PNG" => {
            Some((u32::from_be_bytes(array(bytes, 16)?), u32::from_be_bytes(array(bytes, 20)?)))
        }
        "GIF" => Some((le16(6)?, le16(8)?)),
        "WebP" => match bytes.get(12..16)? {
            // Sizes are stored less one, in 24 bits.
            b"VP8X" => {
                let le24 = |at: usize| {
                    let [a, b, c]: [u8; 3] = array(bytes, at)?;
                    Some(u32::from_le_bytes([a, b, c, 0]) + 1)
                };
                Some((le24(24)?, le24(27)?))
            }
            b"VP8 " => Some((le16(26)? & 0x3fff, le16(28)? & 0x3fff)),
            b"VP8L" => {
                let bits = u32::from_le_bytes(array(bytes, 21)?);
                Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
            }
            _ => None,
        },
        "JPEG" => {
            // Segments one after the other until the one that starts a frame.
            let mut at = 2;
            loop {
                let [mark, kind]: [u8; 2] = array(bytes, at)?;
                if mark != 0xff {
                    return None;
                }
                match kind {
                    0xff => at += 1,
                    0x01 | 0xd0..=0xd8 => at += 2,
                    0xc0..=0xcf if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => {
                        return Some((be16(at + 7)?, be16(at + 5)?));
                    }
                    _ => at += 2 + usize::try_from(be16(at + 2)?).ok()?,
                }
            }
        }
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
