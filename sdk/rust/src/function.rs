//! A function that an executor offers by name, as an entry of its catalog. Knows the names of the catalog's keys, and no host.

use std::collections::BTreeMap;

use polyloom_protocol::Value;

/// A function that cells can be calls of: `uses = "EXECUTOR:LOCATION:OBJECT"`.
///
/// ```
/// use polyloom_sdk::{Function, Value};
///
/// let repeat = Function::new("text", "repeat")
///     .doc("The same words again and again.")
///     .input("text", "str")
///     .param("times", "int", Some(Value::from(2_i64)))
///     .output("result", "str")
///     .tag("pure");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    entry: BTreeMap<String, Value>,
}

impl Function {
    /// A function `object` of `location`, a name of the executor's own choice, such as that of a module.
    #[must_use]
    pub fn new(location: &str, object: &str) -> Self {
        let entry = [("location", location), ("object", object)];
        let entry = entry.map(|(key, text)| (key.to_owned(), Value::from(text)));
        Self { entry: entry.into() }
    }

    /// What it does.
    #[must_use]
    pub fn doc(mut self, text: &str) -> Self {
        self.entry.insert("doc".to_owned(), Value::from(text));
        self
    }

    /// Takes an input, which a cell has to give. `ty` is a type of flows.
    #[must_use]
    pub fn input(self, name: &str, ty: &str) -> Self {
        self.add("inputs", port(name, ty, true))
    }

    /// Takes a param, which may be left out; the default is for those who read the catalog.
    #[must_use]
    pub fn param(self, name: &str, ty: &str, default: Option<Value>) -> Self {
        let mut param = port(name, ty, false);
        param.extend(default.map(|value| ("default".to_owned(), value)));
        self.add("params", param)
    }

    /// Gives an output.
    #[must_use]
    pub fn output(self, name: &str, ty: &str) -> Self {
        self.add("outputs", port(name, ty, true))
    }

    /// Has a word said of it: `pure` gives the same for the same, `seed` draws on the cell's seed.
    #[must_use]
    pub fn tag(self, word: &str) -> Self {
        self.add("tags", word)
    }

    fn add(mut self, key: &str, item: impl Into<Item>) -> Self {
        let list = self.entry.entry(key.to_owned()).or_insert_with(|| Value::List(Vec::new()));
        if let Value::List(items) = list {
            items.push(item.into().0);
        }
        self
    }
}

/// An item of a list of the entry.
struct Item(Value);

impl From<BTreeMap<String, Value>> for Item {
    fn from(map: BTreeMap<String, Value>) -> Self {
        Self(Value::Map(map))
    }
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self(Value::from(text))
    }
}

fn port(name: &str, ty: &str, required: bool) -> BTreeMap<String, Value> {
    let fields = [
        ("name", Value::from(name)),
        ("type", Value::from(ty)),
        ("required", Value::from(required)),
    ];
    fields.map(|(key, value)| (key.to_owned(), value)).into()
}

impl From<Function> for BTreeMap<String, Value> {
    fn from(function: Function) -> Self {
        function.entry
    }
}
