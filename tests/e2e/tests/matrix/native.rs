//! Cells in languages that decode every value and encode it again.

use std::fmt::Write as _;

use crate::cases::{CASES, Case};

/// Makes every value from nothing, in pure Python.
pub fn source() -> String {
    let mut code = String::from(
        r#"import struct, zlib
from array import array
from pathlib import Path

import polyloom

TABLE = polyloom.Table({"n": [1, None, -2**63, 2**53 + 1], "x": [0.5, float("nan"), None, -0.0], "s": ["a", "", None, "é\n"], "b": [True, False, None, True]})

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)) + chunk(
    b"IDAT", zlib.compress(b"\0\x10\x20\0\x30\x40")) + chunk(b"IEND", b"")

FOLDER = Path("tree")
(FOLDER / "sub/empty").mkdir(parents=True)
(FOLDER / "one.txt").write_text("one\n")
(FOLDER / "sub/é.bin").write_bytes(bytes(range(256)))
(FOLDER / "sub/zero").touch()

def shaped(values, shape):
    if 0 in shape:
        return values
    return memoryview(values).cast("B").cast(values.typecode, shape)

"#,
    );
    for case in CASES {
        let value = if case.ty.starts_with("tensor") {
            format!("shaped({})", case.python)
        } else {
            case.python.to_owned()
        };
        let _ = writeln!(code, "{} = {value}", case.name);
    }
    code
}

pub fn python() -> String {
    let pass = |case: &Case| format!("{0} = i_{0}\n", case.name);
    // Tables go through plain lists, so that every cell is decoded and encoded.
    let table = "days = polyloom.Table(i_days.to_pydict())\n";
    let lines =
        CASES.iter().map(|case| if case.ty == "table" { table.to_owned() } else { pass(case) });
    format!("import polyloom\n{}", lines.collect::<String>())
}

pub fn javascript() -> String {
    let pass = |case: &Case| match case.ty {
        "table" => "const days = i_days.toArray();\n".to_owned(),
        ty if ty.starts_with("tensor") => {
            format!("const {0} = {{ data: i_{0}.data.slice(), shape: i_{0}.shape }};\n", case.name)
        }
        ty if ty.starts_with("list") || ty.starts_with("map") || ty.starts_with("record") => {
            format!("const {0} = structuredClone(i_{0});\n", case.name)
        }
        _ => format!("const {0} = i_{0};\n", case.name),
    };
    CASES.iter().map(pass).collect()
}

/// Copies a value by walking it.
const WALK: &str = r#"
static void walk(pl_writer *w, pl_value v) {
  pl_cursor c;
  pl_value key, item;
  switch (v.kind) {
    case PL_KIND_NULL: pl_put_null(w); return;
    case PL_KIND_BOOL: pl_put_bool(w, pl_as_bool(v)); return;
    case PL_KIND_INT: pl_put_int(w, pl_as_int(v)); return;
    case PL_KIND_FLOAT: pl_put_float(w, pl_as_float(v)); return;
    case PL_KIND_STR: pl_put_text(w, pl_as_text(v).data, pl_as_text(v).size); return;
    case PL_KIND_BYTES: pl_put_bytes(w, pl_as_bytes(v).data, pl_as_bytes(v).size); return;
    case PL_KIND_LIST: pl_begin_list(w); break;
    case PL_KIND_MAP: pl_begin_map(w); break;
  }
  c = pl_items(v);
  while (pl_next(&c, &key, &item)) {
    if (v.kind == PL_KIND_MAP) pl_key(w, pl_as_str(key));
    walk(w, item);
  }
  pl_end(w);
}

static void tensor(const char *to, const char *from) {
  pl_tensor t = pl_in_tensor(from);
  void *data = pl_out_tensor(to, t.dtype, t.shape, t.ndim);
  if (t.size > 0) memcpy(data, t.data, (size_t)t.size * pl_dtype_size(t.dtype));
}

static void table(const char *to, const char *from) {
  pl_table *in = pl_in_table(from);
  int64_t rows = pl_table_rows(in), at = 0, row;
  pl_table_out *out = pl_out_table(to, rows, "n:i64, x:f64, s:str, b:bool");
  int batch;
  for (batch = 0; batch < pl_table_batches(in); batch++) {
    pl_column n = pl_table_column(in, "n", batch), x = pl_table_column(in, "x", batch);
    pl_column s = pl_table_column(in, "s", batch), b = pl_table_column(in, "b", batch);
    for (row = 0; row < n.rows; row++, at++) {
      if (pl_is_null_at(&n, row)) pl_put_null_at(out, "n", at);
      else pl_fill_i64(out, "n")[at] = pl_i64_at(&n, row);
      if (pl_is_null_at(&x, row)) pl_put_null_at(out, "x", at);
      else pl_fill_f64(out, "x")[at] = pl_f64_at(&x, row);
      if (pl_is_null_at(&s, row)) pl_put_null_at(out, "s", at);
      else pl_put_text_at(out, "s", at, pl_text_at(&s, row).data, pl_text_at(&s, row).size);
      if (pl_is_null_at(&b, row)) pl_put_null_at(out, "b", at);
      else pl_put_bool_at(out, "b", at, (int)pl_i64_at(&b, row));
    }
  }
  pl_close_table(out, rows);
}
"#;

pub fn c() -> String {
    let pass = |case: &Case| {
        let ty = case.ty;
        let call = match ty {
            "null" => "if (pl_in_is_null(I)) pl_out_null(O);",
            "bool" => "pl_out_bool(O, pl_in_bool(I));",
            "int" | "seed" => "pl_out_int(O, pl_in_int(I));",
            "float" => "pl_out_float(O, pl_in_float(I));",
            "str" => "pl_out_text(O, pl_in_text(I).data, pl_in_text(I).size);",
            "color" => "pl_out_str(O, pl_in_str(I));",
            "bytes" => "pl_out_bytes(O, pl_in_bytes(I).data, pl_in_bytes(I).size);",
            "table" => "table(O, I);",
            "file" | "image" | "dir" => "pl_out_copy(O, pl_in_path(I));",
            _ if ty.starts_with("tensor") => "tensor(O, I);",
            _ => "walk(pl_out_value(O), pl_in_value(I));",
        };
        let call = call.replace('I', &format!("\"i_{}\"", case.name));
        format!("  {}\n", call.replace('O', &format!("\"{}\"", case.name)))
    };
    let body: String = CASES.iter().map(pass).collect();
    format!("#include <polyloom.h>\n{WALK}\nint main(void) {{\n{body}  return 0;\n}}\n")
}

pub fn cpp() -> String {
    let pass = |case: &Case| {
        let name = case.name;
        let whole = |ty: &str| format!("out(\"{name}\", in<{ty}>(\"i_{name}\"));");
        let list = |ty: &str| format!("out_list(\"{name}\", in<{ty}>(\"i_{name}\"));");
        let array = |ty: &str, shape: &str| {
            format!(
                "{{ auto from = in<span<const {ty}>>(\"i_{name}\"); auto to = out_tensor<{ty}>(\"{name}\", {shape}); \
                 std::copy(from.begin(), from.end(), to.begin()); }}"
            )
        };
        let call = match case.ty {
            "null" => format!("out(\"{name}\", nullptr);"),
            "bool" => whole("bool"),
            "int" | "seed" => whole("long long"),
            "float" => whole("double"),
            "str" | "color" | "enum{low,high}" => whole("std::string"),
            "bytes" => format!(
                "pl_out_bytes(\"{name}\", pl_in_bytes(\"i_{name}\").data, pl_in_bytes(\"i_{name}\").size);"
            ),
            "list<int>" => list("std::vector<long long>"),
            "list<float>" | "vec2" => list("std::vector<double>"),
            "list<str>" => list("std::vector<std::string>"),
            "list<list<int>>" => list("std::vector<std::vector<long long>>"),
            "map<float>" => list("std::map<std::string, double>"),
            "map<int>" => list("std::map<std::string, long long>"),
            "tensor<f64,[2,3]>" => array("double", "{2, 3}"),
            "tensor<i32,[n]>" => array("int", "from.size()"),
            "tensor<u8,[2,2,2]>" => array("unsigned char", "{2, 2, 2}"),
            "tensor<f32,[n]>" => array("float", "from.size()"),
            "table" => format!("table(\"{name}\", \"i_{name}\");").replace("table(", "::table("),
            "file" | "image" | "dir" => {
                format!("pl_out_copy(\"{name}\", pl_in_path(\"i_{name}\"));")
            }
            _ => format!("walk(pl_out_value(\"{name}\"), pl_in_value(\"i_{name}\"));"),
        };
        format!("  {call}\n")
    };
    let body: String = CASES.iter().map(pass).collect();
    format!(
        "#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>\n\n#include <polyloom.h>\n\
         {WALK}\nint main() {{\n  using polyloom::in;\n  using polyloom::out;\n  using polyloom::out_list;\n  \
         using polyloom::out_tensor;\n  using polyloom::span;\n{body}}}\n"
    )
}

/// Compares the rows of all its inputs, which are tables.
pub const COMPARE: &str = r#"
import polyloom
rows = {name: repr(table.to_pylist()) for name, table in sorted(polyloom.inputs.items())}
wanted = rows["source"]
for name, found in rows.items():
    assert found == wanted, f"{name}:\n{found}\n{wanted}"
verdict = len(rows)
"#;
