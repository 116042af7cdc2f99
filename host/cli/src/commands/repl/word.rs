//! What is said to polyloom and not to a language: lines that begin with `%`.

use std::fmt::Write;

use polyloom_model::Type;

/// A name in one language that is to be known in another, and the type it is carried as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The name.
    pub name: String,
    /// Its type; `any` where none is said.
    pub ty: Type,
}

/// One `%` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `%lang NAME [NAME[:TYPE]…]`: go on in another language, with these of the one before.
    Lang(Option<String>, Vec<Carried>),
    /// `%get NAME[:TYPE]… from LANG`: what another language knows.
    Get(Vec<Carried>, String),
    /// `%reset`: forget everything but what was there at the beginning.
    Reset,
    /// `%snapshot NAME`: keep the state under a name.
    Snapshot(String),
    /// `%restore NAME`: go back to it.
    Restore(String),
    /// `%forget NAME`: drop it.
    Forget(String),
    /// `%help`.
    Help,
    /// `%quit`.
    Quit,
}

/// Every word, how it is used, and what it does.
pub const WORDS: [(&str, &str, &str); 8] = [
    ("lang", "%lang NAME [VALUE[:TYPE]…]", "go on in another language, with values of this one"),
    ("get", "%get VALUE[:TYPE]… from NAME", "take values from another language"),
    ("reset", "%reset", "forget everything in this language but its inputs"),
    ("snapshot", "%snapshot NAME", "keep the state under a name"),
    ("restore", "%restore NAME", "go back to a kept state"),
    ("forget", "%forget NAME", "drop a kept state"),
    ("help", "%help", "show this"),
    ("quit", "%quit", "end (as Control-D does)"),
];

/// What `%help` shows.
#[must_use]
pub fn help() -> String {
    let mut text = String::new();
    for (_, usage, does) in WORDS {
        let _ = writeln!(text, "  {usage:<30} {does}");
    }
    text
}

/// Reads a line that begins with `%`; none where it does not.
///
/// # Errors
/// What would be valid.
pub fn parse(text: &str) -> Option<Result<Word, String>> {
    let line = text.trim().strip_prefix('%')?;
    // A second one is the language's own, or an operator's.
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    Some(word(first, &words.collect::<Vec<_>>()))
}

fn word(first: &str, rest: &[&str]) -> Result<Word, String> {
    let one = |make: fn(String) -> Word| match rest {
        [name] => Ok(make((*name).to_owned())),
        _ => Err(usage(first)),
    };
    let none = |word: Word| if rest.is_empty() { Ok(word) } else { Err(usage(first)) };
    match first {
        "lang" => match rest {
            [] => Ok(Word::Lang(None, Vec::new())),
            [name, values @ ..] => Ok(Word::Lang(Some((*name).to_owned()), carried(values)?)),
        },
        "get" => match rest {
            [values @ .., "from", name] if !values.is_empty() => {
                Ok(Word::Get(carried(values)?, (*name).to_owned()))
            }
            _ => Err(usage(first)),
        },
        "reset" => none(Word::Reset),
        "snapshot" => one(Word::Snapshot),
        "restore" => one(Word::Restore),
        "forget" => one(Word::Forget),
        "help" => none(Word::Help),
        "quit" | "exit" => none(Word::Quit),
        other => {
            let names: Vec<_> = WORDS.iter().map(|(name, ..)| format!("%{name}")).collect();
            Err(format!("`%{other}` is no word; valid: {}", names.join(", ")))
        }
    }
}

fn usage(of: &str) -> String {
    let found = WORDS.iter().find(|(name, ..)| *name == of);
    found.map_or_else(String::new, |(_, usage, _)| format!("valid: `{usage}`"))
}

fn carried(words: &[&str]) -> Result<Vec<Carried>, String> {
    let read = |word: &&str| {
        let (name, ty) = word.split_once(':').unwrap_or((word, "any"));
        let ty = ty.parse::<Type>().map_err(|error| error.to_string())?;
        match name.is_empty() {
            true => Err(format!("`{word}` has no name; valid: `VALUE` or `VALUE:TYPE`")),
            false => Ok(Carried { name: name.to_owned(), ty }),
        }
    };
    words.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Word {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn words_are_read_with_their_values() {
        let x = |ty: &str| Carried { name: "x".into(), ty: ty.parse().unwrap() };
        assert_eq!(
            get(" %lang js x x:table"),
            Word::Lang(Some("js".into()), vec![x("any"), x("table")])
        );
        assert_eq!(get("%get x from python"), Word::Get(vec![x("any")], "python".into()));
        assert_eq!(get("%lang"), Word::Lang(None, vec![]));
        assert_eq!(get("%restore a"), Word::Restore("a".into()));
        assert_eq!(parse("x % 2"), None);
    }

    #[test]
    fn what_is_no_word_is_told_what_is() {
        for (text, said) in [
            ("%", "`%` is no word; valid: %lang, %get"),
            ("%timeit x", "`%timeit` is no word; valid: %lang"),
            ("%get x", "valid: `%get VALUE[:TYPE]… from NAME`"),
            ("%get from python", "valid: `%get"),
            ("%snapshot", "valid: `%snapshot NAME`"),
            ("%reset all", "valid: `%reset`"),
            ("%lang js :int", "`:int` has no name"),
            ("%lang js x:integer", "`integer` is not a type"),
        ] {
            let error = parse(text).unwrap().unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
