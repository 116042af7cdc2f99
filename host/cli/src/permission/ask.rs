//! The question to the person, on their terminal. What a flow wrote is shown escaped: it can't draw another question.

use std::io::{self, BufRead, IsTerminal, Read};

use nix::sys::termios::{FlushArg, tcflush};
use polyloom_model::Verdict;
use polyloom_report::{Style, escape_line};

use super::Question;
use crate::world::World;

/// What the person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// For this run.
    Once,
    /// As long as its code and its asks stay the same.
    Always,
    /// No.
    No,
    /// There is nobody to ask.
    Nobody,
}

/// Longer answers are none.
const LONGEST: u64 = 256;

/// Whether somebody sees the question and can answer it.
pub fn possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks until there is an answer. The end of input is a no.
pub fn ask(world: &World, question: &Question) -> Answer {
    let paint = world.screen.err;
    let mut text = format!(
        "cell {} ({}, {}) asks for\n",
        paint.text(Style::Strong, &escape_line(question.cell.as_str())),
        escape_line(&question.lang),
        escape_line(&question.code),
    );
    // All of it: what was granted before is part of what the cell will be able to do.
    for item in &question.items {
        let (style, note) = match item.verdict {
            Verdict::Granted => (Style::Dim, " (granted already)"),
            Verdict::Open | Verdict::Denied => (Style::Warn, ""),
        };
        text.push_str(&format!("  {}{note}\n", paint.text(style, &escape_line(&item.shown))));
    }
    world.screen.tell(&text);
    // What was typed before the question was seen answers nothing.
    let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
    loop {
        let always = if question.lasting { "[a] as long as its code stays the same, " } else { "" };
        world.screen.tell(&format!("grant it? [y] for this run, {always}[n] no: "));
        let mut line = String::new();
        match io::stdin().lock().take(LONGEST).read_line(&mut line) {
            Ok(0) | Err(_) => {
                world.screen.tell("\n");
                return Answer::No;
            }
            Ok(_) => {}
        }
        match line.trim() {
            "y" | "Y" | "yes" => return Answer::Once,
            "a" | "A" | "always" if question.lasting => return Answer::Always,
            "n" | "N" | "no" => return Answer::No,
            _ => {}
        }
    }
}
