//! Ports as variables: the codes that a kernel of Python is asked to run around a cell. Knows no kernel.

use polyloom_sdk::Exec;
use serde_json::{Value, json};

/// What is run before a cell and after it. `library` is the folder of `sdk/python`.
pub fn codes(library: &str, exec: &Exec) -> [String; 2] {
    let inputs = exec.inputs.iter().map(|(port, input)| {
        let (encoding, media) = (input.encoding.to_string(), &input.media);
        let slot =
            json!({ "type": input.r#type, "path": input.path, "encoding": encoding, "media": media });
        (port.clone(), slot)
    });
    let outputs =
        exec.outputs.iter().map(|(port, output)| (port.clone(), json!({ "type": output.r#type })));
    let cell = json!({
        "argv": exec.argv, "seed": exec.seed, "out": exec.out,
        "inputs": Value::Object(inputs.collect()), "outputs": Value::Object(outputs.collect()),
    });
    // A text of JSON is one of Python, too. No name is left in the cell's namespace.
    let (library, cell) = (json!(library), json!(cell.to_string()));
    ["before", "after"].map(|when| {
        format!(
            "{library} in __import__('sys').path or __import__('sys').path.append({library})\n\
             __import__('polyloom._kernel')._kernel.{when}(globals(), {cell})\n"
        )
    })
}
