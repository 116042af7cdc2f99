//! Digests of files, with all processors where a file is large. Knows no store.
//!
//! BLAKE3 is a tree: pieces of a power of two are hashed apart and put together (`blake3::hazmat`). By threads of the standard
//! library and positioned reads: a thread pool would be a dependency, and a mapped file that shrinks is a signal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use polyloom_model::{Digest, processors};

/// A piece that one thread hashes. A power of two of at least 1024 bytes, or it would be no subtree.
const PIECE: u64 = 4 << 20;
/// Below this a thread's start costs more than it saves.
const PARALLEL_FROM: u64 = 4 * PIECE;
const BUFFER: usize = 256 << 10;
/// A buffer for a file that was seen to be small, which it need not be any more.
const LEAST: usize = 16 << 10;

/// The digest and size of a file from its start. Leaves its offset alone.
pub(crate) fn digest(file: &File) -> io::Result<(Digest, u64)> {
    digest_of_size(file, file.metadata()?.len())
}

/// The same for one that was just seen to have so many bytes.
pub(crate) fn digest_of_size(file: &File, size: u64) -> io::Result<(Digest, u64)> {
    let piece = |at, length, hasher: &mut blake3::Hasher| {
        if feed(file, at, length, BUFFER, hasher)? < length {
            // It became shorter meanwhile.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    };
    if let Some(digest) = parallel(size, processors(), piece)? {
        return Ok((digest, size));
    }
    let mut hasher = blake3::Hasher::new();
    // Room for one byte more, by which it is seen to have grown. A larger one would only be cleared for nothing.
    let buffer = usize::try_from(size.saturating_add(1)).unwrap_or(BUFFER);
    let read = feed(file, 0, u64::MAX, buffer, &mut hasher)?;
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), read))
}

/// The digest of bytes in memory.
#[must_use]
pub fn digest_bytes(bytes: &[u8]) -> Digest {
    let piece = |at, length, hasher: &mut blake3::Hasher| {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        hasher.update(&bytes[at..at + length]);
        Ok(())
    };
    let whole = parallel(bytes.len() as u64, processors(), piece);
    whole.ok().flatten().unwrap_or_else(|| Digest::of(bytes))
}

/// Hashes up to `length` bytes from `at`, at most `buffer` of them at a time; tells how many there were.
fn feed(
    file: &File,
    at: u64,
    length: u64,
    buffer: usize,
    hasher: &mut blake3::Hasher,
) -> io::Result<u64> {
    let mut buffer = vec![0; buffer.clamp(LEAST, BUFFER)];
    let mut read = 0;
    while read < length {
        let most = usize::try_from(length - read).unwrap_or(BUFFER).min(buffer.len());
        match file.read_at(&mut buffer[..most], at + read) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                read += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// By `threads` threads, if that is worth their start. `feed` gives a hasher so many bytes from a place.
fn parallel(
    size: u64,
    threads: usize,
    feed: impl Fn(u64, u64, &mut blake3::Hasher) -> io::Result<()> + Sync,
) -> io::Result<Option<Digest>> {
    if size < PARALLEL_FROM || threads < 2 {
        return Ok(None);
    }
    let piece_at = |at: u64| {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(at);
        feed(at, PIECE.min(size - at), &mut hasher)?;
        Ok(hasher.finalize_non_root())
    };
    let count = usize::try_from(size.div_ceil(PIECE)).unwrap_or(usize::MAX);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, io::Result<ChainingValue>)>> =
        Mutex::new(Vec::with_capacity(count));
    let work = || {
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= count {
                return;
            }
            let made = piece_at(piece as u64 * PIECE);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((piece, made));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            // Where there is no thread to be had, this one does it all.
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(piece, _)| *piece);
    let pieces = done.into_iter().map(|(_, made)| made).collect::<io::Result<Vec<_>>>()?;
    let (left, right) = pieces.split_at(left_of(pieces.len()));
    let root = merge_subtrees_root(&merged(left), &merged(right), Mode::Hash);
    Ok(Some(Digest::from_bytes(*root.as_bytes())))
}

/// How many of `count` pieces are left of the root of their tree: the greatest power of two below it.
fn left_of(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn merged(pieces: &[ChainingValue]) -> ChainingValue {
    match pieces {
        [one] => *one,
        more => {
            let (left, right) = more.split_at(left_of(more.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        for size in [0, 1, 2 * PIECE + 1, 4 * PIECE - 1, 4 * PIECE, 4 * PIECE + 1, 7 * PIECE + 4096]
        {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 253) as u8).collect();
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&bytes).expect("room");
            assert_eq!(digest(&file).expect("read"), (Digest::of(&bytes), size));
            assert_eq!(digest_bytes(&bytes), Digest::of(&bytes), "{size}");
            // One that grew since it was looked at.
            let grown = digest_of_size(&file, size / 2).expect("read");
            assert!(size / 2 >= PARALLEL_FROM || grown == (Digest::of(&bytes), size), "{size}");
        }
    }
}
