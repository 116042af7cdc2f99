//! A Markdown document becomes the model.
#![allow(clippy::unwrap_used)]

mod support;

use support::check;

const DOCUMENT: &str = r#"---
title: "Weather: a story"
format:
  html:
    toc: true
author:
- A
flow:
  strict: false
params:
  year: 2012
  city: { type: str, default: "Oslo" }
defaults:
  timeout: 1m
---

# Load

```python
not_a_cell()
```

```{python}
#| id: load
#| fig-cap: "A: picture"
#| inputs:
#|   year: param:year
#|   names: [a, b]
#| outputs: {temps: "tensor<f64,[n]>", n: int}
#| tags:
#|   - slow
#| echo: false

temps = load(year)
```

<!--
```{python}
hidden()
```
-->

  ~~~~{bash}
  #| label: show
  #| inputs = { n = "load.n" }
  #| stdin: {input: n}
  echo $n
    ```
  ~~~~

```{python}
#| eval: false
oops
```

```{c #last}
int main(void) { return 0; }
```
"#;

#[test]
fn a_document_is_a_flow() {
    let loaded = check("story.qmd", DOCUMENT, None);
    assert!(loaded.report.is_empty(), "{}", polyloom_load::render(&loaded.report, false, 100));
    let flow = loaded.flow.unwrap();
    assert_eq!((flow.name.as_str(), flow.doc.as_deref()), ("story", Some("Weather: a story")));
    assert_eq!(flow.params.len(), 2);
    let ids: Vec<_> = flow.cells.iter().map(|cell| cell.id.as_str()).collect();
    assert_eq!(ids, ["load", "show", "last"]);
    let load = &flow.cells[0];
    assert_eq!(std::str::from_utf8(&load.code.bytes).unwrap(), "\ntemps = load(year)\n");
    let line = DOCUMENT.lines().position(|line| line.starts_with("temps")).unwrap();
    assert_eq!(load.code.origin.first_line as usize, line);
    assert_eq!(load.outputs["temps"].to_string(), "tensor<f64,[n]>");
    assert_eq!(load.inputs["names"].ty.to_string(), "list<str>");
    assert_eq!(
        (load.tags.as_slice(), load.limits.timeout.as_secs()),
        (&["slow".to_owned()][..], 60)
    );
    let show = &flow.cells[1];
    assert_eq!(std::str::from_utf8(&show.code.bytes).unwrap(), "echo $n\n  ```\n");
    assert_eq!(
        (show.executor.as_str(), show.inputs["n"].ty.to_string().as_str()),
        ("shell", "int")
    );
}

#[test]
fn unnamed_cells_are_numbered() {
    let flow = check("x.md", "```{bash}\ntrue\n```\n\n```{bash}\r\n#| id: b\r\ntrue\r\n```", None)
        .flow
        .unwrap();
    let ids: Vec<_> = flow.cells.iter().map(|cell| cell.id.as_str()).collect();
    assert_eq!(ids, ["cell-1", "b"]);
    assert_eq!(&*flow.cells[1].code.bytes, b"true\r\n");
}

#[test]
fn an_empty_block_can_take_its_code_from_a_file() {
    let text = "```{python}\n#| id: a\n#| file: a.py\n\n```\n```{python}\n#| file: a.py\nx\n```\n";
    let report = check("x.md", text, None).report;
    let lines: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["x.md:8:1: error[PL042]: the cell `cell-2` has both `code` and `file`"]);
}

#[test]
fn a_language_can_be_named_in_braces_only() {
    for prose in [
        "```python",
        "```{.python}",
        "```{=html}",
        "```{{python}}",
        "```{mermaid}",
        "    ```{python}",
        "``{python}",
    ] {
        let report = check("x.md", &format!("{prose}\nx\n```\n"), None).report;
        assert_eq!(report.problems[0].code.as_str(), "PL008", "{prose}");
    }
}
