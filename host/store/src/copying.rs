//! Copying a file's bytes while hashing them. Knows no store.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use polyloom_model::Digest;

use crate::hashing;

/// Files from this size on are worth trying to share blocks instead of copying.
const CLONE_FROM: u64 = 256 << 10;
const BUFFER: usize = 512 << 10;

/// What became of a copy.
pub(crate) enum Copied {
    /// All of it.
    Whole(Digest, u64),
    /// The source holds more than was allowed.
    TooLarge,
}

/// Copies `source` from its start into `target`, an empty file, and hashes exactly the bytes that were written, so
/// that a source that changes meanwhile can't get a wrong digest. Leaves the source's offset alone.
pub(crate) fn copy(source: &File, target: &mut File, max: u64) -> io::Result<Copied> {
    let size = source.metadata()?.len();
    if size > max {
        return Ok(Copied::TooLarge);
    }
    // A clone is a snapshot: hashing the target afterwards is hashing what is stored.
    if size >= CLONE_FROM && rustix::fs::ioctl_ficlone(&*target, source).is_ok() {
        if target.metadata()?.len() > max {
            return Ok(Copied::TooLarge);
        }
        let (digest, size) = hashing::digest(target)?;
        return Ok(Copied::Whole(digest, size));
    }
    pump(source, max, |bytes| target.write_all(bytes))
}

fn pump(
    source: &File,
    max: u64,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Copied> {
    let mut hasher = blake3::Hasher::new();
    let expected = usize::try_from(source.metadata()?.len()).unwrap_or(usize::MAX);
    let mut buffer = vec![0; expected.saturating_add(1).clamp(4096, BUFFER)];
    let mut at = 0_u64;
    loop {
        let read = match source.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += read as u64;
        if at > max {
            return Ok(Copied::TooLarge);
        }
        hasher.update(&buffer[..read]);
        each(&buffer[..read])?;
    }
    Ok(Copied::Whole(Digest::from_bytes(*hasher.finalize().as_bytes()), at))
}
