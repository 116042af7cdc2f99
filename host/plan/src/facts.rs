//! What the impure side found out before planning: identities of executors and toolchains, digests of files.
//!
//! Knows no way to find them.

use std::collections::HashMap;

use polyloom_model::{CellId, Digest, ExecutorId, Kind, Manifest, PortName};

use crate::Part;
use crate::encode::Message;

/// Something that has an identity: a digest for the key and words for people.
pub type Identity = Part;

/// What is known of one executor.
#[derive(Debug, Clone)]
pub struct ExecutorFacts {
    /// The executor itself: [`ExecutorFacts::of_manifest`].
    pub identity: Identity,
    /// The programs it found: their paths' versions, joined.
    pub toolchain: Identity,
    /// What these programs have installed: [`ExecutorFacts::libraries`].
    pub libraries: Option<Identity>,
}

impl ExecutorFacts {
    /// The keyed part of a manifest: id, version, how it runs, the flags of its tools and its fixed environment. `program` is the digest of the executor's own
    /// files (worker source, SDK). Titles, limits, hints and diagnostics decide no result and are left out.
    #[must_use]
    pub fn of_manifest(manifest: &Manifest, program: &Digest, toolchain: Identity) -> Self {
        let mut message = Message::new("polyloom.key/2 executor");
        message.text(manifest.id.as_str()).text(&manifest.version).digest(program);
        let mut list = |name: &str, argv: &[String]| {
            message.text(name).count(argv.len());
            for arg in argv {
                message.text(arg);
            }
        };
        match &manifest.kind {
            Kind::Command(command) => {
                list("compile", command.compile.as_deref().unwrap_or_default());
                list("run", &command.run);
                if let Some(ahead) = &command.ahead {
                    list("ahead", ahead);
                }
                if let Some(worker) = &command.instances {
                    list("instances", &worker.argv);
                }
                if let Some(head) = &command.head {
                    list("head", &head.argv);
                    list("flags of the head", &head.flags);
                    list("text of the head", std::slice::from_ref(&head.text));
                }
            }
            Kind::Worker(worker) => list("worker", &worker.argv),
        }
        if let Some(once) = manifest.kind.once() {
            list("once", once);
        }
        if let Some(argv) = &manifest.normalise {
            list("normalise", argv);
        }
        // Flags enter command lines by `{tool.flags}`, and which of them do depends on the program that was found.
        for (name, tool) in &manifest.tools {
            for (candidate, flags) in &tool.flags {
                list(&format!("flags of {name} {candidate}"), flags);
            }
        }
        message.count(manifest.env.len());
        for (name, value) in &manifest.env {
            message.text(name).text(value);
        }
        let text = format!("{} {}", manifest.id, manifest.version);
        Self { identity: Part::new(message.finish(), &text), toolchain, libraries: None }
    }

    /// All of it in one digest, for what has the same parts as a key: compiled programs, what a person agreed to.
    #[must_use]
    pub fn together(&self) -> Digest {
        let Self { identity, toolchain, libraries } = self;
        let mut message = Message::new("polyloom.key/2 executor with its programs");
        message.digest(&identity.digest).digest(&toolchain.digest);
        if let Some(libraries) = libraries {
            message.digest(&libraries.digest);
        }
        message.finish()
    }

    /// The identity of what is installed, in the order in which it is looked for; nothing when there is no line.
    #[must_use]
    pub fn libraries(lines: &[String]) -> Option<Identity> {
        if lines.is_empty() {
            return None;
        }
        let mut message = Message::new("polyloom.key/2 libraries");
        message.count(lines.len());
        for line in lines {
            message.text(line);
        }
        let digest = message.finish();
        Some(Part::new(digest, &format!("{} installed, {}", lines.len(), digest.short())))
    }

    /// The toolchain's identity from what its programs print about themselves (tool's name, its line).
    #[must_use]
    pub fn toolchain<'a>(tools: impl IntoIterator<Item = (&'a str, &'a str)>) -> Identity {
        let mut message = Message::new("polyloom.key/2 toolchain");
        let mut text = String::new();
        for (name, line) in tools {
            message.text(name).text(line);
            if !text.is_empty() {
                text.push_str("; ");
            }
            // What a program prints about itself may go on for pages.
            let first = line.lines().map(str::trim).find(|line| !line.is_empty());
            text.push_str(&format!("{name}: {}", first.unwrap_or_default()));
        }
        if text.is_empty() {
            text.push_str("none");
        }
        Part::new(message.finish(), &text)
    }
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Per executor that a cell names.
    pub executors: HashMap<ExecutorId, ExecutorFacts>,
    /// The content of each `file:` input (for a directory: of its tree).
    pub files: HashMap<(CellId, PortName), Digest>,
    /// The normal form of a cell's code, where its executor gives one; else its bytes are keyed.
    pub codes: HashMap<CellId, Digest>,
    /// The values of the variables that cells ask for; nothing where one is not set.
    pub env: HashMap<String, Option<Digest>>,
}
