//! Every key of `executor.toml`, but for those of limits, which a flow has, too.

use super::{Key, LIMITS, Shape, key};

/// The top level of `executor.toml`.
pub const MANIFEST: &[Key] = &[
    key("id", Shape::Text, "", "The executor's id: what `lang` names. Required."),
    key("version", Shape::Text, "", "The executor's version (not the language's). Required."),
    key("title", Shape::Text, "the id", "The name for people."),
    key(
        "kind",
        Shape::Text,
        "",
        "`command`: programs that the host starts; `worker`: a process that speaks the protocol; `native`: a shared library; `wasm`: a WebAssembly component. Required.",
    ),
    key("aliases", Shape::Texts, "", "Other names in `lang`."),
    key(
        "extensions",
        Shape::Texts,
        "",
        "File extensions without the dot; the first is that of inline code.",
    ),
    key(
        "toolchain",
        Shape::Named(TOOL),
        "",
        "Programs to find; `{NAME}` in an argv is the one found.",
    ),
    key(
        "compile",
        Shape::Table(COMPILE),
        "",
        "Turns `{code}` into `{program}`, in a sandbox of its own; cached by content. Only with kind `command`.",
    ),
    key("run", Shape::Table(COMMAND), "", "Runs the cell. Needed by kind `command`."),
    key("worker", Shape::Table(WORKER), "", "Starts the worker. Needed by kind `worker`."),
    key(
        "zygote",
        Shape::Table(ZYGOTE),
        "",
        "That its program can be a zygote: started once, it makes each cell by forking itself. Only with the kinds `worker` and `command`.",
    ),
    key(
        "instances",
        Shape::Table(INSTANCES),
        "",
        "A worker that does what `[run]` does, for one cell after the other, each from nothing. Only with the kind `command`.",
    ),
    key("native", Shape::Table(NATIVE), "", "The library. Needed by kind `native`."),
    key("wasm", Shape::Table(WASM), "", "The component. Needed by kind `wasm`."),
    key("limits", Shape::Table(LIMITS), "", "Limits that differ from the general defaults."),
    key("env", Shape::TextMap, "", "Fixed environment of its cells."),
    key(
        "sandbox",
        Shape::Table(SANDBOX),
        "",
        "What its programs are left with. It can only take away: no manifest widens its sandbox.",
    ),
    key(
        "normalise",
        Shape::Table(NORMALISE),
        "",
        "Gives code a normal form, so that comments and layout do not make cells run again.",
    ),
    key(
        "catalog",
        Shape::Table(CATALOG),
        "",
        "Reads what typed functions there are, so that cells can be calls of them: `uses`.",
    ),
    key("diagnostics", Shape::Table(DIAGNOSTICS), "", "How the tool's messages are read."),
    key("meta", Shape::Free, "", "Free: nobody reads it."),
];

/// `[toolchain.NAME]`.
pub const TOOL: &[Key] = &[
    key(
        "any",
        Shape::Texts,
        "",
        "Candidate programs, names or absolute paths; the first one found is taken. Required.",
    ),
    key(
        "env",
        Shape::Text,
        "",
        "An environment variable that names a prefix whose `bin` is searched before PATH.",
    ),
    key(
        "version",
        Shape::Texts,
        "[\"--version\"]",
        "Arguments that make it print its identity, a part of every key.",
    ),
    key("flags", Shape::TextsMap, "", "Arguments that differ by candidate: `{NAME.flags}`."),
    key("install", Shape::Text, "", "How to get it, shown when it is missing."),
];

/// `[compile]`.
pub const COMPILE: &[Key] = &[
    key("argv", Shape::Texts, "", "Program and arguments; no shell reads them. Required."),
    key(
        "head",
        Shape::Table(HEAD),
        "",
        "Lines that codes begin with, compiled once for all codes that begin so.",
    ),
    key(
        "once",
        Shape::Texts,
        "",
        "What is run once for a toolchain, in a sandbox without any cell's code: what it leaves in `{out}` is in view of the compilers and programs that \
         start from then on, read-only, as `/polyloom/once` (beside `{sdk}`). An archive of a compiler's classes is an example; what comes out can't depend on whether it is there.",
    ),
];

/// `[compile.head]`.
pub const HEAD: &[Key] = &[
    key(
        "line",
        Shape::Text,
        "",
        "A pattern for a line that belongs to the head, with the group `name`. The head ends before the first line that is neither this nor `skip`. Required.",
    ),
    key(
        "skip",
        Shape::Text,
        "blank lines",
        "A pattern for lines that may stand among them and mean nothing.",
    ),
    key(
        "names",
        Shape::Texts,
        "",
        "What the group `name` may be: only what means the same when it is there twice. Required.",
    ),
    key(
        "text",
        Shape::Text,
        "",
        "What stands in the head for a line; `{name}` is the group. Required.",
    ),
    key(
        "with",
        Shape::Texts,
        "every program",
        "Programs of the toolchain: there is a head only where one of them was found.",
    ),
    key(
        "argv",
        Shape::Texts,
        "",
        "Compiles the text `{head}` into files in `{out}`, in a sandbox of its own; they lie beside `{head}` later. What `{out}/depends` names, as rules of make, is looked at before each use: a head is not used when one of these files has changed. Required.",
    ),
    key(
        "flags",
        Shape::Texts,
        "",
        "What `{head.flags}` in the argv of `[compile]` stands for where there is a compiled head; nothing where there is none. Required.",
    ),
];

/// `[run]`.
pub const COMMAND: &[Key] = &[
    key("argv", Shape::Texts, "", "Program and arguments; no shell reads them. Required."),
    key(
        "ahead",
        Shape::Texts,
        "",
        "What does the same as `argv` and may be started before there is a cell for it, where that starts slowly: it says that it is ready, \
         and reads its cell from its standard input (executors/README.md, \"Ahead of a command\").",
    ),
];

/// `[sandbox]`.
pub const SANDBOX: &[Key] = &[key(
    "seccomp",
    Shape::Text,
    "default",
    "`default`: the system calls of ordinary programs; `runner`: only those of polyloom's own WebAssembly runner.",
)];

/// `[worker]`.
pub const WORKER: &[Key] = &[
    key("argv", Shape::Texts, "", "Program and arguments; no shell reads them. Required."),
    key("protocol", Shape::Ints, "[1]", "Majors of the protocol it speaks."),
    key("features", Shape::Texts, "", "Features it may use, e.g. `cancel.soft`."),
    key(
        "ahead",
        Shape::Bool,
        "false",
        "Whether it may be started before there is a cell for it, to wait for its `Exec`. It sets `POLYLOOM_CELL` and `POLYLOOM_SEED` itself, then.",
    ),
    key(
        "once",
        Shape::Texts,
        "",
        "What is run once for a toolchain, in a sandbox without any cell's code: what it leaves in `{out}` is in view of the workers that \
         start from then on, read-only, as `/polyloom/once` (beside `{sdk}`). Bytecode is an example; what comes out of a cell can't depend on whether it is there.",
    ),
];

/// `[zygote]`.
pub const ZYGOTE: &[Key] = &[
    key(
        "preload",
        Shape::Text,
        "",
        "A pattern for the first lines of a cell; the groups of a line that matches, joined by dots, name a library to be loaded before the fork. \
         What comes after the first line that does not match is not looked at.",
    ),
    key(
        "learn",
        Shape::Text,
        "",
        "A pattern for names of libraries: those of them that a worker said a cell has loaded (`extras.loaded`) may be loaded before the fork of its next attempt.",
    ),
];

/// `[instances]`.
pub const INSTANCES: &[Key] = &[key(
    "argv",
    Shape::Texts,
    "",
    "The argv that starts it; the placeholders of `[worker]`. It speaks the protocol with the feature `instances`. Required.",
)];

/// `[native]`.
pub const NATIVE: &[Key] = &[
    key(
        "library",
        Shape::Text,
        "",
        "A shared library that exports `polyloom_plugin_v1` (`polyloom_plugin.h`), by its path below the manifest's folder. Required.",
    ),
    key("features", Shape::Texts, "", "Features it may use, e.g. `cancel.soft`."),
];

/// `[wasm]`.
pub const WASM: &[Key] = &[key(
    "component",
    Shape::Text,
    "",
    "A component of `wasi:cli/command`, or a module for WASI preview 1, by its path below the manifest's folder. It gets the path of the cell's code and the cell's arguments. Required.",
)];

/// `[normalise]`.
pub const NORMALISE: &[Key] = &[key(
    "argv",
    Shape::Texts,
    "",
    "Program and arguments; a folder of codes is added as the last one. Prints `NAME DIGEST` for each file, with 64 hex digits of any digest, or `-`: its bytes count. Required.",
)];

/// `[catalog]`.
pub const CATALOG: &[Key] = &[
    key(
        "argv",
        Shape::Texts,
        "",
        "Program and arguments. It is asked by one line of JSON on its standard input, has the flow's folder in view read-only, and prints a catalog as JSON. Required.",
    ),
    key(
        "extensions",
        Shape::Texts,
        "those of its code",
        "Extensions of the files that it reads functions from, without the dot.",
    ),
];

/// `[diagnostics]`.
pub const DIAGNOSTICS: &[Key] = &[
    key("format", Shape::Text, "", "`gcc-json` or `regex`. Required."),
    key("stream", Shape::Text, "stderr", "`stderr` or `stdout`."),
    key(
        "regex",
        Shape::Text,
        "",
        "With format `regex`: a pattern with the named groups `message` and any of `file` `line` `col` `severity` `code`; `line2` is the line where it stands in another place.",
    ),
];
