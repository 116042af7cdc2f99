//! `polyloom doctor`: what this machine offers, and what is missing.

use std::path::Path;

use polyloom_report::{Align, Style, Table, size};
use polyloom_sandbox::{Enforcement, Level, Mechanism, Policy, Row, Survey};
use serde_json::json;

use super::plugin;
use crate::args::Format;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::{VERSION, World};

/// The command.
pub fn doctor(world: &World, format: Format) -> Outcome {
    let binary = std::env::current_exe();
    let binary = binary.map_err(|error| Failure::of(Exit::Environment, &error))?;
    let policy = Policy::default();
    let store = world.store();
    let scratch = store.as_ref().ok().map(|store| store.scratch());
    let Survey { enforcement: probed, rows: mut parts } =
        polyloom_sandbox::survey(&binary, &policy, scratch.as_deref());
    parts.push(swept(scratch.as_deref()));
    let place = match &store {
        Ok(store) => world.place(store.clone()).ok(),
        Err(_) => None,
    };
    let most = place.as_ref().map(|place| place.hot.limit());
    let enough = probed.as_ref().is_ok_and(|probed| meets(probed, &policy));
    let warm = place.as_ref().map(|place| {
        let spawner = place.workplace.spawner();
        let can = spawner.and_then(|spawner| spawner.can_park(&policy));
        Warm::of(can.map_err(|error| error.to_string()), enough)
    });
    parts.extend(warm.as_ref().map(Warm::row));
    let rows = place.map(|place| plugin::rows(world, &place)).unwrap_or_default();
    if format == Format::Text {
        let mut text = format!("polyloom {VERSION} on {}\n\nsandbox\n", std::env::consts::OS);
        text.push_str(&table(world, &parts));
        if let Err(error) = &probed {
            text.push_str(&Failure::of(Exit::Environment, error).render(world.screen.out));
        }
        let weak = |mechanism| {
            probed.as_ref().is_ok_and(|probed| probed.level(mechanism) == Level::Partial)
        };
        if weak(Mechanism::Memory) || weak(Mechanism::Processes) {
            text.push_str(
                "hint: a control group of your own makes these full, e.g. \
                 `systemd-run --user --scope -p Delegate=yes polyloom run …`\n",
            );
        }
        text.push_str("\nlanguages\n");
        text.push_str(&plugin::to_text(world, &rows));
        text.push_str("\nsessions and starts\n");
        text.push_str(&plugin::abilities(world, &rows));
        text.push_str("\nstore\n");
        match &store {
            Ok(store) => {
                let used = store.usage().map(|usage| size(usage.bytes));
                let used = used.unwrap_or_else(|error| error.to_string());
                text.push_str(&format!("{}  {used}\n", store.root().display()));
                if let Some(most) = most {
                    text.push_str("\nhand-over\n");
                    text.push_str(&hand_over(most));
                }
            }
            Err(failure) => text.push_str(&failure.render(world.screen.out)),
        }
        world.screen.print(&text);
    } else {
        let mechanisms: Vec<_> = probed
            .iter()
            .flat_map(|probed| &probed.mechanisms)
            .map(|(mechanism, status)| {
                json!({
                    "mechanism": mechanism.name(), "level": status.level.to_string(),
                    "used": status.used, "reason": status.reason,
                })
            })
            .collect();
        let parts: Vec<_> = parts
            .iter()
            .map(|row| {
                json!({
                    "mechanism": row.mechanism.trim(), "available": row.available.to_string(),
                    "used": row.used, "why": row.why,
                })
            })
            .collect();
        let document = json!({
            "schema": "polyloom.doctor/1",
            "version": VERSION,
            "sandbox": mechanisms,
            "sandbox_parts": parts,
            "sandbox_error": probed.as_ref().err().map(ToString::to_string),
            "sandbox_enough": enough,
            "warm_starts": warm.as_ref().map(Warm::to_json),
            "executors": rows.iter().map(plugin::to_json).collect::<Vec<_>>(),
            "hand_over": most.map(|most| json!({
                "from_bytes": polyloom_runtime::HOT_FROM, "most_bytes": most,
                "most_inputs": polyloom_sandbox::MOST_HOT,
            })),
            "store": store.as_ref().ok().map(|store| store.root().display().to_string()),
        });
        world.screen.json(&document);
    }
    Ok(if enough && store.is_ok() { Exit::Ok } else { Exit::Environment })
}

/// How large outputs reach their consumers.
fn hand_over(most: u64) -> String {
    let from = size(polyloom_runtime::HOT_FROM);
    match most {
        0 => {
            "large outputs go over the disk: no memory may be held (POLYLOOM_HOT_MAX)\n".to_owned()
        }
        most => format!(
            "outputs from {from} on stay in the memory of the cell that made them, at most {} in all now (a quarter of what is available, \
             or POLYLOOM_HOT_MAX) and {} for one cell; others go over the disk\n",
            size(most),
            polyloom_sandbox::MOST_HOT
        ),
    }
}

/// Whether cells can run at all: every level that the policy requires is reached.
fn meets(probed: &Enforcement, policy: &Policy) -> bool {
    policy.require.iter().all(|(mechanism, level)| probed.level(*mechanism) >= *level)
}

/// Removes what killed hosts left, as every run does when it starts.
fn swept(scratch: Option<&Path>) -> Row {
    let mut report = polyloom_sandbox::sweep();
    if let Some(scratch) = scratch {
        let folders = polyloom_sandbox::sweep_folders(scratch);
        report.removed += folders.removed;
        report.stuck += folders.stuck;
    }
    let used = match report.removed {
        0 => "nothing was left by dead hosts".to_owned(),
        count => format!("{count} leftovers of dead hosts removed"),
    };
    let (available, why) = match report.stuck {
        0 => (Level::Full, String::new()),
        count => (Level::Partial, format!("{count} leftovers would not go")),
    };
    Row { mechanism: "sweep".to_owned(), available, used, why }
}

/// What waits for cells here. Without, every cell is confined as well, by a sandbox of its own.
enum Warm {
    /// Sandboxes and zygotes, in a run and with a daemon.
    Full,
    /// Workers that have greeted, with a daemon alone; why there is no more.
    Workers(&'static str),
    /// Nothing: there is no sandbox.
    Nothing(String),
}

impl Warm {
    /// `enough`: cells can run at all.
    fn of(can: Result<Result<(), &'static str>, String>, enough: bool) -> Self {
        match can {
            Ok(_) if !enough => Self::Nothing("there is no sandbox that is good enough".to_owned()),
            Ok(Ok(())) => Self::Full,
            Ok(Err(why)) => Self::Workers(why),
            Err(why) => Self::Nothing(why),
        }
    }

    fn row(&self) -> Row {
        let (available, used, why) = match self {
            Self::Full => {
                (Level::Full, "sandboxes and zygotes wait for the next cell", String::new())
            }
            Self::Workers(why) => (
                Level::Partial,
                "workers, by `polyloom daemon start`",
                format!("sandboxes and zygotes: {why}"),
            ),
            Self::Nothing(why) => (Level::None, "every cell has a start of its own", why.clone()),
        };
        Row { mechanism: "warm starts".to_owned(), available, used: used.to_owned(), why }
    }

    /// `possible` is of sandboxes and zygotes, as it was before there was a daemon.
    fn to_json(&self) -> serde_json::Value {
        let (possible, daemon, reason) = match self {
            Self::Full => (true, Some("sandboxes"), None),
            Self::Workers(why) => (false, Some("workers"), Some(*why)),
            Self::Nothing(why) => (false, None, Some(why.as_str())),
        };
        json!({ "possible": possible, "with_daemon": daemon, "reason": reason })
    }
}

fn table(world: &World, rows: &[Row]) -> String {
    let mut table = Table::new(&[
        ("mechanism", Align::Left),
        ("available", Align::Left),
        ("used", Align::Left),
        ("why not", Align::Left),
    ]);
    for row in rows {
        let (style, available) = match row.available {
            Level::Full => (Style::Good, "yes"),
            Level::Partial => (Style::Warn, "in part"),
            Level::None => (Style::Bad, "no"),
        };
        table.styled([
            (Style::Plain, row.mechanism.clone()),
            (style, available.to_owned()),
            (Style::Plain, row.used.clone()),
            (Style::Dim, row.why.clone()),
        ]);
    }
    table.render(world.screen.out, world.screen.columns)
}
