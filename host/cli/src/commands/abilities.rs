//! What sessions of an executor can do, and how its cells start: as its manifest says, which no worker can widen.

use polyloom_model::{Kind, Manifest};
use polyloom_protocol::handshake::feature;
use polyloom_report::{Align, Style, Table};
use serde::Serialize;

use crate::world::World;

/// What can be had of one executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// Cells of one `session` share its state.
    share: bool,
    /// `repl`: what is typed.
    prompt: Prompt,
    /// It completes what is typed, and knows whether an input is open.
    complete: bool,
    /// `session reset`.
    reset: bool,
    /// `session snapshot`, and those of `run --watch` and the daemon.
    snapshot: bool,
    /// `session restore`.
    restore: bool,
    /// `session save`, `load` and `fork`.
    save: bool,
    /// How its cells may start, other than each by a process of its own from the start.
    starts: Vec<Starts>,
}

/// What becomes of what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Prompt {
    /// It stays, and values of last expressions are shown.
    Values,
    /// It stays.
    Stays,
    /// Each input is a cell of its own.
    Alone,
    /// There is no prompt: its cells are compiled.
    None,
}

/// How cells start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Starts {
    /// Each is a fork of a process that waits.
    Zygote,
    /// One process runs one after the other, each from nothing.
    Instances,
    /// A worker waits for each.
    Ahead,
}

impl Starts {
    fn word(self) -> &'static str {
        match self {
            Self::Zygote => "zygote",
            Self::Instances => "instances",
            Self::Ahead => "ahead",
        }
    }
}

impl Abilities {
    /// Those of an executor.
    pub fn of(manifest: &Manifest) -> Self {
        let features = match &manifest.kind {
            Kind::Command(_) => &[][..],
            Kind::Worker(worker) => &worker.features,
        };
        let share = manifest.holds_sessions();
        let has = |feature: &str| share && features.iter().any(|it| it == feature);
        // What nobody learns of is not relied on.
        let keeps = has(feature::SNAPSHOT) && has(feature::KEPT);
        let prompt = match &manifest.kind {
            _ if has(feature::INTERACTIVE) => Prompt::Values,
            _ if share => Prompt::Stays,
            Kind::Command(command) if command.compile.is_some() => Prompt::None,
            Kind::Command(_) | Kind::Worker(_) => Prompt::Alone,
        };
        let starts = [
            (manifest.kind.zygote().is_some(), Starts::Zygote),
            (manifest.kind.instances().is_some(), Starts::Instances),
            (manifest.kind.ahead().is_some(), Starts::Ahead),
        ];
        let starts = starts.into_iter().filter_map(|(so, it)| so.then_some(it)).collect();
        Self {
            share,
            prompt,
            complete: has(feature::COMPLETE),
            reset: share,
            snapshot: keeps,
            restore: keeps,
            save: has(feature::DURABLE),
            starts,
        }
    }

    /// What sessions can, in the words of the commands.
    fn words(&self) -> [(&'static str, bool); 6] {
        [
            ("share", self.share),
            ("complete", self.complete),
            ("reset", self.reset),
            ("snapshot", self.snapshot),
            ("restore", self.restore),
            ("save", self.save),
        ]
    }

    /// The same on a line.
    pub fn session(&self) -> String {
        let can = self.words().into_iter().filter_map(|(word, can)| can.then_some(word));
        match can.collect::<Vec<_>>()[..] {
            [] => "none: each cell starts from nothing".to_owned(),
            ref words => words.join(", "),
        }
    }

    /// Whether there is a prompt, on a line.
    pub fn prompt(&self) -> &'static str {
        match self.prompt {
            Prompt::Values => "what is typed stays, and values are shown",
            Prompt::Stays => "what is typed stays",
            Prompt::Alone => "each input is a cell of its own",
            Prompt::None => "none: its cells are compiled",
        }
    }

    /// How its cells start, on a line.
    pub fn starts(&self) -> String {
        let told = self.starts.iter().map(|it| match it {
            Starts::Zygote => "zygote (a cell is a fork of a process that waits)",
            Starts::Instances => {
                "instances (a process runs one cell after the other, each from nothing)"
            }
            Starts::Ahead => "ahead (a worker waits for a cell)",
        });
        match told.collect::<Vec<_>>()[..] {
            [] => "each cell has a process of its own from the start".to_owned(),
            ref told => told.join(", "),
        }
    }
}

/// Those of many as a table.
pub fn to_text<'a>(world: &World, all: impl Iterator<Item = (&'a str, &'a Abilities)>) -> String {
    let heads =
        ["lang", "share", "prompt", "complete", "reset", "snapshot", "restore", "save", "starts"];
    let mut table = Table::new(&heads.map(|head| (head, Align::Left)));
    let can = |can| if can { (Style::Good, "yes") } else { (Style::Dim, "-") };
    for (lang, it) in all {
        let prompt = match it.prompt {
            Prompt::Values => (Style::Good, "values"),
            Prompt::Stays => (Style::Good, "stays"),
            Prompt::Alone => (Style::Plain, "alone"),
            Prompt::None => (Style::Dim, "-"),
        };
        let starts = it.starts.iter().map(|it| it.word()).collect::<Vec<_>>().join(", ");
        let row = [
            (Style::Strong, lang),
            can(it.share),
            prompt,
            can(it.complete),
            can(it.reset),
            can(it.snapshot),
            can(it.restore),
            can(it.save),
            (Style::Plain, starts.as_str()),
        ];
        table.styled(row.map(|(style, text)| (style, text.to_owned())));
    }
    table.render(world.screen.out, world.screen.columns)
}
