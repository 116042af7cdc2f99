//! What is one value to a key and what is another: tables of pairs that look alike, and random values against the stored form.
//!
//! The rule behind the tables: two things are the same exactly if no cell can tell them apart.

use std::collections::BTreeMap;

use polyloom_model::{Ask, Input, Ports, Source, Stdin, Type, Value};
use polyloom_plan::{Key, PartName};
use proptest::prelude::*;

use crate::world::{World, port};

/// The key of a step that an edit made of an empty cell.
fn key(edit: impl FnOnce(&mut World)) -> Key {
    let mut world = World::new("a");
    edit(&mut world);
    world.keys().1[0].key
}

/// The key of a cell that reads `value` through a port of type `any`.
fn key_of(value: Value) -> Key {
    key(|world| {
        let input = Input { source: Source::Value(value), ty: Type::Any };
        world.cell("a").inputs.insert(port("x"), input);
    })
}

/// Every two of them have different keys.
#[track_caller]
fn all_differ<T>(things: Vec<(T, Key)>, show: impl Fn(&T) -> String) {
    for (i, (a, one)) in things.iter().enumerate() {
        for (b, other) in &things[i + 1..] {
            assert_ne!(one, other, "{} and {}", show(a), show(b));
        }
    }
}

fn map<const N: usize>(items: [(&str, Value); N]) -> Value {
    Value::Map(items.map(|(name, value)| (name.to_owned(), value)).into())
}

#[test]
fn values_that_a_cell_can_tell_apart_have_keys_of_their_own() {
    let float = |bits: u64| Value::Float(f64::from_bits(bits));
    let list = Value::List;
    let text = |text: &str| Value::Str(text.to_owned());
    let all = vec![
        // Kinds that look alike.
        Value::Null,
        Value::Bool(false),
        Value::Bool(true),
        Value::Int(0),
        Value::Int(1),
        Value::Int(-1),
        Value::Float(1.0),
        text("1"),
        text("1.0"),
        text("true"),
        text("null"),
        text(""),
        Value::Bytes(vec![]),
        Value::Bytes(b"1".to_vec()),
        // The ends of the integers, and the floats next to them.
        Value::Int(i64::MAX),
        Value::Int(i64::MIN),
        Value::Float(9_223_372_036_854_775_807.0),
        Value::Int(1 << 53),
        Value::Int((1 << 53) + 1),
        // Zeros: 1/x tells them apart.
        Value::Float(0.0),
        Value::Float(-0.0),
        // Subnormals, the least normal number, neighbours of one.
        float(1),
        float(0x8000_0000_0000_0001),
        float(0x000f_ffff_ffff_ffff),
        float(0x0010_0000_0000_0000),
        float(0x3ff0_0000_0000_0001),
        float(0x3fef_ffff_ffff_ffff),
        Value::Float(0.1 + 0.2),
        Value::Float(0.3),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NEG_INFINITY),
        Value::Float(f64::MAX),
        Value::Float(f64::NAN),
        text("nan"),
        // Unicode: composed, decomposed, compatibility, case, width, marks, ends of lines.
        text("é"),
        text("e\u{301}"),
        text("É"),
        text("ﬁ"),
        text("fi"),
        text("Å"),
        text("\u{212b}"),
        text("\u{feff}"),
        text("\u{200b}"),
        text("a"),
        text("a\0"),
        text("a "),
        text("a\n"),
        text("a\r\n"),
        text("a\r"),
        // Empty things and things that hold them.
        list(vec![]),
        map([]),
        list(vec![Value::Null]),
        list(vec![list(vec![])]),
        list(vec![map([])]),
        map([("", Value::Null)]),
        map([("", map([]))]),
        // The order of a list and the borders of its items count.
        list(vec![Value::Int(1), Value::Int(2)]),
        list(vec![Value::Int(2), Value::Int(1)]),
        list(vec![text("ab"), text("c")]),
        list(vec![text("a"), text("bc")]),
        list(vec![text("abc")]),
        list(vec![list(vec![Value::Int(1)]), Value::Int(2)]),
        list(vec![list(vec![Value::Int(1), Value::Int(2)])]),
        // A missing field is not a field that is null.
        map([("a", Value::Int(1))]),
        map([("a", Value::Int(1)), ("b", Value::Null)]),
        map([("b", Value::Int(1)), ("a", Value::Null)]),
        map([("é", Value::Int(1))]),
        map([("e\u{301}", Value::Int(1))]),
        list(vec![text("a"), Value::Int(1)]),
    ];
    let keyed = all.into_iter().map(|value| (value.clone(), key_of(value))).collect();
    all_differ(keyed, |value| format!("{value:?}"));
}

#[test]
fn every_nan_is_one_value_since_it_is_stored_as_one() {
    let nan = key_of(Value::Float(f64::NAN));
    for bits in [
        0x7ff0_0000_0000_0001_u64,
        0x7ff8_0000_0000_0001,
        0x7fff_ffff_ffff_ffff,
        0xfff8_0000_0000_0000,
        0xffff_ffff_ffff_ffff,
    ] {
        assert_eq!(key_of(Value::Float(f64::from_bits(bits))), nan, "{bits:x}");
        assert_eq!(
            Value::Float(f64::from_bits(bits)).to_msgpack(),
            Value::Float(f64::NAN).to_msgpack()
        );
    }
}

#[test]
fn the_order_of_a_table_is_no_difference() {
    let table = |order: &[usize]| {
        let mut items = BTreeMap::new();
        for &at in order {
            items.insert(format!("k{at}"), Value::Int(i64::try_from(at).unwrap()));
        }
        Value::Map(items)
    };
    assert_eq!(key_of(table(&[0, 1, 2, 3])), key_of(table(&[3, 1, 0, 2])));
    let filled = |order: [&'static str; 3]| {
        key(|world| {
            for name in order {
                let cell = world.cell("a");
                cell.env.insert(name.to_uppercase(), name.into());
                cell.secrets.insert(format!("S{name}"), format!("env:{name}").parse().unwrap());
                cell.asks.insert(Ask::Env(name.into()));
                cell.outputs.insert(port(name), Type::Int);
                let source = Source::Value(Value::Str(name.into()));
                cell.inputs.insert(port(name), Input { source, ty: Type::Str });
            }
        })
    };
    assert_eq!(filled(["x", "y", "z"]), filled(["z", "x", "y"]));
}

/// What is empty, what is missing, and what moved from one field to its neighbour.
#[test]
fn empty_is_not_missing_and_no_border_can_be_shifted() {
    type Edit = fn(&mut World);
    fn value(world: &mut World, name: &str, value: Value, ty: &str) {
        let input = Input { source: Source::Value(value), ty: ty.parse().unwrap() };
        world.cell("a").inputs.insert(port(name), input);
    }
    fn env(world: &mut World, name: &str, value: &str) {
        world.cell("a").env.insert(name.into(), value.into());
    }
    fn argv(world: &mut World, words: &[&str]) {
        world.cell("a").argv = words.iter().map(|&word| word.into()).collect();
    }
    let all: Vec<(&str, Edit)> = vec![
        ("nothing", |_| ()),
        ("argv [\"\"]", |w| argv(w, &[""])),
        ("argv [\"\", \"\"]", |w| argv(w, &["", ""])),
        ("argv [ab, c]", |w| argv(w, &["ab", "c"])),
        ("argv [a, bc]", |w| argv(w, &["a", "bc"])),
        ("argv [a bc]", |w| argv(w, &["a bc"])),
        ("argv [c, ab]", |w| argv(w, &["c", "ab"])),
        ("env A empty", |w| env(w, "A", "")),
        ("env B empty", |w| env(w, "B", "")),
        ("env A is B", |w| env(w, "A", "B")),
        ("env AB is nothing", |w| env(w, "AB", "")),
        ("env A and B empty", |w| {
            env(w, "A", "");
            env(w, "B", "");
        }),
        ("stdin empty", |w| w.cell("a").stdin = Some(Stdin::Text(String::new()))),
        ("stdin a newline", |w| w.cell("a").stdin = Some(Stdin::Text("\n".into()))),
        ("stdin the word x", |w| w.cell("a").stdin = Some(Stdin::Text("x".into()))),
        ("stdin from input x", |w| {
            value(w, "x", Value::Null, "any");
            w.cell("a").stdin = Some(Stdin::Input(port("x")));
        }),
        ("input x null", |w| value(w, "x", Value::Null, "any")),
        ("input y null", |w| value(w, "y", Value::Null, "any")),
        ("input x null, of type null", |w| value(w, "x", Value::Null, "null")),
        ("seed 0", |w| w.cell("a").seed = Some(0)),
        ("seed 1", |w| w.cell("a").seed = Some(1)),
        ("seed -1", |w| w.cell("a").seed = Some(-1)),
        ("seed 256", |w| w.cell("a").seed = Some(256)),
        ("no outputs", |w| w.cell("a").outputs = Ports::new()),
        ("asks for an unset variable", |w| {
            w.cell("a").asks.insert(Ask::Env("A".into()));
        }),
        ("asks for an empty variable", |w| {
            w.cell("a").asks.insert(Ask::Env("A".into()));
            w.facts.env.insert("A".into(), Some(polyloom_model::Digest::of(b"")));
        }),
        ("secret A of B", |w| {
            w.cell("a").secrets.insert("A".into(), "env:B".parse().unwrap());
        }),
        ("secret B of A", |w| {
            w.cell("a").secrets.insert("B".into(), "env:A".parse().unwrap());
        }),
        ("empty code", |w| w.edit("a", "")),
    ];
    let keyed = all.into_iter().map(|(name, edit)| (name, key(edit))).collect();
    all_differ(keyed, |name| (*name).to_owned());
}

#[test]
fn code_is_its_bytes_line_endings_and_marks_included() {
    let codes: [&[u8]; 13] = [
        b"a\nb",
        b"a\nb\n",
        b"a\r\nb\r\n",
        b"a\rb\r",
        b"a\nb\r\n",
        b"\na\nb\n",
        b"a\n b\n",
        b"a\n\tb\n",
        b"a \nb\n",
        "\u{feff}a\nb\n".as_bytes(),
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        b"\xff\xfe",
    ];
    let of = |bytes: &[u8], name: &str| {
        key(|world| {
            world.cell("a").code.bytes = bytes.into();
            world.cell("a").code.name = name.into();
        })
    };
    let mut keyed: Vec<_> =
        codes.iter().map(|bytes| (format!("{bytes:?}"), of(bytes, "a.py"))).collect();
    // The border between the extension and the code can't be shifted.
    for (name, bytes) in [("a", "pya"), ("a.p", "ya"), ("a.py", "a"), ("a.pya", ""), ("a.PY", "a")]
    {
        keyed.push((format!("{name} {bytes}"), of(bytes.as_bytes(), name)));
    }
    all_differ(keyed, Clone::clone);
    assert_eq!(of(b"a", "x.y.py"), of(b"a", "z.py"), "the name is not keyed, its end is");
}

#[test]
fn types_that_differ_in_one_name_are_others_and_spellings_are_not() {
    let of = |ty: &str| {
        let ty: Type = ty.parse().unwrap();
        key(|world| {
            world.cell("a").outputs.insert(port("out"), ty);
        })
    };
    let words = [
        "any",
        "null",
        "bool",
        "int",
        "float",
        "str",
        "bytes",
        "table",
        "image",
        "file",
        "dir",
        "seed",
        "vec2",
        "color",
        "list<int>",
        "list<float>",
        "list<list<int>>",
        "map<int>",
        "record{}",
        "record{a:int}",
        "record{a:int,b:int}",
        "record{b:int}",
        "enum{a}",
        "enum{a,b}",
        "enum{b,a}",
        "enum{ab}",
        "tensor<f64>",
        "tensor<f32>",
        "tensor<f64,[]>",
        "tensor<f64,[n]>",
        "tensor<f64,[3]>",
        "tensor<f64,[n,m]>",
    ];
    all_differ(words.iter().map(|word| (*word, of(word))).collect(), |word| (*word).to_owned());
    assert_eq!(of("record{b:int, a:str}"), of("record{ a: str, b: int }"));
    // The names of sizes are for people: they bind nothing.
    assert_eq!(of("tensor<f64,[rows,columns]>"), of("tensor<f64, [n, m]>"));
}

#[test]
fn an_enum_is_its_text_and_its_type() {
    let of = |value: &str, ty: &str| {
        key(|world| {
            let source = Source::Value(Value::Str(value.into()));
            let input = Input { source, ty: ty.parse().unwrap() };
            world.cell("a").inputs.insert(port("x"), input);
        })
    };
    let all = [
        ("a", "enum{a,b}"),
        ("b", "enum{a,b}"),
        ("a", "enum{b,a}"),
        ("a", "enum{a}"),
        ("a", "str"),
    ];
    all_differ(all.iter().map(|(v, t)| ((v, t), of(v, t))).collect(), |it| format!("{it:?}"));
}

/// Stores live longer than one version: with another salt no key is what it was.
#[test]
fn another_schema_is_another_key_for_every_cell() {
    let world = World::new("a, b: a, c: a b");
    for keyed in world.keys().1 {
        let schema = keyed.parts.get(&PartName::Schema).unwrap();
        let salted = |salt: &str| {
            let part = polyloom_plan::Part::new(polyloom_model::Digest::of(salt.as_bytes()), salt);
            let parts = keyed.parts.iter().map(|(name, part)| (name.clone(), part.clone()));
            let parts: polyloom_plan::KeyParts = parts.chain([(PartName::Schema, part)]).collect();
            (Key::of(&parts), polyloom_plan::content_key(&parts, []))
        };
        let (same, other) = (salted(&schema.text), salted("polyloom.key/0"));
        assert_eq!(same.0, keyed.key, "the salt is the text of the part");
        assert_ne!(same.0, other.0);
        assert_ne!(same.1, other.1);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let floats = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, f64::MIN_POSITIVE, 5e-324]),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), -2..3i64].prop_map(Value::Int),
        floats.prop_map(Value::Float),
        "[a-c\u{e9}\u{301}\r\n]{0,3}".prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
            prop::collection::btree_map("[ab]{0,2}", inner, 0..3).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Equality of values is that of their stored form, and so is that of keys.
    #[test]
    fn values_and_keys_are_equal_together(a in any_value(), b in any_value()) {
        prop_assert_eq!(a == b, key_of(a.clone()) == key_of(b));
        let read = Value::from_msgpack(&a.to_msgpack()).unwrap();
        prop_assert_eq!(key_of(read), key_of(a));
    }
}
