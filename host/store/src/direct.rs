//! Copying a large file that is in memory to the disk past the page cache: a second copy of it in memory would cost more than the disk,
//! and push others out. Knows no store.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use polyloom_model::Digest;
use rustix::fs::OFlags;

const BUFFER: usize = 1 << 20;
/// What every disk in use takes as aligned; where one does not, its first write says so.
const BLOCK: usize = 4096;

/// Copies `size` bytes of `source` from its start into `target`, an empty file; the digest of what was written.
pub(crate) fn copy(source: &File, target: &File, size: u64) -> io::Result<Digest> {
    let mut room = vec![0; BUFFER + BLOCK];
    let start = room.as_ptr().align_offset(BLOCK).min(BLOCK);
    let buffer = &mut room[start..start + BUFFER];
    let mut direct = set_direct(target, OFlags::DIRECT).is_ok();
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(BUFFER).min(BUFFER);
        let piece = &mut buffer[..length];
        source.read_exact_at(piece, at)?;
        hasher.update(piece);
        if direct && length % BLOCK != 0 {
            // The last piece.
            set_direct(target, OFlags::empty())?;
            direct = false;
        }
        match target.write_all_at(piece, at) {
            Err(error) if direct && error.kind() == io::ErrorKind::InvalidInput => {
                set_direct(target, OFlags::empty())?;
                direct = false;
                target.write_all_at(piece, at)?;
            }
            other => other?,
        }
        at += length as u64;
    }
    if direct {
        set_direct(target, OFlags::empty())?;
    }
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

fn set_direct(file: &File, flag: OFlags) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?.difference(OFlags::DIRECT);
    Ok(rustix::fs::fcntl_setfl(file, flags | flag)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_arrives_whole() {
        for size in [0, 1, BLOCK, BUFFER - 1, BUFFER, BUFFER + BLOCK, 2 * BUFFER + 17] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 253) as u8).collect();
            let source = tempfile::tempfile().expect("a file");
            source.write_all_at(&bytes, 0).expect("room");
            let target = tempfile::tempfile().expect("a file");
            let digest = copy(&source, &target, size as u64).expect("copied");
            assert_eq!(digest, Digest::of(&bytes), "{size}");
            let mut copied = vec![0; size];
            target.read_exact_at(&mut copied, 0).expect("read");
            assert!(copied == bytes && target.metadata().expect("stat").len() == size as u64);
        }
    }

    #[test]
    fn a_source_that_is_too_short_is_an_error() {
        let source = tempfile::tempfile().expect("a file");
        let target = tempfile::tempfile().expect("a file");
        assert!(copy(&source, &target, 1).is_err());
    }
}
