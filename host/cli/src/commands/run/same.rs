//! A run of a flow of which everything is as it was when nothing was to be done last: told and recorded like any other, without a plan.

use std::sync::Arc;

use polyloom_model::Digest;
use polyloom_runtime::{Fresh, Place, Stream};
use polyloom_store::{History, HistoryPlace, Store};

use super::super::known;
use super::{After, Asked, Faces, Ready, Record, new_run, streams};
use crate::args::RunArgs;
use crate::failure::{Exit, Failure};
use crate::permission::ProjectPolicy;
use crate::world::{VERSION, World};

impl Asked {
    /// The run, if nothing has changed.
    pub(super) fn same(
        &mut self,
        world: &World,
        place: &Arc<Place>,
        key: &Digest,
    ) -> Result<Option<Exit>, Failure> {
        let Some(unchanged) = known::find(world, place, key) else {
            return Ok(None);
        };
        let Some(stood) = unchanged.stood() else { return Ok(None) };
        // One that is elsewhere is warned of.
        let history = world.history(unchanged.root(), &place.store).ok();
        let own = |it: &Arc<History>| matches!(it.place(), HistoryPlace::Project(_));
        let Some(history) = history.filter(own) else { return Ok(None) };
        // Nothing asks for anything; a mistake in the file is told all the same.
        ProjectPolicy::read(history.place().folder())?;
        streams(&mut self.streams, &self.args)?;
        let Ok(Some(writer)) = history.begin_again(&new_run(unchanged.path()), stood) else {
            return Ok(None);
        };
        let faces = self.faces(world, unchanged.root(), Some((&history, &writer)))?;
        let Faces { document, sinks, .. } = faces;
        let run = Some(writer.id().to_owned());
        let stream = Stream::new(sinks, world.started);
        let jobs = self.jobs().get();
        let summary = unchanged.run(&history, writer, stream, jobs, VERSION);
        let record = Record::Always;
        let after = After { history: Some(history), run, record, document };
        Ok(Some(self.end(world, &place.store, &after, &summary)))
    }

    /// What a plan without anything to do rests on.
    pub(super) fn fresh(&self, world: &World, place: &Place, ready: &Ready) -> Option<Fresh> {
        let RunArgs { flow, select, permissions, limits, .. } = &self.args;
        let asked = known::Asked { flow, select, permissions, limits };
        // A flow that is warned of is warned of each time.
        asked.fresh(world, place, &ready.prepared).filter(|_| !self.warned)
    }

    /// What stands for all that was asked for. A lock is looked at each time.
    pub(super) fn key(&self, world: &World) -> Option<Digest> {
        if self.args.locked {
            return None;
        }
        let RunArgs { flow, select, permissions, limits, .. } = &self.args;
        known::Asked { flow, select, permissions, limits }.key(world)
    }
}

impl After {
    /// Keeps what the run rested on for the next.
    pub(super) fn keep(&self, fresh: Fresh, store: &Store, key: &Digest) {
        let Some((history, run)) = self.history.as_ref().zip(self.run.as_ref()) else { return };
        let kept = history.keep_stood(run).and_then(|stood| fresh.keep(store, key, stood));
        if let Err(error) = kept {
            tracing::warn!(%error, "what a run without work rests on could not be kept");
        }
    }
}
