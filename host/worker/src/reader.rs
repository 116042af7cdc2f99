//! An executor's reader of typed functions: one question as a line of JSON on its standard input, one catalog on its standard output. It sees the
//! flow's folder, read-only, and what its cells see of polyloom and of what is installed; nothing of what it reads is run.
//!
//! What comes back is a claim; this knows no form of it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use polyloom_sandbox as sandbox;

use crate::ask::{ASKING, Asker};
use crate::executor::{Executor, Slots};
use crate::messages;
use crate::workplace::Workplace;

/// Where the flow's folder is in its sandbox.
const ROOT: &str = "/polyloom/flow";
/// More of an answer is not read.
const ANSWER: u64 = 64 << 20;
/// More of what it says besides is not read.
pub(crate) const WORDS: u64 = 64 << 10;

impl Workplace {
    /// Asks an executor's `[catalog]` about functions in `root` and about installed ones; an executor without one is asked for all that it has. `question` is given the folder's name in the sandbox. Blocks
    /// for as long as it takes, at most 20 s.
    pub fn read_functions(
        &self,
        executor: &Executor,
        root: &Path,
        question: impl FnOnce(&str) -> String,
    ) -> Result<Vec<u8>, String> {
        let Some(template) = executor.manifest.catalog.as_deref() else {
            return self.described(executor);
        };
        let view = self.spawner().and_then(sandbox::Spawner::view);
        let view = view.map_err(|error| messages::chain(&error))?;
        let slots = Slots { code: "", program: "", args: &[], head: None, view: &view };
        let argv = executor.expand(template, slots);
        let (mut spec, policy) = self.question(argv, &[], Asker::Others)?;
        spec.binds = self.base_binds(executor);
        let root = root.canonicalize().map_err(|error| error.to_string())?;
        spec.binds.push(sandbox::Bind { source: root, target: PathBuf::from(ROOT) });
        let mut line = question(&view.path(ROOT)).into_bytes();
        line.push(b'\n');
        spec.stdin = sandbox::Stdin::Bytes(line);
        let mut cell = self.open(&policy, &spec)?;
        let mut pipes =
            [Pipe::new(cell.take_stdout(), ANSWER), Pipe::new(cell.take_stderr(), WORDS)];
        let exit = follow(&mut cell, &mut pipes);
        cell.finish();
        let [stdout, stderr] = pipes.map(|pipe| pipe.heard);
        match exit? {
            sandbox::Exit::Code(0) if stdout.len() as u64 >= ANSWER => {
                Err(format!("its answer is longer than {} MiB", ANSWER >> 20))
            }
            sandbox::Exit::Code(0) => Ok(stdout),
            exit => Err(format!("{}: {}", messages::exit_words(exit), said(&stderr))),
        }
    }
}

/// Its last words.
pub(crate) fn said(stderr: &[u8]) -> String {
    let last = messages::last_line(&String::from_utf8_lossy(stderr));
    last.chars().filter(|c| !c.is_control()).collect()
}

/// One of its streams.
pub(crate) struct Pipe {
    from: Option<File>,
    pub(crate) heard: Vec<u8>,
    most: u64,
}

impl Pipe {
    /// Where there is more to hear.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn new(from: Option<OwnedFd>, most: u64) -> Self {
        Self { from: from.map(File::from), heard: Vec::new(), most }
    }

    /// Takes what is there. It does not block.
    pub(crate) fn listen(&mut self) {
        let Some(from) = &mut self.from else { return };
        let left = self.most.saturating_sub(self.heard.len() as u64);
        match from.take(left).read_to_end(&mut self.heard) {
            Ok(_) => self.from = None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.from = None,
        }
    }
}

/// Hears it to its end.
fn follow(cell: &mut sandbox::Sandbox, pipes: &mut [Pipe; 2]) -> Result<sandbox::Exit, String> {
    let began = Instant::now();
    loop {
        pipes.iter_mut().for_each(Pipe::listen);
        if let Some(fact) = cell.poll_exit() {
            // What is in them now is all there will be.
            pipes.iter_mut().for_each(Pipe::listen);
            return Ok(fact.exit);
        }
        if began.elapsed() > ASKING {
            return Err(format!("it gave no answer in {} s", ASKING.as_secs()));
        }
        let mut fds = vec![PollFd::new(cell.control(), PollFlags::POLLIN)];
        fds.extend(pipes.iter().filter_map(Pipe::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(100_u8)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}
