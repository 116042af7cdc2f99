//! Values of every kind that go into a cell and are to come out of it. Knows no language.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use polyloom_model::{Type, Value};
use polyloom_protocol::npy::{Dtype, header};
use polyloom_worker::attempt::{Collected, Content, InputFile};

use crate::bench::{Bench, Check, Got, Order, Seen, content, port_name, quoted};

/// A table of three columns: `n` of i64, `x` of f64, `s` of text.
const TABLE: &[u8] = include_bytes!("../samples/table.arrow");
/// Two grey pixels by two.
const PICTURE: &[u8] = include_bytes!("../samples/picture.png");
/// A folder.
const TREE: &[(&str, &[u8])] = &[("one.txt", b"one\n"), ("sub/two.bin", b"\x00\xff\n")];

/// What goes in.
enum Sample {
    Value(Value),
    /// A file of this extension, whose bytes are to come back.
    File(&'static str, Vec<u8>),
    Table,
    Tree,
}

/// Names of all kinds.
pub fn kinds() -> Vec<&'static str> {
    [
        "null", "bool", "int", "float", "str", "bytes", "list", "map", "record", "enum", "seed",
        "vec2", "color", "any", "tensor", "table", "image", "file", "dir",
    ]
    .to_vec()
}

/// The samples of a kind: types as a flow spells them, and values in JSON form.
fn samples(kind: &str) -> Vec<(&'static str, Sample)> {
    let json = |ty, texts: &[&str]| -> Vec<(&'static str, Sample)> {
        let values = texts.iter().filter_map(|text| Value::from_json(text).ok());
        values.map(|value| (ty, Sample::Value(value))).collect()
    };
    let npy = |dtype, shape: &[u64], data: &[u8]| {
        let mut bytes = header(dtype, shape);
        bytes.extend_from_slice(data);
        Sample::File(".npy", bytes)
    };
    match kind {
        "null" => json("null", &["null"]),
        "bool" => json("bool", &["true", "false"]),
        "int" => json("int", &["0", "-1", "9007199254740993", "-9223372036854775808"]),
        "float" => {
            json("float", &["0.1", "3.0", "-0.0", "1.7976931348623157e308", r#"{"$float":"nan"}"#])
        }
        "str" => json("str", &[r#""""#, r#""007""#, r#""  café 日本 🌍 ""#]),
        "bytes" => json("bytes", &[r#"{"$bytes":""}"#, r#"{"$bytes":"AAH+/wo="}"#]),
        "list" => {
            let mut all = json("list<int>", &["[]", "[0, -1, 9007199254740993]"]);
            all.extend(json("list<str>", &[r#"["", "a b", "\"é\""]"#]));
            all
        }
        "map" => json("map<float>", &["{}", r#"{"b": 1.5, "a": -2.0, "é": 0.25}"#]),
        "record" => json(
            "record{name:str,age:int,tags:list<str>}",
            &[r#"{"name": "Ada", "age": 36, "tags": ["x"]}"#],
        ),
        "enum" => json("enum{low,high}", &[r#""high""#]),
        "seed" => json("seed", &["12345678901"]),
        "vec2" => json("vec2", &["[0.5, -1.25]"]),
        "color" => json("color", &[r##""#12ab9f80""##]),
        "any" => json("any", &["null", "[1, 2.5, \"x\"]", r#"{"deep": [null, true, {"n": -7}]}"#]),
        "tensor" => {
            let floats: Vec<u8> = [0.0, -0.0, 1.5, f64::INFINITY, -2.0, 1e-300]
                .iter()
                .flat_map(|x: &f64| x.to_le_bytes())
                .collect();
            vec![
                ("tensor<f64,[2,3]>", npy(Dtype::F64, &[2, 3], &floats)),
                ("tensor<u8,[n]>", npy(Dtype::U8, &[4], &[0, 1, 254, 255])),
            ]
        }
        "table" => vec![("table", Sample::Table)],
        "image" => vec![("image", Sample::File(".png", PICTURE.to_vec()))],
        "file" => vec![("file", Sample::File(".bin", b"any bytes \0\xff\n".to_vec()))],
        "dir" => vec![("dir", Sample::Tree)],
        _ => Vec::new(),
    }
}

/// Gives each sample of a kind to a cell, and looks at what it gives back.
pub fn ask(bench: &Bench<'_>, kind: &str) -> Check {
    let Some((code, argv)) = bench.snippets.value(kind) else { return Ok(()) };
    for (ty, sample) in samples(kind) {
        let ty: Type = ty.parse().map_err(|_| Got::new(format!("`{ty}` is no type")))?;
        let (content, extension) = laid(bench, &sample)?;
        let port = port_name("x")?;
        let input = InputFile {
            port,
            ty: ty.clone(),
            content,
            extension: extension.to_owned(),
            media: None,
        };
        let order = Order {
            code,
            inputs: vec![input],
            outputs: vec![("y", ty.clone())],
            argv: argv.to_vec(),
            ..Order::default()
        };
        let seen = bench.run(order)?;
        let shown = match &sample {
            Sample::Value(value) => format!("{ty} {}", quoted(&value.to_json())),
            Sample::File(..) | Sample::Table | Sample::Tree => ty.to_string(),
        };
        let back = came_back(&sample, &seen);
        back.map_err(|words| seen.got(format!("for {shown}: {words}")))?;
    }
    Ok(())
}

fn laid(bench: &Bench<'_>, sample: &Sample) -> Result<(Content, &'static str), Got> {
    Ok(match sample {
        Sample::Value(value) => (Content::Value(value.to_msgpack().into()), ""),
        Sample::File(extension, bytes) => {
            (Content::File(bench.file(&format!("input{extension}"), bytes)?), extension)
        }
        Sample::Table => (Content::File(bench.file("input.arrow", TABLE)?), ".arrow"),
        Sample::Tree => {
            let mut folder = PathBuf::new();
            for (path, bytes) in TREE {
                let written = bench.file(&format!("input.d/{path}"), bytes)?;
                folder =
                    written.ancestors().nth(path.split('/').count()).map_or(folder, PathBuf::from);
            }
            (Content::Dir(folder), "")
        }
    })
}

fn came_back(sample: &Sample, seen: &Seen) -> Result<(), String> {
    let Some((_, output)) = seen.report.outputs.iter().find(|(port, _)| port.as_str() == "y")
    else {
        return Err(seen.end());
    };
    match sample {
        Sample::Value(value) => {
            let found = bytes(&output.content)?;
            if found == value.to_msgpack() {
                return Ok(());
            }
            let found = Value::from_msgpack(&found).map(|value| value.to_json());
            Err(format!("came back as {}", quoted(&found.unwrap_or_default())))
        }
        Sample::File(_, wanted) => {
            let found = bytes(&output.content)?;
            let same = found == *wanted;
            if same { Ok(()) } else { Err(format!("came back as {} other bytes", found.len())) }
        }
        Sample::Table => table(&bytes(&output.content)?),
        Sample::Tree => tree(&output.content),
    }
}

/// A table has many spellings; in each that is not compressed, the numbers of a column stand together and so do its texts.
fn table(found: &[u8]) -> Result<(), String> {
    let ints: Vec<u8> = [1, -2, (1 << 53) + 1].iter().flat_map(|n: &i64| n.to_le_bytes()).collect();
    let floats: Vec<u8> = [0.5, -0.25, 3.0].iter().flat_map(|x: &f64| x.to_le_bytes()).collect();
    for (column, wanted) in [("n", &ints[..]), ("x", &floats), ("s", "onezweidrei é".as_bytes())] {
        if !found.windows(wanted.len()).any(|window| window == wanted) {
            return Err(format!("the column `{column}` came back as another one"));
        }
    }
    Ok(())
}

fn tree(found: &Collected) -> Result<(), String> {
    let Collected::Tree { files, .. } = found else {
        return Err("came back as no folder".to_owned());
    };
    let mut all = Vec::new();
    for file in files {
        let bytes = content(file).map_err(|error| error.to_string())?;
        all.push((file.path.clone(), bytes));
    }
    all.sort();
    let same =
        all.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).eq(TREE.iter().copied());
    let names: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    if same { Ok(()) } else { Err(format!("came back as a folder with {}", names.join(", "))) }
}

/// The bytes of an output that is no folder.
pub fn bytes(content: &Collected) -> Result<Vec<u8>, String> {
    match content {
        Collected::Bytes(bytes) => Ok(bytes.clone()),
        Collected::File { fd, .. } => {
            let read = || {
                let mut bytes = Vec::new();
                let mut file = File::from(fd.try_clone()?);
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                Ok::<_, std::io::Error>(bytes)
            };
            read().map_err(|error| error.to_string())
        }
        Collected::Tree { .. } => Err("came back as a folder".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_samples_of_its_type() {
        for kind in kinds() {
            let all = samples(kind);
            assert!(!all.is_empty(), "{kind}");
            for (ty, sample) in all {
                let ty: Type = ty.parse().unwrap();
                if let Sample::Value(value) = sample {
                    assert!(
                        polyloom_model::conform(value.clone(), &ty).is_ok(),
                        "{kind} {value:?}"
                    );
                }
            }
        }
        // JSON that can't be read would be left out unseen.
        assert_eq!(samples("float").len(), 5);
        assert_eq!(samples("str").len(), 3);
        assert_eq!(samples("bytes").len(), 2);
        assert_eq!(samples("any").len(), 3);
        assert_eq!(samples("int").len(), 4);
    }

    #[test]
    fn another_table_is_found_out() {
        assert_eq!(table(TABLE), Ok(()));
        let mut other = TABLE.to_vec();
        let at = other.windows(4).position(|window| window == b"zwei").unwrap();
        other[at] = b'Z';
        assert!(table(&other).unwrap_err().contains("`s`"));
    }
}
