//! What `polyloom session …` says: a sentence and what did not come through for people, one document of one shape for programs.

use polyloom_protocol::messages::worker::Saved;
use polyloom_report::{Align, Table, duration, escape_line};
use polyloom_worker::daemon::{Client, SessionId, SessionStatus};
use serde_json::{Value as Json, json};

use super::all;
use crate::args::Format;
use crate::failure::{Exit, Outcome};
use crate::world::World;

/// What was done with a session.
pub struct Told {
    /// The command's own word.
    pub did: &'static str,
    /// The session that is another one now: that of the command's name, and for a fork the new one.
    pub id: SessionId,
    /// What it is now, after "session `NAME`".
    pub said: String,
    /// The snapshot that it is about.
    pub snapshot: Option<String>,
    /// The file that it is about.
    pub file: Option<std::path::PathBuf>,
    /// The session that a fork is of.
    pub of: Option<String>,
    /// What came through and what did not, and the word for the first.
    pub state: Option<(Saved, &'static str)>,
}

impl Told {
    /// About a session and nothing else.
    pub fn new(did: &'static str, id: SessionId, said: impl Into<String>) -> Self {
        let said = said.into();
        Self { did, id, said, snapshot: None, file: None, of: None, state: None }
    }

    /// Says it.
    pub fn show(self, world: &World, client: &Client, format: Format) -> Outcome {
        if format == Format::Text {
            let name = escape_line(&self.id.name);
            world.screen.note(&format!("session `{name}` {}\n", self.said));
            if let Some((saved, word)) = &self.state {
                table(world, saved, word);
            }
            return Ok(Exit::Ok);
        }
        let now = all(client)?.into_iter().find(|it| it.id == self.id);
        let saved = self.state.map(|(saved, _)| saved).unwrap_or_default();
        let unsaved = saved.unsaved.iter().map(|it| json!({ "name": it.name, "why": it.why }));
        let document = json!({
            "schema": "polyloom.session/1",
            "did": self.did,
            "name": self.id.name,
            "flow": self.id.flow,
            "snapshot": self.snapshot,
            "file": self.file,
            "of": self.of,
            "saved": saved.saved,
            "unsaved": unsaved.collect::<Vec<_>>(),
            "session": now.as_ref().map(row),
        });
        match format {
            Format::Text | Format::Json => world.screen.json(&document),
            Format::Jsonl => world.screen.json_line(&document),
        }
        Ok(Exit::Ok)
    }
}

/// Every name with what became of it. Claims of a worker: they are shown.
fn table(world: &World, saved: &Saved, word: &str) {
    let mut table = Table::new(&["name", "", "why not"].map(|head| (head, Align::Left)));
    for name in &saved.saved {
        table.row([name.as_str(), word, ""]);
    }
    for it in &saved.unsaved {
        table.row([it.name.as_str(), &format!("not {word}"), &it.why]);
    }
    if saved.saved.is_empty() && saved.unsaved.is_empty() {
        return world.screen.print("nothing is in it\n");
    }
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
}

/// `session list`; nothing where no daemon runs.
pub fn list(world: &World, all: Option<&[SessionStatus]>, format: Format) -> Outcome {
    let rows = || all.into_iter().flatten().map(row);
    match (format, all) {
        (Format::Json, _) => {
            let rows: Vec<Json> = rows().collect();
            world.screen.json(
                &json!({ "schema": "polyloom.sessions/1", "daemon": all.is_some(), "sessions": rows }),
            );
        }
        (Format::Jsonl, _) => rows().for_each(|row| world.screen.json_line(&row)),
        (Format::Text, None) => world.screen.print(
            "no daemon runs, so that sessions end with their run: `polyloom daemon start` starts one\n",
        ),
        (Format::Text, Some([])) => world.screen.print("no sessions\n"),
        (Format::Text, Some(all)) => {
            let heads =
                ["session", "flow", "executor", "cells", "snapshots", "process", "for", "now"];
            let mut table = Table::new(&heads.map(|head| (head, Align::Left)));
            all.iter().for_each(|one| table.row(cells(one)));
            world.screen.print(&table.render(world.screen.out, world.screen.columns));
        }
    }
    Ok(Exit::Ok)
}

fn cells(one: &SessionStatus) -> [String; 8] {
    let standing = one.standing.as_ref();
    let kept = standing.map(|it| {
        it.kept.iter().map(|(name, _)| escape_line(name).into_owned()).collect::<Vec<_>>()
    });
    let here = std::env::current_dir().ok();
    let near = here.and_then(|here| one.id.flow.strip_prefix(here).ok());
    let flow = near.unwrap_or(&one.id.flow).display().to_string();
    [
        escape_line(&one.id.name).into_owned(),
        escape_line(&flow).into_owned(),
        standing.map(|it| it.executor.clone()).unwrap_or_default(),
        standing.map(|it| it.cells.to_string()).unwrap_or_default(),
        kept.unwrap_or_default().join(" "),
        one.pid.to_string(),
        duration(one.since_ms as f64),
        if one.lent { "in use" } else { "stopped" }.to_owned(),
    ]
}

/// A session as documents have it.
fn row(one: &SessionStatus) -> Json {
    let standing = one.standing.as_ref();
    let kept = standing.map(|it| {
        it.kept
            .iter()
            .map(|(name, lineage)| json!({ "name": name, "key": lineage }))
            .collect::<Vec<_>>()
    });
    json!({
        "name": one.id.name, "flow": one.id.flow, "executor": standing.map(|it| &it.executor),
        "cells": standing.map_or(0, |it| it.cells), "key": standing.and_then(|it| it.lineage.as_ref()),
        "snapshots": kept.unwrap_or_default(), "process": one.pid, "since_ms": one.since_ms, "in_use": one.lent,
    })
}
