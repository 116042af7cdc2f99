//! Every key of a flow file and of a manifest: name, shape, default, meaning. The one table that the checker,
//! the formatter, the canonical JSON, the schema and the reference in the README follow.

mod manifest;

pub use manifest::*;

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// One text.
    Text,
    /// true or false.
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// A number in a range.
    Number(f64, f64),
    /// `"5s"`, `"1m30s"`.
    Duration,
    /// `"256MiB"` or a number of bytes.
    Size,
    /// A list of texts.
    Texts,
    /// One text, or a list of them.
    TextOrTexts,
    /// Texts by name.
    TextMap,
    /// Handles of secrets by name.
    Secrets,
    /// A type such as `"list<int>"`.
    Type,
    /// Any value.
    Value,
    /// Constants by name.
    Values,
    /// Inputs by port.
    Inputs,
    /// Types by port, or tables of `OUTPUT`.
    Outputs,
    /// A text or `{ input = "PORT" }`.
    Stdin,
    /// A number of attempts or a table of [`RETRY`].
    Retries,
    /// A list of whole numbers.
    Ints,
    /// Lists of texts by name.
    TextsMap,
    /// A table of known keys.
    Table(&'static [Key]),
    /// Tables of known keys by a name of the user's.
    Named(&'static [Key]),
    /// As `Named`, where a plain value stands for a table with only a `default`.
    Params,
    /// Programs by tool, by executor.
    Executors,
    /// Any keys.
    Free,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// What holds without it; empty: nothing.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Key {
    Key { name, shape, default, doc }
}

/// The top level of a flow.
pub const TOP: &[Key] = &[
    key("flow", Shape::Table(FLOW), "", "About the flow."),
    key("params", Shape::Params, "", "Params: values that a run can set."),
    key(
        "executors",
        Shape::Executors,
        "",
        "Which program serves a tool of an executor, by executor and tool, relative to the flow's folder: `[executors.python]` `python = \".venv/bin/python\"`.",
    ),
    key(
        "defaults",
        Shape::Table(DEFAULTS),
        "",
        "What holds for every cell that does not say otherwise.",
    ),
    key(
        "outputs",
        Shape::TextMap,
        "",
        "What the flow gives where it is a cell of another one: outputs by name, each `CELL.PORT`.",
    ),
    key("cells", Shape::Named(CELL), "", "The cells by id."),
];

/// `[flow]`.
pub const FLOW: &[Key] = &[
    key("name", Shape::Text, "the file's or folder's name", "The flow's name."),
    key("doc", Shape::Text, "", "One line about it."),
    key("strict", Shape::Bool, "false", "Whether coercions between types are off."),
    key(
        "seed",
        Shape::Int(i64::MIN, i64::MAX),
        "0",
        "What the streams of random numbers of cells with `uses` are derived from; `--seed` goes before it.",
    ),
    key("requires", Shape::Text, "", "The versions of polyloom that can run it: `\">=0.1\"`."),
];

/// `[params.NAME]`.
pub const PARAM: &[Key] = &[
    key("type", Shape::Type, "the default's type", "The type."),
    key(
        "default",
        Shape::Value,
        "",
        "The value when a run gives none. Without it, each run must give one.",
    ),
    key("doc", Shape::Text, "", "One line about it."),
];

const TIMEOUT: Key = key("timeout", Shape::Duration, "10m", "Wall-clock time from start to exit.");
const SOFT_TIMEOUT: Key = key(
    "soft_timeout",
    Shape::Duration,
    "none",
    "Wall-clock time after which the cell is said to take long.",
);
const GRACE: Key = key(
    "grace",
    Shape::Duration,
    "2s",
    "What a cell that is asked to end (SIGTERM, because of `timeout` or Ctrl-C) is given before it is ended (SIGKILL).",
);
const MEMORY: Key =
    key("memory", Shape::Size, "2GiB", "Physical memory of all the cell's processes together.");
const RETRY_MEMORY: Key = key(
    "retry_memory",
    Shape::Number(1.0, 16.0),
    "1",
    "By what `memory` grows for each attempt that ran out of it, with `retries`: `1.5`, `2`.",
);
const CPUS: Key = key(
    "cpus",
    Shape::Number(0.01, 4096.0),
    "no quota",
    "Processors' worth of time: `0.5`, `2`. A cpu control group holds the cell to it; without one (`polyloom doctor`: `cpu_share` none) nothing does, and it only tells Python's libraries how many threads to start.",
);
const CPU_TIME: Key = key(
    "cpu_time",
    Shape::Duration,
    "no limit",
    "Processor time of all the cell's processes together.",
);
const PIDS: Key =
    key("pids", Shape::Int(1, 1_000_000), "256", "Processes and threads alive at once.");
const OPEN_FILES: Key = key(
    "open_files",
    Shape::Int(32, 1_000_000),
    "1024",
    "Open files of each of the cell's processes.",
);
const DISK: Key = key(
    "disk",
    Shape::Size,
    "1GiB",
    "Bytes the cell may write into its own file system; more than `memory` is kept on disk. The default is no more than `memory`.",
);
const OUTPUT_LIMIT: Key =
    key("output_limit", Shape::Size, "64MiB", "Bytes of stdout and stderr together.");
const INODES: Key = key(
    "inodes",
    Shape::Int(32, 10_000_000),
    "65536",
    "Files and directories the cell may make in its own file system.",
);
const ARTIFACTS: Key = key(
    "artifacts",
    Shape::Int(1, 1_000_000),
    "10000",
    "Files that are kept of a cell: outputs, those in directories of them, further results.",
);
const ARTIFACT_SIZE: Key =
    key("artifact_size", Shape::Size, "what `disk` allows", "Bytes of all these together.");
const RETRIES: Key = key(
    "retries",
    Shape::Retries,
    "0",
    "Further attempts after a failed one, after 1 s, 2 s, 4 s and so on, at most 60 s: a number, or a table that sets these delays.",
);

/// Further attempts, as a table.
pub const RETRY: &[Key] = &[
    key("count", Shape::Int(0, MOST_RETRIES), "", "How many further attempts. Required."),
    key("delay", Shape::Duration, "1s", "How long the first of them waits; `0s`: not at all."),
    key(
        "factor",
        Shape::Number(1.0, 100.0),
        "2",
        "By what the delay grows from each to the next; `1`: not at all.",
    ),
    key("max_delay", Shape::Duration, "60s", "The longest delay."),
];

/// As many as anybody can mean.
pub const MOST_RETRIES: i64 = 100;

const CACHE: Key =
    key("cache", Shape::Bool, "true", "Whether a result may be taken from and put into the store.");

const POLICY: Key = key(
    "policy",
    Shape::Text,
    "default",
    "How well cells must be confined: `default` or `strict`. A file can only tighten; `--policy` has the last word.",
);
const ENFORCE: Key = key(
    "enforce",
    Shape::TextMap,
    "",
    "The least level of single mechanisms below which nothing is started: `{ memory = \"full\" }`.",
);

/// `allow` of a cell.
pub const ALLOW: &[Key] = &[
    key("net", Shape::Texts, "", "Hosts and ports it reaches: `[\"example.com:443\"]`."),
    key(
        "read",
        Shape::Texts,
        "",
        "Files and folders it reads. Relative to the flow's folder, and there under the same name in its working directory; others under their own path.",
    ),
    key("write", Shape::Texts, "", "The same for what it changes."),
    key(
        "env",
        Shape::Texts,
        "",
        "Variables of the environment of whoever runs it. Their values are part of the key.",
    ),
    key(
        "run",
        Shape::Texts,
        "",
        "Programs outside of the system's folders, by path or by their name on PATH.",
    ),
];

/// `[defaults]`.
pub const DEFAULTS: &[Key] = &[
    TIMEOUT,
    SOFT_TIMEOUT,
    GRACE,
    MEMORY,
    RETRY_MEMORY,
    CPUS,
    CPU_TIME,
    PIDS,
    OPEN_FILES,
    DISK,
    INODES,
    OUTPUT_LIMIT,
    ARTIFACTS,
    ARTIFACT_SIZE,
    RETRIES,
    CACHE,
    POLICY,
    ENFORCE,
];

/// `[limits]` of a manifest.
pub const LIMITS: &[Key] = &[
    TIMEOUT,
    SOFT_TIMEOUT,
    GRACE,
    MEMORY,
    RETRY_MEMORY,
    CPUS,
    CPU_TIME,
    PIDS,
    OPEN_FILES,
    DISK,
    INODES,
    OUTPUT_LIMIT,
    ARTIFACTS,
    ARTIFACT_SIZE,
];

/// `[cells.ID]`, in the order the formatter writes: `code` at the end, for it is long.
pub const CELL: &[Key] = &[
    key(
        "lang",
        Shape::Text,
        "by the extension of `file`",
        "The executor: an id or an alias, e.g. `python`.",
    ),
    key("file", Shape::Text, "", "The code's file, relative to the flow's folder."),
    key(
        "uses",
        Shape::Text,
        "",
        "A typed function as this cell, in place of `lang`, code and `outputs`: `EXECUTOR:LOCATION:OBJECT`, e.g. `python:./filters.py:blur`. Its parameters are the inputs, its results the outputs.",
    ),
    key(
        "untyped",
        Shape::Bool,
        "false",
        "Lets `uses` name a function without types, such as most that are installed: what has no type is what its default or docs say, else `any`.",
    ),
    key(
        "flow",
        Shape::Text,
        "",
        "Another flow as this cell, by its file: its params are the inputs, its `outputs` the outputs.",
    ),
    key("inputs", Shape::Inputs, "", "What the cell reads, by port."),
    key(
        "outputs",
        Shape::Outputs,
        "",
        "What the cell makes: the type by port, or a table. Each must be there after the run.",
    ),
    key(
        "params",
        Shape::Values,
        "",
        "Constants that the cell sees as inputs, by port: `{ n = 5 }`.",
    ),
    key("env", Shape::TextMap, "", "Environment variables beyond the fixed ones."),
    key(
        "secrets",
        Shape::Secrets,
        "",
        "Secrets by the variable that brings each to the cell: `{ TOKEN = \"env:API_TOKEN\" }`. Shown as `***` wherever the cell prints them.",
    ),
    key("argv", Shape::Texts, "", "Arguments of the program."),
    key(
        "stdin",
        Shape::Stdin,
        "nothing",
        "What it reads on stdin: a text, or `{ input = \"PORT\" }`.",
    ),
    TIMEOUT,
    SOFT_TIMEOUT,
    GRACE,
    MEMORY,
    RETRY_MEMORY,
    CPUS,
    CPU_TIME,
    PIDS,
    OPEN_FILES,
    DISK,
    INODES,
    OUTPUT_LIMIT,
    ARTIFACTS,
    ARTIFACT_SIZE,
    RETRIES,
    CACHE,
    POLICY,
    ENFORCE,
    key(
        "session",
        Shape::Text,
        "",
        "Cells that name the same session share an interpreter's state, in the order of the graph. They have one executor, which holds sessions, and the same `env`, `allow`, `secrets`, `policy` and `enforce`.",
    ),
    key("seed", Shape::Int(i64::MIN, i64::MAX), "", "The seed of its random streams."),
    key(
        "when",
        Shape::Text,
        "",
        "A condition over its inputs: `n > 10 and mode == 'full'`. Where it is false the cell and all that is made from it are left out.",
    ),
    key(
        "map",
        Shape::Inputs,
        "",
        "One step for each item, or for each combination of several: lists by the input that gets an item, each a constant, `param:NAME`, `CELL.PORT`, `file:PATH` (`.json`, `.csv`, `.tsv`, `.arrow`) or `glob:PATTERN`.",
    ),
    key(
        "allow",
        Shape::Table(ALLOW),
        "nothing",
        "What the cell asks for beyond its inputs. Who runs the flow grants it, never the flow.",
    ),
    key("tags", Shape::Texts, "", "Words to select cells by."),
    key("doc", Shape::Text, "", "One line about it."),
    key("code", Shape::Text, "", "The code itself. Exactly one of `code` and `file` is there."),
];

/// An input written as a table.
pub const INPUT: &[Key] = &[
    key(
        "from",
        Shape::TextOrTexts,
        "",
        "The source: `CELL.PORT`, `file:PATH` or `param:NAME`; or several outputs, `[\"CELL.PORT\", …]`, as a list of their values or a folder of their files.",
    ),
    key("value", Shape::Value, "", "A constant, in place of `from`."),
    key("type", Shape::Type, "the source's type", "The type the cell sees."),
];

/// An output written as a table.
pub const OUTPUT: &[Key] = &[
    key("type", Shape::Type, "", "Its type. Required."),
    key(
        "keep",
        Shape::Bool,
        "false",
        "No bound of the store removes it; `polyloom cache gc --kept` does.",
    ),
    key(
        "temp",
        Shape::Bool,
        "false",
        "Its bytes are removed once all cells that read it are through; it is made again only if one of them has to run.",
    ),
];

/// `stdin` written as a table.
pub const STDIN: &[Key] = &[key("input", Shape::Text, "", "The input whose content is read.")];

/// What others call our keys.
pub(crate) const SYNONYMS: &[(&str, &str)] = &[
    ("language", "lang"),
    ("executor", "lang"),
    ("script", "code"),
    ("source", "code"),
    ("run", "code"),
    ("cmd", "code"),
    ("src", "file"),
    ("path", "file"),
    ("args", "argv"),
    ("arguments", "argv"),
    ("mem", "memory"),
    ("ram", "memory"),
    ("description", "doc"),
    ("comment", "doc"),
    ("environment", "env"),
    ("needs", "inputs"),
    ("depends", "inputs"),
    ("depends_on", "inputs"),
    ("produces", "outputs"),
    ("protected", "keep"),
    ("temporary", "temp"),
    ("nodes", "cells"),
    ("steps", "cells"),
    ("tasks", "cells"),
    ("parameters", "params"),
    ("retry", "retries"),
    ("threads", "cpus"),
    ("variables", "params"),
    ("if", "when"),
    ("condition", "when"),
    ("foreach", "map"),
    ("for_each", "map"),
    ("matrix", "map"),
    ("subflow", "flow"),
    ("programs", "toolchain"),
    ("tools", "toolchain"),
];
