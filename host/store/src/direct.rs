//! Writing what is in memory to the disk past the page cache: a second copy of it in memory would cost more than the disk, and push others
//! out. Where the bytes begin at a page, the disk has them from where they are. Knows no store.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use polyloom_model::Digest;
use rustix::fs::OFlags;

const PIECE: usize = 1 << 20;
/// What every disk in use takes as aligned; where one does not, its first write says so.
const BLOCK: usize = 4096;

/// Writes `bytes` into `target`, an empty file; the digest of what was written.
pub(crate) fn write(bytes: &[u8], target: &File) -> io::Result<Digest> {
    let mut direct = set_direct(target, OFlags::DIRECT).is_ok();
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    for piece in bytes.chunks(PIECE) {
        hasher.update(piece);
        if direct && piece.len() % BLOCK != 0 {
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
        at += piece.len() as u64;
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
        for size in [0, 1, BLOCK, PIECE - 1, PIECE, PIECE + BLOCK, 2 * PIECE + 17] {
            let room: Vec<u8> = (0..size + BLOCK).map(|at| (at * 31 % 253) as u8).collect();
            let aligned = room.as_ptr().align_offset(BLOCK);
            // Also where the disk can't have them from there.
            for start in [aligned, (aligned + 8) % BLOCK] {
                let bytes = &room[start..start + size];
                let target = tempfile::tempfile().expect("a file");
                let digest = write(bytes, &target).expect("written");
                assert_eq!(digest, Digest::of(bytes), "{size}");
                let mut written = vec![0; size];
                target.read_exact_at(&mut written, 0).expect("read");
                assert!(written == bytes && target.metadata().expect("stat").len() == size as u64);
            }
        }
    }
}
