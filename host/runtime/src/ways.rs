//! How files are come to: each folder and link on the way. Whoever takes one of these names away or gives it to another puts other files in
//! the place of those that were read.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links on one way the kernel follows.
const LINKS: u32 = 40;

/// The ways to many paths.
#[derive(Debug, Default)]
pub struct Ways {
    /// Every name that was come by, free of links but for the last part: files, folders and links.
    pub names: BTreeSet<PathBuf>,
    /// Where folders lead: a flow has many files in few of them.
    folders: HashMap<PathBuf, PathBuf>,
}

impl Ways {
    /// Where a path leads. A relative one stays relative to the current folder, as far as no link leads out of it.
    pub fn to(&mut self, path: &Path) -> PathBuf {
        let Some((folder, name)) = path.parent().zip(path.file_name()) else {
            return self.follow(PathBuf::new(), parts(path).collect());
        };
        let at = match self.folders.get(folder) {
            Some(at) => at.clone(),
            None => {
                let at = self.follow(PathBuf::new(), parts(folder).collect());
                self.folders.insert(folder.to_owned(), at.clone());
                at
            }
        };
        self.follow(at, vec![name.to_owned()])
    }

    /// Goes on from a place that is free of links, and notes each name it comes by.
    fn follow(&mut self, mut at: PathBuf, mut left: Vec<OsString>) -> PathBuf {
        let mut followed = 0;
        while let Some(part) = left.pop() {
            if part == "/" {
                at = part.into();
            } else if part == ".." {
                match at.file_name() {
                    Some(_) => at.pop(),
                    // Above the root is the root.
                    None if at.has_root() => true,
                    None => {
                        at.push(part);
                        true
                    }
                };
            } else {
                at.push(part);
                self.names.insert(at.clone());
                if followed < LINKS
                    && let Ok(target) = at.read_link()
                {
                    followed += 1;
                    left.extend(parts(&target));
                    at.pop();
                }
            }
        }
        at
    }
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components()
        .rev()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Ways;

    #[test]
    fn ways_are_followed_from_where_one_is() {
        let mut ways = Ways::default();
        for (path, end) in [
            ("no/such/../a", "no/a"),
            ("./b", "b"),
            ("../../c/../d", "../../d"),
            ("/../no/e", "/no/e"),
            ("", ""),
        ] {
            assert_eq!(ways.to(Path::new(path)), Path::new(end), "{path}");
        }
        let names: Vec<_> = ways.names.iter().filter_map(|name| name.to_str()).collect();
        assert_eq!(names, ["/no", "/no/e", "../../c", "../../d", "b", "no", "no/a", "no/such"]);
    }
}
