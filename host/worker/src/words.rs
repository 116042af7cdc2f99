//! What a plain program says beside what it prints: lines on the descriptor that `POLYLOOM_SAY` names (executors/README.md).
//!
//! From bytes to things to show; all of it is claims. Knows no pipe. Secrets are hidden here, before anything is cut.

use std::sync::Arc;

use polyloom_model::Value;
use polyloom_protocol::Diagnostic;
use polyloom_protocol::messages::worker::{LogLevel, MAX_DISPLAY_DATA};
use polyloom_protocol::meta::Severity;

use crate::attempt::Live;
use crate::mask::Mask;

/// Longest line: what may be displayed, as base64, with its media type.
const LONGEST: usize = 72 << 10;
/// More results beyond the declared ones are left where they are.
const MOST_ARTIFACTS: usize = 64;

/// So many lines that say nothing are told, each by itself.
const TOLD: u64 = 3;

const VALID: &str = "log LEVEL TEXT, progress FRACTION TEXT, display MEDIA TEXT, display MEDIA;base64 DATA, artifact NAME PATH";

/// The lines of one cell.
#[derive(Default)]
pub struct Words {
    mask: Option<Arc<Mask>>,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// The line that is being read is too long: it counts as read.
    skips: bool,
    /// Its number, from 1.
    number: u64,
    /// Lines that said nothing; the first few are told.
    odd: u64,
    /// Bytes that came: they count as output.
    pub metered: u64,
    /// Results beyond the declared outputs: name and path below the output folder. Claims.
    pub artifacts: Vec<(String, String)>,
    /// The output folder, as the cell spells it.
    out: String,
}

impl Words {
    /// `mask` hides what the cell may not show; `out` is its output folder, as it spells it.
    pub fn new(mask: Option<Arc<Mask>>, out: String) -> Self {
        Self { mask, out, ..Self::default() }
    }

    /// Takes bytes, and gives what they say.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Vec<Live> {
        self.metered += bytes.len() as u64;
        let mut live = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.more(&rest[..end]);
            rest = &rest[end + 1..];
            self.line(&mut live);
        }
        self.more(rest);
        live
    }

    /// Takes what came last, without a line feed.
    pub fn finish(&mut self) -> Vec<Live> {
        let mut live = Vec::new();
        if !self.begun.is_empty() {
            self.line(&mut live);
        }
        let more = self.odd.saturating_sub(TOLD);
        if more > 0 {
            self.odd = 0;
            let message = format!(
                "what the cell says to POLYLOOM_SAY: {more} more lines are none; valid: {VALID}"
            );
            live.push(Live::Diagnostic(Diagnostic::new(Severity::Warning, message)));
        }
        live
    }

    fn more(&mut self, piece: &[u8]) {
        self.skips |= self.begun.len() + piece.len() > LONGEST;
        if self.skips {
            self.begun.truncate(64);
        } else {
            self.begun.extend_from_slice(piece);
        }
    }

    /// A line is complete.
    fn line(&mut self, live: &mut Vec<Live>) {
        self.number += 1;
        let bytes = std::mem::take(&mut self.begun);
        let skipped = std::mem::take(&mut self.skips);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        if text.trim().is_empty() {
            return;
        }
        let said = if skipped { Err("is longer than 72 KiB") } else { self.read(text) };
        match (said, live.last_mut()) {
            // What came in one piece is shown in one: many small logs cost as little as few large ones.
            (
                Ok(Some(Live::Log { level, text })),
                Some(Live::Log { level: last, text: before }),
            ) if level == *last => {
                before.push('\n');
                before.push_str(&text);
            }
            (Ok(said), _) => live.extend(said),
            (Err(_), _) if self.odd >= TOLD => self.odd += 1,
            (Err(why), _) => {
                self.odd += 1;
                let shown: String = text.chars().take(64).collect();
                let shown = self.hidden(&shown).escape_debug().to_string();
                let message = format!(
                    "what the cell says to POLYLOOM_SAY: line {}, `{shown}`, {why}; valid: {VALID}",
                    self.number
                );
                live.push(Live::Diagnostic(Diagnostic::new(Severity::Warning, message)));
            }
        }
    }

    fn hidden(&self, text: &str) -> String {
        self.mask.as_ref().map_or_else(|| text.to_owned(), |mask| mask.text(text).into_owned())
    }

    fn read(&mut self, line: &str) -> Result<Option<Live>, &'static str> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "log" => {
                let level = match first {
                    "debug" => LogLevel::Debug,
                    "info" => LogLevel::Info,
                    "warn" => LogLevel::Warn,
                    "error" => LogLevel::Error,
                    _ => return Err("has no level: debug, info, warn or error"),
                };
                Ok(Some(Live::Log { level, text: self.hidden(second) }))
            }
            "progress" => {
                let fraction = match first {
                    "-" => None,
                    number => {
                        let number = number.parse().ok().filter(|it: &f64| it.is_finite());
                        Some(number.ok_or("has no fraction: a number from 0 to 1, or -")?)
                    }
                };
                let fraction = fraction.map(|fraction| fraction.clamp(0.0, 1.0));
                Ok(Some(Live::Progress { fraction, text: self.hidden(second) }))
            }
            "display" => {
                let (media, data) = match first.strip_suffix(";base64") {
                    None => (first, self.hidden(second).into_bytes()),
                    Some(media) => match Value::from_base64(second) {
                        Some(Value::Bytes(data)) => {
                            let hidden =
                                self.mask.as_ref().map(|mask| mask.bytes(&data).into_owned());
                            (media, hidden.unwrap_or(data))
                        }
                        _ => return Err("is not base64"),
                    },
                };
                if !media.contains('/') || data.len() > MAX_DISPLAY_DATA {
                    return Err("has no media type, or more than 48 KiB");
                }
                Ok(Some(Live::Display { media: self.hidden(media), data }))
            }
            "artifact" if second.is_empty() => Err("names no file"),
            "artifact" => {
                let below = match second.starts_with('/') {
                    true => second.strip_prefix(&self.out).and_then(|it| it.strip_prefix('/')),
                    false => Some(second),
                };
                let below = below.ok_or("names no file below $OUT")?;
                if self.artifacts.len() < MOST_ARTIFACTS {
                    let artifact = (self.hidden(first), self.hidden(below));
                    self.artifacts.push(artifact);
                }
                Ok(None)
            }
            _ => Err("begins with no word that is known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(live: &[Live]) -> Vec<String> {
        let one = |live: &Live| match live {
            Live::Log { level, text } => format!("{level:?} {text}"),
            Live::Progress { fraction, text } => format!("{fraction:?} {text}"),
            Live::Display { media, data } => format!("{media} {}", String::from_utf8_lossy(data)),
            Live::Diagnostic(told) => told.message.clone(),
            Live::Phase(_) | Live::Text { .. } | Live::Limit { .. } => unreachable!(),
        };
        live.iter().map(one).collect()
    }

    #[test]
    fn lines_are_words_however_they_are_cut() {
        let text = "log info one\nlog info two\nprogress 0.5 half done\nprogress - \nprogress 7 over\r\n\n\
                    display text/plain hello world\ndisplay image/png;base64 aGk=\nartifact plot plot.png\nartifact whole /cell/out/a/b.txt\nlog error last";
        let whole = {
            let mut words = Words::new(None, "/cell/out".to_owned());
            let mut live = words.on_bytes(text.as_bytes());
            live.extend(words.finish());
            let kept = words.artifacts.iter().map(|(name, path)| format!("{name} {path}"));
            assert_eq!(kept.collect::<Vec<_>>(), ["plot plot.png", "whole a/b.txt"]);
            assert_eq!(words.metered, text.len() as u64);
            said(&live)
        };
        assert_eq!(
            whole,
            [
                "Info one\ntwo",
                "Some(0.5) half done",
                "None ",
                "Some(1.0) over",
                "text/plain hello world",
                "image/png hi",
                "Error last",
            ]
        );
        let mut words = Words::default();
        let mut live: Vec<Live> =
            text.as_bytes().iter().flat_map(|byte| words.on_bytes(&[*byte])).collect();
        live.extend(words.finish());
        assert_eq!(said(&live).len(), whole.len() + 1, "lines that come alone are shown alone");
    }

    #[test]
    fn what_is_no_word_is_told_and_bounded() {
        for odd in [
            "hello",
            "artifact x /etc/passwd",
            "log loud x",
            "progress half",
            "progress nan",
            "display plain x",
            "artifact x",
            "display image/png;base64 !",
        ] {
            let mut words = Words::new(None, "/cell/out".to_owned());
            let text = format!("\n{}log info still here\n", format!("{odd}\n").repeat(5));
            let mut live = words.on_bytes(text.as_bytes());
            live.extend(words.finish());
            let said = said(&live);
            assert_eq!(said.len(), 5, "{said:?}");
            assert!(said[4].contains("2 more lines"), "{said:?}");
            assert!(said[0].contains("line 2, `") && said[0].contains("valid: log"), "{said:?}");
        }
        let mut words = Words::default();
        for _ in 0..100 {
            assert!(words.on_bytes(&vec![b'x'; 64 << 10]).is_empty());
            assert!(words.begun.len() <= LONGEST);
        }
        assert!(said(&words.on_bytes(b"\nlog info on\n"))[0].contains("longer than 72 KiB"));
        let long = format!("display text/plain {}\n", "x".repeat(MAX_DISPLAY_DATA + 1));
        assert!(said(&Words::default().on_bytes(long.as_bytes()))[0].contains("48 KiB"));
        assert_eq!(said(&Words::default().on_bytes(b"\xff\xfe\x00\n")).len(), 1);
        let mut many = Words::default();
        many.on_bytes("artifact a b\n".repeat(1000).as_bytes());
        assert_eq!(many.artifacts.len(), MOST_ARTIFACTS);
    }
}
