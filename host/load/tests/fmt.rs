//! Formatting: one layout, comments kept, meaning kept, stable.
#![allow(clippy::unwrap_used)]

use polyloom_load::{Document, Format, Source, format, to_json};

fn fmt(text: &str, kind: Format) -> String {
    let once = format(&Source::new("x", text), kind).unwrap();
    let twice = format(&Source::new("x", once.as_str()), kind).unwrap();
    assert_eq!(once, twice, "formatting twice changes nothing");
    let before = to_json(&Document::read(&Source::new("x", text), kind).unwrap());
    let after = to_json(&Document::read(&Source::new("x", once.as_str()), kind).unwrap());
    assert_eq!(before, after, "the meaning stays");
    once
}

#[test]
fn toml_gets_one_layout_and_keeps_comments() {
    let text = r#"

# About this flow.


[flow]
strict=true   # really
name   =   "x"
# Where we live.
[params]
year=2012

# The city.
city='Oslo'


[ cells . load ]   # first
  outputs={temps='list<int>',n = "int"}
  # How.
  code = '''
x = 1
  y = 2
'''

  inputs.b = 1
  inputs . a=[1,2 , 3]
  lang="python"
  argv = [
    "a",   # one
    "b",
  ]
[cells.load.env]
B="2"
A="1"
# The end.
"#;
    insta::assert_snapshot!(fmt(text, Format::Toml), @r#"
# About this flow.

[flow]
name = "x"
strict = true # really

# Where we live.
[params]
year = 2012

# The city.
city = 'Oslo'

[cells.load] # first
lang = "python"

inputs.b = 1
inputs.a = [1, 2, 3]
outputs = { temps = 'list<int>', n = "int" }
argv = [
    "a",   # one
    "b",
  ]
# How.
code = '''
x = 1
  y = 2
'''

[cells.load.env]
B = "2"
A = "1"
# The end.
"#);
}

#[test]
fn odd_toml_stays_what_it_is() {
    for text in [
        "",
        "# only a comment",
        "\n\n",
        "cells.a.lang = 'x' # c\ncells.a.code = ''",
        "[cells]\na = { lang = 'x' }",
        "# a\n\n# b\n\n\n[cells.a]\n\n\n# c\n\n# d\nlang='x'\n\n\n# e",
        "[cells.a]\r\nlang = 'x'\r\n",
        "x = 1\n[a]\n[b]\n",
        "[cells.a]\ninputs = {\n  a = 1, # c\n  b = 2,\n}\n",
        "[[x]]\na=1\n[[x]]\na=2",
    ] {
        fmt(text, Format::Toml);
    }
    insta::assert_snapshot!(fmt("# top\n\n\n[a]\nx=1\n[b]", Format::Toml), @r#"
# top

[a]
x = 1

[b]
"#);
}

#[test]
fn markdown_changes_only_option_lines() {
    let text = "---\nparams:\n   a:   1\n---\n# T  \n```{python}\n#|id:load  \n#| inputs:\n#|   x:  5\n#|outputs :{n: int}\n\nx  =  1   \n```";
    insta::assert_snapshot!(fmt(text, Format::Markdown).replace(' ', "·"), @r#"
---
params:
···a:···1
---
#·T··
```{python}
#|·id:·load
#|·inputs:
#|···x:··5
#|·outputs:·{n:·int}

x··=··1···
```
"#);
}

#[test]
fn json_is_canonical() {
    let text = r#"{"cells":{"b":{"code":"","lang":"python","inputs":{"z":1,"a":{"type":"int","value":1}}},"a":{"lang":"c","code":"x","seed":1}},"flow":{"name":"x"},"params":{"k":{"default":[1,[2.0,null]],"type":"any"}}}"#;
    insta::assert_snapshot!(fmt(text, Format::Json), @r#"
{
  "flow": {
    "name": "x"
  },
  "params": {
    "k": {
      "type": "any",
      "default": [
        1,
        [2.0, null]
      ]
    }
  },
  "cells": {
    "b": {
      "lang": "python",
      "inputs": {
        "a": {
          "value": 1,
          "type": "int"
        },
        "z": 1
      },
      "code": ""
    },
    "a": {
      "lang": "c",
      "seed": 1,
      "code": "x"
    }
  }
}
"#);
}
