//! `polyloom check`: every problem of every flow at once.

use std::path::PathBuf;

use polyloom_load::{Code, Given, Purpose, Report};

use crate::args::Format;
use crate::failure::{Exit, Outcome};
use crate::functions::Readers;
use crate::world::World;

/// The command.
pub fn check(world: &World, flows: &[PathBuf], purity: bool, format: Format) -> Outcome {
    let here = [PathBuf::from(".")];
    let flows = if flows.is_empty() { &here[..] } else { flows };
    let given = Given::default();
    let readers = Readers::new(world);
    let config = world.config(Purpose::Check, &given, &readers);
    let loaded = polyloom_load::check_all(flows, &config);
    let mut report = Report::default();
    let mut cells = 0;
    let mut whole = Vec::new();
    let mut harmed = Ok(());
    for (loaded, path) in loaded.into_iter().zip(flows) {
        if format == Format::Text {
            world.tell_offers(path, &loaded.report);
        }
        if let Some(flow) = loaded.flow {
            cells += flow.cells.len();
            harmed = harmed.and_then(|()| world.unharmed(&flow));
            whole.push((path, flow));
        }
        report.extend(loaded.report);
    }
    let sound = !report.has_errors();
    if purity && sound && harmed.is_ok() {
        for (path, flow) in &whole {
            report.problems.extend(super::purity::purity(world, path, flow)?);
        }
    }
    let (errors, warnings) = (report.errors(), report.warnings());
    match format {
        Format::Json | Format::Jsonl => {
            let mut json = polyloom_load::report_to_json(&report);
            if let Some(document) = json.as_object_mut() {
                document.insert("schema".to_owned(), "polyloom.check/1".into());
            }
            if format == Format::Json {
                world.screen.json(&json);
            } else {
                world.screen.json_line(&json);
            }
        }
        Format::Text => {
            let width = world.screen.columns.unwrap_or(100);
            world.screen.tell(&polyloom_load::render(&report, world.screen.err.color, width));
            let plural = |count: usize, noun: &str| match count {
                1 => format!("1 {noun}"),
                _ => format!("{count} {noun}s"),
            };
            let files = plural(flows.len(), "flow");
            let too_many = report.problems.iter().any(|it| it.code == Code::TooMany);
            let text = match (errors, warnings) {
                (0, 0) => format!("{files} with {}: no problems\n", plural(cells, "cell")),
                _ => format!(
                    "{files}: {}{}, {}\n",
                    if too_many { "at least " } else { "" },
                    plural(errors, "error"),
                    plural(warnings, "warning")
                ),
            };
            world.screen.note(&text);
        }
    }
    if !sound {
        return Ok(Exit::Usage);
    }
    harmed?;
    Ok(if errors > 0 { Exit::Failed } else { Exit::Ok })
}
