//! Single flight: of all runs that need the same result at once, one makes it, the others wait and take it. Knows one key, not graphs.
//!
//! A step holds at most the lock of its own key, takes it when its inputs are there, and waits for nobody while it has it: there is no
//! circle to wait in. Whoever is killed lets go of it, and the next one makes the result. A step that waits keeps its place of a job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use polyloom_model::{Digest, PortName, Type};
use polyloom_plan::{Artifact, Key};
use polyloom_protocol::messages::worker::LogLevel;
use polyloom_store::{Fault, Flight, Store};
use polyloom_worker::attempt::{Live, Stop};
use tokio::sync::{mpsc, watch};

use crate::prepare::{has_all, to_recorded};
use crate::sure;
use crate::words::chain;

/// How often a waiting step asks: soon at first, since most cells are short.
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(250);

/// A result that is known.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The key it is recorded under.
    pub(crate) key: Digest,
    /// How long it took to make, in milliseconds.
    pub(crate) wall_ms: f64,
    /// Its outputs, of which every byte is there.
    pub(crate) outputs: BTreeMap<PortName, Artifact>,
}

/// The result with these very inputs, if it is known and whole, with all outputs that are `declared`.
pub(crate) fn known(
    store: &Store,
    key: &Key,
    declared: &BTreeMap<PortName, Type>,
) -> Result<Option<Known>, Fault> {
    let found = store.lookup_content(&key.0)?;
    let found = found.filter(|stored| stored.outcome.has_outputs() && !stored.evicted);
    Ok(found.and_then(|stored| {
        let (key, wall_ms) = (stored.key, stored.wall_ms);
        let recorded = to_recorded(stored);
        // Seldom more than a stat: what was looked at in this run is not read again.
        let whole = recorded.evicted.is_empty()
            && has_all(&recorded, declared)
            && sure::is_sure(store, &recorded.outputs);
        whole.then_some(Known { key, wall_ms, outputs: recorded.outputs })
    }))
}

/// Whose turn it is.
pub(crate) enum Turn {
    /// Ours. Without a flight where the file system has no such locks: then two may make the same.
    Ours(Option<Flight>),
    /// Another run was faster.
    Made(Known),
    /// The step is to end.
    Stopped,
}

/// Waits until it is this step's turn, or the result is there.
pub(crate) async fn turn(
    store: &Arc<Store>,
    key: Key,
    declared: &BTreeMap<PortName, Type>,
    seen: &mpsc::Sender<Live>,
    stop: &watch::Receiver<Stop>,
) -> Turn {
    let mut stop = stop.clone();
    let mut pause = FIRST;
    let mut told = false;
    loop {
        let (asked, ports) = (Arc::clone(store), declared.clone());
        let answer = tokio::task::spawn_blocking(move || ask(&asked, &key, &ports)).await;
        match answer {
            Ok(Ok(Some(turn))) => return turn,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "runs at the same time can't be told apart");
                return Turn::Ours(None);
            }
            Err(_) => return Turn::Ours(None),
        }
        if !told {
            told = true;
            let text = "another run is making this very result, or another step of this one; waiting for it".to_owned();
            let _ = seen.send(Live::Log { level: LogLevel::Info, text }).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST),
            Ok(_) = stop.wait_for(|stop| !matches!(stop, Stop::No)) => return Turn::Stopped,
        }
    }
}

/// `None`: somebody else is at it.
fn ask(
    store: &Store,
    key: &Key,
    declared: &BTreeMap<PortName, Type>,
) -> Result<Option<Turn>, Fault> {
    let Some(flight) = store.try_flight(&key.0)? else { return Ok(None) };
    // Who had it before has committed before letting go.
    Ok(Some(match known(store, key, declared)? {
        Some(known) => Turn::Made(known),
        None => Turn::Ours(Some(flight)),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use polyloom_protocol::Outcome;
    use polyloom_protocol::meta::{ArtifactMeta, ExecMeta};
    use polyloom_store::ResultRow;

    use super::*;

    #[test]
    fn a_result_that_lacks_an_output_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Key(Digest::of(b"key"));
        let output = |name: &str, ty: &str| {
            let digest = store.put_bytes(b"1").unwrap().to_string();
            let size = 1;
            let meta =
                ArtifactMeta { digest, r#type: ty.into(), size, media_type: None, path: None };
            (name.to_owned(), meta)
        };
        let outputs = [output("there", "int"), output("odd", "no type")].into();
        let row = ResultRow {
            key: key.0,
            content_key: Some(key.0),
            cell: "a".into(),
            executor: "sh".into(),
            outcome: Outcome::Ok,
            outputs,
            meta: ExecMeta::new(Outcome::Ok),
            created_unix_ms: 1,
            marks: BTreeMap::new(),
        };
        store.commit(&[row]).unwrap();
        let known = |ports: &[&str]| {
            let declared = ports.iter().map(|port| (port.parse().unwrap(), Type::Int)).collect();
            known(&store, &key, &declared).unwrap()
        };
        assert!(known(&["missing"]).is_none());
        assert!(known(&["there", "missing"]).is_none());
        assert!(known(&["odd"]).is_none());
    }
}
