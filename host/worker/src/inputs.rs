//! How inputs become files in `/cell/in` and variables in the environment (protocol/SPEC.md, «Files of a cell»).

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::{Type, Value};
use polyloom_protocol::messages::host::{Encoding, Input};
use polyloom_sandbox::{Bind, File, HotBind, View};
use serde_bytes::ByteBuf;

use crate::attempt::{Content, InputFile};

/// A longer text does not fit one environment variable (the kernel's MAX_ARG_STRLEN is 128 KiB); the variable then names a file.
const LONGEST_VARIABLE: usize = 96 << 10;
/// The most bytes of a value that is given in a message, and of all of one message.
const MOST_TOLD: usize = 4 << 10;
const MOST_TOLD_TOGETHER: usize = 32 << 10;

/// The files, binds and variables of a cell's inputs.
#[derive(Debug, Default)]
pub struct Laid {
    /// Files the supervisor writes.
    pub files: Vec<File>,
    /// Files and directories of the store.
    pub binds: Vec<Bind>,
    /// Files of cells that have ended.
    pub hot: Vec<HotBind>,
    /// `$PORT`, where there are twins.
    pub env: Vec<(String, OsString)>,
    /// The inputs of an Exec message.
    pub exec: Vec<(String, Input)>,
}

impl Laid {
    /// Whether no file is laid.
    pub fn is_nothing(&self) -> bool {
        self.files.is_empty() && self.binds.is_empty() && self.hot.is_empty()
    }

    /// How many bytes of values the message has.
    pub fn told(&self) -> usize {
        self.exec.iter().filter_map(|(_, input)| input.value.as_ref()).map(|it| it.len()).sum()
    }
}

/// The text twin of a value: its text and its extension.
fn twin(value: &Value, ty: &Type) -> (Vec<u8>, &'static str) {
    match (value, ty) {
        (Value::Bytes(bytes), _) => (bytes.clone(), ".bin"),
        (_, Type::Any | Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Vec2) => {
            (value.to_json().into_bytes(), ".json")
        }
        _ => match value.to_text() {
            Some(text) => (text.into_bytes(), ".txt"),
            None => (value.to_json().into_bytes(), ".json"),
        },
    }
}

/// The text twin of an input, which is also what stdin gives of it.
pub fn text_of(input: &InputFile) -> Option<Vec<u8>> {
    match &input.content {
        Content::Value(bytes) => {
            let value = Value::from_msgpack(bytes).ok()?;
            Some(twin(&value, &input.ty).0)
        }
        Content::File(_) | Content::Hot(_) | Content::Dir(_) => None,
    }
}

/// Lays out `inputs`. `twins`: also the text forms and variables that plain programs read. What is told to the cell is spelled by `view`.
pub fn lay<'i>(inputs: impl IntoIterator<Item = &'i InputFile>, twins: bool, view: &View) -> Laid {
    let mut laid = Laid::default();
    for input in inputs {
        let port = input.port.as_str();
        let (path, encoding) = match &input.content {
            Content::Value(bytes) => {
                let path = format!("/cell/in/{port}.msgpack");
                laid.files.push(file(&path, bytes.to_vec()));
                if twins {
                    lay_twin(&mut laid, input, bytes, view);
                }
                (path, Encoding::Msgpack)
            }
            Content::File(source) => {
                let path = format!("/cell/in/{port}{}", input.extension);
                laid.binds.push(Bind { source: source.clone(), target: PathBuf::from(&path) });
                (path, encoding_of(&input.ty))
            }
            Content::Hot(file) => {
                let path = format!("/cell/in/{port}{}", input.extension);
                laid.hot.push(HotBind { file: Arc::clone(file), target: PathBuf::from(&path) });
                (path, encoding_of(&input.ty))
            }
            Content::Dir(source) => {
                let path = format!("/cell/in/{port}");
                laid.binds.push(Bind { source: source.clone(), target: PathBuf::from(&path) });
                (path, Encoding::Dir)
            }
        };
        let path = view.path(&path);
        if twins && !matches!(input.content, Content::Value(_)) {
            laid.env.push((port.to_owned(), OsString::from(&path)));
        }
        laid.exec.push((port.to_owned(), message(input, path, encoding)));
    }
    laid
}

/// The same for a worker that takes values in messages: nothing is laid for small ones.
pub fn lay_few(inputs: &[InputFile], view: &View) -> Laid {
    let mut room = MOST_TOLD_TOGETHER;
    let (mut told, mut others) = (Vec::new(), Vec::new());
    for input in inputs {
        match value_of(input).filter(|bytes| bytes.len() <= MOST_TOLD.min(room)) {
            Some(bytes) => {
                room -= bytes.len();
                let path = view.path(&format!("/cell/in/{}.msgpack", input.port));
                let message = message(input, path, Encoding::Msgpack);
                let value = Some(ByteBuf::from(bytes));
                told.push((input.port.to_string(), Input { value, ..message }));
            }
            None => others.push(input),
        }
    }
    let mut laid = lay(others, false, view);
    laid.exec.extend(told);
    laid
}

/// The bytes of a value.
fn value_of(input: &InputFile) -> Option<&[u8]> {
    match &input.content {
        Content::Value(bytes) => Some(bytes),
        Content::File(_) | Content::Hot(_) | Content::Dir(_) => None,
    }
}

fn message(input: &InputFile, path: String, encoding: Encoding) -> Input {
    let (r#type, media) = (input.ty.to_string(), input.media.clone());
    Input { r#type, path, encoding, media, value: None }
}

fn encoding_of(ty: &Type) -> Encoding {
    match ty {
        Type::Tensor(..) => Encoding::Npy,
        Type::Table => Encoding::Arrow,
        _ => Encoding::Raw,
    }
}

fn lay_twin(laid: &mut Laid, input: &InputFile, bytes: &[u8], view: &View) {
    let port = input.port.as_str();
    // What the store holds was checked when it was put there; a value that can't be read has no twin.
    let Ok(value) = Value::from_msgpack(bytes) else { return };
    let (text, extension) = twin(&value, &input.ty);
    let path = format!("/cell/in/{port}{extension}");
    let variable = match String::from_utf8(text.clone()) {
        Ok(text)
            if extension != ".bin" && text.len() <= LONGEST_VARIABLE && !text.contains('\0') =>
        {
            text
        }
        _ => view.path(&path),
    };
    laid.env.push((port.to_owned(), OsString::from(variable)));
    laid.files.push(file(&path, text));
}

/// A file only its writer, the supervisor, may change.
pub fn file(path: &str, bytes: Vec<u8>) -> File {
    File { path: PathBuf::from(path), bytes, mode: 0o644 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_in_the_message_as_long_as_it_has_room() {
        let input = |port: &str, size: usize| InputFile {
            port: port.parse().unwrap(),
            ty: Type::Str,
            content: Content::Value(vec![b'x'; size].into()),
            extension: String::new(),
            media: None,
        };
        let mut inputs = vec![input("large", MOST_TOLD + 1)];
        inputs.extend((0..9).map(|at| input(&format!("i{at}"), MOST_TOLD)));
        let laid = lay_few(&inputs, &View::default());
        assert_eq!(laid.told(), MOST_TOLD_TOGETHER);
        let files: Vec<_> = laid.files.iter().filter_map(|it| it.path.to_str()).collect();
        assert_eq!(files, ["/cell/in/large.msgpack", "/cell/in/i8.msgpack"]);
        assert_eq!(laid.exec.len(), inputs.len());
        assert!(lay_few(&inputs[1..], &View::default()).files.len() == 1);
        assert!(lay_few(&inputs[1..9], &View::default()).is_nothing());
    }
}
