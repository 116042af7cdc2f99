//! A program that gives codes a normal form: `NAME LENGTH`, a line feed and so many bytes on its standard input, for each code; `NAME DIGEST` or
//! `NAME -` in a line of its standard output. At the end of its input it ends.
//!
//! Answers are claims. Where workers are kept waiting, so is the program: the next question spares its start.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use polyloom_model::Digest;
use polyloom_sandbox as sandbox;

use crate::ask::{ANSWER, ASKING};
use crate::executor::Executor;

/// A program that is to be asked again answers for every code within this, or it is asked to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The normal forms of some codes: nothing where a code's bytes are to count.
pub type NormalForms = Vec<Option<Digest>>;

/// A program that was started.
pub struct Asked {
    /// Its sandbox.
    pub cell: sandbox::Sandbox,
    /// Its standard input.
    pub to: OwnedFd,
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All is answered, and the program waits for more.
    Waits,
    /// The program has ended, or has said all and been told that nothing more comes.
    Ended,
    /// It was killed, or did not begin.
    Broken,
    /// It said nothing for too long.
    Silent,
}

/// What a program said.
pub struct Answer {
    /// For each code.
    pub forms: NormalForms,
    /// What became of the program.
    pub end: End,
}

/// A program that gives normal forms.
pub struct Normaliser {
    executor: Arc<Executor>,
    cell: sandbox::Sandbox,
    to: Option<File>,
    from: Option<File>,
}

/// Programs that wait for the next question.
#[derive(Default)]
pub struct Normalisers {
    waiting: Vec<Normaliser>,
    /// One that has said all. Its end takes longer than its answer: nobody waits for it who has something to do.
    ending: Option<Normaliser>,
}

impl Normalisers {
    /// The one of an executor, if it is the same still.
    pub fn take(&mut self, executor: &Executor) -> Option<Normaliser> {
        let found =
            self.waiting.iter().position(|kept| kept.executor.manifest.id == executor.manifest.id);
        let kept = found.map(|at| self.waiting.swap_remove(at))?;
        let same = kept.executor.tools == executor.tools
            && kept.executor.manifest.normalise == executor.manifest.normalise;
        same.then_some(kept)
    }

    /// Keeps one.
    pub fn keep(&mut self, normaliser: Normaliser) {
        self.waiting.push(normaliser);
    }

    /// Ends one without waiting for it: what is left of it goes when these are dropped. Gives the one that was left before, which is over by now.
    pub fn leave(&mut self, normaliser: Normaliser) -> Option<Normaliser> {
        normaliser.cell.kill();
        self.ending.replace(normaliser)
    }
}

impl Normaliser {
    /// A program that was started for an executor.
    pub fn new(executor: Arc<Executor>, asked: Asked) -> Self {
        let Asked { mut cell, to } = asked;
        let from = cell.take_stdout().map(File::from);
        Self { executor, cell, to: Some(File::from(to)), from }
    }

    /// Asks for the forms of codes. `keep`: the program may be asked again.
    pub fn answer(&mut self, codes: &[&[u8]], keep: bool) -> Answer {
        let mut question = Vec::new();
        for (at, code) in codes.iter().enumerate() {
            question.extend(format!("{at} {}\n", code.len()).into_bytes());
            question.extend_from_slice(code);
        }
        let (mut sent, mut heard) = (0, Vec::new());
        let began = Instant::now();
        let end = loop {
            if sent == question.len() && (!keep || began.elapsed() > PATIENCE) {
                // Whatever it has not said by then it says before it ends.
                self.to = None;
            }
            if sent == question.len() && read_all(&heard, codes).1 {
                break if self.to.is_some() { End::Waits } else { End::Ended };
            }
            if let Some(fact) = self.cell.poll_exit() {
                self.listen(&mut heard);
                break match fact.exit {
                    sandbox::Exit::Code(_) => End::Ended,
                    _ => End::Broken,
                };
            }
            if began.elapsed() > ASKING || heard.len() as u64 >= ANSWER {
                break if heard.is_empty() { End::Silent } else { End::Ended };
            }
            if self.wait(sent < question.len()).is_err() {
                break End::Broken;
            }
            self.send(&question, &mut sent);
            self.listen(&mut heard);
        };
        Answer { forms: read_all(&heard, codes).0, end }
    }

    /// Waits until something can be said or heard, or a little while.
    fn wait(&self, speaks: bool) -> nix::Result<()> {
        let mut fds = vec![PollFd::new(self.cell.control(), PollFlags::POLLIN)];
        fds.extend(self.from.as_ref().map(|from| PollFd::new(from.as_fd(), PollFlags::POLLIN)));
        let to = self.to.as_ref().filter(|_| speaks);
        fds.extend(to.map(|to| PollFd::new(to.as_fd(), PollFlags::POLLOUT)));
        match poll(&mut fds, PollTimeout::from(100_u8)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, question: &[u8], sent: &mut usize) {
        let Some(to) = &mut self.to else { return };
        // Only here: the program's own end of the pipe has flags of its own.
        let nonblocking = fcntl(to.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let written = nonblocking.map_err(std::io::Error::from).and_then(|_| {
            if *sent < question.len() { to.write(&question[*sent..]) } else { Ok(0) }
        });
        match written {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // It does not listen any more: what it says before it ends is what counts.
            Err(_) => (*sent, self.to) = (question.len(), None),
        }
    }

    fn listen(&mut self, heard: &mut Vec<u8>) {
        let Some(from) = &mut self.from else { return };
        let left = ANSWER.saturating_sub(heard.len() as u64);
        match from.take(left).read_to_end(heard) {
            // The end of the pipe: without this it would be readable for ever.
            Ok(_) if left > heard.len() as u64 => self.from = None,
            // It does not block; what came is there.
            Ok(_) | Err(_) => {}
        }
    }
}

/// The forms that were told, and whether every code was mentioned.
fn read_all(heard: &[u8], codes: &[&[u8]]) -> (NormalForms, bool) {
    let mut forms = vec![None; codes.len()];
    let mut told = vec![false; codes.len()];
    for (at, form) in String::from_utf8_lossy(heard).lines().filter_map(line) {
        if let Some(place) = forms.get_mut(at) {
            (*place, told[at]) = (form, true);
        }
    }
    (forms, told.into_iter().all(|told| told))
}

/// `NAME DIGEST`, or `NAME -`. A line that is cut or garbled says nothing.
fn line(text: &str) -> Option<(usize, Option<Digest>)> {
    let (name, form) = text.split_once(' ')?;
    let form = match form.trim_end() {
        "-" => None,
        hex => Some(format!("b3:{hex}").parse().ok()?),
    };
    Some((name.parse().ok()?, form))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use super::line;

    #[test]
    fn an_answer_is_a_name_and_a_whole_digest() {
        let hex = "0f".repeat(32);
        assert_eq!(line(&format!("3 {hex}")).unwrap().1.unwrap().hex(), hex);
        assert_eq!(line("3 -"), Some((3, None)));
        for bad in [
            "",
            "3",
            "3 ",
            "x -",
            "-1 -",
            "3 0f",
            &format!("3 {hex}0"),
            &format!("3 {}", &hex[1..]),
        ] {
            assert_eq!(line(bad), None, "{bad}");
        }
    }
}
