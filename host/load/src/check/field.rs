//! Reading one key's value in the shape the key takes. Says what was expected when it is another.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::findings::{Findings, Found, list, shown, suggestion};
use crate::keys::{Key, SYNONYMS};
use crate::problem::Code;
use crate::tree::{Data, Map, Node};

impl Findings {
    /// Reports every key that is not in the table; `place` is the table's name for messages. The answer is
    /// the keys that were most likely meant: that they are missing needs not be said as well.
    pub fn known_keys(
        &mut self,
        map: &Map,
        keys: &[Key],
        place: impl Display,
    ) -> Vec<&'static str> {
        let mut meant = Vec::new();
        for entry in &map.entries {
            let text = entry.key.text.as_str();
            let span = &entry.key.span;
            if !keys.iter().any(|key| key.name == text) {
                meant.extend(self.unknown_key(text, span, keys, &place));
            }
        }
        meant
    }

    fn unknown_key(
        &mut self,
        text: &str,
        span: &crate::source::Span,
        keys: &[Key],
        place: &dyn Display,
    ) -> Option<&'static str> {
        if self.is_full() {
            self.error(Code::UnknownKey, span, "", "");
            return None;
        }
        let names: Vec<&'static str> = keys.iter().map(|key| key.name).collect();
        let synonym =
            SYNONYMS.iter().find(|(theirs, ours)| *theirs == text && names.contains(ours));
        let nearest = match synonym {
            Some((_, ours)) => Some(*ours),
            None => self.nearest(text, names.iter().copied()),
        };
        self.error(
            Code::UnknownKey,
            span,
            format!("unknown key `{}` in {place}", shown(text)),
            "nobody reads this",
        )
        .help_opt(suggestion(nearest, &names));
        nearest
    }

    /// Reports a value of the wrong kind.
    pub fn wrong_kind(&mut self, key: &str, node: &Node, expected: &str) -> Found<'_> {
        let message = format!("`{}` takes {expected}, not {}", shown(key), node.kind());
        self.error(Code::WrongKind, &node.span, message, "")
    }

    /// A table.
    pub fn table<'d>(&mut self, key: &str, node: &'d Node) -> Option<&'d Map> {
        if node.as_map().is_none() {
            self.wrong_kind(key, node, "a table");
        }
        node.as_map()
    }

    /// A text.
    pub fn text<'d>(&mut self, key: &str, node: &'d Node) -> Option<&'d str> {
        if node.as_str().is_none() {
            let found = self.wrong_kind(key, node, "a text");
            if matches!(node.data, Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Date) {
                found.help("put it in quotes");
            }
        }
        node.as_str()
    }

    /// true or false.
    pub fn flag(&mut self, key: &str, node: &Node) -> Option<bool> {
        if let Data::Bool(flag) = node.data {
            return Some(flag);
        }
        self.wrong_kind(key, node, "`true` or `false`");
        None
    }

    /// A whole number in a range.
    pub fn int(&mut self, key: &str, node: &Node, least: i64, most: i64) -> Option<i64> {
        match node.data {
            Data::Int(number) if (least..=most).contains(&number) => Some(number),
            Data::Int(number) => {
                let message = format!("`{key}` is {number}, out of range");
                let help = format!("valid: {least} to {most}");
                self.error(Code::BadLimit, &node.span, message, "").help(help);
                None
            }
            _ => {
                self.wrong_kind(key, node, "a whole number");
                None
            }
        }
    }

    /// A list of texts. A single text is refused: nothing here is split at spaces.
    pub fn texts(&mut self, key: &str, node: &Node) -> Option<Vec<String>> {
        let Data::List(items) = &node.data else {
            let found = self.wrong_kind(key, node, "a list of texts");
            if let Data::Str(text) = &node.data {
                let words: Vec<String> = text
                    .split_whitespace()
                    .take(8)
                    .map(|word| format!("\"{}\"", shown(word)))
                    .collect();
                found.help(format!("no shell splits it; write [{}]", words.join(", ")));
            }
            return None;
        };
        let before = self.count();
        let texts =
            items.iter().filter_map(|item| self.text(key, item).map(str::to_owned)).collect();
        (self.count() == before).then_some(texts)
    }

    /// Texts by name; the names are checked by the caller.
    pub fn text_map(&mut self, key: &str, node: &Node) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let Some(map) = self.table(key, node) else { return all };
        for entry in &map.entries {
            if let Some(text) = self.text(&entry.key.text, &entry.node) {
                all.insert(entry.key.text.to_string(), text.to_owned());
            }
        }
        all
    }

    /// A type, with the place inside its text.
    pub fn ty(&mut self, node: &Node) -> Option<polyloom_model::Type> {
        let text = self.text("type", node)?;
        match text.parse() {
            Ok(ty) => Some(ty),
            Err(error) => {
                self.bad_type(node, text, &error);
                None
            }
        }
    }

    fn bad_type(&mut self, node: &Node, text: &str, error: &polyloom_model::TypeError) {
        let at = error.at.saturating_sub(1);
        let rest = text.get(at..).unwrap_or("");
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..end];
        let mut message = format!("`{}` is not a type", shown(text));
        // The one list of words is long: it is the help, where nothing better is known.
        let help = if !error.why.starts_with("expected one of") {
            message.push_str(&format!(": {}", error.why));
            // What is stored as a file is no part of a value.
            error.why.starts_with("lists, maps and records").then(|| {
                "several files are a `dir`; a cell with a `map` runs once for each of them"
                    .to_owned()
            })
        } else if word.is_empty() {
            message.push_str(&format!(": a type is missing at position {}", error.at));
            Some(list(&polyloom_model::Type::WORDS))
        } else {
            let other = other_type(&word.to_ascii_lowercase());
            match other.or_else(|| self.nearest(word, polyloom_model::Type::WORDS)) {
                Some(word) => Some(format!("did you mean `{word}`?")),
                None => Some(format!("types: {}", list(&polyloom_model::Type::WORDS))),
            }
        };
        // Only where the text is written as it is read does a place inside it exist.
        let start = node.span.start + 1 + at;
        let plain = self.source.text().get(start..start + word.len()) == Some(word);
        let span =
            if plain && !word.is_empty() { start..start + word.len() } else { node.span.clone() };
        self.error(Code::BadType, &span, message, "").help_opt(help);
    }
}

/// What other systems call our types.
fn other_type(word: &str) -> Option<&'static str> {
    Some(match word {
        "integer" | "i64" | "int64" | "i32" | "int32" | "long" => "int",
        "number" | "double" | "real" | "f64" | "float64" | "f32" => "float",
        "string" | "text" | "varchar" => "str",
        "boolean" => "bool",
        "array" | "vec" | "tuple" | "sequence" => "list",
        "dict" | "object" | "mapping" | "json" => "map",
        "ndarray" | "matrix" => "tensor",
        "dataframe" | "frame" => "table",
        "path" => "file",
        "folder" | "directory" => "dir",
        "none" | "nil" | "unit" => "null",
        "blob" | "binary" => "bytes",
        "png" | "picture" => "image",
        _ => return None,
    })
}
