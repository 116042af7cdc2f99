//! Questions to programs outside of any cell: what they are, and what the normal form of codes is. Each in a sandbox that shows it nothing but
//! the system, its own installation and what the question is about.
//!
//! Knows no manifest and no cache; what comes back is a claim like every other output.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polyloom_sandbox as sandbox;

use crate::executor::Executor;
use crate::messages;
use crate::normaliser::{Asked, End, NormalForms, Normaliser};
use crate::order::{Order, Wait};
use crate::workplace::Workplace;

/// How long a program may take to answer.
pub const ASKING: Duration = Duration::from_secs(20);
/// More of an answer is not read.
pub const ANSWER: u64 = 64 << 10;

/// Who chose a program and the question it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A bundled manifest, of a program on PATH: it is asked in whatever sandbox this machine has.
    Ourselves,
    /// Anybody's manifest, or the flow: not without a whole sandbox.
    Others,
}

/// What a program said.
struct Heard {
    /// Nothing: it was not over in time.
    exit: Option<sandbox::Exit>,
    stdout: String,
    stderr: String,
}

impl Workplace {
    /// So many codes are put into one question: their answers fit into a pipe.
    pub const CODES: usize = 700;

    /// Asks a program for its identity; see [`crate::tools::find`]. Blocks for as long as the program takes, at most 20 s.
    pub fn ask(
        &self,
        program: &Path,
        args: &[String],
        roots: &[PathBuf],
        asker: Asker,
    ) -> Result<String, String> {
        let mut argv = vec![program.into()];
        argv.extend(args.iter().map(Into::into));
        let heard = self.hear(argv, roots, asker)?;
        match heard.exit {
            Some(sandbox::Exit::Code(0)) => {
                let silent = heard.stdout.trim().is_empty();
                Ok(if silent { heard.stderr } else { heard.stdout })
            }
            Some(exit) => {
                let last = messages::last_line(&heard.stderr);
                Err(format!("{}: {last}", messages::exit_words(exit)))
            }
            None => Err(format!("it gave no answer in {} s", ASKING.as_secs())),
        }
    }

    /// Asks an executor's `[normalise]` for the normal forms of at most [`Self::CODES`] codes. Codes are data to it and nothing of them runs. A program
    /// that fails has still answered for what it printed before. An error is one of this moment: another time it may go well.
    pub fn normal_forms(
        &self,
        executor: &Arc<Executor>,
        codes: &[&[u8]],
    ) -> Result<NormalForms, String> {
        if executor.manifest.normalise.is_none() {
            return Ok(vec![None; codes.len()]);
        }
        let keeps = self.room() > 0;
        let start =
            || self.normaliser(executor).map(|asked| Normaliser::new(Arc::clone(executor), asked));
        let mut normaliser = match self.normalisers().take(executor) {
            Some(kept) => kept,
            None => start()?,
        };
        let mut answer = normaliser.answer(codes, keeps);
        // Once more: that one process was killed or stopped is not to change the keys of what is known by its normal form.
        if answer.end == End::Broken {
            drop(normaliser);
            normaliser = start()?;
            answer = normaliser.answer(codes, keeps);
        }
        match answer.end {
            End::Silent => return Err(format!("it gave no answer in {} s", ASKING.as_secs())),
            End::Waits => self.normalisers().keep(normaliser),
            End::Ended => {
                let before = self.normalisers().leave(normaliser);
                drop(before);
            }
            End::Broken => {}
        }
        Ok(answer.forms)
    }

    /// Has an executor's normaliser wait for the next question.
    pub(crate) fn keep_normaliser(&self, executor: &Arc<Executor>) {
        let kept = self.normalisers().take(executor);
        let start = || {
            executor.manifest.normalise.as_ref()?;
            let asked = self.normaliser(executor).ok()?;
            Some(Normaliser::new(Arc::clone(executor), asked))
        };
        let kept = kept.or_else(start);
        if let Some(normaliser) = kept {
            self.normalisers().keep(normaliser);
        }
    }

    /// Starts an executor's normaliser.
    fn normaliser(&self, executor: &Executor) -> Result<Asked, String> {
        let template = executor.manifest.normalise.as_deref().unwrap_or_default();
        let view = self.spawner().and_then(sandbox::Spawner::view);
        let view = view.map_err(|error| messages::chain(&error))?;
        let slots =
            crate::executor::Slots { code: "", program: "", args: &[], head: None, view: &view };
        let argv = executor.expand(template, slots);
        let (mut spec, policy) = self.question(argv, &executor.roots(), Asker::Others)?;
        if self.room() == 0
            && let Some(asked) = self.awaits_question(executor, &policy, &spec)
        {
            return Ok(asked);
        }
        let (theirs, ours) = std::io::pipe().map_err(|error| error.to_string())?;
        spec.stdin = sandbox::Stdin::Fd(theirs.into());
        Ok(Asked { cell: self.open(&policy, &spec)?, to: ours.into() })
    }

    /// The normaliser that waits at the daemon's.
    fn awaits_question(
        &self,
        executor: &Executor,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Option<Asked> {
        let client = self.daemon.client()?;
        let taken = client.take(&Order::new(Wait::Asked, executor, policy, spec))?;
        let mut cell = sandbox::Sandbox::receive(&taken.about, taken.fds)?;
        let to = taken.stdin?;
        cell.poll_exit().is_none().then_some(Asked { cell, to })
    }

    fn hear(
        &self,
        argv: Vec<std::ffi::OsString>,
        roots: &[PathBuf],
        asker: Asker,
    ) -> Result<Heard, String> {
        let (spec, policy) = self.question(argv, roots, asker)?;
        let mut cell = self.open(&policy, &spec)?;
        let pipes = [cell.take_stdout(), cell.take_stderr()];
        let fact = cell.wait(ASKING);
        cell.finish();
        // The pipes do not block; what is in them now is all there will be.
        let [stdout, stderr] = pipes.map(|pipe| {
            let mut text = Vec::new();
            if let Some(pipe) = pipe {
                let _ = std::fs::File::from(pipe).take(ANSWER).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Heard { exit: fact.map(|fact| fact.exit), stdout, stderr })
    }

    /// The sandbox of a program that is asked something.
    pub(crate) fn question(
        &self,
        argv: Vec<std::ffi::OsString>,
        roots: &[PathBuf],
        asker: Asker,
    ) -> Result<(sandbox::Spec, sandbox::Policy), String> {
        let view = self.spawner().and_then(sandbox::Spawner::view);
        let view = view.map_err(|error| messages::chain(&error))?;
        let mut spec = sandbox::Spec { argv, ..sandbox::Spec::default() };
        spec.env = vec![
            ("HOME".into(), view.path("/cell/work").into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ];
        let bind = |root: &PathBuf| sandbox::Bind { source: root.clone(), target: root.clone() };
        spec.binds = roots.iter().map(bind).collect();
        spec.view = view;
        let limits = sandbox::Limits { memory: 1 << 30, ..sandbox::Limits::default() };
        let policy = match asker {
            Asker::Ourselves => sandbox::Policy::trusted(limits),
            Asker::Others => sandbox::Policy::untrusted(limits),
        };
        Ok((spec, policy))
    }

    pub(crate) fn open(
        &self,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Result<sandbox::Sandbox, String> {
        let spawned = self.spawner().and_then(|spawner| spawner.spawn(policy, spec));
        spawned.map_err(|error| messages::chain(&error))
    }
}
