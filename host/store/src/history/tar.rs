//! Just enough of the tar format (ustar, POSIX.1-1988) for one exported run: regular files, one after the other.
//!
//! Nothing is compressed, so a file can't claim to be more than it is.

use std::io::{self, BufRead, Read, Write};

const BLOCK: usize = 512;
/// What eleven octal digits hold; larger sizes are written in base 256, as GNU tar does.
const OCTAL: u64 = 8 << 30;

/// Why an archive can't be read.
#[derive(Debug)]
pub(super) enum TarError {
    /// It can't be read.
    Io(io::Error),
    /// It ends too early.
    Truncated,
    /// A header is none.
    Header,
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Writes an archive.
pub(super) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a file of exactly `size` bytes; one that is shorter by now is an error.
    pub(super) fn add(&mut self, name: &str, size: u64, from: &mut dyn Read) -> io::Result<()> {
        self.out.write_all(&header(name, size))?;
        let copied = io::copy(&mut from.take(size), &mut self.out)?;
        if copied != size {
            let text = format!("`{name}` became shorter while it was read");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.out.write_all(&[0; BLOCK][..padding(size)])
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; BLOCK * 2])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn padding(size: u64) -> usize {
    usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < OCTAL {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum = format!("{:06o}\0 ", checksum(&block));
    block[148..156].copy_from_slice(sum.as_bytes());
    block
}

/// The sum of a header's bytes, its own field taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own = 148..156;
    let bytes = block.iter().enumerate();
    bytes.map(|(at, byte)| if own.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

/// Reads an archive.
pub(super) struct Reader<R> {
    from: R,
    /// What is left of the present file, and what follows to the next block.
    left: u64,
    padding: usize,
}

/// A file of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0 }
    }

    /// The next file; what was not read of the last one is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let rest = self.left + self.padding as u64;
        if io::copy(&mut (&mut self.from).take(rest), &mut io::sink())? != rest {
            return Err(TarError::Truncated);
        }
        (self.left, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let entry = parse(&block).ok_or(TarError::Header)?;
        // No file is as large as this; adding to it must not overflow.
        if entry.size > u64::MAX / 4 {
            return Err(TarError::Header);
        }
        (self.left, self.padding) = (entry.size, padding(entry.size));
        Ok(Some(entry))
    }
}

/// The present file.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut bytes[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// The present file, by what is in the buffer.
impl<R: BufRead> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.from.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..most])
    }

    fn consume(&mut self, read: usize) {
        self.left -= read as u64;
        self.from.consume(read);
    }
}

fn parse(block: &[u8; BLOCK]) -> Option<Entry> {
    let octal = |field: &[u8]| {
        let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
        // Not `from_str_radix` alone: it takes a sign.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        u64::from_str_radix(text, 8).ok()
    };
    let regular = matches!(block[156], b'0' | 0);
    if &block[257..262] != b"ustar" || !regular || block[345] != 0 {
        return None;
    }
    if octal(&block[148..156])? != u64::from(checksum(block)) {
        return None;
    }
    let size = if block[124] == 0x80 {
        let (high, low) = block[125..136].split_at(3);
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        u64::from_be_bytes(low.try_into().ok()?)
    } else {
        octal(&block[124..136])?
    };
    let name = block[..100].split(|byte| *byte == 0).next()?;
    Some(Entry { name: std::str::from_utf8(name).ok()?.to_owned(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new(Vec::new());
        for (name, text) in [("a", "one"), ("blobs/b", ""), ("c", &*"x".repeat(512))] {
            writer.add(name, text.len() as u64, &mut text.as_bytes()).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        let mut found = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            let mut text = String::new();
            // One is passed over.
            if entry.name != "a" {
                reader.read_to_string(&mut text).unwrap();
            }
            found.push((entry.name, entry.size, text.len()));
        }
        let expected = [("a", 3, 0), ("blobs/b", 0, 0), ("c", 512, 512)];
        assert_eq!(found, expected.map(|(name, size, len)| (name.to_owned(), size, len)));
    }

    #[test]
    fn large_sizes_are_written_in_base_256() {
        for size in [0, OCTAL - 1, OCTAL, 1 << 40] {
            assert_eq!(parse(&header("a", size)).unwrap().size, size);
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_an_error_and_never_a_panic() {
        let mut writer = Writer::new(Vec::new());
        writer.add("a", 700, &mut &[7; 700][..]).unwrap();
        let bytes = writer.finish().unwrap();
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            while reader.next()?.is_some() {
                reader.read_to_end(&mut Vec::new())?;
            }
            Ok::<_, TarError>(())
        };
        assert!(read(&bytes).is_ok());
        for end in 0..bytes.len() - BLOCK * 2 {
            assert!(matches!(read(&bytes[..end]), Err(TarError::Truncated)), "{end}");
        }
        for at in 0..BLOCK {
            let mut changed = bytes.clone();
            changed[at] ^= 0x81;
            assert!(read(&changed).is_err(), "{at}");
        }
    }
}
