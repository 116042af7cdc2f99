//! A run of a flow of which everything is as it was when nothing was to be done last: told and recorded like any other, without a plan.

use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::Digest;
use polyloom_runtime::{Place, Stream, Unchanged};
use polyloom_store::{History, HistoryPlace, StatKey, Store};

use super::{After, Asked, Faces, Ready, new_run};
use crate::args::RunArgs;
use crate::failure::{Exit, Failure};
use crate::permission::ProjectPolicy;
use crate::world::{VERSION, World, unix_ms};

/// What stands for all that was asked for, and for this program. `None`: it can't be told, or has nothing to do with what was known.
pub fn key(world: &World, args: &RunArgs) -> Option<Digest> {
    let path = args.flow.flow.clone().unwrap_or_else(|| PathBuf::from("."));
    let path = polyloom_load::find_flow(&path).ok()?;
    let program = StatKey::of(&std::fs::metadata("/proc/self/exe").ok()?);
    let here = std::env::current_dir().ok()?;
    let RunArgs { flow, select, permissions, limits, .. } = args;
    let asked = (&flow.param, &flow.params_file, select, permissions, limits);
    let manifests: Vec<_> = world.languages.all().collect();
    let text = format!("{:?}", (VERSION, program, here, path, asked, manifests));
    Some(Digest::of(text.as_bytes()))
}

impl Asked {
    /// The run, if nothing has changed.
    pub(super) fn same(
        &mut self,
        world: &World,
        place: &Arc<Place>,
        key: &Digest,
    ) -> Result<Option<Exit>, Failure> {
        let Some(unchanged) = Unchanged::find(place, key, |id| world.manifest(id)) else {
            return Ok(None);
        };
        let Some(sum) = unchanged.sum() else { return Ok(None) };
        // One that is elsewhere is warned of.
        let history = world.history(unchanged.root(), &place.store).ok();
        let own = |it: &Arc<History>| matches!(it.place(), HistoryPlace::Project(_));
        let Some(history) = history.filter(own) else { return Ok(None) };
        // Nothing asks for anything; a mistake in the file is told all the same.
        ProjectPolicy::read(history.place().folder())?;
        let Ok(Some(writer)) = history.begin_again(&new_run(unchanged.path()), sum) else {
            return Ok(None);
        };
        let faces = self.faces(world, unchanged.root(), Some((&history, &writer)))?;
        let Faces { document, sinks, .. } = faces;
        let run = Some(writer.id().to_owned());
        let stream = Stream::new(sinks, world.started);
        let jobs = self.jobs().get();
        let summary = unchanged.run(&history, writer, stream, jobs, VERSION);
        let after = After { history: Some(history), run, document };
        Ok(Some(self.end(world, &place.store, &after, &summary)))
    }

    /// What a plan without anything to do rests on.
    pub(super) fn unchanged(
        &self,
        world: &World,
        place: &Place,
        ready: &Ready,
    ) -> Option<Unchanged> {
        // A flow that is warned of is warned of each time.
        if self.warned {
            return None;
        }
        let given: Vec<PathBuf> = self.args.flow.params_file.iter().cloned().collect();
        let elapsed = u64::try_from(world.started.elapsed().as_millis()).ok()?;
        Unchanged::of(&ready.prepared, place, &given, unix_ms().checked_sub(elapsed)?)
    }
}

impl After {
    /// Keeps what the run rested on for the next.
    pub(super) fn keep(&self, unchanged: Unchanged, store: &Store, key: &Digest) {
        let Some((history, run)) = self.history.as_ref().zip(self.run.as_ref()) else { return };
        if let Err(error) = unchanged.keep(store, key, history, run) {
            tracing::warn!(%error, "what a run without work rests on could not be kept");
        }
    }
}
