//! Questions to programs outside of any cell: what they are, and what the normal form of codes is. Each in a sandbox that shows it nothing but
//! the system, its own installation and what the question is about.
//!
//! Knows no manifest and no cache; what comes back is a claim like every other output.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyloom_model::Digest;
use polyloom_sandbox as sandbox;

use crate::executor::Executor;
use crate::messages;
use crate::workplace::Workplace;

/// How long a program may take to answer.
const ASKING: Duration = Duration::from_secs(20);
/// Where a question's files are.
const FILES: &str = "/cell/code";
/// A pipe holds as much, and it is read when the program has ended.
const ANSWER: u64 = 64 << 10;

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

/// The normal forms of some codes: nothing where a code's bytes are to count.
pub type NormalForms = Vec<Option<Digest>>;

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
        let heard = self.hear(argv, roots, Vec::new(), asker)?;
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
        executor: &Executor,
        codes: &[&[u8]],
    ) -> Result<NormalForms, String> {
        let mut forms = vec![None; codes.len()];
        let Some(template) = executor.manifest.normalise.as_deref() else { return Ok(forms) };
        let view = self.spawner().and_then(sandbox::Spawner::view);
        let view = view.map_err(|error| messages::chain(&error))?;
        let slots = crate::executor::Slots { code: "", program: "", args: &[], view: &view };
        let mut argv = executor.expand(template, slots);
        argv.push(view.path(FILES).into());
        let file = |(at, code): (usize, &&[u8])| {
            let path = PathBuf::from(format!("{FILES}/{at}"));
            sandbox::File { path, bytes: code.to_vec(), mode: 0o444 }
        };
        let files: Vec<_> = codes.iter().enumerate().map(file).collect();
        let mut heard = self.hear(argv.clone(), &executor.roots(), files.clone(), Asker::Others)?;
        // Once more: that one process was killed or stopped is not to change the keys of what is known by its normal form.
        if !matches!(heard.exit, Some(sandbox::Exit::Code(_))) {
            heard = self.hear(argv, &executor.roots(), files, Asker::Others)?;
        }
        if heard.exit.is_none() {
            return Err(format!("it gave no answer in {} s", ASKING.as_secs()));
        }
        for (at, form) in heard.stdout.lines().filter_map(line) {
            if let Some(place) = forms.get_mut(at) {
                *place = form;
            }
        }
        Ok(forms)
    }

    fn hear(
        &self,
        argv: Vec<std::ffi::OsString>,
        roots: &[PathBuf],
        files: Vec<sandbox::File>,
        asker: Asker,
    ) -> Result<Heard, String> {
        let view = self.spawner().and_then(sandbox::Spawner::view);
        let view = view.map_err(|error| messages::chain(&error))?;
        let mut spec = sandbox::Spec { argv, files, ..sandbox::Spec::default() };
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
        let spawned = self.spawner().and_then(|spawner| spawner.spawn(&policy, &spec));
        let mut cell = spawned.map_err(|error| messages::chain(&error))?;
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
