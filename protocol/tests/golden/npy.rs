//! Vectors of `.npy` headers and files.

use polyloom_protocol::npy::{Dtype, Npy, header};
use serde_json::{Value as Json, json};

use crate::hex;

fn one(dtype: Dtype, shape: &[u64]) -> Json {
    let bytes = header(dtype, shape);
    let read = Npy::parse(&bytes).unwrap();
    assert_eq!((read.dtype, &*read.shape, read.data), (dtype, shape, bytes.len()));
    json!({ "dtype": dtype.name(), "descr": dtype.descr(), "shape": shape, "header": hex(&bytes) })
}

pub fn valid() -> Vec<Json> {
    let mut out: Vec<_> = Dtype::ALL.into_iter().map(|dtype| one(dtype, &[3])).collect();
    out.push(one(Dtype::F64, &[]));
    out.push(one(Dtype::F64, &[0]));
    out.push(one(Dtype::F64, &[2, 3]));
    out.push(one(Dtype::U8, &[480, 640, 4]));
    out.push(one(Dtype::I64, &[1_000_000_007, 1, 1, 1, 1, 1, 1, 1]));
    out
}

fn raw(text: &str, pad: bool) -> Vec<u8> {
    let mut text = text.to_owned();
    while pad && !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\0".to_vec();
    out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

pub fn tolerated() -> Vec<Json> {
    [
        ("other order", "{'shape': (2,), 'fortran_order': False, 'descr': '<i4'}"),
        ("double quotes, tight", r#"{"descr":"<f4","fortran_order":False,"shape":(2,)}"#),
        ("one-byte type with order", "{'descr': '<u1', 'fortran_order': False, 'shape': (2,), }"),
        ("fortran vector", "{'descr': '<f8', 'fortran_order': True, 'shape': (2,), }"),
    ]
    .map(|(name, text)| {
        let bytes = raw(text, true);
        let read = Npy::parse(&bytes).unwrap();
        json!({ "name": name, "dtype": read.dtype.name(), "shape": read.shape, "header": hex(&bytes) })
    })
    .into()
}

pub fn invalid() -> Vec<Json> {
    let good = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
    let swap = |from, to| raw(&good.replace(from, to), true);
    let mut version = raw(good, true);
    version[6] = 2;
    let cases = [
        ("empty", Vec::new()),
        ("version 2.0", version),
        ("header cut off", raw(good, true)[..40].to_vec()),
        ("unaligned", raw(good, false)),
        ("big endian", swap("<f8", ">f8")),
        ("object", swap("<f8", "|O")),
        ("complex", swap("<f8", "<c16")),
        ("float in one byte", swap("<f8", "<f1")),
        ("fortran matrix", swap("False, 'shape': (2,)", "True, 'shape': (2, 2)")),
        ("negative length", swap("(2,)", "(-2,)")),
        ("signed length", swap("(2,)", "(+2,)")),
        ("too large", swap("(2,)", "(4294967296, 4294967296)")),
        ("key missing", swap("'shape': (2,), ", "")),
        ("key twice", swap("'shape': (2,), ", "'shape': (2,), 'shape': (2,), ")),
        ("not a dictionary", raw("[1, 2]", true)),
        ("something behind it", swap("), }", "), } x")),
    ];
    cases
        .map(|(name, bytes)| {
            let error = Npy::parse(&bytes).expect_err(name);
            json!({ "name": name, "header": hex(&bytes), "error": error.name() })
        })
        .into()
}

/// A whole file: elements as text, in C order, and what they are in it.
fn file<T: ToString + Copy, const N: usize>(
    name: &str,
    dtype: Dtype,
    shape: &[u64],
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> Json {
    let mut file = header(dtype, shape);
    file.extend(values.iter().flat_map(|value| bytes(*value)));
    let npy = Npy::parse(&file).unwrap();
    assert_eq!(npy.data_len().unwrap() as usize + npy.data, file.len(), "{name}");
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    json!({
        "name": name,
        "dtype": dtype.name(),
        "shape": shape,
        "values": values,
        "file": hex(&file),
        "digest": blake3::hash(&file).to_hex().as_str(),
    })
}

pub fn files() -> Vec<Json> {
    let f32s = [0.0, -0.0, 1.5, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY];
    let f64s = [0.0, -0.0, 0.1, 5e-324, f64::MAX, f64::NEG_INFINITY];
    let one = |flag: u8| [flag];
    vec![
        file("flags", Dtype::Bool, &[3], &[1, 0, 1], one),
        file("i8", Dtype::I8, &[3], &[i8::MIN, -1, i8::MAX], i8::to_le_bytes),
        file("i16", Dtype::I16, &[3], &[i16::MIN, 258, i16::MAX], i16::to_le_bytes),
        file("i32", Dtype::I32, &[3], &[i32::MIN, 16_909_060, i32::MAX], i32::to_le_bytes),
        file("i64", Dtype::I64, &[3], &[i64::MIN, 1 << 53 | 1, i64::MAX], i64::to_le_bytes),
        file("u8", Dtype::U8, &[2, 2], &[0, 1, 2, u8::MAX], u8::to_le_bytes),
        file("u16", Dtype::U16, &[2], &[258, u16::MAX], u16::to_le_bytes),
        file("u32", Dtype::U32, &[2], &[16_909_060, u32::MAX], u32::to_le_bytes),
        file("u64", Dtype::U64, &[2], &[1 << 53 | 1, u64::MAX], u64::to_le_bytes),
        file("f32", Dtype::F32, &[6], &f32s, f32::to_le_bytes),
        file("f64", Dtype::F64, &[2, 3], &f64s, f64::to_le_bytes),
        file("scalar", Dtype::F64, &[], &[2.5], f64::to_le_bytes),
        file("hollow", Dtype::I32, &[2, 0, 3], &[], i32::to_le_bytes),
        // Long enough for a second line of padding.
        file("deep", Dtype::U8, &[1; 32], &[7], u8::to_le_bytes),
    ]
}
