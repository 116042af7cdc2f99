//! Where a command writes events: `--events`, `--trace` and `--format jsonl`. A watch writes many runs there, and what is between them: the numbers run on.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyloom_events::{Event, Record, Sink};
use polyloom_load::{Problem, Severity as Bad};
use polyloom_protocol::meta::{Diagnostic, Severity};
use polyloom_report::{Jsonl, Trace};
use polyloom_runtime::Inode;

use crate::args::{Format, RunArgs};
use crate::failure::{Exit, Failure};

/// The streams of a command. Clones are the same ones.
#[derive(Clone)]
pub struct Streams(Arc<Mutex<Numbered>>);

struct Numbered {
    streams: Vec<Box<dyn Sink>>,
    seq: u64,
    /// The files of `--events` and `--trace`.
    files: Vec<Inode>,
}

fn inode(meta: io::Result<Metadata>) -> Option<Inode> {
    meta.ok().filter(Metadata::is_file).map(|meta| (meta.dev(), meta.ino()))
}

/// The files that this program prints to.
fn printed() -> impl Iterator<Item = Inode> {
    let (out, err) = (io::stdout(), io::stderr());
    let prints = [out.as_fd(), err.as_fd()].map(|fd| fd.try_clone_to_owned().map(File::from));
    prints.into_iter().flatten().filter_map(|file| inode(file.metadata()))
}

/// The files that a command will write itself, as far as they are there before it does.
pub fn files(args: &RunArgs) -> Vec<Inode> {
    let events = args.events.as_deref().filter(|path| *path != Path::new("-"));
    let named = events.into_iter().chain(args.trace.as_deref());
    printed().chain(named.filter_map(|path| inode(path.metadata()))).collect()
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        let text = format!("`{}` can't be written: {error}", path.display());
        Failure::new(Exit::Usage, text)
    })
}

/// A trace in a file that is made anew.
pub fn trace(path: &Path) -> Result<(Trace<File>, Option<Inode>), Failure> {
    if path == Path::new("-") {
        let text = "`--trace` takes the name of a file, and `-` is none";
        return Err(Failure::new(Exit::Usage, text).hint("--trace trace.json"));
    }
    let file = create(path)?;
    let inode = inode(file.metadata());
    Ok((Trace::new(file), inode))
}

impl Streams {
    /// Those that were asked for.
    pub fn open(args: &RunArgs) -> Result<Self, Failure> {
        let (mut streams, mut written) = (Vec::<Box<dyn Sink>>::new(), Vec::new());
        match args.events.as_deref() {
            None => {}
            Some(path) if path == Path::new("-") => {
                streams.push(Box::new(Jsonl::new(Box::new(io::stdout()))));
            }
            Some(path) => {
                let file = create(path)?;
                written.extend(inode(file.metadata()));
                streams.push(Box::new(Jsonl::new(Box::new(BufWriter::new(file)))));
            }
        }
        if args.format == Format::Jsonl {
            streams.push(Box::new(Jsonl::new(Box::new(io::stdout()))));
        }
        if let Some(path) = &args.trace {
            let (trace, file) = trace(path)?;
            if file
                .is_some_and(|file| printed().chain(written.iter().copied()).any(|it| it == file))
            {
                let text =
                    format!("`{}` can't hold the trace beside something else", path.display());
                return Err(Failure::new(Exit::Usage, text));
            }
            written.extend(file);
            streams.push(Box::new(trace));
        }
        Ok(Self(Arc::new(Mutex::new(Numbered { streams, seq: 0, files: written }))))
    }

    /// The files that this program itself writes: those of `--events` and `--trace`, and what it prints to.
    pub fn files(&self) -> Vec<Inode> {
        printed().chain(self.lock().files.iter().copied()).collect()
    }

    /// Says something that is of no run.
    pub fn say(&mut self, at_ms: f64, event: Event) {
        self.record(&Record { seq: 0, at_ms, event });
        self.told();
    }

    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Streams {
    fn record(&mut self, record: &Record) {
        let mut numbered = self.lock();
        let Numbered { streams, seq, .. } = &mut *numbered;
        if streams.is_empty() {
            return;
        }
        *seq += 1;
        let other = (record.seq != *seq).then(|| Record { seq: *seq, ..record.clone() });
        for stream in streams {
            stream.record(other.as_ref().unwrap_or(record));
        }
    }

    fn told(&mut self) {
        self.lock().streams.iter_mut().for_each(|stream| stream.told());
    }

    /// Where nothing is written, nobody has to see anything.
    fn stood(&mut self, _count: u64) -> bool {
        self.lock().streams.is_empty()
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut numbered = self.lock();
        // Each is ended, whatever became of the one before.
        let ended: Vec<_> = numbered.streams.iter_mut().map(|stream| stream.finish()).collect();
        ended.into_iter().collect()
    }
}

/// A problem of a flow file as events tell it.
pub fn diagnostic(problem: &Problem) -> Diagnostic {
    let severity = match problem.severity {
        Bad::Error => Severity::Error,
        Bad::Warning => Severity::Warning,
    };
    let text = match &problem.help {
        Some(help) => format!("{}; {help}", problem.message),
        None => problem.message.clone(),
    };
    let mut diagnostic = Diagnostic::new(severity, text);
    diagnostic.code = Some(problem.code.as_str().to_owned());
    if let Some(label) = problem.labels.first() {
        let (start, end) = (label.start(), label.end());
        diagnostic.file = Some(label.file().to_owned());
        (diagnostic.line, diagnostic.col) = (Some(start.line), Some(start.column));
        (diagnostic.end_line, diagnostic.end_col) = (Some(end.line), Some(end.column));
    }
    diagnostic
}
