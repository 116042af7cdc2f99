//! An executor ready to run here: its manifest, the programs found for it, and argv templates filled in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{CommandSpec, Kind, Manifest};
use polyloom_sandbox::View;

use crate::tools::Found;

/// Where the host's own binary is inside a sandbox.
pub const BINARY: &str = "/polyloom/bin/polyloom";
/// Where a worker finds what is made once for all of its kind, beside the SDK.
pub const ONCE: &str = "/polyloom/once";
/// What stands in a manifest's environment for the processors that a cell may use.
pub const CPUS: &str = "{cpus}";
/// Where the folder of an executor's manifest is inside a sandbox.
pub const DIR: &str = "/polyloom/executor";
/// Where the compiled head of a cell's code is inside the sandbox in which it is compiled.
pub const HEAD: &str = "/cell/head";
/// Where the embedded SDK is inside a sandbox.
pub const SDK: &str = "/polyloom/sdk";

/// An executor whose programs have been found.
#[derive(Debug, Clone)]
pub struct Executor {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Its programs by tool name.
    pub tools: BTreeMap<String, Found>,
}

/// What `{code}`, `{program}`, `{args}` and `{head}` stand for in one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// The code file.
    pub code: &'a str,
    /// The compiled program, where there is one.
    pub program: &'a str,
    /// The cell's arguments.
    pub args: &'a [String],
    /// The text of the head, where there is one.
    pub head: Option<&'a str>,
    /// How paths are to be spelled.
    pub view: &'a View,
}

impl Executor {
    /// The identity of all its programs: part of every key.
    #[must_use]
    pub fn toolchain(&self) -> String {
        let mut text = String::new();
        for (name, found) in &self.tools {
            text.push_str(name);
            text.push_str(" = ");
            text.push_str(&found.identity);
            text.push('\n');
        }
        text
    }

    /// Itself as one that makes what all its programs find when they start, if there is such a thing: that is run as a compiler of heads is, but that there is
    /// no code.
    #[must_use]
    pub fn once(&self) -> Option<Self> {
        let spec = CommandSpec {
            compile: Some(self.manifest.kind.once()?.to_vec()),
            head: None,
            once: None,
            run: Vec::new(),
            ahead: None,
            component: None,
            zygote: None,
            instances: None,
        };
        let manifest = Manifest { kind: Kind::Command(spec), ..(*self.manifest).clone() };
        Some(Self { manifest: Arc::new(manifest), tools: self.tools.clone() })
    }

    /// What its programs have installed, in their order: part of every key.
    #[must_use]
    pub fn libraries(&self) -> Vec<String> {
        self.tools.values().flat_map(|found| &found.libraries).cloned().collect()
    }

    /// Files and folders by whose change there may be something else installed, as far as its programs name them.
    pub fn watch(&self) -> impl Iterator<Item = &Path> {
        /// More of them are not watched: a folder each has a cost.
        const MOST: usize = 100;
        self.tools.values().flat_map(|found| &found.watch).map(PathBuf::as_path).take(MOST)
    }

    /// The folder of its manifest, where its arguments refer to it (`{dir}`).
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        if !self.manifest.mentions("{dir}") {
            return None;
        }
        let folder = self.manifest.path.as_ref()?.parent()?;
        // The spawner's own folder is another one.
        std::path::absolute(folder).ok()
    }

    /// Directories to bind read-only beyond the system's.
    #[must_use]
    pub fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = Vec::new();
        for root in self.tools.values().flat_map(|found| &found.roots) {
            if !roots.contains(root) {
                roots.push(root.clone());
            }
        }
        roots
    }

    /// `PATH` of its cells: the programs' own folders first.
    #[must_use]
    pub fn path(&self) -> OsString {
        let mut dirs: Vec<&Path> = Vec::new();
        for dir in self.tools.values().filter_map(|found| found.program.parent()) {
            if !dirs.contains(&dir) && !dir.starts_with("/usr/bin") && !dir.starts_with("/bin") {
                dirs.push(dir);
            }
        }
        let mut path = OsString::new();
        for dir in dirs {
            path.push(dir);
            path.push(":");
        }
        path.push("/usr/local/bin:/usr/bin:/bin");
        path
    }

    /// Fills in an argv template of the manifest, whose placeholders were checked when it was read.
    #[must_use]
    pub fn expand(&self, template: &[String], slots: Slots<'_>) -> Vec<OsString> {
        let mut argv = Vec::with_capacity(template.len() + slots.args.len());
        for item in template {
            if item == "{args}" {
                argv.extend(slots.args.iter().map(OsString::from));
            } else if item == "{head.flags}" {
                if let (Some(_), Kind::Command(command)) = (slots.head, &self.manifest.kind) {
                    let flags = command.head.iter().flat_map(|head| &head.flags);
                    argv.extend(flags.map(|flag| self.fill(flag, slots)));
                }
            } else if let Some(tool) =
                item.strip_prefix('{').and_then(|rest| rest.strip_suffix(".flags}"))
            {
                let found = self.tools.get(tool).map(|found| found.name.as_str());
                let flags = self
                    .manifest
                    .tools
                    .get(tool)
                    .zip(found)
                    .and_then(|(t, name)| t.flags.get(name));
                argv.extend(flags.into_iter().flatten().map(OsString::from));
            } else {
                argv.push(self.fill(item, slots));
            }
        }
        argv
    }

    fn fill(&self, item: &str, slots: Slots<'_>) -> OsString {
        let mut out = OsString::new();
        let mut rest = item;
        while let Some((before, after)) = rest.split_once('{') {
            out.push(before);
            let Some((name, tail)) = after.split_once('}') else {
                out.push("{");
                rest = after;
                continue;
            };
            match name {
                "code" => out.push(slots.code),
                "program" => out.push(slots.program),
                "head" => out.push(slots.head.unwrap_or_default()),
                "in" => out.push(slots.view.path("/cell/in")),
                "out" => out.push(slots.view.path("/cell/out")),
                "work" => out.push(slots.view.path("/cell/work")),
                "dir" => out.push(slots.view.path(DIR)),
                "sdk" => out.push(slots.view.path(SDK)),
                "polyloom" => out.push(slots.view.path(BINARY)),
                tool => match self.tools.get(tool) {
                    Some(found) => out.push(&found.program),
                    None => {
                        out.push("{");
                        out.push(tool);
                        out.push("}");
                    }
                },
            }
            rest = tail;
        }
        out.push(rest);
        out
    }
}
