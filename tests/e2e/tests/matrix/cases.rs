//! The values that are passed around: each has a name, a port type, and how Python writes it.

/// How a program without a reader of its own gets and gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// `$PORT` is the text; the output is that text and a line feed.
    Text,
    /// The file of this extension beside the encoded one is copied to the output.
    Twin(&'static str),
    /// `$PORT` is JSON text.
    Json,
    /// The encoded file, of this extension, is copied.
    File(&'static str),
    /// A folder is copied.
    Folder,
}

/// One value.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The output port; the input port is `i_NAME`.
    pub name: &'static str,
    /// The port type.
    pub ty: &'static str,
    /// A Python expression.
    pub python: &'static str,
    /// How plain programs do it.
    pub plain: Plain,
}

const fn case(name: &'static str, ty: &'static str, python: &'static str, plain: Plain) -> Case {
    Case { name, ty, python, plain }
}

use Plain::{File, Folder, Json, Text, Twin};

/// All of them.
pub const CASES: &[Case] = &[
    case("nothing", "null", "None", Text),
    case("yes", "bool", "True", Text),
    case("no", "bool", "False", Text),
    case("zero", "int", "0", Text),
    case("small", "int", "-1", Text),
    case("middle", "int", "65536", Text),
    case("lowest", "int", "-2**63", Text),
    case("highest", "int", "2**63 - 1", Text),
    case("exact", "int", "2**53 + 1", Text),
    case("tenth", "float", "0.1", Text),
    case("whole", "float", "3.0", Text),
    case("minus_zero", "float", "-0.0", Text),
    case("not_a_number", "float", "float('nan')", Text),
    case("infinite", "float", "float('inf')", Text),
    case("minus_infinite", "float", "-float('inf')", Text),
    case("tiny", "float", "5e-324", Text),
    case("huge", "float", "1.7976931348623157e308", Text),
    case("word", "str", "'word'", Text),
    case("empty", "str", "''", Text),
    case("like_a_number", "str", "'007'", Text),
    case("accents", "str", "'caf\\u00e9 na\\u00efve \\u65e5\\u672c'", Text),
    case("blanks", "str", "'  two  \\t tabs\\t '", Text),
    case("beyond_the_plane", "str", "'\\U0001f389 e\\u0301'", Twin("txt")),
    case("lines", "str", "'a\\r\\nb\\n\\n'", Twin("msgpack")),
    case("with_nul", "str", "'a\\0b'", Twin("txt")),
    case("megabyte", "str", "'0123456789abcdef' * 65536", Twin("txt")),
    case("no_bytes", "bytes", "b''", Twin("bin")),
    case("all_bytes", "bytes", "bytes(range(256)) * 4", Twin("bin")),
    case("empty_list", "list<int>", "[]", Json),
    case("ints", "list<int>", "[0, -1, 127, 128, -129, 2**31, -2**63, 2**63 - 1]", Json),
    case("floats", "list<float>", "[0.5, -0.0, float('nan'), -float('inf'), 1e300, 2.0]", Json),
    case("words", "list<str>", "['', 'a b', '\"quoted\" \\\\ \\n', '\\u00e9']", Json),
    case("nested", "list<list<int>>", "[[], [1], [2, 3]]", Json),
    case(
        "measures",
        "map<float>",
        "{'b': 1.5, 'a': -2.0, '\\u00e9': 0.25, '': 3.0, '10': 1.0, '9': 2.0}",
        Json,
    ),
    case("empty_map", "map<int>", "{}", Json),
    case(
        "person",
        "record{name:str,age:int,tags:list<str>}",
        "{'tags': ['x'], 'name': 'Ada', 'age': 36}",
        Json,
    ),
    case("level", "enum{low,high}", "'high'", Text),
    case(
        "anything",
        "any",
        "{'deep': [None, True, {'raw': b'\\0\\xff', 'half': 0.5}], 'n': -7, 's': 'x'}",
        Json,
    ),
    case("start", "seed", "12345678901", Text),
    case("place", "vec2", "[0.5, -1.25]", Json),
    case("tint", "color", "'#12ab9f80'", Text),
    case(
        "matrix",
        "tensor<f64,[2,3]>",
        "array('d', [0.0, -0.0, 1.5, float('inf'), -2.0, 1e-300]), (2, 3)",
        File("npy"),
    ),
    case("counts", "tensor<i32,[n]>", "array('i', [0, -1, 2**31 - 1, -2**31]), (4,)", File("npy")),
    case(
        "pixels",
        "tensor<u8,[2,2,2]>",
        "array('B', [0, 1, 2, 3, 252, 253, 254, 255]), (2, 2, 2)",
        File("npy"),
    ),
    case("hollow", "tensor<f32,[n]>", "array('f'), (0,)", File("npy")),
    case("days", "table", "TABLE", File("arrow")),
    case("picture", "image", "PNG", File("png")),
    case("document", "file", "b'any bytes \\0\\xff\\n'", File("")),
    case("folder", "dir", "FOLDER", Folder),
];
