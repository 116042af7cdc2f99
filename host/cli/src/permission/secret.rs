//! Where a secret comes from is a thing to be granted, too: a variable and a file as for any cell, and a program only by its whole command line,
//! since it runs on the host, as the person and outside of any sandbox.

use std::path::{Path, PathBuf};

use polyloom_model::{Ask, Cell, Flow, Grants, SecretHandle, Verdict};
use polyloom_report::escape_line;
use polyloom_runtime::permit;
use polyloom_worker::secrets::{self, Pin, Pinned};
use polyloom_worker::tools::Surroundings;

use super::{Item, shown};
use crate::args::PermissionArgs;

/// What decides about a handle.
pub struct From<'a> {
    /// The folder of the outermost flow.
    pub root: &'a Path,
    /// The person's surroundings.
    pub around: &'a Surroundings,
    /// What flags and files say.
    pub grants: &'a Grants,
    /// Where cells of the flow may write.
    pub written: &'a [PathBuf],
    /// The flags themselves.
    pub args: &'a PermissionArgs,
}

/// A secret that may be granted.
pub struct Source {
    /// As a thing that is asked for.
    pub item: Item,
    /// As it was looked at.
    pub pinned: Pinned,
}

impl From<'_> {
    /// Looks at where a secret comes from; or why it is to be had from nowhere.
    ///
    /// `folder`: of the cell's own flow, relative to that of the outermost one.
    pub fn source(
        &self,
        name: &str,
        handle: &SecretHandle,
        folder: &Path,
    ) -> Result<Source, String> {
        let kind = format!("secret {name} from");
        let Surroundings { home, path, .. } = self.around;
        let pinned = secrets::pin(handle, &self.root.join(folder), home.as_deref(), path);
        let pinned = pinned.map_err(|error| {
            format!("asks for `{}`: {error}", shown(&kind, &handle.text_in(folder), None))
        })?;
        let item = match handle {
            SecretHandle::Env(variable) => {
                let ask = Ask::Env(variable.clone());
                Item {
                    shown: shown(&format!("{kind} env"), variable, None),
                    place: None,
                    flag: ask.flag(None),
                    verdict: self.grants.verdict(&ask, None),
                }
            }
            SecretHandle::File(written) => {
                let SecretHandle::File(place) = &pinned.handle else {
                    unreachable!("a handle that was looked at is of the same kind")
                };
                let ask = Ask::Read(written.clone());
                Item {
                    shown: shown(&format!("{kind} file"), &ask.what(), Some(place)),
                    place: Some(place.clone()),
                    flag: ask.flag(Some(place)),
                    verdict: self.grants.verdict(&ask, Some(place)),
                }
            }
            SecretHandle::Cmd(words) => {
                self.command(&kind, words, &handle.text_in(folder), &pinned)?
            }
        };
        Ok(Source { item, pinned })
    }

    fn command(
        &self,
        kind: &str,
        words: &[String],
        text: &str,
        pinned: &Pinned,
    ) -> Result<Item, String> {
        // With its folder, where that is not the one of the outermost flow: what is granted is run there and nowhere else.
        let command = text.strip_prefix("cmd:").unwrap_or(text);
        let shown = shown(&format!("{kind} running"), command, None);
        // It runs on the host, as the person: whatever a cell can put there would, too.
        let writes = |way: &&PathBuf| self.written.iter().any(|folder| way.starts_with(folder));
        if let Some(way) = pinned.ways.iter().find(writes) {
            return Err(format!(
                "asks for `{shown}`: `{}` can be changed by a cell of this flow, and would run outside of any sandbox",
                escape_line(&way.to_string_lossy())
            ));
        }
        let program = PathBuf::from(words.first().map_or("", String::as_str));
        let place = pinned.pins.iter().find_map(|pin| match pin {
            Pin::Program { place, .. } => Some(place.as_path()),
            Pin::File { .. } | Pin::Argument { .. } => None,
        });
        let denied = self.grants.verdict(&Ask::Run(program), place);
        let said = self.args.allow_cmd.iter().any(|said| {
            let handle = format!("cmd:{said}").parse::<SecretHandle>();
            said == command || handle.is_ok_and(|handle| handle.to_string() == text)
        });
        let verdict = match denied {
            Verdict::Denied => Verdict::Denied,
            Verdict::Granted | Verdict::Open if said => Verdict::Granted,
            Verdict::Granted | Verdict::Open => Verdict::Open,
        };
        let flag = format!("--allow-cmd='{}'", command.replace('\'', r"'\''"));
        Ok(Item { shown, place: place.map(Path::to_owned), flag, verdict })
    }
}

/// Where cells of the flow may write, if they are granted what they ask for.
pub fn written(flow: &Flow, around: &Surroundings) -> Vec<PathBuf> {
    let asks = flow.cells.iter().flat_map(|cell| cell.asks.iter().map(move |ask| (cell, ask)));
    let writes = asks.filter(|(_, ask)| matches!(ask, Ask::Write(_)));
    let place = |(cell, ask): (&Cell, &Ask)| {
        // What can't be placed is opened to no cell.
        permit::place(ask, &flow.root, &cell.folder, around, &[]).ok()?.place
    };
    writes.filter_map(place).collect()
}
