//! The shape of a behaviour: a word, and what a reader of `--help` is to know. It knows no wire.

use std::fmt::Write as _;

use crate::before::Before;
use crate::during::During;

/// A closed list of behaviours.
pub trait Order: Copy + Sized + 'static {
    /// Every behaviour with its word and its meaning.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// The behaviour of a word.
    fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name, _)| *name == word).map(|(order, _, _)| *order)
    }
}

/// The whole help.
pub fn help() -> String {
    let mut out = String::from(
        "polyloom-fake: an executor that misbehaves to order\n\n\
         usage: polyloom-fake [BEHAVIOUR]        (or POLYLOOM_FAKE=BEHAVIOUR)\n\n\
         before and in the handshake:\n",
    );
    list::<Before>(&mut out);
    out.push_str("\nin a cell, first line of its code, `WORD [NUMBER]`; comment signs before it do not count:\n");
    list::<During>(&mut out);
    out
}

fn list<O: Order>(out: &mut String) {
    for (_, name, about) in O::ALL {
        let _ = writeln!(out, "  {name:<22} {about}");
    }
}
