//! What a kernel displays: the form that shows it best. Knows no socket.

use serde_json::{Map, Value};

use crate::message::text;

/// Forms from the best to the plainest, each with the extension of its files.
const FORMS: &[(&str, &str)] = &[
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/latex", "tex"),
    ("application/json", "json"),
    ("text/plain", "txt"),
];

/// Something to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its media type.
    pub media: &'static str,
    /// The extension of a file of that type.
    pub extension: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The best of the forms in which something came (`data` of a display); nothing where none is known.
pub fn best(data: &Map<String, Value>) -> Option<Shown> {
    FORMS.iter().find_map(|(media, extension)| {
        let value = data.get(*media)?;
        let bytes = match (*media, value) {
            ("application/json", value) => value.to_string().into_bytes(),
            ("image/svg+xml", value) => text(value).into_bytes(),
            (media, value) if media.starts_with("image/") => base64(&text(value))?,
            (_, value) => text(value).into_bytes(),
        };
        (!bytes.is_empty()).then_some(Shown { media, extension, bytes })
    })
}

/// Reads base64 with its line breaks; nothing where it is something else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut bits) = (0_u32, 0);
    for c in text.trim_end().trim_end_matches('=').bytes().filter(|c| !c.is_ascii_whitespace()) {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits & 0xff) as u8);
            group &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(data: Value) -> Option<(&'static str, Vec<u8>)> {
        let Value::Object(data) = data else { panic!("a table") };
        best(&data).map(|shown| (shown.media, shown.bytes))
    }

    #[test]
    fn pictures_go_before_pages_and_pages_before_text() {
        let all = json!({
            "text/plain": "<Figure>", "text/html": ["<p>", "x</p>"], "image/png": "iVBORw0K\nGgo=\n"
        });
        assert_eq!(shown(all), Some(("image/png", b"\x89PNG\r\n\x1a\n".to_vec())));
        let page = json!({"text/plain": "x", "text/html": ["<p>", "x</p>"]});
        assert_eq!(shown(page), Some(("text/html", b"<p>x</p>".to_vec())));
        let odd = json!({"image/png": "not base64!", "text/plain": "x", "application/x-own": 1});
        assert_eq!(shown(odd), Some(("text/plain", b"x".to_vec())));
        assert_eq!(
            shown(json!({"application/json": {"a": [1]}})),
            Some(("application/json", b"{\"a\":[1]}".to_vec()))
        );
        assert_eq!(shown(json!({"application/x-own": "x", "text/plain": 7})), None);
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64("a=b"), None);
    }
}
