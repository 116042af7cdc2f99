//! The text of an `entry_points.txt`: groups, names, values. It comes from anybody.
//!
//! <https://packaging.python.org/en/latest/specifications/entry-points/>

/// More entries of ours than this are passed over.
const MOST: usize = 200;
/// Longer names and values are none.
const LONGEST: usize = 200;

/// The groups that are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// `polyloom.executors`.
    Executors,
    /// `fabric_nodes.executors`.
    Legacy,
}

/// An entry point of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub group: Group,
    pub name: String,
    pub value: String,
}

/// The entry points of ours, and what is wrong with the text, if anything.
pub(super) fn read(text: &str) -> (Vec<Entry>, Option<String>) {
    let mut entries = Vec::new();
    let mut group = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            group = match name.trim() {
                "polyloom.executors" => Some(Group::Executors),
                "fabric_nodes.executors" => Some(Group::Legacy),
                _ => None,
            };
            continue;
        }
        let Some(group) = group else { continue };
        let wrong = |why: &str| Some(format!("{why}, in line {}", at + 1));
        let Some((name, value)) = line.split_once('=') else {
            return (entries, wrong("has an entry without `=`"));
        };
        if name.len().max(value.len()) > LONGEST {
            return (entries, wrong("has an entry that is too long"));
        }
        if entries.len() == MOST {
            return (entries, wrong("has too many entries"));
        }
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        entries.push(Entry { group, name, value });
    }
    (entries, None)
}

/// What a value leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `MODULE:executor.toml`.
    Manifest { module: String },
    /// `MODULE:OBJECT`.
    Object { module: String, object: String },
}

impl Value {
    /// Reads a value. Names are Python's, of ASCII: nothing in one is a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // `[extra]` is what else may have to be installed.
        let text = text.split_once('[').map_or(text, |(text, _)| text).trim_end();
        let (module, object) = text.split_once(':')?;
        let (module, object) = (module.trim(), object.trim());
        if !dotted(module) || !dotted(object) {
            return None;
        }
        let module = module.to_owned();
        Some(match object {
            "executor.toml" => Self::Manifest { module },
            _ => Self::Object { module, object: object.to_owned() },
        })
    }
}

fn dotted(text: &str) -> bool {
    text.split('.').all(|name| {
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_our_groups_are_read() {
        let text = "# c\n[console_scripts]\nx = y:z\n[polyloom.executors]\n a = p:executor.toml\nb=p.q:r [fast]\n\n\
                    [fabric_nodes.executors]\nc = p:_exec\n[other]\nnothing\n";
        let (entries, wrong) = read(text);
        assert_eq!(wrong, None);
        let shown: Vec<_> =
            entries.iter().map(|e| (e.group, e.name.as_str(), e.value.as_str())).collect();
        let (ours, old) = (Group::Executors, Group::Legacy);
        assert_eq!(
            shown,
            [(ours, "a", "p:executor.toml"), (ours, "b", "p.q:r [fast]"), (old, "c", "p:_exec")]
        );
    }

    #[test]
    fn what_is_no_entry_is_told_with_its_line_and_does_not_hide_those_before_it() {
        let (entries, wrong) = read("[polyloom.executors]\na = p:q\nno entry\n");
        assert_eq!(entries.len(), 1);
        assert_eq!(wrong.as_deref(), Some("has an entry without `=`, in line 3"));
        let long = format!("[polyloom.executors]\n{} = p:q\n", "a".repeat(LONGEST + 1));
        assert!(read(&long).1.is_some());
        let many = format!("[polyloom.executors]\n{}", "a = p:q\n".repeat(MOST + 1));
        assert_eq!(read(&many).0.len(), MOST);
    }

    #[test]
    fn no_value_is_a_path() {
        for bad in [
            "",
            "p",
            ":q",
            "p:",
            "../p:q",
            "p..q:r",
            "p/q:r",
            "p:../q",
            "/p:q",
            "p:q r",
            "p\u{1b}:q",
            "p:q/executor.toml",
        ] {
            assert_eq!(Value::parse(bad), None, "{bad}");
        }
        let module = "p.q".to_owned();
        assert_eq!(Value::parse("p.q : executor.toml"), Some(Value::Manifest { module }));
    }
}
