//! The part of the screen that is drawn again and again: what runs just now, and how far the run is.

use std::fmt::Write;

use polyloom_events::Phase;
use polyloom_protocol::meta::Outcome;

use super::{Running, Screen};
use crate::escape::escape_line;
use crate::paint::{Style, fit, pad, width};
use crate::units;

/// Running cells drawn at most.
const ROWS: usize = 8;
/// Not drawn more often than this: a log flood would spend its time on drawing.
const EVERY_MS: f64 = 66.0;
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Whether a drawing can wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// No.
    Now,
    /// Until the last one is old enough.
    Due,
}

/// The lines now on the screen that will be drawn over.
#[derive(Default)]
pub(super) struct Live {
    drawn: usize,
    last_ms: Option<f64>,
    ended: bool,
}

impl Live {
    /// The run is over: nothing is drawn any more but what stays.
    pub(super) fn ended(self) -> Self {
        Self { ended: true, ..self }
    }

    pub(super) fn is_due(&mut self, at_ms: f64, when: When) -> bool {
        let due = self.ended
            || when == When::Now
            || self.last_ms.is_none_or(|last| at_ms - last >= EVERY_MS || at_ms < last);
        if due {
            self.last_ms = Some(at_ms);
        }
        due
    }

    /// What removes the lines drawn last.
    pub(super) fn erase(&mut self) -> String {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn == 0 { String::new() } else { format!("\u{1b}[{drawn}A\r\u{1b}[J") }
    }

    /// The lines to be drawn now. None is wider than the screen: one that wrapped could not be removed again.
    pub(super) fn picture(&mut self, screen: &Screen, at_ms: f64) -> String {
        if self.ended {
            return String::new();
        }
        let mut running: Vec<_> = screen
            .running
            .iter()
            .filter_map(|id| {
                let cell = screen.cells.get(id)?;
                Some((id, cell, cell.running.as_ref()?))
            })
            .collect();
        running.sort_by(|a, b| a.2.since_ms.total_cmp(&b.2.since_ms).then(a.0.cmp(b.0)));
        let columns = screen.options.width.max(20) - 1;
        let mut out = String::new();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a frame's number"
        )]
        let spinner = SPINNER[(at_ms.max(0.0) / 100.0) as usize % SPINNER.len()];
        for (id, cell, state) in running.iter().take(ROWS) {
            let room = columns.saturating_sub(2);
            let name = fit(&screen.name(id), room);
            let lang = pad(&fit(&escape_line(&cell.lang), 12), screen.lang_width);
            let time = units::duration(at_ms - state.since_ms);
            let rest = format!("  {lang}  {time:>6}{}", words(state));
            let rest = fit(&rest, room.saturating_sub(width(&name)));
            let spinner = screen.paint.text(Style::Warn, spinner);
            let _ = writeln!(out, "{spinner} {}{rest}", screen.paint.cell(id, &name));
        }
        if running.len() > ROWS {
            let _ = writeln!(out, "  … {} more", running.len() - ROWS);
        }
        let status = fit(&status(screen, running.len(), at_ms), columns);
        let _ = writeln!(out, "{}", screen.paint.text(Style::Dim, &status));
        self.drawn = out.matches('\n').count();
        out
    }
}

fn words(running: &Running) -> String {
    let mut text = String::new();
    if running.phase == Phase::Compile {
        text.push_str("  compiling");
    }
    if running.attempt > 1 {
        let _ = write!(text, "  attempt {}", running.attempt);
    }
    if let Some(fraction) = running.fraction {
        let _ = write!(text, "  {:.0}%", fraction * 100.0);
    }
    if !running.words.is_empty() {
        let _ = write!(text, "  {}", running.words);
    }
    text
}

fn status(screen: &Screen, running: usize, at_ms: f64) -> String {
    let ended = &screen.run.ended;
    let done: u64 = ended.values().sum();
    let mut text = format!("{done}/{} done", screen.run.cells);
    let _ = write!(text, " · {running} running");
    let cached = ended.get(&Outcome::Cached).copied().unwrap_or(0);
    if cached > 0 {
        let _ = write!(text, " · {cached} cached");
    }
    let failed = screen.failures.len() + screen.more_failures.len();
    if failed > 0 {
        let _ = write!(text, " · {failed} failed");
    }
    let _ = write!(text, " · {}", units::duration(at_ms));
    text
}
