//! Makes sure of the artifacts that cached results would give to what runs, before a plan relies on them. Knows plans and the store, runs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use polyloom_model::{Digest, Encoding, Flow, PortName};
use polyloom_plan::{Action, Artifact, Key, Keyed, Plan, Recorded};
use polyloom_store::{ArtifactKind, Store};

/// What an artifact is in the store.
pub(crate) fn kind(artifact: &Artifact) -> ArtifactKind {
    if artifact.ty.encoding() == Encoding::Dir { ArtifactKind::Dir } else { ArtifactKind::Blob }
}

/// Whether all outputs are in the store, every byte.
pub(crate) fn is_sure(store: &Store, outputs: &BTreeMap<PortName, Artifact>) -> bool {
    outputs.values().all(|artifact| store.make_sure(&artifact.digest, kind(artifact)).is_ok())
}

/// Looks at what steps that may run would read of cached ones. What is not whole counts as evicted from now on; tells whether there
/// was any, so that the plan is made anew.
pub(crate) fn strike(
    plan: &Plan,
    recorded: &mut HashMap<Key, Arc<Recorded>>,
    store: &Store,
) -> bool {
    let mut struck = false;
    for supply in plan.all().flat_map(|step| &step.supplies) {
        let Some(producer) = plan.get(supply.step) else { continue };
        let Action::Cached(result) = &producer.action else { continue };
        let whole = result
            .outputs
            .get(&supply.output)
            .is_some_and(|artifact| store.make_sure(&artifact.digest, kind(artifact)).is_ok());
        if !whole && let Some(known) = recorded.get_mut(&producer.key) {
            Arc::make_mut(known).evicted.push(supply.output.clone());
            struck = true;
        }
    }
    struck
}

/// What was damaged, in words.
pub(crate) fn told(
    damaged: &[Digest],
    flow: &Flow,
    keyed: &[Keyed],
    recorded: &HashMap<Key, Arc<Recorded>>,
) -> Vec<String> {
    let named = |digest: &Digest| {
        let places = keyed.iter().flat_map(|entry| {
            let outputs = recorded.get(&entry.key).map(|known| &known.outputs);
            let cell = &flow.cells[entry.cell.at()].id;
            outputs.into_iter().flatten().map(move |(port, artifact)| (cell, port, artifact))
        });
        let mut places = places.filter(|(_, _, artifact)| artifact.digest == *digest);
        places.next().map(|(cell, port, _)| format!("`{cell}.{port}`"))
    };
    let text = |digest: &Digest| {
        let what = named(digest).unwrap_or_else(|| "an artifact".to_owned());
        format!(
            "{what} was damaged in the store and removed ({digest}); what needs it makes it again"
        )
    };
    damaged.iter().map(text).collect()
}
