//! The file that a session's state is saved in: what it is and what is in it, and the files of its worker as they are. What is read may be anybody's; nothing of it
//! is believed but its form.
//!
//! The line `polyloom session 1`, a line of JSON, and the contents one after the other.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path};
use std::sync::Arc;

use polyloom_worker::session::{DEPTH, MOST_FILES, StateFile};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::whole::{self, Readers};

const FIRST: &[u8] = b"polyloom session 1\n";
/// How the first line of every version begins.
const ANY: &[u8] = b"polyloom session ";
/// The longest second line.
const LONGEST: u64 = 4 << 20;

/// What a state is, by the word of whoever wrote the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its executor, and the version of that.
    pub executor: String,
    /// The version.
    pub version: String,
    /// The programs that its worker was made of.
    pub environment: String,
    /// The key of the last cell that had run; none where it was no cells' state.
    pub key: Option<String>,
    /// The names that are in it.
    pub saved: Vec<String>,
    /// Those that are not, and why.
    pub unsaved: Vec<(String, String)>,
    /// Files of the worker's: path and size.
    pub files: Vec<(String, u64)>,
}

/// Why a file can't be loaded.
#[derive(Debug, Error)]
pub enum Unread {
    /// It can't be read at all.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is a folder, or something that is no file.
    #[error("it is no file")]
    NoFile,
    /// It is a file, but of something else.
    #[error("it is no saved session")]
    NoState,
    /// It is one of another version of this form.
    #[error("it is a saved session of another version of polyloom, `{0}`")]
    Version(String),
    /// It begins like one.
    #[error("it is no whole saved session: {0}")]
    Broken(String),
}

impl Unread {
    fn broken(why: impl Into<String>) -> Self {
        Self::Broken(why.into())
    }
}

/// The folder that a file is to be written into.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file that is there as a whole or not at all.
pub fn write(path: &Path, head: &Head, files: Vec<StateFile>) -> io::Result<()> {
    let fill = |part: &mut BufWriter<File>| {
        part.write_all(FIRST)?;
        part.write_all(serde_json::to_string(head)?.as_bytes())?;
        part.write_all(b"\n")?;
        for mut file in files {
            if io::copy(&mut file.content, part)? != file.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    };
    // What a session knows is its owner's.
    whole::write(path, Readers::Owner, fill, |error| error)
}

/// Reads one.
pub fn read(path: &Path) -> Result<(Head, Vec<StateFile>), Unread> {
    // A FIFO is not waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Unread::NoFile);
    }
    let file = File::open(path)?;
    let size = file.metadata()?.size();
    let mut reader = BufReader::new(&file);
    let mut first = Vec::new();
    reader.by_ref().take(FIRST.len() as u64).read_until(b'\n', &mut first)?;
    if first != FIRST {
        return Err(match first.strip_prefix(ANY) {
            Some(_) => Unread::Version(String::from_utf8_lossy(&first).trim_end().to_owned()),
            None => Unread::NoState,
        });
    }
    let mut line = Vec::new();
    reader.take(LONGEST).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(Unread::broken("its second line does not end"));
    }
    let head: Head = serde_json::from_slice(&line)
        .map_err(|error| Unread::broken(format!("its second line: {error}")))?;
    let mut at = (first.len() + line.len()) as u64;
    let mut names = HashSet::new();
    if head.files.len() > MOST_FILES {
        return Err(Unread::broken(format!("it has more than {MOST_FILES} files")));
    }
    let mut spans = Vec::new();
    for (name, length) in &head.files {
        if !is_plain(name) || !names.insert(name) {
            let why = format!("`{name}` can't be the name of one of its files");
            return Err(Unread::Broken(why));
        }
        spans.push((name.clone(), at, *length));
        let end = at.checked_add(*length).filter(|end| *end <= size);
        at = end.ok_or_else(|| Unread::broken("it is cut off"))?;
    }
    if at != size {
        return Err(Unread::broken("something follows its last file"));
    }
    let file = Arc::new(file);
    let files = spans.into_iter().map(|(path, at, size)| {
        let content = Part { file: Arc::clone(&file), at, left: size };
        StateFile { path, size, content: Box::new(content) }
    });
    Ok((head, files.collect()))
}

/// A part of a file, which somebody may cut off meanwhile.
struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Whether a name leads to one place below a folder, by one way.
fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    let parts = path.components().collect::<Vec<_>>();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    let spelled = parts.iter().map(|part| part.as_os_str().to_string_lossy());
    let short = name.split('/').all(|part| part.len() <= 255);
    let control = name.chars().any(char::is_control);
    plain
        && !parts.is_empty()
        && parts.len() <= DEPTH
        && short
        && !control
        && spelled.collect::<Vec<_>>().join("/") == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(files: &[(&str, u64)]) -> Head {
        Head {
            executor: "python".into(),
            version: "1".into(),
            environment: String::new(),
            key: None,
            saved: vec!["x".into()],
            unsaved: Vec::new(),
            files: files.iter().map(|(name, size)| ((*name).into(), *size)).collect(),
        }
    }

    fn bytes(head: &Head, contents: &str) -> Vec<u8> {
        let line = serde_json::to_string(head).unwrap();
        [FIRST, line.as_bytes(), b"\n", contents.as_bytes()].concat()
    }

    fn wrong(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, content).unwrap();
        read(&path).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, bytes(&head(&[("a", 3), ("d/b", 2)]), "onetw")).unwrap();
        let (read_head, files) = read(&path).unwrap();
        let again = folder.path().join("again");
        write(&again, &read_head, files).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&path).unwrap());
    }

    #[test]
    fn a_file_that_is_cut_off_meanwhile_is_not_taken_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, bytes(&head(&[("a", 3)]), "one")).unwrap();
        let (_, mut files) = read(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let error = io::copy(&mut files[0].content, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let short = bytes(&head(&[("a", 3)]), "on");
        let long = bytes(&head(&[("a", 3)]), "ones");
        let huge = bytes(&head(&[("a", u64::MAX), ("b", 2)]), "");
        for (content, said) in [
            (&b""[..], "no saved session"),
            (b"#!/usr/bin/env python3\n", "no saved session"),
            (b"polyloom session 2\n{}\n", "another version of polyloom, `polyloom session 2`"),
            (b"polyloom session 1\n{\"executor\"", "does not end"),
            (b"polyloom session 1\n{}\n", "missing field"),
            (&short, "cut off"),
            (&long, "follows"),
            (&huge, "cut off"),
        ] {
            let why = wrong(content);
            assert!(why.contains(said), "{said}: {why}");
        }
        for name in ["/a", "../a", "a/../b", "", ".", "a//b", "a/", "./a", "a\nb"] {
            let why = wrong(&bytes(&head(&[(name, 0)]), ""));
            assert!(why.contains("can't be the name"), "{name}: {why}");
        }
        assert!(wrong(&bytes(&head(&[("a", 0), ("a", 0)]), "")).contains("can't be the name"));
    }
}
