//! The files that a flow is made of and reads: those whose change may make its plan another.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use polyloom_model::{Call, Cell, Flow, Items, Match, Role, Source, matching};

/// Names of files and folders. Whether there is anything under a name is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files.
    pub files: BTreeSet<PathBuf>,
    /// Folders, with all that is in them. What one is read as a whole for is among the files, too; in others patterns are looked for.
    pub folders: BTreeSet<PathBuf>,
    /// Patterns of files, each with the folder it starts in.
    pub globs: BTreeSet<(PathBuf, String)>,
    /// A folder whose own files all count.
    pub beside: Option<PathBuf>,
    /// Files, and folders of which only the names in them count: what is installed for its programs.
    pub installed: BTreeSet<PathBuf>,
    /// Folders in which nothing counts but files that are named.
    pub apart: BTreeSet<PathBuf>,
}

impl Sources {
    /// Whether a name is one of them, below a folder that is read as a whole, or one that a pattern matches.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        let whole = |folder: &PathBuf| self.files.contains(folder) && path.starts_with(folder);
        self.files.contains(path)
            || self.installs(path)
            || !self.is_apart(path)
                && (self.folders.iter().any(whole)
                    || self.matches(path).any(|it| it.file)
                    || self.beside.as_deref() == path.parent())
    }

    /// Whether it is the name of something that is installed.
    #[must_use]
    pub fn installs(&self, path: &Path) -> bool {
        let is_in = |folder: &Path| self.installed.contains(folder);
        is_in(path) || path.parent().is_some_and(is_in)
    }

    /// Whether files that a pattern matches may be in a folder of this name.
    #[must_use]
    pub fn may_hold(&self, path: &Path) -> bool {
        !self.is_apart(path) && self.matches(path).any(|it| it.folder)
    }

    fn matches(&self, path: &Path) -> impl Iterator<Item = Match> {
        self.globs.iter().filter_map(move |(root, pattern)| {
            Some(matching(pattern, path.strip_prefix(root).ok()?))
        })
    }

    fn is_apart(&self, path: &Path) -> bool {
        self.apart.iter().any(|folder| path.starts_with(folder))
    }
}

/// What a flow as it is written is made of.
#[must_use]
pub fn sources(flow: &Flow) -> Sources {
    let mut all = Sources::default();
    collect(flow, &mut all);
    all
}

fn collect(flow: &Flow, all: &mut Sources) {
    all.files.insert(flow.path.clone());
    for choice in flow.tools.iter().filter(|choice| choice.program.components().count() > 1) {
        all.files.insert(flow.root.join(&choice.program));
    }
    for cell in &flow.cells {
        match &cell.role {
            Role::Flow(sub) => collect(&sub.flow, all),
            Role::Program | Role::Gather | Role::Open | Role::Gate => match &cell.call {
                Some(call) => called(flow, cell, call, all),
                None => {
                    all.files.insert(flow.root.join(&cell.code.origin.path));
                }
            },
        }
        let axes = cell.map.iter().filter_map(|axis| match &axis.items {
            Items::Of(source) => Some(source),
            Items::Glob(pattern) => {
                all.folders.insert(flow.root.join(fixed(pattern)));
                all.globs.insert((flow.root.clone(), pattern.clone()));
                None
            }
        });
        let axes: Vec<_> = axes.collect();
        for source in cell.inputs.values().map(|input| &input.source).chain(axes) {
            if let Source::File(path) = source {
                let path = flow.root.join(path);
                // It may be either, and become the other.
                if path.is_dir() {
                    all.folders.insert(path.clone());
                }
                all.files.insert(path);
            }
        }
    }
}

/// The files that a function reaches, and those that would be found in their place if they were there.
fn called(flow: &Flow, cell: &Cell, call: &Call, all: &mut Sources) {
    // What is installed is known by what its language's programs say of it.
    if cell.code.name.is_empty() {
        return;
    }
    let own = Path::new(&cell.code.name);
    for path in call.files.iter().map(|(path, _)| path.as_path()).chain([own]) {
        all.files.insert(flow.root.join(path));
        let extension = path.extension().map(|it| it.to_string_lossy()).unwrap_or_default();
        for folder in path.ancestors().skip(1) {
            all.folders.insert(flow.root.join(folder));
            for names in [format!("*.{extension}*"), format!("*/*.{extension}*")] {
                let pattern = folder.join(names).to_string_lossy().into_owned();
                all.globs.insert((flow.root.clone(), pattern));
            }
        }
    }
}

/// The folder below which all files are that a pattern can match.
fn fixed(pattern: &str) -> PathBuf {
    let parts: Vec<_> = Path::new(pattern).components().collect();
    let plain =
        |part: &&Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let folders = &parts[..parts.len().saturating_sub(1)];
    folders.iter().take_while(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Sources, fixed};

    #[test]
    fn a_pattern_stays_in_its_folder() {
        for (pattern, folder) in
            [("data/*.csv", "data"), ("*.csv", ""), ("a/b/c.csv", "a/b"), ("a/x[12]/c/*.csv", "a")]
        {
            assert_eq!(fixed(pattern), Path::new(folder), "{pattern}");
        }
    }

    #[test]
    fn a_name_counts_if_it_is_named_or_below() {
        let sources = Sources {
            files: ["/p/a".into(), "/p/tree".into(), "/p/tree/.own/named".into()].into(),
            folders: ["/p/tree".into(), "/p/in".into()].into(),
            globs: [("/p".into(), "in/**/*.csv".into())].into(),
            beside: Some("/q".into()),
            installed: ["/lib/site".into()].into(),
            apart: ["/p/tree/.own".into()].into(),
        };
        for (path, has) in [
            ("/p/a", true),
            ("/p/b", false),
            ("/p/tree/x/y", true),
            ("/p/treee", false),
            ("/p/tree/.own", false),
            ("/p/tree/.own/x", false),
            ("/p/tree/.own/named", true),
            ("/p/in/x.csv", true),
            ("/p/in/deep/x.csv", true),
            ("/p/in/x.txt", false),
            ("/q/z", true),
            ("/q/z/y", false),
            ("/lib/site/a.dist-info", true),
            ("/lib/site/a/b.py", false),
            ("/lib/other", false),
        ] {
            assert_eq!(sources.has(Path::new(path)), has, "{path}");
        }
        for (path, may) in [("/p/in/deep", true), ("/p/in/.deep", false), ("/p/other", false)] {
            assert_eq!(sources.may_hold(Path::new(path)), may, "{path}");
        }
    }
}
