//! Replays `protocol/vectors/conversations` with a worker on the other end of a socket. It knows no message: bytes go out, and what comes has to be
//! the bytes that are written down. `UPDATE=1` writes down what comes instead.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use polyloom_protocol::Value;
use polyloom_protocol::frame::{HEADER, PREAMBLE};

const PATIENCE: Duration = Duration::from_secs(30);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Whether bytes are those written down: `?` is any digit, and a final `*` any rest.
fn fits(written: &str, came: &str) -> bool {
    let head = written.strip_suffix('*').unwrap_or(written);
    let whole = head.len() == written.len();
    (if whole { came.len() == head.len() } else { came.len() >= head.len() })
        && head.bytes().zip(came.bytes()).all(|(wanted, byte)| wanted == b'?' || wanted == byte)
}

/// The preamble, or a frame; nothing at the end.
fn unit(stream: &mut UnixStream, first: bool) -> Vec<u8> {
    let mut unit = vec![0; if first { PREAMBLE.len() } else { HEADER }];
    let mut have = 0;
    while have < unit.len() {
        match stream.read(&mut unit[have..]) {
            Ok(0) => break,
            Ok(read) => have += read,
            // A worker that ends with something unread leaves this instead of an end.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("nothing comes: {error}"),
        }
        if !first && have == HEADER && unit.len() == HEADER {
            let length = u32::from_le_bytes(unit[..4].try_into().unwrap());
            unit.resize(HEADER + usize::try_from(length).unwrap(), 0);
        }
    }
    unit.truncate(have);
    unit
}

/// Replays one conversation, `text`; `folder` is where the worker finds its files. Gives the text with what came.
fn replay(name: &str, text: &str, folder: &Path, stream: &mut UnixStream) -> String {
    let update = std::env::var_os("UPDATE").is_some();
    let (mut out, mut first) = (String::new(), true);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for (at, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut told = line.to_owned();
        match mark {
            // One that was refused may be gone already.
            ">" => drop(stream.write_all(&bytes(rest))),
            "<" => {
                let came = hex(&unit(stream, std::mem::take(&mut first)));
                let fits = fits(rest, &came);
                assert!(update || fits, "{name}:{}: expected\n  {rest}\ncame\n  {came}", at + 1);
                if !fits {
                    told = format!("< {came}");
                }
            }
            "close" => stream.shutdown(Shutdown::Write).unwrap(),
            "end" => assert_eq!(hex(&unit(stream, false)), "", "{name}:{}: no end", at + 1),
            "file" => {
                let (path, content) = rest.split_once(' ').unwrap();
                let Ok(Value::Str(content)) = Value::from_json(content) else { panic!("{line}") };
                fs::write(folder.join(path), content).unwrap();
            }
            _ => assert!(line.is_empty() || mark.starts_with('#'), "{name}:{}: {line}", at + 1),
        }
        writeln!(out, "{told}").unwrap();
    }
    out
}

/// Replays every conversation, each with a worker of its own that `start` starts on its end of the socket. The paths in what the host says are
/// relative, so that the bytes are the same everywhere: this process goes into a folder of its own for each.
pub fn all(start: impl Fn(UnixStream)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.ancestors().find(|at| at.join("protocol/vectors").is_dir()).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root.join("protocol/vectors/conversations")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let cell = tempfile::tempdir().unwrap();
        for part in ["code", "in", "out"] {
            fs::create_dir(cell.path().join(part)).unwrap();
        }
        std::env::set_current_dir(cell.path()).unwrap();
        let (mut stream, theirs) = UnixStream::pair().unwrap();
        start(theirs);
        let came = replay(&name, &text, cell.path(), &mut stream);
        if came != text {
            fs::write(&path, came).unwrap();
        }
        std::env::set_current_dir(root).unwrap();
        count += 1;
    }
    assert!(count >= 20, "{count}");
}
