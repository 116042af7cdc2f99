//! How artifacts look, and that no bytes whatever bring the readers down.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use polyloom_protocol::Value;
use polyloom_report::{PreviewOptions, Subject, preview};
use proptest::prelude::*;

const TYPES: &[u8] = include_bytes!("data/types.arrow");
const COMPRESSED: &[u8] = include_bytes!("data/compressed.arrow");

fn look(ty: &str, bytes: &[u8]) -> String {
    let subject = Subject { r#type: ty, media_type: None, size: bytes.len() as u64, path: None };
    preview(&subject, &mut Cursor::new(bytes), PreviewOptions { rows: 5, width: 200 }).unwrap()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(127 - 10 - header.len() + 64));
    header.push('\n');
    let len = u16::try_from(header.len()).unwrap();
    [&b"\x93NUMPY\x01\x00"[..], &len.to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn tables_show_their_head() {
    insta::assert_snapshot!(look("table", TYPES), @r#"
    table, 4.7 KiB
    3 rows × 15 columns
    day         at                           temp  half    n                   big  tags       rain   kind       note                wide                                      raw        pos     none  last
    date        timestamp<us,UTC>             f64  f16    i8                   u64  list<str>  bool   dict<str>  str                 str                                       bytes      record  null   f32
    2012-01-01  2012-01-01 12:30:00.123456Z  12.8  1.5     1  18446744073709551615  …          true   sun        ok                  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  <2 bytes>  …       null     1
    2012-01-02  null                         null  2      -2                     0  …          null   rain       \x1b[2J\u{202e}txt                                            null       …       null     2
    null        1969-12-31 23:59:59Z         -0.5  -0.25   3                     1  …          false  sun        null                ü                                         <0 bytes>  …       null     3
    "#);
    insta::assert_snapshot!(look("table", COMPRESSED), @r#"
    table, 762 B
    3 rows × 2 columns
    compressed, rows are not shown
     n  note
    i8  str
    … 3 more
    "#);
}

#[test]
fn tensors_show_values_range_and_bars() {
    let data: Vec<u8> =
        (0..100).map(|i| f64::from(i * i)).chain([f64::NAN]).flat_map(f64::to_le_bytes).collect();
    insta::assert_snapshot!(look("tensor<f64,[n]>", &npy("<f8", "(101,)", &data)), @r#"
    tensor<f64,[n]>, 1000 B
    f64 [101]
    0 1 4 9 16 25 36 49 64 81 100 121 144 169 196 225 …
    min 0  max 9801  mean 3283.500000  1 not finite
    ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▅▆▆▆▆▆▇▇▇▇███
    "#);
    let data: Vec<u8> = (-3_i16..3).flat_map(i16::to_le_bytes).collect();
    insta::assert_snapshot!(look("tensor<i16>", &npy("<i2", "(2, 3)", &data)), @r#"
    tensor<i16>, 204 B
    i16 [2, 3]
    -3 -2 -1 0 1 2
    min -3  max 2  mean -0.500000
    "#);
    insta::assert_snapshot!(look("tensor<bool>", &npy("|b1", "()", &[1])), @r#"
    tensor<bool>, 193 B
    bool []
    true
    min 1  max 1  mean 1.000000
    "#);
    insta::assert_snapshot!(look("tensor<f64>", &npy("<f8", "(9999999999, 9999999999)", &[0; 20])), @r#"
    tensor<f64>, 212 B
    f64 [9999999999, 9999999999]
    damaged: 20 B of data
    0 0 …
    min 0  max 0  mean 0.000000  (of the first 2)
    "#);
}

#[test]
fn values_look_like_json() {
    let map = |items: &[(&str, Value)]| {
        Value::Map(
            items.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<BTreeMap<_, _>>(),
        )
    };
    let day = map(&[
        ("max", Value::Float(12.8)),
        ("rain", Value::Bool(false)),
        ("text", Value::Str("\u{1b}\"x".into())),
    ]);
    let value = map(&[
        ("days", Value::List(vec![day; 9])),
        ("raw", Value::Bytes(vec![0; 3])),
        ("n", Value::Int(-1)),
    ]);
    insta::assert_snapshot!(look("any", &value.to_msgpack()), @r#"
    any, 280 B
    {
      "days": [
        { "max": 12.8, "rain": false, "text": "\x1b\"x" }
        { "max": 12.8, "rain": false, "text": "\x1b\"x" }
        { "max": 12.8, "rain": false, "text": "\x1b\"x" }
        … 6 more
      ]
      … 2 more
    }
    "#);
    let options = PreviewOptions { rows: 40, width: 40 };
    let bytes = value.to_msgpack();
    let subject = Subject {
        r#type: "any",
        media_type: Some("application/msgpack"),
        size: bytes.len() as u64,
        path: Some(Path::new("/store/blobs/ab/abcd")),
    };
    let text = preview(&subject, &mut Cursor::new(&bytes), options).unwrap();
    insta::assert_snapshot!(text, @r#"
    any, 280 B, /store/blobs/ab/abcd
    {
      "days": [
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          "text": "\x1b\"x"
        }
        {
          "max": 12.8
          "rain": false
          … 1 more
        }
        … 1 more
      ]
      … 2 more
    }
    "#);
    // What is not shown is counted, however many lines were.
    let long = Value::List((0..1461).map(|i| Value::Str(format!("2012-{i}"))).collect());
    let shown = look("list<str>", &long.to_msgpack());
    assert!(shown.ends_with("\"2012-3\"\n  … 1457 more\n]\n"), "{shown}");
    let text = Value::Str("first\n\u{202e}second\n".repeat(4));
    insta::assert_snapshot!(look("str", &text.to_msgpack()), @r#"
    str, 66 B
    first
    \u{202e}second
    first
    \u{202e}second
    first
    … 3 more
    "#);
    insta::assert_snapshot!(look("float", b"\xc1"), @r#"
    float, 1 B
    not a readable value
    "#);
}

#[test]
fn images_tell_their_size() {
    let png =
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &640_u32.to_be_bytes(), &480_u32.to_be_bytes()]
            .concat();
    assert_eq!(look("image", &png), "image, 24 B\nPNG, 640 × 480\n");
    let jpeg = [&b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08"[..], &[1, 0, 2, 0]].concat();
    assert_eq!(look("image", &jpeg), "image, 17 B\nJPEG, 512 × 256\n");
    assert_eq!(look("image", b"GIF89a\x05\0\x06\0"), "image, 10 B\nGIF, 5 × 6\n");
    assert_eq!(look("image", b"<?xml version='1.0'?><svg/>"), "image, 27 B\nSVG\n");
    assert_eq!(look("image", b"nothing"), "image, 7 B\nnot an image of a known format\n");
}

#[test]
fn files_show_text_or_bytes() {
    assert_eq!(look("file", b"a,b\n1,2\n"), "file, 8 B\na,b\n1,2\n");
    insta::assert_snapshot!(look("file", b"\x7fELF\0\0\x1b[2J and more bytes than a line"), @r#"
    file, 37 B
    00000000  7f 45 4c 46 00 00 1b 5b 32 4a 20 61 6e 64 20 6d  .ELF...[2J and m
    00000010  6f 72 65 20 62 79 74 65 73 20 74 68 61 6e 20 61  ore bytes than a
    00000020  20 6c 69 6e 65                                    line
    "#);
    assert!(look("file", TYPES).contains("3 rows × 15 columns"));
}

fn all(bytes: &[u8]) {
    for ty in ["table", "tensor<f64>", "image", "file", "dir", "any", "str"] {
        let text = look(ty, bytes);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.len() < 200_000);
    }
}

/// A footer whose columns all point at the same column, level under level.
#[test]
fn a_schema_that_multiplies_itself_is_cut() {
    // One field table at 24 whose children are a vector of 64 offsets back to itself can't be: offsets point forward
    // only. So 17 levels, each a vector of many offsets to the one next table.
    let mut buffer: Vec<u8> = Vec::new();
    let wide = 64_u32;
    // vtable for fields 0..=5, only field 5 present, at offset 4 of the table.
    let vtable = |buffer: &mut Vec<u8>, fields: usize, number: usize| {
        let at = buffer.len();
        buffer.extend(u16::try_from(4 + 2 * fields).unwrap().to_le_bytes());
        buffer.extend(8_u16.to_le_bytes());
        for i in 0..fields {
            buffer.extend(u16::from(i == number).wrapping_mul(4).to_le_bytes());
        }
        at
    };
    buffer.extend(0_u32.to_le_bytes());
    let field = vtable(&mut buffer, 6, 5);
    let footer = vtable(&mut buffer, 4, 1);
    let schema = vtable(&mut buffer, 4, 1);
    let table = |buffer: &mut Vec<u8>, vtable: usize, many: u32| {
        let at = buffer.len();
        buffer.extend(i32::try_from(at - vtable).unwrap().to_le_bytes());
        buffer.extend(4_u32.to_le_bytes());
        if many > 0 {
            buffer.extend(many.to_le_bytes());
            for i in 0..many {
                buffer.extend((4 * (many - i)).to_le_bytes());
            }
        }
        at
    };
    let root = table(&mut buffer, footer, 0);
    table(&mut buffer, schema, wide);
    for _ in 0..20 {
        table(&mut buffer, field, wide);
    }
    buffer.extend([0; 64]);
    buffer[..4].copy_from_slice(&u32::try_from(root).unwrap().to_le_bytes());
    let len = u32::try_from(buffer.len()).unwrap().to_le_bytes();
    let file = [&b"ARROW1\0\0"[..], &buffer, &len, b"ARROW1"].concat();
    let text = look("table", &file);
    assert!(text.contains("0 rows × "), "{text}");
}

proptest! {
    #[test]
    fn no_bytes_bring_a_preview_down(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        all(&bytes);
        all(&[b"ARROW1\0\0", &bytes[..], b"ARROW1"].concat());
        all(&[b"\x93NUMPY\x01\0", &bytes[..]].concat());
        all(&[b"\xff\xd8\xff", &bytes[..]].concat());
    }

    #[test]
    fn no_damage_to_an_arrow_file_brings_a_preview_down(
        damage in prop::collection::vec((0..TYPES.len(), any::<u8>()), 1..12),
        cut in 0..TYPES.len(),
    ) {
        let mut bytes = TYPES.to_vec();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        all(&bytes);
        bytes.drain(cut..(cut + 40).min(TYPES.len()));
        all(&bytes);
    }

    #[test]
    fn no_damage_to_a_tensor_brings_a_preview_down(at in 0..190_usize, byte in any::<u8>()) {
        let mut bytes = npy("<f8", "(3, 4)", &[7; 96]);
        bytes[at] = byte;
        all(&bytes);
    }
}
