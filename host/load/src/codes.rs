//! The catalogue of problem codes: one row each. `CODES.md` is this table, and a test holds them together.

use std::fmt;

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $doc:literal;)*) => {
        /// The kind of a problem. The text form (`PL003`) never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $doc] $name,)*
        }

        impl Code {
            /// Every code, in the catalogue's order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable text, e.g. `PL003`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// A few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What it means and what to do.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Code::$name => $doc,)* }
            }
        }
    };
}

codes! {
    Syntax = "PL001", "syntax", "The text is not TOML, JSON or Markdown with cells. The picture shows the place where reading stopped.";
    Unreadable = "PL002", "unreadable file", "The file can't be opened, is too large, or is not UTF-8.";
    UnknownKey = "PL003", "unknown key", "A key that nobody reads; most often a spelling mistake. The help names the nearest key that exists.";
    MissingKey = "PL004", "missing key", "Something needed is not there, such as a cell's `lang` or its code.";
    WrongKind = "PL005", "wrong kind of value", "The key exists but takes another kind of value, e.g. a list of texts and not one text.";
    Duplicate = "PL006", "duplicate name", "Two things of one kind have the same name.";
    BadName = "PL007", "bad name", "A name that does not work on every platform and in every language. The message gives the valid pattern.";
    Empty = "PL008", "empty flow", "The flow has no cell.";
    Requires = "PL009", "needs another version", "The flow's `requires` asks for a newer polyloom, or can't be read.";
    Unsupported = "PL010", "not supported by this version", "A key that can't stand there in this version: `session` in a cell that is mapped, has `stdin`, or whose language holds no sessions.";
    Nul = "PL011", "NUL in a text", "Texts can't hold the character U+0000: no argument, path or environment variable can.";
    NoFlow = "PL012", "no flow file", "A folder was named that holds no flow file, or several of them.";
    BadSession = "PL013", "cells of a session differ", "Cells of one session share one process: they need the same language, `env`, `allow`, `secrets`, `policy` and `enforce`.";
    UnknownLanguage = "PL020", "unknown language", "No executor of that name is installed. `polyloom plugin list` shows those that are.";
    AmbiguousLanguage = "PL021", "ambiguous language", "The file's extension belongs to several executors: say `lang`.";
    UnknownTool = "PL022", "unknown tool", "`[executors.ID]` names a program that the executor's manifest does not ask for.";
    MissingFile = "PL030", "missing file", "A file that the flow names does not exist below the flow's folder.";
    Outside = "PL031", "file outside the flow", "A path is absolute, climbs with `..`, or leads through a link to somewhere outside of the flow's folder.";
    NotAFile = "PL032", "not a usable file", "The path is a device, a socket, a directory where a file is needed, too large, or can't be read.";
    NoMatch = "PL033", "pattern matches nothing", "A pattern of files matches no file, so that its cell has no steps, or it leaves out links that lead out of the flow's folder or to nothing. A warning.";
    UnknownCell = "PL040", "unknown cell", "An input names a cell that the flow does not have.";
    UnknownPort = "PL041", "unknown port", "An input names a port that its cell does not have.";
    DoublyBound = "PL042", "name bound twice", "One name stands for two things in a cell: an input and a constant, an input and an output, a port and a variable of `env` or `secrets`.";
    SelfLoop = "PL043", "cell feeds itself", "A cell's input is one of its own outputs.";
    Cycle = "PL044", "cycle", "Cells wait for each other in a circle, so that none of them can be first. The message shows the way round.";
    TypeMismatch = "PL045", "types don't fit", "The source's type can't be wired to the input's type.";
    BadInput = "PL046", "not an input", "An input is not one of the forms `CELL.PORT`, `file:PATH`, `param:NAME` or a constant.";
    UnknownParam = "PL047", "unknown param", "A param is named that the flow does not declare.";
    BadSecret = "PL048", "not the handle of a secret", "A secret is not one of the forms `env:NAME`, `file:PATH`, `cmd:PROGRAM ARGS`. The secret itself never stands in a flow file.";
    BadMap = "PL049", "not a list to map over", "An axis of `map` is not a list: neither a constant list, nor a param, an output or a file with one, nor a pattern of files.";
    BadType = "PL050", "bad type", "A text that is not a type, a type that is too long, or one that can't be used there.";
    BadValue = "PL051", "value does not fit", "A value is not of the declared type.";
    BadLimit = "PL052", "bad duration, size or number", "A limit can't be read or is out of range.";
    RefusedName = "PL053", "name would shadow the system's", "An environment variable or port whose name steers the loader, the shell or an interpreter.";
    NoValue = "PL054", "param without a value", "A param has no default and none was given, by the run or by the cell that the flow is. A warning when checking, an error when running.";
    BadCondition = "PL055", "bad condition", "A `when` that can't be read, or asks for what is no input of its cell or no value.";
    BadFlow = "PL056", "flow can't be a cell", "The file of `flow` is no flow, has problems of its own, or contains itself.";
    BadUse = "PL057", "no typed function", "A `uses` that is not `EXECUTOR:LOCATION:OBJECT`, names nothing that is a typed function, or stands beside keys that have no place there.";
    BadCatalog = "PL058", "typed functions can't be read", "The program that reads typed functions could not be asked, or its answer can't be understood.";
    Typed = "PL059", "problem of a typed function", "What the reader of a language's typed functions says of them; shown with the reader's own code, e.g. `PY001`.";
    Placeholder = "PL060", "bad placeholder", "An argument of a manifest holds a `{…}` that does not exist or can't stand there.";
    Claimed = "PL061", "name claimed twice", "Two executors claim one id or alias; neither gets it.";
    BadPattern = "PL062", "bad pattern", "A regular expression of a manifest can't be read, is too large or lacks its groups.";
    NotRunnable = "PL063", "manifest can't run", "The manifest's kind and its tables don't fit together.";
    Impure = "PL065", "not pure", "`check --purity`: a cell whose function has the tag `pure` gave something else when it ran again, or could not be run.";
    Legacy = "PL064", "executor of before", "An executor is a function `_exec(code, g)`: it runs, with a manifest that was made for it. Written with `polyloom_sdk` it has progress, line numbers and values. A warning.";
    TooMany = "PL066", "too many problems", "Of one file ten thousand problems are listed, and the others counted. A warning, if all of these are.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text of `CODES.md`.
#[must_use]
pub fn catalogue() -> String {
    let mut text = String::from(
        "# Problem codes\n\nGenerated from `src/codes.rs`; a test compares. A code keeps its meaning for ever.\n\n\
         | code | title | meaning |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        text.push_str(&format!(
            "| {code} | {} | {} |\n",
            code.title(),
            code.doc().replace('|', "\\|")
        ));
    }
    text
}
