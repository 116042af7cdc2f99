//! What a watch says between its runs: how the flow stands, and what is waited for.

use std::path::Path;
use std::sync::Arc;

use polyloom_events::{Event, Waits};
use polyloom_model::CellId;
use polyloom_protocol::meta::Diagnostic;
use polyloom_schedule::RunOutcome;

use super::Session;
use crate::commands::run::brake::Feeder;
use crate::commands::run::files::Change;
use crate::failure::{Exit, Failure};

/// Of cells that failed, so many are named.
const NAMES: usize = 10;

impl Session<'_> {
    /// There is no plan of the flow as it is now.
    pub(super) fn spoilt(&mut self, failure: Failure, diagnostics: Vec<Diagnostic>) {
        self.broken = true;
        let shown = failure.render(self.world.screen.err);
        let text = [failure.messages.join(": ")].into_iter().chain(failure.hint);
        let text = text.collect::<Vec<_>>().join("; ");
        if !self.is_news(&text, &diagnostics) {
            return;
        }
        self.world.screen.tell(&shown);
        self.say(Event::FlowBroken { text, diagnostics });
        self.rest(Waits::Broken, "");
    }

    /// Whether that is in the way of a run was not told last. It is from now on.
    pub(super) fn is_news(&mut self, text: &str, diagnostics: &[Diagnostic]) -> bool {
        let now = Some((text.to_owned(), diagnostics.to_vec()));
        let news = self.told != now;
        self.told = now;
        news
    }

    /// After a mistake, the flow is what it was before.
    pub(super) fn mended(&mut self) {
        let state = match self.last {
            _ if self.going.is_some() => "its run goes on",
            Some(RunOutcome::Ok) | None => "nothing to run",
            Some(RunOutcome::Failed) => "its last run failed",
            Some(RunOutcome::TimedOut) => "its last run took too long",
            Some(RunOutcome::Interrupted | RunOutcome::Superseded) => "its last run was ended",
        };
        self.rest(self.stands(), &format!("the flow is good again and as it was: {state}"));
    }

    /// How the flow stands by its last run.
    pub(super) fn stands(&self) -> Waits {
        match self.last {
            _ if self.broken => Waits::Broken,
            Some(RunOutcome::Ok) | None => Waits::Ok,
            Some(_) => Waits::Failed,
        }
    }

    /// Says something that is of no run.
    fn say(&mut self, event: Event) {
        let at_ms = self.since.elapsed().as_secs_f64() * 1e3;
        self.streams.say(at_ms, event);
    }

    /// Nothing comes after this.
    pub(super) fn over(&mut self, exit: Exit) {
        self.say(Event::WatchEnded { exit: exit as u8 });
    }

    /// Nothing is to be done until something changes.
    pub(super) fn rest(&mut self, state: Waits, text: &str) {
        if !text.is_empty() {
            self.world.screen.note(&format!("{text}\n"));
        }
        if self.going.is_some() {
            return;
        }
        let count = self.files.count();
        let noun = if count == 1 { "file" } else { "files" };
        let what = match state {
            Waits::Broken => "nothing can run before an edit mends this; ",
            Waits::Ok | Waits::Failed | Waits::Held => "",
        };
        let line = format!("{what}watching {count} {noun} for changes; Ctrl-C ends\n");
        self.world.screen.note(&line);
        self.say(Event::WatchWaiting { state, text: text.to_owned(), files: count as u64 });
        let workplace = Arc::clone(&self.place.workplace);
        self.runtime.spawn(async move { workplace.park().await });
    }

    /// What failed before and was all there was to do.
    pub(super) fn not_tried(&self) -> String {
        let failed: Vec<_> = self.failed.iter().take(NAMES).map(CellId::as_str).collect();
        if failed.is_empty() {
            return String::new();
        }
        format!(
            "not tried again: {}; a file of the flow saved as it is lets it be tried",
            failed.join(", ")
        )
    }

    /// A watched file as its flow would name it.
    pub(super) fn shown(&self, path: &Path) -> String {
        let root = self.here.join(self.path.parent().unwrap_or(Path::new(".")));
        let root = root.canonicalize().unwrap_or(root);
        match path.strip_prefix(&root) {
            Ok(inside) if inside != Path::new("") => inside.display().to_string(),
            Ok(_) | Err(_) => path.display().to_string(),
        }
    }

    /// Why a change begins no run, though the plan is another by it.
    pub(super) fn held(&mut self, change: &Change) -> Option<String> {
        let Feeder { cell, file } = self.brake.held(change)?;
        let file = self.shown(file);
        let file = polyloom_report::escape_line(&file);
        Some(match cell {
            Some(cell) => format!(
                "held: cell `{cell}` writes {file}, and what it writes makes the flow run again and again; it runs again after a change by somebody else"
            ),
            None => format!(
                "held: {file} changes whenever the flow runs, and the flow reads it; it runs again after a change of something else"
            ),
        })
    }
}
