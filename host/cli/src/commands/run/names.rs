//! The names by which watched files are found: of themselves, and of each folder and link on the way to them. Whoever takes one of these names away
//! or gives it to another puts other files in the place of those that were read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use polyloom_runtime::{Sources, Ways};

/// What is watched, free of links, and how it was come to.
#[derive(Debug, Default)]
pub struct Names {
    sources: Sources,
    way: BTreeSet<PathBuf>,
}

impl Names {
    /// The names of these files and folders; relative ones are relative to `here`. What is not there has a name, too.
    pub fn of(sources: &Sources, here: &Path) -> Self {
        let mut ways = Ways::default();
        let mut follow = |path: &PathBuf| ways.to(&here.join(path));
        let globs = sources.globs.iter();
        let sources = Sources {
            files: sources.files.iter().map(&mut follow).collect(),
            folders: sources.folders.iter().map(&mut follow).collect(),
            globs: globs.map(|(root, pattern)| (follow(root), pattern.clone())).collect(),
            beside: sources.beside.as_ref().map(&mut follow),
            installed: sources.installed.iter().map(&mut follow).collect(),
            apart: sources.apart.iter().map(&mut follow).collect(),
        };
        Self { sources, way: ways.names }
    }

    /// What is watched.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Every folder in which one of the names is.
    pub fn folders(&self) -> BTreeSet<&Path> {
        self.way.iter().filter_map(|name| name.parent()).collect()
    }

    /// Whether a change of what is under this name is one of what is watched.
    pub fn has(&self, path: &Path) -> bool {
        self.sources.has(path)
    }

    /// Whether it is the name of something that is watched, or one on the way to it.
    pub fn names(&self, path: &Path) -> bool {
        self.has(path) || self.way.contains(path)
    }

    /// Whether it is one if the name itself came, went or is another's now. What is there and is no folder holds nothing.
    pub fn leads(&self, path: &Path) -> bool {
        self.way.contains(path)
            || (self.sources.may_hold(path)
                && path.symlink_metadata().map_or(true, |meta| meta.is_dir()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_link_on_the_way_is_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/deep")).unwrap();
        symlink("real", root.join("one")).unwrap();
        symlink(root.join("one/deep"), root.join("two")).unwrap();
        symlink("round", root.join("round")).unwrap();
        let sources = Sources {
            files: ["two/../deep/a".into(), "round/b".into()].into(),
            ..Sources::default()
        };
        let names = Names::of(&sources, &root);
        assert!(names.has(&root.join("real/deep/a")));
        assert!(!names.has(&root.join("two/../deep/a")));
        for way in ["two", "one", "real", "real/deep", "real/deep/a", "round", ""] {
            assert!(names.leads(&root.join(way)), "{way}");
        }
        assert!(!names.leads(&root.join("other")));
        let folders = names.folders();
        assert!(folders.contains(&*root) && folders.contains(&*root.join("real/deep")));
        assert!(folders.contains(Path::new("/")));
    }
}
