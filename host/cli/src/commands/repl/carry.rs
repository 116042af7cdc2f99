//! Values on their way from one language to another: taken as outputs, given as inputs, each in the encoding of its type.

use std::fs::File;

use polyloom_model::{PortName, Type};
use polyloom_report::escape_line;
use polyloom_store::Store;
use polyloom_worker::attempt::{Collected, Content, InputFile, Output};
use polyloom_worker::extension_of;

use super::word::Carried;
use crate::failure::{Exit, Failure};

/// The port of a value.
pub fn port(of: &Carried) -> Result<(PortName, Type), Failure> {
    let name = of.name.parse().map_err(|error| {
        let error: polyloom_model::NameError = error;
        Failure::of(Exit::Usage, &error)
    })?;
    Ok((name, of.ty.clone()))
}

/// What was an output, as an input. What is no value goes through the store.
pub fn input(store: &Store, port: PortName, output: Output) -> Result<InputFile, Failure> {
    let Output { ty, content, media, mut extension, .. } = output;
    let content = match content {
        Collected::Bytes(bytes) => Content::Value(bytes.into()),
        Collected::File { fd, size, .. } => {
            let broken = |error: &dyn std::error::Error| Failure::of(Exit::Environment, error);
            let (digest, _) = store.put_file(&File::from(fd), size).map_err(|e| broken(&e))?;
            Content::File(store.path(&digest).map_err(|e| broken(&e))?)
        }
        Collected::Tree(_) => {
            let text =
                format!("`{}` is a folder, which can't be carried", escape_line(port.as_str()));
            return Err(Failure::new(Exit::Usage, text));
        }
    };
    if matches!(content, Content::File(_)) && extension.is_empty() {
        extension = extension_of(&media).to_owned();
    }
    Ok(InputFile { port, ty, content, extension, media: Some(media) })
}
