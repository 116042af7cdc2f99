//! The worker's side of the conversation, from greeting to goodbye. It knows no language.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::Path;

use polyloom_protocol::handshake::VERSION;
use polyloom_protocol::messages::ErrorMessage;
use polyloom_protocol::messages::host::{Call, Complete, Forget, Load, Restore, Save, Snapshot};
use polyloom_protocol::messages::worker::{Completions, Done, Hello, Pong, Saved, Started};
use polyloom_protocol::{Diagnostic, FromHost, FromWorker, Value, Violation};

use crate::connection::{Connection, ServeError};
use crate::inherit::take_stream;
use crate::{Context, Exec, Failure, feature};

/// Who an executor is and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Executor id, as in its manifest.
    pub executor: String,
    /// Its own version.
    pub version: String,
    /// Features it offers, see [`feature`].
    pub features: Vec<String>,
    /// The language runtime and its version.
    pub runtime: String,
}

impl About {
    /// An executor with what every [`Context`] can do: `progress` and `display`.
    #[must_use]
    pub fn new(executor: &str, version: &str) -> Self {
        Self {
            executor: executor.to_owned(),
            version: version.to_owned(),
            features: [feature::PROGRESS, feature::DISPLAY].map(str::to_owned).into(),
            runtime: String::new(),
        }
    }
}

/// A language, or whatever else runs cells.
pub trait Executor {
    /// Who it is. Asked once.
    fn describe(&self) -> About;

    /// Runs one cell. Declared outputs that are not written make the cell fail.
    ///
    /// # Errors
    /// The failure of the cell's code; the executor itself goes on.
    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure>;

    /// Forgets what earlier cells left. Only asked with the feature `session`.
    fn reset(&mut self) {}

    /// Compiles or imports ahead of a cell. Only asked with the feature `prepare`.
    fn prepare(&mut self, code: &str) {
        let _ = code;
    }

    /// Keeps what cells left, under a name; what was kept under it before is gone. Only asked with the feature `snapshot`.
    ///
    /// # Errors
    /// Why that can't be done; the host is told if the feature `kept` was agreed.
    fn snapshot(&mut self, name: &str) -> Result<(), Failure> {
        let _ = name;
        Err(Failure::new("this executor keeps no snapshots"))
    }

    /// Goes back to what was kept. Only asked with the feature `snapshot`.
    ///
    /// # Errors
    /// Why that can't be done, such as a name that is not known; what cells left is as it was then.
    fn restore(&mut self, name: &str) -> Result<(), Failure> {
        let _ = name;
        Err(Failure::new("this executor keeps no snapshots"))
    }

    /// Drops what was kept. Only asked with the feature `snapshot`.
    ///
    /// # Errors
    /// Why that can't be done. A name that is not known is no error.
    fn forget(&mut self, name: &str) -> Result<(), Failure> {
        let _ = name;
        Ok(())
    }

    /// What may follow in code that somebody types at a prompt, of which all is given, at a character of it. Asked between cells, only with the
    /// feature `complete`: nothing of the code is to be run for it.
    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        let (_, at) = (code, u32::try_from(cursor).unwrap_or(u32::MAX));
        Completions { start: at, end: at, ..Completions::default() }
    }

    /// Writes what cells left into an empty folder, in a form of its own, and says what of it could be written and why the rest could not. Only asked
    /// with the feature `durable`.
    ///
    /// # Errors
    /// Why nothing can be; the host is told, and the executor ends.
    fn save(&mut self, out: &Path) -> Result<Saved, Failure> {
        let _ = out;
        Ok(Saved::default())
    }

    /// Takes over what [`Executor::save`] wrote, and says what of it is there now. What is in the folder may be anybody's. Only asked with the feature
    /// `durable`.
    ///
    /// # Errors
    /// Why nothing can be; the host is told, and the executor ends.
    fn load(&mut self, path: &Path) -> Result<Saved, Failure> {
        let _ = path;
        Ok(Saved::default())
    }

    /// Runs a cell that is one call of a function of its [`Executor::catalog`]: the inputs are arguments, what it gives the outputs. A param that the cell
    /// leaves out is no input. Only asked with the feature `call`.
    ///
    /// # Errors
    /// Why the call fails; the executor itself goes on.
    fn call(&mut self, cx: &mut Context<'_>, exec: &Exec, call: &Call) -> Result<(), Failure> {
        let _ = (cx, exec);
        Err(Failure::new(format!("there is no function `{}` in `{}`", call.object, call.module)))
    }

    /// What it offers by name, such as [`crate::Function`]s that cells can be calls of. Only asked with the feature `catalog`.
    ///
    /// # Errors
    /// Why that can't be said; the host is told, and the executor ends.
    fn catalog(&mut self) -> Result<Vec<BTreeMap<String, Value>>, Failure> {
        Ok(Vec::new())
    }
}

/// Serves the host that started this program until it says goodbye. Call it first in `main`.
///
/// # Errors
/// [`ServeError`]; print it and exit with a status other than 0.
pub fn serve(executor: impl Executor) -> Result<(), ServeError> {
    serve_on(take_stream()?, executor)
}

/// Serves a host on a socket, as [`serve`] does and tests may.
///
/// # Errors
/// [`ServeError`].
pub fn serve_on(stream: UnixStream, mut executor: impl Executor) -> Result<(), ServeError> {
    let mut connection = Connection::open(stream)?;
    let result = converse(&mut connection, &mut executor);
    let told = match &result {
        Err(ServeError::Violation(violation)) => Some((violation.name(), violation.to_string())),
        Err(error @ ServeError::Catalog(_)) => Some(("catalog", short(error.to_string()))),
        Err(error @ ServeError::Durable(_)) => Some(("durable", short(error.to_string()))),
        Ok(()) | Err(_) => None,
    };
    if let Some((code, text)) = told {
        let error = ErrorMessage { code: code.to_owned(), text };
        // The host may be gone already; what went wrong is what matters.
        let _ = connection.send(0, &FromWorker::Error(error));
    }
    result
}

/// As much of a text as a message has room for.
fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(32 << 10));
    text
}

fn converse(connection: &mut Connection, executor: &mut impl Executor) -> Result<(), ServeError> {
    let about = executor.describe();
    let hello = Hello {
        executor: about.executor,
        version: about.version,
        protocol: vec![VERSION],
        features: about.features,
        runtime: about.runtime,
    };
    connection.send(0, &FromWorker::Hello(hello))?;
    let wrong = |message: &FromHost, state| {
        Err(Violation::WrongState { message: message.name(), state }.into())
    };
    match connection.next()? {
        Some((_, FromHost::HelloOk(ok))) => connection.agree(ok.features),
        Some((_, FromHost::HelloNo(no))) => return Err(ServeError::Refused(no.reason)),
        Some((_, message)) => return wrong(&message, "hello"),
        None => return Ok(()),
    }
    while let Some((id, message)) = connection.next()? {
        match message {
            FromHost::Exec(exec) => run(connection, executor, id, &exec)?,
            FromHost::Shutdown(_) => return Ok(()),
            FromHost::Ping(ping) => {
                connection.send(0, &FromWorker::Pong(Pong { n: ping.n }))?;
            }
            FromHost::Describe(_) => {
                let entries = executor.catalog().map_err(ServeError::Catalog)?;
                connection.send_catalog(entries)?;
            }
            FromHost::Reset(_) => executor.reset(),
            FromHost::Prepare(prepare) => executor.prepare(&prepare.code),
            FromHost::Snapshot(Snapshot { name }) => {
                let result = executor.snapshot(&name);
                connection.send_kept(name, result)?;
            }
            FromHost::Restore(Restore { name }) => {
                let result = executor.restore(&name);
                connection.send_kept(name, result)?;
            }
            FromHost::Forget(Forget { name }) => {
                let result = executor.forget(&name);
                connection.send_kept(name, result)?;
            }
            FromHost::Error(error) => {
                return Err(ServeError::Reported { code: error.code, text: error.text });
            }
            FromHost::Complete(Complete { code, cursor }) => {
                let found = executor.complete(&code, cursor as usize);
                connection.send(0, &FromWorker::Completions(found))?;
            }
            FromHost::Save(Save { out }) => {
                let saved = executor.save(Path::new(&out)).map_err(ServeError::Durable)?;
                connection.send(0, &FromWorker::Saved(saved))?;
            }
            FromHost::Load(Load { path }) => {
                let loaded = executor.load(Path::new(&path)).map_err(ServeError::Durable)?;
                connection.send(0, &FromWorker::Saved(loaded))?;
            }
            // Late ones for a finished exec, and kinds of later versions.
            FromHost::Credit(_) | FromHost::Cancel(_) | FromHost::Unknown { .. } => {}
            FromHost::HelloOk(_) | FromHost::HelloNo(_) => return wrong(&message, "idle"),
        }
    }
    Ok(())
}

fn run(
    connection: &mut Connection,
    executor: &mut impl Executor,
    id: u64,
    exec: &Exec,
) -> Result<(), ServeError> {
    connection.begin(id);
    connection.send(id, &FromWorker::Started(Started {}))?;
    let mut cx = Context::new(connection, exec);
    let result = match &exec.call {
        Some(call) => executor.call(&mut cx, exec, call),
        None => executor.exec(&mut cx, exec),
    };
    if let Err(failure) = &result {
        // Standard error is the cell's own; whoever runs the cell reads the failure there too.
        eprintln!("error: {failure}");
        let mut diagnostic: Diagnostic = failure.diagnostic().clone();
        diagnostic.message = short(diagnostic.message);
        if !failure.is_own() {
            diagnostic.file.get_or_insert_with(|| exec.code.clone());
        }
        cx.diagnostic(&diagnostic);
    }
    let Context { lost, session_changed, extras, .. } = cx;
    connection.end();
    if let Some(lost) = lost {
        return Err(lost);
    }
    let done = Done { ok: result.is_ok(), session_changed, extras, ..Done::default() };
    connection.send(id, &FromWorker::Done(done))
}
