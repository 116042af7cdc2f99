//! The flow that `polyloom new` writes: small, in two languages, runnable as it is.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A name that no flow can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` can't be the name of a new flow; valid: a folder name such as `weather`")]
pub struct TemplateError(String);

/// The files of a new flow called `name` (of a path, the last part counts), relative to its folder.
pub fn template(name: &str) -> Result<Vec<(PathBuf, String)>, TemplateError> {
    let error = || TemplateError(crate::findings::shown(name));
    let last = Path::new(name).file_name().and_then(|last| last.to_str()).ok_or_else(error)?;
    if last.chars().any(char::is_control) || last.starts_with('-') {
        return Err(error());
    }
    // A name needs TOML's escapes, which are JSON's as far as a file name goes.
    let quoted = serde_json::Value::from(last).to_string();
    let file = |path: &str, text: &str| (PathBuf::from(path), text.replace("@NAME@", &quoted));
    Ok(vec![file("polyloom.toml", FLOW), file("count.py", COUNT), file("report.sh", REPORT)])
}

const FLOW: &str = r#"[flow]
name = @NAME@
doc = "Counts words in Python and reports on them in the shell."

[params.text]
type = "str"
default = "the quick brown fox jumps over the lazy dog"
doc = "What is counted; try: polyloom run -p text='to be or not to be'"

[cells.count]
lang = "python"
file = "count.py"
inputs = { text = "param:text" }
outputs = { words = "map<int>", total = "int", longest = "str" }

[cells.report]
lang = "shell"
file = "report.sh"
inputs = { total = "count.total", longest = "count.longest" }
outputs = { summary = "str" }
timeout = "10s"
"#;

const COUNT: &str = r#"# Inputs are variables; outputs are the variables of those names at the end.
words = {}
for word in text.split():
    words[word] = words.get(word, 0) + 1

total = sum(words.values())
longest = max(words, key=len, default="")
print(f"{total} words, {len(words)} different")
"#;

const REPORT: &str = r#"# Inputs are environment variables; an output is a file in $OUT of its name.
echo "$total words; the longest is '$longest'" | tee "$OUT/summary"
"#;
