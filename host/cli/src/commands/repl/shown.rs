//! What somebody at the prompt sees of an input: what it prints and shows while it runs, and where it went wrong.

use std::io::Cursor;

use polyloom_protocol::Outcome;
use polyloom_protocol::meta::{Diagnostic, Severity};
use polyloom_report::{
    PreviewOptions, Style, Subject, escape, escape_line, excerpt, is_caller, preview, size,
};
use polyloom_worker::attempt::Live;
use tokio::sync::mpsc;

use super::room::{Ran, Room};
use crate::screen::Screen;

/// Errors of one input that are told.
const MOST: usize = 5;
/// The media type of a table.
const ARROW: &str = "application/vnd.apache.arrow.file";

/// Shows what goes on, to its end.
pub async fn live(screen: Screen, mut heard: mpsc::Receiver<Live>) {
    let mut has_text = false;
    while let Some(live) = heard.recv().await {
        match live {
            Live::Text { stderr: false, text } => screen.print(&escape(&text)),
            Live::Text { stderr: true, text } => screen.tell(&escape(&text)),
            Live::Log { level: _, text } => screen.tell(&format!("{}\n", escape(&text))),
            Live::Display { media, data } => {
                let text = look(&media, data);
                match text {
                    Some(text) => screen.print(&text),
                    // Another form of what was told as text.
                    None if has_text => {}
                    None => screen.note(&format!("({})\n", escape_line(&media))),
                }
                has_text |= media == "text/plain";
            }
            Live::Diagnostic(diagnostic) if diagnostic.severity == Severity::Warning => {
                let label = screen.err.text(Style::Warn, "warning:");
                screen.note(&format!("{label} {}\n", escape(&diagnostic.message)));
            }
            // Errors are told when it has ended.
            Live::Phase(_) | Live::Diagnostic(_) | Live::Progress { .. } | Live::Limit { .. } => {}
        }
    }
}

/// How something that is displayed looks; nothing where a terminal can't show it.
fn look(media: &str, data: Vec<u8>) -> Option<String> {
    if media == "text/plain" {
        return Some(format!("{}\n", escape(&String::from_utf8_lossy(&data))));
    }
    let r#type = match media {
        ARROW => "table",
        _ if media.starts_with("image/") => "image",
        _ => return None,
    };
    let bytes = data.len() as u64;
    let subject = Subject { r#type, media_type: Some(media), size: bytes, path: None };
    let shown = preview(&subject, &mut Cursor::new(data), PreviewOptions::default());
    shown.ok().or_else(|| Some(format!("{}, {}\n", escape_line(media), size(bytes))))
}

/// Tells how an input ended that did not end well.
pub fn end(screen: Screen, room: &Room, ran: &Ran) {
    let meta = &ran.report.meta;
    let label = screen.err.text(Style::Bad, "error:");
    if ran.interrupted && !ran.is_ok() {
        screen.tell("interrupted\n");
    } else if !ran.is_ok() && !ran.quits() {
        let errors = meta.diagnostics.iter().filter(|it| it.severity == Severity::Error);
        let mut told = false;
        let source = |file: &str, line, count| room.lines(file, line, count);
        let last = room.last();
        // The language's own way to say it ends with it.
        let is_told =
            |it: &Diagnostic| meta.stderr.text.trim_end().ends_with(it.message.trim_end());
        for error in errors.take(MOST) {
            if !std::mem::replace(&mut told, true) && is_told(error) {
                break;
            }
            let place = error.file.as_deref().filter(|file| *file != last);
            let place = place.filter(|file| file.starts_with("input "));
            let place = place.map(|file| format!(" (in {file})")).unwrap_or_default();
            screen.tell(&format!("{label} {}{place}\n", escape(&error.message)));
            screen.tell(&excerpt(source, error));
            if let Some(called) = meta.diagnostics.iter().find(|it| is_caller(it)) {
                screen.tell(&format!("{last}: {}\n", escape(&called.message)));
                screen.tell(&excerpt(source, called));
            }
        }
        let why = ran.report.explanation.as_deref().map(escape_line);
        let of_itself = matches!(meta.outcome, Outcome::Failed | Outcome::OutputMissing);
        match why {
            _ if told && of_itself => {}
            Some(why) => screen.tell(&format!("{label} {}: {why}\n", meta.outcome)),
            None if told => {}
            None => screen.tell(&format!("{label} {}\n", meta.outcome)),
        }
    }
    if ran.lost {
        screen.tell("note: the process ended, and its state with it; the next input begins anew\n");
    }
}
