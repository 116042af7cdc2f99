//! `.polyloom/policy.toml`: the project's own word on policies. It can come with somebody's repository, so it can only tighten and deny.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use polyloom_model::{Grants, Levels, Permission, Preset};
use polyloom_protocol::meta::{Level, MECHANISMS};
use polyloom_worker::tools::Surroundings;
use serde::Deserialize;

use super::flags;
use crate::failure::{Exit, Failure};

/// The file in the project's folder.
pub const NAME: &str = "policy.toml";
/// A larger one is not meant.
const LARGEST: u64 = 64 << 10;

/// What the file says.
#[derive(Debug, Default)]
pub struct ProjectPolicy {
    /// The least preset.
    pub preset: Option<Preset>,
    /// The least levels.
    pub enforce: Levels,
    deny: BTreeMap<Permission, Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Written {
    policy: Option<String>,
    #[serde(default)]
    enforce: BTreeMap<String, Level>,
    #[serde(default)]
    deny: Denied,
}

/// `true` for all of a kind, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Some {
    All(bool),
    These(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Denied {
    net: Option<Some>,
    read: Option<Some>,
    write: Option<Some>,
    env: Option<Some>,
    run: Option<Some>,
}

impl ProjectPolicy {
    /// Reads the file, where there is one. One that can't be read is an error: what it forbids must not be allowed for it.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(NAME);
        let wrong_at = |place: &str, why: String| {
            Failure::new(Exit::Usage, format!("`{}{place}`: {why}", path.display()))
                .hint("valid: `policy`, `enforce`, `deny`, e.g. `policy = \"strict\"`")
        };
        let wrong = |why| wrong_at("", why);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path);
        let file: File = match file {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let mut text = String::new();
        let read = file.take(LARGEST + 1).read_to_string(&mut text);
        read.map_err(|error| wrong(error.to_string()))?;
        if text.len() as u64 > LARGEST {
            return Err(wrong("it is too large".to_owned()));
        }
        let written: Written = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let place = before.map(|before| {
                let (lines, last) = (before.matches('\n').count(), before.rsplit('\n').next());
                format!(":{}:{}", lines + 1, last.unwrap_or_default().chars().count() + 1)
            });
            wrong_at(&place.unwrap_or_default(), error.message().replace('\n', ", "))
        })?;
        Self::of(written).map_err(wrong)
    }

    fn of(written: Written) -> Result<Self, String> {
        let preset = written.policy.as_deref().map(Preset::from_file).transpose();
        if let Some(name) = written.enforce.keys().find(|name| !MECHANISMS.contains(&name.as_str()))
        {
            let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(format!("`{shown}` is not a mechanism; valid: {}", MECHANISMS.join(", ")));
        }
        let Denied { net, read, write, env, run } = written.deny;
        let kinds = [
            (Permission::Net, net),
            (Permission::Read, read),
            (Permission::Write, write),
            (Permission::Env, env),
            (Permission::Run, run),
        ];
        let mut deny = BTreeMap::new();
        for (kind, some) in kinds {
            match some {
                None | Option::Some(Some::All(false)) => {}
                Option::Some(Some::All(true)) => {
                    deny.insert(kind, vec![String::new()]);
                }
                Option::Some(Some::These(list)) => {
                    deny.insert(kind, list);
                }
            }
        }
        let preset = preset.map_err(|error| error.to_string())?;
        Ok(Self { preset, enforce: written.enforce, deny })
    }

    /// Adds what the file denies.
    pub fn deny_over(&self, grants: &mut Grants, root: &Path, around: &Surroundings) {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        for (kind, texts) in &self.deny {
            for text in texts {
                // What can't be read denies everything of its kind.
                let grant = flags::grant(*kind, text, &root, around);
                let grant = grant.unwrap_or(polyloom_model::Grant::All);
                grants.deny.entry(*kind).or_default().push(grant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_tightens_and_denies_and_nothing_else() {
        let parse = |text| {
            let written: Result<Written, _> = toml::from_str(text);
            written.map_err(|error| error.to_string()).and_then(ProjectPolicy::of)
        };
        let policy = parse(
            "policy = \"strict\"\n[enforce]\nmemory = \"full\"\n[deny]\nnet = true\nenv = [\"AWS_*\"]\n",
        );
        let policy = policy.unwrap();
        assert_eq!(policy.preset, Option::Some(Preset::Strict));
        assert_eq!(policy.deny[&Permission::Net], [""]);
        for bad in
            ["policy = \"trusted\"", "allow = { net = true }", "[enforce]\nmemry = \"full\"", "x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
