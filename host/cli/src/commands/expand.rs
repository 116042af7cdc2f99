//! `polyloom expand`: a flow as its plain steps: maps and flows within it resolved as far as that is possible without running anything.

use std::sync::Arc;

use polyloom_model::{Items, Role, Source};
use polyloom_report::{Align, Style, Table};
use polyloom_runtime::Prepared;
use serde_json::{Value, json};

use crate::args::{FlowArgs, Format, Select};
use crate::failure::{Exit, Outcome};
use crate::world::World;

/// The command.
pub fn expand(world: &World, flow: &FlowArgs, format: Format) -> Outcome {
    let flow = Arc::new(world.flow(flow)?);
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let prepared = world.prepare(&place, flow, None, &Select::default())?;
    match format {
        Format::Json => world.screen.json(&json!({
            "schema": "polyloom.expand/1",
            "flow": prepared.flow.name,
            "cells": cells(&prepared).collect::<Vec<_>>(),
        })),
        Format::Jsonl => cells(&prepared).for_each(|cell| world.screen.json_line(&cell)),
        Format::Text => {
            let mut table =
                Table::new(&[("cell", Align::Left), ("lang", Align::Left), ("reads", Align::Left)]);
            for cell in &prepared.flow.cells {
                let reads = cell.inputs.iter().map(|(port, input)| {
                    let from = match (&cell.role, &input.source) {
                        (Role::Open, _) => words(&input.source),
                        (Role::Gather, Source::Ports(ports)) if ports.len() == 1 => {
                            "1 step".to_owned()
                        }
                        (Role::Gather, Source::Ports(ports)) => format!("{} steps", ports.len()),
                        (_, source) => words(source),
                    };
                    format!("{port} ← {from}")
                });
                let mut reads = reads.collect::<Vec<_>>().join(", ");
                if matches!(cell.role, Role::Open) {
                    reads = format!("items not known yet: {reads}");
                }
                table.styled([
                    (Style::Plain, cell.id.to_string()),
                    (Style::Dim, cell.executor.to_string()),
                    (Style::Dim, reads),
                ]);
            }
            world.screen.print(&table.render(world.screen.out, world.screen.columns));
        }
    }
    Ok(Exit::Ok)
}

fn words(source: &Source) -> String {
    match source {
        Source::Port(cell, port) => format!("{cell}.{port}"),
        Source::Param(name) => format!("param:{name}"),
        Source::File(path) => format!("file:{}", path.display()),
        Source::Value(value) => value.to_json(),
        Source::Item => "an item".to_owned(),
        Source::Ports(ports) => {
            let all = ports.iter().map(|(cell, port)| format!("{cell}.{port}"));
            all.collect::<Vec<_>>().join(", ")
        }
    }
}

fn cells(prepared: &Prepared) -> impl Iterator<Item = Value> {
    prepared.flow.cells.iter().map(|cell| {
        let inputs: serde_json::Map<String, Value> = cell
            .inputs
            .iter()
            .map(|(port, input)| {
                let from = json!({ "from": words(&input.source), "type": input.ty.to_string() });
                (port.to_string(), from)
            })
            .collect();
        let outputs: serde_json::Map<String, Value> =
            cell.outputs.iter().map(|(port, ty)| (port.to_string(), ty.to_string().into())).collect();
        let over = cell.map.iter().map(|axis| match &axis.items {
            Items::Of(source) => format!("{}: {}", axis.port, words(source)),
            Items::Glob(pattern) => format!("{}: glob:{pattern}", axis.port),
        });
        json!({
            "id": cell.id.as_str(), "lang": cell.executor.as_str(), "inputs": inputs, "outputs": outputs,
            "when": cell.condition().map(ToString::to_string), "open": over.collect::<Vec<_>>(),
        })
    })
}
