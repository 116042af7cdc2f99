//! Flow files in their three forms, manifests, and selectors of cells. It looks at no file.

use std::path::Path;
use std::sync::OnceLock;

use polyloom_load::{
    Context, Document, Format, Given, Languages, Loaded, Purpose, Report, Source, parse_manifest,
    render, report_to_json, to_json,
};
use polyloom_model::Flow;
use polyloom_plan::{Graph, Selection, Selector};

use crate::Choices;

/// A flow as TOML.
pub fn flow_toml(bytes: &[u8]) {
    flow(bytes, "x.toml", Format::Toml);
}

/// A flow as JSON.
pub fn flow_json(bytes: &[u8]) {
    flow(bytes, "x.json", Format::Json);
}

/// A flow as Markdown.
pub fn flow_markdown(bytes: &[u8]) {
    flow(bytes, "x.md", Format::Markdown);
}

/// Executors that the flows of the corpus can name.
fn languages() -> &'static Languages {
    static LANGUAGES: OnceLock<Languages> = OnceLock::new();
    LANGUAGES.get_or_init(|| {
        let texts = [
            include_str!("../../../executors/python/executor.toml"),
            include_str!("../../../executors/shell/executor.toml"),
            include_str!("../../../executors/c/executor.toml"),
        ];
        let manifests = texts.map(|text| {
            let (manifest, report) = parse_manifest(&Source::new("executor.toml", text), None);
            manifest.unwrap_or_else(|| panic!("{}", render(&report, false, 100)))
        });
        Languages::new(manifests.into()).0
    })
}

fn flow(bytes: &[u8], name: &str, format: Format) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Source::new(name, text);
    let document = match Document::read(&source, format) {
        Ok(document) => document,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            drawn(&Report { problems });
            assert!(polyloom_load::format(&source, format).is_err());
            return;
        }
    };
    let flow = checked(&document, name);
    let json = to_json(&document);

    // Formatted, it says the same and is left alone the next time.
    let once = polyloom_load::format(&source, format).expect("what can be read can be formatted");
    let formatted = Source::new(name, once.as_str());
    let again = Document::read(&formatted, format).unwrap_or_else(|problems| {
        panic!("formatted, it can't be read: {}", render(&Report { problems }, false, 100))
    });
    assert_eq!(to_json(&again), json, "formatting changes what is meant");
    let twice = polyloom_load::format(&formatted, format).expect("it was read");
    assert_eq!(twice, once, "formatting is not stable");

    // The canonical form is a flow of its own and has itself as its canonical form.
    let canonical = Source::new("x.json", json.as_str());
    let other = Document::read(&canonical, Format::Json).unwrap_or_else(|problems| {
        panic!("canonical JSON can't be read: {}", render(&Report { problems }, false, 100))
    });
    assert_eq!(to_json(&other), json, "canonical JSON is not stable");
    if let Some(flow) = flow {
        let other = checked(&other, name).expect("the canonical form of a sound flow is sound");
        assert_eq!(meaning(&flow), meaning(&other));
    }
}

/// What has to be the same in every form: all but the places in files.
fn meaning(flow: &Flow) -> String {
    let mut text = format!("{:?} {:?} {:?} {:?}", flow.name, flow.doc, flow.params, flow.strict);
    for cell in &flow.cells {
        text.push_str(&format!(
            "\n{} {:?} {:?} {:?} {:?} {:?}",
            cell.id, cell.code.bytes, cell.inputs, cell.outputs, cell.limits, cell.tags,
        ));
    }
    text
}

fn checked(document: &Document, name: &str) -> Option<Flow> {
    let given = Given::default();
    let context = Context {
        languages: languages(),
        root: None,
        purpose: Purpose::Check,
        given: &given,
        functions: None,
        within: &[],
    };
    let Loaded { flow, report } = polyloom_load::check(document, Path::new(name), &context);
    assert_eq!(flow.is_none(), report.has_errors(), "{}", render(&report, false, 100));
    drawn(&report);
    flow
}

/// Every problem can be shown, and steers no terminal.
fn drawn(report: &Report) {
    let text = render(report, false, 60);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let json = report_to_json(report);
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(report.problems.len()));
}

/// A manifest.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Source::new("executor.toml", text);
    let (manifest, report) = parse_manifest(&source, Some(Path::new("/p/executor.toml")));
    assert_eq!(manifest.is_none(), report.has_errors(), "{}", render(&report, false, 100));
    drawn(&report);
    if let Some(manifest) = manifest {
        assert!(!manifest.id.as_str().is_empty());
        let (languages, _) = Languages::new(vec![manifest.clone(), manifest]);
        let _ = languages;
    }
}

/// Selectors, one a line, of the cells of a flow.
pub fn selector(bytes: &[u8]) {
    static FLOW: OnceLock<(Flow, Graph)> = OnceLock::new();
    let (flow, graph) = FLOW.get_or_init(|| {
        let text = "[cells.a]\nlang = 'shell'\ncode = ''\noutputs = { x = 'int' }\ntags = ['one', 'é']\n\
                    [cells.ab]\nlang = 'shell'\ncode = ''\ninputs = { x = 'a.x' }\noutputs = { y = 'int' }\n\
                    [cells.a-b_c]\nlang = 'shell'\ncode = ''\ninputs = { x = 'a.x', y = 'ab.y' }\ntags = ['one']\n";
        let source = Source::new("x.toml", text);
        let document = Document::read(&source, Format::Toml).expect("a flow of our own");
        let flow = checked(&document, "x.toml").expect("a flow of our own");
        let graph = Graph::new(&flow).expect("a graph of our own");
        (flow, graph)
    });
    let mut choices = Choices(bytes);
    let lists = choices.byte();
    let Ok(text) = std::str::from_utf8(choices.0) else { return };
    let mut selection = Selection::default();
    for (at, line) in text.split('\n').enumerate() {
        match line.parse::<Selector>() {
            Ok(selector) => match lists >> (at % 4 * 2) & 3 {
                0 | 1 => selection.cells.push(selector),
                2 => selection.from.push(selector),
                _ => selection.until.push(selector),
            },
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        }
    }
    match selection.resolve(flow, graph) {
        Ok(selected) => assert!((1..=flow.cells.len()).contains(&selected.count())),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
}
