//! The file that a session's state is saved in: what it is and what is in it, and the files of its worker as they are. What is read may be anybody's; nothing of it
//! is believed but its form.
//!
//! The line `polyloom session 2` with the BLAKE3 digest of all that follows, a line of JSON, and the contents one after the other. Version 1 had no digest.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::sync::Arc;

use blake3::{Hash, Hasher};
use polyloom_worker::session::{DEPTH, MOST_FILES, Part, StateFile};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::whole::{self, Readers};

/// How the first line of every version begins.
const ANY: &str = "polyloom session ";
/// The longest first line.
const SHORT: u64 = 128;
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
    let line = serde_json::to_string(head)? + "\n";
    let mut sum = Hasher::new();
    sum.update(line.as_bytes());
    for file in &files {
        sum.update_reader(file.content.clone())?;
    }
    let fill = |part: &mut BufWriter<File>| {
        write!(part, "{ANY}2 {}\n{line}", sum.finalize())?;
        for mut file in files {
            io::copy(&mut file.content, part)?;
        }
        Ok(())
    };
    // What a session knows is its owner's.
    whole::write(path, Readers::Owner, fill, |error| error)
}

/// A file whose form is right. What is in it is read where it is.
#[derive(Debug)]
pub struct State {
    /// What it says of itself.
    pub head: Head,
    file: Arc<File>,
    /// Where all that has the digest begins, and its size.
    rest: (u64, u64),
    sum: Option<Hash>,
    /// Where its files' contents begin.
    at: u64,
}

impl State {
    /// Reads all but the contents.
    pub fn open(path: &Path) -> Result<Self, Unread> {
        // A FIFO is not waited for.
        if !std::fs::metadata(path)?.is_file() {
            return Err(Unread::NoFile);
        }
        let file = File::open(path)?;
        let size = file.metadata()?.size();
        let mut reader = BufReader::new(&file);
        let mut first = Vec::new();
        reader.by_ref().take(SHORT).read_until(b'\n', &mut first)?;
        let sum = version(&first)?;
        let mut line = Vec::new();
        reader.take(LONGEST).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(Unread::broken("its second line does not end"));
        }
        let head: Head = serde_json::from_slice(&line)
            .map_err(|error| Unread::broken(format!("its second line: {error}")))?;
        let start = first.len() as u64;
        let at = start + line.len() as u64;
        let length = length(&head)?;
        match at.checked_add(length) {
            Some(end) if end == size => {}
            Some(end) if end < size => {
                return Err(Unread::broken("something follows its last file"));
            }
            _ => return Err(Unread::broken("it is cut off")),
        }
        Ok(Self { head, file: Arc::new(file), rest: (start, size - start), sum, at })
    }

    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.head.files.iter().map(|(_, size)| size).sum()
    }

    /// Whether it is what was written, where it tells.
    pub fn verify(&self) -> Result<(), Unread> {
        let Some(sum) = self.sum else { return Ok(()) };
        let mut found = Hasher::new();
        let (start, size) = self.rest;
        found.update_reader(Part::new(Arc::clone(&self.file), start, size))?;
        match found.finalize() == sum {
            true => Ok(()),
            false => Err(Unread::broken("its checksum does not fit")),
        }
    }

    /// Its files.
    pub fn files(&self) -> Vec<StateFile> {
        let mut at = self.at;
        let file = |(path, size): &(String, u64)| {
            let content = Part::new(Arc::clone(&self.file), at, *size);
            at += size;
            StateFile { path: path.clone(), size: *size, content }
        };
        self.head.files.iter().map(file).collect()
    }
}

/// What a first line says of the rest: its digest, where there is one.
fn version(line: &[u8]) -> Result<Option<Hash>, Unread> {
    let text = String::from_utf8_lossy(line);
    let Some(version) = text.strip_prefix(ANY) else { return Err(Unread::NoState) };
    match version.strip_suffix('\n').map(|version| version.split_once(' ').unwrap_or((version, "")))
    {
        Some(("1", "")) => Ok(None),
        Some(("2", sum)) => {
            let sum = Hash::from_hex(sum);
            sum.map(Some).map_err(|_| Unread::broken("its first line has no checksum"))
        }
        _ => Err(Unread::Version(text.trim_end().to_owned())),
    }
}

/// Bytes of its files, whose names can be those of files.
fn length(head: &Head) -> Result<u64, Unread> {
    if head.files.len() > MOST_FILES {
        return Err(Unread::broken(format!("it has more than {MOST_FILES} files")));
    }
    let mut names = HashSet::new();
    let mut all = 0_u64;
    for (name, length) in &head.files {
        if !is_plain(name) || !names.insert(name.as_str()) {
            let why = format!("`{name}` can't be the name of one of its files");
            return Err(Unread::Broken(why));
        }
        all = all.checked_add(*length).ok_or_else(|| Unread::broken("it is cut off"))?;
    }
    for name in &names {
        let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
        if let Some(folder) = folders.into_iter().find(|folder| names.contains(folder)) {
            let why = format!("`{folder}` is to be a file, and the folder of `{name}`");
            return Err(Unread::Broken(why));
        }
    }
    Ok(all)
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
        [b"polyloom session 1\n", line.as_bytes(), b"\n", contents.as_bytes()].concat()
    }

    fn opened(content: &[u8]) -> Result<State, Unread> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, content).unwrap();
        let state = State::open(&path)?;
        state.verify().map(|()| state)
    }

    fn wrong(content: &[u8]) -> String {
        opened(content).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn contents(state: &State) -> Vec<(String, String)> {
        let content = |mut file: StateFile| {
            let mut text = String::new();
            file.content.read_to_string(&mut text).unwrap();
            (file.path, text)
        };
        state.files().into_iter().map(content).collect()
    }

    /// One of the version that is written.
    fn written() -> Vec<u8> {
        let state = opened(&bytes(&head(&[("a", 3), ("d/b", 2)]), "onetw")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&path, &state.head, state.files()).unwrap();
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let written = written();
        assert!(written.starts_with(b"polyloom session 2 "));
        let state = opened(&written).unwrap();
        assert_eq!(state.head, head(&[("a", 3), ("d/b", 2)]));
        let one = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        assert_eq!(contents(&state), [one("a", "one"), one("d/b", "tw")]);
        assert_eq!(state.size(), 5);
    }

    #[test]
    fn whatever_is_changed_is_found() {
        let written = written();
        for at in 0..written.len() {
            let mut changed = written.clone();
            changed[at] ^= 1;
            assert_ne!(wrong(&changed), "", "byte {at}");
        }
        // A digit of the checksum, as what it is.
        let mut changed = written.clone();
        *changed.last_mut().unwrap() = b'x';
        assert!(wrong(&changed).contains("its checksum does not fit"), "{}", wrong(&changed));
    }

    #[test]
    fn a_file_that_is_cut_off_meanwhile_is_not_taken_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, bytes(&head(&[("a", 3)]), "one")).unwrap();
        let mut files = State::open(&path).unwrap().files();
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
            (b"polyloom session 3\n{}\n", "another version of polyloom, `polyloom session 3`"),
            (b"polyloom session 2\n{}\n", "no checksum"),
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
        for files in [[("a", 0), ("a/b", 0)], [("a/b/c", 0), ("a", 0)]] {
            let why = wrong(&bytes(&head(&files), ""));
            assert!(why.contains("`a` is to be a file, and the folder of `a/b"), "{why}");
        }
    }
}
