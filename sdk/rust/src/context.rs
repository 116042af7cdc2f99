//! What a cell's run offers to its executor: talk to the host, read inputs, write outputs. It knows no frame.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use polyloom_protocol::messages::worker::{
    Artifact, Display, Log, LogLevel, MAX_DISPLAY_DATA, Progress,
};
use polyloom_protocol::npy::{Dtype, header};
use polyloom_protocol::{Diagnostic, FromWorker, Value};

use crate::connection::{Connection, ServeError};
use crate::{Encoding, Exec, Failure, Input, feature};

/// Longest text of one log frame in bytes; longer ones become several.
const LOG_PIECE: usize = 32 << 10;

/// A tensor as a file: little-endian elements in C order behind their header. Nothing where `data` does not have the length that `shape` demands.
#[must_use]
pub fn tensor_file(dtype: Dtype, shape: &[u64], data: &[u8]) -> Option<Vec<u8>> {
    let elements = shape.iter().try_fold(1u64, |all, length| all.checked_mul(*length))?;
    let wanted = elements.checked_mul(dtype.size() as u64)?;
    (wanted == data.len() as u64).then(|| {
        let mut bytes = header(dtype, shape);
        bytes.extend_from_slice(data);
        bytes
    })
}

/// The run of one cell.
///
/// Talking never fails from the executor's point of view: when the host is gone, what is said is
/// dropped and [`crate::serve`] ends after the exec.
pub struct Context<'a> {
    connection: &'a mut Connection,
    exec: &'a Exec,
    pub(crate) lost: Option<ServeError>,
    pub(crate) session_changed: bool,
    pub(crate) extras: BTreeMap<String, Value>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(connection: &'a mut Connection, exec: &'a Exec) -> Self {
        let extras = BTreeMap::new();
        Self { connection, exec, lost: None, session_changed: false, extras }
    }

    /// Sends lines for the log. May wait until the host has taken in earlier ones.
    pub fn log(&mut self, level: LogLevel, text: &str) {
        let mut rest = text;
        loop {
            let (piece, tail) = rest.split_at(rest.floor_char_boundary(LOG_PIECE));
            self.say(&FromWorker::Log(Log { level: level.clone(), text: piece.to_owned() }));
            rest = tail;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Says how far the cell is: a fraction between 0 and 1, if known, and a few words. Dropped where the host did not agree to `progress`.
    pub fn progress(&mut self, fraction: Option<f64>, text: &str) {
        if !self.connection.has(feature::PROGRESS) {
            return;
        }
        let fraction = fraction.filter(|fraction| fraction.is_finite());
        let text = text[..text.floor_char_boundary(LOG_PIECE)].to_owned();
        self.say(&FromWorker::Progress(Progress { fraction, text }));
    }

    /// Shows something while the cell runs. Dropped where the host did not agree to `display`.
    ///
    /// # Errors
    /// When `data` is over 48 KiB; write it as an output instead.
    pub fn display(&mut self, media: &str, data: &[u8]) -> Result<(), Failure> {
        if data.len() > MAX_DISPLAY_DATA {
            let message = format!("display of {} bytes is over {MAX_DISPLAY_DATA}", data.len());
            return Err(Failure::new(message));
        }
        if !self.connection.has(feature::DISPLAY) {
            return Ok(());
        }
        self.say(&FromWorker::Display(Display { media: media.to_owned(), data: data.to_vec() }));
        Ok(())
    }

    /// Reports a message about a place in the code.
    pub fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        self.say(&FromWorker::Diagnostic(diagnostic.clone()));
    }

    /// Whether the host wants the cell to stop. Ask between pieces of work; offer the feature
    /// `cancel.soft` when you do.
    pub fn cancelled(&mut self) -> bool {
        match self.connection.cancelled() {
            Ok(cancelled) => cancelled,
            Err(error) => {
                self.lost.get_or_insert(error);
                true
            }
        }
    }

    /// Says that session state changed.
    pub fn session_changed(&mut self) {
        self.session_changed = true;
    }

    /// Adds a result of the executor's own, shown with the attempt.
    pub fn extra(&mut self, name: &str, value: Value) {
        self.extras.insert(name.to_owned(), value);
    }

    /// The input of a port.
    ///
    /// # Errors
    /// When the cell has no such input.
    pub fn input(&self, port: &str) -> Result<&'a Input, Failure> {
        self.exec.inputs.get(port).ok_or_else(|| Failure::new(format!("no input `{port}`")))
    }

    /// Reads an input that is a value.
    ///
    /// # Errors
    /// When there is no such input, it cannot be read, or it is not a value.
    pub fn read_value(&self, port: &str) -> Result<Value, Failure> {
        let input = self.input(port)?;
        if input.encoding != Encoding::Msgpack {
            let message = format!("input `{port}` is encoded as `{}`, not a value", input.encoding);
            return Err(Failure::new(message));
        }
        Ok(Value::from_msgpack(&fs::read(&input.path)?)?)
    }

    /// Reads the bytes of an input's file, whatever they encode.
    ///
    /// # Errors
    /// When there is no such input or it cannot be read.
    pub fn read_bytes(&self, port: &str) -> Result<Vec<u8>, Failure> {
        Ok(fs::read(&self.input(port)?.path)?)
    }

    /// Reads an input as a program finds it in `$PORT`: the text of a number, a bool or a text; JSON of a list or a map; the bytes of bytes; the path of
    /// any other.
    ///
    /// # Errors
    /// When there is no such input or it cannot be read.
    pub fn read_text(&self, port: &str) -> Result<Vec<u8>, Failure> {
        let input = self.input(port)?;
        if input.encoding != Encoding::Msgpack {
            return Ok(input.path.clone().into_bytes());
        }
        let structured = ["any", "list", "map", "record", "vec2"];
        let structured = structured.iter().any(|name| input.r#type.starts_with(name));
        Ok(match Value::from_msgpack(&fs::read(&input.path)?)? {
            Value::Bytes(bytes) => bytes,
            value if structured => value.to_json().into_bytes(),
            value => value.to_text().unwrap_or_else(|| value.to_json()).into_bytes(),
        })
    }

    /// Writes an output that is a value.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_value(&mut self, port: &str, value: &Value) -> Result<(), Failure> {
        self.write_file(port, "msgpack", &value.to_msgpack())
    }

    /// Writes an output that is a tensor: little-endian elements in C order.
    ///
    /// # Errors
    /// When `data` does not have the length that `shape` demands, or it cannot be written.
    pub fn write_tensor(
        &mut self,
        port: &str,
        dtype: Dtype,
        shape: &[u64],
        data: &[u8],
    ) -> Result<(), Failure> {
        let Some(bytes) = tensor_file(dtype, shape, data) else {
            let message =
                format!("tensor `{port}` has {} bytes, which do not fit its shape", data.len());
            return Err(Failure::new(message));
        };
        self.write_file(port, "npy", &bytes)
    }

    /// Writes an output's file as it is; `extension` may be empty.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&mut self, port: &str, extension: &str, bytes: &[u8]) -> Result<(), Failure> {
        let name = match extension {
            "" => port.to_owned(),
            extension => format!("{port}.{extension}"),
        };
        // Names that begin with a dot do not count as outputs, so a crash leaves no half of one.
        let unfinished = self.out().join(format!(".{name}"));
        fs::write(&unfinished, bytes)?;
        fs::rename(&unfinished, self.out().join(name))?;
        Ok(())
    }

    /// Announces a result beyond the declared outputs: a file already written, relative to [`Context::out`].
    pub fn artifact(&mut self, name: &str, path: &Path, media: Option<&str>) {
        let artifact = Artifact {
            name: name.to_owned(),
            path: path.to_string_lossy().into_owned(),
            media: media.map(str::to_owned),
        };
        self.say(&FromWorker::Artifact(artifact));
    }

    /// The output folder.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        PathBuf::from(&self.exec.out)
    }

    fn say(&mut self, message: &FromWorker) {
        if self.lost.is_none() {
            self.lost = self.connection.send_in_exec(message).err();
        }
    }
}
