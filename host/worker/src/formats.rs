//! The few bytes of a format that the host looks at itself: magic numbers, the `.npy` header, text forms of values.
//! Artifacts are never parsed beyond that in the host's process.

use polyloom_model::{Dtype, Type, Value, conform};
use polyloom_protocol::npy::Npy;
use polyloom_protocol::value::Scalar;

/// The picture formats a port of type image takes: media type and file extension.
#[must_use]
pub fn sniff_image(head: &[u8]) -> Option<(&'static str, &'static str)> {
    if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(("image/png", ".png"));
    }
    if head.starts_with(b"\xff\xd8\xff") {
        return Some(("image/jpeg", ".jpg"));
    }
    if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
        return Some(("image/gif", ".gif"));
    }
    if head.len() >= 12 && head.starts_with(b"RIFF") && &head[8..12] == b"WEBP" {
        return Some(("image/webp", ".webp"));
    }
    let text = String::from_utf8_lossy(&head[..head.len().min(1024)]);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        return Some(("image/svg+xml", ".svg"));
    }
    None
}

/// The media type that goes with a file extension, for files whose content is not looked at.
#[must_use]
pub fn media_of(extension: &str) -> &'static str {
    match extension {
        ".csv" => "text/csv",
        ".tsv" => "text/tab-separated-values",
        ".json" => "application/json",
        ".txt" => "text/plain",
        ".md" => "text/markdown",
        ".html" => "text/html",
        ".xml" => "application/xml",
        ".svg" => "image/svg+xml",
        ".gif" => "image/gif",
        ".webp" => "image/webp",
        ".png" => "image/png",
        ".jpg" | ".jpeg" => "image/jpeg",
        ".arrow" => "application/vnd.apache.arrow.file",
        ".npy" => "application/x-npy",
        ".parquet" => "application/vnd.apache.parquet",
        ".pdf" => "application/pdf",
        ".zip" => "application/zip",
        ".gz" => "application/gzip",
        ".wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The file extension that goes with a media type, with its dot; empty when none is usual.
#[must_use]
pub fn extension_of(media: &str) -> &'static str {
    const EXTENSIONS: [&str; 19] = [
        ".csv", ".tsv", ".json", ".txt", ".md", ".html", ".xml", ".svg", ".png", ".jpg", ".arrow",
        ".npy", ".parquet", ".pdf", ".zip", ".gz", ".wasm", ".gif", ".webp",
    ];
    EXTENSIONS.into_iter().find(|extension| media_of(extension) == media).unwrap_or_default()
}

/// Looks at the first and last bytes of a stored file that is to be read as `ty`. Gives the media type where the
/// content tells it.
pub fn check_file(path: &std::path::Path, ty: &Type) -> Result<Option<&'static str>, String> {
    use std::io::{Read, Seek, SeekFrom};
    let open = || -> std::io::Result<(Vec<u8>, Vec<u8>, u64)> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = Vec::new();
        file.by_ref().take(70_000).read_to_end(&mut head)?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(size.saturating_sub(8)))?;
        file.take(8).read_to_end(&mut tail)?;
        Ok((head, tail, size))
    };
    if !matches!(ty, Type::Table | Type::Tensor(..) | Type::Image) {
        return Ok(None);
    }
    let (head, tail, size) = open().map_err(|error| format!("can't be read: {error}"))?;
    match ty {
        Type::Table => check_arrow(&head, &tail).map(|()| Some(media_of(".arrow"))),
        Type::Tensor(dtype, shape) => {
            check_npy(&head, size, *dtype, shape.as_deref()).map(|()| Some(media_of(".npy")))
        }
        _ => match sniff_image(&head) {
            Some((media, _)) => Ok(Some(media)),
            None => Err("expected a PNG, JPEG, GIF, WebP or SVG picture".to_owned()),
        },
    }
}

/// Checks both ends of an Arrow IPC file.
pub fn check_arrow(head: &[u8], tail: &[u8]) -> Result<(), String> {
    if head.starts_with(b"ARROW1\0\0") && tail.ends_with(b"ARROW1") {
        Ok(())
    } else {
        Err("expected an Arrow IPC file (it begins and ends with `ARROW1`)".to_owned())
    }
}

/// Checks a `.npy` file of `size` bytes against the declared dtype and shape.
pub fn check_npy(
    head: &[u8],
    size: u64,
    dtype: Option<Dtype>,
    shape: Option<&[Option<u64>]>,
) -> Result<(), String> {
    let npy = Npy::parse(head).map_err(|error| error.to_string())?;
    if let Some(dtype) = dtype
        && npy.dtype != dtype
    {
        return Err(format!("expected tensor<{}>, found dtype {}", dtype.name(), npy.dtype.name()));
    }
    if let Some(shape) = shape {
        let fits = shape.len() == npy.shape.len()
            && shape.iter().zip(&npy.shape).all(|(want, is)| want.is_none_or(|want| want == *is));
        if !fits {
            let declared = Type::Tensor(dtype, Some(shape.to_vec()));
            return Err(format!("expected {declared}, found shape {:?}", npy.shape));
        }
    }
    let bytes = npy.data_len().and_then(|bytes| bytes.checked_add(npy.data as u64));
    if bytes != Some(size) {
        return Err(format!("the .npy file has {size} bytes, which is not what its shape needs"));
    }
    Ok(())
}

/// A value output in its encoded or its text form, brought into the declared type.
pub fn read_value(bytes: Vec<u8>, encoded: bool, ty: &Type) -> Result<Value, String> {
    let value = if encoded {
        Value::from_msgpack(&bytes).map_err(|error| error.to_string())
    } else {
        from_text(bytes, ty)
    };
    let value = value.map_err(|error| format!("not a value of type {ty}: {error}"))?;
    conform(value, ty).map_err(|mismatch| mismatch.to_string())
}

fn from_text(bytes: Vec<u8>, ty: &Type) -> Result<Value, String> {
    let scalar = match ty {
        Type::Bytes => return Ok(Value::Bytes(bytes)),
        Type::Null => Some(Scalar::Null),
        Type::Bool => Some(Scalar::Bool),
        Type::Int | Type::Seed => Some(Scalar::Int),
        Type::Float => Some(Scalar::Float),
        Type::Str | Type::Enum(_) | Type::Color => Some(Scalar::Str),
        _ => None,
    };
    let text = String::from_utf8(bytes).map_err(|_| "its text is not UTF-8".to_owned())?;
    let json = || Value::from_json(&text).map_err(|error| error.to_string());
    match (scalar, ty) {
        (Some(scalar), _) => Value::from_text(&text, scalar).map_err(|error| error.to_string()),
        // A text needs no quotes where nothing else fits.
        (None, Type::Union(members)) if members.contains(&Type::Str) => {
            let other = json().ok().filter(|value| conform(value.clone(), ty).is_ok());
            match other {
                Some(value) => Ok(value),
                None => Value::from_text(&text, Scalar::Str).map_err(|error| error.to_string()),
            }
        }
        (None, _) => json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_headers_are_checked_against_type_and_size() {
        let head = polyloom_protocol::npy::header(Dtype::F64, &[3]);
        let size = head.len() as u64 + 24;
        assert!(check_npy(&head, size, Some(Dtype::F64), Some(&[None])).is_ok());
        assert!(check_npy(&head, size, Some(Dtype::F32), None).is_err());
        assert!(check_npy(&head, size - 1, Some(Dtype::F64), None).is_err());
        assert!(check_npy(&head, size, Some(Dtype::F64), Some(&[Some(4)])).is_err());
        assert!(check_npy(&head[..20], size, Some(Dtype::F64), None).is_err());
    }

    #[test]
    fn golden_tensors_are_what_they_are_declared_as_and_nothing_else() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../protocol/vectors/npy.json");
        let text = std::fs::read(path).expect("the protocol's vectors");
        let vectors: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let bytes = |hex: &serde_json::Value| -> Vec<u8> {
            let hex = hex.as_str().expect("a text");
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            (0..hex.len()).step_by(2).map(byte).collect()
        };
        let files = vectors["files"].as_array().expect("a list");
        assert!(files.len() >= 14);
        for file in files {
            let content = bytes(&file["file"]);
            let size = content.len() as u64;
            let head = &content[..content.len().min(4096)];
            let dtype = file["dtype"].as_str().expect("a text");
            let shape = file["shape"].as_array().expect("a list");
            let shape: Vec<Option<u64>> = shape.iter().map(serde_json::Value::as_u64).collect();
            for other in Dtype::ALL {
                let fits = check_npy(head, size, Some(other), Some(&shape));
                assert_eq!(fits.is_ok(), other.name() == dtype, "{dtype} as {}", other.name());
            }
            let own = Dtype::ALL.into_iter().find(|it| it.name() == dtype).expect("a dtype");
            assert!(check_npy(head, size + 1, Some(own), None).is_err(), "{dtype}");
            let mut deeper = shape.clone();
            deeper.push(None);
            assert!(check_npy(head, size, Some(own), Some(&deeper)).is_err(), "{dtype}");
        }
        for file in vectors["invalid"].as_array().expect("a list") {
            let head = bytes(&file["header"]);
            assert!(check_npy(&head, 1 << 40, Some(Dtype::F64), None).is_err(), "{}", file["name"]);
        }
    }

    #[test]
    fn text_forms_follow_the_declared_type() {
        let read = |text: &str, ty: &str| read_value(text.into(), false, &ty.parse().unwrap());
        assert_eq!(read("42\n", "int"), Ok(Value::Int(42)));
        assert_eq!(read("42\n", "float"), Ok(Value::Float(42.0)));
        assert_eq!(read("hi\n\n", "str"), Ok(Value::Str("hi\n".into())));
        assert_eq!(read("[1,2]", "list<float>"), Ok(vec![1.0, 2.0].into()));
        assert_eq!(read("42", "int|str"), Ok(Value::Int(42)));
        assert_eq!(read("hi\n", "int|str"), Ok(Value::Str("hi".into())));
        assert_eq!(read("null", "int|null"), Ok(Value::Null));
        assert!(read("4.5", "int").is_err());
        assert!(read("nope", "enum{a,b}").is_err());
        assert!(read("{", "any").is_err());
    }

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        assert_eq!(sniff_image(b"<?xml version='1.0'?>\n<svg xmlns='x'>").unwrap().1, ".svg");
        assert_eq!(sniff_image(b"\x89PNG\r\n\x1a\n....").unwrap().0, "image/png");
        assert_eq!(sniff_image(b"<html>"), None);
    }
}
