//! Values on their way from one language to another: taken as outputs, given as inputs, each in the encoding of its type.

use std::fs::File;

use polyloom_model::{PortName, Type};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::Severity;
use polyloom_report::escape_line;
use polyloom_store::Store;
use polyloom_worker::attempt::{Collected, Content, InputFile, Output, Report};
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

/// Why a value can't be had, in the words of the language that has it or not; nothing where something else is wrong.
pub fn refused(values: &[Carried], lang: &str, report: &Report) -> Option<Failure> {
    let mut told = report.meta.diagnostics.iter().filter(|it| it.severity == Severity::Error);
    let known = [Outcome::OutputMissing, Outcome::Failed].contains(&report.meta.outcome);
    let error = told.next().filter(|_| known)?;
    let of = |value: &Carried| {
        let rest = error.message.strip_prefix(&format!("output `{}`", value.name))?;
        Some((value.clone(), rest.trim_start_matches([':', ' ']).to_owned()))
    };
    let (value, why) = values.iter().find_map(of)?;
    let name = escape_line(&value.name);
    let text = format!("`{name}` can't be had from `{lang}`: {}", escape_line(&why));
    let failure = Failure::new(Exit::Failed, text);
    let found = |words: &[&str]| words.iter().any(|word| why.contains(word));
    // What a value is called in the languages that there are.
    let ty = match () {
        () if value.ty != Type::Any || !why.contains("found") => return Some(failure),
        () if found(&["DataFrame", "Table", "RecordBatch"]) => "table",
        () if found(&["ndarray", "Array"]) => "tensor<any>",
        () => return Some(failure.hint(format!("say what it is: `{name}:TYPE`"))),
    };
    Some(failure.hint(format!("say what it is: `{name}:{ty}`")))
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
        Collected::Tree { .. } => {
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
