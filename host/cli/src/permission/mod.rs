//! Who may do what: flags, a project's policy file, what was granted before, and the question to the person. Says for each cell of a plan
//! whether it gets what it asks for.

mod ask;
mod file;
mod flags;
mod policy;
mod secret;

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use polyloom_model::{
    Ask, CellId, Digest, Grant, Grants, NetGrant, Permission, Policy, Preset, SecretHandle, Verdict,
};
use polyloom_runtime::permit::{self, Placed};
use polyloom_runtime::{Permit, Place, PolicyWord, Prepared};
use polyloom_worker::attempt::Granted;

use crate::args::PermissionArgs;
use crate::failure::{Exit, Failure};
use crate::world::World;

pub use file::{Entry, GrantFile};
pub use policy::{NAME as POLICY, ProjectPolicy};

/// What was settled before a run.
pub struct Settled {
    /// The word on each cell of the plan that asks for something.
    pub permits: HashMap<CellId, Permit>,
    /// The words on policies outside of the flow.
    pub policy: PolicyWord,
    /// Cells that are denied because nobody was asked.
    pub open: HashSet<CellId>,
}

/// Whether a person is asked for what is not settled by flags.
pub fn asks(args: &PermissionArgs) -> bool {
    ask::possible() && !args.no_prompt
}

/// A cell that asks for something nobody has decided yet.
struct Question {
    cell: CellId,
    lang: String,
    code: String,
    digest: Digest,
    granted: Granted,
    items: Vec<Item>,
    /// Whether the answer may be kept: not where a program is run, whose files may be others tomorrow.
    lasting: bool,
}

/// Settles what the cells of a plan ask for. `folder`: the project's `.polyloom`, where there is one.
pub fn settle(
    world: &World,
    place: &Place,
    prepared: &Prepared,
    args: &PermissionArgs,
    folder: Option<&Path>,
) -> Result<Settled, Failure> {
    let flow = &prepared.flow;
    let project = match folder {
        Some(folder) => ProjectPolicy::read(folder)?,
        None => ProjectPolicy::default(),
    };
    let (preset, levels) = flags::policy(args)?;
    let policy =
        PolicyWord { project: (project.preset, project.enforce.clone()), person: (preset, levels) };
    let mut grants = flags::grants(args, &place.around)?;
    project.deny_over(&mut grants, &flow.root, &place.around);
    let records = records(world, place, folder);
    let written = secret::written(&prepared.templates, &place.around);
    let from = secret::From {
        root: &flow.root,
        around: &place.around,
        grants: &grants,
        written: &written,
        args,
    };
    let mut permits = HashMap::new();
    let mut questions = Vec::new();
    let mut known = None;
    // Also those whose result is there: it was made with what they ask for, and is not to be had without.
    for cell in prepared.asking() {
        let placed = match permit::placed(cell, &flow.root, &place.around, &records) {
            Ok(placed) => placed,
            Err(wrong) => {
                let texts = wrong.iter().map(|(ask, error)| {
                    let error: &dyn std::error::Error = error;
                    let why = polyloom_runtime::chain(error);
                    polyloom_report::escape_line(&format!("asks for `{ask}`: {why}")).into_owned()
                });
                let text = texts.collect::<Vec<_>>().join("\n");
                permits.insert(cell.declared.clone(), Permit::Denied(text));
                continue;
            }
        };
        let mut granted = permit::granted(&placed);
        granted.denied = denied_hosts(&grants);
        let mut items: Vec<Item> =
            placed.iter().map(|asked| Item::of_ask(asked, &grants)).collect();
        let mut unfit = Vec::new();
        for (name, handle) in &cell.secrets {
            match from.source(name, handle, &cell.folder) {
                Ok(secret::Source { item, pinned }) => {
                    granted.texts.push(item.shown.clone());
                    granted.secrets.insert(name.clone(), pinned.handle);
                    granted.pins.insert(name.clone(), pinned.pins);
                    items.push(item);
                }
                Err(why) => unfit.push(why),
            }
        }
        if !unfit.is_empty() {
            permits.insert(cell.declared.clone(), Permit::Denied(unfit.join("\n")));
            continue;
        }
        let with = |verdict| items.iter().filter(move |item| item.verdict == verdict);
        let denied = if policy.over(&cell.policy).preset == polyloom_model::Preset::Strict {
            let why = "the policy `strict` grants nothing; `--policy=default` lets it be granted";
            Some(format!("asks for {}: {why}", list(items.iter())))
        } else if with(Verdict::Denied).next().is_some() {
            Some(format!("asks for {}: denied", list(with(Verdict::Denied))))
        } else {
            None
        };
        if let Some(text) = denied {
            permits.insert(cell.declared.clone(), Permit::Denied(text));
            continue;
        }
        let identity = prepared.identities.get(&cell.executor);
        // What steers the code is as much a part of what was agreed to.
        let steers = format!("{:?}", (&cell.env, &cell.argv, &cell.stdin, &cell.inputs));
        let mut code = [&cell.code.bytes[..], b"\0", steers.as_bytes()].concat();
        if !cell.map.is_empty() {
            code.extend_from_slice(format!("{:?}", cell.map).as_bytes());
        }
        let digest = digest(&flow.root, &code, identity, &items);
        let lasting = !cell.secrets.values().any(|handle| matches!(handle, SecretHandle::Cmd(_)));
        let mut settled = with(Verdict::Open).next().is_none();
        if !settled && lasting {
            let file = known.get_or_insert_with(|| folder.map(GrantFile::open));
            settled = matches!(file, Some(Ok(file)) if file.holds(&digest));
        }
        if settled {
            permits.insert(cell.declared.clone(), Permit::Granted(Box::new(granted)));
            continue;
        }
        questions.push(Question {
            cell: cell.declared.clone(),
            lang: cell.executor.to_string(),
            code: cell.code.origin.path.display().to_string(),
            digest,
            granted,
            items,
            lasting,
        });
    }
    if let Some(Some(Err(error))) = &known {
        world.screen.note(&format!(
            "warning: what was granted before can't be read ({})\n",
            polyloom_report::escape_line(error)
        ));
    }
    let can_ask = asks(args);
    let mut open = HashSet::new();
    for question in questions {
        let answer = if can_ask { ask::ask(world, &question) } else { ask::Answer::Nobody };
        let permit = match answer {
            ask::Answer::Once | ask::Answer::Always => {
                Permit::Granted(Box::new(question.granted.clone()))
            }
            ask::Answer::No => {
                Permit::Denied(format!("asks for {}: you did not grant it", list(question.open())))
            }
            ask::Answer::Nobody => {
                open.insert(question.cell.clone());
                Permit::Denied(refusal(&question))
            }
        };
        if let (ask::Answer::Always, Some(folder)) = (answer, folder) {
            let entry = Entry {
                cell: question.cell.to_string(),
                lang: question.lang.clone(),
                asks: question.items.iter().map(|item| item.shown.clone()).collect(),
                granted_unix_ms: crate::world::unix_ms(),
                digest: question.digest.hex(),
                seal: String::new(),
            };
            if let Err(error) = GrantFile::add(folder, entry) {
                world.screen.note(&format!(
                    "warning: the grant holds for this run only ({})\n",
                    polyloom_report::escape_line(&error)
                ));
            }
        }
        permits.insert(question.cell, permit);
    }
    Ok(Settled { permits, policy, open })
}

/// What flags grant where no cell asks for anything: just what they name.
pub fn named(
    world: &World,
    place: &Place,
    args: &PermissionArgs,
) -> Result<(Granted, PolicyWord), Failure> {
    let here = Path::new(".");
    let project = ProjectPolicy::read(&here.join(".polyloom"))?;
    let policy = PolicyWord {
        project: (project.preset, project.enforce.clone()),
        person: flags::policy(args)?,
    };
    let mut grants = flags::grants(args, &place.around)?;
    project.deny_over(&mut grants, here, &place.around);
    let records = records(world, place, None);
    let strict = policy.over(&Policy::default()).preset == Preset::Strict;
    let mut all = Vec::new();
    for kind in KINDS {
        let texts = args.allowed(kind).iter().flat_map(|text| flags::split(text));
        for text in texts.filter(|text| !text.is_empty()) {
            let wrong = |why: String| Failure::new(Exit::Usage, format!("--allow-{kind}: {why}"));
            let ask = Ask::parse(kind, &text).map_err(|error| wrong(error.to_string()))?;
            let placed = permit::place(&ask, here, Path::new(""), &place.around, &records);
            let placed = placed.map_err(|error| wrong(polyloom_runtime::chain(&error)))?;
            if grants.verdict(&ask, placed.place.as_deref()) == Verdict::Denied {
                return Err(wrong(format!("`{}` is denied", text.escape_debug())));
            }
            if strict {
                return Err(wrong("the policy `strict` grants nothing".to_owned()));
            }
            all.push(placed);
        }
    }
    let denied = denied_hosts(&grants);
    Ok((Granted { denied, ..permit::granted(&all) }, policy))
}

/// What no name may lead to.
fn denied_hosts(grants: &Grants) -> Vec<NetGrant> {
    let denied = grants.deny.get(&Permission::Net).into_iter().flatten();
    denied
        .filter_map(|grant| match grant {
            Grant::Net(grant) => Some(grant.clone()),
            Grant::All | Grant::Path(_) | Grant::Env(_) => None,
        })
        .collect()
}

/// Where the host keeps what it believes: results, records, grants and the key that seals them, and executors.
fn records(world: &World, place: &Place, folder: Option<&Path>) -> Vec<PathBuf> {
    let config = file::config_folder().ok();
    let own = [Some(place.store.root().to_owned()), folder.map(Path::to_owned), config];
    let own = own.into_iter().flatten().chain(world.executor_folders.iter().cloned());
    own.map(|path| flags::found(&std::path::absolute(&path).unwrap_or(path))).collect()
}

/// What a grant for good is bound to: the flow's folder, the code, whoever runs it, and what exactly it asks for.
fn digest(root: &Path, code: &[u8], executor: Option<&Digest>, items: &[Item]) -> Digest {
    let mut text = b"polyloom.grant/2\n".to_vec();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    text.extend(Digest::of(root.as_os_str().as_bytes()).as_bytes());
    text.extend(Digest::of(code).as_bytes());
    text.extend(executor.map(Digest::hex).unwrap_or_default().as_bytes());
    for item in items {
        text.extend(Digest::of(item.shown.as_bytes()).as_bytes());
        // What is shown of a path that is no text may be shown of others, too.
        let place = item.place.as_deref().map(|place| place.as_os_str().as_bytes());
        text.extend(Digest::of(place.unwrap_or_default()).as_bytes());
    }
    Digest::of(&text)
}

/// One thing a cell asks for, as a person sees it, and what was said of it.
struct Item {
    /// On one line, with the place it is about; the same text is the same thing.
    shown: String,
    /// The very place, where it is about one.
    place: Option<PathBuf>,
    /// The flag that grants it.
    flag: String,
    verdict: Verdict,
}

impl Item {
    fn of_ask(asked: &Placed, grants: &Grants) -> Self {
        let Placed { ask, place, .. } = asked;
        let place = place.as_deref();
        Self {
            shown: shown(&ask.kind().to_string(), &ask.what(), place),
            place: place.map(Path::to_owned),
            flag: ask.flag(place),
            verdict: grants.verdict(ask, place),
        }
    }
}

/// `read data (/home/me/flow/data)`, without anything that could draw on a screen.
fn shown(kind: &str, what: &str, place: Option<&Path>) -> String {
    let text = match place {
        Some(place) if place != Path::new(what) => format!("{kind} {what} ({})", place.display()),
        _ => format!("{kind} {what}"),
    };
    text.escape_debug().to_string()
}

fn list<'a>(items: impl Iterator<Item = &'a Item>) -> String {
    let texts: Vec<String> = items.map(|item| format!("`{}`", item.shown)).collect();
    texts.join(", ")
}

impl Question {
    fn open(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.verdict == Verdict::Open)
    }
}

/// Why a cell does not run where nobody can be asked: and on lines of their own the flags that grant it.
fn refusal(question: &Question) -> String {
    let mut text = format!("asks for {}: not granted; add", list(question.open()));
    for item in question.open() {
        text.push('\n');
        // A place may have a name that draws; then there is no line to copy.
        text.push_str(&polyloom_report::escape_line(&item.flag));
    }
    text
}

/// The kinds that a flag may name.
const KINDS: [Permission; 5] = Permission::ALL;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_grant_is_for_one_place_and_one_folder_also_where_their_names_are_no_text() {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let of = |root: &[u8], place: &[u8]| {
            let place = path(place);
            let shown = shown("read", "data", Some(&place));
            let item =
                Item { shown, place: Some(place), flag: String::new(), verdict: Verdict::Open };
            digest(&path(root), b"code", None, &[item])
        };
        assert_eq!(of(b"/flow", b"/x\xff"), of(b"/flow", b"/x\xff"));
        assert_ne!(of(b"/flow", b"/x\xff"), of(b"/flow", b"/x\xfe"));
        assert_ne!(of(b"/flow\xff", b"/x"), of(b"/flow\xfe", b"/x"));
    }
}
