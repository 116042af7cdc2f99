//! A document as canonical JSON: the form for machines. One document has one text, whatever it was written in.
//!
//! Tables of known keys follow the order of `keys`; cells keep the order of the file, which is meant; all other names
//! are sorted. Two blanks of indentation, one line break at the end.

use crate::keys::{CELL, DEFAULTS, FLOW, INPUT, Key, OUTPUT, PARAM, Shape, TOP};
use crate::read::Document;
use crate::tree::{Data, Entry, Map, Node};

/// Writes a document.
#[must_use]
pub fn to_json(document: &Document) -> String {
    let mut writer = Writer { text: String::new(), depth: 0 };
    writer.node(&document.root, Order::Known(TOP));
    writer.text.push('\n');
    writer.text
}

/// How the entries of a table are ordered.
#[derive(Clone, Copy)]
enum Order {
    /// As in a table of keys.
    Known(&'static [Key]),
    /// As written; each entry is a table of known keys.
    Cells,
    /// By name; each entry is a table of known keys.
    Params,
    /// By name; each entry is an input.
    Inputs,
    /// By name; each entry is an output.
    Outputs,
    /// By name.
    Sorted,
}

impl Order {
    /// The order inside of an entry.
    fn inner(self, key: &str) -> Order {
        match self {
            Order::Known(keys) => {
                match keys.iter().find(|known| known.name == key).map(|known| known.shape) {
                    Some(Shape::Table(keys)) if std::ptr::eq(keys, FLOW) => Order::Known(FLOW),
                    Some(Shape::Table(keys)) if std::ptr::eq(keys, DEFAULTS) => {
                        Order::Known(DEFAULTS)
                    }
                    Some(Shape::Named(_)) => Order::Cells,
                    Some(Shape::Params) => Order::Params,
                    Some(Shape::Inputs) => Order::Inputs,
                    Some(Shape::Outputs) => Order::Outputs,
                    _ => Order::Sorted,
                }
            }
            Order::Cells => Order::Known(CELL),
            Order::Params => Order::Known(PARAM),
            Order::Inputs => Order::Known(INPUT),
            Order::Outputs => Order::Known(OUTPUT),
            Order::Sorted => Order::Sorted,
        }
    }

    fn sort(self, map: &Map) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = map.entries.iter().collect();
        match self {
            Order::Known(keys) => {
                let rank = |entry: &Entry| {
                    keys.iter().position(|key| entry.key.text == key.name).unwrap_or(keys.len())
                };
                entries.sort_by(|a, b| (rank(a), &*a.key.text).cmp(&(rank(b), &*b.key.text)));
            }
            Order::Cells => {}
            Order::Params | Order::Inputs | Order::Outputs | Order::Sorted => {
                entries.sort_by(|a, b| a.key.text.as_str().cmp(&b.key.text));
            }
        }
        entries
    }
}

/// Whether a table stands for a float or bytes: written like the scalar it is.
fn special(node: &Node) -> bool {
    node.as_map().is_some_and(|map| match map.entries.as_slice() {
        [only] => {
            matches!(only.key.text.as_str(), "$float" | "$bytes") && only.node.as_str().is_some()
        }
        _ => false,
    })
}

struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    fn string(&mut self, text: &str) {
        // Writing a str as JSON can't fail; its Display is the quoted text.
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }

    fn line(&mut self) {
        self.text.push('\n');
        (0..self.depth).for_each(|_| self.text.push_str("  "));
    }

    fn node(&mut self, node: &Node, order: Order) {
        match &node.data {
            Data::Null | Data::Date => self.text.push_str("null"),
            Data::Bool(flag) => self.text.push_str(if *flag { "true" } else { "false" }),
            Data::Int(number) => self.text.push_str(&number.to_string()),
            Data::Float(number) if number.is_nan() => self.float("nan"),
            Data::Float(number) if number.is_infinite() => {
                self.float(if *number > 0.0 { "inf" } else { "-inf" });
            }
            Data::Float(number) => {
                self.text.push_str(&serde_json::Value::from(*number).to_string())
            }
            Data::Str(text) => self.string(text),
            Data::List(items) => self.list(items),
            Data::Map(map) if map.entries.is_empty() => self.text.push_str("{}"),
            Data::Map(map) if special(node) => {
                for entry in &map.entries {
                    self.text.push('{');
                    self.string(&entry.key.text);
                    self.text.push_str(": ");
                    self.node(&entry.node, Order::Sorted);
                    self.text.push('}');
                }
            }
            Data::Map(map) => {
                self.text.push('{');
                self.depth += 1;
                for (index, entry) in order.sort(map).into_iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.line();
                    self.string(&entry.key.text);
                    self.text.push_str(": ");
                    self.node(&entry.node, order.inner(&entry.key.text));
                }
                self.depth -= 1;
                self.line();
                self.text.push('}');
            }
        }
    }

    /// JSON has no such numbers.
    fn float(&mut self, name: &str) {
        self.text.push_str("{\"$float\": \"");
        self.text.push_str(name);
        self.text.push_str("\"}");
    }

    fn list(&mut self, items: &[Node]) {
        let flat = items
            .iter()
            .all(|item| !matches!(item.data, Data::List(_) | Data::Map(_)) || special(item));
        self.text.push('[');
        self.depth += 1;
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push_str(if flat { ", " } else { "," });
            }
            if !flat {
                self.line();
            }
            self.node(item, Order::Sorted);
        }
        self.depth -= 1;
        if !flat {
            self.line();
        }
        self.text.push(']');
    }
}
