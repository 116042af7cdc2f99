//! What is asked of an executor: the table of cases, each with its level, what it needs and what is expected.

use std::fmt;

use polyloom_model::{Kind, Manifest};
use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Check};
use crate::{Snippets, cells, declares, talks};

/// An ability that is marked by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Cells run: code, values, files, arguments; a worker converses.
    Run,
    /// What a cell shows is seen, as it is and at once.
    Stream,
    /// What went wrong is told with its line.
    Diagnose,
    /// It can be stopped.
    Cancel,
    /// State stays between cells, and can be forgotten.
    Session,
    /// State can be kept under a name and restored.
    Snapshot,
    /// It tells what it offers, and functions can be called.
    Catalog,
}

impl Level {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Run,
        Self::Stream,
        Self::Diagnose,
        Self::Cancel,
        Self::Session,
        Self::Snapshot,
        Self::Catalog,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Stream => "stream",
            Self::Diagnose => "diagnose",
            Self::Cancel => "cancel",
            Self::Session => "session",
            Self::Snapshot => "snapshot",
            Self::Catalog => "catalog",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it is a part of.
    pub level: Level,
    /// The codes of `conformance.toml` that it needs.
    pub snippets: &'static [&'static str],
    /// The feature of the manifest without which it does not concern an executor.
    pub feature: Option<&'static str>,
    /// What is expected.
    pub expected: &'static str,
    pub(crate) ask: Ask,
}

/// How it is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    /// By cells, as a flow would have them.
    Cell(fn(&Bench<'_>) -> Check),
    /// With a worker: by a conversation, or by a cell that has it speak.
    Worker(fn(&Bench<'_>) -> Check),
    /// By a cell that gives its input of this kind as its output.
    Value(&'static str),
}

impl Case {
    /// Whether it is one for workers only.
    #[must_use]
    pub fn of_workers(&self) -> bool {
        match self.ask {
            Ask::Worker(_) => true,
            Ask::Cell(_) | Ask::Value(_) => false,
        }
    }

    /// The kind of values that it gives to a cell, for which there has to be an entry of `[[values]]`.
    #[must_use]
    pub fn values(&self) -> Option<&'static str> {
        match self.ask {
            Ask::Value(kind) => Some(kind),
            Ask::Cell(_) | Ask::Worker(_) => None,
        }
    }

    /// What it needs: codes of `conformance.toml`, and a feature of the manifest.
    #[must_use]
    pub fn needs(&self) -> Vec<String> {
        let codes = self.snippets.iter().map(|name| format!("`{name}`"));
        let values = self.values().map(|kind| format!("`[[values]]` for `{kind}`"));
        let feature = self.feature.map(|feature| format!("feature `{feature}`"));
        codes.chain(values).chain(feature).collect()
    }

    /// Whether it concerns an executor at all.
    #[must_use]
    pub fn concerns(&self, manifest: &Manifest) -> bool {
        let speaks = !self.of_workers() || matches!(manifest.kind, Kind::Worker(_));
        // A command says in its argv whether its cells have arguments.
        let takes = match manifest.kind {
            Kind::Command(_) => self.name != "arguments" || manifest.mentions("{args}"),
            Kind::Worker(_) => true,
        };
        // Most have nothing made once.
        let made = self.name != "once" || manifest.kind.once().is_some();
        // Who tells of functions has its own ones, and none of a module.
        let reads = self.name != "call" || !declares(manifest, "catalog");
        speaks
            && takes
            && made
            && reads
            && self.feature.is_none_or(|feature| declares(manifest, feature))
    }

    /// The name of a code that it needs and that is not there.
    #[must_use]
    pub fn lacks(&self, snippets: &Snippets) -> Option<String> {
        if let Some(kind) = self.values() {
            let there = snippets.value(kind).is_some();
            return (!there).then(|| format!("[[values]] for {kind}"));
        }
        let missing = self.snippets.iter().find(|name| snippets.code(name).is_none());
        missing.map(|name| (*name).to_owned())
    }

    /// Whether nothing else can go well where it fails.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.name, "greeting" | "done" | "hello")
    }
}

const fn cell(
    level: Level,
    name: &'static str,
    snippets: &'static [&'static str],
    ask: fn(&Bench<'_>) -> Check,
    expected: &'static str,
) -> Case {
    Case { name, level, snippets, feature: None, expected, ask: Ask::Cell(ask) }
}

const fn talk(
    level: Level,
    name: &'static str,
    snippets: &'static [&'static str],
    ask: fn(&Bench<'_>) -> Check,
    expected: &'static str,
) -> Case {
    Case { name, level, snippets, feature: None, expected, ask: Ask::Worker(ask) }
}

const fn value(name: &'static str, kind: &'static str) -> Case {
    let expected = "the input `x` comes back as the output `y`";
    Case { name, level: Level::Run, snippets: &[], feature: None, expected, ask: Ask::Value(kind) }
}

const fn with(feature: &'static str, case: Case) -> Case {
    Case { feature: Some(feature), ..case }
}

use Level::{Cancel, Catalog, Diagnose, Run, Session, Snapshot, Stream};

/// Every case, in the order in which they are tried: who fails `greeting`, `done` or `hello` is asked nothing else.
pub const CASES: &[Case] = &[
    talk(
        Run,
        "greeting",
        &[],
        talks::greeting,
        "a preamble and a Hello that names the manifest's id, a version in common, and no feature that the manifest does not declare; nothing printed",
    ),
    talk(
        Run,
        "done",
        &["hello"],
        talks::done,
        "one Started at most, exactly one Done, and then a Pong for a Ping",
    ),
    cell(
        Run,
        "hello",
        &["hello"],
        cells::hello,
        "prints `hello` and a line feed, nothing else, and ends well",
    ),
    cell(Run, "unicode", &["unicode"], cells::unicode, "prints `grüße, 世界 🌍` and a line feed"),
    cell(Run, "empty", &["empty"], cells::empty, "prints nothing and ends well"),
    cell(
        Run,
        "arguments",
        &["arguments"],
        cells::arguments,
        "prints its three arguments, each on a line of its own (where a command has `{args}`)",
    ),
    cell(Run, "stdin", &["stdin"], cells::stdin, "prints what comes on standard input"),
    cell(Run, "exit", &["exit"], cells::exit, "fails with exit code 7"),
    cell(
        Run,
        "output_missing",
        &["hello"],
        cells::output_missing,
        "a declared output that is not made fails the cell",
    ),
    cell(
        Run,
        "artifact",
        &["artifact"],
        cells::artifact,
        "the file `$OUT/y.txt` with `kept` is the output `y`",
    ),
    value("value.null", "null"),
    value("value.bool", "bool"),
    value("value.int", "int"),
    value("value.float", "float"),
    value("value.str", "str"),
    value("value.bytes", "bytes"),
    value("value.list", "list"),
    value("value.map", "map"),
    value("value.record", "record"),
    value("value.enum", "enum"),
    value("value.seed", "seed"),
    value("value.vec2", "vec2"),
    value("value.color", "color"),
    value("value.any", "any"),
    value("value.tensor", "tensor"),
    value("value.table", "table"),
    value("value.image", "image"),
    value("value.file", "file"),
    value("value.dir", "dir"),
    cell(
        Run,
        "once",
        &[],
        cells::once,
        "the `once` of `[worker]` or `[compile]`, where there is one, ends well and leaves something in `{out}`",
    ),
    talk(
        Run,
        "second_exec",
        &["hello"],
        talks::second_exec,
        "the same process runs a second cell, whatever its exec id",
    ),
    talk(
        Run,
        "unknown_key",
        &["hello"],
        talks::unknown_key,
        "a key that it does not know is ignored",
    ),
    talk(
        Run,
        "unknown_kind",
        &["hello"],
        talks::unknown_kind,
        "a message of a kind that it does not know is skipped",
    ),
    talk(
        Run,
        "split",
        &["hello"],
        talks::split,
        "messages that arrive byte by byte are understood",
    ),
    talk(
        Run,
        "together",
        &["hello"],
        talks::together,
        "messages that arrive in one piece are all understood",
    ),
    with(
        "prepare",
        talk(
            Run,
            "prepare",
            &["hello"],
            talks::prepare,
            "after Prepare, which has no answer, it runs that code",
        ),
    ),
    talk(
        Run,
        "late_credit",
        &["hello"],
        talks::late_credit,
        "Credit for a cell that is done is ignored",
    ),
    talk(
        Run,
        "shrunk",
        &["hello"],
        talks::shrunk,
        "without any feature agreed it runs cells and sends no message of one",
    ),
    talk(
        Run,
        "environment",
        &["environment"],
        cells::environment,
        "a cell finds no POLYLOOM_W: it prints an empty line",
    ),
    talk(
        Run,
        "child",
        &["child"],
        cells::child,
        "a program that a cell starts does not inherit the connection: `test -e /proc/self/fd/3 || echo closed` prints `closed`",
    ),
    talk(
        Run,
        "shutdown",
        &["hello"],
        talks::shutdown,
        "it ends with exit code 0 when it is told to",
    ),
    talk(
        Run,
        "end_of_file",
        &["hello"],
        talks::end_of_file,
        "it ends when the host closes the connection",
    ),
    talk(Run, "refused", &[], talks::refused, "it ends after HelloNo"),
    talk(
        Run,
        "bad_magic",
        &[],
        talks::bad_magic,
        "a stream that does not begin with `PLYW` is refused: it closes or ends",
    ),
    talk(
        Run,
        "huge_length",
        &[],
        talks::huge_length,
        "a message that claims 4 GiB is refused at its header: it closes or ends",
    ),
    talk(
        Run,
        "must_understand",
        &[],
        talks::must_understand,
        "an unknown kind that must be understood is refused: it closes or ends",
    ),
    cell(
        Stream,
        "stderr",
        &["stderr"],
        cells::stderr,
        "`out` on standard output and `err` on standard error, apart",
    ),
    cell(Stream, "large", &["large"], cells::large, "16,384 lines of 63 `x`, 1 MiB, come whole"),
    cell(
        Stream,
        "live",
        &["live"],
        cells::live,
        "`first` is seen at once and `second` a second later, not both at the end",
    ),
    cell(
        Stream,
        "print",
        &["print"],
        cells::print,
        "what a cell prints is output, also where it looks like the protocol: `PLYW Done`",
    ),
    talk(Stream, "log", &["log"], cells::log, "a Log whose text is `noted`"),
    talk(
        Stream,
        "credit",
        &["flood"],
        talks::credit,
        "1 MiB of logs without credit: it waits or drops them, never goes over by more than one message, and comes to its end with more credit",
    ),
    with("progress", talk(Stream, "progress", &["progress"], cells::progress, "a Progress of 0.5")),
    with(
        "display",
        talk(Stream, "display", &["display"], cells::display, "a Display with `shown` in its data"),
    ),
    talk(
        Stream,
        "extra",
        &["extra"],
        cells::extra,
        "the file of an Artifact named `notes-2.txt`, `noted`, is kept",
    ),
    cell(
        Diagnose,
        "raise",
        &["raise"],
        cells::raise,
        "fails, with an error for line 3; `boom` is in its message or on standard error, which is not empty",
    ),
    cell(
        Diagnose,
        "syntax",
        &["syntax"],
        cells::syntax,
        "code that can't be read fails, with an error that names a line",
    ),
    talk(
        Diagnose,
        "lives_on",
        &["hello", "raise"],
        talks::lives_on,
        "after a cell that failed the same process runs the next one",
    ),
    cell(
        Cancel,
        "stop",
        &["sleep"],
        cells::stop,
        "asked to end, a cell that sleeps is gone within its grace of 2 s",
    ),
    cell(Cancel, "stop_now", &["sleep"], cells::stop_now, "a cell that sleeps is ended at once"),
    cell(
        Cancel,
        "stop_loop",
        &["loop"],
        cells::stop_loop,
        "asked to end, a cell that prints without end is gone within its grace of 2 s",
    ),
    cell(
        Cancel,
        "timeout",
        &["sleep"],
        cells::timeout,
        "a cell whose time is over ends as timed_out",
    ),
    with(
        "cancel.soft",
        talk(
            Cancel,
            "soft_cancel",
            &["hello", "sleep"],
            talks::soft_cancel,
            "after Cancel a Done that is not ok within the grace; then it runs the next cell, or ends",
        ),
    ),
    with(
        "cancel.soft",
        talk(
            Cancel,
            "late_cancel",
            &["hello"],
            talks::late_cancel,
            "Cancel for a cell that is done is ignored",
        ),
    ),
    with(
        "cancel.soft",
        talk(
            Cancel,
            "stray_cancel",
            &["hello"],
            talks::stray_cancel,
            "Cancel for a cell that does not run is ignored",
        ),
    ),
    with(
        "session",
        talk(
            Session,
            "session",
            &["set", "get"],
            talks::session,
            "what one cell sets (`get` prints `42`) the next one has",
        ),
    ),
    with(
        "session",
        talk(Session, "reset", &["set", "get"], talks::reset, "after Reset it has it no more"),
    ),
    with(
        "snapshot",
        talk(
            Snapshot,
            "snapshot",
            &["set", "change", "get"],
            talks::snapshot,
            "after Restore `get` prints `42`, as when the Snapshot was taken",
        ),
    ),
    with(
        "kept",
        talk(
            Snapshot,
            "kept",
            &["set"],
            talks::answered,
            "a Kept for each Snapshot, Restore and Forget, which is not ok for a Restore of what was forgotten",
        ),
    ),
    with(
        "complete",
        talk(
            Session,
            "complete",
            &["set"],
            talks::complete,
            "Completions of a part of the code for a Complete",
        ),
    ),
    with(
        "durable",
        talk(
            Session,
            "durable",
            &["set", "get"],
            talks::durable,
            "after Save, Reset and Load of what Save wrote `get` prints `42`; what came through is named each time",
        ),
    ),
    with(
        "interactive",
        talk(
            Session,
            "interactive",
            &["shown"],
            talks::interactive,
            "the value 42 of a last expression is a Display in an Exec that is interactive, and in no other",
        ),
    ),
    with(
        "source",
        talk(
            Session,
            "source",
            &["hello"],
            talks::source,
            "code that comes with its Exec runs, though there is no file of it",
        ),
    ),
    with(
        "call",
        talk(
            Catalog,
            "call",
            &["double"],
            cells::call,
            "the function `double` of the module `double` (`n`, an int, times two) is called with 21 and gives 42; a text as `n` fails, and the diagnostic names `n`",
        ),
    ),
    with(
        "catalog",
        talk(
            Catalog,
            "catalog",
            &[],
            talks::catalog,
            "a Catalog for a Describe; with the feature `call`, of functions with ports",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
    }
}
