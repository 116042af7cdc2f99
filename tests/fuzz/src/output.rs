//! What cells and their compilers leave for the host to look at: headers of files, and messages.

use polyloom_model::{Dtype, Type};
use polyloom_protocol::npy::{ALIGNMENT, MAX_RANK, Npy, header};
use polyloom_worker::diagnostics::{Format, MAX_DIAGNOSTICS, MAX_MESSAGE, parse};
use polyloom_worker::{check_arrow, check_npy, sniff_image};

use crate::Choices;

/// A `.npy` file, the declared type before it.
pub fn npy(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let dtype = Dtype::ALL[usize::from(choices.byte()) % Dtype::ALL.len()];
    let declared = choices.byte();
    let file = choices.0;
    let shape: Option<Vec<Option<u64>>> = (declared < 0x80).then(|| {
        (0..declared % 5).map(|at| (declared >> at & 1 == 1).then_some(at.into())).collect()
    });
    let checked = check_npy(file, file.len() as u64, Some(dtype), shape.as_deref());
    let Ok(npy) = Npy::parse(file) else {
        assert!(checked.is_err(), "accepted without a header");
        return;
    };
    assert!(npy.data.is_multiple_of(ALIGNMENT) && npy.data <= file.len());
    assert!(npy.shape.len() <= MAX_RANK);
    let length = npy.data_len().expect("a shape that fits");
    if checked.is_ok() {
        assert_eq!(npy.dtype, dtype);
        assert_eq!(npy.data as u64 + length, file.len() as u64, "accepted with another length");
    }
    // Our own spelling of the same.
    let ours = header(npy.dtype, &npy.shape);
    let again = Npy::parse(&ours).expect("what we write we read");
    assert_eq!((again.dtype, again.shape, again.data), (npy.dtype, npy.shape, ours.len()));
}

/// Both ends of a file that should be a table, and the same bytes as a picture.
pub fn arrow(bytes: &[u8]) {
    let tail = &bytes[bytes.len() - bytes.len().min(6)..];
    if check_arrow(bytes, tail).is_ok() {
        assert!(bytes.starts_with(b"ARROW1") && bytes.ends_with(b"ARROW1"));
    }
    if let Some((media, extension)) = sniff_image(bytes) {
        assert!(media.starts_with("image/") && extension.starts_with('.'));
    }
    for ty in [Type::Any, Type::Int, Type::Bytes, Type::Vec2, Type::Color] {
        for encoded in [false, true] {
            if let Ok(value) = polyloom_worker::read_value(bytes.to_vec(), encoded, &ty) {
                let again = polyloom_worker::read_value(value.to_msgpack(), true, &ty);
                assert_eq!(again.as_ref(), Ok(&value), "stored, it is no {ty} any more");
            }
        }
    }
}

/// Patterns of the bundled manifests.
const PATTERNS: [&str; 3] = [
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:(?P<col>\d+):)? (?P<severity>error|warning): (?P<message>.*)$",
    r"(?P<message>.+) at (?P<file>\S+) line (?P<line>\d+)",
    r"(?P<message>(?:a|b|.)*x?)\b(?P<code>\w*)",
];

/// What a tool printed, after one byte that says how it is read; a hostile manifest brings the pattern along, before a NUL.
pub fn diagnostics(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let how = choices.byte();
    let text = String::from_utf8_lossy(choices.0);
    let (format, text) = match how % 5 {
        0 => (Format::Gcc, &*text),
        4 => match text.split_once('\0') {
            // Each match may look at all that is left: with longer texts a fuzzer only finds the two seconds that it may take.
            Some((pattern, text)) => {
                (Format::Regex(pattern.to_owned()), &text[..text.floor_char_boundary(512)])
            }
            None => return,
        },
        at => (Format::Regex(PATTERNS[usize::from(at) - 1].to_owned()), &*text),
    };
    let found = parse(&format, text, "/cell/code/c.c");
    assert!(found.len() <= MAX_DIAGNOSTICS);
    for diag in &found {
        assert!(diag.message.len() <= MAX_MESSAGE);
        assert!(matches!(diag.severity.as_str(), "error" | "warning" | "note"));
        assert!(diag.code.as_ref().is_none_or(|code| code.len() <= 256));
        assert!(diag.file.as_ref().is_none_or(|file| file.len() <= 4096));
    }
}
