//! What the ways of writing a value come to: a key sees the value, never how it was written or in which format.
#![allow(clippy::unwrap_used)]

mod support;

use polyloom_model::{Source, Value};
use support::check;

/// The constant `x` of a cell that declares it with `ty`, and the param `p` of that type, in TOML.
fn toml(ty: &str, value: &str) -> [Value; 2] {
    values(
        "x.toml",
        &format!(
            "[params.p]\ntype = '{ty}'\ndefault = {value}\n[cells.a]\nlang = 'c'\ncode = ''\n\
             inputs = {{ x = {{ value = {value}, type = '{ty}' }}, p = 'param:p' }}\n"
        ),
    )
}

fn json(ty: &str, value: &str) -> [Value; 2] {
    values(
        "x.json",
        &format!(
            r#"{{"params": {{"p": {{"type": "{ty}", "default": {value}}}}}, "cells": {{"a": {{"lang": "c", "code": "",
            "inputs": {{"x": {{"value": {value}, "type": "{ty}"}}, "p": "param:p"}}}}}}}}"#
        ),
    )
}

fn yaml(ty: &str, value: &str) -> [Value; 2] {
    values(
        "x.md",
        &format!(
            "---\nparams:\n  p: {{ type: \"{ty}\", default: {value} }}\n---\n\n```{{c}}\n//| id: a\n\
             //| inputs: {{ x: {{ value: {value}, type: \"{ty}\" }}, p: \"param:p\" }}\n```\n"
        ),
    )
}

fn values(name: &str, text: &str) -> [Value; 2] {
    let loaded = check(name, text, None);
    let flow = loaded
        .flow
        .unwrap_or_else(|| panic!("{text}\n{}", polyloom_load::render(&loaded.report, false, 100)));
    let input =
        flow.cells[0].inputs.values().find(|input| matches!(input.source, Source::Value(_)));
    let Source::Value(value) = &input.unwrap().source else { unreachable!() };
    [value.clone(), flow.params.values().next().unwrap().value.clone()]
}

#[test]
fn a_value_is_what_its_type_makes_of_it_in_every_format() {
    let float = Value::Float;
    let rows = [
        ("float", "1", float(1.0)),
        ("float", "1.0", float(1.0)),
        ("float", "-0.0", float(-0.0)),
        ("float", "0.0", float(0.0)),
        ("float", "0", float(0.0)),
        ("float", "5e-324", float(5e-324)),
        ("float", "2.2250738585072014e-308", float(f64::MIN_POSITIVE)),
        ("float", "1.7976931348623157e308", float(f64::MAX)),
        ("float", "0.1", float(0.1)),
        ("float", "9007199254740994", float(9_007_199_254_740_994.0)),
        ("int", "1", Value::Int(1)),
        ("int", "9223372036854775807", Value::Int(i64::MAX)),
        ("int", "-9223372036854775808", Value::Int(i64::MIN)),
        ("any", "1", Value::Int(1)),
        ("any", "1.0", float(1.0)),
        ("any", "\"1\"", Value::Str("1".into())),
        ("any", "true", Value::Bool(true)),
        ("list<float>", "[1, 2.5]", Value::List(vec![float(1.0), float(2.5)])),
        ("list<int>", "[]", Value::List(vec![])),
        ("str", "\"\"", Value::Str(String::new())),
        // No normal form of Unicode is taken: a cell can tell these apart, and so can a key.
        ("str", "\"\u{e9}\"", Value::Str("\u{e9}".into())),
        ("str", "\"e\u{301}\"", Value::Str("e\u{301}".into())),
        ("enum{a,b}", "\"b\"", Value::Str("b".into())),
    ];
    for (ty, text, wanted) in rows {
        for (format, read) in
            [("TOML", toml as fn(&str, &str) -> [Value; 2]), ("JSON", json), ("Markdown", yaml)]
        {
            let [constant, param] = read(ty, text);
            // `==` of values is that of their stored bytes: -0.0 is not 0.0.
            assert_eq!(constant, wanted, "{format} {ty} {text}");
            assert_eq!(param, wanted, "{format} {ty} {text}");
        }
    }
}

#[test]
fn what_a_format_alone_can_write_is_the_same_value() {
    let nan = Value::Float(f64::NAN);
    let marked = |text: &str| {
        (format!("{{ \"$float\" = \"{text}\" }}"), format!("{{\"$float\": \"{text}\"}}"))
    };
    for (bare, word, wanted) in [
        ("nan", "nan", nan.clone()),
        ("-nan", "nan", nan),
        ("inf", "inf", Value::Float(f64::INFINITY)),
        ("-inf", "-inf", Value::Float(f64::NEG_INFINITY)),
    ] {
        let (in_toml, in_json) = marked(word);
        assert_eq!(toml("float", bare)[0], wanted, "{bare}");
        assert_eq!(toml("float", &in_toml)[0], wanted, "{bare}");
        assert_eq!(json("float", &in_json)[0], wanted, "{bare}");
    }
    assert_eq!(toml("int", "0x10")[0], toml("int", "1_6")[0]);
    assert_eq!(toml("str", "'a\\b'")[0], toml("str", "\"a\\\\b\"")[0]);
    assert_eq!(json("str", "\"\\u00e9\"")[0], toml("str", "\"é\"")[0]);
    assert_eq!(toml("bytes", "{ \"$bytes\" = \"aGk=\" }")[0], Value::Bytes(b"hi".to_vec()));
    assert_ne!(toml("bytes", "{ \"$bytes\" = \"aGk=\" }")[0], toml("str", "'hi'")[0]);
}
