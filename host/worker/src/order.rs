//! A sandbox that is ordered ahead of its cell: plain data, which can be compared and told to another process.

use std::ffi::OsString;

use polyloom_sandbox as sandbox;
use serde::{Deserialize, Serialize};

use crate::executor::{Executor, ONCE};
use crate::parking::{PIECE, laid_bytes};

/// What is to wait for a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// A sandbox in which programs are started, one after the other.
    Sandbox,
    /// A sandbox with a program that makes cells by forking itself.
    Zygote,
    /// A worker, for one cell.
    Worker,
    /// A program that is asked something on its standard input, once.
    Asked,
}

/// Everything that makes one such sandbox another than the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What waits.
    pub wait: Wait,
    policy: sandbox::Policy,
    argv: Vec<OsString>,
    env: Vec<(String, OsString)>,
    binds: Vec<(OsString, OsString)>,
    /// Name, mode and size of each file that it has, of which the content comes with the cell.
    files: Vec<(OsString, u32, u64)>,
    /// The manifest and the programs that were found for it, where one of them is started before there is a cell.
    executor: [u8; 32],
}

impl Order {
    /// A sandbox in which `spec`'s program, or any where it waits without one, could run.
    #[must_use]
    pub fn new(
        wait: Wait,
        executor: &Executor,
        policy: &sandbox::Policy,
        spec: &sandbox::Spec,
    ) -> Self {
        let binds = spec.binds.iter();
        let mut order = Self {
            wait,
            policy: policy.clone(),
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            binds: binds
                .map(|bind| (bind.source.clone().into(), bind.target.clone().into()))
                .collect(),
            files: Vec::new(),
            executor: if wait == Wait::Sandbox { [0; 32] } else { identity(executor) },
        };
        for file in &spec.files {
            // A file that takes as many pieces as before has room.
            let size = (file.bytes.len() as u64).next_multiple_of(PIECE);
            order.files.push((file.path.clone().into(), file.mode, size));
        }
        // The size of its file system owes something to the files' very sizes.
        let limits = &mut order.policy.limits;
        if limits.disk != limits.memory {
            let sizes = spec.files.iter().map(|file| file.bytes.len() as u64);
            let whole = laid_bytes(order.files.iter().map(|(.., size)| *size));
            limits.disk = limits.disk.saturating_sub(laid_bytes(sizes)).saturating_add(whole);
        }
        order
    }

    /// It as bytes, and the digest that orders alike have in common. Nothing where it has no bytes.
    #[must_use]
    pub fn told(&self) -> Option<(Vec<u8>, [u8; 32])> {
        let bytes = rmp_serde::to_vec(self).ok()?;
        let digest = *blake3::hash(&bytes).as_bytes();
        Some((bytes, digest))
    }

    /// What orders have in common whose sessions are alike. A worker that began before anything was made once for its kind, as its bytecode is, has started
    /// more slowly: what it does is the same.
    #[must_use]
    pub fn session(&self) -> Option<[u8; 32]> {
        let binds = self.binds.iter().filter(|(_, target)| target != ONCE);
        let bare = Self { binds: binds.cloned().collect(), ..self.clone() };
        bare.told().map(|(_, digest)| digest)
    }

    /// What waits, for people.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self.wait {
            Wait::Sandbox => "sandbox",
            Wait::Zygote => "zygote",
            Wait::Worker => "worker",
            Wait::Asked => "normaliser",
        }
    }

    /// Its program, for people; empty where none is started.
    #[must_use]
    pub fn program(&self) -> String {
        match self.wait {
            Wait::Sandbox => String::new(),
            _ => self.argv.first().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default(),
        }
    }

    /// Bytes of its files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, (.., size)| sum.saturating_add(*size))
    }

    /// The policy of the sandbox.
    #[must_use]
    pub fn policy(&self) -> &sandbox::Policy {
        &self.policy
    }

    /// What is to be made. Its files are blank until there is a cell: a worker that reads them too early has nothing.
    #[must_use]
    pub fn spec(&self) -> sandbox::Spec {
        let bind = |(source, target): &(OsString, OsString)| sandbox::Bind {
            source: source.into(),
            target: target.into(),
        };
        let blank = |(path, mode, size): &(OsString, u32, u64)| sandbox::File {
            path: path.into(),
            mode: *mode,
            bytes: vec![0; usize::try_from(*size).unwrap_or(0)],
        };
        sandbox::Spec {
            argv: self.argv.clone(),
            env: self.env.clone(),
            binds: self.binds.iter().map(bind).collect(),
            files: self.files.iter().map(blank).collect(),
            worker_socket: self.wait == Wait::Worker,
            zygote: self.wait == Wait::Zygote,
            ..sandbox::Spec::default()
        }
    }
}

/// Another manifest, or another program under its old name, is another executor.
fn identity(executor: &Executor) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(executor.manifest.id.as_str().as_bytes());
    for (name, found) in &executor.tools {
        add(name.as_bytes());
        add(found.name.as_bytes());
        add(found.program.as_os_str().as_encoded_bytes());
        add(found.identity.as_bytes());
        for root in &found.roots {
            add(root.as_os_str().as_encoded_bytes());
        }
        for library in &found.libraries {
            add(library.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}
