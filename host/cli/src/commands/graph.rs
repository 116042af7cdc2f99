//! `polyloom graph`: the cells and edges of a flow as text, Mermaid, Graphviz or JSON.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use polyloom_model::Flow;
use polyloom_plan::Graph;
use polyloom_report::Style;
use serde_json::json;

use crate::args::FlowArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// An edge: from a cell's output to a cell's input.
struct Edge {
    from: String,
    output: String,
    to: String,
    input: String,
    ty: String,
    /// Whether it is a list of which each step gets an item, not all of it.
    items: bool,
}

/// The command.
pub fn graph(world: &World, args: &FlowArgs, mermaid: bool, dot: bool, json: bool) -> Outcome {
    let flow = world.flow(args)?;
    let edges = edges(&flow);
    let text = if mermaid {
        draw_mermaid(&flow, &edges)
    } else if dot {
        draw_dot(&flow, &edges)
    } else if json {
        draw_json(&flow, &edges)
    } else {
        draw_text(world, &flow, &edges)?
    };
    world.screen.print(&text);
    Ok(Exit::Ok)
}

fn edges(flow: &Flow) -> Vec<Edge> {
    let by_id: HashMap<_, _> = flow.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let mut edges = Vec::new();
    for cell in &flow.cells {
        for (port, input) in &cell.inputs {
            for (from, output) in input.source.ports() {
                let ty = by_id.get(from).and_then(|cell| cell.outputs.get(output));
                edges.push(Edge {
                    from: from.to_string(),
                    output: output.to_string(),
                    to: cell.id.to_string(),
                    input: port.to_string(),
                    ty: ty.map(ToString::to_string).unwrap_or_default(),
                    items: false,
                });
            }
        }
        for items in cell.after() {
            let ty = by_id.get(&items.cell).and_then(|cell| cell.outputs.get(&items.port));
            edges.push(Edge {
                from: items.cell.to_string(),
                output: items.port.to_string(),
                to: cell.id.to_string(),
                input: items.axis.to_string(),
                ty: ty.map(ToString::to_string).unwrap_or_default(),
                items: true,
            });
        }
    }
    edges
}

/// What leads from one cell to another.
struct Pair<'a> {
    from: &'a str,
    to: &'a str,
    ports: String,
    /// Whether these are items.
    items: bool,
}

/// Pairs of cells, each once (and once for items), in the order of the file, with the ports between them.
fn pairs(edges: &[Edge]) -> Vec<Pair<'_>> {
    let mut places: HashMap<(&str, &str, bool), usize> = HashMap::new();
    let mut all: Vec<(&Edge, BTreeSet<&str>)> = Vec::new();
    for edge in edges {
        let pair = (edge.from.as_str(), edge.to.as_str(), edge.items);
        let place = *places.entry(pair).or_insert_with(|| {
            all.push((edge, BTreeSet::new()));
            all.len() - 1
        });
        all[place].1.insert(&edge.output);
    }
    let joined = |ports: BTreeSet<&str>| ports.into_iter().collect::<Vec<_>>().join(", ");
    let pairs = all.into_iter().map(|(edge, ports)| Pair {
        from: &edge.from,
        to: &edge.to,
        ports: joined(ports),
        items: edge.items,
    });
    pairs.collect()
}

fn draw_mermaid(flow: &Flow, edges: &[Edge]) -> String {
    // Cell ids are `[a-z][a-z0-9_-]*`; only the dash and the word `end` mean something to Mermaid.
    let id = |name: &str| format!("c_{}", name.replace('-', "_d_"));
    let mut text = String::from("flowchart LR\n");
    for cell in &flow.cells {
        let _ = writeln!(
            text,
            "  {}[\"{}<br/><small>{}</small>\"]",
            id(cell.id.as_str()),
            cell.id,
            cell.executor
        );
    }
    for Pair { from, to, ports, items } in pairs(edges) {
        let arrow = if items { "-.->" } else { "-->" };
        let _ = writeln!(text, "  {} {arrow}|{ports}| {}", id(from), id(to));
    }
    text
}

fn draw_dot(flow: &Flow, edges: &[Edge]) -> String {
    let mut text = String::from("digraph flow {\n  rankdir=LR\n  node [shape=box]\n");
    for cell in &flow.cells {
        let _ = writeln!(text, "  \"{}\" [label=\"{}\\n{}\"]", cell.id, cell.id, cell.executor);
    }
    for Pair { from, to, ports, items } in pairs(edges) {
        let style = if items { " style=dotted" } else { "" };
        let _ = writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{ports}\"{style}]");
    }
    text.push_str("}\n");
    text
}

fn draw_json(flow: &Flow, edges: &[Edge]) -> String {
    let cells = flow.cells.iter().map(|cell| {
        let outputs: serde_json::Map<String, serde_json::Value> =
            cell.outputs.iter().map(|(port, ty)| (port.to_string(), ty.to_string().into())).collect();
        let inputs: serde_json::Map<String, serde_json::Value> = cell
            .inputs
            .iter()
            .map(|(port, input)| (port.to_string(), input.ty.to_string().into()))
            .collect();
        json!({
            "id": cell.id.as_str(), "lang": cell.executor.as_str(), "inputs": inputs, "outputs": outputs,
            "tags": cell.tags, "doc": cell.doc,
        })
    });
    let edges = edges.iter().map(|edge| {
        json!({
            "from": format!("{}.{}", edge.from, edge.output),
            "to": format!("{}.{}", edge.to, edge.input),
            "type": edge.ty,
            "items": edge.items,
        })
    });
    let document = json!({
        "schema": "polyloom.graph/1",
        "flow": flow.name,
        "cells": cells.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    polyloom_report::json_text(&text).into_owned() + "\n"
}

/// Cells in an order that can be run, each with what it reads.
fn draw_text(world: &World, flow: &Flow, edges: &[Edge]) -> Result<String, Failure> {
    let graph = Graph::new(flow).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let paint = world.screen.out;
    let mut text = String::new();
    let mut read: HashMap<&str, Vec<Pair<'_>>> = HashMap::new();
    for pair in pairs(edges) {
        read.entry(pair.to).or_default().push(pair);
    }
    for cell in graph.order() {
        let cell = &flow.cells[cell.at()];
        let name = paint.cell(cell.id.as_str(), cell.id.as_str());
        let lang = paint.text(Style::Dim, cell.executor.as_str());
        let _ = writeln!(text, "{name} {lang}");
        for Pair { from, ports, items, .. } in read.get(cell.id.as_str()).into_iter().flatten() {
            let arrow = if *items { "⇠ items of" } else { "←" };
            let _ = writeln!(text, "  {arrow} {}: {ports}", paint.cell(from, from));
        }
    }
    Ok(text)
}
