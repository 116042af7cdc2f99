//! The golden tensors of the protocol, as this SDK offers to read and write them.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::Path;

use polyloom_sdk::{Dtype, Npy, cell_seed};

/// What is between `"KEY": "` and the next quote, or between `[` and `]`, in the text of one vector.
fn part<'t>(text: &'t str, key: &str, ends: (char, char)) -> &'t str {
    let after = &text[text.find(&format!("\"{key}\":")).expect(key) + key.len() + 3..];
    let after = &after[after.find(ends.0).expect(key) + 1..];
    &after[..after.find(ends.1).expect(key)]
}

fn words(list: &str) -> Vec<&str> {
    list.split(',').map(|word| word.trim().trim_matches('"')).filter(|it| !it.is_empty()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One element, little-endian.
fn element(dtype: Dtype, text: &str) -> Vec<u8> {
    let int = || text.parse::<i128>().unwrap().to_le_bytes()[..dtype.size()].to_vec();
    match dtype {
        Dtype::F32 => text.parse::<f32>().unwrap().to_le_bytes().to_vec(),
        Dtype::F64 => text.parse::<f64>().unwrap().to_le_bytes().to_vec(),
        _ => int(),
    }
}

#[test]
fn golden_tensors_are_read_and_written_byte_for_byte() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/vectors/npy.json");
    let text = fs::read_to_string(path).unwrap();
    let files = &text[text.find("\"files\"").unwrap()..text.find("\"invalid\"").unwrap()];
    let vectors: Vec<&str> = files.split("\"digest\"").skip(1).collect();
    assert!(vectors.len() >= 14, "{}", vectors.len());
    for vector in vectors {
        let name = part(vector, "name", ('"', '"'));
        let file = bytes(part(vector, "file", ('"', '"')));
        let dtype = part(vector, "dtype", ('"', '"'));
        let dtype = Dtype::ALL.into_iter().find(|it| it.name() == dtype).expect(name);
        let shape: Vec<u64> =
            words(part(vector, "shape", ('[', ']'))).iter().map(|it| it.parse().unwrap()).collect();
        let values = words(part(vector, "values", ('[', ']')));
        let npy = Npy::parse(&file).expect(name);
        assert_eq!((npy.dtype, &npy.shape[..]), (dtype, &shape[..]), "{name}");
        let data: Vec<u8> = values.iter().flat_map(|it| element(dtype, it)).collect();
        assert_eq!(data, file[npy.data..], "{name}: its elements");
        assert_eq!(npy.data_len(), Some(data.len() as u64), "{name}");
        assert_eq!(polyloom_sdk::tensor_file(dtype, &shape, &data).expect(name), file, "{name}");
        assert!(polyloom_sdk::tensor_file(dtype, &shape, &[&data[..], &[0]].concat()).is_none());
    }
}

#[test]
fn seeds_of_cells_are_those_of_every_sdk() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/vectors/seeds.json");
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = text.split("{\n      \"cell\"").skip(1).collect();
    assert!(rows.len() >= 12, "{}", rows.len());
    for row in rows {
        let row = format!("\"cell\"{row}");
        let of = |key| part(&row, key, ('"', '"'));
        let flow = of("flow").parse().unwrap();
        assert_eq!(cell_seed(flow, of("cell")).to_string(), of("seed"));
    }
}
