//! `polyloom doctor`: what this machine offers, and what is missing.

use polyloom_report::{Align, Style, Table, size};
use polyloom_sandbox::{Enforcement, Level, Mechanism, Policy};
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
    let probed = polyloom_sandbox::probe(&binary, &policy);
    let store = world.store();
    let place = match &store {
        Ok(store) => world.place(store.clone()).ok(),
        Err(_) => None,
    };
    let rows = place.map(|place| plugin::rows(world, &place)).unwrap_or_default();
    let enough = probed.as_ref().is_ok_and(|probed| meets(probed, &policy));
    if format == Format::Text {
        let mut text = format!("polyloom {VERSION} on {}\n\nsandbox\n", std::env::consts::OS);
        match &probed {
            Ok(probed) => text.push_str(&table(world, probed)),
            Err(error) => {
                text.push_str(&Failure::of(Exit::Environment, error).render(world.screen.out));
            }
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
        text.push_str("\nstore\n");
        match &store {
            Ok(store) => {
                let used = store.usage().map(|usage| size(usage.bytes));
                let used = used.unwrap_or_else(|error| error.to_string());
                text.push_str(&format!("{}  {used}\n", store.root().display()));
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
        let document = json!({
            "schema": "polyloom.doctor/1",
            "version": VERSION,
            "sandbox": mechanisms,
            "sandbox_error": probed.as_ref().err().map(ToString::to_string),
            "sandbox_enough": enough,
            "executors": rows.iter().map(plugin::to_json).collect::<Vec<_>>(),
            "store": store.as_ref().ok().map(|store| store.root().display().to_string()),
        });
        world.screen.json(&document);
    }
    Ok(if enough && store.is_ok() { Exit::Ok } else { Exit::Environment })
}

/// Whether cells can run at all: every level that the policy requires is reached.
fn meets(probed: &Enforcement, policy: &Policy) -> bool {
    policy.require.iter().all(|(mechanism, level)| probed.level(*mechanism) >= *level)
}

fn table(world: &World, probed: &Enforcement) -> String {
    let mut table = Table::new(&[
        ("mechanism", Align::Left),
        ("level", Align::Left),
        ("used", Align::Left),
        ("why not", Align::Left),
    ]);
    for (mechanism, status) in &probed.mechanisms {
        let style = match status.level {
            Level::Full => Style::Good,
            Level::Partial => Style::Warn,
            Level::None => Style::Bad,
        };
        table.styled([
            (Style::Plain, mechanism.name().to_owned()),
            (style, status.level.to_string()),
            (Style::Plain, status.used.clone()),
            (Style::Dim, status.reason.clone()),
        ]);
    }
    table.render(world.screen.out, world.screen.columns)
}
