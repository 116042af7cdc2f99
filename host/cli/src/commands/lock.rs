//! `polyloom plugin lock` and `run --locked`: what the executors of a flow are, written down, and held to.

use std::collections::BTreeMap;
use std::path::Path;

use polyloom_model::{Flow, Kind, Role};
use polyloom_plugins::{LOCK_FILE, Lock, Locked};
use polyloom_report::{Align, Table};
use polyloom_runtime::Place;

use crate::args::FlowArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::shown;
use crate::world::World;

/// The command.
pub fn lock(world: &World, flow: &FlowArgs) -> Outcome {
    let flow = world.flow(flow)?;
    let place = world.place(world.store()?)?;
    let mut lock = now(world, &place, &flow)?;
    let folder = folder(&flow);
    let path = folder.join(LOCK_FILE);
    let before = read(folder)?;
    let kept = before.map(|before| lock.keep(&before)).unwrap_or_default();
    let changed = lock.write(folder).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let word = if changed { "wrote" } else { "nothing has changed in" };
    world.screen.note(&format!("{word} `{}`\n", shown(&path)));
    if !kept.is_empty() {
        let names: Vec<String> = kept.iter().map(|id| format!("`{id}`")).collect();
        world.screen.note(&format!(
            "kept as they were, for other flows of the folder: {}; who needs them no more removes the file and locks each flow\n",
            names.join(", ")
        ));
    }
    Ok(Exit::Ok)
}

/// Whether the executors of a flow are what its lock says.
pub fn hold(world: &World, place: &Place, flow: &Flow) -> Result<(), Failure> {
    let folder = folder(flow);
    let locked = read(folder)?;
    let hint = "polyloom plugin lock";
    let Some(locked) = locked else {
        let message = format!("there is no `{}`", folder.join(LOCK_FILE).display());
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    };
    let differences = locked.differences(&now(world, place, flow)?);
    if differences.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("executor", Align::Left),
        ("what", Align::Left),
        ("locked", Align::Left),
        ("now", Align::Left),
    ]);
    for one in &differences {
        let locked = one.locked.clone().unwrap_or_else(|| "-".to_owned());
        table.row([one.id.to_string(), one.what.clone(), locked, one.now.clone()]);
    }
    world.screen.tell(&table.render(world.screen.err, world.screen.columns));
    let message = format!("`{LOCK_FILE}` says otherwise; nothing was run");
    Err(Failure::new(Exit::Environment, message).hint(format!("{hint} takes what is there now")))
}

fn read(folder: &Path) -> Result<Option<Lock>, Failure> {
    Lock::read(folder).map_err(|error| {
        let path = folder.join(LOCK_FILE);
        Failure::of(Exit::Usage, &error).hint(format!(
            "have it as it was, or remove `{}` and lock anew with `polyloom plugin lock`",
            path.display()
        ))
    })
}

fn folder(flow: &Flow) -> &Path {
    if flow.root.as_os_str().is_empty() { Path::new(".") } else { &flow.root }
}

fn now(world: &World, place: &Place, flow: &Flow) -> Result<Lock, Failure> {
    let mut lock = Lock::default();
    collect(world, place, flow, &mut lock)?;
    Ok(lock)
}

fn collect(world: &World, place: &Place, flow: &Flow, lock: &mut Lock) -> Result<(), Failure> {
    for cell in &flow.cells {
        if let Role::Flow(sub) = &cell.role {
            collect(world, place, &sub.flow, lock)?;
            continue;
        }
        let Some(manifest) = world.manifest(&cell.executor) else { continue };
        if lock.executors.contains_key(&manifest.id) {
            continue;
        }
        let executor = place.executor(manifest, &flow.tools, &flow.root);
        let executor = executor.map_err(|error| Failure::of(Exit::Environment, &error))?;
        let files = match manifest.path.as_deref().and_then(Path::parent) {
            None => "bundled".to_owned(),
            Some(folder) => polyloom_plugins::digest(folder, polyloom_plugins::Limits::default())
                .map_err(|error| Failure::of(Exit::Environment, &error))?
                .to_string(),
        };
        let first = |identity: &str| identity.lines().next().unwrap_or_default().to_owned();
        let tools = executor.tools.iter();
        let toolchain: BTreeMap<String, String> =
            tools.map(|(name, found)| (name.clone(), first(&found.identity))).collect();
        let protocol = match &manifest.kind {
            Kind::Worker(worker) => worker.protocol.clone(),
            Kind::Command(_) => Vec::new(),
        };
        let version = manifest.version.clone();
        lock.executors.insert(manifest.id.clone(), Locked { files, version, protocol, toolchain });
    }
    Ok(())
}
