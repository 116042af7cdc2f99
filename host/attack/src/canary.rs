//! Things of the host that no cell may read, reach or change: each tells when one did.
//!
//! Knows files and sockets of this process. Does not know cells.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// The environment variable of the host that holds the secret.
pub(crate) const VARIABLE: &str = "ATTACK_CANARY_SECRET";

/// A secret in a file and in the environment, four sockets that listen, and a folder that must stay as it is.
///
/// In the code of a case, `@SECRET_FILE@`, `@SECRET_ENV@`, `@CANARY@` (the folder), `@TCP@`, `@UDP@` (ports), `@UNIX@` (a path) and
/// `@ABSTRACT@` (a name) stand for them; `@STORE@`, `@HOME@` and `@PROJECT@` for folders of the stage.
#[derive(Debug)]
pub struct Canaries {
    secret: String,
    root: PathBuf,
    folder: PathBuf,
    name: String,
    tcp: TcpListener,
    udp: UdpSocket,
    path: UnixListener,
    abstracted: UnixListener,
    before: BTreeMap<PathBuf, Print>,
}

/// What is compared of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    mode: u32,
    owner: u32,
    links: u64,
    changed: (i64, i64),
    content: Vec<u8>,
}

impl Canaries {
    /// Puts them into `root/home`, which is there. [`Self::arm`] remembers what they look like.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let folder = root.join("home/canary");
        fs::create_dir(&folder)?;
        let secret = random()?;
        let text = format!("secret {secret}\n");
        for (name, mode, content) in [
            ("secret", 0o600, text.as_str()),
            ("readable", 0o444, text.as_str()),
            ("writable", 0o666, "leave me as I am\n"),
            ("program", 0o4755, "#!/bin/sh\nexit 0\n"),
        ] {
            let path = folder.join(name);
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        fs::create_dir(folder.join("open"))?;
        fs::set_permissions(folder.join("open"), fs::Permissions::from_mode(0o777))?;
        let name = format!("polyloom-canary-{}", &random()?[..12]);
        let tcp = TcpListener::bind(("127.0.0.1", 0))?;
        let udp = UdpSocket::bind(("127.0.0.1", 0))?;
        let path = UnixListener::bind(folder.join("socket"))?;
        // Anybody may connect who finds it: it is the sandbox that has to keep cells away.
        fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o777))?;
        let abstracted = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        path.set_nonblocking(true)?;
        abstracted.set_nonblocking(true)?;
        let root = root.to_owned();
        let before = BTreeMap::new();
        Ok(Self { secret, root, folder, name, tcp, udp, path, abstracted, before })
    }

    /// Remembers what the folder looks like.
    pub(crate) fn arm(&mut self) -> io::Result<()> {
        self.before = prints(&self.folder)?;
        Ok(())
    }

    /// The text that must appear nowhere.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Puts the places of the canaries into a text.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        if !text.contains('@') {
            return text.to_owned();
        }
        let port = |address: io::Result<std::net::SocketAddr>| {
            address.map_or_else(|_| "0".to_owned(), |address| address.port().to_string())
        };
        let place = |path: &str| self.root.join(path).display().to_string();
        [
            ("@SECRET_FILE@", place("home/canary/secret")),
            ("@SECRET_ENV@", VARIABLE.to_owned()),
            ("@CANARY@", place("home/canary")),
            ("@UNIX@", place("home/canary/socket")),
            ("@ABSTRACT@", self.name.clone()),
            ("@TCP@", port(self.tcp.local_addr())),
            ("@UDP@", port(self.udp.local_addr())),
            ("@STORE@", place("store")),
            ("@HOME@", place("home")),
            ("@PROJECT@", place("project")),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// What happened to them, in words; nothing is as it should be.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.tcp.accept().is_ok() {
            out.push("somebody connected to the host's TCP socket".to_owned());
        }
        let mut byte = [0];
        if self.udp.recv_from(&mut byte).is_ok() {
            out.push("somebody sent to the host's UDP socket".to_owned());
        }
        if self.path.accept().is_ok() {
            out.push("somebody connected to the host's unix socket".to_owned());
        }
        if self.abstracted.accept().is_ok() {
            out.push("somebody connected to the host's abstract socket".to_owned());
        }
        match prints(&self.folder) {
            Err(error) => out.push(format!("the canary's folder can't be read: {error}")),
            Ok(now) => {
                for path in self.before.keys().chain(now.keys()) {
                    let line = format!("`{}` is not as it was", path.display());
                    if self.before.get(path) != now.get(path) && !out.contains(&line) {
                        out.push(line);
                    }
                }
            }
        }
        out
    }

    /// Files below a folder in which the secret stands, plain, in hexadecimal or in base64. The canaries themselves are left out.
    pub(crate) fn leaks(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let hex: String = self.secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let needles = [self.secret.clone(), hex, self.secret.chars().rev().collect()];
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            if folder == self.folder {
                continue;
            }
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && holds(&entry.path(), &needles)? {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }
}

/// Whether one of the texts is in a file, which is read in pieces.
fn holds(path: &Path, needles: &[String]) -> io::Result<bool> {
    let longest = needles.iter().map(String::len).max().unwrap_or(0);
    let mut file = fs::File::open(path)?;
    let mut kept: Vec<u8> = Vec::new();
    loop {
        let mut piece = Vec::new();
        if file.by_ref().take(1 << 20).read_to_end(&mut piece)? == 0 {
            return Ok(false);
        }
        kept.extend_from_slice(&piece);
        // Bytes that are no text become marks; the needles are text.
        let text = String::from_utf8_lossy(&kept);
        if needles.iter().any(|needle| text.contains(needle.as_str())) {
            return Ok(true);
        }
        let from = kept.len().saturating_sub(longest);
        kept.drain(..from);
    }
}

fn prints(folder: &Path) -> io::Result<BTreeMap<PathBuf, Print>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            let content = if meta.is_file() { fs::read(&path)? } else { Vec::new() };
            all.insert(
                path.clone(),
                Print {
                    mode: meta.mode(),
                    owner: meta.uid(),
                    links: meta.nlink(),
                    changed: (meta.mtime(), meta.mtime_nsec()),
                    content,
                },
            );
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(all)
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
