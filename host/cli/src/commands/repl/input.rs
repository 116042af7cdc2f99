//! What a person types, or what a pipe brings: lines edited, remembered and completed, up to where an input ends. Knows no language; asks one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{BufRead, IsTerminal, StdinLock};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use polyloom_report::{Paint, Style, escape_line};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};

/// Inputs that are remembered from one day to the next.
const REMEMBERED: usize = 10_000;
/// An input of a pipe that does not end by then is none.
const LONGEST: usize = 1 << 20;

/// A completion of more characters than that is none.
const WIDEST: usize = 200;
/// More completions than that are not shown.
const MOST_WORDS: usize = 1_000;

/// Whether a text of one line is what it looks like, and does nothing else to a terminal.
fn is_plain(line: &str) -> bool {
    matches!(escape_line(line), Cow::Borrowed(_))
}

/// Who understands what is typed.
pub trait Listener {
    /// Where the word at byte `at` of `text` begins, and what it may become.
    fn complete(&mut self, text: &str, at: usize) -> (usize, Vec<String>);
    /// Whether more is to come before it means something.
    fn is_open(&mut self, text: &str) -> bool;
}

/// One input, or that there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Something.
    Text(String),
    /// Control-C: what was typed is forgotten.
    Dropped,
    /// Control-D, or the pipe's end.
    End,
}

/// Where inputs come from.
pub struct Input<L: Listener> {
    listener: Rc<RefCell<L>>,
    from: From<L>,
}

enum From<L: Listener> {
    Terminal {
        editor: Box<Editor<Ear<L>, FileHistory>>,
        history: Option<PathBuf>,
        paint: Paint,
    },
    /// With the line that was read and belongs to the next input.
    Pipe(StdinLock<'static>, String),
}

impl<L: Listener> Input<L> {
    /// From stdin: with editing where it is a terminal. What was typed is kept in `history`.
    ///
    /// # Errors
    /// The terminal's own.
    pub fn open(
        listener: &Rc<RefCell<L>>,
        history: Option<&Path>,
        paint: Paint,
    ) -> rustyline::Result<Self> {
        let listener = Rc::clone(listener);
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { listener, from: From::Pipe(stdin.lock(), String::new()) });
        }
        let config = Config::builder()
            .max_history_size(REMEMBERED)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            // Stdout may be somebody else's.
            .behavior(Behavior::PreferTerm)
            .bracketed_paste(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Ear { listener: Rc::clone(&listener), paint }));
        if let Some(history) = history {
            // There is none the first time.
            let _ = editor.load_history(history);
        }
        let history = history.map(Path::to_owned);
        Ok(Self { listener, from: From::Terminal { editor: Box::new(editor), history, paint } })
    }

    /// Whether a person types.
    pub fn is_terminal(&self) -> bool {
        matches!(self.from, From::Terminal { .. })
    }

    /// Has something be there as if it had been typed before, unless it would do something to the terminal when it is shown.
    pub fn remember(&mut self, text: &str) {
        let plain = text.lines().all(|line| is_plain(&line.replace('\t', " ")));
        if let (From::Terminal { editor, .. }, true) = (&mut self.from, plain && !text.is_empty()) {
            // What can't be remembered is no reason to stop.
            let _ = editor.add_history_entry(text);
        }
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// The terminal's, or the pipe's.
    pub fn read(&mut self, prompt: &str) -> rustyline::Result<Typed> {
        match &mut self.from {
            From::Pipe(pipe, next) => Self::piped(&self.listener, pipe, next),
            From::Terminal { editor, history, paint } => {
                let painted = (prompt.to_owned(), paint.text(Style::Strong, prompt));
                match editor.readline(&painted) {
                    Ok(text) => {
                        if let Some(history) = history {
                            // Each at once: a terminal may go at any time. One that can't be kept is no reason to stop.
                            let _ = editor.append_history(history);
                        }
                        Ok(Typed::Text(text))
                    }
                    Err(ReadlineError::Interrupted) => Ok(Typed::Dropped),
                    Err(ReadlineError::Eof) => Ok(Typed::End),
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn piped(
        listener: &RefCell<L>,
        pipe: &mut StdinLock<'_>,
        next: &mut String,
    ) -> rustyline::Result<Typed> {
        let mut text = String::new();
        loop {
            let mut line = std::mem::take(next);
            if line.is_empty() {
                pipe.read_line(&mut line)?;
            }
            // A word ends a block as an empty line does, but no text that goes over several lines.
            if line.starts_with('%') && !text.is_empty() && !listener.borrow_mut().is_open(&text) {
                *next = line;
                return Ok(Typed::Text(text.trim_end_matches('\n').to_owned()));
            }
            text.push_str(&line);
            if line.is_empty() {
                return Ok(if text.is_empty() { Typed::End } else { Typed::Text(text) });
            }
            // An empty line that ends a block is a part of it.
            let whole = text.strip_suffix('\n').unwrap_or(&text);
            let more = text.len() < LONGEST && listener.borrow_mut().is_open(whole);
            if !more {
                return Ok(Typed::Text(whole.to_owned()));
            }
        }
    }
}

/// What the editor asks.
struct Ear<L: Listener> {
    listener: Rc<RefCell<L>>,
    paint: Paint,
}

impl<L: Listener> Helper for Ear<L> {}

impl<L: Listener> Completer for Ear<L> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, mut words) = self.listener.borrow_mut().complete(line, at);
        // They come from a sandbox, go to the terminal as they are, and one alone is typed for the person.
        words.retain(|word| word.chars().count() <= WIDEST && is_plain(word));
        words.truncate(MOST_WORDS);
        Ok((start, words))
    }
}

impl<L: Listener> Validator for Ear<L> {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match self.listener.borrow_mut().is_open(typed.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl<L: Listener> Hinter for Ear<L> {
    type Hint = String;
}

impl<L: Listener> Highlighter for Ear<L> {
    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        match self.paint.color {
            true => Cow::Owned(self.paint.text(Style::Dim, candidate)),
            false => Cow::Borrowed(candidate),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    struct Hostile;

    impl Listener for Hostile {
        fn complete(&mut self, _: &str, _: usize) -> (usize, Vec<String>) {
            let words =
                ["fine", "q\u{1b}]0;x\u{7}", "a\n%snapshot b", "\u{202e}evil", &"w".repeat(201)];
            (0, words.map(str::to_owned).to_vec())
        }

        fn is_open(&mut self, _: &str) -> bool {
            false
        }
    }

    #[test]
    fn only_plain_words_complete_anything() {
        let ear = Ear { listener: Rc::new(RefCell::new(Hostile)), paint: Paint { color: false } };
        let history = FileHistory::new();
        let found = ear.complete("", 0, &Context::new(&history)).unwrap();
        assert_eq!(found, (0, vec!["fine".to_owned()]));
    }
}
