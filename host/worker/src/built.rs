//! Whether what an executor brings along itself is there and is what its manifest says. Runs nothing, and knows no cell.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use polyloom_model::{ExecutorId, Kind, Manifest};
use thiserror::Error;

use crate::tools::executable;

/// So much of a file tells what it is.
const HEAD: u64 = 4 << 10;
/// How a shared library begins: <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>.
const ELF: &[u8] = b"\x7fELF";
/// How WebAssembly begins: <https://webassembly.github.io/spec/core/binary/modules.html>.
const WASM: &[u8] = b"\0asm";

/// A file of an executor's own that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{file}` of `{executor}` {fault}")]
pub struct NotBuilt {
    /// The executor.
    pub executor: ExecutorId,
    /// The file, by its path below the manifest's folder.
    pub file: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file of an executor's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is there, and nothing builds it as far as is known.
    Missing,
    /// Nothing is there before it is built; with what, where that is known.
    Unbuilt(Option<&'static str>),
    /// It is none of the files that `{sdk}` stands for.
    NotOfSdk,
    /// It may not be executed.
    NotExecutable(String),
    /// It is a pipe, a socket or a device: whoever opens it may wait for ever. Or it is a folder in the place of a file.
    NotRegular,
    /// It is something else than this.
    Not(&'static str),
    /// The system's word.
    Unreadable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbuilt(Some(with)) => write!(f, "is not there: build it first (`{with}`)"),
            Self::Unbuilt(None) => f.write_str("is not there: build it first"),
            Self::Missing => f.write_str("is not there"),
            Self::NotOfSdk => f.write_str("is not in the SDK of this polyloom"),
            Self::NotExecutable(file) => write!(f, "is not executable: `chmod +x {file}`"),
            Self::NotRegular => f.write_str("is no regular file"),
            Self::Not(what) => write!(f, "is no {what}"),
            Self::Unreadable(why) => write!(f, "can't be read: {why}"),
        }
    }
}

/// Looks at the library, the component, the programs (`{dir}/NAME`) that a manifest starts and the files that it names to them. One without a folder
/// brings none. `sdk` says whether a path is in the SDK.
pub fn check(manifest: &Manifest, sdk: &dyn Fn(&str) -> bool) -> Result<(), NotBuilt> {
    let Some(folder) = manifest.path.as_deref().and_then(Path::parent) else { return Ok(()) };
    let of = |file: &str, found: Result<(), Fault>| {
        let executor = manifest.id.clone();
        found.map_err(|fault| NotBuilt { executor, file: file.to_owned(), fault })
    };
    let argvs: Vec<&[String]> = match &manifest.kind {
        Kind::Worker(worker) => {
            if let Some(library) = &worker.library {
                let is = |head: &[u8]| head.starts_with(ELF);
                of(library, content(folder, library, "shared library", is))?;
            }
            vec![&worker.argv]
        }
        Kind::Command(command) => {
            if let Some(component) = &command.component {
                of(component, content(folder, component, "WebAssembly", is_wasm))?;
            }
            let others = command.compile.iter().chain(&command.ahead);
            others.map(Vec::as_slice).chain([command.run.as_slice()]).collect()
        }
    };
    for argv in argvs.into_iter().chain(manifest.normalise.as_deref()) {
        for (at, item) in argv.iter().enumerate() {
            // What it matches or is put together of is the program's matter.
            let plain = |file: &&str| !file.contains(['{', '*', '?']);
            if let Some(file) = item.strip_prefix("{dir}/").filter(plain) {
                if at == 0 {
                    of(file, program(folder, file))?;
                } else {
                    let there = names(file).find(|file| folder.join(file).exists());
                    let file = there.or(names(file).last()).unwrap_or(file);
                    of(file, argument(folder, file))?;
                }
            }
            if let Some(file) = item.strip_prefix("{sdk}/").filter(plain) {
                let there = names(file).any(sdk);
                of(item, if there { Ok(()) } else { Err(Fault::NotOfSdk) })?;
            }
        }
    }
    Ok(())
}

/// As binary, or as text: that begins with a bracket or a comment.
fn is_wasm(head: &[u8]) -> bool {
    head.starts_with(WASM)
        || head.trim_ascii_start().starts_with(b"(")
        || head.trim_ascii_start().starts_with(b";;")
}

fn content(
    folder: &Path,
    file: &str,
    what: &'static str,
    is: impl Fn(&[u8]) -> bool,
) -> Result<(), Fault> {
    let mut head = Vec::new();
    if fs::metadata(folder.join(file)).is_ok_and(|meta| !meta.is_file()) {
        return Err(Fault::NotRegular);
    }
    // It may come from anybody: no pipe is waited for.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(folder.join(file));
    let read = opened.and_then(|opened| match opened.metadata()?.is_file() {
        true => opened.take(HEAD).read_to_end(&mut head),
        false => Err(io::Error::other("it is no regular file")),
    });
    match read {
        Ok(_) if is(&head) => Ok(()),
        Ok(_) => Err(Fault::Not(what)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Fault::Unbuilt(builder(folder)))
        }
        Err(error) => Err(Fault::Unreadable(error.to_string())),
    }
}

fn program(folder: &Path, file: &str) -> Result<(), Fault> {
    let path = folder.join(file);
    if executable(&path) {
        return Ok(());
    }
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() => Err(Fault::NotExecutable(file.to_owned())),
        Ok(_) => Err(Fault::NotRegular),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(match builder(folder) {
            Some(with) => Fault::Unbuilt(Some(with)),
            None => Fault::Missing,
        }),
        Err(error) => Err(Fault::Unreadable(error.to_string())),
    }
}

/// The file that an argument names, which may name something in that file: `FILE:OBJECT`.
fn names(argument: &str) -> impl Iterator<Item = &str> {
    std::iter::once(argument).chain(argument.rsplit_once(':').map(|(file, _)| file))
}

/// What a program is to read may be a file or a folder.
fn argument(folder: &Path, file: &str) -> Result<(), Fault> {
    match fs::metadata(folder.join(file)) {
        Ok(meta) if !meta.is_file() && !meta.is_dir() => Err(Fault::NotRegular),
        Ok(_) => Ok(()),
        Err(_) => Err(builder(folder).map_or(Fault::Missing, |with| Fault::Unbuilt(Some(with)))),
    }
}

/// What builds what is in a folder: the plugin may be a part of what is built in the one above.
fn builder(folder: &Path) -> Option<&'static str> {
    let known = [("Makefile", "make"), ("Cargo.toml", "cargo build --release")];
    let above = folder.parent();
    let folders = || std::iter::once(folder).chain(above);
    let found = known.iter().find(|(file, _)| folders().any(|folder| folder.join(file).is_file()));
    found.map(|(_, with)| *with)
}

#[cfg(test)]
mod tests {
    use super::is_wasm;

    #[test]
    fn a_component_is_binary_or_text() {
        for good in [&b"\0asm\x0d\0\x01\0"[..], b"(component)", b"\n  ;; a comment\n(module)"] {
            assert!(is_wasm(good), "{good:?}");
        }
        for bad in [&b""[..], b"\x7fELF", b"fn main() {}", b"not wasm"] {
            assert!(!is_wasm(bad), "{bad:?}");
        }
    }
}
