//! Files that people name as the place for something: there as a whole, or as they were. Knows nothing of what is in them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Who may read and write a file that was not there, as far as the process's mask allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Everybody, as with what other programs write.
    All,
    /// Its owner.
    Owner,
}

/// Has `fill` write what is to be in `target`, and puts it there once it is complete.
///
/// A link leads to the file that it names. What is there and is no regular file, as a device or a FIFO, stays what it is, and is written into.
///
/// # Errors
/// Those of `fill`, and those of the file as `cant` words them; then what was there is there still.
pub fn write<T, E>(
    target: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
    cant: impl Fn(io::Error) -> E,
) -> Result<T, E> {
    let place = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    let there = fs::metadata(&place).ok();
    if there.as_ref().is_some_and(|meta| !meta.is_file()) {
        let file = OpenOptions::new().write(true).open(&place).map_err(&cant)?;
        let mut out = BufWriter::new(file);
        let filled = fill(&mut out)?;
        return out.flush().map(|()| filled).map_err(cant);
    }
    let folder = place.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = match readers {
        Readers::All => 0o666,
        Readers::Owner => 0o600,
    };
    let mut named = tempfile::Builder::new();
    let part = named.prefix(".polyloom-").permissions(Permissions::from_mode(mode));
    let (file, part) = part.tempfile_in(folder).map_err(&cant)?.into_parts();
    let mut out = BufWriter::new(file);
    let filled = fill(&mut out)?;
    let file = out.into_inner().map_err(|error| cant(error.into_error()))?;
    if let (Some(meta), Readers::All) = (there, readers) {
        file.set_permissions(meta.permissions()).map_err(&cant)?;
    }
    file.sync_all().map_err(&cant)?;
    part.persist(&place).map(|()| filled).map_err(|error| cant(error.error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn put(target: &Path, text: &str) -> io::Result<()> {
        write(target, Readers::All, |out| out.write_all(text.as_bytes()), |error| error)
    }

    #[test]
    fn a_link_leads_to_its_file_which_keeps_who_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        put(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        put(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_was_there_stays_where_not_all_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        put(&file, "old").unwrap();
        let fill = |out: &mut BufWriter<File>| {
            out.write_all(b"ha").and(Err(io::Error::from(io::ErrorKind::StorageFull)))
        };
        let failed: io::Result<()> = write(&file, Readers::All, fill, |error| error);
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_fifo_stays_one_and_has_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Its reader is there first, and waits for nobody.
        let mut reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        put(&fifo, "text").unwrap();
        let mut found = [0; 4];
        io::Read::read_exact(&mut reader, &mut found).unwrap();
        assert_eq!(&found, b"text");
        let kind =
            std::os::unix::fs::FileTypeExt::is_fifo(&fs::metadata(&fifo).unwrap().file_type());
        assert!(kind);
        assert!(put(folder.path(), "text").is_err());
    }
}
